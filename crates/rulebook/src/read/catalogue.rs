//! The catalogue of playbooks (`playbooks.yaml`).

use std::collections::BTreeMap;

use paramedic_model::{Effect, OnUnknown, Parameter, ParameterType, Playbook, ResultIn};
use saphyr_parser::ScalarStyle;

use super::fields::{Fields, list, span, text, word};
use super::remedy::typed;
use super::yaml::{Kind, Node};
use crate::diagnostics::{At, Report};

const KEYS: [&str; 10] =
    ["name", "description", "runner", "url", "token", "parameters", "timeout", "effect", "on_unknown", "result"];
const EFFECTS: [(&str, Effect); 4] = [
    ("read_only", Effect::ReadOnly),
    ("idempotent", Effect::Idempotent),
    ("keyed", Effect::Keyed),
    ("non_idempotent", Effect::NonIdempotent),
];
const ON_UNKNOWN: [(&str, OnUnknown); 3] =
    [("verify", OnUnknown::Verify), ("retry", OnUnknown::Retry), ("hold", OnUnknown::Hold)];
const TYPES: [(&str, ParameterType); 4] = [
    ("string", ParameterType::String),
    ("integer", ParameterType::Integer),
    ("number", ParameterType::Number),
    ("boolean", ParameterType::Boolean),
];
const BOOLEANS: [(&str, bool); 2] = [("true", true), ("false", false)];

/// Reads a catalogue into `playbooks`; a name that is there already is an error.
pub(crate) fn read(node: &Node, playbooks: &mut BTreeMap<String, Playbook>, report: &mut Report<'_>) {
    let all = match &node.kind {
        Kind::List { .. } => node,
        _ => {
            let Some(fields) = Fields::open(node, "a catalogue", &["playbooks"], report) else { return };
            match fields.must("playbooks", "list them: `playbooks:`, and below it their names", report) {
                Some(node) => node,
                None => return,
            }
        }
    };
    let found: Vec<(At, Option<Playbook>)> = match &all.kind {
        Kind::Map(entries) => {
            entries.iter().map(|(key, value)| (key.at, read_one(value, Some(&key.name), report))).collect()
        }
        _ => list(all, report).iter().map(|item| (item.at, read_one(item, None, report))).collect(),
    };
    for (at, playbook) in found {
        let Some(playbook) = playbook else { continue };
        if playbooks.contains_key(&playbook.name) {
            report.error(at, format!("another playbook is named `{}`", playbook.name), None);
        } else {
            playbooks.insert(playbook.name.clone(), playbook);
        }
    }
}

/// What is wrong with it is reported, so that no set comes of it; it is there all the same, so that rules are not told of
/// what only follows from that.
fn read_one(node: &Node, key: Option<&str>, report: &mut Report<'_>) -> Option<Playbook> {
    let fields = Fields::open(node, "a playbook", &KEYS, report)?;
    let name = fields.text("name", report).or_else(|| key.map(str::to_owned));
    if name.is_none() {
        report.error(fields.at, "a playbook needs `name`", None);
    }
    let runner = fields.must("runner", "this version runs playbooks over HTTP: `runner: http`", report);
    let runner = runner.and_then(|n| word(n, &[("http", "http")], report));
    let url = fields.must("url", "where it is: `url: https://...`", report).and_then(|n| url(n, report));
    let timeout = fields.must("timeout", "the longest that it may take: `timeout: 5m`", report);
    let timeout = timeout.and_then(|n| span(n, report));
    let help = "what it does to its target: read_only, idempotent, keyed or non_idempotent";
    let effect = fields.must("effect", help, report).and_then(|n| word(n, &EFFECTS, report));
    let unknown_node = fields.get("on_unknown", report);
    let on_unknown = unknown_node.and_then(|n| word(n, &ON_UNKNOWN, report)).unwrap_or_default();
    if let (Some(Effect::NonIdempotent), OnUnknown::Retry, Some(node)) = (effect, on_unknown, unknown_node) {
        let message = "`on_unknown: retry` would run it twice, and `effect: non_idempotent` says that twice is harm";
        report.error(node.at, message, Some("write `on_unknown: hold`, or `verify`".to_owned()));
    }
    let result = fields.get("result", report);
    let result =
        result.and_then(|n| word(n, &[("body", ResultIn::Body), ("http_status", ResultIn::HttpStatus)], report));
    let token = fields.get("token", report).and_then(|n| token(n, report));
    let parameters = fields.get("parameters", report).map(|n| parameters(n, report)).unwrap_or_default();
    Some(Playbook {
        name: name?,
        description: fields.text("description", report),
        runner: runner.unwrap_or_default().to_owned(),
        url: url.unwrap_or_default(),
        token,
        parameters,
        timeout: timeout.unwrap_or_default(),
        effect: effect.unwrap_or(Effect::ReadOnly),
        on_unknown,
        result: result.unwrap_or_default(),
    })
}

fn url(node: &Node, report: &mut Report<'_>) -> Option<String> {
    let written = text(node, report)?.trim();
    let host = written.strip_prefix("http://").or_else(|| written.strip_prefix("https://"));
    if host.is_none_or(|h| h.is_empty() || h.starts_with('/') || h.contains(char::is_whitespace)) {
        let message = format!("expected an address that begins with http:// or https://, found {written:?}");
        report.error(node.at, message, None);
        return None;
    }
    Some(written.to_owned())
}

fn token(node: &Node, report: &mut Report<'_>) -> Option<String> {
    let written = text(node, report)?;
    if !written.starts_with("env:") && !written.starts_with("file:") {
        // Not shown: it may be the secret itself.
        let help = "name where it is: `env:PLAYBOOK_TOKEN` or `file:/run/secrets/playbook`";
        report.error(node.at, "a token is a reference, never the secret itself", Some(help.to_owned()));
        if let Some(last) = report.found.last_mut() {
            last.source_line.clear();
        }
        return None;
    }
    Some(written.to_owned())
}

fn parameters(node: &Node, report: &mut Report<'_>) -> BTreeMap<String, Parameter> {
    let Kind::Map(entries) = &node.kind else {
        let message = format!("expected parameters by name, found {}", node.what());
        report.error(
            node.at,
            message,
            Some("write `parameters: { mount: { type: string, required: true } }`".to_owned()),
        );
        return BTreeMap::new();
    };
    entries.iter().filter_map(|(key, value)| Some((key.name.clone(), parameter(&key.name, value, report)?))).collect()
}

fn parameter(name: &str, node: &Node, report: &mut Report<'_>) -> Option<Parameter> {
    const KEYS: [&str; 5] = ["type", "required", "default", "enum", "max_length"];
    let fields = Fields::open(node, "a parameter", &KEYS, report)?;
    let type_ = fields.must("type", "string, integer, number or boolean", report).and_then(|n| word(n, &TYPES, report));
    let required = fields.get("required", report).and_then(|n| word(n, &BOOLEANS, report)).unwrap_or_default();
    let Some(type_) = type_ else {
        let any = ParameterType::String;
        return Some(Parameter { type_: any, required, default: None, one_of: None, max_length: None });
    };
    let max_length = fields.get("max_length", report).and_then(|n| {
        let parsed = text(n, report)?.parse::<usize>().ok();
        if parsed.is_none() {
            report.error(n.at, "expected a whole number of characters", None);
        }
        parsed
    });
    let one_of = fields.get("enum", report).map(|n| {
        let items = list(n, report);
        items.iter().filter_map(|item| Some(typed(text(item, report)?, item, type_))).collect()
    });
    let mut parameter = Parameter { type_, required, default: None, one_of, max_length };
    if let Some(node) = fields.get("default", report)
        && let Kind::Scalar { text, style } = &node.kind
    {
        let written = if *style == ScalarStyle::Plain { text.trim() } else { text };
        let value = typed(written, node, type_);
        match parameter.check(name, &value) {
            Ok(()) => parameter.default = Some(value),
            Err(bad) => report.error(node.at, bad.to_string(), None),
        }
    }
    Some(parameter)
}
