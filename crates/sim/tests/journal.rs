//! A live history, made here with batches of any size, restarts, ticks, reports and people, is the same once more.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{DISK, Dice, SERVICE, at, lines, set, set_of_site};
use paramedic_engine::gather::{Head, next_source};
use paramedic_engine::outbox::{Considered, GuardInput, after, consider};
use paramedic_engine::{EventInput, Limits, Shard, ShardConfig, event_input_id};
use paramedic_formats::{Message, format};
use paramedic_model::{
    Digest, Event, InboxBody, InboxRow, Lane, NewInbox, OperatorAct, Outcome, Range, RawMessage, RecordView, Running,
    Span, Status, Timestamp,
};
use paramedic_rulebook::{Evaluator, RuleSet};
use paramedic_sim::{JournalOptions, JournalReport, RecordSource, SourceRecord, SourceSpec, replay_journal};
use paramedic_store::{Batch, Claim, DeadLetter, MemoryStore, Position, PositionMove, Store};

/// Records by position.
type Topics = BTreeMap<String, Vec<SourceRecord>>;

struct Topic(Topics);

impl RecordSource for Topic {
    fn read(&mut self, position: &str, range: &Range) -> Result<Vec<SourceRecord>, String> {
        let all = self.0.get(position).ok_or("no such partition")?;
        Ok(all.iter().filter(|r| (range.from..range.to).contains(&r.offset)).cloned().collect())
    }
}

fn config() -> ShardConfig {
    ShardConfig { cluster: "test".into(), shard: 0, limits: Limits::default() }
}

/// A small live shell.
struct Live {
    store: Arc<MemoryStore>,
    sets: BTreeMap<Digest, Arc<RuleSet>>,
    shard: Shard,
    epoch: u64,
    topics: Topics,
    next: BTreeMap<String, i64>,
    inbox_next: BTreeMap<Lane, i64>,
}

impl Live {
    fn new(topics: Topics, sets: &[Arc<RuleSet>]) -> Self {
        let store = Arc::new(MemoryStore::new());
        let sets: BTreeMap<_, _> = sets.iter().map(|s| (s.digest, Arc::clone(s))).collect();
        let epoch = store.load_shard(0, &Claim::Alone).unwrap().epoch;
        let first = sets.keys().next().copied().unwrap();
        let mut live = Self {
            store,
            sets,
            shard: Shard::restore(config(), epoch, None, first, vec![]),
            epoch,
            topics,
            next: BTreeMap::new(),
            inbox_next: Lane::ALL.into_iter().map(|lane| (lane, 1)).collect(),
        };
        live.learn();
        live
    }

    fn learn(&mut self) {
        self.sets.values().for_each(|set| self.shard.learn(Arc::clone(set)));
    }

    /// Ends without a word, and begins again from the store.
    fn restart(&mut self) {
        let image = self.store.load_shard(0, &Claim::Alone).unwrap();
        self.epoch = image.epoch;
        let active = image.scopes.first().map_or(self.shard.active(), |s| s.head.set);
        self.shard = Shard::restore(config(), image.epoch, image.last.as_ref(), active, image.scopes);
        self.learn();
    }

    /// One batch at this reading of the wall clock.
    fn batch(&mut self, cap: Timestamp, most: usize, tick: bool) {
        self.shard.begin(cap, vec![]);
        let mut queues: BTreeMap<String, Vec<SourceRecord>> = BTreeMap::new();
        for (name, records) in &self.topics {
            let from = self.next.get(name).copied().unwrap_or(0);
            let taken = records.iter().filter(|r| r.offset >= from && r.timestamp <= cap).take(most).cloned();
            queues.insert(name.clone(), taken.collect());
        }
        let inbox: BTreeMap<Lane, Vec<InboxRow>> = Lane::ALL
            .into_iter()
            .map(|lane| (lane, self.store.inbox_read(0, lane, self.inbox_next[&lane] as u64, most).unwrap()))
            .collect();
        let mut ranges = BTreeMap::new();
        let mut positions = BTreeMap::new();
        let mut took = |name: &str, from: Option<i64>, range: Range| {
            let to = Position { next: range.to, last_at: None, last_digest: None };
            ranges.insert(name.to_owned(), range);
            positions.insert(name.to_owned(), PositionMove { from, to });
        };
        for (name, records) in queues.iter().filter(|(_, r)| !r.is_empty()) {
            let to = records.last().unwrap().offset + 1;
            let from = self.next.insert(name.clone(), to);
            let views = records.iter().map(|r| RecordView {
                at: r.timestamp,
                headers: &r.headers,
                payload: r.payload.as_deref(),
            });
            took(name, from, Range::of(from.unwrap_or(0), to, views));
        }
        for (lane, rows) in inbox.iter().filter(|(_, rows)| !rows.is_empty()) {
            let to = rows.last().unwrap().seq as i64 + 1;
            let from = self.inbox_next.insert(*lane, to).unwrap();
            took(lane.name(), (from > 1).then_some(from), Range::of_inbox(from, to, rows));
        }
        let (mut at, mut at_inbox) = (BTreeMap::<String, usize>::new(), BTreeMap::<Lane, usize>::new());
        let mut dead = vec![];
        loop {
            let mut heads: Vec<(&str, Head)> = queues
                .iter()
                .filter_map(|(n, q)| {
                    Some((n.as_str(), Head::Record(q.get(at.get(n).copied().unwrap_or(0))?.timestamp)))
                })
                .collect();
            heads.extend(inbox.iter().filter_map(|(lane, rows)| {
                let row = rows.get(at_inbox.get(lane).copied().unwrap_or(0))?;
                let operator = row.entry.body.is_operator();
                Some((lane.name(), if operator { Head::Operator } else { Head::Record(row.entry.at) }))
            }));
            let Some(name) = next_source(heads).map(str::to_owned) else { break };
            if let Some(lane) = Lane::from_name(&name) {
                let n = at_inbox.entry(lane).or_default();
                let row = &inbox[&lane][*n];
                *n += 1;
                let operator = row.entry.body.is_operator();
                let stamp = if operator { self.shard.clock() } else { self.shard.stamp(row.entry.at) };
                match &row.entry.body {
                    InboxBody::Message(m) => {
                        let body = paramedic_formats::webhook_body(m).unwrap();
                        self.message(&m.source, &body, stamp, &mut dead);
                    }
                    _ => self.shard.inbox(stamp, &row.entry),
                }
            } else {
                let n = at.entry(name.clone()).or_default();
                let record = queues[&name][*n].clone();
                *n += 1;
                let stamp = self.shard.stamp(record.timestamp);
                self.message("kafka", record.payload.as_deref().unwrap_or_default(), stamp, &mut dead);
            }
        }
        if tick {
            self.shard.tick();
        }
        let finished = self.shard.finish(ranges);
        let batch = Batch {
            shard: 0,
            epoch: self.epoch,
            changes: finished.changes,
            positions,
            dead_letters: dead,
            handed: vec![],
            journal: Some(finished.journal),
        };
        self.store.commit(&batch).unwrap();
    }

    fn message(&mut self, source: &str, payload: &[u8], stamp: Timestamp, dead: &mut Vec<DeadLetter>) {
        let mut events: Vec<Event<'_>> = vec![];
        let message = Message { source, headers: &[], payload: Some(payload), stamp };
        if (format("paramedic").unwrap().decode)(message, &mut events).is_err() {
            let digest = Digest::of_bytes(payload);
            self.shard.reach(stamp);
            self.shard.count_input(format!("dead|{digest}").as_bytes());
            dead.push(DeadLetter {
                source: source.into(),
                position: "p".into(),
                offset: 0,
                reason: String::new(),
                bytes: vec![],
                digest,
                length: 0,
                at: stamp,
            });
            return;
        }
        let mut evaluator = Evaluator::new(Arc::clone(&self.sets[&self.shard.active()]));
        for event in events {
            self.shard.count_input(event_input_id(&event).as_bytes());
            let matches = evaluator.matches(&event);
            if matches.is_empty() && event.status == Status::Firing && !self.shard.keeps_older_rules() {
                self.shard.reach(stamp);
                continue;
            }
            let scope = event.labels.get("site").unwrap_or("default").to_owned();
            let set = evaluator.set().digest;
            self.shard.event(stamp, &scope, EventInput { event: event.into_owned(), matches, set });
        }
    }

    /// What the dispatcher would do: everything that waits leaves, and answers at once.
    fn dispatch(&mut self, now: Timestamp) {
        use paramedic_model::OutboxState as S;
        for row in self.store.outbox_list(&[S::Pending, S::Deferred], 100).unwrap() {
            let incident = self.store.incident(row.order.incident()).unwrap();
            let input = GuardInput {
                now,
                halt: None,
                incident: incident.as_ref(),
                set: &self.sets[&self.shard.active()],
                target_busy: false,
                max_action_age: Span::from_secs(86_400),
                recovered: None,
                topic_read_by: None,
            };
            if let Considered::Send(next, mut reports) = consider(&row, &input) {
                let outcome = Outcome::Succeeded { message: "done".into(), facts: BTreeMap::new() };
                reports.extend(after(&next, &outcome, now).1);
                self.store.inbox_append(&reports).unwrap();
            }
        }
    }

    fn append(&self, id: &str, at: Timestamp, body: InboxBody) {
        self.store.inbox_append(&[NewInbox { id: id.into(), scope: "s0".into(), at, body }]).unwrap();
    }
}

/// Two partitions with records in the order of their timestamps, which are about their events' times.
fn topics() -> Topics {
    let mut topics = Topics::new();
    for partition in 0..2u64 {
        let mut offset = 0;
        let records = lines(40 + partition, 600, 3).into_iter().enumerate().filter(|(_, line)| !line.is_empty());
        let records = records.map(|(n, line)| {
            // Gaps, as a compaction leaves them.
            offset += if n % 50 == 0 { 3 } else { 1 };
            SourceRecord {
                offset,
                timestamp: at(n as f64 * 2.0 + partition as f64),
                headers: vec![],
                payload: Some(line.replace("\"id\":\"", &format!("\"id\":\"p{partition}-")).into_bytes()),
            }
        });
        topics.insert(format!("kafka/alerts/{partition}"), records.collect());
    }
    topics
}

fn history() -> Live {
    // Each set makes its own of an event: what another one has made must not be taken for what was sent.
    let site = |label: &str| {
        let value = "= event.type + (event.labels.a ?? event.labels.b ?? \"\")";
        let step = format!("set: {{ type: service.down, labels: {{ {label}: '{value}' }} }}");
        format!("enrich:\n  - when: event.type == \"cpu\"\n    {step}\n  - drop_from_key: [a, b]\n")
    };
    let sets = [
        set_of_site(&site("a"), DISK, SERVICE),
        set_of_site(&site("b"), &DISK.replace("urgency: medium", "urgency: high"), SERVICE),
    ];
    let mut live = Live::new(topics(), &sets);
    let mut dice = Dice(9);
    let cmdb = paramedic_formats::cmdb::parse(&common::cmdb(), "s0", "ann", at(0.0), &|_| None).unwrap();
    live.append("cmdb", at(0.0), InboxBody::Cmdb(cmdb));
    let other = live.sets.keys().nth(1).copied().unwrap();
    let mut now = 0.0;
    for n in 0..200 {
        now += dice.roll(16) as f64;
        match dice.roll(12) {
            0 => live.restart(),
            1 => {
                use base64::Engine as _;
                let line = format!(
                    r#"{{"id":"w{n}","type":"service.down","ci":"web-1","dedup_key":"w{n}","labels":{{"site":"s0"}}}}"#
                );
                let body = base64::engine::general_purpose::STANDARD.encode(line);
                let message = RawMessage { source: "hook".into(), headers: BTreeMap::new(), body };
                live.append(&format!("w{n}"), at(now), InboxBody::Message(message));
            }
            2 => {
                let open =
                    live.shard.scope("s0").and_then(|s| s.incidents.values().find(|i| i.state.is_open()).map(|i| i.id));
                if let Some(incident) = open {
                    let act = OperatorAct::Acknowledge { incident };
                    live.append(&format!("o{n}"), at(now), InboxBody::Operator { by: "ann".into(), act });
                }
            }
            _ => {}
        }
        if n == 100 {
            live.append("rules", at(now), InboxBody::RulebooksPublished(other));
        }
        let most = 1 + dice.roll(12) as usize;
        let tick = dice.roll(3) == 0;
        live.batch(at(now), most, tick);
        live.dispatch(at(now + 0.5));
    }
    live
}

fn repeat(live: &Live, topics: Topics) -> JournalReport {
    let spec = |source: &str| SourceSpec {
        source: source.into(),
        format: format("paramedic").unwrap(),
        scope: Some(paramedic_rulebook::ScopeExpr::parse("event.labels.site").unwrap()),
    };
    let sources = BTreeMap::from([
        ("kafka/alerts/0".to_owned(), spec("kafka")),
        ("kafka/alerts/1".to_owned(), spec("kafka")),
        ("inbox/hook".to_owned(), spec("hook")),
    ]);
    let load_set = |digest: Digest| live.sets.get(&digest).cloned();
    let options = JournalOptions {
        shard: 0,
        cluster: "test".into(),
        limits: Limits::default(),
        sources: &sources,
        load_set: &load_set,
    };
    replay_journal(live.store.as_ref(), &mut Topic(topics), &options, &mut |_| {}).unwrap()
}

#[test]
fn a_history_is_the_same_once_more_and_an_altered_record_shows_at_its_batch() {
    let live = history();
    let rows = live.store.journal(0, 1, 1_000).unwrap();
    let report = repeat(&live, live.topics.clone());
    assert_eq!(report.differs, None);
    let last = rows.last().unwrap();
    assert_eq!((report.batches, report.decisions_digest), (200, last.decisions));
    assert!(report.events > 500 && report.matched > 300 && report.dead_letter > 20, "{report:?}");
    assert_ne!(last.inputs, Running::default());

    // Each of some records, altered, dropped, or of another time.
    let name = "kafka/alerts/1";
    for which in [3, 200, 400] {
        let offset = live.topics[name][which].offset;
        let batch = rows.iter().find(|r| r.ranges.get(name).is_some_and(|r| (r.from..r.to).contains(&offset))).unwrap();
        let altered = |change: fn(&mut Vec<SourceRecord>, usize)| {
            let mut topics = live.topics.clone();
            change(topics.get_mut(name).unwrap(), which);
            repeat(&live, topics).differs.unwrap()
        };
        // A blank at the end changes no id and no decision; it is an altered record all the same.
        let blank = altered(|t, n| t[n].payload.get_or_insert_default().push(b' '));
        assert_eq!(blank.batch, batch.batch, "{}", blank.what);
        assert!(blank.what.contains("was altered"), "{}", blank.what);
        let gone = altered(|t, n| drop(t.remove(n)));
        assert_eq!(gone.batch, batch.batch);
        assert!(gone.what.contains(&format!("delivered {} records", batch.ranges[name].delivered)), "{}", gone.what);
    }
}

#[test]
fn a_journal_without_its_beginning_cannot_be_repeated() {
    let live = history();
    let load_set = |_: Digest| None;
    let options = JournalOptions {
        shard: 0,
        cluster: "test".into(),
        limits: Limits::default(),
        sources: &BTreeMap::new(),
        load_set: &load_set,
    };
    let error = replay_journal(live.store.as_ref(), &mut Topic(Topics::new()), &options, &mut |_| {}).unwrap_err();
    assert!(error.to_string().starts_with("batch 1: rule set "), "{error}");
}

#[test]
fn a_restart_does_not_go_back_to_the_digest_of_an_earlier_event() {
    let record = |offset: i64, site: &str| SourceRecord {
        offset,
        timestamp: at(offset as f64 * 10.0),
        headers: vec![],
        payload: Some(
            format!(r#"{{"id":"{offset}","type":"service.down","ci":"c","labels":{{"site":"{site}"}}}}"#).into_bytes(),
        ),
    };
    let topics = Topics::from([("kafka/alerts/0".to_owned(), vec![record(1, "s0"), record(2, "s1")])]);
    let mut live = Live::new(topics, &[set()]);
    live.batch(at(11.0), 1, false);
    live.dispatch(at(12.0));
    // The page's report comes after the last event, and is not in its digest...
    live.batch(at(13.0), 10, false);
    // ...until an event of another scope comes.
    live.batch(at(21.0), 10, false);
    live.restart();
    live.batch(at(22.0), 10, true);
    let rows = live.store.journal(0, 1, 10).unwrap();
    let digests: Vec<Digest> = rows.iter().map(|r| r.decisions).collect();
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[1], digests[2]);
    assert_eq!(digests[2], digests[3]);
    assert_eq!(repeat(&live, live.topics.clone()).differs, None);
}
