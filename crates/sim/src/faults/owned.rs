//! A shard in a node's memory: gathered, matched, stepped, committed, as the live shell does it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use paramedic_engine::gather::{Head, next_source};
use paramedic_engine::{EventInput, Limits, Shard, ShardConfig, event_input_id};
use paramedic_formats::Message;
use paramedic_model::{
    Digest, Event, InboxBody, InboxRow, Lane, NewInbox, OperatorAct, REWIND_EARLIEST, REWIND_LATEST, Range, RawMessage,
    RecordView, Span, Timestamp, own_scope, own_shard,
};
use paramedic_rulebook::{Evaluator, ScopeExpr};
use paramedic_store::{Batch, Claim, DeadLetter, Position, PositionMove, Result, ShardImage, StoreError};

use super::fault::Fault;
use super::kafka::{Fetched, position};
use super::oracle::Seen;
use super::world::World;
use crate::feed::{Sifted, dead_letter_id, sift};
use crate::journal::SourceRecord;

/// The cluster's name, part of every key.
pub(super) const CLUSTER: &str = "simulated";
/// The configured sources.
pub(super) const KAFKA_SOURCE: &str = "alerts";
pub(super) const WEBHOOK_SOURCE: &str = "hook";
/// The clock goes on without a source that has been away for so long.
const BLIND_AFTER: Span = Span::from_secs(60);

/// What was taken for the next batch.
pub(super) struct Gathered {
    cap: Timestamp,
    records: BTreeMap<String, Vec<SourceRecord>>,
    inbox: BTreeMap<Lane, Vec<InboxRow>>,
    tick: bool,
    blind: Vec<String>,
    /// Some of them for so long that the clock goes on without them.
    away: bool,
    /// For the oracles: when, and which partitions gave all that they were asked for.
    at: Timestamp,
    read: Vec<u32>,
}

/// Stepped, and not committed.
pub(super) struct Open {
    batch: Batch,
    /// Positions that a person moved.
    rewound: bool,
    seen: Seen,
}

/// A partition, as its reader sees it.
#[derive(Default)]
struct Source {
    /// Which life of the topic it reads; 0: it has not looked yet.
    life: usize,
    stopped: Option<String>,
    /// The inbox knows that it is stopped.
    told: bool,
    away_since: Option<Timestamp>,
}

pub(super) struct Owned {
    number: u32,
    pub(super) epoch: u64,
    shard: Shard,
    /// As committed.
    positions: BTreeMap<String, Position>,
    sources: BTreeMap<u32, Source>,
    homes: BTreeMap<String, u32>,
    /// Positions that an open incident is about, because they were stopped.
    known_stopped: BTreeSet<String>,
    pub(super) gathered: Option<Gathered>,
    pub(super) open: Option<Open>,
}

/// The next input of a source.
enum Item {
    Record(SourceRecord),
    Row(InboxRow),
}

impl Item {
    fn head(&self) -> Head {
        match self {
            Item::Record(record) => Head::Record(record.timestamp),
            Item::Row(row) if row.entry.body.is_operator() => Head::Operator,
            Item::Row(row) => Head::Record(row.entry.at),
        }
    }
}

/// Where an event was.
struct Place<'a> {
    name: &'a str,
    offset: i64,
    at: Timestamp,
}

/// What a batch is made of besides what the shard decides.
#[derive(Default)]
struct Making {
    dead: Vec<DeadLetter>,
    handed: Vec<NewInbox>,
    moved: BTreeMap<String, i64>,
    seen: Seen,
}

impl Owned {
    pub(super) fn load(world: &mut World, number: u32) -> Result<Self> {
        let claim = match world.alone {
            true => Claim::Alone,
            false => Claim::Positions(world.partitions(number).into_iter().map(position).collect()),
        };
        let image = world.call("load", |s| s.load_shard(number, &claim))?;
        world.watch.loaded(number, image.epoch);
        let config = ShardConfig { cluster: CLUSTER.to_owned(), shard: number, limits: Limits::default() };
        let active = image.last.as_ref().map(|row| row.set_after).or(image.active).unwrap_or_default();
        let known_stopped = known_stopped(number, &image);
        let mut shard = Shard::restore(config, image.epoch, image.last.as_ref(), active, image.scopes);
        for set in shard.unknown_sets().into_iter().filter_map(|digest| world.rules.find(digest)) {
            shard.learn(set);
        }
        let mut owned = Self {
            number,
            epoch: image.epoch,
            shard,
            positions: image.positions,
            sources: world.partitions(number).into_iter().map(|p| (p, Source::default())).collect(),
            homes: BTreeMap::new(),
            known_stopped,
            gathered: None,
            open: None,
        };
        owned.write_beginnings(world)?;
        Ok(owned)
    }

    /// Where a source begins that was never taken from, or was moved to one of its ends, is written down.
    fn write_beginnings(&mut self, world: &mut World) -> Result<()> {
        for partition in world.partitions(self.number) {
            let name = position(partition);
            let from = self.positions.get(&name).map(|p| p.next);
            let Some(life) = world.kafka.now(partition) else { continue };
            let next = match from {
                None | Some(REWIND_EARLIEST) => life.start,
                Some(REWIND_LATEST) => life.end,
                Some(_) => continue,
            };
            let to = Position { next, last_at: None, last_digest: None };
            let positions = BTreeMap::from([(name.clone(), PositionMove { from, to: to.clone() })]);
            let batch = Batch { shard: self.number, epoch: self.epoch, positions, ..Batch::default() };
            world.call("commit", |s| s.commit(&batch))?;
            self.positions.insert(name, to);
        }
        Ok(())
    }

    /// Where a source goes on after what is stepped already.
    fn next(&self, name: &str) -> Option<i64> {
        let open = self.open.as_ref().and_then(|o| o.batch.positions.get(name)).map(|m| m.to.next);
        open.or_else(|| self.positions.get(name).map(|p| p.next))
    }

    /// On assignment, and after the topic changed: the last record taken is read again.
    fn look_again(&mut self, world: &World, partition: u32) {
        let name = position(partition);
        let next = self.next(&name).unwrap_or(0);
        let last = self.positions.get(&name).cloned().filter(|p| p.next == next);
        let (Some(source), Some(life)) = (self.sources.get_mut(&partition), world.kafka.now(partition)) else { return };
        source.life = world.kafka.lives(partition).len();
        let there = life.at(next - 1);
        let other = last.filter(|p| p.last_digest.is_some()).zip(there).is_some_and(|(p, r)| {
            let digest = Digest::of_bytes(r.payload.as_deref().unwrap_or_default());
            (p.last_at, p.last_digest) != (Some(r.timestamp), Some(digest))
        });
        source.stopped = if next < life.start || next > life.end {
            Some(format!("offset {next} is out of range {}..{}", life.start, life.end))
        } else if other {
            Some(format!("another record is at {}: the topic was created anew", next - 1))
        } else {
            None
        };
    }

    fn tell_stopped(&mut self, world: &mut World, wall: Timestamp) {
        for (partition, source) in &mut self.sources {
            let (true, Some(why)) = (!source.told, source.stopped.clone()) else { continue };
            let name = position(*partition);
            let entry = NewInbox {
                id: format!("stopped|{name}|{}", self.epoch),
                scope: own_scope(self.number),
                at: wall,
                body: InboxBody::SourceStopped {
                    source: KAFKA_SOURCE.to_owned(),
                    position: name.clone(),
                    why: why.clone(),
                },
            };
            if world.call("inbox append", |s| s.inbox_append(&[entry])).is_ok() {
                source.told = true;
                world.hit(if why.contains("anew") { Fault::Recreated } else { Fault::OutOfRange });
                world.note(format!("{name} is stopped: {why}"));
            }
        }
    }

    /// Takes what the sources have, up to the horizon. Whether there is anything to step.
    pub(super) fn gather(&mut self, world: &mut World, wall: Timestamp) -> Result<bool> {
        if self.open.as_ref().is_some_and(|o| o.rewound) {
            return Ok(false);
        }
        let mut taken: BTreeMap<String, Vec<SourceRecord>> = BTreeMap::new();
        let (mut horizon, mut at_end, mut read) = (None::<Timestamp>, true, vec![]);
        let (mut blind, mut away) = (vec![], false);
        for partition in world.partitions(self.number) {
            let name = position(partition);
            if self.sources.get(&partition).is_some_and(|s| s.life == 0) && world.now >= world.kafka.away_until {
                self.look_again(world, partition);
            }
            let next = self.next(&name).unwrap_or(0);
            let Some(source) = self.sources.get_mut(&partition) else { continue };
            if source.stopped.is_some() {
                blind.push(KAFKA_SOURCE.to_owned());
                continue;
            }
            let most = 1 + world.dice.index(12);
            match world.kafka.fetch(partition, source.life, next, most, world.now) {
                Fetched::Away => {
                    let since = *source.away_since.get_or_insert(world.now);
                    blind.push(KAFKA_SOURCE.to_owned());
                    if world.now.since(since) >= BLIND_AFTER {
                        away = true;
                    } else {
                        at_end = false;
                    }
                }
                Fetched::LookAgain => {
                    source.life = 0;
                    at_end = false;
                }
                Fetched::Records(records, more) => {
                    source.away_since = None;
                    if more {
                        at_end = false;
                        let own = records.iter().map(|r| r.timestamp).max().unwrap_or(Timestamp::EPOCH);
                        horizon = Some(horizon.map_or(own, |h| h.min(own)));
                    }
                    let read_to = records.last().map_or(next, |r| r.offset + 1);
                    if world.watch.reads(partition, source.life, next, read_to) {
                        world.hit(Fault::Redelivered);
                    }
                    if self.known_stopped.contains(&name) {
                        self.tell_back(world, &name, wall);
                    }
                    read.push(partition);
                    taken.insert(name, records);
                }
            }
        }
        self.tell_stopped(world, wall);
        for records in taken.values_mut() {
            let up_to = records.iter().position(|r| horizon.is_some_and(|h| r.timestamp > h)).unwrap_or(records.len());
            at_end &= up_to == records.len();
            records.truncate(up_to);
        }
        taken.retain(|_, records| !records.is_empty());
        let mut inbox = BTreeMap::new();
        for lane in Lane::ALL {
            let from = u64::try_from(self.next(lane.name()).unwrap_or(1)).unwrap_or(1);
            let limit = 1 + world.dice.index(16);
            let number = self.number;
            let mut rows = world.call("inbox read", |s| s.inbox_read(number, lane, from, limit))?;
            at_end &= rows.len() < limit;
            let up_to =
                rows.iter().position(|r| !r.entry.body.is_operator() && horizon.is_some_and(|h| r.entry.at > h));
            if let Some(up_to) = up_to {
                at_end = false;
                rows.truncate(up_to);
            }
            if !rows.is_empty() {
                inbox.insert(lane, rows);
            }
        }
        // A position that a person moves is not taken from in the same batch.
        for row in inbox.get(&Lane::Acts).into_iter().flatten() {
            if let InboxBody::Operator { act: OperatorAct::Rewind { position, .. }, .. } = &row.entry.body {
                at_end &= taken.remove(position).is_none();
                read.retain(|partition| super::kafka::position(*partition) != *position);
            }
        }
        if taken.is_empty() && inbox.is_empty() && !at_end {
            return Ok(false);
        }
        self.gathered =
            Some(Gathered { cap: wall, records: taken, inbox, tick: at_end, blind, away, at: world.now, read });
        Ok(true)
    }

    /// Matches and steps what was gathered. Whether there is something to commit.
    pub(super) fn step(&mut self, world: &mut World) -> Result<bool> {
        if self.open.is_some() {
            return Ok(false);
        }
        let Some(gathered) = self.gathered.take() else { return Ok(false) };
        let is_tick = gathered.records.is_empty() && gathered.inbox.is_empty();
        let cap = gathered.cap.max(self.shard.clock());
        self.shard.begin(cap, gathered.blind);
        if is_tick && self.shard.next_due().is_none_or(|due| due > cap) {
            // Nothing is due: the clock moves, and that is not written.
            self.shard.tick();
            return Ok(false);
        }
        let ticks_blind = gathered.tick && gathered.away;
        let mut seen = Seen { at: gathered.at, ticks_blind, stamped: BTreeMap::new(), untaken: vec![] };
        let mut ranges = BTreeMap::new();
        let mut positions = BTreeMap::new();
        for (name, records) in &gathered.records {
            let (Some(from), Some(last)) = (self.next(name), records.last()) else { continue };
            let to = last.offset + 1;
            let views = records.iter().map(|r| RecordView {
                at: r.timestamp,
                headers: &r.headers,
                payload: r.payload.as_deref(),
            });
            ranges.insert(name.clone(), Range::of(from, to, views));
            let digest = Digest::of_bytes(last.payload.as_deref().unwrap_or_default());
            let to = Position { next: to, last_at: Some(last.timestamp), last_digest: Some(digest) };
            positions.insert(name.clone(), PositionMove { from: Some(from), to });
        }
        for (lane, rows) in &gathered.inbox {
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else { continue };
            let (from, to) = (seq(first), seq(last) + 1);
            ranges.insert(lane.name().to_owned(), Range::of_inbox(from, to, rows));
            let to = Position { next: to, last_at: None, last_digest: None };
            positions.insert(lane.name().to_owned(), PositionMove { from: self.next(lane.name()), to });
        }
        for partition in gathered.read {
            let name = position(partition);
            let next = positions.get(&name).map(|m: &PositionMove| m.to.next).or_else(|| self.next(&name));
            seen.untaken.push((partition, next.unwrap_or(0)));
        }
        let mut queues: BTreeMap<String, VecDeque<Item>> =
            gathered.records.into_iter().map(|(n, r)| (n, r.into_iter().map(Item::Record).collect())).collect();
        for (lane, rows) in gathered.inbox {
            queues.insert(lane.name().to_owned(), rows.into_iter().map(Item::Row).collect());
        }
        let mut making = Making { seen, ..Making::default() };
        loop {
            let heads = queues.iter().filter_map(|(name, items)| Some((name.as_str(), items.front()?.head())));
            let Some(name) = next_source(heads).map(str::to_owned) else { break };
            let Some(item) = queues.get_mut(&name).and_then(VecDeque::pop_front) else { break };
            self.item(world, &name, item, &mut making)?;
        }
        if gathered.tick {
            if gathered.away {
                world.hit(Fault::BrokerAwayLong);
            }
            self.shard.tick();
        }
        for (name, next) in &making.moved {
            let to = Position { next: *next, last_at: None, last_digest: None };
            positions.insert(name.clone(), PositionMove { from: self.next(name), to });
        }
        let finished = self.shard.finish(ranges);
        let batch = Batch {
            shard: self.number,
            epoch: self.epoch,
            changes: finished.changes,
            positions,
            dead_letters: making.dead,
            handed: making.handed,
            journal: Some(finished.journal),
        };
        self.open = Some(Open { batch, rewound: !making.moved.is_empty(), seen: making.seen });
        Ok(true)
    }

    fn item(&mut self, world: &mut World, name: &str, item: Item, making: &mut Making) -> Result<()> {
        let stamp = match item.head() {
            Head::Operator => self.shard.clock(),
            Head::Record(at) => self.shard.stamp(at),
        };
        match item {
            Item::Record(r) => {
                let place = Place { name, offset: r.offset, at: r.timestamp };
                self.message(world, KAFKA_SOURCE, r.payload.as_deref(), stamp, &place, making)
            }
            Item::Row(row) => self.row(world, name, &row, stamp, making),
        }
    }

    fn row(
        &mut self,
        world: &mut World,
        name: &str,
        row: &InboxRow,
        stamp: Timestamp,
        making: &mut Making,
    ) -> Result<()> {
        let entry = &row.entry;
        let place = Place { name, offset: seq(row), at: entry.at };
        match &entry.body {
            InboxBody::Message(RawMessage { source, .. }) => {
                let InboxBody::Message(raw) = &entry.body else { return Ok(()) };
                match paramedic_formats::webhook_body(raw) {
                    Ok(body) => self.message(world, source, Some(&body), stamp, &place, making),
                    Err(why) => {
                        self.dead(source, &place, &why.to_string(), raw.body.as_bytes(), stamp, making);
                        Ok(())
                    }
                }
            }
            InboxBody::Handed(event) => {
                let event = Event::clone(event);
                self.event(world, &entry.scope, event, stamp, (&place, 0), making)
            }
            body => {
                if !self.is_here(world, &entry.scope)? {
                    self.shard.count_input(entry.id.as_bytes());
                    let id = format!("handed|{}", entry.id);
                    making.handed.push(NewInbox { id, ..entry.clone() });
                    return Ok(());
                }
                match body {
                    InboxBody::RulebooksPublished(digest) => {
                        if let Some(set) = world.rules.find(*digest) {
                            self.shard.learn(set);
                        }
                    }
                    InboxBody::Operator { act: OperatorAct::Rewind { position, to, .. }, .. }
                        if self.positions.contains_key(position) && Lane::from_name(position).is_none() =>
                    {
                        making.moved.insert(position.clone(), *to);
                    }
                    _ => {}
                }
                self.shard.inbox(stamp, entry);
                Ok(())
            }
        }
    }

    fn message(
        &mut self,
        world: &mut World,
        source: &str,
        payload: Option<&[u8]>,
        stamp: Timestamp,
        place: &Place<'_>,
        making: &mut Making,
    ) -> Result<()> {
        let Some(format) = paramedic_formats::format("paramedic") else { return Ok(()) };
        let mut events = vec![];
        if let Err(why) = (format.decode)(Message { source, headers: &[], payload, stamp }, &mut events) {
            self.dead(source, place, &why.to_string(), payload.unwrap_or_default(), stamp, making);
            return Ok(());
        }
        for (ordinal, event) in events.into_iter().enumerate() {
            let scope = scope_of(&event);
            self.event(world, &scope, event, stamp, (place, ordinal), making)?;
        }
        Ok(())
    }

    fn event(
        &mut self,
        world: &mut World,
        scope: &str,
        event: Event<'_>,
        stamp: Timestamp,
        (place, ordinal): (&Place<'_>, usize),
        making: &mut Making,
    ) -> Result<()> {
        let id = event_input_id(&event);
        self.shard.count_input(id.as_bytes());
        if Lane::from_name(place.name).is_none() {
            making.seen.stamped.insert(id, place.at);
        }
        let active = self.shard.active();
        let evaluator = match world.matchers.entry(active) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Evaluator::new(world.rules.find(active).ok_or_else(|| no_rules(active))?)),
        };
        let Sifted { matches, goes_on, .. } = sift(evaluator, &event);
        if !goes_on && !self.shard.keeps_older_rules() {
            self.shard.reach(stamp);
            return Ok(());
        }
        if self.is_here(world, scope)? {
            self.shard.event(stamp, scope, EventInput { event: event.into_owned(), matches, set: active });
            return Ok(());
        }
        world.hit(Fault::HandedOn);
        self.shard.reach(stamp);
        making.handed.push(NewInbox {
            id: format!("handed|{}.{}|{}|{}|{ordinal}", self.number, self.epoch, place.name, place.offset),
            scope: scope.to_owned(),
            at: place.at,
            body: InboxBody::Handed(Box::new(event.into_owned())),
        });
        Ok(())
    }

    fn dead(
        &mut self,
        source: &str,
        place: &Place<'_>,
        reason: &str,
        bytes: &[u8],
        stamp: Timestamp,
        making: &mut Making,
    ) {
        self.shard.reach(stamp);
        self.shard.count_input(dead_letter_id(bytes).as_bytes());
        making.dead.push(DeadLetter {
            source: source.to_owned(),
            position: place.name.to_owned(),
            offset: place.offset,
            reason: reason.to_owned(),
            bytes: bytes.iter().take(64 << 10).copied().collect(),
            digest: Digest::of_bytes(bytes),
            length: bytes.len() as u64,
            at: stamp,
        });
    }

    /// Whether a scope is at home here. One that has no home yet is from now on.
    fn is_here(&mut self, world: &mut World, scope: &str) -> Result<bool> {
        if world.alone {
            return Ok(true);
        }
        if let Some(home) = self.homes.get(scope) {
            return Ok(*home == self.number);
        }
        let home = match own_shard(scope) {
            Some(own) => own,
            None => world.call("claim", |s| s.claim_scope(scope, self.number))?,
        };
        self.homes.insert(scope.to_owned(), home);
        Ok(home == self.number)
    }

    /// One transaction. Whether a position was moved by hand.
    pub(super) fn commit(&mut self, world: &mut World) -> Result<bool> {
        let Some(Open { batch, rewound, seen }) = self.open.take() else { return Ok(false) };
        if paramedic_model::faults::planted("offset_before_state") && world.dice.one_in(4) {
            // As if positions had a transaction of their own, and the node ended before that of the state.
            let first = Batch { changes: vec![], handed: vec![], dead_letters: vec![], ..batch };
            world.call("commit", |s| s.commit(&first))?;
            return Err(no_rules(self.active()));
        }
        world.call("commit", |s| s.commit(&batch))?;
        world.note(format!("shard {} batch {:?}", self.number, batch.journal.as_ref().map(|j| (j.batch, &j.ranges))));
        world.commits += 1;
        super::oracle::committed(world, &batch, &seen);
        for (name, change) in &batch.positions {
            self.positions.insert(name.clone(), change.to.clone());
        }
        if rewound {
            world.hit(Fault::RewoundBack);
        }
        Ok(rewound)
    }

    /// The inbox knows that a source was stopped, and is told that it is taken from again.
    fn tell_back(&mut self, world: &mut World, name: &str, wall: Timestamp) {
        let entry = NewInbox {
            id: format!("back|{name}|{}", self.epoch),
            scope: own_scope(self.number),
            at: wall,
            body: InboxBody::SourceBack { source: KAFKA_SOURCE.to_owned(), position: name.to_owned() },
        };
        if world.call("inbox append", |s| s.inbox_append(&[entry])).is_ok() {
            self.known_stopped.remove(name);
        }
    }

    pub(super) fn active(&self) -> Digest {
        self.shard.active()
    }
}

/// Positions that the shard has an open incident about, because their source was stopped.
fn known_stopped(shard: u32, image: &ShardImage) -> BTreeSet<String> {
    let own = own_scope(shard);
    let scopes = image.scopes.iter().filter(|scope| scope.scope == own);
    let open = scopes.flat_map(|scope| &scope.incidents).filter(|i| i.state.is_open());
    open.filter_map(paramedic_engine::stopped_source).map(str::to_owned).collect()
}

/// Which scope an event is in.
pub(super) fn scope_of(event: &Event<'_>) -> String {
    match scope_expr() {
        Some(expr) => expr.scope(event).into_owned(),
        None => crate::DEFAULT_SCOPE.to_owned(),
    }
}

/// As the sources are configured.
pub(super) fn scope_expr() -> Option<ScopeExpr> {
    ScopeExpr::parse("event.labels.site").ok()
}

fn seq(row: &InboxRow) -> i64 {
    i64::try_from(row.seq).unwrap_or(i64::MAX)
}

fn no_rules(digest: Digest) -> StoreError {
    StoreError::Other { context: "rules", cause: format!("no rule set {digest}") }
}
