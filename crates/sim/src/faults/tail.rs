//! A store that loses its end: a backup is put back, or its server fails over to a copy that lacks the last commits. And
//! the people who look, before anything is done that may have been done already.

use std::collections::BTreeSet;
use std::sync::Arc;

use paramedic_engine::outbox::{clear, waits_for_clearing};
use paramedic_model::{
    CloseCode, Effect, Id, IncidentState, OperatorAct, Order, OutboxRow, OutboxState, Span, Timestamp,
};
use paramedic_store::{IncidentFilter, MemoryStore, OutboxMove, Recovered, Store as _};

use super::dispatch::short;
use super::fault::Fault;
use super::kafka::position;
use super::oracle::Then;
use super::world::World;

/// Nobody has looked sooner after the store lost its end.
const REACTION: Span = Span::from_secs(2);

/// A copy of the store, and when it was made.
pub(super) struct Backup {
    at: Timestamp,
    store: MemoryStore,
    /// What was known outside of the store then.
    then: Then,
}

impl World {
    /// The store is copied as it is.
    pub(super) fn back_up(&mut self) {
        let Some(memory) = &self.memory else { return };
        let then = self.watch.then(&self.endpoints);
        self.backup = Some(Backup { at: self.now, store: memory.copied(), then });
        self.note("the store is backed up".to_owned());
    }

    /// An operator puts the backup back. It says of itself that it is one, since when it was made.
    pub(super) fn put_back(&mut self, backup: Backup) {
        self.hit(Fault::PutBack);
        let since = backup.at;
        self.lose(backup, since, "it was restored from a backup");
    }

    /// The server fails over. That is noticed by its timeline, with the first connection. Requests under these keys are
    /// under way in processes that live on.
    pub(super) fn fail_over(&mut self, backup: Backup, adrift: BTreeSet<Id>) {
        self.hit(Fault::FailedOver);
        self.watch.adrift.extend(adrift);
        let since = self.now;
        self.lose(backup, since, "it has failed over");
    }

    fn lose(&mut self, backup: Backup, since: Timestamp, why: &str) {
        let store = Arc::new(backup.store);
        let recovered = Recovered { at: since, why: why.to_owned() };
        // A store in memory refuses nothing of this.
        let _ = store.recovered_set(Some(&recovered));
        self.memory = Some(Arc::clone(&store));
        self.store = store;
        self.lost_tail = Some(self.now);
        self.watch.forget(backup.then, self.store.as_ref(), &self.endpoints, &self.halt_file, self.now);
        self.note(format!("the store is as it was at {}: {why}", backup.at));
    }

    /// Somebody looks at runs that wait because the store may have forgotten that they left: one of them or all; and
    /// says in the end that this is over.
    pub(super) fn look_after_tail(&mut self, all: bool) {
        let Ok(Some(recovered)) = self.store.recovered() else { return };
        let Some(lost) = self.lost_tail.filter(|at| self.now.since(*at) >= REACTION) else { return };
        let states = [OutboxState::Pending, OutboxState::Deferred, OutboxState::Started];
        let mut rows = self.store.outbox_list(&states, 1_000).unwrap_or_default();
        rows.retain(|row| {
            let may_be_sent = row.state != OutboxState::Started || row.not_before.is_some();
            may_be_sent && waits_for_clearing(row, Some(recovered.at))
        });
        if rows.is_empty() && self.all_is_over_of(lost) {
            self.note("ann: what was lost with the store's end is dealt with".to_owned());
            let _ = self.call("recovered", |s| s.recovered_set(None));
        }
        let most = if all { rows.len() } else { 1 };
        for row in rows.into_iter().take(most) {
            self.look_at(&row);
        }
    }

    /// The person asks the endpoint. What must not happen twice and has left already is not let go: the incident is
    /// theirs from there on.
    fn look_at(&mut self, row: &OutboxRow) {
        let Order::Run(run) = &row.order else { return };
        for other in self.endpoints.others_working(run.target.id, row.key, self.now) {
            let flies = |row: &OutboxRow| {
                matches!(row.state, OutboxState::Started | OutboxState::Accepted | OutboxState::Unknown)
            };
            // The store has forgotten it: nobody else sees that the target is busy.
            if !self.store.outbox_get(other).is_ok_and(|found| found.is_some_and(|(_, row)| flies(&row))) {
                self.endpoints.ended(other);
            }
        }
        let has_left = self.endpoints.known.get(&row.key).is_some_and(|k| k.requests > 0);
        if has_left && run.effect == Effect::NonIdempotent {
            let minute = self.now.as_nanos() / 60_000_000_000;
            if self.watch.asked_in_this_minute(&run.id.to_string(), minute) {
                self.hit(Fault::NotRepeated);
                let notes = format!("{} had left before the store lost its end", short(row.key));
                let act = OperatorAct::Resolve { incident: run.incident, code: CloseCode::WorkaroundProvided, notes };
                self.act(row.scope.clone(), act);
            }
            return;
        }
        let Some((next, entry)) = clear(row, "ann", self.now) else { return };
        let change = OutboxMove { key: row.key, from: row.state, row: next, fence: None, inbox: vec![entry] };
        if self.call("outbox move", |s| s.outbox_move(&change)).is_ok() {
            self.hit(Fault::LetGo);
            self.note(format!("ann lets {} go", short(row.key)));
        }
    }

    /// Everything that came before the store lost its end has been taken, and no incident of then is open: nothing is
    /// decided once more that was decided then.
    fn all_is_over_of(&self, lost: Timestamp) -> bool {
        let stored = self.store.positions().unwrap_or_default();
        let taken = (0..self.kafka.count()).all(|partition| {
            let name = position(partition);
            let next = stored.iter().find(|(_, n, _)| *n == name).map(|(_, _, p)| p.next);
            let left = self.kafka.now(partition).zip(next).and_then(|(life, next)| life.first_from(next));
            next.is_some_and(|next| next >= 0) && left.is_none_or(|record| record.timestamp > lost)
        });
        let states = IncidentState::ALL.into_iter().filter(|s| s.is_open()).collect();
        let open = IncidentFilter { states, limit: 100_000, ..IncidentFilter::default() };
        let over = |open: Vec<paramedic_model::Incident>| open.iter().all(|i| i.opened_at > lost);
        taken && self.store.incidents(&open).is_ok_and(over)
    }
}
