//! `all`, `sequence`, `any`, `not_all`, and `unless`.

use std::sync::Arc;

use paramedic_model::Span;
use paramedic_rulebook::{Member, Pattern, RuleSet, Together};

use super::rules::{PLAIN, expr, rule, set, shaped};
use super::world::{E, World, disk, firing, resolved};

/// Members by condition, named a, b, c...; each reads those before it if it names them. Within five minutes.
fn several(together: Together, conditions: &[&str], unless: Option<&str>) -> Arc<RuleSet> {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    let rules = PLAIN
        .replace("incident: {", "by: [event.labels.site]\n    incident: { reopen: 0s,")
        .replace("{event.ci} is down", "several");
    let rules =
        format!("{rules}    remedy:\n      - {{ playbook: grow, target: '= \"web-1\"', verify: {{ within: 1m }} }}\n");
    shaped(&set("record", &rules), |set| {
        let mut members = Vec::new();
        for (at, condition) in conditions.iter().enumerate() {
            let reads = (0..at).filter(|i| condition.contains(&format!("{}.", NAMES[*i]))).map(|i| i as u8).collect();
            let when = expr(set, condition, &NAMES[..=at]);
            members.push(Member { name: NAMES[at].to_owned(), when, reads });
        }
        let unless = unless.map(|text| expr(set, text, &[]));
        let within = (together != Together::Any).then_some(Span::from_secs(300));
        rule(set, "down").pattern = Pattern::Members { together, members, within, unless };
    })
}

const DOWN: &str = "event.type == \"down\"";
const FULL: &str = "event.type == \"disk\" && event.value >= 90";

fn down(ci: &'static str, site: &'static str) -> E {
    firing(ci).label("site", site)
}

fn full(ci: &'static str, site: &'static str) -> E {
    disk(ci, 95).label("site", site)
}

fn both() -> World {
    World::new(several(Together::All, &[DOWN, FULL], None))
}

#[test]
fn all_of_them_in_any_order_make_one_incident_of_all_their_alerts() {
    let mut w = both();
    w.event(full("web-2", "x")).at("1m").event(down("web-1", "y")).at("2m");
    assert_eq!(w.opened(), 0, "of different sites");
    w.event(down("web-1", "x").key("k"));
    assert_eq!((w.opened(), w.incident().alerts.len()), (1, 2));
    assert_eq!(w.incident().names.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(w.windows(), ["members"], "y still waits");
    w.event(full("web-2", "x"));
    assert_eq!((w.opened(), w.incident().matched), (1, 1), "what has fired is consumed");
}

#[test]
fn exactly_within_the_time_is_in_time() {
    let mut w = both();
    w.event(full("web-2", "x")).at("5m").event(down("web-1", "x"));
    assert_eq!(w.opened(), 1);
    let mut w = both();
    w.event(full("web-2", "x")).at("300001ms").event(down("web-1", "x"));
    assert_eq!(w.opened(), 0);
    w.at("300002ms");
    assert_eq!(w.windows(), ["members"], "the later one waits on");
    w.at("11m");
    assert_eq!((w.windows().len(), w.live().timers.len()), (0, 0));
}

#[test]
fn the_newest_of_a_member_counts_and_late_events_are_in_their_own_time() {
    let mut w = both();
    w.event(full("web-2", "x")).at("4m").event(full("web-1", "x")).at("8m").event(down("web-1", "x").time("8m"));
    assert_eq!(w.opened(), 1);
    let paramedic_model::Named::Event(b) = &w.incident().names["b"] else { panic!() };
    assert_eq!(b.ci.best(), Some("web-1"));
    let mut w = both();
    w.at("10m").event(full("web-2", "x")).event(down("web-1", "x").time("4m"));
    assert_eq!(w.opened(), 0, "it is too late for its window");
    w.event(down("web-1", "x").time("6m").key("other"));
    assert_eq!(w.opened(), 1);
}

#[test]
fn one_event_may_be_two_members_and_a_repeat_is_none() {
    let mut w = World::new(several(Together::All, &[FULL, "event.value >= 95"], None));
    w.event(full("web-1", "x"));
    assert_eq!(w.opened(), 1);
    let mut w = both();
    w.event(down("web-1", "x").id("a").time("0s")).at("1m").event(down("web-1", "x").id("a").time("1m"));
    w.at("5m30s").event(full("web-1", "x"));
    assert_eq!(w.opened(), 0, "the repeat did not make it newer");
}

#[test]
fn a_later_member_may_name_an_earlier_one() {
    let joined = "event.type == \"disk\" && b.value >= 90 && b.ci == a.ci";
    let mut w = World::new(several(Together::All, &[DOWN, joined], None));
    w.event(full("web-2", "x")).event(down("web-1", "x"));
    assert_eq!(w.opened(), 0);
    w.event(full("web-1", "x"));
    assert_eq!(w.opened(), 1);
}

#[test]
fn a_sequence_is_in_order_by_the_events_own_time() {
    let steps =
        || World::new(several(Together::Sequence, &[DOWN, FULL, "event.type == \"disk\" && event.value < 10"], None));
    let mut w = steps();
    w.event(full("web-1", "x")).at("1m").event(down("web-1", "x")).at("2m").event(disk("web-1", 5).label("site", "x"));
    assert_eq!(w.opened(), 0, "the second came before the first");
    w.at("3m").event(full("web-1", "x")).at("4m").event(disk("web-1", 5).label("site", "x"));
    assert_eq!(w.opened(), 1);
    // Another first does not break what has begun; what comes late has its place.
    let mut w = steps();
    w.event(down("web-1", "x")).at("1m").event(full("web-1", "x")).at("2m").event(down("web-2", "x"));
    w.at("3m").event(disk("web-1", 5).label("site", "x"));
    assert_eq!(w.opened(), 1);
    let mut w = steps();
    w.at("3m").event(disk("web-1", 5).label("site", "x")).event(full("web-1", "x").time("2m"));
    w.event(down("web-1", "x").time("1m"));
    assert_eq!(w.opened(), 1);
}

#[test]
fn in_a_sequence_one_event_is_one_step_and_equal_times_are_in_order() {
    let mut w = World::new(several(Together::Sequence, &[FULL, FULL], None));
    w.event(full("web-1", "x"));
    assert_eq!(w.opened(), 0);
    w.event(full("web-1", "x"));
    assert_eq!(w.opened(), 1);
}

#[test]
fn any_of_them_fires_at_once() {
    let mut w = World::new(several(Together::Any, &[DOWN, FULL], None));
    w.event(full("web-1", "x"));
    assert_eq!((w.opened(), w.windows().len()), (1, 0));
    assert_eq!(w.incident().names.keys().collect::<Vec<_>>(), ["b"]);
    w.event(down("web-1", "x"));
    assert_eq!((w.opened(), w.incident().alerts.len()), (1, 2));
}

#[test]
fn one_came_and_not_all_did() {
    let not_all = || World::new(several(Together::NotAll, &[DOWN, FULL], None));
    let mut w = not_all();
    w.event(full("web-1", "x")).at("4m").event(full("web-1", "x")).at("4m59s");
    assert_eq!(w.opened(), 0);
    w.at("5m");
    assert_eq!((w.opened(), w.windows().len()), (1, 0), "a further one of the same does not give more time");
    let mut w = not_all();
    w.event(full("web-1", "x")).at("4m59s").event(down("web-1", "x")).at("1h");
    assert_eq!((w.opened(), w.windows().len()), (0, 0));
    let mut w = not_all();
    w.event(full("web-1", "x")).at("5m").event(down("web-1", "x"));
    assert_eq!(w.opened(), 1, "at the very end it comes too late");
}

#[test]
fn what_came_and_was_not_followed_by_another() {
    let unanswered = || World::new(several(Together::All, &[DOWN], Some(FULL)));
    let mut w = unanswered();
    w.event(down("web-1", "x")).at("4m59s");
    assert_eq!(w.opened(), 0);
    w.at("5m");
    assert_eq!(w.opened(), 1);
    let mut w = unanswered();
    w.event(down("web-1", "x")).at("4m").event(full("web-1", "x")).at("1h");
    assert_eq!((w.opened(), w.windows().len()), (0, 0));
    let mut w = unanswered();
    w.event(full("web-1", "x")).at("1m").event(down("web-1", "x")).at("6m");
    assert_eq!(w.opened(), 1, "what came before does not answer");
    let mut w = unanswered();
    w.at("2m").event(full("web-1", "x")).event(down("web-1", "x").time("1m")).at("1h");
    assert_eq!(w.opened(), 0, "it did, and came first only by chance");
}

#[test]
fn all_came_long_enough_ago_and_were_not_cleared() {
    let set = shaped(&several(Together::All, &[DOWN, FULL], None), |set| {
        rule(set, "down").stays = Some(Span::from_secs(60));
    });
    let mut w = World::new(Arc::clone(&set));
    w.event(full("web-1", "x")).event(down("web-1", "x")).at("59s");
    assert_eq!((w.opened(), w.windows()), (0, vec!["holds"]));
    w.at("1m");
    assert_eq!((w.opened(), w.incident().alerts.len()), (1, 2));
}

#[test]
fn the_last_alert_to_end_ends_it() {
    let mut w = World::new(several(Together::All, &[DOWN, "event.type == \"down\" && event.ci == \"web-2\""], None));
    w.event(down("web-1", "x")).at("1m").event(down("web-2", "x"));
    assert_eq!(w.opened(), 1);
    w.event(resolved("web-2"));
    assert!(!w.incident().state.is_open(), "web-2 was both, being the newest");
}

#[test]
fn a_restart_in_the_middle_makes_no_difference() {
    let mut w = both();
    w.event(full("web-1", "x")).restart().at("1m").event(down("web-1", "x"));
    assert_eq!(w.opened(), 1);
    let mut w = World::new(several(Together::NotAll, &[DOWN, FULL], None));
    w.event(full("web-1", "x")).restart().at("5m");
    assert_eq!(w.opened(), 1);
}

#[test]
fn an_outage_drained_at_once_is_as_it_was() {
    let mut w = both();
    w.at_once("1h").drain(vec![
        ("1m", full("web-1", "x")),
        ("7m", down("web-1", "x")),
        ("20m", down("web-2", "y")),
        ("24m", full("web-1", "y")),
    ]);
    assert_eq!((w.opened(), w.incident().opened_at), (1, super::world::t("24m")));
    let mut w = World::new(several(Together::NotAll, &[DOWN, FULL], None));
    w.at_once("1h").drain(vec![("1m", full("web-1", "x")), ("7m", down("web-1", "x")), ("8m", full("web-1", "x"))]);
    assert_eq!((w.opened(), w.incident().opened_at), (1, super::world::t("6m")));
}
