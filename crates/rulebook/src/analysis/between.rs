//! What is neither `when` nor `clear`: values between the two, with which `for` runs on; and what is `clear` though it is
//! about something else.

use std::ops::ControlFlow;

use paramedic_model::OwnedEvent;

use super::domain::Domain;
use super::form::Form;
use super::solve::{State, cases};
use super::{Analyser, FindingKind, Found, NewFinding, witness};
use crate::condition::{Cond, Lit, Term};
use crate::evaluator::Purpose;
use crate::explain::field;
use crate::index::Range;
use crate::value::{Path, Val};
use crate::{Pattern, Rule};

impl Analyser<'_> {
    /// A `for` goes on with values for which neither `when` nor `clear` holds.
    pub(super) fn runs_on(&mut self, rule: &Rule) {
        let of_one = matches!(rule.pattern, Pattern::Event { .. });
        if rule.stays.is_none() || rule.clear_when().is_none() || !of_one || self.is_dead(rule.ix) {
            return;
        }
        let found = [Path::Value, Path::Threshold].into_iter().find_map(|path| self.gap(rule, &path));
        let Some((path, gap, at_its_end)) = found else { return };
        let message =
            format!("{gap} {} is neither in `when` nor in `clear`: a `for` that has begun runs on", path.shown());
        let help = format!("so it is meant where values sway; else let `clear` begin where `when` ends: {at_its_end}");
        let place = self.place_of(rule, Purpose::Clear);
        self.tell(NewFinding { help: Some(help), ..NewFinding::of(FindingKind::Gap, rule.ix, place, message) });
    }

    /// Numbers between those for which a rule matches and those for which it clears, all else being equal, in words; and
    /// what would clear up to where it matches. Asked of an event that matches, and is changed.
    fn gap(&mut self, rule: &Rule, path: &Path) -> Option<(Path, String, String)> {
        let term = Term::Path(path.clone());
        let of = |purpose| self.values(rule.ix, purpose, &term);
        let (fires, clears) = (numbers(&of(Purpose::When)?), numbers(&of(Purpose::Clear)?));
        let event = self.known[rule.ix.0 as usize].event.clone()?;
        let with = |value: Val<'static>| field::changed(&event, &[(path.clone(), Some(field::literal(path, &value)?))]);
        let taken = fires.iter().chain(&clears);
        let left = taken.fold(vec![Range::ALL], |left, range| {
            left.iter().flat_map(|l| range.outside().into_iter().map(|o| l.and(o))).filter(|r| !r.is_empty()).collect()
        });
        let changes =
            left.iter().filter_map(|gap| Some((gap, gap.between()?, with(gap.samples().into_iter().next()?)?)));
        let changes: Vec<_> = changes.collect();
        let cleared: Vec<_> = clears.iter().filter_map(|range| with(range.samples().into_iter().next()?)).collect();
        let mut found = |event: &OwnedEvent| {
            let seen = self.evaluator.seen(event).into_owned();
            self.evaluator.match_without_cmdb(&seen)
        };
        let does_clear = cleared.iter().any(|event| found(event).clear.contains(&rule.ix));
        let (gap, words, _) = changes.into_iter().filter(|_| does_clear).find(|(_, _, event)| {
            let matches = found(event);
            !matches.when.contains(&rule.ix) && !matches.clear.contains(&rule.ix)
        })?;
        // Which side of the gap matches.
        let (low, high) = gap.bounds();
        let above = fires.iter().any(|range| range.bounds().0 >= high);
        let (from, to) = gap.signs();
        let name = path.shown();
        let at_its_end = if above { format!("`{name} {to} {high}`") } else { format!("`{name} {from} {low}`") };
        Some((path.clone(), words, at_its_end))
    }

    /// A `clear` that says nothing of `event.type`, where `when` does, is asked of every event of the same `by`.
    pub(super) fn clears_by_others(&mut self, rule: &Rule) {
        let of_type = Term::Path(Path::Type);
        if rule.clear_when().is_none() || rule.pattern.when().is_none() || self.is_dead(rule.ix) {
            return;
        }
        // Without a `by` only the alert itself clears.
        let Some(by) = &rule.by else { return };
        let kept_apart = |term: &Term| matches!(term, Term::Path(Path::Type | Path::Metric | Path::DedupKey));
        if by.iter().filter_map(|ix| self.evaluator.native(*ix)).any(kept_apart) {
            return;
        }
        let opens = self.values(rule.ix, Purpose::When, &of_type);
        let Some(types) = opens.and_then(|all| texts(&all)) else { return };
        let when = State::of_conjuncts(&self.needed(rule.ix, Purpose::When));
        let forms = self.needed(rule.ix, Purpose::Clear);
        let (mut types, mut any) = (types, false);
        cases(&self.budget, &forms, &mut |state| {
            match state.domain(&of_type) {
                Some(domain) => types.extend(texts(std::slice::from_ref(domain)).into_iter().flatten()),
                None => any |= !says_what_it_is_about(state, &when),
            }
            ControlFlow::Continue(())
        });
        if !any {
            return;
        }
        let other = Cond::In(of_type, types.into_iter().map(Lit::Text).collect());
        let forms: Vec<Form> =
            forms.into_iter().chain([Form::of(&other, false), Form::there(&Term::Path(Path::Type))]).collect();
        let ix = rule.ix;
        let found = self.find(&forms, |evaluator, event| {
            evaluator.match_without_cmdb(event).clear.contains(&ix) && evaluator.by(ix, event).is_ok()
        });
        let Found::Event(event) = found else { return };
        let message = format!(
            "`clear` says nothing of event.type, which `when` does: events of any type clear, such as {}",
            witness::shown(&event.sent)
        );
        let help = Some("begin it with the type of what recovers: `event.type == \"...\" && `".to_owned());
        let place = self.place_of(rule, Purpose::Clear);
        self.tell(NewFinding {
            help,
            event: Some(event.sent),
            ..NewFinding::of(FindingKind::ForeignClear, ix, place, message)
        });
    }
}

fn numbers(domains: &[Domain]) -> Vec<Range> {
    domains.iter().flat_map(Domain::numbers).copied().collect()
}

/// The texts that a value can be, where they are few and it can be nothing else.
fn texts(domains: &[Domain]) -> Option<Vec<String>> {
    let text = |value: Val<'static>| match value {
        Val::Text(text) => Some(text.into_owned()),
        _ => None,
    };
    let all: Option<Vec<Vec<Val<'static>>>> = domains.iter().map(Domain::all).collect();
    all?.into_iter().flatten().map(text).collect()
}

/// Whether a field holds a name in it that `when` does not exclude: what is the name of a state is another one there.
fn says_what_it_is_about(state: &State, when: &State) -> bool {
    state.known().iter().any(|(term, domain)| {
        let is_word = matches!(term, Term::Path(path) if path.words().is_some());
        let is_name = texts(std::slice::from_ref(domain)).is_some_and(|texts| !texts.is_empty());
        !is_word && is_name && when.domain(term).is_none_or(|there| !there.is_apart(domain))
    })
}
