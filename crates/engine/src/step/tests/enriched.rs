//! Events as rules see them: enriched by the set that looks, and with the thresholds of their CI.

use std::sync::Arc;

use paramedic_model::{Attribute, CmdbDelta, InboxBody, IncidentState};
use paramedic_rulebook::RuleSet;

use super::rules::{PLAIN, sets_of_site};
use super::world::{SCOPE, World, disk, firing, resolved, server, t};

fn set(site: &str, rules: &str) -> Arc<RuleSet> {
    sets_of_site(site, &[("book", "record", rules)])
}

const DROPS: &str = "enrich:\n  - drop_from_key: [pod_ip]\n";

#[test]
fn repeats_that_differ_in_a_label_that_is_dropped_are_one_alert_and_its_resolve_ends_it() {
    let mut w = World::new(set(DROPS, PLAIN));
    w.event(firing("web-1").keyless().label("pod_ip", "10.0.0.1"));
    assert_eq!(w.steps(), "incident_opened");
    w.at("10s").event(firing("web-1").keyless().label("pod_ip", "10.0.0.2"));
    assert_eq!(w.marks(), "seen, repeat");
    w.at("20s").event(resolved("web-1").keyless().label("pod_ip", "10.0.0.3"));
    assert_eq!((w.opened(), w.incident().state), (1, IncidentState::Resolved));
    let mut w = World::new(set("defaults: {}", PLAIN));
    w.event(firing("web-1").keyless().label("pod_ip", "10.0.0.1"));
    w.at("10s").event(firing("web-1").keyless().label("pod_ip", "10.0.0.2"));
    assert_eq!(w.opened(), 2, "without it they are two");
}

#[test]
fn an_open_alert_keeps_its_key_when_another_enrich_is_published() {
    let mut w = World::new(set(DROPS, PLAIN));
    w.event(firing("web-1").keyless().label("pod_ip", "10.0.0.1"));
    w.at("10s").publish(set("defaults: {}", PLAIN));
    w.at("20s").event(firing("web-1").keyless().label("pod_ip", "10.0.0.2").began("0s"));
    assert_eq!(w.opened(), 1, "it is a repeat, as under the rules that it was opened under");
    w.at("30s").event(resolved("web-1").keyless().label("pod_ip", "10.0.0.3"));
    assert_eq!(w.incident().state, IncidentState::Resolved);
    w.at("1h").event(firing("web-1").keyless().label("pod_ip", "10.0.0.4"));
    w.at("2h").event(firing("web-1").keyless().label("pod_ip", "10.0.0.5"));
    assert_eq!(w.opened(), 3, "what begins now goes by the rules of now");
}

#[test]
fn a_clear_of_kept_rules_sees_an_event_by_their_own_enrich() {
    let rules = "
  - rule: full
    when: |
      event.type == \"disk\" && event.value >= 90
    by: [event.ci]
    clear: |
      event.labels.state == \"calm\"
    incident: { summary: s }
";
    let calm = "enrich:\n  - when: event.type == \"disk\" && event.value < 50\n    set: { labels: { state: calm } }\n";
    let mut w = World::new(set(calm, rules));
    w.event(disk("web-1", 95)).at("10s").publish(set("defaults: {}", rules));
    w.at("20s").event(disk("web-1", 10));
    assert_eq!(w.incident().state, IncidentState::Resolved);
    w.at("1h").event(disk("web-2", 95)).at("2h").event(disk("web-2", 10));
    assert_eq!(w.incident().state, IncidentState::New, "the rules of now know no calm");
}

#[test]
fn what_is_opened_is_what_was_enriched() {
    let site = "enrich:\n  - set: { severity: critical, ci: web-2, labels: { desk: vip } }\n";
    let mut w = World::new(set(site, PLAIN));
    w.event(firing("web-1"));
    assert_eq!(w.incident().summary, "web-2 is down");
    assert_eq!(w.incident().ci, Some(server(SCOPE, "web-2").id));
    let alert = w.live().alerts.values().next().unwrap();
    assert_eq!((alert.labels.get("desk"), &*alert.key.dedup_key), (Some("vip"), "down/web-1"));
}

const FULL: &str = "
  - rule: full
    when: |
      event.type == \"disk\" && event.value >= threshold(\"used\")
    by: [event.ci]
    clear: |
      event.type == \"disk\" && event.value < threshold(\"used\") - 10
    incident: { summary: s, reopen: 0s }
";
const USED: &str = "thresholds: { used: { attribute: disk_threshold, default: 90 } }\n";

fn own_threshold(w: &mut World, at: u32) {
    let mut ci = server(SCOPE, "web-1");
    ci.attributes.insert("disk_threshold".into(), Attribute { value: at.into(), source: "test".into(), at: t("0s") });
    w.inbox(InboxBody::Cmdb(CmdbDelta { by: "test".into(), cis: vec![ci], relations: vec![] }));
}

#[test]
fn a_condition_goes_by_the_threshold_that_the_ci_has_at_that_input() {
    let mut w = World::new(set(USED, FULL));
    own_threshold(&mut w, 70);
    w.event(disk("web-2", 75));
    assert_eq!(w.opened(), 0, "of web-2 it is the default");
    w.event(disk("web-1", 75));
    assert_eq!(w.opened(), 1);
    w.at("10s").event(disk("web-1", 65));
    assert_eq!(w.incident().state, IncidentState::New, "it is not 10 below its own");
    w.at("20s").event(disk("web-1", 59));
    assert_eq!(w.incident().state, IncidentState::Resolved);
    own_threshold(&mut w, 95);
    w.at("30s").event(disk("web-1", 94));
    assert_eq!(w.opened(), 1);
    w.at("40s").event(disk("web-1", 95)).restart();
    w.at("50s").event(disk("web-1", 84));
    assert_eq!((w.opened(), w.incident().state), (2, IncidentState::Resolved));
}

#[test]
fn a_threshold_that_does_not_hold_leaves_the_event_to_the_fallback() {
    let rules = format!(
        "{FULL}
  - rule: rest
    when: |
      event.type == \"disk\"
    fallback: true
    by: [event.ci]
    clear: event.type == \"never\"
    incident: {{ summary: rest }}
"
    );
    let mut w = World::new(set(USED, &rules));
    w.event(disk("web-1", 50)).event(disk("web-2", 95));
    let summaries: Vec<&str> = [0, 1].map(|n| w.nth(n).summary.as_str()).to_vec();
    assert_eq!((w.opened(), summaries), (2, vec!["rest", "s"]));
}

#[test]
fn an_open_alert_that_no_incident_holds_keeps_its_key_too() {
    let renames = "enrich:\n  - set: { dedup_key: '= \"host \" + event.ci' }\n";
    let rules = PLAIN.replace("    incident:", "    for: 5m\n    incident:");
    for (before, after) in [(renames, "defaults: {}"), ("defaults: {}", renames)] {
        let mut w = World::new(set(before, &rules));
        w.event(firing("web-1"))
            .at("1m")
            .publish(set(after, &rules))
            .at("2m")
            .event(resolved("web-1"))
            .restart()
            .at("1h");
        assert_eq!(w.opened(), 0, "{before}: it was over before the five minutes were");
        assert!(w.live().alerts.values().all(|alert| !alert.is_open()), "{before}");
    }
}
