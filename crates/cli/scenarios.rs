//! `paramedic test`: the scenarios beside rulebooks, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use paramedic_model::Grants;
use paramedic_rulebook::{Diagnostic, RuleSet};
use paramedic_sim::{Coverage, Reached, ScenarioResult, run_scenarios};
use serde_json::json;

use crate::args::TestArgs;
use crate::{Done, Outcome, rules};

mod junit;

/// What came of the scenarios of all files.
struct Tested {
    /// By file.
    results: Vec<(String, ScenarioResult)>,
    /// What is not written as a scenario, by file and position.
    errors: Vec<Diagnostic>,
    coverage: Coverage,
    /// The least that was asked for.
    wanted: Option<usize>,
}

pub(crate) fn test(args: &TestArgs) -> Outcome {
    let files = rules::read_tests(&args.paths)?;
    let loaded = rules::load(&files, &Grants::AsAsked);
    let Some(set) = loaded.set.map(Arc::new) else {
        for diagnostic in loaded.diagnostics.iter().filter(|d| d.is_error()) {
            eprintln!("{diagnostic}\n");
        }
        bail!("the rulebooks have errors; `paramedic check` shows them all")
    };
    let tested = run(&set, &files, args.coverage.map(usize::from));
    if tested.results.is_empty() && tested.errors.is_empty() {
        bail!("no scenarios: write some beside the rulebook, in a file that ends in .test.yaml (`paramedic test --help`)");
    }
    if let Some(path) = &args.junit {
        std::fs::write(path, junit::report(&tested)).with_context(|| path.display().to_string())?;
    }
    if args.json {
        print_json(&tested);
    } else {
        print_human(&tested, args.verbose);
    }
    for error in tested.errors.iter().filter(|_| !args.json) {
        eprintln!("{error}\n");
    }
    if !tested.errors.is_empty() {
        let files: BTreeSet<&str> = tested.errors.iter().map(|error| error.place.file.as_str()).collect();
        let (problems, files) = (tested.errors.len(), files.len());
        bail!("{problems} problems in {files} files of scenarios (`paramedic test --help` shows how one is written)");
    }
    Ok(if tested.failed() > 0 || tested.too_little() { Done::Found } else { Done::Well })
}

fn run(set: &Arc<RuleSet>, files: &BTreeMap<String, String>, wanted: Option<usize>) -> Tested {
    let (mut results, mut errors, mut reached) = (Vec::new(), Vec::new(), Reached::new());
    for (path, text) in files.iter().filter(|(path, _)| paramedic_runtime::rules::is_scenario(path)) {
        match run_scenarios(set, path, text) {
            Ok(of_file) => {
                reached.extend(of_file.iter().flat_map(|r| r.reached.iter().copied()));
                results.extend(of_file.into_iter().map(|r| (path.clone(), r)));
            }
            Err(of_file) => errors.extend(of_file),
        }
    }
    Tested { results, errors, coverage: Coverage::of(set, &reached), wanted }
}

impl Tested {
    fn failed(&self) -> usize {
        self.results.iter().filter(|(_, r)| !r.passed).count()
    }

    /// Whether scenarios reach less than was asked for.
    fn too_little(&self) -> bool {
        self.wanted.is_some_and(|wanted| self.coverage.percent() < wanted)
    }
}

fn print_json(tested: &Tested) {
    let results: Vec<_> = tested.results.iter().map(|(file, r)| json!({"file": file, "result": r})).collect();
    let (failed, coverage) = (tested.failed(), &tested.coverage);
    println!(
        "{}",
        json!({
            "passed": results.len() - failed, "failed": failed, "scenarios": results, "errors": tested.errors,
            "coverage": {"percent": coverage.percent(), "wanted": tested.wanted, "parts": coverage.parts,
                         "reached": coverage.reached, "missed": coverage.missed},
        })
    );
}

fn print_human(tested: &Tested, verbose: bool) {
    for (file, result) in &tested.results {
        println!("{file}: {result}");
        if verbose && result.passed {
            for line in &result.timeline {
                println!("    {line}");
            }
        }
    }
    println!("{} passed, {} failed", tested.results.len() - tested.failed(), tested.failed());
    let coverage = &tested.coverage;
    print!("coverage: {} of {} parts of the rules ({} %)", coverage.reached, coverage.parts, coverage.percent());
    println!("{}", if coverage.missed.is_empty() { "" } else { "; no scenario reaches" });
    let mut dead = None;
    for missed in &coverage.missed {
        let rule = (&missed.rulebook, &missed.rule);
        // What a rule that never fires does not do either goes without saying.
        if dead == Some(rule) {
            continue;
        }
        dead = (missed.part == "fires").then_some(rule);
        let (place, (rulebook, rule)) = (&missed.place, rule);
        println!("  {}:{}: {rulebook}/{rule}: {}", place.file, place.line, missed.what);
    }
    if tested.too_little() {
        println!("that is less than the {} % that were asked for", tested.wanted.unwrap_or_default());
    }
}
