//! Incidents whose `key` rules share: all of them contribute, and it is over when each has cleared.

use paramedic_model::{AlertKey, Id, Incident, Share, Timestamp, incident::MAX_SHARES};
use paramedic_rulebook::{Ctx, Rule};

use super::Cx;
use super::pattern::{Hit, Which};
use crate::decision::{Mark, Step};

/// What a rule contributes from its first match on, for one value of its `by`.
pub(super) fn new_share(which: &Which, condition_at: Timestamp) -> Share {
    let (rulebook, rule) = (which.book().to_owned(), which.rule().name.clone());
    Share { rulebook, rule, by: which.by.clone(), cleared: false, condition_at }
}

fn is_of(share: &Share, which: &Which) -> bool {
    share.rule == which.rule().name && share.rulebook == which.book() && share.by == which.by
}

impl Cx<'_> {
    /// The rule matched: it contributes from here on, with its impact and urgency where they are higher, and with whom
    /// it assigns where nobody has the incident yet. Whether it did not before.
    pub(super) fn share_in(&mut self, id: Id, hit: Hit<'_>, which: &Which, who: &str) -> bool {
        let Some(spec) = &which.rule().incident else { return false };
        let Some(incident) = self.state.incidents.get(&id) else { return false };
        if spec.key.is_none() || incident.shares.is_empty() {
            return false;
        }
        let known = self.share_of(incident, which);
        if known.is_some_and(|share| !share.cleared) {
            return false;
        }
        let is_new = known.is_none();
        if is_new && incident.shares.len() >= MAX_SHARES {
            self.ignore("too many contributing rules");
            return false;
        }
        let (severity, impact, urgency) = (incident.severity, incident.impact, incident.urgency);
        let share =
            known.map_or_else(|| new_share(which, hit.event.time), |known| Share { cleared: false, ..known.clone() });
        let reason = format!("{} shares its key", share.rule);
        self.step(Step::RuleContributes { incident: id, share, assign: spec.assign.clone() }, who, reason);
        if !is_new {
            return true;
        }
        let names = self.bindings(hit.names);
        let about = self.about_of(which.rule(), &which.set, hit).ok();
        let ctx = Ctx { names: &names, ..Ctx::of(hit.event, about, &self.state.cmdb, self.now) };
        let Some(evaluator) = self.evaluator(which.set.digest) else { return true };
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
        true
    }

    /// What the rule contributes to an incident.
    pub(super) fn share_of<'i>(&self, incident: &'i Incident, which: &Which) -> Option<&'i Share> {
        self.share_at(incident, which).map(|at| &incident.shares[at])
    }

    /// And where it stands among them.
    pub(super) fn share_at(&self, incident: &Incident, which: &Which) -> Option<usize> {
        incident.shares.iter().position(|share| is_of(share, which))
    }

    /// A rule that clears by its alerts has cleared when those that are its own have ended.
    pub(super) fn hold_share(&mut self, incident: Id, alert: &AlertKey, which: &Which) {
        if which.rule().clear.is_some() {
            return;
        }
        let Some(of) = self.state.incidents.get(&incident) else { return };
        let Some(share) = self.share_of(of, which).map(|share| share.id(incident)) else { return };
        if self.state.alerts.get(alert).is_some_and(|a| a.is_open() && !a.incidents.contains(&share)) {
            self.mark(Mark::AlertCounts { alert: alert.clone(), incident: share });
        }
    }

    /// A rule's own recovery was seen. Whether the incident's is: where rules share its key, all of them must have
    /// cleared.
    pub(super) fn has_cleared(&mut self, id: Id, which: &Which, reason: &str) -> bool {
        let Some(incident) = self.state.incidents.get(&id) else { return false };
        if incident.shares.is_empty() {
            return true;
        }
        let Some(share) = self.share_of(incident, which) else { return false };
        if !share.cleared {
            let share = Share { cleared: true, ..share.clone() };
            self.clear_share(id, share, reason);
        }
        self.all_have_cleared(id)
    }

    /// An alert ended. Rules that clear by their alerts have cleared when all of theirs have ended.
    pub(super) fn alerts_have_cleared(&mut self, id: Id) -> bool {
        let Some(incident) = self.state.incidents.get(&id) else { return false };
        let by_alerts = |share: &&Share| {
            !share.cleared
                && self.state.all_ended(share.id(id))
                && self.rule_of_share(incident, share).is_some_and(|rule| rule.clear.is_none())
        };
        let shares: Vec<Share> = incident.shares.iter().filter(by_alerts).cloned().collect();
        for share in shares {
            self.clear_share(id, Share { cleared: true, ..share }, "every alert of it has ended");
        }
        self.all_have_cleared(id)
    }

    fn clear_share(&mut self, incident: Id, share: Share, reason: &str) {
        let text = format!("{} has cleared: {reason}", share.rule);
        self.step(Step::RuleContributes { incident, share, assign: None }, "monitoring", text);
    }

    /// A rule that is no more holds nothing open.
    pub(super) fn all_have_cleared(&self, id: Id) -> bool {
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
