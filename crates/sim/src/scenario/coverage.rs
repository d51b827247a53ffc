//! Which parts of the rules scenarios reach.

use std::collections::{BTreeMap, BTreeSet};

use paramedic_engine::{Decided, Decision, Step, rule_actor};
use paramedic_model::{Id, Incident};
use paramedic_rulebook::{Clear, EscalateAt, Matches, Pattern, Place, Rule, RuleIx, RuleSet, Slot};
use serde::Serialize;

/// A part of a rule that a scenario can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The rule does something.
    Fires,
    /// The condition of a member, by position from 0, holds.
    Member(usize),
    /// The condition of `unless` holds.
    Unless,
    /// An incident of it ends by the evidence that its `clear` asks for.
    Clears,
    /// A remedy, by position from 0, is decided.
    Remedy(usize),
    /// An escalation step, by position from 0, tells somebody.
    Escalation(usize),
}

/// Parts by rule.
pub type Reached = BTreeSet<(RuleIx, Part)>;

/// How much of a set scenarios reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Parts that could be reached.
    pub parts: usize,
    /// Parts that were.
    pub reached: usize,
    /// The others, in the order of the rules.
    pub missed: Vec<Missed>,
}

/// A part that no scenario reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missed {
    /// Where its rule stands.
    pub place: Place,
    /// Its rulebook.
    pub rulebook: String,
    /// Its rule.
    pub rule: String,
    /// Which: `fires`, `member/0`, `unless`, `clears`, `remedy/0`, `escalate/0`.
    pub part: String,
    /// What never happens, for people.
    pub what: String,
}

impl Coverage {
    /// What was reached of a set.
    pub fn of(set: &RuleSet, reached: &Reached) -> Self {
        let (mut parts, mut missed) = (0, Vec::new());
        for rule in &set.rules {
            for part in parts_of(rule) {
                parts += 1;
                if !reached.contains(&(rule.ix, part)) {
                    missed.push(missed_of(set, rule, part));
                }
            }
        }
        Self { parts, reached: parts - missed.len(), missed }
    }

    /// In hundredths, rounded down: 100 only where nothing is missing.
    pub fn percent(&self) -> usize {
        (self.reached * 100).checked_div(self.parts).unwrap_or(100)
    }
}

fn parts_of(rule: &Rule) -> Vec<Part> {
    let mut parts = vec![Part::Fires];
    if let Pattern::Members { members, unless, .. } = &rule.pattern {
        parts.extend((0..members.len()).map(Part::Member));
        parts.extend(unless.map(|_| Part::Unless));
    }
    if matches!(rule.clear, Some(Clear::When(_))) && rule.incident.is_some() {
        parts.push(Part::Clears);
    }
    parts.extend((0..rule.remedy.len()).map(Part::Remedy));
    // Escalations that the site gives to all rules name what a rule without remedies never comes to.
    let of_runs = |at| match at {
        EscalateAt::RemediesFailed | EscalateAt::RunUnknown | EscalateAt::GuardDenied => !rule.remedy.is_empty(),
        EscalateAt::ApprovalExpired => rule.remedy.iter().any(|step| step.approve.is_some()),
        EscalateAt::Open | EscalateAt::After(_) | EscalateAt::Unacknowledged(_) => true,
    };
    parts.extend((0..rule.escalate.len()).filter(|ix| of_runs(rule.escalate[*ix].at)).map(Part::Escalation));
    parts
}

fn missed_of(set: &RuleSet, rule: &Rule, part: Part) -> Missed {
    let (part, what) = match part {
        Part::Fires => ("fires".to_owned(), "it never fires".to_owned()),
        Part::Member(at) => (format!("member/{at}"), format!("member `{}` never comes", member_name(rule, at))),
        Part::Unless => ("unless".to_owned(), "what `unless` names never comes".to_owned()),
        Part::Clears => ("clears".to_owned(), "`clear` never ends an incident".to_owned()),
        Part::Remedy(at) => {
            let playbook = rule.remedy.get(at).map(|r| r.playbook.as_str()).unwrap_or_default();
            (format!("remedy/{at}"), format!("remedy {} is never tried: {playbook}", at + 1))
        }
        Part::Escalation(at) => {
            let told = rule.escalate.get(at).map(|s| format!("{}, to {}", when(s.at), s.to)).unwrap_or_default();
            (format!("escalate/{at}"), format!("escalation {} never tells anybody: {told}", at + 1))
        }
    };
    let rulebook = set.rulebook_of(rule).name.clone();
    Missed { place: rule.place.clone(), rulebook, rule: rule.name.clone(), part, what }
}

fn member_name(rule: &Rule, at: usize) -> &str {
    match &rule.pattern {
        Pattern::Members { members, .. } => members.get(at).map(|m| m.name.as_str()).unwrap_or_default(),
        _ => "",
    }
}

/// As it is written.
fn when(at: EscalateAt) -> String {
    match at {
        EscalateAt::Open => "open".to_owned(),
        EscalateAt::After(span) => span.to_string(),
        EscalateAt::Unacknowledged(span) => format!("{span} unacknowledged"),
        EscalateAt::RemediesFailed => "remedies_failed".to_owned(),
        EscalateAt::RunUnknown => "run_unknown".to_owned(),
        EscalateAt::ApprovalExpired => "approval_expired".to_owned(),
        EscalateAt::GuardDenied => "guard_denied".to_owned(),
    }
}

/// Finds what decisions show to have been reached.
pub(super) struct Reaching {
    /// As decisions name them.
    actors: BTreeMap<String, RuleIx>,
    pub(super) reached: Reached,
}

impl Reaching {
    pub(super) fn new(set: &RuleSet) -> Self {
        let actors = set.rules.iter().map(|rule| (rule_actor(set, rule), rule.ix)).collect();
        Self { actors, reached: Reached::new() }
    }

    /// What an event matched.
    pub(super) fn matched(&mut self, matches: &Matches) {
        for (rule, slot) in &matches.slots {
            let part = match slot {
                Slot::Member(at) => Part::Member(usize::from(*at)),
                Slot::Unless => Part::Unless,
                Slot::Alive => continue,
            };
            self.reached.insert((*rule, part));
        }
    }

    /// A decision; `incidents` as they are after it.
    pub(super) fn take(&mut self, set: &RuleSet, decided: &Decided, incidents: &BTreeMap<Id, Incident>) {
        let Decision::Step(step) = &decided.decision else { return };
        if let Some(rule) = self.actors.get(&decided.because.actor) {
            self.reached.insert((*rule, Part::Fires));
        }
        let part = match step {
            Step::IncidentMoved { incident, evidence: Some(_), .. } => Some((*incident, Part::Clears)),
            Step::RunDecided { run, index } => Some((run.incident, Part::Remedy(*index))),
            Step::PageDecided { page } if self.actors.contains_key(&decided.because.actor) => {
                escalation(&page.step).map(|at| (page.incident, Part::Escalation(at)))
            }
            _ => None,
        };
        let rule = |id: &Id| incidents.get(id).and_then(|i| set.find(&i.rulebook, &i.rule));
        if let Some((incident, part)) = part
            && let Some(rule) = rule(&incident)
        {
            self.reached.insert((rule.ix, part));
        }
    }
}

/// Of a page's step path, `escalate/1` or `escalate/1/remedy/0/verify`.
fn escalation(path: &str) -> Option<usize> {
    path.strip_prefix("escalate/")?.split('/').next()?.parse().ok()
}
