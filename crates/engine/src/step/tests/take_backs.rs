//! Facts about what is taken back: the rollback of what was not verified, the undo of what was.

use paramedic_model::{CloseCode, IncidentState as S, OperatorAct, RunState as R, Verdict};

use super::rules::{full, set};
use super::world::{World, disk};

fn rules(more: &str) -> String {
    let rest = format!(
        "    remedy:
      - playbook: clean
        verify: {{ within: 5m }}
        {more}
      - playbook: grow
    escalate: [ {{ at: remedies_failed, to: team }}, {{ at: run_unknown, to: team }} ]
"
    );
    full("{ summary: x, reopen: 10m, close_after: 1h }", &rest)
}

fn broken(autonomy: &str, more: &str) -> World {
    let mut w = World::new(set(autonomy, &rules(more)));
    w.event(disk("web-1", 95));
    w
}

const ROLLBACK: &str = "rollback: reboot";
const UNDO: &str = "undo: { playbook: reboot, after: 2h }";

#[test]
fn what_was_not_verified_is_rolled_back_before_the_next_is_tried() {
    let mut w = broken("auto", ROLLBACK);
    w.at("1m").report(R::Started).report(R::Succeeded).at("6m");
    assert_eq!(w.runs(), ["clean succeeded", "reboot pending"]);
    assert_eq!((w.run().step.as_str(), w.run().target.name.as_str()), ("rollback/0", "web-1"));
    w.at("7m").report(R::Started).report(R::Succeeded);
    assert_eq!(w.runs(), ["clean succeeded", "reboot succeeded", "grow pending"]);
}

#[test]
fn what_failed_halfway_is_rolled_back_and_what_never_left_is_not() {
    let mut w = broken("auto", ROLLBACK);
    w.at("1m").report(R::Started).report(R::Failed);
    assert_eq!(w.runs(), ["clean failed", "reboot pending"]);
    let mut w = broken("auto", ROLLBACK);
    w.at("1m").report(R::Denied);
    assert_eq!(w.runs(), ["clean denied", "grow pending"]);
}

#[test]
fn nothing_is_tried_on_top_of_what_could_not_be_rolled_back() {
    for state in [R::Failed, R::Denied] {
        let mut w = broken("auto", ROLLBACK);
        w.at("1m").report(R::Started).report(R::Failed).at("2m").report(state).at("3h");
        assert_eq!(w.runs(), ["clean failed".to_owned(), format!("reboot {}", state.name())]);
        assert_eq!(w.pages(), [format!("team: reboot on web-1 {}: said so", state.name())]);
        assert!(w.incident().plan.exhausted);
    }
}

#[test]
fn a_rollback_earns_no_credit_for_recovery() {
    let mut w = broken("auto", ROLLBACK);
    w.at("1m").report(R::Started).report(R::Failed).at("2m").report(R::Started).at("3m").event(disk("web-1", 10));
    assert_eq!(w.incident().state, S::InProgress, "nothing resolves while a run is in flight");
    w.at("4m").report(R::Succeeded);
    assert_eq!((w.incident().state, w.incident().close_code), (S::Resolved, Some(CloseCode::NoResolutionProvided)));
    assert_eq!(w.runs(), ["clean failed", "reboot succeeded"]);
    assert!(w.live().runs.values().all(|r| r.verdict != Some(Verdict::Verified)));
}

#[test]
fn a_rollback_of_which_nobody_knows_blocks_the_rest() {
    let mut w = broken("auto", ROLLBACK);
    w.at("1m").report(R::Started).report(R::Failed).at("2m").report(R::Started).report(R::Unknown).at("3h");
    assert_eq!(w.runs(), ["clean failed", "reboot unknown"]);
    assert_eq!(w.pages(), ["team: nobody knows whether the run happened"]);
    w.report(R::Succeeded);
    assert_eq!(w.runs(), ["clean failed", "reboot succeeded", "grow pending"]);
}

#[test]
fn what_was_verified_is_undone_after_its_time_though_the_incident_would_be_closed() {
    let mut w = broken("auto", UNDO);
    w.at("1m").report(R::Started).report(R::Succeeded).at("2m").event(disk("web-1", 10));
    assert_eq!(w.run().verdict, Some(Verdict::Verified));
    w.at("1h").restart().at("2h 1m 59s");
    assert_eq!((w.runs(), w.incident().state), (vec!["clean succeeded".to_owned()], S::Resolved));
    w.at("2h 2m");
    assert_eq!(w.runs(), ["clean succeeded", "reboot pending"]);
    assert_eq!((w.run().step.as_str(), w.run().round), ("undo/0", 0));
    w.at("2h 3m").report(R::Started).report(R::Succeeded);
    assert!(w.pages().is_empty());
    w.at("5h");
    assert_eq!((w.runs().len(), w.incident().state), (2, S::Closed));
}

#[test]
fn an_undo_that_does_not_work_tells_somebody_though_the_incident_is_over() {
    for (state, told) in [
        (R::Failed, "default: reboot on web-1 failed: said so"),
        (R::Denied, "default: reboot on web-1 denied: said so"),
        (R::Unknown, "default: nobody knows whether reboot on web-1 happened"),
    ] {
        let mut w = broken("auto", UNDO);
        w.at("1m").report(R::Started).report(R::Succeeded).at("2m").event(disk("web-1", 10)).at("2h 2m").report(state);
        assert_eq!(w.pages(), [told]);
    }
}

#[test]
fn who_resolves_by_hand_does_not_leave_it_in_force() {
    let mut w = broken("auto", UNDO);
    w.at("1m").report(R::Started).report(R::Succeeded).at("2m").resolve().at("2h 2m");
    assert_eq!(w.runs(), ["clean succeeded", "reboot pending"]);
    // And where it was not known whether it had happened.
    let mut w = broken("auto", UNDO);
    w.at("1m").report(R::Started).report(R::Unknown).at("2m").resolve().at("10m").report(R::Succeeded).at("2h 10m");
    assert_eq!(w.runs(), ["clean succeeded", "reboot pending"]);
}

#[test]
fn what_came_back_goes_on_with_its_remedies_while_it_is_undone_once() {
    let mut w = broken("auto", UNDO);
    w.at("1m").report(R::Started).report(R::Succeeded).at("2m").event(disk("web-1", 10));
    w.at("5m").event(disk("web-1", 95));
    assert_eq!(w.runs(), ["clean succeeded", "grow pending"]);
    w.at("2h 2m");
    assert_eq!(w.runs(), ["clean succeeded", "grow pending", "reboot pending"]);
    assert_eq!(w.live().current_runs(w.incident()).map(|r| r.playbook.as_str()).collect::<Vec<_>>(), ["grow"]);
    w.at("2h 3m").event(disk("web-1", 10)).at("9h");
    assert_eq!(w.runs().iter().filter(|r| r.starts_with("reboot")).count(), 1);
}

#[test]
fn one_approval_covers_what_takes_it_back() {
    for more in [format!("{UNDO}\n        approve: {{ by: desk, within: 30m }}"), UNDO.to_owned()] {
        let autonomy = if more == UNDO { "propose" } else { "auto" };
        let mut w = broken(autonomy, &more);
        let run = w.run().id;
        w.act(OperatorAct::Approve { run }).at("1m").report(R::Started).report(R::Succeeded);
        w.at("2m").event(disk("web-1", 10)).at("2h 2m");
        assert_eq!(w.runs(), ["clean succeeded", "reboot pending"]);
        assert_eq!(w.run().decided_by.as_deref(), Some("ann"));
    }
}

#[test]
fn a_rollback_that_fails_is_told_though_recovery_was_seen_and_nothing_is_tried_when_that_is_lost() {
    let rules = rules(ROLLBACK).replace("close_after: 1h", "close_after: 1h, hold: 5m");
    let mut w = World::new(set("auto", &rules));
    w.event(disk("web-1", 95)).at("1m").report(R::Started).report(R::Failed).at("2m").report(R::Started);
    w.at("3m").event(disk("web-1", 10)).at("4m").report(R::Failed);
    assert_eq!(w.pages(), ["team: reboot on web-1 failed: said so"]);
    w.at("5m").event(disk("web-1", 96)).at("1h");
    assert_eq!(w.runs(), ["clean failed", "reboot failed"]);
}

#[test]
fn a_rollback_that_fails_after_a_person_resolved_is_told() {
    let mut w = broken("auto", ROLLBACK);
    w.at("1m").report(R::Started).report(R::Failed).at("2m").report(R::Started).at("3m").resolve();
    w.at("4m").report(R::Failed);
    assert_eq!(w.pages(), ["default: reboot on web-1 failed: said so"]);
}

#[test]
fn what_was_to_be_rolled_back_and_was_not_is_undone() {
    let mut w = broken("auto", &format!("{ROLLBACK}\n        {UNDO}"));
    w.at("1m").report(R::Started).report(R::Succeeded).at("6m");
    assert_eq!(w.runs(), ["clean succeeded", "reboot pending"]);
    w.at("7m").event(disk("web-1", 10)).at("2h 7m");
    assert_eq!(w.runs(), ["clean succeeded", "reboot cancelled", "reboot pending"]);
    assert_eq!(w.run().step, "undo/0");
}
