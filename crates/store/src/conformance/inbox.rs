//! Facts about the inbox.

use paramedic_model::{InboxBody, InboxRow, RawMessage};

use super::Bench;
use super::fixture::*;
use crate::INBOX_READ_BYTES;

pub(super) fn inbox_ids_are_appended_once_and_in_order(bench: &Bench) {
    let store = bench.store();
    assert!(store.inbox_append(&[]).unwrap().is_empty());
    assert_eq!(store.inbox_append(&[entry("a"), entry("b")]).unwrap(), [1, 2]);
    // Known ids keep their seq and their body; they use none up.
    let mut again = entry("a");
    again.body = InboxBody::RulebooksPublished(digest("set"));
    assert_eq!(store.inbox_append(&[entry("b"), again, entry("c"), entry("c")]).unwrap(), [2, 1, 3, 3]);
    assert_eq!(store.inbox_append(&[entry("d")]).unwrap(), [4]);
    let rows = store.inbox_read(0, 100).unwrap();
    let expected: Vec<_> =
        ["a", "b", "c", "d"].iter().zip(1..).map(|(id, seq)| InboxRow { seq, entry: entry(id) }).collect();
    assert_eq!(rows, expected);
    assert_eq!(store.inbox_read(2, 2).unwrap(), expected[1..3]);
    assert_eq!(store.inbox_read(5, 10).unwrap(), []);
    assert_eq!(store.counts().unwrap().inbox, 4);
}

pub(super) fn many_threads_append_without_a_gap(bench: &Bench) {
    let store = bench.store();
    std::thread::scope(|threads| {
        for thread in 0..4 {
            threads.spawn(move || {
                for i in 0..25 {
                    let message = RawMessage { source: "hook".into(), headers: <_>::default(), body: "e30=".into() };
                    let mut own = entry(&format!("{thread}/{i}"));
                    own.body = InboxBody::Message(message);
                    let seqs = store.inbox_append(&[own, entry(&format!("shared/{i}"))]).unwrap();
                    assert!(seqs.iter().all(|seq| *seq > 0));
                }
            });
        }
    });
    let seqs: Vec<u64> = store.inbox_read(1, 1000).unwrap().iter().map(|row| row.seq).collect();
    assert_eq!(seqs, (1..=125).collect::<Vec<_>>());
}

pub(super) fn one_read_of_the_inbox_is_bounded_by_bytes(bench: &Bench) {
    let store = bench.store();
    let sized = |name: &str, bytes: usize| {
        let mut own = entry(name);
        let message = RawMessage { source: "hook".into(), headers: <_>::default(), body: "A".repeat(bytes) };
        own.body = InboxBody::Message(message);
        own
    };
    let third = INBOX_READ_BYTES / 3;
    let entries = [sized("a", third), sized("b", third), sized("c", third), sized("d", INBOX_READ_BYTES), entry("e")];
    store.inbox_append(&entries).unwrap();
    let seqs = |from, limit| store.inbox_read(from, limit).unwrap().iter().map(|row| row.seq).collect::<Vec<_>>();
    // What is around a body counts too: the third passes the bound.
    assert_eq!(seqs(1, 9), [1, 2]);
    assert_eq!(seqs(1, 1), [1]);
    assert_eq!(seqs(3, 9), [3]);
    // A row that is too large by itself is given alone.
    assert_eq!(seqs(4, 9), [4]);
    assert_eq!(seqs(5, 9), [5]);
    assert_eq!(seqs(1, 0), Vec::<u64>::new());
}
