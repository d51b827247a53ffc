//! New rules without a restart: when the folder changes, on SIGHUP and over the API; whole or not at all, and under load.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Broker, EngineProcess, eventually, eventually_or, flush, send};
use paramedic_store::{Claim, SqliteStore, Store as _};
use rdkafka::producer::BaseProducer;
use serde_json::{Value, json};
use support::{SOON, World, audit_is_well, disk, replay_journal, text};

/// A rulebook whose incidents name its version.
fn versioned(version: usize) -> String {
    format!(
        "rulebook: versioned\nautonomy: record\nrules:\n  - rule: counted\n    when: |\n      event.type == \"load\"\n    \
         incident: {{ summary: \"version {version}\" }}\n"
    )
}

const SCENARIO: &str = "scenario: it opens
steps:
  - at: 0s
    event: { type: load, ci: web-1 }
  - at: 0s
    expect: { incident: { summary: version VERSION } }
";

fn write(world: &World, name: &str, text: &str) {
    std::fs::write(world.path("rules").join(name), text).unwrap();
}

/// What a load event opens now.
fn opens(engine: &EngineProcess, id: &str) -> String {
    let event = json!({"id": id, "type": "load", "ci": id, "dedup_key": id, "severity": "minor", "summary": "s"});
    assert_eq!(engine.post("/api/v1/events/hook", &event).0, 202);
    let of = |i: &Value| i["about"] == id;
    let found = eventually("its incident", SOON, || engine.incidents("").into_iter().find(of));
    found["summary"].as_str().unwrap().to_owned()
}

fn reloads(engine: &EngineProcess, result: &str) -> f64 {
    engine.metric("paramedic_rules_reloads_total", &[&format!("\"{result}\"")])
}

fn in_force(engine: &EngineProcess) -> String {
    engine.get("/api/v1/status")["rules"].as_str().unwrap().to_owned()
}

#[test]
fn a_changed_folder_is_taken_over_when_it_is_well_and_only_then() {
    let world = World::new();
    write(&world, "versioned.yaml", &versioned(1));
    let watched = world.webhook_config().replace("rules_watch: false", "rules_watch: true");
    let engine = EngineProcess::start(world.folder.path(), &watched);
    assert_eq!(opens(&engine, "host-1"), "version 1");
    let first = in_force(&engine);
    write(&world, "versioned.yaml", &versioned(2));
    eventually("the new rules", SOON, || (in_force(&engine) != first).then_some(()));
    assert_eq!(opens(&engine, "host-2"), "version 2");
    let second = in_force(&engine);
    assert_eq!(engine.metric("paramedic_rules_info", &[&second]), 1.0);
    assert_eq!(engine.metric("paramedic_rules_info", &[]), 1.0, "no other set is in force");
    assert!(engine.log_text().contains("rules in force"), "{}", engine.log_text());

    write(&world, "versioned.yaml", &versioned(3).replace("summary", "sumary"));
    eventually("it is refused", SOON, || (reloads(&engine, "errors") == 1.0).then_some(()));
    let log = engine.log_text();
    assert!(log.contains("versioned.yaml:7") && log.contains("nothing was published"), "{log}");
    let status = engine.get("/api/v1/status");
    let refused = &status["rules_refused"];
    assert_eq!(
        (&refused["by"], &refused["result"], &refused["problems"]),
        (&"folder".into(), &"errors".into(), &2.into())
    );
    assert!(
        refused["problem"].as_str().unwrap().contains("versioned.yaml:7") && refused["at"].is_string(),
        "{refused}"
    );
    let said = text(&engine.cli(&["status"]));
    assert!(said.contains("RULES REFUSED") && said.contains(&format!("{} stays in force", &second[..12])), "{said}");
    assert_eq!((in_force(&engine), opens(&engine, "host-3").as_str()), (second, "version 2"));

    write(&world, "versioned.yaml", &versioned(3));
    eventually("it is mended", SOON, || (reloads(&engine, "published") == 2.0).then_some(()));
    assert_eq!(reloads(&engine, "errors"), 1.0, "what is refused is told once");
    assert!(engine.get("/api/v1/status")["rules_refused"].is_null());
    eventually("the mended rules", SOON, || {
        let id = format!("host-{}", reloads(&engine, "published") + engine.incidents("").len() as f64);
        (opens(&engine, &id) == "version 3").then_some(())
    });
    let kept = engine.incidents("").into_iter().filter(|i| i["summary"] == "version 1").count();
    assert_eq!(kept, 1, "what was opened keeps what it was opened as");
}

#[test]
fn sighup_and_a_person_have_the_folder_taken_again() {
    let world = World::new();
    write(&world, "versioned.yaml", &versioned(1));
    let engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    let first = in_force(&engine);
    write(&world, "versioned.yaml", &versioned(2));
    let hangup = Command::new("kill").args(["-HUP", &engine.pid().to_string()]).status().unwrap();
    assert!(hangup.success());
    eventually("the new rules", SOON, || (in_force(&engine) != first).then_some(()));
    assert_eq!(opens(&engine, "host-1"), "version 2");

    let out = engine.cli(&["rules", "reload"]);
    assert!(out.status.code() == Some(0) && text(&out).contains("in force already"), "{}", text(&out));
    write(&world, "versioned.yaml", &versioned(3));
    let out = engine.cli(&["rules", "reload"]);
    assert!(out.status.code() == Some(0) && text(&out).contains("published"), "{}", text(&out));
    eventually("the person's rules", SOON, || {
        (opens(&engine, &format!("person-{}", engine.incidents("").len())) == "version 3").then_some(())
    });

    // A scenario that does not hold any more keeps the rules from being published.
    write(&world, "versioned.test.yaml", &SCENARIO.replace("VERSION", "3"));
    write(&world, "versioned.yaml", &versioned(4));
    let out = engine.cli(&["rules", "reload"]);
    let said = text(&out);
    assert!(out.status.code() == Some(1) && said.contains("version 4") && said.contains("it opens"), "{said}");
    write(&world, "versioned.test.yaml", &SCENARIO.replace("VERSION", "4"));
    let out = engine.cli(&["rules", "reload", "--json"]);
    let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(answer["result"], "published");
    write(&world, "versioned.yaml", "rulebook: [");
    let out = engine.cli(&["rules", "reload"]);
    assert!(out.status.code() == Some(1) && text(&out).contains("versioned.yaml:2"), "{}", text(&out));
    let counted: f64 =
        ["published", "unchanged", "scenarios", "errors"].iter().map(|result| reloads(&engine, result)).sum();
    assert_eq!(counted, 6.0);
}

/// Another version of the program has published what this one does not know.
#[test]
fn rules_that_cannot_be_read_here_stop_the_shard_and_nothing_is_decided_without_them() {
    let world = World::new();
    write(&world, "versioned.yaml", &versioned(1));
    let mut engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    assert_eq!(opens(&engine, "host-1"), "version 1");
    assert!(engine.stop().success());
    let store = SqliteStore::open(&world.data().join("paramedic.db")).unwrap();
    let later = versioned(2).replace("    incident:", "    hologram: { of: tomorrow }\n    incident:");
    let digest = paramedic_model::Digest::of(&json!(later));
    store.ruleset_put(digest, &BTreeMap::from([("versioned.yaml".to_owned(), later)])).unwrap();
    store.ruleset_publish(digest, paramedic_runtime::clock::wall(), false).unwrap();
    drop(store);

    engine.again();
    let event =
        json!({"id": "b", "type": "load", "ci": "host-2", "dedup_key": "b", "severity": "minor", "summary": "s"});
    assert_eq!(engine.post("/api/v1/events/hook", &event).0, 202);
    let log = || engine.log_text();
    let says_so = || engine.text("/ready").contains("taking a rule set that was published").then_some(());
    eventually_or("it says so", SOON, says_so, || format!("{}\n{}", engine.text("/ready"), log()));
    assert_eq!(engine.incidents("").len(), 1, "the event waits behind the rules");
}

const RELOADS: usize = 100;
const HOSTS: usize = 40;

#[test]
fn a_hundred_reloads_under_load_lose_and_double_nothing() {
    let broker = Broker::of_test("a_hundred_reloads_under_load_lose_and_double_nothing");
    let topic = broker.topic("reload", 1);
    let world = World::new().with("auto", "1h", "30s");
    write(&world, "versioned.yaml", &versioned(0));
    let mut engine = EngineProcess::start(world.folder.path(), &world.kafka_config(&broker.address(), &topic));
    let hosts: Vec<String> = (0..HOSTS).map(|n| format!("host-{n}")).collect();
    world.import(&engine, &hosts);
    let (done, producer) = (AtomicBool::new(false), broker.producer());
    let (mut published, mut refused) = (BTreeSet::from([in_force(&engine)]), 0);
    let sent = std::thread::scope(|scope| {
        let load = scope.spawn(|| produce(&producer, &topic, &done));
        for n in 1..=RELOADS {
            let broken = n % 10 == 7;
            let rules = versioned(n);
            write(&world, "versioned.yaml", if broken { &rules[..rules.len() / 2] } else { &rules });
            let (status, said) = engine.post("/api/v1/rules/reload", &json!({"by": "ann"}));
            assert_eq!(status, if broken { 422 } else { 200 }, "{said}");
            match said["result"].as_str() {
                Some("published") => assert!(published.insert(said["digest"].as_str().unwrap().to_owned()), "{said}"),
                _ => refused += 1,
            }
        }
        done.store(true, Ordering::Release);
        load.join().unwrap()
    });
    assert_eq!((published.len(), refused), (RELOADS - RELOADS / 10 + 1, RELOADS / 10));
    let taken = || engine.metric("paramedic_inputs_total", &["\"monitoring\""]);
    eventually("all is taken", SOON, || (taken() as usize == sent).then_some(()));
    eventually("every host is repaired once", SOON, || (world.received("/clean-disk").len() >= HOSTS).then_some(()));
    assert!(engine.stop().success());

    let mut requests: BTreeMap<String, usize> = BTreeMap::new();
    for request in world.received("/clean-disk") {
        let body: Value = serde_json::from_str(request.body()).unwrap();
        *requests.entry(body["target"]["name"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert!(requests.len() == HOSTS && requests.values().all(|n| *n == 1), "{requests:?}");
    let store = SqliteStore::open(&world.data().join("paramedic.db")).unwrap();
    let image = store.load_shard(0, &Claim::Alone).unwrap();
    let loads = image.scopes.iter().flat_map(|s| &s.incidents).filter(|i| i.rule == "counted");
    let mut of_event: BTreeMap<usize, usize> = BTreeMap::new();
    for incident in loads {
        let number = incident.about.as_deref().unwrap().strip_prefix("load-").unwrap().parse().unwrap();
        let version = incident.summary.strip_prefix("version ").unwrap().parse().unwrap();
        assert!(of_event.insert(number, version).is_none(), "load-{number} has two incidents");
        assert!(published.contains(&incident.set.to_string()));
    }
    drop(store);
    assert_eq!(of_event.keys().copied().collect::<Vec<_>>(), (0..sent - HOSTS).collect::<Vec<_>>());
    let versions: Vec<usize> = of_event.into_values().collect();
    assert!(versions.is_sorted(), "a set is in force from one event on, and before none: {versions:?}");
    let seen: BTreeSet<usize> = versions.into_iter().collect();
    assert!(seen.len() > RELOADS / 2 && !seen.contains(&7), "{seen:?}");
    audit_is_well(&world.data());
    let (code, replayed) = replay_journal(world.folder.path());
    assert_eq!(code, Some(0), "{replayed}");
}

/// Sends events until it is done, some of them of hosts whose disk is full. Says how many.
fn produce(producer: &BaseProducer, topic: &str, done: &AtomicBool) -> usize {
    let began = Instant::now();
    let (mut loads, mut hosts) = (0, 0);
    while !done.load(Ordering::Acquire) || hosts < HOSTS {
        let id = format!("load-{loads}");
        let event = json!({"id": id, "type": "load", "ci": id, "dedup_key": id, "severity": "minor", "summary": "s"});
        send(producer, topic, "k", event.to_string().as_bytes(), None);
        loads += 1;
        if loads % 50 == 0 && hosts < HOSTS {
            let host = format!("host-{hosts}");
            send(producer, topic, "k", disk(&format!("disk-{hosts}"), &host, "/var", 95).as_bytes(), None);
            hosts += 1;
        }
        producer.poll(Duration::ZERO);
        // A few hundred in a second, however fast this machine is.
        let due = Duration::from_millis(loads as u64 * 4);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    flush(producer);
    loads + hosts
}
