//! Many seeds of the fault simulation: progress on stderr, one line of JSON at the end.
//!
//! `cargo run --release -p paramedic-sim --example faults -- --seeds 1000000 [--from N] [--threads N]`, or
//! `-- --seed N --trace` for one. With `--features test-faults`, `--plant BUG` shows what a planted bug comes to.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use paramedic_sim::faults::{Fault, Options, Report, run};
use serde_json::json;

/// Seeds between two lines of progress.
const PROGRESS: u64 = 5_000;

#[derive(Default)]
struct Sum {
    seeds: u64,
    requests: u64,
    violations: Vec<Report>,
    faults: BTreeMap<&'static str, u64>,
}

fn number(args: &[String], name: &str) -> Option<u64> {
    let at = args.iter().position(|a| a == name)?;
    args.get(at + 1)?.parse().ok()
}

fn show(report: &Report) {
    for violation in &report.violations {
        eprintln!(
            "seed {}, step {}, {}: {}: {}",
            report.seed, violation.step, violation.at, violation.oracle, violation.what
        );
    }
    if let Some(first) = report.violations.first() {
        first.trace.iter().for_each(|line| eprintln!("    {line}"));
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let trace = args.iter().any(|a| a == "--trace");
    let memory = args.iter().any(|a| a == "--memory").then_some(true);
    let memory = if args.iter().any(|a| a == "--sqlite") { Some(false) } else { memory };
    let mut options = Options { trace, memory, ..Options::default() };
    if let Some(steps) = number(&args, "--steps") {
        options.steps = u32::try_from(steps).unwrap_or(u32::MAX);
    }
    let (from, seeds) = match number(&args, "--seed") {
        Some(seed) => (seed, 1),
        None => (number(&args, "--from").unwrap_or(1), number(&args, "--seeds").unwrap_or(2_000)),
    };
    let threads = number(&args, "--threads").unwrap_or(1).max(1);
    let (began, next, sum) = (Instant::now(), AtomicU64::new(from), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                #[cfg(feature = "test-faults")]
                if let Some(at) = args.iter().position(|a| a == "--plant") {
                    paramedic_model::faults::plant_here(args.get(at + 1).map(String::as_str));
                }
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    take(run(seed, &options), &sum, began);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    let never: Vec<&str> = Fault::ALL.iter().map(|f| f.name()).filter(|name| !sum.faults.contains_key(name)).collect();
    let line = json!({
        "from": from,
        "seeds": sum.seeds,
        "seconds": began.elapsed().as_secs(),
        "violations": sum.violations.iter().map(|r| r.seed).collect::<Vec<_>>(),
        "requests": sum.requests,
        "faults": sum.faults,
        "never": never,
    });
    println!("{line}");
    let all_hit = never.is_empty() || seeds < 100;
    if sum.violations.is_empty() && all_hit { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn take(report: Report, sum: &Mutex<Sum>, began: Instant) {
    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
    sum.seeds += 1;
    sum.requests += report.requests;
    for (name, n) in &report.faults {
        *sum.faults.entry(*name).or_default() += n;
    }
    if !report.violations.is_empty() {
        show(&report);
        sum.violations.push(report);
    }
    if sum.seeds.is_multiple_of(PROGRESS) {
        let rate = sum.seeds as f64 / began.elapsed().as_secs_f64();
        eprintln!("{} seeds, {} with violations, {rate:.0} a second", sum.seeds, sum.violations.len());
    }
}
