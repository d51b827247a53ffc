//! The command line. Results go to stdout, diagnostics to stderr; exit 0, 1 (found something), 2 (could not run).

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

mod args;
mod audit;
mod check;
mod client;
mod demo;
mod live;
mod operate;
mod replay;
mod rules;
mod scenarios;
mod show;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};

/// Measured: half of the stepping stage's time went into the system's allocator (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a command came to.
enum Done {
    /// It did what was asked, and found nothing wrong.
    Well,
    /// It did what was asked, and found something.
    Found,
}

type Outcome = anyhow::Result<Done>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Demo(args) => demo::demo(&args),
        Command::Run(args) => live::run_or_list(args),
        Command::Check(args) => check::check(&args),
        Command::Test(args) => scenarios::test(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Incident(args) => operate::incident(args),
        Command::Approve(args) => operate::approve(&args),
        Command::Reject(args) => operate::reject(&args),
        Command::Ci(args) => operate::ci(args),
        Command::Halt(args) => operate::halt(&args),
        Command::Resume(args) => operate::resume(&args),
        Command::Status(args) => operate::status(&args),
        Command::Audit(args) => audit::audit(&args),
    };
    match outcome {
        Ok(Done::Well) => ExitCode::SUCCESS,
        Ok(Done::Found) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
