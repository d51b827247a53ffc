//! The chain of a record: the events that made it, the rule, what was decided, the guards, the runs, the evidence.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::args::ExplainArgs;
use crate::client::Client;
use crate::operate::{items, print, whole_id};
use crate::show::{printable, short_time, text};
use crate::{Done, Outcome};

/// Of an incident, or of a run and what led to it.
pub(super) fn of_record(args: &ExplainArgs, name: &str) -> Outcome {
    let client = Client::new(&args.api)?;
    let (incident, run) = match is_incident(name) {
        true => (name.to_owned(), None),
        false => {
            let run = whole_id(&client, name)?;
            let known = client.get(&format!("/api/v1/runs/{run}"), &[])?;
            (text(&known["run"], "incident").to_owned(), Some(run))
        }
    };
    let whole = client.get(&format!("/api/v1/incidents/{incident}"), &[])?;
    let chain = Chain::of(&whole, run.as_deref());
    print(&args.api, &chain.json(), |_| chain.human());
    Ok(Done::Well)
}

/// INC0000042, or 42; a run's id has letters, or is longer.
fn is_incident(name: &str) -> bool {
    let digits = name.get(..3).filter(|prefix| prefix.eq_ignore_ascii_case("INC")).map_or(name, |_| &name[3..]);
    !digits.is_empty() && digits.len() <= 12 && digits.bytes().all(|b| b.is_ascii_digit())
}

/// What one input made of the record.
struct Link<'v> {
    /// What came.
    cause: String,
    rows: Vec<&'v Value>,
}

struct Chain<'v> {
    incident: &'v Value,
    /// All of them, or the one that is asked about.
    runs: Vec<&'v Value>,
    pages: &'v Value,
    links: Vec<Link<'v>>,
}

impl<'v> Chain<'v> {
    fn of(whole: &'v Value, run: Option<&str>) -> Self {
        let is_asked = |r: &&Value| run.is_none_or(|id| r["id"] == id);
        let runs: Vec<&Value> = whole["runs"].as_array().into_iter().flatten().filter(is_asked).collect();
        let mut links: Vec<Link<'v>> = Vec::new();
        for row in whole["history"].as_array().into_iter().flatten().filter(|row| run.is_none_or(|id| leads_to(row, id))) {
            match links.last_mut() {
                Some(link) if link.rows.iter().all(|r| r["input"] == row["input"] && r["at"] == row["at"]) => {
                    link.rows.push(row);
                }
                _ => links.push(Link { cause: cause(row), rows: vec![row] }),
            }
        }
        Self { incident: &whole["incident"], runs, pages: &whole["pages"], links }
    }

    fn json(&self) -> Value {
        let links: Vec<Value> = self.links.iter().map(|l| json!({"cause": l.cause, "steps": l.rows})).collect();
        json!({"incident": self.incident, "chain": links, "runs": self.runs, "pages": self.pages})
    }

    fn human(&self) -> String {
        let mut out = String::new();
        let i = self.incident;
        let _ = writeln!(out, "{}  {}", text(i, "number"), printable(text(i, "summary")));
        let _ = writeln!(out, "  {}, priority {}, about {}", text(i, "state"), i["priority"], printable(text(i, "about")));
        let by: Vec<String> = items(i, "by").iter().map(Value::to_string).collect();
        let _ = writeln!(
            out,
            "  rule {}/{} for {} (rules {:.12})",
            text(i, "rulebook"),
            text(i, "rule"),
            if by.is_empty() { "its alert".to_owned() } else { printable(&by.join(", ")) },
            text(i, "set")
        );
        if let Some(event) = i["event"].as_object() {
            let _ = writeln!(out, "  opened by {}", printable(&said(&Value::Object(event.clone()))));
        }
        let _ = writeln!(out, "  matched {} time{}", i["matched"], if i["matched"] == 1 { "" } else { "s" });
        for link in &self.links {
            let at = link.rows.first().map(|row| short_time(&row["at"])).unwrap_or_default();
            let _ = writeln!(out, "\n{at}  {}", printable(&link.cause));
            for row in &link.rows {
                let _ = writeln!(out, "  {:<16} {}", text(row, "step"), printable(text(row, "reason")));
                self.details(&mut out, row);
            }
        }
        out
    }

    /// The first step that tells of a run.
    fn first_report_of(&self, run: &Value) -> Option<&Value> {
        let mut rows = self.links.iter().flat_map(|link| &link.rows).copied();
        rows.find(|row| text(row, "step") == "run_reported" && row["data"]["report"]["run"] == *run)
    }

    /// The step with which a person has let a run go, if one did.
    fn approval_of(&self, run: &Value) -> Option<&Value> {
        let mut rows = self.links.iter().flat_map(|link| &link.rows).copied();
        rows.find(|row| text(row, "step") == "run_released" && row["record"] == *run)
    }

    fn guards(&self, out: &mut String, run: &Value) {
        let Some(run) = self.runs.iter().find(|known| known["id"] == *run) else { return };
        for verdict in items(&run["outbox"], "verdicts") {
            let says = verdict["says"].as_str().map_or_else(|| "defer".to_owned(), str::to_owned);
            let (guard, reason) = (text(&verdict, "guard"), printable(text(&verdict, "reason")));
            let _ = writeln!(out, "{:<19}guard {guard} says {says}: {reason}", "");
        }
    }

    /// What a step's reason does not say: a run's request and its guards, the evidence, what became of a page.
    fn details(&self, out: &mut String, row: &Value) {
        let data = &row["data"];
        match text(row, "step") {
            "run_decided" => {
                let id = &data["run"]["id"];
                let _ = writeln!(out, "{:<19}run {}, parameters {}", "", text(&data["run"], "id"), printable(&data["run"]["parameters"].to_string()));
                if data["run"]["state"] == "proposed" {
                    let _ = writeln!(out, "{:<19}it waits for approval: nothing leaves before a person says yes", "");
                }
                // The guards are asked when it is to leave.
                if self.first_report_of(id).is_none() && self.approval_of(id).is_none() {
                    self.guards(out, id);
                }
            }
            "run_released" if self.first_report_of(&row["record"]).is_none() => self.guards(out, &row["record"]),
            "run_reported" => {
                let id = &data["report"]["run"];
                if self.first_report_of(id).is_some_and(|first| first["seq"] == row["seq"]) {
                    self.guards(out, id);
                }
            }
            "emit_decided" => {
                let (emit, event) = (&data["emit"], printable(&data["emit"]["event"].to_string()));
                let would = if emit["shadow"] == true { ", would have been sent" } else { "" };
                let _ = writeln!(out, "{:<19}event {}: {event}{would}", "", text(emit, "id"));
            }
            "evidence_seen" => evidence(out, &data["evidence"]),
            "page_decided" => {
                let pages = items(self.pages, "");
                let delivery = pages.iter().find(|page| page["id"] == data["page"]["id"]).map(|page| &page["delivery"]);
                if let Some(state) = delivery.and_then(|d| d["state"].as_str()) {
                    let _ = writeln!(out, "{:<19}delivery: {state}", "");
                }
            }
            _ => {}
        }
    }
}

fn evidence(out: &mut String, evidence: &Value) {
    let _ = writeln!(out, "{:<19}evidence: event {} of {}", "", printable(text(evidence, "input")), short_time(&evidence["time"]));
}

/// Whether a step of the incident, or of one of its runs, is part of the chain of one run.
fn leads_to(row: &Value, run: &str) -> bool {
    let data = &row["data"];
    match text(row, "step") {
        "run_decided" => data["run"]["id"] == run,
        "incident_opened" | "evidence_seen" | "evidence_lost" => true,
        "incident_moved" => data["evidence"].is_object(),
        _ => row["record"] == run,
    }
}

/// What made a step so.
fn cause(row: &Value) -> String {
    let (actor, input) = (text(row, "actor"), text(row, "input"));
    match (actor.split_once(':'), input.split_once('|')) {
        (Some(("person", name)), _) => format!("{name} acts"),
        (Some(("run", _)), _) => "a run is told of".to_owned(),
        (_, Some(("timer", _))) => "a time is reached".to_owned(),
        _ if actor == "notifier" => "a page is told of".to_owned(),
        _ if actor == "producer" => "an event to a topic is told of".to_owned(),
        // A rule is told with its digest.
        _ if actor.contains('@') => format!("event {input}, for which {actor} held"),
        _ => format!("event {input}"),
    }
}

/// An event in a line.
fn said(event: &Value) -> String {
    let mut out = format!("event {}: {}", event["id"].as_str().unwrap_or("without id"), text(event, "type"));
    for name in ["status", "severity", "value", "labels"] {
        match &event[name] {
            Value::Null => {}
            Value::String(text) => {
                let _ = write!(out, ", {text}");
            }
            Value::Object(members) if members.is_empty() => {}
            other => {
                let _ = write!(out, ", {name} {other}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_names_an_incident_and_hex_digits_a_run() {
        for name in ["INC0000042", "inc42", "42"] {
            assert!(is_incident(name), "{name}");
        }
        for name in ["5698a831", "5698a8319a134e976695d4a2eb709f33", "00000000000000000000000000000042", "INC", ""] {
            assert!(!is_incident(name), "{name}");
        }
    }
}
