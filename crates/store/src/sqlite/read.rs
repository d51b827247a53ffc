//! Reading for people and machines: the API, metrics, audit.

use std::collections::BTreeMap;

use paramedic_model::{HistoryRow, Id, Incident, IncidentState, JournalRow, Page, Run, ScopeHead, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Params, Row, params, params_from_iter};
use serde::de::DeserializeOwned;

use super::error::{At, digest, int, parse, rows, uint};
use super::outbox;
use crate::archive::Anchor;
use crate::chain::Chain;
use crate::rules::limit;
use crate::{Audit, Counts, DeadLetter, Halt, IncidentFilter, Result, RunFilter, StoreError};

/// Records whose JSON is the first column.
pub(super) fn list<T: DeserializeOwned>(
    tx: &Connection,
    context: &'static str,
    sql: &str,
    params: impl Params,
) -> Result<Vec<T>> {
    let mut find = tx.prepare_cached(sql).at(context)?;
    let mut rows = find.query(params).at(context)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().at(context)? {
        out.push(body(context, row, 0)?);
    }
    Ok(out)
}

/// The first record, whose JSON is the first column.
pub(super) fn one<T: DeserializeOwned>(
    tx: &Connection,
    context: &'static str,
    sql: &str,
    params: impl Params,
) -> Result<Option<T>> {
    let mut find = tx.prepare_cached(sql).at(context)?;
    let mut rows = find.query(params).at(context)?;
    rows.next().at(context)?.map(|row| body(context, row, 0)).transpose()
}

/// Without a copy of the text.
pub(super) fn body<T: DeserializeOwned>(context: &'static str, row: &Row<'_>, column: usize) -> Result<T> {
    let text = row.get_ref(column).at(context)?.as_str();
    parse(context, text.map_err(|e| StoreError::Corrupt(format!("{context}: {e}")))?)
}

fn numbered(tx: &Connection, sql: &str, params: impl Params) -> Result<Vec<Incident>> {
    let mut find = tx.prepare_cached(sql).at("incidents")?;
    let mut rows = find.query(params).at("incidents")?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().at("incidents")? {
        let mut incident: Incident = body("incidents", row, 0)?;
        incident.number = Some(uint(row.get(1).at("incidents")?));
        out.push(incident);
    }
    Ok(out)
}

pub(super) fn incidents(tx: &Connection, filter: &IncidentFilter) -> Result<Vec<Incident>> {
    let mut sql = "SELECT body, number FROM incidents WHERE true".to_owned();
    let mut values: Vec<Value> = Vec::new();
    if !filter.states.is_empty() {
        sql += &format!(" AND state IN ({})", vec!["?"; filter.states.len()].join(", "));
        values.extend(filter.states.iter().map(|s| Value::from(i64::from(s.code()))));
    }
    if let Some(priority) = filter.priority {
        sql += " AND priority = ?";
        values.push(i64::from(priority).into());
    }
    if let Some(about) = &filter.about {
        sql += " AND (about = ? OR ci = ?)";
        values.push(about.clone().into());
        values.push(about.parse::<Id>().map_or(Value::Null, |id| id.as_bytes().to_vec().into()));
    }
    if let Some(before) = filter.before_number {
        sql += " AND number < ?";
        values.push(int(before).into());
    }
    sql += " ORDER BY number DESC LIMIT ?";
    values.push(rows(limit(filter.limit)).into());
    numbered(tx, &sql, params_from_iter(values))
}

pub(super) fn incident(tx: &Connection, id: Id) -> Result<Option<Incident>> {
    Ok(numbered(tx, "SELECT body, number FROM incidents WHERE id = ?1", [id.as_bytes()])?.pop())
}

pub(super) fn incident_by_number(tx: &Connection, number: u64) -> Result<Option<Incident>> {
    Ok(numbered(tx, "SELECT body, number FROM incidents WHERE number = ?1", [int(number)])?.pop())
}

pub(super) fn runs(tx: &Connection, filter: &RunFilter) -> Result<Vec<Run>> {
    let mut sql = "SELECT body FROM runs WHERE true".to_owned();
    let mut values: Vec<Value> = Vec::new();
    if let Some(incident) = filter.incident {
        sql += " AND incident = ?";
        values.push(incident.as_bytes().to_vec().into());
    }
    if !filter.states.is_empty() {
        sql += &format!(" AND state IN ({})", vec!["?"; filter.states.len()].join(", "));
        values.extend(filter.states.iter().map(|s| Value::from(s.name().to_owned())));
    }
    sql += " ORDER BY decided_at DESC, id DESC LIMIT ?";
    values.push(rows(limit(filter.limit)).into());
    list(tx, "runs", &sql, params_from_iter(values))
}

pub(super) fn run(tx: &Connection, id: Id) -> Result<Option<Run>> {
    one(tx, "runs", "SELECT body FROM runs WHERE id = ?1", [id.as_bytes()])
}

pub(super) fn pages(tx: &Connection, incident: Id) -> Result<Vec<Page>> {
    list(tx, "pages", "SELECT body FROM pages WHERE incident = ?1 ORDER BY decided_at, rowid", [incident.as_bytes()])
}

/// From the record's last row back to its first. A record is of one scope, so the order of places is that of `seq`.
pub(super) fn history(tx: &Connection, record: Id) -> Result<Vec<HistoryRow>> {
    list(
        tx,
        "history",
        "WITH RECURSIVE back (place, before, body) AS (
             SELECT h.place, h.before, h.body FROM history_ends e JOIN history h ON h.place = e.place
             WHERE e.record = ?1
             UNION ALL
             SELECT h.place, h.before, h.body FROM back JOIN history h ON h.place = back.before
         ) SELECT body FROM back ORDER BY place",
        [record.as_bytes()],
    )
}

pub(super) fn history_of_scope(tx: &Connection, scope: &str, from: u64, limit: usize) -> Result<Vec<HistoryRow>> {
    list(
        tx,
        "history",
        "SELECT body FROM history WHERE scope = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3",
        params![scope, int(from), rows(limit)],
    )
}

pub(super) fn journal(tx: &Connection, shard: u32, from: u64, limit: usize) -> Result<Vec<JournalRow>> {
    list(
        tx,
        "journal",
        "SELECT body FROM journal WHERE shard = ?1 AND batch >= ?2 ORDER BY batch LIMIT ?3",
        params![shard, int(from), rows(limit)],
    )
}

pub(super) fn dead_letters(tx: &Connection, limit: usize) -> Result<Vec<DeadLetter>> {
    const CONTEXT: &str = "dead letters";
    let mut find = tx
        .prepare_cached(
            "SELECT source, position, \"offset\", reason, bytes, digest, length, at FROM dead_letters
             ORDER BY place DESC LIMIT ?1",
        )
        .at(CONTEXT)?;
    let mut found = find.query([rows(limit)]).at(CONTEXT)?;
    let mut out = Vec::new();
    while let Some(row) = found.next().at(CONTEXT)? {
        let hex: String = row.get(5).at(CONTEXT)?;
        out.push(DeadLetter {
            source: row.get(0).at(CONTEXT)?,
            position: row.get(1).at(CONTEXT)?,
            offset: row.get(2).at(CONTEXT)?,
            reason: row.get(3).at(CONTEXT)?,
            bytes: row.get(4).at(CONTEXT)?,
            digest: digest(CONTEXT, &hex)?,
            length: uint(row.get(6).at(CONTEXT)?),
            at: Timestamp::from_nanos(row.get(7).at(CONTEXT)?),
        });
    }
    Ok(out)
}

/// By scope.
pub(super) fn halts(tx: &Connection) -> Result<Vec<Halt>> {
    let mut halts: Vec<Halt> = list(tx, "halt", "SELECT body FROM halts", [])?;
    halts.sort_by(|a, b| a.scope.cmp(&b.scope));
    Ok(halts)
}

/// History and inbox lose rows only at their beginnings, so that their figures need no walk over their rows.
pub(super) fn counts(tx: &Connection) -> Result<Counts> {
    const CONTEXT: &str = "counts";
    let figure = |sql: &str| tx.prepare_cached(sql).and_then(|mut s| s.query_row([], |row| row.get(0))).at(CONTEXT);
    let mut find = tx
        .prepare_cached(
            "SELECT state, priority, count(*) FROM incidents WHERE shadow = 0 GROUP BY state, priority
             ORDER BY state, priority",
        )
        .at(CONTEXT)?;
    let mut found = find.query([]).at(CONTEXT)?;
    let mut incidents = Vec::new();
    while let Some(row) = found.next().at(CONTEXT)? {
        let code: u8 = row.get(0).at(CONTEXT)?;
        if let Some(state) = IncidentState::ALL.into_iter().find(|s| s.code() == code) {
            incidents.push((state, row.get(1).at(CONTEXT)?, uint(row.get(2).at(CONTEXT)?)));
        }
    }
    Ok(Counts {
        incidents,
        outbox: outbox::counts(tx)?,
        dead_letters: uint(figure("SELECT count(*) FROM dead_letters")?),
        history: uint(figure("SELECT coalesce(sum(last_seq - archived_seq), 0) FROM scopes")?),
        inbox: uint(figure("SELECT coalesce(sum(last - dropped), 0) FROM lanes")?),
    })
}

/// Scope by scope, row by row: memory does not grow with the history.
pub(super) fn archived(tx: &Connection) -> Result<BTreeMap<String, Anchor>> {
    const CONTEXT: &str = "archive";
    let sql = "SELECT scope, archived_seq, archived_hash FROM scopes WHERE archived_seq > 0";
    let mut find = tx.prepare_cached(sql).at(CONTEXT)?;
    let mut rows = find.query([]).at(CONTEXT)?;
    let mut out = BTreeMap::new();
    while let Some(row) = rows.next().at(CONTEXT)? {
        let hash: String = row.get(2).at(CONTEXT)?;
        let anchor = Anchor { seq: uint(row.get(1).at(CONTEXT)?), hash: digest(CONTEXT, &hash)? };
        out.insert(row.get(0).at(CONTEXT)?, anchor);
    }
    Ok(out)
}

pub(super) fn audit(tx: &Connection) -> Result<Audit> {
    let mut find = tx
        .prepare_cached("SELECT scope FROM scopes UNION SELECT DISTINCT scope FROM history ORDER BY 1")
        .at("audit")?;
    let scopes: Vec<String> =
        find.query_map([], |row| row.get(0)).at("audit")?.collect::<rusqlite::Result<_>>().at("audit")?;
    let mut audit = Audit { rows: 0, scopes: 0, broken: Vec::new() };
    for scope in scopes {
        let known: Option<(String, i64, String)> = tx
            .query_row("SELECT head, archived_seq, archived_hash FROM scopes WHERE scope = ?1", [&scope], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()
            .at("audit")?;
        let mut chain = Chain::default();
        let mut head: Option<ScopeHead> = None;
        if let Some((text, archived_seq, archived_hash)) = known {
            chain = Chain::after(uint(archived_seq), digest("audit", &archived_hash)?);
            head = Some(parse("audit", &text)?);
        }
        let mut find = tx.prepare_cached("SELECT body, seq FROM history WHERE scope = ?1 ORDER BY seq").at("audit")?;
        let mut rows = find.query([&scope]).at("audit")?;
        while let Some(row) = rows.next().at("audit")? {
            let found: Result<HistoryRow> = body("audit", row, 0);
            chain.row(uint(row.get(1).at("audit")?), found.as_ref().map_err(ToString::to_string));
        }
        audit.scopes += 1;
        audit.rows += chain.rows;
        audit.broken.extend(chain.end(head.as_ref()).map(|(seq, why)| (scope, seq, why)));
    }
    Ok(audit)
}
