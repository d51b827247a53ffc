//! The records of whose steps a rule can be told.

use crate::script::names::Is;
use crate::script::objects::CI_FIELDS;

/// Record steps that a rule can wait for, and the record's name in expressions.
pub(crate) const UPON: [(&str, &str); 11] = [
    ("incident.opened", "incident"),
    ("incident.reopened", "incident"),
    ("incident.acknowledged", "incident"),
    ("incident.resolved", "incident"),
    ("incident.closed", "incident"),
    ("run.succeeded", "run"),
    ("run.failed", "run"),
    ("run.unknown", "run"),
    ("alert.opened", "alert"),
    ("alert.resolved", "alert"),
    ("ci.changed", "ci"),
];

/// Those after which something is so, until another step ends it.
pub(crate) const STANDING: [&str; 6] = [
    "incident.opened",
    "incident.reopened",
    "incident.acknowledged",
    "incident.resolved",
    "alert.opened",
    "alert.resolved",
];

const INCIDENT: &[&str] = &[
    "id",
    "number",
    "scope",
    "rulebook",
    "rule",
    "by",
    "shadow",
    "state",
    "summary",
    "impact",
    "urgency",
    "priority",
    "severity",
    "assigned_to",
    "category",
    "ci",
    "about",
    "opened_at",
    "updated_at",
    "acknowledged",
    "resolved_at",
    "close_code",
    "close_notes",
    "reopen_count",
];
const RUN: &[&str] = &[
    "id",
    "incident",
    "step",
    "round",
    "playbook",
    "target",
    "parameters",
    "effect",
    "rulebook",
    "rule",
    "state",
    "decided_at",
    "released_at",
    "started_at",
    "reported_at",
    "message",
    "facts",
    "verdict",
    "decided_by",
];
const ALERT: &[&str] =
    &["key", "type", "ci", "labels", "severity", "began", "closed", "last_seen", "repeats", "sampled"];

/// A step of a record that a rule can wait for.
#[derive(Clone, Copy, Debug)]
pub struct RecordStep {
    /// `incident.opened`...
    pub step: &'static str,
    /// The record's name in expressions.
    pub record: &'static str,
    /// The record's fields.
    pub fields: &'static [&'static str],
}

/// The steps of records that a rule can wait for, for the reference.
pub fn record_steps() -> impl Iterator<Item = RecordStep> {
    UPON.iter().map(|(step, record)| {
        let fields = match record_fields(record) {
            Is::Record(fields) => fields,
            _ => &CI_FIELDS,
        };
        RecordStep { step, record, fields }
    })
}

/// What a record's name stands for.
pub(crate) fn record_fields(record: &str) -> Is {
    match record {
        "incident" => Is::Record(INCIDENT),
        "run" => Is::Record(RUN),
        "alert" => Is::Record(ALERT),
        _ => Is::Ci,
    }
}
