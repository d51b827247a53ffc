//! YAML to values as JSON has them: plain scalars by YAML's core schema, all others are texts.

use saphyr_parser::ScalarStyle;
use serde_json::{Map, Number, Value};

use crate::read::yaml::{Kind, Node};

/// What was refused, and reported, is nothing.
pub(super) fn of(node: &Node) -> Value {
    match &node.kind {
        Kind::Scalar { text, style: ScalarStyle::Plain } => plain(text),
        Kind::Scalar { text, .. } => Value::String(text.clone()),
        Kind::List { items, .. } => items.iter().map(of).collect(),
        Kind::Map(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.name.clone(), of(value))).collect::<Map<_, _>>())
        }
        Kind::Bad => Value::Null,
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

/// `007` is no number, but a text: a telephone number, an identifier.
fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let begins = |c: char| digits.starts_with(c);
    if begins('0') && digits[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    // Neither `inf` nor `nan`, which a float may be spelt as.
    if !digits.starts_with(|c: char| c.is_ascii_digit()) && !begins('.') {
        return None;
    }
    let whole = text.strip_prefix('+').unwrap_or(text);
    let integer = whole.parse::<i64>().map(Number::from).or_else(|_| whole.parse::<u64>().map(Number::from)).ok();
    integer.or_else(|| whole.parse::<f64>().ok().and_then(Number::from_f64))
}
