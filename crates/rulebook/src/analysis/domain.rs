//! What one value of an event can still be, after some tests. More is thought possible than is, never less.

use paramedic_model::Severity;

use super::form::Test;
use super::texts::Texts;
use crate::condition::{Kinds, Lit, Term};
use crate::index::Range;
use crate::value::Val;

/// All that a value can be.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    missing: bool,
    bools: Vec<bool>,
    severities: Vec<Severity>,
    /// Apart from each other.
    numbers: Vec<Range>,
    texts: Option<Texts>,
}

impl Domain {
    /// Of a term of which nothing else is known.
    pub(crate) fn of(term: &Term) -> Self {
        let kinds = term.kinds();
        let words = if let Term::Path(path) = term { path.words() } else { None };
        Self {
            missing: kinds.may_be(Kinds::MISSING),
            bools: if kinds.may_be(Kinds::BOOL) { vec![true, false] } else { Vec::new() },
            severities: if kinds.may_be(Kinds::SEVERITY) { Severity::KNOWN.to_vec() } else { Vec::new() },
            numbers: if kinds.may_be(Kinds::NUMBER) { vec![Range::ALL] } else { Vec::new() },
            texts: kinds.may_be(Kinds::TEXT).then(|| Texts::of(words)),
        }
    }

    /// What is left where the test holds, or where it does not.
    pub(crate) fn narrow(&mut self, test: &Test, holds: bool) {
        self.missing &= test.holds(&Val::Missing) == holds;
        self.bools.retain(|b| test.holds(&Val::Bool(*b)) == holds);
        self.severities.retain(|s| test.holds(&Val::Severity(*s)) == holds);
        self.numbers = narrowed(std::mem::take(&mut self.numbers), test, holds);
        self.texts = self.texts.take().and_then(|texts| texts.narrowed(test, holds));
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.missing
            && self.bools.is_empty()
            && self.severities.is_empty()
            && self.numbers.is_empty()
            && self.texts.is_none()
    }

    pub(crate) fn may_be_missing(&self) -> bool {
        self.missing
    }

    /// Whether nothing is in both.
    pub(crate) fn is_apart(&self, other: &Domain) -> bool {
        let numbers = || self.numbers.iter().any(|a| other.numbers.iter().any(|b| !a.and(*b).is_empty()));
        let texts = || match (&self.texts, &other.texts) {
            (Some(a), Some(b)) => !a.is_apart(b),
            _ => false,
        };
        !(self.missing && other.missing
            || self.bools.iter().any(|b| other.bools.contains(b))
            || self.severities.iter().any(|s| other.severities.contains(s))
            || numbers()
            || texts())
    }

    /// All values, where they are few and no numbers.
    pub(crate) fn all(&self) -> Option<Vec<Val<'static>>> {
        // One number may be written in two ways, which make two texts.
        if !self.numbers.is_empty() {
            return None;
        }
        let mut all: Vec<Val<'static>> = Vec::new();
        if let Some(texts) = &self.texts {
            all.extend(texts.all()?.map(|t| Val::Text(t.clone().into())));
        }
        all.extend(self.missing.then_some(Val::Missing));
        all.extend(self.bools.iter().copied().map(Val::Bool));
        all.extend(self.severities.iter().copied().map(Val::Severity));
        Some(all)
    }

    /// Some values, the plainest first: not all, and perhaps none.
    pub(crate) fn samples(&self) -> Vec<Val<'static>> {
        let mut some: Vec<Val<'static>> = self.missing.then_some(Val::Missing).into_iter().collect();
        some.extend(self.severities.iter().copied().map(Val::Severity));
        some.extend(self.bools.iter().copied().map(Val::Bool));
        some.extend(self.numbers.iter().flat_map(Range::samples));
        some.extend(self.texts.iter().flat_map(Texts::samples).map(|t| Val::Text(t.into())));
        some
    }

    /// Whether it can be this.
    pub(crate) fn has(&self, value: &Val<'_>) -> bool {
        match value {
            Val::Missing => self.missing,
            Val::Bool(b) => self.bools.contains(b),
            Val::Severity(s) => self.severities.contains(s),
            Val::Int(_) | Val::Float(_) => self.numbers.iter().any(|range| range.holds(value)),
            Val::Text(text) => self.texts.as_ref().is_some_and(|texts| texts.has(text)),
            Val::Other => false,
        }
    }

    /// The numbers that it can be.
    pub(crate) fn numbers(&self) -> &[Range] {
        &self.numbers
    }
}

fn narrowed(numbers: Vec<Range>, test: &Test, holds: bool) -> Vec<Range> {
    let inside = passing(test);
    if holds {
        return both(&numbers, &inside);
    }
    inside.iter().fold(numbers, |left, range| both(&left, &range.outside()))
}

fn both(a: &[Range], b: &[Range]) -> Vec<Range> {
    a.iter().flat_map(|a| b.iter().map(|b| a.and(*b))).filter(|range| !range.is_empty()).collect()
}

/// The numbers that pass a test, in ranges that do not meet.
fn passing(test: &Test) -> Vec<Range> {
    use crate::value::Op;
    match test {
        Test::Compared(Op::Ne, lit) => Range::one(&lit.val()).map(|one| one.outside()).unwrap_or_default(),
        Test::Compared(op, lit) => Range::of(*op, &lit.val()).into_iter().collect(),
        Test::In(list) => {
            let mut points: Vec<Range> = Vec::new();
            for point in list.iter().map(Lit::val).filter_map(|v| Range::one(&v)) {
                if !points.contains(&point) {
                    points.push(point);
                }
            }
            points
        }
        Test::There | Test::Empty => vec![Range::ALL],
        Test::Text(..) | Test::Matches(_) | Test::InNetwork(_) => Vec::new(),
    }
}
