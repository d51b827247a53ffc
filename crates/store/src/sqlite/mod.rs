//! The embedded store: one SQLite file, in WAL mode, synced at every commit.
//!
//! One connection writes, behind a lock; another reads, so that who only reads never waits for a commit. A file
//! has one engine: it holds the advisory lock on `PATH.lock` for as long as it lives, and no longer.

mod checkpoint;
mod commit;
mod error;
mod inbox;
mod load;
mod open;
mod outbox;
mod read;
mod records;
mod schema;
#[cfg(test)]
mod tests;
mod working;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use paramedic_model::{
    Ci, Digest, HistoryRow, Id, InboxRow, Incident, JournalRow, NewInbox, OutboxRow, OutboxState, Page, Relation, Run,
};
use rusqlite::{Connection, TransactionBehavior};

use self::error::At;
use crate::rules::refused;
use crate::{
    Audit, Batch, Counts, DeadLetter, Halt, HaltScope, IncidentFilter, OutboxMove, Result, RunFilter, ShardImage, Store,
};

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    // In the order in which they are dropped: only who can write, and is the last, folds the log into the file.
    /// `None`: opened to be read only.
    _checkpointer: Option<checkpoint::Checkpointer>,
    reader: Mutex<Connection>,
    /// `None`: opened to be read only.
    writer: Option<Mutex<Connection>>,
    /// Held for as long as the store lives; the kernel frees it, whatever ends the process.
    _lock: Option<File>,
}

impl SqliteStore {
    /// Does `work` in one transaction: all of it is durable after `Ok`, nothing of it is there after an error.
    fn write<T>(&self, context: &'static str, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let Some(writer) = &self.writer else {
            return Err(refused(context, "the store was opened to be read only"));
        };
        let mut conn = locked(writer);
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).at(context)?;
        let done = work(&tx)?;
        tx.commit().at(context)?;
        Ok(done)
    }

    /// Reads from one state of the store.
    fn read<T>(&self, context: &'static str, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let conn = locked(&self.reader);
        let tx = conn.unchecked_transaction().at(context)?;
        work(&tx)
    }
}

/// A panic elsewhere has rolled its transaction back: the connection is good.
fn locked(conn: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    conn.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for SqliteStore {
    fn load_shard(&self, shard: u32) -> Result<ShardImage> {
        self.write("load", |tx| load::shard(tx, shard))
    }
    fn commit(&self, batch: &Batch) -> Result<()> {
        self.write("commit", |tx| commit::batch(tx, batch))
    }
    fn inbox_append(&self, entries: &[NewInbox]) -> Result<Vec<u64>> {
        self.write("inbox", |tx| inbox::append(tx, entries))
    }
    fn inbox_read(&self, from: u64, limit: usize) -> Result<Vec<InboxRow>> {
        self.read("inbox", |tx| inbox::read(tx, from, limit))
    }
    fn outbox_list(&self, states: &[OutboxState], limit: usize) -> Result<Vec<OutboxRow>> {
        self.read("outbox", |tx| outbox::list(tx, states, limit))
    }
    fn outbox_get(&self, key: Id) -> Result<Option<OutboxRow>> {
        self.read("outbox", |tx| outbox::get(tx, key))
    }
    fn outbox_of(&self, order: Id) -> Result<Option<OutboxRow>> {
        self.read("outbox", |tx| outbox::of(tx, order))
    }
    fn outbox_move(&self, change: &OutboxMove) -> Result<()> {
        self.write("outbox", |tx| outbox::change(tx, change))
    }
    fn target_busy(&self, target: Id, besides: Id) -> Result<bool> {
        self.read("outbox", |tx| outbox::target_busy(tx, target, besides))
    }
    fn ruleset_put(&self, digest: Digest, sources: &BTreeMap<String, String>) -> Result<()> {
        self.write("rule set", |tx| records::put_ruleset(tx, digest, sources))
    }
    fn ruleset_get(&self, digest: Digest) -> Result<Option<BTreeMap<String, String>>> {
        self.read("rule set", |tx| read::ruleset(tx, digest))
    }
    fn halt_put(&self, halt: &Halt) -> Result<()> {
        self.write("halt", |tx| records::put_halt(tx, halt))
    }
    fn halt_remove(&self, scope: &HaltScope) -> Result<bool> {
        self.write("halt", |tx| records::remove_halt(tx, scope))
    }
    fn halts(&self) -> Result<Vec<Halt>> {
        self.read("halt", read::halts)
    }
    fn incidents(&self, filter: &IncidentFilter) -> Result<Vec<Incident>> {
        self.read("incidents", |tx| read::incidents(tx, filter))
    }
    fn incident(&self, id: Id) -> Result<Option<Incident>> {
        self.read("incidents", |tx| read::incident(tx, id))
    }
    fn incident_by_number(&self, number: u64) -> Result<Option<Incident>> {
        self.read("incidents", |tx| read::incident_by_number(tx, number))
    }
    fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>> {
        self.read("runs", |tx| read::runs(tx, filter))
    }
    fn run(&self, id: Id) -> Result<Option<Run>> {
        self.read("runs", |tx| read::run(tx, id))
    }
    fn pages(&self, incident: Id) -> Result<Vec<Page>> {
        self.read("pages", |tx| read::pages(tx, incident))
    }
    fn history(&self, record: Id) -> Result<Vec<HistoryRow>> {
        self.read("history", |tx| read::history(tx, record))
    }
    fn history_of_scope(&self, scope: &str, from: u64, limit: usize) -> Result<Vec<HistoryRow>> {
        self.read("history", |tx| read::history_of_scope(tx, scope, from, limit))
    }
    fn cmdb(&self, scope: &str) -> Result<(Vec<Ci>, Vec<Relation>)> {
        self.read("cmdb", |tx| Ok((load::cis(tx, scope)?, load::relations(tx, scope)?)))
    }
    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>> {
        self.read("dead letters", |tx| read::dead_letters(tx, limit))
    }
    fn journal(&self, shard: u32, from: u64, limit: usize) -> Result<Vec<JournalRow>> {
        self.read("journal", |tx| read::journal(tx, shard, from, limit))
    }
    fn counts(&self) -> Result<Counts> {
        self.read("counts", read::counts)
    }
    /// Reads through a connection of its own, so that nobody waits for it.
    fn audit(&self) -> Result<Audit> {
        let conn = open::reader(&self.path)?;
        let tx = conn.unchecked_transaction().at("audit")?;
        read::audit(&tx)
    }
}
