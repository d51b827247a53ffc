//! `absent`: nothing satisfied a condition for so long.
//!
//! Measured on the feed's own progress: the time of the events that prove that it lives. What is silent together with its
//! feed is not known to be absent; for that there is one incident, of the feed.

use paramedic_model::{AlertKey, Ci, CiRef, CloseCode, Id, Kept, Kind, Named, Names, OwnedEvent, Span, TimerKind};
use paramedic_model::{Timestamp, Window, WindowBody};
use paramedic_rulebook::{CiFilter, Ctx, EvalError, Matches, Pattern, Rule, RuleIx, Slot};
use serde_json::json;

use super::{Cx, Hit, Signal, Which};
use crate::step::event::key_of;

/// The rule that incidents of silent feeds name.
const SILENT: &str = "source silent";
/// What an absence that has no event of its own says it is.
const ABSENT: &str = "absent";

/// What should come, how often, and from whom.
#[derive(Clone, Copy)]
struct Expecting<'r> {
    within: Span,
    for_each: Option<&'r CiFilter>,
}

fn expecting(rule: &Rule) -> Option<Expecting<'_>> {
    match &rule.pattern {
        Pattern::Absent { within, for_each, .. } => Some(Expecting { within: *within, for_each: for_each.as_ref() }),
        _ => None,
    }
}

impl Cx<'_> {
    /// Signs of life, repeats among them.
    pub(in crate::step) fn on_signs_of_life(&mut self, event: &OwnedEvent, key: &AlertKey, matches: &Matches) {
        let hit = Hit::of(event, key);
        let signs: Vec<RuleIx> = matches.when.iter().copied().filter(|ix| self.is_absent(*ix)).collect();
        let feeds = matches.slots.iter().filter(|(_, slot)| *slot == Slot::Alive).map(|(ix, _)| *ix);
        let mut alive: Vec<RuleIx> = signs.iter().copied().chain(feeds).collect();
        alive.sort_unstable();
        alive.dedup();
        for ix in signs {
            self.on_sign(hit, ix);
        }
        for ix in alive {
            self.on_feed_alive(event, ix);
        }
    }

    fn is_absent(&self, ix: RuleIx) -> bool {
        self.evaluator(self.state.head.set)
            .is_some_and(|e| matches!(e.borrow().set().rule(ix).pattern, Pattern::Absent { .. }))
    }

    /// It came: it is waited for anew, and what was absent is no more.
    fn on_sign(&mut self, hit: Hit<'_>, ix: RuleIx) {
        let Some(which) = self.which_is_expected(hit, ix) else { return };
        let ci = which.ci;
        let which = which.which;
        let time = hit.event.time.min(self.now);
        let id = self.window_id(&which, Window::ABSENT);
        match self.state.windows.get(&id).map(|w| &w.body) {
            Some(WindowBody::Absent { last, .. }) if *last > time => {}
            Some(_) => self.wait_for(&which, time, Some(Kept::of(hit.event)), ci),
            None => {
                self.wait_for(&which, time, Some(Kept::of(hit.event)), ci);
                if which.rule().clear.is_none()
                    && let Some(incident) = self.open_incident_of(&which, hit)
                {
                    self.on_recovery(incident, format!("{} came again", hit.event.type_), time);
                }
            }
        }
    }

    fn wait_for(&mut self, which: &Which, last: Timestamp, event: Option<Kept>, ci: Option<Id>) {
        let id = self.window_id(which, Window::ABSENT);
        self.put_window_as_of(id, which, WindowBody::Absent { last, event, ci }, last);
    }

    /// The feed of a rule lives: whoever should have been heard by now, and was not, is absent.
    fn on_feed_alive(&mut self, event: &OwnedEvent, ix: RuleIx) {
        let Some(which) = self.of_the_feed(ix) else { return };
        let Some(Expecting { within, .. }) = expecting(which.rule()) else { return };
        let time = event.time.min(self.now);
        let id = self.window_id(&which, Window::FEED);
        let (before, was_silent) = match self.state.windows.get(&id).map(|w| &w.body) {
            Some(WindowBody::Feed { progress, silent, .. }) => (*progress, *silent),
            _ => (time, false),
        };
        let progress = before.max(time);
        let is_known = self.state.windows.contains_key(&id);
        self.put_window(id, &which, WindowBody::Feed { progress, at: self.now, silent: false });
        if !is_known || was_silent {
            self.set_timer(id, TimerKind::Window, self.now.plus(within));
        }
        if was_silent {
            self.on_feed_back(&which);
        }
        while let Some(window) = self.most_overdue(&which, progress, within) {
            self.on_absent(&which, &window);
        }
    }

    /// Of those who are waited for, the one who was heard least recently, if that was too long ago.
    fn most_overdue(&self, which: &Which, progress: Timestamp, within: Span) -> Option<Window> {
        let order = self.state.windows_of.get(which.book())?.get(which.rule().name.as_str())?;
        for (as_of, id) in order {
            if progress.since(*as_of) <= within {
                return None;
            }
            let window = self.state.windows.get(id)?;
            if matches!(&window.body, WindowBody::Absent { last, .. } if progress.since(*last) > within) {
                return Some((**window).clone());
            }
        }
        None
    }

    /// It did not come. It is waited for again when it has come.
    fn on_absent(&mut self, feed: &Which, window: &Window) {
        let WindowBody::Absent { event, ci, .. } = &window.body else { return };
        let which = Which { set: std::sync::Arc::clone(&feed.set), ix: feed.ix, by: window.by.to_vec() };
        let ci = ci.and_then(|id| self.state.cmdb.get(id)).cloned();
        let event = match event {
            Some(event) => event.clone(),
            None => Kept::of(&self.absence_of(which.rule(), ci.as_ref())),
        };
        let names = ci.map(|ci| ("ci".to_owned(), Named::Ci(ci.id))).into_iter().collect();
        self.end_window(window.id);
        self.on_signal(&which, Hit { event: &event, alert: &key_of(&event), names: &names }, Signal::Fires);
    }

    /// What stands for a sign of life that was never given.
    fn absence_of(&self, rule: &Rule, ci: Option<&Ci>) -> OwnedEvent {
        let name = ci.map(|ci| ci.name.clone());
        OwnedEvent {
            source: crate::step::incident::OWN_RULEBOOK.into(),
            kind: Kind::Alert,
            type_: ABSENT.into(),
            dedup_key: Some(format!("{ABSENT}/{}/{}", rule.name, name.as_deref().unwrap_or_default()).into()),
            ci: CiRef { name: name.map(Into::into), ..CiRef::default() },
            time: self.now,
            received: self.now,
            ..OwnedEvent::default()
        }
    }

    /// Nothing proved for the whole time that the feed lives: that is one incident, whoever is silent with it.
    pub(super) fn on_feed_due(&mut self, window: &Window, which: &Which) {
        let WindowBody::Feed { progress, at, silent } = &window.body else { return };
        let Some(Expecting { within, .. }) = expecting(which.rule()) else { return };
        let due = at.plus(within);
        if due > self.now {
            return self.set_timer(window.id, TimerKind::Window, due);
        }
        let waits = self.state.windows_of(which.book(), &which.rule().name) > 1;
        if *silent {
            return;
        }
        if !waits {
            // Nobody yet, or nobody any more: it may be otherwise later.
            return self.set_timer(window.id, TimerKind::Window, self.now.plus(within));
        }
        self.put_window(window.id, which, WindowBody::Feed { progress: *progress, at: *at, silent: true });
        let key = self.key_of_feed(which);
        if self.state.incident_of_key(key).is_some_and(|i| i.state.is_open()) {
            return;
        }
        let (book, rule) = (which.book(), &which.rule().name);
        let summary = format!("Nothing that rule {book}/{rule} waits for came in {within}: its feed is silent");
        self.open_own(key, SILENT, None, summary, "no sign of life of any");
    }

    /// Time in which the feed was silent counts against nobody.
    fn on_feed_back(&mut self, which: &Which) {
        let standing = self.state.incident_of_key(self.key_of_feed(which));
        if let Some(id) = standing.filter(|i| i.state.is_open()).map(|i| i.id) {
            let notes = "signs of life came again".to_owned();
            self.finish(id, "engine", CloseCode::NoResolutionProvided, notes, None);
        }
        let order = self.state.windows_of.get(which.book()).and_then(|rules| rules.get(which.rule().name.as_str()));
        let ids: Vec<Id> = order.into_iter().flatten().map(|(_, id)| *id).collect();
        for id in ids {
            let Some(window) = self.state.windows.get(&id).map(|w| Window::clone(w)) else { continue };
            if let WindowBody::Absent { event, ci, last } = window.body {
                let of = Which { set: std::sync::Arc::clone(&which.set), ix: which.ix, by: window.by.to_vec() };
                self.wait_for(&of, last.max(self.now), event, ci);
            }
        }
    }

    fn key_of_feed(&self, which: &Which) -> Id {
        Id::of(&json!([self.scope, "feed", which.book(), which.rule().name]))
    }

    /// A rule as a whole, whoever it waits for.
    fn of_the_feed(&self, ix: RuleIx) -> Option<Which> {
        let set = std::sync::Arc::clone(self.evaluator(self.state.head.set)?.borrow().set());
        Some(Which { set, ix, by: Vec::new() })
    }

    /// For whom a sign of life counts. `None` where the rule waits for others only.
    fn which_is_expected(&mut self, hit: Hit<'_>, ix: RuleIx) -> Option<Expected> {
        let feed = self.of_the_feed(ix)?;
        let Some(filter) = expecting(feed.rule())?.for_each else {
            let which = self.which(hit, ix)?;
            return Some(Expected { which, ci: None });
        };
        let ci = self.about(hit)?.clone();
        selects(filter, &ci).then(|| self.expected_ci(&feed, &ci)).flatten()
    }

    /// A CI that the CMDB says must give signs of life.
    fn expected_ci(&mut self, feed: &Which, ci: &Ci) -> Option<Expected> {
        let names = Names::from([("ci".to_owned(), Named::Ci(ci.id))]);
        let by = self.by_of_ci(feed, ci, &names);
        match by {
            Ok(by) => {
                let which = Which { set: std::sync::Arc::clone(&feed.set), ix: feed.ix, by };
                Some(Expected { which, ci: Some(ci.id) })
            }
            Err(_) => {
                self.ignore("a part of `by` is missing");
                None
            }
        }
    }

    /// What counts as the same thing: the CI, where the rule says nothing else.
    fn by_of_ci(&self, feed: &Which, ci: &Ci, names: &Names) -> Result<Vec<serde_json::Value>, EvalError> {
        if feed.rule().by.is_none() {
            return Ok(vec![json!(ci.id)]);
        }
        let Some(evaluator) = self.evaluator(feed.set.digest) else { return Err(EvalError::Script(String::new())) };
        let event = self.absence_of(feed.rule(), Some(ci));
        let bindings = self.bindings(names);
        let ctx = Ctx { names: &bindings, ..Ctx::of(&event, Some(ci), &self.state.cmdb, self.now) };
        evaluator.borrow_mut().by_of(feed.ix, &ctx)
    }

    /// Rules that wait for CIs of the CMDB, or for a time, begin to. Cheap where all do already.
    pub(in crate::step) fn begin_to_wait(&mut self) {
        for ix in self.engine.waiting_rules(self.state.head.set) {
            let Some(feed) = self.of_the_feed(*ix) else { continue };
            if self.state.windows_of(feed.book(), &feed.rule().name) > 0 {
                continue;
            }
            if matches!(feed.rule().pattern, Pattern::Every { .. }) {
                self.begin_schedule(&feed);
                continue;
            }
            let Some(within) = expecting(feed.rule()).map(|e| e.within) else { continue };
            let id = self.window_id(&feed, Window::FEED);
            self.put_window(id, &feed, WindowBody::Feed { progress: self.now, at: self.now, silent: false });
            self.set_timer(id, TimerKind::Window, self.now.plus(within));
            let all: Vec<Ci> = self.state.cmdb.cis().cloned().collect();
            for ci in &all {
                self.expect_ci(&feed, ci);
            }
        }
    }

    /// CIs have changed: those that a rule waits for from now on have the whole time, others are not waited for.
    pub(in crate::step) fn on_cis_changed(&mut self, changed: &[Ci]) {
        for ix in self.engine.waiting_rules(self.state.head.set) {
            let Some(feed) = self.of_the_feed(*ix) else { continue };
            for ci in changed {
                if let Some(ci) = self.state.cmdb.get(ci.id).cloned() {
                    self.expect_ci(&feed, &ci);
                }
            }
        }
    }

    fn expect_ci(&mut self, feed: &Which, ci: &Ci) {
        let Some(filter) = expecting(feed.rule()).and_then(|e| e.for_each) else { return };
        let wanted = selects(filter, ci);
        let Some(Expected { which, ci: of }) = self.expected_ci(feed, ci) else { return };
        let id = self.window_id(&which, Window::ABSENT);
        match (wanted, self.state.windows.contains_key(&id)) {
            (true, false) => self.wait_for(&which, self.now, None, of),
            (false, true) => self.end_window(id),
            _ => {}
        }
    }
}

/// Who is waited for.
struct Expected {
    which: Which,
    ci: Option<Id>,
}

/// Whether every part of a filter that is given fits.
fn selects(filter: &CiFilter, ci: &Ci) -> bool {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    filter.class.as_ref().is_none_or(|class| *class == ci.class)
        && filter.environment.as_ref().is_none_or(|environment| ci.environment.as_ref() == Some(environment))
        && filter.attributes.iter().all(|(name, want)| ci.attributes.get(name).is_some_and(|a| text(&a.value) == *want))
}
