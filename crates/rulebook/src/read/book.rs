//! One file: one rulebook.

use std::collections::{BTreeMap, BTreeSet};

use paramedic_model::{Autonomy, Digest, Playbook};

use super::expr::Reader;
use super::fields::{Fields, list, one_or_more, text, word};
use super::rule::{self, Around};
use super::site::Defaults;
use super::yaml::{Kind, Node};
use crate::diagnostics::{Report, did_you_mean};
use crate::{May, Rule, RuleIx, Rulebook};

const KEYS: [&str; 6] = ["rulebook", "description", "owner", "autonomy", "may", "rules"];
pub(crate) const AUTONOMY: [(&str, Autonomy); 4] = [
    ("observe", Autonomy::Observe),
    ("record", Autonomy::Record),
    ("propose", Autonomy::Propose),
    ("auto", Autonomy::Auto),
];

/// The name that a rulebook or a rule gives itself; nothing is reported.
pub(crate) fn name_of<'n>(node: &'n Node, name_key: &str) -> &'n str {
    let Kind::Map(entries) = &node.kind else { return "" };
    entries
        .iter()
        .find_map(|(key, value)| match &value.kind {
            Kind::Scalar { text, .. } if key.name == name_key => Some(text.trim()),
            _ => None,
        })
        .unwrap_or_default()
}

/// Reads a rulebook. Its digest is not yet known.
pub(crate) fn read(
    reader: &mut Reader<'_, '_>,
    node: &Node,
    playbooks: &BTreeMap<String, Playbook>,
    defaults: &Defaults,
    book: usize,
    rules: &mut Vec<Rule>,
) -> Option<Rulebook> {
    let fields = Fields::open(node, "a rulebook", &KEYS, reader.report)?;
    let name = fields.must("rulebook", "name it: `rulebook: filesystem-pressure`", reader.report);
    let name = name.and_then(|n| text(n, reader.report)).map(|t| t.trim().to_owned());
    let autonomy = fields.get("autonomy", reader.report).and_then(|n| word(n, &AUTONOMY, reader.report));
    let may = fields.get("may", reader.report).map(|n| may(n, playbooks, reader.report)).unwrap_or_default();
    let mut numbers = Vec::new();
    if let Some(node) = fields.must("rules", "list them: `rules:`, and below it `- rule: ...`", reader.report) {
        let mut names = BTreeSet::new();
        for item in list(node, reader.report) {
            let ix = RuleIx(u32::try_from(rules.len()).unwrap_or(u32::MAX));
            let around = Around { may: &may, playbooks, defaults };
            let name = name_of(item, "rule");
            if !name.is_empty() && !names.insert(name) {
                let message = format!("another rule of this rulebook is named {name:?}");
                reader.report.error(item.at, message, Some("incidents are known by it: give it its own".to_owned()));
            }
            let Some(rule) = rule::read(reader, item, &around, ix, book) else { continue };
            numbers.push(ix);
            rules.push(rule);
        }
        let items = list(node, reader.report);
        references(reader, items, &names);
    }
    Some(Rulebook {
        name: name?,
        description: fields.text("description", reader.report),
        owner: fields.text("owner", reader.report),
        autonomy: autonomy.unwrap_or_default().min(defaults.autonomy.unwrap_or(Autonomy::Auto)),
        may,
        digest: Digest::default(),
        rules: numbers,
    })
}

/// Rules that other rules name: `resolve`, `formerly`.
fn references(reader: &mut Reader<'_, '_>, items: &[Node], names: &BTreeSet<&str>) {
    for item in items {
        if let Some(resolve) = child(item, "resolve").and_then(|n| child(n, "rule"))
            && let Kind::Scalar { text, .. } = &resolve.kind
            && !names.contains(text.trim())
        {
            let help = did_you_mean(text.trim(), names.iter().copied());
            reader.report.error(resolve.at, format!("this rulebook has no rule {:?}", text.trim()), help);
        }
        let Some(formerly) = child(item, "formerly") else { continue };
        for old in one_or_more(formerly) {
            if let Kind::Scalar { text, .. } = &old.kind
                && names.contains(text.trim())
            {
                let message = format!("{:?} is the name of a rule that is there", text.trim());
                reader.report.error(old.at, message, Some("name what the rule was called before".to_owned()));
            }
        }
    }
}

fn child<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Kind::Map(entries) = &node.kind else { return None };
    entries.iter().find(|(key, _)| key.name == name).map(|(_, value)| value)
}

fn may(node: &Node, playbooks: &BTreeMap<String, Playbook>, report: &mut Report<'_>) -> May {
    let Some(fields) = Fields::open(node, "`may`", &["playbooks", "ci_classes", "environments"], report) else {
        return May::default();
    };
    let may = May {
        playbooks: fields.texts("playbooks", report),
        ci_classes: fields.texts("ci_classes", report),
        environments: fields.texts("environments", report),
    };
    if let Some(node) = fields.get("playbooks", report) {
        for name in may.playbooks.iter().filter(|name| !playbooks.contains_key(*name)) {
            report.warning(node.at, format!("the catalogue has no playbook `{name}`"), None);
        }
    }
    may
}
