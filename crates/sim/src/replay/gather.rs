//! Reads, decodes, stamps and counts the events of a file, and hands them to the workers by scope.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::Arc;

use crossbeam_channel::Sender;
use paramedic_engine::event_input_id;
use paramedic_formats::{Message, Undecodable};
use paramedic_model::{Digest, OwnedEvent, Running, Span, Timestamp};

use super::worker::{Item, Work};
use super::{KEPT_UNDECODABLE, ReplayError, ReplayOptions};

/// Lines that are decoded at once.
const CHUNK: usize = 4_096;
/// An event is decoded before its stamp is known, as if received then: what lacks a time has this one.
const UNSTAMPED: Timestamp = Timestamp::MAX;
/// Formats set a `began` that is further in the future of the stamp to the stamp.
const FUTURE: Span = Span::from_secs(300);

/// What the gatherer counted.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) events: u64,
    pub(super) dead_letter: u64,
    pub(super) undecodable: Vec<(u64, String)>,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    pub(super) inputs: Running,
    pub(super) batches: u64,
}

struct Line {
    /// From 1.
    number: u64,
    bytes: Vec<u8>,
}

type Decoded = Result<Vec<(Arc<str>, OwnedEvent)>, Undecodable>;

pub(super) struct Gather<'a> {
    options: &'a ReplayOptions,
    workers: Vec<Sender<Work>>,
    /// Each worker's share of the batch.
    shares: Vec<Vec<Item>>,
    in_batch: usize,
    /// Which worker a scope belongs to.
    homes: BTreeMap<Arc<str>, usize>,
    /// All events, where they are to be sorted first.
    kept: Vec<(Timestamp, Item)>,
    gathered: Gathered,
}

impl<'a> Gather<'a> {
    pub(super) fn new(options: &'a ReplayOptions, workers: Vec<Sender<Work>>) -> Self {
        let shares = workers.iter().map(|_| Vec::new()).collect();
        let (homes, kept) = (BTreeMap::new(), Vec::new());
        Self { options, workers, shares, in_batch: 0, homes, kept, gathered: Gathered::default() }
    }

    /// Hands over everything, and ends the workers.
    pub(super) fn run(
        mut self,
        mut input: impl BufRead,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Gathered, ReplayError> {
        let mut read = 0;
        loop {
            let (chunk, more) = read_chunk(&mut input, &mut read)?;
            for (line, decoded) in chunk.iter().zip(self.decode(&chunk)) {
                self.take(line, decoded)?;
            }
            progress(read);
            if !more {
                break;
            }
        }
        let mut kept = std::mem::take(&mut self.kept);
        kept.sort_by(|a, b| (a.0, &a.1.event.id).cmp(&(b.0, &b.1.event.id)));
        for (_, item) in kept {
            self.stamp(item)?;
        }
        self.flush()?;
        for worker in &self.workers {
            worker.send(Work::End(self.gathered.last)).map_err(|_| ReplayError::Worker)?;
        }
        Ok(self.gathered)
    }

    /// Each line's events, in the lines' order; the work is shared by so many threads as there are workers.
    fn decode(&self, chunk: &[Line]) -> Vec<Decoded> {
        let options = self.options;
        let parts = self.workers.len().min(chunk.len().div_ceil(64)).max(1);
        let part = |lines: &[Line]| lines.iter().map(|line| decode(options, &line.bytes)).collect::<Vec<_>>();
        if parts == 1 {
            return part(chunk);
        }
        std::thread::scope(|threads| {
            let parts: Vec<_> = chunk
                .chunks(chunk.len().div_ceil(parts))
                .map(|lines| (lines, threads.spawn(move || part(lines))))
                .collect();
            // Decoders do not panic; if one did, its lines are decoded here, where it shows.
            parts.into_iter().flat_map(|(lines, thread)| thread.join().unwrap_or_else(|_| part(lines))).collect()
        })
    }

    fn take(&mut self, line: &Line, decoded: Decoded) -> Result<(), ReplayError> {
        let events = match decoded {
            Ok(events) => events,
            Err(why) => {
                self.gathered.dead_letter += 1;
                self.gathered.inputs.add(crate::feed::dead_letter_id(&line.bytes).as_bytes());
                if self.gathered.undecodable.len() < KEPT_UNDECODABLE {
                    self.gathered.undecodable.push((line.number, why.to_string()));
                }
                return Ok(());
            }
        };
        for (scope, event) in events {
            let item = Item { scope, line: line.number, event };
            if self.options.sort_by_time {
                // Without a time of its own, an event stays with the one before it.
                let last = self.kept.last().map_or(Timestamp::EPOCH, |(at, ..)| *at);
                let at = if item.event.time == UNSTAMPED { last } else { item.event.time };
                self.kept.push((at, item));
            } else {
                self.stamp(item)?;
            }
        }
        Ok(())
    }

    /// The single pass over the whole file: an event's stamp is its time, never below the last stamp.
    fn stamp(&mut self, mut item: Item) -> Result<(), ReplayError> {
        let event = &mut item.event;
        let last = self.gathered.last;
        let stamp = match last {
            _ if event.time != UNSTAMPED => event.time.max(last.unwrap_or(event.time)),
            last => last.unwrap_or(Timestamp::EPOCH),
        };
        event.received = stamp;
        event.time = event.time.min(stamp);
        if event.began.is_some_and(|began| began.since(stamp) > FUTURE) {
            event.began = Some(stamp);
            event.clamped = true;
        }
        self.gathered.first.get_or_insert(stamp);
        self.gathered.last = Some(stamp);
        self.gathered.events += 1;
        self.gathered.inputs.add(event_input_id(event).as_bytes());
        let home = self.home(&item.scope);
        self.shares[home].push(item);
        self.in_batch += 1;
        if self.in_batch >= self.options.batch.max(1) { self.flush() } else { Ok(()) }
    }

    fn home(&mut self, scope: &Arc<str>) -> usize {
        if let Some(home) = self.homes.get(scope) {
            return *home;
        }
        let digest = Digest::of_bytes(scope.as_bytes());
        let home = digest.as_bytes().iter().take(4).fold(0usize, |n, b| n << 8 | usize::from(*b)) % self.workers.len();
        self.homes.insert(Arc::clone(scope), home);
        home
    }

    fn flush(&mut self) -> Result<(), ReplayError> {
        if std::mem::take(&mut self.in_batch) == 0 {
            return Ok(());
        }
        self.gathered.batches += 1;
        for (worker, share) in self.workers.iter().zip(&mut self.shares) {
            if !share.is_empty() {
                worker.send(Work::Batch(std::mem::take(share))).map_err(|_| ReplayError::Worker)?;
            }
        }
        Ok(())
    }
}

/// The next lines that are not blank, and whether there may be more.
fn read_chunk(input: &mut impl BufRead, read: &mut u64) -> Result<(Vec<Line>, bool), ReplayError> {
    let mut chunk = Vec::with_capacity(CHUNK);
    while chunk.len() < CHUNK {
        let mut bytes = Vec::new();
        let cause = |cause| ReplayError::Read { line: *read + 1, cause };
        if input.read_until(b'\n', &mut bytes).map_err(cause)? == 0 {
            return Ok((chunk, false));
        }
        *read += 1;
        bytes.truncate(bytes.trim_ascii_end().len());
        if !bytes.is_empty() {
            chunk.push(Line { number: *read, bytes });
        }
    }
    Ok((chunk, true))
}

fn decode(options: &ReplayOptions, bytes: &[u8]) -> Decoded {
    let mut events = Vec::new();
    let message = Message { source: &options.source, headers: &[], payload: Some(bytes), stamp: UNSTAMPED };
    (options.format.decode)(message, &mut events)?;
    let scoped = events.into_iter().map(|event| {
        let scope = match &options.scope {
            Some(expr) => Arc::from(expr.scope(&event).as_ref()),
            None => Arc::from(crate::DEFAULT_SCOPE),
        };
        (scope, event.into_owned())
    });
    Ok(scoped.collect())
}
