//! `measure`: a number computed over a sliding window of twelve panes.

use paramedic_model::{Kind, Named, Names, Pane, Span, Timestamp, Window, WindowBody};
use paramedic_rulebook::{Comparison, Measured};

use super::{Cx, Hit, Signal, Which};

/// Into so many panes a window is divided: it slides by one at a time.
const PANES: i64 = 12;

/// What is measured.
#[derive(Clone, Copy)]
pub(super) struct Measuring {
    pub(super) measured: Measured,
    pub(super) of: paramedic_rulebook::ExprIx,
    pub(super) over: Span,
    pub(super) is: Comparison,
}

impl Cx<'_> {
    pub(super) fn on_sample(&mut self, which: &Which, hit: Hit<'_>, measuring: Measuring) -> (Signal, Names) {
        let nothing = (Signal::Waits, Names::new());
        let Some(value) = self.value_of(which, hit, measuring.of).ok().and_then(|v| v.as_f64()) else {
            self.ignore("nothing to measure");
            return nothing;
        };
        if !value.is_finite() {
            self.ignore("nothing to measure");
            return nothing;
        }
        let time = hit.event.time.min(self.now);
        if measuring.pane_of(time) <= measuring.pane_of(self.now) - PANES {
            self.ignore("too late for its window");
            return nothing;
        }
        let id = self.window_id(which, Window::MEASURE);
        let (mut panes, was) = match self.state.windows.get(&id).map(|w| &w.body) {
            Some(WindowBody::Measure { panes, so }) => (panes.clone(), *so),
            _ => (Vec::new(), false),
        };
        measuring.slide(&mut panes, self.now);
        // What was so of samples that are gone is so no more.
        let was = was && !panes.is_empty();
        add(&mut panes, measuring.pane_of(time), time, value);
        let computed = measuring.compute(&panes);
        let so = computed.is_some_and(|x| measuring.is.holds(x));
        let newest = panes.last().map_or(time, |p| p.last.0);
        self.put_window(id, which, WindowBody::Measure { panes, so });
        if hit.event.kind == Kind::Alert {
            self.hold_alert(id, hit.alert);
        }
        self.expire_window(id, newest, measuring.over);
        let signal = match (was, so) {
            (false, true) => Signal::Fires,
            (true, true) => Signal::GoesOn,
            (true, false) => Signal::Fell,
            (false, false) => Signal::Waits,
        };
        let names = computed.filter(|_| so).map(|x| ("value".to_owned(), Named::Number(x)));
        (signal, names.into_iter().collect())
    }

    /// The window's time is up: what is left of it.
    pub(super) fn on_measure_due(&mut self, window: &Window, which: &Which, measuring: Measuring) {
        let WindowBody::Measure { panes, so } = &window.body else { return };
        let mut left = panes.clone();
        measuring.slide(&mut left, self.now);
        let Some(newest) = left.last().map(|p| p.last.0) else { return self.end_window(window.id) };
        let so = *so && measuring.compute(&left).is_some_and(|x| measuring.is.holds(x));
        self.put_window(window.id, which, WindowBody::Measure { panes: left, so });
        self.expire_window(window.id, newest, measuring.over);
    }

    /// Whether what is measured is still as the rule says.
    pub(super) fn still_so(&self, which: &Which, measuring: Measuring) -> bool {
        let id = self.window_id(which, Window::MEASURE);
        let Some(WindowBody::Measure { panes, .. }) = self.state.windows.get(&id).map(|w| &w.body) else {
            return false;
        };
        let mut left = panes.clone();
        measuring.slide(&mut left, self.now);
        measuring.compute(&left).is_some_and(|x| measuring.is.holds(x))
    }
}

impl Measuring {
    fn pane_of(self, time: Timestamp) -> i64 {
        time.as_nanos().div_euclid((self.over.as_nanos() / PANES).max(1))
    }

    fn slide(self, panes: &mut Vec<Pane>, now: Timestamp) {
        let oldest = self.pane_of(now) - PANES;
        panes.retain(|p| p.at > oldest);
    }

    /// `None` where there is nothing, or for a rate too little, to compute it of.
    fn compute(self, panes: &[Pane]) -> Option<f64> {
        let (first, last) = (panes.first()?, panes.last()?);
        let n: u64 = panes.iter().map(|p| p.n).sum();
        let sum = finite(panes.iter().map(|p| p.sum).sum());
        Some(match self.measured {
            Measured::Avg => sum / n as f64,
            Measured::Min => panes.iter().map(|p| p.min).fold(f64::INFINITY, f64::min),
            Measured::Max => panes.iter().map(|p| p.max).fold(f64::NEG_INFINITY, f64::max),
            Measured::Sum => sum,
            Measured::Rate => {
                let secs = last.last.0.since(first.first.0).as_secs_f64();
                if secs <= 0.0 {
                    return None;
                }
                let within: f64 = panes.iter().map(|p| p.grown).sum();
                let between: f64 = panes.windows(2).map(|pair| growth(pair[0].last.1, pair[1].first.1)).sum();
                finite(within + between) / secs
            }
        })
    }
}

/// Takes a sample in. The growth of a counter is known from samples in order; of those that come late only the first and
/// the last of a pane count.
fn add(panes: &mut Vec<Pane>, at: i64, time: Timestamp, value: f64) {
    let sample = (time, value);
    let place = panes.partition_point(|p| p.at < at);
    match panes.get_mut(place).filter(|p| p.at == at) {
        None => panes.insert(
            place,
            Pane { at, n: 1, sum: value, min: value, max: value, first: sample, last: sample, grown: 0.0 },
        ),
        Some(pane) => {
            pane.n += 1;
            pane.sum = finite(pane.sum + value);
            pane.min = pane.min.min(value);
            pane.max = pane.max.max(value);
            if time >= pane.last.0 {
                pane.grown = finite(pane.grown + growth(pane.last.1, value));
                pane.last = sample;
            } else if time < pane.first.0 {
                pane.grown = finite(pane.grown + growth(value, pane.first.1));
                pane.first = sample;
            }
        }
    }
}

/// How much a counter grew; one that fell began again from nothing.
fn growth(from: f64, to: f64) -> f64 {
    if to >= from { to - from } else { to.max(0.0) }
}

fn finite(x: f64) -> f64 {
    x.clamp(f64::MIN, f64::MAX)
}
