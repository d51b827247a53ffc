//! `for`: it held, and was not cleared, for so long.

use std::sync::Arc;

use paramedic_model::{Severity, Span};
use paramedic_rulebook::RuleSet;

use super::rules::{DISK, PLAIN, rule, set, shaped};
use super::world::{World, disk, firing, resolved};
use crate::step::Limits;

fn lasting(rules: &str, name: &str, span: &str) -> Arc<RuleSet> {
    let span: Span = span.parse().unwrap();
    shaped(&set("record", rules), |set| rule(set, name).stays = Some(span))
}

fn down_for_2m() -> World {
    World::new(lasting(PLAIN, "down", "2m"))
}

fn full_for_2m() -> World {
    World::new(lasting(DISK, "full", "2m"))
}

#[test]
fn what_holds_for_long_enough_opens_with_the_last_event() {
    let mut w = full_for_2m();
    w.event(disk("web-1", 91)).at("1m").event(disk("web-1", 97)).at("1m59s");
    assert_eq!((w.opened(), w.windows()), (0, vec!["holds"]));
    w.at("2m");
    assert_eq!(w.opened(), 1);
    let incident = w.incident();
    assert_eq!(incident.event.as_ref().unwrap().value, Some(paramedic_model::Measure::Int(97)));
    assert_eq!(incident.opened_at, super::world::t("2m"));
    assert_eq!(incident.alerts.len(), 1, "the sample's alert contributes");
}

#[test]
fn what_is_cleared_before_opens_nothing() {
    let mut w = full_for_2m();
    w.event(disk("web-1", 91)).at("1m").event(disk("web-1", 70)).at("10m");
    assert_eq!((w.opened(), w.windows().len(), w.live().timers.len(), w.live().alerts.len()), (0, 0, 0, 0));
}

#[test]
fn neither_the_condition_nor_its_clear_keeps_the_time_running() {
    let mut w = full_for_2m();
    w.event(disk("web-1", 91)).at("1m").event(disk("web-1", 85)).at("2m");
    assert_eq!(w.opened(), 1);
}

#[test]
fn at_the_very_end_of_the_time_a_clear_comes_too_late() {
    let mut w = full_for_2m();
    w.event(disk("web-1", 91)).at("1m59s").drain(vec![("1m59s", disk("web-1", 70))]).at("2m");
    assert_eq!(w.opened(), 0);
    let mut w = full_for_2m();
    w.event(disk("web-1", 91)).at("2m").event(disk("web-1", 70));
    assert_eq!(w.steps(), "incident_opened, run_decided, -> resolved");
}

#[test]
fn a_clear_that_was_seen_earlier_than_the_condition_is_no_clear() {
    let mut w = full_for_2m();
    w.at("1m").event(disk("web-1", 91).time("1m")).event(disk("web-1", 70).time("59s")).at("3m");
    assert_eq!(w.opened(), 1);
}

#[test]
fn a_late_event_does_not_become_the_last() {
    let mut w = full_for_2m();
    w.at("1m").event(disk("web-1", 92).time("1m")).event(disk("web-1", 99).time("30s")).at("3m");
    assert_eq!(w.incident().event.as_ref().unwrap().value, Some(paramedic_model::Measure::Int(92)));
}

#[test]
fn repeats_and_further_samples_do_not_start_the_time_again() {
    let mut w = full_for_2m();
    w.event(disk("web-1", 91).id("a")).at("1m").event(disk("web-1", 91).id("a")).event(disk("web-1", 92)).at("2m");
    assert_eq!(w.opened(), 1);
    let mut w = down_for_2m();
    w.event(firing("web-1")).at("90s").event(firing("web-1")).at("2m");
    assert_eq!(w.opened(), 1);
}

#[test]
fn the_last_alert_to_end_is_the_clear_where_none_is_written() {
    let by_type = PLAIN.replace("    incident:", "    by: [event.type]\n    incident:");
    let mut w = World::new(lasting(&by_type, "down", "2m"));
    w.event(firing("web-1")).event(firing("web-2")).at("1m").event(resolved("web-1")).at("119s");
    w.event(resolved("web-2")).at("10m");
    assert_eq!((w.opened(), w.windows().len()), (0, 0), "both ended in time");
    w.event(firing("web-1").began("10m")).at("11m").event(firing("web-2").began("11m")).at("12m");
    assert_eq!((w.opened(), w.incident().alerts.len()), (1, 2), "both contribute");
    w.event(resolved("web-1"));
    assert!(w.incident().state.is_open(), "web-2 is still down");
    w.event(resolved("web-2"));
    assert!(!w.incident().state.is_open());
    assert!(w.windows().is_empty());
}

#[test]
fn while_it_still_holds_a_further_match_is_one_of_the_open_incident() {
    let mut w = down_for_2m();
    w.event(firing("web-1")).at("2m").event(firing("web-1").severity(Severity::Critical)).at("5m");
    assert_eq!((w.opened(), w.incident().severity, w.incident().matched), (1, Severity::Critical, 2));
    w.event(resolved("web-1")).at("6m").event(firing("web-1").began("6m")).at("7m59s");
    assert!(!w.incident().state.is_open(), "it must hold again before it comes back");
    w.at("8m");
    assert_eq!((w.opened(), w.incident().state.is_open(), w.incident().reopen_count), (1, true, 1));
}

#[test]
fn recovery_that_does_not_stay_is_contradicted_at_once() {
    let held = DISK.replace("close_after: 1h", "close_after: 1h, hold: 5m");
    let mut w = World::new(lasting(&held, "full", "2m"));
    w.event(disk("web-1", 95)).at("2m").event(disk("web-1", 70)).at("3m").event(disk("web-1", 96)).at("8m");
    assert_eq!(w.steps(), "incident_opened, run_decided, evidence_seen, evidence_lost");
}

#[test]
fn a_restart_makes_no_difference() {
    let mut w = down_for_2m();
    w.event(firing("web-1")).at("1m").restart().at("2m").restart();
    assert_eq!((w.opened(), w.windows()), (1, vec!["holds"]));
    w.event(resolved("web-1"));
    assert!(w.windows().is_empty());
}

#[test]
fn an_outage_that_is_drained_at_once_decides_as_if_it_had_been_live() {
    let mut w = full_for_2m();
    let mut events = vec![("1m", disk("web-1", 95)), ("2m30s", disk("web-1", 60)), ("3m", disk("web-2", 95))];
    events.extend([("10m", disk("web-2", 96)), ("40m", disk("web-2", 60)), ("59m", disk("web-1", 99))]);
    w.at_once("1h").drain(events).at("1h");
    assert_eq!(w.opened(), 1, "web-2 only");
    assert_eq!(
        (w.incident().opened_at, w.incident().resolved_at),
        (super::world::t("5m"), Some(super::world::t("40m")))
    );
    w.at("61m");
    assert_eq!(w.opened(), 2);
}

#[test]
fn beyond_the_cap_the_window_that_changed_least_recently_gives_way_and_somebody_is_told() {
    let limits = Limits { windows: 2, ..Limits::default() };
    let mut w = World::within(lasting(PLAIN, "down", "2m"), limits);
    w.event(firing("web-1")).at("1s").event(firing("web-2")).at("2s").event(firing("web-3")).at("3s");
    assert_eq!((w.opened(), w.incident().rule.as_str(), w.windows().len()), (1, "too many windows", 2));
    w.event(firing("web-4")).at("10m");
    assert_eq!(w.opened(), 3, "web-3 and web-4, and one incident for all that gave way");
    assert!(w.pages()[0].starts_with("default"));
}

#[test]
fn a_rule_of_another_shape_begins_anew_and_a_renamed_one_goes_on() {
    let mut w = down_for_2m();
    w.event(firing("web-1")).at("1m").publish(lasting(PLAIN, "down", "3m"));
    assert!(w.windows().is_empty());

    let mut w = down_for_2m();
    let renamed = PLAIN.replace("rule: down", "rule: dead");
    let renamed = shaped(&lasting(&renamed, "dead", "2m"), |set| rule(set, "dead").formerly = vec!["down".into()]);
    w.event(firing("web-1")).at("1m").publish(renamed).at("2m");
    assert_eq!((w.opened(), w.incident().rule.as_str()), (1, "dead"));
    w.event(resolved("web-1"));
    assert!(!w.incident().state.is_open() && w.windows().is_empty());
}
