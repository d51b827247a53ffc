//! What a batch changed, as plain data: written by the engine, stored by any store.

use serde::{Deserialize, Serialize};

use crate::{
    Alert, AlertKey, Ci, HistoryRow, Id, Incident, OutboxRow, Page, Parked, Relation, Run, ScopeHead, Timestamp, Window,
};

/// Something to be done at an instant of the shard's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// Digest of (owner, what); setting it again moves it.
    pub id: Id,
    /// When.
    pub due: Timestamp,
    /// For which incident, or window.
    pub incident: Id,
    /// What.
    pub what: TimerKind,
}

/// What a timer is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// No evidence for a run by now: it is not verified.
    VerifyWithin {
        /// Which run.
        run: Id,
    },
    /// Recovery has stayed long enough.
    Hold,
    /// The targets of a remedy that spreads have stayed well long enough: it goes on to the next of them.
    Wave,
    /// An escalation step's delay is over.
    Escalate {
        /// Index of the step in the rule.
        step: usize,
    },
    /// An escalation step pages again, until somebody acknowledges.
    Repeat {
        /// Index of the step in the rule.
        step: usize,
    },
    /// Nobody approved a run.
    Approval {
        /// Which run.
        run: Id,
    },
    /// What a run did is taken back.
    Undo {
        /// Which run.
        run: Id,
    },
    /// A resolved incident closes itself.
    Close,
    /// A window's time is up.
    Window,
}

impl TimerKind {
    /// The timer's id: one per incident and purpose.
    pub fn id(&self, incident: Id) -> Id {
        Id::of_sorted(&("timer", incident, self))
    }
}

/// A known (source, id).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeenId {
    /// The producer.
    pub source: String,
    /// The event's id.
    pub id: String,
}

/// All that a batch changed in one scope: upserts, removals, appends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScopeChanges {
    /// Which scope.
    pub scope: String,
    /// Its digests and its place in its history, after the batch.
    pub head: ScopeHead,
    /// New or changed.
    pub incidents: Vec<Incident>,
    /// New or changed.
    pub runs: Vec<Run>,
    /// New.
    pub pages: Vec<Page>,
    /// New or changed.
    pub alerts: Vec<Alert>,
    /// Forgotten.
    pub alerts_gone: Vec<AlertKey>,
    /// New or changed.
    pub parked: Vec<Parked>,
    /// Met or expired.
    pub parked_gone: Vec<AlertKey>,
    /// New, or seen again.
    pub seen: Vec<(SeenId, Timestamp)>,
    /// Forgotten.
    pub seen_gone: Vec<SeenId>,
    /// New or moved.
    pub timers: Vec<Timer>,
    /// Fired or withdrawn.
    pub timers_gone: Vec<Id>,
    /// New or changed.
    pub windows: Vec<Window>,
    /// Closed.
    pub windows_gone: Vec<Id>,
    /// New or changed.
    pub cis: Vec<Ci>,
    /// New.
    pub relations: Vec<Relation>,
    /// Appended, in order.
    pub history: Vec<HistoryRow>,
    /// To be sent.
    pub outbox: Vec<OutboxRow>,
    /// Outbox keys to withdraw where they have not left yet, with the reason.
    pub outbox_cancel: Vec<(Id, String)>,
}

impl ScopeChanges {
    /// Whether there is something to send.
    pub fn wants_dispatch(&self) -> bool {
        !self.outbox.is_empty() || !self.outbox_cancel.is_empty()
    }
}

/// The working state of a scope, as a store gives it back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScopeImage {
    /// Which scope.
    pub scope: String,
    /// Its digests and its place in its history.
    pub head: ScopeHead,
    /// Not closed, not canceled.
    pub incidents: Vec<Incident>,
    /// Of those incidents.
    pub runs: Vec<Run>,
    /// Known conditions.
    pub alerts: Vec<Alert>,
    /// Parked resolves.
    pub parked: Vec<Parked>,
    /// Known ids.
    pub seen: Vec<(SeenId, Timestamp)>,
    /// Timers.
    pub timers: Vec<Timer>,
    /// Windows of rules.
    pub windows: Vec<Window>,
    /// The CMDB.
    pub cis: Vec<Ci>,
    /// The CMDB.
    pub relations: Vec<Relation>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_timer_is_a_digest_of_canonical_json() {
        let run = Id::of(&serde_json::json!("run"));
        let kinds = [
            TimerKind::VerifyWithin { run },
            TimerKind::Hold,
            TimerKind::Wave,
            TimerKind::Escalate { step: 1 },
            TimerKind::Repeat { step: 2 },
            TimerKind::Approval { run },
            TimerKind::Undo { run },
            TimerKind::Close,
            TimerKind::Window,
        ];
        for kind in kinds {
            assert_eq!(kind.id(run), Id::of(&serde_json::json!(["timer", run, kind])), "{kind:?}");
        }
    }
}
