//! Remedies: the next one, its target and parameters, and what evidence says about it.

use std::collections::BTreeMap;

use paramedic_model::{
    Autonomy, Ci, Id, Incident, IncidentMove, IncidentState, Part, Playbook, Run, RunState, Target, TimerKind, Verdict,
};
use paramedic_rulebook::{Ctx, EscalateAt, Field, RemedyStep, Rule, RuleSet, Spread, TargetSpec, cis_of};
use serde_json::Value;

use super::{Cx, actor};
use crate::decision::Step;

/// The step path of a remedy.
pub(super) fn path(index: usize) -> String {
    Part::Remedy(index).to_string()
}

/// The remedy of a step path.
pub(super) fn index(path: &str) -> Option<usize> {
    match Part::of(path)? {
        Part::Remedy(index) => Some(index),
        Part::Rollback(_) | Part::Undo(_) => None,
    }
}

/// What is to be run, on what.
pub(super) struct Ordered<'p> {
    pub(super) part: Part,
    pub(super) round: u32,
    pub(super) playbook: &'p Playbook,
    pub(super) target: Target,
    pub(super) parameters: BTreeMap<String, Value>,
}

impl Cx<'_> {
    /// Goes on with the first untried remedy that can be run here; with none left, says so.
    pub(super) fn plan_next(&mut self, id: Id) {
        loop {
            let Some(incident) = self.state.incidents.get(&id).filter(|i| i.state.is_open()) else { return };
            if !incident.plan.current.is_empty() || incident.plan.exhausted || self.suppression_of(incident).is_some() {
                return;
            }
            let Some((set, rule)) = self.rule_of(incident) else { return };
            if rule.remedy.is_empty() {
                return;
            }
            let next = incident.plan.next;
            let who = actor(&set, &rule);
            let Some(step) = rule.remedy.get(next) else {
                let ran = self.state.runs_of.get(&id).is_some_and(|runs| !runs.is_empty());
                let (tried, failed) = match ran {
                    true => ("every remedy was tried", "every remedy failed"),
                    false => ("no remedy could be run", "no remedy could be run: see why each was skipped"),
                };
                self.step(Step::RemediesFailed { incident: id }, &who, tried);
                return self.escalate_on(id, EscalateAt::RemediesFailed, "", failed);
            };
            // Under `record` only the first remedy is decided: whether it would have worked, nobody knows.
            let autonomy = self.autonomy_of(incident, &set, &rule);
            if next > 0 && autonomy <= Autonomy::Record {
                return;
            }
            let made = match self.is_step_wanted(incident, &set, step) {
                Ok(()) => self.make_run(incident, &set, &rule, step, next, autonomy),
                Err(why) => Err(why),
            };
            match made {
                Ok((run, ahead)) => return self.decide_run(run, &ahead, next, &who),
                Err(why) => {
                    let reason = why.clone();
                    self.step(Step::RemedySkipped { incident: id, index: next, why }, &who, reason);
                }
            }
        }
    }

    /// Asked when it is the step's turn; what is unknown is no.
    pub(super) fn is_step_wanted(&self, incident: &Incident, set: &RuleSet, step: &RemedyStep) -> Result<(), String> {
        let Some(expr) = step.only_if else { return Ok(()) };
        match self.with_event(incident, set, |evaluator, ctx| evaluator.condition(expr, ctx)) {
            Ok(true) => Ok(()),
            Ok(false) => Err("its only_if does not hold".to_owned()),
            Err(why) => Err(format!("its only_if: {why}")),
        }
    }

    /// Asked again when a person lets a run go that waited for them.
    pub(super) fn is_still_wanted(&self, run: Id) -> Result<(), String> {
        let run = self.state.runs.get(&run).ok_or("it is not known any more")?;
        let incident = self.state.incidents.get(&run.incident).ok_or("its incident is not known any more")?;
        let (set, rule) = self.rule_of(incident).ok_or("its rule is not known any more")?;
        match index(&run.step).and_then(|step| rule.remedy.get(step)) {
            Some(step) => self.is_step_wanted(incident, &set, step),
            None => Ok(()),
        }
    }

    /// What the active set's grants leave of what the rulebook asked when the incident was opened.
    /// An incident that would have been stays one.
    pub(super) fn autonomy_of(&self, incident: &Incident, opened_under: &RuleSet, rule: &Rule) -> Autonomy {
        if incident.shadow {
            return Autonomy::Observe;
        }
        let book = opened_under.rulebook_of(rule);
        match self.evaluator(self.state.head.set) {
            Some(active) => active.borrow().set().grants.effective(&book.name, book.autonomy),
            None => Autonomy::Observe,
        }
    }

    fn decide_run(&mut self, run: Run, ahead: &[Target], index: usize, who: &str) {
        let (incident, state, id) = (run.incident, run.state, run.id);
        let then = Spread::and_then_on(ahead.len());
        let reason = match state {
            RunState::WouldBe => format!("would run {} on {}{then}", run.playbook, run.target.name),
            RunState::Proposed => format!("proposes {} on {}{then}", run.playbook, run.target.name),
            _ => format!("{} on {}{then}", run.playbook, run.target.name),
        };
        if !ahead.is_empty() && state != RunState::WouldBe {
            let names: Vec<&str> = ahead.iter().map(|target| target.name.as_str()).collect();
            let targets = ahead.iter().map(|target| target.id).collect();
            let reason =
                format!("{} on {}, and when it is well there on {}", run.playbook, run.target.name, names.join(", "));
            self.step(Step::SpreadDecided { incident, targets }, who, reason);
        }
        self.step(Step::RunDecided { run: Box::new(run), index }, who, reason);
        if state == RunState::Proposed {
            self.ask_for_approval(id, index);
        }
        let is_new = self.state.incidents.get(&incident).is_some_and(|i| i.state == IncidentState::New);
        if state == RunState::Pending && is_new {
            self.move_to(incident, IncidentMove::Start, who, "a remedy is under way".to_owned(), None);
        }
    }

    /// The run of a remedy, and the targets to which it goes after its own.
    fn make_run(
        &self,
        incident: &Incident,
        set: &RuleSet,
        rule: &Rule,
        step: &RemedyStep,
        index: usize,
        autonomy: Autonomy,
    ) -> Result<(Run, Vec<Target>), String> {
        let playbook =
            set.playbooks.get(&step.playbook).ok_or_else(|| format!("no playbook is named {}", step.playbook))?;
        let mut targets = self.targets_of(incident, set, step)?;
        let parameters = playbook.bind(&self.parameters(incident, set, step)?).map_err(|e| e.to_string())?;
        let state = match autonomy {
            Autonomy::Observe | Autonomy::Record => RunState::WouldBe,
            Autonomy::Propose => RunState::Proposed,
            Autonomy::Auto if step.approve.is_some() => RunState::Proposed,
            Autonomy::Auto => RunState::Pending,
        };
        // Nobody is asked about what may not be run, and no spread begins that could not go to its end.
        if state == RunState::Proposed || targets.len() > 1 {
            let book = set.rulebook_of(rule);
            for target in &targets {
                let environment = target.environment.as_deref().unwrap_or("");
                if let Some(what) = book.may.refuses(&playbook.name, &target.class, environment) {
                    return Err(format!("`may` of {} does not name {what}, of {}", book.name, target.name));
                }
            }
        }
        let ahead = targets.split_off(targets.len().min(1));
        let target = targets.pop().ok_or("it has no target")?;
        let ordered = Ordered { part: Part::Remedy(index), round: incident.plan.round, playbook, target, parameters };
        Ok((self.new_run(incident, set, rule, ordered, state), ahead))
    }

    pub(super) fn new_run(
        &self,
        incident: &Incident,
        set: &RuleSet,
        rule: &Rule,
        ordered: Ordered<'_>,
        state: RunState,
    ) -> Run {
        let Ordered { part, round, playbook, target, parameters } = ordered;
        let step = part.to_string();
        Run {
            id: Run::id_of(incident.id, &step, round, target.id),
            incident: incident.id,
            step,
            round,
            playbook: playbook.name.clone(),
            target,
            parameters,
            effect: playbook.effect,
            on_unknown: playbook.on_unknown,
            timeout: playbook.timeout,
            rulebook: incident.rulebook.clone(),
            rule: rule.name.clone(),
            set: set.digest,
            state,
            decided_at: self.now,
            released_at: (state == RunState::Pending).then_some(self.now),
            started_at: None,
            reported_at: None,
            message: None,
            facts: BTreeMap::new(),
            evidence: None,
            lost: None,
            verdict: None,
            decided_by: None,
        }
    }

    /// From the CMDB, by exact id or name: one, or those of a spread. An empty or unresolvable target selects nothing and
    /// is an error; so are more than a spread may have.
    fn targets_of(&self, incident: &Incident, set: &RuleSet, step: &RemedyStep) -> Result<Vec<Target>, String> {
        let TargetSpec::Computed(expr) = step.target else {
            let ci = incident.ci.and_then(|id| self.state.cmdb.get(id)).ok_or_else(|| {
                format!("the CMDB knows no CI {:?} to act on", incident.about.as_deref().unwrap_or_default())
            })?;
            return Ok(vec![target(ci)]);
        };
        let names = self.with_event(incident, set, |evaluator, ctx| evaluator.targets_of(step, expr, ctx))?;
        Ok(cis_of(&self.state.cmdb, &names)?.into_iter().map(target).collect())
    }

    fn parameters(
        &self,
        incident: &Incident,
        set: &RuleSet,
        step: &RemedyStep,
    ) -> Result<BTreeMap<String, Value>, String> {
        let mut values = BTreeMap::new();
        for (name, field) in &step.with {
            let value = match field {
                Field::Given(value) => value.clone(),
                Field::Computed(expr) => self.with_event(incident, set, |evaluator, ctx| evaluator.eval(*expr, ctx))?,
            };
            if !value.is_null() {
                values.insert(name.clone(), value);
            }
        }
        Ok(values)
    }

    /// Evaluates on the event that opened the incident, under the set that it was opened under.
    pub(super) fn with_event<T>(
        &self,
        incident: &Incident,
        set: &RuleSet,
        f: impl FnOnce(&mut paramedic_rulebook::Evaluator, &Ctx<'_>) -> Result<T, paramedic_rulebook::EvalError>,
    ) -> Result<T, String> {
        let evaluator = self.evaluator(set.digest).ok_or("the rule set is not known")?;
        let event = incident.event.as_deref().ok_or("the event that opened the incident is not kept")?;
        let about = incident.ci.and_then(|id| self.state.cmdb.get(id));
        let names = self.bindings(&incident.names);
        let lookups = self.lookups();
        let ctx = Ctx { names: &names, lookups: Some(&lookups), ..Ctx::of(event, about, &self.state.cmdb, self.now) };
        f(&mut evaluator.borrow_mut(), &ctx).map_err(|e| e.to_string())
    }

    /// No recovery within the step's `verify`.
    pub(super) fn on_not_verified(&mut self, incident: Id, run: Id) {
        let Some(current) = self.state.incidents.get(&incident).filter(|i| i.state.is_open()) else { return };
        // Recovery was seen and has only to stay: the hold decides.
        if !current.plan.current.contains(&run) || current.evidence.is_some() {
            return;
        }
        let Some(run) = self.state.runs.get(&run).cloned() else { return };
        if run.evidence.is_some() {
            return self.well_for_nothing(incident, run.id);
        }
        if run.state == RunState::Unknown {
            // Nobody knows whether it still acts: nothing else may run on that target.
            let why = "unknown, and no evidence in time";
            let about = format!("/{}/verify", self.told_as(&run));
            return self.escalate_on(incident, EscalateAt::RunUnknown, &about, why);
        }
        if self.waits_for_source(incident, TimerKind::VerifyWithin { run: run.id }) {
            return;
        }
        let Some(current) = self.state.incidents.get(&incident) else { return };
        let within = self.rule_of(current).and_then(|(_, rule)| {
            let step = rule.remedy.get(index(&run.step)?)?;
            Some(step.verify.within)
        });
        let reason = format!("no recovery was seen within {}", within.unwrap_or_default());
        self.step(Step::RunJudged { run: run.id, verdict: Verdict::NotVerified }, "monitoring", reason);
        self.ci_after_run(run.id, Some(false));
        self.after_failure(incident, run.id);
    }
}

/// A CI as the target of a run.
pub(super) fn target(ci: &Ci) -> Target {
    Target { id: ci.id, name: ci.name.clone(), class: ci.class.clone(), environment: ci.environment.clone() }
}
