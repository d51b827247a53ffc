//! What people do.

use paramedic_model::{CmdbDelta, Id, IncidentMove, IncidentState, OperatorAct, RunState};

use super::Cx;
use crate::decision::{Rewind, Step};

impl Cx<'_> {
    pub(super) fn on_operator(&mut self, by: &str, act: &OperatorAct) {
        let who = format!("person:{by}");
        match act {
            OperatorAct::Acknowledge { incident } => self.acknowledge(*incident, by, &who),
            OperatorAct::Resolve { incident, code, notes } => {
                self.finish(*incident, &who, *code, notes.clone(), None);
            }
            OperatorAct::Approve { run } => self.approve(*run, by, &who),
            OperatorAct::Reject { run, reason } => {
                if !self.is_proposed(*run) {
                    return self.ignore("not proposed");
                }
                self.stop_waiting_for_approval(*run);
                let step = Step::RunRejected { run: *run, by: by.to_owned(), why: reason.clone() };
                self.step(step, &who, reason.clone());
                if let Some(id) = self.state.runs.get(run).map(|r| r.incident) {
                    self.plan_next(id);
                }
            }
            OperatorAct::Halt { reason } => self.operator("halt", by, reason, None, None),
            OperatorAct::Resume { reason } => self.operator("resume", by, reason, None, None),
            OperatorAct::Clear { run } => {
                self.operator("clear", by, "it may go, though the store was restored", Some(*run), None);
            }
            OperatorAct::EndRecovered { reason } => self.operator("end_recovered", by, reason, None, None),
            OperatorAct::Rewind { position, to, reason } => {
                self.operator("rewind", by, reason, None, Some(Rewind { position: position.clone(), to: *to }));
            }
        }
    }

    fn operator(&mut self, act: &str, by: &str, why: &str, run: Option<Id>, rewind: Option<Rewind>) {
        let step = Step::Operator { act: act.to_owned(), by: by.to_owned(), why: why.to_owned(), run, rewind };
        self.step(step, &format!("person:{by}"), why);
    }

    /// The run may go, if what it was decided for is still so. Who lets it go is at work on the incident: that acknowledges
    /// it, where nobody has yet.
    fn approve(&mut self, run: Id, by: &str, who: &str) {
        if !self.is_proposed(run) {
            return self.ignore("not proposed");
        }
        self.stop_waiting_for_approval(run);
        let wanted = self.is_still_wanted(run);
        match &wanted {
            Ok(()) => self.step(Step::RunReleased { run, by: by.to_owned() }, who, "approved"),
            Err(why) => {
                let why = format!("{by} approved it, but {why}");
                self.step(Step::RunWithdrawn { run, why: why.clone() }, "engine", why);
            }
        }
        let incident = self.state.runs.get(&run).and_then(|r| self.state.incidents.get(&r.incident));
        let Some((id, state, acknowledged)) = incident.map(|i| (i.id, i.state, i.acknowledged.is_some())) else {
            return;
        };
        if wanted.is_err() {
            return self.plan_next(id);
        }
        if !acknowledged {
            self.step(Step::Acknowledged { incident: id, by: by.to_owned() }, who, "approved a run");
            self.stop_unacknowledged(id);
        }
        if state == IncidentState::New {
            self.move_to(id, IncidentMove::Start, who, "a remedy is under way".to_owned(), None);
        }
    }

    fn acknowledge(&mut self, id: Id, by: &str, who: &str) {
        let Some(incident) = self.state.incidents.get(&id) else { return self.ignore("unknown incident") };
        if !incident.state.is_open() {
            return self.ignore("illegal move");
        }
        if incident.acknowledged.is_some() {
            return self.ignore("acknowledged already");
        }
        let is_new = incident.state == IncidentState::New;
        self.step(Step::Acknowledged { incident: id, by: by.to_owned() }, who, "acknowledged");
        if is_new {
            self.move_to(id, IncidentMove::Start, who, "acknowledged".to_owned(), None);
        }
        self.stop_unacknowledged(id);
    }

    fn is_proposed(&self, run: Id) -> bool {
        self.state.runs.get(&run).is_some_and(|r| {
            r.state == RunState::Proposed && self.state.incidents.get(&r.incident).is_some_and(|i| i.state.is_open())
        })
    }

    /// A run that has not left is not wanted any more.
    pub(super) fn withdraw(&mut self, run: Id, why: &str) {
        let Some(run) = self.state.runs.get(&run) else { return };
        if matches!(run.state, RunState::Pending | RunState::Proposed) {
            let id = run.id;
            self.stop_waiting_for_approval(id);
            self.step(Step::RunWithdrawn { run: id, why: why.to_owned() }, "engine", why);
        }
    }

    pub(super) fn on_cmdb(&mut self, delta: &CmdbDelta) {
        let reason = format!("{} CIs, {} relations", delta.cis.len(), delta.relations.len());
        self.step(Step::CmdbChanged { delta: Box::new(delta.clone()) }, &delta.by, reason);
    }
}
