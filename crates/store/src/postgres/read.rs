//! Reading for people and machines: the API, metrics, audit.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::TryStreamExt;
use paramedic_model::{HistoryRow, Id, Incident, IncidentState, JournalRow, Page, Run, RunState, ScopeHead};
use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use super::error::{Fault, body, column, digest, int, rows, uint};
use super::transaction::{Tx, Work};
use super::{outbox, text};
use crate::archive::Anchor;
use crate::chain::Chain;
use crate::rules::{limit, refused};
use crate::{Audit, Counts, DeadLetter, IncidentFilter, RunFilter};

type Result<T> = std::result::Result<T, Fault>;

/// What is read by several statements is read from one state of the store.
pub(super) const ONE_STATE: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";

/// Records whose JSON is the first column.
async fn list<T: DeserializeOwned>(tx: &Tx<'_>, context: &'static str, work: Work<'_>) -> Result<Vec<T>> {
    tx.ask(vec![work]).await?.iter().flatten().map(|row| body(context, row, 0)).collect()
}

fn bytes(id: Id) -> Vec<u8> {
    id.as_bytes().to_vec()
}

async fn numbered(tx: &Tx<'_>, work: Work<'_>) -> Result<Vec<Incident>> {
    let with_number = |row: &Row| {
        let incident: Incident = body("incidents", row, 0)?;
        Ok(Incident { number: Some(uint(column("incidents", row, 1)?)), ..incident })
    };
    tx.ask(vec![work]).await?.iter().flatten().map(with_number).collect()
}

/// Each filter that is not set is NULL, and lets everything through.
pub(super) async fn incidents(tx: &Tx<'_>, filter: &IncidentFilter) -> Result<Vec<Incident>> {
    let states: Vec<i16> = filter.states.iter().map(|state| i16::from(state.code())).collect();
    let ci: Option<Id> = filter.about.as_ref().and_then(|about| about.parse().ok());
    let about = filter.about.as_deref().map(|about| text::key(about).into_owned());
    // Two statements: with one, no index would serve the second.
    let sql = if about.is_none() {
        "SELECT body, number FROM incidents
         WHERE (cardinality($1::smallint[]) = 0 OR state = ANY($1)) AND ($2::smallint IS NULL OR priority = $2)
         AND $3::text IS NULL AND $4::bytea IS NULL AND number < $5 ORDER BY number DESC LIMIT $6"
    } else {
        "SELECT body, number FROM incidents
         WHERE (cardinality($1::smallint[]) = 0 OR state = ANY($1)) AND ($2::smallint IS NULL OR priority = $2)
         AND (about = $3 OR ci = $4) AND number < $5 ORDER BY number DESC LIMIT $6"
    };
    let work = Work::new(sql)
        .with(states)
        .with(filter.priority.map(i16::from))
        .with(about)
        .with(ci.map(bytes))
        .with(int(filter.before_number.unwrap_or(u64::MAX)))
        .with(rows(limit(filter.limit)));
    numbered(tx, work).await
}

pub(super) async fn incident(tx: &Tx<'_>, id: Id) -> Result<Option<Incident>> {
    Ok(numbered(tx, Work::new("SELECT body, number FROM incidents WHERE id = $1").with(bytes(id))).await?.pop())
}

pub(super) async fn incident_by_number(tx: &Tx<'_>, number: u64) -> Result<Option<Incident>> {
    let work = Work::new("SELECT body, number FROM incidents WHERE number = $1").with(int(number));
    Ok(numbered(tx, work).await?.pop())
}

pub(super) async fn runs(tx: &Tx<'_>, filter: &RunFilter) -> Result<Vec<Run>> {
    let states: Vec<&str> = filter.states.iter().copied().map(RunState::name).collect();
    let sql = match filter.incident {
        Some(_) => {
            "SELECT body FROM runs WHERE incident = $1 AND (cardinality($2::text[]) = 0 OR state = ANY($2))
             ORDER BY decided_at DESC, id DESC LIMIT $3"
        }
        None => {
            "SELECT body FROM runs WHERE $1::bytea IS NULL AND (cardinality($2::text[]) = 0 OR state = ANY($2))
             ORDER BY decided_at DESC, id DESC LIMIT $3"
        }
    };
    list(tx, "runs", Work::new(sql).with(filter.incident.map(bytes)).with(states).with(rows(limit(filter.limit)))).await
}

pub(super) async fn run(tx: &Tx<'_>, id: Id) -> Result<Option<Run>> {
    Ok(list(tx, "runs", Work::new("SELECT body FROM runs WHERE id = $1").with(bytes(id))).await?.pop())
}

pub(super) async fn pages(tx: &Tx<'_>, incident: Id) -> Result<Vec<Page>> {
    let sql = "SELECT body FROM pages WHERE incident = $1 ORDER BY decided_at, place";
    list(tx, "pages", Work::new(sql).with(bytes(incident))).await
}

/// From the record's last row back to its first, or to where the archive ends.
pub(super) async fn history(tx: &Tx<'_>, record: Id) -> Result<Vec<HistoryRow>> {
    let sql = "WITH RECURSIVE back (scope, seq, before, body) AS (
                   SELECT h.scope, h.seq, h.before, h.body::text FROM history_ends e
                   JOIN history h ON h.scope = e.scope AND h.seq = e.seq WHERE e.record = $1
                   UNION ALL
                   SELECT h.scope, h.seq, h.before, h.body::text FROM back b
                   JOIN history h ON h.scope = b.scope AND h.seq = b.before
               ) SELECT body::json FROM back ORDER BY seq";
    list(tx, "history", Work::new(sql).with(bytes(record))).await
}

pub(super) async fn history_of_scope(tx: &Tx<'_>, scope: &str, from: u64, limit: usize) -> Result<Vec<HistoryRow>> {
    let sql = "SELECT body FROM history WHERE scope = $1 AND seq >= $2 ORDER BY seq LIMIT $3";
    let key = text::key(scope).into_owned();
    list(tx, "history", Work::new(sql).with(key).with(int(from)).with(rows(limit))).await
}

pub(super) async fn journal(tx: &Tx<'_>, shard: u32, from: u64, limit: usize) -> Result<Vec<JournalRow>> {
    let sql = "SELECT body FROM journal WHERE shard = $1 AND batch >= $2 ORDER BY batch LIMIT $3";
    list(tx, "journal", Work::new(sql).with(i64::from(shard)).with(int(from)).with(rows(limit))).await
}

pub(super) async fn dead_letters(tx: &Tx<'_>, limit: usize) -> Result<Vec<DeadLetter>> {
    let sql = "SELECT body, bytes FROM dead_letters ORDER BY place DESC LIMIT $1";
    let whole = |row: &Row| {
        let letter: DeadLetter = body("dead letters", row, 0)?;
        Ok(DeadLetter { bytes: column("dead letters", row, 1)?, ..letter })
    };
    tx.ask(vec![Work::new(sql).with(rows(limit))]).await?.iter().flatten().map(whole).collect()
}

/// History and inbox lose rows only at their beginnings, so that their figures need no walk over their rows.
pub(super) async fn counts(tx: &Tx<'_>) -> Result<Counts> {
    const CONTEXT: &str = "counts";
    let figures = "SELECT (SELECT count(*) FROM dead_letters),
                          (SELECT coalesce(sum(last_seq - archived_seq), 0)::bigint FROM scopes),
                          (SELECT coalesce(sum(last - dropped), 0)::bigint FROM lanes)";
    let incidents = "SELECT state, priority, count(*) FROM incidents WHERE NOT shadow GROUP BY state, priority
                     ORDER BY state, priority";
    let found = tx
        .begin(vec![Work::new(ONE_STATE), Work::new(figures), Work::new(incidents), Work::new(outbox::COUNTS)])
        .await?;
    let [_, figures, by_state, outbox] = found.as_slice() else { return Err(refused(CONTEXT, "no answer").into()) };
    let Some(figures) = figures.first() else { return Err(refused(CONTEXT, "no answer").into()) };
    let mut incidents = Vec::new();
    for row in by_state {
        let (code, priority): (i16, i16) = (column(CONTEXT, row, 0)?, column(CONTEXT, row, 1)?);
        let state = IncidentState::ALL.into_iter().find(|state| i16::from(state.code()) == code);
        if let (Some(state), Ok(priority)) = (state, u8::try_from(priority)) {
            incidents.push((state, priority, uint(column(CONTEXT, row, 2)?)));
        }
    }
    Ok(Counts {
        incidents,
        outbox: outbox::counts(outbox)?,
        dead_letters: uint(column(CONTEXT, figures, 0)?),
        history: uint(column(CONTEXT, figures, 1)?),
        inbox: uint(column(CONTEXT, figures, 2)?),
    })
}

pub(super) async fn archived(tx: &Tx<'_>) -> Result<BTreeMap<String, Anchor>> {
    const CONTEXT: &str = "archive";
    let sql = "SELECT name, archived_seq, archived_hash FROM scopes WHERE archived_seq > 0";
    let anchor = |row: &Row| {
        let hash = digest(CONTEXT, &column::<String>(CONTEXT, row, 2)?)?;
        Ok((body(CONTEXT, row, 0)?, Anchor { seq: uint(column(CONTEXT, row, 1)?), hash }))
    };
    tx.ask(vec![Work::new(sql)]).await?.iter().flatten().map(anchor).collect()
}

/// Scope by scope, row by row: memory does not grow with the history.
pub(super) async fn audit(tx: &Tx<'_>) -> Result<Audit> {
    const CONTEXT: &str = "audit";
    // Rows of a scope that is not known are found by skipping from scope to scope.
    let scopes = "WITH RECURSIVE known (scope) AS (
                      SELECT min(scope) FROM history
                      UNION ALL SELECT (SELECT min(h.scope) FROM history h WHERE h.scope > k.scope) FROM known k
                      WHERE k.scope IS NOT NULL
                  )
                  SELECT a.scope, s.name, s.head, s.archived_seq, s.archived_hash
                  FROM (SELECT scope FROM scopes UNION SELECT scope FROM known WHERE scope IS NOT NULL) AS a
                  LEFT JOIN scopes s ON s.scope = a.scope";
    // It may take its time: an audit holds no lock that anybody waits for.
    let patient = Work::new("SELECT set_config('statement_timeout', '0', true)");
    let found = tx.begin(vec![Work::new(ONE_STATE), patient, Work::new(scopes)]).await?;
    let mut audit = Audit { rows: 0, scopes: 0, broken: Vec::new() };
    let statement = tx.client().prepare_cached("SELECT body, seq FROM history WHERE scope = $1 ORDER BY seq").await?;
    for row in found.get(2).into_iter().flatten() {
        let key: String = column(CONTEXT, row, 0)?;
        let archived: Option<i64> = column(CONTEXT, row, 3)?;
        let (mut chain, mut head, mut name) = (Chain::default(), None, key.clone());
        if let Some(archived) = archived {
            chain = Chain::after(uint(archived), digest(CONTEXT, &column::<String>(CONTEXT, row, 4)?)?);
            head = Some(body::<ScopeHead>(CONTEXT, row, 2)?);
            name = body(CONTEXT, row, 1)?;
        }
        let mut rows = pin!(tx.client().query_raw(&statement, [&key]).await?);
        while let Some(row) = rows.try_next().await? {
            let found: Result<HistoryRow> = body(CONTEXT, &row, 0);
            let found = found.map_err(|fault| fault.told(CONTEXT).to_string());
            chain.row(uint(column(CONTEXT, &row, 1)?), found.as_ref().map_err(Clone::clone));
        }
        audit.scopes += 1;
        audit.rows += chain.rows;
        audit.broken.extend(chain.end(head.as_ref()).map(|(seq, why)| (name, seq, why)));
    }
    audit.broken.sort();
    Ok(audit)
}
