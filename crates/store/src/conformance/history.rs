//! Facts about history: appended, chained, and what breaks the chain is found.

use paramedic_model::{HistoryRow, ScopeChanges};

use super::Bench;
use super::fixture::*;
use super::writer::{Writer, add_step};
use crate::Audit;

/// Five rows of `default` about two records, two of `site-b`.
fn written(bench: &Bench) -> Writer<'_> {
    let mut owner = Writer::new(bench.store());
    for records in [vec!["one", "two"], vec!["one", "one", "two"]] {
        owner.write(|c| records.iter().for_each(|r| add_step(c, id(r)))).unwrap();
    }
    let mut other = owner.changes_in("site-b");
    add_step(&mut other, id("b"));
    add_step(&mut other, id("b"));
    let batch = owner.batch(vec![other]);
    owner.commit(&batch).unwrap();
    owner
}

fn seqs(rows: &[HistoryRow]) -> Vec<u64> {
    rows.iter().map(|row| row.seq).collect()
}

pub(super) fn history_continues_its_chain(bench: &Bench) {
    let mut owner = written(bench);
    owner.write(|c| c.head.last_seq = 9).unwrap_err();
    owner.write(|c| c.head.last_hash = digest("other")).unwrap_err();
    for seq in [1, 5, 7] {
        let moved = owner.write(|c| {
            c.head.last_seq = seq - 1;
            add_step(c, id("one"));
        });
        moved.unwrap_err();
    }
    let other_chain = owner.write(|c| {
        c.head.last_hash = digest("other");
        add_step(c, id("one"));
    });
    other_chain.unwrap_err();
    let gap = owner.write(|c| {
        add_step(c, id("one"));
        c.head.last_seq += 1;
        add_step(c, id("one"));
    });
    gap.unwrap_err();
    owner.write(|c| add_step(c, id("one"))).unwrap();
    let rows = bench.store().history_of_scope("default", 1, 100).unwrap();
    assert_eq!(seqs(&rows), [1, 2, 3, 4, 5, 6]);
}

pub(super) fn a_sound_history_has_nothing_broken(bench: &Bench) {
    assert_eq!(bench.store().audit().unwrap(), Audit { rows: 0, scopes: 0, broken: vec![] });
    written(bench);
    assert_eq!(bench.store().audit().unwrap(), Audit { rows: 7, scopes: 2, broken: vec![] });
}

/// The scopes and seqs that the audit reports.
fn broken(bench: &Bench) -> Vec<(String, u64)> {
    bench.store().audit().unwrap().broken.into_iter().map(|(scope, seq, _)| (scope, seq)).collect()
}

pub(super) fn an_altered_history_row_is_reported_at_its_seq(bench: &Bench) {
    written(bench);
    let alter: [&dyn Fn(&mut HistoryRow); 4] = [
        &|row| row.reason = "nothing happened".into(),
        &|row| row.data["value"] = 0.3.into(),
        &|row| row.at = at(77),
        &|row| row.hash = digest("other"),
    ];
    for alter in alter {
        let original = bench.store().history_of_scope("default", 4, 1).unwrap().remove(0);
        bench.alter_history("default", 4, &|mut row| {
            alter(&mut row);
            Some(row)
        });
        assert_eq!(broken(bench), [("default".to_owned(), 4)]);
        bench.alter_history("default", 4, &|_| Some(original.clone()));
        assert_eq!(broken(bench), []);
    }
    // With a hash that fits it, the row is sound in itself: the next one no longer follows.
    bench.alter_history("default", 1, &|mut row| {
        row.reason = "nothing happened".into();
        row.hash = row.expected_hash(<_>::default());
        Some(row)
    });
    bench.alter_history("site-b", 2, &|mut row| {
        row.actor = "nobody".into();
        Some(row)
    });
    assert_eq!(broken(bench), [("default".to_owned(), 2), ("site-b".to_owned(), 2)]);
}

pub(super) fn a_missing_history_row_is_reported_at_its_seq(bench: &Bench) {
    written(bench);
    bench.alter_history("default", 3, &|_| None);
    assert_eq!(broken(bench), [("default".to_owned(), 3)]);
    bench.alter_history("default", 2, &|_| None);
    assert_eq!(broken(bench), [("default".to_owned(), 2)]);
    bench.alter_history("default", 1, &|_| None);
    assert_eq!(broken(bench), [("default".to_owned(), 1)]);
    let (_, _, why) = bench.store().audit().unwrap().broken.remove(0);
    assert_eq!(why, "rows 1 to 3 are missing");
}

pub(super) fn history_cut_off_at_its_end_is_reported(bench: &Bench) {
    written(bench);
    bench.alter_history("default", 5, &|_| None);
    bench.alter_history("default", 4, &|_| None);
    bench.alter_history("site-b", 2, &|_| None);
    assert_eq!(broken(bench), [("default".to_owned(), 4), ("site-b".to_owned(), 2)]);
    bench.alter_history("site-b", 1, &|_| None);
    assert_eq!(broken(bench), [("default".to_owned(), 4), ("site-b".to_owned(), 1)]);
}

pub(super) fn a_scope_may_stand_twice_in_a_batch(bench: &Bench) {
    let owner = written(bench);
    let mut first = owner.changes();
    add_step(&mut first, id("one"));
    let mut second = ScopeChanges { head: first.head.clone(), ..owner.changes() };
    add_step(&mut second, id("one"));
    let store = bench.store();
    store.commit(&owner.batch(vec![second.clone(), first.clone()])).unwrap_err();
    store.commit(&owner.batch(vec![first, second])).unwrap();
    assert_eq!(store.audit().unwrap(), Audit { rows: 9, scopes: 2, broken: vec![] });
}

pub(super) fn history_is_read_by_record_and_by_scope(bench: &Bench) {
    written(bench);
    let store = bench.store();
    assert_eq!(seqs(&store.history(id("one")).unwrap()), [1, 3, 4]);
    assert_eq!(seqs(&store.history(id("b")).unwrap()), [1, 2]);
    assert_eq!(store.history(id("nothing")).unwrap(), []);
    assert_eq!(seqs(&store.history_of_scope("default", 3, 2).unwrap()), [3, 4]);
    assert_eq!(store.history_of_scope("nowhere", 0, 10).unwrap(), []);
}
