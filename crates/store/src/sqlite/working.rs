//! Writing a scope's working state. What is named as gone goes first, then what is new or changed is written.

use paramedic_model::{Alert, AlertKey, Ci, Id, Parked, Relation, SeenId, Timer, Timestamp, Window};
use rusqlite::{Connection, params};

use super::error::{At, json};
use crate::Result;

pub(super) fn alerts(tx: &Connection, scope: &str, gone: &[AlertKey], put: &[Alert]) -> Result<()> {
    let mut forget =
        tx.prepare_cached("DELETE FROM alerts WHERE scope = ?1 AND source = ?2 AND dedup_key = ?3").at("alerts")?;
    for key in gone {
        forget.execute(params![scope, key.source, key.dedup_key]).at("alerts")?;
    }
    let mut keep = tx
        .prepare_cached(
            "INSERT INTO alerts (scope, source, dedup_key, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (scope, source, dedup_key) DO UPDATE SET body = excluded.body",
        )
        .at("alerts")?;
    for alert in put {
        let body = json("alerts", alert)?;
        keep.execute(params![scope, alert.key.source, alert.key.dedup_key, body]).at("alerts")?;
    }
    Ok(())
}

pub(super) fn parked(tx: &Connection, scope: &str, gone: &[AlertKey], put: &[Parked]) -> Result<()> {
    let mut forget =
        tx.prepare_cached("DELETE FROM parked WHERE scope = ?1 AND source = ?2 AND dedup_key = ?3").at("parked")?;
    for key in gone {
        forget.execute(params![scope, key.source, key.dedup_key]).at("parked")?;
    }
    let mut keep = tx
        .prepare_cached(
            "INSERT INTO parked (scope, source, dedup_key, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (scope, source, dedup_key) DO UPDATE SET body = excluded.body",
        )
        .at("parked")?;
    for one in put {
        keep.execute(params![scope, one.key.source, one.key.dedup_key, json("parked", one)?]).at("parked")?;
    }
    Ok(())
}

pub(super) fn seen(tx: &Connection, scope: &str, gone: &[SeenId], put: &[(SeenId, Timestamp)]) -> Result<()> {
    let mut forget =
        tx.prepare_cached("DELETE FROM seen WHERE scope = ?1 AND source = ?2 AND id = ?3").at("seen ids")?;
    for one in gone {
        forget.execute(params![scope, one.source, one.id]).at("seen ids")?;
    }
    let mut keep = tx
        .prepare_cached(
            "INSERT INTO seen (scope, source, id, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (scope, source, id) DO UPDATE SET at = excluded.at",
        )
        .at("seen ids")?;
    for (one, at) in put {
        keep.execute(params![scope, one.source, one.id, at.as_nanos()]).at("seen ids")?;
    }
    Ok(())
}

pub(super) fn windows(tx: &Connection, scope: &str, gone: &[Id], put: &[Window]) -> Result<()> {
    let mut forget = tx.prepare_cached("DELETE FROM windows WHERE scope = ?1 AND id = ?2").at("windows")?;
    for id in gone {
        forget.execute(params![scope, id.as_bytes()]).at("windows")?;
    }
    let mut keep = tx
        .prepare_cached(
            "INSERT INTO windows (scope, id, body) VALUES (?1, ?2, ?3)
             ON CONFLICT (scope, id) DO UPDATE SET body = excluded.body",
        )
        .at("windows")?;
    for window in put {
        keep.execute(params![scope, window.id.as_bytes(), json("windows", window)?]).at("windows")?;
    }
    Ok(())
}

pub(super) fn timers(tx: &Connection, scope: &str, gone: &[Id], put: &[Timer]) -> Result<()> {
    let mut forget = tx.prepare_cached("DELETE FROM timers WHERE scope = ?1 AND id = ?2").at("timers")?;
    for id in gone {
        forget.execute(params![scope, id.as_bytes()]).at("timers")?;
    }
    let mut keep = tx
        .prepare_cached(
            "INSERT INTO timers (scope, id, due, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (scope, id) DO UPDATE SET due = excluded.due, body = excluded.body",
        )
        .at("timers")?;
    for timer in put {
        keep.execute(params![scope, timer.id.as_bytes(), timer.due.as_nanos(), json("timers", timer)?]).at("timers")?;
    }
    Ok(())
}

pub(super) fn cis(tx: &Connection, scope: &str, put: &[Ci]) -> Result<()> {
    let mut keep = tx
        .prepare_cached(
            "INSERT INTO cis (scope, id, body) VALUES (?1, ?2, ?3)
             ON CONFLICT (scope, id) DO UPDATE SET body = excluded.body",
        )
        .at("cmdb")?;
    for ci in put {
        keep.execute(params![scope, ci.id.as_bytes(), json("cmdb", ci)?]).at("cmdb")?;
    }
    Ok(())
}

pub(super) fn relations(tx: &Connection, scope: &str, put: &[Relation]) -> Result<()> {
    let mut keep = tx
        .prepare_cached(
            "INSERT INTO relations (scope, from_id, kind, to_id, body) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (scope, from_id, kind, to_id) DO NOTHING",
        )
        .at("cmdb")?;
    for one in put {
        keep.execute(params![scope, one.from.as_bytes(), one.kind, one.to.as_bytes(), json("cmdb", one)?])
            .at("cmdb")?;
    }
    Ok(())
}
