//! What happens and why, in a few plain lines; and whether the loop closed.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_engine::outbox::incident_number;
use paramedic_model::{CloseCode, HistoryRow, Id, Incident, IncidentState, Timestamp, Verdict as Judged};
use paramedic_store::{IncidentFilter, RunFilter, Store};

use super::world::World;

/// How the demo ends.
pub(crate) enum Verdict {
    /// One host was repaired and verified; for the other a person was paged.
    Closed,
    /// Not so, for the reason given.
    Open(String),
}

/// Reads the history as it grows, and tells it.
pub(crate) struct Story {
    store: Arc<dyn Store>,
    next: u64,
    began: Option<Timestamp>,
    names: BTreeMap<Id, String>,
}

impl Story {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, next: 1, began: None, names: BTreeMap::new() }
    }

    /// Prints what is new.
    pub(crate) fn tell(&mut self) -> anyhow::Result<()> {
        for row in self.store.history_of_scope("default", self.next, 200)? {
            self.next = row.seq + 1;
            if let Some(line) = self.line(&row)? {
                let began = *self.began.get_or_insert(row.at);
                println!("{:6.1} s  {line}", row.at.since(began).as_secs_f64());
            }
        }
        Ok(())
    }

    fn number(&mut self, incident: Id) -> anyhow::Result<String> {
        if let Some(name) = self.names.get(&incident) {
            return Ok(name.clone());
        }
        let number = self.store.incident(incident)?.and_then(|i| i.number).map(incident_number);
        let name = number.unwrap_or_else(|| "a run".to_owned());
        self.names.insert(incident, name.clone());
        Ok(name)
    }

    fn line(&mut self, row: &HistoryRow) -> anyhow::Result<Option<String>> {
        let data = &row.data;
        let text = |path: &str| data.pointer(path).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        let rule = row.actor.split('@').next().unwrap_or_default();
        Ok(match row.step.as_str() {
            "incident_opened" => {
                let (name, summary) = (self.number(row.record)?, text("/incident/summary"));
                Some(format!("{name} opened: {summary}\n          because rule {rule:?} matched event {}", row.input))
            }
            "run_decided" => {
                let name = self.number(row.record)?;
                Some(format!("{name} remedy: {}\n          the first untried one of that rule", row.reason))
            }
            "run_reported" => {
                let state = text("/report/state");
                let line = match state.as_str() {
                    "started" => "the request leaves; its key was committed before".to_owned(),
                    "succeeded" => {
                        "the playbook service says: done. A report resolves nothing; evidence does".to_owned()
                    }
                    _ => format!("the run is {state}: {}", row.reason),
                };
                Some(line)
            }
            "evidence_seen" => {
                Some(format!("{} recovery seen ({}); it has to stay", self.number(row.record)?, row.reason))
            }
            "run_judged" => Some(format!("the run is judged {}: {}", text("/verdict"), row.reason)),
            "remedies_failed" => Some(format!("{} every remedy was tried", self.number(row.record)?)),
            "page_decided" => Some(format!("{} page to {}", self.number(row.record)?, row.reason)),
            "page_reported" => Some(format!("the page is {}", row.reason)),
            "incident_moved" if text("/to") == "resolved" => {
                Some(format!("{} resolved: {}, {}", self.number(row.record)?, text("/code"), row.reason))
            }
            _ => None,
        })
    }

    fn about(&self, name: &str) -> anyhow::Result<Option<Incident>> {
        let filter = IncidentFilter { about: Some(name.to_owned()), limit: 1, ..IncidentFilter::default() };
        Ok(self.store.incidents(&filter)?.into_iter().next())
    }

    fn verdicts(&self, incident: &Incident) -> anyhow::Result<Vec<Option<Judged>>> {
        let filter = RunFilter { incident: Some(incident.id), ..RunFilter::default() };
        Ok(self.store.runs(&filter)?.into_iter().map(|r| r.verdict).collect())
    }

    /// Judged by the records, and by the playbook service's own log of effects.
    pub(crate) fn verdict(&self, world: &World) -> anyhow::Result<Option<Verdict>> {
        let (Some(web), Some(db)) = (self.about("web-1")?, self.about("db-1")?) else { return Ok(None) };
        let paged =
            |about: &str| world.requests("/notify").iter().any(|p| p["incident"]["about"].as_str() == Some(about));
        if paged("web-1") {
            return Ok(Some(Verdict::Open("web-1 was not repaired by itself, and a person was paged".to_owned())));
        }
        let (ended, escalated) = (web.state == IncidentState::Resolved, db.paged_at.is_some() && paged("db-1"));
        if !(ended && escalated) {
            return Ok(None);
        }
        let cleaned = world.done().iter().filter(|d| d.path == "/clean-disk").count();
        let verified =
            self.verdicts(&web)? == [Some(Judged::Verified)] && web.close_code == Some(CloseCode::SolutionProvided);
        let refused = self.verdicts(&db)? == [Some(Judged::NotVerified)] && db.state == IncidentState::InProgress;
        let closed = cleaned == 1 && verified && refused && world.disk() < 80;
        Ok(Some(if closed {
            Verdict::Closed
        } else {
            Verdict::Open(format!(
                "clean-disk had {cleaned} effects, web-1 verified: {verified}, db-1 not verified: {refused}"
            ))
        }))
    }

    /// What the playbook service saw, beside what the records say.
    pub(crate) fn summary(&self, world: &World, verdict: &Verdict) -> anyhow::Result<()> {
        println!("\nThe playbook service's own log:");
        for done in world.done() {
            let what = if done.path == "/notify" { "page" } else { "playbook" };
            println!("  {what:<8} {:<18} key {}", done.path.trim_start_matches('/'), done.key);
        }
        println!("The records:");
        for name in ["web-1", "db-1"] {
            match self.about(name)? {
                Some(i) => println!(
                    "  {:<8} {} {} priority {} {}",
                    name,
                    i.number.map(incident_number).unwrap_or_default(),
                    i.state.name(),
                    i.priority(),
                    i.close_code.map_or("", CloseCode::name)
                ),
                None => println!("  {name:<8} no incident"),
            }
        }
        if matches!(verdict, Verdict::Closed) {
            println!("The disk of web-1 is now {} % full.", world.disk());
        }
        Ok(())
    }
}
