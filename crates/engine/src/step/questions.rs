//! What rules ask when they fire: which CI it is about, and whether what they ask for is so.

use paramedic_model::{Alert, Ci, Id, Span, Timestamp};
use paramedic_rulebook::{Ctx, EvalError, Evaluator, Lookups, Rule, RuleSet, about_of};
use serde_json::{Value, json};

use super::Cx;
use super::pattern::{Hit, Which};
use crate::state::State;

/// Answers about open alerts and records, from the working state.
pub(super) struct Kept<'a> {
    state: &'a State,
    now: Timestamp,
}

impl Kept<'_> {
    fn alerts_on<'s>(&'s self, ci: &'s Ci) -> impl Iterator<Item = &'s Alert> {
        let is_it = |alert: &Alert| self.state.cmdb.identify(&alert.ci).is_ok_and(|of| of.id == ci.id);
        self.state.alerts.find(move |alert| is_it(alert)).map(|alert| &**alert)
    }
}

impl Lookups for Kept<'_> {
    fn open_incident(&self, ci: Id) -> Option<Value> {
        let of_ci = self.state.incidents.values().filter(|i| i.ci == Some(ci) && i.state.is_open() && !i.shadow);
        let first = of_ci.min_by_key(|i| (i.opened_at, i.id))?;
        let mut record = serde_json::to_value(first).ok()?;
        record["priority"] = json!(first.priority());
        Some(record)
    }

    fn open_alert(&self, ci: Id, type_: Option<&str>) -> Option<Value> {
        let ci = self.state.cmdb.get(ci)?;
        let open = self.alerts_on(ci).filter(|a| a.is_open() && type_.is_none_or(|t| *t == *a.type_));
        serde_json::to_value(open.min_by_key(|a| (a.began, &a.key))?).ok()
    }

    fn healthy(&self, ci: Id, within: Span) -> Option<bool> {
        let known = self.state.cmdb.get(ci)?;
        if self.open_incident(ci).is_some() || self.alerts_on(known).any(Alert::is_open) {
            return Some(false);
        }
        let heard = self.alerts_on(known).map(|a| a.last_seen).max()?;
        (self.now.since(heard) <= within).then_some(true)
    }
}

impl Cx<'_> {
    pub(super) fn lookups(&self) -> Kept<'_> {
        Kept { state: self.state, now: self.now }
    }

    /// Evaluates something of a rule when it fires, with all that it may read.
    pub(super) fn asked<T>(
        &self,
        rule: &Rule,
        set: &RuleSet,
        hit: Hit<'_>,
        f: impl FnOnce(&mut Evaluator, &Ctx<'_>) -> Result<T, EvalError>,
    ) -> Result<T, EvalError> {
        let evaluator = self.evaluator(set.digest).ok_or_else(|| EvalError::Script("no rules".to_owned()))?;
        let (names, lookups) = (self.bindings(hit.names), self.lookups());
        let about = self.about_of(rule, set, hit).ok();
        let ctx =
            Ctx { names: &names, lookups: Some(&lookups), ..Ctx::of(hit.event, about, &self.state.cmdb, self.now) };
        f(&mut evaluator.borrow_mut(), &ctx)
    }

    /// Whether the rule is wanted now; what is unknown is no.
    pub(super) fn is_wanted(&self, which: &Which, hit: Hit<'_>) -> bool {
        let Some(expr) = which.rule().only_if else { return true };
        self.asked(which.rule(), &which.set, hit, |e, ctx| e.condition(expr, ctx)).unwrap_or(false)
    }

    /// The CI that a rule is about; an error says why there is none, or that there are several.
    pub(super) fn about_of(&self, rule: &Rule, set: &RuleSet, hit: Hit<'_>) -> Result<&Ci, String> {
        about_of(rule, self.scope, hit.event, &self.state.cmdb, |name, own| {
            let evaluator = self.evaluator(set.digest).ok_or("the rule set is not known")?;
            let names = self.bindings(hit.names);
            let ctx = Ctx { names: &names, ..Ctx::of(hit.event, own, &self.state.cmdb, self.now) };
            evaluator.borrow_mut().target(name, &ctx).map_err(|e| e.to_string())
        })
    }
}
