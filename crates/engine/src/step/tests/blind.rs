//! A source that is away: what it does not say is no evidence.

use paramedic_model::{CloseCode, IncidentState as S, NEVER_REACHED, RunState as R, Span, Verdict};
use paramedic_rulebook::{Clear, Rule};

use super::rules::{DISK, PLAIN, full, rule, set, shaped};
use super::world::{World, disk, firing, resolved};

const NOT_ALL: &str = "
  - rule: no recovery
    not_all:
      - down: down.type == \"down\"
      - up: up.type == \"disk\"
    within: 1m
    by: [event.ci]
    clear: { quiet: 10m }
    incident: { summary: \"{down.ci} stays down\" }
";

fn down(change: impl FnOnce(&mut Rule)) -> World {
    World::new(shaped(&set("record", PLAIN), |set| change(rule(set, "down"))))
}

fn quiet_after_10m() -> World {
    down(|rule| rule.clear = Some(Clear::Quiet(Span::from_secs(600))))
}

fn down_for_2m() -> World {
    down(|rule| rule.stays = Some(Span::from_secs(120)))
}

#[test]
fn nothing_is_quiet_while_its_source_is_away() {
    let mut w = quiet_after_10m();
    w.event(firing("web-1")).at("5m").away(&["mon"]).at("10m").at("1h");
    assert_eq!(w.incident().state, S::New, "nobody knows whether it matched");
    w.restart().away(&[]).at("1h 59s");
    assert_eq!(w.incident().state, S::New, "what it said meanwhile comes first");
    w.at("1h 1m");
    assert_eq!(w.incident().state, S::Resolved);
}

#[test]
fn what_is_heard_when_the_source_is_back_begins_the_quiet_anew() {
    let mut w = quiet_after_10m();
    w.event(firing("web-1"))
        .away(&["mon"])
        .at("10m")
        .away(&[])
        .at("10m 30s")
        .event(firing("web-1").began("10m 30s"))
        .at("20m 29s");
    assert_eq!(w.incident().state, S::New);
    w.at("20m 30s");
    assert_eq!(w.incident().state, S::Resolved);
}

#[test]
fn another_source_may_be_away() {
    let mut w = quiet_after_10m();
    w.event(firing("web-1")).away(&["other"]).at("10m");
    assert_eq!(w.incident().state, S::Resolved);
}

#[test]
fn sources_that_were_never_reached_may_be_any() {
    let mut w = quiet_after_10m();
    w.event(firing("web-1")).away(&["other", NEVER_REACHED]).at("10m");
    assert_eq!(w.incident().state, S::New);
}

#[test]
fn what_held_may_have_been_cleared_meanwhile() {
    let mut w = down_for_2m();
    w.event(firing("web-1")).away(&["mon"]).at("2m").at("5m");
    assert_eq!((w.opened(), w.windows()), (0, vec!["holds"]));
    w.away(&[]).event(resolved("web-1")).at("1h");
    assert_eq!((w.opened(), w.windows().len()), (0, 0));
}

#[test]
fn what_held_and_was_not_cleared_opens_when_the_source_is_back() {
    let mut w = down_for_2m();
    w.event(firing("web-1")).away(&["mon"]).at("2m").away(&[]).at("2m 59s");
    assert_eq!(w.opened(), 0);
    w.at("3m");
    assert_eq!(w.opened(), 1);
}

#[test]
fn a_member_that_did_not_come_may_be_on_its_way() {
    let mut w = World::new(set("record", NOT_ALL));
    w.event(firing("web-1")).away(&["mon"]).at("1m").at("10m");
    assert_eq!(w.opened(), 0);
    w.away(&[]).event(disk("web-1", 1).time("30s")).at("1h");
    assert_eq!(w.opened(), 0, "it came in time");
    w.event(firing("web-1").began("1h")).at("1h 1m");
    assert_eq!(w.opened(), 1);
}

#[test]
fn no_further_remedy_is_tried_while_nobody_can_say_whether_one_worked() {
    let mut w = World::new(set("auto", DISK));
    w.event(disk("web-1", 95)).report(R::Started).at("1m").report(R::Succeeded).away(&["mon"]).at("6m").at("30m");
    assert_eq!((w.run().playbook.as_str(), w.run().verdict), ("clean", None));
    w.away(&[]).event(disk("web-1", 10).time("3m"));
    assert_eq!((w.incident().state, w.incident().close_code), (S::Resolved, Some(CloseCode::SolutionProvided)));
    assert_eq!(w.run().verdict, Some(Verdict::Verified));
}

#[test]
fn and_is_tried_when_the_source_is_back_without_recovery() {
    let mut w = World::new(set("auto", DISK));
    w.event(disk("web-1", 95)).report(R::Started).at("1m").report(R::Succeeded).away(&["mon"]).at("6m").away(&[]);
    w.at("6m 59s");
    assert_eq!(w.run().playbook, "clean");
    w.at("7m");
    assert_eq!(w.run().playbook, "grow");
}

#[test]
fn recovery_does_not_stay_while_its_source_is_away() {
    let mut w = World::new(set("record", &full("{ summary: s, hold: 5m }", "")));
    w.event(disk("web-1", 95)).at("1m").event(disk("web-1", 10)).away(&["mon"]).at("6m");
    assert_eq!(w.incident().state, S::New, "it may have come back");
    w.away(&[]).event(disk("web-1", 95)).at("1h");
    assert_eq!(w.incident().state, S::New, "and had");
}

#[test]
fn an_outage_that_the_clock_jumps_over_is_asked_about_once() {
    let mut w = quiet_after_10m();
    w.event(firing("web-1")).away(&["mon"]).marks();
    w.at("8h");
    assert_eq!(w.marks().matches("a source is away").count(), 1);
    w.away(&[]).at("8h 59s");
    assert_eq!(w.incident().state, S::New);
    w.at("8h 1m");
    assert_eq!(w.incident().state, S::Resolved);
}

#[test]
fn what_comes_from_elsewhere_does_not_settle_what_waits_for_a_source() {
    let mut w = World::new(set("record", NOT_ALL));
    w.event(firing("web-1")).away(&["mon"]).at("2m").event(firing("web-1").began("2m"));
    assert_eq!(w.opened(), 0, "what it waits for may have come from there");
    w.away(&[]).event(disk("web-1", 1).time("30s")).at("10m");
    assert_eq!(w.opened(), 0);
}
