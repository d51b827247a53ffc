//! Which conditions can hold for an event at all. A condition is filed under what it necessarily needs, the rarest
//! first: a type, then a label, a range, a beginning of a text... One that needs nothing is always a candidate.

mod build;
mod keys;
mod ranges;
mod table;
mod texts;

use paramedic_model::Event;
use smallvec::SmallVec;

use crate::condition::Term;
use crate::value::Val;
use keys::bit;
pub(crate) use ranges::Range;
use ranges::{Point, Ranges};
use table::Table;
use texts::{Affixes, Inside, Seen};

/// Position in the list of conditions.
pub(crate) type Entry = u32;

/// A condition that can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hit {
    pub(crate) entry: Entry,
    /// Which of its conjuncts, by position, hold already, as bits.
    pub(crate) proven: u32,
}

/// How a condition is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filed {
    /// By these, one after the other.
    Under(Vec<String>),
    /// It is asked for every event.
    Always,
    /// It can hold for no event.
    Nowhere,
}

/// What a key leads to: one condition, or more to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Child(u32);

impl Child {
    const NODE: u32 = 1 << 31;

    fn of_hit(at: u32) -> Self {
        Self(at)
    }

    fn of_node(at: u32) -> Self {
        Self(at | Self::NODE)
    }
}

/// Conditions by what they need.
#[derive(Debug, Default)]
pub(crate) struct Index {
    nodes: Vec<Node>,
    hits: Vec<Hit>,
    root: Node,
    filed: Vec<Filed>,
}

/// Conditions that have passed the same keys.
#[derive(Debug, Default)]
struct Node {
    /// Candidates without another look.
    always: Box<[Hit]>,
    labels: Option<Box<Labels>>,
    fields: Box<[(Term, Tests)]>,
}

/// Tests of labels by the label's name.
#[derive(Debug)]
struct Labels {
    names: Table,
    tests: Box<[Tests]>,
}

/// What is asked about one value. Mostly it is equality.
#[derive(Debug)]
struct Tests {
    equal: Table,
    others: Option<Box<Others>>,
}

#[derive(Debug)]
struct Others {
    starts: Affixes,
    ends: Affixes,
    inside: Option<Box<Inside>>,
    numbers: Ranges,
    severities: Box<[(u8, Child)]>,
    there: Box<[Child]>,
}

/// Room to work in, kept from event to event.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// By entry, each once.
    pub(crate) hits: Vec<Hit>,
    seen: Seen,
}

impl Index {
    /// Finds each condition that can hold for the event, once, in order.
    pub(crate) fn find(&self, event: &Event<'_>, found: &mut Found) {
        found.hits.clear();
        self.root.find(self, event, found);
        if found.hits.len() > 1 {
            found.hits.sort_unstable();
            found.hits.dedup_by_key(|hit| hit.entry);
        }
    }

    /// How each condition is found, by entry.
    pub(crate) fn filed(&self) -> &[Filed] {
        &self.filed
    }

    /// How many conditions are asked for every event.
    pub(crate) fn always(&self) -> usize {
        self.root.always.len()
    }

    fn follow(&self, child: Child, event: &Event<'_>, found: &mut Found) {
        if child.0 & Child::NODE == 0 {
            found.hits.extend(self.hits.get(child.0 as usize));
        } else if let Some(node) = self.nodes.get((child.0 & !Child::NODE) as usize) {
            node.find(self, event, found);
        }
    }
}

impl Node {
    fn find(&self, index: &Index, event: &Event<'_>, found: &mut Found) {
        found.hits.extend_from_slice(&self.always);
        for (term, tests) in &self.fields {
            tests.find(&term.eval(event), index, event, found);
        }
        if let Some(labels) = &self.labels {
            labels.find(index, event, found);
        }
    }
}

impl Labels {
    /// With more names than an event has labels it is the labels that are looked up.
    const FEW: usize = 4;

    fn find(&self, index: &Index, event: &Event<'_>, found: &mut Found) {
        if self.names.len() <= Self::FEW {
            for (name, tests) in self.names.iter() {
                if let Some(text) = std::str::from_utf8(name).ok().and_then(|name| event.labels.get(name)) {
                    self.tests[tests.0 as usize].find(&Val::text(text), index, event, found);
                }
            }
            return;
        }
        for (name, text) in event.labels.iter() {
            if let Some(tests) = self.names.get(name.as_bytes()) {
                self.tests[tests.0 as usize].find(&Val::text(text), index, event, found);
            }
        }
    }
}

impl Tests {
    fn find(&self, value: &Val<'_>, index: &Index, event: &Event<'_>, found: &mut Found) {
        if let Val::Text(text) = value
            && let Some(child) = self.equal.get(text.as_bytes())
        {
            index.follow(child, event, found);
        }
        if let Some(others) = &self.others {
            others.find(value, index, event, found);
        }
    }
}

impl Others {
    fn find(&self, value: &Val<'_>, index: &Index, event: &Event<'_>, found: &mut Found) {
        match value {
            Val::Missing => return,
            Val::Text(text) => self.find_text(text, index, event, found),
            Val::Int(_) | Val::Float(_) => {
                if let (false, Some(number)) = (self.numbers.is_empty(), Point::of(value)) {
                    self.numbers.holding(&number, &mut |child| index.follow(child, event, found));
                }
            }
            Val::Severity(severity) => {
                for (bits, child) in &self.severities {
                    if bits & bit(*severity) != 0 {
                        index.follow(*child, event, found);
                    }
                }
            }
            Val::Bool(_) | Val::Other => {}
        }
        for child in &self.there {
            index.follow(*child, event, found);
        }
    }

    fn find_text(&self, text: &str, index: &Index, event: &Event<'_>, found: &mut Found) {
        if !self.starts.is_empty() {
            self.starts.starting(text, &mut |child| index.follow(child, event, found));
        }
        if !self.ends.is_empty() {
            self.ends.ending(text, &mut |child| index.follow(child, event, found));
        }
        if let Some(inside) = &self.inside {
            let mut seen = std::mem::take(&mut found.seen);
            let mut children: SmallVec<[Child; 16]> = SmallVec::new();
            inside.holding(text, &mut seen, &mut |child| children.push(child));
            found.seen = seen;
            children.into_iter().for_each(|child| index.follow(child, event, found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::compile::{Compiler, Role};
    use crate::script::native::{cond, expression};
    use paramedic_model::{Labels, Measure, Severity};

    fn index(conditions: &[&str]) -> Index {
        let compiler = Compiler::new();
        let conds: Vec<_> = conditions
            .iter()
            .map(|text| cond(expression(&compiler.parse(text, Role::Condition).unwrap()).unwrap()).expect(text))
            .collect();
        Index::new(conds.iter())
    }

    fn event<'a>(type_: &'a str, labels: &[(&'a str, &'a str)], value: Option<Measure<'a>>) -> Event<'a> {
        let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Event {
            type_: type_.into(),
            labels: Labels::new(labels),
            value,
            severity: Severity::Major,
            summary: Some("disk /var is full".into()),
            ..Event::default()
        }
    }

    fn found(index: &Index, event: &Event<'_>) -> Vec<Entry> {
        let mut found = Found::default();
        index.find(event, &mut found);
        found.hits.iter().map(|hit| hit.entry).collect()
    }

    #[test]
    fn only_conditions_of_the_type_and_the_label_are_candidates() {
        let index = index(&[
            "event.type == \"a\" && event.labels.x == \"1\"",
            "event.type == \"a\" && event.labels.x == \"2\"",
            "event.type in [\"a\", \"b\"]",
            "event.value != 1",
            "event.labels.x == \"1\" || event.labels.x == \"3\"",
            "event.labels.x == \"1\" || event.labels.y == \"1\"",
        ]);
        assert_eq!(found(&index, &event("a", &[("x", "1")], None)), [0, 2, 4, 5]);
        assert_eq!(found(&index, &event("b", &[("y", "1"), ("x", "1")], Some(Measure::Int(1)))), [2, 3, 4, 5]);
        assert_eq!(found(&index, &event("c", &[("x", "3")], None)), [4]);
    }

    #[test]
    fn of_rules_that_differ_in_one_test_only_those_that_pass_it_are_candidates() {
        let index = index(&[
            "event.type == \"a\" && event.value >= 10",
            "event.type == \"a\" && event.value >= 20.5",
            "event.type == \"a\" && event.value < 10 && event.value > 5",
            "event.type == \"a\" && event.value == 20",
            "event.type == \"a\" && event.value < 1 && event.value > 2",
            "event.type == \"a\" && event.summary.starts_with(\"disk /v\")",
            "event.type == \"a\" && event.summary.starts_with(\"disk /u\")",
            "event.type == \"a\" && event.summary.ends_with(\"full\")",
            "event.type == \"a\" && event.summary.ends_with(\"empty\")",
            "event.type == \"a\" && event.summary.contains(\"/var\")",
            "event.type == \"a\" && event.summary.contains(\"/usr\")",
            "event.type == \"a\" && event.severity >= CRITICAL",
            "event.type == \"a\" && event.severity in [MAJOR, MINOR]",
            "event.type == \"a\" && event.summary.matches(\"disk /(usr|opt)\")",
            "event.type == \"a\" && has(event.labels.x)",
            "event.type == \"a\" && num(event.labels.x) > 3",
        ]);
        let texts = [5, 7, 9, 12];
        assert_eq!(found(&index, &event("a", &[], None)), texts);
        assert_eq!(found(&index, &event("a", &[], Some(Measure::Int(20)))), [&[0, 3][..], &texts].concat());
        assert_eq!(found(&index, &event("a", &[], Some(Measure::Float(7.5)))), [&[2][..], &texts].concat());
        assert_eq!(found(&index, &event("a", &[("x", "4")], None)), [&texts[..], &[14, 15]].concat());
        assert_eq!(found(&index, &event("b", &[("x", "4")], Some(Measure::Int(20)))), [0u32; 0]);
    }

    #[test]
    fn what_the_keys_have_shown_is_not_asked_again() {
        let index = index(&[
            "event.type == \"a\" && event.value >= 10 && event.labels.x == \"1\"",
            "event.type == \"a\" && event.value >= 10 && event.labels.x == \"2\"",
            "event.type == \"a\" && event.value >= 20 && event.labels.x == \"2\"",
        ]);
        let mut hits = Found::default();
        index.find(&event("a", &[("x", "1")], Some(Measure::Int(15))), &mut hits);
        assert_eq!(hits.hits, [Hit { entry: 0, proven: 0b101 }]);
    }

    #[test]
    fn it_tells_how_each_condition_is_found() {
        let index = index(&[
            "event.type == \"a\" && event.labels.x == \"1\" && event.value > 2",
            "event.type in [\"a\", \"b\"] && event.labels.x == \"2\"",
            "event.type == \"a\" && event.labels.x == \"2\"",
            "!(event.type == \"a\")",
            "event.value > 3 && event.value < 2",
            "event.value >= 90 && event.value < 95.5",
            "event.summary.to_lower().contains(\"oom\") || event.severity == CRITICAL",
        ]);
        let under = |keys: &[&str]| Filed::Under(keys.iter().map(|k| (*k).to_owned()).collect());
        assert_eq!(
            index.filed(),
            [
                under(&["event.type == \"a\"", "event.labels.x == \"1\""]),
                under(&["event.type in [\"a\", \"b\"]", "event.labels.x == \"2\""]),
                under(&["event.type == \"a\"", "event.labels.x == \"2\""]),
                Filed::Always,
                Filed::Nowhere,
                under(&["event.value >= 90 && event.value < 95.5"]),
                under(&["to_lower(event.summary).contains(\"oom\") || event.severity in [CRITICAL]"]),
            ]
        );
    }
}
