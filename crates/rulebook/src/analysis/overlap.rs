//! Rules that want opposite things of one event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use paramedic_model::{Autonomy, Cmdb, OwnedEvent, Timestamp};
use serde_json::Value;

use super::pairs::{Profile, pairs};
use super::{Analyser, FindingKind, Found, NewFinding, Verdict};
use crate::evaluator::Purpose;
use crate::read::meaning::{NormalForms, about_of, escalations_of, remedy_of, text_of};
use crate::{Ctx, Field, IncidentSpec, Pattern, Rule, RuleIx, TargetSpec};

/// Of two rules that have so many conflicts each it is not asked whether they have one with each other.
const MOST_TOLD: usize = 3;

/// What two rules disagree about.
struct Conflict {
    /// As the end of a sentence.
    what: String,
    help: &'static str,
    /// The attribute whose values, computed from the event, are yet to be compared.
    attribute: Option<String>,
    /// It is one only for the same values of `by`.
    needs_same_by: bool,
}

impl Conflict {
    fn of(what: String, help: &'static str) -> Self {
        Self { what, help, attribute: None, needs_same_by: false }
    }
}

impl Analyser<'_> {
    /// Looks for events for which two rules hold that want opposite things.
    pub(super) fn overlaps(&mut self, normal_forms: &[String], profiles: &[Profile]) {
        let forms = NormalForms(normal_forms);
        let mut pairs_of: BTreeSet<(usize, usize)> = BTreeSet::new();
        for group in self.rivals(&forms).into_values() {
            let found = pairs(&group, profiles, &|_, _| true);
            pairs_of.extend(found.found);
            if found.is_cut {
                group.iter().for_each(|at| self.too_many(RuleIx(u32::try_from(*at).unwrap_or(u32::MAX))));
            }
        }
        let set = Arc::clone(self.set);
        let mut told: BTreeMap<RuleIx, usize> = BTreeMap::new();
        for (a, b) in pairs_of {
            let (a, b) = (&set.rules[a], &set.rules[b]);
            let is_enough = |rule: &Rule| told.get(&rule.ix).is_some_and(|n| *n >= MOST_TOLD);
            if is_enough(a) && is_enough(b) {
                continue;
            }
            if let Some(conflict) = self.conflict(a, b, &forms)
                && self.meet(a, b, &conflict)
            {
                *told.entry(a.ix).or_default() += 1;
                *told.entry(b.ix).or_default() += 1;
            }
        }
    }

    /// Rules by what they may disagree about.
    fn rivals(&self, forms: &NormalForms<'_>) -> BTreeMap<String, Vec<usize>> {
        let mut rivals: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for rule in &self.set.rules {
            let waits = matches!(rule.pattern, Pattern::Event { .. } | Pattern::Count { .. });
            if !waits || self.is_dead(rule.ix) || self.set.autonomy(self.set.rulebook_of(rule)) == Autonomy::Observe {
                continue;
            }
            let mut about: BTreeSet<String> = BTreeSet::new();
            about.extend(rule.remedy.first().map(|step| format!("remedy {}", target_of(rule, &step.target, forms))));
            let attributes = rule.ci.iter().flat_map(|ci| ci.attributes.keys());
            about.extend(attributes.map(|name| format!("attribute {name} {}", about_of(rule, forms))));
            let key = rule.incident.as_ref().and_then(|spec| spec.key.as_ref());
            about.extend(key.map(|key| format!("key {}", text_of(key, forms))));
            let resolved = rule.resolve.as_ref().map(|spec| spec.rule.as_str());
            for name in [Some(rule.name.as_str()).filter(|_| rule.incident.is_some()), resolved].into_iter().flatten() {
                about.insert(format!("incident {} {name}", rule.rulebook));
            }
            for what in about {
                rivals.entry(what).or_default().push(rule.ix.0 as usize);
            }
        }
        rivals.retain(|_, group| group.len() > 1);
        rivals
    }

    /// What two rules want that does not go together, whatever the event.
    fn conflict(&self, a: &Rule, b: &Rule, forms: &NormalForms<'_>) -> Option<Conflict> {
        // A fallback and what claims its events never both fire.
        if a.fallback != b.fallback {
            return None;
        }
        for (closes, opens) in [(a, b), (b, a)] {
            if let Some(spec) = &closes.resolve
                && spec.rule == opens.name
                && closes.rulebook == opens.rulebook
                && opens.incident.is_some()
            {
                let what = format!("`{}` resolves what `{}` opens", closes.name, opens.name);
                let help = "let the one that resolves hold only where the other does not";
                return Some(Conflict { needs_same_by: true, ..Conflict::of(what, help) });
            }
        }
        if let Some(what) = of_remedies(a, b, forms) {
            return Some(Conflict::of(
                what,
                "let only one of them hold, or make one rule of both with its remedies in order",
            ));
        }
        if let Some(what) = of_shared_incident(a, b, forms) {
            return Some(Conflict::of(
                what,
                "only the first of them counts: say the same in both, or give each its own key",
            ));
        }
        of_attributes(a, b, forms)
    }

    /// Looks for an event for which both hold; `true` where one was found, and told.
    fn meet(&mut self, a: &Rule, b: &Rule, conflict: &Conflict) -> bool {
        let mut needed = self.usual(a.ix, Purpose::When);
        needed.extend(self.usual(b.ix, Purpose::When));
        let (first, second) = (a.ix, b.ix);
        let found = self.find(&needed, |evaluator, event| {
            let when = evaluator.match_without_cmdb(event).when;
            when.contains(&first)
                && when.contains(&second)
                && evaluator.by(first, event).is_ok()
                && evaluator.by(second, event).is_ok()
        });
        let event = match found {
            Found::Never => return false,
            Found::Unknown => {
                for (one, other) in [(a, b), (b, a)] {
                    let why = format!("whether one event can fire it and {} too is not known", self.name(other.ix));
                    self.judge(one.ix, Verdict::Unknown, why);
                }
                return false;
            }
            Found::Event(found) => *found,
        };
        if conflict.needs_same_by && !self.is_same_by(a, b, &event.seen) {
            return false;
        }
        if let Some(name) = &conflict.attribute
            && !self.attributes_differ(a, b, name, &event.seen)
        {
            return false;
        }
        let asks = if a.only_if.or(b.only_if).is_some() { ", where `only_if` lets both" } else { "" };
        let (one, other) = (self.name(a.ix), self.name(b.ix));
        let shown = super::witness::shown(&event.sent);
        let message = format!("conflict with {one}: one event can fire both{asks}; {}: {shown}", conflict.what);
        self.judge(a.ix, Verdict::Conflicting, format!("with {other}: {}", conflict.what));
        self.judge(b.ix, Verdict::Conflicting, format!("with {one}: {}", conflict.what));
        let place = self.place_of(b, Purpose::When);
        let finding = NewFinding::of(FindingKind::Conflict, b.ix, place, message);
        self.tell(NewFinding {
            with: vec![a.ix],
            event: Some(event.sent),
            help: Some(conflict.help.to_owned()),
            ..finding
        });
        true
    }

    fn is_same_by(&mut self, a: &Rule, b: &Rule, event: &OwnedEvent) -> bool {
        let by = |evaluator: &mut crate::Evaluator, rule: &Rule| rule.by.as_ref().map(|_| evaluator.by(rule.ix, event));
        by(&mut self.evaluator, a) == by(&mut self.evaluator, b)
    }

    /// Values that are computed are compared on the event.
    fn attributes_differ(&mut self, a: &Rule, b: &Rule, name: &str, event: &OwnedEvent) -> bool {
        let cmdb = Arc::new(Cmdb::default());
        let ctx = Ctx::of(event, None, &cmdb, Timestamp::from_secs(0));
        let mut value = |rule: &Rule| match rule.ci.as_ref()?.attributes.get(name)? {
            Field::Given(value) => Some(value.clone()),
            Field::Computed(ix) => self.evaluator.eval(*ix, &ctx).ok().filter(|v| *v != Value::Null),
        };
        match (value(a), value(b)) {
            (Some(a), Some(b)) => a != b,
            _ => false,
        }
    }
}

/// The CI that a remedy acts on, as far as the rule says it.
fn target_of(rule: &Rule, target: &TargetSpec, forms: &NormalForms<'_>) -> String {
    match target {
        TargetSpec::About => format!("about {}", about_of(rule, forms)),
        TargetSpec::Computed(ix) => text_of(&[*ix], forms),
    }
}

/// Different remedies would begin at once, on one CI.
fn of_remedies(a: &Rule, b: &Rule, forms: &NormalForms<'_>) -> Option<String> {
    let (of_a, of_b) = (a.remedy.first()?, b.remedy.first()?);
    if target_of(a, &of_a.target, forms) != target_of(b, &of_b.target, forms) {
        return None;
    }
    if of_a.playbook != of_b.playbook {
        return Some(format!(
            "they begin with different playbooks on the same CI, `{}` and `{}`",
            of_a.playbook, of_b.playbook
        ));
    }
    let with = |step| remedy_of(step, forms)["with"].clone();
    (with(of_a) != with(of_b))
        .then(|| format!("they begin with `{}` on the same CI, with different parameters", of_a.playbook))
}

/// What counts only from the rule that opens an incident that both share.
fn of_shared_incident(a: &Rule, b: &Rule, forms: &NormalForms<'_>) -> Option<String> {
    let (of_a, of_b) = (a.incident.as_ref()?, b.incident.as_ref()?);
    if text_of(of_a.key.as_ref()?, forms) != text_of(of_b.key.as_ref()?, forms) {
        return None;
    }
    let times = |spec: &IncidentSpec| (spec.hold, spec.reopen, spec.close_after);
    let remedies = |rule: &Rule| rule.remedy.iter().map(|step| remedy_of(step, forms)).collect::<Vec<_>>();
    let differ = [
        ("`assign`", of_a.assign != of_b.assign),
        ("`category`", of_a.category != of_b.category),
        ("`hold`, `reopen` or `close_after`", times(of_a) != times(of_b)),
        ("`remedy`", remedies(a) != remedies(b)),
        ("`escalate`", escalations_of(a, forms) != escalations_of(b, forms)),
    ];
    let differ: Vec<&str> = differ.into_iter().filter(|(_, differ)| *differ).map(|(name, _)| name).collect();
    (!differ.is_empty()).then(|| format!("they share an incident by its `key`, and differ in {}", differ.join(", ")))
}

/// Different values for one attribute of one CI.
fn of_attributes(a: &Rule, b: &Rule, forms: &NormalForms<'_>) -> Option<Conflict> {
    if about_of(a, forms) != about_of(b, forms) {
        return None;
    }
    let of_b = &b.ci.as_ref()?.attributes;
    let differ =
        a.ci.as_ref()?.attributes.iter().find(|(name, value)| of_b.get(*name).is_some_and(|other| other != *value));
    let (name, _) = differ?;
    let what = format!("they write different values to the attribute `{name}` of the same CI");
    let help = "let only one of them hold: the later rule's value stays";
    Some(Conflict { attribute: Some(name.clone()), ..Conflict::of(what, help) })
}
