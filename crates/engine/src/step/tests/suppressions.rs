//! Facts about `suppress`: nobody is told and nothing is run for a while, and nothing is lost.

use paramedic_model::IncidentState as S;

use super::rules::set;
use super::world::{World, disk, firing, resolved};

const RULES: &str = "
  - rule: patching
    when: |
      event.type == \"disk\" && event.value == 1
    by: [event.type]
    about: = event.ci
    clear: |
      event.type == \"disk\" && event.value == 2
    suppress: { for: 30m, reason: it is being patched }
  - rule: down
    when: |
      event.type == \"down\"
    by: [event.ci]
    incident: { summary: \"{event.ci} is down\", reopen: 1h }
    remedy: [ { playbook: clean, verify: { within: 5m } } ]
    escalate: [ { at: open, to: desk }, { at: 10m, to: lead } ]
";

fn patched() -> World {
    let mut w = World::new(set("auto", RULES));
    w.event(disk("web-1", 1)).at("5m").event(firing("web-1"));
    w
}

#[test]
fn an_incident_is_opened_and_says_why_nobody_is_told() {
    let mut w = patched();
    assert_eq!(w.steps(), "incident_opened, suppressed");
    assert_eq!((w.pages().len(), w.runs().len()), (0, 0));
    assert!(w.last_rows(1)[0].reason.starts_with("it is being patched, until 2026"), "{:?}", w.last_rows(1));
    w.at("29m 59s");
    assert_eq!(w.steps(), "");
}

#[test]
fn when_it_is_over_what_is_still_open_is_told_and_tried_as_if_it_were_opened_then() {
    let mut w = patched();
    w.at("10m").restart().at("30m");
    assert_eq!(w.pages(), ["desk: nothing suppresses it any more"]);
    assert_eq!(w.runs(), ["clean pending"]);
    w.at("40m");
    assert_eq!(w.pages()[1], "lead: still open after 10m");
}

#[test]
fn a_resolve_is_never_held_back_and_what_is_over_is_not_told() {
    let mut w = patched();
    w.at("10m").event(resolved("web-1"));
    assert_eq!(w.incident().state, S::Resolved);
    w.at("2h");
    assert_eq!((w.pages().len(), w.runs().len()), (0, 0));
}

#[test]
fn another_ci_is_not_meant() {
    let mut w = patched();
    w.event(firing("web-2"));
    assert_eq!((w.pages().len(), w.runs().len()), (1, 1));
}

#[test]
fn its_own_clear_ends_it_and_another_match_prolongs_it() {
    let mut w = patched();
    w.at("10m").event(disk("web-1", 2));
    assert_eq!(w.pages(), ["desk: nothing suppresses it any more"]);
    let mut w = patched();
    w.at("20m").event(disk("web-1", 1)).at("49m 59s");
    assert_eq!(w.pages().len(), 0);
    w.at("50m");
    assert_eq!(w.pages().len(), 1);
}

#[test]
fn what_was_told_before_waits_with_what_is_due_meanwhile_and_what_is_under_way_goes_on() {
    let mut w = World::new(set("auto", RULES));
    w.event(firing("web-1")).at("5m").event(disk("web-1", 1)).at("34m 59s");
    assert_eq!((w.pages().len(), w.runs()), (1, vec!["clean pending".to_owned()]));
    w.at("35m");
    assert_eq!(w.pages()[1], "lead: still open after 10m");
}

#[test]
fn rules_without_it_end_it() {
    let mut w = patched();
    let without = format!("\n  - rule: down{}", RULES.split("  - rule: down").nth(1).unwrap());
    w.at("10m").publish(set("auto", &without));
    assert_eq!(w.pages(), ["desk: nothing suppresses it any more"]);
}

#[test]
fn under_observe_it_holds_nothing_back() {
    let rules = RULES.split("  - rule: down").next().unwrap();
    let down = format!("\n  - rule: down{}", RULES.split("  - rule: down").nth(1).unwrap());
    let mut w = World::new(super::rules::sets(&[("book", "auto", &down), ("watch", "observe", rules)]));
    w.event(disk("web-1", 1)).event(firing("web-1"));
    assert_eq!(w.pages().len(), 1);
}

#[test]
fn what_is_due_at_the_very_end_is_due_then() {
    // The delay of ten minutes was over in between, and was put off to the end.
    let mut w = World::new(set("auto", RULES));
    w.event(firing("web-1")).at("0s").event(disk("web-1", 1));
    w.at("30m");
    let mut told = w.pages();
    told.sort();
    assert_eq!(told, ["desk: it was opened", "lead: still open after 10m"]);
}
