//! `absent`: nothing came for so long, by the feed's own progress.

use std::sync::Arc;

use paramedic_model::{CmdbDelta, InboxBody, Span};
use paramedic_rulebook::{CiFilter, Pattern, RuleSet};

use super::rules::{expr, rule, set, shaped};
use super::world::{SCOPE, World, disk, firing, resolved, server};

const BEATS: &str = "
  - rule: lost
    when: |
      event.type == \"disk\"
    by: [event.ci]
    incident: { summary: \"no word of {event.ci}\", reopen: 0s }
";

/// Within three minutes; of each server of the CMDB, or of whoever gave one.
fn lost(each: bool, alive: Option<&str>) -> Arc<RuleSet> {
    shaped(&set("record", BEATS), |set| {
        let alive = alive.map(|text| expr(set, text, &[]));
        let lost = rule(set, "lost");
        let when = lost.pattern.when().unwrap();
        let for_each = each.then(|| CiFilter { class: Some("server".into()), ..CiFilter::default() });
        lost.pattern = Pattern::Absent { when, within: Span::from_secs(180), for_each, alive };
    })
}

fn beats(w: &mut World, cis: &[&'static str], from: u32, to: u32) {
    for minute in from..=to {
        w.at(&format!("{minute}m"));
        for ci in cis {
            w.event(disk(ci, 1));
        }
    }
}

#[test]
fn one_of_several_that_is_heard_no_more_is_absent() {
    let mut w = World::new(lost(false, None));
    beats(&mut w, &["web-1", "web-2"], 0, 2);
    beats(&mut w, &["web-1"], 3, 5);
    assert_eq!(w.opened(), 0, "three minutes to the instant");
    beats(&mut w, &["web-1"], 6, 9);
    assert_eq!((w.opened(), w.incident().summary.as_str()), (1, "no word of web-2"));
    w.event(disk("web-2", 1));
    assert!(!w.incident().state.is_open(), "it is back");
    beats(&mut w, &["web-1"], 10, 13);
    assert_eq!(w.opened(), 2, "and is waited for again");
}

#[test]
fn a_feed_that_is_silent_is_one_incident_and_its_time_counts_against_nobody() {
    let mut w = World::new(lost(false, None));
    beats(&mut w, &["web-1", "web-2", "web-3"], 0, 2);
    w.at("4m59s");
    assert_eq!(w.opened(), 0);
    w.at("5m").at("2h");
    assert_eq!((w.opened(), w.incident().rule.as_str()), (1, "source silent"));
    w.event(disk("web-1", 1));
    assert_eq!((w.opened(), w.incident().state.is_open()), (1, false));
    beats(&mut w, &["web-1", "web-2"], 121, 123);
    assert_eq!(w.opened(), 1);
    beats(&mut w, &["web-1", "web-2"], 124, 124);
    assert_eq!((w.opened(), w.incident().summary.as_str()), (2, "no word of web-3"));
}

#[test]
fn each_server_of_the_cmdb_is_waited_for_whether_or_not_it_was_ever_heard() {
    let mut w = World::new(lost(true, None));
    beats(&mut w, &["web-1", "web-9"], 0, 3);
    assert_eq!(w.opened(), 0);
    beats(&mut w, &["web-1"], 4, 9);
    assert_eq!((w.opened(), w.incident().about.as_deref()), (1, Some("web-2")), "web-9 is none of them");
    assert_eq!(w.incident().ci, Some(server(SCOPE, "web-2").id));
    w.event(disk("web-2", 1));
    assert!(!w.incident().state.is_open());
}

#[test]
fn a_server_that_enters_the_set_has_the_whole_time_and_one_that_leaves_is_not_waited_for() {
    let mut w = World::new(lost(true, None));
    beats(&mut w, &["web-1", "web-2"], 0, 2);
    let cis = vec![server(SCOPE, "web-3")];
    w.at("150s").inbox(InboxBody::Cmdb(CmdbDelta { by: "ann".into(), cis, relations: vec![] }));
    beats(&mut w, &["web-1", "web-2"], 3, 5);
    assert_eq!(w.opened(), 0);
    beats(&mut w, &["web-1", "web-2"], 6, 6);
    assert_eq!((w.opened(), w.incident().about.as_deref()), (1, Some("web-3")));

    let in_test = shaped(&lost(true, None), |set| {
        let Pattern::Absent { for_each: Some(filter), .. } = &mut rule(set, "lost").pattern else { panic!() };
        filter.environment = Some("test".into());
    });
    let mut w = World::new(in_test);
    beats(&mut w, &["web-1", "web-2"], 0, 2);
    let mut moved = server(SCOPE, "web-2");
    moved.environment = Some("production".into());
    w.inbox(InboxBody::Cmdb(CmdbDelta { by: "ann".into(), cis: vec![moved], relations: vec![] }));
    beats(&mut w, &["web-1"], 3, 9);
    assert_eq!(w.opened(), 0);
}

#[test]
fn what_proves_that_the_feed_lives_may_be_named() {
    let mut w = World::new(lost(false, Some("event.type == \"down\"")));
    w.event(disk("web-1", 1)).at("2m").event(firing("probe")).at("3m").event(resolved("probe"));
    assert_eq!(w.opened(), 0, "a resolve is a sign too, and three minutes are not over");
    w.at("181s").event(firing("probe").began("181s"));
    assert_eq!((w.opened(), w.incident().summary.as_str()), (1, "no word of web-1"));
}

#[test]
fn repeats_are_signs_of_life_and_late_ones_make_nobody_older() {
    let mut w = World::new(lost(false, None));
    w.event(disk("web-1", 1).id("a")).event(disk("web-2", 1));
    w.at("2m").event(disk("web-1", 1).id("a")).event(disk("web-2", 1)).event(disk("web-1", 1).time("30s"));
    w.at("4m").event(disk("web-2", 1)).at("5m").event(disk("web-2", 1));
    assert_eq!(w.opened(), 0);
    w.at("5m1s").event(disk("web-2", 1));
    assert_eq!(w.opened(), 1);
}

#[test]
fn a_restart_makes_no_difference() {
    let mut w = World::new(lost(true, None));
    beats(&mut w, &["web-1", "web-2"], 0, 1);
    w.restart();
    beats(&mut w, &["web-1"], 2, 3);
    w.restart();
    beats(&mut w, &["web-1"], 4, 5);
    assert_eq!((w.opened(), w.incident().about.as_deref()), (1, Some("web-2")));
}

#[test]
fn an_outage_drained_at_once_makes_absent_only_who_was() {
    let mut w = World::new(lost(false, None));
    beats(&mut w, &["web-1", "web-2"], 0, 0);
    // Of ten minutes in one batch: web-2 was away for four of them.
    let mut all = Vec::new();
    for minute in 1..=10u32 {
        let at: &'static str = ["", "1m", "2m", "3m", "4m", "5m", "6m", "7m", "8m", "9m", "10m"][minute as usize];
        all.push((at, disk("web-1", 1).time(at)));
        if !(4..=7).contains(&minute) {
            all.push((at, disk("web-2", 1).time(at)));
        }
    }
    w.at_once("10m").drain(all);
    assert_eq!((w.opened(), w.incident().summary.as_str()), (1, "no word of web-2"));
    assert_eq!(
        (w.incident().opened_at, w.incident().resolved_at),
        (super::world::t("7m"), Some(super::world::t("8m")))
    );
}

#[test]
fn what_was_taken_after_the_clock_had_gone_on_is_in_its_own_time() {
    let mut w = World::new(lost(false, None));
    beats(&mut w, &["web-1", "web-2"], 0, 0);
    w.at("150s");
    // The source was away, and the clock went on without it; here is what it has kept.
    for at in ["1m", "2m"] {
        w.event(disk("web-1", 1).time(at)).event(disk("web-2", 1).time(at));
    }
    w.at("4m").event(disk("web-1", 1).time("3m")).event(disk("web-1", 1).time("4m"));
    w.event(disk("web-2", 1).time("3m")).event(disk("web-2", 1).time("4m"));
    assert_eq!(w.opened(), 0);
}
