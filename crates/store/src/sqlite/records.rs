//! Writing what is kept: incidents, runs, pages, history, dead letters, halts.

use paramedic_model::{HistoryRow, Id, Incident, Page, Run};
use rusqlite::{Connection, OptionalExtension, Statement, ToSql, params};

use super::error::{At, int, json};
use crate::{DeadLetter, Halt, HaltScope, Result};

/// An unchanged key is not written again: most updates leave every index as it is.
const TOUCH_INCIDENT: &str = "UPDATE incidents SET updated_at = ?9, body = ?10
    WHERE id = ?1 AND scope = ?2 AND correlation_key = ?3 AND state = ?4 AND priority = ?5 AND shadow = ?6
    AND about IS ?7 AND ci IS ?8";
const UPDATE_INCIDENT: &str = "UPDATE incidents SET scope = ?2, correlation_key = ?3, state = ?4, priority = ?5,
    shadow = ?6, about = ?7, ci = ?8, updated_at = ?9, body = ?10 WHERE id = ?1";
/// Its number is the row's: 1, 2, 3... in the order of insertion.
const INSERT_INCIDENT: &str = "INSERT INTO incidents
    (id, scope, correlation_key, state, priority, shadow, about, ci, updated_at, body, opened_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// Known incidents that are no longer open go first, so that a key is free again for one that opens in the same
/// batch, whatever their order.
pub(super) fn put_incidents(tx: &Connection, scope: &str, incidents: &[Incident]) -> Result<()> {
    if incidents.is_empty() {
        return Ok(());
    }
    let mut touch = tx.prepare_cached(TOUCH_INCIDENT).at("incidents")?;
    let mut update = tx.prepare_cached(UPDATE_INCIDENT).at("incidents")?;
    let mut insert = tx.prepare_cached(INSERT_INCIDENT).at("incidents")?;
    let mut later = Vec::with_capacity(incidents.len());
    for incident in incidents {
        if incident.state.is_open() || !put_incident([&mut touch, &mut update], scope, incident)? {
            later.push(incident);
        }
    }
    for incident in later {
        if !put_incident([&mut touch, &mut update], scope, incident)? {
            put_incident([&mut insert], scope, incident)?;
        }
    }
    Ok(())
}

/// Tries the statements in turn until one has written a row.
fn put_incident<const N: usize>(tries: [&mut Statement<'_>; N], scope: &str, incident: &Incident) -> Result<bool> {
    let body = json("incidents", incident)?;
    let ci = incident.ci.as_ref().map(Id::as_bytes);
    let (state, priority) = (incident.state.code(), incident.priority());
    let (opened, updated) = (incident.opened_at.as_nanos(), incident.updated_at.as_nanos());
    let values: [&dyn ToSql; 11] = [
        incident.id.as_bytes(),
        &scope,
        incident.correlation_key.as_bytes(),
        &state,
        &priority,
        &incident.shadow,
        &incident.about,
        &ci,
        &updated,
        &body,
        &opened,
    ];
    for statement in tries {
        let wanted = statement.parameter_count().min(values.len());
        if statement.execute(&values[..wanted]).at("incidents")? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn put_runs(tx: &Connection, runs: &[Run]) -> Result<()> {
    let mut put = tx
        .prepare_cached(
            "INSERT INTO runs (id, incident, state, decided_at, body) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET incident = excluded.incident, state = excluded.state,
             decided_at = excluded.decided_at, body = excluded.body",
        )
        .at("runs")?;
    for run in runs {
        let (id, incident) = (run.id.as_bytes(), run.incident.as_bytes());
        put.execute(params![id, incident, run.state.name(), run.decided_at.as_nanos(), json("runs", run)?])
            .at("runs")?;
    }
    Ok(())
}

pub(super) fn put_pages(tx: &Connection, pages: &[Page]) -> Result<()> {
    let mut put = tx
        .prepare_cached(
            "INSERT INTO pages (id, incident, decided_at, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET incident = excluded.incident, decided_at = excluded.decided_at,
             body = excluded.body",
        )
        .at("pages")?;
    for page in pages {
        let (id, incident) = (page.id.as_bytes(), page.incident.as_bytes());
        put.execute(params![id, incident, page.decided_at.as_nanos(), json("pages", page)?]).at("pages")?;
    }
    Ok(())
}

/// Each row knows the place of its record's row before it.
pub(super) fn add_history(tx: &Connection, scope: &str, rows: &[HistoryRow]) -> Result<()> {
    const CONTEXT: &str = "history";
    let mut last = tx.prepare_cached("SELECT place FROM history_ends WHERE record = ?1").at(CONTEXT)?;
    let mut add = tx
        .prepare_cached("INSERT INTO history (scope, seq, record, before, body) VALUES (?1, ?2, ?3, ?4, ?5)")
        .at(CONTEXT)?;
    let mut end = tx
        .prepare_cached(
            "INSERT INTO history_ends (record, place) VALUES (?1, ?2)
             ON CONFLICT (record) DO UPDATE SET place = excluded.place",
        )
        .at(CONTEXT)?;
    for row in rows {
        let record = row.record.as_bytes();
        let before: Option<i64> = last.query_row([record], |row| row.get(0)).optional().at(CONTEXT)?;
        let place = add.insert(params![scope, int(row.seq), record, before, json(CONTEXT, row)?]).at(CONTEXT)?;
        end.execute(params![record, place]).at(CONTEXT)?;
    }
    Ok(())
}

pub(super) fn add_dead_letters(tx: &Connection, letters: &[DeadLetter]) -> Result<()> {
    let mut add = tx
        .prepare_cached(
            "INSERT INTO dead_letters (source, position, \"offset\", reason, bytes, digest, length, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .at("dead letters")?;
    for letter in letters {
        add.execute(params![
            letter.source,
            letter.position,
            letter.offset,
            letter.reason,
            letter.bytes,
            letter.digest.to_string(),
            int(letter.length),
            letter.at.as_nanos()
        ])
        .at("dead letters")?;
    }
    Ok(())
}

pub(super) fn put_halt(tx: &Connection, halt: &Halt) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO halts (scope, body) VALUES (?1, ?2) ON CONFLICT (scope) DO UPDATE SET body = excluded.body",
    )
    .at("halt")?
    .execute(params![json("halt", &halt.scope)?, json("halt", halt)?])
    .at("halt")?;
    Ok(())
}

pub(super) fn remove_halt(tx: &Connection, scope: &HaltScope) -> Result<bool> {
    let gone = tx
        .prepare_cached("DELETE FROM halts WHERE scope = ?1")
        .at("halt")?
        .execute([json("halt", scope)?])
        .at("halt")?;
    Ok(gone > 0)
}
