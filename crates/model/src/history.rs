//! The append-only, hash-chained history: one row a step.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, Id, Timestamp};

/// One step of one record. Nothing is edited; a correction is a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// 1, 2, 3... within the scope.
    pub seq: u64,
    /// The step's `now`.
    pub at: Timestamp,
    /// Names this row and nothing else.
    pub id: Id,
    /// The record that it is about.
    pub record: Id,
    /// `incident_opened`, `run_decided`...
    pub step: String,
    /// Rule@digest, run, person.
    pub actor: String,
    /// Why, for people.
    pub reason: String,
    /// Input id of what caused it.
    pub input: String,
    /// The decision, whole.
    pub data: Value,
    /// Hash of (previous hash, row without hash).
    pub hash: Digest,
}

impl HistoryRow {
    /// What its hash must be, after a row with hash `previous`.
    pub fn expected_hash(&self, previous: Digest) -> Digest {
        Digest::link(
            previous,
            &(self.seq, self.at, self.id, self.record, &self.step, &self.actor, &self.reason, &self.input, &self.data),
        )
    }
}
