//! The inbox: appended once per writer's id, to the shard where the entry is at home, and read lane by lane in order.
//!
//! A lane's row in `lanes` is locked before its ids are looked up and its seqs given, and until the transaction has
//! ended: so what is read is never followed by a lower seq, ids are unique and there is no gap. Lanes are locked in
//! the order (shard, lane).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use paramedic_model::{Id, InboxRow, Lane, NewInbox, Timestamp, own_shard};
use serde_json::json;
use tokio_postgres::Row;

use super::error::{Fault, body, column, int, json as text_of, rows, shard, uint};
use super::transaction::{Tx, Work};
use super::{Shared, text};
use crate::rules::{first_home, home_name};
use crate::{INBOX_READ_BYTES, InboxPlace, StoreError};

type Result<T> = std::result::Result<T, Fault>;

const CONTEXT: &str = "inbox";
/// Homes that are remembered at most.
const REMEMBERED: usize = 100_000;

/// Where names are at home, by their keys.
pub(super) type Homes = BTreeMap<String, u32>;

/// Where entries go that are about a shard itself.
pub(super) fn own_homes(entries: &[NewInbox]) -> Homes {
    let own = |entry: &NewInbox| own_shard(&home_name(entry)).map(|shard| (name_of(entry), shard));
    entries.iter().filter_map(own).collect()
}

/// The names whose homes decide where entries go.
pub(super) fn names(entries: &[NewInbox]) -> BTreeSet<String> {
    entries.iter().map(name_of).collect()
}

fn name_of(entry: &NewInbox) -> String {
    text::key(&home_name(entry)).into_owned()
}

fn id_of(entry: &NewInbox) -> Id {
    Id::of(&json!(["inbox", entry.id]))
}

/// Where entries are, or will be: new ones are marked.
pub(super) struct Placed {
    places: Vec<(InboxPlace, bool)>,
}

impl Placed {
    pub(super) fn places(&self) -> Vec<InboxPlace> {
        self.places.iter().map(|(place, _)| *place).collect()
    }

    fn is_any_new(&self) -> bool {
        self.places.iter().any(|(_, new)| *new)
    }
}

/// Appends, in a transaction of its own: two round trips where the homes are known.
pub(super) async fn append(shared: &Shared, tx: &Tx<'_>, entries: &[NewInbox]) -> Result<Vec<InboxPlace>> {
    let names = names(entries);
    let mut homes = shared.remembered(&names);
    homes.extend(own_homes(entries));
    // What is remembered is looked up all the same, behind the locks: a server that failed over may know better.
    let mut questions = vec![home_question(&names)];
    let guessed = names.iter().all(|name| homes.contains_key(name));
    if guessed {
        questions.extend(placing(entries, &homes));
    }
    let mut answers = tx.begin(questions).await?.into_iter();
    let mut found = homes_of(answers.next().as_deref().unwrap_or_default())?;
    found.extend(own_homes(entries));
    if !guessed || found != homes {
        if !names.iter().all(|name| found.contains_key(name)) {
            found = claimed(tx, entries, found).await?;
        }
        homes = found;
        let placed = placed(tx, entries, &homes).await?;
        return finish(shared, tx, entries, &homes, placed).await;
    }
    let rest: Vec<Vec<Row>> = answers.collect();
    let placed = match placed_by(entries, &homes, &rest)? {
        Some(placed) => placed,
        None => placed(tx, entries, &homes).await?,
    };
    finish(shared, tx, entries, &homes, placed).await
}

async fn finish(
    shared: &Shared,
    tx: &Tx<'_>,
    entries: &[NewInbox],
    homes: &Homes,
    placed: Placed,
) -> Result<Vec<InboxPlace>> {
    if placed.is_any_new() {
        tx.commit(works(entries, &placed)?).await?;
    }
    shared.remember(homes);
    Ok(placed.places())
}

pub(super) fn home_question(names: &BTreeSet<String>) -> Work<'_> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Work::new("SELECT name, shard FROM homes WHERE name = ANY($1)").with(names)
}

pub(super) fn homes_of(found: &[Row]) -> Result<Homes> {
    found.iter().map(|row| Ok((column(CONTEXT, row, 0)?, shard(CONTEXT, row, 1)?))).collect()
}

/// Gives a home to names that have none: one of the known shards.
pub(super) async fn claimed(tx: &Tx<'_>, entries: &[NewInbox], mut known: Homes) -> Result<Homes> {
    let shards: Vec<u32> = tx
        .ask(vec![Work::new("SELECT shard FROM shards ORDER BY shard")])
        .await?
        .iter()
        .flatten()
        .map(|row| shard(CONTEXT, row, 0))
        .collect::<Result<_>>()?;
    let new: BTreeMap<String, u32> = entries
        .iter()
        .map(|entry| (name_of(entry), first_home(&home_name(entry), &shards)))
        .filter(|(name, _)| !known.contains_key(name))
        .collect();
    known.extend(claim(tx, &new).await?);
    Ok(known)
}

/// Makes names at home there that have no home yet; says where they are. In order, so that two who do it wait for
/// each other and no more.
pub(super) async fn claim(tx: &Tx<'_>, wanted: &BTreeMap<String, u32>) -> Result<Homes> {
    if wanted.is_empty() {
        return Ok(Homes::new());
    }
    let names: BTreeSet<String> = wanted.keys().cloned().collect();
    let shards: Vec<i64> = wanted.values().map(|shard| i64::from(*shard)).collect();
    let put = "INSERT INTO homes (name, shard) SELECT * FROM unnest($1::text[], $2::bigint[])
               ON CONFLICT (name) DO NOTHING";
    let ordered: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = tx.ask(vec![Work::new(put).with(ordered).with(shards), home_question(&names)]).await?;
    homes_of(found.get(1).map(Vec::as_slice).unwrap_or_default())
}

/// The lanes that entries go to.
fn lanes(entries: &[NewInbox], homes: &Homes) -> BTreeSet<(u32, Lane)> {
    let lane = |entry: &NewInbox| (homes.get(&name_of(entry)).copied().unwrap_or(0), Lane::of(&entry.body));
    entries.iter().map(lane).collect()
}

/// Locks the lanes, then looks the ids up: a later statement, which sees what was committed before the lock was had.
fn placing<'a>(entries: &[NewInbox], homes: &Homes) -> Vec<Work<'a>> {
    let (shards, names) = columns(&lanes(entries, homes));
    let ids: Vec<Vec<u8>> = entries.iter().map(|entry| id_of(entry).as_bytes().to_vec()).collect();
    let lock = "SELECT l.shard, l.lane, l.last FROM lanes l
                JOIN unnest($1::bigint[], $2::text[]) AS u (shard, lane) ON l.shard = u.shard AND l.lane = u.lane
                ORDER BY l.shard, l.lane FOR UPDATE OF l";
    let known = "SELECT key, shard, lane, seq FROM inbox WHERE key = ANY($1)";
    vec![Work::new(lock).with(shards).with(names), Work::new(known).with(ids)]
}

fn columns(lanes: &BTreeSet<(u32, Lane)>) -> (Vec<i64>, Vec<&'static str>) {
    lanes.iter().map(|(shard, lane)| (i64::from(*shard), lane.name())).unzip()
}

/// Where entries go, under the lanes' locks. All of their names have a home.
pub(super) async fn placed(tx: &Tx<'_>, entries: &[NewInbox], homes: &Homes) -> Result<Placed> {
    if entries.is_empty() {
        return Ok(Placed { places: Vec::new() });
    }
    let found = tx.ask(placing(entries, homes)).await?;
    if let Some(placed) = placed_by(entries, homes, &found)? {
        return Ok(placed);
    }
    // A lane that is written to for the first time.
    let (shards, names) = columns(&lanes(entries, homes));
    let add = "INSERT INTO lanes (shard, lane) SELECT * FROM unnest($1::bigint[], $2::text[])
               ON CONFLICT (shard, lane) DO NOTHING";
    let mut questions = vec![Work::new(add).with(shards).with(names)];
    questions.extend(placing(entries, homes));
    let found = tx.ask(questions).await?;
    let placed = placed_by(entries, homes, found.get(1..).unwrap_or_default())?;
    placed.ok_or_else(|| StoreError::Corrupt(format!("{CONTEXT}: a lane was added and is not there")).into())
}

/// From the answers to [`placing`]; `None` when a lane has no row yet.
fn placed_by(entries: &[NewInbox], homes: &Homes, found: &[Vec<Row>]) -> Result<Option<Placed>> {
    let [locked, known] = found else { return Ok(None) };
    let mut last: BTreeMap<(u32, Lane), u64> = BTreeMap::new();
    for row in locked {
        let seq: i64 = column(CONTEXT, row, 2)?;
        last.insert((shard(CONTEXT, row, 0)?, lane(row, 1)?), uint(seq));
    }
    if lanes(entries, homes).iter().any(|lane| !last.contains_key(lane)) {
        return Ok(None);
    }
    let mut by_id: BTreeMap<Vec<u8>, InboxPlace> = BTreeMap::new();
    for row in known {
        let seq = uint(column(CONTEXT, row, 3)?);
        let place = InboxPlace { shard: shard(CONTEXT, row, 1)?, lane: lane(row, 2)?, seq };
        by_id.insert(column(CONTEXT, row, 0)?, place);
    }
    let mut places = Vec::with_capacity(entries.len());
    for entry in entries {
        let id = id_of(entry).as_bytes().to_vec();
        if let Some(place) = by_id.get(&id) {
            places.push((*place, false));
            continue;
        }
        let (shard, lane) = (homes.get(&name_of(entry)).copied().unwrap_or(0), Lane::of(&entry.body));
        let seq = last.entry((shard, lane)).or_default();
        *seq += 1;
        let place = InboxPlace { shard, lane, seq: *seq };
        by_id.insert(id, place);
        places.push((place, true));
    }
    Ok(Some(Placed { places }))
}

fn lane(row: &Row, at: usize) -> Result<Lane> {
    let name: String = column(CONTEXT, row, at)?;
    Lane::from_name(&name).ok_or_else(|| StoreError::Corrupt(format!("{CONTEXT}: there is no lane {name}")).into())
}

/// What writes the new ones down.
pub(super) fn works<'a>(entries: &[NewInbox], placed: &Placed) -> Result<Vec<Work<'a>>> {
    if !placed.is_any_new() {
        return Ok(Vec::new());
    }
    let (mut shards, mut lanes, mut seqs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut keys, mut names, mut ats, mut sizes, mut bodies) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut last: BTreeMap<(u32, Lane), u64> = BTreeMap::new();
    for (entry, (place, _)) in entries.iter().zip(&placed.places).filter(|(_, (_, new))| *new) {
        shards.push(i64::from(place.shard));
        lanes.push(place.lane.name());
        seqs.push(int(place.seq));
        keys.push(id_of(entry).as_bytes().to_vec());
        names.push(text_of(CONTEXT, &(&entry.id, &entry.scope))?);
        ats.push(entry.at.as_nanos());
        let body = text_of(CONTEXT, &entry.body)?;
        sizes.push(i64::try_from(body.len()).unwrap_or(i64::MAX));
        bodies.push(body);
        last.insert((place.shard, place.lane), place.seq);
    }
    let insert = "INSERT INTO inbox (shard, lane, seq, key, entry, at, bytes, body)
                  SELECT shard, lane, seq, key, entry::json, at, bytes, body::json
                  FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bytea[], $5::text[], $6::bigint[],
                              $7::bigint[], $8::text[]) AS u (shard, lane, seq, key, entry, at, bytes, body)";
    let insert = Work::new(insert).with(shards).with(lanes).with(seqs).with(keys).with(names).with(ats);
    let ends: Vec<i64> = last.values().map(|seq| int(*seq)).collect();
    let (shards, names) = columns(&last.into_keys().collect());
    let count = "UPDATE lanes AS l SET last = u.last
                 FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS u (shard, lane, last)
                 WHERE l.shard = u.shard AND l.lane = u.lane";
    let count = Work::new(count).with(shards).with(names).with(ends);
    Ok(vec![insert.with(sizes).with(bodies), count])
}

/// Only what is given back is read: sizes are added up from a column, not from the bodies.
pub(super) async fn read(tx: &Tx<'_>, shard: u32, lane: Lane, from: u64, limit: usize) -> Result<Vec<InboxRow>> {
    let sql = "SELECT seq, entry, at, body FROM (
                   SELECT seq, entry, at, body, bytes, sum(bytes) OVER (ORDER BY seq) AS so_far FROM (
                       SELECT seq, entry, at, body, bytes FROM inbox
                       WHERE shard = $1 AND lane = $2 AND seq >= $3 ORDER BY seq LIMIT $4
                   ) AS next
               ) AS counted WHERE so_far <= $5::bigint OR so_far = bytes ORDER BY seq";
    let bytes = i64::try_from(INBOX_READ_BYTES).unwrap_or(i64::MAX);
    let work = Work::new(sql).with(i64::from(shard)).with(lane.name()).with(int(from)).with(rows(limit)).with(bytes);
    let found = tx.ask(vec![work]).await?;
    found
        .iter()
        .flatten()
        .map(|row| {
            let (id, scope): (String, String) = body(CONTEXT, row, 1)?;
            let at = Timestamp::from_nanos(column(CONTEXT, row, 2)?);
            Ok(InboxRow {
                seq: uint(column(CONTEXT, row, 0)?),
                entry: NewInbox { id, scope, at, body: body(CONTEXT, row, 3)? },
            })
        })
        .collect()
}

impl Shared {
    /// What is remembered of where these are at home: a hint.
    fn remembered(&self, names: &BTreeSet<String>) -> Homes {
        let homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().filter_map(|name| homes.get(name).map(|shard| (name.clone(), *shard))).collect()
    }

    fn remember(&self, found: &Homes) {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        if homes.len() > REMEMBERED {
            homes.clear();
        }
        homes.extend(found.iter().map(|(name, shard)| (name.clone(), *shard)));
    }
}

/// Where a scope is at home.
pub(super) async fn home(tx: &Tx<'_>, scope: &str) -> Result<Option<u32>> {
    if let Some(shard) = own_shard(scope) {
        return Ok(Some(shard));
    }
    let names = BTreeSet::from([text::key(scope).into_owned()]);
    let found = tx.ask(vec![home_question(&names)]).await?;
    found.iter().flatten().next().map(|row| shard(CONTEXT, row, 1)).transpose()
}

/// Makes a scope at home there if it has no home; says where it is.
pub(super) async fn claim_scope(tx: &Tx<'_>, scope: &str, shard: u32) -> Result<u32> {
    if let Some(own) = own_shard(scope) {
        return Ok(own);
    }
    tx.begin(vec![]).await?;
    let key = text::key(scope).into_owned();
    let found = claim(tx, &BTreeMap::from([(key.clone(), shard)])).await?;
    tx.commit(vec![]).await?;
    Ok(found.get(&key).copied().unwrap_or(shard))
}
