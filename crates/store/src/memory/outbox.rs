//! The outbox in memory.

use std::collections::{BTreeMap, BTreeSet};

use paramedic_model::{Id, Order, OutboxRow, OutboxState, Timestamp};

use crate::DueLimits;
use crate::rules::withdrawn;

/// Rows by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    rows: BTreeMap<Id, Placed>,
    /// Key of the newest row of a run, a page or an event.
    of: BTreeMap<Id, Id>,
    /// Keys of rows that a dispatcher still has to look at.
    live: BTreeSet<Id>,
    /// How many were ever added.
    added: u64,
}

/// A row with its shard, and its place in the order in which rows were added.
#[derive(Clone, Debug)]
struct Placed {
    place: u64,
    shard: u32,
    row: OutboxRow,
}

/// Whether a dispatcher still has to look at it.
const fn is_live(state: OutboxState) -> bool {
    use OutboxState as S;
    matches!(state, S::Pending | S::Deferred | S::Started | S::Accepted)
}

impl Outbox {
    /// Adds a row whose key is new.
    pub(super) fn add(&mut self, shard: u32, row: &OutboxRow) {
        if self.rows.contains_key(&row.key) {
            return;
        }
        self.added += 1;
        self.of.insert(row.order.id(), row.key);
        self.rows.insert(row.key, Placed { place: self.added, shard, row: row.clone() });
        self.note(row.key, row.state);
    }

    fn note(&mut self, key: Id, state: OutboxState) {
        if is_live(state) {
            self.live.insert(key);
        } else {
            self.live.remove(&key);
        }
    }

    /// Withdraws a row that has not left.
    pub(super) fn cancel(&mut self, key: Id, reason: &str) {
        if let Some(row) = self.get(key).and_then(|(_, row)| withdrawn(row.clone(), reason)) {
            self.replace(row);
        }
    }

    pub(super) fn replace(&mut self, row: OutboxRow) {
        let (key, state) = (row.key, row.state);
        if let Some(placed) = self.rows.get_mut(&key) {
            placed.row = row;
            self.note(key, state);
        }
    }

    /// The row, with its shard.
    pub(super) fn get(&self, key: Id) -> Option<(u32, &OutboxRow)> {
        self.rows.get(&key).map(|placed| (placed.shard, &placed.row))
    }

    pub(super) fn of(&self, order: Id) -> Option<&OutboxRow> {
        self.of.get(&order).and_then(|key| self.get(*key)).map(|(_, row)| row)
    }

    /// Pages first, events last; by `not_before`, then release, then place.
    pub(super) fn due(&self, shards: &[u32], now: Timestamp, most: DueLimits) -> Vec<(u32, OutboxRow)> {
        let due = |placed: &&Placed| {
            shards.contains(&placed.shard) && placed.row.not_before.is_none_or(|not_before| not_before <= now)
        };
        let mut found: Vec<&Placed> = self.live.iter().filter_map(|key| self.rows.get(key)).filter(due).collect();
        found.sort_by_key(|placed| (placed.row.not_before, placed.row.released_at, placed.place));
        let kinds = [("page", most.pages), ("run", most.runs), ("emit", most.emits)];
        let of = |(kind, most)| found.iter().filter(move |placed| placed.row.order.kind() == kind).take(most);
        kinds.into_iter().flat_map(of).map(|placed| (placed.shard, placed.row.clone())).collect()
    }

    /// The rows of an incident, in the order in which they were added.
    pub(super) fn of_incident(&self, incident: Id) -> Vec<&OutboxRow> {
        let mut found: Vec<&Placed> = self.rows.values().filter(|p| p.row.order.incident() == incident).collect();
        found.sort_by_key(|placed| placed.place);
        found.into_iter().map(|placed| &placed.row).collect()
    }

    /// Lets go of the rows of an incident.
    pub(super) fn forget(&mut self, incident: Id) {
        let keys: Vec<Id> = self.of_incident(incident).into_iter().map(|row| row.key).collect();
        for key in keys {
            self.live.remove(&key);
            if let Some(placed) = self.rows.remove(&key) {
                self.of.remove(&placed.row.order.id());
            }
        }
    }

    /// Lets go of events that have ended and were released before then.
    pub(super) fn forget_emits(&mut self, before: Timestamp) -> u64 {
        use OutboxState as S;
        let ended = |row: &OutboxRow| matches!(row.state, S::Denied | S::Cancelled | S::Succeeded | S::Failed);
        let is_old = |row: &OutboxRow| matches!(row.order, Order::Emit(_)) && ended(row) && row.released_at < before;
        let gone: Vec<Id> = self.rows.values().map(|p| &p.row).filter(|row| is_old(row)).map(|row| row.key).collect();
        for placed in gone.iter().filter_map(|key| self.rows.remove(key)) {
            self.of.remove(&placed.row.order.id());
        }
        gone.len() as u64
    }

    /// Oldest release first; of two released at once, the one that was added first.
    pub(super) fn list(&self, states: &[OutboxState], limit: usize) -> Vec<OutboxRow> {
        let mut found: Vec<_> = self.rows.values().filter(|r| states.contains(&r.row.state)).collect();
        found.sort_by_key(|r| (r.row.released_at, r.place));
        found.into_iter().take(limit).map(|r| r.row.clone()).collect()
    }

    pub(super) fn target_busy(&self, target: Id, besides: Id) -> bool {
        use OutboxState as S;
        self.rows.values().map(|r| &r.row).any(|row| match &row.order {
            Order::Run(run) => {
                run.target.id == target
                    && run.id != besides
                    && matches!(row.state, S::Started | S::Accepted | S::Unknown)
                    && !(row.state == S::Unknown && paramedic_model::faults::planted("slot_freed_on_unknown"))
            }
            Order::Page(_) | Order::Emit(_) => false,
        })
    }

    /// How many rows are in each state that any row is in.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        let mut out = BTreeMap::new();
        for Placed { row, .. } in self.rows.values() {
            *out.entry(row.state.name().to_owned()).or_default() += 1;
        }
        out
    }
}
