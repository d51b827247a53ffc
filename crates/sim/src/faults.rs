//! Fault simulation: the real core on a real store, in a world that breaks, in virtual time.
//!
//! One thread, no clock, no chance but the seed's: a seed gives the same history, always. The shard, the evaluator, the
//! outbox machine and the store are those that run live; the shell around them is small steps of the same loop, and
//! between any two of them a node may end, be stopped, lose its shards; a call to the store may fail before it was done
//! or after; the broker, the endpoints, the clocks and the people do what they do. After the faults comes calm, in
//! which everything has to come to rest. What must hold is judged by [`oracle`], from outside.

mod dice;
mod dispatch;
mod endpoint;
mod fault;
mod kafka;
mod monitor;
mod node;
mod oracle;
mod owned;
mod people;
mod rules;
mod tail;
mod world;

use std::collections::BTreeMap;

use paramedic_model::{CmdbDelta, Digest, InboxBody, IncidentState, NewInbox, Span, Timestamp};
use paramedic_store::{IncidentFilter, StoreError};

pub use fault::Fault;
pub use oracle::Violation;

use node::{Node, Process};
use world::{SESSION, World};

/// How a seed is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Steps with faults.
    pub steps: u32,
    /// The memory store, or SQLite; `None`: as the seed says.
    pub memory: Option<bool>,
    /// Prints everything that happens to stderr.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { steps: 300, memory: None, trace: false }
    }
}

/// What a seed came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which seed.
    pub seed: u64,
    /// What must not be.
    pub violations: Vec<Violation>,
    /// How often each kind of fault happened, by [`Fault::name`].
    pub faults: BTreeMap<&'static str, u64>,
    /// Digest of everything that happened.
    pub trace: Digest,
    /// Requests that reached an endpoint or a notifier.
    pub requests: u64,
    /// Steps, calm included.
    pub steps: u32,
}

/// Runs a seed.
pub fn run(seed: u64, options: &Options) -> Report {
    let mut simulation = match Simulation::new(seed, options) {
        Ok(simulation) => simulation,
        Err(error) => {
            let what = format!("the store cannot be opened: {error}");
            let violation = Violation { step: 0, at: Timestamp::EPOCH, oracle: "a store", what, trace: vec![] };
            let (faults, trace) = (BTreeMap::new(), Digest::default());
            return Report { seed, violations: vec![violation], faults, trace, requests: 0, steps: 0 };
        }
    };
    simulation.faults(options.steps);
    simulation.calm();
    let world = simulation.world;
    Report {
        seed,
        faults: world.hits.iter().map(|(fault, n)| (fault.name(), *n)).collect(),
        trace: world.trace.digest(),
        requests: world.watch.requests,
        steps: world.step,
        violations: world.watch.violations,
    }
}

struct Simulation {
    world: World,
    nodes: Vec<Node>,
}

impl Simulation {
    fn new(seed: u64, options: &Options) -> Result<Self, StoreError> {
        let mut world = World::new(seed, options.memory)?;
        world.trace.print = options.trace;
        for set in world.rules.sets.clone() {
            world.store.ruleset_put(set.digest, &set.sources)?;
        }
        if let Some(first) = world.rules.sets.first() {
            world.store.ruleset_publish(first.digest, world.now, false)?;
        }
        let most = if world.alone { 2 } else { 3 };
        let nodes: Vec<Node> = (0..1 + world.dice.index(most)).map(Node::new).collect();
        world.group.members = nodes.iter().map(|n| n.id).collect();
        world.rebalance(true);
        let mut simulation = Self { world, nodes };
        if simulation.world.dice.one_in(2) {
            simulation.each_node(|node, world| node.follow_group(world));
        }
        simulation.cmdb()?;
        Ok(simulation)
    }

    /// Every scope but, sometimes, the last has a CMDB to begin with.
    fn cmdb(&mut self) -> Result<(), StoreError> {
        let world = &mut self.world;
        let mut scopes = world.monitor.scopes().to_vec();
        if scopes.len() > 1 && world.dice.one_in(3) {
            scopes.pop();
        }
        for scope in scopes {
            let mut text = "cis:\n".to_owned();
            for ci in world.monitor.cis(&scope) {
                text.push_str(&format!("  - {{ name: {ci}, class: server, environment: test }}\n"));
            }
            let parsed = paramedic_formats::cmdb::parse(&text, &scope, "ann", world.now, &|_| None);
            let delta: CmdbDelta = parsed.map_err(|e| StoreError::Other { context: "cmdb", cause: e.to_string() })?;
            let entry = NewInbox {
                id: format!("cmdb|{scope}"),
                scope: scope.clone(),
                at: world.now,
                body: InboxBody::Cmdb(delta),
            };
            world.store.inbox_append(&[entry])?;
        }
        Ok(())
    }

    fn each_node(&mut self, mut f: impl FnMut(&mut Node, &mut World)) {
        for node in &mut self.nodes {
            if node.wakes(&mut self.world) {
                f(node, &mut self.world);
            }
        }
    }

    /// Things happen, and go wrong.
    fn faults(&mut self, steps: u32) {
        while self.world.step < steps {
            self.world.step += 1;
            let pause = match self.world.dice.roll(60) {
                0 => self.world.dice.millis(5_000, 70_000),
                _ => self.world.dice.millis(1, 900),
            };
            self.world.now = self.world.now.plus(pause);
            self.world.produce(false);
            self.expire();
            match self.world.dice.roll(100) {
                0..16 => self.world.produce(true),
                16..70 => self.node_turn(),
                70..92 => self.dispatch_turn(),
                92..95 => {
                    self.world.try_again();
                    self.world.person();
                }
                95 => self.world.webhook(),
                _ => self.chaos(),
            }
        }
    }

    fn node_turn(&mut self) {
        let at = self.world.dice.index(self.nodes.len());
        let (Some(node), world) = (self.nodes.get_mut(at), &mut self.world) else { return };
        if !node.wakes(world) {
            return;
        }
        node.follow_group(world);
        let shards: Vec<u32> = node.owned.keys().copied().collect();
        if let Some(shard) = world.dice.pick(&shards).copied() {
            node.pipeline(world, shard);
        }
    }

    fn dispatch_turn(&mut self) {
        let at = self.world.dice.index(self.nodes.len());
        let (Some(node), world) = (self.nodes.get_mut(at), &mut self.world) else { return };
        if !node.wakes(world) {
            return;
        }
        // Now and then between `started` and the request.
        if node.is_about_to_send() && world.dice.one_in(4) {
            world.halt();
        }
        if !node.tasks_go_on(world) {
            node.look(world);
        }
    }

    /// Members that have not been heard of for too long are not of the group any more.
    fn expire(&mut self) {
        let now = self.world.now;
        let mut gone = false;
        for node in self.nodes.iter().filter(|n| n.process != Process::Up && now.since(n.since) >= SESSION) {
            gone |= self.world.group.members.remove(&node.id);
        }
        if gone {
            self.world.rebalance(false);
        }
    }

    fn chaos(&mut self) {
        let at = self.world.dice.index(self.nodes.len());
        let (Some(node), world) = (self.nodes.get_mut(at), &mut self.world) else { return };
        let is_up = node.process == Process::Up;
        match world.dice.roll(19) {
            0..5 if is_up => {
                let span =
                    if world.dice.one_in(2) { world.dice.millis(100, 5_000) } else { world.dice.millis(6_000, 40_000) };
                node.crash(world, world.now.plus(span));
            }
            5..8 if is_up => {
                let span = world.dice.millis(200, 40_000);
                node.pause(world, world.now.plus(span));
            }
            8 | 9 => world.rebalance(true),
            10 => {
                let span = if world.dice.one_in(3) { 90_000 } else { 10_000 };
                let span = world.dice.millis(500, span);
                world.kafka.go_away(world.now, span);
                world.hit(Fault::BrokerAway);
            }
            11 => {
                let span = world.dice.millis(500, 15_000);
                world.store_away = world.now.plus(span);
                world.hit(Fault::StoreAway);
            }
            12 => {
                let span = world.dice.millis(1_000, 600_000);
                node.skew = match world.dice.one_in(2) {
                    true => {
                        world.hit(Fault::ClockForwards);
                        span
                    }
                    false => {
                        world.hit(Fault::ClockBackwards);
                        Span::from_millis(-span.as_nanos() / 1_000_000)
                    }
                };
            }
            13 => world.cut_log(),
            14 if world.dice.one_in(2) => world.recreate_topic(),
            15 => world.back_up(),
            16 => self.lose_tail(),
            _ => world.resume(),
        }
    }

    /// The store is as it was a while ago, and says so: an operator has put a backup back, with all nodes down; or its
    /// server has failed over, and the nodes, whose connections were all cut, begin again from what is there now.
    fn lose_tail(&mut self) {
        let Some(backup) = self.world.backup.take() else { return };
        if self.world.dice.one_in(2) {
            let span = self.world.dice.millis(1_000, 60_000);
            let back = self.world.now.plus(span);
            for node in &mut self.nodes {
                node.end(&mut self.world, back);
            }
            self.world.put_back(backup);
        } else {
            let adrift = self.nodes.iter().flat_map(|node| node.tasks.iter().map(|t| t.row.key)).collect();
            self.nodes.iter_mut().for_each(|node| node.owned.clear());
            self.world.fail_over(backup, adrift);
        }
    }

    /// No faults any more: all is taken, people do what they must, monitoring tells of every recovery, and everything
    /// comes to rest.
    fn calm(&mut self) {
        let world = &mut self.world;
        world.note("calm".to_owned());
        world.calm = true;
        (world.store_away, world.kafka.away_until) = (Timestamp::EPOCH, Timestamp::EPOCH);
        for node in &mut self.nodes {
            node.skew = Span::ZERO;
            if let Process::Down(_) | Process::Paused(_) = node.process {
                node.process = match node.process {
                    Process::Down(_) => Process::Down(world.now),
                    _ => Process::Paused(world.now),
                };
            }
        }
        // As long as a wall clock may have been ahead, and as an event may have been dated ahead.
        self.go_on(Span::from_secs(1_300));
        self.world.produce(false);
        self.go_on(Span::from_secs(60));
        oracle::drained(&mut self.world);
        let mut hits = vec![];
        let world = &mut self.world;
        world.monitor.choose_never(&mut world.dice, &mut |fault| hits.push(fault));
        hits.into_iter().for_each(|fault| world.hit(fault));
        let (topic, webhook) = world.monitor.all_well(world.now);
        topic.into_iter().for_each(|told| world.append(told));
        webhook.into_iter().for_each(|told| world.refuse(told));
        self.go_on(Span::from_secs(900));
        oracle::at_rest(&mut self.world);
    }

    /// Goes on without faults for so long; small steps while there is something to do, large ones else.
    fn go_on(&mut self, span: Span) {
        let until = self.world.now.plus(span);
        while self.world.now < until {
            self.world.step += 1;
            self.world.produce(false);
            self.world.try_again();
            self.world.webhook();
            if self.world.step.is_multiple_of(4) {
                self.world.resume();
                self.world.decide_proposed(true);
                self.world.settle(true);
                self.world.rewind_stopped();
                self.world.look_after_tail(true);
            }
            let (mut busy, commits) = (false, self.world.commits);
            self.each_node(|node, world| {
                node.follow_group(world);
                let shards: Vec<u32> = node.owned.keys().copied().collect();
                for shard in shards {
                    for _ in 0..40 {
                        if !node.pipeline(world, shard) {
                            break;
                        }
                    }
                }
                busy |= node.look(world);
                while node.tasks_go_on(world) {
                    busy = true;
                }
                busy |= !node.tasks.is_empty();
            });
            busy |= commits != self.world.commits;
            let pause = if busy { Span::from_millis(700) } else { Span::from_secs(20) };
            self.world.now = self.world.now.plus(pause);
        }
    }
}

impl World {
    /// Retention: mostly of what was taken, now and then of what was not.
    fn cut_log(&mut self) {
        let count = u64::from(self.kafka.count());
        let partition = u32::try_from(self.dice.roll(count)).unwrap_or(0);
        let name = kafka::position(partition);
        let Ok(stored) = self.store.positions() else { return };
        let Some(next) = stored.iter().find(|(_, n, _)| *n == name).map(|(_, _, p)| p.next) else { return };
        if next < 0 {
            return;
        }
        if self.dice.one_in(4) {
            let past = next + 1 + i64::try_from(self.dice.roll(4)).unwrap_or(0);
            self.kafka.cut(partition, past);
            self.note(format!("{name} is cut before {past}, it had been taken to {next}"));
        } else {
            self.kafka.cut(partition, next);
            self.hit(Fault::Retention);
        }
    }

    fn recreate_topic(&mut self) {
        for partition in 0..self.kafka.count() {
            self.kafka.recreate(partition);
        }
        self.note("the topic is created anew".to_owned());
        for _ in 0..self.dice.roll(30) {
            self.produce(true);
        }
    }

    /// People see which partitions stand still, and say where to go on.
    fn rewind_stopped(&mut self) {
        let states = IncidentState::ALL.into_iter().filter(|s| s.is_open()).collect();
        let filter = IncidentFilter { states, limit: 1_000, ..IncidentFilter::default() };
        let stopped: Vec<String> = self
            .store
            .incidents(&filter)
            .unwrap_or_default()
            .iter()
            .filter_map(|i| paramedic_engine::stopped_source(i).map(str::to_owned))
            .collect();
        for name in stopped {
            let minute = self.now.as_nanos() / 60_000_000_000;
            if let Some(partition) = kafka::partition_of(&name)
                && self.watch.asked_in_this_minute(&name, minute)
            {
                self.rewind(partition, paramedic_model::REWIND_EARLIEST);
            }
        }
    }
}
