//! Every registered format has fixtures and a row in the README, and reads its fixtures as they say.
#![allow(clippy::unwrap_used)]

use paramedic_formats::{FORMATS, Message, format};
use paramedic_model::{Event, Timestamp};
use serde_json::Value;

/// A path, and what it holds.
type File = (&'static str, &'static str);

macro_rules! fixtures {
    ($($path:literal),* $(,)?) => { [$(($path, include_str!(concat!("../fixtures/", $path)))),*] };
}

const FIXTURES: [File; 8] = fixtures![
    "paramedic/firing_with_everything.json",
    "paramedic/least.json",
    "paramedic/batch_of_two.json",
    "cloudevents/structured_http.json",
    "cloudevents/binary_http_percent_encoded.json",
    "cloudevents/binary_kafka_without_data.json",
    "cloudevents/batch_with_base64.json",
    "alertmanager/group_of_three.json",
];

fn stamp() -> Timestamp {
    "2026-03-01T09:00:00Z".parse().unwrap()
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

#[test]
fn every_format_is_registered_once_with_a_fixture_and_a_row_in_the_readme() {
    let readme = include_str!("../README.md");
    for f in FORMATS {
        assert_eq!(FORMATS.iter().filter(|g| g.name == f.name).count(), 1, "{}", f.name);
        assert!(FIXTURES.iter().any(|(path, _)| path.starts_with(&format!("{}/", f.name))), "{}", f.name);
        assert!(readme.contains(&format!("| `{}` |", f.name)), "{}", f.name);
        assert!(!f.about.is_empty());
        assert_eq!(format(f.name).map(|g| g.about), Some(f.about));
    }
    assert!(format("xml").is_none());
}

#[test]
fn a_plain_native_event_is_borrowed_whole() {
    let text = br#"{"id":"1","type":"t","ci":{"host":"h"},"labels":{"a":"b"},"summary":"s"}"#;
    let message = Message { source: "s", headers: &[], payload: Some(text), stamp: stamp() };
    let mut out = Vec::new();
    (format("paramedic").unwrap().decode)(message, &mut out).unwrap();
    let event = &out[0];
    let within = |part: &str| text.as_ptr_range().contains(&part.as_ptr());
    assert!(within(event.id.as_deref().unwrap()) && within(&event.type_) && within(event.ci.best().unwrap()));
    assert!(within(event.labels.get("a").unwrap()) && within(event.raw.as_deref().unwrap()));
    assert!(within(event.summary.as_deref().unwrap()));
}

#[test]
fn a_native_event_without_id_has_one_only_when_it_states_its_time() {
    let decode = |text: &str, stamp: Timestamp| {
        let message = Message { source: "s", headers: &[], payload: Some(text.as_bytes()), stamp };
        let mut out = Vec::new();
        (format("paramedic").unwrap().decode)(message, &mut out).unwrap();
        out[0].id.clone().map(|id| id.into_owned())
    };
    let later = Timestamp::from_secs(1_900_000_000);
    let stated = r#"{"type":"t","ci":"c","time":"2026-03-01T08:00:00Z","value":1}"#;
    assert_eq!(decode(r#"{"type":"t","ci":"c"}"#, stamp()), None);
    assert!(decode(stated, stamp()).is_some());
    assert_eq!(decode(stated, stamp()), decode(stated, later), "the same delivery, whenever it comes");
    for other in [
        r#"{"type":"t","ci":"c","time":"2026-03-01T08:00:01Z","value":1}"#,
        r#"{"type":"t","ci":"c","time":"2026-03-01T08:00:00Z","value":2}"#,
        r#"{"type":"t","ci":"d","time":"2026-03-01T08:00:00Z","value":1}"#,
        r#"{"type":"t","ci":"c","time":"2026-03-01T08:00:00Z","value":1,"status":"resolved"}"#,
        r#"{"type":"t","ci":"c","time":"2026-03-01T08:00:00Z","value":1,"phase":"ack"}"#,
    ] {
        assert_ne!(decode(stated, stamp()), decode(other, stamp()), "{other}");
    }
}
