//! YAML and Rhai to compiled rule sets; events to matches. Pure: no clock, no files.

pub mod rules;

pub use rules::*;
