//! What rules do besides incidents, and what they ask first.

use std::sync::Arc;

use super::rules::{PLAIN, set, sets};
use super::world::{SCOPE, World, disk, firing, resolved, server};
use paramedic_model::{CmdbDelta, InboxBody, Relation};

const TOLD: &str = "
  - rule: told
    when: |
      event.type == \"disk\" && event.value >= 90
    by: [event.ci]
    once: 10m
    clear: |
      event.type == \"disk\" && event.value < 80
    notify: { to: team, summary: \"{event.ci} has {event.value} %\" }
";

#[test]
fn somebody_is_told_once_in_a_while_and_again_after_it_was_cleared() {
    let mut w = World::new(set("record", TOLD));
    w.event(disk("web-1", 91)).at("1m").event(disk("web-1", 92)).event(disk("web-2", 93));
    assert_eq!(w.pages(), ["team: web-1 has 91 %", "team: web-2 has 93 %"]);
    assert!(w.marks().contains("held back by `once`"));
    assert_eq!((w.opened(), w.outbox()), (0, 2));
    w.restart().at("10m").event(disk("web-1", 94));
    assert_eq!(w.pages().len(), 3, "the time is over");
    w.event(disk("web-1", 70)).event(disk("web-1", 95));
    assert_eq!(w.pages().len(), 4, "it was cleared");
    w.at("11m").event(disk("web-2", 99)).event(disk("web-1", 99));
    assert_eq!(w.pages().len(), 5);
}

#[test]
fn once_does_not_keep_an_incident_from_opening_again() {
    let rules = TOLD.replace("    notify:", "    incident: { summary: full, reopen: 0s }\n    notify:");
    let mut w = World::new(set("record", &rules));
    w.event(disk("web-1", 91)).resolve().event(disk("web-1", 92));
    assert_eq!((w.opened(), w.pages().len()), (2, 1));
}

#[test]
fn an_alert_is_told_once_an_occurrence_whatever_its_repeats() {
    let rules = PLAIN.replace(
        "incident: { summary: \"{event.ci} is down\", impact: medium }",
        "notify: { to: team, summary: down }",
    );
    let mut w = World::new(set("record", &rules));
    w.event(firing("web-1")).event(firing("web-1")).event(firing("web-1").id("a")).event(firing("web-1").id("a"));
    assert_eq!(w.pages().len(), 1);
    w.event(resolved("web-1")).at("1m").event(firing("web-1").began("1m"));
    assert_eq!(w.pages().len(), 2);
}

#[test]
fn what_only_observes_tells_nobody() {
    let mut w = World::new(set("observe", TOLD));
    w.event(disk("web-1", 91));
    assert_eq!((w.pages().len(), w.outbox()), (1, 0));
}

#[test]
fn a_rule_resolves_what_another_opened_for_the_same_thing() {
    let rules = "
  - rule: full
    when: |
      event.type == \"disk\" && event.value >= 90
    by: [event.ci]
    incident: { summary: full }
  - rule: cleaned
    when: |
      event.type == \"disk\" && event.value == 0
    by: [event.ci]
    resolve: { rule: full, notes: \"{event.ci} was wiped\" }
";
    let mut w = World::new(set("record", rules));
    w.event(disk("web-1", 91)).event(disk("web-2", 0));
    assert!(w.incident().state.is_open());
    w.event(disk("web-1", 0));
    assert_eq!(w.incident().close_notes.as_deref(), Some("web-1 was wiped"));
}

#[test]
fn a_rule_writes_to_the_ci_with_who_says_so() {
    let rules = "
  - rule: seen
    when: |
      event.type == \"disk\"
    by: [event.ci]
    ci: { attributes: { fill: = event.value, watched: true } }
";
    let mut w = World::new(set("record", rules));
    w.event(disk("web-1", 91)).event(disk("web-1", 91)).event(disk("nowhere", 1));
    let fill = &w.ci("web-1").attributes["fill"];
    assert_eq!((&fill.value, fill.source.starts_with("book/seen@")), (&91.into(), true));
    assert_eq!(w.live().head.last_seq, 2, "what is so already is not written again");
}

#[test]
fn a_script_tells_or_does_nothing_at_all() {
    let rules = "
  - rule: told
    when: |
      event.type == \"disk\"
    by: [event.ci]
    then: |
      notify(\"team\", `${event.ci} at ${event.value}`);
      if event.value > 90 { notify(\"boss\", \"soon\"); }
      if event.value > 98 { throw \"no\"; }
";
    let mut w = World::new(set("record", rules));
    w.event(disk("web-1", 95));
    assert_eq!(w.pages(), ["team: web-1 at 95", "boss: soon"]);
    w.event(disk("web-1", 99));
    assert_eq!(w.pages().len(), 2);
    assert!(w.marks().contains("`then` failed"));
}

#[test]
fn only_if_is_asked_when_it_would_open_and_not_when_it_goes_on() {
    let rules = PLAIN.replace("    incident:", "    only_if: about.criticality == 1\n    incident:");
    let mut w = World::new(set("record", &rules));
    w.event(firing("web-1")).event(firing("unknown"));
    assert_eq!((w.opened(), w.marks().contains("not wanted: only_if")), (0, true));
    let mut vital = server(SCOPE, "web-2");
    vital.criticality = Some(1);
    w.inbox(InboxBody::Cmdb(CmdbDelta { by: "ann".into(), cis: vec![vital], relations: vec![] }));
    w.event(firing("web-2"));
    assert_eq!(w.opened(), 1);
}

#[test]
fn a_remedy_that_is_not_wanted_makes_way() {
    let rules = "
  - rule: full
    when: |
      event.type == \"disk\"
    by: [event.ci]
    incident: { summary: full }
    remedy:
      - { playbook: clean, only_if: event.value > 95, with: { mount: /var }, verify: { within: 1m } }
      - { playbook: grow, only_if: has(open_incident(about)), verify: { within: 1m } }
";
    let mut w = World::new(set("auto", rules));
    w.event(disk("web-1", 91));
    assert_eq!(w.runs(), ["grow pending"]);
    w.event(disk("web-2", 99));
    assert_eq!(w.runs().iter().filter(|r| *r == "clean pending").count(), 1);
}

#[test]
fn a_fallback_takes_what_no_other_claims() {
    let rules = "
  - rule: a rest
    fallback: true
    when: |
      event.type == \"disk\"
    by: [event.ci]
    incident: { summary: rest }
  - rule: big
    when: |
      event.type == \"disk\" && event.value >= 90
    by: [event.ci]
    incident: { summary: big }
";
    let mut w = World::new(set("record", rules));
    w.event(disk("web-1", 95));
    assert_eq!((w.opened(), w.incident().rule.as_str()), (1, "big"));
    w.event(disk("web-2", 50));
    assert_eq!((w.opened(), w.incident().rule.as_str()), (2, "a rest"));
    let only_watches = rules.replace("a rest", "rest");
    let (rest, big) = only_watches.split_at(only_watches.find("  - rule: big").unwrap());
    let mut w = World::new(sets(&[("a", "observe", big), ("b", "record", rest)]));
    w.event(disk("web-1", 95));
    assert_eq!(w.opened(), 2, "who only observes claims nothing");
}

#[test]
fn it_is_about_the_one_ci_that_is_named_or_related() {
    let named = "
  - rule: full
    when: |
      event.type == \"disk\"
    by: [event.ci]
    about: { class: server, name: = event.labels.site }
    incident: { summary: full }
";
    let mut w = World::new(set("record", named));
    w.event(disk("web-1", 91).label("site", "web-2"));
    assert_eq!(w.incident().about.as_deref(), Some("web-2"));
    w.event(disk("web-2", 91).label("site", "none"));
    assert_eq!(w.incident().ci, None, "none is picked");
    assert!(
        w.last_rows(1)[0].reason.contains("no server is named")
            || w.last_rows(2)[0].reason.contains("no server is named")
    );

    let related =
        named.replace("{ class: server, name: = event.labels.site }", "{ related: about, relation: depends_on }");
    let mut w = World::new(set("record", &related));
    let (one, two) = (server(SCOPE, "web-1"), server(SCOPE, "web-2"));
    let relations = vec![Relation { from: one.id, kind: "depends_on".into(), to: two.id }];
    w.inbox(InboxBody::Cmdb(CmdbDelta { by: "ann".into(), cis: vec![], relations }));
    w.event(disk("web-1", 91));
    assert_eq!(w.incident().about.as_deref(), Some("web-2"));
}

#[test]
fn a_renamed_rule_goes_on_with_the_incident_of_its_earlier_name() {
    let mut w = World::new(set("record", PLAIN));
    w.event(firing("web-1"));
    let renamed = PLAIN.replace("rule: down", "rule: dead\n    formerly: [down]");
    let renamed: Arc<_> = set("record", &renamed);
    w.publish(renamed).at("1m").event(firing("web-1").began("1m"));
    assert_eq!((w.opened(), w.incident().matched), (1, 2));
}
