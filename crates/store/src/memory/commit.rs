//! A batch in memory: everything is checked, then everything is written.

use std::collections::{BTreeMap, BTreeSet};

use paramedic_model::{Digest, Id, Incident, Lane, ScopeChanges};

use super::tables::{Scope, Tables};
use crate::rules::{
    check_fence, check_history, check_home, check_journal, check_no_journal, check_position, incident_may_become,
    refused,
};
use crate::{Batch, Result};

/// Whether the batch may be written. What passes here cannot fail in [`apply`].
pub(super) fn check(tables: &Tables, batch: &Batch) -> Result<()> {
    let shard = tables.shards.get(&batch.shard);
    check_fence(batch.shard, batch.epoch, shard.map(|s| s.epoch))?;
    for (name, position) in &batch.positions {
        let mut found = shard.and_then(|s| s.positions.get(name)).map(|p| p.next);
        if found.is_none() && position.from.is_none() && Lane::from_name(name).is_none() {
            // A source is taken from by one shard.
            found = tables.shards.values().find_map(|s| s.positions.get(name)).map(|p| p.next);
        }
        check_position(name, position.from, found)?;
    }
    let mut ends: BTreeMap<&str, (u64, Digest)> = BTreeMap::new();
    for changes in &batch.changes {
        let known = tables.scopes.get(&changes.scope);
        check_home(&changes.scope, tables.home(&changes.scope).unwrap_or(batch.shard), batch.shard)?;
        let stored = known.map_or_else(Default::default, |s| (s.head.last_seq, s.head.last_hash));
        let end = ends.entry(&changes.scope).or_insert(stored);
        check_history(changes, end.0, end.1)?;
        *end = (changes.head.last_seq, changes.head.last_hash);
    }
    check_incidents(tables, batch.changes.iter().flat_map(|c| &c.incidents))?;
    match &batch.journal {
        Some(row) => check_journal(batch, row, shard.map_or(0, super::tables::Shard::batch)),
        None => check_no_journal(batch),
    }
}

/// Legal moves only, and one open incident per correlation key when all of them are written.
fn check_incidents<'a>(tables: &Tables, changed: impl Iterator<Item = &'a Incident>) -> Result<()> {
    let changed: BTreeMap<Id, &Incident> = changed.map(|i| (i.id, i)).collect();
    let mut opened: BTreeSet<Id> = BTreeSet::new();
    for incident in changed.values() {
        let found = tables.incidents.get(&incident.id).map(|i| i.state);
        if found.is_some_and(|from| !incident_may_become(from, incident.state)) {
            return Err(refused("incidents", "an incident has no such move"));
        }
        if !claims(incident) {
            continue;
        }
        let holder = tables.open.get(&incident.correlation_key);
        if holder.is_some_and(|id| !changed.contains_key(id)) || !opened.insert(incident.correlation_key) {
            return Err(refused("incidents", "another open incident has this correlation key"));
        }
    }
    Ok(())
}

/// Whether it takes its correlation key for itself.
fn claims(incident: &Incident) -> bool {
    incident.state.is_open() && !incident.shadow
}

/// Writes a batch that [`check`] has passed.
pub(super) fn apply(tables: &mut Tables, batch: &Batch) {
    let shard = tables.shards.entry(batch.shard).or_default();
    for (name, position) in &batch.positions {
        shard.positions.insert(name.clone(), position.to.clone());
    }
    if let Some(row) = &batch.journal {
        shard.journal.insert(row.batch, row.clone());
    }
    tables.dead_letters.extend(batch.dead_letters.iter().cloned());
    for changes in &batch.changes {
        put_incidents(tables, batch.shard, changes);
        put_records(tables, batch.shard, changes);
        let scope = tables.scopes.entry(changes.scope.clone()).or_default();
        put_working(scope, changes);
    }
    // After the scopes: what the batch itself has given a home is at home there.
    tables.append(&batch.handed);
}

fn put_incidents(tables: &mut Tables, shard: u32, changes: &ScopeChanges) {
    tables.claim_home(&changes.scope, shard);
    let scope = tables.scopes.entry(changes.scope.clone()).or_default();
    scope.shard = shard;
    for incident in &changes.incidents {
        let number = tables.incidents.get(&incident.id).and_then(|i| i.number).unwrap_or(tables.last_number + 1);
        tables.last_number = tables.last_number.max(number);
        tables.by_number.insert(number, incident.id);
        if incident.state.code() < 7 {
            scope.live.insert(number, incident.id);
        } else {
            scope.live.remove(&number);
        }
        if tables.open.get(&incident.correlation_key) == Some(&incident.id) {
            tables.open.remove(&incident.correlation_key);
        }
        tables.incidents.insert(incident.id, Incident { number: Some(number), ..incident.clone() });
    }
    for incident in changes.incidents.iter().filter(|i| claims(i)) {
        tables.open.insert(incident.correlation_key, incident.id);
    }
}

fn put_records(tables: &mut Tables, shard: u32, changes: &ScopeChanges) {
    for run in &changes.runs {
        tables.runs_of.entry(run.incident).or_default().insert(run.id);
        tables.runs.insert(run.id, run.clone());
    }
    for page in &changes.pages {
        let pages = tables.pages.entry(page.incident).or_default();
        match pages.iter_mut().find(|p| p.id == page.id) {
            Some(known) => *known = page.clone(),
            None => pages.push(page.clone()),
        }
    }
    for row in &changes.outbox {
        tables.outbox.add(shard, row);
    }
    for (key, reason) in &changes.outbox_cancel {
        tables.outbox.cancel(*key, reason);
    }
}

/// What is named as gone goes first, then what is new or changed is written.
fn put_working(scope: &mut Scope, changes: &ScopeChanges) {
    scope.head = changes.head.clone();
    for key in &changes.alerts_gone {
        scope.alerts.remove(key);
    }
    for key in &changes.parked_gone {
        scope.parked.remove(key);
    }
    for id in &changes.seen_gone {
        scope.seen.remove(id);
    }
    for id in &changes.timers_gone {
        scope.timers.remove(id);
    }
    for id in &changes.windows_gone {
        scope.windows.remove(id);
    }
    scope.alerts.extend(changes.alerts.iter().map(|a| (a.key.clone(), a.clone())));
    scope.parked.extend(changes.parked.iter().map(|p| (p.key.clone(), p.clone())));
    scope.seen.extend(changes.seen.iter().cloned());
    scope.timers.extend(changes.timers.iter().map(|t| (t.id, t.clone())));
    scope.windows.extend(changes.windows.iter().map(|w| (w.id, w.clone())));
    scope.cis.extend(changes.cis.iter().map(|c| (c.id, c.clone())));
    scope.relations.extend(changes.relations.iter().cloned());
    scope.history.extend(changes.history.iter().cloned());
}
