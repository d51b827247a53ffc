//! The inbox: appended once per writer's id, to the shard where the entry is at home, and read lane by lane in order.

use paramedic_model::{InboxRow, Lane, NewInbox, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::{At, int, json, parse, rows, uint};
use super::homes;
use crate::rules::{first_home, home_name};
use crate::{INBOX_READ_BYTES, InboxPlace, Result, StoreError};

const CONTEXT: &str = "inbox";

/// The look before the insert keeps `seq` without gaps: an ignored insert would use one up.
pub(super) fn append(tx: &Connection, entries: &[NewInbox]) -> Result<Vec<InboxPlace>> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let mut known = tx.prepare_cached("SELECT shard, lane, seq FROM inbox WHERE id = ?1").at(CONTEXT)?;
    let mut insert = tx
        .prepare_cached("INSERT INTO inbox (shard, lane, seq, id, scope, at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
        .at(CONTEXT)?;
    let mut shards = None;
    let mut places = Vec::with_capacity(entries.len());
    for entry in entries {
        let there = known.query_row([&entry.id], place).optional().at(CONTEXT)?;
        if let Some((shard, lane, seq)) = there {
            places.push(InboxPlace { shard, lane: lane_of(&lane)?, seq: uint(seq) });
            continue;
        }
        let shard = home(tx, &home_name(entry), &mut shards)?;
        let lane = Lane::of(&entry.body);
        let seq = next_seq(tx, shard, lane)?;
        let body = json(CONTEXT, &entry.body)?;
        insert
            .execute(params![shard, lane.name(), seq, entry.id, entry.scope, entry.at.as_nanos(), body])
            .at(CONTEXT)?;
        places.push(InboxPlace { shard, lane, seq: uint(seq) });
    }
    Ok(places)
}

fn place(row: &Row<'_>) -> rusqlite::Result<(u32, String, i64)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn lane_of(name: &str) -> Result<Lane> {
    Lane::from_name(name).ok_or_else(|| StoreError::Corrupt(format!("{CONTEXT}: there is no lane {name}")))
}

/// Where a name is at home, from here on where it had none. `shards`: those that are known, once they were asked for.
fn home(tx: &Connection, name: &str, shards: &mut Option<Vec<u32>>) -> Result<u32> {
    if let Some(home) = homes::of(tx, name)? {
        return Ok(home);
    }
    let known = match shards {
        Some(known) => known,
        None => shards.insert(homes::shards(tx)?.into_iter().map(|(shard, _)| shard).collect()),
    };
    homes::claim(tx, name, first_home(name, known))
}

fn next_seq(tx: &Connection, shard: u32, lane: Lane) -> Result<i64> {
    tx.prepare_cached(
        "INSERT INTO lanes (shard, lane, last) VALUES (?1, ?2, 1)
         ON CONFLICT (shard, lane) DO UPDATE SET last = last + 1 RETURNING last",
    )
    .at(CONTEXT)?
    .query_row(params![shard, lane.name()], |row| row.get(0))
    .at(CONTEXT)
}

pub(super) fn read(tx: &Connection, shard: u32, lane: Lane, from: u64, limit: usize) -> Result<Vec<InboxRow>> {
    let mut find = tx
        .prepare_cached(
            "SELECT seq, id, scope, at, body FROM inbox WHERE shard = ?1 AND lane = ?2 AND seq >= ?3
             ORDER BY seq LIMIT ?4",
        )
        .at(CONTEXT)?;
    let mut found = find.query(params![shard, lane.name(), int(from), rows(limit)]).at(CONTEXT)?;
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
