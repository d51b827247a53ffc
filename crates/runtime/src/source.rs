//! Where records come from: Kafka partitions and files of lines. The inbox is read from the store.

pub mod file;
pub mod kafka;
pub mod range;

use paramedic_formats::Format;
use paramedic_model::Timestamp;
use paramedic_rulebook::ScopeExpr;
use paramedic_store::Position;

use crate::record::Chunk;

/// A source that records are taken from, in order.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The configured source: `event.source`.
    pub source: String,
    /// Its name among positions: `kafka/TOPIC/PARTITION`, `file/NAME`.
    pub position: String,
    /// The format of its messages.
    pub format: &'static Format,
    /// In which scope an event is; `default` without one.
    pub scope: Option<ScopeExpr>,
}

/// How a feed stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is more to take.
    Behind,
    /// All that there is has been taken.
    AtEnd,
    /// It does not answer, since then.
    Away(Timestamp),
    /// It must not be gone on with, for the reason given: a person has to look.
    Stopped(String),
}

/// Takes records from one feed. Called by the gathering thread only.
pub trait Reader: Send {
    /// What it reads.
    fn feed(&self) -> &Feed;
    /// Appends up to `most` records to `into`; never blocks.
    fn take(&mut self, into: &mut Chunk, most: usize, now: Timestamp);
    /// How it stands after that.
    fn standing(&self) -> Standing;
    /// Records that are known to be there and are not taken yet.
    fn lag(&self) -> Option<i64>;
}

/// Where a reader begins.
pub type From = Option<Position>;
