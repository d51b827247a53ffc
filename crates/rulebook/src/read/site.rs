//! The site file (`site.yaml`): what all rulebooks of a site share.

use std::collections::BTreeMap;

use paramedic_model::{Autonomy, Measure};
use serde_json::{Number, Value};

use super::action::plain;
use super::book::AUTONOMY;
use super::enrich;
use super::expr::Reader;
use super::fields::{Fields, list, text, word};
use super::incident;
use super::yaml::{Kind, Node};
use crate::script::names::Names;
use crate::{EnrichStep, EscalationStep, Site, Threshold};

const KEYS: [&str; 6] = ["defaults", "escalations", "lists", "functions", "enrich", "thresholds"];
const LATER_KEYS: [&str; 5] = ["topology", "flapping", "inhibit", "maintenance", "group"];

/// Longest list.
const MOST_ITEMS: usize = 10_000;

/// What rules take where they say nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Defaults {
    /// Group of an incident.
    pub(crate) assign: Option<String>,
    /// Escalation of an incident.
    pub(crate) escalate: Vec<EscalationStep>,
    /// The most that any rulebook may ask for.
    pub(crate) autonomy: Option<Autonomy>,
    /// Escalations by name.
    pub(crate) escalations: BTreeMap<String, Vec<EscalationStep>>,
}

/// Lists, thresholds and functions: they are read before any expression is.
pub(crate) fn shared(reader: &mut Reader<'_, '_>, node: &Node) -> Site {
    let mut site = Site::default();
    debug_assert!(LATER_KEYS.iter().all(|key| reader.report.is_later("a site", key)));
    let Some(fields) = Fields::open(node, "a site", &KEYS, reader.report) else { return site };
    if let Some(node) = fields.get("lists", reader.report) {
        site.lists = lists(reader, node);
    }
    if let Some(node) = fields.get("thresholds", reader.report) {
        site.thresholds = thresholds(reader, node);
    }
    site.functions = fields.text("functions", reader.report);
    if let (Some(text), Some(node)) = (&site.functions, fields.get("functions", reader.report)) {
        for finding in reader.compiler.check_functions(text) {
            reader.tell_in(node, text, finding);
        }
    }
    site
}

/// What is made of events; expressions of it are read with the lists and functions.
pub(crate) fn enrich(reader: &mut Reader<'_, '_>, node: &Node) -> Vec<EnrichStep> {
    let Kind::Map(_) = node.kind else { return Vec::new() };
    let node = Fields::known(node, "a site", &KEYS).get("enrich", reader.report);
    node.map(|node| enrich::steps(reader, node)).unwrap_or_default()
}

/// Defaults and escalations.
pub(crate) fn defaults(reader: &mut Reader<'_, '_>, node: &Node) -> Defaults {
    let mut found = Defaults::default();
    // Unknown keys have been told already.
    let Kind::Map(_) = node.kind else { return found };
    let fields = Fields::known(node, "a site", &KEYS);
    reader.names = Names::EVENT;
    if let Some(Kind::Map(entries)) = fields.get("escalations", reader.report).map(|n| &n.kind) {
        for (key, steps) in entries {
            let steps = incident::steps(reader, steps);
            found.escalations.insert(key.name.clone(), steps);
        }
    }
    let Some(node) = fields.get("defaults", reader.report) else { return found };
    let Some(fields) = Fields::open(node, "`defaults`", &["assign", "escalate", "autonomy"], reader.report) else {
        return found;
    };
    found.assign = fields.text("assign", reader.report);
    found.autonomy = fields.get("autonomy", reader.report).and_then(|n| word(n, &AUTONOMY, reader.report));
    if let Some(node) = fields.get("escalate", reader.report) {
        found.escalate = incident::escalation(reader, node, &found);
    }
    found
}

fn thresholds(reader: &mut Reader<'_, '_>, node: &Node) -> BTreeMap<String, Threshold> {
    let mut found = BTreeMap::new();
    let Kind::Map(entries) = &node.kind else {
        let help = "write `thresholds: { disk_used_pct: { attribute: disk_threshold, default: 90 } }`".to_owned();
        reader.report.error(node.at, format!("expected thresholds by name, found {}", node.what()), Some(help));
        return found;
    };
    for (key, node) in entries {
        let Some(fields) = Fields::open(node, "a threshold", &["attribute", "default"], reader.report) else {
            continue;
        };
        let help = "the attribute of a CI that holds its own: `attribute: disk_threshold`";
        let attribute = fields.must("attribute", help, reader.report).and_then(|n| text(n, reader.report));
        let default = fields.must("default", "for a CI that has none: `default: 90`", reader.report);
        let default = default.and_then(|n| {
            let written = text(n, reader.report)?;
            let number = number(written);
            if number.is_none() {
                reader.report.error(n.at, format!("expected a number, found {written:?}"), None);
            }
            number
        });
        // One that is broken was reported; rules are not told, too, that there is none.
        let (attribute, default) = (attribute.unwrap_or_default(), default.unwrap_or_else(|| 0.into()));
        found.insert(key.name.clone(), Threshold { attribute: attribute.trim().to_owned(), default });
    }
    found
}

fn number(written: &str) -> Option<Number> {
    match Measure::parse(written.into()) {
        Measure::Int(i) => Some(i.into()),
        Measure::Float(f) => Number::from_f64(f),
        Measure::Text(_) => None,
    }
}

fn lists(reader: &mut Reader<'_, '_>, node: &Node) -> BTreeMap<String, Vec<Value>> {
    let mut found = BTreeMap::new();
    let Kind::Map(entries) = &node.kind else {
        let help = "write `lists: { sites: [fra, ams] }`".to_owned();
        reader.report.error(node.at, format!("expected lists by name, found {}", node.what()), Some(help));
        return found;
    };
    for (key, items) in entries {
        if !rhai::is_valid_identifier(&key.name) {
            let help = Some("letters, digits and `_`, beginning with a letter".to_owned());
            reader.report.error(key.at, format!("`{}` is no name for a list", key.name), help);
        }
        let nodes = list(items, reader.report);
        if nodes.len() > MOST_ITEMS {
            let message = format!("the list has {} items; the most is {MOST_ITEMS}", nodes.len());
            reader.report.error(items.at, message, Some("keep it in the CMDB, and ask for the attribute".to_owned()));
        }
        let values = nodes.iter().filter_map(|n| Some(plain(n, text(n, reader.report)?))).collect();
        found.insert(key.name.clone(), values);
    }
    found
}
