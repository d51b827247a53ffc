//! Where records come from: Kafka partitions and files of lines. The inbox is read from the store.

pub mod connect;
pub mod file;
pub mod history;
pub mod kafka;
pub mod range;
pub(crate) mod refused;

use std::sync::Arc;
use std::thread::Thread;

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
    pub position: Arc<str>,
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
    /// Where it begins, told once, where the store does not know that yet.
    fn begun(&mut self) -> Option<Position> {
        None
    }
    /// Whom to wake when there is something to take.
    fn wake(&mut self, _thread: Thread) {}
    /// Appends up to `most` records to `into`; never blocks.
    fn take(&mut self, into: &mut Chunk, most: usize, now: Timestamp);
    /// How it stands after that.
    fn standing(&self) -> Standing;
    /// Records that are known to be there and are not taken yet.
    fn lag(&self) -> Option<i64>;
}

/// Where a reader begins.
pub type From = Option<Position>;
