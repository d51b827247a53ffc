//! The pure subset of the expression language, evaluated on the borrowed event, and what follows necessarily
//! from a condition that holds.

use std::collections::BTreeSet;

use paramedic_model::{Event, Severity};

use crate::value::{Op, Path, Val};

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
}

/// A value of the pure subset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Term {
    Lit(Lit),
    Path(Path),
    Num(Box<Term>),
    Coalesce(Vec<Term>),
}

/// A value that is written in the rulebook.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Lit {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A text of the language itself.
    Word(&'static str),
    Severity(Severity),
}

impl Lit {
    pub(crate) fn val(&self) -> Val<'_> {
        match self {
            Lit::Bool(b) => Val::Bool(*b),
            Lit::Int(i) => Val::Int(*i),
            Lit::Float(f) => Val::Float(*f),
            Lit::Text(t) => Val::text(t),
            Lit::Word(t) => Val::text(t),
            Lit::Severity(s) => Val::Severity(*s),
        }
    }

    fn as_text(&self) -> Option<&str> {
        match self {
            Lit::Text(t) => Some(t),
            Lit::Word(t) => Some(t),
            _ => None,
        }
    }
}

impl Term {
    pub(crate) fn eval<'a>(&'a self, event: &'a Event<'_>) -> Val<'a> {
        match self {
            Term::Lit(lit) => lit.val(),
            Term::Path(path) => path.read(event),
            Term::Num(inner) => inner.eval(event).num(),
            Term::Coalesce(terms) => {
                terms.iter().map(|t| t.eval(event)).find(|v| !v.is_missing()).unwrap_or(Val::Missing)
            }
        }
    }
}

impl Cond {
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
        }
    }

    /// Field and texts of `field == "x"` or `field in ["x", "y"]`, if that is what this is.
    fn equality(&self) -> Option<(&Path, BTreeSet<&str>)> {
        match self {
            Cond::Cmp(Op::Eq, Term::Path(path), Term::Lit(lit))
            | Cond::Cmp(Op::Eq, Term::Lit(lit), Term::Path(path)) => Some((path, BTreeSet::from([lit.as_text()?]))),
            Cond::In(Term::Path(path), list) => Some((path, list.iter().map(Lit::as_text).collect::<Option<_>>()?)),
            _ => None,
        }
    }

    /// The texts of which the field must have one for this condition to hold; `None` when none follow.
    pub(crate) fn requires(&self, field: &Path) -> Option<BTreeSet<&str>> {
        match self {
            Cond::And(all) => all.iter().filter_map(|c| c.requires(field)).min_by_key(BTreeSet::len),
            Cond::Or(any) => {
                let mut union = BTreeSet::new();
                for c in any {
                    union.extend(c.requires(field)?);
                }
                Some(union)
            }
            other => other.equality().filter(|(path, _)| *path == field).map(|(_, texts)| texts),
        }
    }

    /// The labels that stand in an equality anywhere in this condition.
    pub(crate) fn labels<'a>(&'a self, out: &mut Vec<&'a Path>) {
        match self {
            Cond::And(list) | Cond::Or(list) => list.iter().for_each(|c| c.labels(out)),
            other => {
                if let Some((path @ Path::Label(_), _)) = other.equality()
                    && !out.contains(&path)
                {
                    out.push(path);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eq(path: Path, text: &str) -> Cond {
        Cond::Cmp(Op::Eq, Term::Path(path), Term::Lit(Lit::Text(text.into())))
    }

    #[test]
    fn what_must_hold_is_read_off_conjunctions_and_disjunctions() {
        let a_or_b = Cond::Or(vec![eq(Path::Type, "a"), eq(Path::Type, "b")]);
        let both = Cond::And(vec![a_or_b.clone(), eq(Path::Label("x".into()), "1")]);
        assert_eq!(both.requires(&Path::Type), Some(BTreeSet::from(["a", "b"])));
        assert_eq!(Cond::Or(vec![a_or_b, eq(Path::Ci, "c")]).requires(&Path::Type), None);
        assert_eq!(Cond::Not(Box::new(eq(Path::Type, "a"))).requires(&Path::Type), None);
    }
}
