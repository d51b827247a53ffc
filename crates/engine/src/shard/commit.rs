//! What a batch commits: history and digests, the outbox, and what changed.

use paramedic_model::{Digest, HistoryRow, Order, OutboxRow, OutboxState, ScopeChanges, SeenId, Timestamp};
use serde_json::Value;

use super::Scope;
use crate::decision::{Command, Decided, Decision};
use crate::state::Dirty;

/// Takes a decision into the scope's digests and history, and its command into the outbox.
pub(super) fn record(scope: &mut Scope, cluster: &str, name: &str, ordinal: usize, one: &Decided) {
    let Decision::Step(step) = &one.decision else { return };
    let mut data = serde_json::to_value(step).unwrap_or(Value::Null);
    let head = &mut scope.state.head;
    without_sets(&mut data, |data| head.decisions.add_sorted(&(&one.because.input, ordinal, one.at, data)));
    head.last_seq += 1;
    scope.history.push(HistoryRow {
        seq: head.last_seq,
        at: one.at,
        id: one.id,
        record: step.record(),
        step: step.name().to_owned(),
        actor: one.because.actor.clone(),
        reason: one.because.reason.clone(),
        input: one.because.input.to_string(),
        data,
        // Of the chain, when it is committed.
        hash: Digest::default(),
    });
    match one.command() {
        Some(Command::Send(order)) => scope.outbox.push(outbox_row(cluster, name, *order, one.at)),
        Some(Command::Release { run }) => {
            if let Some(run) = scope.state.runs.get(&run).cloned() {
                scope.outbox.push(outbox_row(cluster, name, Order::Run(run), one.at));
            }
        }
        Some(Command::Withdraw { run, why }) => {
            if let Some(run) = scope.state.runs.get(&run) {
                scope.withdrawn.push((run.key(cluster), why));
            }
        }
        None => {}
    }
}

/// Rule sets are named by a digest of all their rulebooks; a rulebook that has no part in a decision is not in
/// its digest.
fn without_sets(data: &mut Value, read: impl FnOnce(&Value)) {
    let mut sets = Vec::new();
    for name in ["incident", "run"] {
        let record = data.get_mut(name).and_then(Value::as_object_mut);
        sets.extend(record.and_then(|record| record.remove("set")).map(|set| (name, set)));
    }
    read(data);
    for (name, set) in sets {
        data[name]["set"] = set;
    }
}

fn outbox_row(cluster: &str, scope: &str, order: Order, at: Timestamp) -> OutboxRow {
    let (key, released_at) = match &order {
        Order::Run(run) => (run.key(cluster), run.released_at.unwrap_or(at)),
        Order::Page(page) => (page.key(cluster), at),
        Order::Emit(emit) => (emit.key(cluster), at),
    };
    OutboxRow {
        key,
        scope: scope.to_owned(),
        order,
        state: OutboxState::Pending,
        released_at,
        attempts: 0,
        not_before: None,
        request: None,
        verdicts: vec![],
        job: None,
        started_at: None,
        message: None,
        cleared: None,
    }
}

/// Links the batch's rows to those before them.
fn link(scope: &mut Scope) {
    let head = &mut scope.state.head;
    for (n, row) in scope.history.iter_mut().enumerate() {
        let skips = paramedic_model::faults::planted("chain_skips_a_row") && n > 0;
        row.hash = row.expected_hash(if skips { Digest::default() } else { head.last_hash });
        head.last_hash = row.hash;
    }
}

/// What changed in a scope since the last batch.
pub(super) fn drain(name: &str, scope: &mut Scope) -> ScopeChanges {
    link(scope);
    let state = &mut scope.state;
    let dirty: Dirty = std::mem::take(&mut state.dirty);
    scope.shown = 0;
    let mut changes = ScopeChanges {
        scope: name.to_owned(),
        head: state.head.clone(),
        history: std::mem::take(&mut scope.history),
        outbox: std::mem::take(&mut scope.outbox),
        outbox_cancel: std::mem::take(&mut scope.withdrawn),
        ..ScopeChanges::default()
    };
    for (id, last) in dirty.incidents {
        changes.incidents.extend(last.or_else(|| state.incidents.get(&id).cloned()));
    }
    // Runs of one incident in the order of their decision, numbers of incidents in the order of opening.
    changes.incidents.sort_by_key(|i| (i.opened_at, i.id));
    for (id, last) in dirty.runs {
        changes.runs.extend(last.or_else(|| state.runs.get(&id).cloned()));
    }
    changes.pages = dirty.pages;
    for key in dirty.alerts {
        match state.alerts.get(&key) {
            Some(alert) => changes.alerts.push((**alert).clone()),
            None => changes.alerts_gone.push(key),
        }
    }
    for key in dirty.parked {
        match state.parked.get(&key) {
            Some(parked) => changes.parked.push(parked.clone()),
            None => changes.parked_gone.push(key),
        }
    }
    for id in dirty.seen {
        match state.seen.get(&id) {
            Some(at) => changes.seen.push((SeenId::clone(&id), *at)),
            None => changes.seen_gone.push(SeenId::clone(&id)),
        }
    }
    for id in dirty.timers {
        match state.timers.get(&id) {
            Some(timer) => changes.timers.push(timer.clone()),
            None => changes.timers_gone.push(id),
        }
    }
    for id in dirty.windows {
        match state.windows.get(&id) {
            Some(window) => changes.windows.push((**window).clone()),
            None => changes.windows_gone.push(id),
        }
    }
    changes.cis.extend(dirty.cis.iter().filter_map(|id| state.cmdb.get(*id).cloned()));
    changes.relations.extend(dirty.relations);
    changes
}
