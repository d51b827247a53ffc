//! Rhai under limits: any text as a condition and as a value, compiled and evaluated on any event.

use std::sync::Arc;

use paramedic_model::{Ci, Cmdb};
use paramedic_rulebook::{Ctx, Evaluator, ExprIx, RuleSet, Verdict, analyse, load};
use serde_json::{Value, json};

use super::input::{NOW, event, in_time, some_events, two_parts};
use super::rulebook::CATALOGUE;

/// The largest value that an expression may give, in bytes of JSON: the limits of the sandbox, and its brackets.
const LARGEST_VALUE: usize = 4 << 20;

/// The expression; and behind a line `----`, where there is one, the event.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (expression, payload) = two_parts(text);
    let events = match payload {
        Some(payload) => event(payload.as_bytes()).into_iter().collect(),
        None => some_events(),
    };
    let written = Value::from(expression);
    let as_condition = json!({"rule": "c", "when": written, "incident": {"summary": "s"}});
    let as_value = json!({"rule": "v", "when": "event.type != \"\"", "incident": {"summary": "s"},
        "remedy": [{"playbook": "p", "target": "about", "with": {"text": format!("= {expression}")}}]});
    for rule in [as_condition, as_value] {
        let Some(set) = in_time("compiling", || book(&rule)) else { continue };
        let set = Arc::new(set);
        let analysis = in_time("analysing", || analyse(&set));
        let mut evaluator = Evaluator::new(set);
        for event in &events {
            in_time("a condition", || {
                let found = evaluator.matches(event);
                assert_eq!(found, evaluator.matches_brute_force(event));
                let is_dead = |ix: &paramedic_rulebook::RuleIx| analysis.rules[ix.0 as usize].verdict == Verdict::Dead;
                assert!(!found.when.iter().any(is_dead), "a dead rule fires");
                assert!(found.failed.iter().all(|failure| !failure.why.is_empty()));
            });
            in_time("a value", || values(&mut evaluator, event));
        }
    }
}

fn book(rule: &Value) -> Option<RuleSet> {
    // JSON is YAML.
    let book = json!({"rulebook": "fuzz", "may": {"playbooks": ["p"], "ci_classes": ["server"]}, "rules": [rule]});
    let sources = [("playbooks.yaml", CATALOGUE.to_owned()), ("book.yaml", book.to_string())];
    load(&sources.map(|(name, text)| (name.to_owned(), text)).into_iter().collect()).set
}

fn values(evaluator: &mut Evaluator, event: &paramedic_model::OwnedEvent) {
    let cmdb = Arc::new(hosts());
    let about = cmdb.cis().next();
    for at in 0..evaluator.set().exprs.len() {
        let at = ExprIx(u32::try_from(at).unwrap_or(u32::MAX));
        let given = evaluator.eval(at, &Ctx::of(event, about, &cmdb, NOW));
        if let Ok(value) = given {
            let size = value.to_string().len();
            assert!(size <= LARGEST_VALUE, "a value of {size} bytes");
        }
    }
}

/// Two hosts.
fn hosts() -> Cmdb {
    let mut cmdb = Cmdb::default();
    for name in ["web-1", "db-1"] {
        let ci = json!({"id": Ci::id_of("default", "server", name), "class": "server", "name": name, "criticality": 1});
        if let Ok(ci) = serde_json::from_value::<Ci>(ci) {
            cmdb.put(ci);
        }
    }
    cmdb
}
