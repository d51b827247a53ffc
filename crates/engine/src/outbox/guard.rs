//! The guards: what each says about a row, and which of them counts.

use paramedic_model::faults::planted;
use paramedic_model::{
    Autonomy, Effect, Emit, GuardSays, GuardVerdict, Halt, Incident, Order, OutboxRow, Page, Part, Run, Span, Timestamp,
};
use paramedic_rulebook::RuleSet;

/// How long a held-back row waits before the guards are asked again.
const ASK_AGAIN: Span = Span::from_secs(1);
/// And how long where a person ends the wait: there may be tens of thousands of them.
const ASK_AGAIN_HELD: Span = Span::from_secs(5);

/// What the guards look at.
#[derive(Clone, Copy, Debug)]
pub struct GuardInput<'a> {
    /// The wall clock.
    pub now: Timestamp,
    /// The halt that covers this row, if one does.
    pub halt: Option<&'a Halt>,
    /// The incident, with its number.
    pub incident: Option<&'a Incident>,
    /// The active rule set.
    pub set: &'a RuleSet,
    /// Another run may be acting on the target.
    pub target_busy: bool,
    /// Oldest release that may still act.
    pub max_action_age: Span,
    /// Since when the store may lack the end of what once was, and how that is known: then it may not know what was
    /// sent already, and a person looks at each run.
    pub recovered: Option<(Timestamp, &'a str)>,
    /// Of an event: the source that reads its topic, if one does.
    pub topic_read_by: Option<&'a str>,
}

/// Every guard's verdict, in the order in which people read them. An input that is missing denies.
pub fn judge(row: &OutboxRow, input: &GuardInput<'_>) -> Vec<GuardVerdict> {
    let verdict = |guard: &str, (says, reason): (GuardSays, String)| GuardVerdict {
        guard: guard.to_owned(),
        says,
        reason,
        at: input.now,
    };
    match &row.order {
        Order::Page(page) => vec![verdict("overtaken", overtaken(page, input))],
        Order::Emit(emit) => vec![
            verdict("halt", halt(input)),
            verdict("grant", grant_of_emit(emit, input)),
            verdict("age", age(row, input)),
            verdict("topic", topic(input)),
        ],
        Order::Run(run) => vec![
            verdict("halt", halt(input)),
            verdict("recovered", recovered(row, run, input)),
            verdict("staleness", staleness(run, input)),
            verdict("grant", grant(run, input)),
            verdict("age", age(row, input)),
            verdict("target", target(run)),
            verdict("concurrency", concurrency(run, input)),
        ],
    }
}

/// Deny before defer before allow; of two deferrals the later.
pub fn strictest(verdicts: &[GuardVerdict]) -> GuardSays {
    let mut says = GuardSays::Allow;
    for verdict in verdicts {
        says = match (&says, &verdict.says) {
            (GuardSays::Deny, _) | (_, GuardSays::Deny) => GuardSays::Deny,
            (GuardSays::Defer(a), GuardSays::Defer(b)) => GuardSays::Defer(*a.max(b)),
            (GuardSays::Defer(a), GuardSays::Allow) | (GuardSays::Allow, GuardSays::Defer(a)) => GuardSays::Defer(*a),
            (GuardSays::Allow, GuardSays::Allow) => GuardSays::Allow,
        };
    }
    says
}

type Says = (GuardSays, String);

fn allow(reason: impl Into<String>) -> Says {
    (GuardSays::Allow, reason.into())
}

fn deny(reason: impl Into<String>) -> Says {
    (GuardSays::Deny, reason.into())
}

fn later(input: &GuardInput<'_>, reason: impl Into<String>) -> Says {
    (GuardSays::Defer(input.now.plus(ASK_AGAIN)), reason.into())
}

fn held(input: &GuardInput<'_>, reason: impl Into<String>) -> Says {
    (GuardSays::Defer(input.now.plus(ASK_AGAIN_HELD)), reason.into())
}

fn halt(input: &GuardInput<'_>) -> Says {
    match input.halt {
        Some(halt) => held(input, format!("halted by {}: {}", halt.by, halt.reason)),
        None => allow("no halt"),
    }
}

/// Whether a run waits for a person, because the store may not know that it was sent already.
pub fn waits_for_clearing(row: &OutboxRow, recovered: Option<Timestamp>) -> bool {
    let Some(since) = recovered.filter(|_| !planted("restored_store_trusted")) else { return false };
    let Order::Run(run) = &row.order else { return false };
    run.effect != Effect::ReadOnly && row.cleared.as_ref().is_none_or(|(_, at)| *at < since)
}

fn recovered(row: &OutboxRow, run: &Run, input: &GuardInput<'_>) -> Says {
    let Some((since, why)) = input.recovered else { return allow("the store was not restored") };
    if waits_for_clearing(row, Some(since)) {
        let id = run.id;
        return held(
            input,
            format!(
                "{why}: it may have run already; `paramedic approve {id}` lets it go, `paramedic recovered end` all"
            ),
        );
    }
    match &row.cleared {
        Some((by, _)) => allow(format!("{by} has let it go")),
        None => allow("it only reads"),
    }
}

fn staleness(run: &Run, input: &GuardInput<'_>) -> Says {
    match input.incident {
        None => deny("its incident is not in the store"),
        Some(_) if matches!(Part::of(&run.step), Some(Part::Undo(_))) => {
            allow("what is taken back is taken back, whatever became of the incident")
        }
        Some(i) if !i.state.is_open() => deny(format!("its incident is {}", i.state.name())),
        Some(i) if !i.plan.current.contains(&run.id) => deny("its incident's plan has gone on without it"),
        Some(i) if i.evidence.is_some() => later(input, "recovery was seen; whether it stays is being waited for"),
        Some(_) => allow("its incident is open and wants it"),
    }
}

/// The rulebook's own `may` and the operator's grants, as they are now.
fn grant(run: &Run, input: &GuardInput<'_>) -> Says {
    let Some(book) = input.set.rulebooks.iter().find(|b| b.name == run.rulebook) else {
        return deny(format!("rulebook {} is not active any more", run.rulebook));
    };
    let autonomy = input.set.autonomy(book);
    let approved = run.decided_by.is_some();
    let enough = if approved { Autonomy::Propose } else { Autonomy::Auto };
    if autonomy < enough {
        return deny(format!("{} has autonomy {}", book.name, autonomy.name()));
    }
    let environment = run.target.environment.as_deref().unwrap_or("");
    if let Some(what) = book.may.refuses(&run.playbook, &run.target.class, environment) {
        return deny(format!("`may` of {} does not name {what}", book.name));
    }
    if let Some(line) = input.set.grants.for_rulebook(&book.name) {
        let names = |list: &Option<Vec<String>>, what: &str| list.as_ref().is_none_or(|l| l.iter().any(|x| x == what));
        if !names(&line.playbooks, &run.playbook) {
            return deny(format!("the operator's grant does not name playbook {}", run.playbook));
        }
        if !names(&line.ci_classes, &run.target.class) {
            return deny(format!("the operator's grant does not name class {}", run.target.class));
        }
        if !names(&line.environments, environment) {
            return deny(format!("the operator's grant does not name environment {environment:?}"));
        }
    }
    allow(format!("{} may, and is granted {}", book.name, autonomy.name()))
}

/// The rulebook's autonomy and the operator's grant, as they are now.
fn grant_of_emit(emit: &Emit, input: &GuardInput<'_>) -> Says {
    let Some(book) = input.set.rulebooks.iter().find(|b| b.name == emit.rulebook) else {
        return deny(format!("rulebook {} is not active any more", emit.rulebook));
    };
    match input.set.autonomy(book) {
        Autonomy::Auto => allow(format!("{} is granted auto", book.name)),
        less => deny(format!("{} has autonomy {}", book.name, less.name())),
    }
}

/// What we read ourselves is not sent to: it could feed the rule that sends it.
fn topic(input: &GuardInput<'_>) -> Says {
    match input.topic_read_by {
        Some(source) => deny(format!("source {source} reads it")),
        None => allow("no source reads it"),
    }
}

/// Where it waits for a person to clear it, its age counts from when they do.
fn age(row: &OutboxRow, input: &GuardInput<'_>) -> Says {
    if waits_for_clearing(row, input.recovered.map(|(since, _)| since)) {
        return allow("it waits for a person, and counts from when they let it go");
    }
    let cleared = row.cleared.as_ref().map(|(_, at)| *at);
    let age = input.now.since(cleared.map_or(row.released_at, |at| at.max(row.released_at)));
    if age > input.max_action_age {
        deny(format!("released {age} ago; the oldest that may act is {}", input.max_action_age))
    } else {
        allow(format!("released {:.1} s ago", age.as_secs_f64()))
    }
}

/// An empty target selects nothing and is an error, never "all".
fn target(run: &Run) -> Says {
    if run.target.name.trim().is_empty() || run.target.class.trim().is_empty() {
        deny("the target is empty")
    } else {
        allow(format!("{} {}", run.target.class, run.target.name))
    }
}

fn concurrency(run: &Run, input: &GuardInput<'_>) -> Says {
    if input.target_busy {
        later(input, format!("another run may be acting on {}", run.target.name))
    } else {
        allow("none in flight on its target")
    }
}

/// A page whose reason no longer holds is not sent.
fn overtaken(page: &Page, input: &GuardInput<'_>) -> Says {
    match input.incident {
        None => allow("its incident is not in the store yet"),
        Some(_) if page.step.starts_with("undo/") || page.step.starts_with("rollback/") => {
            allow("somebody must know that it was not taken back")
        }
        Some(i) if !i.state.is_open() => deny(format!("its incident is {}", i.state.name())),
        Some(i) if i.acknowledged.is_some() && page.reason.starts_with("nobody acknowledged") => {
            deny("it was acknowledged meanwhile")
        }
        Some(i) if page.step.starts_with("approve/") && i.plan.current.is_empty() => {
            deny("nothing waits for approval any more")
        }
        Some(_) => allow("its incident is open"),
    }
}
