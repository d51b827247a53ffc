//! The past of a topic, for `paramedic replay`: all its partitions, by the records' timestamps, as they were taken live.

use std::time::Duration;

use paramedic_model::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::connect::numbers;
use super::kafka::{client_config, describe};
use super::range::RangeReader;
use crate::config::KafkaConfig;
use crate::record::{Chunk, Record};

/// How long a broker may take to say what there is.
const ANSWER: Duration = Duration::from_secs(10);
/// Records of a partition that are read ahead.
const AHEAD: usize = 2_000;

/// Records of a topic's partitions, the oldest first.
pub struct History {
    partitions: Vec<Past>,
    last: Timestamp,
}

struct Past {
    number: i32,
    reader: RangeReader,
    to: i64,
    chunk: Chunk,
    at: usize,
}

/// One record.
pub struct PastRecord<'h> {
    /// When it was taken: its timestamp, never before the one before it.
    pub stamp: Timestamp,
    /// Itself.
    pub record: &'h Record,
    /// `None`: a null value.
    pub payload: Option<&'h [u8]>,
}

impl History {
    /// Of one partition or of all, from and to these times, where they are given. What comes while it is read is not part
    /// of it.
    ///
    /// # Errors
    /// When the settings are wrong, no broker answers, or the topic or partition is not there.
    pub fn open(
        kafka: &KafkaConfig,
        topic: &str,
        only: Option<i32>,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<Self, String> {
        let consumer: BaseConsumer = client_config(kafka)?
            .set("group.id", "paramedic")
            .create()
            .map_err(|e| format!("kafka: {}", describe(&e)))?;
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER).map_err(|e| {
            format!("no Kafka broker answers ({e}); is `kafka.brokers` right, is the broker up, and does it speak `security.protocol`?")
        })?;
        let mut all = numbers(&metadata, topic)?;
        if let Some(only) = only {
            if !all.contains(&only) {
                return Err(format!("topic {topic} has no partition {only}: it has {}", all.len()));
            }
            all = vec![only];
        }
        let (first, end) = (offsets_at(&consumer, topic, &all, from)?, offsets_at(&consumer, topic, &all, to)?);
        let mut partitions = Vec::new();
        for (number, (first, end)) in all.into_iter().zip(first.into_iter().zip(end)) {
            let (low, high) = consumer
                .fetch_watermarks(topic, number, ANSWER)
                .map_err(|e| format!("kafka/{topic}/{number}: Kafka does not say where it begins and ends ({e})"))?;
            let from = if from.is_some() { first.unwrap_or(high) } else { low };
            let to = if to.is_some() { end.unwrap_or(high) } else { high };
            if from < to {
                let reader = RangeReader::new(kafka, topic, number, from)?;
                partitions.push(Past { number, reader, to, chunk: Chunk::default(), at: 0 });
            }
        }
        Ok(Self { partitions, last: Timestamp::EPOCH })
    }

    /// The next record. `None`: there are no more.
    ///
    /// # Errors
    /// When the broker does not answer for 30 s, or records are not there any more.
    pub fn take_next(&mut self) -> Result<Option<PastRecord<'_>>, String> {
        for past in &mut self.partitions {
            past.fill()?;
        }
        let heads = self.partitions.iter().enumerate();
        let heads = heads.filter_map(|(i, past)| Some((past.chunk.get(past.at)?.at, past.number, i)));
        let Some((at, _, i)) = heads.min() else { return Ok(None) };
        let Some(past) = self.partitions.get_mut(i) else { return Ok(None) };
        let place = past.at;
        past.at += 1;
        self.last = self.last.max(at);
        let stamp = self.last;
        Ok(past.chunk.get(place).map(|record| PastRecord { stamp, record, payload: past.chunk.payload(record) }))
    }
}

impl Past {
    fn fill(&mut self) -> Result<(), String> {
        if self.at < self.chunk.len() {
            return Ok(());
        }
        self.chunk = Chunk::default();
        self.at = 0;
        self.reader.read_some(self.to, AHEAD, &mut self.chunk)
    }
}

/// By partition, the first offset of that time or later. `None`: there is none.
fn offsets_at(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: &[i32],
    at: Option<Timestamp>,
) -> Result<Vec<Option<i64>>, String> {
    let Some(at) = at else { return Ok(vec![None; partitions.len()]) };
    let mut asked = TopicPartitionList::new();
    for number in partitions {
        let millis = Offset::Offset(at.as_nanos() / 1_000_000);
        asked.add_partition_offset(topic, *number, millis).map_err(|e| e.to_string())?;
    }
    let found = consumer
        .offsets_for_times(asked, ANSWER)
        .map_err(|e| format!("topic {topic}: Kafka does not say what came at {at} ({e})"))?;
    let offset = |number: &i32| match found.find_partition(topic, *number).map(|p| p.offset()) {
        Some(Offset::Offset(offset)) => Some(offset),
        _ => None,
    };
    Ok(partitions.iter().map(offset).collect())
}
