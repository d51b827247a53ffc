//! kill -9 in mid-stream, again and again: nothing is lost, nothing is doubled. Judged by the playbook service's log
//! of raw bytes, by the journal and by the hash chain, never by the engine's own counters.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use common::{Broker, EngineProcess, eventually, eventually_or, flush, send};
use paramedic_runners::{Behaviour, Received};
use rdkafka::producer::BaseProducer;
use serde_json::Value;
use support::{Books, SOON, World, alert, audit_is_well, disk, next_millisecond, replay_journal, text};

const HOSTS: usize = 100;

/// What a request was for: its path, its target and its mount.
fn about(request: &Received) -> (String, String, String) {
    let body: Value = serde_json::from_str(request.body()).unwrap();
    let of = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    (request.path().to_owned(), of(&body["target"]["name"]), of(&body["parameters"]["mount"]))
}

fn key(request: &Received) -> String {
    request.header("idempotency-key").unwrap().to_owned()
}

/// Monitoring: whatever a playbook has really done is seen a moment later, and published.
fn watch_effects(world: &World, producer: Arc<BaseProducer>, topic: String) {
    world.endpoint.on_effect(move |done| {
        let host = done.target["name"].as_str().unwrap_or_default();
        let event = match done.path.as_str() {
            "/clean-disk" => {
                let mount = done.parameters["mount"].as_str().unwrap_or_default();
                disk(&format!("ok|{host}|{mount}|{}", done.seq), host, mount, 40)
            }
            "/restart-service" => alert(&format!("ok|{host}|{}", done.seq), "service.down", host, "resolved"),
            _ => return,
        };
        next_millisecond();
        send(&producer, &topic, host, event.as_bytes(), None);
        producer.poll(Duration::ZERO);
    });
}

/// A small generator with a seed: which request kills.
fn seeded(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

#[test]
fn an_engine_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing() {
    let broker = Broker::of_test("crash");
    let topic = broker.topic("crash", 1);
    let world = World::new();
    let producer = Arc::new(broker.producer());
    watch_effects(&world, Arc::clone(&producer), topic.clone());
    world.endpoint.behave("/restart-service", Behaviour::Slow { ms: 40 });
    world.endpoint.behave("/long-job", Behaviour::Slow { ms: 600_000 });

    let mut engine = EngineProcess::start(world.folder.path(), &world.kafka_config(&broker.address(), &topic));
    let mut hosts: Vec<String> = (0..HOSTS).map(|i| format!("host-{i}")).collect();
    hosts.push("host-slow".to_owned());
    world.import(&engine, &hosts);

    // The stream, in six parts; after each but the last the engine is killed while it works on it.
    let mut expected: BTreeSet<(String, String, String)> = BTreeSet::new();
    let (mut events, mut malformed, mut seed, mut inside) = (0u64, 0u64, 42u64, 0u32);
    let run_requests = |world: &World| world.endpoint.received().iter().filter(|r| r.path() != "/notify").count();
    for part in 0..6 {
        let before = run_requests(&world);
        for host in hosts.iter().take(HOSTS).skip(part * HOSTS / 6).take((part + 1) * HOSTS / 6 - part * HOSTS / 6) {
            for (path, mount) in [("/clean-disk", "/var"), ("/clean-disk", "/opt"), ("/restart-service", "")] {
                let event = match path {
                    "/clean-disk" => disk(&format!("{host}|{mount}"), host, mount, 95),
                    _ => alert(&format!("{host}|down"), "service.down", host, "firing"),
                };
                send(&producer, &topic, host, event.as_bytes(), None);
                // Monitoring repeats itself: the same id, which must do nothing.
                send(&producer, &topic, host, event.as_bytes(), None);
                events += 2;
                expected.insert((path.to_owned(), host.clone(), mount.to_owned()));
            }
        }
        send(&producer, &topic, "", b"{\"type\": \"disk.used_pct\", nonsense", None);
        malformed += 1;
        if part == 2 {
            let event = alert("slow", "job.stuck", "host-slow", "firing");
            send(&producer, &topic, "host-slow", event.as_bytes(), None);
            events += 1;
            expected.insert(("/long-job".to_owned(), "host-slow".to_owned(), String::new()));
        }
        flush(&producer);
        if part == 5 {
            break;
        }
        if part == 2 {
            // Between `started` and the reply, provably: the service has the request, and answers in ten minutes.
            eventually("the long job's request", SOON, || world.received("/long-job").first().cloned());
        } else {
            let at = before + 3 + usize::try_from(seeded(&mut seed, 30)).unwrap();
            eventually("requests of this part", SOON, || (run_requests(&world) >= at).then_some(()));
        }
        let (seen, of) = (run_requests(&world), expected.len());
        engine.kill();
        inside += u32::from(seen < of);
        engine.again();
    }

    // The run of the killed engine is unknown, and stays that until a person says what became of it.
    let slow = eventually("the long job's run is unknown", SOON, || {
        engine.runs().into_iter().find(|r| r["playbook"] == "long-job" && r["state"] == "unknown")
    });
    eventually("somebody is told of it", SOON, || world.pages("host-slow").first().cloned());
    let settled =
        engine.cli(&["run", "settle", slow["id"].as_str().unwrap(), "succeeded", "--notes", "its log says so"]);
    assert!(settled.status.success(), "{}", text(&settled));
    next_millisecond();
    send(&producer, &topic, "host-slow", alert("slow ok", "job.stuck", "host-slow", "resolved").as_bytes(), None);

    // A person looks after every other unknown one: done if the service has it, and else mended by hand.
    let mut by_hand = 0;
    eventually_or(
        "every incident is resolved",
        Duration::from_secs(60),
        || {
            producer.poll(Duration::ZERO);
            for run in engine.get("/api/v1/runs?limit=1000&state=unknown")["runs"].as_array().unwrap() {
                let id = run["id"].as_str().unwrap();
                let key = engine.get(&format!("/api/v1/runs/{id}"))["outbox"]["key"].as_str().unwrap().to_owned();
                let arrived = world.endpoint.received().iter().any(|r| self::key(r) == key);
                let outcome = if arrived { "succeeded" } else { "failed" };
                engine.cli(&["run", "settle", id, outcome, "--notes", "looked"]);
                if !arrived {
                    by_hand += 1;
                    let host = run["target"]["name"].as_str().unwrap();
                    let event = alert(&format!("by hand|{host}"), "service.down", host, "resolved");
                    send(&producer, &topic, host, event.as_bytes(), None);
                }
            }
            let open = engine.incidents("&state=open").len();
            let all = engine.incidents("").len();
            (open == 0 && all == expected.len()).then_some(())
        },
        || {
            let open = engine.incidents("&state=open");
            let runs: Vec<_> = open
                .iter()
                .map(|i| engine.get(&format!("/api/v1/incidents/{}", i["number"].as_str().unwrap())))
                .collect();
            format!(
                "{} incidents of {}, {} open, the first is {:#}; {}",
                engine.incidents("").len(),
                expected.len(),
                open.len(),
                runs.first().unwrap_or(&Value::Null),
                engine.get("/ready")
            )
        },
    );
    flush(&producer);
    let effects = world.endpoint.done().iter().filter(|d| d.path != "/notify" && d.path != "/long-job").count() as u64;
    let total = i64::try_from(events + malformed + effects + by_hand + 1).unwrap();
    let position = format!("kafka/{topic}/0");

    // Exactly one incident for each cause.
    let incidents = engine.incidents("");
    assert_eq!(incidents.len(), expected.len());
    let keys: BTreeSet<&str> = incidents.iter().map(|i| i["correlation_key"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), expected.len(), "one incident a cause");

    // Every key that the records hold has left, with the same bytes each time.
    let raw: Vec<Received> = world.raw_log().into_iter().filter(|r| r.path() != "/notify").collect();
    let mut by_key: BTreeMap<String, Vec<&Received>> = BTreeMap::new();
    for request in &raw {
        by_key.entry(key(request)).or_default().push(request);
    }
    for requests in by_key.values() {
        assert!(requests.iter().all(|r| r.body() == requests[0].body()), "one key, one byte-identical request");
        if requests[0].path() != "/clean-disk" {
            assert_eq!(requests.len(), 1, "a non-idempotent request left twice: {:?}", about(requests[0]));
        }
    }
    let arrived: Vec<_> = by_key.values().map(|requests| about(requests[0])).collect();
    let distinct: BTreeSet<_> = arrived.iter().cloned().collect();
    assert_eq!(arrived.len(), distinct.len(), "one key a cause");
    let missing: Vec<_> = expected.difference(&distinct).collect();
    assert_eq!(missing.len() as u64, by_hand, "never sent, and nobody was asked: {missing:?}");
    assert!(missing.iter().all(|(path, ..)| path != "/clean-disk"), "a keyed run was lost: {missing:?}");
    assert!(distinct.is_subset(&expected));
    let wanted: BTreeSet<String> = engine
        .runs()
        .iter()
        .map(|r| engine.get(&format!("/api/v1/runs/{}", r["id"].as_str().unwrap())))
        .map(|r| r["outbox"]["key"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(wanted.len(), expected.len(), "one run a cause");
    assert!(by_key.keys().all(|k| wanted.contains(k)), "a request without a committed row");

    assert!(inside >= 4, "{inside} of 5 kills came while requests were still to be sent");

    // Positions, dead letters and the journal are exact.
    eventually("the stream is taken to its end", SOON, || {
        let lag = engine.metric("paramedic_source_lag", &["monitoring"]);
        (lag == 0.0).then_some(())
    });
    assert!(engine.stop().success(), "{}", engine.log_text());
    let books = Books::of(&world.data());
    let delivered = books.abut();
    assert_eq!(books.positions.get(&position), Some(&total));
    assert_eq!(
        delivered.get(&position).copied(),
        Some(u64::try_from(total).unwrap()),
        "delivered = span: no gaps here"
    );
    assert_eq!(books.dead.len() as u64, malformed, "{:?}", books.dead);
    assert_eq!(books.dead.iter().collect::<BTreeSet<_>>().len() as u64, malformed, "a dead letter is there once");
    assert!(books.dead.iter().all(|(p, _)| *p == position));
    audit_is_well(&world.data());

    // The live history, once more, gives what it gave.
    let last = books.rows.last().unwrap();
    let (code, report) = replay_journal(world.folder.path());
    assert_eq!((code, &report["differs"]), (Some(0), &Value::Null), "{report}");
    assert_eq!(report["decisions_digest"].as_str(), Some(last.decisions.to_string().as_str()));
    assert_eq!(report["inputs_digest"].as_str(), Some(last.inputs.digest().to_string().as_str()));
    assert_eq!(report["batches"].as_u64(), Some(books.rows.len() as u64));

    // One altered record is found, at its batch.
    let db = rusqlite::Connection::open(world.data().join("paramedic.db")).unwrap();
    let seq: i64 = db
        .query_row("SELECT max(seq) FROM inbox WHERE body LIKE '%run_reported%' AND body LIKE '%\"done\"%'", [], |r| {
            r.get(0)
        })
        .unwrap();
    let changed = db.execute("UPDATE inbox SET body = replace(body, '\"done\"', '\"gone\"') WHERE seq = ?1", [seq]);
    assert_eq!(changed.unwrap(), 1);
    drop(db);
    let of_row = |row: &&paramedic_model::JournalRow| {
        row.ranges.get("inbox").is_some_and(|range| range.from <= seq && seq < range.to)
    };
    let batch = books.rows.iter().find(of_row).unwrap().batch;
    let (code, report) = replay_journal(world.folder.path());
    assert_eq!((code, report["differs"]["batch"].as_u64()), (Some(1), Some(batch)), "{report}");
}
