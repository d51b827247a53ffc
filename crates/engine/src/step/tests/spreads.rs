//! Facts about remedies with many targets: one, then a tenth, then the rest, and what stops them.

use paramedic_model::{CloseCode, CmdbDelta, InboxBody, IncidentState as S, OperatorAct, RunState as R, Verdict};

use super::rules::set;
use super::world::{SCOPE, World, disk, firing, resolved, server};

pub(super) const HOSTS: [&str; 12] =
    ["h-01", "h-02", "h-03", "h-04", "h-05", "h-06", "h-07", "h-08", "h-09", "h-10", "h-11", "h-12"];

/// A pool is down; its hosts are treated in waves of 1, 2 (a tenth of 12) and 9. A host is well when its disk says 10.
pub(super) fn rules(more: &str) -> String {
    let hosts = HOSTS.map(|host| format!("\"{host}\"")).join(", ");
    format!(
        "
  - rule: pool
    when: event.type == \"down\"
    by: [event.labels.pool]
    incident: {{ summary: x, close_after: 1h }}
    remedy:
      - playbook: clean
        target: '= [{hosts}]'
        spread: [1, 10%, rest]
        verify: {{ when: 'event.type == \"disk\" && event.value < 80', within: 5m, hold: 1m }}
        {more}
      - playbook: grow
        target: = \"web-1\"
    escalate: [ {{ at: remedies_failed, to: team }}, {{ at: run_unknown, to: team }} ]
  - rule: full
    when: event.type == \"disk\" && event.value >= 90
    by: [event.ci]
    incident: {{ summary: y }}
"
    )
}

pub(super) fn of(autonomy: &str, more: &str) -> World {
    let mut w = World::new(set(autonomy, &rules(more)));
    let cis = HOSTS.map(|name| server(SCOPE, name)).to_vec();
    w.inbox(InboxBody::Cmdb(CmdbDelta { by: "test".into(), cis, relations: vec![] }));
    w.event(firing("web-1").label("pool", "p"));
    w
}

pub(super) fn spreading() -> World {
    of("auto", "rollback: reboot")
}

/// Playbook, target and state, in the order of targets.
pub(super) fn runs(w: &World) -> Vec<String> {
    let mut runs: Vec<_> = w.store.scopes[SCOPE].runs.values().collect();
    runs.sort_by_key(|r| (r.playbook.clone(), r.target.name.clone()));
    runs.iter().map(|r| format!("{} {} {}", r.playbook, r.target.name, r.state.name())).collect()
}

pub(super) fn count(w: &World, playbook: &str, state: R) -> usize {
    let all = w.store.scopes[SCOPE].runs.values();
    all.filter(|r| r.playbook == playbook && r.state == state).count()
}

/// These targets' runs leave and succeed.
pub(super) fn succeed(w: &mut World, targets: &[&'static str]) {
    for target in targets {
        w.report_of(target, R::Started).report_of(target, R::Succeeded);
    }
}

pub(super) fn well(w: &mut World, targets: &[&'static str]) {
    for target in targets {
        w.event(disk(target, 10));
    }
}

/// The first wave at 1m, well at once; the second is decided at 2m.
pub(super) fn second_wave() -> World {
    let mut w = spreading();
    w.at("1m");
    succeed(&mut w, &HOSTS[..1]);
    well(&mut w, &HOSTS[..1]);
    w.at("2m");
    assert_eq!(runs(&w), ["clean h-01 succeeded", "clean h-02 pending", "clean h-03 pending"]);
    w
}

#[test]
fn it_goes_to_one_then_a_tenth_then_the_rest_each_when_those_before_are_well() {
    let mut w = spreading();
    assert_eq!((runs(&w), w.incident().plan.ahead.len()), (vec!["clean h-01 pending".to_owned()], 11));
    w.at("1m");
    succeed(&mut w, &HOSTS[..1]);
    w.at("2m");
    assert_eq!(w.runs().len(), 1, "a playbook's word moves nothing");
    well(&mut w, &["h-02", "web-2"]);
    w.at("3m");
    assert_eq!(w.runs().len(), 1, "nor does what others show");
    well(&mut w, &HOSTS[..1]);
    w.at("3m 59s");
    assert_eq!(w.runs().len(), 1, "it must stay well for the hold");
    w.at("4m");
    assert_eq!(runs(&w), ["clean h-01 succeeded", "clean h-02 pending", "clean h-03 pending"]);
    // In any order, and before or after the report.
    w.report_of("h-02", R::Started).at("5m").event(disk("h-02", 10)).report_of("h-02", R::Succeeded);
    w.report_of("h-03", R::Started).report_of("h-03", R::Succeeded);
    w.at("7m").event(disk("h-03", 10)).at("8m");
    assert_eq!((count(&w, "clean", R::Pending), w.incident().plan.ahead.len()), (9, 0));
    succeed(&mut w, &HOSTS[3..]);
    w.at("9m");
    well(&mut w, &HOSTS[3..]);
    assert_eq!(w.incident().state, S::InProgress);
    w.at("10m");
    assert_eq!((w.incident().state, w.incident().close_code), (S::Resolved, Some(CloseCode::SolutionProvided)));
    let verified = w.live().runs.values().filter(|r| r.verdict == Some(Verdict::Verified)).count();
    assert_eq!((verified, w.runs().len(), w.pages().len()), (12, 12, 0));
    let notes = w.incident().close_notes.clone().unwrap();
    assert!(notes.starts_with("clean on h-01 and 11 more, verified by"), "{notes}");
}

#[test]
fn a_restart_between_two_waves_changes_nothing() {
    let mut w = spreading();
    w.at("1m").restart();
    succeed(&mut w, &HOSTS[..1]);
    w.restart();
    well(&mut w, &HOSTS[..1]);
    w.restart().at("2m").restart();
    assert_eq!(count(&w, "clean", R::Pending), 2);
    succeed(&mut w, &HOSTS[1..3]);
    well(&mut w, &HOSTS[1..3]);
    w.restart().at("3m");
    assert_eq!(count(&w, "clean", R::Pending), 9);
}

#[test]
fn a_target_that_is_not_well_in_time_stops_it_and_what_was_reached_is_rolled_back() {
    let mut w = second_wave();
    succeed(&mut w, &HOSTS[1..3]);
    well(&mut w, &["h-02"]);
    w.at("7m");
    let rolled_back = ["reboot h-01 pending", "reboot h-02 pending", "reboot h-03 pending"];
    assert_eq!(runs(&w)[3..], rolled_back);
    assert_eq!(count(&w, "clean", R::Pending), 0, "nine were not touched");
    for host in &HOSTS[..3] {
        assert_eq!(count(&w, "grow", R::Pending), 0, "the next remedy waits for all of them");
        w.report_of(host, R::Started).report_of(host, R::Succeeded);
    }
    assert_eq!(count(&w, "grow", R::Pending), 1);
}

#[test]
fn one_rollback_that_fails_does_not_keep_the_others_from_going() {
    let mut w = second_wave();
    succeed(&mut w, &HOSTS[1..3]);
    w.at("7m").report_of("h-01", R::Started).report_of("h-01", R::Failed);
    assert_eq!((w.pages().len(), w.incident().plan.exhausted), (1, true));
    assert_eq!(w.incident().plan.current.len(), 2, "the guards still let the other two go");
    succeed(&mut w, &HOSTS[1..3]);
    w.at("20m");
    assert_eq!((count(&w, "reboot", R::Succeeded), count(&w, "grow", R::Pending)), (2, 0));
}

#[test]
fn a_run_that_fails_withdraws_what_has_not_left_and_waits_for_what_has() {
    let mut w = second_wave();
    succeed(&mut w, &HOSTS[1..3]);
    well(&mut w, &HOSTS[1..3]);
    w.at("3m").report_of("h-04", R::Started).report_of("h-05", R::Started).report_of("h-04", R::Failed);
    assert_eq!((count(&w, "clean", R::Cancelled), count(&w, "clean", R::Started)), (7, 1));
    assert_eq!(count(&w, "reboot", R::Pending), 0, "h-05 may still act");
    w.report_of("h-05", R::Succeeded);
    // Five had left; one says so after it was withdrawn, and is taken back like them.
    assert_eq!(count(&w, "reboot", R::Pending), 5);
    w.report_of("h-06", R::Started).report_of("h-06", R::Succeeded);
    assert_eq!(count(&w, "reboot", R::Pending), 6);
}

#[test]
fn of_a_target_nobody_knows_about_blocks_the_rest() {
    let mut w = second_wave();
    succeed(&mut w, &["h-02"]);
    w.report_of("h-03", R::Started).report_of("h-03", R::Unknown);
    well(&mut w, &HOSTS[1..3]);
    w.at("3h");
    assert_eq!((w.runs().len(), w.pages()), (3, vec!["team: nobody knows whether clean on h-03 happened".to_owned()]));
    w.report_of("h-03", R::Succeeded).at("3h 1m");
    assert_eq!(count(&w, "clean", R::Pending), 9);
}

#[test]
fn an_incident_about_a_treated_target_stops_it_and_one_about_another_does_not() {
    let mut w = second_wave();
    w.event(disk("h-12", 95));
    succeed(&mut w, &HOSTS[1..3]);
    well(&mut w, &HOSTS[1..3]);
    w.at("3m");
    assert_eq!(count(&w, "clean", R::Pending), 9);
    let mut w = second_wave();
    succeed(&mut w, &HOSTS[1..3]);
    well(&mut w, &HOSTS[1..3]);
    w.event(disk("h-01", 95)).at("3m");
    assert_eq!((count(&w, "clean", R::Pending), count(&w, "reboot", R::Pending)), (0, 3));
}

#[test]
fn a_target_that_falls_ill_again_has_what_is_left_of_its_time() {
    let mut w = second_wave();
    succeed(&mut w, &HOSTS[1..3]);
    w.at("2m 30s");
    well(&mut w, &HOSTS[1..3]);
    w.at("3m").event(firing("h-02").label("pool", "p")).at("4m");
    assert_eq!(w.runs().len(), 3, "the hold is broken");
    well(&mut w, &["h-02"]);
    w.at("5m");
    assert_eq!(count(&w, "clean", R::Pending), 9);
    let mut w = second_wave();
    succeed(&mut w, &HOSTS[1..3]);
    well(&mut w, &HOSTS[1..3]);
    w.at("2m 30s").event(firing("h-02").label("pool", "p")).at("6m 59s");
    assert_eq!(w.runs().len(), 3);
    w.at("7m");
    assert_eq!(count(&w, "reboot", R::Pending), 3);
}

#[test]
fn recovery_of_the_incident_ends_it_before_all_were_reached() {
    let mut w = second_wave();
    succeed(&mut w, &["h-02"]);
    w.event(resolved("web-1").label("pool", "p"));
    assert_eq!(w.incident().state, S::InProgress, "it must stay so");
    w.at("3m");
    assert_eq!((w.incident().state, w.incident().close_code), (S::Resolved, Some(CloseCode::SolutionProvided)));
    assert_eq!(runs(&w), ["clean h-01 succeeded", "clean h-02 succeeded", "clean h-03 cancelled"]);
    w.at("30m");
    assert_eq!(w.runs().len(), 3);
}

#[test]
fn what_comes_back_after_all_were_well_was_not_mended_by_it() {
    let mut w = second_wave();
    succeed(&mut w, &HOSTS[1..3]);
    well(&mut w, &HOSTS[1..3]);
    w.at("3m");
    succeed(&mut w, &HOSTS[3..]);
    well(&mut w, &HOSTS[3..]);
    w.at("3m 30s").event(firing("web-2").label("pool", "p"));
    assert_eq!((w.incident().evidence.clone(), count(&w, "reboot", R::Pending)), (None, 12));
}

#[test]
fn one_approval_covers_all_of_it_and_names_how_many() {
    let mut w = of("auto", "approve: { by: desk, within: 30m }");
    let asked = w.pages();
    let may = "desk: may clean run on h-01, and when it is well there on 11 more? `paramedic approve ";
    assert!(asked[0].starts_with(may), "{asked:?}");
    let run = w.run().id;
    w.act(OperatorAct::Approve { run }).at("1m");
    succeed(&mut w, &HOSTS[..1]);
    well(&mut w, &HOSTS[..1]);
    w.at("2m");
    assert_eq!(count(&w, "clean", R::Pending), 2);
    assert!(w.live().runs.values().all(|r| r.decided_by.as_deref() == Some("ann")));
    let mut w = of("auto", "approve: { by: desk, within: 30m, otherwise: next }");
    let run = w.run().id;
    w.act(OperatorAct::Reject { run, reason: "no".into() });
    assert_eq!(
        (runs(&w), w.incident().plan.ahead.len()),
        (vec!["clean h-01 rejected".into(), "grow web-1 pending".into()], 0)
    );
}

#[test]
fn under_record_the_first_target_stands_for_all() {
    let mut w = of("record", "");
    assert_eq!(runs(&w), ["clean h-01 would_be"]);
    let reason = w.last_rows(9).into_iter().find(|row| row.step == "run_decided").unwrap().reason;
    assert_eq!(reason, "would run clean on h-01, and when it is well there on 11 more");
    w.at("1h").event(disk("h-01", 10)).at("2h");
    assert_eq!(w.runs().len(), 1);
}

#[test]
fn what_may_not_be_done_on_one_target_is_begun_on_none() {
    for (cis, why) in [(HOSTS[..11].to_vec(), "h-12"), (HOSTS[..12].to_vec(), "environment")] {
        let mut w = World::new(set("auto", &rules("")));
        let foreign = |name: &str| {
            let mut ci = server(SCOPE, name);
            if name == "h-07" && cis.len() == 12 {
                ci.environment = Some("production".into());
            }
            ci
        };
        let cis = cis.iter().map(|name| foreign(name)).collect();
        w.inbox(InboxBody::Cmdb(CmdbDelta { by: "test".into(), cis, relations: vec![] }));
        w.event(firing("web-1").label("pool", "p"));
        assert_eq!(runs(&w), ["grow web-1 pending"]);
        let skipped = w.last_rows(9).into_iter().find(|row| row.step == "remedy_skipped").unwrap();
        assert!(skipped.reason.contains(why), "{}", skipped.reason);
    }
}

#[test]
fn only_if_is_asked_before_each_wave() {
    let mut w = of("auto", "only_if: '!has(open_incident(cmdb.ci(\"web-2\")))'");
    w.at("1m");
    succeed(&mut w, &HOSTS[..1]);
    well(&mut w, &HOSTS[..1]);
    w.event(disk("web-2", 95)).at("2m");
    assert_eq!(runs(&w), ["clean h-01 succeeded", "grow web-1 pending"]);
}

#[test]
fn while_its_source_is_away_it_does_not_go_on() {
    let mut w = spreading();
    w.at("1m");
    succeed(&mut w, &HOSTS[..1]);
    well(&mut w, &HOSTS[..1]);
    w.away(&["mon"]).at("10m");
    assert_eq!(w.runs().len(), 1);
    w.away(&[]).at("12m");
    assert_eq!(count(&w, "clean", R::Pending), 2);
}

#[test]
fn of_a_wave_about_which_nobody_knows_people_are_told_once_and_of_each_rollback_that_fails() {
    let mut w = second_wave();
    w.report_of("h-02", R::Started).report_of("h-02", R::Unknown).report_of("h-03", R::Started);
    w.report_of("h-03", R::Unknown);
    assert_eq!(w.pages().len(), 1);
    w.report_of("h-02", R::Failed).report_of("h-03", R::Failed);
    for host in &HOSTS[..3] {
        w.report_of(host, R::Started).report_of(host, R::Failed);
    }
    let pages = &w.store.scopes[SCOPE].pages;
    let ids: std::collections::BTreeSet<_> = pages.iter().map(|page| page.id).collect();
    assert_eq!((pages.len(), ids.len()), (4, 4), "each has a key of its own");
}
