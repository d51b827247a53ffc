//! What is wrong with a rulebook, where, and what to do about it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::Place;
use crate::read::later::{LATER, UNREAD, Word, instead_of};

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gravity {
    /// The set cannot be used.
    Error,
    /// It can be used, and probably does not mean what was meant.
    Warning,
    /// For information.
    Note,
}

impl Gravity {
    /// The word that is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Gravity::Error => "error",
            Gravity::Warning => "warning",
            Gravity::Note => "note",
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut place = s.serialize_struct("Place", 3)?;
        place.serialize_field("file", &self.file)?;
        place.serialize_field("line", &self.line)?;
        place.serialize_field("column", &self.column)?;
        place.end()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One finding. Its [`fmt::Display`] is the form for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How much it matters.
    pub level: Gravity,
    /// Where.
    pub place: Place,
    /// The line of the file at `place`, as it stands there.
    pub source_line: String,
    /// What is wrong, and what is expected.
    pub message: String,
    /// The fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Diagnostic {
    /// Of a place in this text of a file.
    pub fn of(level: Gravity, place: Place, text: &str, message: String, help: Option<String>) -> Self {
        let source_line = place.line.checked_sub(1).and_then(|line| lines(text).get(line).copied()).unwrap_or_default();
        Self { level, source_line: shown(source_line), place, message, help }
    }

    /// Whether it keeps the set from being used.
    pub fn is_error(&self) -> bool {
        self.level == Gravity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.level.name(), self.message)?;
        if !self.source_line.trim().is_empty() {
            let blank: String = self
                .source_line
                .chars()
                .take(self.place.column.saturating_sub(1))
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            write!(f, "\n  | {}\n  | {blank}^", self.source_line)?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// A position within one file: line and column, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Longest source line that is shown, in characters: a file may be one line.
const LONGEST_LINE: usize = 200;

/// The lines of a file, which end as YAML ends them: a carriage return alone is an end, too.
fn lines(source: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = source;
    while let Some(end) = rest.find(['\n', '\r']) {
        lines.push(&rest[..end]);
        rest = &rest[end..];
        rest = rest.strip_prefix("\r\n").unwrap_or(&rest[1..]);
    }
    lines.push(rest);
    lines
}

fn shown(line: &str) -> String {
    line.chars().take(LONGEST_LINE).collect()
}

/// Collects the findings of one file.
pub(crate) struct Report<'a> {
    file: &'a str,
    lines: Vec<&'a str>,
    /// Words that are read and refused.
    pub(crate) later: &'static [Word],
    pub(crate) found: Vec<Diagnostic>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(file: &'a str, source: &'a str) -> Self {
        Self { file, lines: lines(source), later: LATER, found: Vec::new() }
    }

    /// Whether a word is one of a later version's language.
    pub(crate) fn is_later(&self, owner: &str, word: &str) -> bool {
        self.later.iter().chain(UNREAD).any(|later| *later == (owner, word))
    }

    /// Says that a word is one of a later version's language.
    pub(crate) fn tell_later(&mut self, at: At, word: &str) {
        let help = Some(instead_of(word).to_owned());
        self.error(at, format!("`{word}` is not part of this version's language yet"), help);
    }

    pub(crate) fn place(&self, at: At) -> Place {
        Place { file: self.file.to_owned(), line: at.line, column: at.column }
    }

    pub(crate) fn line(&self, line: usize) -> &'a str {
        line.checked_sub(1).and_then(|i| self.lines.get(i)).copied().unwrap_or_default()
    }

    pub(crate) fn error(&mut self, at: At, message: impl Into<String>, help: Option<String>) {
        self.add(Gravity::Error, at, message.into(), help);
    }

    pub(crate) fn warning(&mut self, at: At, message: impl Into<String>, help: Option<String>) {
        self.add(Gravity::Warning, at, message.into(), help);
    }

    pub(crate) fn note(&mut self, at: At, message: impl Into<String>) {
        self.add(Gravity::Note, at, message.into(), None);
    }

    pub(crate) fn add(&mut self, level: Gravity, at: At, message: String, help: Option<String>) {
        let source_line = shown(self.line(at.line));
        self.found.push(Diagnostic { level, place: self.place(at), source_line, message, help });
    }
}

/// The candidate that was probably meant, as the text of a fix.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(word, candidates).map(|best| format!("did you mean `{best}`?"))
}

pub(crate) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = word.chars().count().div_ceil(3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|c| (distance(&word.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(d, _)| *d <= most)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// Edit distance with transpositions (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_recognised_and_a_stranger_is_not() {
        let known = ["labels", "severity", "status"];
        assert_eq!(closest("lables", known), Some("labels"));
        assert_eq!(closest("Severty", known), Some("severity"));
        assert_eq!(closest("mountpoint", known), None);
    }

    #[test]
    fn a_line_ends_where_yaml_ends_it() {
        assert_eq!(lines("a\rb\r\nc\n\nd\n"), ["a", "b", "c", "", "d", ""]);
        assert_eq!(lines(""), [""]);
    }

    #[test]
    fn a_finding_is_shown_with_its_line_and_a_mark_under_it() {
        let mut r = Report::new("a.yaml", "one\n  twoo: 1\n");
        r.error(At { line: 2, column: 3 }, "unknown key `twoo`", did_you_mean("twoo", ["two"]));
        assert_eq!(
            r.found[0].to_string(),
            "a.yaml:2:3: error: unknown key `twoo`\n  |   twoo: 1\n  |   ^\n  help: did you mean `two`?"
        );
    }
}
