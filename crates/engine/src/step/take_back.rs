//! What takes a remedy back: its rollback, when it was not verified, and its undo, when its time is over. One approval
//! covers all: who lets a remedy go lets it be taken back.

use paramedic_model::{Autonomy, Id, Part, Run, RunState, Span, TimerKind, Timestamp};
use paramedic_rulebook::{EscalateAt, RemedyStep};

use super::remedy::Ordered;
use super::{Cx, actor};
use crate::decision::Step;

/// An incident whose remedy is being taken back closes this long after that should be over.
const CLOSE_LATER: Span = Span::from_secs(3600);

impl Cx<'_> {
    /// A remedy was not verified: it is rolled back where the rule says so and it may have had an effect; else the next
    /// one is tried.
    pub(super) fn after_failure(&mut self, id: Id, run: Id) {
        let Some(run) = self.state.runs.get(&run).cloned() else { return };
        if self.ends_later(id, &run) {
            return;
        }
        for left in self.all_of_step(&run) {
            if let Err(why) = self.roll_back(&left) {
                // Of a spread that may be found again, with each run that says late that it had left.
                let about = match self.spreads(&run) {
                    true => format!("rollback/not/{}", run.target.id),
                    false => "rollback".to_owned(),
                };
                return self.stop_remedies(id, &about, &why);
            }
        }
        self.plan_next(id);
    }

    /// What left after it was withdrawn, because its remedy had failed on another target, is rolled back like that.
    pub(super) fn on_late_run(&mut self, run: &Run) {
        let round = self.state.incidents.get(&run.incident).map(|i| i.plan.round);
        if round == Some(run.round) && self.spreads(run) {
            self.after_failure(run.incident, run.id);
        }
    }

    /// Where the rule says so, and the run may have had an effect; an error says why it is not.
    fn roll_back(&mut self, run: &Run) -> Result<(), String> {
        let left = run.started_at.is_some() && matches!(run.state, RunState::Succeeded | RunState::Failed);
        let rollback = self.step_of(run).and_then(|step| step.rollback).filter(|_| left);
        let (Some(playbook), Some(part)) = (rollback, Part::of(&run.step)) else { return Ok(()) };
        let decided = self.take_back(run, Part::Rollback(part.index()), &playbook, "it was not verified");
        decided.map_err(|why| format!("{} on {} is not rolled back: {why}", run.playbook, run.target.name))
    }

    /// Rollback or undo has ended.
    pub(super) fn on_taken_back(&mut self, run: &Run, succeeded: bool) {
        let Some(part) = Part::of(&run.step) else { return };
        let why = || {
            let message = run.message.clone().unwrap_or_default();
            format!("{} on {} {}: {message}", run.playbook, run.target.name, run.state.name())
        };
        if let Part::Undo(_) = part {
            if !succeeded {
                self.tell_not_undone(run, &why());
            }
            return;
        }
        let Some(incident) = self.state.incidents.get(&run.incident).filter(|i| i.state.is_open()) else {
            if !succeeded {
                self.tell_not_undone(run, &why());
            }
            return;
        };
        let (id, evidence) = (incident.id, incident.evidence.clone());
        if !succeeded {
            let about = match self.spreads(run) {
                true => format!("rollback/{}", run.target.id),
                false => "rollback".to_owned(),
            };
            self.stop_remedies(id, &about, &why());
        }
        match evidence {
            Some(seen) => self.hold_from(id, run, seen.at),
            None if succeeded => self.plan_next(id),
            None => {}
        }
    }

    /// A remedy is neither in force nor known to be gone: nothing else is tried on top of it.
    fn stop_remedies(&mut self, id: Id, about: &str, why: &str) {
        self.step(Step::RemediesFailed { incident: id }, "engine", why);
        match self.escalates_at(id, EscalateAt::RemediesFailed) {
            true => self.escalate_on(id, EscalateAt::RemediesFailed, &format!("/{about}"), why),
            false => self.page_own(id, &format!("own/{about}"), why),
        }
    }

    fn step_of(&self, run: &Run) -> Option<RemedyStep> {
        let (_, rule) = self.rule_of(self.state.incidents.get(&run.incident)?)?;
        rule.remedy.get(super::remedy::index(&run.step)?).cloned()
    }

    /// Decides the run of what takes another one back: on the same target, with the same parameters.
    fn take_back(&mut self, of: &Run, part: Part, playbook: &str, reason: &str) -> Result<(), String> {
        let incident = self.state.incidents.get(&of.incident).ok_or("its incident is closed")?;
        let (set, rule) = self.rule_of(incident).ok_or("its rule is not known")?;
        let autonomy = self.autonomy_of(incident, &set, &rule);
        if autonomy < Autonomy::Propose {
            return Err(format!("{} has autonomy {} now", incident.rulebook, autonomy.name()));
        }
        let playbook = set.playbooks.get(playbook).ok_or_else(|| format!("no playbook is named {playbook}"))?;
        let parameters = of
            .parameters
            .iter()
            .filter(|(name, _)| playbook.parameters.contains_key(*name))
            .map(|(n, v)| (n.clone(), v.clone()));
        let parameters = playbook.bind(&parameters.collect()).map_err(|e| e.to_string())?;
        let ordered = Ordered { part, round: of.round, playbook, target: of.target.clone(), parameters };
        let run = self.new_run(incident, &set, &rule, ordered, RunState::Pending);
        if self.state.runs.contains_key(&run.id) {
            return Ok(());
        }
        let run = Run { decided_by: of.decided_by.clone(), ..run };
        let reason = format!("{} on {}: {reason}", run.playbook, run.target.name);
        self.step(Step::RunDecided { run: Box::new(run), index: part.index() }, &actor(&set, &rule), reason);
        Ok(())
    }

    /// The incident is over: what worked for it is taken back after its time.
    pub(super) fn undo_what_worked(&mut self, id: Id) {
        let runs = self.state.runs_of.get(&id).into_iter().flatten().filter_map(|run| self.state.runs.get(run));
        for run in runs.cloned().collect::<Vec<_>>() {
            self.undo_later(&run);
        }
    }

    /// A report that comes after the incident is over.
    pub(super) fn undo_if_over(&mut self, run: &Run) {
        if self.state.incidents.get(&run.incident).is_some_and(|i| !i.state.is_open()) {
            self.undo_later(run);
        }
    }

    fn undo_later(&mut self, run: &Run) {
        let Some(undo) = self.step_of(run).and_then(|step| step.undo) else { return };
        let timer = TimerKind::Undo { run: run.id };
        let is_set = self.state.timers.contains_key(&timer.id(run.incident));
        if run.state == RunState::Succeeded && !is_set && !self.is_taken_back(run) {
            self.set_timer(run.incident, timer, self.now.plus(undo.after));
        }
    }

    /// Whether its undo was decided, or its rollback worked or may yet.
    fn is_taken_back(&self, run: &Run) -> bool {
        let Some(index) = super::remedy::index(&run.step) else { return true };
        let of =
            |part: Part| self.state.runs.get(&Run::id_of(run.incident, &part.to_string(), run.round, run.target.id));
        of(Part::Undo(index)).is_some()
            || of(Part::Rollback(index)).is_some_and(|r| r.state == RunState::Succeeded || !r.state.has_ended())
    }

    pub(super) fn on_undo_due(&mut self, id: Id, run: Id) {
        let Some(run) = self.state.runs.get(&run).filter(|r| r.incident == id).cloned() else { return };
        let (Some(undo), Some(part)) = (self.step_of(&run).and_then(|step| step.undo), Part::of(&run.step)) else {
            return;
        };
        let part = Part::Undo(part.index());
        let reason = format!("its time of {} is over", undo.after);
        if let Err(why) = self.take_back(&run, part, &undo.playbook, &reason) {
            let run = Run { step: part.to_string(), ..run };
            self.tell_not_undone(&run, &format!("{} on {} is not undone: {why}", run.playbook, run.target.name));
        }
    }

    /// Nobody knows whether it was undone.
    pub(super) fn on_undo_unknown(&mut self, run: &Run) {
        self.tell_not_undone(run, &format!("nobody knows whether {} on {} happened", run.playbook, run.target.name));
    }

    /// Whoever was asked for approval is told, else whoever is told where nobody is named.
    fn tell_not_undone(&mut self, run: &Run, why: &str) {
        let Some(incident) = self.state.incidents.get(&run.incident) else { return };
        let rule = self.rule_of(incident).map(|(_, rule)| rule);
        let step = rule.as_ref().zip(Part::of(&run.step)).and_then(|(rule, part)| rule.remedy.get(part.index()));
        let to = step.and_then(|s| s.approve.as_ref()).map_or("default", |approve| &approve.by);
        let page = self.new_page(incident, format!("{}/{}", self.told_as(run), run.state.name()), to, why);
        self.step(Step::PageDecided { page: Box::new(page) }, "engine", format!("{to}: {why}"));
    }

    /// Until when an incident must not be closed, because a remedy of it is still to be taken back.
    pub(super) fn taken_back_by(&self, id: Id) -> Option<Timestamp> {
        let runs = self.state.runs_of.get(&id).into_iter().flatten();
        let due = |run: &Id| self.state.timers.get(&TimerKind::Undo { run: *run }.id(id)).map(|timer| timer.due);
        let under_way = |run: &Id| {
            let run = self.state.runs.get(run)?;
            let undoes = matches!(Part::of(&run.step), Some(Part::Undo(_)));
            let to_be_undone = || self.step_of(run).is_some_and(|step| step.undo.is_some());
            (!run.state.has_ended() && (undoes || to_be_undone())).then_some(self.now)
        };
        runs.filter_map(|run| due(run).max(under_way(run))).max().map(|at| at.plus(CLOSE_LATER))
    }
}
