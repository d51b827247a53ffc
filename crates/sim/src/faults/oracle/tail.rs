//! A store that has lost its end: what the oracles must forget with it, and what must not happen all the same.

use std::collections::{BTreeMap, BTreeSet};

use paramedic_model::{Effect, Halt, Id, Order, OutboxRow, Timestamp};
use paramedic_store::Store;

use super::super::endpoint::Endpoints;
use super::super::world::World;
use super::Watch;

/// What was known when the store was copied.
#[derive(Clone, Debug)]
pub(in super::super) struct Then {
    succeeded: BTreeMap<Id, u32>,
    acknowledged: BTreeSet<String>,
    /// Requests that had come in, by key.
    asked: BTreeMap<Id, u32>,
}

impl Watch {
    /// What is known now.
    pub(in super::super) fn then(&self, endpoints: &Endpoints) -> Then {
        Then {
            succeeded: self.succeeded.clone(),
            acknowledged: self.acknowledged.clone(),
            asked: endpoints.known.iter().map(|(key, known)| (*key, known.requests)).collect(),
        }
    }

    /// The store is as it was then. Epochs, halts, replies and what was acknowledged since are gone with its end; what
    /// endpoints did is not.
    pub(in super::super) fn forget(
        &mut self,
        then: Then,
        store: &dyn Store,
        endpoints: &Endpoints,
        file: &[(Halt, Timestamp)],
        now: Timestamp,
    ) {
        self.epochs = store.shards().unwrap_or_default().into_iter().collect();
        let stored = store.halts().unwrap_or_default();
        let in_force: BTreeSet<_> = stored.iter().chain(file.iter().map(|(halt, _)| halt)).map(|h| &h.scope).collect();
        self.halts.retain(|(halt, _)| in_force.contains(&halt.scope));
        stored.iter().for_each(|halt| self.halted(halt, now));
        let since = |(key, requests): (&Id, u32)| then.asked.get(key).is_none_or(|before| *before < requests);
        let all = endpoints.known.iter().map(|(key, known)| (key, known.requests));
        self.forgotten.extend(all.filter(|one| since(*one)).map(|(key, _)| *key));
        // A page tells the number of its incident, which another may get now.
        self.bodies.retain(|key, _| {
            let committed = store.outbox_get(*key).ok().flatten().is_some_and(|(_, row)| row.request.is_some());
            committed || endpoints.known.contains_key(key)
        });
        (self.succeeded, self.acknowledged) = (then.succeeded, then.acknowledged);
    }

    /// Whether a request left of which the store may know nothing.
    pub(super) fn is_forgotten(&self, key: Id) -> bool {
        self.forgotten.contains(&key) || self.adrift.contains(&key)
    }
}

/// After a restore nothing that changes something leaves before a person has let it go.
pub(super) fn leaves(world: &mut World, row: &OutboxRow, found: Option<&OutboxRow>) {
    let Order::Run(run) = &row.order else { return };
    let Ok(Some(recovered)) = world.store.recovered() else { return };
    let cleared = found.and_then(|row| row.cleared.as_ref()).is_some_and(|(_, at)| *at >= recovered.at);
    if run.effect != Effect::ReadOnly && !cleared && !world.watch.adrift.contains(&row.key) {
        let what = format!("{} {}, and the store is {}", run.playbook, row.key, recovered.why);
        world.wrong("a restored store repeats nothing by itself", what);
    }
}
