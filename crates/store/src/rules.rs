//! What every store must refuse, whatever it is made of.

use std::borrow::Cow;
use std::fmt::Display;

use paramedic_model::{
    Digest, InboxBody, IncidentMove, IncidentState, JournalRow, NewInbox, OutboxRow, OutboxState, ScopeChanges,
    Timestamp, incident, own_scope, own_shard,
};

use crate::{Batch, OutboxMove, Result, StoreError};

/// A refusal that no caller branches on.
pub(crate) fn refused(context: &'static str, cause: impl Display) -> StoreError {
    StoreError::Other { context, cause: cause.to_string() }
}

/// The fence: the epoch that the caller holds is the store's. A shard that was never loaded has epoch 0.
pub(crate) fn check_fence(shard: u32, held: u64, found: Option<u64>) -> Result<()> {
    let found = found.unwrap_or(0);
    if paramedic_model::faults::planted("no_epoch_check") {
        return Ok(());
    }
    if found == held && held != 0 { Ok(()) } else { Err(StoreError::Fenced { shard, held, found }) }
}

/// A position moves only from where it is.
pub(crate) fn check_position(name: &str, from: Option<i64>, found: Option<i64>) -> Result<()> {
    if from == found || paramedic_model::faults::planted("position_not_compared") {
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
    Err(StoreError::HomeElsewhere { scope: scope.to_owned(), home, shard })
}

/// The name under which an entry's home is looked up: its scope; of a message that is not decoded yet, its source, so
/// that one sender's messages stay in order.
pub(crate) fn home_name(entry: &NewInbox) -> Cow<'_, str> {
    match &entry.body {
        InboxBody::Message(message) => Cow::Owned(format!("webhook:{}", message.source)),
        _ => Cow::Borrowed(&entry.scope),
    }
}

/// The shard where a name is at home that has no home yet: its own, or one of the known shards (in ascending order), the
/// one that Kafka's default partitioner chooses for a record with this key. So what is imported for a scope before its
/// first event is at home where producers that key by scope will send that.
pub(crate) fn first_home(name: &str, shards: &[u32]) -> u32 {
    if let Some(shard) = own_shard(name) {
        return shard;
    }
    let positive = murmur2(name.as_bytes()) & 0x7fff_ffff;
    let at = usize::try_from(positive).unwrap_or(0).checked_rem(shards.len()).unwrap_or(0);
    shards.get(at).copied().unwrap_or(0)
}

/// MurmurHash2 (A. Appleby, public domain), 32 bits, with the seed that Apache Kafka's Java client uses.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut h = 0x9747_b28c ^ length;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// What every shard finds in its inbox when a rule set was published.
pub(crate) fn publication(digest: Digest, at: Timestamp, shard: u32) -> NewInbox {
    NewInbox {
        id: format!("publish|{digest}|{}|{shard}", at.as_nanos()),
        scope: own_scope(shard),
        at,
        body: InboxBody::RulebooksPublished(digest),
    }
}

/// One engine alone takes every source: no scope may be at home in another shard than its own. `homes`: scope or
/// source, and where it is at home.
pub(crate) fn check_alone<'a>(shard: u32, homes: impl IntoIterator<Item = (&'a str, u32)>) -> Result<()> {
    match homes.into_iter().find(|(_, home)| *home != shard) {
        None => Ok(()),
        Some((name, home)) => Err(refused(
            "taking the store over",
            format!(
                "{name} is at home in shard {home}: a group of engines has worked on this store, and one engine without \
                 `kafka.group` would leave that shard alone; keep `kafka.group`, a group of one does as well"
            ),
        )),
    }
}

/// A batch without a journal row does no more than write down where sources begin: what it took could not be repeated.
/// Where a source was moved to one of its ends by hand, that is a beginning too: places before 0 stand for the ends.
pub(crate) fn check_no_journal(batch: &Batch) -> Result<()> {
    let empty = batch.changes.is_empty() && batch.dead_letters.is_empty() && batch.handed.is_empty();
    let begins = |from: Option<i64>| from.is_none_or(|next| next < 0);
    if empty && batch.positions.values().all(|p| begins(p.from)) {
        return Ok(());
    }
    Err(refused("journal", "a batch that takes or changes something needs a journal row"))
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
/// the request's bytes unchanged once there are any (one key, one byte-identical request), and a person's clearing kept.
pub(crate) fn check_move(change: &OutboxMove, found: Option<&OutboxRow>) -> Result<()> {
    let conflict = |found: &str| {
        Err(StoreError::Conflict { key: change.key, expected: change.from.name(), found: found.to_owned() })
    };
    let Some(found) = found else { return conflict("not there") };
    if found.state != change.from {
        return conflict(found.state.name());
    }
    // Who judged it before a person let it go must look again, or that word is lost.
    let cleared = |row: &OutboxRow| row.cleared.as_ref().map(|(_, at)| *at);
    if cleared(&change.row) < cleared(found) {
        return conflict("let go by a person meanwhile");
    }
    // What came of an earlier request says nothing about a later one, which another owner has sent.
    if change.row.attempts < found.attempts {
        return conflict("sent again meanwhile");
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
    use paramedic_model::{Id, Order, Page};

    use super::*;

    /// Expected values: those of Kafka's own unit test of its partitioner's hash.
    #[test]
    fn a_name_is_at_home_where_kafkas_partitioner_sends_its_key() {
        let known = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, hash) in known {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
        assert_eq!(first_home("abc", &[0, 1, 2, 3]), 479_470_107 % 4);
        assert_eq!(first_home("paramedic.7", &[0, 1]), 7);
        assert_eq!(first_home("abc", &[]), 0);
    }

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

    #[test]
    fn a_move_that_does_not_know_of_a_persons_clearing_is_a_conflict() {
        let key = Id::of(&serde_json::json!("row"));
        let at = Timestamp::from_secs;
        let page = Page {
            id: key,
            incident: key,
            step: "escalate/0".into(),
            round: 0,
            to: "desk".into(),
            reason: "x".into(),
            decided_at: at(1),
            shadow: false,
        };
        let row = OutboxRow {
            key,
            scope: "default".into(),
            order: Order::Page(page),
            state: OutboxState::Pending,
            released_at: at(1),
            attempts: 0,
            not_before: None,
            request: None,
            verdicts: vec![],
            job: None,
            started_at: None,
            message: None,
            cleared: None,
        };
        let cleared = |secs| OutboxRow { cleared: Some(("ann".into(), at(secs))), ..row.clone() };
        let to = |row: OutboxRow| OutboxMove { key, from: OutboxState::Pending, row, fence: None, inbox: vec![] };
        check_move(&to(cleared(5)), Some(&row)).unwrap();
        check_move(&to(cleared(6)), Some(&cleared(5))).unwrap();
        for stale in [row.clone(), cleared(4)] {
            let deferred = OutboxRow { state: OutboxState::Deferred, ..stale };
            let refused = check_move(&to(deferred), Some(&cleared(5)));
            assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
        }
        // A reply to a first request comes when another owner has sent a second one.
        let started = |attempts| OutboxRow { state: OutboxState::Started, attempts, ..row.clone() };
        let replied = OutboxRow { state: OutboxState::Failed, ..started(1) };
        let change = OutboxMove { key, from: OutboxState::Started, row: replied, fence: None, inbox: vec![] };
        check_move(&change, Some(&started(1))).unwrap();
        let refused = check_move(&change, Some(&started(2)));
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
}
