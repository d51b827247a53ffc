//! Random conditions and events, near the edges: missing fields, 2^53, the ends of 64 bits, texts that spell numbers.

use paramedic_model::{CiRef, Event, Kind, Labels, Measure, Phase, Severity, Status};
use proptest::prelude::*;

use super::reference::{C, NETWORKS, PATTERNS, V};

const TEXTS: [&str; 8] = ["a", "5", " 5 ", "4.5", "", "x", "10.1.2.3", "aX 5"];

fn leaf(kinds: &'static [&'static str]) -> BoxedStrategy<V> {
    prop::sample::select(kinds).prop_map(V::Plain).boxed()
}

fn text_leaf() -> BoxedStrategy<V> {
    prop_oneof![
        4 => leaf(&[
            "event.type", "event.ci", "event.summary", "event.labels.x", "label(\"x\")", "event.annotations.x",
            "event[\"labels\"][\"k8s.app\"]", "event.host", "event.dedup_key", "event.time", "event.began",
            "event.kind", "event.status", "event.phase", "FIRING",
        ]),
        1 => prop::sample::select(TEXTS.as_slice()).prop_map(|t| V::Text(t.to_owned())),
    ]
    .boxed()
}

fn number_leaf() -> BoxedStrategy<V> {
    prop_oneof![
        4 => leaf(&["event.value", "event.threshold"]),
        1 => prop_oneof![
            -3i64..6,
            prop::sample::select(vec![i64::MAX, i64::MIN + 1, (1 << 53) + 1, -(1 << 53) - 1]),
        ].prop_map(V::Int),
        1 => prop::sample::select(vec![-1.5, 5.0, 0.1 + 0.2, 9_007_199_254_740_992.0, 9_223_372_036_854_775_808.0, 1e300])
            .prop_map(V::Float),
    ]
    .boxed()
}

/// Hides a value from native evaluation.
fn hidden(may_hide: bool, v: BoxedStrategy<V>) -> BoxedStrategy<V> {
    if may_hide { prop_oneof![3 => v.clone(), 1 => v.prop_map(|v| V::Hidden(Box::new(v)))].boxed() } else { v }
}

fn text(may_hide: bool) -> BoxedStrategy<V> {
    let more = prop_oneof![
        3 => text_leaf(),
        // `to_lower` of a written text is left to Rhai.
        1 => leaf(&["event.type", "event.summary", "event.labels.x"]).prop_map(|v| V::Of("to_lower", Box::new(v))),
        1 => leaf(&["event.type", "event.summary", "event.labels.x"]).prop_map(|v| V::Of("to_upper", Box::new(v))),
        1 => (text_leaf(), text_leaf()).prop_map(|(a, b)| V::Or(Box::new(a), Box::new(b))),
    ];
    hidden(may_hide, more.boxed())
}

fn number(may_hide: bool) -> BoxedStrategy<V> {
    let base = prop_oneof![
        5 => number_leaf(),
        1 => text_leaf().prop_map(|v| V::Of("num", Box::new(v))),
        1 => leaf(&["event.summary", "event.labels.x"]).prop_map(|v| V::Of("len", Box::new(v))),
    ];
    let base = hidden(may_hide, base.boxed());
    base.prop_recursive(2, 6, 2, |inner| {
        // What is called on a number that is written out is left to Rhai.
        let called = inner.clone().prop_map(|v| match v {
            V::Int(_) | V::Float(_) => V::Plain("event.value"),
            other => other,
        });
        let sign = prop::sample::select(vec!["+", "-", "*", "/", "%"]);
        let two = prop::sample::select(vec!["min", "max"]);
        let one = prop::sample::select(vec!["abs", "floor", "ceiling", "round", "sqrt"]);
        prop_oneof![
            (inner.clone(), sign, inner.clone()).prop_map(|(a, s, b)| V::Sum(s, Box::new(a), Box::new(b))),
            (two, inner.clone(), inner.clone()).prop_map(|(f, a, b)| V::OfTwo(f, Box::new(a), Box::new(b))),
            (one, called.clone()).prop_map(|(f, v)| V::Of(f, Box::new(v))),
            called.prop_map(|v| V::Minus(Box::new(v))),
            (inner.clone(), inner).prop_map(|(a, b)| V::Or(Box::new(a), Box::new(b))),
        ]
    })
    .boxed()
}

/// Any value.
pub(super) fn value(may_hide: bool) -> BoxedStrategy<V> {
    prop_oneof![
        2 => number(may_hide),
        2 => text(may_hide),
        1 => leaf(&["event.severity", "CRITICAL", "INFO", "HIGH", "true"]),
        1 => (text_leaf(), number_leaf()).prop_map(|(a, b)| V::Or(Box::new(a), Box::new(b))),
    ]
    .boxed()
}

/// Any condition; with `may_hide` parts of it are none of the native evaluation's business.
pub(super) fn condition(may_hide: bool) -> BoxedStrategy<C> {
    let sign = || prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let item = prop::sample::select(vec!["1", "\"a\"", "5.0", "MAJOR", "true", "\"5\"", "FIRING"]);
    let place = prop::sample::select(vec!["contains", "starts_with", "ends_with"]);
    let leaf = prop_oneof![
        3 => (value(may_hide), sign(), value(may_hide)).prop_map(|(a, s, b)| C::Compare(a, s, b)),
        2 => (number(may_hide), sign(), number(may_hide)).prop_map(|(a, s, b)| C::Compare(a, s, b)),
        1 => (value(may_hide), prop::collection::vec(item, 0..4)).prop_map(|(v, list)| C::In(v, list)),
        1 => value(may_hide).prop_map(C::Has),
        2 => (place, text(may_hide), text(may_hide), any::<bool>()).prop_map(|(f, a, b, m)| C::Text(f, a, b, m)),
        1 => text(may_hide).prop_map(C::Empty),
        1 => (text(may_hide), 0..PATTERNS.len()).prop_map(|(v, p)| C::Matches(v, p)),
        1 => (text(may_hide), 0..NETWORKS.len()).prop_map(|(v, n)| C::InNetwork(v, n)),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(C::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(C::Or),
            inner.prop_map(|c| C::Not(Box::new(c))),
        ]
    })
    .boxed()
}

fn measure() -> impl Strategy<Value = Option<Measure<'static>>> {
    prop::option::of(prop_oneof![
        4 => (-3i64..6).prop_map(Measure::Int),
        2 => prop::sample::select(vec![(1i64 << 53) + 1, -(1 << 53) - 1, i64::MAX, i64::MIN]).prop_map(Measure::Int),
        3 => prop::sample::select(vec![0.3, 0.1 + 0.2, 5.0, 2.5, -0.0, 9_007_199_254_740_992.0, -9_223_372_036_854_775_808.0, 1e300])
            .prop_map(Measure::Float),
        1 => prop::sample::select(vec!["a", ""]).prop_map(|t| Measure::Text(t.into())),
    ])
}

/// Any event.
pub(super) fn event() -> impl Strategy<Value = Event<'static>> {
    let text = prop::sample::select(TEXTS.as_slice());
    let labels = prop::collection::vec((prop::sample::select(vec!["x", "k8s.app"]), text.clone()), 0..3);
    let severity = prop::sample::select(vec![Severity::Unknown, Severity::Info, Severity::Major, Severity::Critical]);
    let firing = prop::sample::select(vec![Status::Firing, Status::Resolved]);
    let phase = prop::option::of(Just(Phase::Nodata));
    let texts = (text.clone(), prop::option::of(text.clone()), prop::option::of(text));
    (texts, labels, severity, firing, phase, measure(), measure()).prop_map(
        |((type_, ci, summary), labels, severity, status, phase, value, threshold)| Event {
            type_: type_.into(),
            kind: Kind::Metric,
            ci: CiRef { host: ci.map(Into::into), ..CiRef::default() },
            summary: summary.map(Into::into),
            labels: Labels::new(labels.into_iter().map(|(k, v)| (k.into(), v.into())).collect()),
            severity,
            status,
            phase,
            value,
            threshold,
            ..Event::default()
        },
    )
}
