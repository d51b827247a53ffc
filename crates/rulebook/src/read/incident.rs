//! What a rule's incident begins as, and who is told of it.

use paramedic_model::{Level, Span};

use super::expr::{Reader, Written};
use super::fields::{Fields, list, literal, text, window, word};
use super::site::Defaults;
use super::yaml::{Kind, Node};
use crate::diagnostics::did_you_mean;
use crate::script::compile::Role;
use crate::{EscalateAt, EscalationStep, Field, IncidentSpec, Raise};

const STEP: [&str; 5] = ["at", "to", "raise", "if", "repeat"];

/// Shortest time between two pages of one step.
const LEAST_REPEAT: Span = Span::from_secs(60);

const KEYS: [&str; 9] = ["key", "summary", "impact", "urgency", "assign", "category", "hold", "reopen", "close_after"];

/// Reads `incident`.
pub(crate) fn read(reader: &mut Reader<'_, '_>, node: &Node, defaults: &Defaults) -> Option<IncidentSpec> {
    let fields = Fields::open(node, "an incident", &KEYS, reader.report)?;
    let key = fields.get("key", reader.report).and_then(|n| reader.parts(n, Role::Value));
    let help = "one line for people: `summary: \"Disk {event.labels.mount} on {event.ci} is {event.value:.0} % full\"`";
    let summary = fields.must("summary", help, reader.report).and_then(|n| reader.template(n));
    let impact = fields.get("impact", reader.report).and_then(|n| level(reader, n));
    let urgency = fields.get("urgency", reader.report).and_then(|n| level(reader, n));
    Some(IncidentSpec {
        key,
        impact,
        urgency,
        assign: fields.literal("assign", reader.report).or_else(|| defaults.assign.clone()),
        category: fields.literal("category", reader.report),
        hold: fields.span("hold", Span::ZERO, reader.report),
        reopen: fields.span("reopen", IncidentSpec::REOPEN, reader.report),
        close_after: fields.span("close_after", IncidentSpec::CLOSE_AFTER, reader.report),
        summary: summary?,
    })
}

fn level(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Field<Level>> {
    match reader.value(node)? {
        Written::Code(ix) => Some(Field::Computed(ix)),
        Written::Text(written) => {
            let by_code = written.parse::<u8>().ok().and_then(|code| Level::try_from(code).ok());
            let found = Level::from_name(written).or(by_code);
            if found.is_none() {
                let message = format!("expected high, medium or low, or code after `= `, found {written:?}");
                reader.report.error(node.at, message, did_you_mean(written, ["high", "medium", "low"]));
            }
            found.map(Field::Given)
        }
    }
}

/// Reads `escalate`: steps, or the name of one of the site's.
pub(crate) fn escalation(reader: &mut Reader<'_, '_>, node: &Node, site: &Defaults) -> Vec<EscalationStep> {
    if !matches!(node.kind, Kind::Scalar { .. }) {
        return steps(reader, node);
    }
    let Some(name) = text(node, reader.report).map(str::trim) else { return Vec::new() };
    if let Some(steps) = site.escalations.get(name) {
        return steps.clone();
    }
    let names = site.escalations.keys().map(String::as_str);
    let help = did_you_mean(name, names).unwrap_or_else(|| {
        "write the steps, `- at: 15m unacknowledged` and below it `to: ...`, or name one of site.yaml's `escalations`".into()
    });
    reader.report.error(node.at, format!("the site has no escalation {name:?}"), Some(help));
    Vec::new()
}

/// Reads the steps of an escalation.
pub(crate) fn steps(reader: &mut Reader<'_, '_>, node: &Node) -> Vec<EscalationStep> {
    list(node, reader.report).iter().filter_map(|item| step(reader, item)).collect()
}

fn step(reader: &mut Reader<'_, '_>, node: &Node) -> Option<EscalationStep> {
    let fields = Fields::open(node, "an escalation step", &STEP, reader.report)?;
    let help = "when: open, 15m, 15m unacknowledged, remedies_failed or run_unknown";
    let at = fields.must("at", help, reader.report).and_then(|n| at(reader, n));
    let to = fields.must("to", "who is told: `to: storage-oncall`", reader.report);
    let to = to.and_then(|n| literal(n, reader.report)).map(str::to_owned);
    let raise = fields.get("raise", reader.report);
    let raise = raise.and_then(|n| word(n, &[("urgency", Raise::Urgency), ("impact", Raise::Impact)], reader.report));
    let only_if = fields.get("if", reader.report).and_then(|n| reader.question(n));
    let repeat = fields.get("repeat", reader.report).and_then(|n| window(n, reader.report));
    if let Some(n) = fields.get("repeat", reader.report)
        && repeat.is_some_and(|r| r < LEAST_REPEAT)
    {
        let message = format!("nobody answers a page every {}", repeat.unwrap_or_default());
        reader.report.error(n.at, message, Some(format!("repeat after {LEAST_REPEAT} or more")));
    }
    Some(EscalationStep { at: at?, to: to?, raise, only_if, repeat })
}

fn at(reader: &mut Reader<'_, '_>, node: &Node) -> Option<EscalateAt> {
    let written = text(node, reader.report)?.trim();
    match written {
        "open" => return Some(EscalateAt::Open),
        "remedies_failed" => return Some(EscalateAt::RemediesFailed),
        "run_unknown" => return Some(EscalateAt::RunUnknown),
        "approval_expired" | "guard_denied" if reader.report.is_later("at", written) => {
            reader.report.tell_later(node.at, &format!("at: {written}"));
            return None;
        }
        "approval_expired" => return Some(EscalateAt::ApprovalExpired),
        "guard_denied" => return Some(EscalateAt::GuardDenied),
        _ => {}
    }
    let (delay, unacknowledged) = match written.strip_suffix("unacknowledged") {
        Some(delay) => (delay.trim(), true),
        None => (written, false),
    };
    if let Ok(delay) = delay.parse::<Span>() {
        return Some(if unacknowledged { EscalateAt::Unacknowledged(delay) } else { EscalateAt::After(delay) });
    }
    let message = format!(
        "expected open, 15m, 15m unacknowledged, remedies_failed, run_unknown, approval_expired or guard_denied, found {written:?}"
    );
    let help = did_you_mean(written, ["open", "remedies_failed", "run_unknown", "approval_expired", "guard_denied"]);
    reader.report.error(node.at, message, help);
    None
}
