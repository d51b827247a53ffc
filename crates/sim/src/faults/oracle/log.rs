//! Delivery, and a plain model of what was delivered: which alerts are open in the end.
//!
//! Reads the journal and the sources, and nothing that the engine counted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use paramedic_formats::Message;
use paramedic_model::{
    CloseCode, Event, InboxBody, InboxRow, JournalRow, Lane, OperatorAct, OwnedEvent, Range, RecordView, Status,
    Timestamp, own_shard,
};
use paramedic_store::IncidentFilter;

use super::super::kafka::{Life, partition_of};
use super::super::owned::{KAFKA_SOURCE, scope_of};
use super::super::world::World;
use crate::journal::SourceRecord;

/// (scope, source, dedup key) of an alert.
type Key = (String, String, String);

/// An alert, as plainly as can be.
#[derive(Debug, Default)]
struct Alert {
    open: bool,
    began: Timestamp,
    closed: Option<Timestamp>,
    /// A resolve that waits: its time, and since when.
    parked: Option<(Timestamp, Timestamp)>,
}

#[derive(Debug, Default)]
struct Model {
    alerts: BTreeMap<Key, Alert>,
    seen: BTreeSet<(String, String, String)>,
}

impl Model {
    fn event(&mut self, scope: &str, event: &OwnedEvent, stamp: Timestamp) {
        if event.type_ != "service.down" {
            return;
        }
        let source = event.source.to_string();
        let id = (scope.to_owned(), source.clone(), event.id.as_deref().unwrap_or_default().to_owned());
        if self.seen.contains(&id) {
            return;
        }
        let alert = self.alerts.entry((scope.to_owned(), source, event.dedup_key().into_owned())).or_default();
        match event.status {
            Status::Firing => {
                self.seen.insert(id);
                if alert.open || alert.closed.is_some_and(|closed| event.time < closed) {
                    return;
                }
                (alert.open, alert.began) = (true, event.time);
                let minute = paramedic_model::Span::from_secs(60);
                if let Some((time, at)) = alert.parked
                    && event.time <= time
                    && stamp.since(at) <= minute
                {
                    (alert.open, alert.closed, alert.parked) = (false, Some(time), None);
                }
            }
            Status::Resolved if alert.open => {
                self.seen.insert(id);
                if event.time >= alert.began {
                    (alert.open, alert.closed) = (false, Some(event.time));
                }
            }
            Status::Resolved => {
                let minute = paramedic_model::Span::from_secs(60);
                let waiting = alert.parked.filter(|(_, at)| stamp.since(*at) <= minute);
                let time = waiting.map_or(event.time, |(time, _)| time.max(event.time));
                alert.parked = Some((time, stamp));
            }
        }
    }
}

enum Item {
    Record(SourceRecord),
    Row(Box<InboxRow>),
}

impl Item {
    /// People first, then the oldest.
    fn place(&self) -> (bool, Timestamp) {
        match self {
            Item::Record(record) => (true, record.timestamp),
            Item::Row(row) if row.entry.body.is_operator() => (false, Timestamp::EPOCH),
            Item::Row(row) => (true, row.entry.at),
        }
    }
}

/// One shard's journal, told once more.
struct Told<'a> {
    world: &'a World,
    shard: u32,
    wrong: Vec<(&'static str, String)>,
    next: BTreeMap<String, i64>,
    /// What had to be handed on, and how often: `position|offset|ordinal`.
    handed: BTreeMap<String, i64>,
    dead: BTreeMap<(String, i64), i64>,
    epoch: u64,
}

pub(super) fn check(world: &mut World) {
    let shards: Vec<u32> = world.store.shards().unwrap_or_default().into_iter().map(|(s, _)| s).collect();
    let (mut wrong, mut model) = (vec![], Model::default());
    let (mut handed, mut dead) = (BTreeMap::new(), BTreeMap::new());
    for shard in &shards {
        let mut told = Told {
            world,
            shard: *shard,
            wrong: vec![],
            next: BTreeMap::new(),
            handed: std::mem::take(&mut handed),
            dead: std::mem::take(&mut dead),
            epoch: 0,
        };
        for row in world.store.journal(*shard, 1, 100_000).unwrap_or_default() {
            told.batch(&row, &mut model);
        }
        told.ends();
        wrong.append(&mut told.wrong);
        (handed, dead) = (told.handed, told.dead);
    }
    wrong.extend(handed_on(world, &shards, handed));
    for letter in world.store.dead_letters(100_000).unwrap_or_default() {
        *dead.entry((letter.position, letter.offset)).or_default() -= 1;
    }
    if let Some(((position, offset), n)) = dead.into_iter().find(|(_, n)| *n != 0) {
        wrong.push(("I1 what is no event is a dead letter, once", format!("{position} {offset}: {n} too few")));
    }
    wrong.extend(open_incidents(world, &model));
    wrong.into_iter().for_each(|(oracle, what)| world.wrong(oracle, what));
}

impl Told<'_> {
    fn batch(&mut self, row: &JournalRow, model: &mut Model) {
        if row.epoch < self.epoch {
            let what = format!("shard {}: batch {} of epoch {} after {}", self.shard, row.batch, row.epoch, self.epoch);
            self.wrong.push(("I4 epochs never go back", what));
        }
        self.epoch = row.epoch;
        let mut queues: BTreeMap<&str, VecDeque<Item>> = BTreeMap::new();
        let mut rewound = vec![];
        for (name, range) in &row.ranges {
            if let Some(next) = self.next.insert(name.clone(), range.to).filter(|next| *next != range.from) {
                let what = format!("{name}: batch {} begins at {}, not at {next}", row.batch, range.from);
                self.wrong.push(("I1/I2 ranges abut", what));
            }
            let items = self.items(name, range, row.batch, &mut rewound);
            queues.insert(name, items);
        }
        for position in rewound {
            self.next.remove(&position);
        }
        let mut clock = row.floor;
        loop {
            let heads = queues.iter().filter_map(|(name, items)| Some((items.front()?.place(), *name)));
            let Some((place, name)) = heads.min() else { break };
            let Some(item) = queues.get_mut(name).and_then(VecDeque::pop_front) else { break };
            if place.0 {
                clock = place.1.min(row.cap).max(clock);
            }
            self.item(name, &item, clock, model);
        }
    }

    fn items(&mut self, name: &str, range: &Range, batch: u64, rewound: &mut Vec<String>) -> VecDeque<Item> {
        if let Some(partition) = partition_of(name) {
            let lives = self.world.kafka.lives(partition);
            let Some(records) = life_of(lives, range) else {
                let what =
                    format!("{name} {}..{} of batch {batch}: {} delivered", range.from, range.to, range.delivered);
                self.wrong.push(("I1 delivered + gaps = span", what));
                return VecDeque::new();
            };
            return records.iter().cloned().map(Item::Record).collect();
        }
        let Some(lane) = Lane::from_name(name) else { return VecDeque::new() };
        let rows = inbox(self.world, self.shard, lane, range.from, range.to);
        for row in &rows {
            if let InboxBody::Operator { act: OperatorAct::Rewind { position, .. }, .. } = &row.entry.body {
                rewound.push(position.clone());
            }
        }
        if rows.len() as u64 != range.delivered || range.to - range.from != i64::try_from(rows.len()).unwrap_or(0) {
            let what = format!("shard {} {name} {}..{}: {} rows", self.shard, range.from, range.to, rows.len());
            self.wrong.push(("I1 every inbox row once", what));
        }
        rows.into_iter().map(|row| Item::Row(Box::new(row))).collect()
    }

    fn item(&mut self, name: &str, item: &Item, stamp: Timestamp, model: &mut Model) {
        match item {
            Item::Record(r) => self.message(name, r.offset, KAFKA_SOURCE, r.payload.as_deref(), stamp, model),
            Item::Row(row) => match &row.entry.body {
                InboxBody::Message(raw) => {
                    let offset = i64::try_from(row.seq).unwrap_or(0);
                    let body = paramedic_formats::webhook_body(raw).unwrap_or_default();
                    self.message(name, offset, &raw.source, Some(&body), stamp, model);
                }
                InboxBody::Handed(event) => self.event((name, 0, 0), &row.entry.scope, event, stamp, model),
                _ => {}
            },
        }
    }

    fn message(
        &mut self,
        name: &str,
        offset: i64,
        source: &str,
        payload: Option<&[u8]>,
        stamp: Timestamp,
        model: &mut Model,
    ) {
        let Some(format) = paramedic_formats::format("paramedic") else { return };
        let mut events: Vec<Event<'_>> = vec![];
        if (format.decode)(Message { source, headers: &[], payload, stamp }, &mut events).is_err() {
            *self.dead.entry((name.to_owned(), offset)).or_default() += 1;
            return;
        }
        for (ordinal, event) in events.into_iter().enumerate() {
            let scope = scope_of(&event);
            self.event((name, offset, ordinal), &scope, &event.into_owned(), stamp, model);
        }
    }

    fn event(
        &mut self,
        (name, offset, ordinal): (&str, i64, usize),
        scope: &str,
        event: &OwnedEvent,
        stamp: Timestamp,
        model: &mut Model,
    ) {
        // Nobody asked for it.
        if event.type_ == "cpu" {
            return;
        }
        let home = match own_shard(scope) {
            Some(own) => Some(own),
            None => self.world.store.scope_home(scope).ok().flatten(),
        };
        match home {
            Some(home) if home == self.shard => model.event(scope, event, stamp),
            Some(_) => *self.handed.entry(format!("{}|{name}|{offset}|{ordinal}", self.shard)).or_default() += 1,
            None => {
                let what = format!("{name} {offset}: {scope} has no home, and its event was taken");
                self.wrong.push(("I1 every event is applied or filtered", what));
            }
        }
    }

    /// Everything that is there was taken.
    fn ends(&mut self) {
        for partition in self.world.partitions(self.shard) {
            let name = super::super::kafka::position(partition);
            let stored = self.world.store.positions().unwrap_or_default();
            let next = stored.iter().find(|(s, n, _)| *s == self.shard && *n == name).map(|(_, _, p)| p.next);
            let (Some(life), next) = (self.world.kafka.now(partition), next.unwrap_or(0)) else { continue };
            if next > life.end || next < life.start || life.first_from(next).is_some() {
                let what = format!("{name} is at {next}, the log is {}..{}", life.start, life.end);
                self.wrong.push(("liveness: all records are taken", what));
            }
        }
        for lane in Lane::ALL {
            let next = self.next.get(lane.name()).copied().unwrap_or(1);
            let left = inbox(self.world, self.shard, lane, next, i64::MAX);
            if let Some(row) = left.first() {
                let what = format!("shard {} {} {}: {}", self.shard, lane.name(), row.seq, row.entry.id);
                self.wrong.push(("liveness: all inbox rows are taken", what));
            }
        }
    }
}

/// The records of a range, of the life of the topic in which they were read.
fn life_of<'a>(lives: &'a [Life], range: &Range) -> Option<&'a [SourceRecord]> {
    lives.iter().rev().map(|life| life.range(range.from, range.to)).find(|records| {
        let views =
            records.iter().map(|r| RecordView { at: r.timestamp, headers: &r.headers, payload: r.payload.as_deref() });
        Range::of(range.from, range.to, views) == *range
    })
}

pub(super) fn inbox(world: &World, shard: u32, lane: Lane, from: i64, to: i64) -> Vec<InboxRow> {
    let (mut from, to) = (u64::try_from(from).unwrap_or(1), u64::try_from(to).unwrap_or(u64::MAX));
    let mut all = vec![];
    while from < to {
        let limit = usize::try_from(to - from).unwrap_or(usize::MAX).min(10_000);
        let rows = world.store.inbox_read(shard, lane, from, limit).unwrap_or_default();
        let Some(last) = rows.last() else { break };
        from = last.seq + 1;
        all.extend(rows.into_iter().filter(|row| row.seq < to));
    }
    all
}

/// What had to be handed on is in the inbox of its home, as often as it was taken.
fn handed_on(world: &World, shards: &[u32], mut due: BTreeMap<String, i64>) -> Option<(&'static str, String)> {
    for shard in shards {
        for row in inbox(world, *shard, Lane::Inbox, 1, i64::MAX) {
            let InboxBody::Handed(event) = &row.entry.body else { continue };
            let mut parts = row.entry.id.split('|').skip(1);
            let from = parts.next().and_then(|p| p.split('.').next()).unwrap_or_default().to_owned();
            let place = parts.collect::<Vec<_>>().join("|");
            if event.type_ != "cpu" {
                *due.entry(format!("{from}|{place}")).or_default() -= 1;
            }
        }
    }
    let (place, n) = due.into_iter().find(|(_, n)| *n != 0)?;
    Some(("I1 what is at home elsewhere is handed on, once", format!("{place}: {n} too few")))
}

/// The model and the store agree on what is open.
fn open_incidents(world: &World, model: &Model) -> Vec<(&'static str, String)> {
    let all = IncidentFilter { limit: 100_000, ..IncidentFilter::default() };
    let all = world.store.incidents(&all).unwrap_or_default();
    let of = |scope: &str, key: &paramedic_model::AlertKey| -> Key {
        (scope.to_owned(), key.source.to_string(), key.dedup_key.to_string())
    };
    let services = || all.iter().filter(|i| i.rule == "service down");
    let by_person: BTreeSet<Key> = services()
        .filter(|i| i.close_code == Some(CloseCode::WorkaroundProvided))
        .flat_map(|i| i.alerts.iter().map(|a| of(&i.scope, a)))
        .collect();
    let open: BTreeSet<Key> =
        services().filter(|i| i.state.is_open()).flat_map(|i| i.alerts.iter().map(|a| of(&i.scope, a))).collect();
    let expected: BTreeSet<Key> = model.alerts.iter().filter(|(_, a)| a.open).map(|(k, _)| k.clone()).collect();
    let mut wrong = vec![];
    if let Some(key) = expected.iter().find(|key| !open.contains(*key) && !by_person.contains(*key)) {
        wrong.push(("the model: what fires is open", format!("{key:?} has no open incident")));
    }
    if let Some(key) = open.iter().find(|key| !expected.contains(*key)) {
        wrong.push(("the model: what ended is resolved", format!("{key:?} has an open incident")));
    }
    wrong
}
