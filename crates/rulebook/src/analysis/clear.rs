//! Whether what a rule opens can clear again.

use super::domain::Domain;
use super::form::Form;
use super::{Analyser, FindingKind, Found, NewFinding, Verdict};
use crate::condition::{Cond, Lit, Term};
use crate::evaluator::{Purpose, parse};
use crate::read::rule::{NO_CLEAR, NO_CLEAR_HELP};
use crate::script::check::mentions_value;
use crate::value::{Path, Val};
use crate::{Pattern, Rule};

impl Analyser<'_> {
    /// Looks at a rule's `clear` and at the evidence of its remedies.
    pub(super) fn clears(&mut self, rule: &Rule) {
        let ix = rule.ix;
        if rule.clear_when().is_some() {
            if self.is_impossible(&self.needed(ix, Purpose::Clear)) {
                self.never_clears(rule);
            } else {
                self.clears_something_else(rule);
                self.clears_itself(rule);
            }
        } else if rule.clear.is_none() && rule.incident.is_some() && self.is_of_samples(rule) {
            let place = rule.place.clone();
            let finding = NewFinding::of(FindingKind::NoClear, ix, place, NO_CLEAR.to_owned());
            self.tell(NewFinding { help: Some(NO_CLEAR_HELP.to_owned()), ..finding });
        }
        for step in (0..rule.remedy.len()).filter(|step| rule.remedy[*step].verify.when.is_some()) {
            if self.is_impossible(&self.needed(ix, Purpose::Verify(step))) {
                self.never_true(rule, Purpose::Verify(step), "this remedy is never verified");
            }
        }
    }

    fn never_clears(&mut self, rule: &Rule) {
        let before = self.findings.len();
        self.never_true(rule, Purpose::Clear, "what the rule opens never clears by itself");
        self.findings[before..].iter_mut().for_each(|finding| finding.kind = FindingKind::NoClear);
    }

    /// Samples are not resolved by their source.
    fn is_of_samples(&self, rule: &Rule) -> bool {
        if !matches!(rule.pattern, Pattern::Event { .. } | Pattern::Count { .. }) || self.is_dead(rule.ix) {
            return false;
        }
        let when = self.asked(rule.ix, Purpose::When).and_then(|a| self.set.exprs.get(a.ix.0 as usize));
        let parsed = when.and_then(|text| parse(&self.compiler, rule, Purpose::When, text));
        if parsed.is_some_and(|parsed| mentions_value(parsed.whole.as_ref().unwrap_or(&parsed.own))) {
            return true;
        }
        let kind = Term::Path(Path::Kind);
        let is_alert = Cond::Cmp(crate::value::Op::Eq, kind, Term::Lit(Lit::Text("alert".to_owned())));
        let mut forms = self.needed(rule.ix, Purpose::When);
        forms.push(Form::of(&is_alert, true));
        self.is_impossible(&forms)
    }

    /// `by` of what clears is never that of what was opened.
    fn clears_something_else(&mut self, rule: &Rule) {
        let by: Vec<Term> = rule.by.iter().flatten().filter_map(|ix| self.evaluator.native(*ix)).cloned().collect();
        for term in &by {
            let opens = self.values(rule.ix, Purpose::When, term);
            let (Some(opens), Some(clears)) = (opens, self.values(rule.ix, Purpose::Clear, term)) else { continue };
            if opens.is_empty() || !opens.iter().all(|a| clears.iter().all(|b| a.is_apart(b))) {
                continue;
            }
            let message = format!(
                "no way to clear: `by` holds `{term}` apart, which is {} where `when` holds and {} where `clear` does",
                shown(&opens),
                shown(&clears)
            );
            let help = Some(format!("take `{term}` out of `by`, or let `clear` speak of the same"));
            let place = self.place_of(rule, Purpose::Clear);
            self.tell(NewFinding { help, ..NewFinding::of(FindingKind::NoClear, rule.ix, place, message) });
            return;
        }
    }

    /// One event opens and clears.
    fn clears_itself(&mut self, rule: &Rule) {
        let ix = rule.ix;
        if !matches!(rule.pattern, Pattern::Event { .. }) || self.is_dead(ix) {
            return;
        }
        let mut forms = self.usual(ix, Purpose::When);
        forms.extend(self.asked(ix, Purpose::Clear).map(|a| a.usual.as_ref().unwrap_or(&a.must).clone()));
        let found = self.find(&forms, |evaluator, event| {
            let matches = evaluator.match_without_cmdb(event);
            matches.when.contains(&ix) && matches.clear.contains(&ix) && evaluator.by(ix, event).is_ok()
        });
        match found {
            Found::Never => {}
            Found::Unknown => {
                self.judge(ix, Verdict::Unknown, "whether one event can both match and clear is not known")
            }
            Found::Event(found) => {
                let event = found.sent;
                let then =
                    if rule.stays.is_some() { "and `for` begins anew" } else { "and what it opens is cleared at once" };
                let message =
                    format!("one event can hold for `when` and for `clear`, {then}: {}", super::witness::shown(&event));
                self.judge(ix, Verdict::Conflicting, "one event both matches and clears");
                let help = Some("let `clear` begin beyond where `when` ends".to_owned());
                let place = self.place_of(rule, Purpose::Clear);
                let finding = NewFinding::of(FindingKind::Conflict, ix, place, message);
                self.tell(NewFinding { help, event: Some(event), ..finding });
            }
        }
    }

    /// Where a condition of a rule stands.
    pub(super) fn place_of(&self, rule: &Rule, purpose: Purpose) -> crate::Place {
        let expr = self.asked(rule.ix, purpose).and_then(|a| self.set.exprs.get(a.ix.0 as usize));
        expr.map_or_else(|| rule.place.clone(), |e| e.place.clone())
    }
}

/// Some of the values, as a rulebook writes them.
fn shown(domains: &[Domain]) -> String {
    let value = |value: Val<'_>| match value {
        Val::Text(text) => format!("{text:?}"),
        Val::Int(i) => i.to_string(),
        Val::Float(f) => f.to_string(),
        Val::Severity(severity) => severity.name().to_uppercase(),
        _ => "something".to_owned(),
    };
    let mut values: Vec<String> = domains.iter().filter_map(|d| d.samples().into_iter().next()).map(value).collect();
    values.dedup();
    values.truncate(3);
    values.join(" or ")
}
