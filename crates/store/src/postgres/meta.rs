//! What is known about the store as a whole, halts, and which rule sets there are.

use std::collections::BTreeMap;

use paramedic_model::{Digest, NewInbox, Timestamp};
use tokio_postgres::types::Json;

use super::error::{Fault, body, column, digest, json};
use super::transaction::{Tx, Work};
use super::{inbox, text};
use crate::rules::{publication, refused};
use crate::{Halt, HaltScope, Published, Recovered, StoreError};

type Result<T> = std::result::Result<T, Fault>;

pub(super) const PUT: &str =
    "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const GET: &str = "SELECT value FROM meta WHERE key = $1";
pub(super) const RECOVERED: &str = "recovered";
/// Digest of the active rule set.
const ACTIVE: &str = "active";

const RULES: &str = "rule set";

/// Writers of a kind stand in one queue: what they decide on is read under this lock.
fn queue(kind: &'static str) -> Work<'static> {
    Work::new("SELECT pg_advisory_xact_lock(hashtext(current_schema()), hashtext($1))").with(kind)
}

/// A shard that is new must not miss a publication that is under way, which has not told it and is not seen yet: its
/// load stands in that queue.
pub(super) fn before_publications(shard: i64) -> Work<'static> {
    let sql = "SELECT pg_advisory_xact_lock_shared(hashtext(current_schema()), hashtext('rulesets'))
               WHERE NOT EXISTS (SELECT 1 FROM shards WHERE shard = $1)";
    Work::new(sql).with(shard)
}

pub(super) async fn get(tx: &Tx<'_>, key: &'static str) -> Result<Option<String>> {
    let found = tx.ask(vec![Work::new(GET).with(key)]).await?;
    found.iter().flatten().next().map(|row| column("meta", row, 0)).transpose()
}

pub(super) async fn recovered(tx: &Tx<'_>) -> Result<Option<Recovered>> {
    let Some(text) = get(tx, RECOVERED).await? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|e| StoreError::Corrupt(format!("recovered: {e}")).into())
}

pub(super) async fn set_recovered(tx: &Tx<'_>, recovered: Option<&Recovered>) -> Result<()> {
    tx.begin(vec![queue("meta")]).await?;
    let work = match recovered {
        Some(recovered) => Work::new(PUT).with(RECOVERED).with(json("recovered", recovered)?),
        None => Work::new("DELETE FROM meta WHERE key = $1").with(RECOVERED),
    };
    tx.commit(vec![work]).await
}

pub(super) async fn put_halt(tx: &Tx<'_>, halt: &Halt) -> Result<()> {
    tx.begin(vec![queue("halts")]).await?;
    let sql = "INSERT INTO halts (scope, body) VALUES ($1, $2)
               ON CONFLICT (scope) DO UPDATE SET body = excluded.body";
    tx.commit(vec![Work::new(sql).with(halt_key(&halt.scope)?).with(Json(halt))]).await
}

/// `before`: what an earlier try, whose commit is in doubt, found.
pub(super) async fn remove_halt(tx: &Tx<'_>, scope: &HaltScope, before: &std::cell::Cell<bool>) -> Result<bool> {
    let key = halt_key(scope)?;
    let found =
        tx.begin(vec![queue("halts"), Work::new("SELECT 1 FROM halts WHERE scope = $1").with(key.clone())]).await?;
    let there = found.get(1).is_some_and(|rows| !rows.is_empty());
    before.set(there || (tx.doubt && before.get()));
    if there {
        tx.commit(vec![Work::new("DELETE FROM halts WHERE scope = $1").with(key)]).await?;
    }
    Ok(before.get())
}

/// By scope.
pub(super) async fn halts(tx: &Tx<'_>) -> Result<Vec<Halt>> {
    let found = tx.ask(vec![Work::new("SELECT body FROM halts")]).await?;
    let mut halts: Vec<Halt> = found.iter().flatten().map(|row| body("halt", row, 0)).collect::<Result<_>>()?;
    halts.sort_by(|a, b| a.scope.cmp(&b.scope));
    Ok(halts)
}

fn halt_key(scope: &HaltScope) -> Result<String> {
    Ok(text::key(&json("halt", scope)?).into_owned())
}

pub(super) async fn put_ruleset(tx: &Tx<'_>, set: Digest, sources: &BTreeMap<String, String>) -> Result<()> {
    tx.begin(vec![]).await?;
    let sql = "INSERT INTO rulesets (digest, sources) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING";
    tx.commit(vec![Work::new(sql).with(set.to_string()).with(Json(sources))]).await
}

pub(super) async fn ruleset(tx: &Tx<'_>, set: Digest) -> Result<Option<BTreeMap<String, String>>> {
    let sql = "SELECT sources FROM rulesets WHERE digest = $1";
    let found = tx.ask(vec![Work::new(sql).with(set.to_string())]).await?;
    found.iter().flatten().next().map(|row| body(RULES, row, 0)).transpose()
}

/// The one that was published last.
pub(super) async fn active(tx: &Tx<'_>) -> Result<Option<Digest>> {
    get(tx, ACTIVE).await?.map(|hex| digest(RULES, &hex)).transpose()
}

/// Makes it the active one, and tells every shard. `before`: whether an earlier try, whose commit is in doubt, did.
pub(super) async fn publish(
    tx: &Tx<'_>,
    set: Digest,
    at: Timestamp,
    again: bool,
    before: &std::cell::Cell<bool>,
) -> Result<Published> {
    let known = Work::new("SELECT published_at FROM rulesets WHERE digest = $1").with(set.to_string());
    let found = tx
        .begin(vec![
            queue("rulesets"),
            known,
            Work::new(GET).with(ACTIVE),
            Work::new("SELECT shard FROM shards ORDER BY 1"),
        ])
        .await?;
    let [_, known, active, shards] = found.as_slice() else { return Err(refused(RULES, "no answer").into()) };
    let Some(known) = known.first() else {
        let cause = format!("{set} is not kept here: its sources are written before it is published");
        return Err(refused(RULES, cause).into());
    };
    let published_at: Option<i64> = column(RULES, known, 0)?;
    let active: Option<Digest> = match active.first() {
        Some(row) => Some(digest(RULES, &column::<String>(RULES, row, 0)?)?),
        None => None,
    };
    match active {
        Some(active) if active == set => {
            return Ok(if tx.doubt && before.get() { Published::Now } else { Published::Already });
        }
        Some(active) if published_at.is_some() && !again => return Ok(Published::Superseded(active)),
        _ => {}
    }
    let entries: Vec<NewInbox> = shards
        .iter()
        .map(|row| Ok(publication(set, at, super::error::shard(RULES, row, 0)?)))
        .collect::<Result<_>>()?;
    let homes = inbox::own_homes(&entries);
    let placed = inbox::placed(tx, &entries, &homes).await?;
    before.set(true);
    let mut works = vec![
        Work::new(PUT).with(ACTIVE).with(set.to_string()),
        Work::new("UPDATE rulesets SET published_at = $2 WHERE digest = $1").with(set.to_string()).with(at.as_nanos()),
    ];
    works.extend(inbox::works(&entries, &placed)?);
    tx.commit(works).await?;
    Ok(Published::Now)
}
