//! What a text can still be: one of a few, or any that passes what was tested.

use std::collections::BTreeSet;

use super::form::Test;
use crate::condition::{Lit, Where};
use crate::value::{Op, Val};

/// Most combinations of tested parts that are tried as examples.
const MOST_TRIED: usize = 64;

#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    /// One of these, where they are few.
    only: Option<BTreeSet<String>>,
    /// What it passes, or does not.
    tests: Vec<(Test, bool)>,
}

impl Texts {
    pub(crate) fn of(words: Option<&[&str]>) -> Self {
        Self { only: words.map(|words| words.iter().map(|w| (*w).to_owned()).collect()), tests: Vec::new() }
    }

    /// What is left; `None`: nothing.
    pub(crate) fn narrowed(mut self, test: &Test, holds: bool) -> Option<Self> {
        if let Some(only) = &mut self.only {
            only.retain(|text| test.holds(&Val::text(text)) == holds);
            return (!only.is_empty()).then_some(self);
        }
        match About::of(test, holds) {
            About::Every => Some(self),
            About::None => None,
            About::Few(few) => {
                let few: BTreeSet<String> = few.into_iter().filter(|t| self.admits(t)).collect();
                (!few.is_empty()).then_some(Self { only: Some(few), tests: self.tests })
            }
            About::Shape(test, holds) => {
                if self.tests.iter().any(|(other, held)| exclude((other, *held), (&test, holds))) {
                    return None;
                }
                if !self.tests.contains(&(test.clone(), holds)) {
                    self.tests.push((test, holds));
                }
                Some(self)
            }
        }
    }

    /// Whether no text is in both.
    pub(crate) fn is_apart(&self, other: &Texts) -> bool {
        match (&self.only, &other.only) {
            (Some(a), Some(b)) => a.is_disjoint(b),
            (Some(few), None) => !few.iter().any(|text| other.admits(text)),
            (None, Some(few)) => !few.iter().any(|text| self.admits(text)),
            (None, None) => self.tests.iter().any(|(a, x)| other.tests.iter().any(|(b, y)| exclude((a, *x), (b, *y)))),
        }
    }

    /// All of them, where they are few.
    pub(crate) fn all(&self) -> Option<impl Iterator<Item = &String>> {
        self.only.as_ref().map(|only| only.iter())
    }

    /// Whether it can be this.
    pub(crate) fn has(&self, text: &str) -> bool {
        self.only.as_ref().map_or_else(|| self.admits(text), |only| only.contains(text))
    }

    fn admits(&self, text: &str) -> bool {
        self.tests.iter().all(|(test, holds)| test.holds(&Val::text(text)) == *holds)
    }

    /// Some of them, the plainest first.
    pub(crate) fn samples(&self) -> Vec<String> {
        if let Some(only) = &self.only {
            return only.iter().cloned().collect();
        }
        let parts = |place: Where| {
            let held = self.tests.iter().filter_map(move |(test, holds)| match test {
                Test::Text(of, text) if *of == place && *holds => Some(text.as_str()),
                _ => None,
            });
            held.collect::<Vec<_>>()
        };
        let longest = |place| parts(place).into_iter().max_by_key(|t| t.len()).unwrap_or_default();
        let (start, end) = (longest(Where::Start), longest(Where::End));
        let mut whole = vec![format!("{start}{end}"), overlapped(start, end)];
        let inside: Vec<&str> = parts(Where::Anywhere);
        for gap in ["", " "].into_iter().filter(|_| !inside.is_empty()) {
            whole.push(format!("{start}{gap}{}{gap}{end}", inside.join(gap)));
        }
        for (test, holds) in &self.tests {
            match test {
                Test::Matches(pattern) if *holds => whole.extend(pattern.example().into_iter().flat_map(|example| {
                    [format!("{start}{example}{end}"), format!("{start}{example}{}{end}", inside.join(" ")), example]
                })),
                Test::InNetwork(network) if *holds => whole.push(network.example()),
                Test::Compared(_, lit) => whole.extend(lit.as_text().map(str::to_owned)),
                _ => {}
            }
        }
        // Numbers among them: a text may have to spell one.
        let extras = ["", "x", "1", "0", "a b", "100", "5.5", "X", "-1", "zz"];
        let tried = extras
            .iter()
            .flat_map(|extra| whole.iter().flat_map(move |w| [format!("{w}{extra}"), format!("{extra}{w}")]));
        let mut found: Vec<String> = Vec::new();
        for text in whole.iter().filter(|t| !t.is_empty()).cloned().chain(tried).take(MOST_TRIED * 4) {
            if self.admits(&text) && !found.contains(&text) {
                found.push(text);
            }
        }
        found.sort_by_key(String::is_empty);
        found.truncate(MOST_TRIED);
        found
    }
}

/// The shortest text that begins with the one and ends with the other.
fn overlapped(start: &str, end: &str) -> String {
    let cuts = end.char_indices().map(|(at, _)| at).chain([end.len()]);
    let kept = cuts.filter(|at| start.ends_with(&end[..*at])).max().unwrap_or(0);
    format!("{start}{}", &end[kept..])
}

/// What a test says of texts.
enum About {
    Every,
    None,
    /// Only these.
    Few(Vec<String>),
    Shape(Test, bool),
}

impl About {
    fn of(test: &Test, holds: bool) -> Self {
        let always = |held: bool| if held == holds { About::Every } else { About::None };
        let texts = |list: &[Lit]| list.iter().filter_map(|l| l.as_text().map(str::to_owned)).collect::<Vec<_>>();
        match test {
            Test::There => always(true),
            Test::Text(_, part) if part.is_empty() => always(true),
            Test::Compared(_, lit) if lit.as_text().is_none() => always(false),
            Test::Compared(op, lit) => match (if holds { *op } else { op.negated() }, lit.as_text()) {
                (Op::Eq, Some(text)) => About::Few(vec![text.to_owned()]),
                (op, _) => About::Shape(Test::Compared(op, lit.clone()), true),
            },
            Test::In(list) if holds => About::Few(texts(list)),
            Test::Empty if holds => About::Few(vec![String::new()]),
            Test::Matches(pattern) if holds => match pattern.all() {
                Some(all) => About::Few(all),
                None => About::Shape(test.clone(), true),
            },
            _ => About::Shape(test.clone(), holds),
        }
    }
}

/// Whether no text can pass both; `false` where that is not known.
fn exclude(a: (&Test, bool), b: (&Test, bool)) -> bool {
    match (a, b) {
        ((a, true), (b, true)) => apart(a, b),
        ((a, true), (b, false)) | ((b, false), (a, true)) => implies(a, b),
        ((_, false), (_, false)) => false,
    }
}

/// Whether every text that passes the one passes the other.
fn implies(a: &Test, b: &Test) -> bool {
    match (a, b) {
        _ if a == b => true,
        (Test::Text(Where::Start, p), Test::Text(Where::Start, q)) => p.starts_with(q.as_str()),
        (Test::Text(Where::End, p), Test::Text(Where::End, q)) => p.ends_with(q.as_str()),
        (Test::Text(_, p), Test::Text(Where::Anywhere, q)) => p.contains(q.as_str()),
        (Test::Text(_, p), Test::Matches(pattern)) => pattern.is_free() && pattern.is_in(p),
        (Test::Text(_, p), Test::Empty) => p.is_empty(),
        (Test::Matches(pattern), Test::Text(Where::Anywhere, q)) => {
            pattern.needed().is_some_and(|needed| needed.iter().all(|n| n.contains(q.as_str())))
        }
        (Test::InNetwork(inner), Test::InNetwork(outer)) => outer.covers(inner),
        _ => false,
    }
}

/// Whether no text passes both.
fn apart(a: &Test, b: &Test) -> bool {
    match (a, b) {
        (Test::Text(Where::Start, p), Test::Text(Where::Start, q)) => {
            !p.starts_with(q.as_str()) && !q.starts_with(p.as_str())
        }
        (Test::Text(Where::End, p), Test::Text(Where::End, q)) => !p.ends_with(q.as_str()) && !q.ends_with(p.as_str()),
        (Test::InNetwork(m), Test::InNetwork(n)) => m.is_like(n) && !m.covers(n) && !n.covers(m),
        (Test::Compared(op, x), Test::Compared(other, y)) => match (x.as_text(), y.as_text()) {
            (Some(x), Some(y)) => crossed(*op, x, *other, y) || crossed(*other, y, *op, x),
            _ => false,
        },
        _ => false,
    }
}

/// Whether it would have to lie above one text and below another that comes before it.
fn crossed(low: Op, from: &str, high: Op, to: &str) -> bool {
    match (low, high) {
        (Op::Ge, Op::Le) => from > to,
        (Op::Gt | Op::Ge, Op::Lt) | (Op::Gt, Op::Le) => from >= to,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::form::Form;
    use crate::condition::Cond;
    use crate::script::compile::{Compiler, Role};
    use crate::script::native::{cond, expression};

    /// Texts for which all of this holds.
    fn texts(all: &str) -> Option<Texts> {
        let ast = Compiler::new().parse(&all.replace('T', "event.ci"), Role::Condition).unwrap();
        let Some(Cond::And(all)) = cond(expression(&ast).unwrap()) else { panic!("{all}") };
        all.iter().try_fold(Texts::of(None), |texts, one| match Form::of(one, true) {
            Form::Is(atom) => texts.narrowed(&atom.test, atom.holds),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn tests_that_no_text_passes_together_leave_none() {
        for all in [
            "T.starts_with(\"ab\") && T.starts_with(\"b\")",
            "T.ends_with(\"ab\") && T.ends_with(\"cb\")",
            "T.starts_with(\"abc\") && !T.starts_with(\"ab\")",
            "T.ends_with(\"abc\") && !T.ends_with(\"bc\")",
            "T.ends_with(\"abc\") && !T.contains(\"b\")",
            "T == \"abc\" && !T.contains(\"b\")",
            "T.matches(\"^(a|b)$\") && T != \"a\" && T != \"b\"",
            "T.matches(\"disk .* full\") && !T.contains(\"disk\")",
            "T.contains(\"disk 7 is full\") && !T.matches(\"disk [0-9]\")",
            "T.in_network(\"10.1.0.0/16\") && !T.in_network(\"10.0.0.0/8\")",
            "T.in_network(\"10.1.0.0/16\") && T.in_network(\"10.2.0.0/16\")",
            "T > \"b\" && T <= \"b\"",
            "T >= \"c\" && !(T > \"b\")",
        ] {
            assert!(texts(all).is_none(), "{all}");
        }
    }

    #[test]
    fn what_may_be_is_shown_by_an_example() {
        for all in [
            "T.starts_with(\"ab\") && !T.starts_with(\"abc\")",
            "T.ends_with(\"bc\") && !T.ends_with(\"abc\")",
            "T.starts_with(\"ab\") && T.ends_with(\"bc\") && !T.contains(\"abbc\")",
            "T.contains(\"x y\") && T.contains(\"z\") && T != \"x yz\"",
            "T.matches(\"^web-[0-9]{2}\") && T.ends_with(\"-prod\")",
            "!T.starts_with(\"a\") && !T.is_empty()",
            "T.in_network(\"10.0.0.0/8\") && T.starts_with(\"10.\")",
            "T >= \"b\" && T < \"c\" && T != \"b\"",
            "T.matches(\"b$\") && T.matches(\"^a|b\")",
        ] {
            assert!(!texts(all).unwrap().samples().is_empty(), "{all}");
        }
    }
}
