//! What an event must have for a condition to hold, as far as an index can look it up.

use std::collections::BTreeSet;
use std::fmt;

use paramedic_model::Severity;

use super::ranges::Range;
use crate::condition::{Cond, Kinds, Lit, Term, Where};
use crate::value::{Op, Path};

/// Something that can be looked up: a value of the event that passes a test.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) source: Term,
    pub(super) test: Test,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    Equal(String),
    Text(Where, String),
    Number(Range, String),
    /// One of these, by [`bit`].
    Severity(u8),
    There,
}

/// Of the keys of a clause an event must have at least one.
#[derive(Clone, Debug)]
pub(super) struct Clause {
    pub(super) keys: Vec<Key>,
    /// And then what it was drawn from holds.
    pub(super) exact: bool,
}

/// A clause, and which of a condition's conjuncts, by position, it proves.
#[derive(Clone, Debug)]
pub(super) struct Conjunct {
    pub(super) clause: Clause,
    pub(super) proves: u32,
}

pub(super) fn bit(severity: Severity) -> u8 {
    severity.rank().map_or(0, |rank| 1 << (rank - 1))
}

impl Test {
    /// Tests of one sort are looked up together.
    pub(super) fn sort(&self) -> u8 {
        match self {
            Test::Equal(_) => 0,
            Test::Text(Where::Start, _) => 1,
            Test::Text(Where::End, _) => 2,
            Test::Text(Where::Anywhere, _) => 3,
            Test::Number(..) => 4,
            Test::Severity(_) => 5,
            Test::There => 6,
        }
    }
}

impl Key {
    /// Two keys with one name are the same.
    pub(super) fn name(&self) -> String {
        format!("{} {:?}", self.source, self.test)
    }

    /// Before others where nothing else decides: the lower, the better.
    fn rank(&self) -> u8 {
        match (&self.source, self.test.sort()) {
            (Term::Path(Path::Type), 0) => 0,
            (_, sort) => sort + 1,
        }
    }
}

impl Clause {
    fn one(source: &Term, test: Test, exact: bool) -> Self {
        Self { keys: vec![Key { source: source.clone(), test }], exact }
    }

    /// It holds for no event.
    fn never() -> Self {
        Self { keys: Vec::new(), exact: true }
    }

    fn rank(&self) -> (u8, usize) {
        (self.keys.iter().map(Key::rank).max().unwrap_or(0), self.keys.len())
    }

    /// The source and the sort of test that all its keys have.
    fn family(&self) -> Option<(&Term, u8)> {
        let first = self.keys.first()?;
        let family = (&first.source, first.test.sort());
        self.keys.iter().all(|k| (&k.source, k.test.sort()) == family).then_some(family)
    }
}

/// The clauses that follow from a condition's conjuncts.
pub(super) fn conjuncts(cond: &Cond) -> Vec<Conjunct> {
    let Cond::And(all) = cond else {
        let proves = |clause: &Clause| u32::from(clause.exact);
        return clauses(cond).into_iter().map(|clause| Conjunct { proves: proves(&clause), clause }).collect();
    };
    let mut out: Vec<Conjunct> = Vec::new();
    for (i, one) in all.iter().enumerate() {
        let bit = 1u32.checked_shl(u32::try_from(i).unwrap_or(u32::MAX)).unwrap_or(0);
        for clause in clauses(one) {
            let proves = if clause.exact { bit } else { 0 };
            add(&mut out, Conjunct { clause, proves });
        }
    }
    out
}

/// Ranges of one value become one range.
fn add(out: &mut Vec<Conjunct>, new: Conjunct) {
    if let [Key { source, test: Test::Number(range, shown) }] = new.clause.keys.as_slice() {
        for old in out.iter_mut() {
            let [Key { source: same, test: Test::Number(first, first_shown) }] = old.clause.keys.as_mut_slice() else {
                continue;
            };
            if same == source {
                *first = first.and(*range);
                *first_shown = format!("{first_shown} && {source} {shown}");
                let is_empty = first.is_empty();
                old.proves |= new.proves;
                if is_empty {
                    old.clause = Clause::never();
                }
                return;
            }
        }
    }
    out.push(new);
}

fn clauses(cond: &Cond) -> Vec<Clause> {
    match cond {
        Cond::Const(true) | Cond::Not(_) | Cond::Empty(_) => Vec::new(),
        Cond::Const(false) => vec![Clause::never()],
        Cond::And(all) => all
            .iter()
            .flat_map(clauses)
            .map(|clause| Clause { exact: all.len() == 1 && clause.exact, ..clause })
            .collect(),
        Cond::Or(any) => of_any(any),
        Cond::Cmp(op, a, b) => compared(*op, a, b),
        Cond::In(term, list) => of_list(term, list),
        Cond::Has(term) => there(term, true),
        Cond::Text(place, whole, Term::Lit(part)) => match part.as_text() {
            Some(part) if !part.is_empty() && is_source(whole) => {
                vec![Clause::one(whole, Test::Text(*place, part.to_owned()), true)]
            }
            _ => there(whole, false),
        },
        Cond::Text(_, whole, part) => there(whole, false).into_iter().chain(there(part, false)).collect(),
        Cond::Matches(term, pattern) => match pattern.needed() {
            Some(texts) if is_source(term) => {
                let key = |text| Key { source: term.clone(), test: Test::Text(Where::Anywhere, text) };
                vec![Clause { keys: texts.into_iter().map(key).collect(), exact: false }]
            }
            _ => there(term, false),
        },
        Cond::InNetwork(term, _) => there(term, false),
    }
}

/// Whether the term is read from the event.
fn is_source(term: &Term) -> bool {
    !matches!(term, Term::Lit(_))
}

/// The value must be there, which says something only of what may be missing.
fn there(term: &Term, exact: bool) -> Vec<Clause> {
    if is_source(term) && term.kinds().may_be(Kinds::MISSING) {
        vec![Clause::one(term, Test::There, exact)]
    } else {
        Vec::new()
    }
}

fn compared(op: Op, a: &Term, b: &Term) -> Vec<Clause> {
    let found = match (a, b) {
        (source, Term::Lit(lit)) if is_source(source) => test_of(op, lit).map(|test| Clause::one(source, test, true)),
        (Term::Lit(lit), source) if is_source(source) => {
            test_of(op.turned(), lit).map(|test| Clause::one(source, test, true))
        }
        _ => None,
    };
    found.map_or_else(|| there(a, false).into_iter().chain(there(b, false)).collect(), |clause| vec![clause])
}

/// What a value passes where `value op literal` holds; `None` where it cannot be looked up.
fn test_of(op: Op, lit: &Lit) -> Option<Test> {
    match lit {
        Lit::Severity(than) => {
            let held = Severity::KNOWN.into_iter().filter(|s| op.holds(&Lit::Severity(*s).val(), &lit.val()));
            Some(Test::Severity(held.map(bit).fold(0, |all, one| all | one))).filter(|_| than.rank().is_some())
        }
        Lit::Int(_) | Lit::Float(_) => {
            Range::of(op, &lit.val()).map(|range| Test::Number(range, format!("{} {lit}", op.sign())))
        }
        Lit::Bool(_) => None,
        text => text.as_text().filter(|_| op == Op::Eq).map(|text| Test::Equal(text.to_owned())),
    }
}

fn of_list(term: &Term, list: &[Lit]) -> Vec<Clause> {
    let tests: Option<Vec<Test>> = list.iter().map(|lit| test_of(Op::Eq, lit)).collect();
    match tests {
        Some(tests) if is_source(term) => {
            let mut keys: Vec<Key> = Vec::new();
            for key in tests.into_iter().map(|test| Key { source: term.clone(), test }) {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            vec![Clause { keys, exact: true }]
        }
        _ => there(term, false),
    }
}

/// What follows from each side follows from all. Where the sides speak of one value, that is a clause; else the best of
/// each side make one.
fn of_any(any: &[Cond]) -> Vec<Clause> {
    let mut sides: Vec<Vec<Clause>> = Vec::new();
    for side in any {
        let clauses = clauses(side);
        if clauses.is_empty() {
            return Vec::new();
        }
        if !clauses.iter().any(|c| c.keys.is_empty()) {
            sides.push(clauses);
        }
    }
    let Some((first, others)) = sides.split_first() else { return vec![Clause::never()] };
    let mut out: Vec<Clause> = Vec::new();
    for clause in first {
        let Some(family) = clause.family() else { continue };
        let same = |side: &Vec<Clause>| {
            side.iter().filter(|c| c.family() == Some(family)).min_by_key(|c| c.keys.len()).cloned()
        };
        if let Some(others) = others.iter().map(same).collect::<Option<Vec<_>>>() {
            out.push(union(std::iter::once(clause.clone()).chain(others), sides.iter().all(|s| s.len() == 1)));
        }
    }
    if out.is_empty() {
        let best = sides.iter().filter_map(|side| side.iter().min_by_key(|c| c.rank()).cloned());
        out.push(union(best, sides.iter().all(|s| s.len() == 1)));
    }
    out
}

fn union(clauses: impl Iterator<Item = Clause>, each_is_all: bool) -> Clause {
    let mut names = BTreeSet::new();
    let mut all = Clause { keys: Vec::new(), exact: each_is_all };
    for clause in clauses {
        all.exact &= clause.exact;
        all.keys.extend(clause.keys.into_iter().filter(|key| names.insert(key.name())));
    }
    all
}

/// For people.
impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        let more = self.keys.len().saturating_sub(SHOWN);
        if let (Some((source, 0)), 2..) = (self.family(), self.keys.len()) {
            let texts: Vec<String> = self.keys.iter().take(SHOWN).map(|k| format!("{:?}", k.test.text())).collect();
            write!(f, "{source} in [{}", texts.join(", "))?;
            if more > 0 {
                write!(f, ", and {more} more")?;
            }
            return f.write_str("]");
        }
        let keys: Vec<String> = self.keys.iter().take(SHOWN).map(ToString::to_string).collect();
        f.write_str(&keys.join(" || "))?;
        if more > 0 {
            write!(f, " || {more} more")?;
        }
        Ok(())
    }
}

impl Test {
    pub(super) fn text(&self) -> &str {
        match self {
            Test::Equal(text) | Test::Text(_, text) => text,
            _ => "",
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = &self.source;
        match &self.test {
            Test::Equal(text) => write!(f, "{source} == {text:?}"),
            Test::Text(place, text) => write!(f, "{source}.{}({text:?})", place.name()),
            Test::Number(_, shown) => write!(f, "{source} {shown}"),
            Test::Severity(bits) => {
                let known: Vec<String> = Severity::KNOWN
                    .into_iter()
                    .filter(|s| bits & bit(*s) != 0)
                    .map(|s| s.name().to_uppercase())
                    .collect();
                write!(f, "{source} in [{}]", known.join(", "))
            }
            Test::There => write!(f, "has({source})"),
        }
    }
}
