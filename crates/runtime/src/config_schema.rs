//! JSON Schema (draft 7) of `paramedic.yaml`, for editors. A test holds its keys and those that are read equal.

use serde_json::Value;

/// The schema of the configuration file.
pub fn config_schema() -> Value {
    // A test reads it; what it holds is part of the program.
    let mut schema: Value = serde_json::from_str(include_str!("config.schema.json")).unwrap_or_default();
    if let Some(formats) = schema.pointer_mut("/definitions/source/properties/format/enum") {
        *formats = paramedic_formats::FORMATS.iter().map(|format| format.name).collect();
    }
    schema
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Config;

    /// Where each part stands; `Q` is a key that there is not.
    const PARTS: [(&str, &str); 12] = [
        ("", "Q: 1"),
        ("kafka", "kafka: { Q: 1 }"),
        ("source", "sources: [ { Q: 1 } ]"),
        ("topic", "sources: [ { name: a, kafka: { Q: 1 } } ]"),
        ("webhook", "sources: [ { name: a, webhook: { Q: 1 } } ]"),
        ("basic", "sources: [ { name: a, webhook: { basic: { Q: 1 } } } ]"),
        ("file", "sources: [ { name: a, file: { Q: 1 } } ]"),
        ("grant", "grants: [ { Q: 1 } ]"),
        ("recipient", "notify: { a: { Q: 1 } }"),
        ("limits", "limits: { Q: 1 }"),
        ("batch", "batch: { Q: 1 }"),
        ("retention", "retention: { Q: 1 }"),
    ];

    /// The keys that a part has, as its reader answers to one that it does not know.
    fn keys_that_are_read(text: &str) -> BTreeSet<String> {
        let error = serde_yaml::from_str::<Config>(text).unwrap_err().to_string();
        let (_, expected) = error.split_once("expected ").unwrap_or_else(|| panic!("{text}: {error}"));
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_schema_has_the_keys_that_are_read_and_says_what_they_mean() {
        let schema = config_schema();
        for (name, text) in PARTS {
            let part = if name.is_empty() { &schema } else { &schema["definitions"][name] };
            let keys = part["properties"].as_object().unwrap();
            assert_eq!(keys.keys().cloned().collect::<BTreeSet<_>>(), keys_that_are_read(text), "{text}");
            for (key, value) in keys {
                assert!(value["description"].as_str().is_some_and(|d| d.ends_with('.')), "{name}.{key}");
            }
        }
        let parts = schema["definitions"].as_object().unwrap().values().filter(|d| d.get("properties").is_some());
        assert_eq!(parts.count(), PARTS.len() - 1);
    }

    #[test]
    fn defaults_that_are_told_are_those_of_the_program() {
        let schema = config_schema();
        let default = Config::default();
        let told = |pointer: &str| schema.pointer(pointer).and_then(|v| v.get("default")).cloned().unwrap();
        assert_eq!(told("/properties/cluster"), default.cluster);
        assert_eq!(told("/properties/data"), default.data.to_str().unwrap());
        assert_eq!(told("/properties/rules"), default.rules.to_str().unwrap());
        assert_eq!(told("/properties/rules_watch"), default.rules_watch);
        assert_eq!(told("/properties/listen"), default.listen);
        assert_eq!(told("/definitions/limits/properties/open_incidents"), default.limits.open_incidents);
        assert_eq!(told("/definitions/limits/properties/max_action_age"), default.limits.max_action_age.to_string());
        assert_eq!(told("/definitions/batch/properties/max_events"), default.batch.max_events);
        assert_eq!(told("/definitions/batch/properties/max_wait"), default.batch.max_wait.to_string());
        for (key, span) in [
            ("records", default.retention.records),
            ("dead_letters", default.retention.dead_letters),
            ("journal", default.retention.journal),
        ] {
            assert_eq!(told(&format!("/definitions/retention/properties/{key}")), span.to_string());
        }
    }
}
