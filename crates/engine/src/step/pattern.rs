//! Between a match and what follows from it: windows, which remember what a rule waits for.
//!
//! Always in this order: when -> count, measure, all... -> for -> once -> action.

mod holds;
mod published;
mod window;

use std::sync::Arc;

use paramedic_model::{AlertKey, OwnedEvent};
use paramedic_rulebook::{EvalError, Pattern, Rule, RuleIx, RuleSet};
use serde_json::{Value, json};

use super::Cx;

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
}

/// What a pattern says to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    /// It is complete.
    Fires,
}

impl Cx<'_> {
    /// A rule's `when` held.
    pub(super) fn on_match(&mut self, hit: Hit<'_>, ix: RuleIx) {
        let Some(which) = self.which(hit, ix) else { return };
        let signal = match &which.rule().pattern {
            Pattern::Event { .. } => Signal::Fires,
            // The rest does not come from the reader yet.
            _ => return,
        };
        self.on_signal(&which, hit, signal);
    }

    fn on_signal(&mut self, which: &Which, hit: Hit<'_>, signal: Signal) {
        match (signal, which.rule().stays) {
            (Signal::Fires, Some(span)) => self.on_holding(which, hit, span),
            (Signal::Fires, None) => self.on_fired(which, hit),
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
        self.clear_holding(which, event);
    }
}
