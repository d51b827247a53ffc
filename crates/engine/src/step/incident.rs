//! Matches and evidence: incidents open, grow, reopen, resolve and close.

use paramedic_model::{
    AlertKey, CloseCode, Digest, Evidence, Id, Incident, IncidentMove, IncidentState, Level, OwnedEvent, Plan, Run,
    RunState, Severity, Span, TimerKind, Timestamp, Verdict, incident,
};
use paramedic_rulebook::{Ctx, EvalError, Rule, RuleIx, RuleSet};
use serde_json::{Value, json};

use super::event::worst;
use super::{Cx, actor};
use crate::decision::{Mark, Step};

/// The rulebook that the engine's own incidents name.
const OWN_RULEBOOK: &str = "paramedic";

impl Cx<'_> {
    /// A rule's condition held.
    pub(super) fn on_match(&mut self, event: &OwnedEvent, alert: &AlertKey, ix: RuleIx) {
        let set_digest = self.state.head.set;
        let Some(evaluator) = self.evaluator(set_digest) else { return self.ignore("unknown rule set") };
        let set = std::sync::Arc::clone(evaluator.borrow().set());
        let rule = set.rule(ix);
        let (by, key) = match self.identity(&set, rule, event, alert) {
            Ok(found) => found,
            Err(EvalError::Missing(_)) => return self.ignore("a part of `by` is missing"),
            Err(EvalError::Script(_)) => return self.ignore("`by` failed"),
        };
        let standing = self.state.incident_of_key(key).map(|i| (i.id, i.state, i.resolved_at));
        match standing {
            Some((id, state, _)) if state.is_open() => self.on_match_again(id, event, alert, &set, rule),
            Some((id, IncidentState::Resolved, Some(at))) if self.within(at, rule.incident.reopen) => {
                let who = actor(&set, rule);
                let reason = format!("it came back {} after it was resolved", self.now.since(at));
                self.drop_timer(id, &TimerKind::Close);
                self.move_to(id, IncidentMove::Reopen, &who, reason, None);
                self.contribute(id, event, alert, &who);
                self.plan_next(id);
            }
            _ => self.open(event, alert, &set, rule, by, key),
        }
    }

    fn within(&self, since: Timestamp, span: Span) -> bool {
        span > Span::ZERO && self.now.since(since) <= span
    }

    /// The values of `by`, and the correlation key: (scope, rulebook, rule, by), or (scope, key) where given.
    fn identity(
        &self,
        set: &RuleSet,
        rule: &Rule,
        event: &OwnedEvent,
        alert: &AlertKey,
    ) -> Result<(Vec<Value>, Id), EvalError> {
        let Some(evaluator) = self.evaluator(set.digest) else { return Err(EvalError::Script("no rules".into())) };
        let mut evaluator = evaluator.borrow_mut();
        let by = match &rule.by {
            Some(_) => evaluator.by(rule.ix, event)?,
            None => vec![json!(alert.source), json!(alert.dedup_key)],
        };
        let book = set.rulebook_of(rule);
        let shadow = set.autonomy(book) == paramedic_model::Autonomy::Observe;
        let key = match &rule.incident.key {
            Some(exprs) => {
                let ctx = Ctx { event, about: None, cmdb: &self.state.cmdb, now: self.now };
                let parts: Result<Vec<Value>, _> = exprs.iter().map(|e| evaluator.eval(*e, &ctx)).collect();
                let parts = parts?;
                if parts.iter().any(Value::is_null) {
                    return Err(EvalError::Missing("key".into()));
                }
                Id::of(&json!(["key", self.scope, parts, shadow]))
            }
            None => Id::of(&json!(["key", self.scope, book.name, rule.name, by, shadow])),
        };
        Ok((by, key))
    }

    fn open(
        &mut self,
        event: &OwnedEvent,
        alert: &AlertKey,
        set: &RuleSet,
        rule: &Rule,
        by: Vec<Value>,
        correlation_key: Id,
    ) {
        if self.state.open >= self.engine.limits.open_incidents {
            return self.on_too_many(event);
        }
        let who = actor(set, rule);
        let incident =
            Incident { alerts: vec![alert.clone()], ..self.new_incident(event, set, rule, by, correlation_key) };
        let id = incident.id;
        let reason = match &incident.about {
            Some(about) => format!("{} on {about}", rule.name),
            None => rule.name.clone(),
        };
        self.step(Step::IncidentOpened { incident: Box::new(incident) }, &who, reason);
        self.contribute(id, event, alert, &who);
        self.escalations_at_open(id);
        self.plan_next(id);
    }

    fn new_incident(
        &self,
        event: &OwnedEvent,
        set: &RuleSet,
        rule: &Rule,
        by: Vec<Value>,
        correlation_key: Id,
    ) -> Incident {
        let book = set.rulebook_of(rule);
        let spec = &rule.incident;
        let about = self.state.cmdb.identify(&event.ci).ok();
        let named = event.ci.best().map(str::to_owned);
        let ctx = Ctx { event, about, cmdb: &self.state.cmdb, now: self.now };
        let (impact, urgency, summary) = match self.evaluator(set.digest) {
            Some(evaluator) => {
                let mut evaluator = evaluator.borrow_mut();
                let impact = spec.impact.as_ref().and_then(|f| evaluator.level(f, &ctx).ok());
                let urgency = spec.urgency.as_ref().and_then(|f| evaluator.level(f, &ctx).ok());
                let name = about.map(|ci| ci.name.as_str()).or(named.as_deref());
                (impact, urgency, evaluator.render(&spec.summary, event, name))
            }
            None => (None, None, rule.name.clone()),
        };
        Incident {
            id: Id::of(&json!(["incident", self.scope, correlation_key, self.now, self.input])),
            number: None,
            scope: self.scope.to_owned(),
            correlation_key,
            rulebook: book.name.clone(),
            rule: rule.name.clone(),
            set: set.digest,
            by,
            shadow: set.autonomy(book) == paramedic_model::Autonomy::Observe,
            state: IncidentState::New,
            summary: summary.chars().take(160).collect(),
            impact: impact.unwrap_or_else(|| default_impact(about.and_then(|ci| ci.criticality))),
            urgency: urgency.unwrap_or_else(|| Level::urgency_of(event.severity)),
            severity: event.severity,
            assigned_to: spec.assign.clone(),
            category: spec.category.clone(),
            ci: about.map(|ci| ci.id),
            about: about.map(|ci| ci.name.clone()).or(named),
            opened_at: self.now,
            updated_at: self.now,
            acknowledged: None,
            resolved_at: None,
            close_code: None,
            close_notes: None,
            reopen_count: 0,
            alerts: Vec::new(),
            event: (!rule.remedy.is_empty()).then(|| Box::new(OwnedEvent { raw: None, ..event.clone() })),
            matched: 0,
            condition_at: event.time,
            plan: Plan::default(),
            evidence: None,
            paged_at: None,
        }
    }

    /// Beyond the cap there is one incident for all, and nothing is silent.
    fn on_too_many(&mut self, event: &OwnedEvent) {
        self.ignore("too many open incidents");
        let key = Id::of(&json!(["umbrella", self.scope]));
        if self.state.incident_of_key(key).is_some_and(|i| i.state.is_open()) {
            return;
        }
        let incident = Incident {
            id: Id::of(&json!(["incident", self.scope, key, self.now, self.input])),
            number: None,
            scope: self.scope.to_owned(),
            correlation_key: key,
            rulebook: OWN_RULEBOOK.to_owned(),
            rule: "too many open incidents".to_owned(),
            set: self.state.head.set,
            by: vec![],
            shadow: false,
            state: IncidentState::New,
            summary: format!(
                "More than {} incidents are open in scope {}: further ones are counted, not opened",
                self.engine.limits.open_incidents, self.scope
            ),
            impact: Level::High,
            urgency: Level::High,
            severity: Severity::Critical,
            assigned_to: None,
            category: None,
            ci: None,
            about: event.ci.best().map(str::to_owned),
            opened_at: self.now,
            updated_at: self.now,
            acknowledged: None,
            resolved_at: None,
            close_code: None,
            close_notes: None,
            reopen_count: 0,
            alerts: Vec::new(),
            event: None,
            matched: 0,
            condition_at: event.time,
            plan: Plan::default(),
            evidence: None,
            paged_at: None,
        };
        self.step(Step::IncidentOpened { incident: Box::new(incident) }, "engine", "the cap on open incidents");
    }

    fn contribute(&mut self, incident: Id, event: &OwnedEvent, alert: &AlertKey, who: &str) {
        self.mark(Mark::Matched { incident, time: event.time });
        let known = self.state.incidents.get(&incident).is_some_and(|i| i.alerts.contains(alert));
        if !known {
            let full =
                self.state.incidents.get(&incident).is_some_and(|i| i.alerts.len() >= incident::MAX_CONTRIBUTORS);
            if !full {
                self.step(Step::AlertJoined { incident, alert: alert.clone() }, who, "another alert of the same key");
            }
        }
        let counts = self.state.alerts.get(alert).is_some_and(|a| a.is_open() && !a.incidents.contains(&incident));
        if counts {
            self.mark(Mark::AlertCounts { alert: alert.clone(), incident });
        }
    }

    fn on_match_again(&mut self, id: Id, event: &OwnedEvent, alert: &AlertKey, set: &RuleSet, rule: &Rule) {
        let who = actor(set, rule);
        self.contribute(id, event, alert, &who);
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let severity = worst(incident.severity, event.severity);
        let (impact, urgency) = (incident.impact, incident.urgency.min(Level::urgency_of(event.severity)));
        let raised = severity != incident.severity;
        let lost = incident.evidence.as_ref().is_some_and(|e| event.time >= e.time);
        if raised {
            // A later match raises, never lowers.
            let urgency = if event.severity.rank() > incident.severity.rank() { urgency } else { incident.urgency };
            let reason = format!("severity {}", severity.name());
            self.step(Step::IncidentRaised { incident: id, severity, impact, urgency }, &who, reason);
        }
        if lost {
            self.step(Step::EvidenceLost { incident: id }, &who, "the condition came back");
            self.drop_timer(id, &TimerKind::Hold);
            self.go_on(id);
        }
    }

    /// Recovery did not stay: the run that was being verified has what is left of its time, or has failed.
    fn go_on(&mut self, id: Id) {
        let current = self.state.incidents.get(&id).and_then(|i| self.state.current_run(i));
        match current.map(|r| (r.id, r.state)) {
            None => self.plan_next(id),
            Some((run, RunState::Succeeded | RunState::Failed)) => {
                let timer = TimerKind::VerifyWithin { run }.id(id);
                if !self.state.timers.contains_key(&timer) {
                    self.on_not_verified(id, run);
                }
            }
            Some(_) => {}
        }
    }

    /// An explicit `clear` (`step` none) or a remedy's own `verify.when` held.
    pub(super) fn on_clear(&mut self, event: &OwnedEvent, set: Digest, ix: RuleIx, step: Option<usize>) {
        let Some(evaluator) = self.evaluator(set) else { return };
        let set = std::sync::Arc::clone(evaluator.borrow().set());
        let rule = set.rule(ix);
        let alert = AlertKey { source: event.source.to_string(), dedup_key: event.dedup_key().into_owned() };
        let Ok((_, key)) = self.identity(&set, rule, event, &alert) else { return };
        let Some(incident) = self.state.incident_of_key(key).filter(|i| i.state.is_open()) else { return };
        let id = incident.id;
        if let Some(step) = step {
            let under_way = self.state.current_run(incident).is_some_and(|r| r.step == super::remedy::path(step));
            if !under_way {
                return;
            }
        }
        if event.time >= incident.condition_at {
            self.on_evidence(id, event, event.time);
        }
    }

    /// Monitoring shows recovery. Nothing resolves while a run is in flight.
    pub(super) fn on_evidence(&mut self, id: Id, event: &OwnedEvent, time: Timestamp) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        if incident.evidence.is_some() {
            return;
        }
        let evidence = Evidence { input: self.input.to_owned(), at: self.now, time };
        let run = self.state.current_run(incident).cloned();
        let in_flight = run.as_ref().is_some_and(|r| waits_for_report(r));
        let hold = self.hold_of(id, run.as_ref());
        if in_flight || hold > Span::ZERO {
            let reason = match &event.value {
                Some(value) => format!("{} {value}", event.type_),
                None => format!("{} {}", event.type_, event.status.name()),
            };
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
            None => rule.incident.hold,
        }
    }

    pub(super) fn on_held(&mut self, id: Id) {
        let Some(incident) = self.state.incidents.get(&id).filter(|i| i.state.is_open()) else { return };
        if self.state.current_run(incident).is_some_and(waits_for_report) {
            return;
        }
        if let Some(evidence) = incident.evidence.clone() {
            self.resolve_by_evidence(id, evidence);
        }
    }

    /// Resolves by monitoring's evidence. Credit goes to a run only when recovery was seen after it started.
    pub(super) fn resolve_by_evidence(&mut self, id: Id, evidence: Evidence) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let run = self.state.current_run(incident).cloned();
        let earned = run.filter(|r| {
            matches!(r.state, RunState::Succeeded | RunState::Unknown)
                && r.started_at.is_some_and(|at| evidence.time >= at && evidence.at >= at)
        });
        let (code, notes) = match &earned {
            Some(run) => {
                self.step(
                    Step::RunJudged { run: run.id, verdict: Verdict::Verified },
                    "monitoring",
                    format!("recovery seen at {} by {}", evidence.time, evidence.input),
                );
                self.ci_after_run(run, Some(true));
                let notes = format!("{} on {}, verified by {}", run.playbook, run.target.name, evidence.input);
                (CloseCode::SolutionProvided, notes)
            }
            None => {
                self.judge_unearned(id);
                let notes = format!("the condition ended without a verified remedy ({})", evidence.input);
                (CloseCode::NoResolutionProvided, notes)
            }
        };
        self.finish(id, "monitoring", code, notes, Some(evidence));
    }

    /// Recovery without a run that earned it: what ran earlier, or still does, is ambiguous at best.
    fn judge_unearned(&mut self, id: Id) {
        let Some(current) = self.state.incidents.get(&id).and_then(|i| self.state.current_run(i)) else { return };
        if current.verdict.is_none() && current.started_at.is_some() {
            let run = current.id;
            self.step(
                Step::RunJudged { run, verdict: Verdict::Ambiguous },
                "monitoring",
                "recovery was seen, but not after this run had started",
            );
        }
    }

    pub(super) fn finish(&mut self, id: Id, who: &str, code: CloseCode, notes: String, evidence: Option<Evidence>) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let Ok(to) = incident::next(incident.state, IncidentMove::Resolve) else {
            return self.ignore("illegal move");
        };
        self.withdraw(incident.plan.current, "the incident was resolved before it was started");
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let contributors = incident.alerts.clone();
        let rule = self.rule_of(incident).map(|(_, rule)| rule);
        let act = IncidentMove::Resolve;
        let reason = notes.clone();
        self.step(
            Step::IncidentMoved { incident: id, act, to, code: Some(code), notes: Some(notes), evidence },
            who,
            reason,
        );
        self.drop_timers(id, rule.as_ref());
        // What is known by samples has no resolve of its own: it ends with the incident.
        for key in contributors {
            if self.state.alerts.get(&key).is_some_and(|a| a.sampled && a.is_open()) {
                self.mark(Mark::AlertClosed { alert: key, time: self.now });
            }
        }
        let close_after = rule.map_or(Span::from_secs(24 * 3600), |r| r.incident.close_after);
        self.set_timer(id, TimerKind::Close, self.now.plus(close_after));
    }

    fn drop_timers(&mut self, id: Id, rule: Option<&Rule>) {
        self.drop_timer(id, &TimerKind::Hold);
        for step in 0..rule.map_or(0, |r| r.escalate.len()) {
            self.drop_timer(id, &TimerKind::Escalate { step });
        }
        for run in self.state.runs_of.get(&id).cloned().unwrap_or_default() {
            self.drop_timer(id, &TimerKind::VerifyWithin { run });
        }
    }

    pub(super) fn on_close_due(&mut self, id: Id) {
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

/// Started or accepted: its report is to come. An unknown one that is to be judged by evidence is not waited for.
pub(super) fn waits_for_report(run: &Run) -> bool {
    match run.state {
        RunState::Started | RunState::Accepted => true,
        RunState::Unknown => run.on_unknown != paramedic_model::OnUnknown::Verify,
        _ => false,
    }
}

/// Default impact: by business criticality; 2 for a CI that is not known or says nothing.
fn default_impact(criticality: Option<u8>) -> Level {
    match criticality {
        Some(1) => Level::High,
        Some(3 | 4) => Level::Low,
        _ => Level::Medium,
    }
}
