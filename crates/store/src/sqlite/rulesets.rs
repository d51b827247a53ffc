//! Rule sets: kept under their digests, one of them active.

use std::collections::BTreeMap;

use paramedic_model::{Digest, NewInbox, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::error::{At, digest, json};
use super::read::one;
use super::{homes, inbox, meta};
use crate::rules::{publication, refused};
use crate::{Published, Result};

const CONTEXT: &str = "rule set";

pub(super) fn put(tx: &Connection, set: Digest, sources: &BTreeMap<String, String>) -> Result<()> {
    tx.prepare_cached("INSERT INTO rulesets (digest, sources) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING")
        .at(CONTEXT)?
        .execute(params![set.to_string(), json(CONTEXT, sources)?])
        .at(CONTEXT)?;
    Ok(())
}

pub(super) fn get(tx: &Connection, set: Digest) -> Result<Option<BTreeMap<String, String>>> {
    one(tx, CONTEXT, "SELECT sources FROM rulesets WHERE digest = ?1", [set.to_string()])
}

/// The one that was published last.
pub(super) fn active(tx: &Connection) -> Result<Option<Digest>> {
    meta::get(tx, meta::ACTIVE)?.map(|hex| digest(CONTEXT, &hex)).transpose()
}

/// Makes it the active one, and tells every shard.
pub(super) fn publish(tx: &Connection, set: Digest, at: Timestamp, again: bool) -> Result<Published> {
    let known: Option<Option<i64>> = tx
        .prepare_cached("SELECT published_at FROM rulesets WHERE digest = ?1")
        .at(CONTEXT)?
        .query_row([set.to_string()], |row| row.get(0))
        .optional()
        .at(CONTEXT)?;
    let Some(published_at) = known else {
        return Err(refused(
            CONTEXT,
            format!("{set} is not kept here: its sources are written before it is published"),
        ));
    };
    match active(tx)? {
        Some(active) if active == set => return Ok(Published::Already),
        Some(active) if published_at.is_some() && !again => return Ok(Published::Superseded(active)),
        _ => {}
    }
    meta::set(tx, meta::ACTIVE, Some(&set.to_string()))?;
    tx.prepare_cached("UPDATE rulesets SET published_at = ?2 WHERE digest = ?1")
        .at(CONTEXT)?
        .execute(params![set.to_string(), at.as_nanos()])
        .at(CONTEXT)?;
    let shards = homes::shards(tx)?;
    let entries: Vec<NewInbox> = shards.into_iter().map(|(shard, _)| publication(set, at, shard)).collect();
    inbox::append(tx, &entries)?;
    Ok(Published::Now)
}
