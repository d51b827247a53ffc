//! The outbox in memory.

use std::collections::BTreeMap;

use paramedic_model::{Id, Order, OutboxRow, OutboxState};

use crate::rules::withdrawn;

/// Rows by key, with their places in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    rows: BTreeMap<Id, (u64, OutboxRow)>,
    /// Key of the newest row of a run or a page.
    of: BTreeMap<Id, Id>,
}

impl Outbox {
    /// Adds a row whose key is new.
    pub(super) fn add(&mut self, row: &OutboxRow) {
        if self.rows.contains_key(&row.key) {
            return;
        }
        self.of.insert(row.order.id(), row.key);
        let place = u64::try_from(self.rows.len()).unwrap_or(u64::MAX);
        self.rows.insert(row.key, (place, row.clone()));
    }

    /// Withdraws a row that has not left.
    pub(super) fn cancel(&mut self, key: Id, reason: &str) {
        if let Some(row) = self.get(key).cloned().and_then(|row| withdrawn(row, reason)) {
            self.replace(row);
        }
    }

    pub(super) fn replace(&mut self, row: OutboxRow) {
        if let Some((_, old)) = self.rows.get_mut(&row.key) {
            *old = row;
        }
    }

    pub(super) fn get(&self, key: Id) -> Option<&OutboxRow> {
        self.rows.get(&key).map(|(_, row)| row)
    }

    pub(super) fn of(&self, order: Id) -> Option<&OutboxRow> {
        self.of.get(&order).and_then(|key| self.get(*key))
    }

    /// Oldest release first; of two released at once, the one that was added first.
    pub(super) fn list(&self, states: &[OutboxState], limit: usize) -> Vec<OutboxRow> {
        let mut found: Vec<_> = self.rows.values().filter(|(_, row)| states.contains(&row.state)).collect();
        found.sort_by_key(|(place, row)| (row.released_at, *place));
        found.into_iter().take(limit).map(|(_, row)| row.clone()).collect()
    }

    pub(super) fn target_busy(&self, target: Id, besides: Id) -> bool {
        use OutboxState as S;
        self.rows.values().any(|(_, row)| match &row.order {
            Order::Run(run) => {
                run.target.id == target
                    && run.id != besides
                    && matches!(row.state, S::Started | S::Accepted | S::Unknown)
            }
            Order::Page(_) => false,
        })
    }

    /// How many rows are in each state that any row is in.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        let mut out = BTreeMap::new();
        for (_, row) in self.rows.values() {
            *out.entry(row.state.name().to_owned()).or_default() += 1;
        }
        out
    }
}
