//! Names that a value, a question or a text may read besides `event`, `about`, `cmdb` and `now`.

use paramedic_model::{Ci, Event, OwnedEvent};
use serde_json::Value;

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Bound<'a> {
    /// An event: `first`, `last`, a member.
    Event(&'a Event<'a>),
    /// Events in order: `events`.
    Events(Vec<&'a OwnedEvent>),
    /// A whole number: `n`.
    Whole(i64),
    /// A number: `value`.
    Number(f64),
    /// A CI: `ci`.
    Ci(&'a Ci),
    /// A record as JSON: `incident`, `run`, `alert`.
    Record(&'a Value),
}

/// Names and what they stand for. A name that is visible and not bound is missing.
#[derive(Clone, Debug, Default)]
pub struct Bindings<'a>(Vec<(&'a str, Bound<'a>)>);

static NONE: Bindings<'static> = Bindings(Vec::new());

impl<'a> Bindings<'a> {
    /// No names.
    pub fn none() -> &'static Bindings<'static> {
        &NONE
    }

    /// Binds a name; the last one counts.
    pub fn bind(&mut self, name: &'a str, bound: Bound<'a>) {
        match self.0.binary_search_by(|(n, _)| (*n).cmp(name)) {
            Ok(at) => self.0[at].1 = bound,
            Err(at) => self.0.insert(at, (name, bound)),
        }
    }

    /// These names and one more.
    #[must_use]
    pub fn with(mut self, name: &'a str, bound: Bound<'a>) -> Self {
        self.bind(name, bound);
        self
    }

    /// What a name stands for.
    pub fn get(&self, name: &str) -> Option<&Bound<'a>> {
        self.0.binary_search_by(|(n, _)| (*n).cmp(name)).ok().map(|at| &self.0[at].1)
    }
}
