//! Texts to what they begin with, end with and hold.

use aho_corasick::{AhoCorasick, MatchKind};
use smallvec::SmallVec;

use super::Child;
use super::table::Table;

/// What texts begin with, or end with: a table, asked once for each length that its keys have.
#[derive(Debug)]
pub(super) struct Affixes {
    /// In bytes, the shortest first.
    lengths: Box<[u32]>,
    table: Table,
}

impl Affixes {
    pub(super) fn new(keys: &[(&str, Child)]) -> Self {
        let mut lengths: Vec<u32> = keys.iter().map(|(key, _)| key.len() as u32).collect();
        lengths.sort_unstable();
        lengths.dedup();
        Self { lengths: lengths.into(), table: Table::new(keys.iter().copied()) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Visits each key that the text begins with.
    pub(super) fn starting(&self, text: &str, visit: &mut impl FnMut(Child)) {
        self.parts(text, |bytes, length| &bytes[..length], visit);
    }

    /// Visits each key that the text ends with.
    pub(super) fn ending(&self, text: &str, visit: &mut impl FnMut(Child)) {
        self.parts(text, |bytes, length| &bytes[bytes.len() - length..], visit);
    }

    fn parts(&self, text: &str, part: impl Fn(&[u8], usize) -> &[u8], visit: &mut impl FnMut(Child)) {
        let bytes = text.as_bytes();
        for length in self.lengths.iter().map(|l| *l as usize).take_while(|l| *l <= bytes.len()) {
            if let Some(child) = self.table.get(part(bytes, length)) {
                visit(child);
            }
        }
    }
}

/// What texts hold: one pass over the text for all keys (Aho and Corasick, 1975).
#[derive(Debug)]
pub(super) struct Inside {
    keys: Keys,
    children: Box<[Child]>,
}

#[derive(Debug)]
enum Keys {
    Together(AhoCorasick),
    /// Where the automaton would be too large.
    Each(Vec<String>),
}

impl Inside {
    pub(super) fn new(keys: &[(&str, Child)]) -> Self {
        let texts = keys.iter().map(|(key, _)| key);
        let together = AhoCorasick::builder().match_kind(MatchKind::Standard).build(texts);
        let each = || Keys::Each(keys.iter().map(|(key, _)| (*key).to_owned()).collect());
        Self {
            keys: together.map_or_else(|_| each(), Keys::Together),
            children: keys.iter().map(|(_, child)| *child).collect(),
        }
    }

    /// Visits each key that stands in the text, once. `seen` is room to work in, and left empty.
    pub(super) fn holding(&self, text: &str, seen: &mut Seen, visit: &mut impl FnMut(Child)) {
        let keys = match &self.keys {
            Keys::Together(keys) => keys,
            Keys::Each(keys) => {
                let held = keys.iter().zip(&self.children).filter(|(key, _)| text.contains(key.as_str()));
                return held.for_each(|(_, child)| visit(*child));
            }
        };
        let mut found: SmallVec<[u32; 16]> = SmallVec::new();
        seen.grow(self.children.len());
        for hit in keys.find_overlapping_iter(text) {
            if seen.add(hit.pattern().as_u32()) {
                found.push(hit.pattern().as_u32());
            }
        }
        found.iter().for_each(|key| seen.remove(*key));
        for key in found {
            visit(self.children[key as usize]);
        }
    }
}

/// A set of small numbers, to be used again and again.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Vec<u64>);

impl Seen {
    fn grow(&mut self, numbers: usize) {
        if self.0.len() * 64 < numbers {
            self.0.resize(numbers.div_ceil(64), 0);
        }
    }

    /// Whether it was not there.
    fn add(&mut self, number: u32) -> bool {
        let (word, bit) = (&mut self.0[number as usize / 64], 1 << (number % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn remove(&mut self, number: u32) {
        self.0[number as usize / 64] &= !(1 << (number % 64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(keys: &[String], text: &str) -> Result<(), TestCaseError> {
        let mut sorted = keys.to_vec();
        sorted.sort();
        sorted.dedup();
        let keys: Vec<(&str, Child)> = sorted.iter().zip(0..).map(|(k, i)| (k.as_str(), Child::of_hit(i))).collect();
        let expected =
            |holds: &dyn Fn(&str) -> bool| keys.iter().filter(|(k, _)| holds(k)).map(|(_, c)| *c).collect::<Vec<_>>();
        let found = |ask: &dyn Fn(&mut Vec<Child>)| {
            let mut found = Vec::new();
            ask(&mut found);
            found.sort_unstable();
            found
        };
        let affixes = Affixes::new(&keys);
        prop_assert_eq!(found(&|f| affixes.starting(text, &mut |c| f.push(c))), expected(&|k| text.starts_with(k)));
        prop_assert_eq!(found(&|f| affixes.ending(text, &mut |c| f.push(c))), expected(&|k| text.ends_with(k)));
        let (inside, mut seen) = (Inside::new(&keys), Seen::default());
        for _ in 0..2 {
            let ask = |f: &mut Vec<Child>| inside.holding(text, &mut seen.clone(), &mut |c| f.push(c));
            prop_assert_eq!(found(&ask), expected(&|k| text.contains(k)));
            inside.holding(text, &mut seen, &mut |_| {});
        }
        prop_assert!(seen.0.iter().all(|word| *word == 0));
        Ok(())
    }

    proptest! {
        #[test]
        fn what_a_text_begins_ends_with_and_holds_is_found(
            keys in prop::collection::vec("[ab\u{e9}]{1,4}", 1..90),
            text in "[ab\u{e9}c]{0,12}",
        ) {
            check(&keys, &text)?;
        }
    }
}
