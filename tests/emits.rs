//! Events that rules send to Kafka topics, through the real binary, read by a consumer of its own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::{Broker, EngineProcess, eventually, eventually_or, flush, send};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};
use support::{SOON, World, alert, paramedic, text};

/// What a consumer read.
#[derive(Debug)]
struct Read {
    key: String,
    headers: BTreeMap<String, String>,
    event: Value,
}

struct Reader {
    consumer: BaseConsumer,
    all: Vec<Read>,
}

impl Reader {
    /// Of a topic with one partition, from its beginning.
    fn of(broker: &Broker, topic: &str) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", broker.address())
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&partitions).unwrap();
        Self { consumer, all: vec![] }
    }

    /// Takes what there is.
    fn read(&mut self) -> &[Read] {
        while let Some(message) = self.consumer.poll(Duration::from_millis(100)) {
            let Ok(message) = message else { continue };
            let headers = message.headers().unwrap();
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
            self.all.push(Read {
                key: text(message.key()),
                headers: headers.iter().map(|h| (h.key.to_owned(), text(h.value))).collect(),
                event: serde_json::from_slice(message.payload().unwrap()).unwrap(),
            });
        }
        &self.all
    }

    fn wait_for(&mut self, records: usize, engine: &EngineProcess) {
        let how = || format!("{}\n{}", engine.log_text(), engine.get("/api/v1/status"));
        eventually_or("the event is there", SOON, || (self.read().len() >= records).then_some(()), how);
    }

    fn types(&mut self) -> Vec<String> {
        self.read().iter().map(|r| r.event["type"].as_str().unwrap().to_owned()).collect()
    }
}

fn rules(world: &World, topic: &str) {
    let text = format!(
        "rulebook: links\nautonomy: auto\nrules:\n  - rule: link down\n    when: event.type == \"link.down\"\n    emit:\n      \
         topic: {topic}\n      type: site.degraded\n      severity: = event.severity\n      summary: \"{{event.ci}} is text\"\n      \
         labels: {{ link: = event.ci }}\n"
    );
    std::fs::write(world.path("rules/links.yaml"), text).unwrap();
}

fn with_broker(world: &World, broker: &Broker, sources: &str) -> String {
    world.config(&format!("kafka: {{ brokers: \"{}\" }}\nsources:\n{sources}", broker.address()))
}

const HOOK: &str = "  - { name: hook, webhook: {} }\n";

fn post(engine: &EngineProcess, id: &str, ci: &str) {
    let event = serde_json::from_str(&alert(id, "link.down", ci, "firing")).unwrap();
    let (status, said) = engine.post("/api/v1/events/hook", &event);
    assert_eq!(status, 202, "{said}");
}

fn emits(engine: &EngineProcess, state: &str) -> f64 {
    engine.metric("paramedic_emits_total", &[&format!("state=\"{state}\"")])
}

#[test]
fn an_event_that_a_rule_sends_is_there_once_and_under_a_halt_it_waits() {
    let broker = Broker::of_test("emits");
    let (topic, derived) = (broker.topic("links", 1), broker.topic("derived", 1));
    let world = World::new();
    rules(&world, &derived);
    let sources = format!("  - {{ name: monitoring, kafka: {{ topic: {topic} }} }}\n");
    let mut engine = EngineProcess::start(world.folder.path(), &with_broker(&world, &broker, &sources));
    let producer = broker.producer();
    let produce = |id: &str, ci: &str| {
        send(&producer, &topic, ci, alert(id, "link.down", ci, "firing").as_bytes(), None);
        flush(&producer);
    };
    let mut reader = Reader::of(&broker, &derived);
    produce("1", "eth-1");
    reader.wait_for(1, &engine);
    eventually("its answer is on record", SOON, || (emits(&engine, "succeeded") == 1.0).then_some(()));
    let read = &reader.read()[0];
    let id = read.event["id"].as_str().unwrap();
    assert_eq!((read.key.as_str(), id.len()), ("default", 32));
    let expected = json!({"id": id, "type": "site.degraded", "severity": "major", "summary": "{event.ci} is text", "ci": "eth-1",
                          "labels": {"link": "eth-1"}, "time": read.event["time"]});
    assert_eq!(read.event, expected);
    let headers = [
        ("content-type", "application/json"),
        ("paramedic-cluster", "test"),
        ("paramedic-id", id),
        ("paramedic-rule", "links/link down"),
    ];
    assert_eq!(read.headers, headers.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect());

    // Neither a repeat nor a restart sends it again.
    produce("1", "eth-1");
    engine.kill();
    engine.again();
    let halted = engine.cli(&["halt", "--reason", "a test"]);
    assert!(halted.status.success(), "{}", text(&halted));
    produce("2", "eth-2");
    let deferred = || engine.metric("paramedic_guard_verdicts_total", &["guard=\"halt\"", "verdict=\"defer\""]) >= 1.0;
    eventually("the halt holds it", SOON, || deferred().then_some(()));
    assert_eq!(reader.read().len(), 1, "{:?}", reader.all);
    let resumed = engine.cli(&["resume", "--reason", "over"]);
    assert!(resumed.status.success(), "{}", text(&resumed));
    reader.wait_for(2, &engine);
    let ids: BTreeSet<String> = reader.read().iter().map(|r| r.event["id"].to_string()).collect();
    assert_eq!((ids.len(), reader.all.len()), (2, 2));
    assert!(engine.stop().success());
    assert_eq!(reader.read().len(), 2);
    support::audit_is_well(&world.data());
    let (code, told) = support::replay_journal(world.folder.path());
    assert_eq!((code, &told["differs"]), (Some(0), &Value::Null), "{told}");
}

/// Only librdkafka's own broker can be taken away here.
#[test]
fn a_broker_that_is_away_gets_it_later_and_a_halt_meanwhile_holds_it() {
    let broker = Broker::Embedded(Box::new(rdkafka::mocking::MockCluster::new(1).unwrap()));
    let Broker::Embedded(cluster) = &broker else { unreachable!() };
    let derived = broker.topic("derived", 1);
    let world = World::new();
    rules(&world, &derived);
    let engine = EngineProcess::start(world.folder.path(), &with_broker(&world, &broker, HOOK));
    let mut reader = Reader::of(&broker, &derived);
    post(&engine, "1", "eth-1");
    reader.wait_for(1, &engine);
    cluster.broker_down(1).unwrap();
    post(&engine, "2", "eth-2");
    eventually("it is tried", SOON, || engine.log_text().contains("no broker took it within 600 ms").then_some(()));
    assert!(engine.cli(&["halt", "--reason", "a test"]).status.success());
    let held = || engine.metric("paramedic_guard_verdicts_total", &["guard=\"halt\"", "verdict=\"defer\""]);
    eventually("the halt holds its next try", SOON, || (held() >= 1.0).then_some(()));
    cluster.broker_up(1).unwrap();
    let before = held();
    eventually("and the one after it, which would reach the broker", SOON, || (held() > before).then_some(()));
    assert_eq!(reader.types().len(), 1);
    assert!(engine.cli(&["resume", "--reason", "over"]).status.success());
    reader.wait_for(2, &engine);
    eventually("its answer is on record", SOON, || (emits(&engine, "succeeded") == 2.0).then_some(()));
    let ids: BTreeSet<String> = reader.read().iter().map(|r| r.event["id"].to_string()).collect();
    assert_eq!(ids.len(), 2, "what came twice has one id: {:?}", reader.all);
}

#[test]
fn a_topic_that_a_source_reads_is_refused_wherever_rules_and_configuration_meet() {
    let world = World::new();
    rules(&world, "links");
    let sources = "kafka: { brokers: \"127.0.0.1:1\" }\nsources:\n  - { name: monitoring, kafka: { topic: links } }\n  - { name: hook, webhook: {} }\n";
    std::fs::write(world.path("paramedic.yaml"), world.config(sources)).unwrap();
    let folder = world.folder.path();
    let says = "error: rule links/link down sends to topic links, which source monitoring reads: it could feed itself";
    for args in [&["check", "-c", "paramedic.yaml", "rules"][..], &["run", "-c", "paramedic.yaml"]] {
        let out = paramedic(folder, args);
        let said = text(&out);
        assert!(!out.status.success() && said.contains("links.yaml:7:14: ") && said.contains(says), "{args:?}: {said}");
    }
    let out = paramedic(folder, &["check", "rules"]);
    assert_eq!(out.status.code(), Some(0), "without a configuration nothing is known of sources: {}", text(&out));
    // It comes with a reload: the rules in force stay.
    rules(&world, "derived");
    let engine = EngineProcess::start(folder, &world.config(sources));
    rules(&world, "links");
    let out = engine.cli(&["rules", "reload"]);
    assert!(out.status.code() == Some(1) && text(&out).contains(says), "{}", text(&out));
}

#[test]
fn without_a_broker_that_is_said_at_the_start_and_an_event_is_given_up_where_people_see_it() {
    let world = World::new();
    rules(&world, "derived");
    let engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    let said = engine.log_text();
    let says = "rule links/link down sends to topic derived, and there is no broker: it is not delivered";
    assert!(said.contains(says) && said.contains("set `kafka.brokers`"), "{said}");
    post(&engine, "1", "eth-1");
    let incident = eventually("people are told", SOON, || engine.incidents("&about=derived").into_iter().next());
    assert!(
        incident["summary"].as_str().unwrap().starts_with("Events to topic derived are not delivered"),
        "{incident}"
    );
    eventually("somebody is paged", SOON, || world.pages("derived").first().cloned());
    assert_eq!(emits(&engine, "failed"), 1.0);
    post(&engine, "2", "eth-2");
    eventually("the next one, too", SOON, || (emits(&engine, "failed") == 2.0).then_some(()));
    assert_eq!(engine.incidents("&about=derived").len(), 1, "one for all");
}
