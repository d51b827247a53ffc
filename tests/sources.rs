//! Every kind of source and format, through the real binary.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod support;

use std::collections::BTreeSet;
use std::io::Write as _;

use common::{Broker, EngineProcess, eventually, flush};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use serde_json::{Value, json};
use support::{Books, SOON, World, alert};

fn summaries(engine: &EngineProcess) -> BTreeSet<String> {
    engine.incidents("").iter().map(|i| i["summary"].as_str().unwrap().to_owned()).collect()
}

fn note(id: &str, about: &str) -> String {
    alert(id, "test.note", about, "firing").replace("\"s\"", &format!("\"note on {about}\""))
}

fn http() -> reqwest::blocking::Client {
    reqwest::blocking::Client::builder().no_proxy().build().unwrap()
}

#[test]
fn a_webhook_answers_2xx_only_after_the_event_is_durable_and_only_to_who_bears_its_secret() {
    let world = World::new();
    let (token, password) = (world.path("token"), world.path("password"));
    std::fs::write(&token, "a-secret-token\n").unwrap();
    std::fs::write(&password, "a-secret-password\n").unwrap();
    let mut engine = EngineProcess::start(
        world.folder.path(),
        &world.config(&format!(
            "sources:\n  - {{ name: bearer, webhook: {{ token: \"file:{}\" }} }}\n  - {{ name: basic, webhook: {{ basic: {{ user: prometheus, password: \"file:{}\" }} }} }}\n",
            token.display(),
            password.display()
        )),
    );
    let post =
        |source: &str, id: &str| http().post(format!("{}/api/v1/events/{source}", engine.url)).body(note(id, id));
    assert_eq!(post("bearer", "no").send().unwrap().status(), 401);
    assert_eq!(post("bearer", "no").bearer_auth("another").send().unwrap().status(), 401);
    assert_eq!(post("bearer", "no").basic_auth("prometheus", Some("a-secret-password")).send().unwrap().status(), 401);
    assert_eq!(post("basic", "no").bearer_auth("a-secret-token").send().unwrap().status(), 401);
    assert_eq!(post("elsewhere", "no").send().unwrap().status(), 404);
    let (one, two) = (post("bearer", "one").bearer_auth("a-secret-token"), post("basic", "two"));
    assert_eq!(one.send().unwrap().status(), 202);
    let said = two.basic_auth("prometheus", Some("a-secret-password")).send().unwrap().status();
    // It is durable from here on: the very next thing that happens is the end of the process.
    engine.kill();
    assert_eq!(said, 202);
    engine.again();
    let expected = BTreeSet::from(["note on one".to_owned(), "note on two".to_owned()]);
    eventually("both events are there", SOON, || (summaries(&engine) == expected).then_some(()));
    for secret in ["a-secret-token", "a-secret-password"] {
        assert!(!engine.log_text().contains(secret), "a secret is in the log");
        assert!(!engine.text("/metrics").contains(secret));
    }
}

#[test]
fn one_body_of_alertmanager_opens_an_incident_for_each_alert_and_the_next_resolves_them() {
    let world = World::new();
    let engine = EngineProcess::start(
        world.folder.path(),
        &world.config("sources:\n  - { name: am, webhook: {}, format: alertmanager }\n"),
    );
    let body = |status: &str, ends: &str| {
        let alert = |host: &str| {
            json!({"status": status, "labels": {"alertname": "HostDown", "instance": format!("{host}:9100"), "severity": "critical"},
                   "annotations": {"summary": format!("{host} is down")}, "startsAt": "2026-01-01T00:00:00Z", "endsAt": ends,
                   "generatorURL": "http://prometheus/graph", "fingerprint": format!("fp-{host}")})
        };
        json!({"version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": status, "receiver": "paramedic",
               "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://am",
               "alerts": [alert("n1"), alert("n2")]})
    };
    assert_eq!(engine.post("/api/v1/events/am", &body("firing", "0001-01-01T00:00:00Z")).0, 202);
    eventually("two incidents", SOON, || {
        (summaries(&engine) == BTreeSet::from(["n1:9100 is down".to_owned(), "n2:9100 is down".to_owned()]))
            .then_some(())
    });
    assert_eq!(engine.post("/api/v1/events/am", &body("resolved", "2026-01-01T01:00:00Z")).0, 202);
    eventually("both resolved", SOON, || (engine.incidents("&state=resolved").len() == 2).then_some(()));
    assert_eq!(engine.incidents("").len(), 2);
}

#[test]
fn cloudevents_come_in_as_headers_and_as_bodies() {
    let broker = Broker::of_test("sources-cloudevents");
    let topic = broker.topic("cloudevents", 1);
    let world = World::new();
    let engine = EngineProcess::start(
        world.folder.path(),
        &world.config(&format!(
            "kafka: {{ brokers: \"{}\" }}\nsources:\n  - {{ name: ce, kafka: {{ topic: {topic} }}, format: cloudevents }}\n",
            broker.address()
        )),
    );
    let producer = broker.producer();
    let binary = [
        ("ce_specversion", "1.0"),
        ("ce_id", "b-1"),
        ("ce_source", "/monitoring"),
        ("ce_type", "test.note"),
        ("ce_time", "2026-01-01T00:00:00Z"),
        ("content-type", "application/json"),
    ];
    let headers =
        binary.iter().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
    let data = json!({"ci": "host-b", "summary": "binary", "severity": "warning", "dedup_key": "host-b"}).to_string();
    assert!(producer.send(BaseRecord::<str, str>::to(&topic).payload(&data).headers(headers)).is_ok());
    let structured = json!({"specversion": "1.0", "id": "s-1", "source": "/monitoring", "type": "test.note",
        "time": "2026-01-01T00:00:00Z", "datacontenttype": "application/json",
        "data": {"ci": "host-s", "summary": "structured", "severity": "warning", "dedup_key": "host-s"}})
    .to_string();
    let headers = OwnedHeaders::new()
        .insert(Header { key: "content-type", value: Some("application/cloudevents+json; charset=UTF-8") });
    assert!(producer.send(BaseRecord::<str, str>::to(&topic).payload(&structured).headers(headers)).is_ok());
    flush(&producer);
    eventually("both are incidents", SOON, || {
        (summaries(&engine) == BTreeSet::from(["binary".to_owned(), "structured".to_owned()])).then_some(())
    });
    let abouts: BTreeSet<_> = engine.incidents("").iter().map(|i| i["about"].as_str().unwrap().to_owned()).collect();
    assert_eq!(abouts, BTreeSet::from(["host-b".to_owned(), "host-s".to_owned()]));
}

#[test]
fn a_file_is_read_as_it_grows_and_goes_on_behind_the_last_line_after_a_kill() {
    let world = World::new();
    let spool = world.path("events.jsonl");
    let append = |text: &str| {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&spool).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    let mut engine = EngineProcess::start(
        world.folder.path(),
        &world.config(&format!("sources:\n  - {{ name: spool, file: {{ path: {} }} }}\n", spool.display())),
    );
    let count = |engine: &EngineProcess, n: usize| {
        eventually("the lines are incidents", SOON, || (summaries(engine).len() == n).then_some(()));
    };
    append(&format!("{}\n{}\n", note("1", "one"), note("2", "two")));
    count(&engine, 2);
    // Half a line is no event yet.
    let third = note("3", "three");
    append(&third[..20]);
    engine.kill();
    append(&format!("{}\n", &third[20..]));
    engine.again();
    count(&engine, 3);
    append(&format!("{}\n", note("4", "four")));
    count(&engine, 4);
    assert!(engine.stop().success());
    let books = Books::of(&world.data());
    assert_eq!(books.abut()["file/spool"], 4, "each line was taken once");
    assert_eq!(books.positions["file/spool"], i64::try_from(std::fs::metadata(&spool).unwrap().len()).unwrap());
}

#[test]
fn all_partitions_of_a_topic_are_read_each_from_its_own_position() {
    let broker = Broker::of_test("sources-partitions");
    let topic = broker.topic("partitions", 4);
    let world = World::new();
    let mut engine = EngineProcess::start(world.folder.path(), &world.kafka_config(&broker.address(), &topic));
    let producer = broker.producer();
    let produce = |round: u32| {
        for i in 0..40 {
            let (partition, event) = (i % 4, note(&format!("{round}-{i}"), &format!("host-{round}-{i}")));
            let record = BaseRecord::<str, str>::to(&topic).partition(partition).payload(&event);
            assert!(producer.send(record).is_ok());
        }
        flush(&producer);
    };
    produce(0);
    eventually("all partitions are taken", SOON, || (summaries(&engine).len() == 40).then_some(()));
    engine.kill();
    produce(1);
    engine.again();
    eventually("and go on", SOON, || (summaries(&engine).len() == 80).then_some(()));
    assert!(engine.stop().success());
    let books = Books::of(&world.data());
    let delivered = books.abut();
    for partition in 0..4 {
        let name = format!("kafka/{topic}/{partition}");
        assert_eq!((books.positions[&name], delivered[&name]), (20, 20), "{name}");
    }
    let store = support::replay_journal(world.folder.path());
    assert_eq!((store.0, &store.1["differs"]), (Some(0), &Value::Null), "{}", store.1);
}
