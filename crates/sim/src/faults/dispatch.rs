//! The dispatcher of a node, as the live one: committed rows, guards, `started`, the last look, the request, the reply.

use paramedic_engine::outbox::{Considered, GuardInput, adopt, after, consider, is_under_way, late};
use paramedic_model::faults::planted;
use paramedic_model::{Halt, HaltScope, Id, NewInbox, Order, OutboxRow, OutboxState, Outcome, Run, Span, Timestamp};
use paramedic_store::{DueLimits, OutboxMove, Result, StoreError};
use serde_json::json;

use super::endpoint::failed;
use super::fault::Fault;
use super::node::Node;
use super::world::{MAX_ACTION_AGE, World};

/// A row that waited longer than this after it was judged is looked at again before it leaves.
const FRESH: Span = Span::from_millis(500);
/// Looked at in one turn.
const MAX_ROWS: usize = 16;

/// Where a request stands that this process has under way.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// `started` is committed.
    Send,
    /// An accepted job is to be asked about.
    Poll,
    /// The endpoint works, or the reply is on its way.
    Wait(Outcome),
    /// The reply is here.
    Save(Outcome),
}

/// A row that this process has under way.
#[derive(Clone, Debug)]
pub(super) struct Task {
    shard: u32,
    pub(super) row: OutboxRow,
    /// When the guards were asked, in true time.
    asked: Timestamp,
    phase: Phase,
    /// When it goes on.
    at: Timestamp,
    /// Its reply waits for the end of another request of its row, which must not wait for it.
    pub(super) waits: bool,
}

impl Task {
    /// What it means when the process ends now.
    pub(super) fn crashed(&self) -> Fault {
        match self.phase {
            Phase::Send | Phase::Poll => Fault::CrashStarted,
            Phase::Wait(_) => Fault::CrashSent,
            Phase::Save(_) => Fault::CrashReplied,
        }
    }
}

impl Node {
    /// One look at the outbox. Whether anything came of it.
    pub(super) fn look(&mut self, world: &mut World) -> bool {
        let shards: Vec<u32> = self.owned.keys().copied().collect();
        if shards.is_empty() {
            return false;
        }
        let wall = self.wall(world);
        let most = DueLimits { pages: MAX_ROWS, runs: MAX_ROWS, emits: MAX_ROWS };
        let due = world.call("outbox due", |s| s.outbox_due(&shards, wall, most)).unwrap_or_default();
        let mut did = false;
        for (shard, row) in due {
            if !self.busy().contains(&row.key) {
                did |= self.row(world, shard, &row).unwrap_or(false);
            }
        }
        did
    }

    fn row(&mut self, world: &mut World, shard: u32, row: &OutboxRow) -> Result<bool> {
        let wall = self.wall(world);
        if row.state == OutboxState::Started && row.not_before.is_none() {
            return self.adopt(world, row.key, wall);
        }
        let asked = world.now;
        match self.judge(world, shard, row, wall)? {
            Considered::Send(next, inbox) if planted("started_after_send") => {
                self.tasks.push(Task {
                    shard,
                    row: (*next).clone(),
                    asked,
                    phase: Phase::Send,
                    at: asked,
                    waits: false,
                });
                self.task(world, self.tasks.len() - 1);
                self.started(world, shard, row, &next, inbox)?;
            }
            Considered::Send(next, inbox) => {
                self.started(world, shard, row, &next, inbox)?;
                self.tasks.push(Task { shard, row: *next, asked, phase: Phase::Send, at: asked, waits: false });
                // Mostly it leaves at once; now and then other things happen first.
                if !world.dice.one_in(4) {
                    self.task(world, self.tasks.len() - 1);
                }
            }
            Considered::Settle(next, inbox) => {
                world.note(format!("row {} {} -> {}", short(row.key), row.state.name(), next.state.name()));
                self.started(world, shard, row, &next, inbox)?;
            }
            Considered::Poll => {
                self.tasks.push(Task { shard, row: row.clone(), asked, phase: Phase::Poll, at: asked, waits: false });
            }
            Considered::Wait => return Ok(false),
        }
        Ok(true)
    }

    /// Moves a row of a shard that is ours, under the fence.
    fn started(
        &mut self,
        world: &mut World,
        shard: u32,
        row: &OutboxRow,
        next: &OutboxRow,
        inbox: Vec<NewInbox>,
    ) -> Result<()> {
        let epoch = self.owned.get(&shard).map_or(0, |o| o.epoch);
        let change =
            OutboxMove { key: row.key, from: row.state, row: next.clone(), fence: Some((shard, epoch)), inbox };
        let moved = world.call("outbox move", |s| s.outbox_move(&change));
        match &moved {
            Ok(()) => {
                super::oracle::moved_by_owner(world, shard, epoch, row.key);
                if next.state == OutboxState::Started {
                    world.note(format!("node {} starts {}, attempt {}", self.id, short(row.key), next.attempts));
                    if next.not_before.is_none() {
                        super::oracle::released(world, next, self.wall(world));
                    }
                }
            }
            Err(StoreError::Fenced { .. }) => {
                world.hit(Fault::StaleStart);
                self.owned.remove(&shard);
            }
            Err(_) => {}
        }
        moved
    }

    /// A `started` row that no task of this process sends: whether it left is unknown.
    fn adopt(&mut self, world: &mut World, key: Id, wall: Timestamp) -> Result<bool> {
        let Some((shard, row)) = world.call("outbox get", |s| s.outbox_get(key))? else { return Ok(false) };
        let Some((next, inbox)) = adopt(&row, wall) else { return Ok(false) };
        world.note(format!("node {} adopts {} as {}", self.id, short(key), next.state.name()));
        self.started(world, shard, &row, &next, inbox)?;
        Ok(true)
    }

    fn judge(&self, world: &mut World, shard: u32, row: &OutboxRow, wall: Timestamp) -> Result<Considered> {
        let incident = world.call("incident", |s| s.incident(row.order.incident()))?;
        let (halt, busy) = match &row.order {
            Order::Run(run) => {
                let halt = halts(world, wall).into_iter().find(|h| h.covers(&row.order));
                (halt, world.call("target busy", |s| s.target_busy(run.target.id, run.id))?)
            }
            Order::Emit(_) => (halts(world, wall).into_iter().find(|h| h.covers(&row.order)), false),
            Order::Page(_) => (None, false),
        };
        let recovered = world.call("recovered", |s| s.recovered())?;
        let active = self.owned.get(&shard).map(super::owned::Owned::active).unwrap_or_default();
        let Some(set) = world.rules.find(active) else { return Ok(Considered::Wait) };
        let input = GuardInput {
            now: wall,
            halt: halt.as_ref(),
            incident: incident.as_ref(),
            set: &set,
            target_busy: busy,
            max_action_age: MAX_ACTION_AGE,
            recovered: recovered.as_ref().map(|r| (r.at, r.why.as_str())),
            topic_read_by: None,
        };
        Ok(consider(row, &input))
    }

    /// Whether a run is committed as started, and has not left.
    pub(super) fn is_about_to_send(&self) -> bool {
        self.tasks.iter().any(|t| t.phase == Phase::Send && matches!(t.row.order, Order::Run(_) | Order::Emit(_)))
    }

    /// Every task that is due goes on. Whether there was one.
    pub(super) fn tasks_go_on(&mut self, world: &mut World) -> bool {
        let due = |t: &Task| t.at <= world.now;
        let Some(at) = self.tasks.iter().position(due) else { return false };
        self.task(world, at);
        true
    }

    fn task(&mut self, world: &mut World, at: usize) {
        let mut task = self.tasks.remove(at);
        match task.phase.clone() {
            Phase::Send => {
                let (outcome, after) = self.send(world, &task);
                (task.phase, task.at) = (Phase::Wait(outcome), world.now.plus(after));
            }
            Phase::Poll => {
                let key = task.row.key;
                let outcome = match !world.calm && world.dice.one_in(8) {
                    true => failed("the job cannot be asked about", true),
                    false => world.endpoints.poll(key, world.now),
                };
                (task.phase, task.at) = (Phase::Wait(outcome), world.now.plus(world.dice.millis(1, 300)));
            }
            Phase::Wait(outcome) => {
                task.phase = Phase::Save(outcome);
                task.at = world.now.plus(world.dice.millis(0, 50));
            }
            Phase::Save(outcome) => {
                let wall = self.wall(world);
                let saved = save(world, &task.row, &outcome, wall);
                if let Err(error) = &saved {
                    world.note(format!("reply for {} is not saved: {error}", short(task.row.key)));
                }
                task.waits |= matches!(saved, Ok(false));
                if !saved.unwrap_or_default() {
                    task.at = world.now.plus(Span::from_millis(500));
                    self.tasks.push(task);
                }
                return;
            }
        }
        self.tasks.push(task);
    }

    /// The last look, and then the request leaves.
    fn send(&self, world: &mut World, task: &Task) -> (Outcome, Span) {
        let row = &task.row;
        let no_time = Span::ZERO;
        if world.now.since(task.asked) > FRESH && !self.may_still_leave(world, task).unwrap_or(false) {
            world.hit(Fault::SentTooLate);
            return (failed("held up after it was started, and not sent", true), no_time);
        }
        let key = match planted("attempt_in_key") {
            true => Id::of(&json!([row.key, row.attempts])),
            false => row.key,
        };
        let body = row.request.clone().unwrap_or_default();
        let mut hits = vec![];
        let calm = world.calm;
        if let Some((halt, _)) = world.halt_file.iter().find(|(h, _)| h.covers(&row.order)) {
            let why = format!("halted before it left: {}", halt.reason);
            world.hit(Fault::HaltSeenLast);
            return (failed(&why, true), no_time);
        }
        let answer = match &row.order {
            Order::Run(run) => {
                super::oracle::leaves(world, row, key, &body);
                let asked = (key, run.playbook.as_str(), run.target.id);
                let mut hit = |fault| hits.push(fault);
                let answer = world.endpoints.run(&mut world.dice, world.now, asked, &body, calm, &mut hit);
                if answer.healed {
                    recovery(world, run);
                }
                (answer.outcome, answer.after)
            }
            Order::Emit(_) => {
                super::oracle::leaves(world, row, key, &body);
                world.endpoints.emit(&mut world.dice, key, calm, &mut |fault| hits.push(fault))
            }
            Order::Page(_) => {
                super::oracle::leaves(world, row, key, &body);
                world.endpoints.page(&mut world.dice, key, calm, &mut |fault| hits.push(fault))
            }
        };
        hits.into_iter().for_each(|fault| world.hit(fault));
        world.note(format!("node {} sends {}: {:?}", self.id, short(key), answer.0));
        answer
    }

    /// Whether a row that was started a while ago may still leave: it is ours, as it was started, and nothing halts it.
    fn may_still_leave(&self, world: &mut World, task: &Task) -> Result<bool> {
        let (shard, sent) = (task.shard, &task.row);
        let Some((_, now)) = world.call("outbox get", |s| s.outbox_get(sent.key))? else { return Ok(false) };
        let owners = world.call("shards", |s| s.shards())?;
        let owner = owners.into_iter().find(|(s, _)| *s == shard).map(|(_, epoch)| epoch);
        let wall = self.wall(world);
        let halted = halts(world, wall).iter().any(|h| h.covers(&sent.order));
        // Another owner that has adopted it waits to send it again.
        let of = |row: &OutboxRow| (row.state, row.attempts, row.not_before);
        let same = of(&now) == of(sent);
        Ok(same && owner == self.owned.get(&shard).map(|o| o.epoch) && !halted)
    }
}

/// The halts in force, in the file and in the store. A store that does not answer means halted.
fn halts(world: &mut World, wall: Timestamp) -> Vec<Halt> {
    match world.call("halts", |s| s.halts()) {
        Ok(halts) => halts,
        Err(_) if planted("guard_error_allows") => vec![],
        Err(error) => vec![Halt {
            scope: HaltScope::All,
            by: "dispatcher".to_owned(),
            reason: format!("the store does not tell whether there is a halt: {error}"),
            at: wall,
        }],
    }
}

/// Brings a reply, whoever owns the shard now: the first terminal one wins. A row that a new owner has found
/// `started` is unknown meanwhile, and a late reply settles it. False: not yet, another request of the row is under way.
fn save(world: &mut World, sent: &OutboxRow, outcome: &Outcome, wall: Timestamp) -> Result<bool> {
    let (next, inbox) = after(sent, outcome, wall);
    let change = OutboxMove { key: sent.key, from: sent.state, row: next.clone(), fence: None, inbox };
    let key = sent.key;
    match world.call("outbox move", |s| s.outbox_move(&change)) {
        Err(StoreError::Conflict { found, .. }) => {
            if planted("late_reply_dropped") {
                world.watch.saved(sent, outcome);
                return Ok(true);
            }
            let now = world.call("outbox get", |s| s.outbox_get(key))?;
            if now.as_ref().is_some_and(|(_, row)| is_under_way(row)) {
                return Ok(false);
            }
            if let Some((_, row)) = now
                && let Some((next, inbox)) = late(sent, &row, outcome, wall)
            {
                let change = OutboxMove { key, from: row.state, row: next.clone(), fence: None, inbox };
                world.call("outbox move", |s| s.outbox_move(&change))?;
                world.hit(Fault::LateReply);
                world.note(format!("{} was {found}, and is {} by a late reply", short(key), next.state.name()));
            }
        }
        done => {
            done?;
            world.note(format!("{} {} -> {}", short(key), sent.state.name(), next.state.name()));
        }
    }
    world.watch.saved(sent, outcome);
    Ok(true)
}

/// The target is well again: monitoring tells, after a while, or never.
fn recovery(world: &mut World, run: &Run) {
    let kind = match run.rule.as_str() {
        "disk full" => "disk",
        "stuck" => "stuck",
        _ => "memory",
    };
    let scope = run.target.name.split('-').next().unwrap_or_default().to_owned();
    if world.dice.one_in(5) {
        return;
    }
    let at = world.now.plus(world.dice.millis(500, 25_000));
    let told = world.monitor.message(&(scope, run.target.name.clone(), kind), false, at);
    world.monitor.tell_later(at, told);
}

/// The beginning of an id, for the trace.
pub(super) fn short(id: Id) -> String {
    id.to_string().chars().take(8).collect()
}
