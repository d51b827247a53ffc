//! What has ended and is older than it is to be kept: archived where it is a record, dropped here.
//!
//! Each call does one bounded step of everything. What is archived is durable in the archive before it is dropped, so
//! a crash between loses nothing: the same is archived again. No transaction is open while files are written.

use std::path::Path;

use paramedic_model::{HistoryRow, Span, Timestamp};
use serde_json::{Value, json};
use tokio_postgres::Row;

use super::PostgresStore;
use super::error::{Fault, body, column, digest, int, rows, uint};
use super::read::ONE_STATE;
use super::transaction::{Tx, Work};
use crate::archive::Archive;
use crate::chain::Chain;
use crate::rules::refused;
use crate::{Result, Retained, Retention};

type Done<T> = std::result::Result<T, Fault>;

const CONTEXT: &str = "retention";

/// Incidents of one step, each with its runs, pages and outbox rows.
const INCIDENTS: usize = 500;
/// Rows of history and journal of one step.
const ROWS: usize = 5_000;
/// Rows of one step that may be large: dead letters, the inbox.
const LARGE_ROWS: usize = 500;

pub(super) fn step(store: &PostgresStore, keep: &Retention, now: Timestamp, archive: &Path) -> Result<Retained> {
    let before = |span: Span| now.as_nanos().saturating_sub(span.as_nanos());
    let (records, journal, letters) = (before(keep.records), before(keep.journal), before(keep.dead_letters));
    let drop = |sql, before, limit| store.write(CONTEXT, async |tx| drop_some(tx, sql, before, limit).await);
    let mut done = Retained {
        dead_letters: drop(DEAD_LETTERS, letters, LARGE_ROWS)?,
        inbox: drop(INBOX, journal, LARGE_ROWS)?,
        journal: drop(JOURNAL, journal, ROWS)?,
        emits: drop(EMITS, journal, LARGE_ROWS)?,
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

const DEAD_LETTERS: &str = "WITH gone AS (
    DELETE FROM dead_letters WHERE place = ANY(ARRAY(
        SELECT place FROM dead_letters WHERE at < $1 ORDER BY at LIMIT $2)) RETURNING 1
) SELECT count(*) FROM gone";

/// Events that have ended. What was decided about them is in history.
const EMITS: &str = "WITH gone AS (
    DELETE FROM outbox WHERE place = ANY(ARRAY(
        SELECT place FROM outbox WHERE state IN ('denied', 'cancelled', 'succeeded', 'failed')
        AND released_at < $1 AND kind = 'emit' LIMIT $2)) RETURNING 1
) SELECT count(*) FROM gone";

/// The beginnings of the lanes: rows that were taken, up to the first that is young.
const INBOX: &str = "WITH old AS MATERIALIZED (
    SELECT l.shard, l.lane, (
        SELECT max(seq) FROM (
            SELECT i.seq, max(i.at) OVER (ORDER BY i.seq) AS newest FROM inbox i
            WHERE i.shard = l.shard AND i.lane = l.lane AND i.seq < p.next ORDER BY i.seq LIMIT $2
        ) AS taken WHERE newest < $1) AS last
    FROM lanes l JOIN positions p ON p.shard = l.shard AND p.name = l.lane
), gone AS (
    DELETE FROM inbox i USING old o WHERE i.shard = o.shard AND i.lane = o.lane AND i.seq <= o.last RETURNING 1
), moved AS (
    UPDATE lanes l SET dropped = o.last FROM old o
    WHERE l.shard = o.shard AND l.lane = o.lane AND o.last IS NOT NULL
) SELECT count(*) FROM gone";

/// The beginning of each shard's journal, but never its last row: the shard goes on from it.
const JOURNAL: &str = "WITH old AS MATERIALIZED (
    SELECT s.shard, (
        SELECT max(batch) FROM (
            SELECT j.batch, max(j.at) OVER (ORDER BY j.batch) AS newest FROM journal j
            WHERE j.shard = s.shard AND j.batch < (SELECT max(batch) FROM journal m WHERE m.shard = s.shard)
            ORDER BY j.batch LIMIT $2
        ) AS ended WHERE newest < $1) AS last
    FROM shards s
), gone AS (
    DELETE FROM journal j USING old o WHERE j.shard = o.shard AND j.batch <= o.last RETURNING 1
) SELECT count(*) FROM gone";

async fn drop_some(tx: &Tx<'_>, sql: &'static str, before: i64, limit: usize) -> Done<u64> {
    let found = tx.begin(vec![Work::new(sql).with(before).with(rows(limit))]).await?;
    let gone: Option<i64> = found.iter().flatten().next().map(|row| column(CONTEXT, row, 0)).transpose()?;
    tx.commit(vec![]).await?;
    Ok(gone.map_or(0, uint))
}

/// An id, as the database has it.
type Bytes = Vec<u8>;

fn archive_incidents(store: &PostgresStore, before: i64, archive: &Path) -> Result<u64> {
    let (ids, records) = store.read(CONTEXT, async |tx| ended(tx, before).await)?;
    if ids.is_empty() {
        return Ok(0);
    }
    Archive::open(archive)?.records(&records)?;
    paramedic_model::faults::point("retention.archived");
    store.write(CONTEXT, async |tx| drop_incidents(tx, &ids, before).await)
}

/// Ended long enough ago, and nothing of it may still be on its way or unknown: with all that goes with it.
async fn ended(tx: &Tx<'_>, before: i64) -> Done<(Vec<Bytes>, Vec<Value>)> {
    let sql = "SELECT i.id, i.number, i.body,
               (SELECT coalesce(json_agg(body ORDER BY decided_at, id), '[]') FROM runs WHERE incident = i.id),
               (SELECT coalesce(json_agg(body ORDER BY decided_at, place), '[]') FROM pages WHERE incident = i.id),
               (SELECT coalesce(json_agg(body ORDER BY place), '[]') FROM outbox WHERE incident = i.id)
               FROM incidents i
               WHERE i.state IN (7, 8) AND i.updated_at < $1 AND NOT EXISTS (
                   SELECT 1 FROM outbox o WHERE o.incident = i.id
                   AND o.state NOT IN ('denied', 'cancelled', 'succeeded', 'failed'))
               ORDER BY i.updated_at, i.number LIMIT $2";
    let (mut ids, mut records) = (Vec::new(), Vec::new());
    for row in tx.ask(vec![Work::new(sql).with(before).with(rows(INCIDENTS))]).await?.iter().flatten() {
        let mut incident: Value = body(CONTEXT, row, 2)?;
        if let Some(fields) = incident.as_object_mut() {
            fields.insert("number".to_owned(), uint(column(CONTEXT, row, 1)?).into());
        }
        let part = |at| body::<Value>(CONTEXT, row, at);
        records.push(json!({"incident": incident, "runs": part(3)?, "pages": part(4)?, "outbox": part(5)?}));
        ids.push(column(CONTEXT, row, 0)?);
    }
    Ok((ids, records))
}

/// Those that are still as they were archived: ended, and nothing of them on its way.
async fn drop_incidents(tx: &Tx<'_>, ids: &[Bytes], before: i64) -> Done<u64> {
    let sql = "DELETE FROM incidents i
               WHERE i.id = ANY($2) AND i.state IN (7, 8) AND i.updated_at < $1 AND NOT EXISTS (
                   SELECT 1 FROM outbox o WHERE o.incident = i.id
                   AND o.state NOT IN ('denied', 'cancelled', 'succeeded', 'failed'))
               RETURNING i.id";
    let found = tx.begin(vec![Work::new(sql).with(before).with(ids.to_vec())]).await?;
    let gone: Vec<Bytes> = found.iter().flatten().map(|row| column(CONTEXT, row, 0)).collect::<Done<_>>()?;
    let parts = [
        "DELETE FROM runs WHERE incident = ANY($1)",
        "DELETE FROM pages WHERE incident = ANY($1)",
        "DELETE FROM outbox WHERE incident = ANY($1)",
    ];
    tx.commit(parts.into_iter().map(|sql| Work::new(sql).with(gone.clone())).collect()).await?;
    Ok(gone.len() as u64)
}

/// The beginning of a scope's history: rows that are old, before the first of a record that is still there.
struct Beginning {
    key: String,
    scope: String,
    rows: Vec<HistoryRow>,
}

fn archive_history(store: &PostgresStore, before: i64, archive: &Path) -> Result<u64> {
    let beginnings = store.read(CONTEXT, async |tx| beginnings(tx, before).await)?;
    if beginnings.is_empty() {
        return Ok(0);
    }
    let archive = Archive::open(archive)?;
    let mut archived = 0;
    for beginning in &beginnings {
        archive.append(&beginning.scope, &beginning.rows)?;
        paramedic_model::faults::point("retention.archived");
        store.write(CONTEXT, async |tx| drop_history(tx, beginning).await)?;
        archived += beginning.rows.len() as u64;
    }
    Ok(archived)
}

async fn beginnings(tx: &Tx<'_>, before: i64) -> Done<Vec<Beginning>> {
    // Where the first row is not there, the chain is broken, and that is said below. Scopes whose first row must stay
    // are left out here: there may be many, and thousands of rows would be read of each for nothing.
    let sql = "SELECT s.scope, s.name, s.archived_seq, s.archived_hash FROM scopes s
               LEFT JOIN history h ON h.scope = s.scope AND h.seq = s.archived_seq + 1
               WHERE s.last_seq > s.archived_seq AND (h.at IS NULL OR (h.at < $1
                   AND NOT EXISTS (SELECT 1 FROM incidents WHERE id = h.record)
                   AND NOT EXISTS (SELECT 1 FROM runs WHERE id = h.record)
                   AND NOT EXISTS (SELECT 1 FROM pages WHERE id = h.record)))
               ORDER BY s.scope";
    let found = tx.begin(vec![Work::new(ONE_STATE), Work::new(sql).with(before)]).await?;
    let mut left = ROWS;
    let mut out = Vec::new();
    for row in found.get(1).into_iter().flatten() {
        let beginning = beginning(tx, row, before, left).await?;
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
async fn beginning(tx: &Tx<'_>, of: &Row, before: i64, limit: usize) -> Done<Beginning> {
    let (key, scope): (String, String) = (column(CONTEXT, of, 0)?, body(CONTEXT, of, 1)?);
    let (archived, hash): (i64, String) = (column(CONTEXT, of, 2)?, column(CONTEXT, of, 3)?);
    let mut chain = Chain::after(uint(archived), digest(CONTEXT, &hash)?);
    let sql = "SELECT h.seq, h.body, EXISTS (SELECT 1 FROM incidents WHERE id = h.record)
                   OR EXISTS (SELECT 1 FROM runs WHERE id = h.record)
                   OR EXISTS (SELECT 1 FROM pages WHERE id = h.record)
               FROM history h WHERE h.scope = $1 AND h.seq > $2 ORDER BY h.seq LIMIT $3";
    let found = tx.ask(vec![Work::new(sql).with(key.clone()).with(archived).with(rows(limit))]).await?;
    let mut kept = Vec::new();
    for row in found.iter().flatten() {
        let one = body::<HistoryRow>(CONTEXT, row, 1).map_err(|fault| fault.told(CONTEXT));
        chain.row(uint(column(CONTEXT, row, 0)?), one.as_ref().map_err(ToString::to_string));
        if let Some((seq, why)) = chain.broken() {
            let cause =
                format!("the history of scope {scope} is broken at row {seq}: {why}; see `paramedic audit verify`");
            return Err(refused(CONTEXT, cause).into());
        }
        let one = one?;
        if one.at.as_nanos() >= before || column(CONTEXT, row, 2)? {
            break;
        }
        kept.push(one);
    }
    Ok(Beginning { key, scope, rows: kept })
}

/// The anchor moves first: the database lets go only of what is before it. A record whose last row goes has none.
async fn drop_history(tx: &Tx<'_>, beginning: &Beginning) -> Done<()> {
    let (Some(first), Some(last)) = (beginning.rows.first(), beginning.rows.last()) else { return Ok(()) };
    let from = int(first.seq) - 1;
    let anchor = "UPDATE scopes SET archived_seq = $3, archived_hash = $4 WHERE scope = $1
                  AND (archived_seq = $2 OR (archived_seq = $3 AND archived_hash = $4)) RETURNING 1";
    let anchor =
        Work::new(anchor).with(beginning.key.as_str()).with(from).with(int(last.seq)).with(last.hash.to_string());
    let moved = tx.begin(vec![anchor]).await?;
    if moved.iter().all(Vec::is_empty) {
        let cause = format!("scope {}: something else archives it too", beginning.scope);
        return Err(refused(CONTEXT, cause).into());
    }
    let records: Vec<Bytes> = beginning.rows.iter().map(|row| row.record.as_bytes().to_vec()).collect();
    let forget = "DELETE FROM history_ends WHERE record = ANY($1) AND scope = $2 AND seq <= $3";
    let delete = "DELETE FROM history WHERE scope = $1 AND seq <= $2";
    tx.commit(vec![
        Work::new(forget).with(records).with(beginning.key.as_str()).with(int(last.seq)),
        Work::new(delete).with(beginning.key.as_str()).with(int(last.seq)),
    ])
    .await
}
