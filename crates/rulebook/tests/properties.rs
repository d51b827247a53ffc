//! Laws over random rule sets and random events.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_model::{CiRef, Event, Labels, Measure, Phase, Severity, Status};
use paramedic_rulebook::{Bindings, Bound, Evaluator, RuleIx, Slot, load, load_all_words};
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

fn atom() -> impl Strategy<Value = String> {
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

fn condition() -> impl Strategy<Value = String> {
    atom().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 2..4).prop_map(|c| format!("({})", c.join(" && "))),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(|c| format!("({})", c.join(" || "))),
            1 => inner.prop_map(|c| format!("!({c})")),
        ]
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

fn event() -> impl Strategy<Value = Event<'static>> {
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

fn book(rules: &[(String, Option<String>, Option<String>)]) -> String {
    let mut text = "rulebook: r\nmay: { playbooks: [p], ci_classes: [server] }\nrules:\n".to_owned();
    for (i, (when, clear, verify)) in rules.iter().enumerate() {
        text += &format!("  - rule: r{i}\n    when: |\n      {when}\n    incident: {{ summary: s }}\n");
        if let Some(clear) = clear {
            text += &format!("    clear: |\n      {clear}\n");
        }
        if let Some(verify) = verify {
            text += &format!(
                "    remedy:\n      - playbook: p\n        verify:\n          when: |\n            {verify}\n"
            );
        }
    }
    text
}

/// Rules of two members, of which the second reads the first.
fn members(rules: &[(String, String, String)]) -> String {
    let mut text = "rulebook: r\nrules:\n".to_owned();
    for (i, (first, second, unless)) in rules.iter().enumerate() {
        let second = second.replace("event.", "b.");
        text += &format!("  - rule: r{i}\n    all:\n      - a: |\n          {first}\n");
        text += &format!("      - b: |\n          {second} && (b.labels.x == a.labels.x || b.value > a.value)\n");
        text += &format!(
            "    unless: |\n      {unless}\n    within: 5m\n    by: [event.ci]\n    incident: {{ summary: s }}\n"
        );
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_index_finds_what_asking_every_condition_finds(
        rules in prop::collection::vec((condition(), prop::option::of(condition()), prop::option::of(condition())), 1..40),
        events in prop::collection::vec(event(), 1..20),
    ) {
        let playbooks = "playbooks: { p: { runner: http, url: http://h/p, timeout: 1s, effect: keyed } }\n";
        let sources = BTreeMap::from([("r.yaml".to_owned(), book(&rules)), ("playbooks.yaml".to_owned(), playbooks.to_owned())]);
        let loaded = load(&sources);
        prop_assert!(loaded.set.is_some(), "{:?}", loaded.diagnostics.iter().find(|d| d.is_error()).map(ToString::to_string));
        let mut evaluator = Evaluator::new(Arc::new(loaded.set.unwrap()));
        for event in &events {
            prop_assert_eq!(evaluator.matches(event), evaluator.matches_brute_force(event));
        }
    }

    #[test]
    fn what_a_member_says_of_its_own_event_keeps_none_from_holding(
        rules in prop::collection::vec((condition(), condition(), condition()), 1..6),
        events in prop::collection::vec(event(), 2..6),
    ) {
        let loaded = load_all_words(&BTreeMap::from([("r.yaml".to_owned(), members(&rules))]));
        prop_assert!(loaded.set.is_some(), "{:?}", loaded.diagnostics.iter().find(|d| d.is_error()).map(ToString::to_string));
        let mut evaluator = Evaluator::new(Arc::new(loaded.set.unwrap()));
        for b in &events {
            let found = evaluator.matches(b);
            prop_assert_eq!(&found, &evaluator.matches_brute_force(b));
            for (rule, a) in (0..rules.len()).flat_map(|n| events.iter().map(move |a| (RuleIx(n as u32), a))) {
                let names = Bindings::default().with("a", Bound::Event(a)).with("b", Bound::Event(b));
                let holds = evaluator.member_holds(rule, 1, &names);
                if holds == Ok(true) {
                    prop_assert!(found.slots.contains(&(rule, Slot::Member(1))), "{}", rules[rule.0 as usize].1);
                }
                let first = evaluator.member_holds(rule, 0, &Bindings::default().with("a", Bound::Event(b)));
                prop_assert_eq!(first == Ok(true), found.slots.contains(&(rule, Slot::Member(0))));
            }
        }
    }
}

/// ansible-rulebook loses the event from nine such rules on.
#[test]
fn ten_thousand_numeric_rules_on_one_field_are_all_right() {
    const EDGE: i64 = 1 << 53;
    // Twice each threshold: halves are written as floats, whole numbers as integers and floats in turn.
    let doubled: Vec<i128> =
        (0..10_000i128).map(|i| if i % 3 == 2 { (i128::from(EDGE) + i - 5_000) * 2 } else { i - 5_000 }).collect();
    let written = |i: usize, twice: i128| match twice % 2 {
        0 if i.is_multiple_of(2) || twice > 1 << 40 => format!("{}", twice / 2),
        _ => format!("{:.1}", twice as f64 / 2.0),
    };
    let signs = ["==", "<", "<=", ">", ">="];
    let rules: Vec<(String, Option<String>, Option<String>)> = doubled
        .iter()
        .enumerate()
        .map(|(i, twice)| (format!("event.value {} {}", signs[i % 5], written(i, *twice)), None, None))
        .collect();
    let loaded = load(&BTreeMap::from([("r.yaml".to_owned(), book(&rules))]));
    let mut evaluator = Evaluator::new(Arc::new(loaded.set.expect("they are well")));
    assert_eq!(evaluator.unindexed_rules(), 0);
    for (value, twice) in [
        (Measure::Int(0), 0),
        (Measure::Float(-17.5), -35),
        (Measure::Float(2_000.0), 4_000),
        (Measure::Int(EDGE - 1), i128::from(EDGE) * 2 - 2),
        (Measure::Float(EDGE as f64), i128::from(EDGE) * 2),
        (Measure::Int(EDGE + 1), i128::from(EDGE) * 2 + 2),
        (Measure::Int(EDGE + 333), i128::from(EDGE) * 2 + 666),
        (Measure::Float((EDGE + 334) as f64), i128::from(EDGE) * 2 + 668),
        (Measure::Int(i64::MAX), i128::from(i64::MAX) * 2),
        (Measure::Float(-1e300), i128::MIN),
    ] {
        let event = Event { value: Some(value), ..Event::default() };
        let found: Vec<usize> = evaluator.matches(&event).when.iter().map(|ix| ix.0 as usize).collect();
        let holds = |(i, than): &(usize, &i128)| match signs[i % 5] {
            "==" => twice == **than,
            "<" => twice < **than,
            "<=" => twice <= **than,
            ">" => twice > **than,
            _ => twice >= **than,
        };
        let expected: Vec<usize> = doubled.iter().enumerate().filter(holds).map(|(i, _)| i).collect();
        assert_eq!(found, expected, "{:?}", event.value);
    }
}
