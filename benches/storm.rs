//! A million events as fast as they come: of a million keys, of one key, and a flood of webhooks beyond what is taken.
//! The whole program with SQLite; a real Kafka for the first two. Asserts that nothing is lost and that memory, caps and
//! the halt hold. Prints one line of JSON a case.
//!
//! `KAFKA_BROKERS=... cargo bench --bench storm [-- EVENTS]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/flood/mod.rs"]
mod flood;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::{Broker, EngineProcess, eventually};
use flood::{TOO_MANY, Watch, flood_webhooks, halt, preload, resident, taken, until_stored, until_taken};
use paramedic_store::{Claim, SqliteStore, Store as _};
use serde_json::json;
use support::{Books, World, audit_is_well};

/// The default of `limits.open_incidents`.
const CAP: u64 = 100_000;
const MOST_MIB: u64 = 512;
const MIB: u64 = 1 << 20;

fn main() {
    let events: u64 = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(1_000_000);
    let broker = Broker::of_test("bench storm");
    assert!(broker.is_real(), "set KAFKA_BROKERS: `eval $(tests/real/kafka.sh up)`");
    let peaks = [storm(&broker, events, events), storm(&broker, events, 1), webhooks()];
    assert!(peaks.iter().all(|peak| *peak <= MOST_MIB), "more than {MOST_MIB} MiB: {peaks:?}");
}

fn store(world: &World) -> SqliteStore {
    SqliteStore::open(&world.data().join("paramedic.db")).unwrap()
}

/// The most memory that it had, in MiB.
fn storm(broker: &Broker, events: u64, keys: u64) -> u64 {
    let topic = broker.topic("bench-storm", 1);
    preload(broker, &topic, events, keys);
    let world = World::new();
    let began = Instant::now();
    // Batches as they are by default.
    let config = world.kafka_config(&broker.address(), &topic).replace("max_events: 10000, ", "");
    let mut engine = EngineProcess::start(world.folder.path(), &config);
    let watch = Watch::of(engine.pid());
    let mut halts = Vec::new();
    while taken(&engine) < events * 9 / 10 {
        halts.push(halt(&engine));
        std::thread::sleep(Duration::from_millis(500));
    }
    until_taken(&engine, events);
    until_stored(&engine, events);
    let seconds = began.elapsed().as_secs_f64();
    let at_end = resident(engine.pid()) / MIB;
    let counted = engine.metric("paramedic_decisions_total", &[TOO_MANY]) as u64;
    let open = keys.min(CAP);
    let umbrellas = u64::from(keys > CAP);
    assert_eq!(counted, keys.saturating_sub(CAP), "each event beyond the cap is counted");
    eventually("a person is told", Duration::from_secs(60), || {
        (world.received("/notify").len() as u64 == umbrellas).then_some(())
    });
    assert!(engine.stop().success());
    let peak = watch.peak_mib();

    let books = Books::of(&world.data());
    books.abut();
    assert!(books.dead.is_empty());
    assert_eq!(books.positions[&format!("kafka/{topic}/0")], i64::try_from(events).unwrap(), "the position is exact");
    audit_is_well(&world.data());
    {
        let store = store(&world);
        let incidents: u64 = store.counts().unwrap().incidents.iter().map(|(_, _, n)| n).sum();
        assert_eq!(incidents, open + umbrellas);
        let image = store.load_shard(0, &Claim::Alone).unwrap();
        let default = image.scopes.iter().find(|s| s.scope == "default").unwrap();
        let repeats: u64 = default.alerts.iter().map(|a| a.repeats).sum();
        assert_eq!(repeats, events - keys, "each further event of a key is counted");
    }
    let killed = Instant::now();
    engine.again();
    let watch = Watch::of(engine.pid());
    eventually("it is loaded again", Duration::from_secs(60), || {
        (engine.metric("paramedic_shards", &[]) >= 1.0).then_some(())
    });
    let loaded = killed.elapsed();
    std::thread::sleep(Duration::from_secs(2));
    let after = (resident(engine.pid()) / MIB, watch.peak_mib());
    halts.sort();
    let ms = |d: Option<&Duration>| d.map_or(0, |d| d.as_millis() as u64);
    println!(
        "{}",
        json!({"bench": "storm", "events": events, "keys": keys, "events_per_s": (events as f64 / seconds) as u64,
               "incidents": open, "umbrellas": umbrellas, "counted_beyond": counted, "peak_mib": peak,
               "end_mib": at_end, "halts": halts.len(), "halt_p50_ms": ms(halts.get(halts.len() / 2)),
               "halt_max_ms": ms(halts.last()), "loaded_again_ms": loaded.as_millis() as u64,
               "mib_after_restart": after.0, "peak_mib_of_restart": after.1})
    );
    assert!(halts.last().is_some_and(|most| *most <= Duration::from_secs(1)), "a halt was not answered in a second");
    peak.max(after.1)
}

fn webhooks() -> u64 {
    let world = World::new();
    let mut engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    let watch = Watch::of(engine.pid());
    let began = Instant::now();
    let answers = flood_webhooks(&engine, &world.runtime, 900, 50);
    let seconds = began.elapsed().as_secs_f64();
    assert!(answers.other.is_empty(), "{:?}", answers.other.first());
    assert!(answers.refused > 0, "it was no flood");
    eventually("all is taken from the inbox", Duration::from_secs(120), || {
        (engine.metric("paramedic_inputs_total", &["source=\"hook\""]) as usize >= answers.taken.len()).then_some(())
    });
    let halted = halt(&engine);
    assert!(engine.stop().success());
    let peak = watch.peak_mib();
    audit_is_well(&world.data());
    let image = store(&world).load_shard(0, &Claim::Alone).unwrap();
    let known: BTreeSet<&str> = image.scopes.iter().flat_map(|s| &s.alerts).map(|a| &*a.key.dedup_key).collect();
    let lost = answers.taken.iter().filter(|key| !known.contains(format!("host-{key:07}.example.net/link").as_str()));
    assert_eq!(lost.count(), 0, "what was answered with 202 is there");
    println!(
        "{}",
        json!({"bench": "webhook flood", "clients": 900, "sent": 900 * 50, "answered_202": answers.taken.len(),
               "answered_503": answers.refused, "answers_per_s": (45_000.0 / seconds) as u64, "peak_mib": peak,
               "halt_ms": halted.as_millis() as u64})
    );
    peak
}
