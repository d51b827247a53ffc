//! What authors of rulebooks use to trust them: `test`, `replay --against` and `explain`, through the command line.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn paramedic(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paramedic"));
    command.args(args).current_dir(folder).env_remove("PARAMEDIC_URL").output().unwrap()
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn json_of(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", text(out)))
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

const DESK: &str = r#"rulebook: desk
rules:
  - rule: call
    when: |
      event.type == "desk.call" && event.value >= 3
    by: [event.ci]
    clear: event.type == "desk.call" && event.value == 0
    incident: { summary: "{event.value} call", urgency: high }
    escalate:
      - { at: open, to: desk }
      - { at: 10m unacknowledged, to: lead }
  - rule: fire
    when: event.type == "fire"
    incident: { summary: "Fire & <smoke>" }
"#;

const CALLS: &str = r"scenario: calls are told & end
steps:
  - at: 0s
    event: { type: desk.call, ci: mail, value: 4 }
  - at: 1m
    event: { type: desk.call, ci: mail, value: 0 }
  - at: 1m
    expect: { incident: { state: resolved }, pages: 1 }
";

fn shipped() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(Path::new(ROOT).join("rules"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

#[test]
fn coverage_is_printed_and_fails_below_what_is_asked_for() {
    let folder = folder(&[("rules/desk.yaml", DESK), ("rules/desk.test.yaml", CALLS)]);
    let test = |more: &[&str]| paramedic(folder.path(), &[&["test", "rules"], more].concat());
    let out = test(&[]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    let said = text(&out);
    assert!(
        said.contains("1 passed, 0 failed\ncoverage: 3 of 5 parts of the rules (60 %); no scenario reaches\n"),
        "{said}"
    );
    assert!(
        said.contains("rules/desk.yaml:3: desk/call: escalation 2 never tells anybody: 10m unacknowledged, to lead"),
        "{said}"
    );
    assert!(said.contains("rules/desk.yaml:12: desk/fire: it never fires"), "{said}");
    for (percent, code) in [("60", 0), ("61", 1), ("100", 1)] {
        let out = test(&["--coverage", percent]);
        assert_eq!(out.status.code(), Some(code), "{percent}: {}", text(&out));
    }
    let report = json_of(&test(&["--json", "--coverage", "61"]));
    let missed: Vec<&str> =
        report["coverage"]["missed"].as_array().unwrap().iter().map(|m| m["part"].as_str().unwrap()).collect();
    assert_eq!(
        (&report["coverage"]["percent"], &report["coverage"]["wanted"], missed),
        (&60.into(), &61.into(), vec!["escalate/1", "fires"])
    );
}

#[test]
fn scenarios_of_every_documented_name_are_run() {
    let folder = folder(&[
        ("rules/desk.yaml", DESK),
        ("rules/a.test.yaml", CALLS),
        ("rules/b.scenarios.yaml", CALLS),
        ("rules/sub/scenarios.yml", CALLS),
    ]);
    let out = paramedic(folder.path(), &["test", "rules"]);
    assert!(text(&out).contains("3 passed, 0 failed"), "{}", text(&out));
}

#[test]
fn junit_has_a_suite_a_file_and_says_what_failed() {
    let wrong = CALLS.replace("pages: 1", "pages: 7");
    let folder = folder(&[
        ("rules/desk.yaml", DESK),
        ("rules/desk.test.yaml", &format!("{CALLS}---\n{wrong}")),
        ("rules/fire.test.yaml", "scenario: fire\nsteps: [ { at: 0s, event: { type: fire, ci: x } } ]\n"),
    ]);
    let out = paramedic(folder.path(), &["test", "rules", "--junit", "report.xml", "--coverage", "100"]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    let xml = std::fs::read_to_string(folder.path().join("report.xml")).unwrap();
    for part in [
        "<testsuites name=\"paramedic\" tests=\"4\" failures=\"2\" errors=\"0\">",
        "<testsuite name=\"rules/desk.test.yaml\" tests=\"2\" failures=\"1\" errors=\"0\">",
        "<testcase classname=\"rules/desk.test.yaml\" name=\"calls are told &amp; end\"/>",
        "<failure message=\"step 3 at 1m: pages: expected 7, found 1\">",
        "<testsuite name=\"rules/fire.test.yaml\" tests=\"1\" failures=\"0\" errors=\"0\">",
        "<failure message=\"80 %\">desk/call: escalation 2 never tells anybody",
    ] {
        assert!(xml.contains(part), "{part}\n{xml}");
    }
    // What is no scenario is an error, with its place, and the others have run.
    std::fs::write(folder.path().join("rules/fire.test.yaml"), "scenario: fire\nsteps:\n  - at: 0s\n    evnt: {}\n")
        .unwrap();
    let out = paramedic(folder.path(), &["test", "rules", "--junit", "report.xml"]);
    assert_eq!(out.status.code(), Some(2), "{}", text(&out));
    let said = text(&out);
    assert!(
        said.contains("rules/fire.test.yaml:4:5: error: a step has no key `evnt`\n  |     evnt: {}\n  |     ^\n  help: did you mean `event`?")
            && said.contains("rules/fire.test.yaml:3:5: error: nothing happens in this step")
            && said.contains("2 problems in 1 files of scenarios")
            && said.contains("1 passed, 1 failed"),
        "{said}"
    );
    let checked = paramedic(folder.path(), &["check", "rules"]);
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked));
    assert!(text(&checked).contains("rules/fire.test.yaml:4:5: error: a step has no key `evnt`"), "{}", text(&checked));
    let xml = std::fs::read_to_string(folder.path().join("report.xml")).unwrap();
    assert!(xml.contains("errors=\"1\"") && xml.contains("<error message="), "{xml}");
}

/// The events of a folder's scenarios, one after the other, a day apart.
fn events_of(rules: &Path) -> Vec<Value> {
    let mut events = Vec::new();
    for entry in std::fs::read_dir(rules).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with(".test.yaml") {
            continue;
        }
        for document in serde_yaml::Deserializer::from_str(&std::fs::read_to_string(&path).unwrap()) {
            let scenario: Value = serde::Deserialize::deserialize(document).unwrap();
            for step in scenario["steps"].as_array().into_iter().flatten() {
                let Some(event) = step.get("event") else { continue };
                let mut event = event.clone();
                let (day, minute) = (1 + events.len() / 1440, events.len() % 1440);
                event["time"] = json!(format!("2026-01-{day:02}T{:02}:{:02}:00Z", minute / 60, minute % 60));
                event["id"] = json!(format!("e{}", events.len()));
                events.push(event);
            }
        }
    }
    events
}

fn lines(events: &[Value]) -> String {
    events.iter().map(|e| format!("{e}\n")).collect()
}

#[test]
fn shipped_rulebooks_do_not_differ_from_themselves() {
    for rules in shipped() {
        let events = events_of(&rules);
        let folder = folder(&[("events.jsonl", &lines(&events))]);
        let rules = rules.to_str().unwrap();
        let out = paramedic(
            folder.path(),
            &["replay", "--rules", rules, "--against", rules, "--events", "events.jsonl", "--json"],
        );
        assert_eq!(out.status.code(), Some(0), "{rules}: {}", text(&out));
        let report = json_of(&out);
        assert_eq!((&report["same"], &report["differences"]), (&true.into(), &json!([])), "{rules}");
        assert_eq!(report["rules"]["events"], events.len(), "{rules}");
        assert_eq!(report["rules"]["decisions_digest"], report["against"]["decisions_digest"], "{rules}");
    }
}

#[test]
fn a_changed_rule_differs_with_1_and_names_the_events() {
    let calls = lines(&[
        json!({"id": "a", "time": "2026-03-01T08:00:00Z", "type": "desk.call", "ci": "mail", "value": 4}),
        json!({"id": "b", "time": "2026-03-01T08:30:00Z", "type": "desk.call", "ci": "print", "value": 9}),
    ]);
    let folder = folder(&[
        ("old/desk.yaml", DESK),
        (
            "new/desk.yaml",
            &DESK.replace("event.value >= 3", "event.value >= 5").replace("urgency: high", "urgency: low"),
        ),
        ("calls.jsonl", &calls),
    ]);
    let replay = |more: &[&str]| {
        let args = ["replay", "--rules", "new", "--against", "old", "--events", "calls.jsonl"];
        paramedic(folder.path(), &[&args, more].concat())
    };
    let out = replay(&["--json", "difference.json"]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    let said = text(&out);
    assert!(said.contains("4 differences: 1 missed, 1 priority, 2 page"), "{said}");
    assert!(said.contains("missed   2026-03-01T08:00:00Z  desk/call about mail  by event a (line 1)"), "{said}");
    let written: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("difference.json")).unwrap()).unwrap();
    let mut printed = json_of(&replay(&["--json", "--threads", "2"]));
    for side in ["rules", "against"] {
        printed[side]["duration_ms"] = written[side]["duration_ms"].clone();
    }
    assert_eq!(written, printed);
    let priority = written["differences"].as_array().unwrap().iter().find(|d| d["kind"] == "priority").unwrap();
    assert_eq!(priority["events"], json!([{"line": 2, "id": "b"}]));
    assert_eq!((&priority["rules"]["priority"], &priority["against"]["priority"]), (&4.into(), &2.into()));
    // What could not run is no difference.
    std::fs::write(folder.path().join("old/desk.yaml"), "rulebook: desk\n").unwrap();
    assert_eq!(replay(&[]).status.code(), Some(2));
}

#[test]
fn explain_tells_for_each_event_of_a_file_what_failed_and_what_would_match() {
    let calls = "{\"id\":\"a\",\"type\":\"desk.call\",\"ci\":\"mail\",\"value\":1}\n\nno event\n\
                 {\"id\":\"b\",\"type\":\"desk.call\",\"ci\":\"mail\",\"value\":9}\n";
    let folder = folder(&[("rules/desk.yaml", DESK), ("calls.jsonl", calls)]);
    let explain = |more: &[&str]| paramedic(folder.path(), &[&["explain", "--rules", "rules"], more].concat());
    let out = explain(&["--events", "calls.jsonl"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    let said = String::from_utf8(out.stdout.clone()).unwrap();
    assert_eq!(
        said,
        "calls.jsonl:1: event a: desk.call on mail, firing, value 1\n  desk/call (rules/desk.yaml:3): does not match\n    \
         when (1 of 5 parts failed), first: event.value >= 3\n        event.value is 1\n    it would match with event.value = 3\n  \
         1 more rule is farther off; --all shows it\n\n\
         calls.jsonl:4: event b: desk.call on mail, firing, value 9\n  desk/call (rules/desk.yaml:3): matches\n    \
         then it opens an incident, or adds to the open one of the same `by`\n  1 more rule is farther off; --all shows it\n\n"
    );
    assert!(String::from_utf8_lossy(&out.stderr).starts_with("calls.jsonl:3: not JSON"), "{}", text(&out));
    // One event, by its id and by its line; as JSON.
    for chosen in
        [&["b", "--events", "calls.jsonl", "--json"][..], &["--events", "calls.jsonl", "--line", "4", "--json"]]
    {
        let report = json_of(&explain(chosen));
        let events = report["events"].as_array().unwrap();
        assert_eq!((events.len(), &events[0]["event"]["id"], &events[0]["line"]), (1, &"b".into(), &4.into()));
        assert_eq!((&events[0]["rules"][0]["rule"], &events[0]["rules"][0]["matches"]), (&"call".into(), &true.into()));
        let elsewhere = usize::from(!chosen.contains(&"--line"));
        assert_eq!(report["undecodable"].as_array().unwrap().len(), elsewhere);
    }
    let report = json_of(&explain(&["a", "--events", "calls.jsonl", "--json", "--rule", "desk/call"]));
    let rule = &report["events"][0]["rules"][0];
    assert_eq!(rule["change"], json!([{"field": "event.value", "from": 1, "to": 3}]));
    assert_eq!(rule["conditions"][0]["conjuncts"][1]["fields"], json!([{"field": "event.value", "value": 1}]));
    // A file may be one message, over several lines.
    std::fs::write(folder.path().join("one.json"), "{\n  \"type\": \"fire\",\n  \"ci\": \"mail\"\n}\n").unwrap();
    let out = explain(&["--events", "one.json"]);
    assert!(
        text(&out).starts_with("one.json:1: fire on mail, firing\n  desk/fire (rules/desk.yaml:12): matches"),
        "{}",
        text(&out)
    );
    for (wrong, said) in [
        (&["c", "--events", "calls.jsonl"][..], "with the id \"c\""),
        (&["--events", "calls.jsonl", "--rule", "cal"], "no rule is named \"cal\""),
        (&["--events", "none.jsonl"], "none.jsonl"),
        (&["--events", "rules/desk.yaml"], "is an event of the format paramedic"),
        (&["--events", "calls.jsonl", "--format", "nagios"], "no format is named"),
        (&["kafka/t/0/5"], "--config"),
        (&[], "paramedic explain --help"),
    ] {
        let out = explain(wrong);
        assert_eq!(out.status.code(), Some(2), "{wrong:?}: {}", text(&out));
        assert!(String::from_utf8_lossy(&out.stderr).contains(said), "{wrong:?}: {}", text(&out));
    }
}

#[test]
fn explain_reads_a_record_where_it_stands() {
    let config = "sources: [ { name: spool, file: { path: calls.jsonl } } ]\nrules: rules\n";
    let first = "{\"type\":\"desk.call\",\"ci\":\"mail\",\"value\":1}\n";
    let calls = format!("{first}{{\"type\":\"fire\",\"ci\":\"mail\"}}\n");
    let folder = folder(&[("rules/desk.yaml", DESK), ("calls.jsonl", &calls), ("paramedic.yaml", config)]);
    let explain = |at: &str| paramedic(folder.path(), &["explain", at, "-c", "paramedic.yaml"]);
    let position = format!("file/spool/{}", first.len());
    let out = explain(&position);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    assert!(text(&out).starts_with(&format!("{position}:1: fire on mail")), "{}", text(&out));
    for (at, said) in [
        ("file/pool/0", "no source of"),
        ("file/spool/x", "is no position"),
        ("file/spool/999", "has no record at 999"),
    ] {
        let out = explain(at);
        assert_eq!(out.status.code(), Some(2), "{at}: {}", text(&out));
        assert!(text(&out).contains(said), "{at}: {}", text(&out));
    }
}

const LINKS: &str = "rulebook: links
rules:
  - rule: link down
    when: event.type == \"link.down\"
    incident: { summary: s }
    escalate: [ { at: open, to: oncall-lead } ]
";

#[test]
fn one_file_of_scenarios_comes_with_its_rulebook_and_a_rulebook_with_its_scenarios() {
    let scenario = "scenario: it opens\nsteps:\n  - { at: 0s, event: { type: link.down, ci: a } }\n  - { at: 1s, expect: { incidents: 1 } }\n";
    let other = "rulebook: other\nrules:\n  - { rule: never, when: event.type == \"x\", incident: { summary: s } }\n";
    let folder = folder(&[
        ("links.yaml", LINKS),
        ("links.test.yaml", scenario),
        ("other.yaml", other),
        ("all.test.yaml", scenario),
    ]);
    for (path, parts) in [("links.test.yaml", "2 of 2"), ("links.yaml", "2 of 2"), ("all.test.yaml", "2 of 3")] {
        let said = text(&paramedic(folder.path(), &["test", path]));
        assert!(said.contains("1 passed, 0 failed") && said.contains(parts), "{path}: {said}");
    }
}

#[test]
fn an_event_that_says_nothing_new_is_in_the_story_of_a_scenario_that_fails() {
    let step = "  - { at: 0s, event: { type: link.down, ci: a, dedup_key: k } }\n";
    let again = step.replace("0s", "5m");
    let scenario = format!("scenario: twice\nsteps:\n{step}{again}  - {{ at: 6m, expect: {{ incidents: 2 }} }}\n");
    let folder = folder(&[("links.yaml", LINKS), ("links.test.yaml", &scenario)]);
    let said = text(&paramedic(folder.path(), &["test", "links.yaml"]));
    assert!(said.contains("5m       (a repeat)        alert k is open already"), "{said}");
}

#[test]
fn a_file_that_runs_backwards_is_told_and_sorted_on_demand() {
    let event =
        |minute: u32| format!(r#"{{"type":"link.down","ci":"a{minute}","time":"2026-03-01T02:{minute:02}:00Z"}}"#);
    let backwards = [event(30), event(29), event(20), event(10)].join("\n");
    let folder = folder(&[("links.yaml", LINKS), ("events.jsonl", &backwards)]);
    let replay = |more: &[&str]| {
        text(&paramedic(folder.path(), &[&["replay", "--rules", ".", "--events", "events.jsonl"], more].concat()))
    };
    let said = replay(&[]);
    assert!(said.contains("note: 2 of 4 events are more than a minute older than one before them"), "{said}");
    let said = replay(&["--sort", "time"]);
    assert!(
        !said.contains("note:") && said.contains("2026-03-01T02:10:00.000000000Z to 2026-03-01T02:30:00.000000000Z"),
        "{said}"
    );
}

#[test]
fn whom_nobody_knows_is_told_where_others_are_known() {
    let folder = folder(&[("rules/links.yaml", LINKS)]);
    let url = "{ url: http://127.0.0.1:1/ }";
    for (notify, is_told) in [
        (format!("{{ oncall: {url} }}"), true),
        (format!("{{ oncall-lead: {url} }}"), false),
        (format!("{{ oncall: {url}, default: {url} }}"), false),
        ("{}".to_owned(), false),
    ] {
        std::fs::write(folder.path().join("paramedic.yaml"), format!("rules: rules\nnotify: {notify}\n")).unwrap();
        let out = paramedic(folder.path(), &["check", "-c", "paramedic.yaml", "rules"]);
        let says = "rule link down tells oncall-lead, whom `notify` of the configuration does not name";
        assert_eq!((out.status.code(), text(&out).contains(says)), (Some(0), is_told), "{notify}: {}", text(&out));
    }
}

#[test]
fn who_stops_reading_sees_no_panic() {
    let folder = folder(&[("links.yaml", LINKS)]);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_paramedic"))
        .args(["schema", "rulebook"])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), text(&out)), (Some(141), String::new()));
}
