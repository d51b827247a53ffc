//! A rule's remedies, checked against the catalogue and against what the rulebook may do.

use std::collections::BTreeMap;

use paramedic_model::{Parameter, ParameterType, Playbook, Span};
use saphyr_parser::ScalarStyle;
use serde_json::Value;

use super::expr::{Reader, Written};
use super::fields::{Fields, list, literal, text, window, word};
use super::rule::Around;
use super::yaml::{Kind, Node};
use crate::diagnostics::did_you_mean;
use crate::{Approve, Field, Otherwise, RemedyStep, TargetSpec, Undo, Verify};

mod spread;

const KEYS: [&str; 9] = ["playbook", "target", "with", "verify", "only_if", "approve", "rollback", "undo", "spread"];

/// Reads `remedy`.
pub(crate) fn read(reader: &mut Reader<'_, '_>, node: &Node, around: &Around<'_>) -> Vec<RemedyStep> {
    let steps = list(node, reader.report);
    if !steps.is_empty() && around.may.ci_classes.is_empty() {
        let message = "the rulebook may act on no class of CI, so nothing is ever run";
        let help = "name the classes: `may: { playbooks: [...], ci_classes: [server], environments: [...] }`";
        reader.report.warning(node.at, message, Some(help.to_owned()));
    } else if !steps.is_empty() && around.may.environments.is_empty() {
        let message = "the rulebook may act in no environment, so nothing is ever run";
        let help = "name them: `may: { ..., environments: [production, test] }`, as the CIs of the CMDB have them";
        reader.report.warning(node.at, message, Some(help.to_owned()));
    }
    steps.iter().filter_map(|step| read_step(reader, step, around)).collect()
}

fn read_step(reader: &mut Reader<'_, '_>, node: &Node, around: &Around<'_>) -> Option<RemedyStep> {
    let fields = Fields::open(node, "a remedy", &KEYS, reader.report)?;
    let named = fields.must("playbook", "which one: `- playbook: clean-disk`", reader.report);
    let playbook = named.and_then(|n| playbook(reader, n, around));
    let target = fields.get("target", reader.report).map_or(Some(TargetSpec::About), |n| target(reader, n));
    let with = match fields.get("with", reader.report) {
        Some(n) => with(reader, n, playbook),
        None => BTreeMap::new(),
    };
    if let (Some(playbook), Some(named)) = (playbook, named) {
        let missing = playbook
            .parameters
            .iter()
            .filter(|(name, p)| p.required && p.default.is_none() && !with.contains_key(*name));
        // A parameter whose value was refused is there, and has been reported.
        let given = fields.get("with", reader.report);
        for (name, _) in missing.filter(|(name, _)| !given.is_some_and(|n| has_key(n, name))) {
            let message = format!("playbook {} needs the parameter `{name}`", playbook.name);
            reader.report.error(named.at, message, Some(format!("give it: `with: {{ {name}: ... }}`")));
        }
    }
    let verify = match fields.get("verify", reader.report) {
        Some(n) => verify(reader, n)?,
        None => Verify { when: None, within: WITHIN, hold: Span::ZERO },
    };
    let only_if = fields.get("only_if", reader.report).and_then(|n| reader.question(n));
    let approve = fields.get("approve", reader.report).and_then(|n| approve(reader, n));
    let rollback = fields.get("rollback", reader.report).and_then(|n| same_parameters(reader, n, around, playbook));
    let undo = fields.get("undo", reader.report).and_then(|n| undo(reader, n, around, playbook));
    let spread = fields.get("spread", reader.report);
    let shown = fields.get("verify", reader.report).is_some_and(|n| has_key(n, "when"));
    let spread = spread.and_then(|n| spread::read(reader, n, target.as_ref(), fields.key("verify"), shown));
    let (playbook, target) = (playbook?.name.clone(), target?);
    Some(RemedyStep { playbook, target, only_if, with, verify, approve, rollback, undo, spread })
}

/// Reads `approve`.
fn approve(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Approve> {
    const OTHERWISE: [(&str, Otherwise); 3] =
        [("escalate", Otherwise::Escalate), ("next", Otherwise::Next), ("stop", Otherwise::Stop)];
    let fields = Fields::open(node, "`approve`", &["by", "within", "otherwise"], reader.report)?;
    let by = fields.must("by", "who is asked: `approve: { by: storage-oncall, within: 30m }`", reader.report);
    let by = by.and_then(|n| literal(n, reader.report)).map(str::to_owned);
    let within = fields.must("within", "for how long: `approve: { by: storage-oncall, within: 30m }`", reader.report);
    let within = within.and_then(|n| window(n, reader.report));
    let otherwise = fields.get("otherwise", reader.report).and_then(|n| word(n, &OTHERWISE, reader.report));
    Some(Approve { by: by?, within: within?, otherwise: otherwise.unwrap_or_default() })
}

/// Reads `undo`.
fn undo(reader: &mut Reader<'_, '_>, node: &Node, around: &Around<'_>, of: Option<&Playbook>) -> Option<Undo> {
    let fields = Fields::open(node, "`undo`", &["playbook", "after"], reader.report)?;
    let playbook = fields.must("playbook", "by which: `undo: { playbook: unblock, after: 1h }`", reader.report);
    let playbook = playbook.and_then(|n| same_parameters(reader, n, around, of));
    let after = fields.must("after", "when: `undo: { playbook: unblock, after: 1h }`", reader.report);
    let after = after.and_then(|n| window(n, reader.report));
    Some(Undo { playbook: playbook?, after: after? })
}

/// A playbook that gets the parameters of another one, and so must take them.
fn same_parameters(
    reader: &mut Reader<'_, '_>,
    node: &Node,
    around: &Around<'_>,
    of: Option<&Playbook>,
) -> Option<String> {
    let found = playbook(reader, node, around)?;
    let Some(of) = of else { return Some(found.name.clone()) };
    let differs = found.parameters.iter().find(|(name, p)| of.parameters.get(*name).is_none_or(|o| o.type_ != p.type_));
    if let Some((name, _)) = differs {
        let message = format!("it gets the parameters of {}, which has no `{name}` of that type", of.name);
        reader.report.error(node.at, message, Some("give both playbooks the same parameters".to_owned()));
        return None;
    }
    Some(found.name.clone())
}

const WITHIN: Span = Span::from_secs(300);

fn has_key(node: &Node, name: &str) -> bool {
    matches!(&node.kind, Kind::Map(entries) if entries.iter().any(|(k, _)| k.name == name))
}

fn playbook<'a>(reader: &mut Reader<'_, '_>, node: &Node, around: &Around<'a>) -> Option<&'a Playbook> {
    let name = text(node, reader.report)?;
    if !around.may.playbooks.iter().any(|p| p == name) {
        let help = format!("add it: `may: {{ playbooks: [{name}] }}`");
        reader.report.error(
            node.at,
            format!("the rulebook may not run `{name}`: its `may.playbooks` does not name it"),
            Some(help),
        );
    }
    let found = around.playbooks.get(name);
    if found.is_none() {
        let known = around.playbooks.keys().map(String::as_str);
        let help = did_you_mean(name, known).unwrap_or_else(|| {
            if around.playbooks.is_empty() {
                "playbooks stand in a file named playbooks.yaml beside the rulebooks".to_owned()
            } else {
                format!("it has {}", around.playbooks.keys().cloned().collect::<Vec<_>>().join(", "))
            }
        });
        reader.report.error(node.at, format!("the catalogue has no playbook `{name}`"), Some(help));
    }
    found
}

fn target(reader: &mut Reader<'_, '_>, node: &Node) -> Option<TargetSpec> {
    match reader.value(node)? {
        Written::Text("about") => Some(TargetSpec::About),
        Written::Code(ix) => Some(TargetSpec::Computed(ix)),
        Written::Text(other) => {
            let message = format!("expected `about`, or code after `= ` that gives a CI or its name, found {other:?}");
            reader.report.error(node.at, message, Some(format!("write `= cmdb.ci({other:?})` for that CI")));
            None
        }
    }
}

fn with(reader: &mut Reader<'_, '_>, node: &Node, playbook: Option<&Playbook>) -> BTreeMap<String, Field<Value>> {
    let mut bound = BTreeMap::new();
    let Kind::Map(entries) = &node.kind else {
        if !matches!(node.kind, Kind::Bad) {
            let message = format!("expected parameters by name, found {}", node.what());
            reader.report.error(node.at, message, Some("write `with: { mount: = event.labels.mount }`".to_owned()));
        }
        return bound;
    };
    for (key, value) in entries {
        let parameter = playbook.map(|p| p.parameters.get(&key.name));
        if let (Some(None), Some(playbook)) = (parameter, playbook) {
            let names: Vec<&str> = playbook.parameters.keys().map(String::as_str).collect();
            let help = did_you_mean(&key.name, names.iter().copied())
                .unwrap_or_else(|| format!("it has {}", names.join(", ")));
            reader.report.error(
                key.at,
                format!("playbook {} has no parameter `{}`", playbook.name, key.name),
                Some(help),
            );
        }
        match reader.value(value) {
            Some(Written::Code(ix)) => {
                bound.insert(key.name.clone(), Field::Computed(ix));
            }
            Some(Written::Text(written)) => {
                if let Some(Some(parameter)) = parameter
                    && let Some(given) = given(reader, &key.name, value, written, parameter)
                {
                    bound.insert(key.name.clone(), Field::Given(given));
                }
            }
            None => {}
        }
    }
    bound
}

fn given(reader: &mut Reader<'_, '_>, name: &str, node: &Node, written: &str, parameter: &Parameter) -> Option<Value> {
    let value = typed(written, node, parameter.type_);
    match parameter.check(name, &value) {
        Ok(()) => Some(value),
        Err(bad) => {
            reader.report.error(node.at, bad.to_string(), None);
            None
        }
    }
}

/// A scalar as a parameter's type takes it: a text is what is written, whatever YAML would make of it.
pub(crate) fn typed(written: &str, node: &Node, type_: ParameterType) -> Value {
    let text = || Value::from(written);
    if !matches!(node.kind, Kind::Scalar { style: ScalarStyle::Plain, .. }) {
        return text();
    }
    match type_ {
        ParameterType::String => text(),
        ParameterType::Boolean => match written {
            "true" => true.into(),
            "false" => false.into(),
            _ => text(),
        },
        ParameterType::Integer => written.parse::<i64>().map_or_else(|_| text(), Value::from),
        ParameterType::Number => match (written.parse::<i64>(), written.parse::<f64>()) {
            (Ok(i), _) => i.into(),
            (_, Ok(f)) if f.is_finite() => f.into(),
            _ => text(),
        },
    }
}

fn verify(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Verify> {
    let fields = Fields::open(node, "`verify`", &["when", "within", "hold"], reader.report)?;
    let when = fields.get("when", reader.report).and_then(|n| reader.condition(n)).map(|c| c.ix);
    let within = fields.span("within", WITHIN, reader.report);
    Some(Verify { when, within, hold: fields.span("hold", Span::ZERO, reader.report) })
}
