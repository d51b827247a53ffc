//! [`State::apply`]: what each decision does to the state. Every kind of decision has its arm here.

use std::sync::Arc;

use paramedic_model::{
    Alert, AlertKey, Ci, CmdbDelta, Evidence, Id, Incident, IncidentMove, IncidentState, Part, Run, RunState, Share,
    Timestamp,
    incident::{MAX_CONTRIBUTORS, MAX_SHARES},
};

use super::State;
use crate::decision::{Decided, Decision, Mark, Step};

impl State {
    /// Applies a decision. Deterministic; the only place where state changes.
    pub fn apply(&mut self, decided: &Decided) {
        match &decided.decision {
            Decision::Step(step) => self.apply_step(step, decided.at),
            Decision::Mark(mark) => self.apply_mark(mark, decided.at),
        }
    }

    /// Behind the last remedy step of which there is a run.
    fn first_untried(&self, incident: Id) -> usize {
        let runs = self.runs_of.get(&incident).into_iter().flatten().filter_map(|id| self.runs.get(id));
        let steps = runs.filter_map(|r| Part::of(&r.step));
        steps.map(|part| part.index() + 1).max().unwrap_or(0)
    }

    fn apply_step(&mut self, step: &Step, at: Timestamp) {
        match step {
            Step::IncidentOpened { incident } => {
                self.by_key.insert((incident.correlation_key, incident.id));
                self.count_open(incident.set, incident.state.is_open(), false);
                self.incidents.insert(incident.id, (**incident).clone());
                self.dirty.incidents.insert(incident.id, None);
            }
            Step::IncidentMoved { incident, act, to, code, notes, evidence } => {
                if let Some((set, was_open)) = self.incidents.get(incident).map(|i| (i.set, i.state.is_open())) {
                    self.count_open(set, to.is_open(), was_open);
                }
                let first_untried = self.first_untried(*incident);
                self.incident(*incident, at, |i| {
                    i.state = *to;
                    match act {
                        IncidentMove::Resolve => {
                            i.resolved_at = Some(at);
                            i.close_code = *code;
                            i.close_notes.clone_from(notes);
                            i.evidence.clone_from(evidence);
                            i.plan.leave();
                            i.shares.iter_mut().for_each(|share| share.cleared = true);
                        }
                        IncidentMove::Reopen => {
                            i.resolved_at = None;
                            i.close_code = None;
                            i.close_notes = None;
                            i.evidence = None;
                            i.reopen_count += 1;
                            // Who was told, and who said "I am on it", was about the last time.
                            i.acknowledged = None;
                            i.paged_at = None;
                            i.plan.round += 1;
                            i.plan.exhausted = false;
                            // A remedy that was only skipped, for a CI that was not known, is still untried.
                            i.plan.next = first_untried;
                        }
                        _ => {}
                    }
                });
                self.forget_if_ended(*incident, *to);
            }
            Step::IncidentRaised { incident, severity, impact, urgency } => self.incident(*incident, at, |i| {
                i.severity = *severity;
                i.impact = *impact;
                i.urgency = *urgency;
            }),
            Step::RuleContributes { incident, share, assign } => self.incident(*incident, at, |i| {
                let same = |s: &Share| s.rule == share.rule && s.rulebook == share.rulebook && s.by == share.by;
                match i.shares.iter().position(same) {
                    Some(at) => i.shares[at].cleared = share.cleared,
                    None if i.shares.len() < MAX_SHARES => i.shares.push(share.clone()),
                    None => {}
                }
                i.assigned_to = i.assigned_to.take().or_else(|| assign.clone());
            }),
            Step::AlertJoined { incident, alert } => self.incident(*incident, at, |i| {
                if i.alerts.len() < MAX_CONTRIBUTORS {
                    i.alerts.push(alert.clone());
                }
            }),
            Step::Acknowledged { incident, by } => {
                self.incident(*incident, at, |i| i.acknowledged = Some((by.clone(), at)));
            }
            Step::EvidenceSeen { incident, evidence } => self.set_evidence(*incident, at, Some(evidence.clone())),
            Step::EvidenceLost { incident } => self.set_evidence(*incident, at, None),
            Step::RunDecided { run, index } => {
                self.keep_run((**run).clone());
                self.dirty.runs.insert(run.id, None);
                let takes_no_part = matches!(Part::of(&run.step), Some(Part::Undo(_)));
                self.incident(run.incident, at, |i| {
                    if takes_no_part {
                        return;
                    }
                    i.plan.next = i.plan.next.max(index + 1);
                    if matches!(Part::of(&run.step), Some(Part::Remedy(_))) {
                        i.plan.ahead.retain(|target| *target != run.target.id);
                    }
                    if run.state != RunState::WouldBe {
                        i.plan.current.push(run.id);
                    }
                });
            }
            Step::SpreadDecided { incident, targets } => {
                self.incident(*incident, at, |i| i.plan.ahead.clone_from(targets));
            }
            Step::TargetRecovered { run, evidence } => self.run(*run, |r| r.evidence = Some(evidence.clone())),
            Step::TargetLost { run, time } => self.run(*run, |r| {
                r.evidence = None;
                r.lost = Some(*time);
            }),
            Step::RemedySkipped { incident, index, .. } => {
                self.incident(*incident, at, |i| i.plan.next = index + 1);
            }
            Step::RunReleased { run, by } => self.run(*run, |r| {
                r.state = RunState::Pending;
                r.released_at = Some(at);
                r.decided_by = Some(by.clone());
            }),
            Step::RunRejected { run, by, why } => self.end_run(*run, at, |r| {
                r.state = RunState::Rejected;
                r.decided_by = Some(by.clone());
                r.message = Some(why.clone());
            }),
            Step::RunWithdrawn { run, why } => self.end_run(*run, at, |r| {
                r.state = RunState::Cancelled;
                r.message = Some(why.clone());
            }),
            Step::RunReported { report } => {
                let told = |r: &mut Run| {
                    r.state = report.state;
                    r.started_at = r.started_at.or(report.started_at);
                    r.message = Some(report.message.clone());
                    r.facts.extend(report.facts.clone());
                    if matches!(report.state, RunState::Succeeded | RunState::Failed | RunState::Denied) {
                        r.reported_at = Some(at);
                    }
                };
                // What takes a remedy back is over with its report; a remedy waits for evidence.
                let part = self.runs.get(&report.run).and_then(|r| Part::of(&r.step));
                match part {
                    Some(Part::Rollback(_)) if report.state.has_ended() => self.end_run(report.run, at, told),
                    _ => self.run(report.run, told),
                }
            }
            Step::RunJudged { run, verdict } => self.end_run(*run, at, |r| r.verdict = Some(*verdict)),
            Step::RemediesFailed { incident } => self.incident(*incident, at, |i| i.plan.exhausted = true),
            Step::PageDecided { page } => {
                self.dirty.pages.push((**page).clone());
                self.incident(page.incident, at, |_| {});
            }
            Step::PageReported { incident, .. } => {
                self.incident(*incident, at, |i| i.paged_at = i.paged_at.or(Some(at)));
            }
            Step::EmitDecided { .. } | Step::EmitReported { .. } | Step::Noted { .. } => {
                self.incident(step.record(), at, |_| {});
            }
            Step::CmdbChanged { delta } => self.apply_cmdb(delta),
            Step::RulesChanged { set } => self.head.set = *set,
            // What holds an incident back is in its window.
            Step::Operator { .. } | Step::Suppressed { .. } => {}
        }
    }

    fn apply_mark(&mut self, mark: &Mark, at: Timestamp) {
        match mark {
            Mark::Seen { id } => {
                if let Some(before) = self.seen.insert(Arc::clone(id), at) {
                    self.seen_order.remove(&(before, Arc::clone(id)));
                }
                self.seen_order.insert((at, Arc::clone(id)));
                self.dirty.seen.insert(Arc::clone(id));
            }
            Mark::Repeat { alert } => self.alert(alert, |a| {
                a.repeats += 1;
                a.last_seen = at;
            }),
            Mark::AlertOpened { alert } => {
                if let Some(old) = self.alerts.insert(alert.key.clone(), alert.clone()) {
                    old.keys().map(|keys| self.by_sent.remove(&keys));
                    self.ended.remove(&(old.last_seen, old.key));
                }
                self.by_sent.extend(alert.keys());
                self.dirty.alerts.insert(alert.key.clone());
            }
            Mark::AlertSeen { alert, began, severity } => self.alert(alert, |a| {
                if *began != a.began {
                    a.repeats = 0;
                }
                a.began = *began;
                a.severity = *severity;
                a.last_seen = at;
            }),
            Mark::AlertCounts { alert, incident } => {
                self.alert(alert, |a| a.incidents.push(*incident));
                self.count_alert(*incident, alert);
            }
            Mark::AlertClosed { alert, time } => {
                for id in self.alerts.get(alert).map(|a| a.incidents.clone()).unwrap_or_default() {
                    self.uncount_alert(id, alert);
                }
                self.alert(alert, |a| {
                    a.closed = Some(*time);
                    a.last_seen = at;
                    a.incidents.clear();
                });
            }
            Mark::ResolveParked { parked } => {
                if let Some(old) = self.parked.insert(parked.key.clone(), parked.clone()) {
                    self.parked_order.remove(&(old.at, old.key));
                }
                self.parked_order.insert((parked.at, parked.key.clone()));
                self.dirty.parked.insert(parked.key.clone());
            }
            Mark::ParkedMet { alert } => self.unpark(alert),
            Mark::Forgotten { alerts, parked, seen } => {
                parked.iter().for_each(|key| self.unpark(key));
                for key in alerts {
                    if let Some(old) = self.alerts.remove(key) {
                        old.keys().map(|keys| self.by_sent.remove(&keys));
                        self.ended.remove(&(old.last_seen, old.key));
                        self.dirty.alerts.insert(key.clone());
                    }
                }
                for id in seen {
                    if let Some((known, old)) = self.seen.remove_entry(id) {
                        self.seen_order.remove(&(old, known));
                        self.dirty.seen.insert(Arc::clone(id));
                    }
                }
            }
            Mark::Matched { incident, time, share } => {
                if let Some(i) = self.incidents.get_mut(incident) {
                    if let Some(share) = share.and_then(|at| i.shares.get_mut(at)) {
                        share.condition_at = share.condition_at.max(*time);
                    }
                    i.matched += 1;
                    i.condition_at = i.condition_at.max(*time);
                    self.dirty.incidents.insert(*incident, None);
                }
            }
            Mark::TimerSet { timer } => {
                if let Some(old) = self.timers.insert(timer.id, timer.clone()) {
                    self.due.remove(&(old.due, old.id));
                }
                self.due.insert((timer.due, timer.id));
                self.dirty.timers.insert(timer.id);
            }
            Mark::TimerGone { timer } => {
                if let Some(old) = self.timers.remove(timer) {
                    self.due.remove(&(old.due, old.id));
                    self.dirty.timers.insert(*timer);
                }
            }
            Mark::WindowChanged { window } => self.put_window(Arc::clone(window)),
            Mark::WindowGone { window } => self.drop_window(*window),
            Mark::Ignored { .. } => {}
        }
    }

    fn apply_cmdb(&mut self, delta: &CmdbDelta) {
        let cmdb = Arc::make_mut(&mut self.cmdb);
        for ci in &delta.cis {
            let merged = match cmdb.get(ci.id) {
                Some(old) => merge(old.clone(), ci.clone()),
                None => ci.clone(),
            };
            self.dirty.cis.insert(ci.id);
            cmdb.put(merged);
        }
        for relation in &delta.relations {
            self.dirty.relations.insert(relation.clone());
            cmdb.relate(relation.clone());
        }
    }

    fn set_evidence(&mut self, incident: Id, at: Timestamp, evidence: Option<Evidence>) {
        self.incident(incident, at, |i| i.evidence = evidence);
    }

    fn incident(&mut self, id: Id, at: Timestamp, change: impl FnOnce(&mut Incident)) {
        if let Some(incident) = self.incidents.get_mut(&id) {
            incident.updated_at = at;
            change(incident);
            self.dirty.incidents.insert(id, None);
        }
    }

    fn run(&mut self, id: Id, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.runs.get_mut(&id) {
            change(run);
            self.dirty.runs.insert(id, None);
        }
    }

    /// A run that ends leaves its incident's plan, and a remedy that spreads goes no further.
    fn end_run(&mut self, id: Id, at: Timestamp, change: impl FnOnce(&mut Run)) {
        self.run(id, change);
        if let Some((incident, part)) = self.runs.get(&id).map(|r| (r.incident, Part::of(&r.step))) {
            self.incident(incident, at, |i| {
                if i.plan.current.contains(&id) {
                    i.plan.current.retain(|run| *run != id);
                    if matches!(part, Some(Part::Remedy(_))) {
                        i.plan.ahead.clear();
                    }
                }
            });
        }
    }

    pub(super) fn alert(&mut self, key: &AlertKey, change: impl FnOnce(&mut Alert)) {
        if let Some(alert) = self.alerts.get_mut(key) {
            if !alert.is_open() {
                self.ended.remove(&(alert.last_seen, key.clone()));
            }
            change(alert);
            if !alert.is_open() {
                self.ended.insert((alert.last_seen, key.clone()));
            }
            self.dirty.alerts.insert(key.clone());
        }
    }

    fn unpark(&mut self, key: &AlertKey) {
        if let Some(old) = self.parked.remove(key) {
            self.parked_order.remove(&(old.at, old.key));
            self.dirty.parked.insert(key.clone());
        }
    }

    fn forget_if_ended(&mut self, id: Id, to: IncidentState) {
        if !matches!(to, IncidentState::Closed | IncidentState::Canceled) {
            return;
        }
        if let Some(incident) = self.incidents.remove(&id) {
            self.by_key.remove(&(incident.correlation_key, id));
            self.dirty.incidents.insert(id, Some(incident));
        }
        for run in self.runs_of.remove(&id).unwrap_or_default() {
            if let Some(last) = self.runs.remove(&run) {
                self.forget_target(&last);
                self.dirty.runs.insert(run, Some(last));
            }
        }
    }
}

/// An update of a CI: what it gives replaces, what it does not give stays.
fn merge(mut old: Ci, new: Ci) -> Ci {
    for id in new.external_ids {
        if !old.external_ids.contains(&id) {
            old.external_ids.push(id);
        }
    }
    old.environment = new.environment.or(old.environment);
    old.criticality = new.criticality.or(old.criticality);
    old.owner = new.owner.or(old.owner);
    old.operational_status = new.operational_status.or(old.operational_status);
    old.attributes.extend(new.attributes);
    old
}
