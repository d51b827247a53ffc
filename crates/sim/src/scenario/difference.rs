//! How what a scenario expects differs from what there is, for people and programs.

use std::fmt;

use paramedic_model::Span;
use paramedic_rulebook::Place;
use serde::Serialize;

/// A step of a scenario whose expectations were not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedStep {
    /// Where it stands.
    pub place: Place,
    /// Which, from 1.
    pub step: usize,
    /// Its instant, since the beginning.
    pub at: Span,
    /// Each expectation that was not met.
    pub misses: Vec<Miss>,
    /// What else there is: the records of the kinds that were missed, oldest first. The one that was compared is marked
    /// with `>`.
    pub there: Vec<String>,
}

/// An expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// Where it stands.
    pub place: Place,
    /// Of what: `incident.state`, `run.with.mount`, `pages`.
    pub what: String,
    /// As written.
    pub expected: String,
    /// As it is.
    pub found: String,
}

impl fmt::Display for FailedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}:{}: step {} at {}", self.place.file, self.place.line, self.step, self.at)?;
        let width = self.misses.iter().map(|m| m.what.chars().count()).max().unwrap_or_default();
        for miss in &self.misses {
            write!(f, "\n    {:width$}  expected  {}", miss.what, miss.expected)?;
            write!(f, "\n    {:width$}  found     {}", "", miss.found)?;
        }
        for (n, line) in self.there.iter().enumerate() {
            write!(f, "\n    {}  {line}", if n == 0 { "there is" } else { "        " })?;
        }
        Ok(())
    }
}
