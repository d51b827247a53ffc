//! The trait: one request, one outcome.

pub use paramedic_model::Outcome;
use paramedic_model::{Id, Playbook, Span};

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
