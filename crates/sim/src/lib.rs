//! Virtual time: scenario tests, replays of files, replays of a live engine's journal, and simulated faults.
//!
//! Shells around the same core that runs live, never copies of it: [`paramedic_engine::Shard`] decides,
//! [`paramedic_engine::outbox`] judges what would leave. Nothing leaves.

mod driver;
pub mod faults;
mod feed;
pub mod journal;
pub mod replay;
pub mod scenario;

pub use journal::{
    Difference, JournalError, JournalOptions, JournalReport, RecordSource, SourceRecord, SourceSpec, replay_journal,
};
pub use replay::{
    Arrived, Comparison, Lines, Messages, ReplayError, ReplayOptions, Report, RuleFailures, RunsBehave, compare,
    compare_messages, replay, replay_messages,
};
pub use scenario::{Coverage, FailedStep, Miss, Missed, Part, Reached, ScenarioResult, check_scenarios, run_scenarios};

/// The scope of a source that configures none.
pub(crate) const DEFAULT_SCOPE: &str = "default";
