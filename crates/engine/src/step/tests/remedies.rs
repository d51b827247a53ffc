//! Facts about remedies: the next one, reports, evidence, and what the CMDB learns.

use paramedic_model::{CloseCode, IncidentState as S, OperationalStatus, RunState as R, Verdict};

use super::rules::{DISK, set};
use super::world::{World, disk, t};

fn broken() -> World {
    let mut w = World::new(set("auto", DISK));
    w.event(disk("web-1", 95));
    assert_eq!(w.steps(), "incident_opened, run_decided, -> in_progress");
    w
}

#[test]
fn evidence_after_the_run_started_credits_it() {
    let mut w = broken();
    w.at("1m").report(R::Started).at("2m").report(R::Succeeded);
    assert_eq!(w.incident().state, S::InProgress, "a report never resolves");
    w.at("3m").event(disk("web-1", 10));
    assert_eq!(w.steps(), "run_reported, run_reported, run_judged, -> resolved");
    assert_eq!(
        (w.incident().close_code, w.run().verdict),
        (Some(CloseCode::SolutionProvided), Some(Verdict::Verified))
    );
}

#[test]
fn evidence_about_a_time_before_the_run_started_does_not() {
    let mut w = broken();
    w.at("1m").report(R::Started).at("2m").report(R::Succeeded).event(disk("web-1", 10).time("59s"));
    assert_eq!(w.incident().state, S::Resolved);
    assert_eq!(w.incident().close_code, Some(CloseCode::NoResolutionProvided));
    assert_eq!(w.run().verdict, Some(Verdict::Ambiguous));
}

#[test]
fn recovery_before_the_run_left_withdraws_it() {
    let mut w = broken();
    w.at("1m").event(disk("web-1", 10));
    assert_eq!(w.steps(), "run_withdrawn, -> resolved");
    assert_eq!((w.run().state, w.store.scopes["default"].withdrawn.clone()), (R::Cancelled, vec![w.run().key("test")]));
    w.report(R::Started).report(R::Succeeded);
    assert_eq!((w.run().state, w.incident().state), (R::Succeeded, S::Resolved), "it had left already");
}

#[test]
fn nothing_resolves_while_a_run_is_in_flight() {
    let mut w = broken();
    w.at("10s").report(R::Started).at("1m").event(disk("web-1", 10)).at("2m").report(R::Accepted).at("3m");
    assert_eq!(w.incident().state, S::InProgress);
    w.report(R::Succeeded);
    assert_eq!((w.incident().state, w.incident().close_code), (S::Resolved, Some(CloseCode::SolutionProvided)));
}

#[test]
fn recovery_seen_in_flight_that_is_lost_is_waited_for_again() {
    let mut w = broken();
    w.at("10s").report(R::Started).at("20s").event(disk("web-1", 10)).at("30s").event(disk("web-1", 95));
    w.at("40s").report(R::Succeeded).at("5m 39s");
    assert_eq!(w.runs(), ["clean succeeded"]);
    w.at("5m 40s");
    assert_eq!(w.runs(), ["clean succeeded", "grow pending"]);
}

#[test]
fn the_next_remedy_comes_when_there_is_no_evidence_within() {
    let mut w = broken();
    w.at("1m").report(R::Succeeded).at("5m 59s").steps();
    assert_eq!(w.runs(), ["clean succeeded"]);
    w.at("6m");
    assert_eq!(w.steps(), "run_judged, run_decided");
    assert_eq!(
        w.store.scopes["default"].runs.values().filter_map(|r| r.verdict).collect::<Vec<_>>(),
        [Verdict::NotVerified]
    );
}

#[test]
fn a_failed_or_denied_run_makes_way_for_the_next_at_once() {
    for state in [R::Failed, R::Denied] {
        let mut w = broken();
        w.at("1m").report(state);
        assert_eq!(w.steps(), "run_reported, run_judged, run_decided");
        assert_eq!(w.runs(), [format!("clean {}", state.name()), "grow pending".to_owned()]);
    }
}

#[test]
fn when_every_remedy_has_failed_people_are_told_once() {
    let mut w = broken();
    w.at("1m").report(R::Failed).at("2m").report(R::Failed);
    assert_eq!(w.pages(), ["team: every remedy failed"]);
    w.at("3m").event(disk("web-1", 99)).report(R::Failed).at("2h");
    assert_eq!((w.pages().len(), w.runs().len()), (1, 2));
    assert!(w.incident().plan.exhausted);
}

#[test]
fn a_later_hold_is_the_remedys_own() {
    let mut w = broken();
    w.at("1m").report(R::Failed).at("2m").report(R::Started).report(R::Succeeded).at("3m").event(disk("web-1", 10));
    assert_eq!(w.incident().state, S::InProgress);
    w.at("3m 29s");
    assert_eq!(w.incident().state, S::InProgress);
    w.at("3m 30s");
    assert_eq!((w.incident().state, w.incident().close_code), (S::Resolved, Some(CloseCode::SolutionProvided)));
}

#[test]
fn recovery_that_is_lost_in_the_hold_leaves_the_run_what_is_left_of_its_time() {
    let mut w = broken();
    w.at("1m").report(R::Failed).at("2m").report(R::Started).at("3m").event(disk("web-1", 10));
    // Seen in flight; the report comes; lost in the hold; `within` (2m) began at the report.
    w.at("3m 10s").report(R::Succeeded).at("3m 20s").event(disk("web-1", 95)).steps();
    w.at("5m 9s");
    assert_eq!(w.steps(), "");
    w.at("5m 10s");
    assert_eq!(w.steps(), "run_judged, remedies_failed, page_decided");
}

#[test]
fn a_run_that_was_denied_while_recovery_was_seen_does_not_block_the_plan() {
    let rules = DISK.replace("close_after: 1h", "close_after: 1h, hold: 1m");
    let mut w = World::new(set("auto", &rules));
    w.event(disk("web-1", 95)).at("10s").event(disk("web-1", 10)).at("20s").report(R::Denied);
    w.at("30s").event(disk("web-1", 95));
    assert_eq!(w.runs(), ["clean denied", "grow pending"]);
}

#[test]
fn an_unknown_run_blocks_further_remedies_and_pages() {
    let mut w = broken();
    w.at("1m").report(R::Started).at("2m").report(R::Unknown).at("2h").event(disk("web-1", 99));
    assert_eq!(w.runs(), ["clean unknown"]);
    assert_eq!(w.pages(), ["team: nobody knows whether the run happened"]);
    w.event(disk("web-1", 10));
    assert_eq!(w.incident().state, S::InProgress, "nothing resolves while it may still act");
    w.at("3h").report(R::Succeeded);
    assert_eq!((w.incident().state, w.run().state), (S::Resolved, R::Succeeded));
    assert_eq!(w.incident().close_code, Some(CloseCode::SolutionProvided));
}

#[test]
fn a_late_report_of_failure_settles_an_unknown_run_and_the_plan_goes_on() {
    let mut w = broken();
    w.at("1m").report(R::Unknown).at("1h").report(R::Failed);
    assert_eq!(w.runs(), ["clean failed", "grow pending"]);
    w.report(R::Unknown);
    assert_eq!(w.pages().len(), 2, "two unknown runs are two pages");
    let ids: std::collections::BTreeSet<_> = w.store.scopes["default"].outbox.iter().map(|row| row.key).collect();
    assert_eq!(ids.len(), w.outbox(), "each row has a key of its own");
}

#[test]
fn where_the_playbook_says_verify_evidence_decides_about_an_unknown_run() {
    let mut w = broken();
    w.at("1m").report(R::Failed).at("2m").report(R::Started).report(R::Unknown).at("3m").event(disk("web-1", 10));
    w.at("3m 30s");
    assert_eq!((w.incident().state, w.run().verdict), (S::Resolved, Some(Verdict::Verified)));
}

#[test]
fn an_unknown_run_without_evidence_in_time_pages_again_and_still_blocks() {
    let mut w = broken();
    w.at("1m").report(R::Failed).at("2m").report(R::Unknown).at("4m");
    assert_eq!(w.pages()[1], "team: unknown, and no evidence in time");
    assert_eq!((w.runs().len(), w.incident().plan.exhausted), (2, false));
    assert_eq!(w.outbox(), 4);
}

#[test]
fn a_reopened_incident_goes_on_at_the_first_untried_remedy() {
    let mut w = broken();
    w.at("1m").report(R::Succeeded).at("2m").event(disk("web-1", 10)).at("3m").steps();
    w.event(disk("web-1", 95));
    assert_eq!(w.steps(), "-> in_progress, run_decided");
    assert_eq!((w.run().playbook.as_str(), w.run().round), ("grow", 1));
    w.report(R::Failed);
    assert_eq!(w.pages(), ["team: every remedy failed"]);
}

#[test]
fn under_record_only_the_first_remedy_is_decided() {
    let mut w = World::new(set("record", DISK));
    w.event(disk("web-1", 95)).at("1h").event(disk("web-1", 99));
    assert_eq!((w.runs(), w.outbox(), w.incident().state), (vec!["clean would_be".to_owned()], 0, S::New));
    assert_eq!(w.pages().len(), 0);
}

#[test]
fn a_remedy_without_a_target_is_skipped_and_says_why() {
    let mut w = World::new(set("auto", DISK));
    w.event(disk("web-9", 95));
    assert_eq!(w.steps(), "incident_opened, remedy_skipped, remedy_skipped, remedies_failed, page_decided");
}

#[test]
fn the_result_and_its_verification_are_written_back_to_the_ci() {
    let mut w = broken();
    w.at("1m").report(R::Started).at("2m").report(R::Succeeded);
    assert_eq!(w.ci("web-1").operational_status, Some(OperationalStatus::RepairInProgress));
    w.at("3m").event(disk("web-1", 10));
    let ci = w.ci("web-1");
    let last = &ci.attributes["last_remediation"];
    assert_eq!(ci.operational_status, Some(OperationalStatus::Operational));
    assert_eq!((last.value["playbook"].as_str(), last.value["result"].as_str()), (Some("clean"), Some("succeeded")));
    assert_eq!((last.value["verified"].as_bool(), last.at), (Some(true), t("3m")));
    assert_eq!((ci.attributes["fact.freed"].value.as_i64(), ci.environment.as_deref()), (Some(7), Some("test")));
    assert_eq!(ci.attributes["fact.freed"].source, format!("run:{}", w.run().id));
}

#[test]
fn a_ci_whose_incident_is_over_does_not_stay_in_repair() {
    let mut w = broken();
    w.at("1m").report(R::Failed).at("2m").report(R::Failed);
    assert_eq!(w.ci("web-1").operational_status, Some(OperationalStatus::NonOperational));
    w.at("1h").event(disk("web-1", 10));
    assert_eq!(w.incident().close_code, Some(CloseCode::NoResolutionProvided));
    assert_eq!(w.ci("web-1").operational_status, Some(OperationalStatus::Operational));
    let mut w = broken();
    w.at("1m").report(R::Started).resolve().at("2m").report(R::Succeeded);
    assert_eq!(w.ci("web-1").operational_status, None, "nobody waited for that report");
}
