//! What a rule has seen so far and still waits on.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::{Digest, Id, OwnedEvent, Timestamp};

/// The memory of one rule for one `by`: what it has counted, which members came, since when it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Digest of scope, rulebook, rule, purpose and `by`.
    pub id: Id,
    /// The rule's rulebook.
    pub rulebook: Arc<str>,
    /// The rule.
    pub rule: Arc<str>,
    /// Of the rule that filled it; under a rule of another shape it begins anew. Of a rule that fails: its digest.
    pub shape: Digest,
    /// What counts as the same thing.
    pub by: Arc<[Value]>,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it changed last: the oldest give way where there are too many.
    pub touched: Timestamp,
    /// What is remembered.
    pub body: WindowBody,
}

/// What is remembered, by what it is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "window", rename_all = "snake_case")]
pub enum WindowBody {
    /// `for`: it holds, and was not cleared.
    Holds {
        /// When it will have held for long enough.
        due: Timestamp,
        /// The latest event for which it held.
        last: Kept,
        /// What the pattern bound with it.
        #[serde(default, skip_serializing_if = "Names::is_empty")]
        names: Names,
        /// It has held for long enough, and still does.
        fired: bool,
    },
    /// `count`: what came within the window.
    Count {
        /// By time, the oldest first; no more than tell whether there are enough.
        elements: Vec<Counted>,
        /// There were enough.
        above: bool,
        /// The event that it began with.
        first: Kept,
    },
    /// `measure`: samples in panes, each a twelfth of the window.
    Measure {
        /// By time, the oldest first.
        panes: Vec<Pane>,
        /// What is computed of them was as the rule says.
        so: bool,
    },
    /// `all`, `sequence`, `not_all`: which members came.
    Members {
        /// Of each member, by position, the newest events that came; the oldest first.
        came: Vec<Vec<Kept>>,
        /// The time of the newest event that must not come.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unless: Option<Timestamp>,
    },
    /// `absent`: the last sign of life.
    Absent {
        /// Its own time; of a CI that never gave one, when it was first waited for.
        last: Timestamp,
        /// What it was.
        event: Option<Kept>,
        /// Whose, where the CMDB says who must give one.
        ci: Option<Id>,
    },
    /// `absent`: how far its feed has come.
    Feed {
        /// The latest time of an event that proved that it lives.
        progress: Timestamp,
        /// When that came.
        at: Timestamp,
        /// Nothing came for so long that somebody was told.
        silent: bool,
    },
    /// `every`: when the schedule is due.
    Schedule {
        /// Then.
        due: Timestamp,
    },
    /// `settle`: events that are collected for a while.
    Settle {
        /// The first hundred.
        events: Vec<Kept>,
        /// How many there were.
        n: u64,
    },
    /// `clear: { quiet }`: when it matched last.
    Quiet {
        /// The latest event.
        last: Kept,
        /// When it came.
        at: Timestamp,
    },
    /// `suppress`: pages and runs about a CI wait.
    Suppress {
        /// Which CI.
        ci: Id,
        /// Until when.
        until: Timestamp,
        /// Incidents that were opened or came back meanwhile: nobody was told of them.
        held: Vec<Id>,
    },
    /// `once`: acted, and not again before this.
    Once {
        /// Until when.
        until: Timestamp,
        /// So many were held back.
        further: u64,
    },
    /// A rule fails: `by` says what of it.
    Failing {
        /// How many times in a row.
        times: u32,
        /// Where it failed last: file and line.
        at: String,
        /// Why.
        why: String,
        /// It is switched off while this is open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incident: Option<Id>,
    },
}

impl WindowBody {
    /// Its purpose, part of the window's id.
    pub const fn purpose(&self) -> &'static str {
        match self {
            WindowBody::Holds { .. } => Window::HOLDS,
            WindowBody::Count { .. } => Window::COUNT,
            WindowBody::Measure { .. } => Window::MEASURE,
            WindowBody::Members { .. } => Window::MEMBERS,
            WindowBody::Absent { .. } => Window::ABSENT,
            WindowBody::Feed { .. } => Window::FEED,
            WindowBody::Schedule { .. } => Window::SCHEDULE,
            WindowBody::Settle { .. } => Window::SETTLE,
            WindowBody::Quiet { .. } => Window::QUIET,
            WindowBody::Suppress { .. } => Window::SUPPRESS,
            WindowBody::Once { .. } => Window::ONCE,
            WindowBody::Failing { .. } => Window::FAILING,
        }
    }
}

/// One of those that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(i64, u64, u64)", into = "(i64, u64, u64)")]
pub struct Counted {
    /// The event's time; in the store, nanoseconds since 1970.
    pub at: Timestamp,
    /// Which occurrence of an alert, as a digest; 0 for a sample.
    pub what: u64,
    /// The value that must differ, as a digest; 0 where none must.
    pub value: u64,
}

impl From<(i64, u64, u64)> for Counted {
    fn from((at, what, value): (i64, u64, u64)) -> Self {
        Self { at: Timestamp::from_nanos(at), what, value }
    }
}

impl From<Counted> for (i64, u64, u64) {
    fn from(c: Counted) -> Self {
        (c.at.as_nanos(), c.what, c.value)
    }
}

/// Samples of a part of a window. All numbers are finite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pane {
    /// Which: its begin since 1970, in panes.
    pub at: i64,
    /// How many samples.
    pub n: u64,
    /// Of all.
    pub sum: f64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
    /// Time and value of the first.
    pub first: (Timestamp, f64),
    /// Time and value of the last.
    pub last: (Timestamp, f64),
    /// How much a counter grew from the first to the last.
    pub grown: f64,
}

/// What a pattern binds, by name.
pub type Names = BTreeMap<String, Named>;

/// What a name of a pattern stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Named {
    /// `first`, `last`, a member.
    Event(Kept),
    /// `events`.
    Events(Vec<Kept>),
    /// `n`.
    Whole(i64),
    /// `value`.
    Number(f64),
    /// `ci`, looked up when it is read.
    Ci(Id),
    /// `incident`, `run`, `alert`.
    Record(Value),
}

/// An event that a window keeps, without its raw text. Cheap to copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept(Arc<OwnedEvent>);

impl Kept {
    /// Whether both are one and the same event: by id where there is one, else by all it says.
    pub fn is(&self, other: &Kept) -> bool {
        match (&self.id, &other.id) {
            (Some(a), Some(b)) => a == b && self.source == other.source,
            _ => self.0 == other.0,
        }
    }

    /// Of an event.
    pub fn of(event: &OwnedEvent) -> Self {
        Self(Arc::new(OwnedEvent { raw: None, ..event.clone() }))
    }
}

impl Deref for Kept {
    type Target = OwnedEvent;

    fn deref(&self) -> &OwnedEvent {
        &self.0
    }
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        OwnedEvent::deserialize(d).map(|event| Self(Arc::new(event)))
    }
}

impl Window {
    /// Purpose of a `for`.
    pub const HOLDS: &'static str = "holds";
    /// Purpose of a `count`.
    pub const COUNT: &'static str = "count";
    /// Purpose of a `measure`.
    pub const MEASURE: &'static str = "measure";
    /// Purpose of patterns of several members.
    pub const MEMBERS: &'static str = "members";
    /// Purpose of an `absent`.
    pub const ABSENT: &'static str = "absent";
    /// Purpose of the feed of an `absent`.
    pub const FEED: &'static str = "feed";
    /// Purpose of an `every`.
    pub const SCHEDULE: &'static str = "schedule";
    /// Purpose of a `settle`.
    pub const SETTLE: &'static str = "settle";
    /// Purpose of a `clear: { quiet }`.
    pub const QUIET: &'static str = "quiet";
    /// Purpose of a `suppress`.
    pub const SUPPRESS: &'static str = "suppress";
    /// Purpose of a `once`.
    pub const ONCE: &'static str = "once";
    /// Purpose of the count of a rule's failures.
    pub const FAILING: &'static str = "failing";

    /// The id of a rule's window.
    pub fn id_of(scope: &str, rulebook: &str, rule: &str, purpose: &str, by: &[Value]) -> Id {
        if by.iter().any(|value| value.is_object() || value.is_array()) {
            return Id::of(&json!(["window", scope, rulebook, rule, purpose, by]));
        }
        Id::of_sorted(&("window", scope, rulebook, rule, purpose, by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_window_is_a_digest_of_canonical_json() {
        let of = |by: &[Value]| Window::id_of("s", "book", "rule", Window::ONCE, by);
        for by in [vec![], vec![json!("web-1"), json!(1.5), json!(null)], vec![json!({"b": 1, "a": 2})]] {
            assert_eq!(of(&by), Id::of(&json!(["window", "s", "book", "rule", Window::ONCE, by])));
        }
    }
}
