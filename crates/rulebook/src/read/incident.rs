//! What a rule's incident begins as, and who is told of it.

use paramedic_model::{Level, Span};

use super::expr::{Reader, Written};
use super::fields::{Fields, list, text, word};
use super::yaml::{Kind, Node};
use crate::diagnostics::did_you_mean;
use crate::script::compile::Role;
use crate::{EscalateAt, EscalationStep, Field, IncidentSpec, Raise};

const KEYS: [&str; 9] = ["key", "summary", "impact", "urgency", "assign", "category", "hold", "reopen", "close_after"];

/// Reads `incident`.
pub(crate) fn read(reader: &mut Reader<'_, '_>, node: &Node) -> Option<IncidentSpec> {
    let fields = Fields::open(node, "an incident", &KEYS, &["about", "sla", "parent"], reader.report)?;
    let key = fields.get("key", reader.report).and_then(|n| reader.parts(n, Role::Value));
    let help = "one line for people: `summary: \"Disk {event.labels.mount} on {event.ci} is {event.value:.0} % full\"`";
    let summary = fields.must("summary", help, reader.report).and_then(|n| reader.template(n));
    let impact = fields.get("impact", reader.report).and_then(|n| level(reader, n));
    let urgency = fields.get("urgency", reader.report).and_then(|n| level(reader, n));
    Some(IncidentSpec {
        key,
        impact,
        urgency,
        assign: fields.text("assign", reader.report),
        category: fields.text("category", reader.report),
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

/// Reads `escalate`.
pub(crate) fn escalation(reader: &mut Reader<'_, '_>, node: &Node) -> Vec<EscalationStep> {
    if matches!(node.kind, Kind::Scalar { .. }) {
        let help = "write the steps: `- at: 15m unacknowledged`, and below it `to: ...`";
        let message = "the name of a site's escalation is not part of this version's language yet";
        reader.report.error(node.at, message, Some(help.to_owned()));
        return Vec::new();
    }
    list(node, reader.report).iter().filter_map(|item| step(reader, item)).collect()
}

fn step(reader: &mut Reader<'_, '_>, node: &Node) -> Option<EscalationStep> {
    let fields = Fields::open(node, "an escalation step", &["at", "to", "raise"], &["if", "repeat"], reader.report)?;
    let help = "when: open, 15m, 15m unacknowledged, remedies_failed or run_unknown";
    let at = fields.must("at", help, reader.report).and_then(|n| at(reader, n));
    let to = fields.must("to", "who is told: `to: storage-oncall`", reader.report);
    let to = to.and_then(|n| text(n, reader.report)).map(str::to_owned);
    let raise = fields.get("raise", reader.report);
    let raise = raise.and_then(|n| word(n, &[("urgency", Raise::Urgency), ("impact", Raise::Impact)], reader.report));
    Some(EscalationStep { at: at?, to: to?, raise })
}

fn at(reader: &mut Reader<'_, '_>, node: &Node) -> Option<EscalateAt> {
    let written = text(node, reader.report)?.trim();
    match written {
        "open" => return Some(EscalateAt::Open),
        "remedies_failed" => return Some(EscalateAt::RemediesFailed),
        "run_unknown" => return Some(EscalateAt::RunUnknown),
        "approval_expired" | "guard_denied" => {
            let message = format!("`at: {written}` is not part of this version's language yet");
            reader.report.error(node.at, message, None);
            return None;
        }
        _ => {}
    }
    let (delay, unacknowledged) = match written.strip_suffix("unacknowledged") {
        Some(delay) => (delay.trim(), true),
        None => (written, false),
    };
    if let Ok(delay) = delay.parse::<Span>() {
        return Some(if unacknowledged { EscalateAt::Unacknowledged(delay) } else { EscalateAt::After(delay) });
    }
    let message = format!("expected open, 15m, 15m unacknowledged, remedies_failed or run_unknown, found {written:?}");
    let help = did_you_mean(written, ["open", "remedies_failed", "run_unknown"]);
    reader.report.error(node.at, message, help);
    None
}
