//! Matches and evidence: incidents open, grow, reopen, resolve and close.

use paramedic_model::{
    AlertKey, Id, Incident, IncidentMove, IncidentState, Level, Names, OwnedEvent, Plan, RunState, Severity, Span,
    TimerKind, Timestamp, incident,
};
use paramedic_rulebook::{Ctx, EvalError, IncidentSpec, Rule, RuleSet};
use serde_json::{Value, json};

use super::event::worst;
use super::pattern::{Hit, Which};
use super::share::new_share;
use super::{Cx, actor};
use crate::decision::{Mark, Step};

/// The rulebook that the engine's own incidents name.
pub(super) const OWN_RULEBOOK: &str = "paramedic";
/// The step of the page that tells of one of the engine's own incidents.
pub(super) const OWN_PAGE: &str = "escalate/0";
/// Incidents that are not closed yet, resolved ones among them, may be so many times as many as open ones.
const KEPT_PER_OPEN: usize = 2;

impl Cx<'_> {
    /// A rule fires: its incident opens, reopens or goes on.
    pub(super) fn on_fired(&mut self, which: &Which, hit: Hit<'_>) {
        let (set, rule) = (&*which.set, which.rule());
        if self.is_off(set, which.ix) {
            return self.ignore("rule switched off");
        }
        self.worked.insert(which.ix);
        if rule.incident.is_none() {
            return match self.is_wanted(which, hit) {
                true => self.act(which, hit),
                false => self.ignore("not wanted: only_if"),
            };
        }
        let Some(key) = self.key_of_incident(set, rule, &which.by, hit) else { return };
        let standing = self.standing_for(which, key, hit).cloned();
        match standing {
            Some(incident) if incident.state.is_open() => self.on_match_again(incident.id, hit, which),
            _ if !self.is_wanted(which, hit) => return self.ignore("not wanted: only_if"),
            Some(incident) if self.may_reopen(&incident, rule) => self.reopen(&incident, hit, which),
            _ => self.open(hit, which, key),
        }
        self.act(which, hit);
    }

    /// The incident that stands for a key; of a rule that was renamed, one that was opened under an earlier name too.
    fn standing_for(&self, which: &Which, key: Id, hit: Hit<'_>) -> Option<&Incident> {
        let own = self.state.incident_of_key(key);
        if own.is_some() || which.rule().formerly.is_empty() {
            return own;
        }
        let former = which.rule().formerly.iter().filter_map(|name| {
            let before = Rule { name: name.clone(), ..which.rule().clone() };
            let key = self.correlation_key(&which.set, &before, &which.by, hit).ok()?;
            self.state.incident_of_key(key)
        });
        former.max_by_key(|i| (i.state.is_open(), i.opened_at, i.id))
    }

    /// What a rule waits for goes on: an incident that is open learns of it.
    pub(super) fn feed(&mut self, which: &Which, hit: Hit<'_>) {
        if let Some(id) = self.open_incident_of(which, hit) {
            self.on_match_again(id, hit, which);
        }
    }

    /// Another alert contributes to the rule's open incident.
    pub(super) fn contribute_to_key(&mut self, which: &Which, hit: Hit<'_>) {
        if let Some(id) = self.open_incident_of(which, hit) {
            self.join(id, hit.alert, &actor(&which.set, which.rule()));
            self.hold_share(id, hit.alert, which);
        }
    }

    pub(super) fn open_incident_of(&mut self, which: &Which, hit: Hit<'_>) -> Option<Id> {
        let key = self.key_of_incident(&which.set, which.rule(), &which.by, hit)?;
        self.standing_for(which, key, hit).filter(|i| i.state.is_open()).map(|i| i.id)
    }

    /// The correlation key; where it cannot be told, that is counted.
    fn key_of_incident(&mut self, set: &RuleSet, rule: &Rule, by: &[Value], hit: Hit<'_>) -> Option<Id> {
        match self.correlation_key(set, rule, by, hit) {
            Ok(key) => Some(key),
            Err(EvalError::Missing(_)) => {
                self.ignore("a part of `key` is missing");
                None
            }
            Err(EvalError::Script(_)) => {
                self.ignore("`key` failed");
                None
            }
        }
    }

    /// Within `reopen` of its resolving, by the rule that it was opened under.
    fn may_reopen(&self, incident: &Incident, now_matched: &Rule) -> bool {
        let opened_under = self.rule_of(incident).map(|(_, rule)| rule);
        let rule = opened_under.as_ref().unwrap_or(now_matched);
        let span = rule.incident.as_ref().map_or(IncidentSpec::REOPEN, |spec| spec.reopen);
        let resolved = incident.resolved_at.filter(|_| incident.state == IncidentState::Resolved);
        resolved.is_some_and(|at| span > Span::ZERO && self.now.since(at) <= span)
    }

    /// It came back: people are told again, and the first untried remedy is next.
    fn reopen(&mut self, incident: &Incident, hit: Hit<'_>, which: &Which) {
        let (id, who) = (incident.id, actor(&which.set, which.rule()));
        let gone = self.now.since(incident.resolved_at.unwrap_or(self.now));
        self.drop_timer(id, &TimerKind::Close);
        let reason = format!("it came back {gone} after it was resolved");
        self.move_to(id, IncidentMove::Reopen, &who, reason, None);
        self.share_in(id, hit, which, &who);
        self.contribute(id, hit, which, &who);
        self.raise(id, hit.event, &who);
        self.begin_work(id, "it came back");
    }

    /// (scope, rulebook, rule, by), or (scope, key) where given.
    pub(super) fn correlation_key(
        &self,
        set: &RuleSet,
        rule: &Rule,
        by: &[Value],
        hit: Hit<'_>,
    ) -> Result<Id, EvalError> {
        let book = set.rulebook_of(rule);
        let shadow = set.autonomy(book) == paramedic_model::Autonomy::Observe;
        let Some(exprs) = rule.incident.as_ref().and_then(|spec| spec.key.as_ref()) else {
            return Ok(Id::of(&json!(["key", self.scope, book.name, rule.name, by, shadow])));
        };
        let Some(evaluator) = self.evaluator(set.digest) else { return Err(EvalError::Script("no rules".into())) };
        let mut evaluator = evaluator.borrow_mut();
        let names = self.bindings(hit.names);
        let ctx = Ctx { names: &names, ..Ctx::of(hit.event, None, &self.state.cmdb, self.now) };
        let parts: Result<Vec<Value>, _> = exprs.iter().map(|e| evaluator.eval(*e, &ctx)).collect();
        let parts = parts?;
        if parts.iter().any(Value::is_null) {
            return Err(EvalError::Missing("key".into()));
        }
        Ok(Id::of(&json!(["key", self.scope, parts, shadow])))
    }

    fn open(&mut self, hit: Hit<'_>, which: &Which, correlation_key: Id) {
        let Hit { event, alert, .. } = hit;
        let (set, rule, by) = (&*which.set, which.rule(), which.by.clone());
        let Some(spec) = &rule.incident else { return };
        let limit = self.engine.limits.open_incidents;
        if self.state.open >= limit {
            return self.on_too_many(event, limit, "open");
        }
        // What comes and goes at once is kept until it is closed: that has an end too.
        let kept = limit.saturating_mul(KEPT_PER_OPEN);
        if self.state.incidents.len() >= kept {
            return self.on_too_many(event, kept, "open or resolved");
        }
        let who = actor(set, rule);
        let incident = Incident {
            alerts: Vec::from_iter((*alert.source != *OWN_RULEBOOK).then(|| alert.clone())),
            shares: Vec::from_iter(spec.key.as_ref().map(|_| new_share(which, event.time))),
            ..self.new_incident(hit, set, rule, spec, by, correlation_key)
        };
        let id = incident.id;
        let reason = match (&incident.about, self.about_of(rule, set, hit)) {
            (_, Err(why)) if rule.about.is_some() => format!("{}; about: {why}", rule.name),
            (Some(about), _) => format!("{} on {about}", rule.name),
            (None, _) => rule.name.clone(),
        };
        self.step(Step::IncidentOpened { incident: Box::new(incident) }, &who, reason);
        self.contribute(id, hit, which, &who);
        self.begin_work(id, "it was opened");
    }

    /// People are told and remedies are tried, now or when nothing suppresses it any more.
    fn begin_work(&mut self, id: Id, reason: &str) {
        if !self.waits_for_suppression(id) {
            self.escalations_at_open(id, reason);
            self.plan_next(id);
        }
    }

    fn new_incident(
        &self,
        hit: Hit<'_>,
        set: &RuleSet,
        rule: &Rule,
        spec: &IncidentSpec,
        by: Vec<Value>,
        correlation_key: Id,
    ) -> Incident {
        let book = set.rulebook_of(rule);
        let event = hit.event;
        let about = self.about_of(rule, set, hit).ok();
        let named = event.ci.best().map(str::to_owned);
        let names = self.bindings(hit.names);
        let ctx = Ctx { names: &names, ..Ctx::of(event, about, &self.state.cmdb, self.now) };
        let (impact, urgency, summary) = match self.evaluator(set.digest) {
            Some(evaluator) => {
                let mut evaluator = evaluator.borrow_mut();
                let impact = spec.impact.as_ref().and_then(|f| evaluator.level(f, &ctx).ok());
                let urgency = spec.urgency.as_ref().and_then(|f| evaluator.level(f, &ctx).ok());
                let name = about.map(|ci| ci.name.as_str()).or(named.as_deref());
                (impact, urgency, evaluator.render(&spec.summary, event, name, &names))
            }
            None => (None, None, rule.name.clone()),
        };
        Incident {
            set: set.digest,
            by,
            shadow: set.autonomy(book) == paramedic_model::Autonomy::Observe,
            impact: impact.unwrap_or_else(|| default_impact(about.and_then(|ci| ci.criticality))),
            urgency: urgency.unwrap_or_else(|| Level::urgency_of(event.severity)),
            severity: event.severity,
            assigned_to: spec.assign.clone(),
            category: spec.category.clone(),
            ci: about.map(|ci| ci.id),
            about: about.map(|ci| ci.name.clone()).or(named),
            event: asks_later(rule).then(|| Box::new(OwnedEvent { raw: None, ..event.clone() })),
            names: if asks_later(rule) { hit.names.clone() } else { Names::new() },
            ..self.bare(correlation_key, event.time, &book.name, &rule.name, summary)
        }
    }

    /// Beyond the cap there is one incident for all, and nothing is silent.
    fn on_too_many(&mut self, event: &OwnedEvent, limit: usize, which: &str) {
        self.ignore("too many open incidents");
        let key = Id::of(&json!(["umbrella", self.scope]));
        if self.state.incident_of_key(key).is_some_and(|i| i.state.is_open()) {
            return;
        }
        let summary = format!(
            "More than {limit} incidents are {which} in scope {}: further ones are counted, not opened",
            self.scope
        );
        let about = event.ci.best().map(str::to_owned);
        self.open_own(key, "too many open incidents", about, summary, "the cap on open incidents");
    }

    /// An incident of the engine's own: a person is told at once.
    pub(super) fn open_own(
        &mut self,
        correlation_key: Id,
        rule: &str,
        about: Option<String>,
        summary: String,
        reason: &str,
    ) {
        let incident = Incident {
            impact: Level::High,
            urgency: Level::High,
            severity: Severity::Critical,
            about,
            ..self.bare(correlation_key, self.now, OWN_RULEBOOK, rule, summary)
        };
        let id = incident.id;
        self.step(Step::IncidentOpened { incident: Box::new(incident) }, "engine", reason);
        self.page_own(id, OWN_PAGE, reason);
    }

    /// What every incident begins as.
    fn bare(&self, correlation_key: Id, time: Timestamp, rulebook: &str, rule: &str, summary: String) -> Incident {
        Incident {
            id: Id::of(&json!(["incident", self.scope, correlation_key, self.now, self.input])),
            number: None,
            scope: self.scope.to_owned(),
            correlation_key,
            rulebook: rulebook.to_owned(),
            rule: rule.to_owned(),
            set: self.state.head.set,
            by: vec![],
            shadow: false,
            state: IncidentState::New,
            summary: summary.chars().take(160).collect(),
            impact: Level::Medium,
            urgency: Level::Medium,
            severity: Severity::Unknown,
            assigned_to: None,
            category: None,
            ci: None,
            about: None,
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
            condition_at: time,
            plan: Plan::default(),
            evidence: None,
            names: Names::new(),
            shares: vec![],
            paged_at: None,
        }
    }

    fn contribute(&mut self, incident: Id, hit: Hit<'_>, which: &Which, who: &str) {
        let share = self.state.incidents.get(&incident).and_then(|i| self.share_at(i, which));
        self.mark(Mark::Matched { incident, time: hit.event.time, share });
        self.join(incident, hit.alert, who);
        self.hold_share(incident, hit.alert, which);
    }

    fn join(&mut self, incident: Id, alert: &AlertKey, who: &str) {
        // What stands for a record's step, or for what never came, is no alert.
        if *alert.source == *OWN_RULEBOOK {
            return;
        }
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

    fn on_match_again(&mut self, id: Id, hit: Hit<'_>, which: &Which) {
        let (event, who) = (hit.event, actor(&which.set, which.rule()));
        let rejoined = self.share_in(id, hit, which, &who);
        self.contribute(id, hit, which, &who);
        self.raise(id, event, &who);
        self.target_lost(id, event);
        let seen = self.state.incidents.get(&id).and_then(|i| i.evidence.as_ref());
        if seen.is_some_and(|e| rejoined || event.time >= e.time) {
            self.step(Step::EvidenceLost { incident: id }, &who, "the condition came back");
            self.drop_timer(id, &TimerKind::Hold);
            self.go_on(id);
        }
    }

    /// A later match with a higher severity raises; none lowers.
    fn raise(&mut self, id: Id, event: &OwnedEvent, who: &str) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let severity = worst(incident.severity, event.severity);
        if severity == incident.severity {
            return;
        }
        let (impact, urgency) = (incident.impact, incident.urgency.min(Level::urgency_of(severity)));
        let reason = format!("severity {}", severity.name());
        self.step(Step::IncidentRaised { incident: id, severity, impact, urgency }, who, reason);
    }

    /// Recovery did not stay: the run that was being verified has what is left of its time, or has failed.
    fn go_on(&mut self, id: Id) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        let current: Vec<(Id, RunState)> = self.state.current_runs(incident).map(|run| (run.id, run.state)).collect();
        if current.is_empty() {
            return self.plan_next(id);
        }
        for (run, state) in current {
            if !self.state.incidents.get(&id).is_some_and(|i| i.plan.current.contains(&run)) {
                continue;
            }
            match state {
                RunState::Succeeded => {
                    let timer = TimerKind::VerifyWithin { run }.id(id);
                    if !self.state.timers.contains_key(&timer) {
                        self.on_not_verified(id, run);
                    }
                }
                RunState::Failed | RunState::Denied | RunState::Cancelled => {
                    self.leave_plan(run);
                    self.after_failure(id, run);
                }
                _ => {}
            }
        }
        self.spread_again(id);
    }
}

/// Whether something is evaluated on the event that opened the incident, after it was opened.
fn asks_later(rule: &Rule) -> bool {
    !rule.remedy.is_empty() || rule.escalate.iter().any(|step| step.only_if.is_some())
}

/// Default impact: by business criticality; 2 for a CI that is not known or says nothing.
fn default_impact(criticality: Option<u8>) -> Level {
    match criticality {
        Some(1) => Level::High,
        Some(3 | 4) => Level::Low,
        _ => Level::Medium,
    }
}
