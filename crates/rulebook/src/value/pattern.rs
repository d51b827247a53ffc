//! Regular expressions, matched in time linear in the text.

use std::cell::RefCell;
use std::collections::BTreeMap;

use regex::{Captures, Regex, RegexBuilder};
use regex_syntax::hir::literal::{Extractor, Literal};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// The most memory that a compiled expression takes, in bytes: it bounds what a repetition such as `x{1000}` costs.
const LARGEST: usize = 256 << 10;
/// How many expressions that scripts make up are kept compiled.
const KEPT: usize = 128;
/// Texts shorter than this are in almost every text: an index gains nothing by them.
const SHORTEST_NEEDED: usize = 3;
/// An expression with more beginnings than this is asked like one without.
const MOST_NEEDED: usize = 64;
/// A repetition is shown no more often than so.
const LONGEST_EXAMPLE: u32 = 64;

/// A compiled expression.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Pattern {
    /// Compiles one.
    ///
    /// # Errors
    /// In one line, what is wrong with it.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(text).size_limit(LARGEST).dfa_size_limit(LARGEST).build();
        built.map(Pattern).map_err(|error| {
            let told = error.to_string();
            let why = told.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("{text:?} is no regular expression: {why}")
        })
    }

    /// As written.
    pub(crate) fn text(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it is found anywhere in the text.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The names of its groups, in order.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        self.0.capture_names().flatten()
    }

    /// Where it is found first in the text, with its groups.
    pub(crate) fn find<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.0.captures(text)
    }

    /// All texts in which it is found, where it says how each begins and ends, and they are few.
    pub(crate) fn all(&self) -> Option<Vec<String>> {
        let hir = regex_syntax::parse(self.text()).ok()?;
        let properties = hir.properties();
        if !(properties.look_set_prefix().contains(Look::Start) && properties.look_set_suffix().contains(Look::End)) {
            return None;
        }
        let found = Extractor::new().limit_total(MOST_NEEDED).extract(&hir);
        let whole = found.literals().filter(|all| all.iter().all(Literal::is_exact))?;
        let texts = whole.iter().map(|literal| String::from_utf8(literal.as_bytes().to_vec()).ok());
        Some(texts.collect::<Option<Vec<_>>>()?.into_iter().filter(|text| self.is_in(text)).collect())
    }

    /// Whether it asks nothing of where in a text it is found, and so is found in all that holds a text in which it is.
    pub(crate) fn is_free(&self) -> bool {
        regex_syntax::parse(self.text()).is_ok_and(|hir| hir.properties().look_set().is_empty())
    }

    /// A text in which it should be found.
    pub(crate) fn example(&self) -> Option<String> {
        let mut out = Vec::new();
        example(&regex_syntax::parse(self.text()).ok()?, &mut out);
        String::from_utf8(out).ok()
    }

    /// Texts of which one is in every text in which it is found; `None` when there are none that help.
    pub(crate) fn needed(&self) -> Option<Vec<String>> {
        let hir = regex_syntax::parse(self.text()).ok()?;
        let found = Extractor::new().limit_total(MOST_NEEDED).extract(&hir);
        let beginnings = found.literals()?;
        let texts: Vec<String> = beginnings
            .iter()
            .map(|literal| String::from_utf8(literal.as_bytes().to_vec()).ok())
            .collect::<Option<_>>()?;
        (!texts.is_empty() && texts.iter().all(|t| t.len() >= SHORTEST_NEEDED)).then_some(texts)
    }
}

/// What a part of an expression matches: the first choice, as often as it must be.
fn example(hir: &Hir, out: &mut Vec<u8>) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.extend_from_slice(&literal.0),
        HirKind::Class(Class::Unicode(class)) => {
            let has = |c: char| class.iter().any(|range| (range.start()..=range.end()).contains(&c));
            let plain = ['a', '0', 'A', '-', ' '].into_iter().find(|c| has(*c));
            let mut bytes = [0; 4];
            if let Some(c) = plain.or_else(|| class.iter().next().map(|range| range.start())) {
                out.extend_from_slice(c.encode_utf8(&mut bytes).as_bytes());
            }
        }
        HirKind::Class(Class::Bytes(class)) => out.extend(class.iter().next().map(|range| range.start())),
        HirKind::Repetition(part) => (0..part.min.min(LONGEST_EXAMPLE)).for_each(|_| example(&part.sub, out)),
        HirKind::Capture(part) => example(&part.sub, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| example(part, out)),
        HirKind::Alternation(parts) => parts.iter().take(1).for_each(|part| example(part, out)),
    }
}

/// Expressions that scripts have used, compiled once.
#[derive(Debug, Default)]
pub(crate) struct Patterns(RefCell<BTreeMap<String, Pattern>>);

impl Patterns {
    /// Whether the expression is in the text, and whether it had to be compiled for it.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn is_in(&self, pattern: &str, text: &str) -> Result<(bool, bool), String> {
        let mut kept = self.0.borrow_mut();
        if let Some(known) = kept.get(pattern) {
            return Ok((known.is_in(text), false));
        }
        if kept.len() >= KEPT {
            kept.clear();
        }
        let compiled = Pattern::new(pattern)?;
        let found = compiled.is_in(text);
        kept.insert(pattern.to_owned(), compiled);
        Ok((found, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_match_begins_with_is_known() {
        let needed = |text| Pattern::new(text).unwrap().needed();
        assert_eq!(needed("disk .* full"), Some(vec!["disk ".to_owned()]));
        assert_eq!(needed("(oom|killed) by"), Some(vec!["oom by".to_owned(), "killed by".to_owned()]));
        assert_eq!(needed("^link down$"), Some(vec!["link down".to_owned()]));
        assert_eq!(needed(".*full"), None);
        assert_eq!(needed("a.b"), None, "it is too short to help");
        assert!(needed("(?i)eth0 down").unwrap().iter().any(|text| text.starts_with("ETh")), "each spelling");
        assert_eq!(needed("[a-z]{6} down"), None, "there are too many");
    }

    #[test]
    fn what_matches_a_whole_text_of_few_is_all_of_them() {
        let all = |text| Pattern::new(text).unwrap().all();
        assert_eq!(all("^(up|down)$"), Some(vec!["up".to_owned(), "down".to_owned()]));
        assert_eq!(all("^up"), None);
        assert_eq!(all("^a.*b$"), None);
        assert_eq!(all("(?m)^up$"), None, "a line of several");
        assert_eq!(all("^(?:up|)\\b$"), Some(vec!["up".to_owned()]), "none without a word");
    }

    #[test]
    fn an_example_is_found() {
        for text in ["disk .* full", "^web-[0-9]+\\.(example|test)$", "(?i)oom{2,}", "[^a]x*", "\\d{3}", "^$"] {
            let pattern = Pattern::new(text).unwrap();
            assert!(pattern.example().is_some_and(|example| pattern.is_in(&example)), "{text}");
        }
    }

    #[test]
    fn an_expression_that_takes_too_much_is_refused() {
        for bad in ["(", "a{5000}{5000}", "\\w{2000}", "(?=x)", "(a)\\1"] {
            let why = Pattern::new(bad).unwrap_err();
            assert!(!why.contains('\n') && why.contains("is no regular expression"), "{why}");
        }
    }

    #[test]
    fn scripts_compile_an_expression_once() {
        let patterns = Patterns::default();
        assert_eq!(patterns.is_in("a+", "baa"), Ok((true, true)));
        assert_eq!(patterns.is_in("a+", "b"), Ok((false, false)));
        for i in 0..KEPT * 3 {
            patterns.is_in(&format!("x{i}"), "x").unwrap();
        }
        assert!(patterns.0.borrow().len() <= KEPT);
    }
}
