//! What can be known of a rule set before any event comes: rules that never fire, that another makes needless, that
//! want opposite things of one event, whose incidents never clear, that trigger each other without end.
//!
//! It says what it knows. A rule is dead only where no event can be; it is live only where an event was found for which
//! it has really fired; everything between is unknown.

mod between;
mod clear;
mod domain;
mod fires;
mod form;
mod loops;
mod overlap;
mod pairs;
mod places;
mod shadow;
mod solve;
mod texts;
mod witness;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use paramedic_model::OwnedEvent;
use serde_json::Value;

use crate::condition::Cond;
use crate::diagnostics::{At, Gravity, Report};
use crate::evaluator::{Purpose, conditions_of};
use crate::script::compile::Compiler;
use crate::{Diagnostic, Evaluator, ExprIx, HowFound, Place, RuleIx, RuleSet};
use form::Form;
use pairs::Profile;
use solve::{Budget, Ended, State, cases};

/// Most cases of which an event is tried.
const MOST_CASES: usize = 24;

/// What is known of a set.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// Of each rule, by number.
    pub rules: Vec<RuleAnalysis>,
    /// By file and position.
    pub findings: Vec<Finding>,
}

/// What is known of a rule.
#[derive(Clone, Debug)]
pub struct RuleAnalysis {
    /// Which.
    pub rule: RuleIx,
    /// In one word.
    pub verdict: Verdict,
    /// Why it is not live.
    pub reason: Option<String>,
    /// An event for which its condition holds, as a scenario writes it, where one was found.
    pub event: Option<Value>,
}

/// What is known of a rule, in one word. Of several that are true, the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// No event makes it fire.
    Dead,
    /// Another rule takes all its events, and does the same or leaves none to it.
    Shadowed,
    /// It and another, or it alone, want opposite things of one event.
    Conflicting,
    /// Whether it can fire, or whether it conflicts, is not known.
    Unknown,
    /// An event is known for which it fires, and no conflict.
    Live,
}

impl Verdict {
    /// Its word in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Dead => "dead",
            Verdict::Shadowed => "shadowed",
            Verdict::Conflicting => "conflicting",
            Verdict::Unknown => "unknown",
            Verdict::Live => "live",
        }
    }
}

/// What sort of thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// The rule, or a part of it, never holds.
    NeverTrue,
    /// Another rule makes it needless.
    Shadowed,
    /// Opposite things are wanted of one event.
    Conflict,
    /// What the rule opens never clears by itself.
    NoClear,
    /// Values between `when` and `clear`, with which a `for` runs on.
    Gap,
    /// Events about something else clear.
    ForeignClear,
    /// What the rule does makes it fire again.
    Loop,
    /// A condition is asked for every event.
    Unindexed,
}

impl FindingKind {
    /// Its word in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            FindingKind::NeverTrue => "never_true",
            FindingKind::Shadowed => "shadowed",
            FindingKind::Conflict => "conflict",
            FindingKind::NoClear => "no_clear",
            FindingKind::Gap => "gap",
            FindingKind::ForeignClear => "foreign_clear",
            FindingKind::Loop => "loop",
            FindingKind::Unindexed => "unindexed",
        }
    }
}

/// Something that was found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// Of which rule.
    pub rule: RuleIx,
    /// And which others have to do with it.
    pub with: Vec<RuleIx>,
    /// An event that shows it, as a scenario writes it: every rule that is named has matched it.
    pub event: Option<Value>,
    /// For people.
    pub diagnostic: Diagnostic,
}

impl Analysis {
    /// How many rules have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.rules.iter().filter(|r| r.verdict == verdict).count()
    }
}

/// Whether it is known that a condition holds for no event.
pub(crate) fn holds_for_none(cond: &Cond) -> bool {
    solve::is_impossible(&Budget::of_all(), [&Form::of(cond, true)])
}

/// Analyses a set.
pub fn analyse(set: &Arc<RuleSet>) -> Analysis {
    let mut analyser = Analyser::new(set);
    for rule in &set.rules {
        analyser.fires(rule);
        analyser.clears(rule);
        analyser.runs_on(rule);
        analyser.clears_by_others(rule);
    }
    let normal_forms: Vec<String> = set.exprs.iter().map(|e| analyser.compiler.meaning(&e.text)).collect();
    let profiles: Vec<Profile> = set.rules.iter().map(|rule| analyser.profile(rule.ix)).collect();
    analyser.shadows(&normal_forms, &profiles);
    analyser.overlaps(&normal_forms, &profiles);
    analyser.loops();
    analyser.unindexed();
    analyser.finish()
}

/// A condition of a rule, as forms.
struct Asked {
    purpose: Purpose,
    ix: ExprIx,
    /// What must hold where it does.
    must: Form,
    /// What holds where it does not, if that is known.
    unless: Option<Form>,
    /// Where it reads thresholds, what must hold for a CI that has none of its own.
    usual: Option<Form>,
}

/// What a search for an event came to.
enum Found {
    Never,
    Event(Box<Witness>),
    Unknown,
}

/// An event, and what the rules see of it: conditions speak of that.
#[derive(Clone)]
struct Witness {
    sent: OwnedEvent,
    /// After `enrich`.
    seen: OwnedEvent,
}

#[derive(Clone, Debug, Default)]
struct Known {
    verdict: Option<(Verdict, String)>,
    event: Option<OwnedEvent>,
}

struct Analyser<'s> {
    set: &'s Arc<RuleSet>,
    evaluator: Evaluator,
    compiler: Compiler,
    /// By rule.
    asked: Vec<Vec<Asked>>,
    /// What `by` needs of an event, by rule.
    by: Vec<Vec<Form>>,
    known: Vec<Known>,
    budget: Budget,
    reports: BTreeMap<&'s str, Report<'s>>,
    findings: Vec<Finding>,
}

impl<'s> Analyser<'s> {
    fn new(set: &'s Arc<RuleSet>) -> Self {
        let evaluator = Evaluator::new(Arc::clone(set));
        let mut asked: Vec<Vec<Asked>> = set.rules.iter().map(|_| Vec::new()).collect();
        for stated in evaluator.conditions() {
            let mut conditions = conditions_of(set.rule(stated.rule)).into_iter();
            let Some((purpose, ix)) = conditions.find(|(purpose, _)| *purpose == stated.purpose) else { continue };
            let must = Form::All(vec![Form::implied(stated.implied, true), Form::of(stated.native, true)]);
            let unless = stated
                .is_whole
                .then(|| Form::Any(vec![Form::implied(stated.implied, false), Form::of(stated.native, false)]));
            let usual = stated.with_defaults.map(|cond| Form::All(vec![must.clone(), Form::of(&cond, true)]));
            asked[stated.rule.0 as usize].push(Asked { purpose, ix, must, unless, usual });
        }
        let by = set.rules.iter().map(|rule| {
            let parts = rule.by.iter().flatten().filter_map(|ix| evaluator.native(*ix));
            parts.map(Form::there).collect()
        });
        let by = by.collect();
        let known = vec![Known::default(); set.rules.len()];
        let compiler = Compiler::of(&set.site);
        Self {
            set,
            evaluator,
            compiler,
            asked,
            by,
            known,
            budget: Budget::of_all(),
            reports: BTreeMap::new(),
            findings: Vec::new(),
        }
    }

    fn asked(&self, rule: RuleIx, purpose: Purpose) -> Option<&Asked> {
        self.asked[rule.0 as usize].iter().find(|a| a.purpose == purpose)
    }

    /// What must hold where a condition of a rule does, for something that has all parts of `by`.
    fn needed(&self, rule: RuleIx, purpose: Purpose) -> Vec<Form> {
        let condition = self.asked(rule, purpose).map(|a| a.must.clone());
        condition.into_iter().chain(self.by[rule.0 as usize].iter().cloned()).collect()
    }

    /// [`Analyser::needed`] with each threshold as it is for a CI that has none of its own. With this events are looked for;
    /// that there are none is only known from what is needed.
    fn usual(&self, rule: RuleIx, purpose: Purpose) -> Vec<Form> {
        let condition = self.asked(rule, purpose).map(|a| a.usual.as_ref().unwrap_or(&a.must).clone());
        condition.into_iter().chain(self.by[rule.0 as usize].iter().cloned()).collect()
    }

    /// Looks for an event that is so after `enrich`, among those for which the forms may hold as it is sent.
    fn find(&mut self, forms: &[Form], is_so: impl Fn(&mut Evaluator, &OwnedEvent) -> bool) -> Found {
        let (evaluator, budget) = (&mut self.evaluator, &self.budget);
        let (mut tried, mut found) = (0, None);
        let ended = cases(budget, forms, &mut |state: &State| {
            tried += 1;
            let mut seen = None;
            let sent = witness::events(state, &mut |event| {
                let of = evaluator.seen(event).into_owned();
                let is_so = budget.spend(1) && is_so(evaluator, &of);
                seen = is_so.then_some(of);
                is_so
            });
            found = sent.zip(seen).map(|(sent, seen)| Witness { sent, seen });
            if found.is_some() || tried == MOST_CASES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match found {
            Some(event) => Found::Event(Box::new(event)),
            None if ended == Ended::Complete && tried == 0 => Found::Never,
            None => Found::Unknown,
        }
    }

    /// What a rule's `when` says by its conjuncts alone.
    fn profile(&self, rule: RuleIx) -> Profile {
        let forms = self.needed(rule, Purpose::When);
        Profile::of(&forms)
    }

    /// The worst verdict stays.
    fn judge(&mut self, rule: RuleIx, verdict: Verdict, reason: impl Into<String>) {
        let known = &mut self.known[rule.0 as usize];
        if known.verdict.as_ref().is_none_or(|(old, _)| verdict < *old) {
            known.verdict = Some((verdict, reason.into()));
        }
    }

    /// Whether it is known that not all can hold.
    fn is_impossible<'f>(&self, forms: impl IntoIterator<Item = &'f Form>) -> bool {
        solve::is_impossible(&self.budget, forms)
    }

    fn is_dead(&self, rule: RuleIx) -> bool {
        matches!(self.known[rule.0 as usize].verdict, Some((Verdict::Dead, _)))
    }

    /// `rulebook/rule`, where it stands.
    fn name(&self, ix: RuleIx) -> String {
        let rule = self.set.rule(ix);
        format!("`{}/{}` ({}:{})", self.set.rulebook_of(rule).name, rule.name, rule.place.file, rule.place.line)
    }

    fn tell(&mut self, finding: NewFinding) {
        let place = &finding.place;
        let Some((file, text)) = self.set.sources.get_key_value(&place.file) else { return };
        let report = self.reports.entry(file).or_insert_with(|| Report::new(file, text));
        let at = At { line: place.line, column: place.column };
        let level = match finding.kind {
            FindingKind::Gap | FindingKind::Unindexed => Gravity::Note,
            _ => Gravity::Warning,
        };
        report.add(level, at, finding.message, finding.help);
        let Some(diagnostic) = report.found.pop() else { return };
        let event = finding.event.as_ref().map(witness::shown);
        self.findings.push(Finding { kind: finding.kind, rule: finding.rule, with: finding.with, event, diagnostic });
    }

    fn unindexed(&mut self) {
        for found in self.evaluator.explain_index() {
            let HowFound::EveryEvent(why) = found.how else { continue };
            let asked = self.asked[found.rule.0 as usize].iter().find(|a| a.purpose.name() == found.purpose);
            let Some(place) = asked.and_then(|a| self.set.exprs.get(a.ix.0 as usize)).map(|e| e.place.clone()) else {
                continue;
            };
            let message = format!("no index finds `{}`: it is asked for every event", found.purpose);
            self.tell(NewFinding {
                help: Some(why.to_owned()),
                ..NewFinding::of(FindingKind::Unindexed, found.rule, place, message)
            });
        }
    }

    fn finish(mut self) -> Analysis {
        let rules = self.set.rules.iter().zip(&self.known).map(|(rule, known)| {
            let (verdict, reason) = match &known.verdict {
                Some((verdict, reason)) => (*verdict, Some(reason.clone())),
                None => (Verdict::Live, None),
            };
            RuleAnalysis { rule: rule.ix, verdict, reason, event: known.event.as_ref().map(witness::shown) }
        });
        let rules = rules.collect();
        self.findings.sort_by(|a, b| (&a.diagnostic.place, a.kind).cmp(&(&b.diagnostic.place, b.kind)));
        Analysis { rules, findings: self.findings }
    }
}

/// A finding before it is shown in its file.
struct NewFinding {
    kind: FindingKind,
    rule: RuleIx,
    with: Vec<RuleIx>,
    event: Option<OwnedEvent>,
    place: Place,
    message: String,
    help: Option<String>,
}

impl NewFinding {
    fn of(kind: FindingKind, rule: RuleIx, place: Place, message: String) -> Self {
        Self { kind, rule, with: Vec::new(), event: None, place, message, help: None }
    }
}
