//! What a scenario expects: only what is given is compared.

use paramedic_model::{Ci, Cmdb, Emit, Id, Incident, Level, Page, Run};
use paramedic_rulebook::scenario::Expect;
use serde_json::{Map, Value, json};

use super::book::Book;

/// What is not as expected, and what else there is.
pub(super) fn compare(expect: &Expect, book: &Book, cmdb: Option<&Cmdb>) -> Compared {
    let mut out = Compared::default();
    out.count("incidents", expect.incidents, book.incidents().count());
    out.count("runs", expect.runs, book.runs().count());
    out.count("pages", expect.pages, book.pages.len());
    out.count("emits", expect.emits, book.emits.len());
    if let Some(given) = &expect.incident {
        let wanted =
            |i: &&Incident| same_text(given, "about", i.about.as_deref()) && same_text(given, "rule", Some(&i.rule));
        let found = book.incidents().rfind(wanted).or_else(|| book.incidents().next_back());
        out.record("incident", given, found.map(incident_view));
        out.compared.incident = found.map(|i| i.id);
    }
    if let Some(given) = &expect.run {
        let wanted = |r: &&Run| same_text(given, "playbook", Some(&r.playbook));
        let found = book.runs().rfind(wanted).or_else(|| book.runs().next_back());
        out.record("run", given, found.map(run_view));
        out.compared.run = found.map(|r| r.id);
    }
    if let Some(given) = &expect.page {
        let wanted = |p: &&Page| same_text(given, "to", Some(&p.to));
        let found = book.pages.iter().rfind(wanted).or_else(|| book.pages.last());
        out.record("page", given, found.map(page_view));
        out.compared.page = found.map(|p| p.id);
    }
    if let Some(given) = &expect.emit {
        let wanted = |e: &&Emit| same_text(given, "topic", Some(&e.topic));
        let found = book.emits.iter().rfind(wanted).or_else(|| book.emits.last());
        out.record("emit", given, found.map(emit_view));
        out.compared.emit = found.map(|e| e.id);
    }
    if let Some(given) = &expect.note {
        let found = book.notes.last();
        if !found.is_some_and(|note| note.contains(given.as_str())) {
            let found = found.map_or("no note", String::as_str);
            out.misses.push(Unmet::below_expect(&["note"], given.clone(), found.to_owned()));
        }
    }
    if let Some(given) = &expect.ci {
        let name = given.get("name").and_then(Value::as_str).unwrap_or_default();
        match cmdb.map(|cmdb| cmdb.named(name)) {
            Some(Ok(ci)) => out.record("ci", given, Some(ci_view(ci))),
            Some(Err(why)) => out.misses.push(Unmet::below_expect(&["ci"], name.to_owned(), why.to_string())),
            None => out.misses.push(Unmet::below_expect(&["ci"], name.to_owned(), "no CI at all".to_owned())),
        }
    }
    out
}

/// What came of a comparison.
#[derive(Default)]
pub(super) struct Compared {
    pub(super) misses: Vec<Unmet>,
    pub(super) compared: Records,
}

/// Which records were compared.
#[derive(Default)]
pub(super) struct Records {
    pub(super) incident: Option<Id>,
    pub(super) run: Option<Id>,
    pub(super) page: Option<Id>,
    pub(super) emit: Option<Id>,
}

/// An expectation that was not met.
pub(super) struct Unmet {
    /// Where it stands in its step: `expect/incident/state`.
    pub(super) path: String,
    /// `incident.state`.
    pub(super) what: String,
    pub(super) expected: String,
    pub(super) found: String,
}

impl Unmet {
    /// Of an act, which stands beside `expect`.
    pub(super) fn of_act(act: &str, expected: String, found: String) -> Self {
        Self { path: act.to_owned(), what: act.to_owned(), expected, found }
    }

    fn below_expect(names: &[&str], expected: String, found: String) -> Self {
        Self { path: format!("expect/{}", names.join("/")), what: names.join("."), expected, found }
    }

    /// `incident` of `incident.state`.
    pub(super) fn kind(&self) -> &str {
        self.what.split('.').next().unwrap_or_default()
    }
}

impl Compared {
    fn count(&mut self, what: &str, expected: Option<usize>, found: usize) {
        if let Some(expected) = expected.filter(|n| *n != found) {
            self.misses.push(Unmet::below_expect(&[what], expected.to_string(), found.to_string()));
        }
    }

    fn record(&mut self, what: &str, given: &Map<String, Value>, found: Option<Value>) {
        match found {
            Some(found) => self.fields(&[what], given, &found),
            None => self.misses.push(Unmet::below_expect(&[what], "one".to_owned(), "none".to_owned())),
        }
    }

    /// Only what is given is compared, objects by their members.
    fn fields(&mut self, above: &[&str], given: &Map<String, Value>, found: &Value) {
        for (name, expected) in given {
            let found = found.get(name).unwrap_or(&Value::Null);
            let names = [above, &[name.as_str()]].concat();
            match (expected, found) {
                (Value::Object(expected), Value::Object(_)) => self.fields(&names, expected, found),
                _ if meets(name, expected, found) => {}
                _ => self.misses.push(Unmet::below_expect(&names, show(expected), show(found))),
            }
        }
    }
}

/// Whether what is given under a name, if anything, is this text.
fn same_text(given: &Map<String, Value>, name: &str, found: Option<&str>) -> bool {
    given.get(name).is_none_or(|expected| expected.as_str() == found)
}

/// Whether a value is as expected: numbers as numbers, impact and urgency by code or word; a reason or message may be a
/// part of it.
fn meets(name: &str, expected: &Value, found: &Value) -> bool {
    match (expected, found) {
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

fn emit_view(e: &Emit) -> Value {
    let mut view = e.event.clone();
    for (name, value) in [("topic", &e.topic), ("key", &e.key), ("step", &e.step)] {
        view.insert(name.to_owned(), value.as_str().into());
    }
    view.insert("shadow".to_owned(), e.shadow.into());
    Value::Object(view)
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
