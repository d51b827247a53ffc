//! The pure subset of the expression language, evaluated on the borrowed event.

mod term;

use paramedic_model::Event;

pub(crate) use term::{Kinds, Lit, Term};

use crate::value::{Network, Op, Pattern, Val};

/// A condition of the pure subset. It cannot fail.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cond {
    Const(bool),
    And(Vec<Cond>),
    Or(Vec<Cond>),
    Not(Box<Cond>),
    Cmp(Op, Term, Term),
    In(Term, Vec<Lit>),
    Has(Term),
    /// Where the second text stands in the first.
    Text(Where, Term, Term),
    /// It is the empty text, or missing.
    Empty(Term),
    Matches(Term, Pattern),
    InNetwork(Term, Network),
}

/// Where a text stands in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Where {
    Start,
    End,
    Anywhere,
}

impl Where {
    /// What scripts call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Where::Start => "starts_with",
            Where::End => "ends_with",
            Where::Anywhere => "contains",
        }
    }

    /// The function that scripts call so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Where::Start, Where::End, Where::Anywhere].into_iter().find(|w| w.name() == name)
    }

    pub(crate) fn holds(self, whole: &str, part: &str) -> bool {
        match self {
            Where::Start => whole.starts_with(part),
            Where::End => whole.ends_with(part),
            Where::Anywhere => whole.contains(part),
        }
    }
}

impl Cond {
    /// Whether it holds, where these of its conjuncts, as bits by position, are known to.
    pub(crate) fn holds_given(&self, proven: u32, event: &Event<'_>) -> bool {
        match self {
            Cond::And(all) => all.iter().enumerate().all(|(i, c)| (i < 32 && proven >> i & 1 == 1) || c.holds(event)),
            whole => proven & 1 == 1 || whole.holds(event),
        }
    }

    pub(crate) fn holds(&self, event: &Event<'_>) -> bool {
        match self {
            Cond::Const(b) => *b,
            Cond::And(all) => all.iter().all(|c| c.holds(event)),
            Cond::Or(any) => any.iter().any(|c| c.holds(event)),
            Cond::Not(inner) => !inner.holds(event),
            Cond::Cmp(op, a, b) => op.holds(&a.eval(event), &b.eval(event)),
            Cond::In(term, list) => {
                let v = term.eval(event);
                list.iter().any(|lit| Op::Eq.holds(&v, &lit.val()))
            }
            Cond::Has(term) => !term.eval(event).is_missing(),
            Cond::Text(place, whole, part) => match (whole.eval(event), part.eval(event)) {
                (Val::Text(whole), Val::Text(part)) => place.holds(&whole, &part),
                _ => false,
            },
            Cond::Empty(term) => match term.eval(event) {
                Val::Text(text) => text.is_empty(),
                _ => true,
            },
            Cond::Matches(term, pattern) => matches!(term.eval(event), Val::Text(text) if pattern.is_in(&text)),
            Cond::InNetwork(term, network) => matches!(term.eval(event), Val::Text(text) if network.holds(&text)),
        }
    }
}
