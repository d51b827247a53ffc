//! `suppress`: for a while nobody is told of incidents about a CI, and no remedy of theirs is begun. Records are kept as
//! always, and a resolve is never held back.

use std::sync::Arc;

use paramedic_model::{Id, Incident, OwnedEvent, TimerKind, Timestamp, Window, WindowBody};
use serde_json::json;

use super::Cx;
use super::event::key_of;
use super::pattern::{Hit, Which};
use crate::decision::{Mark, Step};

/// So many incidents of a CI wait for the end of a suppression; of further ones people are told at once.
const MAX_HELD: usize = 1_000;

/// A suppression in force.
pub(super) struct Suppression {
    window: Id,
    pub(super) until: Timestamp,
    why: String,
}

impl Cx<'_> {
    /// The rule fires: the time begins, or begins anew.
    pub(super) fn suppress(&mut self, which: &Which, hit: Hit<'_>) {
        let Some(spec) = &which.rule().suppress else { return };
        let Ok(ci) = self.about_of(which.rule(), &which.set, hit).map(|ci| ci.id) else {
            return self.ignore("no CI to suppress");
        };
        let of_ci = of_ci(which, ci);
        let id = self.suppress_id(&of_ci);
        let held = self.suppressed_by(id).map(|(_, held)| held).unwrap_or_default();
        let until = self.now.plus(spec.span);
        self.put_window(id, &of_ci, WindowBody::Suppress { ci, until, held });
        self.set_timer(id, TimerKind::Window, until);
    }

    /// The rule's own `clear` held.
    pub(super) fn end_suppression(&mut self, which: &Which, event: &OwnedEvent) {
        let alert = key_of(event);
        let Ok(ci) = self.about_of(which.rule(), &which.set, Hit::of(event, &alert)).map(|ci| ci.id) else { return };
        self.end_window(self.suppress_id(&of_ci(which, ci)));
    }

    fn suppress_id(&self, of_ci: &Which) -> Id {
        Window::id_of(self.scope, of_ci.book(), &of_ci.rule().name, Window::SUPPRESS, &of_ci.by)
    }

    /// What suppresses an incident, the longest where there are several.
    pub(super) fn suppression_of(&self, incident: &Incident) -> Option<Suppression> {
        self.suppression_of_ci(incident.ci?)
    }

    fn suppression_of_ci(&self, ci: Id) -> Option<Suppression> {
        let rules = self.engine.suppressing.get(&self.state.head.set)?;
        let set = Arc::clone(self.evaluator(self.state.head.set)?.borrow().set());
        let in_force = rules.iter().filter_map(|ix| {
            let of_ci = Which { set: Arc::clone(&set), ix: *ix, by: vec![json!(ci)] };
            let window = self.state.windows.get(&self.suppress_id(&of_ci))?;
            let WindowBody::Suppress { until, .. } = &window.body else { return None };
            // At its last instant it is over, whichever timer of that instant comes first.
            if *until <= self.now {
                return None;
            }
            let why = of_ci.rule().suppress.as_ref().map(|spec| spec.reason.clone()).unwrap_or_default();
            Some(Suppression { window: window.id, until: *until, why })
        });
        in_force.max_by_key(|s| (s.until, s.window))
    }

    /// An incident begins, or begins anew: whether it must wait. It says so, and is told of when nothing holds it any
    /// more.
    pub(super) fn waits_for_suppression(&mut self, id: Id) -> bool {
        let Some(suppression) = self.state.incidents.get(&id).and_then(|i| self.suppression_of(i)) else {
            return false;
        };
        let Some(mut window) = self.state.windows.get(&suppression.window).map(|w| Window::clone(w)) else {
            return false;
        };
        let WindowBody::Suppress { held, .. } = &mut window.body else { return false };
        let until = suppression.until;
        held.retain(|id| self.state.incidents.get(id).is_some_and(|i| i.state.is_open()));
        if held.len() >= MAX_HELD {
            return false;
        }
        if !held.contains(&id) {
            held.push(id);
        }
        window.touched = self.now;
        let Suppression { why, .. } = suppression;
        self.mark(Mark::WindowChanged { window: Arc::new(window) });
        let text = format!("{why}, until {until}");
        self.step(Step::Suppressed { incident: id, until, why }, "engine", text);
        true
    }

    /// What a window holds back, where it is a suppression.
    pub(super) fn suppressed_by(&self, window: Id) -> Option<(Id, Vec<Id>)> {
        match self.state.windows.get(&window).map(|w| &w.body) {
            Some(WindowBody::Suppress { ci, held, .. }) => Some((*ci, held.clone())),
            _ => None,
        }
    }

    /// A suppression is over: unless another one goes on, people are told of what is still open, and remedies begin.
    pub(super) fn on_suppression_over(&mut self, ci: Id, held: &[Id]) {
        let is_open = |id: &Id| self.state.incidents.get(id).is_some_and(|i| i.state.is_open());
        let mut told: Vec<Id> = held.iter().copied().filter(is_open).collect();
        told.dedup();
        if self.suppression_of_ci(ci).is_some() {
            for id in told {
                if !self.waits_for_suppression(id) {
                    self.escalations_at_open(id, "too many wait for the end of a suppression");
                }
            }
            return;
        }
        for id in &told {
            self.escalations_at_open(*id, "nothing suppresses it any more");
        }
        let about_it = |i: &&Incident| i.ci == Some(ci) && i.state.is_open();
        let all: Vec<Id> = self.state.incidents.values().filter(about_it).map(|i| i.id).collect();
        for id in all {
            self.plan_next(id);
        }
    }
}

/// The rule for one CI, whatever its `by`.
fn of_ci(which: &Which, ci: Id) -> Which {
    Which { set: Arc::clone(&which.set), ix: which.ix, by: vec![json!(ci)] }
}
