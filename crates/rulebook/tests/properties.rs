//! Laws over random rule sets and random events.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_model::{CiRef, Event, Labels, Measure, Phase, Severity, Status};
use paramedic_rulebook::{Bindings, Bound, Evaluator, RuleIx, Slot, load, load_all_words};
use proptest::prelude::*;

fn atom() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["a", "b", "c"]);
    let label = prop::sample::select(vec!["x", "y", "z"]);
    prop_oneof![
        4 => word.clone().prop_map(|w| format!("event.type == \"{w}\"")),
        1 => word.clone().prop_map(|w| format!("\"{w}\" == event.type")),
        1 => (word.clone(), word.clone()).prop_map(|(a, b)| format!("event.type in [\"{a}\", \"{b}\"]")),
        3 => (label.clone(), word.clone()).prop_map(|(l, w)| format!("event.labels.{l} == \"{w}\"")),
        1 => (label.clone(), word.clone()).prop_map(|(l, w)| format!("(event.labels.{l} ?? \"a\") != \"{w}\"")),
        1 => (label.clone(), word.clone()).prop_map(|(l, w)| format!("label(\"{l}\") in [\"{w}\", \"q\"]")),
        2 => (-3i32..3).prop_map(|n| format!("event.value >= {n}")),
        1 => Just("event.severity >= MAJOR".to_owned()),
        1 => Just("event.status == RESOLVED".to_owned()),
        1 => word.prop_map(|w| format!("event.type.contains(\"{w}\")")),
        1 => Just("event.value + 1 > 1".to_owned()),
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

fn event() -> impl Strategy<Value = Event<'static>> {
    let word = prop::sample::select(vec!["a", "b", "c", "d"]);
    let labels = prop::collection::vec((prop::sample::select(vec!["x", "y", "z"]), word.clone()), 0..4);
    let value = prop::option::of(prop_oneof![(-3i64..3).prop_map(Measure::Int), (-3.0..3.0).prop_map(Measure::Float)]);
    let severity = prop::sample::select(vec![Severity::Unknown, Severity::Info, Severity::Critical]);
    let phase = prop::option::weighted(0.1, Just(Phase::Suppressed));
    (word, labels, value, severity, any::<bool>(), phase).prop_map(
        |(type_, labels, value, severity, resolved, phase)| {
            let labels = labels.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
            Event {
                type_: type_.into(),
                labels: Labels::new(labels),
                value,
                severity,
                status: if resolved { Status::Resolved } else { Status::Firing },
                phase,
                ci: CiRef { name: Some("web-1".into()), ..CiRef::default() },
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
        rules in prop::collection::vec((condition(), prop::option::of(condition()), prop::option::of(condition())), 1..12),
        events in prop::collection::vec(event(), 1..12),
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
