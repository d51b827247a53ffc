//! A copy is whole, is of one moment, and says that it is a copy.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::Recovered;

#[test]
fn a_copy_made_while_the_engine_writes_is_of_one_moment_and_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(&file(&folder), 300);
    let ended = AtomicBool::new(false);
    let copies: Vec<PathBuf> = (0..3).map(|n| folder.path().join(format!("copy-{n}.db"))).collect();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut writer = Writer::new(&store);
            for n in 300.. {
                let one = incident(&n.to_string());
                writer
                    .write(|c| {
                        add_step(c, one.id);
                        c.incidents.push(one);
                    })
                    .unwrap();
                if ended.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        for copy in &copies {
            store.backup(copy).unwrap();
        }
        ended.store(true, Ordering::SeqCst);
    });
    assert_eq!(store.recovered().unwrap(), None, "the source is what it was");
    let mut lengths = Vec::new();
    for path in &copies {
        let copy = SqliteStore::open(path).unwrap();
        let (audit, counts) = (copy.audit().unwrap(), copy.counts().unwrap());
        assert_eq!(audit.broken, []);
        assert!(audit.rows >= 300);
        let incidents: u64 = counts.incidents.iter().map(|(_, _, n)| n).sum();
        assert_eq!((counts.history, incidents), (audit.rows, audit.rows), "of one moment");
        let said = copy.recovered().unwrap().unwrap();
        assert!(said.why.contains("backup"), "{said:?}");
        lengths.push(audit.rows);
        // It can be gone on with, and forgets that it is a copy when it is told to.
        write(&copy, 100_000..100_001).unwrap();
        copy.recovered_set(None).unwrap();
        assert_eq!(copy.recovered().unwrap(), None);
    }
    assert!(lengths.is_sorted(), "{lengths:?}");
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|n| n.to_string_lossy().ends_with(".part")), "{names:?}");
}

#[test]
fn a_file_that_is_there_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(&file(&folder), 3);
    let taken = folder.path().join("taken");
    std::fs::write(&taken, "a letter").unwrap();
    let said = store.backup(&taken).unwrap_err().to_string();
    assert!(said.contains("taken") && said.contains("name a new file"), "{said}");
    assert_eq!(std::fs::read(&taken).unwrap(), b"a letter");
    assert!(store.backup(&file(&folder)).is_err(), "nor the store itself");
    assert_eq!(listed(&store), 3);
    assert!(store.backup(&folder.path().join("no such folder/copy.db")).is_err());
}

#[test]
fn a_copy_that_was_cut_short_does_not_hinder_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(&file(&folder), 3);
    let copy = folder.path().join("copy.db");
    std::fs::write(folder.path().join("copy.db.part"), "half a copy").unwrap();
    store.backup(&copy).unwrap();
    assert_eq!(listed(&SqliteStore::open_read_only(&copy).unwrap()), 3);
    assert!(!folder.path().join("copy.db.part").exists());
}

#[test]
fn who_only_looks_on_can_make_a_copy_too_and_so_can_a_store_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let engine = filled(&file(&folder), 3);
    let looker = SqliteStore::open_read_only(&file(&folder)).unwrap();
    looker.backup(&folder.path().join("a.db")).unwrap();
    let memory = SqliteStore::in_memory().unwrap();
    write(&memory, 0..3).unwrap();
    memory.backup(&folder.path().join("b.db")).unwrap();
    for copy in ["a.db", "b.db"] {
        let copy = SqliteStore::open(&folder.path().join(copy)).unwrap();
        assert_eq!((listed(&copy), copy.recovered().unwrap().is_some()), (3, true));
    }
    assert_eq!((engine.recovered().unwrap(), memory.recovered().unwrap()), (None, None));
}

#[test]
fn what_is_said_about_a_recovered_store_stays_until_it_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let said = Recovered { at: at(1), why: "timeline 2, was 1".into() };
    SqliteStore::open(&file(&folder)).unwrap().recovered_set(Some(&said)).unwrap();
    let store = SqliteStore::open(&file(&folder)).unwrap();
    assert_eq!(store.recovered().unwrap(), Some(said));
    store.recovered_set(None).unwrap();
    drop(store);
    assert_eq!(SqliteStore::open(&file(&folder)).unwrap().recovered().unwrap(), None);
}

#[test]
fn stores_in_memory_share_nothing() {
    let (a, b) = (SqliteStore::in_memory().unwrap(), SqliteStore::in_memory().unwrap());
    write(&a, 0..3).unwrap();
    assert_eq!((listed(&a), listed(&b)), (3, 0));
    assert_eq!(a.audit().unwrap().rows, 3);
}
