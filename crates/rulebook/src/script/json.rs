//! Values of scripts as JSON, and back.

use rhai::{Array, Dynamic, ImmutableString, Map};
use serde_json::{Number, Value};

use super::objects::{CiObject, SeverityObject};

/// A JSON value for a script. An integer beyond 64 signed bits becomes a float.
pub(crate) fn from_json(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => match n.as_i64() {
            Some(i) => i.into(),
            None => n.as_f64().map_or(Dynamic::UNIT, Dynamic::from),
        },
        Value::String(s) => ImmutableString::from(s.as_str()).into(),
        Value::Array(items) => items.iter().map(from_json).collect::<Array>().into(),
        Value::Object(map) => {
            let map: Map = map.iter().map(|(k, v)| (k.as_str().into(), from_json(v))).collect();
            map.into()
        }
    }
}

/// A record for a script. What is stored as `type_` is read as `type`.
pub(crate) fn from_record(record: &Value) -> Dynamic {
    match record {
        Value::Object(map) => {
            let map: Map = map.iter().map(|(k, v)| (k.trim_end_matches('_').into(), from_json(v))).collect();
            map.into()
        }
        other => from_json(other),
    }
}

/// A script's value as JSON: a missing one is null, a severity its name, a CI its name.
///
/// # Errors
/// When it has no form in JSON.
pub(crate) fn to_json(value: &Dynamic) -> Result<Value, String> {
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(b) = value.as_bool() {
        return Ok(b.into());
    }
    if let Ok(i) = value.as_int() {
        return Ok(i.into());
    }
    if let Ok(f) = value.as_float() {
        return Number::from_f64(f).map(Value::Number).ok_or_else(|| format!("{f} is no number that can be written"));
    }
    if let Ok(c) = value.as_char() {
        return Ok(c.to_string().into());
    }
    if let Ok(t) = value.as_immutable_string_ref() {
        return Ok(t.as_str().into());
    }
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().map(to_json).collect::<Result<Vec<_>, _>>().map(Value::Array);
    }
    if let Some(map) = value.read_lock::<Map>() {
        let object: Result<serde_json::Map<_, _>, _> =
            map.iter().map(|(k, v)| to_json(v).map(|v| (k.to_string(), v))).collect();
        return object.map(Value::Object);
    }
    if let Some(severity) = value.read_lock::<SeverityObject>() {
        return Ok(severity.0.name().into());
    }
    if let Some(ci) = value.read_lock::<CiObject>() {
        return Ok(ci.name().into());
    }
    Err(format!("a {} is no value that can be kept; take one of its fields", value.type_name()))
}
