//! Reads scenarios.

use std::collections::BTreeMap;

use paramedic_formats::cmdb::{CiEntry, CmdbFile, RelationEntry};
use paramedic_model::{CmdbDelta, Grant, Span};
use serde::Deserialize;
use serde_json::{Value, json};

use super::expect::Expect;
use super::places::Places;
use super::{BEGINNING, ScenarioError};
use crate::DEFAULT_SCOPE;

/// One scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    #[serde(rename = "scenario")]
    pub(super) name: String,
    #[serde(default)]
    pub(super) given: Given,
    pub(super) steps: Vec<Step>,
    /// Which document of its file, from 0.
    #[serde(skip)]
    pub(super) document: usize,
}

/// What there is before anything happens.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Given {
    pub(super) cis: Vec<CiEntry>,
    pub(super) relations: Vec<RelationEntry>,
    /// Instead of what the rulebooks ask.
    pub(super) grants: Option<Vec<Grant>>,
}

impl Given {
    /// The CMDB that the scope begins with.
    pub(super) fn cmdb(&self) -> Result<CmdbDelta, String> {
        let file = CmdbFile { cis: self.cis.clone(), relations: self.relations.clone(), ..CmdbFile::default() };
        file.delta(DEFAULT_SCOPE, "scenario", BEGINNING, &|_| None).map_err(|why| format!("given: {why}"))
    }
}

/// What happens, or is expected, at an instant; where a step has several of these, in this order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// Since the beginning.
    pub(super) at: Span,
    /// A native event, and the `source` that it is from, where that matters.
    pub(super) event: Option<serde_json::Map<String, Value>>,
    pub(super) run: Option<Outcome>,
    pub(super) page: Option<PageOutcome>,
    pub(super) operator: Option<Operator>,
    pub(super) expect: Option<Expect>,
}

/// What becomes of the oldest run in flight: a word, or `{ outcome, message, facts, playbook }`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Outcome {
    pub(super) outcome: RunWord,
    pub(super) message: String,
    pub(super) facts: BTreeMap<String, Value>,
    /// Of this playbook.
    pub(super) playbook: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToldOutcome {
    outcome: RunWord,
    #[serde(default)]
    message: String,
    #[serde(default)]
    facts: BTreeMap<String, Value>,
    playbook: Option<String>,
}

impl TryFrom<Value> for Outcome {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let told = if value.is_string() { json!({ "outcome": value }) } else { value };
        let ToldOutcome { outcome, message, facts, playbook } = serde_json::from_value(told).map_err(|e| {
            format!(
                "write succeeded, failed or unknown, or an object with `outcome`, `message`, `facts`, `playbook` ({e})"
            )
        })?;
        Ok(Self { outcome, message, facts, playbook })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RunWord {
    Succeeded,
    Failed,
    Unknown,
}

/// What becomes of the oldest page that nobody told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PageOutcome {
    Delivered,
    Failed,
}

/// What a person does to the newest open incident, or to the oldest proposed run: a word, or `{ WORD: { by, code,
/// notes } }`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Operator {
    pub(super) act: Act,
    pub(super) details: Details,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Act {
    #[serde(alias = "acknowledge")]
    Ack,
    Resolve,
    Approve,
    Reject,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Details {
    pub(super) by: Option<String>,
    /// Of a resolve: a close code of ServiceNow.
    pub(super) code: Option<String>,
    /// Of a resolve or a rejection: in words.
    pub(super) notes: Option<String>,
}

impl TryFrom<Value> for Operator {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        const WRITE: &str = "write ack, resolve, approve or reject, or one of them with `by`, `code`, `notes`";
        if value.is_string() {
            let act = serde_json::from_value(value).map_err(|e| format!("{WRITE} ({e})"))?;
            return Ok(Self { act, details: Details::default() });
        }
        let acts: BTreeMap<Act, Option<Details>> =
            serde_json::from_value(value).map_err(|e| format!("{WRITE} ({e})"))?;
        let mut acts = acts.into_iter();
        match (acts.next(), acts.next()) {
            (Some((act, details)), None) => Ok(Self { act, details: details.unwrap_or_default() }),
            _ => Err(format!("{WRITE}: one act a step")),
        }
    }
}

/// All scenarios of a file, checked.
pub(super) fn parse(text: &str, places: &Places<'_>) -> Result<Vec<Scenario>, ScenarioError> {
    let mut scenarios = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let read = Option::<Scenario>::deserialize(document).map_err(|e| {
            let place = e.location().map(|at| places.place(at.line(), at.column()));
            (place.unwrap_or_else(|| places.at(index, "scenario")), e.to_string())
        });
        let checked = read.and_then(|read| match read {
            Some(scenario) => match scenario.check() {
                Ok(()) => Ok(Some(scenario)),
                Err((step, why)) => Err((places.at(index, &format!("steps/{step}")), why)),
            },
            None => Ok(None),
        });
        match checked {
            // A document with nothing in it but comments.
            Ok(None) => {}
            Ok(Some(scenario)) => scenarios.push(Scenario { document: index, ..scenario }),
            Err((place, message)) => return Err(ScenarioError { place, scenario: name_of(text, index), message }),
        }
    }
    if scenarios.is_empty() {
        let message = "write `scenario: what it shows`, `given:` and `steps:`".to_owned();
        return Err(ScenarioError { place: places.place(1, 1), scenario: "no scenario".to_owned(), message });
    }
    Ok(scenarios)
}

/// The name of a document that is no scenario, as far as it can be read.
fn name_of(text: &str, index: usize) -> String {
    serde_yaml::Deserializer::from_str(text)
        .nth(index)
        .and_then(|document| serde_yaml::Value::deserialize(document).ok())
        .and_then(|value| Some(format!("scenario {:?}", value.get("scenario")?.as_str()?)))
        .unwrap_or_else(|| format!("scenario {}", index + 1))
}

impl Scenario {
    /// Which step is wrong, from 0, and why.
    fn check(&self) -> Result<(), (usize, String)> {
        let mut last = Span::ZERO;
        for (index, step) in self.steps.iter().enumerate() {
            let fail = |why: String| Err((index, format!("step {} at {}: {why}", index + 1, step.at)));
            if step.at < last {
                return fail(format!("it comes after the step at {last}; write steps in the order of time"));
            }
            last = step.at;
            if !step.does_something() {
                return fail("write one of `event`, `run`, `page`, `operator` and `expect`".to_owned());
            }
            if let Some(Err(why)) = step.expect.as_ref().map(Expect::check) {
                return fail(why);
            }
        }
        Ok(())
    }
}

impl Step {
    fn does_something(&self) -> bool {
        self.event.is_some()
            || self.run.is_some()
            || self.page.is_some()
            || self.operator.is_some()
            || self.expect.is_some()
    }
}
