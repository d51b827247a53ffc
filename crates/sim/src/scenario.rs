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
use paramedic_rulebook::{Place, RuleSet};
use serde::Serialize;

pub use coverage::{Coverage, Missed, Part, Reached};
pub use difference::{FailedStep, Miss};
use places::Places;

/// 2026-01-01T00:00:00Z: virtual time begins here.
pub const BEGINNING: Timestamp = Timestamp::from_secs(1_767_225_600);

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

/// A scenario cannot be run: it is not written as one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {scenario}: {message}")]
pub struct ScenarioError {
    /// Where.
    pub place: Place,
    /// `scenario "..."`, or its number where it has no name.
    pub scenario: String,
    /// What is wrong, and what is expected.
    pub message: String,
}

/// Runs the scenarios of a file, in order, against a rule set that grants what its rulebooks ask.
///
/// # Errors
/// When one of them is not written as a scenario; a scenario that fails is a result.
pub fn run_scenarios(set: Arc<RuleSet>, file: &str, text: &str) -> Result<Vec<ScenarioResult>, ScenarioError> {
    let places = Places::of(file, text);
    let scenarios = parse::parse(text, &places)?;
    let mut results = Vec::with_capacity(scenarios.len());
    for scenario in scenarios {
        let played = play::play(&set, &scenario, &places).map_err(|(step, message)| {
            let path = step.map_or_else(|| "given".to_owned(), |step| format!("steps/{step}"));
            let place = places.at(scenario.document, &path);
            ScenarioError { place, scenario: format!("scenario {:?}", scenario.name), message }
        })?;
        results.push(played);
    }
    Ok(results)
}
