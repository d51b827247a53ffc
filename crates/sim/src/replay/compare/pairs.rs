//! Which incidents of two sets are the same, and how they differ.
//!
//! An incident's counterpart is one of the other set with the same correlation (the given key, or scope, rulebook, rule
//! and `by`; a rule's former names are its own) that is open at the same time; or, where `by` or the key has changed,
//! one of the same rule that the same event has opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_engine::Decided;
use paramedic_model::{Id, Timestamp};
use paramedic_rulebook::RuleSet;
use serde_json::{Map, Value, json};

use super::book::{Book, Deeds, News, Record};
use super::{Difference, Differences, EventRef, Kind, Lines};

/// Compares what two sets make of the same events.
pub(in super::super) struct Comparer {
    tried: Book,
    other: Book,
    /// Of this batch, in order: on the tried side or not.
    begun: Vec<(bool, Id)>,
    closed: Vec<(bool, Id)>,
    found: Differences,
}

impl Comparer {
    pub(in super::super) fn new(rules: &RuleSet, against: &RuleSet, most: usize) -> Self {
        Self {
            tried: Book::new(renamed(rules, against)),
            other: Book::new(renamed(against, rules)),
            begun: Vec::new(),
            closed: Vec::new(),
            found: Differences::new(most),
        }
    }

    /// A batch under both sets; `lines` has its events by input id.
    pub(in super::super) fn take(
        &mut self,
        tried: &[(Arc<str>, Decided)],
        other: &[(Arc<str>, Decided)],
        lines: &Lines,
    ) {
        let (mut a, mut b) = (tried.iter().peekable(), other.iter().peekable());
        // By time: so that batches do not show.
        loop {
            let first = match (a.peek(), b.peek()) {
                (Some((_, one)), Some((_, two))) => one.at <= two.at,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            if let Some((scope, decided)) = if first { a.next() } else { b.next() } {
                self.decision(first, scope, decided, lines);
            }
        }
        for (side, id) in std::mem::take(&mut self.begun) {
            self.look_near(side, id);
        }
        for (side, id) in std::mem::take(&mut self.closed) {
            self.settle(side, id);
        }
        self.tried.touched.clear();
        self.other.touched.clear();
    }

    /// What is left is compared as it is.
    pub(in super::super) fn finish(mut self) -> Differences {
        for side in [true, false] {
            let left: Vec<Id> = self.book(side).records.keys().copied().collect();
            for id in left {
                self.end(side, id);
            }
        }
        self.found
    }

    fn decision(&mut self, side: bool, scope: &Arc<str>, decided: &Decided, lines: &Lines) {
        let book = if side { &mut self.tried } else { &mut self.other };
        match book.take(scope, decided, lines) {
            Some(News::Begun(id)) => {
                self.begun.push((side, id));
                self.pair(side, id, decided.at);
            }
            Some(News::Closed(id)) => self.closed.push((side, id)),
            None => {}
        }
    }

    fn book(&self, side: bool) -> &Book {
        if side { &self.tried } else { &self.other }
    }

    /// Looks for the counterpart of an incident that begins at `at`.
    fn pair(&mut self, side: bool, id: Id, at: Timestamp) {
        let (mine, theirs) = (self.book(side), self.book(!side));
        let Some(record) = mine.records.get(&id).filter(|r| r.partner.is_none()) else { return };
        let alone = |of: &&Id| theirs.records.get(*of).is_some_and(|r| r.partner.is_none());
        let open = |of: &&Id| theirs.records.get(*of).is_some_and(|r| r.resolved.is_none_or(|ended| ended >= at));
        let by_key = theirs.by_key.get(&record.key).into_iter().flatten();
        let by_correlation = theirs.by_correlation.get(&record.correlation).into_iter().flatten();
        let first_of =
            |ids: &mut dyn Iterator<Item = &Id>| ids.min_by_key(|of| theirs.records.get(of).map(|r| r.opened)).copied();
        let counterpart = first_of(&mut by_key.filter(alone).filter(open))
            .or_else(|| first_of(&mut by_correlation.filter(alone).filter(open)))
            .or_else(|| self.opened_by_the_same(side, record));
        let Some(counterpart) = counterpart else { return };
        let (mine, theirs) = self.sides(side);
        if let (Some(a), Some(b)) = (mine.records.get_mut(&id), theirs.records.get_mut(&counterpart)) {
            (a.partner, b.partner) = (Some(counterpart), Some(id));
        }
    }

    fn sides(&mut self, side: bool) -> (&mut Book, &mut Book) {
        if side { (&mut self.tried, &mut self.other) } else { (&mut self.other, &mut self.tried) }
    }

    /// One of the same rule that the same event has opened.
    fn opened_by_the_same(&self, side: bool, record: &Record) -> Option<Id> {
        let theirs = self.book(!side);
        let rule = |r: &Record| (r.correlation.0.clone(), r.correlation.1.clone(), r.correlation.2.clone());
        let same = |r: &Record| r.partner.is_none() && r.input == record.input && rule(r) == rule(record);
        let touched = theirs.touched.get(&record.input)?;
        touched.iter().copied().find(|id| theirs.records.get(id).is_some_and(same))
    }

    /// The incident of the other set that the first event of this one belongs to, if that has another counterpart.
    fn look_near(&mut self, side: bool, id: Id) {
        let (mine, theirs) = (self.book(side), self.book(!side));
        let Some(record) = mine.records.get(&id).filter(|r| r.partner.is_none() && r.near.is_none()) else { return };
        let of_event = |book: &Book| book.touched.get(&record.input).cloned().unwrap_or_default();
        let own = of_event(mine);
        let near = of_event(theirs).into_iter().filter_map(|id| theirs.records.get(&id)).find(|candidate| {
            // An event that fires two rules is no sign that their incidents are one.
            let here = candidate.correlation.0 == record.correlation.0;
            here && candidate.partner.is_some_and(|partner| !own.contains(&partner))
        });
        let near = near.map(Record::named);
        if let Some(record) = self.sides(side).0.records.get_mut(&id) {
            record.near = near;
        }
    }

    /// A closed incident is compared when its counterpart is closed too.
    fn settle(&mut self, side: bool, id: Id) {
        let Some(record) = self.book(side).records.get(&id) else { return };
        let waits = record.partner.and_then(|p| self.book(!side).records.get(&p)).is_some_and(|p| !p.done);
        if !waits {
            self.end(side, id);
        }
    }

    /// Says how an incident and its counterpart differ, and forgets them.
    fn end(&mut self, side: bool, id: Id) {
        let (mine, theirs) = self.sides(side);
        let Some(one) = mine.remove(id) else { return };
        let two = one.partner.and_then(|partner| theirs.remove(partner));
        match (side, two) {
            (true, Some(two)) => self.both(&one, &two),
            (false, Some(two)) => self.both(&two, &one),
            (true, None) => self.only(&one, true),
            (false, None) => self.only(&one, false),
        }
    }

    fn only(&mut self, record: &Record, tried: bool) {
        let kind = match (tried, record.near.is_some()) {
            (true, false) => Kind::Opened,
            (true, true) => Kind::Split,
            (false, false) => Kind::Missed,
            (false, true) => Kind::Merged,
        };
        let (here, there) = (Some(record.told()), record.near.clone());
        let mut difference = self.about(record, record.opened, kind, [record.first.event.clone()]);
        (difference.rules, difference.against) = if tried { (here, there) } else { (there, here) };
        self.found.add(difference);
        let none = Deeds::default();
        let pair = |deeds| if tried { (deeds, &none) } else { (&none, deeds) };
        self.deeds(record, Kind::Run, pair(&record.runs));
        self.deeds(record, Kind::Page, pair(&record.pages));
    }

    fn both(&mut self, tried: &Record, other: &Record) {
        if tried.incident.priority != other.incident.priority {
            let made_by = |r: &Record| r.raised.clone().unwrap_or((r.opened, r.first.event.clone()));
            let ((at, event), (other_at, other_event)) = (made_by(tried), made_by(other));
            let mut difference = self.about(tried, at.min(other_at), Kind::Priority, [event, other_event]);
            difference.rules = Some(json!({"priority": tried.incident.priority}));
            difference.against = Some(json!({"priority": other.incident.priority}));
            self.found.add(difference);
        }
        self.changed(tried, other);
        self.deeds(tried, Kind::Run, (&tried.runs, &other.runs));
        self.deeds(tried, Kind::Page, (&tried.pages, &other.pages));
    }

    /// Everything else that is told of an incident.
    fn changed(&mut self, tried: &Record, other: &Record) {
        let (a, b) = (told(tried), told(other));
        let names: Vec<&String> = a.keys().filter(|name| a.get(*name) != b.get(*name)).collect();
        if names.is_empty() {
            return;
        }
        let pick = |of: &Map<String, Value>| {
            Some(Value::Object(names.iter().filter_map(|n| Some(((*n).clone(), of.get(*n)?.clone()))).collect()))
        };
        let by_first = tried.first != other.first;
        let ends = (tried.ended.as_ref() != other.ended.as_ref()).then_some([&tried.ended, &other.ended]);
        let mut events: Vec<Option<EventRef>> = ends.into_iter().flatten().cloned().collect();
        if by_first || events.iter().all(Option::is_none) {
            events.extend([tried.first.event.clone(), other.first.event.clone()]);
        }
        let mut difference = self.about(tried, tried.opened.min(other.opened), Kind::Changed, events);
        (difference.rules, difference.against) = (pick(&a), pick(&b));
        self.found.add(difference);
    }

    /// Runs or pages that only one of them has; two that say the same are the same.
    fn deeds(&mut self, record: &Record, kind: Kind, (tried, other): (&Deeds, &Deeds)) {
        for (side, mine, theirs) in [(true, tried, other), (false, other, tried)] {
            let mut left: Vec<&Value> = theirs.listed.iter().map(|d| &d.what).collect();
            for deed in &mine.listed {
                if let Some(at) = left.iter().position(|what| **what == deed.what) {
                    left.swap_remove(at);
                    continue;
                }
                let mut difference = self.about(record, deed.at, kind, [deed.event.clone()]);
                *(if side { &mut difference.rules } else { &mut difference.against }) = Some(deed.what.clone());
                self.found.add(difference);
            }
        }
        if tried.more != other.more {
            let mut difference = self.about(record, record.opened, kind, [record.first.event.clone()]);
            difference.rules = Some(json!({"further": tried.more}));
            difference.against = Some(json!({"further": other.more}));
            self.found.add(difference);
        }
    }

    fn about(
        &self,
        record: &Record,
        at: Timestamp,
        kind: Kind,
        events: impl IntoIterator<Item = Option<EventRef>>,
    ) -> Difference {
        Difference {
            at,
            kind,
            scope: record.correlation.0.clone(),
            rulebook: record.incident.rulebook.clone(),
            rule: record.incident.rule.clone(),
            about: record.incident.about.clone(),
            rules: None,
            against: None,
            events: events.into_iter().flatten().collect(),
        }
    }
}

/// What is compared of an incident, besides its priority and what it did.
fn told(record: &Record) -> Map<String, Value> {
    let i = &record.incident;
    let all = json!({
        "opened_at": record.opened, "by_event": record.first.event, "about": i.about, "summary": i.summary,
        "assign": i.assigned_to, "category": i.category, "shadow": i.shadow, "reopened": i.reopened,
        "resolved_at": record.resolved, "close_code": i.close_code,
    });
    match all {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The rules of a set that the other one knows by another name: (rulebook, name) to the name that both use, the newer.
fn renamed(set: &RuleSet, other: &RuleSet) -> BTreeMap<(String, String), String> {
    let mut names = BTreeMap::new();
    for newer in &other.rules {
        let book = &other.rulebook_of(newer).name;
        for old in &newer.formerly {
            if set.find(book, old).is_some() && set.find(book, &newer.name).is_none() {
                names.insert((book.clone(), old.clone()), newer.name.clone());
            }
        }
    }
    names
}
