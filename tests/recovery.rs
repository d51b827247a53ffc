//! What an operator does when something was lost, or was taken wrongly: rewinding a source, and the restore drill.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod support;

use std::path::Path;
use std::process::Output;

use common::{Broker, EngineProcess, eventually, flush, send};
use paramedic_store::{SqliteStore, Store as _};
use serde_json::{Value, json};
use support::{SOON, World, alert, audit_is_well, disk, text};

fn well(out: &Output) -> String {
    assert_eq!(out.status.code(), Some(0), "{}", text(out));
    text(out)
}

fn refused(out: &Output) -> String {
    assert_eq!(out.status.code(), Some(2), "{}", text(out));
    text(out)
}

fn next(engine: &EngineProcess, position: &str) -> i64 {
    let listed = engine.get("/api/v1/offsets");
    let all = listed["offsets"].as_array().unwrap();
    all.iter().find(|o| o["position"] == position).map_or(-9, |o| o["next"].as_i64().unwrap())
}

#[test]
fn a_source_that_is_rewound_takes_its_records_again_as_repeats_and_the_act_is_on_record() {
    let world = World::new();
    let lines: Vec<String> =
        (0..3).map(|n| alert(&format!("n-{n}"), "test.note", &format!("h-{n}"), "firing")).collect();
    let (file, content) = (world.path("alarms.jsonl"), lines.join("\n") + "\n");
    std::fs::write(&file, &content).unwrap();
    let sources = format!("sources:\n  - {{ name: alarms, file: {{ path: {} }} }}\n", file.display());
    let mut engine = EngineProcess::start(world.folder.path(), &world.config(&sources));
    let end = i64::try_from(content.len()).unwrap();
    eventually("all lines are taken", SOON, || (next(&engine, "file/alarms") == end).then_some(()));
    assert_eq!(engine.incidents("").len(), 3);
    let shown = well(&engine.cli(&["offsets", "show"]));
    assert!(shown.contains("file/alarms") && shown.contains(&end.to_string()), "{shown}");

    let rewind = |to: &str, more: &[&str]| {
        let mut args = vec!["offsets", "rewind", "file/alarms", "--to", to, "--reason", "a wrong format"];
        args.extend(more);
        engine.cli(&args)
    };
    // The test has no terminal: nobody can be asked.
    let said = refused(&rewind("earliest", &[]));
    assert!(said.contains("taken again") && said.contains("--yes"), "{said}");
    assert!(refused(&rewind("never", &["--yes"])).contains("earliest or latest"));
    let unknown = engine.cli(&["offsets", "rewind", "file/other", "--to", "0", "--reason", "x", "--yes"]);
    assert!(refused(&unknown).contains("positions: file/alarms"), "{}", text(&unknown));
    assert_eq!(engine.metric("paramedic_decisions_total", &["repeat"]), 0.0);

    let said = well(&rewind("0", &["--yes"]));
    assert!(said.contains(&format!("0 to {} are taken again", end - 1)), "{said}");
    eventually("each record is a repeat", SOON, || {
        (engine.metric("paramedic_decisions_total", &["repeat"]) >= 3.0).then_some(())
    });
    eventually("it is at its end again", SOON, || (next(&engine, "file/alarms") == end).then_some(()));
    assert_eq!(engine.incidents("&state=all").len(), 3, "what is known opens nothing again");

    assert!(engine.stop().success());
    let store = SqliteStore::open_read_only(&world.data().join("paramedic.db")).unwrap();
    let own = store.history_of_scope("paramedic.0", 1, 10).unwrap();
    let acts: Vec<&Value> =
        own.iter().filter(|row| row.data["act"] == "rewind").map(|row| &row.data["rewind"]).collect();
    assert_eq!(acts, [&json!({"position": "file/alarms", "to": 0})]);
    assert_eq!((own[0].actor.as_str(), own[0].reason.as_str()), ("person:ann", "a wrong format"));
    audit_is_well(&world.data());
}

fn run_on(engine: &EngineProcess, target: &str, state: &str) -> Value {
    eventually(&format!("a run on {target} is {state}"), SOON, || {
        engine.runs().into_iter().find(|r| r["target"]["name"] == target && r["state"] == state)
    })
}

fn sent_to(world: &World, host: &str) -> Vec<String> {
    let log = world.raw_log();
    let of = log.iter().filter(|r| r.path() == "/clean-disk" && r.body().contains(host));
    of.map(|r| r.header("idempotency-key").unwrap().to_owned()).collect()
}

fn restore(data: &Path, copy: &Path) {
    for name in ["paramedic.db", "paramedic.db-wal", "paramedic.db-shm"] {
        match std::fs::rename(data.join(name), data.join(format!("{name}.lost"))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{name}: {error}"),
            _ => {}
        }
    }
    std::fs::copy(copy, data.join("paramedic.db")).unwrap();
}

/// The drill of docs/operations.md: two runs are decided, a backup is made, and the runs leave. The backup does not know
/// that they did.
#[test]
fn after_a_restore_nothing_leaves_a_second_time_without_a_person() {
    let world = World::new();
    let mut engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    world.import(&engine, &["host-1".to_owned(), "host-2".to_owned()]);
    well(&engine.cli(&["halt", "--reason", "before the backup"]));
    for host in ["host-1", "host-2"] {
        let event: Value = serde_json::from_str(&disk(&format!("{host} full"), host, "/var", 95)).unwrap();
        assert_eq!(engine.post("/api/v1/events/hook", &event).0, 202);
        run_on(&engine, host, "pending");
    }
    let (config, copy) = (world.path("paramedic.yaml"), world.path("copy.db"));
    let backup = ["backup", copy.to_str().unwrap(), "-c", config.to_str().unwrap()];
    let said = well(&engine.cli(&backup));
    assert!(said.contains("is copied to") && said.contains("paramedic recovered show"), "{said}");
    assert!(refused(&engine.cli(&backup)).contains("is there already"));
    well(&engine.cli(&["resume", "--reason", "the backup is made"]));
    for host in ["host-1", "host-2"] {
        run_on(&engine, host, "succeeded");
    }
    let before = [sent_to(&world, "host-1"), sent_to(&world, "host-2")];
    assert!(before.iter().all(|keys| keys.len() == 1), "{before:?}");

    assert!(engine.stop().success());
    restore(&world.data(), &copy);
    engine.again();
    eventually("it says so", SOON, || {
        engine.get("/ready")["reasons"]
            .as_array()?
            .iter()
            .any(|r| r.as_str().unwrap().contains("recovered"))
            .then_some(())
    });
    well(&engine.cli(&["resume", "--reason", "the halt is the backup's"]));
    let one = run_on(&engine, "host-1", "pending")["id"].as_str().unwrap().to_owned();
    run_on(&engine, "host-2", "pending");
    eventually("the guard says why", SOON, || {
        let whole = engine.get(&format!("/api/v1/runs/{one}"));
        let verdicts = whole["outbox"]["verdicts"].as_array()?.clone();
        verdicts.into_iter().find(|v| v["guard"] == "recovered" && v.to_string().contains("paramedic approve"))
    });
    let shown = engine.cli(&["recovered", "show"]);
    assert_eq!(shown.status.code(), Some(1), "{}", text(&shown));
    assert!(text(&shown).contains("2 runs wait") && text(&shown).contains(&one), "{}", text(&shown));
    assert!(engine.text("/").contains("recovered:"), "the page says so");
    assert_eq!([sent_to(&world, "host-1"), sent_to(&world, "host-2")], before, "nothing left by itself");

    well(&engine.cli(&["approve", &one]));
    run_on(&engine, "host-1", "succeeded");
    assert_eq!(sent_to(&world, "host-1"), [before[0][0].clone(), before[0][0].clone()], "under the same key");
    assert_eq!(sent_to(&world, "host-2"), before[1]);
    let number = engine.incidents("&about=host-1")[0]["number"].as_str().unwrap().to_owned();
    assert!(engine.text(&format!("/incidents/{number}")).contains("ann has let clean-disk on host-1 go"));

    assert!(refused(&engine.cli(&["recovered", "end", "--reason", " "])).contains("--reason"));
    well(&engine.cli(&["recovered", "end", "--reason", "host-2 was looked at"]));
    run_on(&engine, "host-2", "succeeded");
    assert_eq!(sent_to(&world, "host-2").len(), 2);
    assert!(well(&engine.cli(&["recovered", "show"])).contains("not restored"));
    refused(&engine.cli(&["recovered", "end", "--reason", "twice"]));
    assert!(engine.stop().success());
    audit_is_well(&world.data());
}

#[test]
fn dead_letters_are_listed_and_shown_with_their_bytes() {
    let world = World::new();
    let engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    assert!(well(&engine.cli(&["dead-letters", "list"])).contains("no dead letters"));
    assert_eq!(engine.post("/api/v1/events/hook", &json!({"severity": "odd"})).0, 202);
    let listed = eventually("the dead letter", SOON, || {
        let listed = well(&engine.cli(&["dead-letters", "list", "--source", "hook"]));
        listed.contains("hook").then_some(listed)
    });
    assert!(listed.contains("inbox"), "{listed}");
    let found = engine.get("/api/v1/dead-letters")["dead_letters"][0].clone();
    let (position, offset) = (found["position"].as_str().unwrap(), found["offset"].to_string());
    let shown = well(&engine.cli(&["dead-letters", "show", position, &offset]));
    assert!(shown.contains("odd") && shown.contains(found["reason"].as_str().unwrap()), "{shown}");
    assert!(refused(&engine.cli(&["dead-letters", "show", position, "9999"])).contains("dead-letters list"));
}

#[test]
fn a_topic_that_was_created_anew_stops_its_source_pages_and_is_taken_after_a_rewind() {
    let broker = Broker::of_test("recreated");
    if !broker.is_real() {
        return;
    }
    let (topic, world) = (broker.topic("recreated", 1), World::new());
    let position = format!("kafka/{topic}/0");
    let producer = broker.producer();
    let note = |id: &str| {
        send(&producer, &topic, "k", alert(id, "test.note", id, "firing").as_bytes(), None);
        flush(&producer);
    };
    ["a", "b", "c"].into_iter().for_each(note);
    let mut engine = EngineProcess::start(world.folder.path(), &world.kafka_config(&broker.address(), &topic));
    eventually("all are taken", SOON, || (next(&engine, &position) == 3).then_some(()));
    assert!(engine.stop().success());
    broker.recreate(&topic, 1);
    note("after");
    engine.again();

    eventually("it says so", SOON, || engine.text("/ready").contains("it ends at offset 1").then_some(()));
    let about = |engine: &EngineProcess| engine.incidents(&format!("&about={position}"));
    let stopped = eventually("an incident of its own", SOON, || about(&engine).first().cloned());
    assert_eq!((&stopped["rule"], &stopped["state"]), (&json!("source stopped"), &json!("new")), "{stopped}");
    eventually("somebody is told", SOON, || world.pages(&position).first().cloned());
    // The shard lives: what comes in elsewhere is decided.
    let (status, _) =
        engine.post("/api/v1/events/hook", &serde_json::from_str(&alert("w", "test.note", "w", "firing")).unwrap());
    assert_eq!(status, 202);
    eventually("another source goes on", SOON, || engine.incidents("&about=w").first().cloned());
    assert!(engine.incidents("&about=after").is_empty());

    let args = ["offsets", "rewind", &position, "--to", "earliest", "--reason", "the topic is a new one", "--yes"];
    well(&engine.cli(&args));
    eventually("it is taken from again", SOON, || engine.incidents("&about=after").first().cloned());
    eventually("that incident is over", SOON, || (about(&engine)[0]["state"] == "resolved").then_some(()));
    eventually("all is well", SOON, || (engine.text("/ready").contains("\"ready\":true")).then_some(()));
    assert_eq!(world.pages(&position).len(), 1, "one stop, one page");
    assert!(engine.stop().success());
    audit_is_well(&world.data());
}
