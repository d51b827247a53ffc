//! Facts about the life of an incident, remedies aside.

use paramedic_model::{CloseCode, IncidentState as S, Level, OperatorAct, Severity};

use super::rules::{DISK, PLAIN, set};
use super::world::{World, disk, firing, resolved, t};

const KEPT: &str = "
  - rule: down
    when: |
      event.type == \"down\"
    incident: { summary: x, reopen: 10m, hold: 30s, close_after: 1h, urgency: low }
";

#[test]
fn a_higher_severity_raises_and_a_lower_one_never_lowers() {
    let mut w = World::new(set("record", PLAIN));
    w.event(firing("web-1").severity(Severity::Warning));
    assert_eq!((w.incident().urgency, w.incident().priority()), (Level::Low, 4));
    w.event(firing("web-1").severity(Severity::Critical)).event(firing("web-1").severity(Severity::Info));
    assert_eq!((w.incident().severity, w.incident().urgency), (Severity::Critical, Level::High));
    assert_eq!(w.incident().priority(), 2);
}

#[test]
fn what_returns_within_reopen_reopens_and_what_is_worse_raises() {
    let mut w = World::new(set("record", KEPT));
    w.event(firing("web-1")).at("1m").event(resolved("web-1")).at("90s").steps();
    w.at("11m 30s").event(firing("web-1").severity(Severity::Critical));
    assert_eq!(w.steps(), "-> in_progress, incident_raised");
    assert_eq!((w.opened(), w.incident().reopen_count, w.incident().severity), (1, 1, Severity::Critical));
    assert_eq!((w.incident().close_code, w.incident().resolved_at), (None, None));
}

#[test]
fn what_returns_later_opens_a_new_one() {
    let mut w = World::new(set("record", KEPT));
    w.event(firing("web-1")).at("1m").event(resolved("web-1")).at("90s");
    w.at("12m").event(firing("web-1"));
    assert_eq!(w.opened(), 2);
    assert_eq!((w.nth(0).state, w.nth(1).state), (S::Resolved, S::New));
    w.at("13m").event(resolved("web-1")).at("14m").event(firing("web-1"));
    assert_eq!((w.opened(), w.nth(1).reopen_count), (2, 1));
}

#[test]
fn with_reopen_zero_every_occurrence_is_an_incident() {
    let mut w = World::new(set("record", &KEPT.replace("reopen: 10m", "reopen: 0s")));
    w.event(firing("web-1")).at("1m").event(resolved("web-1")).at("90s").event(firing("web-1"));
    assert_eq!((w.opened(), w.nth(0).state, w.nth(1).state), (2, S::Resolved, S::New));
}

#[test]
fn without_a_clear_it_ends_with_its_last_alert() {
    let mut w = World::new(set(
        "record",
        "
  - rule: down
    when: |
      event.type == \"down\"
    by: [event.ci]
    incident: { summary: x }
",
    ));
    w.event(firing("web-1").key("a")).event(firing("web-1").key("b"));
    assert_eq!(w.steps(), "incident_opened, alert_joined");
    w.at("1m").event(resolved("web-1").key("a"));
    assert_eq!(w.incident().state, S::New);
    w.at("2m").event(resolved("web-1").key("b"));
    assert_eq!((w.opened(), w.incident().state), (1, S::Resolved));
}

#[test]
fn an_explicit_clear_ends_it_and_an_older_sample_does_not() {
    let mut w = World::new(set("record", DISK));
    w.at("1m").event(disk("web-1", 95)).event(disk("web-1", 50).time("59s"));
    assert_eq!(w.incident().state, S::New);
    w.at("2m").event(disk("web-1", 85));
    assert_eq!(w.incident().state, S::New);
    w.event(disk("web-1", 79));
    assert_eq!((w.incident().state, w.incident().close_code), (S::Resolved, Some(CloseCode::NoResolutionProvided)));
    assert_eq!(w.live().alerts.values().next().unwrap().closed, Some(t("2m")));
}

#[test]
fn recovery_must_stay_for_the_hold() {
    let mut w = World::new(set("record", KEPT));
    w.event(firing("web-1")).at("1m").event(resolved("web-1"));
    assert_eq!(w.steps(), "incident_opened, evidence_seen");
    w.at("89s");
    assert_eq!(w.incident().state, S::New);
    w.at("90s");
    assert_eq!(w.incident().state, S::Resolved);
    assert_eq!(w.incident().evidence.as_ref().unwrap().time, t("1m"));
}

#[test]
fn recovery_that_does_not_stay_is_lost_and_the_hold_begins_again() {
    let mut w = World::new(set("record", KEPT));
    w.event(firing("web-1")).at("1m").event(resolved("web-1")).at("70s").event(firing("web-1"));
    assert_eq!(w.steps(), "incident_opened, evidence_seen, evidence_lost");
    w.at("80s").event(resolved("web-1")).at("109s");
    assert_eq!(w.incident().state, S::New);
    w.at("110s");
    assert_eq!(w.incident().state, S::Resolved);
}

#[test]
fn a_resolved_one_closes_itself_and_is_forgotten() {
    let mut w = World::new(set("record", KEPT));
    w.event(firing("web-1")).at("1m").event(resolved("web-1")).at("61m 29s");
    assert_eq!(w.incident().state, S::Resolved);
    w.at("61m 30s");
    assert_eq!((w.incident().state, w.incident().close_code), (S::Closed, Some(CloseCode::NoResolutionProvided)));
    let state = w.live();
    assert!(state.incidents.is_empty() && state.by_key.is_empty() && state.timers.is_empty() && state.due.is_empty());
}

#[test]
fn under_observe_it_is_a_shadow_and_nothing_leaves() {
    let rules = format!("{DISK}      - {{ at: open, to: team }}\n");
    let mut w = World::new(set("observe", &rules));
    w.event(disk("web-1", 95));
    assert!(w.incident().shadow && w.store.scopes["default"].pages[0].shadow);
    assert_eq!((w.runs(), w.outbox()), (vec!["clean would_be".to_owned()], 0));
    let loud = set("auto", &rules);
    w.publish(loud).at("1m").event(disk("web-1", 96));
    assert_eq!((w.opened(), w.incident().shadow), (2, false), "a shadow claims nothing");
}

#[test]
fn beyond_the_cap_there_is_one_umbrella_incident() {
    let mut w = World::limited(set("record", PLAIN), 2);
    w.event(firing("a")).event(firing("b")).steps();
    w.event(firing("c")).event(firing("d"));
    assert!(w.marks().matches("too many open incidents").count() == 2);
    assert_eq!((w.opened(), w.incident().rule.as_str()), (3, "too many open incidents"));
    assert_eq!(
        w.incident().summary,
        "More than 2 incidents are open in scope default: further ones are counted, not opened"
    );
    assert_eq!(w.pages(), ["default: the cap on open incidents"], "nothing is silent");
    w.event(firing("a").began("1h")).resolve().at("1m").event(firing("e"));
    assert_eq!(w.opened(), 4);
}

#[test]
fn an_alert_beyond_the_cap_is_not_kept_and_opens_when_it_is_sent_again_and_there_is_room() {
    let mut w = World::limited(set("record", PLAIN), 2);
    w.event(firing("a")).event(firing("b")).event(firing("c")).event(firing("c"));
    assert_eq!((w.opened(), w.live().alerts.len()), (3, 2));
    let incident = w.nth(0).id;
    w.resolve();
    w.act(OperatorAct::Resolve { incident, code: CloseCode::UserError, notes: "by hand".into() });
    w.at("1m").event(firing("c"));
    assert_eq!((w.opened(), w.live().alerts.len()), (4, 3));
}

#[test]
fn resolved_incidents_are_kept_up_to_twice_the_cap() {
    let mut w = World::limited(set("record", PLAIN), 2);
    for ci in ["a", "b", "c", "d"] {
        w.event(firing(ci)).resolve();
    }
    assert_eq!((w.opened(), w.live().open), (4, 0));
    w.event(firing("e"));
    assert_eq!((w.opened(), w.incident().rule.as_str()), (5, "too many open incidents"));
    assert_eq!(
        w.incident().summary,
        "More than 4 incidents are open or resolved in scope default: further ones are counted, not opened"
    );
}

#[test]
fn incidents_keep_the_rules_that_they_were_opened_under() {
    let mut w = World::new(set("record", DISK));
    w.event(disk("web-1", 95));
    let changed = set("record", &DISK.replace("event.value < 80", "event.value < 20").replace("disk of", "volume of"));
    w.publish(changed).event(disk("web-2", 95));
    assert_eq!((w.nth(0).summary.as_str(), w.nth(1).summary.as_str()), ("disk of web-1", "volume of web-2"));
    w.at("1m").event(disk("web-2", 79)).event(disk("web-1", 79));
    assert_eq!((w.nth(0).state, w.nth(1).state), (S::Resolved, S::New), "each by its own clear");
    w.at("2m").event(disk("web-2", 19));
    assert_eq!(w.nth(1).state, S::Resolved);
}

#[test]
fn a_rule_that_was_removed_still_ends_its_incidents() {
    let mut w = World::new(set("record", DISK));
    w.event(disk("web-1", 95)).publish(set("record", PLAIN)).at("1m").event(disk("web-1", 10));
    assert_eq!(w.incident().state, S::Resolved);
}
