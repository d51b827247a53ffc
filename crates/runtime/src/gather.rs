//! The gathering thread: takes what the sources have, in an order that can be repeated, and hands it on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use paramedic_model::faults::point;
use paramedic_model::{InboxBody, InboxRow, Lane, NEVER_REACHED, NewInbox, Span, Timestamp, own_scope};
use paramedic_store::{Position, Store};

use crate::clock::wall;
use crate::metrics::Metrics;
use crate::record::{BUFFER_BYTES, Chunk, Gathered};
use crate::shared::{Stop, Troubles};
use crate::source::{Reader, Standing};

/// For so long the clock does not tick on without a source that is away. Whatever else moves it meanwhile, what is decided
/// is blind to that source.
const BLIND_AFTER: Span = Span::from_secs(60);
/// Lines of a file have no time of their own: they wait while others catch up from further back than this.
const NEARLY_NOW: Span = Span::from_secs(10);
/// How long the thread sleeps when nothing wakes it.
const NAP: Duration = Duration::from_millis(5);
/// Ticks come at least this often.
const TICK: Span = Span::from_millis(50);
/// Inbox rows of a batch, at most.
const MAX_INBOX: usize = 2_000;
/// Records that are taken between two looks at how many bytes a buffer holds.
const SLICE: usize = 64;
/// What a CMDB delta counts for: it came in a body of at most this size.
const CMDB_BYTES: usize = 1 << 20;

/// Everything that the gathering thread works with.
pub struct Gatherer {
    /// Whose sources and inbox.
    pub shard: u32,
    /// The inbox is read from it.
    pub store: Arc<dyn Store>,
    /// [`Store::ends_lost`] when the shard was loaded.
    pub ends_lost: u64,
    /// Where the lanes of the inbox go on.
    pub lanes: Vec<LaneReader>,
    /// Readers that arrive once their broker answers.
    pub arriving: Receiver<Box<dyn Reader>>,
    /// How many are still to arrive; until then the clock does not tick (for a while).
    pub awaited: Arc<AtomicUsize>,
    /// Records a batch, at most.
    pub max_events: usize,
    /// For what is behind and what is down.
    pub metrics: Metrics,
    /// Set to stop.
    pub stop: Stop,
    /// What is not right with the sources, for /ready.
    pub troubles: Troubles,
    /// Positions of sources that the shard has an open incident about, because they were stopped.
    pub stopped: BTreeSet<String>,
}

/// One lane of the inbox, as far as it was read.
pub struct LaneReader {
    lane: Lane,
    next: u64,
    rows: Vec<InboxRow>,
}

impl LaneReader {
    /// Both lanes, where the store's positions are.
    pub fn all(positions: &BTreeMap<String, Position>) -> Vec<Self> {
        let next = |lane: Lane| positions.get(lane.name()).map_or(1, |p| u64::try_from(p.next).unwrap_or(1));
        Lane::ALL.into_iter().map(|lane| Self { lane, next: next(lane), rows: Vec::new() }).collect()
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= MAX_INBOX || self.rows.iter().map(bytes_of).sum::<usize>() >= BUFFER_BYTES
    }

    /// Rows up to the horizon, in order: the first that must wait holds back the rest. People's acts do not wait.
    fn ready(&mut self, horizon: Option<Timestamp>) -> Vec<InboxRow> {
        let waits = |row: &InboxRow| !row.entry.body.is_operator() && horizon.is_some_and(|h| row.entry.at > h);
        let ready = self.rows.iter().position(waits).unwrap_or(self.rows.len());
        self.rows.drain(..ready).collect()
    }
}

struct Slot {
    reader: Box<dyn Reader>,
    buffer: Chunk,
    /// Timestamp of the last record that was read: none before it is still unseen.
    seen: Timestamp,
    reported: Option<String>,
}

impl Slot {
    /// How many more records it may hold.
    fn room(&self, max_events: usize) -> usize {
        if self.buffer.bytes_len() >= BUFFER_BYTES { 0 } else { max_events.saturating_sub(self.buffer.len()) }
    }

    /// Fills the buffer up to its bounds; true when anything came. A full one's reader is called all the same: it
    /// may have a connection to look after.
    fn fill(&mut self, max_events: usize, now: Timestamp) -> bool {
        let before = self.buffer.len();
        loop {
            let most = self.room(max_events).min(SLICE);
            let wanted = self.buffer.len() + most;
            self.reader.take(&mut self.buffer, most, now);
            if most == 0 || self.buffer.len() < wanted {
                break;
            }
        }
        let took = self.buffer.len() > before;
        if took {
            self.seen = self.buffer.last().map_or(self.seen, |r| r.at);
        }
        took
    }

    /// Up to which time it holds others back. A full buffer takes no later record that could release its own:
    /// all of it may go.
    fn horizon(&self, max_events: usize) -> Timestamp {
        if self.room(max_events) > 0 {
            return self.seen;
        }
        self.buffer.records().map(|r| r.at).fold(self.seen, Timestamp::max)
    }
}

impl Gatherer {
    /// Runs until it is told to stop, or nobody takes batches any more.
    pub fn run(mut self, out: &Sender<Gathered>, feeds: &Sender<crate::source::Feed>) {
        let mut slots: Vec<Slot> = Vec::new();
        self.gather(&mut slots, out, feeds);
        // Another engine may read them from here on: what is behind there is not for this one to tell.
        for slot in &slots {
            let feed = slot.reader.feed();
            let labels = [feed.source.as_str(), &*feed.position];
            let _ = self.metrics.lag.remove_label_values(&labels);
            let _ = self.metrics.source_down.remove_label_values(&labels);
            self.troubles.set(&feed.position, None);
        }
    }

    fn gather(&mut self, slots: &mut Vec<Slot>, out: &Sender<Gathered>, feeds: &Sender<crate::source::Feed>) {
        let mut ask_inbox = Instant::now();
        let mut last_tick = wall();
        let started = wall();
        while !self.stop.asked() {
            let mut begun = Vec::new();
            while let Ok(mut reader) = self.arriving.try_recv() {
                if feeds.send(reader.feed().clone()).is_err() {
                    return;
                }
                reader.wake(thread::current());
                begun.extend(reader.begun().map(|position| (reader.feed().position.to_string(), position)));
                slots.push(Slot { reader, buffer: Chunk::default(), seen: Timestamp::EPOCH, reported: None });
            }
            let now = wall();
            let took = self.take(slots, &mut ask_inbox, now);
            if self.store.ends_lost() != self.ends_lost {
                tracing::warn!(
                    shard = self.shard,
                    "the store may lack its end: the shard begins again from what is there"
                );
                return;
            }
            let mut batch = self.assemble(slots, now, started, &mut last_tick);
            batch.begun = begun;
            if batch.is_empty() && !batch.tick {
                thread::park_timeout(NAP);
                continue;
            }
            point("gather.taken");
            if !self.hand_over(batch, out, slots, &mut ask_inbox) {
                return;
            }
            if !took {
                thread::park_timeout(NAP);
            }
        }
    }

    /// Takes what is there; true when anything was.
    fn take(&mut self, slots: &mut [Slot], ask_inbox: &mut Instant, now: Timestamp) -> bool {
        let mut took = false;
        for slot in slots.iter_mut() {
            took |= slot.fill(self.max_events, now);
            self.report(slot, now);
        }
        let asked = Instant::now();
        if asked < *ask_inbox {
            return took;
        }
        let mut news = false;
        for lane in self.lanes.iter_mut().filter(|lane| !lane.is_full()) {
            match self.store.inbox_read(self.shard, lane.lane, lane.next, MAX_INBOX - lane.rows.len()) {
                Ok(rows) => {
                    news |= !rows.is_empty();
                    lane.next = rows.last().map_or(lane.next, |r| r.seq + 1);
                    lane.rows.extend(rows);
                }
                Err(error) => tracing::error!(%error, shard = self.shard, "the inbox cannot be read"),
            }
        }
        *ask_inbox = if news { asked } else { asked + self.store.inbox_pause().to_std() };
        took || news
    }

    fn report(&mut self, slot: &mut Slot, now: Timestamp) {
        let standing = slot.reader.standing();
        let feed = slot.reader.feed();
        if let Some(lag) = slot.reader.lag() {
            self.metrics.lag.with_label_values(&[feed.source.as_str(), &*feed.position]).set(lag);
        }
        let body = match &standing {
            Standing::Stopped(why) if !self.stopped.contains(&*feed.position) => {
                let (source, position) = (feed.source.clone(), feed.position.to_string());
                Some(InboxBody::SourceStopped { source, position, why: why.clone() })
            }
            // One that must be stopped again is so at its first record.
            Standing::Behind | Standing::AtEnd
                if self.stopped.contains(&*feed.position)
                    && (slot.seen > Timestamp::EPOCH || standing == Standing::AtEnd) =>
            {
                Some(InboxBody::SourceBack { source: feed.source.clone(), position: feed.position.to_string() })
            }
            _ => None,
        };
        if let Some(body) = body {
            let position = Arc::clone(&feed.position);
            self.tell(&position, body, now);
        }
        let feed = slot.reader.feed();
        let trouble = match standing {
            Standing::Stopped(why) => Some(why),
            Standing::Away(since) => Some(format!("{}: away since {since}", feed.position)),
            Standing::Behind | Standing::AtEnd => None,
        };
        if trouble != slot.reported {
            let down = i64::from(trouble.is_some());
            let labels = [feed.source.as_str(), &*feed.position];
            self.metrics.source_down.with_label_values(&labels).set(down);
            match &trouble {
                Some(why) => tracing::error!(source = feed.source, why, "source is down"),
                None => tracing::info!(source = feed.source, "source is back"),
            }
            self.troubles.set(&feed.position, trouble.clone());
            slot.reported = trouble;
        }
    }

    /// A source was stopped, or is back: people are told by an incident of the shard's own. Until the store has taken
    /// that, it is told again.
    fn tell(&mut self, position: &str, body: InboxBody, now: Timestamp) {
        let is_stop = matches!(body, InboxBody::SourceStopped { .. });
        let word = if is_stop { "stopped" } else { "back" };
        let id = format!("source {word}|{position}|{}", now.as_nanos());
        let entry = NewInbox { id, scope: own_scope(self.shard), at: now, body };
        match self.store.inbox_append(&[entry]) {
            Ok(_) if is_stop => {
                self.stopped.insert(position.to_owned());
            }
            Ok(_) => {
                self.stopped.remove(position);
            }
            Err(error) => tracing::error!(%error, position, "that a source is {word} cannot be told"),
        }
    }

    /// What may be stepped now: records up to the time to which every source that is behind has been read.
    fn assemble(
        &mut self,
        slots: &mut [Slot],
        now: Timestamp,
        started: Timestamp,
        last_tick: &mut Timestamp,
    ) -> Gathered {
        let Look { horizon, mut all_at_end, mut blind } = look(slots, self.max_events, now);
        if self.awaited.load(Ordering::Acquire) > slots.len() {
            blind.push(NEVER_REACHED.to_owned());
            all_at_end &= now.since(started) >= BLIND_AFTER;
        }
        let chunks: Vec<(usize, Chunk)> = slots
            .iter_mut()
            .enumerate()
            .map(|(i, slot)| {
                let timeless = slot.seen == Timestamp::MAX && horizon.is_none_or(|h| now.since(h) < NEARLY_NOW);
                (i, slot.buffer.take_until(horizon.filter(|_| !timeless)))
            })
            .filter(|(_, chunk)| !chunk.is_empty())
            .collect();
        let inbox: Vec<(Lane, Vec<InboxRow>)> = self
            .lanes
            .iter_mut()
            .map(|lane| (lane.lane, lane.ready(horizon)))
            .filter(|(_, rows)| !rows.is_empty())
            .collect();
        let left = slots.iter().any(|s| !s.buffer.is_empty());
        let mut tick = all_at_end && !left;
        if tick && chunks.is_empty() && inbox.is_empty() {
            // An idle clock moves in small steps, not in every turn of the loop.
            tick = now.since(*last_tick) >= TICK;
        }
        if tick {
            *last_tick = now;
        }
        // Several partitions of one source are one.
        blind.sort_unstable();
        blind.dedup();
        Gathered { cap: now, chunks, inbox, begun: Vec::new(), tick, blind }
    }

    /// Hands a batch on. While the pipeline is busy the batch may still grow: a bigger batch costs less a record.
    fn hand_over(
        &mut self,
        mut batch: Gathered,
        out: &Sender<Gathered>,
        slots: &mut [Slot],
        ask_inbox: &mut Instant,
    ) -> bool {
        loop {
            match out.try_send(batch) {
                Ok(()) => return true,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) => batch = back,
            }
            if self.stop.asked() {
                return false;
            }
            // Read ahead into the buffers, up to their bound, then wait for room.
            let took = self.take(slots, ask_inbox, wall());
            if !took {
                match out.send_timeout(batch, Duration::from_millis(20)) {
                    Ok(()) => return true,
                    Err(crossbeam_channel::SendTimeoutError::Disconnected(_)) => return false,
                    Err(crossbeam_channel::SendTimeoutError::Timeout(back)) => batch = back,
                }
            }
        }
    }
}

/// What the sources say together.
struct Look {
    /// Up to which every source that is behind has been read.
    horizon: Option<Timestamp>,
    /// None is behind, and none has been away for a short while only.
    all_at_end: bool,
    /// Those that are away or stopped.
    blind: Vec<String>,
}

fn look(slots: &[Slot], max_events: usize, now: Timestamp) -> Look {
    let mut seen = Look { horizon: None, all_at_end: true, blind: Vec::new() };
    for slot in slots {
        match slot.reader.standing() {
            Standing::Behind => {
                seen.all_at_end = false;
                let own = slot.horizon(max_events);
                seen.horizon = Some(seen.horizon.map_or(own, |h| h.min(own)));
            }
            Standing::AtEnd => {}
            Standing::Stopped(_) => seen.blind.push(slot.reader.feed().source.clone()),
            Standing::Away(since) => {
                seen.blind.push(slot.reader.feed().source.clone());
                seen.all_at_end &= now.since(since) >= BLIND_AFTER;
            }
        }
    }
    seen
}

/// What a row takes in memory, about.
fn bytes_of(row: &InboxRow) -> usize {
    match &row.entry.body {
        InboxBody::Message(message) => message.body.len(),
        InboxBody::Cmdb(_) => CMDB_BYTES,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Feed;

    /// Has records without end, of one size; the first is from the future.
    struct Endless(Feed, i64, usize);

    impl Reader for Endless {
        fn feed(&self) -> &Feed {
            &self.0
        }
        fn take(&mut self, into: &mut Chunk, most: usize, _now: Timestamp) {
            let payload = vec![b'x'; self.2];
            for _ in 0..most {
                let at = if self.1 == 0 { Timestamp::from_secs(1_000) } else { Timestamp::from_secs(1) };
                into.push(self.1, self.1 + 1, at, Some(&payload), None);
                self.1 += 1;
            }
        }
        fn standing(&self) -> Standing {
            Standing::Behind
        }
        fn lag(&self) -> Option<i64> {
            None
        }
    }

    fn slot(size: usize) -> Slot {
        let feed = Feed {
            source: "s".into(),
            position: "file/s".into(),
            format: paramedic_formats::format("paramedic").unwrap(),
            scope: None,
        };
        let reader = Box::new(Endless(feed, 0, size));
        Slot { reader, buffer: Chunk::default(), seen: Timestamp::EPOCH, reported: None }
    }

    #[test]
    fn a_buffer_is_bounded_by_its_records_and_by_its_bytes() {
        let mut small = slot(10);
        assert!(small.fill(1_000, Timestamp::EPOCH));
        assert_eq!(small.buffer.len(), 1_000);
        let mut large = slot(1 << 20);
        assert!(large.fill(1_000, Timestamp::EPOCH));
        assert_eq!(large.buffer.len(), SLICE, "one slice of MiBs is more than a buffer holds");
        assert!(!large.fill(1_000, Timestamp::EPOCH));
    }

    #[test]
    fn what_is_decided_is_blind_to_a_source_from_its_first_moment_away() {
        struct Gone(Feed, Timestamp);
        impl Reader for Gone {
            fn feed(&self) -> &Feed {
                &self.0
            }
            fn take(&mut self, _: &mut Chunk, _: usize, _: Timestamp) {}
            fn standing(&self) -> Standing {
                Standing::Away(self.1)
            }
            fn lag(&self) -> Option<i64> {
                None
            }
        }
        let since = Timestamp::from_secs(100);
        let away = Slot { reader: Box::new(Gone(slot(1).reader.feed().clone(), since)), ..slot(1) };
        let slots = [away];
        for (secs, ticks) in [(100, false), (159, false), (160, true)] {
            let seen = look(&slots, 10, Timestamp::from_secs(secs));
            assert_eq!((seen.blind.as_slice(), seen.all_at_end), (&["s".to_owned()][..], ticks), "{secs}");
        }
    }

    #[test]
    fn a_full_buffer_does_not_wait_for_a_record_that_it_has_no_room_for() {
        let mut slot = slot(10);
        slot.fill(100, Timestamp::EPOCH);
        assert_eq!(slot.seen, Timestamp::from_secs(1));
        let horizon = slot.horizon(100);
        assert_eq!(slot.buffer.take_until(Some(horizon)).len(), 100);
    }
}
