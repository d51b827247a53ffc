//! What is thrown at an engine, and what must hold afterwards. A [`Scene`] is a small stream of everything that an
//! engine does: runs of each kind, pages, timers, webhooks, what cannot be decoded, other rules. [`checks`] judge it by
//! the playbook service's log of raw bytes and by the store, and return what is wrong, so that a test can also assert
//! that something is.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

pub mod alone;
pub mod checks;
pub mod outages;
pub mod pair;
pub mod scene;
pub mod servers;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// What became of one case: what it was, and what was wrong.
#[derive(Debug)]
pub struct Verdict {
    pub case: String,
    pub violations: Vec<String>,
}

/// Runs cases, so many at a time; one that breaks off is a violation like another.
pub fn judge_all<T: Send>(
    cases: Vec<(String, T)>,
    at_once: usize,
    run: impl Fn(&str, T) -> Vec<String> + Sync,
) -> Vec<Verdict> {
    let queue: Mutex<VecDeque<(String, T)>> = Mutex::new(cases.into());
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((case, what)) = next else { break };
                    let began = std::time::Instant::now();
                    let violations = catch_unwind(AssertUnwindSafe(|| run(&case, what)))
                        .unwrap_or_else(|panic| vec![format!("broke off: {}", message(&*panic))]);
                    println!("{case}: {} violations in {:?}", violations.len(), began.elapsed());
                    verdicts.lock().unwrap_or_else(PoisonError::into_inner).push(Verdict { case, violations });
                }
            });
        }
    });
    verdicts.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic").to_owned()
}

/// All that was wrong, for people.
pub fn told(verdicts: &[Verdict]) -> String {
    let wrong = verdicts.iter().filter(|v| !v.violations.is_empty());
    wrong.map(|v| format!("{}:\n    {}\n", v.case, v.violations.join("\n    "))).collect()
}

/// One line of JSON for a part of `make chaos`; fails where something was wrong.
pub fn part(name: &str, began: std::time::Instant, verdicts: &[Verdict]) {
    let violations: usize = verdicts.iter().map(|v| v.violations.len()).sum();
    println!(
        "{}",
        serde_json::json!({"part": name, "cases": verdicts.len(), "violations": violations,
                           "seconds": began.elapsed().as_secs()})
    );
    assert!(violations == 0, "{}", told(verdicts));
}

/// One line of JSON for a part that could not run here, and why.
pub fn skipped(name: &str, why: &str) {
    println!("{}", serde_json::json!({"part": name, "cases": 0, "skipped": why}));
}
