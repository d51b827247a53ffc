//! How an incident ends: resolved, and closed after a while; and every other move of its lifecycle.

use paramedic_model::{CloseCode, Evidence, Id, IncidentMove, TimerKind, incident};
use paramedic_rulebook::{IncidentSpec, Rule};

use super::Cx;
use crate::decision::{Mark, Step};

impl Cx<'_> {
    pub(super) fn finish(&mut self, id: Id, who: &str, code: CloseCode, notes: String, evidence: Option<Evidence>) {
        let Some(incident) = self.state.incidents.get(&id) else { return self.ignore("unknown incident") };
        let Ok(to) = incident::next(incident.state, IncidentMove::Resolve) else {
            return self.ignore("illegal move");
        };
        for run in incident.plan.current.clone() {
            self.withdraw(run, "the incident was resolved before it was started");
        }
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let contributors = incident.alerts.clone();
        let rule = self.rule_of(incident).map(|(_, rule)| rule);
        let act = IncidentMove::Resolve;
        let reason = notes.clone();
        let ended = evidence.as_ref().map_or(self.now, |e| e.time);
        self.step(
            Step::IncidentMoved { incident: id, act, to, code: Some(code), notes: Some(notes), evidence },
            who,
            reason,
        );
        self.drop_timers(id, rule.as_ref());
        self.switch_on(id);
        // What is known by samples has no resolve of its own: it ends with the incident.
        for key in contributors {
            if self.state.alerts.get(&key).is_some_and(|a| a.sampled && a.is_open()) {
                self.mark(Mark::AlertClosed { alert: key, time: ended });
            }
        }
        self.ci_recovered(id, who);
        self.undo_what_worked(id);
        let close_after = rule.and_then(|r| r.incident).map_or(IncidentSpec::CLOSE_AFTER, |spec| spec.close_after);
        self.set_timer(id, TimerKind::Close, self.now.plus(close_after));
    }

    fn drop_timers(&mut self, id: Id, rule: Option<&Rule>) {
        self.drop_timer(id, &TimerKind::Hold);
        self.drop_timer(id, &TimerKind::Wave);
        for step in 0..rule.map_or(0, |r| r.escalate.len()) {
            self.drop_timer(id, &TimerKind::Escalate { step });
            self.drop_timer(id, &TimerKind::Repeat { step });
        }
        for run in self.state.runs_of.get(&id).cloned().unwrap_or_default() {
            self.drop_timer(id, &TimerKind::VerifyWithin { run });
            self.drop_timer(id, &TimerKind::Approval { run });
        }
    }

    pub(super) fn on_close_due(&mut self, id: Id) {
        if let Some(until) = self.taken_back_by(id) {
            return self.set_timer(id, TimerKind::Close, until);
        }
        self.move_to(id, IncidentMove::Close, "engine", "it stayed resolved".to_owned(), None);
    }

    /// Any move but a resolve; one that the table does not have is ignored and counted.
    pub(super) fn move_to(&mut self, id: Id, act: IncidentMove, who: &str, reason: String, notes: Option<String>) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        match incident::next(incident.state, act) {
            Ok(to) => {
                let step = Step::IncidentMoved { incident: id, act, to, code: None, notes, evidence: None };
                self.step(step, who, reason);
            }
            Err(_) => self.ignore("illegal move"),
        }
    }
}
