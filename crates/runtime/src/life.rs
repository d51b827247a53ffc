//! One life of a shard: three stages on threads of their own, from its load to an error, a rewind or its end.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, bounded, unbounded};
use paramedic_engine::{Limits, Shard, ShardConfig};
use paramedic_model::{Digest, Running, Timestamp, own_scope};
use paramedic_rulebook::{Evaluator, RuleSet};
use paramedic_store::{Claim, ShardImage, StoreError};
use tokio::sync::Notify;

use crate::gather::{Gatherer, LaneReader};
use crate::live::{Parts, webhook_feeds};
use crate::matching::{Matched, Matcher};
use crate::metrics::Metrics;
use crate::record::Gathered;
use crate::shared::{Clocks, Homes, InForce, Owned, Sets, Stop, Troubles};
use crate::source::{Feed, Reader};
use crate::stepping::{Ended, Stepper};

/// What all shards of the process share.
pub(crate) struct Shell {
    pub(crate) parts: Parts,
    pub(crate) sets: Arc<Sets>,
    pub(crate) stop: Stop,
    pub(crate) troubles: Troubles,
    pub(crate) clocks: Clocks,
    pub(crate) in_force: InForce,
    pub(crate) owned: Owned,
    pub(crate) wake: Arc<Notify>,
    pub(crate) failed: Arc<AtomicBool>,
}

/// Where a shard's readers come from.
pub(crate) struct Inlet {
    pub(crate) readers: Receiver<Box<dyn Reader>>,
    /// How many are still to come.
    pub(crate) awaited: Arc<AtomicUsize>,
}

/// Why a life ended without having been asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault of ours. What was not committed is not there; going on could repeat it for ever.
    #[error("a stage of the engine broke off: this is a fault of the program")]
    Fault,
}

impl Shell {
    /// Takes a shard over: from here on its epoch is ours.
    pub(crate) fn load(&self, shard: u32, claim: &Claim) -> Result<ShardImage, StoreError> {
        let image = self.parts.store.load_shard(shard, claim)?;
        self.owned.insert(shard, image.epoch);
        self.metrics().shards.set(i64::try_from(self.owned.shards().len()).unwrap_or(i64::MAX));
        Ok(image)
    }

    /// A shard is not ours any more, as far as this epoch of it goes.
    pub(crate) fn leave(&self, shard: u32, epoch: u64) {
        self.owned.remove(shard, epoch);
        self.metrics().shards.set(i64::try_from(self.owned.shards().len()).unwrap_or(i64::MAX));
        if self.owned.epoch(shard).is_none() {
            self.clocks.remove(shard);
            self.in_force.remove(shard);
            let label = shard.to_string();
            let _ = self.metrics().clock.remove_label_values(&[label.as_str()]);
            let _ = self.metrics().rules_switched_off.remove_label_values(&[label.as_str()]);
        }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    /// Runs a shard's three stages until `stop`, or until something ends them.
    pub(crate) fn live(
        &self,
        shard: u32,
        image: ShardImage,
        homes: Homes,
        inlet: Inlet,
        stop: &Stop,
    ) -> Result<Ended, Broken> {
        let epoch = image.epoch;
        let run = || self.stages(shard, image, homes, inlet, stop);
        let ended = catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Broken::Fault));
        self.leave(shard, epoch);
        if let Err(broken) = &ended {
            self.metrics().commit_failures.with_label_values(&[why(broken)]).inc();
            self.troubles.set("store", Some(broken.to_string()));
        }
        if matches!(ended, Err(Broken::Fault)) {
            tracing::error!("a stage of the engine broke off: this is a fault of the program; it ends");
            self.troubles.set("engine", Some("a stage of the engine broke off; see the log".to_owned()));
            self.failed.store(true, Ordering::Relaxed);
        }
        ended
    }

    fn stages(&self, shard: u32, image: ShardImage, homes: Homes, inlet: Inlet, stop: &Stop) -> Result<Ended, Broken> {
        let active = self.active(&image);
        let set = self.sets.get(active).ok_or_else(|| StoreError::Other {
            context: "loading the rule set that the history goes by",
            cause: format!(
                "rule set {active} cannot be had or does not load in this version: nothing is taken until it does; \
                 run the version that wrote it until it has taken what is waiting"
            ),
        })?;
        let last = image.last.as_ref();
        let matcher = MatcherParts {
            webhooks: webhook_feeds(&self.parts.config.sources),
            sets: Arc::clone(&self.sets),
            set,
            clock: last.map_or(Timestamp::EPOCH, |row| row.end),
            inputs: last.map(|row| row.inputs.clone()).unwrap_or_default(),
            metrics: self.parts.metrics.clone(),
            older: image.scopes.iter().any(|s| s.incidents.iter().any(|i| i.set != s.head.set)),
        };
        let gatherer = Gatherer {
            shard,
            store: Arc::clone(&self.parts.store),
            ends_lost: image.ends_lost,
            lanes: LaneReader::all(&image.positions),
            arriving: inlet.readers,
            awaited: inlet.awaited,
            max_events: self.parts.config.batch.max_events,
            metrics: self.parts.metrics.clone(),
            stop: stop.clone(),
            troubles: self.troubles.clone(),
            stopped: stopped_sources(shard, &image),
        };
        let (gathered_out, gathered_in) = bounded(1);
        let (matched_out, matched_in) = bounded(1);
        let (feeds_out, feeds_in) = unbounded();
        thread::scope(|scope| {
            scope.spawn(move || gatherer.run(&gathered_out, &feeds_out));
            scope.spawn(move || matcher.run(&gathered_in, &feeds_in, &matched_out));
            // Whatever ends this stage, also a panic, ends the others: they see the flag and the closed channel.
            let _end = EndWith(stop);
            let matched_in = matched_in;
            let ended = self.stepper(shard, active, image, homes).run(&matched_in);
            drop(matched_in);
            Ok(ended?)
        })
    }

    /// What the shard goes by: what its history says, else what was published, else what this process brought.
    fn active(&self, image: &ShardImage) -> Digest {
        let of_history = image.last.as_ref().map(|row| row.set_after);
        of_history.or(image.active).unwrap_or(self.parts.set.digest)
    }

    fn stepper(&self, number: u32, active: Digest, image: ShardImage, homes: Homes) -> Stepper {
        let config = &self.parts.config;
        let shard_config = ShardConfig {
            cluster: config.cluster.clone(),
            shard: number,
            limits: Limits { open_incidents: config.limits.open_incidents, ..Limits::default() },
        };
        let (epoch, positions) = (image.epoch, image.positions);
        let mut shard = Shard::restore(shard_config, epoch, image.last.as_ref(), active, image.scopes);
        for digest in shard.unknown_sets() {
            if let Some(set) = self.sets.get(digest) {
                shard.learn(set);
            }
        }
        self.troubles.set("store", None);
        Stepper {
            shard,
            number,
            epoch,
            store: Arc::clone(&self.parts.store),
            sets: Arc::clone(&self.sets),
            homes,
            metrics: self.parts.metrics.clone(),
            positions,
            max_wait: config.batch.max_wait,
            dispatch: Arc::clone(&self.wake),
            clocks: self.clocks.clone(),
            in_force: self.in_force.clone(),
            rewound: false,
        }
    }
}

/// Sets the flag when it is dropped.
struct EndWith<'a>(&'a Stop);

impl Drop for EndWith<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What the matching stage is made of, on its own thread: a rule engine stays on the thread that made it.
struct MatcherParts {
    webhooks: BTreeMap<String, Arc<Feed>>,
    sets: Arc<Sets>,
    set: Arc<RuleSet>,
    clock: Timestamp,
    inputs: Running,
    metrics: Metrics,
    older: bool,
}

impl MatcherParts {
    fn run(self, batches: &Receiver<Gathered>, feeds: &Receiver<Feed>, out: &crossbeam_channel::Sender<Matched>) {
        let evaluator = Evaluator::new(self.set);
        Matcher::new(self.webhooks, self.sets, evaluator, self.clock, self.inputs, self.metrics, self.older)
            .run(batches, feeds, out);
    }
}

/// Positions that the shard has an open incident about, because their source was stopped.
fn stopped_sources(shard: u32, image: &ShardImage) -> BTreeSet<String> {
    let own = own_scope(shard);
    image
        .scopes
        .iter()
        .filter(|scope| scope.scope == own)
        .flat_map(|scope| &scope.incidents)
        .filter(|i| i.state.is_open())
        .filter_map(paramedic_engine::stopped_source)
        .map(str::to_owned)
        .collect()
}

/// A metric's label for what ended a life.
fn why(broken: &Broken) -> &'static str {
    match broken {
        Broken::Fault => "fault",
        Broken::Store(error) => match error {
            StoreError::Fenced { .. } => "fenced",
            StoreError::PositionMoved { .. } => "position_moved",
            StoreError::Conflict { .. } => "conflict",
            StoreError::HomeElsewhere { .. } => "home_elsewhere",
            StoreError::Locked { .. } => "locked",
            StoreError::Corrupt(_) => "corrupt",
            StoreError::Full(_) => "full",
            StoreError::Away { .. } => "away",
            StoreError::Other { .. } => "other",
        },
    }
}
