//! Conditions with thresholds that each CI may have its own of. Where events are matched no CMDB is at hand: there such
//! a condition is asked by what it says besides, and its whole where the CMDB is known.

use std::sync::Arc;

use paramedic_model::{Cmdb, Event};

use super::{Evaluator, Failure, Matches, Purpose, failures};
use crate::RuleIx;
use crate::Slot;
use crate::script::runtime::Lazy;

impl Evaluator {
    /// What is left of matches when the conditions with thresholds are asked as a whole, with those of the event's CI.
    #[must_use]
    pub fn with_thresholds(&mut self, mut found: Matches, seen: &Event<'_>, cmdb: &Arc<Cmdb>) -> Matches {
        if self.with_thresholds.is_empty() {
            return found;
        }
        let mut lazy = Lazy::default();
        let mut failed: Vec<Failure> = Vec::new();
        let mut holds = |rule: RuleIx, purpose: Purpose| {
            let at = self.with_thresholds.get(&(rule, purpose)).and_then(|at| self.conditions.get(*at));
            let Some((condition, whole)) = at.and_then(|c| Some((c, c.whole.as_ref()?))) else { return true };
            self.asked.scripts += 1;
            self.runtime.condition_of_ci(whole, seen, &mut lazy, cmdb).unwrap_or_else(|fault| {
                failed.extend(failures::failure(&self.set, condition.expr, purpose.name(), &fault));
                false
            })
        };
        found.when.retain(|rule| holds(*rule, Purpose::When));
        found.clear.retain(|rule| holds(*rule, Purpose::Clear));
        found.slots.retain(|(rule, slot): &mut (RuleIx, Slot)| holds(*rule, Purpose::Slot(*slot)));
        found.verify.retain(|(rule, step)| holds(*rule, Purpose::Verify(*step)));
        found.failed.extend(failed);
        found
    }

    /// [`Evaluator::match_seen`], where no CMDB is at hand: each threshold is its default.
    pub fn match_without_cmdb(&mut self, seen: &Event<'_>) -> Matches {
        let found = self.match_seen(seen);
        self.with_thresholds(found, seen, &Arc::default())
    }
}
