//! Facts about the inbox.

use paramedic_model::{InboxRow, Lane};

use super::Bench;
use super::fixture::*;
use super::writer::Writer;
use crate::{INBOX_READ_BYTES, InboxPlace, Store};

pub(super) fn seqs(places: &[InboxPlace]) -> Vec<u64> {
    places.iter().map(|place| place.seq).collect()
}

/// Ids of a lane's entries, in order.
pub(super) fn ids(store: &dyn Store, shard: u32, lane: Lane) -> Vec<String> {
    store.inbox_read(shard, lane, 0, 1_000).unwrap().into_iter().map(|row| row.entry.id).collect()
}

pub(super) fn inbox_ids_are_appended_once_and_in_order(bench: &Bench) {
    let store = bench.store();
    assert!(store.inbox_append(&[]).unwrap().is_empty());
    let places = store.inbox_append(&[entry("a"), entry("b")]).unwrap();
    assert_eq!(places, [1, 2].map(|seq| InboxPlace { shard: 0, lane: Lane::Acts, seq }));
    // Known ids keep their place and their body, whatever is said under them later; they use none up.
    let again = handed("a", "default");
    assert_eq!(seqs(&store.inbox_append(&[entry("b"), again, entry("c"), entry("c")]).unwrap()), [2, 1, 3, 3]);
    assert_eq!(seqs(&store.inbox_append(&[entry("d")]).unwrap()), [4]);
    let rows = store.inbox_read(0, Lane::Acts, 0, 100).unwrap();
    let expected: Vec<_> =
        ["a", "b", "c", "d"].iter().zip(1..).map(|(id, seq)| InboxRow { seq, entry: entry(id) }).collect();
    assert_eq!(rows, expected);
    assert_eq!(store.inbox_read(0, Lane::Acts, 2, 2).unwrap(), expected[1..3]);
    assert_eq!(store.inbox_read(0, Lane::Acts, 5, 10).unwrap(), []);
    assert_eq!(store.inbox_read(0, Lane::Inbox, 0, 10).unwrap(), []);
    assert_eq!(store.inbox_read(1, Lane::Acts, 0, 10).unwrap(), []);
    assert_eq!(store.counts().unwrap().inbox, 4);
}

pub(super) fn acts_never_wait_behind_the_inbox(bench: &Bench) {
    let store = bench.store();
    let flood: Vec<_> = (0..100).map(|i| handed(&i.to_string(), "default")).collect();
    store.inbox_append(&flood).unwrap();
    let mixed = [handed("report", "default"), entry("act"), message("hook", "hook", "e30=".into()), entry("act 2")];
    let places = store.inbox_append(&mixed).unwrap();
    let lanes: Vec<_> = places.iter().map(|place| (place.lane, place.seq)).collect();
    assert_eq!(lanes, [(Lane::Inbox, 101), (Lane::Acts, 1), (Lane::Inbox, 102), (Lane::Acts, 2)]);
    assert_eq!(ids(store, 0, Lane::Acts), ["act", "act 2"], "the first that is read");
    assert_eq!(store.inbox_read(0, Lane::Inbox, 102, 9).unwrap()[0].entry, mixed[2]);
}

pub(super) fn each_lane_of_each_shard_counts_from_one(bench: &Bench) {
    let store = bench.store();
    for shard in [0, 1] {
        Writer::at(store, shard, &no_source()).write_in(&format!("site-{shard}"), |_| ()).unwrap();
    }
    let entries = ["a", "b", "c", "d"].map(|id| handed(id, if id < "c" { "site-1" } else { "site-0" }));
    let places = store.inbox_append(&entries).unwrap();
    assert_eq!(places.iter().map(|p| (p.shard, p.seq)).collect::<Vec<_>>(), [(1, 1), (1, 2), (0, 1), (0, 2)]);
    assert_eq!(
        (ids(store, 0, Lane::Inbox), ids(store, 1, Lane::Inbox)),
        (vec!["c".into(), "d".into()], vec!["a".into(), "b".into()])
    );
    // An id is known in all shards.
    assert_eq!(store.inbox_append(&[handed("a", "site-0")]).unwrap(), places[..1]);
    assert_eq!(store.counts().unwrap().inbox, 4);
}

pub(super) fn many_threads_append_without_a_gap(bench: &Bench) {
    let store = bench.store();
    std::thread::scope(|threads| {
        for thread in 0..4 {
            threads.spawn(move || {
                for i in 0..25 {
                    let own = message(&format!("{thread}/{i}"), "hook", "e30=".into());
                    let places = store.inbox_append(&[own, handed(&format!("shared/{i}"), "default")]).unwrap();
                    assert!(seqs(&places).iter().all(|seq| *seq > 0));
                }
            });
        }
    });
    let seqs: Vec<u64> = store.inbox_read(0, Lane::Inbox, 1, 1000).unwrap().iter().map(|row| row.seq).collect();
    assert_eq!(seqs, (1..=125).collect::<Vec<_>>());
}

pub(super) fn one_read_of_the_inbox_is_bounded_by_bytes(bench: &Bench) {
    let store = bench.store();
    let sized = |name: &str, bytes: usize| message(name, "hook", "A".repeat(bytes));
    let third = INBOX_READ_BYTES / 3;
    let small = handed("e", "default");
    let entries = [sized("a", third), sized("b", third), sized("c", third), sized("d", INBOX_READ_BYTES), small];
    store.inbox_append(&entries).unwrap();
    let seqs = |from, limit| {
        store.inbox_read(0, Lane::Inbox, from, limit).unwrap().iter().map(|row| row.seq).collect::<Vec<_>>()
    };
    // What is around a body counts too: the third passes the bound.
    assert_eq!(seqs(1, 9), [1, 2]);
    assert_eq!(seqs(1, 1), [1]);
    assert_eq!(seqs(3, 9), [3]);
    // A row that is too large by itself is given alone.
    assert_eq!(seqs(4, 9), [4]);
    assert_eq!(seqs(5, 9), [5]);
    assert_eq!(seqs(1, 0), Vec::<u64>::new());
}
