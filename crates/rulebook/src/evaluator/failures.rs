//! What failed while it was evaluated: whose it is, where it stands and why.

use super::{EvalError, Evaluator};
use crate::script::runtime::Fault;
use crate::{ExprIx, RuleIx, RuleSet};

/// An expression or script of a rule that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whose it is.
    pub rule: RuleIx,
    /// File and line, without the folder: the same rules say the same wherever they lie.
    pub at: String,
    /// Which of the rule's expressions, and what is wrong with it: `then: too much work: it was stopped`.
    pub why: String,
}

impl Evaluator {
    /// What has failed since this was last asked, conditions of [`super::Matches`] aside: those are told there.
    pub fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }

    /// An expression failed: it is noted as its rule's.
    pub(super) fn failed(&mut self, expr: ExprIx, what: &str, fault: Fault) -> EvalError {
        self.failures.extend(failure(&self.set, expr, what, &fault));
        EvalError::Script(fault.why)
    }

    /// It gave what cannot be used.
    pub(super) fn unusable(&mut self, expr: ExprIx, what: &str, why: String) -> EvalError {
        self.failed(expr, what, Fault::new(why))
    }
}

/// `None` for what belongs to no rule.
pub(super) fn failure(set: &RuleSet, expr: ExprIx, what: &str, fault: &Fault) -> Option<Failure> {
    let rule = set.exprs.get(expr.0 as usize)?.rule?;
    Some(Failure { rule, at: place(set, expr, fault), why: format!("{what}: {}", fault.why) })
}

/// File and line of what failed, without the folder.
pub(super) fn place(set: &RuleSet, expr: ExprIx, fault: &Fault) -> String {
    let Some(text) = set.exprs.get(expr.0 as usize) else { return String::new() };
    let file = text.place.file.rsplit(['/', '\\']).next().unwrap_or_default();
    format!("{file}:{}", text.place.line + fault.line - 1)
}
