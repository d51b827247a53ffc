//! One, two and three engines on one group, one PostgreSQL and a topic of six partitions: that each record is taken once,
//! and what a node costs on the same cores. Events are keyed by their scope, so that all of a scope is in one partition;
//! or dealt out to any partition, so that most of what matches is handed on. Prints one line of JSON a case.
//!
//! `KAFKA_BROKERS=... DATABASE_URL=... cargo bench --bench nodes [-- EVENTS]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../tests/cluster/mod.rs"]
mod cluster;
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use cluster::{Cluster, abut, owns};
use common::{EngineProcess, eventually, eventually_or, flush};
use paramedic_store::Store as _;
use serde_json::json;

const PARTITIONS: i32 = 6;
/// One event in so many matches.
const MATCHES: u64 = 10;
/// Matching events of one host.
const OF_HOST: u64 = 4;
const LONG: Duration = Duration::from_secs(300);

fn main() {
    let events: u64 = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(120_000);
    for keyed in [true, false] {
        let mut alone = None;
        for nodes in 1..=3 {
            let rate = run(events, nodes, keyed);
            let of_alone = (rate / *alone.get_or_insert(rate) * 1000.0).round() / 1000.0;
            println!("{}", json!({"bench": "nodes", "nodes": nodes, "keyed_by_scope": keyed, "of_one_node": of_alone}));
        }
    }
}

/// The partition, the host and the payload of an event.
fn event(n: u64, keyed: bool) -> (i32, String, String) {
    let matching = n.is_multiple_of(MATCHES);
    let host_number = n / MATCHES / OF_HOST;
    let (host, site) = (format!("host-{host_number}"), host_number % PARTITIONS as u64);
    let partition = if keyed { site } else { n / MATCHES % PARTITIONS as u64 };
    let type_ = if matching { "test.note" } else { "test.idle" };
    let payload = json!({"id": format!("e{n}"), "type": type_, "kind": "alert", "ci": host, "severity": "minor",
        "dedup_key": host, "status": "firing", "summary": "s", "labels": {"site": format!("site-{site}")}});
    (i32::try_from(partition).unwrap(), host, payload.to_string())
}

fn run(events: u64, nodes: usize, keyed: bool) -> f64 {
    let mut cluster = Cluster::of_test("bench-nodes", PARTITIONS).expect("a real Kafka, and DATABASE_URL");
    let mut engines: Vec<EngineProcess> = (0..nodes).map(|_| cluster.node()).collect();
    let each = PARTITIONS as u32 / nodes as u32;
    eventually("each node owns its share", LONG, || engines.iter().all(|e| owns(e) == each).then_some(()));
    let store = cluster.store();
    let producer = cluster.broker.producer();
    let began = Instant::now();
    for n in 0..events {
        let (partition, host, payload) = event(n, keyed);
        cluster.send(&producer, partition, &host, &payload);
    }
    flush(&producer);
    let produced = began.elapsed().as_secs_f64();
    let hosts = events.div_ceil(MATCHES * OF_HOST);
    let taken = || {
        let kafka = |(_, name, at): (u32, String, paramedic_store::Position)| {
            if name.starts_with("kafka/") { u64::try_from(at.next).unwrap_or(0) } else { 0 }
        };
        store.positions().unwrap().into_iter().map(kafka).sum::<u64>()
    };
    // What was handed on is taken as well when each alert has heard of each of its events.
    let repeats = || engines.iter().map(|e| e.metric("paramedic_decisions_total", &["\"repeat\""]) as u64).sum::<u64>();
    let (matching, decided) = (events.div_ceil(MATCHES), hosts);
    eventually_or(
        "all is taken",
        LONG,
        || {
            std::thread::sleep(Duration::from_millis(50));
            (taken() == events && repeats() == matching - decided).then_some(())
        },
        || format!("{} of {events} taken, {} of {} repeats", taken(), repeats(), matching - decided),
    );
    let seconds = began.elapsed().as_secs_f64();
    let handed: f64 = engines.iter().map(|e| e.metric("paramedic_handed_total", &[])).sum();
    engines.iter_mut().for_each(|e| assert!(e.stop().success()));
    let delivered = abut(&store);
    let kafka: u64 = delivered.iter().filter(|(name, _)| name.starts_with("kafka/")).map(|(_, (n, _))| n).sum();
    assert_eq!(kafka, events, "every record was taken once");
    let incidents: u64 = store.counts().unwrap().incidents.iter().map(|(_, _, n)| n).sum();
    assert_eq!(incidents, hosts, "every host has one incident");
    let audit = store.audit().unwrap();
    assert!(audit.rows >= hosts && audit.broken.is_empty(), "{audit:?}");
    assert!(!keyed || handed == 0.0, "what is keyed by its scope is at home where it comes");
    let rate = events as f64 / seconds;
    println!(
        "{}",
        json!({"bench": "nodes", "nodes": nodes, "keyed_by_scope": keyed, "events": events, "matching": matching,
               "incidents": incidents, "handed_on": handed as u64, "events_per_s": rate as u64,
               "produced_in_s": (produced * 10.0).round() / 10.0})
    );
    rate
}
