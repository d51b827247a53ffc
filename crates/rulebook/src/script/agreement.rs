//! The law that lets the pure subset run without Rhai: both give the same answer, on any condition and event.

use paramedic_model::{CiRef, Event, Kind, Labels, Measure, Phase, Severity, Status};
use proptest::prelude::*;

use super::compile::{Compiler, Role};
use super::native::{cond, expression, term};
use super::objects::dynamic;
use super::runtime::{Lazy, Runtime};

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "event.type",
            "event.ci",
            "event.value",
            "event.threshold",
            "event.severity",
            "event.status",
            "event.phase",
            "event.kind",
            "event.summary",
            "event.labels.x",
            "event[\"labels\"][\"k8s.app\"]",
            "label(\"x\")",
            "event.annotations.x",
            "event.host",
            "event.time",
            "event.dedup_key",
            "event.began",
            "CRITICAL",
            "INFO",
            "FIRING",
            "HIGH",
            "true",
            "9007199254740993",
            "9007199254740992.0",
            "9223372036854775807",
            "0.30000000000000004",
            "-1",
            "-1.5",
            "\"\"",
            "\"5\"",
            "\"a\"",
            "'a'",
        ])
        .prop_map(str::to_owned),
        (-3i64..6).prop_map(|i| i.to_string()),
    ];
    leaf.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|v| format!("num({v})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a} ?? {b})")),
        ]
    })
}

fn condition() -> impl Strategy<Value = String> {
    let sign = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let item = prop::sample::select(vec!["1", "\"a\"", "5.0", "MAJOR", "true", "\"5\""]);
    let leaf = prop_oneof![
        (value(), sign, value()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (value(), prop::collection::vec(item, 0..4)).prop_map(|(v, list)| format!("{v} in [{}]", list.join(", "))),
        value().prop_map(|v| format!("has({v})")),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|c| format!("({})", c.join(" && "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|c| format!("({})", c.join(" || "))),
            inner.prop_map(|c| format!("!({c})")),
        ]
    })
}

fn measure() -> impl Strategy<Value = Option<Measure<'static>>> {
    prop::option::of(prop_oneof![
        (-3i64..6).prop_map(Measure::Int),
        prop::sample::select(vec![9_007_199_254_740_993i64, i64::MAX, i64::MIN]).prop_map(Measure::Int),
        prop::sample::select(vec![0.3, 0.1 + 0.2, 5.0, -0.0, 9_007_199_254_740_992.0, 1e300]).prop_map(Measure::Float),
        Just(Measure::Text("a".into())),
    ])
}

fn event() -> impl Strategy<Value = Event<'static>> {
    let text = prop::sample::select(vec!["a", "5", " 5 ", "4.5", "", "x"]);
    let labels = prop::collection::vec((prop::sample::select(vec!["x", "k8s.app"]), text.clone()), 0..3);
    let severity = prop::sample::select(vec![Severity::Unknown, Severity::Info, Severity::Major, Severity::Critical]);
    let firing = prop::sample::select(vec![Status::Firing, Status::Resolved]);
    let phase = prop::option::of(Just(Phase::Nodata));
    (text.clone(), prop::option::of(text), labels, severity, firing, phase, measure(), measure()).prop_map(
        |(type_, ci, labels, severity, status, phase, value, threshold)| Event {
            type_: type_.into(),
            kind: Kind::Metric,
            ci: CiRef { host: ci.map(Into::into), ..CiRef::default() },
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn native_and_rhai_agree_on_every_condition(text in condition(), event in event()) {
        let ast = Compiler::new().parse(&text, Role::Condition).unwrap();
        let native = cond(expression(&ast).unwrap());
        prop_assert!(native.is_some(), "{text} is not of the pure subset");
        let by_rhai = Runtime::new().condition(&ast, &event, &mut Lazy::default());
        prop_assert_eq!(Ok(native.unwrap().holds(&event)), by_rhai, "{}", text);
    }

    #[test]
    fn native_and_rhai_agree_on_every_value(text in value(), event in event()) {
        let ast = Compiler::new().parse(&text, Role::Part).unwrap();
        let native = term(expression(&ast).unwrap()).unwrap();
        let by_rhai = Runtime::new().value(&ast, &event, &mut Lazy::default(), None).unwrap();
        let by_native = dynamic(native.eval(&event));
        prop_assert_eq!(super::json::to_json(&by_native), super::json::to_json(&by_rhai), "{}", text);
    }
}
