//! Several engines on one store: members of a consumer group. A shard is a partition number; who is assigned it loads
//! its state and raises its epoch there and then, and lets go of it when it is revoked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use paramedic_model::faults::point;
use paramedic_store::{Claim, ShardImage, StoreError};
use rdkafka::consumer::{BaseConsumer, Consumer as _, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::config::{KafkaConfig, secret};
use crate::life::{Broken, Inlet, Shell};
use crate::live::topics;
use crate::shared::{Homes, Stop};
use crate::source::connect::{begin_at, begin_at_ends, partitions, positions_of};
use crate::source::kafka::{Context, PartitionReader, Rebalance, Topic, client_config, describe};
use crate::source::{Reader, Standing};
use crate::stepping::Ended;

/// How long is waited before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a shard that was revoked may take to finish its batch. Then it is left to the fence.
const FINISH: Duration = Duration::from_secs(5);
/// How long one look at the group's events takes.
const POLL: Duration = Duration::from_millis(100);

/// The keeper of this engine's membership, on a thread of its own.
pub(crate) struct Group {
    pub(crate) shell: Arc<Shell>,
}

impl Group {
    /// Runs until it is told to stop, or must not go on.
    pub(crate) fn keep(self) {
        let mut told = String::new();
        while !self.shell.stop.asked() && !self.shell.failed.load(Ordering::Relaxed) {
            if let Err(why) = self.member() {
                if told != why {
                    tracing::error!(why, "this engine leaves the group, drops its memory, and joins again");
                    told.clone_from(&why);
                }
                self.shell.troubles.set("kafka", Some(why));
                thread::sleep(AGAIN);
            }
        }
    }

    /// One membership: from joining to an error or the end.
    fn member(&self) -> Result<(), String> {
        let Some(kafka) = &self.shell.parts.config.kafka else { return Ok(()) };
        let topics = topics(&self.shell.parts.config);
        let lives = Arc::new(Lives {
            shell: Arc::clone(&self.shell),
            topics: topics.clone(),
            consumer: OnceLock::new(),
            running: Mutex::default(),
            fault: Mutex::default(),
        });
        let context = Context::of_group(Arc::clone(&lives) as Arc<dyn Rebalance>);
        let consumer: Arc<BaseConsumer<Context>> = Arc::new(
            member_config(kafka, topics.len())?
                .create_with_context(context)
                .map_err(|e| format!("kafka: {}", describe(&e)))?,
        );
        let _ = lives.consumer.set(Arc::downgrade(&consumer));
        same_partitions(&consumer, &topics)?;
        let names: Vec<&str> = topics.iter().map(|t| t.name.as_str()).collect();
        consumer.subscribe(&names).map_err(|e| format!("kafka: subscribe: {e}"))?;
        tracing::info!(group = kafka.group, topics = names.join(", "), "joins its group");
        let ended = self.serve(&consumer, &lives);
        lives.end_all();
        // Closing the client revokes what is left; the group learns of it when the session times out.
        drop(consumer);
        ended
    }

    fn serve(&self, consumer: &BaseConsumer<Context>, lives: &Lives) -> Result<(), String> {
        loop {
            match consumer.poll(POLL) {
                None => {}
                // A record here was fetched before its partition had its own queue. Joining again fetches it again.
                Some(Ok(message)) => {
                    return Err(format!("a record of partition {} came past its shard", message.partition()));
                }
                // Another process has taken this instance's name, for example: this client does nothing any more.
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                    return Err(format!("kafka: {error}; is another engine running as the same `kafka.instance`?"));
                }
                Some(Err(error)) => tracing::debug!(%error, "kafka"),
            }
            if self.shell.stop.asked() {
                return Ok(());
            }
            if let Some(why) = lives.broken() {
                return Err(why);
            }
            self.shell.troubles.set("kafka", consumer.context().refused());
            // Of a life that ended late: whatever lives now has begun from the store.
            self.shell.troubles.set("store", None);
        }
    }
}

/// The settings of a member; the operator's own come last.
fn member_config(kafka: &KafkaConfig, topics: usize) -> Result<rdkafka::ClientConfig, String> {
    let instance = kafka.instance.clone().unwrap_or_default();
    let instance = match instance.contains(':') {
        true => secret(&instance).map_err(|e| format!("kafka.instance: {e}"))?,
        false => instance,
    };
    // `range` gives a member the same numbers of every topic; cooperative-sticky does not, but moves fewer.
    let strategy = if topics > 1 { "range" } else { "cooperative-sticky" };
    let ours = [
        ("group.id", kafka.group.as_deref().unwrap_or_default()),
        ("group.instance.id", instance.as_str()),
        ("partition.assignment.strategy", strategy),
        ("session.timeout.ms", "10000"),
        ("heartbeat.interval.ms", "2000"),
    ];
    let mut config = client_config(kafka)?;
    for (name, value) in ours.into_iter().filter(|(name, _)| !kafka.options.contains_key(*name)) {
        config.set(name, value);
    }
    Ok(config)
}

/// A shard takes the partition of its number from every topic.
fn same_partitions(consumer: &BaseConsumer<Context>, topics: &[Topic]) -> Result<(), String> {
    let mut counts = BTreeMap::new();
    for topic in topics {
        let numbers = partitions(consumer, &topic.name)??;
        counts.entry(numbers.len()).or_insert_with(Vec::new).push(topic.name.as_str());
    }
    if counts.len() <= 1 {
        return Ok(());
    }
    let list: Vec<String> = counts.iter().map(|(n, names)| format!("{} has {n}", names.join(", "))).collect();
    Err(format!("all topics of a group need the same number of partitions: {}", list.join("; ")))
}

/// A shard that lives.
struct Running {
    stop: Stop,
    thread: JoinHandle<Result<Ended, Broken>>,
}

/// The shards of one membership.
struct Lives {
    shell: Arc<Shell>,
    topics: Vec<Topic>,
    consumer: OnceLock<Weak<BaseConsumer<Context>>>,
    running: Mutex<BTreeMap<u32, Running>>,
    /// Why the membership must end, where an assignment failed.
    fault: Mutex<Option<String>>,
}

impl Lives {
    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the membership must end: an assignment failed, or a shard's life has ended by itself.
    fn broken(&self) -> Option<String> {
        if let Some(why) = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Some(why);
        }
        let mut running = self.running();
        let shard = *running.iter().find(|(_, life)| life.thread.is_finished())?.0;
        let ended = running.remove(&shard)?.thread.join();
        Some(match ended {
            Ok(Ok(Ended::Rewound)) => format!("a position of shard {shard} was moved by hand"),
            Ok(Ok(Ended::Stopped)) => format!("shard {shard} has ended"),
            Ok(Err(broken)) => format!("shard {shard}: {broken}"),
            Err(_) => format!("shard {shard} broke off"),
        })
    }

    /// Ends these shards: told all at once, then waited for, within a bound.
    fn end(&self, shards: &BTreeSet<u32>) {
        let ending: Vec<(u32, Running)> = {
            let mut running = self.running();
            shards.iter().filter_map(|shard| Some((*shard, running.remove(shard)?))).collect()
        };
        for (_, life) in &ending {
            life.stop.end();
        }
        let until = Instant::now() + FINISH;
        for (shard, life) in ending {
            while !life.thread.is_finished() && Instant::now() < until {
                thread::sleep(Duration::from_millis(2));
            }
            match life.thread.is_finished().then(|| life.thread.join()) {
                Some(Ok(Ok(_))) => tracing::info!(shard, "shard let go"),
                Some(Ok(Err(broken))) => tracing::warn!(shard, %broken, "shard let go"),
                Some(Err(_)) | None => {
                    tracing::warn!(shard, "shard did not finish in time: what it still does fails on its old epoch");
                }
            }
        }
    }

    fn end_all(&self) {
        let all = self.running().keys().copied().collect();
        self.end(&all);
    }

    fn load(&self, shard: u32) -> Result<ShardImage, String> {
        let wanted = self.topics.iter().map(|t| format!("kafka/{}/{shard}", t.name)).collect();
        let loaded = self.shell.load(shard, &Claim::Positions(wanted));
        loaded.map_err(|error: StoreError| format!("shard {shard} cannot be loaded: {error}"))
    }

    /// Loads the shard, and begins its life; gives the partitions with the offsets where they begin, and those that
    /// must not be read.
    fn begin(
        &self,
        consumer: &Arc<BaseConsumer<Context>>,
        shard: u32,
        assigned: BTreeSet<(String, i32)>,
    ) -> Result<Vec<(String, i32, Option<Offset>)>, String> {
        point("rebalance.assigned");
        let mut image = self.load(shard)?;
        if begin_at_ends(consumer, self.shell.parts.store.as_ref(), &self.topics, (shard, image.epoch))
            .inspect_err(|_| self.shell.leave(shard, image.epoch))?
        {
            image = self.load(shard)?;
        }
        point("rebalance.loaded");
        let epoch = image.epoch;
        self.begin_loaded(consumer, shard, assigned, image).inspect_err(|_| self.shell.leave(shard, epoch))
    }

    fn begin_loaded(
        &self,
        consumer: &Arc<BaseConsumer<Context>>,
        shard: u32,
        assigned: BTreeSet<(String, i32)>,
        image: ShardImage,
    ) -> Result<Vec<(String, i32, Option<Offset>)>, String> {
        let mut known = positions_of(self.shell.parts.store.as_ref()).map_err(|e| e.to_string())?;
        known.extend(image.positions.clone());
        let (out, readers) = unbounded::<Box<dyn Reader>>();
        let mut begins = Vec::new();
        for (name, partition) in &assigned {
            let Some(topic) = self.topics.iter().find(|t| t.name == *name) else { continue };
            let begun = begin_at(consumer, topic, *partition, &known)?;
            let from = image.positions.get(&format!("kafka/{name}/{partition}")).cloned();
            let offset = begun.as_ref().ok().map(|b| b.offset);
            let reader = PartitionReader::new(consumer, &topic.feed, (name, *partition), from, begun, false)?;
            if let Standing::Stopped(why) = reader.standing() {
                tracing::error!(why, "a partition must not be read");
            }
            begins.push((name.clone(), *partition, offset));
            let _ = out.send(Box::new(reader));
        }
        drop(out);
        let (shell, stop) = (Arc::clone(&self.shell), self.shell.stop.life());
        let (epoch, its_stop) = (image.epoch, stop.clone());
        let homes = Homes::shared(shard, Arc::clone(&shell.parts.store));
        let inlet = Inlet { readers, awaited: Arc::new(AtomicUsize::new(begins.len())) };
        let thread = thread::Builder::new()
            .name(format!("shard-{shard}"))
            .spawn(move || shell.live(shard, image, homes, inlet, &its_stop))
            .map_err(|e| format!("shard {shard}: no thread: {e}"))?;
        tracing::info!(shard, epoch, "shard taken over");
        self.running().insert(shard, Running { stop, thread });
        Ok(begins)
    }

    fn assign(&self, list: &TopicPartitionList) -> Result<TopicPartitionList, String> {
        let consumer = self.consumer.get().and_then(Weak::upgrade).ok_or("the client is closing")?;
        let mut assignment = TopicPartitionList::new();
        let shards = by_shard(list);
        self.end(&shards.keys().copied().collect());
        for (shard, partitions) in shards {
            for (topic, partition, offset) in self.begin(&consumer, shard, partitions)? {
                // One that must not be read is ours all the same; nobody takes what its queue gets.
                let offset = offset.unwrap_or(Offset::End);
                assignment.add_partition_offset(&topic, partition, offset).map_err(|e| e.to_string())?;
            }
        }
        Ok(assignment)
    }
}

/// (topic, partition), by shard.
fn by_shard(list: &TopicPartitionList) -> BTreeMap<u32, BTreeSet<(String, i32)>> {
    let mut shards: BTreeMap<u32, BTreeSet<(String, i32)>> = BTreeMap::new();
    for element in list.elements() {
        let place = (element.topic().to_owned(), element.partition());
        shards.entry(u32::try_from(element.partition()).unwrap_or_default()).or_default().insert(place);
    }
    shards
}

impl Rebalance for Lives {
    fn assigned(&self, consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) {
        let assignment = self.assign(partitions).unwrap_or_else(|why| {
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            TopicPartitionList::new()
        });
        let done = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&assignment),
            _ => consumer.assign(&assignment),
        };
        if let Err(error) = done {
            let why = format!("kafka: assign: {error}");
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        }
    }

    fn revoked(&self, consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) {
        point("rebalance.revoked");
        self.end(&by_shard(partitions).into_keys().collect());
        let done = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
            _ => consumer.unassign(),
        };
        if let Err(error) = done {
            tracing::debug!(%error, "kafka: unassign");
        }
    }
}
