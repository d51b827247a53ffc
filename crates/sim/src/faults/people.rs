//! What people do in simulation: over the API of any node, so straight to the store.

use std::collections::BTreeMap;

use base64::Engine as _;
use paramedic_engine::outbox;
use paramedic_model::{
    CloseCode, Halt, HaltScope, InboxBody, Incident, IncidentState, NewInbox, OperatorAct, OutboxState,
    REWIND_EARLIEST, REWIND_LATEST, RawMessage, RunState, own_scope,
};
use paramedic_store::{IncidentFilter, OutboxMove, RunFilter, Store};

use super::dispatch::short;
use super::fault::Fault;
use super::kafka::position;
use super::monitor::Told;
use super::owned::WEBHOOK_SOURCE;
use super::world::World;

impl World {
    pub(super) fn act(&mut self, scope: String, act: OperatorAct) {
        let id = self.new_id("act");
        self.note(format!("ann: {act:?}"));
        let entry = NewInbox { id, scope, at: self.now, body: InboxBody::Operator { by: "ann".to_owned(), act } };
        if self.call("inbox append", |s| s.inbox_append(std::slice::from_ref(&entry))).is_err() {
            // A person tries again.
            self.watch.owe(entry);
        }
    }

    /// What could not be appended is tried again, under its id.
    pub(super) fn try_again(&mut self) {
        for entry in self.watch.take_owed() {
            if self.call("inbox append", |s| s.inbox_append(std::slice::from_ref(&entry))).is_err() {
                self.watch.owe(entry);
            }
        }
    }

    fn open_incident(&mut self) -> Option<Incident> {
        let states = IncidentState::ALL.into_iter().filter(|s| s.is_open()).collect();
        let open = self.store.incidents(&IncidentFilter { states, limit: 20, ..IncidentFilter::default() }).ok()?;
        self.dice.pick(&open).cloned()
    }

    /// A person does something.
    pub(super) fn person(&mut self) {
        match self.dice.roll(12) {
            0 | 1 => {
                if let Some(i) = self.open_incident() {
                    self.act(i.scope.clone(), OperatorAct::Acknowledge { incident: i.id });
                }
            }
            2 => {
                // That a source stands still is not mended by a word.
                if let Some(i) = self.open_incident().filter(|i| paramedic_engine::stopped_source(i).is_none()) {
                    let notes = "I have seen to it".to_owned();
                    let act = OperatorAct::Resolve { incident: i.id, code: CloseCode::WorkaroundProvided, notes };
                    self.act(i.scope.clone(), act);
                }
            }
            3..6 => self.decide_proposed(false),
            6 => self.halt(),
            7 | 8 => self.resume(),
            9 if self.dice.one_in(2) => self.look_after_tail(false),
            9 => self.settle(false),
            10 if self.dice.one_in(2) => self.publish(),
            _ if self.dice.one_in(3) => self.rewind_any(),
            _ => self.webhook(),
        }
    }

    /// Runs that wait for a person are approved, or rejected.
    pub(super) fn decide_proposed(&mut self, all: bool) {
        let filter = RunFilter { states: vec![RunState::Proposed], ..RunFilter::default() };
        let mut proposed = self.store.runs(&filter).unwrap_or_default();
        if !all {
            proposed.truncate(1);
        }
        for run in proposed {
            let Ok(Some(incident)) = self.store.incident(run.incident) else { continue };
            if !incident.state.is_open() || !self.watch.asked.insert((run.id, self.now)) {
                continue;
            }
            let act = match self.dice.one_in(3) {
                true => OperatorAct::Reject { run: run.id, reason: "not now".to_owned() },
                false => OperatorAct::Approve { run: run.id },
            };
            self.act(incident.scope.clone(), act);
        }
    }

    pub(super) fn halt(&mut self) {
        let scope = match self.dice.roll(3) {
            0 => HaltScope::All,
            1 => HaltScope::Rulebook("disk".to_owned()),
            _ => HaltScope::Playbook("reboot".to_owned()),
        };
        let halt = Halt { scope, by: "ann".to_owned(), reason: "look first".to_owned(), at: self.now };
        // Straight to the store, and only there: the file is on the machine that serves the API.
        if self.call("halt put", |s| s.halt_put(&halt)).is_err() {
            return;
        }
        if self.dice.one_in(2) {
            self.halt_file.push((halt.clone(), self.now));
        }
        self.hit(Fault::Halted);
        self.watch.halted(&halt, self.now);
        self.act(own_scope(0), OperatorAct::Halt { reason: halt.reason });
    }

    pub(super) fn resume(&mut self) {
        let halts = self.store.halts().unwrap_or_default();
        if halts.is_empty() && self.halt_file.is_empty() {
            return;
        }
        for halt in &halts {
            // From here on it may be gone, whatever the store says.
            self.watch.resumed(&halt.scope);
            if self.call("halt remove", |s| s.halt_remove(&halt.scope)).is_err() {
                return;
            }
        }
        // A halt that a restored store has forgotten is in the file alone.
        for (halt, _) in std::mem::take(&mut self.halt_file) {
            self.watch.resumed(&halt.scope);
        }
        self.act(own_scope(0), OperatorAct::Resume { reason: "seen".to_owned() });
    }

    /// Somebody looks at what became of unknown runs, and tells.
    pub(super) fn settle(&mut self, all: bool) {
        let mut unknown = self.store.outbox_list(&[OutboxState::Unknown], 50).unwrap_or_default();
        if !all {
            unknown.truncate(1);
        }
        for row in unknown {
            super::oracle::unknown_in_vain(self, &row);
            let happened = self.endpoints.known.get(&row.key).is_some_and(|k| k.effects > 0);
            let Some((next, inbox)) = outbox::settle(&row, happened, "ann", "I looked", self.now) else { continue };
            let change = OutboxMove { key: row.key, from: row.state, row: next, fence: None, inbox };
            let told = self.call("outbox move", |s| s.outbox_move(&change)).is_ok();
            // An error may have come after it was done.
            let done = told || self.store.outbox_get(row.key).is_ok_and(|r| r.is_some_and(|(_, r)| r == change.row));
            if done {
                self.hit(Fault::Settled);
                self.note(format!("ann settles {}: {happened}", short(row.key)));
                self.endpoints.ended(row.key);
                self.watch.settled.insert(row.key);
            }
        }
    }

    pub(super) fn publish(&mut self) {
        let at = self.dice.index(self.rules.sets.len());
        let Some(digest) = self.rules.sets.get(at).map(|s| s.digest) else { return };
        let now = self.now;
        if self.call("publish", |s| s.ruleset_publish(digest, now, true)).is_ok() {
            self.hit(Fault::Published);
            self.note(format!("rule set {at} is published"));
        }
    }

    /// A partition is gone back on, or ahead: now and then without need.
    fn rewind_any(&mut self) {
        let count = u64::from(self.kafka.count());
        let partition = u32::try_from(self.dice.roll(count)).unwrap_or(0);
        let Some(life) = self.kafka.now(partition) else { return };
        let (start, end) = (life.start, life.end);
        let back = i64::try_from(self.dice.roll(12)).unwrap_or(0);
        let to = match self.dice.roll(6) {
            0 => REWIND_LATEST,
            1 => REWIND_EARLIEST,
            _ => (end - back).max(start),
        };
        self.rewind(partition, to);
    }

    pub(super) fn rewind(&mut self, partition: u32, to: i64) {
        let shard = if self.alone { 0 } else { partition };
        let act = OperatorAct::Rewind { position: position(partition), to, reason: "as told".to_owned() };
        self.act(own_scope(shard), act);
    }

    /// A sender has a message for the webhook.
    pub(super) fn refuse(&mut self, told: Told) {
        self.ids += 1;
        self.refused.push((self.ids, told));
    }

    /// A sender brings a message to the webhook: it comes again until it is taken.
    pub(super) fn webhook(&mut self) {
        let (now, calm) = (self.now, self.calm);
        if !calm {
            let mut hits = vec![];
            let told = self.monitor.produce(&mut self.dice, now, &mut |fault| hits.push(fault));
            hits.into_iter().for_each(|fault| self.hit(fault));
            told.into_iter().for_each(|told| self.refuse(told));
        }
        for (id, told) in std::mem::take(&mut self.refused) {
            let body = base64::engine::general_purpose::STANDARD.encode(told.payload.as_deref().unwrap_or_default());
            let message = RawMessage { source: WEBHOOK_SOURCE.to_owned(), headers: BTreeMap::new(), body };
            let id_text = format!("hook|{id}");
            let entry =
                NewInbox { id: id_text.clone(), scope: String::new(), at: now, body: InboxBody::Message(message) };
            let taken = self.call("inbox append", |s: &dyn Store| s.inbox_append(&[entry]));
            if taken.is_ok() || paramedic_model::faults::planted("ack_before_commit") {
                self.watch.acknowledged.insert(id_text);
            } else {
                self.hit(Fault::WebhookRetried);
                self.refused.push((id, told));
            }
        }
    }
}
