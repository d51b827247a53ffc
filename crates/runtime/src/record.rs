//! Records as they were gathered: one buffer of bytes for many records, so that none costs an allocation.

use std::collections::VecDeque;

use paramedic_model::{InboxRow, Lane, Timestamp};
use paramedic_store::Position;

/// No more is taken into a buffer that holds this many bytes; the record that passes it is kept.
pub const BUFFER_BYTES: usize = 16 << 20;

/// Headers of a record: name and value.
pub type Headers = Box<[(String, Vec<u8>)]>;

/// One record; its payload is in its chunk's bytes.
#[derive(Clone, Debug)]
pub struct Record {
    /// Offset, byte position of the line, or seq.
    pub offset: i64,
    /// Where the source goes on after it.
    pub next: i64,
    /// Its timestamp.
    pub at: Timestamp,
    start: usize,
    /// `None`: a null value.
    length: Option<usize>,
    /// `None`: it has none.
    pub headers: Option<Headers>,
}

/// Records of one source, in order.
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    /// Of names and values of headers.
    header_bytes: usize,
    records: VecDeque<Record>,
}

impl Chunk {
    /// Appends a record.
    pub fn push(&mut self, offset: i64, next: i64, at: Timestamp, payload: Option<&[u8]>, headers: Option<Headers>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload.unwrap_or_default());
        self.header_bytes += header_bytes(headers.as_ref());
        self.records.push_back(Record { offset, next, at, start, length: payload.map(<[u8]>::len), headers });
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of payloads and headers that it holds.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len() + self.header_bytes
    }

    /// The records, in order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// A record by its place.
    pub fn get(&self, index: usize) -> Option<&Record> {
        self.records.get(index)
    }

    /// The last record.
    pub fn last(&self) -> Option<&Record> {
        self.records.back()
    }

    /// A record's payload.
    pub fn payload(&self, record: &Record) -> Option<&[u8]> {
        record.length.map(|n| &self.bytes[record.start..record.start + n])
    }

    /// Takes the records up to `horizon` (all of them without one) and leaves the rest.
    pub fn take_until(&mut self, horizon: Option<Timestamp>) -> Chunk {
        let keep_from = match horizon {
            None => self.records.len(),
            Some(h) => self.records.iter().position(|r| r.at > h).unwrap_or(self.records.len()),
        };
        if keep_from == self.records.len() {
            return std::mem::take(self);
        }
        let mut rest = Chunk::default();
        for record in self.records.split_off(keep_from) {
            let payload = record.length.map(|n| &self.bytes[record.start..record.start + n]);
            rest.push(record.offset, record.next, record.at, payload, record.headers);
        }
        // Payloads are in the order of their records: what was copied is the end.
        self.bytes.truncate(self.bytes.len() - rest.bytes.len());
        self.header_bytes -= rest.header_bytes;
        std::mem::replace(self, rest)
    }
}

fn header_bytes(headers: Option<&Headers>) -> usize {
    headers.map_or(0, |h| h.iter().map(|(name, value)| name.len() + value.len()).sum())
}

/// What was gathered for one batch.
#[derive(Debug)]
pub struct Gathered {
    /// One reading of the wall clock: no stamp is above it.
    pub cap: Timestamp,
    /// By source, in the order in which sources are configured: index and records.
    pub chunks: Vec<(usize, Chunk)>,
    /// Inbox rows, by lane, in order.
    pub inbox: Vec<(Lane, Vec<InboxRow>)>,
    /// Sources that are new, and where they begin.
    pub begun: Vec<(String, Position)>,
    /// Every source is at its end: after this batch the clock may move to the wall's.
    pub tick: bool,
    /// Sources that have been away for so long that the clock goes on without them.
    pub blind: Vec<String>,
}

impl Gathered {
    /// How many records and inbox rows.
    pub fn len(&self) -> usize {
        let rows: usize = self.inbox.iter().map(|(_, rows)| rows.len()).sum();
        self.chunks.iter().map(|(_, c)| c.len()).sum::<usize>() + rows
    }

    /// Whether it holds nothing but perhaps a tick.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.begun.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_split_at_a_time_and_keeps_every_byte() {
        let mut chunk = Chunk::default();
        for i in 0..4 {
            let payload = format!("p{i}");
            chunk.push(i, i + 1, Timestamp::from_secs(i), (i != 2).then_some(payload.as_bytes()), None);
        }
        let first = chunk.take_until(Some(Timestamp::from_secs(1)));
        let read = |c: &Chunk| c.records().map(|r| c.payload(r).map(<[u8]>::to_vec)).collect::<Vec<_>>();
        assert_eq!(read(&first), [Some(b"p0".to_vec()), Some(b"p1".to_vec())]);
        assert_eq!(read(&chunk), [None, Some(b"p3".to_vec())]);
        assert_eq!(chunk.take_until(None).len(), 2);
        assert!(chunk.is_empty());
    }

    #[test]
    fn the_bytes_of_a_chunk_are_its_payloads_and_headers() {
        let mut chunk = Chunk::default();
        let header = || Some(vec![("id".to_owned(), b"abc".to_vec())].into_boxed_slice());
        chunk.push(0, 1, Timestamp::from_secs(0), Some(b"four"), header());
        chunk.push(1, 2, Timestamp::from_secs(1), None, None);
        chunk.push(2, 3, Timestamp::from_secs(2), Some(b"sixsix"), header());
        assert_eq!(chunk.bytes_len(), 20);
        let first = chunk.take_until(Some(Timestamp::from_secs(1)));
        assert_eq!((first.len(), first.bytes_len()), (2, 9));
        assert_eq!((chunk.len(), chunk.bytes_len()), (1, 11));
        assert_eq!(chunk.take_until(None).bytes_len(), 11);
        assert_eq!(chunk.bytes_len(), 0);
    }
}
