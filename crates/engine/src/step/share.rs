//! Incidents whose `key` rules share: all of them contribute, and it is over when each has cleared.

use paramedic_model::{Id, Incident, Share};
use paramedic_rulebook::{Ctx, Rule, RuleSet};
use serde_json::Value;

use super::Cx;
use super::pattern::{Hit, Which};
use crate::decision::Step;

/// What a rule contributes for one value of its `by`.
pub(super) fn share_of(set: &RuleSet, rule: &Rule, by: &[Value], cleared: bool) -> Share {
    Share { rulebook: set.rulebook_of(rule).name.clone(), rule: rule.name.clone(), by: by.to_vec(), cleared }
}

fn is_of(share: &Share, which: &Which) -> bool {
    share.rule == which.rule().name && share.rulebook == which.book() && share.by == which.by
}

impl Cx<'_> {
    /// The rule matched: it contributes from here on, with its impact and urgency where they are higher, and with whom
    /// it assigns where nobody has the incident yet.
    pub(super) fn share_in(&mut self, id: Id, hit: Hit<'_>, which: &Which, who: &str) {
        let Some(spec) = &which.rule().incident else { return };
        let Some(incident) = self.state.incidents.get(&id) else { return };
        if spec.key.is_none() || incident.shares.is_empty() {
            return;
        }
        let known = incident.shares.iter().find(|share| is_of(share, which));
        if known.is_some_and(|share| !share.cleared) {
            return;
        }
        let is_new = known.is_none();
        let (severity, impact, urgency) = (incident.severity, incident.impact, incident.urgency);
        let share = share_of(&which.set, which.rule(), &which.by, false);
        let reason = format!("{} shares its key", share.rule);
        self.step(Step::RuleContributes { incident: id, share, assign: spec.assign.clone() }, who, reason);
        if !is_new {
            return;
        }
        let names = self.bindings(hit.names);
        let about = self.about_of(which.rule(), &which.set, hit).ok();
        let ctx = Ctx { names: &names, ..Ctx::of(hit.event, about, &self.state.cmdb, self.now) };
        let Some(evaluator) = self.evaluator(which.set.digest) else { return };
        let mut evaluator = evaluator.borrow_mut();
        let wanted = |field: Option<_>, now| match field {
            Some(level) => std::cmp::min(level, now),
            None => now,
        };
        let more_impact = wanted(spec.impact.as_ref().and_then(|f| evaluator.level(f, &ctx).ok()), impact);
        let more_urgency = wanted(spec.urgency.as_ref().and_then(|f| evaluator.level(f, &ctx).ok()), urgency);
        drop(evaluator);
        if (more_impact, more_urgency) != (impact, urgency) {
            let step = Step::IncidentRaised { incident: id, severity, impact: more_impact, urgency: more_urgency };
            self.step(step, who, format!("{} says so", which.rule().name));
        }
    }

    /// A rule's own recovery was seen. Whether the incident's is: where rules share its key, all of them must have
    /// cleared.
    pub(super) fn has_cleared(&mut self, id: Id, which: &Which, reason: &str) -> bool {
        let Some(incident) = self.state.incidents.get(&id) else { return false };
        if incident.shares.is_empty() {
            return true;
        }
        let Some(share) = incident.shares.iter().find(|share| is_of(share, which)) else { return false };
        if !share.cleared {
            let share = Share { cleared: true, ..share.clone() };
            self.clear_share(id, share, reason);
        }
        self.all_have_cleared(id)
    }

    /// An alert ended. Rules that clear by their alerts have cleared when none that could end is open.
    pub(super) fn alerts_have_cleared(&mut self, id: Id) -> bool {
        let Some(incident) = self.state.incidents.get(&id) else { return false };
        if !self.is_over_but_for_samples(incident) {
            return false;
        }
        let by_alerts = |share: &&Share| {
            !share.cleared && self.rule_of_share(incident, share).is_some_and(|rule| rule.clear.is_none())
        };
        let shares: Vec<Share> = incident.shares.iter().filter(by_alerts).cloned().collect();
        for share in shares {
            self.clear_share(id, Share { cleared: true, ..share }, "every alert of it has ended");
        }
        self.all_have_cleared(id)
    }

    /// Samples have no end of their own: their alerts are open as long as the incident is.
    fn is_over_but_for_samples(&self, incident: &Incident) -> bool {
        let open = self.state.open_alerts.get(&incident.id).copied().unwrap_or(0);
        let samples = incident.alerts.iter().filter_map(|key| self.state.alerts.get(key));
        open == samples.filter(|alert| alert.is_open() && alert.sampled).count()
    }

    fn clear_share(&mut self, incident: Id, share: Share, reason: &str) {
        let text = format!("{} has cleared: {reason}", share.rule);
        self.step(Step::RuleContributes { incident, share, assign: None }, "monitoring", text);
    }

    /// A rule that is no more holds nothing open.
    fn all_have_cleared(&self, id: Id) -> bool {
        let Some(incident) = self.state.incidents.get(&id) else { return false };
        incident.shares.iter().all(|share| share.cleared || self.rule_of_share(incident, share).is_none())
    }

    /// The contributing rule, as it is now; else as it was when the incident was opened.
    fn rule_of_share(&self, incident: &Incident, share: &Share) -> Option<Rule> {
        [self.state.head.set, incident.set].into_iter().find_map(|set| {
            let evaluator = self.evaluator(set)?.borrow();
            evaluator.set().find(&share.rulebook, &share.rule).cloned()
        })
    }
}
