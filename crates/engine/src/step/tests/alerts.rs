//! Facts about events, alerts and their occurrences.

use paramedic_model::{CloseCode, IncidentState as S, Severity};

use super::rules::{DISK, PLAIN, set};
use super::world::{World, disk, firing, resolved, t};

fn plain() -> World {
    World::new(set("record", PLAIN))
}

#[test]
fn an_incident_opens_once_per_key_and_counts_further_matches() {
    let mut w = World::new(set("record", DISK));
    w.event(disk("web-1", 95));
    assert_eq!(w.steps(), "incident_opened, run_decided");
    w.event(disk("web-1", 96)).event(disk("web-1", 97));
    assert_eq!(w.steps(), "");
    assert_eq!((w.opened(), w.incident().matched), (1, 3));
    w.event(disk("web-2", 95));
    assert_eq!(w.opened(), 2);
}

#[test]
fn a_known_id_does_nothing_but_count() {
    let mut w = plain();
    w.event(firing("web-1").id("x")).steps();
    w.at("5s").event(firing("web-1").id("x").began("4s").severity(Severity::Critical));
    assert_eq!(w.marks(), "seen, repeat");
    let (incident, alert) = (w.incident().clone(), w.live().alerts.values().next().unwrap());
    assert_eq!((incident.matched, incident.severity), (1, Severity::Minor));
    assert_eq!((alert.repeats, alert.last_seen), (1, t("5s")));
}

#[test]
fn the_same_status_about_an_open_occurrence_is_a_repeat() {
    let mut w = plain();
    w.event(firing("web-1")).steps();
    w.at("1m").event(firing("web-1")).event(firing("web-1").began("0s"));
    assert_eq!(w.marks(), "seen, repeat, seen, repeat");
    assert_eq!(w.incident().matched, 1);
}

#[test]
fn a_metric_sample_is_never_a_repeat_by_status() {
    let mut w = World::new(set("record", DISK));
    w.event(disk("web-1", 95)).event(disk("web-1", 95));
    assert_eq!(w.incident().matched, 2);
    assert_eq!(w.live().alerts.values().next().unwrap().repeats, 0);
}

#[test]
fn a_new_occurrence_of_an_open_alert_joins() {
    let mut w = plain();
    w.event(firing("web-1").began("0s").severity(Severity::Major)).event(firing("web-1").began("0s")).steps();
    w.at("1m").event(firing("web-1").began("1m"));
    assert_eq!(w.steps(), "");
    let alert = w.live().alerts.values().next().unwrap();
    assert_eq!((w.incident().matched, alert.began, alert.repeats), (2, t("1m"), 0));
    assert_eq!((alert.severity, w.incident().severity), (Severity::Minor, Severity::Major));
    w.at("2m").event(resolved("web-1").time("30s"));
    assert_eq!(w.marks(), "seen, resolve of an earlier occurrence");
}

#[test]
fn a_late_firing_opens_nothing() {
    let mut w = plain();
    w.event(firing("web-1")).at("1m").event(resolved("web-1")).at("2m").steps();
    w.event(firing("web-1").began("59s"));
    assert_eq!(w.marks(), "seen, late firing");
    assert_eq!((w.opened(), w.incident().state), (1, S::Resolved));
    w.event(firing("web-1").began("1m"));
    assert_eq!(w.steps(), "-> in_progress");
}

#[test]
fn a_resolve_ahead_of_its_firing_meets_it() {
    let mut w = plain();
    w.at("10s").event(resolved("web-1")).at("70s").event(firing("web-1").began("5s"));
    assert_eq!(w.steps(), "incident_opened, -> resolved");
    assert_eq!(w.live().alerts.values().next().unwrap().closed, Some(t("10s")));
    assert!(w.live().parked.is_empty());
}

#[test]
fn a_parked_resolve_waits_sixty_seconds_and_no_longer() {
    let mut w = plain();
    w.at("10s").event(resolved("web-1")).at("71s").event(firing("web-1").began("5s"));
    assert_eq!(w.steps(), "incident_opened");
}

#[test]
fn a_parked_resolve_never_meets_another_occurrence() {
    let mut w = plain();
    w.at("10s").event(resolved("web-1")).at("20s").event(firing("web-1").began("11s"));
    assert_eq!(w.steps(), "incident_opened");
    assert_eq!(w.incident().state, S::New);
}

#[test]
fn of_two_parked_resolves_the_later_one_counts_in_whatever_order_they_come() {
    let mut w = plain();
    w.at("10s").event(resolved("web-1").time("9s")).event(resolved("web-1").time("3s"));
    w.event(firing("web-1").began("5s"));
    assert_eq!(w.incident().state, S::Resolved);
}

#[test]
fn a_resolve_closes_only_what_began_by_its_time() {
    let mut w = plain();
    w.at("1m").event(firing("web-1")).at("2m").event(resolved("web-1").time("59s"));
    assert_eq!(w.incident().state, S::New);
    w.event(resolved("web-1").time("1m"));
    assert_eq!((w.incident().state, w.incident().close_code), (S::Resolved, Some(CloseCode::NoResolutionProvided)));
}

#[test]
fn a_repeat_about_an_ended_alert_does_not_forget_the_next_occurrence() {
    let mut w = plain();
    w.event(firing("web-1").id("a")).at("1m").event(resolved("web-1").id("b"));
    w.at("2m").event(resolved("web-1").id("b")).at("3m").event(firing("web-1"));
    w.at("25h").event(firing("web-2"));
    assert!(w.live().alerts.values().any(|a| a.is_open() && &*a.key.dedup_key == "down/web-1"));
}

#[test]
fn ended_alerts_and_ids_are_forgotten_after_a_day() {
    let mut w = plain();
    w.event(firing("web-1")).at("1m").event(resolved("web-1")).at("26h").event(firing("web-2"));
    assert_eq!((w.live().alerts.len(), w.live().seen.len()), (1, 1));
}

#[test]
fn an_id_that_keeps_coming_stays_known() {
    let mut w = plain();
    w.event(firing("web-1").id("x")).at("20h").event(firing("web-1").id("x")).at("40h").steps();
    w.event(firing("web-1").id("x").began("39h"));
    assert_eq!(w.marks(), "seen, repeat");
}

#[test]
fn a_resolve_without_labels_is_joined_to_its_alert() {
    let mut w = World::new(set(
        "record",
        "
  - rule: down
    when: |
      event.type == \"down\"
    by: [event.ci]
    clear: |
      event.type == \"down\" && event.status == \"resolved\" && event.ci == \"web-1\"
    incident: { summary: x }
",
    ));
    w.event(firing("web-1").key("k"));
    w.event(resolved("web-1").key("k").bare());
    assert_eq!(w.incident().state, S::Resolved);
}
