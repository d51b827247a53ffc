//! The command line with crash points and planted bugs, for tests that must see it fail.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

include!("program.rs");
