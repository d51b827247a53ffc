//! Facts about batches: whole, fenced, in order.

use std::collections::BTreeMap;

use paramedic_model::{Incident, IncidentState, JournalRow, Parked, REWIND_EARLIEST, ScopeChanges, SeenId, Timestamp};

use super::Bench;
use super::fixture::*;
use super::writer::{Writer, add_step};
use crate::{Batch, Claim, Counts, DeadLetter, IncidentFilter, Position, PositionMove, ShardImage, Store, StoreError};

fn position(from: Option<i64>, next: i64) -> PositionMove {
    PositionMove { from, to: Position { next, last_at: Some(at(next)), last_digest: Some(digest("record")) } }
}

/// All that can be seen of the store, but for the epoch, which a look raises.
fn everything(store: &dyn Store) -> (ShardImage, Counts, Vec<Incident>, Vec<DeadLetter>, Vec<JournalRow>) {
    let image = ShardImage { epoch: 0, ..store.load_shard(0, &Claim::Alone).unwrap() };
    let incidents = store.incidents(&IncidentFilter::default()).unwrap();
    let (letters, journal) = (store.dead_letters(10).unwrap(), store.journal(0, 0, 10).unwrap());
    (image, store.counts().unwrap(), incidents, letters, journal)
}

/// A batch that writes to every table.
fn full_batch(owner: &Writer<'_>) -> Batch {
    let one = incident("one");
    let mut changes = owner.changes();
    add_step(&mut changes, one.id);
    changes.runs = vec![run("run", &one)];
    changes.pages = vec![page("page", &one, 1)];
    changes.alerts = vec![alert("a")];
    changes.parked = vec![Parked { key: key("p"), time: at(1), at: at(2) }];
    changes.seen = vec![(SeenId { source: "zabbix".into(), id: "1".into() }, at(1))];
    changes.timers = vec![timer("t", 1)];
    changes.cis = vec![ci("web-1")];
    changes.outbox = vec![outbox_run("run", &one)];
    changes.incidents = vec![one];
    let mut batch = owner.batch(vec![changes]);
    batch.positions = BTreeMap::from([("inbox".into(), position(None, 4))]);
    batch.dead_letters = vec![dead_letter(3)];
    batch
}

pub(super) fn a_batch_is_written_whole_or_not_at_all(bench: &Bench) {
    let store = bench.store();
    // What is refused late in the transaction must take back what was written early.
    let spoil: [fn(&mut Batch); 5] = [
        |b| b.journal.iter_mut().for_each(|row| row.batch += 1),
        |b| b.changes[0].history[0].seq += 1,
        |b| b.changes[0].head.last_hash = digest("other"),
        |b| {
            b.positions.insert("kafka/events/0".into(), position(Some(7), 8));
        },
        |b| {
            let twin = Incident { id: id("twin"), ..b.changes[0].incidents[0].clone() };
            b.changes[0].incidents.push(twin);
        },
    ];
    for spoil in spoil {
        let before = everything(store);
        let owner = Writer::new(store);
        let mut batch = full_batch(&owner);
        spoil(&mut batch);
        store.commit(&batch).expect_err("the batch is refused");
        assert_eq!(everything(store), before);
    }
    let mut owner = Writer::new(store);
    let batch = full_batch(&owner);
    owner.commit(&batch).unwrap();
    let counts = store.counts().unwrap();
    assert_eq!((counts.history, counts.dead_letters, counts.outbox["pending"]), (1, 1, 1));
    assert_eq!(store.incident(id("one")).unwrap().unwrap().number, Some(1), "the refused ones took no number");
}

pub(super) fn a_stale_epoch_commits_nothing(bench: &Bench) {
    let store = bench.store();
    let old = Writer::new(store);
    let batch = full_batch(&old);
    let mut new = Writer::new(store);
    match store.commit(&batch) {
        Err(StoreError::Fenced { shard: 0, held: 1, found: 2 }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(store.counts().unwrap(), Counts::default());
    new.commit(&full_batch(&new)).unwrap();
}

pub(super) fn a_shard_that_was_never_loaded_commits_nothing(bench: &Bench) {
    for epoch in [0, 1] {
        let batch = Batch { shard: 9, epoch, ..Batch::default() };
        match bench.store().commit(&batch) {
            Err(StoreError::Fenced { shard: 9, found: 0, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn a_position_moves_only_from_where_it_is(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    let mut go = |from, next| {
        let mut batch = owner.batch(vec![]);
        batch.positions.insert("kafka/events/0".into(), position(from, next));
        owner.commit(&batch)
    };
    go(None, 10).unwrap();
    go(Some(10), 25).unwrap();
    for from in [None, Some(10), Some(26)] {
        match go(from, 30) {
            Err(StoreError::PositionMoved { source_name, expected, found: Some(25) }) => {
                assert_eq!((source_name.as_str(), expected), ("kafka/events/0", from.unwrap_or(0)));
            }
            other => panic!("{other:?}"),
        }
    }
    let image = store.load_shard(0, &Claim::Alone).unwrap();
    assert_eq!(image.positions["kafka/events/0"], position(None, 25).to);
    assert_eq!(store.load_shard(1, &no_source()).unwrap().positions, BTreeMap::new(), "positions are per shard");
}

pub(super) fn a_journal_row_follows_the_last_one(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    for _ in 0..3 {
        owner.commit(&owner.batch(vec![])).unwrap();
    }
    let next = owner.batch(vec![]);
    let spoil: [fn(&mut JournalRow); 4] =
        [|row| row.batch -= 1, |row| row.batch += 1, |row| row.shard += 1, |row| row.epoch += 1];
    for spoil in spoil {
        let mut batch = next.clone();
        batch.journal.iter_mut().for_each(spoil);
        store.commit(&batch).unwrap_err();
    }
    owner.commit(&Batch { journal: None, ..next.clone() }).unwrap();
    let batches =
        |from, limit| -> Vec<u64> { store.journal(0, from, limit).unwrap().iter().map(|row| row.batch).collect() };
    assert_eq!(batches(0, 10), [1, 2, 3]);
    assert_eq!(batches(2, 1), [2]);
    let image = store.load_shard(0, &Claim::Alone).unwrap();
    assert_eq!((image.batch, image.last.map(|row| row.batch)), (3, Some(3)));
}

pub(super) fn numbers_are_given_in_the_order_of_opening_and_stay(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    let names = ["zulu", "alpha", "mike"];
    let numbers = || names.map(|n| store.incident(id(n)).unwrap().unwrap().number);
    owner.write(|c| c.incidents = names.map(incident).into_iter().collect()).unwrap();
    assert_eq!(numbers(), [Some(1), Some(2), Some(3)]);
    let changed = |n| Incident { number: Some(77), state: IncidentState::Resolved, ..incident(n) };
    owner.write(|c| c.incidents = vec![changed("mike"), incident("new"), changed("zulu")]).unwrap();
    assert_eq!(numbers(), [Some(1), Some(2), Some(3)]);
    let new = store.incident_by_number(4).unwrap().unwrap();
    assert_eq!(new, Incident { number: Some(4), ..incident("new") });
    // One that is opened and resolved in one go has its place in the order, too.
    owner.write(|c| c.incidents = vec![changed("gone"), incident("newer")]).unwrap();
    assert_eq!(store.incident_by_number(5).unwrap().unwrap().id, id("gone"));
    assert_eq!(store.incident_by_number(6).unwrap().unwrap().id, id("newer"));
    assert_eq!(store.incident_by_number(7).unwrap(), None);
}

fn twin(of: &str, name: &str) -> Incident {
    Incident { id: id(name), ..incident(of) }
}

pub(super) fn one_open_incident_per_correlation_key(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    owner.write(|c| c.incidents = vec![incident("one")]).unwrap();
    for state in [IncidentState::New, IncidentState::InProgress, IncidentState::OnHold] {
        owner.write(|c| c.incidents = vec![in_state(state, twin("one", "two"))]).unwrap_err();
        assert_eq!(store.incident(id("two")).unwrap(), None);
    }
    let shadow = Incident { shadow: true, ..twin("one", "shadow") };
    owner.write(|c| c.incidents = vec![shadow]).unwrap();
    owner.write(|c| c.incidents = vec![in_state(IncidentState::Resolved, twin("one", "done"))]).unwrap();
    // The resolved one cannot come back while the key is taken.
    owner.write(|c| c.incidents = vec![in_state(IncidentState::InProgress, twin("one", "done"))]).unwrap_err();
    owner.write(|c| c.incidents = vec![in_state(IncidentState::InProgress, incident("one"))]).unwrap();
}

pub(super) fn a_key_is_free_again_in_the_batch_that_resolves_its_incident(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    owner.write(|c| c.incidents = vec![incident("one")]).unwrap();
    let resolved = in_state(IncidentState::Resolved, incident("one"));
    owner.write(|c| c.incidents = vec![twin("one", "two"), resolved]).unwrap();
    assert_eq!(store.incident_by_number(2).unwrap().unwrap().id, id("two"));
    owner.write(|c| c.incidents = vec![in_state(IncidentState::InProgress, incident("one"))]).unwrap_err();
}

pub(super) fn a_closed_incident_moves_no_more(bench: &Bench) {
    let mut owner = Writer::new(bench.store());
    for (name, end) in [("one", IncidentState::Closed), ("two", IncidentState::Canceled)] {
        owner.write(|c| c.incidents = vec![incident(name)]).unwrap();
        owner.write(|c| c.incidents = vec![in_state(end, incident(name))]).unwrap();
        for state in IncidentState::ALL {
            let moved = owner.write(|c| c.incidents = vec![in_state(state, incident(name))]);
            assert_eq!(moved.is_ok(), state == end, "{} -> {}", end.name(), state.name());
        }
    }
    owner.write(|c| c.incidents = vec![in_state(IncidentState::OnHold, incident("three"))]).unwrap();
    owner.write(|c| c.incidents = vec![incident("three")]).unwrap_err();
}

pub(super) fn a_closed_incident_is_not_loaded(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    let all = IncidentState::ALL.map(|state| in_state(state, incident(state.name())));
    owner
        .write(|c| {
            c.runs = all.iter().map(|i| run(&format!("run of {}", i.state.name()), i)).collect();
            c.incidents = all.to_vec();
        })
        .unwrap();
    let image = store.load_shard(0, &Claim::Alone).unwrap();
    let names: Vec<_> = image.scopes[0].incidents.iter().map(|i| i.state.name()).collect();
    assert_eq!(names, ["new", "in_progress", "on_hold", "resolved"]);
    let mut owners: Vec<_> = image.scopes[0].runs.iter().map(|r| r.incident).collect();
    owners.sort();
    let mut live: Vec<_> = names.iter().map(|n| id(n)).collect();
    live.sort();
    assert_eq!(owners, live);
    let closed = store.incident(id("closed")).unwrap().unwrap();
    assert_eq!(closed.state, IncidentState::Closed);
    assert!(store.run(id("run of closed")).unwrap().is_some());
    Writer::new(store).write(|c| c.incidents = vec![in_state(IncidentState::Closed, incident("resolved"))]).unwrap();
    assert_eq!(store.load_shard(0, &Claim::Alone).unwrap().scopes[0].incidents.len(), 3);
}

pub(super) fn a_scope_stays_with_its_shard(bench: &Bench) {
    let store = bench.store();
    Writer::new(store).write(|c| c.cis = vec![ci("web-1")]).unwrap();
    assert_eq!(store.load_shard(1, &no_source()).unwrap().scopes, []);
    let mut other = Writer::at(store, 1, &no_source());
    match other.write(|c| c.cis = vec![ci("web-1")]) {
        Err(StoreError::HomeElsewhere { scope, home: 0, shard: 1 }) => assert_eq!(scope, "default"),
        done => panic!("{done:?}"),
    }
    other.write_in("site-b", |c| c.cis = vec![ci("b")]).unwrap();
    let scopes = |shard| -> Vec<String> {
        store.load_shard(shard, &no_source()).unwrap().scopes.into_iter().map(|s| s.scope).collect()
    };
    assert_eq!((scopes(0), scopes(1)), (vec!["default".to_owned()], vec!["site-b".to_owned()]));
}

/// What a batch takes or changes can be repeated only with its journal row.
pub(super) fn without_a_journal_row_a_batch_only_says_where_sources_begin(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    let bare = Batch { journal: None, ..owner.batch(vec![]) };
    let begin = |batch: &mut Batch, from, next| {
        batch.positions.insert("kafka/events/0".into(), position(from, next));
    };
    let mut first = bare.clone();
    begin(&mut first, None, 7);
    owner.commit(&first).unwrap();
    assert_eq!(store.positions().unwrap(), [(0, "kafka/events/0".to_owned(), position(None, 7).to)]);
    let more: [&dyn Fn(&mut Batch); 4] = [
        &|b| b.changes = vec![ScopeChanges { scope: "default".into(), ..ScopeChanges::default() }],
        &|b| b.dead_letters = vec![dead_letter(1)],
        &|b| b.handed = vec![handed("a", "default")],
        &|b| begin(b, Some(7), 8),
    ];
    let before = everything(store);
    for more in more {
        let owner = Writer::new(store);
        let mut batch = Batch { journal: None, ..owner.batch(vec![]) };
        more(&mut batch);
        let said = store.commit(&batch).unwrap_err().to_string();
        assert!(said.contains("journal row"), "{said}");
        assert_eq!(everything(store), before);
    }
    let mut owner = Writer::new(store);
    // A person moved it to the first record there is; where that is, the source says.
    let mut moved = owner.batch(vec![]);
    begin(&mut moved, Some(7), REWIND_EARLIEST);
    owner.commit(&moved).unwrap();
    let mut found = Batch { journal: None, ..owner.batch(vec![]) };
    begin(&mut found, Some(REWIND_EARLIEST), 3);
    owner.commit(&found).unwrap();
    assert_eq!(store.positions().unwrap()[0].2.next, 3);
}

pub(super) fn what_is_gone_is_not_loaded(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    let parked = |name: &str| Parked { key: key(name), time: at(1), at: at(2) };
    let seen = |name: &str| SeenId { source: "zabbix".into(), id: name.into() };
    owner
        .write(|c| {
            c.alerts = vec![alert("a"), alert("b")];
            c.parked = vec![parked("a"), parked("b")];
            c.seen = vec![(seen("a"), at(1)), (seen("b"), at(1))];
            c.timers = vec![timer("a", 1), timer("b", 2)];
            c.windows = vec![window("a", 1), window("b", 2)];
        })
        .unwrap();
    owner
        .write(|c| {
            c.alerts_gone = vec![key("a"), key("never there")];
            c.parked_gone = vec![key("a")];
            c.seen_gone = vec![seen("a")];
            c.seen = vec![(seen("b"), at(5))];
            c.timers_gone = vec![id("a")];
            c.timers = vec![timer("b", 9)];
            c.windows_gone = vec![id("a")];
            c.windows = vec![window("b", 9)];
        })
        .unwrap();
    let scope = store.load_shard(0, &Claim::Alone).unwrap().scopes.remove(0);
    assert_eq!(scope.alerts, [alert("b")]);
    assert_eq!(scope.parked, [parked("b")]);
    assert_eq!(scope.seen, [(seen("b"), at(5))]);
    assert_eq!(scope.timers, [timer("b", 9)]);
    assert_eq!(scope.windows, [window("b", 9)]);
}

pub(super) fn each_load_raises_the_epoch(bench: &Bench) {
    let store = bench.store();
    let epochs = [0, 0, 1, 0].map(|shard| store.load_shard(shard, &Claim::Alone).unwrap().epoch);
    assert_eq!(epochs, [1, 2, 1, 3]);
}

pub(super) fn dead_letters_are_kept_byte_for_byte(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    for offsets in [vec![1, 2], vec![3]] {
        let mut batch = owner.batch(vec![]);
        batch.dead_letters = offsets.into_iter().map(dead_letter).collect();
        batch.dead_letters.iter_mut().for_each(|d| d.at = Timestamp::EPOCH);
        owner.commit(&batch).unwrap();
    }
    let kept = store.dead_letters(2).unwrap();
    assert_eq!(kept.iter().map(|d| d.offset).collect::<Vec<_>>(), [3, 2]);
    assert_eq!((kept[0].bytes.clone(), kept[0].digest), (dead_letter(3).bytes, dead_letter(3).digest));
}
