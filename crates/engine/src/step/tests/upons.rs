//! `upon`: a record's step is an input too.

use paramedic_model::{CmdbDelta, InboxBody, RunState};

use super::rules::{PLAIN, set};
use super::world::{SCOPE, World, disk, firing, resolved, server};

fn with(more: &str) -> String {
    format!("{PLAIN}{more}")
}

#[test]
fn an_incident_that_opens_resolves_or_reopens_is_told() {
    let rules = with(
        "
  - rule: opened
    upon: incident.opened
    when: incident.rule == \"down\" && incident.priority <= 4
    notify: { to: desk, summary: \"new: {incident.summary}\" }
  - rule: resolved
    upon: incident.resolved
    notify: { to: desk, summary: \"over: {incident.summary}\" }
  - rule: reopened
    upon: incident.reopened
    notify: { to: desk, summary: \"again: {incident.summary}\" }
  - rule: closed
    upon: incident.closed
    notify: { to: desk, summary: \"closed: {incident.summary}\" }
",
    );
    let mut w = World::new(set("record", &rules));
    w.event(firing("web-1")).at("1m").event(resolved("web-1")).at("2m").event(firing("web-1").began("2m"));
    assert_eq!(w.pages(), ["desk: new: web-1 is down", "desk: over: web-1 is down", "desk: again: web-1 is down"]);
    w.event(resolved("web-1")).at("3d");
    assert_eq!(w.pages()[4], "desk: closed: web-1 is down");
}

#[test]
fn many_incidents_are_one_of_their_own() {
    let rules = with(
        "
  - rule: many
    upon: incident.opened
    when: incident.rule == \"down\"
    by: [incident.rule]
    count: { at_least: 3, within: 5m, distinct: { incident.about: 3 } }
    incident: { summary: many are down }
",
    );
    let mut w = World::new(set("record", &rules));
    w.event(firing("web-1")).event(firing("web-2")).at("4m").restart().event(firing("web-3"));
    assert_eq!((w.opened(), w.incident().summary.as_str()), (4, "many are down"));
}

#[test]
fn what_became_of_a_run_is_an_input() {
    let rules = "
  - rule: full
    when: |
      event.type == \"disk\"
    by: [event.ci]
    incident: { summary: full }
    remedy:
      - { playbook: clean, with: { mount: /var }, verify: { within: 1m } }
  - rule: failed
    upon: run.failed
    when: run.playbook == \"clean\"
    notify: { to: desk, summary: \"{run.playbook} failed on {run.target.name}\" }
";
    let mut w = World::new(set("auto", rules));
    w.event(disk("web-1", 91)).report(RunState::Started).report(RunState::Failed);
    assert_eq!(w.pages(), ["desk: clean failed on web-1"]);
}

#[test]
fn a_ci_that_changes_and_an_alert_that_opens_are_inputs() {
    let rules = with(
        "
  - rule: changed
    upon: ci.changed
    when: ci.environment == \"production\"
    notify: { to: desk, summary: \"{ci.name} has changed\" }
  - rule: alert
    upon: alert.opened
    notify: { to: desk, summary: \"an alert\" }
",
    );
    let mut w = World::new(set("record", &rules));
    let mut ci = server(SCOPE, "web-1");
    w.inbox(InboxBody::Cmdb(CmdbDelta { by: "ann".into(), cis: vec![ci.clone()], relations: vec![] }));
    assert!(w.pages().is_empty(), "it is in test");
    ci.environment = Some("production".into());
    w.inbox(InboxBody::Cmdb(CmdbDelta { by: "ann".into(), cis: vec![ci], relations: vec![] }));
    assert_eq!(w.pages(), ["desk: web-1 has changed"]);
    w.event(firing("web-2"));
    assert_eq!(w.pages().len(), 2);
}

#[test]
fn rules_that_trigger_each_other_are_cut_and_somebody_is_told() {
    let rules = with(
        "
  - rule: echo
    upon: incident.opened
    by: [incident.id]
    incident: { summary: echo }
",
    );
    let mut w = World::new(set("record", &rules));
    w.event(firing("web-1"));
    let own = w.incident();
    assert_eq!((w.opened(), own.rule.as_str()), (10, "rules that trigger each other"));
    assert_eq!(w.pages().len(), 1);
    w.event(firing("web-2"));
    assert_eq!(w.opened(), 19, "one such incident is enough");
}

#[test]
fn what_only_would_have_been_is_no_cause_of_what_is() {
    let echo = "
  - rule: echo
    upon: incident.opened
    when: incident.rule == \"down\"
    by: [incident.id]
    incident: { summary: echo }
";
    let mut w = World::new(super::rules::sets(&[("a", "observe", PLAIN), ("b", "record", echo)]));
    w.event(firing("web-1"));
    assert_eq!(w.opened(), 1);
}

/// The desk is told ten minutes after a step, if that is still so.
fn still(step: &str, record: &str) -> World {
    let rules = with(&format!(
        "
  - rule: still
    upon: {step}
    for: 10m
    notify: {{ to: desk, summary: \"still: {{{record}}}\" }}
"
    ));
    World::new(set("record", &rules))
}

#[test]
fn an_incident_that_stays_open_is_told_and_one_that_was_resolved_meanwhile_is_not() {
    let mut w = still("incident.opened", "incident.summary");
    w.event(firing("web-1")).event(firing("web-2")).at("9m").event(resolved("web-2")).restart().at("9m 59s");
    assert_eq!(w.pages(), [""; 0]);
    w.at("10m");
    assert_eq!(w.pages(), ["desk: still: web-1 is down"]);
}

#[test]
fn an_incident_that_came_back_meanwhile_did_not_stay_open() {
    let mut w = still("incident.opened", "incident.summary");
    w.event(firing("web-1")).at("1m").event(resolved("web-1")).at("2m").event(firing("web-1").began("2m")).at("1h");
    assert_eq!((w.opened(), w.pages().len()), (1, 0));
}

#[test]
fn an_incident_that_stays_resolved_is_told_and_one_that_reopens_is_not() {
    let mut w = still("incident.resolved", "incident.summary");
    w.event(firing("web-1")).event(firing("web-2")).at("1m").event(resolved("web-1")).event(resolved("web-2"));
    w.at("5m").event(firing("web-2").began("5m")).at("11m");
    assert_eq!(w.pages(), ["desk: still: web-1 is down"]);
}

#[test]
fn an_alert_that_stays_open_is_told_and_one_that_ended_or_began_anew_is_not() {
    let mut w = still("alert.opened", "alert.type");
    w.event(firing("web-1"))
        .at("1m")
        .event(resolved("web-1"))
        .at("2m")
        .event(firing("web-1").began("2m"))
        .at("11m 59s");
    assert_eq!(w.pages().len(), 0);
    w.at("12m");
    assert_eq!(w.pages().len(), 1, "the second time counts from its own beginning");
}

#[test]
fn an_alert_that_stays_resolved_is_told() {
    let mut w = still("alert.resolved", "alert.type");
    w.event(firing("web-1")).event(firing("web-2")).at("1m").event(resolved("web-1")).event(resolved("web-2"));
    w.at("10m").event(firing("web-2").began("10m")).at("11m");
    assert_eq!(w.pages().len(), 1);
}

#[test]
fn once_it_was_told_nothing_of_it_is_kept() {
    let mut w = still("incident.opened", "incident.summary");
    w.event(firing("web-1")).at("10m");
    assert_eq!((w.pages().len(), w.windows().len()), (1, 0));
}

#[test]
fn an_incident_that_was_closed_has_stayed_resolved() {
    let mut w = World::new(set(
        "record",
        &with(
            "
  - rule: still
    upon: incident.resolved
    for: 7d
    notify: { to: desk, summary: still }
",
        ),
    ));
    w.event(firing("web-1")).at("1m").event(resolved("web-1")).at("8d");
    assert_eq!(w.pages(), ["desk: still"]);
}
