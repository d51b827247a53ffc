//! What the CMDB learns: a run's result, its verification, and that its target has recovered.

use std::collections::BTreeMap;

use paramedic_model::{Attribute, Ci, CmdbDelta, Id, OperationalStatus, Run, RunState};
use serde_json::{Value, json};

use super::Cx;
use crate::decision::Step;

/// The attribute of a CI that names the last run on it.
const LAST: &str = "last_remediation";

impl Cx<'_> {
    /// Writes a run's result back to the CI that it acted on: last remediation, facts, operational status.
    pub(super) fn ci_after_run(&mut self, run: Id, verified: Option<bool>) {
        let Some(run) = self.state.runs.get(&run) else { return };
        let Some(ci) = self.state.cmdb.get(run.target.id) else { return };
        let source = format!("run:{}", run.id);
        let attribute = |value: Value| Attribute { value, source: source.clone(), at: self.now };
        let last = json!({
            "run": run.id,
            "playbook": run.playbook,
            "result": run.state.name(),
            "verified": verified,
            "incident": run.incident,
        });
        let mut attributes = BTreeMap::from([(LAST.to_owned(), attribute(last))]);
        for (name, value) in &run.facts {
            attributes.insert(format!("fact.{name}"), attribute(value.clone()));
        }
        let change = Ci { attributes, operational_status: self.status_after(run, verified), ..bare(ci) };
        let reason = format!("{} on {}: {}", run.playbook, run.target.name, run.state.name());
        let delta = CmdbDelta { by: source.clone(), cis: vec![change], relations: vec![] };
        self.step(Step::CmdbChanged { delta: Box::new(delta) }, &source, reason);
    }

    /// A report that comes when nothing waits for it any more says nothing about how the CI is now.
    fn status_after(&self, run: &Run, verified: Option<bool>) -> Option<OperationalStatus> {
        let incident = self.state.incidents.get(&run.incident);
        let awaited = incident.is_some_and(|i| i.state.is_open() && i.plan.current.contains(&run.id));
        match verified {
            Some(true) => Some(OperationalStatus::Operational),
            Some(false) => Some(OperationalStatus::NonOperational),
            None if !awaited => None,
            None if run.state == RunState::Failed => Some(OperationalStatus::NonOperational),
            None => Some(OperationalStatus::RepairInProgress),
        }
    }

    /// The incident is over: a CI that one of its runs left broken or in repair is neither any more.
    pub(super) fn ci_recovered(&mut self, incident: Id, who: &str) {
        for run in self.state.runs_of.get(&incident).cloned().unwrap_or_default() {
            let Some(ci) = self.state.runs.get(&run).and_then(|r| self.state.cmdb.get(r.target.id)) else { continue };
            let in_repair = matches!(
                ci.operational_status,
                Some(OperationalStatus::NonOperational | OperationalStatus::RepairInProgress)
            );
            if in_repair && ci.attributes.get(LAST).is_some_and(|last| last.source == format!("run:{run}")) {
                let change = Ci { operational_status: Some(OperationalStatus::Operational), ..bare(ci) };
                let delta = CmdbDelta { by: who.to_owned(), cis: vec![change], relations: vec![] };
                self.step(Step::CmdbChanged { delta: Box::new(delta) }, who, "its incident was resolved");
            }
        }
    }
}

/// A change of this CI that changes nothing yet.
pub(super) fn bare(ci: &Ci) -> Ci {
    Ci {
        id: ci.id,
        class: ci.class.clone(),
        name: ci.name.clone(),
        external_ids: vec![],
        environment: None,
        criticality: None,
        owner: None,
        operational_status: None,
        attributes: BTreeMap::new(),
    }
}
