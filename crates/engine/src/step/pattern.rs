//! Between a match and what follows from it: windows, which remember what a rule waits for.
//!
//! Always in this order: when -> count, measure, all... -> for -> settle -> once -> action.

mod absent;
mod count;
mod every;
mod holds;
mod measure;
mod members;
mod names;
mod once;
mod published;
mod quiet;
mod settle;
pub(super) mod upon;
mod window;

use std::sync::Arc;

use paramedic_model::{AlertKey, Autonomy, Kind, Names, OwnedEvent, Status, Window};
use paramedic_rulebook::{Clear, EvalError, Matches, Pattern, Rule, RuleIx, RuleSet, Slot};
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
    /// Conditions of rules held, in the order of the rules.
    pub(super) fn on_matches(&mut self, hit: Hit<'_>, matches: &Matches) {
        let last_resort = self.fallbacks(matches);
        if last_resort.is_empty() {
            return self.on_these(hit, matches);
        }
        let keep = |ix: &RuleIx| !last_resort.contains(ix);
        let mut first = matches.clone();
        first.when.retain(|ix| keep(ix));
        first.slots.retain(|(ix, _)| keep(ix));
        let claimed = self.is_claimed(&first);
        self.on_these(hit, &first);
        if claimed {
            return self.ignore("claimed by another rule");
        }
        let mut rest = matches.clone();
        rest.when.retain(|ix| !keep(ix));
        rest.slots.retain(|(ix, _)| !keep(ix));
        self.on_these(hit, &rest);
    }

    /// Rules that are for what no other claims.
    fn fallbacks(&self, matches: &Matches) -> Vec<RuleIx> {
        let Some(evaluator) = self.evaluator(self.state.head.set) else { return Vec::new() };
        let evaluator = evaluator.borrow();
        let all = matches.when.iter().chain(matches.slots.iter().map(|(ix, _)| ix));
        all.copied().filter(|ix| evaluator.set().rule(*ix).fallback).collect()
    }

    /// Whether a rule that does more than observe matched.
    fn is_claimed(&self, matches: &Matches) -> bool {
        let Some(evaluator) = self.evaluator(self.state.head.set) else { return false };
        let evaluator = evaluator.borrow();
        let set = evaluator.set();
        let mut all = matches.when.iter().chain(matches.slots.iter().map(|(ix, _)| ix));
        all.any(|ix| set.autonomy(set.rulebook_of(set.rule(*ix))) > Autonomy::Observe)
    }

    fn on_these(&mut self, hit: Hit<'_>, matches: &Matches) {
        let (mut whens, mut slots) = (&matches.when[..], &matches.slots[..]);
        loop {
            let next = [whens.first().copied(), slots.first().map(|(ix, _)| *ix)].into_iter().flatten().min();
            let Some(ix) = next else { return };
            if let Some((first, rest)) = whens.split_first()
                && *first == ix
            {
                whens = rest;
                self.on_match(hit, ix);
                continue;
            }
            let n = slots.iter().take_while(|(of, _)| *of == ix).count();
            let (these, rest) = slots.split_at(n);
            slots = rest;
            let parts: Vec<Slot> = these.iter().map(|(_, slot)| *slot).collect();
            if parts.iter().any(|slot| *slot != Slot::Alive)
                && let Some(which) = self.which(hit, ix)
            {
                self.on_parts(&which, hit, &parts);
            }
        }
    }

    /// A rule's `when` held.
    fn on_match(&mut self, hit: Hit<'_>, ix: RuleIx) {
        let Some(which) = self.which(hit, ix) else { return };
        let (signal, names) = if let Some(counting) = counting(which.rule()) {
            self.on_counted(&which, hit, counting)
        } else if let Some(measuring) = measuring(which.rule()) {
            self.on_sample(&which, hit, measuring)
        } else if matches!(which.rule().pattern, Pattern::Event { .. }) {
            (Signal::Fires, Names::new())
        } else {
            // What should not be absent, and has come, was seen before.
            return;
        };
        // Now it is more than a sample: an alert, that ends with its incident.
        let is_open = self.state.alerts.get(hit.alert).is_some_and(|a| a.is_open());
        if !is_open && hit.event.status == Status::Firing && matches!(signal, Signal::Fires | Signal::GoesOn) {
            self.open_alert(hit.event, hit.alert, hit.event.began.unwrap_or(hit.event.time));
        }
        self.on_signal(&which, Hit { names: &names, ..hit }, signal);
    }

    /// Whether an event that matched so is an alert, and not only a sample or a sign of life.
    pub(super) fn is_alert(&self, event: &OwnedEvent, matches: &Matches) -> bool {
        let of_parts = matches.slots.iter().any(|(_, slot)| *slot != Slot::Alive);
        of_parts
            || !self.all_rules(matches, |rule| match rule.pattern {
                Pattern::Absent { .. } => true,
                Pattern::Count { .. } | Pattern::Measure { .. } => event.kind != Kind::Alert,
                _ => false,
            })
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
            return Ok(vec![json!(&*hit.alert.source), json!(&*hit.alert.dedup_key)]);
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
        if rule.suppress.is_some() {
            self.end_suppression(which, event);
        }
        match &rule.pattern {
            Pattern::Count { .. } | Pattern::Upon { count: Some(_), .. } => {
                self.end_window(self.window_id(which, Window::COUNT))
            }
            Pattern::Measure { .. } => self.end_window(self.window_id(which, Window::MEASURE)),
            Pattern::Members { .. } => self.end_window(self.window_id(which, Window::MEMBERS)),
            _ => {}
        }
    }
}

fn counting(rule: &Rule) -> Option<Counting> {
    match rule.pattern {
        Pattern::Count { at_least, within, distinct, .. } => Some(Counting { at_least, within, distinct }),
        _ => upon::counted(rule),
    }
}

fn measuring(rule: &Rule) -> Option<Measuring> {
    match rule.pattern {
        Pattern::Measure { measured, of, over, is, .. } => Some(Measuring { measured, of, over, is }),
        _ => None,
    }
}
