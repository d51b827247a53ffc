//! Values of the pure subset.

use std::fmt;

use paramedic_model::{Event, Severity};

use crate::value::{One, Path, Two, Ty, Val};

/// A value of the pure subset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Term {
    Lit(Lit),
    Path(Path),
    One(One, Box<Term>),
    Two(Two, Box<Term>, Box<Term>),
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

/// What a term's value can be, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) const MISSING: Kinds = Kinds(1);
    pub(crate) const BOOL: Kinds = Kinds(2);
    pub(crate) const NUMBER: Kinds = Kinds(4);
    pub(crate) const TEXT: Kinds = Kinds(8);
    pub(crate) const SEVERITY: Kinds = Kinds(16);
    const NONE: Kinds = Kinds(0);

    pub(crate) const fn or(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    const fn without(self, other: Kinds) -> Kinds {
        Kinds(self.0 & !other.0)
    }

    /// Whether it can be nothing else than these.
    pub(crate) const fn only(self, these: Kinds) -> bool {
        self.0 & !these.0 == 0
    }

    /// Whether it can be one of these.
    pub(crate) const fn may_be(self, these: Kinds) -> bool {
        self.0 & these.0 != 0
    }

    /// The one kind that it is where it is there.
    pub(crate) fn ty(self) -> Ty {
        match self.without(Kinds::MISSING) {
            Kinds::BOOL => Ty::Bool,
            Kinds::NUMBER => Ty::Number,
            Kinds::TEXT => Ty::Text,
            Kinds::SEVERITY => Ty::Severity,
            kinds if kinds == Kinds::NUMBER.or(Kinds::TEXT) => Ty::Measure,
            _ => Ty::Unknown,
        }
    }
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

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Lit::Text(t) => Some(t),
            Lit::Word(t) => Some(t),
            _ => None,
        }
    }

    fn kinds(&self) -> Kinds {
        match self {
            Lit::Bool(_) => Kinds::BOOL,
            Lit::Int(_) | Lit::Float(_) => Kinds::NUMBER,
            Lit::Text(_) | Lit::Word(_) => Kinds::TEXT,
            Lit::Severity(_) => Kinds::SEVERITY,
        }
    }
}

impl Term {
    pub(crate) fn eval<'a>(&'a self, event: &'a Event<'_>) -> Val<'a> {
        match self {
            Term::Lit(lit) => lit.val(),
            Term::Path(path) => path.read(event),
            Term::One(function, inner) => function.apply(inner.eval(event)),
            Term::Two(function, a, b) => function.apply(&a.eval(event), &b.eval(event)),
            Term::Coalesce(terms) => {
                terms.iter().map(|t| t.eval(event)).find(|v| !v.is_missing()).unwrap_or(Val::Missing)
            }
        }
    }

    /// What its value can be.
    pub(crate) fn kinds(&self) -> Kinds {
        match self {
            Term::Lit(lit) => lit.kinds(),
            Term::Path(path) => {
                let kinds = match path.ty() {
                    Ty::Severity => Kinds::SEVERITY,
                    Ty::Measure => Kinds::NUMBER.or(Kinds::TEXT),
                    _ => Kinds::TEXT,
                };
                if path.may_be_missing() { kinds.or(Kinds::MISSING) } else { kinds }
            }
            Term::One(One::Lower | One::Upper, _) => Kinds::TEXT.or(Kinds::MISSING),
            Term::One(..) => Kinds::NUMBER.or(Kinds::MISSING),
            Term::Two(function, a, b) => {
                let may_be_text = match function {
                    Two::Plus => a.kinds().or(b.kinds()).may_be(Kinds::TEXT),
                    Two::Min | Two::Max => a.kinds().may_be(Kinds::TEXT) && b.kinds().may_be(Kinds::TEXT),
                    _ => false,
                };
                let kinds = Kinds::NUMBER.or(Kinds::MISSING);
                if may_be_text { kinds.or(Kinds::TEXT) } else { kinds }
            }
            Term::Coalesce(terms) => {
                let all = terms.iter().fold(Kinds::NONE, |all, t| all.or(t.kinds()));
                let always = terms.iter().any(|t| !t.kinds().may_be(Kinds::MISSING));
                if always { all.without(Kinds::MISSING) } else { all }
            }
        }
    }
}

/// As a rulebook writes it.
impl fmt::Display for Lit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lit::Bool(b) => write!(f, "{b}"),
            Lit::Int(i) => write!(f, "{i}"),
            Lit::Float(x) => write!(f, "{x:?}"),
            Lit::Text(t) => write!(f, "{t:?}"),
            Lit::Word(t) => f.write_str(&t.to_uppercase()),
            Lit::Severity(s) => f.write_str(&s.name().to_uppercase()),
        }
    }
}

/// As a rulebook writes it.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Term::Lit(lit) => write!(f, "{lit}"),
            Term::Path(path) => f.write_str(&path.shown()),
            Term::One(One::Negative, inner) => write!(f, "-{inner}"),
            Term::One(function, inner) => write!(f, "{}({inner})", function.name()),
            Term::Two(function, a, b) if function.is_sign() => write!(f, "({a} {} {b})", function.name()),
            Term::Two(function, a, b) => write!(f, "{}({a}, {b})", function.name()),
            Term::Coalesce(terms) => {
                let terms: Vec<String> = terms.iter().map(ToString::to_string).collect();
                write!(f, "({})", terms.join(" ?? "))
            }
        }
    }
}
