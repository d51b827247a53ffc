//! Ranges of a partition, read once more.

use std::time::Duration;

use paramedic_model::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::kafka::{client_config, describe, headers_of};
use crate::config::KafkaConfig;
use crate::record::Chunk;

/// Reads ranges of a partition once more, for `replay`: one after the other, as they abut.
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
        let consumer: BaseConsumer = client_config(kafka)?
            .set("group.id", "paramedic")
            .create()
            .map_err(|e| format!("kafka: {}", describe(&e)))?;
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, partition, Offset::Offset(from)).map_err(|e| e.to_string())?;
        consumer.assign(&assignment).map_err(|e| e.to_string())?;
        Ok(Self { consumer, name: format!("{topic}/{partition}"), next: from })
    }

    /// Where it goes on.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Appends so many records before `to`, at most; those that are there. None: there are no more.
    ///
    /// # Errors
    /// When the broker does not answer for 30 s, or the range is not there any more.
    pub fn read_some(&mut self, to: i64, most: usize, into: &mut Chunk) -> Result<(), String> {
        let started = std::time::Instant::now();
        let enough = into.len() + most;
        while self.next < to && into.len() < enough {
            match self.consumer.poll(Duration::from_millis(200)) {
                // What was aborted or compacted away leaves gaps, also at the end.
                Some(Ok(message)) if message.offset() >= to => self.next = to,
                Some(Err(KafkaError::PartitionEOF(_))) => self.next = to,
                Some(Ok(message)) => self.next = take(&message, into),
                Some(Err(e)) => return Err(format!("{} at offset {}: {e}", self.name, self.next)),
                None if !into.is_empty() => return Ok(()),
                None if started.elapsed() > Duration::from_secs(30) => {
                    return Err(format!("{}: no answer from Kafka within 30 s", self.name));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Appends the records before `to`.
    ///
    /// # Errors
    /// When the broker does not answer for 30 s, or the range is not there any more.
    pub fn read(&mut self, to: i64, into: &mut Chunk) -> Result<(), String> {
        let started = std::time::Instant::now();
        while self.next < to {
            match self.consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => self.next = take(&message, into),
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

/// Appends it, and says where its partition goes on.
fn take(message: &BorrowedMessage<'_>, into: &mut Chunk) -> i64 {
    let at = Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0));
    let offset = message.offset();
    into.push(offset, offset + 1, at, message.payload(), headers_of(message));
    offset + 1
}
