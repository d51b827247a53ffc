//! Remedies that wait for a person: who is asked, and what follows when nobody answers.

use paramedic_model::{Id, Page, RunState, TimerKind};
use paramedic_rulebook::{Approve, EscalateAt, Otherwise, Spread};

use super::{Cx, actor};
use crate::decision::Step;

impl Cx<'_> {
    /// Asks whom the remedy names. A remedy that names nobody waits without an end.
    pub(super) fn ask_for_approval(&mut self, run: Id, index: usize) {
        let Some((incident, approve)) = self.approve_of(run) else { return };
        let Some((run, of)) = self.state.runs.get(&run).zip(self.state.incidents.get(&incident)) else { return };
        let then = Spread::and_then_on(of.plan.ahead.len());
        let reason = format!("may {} run on {}{then}? `paramedic approve {}`", run.playbook, run.target.name, run.id);
        let page = self.new_page(of, format!("approve/{index}"), &approve.by, &reason);
        let who = self.rule_of(of).map_or_else(|| "engine".to_owned(), |(set, rule)| actor(&set, &rule));
        self.step(Step::PageDecided { page: Box::new(page) }, &who, format!("{}: {reason}", approve.by));
    }

    /// A page was reported. If it asks for approval, the time to answer begins: nobody could have answered before.
    pub(super) fn wait_for_approval(&mut self, incident: Id, page: Id) {
        let Some(of) = self.state.incidents.get(&incident) else { return };
        let Some(run) = self.state.current_runs(of).find(|r| r.state == RunState::Proposed) else { return };
        let (run, step) = (run.id, run.step.clone());
        let Some((_, approve)) = self.approve_of(run) else { return };
        let Some(index) = super::remedy::index(&step) else { return };
        let asked = Page::id_of(incident, &format!("approve/{index}"), of.plan.round, &approve.by);
        let timer = TimerKind::Approval { run };
        if page == asked && !self.state.timers.contains_key(&timer.id(incident)) {
            self.set_timer(incident, timer, self.now.plus(approve.within));
        }
    }

    fn approve_of(&self, run: Id) -> Option<(Id, Approve)> {
        let run = self.state.runs.get(&run)?;
        let (_, rule) = self.rule_of(self.state.incidents.get(&run.incident)?)?;
        let step = rule.remedy.get(super::remedy::index(&run.step)?)?;
        Some((run.incident, step.approve.clone()?))
    }

    /// Somebody answered, or it is not wanted any more.
    pub(super) fn stop_waiting_for_approval(&mut self, run: Id) {
        if let Some(incident) = self.state.runs.get(&run).map(|r| r.incident) {
            self.drop_timer(incident, &TimerKind::Approval { run });
        }
    }

    /// Nobody answered in time: silence is no consent.
    pub(super) fn on_approval_expired(&mut self, id: Id, run: Id) {
        if self.state.runs.get(&run).is_none_or(|r| r.state != RunState::Proposed) {
            return;
        }
        let Some((_, approve)) = self.approve_of(run) else { return };
        let why = format!("{} did not approve it within {}", approve.by, approve.within);
        self.step(Step::RunWithdrawn { run, why: why.clone() }, "engine", why.clone());
        match approve.otherwise {
            Otherwise::Next => return self.plan_next(id),
            Otherwise::Stop => {}
            Otherwise::Escalate => match self.escalates_at(id, EscalateAt::ApprovalExpired) {
                true => self.escalate_on(id, EscalateAt::ApprovalExpired, &format!("/{run}"), &why),
                false => self.page_own(id, &format!("own/approval/{run}"), &why),
            },
        }
        self.step(Step::RemediesFailed { incident: id }, "engine", why);
    }
}
