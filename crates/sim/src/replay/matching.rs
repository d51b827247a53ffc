//! Decodes, stamps and matches lines. What matches nothing ends here, still borrowed from the text: most of a history does.

use std::ops::Range;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use paramedic_engine::write_input_id;
use paramedic_formats::{Message, Undecodable};
use paramedic_model::{Event, OwnedEvent, Span, Timestamp};
use paramedic_rulebook::{EnrichFailures, Evaluator, RuleSet};

use super::messages::Arrived;
use super::worker::Item;
use super::{ReplayError, ReplayOptions};
use crate::feed::{Sifted, sift};

/// Lines of a job where one thread does all: so few that they stay in the processor's memory.
const LINES: usize = 256;
/// And where jobs go from thread to thread.
const LINES_OF_SEVERAL: usize = 2_048;
/// Jobs that wait for a thread, or their results for the gatherer.
const AHEAD: usize = 2;
/// An event is decoded before its stamp is known, as if received then: what lacks a time has this one.
pub(super) const UNSTAMPED: Timestamp = Timestamp::MAX;
/// As far out of order as nobody has a file on purpose.
const LATE: Span = Span::from_secs(60);
/// Formats set a `began` that is further in the future of the stamp to the stamp.
const FUTURE: Span = Span::from_secs(300);

/// An event with its line and scope.
pub(super) type Kept = (u64, Arc<str>, OwnedEvent);

/// What is matched at once.
pub(super) enum Job {
    /// Lines of a text.
    Lines(Vec<u8>, Vec<Line>),
    /// Events that were kept, and sorted.
    Kept(Vec<Kept>),
}

/// A message.
pub(super) struct Line {
    /// Where it stands in the text.
    pub(super) at: Range<usize>,
    pub(super) arrived: Arrived,
}

/// What a job came to.
#[derive(Default)]
pub(super) struct Done {
    pub(super) events: usize,
    /// Input ids, in order, each with a line feed behind it.
    pub(super) ids: Vec<u8>,
    pub(super) first: Option<Timestamp>,
    /// The stamp of the last event so far.
    pub(super) last: Option<Timestamp>,
    /// Events that are far older than one before them, where the order is the file's.
    pub(super) late: u64,
    pub(super) bad: Vec<Bad>,
    /// Events with at least one match, by rule set.
    pub(super) matched: Vec<u64>,
    /// Steps of `enrich` that failed, by rule set.
    pub(super) enrich_failed: Vec<EnrichFailures>,
    /// Events that concern a rule set, each with its place among all.
    pub(super) concern: Vec<(usize, Item)>,
    /// All events, where they are to be sorted first.
    pub(super) kept: Vec<Kept>,
}

/// A line that could not be decoded.
pub(super) struct Bad {
    pub(super) line: u64,
    pub(super) id: String,
    pub(super) why: Undecodable,
}

/// A job's events, decoded.
#[derive(Default)]
struct Part<'a> {
    events: Vec<Event<'a>>,
    /// Of each event, its line, its scope, and when it arrived.
    from: Vec<(u64, Arc<str>, Option<Timestamp>)>,
    /// With how many events came before.
    bad: Vec<(usize, Bad)>,
}

/// Who matches: this thread, or several, in turn.
pub(super) enum Pool<'a> {
    One(Box<Matcher<'a>>, Option<Timestamp>),
    Several(Vec<(Sender<Job>, Receiver<Done>)>, Turns),
}

/// How many jobs were given out, and how many are done.
#[derive(Default)]
pub(super) struct Turns {
    given: usize,
    taken: usize,
}

impl<'a> Pool<'a> {
    pub(super) fn one(options: &'a ReplayOptions, sets: &[Arc<RuleSet>]) -> Self {
        Self::One(Box::new(Matcher::new(options, sets)), None)
    }

    /// Each thread waits for the stamp that the one before it ends with, and gives on its own before it matches.
    pub(super) fn several<'s>(
        threads: &'s std::thread::Scope<'s, '_>,
        n: usize,
        options: &'s ReplayOptions,
        sets: &'s [Arc<RuleSet>],
    ) -> Self {
        let ring: Vec<_> = (0..n).map(|_| bounded::<Option<Timestamp>>(1)).collect();
        let ends = (0..n).filter_map(|i| Some((ring.get(i)?.1.clone(), ring.get((i + 1) % n)?.0.clone())));
        let matchers = ends.map(|(before, after)| {
            let (give, jobs) = bounded(AHEAD);
            let (tell, done) = bounded(AHEAD);
            threads.spawn(move || {
                let mut matcher = Matcher::new(options, sets);
                // One that fails ends its neighbours, and the gatherer notices.
                for job in jobs {
                    let turn = |part: &Part<'_>| {
                        let last = before.recv().ok()?;
                        after.send(part.last_after(last)).ok()?;
                        Some(last)
                    };
                    let Some(()) = matcher.run(job, turn).and_then(|done| tell.send(done).ok()) else { return };
                }
            });
            (give, done)
        });
        let matchers = matchers.collect();
        // There is room for one.
        if let Some((first, _)) = ring.first() {
            let _ = first.send(None);
        }
        Self::Several(matchers, Turns::default())
    }

    /// Lines of a job.
    pub(super) fn lines(&self, options: &ReplayOptions) -> usize {
        match self {
            _ if options.lines > 0 => options.lines,
            Pool::One(..) => LINES,
            Pool::Several(..) => LINES_OF_SEVERAL,
        }
    }

    /// Gives a job out. Whichever is done next, in the order of the jobs.
    pub(super) fn give(&mut self, job: Job) -> Result<Option<Done>, ReplayError> {
        match self {
            Pool::One(matcher, last) => Ok(matcher.run(job, |part| {
                let before = *last;
                *last = part.last_after(before);
                Some(before)
            })),
            Pool::Several(matchers, turns) => {
                let at = turns.given % matchers.len();
                let to = matchers.get(at).ok_or(ReplayError::Worker)?;
                to.0.send(job).map_err(|_| ReplayError::Worker)?;
                turns.given += 1;
                if turns.given - turns.taken < matchers.len() * AHEAD { Ok(None) } else { self.next() }
            }
        }
    }

    /// The next of those that were given out.
    pub(super) fn next(&mut self) -> Result<Option<Done>, ReplayError> {
        let Pool::Several(matchers, turns) = self else { return Ok(None) };
        if turns.taken == turns.given {
            return Ok(None);
        }
        let from = matchers.get(turns.taken % matchers.len()).ok_or(ReplayError::Worker)?;
        turns.taken += 1;
        from.1.recv().map(Some).map_err(|_| ReplayError::Worker)
    }
}

/// Matches under every rule set.
pub(super) struct Matcher<'a> {
    options: &'a ReplayOptions,
    evaluators: Vec<Evaluator>,
    /// An input id in the making.
    id: String,
}

impl<'a> Matcher<'a> {
    fn new(options: &'a ReplayOptions, sets: &[Arc<RuleSet>]) -> Self {
        let evaluators = sets.iter().map(|set| Evaluator::new(Arc::clone(set))).collect();
        Self { options, evaluators, id: String::new() }
    }

    /// `turn` is told what was decoded, and tells the stamp before.
    fn run(&mut self, job: Job, turn: impl FnOnce(&Part<'_>) -> Option<Option<Timestamp>>) -> Option<Done> {
        match job {
            Job::Lines(text, lines) => {
                let part = decode(self.options, &text, &lines);
                if self.options.sort_by_time {
                    turn(&Part::default())?;
                    return Some(part.keep());
                }
                let before = turn(&part)?;
                Some(self.take(part, before))
            }
            Job::Kept(events) => {
                let mut part = Part::default();
                for (line, scope, event) in events {
                    part.from.push((line, scope, None));
                    part.events.push(event);
                }
                let before = turn(&part)?;
                Some(self.take(part, before))
            }
        }
    }

    fn take(&mut self, part: Part<'_>, before: Option<Timestamp>) -> Done {
        let mut done = Done { last: before, events: part.events.len(), ..Done::default() };
        done.matched.resize(self.evaluators.len(), 0);
        let mut bad = part.bad.into_iter().peekable();
        for (n, (mut event, (line, scope, arrived))) in part.events.into_iter().zip(part.from).enumerate() {
            while let Some((_, bad)) = bad.next_if(|(before, _)| *before <= n) {
                done.add_bad(bad);
            }
            let stamp = stamp(done.last, arrived, event.time);
            done.late += u64::from(arrived.is_none() && event.time != UNSTAMPED && stamp.since(event.time) > LATE);
            put_stamp(&mut event, stamp);
            done.first.get_or_insert(stamp);
            done.last = Some(stamp);
            self.id.clear();
            write_input_id(&event, &mut self.id);
            done.add_id(&self.id);
            let sifted = self.sift(&event, &mut done.matched);
            if !sifted.is_empty() {
                done.concern.push((n, Item { scope, line, event: Box::new(event.into_owned()), sifted }));
            }
        }
        bad.for_each(|(_, bad)| done.add_bad(bad));
        done.enrich_failed = self.evaluators.iter_mut().map(Evaluator::take_enrich_failures).collect();
        done
    }

    /// By rule set; empty where it concerns none.
    fn sift(&mut self, event: &Event<'_>, matched: &mut [u64]) -> Vec<Sifted> {
        let mut all: Vec<Sifted> = Vec::new();
        for (at, (evaluator, matched)) in self.evaluators.iter_mut().zip(matched).enumerate() {
            let sifted = sift(evaluator, event);
            *matched += u64::from(sifted.matched);
            if sifted.goes_on {
                all.resize_with(at, Sifted::default);
                all.push(sifted);
            }
        }
        if !all.is_empty() {
            all.resize_with(self.evaluators.len(), Sifted::default);
        }
        all
    }
}

impl Part<'_> {
    /// The last stamp, after these.
    fn last_after(&self, before: Option<Timestamp>) -> Option<Timestamp> {
        let all = self.events.iter().zip(&self.from);
        all.fold(before, |last, (event, (_, _, arrived))| Some(stamp(last, *arrived, event.time)))
    }

    fn keep(self) -> Done {
        let mut done = Done::default();
        self.bad.into_iter().for_each(|(_, bad)| done.add_bad(bad));
        let from = self.from.into_iter().zip(self.events);
        done.kept = from.map(|((line, scope, _), event)| (line, scope, event.into_owned())).collect();
        done
    }
}

impl Done {
    fn add_bad(&mut self, bad: Bad) {
        self.add_id(&bad.id);
        self.bad.push(bad);
    }

    fn add_id(&mut self, id: &str) {
        self.ids.extend_from_slice(id.as_bytes());
        self.ids.push(b'\n');
    }
}

/// An event's stamp is when it arrived, or else its time, never below the last stamp; with neither it has the last.
fn stamp(last: Option<Timestamp>, arrived: Option<Timestamp>, time: Timestamp) -> Timestamp {
    let time = arrived.unwrap_or(time);
    match last {
        _ if time != UNSTAMPED => time.max(last.unwrap_or(time)),
        last => last.unwrap_or(Timestamp::EPOCH),
    }
}

fn put_stamp(event: &mut Event<'_>, stamp: Timestamp) {
    event.received = stamp;
    event.time = event.time.min(stamp);
    if event.began.is_some_and(|began| began.since(stamp) > FUTURE) {
        event.began = Some(stamp);
        event.clamped = true;
    }
}

fn decode<'t>(options: &'t ReplayOptions, text: &'t [u8], lines: &[Line]) -> Part<'t> {
    let mut part = Part::default();
    part.events.reserve(lines.len());
    part.from.reserve(lines.len());
    let mut scope: Arc<str> = Arc::from(crate::DEFAULT_SCOPE);
    for line in lines {
        let bytes = text.get(line.at.clone()).unwrap_or_default();
        let before = part.events.len();
        if let Err(why) = decode_one(options, bytes, &line.arrived, &mut part.events) {
            let id = crate::feed::dead_letter_id(bytes);
            part.bad.push((before, Bad { line: line.arrived.number, id, why }));
            continue;
        }
        for event in part.events.get(before..).unwrap_or_default() {
            if let Some(expr) = &options.scope {
                let of_event = expr.scope(event);
                if *of_event != *scope {
                    scope = Arc::from(&*of_event);
                }
            }
            part.from.push((line.arrived.number, Arc::clone(&scope), line.arrived.stamp));
        }
    }
    part
}

fn decode_one<'t>(
    options: &'t ReplayOptions,
    bytes: &'t [u8],
    arrived: &Arrived,
    out: &mut Vec<Event<'t>>,
) -> Result<(), Undecodable> {
    let payload = (!arrived.is_null).then_some(bytes);
    let (source, stamp) = (options.source.as_str(), arrived.stamp.unwrap_or(UNSTAMPED));
    if arrived.headers.is_empty() {
        return (options.format.decode)(Message { source, headers: &[], payload, stamp }, out);
    }
    let headers: Vec<(&str, &[u8])> = arrived.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let mut events = Vec::new();
    (options.format.decode)(Message { source, headers: &headers, payload, stamp }, &mut events)?;
    for event in events {
        let owned: OwnedEvent = event.into_owned();
        out.push(owned);
    }
    Ok(())
}
