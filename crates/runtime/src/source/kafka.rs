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

/// Says what is wrong, without the value of an option: it may be a secret.
pub(super) fn describe(error: &KafkaError) -> String {
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

/// How long the brokers may take to answer while a connection is made.
const ANSWER: Duration = Duration::from_secs(5);

/// The readers of a topic's partitions, and where they are to be read from.
struct Found {
    readers: Vec<PartitionReader>,
    begins: Vec<(i32, Offset)>,
}

/// The readers of the topics that are there; the topics that are not, each with the reason.
pub type Connected = (Vec<PartitionReader>, Vec<(Topic, String)>);

/// Asks for the topics' partitions, and assigns them all at the store's positions. Also says which topics are not
/// there, and why: the caller asks for those again.
///
/// # Errors
/// When no broker answers: the caller tries again.
pub fn connect(
    kafka: &KafkaConfig,
    topics: &[Topic],
    positions: &BTreeMap<String, Position>,
    wake: &Thread,
) -> Result<Connected, String> {
    let context = Context { wake: wake.clone(), health: Mutex::default() };
    let consumer: Arc<BaseConsumer<Context>> =
        Arc::new(client_config(kafka)?.create_with_context(context).map_err(|e| format!("kafka: {}", describe(&e)))?);
    let (mut readers, mut missing) = (Vec::new(), Vec::new());
    let mut assignment = TopicPartitionList::new();
    for topic in topics {
        let numbers = match partitions(&consumer, &topic.name)? {
            Ok(numbers) => numbers,
            Err(why) => {
                missing.push((topic.clone(), why));
                continue;
            }
        };
        let found = readers_of(&consumer, topic, &numbers, positions, wake)?;
        for (partition, offset) in found.begins {
            assignment.add_partition_offset(&topic.name, partition, offset).map_err(|e| e.to_string())?;
        }
        readers.extend(found.readers);
    }
    consumer.assign(&assignment).map_err(|e| format!("kafka: assign: {e}"))?;
    Ok((readers, missing))
}

/// Outside: whether a broker answers. Inside: whether the topic is there.
fn partitions(consumer: &BaseConsumer<Context>, topic: &str) -> Result<Result<Vec<i32>, String>, String> {
    let metadata = consumer
        .fetch_metadata(Some(topic), ANSWER)
        .map_err(|e| format!("no Kafka broker answers ({e}); is `kafka.brokers` right, and is the broker up?"))?;
    let found = metadata.topics().iter().find(|t| t.name() == topic);
    Ok(match found {
        Some(t) if t.error().is_none() && !t.partitions().is_empty() => {
            Ok(t.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
        }
        _ => Err(format!("topic {topic} does not exist; create it, or correct `sources`")),
    })
}

fn readers_of(
    consumer: &Arc<BaseConsumer<Context>>,
    topic: &Topic,
    partitions: &[i32],
    positions: &BTreeMap<String, Position>,
    wake: &Thread,
) -> Result<Found, String> {
    let prefix = format!("kafka/{}/", topic.name);
    // A partition that was added to a topic that is read already: nothing of it may be skipped.
    let start = if positions.keys().any(|k| k.starts_with(&prefix)) { Start::Earliest } else { topic.start };
    let mut found = Found { readers: Vec::new(), begins: Vec::new() };
    for partition in partitions {
        let name = format!("{prefix}{partition}");
        let from: From = positions.get(&name).cloned();
        let watermarks = consumer
            .fetch_watermarks(&topic.name, *partition, ANSWER)
            .map_err(|e| format!("{name}: Kafka does not say where it begins and ends ({e})"))?;
        let begun = begin(start, from.as_ref(), watermarks);
        let (next, expect, standing) = match begun {
            Ok(begin) => {
                found.begins.push((*partition, begin.offset));
                (Some(begin.next), begin.expect, Standing::Behind)
            }
            Err(why) => (from.map(|p| p.next), None, Standing::Stopped(format!("{name}: {why}"))),
        };
        let mut queue = consumer
            .split_partition_queue(&topic.name, *partition)
            .ok_or_else(|| format!("{name}: no queue for the partition"))?;
        let wake = wake.clone();
        queue.set_nonempty_callback(move || wake.unpark());
        found.readers.push(PartitionReader {
            feed: Feed { position: name, ..topic.feed.clone() },
            consumer: Arc::clone(consumer),
            topic: topic.name.clone(),
            partition: *partition,
            queue,
            expect,
            next,
            standing,
        });
    }
    Ok(found)
}

const GONE: &str = "the stored offset is not there any more (retention, or the topic was recreated): records are \
                    missing; look, then rewind or skip by hand";

struct Begin {
    /// What is asked for first.
    offset: Offset,
    /// What is taken first.
    next: i64,
    expect: Option<Expect>,
}

/// Where to begin in a partition that reaches from `low` to before `high`. Where one was taken from, the last record
/// is read again if it is still there: another one at its place means that the topic was recreated.
fn begin(start: Start, from: Option<&Position>, (low, high): (i64, i64)) -> Result<Begin, String> {
    let Some(Position { next, last_digest, .. }) = from else {
        return Ok(match start {
            Start::Earliest => Begin { offset: Offset::Beginning, next: low, expect: None },
            // A number, not "the end": what comes between this moment and the first fetch is not skipped.
            Start::Latest => Begin { offset: Offset::Offset(high), next: high, expect: None },
        });
    };
    let next = *next;
    if next < low {
        return Err(GONE.to_owned());
    }
    if next > high {
        return Err(format!(
            "it ends at offset {high}, before the stored offset {next}: the topic was recreated, or has lost records; \
             give it a source of its own, or rewind by hand"
        ));
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
            Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset) => {
                Standing::Stopped(format!("{}: {GONE}", self.feed.position))
            }
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

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};

    use super::*;

    fn kafka(brokers: &str, options: &[(&str, &str)]) -> KafkaConfig {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        KafkaConfig { brokers: brokers.to_owned(), options }
    }

    fn topic(name: &str, start: Start) -> Topic {
        let format = paramedic_formats::format("paramedic").unwrap();
        let feed = Feed { source: name.to_owned(), position: String::new(), format, scope: None };
        Topic { name: name.to_owned(), start, feed }
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
                connect(&kafka, &[], &BTreeMap::new(), &std::thread::current()).err().unwrap(),
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

    fn take(reader: &mut PartitionReader, count: usize) -> Vec<String> {
        let mut chunk = Chunk::default();
        for _ in 0..500 {
            reader.take(&mut chunk, 100, Timestamp::EPOCH);
            if chunk.len() >= count && reader.standing() != Standing::Behind {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        chunk.records().map(|r| String::from_utf8_lossy(chunk.payload(r).unwrap()).into_owned()).collect()
    }

    #[test]
    fn partitions_begin_where_they_should_and_a_missing_topic_stops_no_other() {
        let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).unwrap();
        let kafka = kafka(&cluster.bootstrap_servers(), &[]);
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().unwrap();
        let send = |topic: &str, partition: i32, payload: &str| {
            assert!(producer.send(BaseRecord::<str, str>::to(topic).partition(partition).payload(payload)).is_ok());
            producer.flush(Duration::from_secs(10)).unwrap();
        };
        for name in ["new", "grown", "shrunk", "other"] {
            cluster.create_topic(name, 2, 1).unwrap();
            for payload in ["a", "b"] {
                send(name, 0, payload);
                send(name, 1, payload);
            }
        }
        let topics = ["new", "absent", "grown", "shrunk", "other"].map(|name| topic(name, Start::Latest));
        let positions = [
            ("kafka/grown/0", position(1, "a")),
            ("kafka/shrunk/0", position(7, "z")),
            ("kafka/other/0", position(1, "z")),
        ];
        let positions = positions.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let (readers, missing) = connect(&kafka, &topics, &positions, &std::thread::current()).unwrap();
        assert_eq!(missing.len(), 1);
        assert!(missing[0].0.name == "absent" && missing[0].1.contains("does not exist"), "{}", missing[0].1);
        send("new", 0, "c");
        let mut readers: BTreeMap<String, PartitionReader> =
            readers.into_iter().map(|r| (r.feed.position.clone(), r)).collect();
        assert_eq!(readers.len(), 8);
        let mut of = |name: &str, count| take(readers.get_mut(name).unwrap(), count);
        assert_eq!(of("kafka/new/0", 1), ["c"]);
        assert!(of("kafka/new/1", 0).is_empty());
        assert_eq!(of("kafka/grown/0", 1), ["b"]);
        assert_eq!(of("kafka/grown/1", 2), ["a", "b"]);
        assert!(of("kafka/shrunk/0", 0).is_empty() && of("kafka/other/0", 0).is_empty());
        let standing = |name: &str| match readers[name].standing() {
            Standing::Stopped(why) => why,
            other => panic!("{name}: {other:?}"),
        };
        assert!(standing("kafka/shrunk/0").contains("it ends at offset 2"));
        assert!(standing("kafka/other/0").contains("another record stands"));
    }
}
