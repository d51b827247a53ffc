//! The incidents that a replay opens, one by one: the first so many, by time.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_engine::{Decided, Decision, Step};
use paramedic_model::{Id, IncidentMove, Timestamp};
use serde::Serialize;

use super::causes::{Causes, EventRef, Lines};

/// An incident that a replay opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was last resolved, while it is.
    pub resolved_at: Option<Timestamp>,
    /// Where.
    pub scope: String,
    /// The rulebook that opened it.
    pub rulebook: String,
    /// Its rule.
    pub rule: String,
    /// What it is about.
    pub about: Option<String>,
    /// One line.
    pub summary: String,
    /// 1 critical .. 5 planning, as it is at the end.
    pub priority: u8,
    /// It only would have been, under autonomy `observe`.
    pub shadow: bool,
    /// The event that opened it; where a timer did, the one that armed it.
    pub by_event: Option<EventRef>,
    /// When the timer was armed, where one opened it; of a schedule, when it was due.
    pub armed_at: Option<Timestamp>,
}

/// Lists incidents as they are opened.
#[derive(Debug)]
pub(super) struct Listing {
    most: usize,
    causes: Causes,
    /// By time; what is opened at one instant by scope and id, so that the order does not depend on threads.
    kept: BTreeMap<(Timestamp, Arc<str>, Id), Listed>,
    places: BTreeMap<Id, (Timestamp, Arc<str>, Id)>,
    opened: u64,
}

impl Listing {
    /// At most so many are kept.
    pub(super) fn new(most: usize) -> Self {
        let (kept, places) = (BTreeMap::new(), BTreeMap::new());
        Self { most, causes: Causes::default(), kept, places, opened: 0 }
    }

    /// Takes the decisions of a batch; `lines` has its events.
    pub(super) fn take(&mut self, decided: &[(Arc<str>, Decided)], lines: &Lines) {
        for (scope, decided) in decided {
            self.causes.take(scope, decided, lines);
            if let Decision::Step(step) = &decided.decision {
                self.step(scope, decided, step, lines);
            }
        }
    }

    fn step(&mut self, scope: &Arc<str>, decided: &Decided, step: &Step, lines: &Lines) {
        if let Step::IncidentOpened { incident } = step {
            self.opened += 1;
            let cause = self.causes.of(scope, decided, incident, lines);
            let place = (decided.at, Arc::clone(scope), incident.id);
            let listed = Listed {
                opened_at: incident.opened_at,
                resolved_at: None,
                scope: incident.scope.clone(),
                rulebook: incident.rulebook.clone(),
                rule: incident.rule.clone(),
                about: incident.about.clone(),
                summary: incident.summary.clone(),
                priority: incident.priority(),
                shadow: incident.shadow,
                by_event: cause.event,
                armed_at: cause.armed,
            };
            self.places.insert(incident.id, place.clone());
            self.kept.insert(place, listed);
            if self.kept.len() > self.most
                && let Some(((.., id), _)) = self.kept.pop_last()
            {
                self.places.remove(&id);
            }
            return;
        }
        let Some(listed) = self.places.get(&step.record()).and_then(|place| self.kept.get_mut(place)) else { return };
        match step {
            Step::IncidentMoved { act: IncidentMove::Resolve | IncidentMove::Cancel, .. } => {
                listed.resolved_at = Some(decided.at);
            }
            Step::IncidentMoved { act: IncidentMove::Reopen, .. } => listed.resolved_at = None,
            Step::IncidentRaised { impact, urgency, .. } => {
                listed.priority = paramedic_model::priority(*impact, *urgency);
            }
            _ => {}
        }
    }

    /// The first of all workers, and how many more there are.
    pub(super) fn join(all: Vec<Listing>) -> (Vec<Listed>, u64) {
        let most = all.iter().map(|one| one.most).max().unwrap_or_default();
        let opened: u64 = all.iter().map(|one| one.opened).sum();
        let kept: BTreeMap<_, _> = all.into_iter().flat_map(|one| one.kept).collect();
        let kept: Vec<Listed> = kept.into_values().take(most).collect();
        let left_out = opened - kept.len() as u64;
        (kept, left_out)
    }
}
