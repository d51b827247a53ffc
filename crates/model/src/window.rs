//! What a rule has seen so far and still waits on.

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
    /// `for`: it holds, and was not cleared.
    Holds {
        /// When it will have held for long enough.
        due: Timestamp,
        /// The latest event for which it held.
        last: Kept,
        /// It has held for long enough, and still does.
        fired: bool,
    },
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
            WindowBody::Holds { .. } => Window::HOLDS,
            WindowBody::Once { .. } => Window::ONCE,
        }
    }
}

/// An event that a window keeps, without its raw text. Cheap to copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept(Arc<OwnedEvent>);

impl Kept {
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
    /// Purpose of a `once`.
    pub const ONCE: &'static str = "once";

    /// The id of a rule's window.
    pub fn id_of(scope: &str, rulebook: &str, rule: &str, purpose: &str, by: &[Value]) -> Id {
        Id::of(&json!(["window", scope, rulebook, rule, purpose, by]))
    }
}
