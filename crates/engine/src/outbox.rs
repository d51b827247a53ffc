//! The outbox machine, sans-I/O: what the dispatcher does with a row, given what is known. It sends nothing.
//!
//! The caller reads rows and the guards' inputs, asks [`consider`], commits what it says, and only then sends;
//! the outcome goes through [`after`], and is committed with its report to the inbox.

mod emit;
mod guard;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use guard::{GuardInput, judge, strictest, waits_for_clearing};

use paramedic_model::{
    Effect, GuardSays, GuardVerdict, InboxBody, Incident, NewInbox, OnUnknown, OperatorAct, Order, OutboxRow,
    OutboxState, Outcome, Page, PageReport, Run, RunReport, RunState, Span, Timestamp,
};
use serde_json::json;

/// Requests of one row that may leave: for retries that its playbook allows.
pub const MAX_ATTEMPTS: u32 = 6;
/// What a message begins with while an earlier request may have been carried out.
const UNSURE: &str = "it may have happened already; ";
/// A page is tried this often before it is reported undeliverable.
pub const MAX_PAGE_ATTEMPTS: u32 = 10;

/// What is to be done with a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Considered {
    /// Commit this row (`started`) and the reports; then send its request.
    Send(Box<OutboxRow>, Vec<NewInbox>),
    /// Commit this row and the reports; send nothing.
    Settle(Box<OutboxRow>, Vec<NewInbox>),
    /// Commit this row (`accepted`, unchanged) or nothing; ask its job.
    Poll,
    /// Nothing yet.
    Wait,
}

/// What to do with a row now. Idempotent: asked twice, it says the same.
pub fn consider(row: &OutboxRow, input: &GuardInput<'_>) -> Considered {
    if row.not_before.is_some_and(|at| input.now < at) {
        return Considered::Wait;
    }
    match row.state {
        OutboxState::Deferred => Considered::Settle(
            Box::new(OutboxRow { state: OutboxState::Pending, not_before: None, ..row.clone() }),
            vec![],
        ),
        OutboxState::Pending => release(row, input),
        OutboxState::Started if row.not_before.is_some() => retry(row, input),
        OutboxState::Accepted => Considered::Poll,
        _ => Considered::Wait,
    }
}

/// A retry of the same bytes under the same key, where [`after`] allowed one. Every guard holds for it as for the
/// first request; what a denied one leaves behind is as unknown as it was.
fn retry(row: &OutboxRow, input: &GuardInput<'_>) -> Considered {
    let verdicts = judge(row, input);
    match (strictest(&verdicts), &row.order) {
        (GuardSays::Allow, _) => Considered::Send(
            Box::new(OutboxRow { verdicts, attempts: row.attempts + 1, not_before: None, ..row.clone() }),
            vec![],
        ),
        // Recovery waits for the run's end: a run that waited for what comes of recovery would wait for ever.
        (GuardSays::Defer(_), Order::Run(run)) if input.incident.is_some_and(|i| i.evidence.is_some()) => {
            not_again(row, run, verdicts, "recovery was seen meanwhile", input.now)
        }
        // Not due before it is asked again: however many wait, they keep nothing else from its turn.
        (GuardSays::Defer(until), _) => {
            Considered::Settle(Box::new(OutboxRow { verdicts, not_before: Some(until), ..row.clone() }), vec![])
        }
        (GuardSays::Deny, Order::Run(run)) => {
            let no = verdicts.iter().find(|v| v.says == GuardSays::Deny).map(|v| format!("{}: {}", v.guard, v.reason));
            not_again(row, run, verdicts, &no.unwrap_or_default(), input.now)
        }
        (GuardSays::Deny, Order::Emit(emit)) => {
            let (next, report) = emit::given_up(row, emit, verdicts, input.now);
            Considered::Settle(Box::new(next), vec![report])
        }
        (GuardSays::Deny, Order::Page(_)) => {
            let message = Some("overtaken".to_owned());
            let next = OutboxRow { state: OutboxState::Failed, verdicts, not_before: None, message, ..row.clone() };
            Considered::Settle(Box::new(next), vec![])
        }
    }
}

/// Ends a run that was to be sent again: as unknown as its last request left it.
fn not_again(row: &OutboxRow, run: &Run, verdicts: Vec<GuardVerdict>, why: &str, now: Timestamp) -> Considered {
    let unsure = row.message.as_deref().is_some_and(|m| m.starts_with(UNSURE));
    let message = format!("not sent again: {why}");
    let (state, to) = match unsure {
        true => (OutboxState::Unknown, RunState::Unknown),
        false => (OutboxState::Failed, RunState::Failed),
    };
    let next = OutboxRow { state, verdicts, not_before: None, message: Some(message.clone()), ..row.clone() };
    let report = run_report(&next, run, to, &message, now);
    Considered::Settle(Box::new(next), vec![report])
}

fn release(row: &OutboxRow, input: &GuardInput<'_>) -> Considered {
    let verdicts = judge(row, input);
    let strictest = strictest(&verdicts);
    let mut next = OutboxRow { verdicts, ..row.clone() };
    match strictest {
        GuardSays::Allow => {
            next.state = OutboxState::Started;
            next.attempts += 1;
            next.started_at = Some(input.now);
            next.not_before = None;
            next.request = Some(request(row, input.incident));
            let report = match &row.order {
                Order::Run(run) => vec![run_report(&next, run, RunState::Started, "", input.now)],
                Order::Page(_) | Order::Emit(_) => vec![],
            };
            Considered::Send(Box::new(next), report)
        }
        GuardSays::Defer(until) => {
            next.state = OutboxState::Deferred;
            next.not_before = Some(until);
            Considered::Settle(Box::new(next), vec![])
        }
        GuardSays::Deny => {
            let reports = match &row.order {
                Order::Run(run) => {
                    next.state = OutboxState::Denied;
                    vec![run_report(&next, run, RunState::Denied, "a guard said no", input.now)]
                }
                Order::Emit(emit) => {
                    next.state = OutboxState::Denied;
                    vec![emit::denied(&next, emit, input.now)]
                }
                Order::Page(_) => {
                    next.state = OutboxState::Cancelled;
                    next.message = Some("overtaken".to_owned());
                    vec![]
                }
            };
            Considered::Settle(Box::new(next), reports)
        }
    }
}

/// The body of the request: the same for the same row, always. Committed before the first byte leaves.
fn request(row: &OutboxRow, incident: Option<&Incident>) -> String {
    if let Some(committed) = &row.request {
        return committed.clone();
    }
    let body = match &row.order {
        Order::Run(run) => json!({
            "run": row.key,
            "playbook": run.playbook,
            "target": {"id": run.target.id, "name": run.target.name, "class": run.target.class},
            "parameters": run.parameters,
        }),
        Order::Emit(emit) => emit::request(row, emit),
        Order::Page(page) => json!({
            "page": row.key,
            "to": page.to,
            "reason": page.reason,
            "at": page.decided_at,
            "incident": incident.map(|i| json!({
                "id": i.id,
                "number": i.number.map(incident_number),
                "summary": i.summary,
                "priority": i.priority(),
                "state": i.state.name(),
                "about": i.about,
                "scope": i.scope,
                "opened_at": i.opened_at,
                "assigned_to": i.assigned_to,
            })),
        }),
    };
    paramedic_model::canonical(&body)
}

/// `INC0000042`.
pub fn incident_number(number: u64) -> String {
    format!("INC{number:07}")
}

/// What a row becomes after a request's or a look-up's outcome, with the reports that go with it.
///
/// An outcome that the table of states has no move for changes nothing and reports nothing.
pub fn after(row: &OutboxRow, outcome: &Outcome, now: Timestamp) -> (OutboxRow, Vec<NewInbox>) {
    let (next, reports) = match &row.order {
        Order::Run(run) => after_run(row, run, outcome, now),
        Order::Page(page) => after_page(row, page, outcome, now),
        Order::Emit(emit) => emit::after(row, emit, outcome, now),
    };
    let asked_again = row.state == OutboxState::Accepted && next.state == OutboxState::Accepted;
    if asked_again || row.state.may_become(next.state) { (next, reports) } else { (row.clone(), vec![]) }
}

fn after_run(row: &OutboxRow, run: &Run, outcome: &Outcome, now: Timestamp) -> (OutboxRow, Vec<NewInbox>) {
    let end = |state: OutboxState, to: RunState, message: &str| {
        let next = OutboxRow { state, message: Some(message.to_owned()), not_before: None, ..row.clone() };
        let report = run_report(&next, run, to, message, now);
        (next, vec![report])
    };
    let deadline = row.started_at.unwrap_or(now).plus(run.timeout);
    // An earlier request of a playbook that allows retries may have been carried out; a later one that did not get
    // through says nothing about it.
    let unsure = row.message.as_deref().is_some_and(|m| m.starts_with(UNSURE));
    match outcome {
        Outcome::Succeeded { message, facts } => {
            let (next, mut reports) = end(OutboxState::Succeeded, RunState::Succeeded, message);
            for entry in &mut reports {
                if let InboxBody::RunReported(report) = &mut entry.body {
                    report.facts.clone_from(facts);
                }
            }
            (next, reports)
        }
        Outcome::Failed { message, never_left: true } if row.state == OutboxState::Accepted => {
            // It could not be asked about: that is not its result.
            if now < deadline {
                (again(row, message, None, now), vec![])
            } else {
                end(OutboxState::Unknown, RunState::Unknown, message)
            }
        }
        Outcome::Failed { message, never_left: true } if row.attempts < MAX_ATTEMPTS && now < deadline => {
            let message = if unsure { format!("{UNSURE}{message}") } else { message.clone() };
            (again(row, &message, None, now), vec![])
        }
        // A refusal of the later request says nothing about the earlier one. An accepted job's own status does.
        Outcome::Failed { message, .. } if unsure && row.state != OutboxState::Accepted => {
            end(OutboxState::Unknown, RunState::Unknown, &format!("{UNSURE}{message}"))
        }
        Outcome::Failed { message, .. } => end(OutboxState::Failed, RunState::Failed, message),
        Outcome::Accepted { .. } if now >= deadline => {
            end(OutboxState::Unknown, RunState::Unknown, &format!("accepted, but no result within {}", run.timeout))
        }
        Outcome::Accepted { job, retry_after } => {
            let first = row.state != OutboxState::Accepted;
            let next = OutboxRow {
                state: OutboxState::Accepted,
                job: Some(job.clone()),
                not_before: Some(now.plus(*retry_after)),
                ..row.clone()
            };
            let report = first.then(|| run_report(&next, run, RunState::Accepted, "accepted", now));
            (next, report.into_iter().collect())
        }
        Outcome::Unknown { message, retry_after } => {
            let may_retry = (run.on_unknown == OnUnknown::Retry && run.effect != Effect::NonIdempotent)
                || paramedic_model::faults::planted("retry_of_unknown");
            if may_retry && row.attempts < MAX_ATTEMPTS && now < deadline && row.state == OutboxState::Started {
                (again(row, &format!("{UNSURE}{message}"), *retry_after, now), vec![])
            } else {
                end(OutboxState::Unknown, RunState::Unknown, message)
            }
        }
    }
}

fn after_page(row: &OutboxRow, page: &Page, outcome: &Outcome, now: Timestamp) -> (OutboxRow, Vec<NewInbox>) {
    let (state, delivered, message) = match outcome {
        Outcome::Succeeded { message, .. } => (OutboxState::Succeeded, true, message.clone()),
        Outcome::Accepted { .. } => (OutboxState::Succeeded, true, "accepted".to_owned()),
        Outcome::Failed { message, never_left: true } | Outcome::Unknown { message, .. }
            if row.attempts < MAX_PAGE_ATTEMPTS =>
        {
            return (again(row, message, None, now), vec![]);
        }
        Outcome::Failed { message, .. } | Outcome::Unknown { message, .. } => {
            (OutboxState::Failed, false, message.clone())
        }
    };
    let next = OutboxRow { state, message: Some(message.clone()), not_before: None, ..row.clone() };
    (next, vec![page_report(row, page, delivered, message, now)])
}

/// Later, under the same key, the same bytes.
fn again(row: &OutboxRow, message: &str, retry_after: Option<Span>, now: Timestamp) -> OutboxRow {
    let wait = Span::from_millis(500 << row.attempts.min(6)).max(retry_after.unwrap_or_default());
    OutboxRow { not_before: Some(now.plus(wait)), message: Some(message.to_owned()), ..row.clone() }
}

/// What a new owner does with a row that the last one left in `started`: whether it left is unknown. It is
/// sent again, under its key, only where its playbook allows that; `None`: leave it as it is. A row that waits for
/// a retry is left: its last outcome is known, and it is committed as sent before it is sent again.
pub fn adopt(row: &OutboxRow, now: Timestamp) -> Option<(OutboxRow, Vec<NewInbox>)> {
    if row.state != OutboxState::Started || row.not_before.is_some() {
        return None;
    }
    let message = "the engine stopped between `started` and the reply".to_owned();
    Some(after(row, &Outcome::Unknown { message, retry_after: None }, now))
}

/// What a reply comes to that found its row in another state than it was sent in: another owner had adopted the row,
/// as `unknown` or to send it again. The first terminal word counts, but only about the last request: where one was sent
/// after the one that this is the reply to (`sent`), that one may still be at work, and the run keeps its place on the
/// target until its end is known. A failure is one only where nothing was sent besides: a refusal of one request says
/// nothing about another.
pub fn late(
    sent: &OutboxRow,
    row: &OutboxRow,
    outcome: &Outcome,
    now: Timestamp,
) -> Option<(OutboxRow, Vec<NewInbox>)> {
    if is_under_way(row) || row.attempts > sent.attempts {
        return None;
    }
    let settles = match (outcome, row.state) {
        (Outcome::Succeeded { .. }, OutboxState::Started | OutboxState::Accepted | OutboxState::Unknown) => true,
        // That a job could not be asked about is not its result.
        (Outcome::Failed { never_left, .. }, OutboxState::Unknown) if row.job.is_some() => !never_left,
        (Outcome::Failed { .. }, OutboxState::Unknown) => row.attempts <= 1,
        _ => false,
    };
    if !settles {
        return None;
    }
    let outcome = match outcome {
        // That it never left was a reason to try again; now there is nobody who would.
        Outcome::Failed { message, .. } => Outcome::Failed { message: message.clone(), never_left: false },
        other => other.clone(),
    };
    let (next, reports) = after(row, &outcome, now);
    (next.state != row.state).then_some((next, reports))
}

/// Whether a request of the row may be on its way right now: its own reply comes first, or its owner's end.
pub fn is_under_way(row: &OutboxRow) -> bool {
    row.state == OutboxState::Started && row.not_before.is_none()
}

/// A person lets a run go that waits because the store was restored. `None`: it has left, or has ended. The entry
/// is for history.
pub fn clear(row: &OutboxRow, by: &str, now: Timestamp) -> Option<(OutboxRow, NewInbox)> {
    let Order::Run(run) = &row.order else { return None };
    let waits = match row.state {
        OutboxState::Pending | OutboxState::Deferred => true,
        // It waits to be sent again.
        OutboxState::Started => row.not_before.is_some(),
        _ => false,
    };
    if !waits {
        return None;
    }
    let not_before = (row.state == OutboxState::Started).then_some(now);
    let next = OutboxRow { cleared: Some((by.to_owned(), now)), not_before, ..row.clone() };
    let entry = NewInbox {
        id: format!("clear|{}|{}", row.key, now.as_nanos()),
        scope: row.scope.clone(),
        at: now,
        body: InboxBody::Operator { by: by.to_owned(), act: OperatorAct::Clear { run: run.id } },
    };
    Some((next, entry))
}

/// A person tells what became of an unknown run.
pub fn settle(
    row: &OutboxRow,
    succeeded: bool,
    by: &str,
    notes: &str,
    now: Timestamp,
) -> Option<(OutboxRow, Vec<NewInbox>)> {
    if row.state != OutboxState::Unknown {
        return None;
    }
    let message = format!("settled by {by}: {notes}");
    let outcome = if succeeded {
        Outcome::Succeeded { message, facts: BTreeMap::new() }
    } else {
        Outcome::Failed { message, never_left: false }
    };
    // What was unsure about it is what the person has found out.
    Some(after(&OutboxRow { message: None, ..row.clone() }, &outcome, now))
}

fn run_report(row: &OutboxRow, run: &Run, state: RunState, message: &str, now: Timestamp) -> NewInbox {
    let report = RunReport {
        run: run.id,
        state,
        started_at: row.started_at,
        message: message.to_owned(),
        facts: BTreeMap::new(),
        verdicts: if state == RunState::Denied { row.verdicts.clone() } else { vec![] },
    };
    NewInbox {
        id: format!("run|{}|{}", row.key, state.name()),
        scope: row.scope.clone(),
        at: now,
        body: InboxBody::RunReported(report),
    }
}

/// The report of a page, for the dispatcher and for simulations.
pub fn page_report(row: &OutboxRow, page: &Page, delivered: bool, message: String, now: Timestamp) -> NewInbox {
    let report = PageReport { page: page.id, incident: page.incident, delivered, message };
    NewInbox {
        id: format!("page|{}|{delivered}", row.key),
        scope: row.scope.clone(),
        at: now,
        body: InboxBody::PageReported(report),
    }
}
