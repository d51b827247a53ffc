//! One execution of a playbook, as the records know it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Digest, Effect, Evidence, Id, OnUnknown, Span, Timestamp};

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Would have been run, under `record` or `observe`. Final.
    WouldBe,
    /// Waits for a person.
    Proposed,
    /// A person said no. Final.
    Rejected,
    /// Released; the guards have not said yes yet.
    Pending,
    /// The request is leaving, or has left.
    Started,
    /// The endpoint took it and works on it.
    Accepted,
    /// The endpoint says that it worked. Only evidence resolves.
    Succeeded,
    /// The endpoint says that it did not.
    Failed,
    /// Nobody knows. No end: a late report or a person settles it.
    Unknown,
    /// A guard said no. Final.
    Denied,
    /// Withdrawn; final unless a report says that it had left already.
    Cancelled,
}

impl RunState {
    /// Every state.
    pub const ALL: [RunState; 11] = [
        RunState::WouldBe,
        RunState::Proposed,
        RunState::Rejected,
        RunState::Pending,
        RunState::Started,
        RunState::Accepted,
        RunState::Succeeded,
        RunState::Failed,
        RunState::Unknown,
        RunState::Denied,
        RunState::Cancelled,
    ];

    /// The word in the API.
    pub const fn name(self) -> &'static str {
        match self {
            RunState::WouldBe => "would_be",
            RunState::Proposed => "proposed",
            RunState::Rejected => "rejected",
            RunState::Pending => "pending",
            RunState::Started => "started",
            RunState::Accepted => "accepted",
            RunState::Succeeded => "succeeded",
            RunState::Failed => "failed",
            RunState::Unknown => "unknown",
            RunState::Denied => "denied",
            RunState::Cancelled => "cancelled",
        }
    }

    /// A request may have left and its outcome is not known: nothing else may act on that target.
    pub const fn in_flight(self) -> bool {
        matches!(self, RunState::Started | RunState::Accepted | RunState::Unknown)
    }

    /// Nothing more comes of it, but for a report that it had left before it was withdrawn.
    pub const fn has_ended(self) -> bool {
        !matches!(
            self,
            RunState::Proposed | RunState::Pending | RunState::Started | RunState::Accepted | RunState::Unknown
        )
    }

    /// Whether a report that says `to` is news to a run in this state: the first terminal one wins.
    pub const fn may_become(self, to: RunState) -> bool {
        use RunState as S;
        match self {
            S::Proposed => matches!(to, S::Pending | S::Rejected | S::Cancelled),
            S::Pending => matches!(
                to,
                S::Started | S::Accepted | S::Succeeded | S::Failed | S::Unknown | S::Denied | S::Cancelled
            ),
            S::Started => matches!(to, S::Accepted | S::Succeeded | S::Failed | S::Unknown),
            S::Accepted => matches!(to, S::Succeeded | S::Failed | S::Unknown | S::Cancelled),
            S::Unknown => matches!(to, S::Succeeded | S::Failed),
            // Withdrawn too late: the request had left already.
            S::Cancelled => matches!(to, S::Started | S::Accepted | S::Succeeded | S::Failed | S::Unknown),
            S::WouldBe | S::Rejected | S::Succeeded | S::Failed | S::Denied => false,
        }
    }
}

/// What a run is for: a step of its rule's remedies, by position from 0, or what takes such a step back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The remedy itself.
    Remedy(usize),
    /// It was not verified.
    Rollback(usize),
    /// Its time is over.
    Undo(usize),
}

impl Part {
    /// Reads a step path, such as `remedy/0`.
    pub fn of(path: &str) -> Option<Self> {
        let (kind, index) = path.split_once('/')?;
        let index = index.parse().ok()?;
        match kind {
            "remedy" => Some(Part::Remedy(index)),
            "rollback" => Some(Part::Rollback(index)),
            "undo" => Some(Part::Undo(index)),
            _ => None,
        }
    }

    /// Which remedy of the rule.
    pub const fn index(self) -> usize {
        match self {
            Part::Remedy(index) | Part::Rollback(index) | Part::Undo(index) => index,
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::Remedy(index) => write!(f, "remedy/{index}"),
            Part::Rollback(index) => write!(f, "rollback/{index}"),
            Part::Undo(index) => write!(f, "undo/{index}"),
        }
    }
}

/// What monitoring's evidence says about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Recovery was seen after it started, and stayed.
    Verified,
    /// No recovery within the step's `verify`.
    NotVerified,
    /// Recovery was seen, but another remedy had been started meanwhile.
    Ambiguous,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Verdict; 3] = [Verdict::Verified, Verdict::NotVerified, Verdict::Ambiguous];

    /// The word in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Verified => "verified",
            Verdict::NotVerified => "not_verified",
            Verdict::Ambiguous => "ambiguous",
        }
    }
}

/// The CI that a run acts on: from the CMDB, never from the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Its environment.
    pub environment: Option<String>,
}

/// One execution of a playbook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Digest of (incident, step path, round, target): the same wherever it is computed. With the
    /// cluster's name it gives the key: [`Run::key`].
    pub id: Id,
    /// For which incident.
    pub incident: Id,
    /// What it is for: `remedy/0`, `rollback/0`, `undo/0`. See [`Part`].
    pub step: String,
    /// The incident's round.
    pub round: u32,
    /// Which playbook.
    pub playbook: String,
    /// On which CI.
    pub target: Target,
    /// Its parameters, checked.
    pub parameters: BTreeMap<String, Value>,
    /// From the catalogue when it was decided.
    pub effect: Effect,
    /// From the catalogue when it was decided.
    pub on_unknown: OnUnknown,
    /// From the catalogue when it was decided.
    pub timeout: Span,
    /// The rulebook that asked for it.
    pub rulebook: String,
    /// The rule that asked for it.
    pub rule: String,
    /// The rule set under which it was decided.
    pub set: Digest,
    /// Where it stands.
    pub state: RunState,
    /// Stamp of the decision.
    pub decided_at: Timestamp,
    /// Stamp of the decision or of the approval that released it; its age at dispatch is bounded.
    pub released_at: Option<Timestamp>,
    /// When its request left, by its own report.
    pub started_at: Option<Timestamp>,
    /// Stamp of its terminal report.
    pub reported_at: Option<Timestamp>,
    /// What the endpoint, a guard or a person said.
    pub message: Option<String>,
    /// Facts that the playbook returned.
    pub facts: BTreeMap<String, Value>,
    /// Of a remedy that spreads over many targets: what its target has shown since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Of the same: when its target was seen not to be well any more, last. What is older shows nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Timestamp>,
    /// What evidence says.
    pub verdict: Option<Verdict>,
    /// Who approved, rejected or settled it.
    pub decided_by: Option<String>,
}

impl Run {
    /// The identity of a run within its cluster.
    pub fn id_of(incident: Id, step: &str, round: u32, target: Id) -> Id {
        Id::of(&json!(["run", incident, step, round, target]))
    }

    /// The Idempotency-Key: digest(cluster, record id, step path, round, target id).
    pub fn key(&self, cluster: &str) -> Id {
        if crate::faults::planted("random_key") {
            return Id::of(&json!(["random", crate::faults::nonce()]));
        }
        Id::of(&json!([cluster, self.incident, self.step, self.round, self.target.id]))
    }
}

/// A notification to people, decided by an escalation step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Digest of (incident, step, repeat, recipient).
    pub id: Id,
    /// About which incident.
    pub incident: Id,
    /// Escalation step, such as `escalate/0`.
    pub step: String,
    /// The incident's round.
    pub round: u32,
    /// The recipient, as the rulebook names it.
    pub to: String,
    /// Why now.
    pub reason: String,
    /// Stamp of the decision.
    pub decided_at: Timestamp,
    /// Would have been, under autonomy `observe`.
    pub shadow: bool,
}

impl Page {
    /// The identity of a page within its cluster.
    pub fn id_of(incident: Id, step: &str, round: u32, to: &str) -> Id {
        Id::of(&json!(["page", incident, step, round, to]))
    }

    /// Its key: digest(cluster, record id, escalation step, repeat, recipient).
    pub fn key(&self, cluster: &str) -> Id {
        Id::of(&json!([cluster, "page", self.incident, self.step, self.round, self.to]))
    }
}
