//! `paramedic test`: the scenarios beside rulebooks, in virtual time.

use std::sync::Arc;

use anyhow::bail;
use paramedic_model::Grants;
use paramedic_sim::run_scenarios;
use serde_json::json;

use crate::args::TestArgs;
use crate::{Done, Outcome, rules};

pub(crate) fn test(args: &TestArgs) -> Outcome {
    let files = rules::read(&args.paths)?;
    let loaded = rules::load(&files, &Grants::AsAsked);
    let Some(set) = loaded.set.map(Arc::new) else {
        for diagnostic in loaded.diagnostics.iter().filter(|d| d.is_error()) {
            eprintln!("{diagnostic}\n");
        }
        bail!("the rulebooks have errors; `paramedic check` shows them all")
    };
    let mut all = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| paramedic_runtime::rules::is_scenario(path)) {
        for result in run_scenarios(Arc::clone(&set), path, text)? {
            all.push((path.clone(), result));
        }
    }
    if all.is_empty() {
        bail!("no scenarios: write some beside the rulebook, in a file that ends in .test.yaml");
    }
    let failed = all.iter().filter(|(_, r)| !r.passed).count();
    if args.json {
        let results: Vec<_> = all.iter().map(|(file, r)| json!({"file": file, "result": r})).collect();
        println!("{}", json!({"passed": all.len() - failed, "failed": failed, "scenarios": results}));
    } else {
        for (file, result) in &all {
            println!("{file}: {result}");
            if args.verbose && result.passed {
                for line in &result.timeline {
                    println!("    {line}");
                }
            }
        }
        println!("{} passed, {failed} failed", all.len() - failed);
    }
    Ok(if failed > 0 { Done::Found } else { Done::Well })
}
