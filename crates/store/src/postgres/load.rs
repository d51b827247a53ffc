//! Taking a shard over: its epoch is raised, its working state read.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::TryStreamExt;
use paramedic_model::{Ci, Incident, Relation, ScopeImage, Timestamp};
use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use super::error::{Fault, body, column, digest, shard as shard_of, uint};
use super::transaction::{Tx, Work};
use super::{history, meta, text};
use crate::rules::{self, refused};
use crate::{Claim, Position, ShardImage};

type Result<T> = std::result::Result<T, Fault>;

const CONTEXT: &str = "load";

/// The raise locks the shard's row: nobody commits for it between that and the end of the reads.
pub(super) async fn shard(tx: &Tx<'_>, shard: u32, claim: &Claim) -> Result<ShardImage> {
    let number = i64::from(shard);
    let raise = "INSERT INTO shards (shard, epoch) VALUES ($1, 1)
                 ON CONFLICT (shard) DO UPDATE SET epoch = shards.epoch + 1 RETURNING epoch, batch";
    let journal = "SELECT body FROM journal WHERE shard = $1 ORDER BY batch DESC LIMIT 1";
    let mut questions = vec![
        Work::new("SELECT set_config('statement_timeout', '5min', true)"),
        Work::new(history::STALLED).with(number),
        meta::before_publications(number),
        Work::new(raise).with(number),
        Work::new(journal).with(number),
        Work::new("SELECT scope, name, head FROM scopes WHERE shard = $1 ORDER BY scope").with(number),
    ];
    questions.extend(taking(number, claim));
    let answers = tx.begin(questions).await?;
    let [_, _, _, raised, last, scopes, rest @ ..] = answers.as_slice() else {
        return Err(refused(CONTEXT, "no answer").into());
    };
    let Some(raised) = raised.first() else { return Err(refused(CONTEXT, "no answer").into()) };
    if *claim == Claim::Alone {
        check_alone(shard, rest)?;
    }
    let mut image = ShardImage {
        epoch: uint(column(CONTEXT, raised, 0)?),
        batch: uint(column(CONTEXT, raised, 1)?),
        last: last.first().map(|row| body("journal", row, 0)).transpose()?,
        positions: positions(tx, Some(shard)).await?.into_iter().map(|(_, name, at)| (name, at)).collect(),
        scopes: Vec::new(),
        active: meta::active(tx).await?,
        ends_lost: 0,
    };
    let mut by_key = BTreeMap::new();
    for row in scopes {
        let (key, scope): (String, String) = (column(CONTEXT, row, 0)?, body(CONTEXT, row, 1)?);
        by_key.insert(key, ScopeImage { scope, head: body(CONTEXT, row, 2)?, ..ScopeImage::default() });
    }
    if !by_key.is_empty() {
        fill(tx, number, &mut by_key).await?;
    }
    image.scopes = by_key.into_values().collect();
    image.scopes.sort_by(|a, b| a.scope.cmp(&b.scope));
    tx.commit(vec![]).await?;
    Ok(image)
}

/// Brings the claimed sources to this shard, wherever they are. A shard's lanes stay where they are.
fn taking<'a>(shard: i64, claim: &'a Claim) -> Vec<Work<'a>> {
    match claim {
        Claim::Positions(names) => {
            let take = "UPDATE positions SET shard = $1
                        WHERE name = ANY($2) AND name NOT IN ('inbox', 'acts') AND shard <> $1";
            vec![Work::new(take).with(shard).with(names.as_slice())]
        }
        Claim::Alone => {
            let elsewhere = "(SELECT name, shard FROM homes WHERE shard <> $1 LIMIT 1)
                             UNION ALL (SELECT scope, shard FROM scopes WHERE shard <> $1 LIMIT 1)";
            let take = "UPDATE positions SET shard = $1 WHERE name NOT IN ('inbox', 'acts') AND shard <> $1";
            vec![Work::new(elsewhere).with(shard), Work::new(take).with(shard)]
        }
    }
}

fn check_alone(shard: u32, answers: &[Vec<Row>]) -> Result<()> {
    let Some(row) = answers.first().and_then(|rows| rows.first()) else { return Ok(()) };
    let (name, home): (String, u32) = (column(CONTEXT, row, 0)?, shard_of(CONTEXT, row, 1)?);
    Ok(rules::check_alone(shard, [(name.as_str(), home)])?)
}

/// By shard and name, of one shard or of all.
pub(super) async fn positions(tx: &Tx<'_>, shard: Option<u32>) -> Result<Vec<(u32, String, Position)>> {
    const CONTEXT: &str = "position";
    let sql = "SELECT shard, name, next, last_at, last_digest FROM positions WHERE $1::bigint IS NULL OR shard = $1";
    let found = tx.ask(vec![Work::new(sql).with(shard.map(i64::from))]).await?;
    let mut out = Vec::new();
    for row in found.iter().flatten() {
        let last_at: Option<i64> = column(CONTEXT, row, 3)?;
        let last_digest: Option<String> = column(CONTEXT, row, 4)?;
        let position = Position {
            next: column(CONTEXT, row, 2)?,
            last_at: last_at.map(Timestamp::from_nanos),
            last_digest: last_digest.map(|hex| digest(CONTEXT, &hex)).transpose()?,
        };
        out.push((shard_of(CONTEXT, row, 0)?, column(CONTEXT, row, 1)?, position));
    }
    // In Rust's order of text, whatever the database's.
    out.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    Ok(out)
}

/// Reads the tables one after the other, whatever the number of scopes; rows come as a stream. Sorted here: the keys
/// in the tables are digests.
async fn fill(tx: &Tx<'_>, shard: i64, scopes: &mut BTreeMap<String, ScopeImage>) -> Result<()> {
    let incidents = "SELECT t.scope, t.body FROM scopes s JOIN incidents t ON t.scope = s.scope
                     WHERE s.shard = $1 AND t.state < 7 ORDER BY t.number";
    each(tx, "incidents", incidents, shard, scopes, |scope, one| {
        scope.incidents.push(Incident { number: None, ..one });
    })
    .await?;
    let runs = "SELECT i.scope, r.body FROM scopes s JOIN incidents i ON i.scope = s.scope
                JOIN runs r ON r.incident = i.id WHERE s.shard = $1 AND i.state < 7";
    each(tx, "runs", runs, shard, scopes, |scope, one| scope.runs.push(one)).await?;
    let alerts = "SELECT t.scope, t.body FROM scopes s JOIN alerts t ON t.scope = s.scope WHERE s.shard = $1";
    each(tx, "alerts", alerts, shard, scopes, |scope, one| scope.alerts.push(one)).await?;
    let parked = "SELECT t.scope, t.body FROM scopes s JOIN parked t ON t.scope = s.scope WHERE s.shard = $1";
    each(tx, "parked", parked, shard, scopes, |scope, one| scope.parked.push(one)).await?;
    let timers = "SELECT t.scope, t.body FROM scopes s JOIN timers t ON t.scope = s.scope WHERE s.shard = $1";
    each(tx, "timers", timers, shard, scopes, |scope, one| scope.timers.push(one)).await?;
    let windows = "SELECT t.scope, t.body FROM scopes s JOIN windows t ON t.scope = s.scope WHERE s.shard = $1";
    each(tx, "windows", windows, shard, scopes, |scope, one| scope.windows.push(one)).await?;
    let cis = "SELECT t.scope, t.body FROM scopes s JOIN cis t ON t.scope = s.scope WHERE s.shard = $1";
    each(tx, "cmdb", cis, shard, scopes, |scope, one| scope.cis.push(one)).await?;
    let relations = "SELECT t.scope, t.body FROM scopes s JOIN relations t ON t.scope = s.scope WHERE s.shard = $1";
    each(tx, "cmdb", relations, shard, scopes, |scope, one| scope.relations.push(one)).await?;
    let seen = "SELECT t.scope, json_build_array(t.body, t.at) FROM scopes s JOIN seen t ON t.scope = s.scope
                WHERE s.shard = $1";
    each(tx, "seen ids", seen, shard, scopes, |scope, (id, at)| scope.seen.push((id, Timestamp::from_nanos(at))))
        .await?;
    for scope in scopes.values_mut() {
        scope.runs.sort_by_key(|run| (run.decided_at, run.id));
        scope.alerts.sort_by(|a, b| a.key.cmp(&b.key));
        scope.parked.sort_by(|a, b| a.key.cmp(&b.key));
        scope.seen.sort_by(|a, b| a.0.cmp(&b.0));
        scope.timers.sort_by_key(|timer| (timer.due, timer.id));
        scope.windows.sort_by_key(|window| window.id);
        scope.cis.sort_by_key(|ci| ci.id);
        scope.relations.sort();
    }
    Ok(())
}

/// Gives every record to its scope. The statement answers with (scope, body).
async fn each<T: DeserializeOwned>(
    tx: &Tx<'_>,
    context: &'static str,
    sql: &'static str,
    shard: i64,
    scopes: &mut BTreeMap<String, ScopeImage>,
    mut give: impl FnMut(&mut ScopeImage, T),
) -> Result<()> {
    let statement = tx.client().prepare_cached(sql).await?;
    let mut rows = pin!(tx.client().query_raw(&statement, [shard]).await?);
    while let Some(row) = rows.try_next().await? {
        let key: String = column(context, &row, 0)?;
        if let Some(scope) = scopes.get_mut(&key) {
            give(scope, body(context, &row, 1)?);
        }
    }
    Ok(())
}

/// The CMDB of a scope: CIs by id, relations by (from, kind, to).
pub(super) async fn cmdb(tx: &Tx<'_>, scope: &str) -> Result<(Vec<Ci>, Vec<Relation>)> {
    let key = text::key(scope);
    let cis = Work::new("SELECT body FROM cis WHERE scope = $1 ORDER BY id").with(key.clone().into_owned());
    let relations = Work::new("SELECT body FROM relations WHERE scope = $1").with(key.into_owned());
    let found = tx.begin(vec![Work::new("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"), cis, relations]).await?;
    let [_, cis, relations] = found.as_slice() else { return Err(refused("cmdb", "no answer").into()) };
    let cis = cis.iter().map(|row| body("cmdb", row, 0)).collect::<Result<_>>()?;
    let mut relations: Vec<Relation> = relations.iter().map(|row| body("cmdb", row, 0)).collect::<Result<_>>()?;
    relations.sort();
    Ok((cis, relations))
}
