//! What a rule waits for: one pattern, with exactly its companions.

use std::collections::BTreeMap;

use super::expr::{ReadCondition, Reader};
use super::fields::{Fields, text, whole, window, word};
use super::members;
use super::records::{STANDING, UPON, record_fields};
use super::yaml::{Kind, Node};
use crate::cron::Cron;
use crate::diagnostics::did_you_mean;
use crate::script::compile::Role;
use crate::script::names::{Is, Names};
use crate::{CiFilter, Comparison, Counted, ExprIx, Measured, Pattern, Together};

/// The words that begin a pattern, each with the words that go with it.
const COMPANIONS: [(&str, &[&str]); 10] = [
    ("count", &["when"]),
    ("measure", &["when", "over", "is", "for"]),
    ("absent", &["within", "for_each", "alive"]),
    ("all", &["within", "unless"]),
    ("sequence", &["within", "unless"]),
    ("any", &[]),
    ("not_all", &["within"]),
    ("upon", &["when", "count", "for"]),
    ("every", &["timezone"]),
    ("when", &["for", "settle", "fallback"]),
];

/// Words that are companions of some pattern, with the fix where they stand alone.
const HELPERS: [(&str, &str); 10] = [
    (
        "within",
        "it goes with `absent`, `all`, `sequence` or `not_all`; that of `count` stands in it: `count: { at_least: 3, within: 10m }`",
    ),
    ("over", "it goes with `measure: avg(event.value)`"),
    ("is", "it goes with `measure: avg(event.value)`"),
    ("for_each", "it goes with `absent`"),
    ("alive", "it goes with `absent`"),
    ("unless", "it goes with `all` or `sequence`"),
    ("timezone", "it goes with `every: \"0 6 * * 1\"`"),
    ("for", "it goes with `when`, `measure` or `upon`: it held, and was not cleared, for so long"),
    ("settle", "it goes with `when`"),
    ("fallback", "it goes with `when`"),
];

/// Most of what `count` counts in one window.
const MOST_COUNTED: u32 = 10_000;

/// A pattern, and what is known of it.
pub(crate) struct ReadPattern {
    pub(crate) pattern: Pattern,
    /// What values, questions and texts may read.
    pub(crate) names: Names,
    /// What keeps it from clearing by itself: its condition is of samples.
    pub(crate) is_of_samples: bool,
}

/// Reads the pattern of a rule.
pub(crate) fn read(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Option<ReadPattern> {
    let Some(head) = head(reader, fields) else {
        let help = "say when it matches: `when: |`, and the condition indented below it";
        if !HELPERS.iter().any(|(helper, _)| fields.has(helper)) {
            reader.report.error(fields.at, "a rule needs `when`", Some(help.to_owned()));
        }
        companions(reader, fields, "");
        return None;
    };
    companions(reader, fields, head);
    reader.names = names(fields, head);
    match head {
        "when" => event(reader, fields),
        "count" => count(reader, fields),
        "measure" => measure(reader, fields),
        "absent" => absent(reader, fields),
        "upon" => upon(reader, fields),
        "every" => every(reader, fields),
        _ => several(reader, fields, head),
    }
}

/// What a pattern binds.
fn names(fields: &Fields<'_>, head: &str) -> Names {
    let only = |more| Names { event: false, more };
    match head {
        "when" if fields.has("settle") => Names::EVENT.and("events", Is::Events).and("n", Is::Number),
        "count" => Names::EVENT.and("first", Is::Event).and("last", Is::Event).and("n", Is::Number),
        "measure" => Names::EVENT.and("value", Is::Number),
        "absent" if fields.has("for_each") => only(vec![("ci".to_owned(), Is::Ci)]),
        "upon" => {
            let step = fields.scalar("upon").unwrap_or_default();
            // Of a step that does not exist its first word tells the record.
            let record = UPON.iter().find(|(s, _)| step.split('.').next() == s.split('.').next()).map(|(_, r)| *r);
            only(record.map(|record| (record.to_owned(), record_fields(record))).into_iter().collect())
        }
        "every" => only(Vec::new()),
        "all" | "sequence" | "any" | "not_all" => {
            members::names(fields, head).into_iter().fold(Names::EVENT, |names, member| names.and(member, Is::Event))
        }
        _ => Names::EVENT,
    }
}

/// Which pattern it is; a second one is reported.
fn head(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Option<&'static str> {
    let mut heads = COMPANIONS.iter().map(|(head, _)| *head).filter(|head| fields.has(head));
    let (mut first, rest): (_, Vec<&str>) = (heads.next()?, heads.collect());
    if first == "count" && rest.contains(&"upon") {
        first = "upon";
    }
    let goes = COMPANIONS.iter().find(|(head, _)| *head == first).map_or(&[][..], |(_, goes)| goes);
    for other in rest.into_iter().filter(|other| *other != first && !goes.contains(other)) {
        let at = fields.key(other).unwrap_or(fields.at);
        let message = format!("`{first}` and `{other}` are two patterns, and a rule waits for one");
        reader.report.error(at, message, Some("make two rules of it".to_owned()));
    }
    Some(first)
}

fn companions(reader: &mut Reader<'_, '_>, fields: &Fields<'_>, head: &str) {
    let goes = COMPANIONS.iter().find(|(h, _)| *h == head).map_or(&[][..], |(_, goes)| goes);
    for (word, help) in HELPERS {
        if fields.has(word) && !goes.contains(&word) {
            let at = fields.key(word).unwrap_or(fields.at);
            let message = if head.is_empty() {
                format!("`{word}` stands alone: the rule waits for nothing")
            } else {
                format!("`{word}` does not go with `{head}`")
            };
            reader.report.error(at, message, Some(help.to_owned()));
        }
    }
}

/// A condition on events, with a note where it implies the status.
fn condition(reader: &mut Reader<'_, '_>, fields: &Fields<'_>, name: &str, help: &str) -> Option<ReadCondition> {
    let node = fields.must(name, help, reader.report)?;
    let found = reader.condition(node)?;
    note_status(reader, node, &found, name);
    Some(found)
}

/// Says what a condition implies that says nothing of status and phase.
pub(crate) fn note_status(reader: &mut Reader<'_, '_>, node: &Node, found: &ReadCondition, name: &str) {
    if !found.mentions_status {
        let message = if matches!(name, "absent" | "alive") {
            "holds for events of any status in the normal phase: it says nothing of event.status or event.phase"
        } else {
            "holds for FIRING events in the normal phase: it says nothing of event.status or event.phase"
        };
        reader.report.note(node.at, message);
    }
}

fn event(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Option<ReadPattern> {
    let when = condition(reader, fields, "when", "")?;
    let names =
        if fields.has("settle") { Names::EVENT.and("events", Is::Events).and("n", Is::Number) } else { Names::EVENT };
    Some(ReadPattern { pattern: Pattern::Event { when: when.ix }, names, is_of_samples: when.is_of_samples })
}

fn count(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Option<ReadPattern> {
    let when = condition(reader, fields, "when", "say what is counted: `when: |`, and the condition indented below it");
    let node = fields.get("count", reader.report)?;
    let (at_least, within, distinct) = counted(reader, node)?;
    let when = when?;
    let names = reader.names.clone();
    let pattern = Pattern::Count { when: when.ix, at_least, within, distinct };
    Some(ReadPattern { pattern, names, is_of_samples: when.is_of_samples })
}

fn counted(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Counted> {
    let fields = Fields::open(node, "`count`", &["at_least", "within", "distinct"], reader.report)?;
    let at_least = fields.must("at_least", "how many: `count: { at_least: 3, within: 10m }`", reader.report);
    let at_least = at_least.and_then(|n| whole(n, 1, MOST_COUNTED, reader.report));
    let within = fields.must("within", "in how long: `count: { at_least: 3, within: 10m }`", reader.report);
    let within = within.and_then(|n| window(n, reader.report));
    let distinct = match fields.get("distinct", reader.report) {
        Some(node) => Some(distinct(reader, node)?),
        None => None,
    };
    let at_least = at_least?;
    if let Some((_, values)) = distinct
        && values > at_least
    {
        let message = format!("{values} different values need {values} of them, and `at_least` is {at_least}");
        reader.report.error(node.at, message, Some(format!("write `at_least: {values}`")));
    }
    Some((at_least, within?, distinct))
}

/// `{ EXPR: M }`.
fn distinct(reader: &mut Reader<'_, '_>, node: &Node) -> Option<(ExprIx, u32)> {
    let help = "write the value and how many different ones: `distinct: { event.ci: 3 }`";
    let Kind::Map(entries) = &node.kind else {
        reader.report.error(node.at, format!("expected a map, found {}", node.what()), Some(help.to_owned()));
        return None;
    };
    let [(key, most)] = entries.as_slice() else {
        reader.report.error(node.at, "expected one value", Some(help.to_owned()));
        return None;
    };
    let of = key.as_node();
    let ix = reader.expression(&of, &key.name, Role::Part);
    let values = whole(most, 1, MOST_COUNTED, reader.report);
    Some((ix?, values?))
}

const MEASURED: [(&str, Measured); 5] = [
    ("avg", Measured::Avg),
    ("min", Measured::Min),
    ("max", Measured::Max),
    ("sum", Measured::Sum),
    ("rate", Measured::Rate),
];

fn measure(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Option<ReadPattern> {
    let when = condition(reader, fields, "when", "say which events are samples: `when: event.type == \"...\"`");
    let node = fields.get("measure", reader.report)?;
    let measured = measured(reader, node);
    let over = fields.must("over", "in how long: `over: 10m`", reader.report);
    let over = over.and_then(|n| window(n, reader.report));
    let is =
        fields.must("is", "what it must become: `is: \">= 90\"`", reader.report).and_then(|n| comparison(reader, n));
    let ((measured, of), over, is, when) = (measured?, over?, is?, when?);
    let names = reader.names.clone();
    let pattern = Pattern::Measure { when: when.ix, measured, of, over, is };
    Some(ReadPattern { pattern, names, is_of_samples: true })
}

/// `avg(event.value)`.
fn measured(reader: &mut Reader<'_, '_>, node: &Node) -> Option<(Measured, ExprIx)> {
    let written = text(node, reader.report)?.trim();
    let call = written.strip_suffix(')').and_then(|rest| rest.split_once('('));
    let Some((name, inner)) = call else {
        let message = format!("expected avg, min, max, sum or rate of a value, found {written:?}");
        reader.report.error(node.at, message, Some("write, for example, `measure: avg(event.value)`".to_owned()));
        return None;
    };
    let Some((_, measured)) = MEASURED.iter().find(|(n, _)| *n == name.trim()) else {
        let help =
            did_you_mean(name, MEASURED.map(|(n, _)| n)).unwrap_or_else(|| "it is avg, min, max, sum or rate".into());
        reader.report.error(node.at, format!("there is no measure `{name}`"), Some(help));
        return None;
    };
    Some((*measured, reader.expression(node, inner, Role::Part)?))
}

type Compare = fn(f64) -> Comparison;

/// `">= 90"`.
fn comparison(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Comparison> {
    let written = text(node, reader.report)?.trim();
    let signs: [(&str, Compare); 6] = [
        (">=", Comparison::AtLeast),
        ("<=", Comparison::AtMost),
        ("==", Comparison::Equal),
        ("!=", Comparison::Unequal),
        (">", Comparison::Above),
        ("<", Comparison::Below),
    ];
    let found = signs.iter().find_map(|(sign, make)| {
        let number = written.strip_prefix(sign)?.trim().parse::<f64>().ok()?;
        number.is_finite().then(|| make(number))
    });
    if found.is_none() {
        let message = format!("expected a comparison with a number, found {written:?}");
        reader.report.error(node.at, message, Some("write, for example, `is: \">= 90\"`".to_owned()));
    }
    found
}

fn absent(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Option<ReadPattern> {
    let when = condition(reader, fields, "absent", "");
    let within = fields.must("within", "for how long it must not come: `within: 5m`", reader.report);
    let within = within.and_then(|n| window(n, reader.report));
    let for_each = match fields.get("for_each", reader.report) {
        Some(node) => Some(ci_filter(reader, node)?),
        None => None,
    };
    let alive = match fields.get("alive", reader.report) {
        Some(node) => {
            let found = reader.condition(node)?;
            note_status(reader, node, &found, "alive");
            Some(found.ix)
        }
        None => None,
    };
    if for_each.is_some() && fields.has("by") {
        let at = fields.key("by").unwrap_or(fields.at);
        let message = "`by` does not go with `for_each`: each CI is a thing of its own";
        reader.report.error(at, message, Some("take `by` out".to_owned()));
    }
    let names = reader.names.clone();
    let pattern = Pattern::Absent { when: when?.ix, within: within?, for_each, alive };
    Some(ReadPattern { pattern, names, is_of_samples: false })
}

fn ci_filter(reader: &mut Reader<'_, '_>, node: &Node) -> Option<CiFilter> {
    let fields = Fields::open(node, "`for_each`", &["class", "environment", "attributes"], reader.report)?;
    let attributes = match fields.get("attributes", reader.report).map(|n| (n, &n.kind)) {
        Some((_, Kind::Map(entries))) => entries
            .iter()
            .filter_map(|(key, value)| Some((key.name.clone(), text(value, reader.report)?.to_owned())))
            .collect(),
        Some((n, _)) => {
            let help = "write `attributes: { role: web }`";
            reader.report.error(n.at, format!("expected a map, found {}", n.what()), Some(help.to_owned()));
            BTreeMap::new()
        }
        None => BTreeMap::new(),
    };
    let filter = CiFilter {
        class: fields.text("class", reader.report),
        environment: fields.text("environment", reader.report),
        attributes,
    };
    if filter == CiFilter::default() {
        let help = "write, for example, `for_each: { class: server, environment: production }`";
        reader.report.error(node.at, "it selects every CI", Some(help.to_owned()));
        return None;
    }
    Some(filter)
}

fn several(reader: &mut Reader<'_, '_>, fields: &Fields<'_>, head: &'static str) -> Option<ReadPattern> {
    let together = match head {
        "all" => Together::All,
        "sequence" => Together::Sequence,
        "any" => Together::Any,
        _ => Together::NotAll,
    };
    let members = fields.get(head, reader.report).and_then(|n| members::read(reader, n));
    let within = if head == "any" {
        Some(None)
    } else {
        let node = fields.must("within", "from the first to the last: `within: 10m`", reader.report);
        node.and_then(|n| window(n, reader.report)).map(Some)
    };
    let unless = match fields.get("unless", reader.report) {
        Some(node) => {
            let found = reader.condition(node)?;
            note_status(reader, node, &found, "unless");
            Some(found.ix)
        }
        None => None,
    };
    let members = members?;
    let names = reader.names.clone();
    let pattern = Pattern::Members { together, members, within: within?, unless };
    Some(ReadPattern { pattern, names, is_of_samples: false })
}

fn upon(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Option<ReadPattern> {
    let node = fields.get("upon", reader.report)?;
    let step = word(node, &UPON.map(|(step, _)| (step, step)), reader.report)?;
    let names = reader.names.clone();
    let when = match fields.get("when", reader.report) {
        Some(node) => Some(reader.question(node)?),
        None => None,
    };
    let count = match fields.get("count", reader.report) {
        Some(node) => Some(counted(reader, node)?),
        None => None,
    };
    if let Some(at) = fields.key("for").filter(|_| count.is_none() && !STANDING.contains(&step)) {
        let message = format!("`{step}` is over at once: it cannot stay so");
        let help = format!("`for` goes with {}", STANDING.map(|step| format!("`{step}`")).join(", "));
        reader.report.error(at, message, Some(help));
    }
    if let (Some(at), true, true) = (fields.key("by"), fields.has("for"), count.is_none()) {
        let help = "take `by` out: each record is waited for by itself";
        reader.report.error(at, "`by` does not go with `upon` and `for`", Some(help.to_owned()));
    }
    Some(ReadPattern { pattern: Pattern::Upon { step: step.to_owned(), when, count }, names, is_of_samples: false })
}

fn every(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Option<ReadPattern> {
    let zone_node = fields.get("timezone", reader.report);
    let timezone = zone_node.and_then(|n| text(n, reader.report)).unwrap_or("UTC").trim().to_owned();
    if let (Some(node), Err(why)) = (zone_node, crate::cron::zone(&timezone)) {
        let help = "it is a name of the IANA database, such as `Europe/Berlin`";
        reader.report.error(node.at, why, Some(help.to_owned()));
    }
    let node = fields.get("every", reader.report)?;
    let cron = text(node, reader.report)?.trim().to_owned();
    if let Err(why) = Cron::parse(&cron) {
        let help = "five fields: minute, hour, day of month, month, day of week; `0 6 * * 1` is Mondays at six";
        reader.report.error(node.at, why, Some(help.to_owned()));
        return None;
    }
    let names = reader.names.clone();
    Some(ReadPattern { pattern: Pattern::Every { cron, timezone }, names, is_of_samples: false })
}

/// Whether a rule of this pattern must say what counts as the same thing.
pub(crate) fn needs_by(pattern: &Pattern) -> bool {
    match pattern {
        Pattern::Count { .. } | Pattern::Measure { .. } | Pattern::Absent { for_each: None, .. } => true,
        Pattern::Members { together, .. } => *together != Together::Any,
        _ => false,
    }
}
