//! How conditions are found, and what asking them came to.

use super::{Condition, Evaluator};
use crate::RuleIx;
use crate::condition::Cond;
use crate::index::Filed;

/// How one condition of a rule is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedCondition {
    /// The rule.
    pub rule: RuleIx,
    /// Which of its conditions: `when`, `clear`, `verify`...
    pub purpose: &'static str,
    /// How.
    pub how: HowFound,
    /// Nothing of it needs Rhai: it costs some ten nanoseconds, not a microsecond.
    pub native: bool,
}

/// By what a condition is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HowFound {
    /// It is asked about events that pass these tests, which are looked up one after the other.
    Index(Vec<String>),
    /// It is asked about every event, for this reason.
    EveryEvent(&'static str),
    /// It can hold for no event, and is never asked.
    Never,
}

/// How often conditions were asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Conditions that the index named for an event.
    pub indexed: u64,
    /// Conditions that no index finds: asked for every event.
    pub unindexed: u64,
    /// Of both, those for which Rhai ran.
    pub scripts: u64,
}

impl Evaluator {
    /// How each condition is found, in the order of the rules.
    pub fn explain_index(&self) -> Vec<IndexedCondition> {
        let conditions = self.conditions.iter().zip(self.index.filed());
        conditions
            .map(|(c, filed)| IndexedCondition {
                rule: c.rule,
                purpose: c.purpose.name(),
                how: match filed {
                    Filed::Under(keys) => HowFound::Index(keys.clone()),
                    Filed::Always => HowFound::EveryEvent(why_not(c)),
                    Filed::Nowhere => HowFound::Never,
                },
                native: c.script.is_none() && c.whole.is_none(),
            })
            .collect()
    }

    /// How many rules have a condition that is asked for every event.
    pub fn unindexed_rules(&self) -> usize {
        let conditions = self.conditions.iter().zip(self.index.filed());
        let mut rules: Vec<RuleIx> = conditions.filter(|(_, f)| **f == Filed::Always).map(|(c, _)| c.rule).collect();
        rules.dedup();
        rules.len()
    }

    /// How often conditions were asked since this was last called.
    pub fn take_asked(&mut self) -> Asked {
        std::mem::take(&mut self.asked)
    }
}

fn why_not(condition: &Condition) -> &'static str {
    let says_nothing = |c: &Cond| matches!(c, Cond::Const(true)) || matches!(c, Cond::And(all) if all.is_empty());
    match &condition.native {
        native if condition.script.is_some() && says_nothing(native) => {
            "only Rhai can say whether it holds; put a comparison of a field with a fixed value before it, with `&&`"
        }
        Cond::Or(_) => "a side of its `||` compares no field with a fixed value; give each side one, such as its type",
        Cond::Not(_) => "`!` says what an event is not; add what it is, such as its type",
        _ => "it compares no field with a fixed value that can be looked up; add one, such as event.type == \"...\"",
    }
}
