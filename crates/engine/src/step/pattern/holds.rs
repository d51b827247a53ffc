//! `for`: what a rule waits for held, and was not cleared, for so long.

use paramedic_model::{Id, Kept, OwnedEvent, Span, TimerKind, Timestamp, Window, WindowBody};
use paramedic_rulebook::Pattern;

use super::{Cx, Hit, Which};
use crate::step::event::key_of;

impl Cx<'_> {
    /// It holds. The first starts the time, later ones do not start it again; once it is over, each fires.
    pub(super) fn on_holding(&mut self, which: &Which, hit: Hit<'_>, span: Span) {
        let id = self.window_id(which, Window::HOLDS);
        match self.state.windows.get(&id).map(|w| w.body.clone()) {
            Some(WindowBody::Holds { fired: true, .. }) => {
                self.hold_alert(id, hit.alert);
                return self.on_fired(which, hit);
            }
            Some(WindowBody::Holds { due, last, .. }) => {
                if hit.event.time >= last.time {
                    self.put_window(id, which, holds(due, hit));
                }
            }
            _ => {
                let due = self.now.plus(span);
                self.put_window(id, which, holds(due, hit));
                self.set_timer(id, TimerKind::Window, due);
            }
        }
        self.hold_alert(id, hit.alert);
        // What an open incident is about goes on meanwhile.
        self.feed(which, hit);
    }

    /// It has held for long enough: it fires with the last event.
    pub(super) fn on_held_for(&mut self, window: &Window, which: &Which) {
        let WindowBody::Holds { due, last, names, .. } = &window.body else { return };
        let due = *due;
        if !self.still_holds(which) || !self.still_stands(which.rule(), names) {
            return self.end_window(window.id);
        }
        self.put_window(
            window.id,
            which,
            WindowBody::Holds { due, last: last.clone(), names: names.clone(), fired: true },
        );
        self.on_fired(which, Hit { event: last, alert: &key_of(last), names });
        let held = self.state.held.get(&window.id).cloned().unwrap_or_default();
        for alert in &held {
            self.contribute_to_key(which, Hit { event: last, alert, names });
        }
        // Nothing that ends would end it.
        if matches!(which.rule().pattern, Pattern::Upon { count: None, .. }) {
            self.end_window(window.id);
        }
    }

    /// An explicit `clear`: it holds no more, unless that was seen before it held.
    pub(super) fn clear_holding(&mut self, which: &Which, event: &OwnedEvent) {
        if which.rule().stays.is_none() {
            return;
        }
        let id = self.window_id(which, Window::HOLDS);
        let body = self.state.windows.get(&id).map(|w| &w.body);
        if let Some(WindowBody::Holds { last, .. }) = body
            && event.time >= last.time
        {
            self.end_window(id);
        }
    }

    /// Its last alert has ended. With a `clear` of its own a rule waits for that.
    pub(in crate::step) fn on_alerts_ended(&mut self, id: Id) {
        let Some(window) = self.state.windows.get(&id) else { return };
        if !matches!(window.body, WindowBody::Holds { .. } | WindowBody::Settle { .. } | WindowBody::Once { .. }) {
            return;
        }
        let explicit = self.rule_of_window(window).is_some_and(|which| which.rule().clear.is_some());
        if !explicit {
            self.end_window(id);
        }
    }
}

fn holds(due: Timestamp, hit: Hit<'_>) -> WindowBody {
    WindowBody::Holds { due, last: Kept::of(hit.event), names: hit.names.clone(), fired: false }
}
