//! What is wrong outside: messages, files, playbooks, brokers, disks. Each: a clear message, no loss, no action.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Broker, EngineProcess, eventually, flush, free_port, send};
use paramedic_runners::Behaviour;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext};
use serde_json::{Value, json};
use support::{Books, SOON, World, alert, paramedic, text};

fn note(id: &str) -> String {
    alert(id, "test.note", id, "firing")
}

fn reasons(engine: &EngineProcess) -> String {
    engine.get("/ready").to_string()
}

#[test]
fn what_cannot_be_decoded_is_a_dead_letter_with_reason_position_and_bytes_and_the_stream_goes_on() {
    let broker = Broker::of_test("bad-input");
    let topic = broker.topic("bad", 1);
    let world = World::new();
    let mut engine = EngineProcess::start(world.folder.path(), &world.kafka_config(&broker.address(), &topic));
    let producer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("message.max.bytes", "4000000")
        .create::<rdkafka::producer::BaseProducer>()
        .unwrap();
    let huge =
        format!("{{\"id\":\"huge\",\"type\":\"test.note\",\"ci\":\"h\",\"summary\":\"{}\"}}", "x".repeat(2 << 20));
    let deep = format!(
        "{{\"id\":\"deep\",\"type\":\"test.note\",\"ci\":\"h\",\"more\":{}{}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    // What is sent, and a word of the reason that it must give; none: it is an event after all.
    let bad: Vec<(Option<Vec<u8>>, Option<&str>)> = vec![
        (Some(b"{\"type\": \"test.note\", \"ci\": ".to_vec()), Some("JSON")),
        (Some(b"no JSON at all".to_vec()), Some("")),
        (Some(b"{\"type\": 7, \"ci\": \"h\"}".to_vec()), Some("type")),
        (Some(br#"{"type":"disk.used_pct","ci":"h","value":[9]}"#.to_vec()), Some("value")),
        (Some(br#"{"type":"test.note","ci":"h","time":"yesterday"}"#.to_vec()), Some("time")),
        (Some(huge.into_bytes()), Some("")),
        (Some(deep.into_bytes()), Some("deep")),
        (Some(br#"{"ci":"h"}"#.to_vec()), Some("`type`")),
        (Some(br#"{"type":"test.note"}"#.to_vec()), Some("`ci`")),
        (Some(vec![0xff, 0xfe, 0x00, 0x80]), Some("UTF-8")),
        (Some(b"".to_vec()), Some("")),
        (None, Some("")),
        (Some(b"[]".to_vec()), Some("empty")),
        (Some("{\"id\":\"hostile\",\"type\":\"test.note\",\"ci\":\"x'; DROP TABLE incidents;--\",\"summary\":\"<img src=x onerror=alert(1)>\\u202e\\u0007 {{7*7}} $(reboot)\"}".into()), None),
    ];
    for (i, (payload, _)) in bad.iter().enumerate() {
        let good = note(&format!("good-{i}"));
        let mut record = BaseRecord::<str, [u8]>::to(&topic).partition(0);
        if let Some(payload) = payload {
            record = record.payload(payload);
        }
        assert!(producer.send(record).is_ok());
        send(&producer, &topic, "k", good.as_bytes(), None);
    }
    flush(&producer);
    let wrong = bad.iter().filter(|(_, reason)| reason.is_some()).count();
    let events = bad.len() + (bad.len() - wrong);
    eventually("the good ones are incidents", SOON, || (engine.incidents("").len() == events).then_some(()));
    let letters = engine.get("/api/v1/dead-letters?limit=1000")["dead_letters"].as_array().unwrap().clone();
    let by_offset: BTreeMap<usize, &Value> =
        letters.iter().map(|l| (usize::try_from(l["offset"].as_u64().unwrap()).unwrap(), l)).collect();
    let missing: Vec<usize> =
        (0..bad.len()).filter(|i| bad[*i].1.is_some() && !by_offset.contains_key(&(2 * i))).collect();
    assert_eq!((letters.len(), by_offset.len()), (wrong, wrong), "not among them: {missing:?}");
    for (i, (payload, reason)) in bad.iter().enumerate() {
        let Some(reason) = reason else { continue };
        let (payload, letter) = (payload.clone().unwrap_or_default(), by_offset[&(2 * i)]);
        assert_eq!(letter["position"], format!("kafka/{topic}/0"));
        let said = letter["reason"].as_str().unwrap();
        assert!(!said.is_empty() && said.contains(reason), "{i}: {said}");
        assert_eq!(letter["length"].as_u64(), Some(payload.len() as u64));
        assert_eq!(letter["digest"], paramedic_model::Digest::of_bytes(&payload).to_string());
        let kept = letter["bytes_base64"].as_str().unwrap().len();
        assert!(kept <= 90_000 && kept >= payload.len().min(64 << 10), "{i}: {kept}");
        let start = String::from_utf8_lossy(&payload[..payload.len().min(40)]).into_owned();
        assert!(letter["text"].as_str().unwrap().starts_with(&start), "{i}");
    }
    assert_eq!(engine.metric("paramedic_inputs_total", &["monitoring", "dead_letter"]), wrong as f64);
    let hostile = engine.incidents("").into_iter().find(|i| i["summary"].as_str().unwrap().contains("img")).unwrap();
    assert!(hostile["about"].as_str().unwrap().contains("DROP TABLE"));
    for page in ["/", "/dead-letters", &format!("/incidents/{}", hostile["number"].as_str().unwrap())] {
        let html = engine.text(page);
        assert!(!html.contains("<img") && html.contains("&lt;img") | (page == "/dead-letters"), "{page}");
    }
    // A terminal is not moved by it either.
    let shown = engine.cli(&["incident", "show", hostile["number"].as_str().unwrap()]);
    assert!(shown.status.success() && !text(&shown).contains('\u{7}'), "{}", text(&shown));

    // A webhook takes no more than it says that it takes.
    let big = json!({"type": "test.note", "ci": "h", "summary": "x".repeat(2 << 20)});
    // It is refused by its length: who is still sending may find the connection closed before reading why.
    let refused = eventually("the answer is read", SOON, || engine.try_post("/api/v1/events/hook", &big).ok());
    assert_eq!(refused.0, 413);
    // What a webhook took and cannot decode is a dead letter too.
    assert_eq!(engine.post("/api/v1/events/hook", &json!({"neither": "nor"})).0, 202);
    eventually("the webhook's dead letter", SOON, || {
        let letters = engine.get("/api/v1/dead-letters?limit=1");
        (letters["dead_letters"][0]["position"] == "inbox").then_some(())
    });
    assert!(engine.stop().success());
    let books = Books::of(&world.data());
    assert_eq!(books.abut()[&format!("kafka/{topic}/0")], 2 * bad.len() as u64);
    assert_eq!(books.dead.len(), wrong + 1);
    support::audit_is_well(&world.data());
    let (code, report) = support::replay_journal(world.folder.path());
    assert_eq!((code, &report["differs"]), (Some(0), &Value::Null), "{report}");
}

#[test]
fn a_configuration_that_is_wrong_says_where_and_what_to_do_and_nothing_starts() {
    let world = World::new();
    let good = world.webhook_config();
    for (what, config, expected) in [
        (
            "an unknown format",
            good.replace("webhook: {}", "webhook: {}, format: nagios"),
            "no format is named \"nagios\"",
        ),
        ("an unknown key", format!("{good}colour: blue\n"), "colour"),
        ("no YAML", format!("{good}  - [\n"), "paramedic.yaml:"),
        ("a wrong type", format!("{good}limits: {{ open_incidents: many }}\n"), "paramedic.yaml:"),
        ("two kinds of source", good.replace("webhook: {}", "webhook: {}, file: { path: x }"), "exactly one of"),
        ("no brokers", good.replace("webhook: {}", "kafka: { topic: t }"), "`kafka.brokers` is not set"),
        ("a secret as itself", good.replace("webhook: {}", "webhook: { token: hunter2 }"), "env:NAME or file:PATH"),
        (
            "a secret that is not there",
            good.replace("webhook: {}", "webhook: { token: \"env:NOT_SET_ANYWHERE\" }"),
            "NOT_SET_ANYWHERE",
        ),
        ("no rules", good.replace("/rules\n", "/nowhere\n"), "no such file or folder"),
        ("an open door", format!("listen: 0.0.0.0:{}\n{good}", free_port()), "is not loopback"),
    ] {
        let path = world.path("paramedic.yaml");
        let listen =
            if config.contains("listen:") { String::new() } else { format!("listen: 127.0.0.1:{}\n", free_port()) };
        std::fs::write(&path, format!("{listen}{config}")).unwrap();
        let out = paramedic(world.folder.path(), &["run", "-c", path.to_str().unwrap()]);
        let said = text(&out);
        assert_eq!(out.status.code(), Some(2), "{what}: {said}");
        assert!(said.contains(expected) && !said.contains("hunter2"), "{what}: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
    }
    let out = paramedic(world.folder.path(), &["run", "-c", "not-there.yaml"]);
    assert!(out.status.code() == Some(2) && text(&out).contains("not-there.yaml"), "{}", text(&out));
}

#[test]
fn a_rulebook_with_every_kind_of_mistake_is_told_all_of_them_at_once() {
    let world = World::new();
    let broken = r#"rulebook: broken
owner: tests
autonomy: fully
may:
  playbooks: [clean-disk, no-such-playbook]
rules:
  - rule: first
    when: |
      event.type == "a" &&
    incident: { summary: "{event.", impact: medium, urgency: medium }
  - rule: second
    whne: event.type == "b"
    incident: { summary: two, impact: enormous, urgency: medium }
  - rule: third
    when: event.typ == "c"
    incident: { summary: three, impact: low, urgency: low }
    remedy:
      - playbook: restart-everything
        verify: { within: soon }
    escalate:
      - { at: sometimes, to: oncall }
  - rule: third
    when: event.type == "d"
    incident: { summary: four, impact: low, urgency: low }
  - rule: country
    when: event.labels.country == no
    incident: { summary: five, impact: low, urgency: low }
"#;
    std::fs::write(world.path("rules/broken.yaml"), broken).unwrap();
    let out = paramedic(world.folder.path(), &["check", "rules"]);
    let said = text(&out);
    assert_eq!(out.status.code(), Some(1), "{said}");
    for word in [
        "fully",
        "no-such-playbook",
        "Script is incomplete",
        "`{` has no `}`",
        "another rule of this rulebook is named \"third\"",
        "whne",
        "enormous",
        "typ",
        "restart-everything",
        "soon",
        "sometimes",
    ] {
        assert!(said.contains(word), "{word} is not among:\n{said}");
    }
    let placed = said.lines().filter(|l| l.contains("broken.yaml:")).count();
    assert!(placed >= 8, "{placed} places:\n{said}");
    let out = paramedic(world.folder.path(), &["check", "rules", "--format", "json"]);
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        report["errors"].as_u64(),
        Some(report["diagnostics"].as_array().unwrap().iter().filter(|d| d["level"] == "error").count() as u64)
    );

    // The engine does not start on it, nor do scenarios or a replay; each shows all of it too.
    std::fs::write(world.path("c.yaml"), format!("listen: 127.0.0.1:{}\n{}", free_port(), world.webhook_config()))
        .unwrap();
    std::fs::write(world.path("events.jsonl"), "").unwrap();
    for args in
        [&["run", "-c", "c.yaml"][..], &["test", "rules"], &["replay", "--rules", "rules", "--events", "events.jsonl"]]
    {
        let out = paramedic(world.folder.path(), args);
        let said = text(&out);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("enormous") && said.contains("sometimes"), "{args:?}: {said}");
    }
}

#[test]
fn a_playbook_that_answers_badly_is_unknown_or_failed_never_done_and_a_person_is_paged() {
    let world = World::new();
    let cases = [
        ("hang", Behaviour::Hang, "unknown"),
        ("500", Behaviour::Status500, "unknown"),
        ("html", Behaviour::Html, "unknown"),
        ("endless", Behaviour::Endless, "unknown"),
        ("redirect", Behaviour::Redirect { to: world.endpoint.url("/elsewhere") }, "failed"),
        ("hangup", Behaviour::DropConnectionAfterEffect, "unknown"),
        ("lost", Behaviour::AcceptAndLose, "unknown"),
        ("refused", Behaviour::Absent, "failed"),
        ("lies", Behaviour::Raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"status\": \"perhaps\"}".into()), "unknown"),
        ("nothing", Behaviour::Raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n".into()), "unknown"),
    ];
    let (mut rules, mut playbooks) = (String::new(), "playbooks:\n".to_owned());
    for (name, behaviour, _) in &cases {
        world.endpoint.behave(&format!("/p-{name}"), behaviour.clone());
        playbooks += &format!(
            "  p-{name}:\n    description: d\n    runner: http\n    url: {}\n    timeout: 2s\n    effect: non_idempotent\n    on_unknown: hold\n",
            world.endpoint.url(&format!("/p-{name}"))
        );
        rules += &format!(
            "  - rule: r-{name}\n    when: |\n      event.type == \"bad.{name}\"\n    incident: {{ summary: s, impact: low, urgency: low, assign: a }}\n    remedy:\n      - playbook: p-{name}\n        target: about\n        verify: {{ within: 60s }}\n    escalate:\n      - {{ at: remedies_failed, to: oncall }}\n      - {{ at: run_unknown, to: oncall }}\n"
        );
    }
    let names: Vec<String> = cases.iter().map(|(n, ..)| format!("p-{n}")).collect();
    std::fs::remove_file(world.path("rules/fleet.yaml")).unwrap();
    std::fs::write(world.path("rules/playbooks.yaml"), playbooks).unwrap();
    std::fs::write(
        world.path("rules/bad.yaml"),
        format!(
            "rulebook: bad\ndescription: d\nowner: tests\nautonomy: auto\nmay: {{ playbooks: [{}], ci_classes: [server], environments: [test] }}\nrules:\n{rules}",
            names.join(", ")
        ),
    )
    .unwrap();
    let engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    let hosts: Vec<String> = cases.iter().map(|(n, ..)| format!("h-{n}")).collect();
    world.import(&engine, &hosts);
    for (name, ..) in &cases {
        let event = alert(name, &format!("bad.{name}"), &format!("h-{name}"), "firing");
        assert_eq!(engine.post("/api/v1/events/hook", &serde_json::from_str(&event).unwrap()).0, 202);
    }
    for (name, _, state) in &cases {
        let host = format!("h-{name}");
        eventually(&format!("somebody is paged about {name}"), SOON, || world.pages(&host).first().cloned());
        let run = engine.runs().into_iter().find(|r| r["target"]["name"] == host.as_str()).unwrap();
        assert_eq!(run["state"], *state, "{name}: {run}");
        assert!(run["message"].as_str().is_some_and(|m| !m.is_empty()), "{name} says why: {run}");
        let incident = engine.incidents(&format!("&about={host}")).into_iter().next().unwrap();
        assert_eq!(incident["state"], "in_progress", "{name}");
        assert_eq!(world.received(&format!("/p-{name}")).len(), 1, "{name}: it left once");
    }
    assert!(world.received("/elsewhere").is_empty(), "no redirect is followed");
    assert_eq!(engine.metric("paramedic_runs_total", &["succeeded"]), 0.0);
}

#[test]
fn a_second_engine_on_the_same_folder_is_refused_with_a_clear_message() {
    let world = World::new();
    let engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    let second = world.path("second.yaml");
    std::fs::write(&second, format!("listen: 127.0.0.1:{}\n{}", free_port(), world.webhook_config())).unwrap();
    let out = paramedic(world.folder.path(), &["run", "-c", second.to_str().unwrap()]);
    let said = text(&out);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("in use by another engine") && said.contains("paramedic.db"), "{said}");
    // The first one does not notice.
    assert_eq!(engine.post("/api/v1/events/hook", &serde_json::from_str(&note("n")).unwrap()).0, 202);
    eventually("its incident", SOON, || (engine.incidents("").len() == 1).then_some(()));
}

/// A broker that may be stopped: no other test uses it.
enum OwnBroker {
    Real(tempfile::TempDir),
    Embedded(Box<MockCluster<'static, DefaultProducerContext>>),
}

impl OwnBroker {
    fn new(test: &str) -> Self {
        match Broker::of_test(test) {
            Broker::Embedded(cluster) => OwnBroker::Embedded(cluster),
            Broker::Real(_) => {
                let own = OwnBroker::Real(tempfile::tempdir().unwrap());
                own.script(&["up"]);
                own
            }
        }
    }

    fn script(&self, args: &[&str]) -> String {
        let OwnBroker::Real(folder) = self else { return String::new() };
        let out = Command::new(support::kafka_sh()).args(args).env("REAL_KAFKA_DIR", folder.path()).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", text(&out));
        text(&out)
    }

    fn address(&self) -> String {
        match self {
            OwnBroker::Real(folder) => {
                let env = std::fs::read_to_string(folder.path().join("env")).unwrap();
                env.trim().strip_prefix("KAFKA_BROKERS=").unwrap().to_owned()
            }
            OwnBroker::Embedded(cluster) => cluster.bootstrap_servers(),
        }
    }

    fn topic(&self, name: &str) {
        match self {
            OwnBroker::Real(_) => drop(self.script(&["topic", name, "1"])),
            OwnBroker::Embedded(cluster) => cluster.create_topic(name, 1, 1).unwrap(),
        }
    }

    fn stop(&self) {
        match self {
            OwnBroker::Real(_) => drop(self.script(&["stop"])),
            OwnBroker::Embedded(cluster) => cluster.broker_down(1).unwrap(),
        }
    }

    fn start(&self) {
        match self {
            OwnBroker::Real(_) => drop(self.script(&["start"])),
            OwnBroker::Embedded(cluster) => cluster.broker_up(1).unwrap(),
        }
    }

    fn produce(&self, topic: &str, events: &[String]) {
        let mut config = ClientConfig::new();
        let producer: rdkafka::producer::BaseProducer =
            config.set("bootstrap.servers", self.address()).set("acks", "all").create().unwrap();
        for event in events {
            send(&producer, topic, "k", event.as_bytes(), None);
        }
        flush(&producer);
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        if let OwnBroker::Real(folder) = self {
            let _ = Command::new(support::kafka_sh()).arg("down").env("REAL_KAFKA_DIR", folder.path()).output();
        }
    }
}

#[test]
fn while_kafka_is_away_the_engine_is_up_says_so_and_takes_webhooks_and_goes_on_when_it_is_back() {
    let broker = OwnBroker::new("kafka-away");
    broker.topic("away");
    broker.produce("away", &[note("kafka-1")]);
    broker.stop();
    let world = World::new();
    let config = world.kafka_config(&broker.address(), "away");
    let mut engine = EngineProcess::start(world.folder.path(), &config);
    eventually("/ready says why", SOON, || reasons(&engine).contains("no Kafka broker answers").then_some(()));
    let post = |engine: &EngineProcess, id: &str| {
        assert_eq!(engine.post("/api/v1/events/hook", &serde_json::from_str(&note(id)).unwrap()).0, 202);
    };
    let abouts = |engine: &EngineProcess| -> BTreeSet<String> {
        engine.incidents("").iter().map(|i| i["about"].as_str().unwrap().to_owned()).collect()
    };
    let has = |engine: &EngineProcess, names: &[&str]| {
        let wanted: BTreeSet<String> = names.iter().map(|n| (*n).to_owned()).collect();
        eventually(&format!("{names:?}"), SOON, || (abouts(engine) == wanted).then_some(()));
    };
    post(&engine, "hook-1");
    has(&engine, &["hook-1"]);
    assert_eq!(engine.metric("paramedic_source_down", &["monitoring"]), 1.0);
    let status = engine.cli(&["status"]);
    assert_eq!(status.status.code(), Some(1), "{}", text(&status));
    assert!(text(&status).contains("no Kafka broker answers"), "{}", text(&status));

    broker.start();
    has(&engine, &["hook-1", "kafka-1"]);
    eventually("ready", SOON, || (engine.get("/ready")["ready"] == true).then_some(()));
    assert_eq!(engine.metric("paramedic_source_down", &["monitoring"]), 0.0);

    // And later, in the middle of its life.
    broker.stop();
    eventually("/ready says why", SOON, || reasons(&engine).contains("away").then_some(()));
    post(&engine, "hook-2");
    has(&engine, &["hook-1", "kafka-1", "hook-2"]);
    broker.start();
    broker.produce("away", &[note("kafka-2")]);
    has(&engine, &["hook-1", "kafka-1", "hook-2", "kafka-2"]);
    eventually("ready again", SOON, || (engine.get("/ready")["ready"] == true).then_some(()));
    assert!(engine.stop().success());
    assert_eq!(Books::of(&world.data()).abut()["kafka/away/0"], 2);
}

/// A small file system of its own, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let out = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(at).output().ok()?;
        out.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_said_loses_nothing_and_is_gone_on_from_when_there_is_room() {
    let world = World::new();
    let Some(small) = SmallDisk::mount(&world.data()) else {
        common::report("full-disk:this-user-may-not-mount-a-tmpfs", "skipped");
        return;
    };
    let broker = Broker::of_test("full-disk");
    let topic = broker.topic("full", 1);
    let mut engine = EngineProcess::start(world.folder.path(), &world.kafka_config(&broker.address(), &topic));
    let producer = broker.producer();
    let produce = |from: usize, to: usize| {
        for i in from..to {
            send(&producer, &topic, "k", note(&format!("n-{i}")).as_bytes(), None);
        }
        flush(&producer);
    };
    produce(0, 20);
    eventually("the first are taken", SOON, || (engine.incidents("").len() == 20).then_some(()));
    // All the room there is.
    let filler = small.0.join("filler");
    drop(std::fs::write(&filler, vec![0u8; 12 << 20]));
    produce(20, 600);
    let said = eventually("/ready says why", SOON, || Some(reasons(&engine)).filter(|r| r.contains("no room")));
    assert!(said.contains("free some space"), "{said}");
    let refused = engine.post("/api/v1/events/hook", &serde_json::from_str(&note("hook")).unwrap());
    assert!(refused.0 >= 500, "nothing is acknowledged that is not durable: {refused:?}");
    assert!(engine.metric("paramedic_commit_failures_total", &["full"]) >= 1.0);
    std::fs::remove_file(&filler).unwrap();
    eventually("it goes on by itself", SOON, || (engine.incidents("").len() == 600).then_some(()));
    eventually("ready", SOON, || (engine.get("/ready")["ready"] == true).then_some(()));
    assert!(engine.stop().success());
    assert_eq!(Books::of(&world.data()).abut()[&format!("kafka/{topic}/0")], 600);
    support::audit_is_well(&world.data());
}
