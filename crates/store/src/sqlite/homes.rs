//! Which shards there are, and where scopes and senders are at home.

use paramedic_model::own_shard;
use rusqlite::{Connection, OptionalExtension, params};

use super::error::{At, uint};
use crate::Result;

const CONTEXT: &str = "home";

/// A shard's own scope is at home there without being written down.
pub(super) fn of(tx: &Connection, name: &str) -> Result<Option<u32>> {
    if let Some(shard) = own_shard(name) {
        return Ok(Some(shard));
    }
    tx.prepare_cached("SELECT shard FROM homes WHERE name = ?1")
        .at(CONTEXT)?
        .query_row([name], |row| row.get(0))
        .optional()
        .at(CONTEXT)
}

/// Where it is at home: in `shard` from here on, if it had no home.
pub(super) fn claim(tx: &Connection, name: &str, shard: u32) -> Result<u32> {
    if let Some(home) = of(tx, name)? {
        return Ok(home);
    }
    tx.prepare_cached("INSERT INTO homes (name, shard) VALUES (?1, ?2)")
        .at(CONTEXT)?
        .execute(params![name, shard])
        .at(CONTEXT)?;
    Ok(shard)
}

/// By number, with their epochs.
pub(super) fn shards(tx: &Connection) -> Result<Vec<(u32, u64)>> {
    let mut find = tx.prepare_cached("SELECT shard, epoch FROM shards ORDER BY shard").at(CONTEXT)?;
    find.query_map([], |row| Ok((row.get(0)?, uint(row.get(1)?))))
        .at(CONTEXT)?
        .collect::<rusqlite::Result<_>>()
        .at(CONTEXT)
}
