//! Where partitions are begun; and one engine alone: one consumer assigns itself all of them, without a group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use paramedic_model::faults::point;
use paramedic_store::{Batch, Position, PositionMove, Store, StoreError};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::{Metadata, MetadataPartition};

use super::kafka::{Begin, Context, PartitionReader, Topic, begin, client_config, describe, start_of};
use crate::config::{KafkaConfig, Start};

/// How long the brokers may take to answer while a connection is made.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// How long they may take before it is asked what the client tells of itself, and how long that may take.
const LOOK: Duration = Duration::from_secs(1);
const TELL: Duration = Duration::from_millis(100);

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
) -> Result<Connected, String> {
    let consumer: Arc<BaseConsumer<Context>> = Arc::new(
        client_config(kafka)?
            .set("group.id", "paramedic")
            .create_with_context(Context::default())
            .map_err(|e| format!("kafka: {}", describe(&e)))?,
    );
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
        for partition in numbers {
            let begun = begin_at(&consumer, topic, partition, positions)?;
            if let Ok(begin) = &begun {
                let added = assignment.add_partition_offset(&topic.name, partition, begin.offset);
                added.map_err(|e| e.to_string())?;
            }
            let from = positions.get(&format!("kafka/{}/{partition}", topic.name)).cloned();
            let place = (topic.name.as_str(), partition);
            readers.push(PartitionReader::new(&consumer, &topic.feed, place, from, begun, true)?);
        }
    }
    consumer.assign(&assignment).map_err(|e| format!("kafka: assign: {e}"))?;
    Ok((readers, missing))
}

/// Why the client is not let in. That waits in its main queue, among log lines and statistics: a poll without a time-out
/// would end at the first of those.
fn told(consumer: &BaseConsumer<Context>) -> Option<String> {
    let until = Instant::now() + TELL;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        let _ = consumer.poll(left);
        if let Some(why) = consumer.context().refused() {
            return Some(why);
        }
    }
    None
}

/// Outside: whether a broker answers. Inside: whether the topic is there.
pub(crate) fn partitions(consumer: &BaseConsumer<Context>, topic: &str) -> Result<Result<Vec<i32>, String>, String> {
    let started = Instant::now();
    let metadata = loop {
        let error = match consumer.fetch_metadata(Some(topic), LOOK) {
            Ok(metadata) => break metadata,
            Err(error) => error,
        };
        if let Some(why) = told(consumer) {
            return Err(why);
        }
        if started.elapsed() >= ANSWER {
            return Err(format!(
                "no Kafka broker answers ({error}); is `kafka.brokers` right, is the broker up, and does it speak \
                 `security.protocol`?"
            ));
        }
    };
    Ok(numbers(&metadata, topic))
}

pub(super) fn numbers(metadata: &Metadata, topic: &str) -> Result<Vec<i32>, String> {
    match metadata.topics().iter().find(|t| t.name() == topic) {
        Some(t) if t.error().is_none() && !t.partitions().is_empty() => {
            Ok(t.partitions().iter().map(MetadataPartition::id).collect())
        }
        _ => Err(format!("topic {topic} does not exist; create it, or correct `sources`")),
    }
}

/// Outside: whether a broker answers. Inside: where the partition is begun, or why it must not be.
pub(crate) fn begin_at(
    consumer: &BaseConsumer<Context>,
    topic: &Topic,
    partition: i32,
    positions: &BTreeMap<String, Position>,
) -> Result<Result<Begin, String>, String> {
    let name = format!("kafka/{}/{partition}", topic.name);
    let watermarks = consumer
        .fetch_watermarks(&topic.name, partition, ANSWER)
        .map_err(|e| format!("{name}: Kafka does not say where it begins and ends ({e})"))?;
    Ok(begin(start_of(topic, positions), positions.get(&name), watermarks))
}

/// Every position that the store has, by name.
///
/// # Errors
/// Those of the store.
pub(crate) fn positions_of(store: &dyn Store) -> Result<BTreeMap<String, Position>, StoreError> {
    Ok(store.positions()?.into_iter().map(|(_, name, position)| (name, position)).collect())
}

/// Of topics that begin at their ends and were never read: where all their partitions begin is written down in one
/// commit of one shard, by whoever is first. Otherwise a partition that is assigned a moment later would begin at
/// another moment, or at its first record, as one that was added to the topic does. The shards that partitions belong to
/// take their positions over when they are loaded. Called inside a poll, it polls nothing.
///
/// True where this, or another engine at the same moment, has written something: what was loaded before is old.
///
/// # Errors
/// When Kafka or the store does not answer.
pub(crate) fn begin_at_ends(
    consumer: &BaseConsumer<Context>,
    store: &dyn Store,
    topics: &[Topic],
    (shard, epoch): (u32, u64),
) -> Result<bool, String> {
    let known = positions_of(store).map_err(|e| e.to_string())?;
    let is_new = |topic: &&Topic| {
        let prefix = format!("kafka/{}/", topic.name);
        topic.start == Start::Latest && !known.keys().any(|name| name.starts_with(&prefix))
    };
    let mut positions = BTreeMap::new();
    for topic in topics.iter().filter(is_new) {
        let metadata = consumer.fetch_metadata(Some(&topic.name), ANSWER);
        let metadata =
            metadata.map_err(|e| format!("topic {}: Kafka does not tell its partitions ({e})", topic.name))?;
        for partition in numbers(&metadata, &topic.name)? {
            let begin = begin_at(consumer, topic, partition, &known)??;
            let to = Position { next: begin.next, last_at: None, last_digest: None };
            positions.insert(format!("kafka/{}/{partition}", topic.name), PositionMove { from: None, to });
        }
    }
    if positions.is_empty() {
        return Ok(false);
    }
    point("begin.before");
    match store.commit(&Batch { shard, epoch, positions, ..Batch::default() }) {
        Ok(()) => point("begin.after"),
        Err(StoreError::PositionMoved { .. }) => {}
        Err(error) => return Err(error.to_string()),
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use paramedic_model::{Digest, Timestamp};
    use paramedic_store::{Claim, MemoryStore};
    use rdkafka::config::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};

    use super::*;
    use crate::record::Chunk;
    use crate::source::{Feed, Reader as _, Standing};

    fn topic(name: &str, start: Start) -> Topic {
        let format = paramedic_formats::format("paramedic").unwrap();
        let feed = Feed { source: name.to_owned(), position: "".into(), format, scope: None };
        Topic { name: name.to_owned(), start, feed }
    }

    fn position(next: i64, last: &str) -> Position {
        Position { next, last_at: None, last_digest: Some(Digest::of_bytes(last.as_bytes())) }
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
        let kafka =
            KafkaConfig { brokers: cluster.bootstrap_servers(), group: None, instance: None, options: BTreeMap::new() };
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
        let (readers, missing) = connect(&kafka, &topics, &positions).unwrap();
        assert_eq!(missing.len(), 1);
        assert!(missing[0].0.name == "absent" && missing[0].1.contains("does not exist"), "{}", missing[0].1);
        send("new", 0, "c");
        let mut readers: BTreeMap<String, PartitionReader> =
            readers.into_iter().map(|r| (r.feed().position.to_string(), r)).collect();
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

    /// A topic with `count` records in each of its two partitions.
    fn grow(kafka: &KafkaConfig, topic: &str, count: usize) {
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().unwrap();
        for partition in [0, 1].repeat(count) {
            assert!(producer.send(BaseRecord::<str, str>::to(topic).partition(partition).payload("x")).is_ok());
        }
        producer.flush(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn in_a_group_all_partitions_begin_at_the_end_as_of_one_moment_whoever_is_first() {
        let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).unwrap();
        let kafka =
            KafkaConfig { brokers: cluster.bootstrap_servers(), group: None, instance: None, options: BTreeMap::new() };
        cluster.create_topic("t", 2, 1).unwrap();
        let consumer: BaseConsumer<Context> =
            client_config(&kafka).unwrap().create_with_context(Context::default()).unwrap();
        let (store, topics) = (MemoryStore::new(), [topic("t", Start::Latest)]);
        let load = |shard: u32| {
            let image = store.load_shard(shard, &Claim::Positions(vec![format!("kafka/t/{shard}")])).unwrap();
            let next = image.positions.get(&format!("kafka/t/{shard}")).map(|p| p.next);
            ((shard, image.epoch), next)
        };
        let begin = |owner| begin_at_ends(&consumer, &store, &topics, owner);

        grow(&kafka, "t", 3);
        let ((one, before), (other, nothing)) = (load(0), load(1));
        assert_eq!((before, nothing), (None, None));
        assert_eq!(begin(one), Ok(true));
        // More comes; only then partition 1 is assigned.
        grow(&kafka, "t", 1);
        assert_eq!(load(0).1, Some(3));
        assert_eq!(begin(other), Ok(false), "it is on record where it begins");
        assert_eq!(load(1).1, Some(3), "the end as of the start: neither its first record, nor what came since");
    }

    #[test]
    fn of_two_engines_that_begin_a_topic_at_once_one_is_first_and_the_other_goes_by_it() {
        let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).unwrap();
        let kafka =
            KafkaConfig { brokers: cluster.bootstrap_servers(), group: None, instance: None, options: BTreeMap::new() };
        cluster.create_topic("t", 2, 1).unwrap();
        grow(&kafka, "t", 2);
        let consumer: BaseConsumer<Context> =
            client_config(&kafka).unwrap().create_with_context(Context::default()).unwrap();
        let (store, topics) = (MemoryStore::new(), [topic("t", Start::Latest), topic("t", Start::Earliest)]);
        let own = |shard: u32| (shard, store.load_shard(shard, &Claim::Positions(vec![])).unwrap().epoch);
        let (one, other) = (own(0), own(1));
        let both = std::thread::scope(|scope| {
            let other = scope.spawn(|| begin_at_ends(&consumer, &store, &topics[..1], other));
            let one = begin_at_ends(&consumer, &store, &topics[..1], one);
            [one, other.join().unwrap()]
        });
        assert!(both.iter().all(Result::is_ok) && both.contains(&Ok(true)), "{both:?}");
        let known = positions_of(&store).unwrap();
        assert_eq!(known.values().map(|p| p.next).collect::<Vec<_>>(), [2, 2]);
        // One that begins at its first records needs no common moment.
        assert_eq!(begin_at_ends(&consumer, &MemoryStore::new(), &topics[1..], (0, 1)), Ok(false));
        // Who has lost its shard meanwhile begins nothing.
        let store = MemoryStore::new();
        let stale = (0, store.load_shard(0, &Claim::Alone).unwrap().epoch - 1);
        assert!(begin_at_ends(&consumer, &store, &topics[..1], stale).is_err());
    }
}
