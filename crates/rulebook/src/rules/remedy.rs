//! What is tried for an incident, and who is told.

use std::collections::BTreeMap;

use paramedic_model::Span;
use serde::Serialize;
use serde_json::Value;

use super::{ExprIx, Field};

/// Which CI a run acts on.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetSpec {
    /// The CI that the incident is about.
    About,
    /// The CI whose name or id the expression gives, looked up exactly.
    Computed(ExprIx),
}

/// How a remedy is verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Verify {
    /// What recovery looks like, where it is not the rule's `clear`.
    pub when: Option<ExprIx>,
    /// From the run's report, or its timeout.
    pub within: Span,
    /// How long it must stay. Default 0s.
    pub hold: Span,
}

/// One remedy step.
#[derive(Clone, Debug, PartialEq)]
pub struct RemedyStep {
    /// Which playbook; it is in the catalogue and in `may`.
    pub playbook: String,
    /// On what.
    pub target: TargetSpec,
    /// Only if this holds, asked when it is its turn; false when what it asks for is unknown.
    pub only_if: Option<ExprIx>,
    /// Parameters.
    pub with: BTreeMap<String, Field<Value>>,
    /// Evidence.
    pub verify: Verify,
    /// A person must say yes, whatever the autonomy.
    pub approve: Option<Approve>,
    /// Run when this one was not verified.
    pub rollback: Option<String>,
    /// Run so long after this one was verified.
    pub undo: Option<Undo>,
    /// It has many targets, and how it goes from one to all.
    pub spread: Option<Spread>,
}

/// How a remedy goes from one target to all of them: wave by wave, each when every target of those before it is well.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Spread {
    /// The waves between the first, which is one target, and the last, which is the rest.
    pub between: Vec<Wave>,
}

/// How many targets a wave adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wave {
    /// So many.
    Targets(usize),
    /// So many of a hundred of all targets, rounded up.
    Percent(usize),
}

impl Spread {
    /// More targets than this are refused as a whole; none is left out silently.
    pub const MAX_TARGETS: usize = 100;

    /// For people: that it does not end with the first target. Nothing where it does.
    pub fn and_then_on(ahead: usize) -> String {
        if ahead == 0 { String::new() } else { format!(", and when it is well there on {ahead} more") }
    }

    /// How many of `total` targets are reached after the next wave, where the waves so far reached `done`.
    pub fn reach(&self, done: usize, total: usize) -> usize {
        let size = |wave: &Wave| match wave {
            Wave::Targets(n) => *n,
            Wave::Percent(n) => (total * n).div_ceil(100),
        };
        let mut reached = std::iter::once(1).chain(self.between.iter().map(size)).scan(0, |sum, size| {
            *sum += size;
            Some(*sum)
        });
        reached.find(|upto| *upto > done).unwrap_or(total).min(total)
    }
}

/// Who must say yes, and what follows when nobody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approve {
    /// Who is asked: a name of the configuration's `notify`.
    pub by: String,
    /// For how long.
    pub within: Span,
    /// And then.
    pub otherwise: Otherwise,
}

/// What follows when nobody approved in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Otherwise {
    /// The escalation's steps at `approval_expired`, and no further remedy.
    #[default]
    Escalate,
    /// The next remedy.
    Next,
    /// No further remedy.
    Stop,
}

/// What is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// By which playbook, with the same target and parameters.
    pub playbook: String,
    /// After the run was verified.
    pub after: Span,
}

/// When an escalation step is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscalateAt {
    /// At once.
    Open,
    /// So long after it was opened, and still open.
    After(Span),
    /// So long after somebody could have known (a page was delivered, or it was opened), and not acknowledged.
    Unacknowledged(Span),
    /// Every remedy was tried and none was verified.
    RemediesFailed,
    /// Nobody knows what became of a run.
    RunUnknown,
    /// Nobody approved a remedy in time.
    ApprovalExpired,
    /// A guard refused a run.
    GuardDenied,
}

/// What an escalation raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raise {
    /// Urgency by one.
    Urgency,
    /// Impact by one.
    Impact,
}

/// One escalation step.
#[derive(Clone, Debug, PartialEq)]
pub struct EscalationStep {
    /// When.
    pub at: EscalateAt,
    /// To whom.
    pub to: String,
    /// What it raises.
    pub raise: Option<Raise>,
    /// Only if this holds when it is due.
    pub only_if: Option<ExprIx>,
    /// Again after each such time, until it is acknowledged.
    pub repeat: Option<Span>,
}
