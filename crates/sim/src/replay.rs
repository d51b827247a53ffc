//! What would have happened: a file of events through the real engine, in the events' own time.
//!
//! One stage gathers: it decodes and matches (in parallel where there are threads), stamps in one pass over the whole file,
//! and counts. Each scope belongs to one worker, which steps in order what concerns a rule. So the digests depend on the
//! file, the rules and the options, and never on threads or batches.

mod causes;
mod compare;
mod gather;
mod list;
mod matching;
mod messages;
mod worker;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use paramedic_engine::{Limits, RuleFailed};
use paramedic_formats::Format;
use paramedic_formats::cmdb::CmdbFile;
use paramedic_model::{Digest, Timestamp, combine};
use paramedic_rulebook::{EnrichFailures, RuleSet, ScopeExpr};
use serde::Serialize;

pub use causes::EventRef;
pub use compare::{Comparison, Difference, Kind, compare, compare_messages};
use gather::{Gathered, gather};
pub use list::Listed;
use list::Listing;

pub use messages::{Arrived, Lines, Messages};
use worker::{Tally, Work};

/// Batches that wait for a worker, at most.
const WAITING: usize = 4;
/// How many lines that could not be decoded are kept for people.
pub(crate) const KEPT_UNDECODABLE: usize = 20;

/// How runs behave in a replay. Pages are always delivered, one second after their decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunsBehave {
    /// A run reports success one second after its decision.
    #[default]
    Ok,
    /// A run never reports.
    Silent,
    /// A run reports failure one second after its decision.
    Fail,
}

/// How to replay.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// How a line is read.
    pub format: &'static Format,
    /// Which scope an event belongs to; `None`: `default`.
    pub scope: Option<ScopeExpr>,
    /// The source's name, part of input ids: with the name of a live source, the digests are those of live.
    pub source: String,
    /// Sort the events by (time, id) first. Otherwise the file's order stands, and an event that is older than
    /// one before it gets that one's stamp.
    pub sort_by_time: bool,
    /// What runs report.
    pub runs: RunsBehave,
    /// Worker threads, each with some of the scopes; 0 is 1.
    pub threads: usize,
    /// Events a batch; 0 is 1.
    pub batch: usize,
    /// Lines that a thread decodes and matches at once; 0: as many as are fast.
    pub lines: usize,
    /// A CMDB file's text, with which every scope begins.
    pub cmdb: Option<String>,
    /// The engine's bounds.
    pub limits: Limits,
    /// Where two sets are compared: so many differences are kept, further ones are counted.
    pub differences: usize,
    /// The incidents that are opened are listed: so many of them, further ones are counted.
    pub list: Option<usize>,
}

impl ReplayOptions {
    /// One thread, batches of 250 (what a larger one decides does not stay in the processor's memory), no CMDB, runs that work, scope `default`, source `replay`.
    pub fn new(format: &'static Format) -> Self {
        Self {
            format,
            scope: None,
            source: "replay".to_owned(),
            sort_by_time: false,
            runs: RunsBehave::Ok,
            threads: 1,
            batch: 250,
            lines: 0,
            cmdb: None,
            limits: Limits::default(),
            differences: 10_000,
            list: None,
        }
    }
}

/// What a replay came to. Its JSON has exactly these names. What rulebooks with autonomy `observe` would have
/// done is counted like the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Events decoded.
    pub events: u64,
    /// Events with at least one match.
    pub matched: u64,
    /// Lines that could not be decoded.
    pub dead_letter: u64,
    /// Incidents opened, reopenings not among them.
    pub incidents_opened: u64,
    /// Incidents that are neither resolved nor closed nor canceled at the last event.
    pub incidents_open_at_end: u64,
    /// Moves to resolved.
    pub incidents_resolved: u64,
    /// Runs decided, would-be and proposed ones among them.
    pub runs: u64,
    /// Pages decided.
    pub escalations: u64,
    /// Events to topics decided, would-be ones among them. Not in the JSON where there is none.
    #[serde(skip_serializing_if = "is_none")]
    pub emits: u64,
    /// Times that an incident was held back by a suppression.
    pub suppressed: u64,
    /// Stamp of the first event.
    pub first_event: Option<Timestamp>,
    /// Stamp of the last event.
    pub last_event: Option<Timestamp>,
    /// Of all input ids, in order.
    pub inputs_digest: Digest,
    /// Of all decisions to the last event's input.
    pub decisions_digest: Digest,
    /// Batches: events / batch, rounded up.
    pub batches: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// Of the runs: those that would have been, as their rulebook asks for no more.
    pub runs_would_be: u64,
    /// Of the runs: those that were proposed to a person.
    pub runs_proposed: u64,
    /// Of the runs: those to which a guard said no.
    pub runs_denied: u64,
    /// Remedy steps that were passed over: `only_if`, `may`, a target or a parameter that there is not.
    pub remedies_skipped: u64,
    /// The first incidents that were opened, by time, where they are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incidents: Option<Vec<Listed>>,
    /// How many more there are, where they are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incidents_left_out: Option<u64>,
    /// Events that are more than a minute older than one before them: they have that one's stamp.
    #[serde(skip)]
    pub late: u64,
    /// The first lines that could not be decoded, by number from 1, with the reason.
    #[serde(skip)]
    pub undecodable: Vec<(u64, String)>,
    /// Rules that failed, by name.
    #[serde(skip)]
    pub failed: Vec<RuleFailures>,
    /// Steps of `enrich` that failed.
    #[serde(skip)]
    pub enrich_failed: EnrichFailures,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// What a rule that failed came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFailures {
    /// `rulebook/rule`.
    pub rule: String,
    /// Where it failed first: file and line.
    pub at: String,
    /// Why, first.
    pub why: String,
    /// How often, in all.
    pub times: u64,
    /// In some scope it was switched off.
    pub switched_off: bool,
}

impl RuleFailures {
    fn new(first: &RuleFailed<'_>) -> Self {
        Self {
            rule: format!("{}/{}", first.rulebook, first.rule),
            at: first.at.to_owned(),
            why: first.why.to_owned(),
            times: 0,
            switched_off: false,
        }
    }

    fn count(&mut self, one: &RuleFailed<'_>) {
        self.times += 1;
        self.switched_off |= one.is_off;
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The events cannot be read.
    #[error("reading line {line}: {cause}")]
    Read {
        /// From 1.
        line: u64,
        /// Why.
        cause: std::io::Error,
    },
    /// The CMDB file cannot be used.
    #[error("{0}")]
    Cmdb(String),
    /// A worker ended early: a fault of ours.
    #[error("a worker of the replay ended early")]
    Worker,
}

/// Replays JSON lines, one message a line; blank lines are passed over. `progress` is told the number of lines
/// read so far, now and then.
///
/// # Errors
/// When the lines or the CMDB cannot be read. A line that cannot be decoded is counted, and is no error.
pub fn replay(
    set: Arc<RuleSet>,
    lines: impl BufRead,
    options: &ReplayOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, ReplayError> {
    replay_messages(set, &mut Lines::new(lines), options, progress)
}

/// As [`replay`], of messages from wherever they come.
///
/// # Errors
/// As [`replay`].
pub fn replay_messages(
    set: Arc<RuleSet>,
    messages: &mut dyn Messages,
    options: &ReplayOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, ReplayError> {
    let (gathered, done, took) = drive(messages, options, &[Arc::clone(&set)], progress, |cmdb, receiver| {
        worker::work(&set, options, cmdb, receiver)
    })?;
    let (tallies, lists): (Vec<Tally>, Vec<Option<Listing>>) = done.into_iter().unzip();
    let mut report = report(&gathered, 0, &tallies, took);
    if options.list.is_some() {
        let (listed, left_out) = Listing::join(lists.into_iter().flatten().collect());
        (report.incidents, report.incidents_left_out) = (Some(listed), Some(left_out));
    }
    Ok(report)
}

/// Gathers the lines for so many workers as there are threads. Gives what each of them came to, and how long it took, in
/// milliseconds.
fn drive<T: Send>(
    messages: &mut dyn Messages,
    options: &ReplayOptions,
    sets: &[Arc<RuleSet>],
    progress: &mut dyn FnMut(u64),
    work: impl Fn(Option<CmdbFile>, &Receiver<Work>) -> T + Sync,
) -> Result<(Gathered, Vec<T>, u64), ReplayError> {
    let began = Instant::now();
    let cmdb = options.cmdb.as_deref().map(read_cmdb).transpose()?;
    let (gathered, done) = std::thread::scope(|threads| {
        let mut senders = Vec::new();
        let mut workers = Vec::new();
        for _ in 0..options.threads.max(1) {
            let (sender, receiver) = bounded(WAITING);
            senders.push(sender);
            let (work, cmdb) = (&work, cmdb.clone());
            workers.push(threads.spawn(move || work(cmdb, &receiver)));
        }
        let gathered = gather(options, sets, senders, messages, progress);
        let done: Result<Vec<T>, _> = workers.into_iter().map(|w| w.join()).collect();
        // What kept the gatherer from going on matters more than what that did to the workers.
        Ok::<_, ReplayError>((gathered?, done.map_err(|_| ReplayError::Worker)?))
    })?;
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok((gathered, done, took))
}

/// Reads the file, and tries it: what it says does not depend on the scope's name.
fn read_cmdb(text: &str) -> Result<CmdbFile, ReplayError> {
    let file = CmdbFile::read(text).map_err(ReplayError::Cmdb)?;
    worker::initial_cmdb(&file, crate::DEFAULT_SCOPE).map_err(ReplayError::Cmdb)?;
    Ok(file)
}

/// Each scope belongs to one worker: a rule may have failed in several.
fn failed(tallies: &[Tally]) -> Vec<RuleFailures> {
    let mut all: BTreeMap<&(String, String), RuleFailures> = BTreeMap::new();
    for (rule, of_one) in tallies.iter().flat_map(|t| &t.failed) {
        match all.get_mut(rule) {
            Some(known) => {
                known.times += of_one.times;
                known.switched_off |= of_one.switched_off;
            }
            None => {
                all.insert(rule, of_one.clone());
            }
        }
    }
    all.into_values().collect()
}

/// Of the set at this place among those that were replayed.
fn report(gathered: &Gathered, of: usize, tallies: &[Tally], duration_ms: u64) -> Report {
    let sum = |count: fn(&Tally) -> u64| tallies.iter().map(count).sum();
    Report {
        events: gathered.events,
        matched: gathered.matched.get(of).copied().unwrap_or_default(),
        dead_letter: gathered.dead_letter,
        incidents_opened: sum(|t| t.opened),
        incidents_open_at_end: sum(|t| t.open_at_end),
        incidents_resolved: sum(|t| t.resolved),
        runs: sum(|t| t.runs),
        escalations: sum(|t| t.pages),
        emits: sum(|t| t.emits),
        suppressed: sum(|t| t.suppressed),
        first_event: gathered.first,
        last_event: gathered.last,
        inputs_digest: gathered.inputs.digest(),
        decisions_digest: combine(tallies.iter().flat_map(|t| t.scopes.iter().map(|(name, d)| (name.as_str(), *d)))),
        batches: gathered.batches,
        duration_ms,
        runs_would_be: sum(|t| t.would_be),
        runs_proposed: sum(|t| t.proposed),
        runs_denied: sum(|t| t.denied),
        remedies_skipped: sum(|t| t.skipped),
        incidents: None,
        incidents_left_out: None,
        late: gathered.late,
        undecodable: gathered.undecodable.clone(),
        failed: failed(tallies),
        enrich_failed: gathered.enrich_failed.get(of).cloned().unwrap_or_default(),
    }
}
