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

/// Incidents about topics to which nothing was delivered: nobody resolves them here.
const GIVEN_UP: &str = "events are not delivered";

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
        match row.order {
            Order::Run(_) => truth(world, &row, wrong),
            Order::Emit(_) => delivered(world, &row, wrong),
            Order::Page(_) => {}
        }
    }
}

/// At least once where the row says so; never where a guard said no.
fn delivered(world: &World, row: &OutboxRow, wrong: &mut Wrong) {
    let times = world.endpoints.emits.get(&row.key).copied().unwrap_or(0);
    match row.state {
        S::Succeeded if times == 0 => wrong.push(("an event that was delivered is there", short(row.key))),
        // A store that lost its end may not know that it had left.
        S::Denied if times > 0 && world.lost_tail.is_none() => {
            wrong.push(("an event that a guard denied never leaves", short(row.key)));
        }
        _ => {}
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
        if incident.state.is_open() && incident.rule != GIVEN_UP {
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
