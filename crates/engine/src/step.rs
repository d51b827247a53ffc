//! What should happen: a pure function of state, input and time. Reads as a table of contents.

mod act;
mod actions;
mod approval;
mod blind;
mod emit;
mod escalate;
mod event;
mod evidence;
mod failing;
mod incident;
mod pattern;
mod questions;
mod remedy;
mod report;
mod resolve;
mod seen;
mod share;
mod source;
mod spread;
mod suppress;
mod take_back;
#[cfg(test)]
mod tests;
mod write_back;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub use event::{event_input_id, write_input_id};
pub use failing::{RuleFailed, rule_failed};
use paramedic_model::{
    CmdbDelta, Digest, EmitReport, Id, InboxBody, Incident, OperatorAct, OwnedEvent, PageReport, RunReport, Timer,
    TimerKind, Timestamp,
};
use paramedic_rulebook::{Evaluator, Matches, Pattern, Rule, RuleIx, RuleSet};
use pattern::upon::Happened;
use serde_json::json;
pub use source::stopped_source;

use crate::decision::{Because, Decided, Decision, Mark, Step};
use crate::state::State;

/// What comes in, one at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// An event that matched something, or a resolve.
    Event(Box<EventInput>),
    /// A timer whose time has come.
    TimerDue(Timer),
    /// The dispatcher tells about a run.
    RunReported(RunReport),
    /// The dispatcher tells about a page.
    PageReported(PageReport),
    /// The dispatcher tells about an event.
    EmitReported(EmitReport),
    /// A person acts.
    Operator {
        /// Who.
        by: String,
        /// What.
        act: OperatorAct,
    },
    /// The CMDB is edited or imported.
    Cmdb(CmdbDelta),
    /// Another rule set from here on.
    RulebooksPublished(Digest),
    /// A source must not be gone on with before a person has looked.
    SourceStopped {
        /// Its name among positions.
        position: String,
        /// Why.
        why: String,
    },
    /// It is taken from again.
    SourceBack {
        /// Its name among positions.
        position: String,
    },
}

impl Input {
    /// What an inbox entry puts before the engine. `None`: what its shell decodes or matches first, a webhook's message
    /// and an event that another shard handed over; that comes as an [`Input::Event`].
    pub fn from_inbox(body: &InboxBody) -> Option<Self> {
        Some(match body {
            InboxBody::Message(_) | InboxBody::Handed(_) => return None,
            InboxBody::RunReported(report) => Input::RunReported(report.clone()),
            InboxBody::PageReported(report) => Input::PageReported(report.clone()),
            InboxBody::EmitReported(report) => Input::EmitReported(report.clone()),
            InboxBody::Operator { by, act } => Input::Operator { by: by.clone(), act: act.clone() },
            InboxBody::Cmdb(delta) => Input::Cmdb(delta.clone()),
            InboxBody::RulebooksPublished(set) => Input::RulebooksPublished(*set),
            InboxBody::SourceStopped { position, why, .. } => {
                Input::SourceStopped { position: position.clone(), why: why.clone() }
            }
            InboxBody::SourceBack { position, .. } => Input::SourceBack { position: position.clone() },
        })
    }
}

/// An event with its matches, and the rule set that they were found under.
#[derive(Clone, Debug, PartialEq)]
pub struct EventInput {
    /// As sent: what `enrich` makes of it is in the matches.
    pub event: OwnedEvent,
    /// What it matched, and what `enrich` changed.
    pub matches: Matches,
    /// Under this set; under another it is matched again.
    pub set: Digest,
}

/// Bounds that are the operator's to set.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open incidents in a scope, and half of those that are not closed yet; beyond, one umbrella incident.
    pub open_incidents: usize,
    /// Windows of a rule in a scope; beyond, the one that changed least recently gives way.
    pub windows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { open_incidents: 100_000, windows: 100_000 }
    }
}

/// What a step is blind to.
#[derive(Clone, Copy, Debug)]
pub struct Away<'a> {
    /// Sources that are away or stopped.
    pub sources: &'a [String],
    /// Where the clock is going: timers that are due by then fire now, one after the other.
    pub until: Timestamp,
}

/// Decides. One a thread: it holds compiled rule sets, the active one and those of open incidents.
#[derive(Default)]
pub struct Engine {
    sets: BTreeMap<Digest, RefCell<Evaluator>>,
    /// Rules that wait for CIs of the CMDB, or for a time, by set.
    waiting: BTreeMap<Digest, Vec<RuleIx>>,
    /// Rules that suppress, by set.
    suppressing: BTreeMap<Digest, Vec<RuleIx>>,
    /// Rules that wait for a record's step, by set and step.
    upon: BTreeMap<Digest, BTreeMap<String, Vec<RuleIx>>>,
    limits: Limits,
}

impl Engine {
    /// Knows no rule set yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Makes a rule set known; one that is known stays.
    pub fn learn(&mut self, set: Arc<RuleSet>) {
        let waits =
            |rule: &&Rule| matches!(rule.pattern, Pattern::Absent { for_each: Some(_), .. } | Pattern::Every { .. });
        let waiting: Vec<RuleIx> = set.rules.iter().filter(waits).map(|rule| rule.ix).collect();
        if !waiting.is_empty() {
            self.waiting.insert(set.digest, waiting);
        }
        let suppressing: Vec<RuleIx> = set.rules.iter().filter(|r| r.suppress.is_some()).map(|r| r.ix).collect();
        if !suppressing.is_empty() {
            self.suppressing.insert(set.digest, suppressing);
        }
        for rule in &set.rules {
            if let Pattern::Upon { step, .. } = &rule.pattern {
                let rules = self.upon.entry(set.digest).or_default().entry(step.clone()).or_default();
                if !rules.contains(&rule.ix) {
                    rules.push(rule.ix);
                }
            }
        }
        self.sets.entry(set.digest).or_insert_with(|| RefCell::new(Evaluator::new(set)));
    }

    /// Forgets all rule sets but these.
    pub(crate) fn keep(&mut self, used: &BTreeSet<Digest>) {
        self.sets.retain(|set, _| used.contains(set));
        self.waiting.retain(|set, _| used.contains(set));
        self.upon.retain(|set, _| used.contains(set));
        self.suppressing.retain(|set, _| used.contains(set));
    }

    /// Whether a rule set is known.
    pub fn knows(&self, set: Digest) -> bool {
        self.sets.contains_key(&set)
    }

    fn waiting_rules(&self, set: Digest) -> &[RuleIx] {
        self.waiting.get(&set).map_or(&[], Vec::as_slice)
    }

    /// Decides what follows from one input. `state` is changed by exactly the decisions that are returned, in
    /// order; nothing else happens. `input_id` names the input; the same input gives the same decisions.
    /// `away`: what it is blind to.
    pub fn step(
        &self,
        state: &mut State,
        scope: &str,
        input_id: &str,
        input: &Input,
        now: Timestamp,
        away: Away<'_>,
    ) -> Vec<Decided> {
        let happened = VecDeque::new();
        let (out, worked) = (Vec::new(), BTreeSet::new());
        let input_id = Arc::from(input_id);
        let mut cx = Cx {
            engine: self,
            state,
            scope,
            input: input_id,
            now,
            away,
            sent_key: None,
            out,
            happened,
            depth: 0,
            worked,
        };
        cx.begin_to_wait();
        match input {
            Input::Event(event) => cx.on_event(event),
            Input::TimerDue(timer) => cx.on_timer(timer),
            Input::RunReported(report) => cx.on_run_report(report),
            Input::PageReported(report) => cx.on_page_report(report),
            Input::EmitReported(report) => cx.on_emit_report(report),
            Input::Operator { by, act } => cx.on_operator(by, act),
            Input::Cmdb(delta) => cx.on_cmdb(delta),
            Input::RulebooksPublished(set) => {
                cx.step(Step::RulesChanged { set: *set }, "engine", "another rule set was published");
                cx.on_windows_of_new_set();
                cx.begin_to_wait();
            }
            Input::SourceStopped { position, why } => cx.on_source_stopped(position, why),
            Input::SourceBack { position } => cx.on_source_back(position),
        }
        cx.on_what_happened();
        while cx.settle_failures() {
            cx.on_what_happened();
        }
        cx.out
    }
}

/// One step in the making.
struct Cx<'a> {
    engine: &'a Engine,
    state: &'a mut State,
    scope: &'a str,
    input: Arc<str>,
    now: Timestamp,
    away: Away<'a>,
    /// Of the event in hand as sent, where `enrich` made another of it.
    sent_key: Option<Arc<str>>,
    out: Vec<Decided>,
    /// Steps of records that rules wait for, and that they have not seen yet.
    happened: VecDeque<Happened>,
    /// How many steps this follows from.
    depth: usize,
    /// Rules of the active set that did their work in this step.
    worked: BTreeSet<RuleIx>,
}

impl Cx<'_> {
    fn decide(&mut self, decision: Decision, actor: &str, reason: String) {
        // The id names a history row; a mark has none.
        let id = match &decision {
            Decision::Step(_) => Id::of(&json!(["decision", self.scope, self.input, self.out.len()])),
            Decision::Mark(_) => Id::default(),
        };
        let because = Because { input: Arc::clone(&self.input), actor: actor.to_owned(), reason };
        let decided = Decided { id, at: self.now, because, decision };
        self.state.apply(&decided);
        let changed = match &decided.decision {
            Decision::Step(Step::CmdbChanged { delta }) if !self.engine.waiting.is_empty() => delta.cis.clone(),
            _ => Vec::new(),
        };
        self.note(&decided);
        self.out.push(decided);
        if !changed.is_empty() {
            self.on_cis_changed(&changed);
        }
    }

    fn step(&mut self, step: Step, actor: &str, reason: impl Into<String>) {
        self.decide(Decision::Step(step), actor, reason.into());
    }

    fn mark(&mut self, mark: Mark) {
        self.decide(Decision::Mark(mark), "", String::new());
    }

    fn ignore(&mut self, why: &str) {
        self.mark(Mark::Ignored { why: why.to_owned() });
    }

    /// The evaluator of a set; `None` only where the shell forgot to make it known.
    fn evaluator(&self, set: Digest) -> Option<&RefCell<Evaluator>> {
        self.engine.sets.get(&set)
    }

    /// The rule that an incident was opened under, with its set.
    fn rule_of(&self, incident: &Incident) -> Option<(Arc<RuleSet>, Rule)> {
        let set = Arc::clone(self.evaluator(incident.set)?.borrow().set());
        let rule = set.find(&incident.rulebook, &incident.rule)?.clone();
        Some((set, rule))
    }

    fn set_timer(&mut self, incident: Id, what: TimerKind, due: Timestamp) {
        let timer = Timer { id: what.id(incident), due, incident, what };
        self.mark(Mark::TimerSet { timer });
    }

    fn drop_timer(&mut self, incident: Id, what: &TimerKind) {
        let timer = what.id(incident);
        if self.state.timers.contains_key(&timer) {
            self.mark(Mark::TimerGone { timer });
        }
    }

    fn on_timer(&mut self, timer: &Timer) {
        self.mark(Mark::TimerGone { timer: timer.id });
        match &timer.what {
            TimerKind::VerifyWithin { run } => self.on_not_verified(timer.incident, *run),
            TimerKind::Hold => self.on_held(timer.incident),
            TimerKind::Wave => self.on_wave_due(timer.incident),
            TimerKind::Escalate { step } => self.on_escalation_due(timer.incident, *step),
            TimerKind::Repeat { step } => self.on_repeat_due(timer.incident, *step),
            TimerKind::Approval { run } => self.on_approval_expired(timer.incident, *run),
            TimerKind::Undo { run } => self.on_undo_due(timer.incident, *run),
            TimerKind::Close => self.on_close_due(timer.incident),
            TimerKind::Window => self.on_window_due(timer.incident),
        }
    }
}

/// `rulebook/rule@digest`, as history names an actor.
pub fn actor(set: &RuleSet, rule: &Rule) -> String {
    let book = set.rulebook_of(rule);
    let digest = book.digest.to_string();
    format!("{}/{}@{}", book.name, rule.name, &digest[..12])
}
