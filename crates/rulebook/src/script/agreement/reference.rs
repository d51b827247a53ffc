//! What expressions mean, written down as plainly as can be and with nothing of the program's own: numbers are compared
//! by their decimal digits.

use std::cmp::Ordering;
use std::fmt;

use paramedic_model::{Event, Measure};
use serde_json::Value;

/// A value's expression.
#[derive(Clone, Debug)]
pub(super) enum V {
    /// A field or a constant, as it is written.
    Plain(&'static str),
    Text(String),
    Int(i64),
    Float(f64),
    Of(&'static str, Box<V>),
    OfTwo(&'static str, Box<V>, Box<V>),
    Sum(&'static str, Box<V>, Box<V>),
    Minus(Box<V>),
    /// The second where the first is missing.
    Or(Box<V>, Box<V>),
    /// The same value, in a form that only Rhai knows.
    Hidden(Box<V>),
}

/// A condition's expression.
#[derive(Clone, Debug)]
pub(super) enum C {
    Compare(V, &'static str, V),
    In(V, Vec<&'static str>),
    Has(V),
    /// The last: written as a method.
    Text(&'static str, V, V, bool),
    Empty(V),
    Matches(V, usize),
    InNetwork(V, usize),
    And(Vec<C>),
    Or(Vec<C>),
    Not(Box<C>),
}

type OfText = fn(&str) -> bool;
type OfAddress = fn([u8; 4]) -> bool;

/// Regular expressions, and what they mean.
pub(super) const PATTERNS: [(&str, OfText); 4] = [
    ("^a", |t| t.starts_with('a')),
    ("[0-9]+$", |t| t.ends_with(|c: char| c.is_ascii_digit())),
    ("(?i)ax|x$", |t| t.to_lowercase().contains("ax") || t.to_lowercase().ends_with('x')),
    ("", |_| true),
];

/// Networks, and whether an address of four numbers is in it.
pub(super) const NETWORKS: [(&str, OfAddress); 3] =
    [("10.0.0.0/8", |a| a[0] == 10), ("10.1.2.0/30", |a| a[..3] == [10, 1, 2] && a[3] < 4), ("0.0.0.0/0", |_| true)];

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum R {
    Missing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// By rank.
    Severity(usize),
}

const SEVERITIES: [&str; 5] = ["info", "warning", "minor", "major", "critical"];

impl R {
    fn text(text: Option<impl Into<String>>) -> R {
        text.map_or(R::Missing, |t| R::Text(t.into()))
    }

    fn measure(measure: &Option<Measure<'_>>) -> R {
        match measure {
            None => R::Missing,
            Some(Measure::Int(i)) => R::Int(*i),
            Some(Measure::Float(f)) => R::Float(*f),
            Some(Measure::Text(t)) => R::Text(t.to_string()),
        }
    }

    fn of_f64(f: f64) -> R {
        if f.is_finite() { R::Float(f) } else { R::Missing }
    }

    /// A whole number where 64 bits hold it.
    fn of_whole(i: i128) -> R {
        i64::try_from(i).map_or(R::Float(i as f64), R::Int)
    }

    fn as_f64(&self) -> Option<f64> {
        match self {
            R::Int(i) => Some(*i as f64),
            R::Float(f) => Some(*f),
            _ => None,
        }
    }

    /// All of its decimal digits: a float has at most 1,074 behind the point.
    fn digits(&self) -> Option<String> {
        match self {
            R::Int(i) => Some(format!("{i}.{:0<1100}", "")),
            R::Float(f) => Some(format!("{:.1100}", if *f == 0.0 { 0.0 } else { *f })),
            _ => None,
        }
    }

    fn order(&self, other: &R) -> Option<Ordering> {
        if let (Some(a), Some(b)) = (self.digits(), other.digits()) {
            let size = |t: &str| (t.len(), t.to_owned());
            return Some(match (a.strip_prefix('-'), b.strip_prefix('-')) {
                (None, None) => size(&a).cmp(&size(&b)),
                (Some(a), Some(b)) => size(b).cmp(&size(a)),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            });
        }
        match (self, other) {
            (R::Bool(a), R::Bool(b)) => Some(a.cmp(b)),
            (R::Text(a), R::Text(b)) => Some(a.cmp(b)),
            (R::Severity(a), R::Severity(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    fn compares(&self, sign: &str, other: &R) -> bool {
        let Some(order) = self.order(other) else { return false };
        match sign {
            "==" => order == Ordering::Equal,
            "!=" => order != Ordering::Equal,
            "<" => order == Ordering::Less,
            "<=" => order != Ordering::Greater,
            ">" => order == Ordering::Greater,
            _ => order != Ordering::Less,
        }
    }

    pub(super) fn json(&self) -> Value {
        match self {
            R::Missing => Value::Null,
            R::Bool(b) => (*b).into(),
            R::Int(i) => (*i).into(),
            R::Float(f) => (*f).into(),
            R::Text(t) => t.as_str().into(),
            R::Severity(rank) => SEVERITIES[*rank].into(),
        }
    }
}

fn plain(name: &str, event: &Event<'_>) -> R {
    let labels = |name: &str| R::text(event.labels.iter().find(|(k, _)| *k == name).map(|(_, v)| v));
    match name {
        "event.type" => R::text(Some(event.type_.as_ref())),
        "event.ci" | "event.host" => R::text(event.ci.host.as_deref()),
        "event.summary" => R::text(event.summary.as_deref()),
        "event.labels.x" | "label(\"x\")" => labels("x"),
        "event[\"labels\"][\"k8s.app\"]" => labels("k8s.app"),
        "event.annotations.x" | "event.began" => R::Missing,
        "event.dedup_key" => R::text(Some(event.dedup_key().as_ref())),
        "event.time" => R::text(Some(event.time.to_string())),
        "event.kind" => R::text(Some("metric")),
        "event.status" => R::text(Some(event.status.name())),
        "event.phase" => R::text(event.phase.map(|_| "nodata")),
        "FIRING" => R::text(Some("firing")),
        "event.value" => R::measure(&event.value),
        "event.threshold" => R::measure(&event.threshold),
        "event.severity" => SEVERITIES.iter().position(|s| *s == event.severity.name()).map_or(R::Missing, R::Severity),
        "CRITICAL" => R::Severity(4),
        "MAJOR" => R::Severity(3),
        "INFO" => R::Severity(0),
        "HIGH" | "1" => R::Int(1),
        "5.0" => R::Float(5.0),
        "true" => R::Bool(true),
        quoted => R::text(Some(quoted.trim_matches('"'))),
    }
}

fn of_one(name: &str, v: R) -> R {
    match (name, &v) {
        ("num", R::Text(t)) => {
            let t = t.trim();
            let float = || t.parse().map_or(R::Missing, R::of_f64);
            t.parse().map_or_else(|_| float(), R::Int)
        }
        ("num", R::Int(_) | R::Float(_)) => v,
        ("len", R::Text(t)) => R::Int(t.chars().count() as i64),
        ("to_lower", R::Text(t)) => R::Text(t.to_lowercase()),
        ("to_upper", R::Text(t)) => R::Text(t.to_uppercase()),
        ("abs", R::Int(i)) => R::of_whole(i128::from(*i).abs()),
        ("floor" | "ceiling" | "round", R::Int(_)) => v,
        (_, R::Int(_) | R::Float(_)) => {
            let f = v.as_f64().unwrap_or_default();
            R::of_f64(match name {
                "abs" => f.abs(),
                "floor" => f.floor(),
                "ceiling" => f.ceil(),
                "round" => f.round(),
                _ => f.sqrt(),
            })
        }
        _ => R::Missing,
    }
}

fn sum(sign: &str, a: R, b: R) -> R {
    if let (R::Int(a), R::Int(b)) = (&a, &b) {
        let (a, b) = (i128::from(*a), i128::from(*b));
        match sign {
            "+" => return R::of_whole(a + b),
            "-" => return R::of_whole(a - b),
            "*" => return whole_or(a * b, a as f64 * b as f64),
            "/" if b != 0 && a % b == 0 => return R::of_whole(a / b),
            "%" if b != 0 => return R::of_whole(a % b),
            _ => {}
        }
    }
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => R::of_f64(match sign {
            "+" => a + b,
            "-" => a - b,
            "*" => a * b,
            "/" => a / b,
            _ => a % b,
        }),
        _ if sign == "+" && [&a, &b].iter().any(|v| matches!(v, R::Text(_))) => {
            let shown = |v: &R| match v {
                R::Text(t) => t.clone(),
                R::Int(i) => i.to_string(),
                R::Float(f) => format!("{f:?}"),
                _ => String::new(),
            };
            R::Text(shown(&a) + shown(&b).as_str())
        }
        _ => R::Missing,
    }
}

fn whole_or(i: i128, otherwise: f64) -> R {
    i64::try_from(i).map_or(R::of_f64(otherwise), R::Int)
}

impl V {
    pub(super) fn value(&self, event: &Event<'_>) -> R {
        match self {
            V::Plain(name) => plain(name, event),
            V::Text(t) => R::Text(t.clone()),
            V::Int(i) => R::Int(*i),
            V::Float(f) => R::Float(*f),
            V::Of(name, v) => of_one(name, v.value(event)),
            V::OfTwo(name, a, b) => {
                let (a, b) = (a.value(event), b.value(event));
                match a.order(&b) {
                    None => R::Missing,
                    Some(Ordering::Greater) => {
                        if *name == "min" {
                            b
                        } else {
                            a
                        }
                    }
                    Some(_) if *name == "min" => a,
                    Some(_) => b,
                }
            }
            V::Sum(sign, a, b) => sum(sign, a.value(event), b.value(event)),
            V::Minus(v) => match v.value(event) {
                R::Int(i) => R::of_whole(-i128::from(i)),
                R::Float(f) => R::Float(-f),
                _ => R::Missing,
            },
            V::Or(a, b) => match a.value(event) {
                R::Missing => b.value(event),
                there => there,
            },
            V::Hidden(v) => v.value(event),
        }
    }
}

impl C {
    pub(super) fn holds(&self, event: &Event<'_>) -> bool {
        let texts = |a: &V, b: &V| match (a.value(event), b.value(event)) {
            (R::Text(a), R::Text(b)) => Some((a, b)),
            _ => None,
        };
        match self {
            C::Compare(a, sign, b) => a.value(event).compares(sign, &b.value(event)),
            C::In(v, list) => list.iter().any(|item| v.value(event).compares("==", &plain(item, event))),
            C::Has(v) => v.value(event) != R::Missing,
            C::Text(place, a, b, _) => texts(a, b).is_some_and(|(a, b)| match *place {
                "contains" => a.contains(&b),
                "starts_with" => a.starts_with(&b),
                _ => a.ends_with(&b),
            }),
            C::Empty(v) => matches!(v.value(event), R::Missing) || v.value(event) == R::Text(String::new()),
            C::Matches(v, p) => matches!(v.value(event), R::Text(t) if PATTERNS[*p].1(&t)),
            C::InNetwork(v, n) => matches!(v.value(event), R::Text(t) if address(&t).is_some_and(NETWORKS[*n].1)),
            C::And(all) => all.iter().all(|c| c.holds(event)),
            C::Or(any) => any.iter().any(|c| c.holds(event)),
            C::Not(c) => !c.holds(event),
        }
    }
}

fn address(text: &str) -> Option<[u8; 4]> {
    text.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u8>>>()?.try_into().ok()
}

impl fmt::Display for V {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            V::Plain(name) => f.write_str(name),
            V::Text(t) => write!(f, "{t:?}"),
            V::Int(i) => write!(f, "{i}"),
            V::Float(x) if x.abs() > 1e15 => write!(f, "{x:.1}"),
            V::Float(x) => write!(f, "{x:?}"),
            V::Of(name, v) => write!(f, "{name}({v})"),
            V::OfTwo(name, a, b) => write!(f, "{name}({a}, {b})"),
            V::Sum(sign, a, b) => write!(f, "({a} {sign} {b})"),
            V::Minus(v) => write!(f, "-({v})"),
            V::Or(a, b) => write!(f, "({a} ?? {b})"),
            V::Hidden(v) => write!(f, "[{v}][0]"),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, parts: &[C], sign: &str) -> fmt::Result {
    let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
    write!(f, "({})", parts.join(sign))
}

impl fmt::Display for C {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            C::Compare(a, sign, b) => write!(f, "{a} {sign} {b}"),
            C::In(v, list) => write!(f, "{v} in [{}]", list.join(", ")),
            C::Has(v) => write!(f, "has({v})"),
            C::Text(place, a, b, true) => write!(f, "{a}.{place}({b})"),
            C::Text(place, a, b, false) => write!(f, "{place}({a}, {b})"),
            C::Empty(v) => write!(f, "is_empty({v})"),
            C::Matches(v, p) => write!(f, "matches({v}, {:?})", PATTERNS[*p].0),
            C::InNetwork(v, n) => write!(f, "in_network({v}, {:?})", NETWORKS[*n].0),
            C::And(all) => joined(f, all, " && "),
            C::Or(any) => joined(f, any, " || "),
            C::Not(c) => write!(f, "!({c})"),
        }
    }
}
