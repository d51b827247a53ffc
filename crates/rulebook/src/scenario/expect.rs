//! What a scenario expects: only what is written is compared.

use paramedic_model::{CloseCode, IncidentState, RunState, Verdict};
use serde_json::{Map, Value};

use super::members;
use crate::diagnostics::Report;
use crate::read::fields::{Fields, whole, word};
use crate::read::yaml::{Kind, Node};

/// An `expect:`.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// The newest incident; with `about` or `rule`, the newest of those.
    pub incident: Option<Map<String, Value>>,
    /// How many were opened so far.
    pub incidents: Option<usize>,
    /// The newest run; with `playbook`, the newest of that playbook, if there is one.
    pub run: Option<Map<String, Value>>,
    /// How many were decided so far.
    pub runs: Option<usize>,
    /// The newest page; with `to`, the newest to that recipient, if there is one.
    pub page: Option<Map<String, Value>>,
    /// How many were decided so far.
    pub pages: Option<usize>,
    /// The newest event to a topic; with `topic`, the newest to that one, if there is one.
    pub emit: Option<Map<String, Value>>,
    /// How many were decided so far.
    pub emits: Option<usize>,
    /// Part of the newest note on an incident.
    pub note: Option<String>,
    /// The CI with this name.
    pub ci: Option<Map<String, Value>>,
}

const EXPECT: [&str; 10] = ["incident", "incidents", "run", "runs", "page", "pages", "emit", "emits", "note", "ci"];
const INCIDENT: [&str; 18] = [
    "state",
    "priority",
    "impact",
    "urgency",
    "severity",
    "close_code",
    "close_notes",
    "summary",
    "assigned_to",
    "category",
    "count",
    "reopen_count",
    "rulebook",
    "rule",
    "about",
    "acknowledged_by",
    "shadow",
    "evidence",
];
const RUN: [&str; 10] =
    ["playbook", "target", "with", "state", "verdict", "message", "facts", "step", "round", "decided_by"];
const PAGE: [&str; 4] = ["to", "reason", "step", "shadow"];
const EMIT: [&str; 12] =
    ["topic", "key", "type", "status", "severity", "ci", "dedup_key", "summary", "value", "labels", "step", "shadow"];
const CI: [&str; 7] = ["name", "class", "environment", "operational_status", "owner", "criticality", "attributes"];

/// So many records of a kind a scenario may expect.
const MOST: u32 = 1_000_000;

/// Names and words that are misspelt would else be expectations that nothing can meet.
pub(super) fn read(node: &Node, report: &mut Report<'_>) -> Option<Expect> {
    let fields = Fields::open(node, "`expect`", &EXPECT, report)?;
    let ci = record(&fields, "ci", "the CI", &CI, report);
    if let (Some(ci), Some(at)) = (&ci, fields.key("ci"))
        && !ci.get("name").is_some_and(Value::is_string)
    {
        report.error(at, "the CI needs `name`", Some("for example `ci: { name: web-1 }`".to_owned()));
    }
    let incident = record(&fields, "incident", "the incident", &INCIDENT, report);
    one_of(&fields, "incident", "state", &IncidentState::ALL.map(IncidentState::name), report);
    one_of(&fields, "incident", "close_code", &CloseCode::ALL.map(CloseCode::name), report);
    let run = record(&fields, "run", "the run", &RUN, report);
    one_of(&fields, "run", "state", &RunState::ALL.map(RunState::name), report);
    one_of(&fields, "run", "verdict", &Verdict::ALL.map(Verdict::name), report);
    let page = record(&fields, "page", "the page", &PAGE, report);
    let emit = record(&fields, "emit", "the event", &EMIT, report);
    let note = fields.text("note", report);
    let mut count = |name| {
        let found = fields.get(name, report).and_then(|n| whole(n, 0, MOST, report));
        found.and_then(|n| usize::try_from(n).ok())
    };
    let (incidents, runs, pages, emits) = (count("incidents"), count("runs"), count("pages"), count("emits"));
    Some(Expect { incident, incidents, run, runs, page, pages, emit, emits, note, ci })
}

fn record(
    fields: &Fields<'_>,
    name: &str,
    owner: &'static str,
    known: &'static [&'static str],
    report: &mut Report<'_>,
) -> Option<Map<String, Value>> {
    let node = fields.get(name, report)?;
    Fields::open(node, owner, known, report)?;
    members(node, owner, report)
}

/// A word that is none of these. Nothing at all may be expected, too.
fn one_of(fields: &Fields<'_>, record: &str, name: &str, words: &[&'static str], report: &mut Report<'_>) {
    let Some(Kind::Map(entries)) = fields.node(record).map(|n| &n.kind) else { return };
    let written = entries.iter().find(|(key, node)| key.name == name && !node.is_empty());
    if let Some((_, node)) = written {
        let words: Vec<(&'static str, ())> = words.iter().map(|word| (*word, ())).collect();
        word(node, &words, report);
    }
}
