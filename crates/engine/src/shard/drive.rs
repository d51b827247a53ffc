//! What simulations and replays ask of a shard besides what the live shell does.

use std::sync::Arc;

use paramedic_model::{CmdbDelta, Digest, OutboxRow, ScopeImage, Timestamp};

use super::{Scope, Shard};
use crate::decision::Decided;
use crate::state::{Dirty, State};

impl Shard {
    /// Gives a scope that is not known yet a CMDB to begin with, without a step: part of what a simulation is
    /// given, not of what happens in it. A scope that is known keeps what it has.
    pub fn seed(&mut self, scope: &str, cmdb: CmdbDelta) {
        let active = self.active;
        self.scopes.entry(Arc::from(scope)).or_insert_with(|| {
            let image = ScopeImage { cis: cmdb.cis, relations: cmdb.relations, ..ScopeImage::default() };
            let mut state = State::restore(image);
            state.head.set = active;
            Scope { state, ..Scope::default() }
        });
    }

    /// The outbox rows that came since this was last asked, within the batch: in order of decision within a
    /// scope, by scope. They stay part of what [`Shard::finish`] gives.
    pub fn new_orders(&mut self) -> Vec<OutboxRow> {
        let mut orders = Vec::new();
        for name in std::mem::take(&mut self.unshown) {
            if let Some(scope) = self.scopes.get_mut(&name) {
                orders.extend_from_slice(scope.outbox.get(scope.shown..).unwrap_or_default());
                scope.shown = scope.outbox.len();
            }
        }
        orders
    }

    /// What the batch has decided so far, in order, by scope.
    pub fn decided(&self) -> &[(Arc<str>, Decided)] {
        &self.decided
    }

    /// Ends the batch where nothing is stored, in place of [`Shard::finish`]: what is to be committed is not gathered.
    pub fn pass(&mut self) {
        self.batch += 1;
        self.unshown.clear();
        for name in std::mem::take(&mut self.touched) {
            if let Some(scope) = self.scopes.get_mut(&name) {
                scope.state.dirty = Dirty::default();
                scope.shown = 0;
                scope.history.clear();
                scope.outbox.clear();
                scope.withdrawn.clear();
            }
        }
    }

    /// Goes on as an engine that was started again at this point of its journal: under `set` for scopes that are
    /// met from now on, and with the clock at `floor` if that is later.
    pub fn resume(&mut self, set: Digest, floor: Timestamp) {
        self.active = set;
        self.fire_due(floor, true);
        self.clock = self.clock.max(floor);
    }
}
