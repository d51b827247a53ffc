//! The switch that stops everything, or a part of it.

use serde::{Deserialize, Serialize};

use crate::{Run, Timestamp};

/// Which part of the world a halt stops.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltScope {
    /// Everything.
    All,
    /// Targets in an environment.
    Environment(String),
    /// Runs asked for by a rulebook.
    Rulebook(String),
    /// Runs of a playbook.
    Playbook(String),
    /// Targets of a class.
    CiClass(String),
}

/// A halt in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Halt {
    /// What it stops.
    pub scope: HaltScope,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when, on the wall clock.
    pub at: Timestamp,
}

impl Halt {
    /// Whether it stops this run.
    pub fn covers(&self, run: &Run) -> bool {
        match &self.scope {
            HaltScope::All => true,
            HaltScope::Environment(e) => run.target.environment.as_ref() == Some(e),
            HaltScope::Rulebook(r) => *r == run.rulebook,
            HaltScope::Playbook(p) => *p == run.playbook,
            HaltScope::CiClass(c) => *c == run.target.class,
        }
    }
}
