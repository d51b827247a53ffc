//! Events: known ids, alerts and their occurrences, parked resolves; then the rules.

use std::borrow::Cow;
use std::sync::Arc;

use paramedic_model::{
    Alert, AlertKey, CiRef, Digest, Event, Id, Kind, OwnedEvent, Parked, SeenId, Severity, Span, Status, Timestamp,
};
use paramedic_rulebook::{Matches, Rule};
use serde_json::json;

use super::pattern::Hit;
use super::{Cx, EventInput};
use crate::decision::Mark;
use crate::state::{KEEP_IDS, MAX_ALERTS, MAX_ENDED, MAX_IDS, MAX_PARKED, PARK};

/// How many old things are forgotten in one step, at most.
const FORGET_AT_ONCE: usize = 64;

/// An event that is no repeat by its id.
struct Came<'e> {
    sent: &'e OwnedEvent,
    /// As the active set sees it.
    event: &'e OwnedEvent,
    /// What it is about.
    key: AlertKey,
    id: Option<Arc<SeenId>>,
}

impl Cx<'_> {
    pub(super) fn on_event(&mut self, input: &EventInput) {
        self.forget();
        let (sent, set) = (&input.event, self.state.head.set);
        let matches = if input.set == set { input.matches.clone() } else { self.match_under_current(sent) };
        let seen = self.as_seen(sent, &matches);
        let event = &*seen;
        let matches = self.with_thresholds(event, matches);
        let key = key_of(event);
        let id = seen_id(event);
        if id.as_ref().is_some_and(|id| self.state.seen.contains_key(id)) {
            self.remember(id.as_ref());
            self.on_signs_of_life(event, &key, &matches);
            return self.on_repeat(&key);
        }
        // Signs of life of a rule that is switched off as well: else all would be absent when it is on again.
        self.on_signs_of_life(event, &key, &matches);
        let matches = self.on_conditions(matches);
        self.sent_key =
            (!std::ptr::eq(sent, event)).then(|| key_of(sent).dedup_key).filter(|sent| *sent != key.dedup_key);
        let came = Came { sent, event, key, id };
        match event.status {
            Status::Firing => self.on_firing(&came, &matches),
            Status::Resolved => self.on_resolved(&came, &matches),
        }
    }

    /// Known (source, id)s, parked resolves and ended alerts grow old.
    fn forget(&mut self) {
        let (now, state) = (self.now, &self.state);
        let before = |keep: Span| Timestamp::from_nanos(now.as_nanos().saturating_sub(keep.as_nanos()));
        let (old_ids, old_parked) = (before(KEEP_IDS), before(PARK));
        let too_many = state.seen.len().saturating_sub(MAX_IDS);
        let seen: Vec<Arc<SeenId>> = state
            .seen_order
            .iter()
            .take(FORGET_AT_ONCE)
            .enumerate()
            .take_while(|(n, (at, _))| *at < old_ids || *n < too_many)
            .map(|(_, (_, id))| Arc::clone(id))
            .collect();
        let parked: Vec<AlertKey> = state
            .parked_order
            .iter()
            .take(FORGET_AT_ONCE)
            .take_while(|(at, _)| *at < old_parked)
            .map(|(_, key)| key.clone())
            .collect();
        let too_many = state.ended.len().saturating_sub(MAX_ENDED);
        let alerts: Vec<AlertKey> = state
            .ended
            .iter()
            .take(FORGET_AT_ONCE)
            .enumerate()
            .take_while(|(n, (at, _))| *at < old_ids || *n < too_many)
            .map(|(_, (_, key))| key.clone())
            .collect();
        if !(seen.is_empty() && parked.is_empty() && alerts.is_empty()) {
            self.mark(Mark::Forgotten { alerts, parked, seen });
        }
    }

    /// A repeat refreshes last-seen and counts; it never opens, acts or is evidence.
    fn on_repeat(&mut self, key: &AlertKey) {
        if self.state.alerts.contains_key(key) {
            self.mark(Mark::Repeat { alert: key.clone() });
        } else {
            self.ignore("repeat");
        }
    }

    fn remember(&mut self, id: Option<&Arc<SeenId>>) {
        if let Some(id) = id {
            self.mark(Mark::Seen { id: Arc::clone(id) });
        }
    }

    fn on_firing(&mut self, came: &Came<'_>, matches: &Matches) {
        let Came { sent, event, key, id } = came;
        if matches.is_empty() && !self.keeps_older_rules() {
            return self.ignore("no match");
        }
        if matches.when.is_empty() && matches.slots.is_empty() {
            let before = self.out.len();
            self.on_clears(sent, event, None, matches);
            return match self.out.len() == before && matches.is_empty() {
                true => self.ignore("no match"),
                false => self.remember(id.as_ref()),
            };
        }
        self.remember(id.as_ref());
        let known = self.state.alerts.get(key).map(|a| (a.began, a.severity, a.closed));
        let open_since = known.filter(|(_, _, closed)| closed.is_none()).map(|(began, ..)| began);
        let began = event.began.or(open_since).unwrap_or(event.time);
        match known {
            Some((known_began, known_severity, None)) => {
                let is_new = began > known_began;
                let severity = if is_new { event.severity } else { worst(known_severity, event.severity) };
                if event.kind == Kind::Alert && !is_new && severity == known_severity {
                    return self.on_repeat(key);
                }
                self.mark(Mark::AlertSeen { alert: key.clone(), began: began.max(known_began), severity });
            }
            Some((_, _, Some(closed))) if began < closed => return self.ignore("late firing"),
            // Samples that are only counted or measured are no alert of their own before there are enough.
            _ if !self.is_alert(event, matches) => {}
            _ => self.open_alert(event, key, began),
        }
        self.on_matches(Hit::of(event, key), matches);
        self.drop_idle(came, matches);
        self.on_clears(sent, event, None, matches);
        if !self.state.alerts.get(key).is_some_and(|a| a.is_open()) {
            return;
        }
        let met = self.state.parked.get(key).filter(|p| began <= p.time && self.now.since(p.at) <= PARK).cloned();
        if let Some(parked) = met {
            self.mark(Mark::ParkedMet { alert: key.clone() });
            self.close_alert(event, key, parked.time);
        }
    }

    pub(super) fn open_alert(&mut self, event: &OwnedEvent, key: &AlertKey, began: Timestamp) {
        let sent_key = self.sent_key.clone();
        let alert = Alert { sent_key, ..new_alert(event, key.clone(), began, self.now) };
        self.mark(Mark::AlertOpened { alert: Box::new(alert) });
    }

    /// An alert that contributes to nothing is not kept, nor is the id of its event: beyond the cap on incidents there may
    /// be any number of them. What is sent again is looked at anew; not, where a window may have taken it.
    fn drop_idle(&mut self, came: &Came<'_>, matches: &Matches) {
        let Came { event, key, id, .. } = came;
        if self.state.alerts.get(key).is_some_and(|a| a.is_open() && a.incidents.is_empty()) {
            // A rule that only tells somebody does so once an occurrence.
            let tells = !self.all_rules(matches, |rule| rule.incident.is_some());
            if tells && event.kind == Kind::Alert && self.state.alerts.len() < MAX_ALERTS {
                return;
            }
            let taken = tells || !matches.slots.is_empty() || !self.all_rules(matches, Rule::is_immediate);
            let seen = if taken { Vec::new() } else { id.iter().cloned().collect() };
            self.mark(Mark::Forgotten { alerts: vec![key.clone()], parked: vec![], seen });
        }
    }

    fn on_resolved(&mut self, came: &Came<'_>, matches: &Matches) {
        let Came { sent, event, key, id } = came;
        let Some(alert) = self.state.alerts.get(key).filter(|a| a.is_open()).cloned() else {
            if !matches.is_empty() {
                self.remember(id.as_ref());
                self.on_matches(Hit::of(event, key), matches);
                self.on_clears(sent, event, None, matches);
            }
            return self.park(event, key.clone());
        };
        self.remember(id.as_ref());
        if event.time < alert.began {
            return self.ignore("resolve of an earlier occurrence");
        }
        let (joined, changed) = join(event, &alert);
        let rematched;
        let matches = if changed {
            rematched = self.only_live(self.match_again(&joined));
            &rematched
        } else {
            matches
        };
        self.on_matches(Hit::of(&joined, key), matches);
        self.on_clears(sent, &joined, Some(&alert), matches);
        self.close_alert(&joined, key, joined.time);
    }

    /// With nothing open, a resolve waits a minute for its firing.
    fn park(&mut self, event: &OwnedEvent, key: AlertKey) {
        if self.state.parked.len() >= MAX_PARKED
            && !self.state.parked.contains_key(&key)
            && let Some((_, oldest)) = self.state.parked_order.first().cloned()
        {
            self.mark(Mark::Forgotten { alerts: vec![], parked: vec![oldest], seen: vec![] });
        }
        // One a key: of two, the one that meets more firings.
        let time = self.state.parked.get(&key).map_or(event.time, |old| old.time.max(event.time));
        self.mark(Mark::ResolveParked { parked: Parked { key, time, at: self.now } });
    }

    /// An occurrence ends; incidents without a `clear` of their own end with their last alert.
    fn close_alert(&mut self, event: &OwnedEvent, key: &AlertKey, time: Timestamp) {
        let incidents = self.state.alerts.get(key).map(|a| a.incidents.clone()).unwrap_or_default();
        self.mark(Mark::AlertClosed { alert: key.clone(), time });
        for id in incidents {
            if self.state.windows.contains_key(&id) {
                if self.state.all_ended(id) {
                    self.on_alerts_ended(id);
                }
                continue;
            }
            let Some(incident) = self.state.incidents.get(&id).filter(|i| i.state.is_open()) else { continue };
            if !incident.shares.is_empty() {
                if self.alerts_have_cleared(id) {
                    self.on_evidence(id, event, time);
                }
                continue;
            }
            let by_alerts = self.rule_of(incident).is_none_or(|(_, rule)| rule.clear_when().is_none());
            if by_alerts && self.state.all_ended(id) {
                self.on_evidence(id, event, time);
            }
        }
    }

    /// Open incidents may keep rules that are not the active ones: what matches none of these may yet clear them.
    fn keeps_older_rules(&self) -> bool {
        self.state.open_by_set.keys().any(|set| *set != self.state.head.set)
    }

    /// Explicit `clear`s and `verify`s, under the active set and under those that open incidents keep. `alert` is what the
    /// event ends.
    fn on_clears(&mut self, sent: &OwnedEvent, event: &OwnedEvent, alert: Option<&Alert>, matches: &Matches) {
        let current = self.state.head.set;
        self.on_shown(event, current, matches);
        let kept: Vec<Digest> = self.state.open_by_set.keys().copied().filter(|set| *set != current).collect();
        for set in kept {
            let (seen, found) = self.under_kept(set, sent, alert);
            if self.state.open_by_set.contains_key(&set) {
                self.on_shown(&seen, set, &found);
            }
        }
    }

    fn on_shown(&mut self, event: &OwnedEvent, set: Digest, matches: &Matches) {
        for rule in &matches.clear {
            self.on_clear(event, set, *rule, None);
        }
        for (rule, step) in &matches.verify {
            self.on_clear(event, set, *rule, Some(*step));
        }
    }
}

fn seen_id(event: &OwnedEvent) -> Option<Arc<SeenId>> {
    event.id.as_ref().map(|id| Arc::new(SeenId { source: event.source.to_string(), id: id.to_string() }))
}

/// What an event is about.
pub(super) fn key_of(event: &OwnedEvent) -> AlertKey {
    AlertKey { source: event.source.as_ref().into(), dedup_key: event.dedup_key().into() }
}

fn new_alert(event: &OwnedEvent, key: AlertKey, began: Timestamp, now: Timestamp) -> Alert {
    Alert {
        key,
        sent_key: None,
        type_: event.type_.as_ref().into(),
        ci: Arc::new(event.ci.clone()),
        labels: event.labels.clone(),
        severity: event.severity,
        began,
        closed: None,
        last_seen: now,
        repeats: 0,
        sampled: event.kind != Kind::Alert,
        incidents: Vec::new(),
    }
}

/// The worse of two; anything is worse than unknown.
pub(super) fn worst(a: Severity, b: Severity) -> Severity {
    if b.rank() > a.rank() { b } else { a }
}

/// A resolve that carries only the key is joined to its alert, so that rules see it whole; and whether that changed it.
pub(super) fn join(event: &OwnedEvent, alert: &Alert) -> (OwnedEvent, bool) {
    let mut joined = event.clone();
    let mut changed = false;
    if joined.ci.best().is_none() && alert.ci.best().is_some() {
        joined.ci = CiRef::clone(&alert.ci);
        changed = true;
    }
    if joined.labels.is_empty() && !alert.labels.is_empty() {
        joined.labels = alert.labels.clone();
        changed = true;
    }
    if joined.severity == Severity::Unknown && alert.severity != Severity::Unknown {
        joined.severity = alert.severity;
        changed = true;
    }
    if joined.type_.is_empty() {
        joined.type_ = Cow::Owned(alert.type_.to_string());
        changed = true;
    }
    (joined, changed)
}

/// The input id of an event: (source, event id); of one without an id, a digest of what it says.
pub fn event_input_id(event: &Event<'_>) -> String {
    let mut id = String::new();
    write_input_id(event, &mut id);
    id
}

/// [`event_input_id`], appended to a buffer that is used again.
pub fn write_input_id(event: &Event<'_>, out: &mut String) {
    out.push_str(&event.source);
    out.push('|');
    match &event.id {
        Some(id) => out.push_str(id),
        None => {
            let said = json!([event.source, event.dedup_key(), event.status, event.time, event.value, event.raw]);
            out.push_str(&Id::of(&said).to_string());
        }
    }
}
