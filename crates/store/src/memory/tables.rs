//! What the memory store holds.

use std::collections::{BTreeMap, BTreeSet};

use paramedic_model::{
    Alert, AlertKey, Ci, Digest, HistoryRow, Id, InboxRow, Incident, JournalRow, NewInbox, Page, Parked, Relation, Run,
    ScopeHead, ScopeImage, SeenId, Timer, Timestamp,
};

use super::outbox::Outbox;
use crate::rules::{check_fence, check_move};
use crate::{DeadLetter, Halt, HaltScope, OutboxMove, Position, Result, ShardImage};

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) shards: BTreeMap<u32, Shard>,
    pub(super) scopes: BTreeMap<String, Scope>,
    /// With their numbers.
    pub(super) incidents: BTreeMap<Id, Incident>,
    pub(super) by_number: BTreeMap<u64, Id>,
    /// The open incident, no shadow, of a correlation key.
    pub(super) open: BTreeMap<Id, Id>,
    pub(super) runs: BTreeMap<Id, Run>,
    /// Ids of runs by incident.
    pub(super) runs_of: BTreeMap<Id, BTreeSet<Id>>,
    /// In order of insertion, by incident.
    pub(super) pages: BTreeMap<Id, Vec<Page>>,
    pub(super) outbox: Outbox,
    pub(super) inbox: BTreeMap<u64, InboxRow>,
    pub(super) inbox_ids: BTreeMap<String, u64>,
    pub(super) dead_letters: Vec<DeadLetter>,
    pub(super) rulesets: BTreeMap<Digest, BTreeMap<String, String>>,
    pub(super) halts: BTreeMap<HaltScope, Halt>,
}

/// A shard's epoch, positions and journal.
#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) epoch: u64,
    pub(super) positions: BTreeMap<String, Position>,
    pub(super) journal: BTreeMap<u64, JournalRow>,
}

impl Shard {
    /// Number of the last batch.
    pub(super) fn batch(&self) -> u64 {
        self.journal.last_key_value().map_or(0, |(batch, _)| *batch)
    }
}

/// A scope's working state and history.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) shard: u32,
    pub(super) head: ScopeHead,
    /// Ids of incidents that are not closed or canceled, by number.
    pub(super) live: BTreeMap<u64, Id>,
    pub(super) alerts: BTreeMap<AlertKey, Alert>,
    pub(super) parked: BTreeMap<AlertKey, Parked>,
    pub(super) seen: BTreeMap<SeenId, Timestamp>,
    pub(super) timers: BTreeMap<Id, Timer>,
    pub(super) cis: BTreeMap<Id, Ci>,
    pub(super) relations: BTreeSet<Relation>,
    pub(super) history: Vec<HistoryRow>,
}

impl Tables {
    /// Raises the shard's epoch and gives its working state.
    pub(super) fn load(&mut self, number: u32) -> ShardImage {
        let shard = self.shards.entry(number).or_default();
        shard.epoch += 1;
        let scopes = self.scopes.iter().filter(|(_, s)| s.shard == number);
        ShardImage {
            epoch: shard.epoch,
            batch: shard.batch(),
            last: shard.journal.values().next_back().cloned(),
            positions: shard.positions.clone(),
            scopes: scopes.map(|(name, scope)| self.image(name, scope)).collect(),
        }
    }

    fn image(&self, name: &str, scope: &Scope) -> ScopeImage {
        let live = || scope.live.values().filter_map(|id| self.incidents.get(id));
        let runs = live().filter_map(|i| self.runs_of.get(&i.id)).flatten().filter_map(|id| self.runs.get(id));
        let mut runs: Vec<Run> = runs.cloned().collect();
        runs.sort_by_key(|run| (run.decided_at, run.id));
        let mut timers: Vec<Timer> = scope.timers.values().cloned().collect();
        timers.sort_by_key(|timer| (timer.due, timer.id));
        ScopeImage {
            scope: name.to_owned(),
            head: scope.head.clone(),
            incidents: live().map(|i| Incident { number: None, ..i.clone() }).collect(),
            runs,
            alerts: scope.alerts.values().cloned().collect(),
            parked: scope.parked.values().cloned().collect(),
            seen: scope.seen.iter().map(|(id, at)| (id.clone(), *at)).collect(),
            timers,
            cis: scope.cis.values().cloned().collect(),
            relations: scope.relations.iter().cloned().collect(),
        }
    }

    /// Appends entries whose id is new; gives the seq of each.
    pub(super) fn append(&mut self, entries: &[NewInbox]) -> Vec<u64> {
        let mut seqs = Vec::with_capacity(entries.len());
        for entry in entries {
            let next = self.inbox.last_key_value().map_or(0, |(seq, _)| *seq) + 1;
            let seq = *self.inbox_ids.entry(entry.id.clone()).or_insert(next);
            if seq == next {
                self.inbox.insert(seq, InboxRow { seq, entry: entry.clone() });
            }
            seqs.push(seq);
        }
        seqs
    }

    /// The dispatcher's move of an outbox row.
    pub(super) fn move_outbox(&mut self, change: &OutboxMove) -> Result<()> {
        if let Some((shard, epoch)) = change.fence {
            check_fence(shard, epoch, self.shards.get(&shard).map(|s| s.epoch))?;
        }
        check_move(change, self.outbox.get(change.key))?;
        self.outbox.replace(change.row.clone());
        self.append(&change.inbox);
        Ok(())
    }
}
