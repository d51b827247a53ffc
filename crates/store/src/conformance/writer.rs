//! A shard's owner, as the engine is one: it writes batches that follow each other.

use std::collections::BTreeMap;

use paramedic_model::{Digest, HistoryRow, Id, JournalRow, Range, Running, ScopeChanges, ScopeHead};
use serde_json::json;

use super::fixture::{at, digest, id};
use crate::{Batch, Claim, Result, ShardImage, Store};

/// The owner of a shard.
pub(crate) struct Writer<'a> {
    store: &'a dyn Store,
    shard: u32,
    epoch: u64,
    batch: u64,
    heads: BTreeMap<String, ScopeHead>,
}

impl<'a> Writer<'a> {
    /// Takes shard 0 over, alone.
    pub(crate) fn new(store: &'a dyn Store) -> Self {
        Self::at(store, 0, &Claim::Alone)
    }

    /// Takes a shard over.
    pub(crate) fn at(store: &'a dyn Store, shard: u32, claim: &Claim) -> Self {
        Self { shard, ..Self::of(store, store.load_shard(shard, claim).unwrap()) }
    }

    /// Has taken shard 0 over.
    pub(crate) fn of(store: &'a dyn Store, image: ShardImage) -> Self {
        let heads = image.scopes.into_iter().map(|s| (s.scope, s.head)).collect();
        Self { store, shard: 0, epoch: image.epoch, batch: image.batch, heads }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Changes to `default` that are empty but for their head.
    pub(crate) fn changes(&self) -> ScopeChanges {
        self.changes_in("default")
    }

    pub(crate) fn changes_in(&self, scope: &str) -> ScopeChanges {
        let head = self.heads.get(scope).cloned().unwrap_or_default();
        ScopeChanges { scope: scope.into(), head, ..ScopeChanges::default() }
    }

    /// The batch that comes next, with its journal row.
    pub(crate) fn batch(&self, changes: Vec<ScopeChanges>) -> Batch {
        let journal = JournalRow {
            shard: self.shard,
            epoch: self.epoch,
            batch: self.batch + 1,
            set: digest("set"),
            set_after: digest("next set"),
            floor: at(0),
            cap: at(1),
            end: at(1),
            tick: true,
            blind: vec!["zabbix".into()],
            ranges: BTreeMap::from([("inbox".into(), Range { from: 1, to: 4, delivered: 2, bytes: 7, crc: 9 })]),
            inputs: Running::default(),
            decisions: digest("decisions"),
            decisions_end: digest("end"),
        };
        Batch { shard: self.shard, epoch: self.epoch, changes, journal: Some(journal), ..Batch::default() }
    }

    /// Commits, and goes on from there only when it held.
    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<()> {
        self.store.commit(batch)?;
        self.batch += u64::from(batch.journal.is_some());
        for changes in &batch.changes {
            self.heads.insert(changes.scope.clone(), changes.head.clone());
        }
        Ok(())
    }

    /// Commits changes to `default`.
    pub(crate) fn write(&mut self, fill: impl FnOnce(&mut ScopeChanges)) -> Result<()> {
        self.write_in("default", fill)
    }

    pub(crate) fn write_in(&mut self, scope: &str, fill: impl FnOnce(&mut ScopeChanges)) -> Result<()> {
        let mut changes = self.changes_in(scope);
        fill(&mut changes);
        let batch = self.batch(vec![changes]);
        self.commit(&batch)
    }
}

/// Appends a row about `record` that follows from the head.
pub(crate) fn add_step(changes: &mut ScopeChanges, record: Id) {
    let seq = changes.head.last_seq + 1;
    let mut row = HistoryRow {
        seq,
        at: at(seq.cast_signed()),
        id: id(&format!("step {seq}")),
        record,
        step: "incident_opened".into(),
        actor: "disk/full@abc".into(),
        reason: "95,3 % voll".into(),
        input: "zabbix/77".into(),
        data: json!({"value": 0.1 + 0.2, "limit": 95.0, "n": seq}),
        hash: Digest::default(),
    };
    row.hash = row.expected_hash(changes.head.last_hash);
    changes.head.last_seq = seq;
    changes.head.last_hash = row.hash;
    changes.head.decisions.add(row.step.as_bytes());
    changes.history.push(row);
}
