//! The trait: one request, one outcome.

use std::collections::BTreeMap;

use paramedic_model::{Id, Playbook, Span};
use serde_json::Value;

/// A request as it was committed: the same bytes for the same key, always.
#[derive(Clone, Debug)]
pub struct Request {
    /// The Idempotency-Key.
    pub key: Id,
    /// What to run.
    pub playbook: Playbook,
    /// The body.
    pub body: String,
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

/// A secret that is read when it is needed, from `env:NAME` or `file:PATH`.
pub type SecretRef = String;

/// Where a notification goes.
#[derive(Clone, Debug)]
pub struct Notifier {
    /// Its URL.
    pub url: String,
    /// Its bearer token.
    pub token: Option<SecretRef>,
    /// The longest that it may take.
    pub timeout: Span,
}
