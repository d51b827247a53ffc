//! Sources that were stopped: incidents of the engine's own, in the shard's own scope.

use paramedic_model::{CloseCode, Id, Incident, IncidentMove, IncidentState, TimerKind};
use serde_json::json;

use super::Cx;
use super::incident::{OWN_PAGE, OWN_RULEBOOK};
use crate::decision::Mark;

/// The rule that these incidents name.
const STOPPED: &str = "source stopped";

/// The position of the source that an incident is about, where it was opened because that source was stopped.
pub fn stopped_source(incident: &Incident) -> Option<&str> {
    let is_one = incident.rulebook == OWN_RULEBOOK && incident.rule == STOPPED;
    incident.about.as_deref().filter(|_| is_one)
}

impl Cx<'_> {
    /// Nothing is taken from it until a person has looked: somebody is told at once, once while that is so.
    pub(super) fn on_source_stopped(&mut self, position: &str, why: &str) {
        let key = self.source_key(position);
        let reason = format!("{position} is not taken from: {why}");
        let Some(standing) = self.state.incident_of_key(key).map(|i| (i.id, i.state)) else {
            return self.open_stopped(key, position, &reason);
        };
        match standing {
            (id, state) if state.is_open() => self.mark(Mark::Matched { incident: id, time: self.now, share: None }),
            (id, IncidentState::Resolved) => {
                self.drop_timer(id, &TimerKind::Close);
                self.move_to(id, IncidentMove::Reopen, "engine", reason.clone(), None);
                self.mark(Mark::Matched { incident: id, time: self.now, share: None });
                self.page_own(id, OWN_PAGE, &format!("again, {reason}"));
            }
            _ => self.open_stopped(key, position, &reason),
        }
    }

    fn open_stopped(&mut self, key: Id, position: &str, reason: &str) {
        self.open_own(key, STOPPED, Some(position.to_owned()), reason.to_owned(), reason);
    }

    /// Whoever mended it is on record by their own act; that it runs again credits nobody.
    pub(super) fn on_source_back(&mut self, position: &str) {
        let standing = self.state.incident_of_key(self.source_key(position));
        let Some(id) = standing.filter(|i| i.state.is_open()).map(|i| i.id) else {
            return self.ignore("source was not stopped");
        };
        let notes = format!("{position} is taken from again");
        self.finish(id, "engine", CloseCode::NoResolutionProvided, notes, None);
    }

    fn source_key(&self, position: &str) -> Id {
        Id::of(&json!([self.scope, "source", position]))
    }
}
