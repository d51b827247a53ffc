//! What only a store in a file has to do: stay, be one engine's, be refused when damaged, wait when the disk is full.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backup;
mod damage;
mod migration;
mod retain;

use std::path::{Path, PathBuf};

use paramedic_model::{IncidentState, Lane};

use super::{SqliteStore, locked};
use crate::conformance::fixture::*;
use crate::conformance::writer::{Writer, add_step};
use crate::{Claim, Halt, HaltScope, IncidentFilter, Store, StoreError};

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("data/store.db")
}

/// A store with `count` incidents, each with a row of history.
fn filled(path: &Path, count: usize) -> SqliteStore {
    let store = SqliteStore::open(path).unwrap();
    write(&store, 0..count).unwrap();
    store
}

fn write(store: &SqliteStore, names: std::ops::Range<usize>) -> crate::Result<()> {
    Writer::new(store).write(|c| {
        for n in names {
            let one = incident(&n.to_string());
            add_step(c, one.id);
            c.outbox.push(outbox_run(&n.to_string(), &one));
            c.incidents.push(one);
        }
    })
}

fn listed(store: &SqliteStore) -> usize {
    store.incidents(&IncidentFilter { limit: usize::MAX, ..IncidentFilter::default() }).unwrap().len()
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(&file(&folder), 3);
    let halt = Halt { scope: HaltScope::All, by: "ann".into(), reason: "change".into(), at: at(1) };
    store.halt_put(&halt).unwrap();
    store.inbox_append(&[entry("a")]).unwrap();
    store.ruleset_put(digest("set"), &<_>::default()).unwrap();
    let image = store.load_shard(0, &Claim::Alone).unwrap();
    let (counts, incidents) = (store.counts().unwrap(), store.incidents(&<_>::default()).unwrap());
    drop(store);
    let store = SqliteStore::open(&file(&folder)).unwrap();
    let again = store.load_shard(0, &Claim::Alone).unwrap();
    assert_eq!(again.epoch, image.epoch + 1);
    assert_eq!(crate::ShardImage { epoch: image.epoch, ..again }, image);
    assert_eq!(store.counts().unwrap(), counts);
    assert_eq!(store.incidents(&<_>::default()).unwrap(), incidents);
    assert_eq!(store.halts().unwrap(), [halt]);
    assert_eq!(store.inbox_read(0, Lane::Acts, 0, 10).unwrap()[0].entry, entry("a"));
    assert!(store.ruleset_get(digest("set")).unwrap().is_some());
    write(&store, 3..4).unwrap();
    assert_eq!(store.incident_by_number(4).unwrap().unwrap().id, id("3"));
    assert_eq!(store.audit().unwrap().broken, []);
}

#[test]
fn what_was_committed_is_there_though_the_process_ended_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    let store = filled(&path, 3);
    // As a kill -9 leaves it: a log that nobody folded in, and in it what was never committed.
    let torn = locked(store.writer().unwrap());
    torn.execute_batch("PRAGMA cache_spill = 1; PRAGMA cache_size = 1; BEGIN IMMEDIATE").unwrap();
    torn.execute("INSERT INTO halts VALUES ('x', zeroblob(1000000))", []).unwrap();
    let crashed = folder.path().join("crashed.db");
    for suffix in ["", "-wal"] {
        let with = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        std::fs::copy(with(&path), with(&crashed)).unwrap();
    }
    let store = SqliteStore::open(&crashed).unwrap();
    assert_eq!((listed(&store), store.halts().unwrap()), (3, vec![]));
    write(&store, 3..4).unwrap();
}

#[test]
fn a_second_engine_is_refused_at_once_and_let_in_when_the_first_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let first = SqliteStore::open(&file(&folder)).unwrap();
    let begun = std::time::Instant::now();
    match SqliteStore::open(&file(&folder)) {
        Err(error @ StoreError::Locked { .. }) => assert!(error.to_string().contains("another engine"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(begun.elapsed().as_secs() < 2);
    drop(first);
    SqliteStore::open(&file(&folder)).unwrap();
}

fn corrupt(path: &Path) -> String {
    match SqliteStore::open(path) {
        Err(error @ StoreError::Corrupt(_)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_with_a_remedy_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let garbage = b"this is no database at all, ".repeat(200);
    std::fs::write(&path, &garbage).unwrap();
    let said = corrupt(&path);
    assert!(said.contains("store.db") && said.contains("restore a backup"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), garbage);
}

#[test]
fn a_truncated_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(&file(&folder), 200));
    let whole = std::fs::read(file(&folder)).unwrap();
    std::fs::write(file(&folder), &whole[..whole.len() / 2]).unwrap();
    corrupt(&file(&folder));
}

#[test]
fn a_file_with_overwritten_pages_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(&file(&folder), 200));
    let mut bytes = std::fs::read(file(&folder)).unwrap();
    let half = bytes.len() / 2;
    bytes[half..half + 40_000].fill(0x5a);
    std::fs::write(file(&folder), &bytes).unwrap();
    corrupt(&file(&folder));
}

#[test]
fn another_programs_database_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = std::fs::read(&path).unwrap();
    let said = SqliteStore::open(&path).unwrap_err().to_string();
    assert!(said.contains("another program") && said.contains("store.db"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_full_disk_takes_nothing_of_the_batch_and_all_of_it_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(&file(&folder), 3);
    let limit = |pages: i64| {
        let conn = locked(store.writer().unwrap());
        conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    let before = (store.counts().unwrap(), store.load_shard(0, &Claim::Alone).unwrap().scopes);
    limit(1); // as many as there are
    match write(&store, 3..2_000) {
        Err(error @ StoreError::Full(_)) => assert!(error.to_string().contains("free some space"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!((store.counts().unwrap(), store.load_shard(0, &Claim::Alone).unwrap().scopes), before);
    limit(1_000_000);
    write(&store, 3..2_000).unwrap();
    assert_eq!(listed(&store), 2_000);
    assert_eq!(store.incident_by_number(4).unwrap().unwrap().id, id("3"));
    assert_eq!(store.audit().unwrap().broken, []);
}

#[test]
fn a_reader_looks_on_while_the_engine_writes_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert!(SqliteStore::open_read_only(&file(&folder)).is_err(), "there is nothing to read");
    let engine = filled(&file(&folder), 3);
    let reader = SqliteStore::open_read_only(&file(&folder)).unwrap();
    assert_eq!(listed(&reader), 3);
    write(&engine, 3..5).unwrap();
    assert_eq!(listed(&reader), 5);
    assert_eq!(reader.audit().unwrap().rows, 5);
    let refused = [
        reader.load_shard(0, &Claim::Alone).map(|_| ()),
        reader.commit(&<_>::default()),
        reader.inbox_append(&[entry("a")]).map(|_| ()),
        reader.halt_remove(&HaltScope::All).map(|_| ()),
        reader.ruleset_put(digest("set"), &<_>::default()),
    ];
    for result in refused {
        let said = result.unwrap_err().to_string();
        assert!(said.contains("read only"), "{said}");
    }
    drop(engine);
    assert_eq!(listed(&reader), 5);
    drop(reader);
    assert_eq!(listed(&SqliteStore::open_read_only(&file(&folder)).unwrap()), 5, "no engine is needed to read");
}

#[test]
fn reads_do_not_wait_for_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(&file(&folder), 3);
    let mut writing = locked(store.writer().unwrap());
    let tx = writing.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    tx.execute("UPDATE incidents SET state = ?1", [IncidentState::Closed.code()]).unwrap();
    let open = IncidentFilter { states: vec![IncidentState::New], ..IncidentFilter::default() };
    assert_eq!(store.incidents(&open).unwrap().len(), 3);
    tx.commit().unwrap();
    assert_eq!(store.incidents(&open).unwrap().len(), 0);
}
