//! What is no event: each with the message that lands in the dead-letter table.
#![allow(clippy::unwrap_used)]

use paramedic_formats::{MAX_BYTES, Message, Undecodable, format};
use paramedic_model::{Event, Timestamp};

fn message<'a>(headers: &'a [(&'a str, &'a [u8])], payload: Option<&'a [u8]>) -> Message<'a> {
    Message { source: "s", headers, payload, stamp: Timestamp::from_secs(1_800_000_000) }
}

/// The reason why a message is no event; and nothing has been appended.
fn reason(name: &str, headers: &[(&str, &[u8])], payload: Option<&[u8]>) -> String {
    let mut out = vec![Event::default()];
    let Err(Undecodable(why)) = (format(name).unwrap().decode)(message(headers, payload), &mut out) else {
        panic!("decoded: {:?}", out.last());
    };
    assert_eq!(out.len(), 1, "appended nothing");
    why
}

fn check(name: &str, cases: &[(&str, &str)]) {
    let found = cases.iter().map(|(payload, _)| (*payload, reason(name, &[], Some(payload.as_bytes()))));
    let wrong: Vec<_> = found.zip(cases).filter(|(found, case)| found.1 != case.1).map(|(found, _)| found).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_native_event_names_the_field_the_place_and_the_remedy() {
    check(
        "paramedic",
        &[
            ("", "an empty payload holds no event"),
            (" \n", "an empty payload holds no event"),
            ("{", "not JSON: EOF while parsing an object at line 1 column 1"),
            (r#"{"type":"t","ci":"c""#, "not JSON: EOF while parsing an object at line 1 column 20"),
            (r#"{"type":"t","ci":"c"} x"#, "not JSON: trailing characters at line 1 column 23"),
            ("<html>", "not JSON: expected value at line 1 column 1"),
            ("5", "invalid type: integer `5`, expected an event, which is a JSON object at line 1 column 1"),
            ("null", "invalid type: null, expected an event, which is a JSON object at line 1 column 4"),
            ("{}", "field `type` is missing; an event needs `type`, and `ci` or `dedup_key`"),
            (r#"{"type":"","ci":"c"}"#, "field `type` is missing; an event needs `type`, and `ci` or `dedup_key`"),
            (
                r#"{"type":"t","ci":{"rack":"1"}}"#,
                "neither `ci` nor `dedup_key` is there; an event needs `type`, and `ci` or `dedup_key`",
            ),
            (r#"{"type":7,"ci":"c"}"#, "field `type`: invalid type: integer `7`, expected a text at line 1 column 9"),
            (
                "{\"type\":\"t\",\n\"severity\": 5}",
                "field `severity`: invalid type: integer `5`, expected one of critical, major, minor, warning, \
                 info, unknown at line 2 column 13",
            ),
            (
                r#"{"type":"t","ci":7}"#,
                "field `ci`: invalid type: integer `7`, expected a name or an object at line 1 column 18",
            ),
            (
                r#"{"type":"t","ci":{"host":[]}}"#,
                "field `ci.host`: invalid type: sequence, expected a text at line 1 column 27",
            ),
            (
                r#"{"type":"t","ci":"c","labels":["a"]}"#,
                "field `labels`: invalid type: sequence, expected an object of texts at line 1 column 31",
            ),
            (
                r#"{"type":"t","ci":"c","labels":{"a":{}}}"#,
                "field `labels.a`: invalid type: map, expected a text, a number or a boolean at line 1 column 37",
            ),
            (
                r#"{"type":"t","ci":"c","value":[1]}"#,
                "field `value`: invalid type: sequence, expected a number or a text at line 1 column 30",
            ),
            (
                r#"{"type":"t","ci":"c","status":"open"}"#,
                "field `status`: \"open\" is not one of firing, resolved at line 1 column 37",
            ),
            (
                r#"{"type":"t","ci":"c","kind":"alarm"}"#,
                "field `kind`: \"alarm\" is not one of alert, log, metric, change, heartbeat, control at line 1 column 36",
            ),
            (
                r#"{"type":"t","ci":"c","time":1767225600000}"#,
                "field `time`: invalid type: integer `1767225600000`, expected an RFC 3339 text such as \
                 2026-01-01T00:00:00Z at line 1 column 41",
            ),
            (r#"{"type":"t","type":"u"}"#, "field `type`: given twice at line 1 column 18"),
            ("[]", "an empty array holds no event"),
            (
                r#"[{"type":"t","ci":"c"},{"type":"t"}]"#,
                "event 1 of the array: neither `ci` nor `dedup_key` is there; an event needs `type`, and `ci` or \
                 `dedup_key`",
            ),
        ],
    );
    let why = reason("paramedic", &[], Some(br#"{"type":"t","ci":"c","time":"yesterday"}"#));
    assert!(why.starts_with("field `time`: not an RFC 3339 time: \"yesterday\" ("), "{why}");
    assert!(why.ends_with(" at line 1 column 40"), "{why}");
}

#[test]
fn alertmanager_names_the_alert_the_field_and_the_byte() {
    check(
        "alertmanager",
        &[
            ("{", "not JSON: EOF while parsing an object at line 1 column 1"),
            ("[]", "invalid type: sequence, expected a JSON object at line 1 column 0"),
            ("{}", "field `version` is missing; Alertmanager's webhook says \"4\""),
            (r#"{"version":4}"#, "field `version`: invalid type: integer `4`, expected a text at byte 11"),
            (
                r#"{"version":"1","alerts":[]}"#,
                "field `version`: found \"1\", as Grafana sends it; this format reads Alertmanager's \"4\" at byte 11",
            ),
            (r#"{"version":"4"}"#, "field `alerts` is missing; it holds the events"),
            (r#"{"version":"4","alerts":{}}"#, "field `alerts`: expected an array at byte 24"),
            (r#"{"version":"4","alerts":[]}"#, "field `alerts`: an empty array holds no event at byte 24"),
            (
                r#"{"version":"4","alerts":[7]}"#,
                "field `alerts[0]`: invalid type: integer `7`, expected a JSON object at byte 25",
            ),
            (r#"{"version":"4","alerts":[{}]}"#, "field `alerts[0].status`: is missing"),
            (
                r#"{"version":"4","alerts":[{"status":"pending"}]}"#,
                "field `alerts[0].status`: \"pending\" is neither firing nor resolved at byte 35",
            ),
            (
                r#"{"version":"4","alerts":[{"status":"firing","labels":{"a":[]}}]}"#,
                "field `alerts[0].labels.a`: expected a text at byte 53",
            ),
            (
                r#"{"version":"4","alerts":[{"status":"firing"},{"status":"firing","labels":7}]}"#,
                "field `alerts[1].labels`: invalid type: integer `7`, expected an object of texts at byte 73",
            ),
        ],
    );
}

#[test]
fn cloudevents_names_the_attribute() {
    check(
        "cloudevents",
        &[
            ("{", "not JSON: EOF while parsing an object at line 1 column 1"),
            ("{}", "no CloudEvent: neither a `specversion` member, nor a ce_specversion or ce-specversion header"),
            (r#"{"specversion":"0.3"}"#, "attribute `specversion`: found \"0.3\"; this format reads \"1.0\""),
            (
                r#"{"specversion":"1.0"}"#,
                "attribute `source` is missing; a CloudEvent needs specversion, id, source and type",
            ),
            (
                r#"{"specversion":"1.0","source":"s","id":"1","type":"t","data":{},"data_base64":"e30="}"#,
                "field `data_base64`: given together with `data` at byte 78",
            ),
            (
                r#"{"specversion":"1.0","source":"s","id":"1","type":"t","data":{"ci":7}}"#,
                "field `data.ci`: expected a name or an object",
            ),
            (
                r#"{"specversion":"1.0","source":"s","id":"1","type":"t","severitynumber":99}"#,
                "attribute `severitynumber`: \"99\" is not a number from 0 to 24",
            ),
            ("[]", "an empty batch holds no event"),
        ],
    );
    let avro: &[(&str, &[u8])] = &[("content-type", b"application/cloudevents+avro")];
    assert_eq!(
        reason("cloudevents", avro, Some(b"x")),
        "content-type \"application/cloudevents+avro\": only the JSON format is read"
    );
    let binary: &[(&str, &[u8])] =
        &[("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"s"), ("ce_type", b"t")];
    assert_eq!(reason("cloudevents", binary, Some(b"{]")), "data is not JSON: key must be a string at line 1 column 2");
    assert_eq!(reason("cloudevents", &[("ce_id", b"\xff")], Some(b"{}")), "header `ce_id`: not UTF-8");
}

#[test]
fn every_format_refuses_what_is_no_text_too_large_or_too_deep() {
    for name in ["paramedic", "cloudevents", "alertmanager"] {
        assert_eq!(reason(name, &[], None), "a null value (tombstone) holds no event");
        assert_eq!(reason(name, &[], Some(b"{\"a\":\"\xff\"}")), "not UTF-8 at byte 6; JSON is UTF-8");
        let large = vec![b' '; 2 * MAX_BYTES];
        assert_eq!(reason(name, &[], Some(&large)), "2097152 bytes; at most 1048576 are read");
        for deep in [65, 100_000] {
            let nested = format!("{}{}", "[".repeat(deep - 1), "]".repeat(deep - 1));
            let deep = format!(r#"{{"specversion":"1.0","version":"4","type":"t","ci":"c","data":{nested}}}"#);
            let why = reason(name, &[], Some(deep.as_bytes()));
            assert!(why.starts_with("nested deeper than 64 levels at "), "{name}: {why}");
        }
    }
}

#[test]
fn nesting_of_64_and_braces_in_texts_are_read() {
    let nested = format!("{}{}", "[".repeat(63), "]".repeat(63));
    let text = format!(r#"{{"type":"t","ci":"c","x":{nested},"y":["{}\"{}"]}}"#, "[".repeat(99), "{".repeat(99));
    let mut out = Vec::new();
    (format("paramedic").unwrap().decode)(message(&[], Some(text.as_bytes())), &mut out).unwrap();
    assert_eq!(out[0].unknown_fields, 2);
}

#[test]
fn a_thousand_labels_are_read_and_one_more_is_refused() {
    let event = |n: usize| {
        let labels: Vec<String> = (0..n).map(|i| format!(r#""l{i}":"v""#)).collect();
        format!(r#"{{"type":"t","ci":"c","labels":{{{}}}}}"#, labels.join(","))
    };
    let (most, mut out) = (event(1_000), Vec::new());
    (format("paramedic").unwrap().decode)(message(&[], Some(most.as_bytes())), &mut out).unwrap();
    assert_eq!(out[0].labels.iter().count(), 1_000);
    let why = reason("paramedic", &[], Some(event(1_001).as_bytes()));
    assert!(why.starts_with("field `labels`: more than 1000 members at line 1 column "), "{why}");
}
