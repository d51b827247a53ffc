//! Values of expressions, and how they compare.
//!
//! The one table of comparisons (docs/rulebooks.md): with a missing side, or between kinds that have no order between
//! them, every comparison is false, `!=` too; numbers compare exactly, integers with floats too; NaN with nothing.

use std::borrow::Cow;
use std::cmp::Ordering;

use paramedic_model::{Measure, Severity};

mod maths;
mod network;
mod path;
mod pattern;

pub(crate) use maths::{One, Two};
pub(crate) use network::Network;
pub(crate) use path::{Path, Ty, field_names};
pub(crate) use pattern::{Pattern, Patterns};

/// A value, borrowed from the event or the rulebook where it can be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Val<'e> {
    Missing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'e, str>),
    Severity(Severity),
    /// What never compares: lists, maps, CIs.
    Other,
}

impl<'e> Val<'e> {
    pub(crate) fn text(text: &'e str) -> Self {
        Val::Text(Cow::Borrowed(text))
    }

    pub(crate) fn optional(text: Option<&'e str>) -> Self {
        text.map_or(Val::Missing, Val::text)
    }

    pub(crate) fn measure(measure: Option<&'e Measure<'_>>) -> Self {
        match measure {
            None => Val::Missing,
            Some(Measure::Int(i)) => Val::Int(*i),
            Some(Measure::Float(f)) => Val::Float(*f),
            Some(Measure::Text(t)) => Val::text(t),
        }
    }

    pub(crate) fn severity(severity: Severity) -> Self {
        if severity == Severity::Unknown { Val::Missing } else { Val::Severity(severity) }
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Val::Missing)
    }

    /// `num(x)`: the number that a text spells; a number stays; anything else is missing.
    pub(crate) fn num(self) -> Val<'static> {
        match self {
            Val::Int(i) => Val::Int(i),
            Val::Float(f) => Val::Float(f),
            Val::Text(t) => match Measure::parse(t) {
                Measure::Int(i) => Val::Int(i),
                Measure::Float(f) => Val::Float(f),
                Measure::Text(_) => Val::Missing,
            },
            _ => Val::Missing,
        }
    }

    pub(crate) fn order(&self, other: &Val<'_>) -> Option<Ordering> {
        match (self, other) {
            (Val::Bool(a), Val::Bool(b)) => Some(a.cmp(b)),
            (Val::Int(a), Val::Int(b)) => Some(a.cmp(b)),
            (Val::Float(a), Val::Float(b)) => a.partial_cmp(b),
            (Val::Int(a), Val::Float(b)) => int_with_float(*a, *b),
            (Val::Float(a), Val::Int(b)) => int_with_float(*b, *a).map(Ordering::reverse),
            (Val::Text(a), Val::Text(b)) => Some(a.as_ref().cmp(b.as_ref())),
            (Val::Severity(a), Val::Severity(b)) => Some(a.rank()?.cmp(&b.rank()?)),
            _ => None,
        }
    }
}

/// Exact: `i as f64` would lose the low bits of large integers.
fn int_with_float(i: i64, f: f64) -> Option<Ordering> {
    const TOO_BIG: f64 = 9_223_372_036_854_775_808.0;
    if f.is_nan() {
        return None;
    }
    if f >= TOO_BIG {
        return Some(Ordering::Less);
    }
    if f < -TOO_BIG {
        return Some(Ordering::Greater);
    }
    let whole = f.trunc();
    // In range, and whole: the cast is exact.
    Some(i.cmp(&(whole as i64)).then_with(|| whole.partial_cmp(&f).unwrap_or(Ordering::Equal)))
}

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Op {
    pub(crate) const ALL: [Op; 6] = [Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge];

    /// What holds where this does not, of values that are there and compare.
    pub(crate) const fn negated(self) -> Self {
        match self {
            Op::Eq => Op::Ne,
            Op::Ne => Op::Eq,
            Op::Lt => Op::Ge,
            Op::Le => Op::Gt,
            Op::Gt => Op::Le,
            Op::Ge => Op::Lt,
        }
    }

    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Op::Eq => "==",
            Op::Ne => "!=",
            Op::Lt => "<",
            Op::Le => "<=",
            Op::Gt => ">",
            Op::Ge => ">=",
        }
    }

    pub(crate) fn from_sign(sign: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.sign() == sign)
    }

    /// `a op b` is `b op.turned() a`.
    pub(crate) const fn turned(self) -> Self {
        match self {
            Op::Eq | Op::Ne => self,
            Op::Lt => Op::Gt,
            Op::Le => Op::Ge,
            Op::Gt => Op::Lt,
            Op::Ge => Op::Le,
        }
    }

    pub(crate) fn holds(self, a: &Val<'_>, b: &Val<'_>) -> bool {
        let Some(order) = a.order(b) else { return false };
        match self {
            Op::Eq => order.is_eq(),
            Op::Ne => order.is_ne(),
            Op::Lt => order.is_lt(),
            Op::Le => order.is_le(),
            Op::Gt => order.is_gt(),
            Op::Ge => order.is_ge(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(a: &Val<'_>, b: &Val<'_>) -> String {
        Op::ALL.iter().filter(|op| op.holds(a, b)).map(|op| op.sign()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_missing_side_makes_every_comparison_false() {
        for v in [Val::Missing, Val::Int(1), Val::text("x"), Val::Severity(Severity::Major), Val::Bool(true)] {
            assert_eq!(signs(&Val::Missing, &v), "");
            assert_eq!(signs(&v, &Val::Missing), "");
        }
        assert_eq!(signs(&Val::severity(Severity::Unknown), &Val::Severity(Severity::Info)), "");
    }

    #[test]
    fn kinds_without_an_order_between_them_compare_false() {
        assert_eq!(signs(&Val::text("5"), &Val::Int(5)), "");
        assert_eq!(signs(&Val::Bool(true), &Val::Int(1)), "");
        assert_eq!(signs(&Val::Other, &Val::Other), "");
    }

    #[test]
    fn numbers_compare_exactly() {
        let (less, same, more) = ("!= < <=", "== <= >=", "!= > >=");
        for (a, b, expected) in [
            (Val::Int(90), Val::Float(90.0), same),
            (Val::Float(90.0), Val::Int(90), same),
            (Val::Int(9_007_199_254_740_993), Val::Float(9_007_199_254_740_992.0), more),
            (Val::Float(9_007_199_254_740_992.0), Val::Int(9_007_199_254_740_993), less),
            (Val::Int(i64::MAX), Val::Float(9_223_372_036_854_775_808.0), less),
            (Val::Int(i64::MIN), Val::Float(-9_223_372_036_854_775_808.0), same),
            (Val::Int(-1), Val::Float(-1.5), more),
            (Val::Int(1), Val::Float(1.5), less),
            (Val::Float(0.3), Val::Float(0.1 + 0.2), less),
            (Val::Float(-0.0), Val::Float(0.0), same),
            (Val::Float(f64::NAN), Val::Float(f64::NAN), ""),
            (Val::Float(f64::NAN), Val::Int(0), ""),
        ] {
            assert_eq!(signs(&a, &b), expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn severities_are_ordered() {
        for pair in Severity::KNOWN.windows(2) {
            assert_eq!(signs(&Val::Severity(pair[0]), &Val::Severity(pair[1])), "!= < <=");
        }
    }

    #[test]
    fn num_reads_what_a_label_spells() {
        assert_eq!(Val::text(" 500 ").num(), Val::Int(500));
        assert_eq!(Val::text("4.5").num(), Val::Float(4.5));
        for no_number in ["", "NaN", "inf", "5xx"] {
            assert_eq!(Val::text(no_number).num(), Val::Missing, "{no_number:?}");
        }
    }
}
