//! What the memory store holds.

use std::collections::{BTreeMap, BTreeSet};

use paramedic_model::{
    Alert, AlertKey, Ci, Digest, HistoryRow, Id, Incident, JournalRow, Page, Parked, Relation, Run, ScopeHead,
    ScopeImage, SeenId, Timer, Timestamp, Window,
};

use super::inbox::Inbox;
use super::outbox::Outbox;
use crate::rules::{check_fence, check_home, check_move};
use crate::{DeadLetter, Halt, HaltScope, OutboxMove, Position, Recovered, Result};

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) shards: BTreeMap<u32, Shard>,
    pub(super) scopes: BTreeMap<String, Scope>,
    /// Where scopes and senders are at home; a shard's own scope is not written down.
    pub(super) homes: BTreeMap<String, u32>,
    /// With their numbers.
    pub(super) incidents: BTreeMap<Id, Incident>,
    pub(super) by_number: BTreeMap<u64, Id>,
    /// The last that was given: none is given twice, not even when its incident has left.
    pub(super) last_number: u64,
    /// The open incident, no shadow, of a correlation key.
    pub(super) open: BTreeMap<Id, Id>,
    pub(super) runs: BTreeMap<Id, Run>,
    /// Ids of runs by incident.
    pub(super) runs_of: BTreeMap<Id, BTreeSet<Id>>,
    /// In order of insertion, by incident.
    pub(super) pages: BTreeMap<Id, Vec<Page>>,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    pub(super) active: Option<Digest>,
    pub(super) recovered: Option<Recovered>,
    pub(super) dead_letters: Vec<DeadLetter>,
    pub(super) rulesets: BTreeMap<Digest, RuleSet>,
    pub(super) halts: BTreeMap<HaltScope, Halt>,
}

/// A rule set's sources.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleSet {
    pub(super) sources: BTreeMap<String, String>,
    /// One that was published, and is not the active one, is superseded.
    pub(super) published: bool,
}

/// A shard's epoch, positions and journal.
#[derive(Clone, Debug, Default)]
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
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) shard: u32,
    pub(super) head: ScopeHead,
    /// Ids of incidents that are not closed or canceled, by number.
    pub(super) live: BTreeMap<u64, Id>,
    pub(super) alerts: BTreeMap<AlertKey, Alert>,
    pub(super) parked: BTreeMap<AlertKey, Parked>,
    pub(super) seen: BTreeMap<SeenId, Timestamp>,
    pub(super) timers: BTreeMap<Id, Timer>,
    pub(super) windows: BTreeMap<Id, Window>,
    pub(super) cis: BTreeMap<Id, Ci>,
    pub(super) relations: BTreeSet<Relation>,
    pub(super) history: Vec<HistoryRow>,
    /// What is archived: rows 1 to this one, which has this hash, are not here.
    pub(super) archived: (u64, Digest),
}

impl Tables {
    pub(super) fn image(&self, name: &str, scope: &Scope) -> ScopeImage {
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
            windows: scope.windows.values().cloned().collect(),
            cis: scope.cis.values().cloned().collect(),
            relations: scope.relations.iter().cloned().collect(),
        }
    }

    /// The dispatcher's move of an outbox row.
    pub(super) fn move_outbox(&mut self, change: &OutboxMove) -> Result<()> {
        let found = self.outbox.get(change.key);
        if let Some((shard, epoch)) = change.fence {
            check_fence(shard, epoch, self.shards.get(&shard).map(|s| s.epoch))?;
            // An owner's epoch says nothing about the rows of others.
            found.map_or(Ok(()), |(home, row)| check_home(&row.scope, home, shard))?;
        }
        check_move(change, found.map(|(_, row)| row))?;
        self.outbox.replace(change.row.clone());
        self.append(&change.inbox);
        Ok(())
    }
}
