//! Events of rules to topics, and notes of their scripts.

use paramedic_model::{CmdbDelta, Emit, EmitReport, HistoryRow, InboxBody, Order};
use serde_json::{Value, json};

use super::rules::{PLAIN, set, sets};
use super::world::{SCOPE, World, disk, firing, t};

const EMITS: &str = "
  - rule: told
    when: |
      event.type == \"disk\" && event.value >= 90
    by: [event.ci]
    once: 10m
    clear: |
      event.type == \"disk\" && event.value < 80
    emit:
      topic: derived
      type: disk.full
      severity: major
      value: = event.value
      summary: \"{event.ci} is full\"
      labels: { site: = event.labels.site, percent: = event.value, gone: = event.labels.none, why: NO }
";

impl World {
    /// Events that are to leave.
    fn sent(&self) -> Vec<&Emit> {
        let rows = self.store.scopes[SCOPE].outbox.iter();
        rows.filter_map(|row| if let Order::Emit(emit) = &row.order { Some(emit) } else { None }).collect()
    }

    fn rows_of(&self, step: &str) -> Vec<&HistoryRow> {
        self.store.scopes[SCOPE].history.iter().filter(|row| row.step == step).collect()
    }

    fn notes(&self) -> Vec<&str> {
        self.rows_of("noted").into_iter().map(|row| row.reason.as_str()).collect()
    }
}

#[test]
fn a_rule_sends_an_event_whose_values_are_values_and_whose_texts_are_texts() {
    let mut w = World::new(set("auto", EMITS));
    w.event(disk("web-1", 91).label("site", "fra"));
    let [emit] = w.sent()[..] else { panic!("{:?}", w.sent()) };
    let event = json!({
        "type": "disk.full", "severity": "major", "value": 91, "summary": "{event.ci} is full", "ci": "web-1",
        "labels": {"site": "fra", "percent": "91", "why": "NO"}, "time": t("0s"),
    });
    assert_eq!(Value::Object(emit.event.clone()), event);
    assert_eq!((emit.topic.as_str(), emit.key.as_str(), emit.shadow), ("derived", SCOPE, false));
    assert_eq!(emit.about.as_ref().map(|t| t.class.as_str()), Some("server"));
    assert_eq!(w.store.scopes[SCOPE].outbox[0].key, emit.key("test"));
}

#[test]
fn once_limits_it_and_a_restart_makes_no_difference() {
    let mut w = World::new(set("auto", EMITS));
    w.event(disk("web-1", 91)).restart().at("1m").event(disk("web-1", 92)).event(disk("web-2", 93));
    assert_eq!(w.sent().len(), 2);
    assert!(w.marks().contains("held back by `once`"));
    w.event(disk("web-1", 70)).event(disk("web-1", 95));
    assert_eq!(w.sent().len(), 3, "it was cleared");
    let ids: std::collections::BTreeSet<_> = w.sent().iter().map(|emit| emit.id).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn below_auto_it_is_kept_as_would_have() {
    for autonomy in ["observe", "record", "propose"] {
        let mut w = World::new(set(autonomy, EMITS));
        w.event(disk("web-1", 91));
        assert_eq!(w.sent().len(), 0, "{autonomy}");
        let [row] = w.rows_of("emit_decided")[..] else { panic!("{autonomy}") };
        assert_eq!(row.data["emit"]["shadow"], true, "{autonomy}");
    }
}

#[test]
fn what_has_no_ci_and_no_key_says_by_which_rule_it_is() {
    let rules = "
  - rule: ticks
    every: \"*/5 * * * *\"
    emit: { topic: derived, type: tick, key: all, status: RESOLVED }
";
    let mut w = World::new(set("auto", rules));
    w.inbox(InboxBody::Cmdb(CmdbDelta::default())).at("5m");
    let [emit] = w.sent()[..] else { panic!("{:?}", w.sent()) };
    assert_eq!((&emit.event["dedup_key"], &emit.event["status"]), (&json!("book/ticks"), &json!("resolved")));
    assert_eq!(emit.key, "all");
}

#[test]
fn one_whose_value_fails_is_not_sent_and_the_others_are() {
    let rules = "
  - rule: several
    when: |
      event.type == \"disk\"
    by: [event.ci]
    emit:
      - topic: derived
        type: a
        summary: = event.ci.split(\"-\")[7]
      - { topic: derived, type: = event.labels.none }
      - { topic: derived, type: a, severity: = event.ci }
      - topic: derived
        type: a
        labels:
          all: = [event.ci]
      - { topic: derived, type: well, ci: = event.ci, dedup_key: = event.ci }
";
    let mut w = World::new(set("auto", rules));
    w.event(disk("web-1", 91));
    assert_eq!(w.sent().iter().map(|emit| emit.step.as_str()).collect::<Vec<_>>(), ["emit/4"]);
    let marks = w.marks();
    assert_eq!(marks.matches("a value of `emit` cannot be sent").count(), 3, "{marks}");
    assert_eq!(marks.matches("a value of `emit` failed").count(), 1, "{marks}");
}

#[test]
fn a_rule_with_an_incident_says_it_there() {
    let rules = PLAIN.replace("    incident:", "    emit: { topic: derived, type: site.down }\n    incident:");
    let mut w = World::new(set("auto", &rules));
    w.event(firing("web-1"));
    assert_eq!(w.sent()[0].incident, w.incident().id);
    assert_eq!(w.rows_of("emit_decided")[0].record, w.incident().id);
}

#[test]
fn a_script_sends_what_it_names() {
    let rules = "
  - rule: told
    when: |
      event.type == \"disk\"
    by: [event.ci]
    then: |
      emit(\"derived\", #{ type: \"looked\", severity: MAJOR, key: event.ci, labels: #{ value: event.value } });
";
    let mut w = World::new(set("auto", rules));
    w.event(disk("web-1", 91));
    let [emit] = w.sent()[..] else { panic!("{:?}", w.sent()) };
    assert_eq!((emit.topic.as_str(), emit.step.as_str(), emit.key.as_str()), ("derived", "then/0", "web-1"));
    assert_eq!((&emit.event["severity"], &emit.event["labels"]), (&json!("major"), &json!({"value": "91"})));
}

#[test]
fn who_reads_of_given_up_events_is_told_once_for_a_topic_until_that_is_resolved() {
    let mut w = World::new(set("auto", EMITS));
    w.event(disk("web-1", 91));
    let sent = w.sent()[0].clone();
    let report = |denied, topic: &str| {
        let message = "too large".to_owned();
        InboxBody::EmitReported(EmitReport {
            emit: sent.id,
            incident: sent.incident,
            topic: topic.into(),
            denied,
            message,
        })
    };
    w.inbox(report(true, "derived"));
    assert_eq!((w.opened(), w.rows_of("emit_reported").len()), (0, 1), "a guard said no: that is on record");
    w.inbox(report(false, "derived")).inbox(report(false, "derived"));
    assert_eq!((w.opened(), w.pages().len()), (1, 1));
    assert_eq!(w.incident().summary, "Events to topic derived are not delivered: too large");
    w.inbox(report(false, "another"));
    assert_eq!(w.opened(), 2);
    w.resolve().inbox(report(false, "another"));
    assert_eq!(w.opened(), 3);
}

const NOTES: &str = "
  - rule: down
    when: |
      event.type == \"down\"
    incident: { summary: down }
    then: |
      incident.note(`${event.ci} is down`);
  - rule: near
    when: |
      event.type == \"disk\"
    by: [event.ci]
    then: |
      let found = open_incident(about);
      if has(found) { found.note(\"its disk is full, too\"); } else { notify(\"team\", \"nothing is known\"); }
";

#[test]
fn a_script_notes_on_its_own_incident_and_on_one_that_it_finds() {
    let mut w = World::new(set("record", NOTES));
    w.event(disk("web-1", 91));
    assert_eq!((w.notes().len(), w.pages()), (0, vec!["team: nothing is known".to_owned()]));
    w.event(firing("web-1")).at("1m").event(disk("web-1", 92));
    assert_eq!(w.notes(), ["web-1 is down", "its disk is full, too"]);
    for row in w.rows_of("noted") {
        assert_eq!((row.record, row.actor.starts_with("book/")), (w.incident().id, true));
    }
    assert_eq!(w.incident().updated_at, t("1m"));
}

#[test]
fn what_only_observes_notes_on_its_own_incident_and_on_nothing_real() {
    let (down, near) = NOTES.split_at(NOTES.find("  - rule: near").unwrap());
    let mut w = World::new(sets(&[("a", "record", down), ("b", "observe", near)]));
    w.event(firing("web-1")).event(disk("web-1", 91));
    assert_eq!(w.notes(), ["web-1 is down"]);
    assert!(w.marks().contains("would have noted it"));
    let mut w = World::new(set("observe", down));
    w.event(firing("web-1"));
    assert_eq!((w.notes(), w.incident().shadow), (vec!["web-1 is down"], true));
}

#[test]
fn a_note_on_an_incident_that_is_closed_by_now_is_none() {
    let rules = "
  - rule: over
    upon: incident.closed
    then: |
      incident.note(\"and that was that\");
";
    let rules = format!("{}{}", PLAIN.replace("impact: medium", "close_after: 1m"), rules.trim_start_matches('\n'));
    let mut w = World::new(set("record", &rules));
    w.event(firing("web-1")).resolve().at("5m");
    assert_eq!(w.notes().len(), 0);
    assert!(w.marks().contains("no incident to note it on"));
}

#[test]
fn of_several_records_in_one_input_each_is_an_event_of_its_own() {
    let rules = "
  - rule: changed
    upon: ci.changed
    by: [ci.environment]
    emit: { topic: derived, type: ci.changed, ci: = ci.name }
    notify: { to: desk, summary: \"{ci.name} changed\" }
";
    let mut w = World::new(set("auto", rules));
    let cis = ["web-8", "web-9"].map(|name| super::world::server(SCOPE, name)).to_vec();
    w.inbox(InboxBody::Cmdb(CmdbDelta { by: "ann".into(), cis, relations: vec![] }));
    let of = |w: &World, name: &str| w.sent().iter().filter(|emit| emit.event["ci"] == name).count();
    assert_eq!((of(&w, "web-8"), of(&w, "web-9")), (1, 1));
    let keys: std::collections::BTreeSet<_> = w.store.scopes[SCOPE].outbox.iter().map(|row| row.key).collect();
    assert_eq!(keys.len(), w.store.scopes[SCOPE].outbox.len(), "nothing takes the place of another");
}

#[test]
fn an_event_that_is_too_long_is_not_sent() {
    let mut w = World::new(set("auto", &EMITS.replace("summary: \"{event.ci} is full\"", "summary: = event.summary")));
    w.event(disk("web-1", 91).summary("x".repeat(70_000)));
    assert_eq!(w.sent().len(), 0);
    assert!(w.marks().contains("a value of `emit` cannot be sent"));
}
