//! What every store must refuse, whatever it is made of.

use std::fmt::Display;

use paramedic_model::{
    Digest, IncidentMove, IncidentState, JournalRow, OutboxRow, OutboxState, ScopeChanges, incident,
};

use crate::{Batch, OutboxMove, Result, StoreError};

/// A refusal that no caller branches on.
pub(crate) fn refused(context: &'static str, cause: impl Display) -> StoreError {
    StoreError::Other { context, cause: cause.to_string() }
}

/// The fence: the epoch that the caller holds is the store's. A shard that was never loaded has epoch 0.
pub(crate) fn check_fence(shard: u32, held: u64, found: Option<u64>) -> Result<()> {
    let found = found.unwrap_or(0);
    if found == held && held != 0 { Ok(()) } else { Err(StoreError::Fenced { shard, held, found }) }
}

/// A position moves only from where it is.
pub(crate) fn check_position(name: &str, from: Option<i64>, found: Option<i64>) -> Result<()> {
    if from == found {
        return Ok(());
    }
    Err(StoreError::PositionMoved { source_name: name.to_owned(), expected: from.unwrap_or(0), found })
}

/// A journal row is this batch's, and the one after the last.
pub(crate) fn check_journal(batch: &Batch, row: &JournalRow, last: u64) -> Result<()> {
    if (row.shard, row.epoch) != (batch.shard, batch.epoch) {
        let cause = format!(
            "the row says shard {}, epoch {}; the batch {}, {}",
            row.shard, row.epoch, batch.shard, batch.epoch
        );
        return Err(refused("journal", cause));
    }
    if row.batch != last + 1 {
        return Err(refused("journal", format!("batch {} does not follow batch {last}", row.batch)));
    }
    Ok(())
}

/// The rows continue the scope's chain, which ends at row `last_seq` with `last_hash`, without a gap, and the head
/// says where they end. That each row follows from the one before is the audit's to prove; here it is looked at
/// where the batch meets the store.
pub(crate) fn check_history(changes: &ScopeChanges, last_seq: u64, last_hash: Digest) -> Result<()> {
    let fail = |cause: String| Err(refused("history", format!("scope {}: {cause}", changes.scope)));
    let (mut last, mut hash) = (last_seq, last_hash);
    for (i, row) in changes.history.iter().enumerate() {
        if row.seq != last + 1 {
            return fail(format!("row {} does not follow row {last}", row.seq));
        }
        if i == 0 && row.hash != row.expected_hash(last_hash) {
            return fail(format!("the hash of row {} does not follow from row {last}", row.seq));
        }
        (last, hash) = (row.seq, row.hash);
    }
    if changes.head.last_seq != last {
        return fail(format!("the head is at row {}, the history ends at {last}", changes.head.last_seq));
    }
    if changes.head.last_hash != hash {
        return fail(format!("the head has another hash than row {last}"));
    }
    Ok(())
}

/// A scope stays with the shard that met it first.
pub(crate) fn check_home(scope: &str, home: u32, shard: u32) -> Result<()> {
    if home == shard {
        return Ok(());
    }
    Err(refused("scope", format!("scope {scope} belongs to shard {home}, not to {shard}")))
}

/// Whether a record may be found in state `to` when it was in `from` a batch ago. One batch may hold several
/// moves, so this is the closure of the table; in it new is never returned to, and closed and canceled end.
pub(crate) fn incident_may_become(from: IncidentState, to: IncidentState) -> bool {
    let mut reached = vec![from];
    let mut at = 0;
    while let Some(&state) = reached.get(at) {
        at += 1;
        for act in IncidentMove::ALL {
            if let Ok(next) = incident::next(state, act)
                && !reached.contains(&next)
            {
                reached.push(next);
            }
        }
    }
    reached.contains(&to)
}

/// Whether the dispatcher's move of a row is one: from the state that was read, to one that the table has, with
/// the request's bytes unchanged once there are any (one key, one byte-identical request).
pub(crate) fn check_move(change: &OutboxMove, found: Option<&OutboxRow>) -> Result<()> {
    let conflict = |found: &str| {
        Err(StoreError::Conflict { key: change.key, expected: change.from.name(), found: found.to_owned() })
    };
    let Some(found) = found else { return conflict("not there") };
    if found.state != change.from {
        return conflict(found.state.name());
    }
    let (from, to) = (found.state, change.row.state);
    let fail = |cause: String| Err(refused("outbox", format!("row {}: {cause}", change.key)));
    if from != to && !from.may_become(to) {
        return fail(format!("{} cannot become {}", from.name(), to.name()));
    }
    if change.row.key != change.key || change.row.order.id() != found.order.id() {
        return fail("a move does not make it another row".to_owned());
    }
    if found.request.is_some() && found.request != change.row.request {
        return fail("its request has been written, and never changes".to_owned());
    }
    Ok(())
}

/// The row withdrawn, where it has not left yet.
pub(crate) fn withdrawn(mut row: OutboxRow, reason: &str) -> Option<OutboxRow> {
    if !matches!(row.state, OutboxState::Pending | OutboxState::Deferred) {
        return None;
    }
    row.state = OutboxState::Cancelled;
    row.message = Some(reason.to_owned());
    Some(row)
}

/// A list's length: 0 stands for 100.
pub(crate) const fn limit(asked: usize) -> usize {
    if asked == 0 { 100 } else { asked }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_and_canceled_end_and_new_is_never_returned_to() {
        use IncidentState as S;
        for state in S::ALL {
            assert!(incident_may_become(state, state));
            assert_eq!(incident_may_become(state, S::New), state == S::New);
            assert_eq!(incident_may_become(S::Closed, state), state == S::Closed);
            assert_eq!(incident_may_become(S::Canceled, state), state == S::Canceled);
        }
        assert!(incident_may_become(S::New, S::Closed));
        assert!(incident_may_become(S::Resolved, S::Canceled), "by a reopen between");
    }
}
