//! Writing what is kept: incidents, runs, pages, dead letters.

use std::collections::BTreeMap;

use paramedic_model::{Id, Incident, IncidentState, Page, Run, ScopeChanges};
use tokio_postgres::types::Json;

use super::text;
use super::transaction::Work;
use crate::DeadLetter;

/// The last value of each, in the order in which they were first named.
fn last_of<'a, T>(all: impl Iterator<Item = &'a T>, id: impl Fn(&T) -> Id) -> Vec<&'a T> {
    let mut places: BTreeMap<Id, usize> = BTreeMap::new();
    let mut out: Vec<&T> = Vec::new();
    for one in all {
        let place = *places.entry(id(one)).or_insert(out.len());
        match out.get_mut(place) {
            Some(known) => *known = one,
            None => out.push(one),
        }
    }
    out
}

fn bytes<'a>(ids: impl Iterator<Item = &'a Id>) -> Vec<&'a [u8]> {
    ids.map(|id| &id.as_bytes()[..]).collect()
}

const UPDATE: &str = "UPDATE incidents AS i
    SET scope = u.scope, correlation_key = u.correlation_key, state = u.state, priority = u.priority,
        shadow = u.shadow, about = u.about, ci = u.ci, updated_at = u.updated_at, body = u.body
    FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::smallint[], $5::smallint[], $6::boolean[], $7::text[],
                $8::bytea[], $9::bigint[], $10::json[])
         AS u (id, scope, correlation_key, state, priority, shadow, about, ci, updated_at, body)
    WHERE i.id = u.id";
/// The numbers are given in the order of the rows.
const INSERT: &str = "INSERT INTO incidents
    (number, id, scope, correlation_key, state, priority, shadow, about, ci, updated_at, body, opened_at)
    SELECT nextval('incident_numbers'), u.id, u.scope, u.correlation_key, u.state, u.priority, u.shadow, u.about,
           u.ci, u.updated_at, u.body, u.opened_at
    FROM (SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::smallint[], $5::smallint[], $6::boolean[],
                               $7::text[], $8::bytea[], $9::bigint[], $10::json[], $11::bigint[]) WITH ORDINALITY
          AS v (id, scope, correlation_key, state, priority, shadow, about, ci, updated_at, body, opened_at, place)
          ORDER BY place) AS u";

/// Known incidents that are no longer open go first, so that a key is free again for one that opens in the same
/// batch; a new one takes its number in the order of opening.
pub(super) fn incidents<'a>(changes: &'a [ScopeChanges], known: &BTreeMap<Id, IncidentState>) -> Vec<Work<'a>> {
    let all = last_of(changes.iter().flat_map(|c| &c.incidents), |i| i.id);
    let scopes: BTreeMap<Id, &str> =
        changes.iter().flat_map(|c| c.incidents.iter().map(|i| (i.id, c.scope.as_str()))).collect();
    let (known, new): (Vec<&Incident>, Vec<&Incident>) = all.into_iter().partition(|i| known.contains_key(&i.id));
    let (open, ended): (Vec<&Incident>, Vec<&Incident>) = known.into_iter().partition(|i| i.state.is_open());
    let mut works = Vec::new();
    for (sql, some) in [(UPDATE, ended), (UPDATE, open), (INSERT, new)] {
        if some.is_empty() {
            continue;
        }
        let scope = |i: &&Incident| text::key(scopes.get(&i.id).copied().unwrap_or_default()).into_owned();
        let mut work = Work::new(sql)
            .with(bytes(some.iter().map(|i| &i.id)))
            .with(some.iter().map(scope).collect::<Vec<_>>())
            .with(bytes(some.iter().map(|i| &i.correlation_key)))
            .with(some.iter().map(|i| i16::from(i.state.code())).collect::<Vec<_>>())
            .with(some.iter().map(|i| i16::from(i.priority())).collect::<Vec<_>>())
            .with(some.iter().map(|i| i.shadow).collect::<Vec<_>>())
            .with(some.iter().map(|i| i.about.as_deref().map(text::key).map(String::from)).collect::<Vec<_>>())
            .with(some.iter().map(|i| i.ci.as_ref().map(|id| &id.as_bytes()[..])).collect::<Vec<_>>())
            .with(some.iter().map(|i| i.updated_at.as_nanos()).collect::<Vec<_>>());
        let opened: Vec<i64> = some.iter().map(|i| i.opened_at.as_nanos()).collect();
        work = work.with(some.into_iter().map(Json).collect::<Vec<_>>());
        works.push(if sql == INSERT { work.with(opened) } else { work });
    }
    works
}

pub(super) fn runs(changes: &[ScopeChanges]) -> Option<Work<'_>> {
    let runs: Vec<&Run> = last_of(changes.iter().flat_map(|c| &c.runs), |run| run.id);
    if runs.is_empty() {
        return None;
    }
    let sql = "INSERT INTO runs (id, incident, state, decided_at, body)
               SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::bigint[], $5::json[])
               ON CONFLICT (id) DO UPDATE SET incident = excluded.incident, state = excluded.state,
               decided_at = excluded.decided_at, body = excluded.body";
    Some(
        Work::new(sql)
            .with(bytes(runs.iter().map(|run| &run.id)))
            .with(bytes(runs.iter().map(|run| &run.incident)))
            .with(runs.iter().map(|run| run.state.name()).collect::<Vec<_>>())
            .with(runs.iter().map(|run| run.decided_at.as_nanos()).collect::<Vec<_>>())
            .with(runs.into_iter().map(Json).collect::<Vec<_>>()),
    )
}

/// In order: of two that are decided at once, the first has the lower place.
pub(super) fn pages(changes: &[ScopeChanges]) -> Option<Work<'_>> {
    let pages: Vec<&Page> = last_of(changes.iter().flat_map(|c| &c.pages), |page| page.id);
    if pages.is_empty() {
        return None;
    }
    let sql = "INSERT INTO pages (id, incident, decided_at, body)
               SELECT id, incident, decided_at, body
               FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::json[]) WITH ORDINALITY
                    AS u (id, incident, decided_at, body, place) ORDER BY place
               ON CONFLICT (id) DO UPDATE SET incident = excluded.incident, decided_at = excluded.decided_at,
               body = excluded.body";
    Some(
        Work::new(sql)
            .with(bytes(pages.iter().map(|page| &page.id)))
            .with(bytes(pages.iter().map(|page| &page.incident)))
            .with(pages.iter().map(|page| page.decided_at.as_nanos()).collect::<Vec<_>>())
            .with(pages.into_iter().map(Json).collect::<Vec<_>>()),
    )
}

pub(super) fn dead_letters(letters: &[DeadLetter]) -> Option<Work<'_>> {
    if letters.is_empty() {
        return None;
    }
    let sql = "INSERT INTO dead_letters (at, bytes, body)
               SELECT at, bytes, body
               FROM unnest($1::bigint[], $2::bytea[], $3::json[]) WITH ORDINALITY AS u (at, bytes, body, place)
               ORDER BY place";
    let bare = |letter: &DeadLetter| DeadLetter {
        source: letter.source.clone(),
        position: letter.position.clone(),
        reason: letter.reason.clone(),
        bytes: Vec::new(),
        ..*letter
    };
    Some(
        Work::new(sql)
            .with(letters.iter().map(|letter| letter.at.as_nanos()).collect::<Vec<_>>())
            .with(letters.iter().map(|letter| letter.bytes.as_slice()).collect::<Vec<_>>())
            .with(letters.iter().map(|letter| Json(bare(letter))).collect::<Vec<_>>()),
    )
}
