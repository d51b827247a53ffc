//! `every`: a schedule. Each due time fires once, at its time on the shard's clock, those of an outage too.
//!
//! It belongs to one scope, and so to one shard: the default one, from its first input on.

use paramedic_model::{Kind, OwnedEvent, TimerKind, Timestamp, Window, WindowBody};
use paramedic_rulebook::{DEFAULT_SCOPE, Pattern, Rule, cron};
use serde_json::json;

use super::{Cx, Hit, Signal, Which};
use crate::step::event::key_of;
use crate::step::incident::OWN_RULEBOOK;

impl Cx<'_> {
    /// The schedule is set for its first due time, where this scope is the one that has it.
    pub(super) fn begin_schedule(&mut self, whole: &Which) {
        if self.scope == DEFAULT_SCOPE
            && let Some(due) = next(whole.rule(), self.now)
        {
            self.schedule(whole, due);
        }
    }

    fn schedule(&mut self, whole: &Which, due: Timestamp) {
        let id = self.window_id(whole, Window::SCHEDULE);
        self.put_window(id, whole, WindowBody::Schedule { due });
        self.set_timer(id, TimerKind::Window, due);
    }

    pub(super) fn on_schedule_due(&mut self, window: &Window, whole: &Which) {
        match next(whole.rule(), self.now) {
            Some(due) => self.schedule(whole, due),
            None => self.end_window(window.id),
        }
        let event = OwnedEvent {
            source: OWN_RULEBOOK.into(),
            kind: Kind::Log,
            type_: "schedule".into(),
            dedup_key: Some(format!("schedule/{}/{}", whole.book(), whole.rule().name).into()),
            time: self.now,
            received: self.now,
            ..OwnedEvent::default()
        };
        let alert = key_of(&event);
        let hit = Hit::of(&event, &alert);
        let by = match whole.rule().by {
            Some(_) => self.asked(whole.rule(), &whole.set, hit, |evaluator, ctx| evaluator.by_of(whole.ix, ctx)),
            None => Ok(vec![json!(&*alert.source), json!(&*alert.dedup_key)]),
        };
        let Ok(by) = by else { return self.ignore("a part of `by` is missing") };
        let which = Which { set: std::sync::Arc::clone(&whole.set), ix: whole.ix, by };
        self.on_signal(&which, hit, Signal::Fires);
    }
}

/// The first due time after now.
fn next(rule: &Rule, now: Timestamp) -> Option<Timestamp> {
    let Pattern::Every { cron, timezone } = &rule.pattern else { return None };
    cron::Cron::parse(cron).ok()?.next(now, &cron::zone(timezone).ok()?)
}
