//! JSON Schema (draft 7) of Paramedic's own event, for editors. A test holds it and what is read equal.

use serde_json::{Value, json};

/// The schema. Fields that the format does not know are allowed, as they are when events are read.
pub fn event_schema() -> Value {
    // A test reads it; what it holds is part of the program.
    let mut schema: Value = serde_json::from_str(include_str!("event.schema.json")).unwrap_or_default();
    let fields = schema.pointer_mut("/definitions/event/properties").and_then(Value::as_object_mut);
    for field in fields.into_iter().flat_map(|fields| fields.values_mut()).filter_map(Value::as_object_mut) {
        if let Some(words) = field.remove("words") {
            let any_case: Vec<String> =
                words.as_array().into_iter().flatten().filter_map(Value::as_str).map(in_any_case).collect();
            let pattern = format!("^({})$", any_case.join("|"));
            field.insert(
                "anyOf".to_owned(),
                json!([{"enum": words}, {"type": "string", "pattern": pattern}, {"type": "null"}]),
            );
        }
    }
    schema
}

/// A pattern for a word in small letters and capitals: schemas know no other way to say so.
fn in_any_case(word: &str) -> String {
    word.chars().map(|c| format!("[{}{c}]", c.to_ascii_uppercase())).collect()
}
