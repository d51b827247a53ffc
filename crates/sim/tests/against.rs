//! Two rule sets on the same events: what differs, and which events made it so.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{DISK, SERVICE, at, lines, options, set, set_of};
use paramedic_rulebook::RuleSet;
use paramedic_sim::replay::{Difference, Kind};
use paramedic_sim::{Comparison, ReplayOptions, compare};

fn against(rules: &Arc<RuleSet>, other: &Arc<RuleSet>, lines: &[String], options: &ReplayOptions) -> Comparison {
    let mut found = compare(rules, other, lines.join("\n").as_bytes(), options, &mut |_| {}).unwrap();
    (found.rules.duration_ms, found.against.duration_ms) = (0, 0);
    found
}

/// Equal, or else where they differ first: whole comparisons fill a screen.
fn assert_same(one: &Comparison, two: &Comparison, what: &str) {
    let first = one.differences.iter().zip(&two.differences).find(|(a, b)| a != b);
    let told = first.map(|(a, b)| [a, b].map(|d| serde_json::to_string(d).unwrap()).join("\n"));
    assert!(told.is_none(), "{what}:\n{}", told.unwrap());
    assert_eq!((&one.counts, one.left_out), (&two.counts, two.left_out), "{what}");
    assert_eq!((&one.rules, &one.against), (&two.rules, &two.against), "{what}");
}

/// Changes of one rule each, as an author makes them.
fn edits() -> Vec<(&'static str, Arc<RuleSet>)> {
    let disk = |from: &str, to: &str| {
        assert!(DISK.contains(from), "{from}");
        set_of(&DISK.replace(from, to), SERVICE)
    };
    let service = |from: &str, to: &str| {
        assert!(SERVICE.contains(from), "{from}");
        set_of(DISK, &SERVICE.replace(from, to))
    };
    vec![
        ("a higher threshold", disk("event.value >= 90", "event.value >= 96")),
        ("a lower clear", disk("event.value < 80", "event.value < 60")),
        ("another by", disk("by: [event.ci]", "by: [event.ci, event.labels.mount]")),
        ("a higher urgency", disk("urgency: medium", "urgency: high")),
        ("another parameter", disk("mount: = event.labels.mount", "mount: all")),
        ("no reopening", disk("reopen: 2m", "reopen: 0s")),
        (
            "a rule for one host",
            service("event.type == \"service.down\"", "event.type == \"service.down\" && event.ci == \"web-1\""),
        ),
        ("nobody is told later", service("20s unacknowledged", "20m unacknowledged")),
        ("observed only", service("autonomy: record", "autonomy: observe")),
    ]
}

#[test]
fn a_set_against_itself_differs_in_nothing() {
    for seed in 1..=2 {
        let lines = lines(seed, 400, 2);
        for (what, edited) in edits() {
            let found = against(&edited, &edited, &lines, &options());
            assert!(
                found.same && found.differences.is_empty() && found.counts.is_empty(),
                "{what}: {:?}",
                found.counts
            );
            assert_eq!(found.rules, found.against);
            assert!(found.rules.incidents_opened > 10, "{what}");
        }
    }
}

#[test]
fn every_edit_shows_and_threads_and_batches_do_not() {
    let set = set();
    for (what, edited) in edits() {
        let lines = lines(11, 600, 3);
        let first = against(&edited, &set, &lines, &options());
        assert!(!first.same && first.left_out == 0, "{what}");
        assert_ne!(first.rules.decisions_digest, first.against.decisions_digest, "{what}");
        for (threads, batch) in [(1, 1), (1, 13), (3, 100), (4, 5_000)] {
            let mut options = options();
            (options.threads, options.batch) = (threads, batch);
            let mut again = against(&edited, &set, &lines, &options);
            (again.rules.batches, again.against.batches) = (first.rules.batches, first.against.batches);
            assert_same(&again, &first, &format!("{what}: {threads} threads, batches of {batch}"));
        }
    }
}

#[test]
fn the_other_way_round_what_was_opened_is_missed() {
    let set = set();
    for (what, edited) in edits() {
        let lines = lines(12, 600, 2);
        let (there, back) = (against(&edited, &set, &lines, &options()), against(&set, &edited, &lines, &options()));
        let count = |c: &Comparison, kind| c.counts.get(&kind).copied().unwrap_or_default();
        for (one, other) in [(Kind::Opened, Kind::Missed), (Kind::Merged, Kind::Split)] {
            assert_eq!(count(&there, one), count(&back, other), "{what}: {one:?}");
            assert_eq!(count(&there, other), count(&back, one), "{what}: {other:?}");
        }
        for same in [Kind::Priority, Kind::Changed, Kind::Run, Kind::Page] {
            assert_eq!(count(&there, same), count(&back, same), "{what}: {same:?}");
        }
    }
}

/// Incidents of each side are accounted for: those that both have, and those that one has.
#[test]
fn what_only_one_of_them_has_adds_up() {
    let set = set();
    for (what, edited) in edits() {
        let found = against(&edited, &set, &lines(13, 600, 2), &options());
        let count = |kind| found.counts.get(&kind).copied().unwrap_or_default();
        let both = found.rules.incidents_opened - count(Kind::Opened) - count(Kind::Split);
        assert_eq!(both, found.against.incidents_opened - count(Kind::Missed) - count(Kind::Merged), "{what}");
    }
}

fn disk(id: &str, ci: &str, mount: &str, value: u32, s: f64) -> String {
    format!(
        r#"{{"id":"{id}","type":"disk.used_pct","kind":"metric","ci":"{ci}","value":{value},"labels":{{"mount":"{mount}"}},"time":"{}"}}"#,
        at(s)
    )
}

fn kinds(found: &Comparison) -> Vec<Kind> {
    found.differences.iter().map(|d| d.kind).collect()
}

fn events(difference: &Difference) -> Vec<(u64, &str)> {
    difference.events.iter().map(|e| (e.line, e.id.as_str())).collect()
}

#[test]
fn a_higher_threshold_misses_what_it_excludes_with_its_run_and_opens_the_rest_later() {
    let tried = set_of(&DISK.replace("event.value >= 90", "event.value >= 95"), SERVICE);
    let input = [
        disk("a", "web-1", "/", 91, 0.0),
        disk("b", "web-1", "/", 70, 9.0),
        disk("c", "web-2", "/", 92, 10.0),
        disk("d", "web-2", "/", 97, 12.0),
        disk("e", "web-2", "/", 70, 19.0),
    ];
    let found = against(&tried, &set(), &input, &options());
    assert_eq!(kinds(&found), [Kind::Missed, Kind::Run, Kind::Changed]);
    let [missed, run, changed] = &found.differences[..] else { panic!() };
    assert_eq!((missed.about.as_deref(), events(missed)), (Some("web-1"), vec![(1, "a")]));
    assert!(missed.rules.is_none());
    assert_eq!(missed.against.as_ref().unwrap()["priority"], 3);
    assert_eq!((&run.against.as_ref().unwrap()["playbook"], events(run)), (&"clean-disk".into(), vec![(1, "a")]));
    // The same incident, opened by another event.
    assert_eq!((changed.about.as_deref(), events(changed)), (Some("web-2"), vec![(3, "c"), (4, "d")]));
    assert_eq!(changed.rules.as_ref().unwrap()["opened_at"], at(12.0).to_string());
    assert_eq!(changed.against.as_ref().unwrap()["opened_at"], at(10.0).to_string());
}

#[test]
fn what_a_coarser_by_puts_into_one_incident_is_merged_and_the_reverse_is_split() {
    let fine = set_of(&DISK.replace("by: [event.ci]", "by: [event.ci, event.labels.mount]"), SERVICE);
    let input =
        [disk("a", "web-1", "/", 93, 0.0), disk("b", "web-1", "/var", 94, 0.5), disk("c", "web-1", "/", 50, 300.0)];
    let found = against(&set(), &fine, &input, &options());
    let merged = found.differences.iter().find(|d| d.kind == Kind::Merged).unwrap();
    assert_eq!(events(merged), [(2, "b")]);
    assert_eq!(merged.rules.as_ref().unwrap()["by_event"]["id"], "a");
    assert_eq!(found.counts.get(&Kind::Missed), None);
    let back = against(&fine, &set(), &input, &options());
    let split = back.differences.iter().find(|d| d.kind == Kind::Split).unwrap();
    assert_eq!((events(split), back.counts.get(&Kind::Opened)), (vec![(2, "b")], None));
}

#[test]
fn an_event_that_fires_a_second_rule_opens_an_incident_and_merges_none() {
    let second = DISK.to_owned()
        + "  - rule: any disk\n    when: |\n      event.type == \"disk.used_pct\" && event.value > 50\n    by: [event.ci]\n    incident: { summary: x }\n";
    let found = against(&set_of(&second, SERVICE), &set(), &[disk("a", "web-1", "/", 93, 0.0)], &options());
    assert_eq!(kinds(&found), [Kind::Opened]);
    assert_eq!(found.differences[0].rule, "any disk");
}

#[test]
fn another_urgency_is_another_priority_and_a_page_less_is_a_page() {
    let tried = set_of(&DISK.replace("urgency: medium", "urgency: high"), &SERVICE.replace("- at: open", "- at: 2d"));
    let input = [
        disk("a", "web-1", "/", 93, 0.0),
        format!(r#"{{"id":"b","type":"service.down","ci":"web-3","dedup_key":"k","time":"{}"}}"#, at(1.0)),
        disk("c", "web-1", "/", 50, 2.0),
    ];
    let found = against(&tried, &set(), &input, &options());
    assert_eq!(kinds(&found), [Kind::Priority, Kind::Page]);
    let [priority, page] = &found.differences[..] else { panic!() };
    assert_eq!((&priority.rules.as_ref().unwrap()["priority"], events(priority)), (&2.into(), vec![(1, "a")]));
    assert_eq!((&page.against.as_ref().unwrap()["to"], events(page)), (&"oncall".into(), vec![(2, "b")]));
}

#[test]
fn beyond_the_bound_differences_are_counted_and_the_first_are_kept() {
    let empty = set_of(&DISK.replace("event.value >= 90", "event.value >= 900"), SERVICE);
    let lines = lines(14, 2_000, 3);
    let all = against(&empty, &set(), &lines, &options());
    for threads in [1, 3] {
        let mut few = options();
        (few.differences, few.threads) = (5, threads);
        let found = against(&empty, &set(), &lines, &few);
        assert_eq!((found.differences.len(), &found.counts), (5, &all.counts));
        assert_eq!(found.differences, all.differences[..5]);
        assert_eq!(found.left_out, all.counts.values().sum::<u64>() - 5);
    }
}
