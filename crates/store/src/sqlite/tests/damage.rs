//! Damage is found, and said with the file's name and a remedy.

use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use super::*;
use crate::Claim;

const PAGE: usize = 4096;

fn told(error: &StoreError, path: &Path) {
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    let (said, name) = (error.to_string(), path.display().to_string());
    assert!(said.contains(&name) && said.contains("copy the backup to"), "{said}");
}

#[test]
fn a_file_of_zeros_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    for length in [0, 1, 100, PAGE, 100 * PAGE] {
        std::fs::write(&path, vec![0; length]).unwrap();
        told(&SqliteStore::open(&path).unwrap_err(), &path);
        told(&SqliteStore::open_read_only(&path).unwrap_err(), &path);
        assert_eq!(std::fs::read(&path).unwrap(), vec![0; length], "it is left as it is");
    }
}

#[test]
fn a_store_whose_making_was_cut_short_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    for left in ["store.db.new", "store.db.new-wal", "store.db.new-journal"] {
        std::fs::write(folder.path().join(left), "half a database").unwrap();
    }
    assert_eq!(listed(&filled(&path, 3)), 3);
    assert!(!folder.path().join("store.db.new").exists());
}

/// A store that is too large to be looked through whole when it is opened. Gives the places of pages with incidents.
fn large(path: &Path) -> Vec<u64> {
    let store = filled(path, 300);
    let letters = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1100)
        INSERT INTO dead_letters (source, position, \"offset\", reason, bytes, digest, length, at)
        SELECT 'zabbix', 'inbox', i, '', zeroblob(65536), '', 0, 0 FROM n";
    locked(store.writer().unwrap()).execute(letters, []).unwrap();
    drop(store);
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes.len() > 64 << 20, "{}", bytes.len());
    // Leaves of the table of incidents: their kind, and a column that only they have.
    let is_incident = |page: &&[u8]| page[0] == 0x0d && page.windows(15).any(|w| w == b"\"reopen_count\":");
    (0_u64..).zip(bytes.chunks(PAGE)).filter(|(_, page)| is_incident(page)).map(|(n, _)| n * PAGE as u64).collect()
}

fn overwrite(path: &Path, at: u64, byte: u8) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte; PAGE]).unwrap();
}

#[test]
fn a_garbage_page_in_a_large_file_is_met_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    let places = large(&path);
    let middle = places[places.len() / 2];
    for byte in [0x5a, 0xff, 0] {
        overwrite(&path, middle, byte);
        let store = SqliteStore::open(&path).unwrap();
        told(&store.load_shard(0, &Claim::Alone).unwrap_err(), &path);
        let filter = IncidentFilter { limit: usize::MAX, ..IncidentFilter::default() };
        told(&store.incidents(&filter).unwrap_err(), &path);
    }
}

#[test]
fn a_commit_that_meets_a_garbage_page_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    let places = large(&path);
    let store = SqliteStore::open(&path).unwrap();
    let mut writer = Writer::new(&store);
    drop(writer.write(|_| {}));
    // What is in memory is good; a smaller memory has to read again.
    locked(store.writer().unwrap()).execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA shrink_memory").unwrap();
    places.iter().for_each(|at| overwrite(&path, *at, 0x5a));
    let closed = |n: usize| in_state(IncidentState::Resolved, incident(&n.to_string()));
    let failed = writer.write(|c| c.incidents.extend((0..300).map(closed))).unwrap_err();
    told(&failed, &path);
}

#[test]
fn a_large_file_that_was_cut_off_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    large(&path);
    let length = std::fs::metadata(&path).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 10 * PAGE as u64).unwrap();
    told(&SqliteStore::open(&path).unwrap_err(), &path);
}

#[test]
fn a_file_that_another_program_holds_is_away_not_broken() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(&file(&folder), 1);
    locked(store.writer().unwrap()).busy_timeout(Duration::ZERO).unwrap();
    let other = rusqlite::Connection::open(file(&folder)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    match store.inbox_append(&[entry("a")]) {
        Err(error @ StoreError::Away { .. }) => assert!(error.to_string().contains("another program"), "{error}"),
        result => panic!("{result:?}"),
    }
    other.execute_batch("ROLLBACK").unwrap();
    store.inbox_append(&[entry("a")]).unwrap();
}
