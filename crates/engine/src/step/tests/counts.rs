//! `count`: so many within a sliding window.

use std::sync::Arc;

use paramedic_model::{Severity, Span};
use paramedic_rulebook::{Pattern, RuleSet};

use super::rules::{expr, rule, set, shaped};
use super::world::{World, disk, firing, resolved};
use crate::step::Limits;

const DOWN: &str = "
  - rule: many
    when: |
      event.type == \"down\"
    by: [event.type]
    incident: { summary: \"{event.ci} is down\" }
";

const FULL: &str = "
  - rule: many
    when: |
      event.type == \"disk\" && event.value >= 90
    by: [event.type]
    clear: |
      event.type == \"disk\" && event.value < 80
    incident: { summary: \"disks\", reopen: 0s }
    remedy:
      - { playbook: clean, target: '= \"web-1\"', with: { mount: /var }, verify: { within: 1m } }
";

/// So many within a minute, of so many CIs.
fn counted(rules: &str, at_least: u32, cis: Option<u32>) -> Arc<RuleSet> {
    shaped(&set("record", rules), |set| {
        let ci = expr(set, "event.ci", &[]);
        let many = rule(set, "many");
        let when = many.pattern.when().unwrap();
        let distinct = cis.map(|n| (ci, n));
        many.pattern = Pattern::Count { when, at_least, within: Span::from_secs(60), distinct };
    })
}

fn three_full() -> World {
    World::new(counted(FULL, 3, None))
}

#[test]
fn enough_samples_within_the_window_open_one_incident() {
    let mut w = three_full();
    w.event(disk("web-1", 91)).at("20s").event(disk("web-2", 92)).at("40s");
    assert_eq!((w.opened(), w.windows(), w.live().alerts.len()), (0, vec!["count"], 0), "a sample is no alert yet");
    w.event(disk("web-1", 93));
    assert_eq!((w.opened(), w.incident().alerts.len()), (1, 1));
    let names: Vec<_> = w.incident().names.keys().cloned().collect();
    assert_eq!(names, ["first", "last", "n"]);
    w.event(disk("web-1", 94));
    assert_eq!((w.opened(), w.incident().matched), (1, 2), "more of the same");
}

#[test]
fn what_is_exactly_as_old_as_the_window_still_counts_and_what_is_older_does_not() {
    let mut w = three_full();
    w.event(disk("web-1", 91)).at("30s").event(disk("web-1", 91)).at("60s").event(disk("web-1", 91));
    assert_eq!(w.opened(), 1);
    let mut w = three_full();
    w.event(disk("web-1", 91)).at("30s").event(disk("web-1", 91)).at("60001ms").event(disk("web-1", 91));
    assert_eq!(w.opened(), 0);
}

#[test]
fn three_at_the_same_instant_are_three() {
    let mut w = three_full();
    w.event(disk("web-1", 91)).event(disk("web-1", 91)).event(disk("web-1", 91));
    assert_eq!(w.opened(), 1);
}

#[test]
fn the_events_own_time_counts_whatever_their_order() {
    let mut w = three_full();
    w.at("2m").event(disk("web-1", 91).time("115s")).event(disk("web-1", 91).time("61s"));
    w.event(disk("web-1", 91).time("59s"));
    assert_eq!((w.opened(), w.marks().contains("too late for its window")), (0, true));
    w.event(disk("web-1", 91).time("60s"));
    assert_eq!(w.opened(), 1);
}

#[test]
fn a_repeat_is_not_counted() {
    let mut w = three_full();
    w.event(disk("web-1", 91).id("a")).event(disk("web-1", 91).id("a")).event(disk("web-1", 91).id("a"));
    assert_eq!(w.opened(), 0);
    w.event(disk("web-1", 91).id("b")).event(disk("web-1", 91).id("c"));
    assert_eq!(w.opened(), 1);
}

#[test]
fn of_alerts_occurrences_are_counted_and_not_their_repeats_or_severities() {
    let mut w = World::new(counted(DOWN, 3, None));
    w.event(firing("web-1").began("0s")).event(firing("web-1").began("0s"));
    w.event(firing("web-1").began("0s").severity(Severity::Major));
    w.event(firing("web-1").began("0s").severity(Severity::Critical));
    assert_eq!(w.opened(), 0, "one occurrence");
    w.at("10s").event(resolved("web-1")).at("20s").event(firing("web-1").began("20s"));
    w.at("30s").event(resolved("web-1")).at("40s").event(firing("web-1").began("40s"));
    assert_eq!(w.opened(), 1, "it flaps");
    w.event(resolved("web-1"));
    assert!(!w.incident().state.is_open());
}

#[test]
fn it_fires_again_only_after_there_were_too_few() {
    let mut w = three_full();
    for _ in 0..3 {
        w.event(disk("web-1", 91));
    }
    w.resolve().at("50s").event(disk("web-1", 91)).event(disk("web-1", 91));
    assert_eq!((w.opened(), w.incident().state.is_open()), (1, false), "there are as many as there were");
    w.at("61s").event(disk("web-1", 91));
    assert_eq!(w.opened(), 2, "for an instant there were two");
}

#[test]
fn a_clear_begins_the_count_anew() {
    let mut w = three_full();
    w.event(disk("web-1", 91)).event(disk("web-1", 91)).event(disk("web-1", 70)).event(disk("web-1", 91));
    assert_eq!(w.opened(), 0);
    w.event(disk("web-1", 91)).event(disk("web-1", 91));
    assert_eq!(w.opened(), 1);
    w.event(disk("web-1", 70));
    assert!(!w.incident().state.is_open());
    w.event(disk("web-1", 91)).event(disk("web-1", 91)).event(disk("web-1", 91));
    assert_eq!(w.opened(), 2);
}

#[test]
fn so_many_of_so_many_different() {
    let mut w = World::new(counted(FULL, 3, Some(3)));
    w.event(disk("web-1", 91)).event(disk("web-2", 91));
    for _ in 0..5 {
        w.event(disk("web-1", 91));
    }
    assert_eq!(w.opened(), 0);
    w.event(disk("web-3", 91));
    assert_eq!(w.opened(), 1, "web-2 was not forgotten over web-1");
}

#[test]
fn where_the_value_that_must_differ_is_missing_nothing_is_counted() {
    let mut w = World::new(counted(FULL, 2, Some(1)));
    w.event(disk("web-1", 91).bare()).event(disk("web-1", 91).bare());
    assert_eq!((w.opened(), w.windows().len()), (0, 0));
}

#[test]
fn a_window_that_has_emptied_is_closed() {
    let mut w = three_full();
    w.event(disk("web-1", 91)).at("50s").event(disk("web-1", 91)).at("61s");
    assert_eq!(w.windows(), ["count"]);
    w.at("111s");
    assert_eq!((w.windows().len(), w.live().timers.len()), (0, 0));
}

#[test]
fn enough_for_long_enough() {
    let lasting = |rules| shaped(&counted(rules, 3, None), |set| rule(set, "many").stays = Some(Span::from_secs(30)));
    let mut w = World::new(lasting(FULL));
    w.event(disk("web-1", 91)).event(disk("web-1", 91)).at("10s").event(disk("web-1", 91)).at("39s");
    assert_eq!(w.opened(), 0);
    w.at("40s");
    assert_eq!((w.opened(), w.incident().names.len()), (1, 3));

    let mut w = World::new(lasting(FULL));
    w.event(disk("web-1", 91)).event(disk("web-1", 91)).at("59s").event(disk("web-1", 91)).at("10m");
    assert_eq!((w.opened(), w.windows().len()), (0, 0), "a second later there were too few");
}

#[test]
fn a_restart_in_the_middle_makes_no_difference() {
    let mut w = World::new(counted(FULL, 3, Some(2)));
    w.event(disk("web-1", 91)).event(disk("web-1", 91)).restart().at("30s").event(disk("web-2", 91));
    assert_eq!(w.opened(), 1);
}

#[test]
fn an_outage_drained_at_once_counts_by_the_time_of_its_events() {
    let mut w = three_full();
    let all: Vec<_> = [("1m", 1), ("3m", 2), ("5m", 3), ("40m", 4), ("40m20s", 5), ("40m40s", 6)]
        .into_iter()
        .map(|(at, n)| (at, disk("web-1", 90 + n)))
        .collect();
    w.at_once("1h").drain(all);
    assert_eq!((w.opened(), w.incident().opened_at), (1, super::world::t("40m40s")));
}

#[test]
fn keys_beyond_the_cap_push_out_the_oldest() {
    let by_ci = FULL.replace("by: [event.type]", "by: [event.ci]");
    let mut w = World::within(counted(&by_ci, 2, None), Limits { windows: 2, ..Limits::default() });
    w.event(disk("web-1", 91)).at("1s").event(disk("web-2", 91)).at("2s").event(disk("web-3", 91));
    assert_eq!((w.opened(), w.windows().len()), (1, 2), "the umbrella");
    w.at("3s").event(disk("web-1", 91)).event(disk("web-3", 91));
    assert_eq!(w.opened(), 2, "web-3 was remembered, web-1 was not");
}
