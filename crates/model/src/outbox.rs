//! The only door to the outside: rows that were committed with the decision that wants them sent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Emit, Id, Page, Run, Span, Timestamp};

/// Where an outbox row stands (docs/safety.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxState {
    /// To be sent when the guards say so.
    Pending,
    /// A guard said: later.
    Deferred,
    /// A guard said: no. Final.
    Denied,
    /// Withdrawn before it left. Final.
    Cancelled,
    /// Committed before the first byte leaves; whether it left is not known until a reply is.
    Started,
    /// The endpoint took it; it is asked about until it ends.
    Accepted,
    /// Final.
    Succeeded,
    /// Final.
    Failed,
    /// Nobody knows. Keeps its place; a late report, a look-up or a person settles it.
    Unknown,
}

impl OutboxState {
    /// The word in the store and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            OutboxState::Pending => "pending",
            OutboxState::Deferred => "deferred",
            OutboxState::Denied => "denied",
            OutboxState::Cancelled => "cancelled",
            OutboxState::Started => "started",
            OutboxState::Accepted => "accepted",
            OutboxState::Succeeded => "succeeded",
            OutboxState::Failed => "failed",
            OutboxState::Unknown => "unknown",
        }
    }

    /// From the word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Every state.
    pub const ALL: [OutboxState; 9] = [
        OutboxState::Pending,
        OutboxState::Deferred,
        OutboxState::Denied,
        OutboxState::Cancelled,
        OutboxState::Started,
        OutboxState::Accepted,
        OutboxState::Succeeded,
        OutboxState::Failed,
        OutboxState::Unknown,
    ];

    /// Whether the table has the move. `started` -> `started` is a retry of the same bytes under the
    /// same key, for a playbook that allows it.
    pub const fn may_become(self, to: OutboxState) -> bool {
        use OutboxState as S;
        match self {
            S::Pending => matches!(to, S::Started | S::Deferred | S::Denied | S::Cancelled),
            S::Deferred => matches!(to, S::Pending | S::Cancelled),
            S::Started => matches!(to, S::Started | S::Accepted | S::Succeeded | S::Failed | S::Unknown),
            S::Accepted => matches!(to, S::Succeeded | S::Failed | S::Unknown | S::Cancelled),
            S::Unknown => matches!(to, S::Succeeded | S::Failed),
            S::Denied | S::Cancelled | S::Succeeded | S::Failed => false,
        }
    }
}

/// What a guard says about a row that wants to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardSays {
    /// Go.
    Allow,
    /// Ask again then.
    Defer(Timestamp),
    /// Never.
    Deny,
}

/// One guard's verdict, stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardVerdict {
    /// `halt`, `grant`, `age`, `target`, `concurrency`...
    pub guard: String,
    /// What it says.
    pub says: GuardSays,
    /// Why, for people.
    pub reason: String,
    /// On the wall clock.
    pub at: Timestamp,
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Order {
    /// A playbook run.
    Run(Run),
    /// A page.
    Page(Page),
    /// An event to a topic.
    Emit(Emit),
}

impl Order {
    /// The incident that it is for; of a page or an event without one, the firing of its rule.
    pub const fn incident(&self) -> Id {
        match self {
            Order::Run(run) => run.incident,
            Order::Page(page) => page.incident,
            Order::Emit(emit) => emit.incident,
        }
    }

    /// The run's, the page's or the event's id.
    pub const fn id(&self) -> Id {
        match self {
            Order::Run(run) => run.id,
            Order::Page(page) => page.id,
            Order::Emit(emit) => emit.id,
        }
    }

    /// The word in the stores: rows of a kind are looked at with a bound of their own.
    pub const fn kind(&self) -> &'static str {
        match self {
            Order::Run(_) => "run",
            Order::Page(_) => "page",
            Order::Emit(_) => "emit",
        }
    }
}

/// One thing to send, with all that is known about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// The Idempotency-Key: a function of the decision, not a random number.
    pub key: Id,
    /// Scope of the incident.
    pub scope: String,
    /// What is to be sent.
    pub order: Order,
    /// Where it stands.
    pub state: OutboxState,
    /// Stamp of the decision or approval that released it.
    pub released_at: Timestamp,
    /// How often a request has left.
    pub attempts: u32,
    /// Not before then, on the wall clock.
    pub not_before: Option<Timestamp>,
    /// The request's body, as it leaves: one key, one byte-identical request.
    pub request: Option<String>,
    /// The guards' last verdicts.
    pub verdicts: Vec<GuardVerdict>,
    /// Where the endpoint said that an accepted job can be asked about.
    pub job: Option<String>,
    /// When the first request left, on the wall clock.
    pub started_at: Option<Timestamp>,
    /// What the endpoint, a guard or a person said last.
    pub message: Option<String>,
    /// Who let it go, and when on the wall clock, where it waited for a person after the store was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared: Option<(String, Timestamp)>,
}

/// What is known after a request, or after a look at an accepted job.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The endpoint says that it worked.
    Succeeded {
        /// What it said.
        message: String,
        /// Facts about the target.
        facts: BTreeMap<String, Value>,
    },
    /// The endpoint says that it did not work; or nothing can have happened (connection refused, 4xx).
    Failed {
        /// What it said.
        message: String,
        /// Whether the request certainly never left, so that the same one may be sent again whatever its effect.
        never_left: bool,
    },
    /// It took the job; ask `job` again after `retry_after`.
    Accepted {
        /// Absolute URL on the playbook's own origin.
        job: String,
        /// How long to wait.
        retry_after: Span,
    },
    /// Nobody knows: a time-out, a cut connection, a 5xx, a reply that makes no sense.
    Unknown {
        /// What happened.
        message: String,
        /// The endpoint's wish, where it named one.
        retry_after: Option<Span>,
    },
}
