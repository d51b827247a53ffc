//! A copy of the whole store, made while it is worked with.

use std::fs::File;
use std::path::Path;

use paramedic_model::Timestamp;
use rusqlite::{Connection, OpenFlags};

use super::error::{At, io};
use super::{meta, open};
use crate::rules::refused;
use crate::{Recovered, Result, StoreError};

const CONTEXT: &str = "backup";

/// Copies what `conn` sees at one moment. The file is there under its name when it is whole and durable, and says of
/// itself that it is a copy; before that it is `TO.part`.
pub(super) fn copy(conn: &Connection, to: &Path) -> Result<()> {
    check_free(to)?;
    let part = open::beside(to, ".part");
    let done = copy_to(conn, &part).and_then(|()| {
        check_free(to)?;
        std::fs::rename(&part, to).map_err(|e| io(CONTEXT, to, &e))?;
        open::sync_folder(CONTEXT, to)
    });
    if done.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    // It is the copy that has no room, not the store.
    done.map_err(|e| match e {
        StoreError::Full(why) => refused(CONTEXT, format!("no room for {}: {why}", to.display())),
        other => other,
    })
}

fn check_free(to: &Path) -> Result<()> {
    match std::fs::symlink_metadata(to) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(io(CONTEXT, to, &e)),
        Ok(_) => Err(refused(CONTEXT, format!("{} is there already: name a new file", to.display()))),
    }
}

fn copy_to(conn: &Connection, part: &Path) -> Result<()> {
    let Some(name) = part.to_str() else {
        return Err(refused(CONTEXT, format!("{}: the name is no UTF-8", part.display())));
    };
    // What an earlier copy left that was cut short.
    match std::fs::remove_file(part) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(CONTEXT, part, &e)),
        _ => {}
    }
    conn.execute("VACUUM INTO ?1", [name]).at(CONTEXT)?;
    mark(part)?;
    File::open(part).and_then(|file| file.sync_all()).map_err(|e| io(CONTEXT, part, &e))
}

/// Who opens the copy must know that it lacks what came after.
fn mark(part: &Path) -> Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let copy = Connection::open_with_flags(part, flags).at(CONTEXT)?;
    copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())).at(CONTEXT)?;
    let now: i64 =
        copy.query_row("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)", [], |row| row.get(0)).at(CONTEXT)?;
    let at = Timestamp::from_millis(now);
    let why = format!("it was restored from a backup made at {at}: what was done after that is not in it");
    meta::set_recovered(&copy, Some(&Recovered { at, why }))?;
    copy.close().map_err(|(_, error)| error).at(CONTEXT)
}
