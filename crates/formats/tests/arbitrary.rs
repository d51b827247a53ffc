//! No bytes make a decoder panic, and a decoder that refuses appends nothing.
#![allow(clippy::unwrap_used)]

use paramedic_formats::{FORMATS, Message};
use paramedic_model::{Event, Timestamp};
use proptest::prelude::*;

const VALID: [&str; 4] = [
    include_str!("../fixtures/paramedic/firing_with_everything.json"),
    include_str!("../fixtures/paramedic/batch_of_two.json"),
    include_str!("../fixtures/cloudevents/structured_http.json"),
    include_str!("../fixtures/alertmanager/group_of_three.json"),
];

/// The payload of a fixture.
fn payload(fixture: &str) -> Vec<u8> {
    let fixture: serde_json::Value = serde_json::from_str(fixture).unwrap();
    serde_json::to_vec(&fixture["value"]).unwrap()
}

/// All formats over one message: each appends at least one event, or nothing.
fn look(headers: &[(&str, &[u8])], payload: Option<&[u8]>) {
    for format in FORMATS {
        let message = Message { source: "s", headers, payload, stamp: Timestamp::from_secs(1_800_000_000) };
        let mut out = Vec::new();
        match (format.decode)(message, &mut out) {
            Ok(()) => {
                assert!(!out.is_empty());
                for event in &out {
                    assert!(!event.type_.is_empty());
                    assert!(event.dedup_key.is_some() || event.ci.best().is_some());
                    assert!(event.time.since(event.received).as_nanos() <= 300_000_000_000);
                    reads_back(event);
                }
            }
            Err(why) => {
                assert!(out.is_empty());
                assert!(!why.0.is_empty() && why.0.len() < 2_000, "{why}");
            }
        }
    }
}

fn reads_back(event: &Event<'_>) {
    let text = serde_json::to_string(event).unwrap();
    let back: Event<'_> = serde_json::from_str(&text).unwrap();
    assert_eq!(back.dedup_key(), event.dedup_key());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300), name in "[cC][eE][-_][a-z]{0,8}") {
        look(&[(name.as_str(), &bytes), ("content-type", &bytes)], Some(&bytes));
        look(&[("ce_specversion", b"1.0"), ("ce_id", &bytes), ("ce-source", &bytes), ("ce_type", b"t")], Some(&bytes));
    }

    #[test]
    fn any_json_like_text(text in r#"[\[\]{}:,"\\a-c0-9 eE.+-]{0,80}"#) {
        look(&[], Some(text.as_bytes()));
        look(&[], Some(format!(r#"{{"type":"t","ci":"c","x":{text}}}"#).as_bytes()));
        look(&[], Some(format!(r#"{{"specversion":"1.0","source":"s","id":"1","type":"t","subject":"{text}"}}"#).as_bytes()));
    }

    #[test]
    fn a_valid_message_with_some_bytes_changed(
        which in 0..VALID.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6),
    ) {
        let mut bytes = payload(VALID[which]);
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        look(&[], Some(&bytes));
    }

    #[test]
    fn a_valid_message_with_a_value_of_another_type(
        which in 0..VALID.len(),
        at in any::<prop::sample::Index>(),
        value in prop::sample::select(vec!["null", "7", "-1.5e300", "true", "\"\"", "\"\\u0000\"", "[]", "{}", "[[1]]"]),
    ) {
        let text = String::from_utf8(payload(VALID[which])).unwrap();
        let starts: Vec<usize> = text.match_indices("\":").map(|(i, _)| i + 2).collect();
        let start = starts[at.index(starts.len())];
        let rest = &text[start..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&serde_json::value::RawValue>();
        prop_assume!(values.next().is_some_and(|v| v.is_ok()));
        let end = start + values.byte_offset();
        look(&[], Some(format!("{}{value}{}", &text[..start], &text[end..]).as_bytes()));
    }
}
