//! Facts about where scopes and senders are at home.

use std::collections::{BTreeMap, BTreeSet};

use paramedic_model::{Lane, NewInbox, OutboxState, own_scope};

use super::Bench;
use super::fixture::*;
use super::inbox::ids;
use super::writer::{Writer, add_step};
use crate::{Batch, Claim, OutboxMove, Store, StoreError};

fn shard_of(store: &dyn Store, entry: &NewInbox) -> u32 {
    store.inbox_append(std::slice::from_ref(entry)).unwrap()[0].shard
}

pub(super) fn an_entry_goes_to_its_scopes_home(bench: &Bench) {
    let store = bench.store();
    let mut owners = [4, 7].map(|shard| Writer::at(store, shard, &no_source()));
    owners[0].write_in("site-a", |_| ()).unwrap();
    assert_eq!(store.claim_scope("site-b", 7).unwrap(), 7);
    assert_eq!(shard_of(store, &handed("1", "site-a")), 4);
    assert_eq!(shard_of(store, &handed("2", "site-b")), 7);
    let act = NewInbox { scope: "site-b".into(), ..entry("3") };
    assert_eq!(shard_of(store, &act), 7, "acts too");
    // What the dispatcher reports goes the same way.
    let row = outbox_run("run", &incident("one"));
    owners[0].write_in("site-a", |c| c.outbox = vec![row.clone()]).unwrap();
    let started = paramedic_model::OutboxRow { state: OutboxState::Started, ..row.clone() };
    let inbox = vec![handed("4", "site-a"), handed("5", "site-b")];
    let fence = Some((4, owners[0].epoch()));
    let change = OutboxMove { key: row.key, from: OutboxState::Pending, row: started, fence, inbox };
    store.outbox_move(&change).unwrap();
    assert_eq!(
        (ids(store, 4, Lane::Inbox), ids(store, 7, Lane::Inbox)),
        (vec!["1".into(), "4".into()], vec!["2".into(), "5".into()])
    );
}

pub(super) fn an_entry_without_a_home_goes_to_a_known_shard_and_all_later_ones_too(bench: &Bench) {
    let store = bench.store();
    assert_eq!(store.scope_home("early").unwrap(), None);
    assert_eq!(shard_of(store, &handed("early", "early")), 0, "no shard is known yet");
    assert_eq!(store.scope_home("early").unwrap(), Some(0));
    let mut owners = [3, 5].map(|shard| Writer::at(store, shard, &no_source()));
    let scopes: Vec<String> = (0..40).map(|i| format!("site-{i}")).collect();
    let first: Vec<u32> = scopes.iter().map(|scope| shard_of(store, &handed(scope, scope))).collect();
    assert_eq!(first.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([3, 5]), "both, and no others");
    // Whoever comes later: a home stays.
    for shard in [0, 1, 2, 9] {
        Writer::at(store, shard, &no_source());
    }
    for (scope, home) in scopes.iter().zip(&first) {
        assert_eq!(shard_of(store, &handed(&format!("again {scope}"), scope)), *home);
        assert_eq!(store.scope_home(scope).unwrap(), Some(*home));
        assert_eq!(store.claim_scope(scope, 9).unwrap(), *home);
        for (owner, shard) in owners.iter_mut().zip([3, 5]) {
            assert_eq!(owner.write_in(scope, |_| ()).is_ok(), shard == *home);
        }
    }
    assert_eq!(shard_of(store, &handed("early again", "early")), 0);
}

/// Its scope is known only when it was decoded; until then one sender's messages stay in order.
pub(super) fn messages_of_one_source_stay_in_one_shard(bench: &Bench) {
    let store = bench.store();
    for shard in 0..4 {
        Writer::at(store, shard, &no_source()).write_in(&format!("site-{shard}"), |_| ()).unwrap();
    }
    let mut homes = BTreeSet::new();
    for source in ["zabbix", "grafana", "icinga", "nagios", "prtg", "sensu", "check_mk", "munin"] {
        let from = |site: u32| {
            let name = format!("{source}/{site}");
            NewInbox { scope: format!("site-{site}"), ..message(&name, source, "e30=".into()) }
        };
        let shards: BTreeSet<u32> = (0..4).map(|site| shard_of(store, &from(site))).collect();
        assert_eq!(shards.len(), 1, "{source}: {shards:?}");
        homes.extend(shards);
    }
    assert!(homes.len() > 1, "not all in one: {homes:?}");
    // A source is no scope, even where it has the name of one.
    assert_eq!(store.scope_home("zabbix").unwrap(), None);
    assert_eq!(
        shard_of(store, &message("own", "site-3", "e30=".into())),
        shard_of(store, &message("own 2", "site-3", "e30=".into()))
    );
}

pub(super) fn a_shards_own_scope_is_at_home_there_without_a_claim(bench: &Bench) {
    let store = bench.store();
    let own = own_scope(3);
    assert_eq!(store.scope_home(&own).unwrap(), Some(3));
    assert_eq!(store.claim_scope(&own, 1).unwrap(), 3);
    let mut other = Writer::at(store, 1, &no_source());
    assert_eq!(shard_of(store, &handed("a", &own)), 3, "even where that shard was never loaded");
    match other.write_in(&own, |_| ()) {
        Err(StoreError::HomeElsewhere { home: 3, shard: 1, .. }) => {}
        done => panic!("{done:?}"),
    }
    Writer::at(store, 3, &no_source()).write_in(&own, |c| add_step(c, id("one"))).unwrap();
    let scopes = store.load_shard(3, &no_source()).unwrap().scopes;
    assert_eq!(scopes.iter().map(|s| s.scope.as_str()).collect::<Vec<_>>(), [own.as_str()]);
}

pub(super) fn two_claims_of_one_scope_agree(bench: &Bench) {
    let store = bench.store();
    for round in 0..20 {
        let scope = format!("site-{round}");
        let homes: BTreeSet<u32> = std::thread::scope(|threads| {
            let claim = |shard| {
                let scope = &scope;
                threads.spawn(move || store.claim_scope(scope, shard).unwrap())
            };
            let claims = [5, 6, 7, 8].map(claim);
            claims.into_iter().map(|claim| claim.join().unwrap()).collect()
        });
        assert_eq!(homes.len(), 1, "{homes:?}");
        assert_eq!(store.scope_home(&scope).unwrap(), homes.first().copied());
        assert!((5..=8).contains(homes.first().unwrap()));
    }
}

pub(super) fn a_commit_for_a_scope_at_home_elsewhere_writes_nothing(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::at(store, 0, &no_source());
    owner.write(|c| add_step(c, id("one"))).unwrap();
    assert_eq!(store.claim_scope("site-b", 1).unwrap(), 1);
    let before = (store.counts().unwrap(), store.journal(0, 0, 9).unwrap(), store.positions().unwrap());
    let mut own = owner.changes();
    own.incidents = vec![incident("one")];
    let mut batch = owner.batch(vec![own.clone(), owner.changes_in("site-b")]);
    batch.dead_letters = vec![dead_letter(1)];
    batch.handed = vec![handed("a", "default")];
    match store.commit(&batch) {
        Err(StoreError::HomeElsewhere { scope, home: 1, shard: 0 }) => assert_eq!(scope, "site-b"),
        done => panic!("{done:?}"),
    }
    assert_eq!((store.counts().unwrap(), store.journal(0, 0, 9).unwrap(), store.positions().unwrap()), before);
    assert_eq!(store.incident(id("one")).unwrap(), None);
    owner.commit(&Batch { changes: vec![own], ..batch }).unwrap();
    assert_eq!(store.incident(id("one")).unwrap().and_then(|i| i.number), Some(1));
}

pub(super) fn what_is_handed_over_is_there_once_the_batch_is(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::at(store, 0, &no_source());
    let mut other = Writer::at(store, 1, &no_source());
    other.write_in("site-b", |_| ()).unwrap();
    let with = |owner: &Writer<'_>, names: &[&str]| Batch {
        handed: names.iter().map(|name| handed(name, "site-b")).collect(),
        ..owner.batch(vec![owner.changes()])
    };
    let mut failing = with(&owner, &["a", "b"]);
    failing.journal.iter_mut().for_each(|row| row.batch += 1);
    store.commit(&failing).unwrap_err();
    assert_eq!((store.counts().unwrap().inbox, ids(store, 1, Lane::Inbox)), (0, vec![]));
    let batch = with(&owner, &["a", "b"]);
    owner.commit(&batch).unwrap();
    assert_eq!(ids(store, 1, Lane::Inbox), ["a", "b"]);
    assert_eq!(store.inbox_read(1, Lane::Inbox, 1, 1).unwrap()[0].entry, handed("a", "site-b"), "as it was handed");
    // The same record is taken again after a rewind: its id is known.
    let batch = with(&owner, &["b", "c", "c"]);
    owner.commit(&batch).unwrap();
    assert_eq!(ids(store, 1, Lane::Inbox), ["a", "b", "c"]);
    let rows: Vec<u64> = store.inbox_read(1, Lane::Inbox, 0, 9).unwrap().iter().map(|row| row.seq).collect();
    assert_eq!(rows, [1, 2, 3]);
    // What the batch itself gives a home is at home there; what has none gets one.
    let mut batch = owner.batch(vec![owner.changes_in("site-c")]);
    batch.handed = vec![handed("to c", "site-c"), handed("to d", "site-d")];
    owner.commit(&batch).unwrap();
    assert_eq!(ids(store, 0, Lane::Inbox).first().map(String::as_str), Some("to c"));
    let home = store.scope_home("site-d").unwrap().unwrap();
    assert_eq!(ids(store, home, Lane::Inbox).last().map(String::as_str), Some("to d"));
}

/// Takes what a shard's inbox has, in order, as an engine does: it goes on from the last seq that it has seen.
fn follow(store: &dyn Store, shard: u32, lane: Lane, rows: usize, deadline: std::time::Instant) -> Vec<String> {
    let mut seen = Vec::new();
    let mut next = 1;
    while seen.len() < rows {
        assert!(std::time::Instant::now() < deadline, "shard {shard}: {} of {rows} came", seen.len());
        let found = store.inbox_read(shard, lane, next, 7).unwrap();
        if found.is_empty() {
            std::thread::yield_now();
        }
        for row in found {
            assert_eq!(row.seq, next, "shard {shard}: a row came behind one that was read already");
            next = row.seq + 1;
            seen.push(row.entry.id);
        }
    }
    seen
}

/// Two owners commit at once and hand to one another, others append to both, and each inbox is followed.
pub(super) fn shards_hand_to_one_another_at_once_and_nothing_is_lost(bench: &Bench) {
    const BATCHES: usize = 60;
    let store = bench.store();
    for shard in [0, 1] {
        Writer::at(store, shard, &no_source()).write_in(&format!("site-{shard}"), |_| ()).unwrap();
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    let other = |shard: u32| format!("site-{}", 1 - shard);
    let commits = |shard: u32| {
        let mut owner = Writer::at(store, shard, &no_source());
        for n in 0..BATCHES {
            let mut changes = owner.changes_in(&format!("site-{shard}"));
            add_step(&mut changes, id("one"));
            let mut batch = owner.batch(vec![changes]);
            let name = |what: &str| format!("{what} {shard}/{n}");
            batch.handed = vec![handed(&name("first"), &other(shard)), handed(&name("second"), &other(shard))];
            // Now and then to itself as well, in the other order.
            if n % 3 == 0 {
                batch.handed.insert(1, handed(&name("own"), &format!("site-{shard}")));
            }
            owner.commit(&batch).unwrap();
        }
    };
    let appends = |writer: u32| {
        for n in 0..BATCHES {
            let act = |shard: u32| NewInbox { scope: other(shard), ..entry(&format!("act {writer} {shard}/{n}")) };
            let note = |shard: u32| handed(&format!("note {writer} {shard}/{n}"), &other(shard));
            let (a, b) = (writer, 1 - writer);
            store.inbox_append(&[act(a), note(b), note(a), act(b)]).unwrap();
        }
    };
    let own = BATCHES.div_ceil(3);
    let inbox = 2 * BATCHES + own + 2 * BATCHES;
    let followed: BTreeMap<(u32, Lane), Vec<String>> = std::thread::scope(|threads| {
        for shard in [0, 1] {
            threads.spawn(move || commits(shard));
            threads.spawn(move || appends(shard));
        }
        let lanes = [
            (0, Lane::Inbox, inbox),
            (1, Lane::Inbox, inbox),
            (0, Lane::Acts, 2 * BATCHES),
            (1, Lane::Acts, 2 * BATCHES),
        ];
        let readers = lanes.map(|(shard, lane, rows)| {
            ((shard, lane), threads.spawn(move || follow(store, shard, lane, rows, deadline)))
        });
        readers.into_iter().map(|(lane, reader)| (lane, reader.join().unwrap())).collect()
    });
    for ((shard, lane), seen) in &followed {
        assert_eq!(*seen, ids(store, *shard, *lane), "nothing came after the last, and nothing changed");
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
    }
    // Each of the other's batches, in the order in which they were committed.
    for shard in [0, 1] {
        let from_other = |id: &&String| id.starts_with("first") || id.starts_with("second");
        let found: Vec<&String> = followed[&(shard, Lane::Inbox)].iter().filter(from_other).collect();
        let from = 1 - shard;
        let expected: Vec<String> =
            (0..BATCHES).flat_map(|n| [format!("first {from}/{n}"), format!("second {from}/{n}")]).collect();
        assert_eq!(found, expected.iter().collect::<Vec<_>>());
    }
    let audit = store.audit().unwrap();
    assert_eq!((audit.rows, audit.broken), (2 * BATCHES as u64, vec![]));
    assert!(store.load_shard(0, &Claim::Alone).is_err(), "a group has run here");
}
