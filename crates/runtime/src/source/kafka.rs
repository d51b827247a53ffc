//! Kafka partitions. One consumer assigns them all itself (no group); each has its own queue, so that one which
//! is ahead can wait. Positions live in the store; offsets are not committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use paramedic_model::{Digest, Timestamp};
use paramedic_store::Position;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::statistics::Statistics;
use rdkafka::{Offset, TopicPartitionList};

use super::{Feed, From, Reader, Standing};
use crate::config::{KafkaConfig, Start, secret};
use crate::record::{Chunk, Headers};

/// What is known about the brokers, and whom to wake when there is something to take.
pub struct Context {
    wake: Thread,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    /// No broker has answered since then, on the wall clock.
    away_since: Option<Timestamp>,
    /// Where each partition ends, by topic and partition. Not librdkafka's own lag: that one is told only where
    /// offsets are committed to Kafka.
    ends: BTreeMap<(String, i32), i64>,
}

impl Context {
    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        let up = statistics.brokers.values().any(|b| b.nodeid >= 0 && b.state == "UP");
        let now = Timestamp::from_secs(statistics.time);
        let mut health = self.health();
        health.away_since = if up { None } else { health.away_since.or(Some(now)) };
        // Without committed offsets librdkafka tells no lag, but it tells where a partition ends.
        health.ends.extend(statistics.topics.iter().flat_map(|(topic, t)| {
            let known = t.partitions.iter().filter(|(n, p)| **n >= 0 && p.hi_offset >= 0);
            known.map(|(n, p)| ((topic.clone(), *n), p.hi_offset))
        }));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }
}

impl ConsumerContext for Context {}

/// A topic to read, with the source that names it.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Where a partition that was never seen begins.
    pub start: Start,
    /// The source, its format and its scopes; `position` is filled in for each partition.
    pub feed: Feed,
}

/// librdkafka's settings: ours, then the operator's, with their secrets read.
///
/// # Errors
/// When a secret is not there.
pub fn client_config(kafka: &KafkaConfig) -> Result<ClientConfig, String> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &kafka.brokers)
        .set("group.id", "paramedic")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.wait.max.ms", "10")
        .set("queued.max.messages.kbytes", "16384")
        .set("reconnect.backoff.max.ms", "1000")
        .set("statistics.interval.ms", "1000");
    for (name, value) in &kafka.options {
        let is_reference = value.starts_with("env:") || value.starts_with("file:");
        let value =
            if is_reference { secret(value).map_err(|e| format!("kafka.options.{name}: {e}"))? } else { value.clone() };
        config.set(name, value);
    }
    Ok(config)
}

/// Asks for the topics' partitions, and assigns them all at the store's positions.
///
/// # Errors
/// When no broker answers, or a topic does not exist: the caller tries again.
pub fn connect(
    kafka: &KafkaConfig,
    topics: &[Topic],
    positions: &BTreeMap<String, Position>,
    wake: Thread,
) -> Result<Vec<PartitionReader>, String> {
    let context = Context { wake: wake.clone(), health: Mutex::default() };
    let consumer: Arc<BaseConsumer<Context>> =
        Arc::new(client_config(kafka)?.create_with_context(context).map_err(|e| format!("kafka: {e}"))?);
    let mut readers = Vec::new();
    let mut assignment = TopicPartitionList::new();
    for topic in topics {
        for partition in partitions(&consumer, &topic.name)? {
            let name = format!("kafka/{}/{partition}", topic.name);
            let from: From = positions.get(&name).cloned();
            let (offset, expect) = begin(topic.start, from.as_ref());
            assignment.add_partition_offset(&topic.name, partition, offset).map_err(|e| e.to_string())?;
            let mut queue = consumer
                .split_partition_queue(&topic.name, partition)
                .ok_or_else(|| format!("{name}: no queue for the partition"))?;
            let wake = wake.clone();
            queue.set_nonempty_callback(move || wake.unpark());
            readers.push(PartitionReader {
                feed: Feed { position: name, ..topic.feed.clone() },
                consumer: Arc::clone(&consumer),
                topic: topic.name.clone(),
                partition,
                queue,
                expect,
                next: from.map(|p| p.next),
                standing: Standing::Behind,
            });
        }
    }
    consumer.assign(&assignment).map_err(|e| format!("kafka: assign: {e}"))?;
    Ok(readers)
}

fn partitions(consumer: &BaseConsumer<Context>, topic: &str) -> Result<Vec<i32>, String> {
    let metadata = consumer
        .fetch_metadata(Some(topic), Duration::from_secs(5))
        .map_err(|e| format!("no Kafka broker answers ({e}); is `kafka.brokers` right, and is the broker up?"))?;
    let found = metadata.topics().iter().find(|t| t.name() == topic);
    match found {
        Some(t) if t.error().is_none() && !t.partitions().is_empty() => {
            Ok(t.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
        }
        _ => Err(format!("topic {topic} does not exist; create it, or correct `sources`")),
    }
}

/// Where to begin, and what must be found there. Of a partition that was taken from, the last record is read
/// again: another one at its place means that the topic was recreated.
fn begin(start: Start, from: Option<&Position>) -> (Offset, Option<Expect>) {
    match (from, start) {
        (Some(p), _) => match p.last_digest {
            Some(digest) if p.next > 0 => (Offset::Offset(p.next - 1), Some(Expect { offset: p.next - 1, digest })),
            _ => (Offset::Offset(p.next), None),
        },
        (None, Start::Earliest) => (Offset::Beginning, None),
        (None, Start::Latest) => (Offset::End, None),
    }
}

struct Expect {
    offset: i64,
    digest: Digest,
}

/// Reads one partition.
pub struct PartitionReader {
    feed: Feed,
    consumer: Arc<BaseConsumer<Context>>,
    topic: String,
    partition: i32,
    queue: PartitionQueue<Context>,
    expect: Option<Expect>,
    /// The next offset to take, where it is known.
    next: Option<i64>,
    standing: Standing,
}

impl PartitionReader {
    fn on_error(&mut self, error: &KafkaError) {
        let code = error.rdkafka_error_code();
        self.standing = match code {
            _ if matches!(error, KafkaError::PartitionEOF(_)) => Standing::AtEnd,
            Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset) => Standing::Stopped(format!(
                "{}: the stored offset is not there any more (retention, or the topic was recreated): records are \
                 missing; look, then rewind or skip by hand",
                self.feed.position
            )),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Standing::Stopped(format!("{}: the topic is not there any more", self.feed.position))
            }
            _ => {
                tracing::warn!(partition = self.feed.position, %error, "kafka");
                return;
            }
        };
    }
}

/// What a poll of a partition's queue gave, with the message copied where it goes.
enum Polled {
    Nothing,
    Taken,
    Recreated,
    Failed(KafkaError),
}

fn headers_of(message: &BorrowedMessage<'_>) -> Option<Headers> {
    let headers = message.headers().filter(|h| h.count() > 0)?;
    Some(headers.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect())
}

fn poll(queue: &PartitionQueue<Context>, expect: &mut Option<Expect>, into: &mut Chunk) -> Polled {
    match queue.poll(Duration::ZERO) {
        None => Polled::Nothing,
        Some(Err(error)) => Polled::Failed(error),
        Some(Ok(message)) => {
            let (offset, payload) = (message.offset(), message.payload());
            if let Some(expected) = expect.take() {
                let found = Digest::of_bytes(payload.unwrap_or_default());
                return if offset == expected.offset && found == expected.digest {
                    Polled::Taken
                } else {
                    Polled::Recreated
                };
            }
            let at = Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0));
            into.push(offset, offset + 1, at, payload, headers_of(&message));
            Polled::Taken
        }
    }
}

impl Reader for PartitionReader {
    fn feed(&self) -> &Feed {
        &self.feed
    }

    fn take(&mut self, into: &mut Chunk, most: usize, _now: Timestamp) {
        // The main queue carries the client's own events; nobody else polls it.
        if self.consumer.poll(Duration::ZERO).is_some() {
            tracing::debug!("an event on the main queue");
        }
        if matches!(self.standing, Standing::Stopped(_)) {
            return;
        }
        let before = into.len();
        while into.len() - before < most {
            match poll(&self.queue, &mut self.expect, into) {
                Polled::Nothing => return,
                Polled::Taken => {
                    self.standing = Standing::Behind;
                    self.next = into.last().map(|r| r.next).or(self.next);
                }
                Polled::Failed(error) => {
                    self.on_error(&error);
                    if !matches!(self.standing, Standing::Behind) {
                        return;
                    }
                }
                Polled::Recreated => {
                    self.standing = Standing::Stopped(format!(
                        "{}: another record stands where the last one taken was: the topic was recreated; give it a \
                         source of its own, or rewind by hand",
                        self.feed.position
                    ));
                    return;
                }
            }
        }
    }

    fn standing(&self) -> Standing {
        match (&self.standing, self.consumer.client().context().health().away_since) {
            (Standing::Stopped(_), _) | (_, None) => self.standing.clone(),
            (_, Some(since)) => Standing::Away(since),
        }
    }

    fn lag(&self) -> Option<i64> {
        if self.standing == Standing::AtEnd {
            return Some(0);
        }
        let end = self.consumer.client().context().health().ends.get(&(self.topic.clone(), self.partition)).copied()?;
        Some((end - self.next?).max(0))
    }
}

impl Drop for PartitionReader {
    fn drop(&mut self) {
        self.consumer.client().context().wake.unpark();
    }
}

/// Reads ranges of a partition once more, for `replay --journal`: one after the other, as they abut.
pub struct RangeReader {
    consumer: BaseConsumer,
    name: String,
    next: i64,
}

impl RangeReader {
    /// Begins at an offset.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub fn new(kafka: &KafkaConfig, topic: &str, partition: i32, from: i64) -> Result<Self, String> {
        let consumer: BaseConsumer = client_config(kafka)?.create().map_err(|e| format!("kafka: {e}"))?;
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, partition, Offset::Offset(from)).map_err(|e| e.to_string())?;
        consumer.assign(&assignment).map_err(|e| e.to_string())?;
        Ok(Self { consumer, name: format!("{topic}/{partition}"), next: from })
    }

    /// Where it goes on.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Appends the records before `to`.
    ///
    /// # Errors
    /// When the broker does not answer for 30 s, or the range is not there any more.
    pub fn read(&mut self, to: i64, into: &mut Chunk) -> Result<(), String> {
        let started = std::time::Instant::now();
        while self.next < to {
            match self.consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    let at = Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0));
                    let offset = message.offset();
                    into.push(offset, offset + 1, at, message.payload(), headers_of(&message));
                    self.next = offset + 1;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    return Err(format!("{}: it ends before offset {to}: records are missing", self.name));
                }
                Some(Err(e)) => return Err(format!("{} at offset {}: {e}", self.name, self.next)),
                None if started.elapsed() > Duration::from_secs(30) => {
                    return Err(format!("{}: no answer from Kafka within 30 s", self.name));
                }
                None => {}
            }
        }
        Ok(())
    }
}
