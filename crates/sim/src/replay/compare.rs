//! One pass over the same events under two rule sets: where their incidents, runs and pages differ, and which
//! events made it so.
//!
//! Both sets are stepped event by event, each in an engine of its own. Records are matched by what they are about,
//! never by id: see [`pairs`].
//!
//! Memory: both engines' working state, and of each incident that is not closed on both sides (an engine keeps twice
//! [`paramedic_engine::Limits::open_incidents`] a scope at most) a summary of about 1 KiB with its first [`LISTED`] runs
//! and pages. Of the differences the first [`ReplayOptions::differences`] are kept, by time; all are counted.

mod book;
mod pairs;

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::sync::Arc;

use paramedic_model::Timestamp;
use paramedic_rulebook::RuleSet;
use serde::Serialize;
use serde_json::Value;

pub(super) use pairs::Comparer;

use super::causes::{EventRef, Lines};
use super::messages::{Lines as FileLines, Messages};
use super::{ReplayError, ReplayOptions, Report};

/// So many runs, and pages, of an incident are listed; further ones are counted.
const LISTED: usize = 20;

/// Two rule sets on the same events.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Nothing differs.
    pub same: bool,
    /// What the set that is tried came to.
    pub rules: Report,
    /// What the set came to that it is compared with.
    pub against: Report,
    /// How many differences there are of each kind.
    pub counts: BTreeMap<Kind, u64>,
    /// The first of them, by time.
    pub differences: Vec<Difference>,
    /// How many more there are.
    pub left_out: u64,
}

/// What sort of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An incident that only the tried set opens.
    Opened,
    /// An incident that only the other set opens.
    Missed,
    /// An incident of the other set whose events belong to an incident of the tried set that has another counterpart.
    Merged,
    /// The reverse: what is one incident under the other set is more than one under the tried set.
    Split,
    /// An incident of both has another priority.
    Priority,
    /// An incident of both is opened, ended or told otherwise.
    Changed,
    /// A run that only one of them decides.
    Run,
    /// A page that only one of them decides.
    Page,
}

impl Kind {
    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Opened => "opened",
            Kind::Missed => "missed",
            Kind::Merged => "merged",
            Kind::Split => "split",
            Kind::Priority => "priority",
            Kind::Changed => "changed",
            Kind::Run => "run",
            Kind::Page => "page",
        }
    }
}

/// One difference. Differences are in the order of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// When it shows first.
    pub at: Timestamp,
    /// What sort.
    pub kind: Kind,
    /// Where.
    pub scope: String,
    /// The rulebook of the incident.
    pub rulebook: String,
    /// Its rule.
    pub rule: String,
    /// What it is about.
    pub about: Option<String>,
    /// Under the tried set; `None`: nothing.
    pub rules: Option<Value>,
    /// Under the other set; `None`: nothing.
    pub against: Option<Value>,
    /// Which events made the difference, in the order of time.
    pub events: Vec<EventRef>,
}

/// Replays the same lines under two sets. `rules` is the one that is tried.
///
/// # Errors
/// As [`super::replay`].
pub fn compare(
    rules: &Arc<RuleSet>,
    against: &Arc<RuleSet>,
    lines: impl BufRead,
    options: &ReplayOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<Comparison, ReplayError> {
    compare_messages(rules, against, &mut FileLines::new(lines), options, progress)
}

/// As [`compare`], of messages from wherever they come.
///
/// # Errors
/// As [`super::replay`].
pub fn compare_messages(
    rules: &Arc<RuleSet>,
    against: &Arc<RuleSet>,
    messages: &mut dyn Messages,
    options: &ReplayOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<Comparison, ReplayError> {
    let pair = (Arc::clone(rules), Arc::clone(against));
    let sets = [Arc::clone(rules), Arc::clone(against)];
    let done = super::drive(messages, options, &sets, progress, |cmdb, receiver| {
        super::worker::work_both(&pair, options, cmdb, receiver)
    })?;
    let (gathered, workers, took) = done;
    let (mut tried, mut other) = (Vec::new(), Vec::new());
    let mut found = Differences::new(options.differences);
    for (a, b, differences) in workers {
        tried.push(a);
        other.push(b);
        found.join(differences);
    }
    let left_out = found.left_out();
    Ok(Comparison {
        same: found.counts.is_empty(),
        rules: super::report(&gathered, 0, &tried, took),
        against: super::report(&gathered, 1, &other, took),
        counts: found.counts,
        differences: found.kept.into_values().collect(),
        left_out,
    })
}

/// The first differences by time, and how many there are.
pub(super) struct Differences {
    most: usize,
    kept: BTreeMap<(Timestamp, String), Difference>,
    counts: BTreeMap<Kind, u64>,
}

impl Differences {
    fn new(most: usize) -> Self {
        Self { most, kept: BTreeMap::new(), counts: BTreeMap::new() }
    }

    fn add(&mut self, mut difference: Difference) {
        let events: BTreeSet<EventRef> = difference.events.drain(..).collect();
        difference.events.extend(events);
        *self.counts.entry(difference.kind).or_default() += 1;
        self.keep(difference);
    }

    /// The text tells apart what is at one instant: so the order does not depend on threads.
    fn keep(&mut self, difference: Difference) {
        let said = serde_json::to_string(&difference).unwrap_or_default();
        self.kept.insert((difference.at, said), difference);
        while self.kept.len() > self.most {
            self.kept.pop_last();
        }
    }

    fn join(&mut self, other: Differences) {
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        other.kept.into_values().for_each(|difference| self.keep(difference));
    }

    fn left_out(&self) -> u64 {
        self.counts.values().sum::<u64>() - self.kept.len() as u64
    }
}
