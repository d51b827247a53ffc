//! What follows from a match, in words.

use paramedic_model::Autonomy;

use super::asked::Answers;
use super::conditions::STATUS;
use super::{ConditionTold, Held};
use crate::{Comparison, ExprIx, Measured, Pattern, Rule, RuleIx, RuleSet, Together};

/// What a rule does about an event, and what else it waits for; of one that matches with what the CMDB answers, where
/// that is known.
pub(super) fn told(
    set: &RuleSet,
    rule: &Rule,
    conditions: &[ConditionTold],
    matches: Option<Option<&Answers>>,
    matched: &[RuleIx],
) -> Vec<String> {
    let mut then = Vec::new();
    let (matches, answers) = (matches.is_some(), matches.flatten());
    match &rule.pattern {
        Pattern::Upon { step, .. } => then.push(format!("waits for {step}, a record's step, and for no event")),
        Pattern::Every { cron, timezone } => {
            then.push(format!("fires by the schedule {cron:?} ({timezone}), and at no event"));
        }
        _ if matches => {
            then.extend(waits(set, rule, conditions));
            match claimant(set, rule, matched) {
                Some(claimant) => then.push(format!("is a fallback, and {claimant} claims the event: nothing follows")),
                None => {
                    then.extend(asks(set, rule, answers));
                    then.push(format!("then it {}", actions(rule).join(", ")));
                    then.extend(answers.into_iter().flat_map(|a| a.remedies.iter().cloned()));
                }
            }
        }
        _ => {}
    }
    let resolves = |c: &ConditionTold| {
        c.awaited && c.conjuncts.iter().any(|part| part.note == Some(STATUS.to_owned()) && part.has_failed())
    };
    if rule.incident.is_some() && rule.clear.is_none() && !matches && conditions.iter().any(resolves) {
        then.push("a resolve: an incident of the rule ends when each of its alerts is resolved".to_owned());
    }
    then.extend(conditions.iter().filter(|c| !c.awaited && c.holds).map(|c| ends(&c.name)));
    then
}

/// What the pattern makes of the event.
fn waits(set: &RuleSet, rule: &Rule, conditions: &[ConditionTold]) -> Vec<String> {
    match &rule.pattern {
        Pattern::Count { at_least, within, distinct, .. } => {
            let different = distinct.map(|(of, n)| format!(", with {n} different {}", code(set, of)));
            vec![format!("counts towards {at_least} in {within}{}", different.unwrap_or_default())]
        }
        Pattern::Measure { measured, of, over, is, .. } => {
            let (measured, of, is) = (measure(*measured), code(set, *of), compared(*is));
            vec![format!("is a sample of {measured}({of}) over {over}; fires when that becomes {is}")]
        }
        Pattern::Absent { within, .. } => vec![format!("is a sign of life; fires when none came for {within}")],
        Pattern::Members { together, members, within, .. } => {
            let held: Vec<&ConditionTold> = conditions.iter().filter(|c| c.awaited && c.holds).collect();
            let names: Vec<&str> = held.iter().filter_map(|c| c.name.strip_prefix("member ")).collect();
            let others: Vec<&str> = members.iter().map(|m| m.name.as_str()).filter(|m| !names.contains(m)).collect();
            let within = within.map(|w| format!(" within {w}")).unwrap_or_default();
            let fires = match together {
                Together::Any => "which is enough".to_owned(),
                Together::NotAll => format!("fires when not all come{within}: {}", others.join(", ")),
                Together::Sequence => {
                    format!("fires when all came in order{within}; the others are {}", others.join(", "))
                }
                Together::All => format!("fires when the others came, too{within}: {}", others.join(", ")),
            };
            let open = held.iter().flat_map(|c| &c.conjuncts).filter(|c| c.held == Held::Open);
            let asked = open.map(|c| format!("asks also, with the others' events: {}", c.text));
            std::iter::once(format!("is {}; {fires}", names.join(" and "))).chain(asked).collect()
        }
        Pattern::Event { .. } | Pattern::Upon { .. } | Pattern::Every { .. } => Vec::new(),
    }
}

/// Who takes the event from a fallback.
fn claimant(set: &RuleSet, rule: &Rule, matched: &[RuleIx]) -> Option<String> {
    let claims = |other: &&Rule| {
        other.ix != rule.ix && !other.fallback && set.autonomy(set.rulebook_of(other)) > Autonomy::Observe
    };
    let mut others = matched.iter().filter(|_| rule.fallback).map(|ix| set.rule(*ix));
    others.find(claims).map(|other| format!("{}/{}", set.rulebook_of(other).name, other.name))
}

/// What is asked and waited for when the pattern is complete.
fn asks(set: &RuleSet, rule: &Rule, answers: Option<&Answers>) -> Vec<String> {
    let mut all = Vec::new();
    if rule.fallback {
        all.push("is a fallback, and no other rule claims the event".to_owned());
    }
    all.extend(rule.stays.map(|span| format!("fires when it has held, and was not cleared, for {span}")));
    all.extend(rule.settle.map(|span| format!("fires {span} after the first, once for all that came")));
    all.extend(answers.map(|a| a.about.clone()));
    all.extend(rule.only_if.map(|ix| {
        let answer = answers.and_then(|a| a.only_if.as_ref()).map(|answer| format!(": {answer}")).unwrap_or_default();
        format!("asks when it fires: {}{answer}", code(set, ix))
    }));
    all.extend(rule.once.map(|span| format!("does what is not an incident only once in {span}")));
    if set.autonomy(set.rulebook_of(rule)) == Autonomy::Observe {
        all.push("its autonomy is observe: all of it would have been, and nobody is told".to_owned());
    }
    all
}

fn actions(rule: &Rule) -> Vec<String> {
    let mut all = Vec::new();
    if rule.incident.is_some() {
        all.push("opens an incident, or adds to the open one of the same `by`".to_owned());
    }
    if let Some(first) = rule.remedy.first() {
        all.push(format!("tries {}", first.playbook));
    }
    all.extend(rule.notify.iter().map(|n| format!("tells {}", n.to)));
    all.extend(rule.emit.iter().map(|e| format!("sends an event to {}", e.topic)));
    all.extend(rule.suppress.iter().map(|s| format!("suppresses what follows for {}", s.span)));
    all.extend(rule.resolve.iter().map(|r| format!("resolves the incident of {}", r.rule)));
    if rule.ci.is_some() {
        all.push("writes attributes of the CI".to_owned());
    }
    if rule.then.is_some() {
        all.push("runs its script".to_owned());
    }
    all
}

fn ends(name: &str) -> String {
    match name {
        "clear" => "its `clear` holds: recovery, for an open incident of the same `by`".to_owned(),
        "unless" => "its `unless` holds: what came of the same `by` does not count".to_owned(),
        "alive" => "its `alive` holds: the feed lives".to_owned(),
        verify => format!("its {verify} holds: evidence for a run of it"),
    }
}

fn code(set: &RuleSet, ix: ExprIx) -> &str {
    set.exprs.get(ix.0 as usize).map_or("", |e| e.text.as_str())
}

const fn measure(measured: Measured) -> &'static str {
    match measured {
        Measured::Avg => "avg",
        Measured::Min => "min",
        Measured::Max => "max",
        Measured::Sum => "sum",
        Measured::Rate => "rate",
    }
}

fn compared(is: Comparison) -> String {
    match is {
        Comparison::Above(x) => format!("> {x}"),
        Comparison::AtLeast(x) => format!(">= {x}"),
        Comparison::Below(x) => format!("< {x}"),
        Comparison::AtMost(x) => format!("<= {x}"),
        Comparison::Equal(x) => format!("== {x}"),
        Comparison::Unequal(x) => format!("!= {x}"),
    }
}
