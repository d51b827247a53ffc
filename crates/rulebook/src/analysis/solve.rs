//! Whether all of several conditions can hold for one event. Terms are taken for independent of each other, but where
//! a field has few values: what is called impossible is, and what is called possible need not be.

use std::cell::Cell;
use std::ops::ControlFlow;

use super::domain::Domain;
use super::form::{Atom, Form, Test, paths};
use super::witness::event_of;
use crate::condition::{Cond, Term};
use crate::value::{One, Path, Two, Val};

/// Most steps of one search before it is given up: questions that are asked of what is known.
const MOST_STEPS: usize = 20_000;
/// A look through so many known terms is a step.
const TERMS_A_STEP: usize = 32;
/// So many conjuncts are taken for a first look.
const MOST_CONJUNCTS: usize = 200;
/// A field with more values than this is not looked through.
const FEW: usize = 64;

/// What is known of each value, where some conditions hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    known: Vec<(Term, Domain)>,
    /// What is said of no single value.
    open: Vec<(Cond, bool)>,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It has seen every case.
    Complete,
    /// Who asked has seen enough.
    Enough,
    /// There are too many cases.
    GivenUp,
}

/// How many steps all searches together may yet take: hostile rulebooks must end, too.
#[derive(Debug)]
pub(crate) struct Budget(Cell<usize>);

impl Budget {
    /// That of one analysis.
    pub(crate) const fn of_all() -> Self {
        Self(Cell::new(20_000_000))
    }

    /// Takes so many steps for something else than a search; `false` where there are none left.
    pub(crate) fn spend(&self, steps: usize) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(steps));
        left > steps
    }
}

/// Visits every case in which all forms may hold.
pub(crate) fn cases<'f>(
    budget: &Budget,
    forms: impl IntoIterator<Item = &'f Form>,
    visit: &mut dyn FnMut(&State) -> ControlFlow<()>,
) -> Ended {
    let steps = budget.0.get().min(MOST_STEPS);
    let mut search = Search { steps, visit };
    let ended = search.go(State::default(), forms.into_iter().collect(), Vec::new());
    budget.spend(steps - search.steps);
    match ended {
        ControlFlow::Continue(()) => Ended::Complete,
        ControlFlow::Break(ended) => ended,
    }
}

/// Whether it is known that not all can hold.
pub(crate) fn is_impossible<'f>(budget: &Budget, forms: impl IntoIterator<Item = &'f Form>) -> bool {
    cases(budget, forms, &mut |_| ControlFlow::Break(())) == Ended::Complete
}

struct Search<'v> {
    steps: usize,
    visit: &'v mut dyn FnMut(&State) -> ControlFlow<()>,
}

impl Search<'_> {
    fn spend(&mut self, steps: usize) -> ControlFlow<Ended> {
        match self.steps.checked_sub(steps) {
            Some(left) => {
                self.steps = left;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(Ended::GivenUp),
        }
    }

    /// Continues where every case was seen.
    fn go<'f>(&mut self, mut state: State, mut todo: Vec<&'f Form>, mut later: Vec<&'f [Form]>) -> ControlFlow<Ended> {
        loop {
            while let Some(form) = todo.pop() {
                self.spend(1 + state.known.len() / TERMS_A_STEP)?;
                match form {
                    Form::All(all) => todo.extend(all),
                    Form::Any(any) => match any.as_slice() {
                        [one] => todo.push(one),
                        any => later.push(any),
                    },
                    Form::Is(atom) if !state.narrow(atom) => return ControlFlow::Continue(()),
                    Form::Open(cond, holds) if !state.add_open(cond, *holds) => return ControlFlow::Continue(()),
                    Form::Is(_) | Form::Open(..) => {}
                }
            }
            let Some((at, sides)) = self.fewest(&state, &later)? else { break };
            later.swap_remove(at);
            match sides.as_slice() {
                [] => return ControlFlow::Continue(()),
                [only] => todo.push(only),
                sides => {
                    return sides.iter().try_for_each(|side| self.go(state.clone(), vec![side], later.clone()));
                }
            }
        }
        if !state.is_consistent() {
            return ControlFlow::Continue(());
        }
        match (self.visit)(&state) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(()) => ControlFlow::Break(Ended::Enough),
        }
    }

    /// Of what leaves a choice, what leaves the least: sides that cannot be are not chosen, and with one left there is
    /// no choice.
    fn fewest<'f>(
        &mut self,
        state: &State,
        later: &[&'f [Form]],
    ) -> ControlFlow<Ended, Option<(usize, Vec<&'f Form>)>> {
        let mut best: Option<(usize, Vec<&'f Form>)> = None;
        for (at, any) in later.iter().enumerate() {
            self.spend(any.len() * (1 + state.known.len() / TERMS_A_STEP))?;
            let sides: Vec<&Form> = any.iter().filter(|side| state.admits(side)).collect();
            if best.as_ref().is_none_or(|(_, least)| sides.len() < least.len()) {
                let leaves_none = sides.len() < 2;
                best = Some((at, sides));
                if leaves_none {
                    break;
                }
            }
        }
        ControlFlow::Continue(best)
    }
}

impl State {
    /// What follows from what must hold in every case, for a look at the rest.
    pub(crate) fn of_conjuncts(forms: &[Form]) -> Self {
        let mut state = State::default();
        let mut todo: Vec<&Form> = forms.iter().collect();
        for _ in 0..MOST_CONJUNCTS {
            let Some(form) = todo.pop() else { break };
            match form {
                Form::All(all) => todo.extend(all),
                Form::Any(any) => todo.extend(any.first().filter(|_| any.len() == 1)),
                Form::Is(atom) => drop(state.narrow(atom)),
                Form::Open(..) => {}
            }
        }
        state
    }

    /// `false` where it leaves nothing.
    fn narrow(&mut self, atom: &Atom) -> bool {
        let at = match self.known.iter().position(|(term, _)| *term == atom.term) {
            Some(at) => at,
            None => {
                self.known.push((atom.term.clone(), Domain::of(&atom.term)));
                self.known.len() - 1
            }
        };
        let domain = &mut self.known[at].1;
        domain.narrow(&atom.test, atom.holds);
        if domain.is_empty() {
            return false;
        }
        domain.may_be_missing() || self.needs_inner(&atom.term)
    }

    /// What a function gives is there only where what it takes is.
    fn needs_inner(&mut self, term: &Term) -> bool {
        let is = |term: &Term, test: Test| Atom { term: term.clone(), test, holds: true };
        match term {
            Term::One(One::Lower | One::Upper | One::Len, inner) => self.narrow(&is(inner, Test::is_text())),
            Term::One(_, inner) => self.narrow(&is(inner, Test::There)),
            Term::Two(Two::Plus, ..) => true,
            Term::Two(_, a, b) => {
                let mut there = |t: &Term| matches!(t, Term::Lit(_)) || self.narrow(&is(t, Test::There));
                there(a) && there(b)
            }
            Term::Lit(_) | Term::Path(_) | Term::Coalesce(_) => true,
        }
    }

    fn add_open(&mut self, cond: &Cond, holds: bool) -> bool {
        if self.open.iter().any(|(other, held)| other == cond && *held != holds) {
            return false;
        }
        self.open.push((cond.clone(), holds));
        true
    }

    /// Whether a side may hold, at a glance.
    fn admits(&self, form: &Form) -> bool {
        match form {
            Form::Is(atom) => {
                let known = self.known.iter().find(|(term, _)| *term == atom.term);
                let mut domain = known.map_or_else(|| Domain::of(&atom.term), |(_, domain)| domain.clone());
                domain.narrow(&atom.test, atom.holds);
                !domain.is_empty()
            }
            Form::All(all) => all.iter().all(|part| self.admits(part)),
            Form::Any(any) => any.iter().any(|part| self.admits(part)),
            Form::Open(..) => true,
        }
    }

    /// What is known of a term.
    pub(crate) fn domain(&self, term: &Term) -> Option<&Domain> {
        self.known.iter().find(|(known, _)| known == term).map(|(_, domain)| domain)
    }

    pub(crate) fn known(&self) -> &[(Term, Domain)] {
        &self.known
    }

    pub(crate) fn open(&self) -> &[(Cond, bool)] {
        &self.open
    }

    /// Whether a value of a field fits all that is known of terms that read this field alone.
    pub(crate) fn fits(&self, path: &Path, value: &Val<'static>) -> bool {
        let Some(event) = event_of(&[(path.clone(), value.clone())]) else { return false };
        self.known.iter().filter(|(term, _)| paths(term) == [path]).all(|(term, domain)| domain.has(&term.eval(&event)))
    }

    /// Fields with few values have one that fits.
    fn is_consistent(&self) -> bool {
        self.known.iter().all(|(term, domain)| {
            let Term::Path(path) = term else { return true };
            let is_alone = self.known.iter().filter(|(other, _)| paths(other) == [path]).count() == 1;
            if is_alone {
                return true;
            }
            match domain.all().filter(|all| all.len() <= FEW) {
                Some(all) => all.iter().any(|value| !can_be_set(path, value) || self.fits(path, value)),
                None => true,
            }
        })
    }
}

/// Whether an event can be made with it: of times that no text of the rulebook spells nothing is known.
fn can_be_set(path: &Path, value: &Val<'static>) -> bool {
    event_of(&[(path.clone(), value.clone())]).is_some()
}
