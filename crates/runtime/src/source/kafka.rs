//! Kafka partitions: the client, and the reader of one partition. Each has its own queue, so that one which is ahead
//! can wait. Positions live in the store; offsets are not committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use paramedic_model::{Digest, REWIND_EARLIEST, REWIND_LATEST, Timestamp};
use paramedic_store::Position;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::refused::refused;
use super::{Feed, From, Reader, Standing};
use crate::config::{KafkaConfig, Start, secret};
use crate::record::{Chunk, Headers};

/// Who is told when a group shares its partitions out anew. Called inside [`BaseConsumer::poll`].
pub trait Rebalance: Send + Sync {
    /// These partitions are ours from here on: to be assigned, each with the offset where it begins.
    fn assigned(&self, consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList);
    /// These are not ours any more: to be unassigned when nothing works on them.
    fn revoked(&self, consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList);
}

/// What is known about the brokers.
#[derive(Default)]
pub struct Context {
    health: Mutex<Health>,
    members: Option<Arc<dyn Rebalance>>,
}

#[derive(Default)]
struct Health {
    /// No broker has answered since then, on the wall clock.
    away_since: Option<Timestamp>,
    /// Why the brokers do not let us in, and what to do about it.
    refused: Option<String>,
    /// Where each partition ends, by topic and partition. Not librdkafka's own lag: that one is told only where
    /// offsets are committed to Kafka.
    ends: BTreeMap<(String, i32), i64>,
}

impl Context {
    /// For a member of a group.
    pub fn of_group(members: Arc<dyn Rebalance>) -> Self {
        Self { members: Some(members), ..Self::default() }
    }

    /// Why the brokers do not let us in, if they do not.
    pub fn refused(&self) -> Option<String> {
        self.health().refused.clone()
    }

    /// No broker has answered since then.
    pub fn away_since(&self) -> Option<Timestamp> {
        self.health().away_since
    }

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
        if up {
            health.refused = None;
        }
        // Without committed offsets librdkafka tells no lag, but it tells where a partition ends.
        health.ends.extend(statistics.topics.iter().flat_map(|(topic, t)| {
            let known = t.partitions.iter().filter(|(n, p)| **n >= 0 && p.hi_offset >= 0);
            known.map(|(n, p)| ((topic.clone(), *n), p.hi_offset))
        }));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(why) = refused(&error, reason) else {
            return tracing::debug!(%error, reason, "kafka client");
        };
        let mut health = self.health();
        if health.refused.as_ref() != Some(&why) {
            tracing::warn!(why, "kafka");
            health.refused = Some(why);
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        // Without a group there is nobody to share with.
        let Some(members) = &self.members else { return };
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => members.assigned(consumer, partitions),
            _ => members.revoked(consumer, partitions),
        }
    }
}

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

/// librdkafka's settings of a consumer: ours, then the operator's, with their secrets read.
///
/// # Errors
/// When a secret is not there.
pub fn client_config(kafka: &KafkaConfig) -> Result<ClientConfig, String> {
    let ours = [
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", "true"),
        ("fetch.queue.backoff.ms", "5"),
        ("fetch.wait.max.ms", "10"),
        ("queued.max.messages.kbytes", "16384"),
        ("reconnect.backoff.max.ms", "1000"),
        ("statistics.interval.ms", "1000"),
    ];
    with_options(kafka, &ours)
}

/// The brokers and these settings, then the operator's options, with their secrets read.
///
/// # Errors
/// When a secret is not there.
pub(crate) fn with_options(kafka: &KafkaConfig, ours: &[(&str, &str)]) -> Result<ClientConfig, String> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.brokers);
    for (name, value) in ours {
        config.set(*name, *value);
    }
    for (name, value) in &kafka.options {
        let is_reference = value.starts_with("env:") || value.starts_with("file:");
        let value =
            if is_reference { secret(value).map_err(|e| format!("kafka.options.{name}: {e}"))? } else { value.clone() };
        config.set(name, value);
    }
    Ok(config)
}

/// Says what is wrong, without the value of an option: it may be a secret.
pub(crate) fn describe(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, description, key, value) => {
            // librdkafka repeats some values, or a part of a list, in its description.
            let repeats =
                value.split([',', ' ']).chain([value.as_str()]).any(|v| !v.is_empty() && description.contains(v));
            let description = if repeats { "it is not known, or its value is wrong" } else { description };
            format!("the option {key}: {description}")
        }
        other => other.to_string(),
    }
}

/// Where a partition begins that was never seen. One that was added to a topic of which something was taken already is
/// read from its beginning: nothing of it may be skipped.
pub(super) fn start_of(topic: &Topic, positions: &BTreeMap<String, Position>) -> Start {
    let prefix = format!("kafka/{}/", topic.name);
    let taken =
        |(name, p): (&String, &Position)| name.starts_with(&prefix) && (p.last_at.is_some() || p.last_digest.is_some());
    if positions.iter().any(taken) { Start::Earliest } else { topic.start }
}

const GONE: &str = "the stored offset is not there any more (retention, or the topic was recreated): records are \
                    missing; look, then `paramedic offsets rewind`";

fn cut(end: i64, next: i64) -> String {
    format!(
        "it ends at offset {end}, before the stored offset {next}: the topic was recreated, or has lost records; \
         look, then `paramedic offsets rewind`, or give it a source of its own"
    )
}

/// Where a partition is begun.
#[derive(Debug)]
pub struct Begin {
    /// What is asked for first.
    pub(crate) offset: Offset,
    /// What is taken first.
    pub(super) next: i64,
    expect: Option<Expect>,
}

/// Where to begin in a partition that reaches from `low` to before `high`. Where one was taken from, the last record
/// is read again if it is still there: another one at its place means that the topic was recreated.
pub(super) fn begin(start: Start, from: Option<&Position>, (low, high): (i64, i64)) -> Result<Begin, String> {
    // A number, not "the end": what comes between this moment and the first fetch is not skipped.
    let at = |next: i64| Ok(Begin { offset: Offset::Offset(next), next, expect: None });
    let (next, last_digest) = match from {
        None if start == Start::Earliest => return at(low),
        None => return at(high),
        Some(p) if p.next == REWIND_EARLIEST => return at(low),
        Some(p) if p.next == REWIND_LATEST => return at(high),
        Some(p) => (p.next, &p.last_digest),
    };
    if next < low {
        return Err(GONE.to_owned());
    }
    if next > high {
        return Err(cut(high, next));
    }
    Ok(match last_digest {
        Some(digest) if next > low => {
            let expect = Expect { offset: next - 1, digest: *digest };
            Begin { offset: Offset::Offset(next - 1), next, expect: Some(expect) }
        }
        // Retention went exactly up to there.
        _ => Begin { offset: Offset::Offset(next), next, expect: None },
    })
}

#[derive(Debug, PartialEq)]
struct Expect {
    offset: i64,
    digest: Digest,
}

impl Expect {
    /// Whether a record is the one that was taken last; `None` when it is a later one: compaction removed the last.
    fn meets(&self, offset: i64, payload: &[u8]) -> Option<bool> {
        (offset <= self.offset).then(|| offset == self.offset && Digest::of_bytes(payload) == self.digest)
    }
}

/// Reads one partition.
pub struct PartitionReader {
    feed: Feed,
    consumer: Arc<BaseConsumer<Context>>,
    topic: String,
    partition: i32,
    queue: PartitionQueue<Context>,
    /// Where it begins, where the store does not know that yet.
    begun: Option<Position>,
    expect: Option<Expect>,
    /// The next offset to take, where it is known.
    next: Option<i64>,
    standing: Standing,
    /// The main queue, which carries the client's own events, is polled here: nobody else does.
    polls: bool,
}

impl PartitionReader {
    /// The reader of a partition that is about to be assigned: its queue is split off now, so that nothing of it gets
    /// into the main queue.
    ///
    /// # Errors
    /// When the client has no such queue.
    pub(crate) fn new(
        consumer: &Arc<BaseConsumer<Context>>,
        feed: &Feed,
        (topic, partition): (&str, i32),
        from: From,
        begun: Result<Begin, String>,
        polls: bool,
    ) -> Result<Self, String> {
        let position = format!("kafka/{topic}/{partition}");
        let queue = consumer
            .split_partition_queue(topic, partition)
            .ok_or_else(|| format!("{position}: no queue for the partition"))?;
        let known = from.as_ref().is_some_and(|p| p.next >= 0);
        let (next, expect, standing) = match begun {
            Ok(begin) => (Some(begin.next), begin.expect, Standing::Behind),
            Err(why) => (from.map(|p| p.next), None, Standing::Stopped(format!("{position}: {why}"))),
        };
        Ok(Self {
            feed: Feed { position: position.into(), ..feed.clone() },
            consumer: Arc::clone(consumer),
            topic: topic.to_owned(),
            partition,
            queue,
            begun: next.filter(|_| !known).map(|next| Position { next, last_at: None, last_digest: None }),
            expect,
            next,
            standing,
            polls,
        })
    }

    fn on_error(&mut self, error: &KafkaError) {
        let code = error.rdkafka_error_code();
        self.standing = match code {
            _ if matches!(error, KafkaError::PartitionEOF(_)) => Standing::AtEnd,
            Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset) => {
                Standing::Stopped(format!("{}: {GONE}", self.feed.position))
            }
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Standing::Stopped(format!("{}: the topic is not there any more", self.feed.position))
            }
            _ => {
                tracing::warn!(partition = &*self.feed.position, %error, "kafka");
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

pub(super) fn headers_of(message: &BorrowedMessage<'_>) -> Option<Headers> {
    let headers = message.headers().filter(|h| h.count() > 0)?;
    Some(headers.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect())
}

fn poll(queue: &PartitionQueue<Context>, expect: &mut Option<Expect>, into: &mut Chunk) -> Polled {
    match queue.poll(Duration::ZERO) {
        None => Polled::Nothing,
        Some(Err(error)) => Polled::Failed(error),
        Some(Ok(message)) => {
            let (offset, payload) = (message.offset(), message.payload());
            match expect.take().and_then(|e| e.meets(offset, payload.unwrap_or_default())) {
                Some(true) => return Polled::Taken,
                Some(false) => return Polled::Recreated,
                None => {}
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

    fn begun(&mut self) -> Option<Position> {
        self.begun.take()
    }

    fn wake(&mut self, thread: Thread) {
        self.queue.set_nonempty_callback(move || thread.unpark());
    }

    fn take(&mut self, into: &mut Chunk, most: usize, _now: Timestamp) {
        if self.polls && self.consumer.poll(Duration::ZERO).is_some() {
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
                        "{}: another record stands where the last one taken was: the topic was recreated; look, \
                         then `paramedic offsets rewind`, or give it a source of its own",
                        self.feed.position
                    ));
                    return;
                }
            }
        }
    }

    fn standing(&self) -> Standing {
        match (&self.standing, self.consumer.client().context().away_since()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(brokers: &str, options: &[(&str, &str)]) -> KafkaConfig {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        KafkaConfig { brokers: brokers.to_owned(), group: None, instance: None, options }
    }

    fn position(next: i64, last: &str) -> Position {
        Position { next, last_at: None, last_digest: Some(Digest::of_bytes(last.as_bytes())) }
    }

    #[test]
    fn an_error_in_an_option_names_it_and_keeps_its_value() {
        // Unknown; not a number; librdkafka repeats this one; and one that it repeats in parts.
        let keys = ["sasl.pasword", "session.timeout.ms", "security.protocol", "debug"];
        for key in keys {
            let kafka = kafka("127.0.0.1:1", &[(key, "generic,hunter2")]);
            let errors = [
                crate::source::connect::connect(&kafka, &[], &BTreeMap::new()).err().unwrap(),
                crate::source::range::RangeReader::new(&kafka, "t", 0, 0).err().unwrap(),
            ];
            for text in errors {
                assert!(text.contains(key) && !text.contains("hunter2"), "{text}");
            }
        }
    }

    #[test]
    fn a_stored_position_is_held_against_what_is_there() {
        let begin = |next, marks| {
            begin(Start::Latest, Some(&position(next, "x")), marks).map(|b| (b.offset, b.next, b.expect.is_some()))
        };
        assert_eq!(begin(5, (0, 9)), Ok((Offset::Offset(4), 5, true)));
        assert_eq!(begin(9, (8, 9)), Ok((Offset::Offset(8), 9, true)));
        assert_eq!(begin(5, (5, 9)), Ok((Offset::Offset(5), 5, false)));
        assert_eq!(begin(9, (9, 9)), Ok((Offset::Offset(9), 9, false)));
        assert!(begin(4, (5, 9)).unwrap_err().contains("not there any more"));
        assert!(begin(10, (5, 9)).unwrap_err().contains("it ends at offset 9"));
    }

    #[test]
    fn a_later_record_in_place_of_the_last_one_is_compaction() {
        let expect = Expect { offset: 4, digest: Digest::of_bytes(b"x") };
        assert_eq!(expect.meets(4, b"x"), Some(true));
        assert_eq!(expect.meets(4, b"y"), Some(false));
        assert_eq!(expect.meets(6, b"y"), None);
    }
}
