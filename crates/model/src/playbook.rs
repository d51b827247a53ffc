//! The catalogue of playbooks: named remedies that a runner can execute.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Span;

/// What a run does to its target; decides what may be done when its outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes nothing.
    ReadOnly,
    /// Twice is the same as once.
    Idempotent,
    /// The endpoint honours the Idempotency-Key.
    Keyed,
    /// Twice is harm: it leaves at most once per key.
    NonIdempotent,
}

/// What follows when nobody knows whether a run happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// Let monitoring's evidence decide, within the step's `verify`.
    Verify,
    /// Send the same request again, under the same key. Refused for `non_idempotent`.
    Retry,
    /// Wait for a person or a late report.
    #[default]
    Hold,
}

/// How a reply tells the outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultIn {
    /// `{"status", "message", "facts"}`; a 2xx without a known status is unknown.
    #[default]
    Body,
    /// A 2xx is success: for endpoints that say no more.
    HttpStatus,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterType {
    /// A text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// true or false.
    Boolean,
}

/// A typed parameter. Values are JSON, built by value, never by text substitution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: ParameterType,
    /// Whether it must be given.
    #[serde(default)]
    pub required: bool,
    /// What it is when it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The only values allowed.
    #[serde(default, rename = "enum", skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<Value>>,
    /// Longest text, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
}

/// Why a value is not a parameter's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter {name}: {why}")]
pub struct BadParameter {
    /// Which.
    pub name: String,
    /// What is wrong.
    pub why: String,
}

/// Longest text of a parameter that names no `max_length`, in characters.
pub const DEFAULT_MAX_LENGTH: usize = 256;

impl Parameter {
    /// Checks a value. Texts from events are hostile: template marks, control and bidirectional
    /// characters and a leading `-` are refused (docs/safety.md).
    ///
    /// # Errors
    /// Says what is wrong with the value.
    pub fn check(&self, name: &str, value: &Value) -> Result<(), BadParameter> {
        let bad = |why: String| Err(BadParameter { name: name.to_owned(), why });
        let fits = match self.type_ {
            ParameterType::String => value.is_string(),
            ParameterType::Integer => value.is_i64() || value.is_u64(),
            ParameterType::Number => value.is_number(),
            ParameterType::Boolean => value.is_boolean(),
        };
        if !fits {
            return bad(format!("expected {:?}, found {value}", self.type_).to_lowercase());
        }
        if let Some(list) = &self.one_of
            && !list.contains(value)
        {
            return bad(format!("{value} is not one of {}", Value::from(list.clone())));
        }
        let Some(text) = value.as_str() else { return Ok(()) };
        let most = self.max_length.unwrap_or(DEFAULT_MAX_LENGTH);
        if text.chars().count() > most {
            return bad(format!("longer than {most} characters"));
        }
        if text.starts_with('-') {
            return bad("a leading '-' could be read as an option".to_owned());
        }
        if text.contains("{{") || text.contains("{%") {
            return bad("template marks are refused".to_owned());
        }
        if let Some(c) = text.chars().find(|c| c.is_control() || is_bidi(*c)) {
            return bad(format!("the character U+{:04X} is refused", u32::from(c)));
        }
        Ok(())
    }
}

fn is_bidi(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A named remedy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Playbook {
    /// Its name, unique in the catalogue.
    #[serde(default)]
    pub name: String,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Which runner executes it: `http`.
    pub runner: String,
    /// Where, `http://` or `https://`. Comes from configuration only.
    pub url: String,
    /// Secret for `Authorization: Bearer`, as `env:NAME` or `file:PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Its typed parameters.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    /// The longest that it may take, request to result.
    pub timeout: Span,
    /// What it does to its target.
    pub effect: Effect,
    /// What follows when nobody knows whether it happened.
    #[serde(default)]
    pub on_unknown: OnUnknown,
    /// How a reply tells the outcome.
    #[serde(default)]
    pub result: ResultIn,
}

impl Playbook {
    /// The parameters of a run: given values checked, defaults filled in, required ones present.
    ///
    /// # Errors
    /// The first thing that is wrong, by name.
    pub fn bind(&self, given: &BTreeMap<String, Value>) -> Result<BTreeMap<String, Value>, BadParameter> {
        if let Some(name) = given.keys().find(|k| !self.parameters.contains_key(*k)) {
            return Err(BadParameter { name: name.clone(), why: format!("{} has no such parameter", self.name) });
        }
        let mut bound = BTreeMap::new();
        for (name, parameter) in &self.parameters {
            match given.get(name).or(parameter.default.as_ref()) {
                Some(value) => {
                    parameter.check(name, value)?;
                    bound.insert(name.clone(), value.clone());
                }
                None if parameter.required => {
                    return Err(BadParameter { name: name.clone(), why: "is required".to_owned() });
                }
                None => {}
            }
        }
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text() -> Parameter {
        Parameter { type_: ParameterType::String, required: true, default: None, one_of: None, max_length: Some(8) }
    }

    #[test]
    fn hostile_texts_are_refused_by_name() {
        for bad in ["-rf", "{{x}}", "{%x%}", "a\nb", "a\u{202e}b", "a\u{061c}b", "too long to be"] {
            assert!(
                text().check("mount", &json!(bad)).unwrap_err().to_string().starts_with("parameter mount: "),
                "{bad:?}"
            );
        }
        assert!(text().check("mount", &json!("/var")).is_ok());
        assert!(text().check("mount", &json!(1)).is_err());
    }
}
