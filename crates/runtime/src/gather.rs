//! The gathering thread: takes what the sources have, in an order that can be repeated, and hands it on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use paramedic_model::{InboxBody, InboxRow, Span, Timestamp};
use paramedic_store::Store;

use crate::clock::wall;
use crate::metrics::Metrics;
use crate::record::{BUFFER_BYTES, Chunk, Gathered};
use crate::source::{Reader, Standing};

/// A source that has been away for this long is left out: the clock goes on, blind to it.
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
    /// The inbox is read from it.
    pub store: Arc<dyn Store>,
    /// Where the inbox goes on.
    pub inbox_next: u64,
    /// Readers that arrive once their broker answers.
    pub arriving: Receiver<Box<dyn Reader>>,
    /// How many are still to arrive; until then the clock does not tick (for a while).
    pub awaited: Arc<std::sync::atomic::AtomicUsize>,
    /// Records a batch, at most.
    pub max_events: usize,
    /// For what is behind and what is down.
    pub metrics: Metrics,
    /// Set to stop.
    pub stop: Arc<AtomicBool>,
    /// What is not right with the sources, for /ready.
    pub troubles: crate::live::Troubles,
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
        let mut inbox: Vec<InboxRow> = Vec::new();
        let mut last_tick = wall();
        let started = wall();
        while !self.stop.load(Ordering::Relaxed) {
            while let Ok(reader) = self.arriving.try_recv() {
                if feeds.send(reader.feed().clone()).is_err() {
                    return;
                }
                slots.push(Slot { reader, buffer: Chunk::default(), seen: Timestamp::EPOCH, reported: None });
            }
            let now = wall();
            let took = self.take(&mut slots, &mut inbox, now);
            let batch = self.assemble(&mut slots, &mut inbox, now, started, &mut last_tick);
            if batch.is_empty() && !batch.tick {
                thread::park_timeout(NAP);
                continue;
            }
            if !self.hand_over(batch, out, &mut slots, &mut inbox) {
                return;
            }
            if !took {
                thread::park_timeout(NAP);
            }
        }
    }

    /// Takes what is there; true when anything was.
    fn take(&mut self, slots: &mut [Slot], inbox: &mut Vec<InboxRow>, now: Timestamp) -> bool {
        let mut took = false;
        for slot in slots.iter_mut() {
            took |= slot.fill(self.max_events, now);
            self.report(slot);
        }
        if inbox.len() < MAX_INBOX && inbox.iter().map(bytes_of).sum::<usize>() < BUFFER_BYTES {
            match self.store.inbox_read(self.inbox_next, MAX_INBOX - inbox.len()) {
                Ok(rows) => {
                    took |= !rows.is_empty();
                    self.inbox_next = rows.last().map_or(self.inbox_next, |r| r.seq + 1);
                    inbox.extend(rows);
                }
                Err(error) => tracing::error!(%error, "the inbox cannot be read"),
            }
        }
        took
    }

    fn report(&self, slot: &mut Slot) {
        let feed = slot.reader.feed();
        if let Some(lag) = slot.reader.lag() {
            self.metrics.lag.with_label_values(&[feed.source.as_str(), feed.position.as_str()]).set(lag);
        }
        let trouble = match slot.reader.standing() {
            Standing::Stopped(why) => Some(why),
            Standing::Away(since) => Some(format!("{}: away since {since}", feed.position)),
            Standing::Behind | Standing::AtEnd => None,
        };
        if trouble != slot.reported {
            let down = i64::from(trouble.is_some());
            let labels = [feed.source.as_str(), feed.position.as_str()];
            self.metrics.source_down.with_label_values(&labels).set(down);
            match &trouble {
                Some(why) => tracing::error!(source = feed.source, why, "source is down"),
                None => tracing::info!(source = feed.source, "source is back"),
            }
            self.troubles.set(&feed.position, trouble.clone());
            slot.reported = trouble;
        }
    }

    /// What may be stepped now: records up to the time to which every source that is behind has been read.
    fn assemble(
        &self,
        slots: &mut [Slot],
        inbox: &mut Vec<InboxRow>,
        now: Timestamp,
        started: Timestamp,
        last_tick: &mut Timestamp,
    ) -> Gathered {
        let mut horizon: Option<Timestamp> = None;
        let mut all_at_end = true;
        let mut blind = Vec::new();
        for slot in slots.iter() {
            match slot.reader.standing() {
                Standing::Behind => {
                    all_at_end = false;
                    let own = slot.horizon(self.max_events);
                    horizon = Some(horizon.map_or(own, |h| h.min(own)));
                }
                Standing::AtEnd | Standing::Stopped(_) => {}
                Standing::Away(since) if now.since(since) >= BLIND_AFTER => {
                    blind.push(slot.reader.feed().source.clone());
                }
                Standing::Away(_) => all_at_end = false,
            }
        }
        if self.awaited.load(Ordering::Acquire) > slots.len() {
            if now.since(started) >= BLIND_AFTER {
                blind.push("sources that were never reached".to_owned());
            } else {
                all_at_end = false;
            }
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
        let inbox = take_inbox(inbox, horizon);
        let left = slots.iter().any(|s| !s.buffer.is_empty());
        let mut tick = all_at_end && !left;
        if tick && chunks.is_empty() && inbox.is_empty() {
            // An idle clock moves in small steps, not in every turn of the loop.
            tick = now.since(*last_tick) >= TICK;
        }
        if tick {
            *last_tick = now;
        }
        Gathered { cap: now, chunks, inbox, tick, blind }
    }

    /// Hands a batch on. While the pipeline is busy the batch may still grow: a bigger batch costs less a record.
    fn hand_over(
        &mut self,
        mut batch: Gathered,
        out: &Sender<Gathered>,
        slots: &mut [Slot],
        inbox: &mut Vec<InboxRow>,
    ) -> bool {
        loop {
            match out.try_send(batch) {
                Ok(()) => return true,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) => batch = back,
            }
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            // Read ahead into the buffers, up to their bound, then wait for room.
            let took = self.take(slots, inbox, wall());
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

/// What a row takes in memory, about.
fn bytes_of(row: &InboxRow) -> usize {
    match &row.entry.body {
        InboxBody::Message(message) => message.body.len(),
        InboxBody::Cmdb(_) => CMDB_BYTES,
        _ => 0,
    }
}

/// People's acts at once; other rows up to the horizon, in order: the first that must wait holds back the rest.
fn take_inbox(inbox: &mut Vec<InboxRow>, horizon: Option<Timestamp>) -> Vec<InboxRow> {
    let ready = inbox
        .iter()
        .position(|row| !row.entry.body.is_operator() && horizon.is_some_and(|h| row.entry.at > h))
        .unwrap_or(inbox.len());
    inbox.drain(..ready).collect()
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
    fn a_full_buffer_does_not_wait_for_a_record_that_it_has_no_room_for() {
        let mut slot = slot(10);
        slot.fill(100, Timestamp::EPOCH);
        assert_eq!(slot.seen, Timestamp::from_secs(1));
        let horizon = slot.horizon(100);
        assert_eq!(slot.buffer.take_until(Some(horizon)).len(), 100);
    }
}
