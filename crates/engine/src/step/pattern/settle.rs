//! `settle`: waits so long after the first, then fires once with all of them.

use paramedic_model::{Kept, Named, Names, Span, TimerKind, Window, WindowBody};

use super::{Cx, Hit, Which};
use crate::step::event::key_of;

/// So many events are kept; all are counted.
const KEPT: usize = 100;

impl Cx<'_> {
    pub(super) fn on_settling(&mut self, which: &Which, hit: Hit<'_>, span: Span) {
        let id = self.window_id(which, Window::SETTLE);
        let known = self.state.windows.get(&id).and_then(|w| match &w.body {
            WindowBody::Settle { events, n } => Some((events.clone(), *n)),
            _ => None,
        });
        let is_first = known.is_none();
        let (mut events, n) = known.unwrap_or_default();
        if events.len() < KEPT {
            events.push(Kept::of(hit.event));
        }
        self.put_window(id, which, WindowBody::Settle { events, n: n + 1 });
        if is_first {
            self.set_timer(id, TimerKind::Window, self.now.plus(span));
        }
        self.hold_alert(id, hit.alert);
        self.feed(which, hit);
    }

    /// It has settled. Alerts that have ended all, meanwhile, have closed the window before.
    pub(super) fn on_settled(&mut self, window: &Window, which: &Which, events: &[Kept], n: u64) {
        let Some(last) = events.last() else { return self.end_window(window.id) };
        let whole = i64::try_from(n).unwrap_or(i64::MAX);
        let names =
            Names::from([("events".to_owned(), Named::Events(events.to_vec())), ("n".to_owned(), Named::Whole(whole))]);
        let alert = key_of(last);
        self.on_fired(which, Hit { event: last, alert: &alert, names: &names });
        let held = self.state.held.get(&window.id).cloned().unwrap_or_default();
        for alert in &held {
            self.contribute_to_key(which, Hit { event: last, alert, names: &names });
        }
        self.end_window(window.id);
    }
}
