//! An event of our own, to a Kafka topic that no source reads.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Id, Target, Timestamp};

/// Fields of an emitted event that a rulebook gives, besides `labels`.
pub const EMIT_FIELDS: [&str; 7] = ["type", "status", "severity", "ci", "dedup_key", "summary", "value"];

/// An event that a rule sends, as decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Emit {
    /// Digest of (firing, step, topic): the same wherever it is decided. With the cluster's name it gives the key:
    /// [`Emit::key`].
    pub id: Id,
    /// The rule's open incident, or, where it has none, its firing.
    pub incident: Id,
    /// `emit/0` of the rule, `then/1` of its script.
    pub step: String,
    /// Where to.
    pub topic: String,
    /// The record's key in Kafka: what has one key stays in one partition.
    pub key: String,
    /// The event in the native format, without its id: that is the row's key.
    pub event: Map<String, Value>,
    /// The CI that the rule is about, where it is known: halts are asked about it.
    pub about: Option<Target>,
    /// The rulebook that asked for it.
    pub rulebook: String,
    /// The rule that asked for it.
    pub rule: String,
    /// Stamp of the decision.
    pub decided_at: Timestamp,
    /// Would have been sent, below autonomy `auto`.
    pub shadow: bool,
}

impl Emit {
    /// The identity of an emitted event within its cluster.
    pub fn id_of(firing: Id, step: &str, topic: &str) -> Id {
        Id::of(&json!(["emit", firing, step, topic]))
    }

    /// Its key, and the `id` of the event as it leaves: digest(cluster, emit id).
    pub fn key(&self, cluster: &str) -> Id {
        Id::of(&json!([cluster, "emit", self.id]))
    }
}

/// Whether Kafka takes this as a topic's name.
///
/// # Errors
/// What is wrong with it.
pub fn check_topic(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 249 || matches!(name, "." | "..") || !name.chars().all(plain) {
        return Err(format!("{name:?} is no name of a topic: letters, digits, `.`, `_`, `-`, 249 at most"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_as_kafka_has_it() {
        for name in ["derived", "a.b_c-9", &"x".repeat(249)] {
            check_topic(name).unwrap();
        }
        for name in ["", ".", "..", "a b", "a/b", "größe", &"x".repeat(250)] {
            assert!(check_topic(name).is_err(), "{name}");
        }
    }
}
