//! Matches and steps the events of some of the scopes, in order.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use paramedic_engine::{Decision, EventInput, Finished, Step};
use paramedic_formats::cmdb::CmdbFile;
use paramedic_model::{CmdbDelta, Digest, IncidentState, OwnedEvent, Span, Timestamp};
use paramedic_rulebook::{Evaluator, RuleSet};

use super::{ReplayOptions, RunsBehave};
use crate::driver::{Driver, Reply};
use crate::feed::{Sifted, sift};

/// A run or a page is answered so long after its decision.
const ANSWER: Span = Span::from_secs(1);

/// What a worker is sent.
pub(super) enum Work {
    /// Its share of a batch.
    Batch(Vec<Item>),
    /// There is no more; the last event of the file has this stamp.
    End(Option<Timestamp>),
}

/// A stamped event.
pub(super) struct Item {
    pub(super) scope: Arc<str>,
    /// `received` is its stamp.
    pub(super) event: OwnedEvent,
}

/// What a worker's scopes came to.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) matched: u64,
    pub(super) opened: u64,
    pub(super) open_at_end: u64,
    pub(super) resolved: u64,
    pub(super) runs: u64,
    pub(super) pages: u64,
    pub(super) scopes: Vec<(String, Digest)>,
}

pub(super) fn work(
    set: &Arc<RuleSet>,
    options: &ReplayOptions,
    cmdb: Option<CmdbFile>,
    receiver: &Receiver<Work>,
) -> Tally {
    let runs = match options.runs {
        RunsBehave::Ok => Reply::After(ANSWER, true),
        RunsBehave::Fail => Reply::After(ANSWER, false),
        RunsBehave::Silent => Reply::Never,
    };
    let mut driver = Driver::new(Arc::clone(set), options.limits, runs, Reply::After(ANSWER, true));
    if let Some(file) = cmdb {
        // It was tried before: a scope's name cannot make it fail.
        driver = driver.with_cmdb(move |scope| initial_cmdb(&file, scope).unwrap_or_default());
    }
    let mut evaluator = Evaluator::new(Arc::clone(set));
    let mut tally = Tally::default();
    // Ends early only when the gatherer has failed: then nobody reads the tally.
    while let Ok(work) = receiver.recv() {
        match work {
            Work::Batch(items) => {
                for item in items {
                    tally.matched += u64::from(take(&mut driver, &mut evaluator, item));
                }
                tally.count(&driver.finish());
            }
            Work::End(last) => {
                if let Some(last) = last {
                    driver.reach(last);
                }
                tally.count(&driver.finish());
                break;
            }
        }
    }
    for (name, state) in driver.shard.scopes() {
        tally.open_at_end += state.incidents.values().filter(|i| i.state.is_open()).count() as u64;
        let head = &state.head;
        let decisions = head.decisions_at_event.as_ref().unwrap_or(&head.decisions);
        tally.scopes.push((name.to_owned(), decisions.digest()));
    }
    tally
}

/// What the file says, for a scope that begins with it.
pub(super) fn initial_cmdb(file: &CmdbFile, scope: &str) -> Result<CmdbDelta, String> {
    file.delta(scope, "replay", Timestamp::EPOCH, &|_| None)
}

/// What matches nothing ends here: the clock moves with the next one that does, or at the end.
fn take(driver: &mut Driver, evaluator: &mut Evaluator, item: Item) -> bool {
    let Sifted { matches, matched, goes_on } = sift(evaluator, &item.event);
    if goes_on {
        let set = evaluator.set().digest;
        driver.event(item.event.received, &item.scope, EventInput { event: item.event, matches, set });
    }
    matched
}

impl Tally {
    fn count(&mut self, finished: &Finished) {
        for (_, decided) in &finished.decided {
            let Decision::Step(step) = &decided.decision else { continue };
            match step {
                Step::IncidentOpened { .. } => self.opened += 1,
                Step::IncidentMoved { to: IncidentState::Resolved, .. } => self.resolved += 1,
                Step::RunDecided { .. } => self.runs += 1,
                Step::PageDecided { .. } => self.pages += 1,
                _ => {}
            }
        }
    }
}
