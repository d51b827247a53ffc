//! Values of expressions, and how they compare.
//!
//! The one table of comparisons (docs/rulebooks.md): with a missing side, or between kinds that have no order between
//! them, every comparison is false, `!=` too; numbers compare exactly, integers with floats too; NaN with nothing.

use std::borrow::Cow;
use std::cmp::Ordering;

use paramedic_model::{Event, Measure, Severity};

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

    fn order(&self, other: &Val<'_>) -> Option<Ordering> {
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

/// A field of an event, as a rulebook names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Path {
    Id,
    Source,
    Kind,
    Type,
    Severity,
    Status,
    Phase,
    Summary,
    Ci,
    Host,
    Service,
    Metric,
    Value,
    Threshold,
    Unit,
    Raw,
    Time,
    Began,
    Received,
    DedupKey,
    Label(String),
    Annotation(String),
}

/// What a field can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ty {
    Text,
    Number,
    /// A number; a text where the sender's was none.
    Measure,
    Severity,
    Bool,
    /// Labels, annotations.
    Texts,
    Unit,
    Unknown,
}

/// The names after `event.` that hold one value.
const FIELDS: [(&str, Path); 20] = [
    ("id", Path::Id),
    ("source", Path::Source),
    ("kind", Path::Kind),
    ("type", Path::Type),
    ("severity", Path::Severity),
    ("status", Path::Status),
    ("phase", Path::Phase),
    ("summary", Path::Summary),
    ("ci", Path::Ci),
    ("host", Path::Host),
    ("service", Path::Service),
    ("metric", Path::Metric),
    ("value", Path::Value),
    ("threshold", Path::Threshold),
    ("unit", Path::Unit),
    ("raw", Path::Raw),
    ("time", Path::Time),
    ("began", Path::Began),
    ("received", Path::Received),
    ("dedup_key", Path::DedupKey),
];

/// All names after `event.`.
pub(crate) fn field_names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(name, _)| *name).chain(["labels", "annotations"])
}

impl Path {
    /// From the names after `event`.
    pub(crate) fn of(names: &[&str]) -> Option<Self> {
        match names {
            ["labels", name] => Some(Path::Label((*name).to_owned())),
            ["annotations", name] => Some(Path::Annotation((*name).to_owned())),
            [name] => FIELDS.iter().find(|(n, _)| n == name).map(|(_, p)| p.clone()),
            _ => None,
        }
    }

    /// The field's value in an event.
    pub(crate) fn read<'e>(&self, event: &'e Event<'_>) -> Val<'e> {
        match self {
            Path::Id => Val::optional(event.id.as_deref()),
            Path::Source => Val::text(&event.source),
            Path::Kind => Val::text(event.kind.name()),
            Path::Type => Val::text(&event.type_),
            Path::Severity => Val::severity(event.severity),
            Path::Status => Val::text(event.status.name()),
            Path::Phase => Val::optional(event.phase.map(|p| p.name())),
            Path::Summary => Val::optional(event.summary.as_deref()),
            Path::Ci => Val::optional(event.ci.best()),
            Path::Host => Val::optional(event.ci.host.as_deref()),
            Path::Service => Val::optional(event.service.as_deref().or(event.ci.service.as_deref())),
            Path::Metric => Val::optional(event.metric.as_deref()),
            Path::Value => Val::measure(event.value.as_ref()),
            Path::Threshold => Val::measure(event.threshold.as_ref()),
            Path::Unit => Val::optional(event.unit.as_deref()),
            Path::Raw => Val::optional(event.raw.as_deref()),
            Path::Time => Val::Text(Cow::Owned(event.time.to_string())),
            Path::Began => event.began.map_or(Val::Missing, |t| Val::Text(Cow::Owned(t.to_string()))),
            Path::Received => Val::Text(Cow::Owned(event.received.to_string())),
            Path::DedupKey => Val::Text(event.dedup_key()),
            Path::Label(name) => Val::optional(event.labels.get(name)),
            Path::Annotation(name) => Val::optional(event.annotations.get(name)),
        }
    }

    pub(crate) fn ty(&self) -> Ty {
        match self {
            Path::Severity => Ty::Severity,
            Path::Value | Path::Threshold => Ty::Measure,
            _ => Ty::Text,
        }
    }

    pub(crate) fn may_be_missing(&self) -> bool {
        !matches!(
            self,
            Path::Source | Path::Kind | Path::Type | Path::Status | Path::Time | Path::Received | Path::DedupKey
        )
    }

    /// The words that the field can hold, where they are few.
    pub(crate) fn words(&self) -> Option<&'static [&'static str]> {
        match self {
            Path::Kind => Some(&["alert", "log", "metric", "change", "heartbeat", "control"]),
            Path::Status => Some(&["firing", "resolved"]),
            Path::Phase => Some(&["ack", "suppressed", "flapping", "nodata", "update"]),
            _ => None,
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
