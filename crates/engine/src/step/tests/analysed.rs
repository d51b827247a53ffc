//! A rule that the analysis calls dead opens nothing, whatever comes: its windows included.

use std::cell::RefCell;
use std::collections::BTreeMap;

use paramedic_rulebook::{Verdict, analyse};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::rules::set;
use super::world::{World, disk};

fn condition(event: &'static str) -> impl Strategy<Value = String> {
    let atom = select(vec![
        "e.value >= 50",
        "e.value < 50",
        "e.value > 80",
        "e.labels.site == \"fra\"",
        "e.labels.site == \"ams\"",
        "has(e.labels.site)",
        "!has(e.labels.site)",
        "e.ci == \"web-1\"",
    ]);
    let all = prop::collection::vec(atom, 0..3);
    all.prop_map(move |all| {
        let all: Vec<String> = all.into_iter().map(|c| c.replace("e.", &format!("{event}."))).collect();
        [vec![format!("{event}.type == \"disk\"")], all].concat().join(" && ")
    })
}

fn pattern() -> impl Strategy<Value = String> {
    let by = || select(vec!["event.ci", "event.labels.site", "event.ci, event.labels.site", "event.type"]);
    let distinct = select(vec!["event.ci", "event.labels.site", "event.type"]);
    let measured = select(vec!["avg", "min", "max"]);
    let is = select(vec![">= 50", "> 80", "< 50", "< 20", "== 70"]);
    let together = select(vec!["all", "sequence", "any", "not_all"]);
    prop_oneof![
        (condition("event"), by()).prop_map(|(when, by)| format!("    when: '{when}'\n    by: [{by}]\n")),
        (condition("event"), by(), distinct, 2..4).prop_map(|(when, by, of, n)| format!(
            "    count: {{ at_least: {n}, within: 1m, distinct: {{ {of}: 2 }} }}\n    when: '{when}'\n    by: [{by}]\n"
        )),
        (condition("event"), by(), measured, is).prop_map(|(when, by, of, is)| format!(
            "    measure: {of}(event.value)\n    over: 1m\n    is: '{is}'\n    when: '{when}'\n    by: [{by}]\n"
        )),
        (condition("a"), condition("b"), by(), together).prop_map(|(a, b, by, together)| {
            let within = if together == "any" { "" } else { "    within: 1m\n" };
            format!("    {together}:\n      - a: '{a}'\n      - b: '{b}'\n{within}    by: [{by}]\n")
        }),
    ]
}

type Sample = (&'static str, i64, Option<&'static str>, u32);

fn sample() -> impl Strategy<Value = Sample> {
    let site = select(vec![None, Some("fra"), Some("ams")]);
    (select(vec!["web-1", "web-2"]), select(vec![10, 49, 50, 70, 81, 95]), site, 1u32..20)
}

#[test]
fn no_history_fires_a_pattern_that_was_called_dead() {
    let seen: RefCell<BTreeMap<&str, usize>> = RefCell::default();
    let config = Config { cases: 40, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let histories = (prop::collection::vec(pattern(), 6..12), prop::collection::vec(sample(), 40..80));
    let outcome = runner.run(&histories, |(patterns, samples)| {
        let rules: String = patterns
            .iter()
            .enumerate()
            .map(|(n, pattern)| format!("  - rule: r{n}\n{pattern}    incident: {{ summary: s }}\n"))
            .collect();
        let set = set("record", &rules);
        let analysis = analyse(&set);
        let mut world = World::new(std::sync::Arc::clone(&set));
        let mut now = 0;
        for (ci, value, site, after) in samples {
            now += after;
            let event = disk(ci, value);
            let event = site.into_iter().fold(event, |event, site| event.label("site", site));
            world.at(&format!("{now}s")).event(event);
        }
        world.at("2h");
        let opened: Vec<&str> = (0..world.opened()).map(|n| world.nth(n).rule.as_str()).collect();
        for found in &analysis.rules {
            let rule = set.rule(found.rule);
            let is_dead = found.verdict == Verdict::Dead;
            let fired = opened.contains(&rule.name.as_str());
            prop_assert!(!(is_dead && fired), "{} was called dead:\n{}", rule.name, rules);
            let seen = &mut *seen.borrow_mut();
            *seen
                .entry(if is_dead {
                    "dead"
                } else if fired {
                    "fired"
                } else {
                    "neither"
                })
                .or_default() += 1;
        }
        Ok(())
    });
    if let Err(failed) = outcome {
        panic!("{failed}");
    }
    let seen = seen.take();
    assert!(seen["dead"] > 40 && seen["fired"] > 40, "{seen:?}");
    // Most that did not fire in a random history are known not to.
    assert!(seen["dead"] > seen["neither"], "{seen:?}");
}
