//! `measure`: a number computed over a sliding window of twelve panes.

use std::sync::Arc;

use paramedic_model::Span;
use paramedic_rulebook::{Comparison, Measured, Pattern, RuleSet};

use super::rules::{expr, rule, set, shaped};
use super::world::{World, disk};

const DISK: &str = "
  - rule: mean
    when: |
      event.type == \"disk\"
    by: [event.ci]
    incident: { summary: \"disk of {event.ci}\", reopen: 0s }
    remedy:
      - { playbook: clean, target: '= \"web-1\"', with: { mount: /var }, verify: { within: 1m } }
";

/// Over twelve minutes: panes of a minute.
fn measured(measured: Measured, is: Comparison) -> Arc<RuleSet> {
    shaped(&set("record", DISK), |set| {
        let of = expr(set, "event.value", &[]);
        let mean = rule(set, "mean");
        let when = mean.pattern.when().unwrap();
        mean.pattern = Pattern::Measure { when, measured, of, over: Span::from_secs(720), is };
    })
}

#[test]
fn it_fires_when_the_mean_becomes_so_and_again_after_it_was_not() {
    let mut w = World::new(measured(Measured::Avg, Comparison::AtLeast(90.0)));
    w.event(disk("web-1", 80)).at("1m").event(disk("web-1", 98)).at("2m");
    assert_eq!(w.opened(), 0, "89 on the average");
    w.event(disk("web-1", 95));
    assert_eq!(w.opened(), 1);
    assert_eq!(w.incident().names["value"], paramedic_model::Named::Number(91.0));
    w.at("3m").event(disk("web-1", 95)).resolve().event(disk("web-1", 99));
    assert_eq!((w.opened(), w.incident().state.is_open()), (1, false), "it still is so");
    w.event(disk("web-1", 0)).event(disk("web-1", 0)).at("14m").event(disk("web-1", 99));
    assert_eq!(w.opened(), 1);
    w.at("15m").event(disk("web-1", 99));
    assert_eq!(w.opened(), 2, "the zeroes have left the window");
}

#[test]
fn the_window_slides_by_a_pane() {
    let mut w = World::new(measured(Measured::Max, Comparison::Below(50.0)));
    w.event(disk("web-1", 99)).at("11m59s").event(disk("web-1", 10));
    assert_eq!(w.opened(), 0, "99 is in the twelfth pane from here");
    w.at("12m").event(disk("web-1", 10));
    assert_eq!(w.opened(), 1);
}

#[test]
fn least_greatest_and_sum_are_of_all_samples_by_their_own_time() {
    for (what, is) in [
        (Measured::Min, Comparison::AtMost(3.0)),
        (Measured::Sum, Comparison::Equal(26.0)),
        (Measured::Max, Comparison::Above(15.0)),
        (Measured::Avg, Comparison::Unequal(7.0)),
    ] {
        let mut w = World::new(measured(what, is));
        w.at("30m").event(disk("web-1", 7).time("25m")).at("31m");
        assert_eq!(w.opened(), 0, "{what:?}");
        w.event(disk("web-1", 16).time("31m")).event(disk("web-1", 3).time("22m"));
        assert_eq!(w.opened(), 1, "{what:?}");
        w.event(disk("web-1", 3).time("19m59s"));
        assert!(w.marks().ends_with("too late for its window"), "{what:?}");
    }
}

#[test]
fn a_rate_is_the_growth_of_a_counter_that_may_begin_again() {
    let mut w = World::new(measured(Measured::Rate, Comparison::AtLeast(1.0)));
    w.event(disk("web-1", 1000)).at("1m").event(disk("web-1", 1030)).at("2m");
    assert_eq!(w.opened(), 0, "one sample has no rate, two have half a one a second");
    w.event(disk("web-1", 90));
    assert_eq!(w.opened(), 1, "30 and 90 in two minutes");
}

#[test]
fn two_samples_of_one_instant_have_no_rate() {
    let mut w = World::new(measured(Measured::Rate, Comparison::AtLeast(0.0)));
    w.event(disk("web-1", 1)).event(disk("web-1", 2));
    assert_eq!(w.opened(), 0);
}

#[test]
fn what_is_so_for_long_enough_and_not_what_fell_meanwhile() {
    let lasting = || {
        shaped(&measured(Measured::Avg, Comparison::AtLeast(90.0)), |set| {
            rule(set, "mean").stays = Some(Span::from_secs(120));
        })
    };
    let mut w = World::new(lasting());
    w.event(disk("web-1", 95)).at("1m").event(disk("web-1", 96)).at("2m");
    assert_eq!(w.opened(), 1);
    let mut w = World::new(lasting());
    w.event(disk("web-1", 95)).at("1m").event(disk("web-1", 10)).at("90s").event(disk("web-1", 9999)).at("3m");
    assert_eq!(w.opened(), 0, "it was not so for a while");
    w.at("210s");
    assert_eq!(w.opened(), 1);
}

#[test]
fn what_is_no_number_is_not_measured_and_repeats_are_not() {
    let mut w = World::new(measured(Measured::Sum, Comparison::AtLeast(4.0)));
    w.event(disk("web-1", 3).id("a")).event(disk("web-1", 3).id("a")).event(disk("web-1", 3).no_value());
    assert_eq!((w.opened(), w.marks().contains("nothing to measure")), (0, true));
    w.event(disk("web-1", 3).id("b"));
    assert_eq!(w.opened(), 1);
}

#[test]
fn a_restart_in_the_middle_makes_no_difference_and_an_emptied_window_is_closed() {
    let mut w = World::new(measured(Measured::Avg, Comparison::AtLeast(90.0)));
    w.event(disk("web-1", 80)).at("1m").event(disk("web-1", 98)).restart().at("2m").event(disk("web-1", 95));
    assert_eq!(w.opened(), 1);
    w.at("1h");
    assert!(w.windows().is_empty());
}

#[test]
fn an_outage_drained_at_once_is_measured_by_its_own_clock() {
    let mut w = World::new(measured(Measured::Avg, Comparison::AtLeast(90.0)));
    w.at_once("1h").drain(vec![
        ("1m", disk("web-1", 10)),
        ("5m", disk("web-1", 95)),
        ("20m", disk("web-1", 95)),
        ("50m", disk("web-1", 10)),
    ]);
    assert_eq!((w.opened(), w.incident().opened_at), (1, super::world::t("20m")));
}
