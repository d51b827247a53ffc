//! `upon`: a record's step is an input too, taken in the same step, breadth-first, and never without end.

use paramedic_model::{
    AlertKey, Ci, CiRef, Id, IncidentMove, Kind, Named, Names, OwnedEvent, RunState, Severity, Window, WindowBody,
};
use paramedic_rulebook::{Ctx, EvalError, Pattern, Rule, RuleIx};
use serde::Serialize;
use serde_json::{Value, json};

use super::count::Counting;
use super::{Cx, Hit, Signal, Which};
use crate::decision::{Decided, Decision, Mark, Step};
use crate::step::event::key_of;
use crate::step::incident::OWN_RULEBOOK;

/// A step that follows from a step that follows... so many times.
const DEPTH: usize = 8;
/// And so many decisions of one input.
const DECISIONS: usize = 1_000;
/// The rule that the umbrella incident names.
const CUT: &str = "rules that trigger each other";

/// A record's step that some rule waits for.
#[derive(Clone, Debug)]
pub(in crate::step) struct Happened {
    depth: usize,
    /// `incident.opened`...
    step: &'static str,
    /// Its name in expressions, and itself.
    name: &'static str,
    named: Named,
    /// Of the record.
    id: Id,
    about: Option<String>,
    severity: Severity,
    /// It only would have been.
    shadow: bool,
}

impl Cx<'_> {
    /// Remembers what a decision was for rules that wait for it.
    pub(in crate::step) fn note(&mut self, decided: &Decided) {
        let Some(awaited) = self.engine.upon.get(&self.state.head.set) else { return };
        let new = match &decided.decision {
            Decision::Step(step) => self.happened(step, |step| awaited.contains_key(step)),
            Decision::Mark(Mark::AlertOpened { alert }) if awaited.contains_key("alert.opened") => {
                self.of_alert("alert.opened", &alert.key)
            }
            Decision::Mark(Mark::AlertClosed { alert, .. }) if awaited.contains_key("alert.resolved") => {
                self.of_alert("alert.resolved", alert)
            }
            _ => Vec::new(),
        };
        self.happened.extend(new);
    }

    fn happened(&self, step: &Step, awaited: impl Fn(&str) -> bool) -> Vec<Happened> {
        let incident = |name: &'static str, id: Id| self.of_incident(name, id).filter(|_| awaited(name));
        let found = match step {
            Step::IncidentOpened { incident: of } => incident("incident.opened", of.id),
            Step::Acknowledged { incident: of, .. } => incident("incident.acknowledged", *of),
            Step::IncidentMoved { incident: of, act, .. } => match act {
                IncidentMove::Resolve => incident("incident.resolved", *of),
                IncidentMove::Reopen => incident("incident.reopened", *of),
                IncidentMove::Close => incident("incident.closed", *of),
                _ => None,
            },
            Step::RunReported { report } => match report.state {
                RunState::Succeeded => self.of_run("run.succeeded", report.run),
                RunState::Failed => self.of_run("run.failed", report.run),
                RunState::Unknown => self.of_run("run.unknown", report.run),
                _ => None,
            }
            .filter(|happened| awaited(happened.step)),
            Step::CmdbChanged { delta } if awaited("ci.changed") => {
                return delta.cis.iter().map(|ci| self.of_ci(ci)).collect();
            }
            _ => None,
        };
        found.into_iter().collect()
    }

    fn of_incident(&self, step: &'static str, id: Id) -> Option<Happened> {
        // A closed one has left the working state.
        let closed = || self.state.dirty.incidents.get(&id).and_then(Option::as_ref);
        let incident = self.state.incidents.get(&id).or_else(closed)?;
        let mut record = record(incident);
        record["priority"] = json!(incident.priority());
        Some(Happened {
            depth: self.depth,
            step,
            name: "incident",
            named: Named::Record(record),
            id,
            about: incident.about.clone(),
            severity: incident.severity,
            shadow: incident.shadow,
        })
    }

    fn of_run(&self, step: &'static str, id: Id) -> Option<Happened> {
        let run = self.state.runs.get(&id)?;
        Some(Happened {
            depth: self.depth,
            step,
            name: "run",
            named: Named::Record(record(run)),
            id,
            about: Some(run.target.name.clone()),
            severity: Severity::Unknown,
            shadow: false,
        })
    }

    fn of_alert(&self, step: &'static str, key: &paramedic_model::AlertKey) -> Vec<Happened> {
        let Some(alert) = self.state.alerts.get(key) else { return Vec::new() };
        vec![Happened {
            depth: self.depth,
            step,
            name: "alert",
            named: Named::Record(record(alert)),
            id: Id::of(&json!(key)),
            about: alert.ci.best().map(str::to_owned),
            severity: alert.severity,
            shadow: false,
        }]
    }

    fn of_ci(&self, ci: &Ci) -> Happened {
        Happened {
            depth: self.depth,
            step: "ci.changed",
            name: "ci",
            named: Named::Ci(ci.id),
            id: ci.id,
            about: Some(ci.name.clone()),
            severity: Severity::Unknown,
            shadow: false,
        }
    }

    /// Rules see what has happened in this step, and what follows from it, breadth-first.
    pub(in crate::step) fn on_what_happened(&mut self) {
        while let Some(happened) = self.happened.pop_front() {
            if happened.depth >= DEPTH || self.out.len() >= DECISIONS {
                return self.cut(&happened);
            }
            self.depth = happened.depth + 1;
            let awaited = self.engine.upon.get(&self.state.head.set);
            for ix in awaited.and_then(|by_step| by_step.get(happened.step)).into_iter().flatten() {
                self.on_upon(*ix, &happened);
            }
        }
    }

    fn cut(&mut self, happened: &Happened) {
        self.happened.clear();
        self.ignore("cascade cut");
        let key = Id::of(&json!([self.scope, "cascade", happened.step]));
        if self.state.incident_of_key(key).is_some_and(|i| i.state.is_open()) {
            return;
        }
        let summary = format!(
            "Rules upon {} trigger each other without end in scope {}: cut after {DEPTH} steps",
            happened.step, self.scope
        );
        self.open_own(key, CUT, None, summary, "a cascade of rules was cut");
        self.happened.clear();
    }

    fn on_upon(&mut self, ix: RuleIx, happened: &Happened) {
        let Some(set) = self.evaluator(self.state.head.set).map(|e| std::sync::Arc::clone(e.borrow().set())) else {
            return;
        };
        let rule = set.rule(ix);
        if self.is_off(&set, ix) {
            return self.ignore("rule switched off");
        }
        // What only would have been is no cause of what is.
        let observes = set.autonomy(set.rulebook_of(rule)) == paramedic_model::Autonomy::Observe;
        if happened.shadow && !observes {
            return;
        }
        let event = happened.as_event(self.now);
        let alert = key_of(&event);
        let names = Names::from([(happened.name.to_owned(), happened.named.clone())]);
        let hit = Hit { event: &event, alert: &alert, names: &names };
        let by = match self.is_awaited(ix, rule, hit) {
            Ok(Some(by)) => by,
            Ok(None) => return,
            Err(EvalError::Missing(_)) => return self.ignore("a part of `by` is missing"),
            Err(EvalError::Script(_)) => return self.ignore("`upon` failed"),
        };
        let which = Which { set: std::sync::Arc::clone(&set), ix, by };
        self.begin_anew(&which);
        match counted(rule) {
            None => self.on_signal(&which, hit, Signal::Fires),
            Some(counting) => {
                let (signal, mut more) = self.on_counted(&which, hit, counting);
                more.extend(names.clone());
                self.on_signal(&which, Hit { names: &more, ..hit }, signal);
            }
        }
    }

    /// Whether what a record's step made so is still so, without a break: the incident open, the alert closed...
    pub(super) fn still_stands(&self, rule: &Rule, names: &Names) -> bool {
        let Pattern::Upon { step, count: None, .. } = &rule.pattern else { return true };
        // Whether it is the same occurrence of the record, and open.
        let now = match names.first_key_value() {
            Some((name, Named::Record(was))) if name == "incident" => {
                let id = was["id"].as_str().and_then(|id| id.parse().ok());
                let now = id.and_then(|id: Id| self.state.incidents.get(&id));
                now.map(|i| (json!(i.reopen_count) == was["reopen_count"], i.state.is_open()))
            }
            Some((name, Named::Record(was))) if name == "alert" => {
                let key = serde_json::from_value(was["key"].clone()).ok();
                let now = key.and_then(|key: AlertKey| self.state.alerts.get(&key));
                now.map(|a| (json!(a.began) == was["began"], a.is_open()))
            }
            _ => return true,
        };
        let wants_open = !step.ends_with(".resolved");
        // One that ended long ago is not kept.
        now.map_or(!wants_open, |(same, is_open)| same && is_open == wants_open)
    }

    /// What stayed so, and then did not, begins anew.
    fn begin_anew(&mut self, which: &Which) {
        if which.rule().stays.is_none() {
            return;
        }
        let id = self.window_id(which, Window::HOLDS);
        if let Some(WindowBody::Holds { names, .. }) = self.state.windows.get(&id).map(|w| &w.body)
            && !self.still_stands(which.rule(), names)
        {
            self.end_window(id);
        }
    }

    /// The values of `by`, where the rule waits for this one.
    fn is_awaited(&self, ix: RuleIx, rule: &Rule, hit: Hit<'_>) -> Result<Option<Vec<Value>>, EvalError> {
        let Some(evaluator) = self.evaluator(self.state.head.set) else { return Ok(None) };
        let mut evaluator = evaluator.borrow_mut();
        let names = self.bindings(hit.names);
        let ctx = Ctx { names: &names, ..Ctx::of(hit.event, self.about(hit), &self.state.cmdb, self.now) };
        if let Pattern::Upon { when: Some(when), .. } = rule.pattern
            && !evaluator.condition(when, &ctx)?
        {
            return Ok(None);
        }
        match rule.by {
            Some(_) => evaluator.by_of(ix, &ctx).map(Some),
            None => Ok(Some(vec![json!(&*hit.alert.source), json!(&*hit.alert.dedup_key)])),
        }
    }
}

impl Happened {
    /// What stands for an event where there is none.
    fn as_event(&self, now: paramedic_model::Timestamp) -> OwnedEvent {
        OwnedEvent {
            id: Some(self.id.to_string().into()),
            source: OWN_RULEBOOK.into(),
            kind: Kind::Log,
            type_: self.step.into(),
            severity: self.severity,
            dedup_key: Some(format!("{}/{}", self.step, self.id).into()),
            ci: CiRef { name: self.about.clone().map(Into::into), ..CiRef::default() },
            time: now,
            received: now,
            ..OwnedEvent::default()
        }
    }
}

/// What an `upon` counts.
pub(super) fn counted(rule: &Rule) -> Option<Counting> {
    match rule.pattern {
        Pattern::Upon { count: Some((at_least, within, distinct)), .. } => {
            Some(Counting { at_least, within, distinct })
        }
        _ => None,
    }
}

fn record(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or(Value::Null)
}
