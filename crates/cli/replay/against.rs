//! `paramedic replay --against`: what another rule set would have made of the same events.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use paramedic_model::Grants;
use paramedic_rulebook::RuleSet;
use paramedic_sim::replay::{Difference, Kind};
use paramedic_sim::{Comparison, Messages, ReplayOptions, compare_messages};
use serde_json::Value;

use crate::args::ReplayArgs;
use crate::{Done, Outcome, rules};

/// So many differences are shown to people; the JSON has more.
const SHOWN: usize = 40;

pub(super) fn compare(
    args: &ReplayArgs,
    set: &Arc<RuleSet>,
    against: &Path,
    messages: &mut dyn Messages,
    options: &ReplayOptions,
) -> Outcome {
    let other = rules::set(against, &Grants::AsAsked)?;
    let bar = super::progress();
    let comparison = compare_messages(set, &other, messages, options, &mut |read| bar.set_position(read));
    bar.finish_and_clear();
    let comparison = comparison?;
    super::tell_undecodable(args, &comparison.rules);
    super::print(args, &comparison, || human(&comparison))?;
    Ok(if comparison.same { Done::Well } else { Done::Found })
}

fn human(c: &Comparison) -> String {
    let (a, b) = (&c.rules, &c.against);
    let mut out = format!("events      {}, {} undecodable\n", a.events, a.dead_letter);
    let _ = writeln!(out, "{:<12}{:>10}{:>12}", "", "--rules", "--against");
    for (what, a, b) in [
        ("matched", a.matched, b.matched),
        ("opened", a.incidents_opened, b.incidents_opened),
        ("resolved", a.incidents_resolved, b.incidents_resolved),
        ("open at end", a.incidents_open_at_end, b.incidents_open_at_end),
        ("runs", a.runs, b.runs),
        ("pages", a.escalations, b.escalations),
    ] {
        let _ = writeln!(out, "{what:<12}{a:>10}{b:>12}");
    }
    if c.same {
        out.push_str("no difference");
        return out;
    }
    let counts: Vec<String> = c.counts.iter().map(|(kind, n)| format!("{n} {}", kind.name())).collect();
    let _ = write!(out, "{} differences: {}", c.counts.values().sum::<u64>(), counts.join(", "));
    for difference in c.differences.iter().take(SHOWN) {
        let _ = write!(out, "\n{}", told(difference));
    }
    let more = c.left_out + c.differences.len().saturating_sub(SHOWN) as u64;
    if more > 0 {
        let _ = write!(out, "\n... and {more} more (--json FILE has the first {})", c.differences.len());
    }
    out
}

fn told(d: &Difference) -> String {
    let about = d.about.as_ref().map(|a| format!(" about {a}")).unwrap_or_default();
    let (kind, at) = (d.kind.name(), short(&d.at.to_string()));
    let mut out = format!("{kind:<9}{at}  {}/{}{about}{}", d.rulebook, d.rule, by_events(d));
    let side = |name: &str, value: &Option<Value>| match value {
        Some(value) => format!("\n  {name:<10} {}", fields(value)),
        None => String::new(),
    };
    match d.kind {
        Kind::Merged => {
            let into = d.rules.as_ref().map(fields).unwrap_or_default();
            let _ = write!(out, "{}\n  --rules    part of: {into}", side("--against", &d.against));
        }
        Kind::Split => {
            let of = d.against.as_ref().map(fields).unwrap_or_default();
            let _ = write!(out, "{}\n  --against  part of: {of}", side("--rules", &d.rules));
        }
        _ => {
            let _ = write!(out, "{}{}", side("--rules", &d.rules), side("--against", &d.against));
        }
    }
    out
}

fn by_events(d: &Difference) -> String {
    let events: Vec<String> = d.events.iter().map(|e| format!("{} (line {})", e.id, e.line)).collect();
    if events.is_empty() { String::new() } else { format!("  by event {}", events.join(", ")) }
}

/// The members of an object, one after the other.
fn fields(value: &Value) -> String {
    let Value::Object(map) = value else { return value.to_string() };
    let told = |(name, value): (&String, &Value)| match (name.as_str(), value) {
        ("by_event", Value::Object(event)) => {
            format!("by event {} (line {})", text(event.get("id")), text(event.get("line")))
        }
        (name, value) => format!("{}: {}", name.replace('_', " "), text(Some(value))),
    };
    map.iter().map(told).collect::<Vec<_>>().join(", ")
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::String(text)) => short(text),
        Some(other) => other.to_string(),
    }
}

/// An instant on a whole second without its nine zeros.
fn short(text: &str) -> String {
    text.strip_suffix(".000000000Z").map_or_else(|| text.to_owned(), |seconds| format!("{seconds}Z"))
}
