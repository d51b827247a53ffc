//! Patterns of several parts: which conditions a rule has, and members that read earlier ones.

use rhai::AST;

use super::{Compiled, EvalError, Evaluator, Implied, Purpose, holds};
use crate::script::check;
use crate::script::compile::{Compiler, Role};
use crate::script::member::split;
use crate::script::names::{Is, Names};
use crate::script::runtime::{Lazy, Named};
use crate::script::thresholds::without_thresholds;
use crate::{Bindings, Bound, ExprIx, ExprText, Pattern, Rule, RuleIx, Slot};

/// A condition on events, and the whole of it where it reads more than its own event.
pub(crate) struct Parsed {
    pub(crate) own: AST,
    pub(crate) whole: Option<AST>,
}

/// Compiles a condition; a member's is asked by what reads its own event.
pub(crate) fn parse(compiler: &Compiler, rule: &Rule, purpose: Purpose, text: &ExprText) -> Option<Parsed> {
    let names = names(text);
    let ast = compiler.parse_with(&text.text, Role::Condition, &names).ok()?;
    let (Purpose::Slot(Slot::Member(at)), Pattern::Members { members, .. }) = (purpose, &rule.pattern) else {
        return Some(match without_thresholds(&ast) {
            Some(own) => Parsed { own, whole: Some(ast) },
            None => Parsed { own: ast, whole: None },
        });
    };
    let (earlier, this) = (members.get(..usize::from(at))?, members.get(usize::from(at))?);
    let earlier: Vec<&str> = earlier.iter().map(|m| m.name.as_str()).collect();
    let parts = split(&ast, &this.name, &earlier);
    let whole = (!parts.reads.is_empty()).then_some(parts.whole);
    Some(Parsed { own: parts.own, whole })
}

/// The names that an expression may read; what they stand for was checked at load.
pub(crate) fn names(text: &ExprText) -> Names {
    Names { event: true, more: text.names.iter().map(|name| (name.clone(), Is::Event)).collect() }
}

/// The conditions of a rule that are asked of each event.
pub(crate) fn conditions_of(rule: &Rule) -> Vec<(Purpose, ExprIx)> {
    let mut all: Vec<(Purpose, ExprIx)> = rule.pattern.when().map(|ix| (Purpose::When, ix)).into_iter().collect();
    match &rule.pattern {
        Pattern::Members { members, unless, .. } => {
            all.extend((0..).zip(members).map(|(at, member)| (Purpose::Slot(Slot::Member(at)), member.when)));
            all.extend(unless.map(|ix| (Purpose::Slot(Slot::Unless), ix)));
        }
        Pattern::Absent { alive, .. } => all.extend(alive.map(|ix| (Purpose::Slot(Slot::Alive), ix))),
        _ => {}
    }
    all.extend(rule.clear_when().map(|ix| (Purpose::Clear, ix)));
    all.extend(rule.remedy.iter().enumerate().filter_map(|(i, s)| Some((Purpose::Verify(i), s.verify.when?))));
    all
}

/// What a condition implies: for `absent` any status is a sign of life.
pub(crate) fn implied(rule: &Rule, purpose: Purpose, ast: &AST) -> Implied {
    let is_absent = matches!(rule.pattern, Pattern::Absent { .. });
    match purpose {
        _ if check::mentions_status(ast) => Implied::Nothing,
        Purpose::Clear | Purpose::Verify(_) | Purpose::Slot(Slot::Alive) => Implied::NormalPhase,
        Purpose::When if is_absent => Implied::NormalPhase,
        Purpose::When | Purpose::Slot(_) => Implied::FiringInNormalPhase,
    }
}

impl Evaluator {
    /// Whether a member's whole condition holds for the event that is bound to its name, with those that are bound to
    /// earlier members' names. What reads a member that has not come is false.
    ///
    /// # Errors
    /// When it fails, or its own event is not bound.
    pub fn member_holds(&mut self, rule: RuleIx, member: u8, bound: &Bindings<'_>) -> Result<bool, EvalError> {
        let fail = |why: &str| Err(EvalError::Script(why.to_owned()));
        let set = std::sync::Arc::clone(&self.set);
        let Pattern::Members { members, .. } = &set.rule(rule).pattern else { return fail("the rule has no members") };
        let Some(member) = members.get(usize::from(member)) else { return fail("the rule has no such member") };
        let Some(Bound::Event(event)) = bound.get(&member.name) else { return fail("the member's event is not bound") };
        let Some(Compiled::Condition(at)) = self.exprs.get(member.when.0 as usize) else {
            return fail("no such condition");
        };
        let expr = member.when;
        let Some(condition) = self.conditions.get(*at) else { return fail("no such condition") };
        let lazy = &mut Lazy::default();
        let Some(whole) = &condition.whole else {
            return holds(condition, 0, &mut self.runtime, event, lazy, &mut self.asked.scripts)
                .map_err(|fault| self.failed(expr, "member", fault));
        };
        if !condition.implied.holds(event) {
            return Ok(false);
        }
        let visible = set.exprs.get(member.when.0 as usize).map_or(&[][..], |e| &e.names);
        let named = Named { visible, bound, own_incident: false };
        let held = self.runtime.condition_with(whole, event, lazy, named);
        held.map_err(|fault| self.failed(expr, "member", fault))
    }
}
