//! More than can be handled: everything is bounded, counted and told; nothing that was taken is lost, and a halt is
//! answered. benches/storm.rs is the same with a million events.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod flood;
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Broker, EngineProcess, eventually, flush, send};
use flood::{TOO_MANY, alarm, flood_webhooks, halt, preload, taken, until_stored, until_taken};
use paramedic_store::{Claim, SqliteStore, Store as _};
use rusqlite::Connection;
use serde_json::json;
use support::{Books, SOON, World, audit_is_well, replay_journal};

/// Keys, and how many incidents may be open. The embedded broker keeps 5 MiB only, and drops what came before.
const fn size(broker: &Broker) -> (u64, u64) {
    match broker {
        Broker::Real(_) => (60_000, 5_000),
        Broker::Embedded(_) => (8_000, 1_000),
    }
}

#[test]
fn a_storm_is_capped_counted_and_told_and_a_halt_is_answered_meanwhile() {
    let broker = Broker::of_test("storm");
    let topic = broker.topic("storm", 1);
    let (keys, cap) = size(&broker);
    preload(&broker, &topic, keys, keys);
    let world = World::new();
    let limits = format!("limits: {{ open_incidents: {cap} }}\n");
    let config = world.kafka_config(&broker.address(), &topic) + &limits;
    let mut engine = EngineProcess::start(world.folder.path(), &config);
    let mut halts = Vec::new();
    eventually("the storm is over", Duration::from_secs(180), || {
        halts.push(halt(&engine));
        (taken(&engine) >= keys).then_some(())
    });
    halts.sort();
    assert!(halts.len() >= 2, "the storm was over before a halt was asked for: {halts:?}");
    assert!(halts[halts.len() / 2] <= Duration::from_secs(1), "a halt is answered in a second: {halts:?}");
    until_stored(&engine, keys);
    let beyond = || engine.metric("paramedic_decisions_total", &[TOO_MANY]) as u64;
    assert_eq!(beyond(), keys - cap);
    // The gauge is counted anew once a second.
    eventually("all but the rest are open", SOON, || {
        (engine.metric("paramedic_incidents", &["state=\"new\""]) as u64 == cap + 1).then_some(())
    });
    eventually("a person is told", SOON, || (!world.received("/notify").is_empty()).then_some(()));

    // There is room again: what was only counted opens when it is sent again, and the storm is a thing of the past.
    let number = |about: u64| {
        let found = engine.incidents(&format!("&about=host-{about:07}.example.net"));
        found.first().map(|i| i["number"].as_str().unwrap().to_owned())
    };
    assert_eq!(number(keys - 1), None);
    let act = json!({"by": "ann", "notes": "mended"});
    let umbrella = world.pages("").is_empty().then(|| {
        let page = serde_json::from_str::<serde_json::Value>(world.received("/notify")[0].body()).unwrap();
        page["incident"]["number"].as_str().unwrap().to_owned()
    });
    for incident in [umbrella, number(0)] {
        let (status, answer) = engine.post(&format!("/api/v1/incidents/{}/resolve", incident.unwrap()), &act);
        assert!(status < 300, "{status} {answer}");
    }
    eventually("there is room", SOON, || (engine.incidents("&state=resolved").len() == 2).then_some(()));
    let producer = broker.producer();
    send(&producer, &topic, "k", alarm("it is sent again", keys - 1).as_bytes(), None);
    flush(&producer);
    eventually("it opens", SOON, || number(keys - 1));
    assert_eq!(world.received("/notify").len(), 1, "one umbrella, one page");

    assert!(engine.stop().success());
    let books = Books::of(&world.data());
    books.abut();
    assert_eq!(books.positions[&format!("kafka/{topic}/0")], i64::try_from(keys + 1).unwrap());
    audit_is_well(&world.data());
    let (code, report) = replay_journal(world.folder.path());
    assert_eq!(code, Some(0), "{report}");
}

/// Somebody else's write transaction holds the engine's commits up.
fn hold_up(world: &World) -> Connection {
    let other = Connection::open(world.data().join("paramedic.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[test]
fn while_the_store_holds_back_the_engine_stops_reading_and_then_goes_on() {
    let broker = Broker::of_test("slow-store");
    let topic = broker.topic("slow-store", 1);
    let world = World::new();
    let config = world.kafka_config(&broker.address(), &topic).replace("max_events: 10000", "max_events: 200");
    let mut engine = EngineProcess::start(world.folder.path(), &config);
    let held = hold_up(&world);
    let events = 20_000;
    preload(&broker, &topic, events, 50);
    // One batch is stepped and waits for its commit; one waits behind each of the stages; one is in each of them.
    let most = 5 * 200;
    let stands = eventually("it stands still", SOON, || {
        let before = taken(&engine);
        std::thread::sleep(Duration::from_millis(300));
        (before > 0 && taken(&engine) == before).then_some(before)
    });
    assert!(stands <= most, "{stands} of {events} were taken, more than {most}");
    drop(held);
    until_taken(&engine, events);
    until_stored(&engine, events);
    assert_eq!(engine.incidents("").len(), 50);
    assert!(engine.stop().success());
    let books = Books::of(&world.data());
    let delivered = books.abut();
    assert_eq!(delivered[&format!("kafka/{topic}/0")], events, "each was taken once");
    audit_is_well(&world.data());
}

#[test]
fn webhooks_beyond_what_is_taken_are_answered_503_and_what_was_taken_is_there() {
    let world = World::new();
    let mut engine = EngineProcess::start(world.folder.path(), &world.webhook_config());
    let held = hold_up(&world);
    let answers = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood_webhooks(&engine, &world.runtime, 800, 5));
        eventually("some are refused", SOON, || {
            engine.text("/api/v1/status").contains("too many requests at a time").then_some(())
        });
        drop(held);
        flood.join().unwrap()
    });
    assert_eq!(answers.other, Vec::<String>::new(), "every answer is 202 or 503");
    assert!(answers.refused > 0 && !answers.taken.is_empty(), "{} {}", answers.refused, answers.taken.len());
    assert!(halt(&engine) <= Duration::from_secs(1));
    eventually("the inbox is empty", SOON, || {
        (engine.metric("paramedic_inputs_total", &["source=\"hook\""]) as usize >= answers.taken.len()).then_some(())
    });
    assert!(engine.stop().success());
    let store = SqliteStore::open(&world.data().join("paramedic.db")).unwrap();
    let scopes = store.load_shard(0, &Claim::Alone).unwrap().scopes;
    let known: BTreeSet<String> =
        scopes.into_iter().flat_map(|s| s.alerts).map(|a| a.key.dedup_key.to_string()).collect();
    for key in &answers.taken {
        assert!(known.contains(&format!("host-{key:07}.example.net/link")), "{key} was taken, and is not there");
    }
    drop(store);
    audit_is_well(&world.data());
}
