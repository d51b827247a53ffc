//! What must hold, judged from what can be seen outside of the engine: what endpoints were asked, what the store has,
//! what the sources had. Each check names the invariant of docs/safety.md that it is about.

mod again;
mod history;
mod log;
mod rest;
mod tail;

use std::collections::{BTreeMap, BTreeSet};

use paramedic_model::{
    Effect, GuardSays, Halt, HaltScope, Id, NewInbox, Order, OutboxRow, OutboxState, Outcome, Span, Timestamp,
};
use paramedic_store::Batch;
use serde_json::json;

use super::dispatch::short;
use super::owned::CLUSTER;
use super::world::{MAX_ACTION_AGE, World};

pub(super) use tail::Then;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// In which step of the simulation.
    pub step: u32,
    /// At which virtual time.
    pub at: Timestamp,
    /// What it is about.
    pub oracle: &'static str,
    /// What was seen.
    pub what: String,
    /// The last things that happened.
    pub trace: Vec<String>,
}

/// Violations that one seed reports, at most.
const MOST: usize = 5;
/// A halt is in force everywhere after so long.
const HALT_WITHIN: Span = Span::from_secs(1);

/// What a batch knew of its sources.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// When it was gathered, in true time.
    pub(super) at: Timestamp,
    /// The clock went on without a source that was away.
    pub(super) ticks_blind: bool,
    /// Record timestamps of events, by input id.
    pub(super) stamped: BTreeMap<String, Timestamp>,
    /// Partitions that could be read, and where they stand after it.
    pub(super) untaken: Vec<(u32, i64)>,
}

/// What the oracles remember.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) violations: Vec<Violation>,
    /// The highest epoch of each shard.
    epochs: BTreeMap<u32, u64>,
    /// The bytes under a key.
    bodies: BTreeMap<Id, String>,
    /// The key of each decision.
    keys: BTreeMap<String, Id>,
    halts: Vec<(Halt, Timestamp)>,
    /// Keys for which a reply came back that said that it worked, and to the how-manieth request.
    succeeded: BTreeMap<Id, u32>,
    /// Rows that a person settled.
    pub(super) settled: BTreeSet<Id>,
    /// Webhook messages that were answered with 2xx.
    pub(super) acknowledged: BTreeSet<String>,
    /// Runs that a person was asked about, and when.
    pub(super) asked: BTreeSet<(Id, Timestamp)>,
    owed: Vec<NewInbox>,
    rewinds: BTreeSet<(String, i64)>,
    /// How far each partition's life was ever read.
    read_to: BTreeMap<(u32, usize), i64>,
    pub(super) requests: u64,
    /// Keys of requests that left before the store lost its end, which does not know that any more.
    forgotten: BTreeSet<Id>,
    /// Keys that processes which live on had under way then.
    pub(super) adrift: BTreeSet<Id>,
}

impl Watch {
    pub(super) fn found(&mut self, step: u32, at: Timestamp, oracle: &'static str, what: String, trace: Vec<String>) {
        if self.violations.len() < MOST {
            self.violations.push(Violation { step, at, oracle, what, trace });
        }
    }

    pub(super) fn loaded(&mut self, shard: u32, epoch: u64) {
        let known = self.epochs.entry(shard).or_default();
        *known = epoch.max(*known);
    }

    pub(super) fn halted(&mut self, halt: &Halt, now: Timestamp) {
        if !self.halts.iter().any(|(h, _)| h.scope == halt.scope) {
            self.halts.push((halt.clone(), now));
        }
    }

    pub(super) fn resumed(&mut self, scope: &HaltScope) {
        self.halts.retain(|(halt, _)| halt.scope != *scope);
    }

    /// A reply was brought by a process that lives.
    pub(super) fn saved(&mut self, sent: &OutboxRow, outcome: &Outcome) {
        // The row that this was a reply to may be gone.
        if matches!(outcome, Outcome::Succeeded { .. }) && !self.adrift.contains(&sent.key) {
            let known = self.succeeded.entry(sent.key).or_default();
            *known = sent.attempts.max(*known);
        }
    }

    /// A consumer reads from here to there; whether some of that was read before.
    pub(super) fn reads(&mut self, partition: u32, life: usize, from: i64, to: i64) -> bool {
        let known = self.read_to.entry((partition, life)).or_default();
        let again = from < *known && from < to;
        *known = to.max(*known);
        again
    }

    /// Whether a person has not seen to it yet, in this minute.
    pub(super) fn asked_in_this_minute(&mut self, name: &str, minute: i64) -> bool {
        self.rewinds.insert((name.to_owned(), minute))
    }

    /// A person's act that is to be brought again.
    pub(super) fn owe(&mut self, entry: NewInbox) {
        self.owed.push(entry);
    }

    pub(super) fn take_owed(&mut self) -> Vec<NewInbox> {
        std::mem::take(&mut self.owed)
    }
}

/// A request comes in at an endpoint.
pub(super) fn leaves(world: &mut World, row: &OutboxRow, key: Id, body: &str) {
    world.watch.requests += 1;
    let found = world.store.outbox_get(key).ok().flatten().map(|(_, row)| row);
    tail::leaves(world, row, found.as_ref());
    match found {
        // It was committed, and the store has lost it since: no time to look again.
        None if world.watch.adrift.contains(&key) => {}
        None => world.wrong("I10 nothing leaves without a committed row", format!("no row has key {key}")),
        Some(_) if world.watch.adrift.contains(&key) => {}
        Some(found) if found.state != OutboxState::Started || found.request.as_deref() != Some(body) => {
            let what = format!("row {key} is {}, its request {:?}", found.state.name(), found.request);
            world.wrong("I10 nothing leaves before `started` is committed", what);
        }
        Some(found) if found.verdicts.is_empty() || found.verdicts.iter().any(|v| v.says != GuardSays::Allow) => {
            world.wrong("I10 nothing leaves without its guards", format!("row {key}: {:?}", found.verdicts));
        }
        Some(_) => {}
    }
    let bytes = world.watch.bodies.entry(key).or_insert_with(|| body.to_owned()).clone();
    if bytes != body {
        world.wrong("I7 one key, one byte-identical request", format!("{key}: {bytes} and then {body}"));
    }
    one_decision_one_key(world, row, key);
    let now = world.now;
    let late = |(halt, at): &&(Halt, Timestamp)| halt.covers(&row.order) && now.since(*at) > HALT_WITHIN;
    if let Some((halt, at)) = world.watch.halts.iter().find(late).cloned() {
        let what = format!("{} {key}, {:?} since {at}", row.order.kind(), halt.scope);
        world.wrong("I13 no run and no event after a halt", what);
    }
    if let Order::Run(run) = &row.order {
        let was_asked = world.endpoints.known.get(&key).is_some_and(|k| k.requests > 0);
        if run.effect == Effect::NonIdempotent && was_asked {
            world.wrong("I9 a non-idempotent playbook at most once", format!("{} {key} again", run.playbook));
        }
        one_at_a_time(world, row, key);
        let set = world.rules.find(run.set);
        let Some(rule) = set.as_ref().and_then(|s| s.find(&run.rulebook, &run.rule)) else {
            return world.wrong("I10 nothing leaves without its rule", format!("{} of {}", run.rule, run.rulebook));
        };
        let asks =
            rule.remedy.iter().any(|r| r.playbook == run.playbook || r.rollback.as_deref() == Some(&run.playbook));
        if !asks || (run.rulebook == "memory" && run.decided_by.is_none()) {
            world.wrong("I10 nothing leaves without its rule and approval", format!("{} {key}", run.playbook));
        }
    }
}

/// The key is a function of the decision, and of nothing else.
fn one_decision_one_key(world: &mut World, row: &OutboxRow, key: Id) {
    let (decision, expected) = match &row.order {
        Order::Run(r) => (
            format!("{} {} {} {}", r.incident, r.step, r.round, r.target.id),
            json!([CLUSTER, r.incident, r.step, r.round, r.target.id]),
        ),
        Order::Page(p) => (
            format!("{} {} {} {}", p.incident, p.step, p.round, p.to),
            json!([CLUSTER, "page", p.incident, p.step, p.round, p.to]),
        ),
        Order::Emit(e) => (format!("emit {}", e.id), json!([CLUSTER, "emit", e.id])),
    };
    let known = *world.watch.keys.entry(decision.clone()).or_insert(key);
    if known != key || Id::of(&expected) != key {
        world.wrong("I8 one decision, one key", format!("{decision}: {known}, and now {key}"));
    }
}

/// Two runs never act on one target.
fn one_at_a_time(world: &mut World, row: &OutboxRow, key: Id) {
    let Order::Run(run) = &row.order else { return };
    let others = world.endpoints.others_working(run.target.id, key, world.now);
    // A person who has settled a run has said that its target is free.
    if let Some(other) = others.iter().find(|other| !world.watch.settled.contains(other)) {
        let what = format!("{} {key} begins on {} while {other} is at work", run.playbook, run.target.name);
        world.wrong("I12 never two runs on one target", what);
    }
    let flying = [OutboxState::Started, OutboxState::Accepted, OutboxState::Unknown];
    let rows = world.store.outbox_list(&flying, 1_000).unwrap_or_default();
    let same = |r: &&OutboxRow| matches!(&r.order, Order::Run(o) if o.target.id == run.target.id && o.id != run.id);
    if let Some(other) = rows.iter().find(same) {
        let what = format!("{} {key} leaves while {} is {}", run.playbook, other.key, other.state.name());
        world.wrong("I12 never two runs in flight on one target", what);
    }
}

/// The guards let a row go.
pub(super) fn released(world: &mut World, row: &OutboxRow, wall: Timestamp) {
    let cleared = row.cleared.as_ref().map_or(row.released_at, |(_, at)| *at);
    let age = wall.since(row.released_at.max(cleared));
    if !matches!(row.order, Order::Page(_)) && age > MAX_ACTION_AGE {
        world.wrong("I15 nothing old is started", format!("{} was released {age} ago", row.key));
    }
}

/// An owner's move of an outbox row was taken.
pub(super) fn moved_by_owner(world: &mut World, shard: u32, epoch: u64, key: Id) {
    let latest = world.watch.epochs.get(&shard).copied().unwrap_or(0);
    if epoch != latest {
        let what = format!("shard {shard}: {key} moved under epoch {epoch}, the owner's is {latest}");
        world.wrong("I4 only the owner dispatches", what);
    }
}

/// A batch was taken.
pub(super) fn committed(world: &mut World, batch: &Batch, seen: &Seen) {
    let latest = world.watch.epochs.get(&batch.shard).copied().unwrap_or(0);
    if batch.epoch != latest {
        let what = format!("shard {}: a batch of epoch {}, the owner's is {latest}", batch.shard, batch.epoch);
        world.wrong("I4 one epoch commits", what);
    }
    timers_in_order(world, batch, seen);
}

/// A timer fires after everything that came before it was taken, and before everything that came after it.
fn timers_in_order(world: &mut World, batch: &Batch, seen: &Seen) {
    if batch.journal.is_none() || seen.ticks_blind {
        return;
    }
    let mut early = vec![];
    for changes in &batch.changes {
        let mut fired = Timestamp::EPOCH;
        for row in &changes.history {
            if row.input.starts_with("timer|") {
                fired = fired.max(row.at);
            } else if let Some(at) = seen.stamped.get(&row.input).filter(|at| **at < fired) {
                early.push(format!(
                    "{}: a timer of {fired} fired before the event {} of {at}",
                    changes.scope, row.input
                ));
            }
        }
        for (partition, next) in &seen.untaken {
            let waits = world.kafka.now(*partition).and_then(|life| life.first_from(*next));
            if let Some(record) = waits.filter(|r| r.timestamp < fired && r.timestamp < seen.at) {
                let what = format!(
                    "{}: a timer of {fired} fired while record {} of {} of partition {partition} waited",
                    changes.scope, record.offset, record.timestamp
                );
                early.push(what);
            }
        }
    }
    for what in early.into_iter().take(1) {
        world.wrong("I18 a timer is never early", what);
    }
}

/// A person settles a run that nobody knows about, though its endpoint's word had come back.
pub(super) fn unknown_in_vain(world: &mut World, row: &OutboxRow) {
    // What came of a later request than that one is not known.
    if world.watch.succeeded.get(&row.key).is_some_and(|request| *request >= row.attempts) {
        let what = format!("{} is unknown, though a reply said that it worked", short(row.key));
        world.wrong("a late reply settles", what);
    }
}

/// Everything that was to be taken has been: the log, told once more by other means.
pub(super) fn drained(world: &mut World) {
    log::check(world);
}

/// The end: nothing is left to be done.
pub(super) fn at_rest(world: &mut World) {
    rest::check(world);
    log::check(world);
    history::check(world);
    again::check(world);
}
