//! Opening the file: who may, whether it is sound, and how the connections are set.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::{At, io};
use super::{SqliteStore, schema};
use crate::rules::refused;
use crate::{Result, StoreError};

const OPENING: &str = "opening the store";

/// A file up to this size is looked through whole when it is opened (a second or less); in a larger one damage is
/// found when it is read.
const QUICK_CHECK_UP_TO: u64 = 64 << 20;

/// The writer itself folds the write-ahead log in only at 64 MiB, where the thread for that did not keep up.
const CHECKPOINT_PAGES: u32 = 16_000;

impl SqliteStore {
    /// Opens the store in this file for the engine; file and folder are made where there are none.
    ///
    /// # Errors
    /// [`StoreError::Locked`] at once when another engine has it; [`StoreError::Corrupt`] when it is damaged or no
    /// database; [`StoreError::Full`]; [`StoreError::Other`] for a newer schema or another program's file.
    pub fn open(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|e| io(OPENING, folder, &e))?;
        }
        let lock = take_lock(path)?;
        let writer = named(path, writer(path))?;
        let reader = named(path, reader(path))?;
        Ok(Self {
            path: path.to_owned(),
            _checkpointer: Some(super::checkpoint::Checkpointer::start(path)),
            writer: Some(Mutex::new(writer)),
            reader: Mutex::new(reader),
            _lock: Some(lock),
        })
    }

    /// Opens an existing store to look at it, while an engine may be running on it. Whatever would write is refused.
    ///
    /// # Errors
    /// As [`SqliteStore::open`], but never [`StoreError::Locked`]; and when there is no file.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        std::fs::metadata(path).map_err(|e| io(OPENING, path, &e))?;
        let reader = named(path, reader(path))?;
        Ok(Self { path: path.to_owned(), _checkpointer: None, writer: None, reader: Mutex::new(reader), _lock: None })
    }
}

/// The kernel drops the lock with the process, so a kill -9 leaves nothing to clean up.
fn take_lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&name).map_err(|e| io(OPENING, &name, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.display().to_string() }),
        Err(TryLockError::Error(e)) => Err(io(OPENING, &name, &e)),
    }
}

fn writer(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).at(OPENING)?;
    settings(&conn, 32)?;
    schema::check_ours(&conn)?;
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).at(OPENING)?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(refused(OPENING, format!("the file system allows no write-ahead log (journal mode {mode})")));
    }
    conn.pragma_update(None, "synchronous", "FULL").at(OPENING)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).at(OPENING)?;
    conn.pragma_update(None, "journal_size_limit", 64 << 20).at(OPENING)?;
    quick_check(path, &conn)?;
    schema::migrate(&mut conn)?;
    Ok(conn)
}

/// A connection that can write nothing.
pub(super) fn reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).at(OPENING)?;
    settings(&conn, 8)?;
    schema::check_newest(&conn)?;
    Ok(conn)
}

fn settings(conn: &Connection, cache_mib: i64) -> Result<()> {
    conn.busy_timeout(Duration::from_secs(5)).at(OPENING)?;
    conn.set_prepared_statement_cache_capacity(128);
    conn.pragma_update(None, "foreign_keys", false).at(OPENING)?;
    conn.pragma_update(None, "temp_store", "MEMORY").at(OPENING)?;
    conn.pragma_update(None, "cache_size", -1024 * cache_mib).at(OPENING)
}

fn quick_check(path: &Path, conn: &Connection) -> Result<()> {
    let size = std::fs::metadata(path).map_err(|e| io(OPENING, path, &e))?.len();
    if size > QUICK_CHECK_UP_TO {
        return Ok(());
    }
    let found: String = conn.pragma_query_value(None, "quick_check", |row| row.get(0)).at(OPENING)?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Corrupt(found.replace('\n', ", "))) }
}

/// Says which file is damaged.
fn named<T>(path: &Path, opened: Result<T>) -> Result<T> {
    opened.map_err(|e| match e {
        StoreError::Corrupt(why) => StoreError::Corrupt(format!("{}: {why}", path.display())),
        StoreError::Other { context, cause } if context == OPENING => {
            StoreError::Other { context, cause: format!("{}: {cause}", path.display()) }
        }
        other => other,
    })
}
