//! `settle`, and `clear: { quiet }`.

use std::sync::Arc;

use paramedic_model::{Named, Span};
use paramedic_rulebook::{Clear, RuleSet};

use super::rules::{rule, set, shaped};
use super::world::{World, disk, firing, resolved};

const DOWN: &str = "
  - rule: down
    when: |
      event.type == \"down\"
    by: [event.type]
    incident: { summary: \"down\" }
    remedy:
      - { playbook: grow, target: '= \"web-1\"', verify: { within: 1m } }
";

const LOUD: &str = "
  - rule: loud
    when: |
      event.type == \"disk\"
    by: [event.ci]
    incident: { summary: \"loud\", hold: 30s }
";

fn settled() -> World {
    World::new(shaped(&set("record", DOWN), |set| rule(set, "down").settle = Some(Span::from_secs(60))))
}

fn quiet(span: i64) -> Arc<RuleSet> {
    shaped(&set("record", LOUD), |set| rule(set, "loud").clear = Some(Clear::Quiet(Span::from_secs(span))))
}

#[test]
fn after_the_first_it_waits_and_fires_once_with_all() {
    let mut w = settled();
    w.event(firing("web-1")).at("20s").event(firing("web-2")).at("59s").event(firing("web-3")).event(resolved("web-3"));
    assert_eq!(w.opened(), 0);
    w.at("1m");
    assert_eq!((w.opened(), w.windows().len(), w.incident().alerts.len()), (1, 0, 3));
    let Named::Events(events) = &w.incident().names["events"] else { panic!() };
    let cis: Vec<_> = events.iter().filter_map(|e| e.ci.best()).collect();
    assert_eq!((cis, &w.incident().names["n"]), (vec!["web-1", "web-2", "web-3"], &Named::Whole(3)));
    w.event(resolved("web-1"));
    assert!(w.incident().state.is_open());
    w.event(resolved("web-2"));
    assert!(!w.incident().state.is_open());
}

#[test]
fn what_has_ended_by_then_is_not_told() {
    let mut w = settled();
    w.event(firing("web-1")).at("20s").event(resolved("web-1")).at("1h");
    assert_eq!((w.opened(), w.windows().len()), (0, 0));
}

#[test]
fn the_first_hundred_are_kept_and_all_are_counted() {
    let rules =
        LOUD.replace("hold: 30s }", "hold: 30s }\n    remedy:\n      - { playbook: grow, verify: { within: 1m } }");
    let set = shaped(&set("record", &rules), |set| rule(set, "loud").settle = Some(Span::from_secs(60)));
    let mut w = World::new(set);
    for _ in 0..130 {
        w.event(disk("web-1", 1));
    }
    w.restart().at("1m");
    let Named::Events(events) = &w.incident().names["events"] else { panic!() };
    assert_eq!((events.len(), &w.incident().names["n"]), (100, &Named::Whole(130)));
}

#[test]
fn a_repeat_does_not_count_and_an_outage_drained_at_once_settles_in_its_own_time() {
    let mut w = settled();
    w.event(firing("web-1").id("a")).event(firing("web-1").id("a"));
    w.at_once("1h").drain(vec![("30s", firing("web-2")), ("2m", firing("web-3").began("2m"))]);
    assert_eq!((w.opened(), w.incident().opened_at), (1, super::world::t("1m")));
    assert_eq!(w.incident().names["n"], Named::Whole(2));
}

#[test]
fn quiet_for_long_enough_is_recovery() {
    let mut w = World::new(quiet(600));
    w.event(disk("web-1", 1)).at("5m").event(disk("web-1", 1)).at("14m59s").restart();
    assert_eq!(w.steps(), "incident_opened");
    w.at("15m").at("15m29s");
    assert_eq!(w.steps(), "evidence_seen");
    w.at("15m30s");
    assert!(!w.incident().state.is_open(), "it stayed quiet");
    assert!(w.windows().is_empty());
}

#[test]
fn a_match_within_the_hold_is_no_recovery() {
    let mut w = World::new(quiet(600));
    w.event(disk("web-1", 1)).at("10m10s").event(disk("web-1", 1)).at("11m");
    assert_eq!(w.steps(), "incident_opened, evidence_seen, evidence_lost");
    w.at("21m");
    assert!(!w.incident().state.is_open());
}

#[test]
fn quiet_ends_what_only_holds() {
    let set = shaped(&quiet(30), |set| rule(set, "loud").stays = Some(Span::from_secs(120)));
    let mut w = World::new(set);
    w.event(disk("web-1", 1)).at("10m");
    assert_eq!((w.opened(), w.windows().len()), (0, 0), "one match does not hold for two minutes");
    for s in 0..13 {
        w.at(&format!("{}s", 600 + s * 10)).event(disk("web-1", 1));
    }
    assert_eq!(w.opened(), 1);
}
