//! The commands that need no engine: their results, their help, their exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod support;

use std::path::Path;

use serde_json::Value;
use support::{World, paramedic, text};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn at_root(args: &[&str]) -> std::process::Output {
    paramedic(Path::new(ROOT), args)
}

#[test]
fn shipped_rulebooks_are_well_and_their_scenarios_pass() {
    let out = at_root(&["check", "rules"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    assert!(text(&out).contains(" rulebooks, ") && text(&out).contains("well"), "{}", text(&out));
    let report: Value = serde_json::from_slice(&at_root(&["check", "rules", "--format", "json"]).stdout).unwrap();
    assert_eq!((report["errors"].as_u64(), report["rulebooks"].as_u64() >= Some(2)), (Some(0), true), "{report}");
    let analysis = &report["analysis"];
    assert!(analysis["unknown_percent"].as_f64().is_some_and(|share| share <= 20.0), "{analysis}");
    // A gap is how they are meant: only a value that is well below clears.
    let found: Vec<&str> =
        analysis["findings"].as_array().unwrap().iter().map(|f| f["kind"].as_str().unwrap()).collect();
    assert!(found.iter().all(|kind| *kind == "gap"), "{analysis}");
    assert_eq!(analysis["rules"][0]["verdict"], "live");
    let out = at_root(&["test", "rules"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    assert!(text(&out).contains(" passed, 0 failed"), "{}", text(&out));
    let report: Value = serde_json::from_slice(&at_root(&["test", "rules", "--json"]).stdout).unwrap();
    assert_eq!(report["failed"], 0, "{report}");
}

#[test]
fn a_scenario_that_expects_something_else_fails_with_1_and_says_what_happened() {
    let world = World::new();
    let scenario = |priority: u32| {
        format!(
            "scenario: a note\nsteps:\n  - at: 0s\n    event: {{ type: test.note, ci: h, summary: hello }}\n  - at: 1s\n    expect: {{ incident: {{ priority: {priority}, summary: hello }} }}\n"
        )
    };
    for (priority, code) in [(5, 0), (1, 1)] {
        std::fs::write(world.path("rules/fleet.test.yaml"), scenario(priority)).unwrap();
        let out = paramedic(world.folder.path(), &["test", "rules"]);
        assert_eq!(out.status.code(), Some(code), "{}", text(&out));
    }
    let said = text(&paramedic(world.folder.path(), &["test", "rules"]));
    assert!(said.contains("priority") && said.contains("1 failed"), "{said}");
}

/// One rule never ends, another fails now and then, a third is well.
const BROKEN: &str = "rulebook: broken
autonomy: record
rules:
  - rule: never ends
    when: |
      event.type == \"x\"
    then: |
      notify(\"team\", \"it came\");
      for n in range(0, 1000000000) { }
  - rule: well
    when: |
      event.type == \"x\"
    by: [event.ci]
    incident: { summary: came }
";

const EVENT_CAME: &str = "scenario: it came
steps:
  - at: 0s
    event: { type: x, ci: h }
  - at: 1s
    expect: { incident: { rule: well }, pages: 0 }
";

#[test]
fn a_rule_that_never_ends_is_named_with_its_line_and_the_others_go_on() {
    let world = World::new();
    std::fs::write(world.path("rules/broken.yaml"), BROKEN).unwrap();
    std::fs::write(world.path("rules/broken.test.yaml"), EVENT_CAME).unwrap();
    let said = text(&paramedic(world.folder.path(), &["test", "rules"]));
    let failure = "broken.yaml:9: rule broken/never ends failed at 0s: then: too much work: it was stopped";
    assert!(said.contains(failure) && said.contains("1 passed"), "{said}");
    let events: String = (0..9)
        .map(|n| {
            format!("{{\"id\": \"e{n}\", \"type\": \"x\", \"ci\": \"h{n}\", \"time\": \"2026-01-01T00:00:0{n}Z\"}}\n")
        })
        .collect();
    std::fs::write(world.path("events.jsonl"), events).unwrap();
    let out = paramedic(world.folder.path(), &["replay", "--rules", "rules", "--events", "events.jsonl", "--json"]);
    let report: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", text(&out)));
    assert_eq!((&report["incidents_opened"], &report["escalations"]), (&10.into(), &1.into()), "{report}");
    let said = String::from_utf8_lossy(&out.stderr);
    let failure = "broken.yaml:9: rule broken/never ends failed 5 times, and is switched off: then: too much work";
    assert!(said.contains(failure), "{said}");
}

#[test]
fn every_subcommand_has_help() {
    let top = at_root(&["--help"]);
    assert_eq!(top.status.code(), Some(0));
    for args in [
        &["demo"][..],
        &["run"],
        &["run", "list"],
        &["run", "show"],
        &["run", "settle"],
        &["check"],
        &["test"],
        &["replay"],
        &["explain"],
        &["schema"],
        &["incident"],
        &["incident", "list"],
        &["incident", "show"],
        &["incident", "ack"],
        &["incident", "resolve"],
        &["approve"],
        &["reject"],
        &["ci"],
        &["ci", "import"],
        &["ci", "list"],
        &["halt"],
        &["resume"],
        &["rules"],
        &["rules", "reload"],
        &["status"],
        &["audit"],
        &["audit", "verify"],
        &["offsets"],
        &["offsets", "show"],
        &["offsets", "rewind"],
        &["dead-letters"],
        &["dead-letters", "list"],
        &["dead-letters", "show"],
        &["backup"],
        &["archive"],
        &["archive", "verify"],
        &["recovered"],
        &["recovered", "show"],
        &["recovered", "end"],
    ] {
        assert!(text(&top).contains(args[0]), "{args:?} is not in the overview");
        let mut args = args.to_vec();
        args.push("--help");
        let out = at_root(&args);
        assert_eq!(out.status.code(), Some(0), "{args:?}: {}", text(&out));
        assert!(out.stderr.is_empty() && text(&out).contains("Usage: paramedic"), "{args:?}");
    }
    assert!(text(&at_root(&["--version"])).starts_with("paramedic "));
}

#[test]
fn what_could_not_run_ends_with_2_and_says_why_on_stderr() {
    let folder = tempfile::tempdir().unwrap();
    for (args, said) in [
        (&["no-such-command"][..], "no-such-command"),
        (&["check"], "PATHS"),
        (&["check", "nowhere"], "no such file"),
        (&["test", "nowhere"], "no such file"),
        (&["replay", "--rules", "nowhere", "--events", "x"], "no such file"),
        (&["replay", "--rules", "."], "--events"),
        (&["replay", "--journal"], "paramedic.db"),
        (&["audit", "verify"], "data folder"),
        (&["status", "--url", "http://127.0.0.1:9"], "no engine answers"),
        (&["offsets", "show", "--url", "http://127.0.0.1:9"], "no engine answers"),
        (&["offsets", "rewind", "kafka/t/0"], "--to"),
        (&["recovered", "end"], "--reason"),
        (&["backup", "copy.db"], "data folder"),
        (&["archive", "verify", "nowhere"], "no such folder"),
        (&["resume"], "--reason"),
    ] {
        let out = paramedic(folder.path(), args);
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(said) && out.stdout.is_empty(), "{args:?}: {stderr}");
    }
}

#[test]
fn a_broken_chain_is_found_with_1() {
    let world = World::new();
    let mut engine = common::EngineProcess::start(world.folder.path(), &world.webhook_config());
    let event = support::alert("1", "test.note", "h", "firing");
    assert_eq!(engine.post("/api/v1/events/hook", &serde_json::from_str(&event).unwrap()).0, 202);
    common::eventually("its incident", support::SOON, || (engine.incidents("").len() == 1).then_some(()));
    assert!(engine.stop().success());
    let verify = || paramedic(world.folder.path(), &["audit", "verify", "--data", "data"]);
    assert_eq!(verify().status.code(), Some(0));
    let db = rusqlite::Connection::open(world.data().join("paramedic.db")).unwrap();
    // Who can write the file can drop the trigger: the chain is what tells.
    db.execute_batch("DROP TRIGGER history_stays; UPDATE history SET body = replace(body, 'incident_opened', 'incident_0pened') WHERE seq = 1;").unwrap();
    drop(db);
    let out = verify();
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert!(text(&out).contains("broken at row 1"), "{}", text(&out));
}

#[test]
fn the_demo_ends_with_0_because_the_loop_closed() {
    let out = at_root(&["demo"]);
    let said = text(&out);
    assert_eq!(out.status.code(), Some(0), "{said}");
    for line in [
        "opened: Disk /var on web-1",
        "the run is judged verified",
        "resolved: Solution provided",
        "page to",
        "The loop closed",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

fn broken(part: &str) -> String {
    let out = at_root(&["demo", "--break", part]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert!(text(&out).contains("The loop did not close"), "{}", text(&out));
    text(&out)
}

#[test]
fn the_demo_with_a_broken_playbook_ends_with_1() {
    assert!(broken("playbook").contains("a person was paged"));
}

#[test]
fn the_demo_without_evidence_ends_with_1() {
    assert!(broken("evidence").contains("a person was paged"));
}

#[test]
fn the_demo_without_kafka_ends_with_1() {
    assert!(broken("kafka").to_lowercase().contains("kafka"));
}
