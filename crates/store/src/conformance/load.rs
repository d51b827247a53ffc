//! Facts about taking a shard over, and its sources with it.

use std::collections::BTreeMap;

use paramedic_model::own_scope;

use super::Bench;
use super::fixture::*;
use super::writer::Writer;
use crate::{Claim, Position, PositionMove, Result, Store, StoreError};

fn at_place(next: i64) -> Position {
    Position { next, last_at: Some(at(next)), last_digest: Some(digest("record")) }
}

fn go(owner: &mut Writer<'_>, name: &str, from: Option<i64>, to: i64) -> Result<()> {
    let mut batch = owner.batch(vec![]);
    batch.positions.insert(name.into(), PositionMove { from, to: at_place(to) });
    owner.commit(&batch)
}

fn claim(names: &[&str]) -> Claim {
    Claim::Positions(names.iter().map(|name| (*name).to_owned()).collect())
}

/// Where sources are: (shard, name, next).
fn places(store: &dyn Store) -> Vec<(u32, String, i64)> {
    store.positions().unwrap().into_iter().map(|(shard, name, position)| (shard, name, position.next)).collect()
}

/// Shard 0 has two partitions and a file, shard 1 a partition; both have taken from their inboxes.
fn taken(store: &dyn Store) -> [Writer<'_>; 2] {
    let mut owners = [0, 1].map(|shard| Writer::at(store, shard, &no_source()));
    for (owner, name, next) in [
        (0, "kafka/a/0", 10),
        (0, "kafka/b/0", 20),
        (0, "file/x", 30),
        (0, "inbox", 3),
        (1, "kafka/a/1", 40),
        (1, "inbox", 4),
    ] {
        go(&mut owners[owner], name, None, next).unwrap();
    }
    owners
}

fn listed(of: &[(u32, &str, i64)]) -> Vec<(u32, String, i64)> {
    of.iter().map(|(shard, name, next)| (*shard, (*name).to_owned(), *next)).collect()
}

pub(super) fn a_load_takes_the_claimed_sources_from_whoever_had_them(bench: &Bench) {
    let store = bench.store();
    let [mut old, _] = taken(store);
    assert_eq!(store.shards().unwrap(), [(0, 1), (1, 1)]);
    let image = store.load_shard(1, &claim(&["kafka/a/0", "file/x", "kafka/new/0"])).unwrap();
    let expected = [("file/x", 30), ("inbox", 4), ("kafka/a/0", 10), ("kafka/a/1", 40)];
    let expected: BTreeMap<String, Position> =
        expected.into_iter().map(|(name, next)| (name.to_owned(), at_place(next))).collect();
    assert_eq!(image.positions, expected, "a new one has no place yet, and nobody claims a shard's inbox");
    let after = [
        (0, "inbox", 3),
        (0, "kafka/b/0", 20),
        (1, "file/x", 30),
        (1, "inbox", 4),
        (1, "kafka/a/0", 10),
        (1, "kafka/a/1", 40),
    ];
    assert_eq!(places(store), listed(&after));
    assert_eq!(store.shards().unwrap(), [(0, 1), (1, 2)]);
    // The one before is still the owner of its shard, but not of that source: nothing is taken twice.
    for from in [Some(10), None] {
        match go(&mut old, "kafka/a/0", from, 11) {
            Err(StoreError::PositionMoved { source_name, .. }) => assert_eq!(source_name, "kafka/a/0"),
            done => panic!("{done:?}"),
        }
    }
    go(&mut old, "kafka/b/0", Some(20), 21).unwrap();
    go(&mut old, "inbox", Some(3), 4).unwrap();
    let mut new = Writer::at(store, 1, &no_source());
    go(&mut new, "kafka/a/0", Some(10), 11).unwrap();
    // And back, with where it has come to; to claim the inbox by name changes nothing.
    let image = store.load_shard(0, &claim(&["kafka/a/0", "inbox"])).unwrap();
    assert_eq!((image.positions["kafka/a/0"].next, image.positions["inbox"].next), (11, 4));
    assert!(
        store.positions().unwrap().iter().any(|(shard, name, at)| (*shard, name.as_str(), at.next) == (1, "inbox", 4))
    );
}

pub(super) fn a_stale_owners_commit_after_the_claim_is_fenced(bench: &Bench) {
    let store = bench.store();
    let [mut stale, _] = taken(store);
    let mut new = Writer::at(store, 0, &claim(&["kafka/a/0"]));
    match go(&mut stale, "kafka/a/0", Some(10), 11) {
        Err(StoreError::Fenced { shard: 0, held: 1, found: 2 }) => {}
        done => panic!("{done:?}"),
    }
    go(&mut new, "kafka/a/0", Some(10), 11).unwrap();
}

pub(super) fn one_engine_alone_takes_all_sources(bench: &Bench) {
    let store = bench.store();
    taken(store);
    let image = store.load_shard(0, &Claim::Alone).unwrap();
    let names: Vec<_> = image.positions.iter().map(|(name, at)| (name.as_str(), at.next)).collect();
    assert_eq!(names, [("file/x", 30), ("inbox", 3), ("kafka/a/0", 10), ("kafka/a/1", 40), ("kafka/b/0", 20)]);
    let left: Vec<_> = places(store).into_iter().filter(|(shard, ..)| *shard == 1).collect();
    assert_eq!(left, listed(&[(1, "inbox", 4)]));
}

/// Nobody would look after them.
pub(super) fn one_engine_alone_is_refused_where_scopes_are_at_home_elsewhere(bench: &Bench) {
    let store = bench.store();
    let [mut zero, mut one] = taken(store);
    zero.write_in("site-a", |_| ()).unwrap();
    zero.write_in(&own_scope(0), |_| ()).unwrap();
    store.load_shard(0, &Claim::Alone).unwrap();
    let refused = |shard: u32, name: &str| {
        let before = (places(store), store.shards().unwrap());
        let said = store.load_shard(shard, &Claim::Alone).unwrap_err().to_string();
        assert!(said.contains(name), "{said}");
        assert_eq!((places(store), store.shards().unwrap()), before, "and nothing is changed by it");
    };
    refused(1, "site-a");
    // A shard that has given its sources away, but has met something by itself.
    one = {
        drop(one);
        Writer::at(store, 1, &no_source())
    };
    one.write_in(&own_scope(1), |_| ()).unwrap();
    refused(0, &own_scope(1));
    store.claim_scope("site-b", 7).unwrap();
    refused(0, " is at home in shard ");
    store.load_shard(0, &no_source()).unwrap();
}
