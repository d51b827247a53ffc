//! The outbox: rows that are there once per key, and move only as the table has it.

use paramedic_model::{Id, Order, OutboxRow, OutboxState};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::error::{At, json, rows};
use super::read::{list as bodies, one};
use super::{commit, inbox};
use crate::rules::{check_move, withdrawn};
use crate::{OutboxMove, Result};

const CONTEXT: &str = "outbox";

/// Adds rows whose key is new: the same key is the same decision.
pub(super) fn add(tx: &Connection, new: &[OutboxRow]) -> Result<()> {
    let mut insert = tx
        .prepare_cached(
            "INSERT INTO outbox (key, order_id, scope, incident, kind, target, state, released_at, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (key) DO NOTHING",
        )
        .at(CONTEXT)?;
    for row in new {
        let (kind, target) = match &row.order {
            Order::Run(run) => ("run", Some(run.target.id)),
            Order::Page(_) => ("page", None),
        };
        insert
            .execute(params![
                row.key.as_bytes(),
                row.order.id().as_bytes(),
                row.scope,
                row.order.incident().as_bytes(),
                kind,
                target.as_ref().map(Id::as_bytes),
                row.state.name(),
                row.released_at.as_nanos(),
                json(CONTEXT, row)?,
            ])
            .at(CONTEXT)?;
    }
    Ok(())
}

/// Withdraws rows that have not left.
pub(super) fn cancel(tx: &Connection, keys: &[(Id, String)]) -> Result<()> {
    for (key, reason) in keys {
        if let Some(row) = get(tx, *key)?.and_then(|row| withdrawn(row, reason)) {
            update(tx, &row)?;
        }
    }
    Ok(())
}

/// The dispatcher's move.
pub(super) fn change(tx: &Connection, change: &OutboxMove) -> Result<()> {
    if let Some((shard, epoch)) = change.fence {
        commit::fence(tx, shard, epoch)?;
    }
    check_move(change, get(tx, change.key)?.as_ref())?;
    update(tx, &change.row)?;
    inbox::append(tx, &change.inbox)?;
    Ok(())
}

fn update(tx: &Connection, row: &OutboxRow) -> Result<()> {
    tx.prepare_cached("UPDATE outbox SET state = ?2, released_at = ?3, body = ?4 WHERE key = ?1")
        .at(CONTEXT)?
        .execute(params![row.key.as_bytes(), row.state.name(), row.released_at.as_nanos(), json(CONTEXT, row)?])
        .at(CONTEXT)?;
    Ok(())
}

/// Oldest release first; of two released at once, the one that was added first.
pub(super) fn list(tx: &Connection, states: &[OutboxState], limit: usize) -> Result<Vec<OutboxRow>> {
    let marks = vec!["?"; states.len()].join(", ");
    let sql = format!("SELECT body FROM outbox WHERE state IN ({marks}) ORDER BY released_at, place LIMIT ?");
    let values = states.iter().map(|s| Value::from(s.name().to_owned())).chain([Value::from(rows(limit))]);
    bodies(tx, CONTEXT, &sql, params_from_iter(values))
}

pub(super) fn get(tx: &Connection, key: Id) -> Result<Option<OutboxRow>> {
    one(tx, CONTEXT, "SELECT body FROM outbox WHERE key = ?1", [key.as_bytes()])
}

pub(super) fn of(tx: &Connection, order: Id) -> Result<Option<OutboxRow>> {
    one(tx, CONTEXT, "SELECT body FROM outbox WHERE order_id = ?1 ORDER BY place DESC LIMIT 1", [order.as_bytes()])
}

pub(super) fn target_busy(tx: &Connection, target: Id, besides: Id) -> Result<bool> {
    let found: Option<i64> = tx
        .prepare_cached(
            "SELECT 1 FROM outbox WHERE target = ?1 AND kind = 'run' AND state IN ('started', 'accepted', 'unknown')
             AND order_id <> ?2 LIMIT 1",
        )
        .at(CONTEXT)?
        .query_row([target.as_bytes(), besides.as_bytes()], |row| row.get(0))
        .optional()
        .at(CONTEXT)?;
    Ok(found.is_some())
}

/// How many rows are in each state that any row is in.
pub(super) fn counts(tx: &Connection) -> Result<std::collections::BTreeMap<String, u64>> {
    let mut find = tx.prepare_cached("SELECT state, count(*) FROM outbox GROUP BY state").at(CONTEXT)?;
    let found = find.query_map([], |row| Ok((row.get(0)?, super::error::uint(row.get(1)?)))).at(CONTEXT)?;
    found.collect::<rusqlite::Result<_>>().at(CONTEXT)
}
