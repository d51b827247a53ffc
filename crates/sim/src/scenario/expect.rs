//! What a scenario expects: only what is given is compared.

use paramedic_model::{Ci, Cmdb, Incident, Level, Page, Run};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::book::Book;

/// An `expect:`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expect {
    /// The newest incident; with `about` or `rule`, the newest of those.
    incident: Option<Map<String, Value>>,
    /// How many were opened so far.
    incidents: Option<usize>,
    /// The newest run; with `playbook`, the newest of that playbook, if there is one.
    run: Option<Map<String, Value>>,
    /// How many were decided so far.
    runs: Option<usize>,
    /// The newest page; with `to`, the newest to that recipient, if there is one.
    page: Option<Map<String, Value>>,
    /// How many were decided so far.
    pages: Option<usize>,
    /// The CI with this name.
    ci: Option<Map<String, Value>>,
}

const INCIDENT: &[&str] = &[
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
const RUN: &[&str] =
    &["playbook", "target", "with", "state", "verdict", "message", "facts", "step", "round", "decided_by"];
const PAGE: &[&str] = &["to", "reason", "step", "shadow"];
const CI: &[&str] = &["name", "class", "environment", "operational_status", "owner", "criticality", "attributes"];

impl Expect {
    /// Names that are misspelt would else be expectations that nothing can meet.
    pub(super) fn check(&self) -> Result<(), String> {
        let parts = [
            ("incident", &self.incident, INCIDENT),
            ("run", &self.run, RUN),
            ("page", &self.page, PAGE),
            ("ci", &self.ci, CI),
        ];
        for (what, given, known) in parts {
            let unknown = given.iter().flat_map(Map::keys).find(|key| !known.contains(&key.as_str()));
            if let Some(key) = unknown {
                return Err(format!("expect: {what} has no {key:?}; it has: {}", known.join(", ")));
            }
        }
        if self.ci.as_ref().is_some_and(|ci| !ci.get("name").is_some_and(Value::is_string)) {
            return Err("expect: ci needs `name`".to_owned());
        }
        Ok(())
    }

    pub(super) fn failures(&self, book: &Book, cmdb: Option<&Cmdb>) -> Vec<String> {
        let mut failures = Vec::new();
        let counts = [
            ("incidents", self.incidents, book.incidents().count()),
            ("runs", self.runs, book.runs().count()),
            ("pages", self.pages, book.pages.len()),
        ];
        for (what, expected, found) in counts {
            if let Some(expected) = expected.filter(|n| *n != found) {
                failures.push(format!("{what}: expected {expected}, found {found}"));
            }
        }
        if let Some(given) = &self.incident {
            let wanted = |i: &&Incident| {
                same_text(given, "about", i.about.as_deref()) && same_text(given, "rule", Some(&i.rule))
            };
            match book.incidents().rfind(wanted).or_else(|| book.incidents().next_back()) {
                Some(incident) => compare("incident", given, &incident_view(incident), &mut failures),
                None => failures.push("incident: expected one, found none".to_owned()),
            }
        }
        if let Some(given) = &self.run {
            let wanted = |r: &&Run| same_text(given, "playbook", Some(&r.playbook));
            match book.runs().rfind(wanted).or_else(|| book.runs().next_back()) {
                Some(run) => compare("run", given, &run_view(run), &mut failures),
                None => failures.push("run: expected one, found none".to_owned()),
            }
        }
        if let Some(given) = &self.page {
            let wanted = |p: &&Page| same_text(given, "to", Some(&p.to));
            match book.pages.iter().rfind(wanted).or_else(|| book.pages.last()) {
                Some(page) => compare("page", given, &page_view(page), &mut failures),
                None => failures.push("page: expected one, found none".to_owned()),
            }
        }
        if let Some(given) = &self.ci {
            let name = given.get("name").and_then(Value::as_str).unwrap_or_default();
            match cmdb.map(|cmdb| cmdb.named(name)) {
                Some(Ok(ci)) => compare(&format!("ci {name}"), given, &ci_view(ci), &mut failures),
                Some(Err(why)) => failures.push(format!("ci: {why}")),
                None => failures.push(format!("ci: no CI is named {name:?}")),
            }
        }
        failures
    }
}

/// Whether what is given under a name, if anything, is this text.
fn same_text(given: &Map<String, Value>, name: &str, found: Option<&str>) -> bool {
    given.get(name).is_none_or(|expected| expected.as_str() == found)
}

fn compare(what: &str, given: &Map<String, Value>, found: &Value, failures: &mut Vec<String>) {
    for (name, expected) in given {
        let found = found.get(name).unwrap_or(&Value::Null);
        if !meets(name, expected, found) {
            failures.push(format!("{what}.{name}: expected {}, found {}", show(expected), show(found)));
        }
    }
}

/// Whether a value is as expected: of objects only what is given is compared, numbers as numbers; impact and
/// urgency by code or word; a reason may be a part of it.
fn meets(name: &str, expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            expected.iter().all(|(k, v)| meets(k, v, found.get(k).unwrap_or(&Value::Null)))
        }
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::String(word), Value::Number(code)) if matches!(name, "impact" | "urgency") => {
            Level::from_name(word).map(|level| u64::from(level.code())) == code.as_u64()
        }
        (Value::String(part), Value::String(whole)) if matches!(name, "reason" | "message") => {
            whole.contains(part.as_str())
        }
        (expected, found) => expected == found,
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn incident_view(i: &Incident) -> Value {
    json!({
        "state": i.state,
        "priority": i.priority(),
        "impact": i.impact,
        "urgency": i.urgency,
        "severity": i.severity,
        "close_code": i.close_code,
        "close_notes": i.close_notes,
        "summary": i.summary,
        "assigned_to": i.assigned_to,
        "category": i.category,
        "count": i.matched,
        "reopen_count": i.reopen_count,
        "rulebook": i.rulebook,
        "rule": i.rule,
        "about": i.about,
        "acknowledged_by": i.acknowledged.as_ref().map(|(who, _)| who),
        "shadow": i.shadow,
        "evidence": i.evidence.is_some(),
    })
}

fn run_view(r: &Run) -> Value {
    json!({
        "playbook": r.playbook,
        "target": r.target.name,
        "with": r.parameters,
        "state": r.state,
        "verdict": r.verdict,
        "message": r.message,
        "facts": r.facts,
        "step": r.step,
        "round": r.round,
        "decided_by": r.decided_by,
    })
}

fn page_view(p: &Page) -> Value {
    json!({ "to": p.to, "reason": p.reason, "step": p.step, "shadow": p.shadow })
}

fn ci_view(ci: &Ci) -> Value {
    let attributes: Map<String, Value> = ci.attributes.iter().map(|(k, a)| (k.clone(), a.value.clone())).collect();
    json!({
        "name": ci.name,
        "class": ci.class,
        "environment": ci.environment,
        "operational_status": ci.operational_status,
        "owner": ci.owner,
        "criticality": ci.criticality,
        "attributes": attributes,
    })
}
