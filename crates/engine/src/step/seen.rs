//! An event as the rules of a set see it. `enrich` says what they see, and the event as sent is kept for the other sets:
//! incidents keep the rules that they were opened under, and what those make of an event.

use std::borrow::Cow;

use paramedic_model::{Alert, AlertKey, Digest, OwnedEvent};
use paramedic_rulebook::{Evaluator, Matches};

use super::Cx;
use super::event::{join, key_of};

impl Cx<'_> {
    /// What an event as sent matches under the active set.
    pub(super) fn match_under_current(&self, sent: &OwnedEvent) -> Matches {
        self.evaluator(self.state.head.set).map(|e| e.borrow_mut().matches(sent)).unwrap_or_default()
    }

    /// What an event matches that the active set has enriched before.
    pub(super) fn match_again(&self, seen: &OwnedEvent) -> Matches {
        let Some(evaluator) = self.evaluator(self.state.head.set) else { return Matches::default() };
        self.found(&mut evaluator.borrow_mut(), seen)
    }

    /// Without the conditions that do not hold with the thresholds of the event's CI.
    pub(super) fn with_thresholds(&self, seen: &OwnedEvent, matches: Matches) -> Matches {
        let Some(evaluator) = self.evaluator(self.state.head.set) else { return matches };
        evaluator.borrow_mut().with_thresholds(matches, seen, &self.state.cmdb)
    }

    /// An event under rules that open incidents keep, joined to its alert where it ends one, and what it matches there.
    pub(super) fn under_kept<'e>(
        &self,
        set: Digest,
        sent: &'e OwnedEvent,
        alert: Option<&Alert>,
    ) -> (Cow<'e, OwnedEvent>, Matches) {
        let Some(kept) = self.evaluator(set) else { return (Cow::Borrowed(sent), Matches::default()) };
        let mut kept = kept.borrow_mut();
        let seen = kept.seen(sent);
        let seen = match alert {
            Some(alert) => Cow::Owned(join(&seen, alert).0),
            None => seen,
        };
        let found = self.found(&mut kept, &seen);
        (seen, found)
    }

    /// The event as the active set sees it. An open alert keeps the key that it was opened with, whatever the `enrich` of
    /// today makes of it: else it could never end.
    pub(super) fn as_seen<'e>(&self, sent: &'e OwnedEvent, matches: &Matches) -> Cow<'e, OwnedEvent> {
        let current = self.state.head.set;
        let mut others = self.state.open_by_set.keys().filter(|set| **set != current).peekable();
        if matches.changes.is_empty() && self.state.by_sent.is_empty() && others.peek().is_none() {
            return Cow::Borrowed(sent);
        }
        let mut seen = matches.changes.keep(sent);
        if self.is_open(&key_of(&seen)) {
            return seen;
        }
        // Of several that were sent with keys of their own and became one, the first is known by its key.
        let kept = || {
            others.find_map(|set| {
                let kept = self.evaluator(*set)?;
                let key = key_of(&kept.borrow_mut().seen(sent));
                self.is_open(&key).then_some(key)
            })
        };
        if let Some(key) = self.opened_as(key_of(sent)).or_else(kept) {
            seen.to_mut().dedup_key = Some(key.dedup_key.to_string().into());
        }
        seen
    }

    /// The open alert that was opened by an event with this key, as sent.
    fn opened_as(&self, sent: AlertKey) -> Option<AlertKey> {
        let lowest = AlertKey { source: "".into(), dedup_key: "".into() };
        let of_sent = self.state.by_sent.range((sent.clone(), lowest)..).take_while(|(as_sent, _)| *as_sent == sent);
        let known = of_sent.map(|(_, key)| key).find(|key| self.is_open(key)).cloned();
        known.or_else(|| self.is_open(&sent).then_some(sent))
    }

    fn is_open(&self, key: &AlertKey) -> bool {
        self.state.alerts.get(key).is_some_and(|alert| alert.is_open())
    }

    fn found(&self, evaluator: &mut Evaluator, seen: &OwnedEvent) -> Matches {
        let found = evaluator.match_seen(seen);
        evaluator.with_thresholds(found, seen, &self.state.cmdb)
    }
}
