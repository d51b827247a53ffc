//! One engine alone: one consumer assigns itself all partitions, without a group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use paramedic_store::Position;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::kafka::{Begin, Context, PartitionReader, Topic, begin, client_config, describe, start_of};
use crate::config::KafkaConfig;

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
    let found = metadata.topics().iter().find(|t| t.name() == topic);
    Ok(match found {
        Some(t) if t.error().is_none() && !t.partitions().is_empty() => {
            Ok(t.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
        }
        _ => Err(format!("topic {topic} does not exist; create it, or correct `sources`")),
    })
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

#[cfg(test)]
mod tests {
    use paramedic_model::{Digest, Timestamp};
    use rdkafka::config::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};

    use super::*;
    use crate::config::Start;
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
}
