//! What is known about the store as a whole.

use rusqlite::{Connection, OptionalExtension, params};

use super::error::{At, json, parse};
use crate::{Recovered, Result};

const CONTEXT: &str = "meta";

/// Digest of the active rule set.
pub(super) const ACTIVE: &str = "active";
const RECOVERED: &str = "recovered";

pub(super) fn get(tx: &Connection, key: &str) -> Result<Option<String>> {
    tx.prepare_cached("SELECT value FROM meta WHERE key = ?1")
        .at(CONTEXT)?
        .query_row([key], |row| row.get(0))
        .optional()
        .at(CONTEXT)
}

/// Writes it, or takes it away.
pub(super) fn set(tx: &Connection, key: &str, value: Option<&str>) -> Result<()> {
    let sql = match value {
        Some(_) => {
            "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        }
        None => "DELETE FROM meta WHERE key = ?1 AND ?2 IS NULL",
    };
    tx.prepare_cached(sql).at(CONTEXT)?.execute(params![key, value]).at(CONTEXT)?;
    Ok(())
}

pub(super) fn recovered(tx: &Connection) -> Result<Option<Recovered>> {
    get(tx, RECOVERED)?.map(|text| parse("recovered", &text)).transpose()
}

pub(super) fn set_recovered(tx: &Connection, recovered: Option<&Recovered>) -> Result<()> {
    let text = recovered.map(|r| json("recovered", r)).transpose()?;
    set(tx, RECOVERED, text.as_deref())
}
