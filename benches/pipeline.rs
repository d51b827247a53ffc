//! Events per second from a preloaded real-Kafka topic through the whole program, and of a bare consumer of the
//! same configuration in the same run; with SQLite, and with PostgreSQL where DATABASE_URL names one. Prints one line of
//! JSON a store.
//!
//! `KAFKA_BROKERS=... DATABASE_URL=... cargo bench --bench pipeline [-- EVENTS]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

#[path = "../tests/cluster/mod.rs"]
mod cluster;
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster::in_schema;
use common::{Broker, EngineProcess, flush, send};
use paramedic_runtime::config::KafkaConfig;
use paramedic_runtime::source::kafka::client_config;
use paramedic_store::{Claim, PostgresStore, SqliteStore, Store};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};

const RULES: usize = 100;
const HOSTS: u64 = 1_000;

fn main() {
    let events: u64 = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(2_000_000);
    let broker = Broker::of_test("bench pipeline");
    assert!(broker.is_real(), "set KAFKA_BROKERS: `eval $(tests/real/kafka.sh up)`");
    let topic = broker.topic("bench-pipeline", 1);
    let expected = preload(&broker, &topic, events);
    let bare = bare(&broker, &topic, events);
    let sqlite = through_the_engine(&broker, &topic, events, &expected, bare, None);
    if let Ok(database) = std::env::var("DATABASE_URL") {
        let url = in_schema(&database, &topic.replace('-', "_"));
        let postgres = through_the_engine(&broker, &topic, events, &expected, bare, Some(&url));
        let ratio = (postgres / sqlite * 1000.0).round() / 1000.0;
        println!("{}", serde_json::json!({"bench": "pipeline", "postgres_to_sqlite": ratio}));
    }
}

/// Events a second, with the embedded store or that of this URL.
fn through_the_engine(
    broker: &Broker,
    topic: &str,
    events: u64,
    expected: &Expected,
    bare: f64,
    url: Option<&str>,
) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    rules(folder.path());
    let store_line = url.map_or(String::new(), |url| format!("store: \"{url}\"\n"));
    let config = format!(
        "data: {0}/data\nrules: {0}/rules\n{store_line}kafka: {{ brokers: \"{1}\" }}\n\
         sources: [ {{ name: bench, kafka: {{ topic: {topic} }} }} ]\n",
        folder.path().display(),
        broker.address()
    );
    let mut engine = EngineProcess::start(folder.path(), &config);
    let (mut first, mut last) = (None, (Instant::now(), 0u64));
    while last.1 < events {
        std::thread::sleep(Duration::from_millis(50));
        let now = (Instant::now(), engine.metric("paramedic_inputs_total", &["source=\"bench\""]) as u64);
        if now.1 > last.1 {
            first.get_or_insert(now);
            last = now;
        }
        assert!(now.0 - last.0 < Duration::from_secs(30), "stuck at {}:\n{}", now.1, engine.log_text());
    }
    let (t0, c0) = first.unwrap();
    let engine_rate = (events - c0) as f64 / (last.0 - t0).as_secs_f64();
    engine.stop();
    let store: Box<dyn Store> = match url {
        Some(url) => Box::new(PostgresStore::open(url).unwrap()),
        None => Box::new(SqliteStore::open(&folder.path().join("data/paramedic.db")).unwrap()),
    };
    let counts = store.counts().unwrap();
    let incidents: u64 = counts.incidents.iter().map(|(_, _, n)| n).sum();
    let position = store.load_shard(0, &Claim::Alone).unwrap().positions[&format!("kafka/{topic}/0")].next;
    assert_eq!(incidents, expected.incidents, "incidents are exact");
    assert_eq!(counts.dead_letters, expected.malformed, "dead letters are exact");
    assert_eq!(position, i64::try_from(events).unwrap(), "the position is exact");
    println!(
        "{}",
        serde_json::json!({
            "bench": "pipeline", "store": if url.is_some() { "postgres" } else { "sqlite" }, "events": events, "engine_events_per_s": engine_rate as u64,
            "bare_consumer_events_per_s": bare as u64, "ratio": (engine_rate / bare * 1000.0).round() / 1000.0,
            "incidents": incidents, "dead_letters": counts.dead_letters,
        })
    );
    engine_rate
}

struct Expected {
    incidents: u64,
    malformed: u64,
}

/// 400-byte events: each type is a rule's; 1 in 1,000 matches its second conjunct, 1 in 10,000 is malformed.
fn preload(broker: &Broker, topic: &str, events: u64) -> Expected {
    let producer = broker.producer();
    let (mut keys, mut malformed) = (BTreeSet::new(), 0);
    let base = 1_767_225_600_000i64;
    for i in 0..events {
        let (rule, host) = (i as usize % RULES, (i / 7) % HOSTS);
        // One in each thousand, at a place that moves: every rule and many hosts have their share.
        let matches = i % 1_000 == (i / 1_000 * 37) % 1_000;
        let value = if matches { 95 } else { i % 90 };
        let mut payload = format!(
            "{{\"id\":\"{i:012}\",\"type\":\"metric.{rule:03}\",\"kind\":\"metric\",\"ci\":\"host-{host:04}.example.net\",\
             \"severity\":\"warning\",\"status\":\"firing\",\"value\":{value},\"unit\":\"percent\",\"labels\":{{\
             \"env\":\"production\",\"team\":\"storage\",\"mount\":\"/var/lib/data\",\"site\":\"fra-1\",\
             \"job\":\"node-exporter\",\"cluster\":\"blue\"}},\"summary\":\""
        );
        while payload.len() < 398 {
            payload.push('x');
        }
        payload.push_str("\"}");
        if i % 10_000 == 9_999 {
            payload.truncate(300);
            malformed += 1;
        } else if matches {
            keys.insert((rule, host));
        }
        let ms = base + i64::try_from(i / 100).unwrap();
        send(&producer, topic, "k", payload.as_bytes(), Some(ms));
    }
    flush(&producer);
    Expected { incidents: keys.len() as u64, malformed }
}

/// A consumer of the same configuration that only counts bytes.
fn bare(broker: &Broker, topic: &str, events: u64) -> f64 {
    let kafka = KafkaConfig {
        brokers: broker.address(),
        group: None,
        instance: None,
        options: std::collections::BTreeMap::new(),
    };
    let consumer: BaseConsumer = client_config(&kafka).unwrap().set("group.id", "bench").create().unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    let (mut seen, mut bytes, mut began) = (0u64, 0usize, None);
    while seen < events {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            began.get_or_insert_with(Instant::now);
            bytes += message.payload().map_or(0, <[u8]>::len);
            seen += 1;
        }
    }
    let rate = events as f64 / began.unwrap().elapsed().as_secs_f64();
    eprintln!("bare consumer: {bytes} bytes");
    rate
}

fn rules(folder: &std::path::Path) {
    std::fs::create_dir_all(folder.join("rules")).unwrap();
    let mut book = "rulebook: bench\nautonomy: record\nrules:\n".to_owned();
    for rule in 0..RULES {
        book.push_str(&format!(
            "  - rule: metric {rule}\n    when: |\n      event.type == \"metric.{rule:03}\" && event.value >= 90\n    \
             by: [event.ci]\n    incident:\n      summary: \"{{event.type}} on {{event.ci}}\"\n      close_after: 24h\n"
        ));
    }
    std::fs::write(folder.join("rules/bench.yaml"), book).unwrap();
}
