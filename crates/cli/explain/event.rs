//! What the rules of a folder make of events.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use paramedic_model::{Cmdb, Event, Grants, Timestamp};
use paramedic_rulebook::explain::{
    ConditionTold, ConjunctTold, Explainer, Explanation, FieldChange, FieldTold, Held, RuleTold, Which,
};
use serde_json::{Value, json};

use super::read::{self, Placed, Read};
use crate::args::ExplainArgs;
use crate::show::printable;
use crate::{Done, Outcome, rules};

/// So many rules in reach are shown for an event.
const SHOWN: usize = 10;

/// Of a file; with an id only the events of that id.
pub(super) fn of_file(args: &ExplainArgs, file: &Path, id: Option<&str>) -> Outcome {
    let Some(folder) = &args.rules else { bail!("--rules is needed: the folder of rulebooks that the events are asked of") };
    let mut read = read::file(file, read::format(&args.format)?, &args.source)?;
    let all = read.events.len();
    read.events.retain(|placed| id.is_none_or(|id| placed.event.id.as_deref() == Some(id)));
    read.events.retain(|placed| args.line.is_none_or(|line| placed.line == line));
    read.undecodable.retain(|(at, _)| args.line.is_none_or(|line| *at == line));
    let is_told_why = args.line.is_some() && !read.undecodable.is_empty();
    if read.events.is_empty() && all > 0 && !is_told_why {
        let which = id.map_or_else(|| format!("in line {}", args.line.unwrap_or_default()), |id| format!("with the id {id:?}"));
        bail!("none of the {all} events of {} is {which}", file.display());
    }
    tell(args, folder, &file.display().to_string(), &read)
}

/// Explains events, and prints what is found.
pub(super) fn tell(args: &ExplainArgs, folder: &Path, from: &str, read: &Read) -> Outcome {
    let set = rules::set(folder, &Grants::AsAsked)?;
    let which = match &args.rule {
        Some(name) => Which::Named(name),
        None if args.all => Which::All,
        None => Which::InReach,
    };
    let mut explainer = Explainer::new(set);
    if let Some(path) = &args.cmdb {
        explainer = explainer.with_cmdb(Arc::new(cmdb(path, &args.scope)?), &args.scope);
    }
    let mut told = Vec::new();
    for Placed { line, event } in &read.events {
        let explanation = explainer.explain(event, which);
        if explanation.rules.is_empty()
            && let Which::Named(name) = which
        {
            bail!("no rule is named {name:?}; `paramedic explain` with --all names them");
        }
        if args.api.json {
            told.push(as_json(*line, event, &explanation));
        } else {
            println!("{}", human(from, *line, event, &explanation, args));
        }
    }
    for (line, why) in &read.undecodable {
        eprintln!("{from}:{line}: {why}");
    }
    if args.api.json {
        let undecodable: Vec<Value> = read.undecodable.iter().map(|(line, why)| json!({"line": line, "why": why})).collect();
        println!("{}", json!({"events": told, "undecodable": undecodable}));
    }
    if read.events.is_empty() && !read.undecodable.is_empty() {
        bail!("nothing in {from} is an event of the format {}", args.format);
    }
    Ok(Done::Well)
}

/// The CMDB that the file describes.
fn cmdb(path: &Path, scope: &str) -> anyhow::Result<Cmdb> {
    let shown = || path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(shown)?;
    let delta = paramedic_formats::cmdb::parse(&text, scope, "explain", Timestamp::EPOCH, &|_| None);
    let delta = delta.map_err(anyhow::Error::msg).with_context(shown)?;
    let mut cmdb = Cmdb::default();
    delta.cis.into_iter().for_each(|ci| cmdb.put(ci));
    delta.relations.into_iter().for_each(|relation| cmdb.relate(relation));
    Ok(cmdb)
}

fn as_json(line: usize, event: &Event<'_>, explanation: &Explanation) -> Value {
    let mut value = json!(explanation);
    value["line"] = json!(line);
    value["event"] = json!(event);
    value
}

fn human(from: &str, line: usize, event: &Event<'_>, explanation: &Explanation, args: &ExplainArgs) -> String {
    let mut out = format!("{from}:{line}: {}\n", head(event));
    enriched(&mut out, explanation);
    let most = if args.all || args.rule.is_some() { usize::MAX } else { SHOWN };
    for told in explanation.rules.iter().take(most) {
        rule(&mut out, told);
    }
    let more = explanation.rules.len().saturating_sub(most);
    let left_out = explanation.left_out + more;
    match (explanation.rules.is_empty(), left_out) {
        (true, all) => {
            let _ = writeln!(out, "  none of the {all} rules is near to it; --all shows each");
        }
        (false, 0) => {}
        (false, 1) => out.push_str("  1 more rule is farther off; --all shows it\n"),
        (false, more) => {
            let _ = writeln!(out, "  {more} more rules are farther off; --all shows them");
        }
    }
    out
}

/// What `enrich` makes of the event before any rule sees it.
fn enriched(out: &mut String, explanation: &Explanation) {
    for FieldChange { field, written, .. } in &explanation.enriched {
        let value = written.as_deref().map_or_else(|| "missing".to_owned(), printable);
        let _ = writeln!(out, "  enriched: {field} is {value}");
    }
    for (at, why) in &explanation.enrich_failed {
        let _ = writeln!(out, "  a step of `enrich` failed and sets nothing: {at}: {}", printable(why));
    }
}

/// What a person would call the event.
fn head(event: &Event<'_>) -> String {
    let mut out = event.id.as_deref().map(|id| format!("event {id}: ")).unwrap_or_default();
    out.push_str(&event.type_);
    if let Some(ci) = event.ci.best() {
        let _ = write!(out, " on {ci}");
    }
    let _ = write!(out, ", {}", event.status.name());
    if let Some(phase) = event.phase {
        let _ = write!(out, " ({})", phase.name());
    }
    if event.severity.rank().is_some() {
        let _ = write!(out, ", {}", event.severity.name());
    }
    if let Some(value) = &event.value {
        let _ = write!(out, ", value {value}");
    }
    printable(&out)
}

fn rule(out: &mut String, told: &RuleTold) {
    let _ = write!(out, "  {}/{} ({}:{}): ", told.rulebook, told.rule, told.place.file, told.place.line);
    match told.failed {
        _ if told.matches => out.push_str("matches\n"),
        None => out.push_str("waits for no event\n"),
        Some(_) => out.push_str("does not match\n"),
    }
    if !told.matches {
        told.conditions.iter().filter(|c| c.awaited).for_each(|c| failed(out, c));
    }
    if let (false, Some(changes)) = (told.matches, &told.change) {
        let changes: Vec<String> = changes
            .iter()
            .map(|c| match &c.written {
                Some(value) => format!("{} = {value}", c.field),
                None => format!("no {}", c.field),
            })
            .collect();
        let _ = writeln!(out, "    it would match with {}", printable(&changes.join(" and ")));
    } else if !told.matches && told.failed.is_some() {
        out.push_str("    no change of one or two fields was found with which it would match\n");
    }
    for line in &told.then {
        let _ = writeln!(out, "    {}", printable(line));
    }
}

fn failed(out: &mut String, condition: &ConditionTold) {
    let failed: Vec<&ConjunctTold> = condition.conjuncts.iter().filter(|c| c.has_failed()).collect();
    let Some((first, rest)) = failed.split_first() else { return };
    let parts = condition.conjuncts.len();
    let _ = writeln!(out, "    {} ({} of {parts} parts failed), first: {}", condition.name, failed.len(), first.text);
    why(out, first);
    for other in rest {
        let _ = writeln!(out, "      also: {}", other.text);
        why(out, other);
    }
}

fn why(out: &mut String, conjunct: &ConjunctTold) {
    if let Some(note) = &conjunct.note {
        let _ = writeln!(out, "        {note}");
    }
    if let Held::Error(why) = &conjunct.held {
        let _ = writeln!(out, "        it failed: {}", printable(why));
    }
    for FieldTold { field, written, .. } in &conjunct.fields {
        let value = written.as_ref().map_or_else(|| "missing".to_owned(), |value| printable(value));
        let _ = writeln!(out, "        {field} is {value}");
    }
}
