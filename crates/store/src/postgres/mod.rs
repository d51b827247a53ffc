//! The shared store: one PostgreSQL for several nodes.
//!
//! The trait is synchronous and PostgreSQL's client is not: connections live on a small runtime of the store's own,
//! and a call waits for them on the caller's thread, whatever that thread does otherwise (`block`). What a transaction
//! is made of, what is done when it meets another one, or when its connection is lost, is in `transaction`.

mod block;
mod commit;
mod error;
mod history;
mod identity;
mod inbox;
mod load;
mod meta;
mod open;
mod outbox;
mod read;
mod records;
mod retain;
mod schema;
#[cfg(test)]
pub(crate) mod tests;
mod text;
mod transaction;
mod url;
mod working;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::path::Path;
use std::sync::{Arc, Mutex};

use deadpool_postgres::Pool;
use paramedic_model::faults::point;
use paramedic_model::{
    Ci, Digest, HistoryRow, Id, InboxRow, Incident, JournalRow, Lane, NewInbox, OutboxRow, OutboxState, Page, Relation,
    Run, Span, Timestamp,
};
use tokio::runtime::Runtime;

use self::error::Fault;
use self::identity::Server;
use self::transaction::{ANSWER, PATIENT, Tx, Work};
use crate::archive::Anchor;
use crate::rules::refused;
use crate::{
    Audit, Batch, Claim, Counts, DeadLetter, DueLimits, Halt, HaltScope, InboxPlace, IncidentFilter, OutboxMove,
    Position, Published, Recovered, Result, Retained, Retention, RunFilter, ShardImage, Store,
};

/// A store in a PostgreSQL database.
pub struct PostgresStore {
    shared: Shared,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

/// What connections share.
struct Shared {
    pool: Pool,
    server: Arc<Server>,
    /// Where names are at home: a hint, checked by every use.
    homes: Mutex<inbox::Homes>,
}

impl Debug for PostgresStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresStore").field(&self.shared.server.place).finish()
    }
}

impl Drop for PostgresStore {
    /// Does not wait: a store may be dropped where waiting is not allowed.
    fn drop(&mut self) {
        self.shared.pool.close();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl PostgresStore {
    /// Does `work` in one transaction, and waits for it.
    fn write<T>(
        &self,
        context: &'static str,
        work: impl AsyncFn(&Tx<'_>) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.wait(transaction::write(&self.shared, context, ANSWER, work))
    }

    fn read<T>(
        &self,
        context: &'static str,
        work: impl AsyncFn(&Tx<'_>) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.wait(transaction::read(&self.shared, context, ANSWER, work))
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match &self.runtime {
            Some(runtime) => block::block_on(runtime.handle(), work),
            None => Err(refused("store", "it is being closed")),
        }
    }
}

impl Store for PostgresStore {
    fn load_shard(&self, shard: u32, claim: &Claim) -> Result<ShardImage> {
        let ends_lost = self.ends_lost();
        let load = transaction::write(&self.shared, "load", PATIENT, async |tx| load::shard(tx, shard, claim).await);
        Ok(ShardImage { ends_lost, ..self.wait(load)? })
    }
    fn shards(&self) -> Result<Vec<(u32, u64)>> {
        self.read("shards", async |tx| {
            let found = tx.ask(vec![Work::new("SELECT shard, epoch FROM shards ORDER BY shard")]).await?;
            let row = |row| Ok((error::shard("shards", row, 0)?, error::uint(error::column("shards", row, 1)?)));
            found.iter().flatten().map(row).collect()
        })
    }
    fn positions(&self) -> Result<Vec<(u32, String, Position)>> {
        self.read("position", async |tx| load::positions(tx, None).await)
    }
    fn commit(&self, batch: &Batch) -> Result<()> {
        self.write("commit", async |tx| commit::batch(tx, batch).await)
    }
    fn claim_scope(&self, scope: &str, shard: u32) -> Result<u32> {
        self.write("home", async |tx| inbox::claim_scope(tx, scope, shard).await)
    }
    fn scope_home(&self, scope: &str) -> Result<Option<u32>> {
        self.read("home", async |tx| inbox::home(tx, scope).await)
    }
    fn inbox_append(&self, entries: &[NewInbox]) -> Result<Vec<InboxPlace>> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        point("inbox.append.before");
        let places = self.write("inbox", async |tx| inbox::append(&self.shared, tx, entries).await)?;
        point("inbox.append.after");
        Ok(places)
    }
    fn inbox_read(&self, shard: u32, lane: Lane, from: u64, limit: usize) -> Result<Vec<InboxRow>> {
        self.read("inbox", async |tx| inbox::read(tx, shard, lane, from, limit).await)
    }
    /// Each look is a round trip and a statement on a server that others share.
    fn inbox_pause(&self) -> Span {
        Span::from_millis(25)
    }
    fn outbox_due(&self, shards: &[u32], now: Timestamp, most: DueLimits) -> Result<Vec<(u32, OutboxRow)>> {
        self.read("outbox", async |tx| outbox::due(tx, shards, now, most).await)
    }
    fn outbox_list(&self, states: &[OutboxState], limit: usize) -> Result<Vec<OutboxRow>> {
        self.read("outbox", async |tx| outbox::list(tx, states, limit).await)
    }
    fn outbox_get(&self, key: Id) -> Result<Option<(u32, OutboxRow)>> {
        self.read("outbox", async |tx| outbox::get(tx, key).await)
    }
    fn outbox_of(&self, order: Id) -> Result<Option<OutboxRow>> {
        self.read("outbox", async |tx| outbox::of(tx, order).await)
    }
    fn outbox_move(&self, change: &OutboxMove) -> Result<()> {
        self.write("outbox", async |tx| outbox::change(tx, change).await)
    }
    fn target_busy(&self, target: Id, besides: Id) -> Result<bool> {
        self.read("outbox", async |tx| outbox::target_busy(tx, target, besides).await)
    }
    fn ruleset_put(&self, digest: Digest, sources: &BTreeMap<String, String>) -> Result<()> {
        self.write("rule set", async |tx| meta::put_ruleset(tx, digest, sources).await)
    }
    fn ruleset_get(&self, digest: Digest) -> Result<Option<BTreeMap<String, String>>> {
        self.read("rule set", async |tx| meta::ruleset(tx, digest).await)
    }
    fn ruleset_active(&self) -> Result<Option<Digest>> {
        self.read("rule set", async |tx| meta::active(tx).await)
    }
    fn ruleset_publish(&self, digest: Digest, at: Timestamp, again: bool) -> Result<Published> {
        let before = Cell::new(false);
        self.write("rule set", async |tx| meta::publish(tx, digest, at, again, &before).await)
    }
    fn recovered(&self) -> Result<Option<Recovered>> {
        self.read("recovered", async |tx| meta::recovered(tx).await)
    }
    fn recovered_set(&self, recovered: Option<&Recovered>) -> Result<()> {
        self.write("recovered", async |tx| meta::set_recovered(tx, recovered).await)
    }
    /// PostgreSQL's own tools do it better than a copy through a connection would.
    fn ends_lost(&self) -> u64 {
        self.shared.server.ends_lost()
    }
    fn backup(&self, to: &Path) -> Result<()> {
        let cause = format!(
            "the store is PostgreSQL's: back it up there, with `pg_dump --schema={} --format=custom --file={} URL` or \
             pg_basebackup; see docs/operations.md",
            self.shared.server.schema,
            to.display()
        );
        Err(refused("backup", cause))
    }
    fn retain(&self, keep: &Retention, now: Timestamp, archive: &Path) -> Result<Retained> {
        retain::step(self, keep, now, archive)
    }
    fn halt_put(&self, halt: &Halt) -> Result<()> {
        self.write("halt", async |tx| meta::put_halt(tx, halt).await)
    }
    fn halt_remove(&self, scope: &HaltScope) -> Result<bool> {
        let before = Cell::new(false);
        self.write("halt", async |tx| meta::remove_halt(tx, scope, &before).await)
    }
    fn halts(&self) -> Result<Vec<Halt>> {
        self.read("halt", async |tx| meta::halts(tx).await)
    }
    fn incidents(&self, filter: &IncidentFilter) -> Result<Vec<Incident>> {
        self.read("incidents", async |tx| read::incidents(tx, filter).await)
    }
    fn incident(&self, id: Id) -> Result<Option<Incident>> {
        self.read("incidents", async |tx| read::incident(tx, id).await)
    }
    fn incident_by_number(&self, number: u64) -> Result<Option<Incident>> {
        self.read("incidents", async |tx| read::incident_by_number(tx, number).await)
    }
    fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>> {
        self.read("runs", async |tx| read::runs(tx, filter).await)
    }
    fn run(&self, id: Id) -> Result<Option<Run>> {
        self.read("runs", async |tx| read::run(tx, id).await)
    }
    fn pages(&self, incident: Id) -> Result<Vec<Page>> {
        self.read("pages", async |tx| read::pages(tx, incident).await)
    }
    fn history(&self, record: Id) -> Result<Vec<HistoryRow>> {
        self.read("history", async |tx| read::history(tx, record).await)
    }
    fn history_of_scope(&self, scope: &str, from: u64, limit: usize) -> Result<Vec<HistoryRow>> {
        self.read("history", async |tx| read::history_of_scope(tx, scope, from, limit).await)
    }
    fn cmdb(&self, scope: &str) -> Result<(Vec<Ci>, Vec<Relation>)> {
        self.read("cmdb", async |tx| load::cmdb(tx, scope).await)
    }
    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>> {
        self.read("dead letters", async |tx| read::dead_letters(tx, limit).await)
    }
    fn journal(&self, shard: u32, from: u64, limit: usize) -> Result<Vec<JournalRow>> {
        self.read("journal", async |tx| read::journal(tx, shard, from, limit).await)
    }
    fn counts(&self) -> Result<Counts> {
        self.read("counts", async |tx| read::counts(tx).await)
    }
    fn archived(&self) -> Result<BTreeMap<String, Anchor>> {
        self.read("archive", async |tx| read::archived(tx).await)
    }
    fn audit(&self) -> Result<Audit> {
        self.wait(transaction::read(&self.shared, "audit", PATIENT, async |tx| read::audit(tx).await))
    }
}
