//! Which conditions can hold for one event, two by two, without a look at every pair: what says that a field is one of
//! a few texts is compared with what may say the same.

use std::collections::{BTreeMap, BTreeSet};

use super::domain::Domain;
use super::form::Form;
use super::solve::State;
use crate::condition::Term;
use crate::value::Val;

/// So many are compared each with each.
const FEW: usize = 8;
/// Most pairs that are looked at, and of which a closer look is worth it.
const MOST_LOOKS: usize = 2_000_000;
const MOST_PAIRS: usize = 50_000;

/// What a condition says by its conjuncts alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profile {
    known: Vec<(Term, Domain)>,
    texts: Vec<(Term, Vec<String>)>,
    /// All terms of which it says something, in some case.
    terms: Vec<Term>,
}

impl Profile {
    pub(crate) fn of(forms: &[Form]) -> Self {
        let state = State::of_conjuncts(forms);
        let mut terms: Vec<Term> = state.known().iter().map(|(term, _)| term.clone()).collect();
        forms.iter().for_each(|form| form.terms(&mut terms));
        let texts = |(term, domain): &(Term, Domain)| {
            let texts = domain.all()?.into_iter().map(|value| match value {
                Val::Text(text) => Some(text.into_owned()),
                _ => None,
            });
            Some((term.clone(), texts.collect::<Option<Vec<_>>>()?))
        };
        let texts = state.known().iter().filter_map(texts).filter(|(_, t)| t.len() <= 64).collect();
        Self { known: state.known().to_vec(), texts, terms }
    }

    /// Whether no event can be of both.
    pub(super) fn is_apart(&self, other: &Profile) -> bool {
        let same = |term: &Term| other.known.iter().find(|(t, _)| t == term).map(|(_, domain)| domain);
        self.known.iter().any(|(term, domain)| same(term).is_some_and(|d| domain.is_apart(d)))
    }

    /// Whether it may be that what holds for this holds for the other: it speaks of all that the other does.
    pub(super) fn may_imply(&self, other: &Profile) -> bool {
        other.known.iter().all(|(term, _)| self.terms.contains(term))
    }

    fn texts_of(&self, term: &Term) -> Option<&[String]> {
        self.texts.iter().find(|(t, _)| t == term).map(|(_, texts)| texts.as_slice())
    }
}

/// Pairs that may hold for one event, each once, the lower number first.
pub(crate) struct Pairs {
    pub(crate) found: Vec<(usize, usize)>,
    /// There are more.
    pub(crate) is_cut: bool,
}

/// Of some conditions, by number, those of which a closer look is worth it.
pub(crate) fn pairs(of: &[usize], profiles: &[Profile], is_worth: &dyn Fn(usize, usize) -> bool) -> Pairs {
    let mut search = Search { profiles, found: BTreeSet::new(), looks: 0, is_worth };
    search.within(of, &mut Vec::new());
    let is_cut = search.is_over();
    Pairs { found: search.found.into_iter().collect(), is_cut }
}

struct Search<'p> {
    profiles: &'p [Profile],
    found: BTreeSet<(usize, usize)>,
    looks: usize,
    is_worth: &'p dyn Fn(usize, usize) -> bool,
}

impl<'p> Search<'p> {
    fn within(&mut self, of: &[usize], used: &mut Vec<&'p Term>) {
        let Some(term) = (of.len() > FEW).then(|| self.most_telling(of, used)).flatten() else {
            for (n, a) in of.iter().enumerate() {
                of[n + 1..].iter().for_each(|b| self.look(*a, *b));
                if self.is_over() {
                    return;
                }
            }
            return;
        };
        let mut by_text: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut rest = Vec::new();
        for at in of {
            match self.profiles[*at].texts_of(term) {
                Some(texts) => texts.iter().for_each(|text| by_text.entry(text).or_default().push(*at)),
                None => rest.push(*at),
            }
        }
        used.push(term);
        for same in by_text.values() {
            self.within(same, used);
        }
        self.within(&rest, used);
        used.pop();
        let with: Vec<usize> = of.iter().copied().filter(|at| self.profiles[*at].texts_of(term).is_some()).collect();
        for a in &rest {
            if self.is_over() {
                return;
            }
            with.iter().for_each(|b| self.look(*a, *b));
        }
    }

    /// What most of them say is one of a few texts, and not all the same.
    fn most_telling(&self, of: &[usize], used: &[&'p Term]) -> Option<&'p Term> {
        let mut counted: Vec<(&'p Term, usize, BTreeSet<&'p str>)> = Vec::new();
        for at in of {
            let profile: &'p Profile = &self.profiles[*at];
            for (term, texts) in profile.texts.iter().filter(|(term, _)| !used.contains(&term)) {
                match counted.iter_mut().find(|(t, ..)| *t == term) {
                    Some((_, n, all)) => {
                        *n += 1;
                        all.extend(texts.iter().map(String::as_str).take(FEW));
                    }
                    None => counted.push((term, 1, texts.iter().map(String::as_str).take(FEW).collect())),
                }
            }
        }
        let telling = counted.into_iter().filter(|(_, n, all)| *n * 2 >= of.len() && all.len() > 1);
        telling.max_by_key(|(_, n, all)| (*n).min(all.len() * FEW)).map(|(term, ..)| term)
    }

    fn is_over(&self) -> bool {
        self.looks >= MOST_LOOKS || self.found.len() >= MOST_PAIRS
    }

    fn look(&mut self, a: usize, b: usize) {
        self.looks += 1;
        let (a, b) = (a.min(b), a.max(b));
        if a != b && !self.is_over() && !self.profiles[a].is_apart(&self.profiles[b]) && (self.is_worth)(a, b) {
            self.found.insert((a, b));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::script::compile::{Compiler, Role};
    use crate::script::native::{cond, expression};

    fn condition() -> impl Strategy<Value = String> {
        let atom = prop_oneof![
            4 => (0..5).prop_map(|n| format!("event.type == \"{n}\"")),
            2 => (0..5, 0..5).prop_map(|(a, b)| format!("event.type in [\"{a}\", \"{b}\"]")),
            2 => (0..4).prop_map(|n| format!("event.labels.x == \"{n}\"")),
            1 => (0..4).prop_map(|n| format!("event.labels.y == \"{n}\"")),
            1 => (0..4).prop_map(|n| format!("event.value > {n} && event.value < {n}.5")),
        ];
        prop::collection::vec(atom, 1..4).prop_map(|all| all.join(" && "))
    }

    proptest! {
        #[test]
        fn the_pairs_are_those_that_a_look_at_each_finds(conditions in prop::collection::vec(condition(), 0..60)) {
            let compiler = Compiler::new();
            let profile = |text: &String| {
                let ast = compiler.parse(text, Role::Condition).unwrap();
                Profile::of(&[Form::of(&cond(expression(&ast).unwrap()).unwrap(), true)])
            };
            // A condition that no value fits meets nothing, and is asked of no pair.
            let profiles: Vec<Profile> = conditions
                .iter()
                .map(profile)
                .filter(|profile| !profile.known.iter().any(|(_, domain)| domain.is_empty()))
                .collect();
            let all: Vec<usize> = (0..profiles.len()).collect();
            let mut expected = Vec::new();
            for a in &all {
                let later = all[a + 1..].iter().filter(|b| !profiles[*a].is_apart(&profiles[**b]));
                expected.extend(later.map(|b| (*a, *b)));
            }
            let found = pairs(&all, &profiles, &|_, _| true);
            prop_assert!(!found.is_cut);
            prop_assert_eq!(found.found, expected);
        }
    }
}
