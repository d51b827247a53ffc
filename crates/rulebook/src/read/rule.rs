//! One rule.

use std::collections::BTreeMap;

use paramedic_model::{Digest, Playbook, Span};

use super::expr::Reader;
use super::fields::{Fields, one_or_more, text, window, word};
use super::pattern::{self, ReadPattern};
use super::site::Defaults;
use super::yaml::{Kind, Node};
use super::{action, incident, remedy, then};
use crate::diagnostics::At;
use crate::script::compile::Role;
use crate::script::names::Names;
use crate::{Clear, ExprIx, May, Pattern, Rule, RuleIx};

const KEYS: [&str; 36] = [
    "rule", "when", "for", "count", "measure", "over", "is", "absent", "within", "for_each", "alive", "all",
    "sequence", "any", "not_all", "unless", "upon", "every", "timezone", "once", "settle", "fallback", "by", "about",
    "only_if", "clear", "incident", "remedy", "escalate", "notify", "emit", "suppress", "resolve", "ci", "then",
    "formerly",
];

/// Words that make something happen.
const ACTIONS: [&str; 7] = ["incident", "notify", "emit", "suppress", "resolve", "ci", "then"];

/// What is said of a rule whose samples nothing ends.
pub(crate) const NO_CLEAR: &str =
    "no way to clear: samples are not resolved by their source, and the rule has no `clear`";
/// And the fix.
pub(crate) const NO_CLEAR_HELP: &str =
    "say what recovery looks like, such as `clear: event.type == \"disk.used_pct\" && event.value < 80.0`";

/// What a rule is read against.
pub(crate) struct Around<'a> {
    pub(crate) may: &'a May,
    pub(crate) playbooks: &'a BTreeMap<String, Playbook>,
    pub(crate) defaults: &'a Defaults,
}

/// Reads a rule. `None` when something essential is missing or wrong, which is reported.
pub(crate) fn read(
    reader: &mut Reader<'_, '_>,
    node: &Node,
    around: &Around<'_>,
    ix: RuleIx,
    book: usize,
) -> Option<Rule> {
    let fields = Fields::open(node, "a rule", &KEYS, reader.report)?;
    let name_node = fields.must("rule", "name it: `- rule: filesystem almost full`", reader.report);
    let name = name_node.and_then(|n| text(n, reader.report)).map(|t| t.trim().to_owned());
    let at = name_node.map_or(fields.at, |n| n.at);
    reader.names = Names::EVENT;
    reader.rule = Some(ix);
    let pattern = pattern::read(reader, &fields);
    // What a broken pattern would bind is known nevertheless: nothing is reported that only follows from it.
    if let Some(pattern) = &pattern {
        reader.names = pattern.names.clone();
    }
    let timing = timing(reader, &fields);
    let by = by(reader, &fields, pattern.as_ref());
    let clear = fields.get("clear", reader.report).and_then(|n| clear(reader, n));
    if let Some(pattern) = &pattern {
        warn_no_clear(reader, &fields, pattern, at);
    }
    if !ACTIONS.iter().any(|action| fields.has(action)) {
        let help = format!("say what it does: {}", ACTIONS.join(", "));
        reader.report.error(at, "the rule does nothing", Some(help));
    }
    let actions = Actions::read(reader, &fields, around);
    let (about, only_if) = asked(reader, &fields);
    let place = reader.report.place(at);
    reader.names = Names::EVENT;
    reader.rule = None;
    let (name, pattern, actions) = (name?, pattern?.pattern, actions?);
    Some(Rule {
        ix,
        rulebook: book,
        name,
        formerly: formerly(reader, &fields),
        place,
        shape: Digest::default(),
        digest: Digest::default(),
        pattern,
        stays: timing.stays,
        settle: timing.settle,
        once: timing.once,
        fallback: timing.fallback,
        by: by?,
        about,
        only_if,
        clear,
        incident: actions.incident,
        remedy: actions.remedy,
        escalate: actions.escalate,
        notify: actions.notify,
        emit: actions.emit,
        topics: actions.topics,
        suppress: actions.suppress,
        resolve: actions.resolve,
        ci: actions.ci,
        then: actions.then,
    })
}

struct Timing {
    stays: Option<Span>,
    settle: Option<Span>,
    once: Option<Span>,
    fallback: bool,
}

fn timing(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Timing {
    let mut window = |name: &str| fields.get(name, reader.report).and_then(|n| window(n, reader.report));
    let (stays, settle, once) = (window("for"), window("settle"), window("once"));
    if let (true, true, Some(at)) = (fields.has("for"), fields.has("settle"), fields.key("settle")) {
        let message = "`for` and `settle` do not go together: one waits whether it stays, the other what else comes";
        reader.report.error(at, message, Some("take one of them out".to_owned()));
    }
    let fallback = fields.get("fallback", reader.report);
    let fallback =
        fallback.and_then(|n| word(n, &[("true", true), ("false", false)], reader.report)).unwrap_or_default();
    Timing { stays, settle, once, fallback }
}

/// `Some(None)`: it may be left out, and is.
fn by(reader: &mut Reader<'_, '_>, fields: &Fields<'_>, pattern: Option<&ReadPattern>) -> Option<Option<Vec<ExprIx>>> {
    let Some(node) = fields.get("by", reader.report) else {
        if let Some(pattern) = pattern
            && pattern::needs_by(&pattern.pattern)
            && !fields.has("by")
        {
            let help = "say what counts as the same thing: `by: [event.ci]`";
            reader.report.error(
                fields.at,
                "this pattern needs `by`: it puts several events together",
                Some(help.into()),
            );
            return None;
        }
        return (!fields.has("by")).then_some(None);
    };
    if let Some(Pattern::Every { .. }) = pattern.map(|p| &p.pattern) {
        let at = fields.key("by").unwrap_or(fields.at);
        reader.report.error(at, "`by` does not go with `every`: a schedule is one thing", Some("take it out".into()));
        return None;
    }
    reader.parts(node, Role::Part).map(Some)
}

fn formerly(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Vec<String> {
    let Some(node) = fields.get("formerly", reader.report) else { return Vec::new() };
    one_or_more(node).iter().filter_map(|n| text(n, reader.report)).map(|t| t.trim().to_owned()).collect()
}

fn asked(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> (Option<crate::AboutSpec>, Option<ExprIx>) {
    let about = fields.get("about", reader.report).and_then(|n| action::about(reader, n));
    let only_if = fields.get("only_if", reader.report).and_then(|n| reader.question(n));
    (about, only_if)
}

#[derive(Default)]
struct Actions {
    incident: Option<crate::IncidentSpec>,
    remedy: Vec<crate::RemedyStep>,
    escalate: Vec<crate::EscalationStep>,
    notify: Vec<crate::NotifySpec>,
    emit: Vec<crate::EmitSpec>,
    topics: Vec<crate::Topic>,
    suppress: Option<crate::SuppressSpec>,
    resolve: Option<crate::ResolveSpec>,
    ci: Option<crate::CiSpec>,
    then: Option<ExprIx>,
}

impl Actions {
    /// `None` when the incident cannot be read.
    fn read(reader: &mut Reader<'_, '_>, fields: &Fields<'_>, around: &Around<'_>) -> Option<Self> {
        let mut this = Self::default();
        let incident = fields.get("incident", reader.report).map(|n| incident::read(reader, n, around.defaults));
        if let Some(n) = fields.get("remedy", reader.report) {
            this.remedy = remedy::read(reader, n, around);
        }
        this.escalate = match fields.get("escalate", reader.report) {
            Some(n) => incident::escalation(reader, n, around.defaults),
            None if fields.has("incident") => around.defaults.escalate.clone(),
            None => Vec::new(),
        };
        for word in ["remedy", "escalate"] {
            if let (Some(at), false) = (fields.key(word), fields.has("incident")) {
                let message = format!("`{word}` belongs to an incident, and the rule opens none");
                reader.report.error(at, message, Some("add `incident: { summary: ... }`".to_owned()));
            }
        }
        if let Some(n) = fields.get("notify", reader.report) {
            this.notify = action::notify(reader, n);
        }
        if let Some(n) = fields.get("emit", reader.report) {
            (this.emit, this.topics) = action::emit(reader, n);
        }
        this.suppress = fields.get("suppress", reader.report).and_then(|n| action::suppress(reader, n));
        this.resolve = fields.get("resolve", reader.report).and_then(|n| action::resolve(reader, n));
        this.ci = fields.get("ci", reader.report).and_then(|n| action::ci(reader, n));
        if let Some(n) = fields.get("then", reader.report)
            && let Some((script, topics)) = then::read(reader, n, fields.has("incident"))
        {
            this.then = Some(script);
            this.topics.extend(topics);
        }
        this.incident = match incident {
            Some(incident) => Some(incident?),
            None => None,
        };
        Some(this)
    }
}

fn clear(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Clear> {
    if let Kind::Map(_) = node.kind {
        let fields = Fields::open(node, "`clear`", &["quiet"], reader.report)?;
        let help = "no match for so long: `clear: { quiet: 10m }`; or a condition: `clear: |`";
        let quiet = fields.must("quiet", help, reader.report)?;
        return window(quiet, reader.report).map(Clear::Quiet);
    }
    let names = std::mem::replace(&mut reader.names, Names::EVENT);
    let clear = reader.condition(node).map(|c| Clear::When(c.ix));
    reader.names = names;
    clear
}

fn warn_no_clear(reader: &mut Reader<'_, '_>, fields: &Fields<'_>, pattern: &ReadPattern, at: At) {
    let goes_below = matches!(pattern.pattern, Pattern::Measure { .. });
    if !pattern.is_of_samples || goes_below || fields.has("clear") || !fields.has("incident") {
        return;
    }
    reader.report.warning(at, NO_CLEAR, Some(NO_CLEAR_HELP.to_owned()));
}
