//! The trait: plain data in, plain data out. No closures, no SQL outside back ends.

use std::collections::BTreeMap;
use std::path::Path;

use paramedic_model::{
    Ci, Digest, HistoryRow, Id, InboxRow, Incident, IncidentState, JournalRow, Lane, NewInbox, OutboxRow, OutboxState,
    Page, Relation, Run, RunState, ScopeChanges, ScopeImage, Span, Timestamp,
};
pub use paramedic_model::{Halt, HaltScope};
use serde::{Deserialize, Serialize};

use crate::archive::Anchor;

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another owner has taken the shard: drop the memory, stop.
    #[error("shard {shard} is owned by epoch {found}, not by {held}: another engine has taken it over")]
    Fenced {
        /// Which shard.
        shard: u32,
        /// The epoch that the caller holds.
        held: u64,
        /// The epoch in the store.
        found: u64,
    },
    /// A position is not where the caller left it: reload.
    #[error("source {source_name}: the store is at {found:?}, the batch begins at {expected}")]
    PositionMoved {
        /// Which source.
        source_name: String,
        /// Where the batch begins.
        expected: i64,
        /// Where the store is.
        found: Option<i64>,
    },
    /// The row is not in the state that the caller read.
    #[error("outbox row {key} is {found}, not {expected}")]
    Conflict {
        /// Which row.
        key: Id,
        /// What the caller read.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A scope is at home in another shard: what is about it goes there.
    #[error("scope {scope} belongs to shard {home}, not to shard {shard}")]
    HomeElsewhere {
        /// Which scope.
        scope: String,
        /// Where it is at home.
        home: u32,
        /// Who wanted to change it.
        shard: u32,
    },
    /// Another process has the store open for writing.
    #[error("{path} is in use by another engine (is one still running?); end it, or give this one its own data folder")]
    Locked {
        /// Which file.
        path: String,
    },
    /// The store cannot be read: it says what and what to do.
    #[error("the store is damaged: {0}; restore a backup, or move the file away to begin anew")]
    Corrupt(String),
    /// No room: nothing was written.
    #[error("no room left for the store: {0}; free some space, ingestion goes on by itself then")]
    Full(String),
    /// It does not answer. After a commit it is in doubt: reload, never go on.
    #[error("{context}: the store does not answer: {cause}")]
    Away {
        /// What was being done.
        context: &'static str,
        /// What went wrong.
        cause: String,
    },
    /// Anything else; after a commit it is in doubt: reload, never go on.
    #[error("{context}: {cause}")]
    Other {
        /// What was being done.
        context: &'static str,
        /// What went wrong.
        cause: String,
    },
}

/// Result of a store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A record that could not be decoded, kept for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The configured source.
    pub source: String,
    /// Position name and position: `kafka/TOPIC/PARTITION` or `inbox`.
    pub position: String,
    /// The offset, line or seq.
    pub offset: i64,
    /// Why it could not be decoded, with the place in the bytes.
    pub reason: String,
    /// The first 64 KiB.
    pub bytes: Vec<u8>,
    /// SHA-256 of all of it.
    pub digest: Digest,
    /// How long it was.
    pub length: u64,
    /// Its stamp.
    pub at: Timestamp,
}

/// How far a source has been taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The next offset, line or seq to take.
    pub next: i64,
    /// Record timestamp of the last one taken.
    pub last_at: Option<Timestamp>,
    /// Digest of the last one taken: another at that place means that the topic was recreated.
    pub last_digest: Option<Digest>,
}

/// A position's move within a batch: compare-and-set.
#[derive(Clone, Debug, PartialEq)]
pub struct PositionMove {
    /// Where it must be; `None` when the source was never taken from.
    pub from: Option<i64>,
    /// Where it goes.
    pub to: Position,
}

/// Everything that one transaction writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Which shard.
    pub shard: u32,
    /// The fence.
    pub epoch: u64,
    /// By scope.
    pub changes: Vec<ScopeChanges>,
    /// By position name.
    pub positions: BTreeMap<String, PositionMove>,
    /// What could not be decoded.
    pub dead_letters: Vec<DeadLetter>,
    /// For scopes that are at home elsewhere: appended to their shards' inboxes, as by [`Store::inbox_append`].
    pub handed: Vec<NewInbox>,
    /// What was taken. `None` only where the batch does no more than write down where sources begin.
    pub journal: Option<JournalRow>,
}

/// Which positions a load takes over, besides those that the shard has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// All sources: one engine, one shard. An error when scopes are at home in other shards: then a group has run
    /// on this store, and only a group can go on.
    Alone,
    /// These, by name, wherever they are.
    Positions(Vec<String>),
}

/// What a shard begins with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardImage {
    /// The new owner's epoch, raised by the load.
    pub epoch: u64,
    /// Number of the last batch; 0 before the first.
    pub batch: u64,
    /// The last journal row: the shard's clock and digests go on from it.
    pub last: Option<JournalRow>,
    /// By position name.
    pub positions: BTreeMap<String, Position>,
    /// The scopes that the shard has met.
    pub scopes: Vec<ScopeImage>,
    /// The rule set that was published last: a shard without a journal begins under it.
    pub active: Option<Digest>,
    /// [`Store::ends_lost`], as it was before the load.
    pub ends_lost: u64,
}

/// Where an inbox entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxPlace {
    /// Whose inbox.
    pub shard: u32,
    /// Which lane of it.
    pub lane: Lane,
    /// Where in the lane.
    pub seq: u64,
}

/// What came of publishing a rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is active, and was before.
    Already,
    /// It is active now, and every shard finds that in its inbox.
    Now,
    /// It was active once, and this other one was published since: nothing was changed.
    Superseded(Digest),
}

/// The store may lack the end of what once was: it was restored from a backup, or its server failed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// Since when it is known, on the wall clock.
    pub at: Timestamp,
    /// How it is known.
    pub why: String,
}

/// How long what has ended is kept. Closed records and the history before them go to an archive, the rest is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Closed and canceled incidents, with their runs, pages and outbox rows, and history.
    pub records: Span,
    /// Dead letters.
    pub dead_letters: Span,
    /// Inbox rows that were taken, and journal rows: as far back a live history can be repeated.
    pub journal: Span,
}

/// What a [`Store::retain`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retained {
    /// Incidents archived.
    pub incidents: u64,
    /// History rows archived.
    pub history: u64,
    /// Dead letters dropped.
    pub dead_letters: u64,
    /// Inbox rows dropped.
    pub inbox: u64,
    /// Journal rows dropped.
    pub journal: u64,
    /// Outbox rows of events dropped.
    pub emits: u64,
}

/// A move of an outbox row by the dispatcher: compare-and-set on the state, and on the epoch where it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxMove {
    /// Which row.
    pub key: Id,
    /// The state that the caller read.
    pub from: OutboxState,
    /// The row after the move (its state must be reachable: `OutboxState::may_become`, or unchanged).
    pub row: OutboxRow,
    /// `(shard, epoch)` that must still be the owner's; `None` for replies, which anyone may bring.
    pub fence: Option<(u32, u64)>,
    /// Appended to the inbox in the same transaction.
    pub inbox: Vec<NewInbox>,
}

/// Which incidents to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct IncidentFilter {
    /// In these states; empty: any.
    pub states: Vec<IncidentState>,
    /// With this priority.
    pub priority: Option<u8>,
    /// About this CI or identifier.
    pub about: Option<String>,
    /// At most so many; 0: 100.
    pub limit: usize,
    /// Only those opened before the one with this number.
    pub before_number: Option<u64>,
}

/// Which runs to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Of this incident.
    pub incident: Option<Id>,
    /// In these states; empty: any.
    pub states: Vec<RunState>,
    /// At most so many; 0: 100.
    pub limit: usize,
}

/// Figures for status and metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Incidents (not shadow) by (state, priority).
    pub incidents: Vec<(IncidentState, u8, u64)>,
    /// Outbox rows by state.
    pub outbox: BTreeMap<String, u64>,
    /// Dead letters.
    pub dead_letters: u64,
    /// History rows.
    pub history: u64,
    /// Inbox rows.
    pub inbox: u64,
}

/// What a look at the whole history found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Rows looked at.
    pub rows: u64,
    /// Scopes looked at.
    pub scopes: u64,
    /// The first row of each scope that does not follow from the one before: (scope, seq, why).
    pub broken: Vec<(String, u64, String)>,
}

/// How many rows of each kind [`Store::outbox_due`] gives at most: none keeps the others from their turn.
#[derive(Clone, Copy, Debug)]
pub struct DueLimits {
    /// Pages.
    pub pages: usize,
    /// Runs.
    pub runs: usize,
    /// Events to topics.
    pub emits: usize,
}

/// Bodies that one [`Store::inbox_read`] gives, in bytes of their JSON.
pub const INBOX_READ_BYTES: usize = 16 << 20;

/// Where records, history, alerts, timers, outbox, dead letters, positions and journal are kept.
///
/// Synchronous: shards are OS threads. Every method is one transaction: after `Ok` it is durable, after an
/// error nothing of it is there, except after [`StoreError::Other`] and [`StoreError::Away`] from [`Store::commit`], which
/// is in doubt.
pub trait Store: Send + Sync {
    /// Takes a shard over: raises its epoch and gives back its working state, in one transaction. Incidents that are
    /// closed or canceled are not part of it, nor are runs of such incidents.
    fn load_shard(&self, shard: u32, claim: &Claim) -> Result<ShardImage>;
    /// The shards that were ever loaded, and their epochs.
    fn shards(&self) -> Result<Vec<(u32, u64)>>;
    /// Every position, by shard and name.
    fn positions(&self) -> Result<Vec<(u32, String, Position)>>;

    /// Writes a batch whole, or not at all, under the fence. New incidents get their numbers here. A scope that has
    /// no home is at home in the batch's shard from here on.
    fn commit(&self, batch: &Batch) -> Result<()>;

    /// Makes a scope at home in this shard if it has no home; says where it is at home. A shard's own scope
    /// ([`paramedic_model::own_scope`]) is at home there without being claimed.
    fn claim_scope(&self, scope: &str, shard: u32) -> Result<u32>;
    /// Where a scope is at home.
    fn scope_home(&self, scope: &str) -> Result<Option<u32>>;

    /// Appends entries whose writer's id is new; gives the place of each, old or new. An entry goes to the shard
    /// where its scope is at home; messages that are not decoded yet go by their source. Where there is no home yet,
    /// one of the known shards becomes it (0 where none is known).
    fn inbox_append(&self, entries: &[NewInbox]) -> Result<Vec<InboxPlace>>;
    /// Entries of a lane with `seq >= from`, in order: at most `limit` rows, and no more than [`INBOX_READ_BYTES`] of
    /// bodies, but always one row if there is any. Fewer rows than `limit` do not mean that there are no more. What
    /// is read is never followed by a row with a lower seq.
    fn inbox_read(&self, shard: u32, lane: Lane, from: u64, limit: usize) -> Result<Vec<InboxRow>>;
    /// How long an idle reader of the inbox waits before it asks again.
    fn inbox_pause(&self) -> Span {
        Span::from_millis(5)
    }

    /// What a dispatcher that owns these shards has to look at now: rows that are pending, deferred, started or
    /// accepted, and whose `not_before` has come or is not set. First pages, then runs, then events, no more than `most`
    /// of each, each with its shard; of each those without a `not_before` first, then by it; oldest release first.
    fn outbox_due(&self, shards: &[u32], now: Timestamp, most: DueLimits) -> Result<Vec<(u32, OutboxRow)>>;
    /// Rows in these states, oldest release first.
    fn outbox_list(&self, states: &[OutboxState], limit: usize) -> Result<Vec<OutboxRow>>;
    /// One row by key, with its shard.
    fn outbox_get(&self, key: Id) -> Result<Option<(u32, OutboxRow)>>;
    /// The row of a run, a page or an event, by its id.
    fn outbox_of(&self, order: Id) -> Result<Option<OutboxRow>>;
    /// Moves a row, and appends to the inbox, in one transaction.
    fn outbox_move(&self, change: &OutboxMove) -> Result<()>;
    /// Whether another run's request may have left for this target and its outcome is not known.
    fn target_busy(&self, target: Id, besides: Id) -> Result<bool>;

    /// Keeps a rule set's sources under its digest.
    fn ruleset_put(&self, digest: Digest, sources: &BTreeMap<String, String>) -> Result<()>;
    /// The sources of a rule set.
    fn ruleset_get(&self, digest: Digest) -> Result<Option<BTreeMap<String, String>>>;
    /// The rule set that was published last.
    fn ruleset_active(&self) -> Result<Option<Digest>>;
    /// Publishes a rule set that is kept: it is the active one, and a `RulebooksPublished` is appended to the inbox
    /// of every shard, in one transaction. One that was superseded is published again only with `again`.
    fn ruleset_publish(&self, digest: Digest, at: Timestamp, again: bool) -> Result<Published>;

    /// Whether the store may lack the end of what once was.
    fn recovered(&self) -> Result<Option<Recovered>>;
    /// Says so, or takes it back (`None`).
    fn recovered_set(&self, recovered: Option<&Recovered>) -> Result<()>;

    /// How often it was noticed, since this was opened, that another server answers, which may lack the end of what once
    /// was. Whoever has a shard in memory from before drops it, and begins again from what is there now.
    fn ends_lost(&self) -> u64 {
        0
    }

    /// Copies the whole store, as it is at one moment, to a new file, while it is worked with. Who opens the copy
    /// finds it [`Store::recovered`].
    fn backup(&self, to: &Path) -> Result<()>;
    /// Archives and drops what is older than it is to be kept. Archived records and history are appended to files in
    /// `archive`, durably, before they are dropped here; history goes in order, and its chain goes on from the hash of
    /// the last row that was archived. Done in bounded steps: called again until nothing is left to do.
    fn retain(&self, keep: &Retention, now: Timestamp, archive: &Path) -> Result<Retained>;

    /// Adds a halt, or replaces the one with its scope.
    fn halt_put(&self, halt: &Halt) -> Result<()>;
    /// Takes a halt back; false when there was none.
    fn halt_remove(&self, scope: &HaltScope) -> Result<bool>;
    /// The halts in force.
    fn halts(&self) -> Result<Vec<Halt>>;

    /// Incidents with their numbers, newest first.
    fn incidents(&self, filter: &IncidentFilter) -> Result<Vec<Incident>>;
    /// By id.
    fn incident(&self, id: Id) -> Result<Option<Incident>>;
    /// By number.
    fn incident_by_number(&self, number: u64) -> Result<Option<Incident>>;
    /// Runs, newest first.
    fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>>;
    /// One run.
    fn run(&self, id: Id) -> Result<Option<Run>>;
    /// Pages of an incident, in order of decision.
    fn pages(&self, incident: Id) -> Result<Vec<Page>>;
    /// History of a record, in order.
    fn history(&self, record: Id) -> Result<Vec<HistoryRow>>;
    /// All history of a scope from `seq` on, in order.
    fn history_of_scope(&self, scope: &str, from: u64, limit: usize) -> Result<Vec<HistoryRow>>;
    /// The CMDB of a scope.
    fn cmdb(&self, scope: &str) -> Result<(Vec<Ci>, Vec<Relation>)>;
    /// Dead letters, newest first.
    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>>;
    /// Journal rows of a shard from `batch` on, in order.
    fn journal(&self, shard: u32, from: u64, limit: usize) -> Result<Vec<JournalRow>>;
    /// Figures for status and metrics.
    fn counts(&self) -> Result<Counts>;
    /// Where the history of each scope goes on that has rows in the archive.
    fn archived(&self) -> Result<BTreeMap<String, Anchor>>;
    /// Follows the hash chain of every scope from its first row.
    fn audit(&self) -> Result<Audit>;
}
