//! Fuzz targets: functions from bytes that must not panic, each with the laws that hold whatever comes in.
//!
//! `fuzz_targets/` gives them to libFuzzer; `tests/corpus.rs` of the root package replays the corpora with every
//! `cargo test`, without libFuzzer.

pub mod mutate;
#[path = "../../crates/runners/src/reply.rs"]
#[allow(dead_code, reason = "the runner has more use for it")]
pub mod replies;
pub mod targets;
