//! The outbox: rows that are there once per key, and move only as the table has it.

use paramedic_model::{Id, Order, OutboxRow, OutboxState, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::error::{At, json, parse, rows};
use super::read::{list as bodies, one};
use super::{commit, inbox};
use crate::rules::{check_home, check_move, withdrawn};
use crate::{DueLimits, OutboxMove, Result};

const CONTEXT: &str = "outbox";

/// Adds rows whose key is new: the same key is the same decision.
pub(super) fn add(tx: &Connection, shard: u32, new: &[OutboxRow]) -> Result<()> {
    let mut insert = tx
        .prepare_cached(
            "INSERT INTO outbox (key, order_id, scope, incident, kind, target, state, released_at, body, shard, due)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (key) DO NOTHING",
        )
        .at(CONTEXT)?;
    for row in new {
        let target = match &row.order {
            Order::Run(run) => Some(run.target.id),
            Order::Page(_) | Order::Emit(_) => None,
        };
        insert
            .execute(params![
                row.key.as_bytes(),
                row.order.id().as_bytes(),
                row.scope,
                row.order.incident().as_bytes(),
                row.order.kind(),
                target.as_ref().map(Id::as_bytes),
                row.state.name(),
                row.released_at.as_nanos(),
                json(CONTEXT, row)?,
                shard,
                due_at(row),
            ])
            .at(CONTEXT)?;
    }
    Ok(())
}

/// In the order in which rows are looked at: those that wait for no time come first.
fn due_at(row: &OutboxRow) -> i64 {
    row.not_before.map_or(i64::MIN, Timestamp::as_nanos)
}

/// Withdraws rows that have not left.
pub(super) fn cancel(tx: &Connection, keys: &[(Id, String)]) -> Result<()> {
    for (key, reason) in keys {
        if let Some(row) = get(tx, *key)?.and_then(|(_, row)| withdrawn(row, reason)) {
            update(tx, &row)?;
        }
    }
    Ok(())
}

/// The dispatcher's move.
pub(super) fn change(tx: &Connection, change: &OutboxMove) -> Result<()> {
    let found = get(tx, change.key)?;
    if let Some((shard, epoch)) = change.fence {
        commit::fence(tx, shard, epoch)?;
        // An owner's epoch says nothing about the rows of others.
        found.as_ref().map_or(Ok(()), |(home, row)| check_home(&row.scope, *home, shard))?;
    }
    check_move(change, found.as_ref().map(|(_, row)| row))?;
    update(tx, &change.row)?;
    inbox::append(tx, &change.inbox)?;
    Ok(())
}

fn update(tx: &Connection, row: &OutboxRow) -> Result<()> {
    let body = json(CONTEXT, row)?;
    tx.prepare_cached("UPDATE outbox SET state = ?2, released_at = ?3, body = ?4, due = ?5 WHERE key = ?1")
        .at(CONTEXT)?
        .execute(params![row.key.as_bytes(), row.state.name(), row.released_at.as_nanos(), body, due_at(row)])
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

/// Pages first, events last; by `not_before`, then release, then place.
pub(super) fn due(tx: &Connection, shards: &[u32], now: Timestamp, most: DueLimits) -> Result<Vec<(u32, OutboxRow)>> {
    let mut out = due_of(tx, "page", shards, now, most.pages)?;
    out.extend(due_of(tx, "run", shards, now, most.runs)?);
    out.extend(due_of(tx, "emit", shards, now, most.emits)?);
    Ok(out)
}

/// Shard by shard, as the index has them; only what is given back is parsed.
fn due_of(tx: &Connection, kind: &str, shards: &[u32], now: Timestamp, limit: usize) -> Result<Vec<(u32, OutboxRow)>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let mut find = tx
        .prepare_cached(
            "SELECT due, released_at, place, shard, body FROM outbox INDEXED BY outbox_due
             WHERE kind = ?1 AND shard = ?2 AND due <= ?3
             AND state IN ('pending', 'deferred', 'started', 'accepted')
             ORDER BY due, released_at, place LIMIT ?4",
        )
        .at(CONTEXT)?;
    let mut found: Vec<((i64, i64, i64), u32, String)> = Vec::new();
    for shard in shards {
        let of_shard = find
            .query_map(params![kind, shard, now.as_nanos(), rows(limit)], |row| {
                Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?, row.get(4)?))
            })
            .at(CONTEXT)?;
        for row in of_shard {
            found.push(row.at(CONTEXT)?);
        }
    }
    found.sort_unstable_by_key(|(order, ..)| *order);
    found.dedup_by_key(|(order, ..)| *order);
    found.truncate(limit);
    found.into_iter().map(|(_, shard, body)| Ok((shard, parse(CONTEXT, &body)?))).collect()
}

/// The row, with its shard.
pub(super) fn get(tx: &Connection, key: Id) -> Result<Option<(u32, OutboxRow)>> {
    let found: Option<(u32, String)> = tx
        .prepare_cached("SELECT shard, body FROM outbox WHERE key = ?1")
        .at(CONTEXT)?
        .query_row([key.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .at(CONTEXT)?;
    found.map(|(shard, body)| Ok((shard, parse(CONTEXT, &body)?))).transpose()
}

pub(super) fn of(tx: &Connection, order: Id) -> Result<Option<OutboxRow>> {
    one(tx, CONTEXT, "SELECT body FROM outbox WHERE order_id = ?1 ORDER BY place DESC LIMIT 1", [order.as_bytes()])
}

pub(super) fn target_busy(tx: &Connection, target: Id, besides: Id) -> Result<bool> {
    let mut sql = "SELECT 1 FROM outbox WHERE target = ?1 AND kind = 'run'
         AND state IN ('started', 'accepted', 'unknown') AND order_id <> ?2 LIMIT 1";
    if paramedic_model::faults::planted("slot_freed_on_unknown") {
        sql = "SELECT 1 FROM outbox WHERE target = ?1 AND state IN ('started', 'accepted') AND order_id <> ?2 LIMIT 1";
    }
    let found: Option<i64> = tx
        .prepare_cached(sql)
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
