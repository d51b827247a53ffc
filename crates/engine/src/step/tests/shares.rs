//! Facts about incidents whose key rules share.

use paramedic_model::{IncidentState as S, Level};

use super::rules::set;
use super::world::{World, disk, firing, resolved};

/// One rule that clears by its condition, one that clears by its alerts, and the same key.
const SHARED: &str = "
  - rule: full
    when: |
      event.type == \"disk\" && event.value >= 90
    by: [event.ci]
    clear: |
      event.type == \"disk\" && event.value < 80
    incident: { summary: \"{event.ci} is full\", key: [event.ci], impact: low, urgency: low }
    remedy: [ { playbook: clean, verify: { within: 5m } } ]
  - rule: down
    when: |
      event.type == \"down\"
    by: [event.ci]
    incident: { summary: \"{event.ci} is down\", key: [event.ci], impact: high, urgency: medium, assign: second }
";

fn both() -> World {
    let mut w = World::new(set("record", SHARED));
    w.event(disk("web-1", 95)).at("1m").event(firing("web-1"));
    assert_eq!((w.opened(), w.incident().summary.as_str()), (1, "web-1 is full"));
    w
}

#[test]
fn all_rules_of_a_key_contribute_to_one_incident() {
    let mut w = both();
    assert_eq!(
        w.steps(),
        "incident_opened, run_decided, rule_contributes, incident_raised, alert_joined",
        "one plan of remedies, and the higher impact and urgency"
    );
    let incident = w.incident();
    assert_eq!((incident.impact, incident.urgency), (Level::High, Level::Medium));
    assert_eq!(incident.assigned_to.as_deref(), Some("second"), "the first that names somebody");
    w.at("2m").event(disk("web-1", 96)).event(firing("web-1"));
    assert_eq!(w.steps(), "", "they contribute once");
}

#[test]
fn it_is_over_when_each_of_them_has_cleared_in_any_order() {
    let mut w = both();
    w.at("2m").event(disk("web-1", 10));
    assert_eq!(w.incident().state, S::New);
    w.at("3m").restart().event(resolved("web-1"));
    assert_eq!(w.incident().state, S::Resolved);

    let mut w = both();
    w.at("2m").event(resolved("web-1"));
    assert_eq!(w.incident().state, S::New, "the disk is still full");
    w.at("3m").event(disk("web-1", 10));
    assert_eq!(w.incident().state, S::Resolved);
}

#[test]
fn what_had_cleared_and_comes_back_holds_it_open_again() {
    let mut w = both();
    w.at("2m").event(disk("web-1", 10)).at("3m").event(disk("web-1", 97)).at("4m").event(resolved("web-1"));
    assert_eq!(w.incident().state, S::New);
    w.at("5m").event(disk("web-1", 10));
    assert_eq!(w.incident().state, S::Resolved);
}

#[test]
fn each_value_of_by_clears_for_itself() {
    let rules = SHARED.replace("key: [event.ci]", "key: [event.type]");
    let mut w = World::new(set("record", &rules));
    w.event(disk("web-1", 95)).event(disk("web-2", 95));
    assert_eq!(w.opened(), 1);
    w.at("1m").event(disk("web-2", 10));
    assert_eq!(w.incident().state, S::New);
    w.at("2m").event(disk("web-1", 10));
    assert_eq!(w.incident().state, S::Resolved);
}

#[test]
fn a_reopened_one_waits_for_those_that_came_back_only() {
    let mut w = both();
    w.at("2m").event(disk("web-1", 10)).event(resolved("web-1")).at("3m").event(disk("web-1", 95));
    assert_eq!((w.incident().state, w.incident().reopen_count), (S::InProgress, 1));
    w.at("4m").event(disk("web-1", 10));
    assert_eq!(w.incident().state, S::Resolved);
}

#[test]
fn a_rule_that_is_no_more_holds_nothing_open() {
    let mut w = World::new(set("record", SHARED));
    w.event(firing("web-1")).at("1m").event(disk("web-1", 95));
    let without = SHARED.split("  - rule: down").next().unwrap();
    // The incident keeps the rules that it was opened under: there the rule still is.
    w.publish(set("record", without)).at("2m").event(disk("web-1", 10));
    assert_eq!(w.incident().state, S::New);
    w.at("3m").event(resolved("web-1"));
    assert_eq!(w.incident().state, S::Resolved);
    // Opened by the one that stays, after the other came in under newer rules, and went with them.
    let only = set("record", without);
    let mut w = World::new(std::sync::Arc::clone(&only));
    w.event(disk("web-1", 95)).publish(set("record", SHARED)).at("1m").event(firing("web-1")).publish(only);
    w.at("2m").event(disk("web-1", 10));
    assert_eq!(w.incident().state, S::Resolved);
}

#[test]
fn one_that_comes_late_holds_it_open_all_the_same() {
    let rules = SHARED.replace("key: [event.ci], impact: low", "key: [event.ci], hold: 5m, impact: low");
    let mut w = World::new(set("record", &rules));
    w.event(disk("web-1", 95)).at("2m").event(disk("web-1", 10));
    assert!(w.incident().evidence.is_some());
    // Its own time is before the recovery of the other.
    w.at("3m").event(firing("web-1").time("1m")).at("20m");
    assert_eq!((w.incident().state, w.incident().evidence.is_some()), (S::New, false));
    w.at("21m").event(resolved("web-1")).at("26m");
    assert_eq!(w.incident().state, S::Resolved);
}

#[test]
fn each_clears_by_its_own_clock() {
    let mut w = both();
    // The alert goes by a clock that is ahead.
    w.at("2m").event(firing("web-1").began("2m").time("2m"));
    w.event(disk("web-1", 10).time("90s")).event(resolved("web-1").time("3m"));
    assert_eq!(w.incident().state, S::Resolved);
}

#[test]
fn what_shows_one_remedys_success_is_no_clear_of_another_rule() {
    let rules = SHARED.replace(
        "key: [event.ci], impact: high, urgency: medium, assign: second }",
        "key: [event.ci], impact: high }\n    remedy: [ { playbook: clean, verify: { within: 5m, when: event.type == \"disk\" && event.value < 85 } } ]",
    );
    let mut w = World::new(set(
        "auto",
        &rules
            .replace(
                "verify: { within: 5m, when: event.type",
                "verify:\n          within: 5m\n          when: event.type",
            )
            .replace("< 85 } } ]", "< 85")
            .replace("remedy: [ { playbook: clean, verify:\n", "remedy:\n      - playbook: clean\n        verify:\n"),
    ));
    w.event(disk("web-1", 95)).at("1m").event(firing("web-1"));
    w.at("2m").report(paramedic_model::RunState::Started).at("3m").event(disk("web-1", 82));
    assert_eq!(w.incident().state, S::InProgress);
    assert!(w.incident().shares.iter().all(|share| !share.cleared), "{:?}", w.incident().shares);
}
