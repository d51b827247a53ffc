//! Whether a rule can fire at all.

use super::domain::Domain;
use super::places::Part;
use super::solve::{Ended, cases};
use super::{Analyser, FindingKind, Found, NewFinding, Verdict, Witness};
use crate::condition::Term;
use crate::evaluator::Purpose;
use crate::{Bindings, Bound, Comparison, Evaluator, ExprIx, Measured, Member, Pattern, Rule, RuleIx, Slot, Together};
use paramedic_model::OwnedEvent;
use std::ops::ControlFlow;

/// So many parts that exclude another are shown.
const MOST_SHOWN: usize = 4;
/// Numbers that are computed are compared with so much room: sums of floats are not exact.
const ROOM: f64 = 1e-6;

impl Analyser<'_> {
    /// Looks for an event that makes a rule fire; for a reason why there is none, too.
    pub(super) fn fires(&mut self, rule: &Rule) {
        match &rule.pattern {
            Pattern::Members { together, members, .. } => self.members_fire(rule, *together, members),
            Pattern::Upon { when: Some(_), .. } => {
                self.judge(rule.ix, Verdict::Unknown, "its question is asked of a record");
            }
            Pattern::Upon { when: None, .. } | Pattern::Every { .. } => {}
            Pattern::Absent { for_each: Some(_), .. } => self.one_fires(rule, false),
            _ => {
                self.one_fires(rule, true);
                self.never_enough(rule);
            }
        }
    }

    fn one_fires(&mut self, rule: &Rule, needs_by: bool) {
        let ix = rule.ix;
        let forms = self.usual(ix, Purpose::When);
        let found = self.find(&forms, |evaluator, event| {
            evaluator.match_without_cmdb(event).when.contains(&ix) && (!needs_by || evaluator.by(ix, event).is_ok())
        });
        let found = match found {
            Found::Never if !self.is_impossible(&self.needed(ix, Purpose::When)) => Found::Unknown,
            found => found,
        };
        match found {
            Found::Event(found) => self.known[ix.0 as usize].event = Some(found.sent),
            Found::Never if !needs_by => self.never_true(rule, Purpose::When, "it will be absent of every CI"),
            Found::Never => self.dead(rule, Purpose::When, "it can never fire"),
            Found::Unknown => {
                self.judge(ix, Verdict::Unknown, "no event was found for which it holds, and none is known not to be")
            }
        }
    }

    /// A condition never holds: says which parts of it exclude each other.
    fn dead(&mut self, rule: &Rule, purpose: Purpose, therefore: &str) {
        self.never_true(rule, purpose, therefore);
        let reason = format!("`{}` is never true", purpose.name());
        self.judge(rule.ix, Verdict::Dead, reason);
    }

    /// Says which parts of a condition exclude each other.
    pub(super) fn never_true(&mut self, rule: &Rule, purpose: Purpose, therefore: &str) {
        let parts = self.smallest(&self.parts(rule.ix, purpose));
        let name = purpose.name();
        let Some(last) = parts.iter().rev().find(|p| !p.is_by).or(parts.last()) else { return };
        let others: Vec<&Part> = parts.iter().filter(|p| p.text != last.text || p.place != last.place).collect();
        let message = match others.as_slice() {
            [] => format!("`{name}` is never true: `{}` holds for no event; {therefore}", last.text),
            [other] if other.is_by => {
                format!(
                    "`{name}` is never true for anything: `by` needs `{}`, and `{}` excludes it; {therefore}",
                    other.text, last.text
                )
            }
            others => {
                let line = |p: &Part| match p.place.line == last.place.line {
                    true => String::new(),
                    false => format!(" (line {})", p.place.line),
                };
                let texts = others.iter().take(MOST_SHOWN).map(|p| format!("`{}`{}", p.text, line(p)));
                let texts: Vec<String> = texts.collect();
                format!("`{name}` is never true: `{}` excludes {}; {therefore}", last.text, texts.join(" with "))
            }
        };
        let help = match others.as_slice() {
            [] => "take it out, or say what it is meant to find",
            others if others.iter().any(|p| p.is_by) => "take it out of `by`, or the condition",
            _ => "they cannot hold for one event: take one out, or join them with `||`",
        };
        let place = last.place.clone();
        self.tell(NewFinding {
            help: Some(help.to_owned()),
            ..NewFinding::of(FindingKind::NeverTrue, rule.ix, place, message)
        });
    }

    /// The fewest parts that already exclude each other, as far as leaving out one after the other finds them.
    fn smallest(&self, parts: &[Part]) -> Vec<Part> {
        let mut kept: Vec<&Part> = parts.iter().collect();
        let mut at = 0;
        while at < kept.len() {
            let gone = kept.remove(at);
            if !self.is_impossible(kept.iter().map(|p| &p.form)) {
                kept.insert(at, gone);
                at += 1;
            }
        }
        kept.into_iter().cloned().collect()
    }

    /// What holds for each event, but never for enough of them.
    fn never_enough(&mut self, rule: &Rule) {
        let why = match &rule.pattern {
            Pattern::Count { distinct: Some((of, values)), .. } => self.too_few_values(rule, *of, *values),
            Pattern::Measure { measured, of, is, .. } => self.out_of_reach(rule, *measured, *of, *is),
            _ => None,
        };
        if let Some((message, help)) = why.filter(|_| !self.is_dead(rule.ix)) {
            self.judge(rule.ix, Verdict::Dead, message.clone());
            let place = rule.place.clone();
            self.tell(NewFinding {
                help: Some(help),
                ..NewFinding::of(FindingKind::NeverTrue, rule.ix, place, message)
            });
        }
    }

    fn too_few_values(&self, rule: &Rule, of: ExprIx, values: u32) -> Option<(String, String)> {
        let term = self.evaluator.native(of)?;
        let help = "count something that differs, or make `by` wider".to_owned();
        let is_by = rule.by.iter().flatten().filter_map(|ix| self.evaluator.native(*ix)).any(|by| by == term);
        if is_by && values > 1 {
            let message = format!(
                "it never fires: `by` holds `{term}` apart, so that {values} different ones never come together"
            );
            return Some((message, help));
        }
        let all: usize =
            self.values(rule.ix, Purpose::When, term)?.iter().map(|d| Some(d.all()?.len())).sum::<Option<usize>>()?;
        (all < values as usize).then(|| {
            (
                format!(
                    "it never fires: `when` leaves {all} values of `{term}`, and {values} different ones are wanted"
                ),
                help,
            )
        })
    }

    /// An average, a least or a greatest lies between the samples.
    fn out_of_reach(&self, rule: &Rule, measured: Measured, of: ExprIx, is: Comparison) -> Option<(String, String)> {
        if !matches!(measured, Measured::Avg | Measured::Min | Measured::Max) {
            return None;
        }
        let term = self.evaluator.native(of)?;
        let domains = self.values(rule.ix, Purpose::When, term)?;
        let bounds: Vec<(f64, f64)> = domains.iter().flat_map(Domain::numbers).map(|range| range.bounds()).collect();
        let low = bounds.iter().map(|b| b.0).fold(f64::INFINITY, f64::min);
        let high = bounds.iter().map(|b| b.1).fold(f64::NEG_INFINITY, f64::max);
        let room = |at: f64| ROOM * at.abs().max(1.0);
        let never = match is {
            Comparison::Above(x) | Comparison::AtLeast(x) => high + room(high) < x,
            Comparison::Below(x) | Comparison::AtMost(x) => low - room(low) > x,
            Comparison::Equal(x) => high + room(high) < x || low - room(low) > x,
            Comparison::Unequal(_) => false,
        };
        (never && !bounds.is_empty()).then(|| {
            let message =
                format!("it never fires: from the samples that `when` takes, `{term}` never becomes what `is` wants");
            (message, "let `when` say which samples count, and `is` what is too much of them".to_owned())
        })
    }

    /// What a value can be where a condition of a rule holds, case by case; `None` where some case says nothing of it.
    pub(super) fn values(&self, rule: RuleIx, purpose: Purpose, term: &Term) -> Option<Vec<Domain>> {
        let forms = self.needed(rule, purpose);
        let (mut all, mut is_known) = (Vec::new(), true);
        let ended = cases(&self.budget, &forms, &mut |state| {
            is_known = state.domain(term).map(|domain| all.push(domain.clone())).is_some();
            if is_known { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        (is_known && ended == Ended::Complete).then_some(all)
    }

    fn members_fire(&mut self, rule: &Rule, together: Together, members: &[Member]) {
        let ix = rule.ix;
        let mut events: Vec<Option<Witness>> = Vec::new();
        let mut never = Vec::new();
        for (at, member) in (0u8..).zip(members) {
            let slot = Slot::Member(at);
            let forms = self.needed(ix, Purpose::Slot(slot));
            let named = members.iter().zip(&events);
            let bound: Vec<(&str, &OwnedEvent)> =
                named.filter_map(|(m, event)| Some((m.name.as_str(), &event.as_ref()?.seen))).collect();
            let is_so = |evaluator: &mut Evaluator, event: &OwnedEvent| {
                evaluator.match_without_cmdb(event).slots.contains(&(ix, slot))
                    && evaluator.by(ix, event).is_ok()
                    && (member.reads.is_empty() || holds_with(evaluator, ix, at, member, &bound, event))
            };
            let found = self.find(&forms, is_so);
            never.extend(matches!(found, Found::Never).then_some(slot));
            events.push(if let Found::Event(event) = found { Some(*event) } else { None });
        }
        let is_dead = match together {
            Together::All | Together::Sequence => !never.is_empty(),
            Together::Any | Together::NotAll => never.len() == members.len(),
        };
        if !is_dead {
            for slot in &never {
                self.never_true(rule, Purpose::Slot(*slot), "this member never comes");
            }
        }
        if let Some(slot) = never.first().filter(|_| is_dead) {
            return self.dead(rule, Purpose::Slot(*slot), "it can never fire");
        }
        if matches!(together, Together::All | Together::Sequence) && self.members_are_apart(rule, members) {
            return;
        }
        let complete: Option<Vec<Witness>> = events.iter().cloned().collect();
        let mut meets = || {
            let by: Vec<_> =
                complete.as_ref()?.iter().map(|e| self.evaluator.by(ix, &e.seen).ok()).collect::<Option<_>>()?;
            (together == Together::Any || by.windows(2).all(|two| two[0] == two[1])).then_some(())
        };
        let is_live = meets().is_some() || (together == Together::Any && events.iter().any(Option::is_some));
        match (is_live, events.into_iter().flatten().next()) {
            (true, event) => self.known[ix.0 as usize].event = event.map(|found| found.sent),
            _ => self.judge(ix, Verdict::Unknown, "no events were found that make up its members"),
        }
    }

    /// Members that can never agree in a part of `by`.
    fn members_are_apart(&mut self, rule: &Rule, members: &[Member]) -> bool {
        let by: Vec<Term> = rule.by.iter().flatten().filter_map(|ix| self.evaluator.native(*ix)).cloned().collect();
        for term in &by {
            let of = |at: usize| {
                u8::try_from(at).ok().and_then(|at| self.values(rule.ix, Purpose::Slot(Slot::Member(at)), term))
            };
            let values: Vec<Option<Vec<Domain>>> = (0..members.len()).map(of).collect();
            for (a, b) in (0..members.len()).flat_map(|a| (a + 1..members.len()).map(move |b| (a, b))) {
                let (Some(of_a), Some(of_b)) = (&values[a], &values[b]) else { continue };
                if of_a.iter().all(|x| of_b.iter().all(|y| x.is_apart(y))) {
                    let (a, b) = (&members[a].name, &members[b].name);
                    let message = format!(
                        "it never fires: `by` needs one `{term}` for all members, and `{a}` and `{b}` never agree in it"
                    );
                    self.judge(rule.ix, Verdict::Dead, message.clone());
                    let help = Some("take it out of `by`, or name what both have".to_owned());
                    let place = rule.place.clone();
                    self.tell(NewFinding { help, ..NewFinding::of(FindingKind::NeverTrue, rule.ix, place, message) });
                    return true;
                }
            }
        }
        false
    }
}

fn holds_with(
    evaluator: &mut Evaluator,
    rule: RuleIx,
    at: u8,
    member: &Member,
    bound: &[(&str, &OwnedEvent)],
    event: &OwnedEvent,
) -> bool {
    let names = bound.iter().fold(Bindings::default(), |names, (name, event)| names.with(name, Bound::Event(event)));
    let names = names.with(&member.name, Bound::Event(event));
    evaluator.member_holds(rule, at, &names) == Ok(true)
}
