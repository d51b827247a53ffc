//! Scenario tests: what a rulebook does, told as a timeline in virtual time.
//!
//! ```yaml
//! scenario: a full disk is cleaned and the incident resolves itself
//! given:
//!   cis: [ { name: web-1, class: server, environment: test } ]
//! steps:
//!   - at: 0s
//!     event: { type: disk.used_pct, kind: metric, ci: web-1, value: 93 }
//!   - at: 2m
//!     expect: { incident: { state: in_progress }, run: { playbook: clean-disk, target: web-1 } }
//!   - at: 3m
//!     run: succeeded
//! ```
//! A file holds one scenario, or several as YAML documents. Time begins at 2026-01-01T00:00:00Z; a released run
//! leaves at once and waits for a `run:` step; a page is delivered at once, unless the scenario has a `page:`
//! step: then pages wait for those.

mod book;
mod coverage;
mod difference;
mod expect;
mod parse;
mod places;
mod play;

use std::fmt;
use std::sync::Arc;

use paramedic_model::Timestamp;
use paramedic_rulebook::schema::RuleFile;
use paramedic_rulebook::{Diagnostic, Place, RuleSet};
use serde::Serialize;
use serde_json::Value;

pub use coverage::{Coverage, Missed, Part, Reached};
pub use difference::{FailedStep, Miss};
use places::Places;

/// 2026-01-01T00:00:00Z: virtual time begins here.
pub const BEGINNING: Timestamp = Timestamp::from_secs(1_767_225_600);

/// The source of a scenario's events.
const SOURCE: &str = "scenario";

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScenarioResult {
    /// As written.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// Every expectation was met.
    pub passed: bool,
    /// The steps whose expectations were not met.
    pub failures: Vec<FailedStep>,
    /// Rules that failed meanwhile: a condition that cannot be evaluated, a script that was stopped.
    pub broken: Vec<String>,
    /// What happened: instant, step of a record, reason.
    pub timeline: Vec<String>,
    /// Which parts of the rules it reached.
    #[serde(skip)]
    pub reached: Reached,
}

impl fmt::Display for ScenarioResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", if self.passed { "passed" } else { "FAILED" }, self.name)?;
        for failed in &self.broken {
            write!(f, "\n  {failed}")?;
        }
        if self.passed {
            return Ok(());
        }
        for failure in &self.failures {
            write!(f, "\n{failure}")?;
        }
        f.write_str("\n  what happened:")?;
        if self.timeline.is_empty() {
            f.write_str(" nothing")?;
        }
        for line in &self.timeline {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// Runs the scenarios of a file, in order, against a rule set that grants what its rulebooks ask.
///
/// # Errors
/// Everything that is not written as a scenario, by position; a scenario that fails is a result.
pub fn run_scenarios(set: &Arc<RuleSet>, file: &str, text: &str) -> Result<Vec<ScenarioResult>, Vec<Diagnostic>> {
    let places = Places::of(file, text);
    let scenes = parse::parse(file, text, &places)?;
    Ok(scenes.iter().map(|scene| play::play(set, scene, &places)).collect())
}

/// What is not written as a scenario in a file of scenarios, by position.
pub fn check_scenarios(file: &str, text: &str) -> Vec<Diagnostic> {
    parse::parse(file, text, &Places::of(file, text)).err().unwrap_or_default()
}

/// The JSON Schema of a file of a folder of rules, with the events of scenarios.
pub fn schema(of: RuleFile) -> Value {
    let mut schema = paramedic_rulebook::schema::schema(of);
    let mut events = paramedic_formats::event_schema();
    let definitions = schema.get_mut("definitions").and_then(Value::as_object_mut);
    let Some(definitions) = definitions.filter(|all| all.contains_key("event")) else { return schema };
    // Live events may have fields that nobody knows; in a scenario such a field is a mistake.
    for name in ["event", "ci"] {
        events["definitions"][name]["additionalProperties"] = Value::Bool(false);
    }
    let source = serde_json::json!({"type": "string", "minLength": 1, "description": "The source that it is from; `scenario` if not given."});
    events["definitions"]["event"]["properties"]["source"] = source;
    let prefix = |name: &str| if name == "event" { name.to_owned() } else { format!("event_{name}") };
    refer(&mut events, &prefix);
    for (name, definition) in events["definitions"].as_object().into_iter().flatten() {
        definitions.insert(prefix(name), definition.clone());
    }
    schema
}

/// Renames the definitions that are referred to.
fn refer(value: &mut Value, rename: &dyn Fn(&str) -> String) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str().and_then(|to| to.strip_prefix("#/definitions/")).filter(|_| name == "$ref") {
                    Some(to) => *value = Value::String(format!("#/definitions/{}", rename(to))),
                    None => refer(value, rename),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, rename)),
        _ => {}
    }
}
