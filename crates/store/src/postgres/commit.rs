//! A batch, in two round trips: the fence and all that is looked at; then all writes, table by table, and the COMMIT.

use std::collections::{BTreeMap, BTreeSet};

use paramedic_model::{Digest, Id, Incident, IncidentState, JournalRow, Lane, OutboxRow, own_shard};
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::error::{Fault, body, column, digest, int, shard, uint};
use super::inbox::Homes;
use super::transaction::{Tx, Work};
use super::{history, inbox, outbox, records, text, working};
use crate::rules::{
    check_fence, check_history, check_home, check_journal, check_no_journal, check_position, incident_may_become,
    refused, withdrawn,
};
use crate::{Batch, StoreError};

type Result<T> = std::result::Result<T, Fault>;

pub(super) const FENCE: &str = "SELECT epoch, batch FROM shards WHERE shard = $1 FOR UPDATE";

/// Writes all of it, or nothing.
pub(super) async fn batch(tx: &Tx<'_>, batch: &Batch) -> Result<()> {
    check_batch(batch)?;
    let found = Found::look(tx, batch).await?;
    if tx.doubt && found.holds(batch) {
        return Ok(());
    }
    found.check(batch)?;
    let homes = found.homes(tx, batch).await?;
    let placed = inbox::placed(tx, &batch.handed, &homes).await?;
    history::copy(tx, batch.shard, &batch.changes, &found.ends).await?;

    let mut works: Vec<Work<'_>> = positions(batch).into_iter().collect();
    works.extend(scopes(batch));
    works.extend(records::incidents(&batch.changes, &found.incidents));
    works.extend(records::runs(&batch.changes));
    works.extend(records::pages(&batch.changes));
    works.extend(working::works(&batch.changes));
    works.extend(history::works(&batch.changes, &found.ends));
    works.extend(outbox::works(batch.shard, &found.new_outbox(batch), &found.changed_outbox(batch)));
    works.extend(records::dead_letters(&batch.dead_letters));
    works.extend(inbox::works(&batch.handed, &placed)?);
    works.extend(journal(batch));
    tx.commit(works).await
}

/// What can be refused without a look at the store: so that nothing is used up for it, numbers for example.
fn check_batch(batch: &Batch) -> std::result::Result<(), StoreError> {
    let last: BTreeMap<Id, &Incident> = batch.changes.iter().flat_map(|c| &c.incidents).map(|i| (i.id, i)).collect();
    let mut open = BTreeSet::new();
    for incident in last.values().filter(|i| i.state.is_open() && !i.shadow) {
        if !open.insert(incident.correlation_key) {
            return Err(refused("incidents", "another open incident has this correlation key"));
        }
    }
    Ok(())
}

/// What the batch meets in the store.
struct Found {
    epoch: Option<u64>,
    batch: u64,
    /// Next offsets of this shard's positions, and of sources that other shards have.
    own: BTreeMap<String, i64>,
    others: BTreeMap<String, i64>,
    /// Of the batch's scopes: home, end of history.
    scopes: BTreeMap<String, (u32, u64, Digest)>,
    homes: Homes,
    incidents: BTreeMap<Id, IncidentState>,
    /// Seq of the last row of a record.
    ends: BTreeMap<Id, u64>,
    outbox: BTreeMap<Id, OutboxRow>,
    /// The row with the batch's number, where it is looked for.
    journal: Option<JournalRow>,
}

impl Found {
    async fn look(tx: &Tx<'_>, batch: &Batch) -> Result<Self> {
        let answers = tx.begin(questions(tx, batch)).await?;
        let [fence, own, others, scopes, homes, incidents, ends, outbox, journal] = answers.as_slice() else {
            return Err(refused("commit", "the server did not answer all that was asked").into());
        };
        let fence = fence.first().map(|row| Ok::<_, Fault>((column("fence", row, 0)?, column("fence", row, 1)?)));
        let fence: Option<(i64, i64)> = fence.transpose()?;
        let mut found_outbox = BTreeMap::new();
        for row in outbox {
            let row: OutboxRow = body("outbox", row, 0)?;
            found_outbox.insert(row.key, row);
        }
        Ok(Self {
            epoch: fence.map(|(epoch, _)| uint(epoch)),
            batch: fence.map_or(0, |(_, batch)| uint(batch)),
            own: next_of(own)?,
            others: next_of(others)?,
            scopes: scopes
                .iter()
                .map(|row| {
                    let hash: String = column("scope", row, 3)?;
                    let end = uint(column("scope", row, 2)?);
                    Ok((column("scope", row, 0)?, (shard("scope", row, 1)?, end, digest("scope", &hash)?)))
                })
                .collect::<Result<_>>()?,
            homes: inbox::homes_of(homes)?,
            incidents: incidents.iter().map(state_of).collect::<Result<_>>()?,
            ends: ends
                .iter()
                .map(|row| Ok((id("history", row, 0)?, uint(column("history", row, 1)?))))
                .collect::<Result<_>>()?,
            outbox: found_outbox,
            journal: journal.first().map(|row| body("journal", row, 0)).transpose()?,
        })
    }

    /// Whether the batch is there already: an earlier try was committed, and its answer was lost.
    fn holds(&self, batch: &Batch) -> bool {
        if let Some(row) = &batch.journal {
            return self.journal.as_ref() == Some(row);
        }
        batch.positions.iter().all(|(name, to)| self.own.get(name) == Some(&to.to.next))
    }

    fn check(&self, batch: &Batch) -> std::result::Result<(), StoreError> {
        check_fence(batch.shard, batch.epoch, self.epoch)?;
        for (name, position) in &batch.positions {
            let mut found = self.own.get(name).copied();
            // A source that another shard has taken over is not where this one left it, whatever its place.
            if found.is_none() && position.from.is_none() && Lane::from_name(name).is_none() {
                found = self.others.get(name).copied();
            }
            check_position(name, position.from, found)?;
        }
        let mut ends: BTreeMap<&str, (u64, Digest)> = BTreeMap::new();
        for changes in &batch.changes {
            let key = text::key(&changes.scope);
            let known = self.scopes.get(key.as_ref());
            let home = known.map(|(home, ..)| *home).or_else(|| own_shard(&changes.scope));
            let home = home.or_else(|| self.homes.get(key.as_ref()).copied());
            check_home(&changes.scope, home.unwrap_or(batch.shard), batch.shard)?;
            let stored = known.map_or_else(Default::default, |(_, seq, hash)| (*seq, *hash));
            let end = ends.entry(&changes.scope).or_insert(stored);
            check_history(changes, end.0, end.1)?;
            *end = (changes.head.last_seq, changes.head.last_hash);
        }
        for incident in batch.changes.iter().flat_map(|c| &c.incidents) {
            let from = self.incidents.get(&incident.id);
            if from.is_some_and(|from| !incident_may_become(*from, incident.state)) {
                return Err(refused("incidents", "an incident has no such move"));
            }
        }
        match &batch.journal {
            Some(row) => check_journal(batch, row, self.batch),
            None => check_no_journal(batch),
        }
    }

    /// Gives the batch's new scopes their home here, and names that are handed over one of the known shards.
    async fn homes(&self, tx: &Tx<'_>, batch: &Batch) -> Result<Homes> {
        let mut homes = self.homes.clone();
        let mut wanted = BTreeMap::new();
        for changes in &batch.changes {
            let key = text::key(&changes.scope);
            if !self.scopes.contains_key(key.as_ref())
                && !homes.contains_key(key.as_ref())
                && own_shard(&changes.scope).is_none()
            {
                wanted.insert(key.into_owned(), batch.shard);
            }
        }
        for (name, home) in inbox::claim(tx, &wanted).await? {
            check_home(&name, home, batch.shard)?;
            homes.insert(name, home);
        }
        homes.extend(inbox::own_homes(&batch.handed));
        if inbox::names(&batch.handed).iter().all(|name| homes.contains_key(name)) {
            return Ok(homes);
        }
        inbox::claimed(tx, &batch.handed, homes).await
    }

    /// Outbox rows whose key is new; what the batch itself withdraws again is so from the beginning.
    fn new_outbox(&self, batch: &Batch) -> Vec<OutboxRow> {
        let cancelled = cancelled(batch);
        let mut keys = BTreeSet::new();
        let new = batch.changes.iter().flat_map(|c| &c.outbox);
        new.filter(|row| !self.outbox.contains_key(&row.key) && keys.insert(row.key))
            .map(|row| {
                let reason = cancelled.get(&row.key);
                reason.and_then(|reason| withdrawn(row.clone(), reason)).unwrap_or_else(|| row.clone())
            })
            .collect()
    }

    /// Outbox rows that are withdrawn.
    fn changed_outbox(&self, batch: &Batch) -> Vec<OutboxRow> {
        let cancelled = cancelled(batch);
        let reason = |row: &OutboxRow| cancelled.get(&row.key).and_then(|reason| withdrawn(row.clone(), reason));
        self.outbox.values().filter_map(reason).collect()
    }
}

/// The first reason counts: what is withdrawn stays so.
fn cancelled(batch: &Batch) -> BTreeMap<Id, &str> {
    let mut out = BTreeMap::new();
    for (key, reason) in batch.changes.iter().flat_map(|c| &c.outbox_cancel) {
        out.entry(*key).or_insert(reason.as_str());
    }
    out
}

/// All that the batch meets, behind the fence: every statement sees what was committed before the lock was had.
fn questions<'a>(tx: &Tx<'_>, batch: &'a Batch) -> Vec<Work<'a>> {
    let shard = i64::from(batch.shard);
    let names: Vec<&str> = batch.positions.keys().map(String::as_str).collect();
    let others: Vec<&str> = batch
        .positions
        .iter()
        .filter(|(name, position)| position.from.is_none() && Lane::from_name(name).is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    let scopes: BTreeSet<String> = batch.changes.iter().map(|c| text::key(&c.scope).into_owned()).collect();
    let mut homes = inbox::names(&batch.handed);
    homes.extend(scopes.iter().cloned());
    let changes = || batch.changes.iter();
    let incidents = ids(changes().flat_map(|c| &c.incidents).map(|i| i.id));
    let records = ids(changes().flat_map(|c| &c.history).map(|row| row.record));
    let new = changes().flat_map(|c| &c.outbox).map(|row| row.key);
    let outbox = ids(new.chain(changes().flat_map(|c| &c.outbox_cancel).map(|(key, _)| *key)));
    // Looked for only where an earlier try may have written it.
    let journal = batch.journal.as_ref().filter(|_| tx.doubt).map_or(-1, |row| int(row.batch));
    vec![
        Work::new(FENCE).with(shard),
        Work::new("SELECT name, next FROM positions WHERE shard = $1 AND name = ANY($2) ORDER BY name FOR UPDATE")
            .with(shard)
            .with(names),
        Work::new("SELECT name, next FROM positions WHERE name = ANY($1) AND name NOT IN ('inbox', 'acts')")
            .with(others),
        Work::new("SELECT scope, shard, last_seq, last_hash FROM scopes WHERE scope = ANY($1)")
            .with(scopes.into_iter().collect::<Vec<_>>()),
        Work::new("SELECT name, shard FROM homes WHERE name = ANY($1)").with(homes.into_iter().collect::<Vec<_>>()),
        Work::new("SELECT id, state FROM incidents WHERE id = ANY($1)").with(incidents),
        Work::new("SELECT record, seq FROM history_ends WHERE record = ANY($1)").with(records),
        Work::new("SELECT body FROM outbox WHERE key = ANY($1) ORDER BY key FOR UPDATE").with(outbox),
        Work::new("SELECT body FROM journal WHERE shard = $1 AND batch = $2").with(shard).with(journal),
    ]
}

/// Without repetition, in order.
fn ids(found: impl Iterator<Item = Id>) -> Vec<Vec<u8>> {
    let unique: BTreeSet<Id> = found.collect();
    unique.into_iter().map(|id| id.as_bytes().to_vec()).collect()
}

pub(super) fn id(context: &'static str, row: &Row, at: usize) -> Result<Id> {
    let bytes: Vec<u8> = column(context, row, at)?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.parse().map_err(|e| StoreError::Corrupt(format!("{context}: {e}")).into())
}

fn state_of(row: &Row) -> Result<(Id, IncidentState)> {
    let code: i16 = column("incidents", row, 1)?;
    let state = IncidentState::ALL.into_iter().find(|s| i16::from(s.code()) == code);
    let state = state.ok_or_else(|| StoreError::Corrupt(format!("incidents: there is no state {code}")))?;
    Ok((id("incidents", row, 0)?, state))
}

fn next_of(found: &[Row]) -> Result<BTreeMap<String, i64>> {
    found.iter().map(|row| Ok((column("position", row, 0)?, column("position", row, 1)?))).collect()
}

fn positions(batch: &Batch) -> Option<Work<'_>> {
    if batch.positions.is_empty() {
        return None;
    }
    let to = || batch.positions.values().map(|position| &position.to);
    let sql = "INSERT INTO positions (shard, name, next, last_at, last_digest)
               SELECT $1, u.* FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[]) AS u
               ON CONFLICT (shard, name) DO UPDATE
               SET next = excluded.next, last_at = excluded.last_at, last_digest = excluded.last_digest";
    Some(
        Work::new(sql)
            .with(i64::from(batch.shard))
            .with(batch.positions.keys().map(String::as_str).collect::<Vec<_>>())
            .with(to().map(|p| p.next).collect::<Vec<_>>())
            .with(to().map(|p| p.last_at.map(|t| t.as_nanos())).collect::<Vec<_>>())
            .with(to().map(|p| p.last_digest.map(|d| d.to_string())).collect::<Vec<_>>()),
    )
}

/// Heads as they are after the batch, scope by scope.
fn scopes(batch: &Batch) -> Option<Work<'_>> {
    let heads: BTreeMap<&str, _> = batch.changes.iter().map(|c| (c.scope.as_str(), &c.head)).collect();
    if heads.is_empty() {
        return None;
    }
    let sql = "INSERT INTO scopes (shard, scope, name, last_seq, last_hash, head)
               SELECT $1, u.* FROM unnest($2::text[], $3::json[], $4::bigint[], $5::text[], $6::json[]) AS u
               ON CONFLICT (scope) DO UPDATE
               SET last_seq = excluded.last_seq, last_hash = excluded.last_hash, head = excluded.head";
    Some(
        Work::new(sql)
            .with(i64::from(batch.shard))
            .with(heads.keys().map(|scope| text::key(scope).into_owned()).collect::<Vec<_>>())
            .with(heads.keys().map(|scope| Json(*scope)).collect::<Vec<_>>())
            .with(heads.values().map(|head| int(head.last_seq)).collect::<Vec<_>>())
            .with(heads.values().map(|head| head.last_hash.to_string()).collect::<Vec<_>>())
            .with(heads.into_values().map(Json).collect::<Vec<_>>()),
    )
}

fn journal(batch: &Batch) -> Vec<Work<'_>> {
    let Some(row) = &batch.journal else { return Vec::new() };
    let (shard, number) = (i64::from(batch.shard), int(row.batch));
    let insert = "INSERT INTO journal (shard, batch, at, body) VALUES ($1, $2, $3, $4)";
    vec![
        Work::new(insert).with(shard).with(number).with(row.cap.as_nanos()).with(Json(row)),
        Work::new("UPDATE shards SET batch = $2 WHERE shard = $1").with(shard).with(number),
    ]
}
