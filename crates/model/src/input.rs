//! What comes in through the inbox, and what the journal remembers of what came in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Ci, Digest, GuardVerdict, Id, OwnedEvent, Relation, RunState, Running, Timestamp};

/// What a person does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "act")]
pub enum OperatorAct {
    /// "I am on it": stops the functional escalations.
    Acknowledge {
        /// Which incident.
        incident: Id,
    },
    /// It is fixed.
    Resolve {
        /// Which incident.
        incident: Id,
        /// Why it ended.
        code: crate::CloseCode,
        /// And in words.
        notes: String,
    },
    /// A proposed run may go.
    Approve {
        /// Which run.
        run: Id,
    },
    /// A proposed run may not go.
    Reject {
        /// Which run.
        run: Id,
        /// Why.
        reason: String,
    },
    /// For the record: the halt itself is written straight to store and file.
    Halt {
        /// Why.
        reason: String,
    },
    /// For the record.
    Resume {
        /// Why.
        reason: String,
    },
    /// For the record: a run that waited because the store was restored may go. Its outbox row was cleared in the
    /// transaction that appended this.
    Clear {
        /// Which run.
        run: Id,
    },
    /// For the record: the store counts as whole again, and runs that are decided go as they did before.
    EndRecovered {
        /// Why.
        reason: String,
    },
    /// A source is to be gone on with at another place: what lies between is taken again, or never. The owner of
    /// the shard moves the position in the batch that holds this act, and begins again from there.
    Rewind {
        /// Its name among positions: `kafka/TOPIC/PARTITION`, `file/NAME`.
        position: String,
        /// The next offset to take; [`REWIND_EARLIEST`] and [`REWIND_LATEST`] stand for the ends.
        to: i64,
        /// Why.
        reason: String,
    },
}

/// Stands, among the sources that a batch is blind to, for all that were not reached since the start.
pub const NEVER_REACHED: &str = "sources that were never reached";

/// The first record that the source still has. The number is Kafka's own for it.
pub const REWIND_EARLIEST: i64 = -2;
/// What comes next.
pub const REWIND_LATEST: i64 = -1;

/// What the dispatcher tells about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Which run.
    pub run: Id,
    /// What it has become.
    pub state: RunState,
    /// When its request left, on the wall clock, where it has.
    pub started_at: Option<Timestamp>,
    /// What the endpoint, a guard or a person said.
    pub message: String,
    /// Facts that the playbook returned.
    #[serde(default)]
    pub facts: BTreeMap<String, Value>,
    /// The guards' verdicts, where they denied it.
    #[serde(default)]
    pub verdicts: Vec<GuardVerdict>,
}

/// What the dispatcher tells about a page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageReport {
    /// Which page.
    pub page: Id,
    /// About which incident.
    pub incident: Id,
    /// Whether the notifier took it.
    pub delivered: bool,
    /// What the notifier said.
    pub message: String,
}

/// What the dispatcher tells about an event that was not delivered to its topic, and is not tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmitReport {
    /// Which.
    pub emit: Id,
    /// The rule's incident, or its firing.
    pub incident: Id,
    /// Where to.
    pub topic: String,
    /// A guard said no; else it was tried, and given up.
    pub denied: bool,
    /// What the guard or the broker said.
    pub message: String,
}

/// Bytes that a webhook took, to be decoded in order like any other record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawMessage {
    /// The configured source.
    pub source: String,
    /// Headers that formats may need, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, base64.
    pub body: String,
}

/// Changes to the CMDB, by a person or an import.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CmdbDelta {
    /// Who says so.
    pub by: String,
    /// CIs to add or to update: attributes given replace, others stay.
    pub cis: Vec<Ci>,
    /// Relations to add.
    pub relations: Vec<Relation>,
}

/// What an inbox row holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InboxBody {
    /// Bytes from a webhook.
    Message(RawMessage),
    /// From the dispatcher.
    RunReported(RunReport),
    /// From the dispatcher.
    PageReported(PageReport),
    /// From the dispatcher.
    EmitReported(EmitReport),
    /// From a person.
    Operator {
        /// Who.
        by: String,
        /// What.
        act: OperatorAct,
    },
    /// From an import or a person.
    Cmdb(CmdbDelta),
    /// A rule set to go on with.
    RulebooksPublished(Digest),
    /// An event that another shard took from its source, and that is in a scope of this one. Matched again here.
    Handed(Box<OwnedEvent>),
    /// A source must not be gone on with before a person has looked.
    SourceStopped {
        /// The configured source.
        source: String,
        /// Its name among positions.
        position: String,
        /// Why.
        why: String,
    },
    /// A source that was stopped is taken from again.
    SourceBack {
        /// The configured source.
        source: String,
        /// Its name among positions.
        position: String,
    },
}

impl InboxBody {
    /// People first: an operator's act is gathered first, and stamped with the shard's clock.
    pub const fn is_operator(&self) -> bool {
        matches!(self, InboxBody::Operator { .. })
    }
}

/// The inbox has two lanes, each with an order and a position of its own, so that a person's act never waits behind
/// a report or a webhook's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// What people do.
    Acts,
    /// Everything else.
    Inbox,
}

impl Lane {
    /// Both.
    pub const ALL: [Lane; 2] = [Lane::Acts, Lane::Inbox];

    /// Its name among positions and journal ranges.
    pub const fn name(self) -> &'static str {
        match self {
            Lane::Acts => "acts",
            Lane::Inbox => "inbox",
        }
    }

    /// From the name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.name() == name)
    }

    /// Where an entry goes.
    pub const fn of(body: &InboxBody) -> Self {
        if body.is_operator() { Lane::Acts } else { Lane::Inbox }
    }
}

/// The scope of a shard's own incidents: a source that was stopped, for example. It is always at home there.
pub fn own_scope(shard: u32) -> String {
    format!("{OWN}{shard}")
}

const OWN: &str = "paramedic.";

/// The shard whose own scope this is, if it is one.
pub fn own_shard(scope: &str) -> Option<u32> {
    scope.strip_prefix(OWN).and_then(|n| n.parse().ok()).filter(|shard| own_scope(*shard) == scope)
}

/// An entry to append.
#[derive(Clone, Debug, PartialEq)]
pub struct NewInbox {
    /// The writer's id: the same id is appended once.
    pub id: String,
    /// In which scope it acts.
    pub scope: String,
    /// Append time, on the wall clock.
    pub at: Timestamp,
    /// What it holds.
    pub body: InboxBody,
}

/// An appended entry.
#[derive(Clone, Debug, PartialEq)]
pub struct InboxRow {
    /// 1, 2, 3... its position as a source, within its shard and lane.
    pub seq: u64,
    /// The entry.
    pub entry: NewInbox,
}

/// Which records of a source a batch took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First position taken.
    pub from: i64,
    /// One past the last: the next position to take.
    pub to: i64,
    /// Records delivered; the rest of the span are gaps.
    pub delivered: u64,
    /// How many bytes the CRC covers.
    pub bytes: u64,
    /// CRC-32 (IEEE) of their timestamps, headers and payloads, each with its length, in order: tells that one was
    /// altered since.
    pub crc: u32,
}

/// A record of a source, as far as it counts for telling whether it was altered.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    /// Its timestamp.
    pub at: Timestamp,
    /// Its headers.
    pub headers: &'a [(String, Vec<u8>)],
    /// Its bytes; `None`: a null value.
    pub payload: Option<&'a [u8]>,
}

impl Range {
    /// Of the records from `from` to before `to`, in order.
    pub fn of<'a>(from: i64, to: i64, records: impl IntoIterator<Item = RecordView<'a>>) -> Self {
        let (mut delivered, mut hasher, mut bytes) = (0, crc32fast::Hasher::new(), 0);
        let mut add = |part: &[u8]| {
            bytes += part.len() as u64;
            hasher.update(part);
        };
        let length = |part: &[u8]| (part.len() as u64).to_le_bytes();
        for record in records {
            delivered += 1;
            add(&record.at.as_nanos().to_le_bytes());
            for (name, value) in record.headers {
                add(&length(name.as_bytes()));
                add(name.as_bytes());
                add(&length(value));
                add(value);
            }
            match record.payload {
                Some(payload) => {
                    add(&length(payload));
                    add(payload);
                }
                None => add(&u64::MAX.to_le_bytes()),
            }
        }
        Self { from, to, delivered, bytes, crc: hasher.finalize() }
    }

    /// Of inbox rows.
    pub fn of_inbox(from: i64, to: i64, rows: &[InboxRow]) -> Self {
        let body = |row: &InboxRow| serde_json::to_vec(&(&row.entry.id, &row.entry.body)).unwrap_or_default();
        let bodies: Vec<(Timestamp, Vec<u8>)> = rows.iter().map(|row| (row.entry.at, body(row))).collect();
        Self::of(from, to, bodies.iter().map(|(at, body)| RecordView { at: *at, headers: &[], payload: Some(body) }))
    }

    /// The range goes on with one that abuts it.
    pub fn join(&mut self, next: &Range) {
        let mut hasher = crc32fast::Hasher::new_with_initial_len(self.crc, self.bytes);
        hasher.combine(&crc32fast::Hasher::new_with_initial_len(next.crc, next.bytes));
        self.crc = hasher.finalize();
        self.to = next.to;
        self.delivered += next.delivered;
        self.bytes += next.bytes;
    }
}

/// What a batch took and what came of it: with the sources, enough to repeat it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalRow {
    /// Which shard.
    pub shard: u32,
    /// Under which ownership.
    pub epoch: u64,
    /// 1, 2, 3... within the shard.
    pub batch: u64,
    /// The rule set that was active when the batch began.
    pub set: Digest,
    /// The rule set that is active after it, for scopes that are met from then on.
    pub set_after: Digest,
    /// The shard's clock before the batch.
    pub floor: Timestamp,
    /// One reading of the wall clock a batch: bounds its stamps.
    pub cap: Timestamp,
    /// The shard's clock after the batch.
    pub end: Timestamp,
    /// Whether, at its end, the clock moved to `cap`, because every source was at its end.
    pub tick: bool,
    /// Sources that were away or stopped while the batch was gathered: what it decided is blind to them.
    pub blind: Vec<String>,
    /// What was taken, by source position name.
    pub ranges: BTreeMap<String, Range>,
    /// Of all input ids so far; goes on from here after a restart.
    pub inputs: Running,
    /// Digest of all decisions so far, to the last event's input.
    pub decisions: Digest,
    /// Digest of all decisions so far, to the end of the batch.
    pub decisions_end: Digest,
}

/// A scope's digests and its place in its history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScopeHead {
    /// The rule set that it goes by.
    pub set: Digest,
    /// Decisions so far.
    pub decisions: Running,
    /// Decisions to the last event's input, where later ones came.
    pub decisions_at_event: Option<Running>,
    /// Last `seq` of its history.
    pub last_seq: u64,
    /// Hash of its last history row.
    pub last_hash: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_ranges_are_as_if_taken_at_once() {
        let header = [("ce_id".to_owned(), b"1".to_vec())];
        let record = |payload: &'static [u8]| RecordView { at: Timestamp::EPOCH, headers: &[], payload: Some(payload) };
        let records = [record(b"one"), record(b""), record(b"three"), RecordView { headers: &header, ..record(b"4") }];
        let whole = Range::of(5, 9, records);
        let mut joined = Range::of(5, 7, records[..2].iter().copied());
        joined.join(&Range::of(7, 9, records[2..].iter().copied()));
        assert_eq!(joined, whole);
        for altered in
            [record(b"thrEe"), record(b"thre"), RecordView { at: Timestamp::from_nanos(1), ..record(b"three") }]
        {
            assert_ne!(Range::of(5, 9, [records[0], records[1], altered, records[3]]).crc, whole.crc);
        }
        let bare = RecordView { headers: &[], ..records[3] };
        assert_ne!(Range::of(5, 9, [records[0], records[1], records[2], bare]).crc, whole.crc);
    }
}
