//! Rules that another makes needless: it takes all their events, and does the same, or is served before them.

use std::collections::BTreeMap;

use paramedic_model::Autonomy;
use serde_json::json;

use super::form::Form;
use super::pairs::{Profile, pairs};
use super::{Analyser, FindingKind, NewFinding, Verdict};
use crate::evaluator::Purpose;
use crate::read::meaning::{NormalForms, effect_of};
use crate::{Pattern, Rule, RuleIx, Slot};

/// So many rules together are asked whether they leave nothing to a fallback.
const MOST_TOGETHER: usize = 32;

impl Analyser<'_> {
    /// Looks for rules that another does all of.
    pub(super) fn shadows(&mut self, normal_forms: &[String], profiles: &[Profile]) {
        let forms = NormalForms(normal_forms);
        let mut alike: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for rule in self.set.rules.iter().filter(|rule| !self.is_dead(rule.ix)) {
            let book = self.set.rulebook_of(rule);
            let own = rule.resolve.is_some().then_some(&book.name);
            let may = (!rule.remedy.is_empty()).then_some([
                &book.may.playbooks,
                &book.may.ci_classes,
                &book.may.environments,
            ]);
            let effect = json!([effect_of(rule, &forms), self.set.autonomy(book).name(), own, may]);
            alike.entry(effect.to_string()).or_default().push(rule.ix.0 as usize);
        }
        let may_imply = |a: usize, b: usize| profiles[a].may_imply(&profiles[b]) || profiles[b].may_imply(&profiles[a]);
        for group in alike.into_values().filter(|group| group.len() > 1) {
            let found = pairs(&group, profiles, &may_imply);
            for (a, b) in found.found {
                let set = self.set;
                self.shadow_one(&set.rules[a], &set.rules[b], normal_forms);
            }
            if found.is_cut {
                group.iter().for_each(|at| self.too_many(self.set.rules[*at].ix));
            }
        }
        let set = self.set;
        for rule in set.rules.iter().filter(|rule| rule.fallback) {
            if !self.is_dead(rule.ix) {
                self.leaves_nothing(rule, profiles);
            }
        }
    }

    pub(super) fn too_many(&mut self, rule: RuleIx) {
        self.judge(rule, Verdict::Unknown, "too many rules may hold for the same events to compare them all");
    }

    /// Of two rules that do the same, the one whose events the other takes too; of two for the same events, the later.
    fn shadow_one(&mut self, first: &Rule, second: &Rule, normal_forms: &[String]) {
        let is_shadowed =
            |of: &Self, rule: RuleIx| matches!(of.known[rule.0 as usize].verdict, Some((Verdict::Shadowed, _)));
        for (narrow, wide) in [(second, first), (first, second)] {
            if is_shadowed(self, wide.ix) || is_shadowed(self, narrow.ix) || !self.takes_all(narrow, wide, normal_forms)
            {
                continue;
            }
            let name = self.name(wide.ix);
            let message = format!(
                "shadowed: every event for which it holds, {name} takes too, and does the same but for its texts"
            );
            self.judge(narrow.ix, Verdict::Shadowed, format!("{name} takes all its events, and does the same"));
            let help =
                Some("take it out, let the wider one leave its events to it, or let it do something else".to_owned());
            let place = self.place_of(narrow, Purpose::When);
            let finding = NewFinding::of(FindingKind::Shadowed, narrow.ix, place, message);
            self.tell(NewFinding { with: vec![wide.ix], help, ..finding });
            return;
        }
    }

    fn takes_all(&self, narrow: &Rule, wide: &Rule, normal_forms: &[String]) -> bool {
        let (Some(of_narrow), Some(of_wide)) = (narrow.pattern.when(), wide.pattern.when()) else {
            // Of other patterns the whole is the same, or the effects would differ.
            return true;
        };
        if !matches!(narrow.pattern, Pattern::Event { .. } | Pattern::Count { .. }) {
            return true;
        }
        if normal_forms.get(of_narrow.0 as usize) == normal_forms.get(of_wide.0 as usize) {
            return true;
        }
        let Some(unless) = self.asked(wide.ix, Purpose::When).and_then(|a| a.unless.as_ref()) else { return false };
        let forms = self.needed(narrow.ix, Purpose::When);
        self.is_impossible(forms.iter().chain([unless]))
    }

    /// Whether other rules claim every event of a fallback.
    fn leaves_nothing(&mut self, rule: &Rule, profiles: &[Profile]) {
        let of = rule.ix.0 as usize;
        let own = self.needed(rule.ix, Purpose::When);
        let claiming = self
            .set
            .rules
            .iter()
            .filter(|other| !other.fallback && self.set.autonomy(self.set.rulebook_of(other)) > Autonomy::Observe);
        let mut claims: Vec<(RuleIx, Form)> = Vec::new();
        for other in claiming {
            let conditions = self.asked[other.ix.0 as usize].iter();
            let claimed = conditions.filter(|a| matches!(a.purpose, Purpose::When | Purpose::Slot(Slot::Member(_))));
            for unless in claimed.filter_map(|a| a.unless.as_ref()) {
                let is_one = matches!(other.pattern, Pattern::Members { .. });
                if is_one || !profiles[of].is_apart(&profiles[other.ix.0 as usize]) {
                    claims.push((other.ix, unless.clone()));
                }
            }
        }
        let one =
            claims.iter().find(|(_, unless)| self.is_impossible(own.iter().chain([unless]))).map(|(ix, _)| vec![*ix]);
        let by = one.or_else(|| {
            let together = &claims[..claims.len().min(MOST_TOGETHER)];
            let all = self.is_impossible(own.iter().chain(together.iter().map(|(_, unless)| unless)));
            let mut rules: Vec<RuleIx> = together.iter().map(|(ix, _)| *ix).collect();
            rules.dedup();
            all.then_some(rules)
        });
        let Some(by) = by else {
            if claims.len() > MOST_TOGETHER {
                self.too_many(rule.ix);
            }
            return;
        };
        let names: Vec<String> = by.iter().take(4).map(|ix| self.name(*ix)).collect();
        let message = format!(
            "shadowed: it is for what no other rule claims, and every event for which it holds is claimed by {}",
            names.join(", ")
        );
        self.judge(rule.ix, Verdict::Shadowed, format!("{} claims all its events", names.join(", ")));
        let help = Some("make it wider than they are together, or take `fallback` out".to_owned());
        let place = self.place_of(rule, Purpose::When);
        self.tell(NewFinding { with: by, help, ..NewFinding::of(FindingKind::Shadowed, rule.ix, place, message) });
    }
}
