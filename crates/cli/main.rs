//! The command line. Results go to stdout, diagnostics to stderr; exit 0, 1 (found something), 2 (could not run).

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

include!("program.rs");
