//! Windows in the state: their order by rule, and the alerts that contribute to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_model::{AlertKey, Id, Timestamp, Window, WindowBody};

use super::State;

impl State {
    pub(super) fn put_window(&mut self, window: Arc<Window>) {
        let touched = self.windows.get(&window.id).map(|known| known.touched);
        if touched != Some(window.touched) {
            if let Some(touched) = touched {
                self.unorder_window(&window.rulebook, &window.rule, (touched, window.id));
            }
            self.order_window(&window);
        }
        self.dirty.windows.insert(window.id);
        self.windows.insert(window.id, window);
    }

    pub(super) fn drop_window(&mut self, id: Id) {
        let Some(old) = self.windows.remove(&id) else { return };
        self.failing.remove(&id);
        self.unorder_window(&old.rulebook, &old.rule, (old.touched, id));
        for key in self.held.remove(&id).unwrap_or_default() {
            self.alert(&key, |alert| alert.incidents.retain(|to| *to != id));
        }
        self.dirty.windows.insert(id);
    }

    pub(super) fn order_window(&mut self, window: &Window) {
        if matches!(window.body, WindowBody::Failing { .. }) {
            self.failing.insert(window.id);
            return;
        }
        let place = (window.touched, window.id);
        let order = self.windows_of.get_mut(&window.rulebook).and_then(|rules| rules.get_mut(&window.rule));
        match order {
            Some(order) => {
                order.insert(place);
            }
            None => {
                let rules = self.windows_of.entry(window.rulebook.clone()).or_default();
                rules.entry(window.rule.clone()).or_default().insert(place);
            }
        }
    }

    fn unorder_window(&mut self, rulebook: &str, rule: &str, place: (Timestamp, Id)) {
        let Some(rules) = self.windows_of.get_mut(rulebook) else { return };
        let Some(order) = rules.get_mut(rule) else { return };
        order.remove(&place);
        if order.is_empty() {
            rules.remove(rule);
        }
        if rules.is_empty() {
            self.windows_of.remove(rulebook);
        }
    }

    /// An open alert contributes to an incident or a window.
    pub(super) fn count_alert(&mut self, to: Id, alert: &AlertKey) {
        if self.windows.contains_key(&to) {
            self.held.entry(to).or_default().insert(alert.clone());
        } else {
            *self.open_alerts.entry(to).or_default() += 1;
        }
    }

    /// It has ended.
    pub(super) fn uncount_alert(&mut self, to: Id, alert: &AlertKey) {
        if let Some(held) = self.held.get_mut(&to) {
            held.remove(alert);
            if held.is_empty() {
                self.held.remove(&to);
            }
            return;
        }
        let open: &mut BTreeMap<Id, usize> = &mut self.open_alerts;
        if let Some(n) = open.get_mut(&to) {
            *n -= 1;
            if *n == 0 {
                open.remove(&to);
            }
        }
    }
}
