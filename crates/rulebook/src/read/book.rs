//! One file: one rulebook.

use std::collections::{BTreeMap, BTreeSet};

use paramedic_model::{Autonomy, Digest, Playbook};

use super::expr::Reader;
use super::fields::{Fields, list, text, word};
use super::rule::{self, Around};
use super::yaml::{Kind, Node};
use crate::diagnostics::Report;
use crate::{May, Rule, RuleIx, Rulebook};

const KEYS: [&str; 6] = ["rulebook", "description", "owner", "autonomy", "may", "rules"];
const AUTONOMY: [(&str, Autonomy); 4] = [
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
    book: usize,
    rules: &mut Vec<Rule>,
) -> Option<Rulebook> {
    let fields = Fields::open(node, "a rulebook", &KEYS, &["functions", "lists", "formerly"], reader.report)?;
    let name = fields.must("rulebook", "name it: `rulebook: filesystem-pressure`", reader.report);
    let name = name.and_then(|n| text(n, reader.report)).map(|t| t.trim().to_owned());
    let autonomy = fields.get("autonomy", reader.report).and_then(|n| word(n, &AUTONOMY, reader.report));
    let may = fields.get("may", reader.report).map(|n| may(n, playbooks, reader.report)).unwrap_or_default();
    let mut numbers = Vec::new();
    if let Some(node) = fields.must("rules", "list them: `rules:`, and below it `- rule: ...`", reader.report) {
        let mut names = BTreeSet::new();
        for item in list(node, reader.report) {
            let ix = RuleIx(u32::try_from(rules.len()).unwrap_or(u32::MAX));
            let around = Around { may: &may, playbooks };
            let name = name_of(item, "rule");
            if !name.is_empty() && !names.insert(name) {
                let message = format!("another rule of this rulebook is named {name:?}");
                reader.report.error(item.at, message, Some("incidents are known by it: give it its own".to_owned()));
            }
            let Some(rule) = rule::read(reader, item, &around, ix, book) else { continue };
            numbers.push(ix);
            rules.push(rule);
        }
    }
    Some(Rulebook {
        name: name?,
        description: fields.text("description", reader.report),
        owner: fields.text("owner", reader.report),
        autonomy: autonomy.unwrap_or_default(),
        may,
        digest: Digest::default(),
        rules: numbers,
    })
}

fn may(node: &Node, playbooks: &BTreeMap<String, Playbook>, report: &mut Report<'_>) -> May {
    let Some(fields) = Fields::open(node, "`may`", &["playbooks", "ci_classes", "environments"], &[], report) else {
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
