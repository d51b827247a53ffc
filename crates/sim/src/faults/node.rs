//! A node: the live shell's loop in small steps, each of which may be its last.

use std::collections::{BTreeMap, BTreeSet};

use paramedic_model::{Id, Span, Timestamp};
use paramedic_store::StoreError;

use super::dispatch::Task;
use super::fault::Fault;
use super::owned::Owned;
use super::world::World;

/// What a node is doing as a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    Up,
    /// Ended; it starts again then.
    Down(Timestamp),
    /// Stopped, with all its memory; it goes on then.
    Paused(Timestamp),
}

pub(super) struct Node {
    pub(super) id: usize,
    pub(super) process: Process,
    /// Since when it is not up.
    pub(super) since: Timestamp,
    /// How far its wall clock is from the true time.
    pub(super) skew: Span,
    pub(super) owned: BTreeMap<u32, Owned>,
    pub(super) tasks: Vec<Task>,
    /// Turns in which it does not yet know that it lost its shards.
    unaware: u32,
}

impl Node {
    pub(super) fn new(id: usize) -> Self {
        Self {
            id,
            process: Process::Up,
            since: Timestamp::EPOCH,
            skew: Span::ZERO,
            owned: BTreeMap::new(),
            tasks: vec![],
            unaware: 0,
        }
    }

    pub(super) fn wall(&self, world: &World) -> Timestamp {
        world.now.plus(self.skew)
    }

    pub(super) fn busy(&self) -> BTreeSet<Id> {
        self.tasks.iter().filter(|t| !t.waits).map(|t| t.row.key).collect()
    }

    /// It ends without a word: what was under way is counted, and gone.
    pub(super) fn crash(&mut self, world: &mut World, back: Timestamp) {
        let mut what: BTreeSet<Fault> = self.tasks.iter().map(Task::crashed).collect();
        for owned in self.owned.values() {
            what.extend(owned.open.is_some().then_some(Fault::CrashStepped));
            what.extend(owned.gathered.is_some().then_some(Fault::CrashGathered));
        }
        if what.is_empty() {
            what.insert(Fault::CrashIdle);
        }
        world.note(format!("node {} ends: {what:?}", self.id));
        what.into_iter().for_each(|fault| world.hit(fault));
        self.owned.clear();
        self.tasks.clear();
        (self.process, self.since) = (Process::Down(back), world.now);
    }

    /// It is down until then, whatever it was doing.
    pub(super) fn end(&mut self, world: &mut World, back: Timestamp) {
        if self.process == Process::Up {
            return self.crash(world, back);
        }
        self.owned.clear();
        self.tasks.clear();
        self.process = Process::Down(back);
    }

    pub(super) fn pause(&mut self, world: &mut World, until: Timestamp) {
        world.hit(Fault::Paused);
        world.note(format!("node {} is stopped", self.id));
        (self.process, self.since) = (Process::Paused(until), world.now);
        self.unaware = u32::try_from(world.dice.roll(8)).unwrap_or(0);
    }

    /// Whether it is up; starts or goes on when its time has come.
    pub(super) fn wakes(&mut self, world: &mut World) -> bool {
        match self.process {
            Process::Up => return true,
            Process::Down(until) | Process::Paused(until) if world.now < until => return false,
            Process::Down(_) => {
                world.note(format!("node {} starts", self.id));
                self.unaware = 0;
                if world.group.members.contains(&self.id) {
                    world.hit(Fault::StaticRestart);
                }
            }
            Process::Paused(_) => world.note(format!("node {} goes on", self.id)),
        }
        self.process = Process::Up;
        if world.group.members.insert(self.id) {
            world.rebalance(true);
        }
        true
    }

    /// Learns what the group says: leaves what is not its own, takes over what is.
    pub(super) fn follow_group(&mut self, world: &mut World) {
        if self.unaware > 0 {
            self.unaware -= 1;
            return;
        }
        let mine: BTreeSet<u32> =
            world.group.assigned.iter().filter(|(_, node)| **node == self.id).map(|(s, _)| *s).collect();
        let gone: Vec<u32> = self.owned.keys().filter(|shard| !mine.contains(shard)).copied().collect();
        for shard in gone {
            // A batch that is stepped is finished, or dropped.
            if world.dice.one_in(2) {
                self.commit(world, shard);
            }
            if self.owned.remove(&shard).is_some() {
                world.hit(Fault::Revoked);
                world.note(format!("node {} leaves shard {shard}", self.id));
            }
        }
        for shard in mine {
            if !self.owned.contains_key(&shard)
                && let Ok(owned) = Owned::load(world, shard)
            {
                world.note(format!("node {} takes shard {shard} over, epoch {}", self.id, owned.epoch));
                self.owned.insert(shard, owned);
            }
        }
    }

    /// One step of a shard's pipeline. Whether anything came of it.
    pub(super) fn pipeline(&mut self, world: &mut World, shard: u32) -> bool {
        let wall = self.wall(world);
        let Some(owned) = self.owned.get_mut(&shard) else { return false };
        let ahead = owned.open.is_some() && owned.gathered.is_none() && world.dice.one_in(3);
        if owned.open.is_some() && !ahead {
            return self.commit(world, shard);
        }
        let done = match owned.gathered.is_some() {
            true => owned.step(world),
            false => owned.gather(world, wall),
        };
        match done {
            Ok(something) => something,
            Err(error) => self.broken(world, shard, &error),
        }
    }

    fn commit(&mut self, world: &mut World, shard: u32) -> bool {
        let Some(owned) = self.owned.get_mut(&shard) else { return false };
        match owned.commit(world) {
            // Moved by hand: all begins again from there.
            Ok(rewound) => {
                if rewound {
                    self.owned.remove(&shard);
                }
                true
            }
            Err(error) => self.broken(world, shard, &error),
        }
    }

    /// Drop the memory, and begin again from the store: never go on from what may not be there.
    fn broken(&mut self, world: &mut World, shard: u32, error: &StoreError) -> bool {
        if let StoreError::Fenced { .. } = error {
            world.hit(Fault::StaleCommit);
            self.unaware = 0;
        }
        world.note(format!("node {} drops shard {shard}: {error}", self.id));
        // As if whatever failed was not done.
        let goes_on = paramedic_model::faults::planted("position_not_compared")
            && matches!(error, StoreError::Away { context: "commit", cause } if cause.contains("after"));
        if !goes_on {
            self.owned.remove(&shard);
        }
        false
    }
}
