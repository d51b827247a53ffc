//! Windows come, change and go: always by a mark, never more than the cap.

use std::sync::Arc;

use paramedic_model::{AlertKey, Id, TimerKind, Timestamp, Window, WindowBody};
use paramedic_rulebook::Clear;
use serde_json::json;

use super::{Cx, Which, counting, measuring};
use crate::decision::Mark;

/// The rule that the umbrella incident names.
const TOO_MANY: &str = "too many windows";

impl Cx<'_> {
    pub(super) fn window_id(&self, which: &Which, purpose: &str) -> Id {
        Window::id_of(self.scope, which.book(), &which.rule().name, purpose, &which.by)
    }

    /// The window with this id remembers this from now on. Beyond the cap the one that changed least recently gives way.
    pub(in crate::step) fn put_window(&mut self, id: Id, which: &Which, body: WindowBody) {
        self.put_window_as_of(id, which, body, self.now);
    }

    /// As [`Cx::put_window`], and its place among the others is as of then.
    pub(super) fn put_window_as_of(&mut self, id: Id, which: &Which, body: WindowBody, touched: Timestamp) {
        let shape = which.rule().shape;
        let window = match self.state.windows.get(&id) {
            // The id says that rulebook, rule and `by` are the same.
            Some(known) => Window {
                id,
                rulebook: Arc::clone(&known.rulebook),
                rule: Arc::clone(&known.rule),
                shape,
                by: Arc::clone(&known.by),
                opened: known.opened,
                touched,
                body,
            },
            None => {
                self.make_room(which);
                let (rulebook, rule) = (which.book().into(), which.rule().name.as_str().into());
                Window { id, rulebook, rule, shape, by: which.by.as_slice().into(), opened: self.now, touched, body }
            }
        };
        self.mark(Mark::WindowChanged { window: Arc::new(window) });
    }

    fn make_room(&mut self, which: &Which) {
        let (cap, book, rule) = (self.engine.limits.windows, which.book(), &which.rule().name);
        if self.state.windows_of(book, rule) < cap {
            return;
        }
        if let Some(oldest) = self.state.oldest_window(book, rule) {
            self.end_window(oldest);
        }
        self.ignore("too many windows");
        let key = Id::of(&json!(["umbrella", self.scope, "windows"]));
        if self.state.incident_of_key(key).is_some_and(|i| i.state.is_open()) {
            return;
        }
        let summary = format!(
            "Rule {book}/{rule} has more than {cap} windows in scope {}: the oldest give way, and are counted",
            self.scope
        );
        self.open_own(key, TOO_MANY, None, summary, "the cap on windows");
    }

    /// A window is closed. Samples that contributed to nothing else are not remembered.
    pub(in crate::step) fn end_window(&mut self, id: Id) {
        if !self.state.windows.contains_key(&id) {
            return;
        }
        let held = self.state.held.get(&id).cloned().unwrap_or_default();
        let suppressed = self.suppressed_by(id);
        self.drop_timer(id, &TimerKind::Window);
        self.mark(Mark::WindowGone { window: id });
        if let Some((ci, incidents)) = suppressed {
            self.on_suppression_over(ci, &incidents);
        }
        let idle = |key: &AlertKey| self.state.alerts.get(key).is_some_and(|a| a.sampled && a.incidents.is_empty());
        let alerts: Vec<AlertKey> = held.into_iter().filter(idle).collect();
        if !alerts.is_empty() {
            self.mark(Mark::Forgotten { alerts, parked: vec![], seen: vec![] });
        }
    }

    /// An open alert contributes to a window.
    pub(super) fn hold_alert(&mut self, window: Id, alert: &AlertKey) {
        let counts = self.state.alerts.get(alert).is_some_and(|a| a.is_open() && !a.incidents.contains(&window));
        if counts && self.state.windows.contains_key(&window) {
            self.mark(Mark::AlertCounts { alert: alert.clone(), incident: window });
        }
    }

    /// The rule that a window belongs to, under the active set.
    pub(super) fn rule_of_window(&self, window: &Window) -> Option<Which> {
        let set = std::sync::Arc::clone(self.evaluator(self.state.head.set)?.borrow().set());
        let rule = set.find(&window.rulebook, &window.rule).filter(|rule| rule.shape == window.shape)?;
        let ix = rule.ix;
        Some(Which { set, ix, by: window.by.to_vec() })
    }

    /// A window's time is up.
    pub(in crate::step) fn on_window_due(&mut self, id: Id) {
        let Some(window) = self.state.windows.get(&id).cloned() else { return };
        let Some(which) = self.rule_of_window(&window) else { return self.end_window(id) };
        if self.window_waits_for_source(id, &window.body) {
            return;
        }
        match &window.body {
            WindowBody::Holds { .. } => self.on_held_for(&window, &which),
            WindowBody::Count { .. } => match counting(which.rule()) {
                Some(counting) => self.on_count_due(&window, &which, counting),
                None => self.end_window(id),
            },
            WindowBody::Measure { .. } => match measuring(which.rule()) {
                Some(measuring) => self.on_measure_due(&window, &which, measuring),
                None => self.end_window(id),
            },
            WindowBody::Members { .. } => self.on_members_due(&window, &which),
            WindowBody::Schedule { .. } => self.on_schedule_due(&window, &which),
            WindowBody::Feed { .. } => self.on_feed_due(&window, &which),
            WindowBody::Settle { events, n } => self.on_settled(&window, &which, events, *n),
            WindowBody::Quiet { last, at } => match which.rule().clear {
                Some(Clear::Quiet(span)) => self.on_quiet_due(&window, &which, last, *at, span),
                _ => self.end_window(id),
            },
            WindowBody::Once { .. } | WindowBody::Absent { .. } | WindowBody::Suppress { .. } => self.end_window(id),
            // It waits for no time.
            WindowBody::Failing { .. } => {}
        }
    }
}
