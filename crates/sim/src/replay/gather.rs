//! Reads and counts the events of a history, and hands those that concern a rule to the workers by scope.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::Sender;
use paramedic_model::{Digest, Running, Timestamp};
use paramedic_rulebook::{EnrichFailures, RuleSet};

use super::matching::{Done, Job, Kept, Line, Pool, UNSTAMPED};
use super::messages::Messages;
use super::worker::{Item, Work};
use super::{KEPT_UNDECODABLE, ReplayError, ReplayOptions};

/// What the gatherer counted.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) events: u64,
    /// Events with at least one match, by rule set.
    pub(super) matched: Vec<u64>,
    /// Steps of `enrich` that failed, by rule set.
    pub(super) enrich_failed: Vec<EnrichFailures>,
    pub(super) dead_letter: u64,
    pub(super) undecodable: Vec<(u64, String)>,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    pub(super) late: u64,
    pub(super) inputs: Running,
    pub(super) batches: u64,
}

struct Gather<'a> {
    options: &'a ReplayOptions,
    workers: Vec<Sender<Work>>,
    /// Each worker's share of the batch.
    shares: Vec<Vec<Item>>,
    in_batch: usize,
    /// Which worker a scope belongs to.
    homes: BTreeMap<Arc<str>, usize>,
    /// All events, where they are to be sorted first.
    kept: Vec<Kept>,
    gathered: Gathered,
}

/// Hands over everything, and ends the workers.
pub(super) fn gather(
    options: &ReplayOptions,
    sets: &[Arc<RuleSet>],
    workers: Vec<Sender<Work>>,
    input: &mut dyn Messages,
    progress: &mut dyn FnMut(u64),
) -> Result<Gathered, ReplayError> {
    let n = workers.len();
    let gather = Gather {
        options,
        shares: workers.iter().map(|_| Vec::new()).collect(),
        workers,
        in_batch: 0,
        homes: BTreeMap::new(),
        kept: Vec::new(),
        gathered: Gathered {
            matched: vec![0; sets.len()],
            enrich_failed: vec![EnrichFailures::default(); sets.len()],
            ..Gathered::default()
        },
    };
    if n == 1 {
        return gather.run(Pool::one(options, sets), input, progress);
    }
    std::thread::scope(|threads| gather.run(Pool::several(threads, n, options, sets), input, progress))
}

impl Gather<'_> {
    fn run(
        mut self,
        mut pool: Pool<'_>,
        input: &mut dyn Messages,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Gathered, ReplayError> {
        let mut read = 0;
        loop {
            let (text, lines, more) = read_lines(input, pool.lines(self.options), &mut read)?;
            self.give(&mut pool, Job::Lines(text, lines))?;
            progress(read);
            if !more {
                break;
            }
        }
        self.take_rest(&mut pool)?;
        for job in sorted(std::mem::take(&mut self.kept), pool.lines(self.options)) {
            self.give(&mut pool, job)?;
        }
        self.take_rest(&mut pool)?;
        self.flush()?;
        for worker in &self.workers {
            worker.send(Work::End(self.gathered.last)).map_err(|_| ReplayError::Worker)?;
        }
        Ok(self.gathered)
    }

    fn give(&mut self, pool: &mut Pool<'_>, job: Job) -> Result<(), ReplayError> {
        pool.give(job)?.map_or(Ok(()), |done| self.take(done))
    }

    fn take_rest(&mut self, pool: &mut Pool<'_>) -> Result<(), ReplayError> {
        while let Some(done) = pool.next()? {
            self.take(done)?;
        }
        Ok(())
    }

    /// In the order of the lines.
    fn take(&mut self, done: Done) -> Result<(), ReplayError> {
        self.kept.extend(done.kept);
        let gathered = &mut self.gathered;
        gathered.events += done.events as u64;
        gathered.first = gathered.first.or(done.first);
        gathered.late += done.late;
        gathered.last = done.last.or(gathered.last);
        gathered.inputs.add_all(&done.ids);
        gathered.matched.iter_mut().zip(done.matched).for_each(|(all, of_these)| *all += of_these);
        gathered.enrich_failed.iter_mut().zip(done.enrich_failed).for_each(|(all, of_these)| all.join(of_these));
        gathered.dead_letter += done.bad.len() as u64;
        let room = KEPT_UNDECODABLE - gathered.undecodable.len();
        gathered.undecodable.extend(done.bad.iter().take(room).map(|bad| (bad.line, bad.why.to_string())));
        let mut concern = done.concern.into_iter().peekable();
        for n in 0..done.events {
            if let Some((_, item)) = concern.next_if(|(at, _)| *at == n) {
                let home = self.home(&item.scope);
                self.shares[home].push(item);
            }
            self.in_batch += 1;
            if self.in_batch >= self.options.batch.max(1) {
                self.flush()?;
            }
        }
        Ok(())
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

/// By time, and in jobs of so many.
fn sorted(kept: Vec<Kept>, most: usize) -> Vec<Job> {
    let mut last = Timestamp::EPOCH;
    let timed = kept.into_iter().map(|one| {
        // Without a time of its own, an event stays with the one before it.
        last = if one.2.time == UNSTAMPED { last } else { one.2.time };
        (last, one)
    });
    let mut timed: Vec<_> = timed.collect();
    timed.sort_by(|a, b| (a.0, &a.1.2.id).cmp(&(b.0, &b.1.2.id)));
    let mut rest = timed.into_iter().map(|(_, one)| one).peekable();
    let mut jobs = Vec::new();
    while rest.peek().is_some() {
        jobs.push(Job::Kept(rest.by_ref().take(most).collect()));
    }
    jobs
}

/// The next messages, and whether there may be more.
fn read_lines(
    input: &mut dyn Messages,
    most: usize,
    read: &mut u64,
) -> Result<(Vec<u8>, Vec<Line>, bool), ReplayError> {
    let (mut text, mut lines) = (Vec::new(), Vec::with_capacity(most));
    while lines.len() < most {
        let from = text.len();
        let next = input.next(&mut text).map_err(|cause| ReplayError::Read { line: *read + 1, cause })?;
        let Some(arrived) = next else { return Ok((text, lines, false)) };
        *read = arrived.number;
        lines.push(Line { at: from..text.len(), arrived });
    }
    Ok((text, lines, true))
}
