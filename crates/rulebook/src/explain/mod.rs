//! Why an event did something, or nothing: of each rule the parts of its conditions, with what the event has, and the
//! smallest change of the event with which the rule would match. Such a change is told only where the rule, asked again
//! about the changed event, does match.

mod asked;
mod conditions;
pub(crate) mod field;
mod reach;
mod search;
mod split;
mod then;
mod wish;

use std::sync::Arc;

use paramedic_model::{Cmdb, Event, OwnedEvent};
use serde::Serialize;
use serde_json::Value;

use crate::script::compile::Compiler;
use crate::script::runtime::{Lazy, Named, Runtime};
use crate::script::thresholds::Thresholds;
use crate::{Bindings, Evaluator, Place, RuleIx, RuleSet};
use asked::Known;
use conditions::{Asked, Conjunct, RuleParts};
use reach::Reach;

/// Which rules are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// Those that match, and those that the event was probably meant for; where there are none, those for events of other
    /// types of which all but the type holds.
    InReach,
    /// Every one.
    All,
    /// The rules of this name, or of this `rulebook/rule`.
    Named(&'a str),
}

/// What the rules make of one event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// What `enrich` changes of the event: the rules see it with these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub enriched: Vec<FieldChange>,
    /// Steps of `enrich` that failed: where, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub enrich_failed: Vec<(String, String)>,
    /// The nearest first, then in the order of the rules.
    pub rules: Vec<RuleTold>,
    /// How many more rules there are.
    pub left_out: usize,
}

/// What one rule makes of one event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleTold {
    /// Its number.
    #[serde(skip)]
    pub ix: RuleIx,
    /// Its rulebook's name.
    pub rulebook: String,
    /// Its name.
    pub rule: String,
    /// Where it stands.
    pub place: Place,
    /// Whether the event does something to it: what it waits for holds, and nothing of `by` is missing.
    pub matches: bool,
    /// How many parts failed of the condition that came nearest; null where the rule waits for no event.
    pub failed: Option<usize>,
    /// Its conditions on events, in order.
    pub conditions: Vec<ConditionTold>,
    /// The smallest change of the event with which it would match; null where none of one or two fields was found.
    pub change: Option<Vec<FieldChange>>,
    /// What follows from the match, or what else it waits for.
    pub then: Vec<String>,
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConditionTold {
    /// `when`, `member down`, `unless`, `clear`...
    pub name: String,
    /// Whether the rule waits for it; others end or stop something.
    pub awaited: bool,
    /// Whether all its parts hold that can be known from the event.
    pub holds: bool,
    /// What `&&` joins, in order; then what is implied, and the parts of `by`.
    pub conjuncts: Vec<ConjunctTold>,
}

/// What a part of a condition comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// It could not be evaluated, and counts as not held.
    Error(String),
    /// It reads other events than this one.
    Open,
}

/// One part of a condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConjunctTold {
    /// As written.
    pub text: String,
    /// Whether it holds.
    pub held: Held,
    /// Why it is there, where it is not written in the condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What it reads of the event.
    pub fields: Vec<FieldTold>,
}

/// A field of the event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldTold {
    /// As a rulebook writes it.
    pub field: String,
    /// Its value; null where it is missing.
    pub value: Value,
    /// Its value as a rulebook writes it.
    #[serde(skip)]
    pub written: Option<String>,
}

/// A field of the event that would have to be different.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    /// As a rulebook writes it.
    pub field: String,
    /// What it is.
    pub from: Value,
    /// What it would be; null where the event would be without it.
    pub to: Value,
    /// The same as a rulebook writes it.
    #[serde(skip)]
    pub written: Option<String>,
}

/// Explains events, for one thread.
pub struct Explainer {
    set: Arc<RuleSet>,
    evaluator: Evaluator,
    runtime: Runtime,
    rules: Vec<RuleParts>,
    known: Option<Known>,
    thresholds: Thresholds,
}

impl Explainer {
    /// Of a checked set.
    pub fn new(set: Arc<RuleSet>) -> Self {
        let compiler = Compiler::of(&set.site);
        let rules = set.rules.iter().map(|rule| RuleParts::new(&compiler, &set, rule)).collect();
        let (evaluator, runtime) = (Evaluator::new(Arc::clone(&set)), Runtime::of(&set.site));
        let thresholds = Thresholds { of_site: set.site.thresholds.clone(), cmdb: None };
        Self { set, evaluator, runtime, rules, known: None, thresholds }
    }

    /// With the CMDB of the scope that the events are in: rules that match are asked what they are about.
    pub fn with_cmdb(self, cmdb: Arc<Cmdb>, scope: &str) -> Self {
        let thresholds = Thresholds { cmdb: Some(Arc::clone(&cmdb)), ..self.thresholds };
        Self { thresholds, known: Some(Known { cmdb, scope: scope.to_owned() }), ..self }
    }

    /// What the rules make of an event as sent.
    pub fn explain(&mut self, event: &Event<'_>, which: Which<'_>) -> Explanation {
        let sent = event.clone().into_owned();
        let event = self.evaluator.seen(&sent).into_owned();
        let enriched = field::differences(&sent, &event);
        let enrich_failed = self.evaluator.take_enrich_failures().first;
        let matched = self.matched(&event);
        let mut reached = Vec::new();
        for at in 0..self.rules.len() {
            let told = self.rule(at, &event, &matched);
            let reach = match which {
                Which::All => Reach::Near,
                Which::Named(name) if name == told.rule => Reach::Near,
                Which::Named(name) if name == format!("{}/{}", told.rulebook, told.rule) => Reach::Near,
                Which::Named(_) => Reach::Far,
                Which::InReach => {
                    let ends = told.conditions.iter().any(|c| !c.awaited && c.holds);
                    let concerns = told.matches || ends;
                    if concerns { Reach::Near } else { reach::of(&self.rules[at], &told.conditions, &event) }
                }
            };
            if reach != Reach::Far {
                reached.push((reach, told));
            }
        }
        // Rules for events of other types are told of where none is for this one.
        let nearest = reached.iter().map(|(reach, _)| *reach).max();
        let mut rules: Vec<RuleTold> =
            reached.into_iter().filter(|(reach, _)| Some(*reach) == nearest).map(|(_, told)| told).collect();
        let left_out = self.rules.len() - rules.len();
        for told in &mut rules {
            if !told.matches {
                told.change = self.smallest_change(told.ix, &event);
            }
        }
        rules.sort_by_key(|told| (!told.matches, told.failed.is_none(), told.failed));
        Explanation { enriched, enrich_failed, rules, left_out }
    }

    /// The rules whose patterns the event is for after `enrich`, asked as the engine asks.
    fn matched(&mut self, event: &OwnedEvent) -> Vec<RuleIx> {
        let found = match &self.known {
            Some(known) => {
                let found = self.evaluator.match_seen(event);
                self.evaluator.with_thresholds(found, event, &known.cmdb)
            }
            None => self.evaluator.match_without_cmdb(event),
        };
        let parts = found.slots.iter().filter(|(_, slot)| matches!(slot, crate::Slot::Member(_))).map(|(ix, _)| *ix);
        let mut all: Vec<RuleIx> = found.when.iter().copied().chain(parts).collect();
        all.sort();
        all.dedup();
        all.retain(|ix| self.rules.get(ix.0 as usize).is_some_and(|rule| !rule.lacks_by(event)));
        all
    }

    fn rule(&mut self, at: usize, event: &OwnedEvent, matched: &[RuleIx]) -> RuleTold {
        let Self { rules, runtime, set, evaluator, known, thresholds } = self;
        let parts = &rules[at];
        let rule = set.rule(parts.ix);
        let conditions: Vec<ConditionTold> =
            parts.conditions.iter().map(|c| told(c, runtime, thresholds, event)).collect();
        let awaited = conditions.iter().filter(|c| c.awaited);
        let failed = awaited.map(|c| c.conjuncts.iter().filter(|c| c.has_failed()).count()).min();
        let matches = matched.contains(&parts.ix);
        let answers = known.as_ref().filter(|_| matches).and_then(|k| asked::answers(evaluator, k, rule, event));
        let then = then::told(set, rule, &conditions, matches.then_some(answers.as_ref()), matched);
        RuleTold {
            ix: parts.ix,
            rulebook: set.rulebook_of(rule).name.clone(),
            rule: rule.name.clone(),
            place: rule.place.clone(),
            matches,
            failed,
            conditions,
            change: None,
            then,
        }
    }
}

impl ConjunctTold {
    /// Whether it keeps the condition from holding.
    pub fn has_failed(&self) -> bool {
        matches!(self.held, Held::No | Held::Error(_))
    }
}

fn told(condition: &Asked, runtime: &mut Runtime, thresholds: &Thresholds, event: &OwnedEvent) -> ConditionTold {
    let mut lazy = Lazy::default();
    let conjuncts: Vec<ConjunctTold> = condition
        .conjuncts
        .iter()
        .map(|part| ConjunctTold {
            text: part.text.clone(),
            held: held(part, runtime, thresholds, event, &mut lazy),
            note: part.note.map(str::to_owned).or_else(|| with_thresholds(part, thresholds, event)),
            fields: part.paths.iter().map(|path| field::told(path, event)).collect(),
        })
        .collect();
    ConditionTold {
        name: condition.name.clone(),
        awaited: condition.awaited,
        holds: !conjuncts.iter().any(ConjunctTold::has_failed),
        conjuncts,
    }
}

/// The thresholds that a part is asked with.
fn with_thresholds(part: &Conjunct, thresholds: &Thresholds, event: &OwnedEvent) -> Option<String> {
    let of_ci = thresholds.cmdb.is_some();
    let shown = part.thresholds.iter().filter_map(|name| {
        let value = thresholds.get(name, Some(event)).ok()?;
        Some(format!("{name} is {value}{}", if of_ci { "" } else { " by default: no CMDB is looked at here" }))
    });
    let all: Vec<String> = shown.collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn held(part: &Conjunct, runtime: &mut Runtime, thresholds: &Thresholds, event: &OwnedEvent, lazy: &mut Lazy) -> Held {
    if part.reads_others {
        return Held::Open;
    }
    let outcome = match (&part.native, &part.script) {
        (Some(native), _) => Ok(native.holds(event)),
        (None, Some(script)) if let (Some(cmdb), false) = (&thresholds.cmdb, part.thresholds.is_empty()) => {
            runtime.condition_of_ci(script, event, lazy, cmdb).map_err(|fault| fault.why)
        }
        (None, Some(script)) => {
            let named = Named { visible: &[], bound: Bindings::none(), own_incident: false };
            runtime.condition_with(script, event, lazy, named).map_err(|fault| fault.why)
        }
        (None, None) => Err("it cannot be compiled".to_owned()),
    };
    match outcome {
        Ok(true) => Held::Yes,
        Ok(false) => Held::No,
        Err(why) => Held::Error(why),
    }
}
