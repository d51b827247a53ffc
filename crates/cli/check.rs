//! `paramedic check`: every problem of the rulebooks, at once.

use std::sync::Arc;

use paramedic_model::Grants;
use paramedic_rulebook::{
    Analysis, Diagnostic, Evaluator, Gravity, HowFound, IndexedCondition, RuleSet, Verdict, analyse,
};
use paramedic_runtime::{Config, Reading};
use paramedic_sim::check_scenarios;
use serde_json::{Value, json};

use crate::args::{CheckArgs, Format};
use crate::{Done, Outcome, rules};

pub(crate) fn check(args: &CheckArgs) -> Outcome {
    let files = rules::read(&args.paths)?;
    let loaded = rules::load(&files, &Grants::AsAsked);
    let set = loaded.set.map(Arc::new);
    let analysis = set.as_ref().map(analyse);
    let mut found = loaded.diagnostics;
    if let (Some(path), Some(set)) = (&args.config, &set) {
        found.extend(Reading::of(&Config::read(path)?).check(set));
    }
    let mut diagnostics = all_of(found, analysis.as_ref());
    for (path, text) in files.iter().filter(|(path, _)| paramedic_runtime::rules::is_scenario(path)) {
        diagnostics.extend(check_scenarios(path, text));
    }
    let count = |level: Gravity| diagnostics.iter().filter(|d| d.level == level).count();
    let (errors, warnings) = (count(Gravity::Error), count(Gravity::Warning));
    let (rulebooks, rules, playbooks) =
        set.as_ref().map_or((0, 0, 0), |s| (s.rulebooks.len(), s.rules.len(), s.playbooks.len()));
    let index = set.as_ref().filter(|_| args.explain_index).map(|set| (set, explain(set)));
    match args.format {
        Format::Json => {
            let both = set.as_ref().zip(analysis.as_ref());
            let mut out = json!({"errors": errors, "warnings": warnings, "rulebooks": rulebooks, "rules": rules,
                   "playbooks": playbooks, "digest": set.as_ref().map(|s| s.digest),
                   "diagnostics": diagnostics,
                   "analysis": both.map(|(set, analysis)| analysis_as_json(set, analysis))});
            if let Some((set, conditions)) = &index {
                out["index"] = conditions.iter().map(|c| as_json(set, c)).collect();
            }
            println!("{out}");
        }
        Format::Human => {
            for diagnostic in &diagnostics {
                println!("{diagnostic}\n");
            }
            if let Some((set, conditions)) = &index {
                print_index(set, conditions);
            }
            if errors == 0 {
                println!("{rulebooks} rulebooks, {rules} rules, {playbooks} playbooks: well ({warnings} warnings)");
                if let Some(analysis) = &analysis {
                    println!("{}", in_short(analysis));
                }
            } else {
                println!("{errors} errors, {warnings} warnings");
            }
        }
    }
    Ok(if errors > 0 { Done::Found } else { Done::Well })
}

/// What was found when reading and when analysing, each once, by file and position.
fn all_of(mut diagnostics: Vec<Diagnostic>, analysis: Option<&Analysis>) -> Vec<Diagnostic> {
    diagnostics.extend(analysis.into_iter().flat_map(|a| &a.findings).map(|f| f.diagnostic.clone()));
    diagnostics.sort_by(|a, b| (&a.place, a.level, &a.message).cmp(&(&b.place, b.level, &b.message)));
    diagnostics.dedup();
    diagnostics
}

/// How many rules there are of each verdict.
fn in_short(analysis: &Analysis) -> String {
    let all = analysis.rules.len();
    let count = |verdict: Verdict| format!("{} {}", analysis.count(verdict), verdict.name());
    let found = [Verdict::Dead, Verdict::Shadowed, Verdict::Conflicting].map(count).join(", ");
    let unknown = analysis.count(Verdict::Unknown);
    let (live, percent) = (count(Verdict::Live), share(unknown, all));
    format!("analysis: {all} rules: {live}, {found}, {unknown} unknown ({percent:.0} %)")
}

/// In percent.
fn share(part: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { part as f64 * 100.0 / all as f64 }
}

fn analysis_as_json(set: &RuleSet, analysis: &Analysis) -> Value {
    let name = |ix| {
        let rule = set.rule(ix);
        json!({"rulebook": set.rulebook_of(rule).name, "rule": rule.name})
    };
    let rules: Vec<Value> = analysis
        .rules
        .iter()
        .map(|of| {
            let rule = set.rule(of.rule);
            json!({"rulebook": set.rulebook_of(rule).name, "rule": rule.name, "place": rule.place,
                   "verdict": of.verdict.name(), "reason": of.reason, "event": of.event})
        })
        .collect();
    let findings: Vec<Value> = analysis
        .findings
        .iter()
        .map(|f| {
            let rule = set.rule(f.rule);
            json!({"kind": f.kind.name(), "rulebook": set.rulebook_of(rule).name, "rule": rule.name,
                   "with": f.with.iter().map(|ix| name(*ix)).collect::<Vec<_>>(), "event": f.event,
                   "place": f.diagnostic.place, "message": f.diagnostic.message})
        })
        .collect();
    let unknown = analysis.count(Verdict::Unknown);
    json!({"rules": rules, "findings": findings, "unknown": unknown,
           "unknown_percent": (share(unknown, analysis.rules.len()) * 10.0).round() / 10.0})
}

fn explain(set: &Arc<RuleSet>) -> Vec<IndexedCondition> {
    Evaluator::new(Arc::clone(set)).explain_index()
}

fn as_json(set: &RuleSet, c: &IndexedCondition) -> Value {
    let rule = set.rule(c.rule);
    let (found, by, why) = match &c.how {
        HowFound::Index(by) => ("index", by.as_slice(), None),
        HowFound::EveryEvent(why) => ("always", &[][..], Some(why)),
        HowFound::Never => ("never", &[][..], None),
    };
    json!({"rulebook": set.rulebook_of(rule).name, "rule": rule.name, "condition": c.purpose, "found": found,
           "by": by, "why": why, "native": c.native})
}

fn print_index(set: &RuleSet, conditions: &[IndexedCondition]) {
    let mut last = None;
    for c in conditions {
        let rule = set.rule(c.rule);
        if last != Some(c.rule) {
            println!("{} / {}", set.rulebook_of(rule).name, rule.name);
            last = Some(c.rule);
        }
        let how = match &c.how {
            HowFound::Index(by) => by.join(", then "),
            HowFound::EveryEvent(why) => format!("asked for every event: {why}"),
            HowFound::Never => "never: it can hold for no event".to_owned(),
        };
        println!("  {:<7} {how}{}", c.purpose, if c.native { "" } else { " [Rhai]" });
    }
    let always = conditions.iter().filter(|c| matches!(c.how, HowFound::EveryEvent(_))).count();
    println!("{} conditions, {always} of them asked for every event\n", conditions.len());
}
