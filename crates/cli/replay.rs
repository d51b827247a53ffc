//! `paramedic replay`: past events against rulebooks, or a live history once more.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use paramedic_model::{Grants, Timestamp};
use paramedic_rulebook::{DEFAULT_SCOPE, ScopeExpr};
use paramedic_sim::replay::Listed;
use paramedic_sim::{ReplayOptions, Report, RunsBehave, replay_messages};
use serde::Serialize;

use crate::args::{ReplayArgs, Runs};
use crate::{Done, Outcome, rules};

mod against;
mod input;
pub(crate) mod journal;

pub(crate) fn replay(args: &ReplayArgs) -> Outcome {
    if args.journal {
        return journal::replay(args);
    }
    let (Some(folder), Some(events)) = (&args.rules, &args.events) else {
        bail!("--rules and --events are needed");
    };
    let set = rules::set(folder, &Grants::AsAsked)?;
    let format = paramedic_formats::format(&args.format).ok_or_else(|| {
        let known: Vec<_> = paramedic_formats::FORMATS.iter().map(|f| f.name).collect();
        anyhow!("no format is named {:?}; there are {}", args.format, known.join(", "))
    })?;
    let mut options = ReplayOptions::new(format);
    options.source.clone_from(&args.source);
    options.scope = args.scope.as_deref().map(ScopeExpr::parse).transpose().map_err(|e| anyhow!("--scope: {e}"))?;
    options.sort_by_time = args.sort.is_some();
    options.runs = match args.runs {
        Runs::Ok => RunsBehave::Ok,
        Runs::Silent => RunsBehave::Silent,
        Runs::Fail => RunsBehave::Fail,
    };
    options.threads = usize::from(args.threads);
    options.batch = args.batch as usize;
    options.differences = args.differences;
    options.list = args.list;
    options.cmdb = match &args.cmdb {
        Some(path) => Some(std::fs::read_to_string(path).with_context(|| path.display().to_string())?),
        None => None,
    };
    let mut messages = input::open(args, events, &mut options)?;
    if let Some(against) = &args.against {
        return against::compare(args, &set, against, messages.as_mut(), &options);
    }
    let bar = progress();
    let mut told = |events: u64| bar.set_position(events);
    let report = replay_messages(set, messages.as_mut(), &options, &mut told);
    bar.finish_and_clear();
    let report = report?;
    tell_undecodable(args, &report);
    tell_failed(&report);
    print(args, &report, || human(&report, events))?;
    Ok(Done::Well)
}

fn tell_undecodable(args: &ReplayArgs, report: &Report) {
    let events = args.events.as_deref().unwrap_or(Path::new("-")).display();
    for (line, why) in &report.undecodable {
        eprintln!("{events}:{line}: {why}");
    }
    if report.late > 0 {
        eprintln!(
            "note: {} of {} events are more than a minute older than one before them, and are taken as of its time; \
             `--sort time` takes them in the order of their times",
            report.late, report.events
        );
    }
}

fn tell_failed(report: &Report) {
    for failed in &report.failed {
        let off = if failed.switched_off { ", and is switched off" } else { "" };
        eprintln!("{}: rule {} failed {} times{off}: {}", failed.at, failed.rule, failed.times, failed.why);
    }
    let failed = &report.enrich_failed;
    for (at, why) in &failed.first {
        eprintln!("{at}: a step of `enrich` failed, and set nothing: {why}");
    }
    if failed.times > failed.first.len() as u64 {
        eprintln!("steps of `enrich` failed {} times in all", failed.times);
    }
}

/// As JSON, for people, or for people with the JSON in a file.
fn print(args: &ReplayArgs, report: &impl Serialize, human: impl Fn() -> String) -> anyhow::Result<()> {
    match &args.json {
        Some(None) => println!("{}", serde_json::to_string(report)?),
        Some(Some(path)) => {
            std::fs::write(path, serde_json::to_string(report)? + "\n").with_context(|| path.display().to_string())?;
            println!("{}", human());
        }
        None => println!("{}", human()),
    }
    Ok(())
}

/// On a terminal; none in a pipe.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} events, {per_sec}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn human(r: &Report, events: &Path) -> String {
    let span = match (r.first_event, r.last_event) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "none".to_owned(),
    };
    let emits = if r.emits > 0 { format!("emits       {}\n", r.emits) } else { String::new() };
    let some = |n: u64, what: &str| (n > 0).then(|| format!("{n} {what}"));
    let kinds = [
        some(r.runs_would_be, "would have been"),
        some(r.runs_proposed, "proposed to a person"),
        some(r.runs_denied, "denied by a guard"),
        some(r.remedies_skipped, "remedies passed over"),
    ];
    let kinds: String = kinds.into_iter().flatten().map(|kind| format!(", {kind}")).collect();
    let mut out = format!(
        "events      {} ({span}), {} matched, {} undecodable\n\
         incidents   {} opened, {} resolved, {} open at the end\n\
         runs        {}{kinds}\npages       {}\n{emits}\
         decisions   {}\ntook        {} ms",
        r.events,
        r.matched,
        r.dead_letter,
        r.incidents_opened,
        r.incidents_resolved,
        r.incidents_open_at_end,
        r.runs,
        r.escalations,
        r.decisions_digest,
        r.duration_ms
    );
    let file = events.display().to_string();
    for incident in r.incidents.iter().flatten() {
        let _ = write!(out, "\n{}", listed(incident, &file));
    }
    if let Some(more @ 1..) = r.incidents_left_out {
        let _ = write!(out, "\n... and {more} more (--list={} lists them)", r.incidents_opened);
    }
    out
}

fn listed(incident: &Listed, file: &str) -> String {
    let about = incident.about.as_ref().map(|about| format!(" about {about}")).unwrap_or_default();
    let scope = if incident.scope == DEFAULT_SCOPE { String::new() } else { format!("{}: ", incident.scope) };
    let by = match (&incident.by_event, incident.armed_at) {
        (Some(event), None) => format!("{file}:{}", event.line),
        (Some(event), Some(armed)) => format!("{file}:{}, since {}", event.line, short(armed)),
        (None, Some(armed)) => format!("by a timer, since {}", short(armed)),
        (None, None) => "by no event".to_owned(),
    };
    let ended = incident.resolved_at.map_or_else(|| "open at the end".to_owned(), |at| format!("resolved {}", short(at)));
    let shadow = if incident.shadow { ", would have been" } else { "" };
    format!(
        "{}  {scope}{}/{}{about}, priority {}{shadow}\n    {}\n    {by}; {ended}",
        short(incident.opened_at),
        incident.rulebook,
        incident.rule,
        incident.priority,
        incident.summary
    )
}

/// An instant; on a whole second without its nine zeros.
fn short(at: Timestamp) -> String {
    let text = at.to_string();
    text.strip_suffix(".000000000Z").map_or_else(|| text.clone(), |seconds| format!("{seconds}Z"))
}
