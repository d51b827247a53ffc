//! The matching stage: records in their order, decoded and matched. What matches nothing ends here, counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use paramedic_engine::gather::{Head, next_source};
use paramedic_engine::{EventInput, write_input_id};
use paramedic_formats::Message;
use paramedic_model::{
    Digest, Event, InboxBody, InboxRow, NewInbox, Range, RawMessage, RecordView, Running, Status, Timestamp,
};
use paramedic_rulebook::Evaluator;
use paramedic_store::{DeadLetter, Position};

use crate::live::Sets;
use crate::metrics::Metrics;
use crate::record::{Chunk, Gathered, Record};
use crate::source::Feed;

/// The name of the inbox among positions.
pub const INBOX: &str = "inbox";
/// How much of an undecodable message is kept.
const KEEP_BYTES: usize = 64 << 10;

/// One input for the shard.
#[derive(Debug)]
pub enum Fed {
    /// An event that matched something, or a resolve.
    Event {
        /// Its stamp.
        stamp: Timestamp,
        /// Its scope.
        scope: String,
        /// The event and what it matched.
        input: Box<EventInput>,
    },
    /// Events up to this stamp matched nothing: the clock has reached it.
    Reached(Timestamp),
    /// An inbox entry that is no message.
    Inbox {
        /// Its stamp.
        stamp: Timestamp,
        /// The entry.
        entry: Box<NewInbox>,
    },
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
        let mut out = Matched { cap, tick: gathered.tick, blind: gathered.blind, joinable: true, ..Matched::default() };
        out.joinable = gathered.inbox.is_empty();
        let names: Vec<String> = self.feeds.iter().map(|f| f.position.clone()).collect();
        let mut next = vec![0usize; gathered.chunks.len()];
        let mut inbox = gathered.inbox.iter().peekable();
        let before = self.clock;
        loop {
            let heads = gathered
                .chunks
                .iter()
                .zip(&next)
                .filter_map(|((feed, chunk), at)| Some((names[*feed].as_str(), Head::Record(chunk.get(*at)?.at))))
                .chain(inbox.peek().map(|row| (INBOX, inbox_head(row))));
            let Some(name) = next_source(heads) else { break };
            if name == INBOX {
                if let Some(row) = inbox.next() {
                    self.inbox_row(row, cap, &mut out);
                }
                continue;
            }
            let Some(which) = gathered.chunks.iter().position(|(feed, _)| names[*feed] == name) else { break };
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
        if let (Some(first), Some(last)) = (gathered.inbox.first(), gathered.inbox.last()) {
            let (from, to) = (seq(first), seq(last) + 1);
            let range = Range::of_inbox(from, to, &gathered.inbox);
            out.ranges.insert(INBOX.to_owned(), range);
            out.positions.insert(INBOX.to_owned(), Position { next: to, last_at: None, last_digest: None });
        }
        if out.tick {
            self.clock = cap;
        }
        out.inputs = self.inputs.clone();
        for (source, (matched, filtered)) in self.tallies.drain(..) {
            self.metrics.inputs.with_label_values(&[source.as_str(), "matched"]).inc_by(matched);
            self.metrics.inputs.with_label_values(&[source.as_str(), "filtered"]).inc_by(filtered);
        }
        out
    }

    fn record(&mut self, feed: usize, chunk: &Chunk, record: &Record, cap: Timestamp, out: &mut Matched) {
        let stamp = record.at.min(cap).max(self.clock);
        let headers: Vec<(&str, &[u8])> =
            record.headers.iter().flat_map(|h| h.iter().map(|(k, v)| (k.as_str(), v.as_slice()))).collect();
        let feed = Arc::clone(&self.feeds[feed]);
        let message = Message { source: &feed.source, headers: &headers, payload: chunk.payload(record), stamp };
        self.message(&feed, message, record.offset, out);
    }

    fn inbox_row(&mut self, row: &InboxRow, cap: Timestamp, out: &mut Matched) {
        let stamp = match inbox_head(row) {
            Head::Operator => self.clock,
            Head::Record(at) => at.min(cap).max(self.clock),
        };
        match &row.entry.body {
            InboxBody::Message(raw) => self.webhook(row, raw, stamp, out),
            body => {
                self.inputs.add(row.entry.id.as_bytes());
                self.clock = stamp;
                if let InboxBody::RulebooksPublished(set) = body
                    && let Some(set) = self.sets.get(*set)
                {
                    self.evaluator = Evaluator::new(set);
                    self.older_rules = true;
                }
                let outcome = if body.is_operator() { "operator" } else { "report" };
                self.metrics.inputs.with_label_values(&[INBOX, outcome]).inc();
                out.fed.extend(out.reached.take().map(Fed::Reached));
                out.fed.push(Fed::Inbox { stamp, entry: Box::new(row.entry.clone()) });
            }
        }
    }

    fn webhook(&mut self, row: &InboxRow, raw: &RawMessage, stamp: Timestamp, out: &mut Matched) {
        let Some(feed) = self.webhooks.get(&raw.source).cloned() else {
            let reason = format!("no webhook source is named {:?} any more", raw.source);
            return self.dead(&raw.source, INBOX, seq(row), reason, raw.body.as_bytes(), stamp, out);
        };
        let body = match paramedic_formats::webhook_body(raw) {
            Ok(body) => body,
            Err(e) => return self.dead(&raw.source, INBOX, seq(row), e.to_string(), raw.body.as_bytes(), stamp, out),
        };
        let headers: Vec<(&str, &[u8])> = raw.headers.iter().map(|(k, v)| (k.as_str(), v.as_bytes())).collect();
        let message = Message { source: &raw.source, headers: &headers, payload: Some(&body), stamp };
        self.message(&feed, message, seq(row), out);
    }

    fn message(&mut self, feed: &Feed, message: Message<'_>, offset: i64, out: &mut Matched) {
        let stamp = message.stamp;
        let mut events: Vec<Event<'_>> = Vec::with_capacity(1);
        if let Err(error) = (feed.format.decode)(message, &mut events) {
            let position = feed.position.as_str();
            let payload = message.payload.unwrap_or_default();
            return self.dead(&feed.source, position, offset, error.to_string(), payload, stamp, out);
        }
        self.clock = stamp;
        out.reached = Some(stamp);
        let tally = tally_of(&mut self.tallies, &feed.source);
        for event in events {
            self.id.clear();
            write_input_id(&event, &mut self.id);
            self.inputs.add(self.id.as_bytes());
            let matches = self.evaluator.matches(&event);
            let nothing = matches.is_empty() && event.status == Status::Firing;
            if nothing {
                tally.1 += 1;
            } else {
                tally.0 += 1;
            }
            if nothing && !self.older_rules {
                continue;
            }
            let scope = feed.scope.as_ref().map_or("default".into(), |s| s.scope(&event)).into_owned();
            let set = self.evaluator.set().digest;
            let input = Box::new(EventInput { event: event.into_owned(), matches, set });
            out.fed.push(Fed::Event { stamp, scope, input });
        }
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
