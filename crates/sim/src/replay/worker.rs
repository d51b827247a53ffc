//! Steps the events of some of the scopes, in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use paramedic_engine::{Decided, Decision, EventInput, Step, event_input_id, rule_failed};
use paramedic_formats::cmdb::CmdbFile;
use paramedic_model::{CmdbDelta, Digest, IncidentState, OwnedEvent, RunState, Span, Timestamp};
use paramedic_rulebook::{Matches, RuleSet};

use super::causes::Lines;
use super::compare::{Comparer, Differences};
use super::list::Listing;
use super::{ReplayOptions, RuleFailures, RunsBehave};
use crate::driver::{Driver, Reply};
use crate::feed::Sifted;

/// A run or a page is answered so long after its decision.
const ANSWER: Span = Span::from_secs(1);

/// What a worker is sent.
pub(super) enum Work {
    /// Its share of a batch.
    Batch(Vec<Item>),
    /// There is no more; the last event of the file has this stamp.
    End(Option<Timestamp>),
}

/// A stamped event that concerns a rule set.
pub(super) struct Item {
    pub(super) scope: Arc<str>,
    /// Its line, from 1.
    pub(super) line: u64,
    /// `received` is its stamp.
    pub(super) event: Box<OwnedEvent>,
    /// What matching said, by rule set.
    pub(super) sifted: Vec<Sifted>,
}

/// What a worker's scopes came to.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) opened: u64,
    pub(super) open_at_end: u64,
    pub(super) resolved: u64,
    pub(super) runs: u64,
    pub(super) would_be: u64,
    pub(super) proposed: u64,
    pub(super) denied: u64,
    pub(super) skipped: u64,
    pub(super) pages: u64,
    pub(super) emits: u64,
    pub(super) suppressed: u64,
    pub(super) failed: BTreeMap<(String, String), RuleFailures>,
    pub(super) scopes: Vec<(String, Digest)>,
}

pub(super) fn work(
    set: &Arc<RuleSet>,
    options: &ReplayOptions,
    cmdb: Option<CmdbFile>,
    receiver: &Receiver<Work>,
) -> (Tally, Option<Listing>) {
    let mut one = One::new(set, options, cmdb);
    let mut listing = options.list.map(Listing::new);
    // Ends early only when the gatherer has failed: then nobody reads the tally.
    while let Ok(work) = receiver.recv() {
        let mut lines = Lines::new();
        let ended = match work {
            Work::Batch(items) => {
                for mut item in items {
                    if listing.is_some() {
                        note(&mut lines, &item);
                    }
                    let sifted = item.sifted.pop().unwrap_or_default();
                    one.event(item, sifted.matches);
                }
                false
            }
            Work::End(last) => {
                one.reach(last);
                true
            }
        };
        one.pass(|decided| {
            if let Some(listing) = &mut listing {
                listing.take(decided, &lines);
            }
        });
        if ended {
            break;
        }
    }
    (one.tally(), listing)
}

/// What comes again at the same instant decides nothing: the first is meant.
fn note(lines: &mut Lines, item: &Item) {
    let event = (Arc::clone(&item.scope), item.event.received, event_input_id(&item.event));
    lines.entry(event).or_insert(item.line);
}

/// The same events under two sets, in step.
pub(super) fn work_both(
    (tried, other): &(Arc<RuleSet>, Arc<RuleSet>),
    options: &ReplayOptions,
    cmdb: Option<CmdbFile>,
    receiver: &Receiver<Work>,
) -> (Tally, Tally, Differences) {
    let mut comparer = Comparer::new(tried, other, options.differences);
    let mut one = One::new(tried, options, cmdb.clone());
    let mut two = One::new(other, options, cmdb);
    while let Ok(work) = receiver.recv() {
        let mut lines = Lines::new();
        let ended = match work {
            Work::Batch(items) => {
                for mut item in items {
                    let (b, a) = (item.sifted.pop().unwrap_or_default(), item.sifted.pop().unwrap_or_default());
                    note(&mut lines, &item);
                    // Both clocks get there, so that what both decide is compared in the order of time.
                    one.step(&item, a);
                    two.step(&item, b);
                }
                false
            }
            Work::End(last) => {
                one.reach(last);
                two.reach(last);
                true
            }
        };
        one.pass(|tried| two.pass(|other| comparer.take(tried, other, &lines)));
        if ended {
            break;
        }
    }
    (one.tally(), two.tally(), comparer.finish())
}

/// One rule set under way.
struct One {
    driver: Driver,
    set: Digest,
    tally: Tally,
}

impl One {
    fn new(set: &Arc<RuleSet>, options: &ReplayOptions, cmdb: Option<CmdbFile>) -> Self {
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
        Self { driver, set: set.digest, tally: Tally::default() }
    }

    /// The clock moves with it: of what matched nothing before it, nobody tells.
    fn event(&mut self, item: Item, matches: Matches) {
        let input = EventInput { event: *item.event, matches, set: self.set };
        self.driver.event(input.event.received, &item.scope, input);
    }

    /// An event that concerns this set, or another one.
    fn step(&mut self, item: &Item, sifted: Sifted) {
        if sifted.goes_on {
            let (scope, event) = (Arc::clone(&item.scope), item.event.clone());
            let item = Item { scope, line: item.line, event, sifted: Vec::new() };
            self.event(item, sifted.matches);
        } else {
            self.driver.reach(item.event.received);
        }
    }

    fn reach(&mut self, last: Option<Timestamp>) {
        if let Some(last) = last {
            self.driver.reach(last);
        }
    }

    /// Ends a batch.
    fn pass(&mut self, read: impl FnOnce(&[(Arc<str>, Decided)])) {
        let Self { driver, tally, .. } = self;
        driver.pass(|decided| {
            tally.count(decided);
            read(decided);
        });
    }

    fn tally(mut self) -> Tally {
        for (name, state) in self.driver.shard.scopes() {
            self.tally.open_at_end += state.incidents.values().filter(|i| i.state.is_open()).count() as u64;
            let head = &state.head;
            let decisions = head.decisions_at_event.as_ref().unwrap_or(&head.decisions);
            self.tally.scopes.push((name.to_owned(), decisions.digest()));
        }
        self.tally
    }
}

/// What the file says, for a scope that begins with it.
pub(super) fn initial_cmdb(file: &CmdbFile, scope: &str) -> Result<CmdbDelta, String> {
    file.delta(scope, "replay", Timestamp::EPOCH, &|_| None)
}

impl Tally {
    fn count(&mut self, decided: &[(Arc<str>, Decided)]) {
        for (_, decided) in decided {
            if let Some(failed) = rule_failed(decided) {
                let of = (failed.rulebook.to_owned(), failed.rule.to_owned());
                self.failed.entry(of).or_insert_with(|| RuleFailures::new(&failed)).count(&failed);
            }
            let Decision::Step(step) = &decided.decision else { continue };
            match step {
                Step::IncidentOpened { .. } => self.opened += 1,
                Step::IncidentMoved { to: IncidentState::Resolved, .. } => self.resolved += 1,
                Step::RunDecided { run, .. } => {
                    self.runs += 1;
                    self.would_be += u64::from(run.state == RunState::WouldBe);
                    self.proposed += u64::from(run.state == RunState::Proposed);
                }
                Step::RunReported { report } => self.denied += u64::from(report.state == RunState::Denied),
                Step::RemedySkipped { .. } => self.skipped += 1,
                Step::PageDecided { .. } => self.pages += 1,
                Step::EmitDecided { .. } => self.emits += 1,
                Step::Suppressed { .. } => self.suppressed += 1,
                _ => {}
            }
        }
    }
}
