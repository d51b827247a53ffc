//! How long after kill -9 a new event's incident is visible over the API, with many incidents open; on SQLite, and on
//! PostgreSQL where DATABASE_URL names one. With a real Kafka and PostgreSQL also: how long until a second engine of the
//! group has taken over what a killed one owned, and how long a partition rests when an engine joins. Prints one line of
//! JSON a case.
//!
//! `KAFKA_BROKERS=... DATABASE_URL=... cargo bench --bench recovery [-- INCIDENTS]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

#[path = "../tests/cluster/mod.rs"]
mod cluster;
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::Write as _;
use std::time::{Duration, Instant};

use cluster::{Cluster, SESSION, in_schema, owns};
use common::{EngineProcess, eventually, flush};
use serde_json::json;

const LONG: Duration = Duration::from_secs(600);

fn main() {
    let incidents: u64 = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(100_000);
    restart("sqlite", "", incidents);
    if let Ok(url) = std::env::var("DATABASE_URL") {
        let schema = format!("bench_recovery_{}", std::process::id());
        restart("postgres", &format!("store: \"{}\"\n", in_schema(&url, &schema)), incidents);
        if std::env::var("KAFKA_BROKERS").is_ok() {
            group();
        }
    }
}

fn event(id: &str, ci: &str) -> String {
    json!({"id": id, "type": "bench.alarm", "ci": ci, "dedup_key": ci, "status": "firing", "severity": "minor"})
        .to_string()
}

fn restart(store: &str, line: &str, incidents: u64) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("rules")).unwrap();
    std::fs::write(
        folder.path().join("rules/bench.yaml"),
        "rulebook: bench\nautonomy: record\nrules:\n  - rule: alarm\n    when: |\n      event.type == \"bench.alarm\"\n    \
         by: [event.ci]\n    incident:\n      summary: \"{event.ci}\"\n",
    )
    .unwrap();
    let path = folder.path().join("events.jsonl");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    for i in 0..incidents {
        writeln!(file, "{}", event(&i.to_string(), &format!("host-{i:07}"))).unwrap();
    }
    file.flush().unwrap();
    let config = format!(
        "data: {0}/data\nrules: {0}/rules\nlimits: {{ open_incidents: 2000000 }}\n{line}\
         sources:\n  - {{ name: bench, file: {{ path: {0}/events.jsonl }} }}\n  - {{ name: hook, webhook: {{}} }}\n",
        folder.path().display()
    );
    let began = Instant::now();
    let mut engine = EngineProcess::start(folder.path(), &config);
    eventually("all are open", LONG, || {
        std::thread::sleep(Duration::from_millis(200));
        (engine.metric("paramedic_incidents", &["state=\"new\""]) as u64 >= incidents).then_some(())
    });
    let rate = incidents as f64 / began.elapsed().as_secs_f64();
    engine.kill();
    let killed = Instant::now();
    engine.again();
    let answers = killed.elapsed();
    let after: serde_json::Value = serde_json::from_str(&event("after", "the-host-after")).unwrap();
    eventually("it takes an event", LONG, || (engine.post("/api/v1/events/hook", &after).0 == 202).then_some(()));
    eventually("its incident is there", LONG, || {
        let found = engine.get("/api/v1/incidents?about=the-host-after");
        (found["incidents"].as_array().map_or(0, Vec::len) == 1).then_some(())
    });
    let visible = killed.elapsed();
    println!(
        "{}",
        json!({"bench": "recovery", "store": store, "open_incidents": incidents, "opened_per_s": rate as u64,
               "answers_after_ms": answers.as_millis() as u64, "new_incident_after_ms": visible.as_millis() as u64})
    );
}

/// One engine joins another; then it is killed.
fn group() {
    let Some(mut cluster) = Cluster::of_test("bench-takeover", 6) else { return };
    let first = cluster.node();
    eventually("one owns all", LONG, || (owns(&first) == 6).then_some(()));
    let producer = cluster.broker.producer();
    for partition in 0..6 {
        let host = format!("p{partition}");
        let alarm = json!({"id": host, "type": "test.note", "kind": "alert", "ci": host, "severity": "minor",
            "dedup_key": host, "status": "firing", "summary": "s", "labels": {"site": host}});
        cluster.send(&producer, partition, &host, &alarm.to_string());
    }
    flush(&producer);
    eventually("every shard has its first incident", LONG, || (first.incidents("").len() == 6).then_some(()));
    let joined = Instant::now();
    let mut second = cluster.node();
    eventually("each owns three", LONG, || ((owns(&first), owns(&second)) == (3, 3)).then_some(()));
    let join = joined.elapsed();
    second.kill();
    let killed = Instant::now();
    eventually("one owns all again", LONG, || (owns(&first) == 6).then_some(()));
    let takeover = killed.elapsed();
    println!(
        "{}",
        json!({"bench": "takeover", "partitions": 6, "session_timeout_ms": SESSION.as_millis() as u64,
               "join_ms": join.as_millis() as u64, "takeover_after_kill_ms": takeover.as_millis() as u64})
    );
}
