//! A replay's figures and digests are a function of file, rules and options.

#![allow(clippy::unwrap_used)]

mod common;

use common::{DISK, SERVICE, at, lines, options, run, set, set_of};
use paramedic_sim::{ReplayOptions, Report, RunsBehave};

#[test]
fn threads_and_batches_do_not_show() {
    let set = set();
    for seed in 1..=2 {
        let lines = lines(seed, 2_000, 8);
        let first = run(&set, &lines, &options());
        assert!(first.incidents_opened > 50 && first.runs > 20 && first.escalations > 20, "{first:?}");
        assert!(first.dead_letter > 50 && first.incidents_resolved > 50, "{first:?}");
        for threads in [1, 2, 4] {
            for batch in [1, 7, 5_000] {
                let mut options = options();
                (options.threads, options.batch) = (threads, batch);
                let again = run(&set, &lines, &options);
                assert_eq!(again.batches, first.events.div_ceil(batch as u64));
                assert_eq!(Report { batches: first.batches, ..again }, first, "{threads} threads, batches of {batch}");
            }
        }
    }
}

#[test]
fn however_few_lines_a_thread_takes_at_once_the_report_is_the_same() {
    let set = set();
    let mut lines = lines(5, 600, 3);
    for (n, at) in (0..lines.len()).step_by(37).enumerate() {
        lines.insert(at, ["{", "", "no event", r#"{"type":"service.down","ci":"web-1"}"#][n % 4].to_owned());
    }
    let whole = run(&set, &lines, &options());
    assert!(whole.dead_letter > 4 && whole.matched > 0);
    for (threads, at_once) in [(1, 1), (1, 7), (2, 1), (2, 3), (3, 7), (7, 1)] {
        for sort_by_time in [false, true] {
            let mut plain = options();
            plain.sort_by_time = sort_by_time;
            let expected = run(&set, &lines, &plain);
            let some = ReplayOptions { threads, lines: at_once, ..plain };
            assert_eq!(
                run(&set, &lines, &some),
                expected,
                "{threads} threads, {at_once} lines, sorted: {sort_by_time}"
            );
        }
    }
}

#[test]
fn the_lines_order_does_not_show_when_they_are_sorted_and_does_when_not() {
    let set = set();
    // Every line an event with a time and an id of its own.
    let lines: Vec<String> = lines(5, 2_000, 3)
        .into_iter()
        .enumerate()
        .filter(|(n, l)| l.starts_with(&format!("{{\"id\":\"{n}\"")) && l.contains("\"time\""))
        .map(|(_, l)| l)
        .collect();
    let mut backwards = lines.clone();
    backwards.reverse();
    let mut sorted = options();
    sorted.sort_by_time = true;
    sorted.threads = 3;
    assert_eq!(run(&set, &lines, &sorted), run(&set, &backwards, &sorted));
    let (there, back) = (run(&set, &lines, &options()), run(&set, &backwards, &options()));
    assert_ne!(there.inputs_digest, back.inputs_digest);
    assert_ne!(there.decisions_digest, back.decisions_digest);
}

#[test]
fn an_opening_event_that_is_missing_shows_and_one_that_decides_nothing_shows_in_the_inputs_only() {
    let set = set();
    let fire = |id: &str, s: f64| {
        format!(r#"{{"id":"{id}","type":"service.down","ci":"web-1","dedup_key":"{id}","time":"{}"}}"#, at(s))
    };
    let idle = format!(r#"{{"id":"x","type":"cpu","ci":"web-1","time":"{}"}}"#, at(1.5));
    let all = [fire("a", 1.0), idle, fire("b", 2.0)];
    let whole = run(&set, &all, &options());
    assert_eq!((whole.events, whole.matched, whole.incidents_opened, whole.incidents_open_at_end), (3, 2, 2, 2));
    let without_a = run(&set, &all[1..], &options());
    assert_ne!(whole.decisions_digest, without_a.decisions_digest);
    let without_idle = run(&set, &[all[0].clone(), all[2].clone()], &options());
    assert_eq!(whole.decisions_digest, without_idle.decisions_digest);
    assert_ne!(whole.inputs_digest, without_idle.inputs_digest);
}

#[test]
fn an_edited_urgency_shows_and_a_comment_does_not() {
    let lines = lines(7, 500, 2);
    let digest = |disk: &str| run(&set_of(disk, SERVICE), &lines, &options()).decisions_digest;
    let before = digest(DISK);
    assert_eq!(digest(&DISK.replace("rules:", "# a comment\nrules:")), before);
    assert_ne!(digest(&DISK.replace("urgency: medium", "urgency: high")), before);
}

#[test]
fn a_run_reports_after_a_second_or_fails_or_never_does() {
    let set = set();
    let disk = |id: &str, value: u32, s: f64| {
        format!(
            r#"{{"id":"{id}","type":"disk.used_pct","kind":"metric","ci":"web-1","value":{value},"time":"{}","labels":{{"mount":"/"}}}}"#,
            at(s)
        )
    };
    // Full, evidence after the run, and a last event when everything has been decided.
    let lines = [disk("1", 95, 0.0), disk("2", 50, 10.0), disk("3", 50, 300.0)];
    let figures = |runs| {
        let mut options = options();
        options.runs = runs;
        let r = run(&set, &lines, &options);
        (r.runs, r.incidents_resolved, r.escalations)
    };
    assert_eq!(figures(RunsBehave::Ok), (1, 1, 0));
    // The second remedy fails too: remedies_failed pages before the evidence comes.
    assert_eq!(figures(RunsBehave::Fail), (2, 1, 1));
    // Pending for ever; the evidence resolves it all the same, and withdraws the run.
    assert_eq!(figures(RunsBehave::Silent), (1, 1, 0));
}

#[test]
fn incidents_that_a_rule_holds_back_are_opened_and_counted() {
    let planned =
        "  - rule: planned\n    when: event.type == \"works.begin\"\n    suppress: { for: 30m, reason: works }\n";
    let (calm, works) = (set(), set_of(DISK, &format!("{}{planned}", SERVICE.trim_end().to_owned() + "\n")));
    let line = |id: &str, type_: &str, ci: &str, s: f64| {
        format!(r#"{{"id":"{id}","type":"{type_}","ci":"{ci}","dedup_key":"{id}","time":"{}"}}"#, at(s))
    };
    let lines = [
        line("w", "works.begin", "web-1", 0.0),
        line("a", "service.down", "web-1", 60.0),
        line("b", "service.down", "web-2", 60.0),
    ];
    let figures = |set| {
        let r = run(set, &lines, &options());
        (r.incidents_opened, r.suppressed, r.escalations)
    };
    assert_eq!(figures(&calm), (2, 0, 2));
    assert_eq!(figures(&works), (2, 1, 1));
}

#[test]
fn timers_due_by_the_last_event_are_in_and_later_ones_are_not() {
    let set = set();
    let line = |id: &str, kind: &str, s: f64| {
        format!(r#"{{"id":"{id}","type":"{kind}","ci":"web-1","dedup_key":"k","time":"{}"}}"#, at(s))
    };
    let pages = |last: f64| {
        let lines = [line("1", "service.down", 0.0), line("2", "other", last)];
        run(&set, &lines, &options()).escalations
    };
    // `open` at once; delivered after a second; `20s unacknowledged` from there.
    assert_eq!((pages(20.9), pages(21.0)), (1, 2));
}

#[test]
fn a_resolve_that_waits_meets_its_firing_and_an_overlap_is_a_repeat() {
    let set = set();
    let line = |id: &str, status: &str, time: f64, began: f64| {
        format!(
            r#"{{"id":"{id}","type":"service.down","status":"{status}","ci":"web-1","dedup_key":"k","time":"{}","began":"{}"}}"#,
            at(time),
            at(began)
        )
    };
    // An occurrence without length: "1a" and "1b" at one instant, the resolve first in the file.
    let met = run(
        &set,
        &[line("1b", "resolved", 5.0, 5.0), line("1a", "firing", 5.0, 5.0), line("2", "resolved", 60.0, 60.0)],
        &options(),
    );
    assert_eq!((met.incidents_opened, met.incidents_open_at_end), (1, 0));
    // Two that overlap: the first resolve closes the key, the second finds nothing open.
    let lines = [
        line("1a", "firing", 0.0, 0.0),
        line("2a", "firing", 10.0, 10.0),
        line("1b", "resolved", 20.0, 0.0),
        line("2b", "resolved", 30.0, 10.0),
        line("3a", "firing", 100.0, 100.0),
    ];
    let overlap = run(&set, &lines, &options());
    assert_eq!((overlap.incidents_opened, overlap.incidents_resolved, overlap.incidents_open_at_end), (2, 1, 1));
}

#[test]
fn what_is_no_event_is_counted_and_told_and_blank_lines_are_not_there() {
    let lines = ["", "{", "   ", r#"{"type":"cpu","ci":"web-1"}"#].map(str::to_owned);
    let report = run(&set(), &lines, &options());
    assert_eq!((report.events, report.dead_letter, report.batches), (1, 1, 1));
    assert_eq!(report.undecodable.len(), 1);
    assert_eq!(report.undecodable[0].0, 2);
    let json = serde_json::to_value(&report).unwrap();
    let names: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names.len(), 19, "{names:?}");
    let empty = run(&set(), &[], &options());
    assert_eq!((empty.first_event, empty.last_event, empty.batches), (None, None, 0));
}

#[test]
fn a_stamp_is_never_below_the_last_over_the_whole_file() {
    let set = set();
    let line = |id: &str, s: f64| {
        format!(r#"{{"id":"{id}","type":"service.down","ci":"web-1","dedup_key":"{id}","time":"{}"}}"#, at(s))
    };
    let report = run(&set, &[line("a", 10.0), line("b", 2.0)], &options());
    assert_eq!((report.first_event, report.last_event), (Some(at(10.0)), Some(at(10.0))));
}

#[test]
fn a_cmdb_that_is_none_is_an_error() {
    let mut options = options();
    options.cmdb = Some("cis: [{name: a}]".to_owned());
    let error = paramedic_sim::replay(set(), &b""[..], &options, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("class"), "{error}");
}
