//! Another rule set: windows of rules that are gone or that wait for something else now are closed.

use std::sync::Arc;

use paramedic_model::{Id, TimerKind, Window, WindowBody};
use paramedic_rulebook::{Rule, RuleSet};

use super::Cx;
use crate::decision::Mark;

impl Cx<'_> {
    /// The scope goes by another set now. A rule that was renamed keeps its windows.
    pub(in crate::step) fn on_windows_of_new_set(&mut self) {
        if self.state.windows.is_empty() {
            return;
        }
        let Some(evaluator) = self.evaluator(self.state.head.set) else { return };
        let set = Arc::clone(evaluator.borrow().set());
        let ids: Vec<Id> = self.state.windows.keys().copied().collect();
        for id in ids {
            let Some(window) = self.state.windows.get(&id) else { continue };
            match heir(&set, window) {
                Some(rule) if *rule.name == *window.rule => {}
                Some(rule) => self.rename_window(id, &rule.name),
                None if matches!(window.body, WindowBody::Failing { .. }) => {
                    let window = window.clone();
                    self.on_failing_rule_changed(&window);
                }
                None => self.end_window(id),
            }
        }
    }

    fn rename_window(&mut self, id: Id, rule: &str) {
        let Some(old) = self.state.windows.get(&id).cloned() else { return };
        let new = Window::id_of(self.scope, &old.rulebook, rule, old.body.purpose(), &old.by);
        let timer = self.state.timers.get(&TimerKind::Window.id(id)).map(|timer| timer.due);
        let held = self.state.held.get(&id).cloned().unwrap_or_default();
        if self.state.windows.contains_key(&new) {
            return self.end_window(id);
        }
        let window = Window { id: new, rule: rule.into(), ..Window::clone(&old) };
        self.mark(Mark::WindowChanged { window: Arc::new(window) });
        held.iter().for_each(|alert| self.hold_alert(new, alert));
        if let Some(due) = timer {
            self.set_timer(new, TimerKind::Window, due);
        }
        self.end_window(id);
    }
}

/// The rule that goes on with a window.
fn heir<'s>(set: &'s RuleSet, window: &Window) -> Option<&'s Rule> {
    let book = set.rulebooks.iter().find(|b| *b.name == *window.rulebook)?;
    let is_it = |rule: &&Rule| match window.body {
        WindowBody::Failing { .. } => rule.digest == window.shape,
        _ => rule.shape == window.shape,
    };
    let rules = || book.rules.iter().map(|ix| set.rule(*ix)).filter(is_it);
    rules()
        .find(|rule| *rule.name == *window.rule)
        .or_else(|| rules().find(|rule| rule.formerly.iter().any(|name| **name == *window.rule)))
}
