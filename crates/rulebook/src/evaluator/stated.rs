//! What the conditions and values of a set say, for those who have no event.

use super::{Compiled, Condition, Evaluator, Implied, Purpose};
use crate::condition::{Cond, Term};
use crate::script::native::{expression, necessary};
use crate::script::thresholds::with_defaults;
use crate::{ExprIx, RuleIx};

/// What is known of a condition without an event.
pub(crate) struct Stated<'e> {
    pub(crate) rule: RuleIx,
    pub(crate) purpose: Purpose,
    pub(crate) implied: Implied,
    /// What must hold where the condition does, besides what it implies.
    pub(crate) native: &'e Cond,
    /// And then it does.
    pub(crate) is_whole: bool,
    /// Where it reads thresholds, what must hold with their defaults.
    pub(crate) with_defaults: Option<Cond>,
}

impl Evaluator {
    /// The conditions, in the order of the rules.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = Stated<'_>> {
        self.conditions.iter().map(|c| Stated {
            rule: c.rule,
            purpose: c.purpose,
            implied: c.implied,
            native: &c.native,
            is_whole: c.script.is_none() && c.whole.is_none(),
            with_defaults: self.necessary_with_defaults(c),
        })
    }

    fn necessary_with_defaults(&self, condition: &Condition) -> Option<Cond> {
        let whole = with_defaults(condition.whole.as_ref()?, &self.set.site.thresholds)?;
        Some(necessary(expression(&whole)?))
    }

    /// A value of the pure subset.
    pub(crate) fn native(&self, expr: ExprIx) -> Option<&Term> {
        match self.exprs.get(expr.0 as usize)? {
            Compiled::Native(term) => Some(term),
            _ => None,
        }
    }
}
