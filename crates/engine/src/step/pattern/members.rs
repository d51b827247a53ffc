//! `all`, `sequence`, `any`, `not_all`, and `unless`: several events make one match.
//!
//! They are joined by `by`; what a member says of earlier ones is asked when all have come. Firing consumes them.

use paramedic_model::{Id, Kept, Named, Names, Span, TimerKind, Timestamp, Window, WindowBody};
use paramedic_rulebook::{Member, Pattern, Rule, Slot, Together};

use super::{Cx, Hit, Signal, Which};
use crate::step::event::key_of;

/// So many events of a member of a sequence are kept: an earlier one may be the one that fits.
const KEPT: usize = 8;
/// So many combinations are looked at, at most.
const TRIED: usize = 1_000;

/// A pattern of several.
#[derive(Clone, Copy)]
pub(super) struct Several<'r> {
    together: Together,
    members: &'r [Member],
    within: Span,
    /// The end of the time decides, not the last member.
    waits: bool,
}

/// The pattern of a rule, where it is one of several.
pub(super) fn several(rule: &Rule) -> Option<Several<'_>> {
    match &rule.pattern {
        Pattern::Members { together, members, within, unless } => Some(Several {
            together: *together,
            members,
            within: within.unwrap_or(Span::ZERO),
            waits: unless.is_some() || *together == Together::NotAll,
        }),
        _ => None,
    }
}

/// Events that make the pattern whole, by member.
type Chosen = Vec<Kept>;

impl Cx<'_> {
    /// Conditions of a rule's parts held for an event.
    pub(super) fn on_parts(&mut self, which: &Which, hit: Hit<'_>, slots: &[Slot]) {
        let Some(several) = several(which.rule()) else { return };
        if several.together == Together::Any {
            return self.on_any(which, hit, slots, several);
        }
        let time = hit.event.time.min(self.now);
        let id = self.window_id(which, Window::MEMBERS);
        let as_of = self.as_of(which, several, id, time);
        if as_of.since(time) > several.within {
            return self.ignore("too late for its window");
        }
        let (mut came, mut unless) = match self.state.windows.get(&id).map(|w| &w.body) {
            Some(WindowBody::Members { came, unless }) => (came.clone(), *unless),
            _ => (vec![Vec::new(); several.members.len()], None),
        };
        // What has no timer of its own yet may be too old.
        several.forget(&mut came, as_of);
        let event = Kept::of(hit.event);
        for slot in slots {
            match slot {
                Slot::Member(at) => several.take(&mut came, usize::from(*at), &event),
                Slot::Unless => unless = unless.max(Some(time)),
                Slot::Alive => {}
            }
        }
        let first = oldest(&came);
        if let (Some(not_before), Some(first)) = (unless, first)
            && not_before >= first
        {
            // It came: nothing of this fires any more.
            return self.end_window(id);
        }
        let chosen = if several.waits && several.together != Together::NotAll {
            None
        } else {
            self.choose(which, several, &came)
        };
        match chosen {
            // Not all did not come.
            Some(_) if several.together == Together::NotAll => self.end_window(id),
            Some(chosen) => self.on_together(which, several, &chosen),
            None => {
                let ends = first.or(unless).map(|from| several.end(from));
                self.put_window(id, which, WindowBody::Members { came, unless });
                self.hold_alert(id, hit.alert);
                if let Some(ends) = ends
                    && !self.state.timers.contains_key(&TimerKind::Window.id(id))
                {
                    self.set_timer(id, TimerKind::Window, ends.max(self.now));
                }
            }
        }
    }

    /// When a window is looked at for an event of that time: now. One whose end waits for a source that was away is looked
    /// at as of its end, and what came after that finds it settled.
    fn as_of(&mut self, which: &Which, several: Several<'_>, id: Id, time: Timestamp) -> Timestamp {
        let Some(window) = self.state.windows.get(&id).cloned() else { return self.now };
        let WindowBody::Members { came, .. } = &window.body else { return self.now };
        match oldest(came).map(|first| several.end(first)) {
            Some(end) if several.waits && end <= self.now && (time < end || self.is_blind_to_window(&window.body)) => {
                end
            }
            Some(end) if several.waits && end <= self.now => {
                self.on_members_due(&window, which);
                self.now
            }
            _ => self.now,
        }
    }

    /// The first of them.
    fn on_any(&mut self, which: &Which, hit: Hit<'_>, slots: &[Slot], several: Several<'_>) {
        let named = slots.iter().filter_map(|slot| match slot {
            Slot::Member(at) => several.members.get(usize::from(*at)),
            _ => None,
        });
        let event = Named::Event(Kept::of(hit.event));
        let names: Names = named.map(|member| (member.name.clone(), event.clone())).collect();
        if !names.is_empty() {
            self.on_signal(which, Hit { names: &names, ..hit }, Signal::Fires);
        }
    }

    /// All came: the window is closed, and each event contributes.
    fn on_together(&mut self, which: &Which, several: Several<'_>, chosen: &[Kept]) {
        let names = several.names(chosen.iter().map(Some));
        let Some(last) = chosen.iter().max_by_key(|event| event.time).cloned() else { return };
        self.on_complete(which, &last, &names, chosen);
    }

    fn on_complete(&mut self, which: &Which, event: &Kept, names: &Names, all: &[Kept]) {
        let alert = key_of(event);
        let alerts: Vec<_> = all.iter().map(|event| key_of(event)).collect();
        // The one that has just come is on its way; those before it are held until it is told.
        self.on_signal(which, Hit { event, alert: &alert, names }, Signal::Fires);
        for alert in &alerts {
            self.contribute_to_key(which, Hit { event, alert, names });
            if which.rule().stays.is_some() {
                self.hold_alert(self.window_id(which, Window::HOLDS), alert);
            }
        }
        self.end_window(self.window_id(which, Window::MEMBERS));
    }

    /// The window's time is up.
    pub(super) fn on_members_due(&mut self, window: &Window, which: &Which) {
        let (Some(several), WindowBody::Members { came, unless }) = (several(which.rule()), &window.body) else {
            return self.end_window(window.id);
        };
        if several.waits
            && let Some(first) = oldest(came)
            && several.end(first) <= self.now
        {
            let chosen = self.choose(which, several, came);
            return match (several.together, chosen) {
                (Together::NotAll, None) => self.on_not_all(which, several, came),
                (Together::NotAll, Some(_)) => self.end_window(window.id),
                (_, Some(chosen)) => self.on_together(which, several, &chosen),
                (_, None) => self.slide_members(window, which, several),
            };
        }
        let gone = unless.is_some_and(|at| several.end(at) <= self.now) && oldest(came).is_none();
        if gone { self.end_window(window.id) } else { self.slide_members(window, which, several) }
    }

    /// The oldest have left the window.
    fn slide_members(&mut self, window: &Window, which: &Which, several: Several<'_>) {
        let WindowBody::Members { came, unless } = &window.body else { return };
        let mut left = came.clone();
        let before = Timestamp::from_nanos(self.now.as_nanos().saturating_add(i64::from(several.waits)));
        several.forget(&mut left, before);
        let unless = unless.filter(|at| several.end(*at) > self.now);
        let Some(ends) = oldest(&left).or(unless).map(|from| several.end(from)) else {
            return self.end_window(window.id);
        };
        self.put_window(window.id, which, WindowBody::Members { came: left, unless });
        self.set_timer(window.id, TimerKind::Window, ends.max(self.now));
    }

    /// One came, and not all did: it fires with the first.
    fn on_not_all(&mut self, which: &Which, several: Several<'_>, came: &[Vec<Kept>]) {
        let names = several.names(came.iter().map(|events| events.last()));
        let all: Vec<Kept> = came.iter().filter_map(|events| events.last().cloned()).collect();
        let Some(first) = came.iter().flatten().min_by_key(|event| event.time).cloned() else { return };
        self.on_complete(which, &first, &names, &all);
    }

    /// One event of each member that fit together, the newest first; for members in order, in their order.
    fn choose(&self, which: &Which, several: Several<'_>, came: &[Vec<Kept>]) -> Option<Chosen> {
        if came.iter().any(Vec::is_empty) {
            return None;
        }
        let (mut chosen, mut tries) = (Vec::new(), TRIED);
        self.choose_from(which, several, came, &mut chosen, &mut tries).then_some(chosen)
    }

    fn choose_from(
        &self,
        which: &Which,
        several: Several<'_>,
        came: &[Vec<Kept>],
        chosen: &mut Chosen,
        tries: &mut usize,
    ) -> bool {
        let at = chosen.len();
        let Some(candidates) = came.get(at) else { return true };
        for event in candidates.iter().rev() {
            if *tries == 0 {
                return false;
            }
            *tries -= 1;
            if !several.follows(chosen, event) {
                continue;
            }
            chosen.push(event.clone());
            if self.joins(which, several, at, chosen) && self.choose_from(which, several, came, chosen, tries) {
                return true;
            }
            chosen.pop();
        }
        false
    }

    /// Whether a member is as it says of earlier ones.
    fn joins(&self, which: &Which, several: Several<'_>, at: usize, chosen: &[Kept]) -> bool {
        if several.members.get(at).is_none_or(|member| member.reads.is_empty()) {
            return true;
        }
        let names = several.names(chosen.iter().map(Some));
        let (Some(evaluator), Ok(member)) = (self.evaluator(which.set.digest), u8::try_from(at)) else { return false };
        let bindings = self.bindings(&names);
        evaluator.borrow_mut().member_holds(which.ix, member, &bindings).unwrap_or(false)
    }
}

impl Several<'_> {
    /// The end of the time that began then. Where it decides, what comes then comes too late; else it is in time.
    fn end(self, from: Timestamp) -> Timestamp {
        let end = from.plus(self.within);
        if self.waits { end } else { Timestamp::from_nanos(end.as_nanos().saturating_add(1)) }
    }

    fn forget(self, came: &mut [Vec<Kept>], now: Timestamp) {
        for events in came {
            events.retain(|event| now.since(event.time.min(now)) <= self.within);
        }
    }

    /// The newest wins; of a sequence, some more are kept, and the first where the time goes from there.
    fn take(self, came: &mut [Vec<Kept>], at: usize, event: &Kept) {
        let Some(events) = came.get_mut(at) else { return };
        let place = events.partition_point(|known| known.time <= event.time);
        events.insert(place, event.clone());
        let keep = if self.together == Together::Sequence { KEPT } else { 1 + usize::from(self.waits) };
        if events.len() > keep {
            events.remove(usize::from(self.waits));
        }
    }

    /// Whether an event may be next to those that were chosen: within the time, and in a sequence another, not before.
    fn follows(self, chosen: &[Kept], event: &Kept) -> bool {
        let near = chosen.iter().all(|other| {
            let (early, late) = (other.time.min(event.time), other.time.max(event.time));
            late.since(early) <= self.within
        });
        let in_order = self.together != Together::Sequence
            || chosen.last().is_none_or(|before| before.time <= event.time && !before.is(event));
        near && in_order
    }

    fn names<'k>(self, events: impl Iterator<Item = Option<&'k Kept>>) -> Names {
        let named = self.members.iter().zip(events);
        named.filter_map(|(member, event)| Some((member.name.clone(), Named::Event(event?.clone())))).collect()
    }
}

fn oldest(came: &[Vec<Kept>]) -> Option<Timestamp> {
    came.iter().flatten().map(|event| event.time).min()
}
