//! What a person does with a running engine, by the commands that people type.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod support;

use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{EngineProcess, eventually};
use serde_json::{Value, json};
use support::{SOON, World, alert, disk, text};

fn post(engine: &EngineProcess, event: &str) {
    let (status, said) = engine.post("/api/v1/events/hook", &serde_json::from_str(event).unwrap());
    assert_eq!(status, 202, "{said}");
}

fn well(out: &Output) -> String {
    assert_eq!(out.status.code(), Some(0), "{}", text(out));
    text(out)
}

fn incident_of(engine: &EngineProcess, about: &str) -> Value {
    eventually("its incident", SOON, || engine.incidents(&format!("&about={about}")).into_iter().next())
}

fn run_of(engine: &EngineProcess, target: &str, state: &str) -> Value {
    eventually(&format!("a run on {target} is {state}"), SOON, || {
        engine.runs().into_iter().find(|r| r["target"]["name"] == target && r["state"] == state)
    })
}

fn verdict(engine: &EngineProcess, run: &Value, guard: &str) -> Option<String> {
    let whole = engine.get(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap()));
    let verdicts = whole["outbox"]["verdicts"].as_array()?.clone();
    verdicts.into_iter().find(|v| v["guard"] == guard).map(|v| v.to_string())
}

fn hosts(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

#[test]
fn an_incident_is_listed_shown_acknowledged_and_resolved_by_a_person() {
    let world = World::new();
    let engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    assert!(well(&engine.cli(&["incident", "list"])).contains("no incidents"));
    post(&engine, &alert("call-1", "test.call", "host-1", "firing"));
    let number = incident_of(&engine, "host-1")["number"].as_str().unwrap().to_owned();
    let listed = well(&engine.cli(&["incident", "list"]));
    assert!(listed.contains(&number) && listed.contains("Call somebody about host-1"), "{listed}");
    let shown = well(&engine.cli(&["incident", "show", &number]));
    assert!(shown.contains("incident_opened") && shown.contains("call a person"), "{shown}");
    eventually("the page", SOON, || world.pages("host-1").first().cloned());
    well(&engine.cli(&["incident", "ack", &number]));
    let record = incident_of(&engine, "host-1");
    assert!(record["acknowledged"].to_string().contains("ann"), "{record}");
    well(&engine.cli(&["incident", "resolve", &number, "--notes", "plugged it in"]));
    let record = incident_of(&engine, "host-1");
    assert_eq!((&record["state"], &record["close_code"]), (&json!("resolved"), &json!("Solution provided")));
    assert!(record["close_notes"].as_str().unwrap().contains("plugged it in"));
    assert!(well(&engine.cli(&["incident", "list"])).contains("no incidents"), "resolved is not open");
    assert!(well(&engine.cli(&["incident", "list", "--state", "all"])).contains(&number));
    let shown = well(&engine.cli(&["incident", "show", &number]));
    assert!(shown.contains("ann"), "who did it is on record: {shown}");
    // Twice is once; a name that is none is an error.
    assert_eq!(engine.cli(&["incident", "resolve", &number, "--notes", "again"]).status.code(), Some(2));
    let out = engine.cli(&["incident", "show", "INC9999999"]);
    assert!(out.status.code() == Some(2) && text(&out).contains("there is no incident"), "{}", text(&out));
    let json: Value =
        serde_json::from_slice(&engine.cli(&["incident", "list", "--state", "all", "--json"]).stdout).unwrap();
    assert_eq!(json["incidents"].as_array().unwrap().len(), 1);
}

#[test]
fn a_proposed_run_leaves_only_when_a_person_approves_it() {
    let world = World::new().with("propose", "60s", "30s");
    let engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    world.import(&engine, &hosts(&["host-1", "host-2"]));
    for host in ["host-1", "host-2"] {
        post(&engine, &disk(&format!("{host} full"), host, "/var", 95));
    }
    let (one, two) = (run_of(&engine, "host-1", "proposed"), run_of(&engine, "host-2", "proposed"));
    let id = |run: &Value| run["id"].as_str().unwrap().to_owned();
    let listed = well(&engine.cli(&["run", "list"]));
    assert!(listed.contains(&id(&one)) && listed.contains("proposed") && listed.contains("clean-disk"), "{listed}");
    assert_eq!(world.received("/clean-disk").len(), 0, "nothing leaves by itself");

    let out = engine.cli(&["reject", &id(&two)]);
    assert_eq!(out.status.code(), Some(2), "a rejection has a reason: {}", text(&out));
    well(&engine.cli(&["reject", &id(&two)[..12], "--reason", "not at night"]));
    run_of(&engine, "host-2", "rejected");
    well(&engine.cli(&["approve", &id(&one)]));
    let done = run_of(&engine, "host-1", "succeeded");
    assert_eq!(done["decided_by"], "ann");
    let shown = well(&engine.cli(&["run", "show", &id(&one)]));
    for word in ["halt", "grant", "age", "concurrency", "allow", "requests sent 1"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let told = well(&engine.cli(&["explain", &id(&one)]));
    let places =
        ["it waits for approval", "run_released", "guard halt says allow", "succeeded"].map(|what| told.find(what));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "in the order of time: {told}");
    let of_host = |i: &Value| i["about"] == "host-1";
    let incident = engine.incidents("").into_iter().find(of_host).unwrap();
    assert!(incident["acknowledged"].to_string().contains("ann"), "who approves is at work: {incident}");
    let sent = world.received("/clean-disk");
    assert_eq!(sent.len(), 1);
    assert!(sent[0].body().contains("host-1"));
    // Once decided, it stays that.
    for args in [vec!["approve".to_owned(), id(&two)], vec!["approve".to_owned(), id(&one)]] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        assert_eq!(engine.cli(&args).status.code(), Some(2));
    }
    assert_eq!(world.received("/clean-disk").len(), 1);
}

#[test]
fn a_halt_stops_runs_within_a_second_while_pages_go_on_and_a_resume_needs_a_reason() {
    let world = World::new();
    let mut engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    let names: Vec<String> = (0..400).map(|i| format!("host-{i}")).collect();
    world.import(&engine, &names);

    // A stream of failing hosts, and a halt in the middle of it.
    let stop = AtomicBool::new(false);
    let url = format!("{}/api/v1/events/hook", engine.url);
    let (at_most, sent) = std::thread::scope(|scope| {
        let stream = scope.spawn(|| {
            let http = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
            let mut sent = 0;
            for name in &names {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let body = disk(&format!("{name} full"), name, "/var", 95);
                assert_eq!(http.post(&url).body(body).send().unwrap().status(), 202);
                sent += 1;
            }
            sent
        });
        eventually("runs leave", SOON, || (world.received("/clean-disk").len() >= 10).then_some(()));
        // No reason is asked of who is in a hurry.
        well(&engine.cli(&["halt"]));
        let halted = Instant::now();
        let at_most = eventually("a second", SOON, || {
            (halted.elapsed() >= Duration::from_secs(1)).then(|| world.received("/clean-disk").len())
        });
        // The stream goes on: more incidents come, and no run.
        let open = engine.incidents("").len();
        eventually("more incidents", SOON, || {
            let now = engine.incidents("").len();
            (now >= open + 20 || now == names.len()).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
        (at_most, stream.join().unwrap())
    });
    post(&engine, &alert("call", "test.call", "host-call", "firing"));
    eventually("pages go on", SOON, || world.pages("host-call").first().cloned());
    eventually("all are incidents", SOON, || (engine.incidents("").len() == sent + 1).then_some(()));
    assert!(at_most < sent, "the halt came after the stream");
    let waiting = run_of(&engine, names[sent - 1].as_str(), "pending");
    eventually("the guard's verdict is stored", SOON, || {
        verdict(&engine, &waiting, "halt").filter(|v| v.contains("halted by ann"))
    });
    assert_eq!(world.received("/clean-disk").len(), at_most, "a run left more than a second after the halt");
    assert!(well_or_found(&engine.cli(&["status"])).contains("HALTED"));

    // No restart resumes.
    engine.kill();
    engine.again();
    eventually("it works again", SOON, || (engine.get("/ready")["ready"] == true).then_some(()));
    post(&engine, &alert("call2", "test.call", "host-call2", "firing"));
    eventually("pages go on", SOON, || world.pages("host-call2").first().cloned());
    assert_eq!(world.received("/clean-disk").len(), at_most);

    let out = engine.cli(&["resume"]);
    assert!(out.status.code() == Some(2) && text(&out).contains("--reason"), "{}", text(&out));
    assert_eq!(world.received("/clean-disk").len(), at_most);
    well(&engine.cli(&["resume", "--reason", "it was a false alarm"]));
    eventually("halted runs go after the resume", SOON, || (world.received("/clean-disk").len() == sent).then_some(()));
    let keys: std::collections::BTreeSet<_> = world
        .raw_log()
        .iter()
        .filter(|r| r.path() == "/clean-disk")
        .map(|r| r.header("idempotency-key").unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), sent, "each once");
}

fn well_or_found(out: &Output) -> String {
    assert!(matches!(out.status.code(), Some(0 | 1)), "{}", text(out));
    text(out)
}

#[test]
fn a_page_does_not_wait_for_playbooks_that_hang() {
    let world = World::new().with("auto", "60s", "10m");
    world.endpoint.behave("/long-job", paramedic_runners::Behaviour::Hang);
    let engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    let names: Vec<String> = (0..80).map(|i| format!("host-{i}")).collect();
    world.import(&engine, &names);
    for name in &names {
        post(&engine, &alert(&format!("{name} stuck"), "job.stuck", name, "firing"));
    }
    // As many hang as may be under way at once.
    eventually("64 requests hang", SOON, || (world.received("/long-job").len() == 64).then_some(()));
    post(&engine, &alert("call", "test.call", "host-call", "firing"));
    eventually("the page", SOON, || world.pages("host-call").first().cloned());
    assert_eq!(world.received("/long-job").len(), 64);
}

#[test]
fn touching_the_halt_file_is_enough_and_a_halt_may_be_of_one_playbook_only() {
    let world = World::new();
    let engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    world.import(&engine, &hosts(&["host-1", "host-2", "host-3"]));
    std::fs::write(world.data().join("HALT"), "").unwrap();
    post(&engine, &disk("1", "host-1", "/var", 95));
    let run = run_of(&engine, "host-1", "pending");
    eventually("halted by the file", SOON, || {
        verdict(&engine, &run, "halt").filter(|v| v.contains("defer") || v.contains("halted"))
    });
    assert!(well_or_found(&engine.cli(&["status"])).contains("HALTED"));
    assert_eq!(world.received("/clean-disk").len(), 0);
    well(&engine.cli(&["resume", "--reason", "looked"]));
    assert!(!world.data().join("HALT").exists());
    run_of(&engine, "host-1", "succeeded");

    well(&engine.cli(&["halt", "--playbook", "clean-disk", "--reason", "it removes too much"]));
    post(&engine, &disk("2", "host-2", "/var", 95));
    post(&engine, &alert("3", "service.down", "host-3", "firing"));
    run_of(&engine, "host-3", "succeeded");
    let run = run_of(&engine, "host-2", "pending");
    eventually("halted by playbook", SOON, || {
        verdict(&engine, &run, "halt").filter(|v| v.contains("it removes too much"))
    });
    well(&engine.cli(&["resume", "--playbook", "clean-disk", "--reason", "mended"]));
    run_of(&engine, "host-2", "succeeded");
    assert_eq!((world.received("/clean-disk").len(), world.received("/restart-service").len()), (2, 1));
}

#[test]
fn a_halt_without_an_engine_is_written_to_the_folder_and_holds_when_one_starts() {
    let world = World::new();
    let mut engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    world.import(&engine, &hosts(&["host-1"]));
    assert!(engine.stop().success());
    let data = world.data();
    let out = engine.cli(&["halt", "--reason", "storm", "--data", data.to_str().unwrap()]);
    assert!(well(&out).contains("no engine answers"), "{}", text(&out));
    engine.again();
    post(&engine, &disk("1", "host-1", "/var", 95));
    let run = run_of(&engine, "host-1", "pending");
    eventually("halted", SOON, || verdict(&engine, &run, "halt").filter(|v| v.contains("storm")));
    assert_eq!(world.received("/clean-disk").len(), 0);
}

#[test]
fn status_and_ci_list_tell_what_is_there() {
    let world = World::new();
    let engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    eventually("ready", SOON, || (engine.get("/ready")["ready"] == true).then_some(()));
    let status = well(&engine.cli(&["status"]));
    assert!(status.contains("cluster test") && status.contains("ready true"), "{status}");
    std::fs::write(
        world.path("cmdb.yaml"),
        "cis:\n  - { name: web-1, class: server, environment: test, attributes: { rack: r7 } }\n  - { name: shop, class: service, environment: test }\nrelations:\n  - { from: shop, kind: runs_on, to: web-1 }\n",
    )
    .unwrap();
    let out = engine.cli(&["ci", "import", world.path("cmdb.yaml").to_str().unwrap()]);
    assert!(well(&out).contains("2 CIs and 1 relations imported"), "{}", text(&out));
    let listed = well(&engine.cli(&["ci", "list"]));
    assert!(listed.contains("web-1") && listed.contains("shop"), "{listed}");
    let one: Value = serde_json::from_slice(&engine.cli(&["ci", "list", "--name", "web-1", "--json"]).stdout).unwrap();
    assert!(one.to_string().contains("r7"), "{one}");
    std::fs::write(world.path("wrong.yaml"), "cis: [ { class: server } ]").unwrap();
    let out = engine.cli(&["ci", "import", world.path("wrong.yaml").to_str().unwrap()]);
    assert!(out.status.code() == Some(2) && text(&out).contains("name"), "{}", text(&out));
    for args in [&["status"][..], &["incident", "list"], &["approve", "0123"]] {
        let mut args = args.to_vec();
        args.extend(["--url", "http://127.0.0.1:9"]);
        let out = engine.cli(&args);
        assert!(out.status.code() == Some(2) && text(&out).contains("no engine answers"), "{}", text(&out));
    }
}

#[test]
fn a_dry_run_decides_and_keeps_and_sends_nothing() {
    let world = World::new();
    let engine = EngineProcess::start_with(world.folder.path(), &world.webhook_config(), &["--dry-run"]);
    world.import(&engine, &hosts(&["host-1"]));
    post(&engine, &disk("1", "host-1", "/var", 95));
    post(&engine, &alert("c", "test.call", "host-2", "firing"));
    // What would have happened is on record, in memory.
    run_of(&engine, "host-1", "would_be");
    eventually("both are decided", SOON, || (engine.incidents("").len() == 2).then_some(()));
    assert!(!world.data().join("paramedic.db").exists(), "a dry run keeps nothing");
    drop(engine);
    assert_eq!(world.raw_log().len(), 0, "a dry run sends nothing");
}

#[test]
fn without_a_configuration_it_starts_on_embedded_defaults_and_says_how_to_point_it_at_kafka() {
    let folder = tempfile::tempdir().unwrap();
    let empty = support::paramedic(folder.path(), &["run"]);
    assert!(empty.status.code() == Some(2) && text(&empty).contains("./rules"), "{}", text(&empty));
    let world = World::new();
    // The port of the defaults is the only one that this test cannot choose.
    eventually("port 8600 is free", Duration::from_secs(60), || std::net::TcpListener::bind("127.0.0.1:8600").ok());
    let mut engine = EngineProcess::spawn_at(world.folder.path(), vec!["run".to_owned()], "http://127.0.0.1:8600");
    assert_eq!(
        engine
            .post("/api/v1/events/webhook", &serde_json::from_str(&alert("1", "test.note", "h", "firing")).unwrap())
            .0,
        202
    );
    eventually("its incident", SOON, || (engine.incidents("").len() == 1).then_some(()));
    let log = engine.log_text();
    for word in ["deploy/paramedic.yaml", "kafka.brokers", "http://127.0.0.1:8600/", "paramedic run -c"] {
        assert!(log.contains(word), "{word}: {log}");
    }
    assert!(world.path("paramedic-data/paramedic.db").exists());
    assert!(engine.stop().success());
}
