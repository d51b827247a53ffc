//! A playbook's parameters: hostile values against their schema.

use std::collections::BTreeMap;

use paramedic_model::Playbook;
use paramedic_model::playbook::{DEFAULT_MAX_LENGTH, Parameter};
use serde_json::Value;

use super::input::in_time;

/// `{"parameters": {NAME: PARAMETER}, "given": {NAME: VALUE}}`.
pub fn run(data: &[u8]) {
    let Ok(Value::Object(mut input)) = serde_json::from_slice::<Value>(data) else { return };
    let mut part = |name: &str| input.remove(name).unwrap_or_default();
    let (parameters, given) = (part("parameters"), part("given"));
    let Ok(parameters) = serde_json::from_value::<BTreeMap<String, Parameter>>(parameters) else { return };
    let Ok(given) = serde_json::from_value::<BTreeMap<String, Value>>(given) else { return };
    let Some(playbook) = playbook(parameters) else { return };
    in_time("binding", || match playbook.bind(&given) {
        Ok(bound) => bound.iter().for_each(|(name, value)| is_harmless(&playbook, name, value)),
        Err(bad) => assert!(!bad.why.is_empty()),
    });
}

fn playbook(parameters: BTreeMap<String, Parameter>) -> Option<Playbook> {
    let playbook = serde_json::json!({"name": "p", "runner": "http", "url": "http://127.0.0.1:9/p", "timeout": "30s",
        "effect": "keyed"});
    let playbook: Playbook = serde_json::from_value(playbook).ok()?;
    Some(Playbook { parameters, ..playbook })
}

/// What is sent is of its schema, and no text in it is more than a text (docs/safety.md).
fn is_harmless(playbook: &Playbook, name: &str, value: &Value) {
    let Some(schema) = playbook.parameters.get(name) else { panic!("{name} is in no schema") };
    assert!(!value.is_array() && !value.is_object() && !value.is_null(), "{name}: {value}");
    assert!(schema.one_of.as_ref().is_none_or(|list| list.contains(value)), "{name}: {value} is not in the list");
    let Some(text) = value.as_str() else { return };
    assert!(text.chars().count() <= schema.max_length.unwrap_or(DEFAULT_MAX_LENGTH), "{name} is too long");
    assert!(!text.starts_with('-') && !text.contains("{{") && !text.contains("{%"), "{name}: {text:?}");
    let bidi = "\u{061c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
    assert!(!text.chars().any(|c| c.is_control() || bidi.contains(c)), "{name}: {text:?}");
}
