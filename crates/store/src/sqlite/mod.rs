//! The embedded store: one SQLite file, in WAL mode, synced at every commit.
//!
//! One connection writes, behind a lock; another reads, so that who only reads never waits for a commit. A file
//! has one engine: it holds the advisory lock on `PATH.lock` for as long as it lives, and no longer.

mod backup;
mod checkpoint;
mod commit;
mod error;
mod homes;
mod inbox;
mod load;
mod meta;
mod open;
mod outbox;
mod read;
mod records;
mod retain;
mod rulesets;
mod schema;
#[cfg(test)]
mod tests;
mod working;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use paramedic_model::faults::point;
use paramedic_model::{
    Ci, Digest, HistoryRow, Id, InboxRow, Incident, JournalRow, Lane, NewInbox, OutboxRow, OutboxState, Page, Relation,
    Run, Timestamp,
};
use rusqlite::{Connection, TransactionBehavior};

use self::error::At;
use crate::archive::Anchor;
use crate::rules::refused;
use crate::{
    Audit, Batch, Claim, Counts, DeadLetter, DueLimits, Halt, HaltScope, InboxPlace, IncidentFilter, OutboxMove,
    Position, Published, Recovered, Result, Retained, Retention, RunFilter, ShardImage, Store,
};

/// A store in one SQLite file, or in memory.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    // In the order in which they are dropped: only who can write, and is the last, folds the log into the file.
    /// `None`: opened to be read only, or in memory.
    _checkpointer: Option<checkpoint::Checkpointer>,
    connections: Connections,
    /// Held for as long as the store lives; the kernel frees it, whatever ends the process.
    _lock: Option<File>,
}

#[derive(Debug)]
enum Connections {
    /// Of an engine. The reader is dropped first.
    Engine { reader: Mutex<Connection>, writer: Mutex<Connection> },
    /// Of somebody who looks on.
    ReadOnly(Mutex<Connection>),
    /// The database is the connection's own.
    Memory(Mutex<Connection>),
}

impl SqliteStore {
    fn writer(&self) -> Option<&Mutex<Connection>> {
        match &self.connections {
            Connections::Engine { writer, .. } | Connections::Memory(writer) => Some(writer),
            Connections::ReadOnly(_) => None,
        }
    }

    /// Does `work` in one transaction: all of it is durable after `Ok`, nothing of it is there after an error.
    fn write<T>(&self, context: &'static str, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let Some(writer) = self.writer() else {
            return Err(refused(context, "the store was opened to be read only"));
        };
        let mut conn = locked(writer);
        let in_transaction = || {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).at(context)?;
            let done = work(&tx)?;
            tx.commit().at(context)?;
            Ok(done)
        };
        self.told(in_transaction())
    }

    /// Reads from one state of the store.
    fn read<T>(&self, context: &'static str, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let (Connections::Engine { reader, .. } | Connections::ReadOnly(reader) | Connections::Memory(reader)) =
            &self.connections;
        self.told(in_one_state(&locked(reader), context, work))
    }

    /// Reads at length, through a connection of its own, so that nobody waits for it.
    fn read_aside<T>(&self, context: &'static str, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.aside(|conn| in_one_state(conn, context, work))
    }

    fn aside<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        match &self.connections {
            Connections::Memory(only) => work(&locked(only)),
            Connections::Engine { .. } | Connections::ReadOnly(_) => {
                self.told(open::reader(&self.path).and_then(|c| work(&c)))
            }
        }
    }

    /// Says more about what went wrong.
    fn told<T>(&self, done: Result<T>) -> Result<T> {
        match &self.connections {
            Connections::Memory(_) => done,
            Connections::Engine { .. } | Connections::ReadOnly(_) => done.map_err(|e| open::explained(&self.path, e)),
        }
    }
}

fn in_one_state<T>(conn: &Connection, context: &'static str, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    let tx = conn.unchecked_transaction().at(context)?;
    work(&tx)
}

/// A panic elsewhere has rolled its transaction back: the connection is good.
fn locked(conn: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    conn.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for SqliteStore {
    fn load_shard(&self, shard: u32, claim: &Claim) -> Result<ShardImage> {
        self.write("load", |tx| load::shard(tx, shard, claim))
    }
    fn shards(&self) -> Result<Vec<(u32, u64)>> {
        self.read("shards", homes::shards)
    }
    fn positions(&self) -> Result<Vec<(u32, String, Position)>> {
        self.read("position", |tx| load::positions(tx, None))
    }
    fn commit(&self, batch: &Batch) -> Result<()> {
        self.write("commit", |tx| commit::batch(tx, batch))
    }
    fn claim_scope(&self, scope: &str, shard: u32) -> Result<u32> {
        self.write("home", |tx| homes::claim(tx, scope, shard))
    }
    fn scope_home(&self, scope: &str) -> Result<Option<u32>> {
        self.read("home", |tx| homes::of(tx, scope))
    }
    fn inbox_append(&self, entries: &[NewInbox]) -> Result<Vec<InboxPlace>> {
        let places = self.write("inbox", |tx| inbox::append(tx, entries).inspect(|_| point("inbox.append.before")))?;
        point("inbox.append.after");
        Ok(places)
    }
    fn inbox_read(&self, shard: u32, lane: Lane, from: u64, limit: usize) -> Result<Vec<InboxRow>> {
        self.read("inbox", |tx| inbox::read(tx, shard, lane, from, limit))
    }
    fn outbox_due(&self, shards: &[u32], now: Timestamp, most: DueLimits) -> Result<Vec<(u32, OutboxRow)>> {
        self.read("outbox", |tx| outbox::due(tx, shards, now, most))
    }
    fn outbox_list(&self, states: &[OutboxState], limit: usize) -> Result<Vec<OutboxRow>> {
        self.read("outbox", |tx| outbox::list(tx, states, limit))
    }
    fn outbox_get(&self, key: Id) -> Result<Option<(u32, OutboxRow)>> {
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
        self.write("rule set", |tx| rulesets::put(tx, digest, sources))
    }
    fn ruleset_get(&self, digest: Digest) -> Result<Option<BTreeMap<String, String>>> {
        self.read("rule set", |tx| rulesets::get(tx, digest))
    }
    fn ruleset_active(&self) -> Result<Option<Digest>> {
        self.read("rule set", rulesets::active)
    }
    fn ruleset_publish(&self, digest: Digest, at: Timestamp, again: bool) -> Result<Published> {
        self.write("rule set", |tx| rulesets::publish(tx, digest, at, again))
    }
    fn recovered(&self) -> Result<Option<Recovered>> {
        self.read("recovered", meta::recovered)
    }
    fn recovered_set(&self, recovered: Option<&Recovered>) -> Result<()> {
        self.write("recovered", |tx| meta::set_recovered(tx, recovered))
    }
    fn backup(&self, to: &Path) -> Result<()> {
        self.aside(|conn| backup::copy(conn, to))
    }
    fn retain(&self, keep: &Retention, now: Timestamp, archive: &Path) -> Result<Retained> {
        retain::step(self, keep, now, archive)
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
    fn archived(&self) -> Result<BTreeMap<String, Anchor>> {
        self.read("archive", read::archived)
    }
    fn audit(&self) -> Result<Audit> {
        self.read_aside("audit", read::audit)
    }
}
