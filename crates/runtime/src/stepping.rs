//! The stepping stage: one shard, in order; one transaction a batch; never on from memory after a failed commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crossbeam_channel::Receiver;
use paramedic_engine::{Decision, Shard};
use paramedic_model::{InboxBody, Range, Timestamp};
use paramedic_store::{Batch, DeadLetter, Position, PositionMove, Store, StoreError};

use crate::clock::wall;
use crate::live::Sets;
use crate::matching::{Fed, Matched};
use crate::metrics::Metrics;

/// The state of the stepping stage.
pub struct Stepper {
    /// The shard.
    pub shard: Shard,
    /// Its number.
    pub number: u32,
    /// Its fence.
    pub epoch: u64,
    /// Where batches go.
    pub store: Arc<dyn Store>,
    /// Where rule sets come from.
    pub sets: Arc<Sets>,
    /// For counters.
    pub metrics: Metrics,
    /// Where the sources are, in the store.
    pub positions: BTreeMap<String, Position>,
    /// How long a batch that moves only positions may wait.
    pub max_wait: paramedic_model::Span,
    /// Told after a commit that wants something sent.
    pub dispatch: Arc<tokio::sync::Notify>,
    /// The shard's clock, for status.
    pub clock: Arc<AtomicI64>,
    open: Option<Open>,
}

/// A batch that has begun and is not committed yet.
struct Open {
    since: Timestamp,
    ranges: BTreeMap<String, Range>,
    positions: BTreeMap<String, Position>,
    dead: Vec<DeadLetter>,
}

impl Stepper {
    /// Begins with what the store gave.
    #[expect(clippy::too_many_arguments, reason = "the shell's parts, put together once")]
    pub fn new(
        shard: Shard,
        number: u32,
        epoch: u64,
        store: Arc<dyn Store>,
        sets: Arc<Sets>,
        metrics: Metrics,
        positions: BTreeMap<String, Position>,
        max_wait: paramedic_model::Span,
        dispatch: Arc<tokio::sync::Notify>,
        clock: Arc<AtomicI64>,
    ) -> Self {
        Self { shard, number, epoch, store, sets, metrics, positions, max_wait, dispatch, clock, open: None }
    }

    /// Runs until no more batches come. An error means: drop the memory, and begin again from the store.
    ///
    /// # Errors
    /// Those of the store's commit.
    pub fn run(&mut self, batches: &Receiver<Matched>) -> Result<(), StoreError> {
        loop {
            match batches.recv_timeout(self.max_wait.to_std()) {
                Ok(matched) => self.batch(matched)?,
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => self.commit(false, vec![])?,
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return self.commit(false, vec![]),
            }
        }
    }

    fn batch(&mut self, mut matched: Matched) -> Result<(), StoreError> {
        if !matched.joinable && !matched.ranges.is_empty() {
            self.commit(false, vec![])?;
        }
        if !matched.ranges.is_empty() {
            self.step(&mut matched);
            let open = self.open.get_or_insert_with(|| Open {
                since: matched.cap,
                ranges: BTreeMap::new(),
                positions: BTreeMap::new(),
                dead: vec![],
            });
            join_ranges(&mut open.ranges, matched.ranges);
            open.positions.extend(matched.positions);
            open.dead.extend(matched.dead);
            let waited = wall().since(open.since) >= self.max_wait;
            if self.shard.has_decided() || !open.dead.is_empty() || waited || !matched.joinable {
                self.commit(false, vec![])?;
            }
        }
        if matched.tick {
            self.tick(matched.cap, matched.blind)?;
        }
        Ok(())
    }

    fn step(&mut self, matched: &mut Matched) {
        let timer = self.metrics.stage.with_label_values(&["step"]).start_timer();
        if self.open.is_none() {
            self.shard.begin(matched.cap);
        } else {
            self.shard.raise_cap(matched.cap);
        }
        for fed in std::mem::take(&mut matched.fed) {
            match fed {
                Fed::Event { stamp, scope, input } => self.shard.event(stamp, &scope, *input),
                Fed::Reached(stamp) => self.shard.reach(stamp),
                Fed::Inbox { stamp, entry } => {
                    if let InboxBody::RulebooksPublished(set) = &entry.body
                        && let Some(set) = self.sets.get(*set)
                    {
                        self.shard.learn(set);
                    }
                    self.shard.inbox(stamp, &entry);
                }
            }
        }
        if let Some(stamp) = matched.reached {
            self.shard.reach(stamp);
        }
        self.shard.set_inputs(matched.inputs.clone());
        timer.observe_duration();
    }

    /// The clock moves on its own. What has begun is committed first; a tick that decides nothing is not.
    fn tick(&mut self, cap: Timestamp, blind: Vec<String>) -> Result<(), StoreError> {
        if self.shard.next_due().is_some_and(|due| due <= cap) {
            self.commit(false, vec![])?;
            self.shard.begin(cap);
            self.open = Some(Open { since: cap, ranges: BTreeMap::new(), positions: BTreeMap::new(), dead: vec![] });
            self.commit(true, blind)?;
        } else if self.open.is_some() {
            self.commit(false, vec![])?;
            self.shard.begin(cap);
            self.shard.tick(vec![]);
        } else {
            self.shard.begin(cap);
            self.shard.tick(vec![]);
        }
        self.told_clock();
        Ok(())
    }

    fn told_clock(&self) {
        let clock = self.shard.clock();
        self.clock.store(clock.as_nanos(), Ordering::Relaxed);
        self.metrics.clock.set(clock.as_nanos() as f64 / 1e9);
    }

    /// One transaction: everything since the batch began.
    fn commit(&mut self, tick: bool, blind: Vec<String>) -> Result<(), StoreError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        if tick {
            self.shard.tick(blind);
        }
        let finished = self.shard.finish(open.ranges);
        self.told_clock();
        for (_, decided) in &finished.decided {
            let name = match &decided.decision {
                Decision::Step(step) => step.name(),
                Decision::Mark(mark) => mark.name(),
            };
            self.metrics.decisions.with_label_values(&[name]).inc();
        }
        let wants_dispatch = finished.changes.iter().any(paramedic_model::ScopeChanges::wants_dispatch);
        let positions = open
            .positions
            .iter()
            .map(|(name, to)| {
                let from = self.positions.get(name).map(|p| p.next);
                (name.clone(), PositionMove { from, to: to.clone() })
            })
            .collect();
        let batch = Batch {
            shard: self.number,
            epoch: self.epoch,
            changes: finished.changes,
            positions,
            dead_letters: open.dead,
            journal: Some(finished.journal),
        };
        let timer = self.metrics.stage.with_label_values(&["commit"]).start_timer();
        self.store.commit(&batch)?;
        timer.observe_duration();
        self.positions.extend(open.positions);
        if wants_dispatch {
            self.dispatch.notify_one();
        }
        Ok(())
    }
}

fn join_ranges(into: &mut BTreeMap<String, Range>, more: BTreeMap<String, Range>) {
    for (name, range) in more {
        into.entry(name).and_modify(|r| r.join(&range)).or_insert(range);
    }
}
