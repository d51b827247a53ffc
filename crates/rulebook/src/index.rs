//! Which conditions can hold for an event at all. A condition is filed under a type and a label that it
//! necessarily needs; one that needs neither is always a candidate.

use std::collections::BTreeMap;

use paramedic_model::Event;

use crate::condition::Cond;
use crate::value::Path;

/// Position in the list of conditions.
pub(crate) type Entry = usize;

/// Conditions by type, then by one label.
#[derive(Debug, Default)]
pub(crate) struct Index {
    by_type: BTreeMap<Box<str>, Bucket>,
    any_type: Bucket,
}

#[derive(Debug, Default)]
struct Bucket {
    by_label: BTreeMap<Box<str>, BTreeMap<Box<str>, Vec<Entry>>>,
    rest: Vec<Entry>,
}

impl Bucket {
    fn add(&mut self, entry: Entry, label: Option<&(String, Vec<String>)>) {
        match label {
            Some((name, values)) => {
                let by_value = self.by_label.entry(name.as_str().into()).or_default();
                for value in values {
                    by_value.entry(value.as_str().into()).or_default().push(entry);
                }
            }
            None => self.rest.push(entry),
        }
    }

    fn candidates(&self, event: &Event<'_>, visit: &mut impl FnMut(Entry)) {
        for (name, by_value) in &self.by_label {
            if let Some(entries) = event.labels.get(name).and_then(|value| by_value.get(value)) {
                entries.iter().copied().for_each(&mut *visit);
            }
        }
        self.rest.iter().copied().for_each(visit);
    }
}

impl Index {
    /// Files a condition whose conjuncts include these.
    pub(crate) fn add(&mut self, entry: Entry, conjuncts: &Cond) {
        let label = best_label(conjuncts);
        match conjuncts.requires(&Path::Type) {
            Some(types) => {
                for name in types {
                    self.by_type.entry(name.into()).or_default().add(entry, label.as_ref());
                }
            }
            None => self.any_type.add(entry, label.as_ref()),
        }
    }

    /// Each condition that can hold, once.
    pub(crate) fn candidates(&self, event: &Event<'_>, mut visit: impl FnMut(Entry)) {
        if let Some(bucket) = self.by_type.get(event.type_.as_ref()) {
            bucket.candidates(event, &mut visit);
        }
        self.any_type.candidates(event, &mut visit);
    }
}

/// The label with the fewest values that the conjuncts need.
fn best_label(conjuncts: &Cond) -> Option<(String, Vec<String>)> {
    let mut labels = Vec::new();
    conjuncts.labels(&mut labels);
    labels
        .into_iter()
        .filter_map(|path| match path {
            Path::Label(name) => Some((name.clone(), conjuncts.requires(path)?)),
            _ => None,
        })
        .min_by_key(|(_, values)| values.len())
        .map(|(name, values)| (name, values.into_iter().map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::compile::{Compiler, Role};
    use crate::script::native::{cond, expression};
    use paramedic_model::Labels;

    fn candidates(conditions: &[&str], type_: &str, labels: &[(&str, &str)]) -> Vec<Entry> {
        let compiler = Compiler::new();
        let mut index = Index::default();
        for (i, text) in conditions.iter().enumerate() {
            let ast = compiler.parse(text, Role::Condition).unwrap();
            index.add(i, &cond(expression(&ast).unwrap()).unwrap());
        }
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned().into(), (*v).to_owned().into())).collect();
        let event = Event { type_: type_.to_owned().into(), labels: Labels::new(labels), ..Event::default() };
        let mut out = Vec::new();
        index.candidates(&event, |e| out.push(e));
        out.sort_unstable();
        out
    }

    #[test]
    fn only_conditions_of_the_type_and_the_label_are_candidates() {
        let rules = [
            "event.type == \"a\" && event.labels.x == \"1\"",
            "event.type == \"a\" && event.labels.x == \"2\"",
            "event.type in [\"a\", \"b\"]",
            "event.value > 1",
            "event.labels.x == \"1\" || event.labels.x == \"3\"",
            "event.labels.x == \"1\" || event.labels.y == \"1\"",
        ];
        assert_eq!(candidates(&rules, "a", &[("x", "1")]), [0, 2, 3, 4, 5]);
        assert_eq!(candidates(&rules, "b", &[]), [2, 3, 5]);
        assert_eq!(candidates(&rules, "c", &[("x", "3")]), [3, 4, 5]);
    }
}
