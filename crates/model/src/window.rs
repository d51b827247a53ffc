//! What a rule has seen so far and still waits on.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Digest, Id, Timestamp};

/// The memory of one rule for one `by`: what it has counted, which members came, since when it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Digest of scope, rulebook, rule, purpose and `by`.
    pub id: Id,
    /// The rule's rulebook.
    pub rulebook: String,
    /// The rule.
    pub rule: String,
    /// Of the rule that filled it; under a rule of another shape it begins anew.
    pub shape: Digest,
    /// What counts as the same thing.
    pub by: Vec<Value>,
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
    /// `once`: acted, and not again before this.
    Once {
        /// Until when.
        until: Timestamp,
        /// So many were held back.
        further: u64,
    },
}

impl WindowBody {
    /// Its purpose, part of the window's id.
    pub const fn purpose(&self) -> &'static str {
        match self {
            WindowBody::Once { .. } => "once",
        }
    }
}

impl Window {
    /// The id of a rule's window.
    pub fn id_of(scope: &str, rulebook: &str, rule: &str, purpose: &str, by: &[Value]) -> Id {
        Id::of(&json!(["window", scope, rulebook, rule, purpose, by]))
    }
}
