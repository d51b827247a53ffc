//! Repeats a live history from its sources and its journal, and says where it differs.
//!
//! A journal row names what a batch took and within which bounds it was stamped; the order inside the batch is a
//! function of that. So each record is fed as it was live:
//!
//! - of the heads of all sources the next one is [`next_source`]'s, an operator's act first;
//! - it is stamped with the record's timestamp within the batch's bounds, an operator's act with the shard's clock;
//! - bytes that cannot be decoded move the clock, and count as `dead|` and their SHA-256;
//! - each event counts, is matched under the set that is active then, and goes to the shard where it matched or
//!   is a resolve; else it moves the clock;
//! - an event in a scope that is at home in another shard was handed on: it counts and moves the clock, here no more;
//!   in its home's inbox it counts again, and is matched again;
//! - an inbox entry that is no message and no event goes to the shard as it is.
//!
//! Ranges of a position abut, from batch to batch, but for a person's `Rewind`: a record that was taken twice, or
//! never, is a difference.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use paramedic_engine::gather::{Head, next_source};
use paramedic_engine::{Finished, Limits, Shard, ShardConfig, event_input_id};
use paramedic_formats::{Format, Message};
use paramedic_model::{
    Digest, Event, InboxBody, InboxRow, JournalRow, Lane, NewInbox, OperatorAct, Range, RawMessage, RecordView,
    Timestamp, own_shard,
};
use paramedic_rulebook::{Evaluator, RuleSet, ScopeExpr};
use paramedic_store::{Store, StoreError};
use serde::Serialize;

use crate::DEFAULT_SCOPE;
use crate::feed::{dead_letter_id, feed};

/// Journal rows that are read at once.
const ROWS: usize = 256;

/// A record as its source still has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// Its position.
    pub offset: i64,
    /// Its record timestamp.
    pub timestamp: Timestamp,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its bytes; `None`: Kafka's null value.
    pub payload: Option<Vec<u8>>,
}

/// Where records are read again.
pub trait RecordSource {
    /// The records of a position (`kafka/TOPIC/PARTITION`, a file's...) from `range.from` to before `range.to`, in
    /// order. The inbox is not asked for: the store has it.
    ///
    /// # Errors
    /// Why they cannot be read.
    fn read(&mut self, position: &str, range: &Range) -> Result<Vec<SourceRecord>, String>;
}

/// How the messages of a source are read.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// Its configured name: part of input ids.
    pub source: String,
    /// Its format.
    pub format: &'static Format,
    /// Its scope expression; `None`: `default`.
    pub scope: Option<ScopeExpr>,
}

/// What is repeated, and what it needs besides store and sources.
pub struct JournalOptions<'a> {
    /// Which shard's history.
    pub shard: u32,
    /// The cluster's name, as it was live.
    pub cluster: String,
    /// The bounds, as they were live.
    pub limits: Limits,
    /// By position name. Messages in the inbox find theirs by the source's name; give such a source any position
    /// name, such as `inbox/NAME`.
    pub sources: &'a BTreeMap<String, SourceSpec>,
    /// Compiles a rule set that the store keeps.
    pub load_set: &'a dyn Fn(Digest) -> Option<Arc<RuleSet>>,
}

/// Where a repeated history first differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The batch.
    pub batch: u64,
    /// What is not as it was.
    pub what: String,
}

/// What a repetition came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JournalReport {
    /// Batches repeated, the one that differs among them.
    pub batches: u64,
    /// Events decoded.
    pub events: u64,
    /// Events with at least one match.
    pub matched: u64,
    /// Messages that could not be decoded.
    pub dead_letter: u64,
    /// Of all input ids.
    pub inputs_digest: Digest,
    /// Of all decisions to the last event's input.
    pub decisions_digest: Digest,
    /// `None`: it is the same to the last batch.
    pub differs: Option<Difference>,
}

/// Why a history cannot be repeated at all.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store cannot be read.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// The journal's beginning is not kept any more.
    #[error(
        "the journal of shard {shard} begins with batch {first}: only a history that is kept whole can be repeated"
    )]
    Beginning {
        /// Which shard.
        shard: u32,
        /// Its first batch that is kept.
        first: u64,
    },
    /// A source's records cannot be read.
    #[error("batch {batch}: {position}: {why}")]
    Source {
        /// Of which batch.
        batch: u64,
        /// Of which position.
        position: String,
        /// Why.
        why: String,
    },
    /// Nothing says how to read a source.
    #[error("batch {batch}: no source is configured for {name:?}")]
    Unconfigured {
        /// In which batch.
        batch: u64,
        /// A position.
        name: String,
    },
    /// A rule set is not there any more, or does not load.
    #[error("batch {batch}: rule set {set} cannot be loaded")]
    RuleSet {
        /// In which batch.
        batch: u64,
        /// Which.
        set: Digest,
    },
}

/// Repeats the history of a shard. `progress` is told the number of batches done.
///
/// # Errors
/// When something that it needs cannot be had. A difference is a result.
pub fn replay_journal(
    store: &dyn Store,
    records: &mut dyn RecordSource,
    options: &JournalOptions<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<JournalReport, JournalError> {
    let mut report = JournalReport::default();
    let mut again: Option<Again<'_>> = None;
    let mut from = 1;
    loop {
        let rows = store.journal(options.shard, from, ROWS)?;
        let Some(last) = rows.last() else { return Ok(report) };
        from = last.batch + 1;
        for row in &rows {
            let again = match &mut again {
                Some(again) => again,
                None if row.batch == 1 => again.insert(Again::new(options, row.set)),
                None => return Err(JournalError::Beginning { shard: options.shard, first: row.batch }),
            };
            report.batches += 1;
            if let Some(what) = again.repeat(store, records, row, &mut report)? {
                report.differs = Some(Difference { batch: row.batch, what });
                return Ok(report);
            }
            progress(report.batches);
        }
    }
}

/// The next input of a source.
enum Item {
    Record(SourceRecord),
    Inbox(InboxRow),
}

impl Item {
    fn head(&self) -> Head {
        match self {
            Item::Record(record) => Head::Record(record.timestamp),
            Item::Inbox(row) if row.entry.body.is_operator() => Head::Operator,
            Item::Inbox(row) => Head::Record(row.entry.at),
        }
    }
}

/// A message of any source.
struct Raw<'a> {
    spec: &'a SourceSpec,
    headers: &'a [(&'a str, &'a [u8])],
    payload: Option<&'a [u8]>,
}

/// The shard, once more.
struct Again<'a> {
    options: &'a JournalOptions<'a>,
    shard: Shard,
    evaluators: BTreeMap<Digest, Evaluator>,
    /// Where the next range of a position has to begin; none before its first, and after a rewind.
    next: BTreeMap<String, i64>,
    /// Where scopes are at home, as far as it was asked.
    homes: BTreeMap<String, Option<u32>>,
}

impl<'a> Again<'a> {
    fn new(options: &'a JournalOptions<'a>, set: Digest) -> Self {
        let config = ShardConfig { cluster: options.cluster.clone(), shard: options.shard, limits: options.limits };
        let shard = Shard::restore(config, 1, None, set, vec![]);
        Self { options, shard, evaluators: BTreeMap::new(), next: BTreeMap::new(), homes: BTreeMap::new() }
    }

    /// Repeats a batch; says what differs.
    fn repeat(
        &mut self,
        store: &dyn Store,
        records: &mut dyn RecordSource,
        row: &JournalRow,
        report: &mut JournalReport,
    ) -> Result<Option<String>, JournalError> {
        if self.shard.clock() > row.floor {
            return Ok(Some(format!("it began at {}, repeated at {}", row.floor, self.shard.clock())));
        }
        self.learn(row.batch, row.set)?;
        self.shard.resume(row.set, row.floor);
        self.shard.begin(row.cap, row.blind.clone());
        let mut queues = BTreeMap::new();
        for (name, range) in &row.ranges {
            if let Some(next) = self.next.insert(name.clone(), range.to).filter(|next| *next != range.from) {
                return Ok(Some(format!("{name} goes on from {}, it had been taken to {next}", range.from)));
            }
            let items = self.read(store, records, row.batch, name, range)?;
            let now = range_of(range, &items);
            if now.delivered != range.delivered {
                return Ok(Some(format!(
                    "{name} delivered {} records, {} are there now",
                    range.delivered, now.delivered
                )));
            }
            if now != *range {
                return Ok(Some(format!("{name}: a record from {} to before {} was altered", range.from, range.to)));
            }
            queues.insert(name.clone(), items);
        }
        while let Some((name, item)) = take_next(&mut queues) {
            self.take(store, row.batch, &name, item, report)?;
        }
        if row.tick {
            self.shard.tick();
        }
        let finished = self.shard.finish(row.ranges.clone());
        if paramedic_model::faults::planted("replay_acts") {
            for order in finished.changes.iter().flat_map(|changes| &changes.outbox) {
                let act = OperatorAct::Resume { reason: "sent again".to_owned() };
                let body = InboxBody::Operator { by: "replay".to_owned(), act };
                let (id, scope) = (format!("again|{}", order.key), order.scope.clone());
                store.inbox_append(&[NewInbox { id, scope, at: row.end, body }])?;
            }
        }
        report.inputs_digest = finished.journal.inputs.digest();
        report.decisions_digest = finished.journal.decisions;
        Ok(difference(row, &finished))
    }

    fn learn(&mut self, batch: u64, set: Digest) -> Result<(), JournalError> {
        if !self.evaluators.contains_key(&set) {
            let loaded = (self.options.load_set)(set).ok_or(JournalError::RuleSet { batch, set })?;
            self.shard.learn(Arc::clone(&loaded));
            self.evaluators.insert(set, Evaluator::new(loaded));
        }
        Ok(())
    }

    fn read(
        &self,
        store: &dyn Store,
        records: &mut dyn RecordSource,
        batch: u64,
        name: &str,
        range: &Range,
    ) -> Result<VecDeque<Item>, JournalError> {
        if let Some(lane) = Lane::from_name(name) {
            let mut from = u64::try_from(range.from).unwrap_or(0);
            let to = u64::try_from(range.to).unwrap_or(0);
            let shard = self.options.shard;
            let mut items = VecDeque::new();
            // One read is bounded by bytes: a short one is not the end.
            while from < to {
                let rows = store.inbox_read(shard, lane, from, usize::try_from(to - from).unwrap_or(usize::MAX))?;
                let Some(last) = rows.last() else { break };
                from = last.seq + 1;
                items.extend(rows.into_iter().take_while(|row| row.seq < to).map(Item::Inbox));
            }
            return Ok(items);
        }
        match records.read(name, range) {
            Ok(records) => Ok(records.into_iter().map(Item::Record).collect()),
            Err(why) => Err(JournalError::Source { batch, position: name.to_owned(), why }),
        }
    }

    fn take(
        &mut self,
        store: &dyn Store,
        batch: u64,
        name: &str,
        item: Item,
        report: &mut JournalReport,
    ) -> Result<(), JournalError> {
        let stamp = match item.head() {
            Head::Operator => self.shard.clock(),
            Head::Record(timestamp) => self.shard.stamp(timestamp),
        };
        match item {
            Item::Record(record) => {
                let spec = self.options.sources.get(name);
                let spec = spec.ok_or_else(|| JournalError::Unconfigured { batch, name: name.to_owned() })?;
                let headers: Vec<(&str, &[u8])> =
                    record.headers.iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect();
                let raw = Raw { spec, headers: &headers, payload: record.payload.as_deref() };
                self.message(store, batch, stamp, &raw, report)
            }
            Item::Inbox(row) => match &row.entry.body {
                InboxBody::Message(message) => self.inbox_message(store, batch, stamp, message, report),
                InboxBody::Handed(event) => {
                    report.events += 1;
                    self.event(store, batch, stamp, &row.entry.scope, (**event).clone(), report)
                }
                body => {
                    // Its scope had no home when it was appended, and has found one elsewhere since.
                    if self.is_elsewhere(store, &row.entry.scope)? {
                        self.shard.count_input(row.entry.id.as_bytes());
                        return Ok(());
                    }
                    match body {
                        InboxBody::RulebooksPublished(set) => self.learn(batch, *set)?,
                        InboxBody::Operator { act: OperatorAct::Rewind { position, .. }, .. } => {
                            self.next.remove(position);
                        }
                        _ => {}
                    }
                    self.shard.inbox(stamp, &row.entry);
                    Ok(())
                }
            },
        }
    }

    fn inbox_message(
        &mut self,
        store: &dyn Store,
        batch: u64,
        stamp: Timestamp,
        message: &RawMessage,
        report: &mut JournalReport,
    ) -> Result<(), JournalError> {
        let spec = self.options.sources.values().find(|spec| spec.source == message.source);
        // As live: a message for a webhook that is no more, or whose body is not what the server writes.
        let (Some(spec), Ok(payload)) = (spec, paramedic_formats::webhook_body(message)) else {
            self.dead(stamp, message.body.as_bytes(), report);
            return Ok(());
        };
        let headers: Vec<(&str, &[u8])> = message.headers.iter().map(|(k, v)| (k.as_str(), v.as_bytes())).collect();
        self.message(store, batch, stamp, &Raw { spec, headers: &headers, payload: Some(&payload) }, report)
    }

    fn dead(&mut self, stamp: Timestamp, payload: &[u8], report: &mut JournalReport) {
        report.dead_letter += 1;
        self.shard.reach(stamp);
        self.shard.count_input(dead_letter_id(payload).as_bytes());
    }

    fn message(
        &mut self,
        store: &dyn Store,
        batch: u64,
        stamp: Timestamp,
        raw: &Raw<'_>,
        report: &mut JournalReport,
    ) -> Result<(), JournalError> {
        let message = Message { source: &raw.spec.source, headers: raw.headers, payload: raw.payload, stamp };
        let mut events = Vec::new();
        if (raw.spec.format.decode)(message, &mut events).is_err() {
            self.dead(stamp, raw.payload.unwrap_or_default(), report);
            return Ok(());
        }
        for event in events {
            report.events += 1;
            let scope = match &raw.spec.scope {
                Some(expr) => expr.scope(&event).into_owned(),
                None => DEFAULT_SCOPE.to_owned(),
            };
            self.event(store, batch, stamp, &scope, event, report)?;
        }
        Ok(())
    }

    /// Matches an event, and feeds it to its scope where that is at home here.
    fn event(
        &mut self,
        store: &dyn Store,
        batch: u64,
        stamp: Timestamp,
        scope: &str,
        event: Event<'_>,
        report: &mut JournalReport,
    ) -> Result<(), JournalError> {
        if self.is_elsewhere(store, scope)? {
            self.shard.reach(stamp);
            self.shard.count_input(event_input_id(&event).as_bytes());
            return Ok(());
        }
        let active = self.shard.active();
        let evaluator = self.evaluators.get_mut(&active).ok_or(JournalError::RuleSet { batch, set: active })?;
        report.matched += u64::from(feed(&mut self.shard, evaluator, stamp, scope, event));
        Ok(())
    }

    /// Whether a scope is at home in another shard. A scope never moves; one without a home was never stepped.
    fn is_elsewhere(&mut self, store: &dyn Store, scope: &str) -> Result<bool, JournalError> {
        if let Some(own) = own_shard(scope) {
            return Ok(own != self.options.shard);
        }
        let home = match self.homes.get(scope) {
            Some(home) => *home,
            None => {
                let home = store.scope_home(scope)?;
                self.homes.insert(scope.to_owned(), home);
                home
            }
        };
        Ok(home.is_some_and(|home| home != self.options.shard))
    }
}

/// What the journal would say of these records.
fn range_of(range: &Range, items: &VecDeque<Item>) -> Range {
    let rows: Vec<InboxRow> =
        items.iter().filter_map(|i| if let Item::Inbox(row) = i { Some(row.clone()) } else { None }).collect();
    if rows.is_empty() {
        let views = items.iter().filter_map(|i| match i {
            Item::Record(r) => Some(RecordView { at: r.timestamp, headers: &r.headers, payload: r.payload.as_deref() }),
            Item::Inbox(_) => None,
        });
        Range::of(range.from, range.to, views)
    } else {
        Range::of_inbox(range.from, range.to, &rows)
    }
}

fn take_next(queues: &mut BTreeMap<String, VecDeque<Item>>) -> Option<(String, Item)> {
    let heads = queues.iter().filter_map(|(name, items)| Some((name.as_str(), items.front()?.head())));
    let name = next_source(heads)?.to_owned();
    let item = queues.get_mut(&name)?.pop_front()?;
    Some((name, item))
}

fn difference(row: &JournalRow, finished: &Finished) -> Option<String> {
    let now = &finished.journal;
    let (was_inputs, inputs) = (row.inputs.digest(), now.inputs.digest());
    let checks = [
        ("batch number", row.batch.to_string(), now.batch.to_string()),
        ("inputs digest", was_inputs.to_string(), inputs.to_string()),
        ("decisions digest at the last event", row.decisions.to_string(), now.decisions.to_string()),
        ("decisions digest at the end", row.decisions_end.to_string(), now.decisions_end.to_string()),
        ("clock at the end", row.end.to_string(), now.end.to_string()),
    ];
    checks.into_iter().find(|(_, was, is)| was != is).map(|(what, was, is)| format!("{what}: {was} then, {is} now"))
}
