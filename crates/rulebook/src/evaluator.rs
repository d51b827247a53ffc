//! Evaluates the expressions of a set.

use std::sync::Arc;

use paramedic_model::{Ci, Cmdb, Event, Level, Timestamp};
use serde_json::Value;
use smallvec::SmallVec;

use crate::{ExprIx, Field, RuleIx, RuleSet, Template};

/// What a value expression may read.
#[derive(Clone, Copy)]
pub struct Ctx<'a> {
    /// The event.
    pub event: &'a Event<'a>,
    /// The CI that the incident is about, where there is one.
    pub about: Option<&'a Ci>,
    /// The CMDB of the scope.
    pub cmdb: &'a Arc<Cmdb>,
    /// The stamp of the input.
    pub now: Timestamp,
}

/// Which conditions hold for one event. Each list is sorted by rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// Rules whose `when` holds.
    pub when: SmallVec<[RuleIx; 4]>,
    /// Rules whose explicit `clear` holds.
    pub clear: SmallVec<[RuleIx; 4]>,
    /// Remedy steps, by position from 0, whose own `verify.when` holds.
    pub verify: SmallVec<[(RuleIx, usize); 2]>,
    /// Conditions that failed to evaluate, and why; they count as not held.
    pub failed: Vec<(RuleIx, String)>,
}

impl Matches {
    /// Whether nothing held and nothing failed.
    pub fn is_empty(&self) -> bool {
        self.when.is_empty() && self.clear.is_empty() && self.verify.is_empty() && self.failed.is_empty()
    }
}

/// Why an expression gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A part of `by` or `key` is missing: no match, and counted.
    #[error("{0} is missing")]
    Missing(String),
    /// The expression failed, or gave what cannot be used.
    #[error("{0}")]
    Script(String),
}

/// The compiled form of a set, for one thread.
pub struct Evaluator {
    set: Arc<RuleSet>,
}

impl Evaluator {
    /// Compiles a set.
    pub fn new(set: Arc<RuleSet>) -> Self {
        Self { set }
    }
    /// The set.
    pub fn set(&self) -> &Arc<RuleSet> {
        &self.set
    }
    /// Which conditions hold.
    pub fn matches(&mut self, _event: &Event<'_>) -> Matches {
        Matches::default()
    }
    /// The same answer without the index.
    pub fn matches_brute_force(&mut self, _event: &Event<'_>) -> Matches {
        Matches::default()
    }
    /// The parts of a rule's `by`.
    ///
    /// # Errors
    /// When a part is missing or fails.
    pub fn by(&mut self, _rule: RuleIx, _event: &Event<'_>) -> Result<Vec<Value>, EvalError> {
        Ok(vec![])
    }
    /// A value.
    ///
    /// # Errors
    /// When it fails.
    pub fn eval(&mut self, _expr: ExprIx, _ctx: &Ctx<'_>) -> Result<Value, EvalError> {
        Ok(Value::Null)
    }
    /// An impact or urgency.
    ///
    /// # Errors
    /// When it fails or is no level.
    pub fn level(&mut self, _field: &Field<Level>, _ctx: &Ctx<'_>) -> Result<Level, EvalError> {
        Ok(Level::Low)
    }
    /// Whether a condition holds; missing and failed is no.
    pub fn holds(&mut self, _expr: ExprIx, _event: &Event<'_>) -> bool {
        false
    }
    /// A target: the name or id of a CI.
    ///
    /// # Errors
    /// When it fails or is no text.
    pub fn target(&mut self, _expr: ExprIx, _ctx: &Ctx<'_>) -> Result<String, EvalError> {
        Ok(String::new())
    }
    /// A text.
    pub fn render(&self, _template: &Template, _event: &Event<'_>, _about: Option<&str>) -> String {
        String::new()
    }
}
