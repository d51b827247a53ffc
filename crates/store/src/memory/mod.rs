//! The store in memory: for tests, scenarios and dry runs. It forgets everything with the process.

mod commit;
mod inbox;
mod load;
mod outbox;
mod read;
mod retain;
mod tables;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use paramedic_model::{
    Ci, Digest, HistoryRow, Id, InboxRow, Incident, JournalRow, Lane, NewInbox, OutboxRow, OutboxState, Page, Relation,
    Run, Timestamp,
};

use self::tables::{RuleSet, Tables};
use crate::archive::Anchor;
use crate::rules::refused;
use crate::{
    Audit, Batch, Claim, Counts, DeadLetter, DueLimits, Halt, HaltScope, InboxPlace, IncidentFilter, OutboxMove,
    Position, Published, Recovered, Result, Retained, Retention, RunFilter, ShardImage, Store,
};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another store that holds the same, as of now: what is done to one is not done to the other.
    #[must_use]
    pub fn copied(&self) -> Self {
        Self { tables: Mutex::new(self.tables().clone()) }
    }

    /// Every write checks first and then cannot fail, so what a panic leaves behind is whole.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes history behind the store's back, as nobody can: for the conformance suite.
    #[cfg(test)]
    pub(crate) fn with_history(&self, scope: &str, change: impl FnOnce(&mut Vec<HistoryRow>)) {
        if let Some(scope) = self.tables().scopes.get_mut(scope) {
            change(&mut scope.history);
        }
    }
}

impl Store for MemoryStore {
    fn load_shard(&self, shard: u32, claim: &Claim) -> Result<ShardImage> {
        self.tables().load(shard, claim)
    }
    fn shards(&self) -> Result<Vec<(u32, u64)>> {
        Ok(self.tables().shards.iter().map(|(number, shard)| (*number, shard.epoch)).collect())
    }
    fn positions(&self) -> Result<Vec<(u32, String, Position)>> {
        Ok(self.tables().positions())
    }
    fn commit(&self, batch: &Batch) -> Result<()> {
        let mut tables = self.tables();
        commit::check(&tables, batch)?;
        commit::apply(&mut tables, batch);
        Ok(())
    }
    fn claim_scope(&self, scope: &str, shard: u32) -> Result<u32> {
        Ok(self.tables().claim_home(scope, shard))
    }
    fn scope_home(&self, scope: &str) -> Result<Option<u32>> {
        Ok(self.tables().home(scope))
    }
    fn inbox_append(&self, entries: &[NewInbox]) -> Result<Vec<InboxPlace>> {
        Ok(self.tables().append(entries))
    }
    fn inbox_read(&self, shard: u32, lane: Lane, from: u64, limit: usize) -> Result<Vec<InboxRow>> {
        self.tables().inbox.read(shard, lane, from, limit)
    }
    fn outbox_due(&self, shards: &[u32], now: Timestamp, most: DueLimits) -> Result<Vec<(u32, OutboxRow)>> {
        Ok(self.tables().outbox.due(shards, now, most))
    }
    fn outbox_list(&self, states: &[OutboxState], limit: usize) -> Result<Vec<OutboxRow>> {
        Ok(self.tables().outbox.list(states, limit))
    }
    fn outbox_get(&self, key: Id) -> Result<Option<(u32, OutboxRow)>> {
        Ok(self.tables().outbox.get(key).map(|(shard, row)| (shard, row.clone())))
    }
    fn outbox_of(&self, order: Id) -> Result<Option<OutboxRow>> {
        Ok(self.tables().outbox.of(order).cloned())
    }
    fn outbox_move(&self, change: &OutboxMove) -> Result<()> {
        self.tables().move_outbox(change)
    }
    fn target_busy(&self, target: Id, besides: Id) -> Result<bool> {
        Ok(self.tables().outbox.target_busy(target, besides))
    }
    fn ruleset_put(&self, digest: Digest, sources: &BTreeMap<String, String>) -> Result<()> {
        let new = || RuleSet { sources: sources.clone(), published: false };
        self.tables().rulesets.entry(digest).or_insert_with(new);
        Ok(())
    }
    fn ruleset_get(&self, digest: Digest) -> Result<Option<BTreeMap<String, String>>> {
        Ok(self.tables().rulesets.get(&digest).map(|set| set.sources.clone()))
    }
    fn ruleset_active(&self) -> Result<Option<Digest>> {
        Ok(self.tables().active)
    }
    fn ruleset_publish(&self, digest: Digest, at: Timestamp, again: bool) -> Result<Published> {
        self.tables().publish(digest, at, again)
    }
    fn recovered(&self) -> Result<Option<Recovered>> {
        Ok(self.tables().recovered.clone())
    }
    fn recovered_set(&self, recovered: Option<&Recovered>) -> Result<()> {
        self.tables().recovered = recovered.cloned();
        Ok(())
    }
    fn backup(&self, _to: &Path) -> Result<()> {
        Err(refused("backup", "the memory store keeps nothing: run the engine on SQLite or PostgreSQL"))
    }
    fn retain(&self, keep: &Retention, now: Timestamp, archive: &Path) -> Result<Retained> {
        self.tables().retain(keep, now, archive)
    }
    fn halt_put(&self, halt: &Halt) -> Result<()> {
        self.tables().halts.insert(halt.scope.clone(), halt.clone());
        Ok(())
    }
    fn halt_remove(&self, scope: &HaltScope) -> Result<bool> {
        Ok(self.tables().halts.remove(scope).is_some())
    }
    fn halts(&self) -> Result<Vec<Halt>> {
        Ok(self.tables().halts.values().cloned().collect())
    }
    fn incidents(&self, filter: &IncidentFilter) -> Result<Vec<Incident>> {
        Ok(self.tables().incidents_like(filter))
    }
    fn incident(&self, id: Id) -> Result<Option<Incident>> {
        Ok(self.tables().incidents.get(&id).cloned())
    }
    fn incident_by_number(&self, number: u64) -> Result<Option<Incident>> {
        Ok(self.tables().incident_by_number(number).cloned())
    }
    fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>> {
        Ok(self.tables().runs_like(filter))
    }
    fn run(&self, id: Id) -> Result<Option<Run>> {
        Ok(self.tables().runs.get(&id).cloned())
    }
    fn pages(&self, incident: Id) -> Result<Vec<Page>> {
        Ok(self.tables().pages_of(incident))
    }
    fn history(&self, record: Id) -> Result<Vec<HistoryRow>> {
        Ok(self.tables().history_of(record))
    }
    fn history_of_scope(&self, scope: &str, from: u64, limit: usize) -> Result<Vec<HistoryRow>> {
        Ok(self.tables().history_from(scope, from, limit))
    }
    fn cmdb(&self, scope: &str) -> Result<(Vec<Ci>, Vec<Relation>)> {
        Ok(self.tables().cmdb(scope))
    }
    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>> {
        Ok(self.tables().dead_letters.iter().rev().take(limit).cloned().collect())
    }
    fn journal(&self, shard: u32, from: u64, limit: usize) -> Result<Vec<JournalRow>> {
        Ok(self.tables().journal_from(shard, from, limit))
    }
    fn counts(&self) -> Result<Counts> {
        Ok(self.tables().counts())
    }
    fn archived(&self) -> Result<BTreeMap<String, Anchor>> {
        Ok(self.tables().archived())
    }
    fn audit(&self) -> Result<Audit> {
        Ok(self.tables().audit())
    }
}
