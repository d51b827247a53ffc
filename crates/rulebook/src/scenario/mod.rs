//! Scenarios as they are written: the tests beside a rulebook. What they mean is played elsewhere.

use std::collections::BTreeMap;

use paramedic_model::{CloseCode, Grant, OperationalStatus, Span};
use serde_json::{Map, Value};

use crate::Diagnostic;
use crate::diagnostics::{At, Report};
use crate::read::book::AUTONOMY;
use crate::read::fields::{Fields, list, span, text, whole, word};
use crate::read::yaml::{self, Kind, Node};

mod expect;
mod json;

pub use expect::Expect;

/// One scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it shows.
    pub name: String,
    /// Which document of its file, from 0.
    pub document: usize,
    /// What there is before anything happens.
    pub given: Given,
    /// In the order of time.
    pub steps: Vec<Step>,
}

/// What there is before anything happens.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// CIs.
    pub cis: Vec<GivenCi>,
    /// Relations between them.
    pub relations: Vec<GivenRelation>,
    /// Instead of what the rulebooks ask.
    pub grants: Option<Vec<Grant>>,
}

/// A CI, as in a CMDB file.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct GivenCi {
    pub name: String,
    pub class: String,
    pub external_ids: Vec<String>,
    pub environment: Option<String>,
    /// 1 most .. 4 least.
    pub criticality: Option<u8>,
    pub owner: Option<String>,
    pub operational_status: Option<OperationalStatus>,
    pub attributes: BTreeMap<String, Value>,
}

/// A relation, as in a CMDB file.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct GivenRelation {
    pub from: String,
    pub kind: String,
    pub to: String,
}

/// What happens, or is expected, at an instant; where a step has several of these, in this order.
#[derive(Clone, Debug)]
pub struct Step {
    /// Since the beginning.
    pub at: Span,
    /// An event of our own format, not looked into.
    pub event: Option<Map<String, Value>>,
    /// What becomes of the oldest run in flight.
    pub run: Option<Outcome>,
    /// What becomes of the oldest page that nobody told about: whether it is delivered.
    pub page: Option<bool>,
    /// What a person does to the newest open incident, or to the oldest proposed run.
    pub operator: Option<Operator>,
    /// What must be so then.
    pub expect: Option<Expect>,
}

/// What becomes of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ends.
    pub outcome: RunWord,
    /// In words.
    pub message: String,
    /// What it found out.
    pub facts: BTreeMap<String, Value>,
    /// Of this playbook.
    pub playbook: Option<String>,
    /// On the CI of this name.
    pub target: Option<String>,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RunWord {
    Succeeded,
    Failed,
    Unknown,
}

/// An act of a person, with its details.
#[derive(Clone, Debug)]
pub struct Operator {
    /// What is done.
    pub act: Act,
    /// Who does it.
    pub by: Option<String>,
    /// Of a resolve.
    pub code: Option<CloseCode>,
    /// Of a resolve or a rejection: in words.
    pub notes: Option<String>,
}

/// What a person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Act {
    Ack,
    Resolve,
    Approve,
    Reject,
}

const GIVEN: [&str; 3] = ["cis", "relations", "grants"];
const CI: [&str; 8] =
    ["name", "class", "external_ids", "environment", "criticality", "owner", "operational_status", "attributes"];
const GRANT: [&str; 5] = ["rulebook", "autonomy", "playbooks", "ci_classes", "environments"];
const STEP: [&str; 6] = ["at", "event", "run", "page", "operator", "expect"];
/// Words of a step that do something.
const DOING: [&str; 5] = ["event", "run", "page", "operator", "expect"];
const OUTCOME: [&str; 5] = ["outcome", "message", "facts", "playbook", "target"];
const RUN_WORDS: [(&str, RunWord); 3] =
    [("succeeded", RunWord::Succeeded), ("failed", RunWord::Failed), ("unknown", RunWord::Unknown)];
const ACTS: [(&str, Act); 5] = [
    ("ack", Act::Ack),
    ("acknowledge", Act::Ack),
    ("resolve", Act::Resolve),
    ("approve", Act::Approve),
    ("reject", Act::Reject),
];
const STATUSES: [(&str, OperationalStatus); 6] = [
    ("operational", OperationalStatus::Operational),
    ("non_operational", OperationalStatus::NonOperational),
    ("repair_in_progress", OperationalStatus::RepairInProgress),
    ("dr_standby", OperationalStatus::DrStandby),
    ("ready", OperationalStatus::Ready),
    ("retired", OperationalStatus::Retired),
];

const WRITE: &str = "write `scenario: what it shows`, `given:` and `steps:`";

/// Reads a file of scenarios: those that could be read, in order, and every problem.
pub fn read(file: &str, text: &str) -> (Vec<Scenario>, Vec<Diagnostic>) {
    let mut report = Report::new(file, text);
    let (documents, whole) = yaml::documents(text, &mut report);
    let mut scenarios = Vec::new();
    let mut any = !whole;
    for (document, (_, node)) in documents.iter().enumerate() {
        // A document with nothing in it but comments.
        if node.is_empty() {
            continue;
        }
        any = true;
        scenarios.extend(scenario(node, document, &mut report));
    }
    if !any {
        report.error(At { line: 1, column: 1 }, "no scenario is in the file", Some(WRITE.to_owned()));
    }
    report.found.sort_by(|a, b| a.place.cmp(&b.place));
    (scenarios, report.found)
}

fn scenario(node: &Node, document: usize, report: &mut Report<'_>) -> Option<Scenario> {
    let fields = Fields::open(node, "a scenario", &["scenario", "given", "steps"], report)?;
    let name = fields.must("scenario", WRITE, report).and_then(|n| text(n, report)).map(str::to_owned);
    let given = fields.get("given", report).and_then(|n| given(n, report)).unwrap_or_default();
    let written = fields.must("steps", "each step begins with `- at: 0s`", report);
    let mut steps = Vec::new();
    let mut last = Span::ZERO;
    for node in written.map_or(&[][..], |n| list(n, report)) {
        steps.extend(step(node, &mut last, report));
    }
    Some(Scenario { name: name?, document, given, steps })
}

fn given(node: &Node, report: &mut Report<'_>) -> Option<Given> {
    let fields = Fields::open(node, "`given`", &GIVEN, report)?;
    let mut found = Given::default();
    if let Some(node) = fields.get("cis", report) {
        found.cis = list(node, report).iter().filter_map(|n| ci(n, report)).collect();
    }
    if let Some(node) = fields.get("relations", report) {
        found.relations = list(node, report).iter().filter_map(|n| relation(n, report)).collect();
    }
    if let Some(node) = fields.get("grants", report) {
        found.grants = Some(list(node, report).iter().filter_map(|n| grant(n, report)).collect());
    }
    Some(found)
}

fn ci(node: &Node, report: &mut Report<'_>) -> Option<GivenCi> {
    let fields = Fields::open(node, "a CI", &CI, report)?;
    let example = "for example `{ name: web-1, class: server }`";
    let name = fields.must("name", example, report).and_then(|n| text(n, report)).map(str::to_owned);
    let class = fields.must("class", example, report).and_then(|n| text(n, report)).map(str::to_owned);
    let criticality = fields.get("criticality", report).and_then(|n| whole(n, 1, 4, report));
    let attributes = fields.get("attributes", report).and_then(|n| members(n, "`attributes`", report));
    Some(GivenCi {
        external_ids: fields.texts("external_ids", report),
        environment: fields.text("environment", report),
        criticality: criticality.and_then(|n| u8::try_from(n).ok()),
        owner: fields.text("owner", report),
        operational_status: fields.get("operational_status", report).and_then(|n| word(n, &STATUSES, report)),
        attributes: attributes.unwrap_or_default().into_iter().collect(),
        name: name?,
        class: class?,
    })
}

fn relation(node: &Node, report: &mut Report<'_>) -> Option<GivenRelation> {
    let fields = Fields::open(node, "a relation", &["from", "kind", "to"], report)?;
    let mut must = |name| {
        let example = "for example `{ from: web-1, kind: depends_on, to: db-1 }`";
        fields.must(name, example, report).and_then(|n| text(n, report)).map(str::to_owned)
    };
    let (from, kind, to) = (must("from"), must("kind"), must("to"));
    Some(GivenRelation { from: from?, kind: kind?, to: to? })
}

fn grant(node: &Node, report: &mut Report<'_>) -> Option<Grant> {
    let fields = Fields::open(node, "a grant", &GRANT, report)?;
    let example = "for example `{ rulebook: \"*\", autonomy: auto }`";
    let rulebook = fields.must("rulebook", example, report).and_then(|n| text(n, report)).map(str::to_owned);
    let autonomy = fields.must("autonomy", example, report).and_then(|n| word(n, &AUTONOMY, report));
    let mut texts = |name| fields.has(name).then(|| fields.texts(name, report));
    let (playbooks, ci_classes, environments) = (texts("playbooks"), texts("ci_classes"), texts("environments"));
    Some(Grant { rulebook: rulebook?, autonomy: autonomy?, playbooks, ci_classes, environments })
}

/// `last` is the instant of the step before, and becomes this one's.
fn step(node: &Node, last: &mut Span, report: &mut Report<'_>) -> Option<Step> {
    let fields = Fields::open(node, "a step", &STEP, report)?;
    let written = fields.must("at", "since the beginning: `at: 0s`, `at: 5m`", report);
    let at = written.and_then(|n| span(n, report).map(|at| (n.at, at)));
    if let Some((place, at)) = at {
        if at < *last {
            let help = Some("steps stand in the order of time".to_owned());
            report.error(place, format!("this step at {at} comes after the one at {last}"), help);
        }
        *last = at.max(*last);
    }
    if !DOING.iter().any(|word| fields.has(word)) {
        let help = format!("write one of {}", DOING.map(|word| format!("`{word}`")).join(", "));
        report.error(fields.at, "nothing happens in this step, and nothing is expected", Some(help));
    }
    let step = Step {
        at: at.map(|(_, at)| at).unwrap_or_default(),
        event: fields.get("event", report).and_then(|n| members(n, "an event", report)),
        run: fields.get("run", report).and_then(|n| outcome(n, report)),
        page: fields.get("page", report).and_then(|n| word(n, &[("delivered", true), ("failed", false)], report)),
        operator: fields.get("operator", report).and_then(|n| operator(n, report)),
        expect: fields.get("expect", report).and_then(|n| expect::read(n, report)),
    };
    Some(step)
}

/// A word, or a map with more.
fn outcome(node: &Node, report: &mut Report<'_>) -> Option<Outcome> {
    if matches!(node.kind, Kind::Scalar { .. }) {
        let outcome = word(node, &RUN_WORDS, report)?;
        return Some(Outcome { outcome, message: String::new(), facts: BTreeMap::new(), playbook: None, target: None });
    }
    let fields = Fields::open(node, "`run`", &OUTCOME, report)?;
    let help = "write `outcome: succeeded`, `failed` or `unknown`";
    let outcome = fields.must("outcome", help, report).and_then(|n| word(n, &RUN_WORDS, report));
    let facts = fields.get("facts", report).and_then(|n| members(n, "`facts`", report)).unwrap_or_default();
    Some(Outcome {
        message: fields.text("message", report).unwrap_or_default(),
        facts: facts.into_iter().collect(),
        playbook: fields.text("playbook", report),
        target: fields.text("target", report),
        outcome: outcome?,
    })
}

/// A word, or `{ WORD: { by, code, notes } }`.
fn operator(node: &Node, report: &mut Report<'_>) -> Option<Operator> {
    let Kind::Map(entries) = &node.kind else {
        let act = word(node, &ACTS, report)?;
        return Some(Operator { act, by: None, code: None, notes: None });
    };
    let fields = Fields::open(node, "`operator`", &["ack", "acknowledge", "resolve", "approve", "reject"], report)?;
    if let Some((second, _)) = entries.get(1) {
        report.error(
            second.at,
            "one act a step",
            Some("give the second a step of its own, at the same time".to_owned()),
        );
    }
    let (key, details) = entries.first()?;
    let (_, act) = ACTS.into_iter().find(|(word, _)| *word == key.name)?;
    if details.is_empty() {
        return Some(Operator { act, by: None, code: None, notes: None });
    }
    let details = fields.get(&key.name, report)?;
    let fields = Fields::open(details, "an act", &["by", "code", "notes"], report)?;
    let codes = CloseCode::ALL.map(|code| (code.name(), code));
    let code = fields.get("code", report).and_then(|n| word(n, &codes, report));
    Some(Operator { act, by: fields.text("by", report), code, notes: fields.text("notes", report) })
}

/// A map of values.
fn members(node: &Node, what: &str, report: &mut Report<'_>) -> Option<Map<String, Value>> {
    match json::of(node) {
        Value::Object(members) => Some(members),
        _ => {
            if !matches!(node.kind, Kind::Bad) {
                report.error(node.at, format!("expected {what} as a map, found {}", node.what()), None);
            }
            None
        }
    }
}

#[cfg(test)]
mod tests;
