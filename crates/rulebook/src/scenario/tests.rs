use serde_json::json;

use super::*;

#[test]
fn values_are_what_yaml_says_and_texts_stay_as_they_are_written() {
    let text = "scenario: s\nsteps:\n  - at: 0s\n    event:\n      values: [ 1, -2, 1.5, 1e3, .5, +7, 18446744073709551615 ]\n      \
                texts: [ NO, 007, '1', 1.2.3, inf, nan, 2026-01-01T00:00:00Z, 0x1f ]\n      \
                others: [ true, False, ~, null, '' ]\n";
    let (read, found) = read("s.test.yaml", text);
    assert_eq!(found, []);
    let event = json!(read[0].steps[0].event);
    assert_eq!(event["values"], json!([1, -2, 1.5, 1000.0, 0.5, 7, u64::MAX]));
    assert_eq!(event["texts"], json!(["NO", "007", "1", "1.2.3", "inf", "nan", "2026-01-01T00:00:00Z", "0x1f"]));
    assert_eq!(event["others"], json!([true, false, null, null, ""]));
}

#[test]
fn names_stay_as_they_are_written_and_nothing_may_be_expected() {
    let text = "scenario: 1.10\ngiven: { cis: [ { name: 1.10, class: NO, external_ids: [ 007 ] } ] }\nsteps:\n  \
                - at: 1h 5m\n    operator: { ack: }\n    expect: { incident: { close_code: ~, state: new } }\n";
    let (read, found) = read("s.test.yaml", text);
    assert_eq!(found, []);
    let ci = &read[0].given.cis[0];
    assert_eq!((&*read[0].name, &*ci.name, &*ci.class, &*ci.external_ids[0]), ("1.10", "1.10", "NO", "007"));
    let step = &read[0].steps[0];
    assert_eq!(step.at, Span::from_secs(3900));
    assert_eq!(step.operator.as_ref().unwrap().act, Act::Ack);
    let expected = step.expect.as_ref().unwrap().incident.clone().unwrap();
    assert_eq!(json!(expected), json!({"close_code": null, "state": "new"}));
}
