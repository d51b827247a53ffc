//! The incident and its lifecycle, in ServiceNow's codes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AlertKey, Digest, Id, Level, Names, OwnedEvent, Severity, Timestamp, level::priority};

/// ServiceNow's `state` of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// 1
    New,
    /// 2
    InProgress,
    /// 3
    OnHold,
    /// 6
    Resolved,
    /// 7
    Closed,
    /// 8
    Canceled,
}

impl IncidentState {
    /// Every state.
    pub const ALL: [IncidentState; 6] = [
        IncidentState::New,
        IncidentState::InProgress,
        IncidentState::OnHold,
        IncidentState::Resolved,
        IncidentState::Closed,
        IncidentState::Canceled,
    ];

    /// ServiceNow's code.
    pub const fn code(self) -> u8 {
        match self {
            IncidentState::New => 1,
            IncidentState::InProgress => 2,
            IncidentState::OnHold => 3,
            IncidentState::Resolved => 6,
            IncidentState::Closed => 7,
            IncidentState::Canceled => 8,
        }
    }

    /// The word in the API and in YAML.
    pub const fn name(self) -> &'static str {
        match self {
            IncidentState::New => "new",
            IncidentState::InProgress => "in_progress",
            IncidentState::OnHold => "on_hold",
            IncidentState::Resolved => "resolved",
            IncidentState::Closed => "closed",
            IncidentState::Canceled => "canceled",
        }
    }

    /// From the word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// New, in progress or on hold: it still wants something.
    pub const fn is_open(self) -> bool {
        matches!(self, IncidentState::New | IncidentState::InProgress | IncidentState::OnHold)
    }
}

/// What may happen to an incident's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentMove {
    /// Somebody or something works on it.
    Start,
    /// It waits.
    Hold,
    /// The wait is over.
    Resume,
    /// It is fixed or gone.
    Resolve,
    /// It came back.
    Reopen,
    /// Final.
    Close,
    /// It should never have been.
    Cancel,
}

impl IncidentMove {
    /// Every move.
    pub const ALL: [IncidentMove; 7] = [
        IncidentMove::Start,
        IncidentMove::Hold,
        IncidentMove::Resume,
        IncidentMove::Resolve,
        IncidentMove::Reopen,
        IncidentMove::Close,
        IncidentMove::Cancel,
    ];
}

/// A move that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an incident that is {} cannot {act:?}", from.name())]
pub struct IllegalMove {
    /// The state it is in.
    pub from: IncidentState,
    /// What was asked.
    pub act: IncidentMove,
}

/// The lifecycle: 1 -> 2,3,6,8; 2 -> 3,6,8; 3 -> 2,6,8; 6 -> 2 (reopened), 7; 7 and 8 end.
///
/// # Errors
/// Every pair that is not in the table.
pub const fn next(from: IncidentState, act: IncidentMove) -> Result<IncidentState, IllegalMove> {
    use IncidentMove as M;
    use IncidentState as S;
    match (from, act) {
        (S::New, M::Start) => Ok(S::InProgress),
        (S::New | S::InProgress, M::Hold) => Ok(S::OnHold),
        (S::OnHold, M::Resume) => Ok(S::InProgress),
        (S::New | S::InProgress | S::OnHold, M::Resolve) => Ok(S::Resolved),
        (S::New | S::InProgress | S::OnHold, M::Cancel) => Ok(S::Canceled),
        (S::Resolved, M::Reopen) => Ok(S::InProgress),
        (S::Resolved, M::Close) => Ok(S::Closed),
        (from, act) => Err(IllegalMove { from, act }),
    }
}

/// ServiceNow's close codes. `Resolved` and `Closed` need one, with notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseCode {
    /// Of another incident.
    Duplicate,
    /// A known error's workaround.
    #[serde(rename = "Known error")]
    KnownError,
    /// It cleared by itself: crediting that to automation would falsify the measures.
    #[serde(rename = "No resolution provided")]
    NoResolutionProvided,
    /// The caller did it.
    #[serde(rename = "Resolved by caller")]
    ResolvedByCaller,
    /// A change did it.
    #[serde(rename = "Resolved by change")]
    ResolvedByChange,
    /// A problem's fix did it.
    #[serde(rename = "Resolved by problem")]
    ResolvedByProblem,
    /// A request did it.
    #[serde(rename = "Resolved by request")]
    ResolvedByRequest,
    /// A remedy was run and monitoring saw it work; or a person says so.
    #[serde(rename = "Solution provided")]
    SolutionProvided,
    /// It works again, but the cause stays.
    #[serde(rename = "Workaround provided")]
    WorkaroundProvided,
    /// Nothing was wrong.
    #[serde(rename = "User error")]
    UserError,
}

impl CloseCode {
    /// Every code.
    pub const ALL: [CloseCode; 10] = [
        CloseCode::Duplicate,
        CloseCode::KnownError,
        CloseCode::NoResolutionProvided,
        CloseCode::ResolvedByCaller,
        CloseCode::ResolvedByChange,
        CloseCode::ResolvedByProblem,
        CloseCode::ResolvedByRequest,
        CloseCode::SolutionProvided,
        CloseCode::WorkaroundProvided,
        CloseCode::UserError,
    ];

    /// The text in ServiceNow.
    pub const fn name(self) -> &'static str {
        match self {
            CloseCode::Duplicate => "Duplicate",
            CloseCode::KnownError => "Known error",
            CloseCode::NoResolutionProvided => "No resolution provided",
            CloseCode::ResolvedByCaller => "Resolved by caller",
            CloseCode::ResolvedByChange => "Resolved by change",
            CloseCode::ResolvedByProblem => "Resolved by problem",
            CloseCode::ResolvedByRequest => "Resolved by request",
            CloseCode::SolutionProvided => "Solution provided",
            CloseCode::WorkaroundProvided => "Workaround provided",
            CloseCode::UserError => "User error",
        }
    }

    /// From the text, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name().eq_ignore_ascii_case(name))
    }
}

/// Where an incident stands with its remedies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Grows only by a reopen or a person's "again"; part of each run's identity.
    pub round: u32,
    /// Index of the next untried remedy step.
    pub next: usize,
    /// The runs that are proposed, under way, or being verified, in the order in which they were decided: several only of
    /// a remedy that spreads over many targets.
    #[serde(serialize_with = "none_one_or_more", deserialize_with = "one_or_more")]
    pub current: Vec<Id>,
    /// Of such a remedy: the targets to which it has not come yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ahead: Vec<Id>,
    /// All remedies were tried and none was verified.
    pub exhausted: bool,
}

impl Plan {
    /// Nothing is under way any more.
    pub fn leave(&mut self) {
        self.current.clear();
        self.ahead.clear();
    }
}

/// As before remedies could spread where there is one run, or none: digests of decisions stay what they were.
fn none_one_or_more<S: serde::Serializer>(runs: &[Id], to: S) -> Result<S::Ok, S::Error> {
    match runs {
        [] | [_] => runs.first().serialize(to),
        more => more.serialize(to),
    }
}

/// What [`none_one_or_more`] has written.
fn one_or_more<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Id>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Many(Vec<Id>),
        One(Option<Id>),
    }
    Ok(match Form::deserialize(from)? {
        Form::Many(runs) => runs,
        Form::One(run) => Vec::from_iter(run),
    })
}

/// Monitoring's evidence that the condition has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Input id of the event that showed it.
    pub input: String,
    /// The stamp of that input.
    pub at: Timestamp,
    /// The event's own time.
    pub time: Timestamp,
}

/// A rule that contributes to an incident by a `key` that rules share, for one value of its `by`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Its rulebook.
    pub rulebook: String,
    /// Its name.
    pub rule: String,
    /// The values of its `by`.
    pub by: Vec<Value>,
    /// Its own recovery was seen since it last matched.
    pub cleared: bool,
    /// The latest `time` of an event for which it matched: older ones are no evidence of its recovery.
    pub condition_at: Timestamp,
}

impl Share {
    /// The id under which alerts count for it.
    pub fn id(&self, incident: Id) -> Id {
        Id::of(&serde_json::json!(["share", incident, self.rulebook, self.rule, self.by]))
    }
}

/// How many contributing rules an incident remembers; further ones do not hold it open.
pub const MAX_SHARES: usize = 1_000;

/// A record of something that is broken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Digest of (scope, correlation key, stamp and input id of the opening step).
    pub id: Id,
    /// INC number, given by the store in the commit; `None` in the engine.
    #[serde(default)]
    pub number: Option<u64>,
    /// Where it is correlated.
    pub scope: String,
    /// What counts as the same thing: digest of (scope, rulebook, rule, by) or (scope, key).
    pub correlation_key: Id,
    /// The rulebook that opened it.
    pub rulebook: String,
    /// The rule that opened it.
    pub rule: String,
    /// The rule set that it was opened under, and keeps.
    pub set: Digest,
    /// The values of the rule's `by`.
    pub by: Vec<Value>,
    /// Would have been, under autonomy `observe`: it claims nothing.
    pub shadow: bool,
    /// Where it stands.
    pub state: IncidentState,
    /// One line.
    pub summary: String,
    /// From the rule, or by default from the CI.
    pub impact: Level,
    /// From the rule, or by default from the severity.
    pub urgency: Level,
    /// Worst severity seen.
    pub severity: Severity,
    /// Group.
    pub assigned_to: Option<String>,
    /// Category.
    pub category: Option<String>,
    /// The CI it is about, where the CMDB knows it.
    pub ci: Option<Id>,
    /// The identifier it is about, as sent.
    pub about: Option<String>,
    /// Stamp of the opening step.
    pub opened_at: Timestamp,
    /// Stamp of the last step.
    pub updated_at: Timestamp,
    /// Who acknowledged it, and when.
    pub acknowledged: Option<(String, Timestamp)>,
    /// When it was last resolved.
    pub resolved_at: Option<Timestamp>,
    /// Why it ended.
    pub close_code: Option<CloseCode>,
    /// And in words.
    pub close_notes: Option<String>,
    /// How often it came back.
    pub reopen_count: u32,
    /// The alerts that contribute (the first 100).
    pub alerts: Vec<AlertKey>,
    /// Who contributes by a `key` that is given; empty where the key is the rule's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<Share>,
    /// The event that opened it, for the remedies' values; kept where the rule has remedies.
    pub event: Option<Box<OwnedEvent>>,
    /// What the rule's pattern bound when it opened, for the remedies' values; kept with the event.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub names: Names,
    /// How many events have matched, repeats aside.
    pub matched: u64,
    /// The latest `time` of an event that matched: older ones are no evidence of recovery.
    pub condition_at: Timestamp,
    /// The remedies.
    pub plan: Plan,
    /// Recovery seen and, while it is set, not contradicted.
    pub evidence: Option<Evidence>,
    /// When the first page about it was reported delivered or undeliverable: people's waits begin here.
    pub paged_at: Option<Timestamp>,
}

impl Incident {
    /// 1 critical .. 5 planning: derived, never set.
    pub const fn priority(&self) -> u8 {
        priority(self.impact, self.urgency)
    }
}

/// How many contributing alerts an incident remembers by key.
pub const MAX_CONTRIBUTORS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_moves_of_the_table_exist() {
        let mut table = String::new();
        for from in IncidentState::ALL {
            let to: Vec<_> =
                IncidentMove::ALL.into_iter().filter_map(|act| next(from, act).ok().map(|to| to.code())).collect();
            table.push_str(&format!("{} -> {to:?}\n", from.code()));
        }
        assert_eq!(table, "1 -> [2, 3, 6, 8]\n2 -> [3, 6, 8]\n3 -> [2, 6, 8]\n6 -> [2, 7]\n7 -> []\n8 -> []\n");
    }

    #[test]
    fn an_illegal_move_says_what_was_asked_of_what() {
        let e = next(IncidentState::Closed, IncidentMove::Reopen).unwrap_err();
        assert_eq!(e.to_string(), "an incident that is closed cannot Reopen");
    }
}
