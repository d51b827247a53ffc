//! A batch, in one transaction: the fence, the positions, then scope by scope.

use paramedic_model::{Digest, Lane, ScopeChanges};
use rusqlite::{Connection, OptionalExtension, params};

use super::error::{At, digest, int, json, uint};
use super::{homes, inbox, outbox, records, working};
use crate::rules::{check_fence, check_history, check_home, check_journal, check_no_journal, check_position};
use crate::{Batch, PositionMove, Result};

/// Writes all of it; the caller commits, or rolls back after an error.
pub(super) fn batch(tx: &Connection, batch: &Batch) -> Result<()> {
    fence(tx, batch.shard, batch.epoch)?;
    for (name, position) in &batch.positions {
        move_position(tx, batch.shard, name, position)?;
    }
    for changes in &batch.changes {
        scope(tx, batch.shard, changes)?;
    }
    records::add_dead_letters(tx, &batch.dead_letters)?;
    // After the scopes: what the batch itself has given a home is at home there.
    inbox::append(tx, &batch.handed)?;
    journal(tx, batch)
}

/// Whether the shard is still the epoch's.
pub(super) fn fence(tx: &Connection, shard: u32, held: u64) -> Result<()> {
    let found: Option<i64> = tx
        .prepare_cached("SELECT epoch FROM shards WHERE shard = ?1")
        .at("fence")?
        .query_row([shard], |row| row.get(0))
        .optional()
        .at("fence")?;
    check_fence(shard, held, found.map(uint))
}

/// A source that another shard has taken over is not where this one left it, whatever its place.
fn move_position(tx: &Connection, shard: u32, name: &str, position: &PositionMove) -> Result<()> {
    const CONTEXT: &str = "position";
    let mut found: Option<i64> = tx
        .prepare_cached("SELECT next FROM positions WHERE shard = ?1 AND name = ?2")
        .at(CONTEXT)?
        .query_row(params![shard, name], |row| row.get(0))
        .optional()
        .at(CONTEXT)?;
    if found.is_none() && position.from.is_none() && Lane::from_name(name).is_none() {
        found = tx
            .prepare_cached("SELECT next FROM positions WHERE name = ?1 AND name NOT IN ('inbox', 'acts')")
            .at(CONTEXT)?
            .query_row([name], |row| row.get(0))
            .optional()
            .at(CONTEXT)?;
    }
    check_position(name, position.from, found)?;
    let to = &position.to;
    tx.prepare_cached(
        "INSERT INTO positions (shard, name, next, last_at, last_digest) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (shard, name) DO UPDATE
         SET next = excluded.next, last_at = excluded.last_at, last_digest = excluded.last_digest",
    )
    .at(CONTEXT)?
    .execute(params![shard, name, to.next, to.last_at.map(|t| t.as_nanos()), to.last_digest.map(|d| d.to_string())])
    .at(CONTEXT)?;
    Ok(())
}

fn scope(tx: &Connection, shard: u32, changes: &ScopeChanges) -> Result<()> {
    let scope = changes.scope.as_str();
    head(tx, shard, changes)?;
    records::put_incidents(tx, scope, &changes.incidents)?;
    records::put_runs(tx, &changes.runs)?;
    records::put_pages(tx, &changes.pages)?;
    working::alerts(tx, scope, &changes.alerts_gone, &changes.alerts)?;
    working::parked(tx, scope, &changes.parked_gone, &changes.parked)?;
    working::seen(tx, scope, &changes.seen_gone, &changes.seen)?;
    working::timers(tx, scope, &changes.timers_gone, &changes.timers)?;
    working::windows(tx, scope, &changes.windows_gone, &changes.windows)?;
    working::cis(tx, scope, &changes.cis)?;
    working::relations(tx, scope, &changes.relations)?;
    records::add_history(tx, scope, &changes.history)?;
    outbox::add(tx, shard, &changes.outbox)?;
    outbox::cancel(tx, &changes.outbox_cancel)
}

/// The scope's head goes on from where its history ends. A scope that has none yet gets its home with it.
fn head(tx: &Connection, shard: u32, changes: &ScopeChanges) -> Result<()> {
    const CONTEXT: &str = "scope";
    let found: Option<(u32, i64, String)> = tx
        .prepare_cached("SELECT shard, last_seq, last_hash FROM scopes WHERE scope = ?1")
        .at(CONTEXT)?
        .query_row([&changes.scope], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()
        .at(CONTEXT)?;
    let (last_seq, last_hash) = match found {
        None => {
            check_home(&changes.scope, homes::claim(tx, &changes.scope, shard)?, shard)?;
            (0, Digest::default())
        }
        Some((home, last_seq, last_hash)) => {
            check_home(&changes.scope, home, shard)?;
            (uint(last_seq), digest(CONTEXT, &last_hash)?)
        }
    };
    check_history(changes, last_seq, last_hash)?;
    let head = &changes.head;
    tx.prepare_cached(
        "INSERT INTO scopes (scope, shard, last_seq, last_hash, head) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (scope) DO UPDATE
         SET last_seq = excluded.last_seq, last_hash = excluded.last_hash, head = excluded.head",
    )
    .at(CONTEXT)?
    .execute(params![changes.scope, shard, int(head.last_seq), head.last_hash.to_string(), json(CONTEXT, head)?])
    .at(CONTEXT)?;
    Ok(())
}

fn journal(tx: &Connection, batch: &Batch) -> Result<()> {
    const CONTEXT: &str = "journal";
    let Some(row) = &batch.journal else { return check_no_journal(batch) };
    let last: i64 = tx
        .prepare_cached("SELECT batch FROM shards WHERE shard = ?1")
        .at(CONTEXT)?
        .query_row([batch.shard], |row| row.get(0))
        .at(CONTEXT)?;
    check_journal(batch, row, uint(last))?;
    tx.prepare_cached("INSERT INTO journal (shard, batch, body) VALUES (?1, ?2, ?3)")
        .at(CONTEXT)?
        .execute(params![batch.shard, int(row.batch), json(CONTEXT, row)?])
        .at(CONTEXT)?;
    tx.prepare_cached("UPDATE shards SET batch = ?2 WHERE shard = ?1")
        .at(CONTEXT)?
        .execute(params![batch.shard, int(row.batch)])
        .at(CONTEXT)?;
    Ok(())
}
