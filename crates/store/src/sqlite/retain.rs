//! What has ended and is older than it is to be kept: archived where it is a record, dropped here.
//!
//! Each call does one bounded step of everything. What is archived is durable in the archive before it is dropped, so
//! a crash between loses nothing: the same is archived again.

use std::path::Path;

use paramedic_model::{HistoryRow, Id, JournalRow, Lane, Span, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

use super::SqliteStore;
use super::error::{At, digest, int, rows, uint};
use super::read;
use crate::archive::Archive;
use crate::chain::Chain;
use crate::rules::refused;
use crate::{Result, Retained, Retention};

const CONTEXT: &str = "retention";

/// Incidents of one step, each with its runs, pages and outbox rows.
const INCIDENTS: usize = 500;
/// Rows of history and journal of one step.
const ROWS: usize = 5_000;
/// Rows of one step that may be large: dead letters, the inbox.
const LARGE_ROWS: usize = 500;

/// Ended long enough ago, and nothing of it may still be on its way or unknown.
const ENDED: &str = "state IN (7, 8) AND updated_at < ?1 AND NOT EXISTS (
    SELECT 1 FROM outbox o WHERE o.incident = incidents.id
    AND o.state NOT IN ('denied', 'cancelled', 'succeeded', 'failed'))";

pub(super) fn step(store: &SqliteStore, keep: &Retention, now: Timestamp, archive: &Path) -> Result<Retained> {
    let before = |span: Span| now.as_nanos().saturating_sub(span.as_nanos());
    let (records, journal, letters) = (before(keep.records), before(keep.journal), before(keep.dead_letters));
    let mut done = Retained {
        dead_letters: store.write(CONTEXT, |tx| drop_dead_letters(tx, letters))?,
        inbox: store.write(CONTEXT, |tx| drop_inbox(tx, journal))?,
        journal: store.write(CONTEXT, |tx| drop_journal(tx, journal))?,
        emits: store.write(CONTEXT, |tx| drop_emits(tx, journal))?,
        ..Retained::default()
    };
    // Incidents before history: with the record goes what keeps its history.
    let archived = archive_incidents(store, records, archive).and_then(|incidents| {
        done.incidents = incidents;
        done.history = archive_history(store, records, archive)?;
        Ok(())
    });
    match archived {
        // What cannot be archived keeps nothing else here: it is told when nothing else is left to do.
        Err(_) if done != Retained::default() => Ok(done),
        Err(error) => Err(error),
        Ok(()) => Ok(done),
    }
}

fn drop_dead_letters(tx: &Connection, before: i64) -> Result<u64> {
    let sql =
        "DELETE FROM dead_letters WHERE place IN (SELECT place FROM dead_letters WHERE at < ?1 ORDER BY at LIMIT ?2)";
    let gone = tx.prepare_cached(sql).at(CONTEXT)?.execute(params![before, rows(LARGE_ROWS)]).at(CONTEXT)?;
    Ok(count(gone))
}

/// Events that have ended. What was decided about them is in history.
fn drop_emits(tx: &Connection, before: i64) -> Result<u64> {
    let sql = "DELETE FROM outbox WHERE place IN (
                   SELECT place FROM outbox WHERE state IN ('denied', 'cancelled', 'succeeded', 'failed')
                   AND released_at < ?1 AND kind = 'emit' LIMIT ?2)";
    let gone = tx.prepare_cached(sql).at(CONTEXT)?.execute(params![before, rows(LARGE_ROWS)]).at(CONTEXT)?;
    Ok(count(gone))
}

/// The beginnings of the lanes: rows that were taken.
fn drop_inbox(tx: &Connection, before: i64) -> Result<u64> {
    let mut dropped = 0;
    for (shard, lane, next) in lanes(tx)? {
        let mut find = tx
            .prepare_cached(
                "SELECT seq, at FROM inbox WHERE shard = ?1 AND lane = ?2 AND seq < ?3 ORDER BY seq LIMIT ?4",
            )
            .at(CONTEXT)?;
        let mut found = find.query(params![shard, lane.name(), next, rows(LARGE_ROWS)]).at(CONTEXT)?;
        let mut last: Option<i64> = None;
        while let Some(row) = found.next().at(CONTEXT)? {
            if row.get::<_, i64>(1).at(CONTEXT)? >= before {
                break;
            }
            last = Some(row.get(0).at(CONTEXT)?);
        }
        let Some(last) = last else { continue };
        let values = params![shard, lane.name(), last];
        let gone = tx
            .prepare_cached("DELETE FROM inbox WHERE shard = ?1 AND lane = ?2 AND seq <= ?3")
            .at(CONTEXT)?
            .execute(values)
            .at(CONTEXT)?;
        tx.prepare_cached("UPDATE lanes SET dropped = ?3 WHERE shard = ?1 AND lane = ?2")
            .at(CONTEXT)?
            .execute(values)
            .at(CONTEXT)?;
        dropped += count(gone);
    }
    Ok(dropped)
}

/// The lanes that were taken from, and what comes next in each.
fn lanes(tx: &Connection) -> Result<Vec<(u32, Lane, i64)>> {
    let mut find = tx
        .prepare_cached(
            "SELECT l.shard, l.lane, p.next FROM lanes l JOIN positions p ON p.shard = l.shard AND p.name = l.lane
             ORDER BY l.shard, l.lane",
        )
        .at(CONTEXT)?;
    let mut found = find.query([]).at(CONTEXT)?;
    let mut out = Vec::new();
    while let Some(row) = found.next().at(CONTEXT)? {
        let name: String = row.get(1).at(CONTEXT)?;
        if let Some(lane) = Lane::from_name(&name) {
            out.push((row.get(0).at(CONTEXT)?, lane, row.get(2).at(CONTEXT)?));
        }
    }
    Ok(out)
}

/// The beginning of each shard's journal, but never its last row: the shard goes on from it.
fn drop_journal(tx: &Connection, before: i64) -> Result<u64> {
    let mut dropped = 0;
    for (shard, _) in super::homes::shards(tx)? {
        let mut find = tx
            .prepare_cached(
                "SELECT body FROM journal WHERE shard = ?1
                 AND batch < (SELECT max(batch) FROM journal WHERE shard = ?1) ORDER BY batch LIMIT ?2",
            )
            .at(CONTEXT)?;
        let mut found = find.query(params![shard, rows(ROWS)]).at(CONTEXT)?;
        let mut last: Option<u64> = None;
        while let Some(row) = found.next().at(CONTEXT)? {
            let row: JournalRow = read::body(CONTEXT, row, 0)?;
            if row.cap.as_nanos() >= before {
                break;
            }
            last = Some(row.batch);
        }
        let Some(last) = last else { continue };
        let gone = tx
            .prepare_cached("DELETE FROM journal WHERE shard = ?1 AND batch <= ?2")
            .at(CONTEXT)?
            .execute(params![shard, int(last)])
            .at(CONTEXT)?;
        dropped += count(gone);
    }
    Ok(dropped)
}

fn archive_incidents(store: &SqliteStore, before: i64, archive: &Path) -> Result<u64> {
    let found = store.read_aside(CONTEXT, |tx| {
        ended(tx, before)?.into_iter().map(|id| whole(tx, &id).map(|all| (id, all))).collect::<Result<Vec<_>>>()
    })?;
    if found.is_empty() {
        return Ok(0);
    }
    let (ids, values): (Vec<Blob>, Vec<Value>) = found.into_iter().unzip();
    Archive::open(archive)?.records(&values)?;
    paramedic_model::faults::point("retention.archived");
    store.write(CONTEXT, |tx| ids.iter().try_fold(0, |gone, id| Ok(gone + drop_incident(tx, id, before)?)))
}

/// An id, as the database has it.
type Blob = Vec<u8>;

fn ended(tx: &Connection, before: i64) -> Result<Vec<Blob>> {
    let sql = format!(
        "SELECT id FROM incidents INDEXED BY incidents_ended WHERE {ENDED} ORDER BY updated_at, number LIMIT ?2"
    );
    let mut find = tx.prepare_cached(&sql).at(CONTEXT)?;
    let found = find.query_map(params![before, rows(INCIDENTS)], |row| row.get(0)).at(CONTEXT)?;
    found.collect::<rusqlite::Result<_>>().at(CONTEXT)
}

/// An incident with everything that goes with it.
fn whole(tx: &Connection, id: &Blob) -> Result<Value> {
    let key = [id];
    let list = |sql: &str| read::list::<Value>(tx, CONTEXT, sql, key);
    let mut incident = list("SELECT body FROM incidents WHERE id = ?1")?.pop().unwrap_or_default();
    let number: Option<i64> = tx
        .prepare_cached("SELECT number FROM incidents WHERE id = ?1")
        .at(CONTEXT)?
        .query_row(key, |row| row.get(0))
        .optional()
        .at(CONTEXT)?;
    if let (Some(fields), Some(number)) = (incident.as_object_mut(), number) {
        fields.insert("number".to_owned(), uint(number).into());
    }
    Ok(json!({
        "incident": incident,
        "runs": list("SELECT body FROM runs WHERE incident = ?1 ORDER BY decided_at, id")?,
        "pages": list("SELECT body FROM pages WHERE incident = ?1 ORDER BY decided_at, rowid")?,
        "outbox": list("SELECT body FROM outbox WHERE incident = ?1 ORDER BY place")?,
    }))
}

/// Only if it is still as it was archived: ended, and nothing of it on its way.
fn drop_incident(tx: &Connection, id: &Blob, before: i64) -> Result<u64> {
    let sql = format!("DELETE FROM incidents WHERE id = ?2 AND {ENDED}");
    let gone = tx.prepare_cached(&sql).at(CONTEXT)?.execute(params![before, id]).at(CONTEXT)?;
    if gone > 0 {
        for sql in [
            "DELETE FROM runs WHERE incident = ?1",
            "DELETE FROM pages WHERE incident = ?1",
            "DELETE FROM outbox WHERE incident = ?1",
        ] {
            tx.prepare_cached(sql).at(CONTEXT)?.execute([id]).at(CONTEXT)?;
        }
    }
    Ok(count(gone))
}

/// The beginning of a scope's history: rows that are old, before the first of a record that is still there.
struct Beginning {
    scope: String,
    rows: Vec<HistoryRow>,
    /// Of each row.
    places: Vec<i64>,
}

fn archive_history(store: &SqliteStore, before: i64, archive: &Path) -> Result<u64> {
    let beginnings = store.read_aside(CONTEXT, |tx| beginnings(tx, before))?;
    if beginnings.is_empty() {
        return Ok(0);
    }
    let archive = Archive::open(archive)?;
    let mut archived = 0;
    for beginning in &beginnings {
        archive.append(&beginning.scope, &beginning.rows)?;
        paramedic_model::faults::point("retention.archived");
        store.write(CONTEXT, |tx| drop_history(tx, beginning))?;
        archived += count(beginning.rows.len());
    }
    Ok(archived)
}

fn beginnings(tx: &Connection, before: i64) -> Result<Vec<Beginning>> {
    let mut find = tx
        .prepare_cached(
            "SELECT scope, archived_seq, archived_hash FROM scopes WHERE last_seq > archived_seq ORDER BY scope",
        )
        .at(CONTEXT)?;
    let scopes = find
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .at(CONTEXT)?
        .collect::<rusqlite::Result<Vec<(String, i64, String)>>>()
        .at(CONTEXT)?;
    let mut left = ROWS;
    let mut out = Vec::new();
    for (scope, archived_seq, archived_hash) in scopes {
        let chain = Chain::after(uint(archived_seq), digest(CONTEXT, &archived_hash)?);
        let beginning = beginning(tx, scope, archived_seq, chain, before, left)?;
        left -= beginning.rows.len();
        if !beginning.rows.is_empty() {
            out.push(beginning);
        }
        if left == 0 {
            break;
        }
    }
    Ok(out)
}

/// What does not follow from what was archived is not archived: a person has to look first.
fn beginning(
    tx: &Connection,
    scope: String,
    archived: i64,
    mut chain: Chain,
    before: i64,
    limit: usize,
) -> Result<Beginning> {
    let mut find = tx
        .prepare_cached("SELECT body, seq, place FROM history WHERE scope = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3")
        .at(CONTEXT)?;
    let mut found = find.query(params![scope, archived, rows(limit)]).at(CONTEXT)?;
    let (mut kept, mut places) = (Vec::new(), Vec::new());
    while let Some(row) = found.next().at(CONTEXT)? {
        let one: Result<HistoryRow> = read::body(CONTEXT, row, 0);
        chain.row(uint(row.get(1).at(CONTEXT)?), one.as_ref().map_err(ToString::to_string));
        if let Some((seq, why)) = chain.broken() {
            let cause =
                format!("the history of scope {scope} is broken at row {seq}: {why}; see `paramedic audit verify`");
            return Err(refused(CONTEXT, cause));
        }
        let one = one?;
        if one.at.as_nanos() >= before || still_there(tx, one.record)? {
            break;
        }
        kept.push(one);
        places.push(row.get(2).at(CONTEXT)?);
    }
    Ok(Beginning { scope, rows: kept, places })
}

fn still_there(tx: &Connection, record: Id) -> Result<bool> {
    tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM incidents WHERE id = ?1) OR EXISTS (SELECT 1 FROM runs WHERE id = ?1)
         OR EXISTS (SELECT 1 FROM pages WHERE id = ?1)",
    )
    .at(CONTEXT)?
    .query_row([record.as_bytes()], |row| row.get(0))
    .at(CONTEXT)
}

/// The anchor moves first: the database lets go only of what is before it. A record whose last row goes has none.
fn drop_history(tx: &Connection, beginning: &Beginning) -> Result<()> {
    let (Some(first), Some(last)) = (beginning.rows.first(), beginning.rows.last()) else { return Ok(()) };
    let moved = tx
        .prepare_cached(
            "UPDATE scopes SET archived_seq = ?3, archived_hash = ?4 WHERE scope = ?1 AND archived_seq = ?2",
        )
        .at(CONTEXT)?
        .execute(params![beginning.scope, int(first.seq) - 1, int(last.seq), last.hash.to_string()])
        .at(CONTEXT)?;
    if moved == 0 {
        return Err(refused(CONTEXT, format!("scope {}: something else archives it too", beginning.scope)));
    }
    let mut forget = tx.prepare_cached("DELETE FROM history_ends WHERE record = ?1 AND place = ?2").at(CONTEXT)?;
    for (row, place) in beginning.rows.iter().zip(&beginning.places) {
        forget.execute(params![row.record.as_bytes(), place]).at(CONTEXT)?;
    }
    tx.prepare_cached("DELETE FROM history WHERE scope = ?1 AND seq <= ?2")
        .at(CONTEXT)?
        .execute(params![beginning.scope, int(last.seq)])
        .at(CONTEXT)?;
    Ok(())
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
