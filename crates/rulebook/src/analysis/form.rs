//! Conditions as questions about single values, joined by `all` and `any`; negations stand at the questions only.

use std::fmt;

use crate::condition::{Cond, Kinds, Lit, Term, Where};
use crate::evaluator::Implied;
use crate::value::{Network, Op, Path, Pattern, Val};
use paramedic_model::Event;

/// A condition. `All` of nothing is true, `Any` of nothing is false.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Form {
    All(Vec<Form>),
    Any(Vec<Form>),
    Is(Atom),
    /// What is known of no single value, such as a comparison of two: whether it holds.
    Open(Cond, bool),
}

/// Whether a value passes a test.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Atom {
    pub(crate) term: Term,
    pub(crate) test: Test,
    pub(crate) holds: bool,
}

/// What is asked of one value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    Compared(Op, Lit),
    In(Vec<Lit>),
    There,
    Text(Where, String),
    Empty,
    Matches(Pattern),
    InNetwork(Network),
}

pub(crate) const TRUE: Form = Form::All(Vec::new());
pub(crate) const FALSE: Form = Form::Any(Vec::new());

impl Test {
    /// As [`Cond::holds`] says it of a value.
    pub(crate) fn holds(&self, value: &Val<'_>) -> bool {
        match self {
            Test::Compared(op, lit) => op.holds(value, &lit.val()),
            Test::In(list) => list.iter().any(|lit| Op::Eq.holds(value, &lit.val())),
            Test::There => !value.is_missing(),
            Test::Text(place, part) => matches!(value, Val::Text(whole) if place.holds(whole, part)),
            Test::Empty => !matches!(value, Val::Text(text) if !text.is_empty()),
            Test::Matches(pattern) => matches!(value, Val::Text(text) if pattern.is_in(text)),
            Test::InNetwork(network) => matches!(value, Val::Text(text) if network.holds(text)),
        }
    }

    /// The test that a text passes, and nothing else does.
    pub(crate) fn is_text() -> Self {
        Test::Text(Where::Start, String::new())
    }
}

impl Form {
    /// What holds where the condition does, or where it does not.
    pub(crate) fn of(cond: &Cond, holds: bool) -> Form {
        match cond {
            Cond::Const(b) => constant(*b == holds),
            Cond::Not(inner) => Form::of(inner, !holds),
            Cond::And(all) if holds => Form::All(all.iter().map(|c| Form::of(c, true)).collect()),
            Cond::And(all) => Form::Any(all.iter().map(|c| Form::of(c, false)).collect()),
            Cond::Or(any) if holds => Form::Any(any.iter().map(|c| Form::of(c, true)).collect()),
            Cond::Or(any) => Form::All(any.iter().map(|c| Form::of(c, false)).collect()),
            Cond::Cmp(op, a, b) => compared(*op, a, b, holds),
            Cond::In(term, list) => asked(term, &Test::In(list.clone()), holds),
            Cond::Has(term) => asked(term, &Test::There, holds),
            Cond::Empty(term) => asked(term, &Test::Empty, holds),
            Cond::Matches(term, pattern) => asked(term, &Test::Matches(pattern.clone()), holds),
            Cond::InNetwork(term, network) => asked(term, &Test::InNetwork(*network), holds),
            Cond::Text(place, whole, part) => match fixed(part) {
                Some(Some(lit)) => match lit.as_text() {
                    Some(text) => asked(whole, &Test::Text(*place, text.to_owned()), holds),
                    None => constant(!holds),
                },
                Some(None) => constant(!holds),
                None => open(cond, &[whole, part], holds),
            },
        }
    }

    /// All terms of which it says something.
    pub(crate) fn terms(&self, out: &mut Vec<Term>) {
        match self {
            Form::All(all) | Form::Any(all) => all.iter().for_each(|form| form.terms(out)),
            Form::Is(atom) if !out.contains(&atom.term) => out.push(atom.term.clone()),
            Form::Is(_) | Form::Open(..) => {}
        }
    }

    /// The value is there.
    pub(crate) fn there(term: &Term) -> Form {
        asked(term, &Test::There, true)
    }

    /// What a condition implies that says nothing of status and phase.
    pub(crate) fn implied(implied: Implied, holds: bool) -> Form {
        let normal = || Cond::Not(Box::new(Cond::Has(Term::Path(Path::Phase))));
        let firing = || Cond::Cmp(Op::Eq, Term::Path(Path::Status), Term::Lit(Lit::Word("firing")));
        let all = match implied {
            Implied::Nothing => Vec::new(),
            Implied::NormalPhase => vec![normal()],
            Implied::FiringInNormalPhase => vec![normal(), firing()],
        };
        Form::of(&Cond::And(all), holds)
    }
}

fn constant(holds: bool) -> Form {
    if holds { TRUE } else { FALSE }
}

/// Whether it reads nothing of the event.
fn is_fixed(term: &Term) -> bool {
    paths(term).is_empty()
}

/// The value that it always has; the inner `None` is a missing one.
fn fixed(term: &Term) -> Option<Option<Lit>> {
    is_fixed(term).then(|| match term.eval(&Event::default()) {
        Val::Bool(b) => Some(Lit::Bool(b)),
        Val::Int(i) => Some(Lit::Int(i)),
        Val::Float(f) => Some(Lit::Float(f)),
        Val::Text(t) => Some(Lit::Text(t.into_owned())),
        Val::Severity(s) => Some(Lit::Severity(s)),
        Val::Missing | Val::Other => None,
    })
}

/// The fields that a term reads, each once.
pub(crate) fn paths(term: &Term) -> Vec<&Path> {
    fn walk<'t>(term: &'t Term, out: &mut Vec<&'t Path>) {
        match term {
            Term::Lit(_) => {}
            Term::Path(path) if out.contains(&path) => {}
            Term::Path(path) => out.push(path),
            Term::One(_, inner) => walk(inner, out),
            Term::Two(_, a, b) => [a, b].into_iter().for_each(|t| walk(t, out)),
            Term::Coalesce(terms) => terms.iter().for_each(|t| walk(t, out)),
        }
    }
    let mut out = Vec::new();
    walk(term, &mut out);
    out
}

fn compared(op: Op, a: &Term, b: &Term, holds: bool) -> Form {
    match (fixed(a), fixed(b)) {
        (_, Some(None)) | (Some(None), _) => constant(!holds),
        (_, Some(Some(lit))) => asked(a, &Test::Compared(op, lit), holds),
        (Some(Some(lit)), None) => asked(b, &Test::Compared(op.turned(), lit), holds),
        (None, None) => open(&Cond::Cmp(op, a.clone(), b.clone()), &[a, b], holds),
    }
}

/// What compares two values holds only where both are there.
fn open(cond: &Cond, terms: &[&Term], holds: bool) -> Form {
    let open = Form::Open(cond.clone(), holds);
    if !holds {
        return open;
    }
    Form::All(terms.iter().map(|term| Form::there(term)).chain([open]).collect())
}

/// A default (`x ?? y`) is taken apart: either x is there and passes, or it is not and y does.
fn asked(term: &Term, test: &Test, holds: bool) -> Form {
    if let Some(value) = fixed(term) {
        return constant(test.holds(&value.as_ref().map_or(Val::Missing, Lit::val)) == holds);
    }
    let Term::Coalesce(terms) = term else {
        return Form::Is(Atom { term: term.clone(), test: test.clone(), holds });
    };
    let mut cases = Vec::new();
    let mut missing: Vec<Form> = Vec::new();
    for one in terms {
        let mut case = missing.clone();
        case.push(Form::there(one));
        case.push(asked(one, test, holds));
        cases.push(Form::All(case));
        if !one.kinds().may_be(Kinds::MISSING) {
            return Form::Any(cases);
        }
        missing.push(asked(one, &Test::There, false));
    }
    missing.push(constant(test.holds(&Val::Missing) == holds));
    cases.push(Form::All(missing));
    Form::Any(cases)
}

/// As a rulebook writes it.
impl fmt::Display for Cond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |all: &[Cond], sign: &str| {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            format!("({})", all.join(sign))
        };
        match self {
            Cond::Const(b) => write!(f, "{b}"),
            Cond::And(all) => f.write_str(&joined(all, " && ")),
            Cond::Or(any) => f.write_str(&joined(any, " || ")),
            Cond::Not(inner) => match **inner {
                Cond::Cmp(..) | Cond::In(..) => write!(f, "!({inner})"),
                _ => write!(f, "!{inner}"),
            },
            Cond::Cmp(op, a, b) => write!(f, "{a} {} {b}", op.sign()),
            Cond::In(term, list) => {
                let list: Vec<String> = list.iter().map(ToString::to_string).collect();
                write!(f, "{term} in [{}]", list.join(", "))
            }
            Cond::Has(term) => write!(f, "has({term})"),
            Cond::Text(place, whole, part) => write!(f, "{whole}.{}({part})", place.name()),
            Cond::Empty(term) => write!(f, "{term}.is_empty()"),
            Cond::Matches(term, pattern) => write!(f, "{term}.matches({:?})", pattern.text()),
            Cond::InNetwork(term, _) => write!(f, "{term}.in_network(...)"),
        }
    }
}
