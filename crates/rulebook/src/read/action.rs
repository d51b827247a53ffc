//! What a rule can do besides its incident.

use std::collections::BTreeMap;

use paramedic_model::{EMIT_FIELDS, Severity, Status, check_topic};
use saphyr_parser::ScalarStyle;
use serde_json::Value;

use super::expr::{Reader, Written};
use super::fields::{Fields, literal, one_or_more, text, window};
use super::yaml::{Kind, Node};
use crate::diagnostics::did_you_mean;
use crate::script::compile::Role;
use crate::{AboutSpec, CiSpec, EmitSpec, ExprIx, Field, NotifySpec, ResolveSpec, SuppressSpec, Template, Topic};

/// Reads `notify`: one or several.
pub(crate) fn notify(reader: &mut Reader<'_, '_>, node: &Node) -> Vec<NotifySpec> {
    let one = |item: &Node| {
        let fields = Fields::open(item, "a notice", &["to", "summary"], reader.report)?;
        let to = fields.must("to", "who is told: `to: storage-oncall`", reader.report);
        let to = to.and_then(|n| literal(n, reader.report)).map(str::to_owned);
        let summary = fields.must("summary", "one line: `summary: \"{event.ci} is back\"`", reader.report);
        let summary = summary.and_then(|n| reader.template(n));
        Some(NotifySpec { to: to?, summary: summary? })
    };
    one_or_more(node).iter().filter_map(one).collect()
}

/// Reads `emit`, one or several, and where to.
pub(crate) fn emit(reader: &mut Reader<'_, '_>, node: &Node) -> (Vec<EmitSpec>, Vec<Topic>) {
    one_or_more(node).iter().filter_map(|item| emit_one(reader, item)).unzip()
}

fn emit_one(reader: &mut Reader<'_, '_>, node: &Node) -> Option<(EmitSpec, Topic)> {
    const KEYS: [&str; 10] =
        ["topic", "key", "type", "status", "severity", "ci", "dedup_key", "summary", "value", "labels"];
    let fields = Fields::open(node, "`emit`", &KEYS, reader.report)?;
    let topic = fields.must("topic", "where to: `topic: derived`; no source may read it", reader.report);
    let topic = topic.and_then(|n| Some((n.at, text(n, reader.report)?.trim().to_owned())));
    let topic = topic.filter(|(at, name)| match check_topic(name) {
        Ok(()) => true,
        Err(why) => {
            reader.report.error(*at, why, Some("name one, such as `topic: derived`".to_owned()));
            false
        }
    });
    let type_ = fields.must("type", "what the event says: `type: link.flapping`", reader.report);
    let key = fields.get("key", reader.report).and_then(|n| text_value(reader, n));
    let mut event = BTreeMap::new();
    for name in EMIT_FIELDS {
        let Some(node) = fields.get(name, reader.report) else { continue };
        let given = if name == "value" { value(reader, node) } else { text_value(reader, node) };
        if let Some(given) = given.filter(|given| is_known_word(reader, node, name, given)) {
            event.insert(name.to_owned(), given);
        }
    }
    let labels = fields.get("labels", reader.report).map(|n| by_name(reader, n, text_value)).unwrap_or_default();
    type_?;
    let (at, name) = topic?;
    let place = reader.report.place(at);
    Some((EmitSpec { topic: name.clone(), key, event, labels }, Topic { name, place }))
}

/// What is written as a severity or a status is one.
fn is_known_word(reader: &mut Reader<'_, '_>, node: &Node, name: &str, given: &Field<Value>) -> bool {
    let Field::Given(Value::String(word)) = given else { return true };
    let words: Vec<&str> = match name {
        "severity" => Severity::KNOWN.into_iter().map(Severity::name).collect(),
        "status" => Status::ALL.into_iter().map(Status::name).collect(),
        _ => return true,
    };
    let is_one = words.iter().any(|known| known.eq_ignore_ascii_case(word));
    if !is_one {
        let message = format!("expected one of {}, found {word:?}", words.join(", "));
        reader.report.error(node.at, message, did_you_mean(word, words));
    }
    is_one
}

/// Reads `suppress`.
pub(crate) fn suppress(reader: &mut Reader<'_, '_>, node: &Node) -> Option<SuppressSpec> {
    let fields = Fields::open(node, "`suppress`", &["for", "reason"], reader.report)?;
    let span = fields.must("for", "for how long: `suppress: { for: 10m, reason: ... }`", reader.report);
    let span = span.and_then(|n| window(n, reader.report));
    let reason = fields.must("reason", "why, for people: `reason: a restart is under way`", reader.report);
    let reason = reason.and_then(|n| text(n, reader.report)).map(str::to_owned);
    Some(SuppressSpec { span: span?, reason: reason? })
}

/// Reads `resolve`. That its rule exists is checked when the whole rulebook is read.
pub(crate) fn resolve(reader: &mut Reader<'_, '_>, node: &Node) -> Option<ResolveSpec> {
    let fields = Fields::open(node, "`resolve`", &["rule", "notes"], reader.report)?;
    let rule = fields.must("rule", "whose incident: the rule of this rulebook that opened it", reader.report);
    let rule = rule.and_then(|n| text(n, reader.report)).map(|t| t.trim().to_owned());
    let notes = match fields.get("notes", reader.report) {
        Some(n) => reader.template(n)?,
        None => Template(Vec::new()),
    };
    Some(ResolveSpec { rule: rule?, notes })
}

/// Reads `ci`.
pub(crate) fn ci(reader: &mut Reader<'_, '_>, node: &Node) -> Option<CiSpec> {
    let fields = Fields::open(node, "`ci`", &["attributes"], reader.report)?;
    let attributes = fields.must("attributes", "which: `ci: { attributes: { role: standby } }`", reader.report)?;
    Some(CiSpec { attributes: values(reader, attributes) })
}

/// Reads `about`.
pub(crate) fn about(reader: &mut Reader<'_, '_>, node: &Node) -> Option<AboutSpec> {
    if let Kind::Scalar { .. } = node.kind {
        return match reader.value(node)? {
            Written::Code(name) => Some(AboutSpec::Named { class: None, name }),
            Written::Text(other) => {
                let message = format!("expected a CI, found the text {other:?}");
                let help = "write `about: = event.labels.node`, or `about: { class: service, name: shop }`";
                reader.report.error(node.at, message, Some(help.to_owned()));
                None
            }
        };
    }
    let fields = Fields::open(node, "`about`", &["class", "name", "related", "relation", "role"], reader.report)?;
    if !fields.has("related") && !fields.has("relation") {
        let name =
            fields.must("name", "which: `about: { class: service, name: = event.labels.service }`", reader.report);
        let name = name.and_then(|n| named(reader, n));
        return Some(AboutSpec::Named { class: fields.text("class", reader.report), name: name? });
    }
    for word in ["class", "name"] {
        if let Some(at) = fields.key(word) {
            let message = format!("`{word}` does not go with `related`");
            reader.report.error(at, message, Some("either name the CI, or say how it is related".to_owned()));
        }
    }
    let related = fields.must("related", "to what: `related: about`", reader.report);
    if let Some(n) = related
        && text(n, reader.report).is_some_and(|t| t.trim() != "about")
    {
        reader.report.error(n.at, "a CI is related to the event's: `related: about`", None);
    }
    let relation = fields.must("relation", "how, as in the CMDB: `relation: depends_on`", reader.report);
    let relation = relation.and_then(|n| text(n, reader.report)).map(str::to_owned);
    Some(AboutSpec::Related { relation: relation?, role: fields.text("role", reader.report) })
}

/// A name that is written or computed.
fn named(reader: &mut Reader<'_, '_>, node: &Node) -> Option<ExprIx> {
    match reader.value(node)? {
        Written::Code(ix) => Some(ix),
        Written::Text(name) => reader.expression(node, &format!("{name:?}"), Role::Value),
    }
}

/// Values by name.
pub(crate) fn values(reader: &mut Reader<'_, '_>, node: &Node) -> BTreeMap<String, Field<Value>> {
    by_name(reader, node, value)
}

/// Values by name, each read so.
fn by_name(
    reader: &mut Reader<'_, '_>,
    node: &Node,
    read: fn(&mut Reader<'_, '_>, &Node) -> Option<Field<Value>>,
) -> BTreeMap<String, Field<Value>> {
    let Kind::Map(entries) = &node.kind else {
        if !matches!(node.kind, Kind::Bad) {
            reader.report.error(node.at, format!("expected values by name, found {}", node.what()), None);
        }
        return BTreeMap::new();
    };
    entries.iter().filter_map(|(key, node)| Some((key.name.clone(), read(reader, node)?))).collect()
}

/// A value: code, or as written. A number or `true` and `false` without quotes is what it looks like.
fn value(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Field<Value>> {
    Some(match reader.value(node)? {
        Written::Code(ix) => Field::Computed(ix),
        Written::Text(text) => Field::Given(plain(node, text)),
    })
}

/// A text: code, or as written, whatever it looks like.
fn text_value(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Field<Value>> {
    Some(match reader.value(node)? {
        Written::Code(ix) => Field::Computed(ix),
        Written::Text(text) => Field::Given(text.into()),
    })
}

/// A scalar as a value.
pub(crate) fn plain(node: &Node, written: &str) -> Value {
    if !matches!(node.kind, Kind::Scalar { style: ScalarStyle::Plain, .. }) {
        return written.into();
    }
    match (written, written.parse::<i64>()) {
        ("true", _) => true.into(),
        ("false", _) => false.into(),
        // What would not be written so again, such as 1.10 or 007, is a text.
        (_, Ok(i)) if i.to_string() == written => i.into(),
        _ => match written.parse::<f64>() {
            Ok(f) if f.is_finite() && f.to_string() == written => f.into(),
            _ => written.into(),
        },
    }
}
