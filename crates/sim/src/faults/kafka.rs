//! A broker in memory: partitions with gaps, retention and second lives. What was ever there is kept for the oracles.

use paramedic_model::{Span, Timestamp};

use crate::journal::SourceRecord;

/// The topic of every simulation.
pub(super) const TOPIC: &str = "alerts";

/// The position name of a partition.
pub(super) fn position(partition: u32) -> String {
    format!("kafka/{TOPIC}/{partition}")
}

/// The partition of a position name.
pub(super) fn partition_of(position: &str) -> Option<u32> {
    position.strip_prefix("kafka/")?.strip_prefix(TOPIC)?.strip_prefix('/')?.parse().ok()
}

/// From its creation to its end, or to its being created anew.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// Everything that was ever in it, by offset.
    pub(super) records: Vec<SourceRecord>,
    /// The first offset that is still there.
    pub(super) start: i64,
    /// The offset of what comes next.
    pub(super) end: i64,
}

impl Life {
    fn from(&self, offset: i64) -> usize {
        self.records.partition_point(|r| r.offset < offset)
    }

    /// What was ever there, from an offset to before another.
    pub(super) fn range(&self, from: i64, to: i64) -> &[SourceRecord] {
        let (a, b) = (self.from(from), self.from(to));
        self.records.get(a..b).unwrap_or_default()
    }

    pub(super) fn at(&self, offset: i64) -> Option<&SourceRecord> {
        self.range(offset, offset + 1).first().filter(|r| r.offset >= self.start)
    }

    /// The first record that is still there from an offset on.
    pub(super) fn first_from(&self, offset: i64) -> Option<&SourceRecord> {
        self.records.get(self.from(offset.max(self.start)))
    }
}

/// What a fetch gives.
pub(super) enum Fetched {
    /// No answer.
    Away,
    /// The offset is not there, or the topic is another one: the position must be looked at again.
    LookAgain,
    /// Records, and whether there are more.
    Records(Vec<SourceRecord>, bool),
}

#[derive(Debug)]
pub(super) struct Kafka {
    /// By partition: its lives, the last one is now.
    pub(super) partitions: Vec<Vec<Life>>,
    /// Nothing is answered before then.
    pub(super) away_until: Timestamp,
}

impl Kafka {
    pub(super) fn new(partitions: u32) -> Self {
        let lives = (0..partitions).map(|_| vec![Life::default()]).collect();
        Self { partitions: lives, away_until: Timestamp::EPOCH }
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(1)
    }

    pub(super) fn lives(&self, partition: u32) -> &[Life] {
        self.partitions.get(partition as usize).map_or(&[], Vec::as_slice)
    }

    pub(super) fn now(&self, partition: u32) -> Option<&Life> {
        self.lives(partition).last()
    }

    fn now_mut(&mut self, partition: u32) -> Option<&mut Life> {
        self.partitions.get_mut(partition as usize).and_then(|lives| lives.last_mut())
    }

    /// Appends a record after a gap of so many offsets.
    pub(super) fn append(&mut self, partition: u32, at: Timestamp, payload: Option<Vec<u8>>, gap: i64) {
        let Some(life) = self.now_mut(partition) else { return };
        let at = life.records.last().map_or(at, |r| r.timestamp.max(at));
        let offset = life.end + gap;
        life.records.push(SourceRecord { offset, timestamp: at, headers: vec![], payload });
        life.end = offset + 1;
    }

    /// Cuts the log before an offset.
    pub(super) fn cut(&mut self, partition: u32, before: i64) {
        if let Some(life) = self.now_mut(partition) {
            life.start = life.start.max(before.min(life.end));
        }
    }

    /// The topic is deleted and created again.
    pub(super) fn recreate(&mut self, partition: u32) {
        if let Some(lives) = self.partitions.get_mut(partition as usize) {
            lives.push(Life::default());
        }
    }

    /// Reads like a consumer that began when the topic had its `life`th life.
    pub(super) fn fetch(&self, partition: u32, life: usize, from: i64, most: usize, now: Timestamp) -> Fetched {
        if now < self.away_until {
            return Fetched::Away;
        }
        let lives = self.lives(partition);
        let Some(current) = lives.last() else { return Fetched::Away };
        if lives.len() != life || from < current.start || from > current.end {
            return Fetched::LookAgain;
        }
        let rest = current.range(from, current.end);
        Fetched::Records(rest.iter().take(most).cloned().collect(), rest.len() > most)
    }

    pub(super) fn go_away(&mut self, now: Timestamp, span: Span) {
        self.away_until = now.plus(span);
    }
}
