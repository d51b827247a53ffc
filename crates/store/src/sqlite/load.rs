//! Taking a shard over: its epoch is raised, its working state read.

use paramedic_model::{Ci, Relation, ScopeImage, SeenId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::{At, digest, parse, uint};
use super::read::{list, one};
use super::rulesets;
use crate::rules::check_alone;
use crate::{Claim, Position, Result, ShardImage};

/// The raise is in the same transaction as the reads: nobody commits between.
pub(super) fn shard(tx: &Connection, shard: u32, claim: &Claim) -> Result<ShardImage> {
    take_positions(tx, shard, claim)?;
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
        positions: positions(tx, Some(shard))?.into_iter().map(|(_, name, position)| (name, position)).collect(),
        scopes: scopes(tx, shard)?,
        active: rulesets::active(tx)?,
        ends_lost: 0,
    })
}

/// Brings the claimed sources to this shard, wherever they are. A shard's lanes stay where they are.
fn take_positions(tx: &Connection, shard: u32, claim: &Claim) -> Result<()> {
    match claim {
        Claim::Positions(names) => {
            let mut take = tx
                .prepare_cached(
                    "UPDATE positions SET shard = ?1 WHERE name = ?2 AND name NOT IN ('inbox', 'acts') AND shard <> ?1",
                )
                .at("load")?;
            for name in names {
                take.execute(params![shard, name]).at("load")?;
            }
        }
        Claim::Alone => {
            nothing_elsewhere(tx, shard)?;
            tx.prepare_cached("UPDATE positions SET shard = ?1 WHERE name NOT IN ('inbox', 'acts') AND shard <> ?1")
                .at("load")?
                .execute([shard])
                .at("load")?;
        }
    }
    Ok(())
}

/// The first scope or sender that is at home elsewhere is enough to know.
fn nothing_elsewhere(tx: &Connection, shard: u32) -> Result<()> {
    let elsewhere: Option<(String, u32)> = tx
        .prepare_cached(
            "SELECT name, shard FROM homes WHERE shard <> ?1
             UNION ALL SELECT scope, shard FROM scopes WHERE shard <> ?1 LIMIT 1",
        )
        .at("load")?
        .query_row([shard], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .at("load")?;
    check_alone(shard, elsewhere.iter().map(|(name, home)| (name.as_str(), *home)))
}

/// By shard and name, of one shard or of all.
pub(super) fn positions(tx: &Connection, shard: Option<u32>) -> Result<Vec<(u32, String, Position)>> {
    let mut find = tx
        .prepare_cached(
            "SELECT shard, name, next, last_at, last_digest FROM positions WHERE ?1 IS NULL OR shard = ?1
             ORDER BY shard, name",
        )
        .at("position")?;
    let mut rows = find.query([shard]).at("position")?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().at("position")? {
        out.push((row.get(0).at("position")?, row.get(1).at("position")?, position(row)?));
    }
    Ok(out)
}

fn position(row: &Row<'_>) -> Result<Position> {
    let last_at: Option<i64> = row.get(3).at("position")?;
    let last_digest: Option<String> = row.get(4).at("position")?;
    let last_digest = last_digest.map(|hex| digest("position", &hex)).transpose()?;
    let next = row.get(2).at("position")?;
    Ok(Position { next, last_at: last_at.map(Timestamp::from_nanos), last_digest })
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
        windows: list(tx, "windows", "SELECT body FROM windows WHERE scope = ?1 ORDER BY id", of)?,
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
