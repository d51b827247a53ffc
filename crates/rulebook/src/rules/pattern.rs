//! What a rule waits for, and what recovery looks like.

use std::collections::BTreeMap;

use paramedic_model::Span;

use super::ExprIx;

/// A condition of a pattern by its part: which of a rule's conditions held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// A member of `all`, `sequence`, `any`, `not_all`, by position from 0.
    Member(u8),
    /// `unless`.
    Unless,
    /// `alive`: proves that the feed lives.
    Alive,
}

/// One part of a pattern of several.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its name; expressions after it read its event by this name.
    pub name: String,
    /// Its condition. Its event goes by `event` and by the member's name; it may read earlier members by theirs.
    pub when: ExprIx,
    /// Which earlier members it reads, by position: it is asked again in the window, with their events.
    pub reads: Vec<u8>,
}

/// How members must come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Together {
    /// All of them, in any order.
    All,
    /// All of them, in this order.
    Sequence,
    /// The first of them.
    Any,
    /// One came, and after `within` not all did.
    NotAll,
}

/// What is computed over a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// Mean of the samples.
    Avg,
    /// Least.
    Min,
    /// Greatest.
    Max,
    /// Sum of the samples.
    Sum,
    /// Increase a second of a counter, from the window's first sample to its last.
    Rate,
}

/// A comparison with a number, as in `is: ">= 90"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Comparison {
    /// `> x`.
    Above(f64),
    /// `>= x`.
    AtLeast(f64),
    /// `< x`.
    Below(f64),
    /// `<= x`.
    AtMost(f64),
    /// `== x`.
    Equal(f64),
    /// `!= x`.
    Unequal(f64),
}

impl Comparison {
    /// Whether a value is so.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Comparison::Above(x) => value > x,
            Comparison::AtLeast(x) => value >= x,
            Comparison::Below(x) => value < x,
            Comparison::AtMost(x) => value <= x,
            Comparison::Equal(x) => value == x,
            Comparison::Unequal(x) => value != x,
        }
    }
}

/// Which CIs: every part that is given must fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CiFilter {
    /// Its class.
    pub class: Option<String>,
    /// Its environment.
    pub environment: Option<String>,
    /// Attributes, as text.
    pub attributes: BTreeMap<String, String>,
}

/// So many, in a sliding window of this length, with so many different values of an expression.
pub type Counted = (u32, Span, Option<(ExprIx, u32)>);

/// What a rule waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// An event for which the condition holds.
    Event {
        /// The condition. Without a word on `status` or `phase` it has FIRING and the normal phase implied; that is
        /// already part of what [`crate::Evaluator::matches`] answers.
        when: ExprIx,
    },
    /// So many in a sliding window; fires on crossing, re-arms below or on clear.
    Count {
        /// As in [`Pattern::Event`].
        when: ExprIx,
        /// How many: occurrences of alerts, samples of the rest.
        at_least: u32,
        /// The window's length.
        within: Span,
        /// And so many different values of an expression.
        distinct: Option<(ExprIx, u32)>,
    },
    /// A number computed over a sliding window of 12 panes.
    Measure {
        /// Which events are samples.
        when: ExprIx,
        /// What is computed.
        measured: Measured,
        /// Of which value of each event.
        of: ExprIx,
        /// The window's length.
        over: Span,
        /// Fires when it becomes so.
        is: Comparison,
    },
    /// Nothing satisfied the condition for so long, on the source's own progress.
    Absent {
        /// What should come. Status and phase are implied as in `clear`: any sign of life counts.
        when: ExprIx,
        /// For how long it must not come.
        within: Span,
        /// For each of these CIs; `None`: per `by`, armed by the first that came.
        for_each: Option<CiFilter>,
        /// What proves that the feed lives; `None`: any event of the same source.
        alive: Option<ExprIx>,
    },
    /// Several, joined by `by`.
    Members {
        /// How.
        together: Together,
        /// Which, in the order as written.
        members: Vec<Member>,
        /// From the first to the last; `None` for `any` only.
        within: Option<Span>,
        /// And this did not come within.
        unless: Option<ExprIx>,
    },
    /// A step of a record.
    Upon {
        /// `incident.opened`, `run.failed`...
        step: String,
        /// Which ones; reads the record by its kind (`incident`, `run`, `ci`, `alert`).
        when: Option<ExprIx>,
        /// So many within so long, as [`Pattern::Count`].
        count: Option<Counted>,
    },
    /// A schedule.
    Every {
        /// Five fields as in cron: minute, hour, day of month, month, day of week.
        cron: String,
        /// A zone of the IANA database; default UTC.
        timezone: String,
    },
}

impl Pattern {
    /// The condition on events that stands in `when`, `count`, `measure` or `absent`.
    pub fn when(&self) -> Option<ExprIx> {
        match self {
            Pattern::Event { when }
            | Pattern::Count { when, .. }
            | Pattern::Measure { when, .. }
            | Pattern::Absent { when, .. } => Some(*when),
            Pattern::Members { .. } | Pattern::Upon { .. } | Pattern::Every { .. } => None,
        }
    }
}

/// What recovery looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clear {
    /// A condition on events.
    When(ExprIx),
    /// No match for so long, while the source is alive.
    Quiet(Span),
}
