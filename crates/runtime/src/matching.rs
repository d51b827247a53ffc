//! The matching stage: records in their order, decoded and matched. What matches nothing ends here, counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use paramedic_engine::gather::{Head, next_source};
use paramedic_engine::{EventInput, write_input_id};
use paramedic_formats::Message;
use paramedic_model::{
    Digest, Event, InboxBody, InboxRow, Lane, NewInbox, Range, RawMessage, RecordView, Running, Status, Timestamp,
};
use paramedic_rulebook::{Evaluator, ScopeExpr};
use paramedic_store::{DeadLetter, Position};

use crate::live::Sets;
use crate::metrics::Metrics;
use crate::record::{Chunk, Gathered, Record};
use crate::source::Feed;

/// How much of an undecodable message is kept.
const KEEP_BYTES: usize = 64 << 10;

/// One input for the shard.
#[derive(Debug)]
pub enum Fed {
    /// An event that matched something, or a resolve.
    Event {
        /// Its stamp.
        stamp: Timestamp,
        /// Where its record is.
        place: Place,
        /// Its scope.
        scope: String,
        /// The event and what it matched.
        input: Box<EventInput>,
    },
    /// Events up to this stamp matched nothing: the clock has reached it.
    Reached(Timestamp),
    /// An inbox entry that holds no event.
    Inbox {
        /// Its stamp.
        stamp: Timestamp,
        /// The entry.
        entry: Box<NewInbox>,
    },
}

/// The record of an event.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its position's name.
    pub position: Arc<str>,
    /// Its offset.
    pub offset: i64,
    /// Which event of it.
    pub ordinal: usize,
    /// Its timestamp.
    pub at: Timestamp,
}

/// A batch, ready to be stepped.
#[derive(Debug, Default)]
pub struct Matched {
    /// One reading of the wall clock.
    pub cap: Timestamp,
    /// Whether the clock may move to `cap` at its end.
    pub tick: bool,
    /// Sources that are left out.
    pub blind: Vec<String>,
    /// In order.
    pub fed: Vec<Fed>,
    /// Stamp of the last event record, matching or not, where nothing else came after it.
    pub reached: Option<Timestamp>,
    /// What could not be decoded.
    pub dead: Vec<DeadLetter>,
    /// Digest of all input ids to its end.
    pub inputs: Running,
    /// What was taken, by position name.
    pub ranges: BTreeMap<String, Range>,
    /// Where the positions go.
    pub positions: BTreeMap<String, Position>,
    /// Sources that are new, and where they begin.
    pub begun: Vec<(String, Position)>,
    /// It can be joined to the batch before: every record is later than all of that, and none was clamped.
    pub joinable: bool,
}

/// The state of the matching stage.
pub struct Matcher {
    /// By the index that the gathering thread uses.
    pub feeds: Vec<Arc<Feed>>,
    /// Webhook sources by name, for messages from the inbox.
    pub webhooks: BTreeMap<String, Arc<Feed>>,
    /// Where rule sets come from.
    pub sets: Arc<Sets>,
    /// Of the active set.
    pub evaluator: Evaluator,
    /// The shard's clock, as far as it has been gathered.
    pub clock: Timestamp,
    /// Digest of all input ids so far.
    pub inputs: Running,
    /// For counters.
    pub metrics: Metrics,
    /// Open incidents may keep older rule sets: their `clear` may find what the active set does not.
    older_rules: bool,
    id: String,
    /// Matched and filtered events by source, told to the metrics once a batch.
    tallies: Vec<(String, (u64, u64))>,
}

impl Matcher {
    /// Goes on where the shard is.
    pub fn new(
        webhooks: BTreeMap<String, Arc<Feed>>,
        sets: Arc<Sets>,
        evaluator: Evaluator,
        clock: Timestamp,
        inputs: Running,
        metrics: Metrics,
        older_rules: bool,
    ) -> Self {
        metrics.rules_unindexed.set(unindexed(&evaluator));
        Self {
            feeds: Vec::new(),
            webhooks,
            sets,
            evaluator,
            clock,
            inputs,
            metrics,
            older_rules,
            id: String::new(),
            tallies: Vec::new(),
        }
    }

    /// Runs until nobody gives or takes batches any more.
    pub fn run(mut self, batches: &Receiver<Gathered>, feeds: &Receiver<Feed>, out: &Sender<Matched>) {
        for gathered in batches {
            self.feeds.extend(feeds.try_iter().map(Arc::new));
            let timer = self.metrics.stage.with_label_values(&["match"]).start_timer();
            let matched = self.batch(gathered);
            timer.observe_duration();
            if out.send(matched).is_err() {
                return;
            }
        }
    }

    /// Decodes and matches a batch, in the order that its records determine.
    pub fn batch(&mut self, gathered: Gathered) -> Matched {
        let cap = gathered.cap.max(self.clock);
        let mut out = Matched {
            cap,
            tick: gathered.tick,
            blind: gathered.blind,
            begun: gathered.begun,
            joinable: gathered.inbox.is_empty(),
            ..Matched::default()
        };
        let names: Vec<Arc<str>> = self.feeds.iter().map(|f| Arc::clone(&f.position)).collect();
        let mut next = vec![0usize; gathered.chunks.len()];
        let mut lanes: Vec<_> = gathered.inbox.iter().map(|(lane, rows)| (*lane, rows.iter().peekable())).collect();
        let before = self.clock;
        loop {
            let heads = gathered
                .chunks
                .iter()
                .zip(&next)
                .filter_map(|((feed, chunk), at)| Some((&*names[*feed], Head::Record(chunk.get(*at)?.at))))
                .chain(lanes.iter_mut().filter_map(|(lane, rows)| Some((lane.name(), inbox_head(rows.peek()?)))));
            let Some(name) = next_source(heads) else { break };
            if let Some((lane, rows)) = lanes.iter_mut().find(|(lane, _)| lane.name() == name) {
                if let Some(row) = rows.next() {
                    self.inbox_row(*lane, row, cap, &mut out);
                }
                continue;
            }
            let Some(which) = gathered.chunks.iter().position(|(feed, _)| *names[*feed] == *name) else { break };
            let (feed, chunk) = &gathered.chunks[which];
            if let Some(record) = chunk.get(next[which]) {
                out.joinable &= record.at > before && record.at <= cap;
                self.record(*feed, chunk, record, cap, &mut out);
            }
            next[which] += 1;
        }
        for (feed, chunk) in &gathered.chunks {
            moved(&names[*feed], chunk, &mut out);
        }
        for (lane, rows) in &gathered.inbox {
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else { continue };
            let (from, to) = (seq(first), seq(last) + 1);
            out.ranges.insert(lane.name().to_owned(), Range::of_inbox(from, to, rows));
            let position = Position { next: to, last_at: None, last_digest: None };
            out.positions.insert(lane.name().to_owned(), position);
        }
        if out.tick {
            self.clock = cap;
        }
        out.inputs = self.inputs.clone();
        let asked = self.evaluator.take_asked();
        self.metrics.conditions_asked.with_label_values(&["index"]).inc_by(asked.indexed);
        self.metrics.conditions_asked.with_label_values(&["always"]).inc_by(asked.unindexed);
        self.metrics.condition_scripts.inc_by(asked.scripts);
        self.tell_enrich_failures();
        for (source, (matched, filtered)) in self.tallies.drain(..) {
            self.metrics.inputs.with_label_values(&[source.as_str(), "matched"]).inc_by(matched);
            self.metrics.inputs.with_label_values(&[source.as_str(), "filtered"]).inc_by(filtered);
        }
        out
    }

    /// What `enrich` could not set is counted, and told with its place; the events went on as they were.
    fn tell_enrich_failures(&mut self) {
        let failed = self.evaluator.take_enrich_failures();
        self.metrics.enrich_failures.inc_by(failed.times);
        for (at, why) in failed.first {
            tracing::warn!(at, why, "a step of enrich failed; it sets nothing");
        }
    }

    fn record(&mut self, feed: usize, chunk: &Chunk, record: &Record, cap: Timestamp, out: &mut Matched) {
        let stamp = record.at.min(cap).max(self.clock);
        let headers: Vec<(&str, &[u8])> =
            record.headers.iter().flat_map(|h| h.iter().map(|(k, v)| (k.as_str(), v.as_slice()))).collect();
        let feed = Arc::clone(&self.feeds[feed]);
        let message = Message { source: &feed.source, headers: &headers, payload: chunk.payload(record), stamp };
        let place = Place { position: Arc::clone(&feed.position), offset: record.offset, ordinal: 0, at: record.at };
        self.message(&feed, message, place, out);
    }

    fn inbox_row(&mut self, lane: Lane, row: &InboxRow, cap: Timestamp, out: &mut Matched) {
        let stamp = match inbox_head(row) {
            Head::Operator => self.clock,
            Head::Record(at) => at.min(cap).max(self.clock),
        };
        match &row.entry.body {
            InboxBody::Message(raw) => self.webhook(lane, row, raw, stamp, out),
            InboxBody::Handed(event) => {
                self.clock = stamp;
                out.reached = Some(stamp);
                let place = Place { position: lane.name().into(), offset: seq(row), ordinal: 0, at: row.entry.at };
                self.event(lane.name(), Event::clone(event), ScopeOf::Given(&row.entry.scope), stamp, place, out);
            }
            body => {
                self.inputs.add(row.entry.id.as_bytes());
                self.clock = stamp;
                if let InboxBody::RulebooksPublished(set) = body
                    && let Some(set) = self.sets.get(*set)
                {
                    self.tell_enrich_failures();
                    self.evaluator = Evaluator::new(set);
                    self.metrics.rules_unindexed.set(unindexed(&self.evaluator));
                    self.older_rules = true;
                }
                let outcome = if body.is_operator() { "operator" } else { "report" };
                self.metrics.inputs.with_label_values(&[lane.name(), outcome]).inc();
                out.fed.extend(out.reached.take().map(Fed::Reached));
                out.fed.push(Fed::Inbox { stamp, entry: Box::new(row.entry.clone()) });
            }
        }
    }

    fn webhook(&mut self, lane: Lane, row: &InboxRow, raw: &RawMessage, stamp: Timestamp, out: &mut Matched) {
        let Some(feed) = self.webhooks.get(&raw.source).cloned() else {
            let reason = format!("no webhook source is named {:?} any more", raw.source);
            return self.dead(&raw.source, lane.name(), seq(row), reason, raw.body.as_bytes(), stamp, out);
        };
        let body = match paramedic_formats::webhook_body(raw) {
            Ok(body) => body,
            Err(e) => {
                return self.dead(&raw.source, lane.name(), seq(row), e.to_string(), raw.body.as_bytes(), stamp, out);
            }
        };
        let headers: Vec<(&str, &[u8])> = raw.headers.iter().map(|(k, v)| (k.as_str(), v.as_bytes())).collect();
        let message = Message { source: &raw.source, headers: &headers, payload: Some(&body), stamp };
        let place = Place { position: lane.name().into(), offset: seq(row), ordinal: 0, at: row.entry.at };
        self.message(&feed, message, place, out);
    }

    fn message(&mut self, feed: &Feed, message: Message<'_>, place: Place, out: &mut Matched) {
        let stamp = message.stamp;
        let mut events: Vec<Event<'_>> = Vec::with_capacity(1);
        if let Err(error) = (feed.format.decode)(message, &mut events) {
            let payload = message.payload.unwrap_or_default();
            return self.dead(&feed.source, &place.position, place.offset, error.to_string(), payload, stamp, out);
        }
        self.clock = stamp;
        out.reached = Some(stamp);
        for (ordinal, event) in events.into_iter().enumerate() {
            let scope = ScopeOf::Source(feed.scope.as_ref());
            self.event(&feed.source, event, scope, stamp, Place { ordinal, ..place.clone() }, out);
        }
    }

    /// One event, matched, and counted under a label.
    fn event(
        &mut self,
        label: &str,
        event: Event<'_>,
        scope: ScopeOf<'_>,
        stamp: Timestamp,
        place: Place,
        out: &mut Matched,
    ) {
        self.id.clear();
        write_input_id(&event, &mut self.id);
        self.inputs.add(self.id.as_bytes());
        let matches = self.evaluator.matches(&event);
        let nothing = matches.is_empty() && event.status == Status::Firing;
        let tally = tally_of(&mut self.tallies, label);
        if nothing {
            tally.1 += 1;
        } else {
            tally.0 += 1;
        }
        if nothing && !self.older_rules {
            return;
        }
        let scope = match scope {
            ScopeOf::Given(scope) => scope.to_owned(),
            ScopeOf::Source(Some(expr)) => expr.scope(&event).into_owned(),
            ScopeOf::Source(None) => "default".to_owned(),
        };
        let set = self.evaluator.set().digest;
        let input = Box::new(EventInput { event: event.into_owned(), matches, set });
        out.fed.push(Fed::Event { stamp, place, scope, input });
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a dead letter, which come from different places")]
    fn dead(
        &mut self,
        source: &str,
        position: &str,
        offset: i64,
        reason: String,
        bytes: &[u8],
        stamp: Timestamp,
        out: &mut Matched,
    ) {
        let digest = Digest::of_bytes(bytes);
        self.inputs.add(format!("dead|{digest}").as_bytes());
        self.clock = stamp;
        out.reached = Some(stamp);
        self.metrics.inputs.with_label_values(&[source, "dead_letter"]).inc();
        out.dead.push(DeadLetter {
            source: source.to_owned(),
            position: position.to_owned(),
            offset,
            reason,
            bytes: bytes[..bytes.len().min(KEEP_BYTES)].to_vec(),
            digest,
            length: bytes.len() as u64,
            at: stamp,
        });
    }
}

fn unindexed(evaluator: &Evaluator) -> i64 {
    i64::try_from(evaluator.unindexed_rules()).unwrap_or(i64::MAX)
}

/// In which scope an event is.
enum ScopeOf<'a> {
    /// In this one: whoever handed it on has found out.
    Given(&'a str),
    /// As its source's expression says; without one, in `default`.
    Source(Option<&'a ScopeExpr>),
}

fn tally_of<'t>(tallies: &'t mut Vec<(String, (u64, u64))>, source: &str) -> &'t mut (u64, u64) {
    let at = tallies.iter().position(|(s, _)| s == source).unwrap_or_else(|| {
        tallies.push((source.to_owned(), (0, 0)));
        tallies.len() - 1
    });
    &mut tallies[at].1
}

fn seq(row: &InboxRow) -> i64 {
    i64::try_from(row.seq).unwrap_or(i64::MAX)
}

fn inbox_head(row: &InboxRow) -> Head {
    if row.entry.body.is_operator() { Head::Operator } else { Head::Record(row.entry.at) }
}

fn moved(name: &str, chunk: &Chunk, out: &mut Matched) {
    let mut records = chunk.records();
    if let (Some(first), Some(last)) = (records.next(), chunk.last()) {
        let views = chunk.records().map(|r| RecordView {
            at: r.at,
            headers: r.headers.as_deref().unwrap_or_default(),
            payload: chunk.payload(r),
        });
        let range = Range::of(first.offset, last.next, views);
        let digest = Digest::of_bytes(chunk.payload(last).unwrap_or_default());
        out.ranges.insert(name.to_owned(), range);
        let position = Position { next: last.next, last_at: Some(last.at), last_digest: Some(digest) };
        out.positions.insert(name.to_owned(), position);
    }
}
