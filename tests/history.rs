//! `paramedic replay` of what a Kafka topic still has.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod support;

use std::process::Output;

use common::{Broker, flush, send};
use serde_json::{Value, json};
use support::{World, paramedic, text};

/// 2026-01-01T00:00:00Z, in milliseconds.
const BEGINNING: i64 = 1_767_225_600_000;
const MINUTE: i64 = 60_000;

fn rules(world: &World, folder: &str, at_least: u32) -> String {
    let book = format!(
        "rulebook: links\nautonomy: record\nrules:\n  - rule: link flaps\n    when: event.type == \"link.down\"\n    \
         count: {{ at_least: {at_least}, within: 10m }}\n    by: [event.ci]\n    clear: {{ quiet: 1h }}\n    \
         incident: {{ summary: \"{{event.ci}} flaps\" }}\n"
    );
    let folder = world.path(folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("links.yaml"), book).unwrap();
    folder.display().to_string()
}

fn down(n: u32, ci: &str) -> Vec<u8> {
    json!({"id": format!("e{n}"), "type": "link.down", "kind": "log", "ci": ci}).to_string().into_bytes()
}

fn report(out: &Output) -> Value {
    assert!(out.status.code() != Some(2), "{}", text(out));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn what_a_topic_has_is_replayed_in_the_order_of_its_records_and_compared() {
    let broker = Broker::of_test("history");
    let (topic, other) = (broker.topic("links", 2), broker.topic("other", 1));
    let world = World::new();
    let (two, three) = (rules(&world, "two", 2), rules(&world, "three", 3));
    let config = world.path("paramedic.yaml").display().to_string();
    let text_of = world.config(&format!(
        "kafka: {{ brokers: \"{}\" }}\nsources:\n  - {{ name: monitoring, kafka: {{ topic: {topic} }}, scope: event.ci }}\n",
        broker.address()
    ));
    std::fs::write(&config, text_of).unwrap();
    let producer = broker.producer();
    // Of web-1 twice within ten minutes; of web-2 three times, the third of which is too late for two of them.
    let history = [(0, "web-1"), (1, "web-2"), (5, "web-1"), (8, "web-2"), (10, "web-2"), (30, "web-1")];
    for (n, (minute, ci)) in (0u32..).zip(history) {
        send(&producer, &topic, ci, &down(n, ci), Some(BEGINNING + minute * MINUTE));
    }
    send(&producer, &topic, "web-1", b"no event", Some(BEGINNING + 31 * MINUTE));
    flush(&producer);

    let events = format!("kafka/{topic}");
    let replay = |more: &[&str]| {
        let all = [&["replay", "--rules", &three, "-c", &config, "--json"], more].concat();
        paramedic(world.folder.path(), &all)
    };
    let whole = report(&replay(&["--events", &events]));
    let count = |of: &Value, what: &str| of[what].as_u64().unwrap();
    assert_eq!((count(&whole, "events"), count(&whole, "dead_letter")), (6, 1));
    assert_eq!(count(&whole, "incidents_opened"), 1, "web-2, at the tenth minute");
    assert_eq!(whole["first_event"], "2026-01-01T00:00:00.000000000Z", "records have times, these events have none");
    let threads = report(&replay(&["--events", &events, "--threads", "2", "--batch", "1"]));
    assert_eq!(threads["decisions_digest"], whole["decisions_digest"]);
    assert_eq!(threads["inputs_digest"], whole["inputs_digest"]);

    let compared = replay(&["--events", &events, "--against", &two]);
    assert_eq!(compared.status.code(), Some(1));
    assert_eq!(report(&compared)["counts"]["missed"], 1, "two of web-1 are enough for the other rules");

    // The embedded broker does not know offsets by time.
    if broker.is_real() {
        let part =
            report(&replay(&["--events", &events, "--from", "2026-01-01T00:05:00Z", "--to", "2026-01-01T00:10:00Z"]));
        assert_eq!((count(&part, "events"), count(&part, "incidents_opened")), (2, 0));
        assert_eq!(count(&report(&replay(&["--events", &events, "--from", "1h"])), "events"), 0);
    }

    for (more, why) in [
        (vec!["--events", "kafka/none"], format!("no source reads topic none; those that are read: {topic}")),
        (vec!["--events", &*format!("{events}/7")], format!("topic {topic} has no partition 7: it has 2")),
        (vec!["--events", &events, "--sort", "time"], "--sort goes with a file".to_owned()),
        (vec!["--events", &events, "--from", "yesterday"], "how long ago: 7d".to_owned()),
    ] {
        let refused = replay(&more);
        assert_eq!(refused.status.code(), Some(2), "{more:?}");
        assert!(text(&refused).contains(&why), "{more:?}: {}", text(&refused));
    }
    let of_other = replay(&["--events", &format!("kafka/{other}")]);
    assert!(text(&of_other).contains("no source reads topic"), "{}", text(&of_other));
}
