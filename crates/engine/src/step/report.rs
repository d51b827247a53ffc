//! Reports of the dispatcher: what became of runs and pages.

use paramedic_model::{Id, OnUnknown, PageReport, Part, Run, RunReport, RunState, Span, TimerKind, Timestamp, Verdict};
use paramedic_rulebook::EscalateAt;

use super::{Cx, evidence::waits_for_report};
use crate::decision::Step;

impl Cx<'_> {
    pub(super) fn on_run_report(&mut self, report: &RunReport) {
        let Some(run) = self.state.runs.get(&report.run) else { return self.ignore("report of an unknown run") };
        if !run.state.may_become(report.state) {
            return self.ignore("late report");
        }
        let (id, incident) = (run.id, run.incident);
        let reason = match report.verdicts.iter().find(|v| v.says == paramedic_model::GuardSays::Deny) {
            Some(v) => format!("{}: {}", v.guard, v.reason),
            None if report.message.is_empty() => report.state.name().to_owned(),
            None => format!("{}: {}", report.state.name(), report.message),
        };
        self.step(Step::RunReported { report: Box::new(report.clone()) }, &format!("run:{id}"), reason);
        let Some(run) = self.state.runs.get(&id).cloned() else { return };
        match run.state {
            RunState::Succeeded => {
                self.ci_after_run(run.id, run.evidence.is_some().then_some(true));
                self.on_run_done(&run, true);
            }
            RunState::Failed => {
                self.ci_after_run(run.id, None);
                self.on_run_done(&run, false);
            }
            RunState::Denied => {
                let why = run.message.clone().unwrap_or_default();
                if self.is_first_such(&run) {
                    self.escalate_on(incident, EscalateAt::GuardDenied, &format!("/{}", self.told_as(&run)), &why);
                }
                self.on_run_done(&run, false);
            }
            RunState::Cancelled => self.on_run_done(&run, false),
            RunState::Unknown => self.on_run_unknown(incident, &run),
            _ => {}
        }
    }

    /// A run's report never resolves: evidence does. A failed or denied one makes way for the next remedy.
    fn on_run_done(&mut self, run: &Run, succeeded: bool) {
        if !matches!(Part::of(&run.step), Some(Part::Remedy(_))) {
            return self.on_taken_back(run, succeeded);
        }
        if succeeded {
            self.undo_if_over(run);
        }
        let Some(incident) = self.state.incidents.get(&run.incident).filter(|i| i.state.is_open()) else { return };
        if !incident.plan.current.contains(&run.id) {
            return self.on_late_run(run);
        }
        let (id, evidence) = (incident.id, incident.evidence.clone());
        match evidence {
            // Recovery was seen while it was in flight: now it has only to stay.
            Some(seen) => {
                if succeeded {
                    self.verify_from_now(run);
                }
                self.hold_from(id, run, seen.at);
            }
            None if succeeded && !self.has_failed_elsewhere(run) => {
                self.verify_from_now(run);
                self.spread_on(id);
            }
            None if succeeded => self.after_failure(id, run.id),
            None => {
                self.leave_plan(run.id);
                self.after_failure(id, run.id);
            }
        }
    }

    pub(super) fn hold_from(&mut self, incident: Id, run: &Run, seen: Timestamp) {
        let due = seen.plus(self.hold_of(incident, Some(run)));
        if due <= self.now {
            self.on_held(incident);
        } else {
            self.set_timer(incident, TimerKind::Hold, due);
        }
    }

    /// The run that failed or was denied is not the plan's any more.
    pub(super) fn leave_plan(&mut self, run: Id) {
        let reason = self.state.runs.get(&run).and_then(|r| r.message.clone()).unwrap_or_default();
        self.step(Step::RunJudged { run, verdict: Verdict::NotVerified }, "engine", reason);
    }

    /// Evidence has `verify.within` from here.
    fn verify_from_now(&mut self, run: &Run) {
        let rule = self.state.incidents.get(&run.incident).and_then(|i| self.rule_of(i));
        let step = super::remedy::index(&run.step);
        let within = match (rule, step) {
            (Some((_, rule)), Some(step)) => rule.remedy.get(step).map_or(Span::ZERO, |s| s.verify.within),
            _ => Span::ZERO,
        };
        self.set_timer(run.incident, TimerKind::VerifyWithin { run: run.id }, self.now.plus(within));
    }

    /// Nobody knows. No later remedy runs on that target meanwhile; people are told. Where the playbook lets
    /// evidence decide, evidence is waited for.
    fn on_run_unknown(&mut self, incident: Id, run: &Run) {
        if let Some(Part::Undo(_)) = Part::of(&run.step) {
            return self.on_undo_unknown(run);
        }
        let why = match self.spreads(run) {
            true => &*format!("nobody knows whether {} on {} happened", run.playbook, run.target.name),
            false => "nobody knows whether the run happened",
        };
        if matches!(Part::of(&run.step), Some(Part::Rollback(_)))
            && !self.escalates_at(incident, EscalateAt::RunUnknown)
        {
            self.page_own(incident, &format!("own/{}", self.told_as(run)), why);
        }
        if self.is_first_such(run) {
            self.escalate_on(incident, EscalateAt::RunUnknown, &format!("/{}", self.told_as(run)), why);
        }
        let awaited = self.state.incidents.get(&incident).is_some_and(|i| i.plan.current.contains(&run.id));
        // What takes back is not shown to have worked by recovery.
        let remedy = super::remedy::index(&run.step).is_some();
        if awaited && remedy && run.on_unknown == OnUnknown::Verify {
            self.verify_from_now(run);
            let seen = self.state.incidents.get(&incident).and_then(|i| i.evidence.clone());
            match seen.filter(|_| !waits_for_report(run)) {
                Some(seen) => self.hold_from(incident, run, seen.at),
                None => self.spread_on(incident),
            }
        }
    }

    pub(super) fn on_page_report(&mut self, report: &PageReport) {
        let Some(incident) = self.state.incidents.get(&report.incident) else {
            return self.ignore("report of an unknown page");
        };
        let (id, first) = (incident.id, incident.paged_at.is_none());
        let step = Step::PageReported {
            page: report.page,
            incident: id,
            delivered: report.delivered,
            message: report.message.clone(),
        };
        let reason = if report.delivered { "delivered" } else { "not delivered" };
        self.step(step, "notifier", reason);
        if first {
            self.start_unacknowledged(id);
        }
        self.wait_for_approval(id, report.page);
    }
}
