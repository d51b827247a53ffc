//! Every event changes an open incident: one history row each, counted in the store. Events a second with SQLite, and
//! with PostgreSQL where DATABASE_URL names one; and memory per incident. Prints one line of JSON a case, and the ratio.
//! Needs no broker: the events come from a file.
//!
//! `DATABASE_URL=... cargo bench --bench stateful [-- EVENTS KEYS...]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../tests/cluster/mod.rs"]
mod cluster;
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::Write as _;
use std::time::{Duration, Instant};

use cluster::in_schema;
use common::EngineProcess;
use paramedic_store::{PostgresStore, SqliteStore, Store};

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let events = numbers.first().copied().unwrap_or(300_000);
    let keys = if numbers.len() > 1 { numbers[1..].to_vec() } else { vec![1_000] };
    let database = std::env::var("DATABASE_URL").ok();
    for keys in keys {
        let sqlite = run(events.max(keys), keys, None);
        if let Some(database) = &database {
            let url = in_schema(database, &format!("bench_stateful_{}_{keys}", std::process::id()));
            let postgres = run(events.max(keys), keys, Some(&url));
            println!(
                "{}",
                serde_json::json!({"bench": "stateful", "keys": keys,
                    "postgres_to_sqlite": (postgres / sqlite * 1000.0).round() / 1000.0})
            );
        }
    }
}

/// Events a second, with the embedded store or that of this URL.
fn run(events: u64, keys: u64, url: Option<&str>) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("rules")).unwrap();
    std::fs::write(
        folder.path().join("rules/bench.yaml"),
        "rulebook: bench\nautonomy: record\nrules:\n  - rule: stateful\n    when: |\n      event.type == \"bench.alarm\"\n    \
         by: [event.ci]\n    incident:\n      summary: \"{event.ci}\"\n      reopen: 30d\n      close_after: 60d\n",
    )
    .unwrap();
    let path = folder.path().join("events.jsonl");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    // Firing and resolve in turn: an incident opens, resolves, reopens... one step of a record an event.
    for i in 0..events {
        let (key, turn) = (i % keys, i / keys);
        let status = if turn % 2 == 0 { "firing" } else { "resolved" };
        writeln!(
            file,
            "{{\"id\":\"{i}\",\"type\":\"bench.alarm\",\"ci\":\"host-{key:07}\",\"dedup_key\":\"k{key}\",\
             \"status\":\"{status}\",\"severity\":\"minor\",\"labels\":{{\"site\":\"fra-1\",\"team\":\"storage\"}}}}"
        )
        .unwrap();
    }
    file.flush().unwrap();
    let store_line = url.map_or(String::new(), |url| format!("store: \"{url}\"\n"));
    let config = format!(
        "data: {0}/data\nrules: {0}/rules\nlimits: {{ open_incidents: 2000000 }}\n{store_line}\
         sources: [ {{ name: bench, file: {{ path: {0}/events.jsonl }} }} ]\n",
        folder.path().display()
    );
    let before = Instant::now();
    let mut engine = EngineProcess::start(folder.path(), &config);
    let (mut first, mut last) = (None, (before, 0u64));
    while last.1 < events {
        std::thread::sleep(Duration::from_millis(50));
        let now = (Instant::now(), engine.metric("paramedic_inputs_total", &["source=\"bench\""]) as u64);
        if now.1 > last.1 {
            first.get_or_insert(now);
            last = now;
        }
        assert!(now.0 - last.0 < Duration::from_secs(60), "stuck at {}:\n{}", now.1, engine.log_text());
    }
    let (t0, c0) = first.unwrap();
    let resident = resident_bytes(engine.pid());
    engine.stop();
    let stopped = Instant::now();
    let store: Box<dyn Store> = match url {
        Some(url) => Box::new(PostgresStore::open(url).unwrap()),
        None => Box::new(SqliteStore::open(&folder.path().join("data/paramedic.db")).unwrap()),
    };
    let rows = store.counts().unwrap().history;
    assert_eq!(rows, events, "one history row an event");
    let rate = (events - c0) as f64 / (stopped - t0).as_secs_f64();
    println!(
        "{}",
        serde_json::json!({"bench": "stateful", "store": if url.is_some() { "postgres" } else { "sqlite" },
            "events": events, "keys": keys, "events_per_s": rate as u64, "history_rows": rows,
            "resident_mib": resident / (1 << 20), "bytes_per_incident": (resident) / keys})
    );
    rate
}

/// Resident memory of a process, in bytes.
fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
