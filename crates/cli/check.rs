//! `paramedic check`: every problem of the rulebooks, at once.

use std::sync::Arc;

use paramedic_model::Grants;
use paramedic_rulebook::{Evaluator, Gravity, HowFound, IndexedCondition, RuleSet};
use serde_json::{Value, json};

use crate::args::{CheckArgs, Format};
use crate::{Done, Outcome, rules};

pub(crate) fn check(args: &CheckArgs) -> Outcome {
    let files = rules::read(&args.paths)?;
    let loaded = rules::load(&files, &Grants::AsAsked);
    let count = |level: Gravity| loaded.diagnostics.iter().filter(|d| d.level == level).count();
    let (errors, warnings) = (count(Gravity::Error), count(Gravity::Warning));
    let (rulebooks, rules, playbooks) =
        loaded.set.as_ref().map_or((0, 0, 0), |s| (s.rulebooks.len(), s.rules.len(), s.playbooks.len()));
    let index = loaded.set.as_ref().filter(|_| args.explain_index).map(|set| (set, explain(set)));
    match args.format {
        Format::Json => {
            let mut out = json!({"errors": errors, "warnings": warnings, "rulebooks": rulebooks, "rules": rules,
                   "playbooks": playbooks, "digest": loaded.set.as_ref().map(|s| s.digest),
                   "diagnostics": loaded.diagnostics});
            if let Some((set, conditions)) = &index {
                out["index"] = conditions.iter().map(|c| as_json(set, c)).collect();
            }
            println!("{out}");
        }
        Format::Human => {
            for diagnostic in &loaded.diagnostics {
                println!("{diagnostic}\n");
            }
            if let Some((set, conditions)) = &index {
                print_index(set, conditions);
            }
            if errors == 0 {
                println!("{rulebooks} rulebooks, {rules} rules, {playbooks} playbooks: well ({warnings} warnings)");
            } else {
                println!("{errors} errors, {warnings} warnings");
            }
        }
    }
    Ok(if errors > 0 { Done::Found } else { Done::Well })
}

fn explain(set: &RuleSet) -> Vec<IndexedCondition> {
    Evaluator::new(Arc::new(set.clone())).explain_index()
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
