//! Facts about how remedies with many targets end: late reports, failures among several, what nobody knows, and incidents
//! that others share.

use paramedic_model::{CloseCode, CmdbDelta, InboxBody, IncidentState as S, Run, RunReport, RunState as R, Verdict};

use super::rules::set;
use super::spreads::*;
use super::world::{SCOPE, World, disk, firing, resolved, server};

fn rep(w: &mut World, playbook: &str, target: &str, state: R) {
    let runs = w.store.scopes[SCOPE].runs.values().filter(|r| r.target.name == target && r.playbook == playbook);
    let run = runs.max_by_key(|r| (r.decided_at, r.round, r.step.clone())).unwrap().id;
    rep_id(w, run, state);
}

fn rep_id(w: &mut World, run: paramedic_model::Id, state: R) {
    let now = w.now();
    w.inbox(InboxBody::RunReported(RunReport {
        run,
        state,
        started_at: (state != R::Denied).then_some(now),
        message: "said so".into(),
        facts: Default::default(),
        verdicts: vec![],
    }));
}

fn one<'a>(w: &'a World, playbook: &str, target: &str) -> &'a Run {
    w.store.scopes[SCOPE].runs.values().find(|r| r.target.name == target && r.playbook == playbook).unwrap()
}

fn decided_runs(w: &World) -> (usize, usize) {
    let all = &w.store.scopes[SCOPE].history;
    let of: Vec<_> = all.iter().filter(|row| row.step == "run_decided").collect();
    (of.len(), w.runs().len())
}

fn third_wave() -> World {
    let mut w = second_wave();
    succeed(&mut w, &HOSTS[1..3]);
    well(&mut w, &HOSTS[1..3]);
    w.at("3m");
    assert_eq!(count(&w, "clean", R::Pending), 9);
    w
}

#[test]
fn a_run_that_says_late_that_it_had_left_is_rolled_back_once() {
    let mut w = third_wave();
    w.report_of("h-04", R::Started).report_of("h-05", R::Started).report_of("h-04", R::Failed);
    w.report_of("h-06", R::Started).report_of("h-06", R::Succeeded);
    // As it is now, its rollback is decided here, before h-05 reports.
    let early = count(&w, "reboot", R::Pending) == 1;
    if early {
        rep(&mut w, "reboot", "h-06", R::Started);
        rep(&mut w, "reboot", "h-06", R::Succeeded);
    }
    rep(&mut w, "clean", "h-05", R::Succeeded);
    let (decided, known) = decided_runs(&w);
    for host in &HOSTS[..if early { 5 } else { 6 }] {
        rep(&mut w, "reboot", host, R::Started);
        rep(&mut w, "reboot", host, R::Succeeded);
    }
    assert_eq!(decided, known, "one decision, one key");
    assert_eq!(count(&w, "grow", R::Pending), 1);
}

#[test]
fn two_that_failed_while_recovery_was_watched_are_rolled_back_once() {
    let mut w = second_wave();
    w.report_of("h-02", R::Started).report_of("h-03", R::Started);
    w.at("2m 10s").event(resolved("web-1").label("pool", "p"));
    w.report_of("h-02", R::Failed).report_of("h-03", R::Failed);
    w.at("2m 20s").event(firing("web-2").label("pool", "p"));
    let (decided, known) = decided_runs(&w);
    assert_eq!(decided, known, "one decision, one key");
}

#[test]
fn a_target_that_falls_ill_before_the_report_is_not_judged_before_it() {
    let mut w = spreading();
    w.at("1m").report_of("h-01", R::Started).event(disk("h-01", 10));
    w.at("1m 10s").event(firing("h-01").label("pool", "p"));
    assert_eq!(one(&w, "clean", "h-01").verdict, None, "it is in flight, and its within has not begun");
    assert_eq!(count(&w, "grow", R::Pending), 0, "nothing else while it is in flight");
}

#[test]
fn where_rules_share_the_incident_it_waits_for_them_when_all_targets_are_well() {
    let rules = rules("").replace(
        "incident: { summary: x, close_after: 1h }",
        "incident: { summary: x, close_after: 1h, key: [event.labels.pool] }",
    );
    let mut w = World::new(set("auto", &rules));
    let cis = HOSTS.map(|name| server(SCOPE, name)).to_vec();
    w.inbox(InboxBody::Cmdb(CmdbDelta { by: "test".into(), cis, relations: vec![] }));
    w.event(firing("web-1").label("pool", "p"));
    w.at("1m");
    succeed(&mut w, &HOSTS[..1]);
    well(&mut w, &HOSTS[..1]);
    w.at("2m");
    succeed(&mut w, &HOSTS[1..3]);
    well(&mut w, &HOSTS[1..3]);
    w.at("3m");
    succeed(&mut w, &HOSTS[3..]);
    well(&mut w, &HOSTS[3..]);
    w.at("10m");
    w.at("1h").event(resolved("web-1").label("pool", "p")).at("10h");
    assert!(!w.incident().state.is_open(), "no timer, no page, and its own clear changes nothing");
}

fn of_grow(more: &str) -> World {
    let rules = rules(more)
        .replace("- playbook: clean", "- playbook: TMP")
        .replace("- playbook: grow", "- playbook: clean")
        .replace("TMP", "grow");
    let mut w = World::new(set("auto", &rules));
    let cis = HOSTS.map(|name| server(SCOPE, name)).to_vec();
    w.inbox(InboxBody::Cmdb(CmdbDelta { by: "test".into(), cis, relations: vec![] }));
    w.event(firing("web-1").label("pool", "p"));
    w
}

#[test]
fn what_failed_on_one_target_is_not_mended_because_the_others_are_well() {
    let mut w = of_grow("rollback: reboot");
    w.at("1m");
    succeed(&mut w, &HOSTS[..1]);
    well(&mut w, &HOSTS[..1]);
    w.at("2m");
    w.report_of("h-02", R::Started).report_of("h-03", R::Started).report_of("h-02", R::Failed);
    w.event(disk("h-03", 10)).report_of("h-03", R::Unknown);
    w.at("20m");
    assert_ne!(w.incident().close_code, Some(CloseCode::SolutionProvided));
}

#[test]
fn a_failure_is_not_forgotten_while_recovery_comes_and_goes() {
    let mut w = second_wave();
    w.report_of("h-02", R::Started).report_of("h-03", R::Started).report_of("h-02", R::Failed);
    w.at("2m 10s").event(resolved("web-1").label("pool", "p"));
    w.report_of("h-03", R::Succeeded);
    w.at("2m 20s").event(firing("web-2").label("pool", "p"));
    well(&mut w, &["h-03"]);
    w.at("20m");
    assert_ne!(w.incident().close_code, Some(CloseCode::SolutionProvided));
}

#[test]
fn a_late_run_of_one_spread_leaves_the_next_spread_whole() {
    let hosts = HOSTS.map(|host| format!("\"{host}\"")).join(", ");
    let rules = rules("rollback: reboot").replace(
        "target: = \"web-1\"",
        &format!("target: '= [{hosts}]'\n        spread: [1, rest]\n        verify: {{ when: 'event.type == \"disk\" && event.value < 80', within: 5m, hold: 1m }}"),
    );
    let mut w = World::new(set("auto", &rules));
    let cis = HOSTS.map(|name| server(SCOPE, name)).to_vec();
    w.inbox(InboxBody::Cmdb(CmdbDelta { by: "test".into(), cis, relations: vec![] }));
    w.event(firing("web-1").label("pool", "p"));
    w.at("1m");
    succeed(&mut w, &HOSTS[..1]);
    well(&mut w, &HOSTS[..1]);
    w.at("2m");
    w.report_of("h-02", R::Started).report_of("h-02", R::Failed);
    for host in &HOSTS[..2] {
        rep(&mut w, "reboot", host, R::Started);
        rep(&mut w, "reboot", host, R::Succeeded);
    }
    assert_eq!(count(&w, "grow", R::Pending), 1);
    assert_eq!(w.incident().plan.ahead.len(), 11);
    // h-03 had left before it was withdrawn.
    rep(&mut w, "clean", "h-03", R::Started);
    rep(&mut w, "clean", "h-03", R::Succeeded);
    rep(&mut w, "reboot", "h-03", R::Started);
    rep(&mut w, "reboot", "h-03", R::Succeeded);
    rep(&mut w, "grow", "h-01", R::Started);
    rep(&mut w, "grow", "h-01", R::Succeeded);
    well(&mut w, &["h-01"]);
    w.at("10m");
    assert_eq!(count(&w, "grow", R::Pending), 11);
}

#[test]
fn a_report_of_the_round_before_rolls_nothing_back() {
    let mut w = second_wave();
    w.report_of("h-02", R::Started);
    w.resolve();
    w.at("2m 30s").event(firing("web-2").label("pool", "p"));
    assert_eq!(w.incident().plan.round, 1);
    rep(&mut w, "clean", "h-02", R::Succeeded);
    assert_eq!(count(&w, "reboot", R::Pending), 0, "it did not fail: a person resolved the incident");
}

#[test]
fn what_was_verified_is_not_rolled_back_when_it_is_settled_after_a_reopen() {
    let mut w = of_grow("rollback: reboot");
    w.at("1m").report_of("h-01", R::Started).report_of("h-01", R::Unknown);
    well(&mut w, &["h-01"]);
    w.event(resolved("web-1").label("pool", "p"));
    w.at("3m");
    assert_eq!((w.incident().state, one(&w, "grow", "h-01").verdict), (S::Resolved, Some(Verdict::Verified)));
    w.at("4m").event(firing("web-1").label("pool", "p"));
    rep(&mut w, "grow", "h-01", R::Succeeded);
    assert_eq!(count(&w, "reboot", R::Pending), 0, "verified, and rolled back");
}

#[test]
fn what_is_older_than_a_loss_shows_nothing() {
    let mut w = second_wave();
    succeed(&mut w, &HOSTS[1..3]);
    well(&mut w, &HOSTS[1..3]);
    w.at("2m 30s").event(firing("h-02").label("pool", "p"));
    // Late: of a time before h-02 fell ill.
    w.at("2m 40s").event(disk("h-02", 10).time("2m 10s"));
    w.at("4m");
    assert_eq!(count(&w, "clean", R::Pending), 0, "nothing newer than its illness says that h-02 is well");
}

#[test]
fn recovery_from_before_the_first_run_earns_no_credit() {
    let mut w = spreading();
    w.at("1m").report_of("h-01", R::Started);
    well(&mut w, &["h-01"]);
    w.event(resolved("web-1").label("pool", "p").time("30s"));
    w.report_of("h-01", R::Succeeded);
    w.at("5m");
    assert_eq!(w.incident().close_code, Some(CloseCode::NoResolutionProvided));
}

#[test]
fn a_spread_that_stops_waits_for_what_is_unknown_of_it() {
    let mut w = of_grow("only_if: '!has(open_incident(cmdb.ci(\"web-2\")))'\n        rollback: reboot");
    w.at("1m").report_of("h-01", R::Started).report_of("h-01", R::Unknown);
    well(&mut w, &["h-01"]);
    w.event(disk("web-2", 95)).at("2m");
    assert_eq!(count(&w, "clean", R::Pending), 0, "nobody knows whether grow still acts on h-01");
}

#[test]
fn what_is_unknown_of_each_wave_is_told() {
    let mut w = of_grow("");
    w.at("1m").report_of("h-01", R::Started).report_of("h-01", R::Unknown);
    well(&mut w, &["h-01"]);
    w.at("2m");
    assert_eq!((w.pages().len(), count(&w, "grow", R::Pending)), (1, 2));
    w.report_of("h-02", R::Started).report_of("h-02", R::Unknown);
    assert_eq!(w.pages().len(), 2, "another wave: {:?}", w.pages());
}

#[test]
fn each_page_about_an_unknown_run_has_a_key_of_its_own() {
    let mut w = of_grow("");
    w.at("1m").report_of("h-01", R::Started).report_of("h-01", R::Unknown);
    w.at("5m 30s");
    well(&mut w, &["h-01"]);
    // within ends at 6m, hold at 6m 30s
    w.at("6m 10s").event(firing("h-01").label("pool", "p"));
    w.at("6m 20s");
    well(&mut w, &["h-01"]);
    w.at("6m 30s").event(firing("h-01").label("pool", "p").key("another"));
    let pages = &w.store.scopes[SCOPE].pages;
    let ids: std::collections::BTreeSet<_> = pages.iter().map(|page| page.id).collect();
    assert_eq!(pages.len(), ids.len());
}

#[test]
fn each_unknown_rollback_is_told() {
    let mut w = second_wave();
    w.report_of("h-02", R::Started).report_of("h-02", R::Failed);
    rep(&mut w, "reboot", "h-01", R::Started);
    rep(&mut w, "reboot", "h-02", R::Started);
    let before = w.pages().len();
    rep(&mut w, "reboot", "h-01", R::Unknown);
    rep(&mut w, "reboot", "h-02", R::Unknown);
    // A person settles the one that they were told of.
    rep(&mut w, "reboot", "h-01", R::Succeeded);
    w.at("5h");
    assert_eq!(w.pages().len() - before, 2);
}

#[test]
fn a_ci_that_was_well_before_the_report_is_operational_after_it() {
    let mut w = spreading();
    w.at("1m").report_of("h-01", R::Started).event(disk("h-01", 10)).report_of("h-01", R::Succeeded);
    w.at("2m");
    let ci = w.ci("h-01");
    assert_eq!(ci.operational_status, Some(paramedic_model::OperationalStatus::Operational));
}

#[test]
fn that_all_are_well_is_no_recovery_where_the_rule_matched_since() {
    let mut w = third_wave();
    succeed(&mut w, &HOSTS[3..]);
    well(&mut w, &HOSTS[3..11]);
    w.at("4m").event(firing("web-2").label("pool", "p"));
    w.at("4m 10s").event(disk("h-12", 10).time("3m 50s"));
    w.at("10m");
    assert_ne!(w.incident().state, S::Resolved);
}

#[test]
fn what_recovery_withdrew_is_not_rolled_back_after_a_reopen() {
    let mut w = second_wave();
    w.event(resolved("web-1").label("pool", "p"));
    w.at("3m");
    assert_eq!(w.incident().state, S::Resolved);
    w.at("4m").event(firing("web-1").label("pool", "p"));
    rep(&mut w, "clean", "h-02", R::Started);
    rep(&mut w, "clean", "h-02", R::Succeeded);
    assert_eq!(count(&w, "reboot", R::Pending), 0);
}

#[test]
fn what_left_after_it_was_withdrawn_is_waited_for() {
    let mut w = third_wave();
    w.report_of("h-04", R::Started).report_of("h-05", R::Started).report_of("h-04", R::Failed);
    w.report_of("h-06", R::Started);
    rep(&mut w, "clean", "h-05", R::Succeeded);
    assert_eq!((count(&w, "reboot", R::Pending), count(&w, "grow", R::Pending)), (0, 0), "h-06 may still act");
    rep(&mut w, "clean", "h-06", R::Succeeded);
    assert_eq!(count(&w, "reboot", R::Pending), 6);
}

#[test]
fn it_does_not_resolve_over_the_heads_of_rules_that_share_the_incident() {
    let rules = rules("")
        .replace("close_after: 1h }", "close_after: 1h, key: [event.labels.pool] }")
        .replace(", hold: 1m", "")
        + "  - rule: other\n    when: event.type == \"slow\"\n    by: [event.labels.pool]\n    incident: { summary: z, key: [event.labels.pool] }\n";
    let mut w = World::new(set("auto", &rules));
    let cis = HOSTS.map(|name| server(SCOPE, name)).to_vec();
    w.inbox(InboxBody::Cmdb(CmdbDelta { by: "test".into(), cis, relations: vec![] }));
    w.event(firing("web-1").label("pool", "p"));
    w.at("30s").event(firing("web-2").label("pool", "p").type_("slow").key("slow"));
    assert_eq!((w.opened(), w.incident().shares.len()), (1, 2));
    w.at("1m");
    succeed(&mut w, &HOSTS[..1]);
    well(&mut w, &HOSTS[..1]);
    succeed(&mut w, &HOSTS[1..3]);
    well(&mut w, &HOSTS[1..3]);
    succeed(&mut w, &HOSTS[3..]);
    well(&mut w, &HOSTS[3..]);
    assert_ne!(w.incident().state, S::Resolved, "rule other still fires");
}

#[test]
fn while_the_source_that_tells_of_targets_is_away_it_does_not_go_on() {
    let mut w = spreading();
    w.at("1m");
    succeed(&mut w, &HOSTS[..1]);
    w.event(disk("h-01", 10).source("probe"));
    w.away(&["probe"]).at("10m");
    assert_eq!(w.runs().len(), 1, "nobody would hear that h-01 is ill");
}

#[test]
fn a_rulebook_that_was_lowered_meanwhile_begins_no_further_wave() {
    let mut w = spreading();
    w.at("1m");
    succeed(&mut w, &HOSTS[..1]);
    well(&mut w, &HOSTS[..1]);
    w.publish(set("record", &rules("rollback: reboot")));
    w.at("2m");
    assert_eq!(count(&w, "clean", R::Pending), 0, "nothing further leaves");
}

#[test]
fn where_one_target_is_in_trouble_the_others_stay_verified() {
    let mut w = second_wave();
    succeed(&mut w, &HOSTS[1..3]);
    well(&mut w, &HOSTS[1..3]);
    w.event(disk("h-01", 95)).at("3m");
    let v: Vec<_> = HOSTS[..3].iter().map(|h| one(&w, "clean", h).verdict).collect();
    assert_eq!(v[1], Some(Verdict::Verified), "h-02 is well, as where another run fails");
}

#[test]
fn a_plan_of_before_remedies_could_spread_is_read() {
    let plan: paramedic_model::Plan =
        serde_json::from_str(r#"{"round":0,"next":1,"current":null,"exhausted":false}"#).unwrap();
    assert!(plan.current.is_empty());
    let run: Run = serde_json::from_str(&{
        let w = spreading();
        let text = serde_json::to_string(one(&w, "clean", "h-01")).unwrap();
        assert!(!text.contains("evidence"));
        text
    })
    .unwrap();
    assert!(run.evidence.is_none());
}

#[test]
fn of_a_wave_that_is_denied_people_are_told_once() {
    let mut w =
        World::new(set("auto", &rules("").replace("{ at: run_unknown, to: team }", "{ at: guard_denied, to: team }")));
    let cis = HOSTS.map(|name| server(SCOPE, name)).to_vec();
    w.inbox(InboxBody::Cmdb(CmdbDelta { by: "test".into(), cis, relations: vec![] }));
    w.event(firing("web-1").label("pool", "p")).at("1m");
    succeed(&mut w, &HOSTS[..1]);
    well(&mut w, &HOSTS[..1]);
    w.at("2m").report_of("h-02", R::Denied);
    assert_eq!(w.pages().len(), 1);
    // The dispatcher had refused h-03 in the same round, before it was withdrawn.
    rep(&mut w, "clean", "h-03", R::Denied);
    assert_eq!(w.pages().len(), 1);
}
