//! Events of rules to topics that no source reads: each is decided here once, and leaves through the outbox.

use std::collections::BTreeMap;

use paramedic_model::{Autonomy, EMIT_FIELDS, Emit, EmitReport, Id, Severity, Status, Target};
use paramedic_rulebook::{EmitSpec, Field};
use serde_json::{Map, Value, json};

use super::pattern::{Hit, Which};
use super::{Cx, actor};
use crate::decision::Step;

/// Longest event as JSON, in bytes: what scripts may send too.
const LONGEST: usize = 64 * 1024;
/// The rule that incidents about events that were given up name.
const NOT_DELIVERED: &str = "events are not delivered";

impl Cx<'_> {
    /// The events that the rule's `emit` names. One of which a value fails is not sent; the others are.
    pub(super) fn emit_all(&mut self, which: &Which, hit: Hit<'_>, firing: Id) {
        for (index, spec) in which.rule().emit.iter().enumerate() {
            match self.values_of(which, hit, spec) {
                Ok(event) => self.emit(which, hit, firing, format!("emit/{index}"), spec.topic.clone(), event),
                Err(why) => self.ignore(why),
            }
        }
    }

    /// The fields, the labels and the key that a rule gives, computed.
    fn values_of(&self, which: &Which, hit: Hit<'_>, spec: &EmitSpec) -> Result<Map<String, Value>, &'static str> {
        let value = |field: &Field<Value>| match field {
            Field::Given(value) => Ok(value.clone()),
            Field::Computed(expr) => self.asked(which.rule(), &which.set, hit, |e, ctx| e.eval(*expr, ctx)),
        };
        let all = |fields: &BTreeMap<String, Field<Value>>| {
            let all = fields.iter().map(|(name, field)| Ok((name.clone(), value(field)?)));
            all.collect::<Result<Map<_, _>, paramedic_rulebook::EvalError>>().map_err(|_| "a value of `emit` failed")
        };
        let mut event = all(&spec.event)?;
        event.insert("labels".to_owned(), Value::Object(all(&spec.labels)?));
        if let Some(key) = &spec.key {
            event.insert("key".to_owned(), value(key).map_err(|_| "a value of `emit` failed")?);
        }
        Ok(event)
    }

    /// Where it may go was checked when the rule was read. What a script gives has the same names.
    pub(super) fn emit(
        &mut self,
        which: &Which,
        hit: Hit<'_>,
        firing: Id,
        step: String,
        topic: String,
        mut given: Map<String, Value>,
    ) {
        let about = self.about_of(which.rule(), &which.set, hit).ok();
        let about = about.map(|ci| Target {
            id: ci.id,
            name: ci.name.clone(),
            class: ci.class.clone(),
            environment: ci.environment.clone(),
        });
        let key = given.remove("key").map(|key| text("key", &key));
        let event = event_of(&given, about.as_ref().map(|t| t.name.as_str()).or(hit.event.ci.best()));
        let (Ok(key), Ok(mut event)) = (key.transpose(), event) else {
            return self.ignore("a value of `emit` cannot be sent");
        };
        if !event.contains_key("ci") && !event.contains_key("dedup_key") {
            event.insert("dedup_key".to_owned(), format!("{}/{}", which.book(), which.rule().name).into());
        }
        event.insert("time".to_owned(), json!(self.now));
        // Only `auto` sends without a person, and nobody is asked about an event.
        let shadow = which.set.autonomy(which.set.rulebook_of(which.rule())) < Autonomy::Auto;
        let emit = Emit {
            id: Emit::id_of(firing, &step, &topic),
            incident: self.incident_or(which, hit, firing),
            step,
            key: key.flatten().unwrap_or_else(|| self.scope.to_owned()),
            event,
            about,
            rulebook: which.book().to_owned(),
            rule: which.rule().name.clone(),
            decided_at: self.now,
            shadow,
            topic,
        };
        let reason = format!("{} to {}", text_of(&emit.event, "type"), emit.topic);
        self.step(Step::EmitDecided { emit: Box::new(emit) }, &actor(&which.set, which.rule()), reason);
    }

    fn incident_or(&mut self, which: &Which, hit: Hit<'_>, firing: Id) -> Id {
        let opens = which.rule().incident.is_some();
        opens.then(|| self.open_incident_of(which, hit)).flatten().unwrap_or(firing)
    }

    /// An event was given up. People are told once for a topic, until somebody resolves that.
    pub(super) fn on_emit_report(&mut self, report: &EmitReport) {
        let reason = format!("to {}: {}", report.topic, report.message);
        self.step(Step::EmitReported { report: Box::new(report.clone()) }, "producer", reason);
        if report.denied {
            return;
        }
        let key = Id::of(&json!([self.scope, NOT_DELIVERED, report.topic]));
        if self.state.incident_of_key(key).is_some_and(|incident| incident.state.is_open()) {
            return;
        }
        let summary = format!("Events to topic {} are not delivered: {}", report.topic, report.message);
        let reason = format!("an event to topic {} was given up: {}", report.topic, report.message);
        self.open_own(key, NOT_DELIVERED, Some(report.topic.clone()), summary, &reason);
    }
}

/// The event in the native format, of what a rule gives; `ci`: where it gives none. What is missing is left out.
///
/// # Errors
/// Which field is none that an event can have.
fn event_of(given: &Map<String, Value>, ci: Option<&str>) -> Result<Map<String, Value>, String> {
    let mut event = Map::new();
    for name in EMIT_FIELDS {
        let Some(value) = given.get(name).filter(|value| !value.is_null()) else { continue };
        let value = match name {
            "value" if value.is_number() => value.clone(),
            "severity" => word(name, value, |w| Severity::from_name(w).map(Severity::name))?,
            "status" => word(name, value, |w| Status::from_name(w).map(Status::name))?,
            _ => text(name, value)?.map(Value::String).unwrap_or_default(),
        };
        event.insert(name.to_owned(), value);
    }
    if text_of(&event, "type").is_empty() {
        return Err("type: an event has one".to_owned());
    }
    if let (false, Some(ci)) = (event.contains_key("ci"), ci) {
        event.insert("ci".to_owned(), ci.into());
    }
    let labels = match given.get("labels") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(labels)) => labels.iter().filter_map(label).collect::<Result<_, _>>()?,
        Some(_) => return Err("labels: they have names".to_owned()),
    };
    if !labels.is_empty() {
        event.insert("labels".to_owned(), Value::Object(labels));
    }
    let length = Value::Object(event.clone()).to_string().len();
    if length > LONGEST { Err(format!("it has {length} bytes")) } else { Ok(event) }
}

fn label((name, value): (&String, &Value)) -> Option<Result<(String, Value), String>> {
    let text = text(name, value).transpose()?;
    Some(text.map(|text| (name.clone(), text.into())))
}

/// A text, or what is written as one.
fn text(name: &str, value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) | Value::Number(_) => Ok(Some(value.to_string())),
        Value::Array(_) | Value::Object(_) => Err(format!("{name}: {value} is no text")),
    }
}

fn word(name: &str, value: &Value, known: impl Fn(&str) -> Option<&'static str>) -> Result<Value, String> {
    let found = value.as_str().and_then(known);
    found.map(Value::from).ok_or_else(|| format!("{name}: {value} is none"))
}

fn text_of<'e>(event: &'e Map<String, Value>, name: &str) -> &'e str {
    event.get(name).and_then(Value::as_str).unwrap_or_default()
}
