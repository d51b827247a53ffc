//! Laws over random rule sets and random events.

mod random;

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_model::{CiRef, Event, Labels, Measure, Severity, Status};
use paramedic_rulebook::explain::{Explainer, FieldChange, Which};
use paramedic_rulebook::{Bindings, Bound, Evaluator, RuleIx, Slot, load, load_all_words};
use proptest::prelude::*;
use random::{condition, event};

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

/// An event with what an explanation says would have to be different.
#[allow(clippy::unwrap_used, reason = "what is no field ends the test")]
fn changed(event: &Event<'static>, changes: &[FieldChange]) -> Event<'static> {
    let mut event = event.clone();
    for FieldChange { field, to, .. } in changes {
        let text = to.as_str().map(|t| t.to_owned().into());
        let measure = to.as_i64().map(Measure::Int).or_else(|| to.as_f64().map(Measure::Float));
        match field.as_str() {
            "event.type" => event.type_ = text.unwrap(),
            "event.summary" => event.summary = text,
            "event.ci" => event.ci = CiRef { name: text, ..CiRef::default() },
            "event.host" => event.ci.host = text,
            "event.value" => event.value = measure,
            "event.threshold" => event.threshold = measure,
            "event.severity" => event.severity = to.as_str().and_then(Severity::from_name).unwrap_or_default(),
            "event.status" => event.status = if to == "firing" { Status::Firing } else { Status::Resolved },
            "event.phase" => event.phase = None,
            label => {
                let name = label.strip_prefix("event.labels.").unwrap().to_owned();
                let all = event.labels.iter().filter(|(n, _)| *n != name);
                let mut pairs: Vec<_> = all.map(|(n, v)| (n.to_owned().into(), v.to_owned().into())).collect();
                pairs.extend(text.map(|text| (name.into(), text)));
                event.labels = Labels::new(pairs);
            }
        }
    }
    event
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
    fn an_explanation_agrees_with_the_evaluator_and_a_change_that_it_tells_makes_the_rule_match(
        rules in prop::collection::vec((condition(), prop::option::of(condition()), Just(None)), 1..6),
        events in prop::collection::vec(event(), 1..6),
    ) {
        let set = Arc::new(load(&BTreeMap::from([("r.yaml".to_owned(), book(&rules))])).set.unwrap());
        let (mut evaluator, mut explainer) = (Evaluator::new(Arc::clone(&set)), Explainer::new(set));
        for event in &events {
            let found = evaluator.matches_brute_force(event);
            for told in explainer.explain(event, Which::All).rules {
                let when = &told.conditions[0];
                let shown = format!("{} of {event:?}: {when:?}", rules[told.ix.0 as usize].0);
                prop_assert_eq!(when.holds, found.when.contains(&told.ix), "{}", &shown);
                prop_assert_eq!(told.matches, when.holds, "{}", &shown);
                if let Some(clear) = told.conditions.get(1) {
                    prop_assert_eq!(clear.holds, found.clear.contains(&told.ix), "{}", &shown);
                }
                if let Some(change) = &told.change {
                    prop_assert!(!told.matches && (1..=2).contains(&change.len()), "{}", &shown);
                    let after = evaluator.matches_brute_force(&changed(event, change));
                    prop_assert!(after.when.contains(&told.ix), "{} with {:?}", &shown, change);
                }
            }
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
