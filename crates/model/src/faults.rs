//! Faults on demand: crash points and planted bugs, to prove that tests can fail. Only with the feature `test-faults`,
//! which no release has; without it both functions are constants.

/// Bugs that can be planted, by name: each must be caught by a test (docs/reliability.md).
pub const PLANTED: [&str; 15] = [
    "offset_before_state",
    "random_key",
    "attempt_in_key",
    "no_epoch_check",
    "started_after_send",
    "ack_before_commit",
    "retry_of_unknown",
    "slot_freed_on_unknown",
    "guard_error_allows",
    "timers_on_the_wall_clock",
    "chain_skips_a_row",
    "replay_acts",
    "late_reply_dropped",
    "position_not_compared",
    "restored_store_trusted",
];

/// Where a process can be made to end, by name, and in how many places of the source each stands.
pub const POINTS: [(&str, usize); 23] = [
    // Taking: a batch was taken from the sources; a source that was never seen is written down.
    ("gather.taken", 1),
    ("begin.before", 2),
    ("begin.after", 2),
    // Deciding: in memory only.
    ("step.done", 1),
    ("timer.fired", 1),
    ("rules.published", 1),
    // The one transaction; in the second store also when it has left, and nobody knows what became of it.
    ("commit.before", 1),
    ("commit.after", 1),
    ("postgres.commit_sent", 1),
    // Acting.
    ("dispatch.started.before", 1),
    ("dispatch.started.after", 1),
    ("dispatch.send", 1),
    ("dispatch.reply", 1),
    ("dispatch.saved", 1),
    // Changing the owner.
    ("rebalance.assigned", 1),
    ("rebalance.loaded", 1),
    ("rebalance.revoked", 1),
    // What comes in by HTTP; in each store the transaction that takes it.
    ("webhook.before", 1),
    ("webhook.after", 1),
    ("inbox.append.before", 2),
    ("inbox.append.after", 2),
    // Tables that become newer, in each store; what has ended, archived and not dropped yet.
    ("migration", 2),
    ("retention.archived", 4),
];

#[cfg(feature = "test-faults")]
mod on {
    use std::cell::RefCell;
    use std::io::Write as _;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
    use std::sync::{Mutex, PoisonError};

    use crate::Span;

    static EVERYWHERE: Mutex<Option<String>> = Mutex::new(None);
    static CRASH: Mutex<Option<(String, u32)>> = Mutex::new(None);
    static SHIFT: AtomicI64 = AtomicI64::new(0);

    thread_local! {
        static HERE: RefCell<Option<String>> = const { RefCell::new(None) };
    }

    /// Plants a bug in the whole process.
    pub fn plant(name: &str) {
        *EVERYWHERE.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
    }

    /// Plants a bug in this thread, or takes it back.
    pub fn plant_here(name: Option<&str>) {
        HERE.with(|here| *here.borrow_mut() = name.map(str::to_owned));
    }

    /// Whether this bug is planted.
    pub fn planted(name: &str) -> bool {
        HERE.with(|here| here.borrow().as_deref() == Some(name))
            || EVERYWHERE.lock().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(name)
    }

    /// A number that was never given before: what a key must not be made of.
    pub fn nonce() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends the process, without any clean-up, when this point is reached for the `hits`th time.
    pub fn crash_at(point: &str, hits: u32) {
        *CRASH.lock().unwrap_or_else(PoisonError::into_inner) = Some((point.to_owned(), hits));
    }

    /// Sets this process's wall clock so many milliseconds from the true time.
    pub fn shift_clock(millis: i64) {
        SHIFT.store(millis, Ordering::Relaxed);
    }

    /// How far this process's wall clock is from the true time.
    pub fn clock_shift() -> Span {
        Span::from_millis(SHIFT.load(Ordering::Relaxed))
    }

    /// A named place where a process may end.
    pub fn point(name: &str) {
        let mut crash = CRASH.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, left)) = crash.as_mut().filter(|(at, _)| at == name) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                // Tests tell by it that the process ended here, and not for another reason.
                let _ = writeln!(std::io::stderr(), "crash point {at}");
                std::process::abort();
            }
        }
    }
}

#[cfg(feature = "test-faults")]
pub use on::{clock_shift, crash_at, nonce, plant, plant_here, planted, point, shift_clock};

/// Whether this bug is planted: never, in this build.
#[cfg(not(feature = "test-faults"))]
#[inline(always)]
pub const fn planted(_name: &str) -> bool {
    false
}

/// A number that was never given before: nothing asks for one, in this build.
#[cfg(not(feature = "test-faults"))]
#[inline(always)]
pub const fn nonce() -> u64 {
    0
}

/// How far this process's wall clock is from the true time: not at all, in this build.
#[cfg(not(feature = "test-faults"))]
#[inline(always)]
pub const fn clock_shift() -> crate::Span {
    crate::Span::ZERO
}

/// A named place where a process may end: nothing, in this build.
#[cfg(not(feature = "test-faults"))]
#[inline(always)]
pub const fn point(_name: &str) {}
