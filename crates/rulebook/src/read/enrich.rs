//! `enrich` of the site file: what is made of an event before any rule sees it.

use std::collections::BTreeSet;

use rhai::{AST, ASTNode, Expr};

use super::expr::{Reader, Written};
use super::fields::{Fields, list, one_or_more, text};
use super::yaml::{Kind, Node};
use crate::analysis::holds_for_none;
use crate::condition::{Kinds, Lit};
use crate::diagnostics::did_you_mean;
use crate::evaluator::given;
use crate::script::compile::{Finding, Role};
use crate::script::names::{FOUND, Is, Names};
use crate::script::native::{chain, expression, literal, necessary, term};
use crate::value::{Pattern, field_names};
use crate::{EnrichStep, ExprIx, Field, FindSpec, New, Target};

const KEYS: [&str; 6] = ["source", "when", "match", "set", "default", "drop_from_key"];
const TARGETS: [&str; 13] = [
    "severity",
    "type",
    "summary",
    "ci",
    "host",
    "service",
    "metric",
    "value",
    "threshold",
    "unit",
    "dedup_key",
    "labels",
    "annotations",
];

/// Most steps, and most labels and annotations that a step sets.
const MOST_STEPS: usize = 500;
const MOST_TEXTS: usize = 100;

/// What a step's `match` may find, and which of its groups are read.
struct Groups {
    all: Vec<String>,
    used: BTreeSet<String>,
}

/// Reads the steps.
pub(crate) fn steps(reader: &mut Reader<'_, '_>, node: &Node) -> Vec<EnrichStep> {
    let items = list(node, reader.report);
    if items.len() > MOST_STEPS {
        let message = format!("there are {} steps; the most is {MOST_STEPS}", items.len());
        reader.report.error(node.at, message, Some("each step is asked for each event of its source".to_owned()));
        return Vec::new();
    }
    items.iter().filter_map(|item| step(reader, item)).collect()
}

fn step(reader: &mut Reader<'_, '_>, node: &Node) -> Option<EnrichStep> {
    let fields = Fields::open(node, "an enrich step", &KEYS, reader.report)?;
    let place = reader.report.place(node.at);
    let sources = fields.get("source", reader.report).map(|n| names(reader, n)).unwrap_or_default();
    let when = fields.get("when", reader.report).and_then(|n| when(reader, n));
    let found = fields.get("match", reader.report).map(|n| find(reader, n));
    reader.names = Names::EVENT;
    let mut groups = None;
    if let Some((_, pattern)) = &found {
        reader.names = Names::EVENT.and(FOUND, Is::Found);
        let all = pattern.as_ref().map(|p| p.groups().map(str::to_owned).collect()).unwrap_or_default();
        groups = Some(Groups { all, used: BTreeSet::new() });
    }
    let mut set_of = |name| {
        let node = fields.get(name, reader.report);
        node.map(|n| targets(reader, n, &mut groups)).unwrap_or_default()
    };
    let (set, default) = (set_of("set"), set_of("default"));
    reader.names = Names::EVENT;
    let drop_from_key = fields.get("drop_from_key", reader.report).map(|n| dropped(reader, n)).unwrap_or_default();
    if let (Some(groups), Some(node), Some((_, Some(_)))) = (&groups, fields.node("match"), &found) {
        unused(reader, node, groups);
    }
    if let Some((target, _)) = default.iter().find(|(target, _)| set.iter().any(|(other, _)| other == target)) {
        let message = format!("a step both sets {} and has a default for it", target.shown());
        let help = "`default` is for what is missing, `set` for what is there, too: leave one of them".to_owned();
        reader.report.error(fields.key("default").unwrap_or(node.at), message, Some(help));
    }
    if !["set", "default", "drop_from_key"].iter().any(|word| fields.has(word)) {
        let help = "give it `set: { severity: major }`, `default: { ... }` or `drop_from_key: [pod_ip]`".to_owned();
        reader.report.error(node.at, "the step changes nothing", Some(help));
    }
    let find = match found {
        Some((spec, _)) => Some(spec?),
        None => None,
    };
    Some(EnrichStep { sources, when, find, set, default, drop_from_key, place })
}

/// A name, or a list of names.
fn names(reader: &mut Reader<'_, '_>, node: &Node) -> Vec<String> {
    one_or_more(node).iter().filter_map(|n| text(n, reader.report)).map(|name| name.trim().to_owned()).collect()
}

fn when(reader: &mut Reader<'_, '_>, node: &Node) -> Option<ExprIx> {
    let ix = reader.condition(node)?.ix;
    let code = &reader.exprs.get(ix.0 as usize)?.text;
    let ast = reader.compiler.parse_with(code, Role::Condition, &Names::EVENT).ok()?;
    if holds_for_none(&necessary(expression(&ast)?)) {
        let help = Some("take the step out, or say what it is meant to find".to_owned());
        reader.report.warning(node.at, "`when` is never true: the step changes nothing", help);
    }
    Some(ix)
}

/// Reads `match`: what is looked for, and its pattern where that is one.
fn find(reader: &mut Reader<'_, '_>, node: &Node) -> (Option<FindSpec>, Option<Pattern>) {
    let Some(fields) = Fields::open(node, "`match`", &["field", "pattern"], reader.report) else { return (None, None) };
    let field = fields.must("field", "in which text: `field: event.summary`", reader.report);
    let field = field.and_then(|n| {
        let written = text(n, reader.report)?.trim();
        if field_names().any(|name| written.split('.').next() == Some(name)) {
            let help = Some(format!("write `field: event.{written}`"));
            reader.report.error(n.at, format!("nothing is named `{written}` here"), help);
            return None;
        }
        reader.expression(n, written, Role::Enrichment)
    });
    let help = "a regular expression: `pattern: '^(?<host>[^:]+): '`";
    let pattern = fields.must("pattern", help, reader.report).and_then(|n| {
        let written = text(n, reader.report)?;
        Pattern::new(written).map_err(|why| reader.report.error(n.at, why, None)).ok()
    });
    let spec = field.zip(pattern.as_ref()).map(|(field, p)| FindSpec { field, pattern: p.text().to_owned() });
    (spec, pattern)
}

/// Groups that nothing reads.
fn unused(reader: &mut Reader<'_, '_>, node: &Node, groups: &Groups) {
    for group in groups.all.iter().filter(|group| !groups.used.contains(*group)) {
        let help = format!("write `= {FOUND}.{group}` for what it finds, or `(?:...)` for a group without a name");
        reader.report.warning(node.at, format!("nothing uses the group `{group}`"), Some(help));
    }
}

/// Reads `set` or `default`.
fn targets(reader: &mut Reader<'_, '_>, node: &Node, groups: &mut Option<Groups>) -> Vec<(Target, Field<New>)> {
    let Some(fields) = Fields::open(node, "what a step sets", &TARGETS, reader.report) else { return Vec::new() };
    let mut found = Vec::new();
    for (name, target) in Target::NAMES {
        let node = fields.get(name, reader.report);
        found.extend(node.and_then(|n| value(reader, n, &target, groups)).map(|field| (target, field)));
    }
    for (name, target) in [("labels", Target::Label as fn(String) -> Target), ("annotations", Target::Annotation)] {
        let Some(node) = fields.get(name, reader.report) else { continue };
        let Kind::Map(entries) = &node.kind else {
            let help = Some(format!("write `{name}: {{ rack: r7 }}`"));
            reader.report.error(node.at, format!("expected {name} by name, found {}", node.what()), help);
            continue;
        };
        if entries.len() > MOST_TEXTS {
            let message = format!("a step sets {MOST_TEXTS} {name} at most, and here are {}", entries.len());
            reader.report.error(node.at, message, None);
        }
        for (key, node) in entries {
            let target = target(key.name.clone());
            found.extend(value(reader, node, &target, groups).map(|field| (target, field)));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

fn value(reader: &mut Reader<'_, '_>, node: &Node, target: &Target, groups: &mut Option<Groups>) -> Option<Field<New>> {
    if node.is_empty() {
        let help = "give it a value, or take it out: what is missing sets nothing".to_owned();
        reader.report.error(node.at, format!("{} is set to nothing", target.shown()), Some(help));
        return None;
    }
    let written = match reader.value_as(node, Role::Enrichment)? {
        Written::Text(written) => written,
        Written::Code(ix) => {
            code(reader, node, target, groups);
            return Some(Field::Computed(ix));
        }
    };
    match given(written, target) {
        Ok(new) => Some(Field::Given(new)),
        Err(expected) => {
            let message = format!("expected {expected}, found {written:?}");
            let words = ["critical", "major", "minor", "warning", "info"];
            let help = (*target == Target::Severity).then(|| did_you_mean(written, words)).flatten();
            reader.report.error(node.at, message, help);
            None
        }
    }
}

/// Which groups an expression reads, and whether it gives what its field can hold.
fn code(reader: &mut Reader<'_, '_>, node: &Node, target: &Target, groups: &mut Option<Groups>) {
    let Some(code) = text(node, reader.report).and_then(|written| written.strip_prefix('=')) else { return };
    let Ok(ast) = reader.compiler.parse_with(code, Role::Enrichment, &reader.names) else { return };
    let mut findings: Vec<Finding> = groups.as_mut().map(|groups| read(&ast, groups)).unwrap_or_default();
    if let Some(expr) = expression(&ast)
        && let Some(expected) = misfit(expr, target)
    {
        let message = format!("{} does not get this: expected {expected}", target.shown());
        findings.push(Finding::error(expr.start_position(), message, None));
    }
    findings.into_iter().for_each(|finding| reader.tell(node, code, 1, finding));
}

/// Notes which groups are read; gives those that there are not.
fn read(ast: &AST, groups: &mut Groups) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut mentioned, mut named) = (0, 0);
    ast.walk(&mut |nodes: &[ASTNode<'_>]| {
        let Some(ASTNode::Expr(expr)) = nodes.last() else { return true };
        if let Expr::Variable(name, ..) = expr {
            mentioned += usize::from(name.1 == FOUND);
        }
        let Some(chain) = chain(expr).filter(|c| c.head == FOUND) else { return true };
        if let Some((name, pos)) = chain.names().first() {
            named += 1;
            groups.used.insert((*name).to_owned());
            if !groups.all.iter().any(|group| group == name) {
                let known = || groups.all.iter().map(String::as_str);
                let help = did_you_mean(name, known()).unwrap_or_else(|| match groups.all.is_empty() {
                    true => format!("name a group: `(?<{name}>...)`"),
                    false => format!("it has {}", known().collect::<Vec<_>>().join(", ")),
                });
                findings.push(Finding::error(*pos, format!("the pattern has no group `{name}`"), Some(help)));
            }
        }
        true
    });
    if mentioned > named {
        groups.used.extend(groups.all.iter().cloned());
    }
    findings
}

/// What a field expects, where an expression gives something else whatever the event is.
fn misfit(expr: &Expr, target: &Target) -> Option<&'static str> {
    if let Some(Lit::Text(text)) = literal(expr) {
        return given(&text, target).err();
    }
    let kinds = term(expr)?.kinds();
    let is_only = |these: Kinds| kinds.only(these.or(Kinds::MISSING)) && kinds.may_be(these);
    match target {
        Target::Severity if is_only(Kinds::NUMBER.or(Kinds::BOOL)) => Some("a severity, or a text that names one"),
        Target::Value | Target::Threshold if is_only(Kinds::SEVERITY.or(Kinds::BOOL)) => Some("a number"),
        _ => None,
    }
}

fn dropped(reader: &mut Reader<'_, '_>, node: &Node) -> Vec<String> {
    let items = list(node, reader.report);
    if items.is_empty() && matches!(node.kind, Kind::List { .. }) {
        let help = "name labels that differ from repeat to repeat: `drop_from_key: [pod_ip]`".to_owned();
        reader.report.error(node.at, "the list is empty", Some(help));
    }
    let mut found = Vec::new();
    for item in items {
        let Some(name) = text(item, reader.report).map(str::trim) else { continue };
        match name.strip_prefix("event.labels.") {
            Some(bare) => {
                let help = Some(format!("write `{bare}`"));
                reader.report.error(item.at, "a label stands here by its name", help);
            }
            None => found.push(name.to_owned()),
        }
    }
    found
}
