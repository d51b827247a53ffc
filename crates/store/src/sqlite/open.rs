//! Opening the file: who may, whether it is sound, and how the connections are set.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::checkpoint::Checkpointer;
use super::error::{At, io, is_full};
use super::{Connections, SqliteStore, schema};
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
        if let Some(folder) = folder_of(path) {
            std::fs::create_dir_all(folder).map_err(|e| io(OPENING, folder, &e))?;
        }
        let lock = take_lock(path)?;
        let open = || {
            create(path)?;
            Ok((writer(path)?, reader(path)?))
        };
        let (writer, reader) = open().map_err(|e| explained(path, e))?;
        Ok(Self {
            path: path.to_owned(),
            _checkpointer: Some(Checkpointer::start(path)),
            connections: Connections::Engine { reader: Mutex::new(reader), writer: Mutex::new(writer) },
            _lock: Some(lock),
        })
    }

    /// Opens an existing store to look at it, while an engine may be running on it. Whatever would write is refused.
    ///
    /// # Errors
    /// As [`SqliteStore::open`], but never [`StoreError::Locked`]; and when there is no file.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        std::fs::metadata(path).map_err(|e| io(OPENING, path, &e))?;
        let reader = check_begins(path).and_then(|()| reader(path)).map_err(|e| explained(path, e))?;
        let connections = Connections::ReadOnly(Mutex::new(reader));
        Ok(Self { path: path.to_owned(), _checkpointer: None, connections, _lock: None })
    }

    /// An empty store in memory: the same tables and statements, and gone when it is dropped.
    ///
    /// # Errors
    /// None that is known: the schema is the program's own.
    pub fn in_memory() -> Result<Self> {
        let mut conn = Connection::open_in_memory().at(OPENING)?;
        settings(&conn, 8)?;
        schema::migrate(&mut conn)?;
        let connections = Connections::Memory(Mutex::new(conn));
        Ok(Self { path: PathBuf::from(":memory:"), _checkpointer: None, connections, _lock: None })
    }
}

/// Makes the file where there is none, whole before it has its name: a file without content is never ours.
fn create(path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(_) => return check_begins(path),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(io(OPENING, path, &e)),
    }
    let new = beside(path, ".new");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let left = beside(&new, suffix);
        match std::fs::remove_file(&left) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(OPENING, &left, &e)),
            _ => {}
        }
    }
    // Closing it folds its log in.
    writer(&new)?.close().map_err(|(_, error)| error).at(OPENING)?;
    std::fs::rename(&new, path).map_err(|e| io(OPENING, path, &e))?;
    sync_folder(OPENING, path)
}

/// SQLite takes a file without content for a new database: everything would be gone, and nobody would be told.
fn check_begins(path: &Path) -> Result<()> {
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let mut begins = Vec::with_capacity(MAGIC.len());
    let read = |file: File| file.take(MAGIC.len() as u64).read_to_end(&mut begins);
    File::open(path).and_then(read).map_err(|e| io(OPENING, path, &e))?;
    match begins.as_slice() {
        MAGIC => Ok(()),
        [] => Err(StoreError::Corrupt("the file is empty: what was in it is gone".to_owned())),
        _ => Err(StoreError::Corrupt("its beginning is not that of a database".to_owned())),
    }
}

/// `PATH` with a suffix.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn folder_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|f| !f.as_os_str().is_empty())
}

/// A new name is durable when its folder is.
pub(super) fn sync_folder(context: &'static str, path: &Path) -> Result<()> {
    let folder = folder_of(path).unwrap_or(Path::new("."));
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| io(context, folder, &e))
}

/// The kernel drops the lock with the process, so a kill -9 leaves nothing to clean up.
fn take_lock(path: &Path) -> Result<File> {
    let name = beside(path, ".lock");
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

/// Says which file it is, and what to do.
pub(super) fn explained(path: &Path, error: StoreError) -> StoreError {
    let p = path.display().to_string();
    let with_path = |why: String| if why.starts_with(&p) { why } else { format!("{p}: {why}") };
    match error {
        StoreError::Corrupt(why) => StoreError::Corrupt(format!(
            "{} (to restore the last backup: end the engine, move {p}, {p}-wal and {p}-shm away, copy the backup to \
             {p}, start the engine)",
            with_path(why)
        )),
        StoreError::Full(why) => StoreError::Full(with_path(why)),
        StoreError::Away { context, cause } if !has_room(path) => {
            StoreError::Full(with_path(format!("{context}: {cause}")))
        }
        StoreError::Away { context, cause } => StoreError::Away { context, cause: with_path(cause) },
        StoreError::Other { context, cause } if context == OPENING => {
            StoreError::Other { context, cause: with_path(cause) }
        }
        other => other,
    }
}

/// SQLite does not always say why the system refused a write. False only where the system says: no room.
fn has_room(path: &Path) -> bool {
    let probe = beside(path, ".probe");
    let written = File::create(&probe).and_then(|mut file| {
        file.write_all(&[0x5a; 64 << 10])?;
        file.sync_all()
    });
    let _ = std::fs::remove_file(&probe);
    !written.is_err_and(|e| is_full(&e))
}
