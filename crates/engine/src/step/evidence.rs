//! Evidence: recovery that monitoring shows, whether it stays, and which run earned it.

use paramedic_model::{
    CloseCode, Digest, Evidence, Id, OwnedEvent, Run, RunState, Span, TimerKind, Timestamp, Verdict,
};
use paramedic_rulebook::RuleIx;

use super::Cx;
use super::event::key_of;
use super::pattern::{Hit, Which};
use super::spread::shown;
use crate::decision::Step;

impl Cx<'_> {
    /// An explicit `clear` (`step` none) or a remedy's own `verify.when` held.
    pub(super) fn on_clear(&mut self, event: &OwnedEvent, set: Digest, ix: RuleIx, step: Option<usize>) {
        let Some(evaluator) = self.evaluator(set) else { return };
        let set = std::sync::Arc::clone(evaluator.borrow().set());
        if let Some(step) = step
            && set.rule(ix).remedy.get(step).is_some_and(|remedy| remedy.spread.is_some())
        {
            return self.on_target_well(event, &set, ix, step);
        }
        let Ok(by) = self.by_of(&set, ix, Hit::of(event, &key_of(event))) else { return };
        let which = Which { set, ix, by };
        let (set, rule) = (&*which.set, which.rule());
        // Windows go by the active set.
        if step.is_none() && set.digest == self.state.head.set {
            self.clear_windows(&which, event);
        }
        let Ok(key) = self.correlation_key(set, rule, &which.by, Hit::of(event, &key_of(event))) else { return };
        let Some(incident) = self.state.incident_of_key(key).filter(|i| i.state.is_open()) else { return };
        // An incident ends by the rule that it was opened under; where rules share its key, by all of them.
        let opener =
            incident.set == set.digest && incident.rule == rule.name && incident.rulebook == set.rulebook_of(rule).name;
        if !opener && (incident.shares.is_empty() || step.is_some()) {
            return;
        }
        let since = self.share_of(incident, &which).map_or(incident.condition_at, |share| share.condition_at);
        let id = incident.id;
        if let Some(step) = step {
            let under_way = self.state.current_runs(incident).any(|r| r.step == super::remedy::path(step));
            if !under_way {
                return;
            }
        }
        if event.time >= since && self.has_cleared(id, &which, &event.type_) {
            self.on_evidence(id, event, event.time);
        }
    }

    /// Monitoring shows recovery. Nothing resolves while a run is in flight.
    pub(super) fn on_evidence(&mut self, id: Id, event: &OwnedEvent, time: Timestamp) {
        self.on_recovery(id, shown(event), time);
    }

    /// Recovery is shown, for the reason given.
    pub(super) fn on_recovery(&mut self, id: Id, reason: String, time: Timestamp) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        if incident.evidence.is_some() {
            return;
        }
        let evidence = Evidence { input: self.input.to_string(), at: self.now, time };
        let in_flight = self.state.current_runs(incident).any(waits_for_report);
        let hold = self.hold_of(id, self.state.current_runs(incident).find(|run| run.started_at.is_some()));
        if in_flight || hold > Span::ZERO {
            self.step(Step::EvidenceSeen { incident: id, evidence: evidence.clone() }, "monitoring", reason);
            if !in_flight {
                self.set_timer(id, TimerKind::Hold, self.now.plus(hold));
            }
        } else {
            self.resolve_by_evidence(id, evidence);
        }
    }

    /// How long recovery must stay: the remedy's `verify.hold` while one is being verified, else the incident's.
    pub(super) fn hold_of(&self, id: Id, run: Option<&Run>) -> Span {
        let Some((_, rule)) = self.state.incidents.get(&id).and_then(|i| self.rule_of(i)) else { return Span::ZERO };
        match run.filter(|r| r.started_at.is_some()).and_then(|r| super::remedy::index(&r.step)) {
            Some(step) => rule.remedy.get(step).map_or(Span::ZERO, |s| s.verify.hold),
            None => rule.incident.map_or(Span::ZERO, |spec| spec.hold),
        }
    }

    pub(super) fn on_held(&mut self, id: Id) {
        let Some(incident) = self.state.incidents.get(&id).filter(|i| i.state.is_open()) else { return };
        if self.state.current_runs(incident).any(waits_for_report) {
            return;
        }
        if let Some(evidence) = incident.evidence.clone()
            && self.all_have_cleared(id)
            && !self.waits_for_source(id, TimerKind::Hold)
        {
            self.resolve_by_evidence(id, evidence);
        }
    }

    /// Resolves by monitoring's evidence. Credit goes to a run only when recovery was seen after it started.
    pub(super) fn resolve_by_evidence(&mut self, id: Id, evidence: Evidence) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let earned = |r: &&Run| {
            let seen = r.evidence.as_ref().unwrap_or(&evidence);
            super::remedy::index(&r.step).is_some()
                && matches!(r.state, RunState::Succeeded | RunState::Unknown)
                && r.started_at.is_some_and(|at| seen.time >= at && seen.at >= at)
        };
        let earned: Vec<Run> = self.state.current_runs(incident).filter(earned).cloned().collect();
        for run in &earned {
            let seen = run.evidence.as_ref().unwrap_or(&evidence);
            self.step(
                Step::RunJudged { run: run.id, verdict: Verdict::Verified },
                "monitoring",
                format!("recovery seen at {} by {}", seen.time, seen.input),
            );
            // What a target has shown by itself was written to it then.
            if run.evidence.is_none() {
                self.ci_after_run(run.id, Some(true));
            }
        }
        self.judge_unearned(id);
        let after = |r: &Run| r.started_at.is_some_and(|at| evidence.time >= at && evidence.at >= at);
        let helped = earned.iter().any(after);
        let (code, notes) = match earned.split_first() {
            Some((first, others)) if helped => {
                let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
                let notes =
                    format!("{} on {}{more}, verified by {}", first.playbook, first.target.name, evidence.input);
                (CloseCode::SolutionProvided, notes)
            }
            _ => {
                let notes = format!("the condition ended without a verified remedy ({})", evidence.input);
                (CloseCode::NoResolutionProvided, notes)
            }
        };
        self.finish(id, "monitoring", code, notes, Some(evidence));
    }

    /// Recovery without a run that earned it: what ran earlier, or still does, is ambiguous at best.
    fn judge_unearned(&mut self, id: Id) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let started = |run: &&Run| run.verdict.is_none() && run.started_at.is_some();
        let unearned: Vec<Id> = self.state.current_runs(incident).filter(started).map(|run| run.id).collect();
        for run in unearned {
            self.step(
                Step::RunJudged { run, verdict: Verdict::Ambiguous },
                "monitoring",
                "recovery was seen, and this run did not earn it: it failed, or had not started before",
            );
        }
    }
}

/// Started or accepted: its report is to come. An unknown one that is to be judged by evidence is not waited for.
pub(super) fn waits_for_report(run: &Run) -> bool {
    match run.state {
        RunState::Started | RunState::Accepted => true,
        RunState::Unknown => run.on_unknown != paramedic_model::OnUnknown::Verify,
        _ => false,
    }
}
