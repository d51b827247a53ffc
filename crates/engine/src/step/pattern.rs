//! Between a match and what follows from it: windows, which remember what a rule waits for.
//!
//! Always in this order: when -> count, measure, all... -> for -> settle -> once -> action.

mod count;
mod holds;
mod measure;
mod names;
mod once;
mod published;
mod quiet;
mod settle;
mod window;

use std::sync::Arc;

use paramedic_model::{AlertKey, Names, OwnedEvent, Status, Window};
use paramedic_rulebook::{Clear, EvalError, Matches, Pattern, Rule, RuleIx, RuleSet};
use serde_json::{Value, json};

use super::Cx;
use count::Counting;
use measure::Measuring;

/// A rule for one value of its `by`.
pub(super) struct Which {
    pub(super) set: Arc<RuleSet>,
    pub(super) ix: RuleIx,
    pub(super) by: Vec<Value>,
}

impl Which {
    pub(super) fn rule(&self) -> &Rule {
        self.set.rule(self.ix)
    }

    pub(super) fn book(&self) -> &str {
        &self.set.rulebook_of(self.rule()).name
    }
}

/// An event for which a condition of a rule held.
#[derive(Clone, Copy)]
pub(super) struct Hit<'a> {
    pub(super) event: &'a OwnedEvent,
    /// What it is about.
    pub(super) alert: &'a AlertKey,
    /// What the pattern has bound so far.
    pub(super) names: &'a Names,
}

static NO_NAMES: Names = Names::new();

impl<'a> Hit<'a> {
    /// Of an event as it comes.
    pub(super) fn of(event: &'a OwnedEvent, alert: &'a AlertKey) -> Self {
        Self { event, alert, names: &NO_NAMES }
    }
}

/// What a pattern says to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    /// It is not complete.
    Waits,
    /// It is complete.
    Fires,
    /// It was complete before, and still is.
    GoesOn,
    /// It was, and is no more.
    Fell,
}

impl Cx<'_> {
    /// A rule's `when` held.
    pub(super) fn on_match(&mut self, hit: Hit<'_>, ix: RuleIx) {
        let Some(which) = self.which(hit, ix) else { return };
        let (signal, names) = if let Some(counting) = counting(which.rule()) {
            self.on_counted(&which, hit, counting)
        } else if let Some(measuring) = measuring(which.rule()) {
            self.on_sample(&which, hit, measuring)
        } else if matches!(which.rule().pattern, Pattern::Event { .. }) {
            (Signal::Fires, Names::new())
        } else {
            return;
        };
        // Now it is more than a sample: an alert, that ends with its incident.
        let is_open = self.state.alerts.get(hit.alert).is_some_and(|a| a.is_open());
        if !is_open && hit.event.status == Status::Firing && matches!(signal, Signal::Fires | Signal::GoesOn) {
            self.open_alert(hit.event, hit.alert, hit.event.began.unwrap_or(hit.event.time));
        }
        self.on_signal(&which, Hit { names: &names, ..hit }, signal);
    }

    /// Whether all that these rules do with an event is to count or measure it.
    pub(super) fn only_samples(&self, matches: &Matches) -> bool {
        self.all_rules(matches, |rule| matches!(rule.pattern, Pattern::Count { .. } | Pattern::Measure { .. }))
    }

    /// Whether all rules whose `when` held are so.
    pub(super) fn all_rules(&self, matches: &Matches, so: impl Fn(&Rule) -> bool) -> bool {
        self.evaluator(self.state.head.set).is_some_and(|evaluator| {
            let evaluator = evaluator.borrow();
            matches.when.iter().all(|ix| so(evaluator.set().rule(*ix)))
        })
    }

    fn on_signal(&mut self, which: &Which, hit: Hit<'_>, signal: Signal) {
        let rule = which.rule();
        if let (Some(Clear::Quiet(span)), Signal::Fires | Signal::GoesOn) = (rule.clear, signal) {
            self.on_noise(which, hit, span);
        }
        match (signal, rule.stays, rule.settle) {
            (Signal::Waits, ..) | (Signal::Fell, None, _) => {}
            (Signal::Fell, Some(_), _) => self.end_window(self.window_id(which, Window::HOLDS)),
            (Signal::Fires | Signal::GoesOn, Some(span), _) => self.on_holding(which, hit, span),
            (Signal::Fires, None, Some(span)) => self.on_settling(which, hit, span),
            (Signal::Fires, None, None) => self.on_fired(which, hit),
            (Signal::GoesOn, None, _) => self.feed(which, hit),
        }
    }

    /// What is counted or measured may have come to be too little since the last event.
    fn still_holds(&self, which: &Which) -> bool {
        let rule = which.rule();
        match (counting(rule), measuring(rule)) {
            (Some(counting), _) => self.still_enough(which, counting),
            (_, Some(measuring)) => self.still_so(which, measuring),
            _ => true,
        }
    }

    /// The rule under the active set, for what the event is about. `None`, and counted, where a part of `by` is missing.
    fn which(&mut self, hit: Hit<'_>, ix: RuleIx) -> Option<Which> {
        let Some(evaluator) = self.evaluator(self.state.head.set) else {
            self.ignore("unknown rule set");
            return None;
        };
        let set = Arc::clone(evaluator.borrow().set());
        match self.by_of(&set, ix, hit) {
            Ok(by) => Some(Which { set, ix, by }),
            Err(EvalError::Missing(_)) => {
                self.ignore("a part of `by` is missing");
                None
            }
            Err(EvalError::Script(_)) => {
                self.ignore("`by` failed");
                None
            }
        }
    }

    /// The values of `by`; without one, the alert.
    pub(super) fn by_of(&self, set: &RuleSet, ix: RuleIx, hit: Hit<'_>) -> Result<Vec<Value>, EvalError> {
        if set.rule(ix).by.is_none() {
            return Ok(vec![json!(hit.alert.source), json!(hit.alert.dedup_key)]);
        }
        match self.evaluator(set.digest) {
            Some(evaluator) => evaluator.borrow_mut().by(ix, hit.event),
            None => Err(EvalError::Script("no rules".into())),
        }
    }

    /// The rule's `clear` held: what it waits for begins anew.
    pub(super) fn clear_windows(&mut self, which: &Which, event: &OwnedEvent) {
        let rule = which.rule();
        self.clear_holding(which, event);
        if rule.once.is_some() {
            self.end_window(self.window_id(which, Window::ONCE));
        }
        match &rule.pattern {
            Pattern::Count { .. } => self.end_window(self.window_id(which, Window::COUNT)),
            Pattern::Measure { .. } => self.end_window(self.window_id(which, Window::MEASURE)),
            _ => {}
        }
    }
}

fn counting(rule: &Rule) -> Option<Counting> {
    match rule.pattern {
        Pattern::Count { at_least, within, distinct, .. } => Some(Counting { at_least, within, distinct }),
        _ => None,
    }
}

fn measuring(rule: &Rule) -> Option<Measuring> {
    match rule.pattern {
        Pattern::Measure { measured, of, over, is, .. } => Some(Measuring { measured, of, over, is }),
        _ => None,
    }
}
