//! One rule.

use crate::diagnostics::At;
use crate::read::expr::Reader;
use crate::read::fields::{Fields, text};
use crate::read::yaml::{Kind, Node};
use crate::script::compile::Role;
use crate::{Clear, May, Pattern, Rule, RuleIx};
use paramedic_model::{Digest, Playbook};
use std::collections::BTreeMap;

const KEYS: [&str; 7] = ["rule", "when", "by", "clear", "incident", "remedy", "escalate"];

/// Words of the language that later versions know.
const LATER: [&str; 34] = [
    "for", "count", "measure", "over", "is", "absent", "within", "for_each", "alive", "all", "sequence", "any",
    "not_all", "unless", "upon", "every", "timezone", "once", "settle", "fallback", "only_if", "about", "then",
    "notify", "emit", "suppress", "resolve", "problem", "change", "request", "task", "ci", "formerly", "distinct",
];

/// What a rule is read against.
pub(crate) struct Around<'a> {
    pub(crate) may: &'a May,
    pub(crate) playbooks: &'a BTreeMap<String, Playbook>,
}

/// Reads a rule. `None` when something essential is missing or wrong, which is reported.
pub(crate) fn read(
    reader: &mut Reader<'_, '_>,
    node: &Node,
    around: &Around<'_>,
    ix: RuleIx,
    book: usize,
) -> Option<Rule> {
    let fields = Fields::open(node, "a rule", &KEYS, &LATER, reader.report)?;
    let name_node = fields.must("rule", "name it: `- rule: filesystem almost full`", reader.report);
    let name = name_node.and_then(|n| text(n, reader.report)).map(|t| t.trim().to_owned());
    let when_help = "say when it matches: `when: |`, and the condition indented below it";
    let is_pattern = LATER[..17].iter().any(|later| fields_has(node, later));
    let when_node =
        if is_pattern { fields.get("when", reader.report) } else { fields.must("when", when_help, reader.report) };
    let when = when_node.and_then(|n| reader.condition(n));
    if let (Some(when), Some(node)) = (&when, when_node)
        && !when.mentions_status
    {
        let message = "holds for FIRING events in the normal phase: it says nothing of event.status or event.phase";
        reader.report.note(node.at, message);
    }
    let by = fields.get("by", reader.report).and_then(|n| reader.parts(n, Role::Part));
    let clear = fields.get("clear", reader.report).and_then(|n| clear(reader, n));
    if let (Some(when), false) = (&when, fields.has("clear"))
        && when.is_of_samples
    {
        warn_no_clear(reader, name_node.map_or(fields.at, |n| n.at));
    }
    let incident_help = "this version's rules open incidents: `incident: { summary: ... }`";
    let incident = fields.must("incident", incident_help, reader.report);
    let incident = incident.and_then(|n| super::incident::read(reader, n));
    let remedy = fields.get("remedy", reader.report);
    let remedy = remedy.map(|n| super::remedy::read(reader, n, around)).unwrap_or_default();
    let escalate = fields.get("escalate", reader.report);
    let escalate = escalate.map(|n| super::incident::escalation(reader, n)).unwrap_or_default();
    let place = reader.report.place(name_node.map_or(fields.at, |n| n.at));
    Some(Rule {
        ix,
        rulebook: book,
        name: name?,
        formerly: Vec::new(),
        place,
        shape: Digest::default(),
        pattern: Pattern::Event { when: when?.ix },
        stays: None,
        settle: None,
        once: None,
        fallback: false,
        by,
        about: None,
        only_if: None,
        clear,
        incident: Some(incident?),
        remedy,
        escalate,
        notify: Vec::new(),
        emit: Vec::new(),
        suppress: None,
        resolve: None,
        ci: None,
        then: None,
    })
}

fn fields_has(node: &Node, name: &str) -> bool {
    matches!(&node.kind, Kind::Map(entries) if entries.iter().any(|(k, _)| k.name == name))
}

fn clear(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Clear> {
    if fields_has(node, "quiet") {
        let help = "write what recovery looks like, as a condition";
        reader.report.error(
            node.at,
            "`clear: { quiet: ... }` is not part of this version's language yet",
            Some(help.into()),
        );
        return None;
    }
    reader.condition(node).map(|c| Clear::When(c.ix))
}

fn warn_no_clear(reader: &mut Reader<'_, '_>, at: At) {
    let message = "no way to clear: samples are not resolved by their source, and the rule has no `clear`";
    let help = "say what recovery looks like, such as `clear: event.type == \"disk.used_pct\" && event.value < 80.0`";
    reader.report.warning(at, message, Some(help.to_owned()));
}
