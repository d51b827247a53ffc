//! What a rule that matches asks of the CMDB, with its answers.

use std::sync::Arc;

use paramedic_model::{Ci, Cmdb, OwnedEvent, Timestamp};

use crate::{Ctx, Evaluator, Pattern, RemedyStep, Rule, Spread, TargetSpec, about_of, cis_of};

/// The CMDB of the scope that events are in.
pub(super) struct Known {
    pub(super) cmdb: Arc<Cmdb>,
    pub(super) scope: String,
}

/// Answers, in words.
pub(super) struct Answers {
    /// The CI that the rule is about.
    pub(super) about: String,
    /// Whether `only_if` holds.
    pub(super) only_if: Option<String>,
    /// Of each remedy, what is run and on what, or why it is passed over.
    pub(super) remedies: Vec<String>,
}

/// Of a rule that one event fires. What a pattern of several binds is not known beforehand, nor are open alerts and
/// records.
pub(super) fn answers(evaluator: &mut Evaluator, known: &Known, rule: &Rule, event: &OwnedEvent) -> Option<Answers> {
    if !matches!(rule.pattern, Pattern::Event { .. }) {
        return None;
    }
    let Known { cmdb, scope } = known;
    let name = |expr, own| {
        let ctx = ctx(event, own, cmdb);
        evaluator.target(expr, &ctx).map_err(|why| why.to_string())
    };
    let about = about_of(rule, scope, event, cmdb, name);
    let ctx = ctx(event, about.as_ref().ok().copied(), cmdb);
    let only_if = rule.only_if.map(|expr| match evaluator.condition(expr, &ctx) {
        Ok(true) => "yes".to_owned(),
        Ok(false) => "no, so that nothing follows".to_owned(),
        Err(why) => format!("no, so that nothing follows: {why}"),
    });
    let remedies = (1..).zip(&rule.remedy).map(|(number, step)| {
        let outcome = match outcome(evaluator, rule, step, &ctx) {
            Ok(on) => on,
            Err(why) => format!("is passed over: {why}"),
        };
        format!("remedy {number}, {}, {outcome}", step.playbook)
    });
    let remedies = remedies.collect();
    let about = match &about {
        Ok(ci) => format!("is about {}", named(ci)),
        Err(why) => format!("is about no CI that the CMDB knows: {why}"),
    };
    Some(Answers { about, only_if, remedies })
}

fn ctx<'a>(event: &'a OwnedEvent, about: Option<&'a Ci>, cmdb: &'a Arc<Cmdb>) -> Ctx<'a> {
    // An event that was read from a file was received just now.
    let now: Timestamp = event.received.max(event.time);
    Ctx::of(event, about, cmdb, now)
}

/// What is run and on what; an error says why it is passed over.
fn outcome(evaluator: &mut Evaluator, rule: &Rule, step: &RemedyStep, ctx: &Ctx<'_>) -> Result<String, String> {
    if let Some(expr) = step.only_if {
        match evaluator.condition(expr, ctx) {
            Ok(true) => {}
            Ok(false) => return Err("its only_if does not hold".to_owned()),
            Err(why) => return Err(format!("its only_if: {why}")),
        }
    }
    let set = Arc::clone(evaluator.set());
    let targets = targets_of(evaluator, step, ctx)?;
    for target in &targets {
        let environment = target.environment.as_deref().unwrap_or_default();
        if let Some(what) = set.rulebook_of(rule).may.refuses(&step.playbook, &target.class, environment) {
            return Err(format!("`may` does not name {what}"));
        }
    }
    let [first, others @ ..] = targets.as_slice() else { return Err("it has no target".to_owned()) };
    let asks = step.approve.as_ref().map(|a| format!(", when {} says yes", a.by)).unwrap_or_default();
    let then = Spread::and_then_on(others.len());
    Ok(format!("would run on {}{then}{asks}", named(first)))
}

fn targets_of<'a>(evaluator: &mut Evaluator, step: &RemedyStep, ctx: &Ctx<'a>) -> Result<Vec<&'a Ci>, String> {
    let TargetSpec::Computed(expr) = step.target else {
        return Ok(vec![ctx.about.ok_or("there is no CI to act on")?]);
    };
    let names = evaluator.targets_of(step, expr, ctx).map_err(|why| why.to_string())?;
    cis_of(ctx.cmdb, &names)
}

/// A CI with what rules tell apart.
fn named(ci: &Ci) -> String {
    let environment = ci.environment.as_ref().map(|e| format!(", {e}")).unwrap_or_default();
    format!("{} ({}{environment})", ci.name, ci.class)
}
