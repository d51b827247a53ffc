// The whole program, included by main.rs and, with crash points and planted bugs, by faulty.rs.

mod archive;
mod args;
mod audit;
mod backup;
mod check;
mod client;
mod demo;
mod explain;
mod letters;
mod live;
mod offsets;
mod operate;
mod recovered;
mod reload;
mod replay;
mod rules;
mod scenarios;
mod schema;
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

/// Whoever reads our output may stop: `paramedic check | head`. Printing then panics, which is told to nobody.
fn end_quietly_when_nobody_reads() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload().downcast_ref::<String>().map(String::as_str).unwrap_or_default();
        if message.starts_with("failed printing to std") && message.contains("Broken pipe") {
            // As a program that such a signal ends.
            std::process::exit(128 + 13);
        }
        told(panic);
    }));
}

fn main() -> ExitCode {
    end_quietly_when_nobody_reads();
    #[cfg(feature = "test-faults")]
    faults_from_environment();
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Demo(args) => demo::demo(&args),
        Command::Run(args) => live::run_or_list(args),
        Command::Check(args) => check::check(&args),
        Command::Test(args) => scenarios::test(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Incident(args) => operate::incident(args),
        Command::Approve(args) => operate::approve(&args),
        Command::Reject(args) => operate::reject(&args),
        Command::Ci(args) => operate::ci(args),
        Command::Halt(args) => operate::halt(&args),
        Command::Resume(args) => operate::resume(&args),
        Command::Status(args) => operate::status(&args),
        Command::Rules(args) => rules::rules(&args),
        Command::Offsets(args) => offsets::offsets(&args),
        Command::DeadLetters(args) => letters::letters(&args),
        Command::Backup(args) => backup::backup(&args),
        Command::Recovered(args) => recovered::recovered(&args),
        Command::Audit(args) => audit::audit(&args),
        Command::Archive(args) => archive::archive(&args),
        Command::Schema(args) => schema::schema(&args),
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

/// `PARAMEDIC_CRASH=POINT:HITS` ends the process there; `PARAMEDIC_PLANTED=NAME` plants a bug; `PARAMEDIC_CLOCK=FILE` is
/// where it says, whenever it is changed, by how many milliseconds the wall clock is wrong.
#[cfg(feature = "test-faults")]
fn faults_from_environment() {
    use paramedic_model::faults;
    if let Ok(crash) = std::env::var("PARAMEDIC_CRASH") {
        let (point, hits) = crash.rsplit_once(':').unwrap_or((crash.as_str(), "1"));
        faults::crash_at(point, hits.parse().unwrap_or(1));
    }
    if let Ok(bug) = std::env::var("PARAMEDIC_PLANTED") {
        faults::plant(&bug);
    }
    if let Ok(file) = std::env::var("PARAMEDIC_CLOCK") {
        std::thread::spawn(move || {
            loop {
                let millis = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
                millis.into_iter().for_each(faults::shift_clock);
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        });
    }
}
