//! The world around the nodes: time, the store and its faults, broker, monitoring, endpoints, the group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use paramedic_model::{Digest, Halt, Running, Span, Timestamp};
use paramedic_rulebook::Evaluator;
use paramedic_store::{MemoryStore, Result, SqliteStore, Store, StoreError};

use super::dice::Dice;
use super::endpoint::Endpoints;
use super::fault::Fault;
use super::kafka::Kafka;
use super::monitor::{Monitor, Told};
use super::oracle::Watch;
use super::rules::Rules;
use super::tail::Backup;

/// Lines of the trace that a violation shows.
const TAIL: usize = 60;
/// When every simulation begins: 2026-01-01.
const BEGIN: i64 = 1_767_225_600;
/// A member that is not heard of for so long is taken out of the group.
pub(super) const SESSION: Span = Span::from_secs(6);
/// The oldest release that may act.
pub(super) const MAX_ACTION_AGE: Span = Span::from_secs(300);

/// Which member owns which shard, as the coordinator sees it.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) members: BTreeSet<usize>,
    pub(super) assigned: BTreeMap<u32, usize>,
}

/// What happened, for people and for comparing two runs.
#[derive(Debug, Default)]
pub(super) struct Trace {
    running: Running,
    tail: VecDeque<String>,
    pub(super) print: bool,
}

impl Trace {
    pub(super) fn digest(&self) -> Digest {
        self.running.digest()
    }
}

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) now: Timestamp,
    pub(super) step: u32,
    /// No faults any more.
    pub(super) calm: bool,
    pub(super) store: Arc<dyn Store>,
    /// The same, where it is the memory store: of that one there may be a backup.
    pub(super) memory: Option<Arc<MemoryStore>>,
    pub(super) backup: Option<Backup>,
    /// When the store lost its end.
    pub(super) lost_tail: Option<Timestamp>,
    pub(super) store_away: Timestamp,
    pub(super) kafka: Kafka,
    pub(super) monitor: Monitor,
    pub(super) endpoints: Endpoints,
    /// The halt file that each machine has: here all of them at once. With the instant, in true time.
    pub(super) halt_file: Vec<(Halt, Timestamp)>,
    pub(super) rules: Rules,
    /// The matching stages of all nodes: they remember nothing.
    pub(super) matchers: BTreeMap<Digest, Evaluator>,
    /// One shard for all partitions, no group.
    pub(super) alone: bool,
    /// Producers key by scope.
    pub(super) keyed: bool,
    pub(super) group: Group,
    pub(super) watch: Watch,
    pub(super) trace: Trace,
    pub(super) hits: BTreeMap<Fault, u64>,
    /// Webhook messages that their sender will bring again.
    pub(super) refused: Vec<(u64, Told)>,
    pub(super) ids: u64,
    /// Batches committed.
    pub(super) commits: u64,
}

impl World {
    pub(super) fn new(seed: u64, memory: Option<bool>) -> Result<Self> {
        let mut dice = Dice::new(seed);
        let alone = dice.one_in(3);
        let partitions = 1 + u32::try_from(dice.roll(3)).unwrap_or(0);
        let scopes = 1 + dice.roll(3);
        let keyed = dice.one_in(2);
        let roll = dice.one_in(2);
        let memory = memory.unwrap_or(roll).then(|| Arc::new(MemoryStore::new()));
        let store: Arc<dyn Store> = match &memory {
            Some(memory) => Arc::clone(memory) as Arc<dyn Store>,
            None => Arc::new(SqliteStore::in_memory()?),
        };
        let scopes = (0..scopes).map(|n| format!("s{n}")).collect();
        Ok(Self {
            dice,
            now: Timestamp::from_secs(BEGIN),
            step: 0,
            calm: false,
            store,
            memory,
            backup: None,
            lost_tail: None,
            store_away: Timestamp::EPOCH,
            kafka: Kafka::new(partitions),
            monitor: Monitor::new(scopes, 2),
            endpoints: Endpoints::default(),
            halt_file: vec![],
            rules: Rules::get(),
            matchers: BTreeMap::new(),
            alone,
            keyed,
            group: Group::default(),
            watch: Watch::default(),
            trace: Trace::default(),
            hits: BTreeMap::new(),
            refused: vec![],
            ids: 0,
            commits: 0,
        })
    }

    pub(super) fn hit(&mut self, fault: Fault) {
        *self.hits.entry(fault).or_default() += 1;
    }

    pub(super) fn note(&mut self, line: String) {
        let line = format!("{:>5} {} {line}", self.step, self.now);
        self.trace.running.add(line.as_bytes());
        if self.trace.print {
            let err = std::io::stderr();
            let _ = std::io::Write::write_fmt(&mut err.lock(), format_args!("{line}\n"));
        }
        self.trace.tail.push_back(line);
        if self.trace.tail.len() > TAIL {
            self.trace.tail.pop_front();
        }
    }

    /// Something is not as it must be.
    pub(super) fn wrong(&mut self, oracle: &'static str, what: String) {
        self.note(format!("VIOLATION {oracle}: {what}"));
        let tail = self.trace.tail.iter().cloned().collect();
        self.watch.found(self.step, self.now, oracle, what, tail);
    }

    pub(super) fn shards(&self) -> u32 {
        if self.alone { 1 } else { self.kafka.count() }
    }

    /// The partitions of a shard.
    pub(super) fn partitions(&self, shard: u32) -> Vec<u32> {
        if self.alone { (0..self.kafka.count()).collect() } else { vec![shard] }
    }

    pub(super) fn new_id(&mut self, what: &str) -> String {
        self.ids += 1;
        format!("{what}|{}", self.ids)
    }

    /// A call to the store: it may fail before it is done, or after.
    pub(super) fn call<T>(&mut self, context: &'static str, f: impl FnOnce(&dyn Store) -> Result<T>) -> Result<T> {
        let is_commit = context == "commit";
        let away = |cause: &str| StoreError::Away { context, cause: cause.to_owned() };
        if self.now < self.store_away {
            return Err(away("simulated: no connection"));
        }
        let roll = if self.calm { u64::MAX } else { self.dice.roll(if is_commit { 100 } else { 400 }) };
        match roll {
            0 | 1 => {
                self.hit(if is_commit { Fault::CommitFailed } else { Fault::CallFailed });
                self.note(format!("{context} fails"));
                Err(away("simulated: the connection was cut before it was done"))
            }
            2 => {
                self.hit(Fault::StoreFull);
                Err(StoreError::Full("simulated: the disk is full".to_owned()))
            }
            3 | 4 => {
                f(self.store.as_ref())?;
                self.hit(if is_commit { Fault::CommitInDoubt } else { Fault::CallInDoubt });
                self.note(format!("{context} is done, and fails"));
                Err(away("simulated: the connection was cut after it was done"))
            }
            _ => f(self.store.as_ref()),
        }
    }

    /// Producers send what is due and, sometimes, more.
    pub(super) fn produce(&mut self, more: bool) {
        let mut all = self.monitor.due(self.now);
        if more {
            let mut hits = vec![];
            all.extend(self.monitor.produce(&mut self.dice, self.now, &mut |fault| hits.push(fault)));
            hits.into_iter().for_each(|fault| self.hit(fault));
        }
        for told in all {
            self.append(told);
        }
    }

    pub(super) fn append(&mut self, told: Told) {
        let count = u64::from(self.kafka.count());
        let by_scope = self.monitor.scopes().iter().position(|s| *s == told.scope).unwrap_or(0) as u64 % count;
        let partition = if self.keyed { by_scope } else { self.dice.roll(count) };
        let gap = if self.dice.one_in(12) { 1 + i64::try_from(self.dice.roll(3)).unwrap_or(0) } else { 0 };
        if gap > 0 {
            self.hit(Fault::OffsetGap);
        }
        self.kafka.append(u32::try_from(partition).unwrap_or(0), self.now, told.payload, gap);
    }

    /// Members come and go: every shard gets an owner among those that are there.
    pub(super) fn rebalance(&mut self, shuffle: bool) {
        let members: Vec<usize> = self.group.members.iter().copied().collect();
        let before = self.group.assigned.clone();
        self.group.assigned.clear();
        for shard in 0..self.shards() {
            let stays = before.get(&shard).filter(|m| members.contains(m)).copied();
            let chosen = match stays {
                Some(member) if !shuffle || self.dice.one_in(2) => Some(member),
                _ => self.dice.pick(&members).copied(),
            };
            if let Some(member) = chosen {
                self.group.assigned.insert(shard, member);
            }
        }
        if before != self.group.assigned {
            self.hit(Fault::Rebalanced);
            let assigned = format!("group: {:?}", self.group.assigned);
            self.note(assigned);
        }
    }
}
