//! At rest: nothing waits without a reason, and what the records say of endpoints is what endpoints did.

use std::collections::BTreeSet;

use paramedic_model::{Lane, Order, OutboxRow, OutboxState as S};
use paramedic_store::IncidentFilter;

use super::super::dispatch::short;
use super::super::world::World;
use super::log::inbox;

pub(super) fn check(world: &mut World) {
    let mut wrong = vec![];
    rows(world, &mut wrong);
    incidents(world, &mut wrong);
    webhooks(world, &mut wrong);
    wrong.into_iter().for_each(|(oracle, what)| world.wrong(oracle, what));
}

type Wrong = Vec<(&'static str, String)>;

fn rows(world: &World, wrong: &mut Wrong) {
    for row in world.store.outbox_list(&S::ALL, 100_000).unwrap_or_default() {
        let about = format!("{} {}: {:?}", short(row.key), row.state.name(), row.message);
        match row.state {
            S::Pending | S::Deferred | S::Started | S::Accepted | S::Unknown => {
                wrong.push(("liveness: no row waits in the end", about));
            }
            S::Failed | S::Cancelled | S::Denied if row.message.is_none() && row.verdicts.is_empty() => {
                wrong.push(("a row that ends says why", about));
            }
            _ => {}
        }
        if let Order::Run(_) = row.order {
            truth(world, &row, wrong);
        }
    }
}

/// What the row says, and what its endpoint did.
fn truth(world: &World, row: &OutboxRow, wrong: &mut Wrong) {
    let known = world.endpoints.known.get(&row.key);
    let by_person = world.watch.settled.contains(&row.key);
    let effects = known.map_or(0, |k| k.effects);
    if world.watch.is_forgotten(row.key) {
        return;
    }
    match row.state {
        S::Failed if effects > 0 && !by_person && known.is_some_and(|k| !k.said_failed) => {
            let what = format!("{} failed: {:?}; its endpoint did it", short(row.key), row.message);
            wrong.push(("what may have happened is unknown, not failed", what));
        }
        S::Denied | S::Cancelled if known.is_some() => {
            let what = format!("{} is {}, and its request left", short(row.key), row.state.name());
            wrong.push(("what is withdrawn never leaves", what));
        }
        S::Succeeded if known.is_none() => {
            wrong.push(("what succeeded was asked for", short(row.key)));
        }
        _ => {}
    }
}

fn incidents(world: &World, wrong: &mut Wrong) {
    let all = IncidentFilter { limit: 100_000, ..IncidentFilter::default() };
    let mut open = BTreeSet::new();
    for incident in world.store.incidents(&all).unwrap_or_default() {
        if incident.state.is_open() {
            let kind = match incident.rule.as_str() {
                "service down" => "service.down",
                "disk full" => "disk",
                "stuck" => "stuck",
                _ => "memory",
            };
            let about = incident.about.clone().unwrap_or_default();
            if !world.monitor.never.contains_key(&(incident.scope.clone(), about, kind)) {
                let opened = (incident.opened_at, incident.condition_at, &incident.alerts, &incident.evidence);
                let what = format!("{:?} {} in {}: {opened:?}", incident.number, incident.summary, incident.scope);
                wrong.push(("liveness: every incident comes to an end", what));
            }
            if !open.insert(incident.correlation_key) {
                wrong.push(("I16 one open incident per key", incident.correlation_key.to_string()));
            }
        }
        for page in world.store.pages(incident.id).unwrap_or_default() {
            let row = world.store.outbox_of(page.id).ok().flatten();
            let ended = row.is_some_and(|r| matches!(r.state, S::Succeeded | S::Failed | S::Cancelled));
            if !page.shadow && !ended {
                wrong.push(("every page is delivered or told why not", format!("{} to {}", page.id, page.to)));
            }
        }
    }
}

/// What a webhook's sender was told is kept, is.
fn webhooks(world: &World, wrong: &mut Wrong) {
    let mut there = BTreeSet::new();
    for (shard, _) in world.store.shards().unwrap_or_default() {
        there.extend(inbox(world, shard, Lane::Inbox, 1, i64::MAX).into_iter().map(|row| row.entry.id));
    }
    if let Some(id) = world.watch.acknowledged.iter().find(|id| !there.contains(*id)) {
        wrong.push(("I5 2xx only after the commit", id.clone()));
    }
}
