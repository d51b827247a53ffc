//! `count`: so many within a sliding window, and so many different values.
//!
//! Occurrences of alerts are counted, and samples of the rest, by the event's own time; the window ends at the shard's
//! clock. It fires when there are enough, and again after there were too few or it was cleared.

use std::collections::BTreeSet;

use paramedic_model::{AlertKey, Counted, Digest, Kept, Kind, Named, Names, Span, Status, TimerKind, Timestamp};
use paramedic_model::{Window, WindowBody};
use paramedic_rulebook::{EvalError, ExprIx};
use serde_json::json;

use super::{Cx, Hit, Signal, Which};

/// What is counted.
#[derive(Clone, Copy)]
pub(super) struct Counting {
    pub(super) at_least: u32,
    pub(super) within: Span,
    pub(super) distinct: Option<(ExprIx, u32)>,
}

impl Cx<'_> {
    pub(super) fn on_counted(&mut self, which: &Which, hit: Hit<'_>, counting: Counting) -> (Signal, Names) {
        let time = hit.event.time.min(self.now);
        if self.now.since(time) > counting.within {
            self.ignore("too late for its window");
            return (Signal::Waits, Names::new());
        }
        let value = match self.distinct_value(which, hit, counting) {
            Ok(value) => value,
            Err(why) => {
                self.ignore(why);
                return (Signal::Waits, Names::new());
            }
        };
        let id = self.window_id(which, Window::COUNT);
        let known = self.state.windows.get(&id).and_then(|w| match &w.body {
            WindowBody::Count { elements, above, first } => Some((elements.clone(), *above, first.clone())),
            _ => None,
        });
        let (mut elements, was_above, first) = known.unwrap_or_else(|| (Vec::new(), false, Kept::of(hit.event)));
        let what = if hit.event.kind == Kind::Alert { self.occurrence(hit) } else { 0 };
        if what != 0 && elements.iter().any(|c| c.what == what) {
            // Another severity of what is counted already.
            return (if was_above { Signal::GoesOn } else { Signal::Waits }, Names::new());
        }
        elements.retain(|c| self.now.since(c.at) <= counting.within);
        let first = if elements.is_empty() || self.now.since(first.time) > counting.within {
            Kept::of(hit.event)
        } else {
            first
        };
        let was_above = was_above && counting.enough(&elements);
        let at = elements.partition_point(|c| c.at <= time);
        elements.insert(at, Counted { at: time, what, value });
        counting.trim(&mut elements);
        let above = counting.enough(&elements);
        let names = if above { names(&first, hit, elements.len()) } else { Names::new() };
        let newest = elements.last().map_or(time, |c| c.at);
        self.put_window(id, which, WindowBody::Count { elements, above, first });
        if what != 0 {
            self.hold_alert(id, hit.alert);
        }
        self.expire_window(id, newest, counting.within);
        let signal = match (was_above, above) {
            (true, true) => Signal::GoesOn,
            (_, true) => Signal::Fires,
            _ => Signal::Waits,
        };
        (signal, names)
    }

    /// The window's time is up: what is left of it.
    pub(super) fn on_count_due(&mut self, window: &Window, which: &Which, counting: Counting) {
        let WindowBody::Count { elements, above, first } = &window.body else { return };
        let mut left = elements.clone();
        left.retain(|c| self.now.since(c.at) <= counting.within);
        let Some(newest) = left.last().map(|c| c.at) else { return self.end_window(window.id) };
        let above = *above && counting.enough(&left);
        self.put_window(window.id, which, WindowBody::Count { elements: left, above, first: first.clone() });
        self.expire_window(window.id, newest, counting.within);
    }

    /// Whether there are still enough.
    pub(super) fn still_enough(&self, which: &Which, counting: Counting) -> bool {
        let id = self.window_id(which, Window::COUNT);
        let Some(WindowBody::Count { elements, .. }) = self.state.windows.get(&id).map(|w| &w.body) else {
            return false;
        };
        let left: Vec<Counted> = elements.iter().filter(|c| self.now.since(c.at) <= counting.within).copied().collect();
        counting.enough(&left)
    }

    /// A window without a timer is looked at again when its newest element has left it.
    pub(super) fn expire_window(&mut self, id: paramedic_model::Id, newest: Timestamp, within: Span) {
        if !self.state.timers.contains_key(&TimerKind::Window.id(id)) {
            let just_after = Timestamp::from_nanos(newest.plus(within).as_nanos().saturating_add(1));
            self.set_timer(id, TimerKind::Window, just_after.max(self.now));
        }
    }

    fn distinct_value(&self, which: &Which, hit: Hit<'_>, counting: Counting) -> Result<u64, &'static str> {
        let Some((expr, _)) = counting.distinct else { return Ok(0) };
        match self.value_of(which, hit, expr) {
            Ok(value) => Ok(short(&Digest::of(&json!(value)))),
            Err(EvalError::Missing(_)) => Err("a part of `distinct` is missing"),
            Err(EvalError::Script(_)) => Err("`distinct` failed"),
        }
    }

    /// Which occurrence of its alert an event tells of; a resolve is one of its own.
    fn occurrence(&self, hit: Hit<'_>) -> u64 {
        let AlertKey { source, dedup_key } = hit.alert;
        let alert = self.state.alerts.get(hit.alert).filter(|a| a.is_open());
        let began = match hit.event.status {
            Status::Resolved => hit.event.time,
            _ => alert.map_or(hit.event.time, |a| a.began),
        };
        let status = hit.event.status.name();
        let text = format!("{}|{source}|{dedup_key}|{status}|{}", source.len(), began.as_nanos());
        short(&Digest::of_bytes(text.as_bytes())).max(1)
    }
}

impl Counting {
    fn enough(self, elements: &[Counted]) -> bool {
        if elements.len() < self.at_least as usize {
            return false;
        }
        let Some((_, different)) = self.distinct else { return true };
        let mut values = BTreeSet::new();
        elements.iter().any(|c| values.insert(c.value) && values.len() >= different as usize)
    }

    /// Keeps the newest that are needed: as many as must come, and the newest of as many values.
    fn trim(self, elements: &mut Vec<Counted>) {
        let least = self.at_least as usize;
        if elements.len() <= least {
            return;
        }
        let different = self.distinct.map_or(0, |(_, n)| n as usize);
        let (mut values, mut n) = (BTreeSet::new(), 0);
        let mut keep: Vec<Counted> = Vec::with_capacity(least + different);
        for c in elements.iter().rev() {
            let is_new = values.len() < different && values.insert(c.value);
            if n < least || is_new {
                keep.push(*c);
            }
            n += 1;
        }
        keep.reverse();
        *elements = keep;
    }
}

fn names(first: &Kept, hit: Hit<'_>, n: usize) -> Names {
    let last = Named::Event(Kept::of(hit.event));
    let n = Named::Whole(i64::try_from(n).unwrap_or(i64::MAX));
    Names::from([("first".to_owned(), Named::Event(first.clone())), ("last".to_owned(), last), ("n".to_owned(), n)])
}

fn short(digest: &Digest) -> u64 {
    let mut first = [0u8; 8];
    first.copy_from_slice(&digest.as_bytes()[..8]);
    u64::from_le_bytes(first)
}
