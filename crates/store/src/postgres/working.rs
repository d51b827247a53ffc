//! Writing scopes' working state: what is gone is deleted, what is new or changed is written, one statement each a
//! table, whatever the scopes.

use std::collections::BTreeMap;
use std::fmt::Debug;

use paramedic_model::{AlertKey, Id, Relation, ScopeChanges, SeenId};
use serde::Serialize;
use serde_json::json;
use tokio_postgres::types::Json;

use super::text;
use super::transaction::Work;

/// What becomes of each key, by (scope, key): a value, or gone. In the order of locks, too.
type Net<'a, T> = BTreeMap<(String, Id), Option<&'a T>>;

/// Statements of a table.
struct Table {
    delete: &'static str,
    put: &'static str,
}

macro_rules! table {
    ($name:literal, $key:literal) => {
        Table {
            delete: concat!(
                "DELETE FROM ",
                $name,
                " AS t USING unnest($1::text[], $2::bytea[]) AS u (scope, key) ",
                "WHERE t.scope = u.scope AND t.",
                $key,
                " = u.key"
            ),
            put: concat!(
                "INSERT INTO ",
                $name,
                " (scope, ",
                $key,
                ", body) ",
                "SELECT * FROM unnest($1::text[], $2::bytea[], $3::json[]) ",
                "ON CONFLICT (scope, ",
                $key,
                ") DO UPDATE SET body = excluded.body"
            ),
        }
    };
}

const ALERTS: Table = table!("alerts", "key");
const PARKED: Table = table!("parked", "key");
const TIMERS: Table = table!("timers", "id");
const WINDOWS: Table = table!("windows", "id");
const CIS: Table = table!("cis", "id");
const RELATIONS: Table = table!("relations", "key");
const SEEN: Table = Table {
    delete: "DELETE FROM seen AS t USING unnest($1::text[], $2::bytea[]) AS u (scope, key)
             WHERE t.scope = u.scope AND t.key = u.key",
    put:
        "INSERT INTO seen (scope, key, body, at) SELECT * FROM unnest($1::text[], $2::bytea[], $3::json[], $4::bigint[])
          ON CONFLICT (scope, key) DO UPDATE SET at = excluded.at",
};

fn alert_key(key: &AlertKey) -> Id {
    Id::of(&json!([*key.source, *key.dedup_key]))
}

fn seen_key(seen: &SeenId) -> Id {
    Id::of(&json!([seen.source, seen.id]))
}

fn relation_key(relation: &Relation) -> Id {
    Id::of(&json!([relation.from, relation.kind, relation.to]))
}

/// All of it.
pub(super) fn works(changes: &[ScopeChanges]) -> Vec<Work<'_>> {
    let mut works = Vec::new();
    let alerts =
        net(changes, |c| c.alerts_gone.iter().map(alert_key), |c| c.alerts.iter().map(|a| (alert_key(&a.key), a)));
    write(&mut works, &ALERTS, alerts);
    let parked =
        net(changes, |c| c.parked_gone.iter().map(alert_key), |c| c.parked.iter().map(|p| (alert_key(&p.key), p)));
    write(&mut works, &PARKED, parked);
    seen(&mut works, changes);
    let timers = net(changes, |c| c.timers_gone.iter().copied(), |c| c.timers.iter().map(|t| (t.id, t)));
    write(&mut works, &TIMERS, timers);
    let windows = net(changes, |c| c.windows_gone.iter().copied(), |c| c.windows.iter().map(|w| (w.id, w)));
    write(&mut works, &WINDOWS, windows);
    write(&mut works, &CIS, net(changes, |_| [], |c| c.cis.iter().map(|ci| (ci.id, ci))));
    write(&mut works, &RELATIONS, net(changes, |_| [], |c| c.relations.iter().map(|r| (relation_key(r), r))));
    works
}

/// What is named as gone goes first, then what is new or changed; what is said later counts.
fn net<'a, T, Gone, Put>(
    changes: &'a [ScopeChanges],
    gone: impl Fn(&'a ScopeChanges) -> Gone,
    put: impl Fn(&'a ScopeChanges) -> Put,
) -> Net<'a, T>
where
    Gone: IntoIterator<Item = Id>,
    Put: IntoIterator<Item = (Id, &'a T)>,
{
    let mut net = Net::new();
    for of_scope in changes {
        let scope = text::key(&of_scope.scope);
        for id in gone(of_scope) {
            net.insert((scope.clone().into_owned(), id), None);
        }
        for (id, value) in put(of_scope) {
            net.insert((scope.clone().into_owned(), id), Some(value));
        }
    }
    net
}

/// Scopes and keys, as two columns.
fn columns<'b>(keys: impl Iterator<Item = &'b (String, Id)>) -> (Vec<String>, Vec<Vec<u8>>) {
    keys.map(|(scope, id)| (scope.clone(), id.as_bytes().to_vec())).unzip()
}

fn write<'a, T: Debug + Serialize + Sync>(works: &mut Vec<Work<'a>>, table: &Table, net: Net<'a, T>) {
    let (scopes, keys) = columns(net.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| key));
    if !keys.is_empty() {
        works.push(Work::new(table.delete).with(scopes).with(keys));
    }
    let (scopes, keys) = columns(net.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key));
    if !keys.is_empty() {
        let bodies: Vec<Json<&T>> = net.into_values().flatten().map(Json).collect();
        works.push(Work::new(table.put).with(scopes).with(keys).with(bodies));
    }
}

fn seen<'a>(works: &mut Vec<Work<'a>>, changes: &'a [ScopeChanges]) {
    let net = net(changes, |c| c.seen_gone.iter().map(seen_key), |c| c.seen.iter().map(|one| (seen_key(&one.0), one)));
    let (scopes, keys) = columns(net.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| key));
    if !keys.is_empty() {
        works.push(Work::new(SEEN.delete).with(scopes).with(keys));
    }
    let (scopes, keys) = columns(net.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key));
    if !keys.is_empty() {
        let (bodies, ats): (Vec<Json<&SeenId>>, Vec<i64>) =
            net.into_values().flatten().map(|(id, at)| (Json(id), at.as_nanos())).unzip();
        works.push(Work::new(SEEN.put).with(scopes).with(keys).with(bodies).with(ats));
    }
}
