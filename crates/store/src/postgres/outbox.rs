//! The outbox: rows that are there once per key, and move only as the table has it.

use std::collections::BTreeMap;

use paramedic_model::{Id, Order, OutboxRow, OutboxState, Timestamp};
use serde_json::json;
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::error::{Fault, body, column, rows, shard, uint};
use super::transaction::{Tx, Work};
use super::{commit, inbox, text};
use crate::rules::{check_fence, check_home, check_move, refused};
use crate::{DueLimits, OutboxMove};

type Result<T> = std::result::Result<T, Fault>;

const CONTEXT: &str = "outbox";

/// In the order in which rows are looked at: those that wait for no time come first.
fn due_at(row: &OutboxRow) -> i64 {
    row.not_before.map_or(i64::MIN, Timestamp::as_nanos)
}

/// Adds rows whose keys are new, and writes changed ones.
pub(super) fn works<'a>(owner: u32, new: &[OutboxRow], changed: &[OutboxRow]) -> Vec<Work<'a>> {
    let mut works = Vec::new();
    if !new.is_empty() {
        works.push(insert(owner, new));
    }
    if !changed.is_empty() {
        works.push(update(changed));
    }
    works
}

fn insert<'a>(owner: u32, new: &[OutboxRow]) -> Work<'a> {
    let target = |row: &OutboxRow| match &row.order {
        Order::Run(run) => Some(run.target.id.as_bytes().to_vec()),
        Order::Page(_) | Order::Emit(_) => None,
    };
    let sql = "INSERT INTO outbox
                   (shard, key, order_id, scope, incident, kind, target, state, released_at, due, body)
               SELECT $1, key, order_id, scope, incident, kind, target, state, released_at, due, body
               FROM unnest($2::bytea[], $3::bytea[], $4::text[], $5::bytea[], $6::text[], $7::bytea[], $8::text[],
                           $9::bigint[], $10::bigint[], $11::json[]) WITH ORDINALITY
                    AS u (key, order_id, scope, incident, kind, target, state, released_at, due, body, place)
               ORDER BY place ON CONFLICT (key) DO NOTHING";
    Work::new(sql)
        .with(i64::from(owner))
        .with(new.iter().map(|row| row.key.as_bytes().to_vec()).collect::<Vec<_>>())
        .with(new.iter().map(|row| row.order.id().as_bytes().to_vec()).collect::<Vec<_>>())
        .with(new.iter().map(|row| text::key(&row.scope).into_owned()).collect::<Vec<_>>())
        .with(new.iter().map(|row| row.order.incident().as_bytes().to_vec()).collect::<Vec<_>>())
        .with(new.iter().map(|row| row.order.kind()).collect::<Vec<_>>())
        .with(new.iter().map(target).collect::<Vec<_>>())
        .with(new.iter().map(|row| row.state.name()).collect::<Vec<_>>())
        .with(new.iter().map(|row| row.released_at.as_nanos()).collect::<Vec<_>>())
        .with(new.iter().map(due_at).collect::<Vec<_>>())
        .with(new.iter().cloned().map(Json).collect::<Vec<_>>())
}

fn update<'a>(changed: &[OutboxRow]) -> Work<'a> {
    let sql = "UPDATE outbox AS o SET state = u.state, released_at = u.released_at, due = u.due, body = u.body
               FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[], $5::json[])
                    AS u (key, state, released_at, due, body)
               WHERE o.key = u.key";
    Work::new(sql)
        .with(changed.iter().map(|row| row.key.as_bytes().to_vec()).collect::<Vec<_>>())
        .with(changed.iter().map(|row| row.state.name()).collect::<Vec<_>>())
        .with(changed.iter().map(|row| row.released_at.as_nanos()).collect::<Vec<_>>())
        .with(changed.iter().map(due_at).collect::<Vec<_>>())
        .with(changed.iter().cloned().map(Json).collect::<Vec<_>>())
}

/// The dispatcher's move: the fence, the row, the report to the inbox.
pub(super) async fn change(tx: &Tx<'_>, change: &OutboxMove) -> Result<()> {
    let fence = Work::new(commit::FENCE).with(change.fence.map_or(-1, |(shard, _)| i64::from(shard)));
    let row =
        Work::new("SELECT shard, body FROM outbox WHERE key = $1 FOR UPDATE").with(change.key.as_bytes().to_vec());
    let names = inbox::names(&change.inbox);
    let ids: Vec<Vec<u8>> =
        change.inbox.iter().map(|entry| Id::of(&json!(["inbox", entry.id])).as_bytes().to_vec()).collect();
    let reported = Work::new("SELECT count(*) FROM inbox WHERE key = ANY($1)").with(ids);
    let answers = tx.begin(vec![fence, row, inbox::home_question(&names), reported]).await?;
    let [fence, row, homes, reported] = answers.as_slice() else { return Err(refused(CONTEXT, "no answer").into()) };
    let found: Option<(u32, OutboxRow)> =
        row.first().map(|row| Ok::<_, Fault>((shard(CONTEXT, row, 0)?, body(CONTEXT, row, 1)?))).transpose()?;
    let reported: i64 = reported.first().map_or(Ok(0), |row| column(CONTEXT, row, 0))?;
    if tx.doubt && found.as_ref().is_some_and(|(_, row)| *row == change.row) && uint(reported) == unique(change) {
        // An earlier try was committed, and its answer was lost.
        return Ok(());
    }
    if let Some((held_shard, held)) = change.fence {
        let epoch: Option<i64> = fence.first().map(|row| column("fence", row, 0)).transpose()?;
        check_fence(held_shard, held, epoch.map(uint))?;
        // An owner's epoch says nothing about the rows of others.
        found.as_ref().map_or(Ok(()), |(home, row)| check_home(&row.scope, *home, held_shard))?;
    }
    check_move(change, found.as_ref().map(|(_, row)| row))?;
    let mut works = vec![update(std::slice::from_ref(&change.row))];
    if !change.inbox.is_empty() {
        let mut homes = inbox::homes_of(homes)?;
        homes.extend(inbox::own_homes(&change.inbox));
        if !names.iter().all(|name| homes.contains_key(name)) {
            homes = inbox::claimed(tx, &change.inbox, homes).await?;
        }
        let placed = inbox::placed(tx, &change.inbox, &homes).await?;
        works.extend(inbox::works(&change.inbox, &placed)?);
    }
    tx.commit(works).await
}

fn unique(change: &OutboxMove) -> u64 {
    let ids: std::collections::BTreeSet<&str> = change.inbox.iter().map(|entry| entry.id.as_str()).collect();
    ids.len() as u64
}

/// Oldest release first; of two released at once, the one that was added first.
pub(super) async fn list(tx: &Tx<'_>, states: &[OutboxState], limit: usize) -> Result<Vec<OutboxRow>> {
    let sql = "SELECT body FROM outbox WHERE state = ANY($1) ORDER BY released_at, place LIMIT $2";
    let names: Vec<&str> = states.iter().map(|state| state.name()).collect();
    bodies(&tx.ask(vec![Work::new(sql).with(names).with(rows(limit))]).await?)
}

/// Pages first, events last; by `not_before`, then release, then place. Shard by shard, as the index has them.
pub(super) async fn due(tx: &Tx<'_>, shards: &[u32], now: Timestamp, most: DueLimits) -> Result<Vec<(u32, OutboxRow)>> {
    let sql = "SELECT o.shard, o.body FROM (SELECT DISTINCT shard FROM unnest($2::bigint[]) AS u (shard)) AS s
               CROSS JOIN LATERAL (
                   SELECT shard, due, released_at, place, body FROM outbox
                   WHERE kind = $1 AND shard = s.shard AND due <= $3
                   AND state IN ('pending', 'deferred', 'started', 'accepted')
                   ORDER BY due, released_at, place LIMIT $4
               ) AS o ORDER BY o.due, o.released_at, o.place LIMIT $4";
    let of = |kind: &'static str, limit: usize| {
        let shards: Vec<i64> = shards.iter().map(|shard| i64::from(*shard)).collect();
        Work::new(sql).with(kind).with(shards).with(now.as_nanos()).with(rows(limit))
    };
    let found = tx.ask(vec![of("page", most.pages), of("run", most.runs), of("emit", most.emits)]).await?;
    found.iter().flatten().map(|row| Ok((shard(CONTEXT, row, 0)?, body(CONTEXT, row, 1)?))).collect()
}

/// The row, with its shard.
pub(super) async fn get(tx: &Tx<'_>, key: Id) -> Result<Option<(u32, OutboxRow)>> {
    let sql = "SELECT shard, body FROM outbox WHERE key = $1";
    let found = tx.ask(vec![Work::new(sql).with(key.as_bytes().to_vec())]).await?;
    let row = found.iter().flatten().next();
    row.map(|row| Ok((shard(CONTEXT, row, 0)?, body(CONTEXT, row, 1)?))).transpose()
}

pub(super) async fn of(tx: &Tx<'_>, order: Id) -> Result<Option<OutboxRow>> {
    let sql = "SELECT body FROM outbox WHERE order_id = $1 ORDER BY place DESC LIMIT 1";
    Ok(bodies(&tx.ask(vec![Work::new(sql).with(order.as_bytes().to_vec())]).await?)?.pop())
}

pub(super) async fn target_busy(tx: &Tx<'_>, target: Id, besides: Id) -> Result<bool> {
    let mut sql = "SELECT 1 FROM outbox WHERE target = $1 AND kind = 'run'
                   AND state IN ('started', 'accepted', 'unknown') AND order_id <> $2 LIMIT 1";
    if paramedic_model::faults::planted("slot_freed_on_unknown") {
        sql = "SELECT 1 FROM outbox WHERE target = $1 AND state IN ('started', 'accepted') AND order_id <> $2 LIMIT 1";
    }
    let work = Work::new(sql).with(target.as_bytes().to_vec()).with(besides.as_bytes().to_vec());
    Ok(tx.ask(vec![work]).await?.iter().any(|rows| !rows.is_empty()))
}

fn bodies(found: &[Vec<Row>]) -> Result<Vec<OutboxRow>> {
    found.iter().flatten().map(|row| body(CONTEXT, row, 0)).collect()
}

/// How many rows are in each state that any row is in.
pub(super) fn counts(found: &[Row]) -> Result<BTreeMap<String, u64>> {
    found.iter().map(|row| Ok((column(CONTEXT, row, 0)?, uint(column(CONTEXT, row, 1)?)))).collect()
}

/// Numbers for [`counts`].
pub(super) const COUNTS: &str = "SELECT state, count(*) FROM outbox GROUP BY state";
