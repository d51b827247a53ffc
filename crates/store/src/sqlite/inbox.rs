//! The inbox: appended once per writer's id, read in order.

use paramedic_model::{InboxRow, NewInbox, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::error::{At, int, json, parse, rows, uint};
use crate::{INBOX_READ_BYTES, Result};

const CONTEXT: &str = "inbox";

/// The look before the insert keeps `seq` without gaps: an ignored insert would use one up.
pub(super) fn append(tx: &Connection, entries: &[NewInbox]) -> Result<Vec<u64>> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let mut known = tx.prepare_cached("SELECT seq FROM inbox WHERE id = ?1").at(CONTEXT)?;
    let mut insert =
        tx.prepare_cached("INSERT INTO inbox (id, scope, at, body) VALUES (?1, ?2, ?3, ?4)").at(CONTEXT)?;
    let mut seqs = Vec::with_capacity(entries.len());
    for entry in entries {
        let there: Option<i64> = known.query_row([&entry.id], |row| row.get(0)).optional().at(CONTEXT)?;
        let seq = match there {
            Some(seq) => seq,
            None => insert
                .insert(params![entry.id, entry.scope, entry.at.as_nanos(), json(CONTEXT, &entry.body)?])
                .at(CONTEXT)?,
        };
        seqs.push(uint(seq));
    }
    Ok(seqs)
}

pub(super) fn read(tx: &Connection, from: u64, limit: usize) -> Result<Vec<InboxRow>> {
    let mut find = tx
        .prepare_cached("SELECT seq, id, scope, at, body FROM inbox WHERE seq >= ?1 ORDER BY seq LIMIT ?2")
        .at(CONTEXT)?;
    let mut found = find.query(params![int(from), rows(limit)]).at(CONTEXT)?;
    let mut out = Vec::new();
    let mut bytes = 0;
    while let Some(row) = found.next().at(CONTEXT)? {
        let body: String = row.get(4).at(CONTEXT)?;
        bytes += body.len();
        if bytes > INBOX_READ_BYTES && !out.is_empty() {
            break;
        }
        let entry = NewInbox {
            id: row.get(1).at(CONTEXT)?,
            scope: row.get(2).at(CONTEXT)?,
            at: Timestamp::from_nanos(row.get(3).at(CONTEXT)?),
            body: parse(CONTEXT, &body)?,
        };
        out.push(InboxRow { seq: uint(row.get(0).at(CONTEXT)?), entry });
    }
    Ok(out)
}
