//! Keeps the three stages running: when one ends with an error, all begin again from the store.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};
use paramedic_engine::{Limits, Shard, ShardConfig};
use paramedic_model::{InboxBody, NewInbox, Running, Timestamp};
use paramedic_rulebook::{Evaluator, RuleSet};
use paramedic_store::{ShardImage, StoreError};

use crate::clock::wall;
use crate::gather::Gatherer;
use crate::live::{Parts, feed, webhook_feeds};
use crate::matching::{INBOX, Matcher};
use crate::metrics::Metrics;
use crate::shared::{Fence, SHARD, Sets, Troubles};
use crate::source::{Feed, Reader, file::FileReader, kafka};
use crate::stepping::Stepper;

/// The keeper, on the engine's thread.
pub(crate) struct Keeper {
    pub(crate) parts: Parts,
    pub(crate) sets: Arc<Sets>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) troubles: Troubles,
    pub(crate) clock: Arc<AtomicI64>,
    pub(crate) fence: Fence,
    pub(crate) wake: Arc<tokio::sync::Notify>,
    pub(crate) failed: Arc<AtomicBool>,
}

impl Keeper {
    /// Takes the shard over, and publishes the rule set of this process where the store goes by another.
    pub(crate) fn take_over(&self) -> Result<ShardImage, StoreError> {
        self.parts.store.ruleset_put(self.parts.set.digest, &self.parts.set.sources)?;
        let image = self.parts.store.load_shard(SHARD)?;
        self.fence.0.store(image.epoch, Ordering::Release);
        let active = image.last.as_ref().map_or(self.parts.set.digest, |row| row.set_after);
        if active != self.parts.set.digest {
            let at = wall();
            tracing::info!(from = %active, to = %self.parts.set.digest, "another rule set is published");
            self.parts.store.inbox_append(&[NewInbox {
                id: format!("publish|{}|{}", self.parts.set.digest, at.as_nanos()),
                scope: String::new(),
                at,
                body: InboxBody::RulebooksPublished(self.parts.set.digest),
            }])?;
        }
        Ok(image)
    }

    /// Runs until it is told to stop, or must not go on.
    pub(crate) fn keep(self, image: ShardImage) {
        let mut image = Some(image);
        while !self.stop.load(Ordering::Relaxed) {
            let loaded = match image.take() {
                Some(first) => Ok(first),
                None => self.take_over(),
            };
            let error = match loaded {
                Ok(image) => match catch_unwind(AssertUnwindSafe(|| self.run(image))) {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => error,
                    // A fault of ours. What was not committed is not there; going on could repeat it for ever.
                    Err(_) => {
                        tracing::error!("a stage of the engine broke off: this is a fault of the program; it ends");
                        self.troubles.set("engine", Some("a stage of the engine broke off; see the log".to_owned()));
                        self.failed.store(true, Ordering::Relaxed);
                        return;
                    }
                },
                Err(error) => error,
            };
            let why = why(&error);
            self.parts.metrics.commit_failures.with_label_values(&[why]).inc();
            self.troubles.set("store", Some(error.to_string()));
            if why == "fenced" {
                tracing::error!(%error, "this engine must not go on");
                self.failed.store(true, Ordering::Relaxed);
                return;
            }
            tracing::error!(%error, "a batch was not committed; its memory is dropped, and it begins again from the store");
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// One life of the three stages.
    fn run(&self, image: ShardImage) -> Result<(), StoreError> {
        let config = &self.parts.config;
        let (epoch, positions) = (image.epoch, image.positions.clone());
        let inbox_next = positions.get(INBOX).map_or(1, |p| u64::try_from(p.next).unwrap_or(1));
        let active = image.last.as_ref().map_or(self.parts.set.digest, |row| row.set_after);
        let set = self.sets.get(active).ok_or_else(|| StoreError::Other {
            context: "loading the rule set that the history goes by",
            cause: format!(
                "rule set {active} cannot be had or does not load in this version: nothing is taken until it does; \
                 run the version that wrote it until it has taken what is waiting"
            ),
        })?;
        let inputs = image.last.as_ref().map(|row| row.inputs.clone()).unwrap_or_default();
        let start = image.last.as_ref().map_or(Timestamp::EPOCH, |row| row.end);

        let (gathered_out, gathered_in) = bounded(1);
        let (matched_out, matched_in) = bounded(1);
        let (feeds_out, feeds_in) = unbounded();
        let (readers_out, readers_in) = unbounded();
        let ended = Arc::new(AtomicBool::new(false));
        let awaited = Arc::new(AtomicUsize::new(0));

        let gatherer = Gatherer {
            store: Arc::clone(&self.parts.store),
            inbox_next,
            arriving: readers_in,
            awaited: Arc::clone(&awaited),
            max_events: config.batch.max_events,
            metrics: self.parts.metrics.clone(),
            stop: Arc::clone(&ended),
            troubles: self.troubles.clone(),
        };
        let older = image.scopes.iter().any(|s| s.incidents.iter().any(|i| i.set != s.head.set));
        let matcher_parts = (
            webhook_feeds(&config.sources),
            Arc::clone(&self.sets),
            set,
            start,
            inputs,
            self.parts.metrics.clone(),
            older,
        );
        thread::scope(|scope| {
            let gather = scope.spawn(move || gatherer.run(&gathered_out, &feeds_out));
            self.files(&positions, &readers_out, &awaited);
            let connect = self.connect(&positions, &ended, &awaited, gather.thread().clone());
            scope.spawn(move || connect(&readers_out));
            scope.spawn(move || match_all(matcher_parts, &gathered_in, &feeds_in, &matched_out));
            let stop_watch = Arc::clone(&ended);
            scope.spawn(move || {
                while !self.stop.load(Ordering::Relaxed) && !stop_watch.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(20));
                }
                stop_watch.store(true, Ordering::Relaxed);
            });
            // Whatever ends this stage, also a panic, ends the others: they see the flag and the closed channel.
            let _ended = EndWith(Arc::clone(&ended));
            let matched_in = matched_in;
            let result = self.stepper(image, epoch, positions.clone()).run(&matched_in);
            drop(matched_in);
            result
        })
    }

    fn stepper(
        &self,
        image: ShardImage,
        epoch: u64,
        positions: BTreeMap<String, paramedic_store::Position>,
    ) -> Stepper {
        let config = &self.parts.config;
        let active = image.last.as_ref().map_or(self.parts.set.digest, |row| row.set_after);
        let shard_config = ShardConfig {
            cluster: config.cluster.clone(),
            shard: SHARD,
            limits: Limits { open_incidents: config.limits.open_incidents },
        };
        let mut shard = Shard::restore(shard_config, epoch, image.last.as_ref(), active, image.scopes);
        for digest in shard.unknown_sets() {
            if let Some(set) = self.sets.get(digest) {
                shard.learn(set);
            }
        }
        self.troubles.set("store", None);
        Stepper::new(
            shard,
            SHARD,
            epoch,
            Arc::clone(&self.parts.store),
            Arc::clone(&self.sets),
            self.parts.metrics.clone(),
            positions,
            config.batch.max_wait,
            Arc::clone(&self.wake),
            Arc::clone(&self.clock),
        )
    }

    fn files(
        &self,
        positions: &BTreeMap<String, paramedic_store::Position>,
        out: &Sender<Box<dyn Reader>>,
        awaited: &AtomicUsize,
    ) {
        for source in &self.parts.config.sources {
            let Some(file) = &source.file else { continue };
            let position = format!("file/{}", source.name);
            if let Some(feed) = feed(source, &position) {
                awaited.fetch_add(1, Ordering::AcqRel);
                let reader = FileReader::new(feed, file.path.clone(), &positions.get(&position).cloned());
                let _ = out.send(Box::new(reader));
            }
        }
    }

    /// Connects to Kafka on a thread of its own, again and again until a broker answers and every topic is
    /// there: other sources, and the topics that are there, go on.
    fn connect(
        &self,
        positions: &BTreeMap<String, paramedic_store::Position>,
        ended: &Arc<AtomicBool>,
        awaited: &Arc<AtomicUsize>,
        wake: thread::Thread,
    ) -> impl FnOnce(&Sender<Box<dyn Reader>>) + use<> {
        let topics: Vec<kafka::Topic> = self
            .parts
            .config
            .sources
            .iter()
            .filter_map(|s| {
                let topic = s.kafka.as_ref()?;
                Some(kafka::Topic { name: topic.topic.clone(), start: topic.start, feed: feed(s, "")? })
            })
            .collect();
        let kafka = self.parts.config.kafka.clone();
        let (positions, ended, awaited) = (positions.clone(), Arc::clone(ended), Arc::clone(awaited));
        let (troubles, metrics) = (self.troubles.clone(), self.parts.metrics.clone());
        if !topics.is_empty() {
            // Until its partitions are known a topic counts as one that is awaited.
            awaited.fetch_add(1, Ordering::AcqRel);
        }
        move |out| {
            let Some(kafka) = kafka.filter(|_| !topics.is_empty()) else { return };
            let set_down = |topics: &[kafka::Topic], down: i64| {
                for t in topics {
                    metrics.source_down.with_label_values(&[t.feed.source.as_str(), t.name.as_str()]).set(down);
                }
            };
            let mut told = String::new();
            let mut remaining = topics;
            while !ended.load(Ordering::Relaxed) {
                let why = match kafka::connect(&kafka, &remaining, &positions, &wake) {
                    Ok((readers, missing)) => {
                        let (absent, whys): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
                        remaining.retain(|t| absent.iter().all(|a| a.name != t.name));
                        set_down(&remaining, 0);
                        remaining = absent;
                        if !readers.is_empty() {
                            tracing::info!(partitions = readers.len(), "connected to Kafka");
                        }
                        awaited.fetch_add(readers.len(), Ordering::AcqRel);
                        for reader in readers {
                            let _ = out.send(Box::new(reader));
                        }
                        if remaining.is_empty() {
                            troubles.set("kafka", None);
                            awaited.fetch_sub(1, Ordering::AcqRel);
                            wake.unpark();
                            return;
                        }
                        wake.unpark();
                        whys.join("; ")
                    }
                    Err(why) => why,
                };
                if told != why {
                    tracing::error!(why, "not all of Kafka is there; it is tried again every second");
                    told.clone_from(&why);
                }
                set_down(&remaining, 1);
                troubles.set("kafka", Some(why));
                thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

/// Sets the flag when it is dropped.
struct EndWith(Arc<AtomicBool>);

impl Drop for EndWith {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type MatcherParts = (BTreeMap<String, Arc<Feed>>, Arc<Sets>, Arc<RuleSet>, Timestamp, Running, Metrics, bool);

/// The matching stage. Its rule engine is made on its own thread.
fn match_all(
    (webhooks, sets, set, clock, inputs, metrics, older_rules): MatcherParts,
    batches: &crossbeam_channel::Receiver<crate::record::Gathered>,
    feeds: &crossbeam_channel::Receiver<Feed>,
    out: &Sender<crate::matching::Matched>,
) {
    Matcher::new(webhooks, sets, Evaluator::new(set), clock, inputs, metrics, older_rules).run(batches, feeds, out);
}

/// A metric's label for a failed commit.
fn why(error: &StoreError) -> &'static str {
    match error {
        StoreError::Fenced { .. } => "fenced",
        StoreError::PositionMoved { .. } => "position_moved",
        StoreError::Conflict { .. } => "conflict",
        StoreError::Locked { .. } => "locked",
        StoreError::Corrupt(_) => "corrupt",
        StoreError::Full(_) => "full",
        StoreError::Other { .. } => "other",
    }
}
