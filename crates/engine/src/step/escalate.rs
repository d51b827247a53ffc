//! Escalations: who is told, and when.

use paramedic_model::{Id, Incident, Level, Page, TimerKind};
use paramedic_rulebook::{EscalateAt, EscalationStep, Raise};

use super::{Cx, actor};
use crate::decision::Step;

impl Cx<'_> {
    /// Pages at once where a step says `open`; sets the timers of delays. Waits for a person begin when a page
    /// was reported, or at the opening where there is none to wait for.
    pub(super) fn escalations_at_open(&mut self, id: Id, reason: &str) {
        let Some(steps) = self.escalations(id) else { return };
        let pages_at_open = steps.iter().any(|s| s.at == EscalateAt::Open);
        for (index, step) in steps.iter().enumerate() {
            match step.at {
                EscalateAt::Open => self.page(id, index, "", step, reason),
                EscalateAt::After(delay) => {
                    self.set_timer(id, TimerKind::Escalate { step: index }, self.now.plus(delay));
                }
                EscalateAt::Unacknowledged(delay) if !pages_at_open => {
                    self.set_timer(id, TimerKind::Escalate { step: index }, self.now.plus(delay));
                }
                EscalateAt::Unacknowledged(_)
                | EscalateAt::RemediesFailed
                | EscalateAt::RunUnknown
                | EscalateAt::ApprovalExpired
                | EscalateAt::GuardDenied => {}
            }
        }
    }

    /// The first page was reported: people's waits begin.
    pub(super) fn start_unacknowledged(&mut self, id: Id) {
        let waits = self.state.incidents.get(&id).is_some_and(|i| i.state.is_open() && i.acknowledged.is_none());
        let steps = self.escalations(id).unwrap_or_default();
        // Without a page at the opening there was none to wait for: these waits began then, and may be over.
        if !waits || !steps.iter().any(|s| s.at == EscalateAt::Open) {
            return;
        }
        for (index, step) in steps.iter().enumerate() {
            let what = TimerKind::Escalate { step: index };
            if let EscalateAt::Unacknowledged(delay) = step.at
                && !self.state.timers.contains_key(&what.id(id))
            {
                self.set_timer(id, what, self.now.plus(delay));
            }
        }
    }

    pub(super) fn on_escalation_due(&mut self, id: Id, index: usize) {
        let Some(incident) = self.state.incidents.get(&id).filter(|i| i.state.is_open()) else { return };
        let acknowledged = incident.acknowledged.is_some();
        if let Some(suppression) = self.suppression_of(incident) {
            return self.set_timer(id, TimerKind::Escalate { step: index }, suppression.until);
        }
        let Some(step) = self.escalations(id).and_then(|steps| steps.get(index).cloned()) else { return };
        match step.at {
            EscalateAt::Unacknowledged(delay) if !acknowledged => {
                self.page(id, index, "", &step, &format!("nobody acknowledged it for {delay}"));
            }
            EscalateAt::After(delay) => self.page(id, index, "", &step, &format!("still open after {delay}")),
            _ => {}
        }
    }

    /// Once more, to whom did not say that they are on it.
    pub(super) fn on_repeat_due(&mut self, id: Id, index: usize) {
        let Some(incident) = self.state.incidents.get(&id).filter(|i| i.state.is_open()) else { return };
        let (acknowledged, since) = (incident.acknowledged.is_some(), self.now.since(incident.opened_at));
        if let Some(suppression) = self.suppression_of(incident) {
            return self.set_timer(id, TimerKind::Repeat { step: index }, suppression.until);
        }
        let Some(step) = self.escalations(id).and_then(|steps| steps.get(index).cloned()) else { return };
        if !acknowledged {
            let again = EscalationStep { raise: None, ..step };
            let about = format!("/again/{}", self.now);
            self.page(id, index, &about, &again, &format!("nobody acknowledged it {since} after it was opened"));
        }
    }

    /// Whether the rule has a step that waits for this.
    pub(super) fn escalates_at(&self, id: Id, at: EscalateAt) -> bool {
        self.escalations(id).is_some_and(|steps| steps.iter().any(|s| s.at == at))
    }

    /// Pages every step that waits for this. `about` tells apart what may happen more than once in a round.
    pub(super) fn escalate_on(&mut self, id: Id, at: EscalateAt, about: &str, reason: &str) {
        for (index, step) in self.escalations(id).unwrap_or_default().iter().enumerate() {
            if step.at == at {
                self.page(id, index, about, step, reason);
            }
        }
    }

    /// An acknowledgement stops the waits for one.
    pub(super) fn stop_unacknowledged(&mut self, id: Id) {
        for (index, step) in self.escalations(id).unwrap_or_default().iter().enumerate() {
            if matches!(step.at, EscalateAt::Unacknowledged(_)) {
                self.drop_timer(id, &TimerKind::Escalate { step: index });
            }
            self.drop_timer(id, &TimerKind::Repeat { step: index });
        }
    }

    /// Asked when the step is due; what is unknown is no.
    fn is_told(&self, incident: &Incident, step: &EscalationStep) -> bool {
        let Some(expr) = step.only_if else { return true };
        let Some((set, _)) = self.rule_of(incident) else { return false };
        self.with_event(incident, &set, |evaluator, ctx| evaluator.condition(expr, ctx)).unwrap_or(false)
    }

    fn escalations(&self, id: Id) -> Option<Vec<EscalationStep>> {
        self.state.incidents.get(&id).and_then(|i| self.rule_of(i)).map(|(_, rule)| rule.escalate)
    }

    /// Tells whoever is told where nobody is named.
    pub(super) fn page_own(&mut self, id: Id, step: &str, reason: &str) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let page = self.new_page(incident, step.to_owned(), "default", reason);
        self.step(Step::PageDecided { page: Box::new(page) }, "engine", format!("default: {reason}"));
    }

    pub(super) fn new_page(&self, incident: &Incident, step: String, to: &str, reason: &str) -> Page {
        Page {
            id: Page::id_of(incident.id, &step, incident.plan.round, to),
            incident: incident.id,
            step,
            round: incident.plan.round,
            to: to.to_owned(),
            reason: reason.to_owned(),
            decided_at: self.now,
            shadow: incident.shadow,
        }
    }

    fn page(&mut self, id: Id, index: usize, about: &str, step: &EscalationStep, reason: &str) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        if !self.is_told(incident, step) {
            return self.ignore("an escalation's `if` does not hold");
        }
        let page = self.new_page(incident, format!("escalate/{index}{about}"), &step.to, reason);
        if let Some(repeat) = step.repeat.filter(|_| incident.acknowledged.is_none()) {
            self.set_timer(id, TimerKind::Repeat { step: index }, self.now.plus(repeat));
        }
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let (severity, mut impact, mut urgency) = (incident.severity, incident.impact, incident.urgency);
        let who = self.rule_of(incident).map_or_else(|| "engine".to_owned(), |(set, rule)| actor(&set, &rule));
        self.step(Step::PageDecided { page: Box::new(page) }, &who, format!("{}: {reason}", step.to));
        match step.raise {
            Some(Raise::Urgency) if urgency != Level::High => urgency = urgency.raised(),
            Some(Raise::Impact) if impact != Level::High => impact = impact.raised(),
            _ => return,
        }
        self.step(Step::IncidentRaised { incident: id, severity, impact, urgency }, &who, reason);
    }
}
