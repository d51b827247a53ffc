//! Rows of events to topics: delivered at least once, under an id that stays the same, or given up where people see it.

use paramedic_model::{
    Emit, EmitReport, GuardSays, GuardVerdict, InboxBody, NewInbox, OutboxRow, OutboxState, Outcome, Timestamp,
};
use serde_json::Value;

use super::again;

/// The event as it leaves.
pub(super) fn request(row: &OutboxRow, emit: &Emit) -> Value {
    let mut event = emit.event.clone();
    event.insert("id".to_owned(), row.key.to_string().into());
    Value::Object(event)
}

/// Whatever may be tried again is, under its id, for as long as the guards let it: who reads it knows the id.
pub(super) fn after(row: &OutboxRow, emit: &Emit, outcome: &Outcome, now: Timestamp) -> (OutboxRow, Vec<NewInbox>) {
    let (state, message) = match outcome {
        Outcome::Succeeded { message, .. } => (OutboxState::Succeeded, message.clone()),
        Outcome::Accepted { .. } => (OutboxState::Succeeded, "accepted".to_owned()),
        Outcome::Failed { message, never_left: true } | Outcome::Unknown { message, .. } => {
            return (again(row, message, None, now), vec![]);
        }
        Outcome::Failed { message, .. } => (OutboxState::Failed, message.clone()),
    };
    let next = OutboxRow { state, message: Some(message.clone()), not_before: None, ..row.clone() };
    let report = (state == OutboxState::Failed).then(|| report(row, emit, false, message, now));
    (next, report.into_iter().collect())
}

/// A guard does not let it be tried again.
pub(super) fn given_up(
    row: &OutboxRow,
    emit: &Emit,
    verdicts: Vec<GuardVerdict>,
    now: Timestamp,
) -> (OutboxRow, NewInbox) {
    let last = row.message.as_deref().unwrap_or("no answer");
    let message = format!("given up after {} tries: {last}; {}", row.attempts, denial(&verdicts));
    let next = OutboxRow {
        state: OutboxState::Failed,
        verdicts,
        not_before: None,
        message: Some(message.clone()),
        ..row.clone()
    };
    (next, report(row, emit, false, message, now))
}

/// A guard does not let it leave.
pub(super) fn denied(row: &OutboxRow, emit: &Emit, now: Timestamp) -> NewInbox {
    report(row, emit, true, denial(&row.verdicts), now)
}

fn denial(verdicts: &[GuardVerdict]) -> String {
    let no = verdicts.iter().find(|v| v.says == GuardSays::Deny);
    no.map(|v| format!("{}: {}", v.guard, v.reason)).unwrap_or_default()
}

fn report(row: &OutboxRow, emit: &Emit, denied: bool, message: String, now: Timestamp) -> NewInbox {
    let topic = emit.topic.clone();
    NewInbox {
        id: format!("emit|{}", row.key),
        scope: row.scope.clone(),
        at: now,
        body: InboxBody::EmitReported(EmitReport { emit: emit.id, incident: emit.incident, topic, denied, message }),
    }
}
