//! What has ended is archived and dropped, once an hour, a bounded step at a time.

use std::thread;
use std::time::{Duration, Instant};

use paramedic_store::Retained;

use crate::clock::wall;
use crate::life::Shell;
use crate::shared::ALONE;

/// How often.
const EVERY: Duration = Duration::from_secs(3600);
/// The first time, so long after the start: catching up comes first.
const FIRST: Duration = Duration::from_secs(if cfg!(feature = "test-faults") { 2 } else { 60 });
/// How long the store belongs to others between two steps.
const BREATHE: Duration = Duration::from_millis(200);

/// Runs until the process stops. Of several engines, the one that owns shard 0 does it.
pub(crate) fn keep(shell: &Shell) {
    let mut next = Instant::now() + FIRST;
    while !shell.stop.asked() {
        if Instant::now() < next || shell.owned.epoch(ALONE).is_none() {
            thread::sleep(BREATHE);
            continue;
        }
        next = Instant::now() + EVERY;
        once(shell);
    }
}

fn once(shell: &Shell) {
    let config = &shell.parts.config;
    let archive = config.data.join("archive");
    let mut all = Retained::default();
    while !shell.stop.asked() {
        match shell.parts.store.retain(&config.retention(), wall(), &archive) {
            Ok(done) if done == Retained::default() => break,
            Ok(done) => {
                all.incidents += done.incidents;
                all.history += done.history;
                all.dead_letters += done.dead_letters;
                all.inbox += done.inbox;
                all.journal += done.journal;
                all.emits += done.emits;
            }
            Err(error) => {
                tracing::error!(%error, "what has ended cannot be archived; it is tried again in an hour");
                break;
            }
        }
        thread::sleep(BREATHE);
    }
    if all != Retained::default() {
        tracing::info!(
            incidents = all.incidents,
            history = all.history,
            dead_letters = all.dead_letters,
            inbox = all.inbox,
            journal = all.journal,
            emits = all.emits,
            "archived and dropped"
        );
    }
}
