//! Taking a shard over: its epoch is raised, its working state read.

use std::collections::BTreeMap;

use paramedic_model::{Ci, Relation, ScopeImage, SeenId, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::error::{At, parse, uint};
use super::read::{list, one};
use crate::{Position, Result, ShardImage, StoreError};

/// The raise is in the same transaction as the reads: nobody commits between.
pub(super) fn shard(tx: &Connection, shard: u32) -> Result<ShardImage> {
    let (epoch, batch): (i64, i64) = tx
        .prepare_cached(
            "INSERT INTO shards (shard, epoch) VALUES (?1, 1)
             ON CONFLICT (shard) DO UPDATE SET epoch = epoch + 1 RETURNING epoch, batch",
        )
        .at("load")?
        .query_row([shard], |row| Ok((row.get(0)?, row.get(1)?)))
        .at("load")?;
    Ok(ShardImage {
        epoch: uint(epoch),
        batch: uint(batch),
        last: one(tx, "journal", "SELECT body FROM journal WHERE shard = ?1 ORDER BY batch DESC LIMIT 1", [shard])?,
        positions: positions(tx, shard)?,
        scopes: scopes(tx, shard)?,
    })
}

fn positions(tx: &Connection, shard: u32) -> Result<BTreeMap<String, Position>> {
    let mut find =
        tx.prepare_cached("SELECT name, next, last_at, last_digest FROM positions WHERE shard = ?1").at("position")?;
    let mut rows = find.query([shard]).at("position")?;
    let mut out = BTreeMap::new();
    while let Some(row) = rows.next().at("position")? {
        let last_at: Option<i64> = row.get(2).at("position")?;
        let last_digest: Option<String> = row.get(3).at("position")?;
        let last_digest = last_digest
            .map(|text| text.parse())
            .transpose()
            .map_err(|e| StoreError::Corrupt(format!("position: {e}")))?;
        let next = row.get(1).at("position")?;
        out.insert(
            row.get(0).at("position")?,
            Position { next, last_at: last_at.map(Timestamp::from_nanos), last_digest },
        );
    }
    Ok(out)
}

fn scopes(tx: &Connection, shard: u32) -> Result<Vec<ScopeImage>> {
    let mut find = tx.prepare_cached("SELECT scope FROM scopes WHERE shard = ?1 ORDER BY scope").at("load")?;
    let names: Vec<String> =
        find.query_map([shard], |row| row.get(0)).at("load")?.collect::<rusqlite::Result<_>>().at("load")?;
    names.into_iter().map(|name| scope(tx, name)).collect()
}

fn scope(tx: &Connection, name: String) -> Result<ScopeImage> {
    let of = [name.as_str()];
    let head: String = tx
        .query_row("SELECT head FROM scopes WHERE scope = ?1", of, |row| row.get(0))
        .optional()
        .at("load")?
        .unwrap_or_default();
    Ok(ScopeImage {
        head: parse("load", &head)?,
        incidents: list(
            tx,
            "incidents",
            "SELECT body FROM incidents WHERE scope = ?1 AND state < 7 ORDER BY number",
            of,
        )?,
        runs: list(
            tx,
            "runs",
            "SELECT r.body FROM incidents i JOIN runs r ON r.incident = i.id
             WHERE i.scope = ?1 AND i.state < 7 ORDER BY r.decided_at, r.id",
            of,
        )?,
        alerts: list(tx, "alerts", "SELECT body FROM alerts WHERE scope = ?1 ORDER BY source, dedup_key", of)?,
        parked: list(tx, "parked", "SELECT body FROM parked WHERE scope = ?1 ORDER BY source, dedup_key", of)?,
        seen: seen(tx, &name)?,
        timers: list(tx, "timers", "SELECT body FROM timers WHERE scope = ?1 ORDER BY due, id", of)?,
        cis: cis(tx, &name)?,
        relations: relations(tx, &name)?,
        scope: name,
    })
}

fn seen(tx: &Connection, scope: &str) -> Result<Vec<(SeenId, Timestamp)>> {
    let mut find =
        tx.prepare_cached("SELECT source, id, at FROM seen WHERE scope = ?1 ORDER BY source, id").at("seen ids")?;
    find.query_map([scope], |row| {
        Ok((SeenId { source: row.get(0)?, id: row.get(1)? }, Timestamp::from_nanos(row.get(2)?)))
    })
    .at("seen ids")?
    .collect::<rusqlite::Result<_>>()
    .at("seen ids")
}

/// By id.
pub(super) fn cis(tx: &Connection, scope: &str) -> Result<Vec<Ci>> {
    list(tx, "cmdb", "SELECT body FROM cis WHERE scope = ?1 ORDER BY id", [scope])
}

/// By (from, kind, to).
pub(super) fn relations(tx: &Connection, scope: &str) -> Result<Vec<Relation>> {
    list(tx, "cmdb", "SELECT body FROM relations WHERE scope = ?1 ORDER BY from_id, kind, to_id", [scope])
}
