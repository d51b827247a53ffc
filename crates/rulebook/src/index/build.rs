//! Builds the index: each condition is filed under the clause that fewest others share, and what is filed together is
//! filed further.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::{Clause, Conjunct, Key, Test, conjuncts};
use super::ranges::Ranges;
use super::table::Table;
use super::texts::{Affixes, Inside};
use super::{Child, Filed, Hit, Index, Labels, Node, Others, Tests};
use crate::condition::{Cond, Term, Where};
use crate::value::Path;

/// So many conditions are asked sooner than filed further.
const FEW: usize = 2;
/// The most keys of a clause by how deep it is filed: a condition is filed once for each. Nothing is filed deeper.
const MOST_KEYS: [usize; 4] = [usize::MAX, 64, 8, 2];

/// A condition on its way into the index.
#[derive(Clone, Debug)]
struct Item {
    hit: Hit,
    /// Clauses, by number, that it is not filed under yet.
    rest: Vec<u32>,
}

/// A clause whose keys are known by number.
struct Numbered {
    keys: Vec<u32>,
    proves: u32,
    clause: Clause,
}

struct Builder {
    clauses: Vec<Numbered>,
    keys: Vec<Key>,
    /// Of each key, the number of its source.
    sources: Vec<u32>,
    /// How often each key, and each sort of test of a source, is needed in the node at hand.
    of_key: Vec<u32>,
    of_source: Vec<u32>,
    nodes: Vec<Node>,
    hits: Vec<Hit>,
    filed: Vec<Filed>,
}

impl Index {
    /// Of conditions, in order.
    pub(crate) fn new<'c>(conditions: impl Iterator<Item = &'c Cond>) -> Self {
        let mut builder = Builder::new();
        let items: Vec<Item> = builder.items(conditions);
        let root = builder.node(items, 0);
        let Builder { nodes, hits, filed, .. } = builder;
        Self { nodes, hits, root, filed }
    }
}

impl Builder {
    fn new() -> Self {
        Self {
            clauses: Vec::new(),
            keys: Vec::new(),
            sources: Vec::new(),
            of_key: Vec::new(),
            of_source: Vec::new(),
            nodes: Vec::new(),
            hits: Vec::new(),
            filed: Vec::new(),
        }
    }

    /// Numbers what the conditions need; those that can never hold are left out.
    fn items<'c>(&mut self, conditions: impl Iterator<Item = &'c Cond>) -> Vec<Item> {
        let mut items = Vec::new();
        let (mut keys, mut sources) = (BTreeMap::new(), BTreeMap::new());
        for (entry, cond) in (0u32..).zip(conditions) {
            let drawn = conjuncts(cond);
            if drawn.iter().any(|c| c.clause.keys.is_empty()) {
                self.filed.push(Filed::Nowhere);
                continue;
            }
            self.filed.push(Filed::Always);
            let mut rest = Vec::new();
            for Conjunct { clause, proves } in drawn {
                let numbers = clause.keys.iter().map(|key| self.number(key, &mut keys, &mut sources)).collect();
                rest.push(self.clauses.len() as u32);
                self.clauses.push(Numbered { keys: numbers, proves, clause });
            }
            items.push(Item { hit: Hit { entry, proven: 0 }, rest });
        }
        self.of_key = vec![0; self.keys.len()];
        self.of_source = vec![0; sources.len()];
        items
    }

    fn number(&mut self, key: &Key, keys: &mut BTreeMap<String, u32>, sources: &mut BTreeMap<String, u32>) -> u32 {
        *keys.entry(key.name()).or_insert_with(|| {
            let next = sources.len() as u32;
            self.sources.push(*sources.entry(format!("{} {}", key.source, key.test.sort())).or_insert(next));
            self.keys.push(key.clone());
            self.keys.len() as u32 - 1
        })
    }

    fn child(&mut self, items: Vec<Item>, depth: usize) -> Child {
        if let [only] = items.as_slice() {
            self.hits.push(only.hit);
            return Child::of_hit(self.hits.len() as u32 - 1);
        }
        let node = self.node(items, depth);
        self.nodes.push(node);
        Child::of_node(self.nodes.len() as u32 - 1)
    }

    fn node(&mut self, items: Vec<Item>, depth: usize) -> Node {
        let mut always = Vec::new();
        let mut by_key: BTreeMap<u32, Vec<Item>> = BTreeMap::new();
        let most_keys = MOST_KEYS.get(depth).copied().filter(|_| depth == 0 || items.len() > FEW);
        self.count(&items, |n| n + 1);
        let chosen: Vec<Option<u32>> =
            items.iter().map(|item| most_keys.and_then(|most| self.choose(item, depth, most, items.len()))).collect();
        self.count(&items, |n| n - 1);
        for (mut item, clause) in items.into_iter().zip(chosen) {
            let Some(clause) = clause else {
                always.push(item.hit);
                continue;
            };
            item.rest.retain(|c| *c != clause);
            let numbered = &self.clauses[clause as usize];
            item.hit.proven |= numbered.proves;
            tell(&mut self.filed[item.hit.entry as usize], &numbered.clause);
            for key in &numbered.keys {
                by_key.entry(*key).or_default().push(item.clone());
            }
        }
        let found = by_key.into_iter().map(|(key, items)| (key, self.child(items, depth + 1))).collect();
        self.assemble(always, found)
    }

    fn count(&mut self, items: &[Item], change: fn(u32) -> u32) {
        for clause in items.iter().flat_map(|item| &item.rest) {
            for key in &self.clauses[*clause as usize].keys {
                let (of_key, of_source) = (*key as usize, self.sources[*key as usize] as usize);
                self.of_key[of_key] = change(self.of_key[of_key]);
                self.of_source[of_source] = change(self.of_source[of_source]);
            }
        }
    }

    /// The clause by which the fewest conditions come along; the type first of all, as that is looked up anyway.
    fn choose(&self, item: &Item, depth: usize, most_keys: usize, of: usize) -> Option<u32> {
        let clauses = item.rest.iter().filter(|c| self.clauses[**c as usize].keys.len() <= most_keys);
        let is_type = |c: &&u32| {
            let keys = &self.clauses[**c as usize].keys;
            let of_type = |k: &Key| matches!((&k.source, &k.test), (Term::Path(Path::Type), Test::Equal(_)));
            keys.iter().all(|key| of_type(&self.keys[*key as usize]))
        };
        if let (0, Some(by_type)) = (depth, clauses.clone().find(is_type)) {
            return Some(*by_type);
        }
        let cost = |c: &u32| self.clauses[*c as usize].keys.iter().map(|key| self.cost(*key, of)).sum::<f64>();
        clauses.min_by(|a, b| cost(a).total_cmp(&cost(b))).copied()
    }

    /// About how many conditions of the node are asked where the key fits an event, and what the look-up costs, in
    /// conditions. An equality is rarely met; whether a value is there says little.
    fn cost(&self, key: u32, of: usize) -> f64 {
        let same = f64::from(self.of_key[key as usize]);
        let alike = f64::from(self.of_source[self.sources[key as usize] as usize]);
        match &self.keys[key as usize].test {
            Test::Equal(_) => same,
            Test::Text(Where::Start | Where::End, _) => same + 0.5,
            Test::Text(Where::Anywhere, _) => same + 2.0,
            Test::Number(range, _) if range.is_point() => same + 0.5,
            Test::Number(range, _) => alike * if range.is_bounded() { 0.1 } else { 0.3 } + same + 0.5,
            Test::Severity(bits) => of as f64 * 0.2 * f64::from(bits.count_ones()) + 1.0,
            Test::There => of as f64 * 0.8 + 1.0,
        }
    }

    fn assemble(&self, always: Vec<Hit>, found: Vec<(u32, Child)>) -> Node {
        let mut by_source: BTreeMap<String, Vec<(&Key, Child)>> = BTreeMap::new();
        for (key, child) in found {
            let key = &self.keys[key as usize];
            by_source.entry(key.source.to_string()).or_default().push((key, child));
        }
        let (mut labels, mut fields) = (Vec::new(), Vec::new());
        for keys in by_source.into_values() {
            let tests = Tests::new(&keys);
            match keys.first().map(|(key, _)| &key.source) {
                Some(Term::Path(Path::Label(name))) => labels.push((name.as_str(), tests)),
                Some(source) => fields.push((source.clone(), tests)),
                None => {}
            }
        }
        Node {
            always: always.into(),
            labels: (!labels.is_empty()).then(|| Box::new(Labels::new(labels))),
            fields: fields.into(),
        }
    }
}

fn tell(filed: &mut Filed, clause: &Clause) {
    let shown = clause.to_string();
    match filed {
        Filed::Under(keys) if keys.contains(&shown) => {}
        Filed::Under(keys) => keys.push(shown),
        other => *other = Filed::Under(vec![shown]),
    }
}

impl Labels {
    fn new(labels: Vec<(&str, Tests)>) -> Self {
        let (names, tests): (Vec<&str>, Vec<Tests>) = labels.into_iter().unzip();
        Self { names: Table::new(names.into_iter().zip((0..).map(Child::of_hit))), tests: tests.into() }
    }
}

impl Tests {
    fn new(keys: &[(&Key, Child)]) -> Self {
        let of_place = |place: Where| -> Vec<(&str, Child)> {
            let text = |key: &'_ Key| matches!(&key.test, Test::Text(w, _) if *w == place);
            keys.iter().filter(|(key, _)| text(key)).map(|(key, child)| (key.test.text(), *child)).collect()
        };
        let (mut equal, mut numbers, mut severities) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut there = Vec::new();
        for (key, child) in keys {
            match &key.test {
                Test::Equal(text) => equal.push((text.as_str(), *child)),
                Test::Number(range, _) => numbers.push((*range, *child)),
                Test::Severity(bits) => drop(severities.insert((*bits, *child))),
                Test::There => there.push(*child),
                Test::Text(..) => {}
            }
        }
        let inside = of_place(Where::Anywhere);
        let others = (equal.len() < keys.len()).then(|| {
            Box::new(Others {
                starts: Affixes::new(&of_place(Where::Start)),
                ends: Affixes::new(&of_place(Where::End)),
                inside: (!inside.is_empty()).then(|| Box::new(Inside::new(&inside))),
                numbers: Ranges::new(numbers),
                severities: severities.into_iter().collect(),
                there: there.into(),
            })
        });
        Self { equal: Table::new(equal), others }
    }
}
