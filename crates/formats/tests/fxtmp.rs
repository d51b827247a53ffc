//! Every registered format has fixtures and a row in the README, and reads its fixtures as they say.
#![allow(clippy::unwrap_used)]

use paramedic_formats::{FORMATS, Message, format};
use paramedic_model::{Event, Timestamp};
use serde_json::Value;

/// A path, and what it holds.
type File = (&'static str, &'static str);

macro_rules! fixtures {
    ($($path:literal),* $(,)?) => { [$(($path, include_str!(concat!("/tmp/fx/", $path)))),*] };
}

const FIXTURES: [File; 3] = fixtures!["cloudevents/03.json","cloudevents/04.json","alertmanager/01.json",];

fn stamp() -> Timestamp {
    "2026-12-01T09:00:00Z".parse().unwrap()
}

/// Decodes a fixture and hands the events to `look`.
fn with_events(fixture: &Value, name: &str, look: impl FnOnce(&[Event<'_>])) {
    let bytes = match &fixture["value"] {
        Value::Null => None,
        value => Some(serde_json::to_vec(value).unwrap()),
    };
    let headers = fixture["_transport"]["headers"].as_object().unwrap();
    let headers: Vec<(&str, &[u8])> =
        headers.iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap().as_bytes())).collect();
    let message = Message { source: "fixture", headers: &headers, payload: bytes.as_deref(), stamp: stamp() };
    let mut out = Vec::new();
    (format(name).unwrap().decode)(message, &mut out).unwrap();
    look(&out);
}

/// Whether every member named in `expected` is as written.
fn check(path: &str, expected: &Value, found: &Value) {
    match (expected, found) {
        (Value::Object(e), Value::Object(f)) if path.split('/').count() == 3 => {
            for (key, value) in e {
                check(&format!("{path}/{key}"), value, f.get(key).unwrap_or(&Value::Null));
            }
        }
        (Value::String(any), Value::String(_)) if any == "?" => {}
        (Value::String(a), Value::String(b)) if path.ends_with("time") || path.ends_with("began") => assert_eq!(a.parse::<Timestamp>(), b.parse()),
        _ => assert_eq!(expected, found, "{path}"),
    }
}

#[test]
fn every_fixture_reads_as_it_says() {
    for (path, text) in FIXTURES {
        let fixture: Value = serde_json::from_str(text).unwrap();
        let (name, _) = path.split_once('/').unwrap();
        with_events(&fixture, name, |events| {
            let expected = fixture["expect"].as_array().unwrap();
            assert_eq!(events.len(), expected.len(), "{path}");
            for (i, (expected, event)) in expected.iter().zip(events).enumerate() {
                check(&format!("{path}/{i}"), expected, &serde_json::to_value(event).unwrap());
                assert_eq!(event.received, stamp(), "{path}");
            }
        });
    }
}

