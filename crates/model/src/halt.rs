//! The switch that stops everything, or a part of it.

use serde::{Deserialize, Serialize};

use crate::{Order, Target, Timestamp};

/// Which part of the world a halt stops.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltScope {
    /// Everything.
    All,
    /// Targets in an environment.
    Environment(String),
    /// Runs and events asked for by a rulebook.
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
    /// Whether it stops this. It never stops a page: people are told.
    pub fn covers(&self, order: &Order) -> bool {
        let (rulebook, playbook, target) = match order {
            Order::Run(run) => (&run.rulebook, Some(&run.playbook), Some(&run.target)),
            Order::Emit(emit) => (&emit.rulebook, None, emit.about.as_ref()),
            Order::Page(_) => return false,
        };
        let is = |so: &dyn Fn(&Target) -> bool| target.is_some_and(so);
        match &self.scope {
            HaltScope::All => true,
            HaltScope::Environment(e) => is(&|t| t.environment.as_ref() == Some(e)),
            HaltScope::Rulebook(r) => r == rulebook,
            HaltScope::Playbook(p) => playbook == Some(p),
            HaltScope::CiClass(c) => is(&|t| t.class == *c),
        }
    }
}
