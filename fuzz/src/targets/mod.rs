//! What is fuzzed. Each target takes any bytes; it panics where a law is broken, and only there.

pub mod cmdb;
pub mod condition;
pub mod events;
mod input;
pub mod parameters;
pub mod reply;
pub mod rulebook;
pub mod state;
pub mod webhook;

/// A target: its name, which is its corpus's folder too, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 8] = [
    ("cmdb", cmdb::run),
    ("condition", condition::run),
    ("events", events::run),
    ("parameters", parameters::run),
    ("reply", reply::run),
    ("rulebook", rulebook::run),
    ("state", state::run),
    ("webhook", webhook::run),
];
