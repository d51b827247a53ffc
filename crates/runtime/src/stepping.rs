//! The stepping stage: one shard, in order; one transaction a batch; never on from memory after a failed commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use paramedic_engine::{Decided, Decision, Shard, rule_failed};
use paramedic_model::faults::point;
use paramedic_model::{InboxBody, Lane, NewInbox, OperatorAct, Range, Span, Timestamp};
use paramedic_store::{Batch, DeadLetter, Position, PositionMove, Store, StoreError};
use tokio::sync::Notify;

use crate::matching::{Fed, Matched};
use crate::metrics::Metrics;
use crate::shared::{Clocks, Homes, InForce, Sets};

/// Why the stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// No more batches come.
    Stopped,
    /// A position was moved by hand: begin again from the store.
    Rewound,
}

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
    /// Where scopes are at home.
    pub homes: Homes,
    /// For counters.
    pub metrics: Metrics,
    /// Where the sources are, in the store.
    pub positions: BTreeMap<String, Position>,
    /// How long a batch that moves only positions may wait.
    pub max_wait: Span,
    /// Told after a commit that wants something sent.
    pub dispatch: Arc<Notify>,
    /// For status.
    pub clocks: Clocks,
    /// The rule sets that are in force.
    pub in_force: InForce,
    /// A position was moved by hand.
    pub rewound: bool,
}

/// A batch that has begun and is not committed yet.
struct Open {
    since: Instant,
    ranges: BTreeMap<String, Range>,
    positions: BTreeMap<String, Position>,
    dead: Vec<DeadLetter>,
    /// For scopes that are at home elsewhere.
    handed: Vec<NewInbox>,
    /// Positions that were moved by hand: after the commit all begins again.
    moved: BTreeMap<String, Position>,
}

impl Open {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            ranges: BTreeMap::new(),
            positions: BTreeMap::new(),
            dead: vec![],
            handed: vec![],
            moved: BTreeMap::new(),
        }
    }
}

impl Stepper {
    /// Runs until no more batches come. An error means: drop the memory, and begin again from the store.
    ///
    /// # Errors
    /// Those of the store's commit.
    pub fn run(mut self, batches: &Receiver<Matched>) -> Result<Ended, StoreError> {
        let mut open = None;
        self.tell_rules();
        loop {
            match batches.recv_timeout(self.max_wait.to_std()) {
                Ok(matched) => self.batch(&mut open, matched)?,
                Err(RecvTimeoutError::Timeout) => self.commit(&mut open)?,
                Err(RecvTimeoutError::Disconnected) => {
                    self.commit(&mut open)?;
                    return Ok(Ended::Stopped);
                }
            }
            if self.rewound {
                return Ok(Ended::Rewound);
            }
        }
    }

    fn batch(&mut self, open: &mut Option<Open>, mut matched: Matched) -> Result<(), StoreError> {
        for (name, position) in std::mem::take(&mut matched.begun) {
            self.begin(name, position)?;
        }
        let joins = matched.joinable && self.shard.blind() == matched.blind;
        if !joins && !matched.ranges.is_empty() {
            self.commit(open)?;
        }
        if !matched.ranges.is_empty() {
            let mut now = match open.take() {
                Some(open) => {
                    self.shard.raise_cap(matched.cap);
                    open
                }
                None => {
                    self.shard.begin(matched.cap, matched.blind.clone());
                    Open::new()
                }
            };
            self.step(&mut now, &mut matched)?;
            self.take_ranges(&mut now, matched.ranges);
            now.positions.extend(matched.positions);
            now.dead.extend(matched.dead);
            let waited = now.since.elapsed() >= self.max_wait.to_std();
            let moves_more =
                self.shard.has_decided() || !now.dead.is_empty() || !now.handed.is_empty() || !now.moved.is_empty();
            *open = Some(now);
            if moves_more || waited || !matched.joinable {
                self.commit(open)?;
            }
        }
        if matched.tick && !self.rewound {
            self.tick(open, matched.cap, matched.blind)?;
        }
        Ok(())
    }

    /// A source is new, or was moved to one of its ends by hand: where it begins is written down.
    fn begin(&mut self, name: String, to: Position) -> Result<(), StoreError> {
        let from = self.positions.get(&name).map(|p| p.next);
        let positions = BTreeMap::from([(name.clone(), PositionMove { from, to: to.clone() })]);
        point("begin.before");
        self.store.commit(&Batch { shard: self.number, epoch: self.epoch, positions, ..Batch::default() })?;
        point("begin.after");
        self.positions.insert(name, to);
        Ok(())
    }

    fn step(&mut self, open: &mut Open, matched: &mut Matched) -> Result<(), StoreError> {
        let timer = self.metrics.stage.with_label_values(&["step"]).start_timer();
        for fed in std::mem::take(&mut matched.fed) {
            match fed {
                Fed::Event { stamp, place, scope, input } => {
                    if self.homes.is_here(&scope)? {
                        self.shard.event(stamp, &scope, *input);
                    } else {
                        self.shard.reach(stamp);
                        // The epoch: what is taken again after a rewind is handed on again.
                        let id = format!(
                            "handed|{}.{}|{}|{}|{}",
                            self.number, self.epoch, place.position, place.offset, place.ordinal
                        );
                        let body = InboxBody::Handed(Box::new(input.event));
                        open.handed.push(NewInbox { id, scope, at: place.at.min(matched.cap), body });
                    }
                }
                Fed::Reached(stamp) => self.shard.reach(stamp),
                Fed::Inbox { stamp, entry } => self.inbox(open, stamp, *entry)?,
            }
        }
        if let Some(stamp) = matched.reached {
            self.shard.reach(stamp);
        }
        self.shard.set_inputs(matched.inputs.clone());
        timer.observe_duration();
        point("step.done");
        Ok(())
    }

    fn inbox(&mut self, open: &mut Open, stamp: Timestamp, entry: NewInbox) -> Result<(), StoreError> {
        if !self.homes.is_here(&entry.scope)? {
            // Its scope had no home when it was appended, and has found one elsewhere since.
            open.handed.push(NewInbox { id: format!("handed|{}", entry.id), ..entry });
            return Ok(());
        }
        match &entry.body {
            InboxBody::RulebooksPublished(set) => {
                point("rules.published");
                // Nothing may be decided under rules that cannot be read: the shard stops before this, and tries again.
                let found = self.sets.get(*set).ok_or_else(|| StoreError::Other {
                    context: "taking a rule set that was published",
                    cause: format!(
                        "{set} cannot be had or does not load in this version: nothing is taken until it does"
                    ),
                })?;
                self.shard.learn(found);
            }
            InboxBody::Operator { act: OperatorAct::Rewind { position, to, .. }, .. } => {
                if self.positions.contains_key(position) && Lane::from_name(position).is_none() {
                    let place = Position { next: *to, last_at: None, last_digest: None };
                    open.moved.insert(position.clone(), place);
                } else {
                    tracing::warn!(position, "a rewind names a position that this shard does not have");
                }
            }
            _ => {}
        }
        self.shard.inbox(stamp, &entry);
        Ok(())
    }

    /// A range begins where its source stood: what lies before its first record is a gap (compaction, a marker).
    fn take_ranges(&self, open: &mut Open, ranges: BTreeMap<String, Range>) {
        for (name, mut range) in ranges {
            match open.ranges.get_mut(&name) {
                Some(first) => first.join(&range),
                None => {
                    let stood = self.positions.get(&name).map(|p| p.next).filter(|next| *next >= 0);
                    range.from = stood.map_or(range.from, |next| next.min(range.from));
                    open.ranges.insert(name, range);
                }
            }
        }
    }

    /// The clock moves on its own. What has begun is committed first; a tick that decides nothing is not.
    fn tick(&mut self, open: &mut Option<Open>, cap: Timestamp, blind: Vec<String>) -> Result<(), StoreError> {
        self.commit(open)?;
        self.shard.begin(cap, blind);
        if self.shard.next_due().is_some_and(|due| due <= cap) {
            self.shard.tick();
            point("timer.fired");
            *open = Some(Open::new());
            self.commit(open)?;
        } else {
            self.shard.tick();
        }
        self.tell_gauges();
        Ok(())
    }

    /// The clock, and how many rules are switched off.
    fn tell_gauges(&self) {
        let clock = self.shard.clock();
        self.clocks.set(self.number, clock);
        let label = self.number.to_string();
        self.metrics.clock.with_label_values(&[label.as_str()]).set(clock.as_nanos() as f64 / 1e9);
        let off: usize = self.shard.scopes().map(|(_, state)| state.switched_off()).sum();
        let off = i64::try_from(off).unwrap_or(i64::MAX);
        self.metrics.rules_switched_off.with_label_values(&[label.as_str()]).set(off);
    }

    /// Which rules the shard goes by, when that is committed. Older ones that nothing open refers to are let go.
    fn tell_rules(&mut self) {
        let rules = self.shard.active();
        if self.in_force.set(self.number, rules) {
            tracing::info!(shard = self.number, %rules, "rules in force");
            self.shard.forget_unused_sets();
        }
    }

    fn tell_failed(&self, scope: &str, decided: &Decided) {
        let Some(failed) = rule_failed(decided) else { return };
        self.metrics.rule_failures.inc();
        let (rulebook, rule, at, why, times) = (failed.rulebook, failed.rule, failed.at, failed.why, failed.times);
        match failed.is_off {
            true => tracing::error!(rulebook, rule, scope, at, why, times, "a rule is switched off: it keeps failing"),
            false => tracing::warn!(rulebook, rule, scope, at, why, times, "a rule failed; nothing of it happens"),
        }
    }

    /// One transaction: everything since the batch began.
    fn commit(&mut self, open: &mut Option<Open>) -> Result<(), StoreError> {
        let Some(open) = open.take() else { return Ok(()) };
        let finished = self.shard.finish(open.ranges);
        self.tell_gauges();
        for (scope, decided) in &finished.decided {
            self.tell_failed(scope, decided);
            let name = match &decided.decision {
                Decision::Step(step) => step.name(),
                Decision::Mark(mark) => mark.name(),
            };
            self.metrics.decisions.with_label_values(&[name]).inc();
        }
        let wants_dispatch = finished.changes.iter().any(paramedic_model::ScopeChanges::wants_dispatch);
        self.rewound |= !open.moved.is_empty();
        let mut to = open.positions;
        to.extend(open.moved);
        let stood = |name: &str| self.positions.get(name).map(|p| p.next);
        let positions =
            to.iter().map(|(name, to)| (name.clone(), PositionMove { from: stood(name), to: to.clone() })).collect();
        let handed = open.handed.len();
        let batch = Batch {
            shard: self.number,
            epoch: self.epoch,
            changes: finished.changes,
            positions,
            dead_letters: open.dead,
            handed: open.handed,
            journal: Some(finished.journal),
        };
        let timer = self.metrics.stage.with_label_values(&["commit"]).start_timer();
        point("commit.before");
        self.store.commit(&batch)?;
        point("commit.after");
        timer.observe_duration();
        self.metrics.handed.inc_by(handed as u64);
        self.positions.extend(to);
        self.tell_rules();
        if wants_dispatch {
            self.dispatch.notify_one();
        }
        Ok(())
    }
}
