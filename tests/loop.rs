//! The loop closes: from an event that an independent client has produced to a verified fix that is on record.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::{Broker, EngineProcess, eventually, flush, send};
use paramedic_runners::Behaviour;
use serde_json::{Value, json};
use support::{SOON, World, alert, disk, next_millisecond, now_ms, produce_with_java, text};

/// Produces with Kafka's own Java client where there is a real broker, else with librdkafka.
fn produce(broker: &Broker, topic: &str, key: &str, event: &str) {
    if broker.is_real() {
        produce_with_java(topic, &format!("{}\t{key}\t{event}\n", now_ms()), false);
    } else {
        let producer = broker.producer();
        send(&producer, topic, key, event.as_bytes(), None);
        flush(&producer);
    }
}

fn steps(record: &Value) -> Vec<String> {
    let rows = record["history"].as_array().unwrap();
    rows.iter().map(|r| r["step"].as_str().unwrap().to_owned()).collect()
}

fn of_host(engine: &EngineProcess, host: &str) -> Option<Value> {
    engine.incidents(&format!("&about={host}")).into_iter().next()
}

#[test]
fn an_event_becomes_an_incident_a_playbook_and_a_verified_fix_and_another_one_pages_a_person() {
    let broker = Broker::of_test("loop");
    let topic = broker.topic("loop", 1);
    let world = World::new();
    let producer = Arc::new(broker.producer());
    let facts = BTreeMap::from([("freed_mb".to_owned(), json!(512))]);
    world.endpoint.behave("/clean-disk", Behaviour::Succeed { facts });
    world.endpoint.behave("/restart-service", Behaviour::Fail { message: "unit not found".to_owned() });
    let (monitoring, to) = (Arc::clone(&producer), topic.clone());
    world.endpoint.on_effect(move |done| {
        if done.path == "/clean-disk" {
            next_millisecond();
            send(&monitoring, &to, "web-1", disk("web-1 after", "web-1", "/var", 41).as_bytes(), None);
            monitoring.poll(Duration::ZERO);
        }
    });
    let engine = EngineProcess::start(world.folder.path(), &world.kafka_config(&broker.address(), &topic));
    eventually("ready", SOON, || (engine.get("/ready")["ready"] == true).then_some(()));
    world.import(&engine, &["web-1".to_owned(), "db-1".to_owned()]);

    // Repaired: opened, played, seen by monitoring, resolved.
    let hostile = disk("web-1 full", "web-1", "/var", 93).replace("\"s\"", "\"<script>alert(1)</script>\"");
    produce(&broker, &topic, "web-1", &hostile);
    let resolved =
        eventually("web-1 is repaired", SOON, || of_host(&engine, "web-1").filter(|i| i["state"] == "resolved"));
    assert_eq!(resolved["close_code"], "Solution provided", "{resolved}");
    let number = resolved["number"].as_str().unwrap();
    let record = engine.get(&format!("/api/v1/incidents/{number}"));
    let steps = steps(&record);
    for step in ["incident_opened", "run_decided", "run_reported", "run_judged", "incident_moved"] {
        assert!(steps.iter().any(|s| s == step), "{step}: {steps:?}");
    }
    let run = &record["runs"][0];
    assert_eq!((&run["state"], &run["verdict"]), (&json!("succeeded"), &json!("verified")), "{run}");
    let verdicts: Vec<_> = run["outbox"]["verdicts"].as_array().unwrap().iter().map(|v| v["guard"].clone()).collect();
    assert_eq!(verdicts.len(), 7, "the guards' verdicts are stored: {verdicts:?}");
    let requests = world.received("/clean-disk");
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("idempotency-key"), run["outbox"]["key"].as_str());
    let body: Value = serde_json::from_str(requests[0].body()).unwrap();
    assert_eq!((&body["target"]["name"], &body["parameters"]["mount"]), (&json!("web-1"), &json!("/var")));
    assert_eq!(world.pages("web-1"), Vec::<Value>::new(), "nobody is woken for it");

    // The result is written back to the CI.
    let ci = eventually("the CI is written back", SOON, || {
        let out = engine.cli(&["ci", "list", "--name", "web-1", "--json"]);
        let answer: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", text(&out)));
        let ci = answer["cis"][0].clone();
        ci.to_string().contains("freed_mb").then_some(ci)
    });
    let written = ci.to_string();
    for word in ["512", "clean-disk", "operational"] {
        assert!(written.contains(word), "{word}: {written}");
    }

    // Not repaired: the playbook says so, and a person is paged.
    produce(&broker, &topic, "db-1", &alert("db-1 down", "service.down", "db-1", "firing"));
    let page = eventually("somebody is paged", SOON, || world.pages("db-1").first().cloned());
    assert_eq!(page["to"], "oncall");
    assert!(page["incident"]["number"].as_str().unwrap().starts_with("INC"), "{page}");
    let open = of_host(&engine, "db-1").unwrap();
    assert_eq!((&open["state"], &open["priority"]), (&json!("in_progress"), &json!(2)), "{open}");
    let runs = engine.get(&format!("/api/v1/incidents/{}", open["number"].as_str().unwrap()))["runs"].clone();
    assert_eq!(runs[0]["state"], "failed", "{runs}");
    assert!(runs[0]["message"].as_str().unwrap().contains("unit not found"), "{runs}");

    // What a dashboard and a person see.
    let metrics = engine.text("/metrics");
    for name in [
        "paramedic_inputs_total",
        "paramedic_source_lag",
        "paramedic_stage_seconds_bucket",
        "paramedic_dispatch_seconds_bucket",
        "paramedic_event_to_dispatch_seconds_bucket",
        "paramedic_runs_total",
        "paramedic_pages_total",
        "paramedic_decisions_total",
    ] {
        assert!(metrics.contains(name), "{name} is not scraped");
    }
    assert_eq!(engine.metric("paramedic_runs_total", &["clean-disk", "succeeded"]), 1.0);
    assert_eq!(engine.metric("paramedic_pages_total", &["succeeded"]), 1.0);
    assert_eq!(engine.metric("paramedic_incidents", &["resolved"]), 1.0, "{metrics}");
    assert_eq!(engine.metric("paramedic_incidents", &["in_progress"]), 1.0);
    let (list, page) = (engine.text("/"), engine.text(&format!("/incidents/{number}")));
    assert!(list.contains(open["number"].as_str().unwrap()) && page.contains(number));
    for html in [&list, &page] {
        assert!(!html.contains("<script"), "a summary is text and no markup");
    }
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");

    // The chain verifies while the engine runs.
    support::audit_is_well(&world.data());
    assert_eq!(engine.get("/api/v1/audit")["intact"], true);
}
