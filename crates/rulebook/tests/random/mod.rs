//! Random conditions and random events of one small world, in which they often meet.

#![allow(dead_code, reason = "each test takes of it what it needs")]

use paramedic_model::{CiRef, Event, Labels, Measure, Phase, Severity, Status};
use proptest::prelude::*;

const NUMBERS: [&str; 12] = [
    "-2",
    "-1.5",
    "0",
    "0.0",
    "1",
    "1.0",
    "2.5",
    "9007199254740992",
    "9007199254740992.0",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808.0",
];

pub(crate) fn atom() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["a", "b", "c"]);
    let text = prop::sample::select(vec!["a", "b", "ab", "ba", "bb", "cab", "", "1", "2.5"]);
    let label = prop::sample::select(vec!["x", "y", "z"]);
    let sign = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let number = prop::sample::select(NUMBERS.as_slice());
    let of_text = prop::sample::select(vec![
        "event.summary",
        "event.ci",
        "event.type",
        "event.labels.x",
        "event.host",
        "event.summary.to_lower()",
        "(event.labels.y ?? \"ab\")",
    ]);
    let of_number = prop::sample::select(vec![
        "event.value",
        "event.value",
        "event.threshold",
        "num(event.labels.x)",
        "(event.value ?? 1)",
        "event.value - event.threshold",
        "event.summary.len()",
    ]);
    let place = prop::sample::select(vec!["contains", "starts_with", "ends_with"]);
    let severity = prop::sample::select(vec!["INFO", "WARNING", "MAJOR", "CRITICAL"]);
    prop_oneof![
        6 => word.clone().prop_map(|w| format!("event.type == \"{w}\"")),
        1 => word.clone().prop_map(|w| format!("\"{w}\" == event.type")),
        1 => (word.clone(), word.clone()).prop_map(|(a, b)| format!("event.type in [\"{a}\", \"{b}\"]")),
        3 => (label.clone(), word.clone()).prop_map(|(l, w)| format!("event.labels.{l} == \"{w}\"")),
        1 => (label.clone(), word.clone()).prop_map(|(l, w)| format!("(event.labels.{l} ?? \"a\") != \"{w}\"")),
        1 => (label.clone(), word.clone()).prop_map(|(l, w)| format!("label(\"{l}\") in [\"{w}\", \"q\"]")),
        4 => (of_number.clone(), sign.clone(), number.clone()).prop_map(|(v, s, n)| format!("{v} {s} {n}")),
        1 => (of_number, sign.clone(), number.clone()).prop_map(|(v, s, n)| format!("{n} {s} {v}")),
        1 => (number.clone(), number).prop_map(|(a, b)| format!("event.value in [{a}, \"a\", {b}]")),
        4 => (of_text.clone(), place, text.clone()).prop_map(|(v, f, t)| format!("{v}.{f}(\"{t}\")")),
        1 => (of_text.clone(), text.clone()).prop_map(|(v, t)| format!("{v} == \"{t}\"")),
        1 => (of_text.clone(), sign.clone(), text.clone()).prop_map(|(v, s, t)| format!("{v} {s} \"{t}\"")),
        1 => of_text.clone().prop_map(|v| format!("{v}.matches(\"^(cab|bab)+b?$\")")),
        1 => of_text.prop_map(|v| format!("{v}.is_empty()")),
        1 => (sign, severity).prop_map(|(s, m)| format!("event.severity {s} {m}")),
        1 => Just("event.severity in [INFO, CRITICAL]".to_owned()),
        1 => Just("event.status == RESOLVED".to_owned()),
        // Rhai alone says whether these hold.
        1 => word.prop_map(|w| format!("event.type.split(\"-\").contains(\"{w}\")")),
        1 => text.prop_map(|t| format!("[event.summary].contains(\"{t}\")")),
        1 => label.prop_map(|l| format!("has(event.labels.{l})")),
    ]
}

pub(crate) fn condition() -> impl Strategy<Value = String> {
    atom().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 2..4).prop_map(|c| format!("({})", c.join(" && "))),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(|c| format!("({})", c.join(" || "))),
            1 => inner.prop_map(|c| format!("!({c})")),
        ]
    })
}

/// Steps of a small world, in which they meet each other and the conditions.
pub(crate) fn step() -> impl Strategy<Value = String> {
    let source = prop::sample::select(vec!["", "source: s\n    ", "source: [s, t]\n    "]);
    let find = prop::sample::select(vec!["", "match: { field: event.summary, pattern: '(?<g>[ab]+)' }\n    "]);
    let set = prop::sample::select(vec![
        "set: { type: b }",
        "set: { severity: major }",
        "default: { severity: info, summary: cab }",
        "set: { summary: = event.ci, ci: = event.summary }",
        "set: { labels: { x: = event.type, y: = event.labels.x } }",
        "set: { value: = num(event.labels.x) + 1, threshold: 1 }",
        "set: { labels: { z: = event.labels.y.to_upper() } }",
        "set: { labels: { x: '= if event.value > 1 { \"c\" } else { event.nothing }' } }",
        "drop_from_key: [x]",
    ]);
    (source, find, prop::option::of(condition()), set).prop_map(|(source, find, when, set)| {
        let when = when.map(|c| format!("when: |\n      {c}\n    ")).unwrap_or_default();
        format!("  - {source}{find}{when}{}\n", set.replace("event.nothing", "event.labels.y"))
    })
}

fn measure() -> impl Strategy<Value = Option<Measure<'static>>> {
    prop::option::of(prop_oneof![
        4 => (-3i64..3).prop_map(Measure::Int),
        3 => (-6i32..6).prop_map(|n| Measure::Float(f64::from(n) / 2.0)),
        2 => prop::sample::select(vec![(1i64 << 53) - 1, 1 << 53, (1 << 53) + 1, i64::MAX, i64::MIN]).prop_map(Measure::Int),
        2 => prop::sample::select(vec![9_007_199_254_740_992.0, 9_223_372_036_854_775_808.0, 1e300]).prop_map(Measure::Float),
        1 => Just(Measure::Text("a".into())),
    ])
}

pub(crate) fn event() -> impl Strategy<Value = Event<'static>> {
    let word = prop::sample::select(vec!["a", "b", "c", "d"]);
    let value = prop::sample::select(vec!["a", "b", "c", "ab", "1", "2.5", ""]);
    let labels = prop::collection::vec((prop::sample::select(vec!["x", "y", "z"]), value), 0..4);
    let text = prop::option::of("[abAB]{0,6}");
    let severity = prop::sample::select(vec![Severity::Unknown, Severity::Info, Severity::Minor, Severity::Critical]);
    let phase = prop::option::weighted(0.1, Just(Phase::Suppressed));
    (word, labels, (measure(), measure()), (text.clone(), text), severity, any::<bool>(), phase).prop_map(
        |(type_, labels, (value, threshold), (summary, ci), severity, resolved, phase)| {
            let labels = labels.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
            Event {
                type_: type_.into(),
                labels: Labels::new(labels),
                value,
                threshold,
                summary: summary.map(Into::into),
                severity,
                status: if resolved { Status::Resolved } else { Status::Firing },
                phase,
                ci: CiRef { name: ci.map(Into::into), ..CiRef::default() },
                ..Event::default()
            }
        },
    )
}
