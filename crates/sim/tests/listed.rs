//! The incidents of a replay, one by one, and the events behind them: those that armed a timer, where one fired.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{DISK, SERVICE, at, lines, options, run, set, set_of};
use paramedic_rulebook::RuleSet;
use paramedic_sim::replay::{EventRef, Listed};
use paramedic_sim::{ReplayOptions, Report, compare};

const WAITING: &str = r#"
rulebook: service
rules:
  - rule: link flaps
    when: event.type == "link.down"
    for: 2m
    by: [event.ci]
    clear: event.type == "link.up"
    incident: { summary: "{event.ci} is down", urgency: high }
  - rule: silent
    absent: event.type == "heartbeat"
    within: 5m
    by: [event.ci]
    incident: { summary: "{event.ci} is silent" }
  - rule: report
    every: "12 0 * * *"
    incident: { summary: Time for the report }
"#;

fn waiting() -> Arc<RuleSet> {
    set_of(DISK, WAITING)
}

fn event(id: &str, type_: &str, ci: &str, minutes: f64) -> String {
    format!(r#"{{"id":"{id}","type":"{type_}","ci":"{ci}","kind":"log","time":"{}"}}"#, at(minutes * 60.0))
}

fn input() -> Vec<String> {
    vec![
        event("a", "heartbeat", "web-1", 0.0),
        event("b", "heartbeat", "web-2", 0.0),
        event("c", "link.down", "sw-1", 1.0),
        event("d", "link.down", "sw-1", 2.0),
        event("e", "heartbeat", "web-1", 3.0),
        event("f", "heartbeat", "web-2", 4.0),
        event("g", "heartbeat", "web-2", 8.0),
        event("h", "heartbeat", "web-2", 9.0),
        event("i", "link.up", "sw-1", 10.0),
        event("j", "heartbeat", "web-2", 13.0),
        event("k", "heartbeat", "web-1", 14.0),
    ]
}

fn plain(list: usize) -> ReplayOptions {
    ReplayOptions { scope: None, list: Some(list), ..options() }
}

/// Its rule, line and id of its event, and when it was opened, armed and resolved.
type Told<'a> = (&'a str, Option<(u64, &'a str)>, i64, Option<i64>, Option<i64>);

fn told(listed: &Listed) -> Told<'_> {
    let minutes = |t: paramedic_model::Timestamp| (t.since(at(0.0)).as_secs_f64() / 60.0) as i64;
    let event = listed.by_event.as_ref().map(|e| (e.line, e.id.as_str()));
    let (armed, resolved) = (listed.armed_at.map(minutes), listed.resolved_at.map(minutes));
    (&listed.rule, event, minutes(listed.opened_at), armed, resolved)
}

#[test]
fn what_a_timer_opened_names_the_event_that_armed_it() {
    let report = run(&waiting(), &input(), &plain(50));
    let all: Vec<_> = report.incidents.as_deref().unwrap().iter().map(told).collect();
    let expected = [
        // Since the first, though the second came later.
        ("link flaps", Some((3, "c")), 3, Some(1), Some(10)),
        // Not by what showed it: `h` is a sign of life of another.
        ("silent", Some((5, "e")), 9, Some(3), Some(14)),
        ("report", None, 12, Some(12), None),
    ];
    assert_eq!(all, expected);
    assert_eq!(report.incidents_left_out, Some(0));
}

#[test]
fn the_list_is_bounded_and_does_not_depend_on_threads_or_batches() {
    let lines = lines(3, 1_500, 5);
    let list =
        |most, threads, batch| run(&set(), &lines, &ReplayOptions { threads, batch, list: Some(most), ..options() });
    let all = list(100_000, 1, 5_000);
    assert_eq!((all.incidents.as_ref().unwrap().len() as u64, all.incidents_left_out), (all.incidents_opened, Some(0)));
    assert!(all.incidents.iter().flatten().any(|i| i.resolved_at.is_some()));
    assert!(all.incidents.iter().flatten().all(|i| i.by_event.is_some() && i.armed_at.is_none()));
    for (threads, batch) in [(1, 1), (3, 50), (4, 5_000)] {
        let few = list(7, threads, batch);
        assert_eq!(few.incidents.as_deref().unwrap(), &all.incidents.as_deref().unwrap()[..7]);
        assert_eq!(few.incidents_left_out, Some(all.incidents_opened - 7));
    }
}

#[test]
fn runs_are_told_apart_by_what_they_wait_for() {
    let full = |id: &str, ci: &str, s: f64| {
        format!(
            r#"{{"id":"{id}","type":"disk.used_pct","kind":"metric","ci":"{ci}","value":95,"labels":{{"mount":"/"}},"time":"{}"}}"#,
            at(s)
        )
    };
    let input = [full("a", "web-1", 0.0), full("b", "nowhere", 1.0), full("c", "web-2", 1000.0)];
    let with = |from: &str, to: &str| run(&set_of(&DISK.replace(from, to), SERVICE), &input, &plain(0));
    let kinds = |r: &Report| (r.runs_would_be, r.runs_proposed, r.runs_denied, r.remedies_skipped);
    assert_eq!(kinds(&with("autonomy: auto", "autonomy: record")), (2, 0, 0, 1));
    assert_eq!(kinds(&with("autonomy: auto", "autonomy: propose")), (0, 2, 0, 2));
    // Both remedies of both servers.
    let denied = with("environments: [test]", "environments: [production]");
    assert_eq!((kinds(&denied), denied.runs), ((0, 0, 4, 2), 4));
    assert_eq!((denied.incidents.as_deref(), denied.incidents_left_out), (Some(&[][..]), Some(3)));
}

#[test]
fn a_difference_made_by_a_timer_names_the_event_that_armed_it() {
    let shorter = set_of(DISK, &WAITING.replace("within: 5m", "within: 20m").replace("for: 2m", "for: 20m"));
    let text = input().join("\n");
    let found = compare(&waiting(), &shorter, text.as_bytes(), &plain(0), &mut |_| {}).unwrap();
    let told: Vec<_> = found.differences.iter().map(|d| (d.rule.as_str(), d.events.clone())).collect();
    let by = |line, id: &str| vec![EventRef { line, id: id.to_owned() }];
    let [(flaps, of_flaps), rest @ ..] = &told[..] else { panic!("{told:?}") };
    assert_eq!((*flaps, of_flaps), ("link flaps", &by(3, "c")));
    assert_eq!(rest.first().unwrap(), &("silent", by(5, "e")));
    let opened = found.differences[0].rules.as_ref().unwrap();
    assert_eq!((&opened["by_event"]["line"], &opened["armed_at"]), (&3.into(), &at(60.0).to_string().into()));
    let said = serde_json::to_string(&found).unwrap();
    assert!(!said.contains("\"line\":0"), "{said}");
}
