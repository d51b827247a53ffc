//! What happened to an incident, in plain words.

use maud::{Markup, html};
use paramedic_engine::Step;
use paramedic_model::{Emit, GuardSays, GuardVerdict, HistoryRow, Id, IncidentMove, Run, RunState, Verdict};
use serde_json::Value;

use crate::incidents::Whole;
use crate::pages::clock;
use crate::runs::KnownRun;

/// Time, who, what and why of each step.
pub(crate) fn steps(whole: &Whole) -> Markup {
    html! {
        table {
            thead { tr { @for head in ["Time", "Who", "What", "Why"] { th { (head) } } } }
            tbody {
                @for row in &whole.history { tr {
                    td.time { (clock(row.at)) }
                    td { (actor(&row.actor)) }
                    td { (what(row, &whole.runs)) }
                    td.why { (row.reason) }
                } }
            }
        }
    }
}

/// `person:ann` is Ann; what else acts is named as it is.
fn actor(actor: &str) -> &str {
    actor.strip_prefix("person:").unwrap_or(actor)
}

/// A step in words; one of a later version, by its name.
fn what(row: &HistoryRow, runs: &[KnownRun]) -> String {
    match serde_json::from_value::<Step>(row.data.clone()) {
        Ok(step) => in_words(&step, runs),
        Err(_) => row.step.replace('_', " "),
    }
}

fn in_words(step: &Step, runs: &[KnownRun]) -> String {
    let run = |id: &Id| {
        let found = runs.iter().find(|known| known.run.id == *id);
        found.map_or_else(|| format!("run {id}"), |known| named(&known.run))
    };
    match step {
        Step::IncidentOpened { incident } => {
            format!("Opened with priority {}: {}", incident.priority(), incident.summary)
        }
        Step::IncidentMoved { act, code, notes, .. } => {
            let end = code.map(|c| format!(" as \"{}\"", c.name())).unwrap_or_default();
            let notes = notes.as_ref().map(|n| format!(": {n}")).unwrap_or_default();
            format!("{}{end}{notes}", moved(*act))
        }
        Step::IncidentRaised { severity, impact, urgency, .. } => {
            let priority = paramedic_model::priority(*impact, *urgency);
            format!("Raised to priority {priority}: the worst severity is now {}", severity.name())
        }
        Step::Suppressed { until, why, .. } => format!("Nobody is told and nothing is run until {until}: {why}"),
        Step::RuleContributes { share, .. } if share.cleared => {
            format!("{} of {} has cleared", share.rule, share.rulebook)
        }
        Step::RuleContributes { share, .. } => {
            format!("{} of {} contributes by the same key", share.rule, share.rulebook)
        }
        Step::AlertJoined { alert, .. } => format!("Another alert joined: {} of {}", alert.dedup_key, alert.source),
        Step::Acknowledged { by, .. } => format!("Acknowledged by {by}"),
        Step::EvidenceSeen { evidence, .. } => format!("Recovery was seen, by an event of {}", clock(evidence.time)),
        Step::EvidenceLost { .. } => "The condition came back: the recovery does not count".to_owned(),
        Step::RunDecided { run, .. } => decided(run),
        Step::SpreadDecided { targets, .. } => {
            format!("It goes to {} targets more, wave by wave, when it is well on the first", targets.len())
        }
        Step::TargetRecovered { run: id, evidence } => {
            format!("The target of {} is well, by an event of {}", run(id), clock(evidence.time))
        }
        Step::TargetLost { run: id, .. } => format!("The target of {} is not well any more", run(id)),
        Step::RemedySkipped { index, why, .. } => format!("Remedy {} was skipped: {why}", index + 1),
        Step::RunReleased { run: id, by } => format!("{by} approved {}", run(id)),
        Step::RunRejected { run: id, by, why } => format!("{by} rejected {}: {why}", run(id)),
        Step::RunWithdrawn { run: id, why } => format!("{} was withdrawn: {why}", run(id)),
        Step::RunReported { report } => {
            let said = if report.message.is_empty() { String::new() } else { format!(": {}", report.message) };
            format!("{} {}{said}", run(&report.run), became(report.state))
        }
        Step::RunJudged { run: id, verdict } => format!("{} {}", run(id), judged(*verdict)),
        Step::RemediesFailed { .. } => "Every remedy was tried, and none is verified".to_owned(),
        Step::PageDecided { page } if page.shadow => format!("Would have told {}: {}", page.to, page.reason),
        Step::PageDecided { page } => format!("Telling {}: {}", page.to, page.reason),
        Step::PageReported { delivered: true, message, .. } => format!("The page was delivered: {message}"),
        Step::PageReported { delivered: false, message, .. } => format!("The page was NOT delivered: {message}"),
        Step::EmitDecided { emit } if emit.shadow => {
            format!("Would have sent {} to topic {}", emitted(emit), emit.topic)
        }
        Step::EmitDecided { emit } => format!("Sending {} to topic {}", emitted(emit), emit.topic),
        Step::EmitReported { report } => {
            format!("An event to topic {} was NOT delivered: {}", report.topic, report.message)
        }
        Step::Noted { text, .. } => format!("Note: {text}"),
        Step::CmdbChanged { delta } => {
            format!("CMDB changed: {} CIs, {} relations", delta.cis.len(), delta.relations.len())
        }
        Step::RulesChanged { set } => format!("Other rules from here on: {set}"),
        Step::Operator { act, by, run: Some(id), .. } if act == "clear" => format!("{by} has let {} go", run(id)),
        Step::Operator { act, by, why, .. } => format!("{act} by {by}: {why}"),
    }
}

const fn moved(act: IncidentMove) -> &'static str {
    match act {
        IncidentMove::Start => "In progress",
        IncidentMove::Hold => "On hold",
        IncidentMove::Resume => "In progress again",
        IncidentMove::Resolve => "Resolved",
        IncidentMove::Reopen => "Reopened",
        IncidentMove::Close => "Closed",
        IncidentMove::Cancel => "Canceled",
    }
}

/// The type of an event of our own.
fn emitted(emit: &Emit) -> &str {
    emit.event.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn named(run: &Run) -> String {
    format!("{} on {}", run.playbook, run.target.name)
}

fn decided(run: &Run) -> String {
    match run.state {
        RunState::Proposed => format!("{} is proposed, and waits for a person", named(run)),
        RunState::WouldBe => format!("{} would have been run", named(run)),
        _ => format!("{} is to be run", named(run)),
    }
}

const fn became(state: RunState) -> &'static str {
    match state {
        RunState::WouldBe => "would have been run",
        RunState::Proposed => "is proposed",
        RunState::Rejected => "was rejected",
        RunState::Pending => "waits for the guards",
        RunState::Started => "has started",
        RunState::Accepted => "was accepted, and is being worked on",
        RunState::Succeeded => "says that it worked; only evidence resolves",
        RunState::Failed => "failed",
        RunState::Unknown => "has an unknown outcome; a person may settle it",
        RunState::Denied => "was denied by a guard",
        RunState::Cancelled => "was withdrawn",
    }
}

const fn judged(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Verified => "is verified: recovery was seen, and stayed",
        Verdict::NotVerified => "is not verified: no recovery in time",
        Verdict::Ambiguous => "may have helped: another remedy had been started before recovery was seen",
    }
}

/// The runs, with what guards and evidence said.
pub(crate) fn runs(whole: &Whole) -> Markup {
    html! {
        table {
            thead { tr { @for head in ["Run", "State", "Started", "Said", "Evidence", "Guards"] { th { (head) } } } }
            tbody {
                @for known in &whole.runs { tr {
                    td { (named(&known.run)) br; code { (known.run.id) } }
                    td { (known.run.state.name().replace('_', " ")) }
                    td.time { (known.run.started_at.map(clock).unwrap_or_default()) }
                    td { (known.run.message.as_deref().unwrap_or_default()) }
                    td { (known.run.verdict.map(judged).unwrap_or_default()) }
                    td { @if let Some(row) = &known.row { @for v in &row.verdicts { (guard(v)) } } }
                } }
            }
        }
    }
}

fn guard(verdict: &GuardVerdict) -> Markup {
    let says = match &verdict.says {
        GuardSays::Allow => "yes".to_owned(),
        GuardSays::Defer(until) => format!("not before {}", clock(*until)),
        GuardSays::Deny => "no".to_owned(),
    };
    html! { div.deny[verdict.says == GuardSays::Deny] { (verdict.guard) ": " (says) " (" (verdict.reason) ")" } }
}

/// Who was told, and whether it arrived.
pub(crate) fn pages(whole: &Whole) -> Markup {
    html! {
        table {
            thead { tr { @for head in ["Time", "To", "Why", "Delivery"] { th { (head) } } } }
            tbody {
                @for (page, sent) in &whole.pages { tr {
                    td.time { (clock(page.decided_at)) }
                    td { (page.to) }
                    td { (page.reason) }
                    td {
                        @match sent {
                            Some((state, message)) => { (state.name()) " " (message.as_deref().unwrap_or_default()) }
                            None if page.shadow => { "would have been sent" }
                            None => { "not in the outbox" }
                        }
                    }
                } }
            }
        }
    }
}
