//! Functions of values. All are total: what has no result, such as a quotient by zero or the root of a text, is missing,
//! and so is what is made from something missing. Whole numbers stay whole while 64 bits hold them, and while nothing is
//! left over: `7 / 2` is 3.5 whether a sender wrote 7 or 7.0.

use std::borrow::Cow;

use super::Val;

/// A function of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum One {
    Num,
    Negative,
    Abs,
    Floor,
    Ceiling,
    Round,
    Sqrt,
    Lower,
    Upper,
    Len,
}

/// A function of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Two {
    Plus,
    Minus,
    Times,
    Over,
    Modulo,
    Min,
    Max,
}

impl One {
    /// Those that take a number.
    pub(crate) const OF_NUMBERS: [One; 6] = [One::Negative, One::Abs, One::Floor, One::Ceiling, One::Round, One::Sqrt];

    /// What scripts call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            One::Num => "num",
            One::Negative => "-",
            One::Abs => "abs",
            One::Floor => "floor",
            One::Ceiling => "ceiling",
            One::Round => "round",
            One::Sqrt => "sqrt",
            One::Lower => "to_lower",
            One::Upper => "to_upper",
            One::Len => "len",
        }
    }

    /// The function that scripts call so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        const REST: [One; 4] = [One::Num, One::Lower, One::Upper, One::Len];
        Self::OF_NUMBERS.into_iter().chain(REST).find(|one| one.name() == name)
    }

    /// Whether it takes a text.
    pub(crate) const fn is_of_texts(self) -> bool {
        matches!(self, One::Lower | One::Upper | One::Len)
    }

    pub(crate) fn apply<'a>(self, value: Val<'a>) -> Val<'a> {
        match (self, value) {
            (One::Num, value) => value.num(),
            (One::Negative, Val::Int(i)) => i.checked_neg().map_or_else(|| Val::Float(-(i as f64)), Val::Int),
            (One::Abs, Val::Int(i)) => i.checked_abs().map_or_else(|| Val::Float((i as f64).abs()), Val::Int),
            (One::Floor | One::Ceiling | One::Round, Val::Int(i)) => Val::Int(i),
            (One::Sqrt, Val::Int(i)) => finite((i as f64).sqrt()),
            (One::Negative, Val::Float(f)) => Val::Float(-f),
            (One::Abs, Val::Float(f)) => Val::Float(f.abs()),
            (One::Floor, Val::Float(f)) => finite(f.floor()),
            (One::Ceiling, Val::Float(f)) => finite(f.ceil()),
            (One::Round, Val::Float(f)) => finite(f.round()),
            (One::Sqrt, Val::Float(f)) => finite(f.sqrt()),
            (One::Lower, Val::Text(t)) => Val::Text(lower(t)),
            (One::Upper, Val::Text(t)) => Val::Text(Cow::Owned(t.to_uppercase())),
            (One::Len, Val::Text(t)) => Val::Int(i64::try_from(t.chars().count()).unwrap_or(i64::MAX)),
            _ => Val::Missing,
        }
    }
}

impl Two {
    pub(crate) const ALL: [Two; 7] = [Two::Plus, Two::Minus, Two::Times, Two::Over, Two::Modulo, Two::Min, Two::Max];

    /// What scripts call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Two::Plus => "+",
            Two::Minus => "-",
            Two::Times => "*",
            Two::Over => "/",
            Two::Modulo => "%",
            Two::Min => "min",
            Two::Max => "max",
        }
    }

    /// Whether it is written between its values.
    pub(crate) const fn is_sign(self) -> bool {
        !matches!(self, Two::Min | Two::Max)
    }

    /// The function that scripts call so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|two| two.name() == name)
    }

    pub(crate) fn apply(self, a: &Val<'_>, b: &Val<'_>) -> Val<'static> {
        match self {
            Two::Min | Two::Max => match a.order(b) {
                Some(order) if order.is_le() == (self == Two::Min) => a.kept(),
                Some(_) => b.kept(),
                None => Val::Missing,
            },
            _ => match (a, b) {
                (Val::Int(a), Val::Int(b)) => self.of_ints(*a, *b),
                (Val::Int(a), Val::Float(b)) => self.of_floats(*a as f64, *b),
                (Val::Float(a), Val::Int(b)) => self.of_floats(*a, *b as f64),
                (Val::Float(a), Val::Float(b)) => self.of_floats(*a, *b),
                _ if self == Two::Plus => joined(a, b),
                _ => Val::Missing,
            },
        }
    }

    fn of_ints(self, a: i64, b: i64) -> Val<'static> {
        let whole = match self {
            Two::Plus => a.checked_add(b),
            Two::Minus => a.checked_sub(b),
            Two::Times => a.checked_mul(b),
            Two::Over => a.checked_div(b).filter(|_| a.wrapping_rem(b) == 0),
            Two::Modulo if b == -1 => Some(0),
            Two::Modulo => a.checked_rem(b),
            Two::Min => Some(a.min(b)),
            Two::Max => Some(a.max(b)),
        };
        whole.map_or_else(|| self.of_floats(a as f64, b as f64), Val::Int)
    }

    fn of_floats(self, a: f64, b: f64) -> Val<'static> {
        finite(match self {
            Two::Plus => a + b,
            Two::Minus => a - b,
            Two::Times => a * b,
            Two::Over => a / b,
            Two::Modulo => a % b,
            Two::Min => a.min(b),
            Two::Max => a.max(b),
        })
    }
}

fn finite(f: f64) -> Val<'static> {
    if f.is_finite() { Val::Float(f) } else { Val::Missing }
}

fn lower(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) { text } else { Cow::Owned(text.to_lowercase()) }
}

/// A text and what is put behind or before it.
fn joined(a: &Val<'_>, b: &Val<'_>) -> Val<'static> {
    if !matches!((a, b), (Val::Text(_), _) | (_, Val::Text(_))) {
        return Val::Missing;
    }
    let shown = |v: &Val<'_>| match v {
        Val::Text(t) => Some(t.clone().into_owned()),
        Val::Int(i) => Some(i.to_string()),
        Val::Float(f) => Some(format!("{f:?}")),
        Val::Missing => Some(String::new()),
        _ => None,
    };
    match (shown(a), shown(b)) {
        (Some(a), Some(b)) => Val::Text(Cow::Owned(a + b.as_str())),
        _ => Val::Missing,
    }
}

impl Val<'_> {
    /// The same, borrowing nothing.
    fn kept(&self) -> Val<'static> {
        match self {
            Val::Missing => Val::Missing,
            Val::Bool(b) => Val::Bool(*b),
            Val::Int(i) => Val::Int(*i),
            Val::Float(f) => Val::Float(*f),
            Val::Text(t) => Val::Text(Cow::Owned(t.clone().into_owned())),
            Val::Severity(s) => Val::Severity(*s),
            Val::Other => Val::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(a: Val<'_>, sign: &str, b: Val<'_>) -> Val<'static> {
        Two::named(sign).unwrap().apply(&a, &b)
    }

    #[test]
    fn whole_numbers_stay_whole_while_nothing_is_lost() {
        use Val::{Float, Int};
        assert_eq!(of(Int(7), "/", Int(2)), Float(3.5));
        assert_eq!(of(Int(6), "/", Int(2)), Int(3));
        assert_eq!(of(Int(i64::MAX), "+", Int(1)), Float(9_223_372_036_854_775_808.0));
        assert_eq!(of(Int(9_007_199_254_740_993), "-", Int(1)), Int(9_007_199_254_740_992));
        assert_eq!(of(Int(i64::MIN), "/", Int(-1)), Float(9_223_372_036_854_775_808.0));
        assert_eq!(of(Int(i64::MIN), "%", Int(-1)), Int(0));
        assert_eq!(of(Int(-7), "%", Int(4)), Int(-3));
        assert_eq!(One::Negative.apply(Int(i64::MIN)), Float(9_223_372_036_854_775_808.0));
    }

    #[test]
    fn what_has_no_result_is_missing() {
        use Val::{Float, Int, Missing};
        for (a, sign, b) in [
            (Int(1), "/", Int(0)),
            (Int(1), "%", Int(0)),
            (Float(1.0), "/", Float(0.0)),
            (Float(1e300), "*", Float(1e300)),
            (Missing, "+", Int(1)),
            (Int(1), "-", Missing),
            (Val::text("a"), "*", Int(2)),
            (Missing, "max", Int(2)),
        ] {
            assert_eq!(of(a.clone(), sign, b.clone()), Missing, "{a:?} {sign} {b:?}");
        }
        assert_eq!(One::Sqrt.apply(Int(-1)), Missing);
    }

    #[test]
    fn a_sum_with_a_text_is_a_text() {
        assert_eq!(of(Val::text("n"), "+", Val::Int(5)), Val::text("n5"));
        assert_eq!(of(Val::Float(2.0), "+", Val::text("x")), Val::text("2.0x"));
        assert_eq!(of(Val::text("n"), "+", Val::Missing), Val::text("n"));
    }

    #[test]
    fn the_greater_of_two_is_found_exactly() {
        let (a, b) = (Val::Int(9_007_199_254_740_993), Val::Float(9_007_199_254_740_992.0));
        assert_eq!(of(a.clone(), "max", b.clone()), a);
        assert_eq!(of(a, "min", b.clone()), b);
    }
}
