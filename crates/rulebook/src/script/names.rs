//! Which names an expression or a text sees besides the constants.

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    Event,
    Events,
    Number,
    Ci,
    /// A record, with the names of its fields.
    Record(&'static [&'static str]),
    /// What the groups of a regular expression have found, by name.
    Found,
}

/// The name by which a step of `enrich` reads what its `match` has found.
pub(crate) const FOUND: &str = "found";

/// The names that one rule's expressions see. The role of an expression adds to them (`about`, `cmdb`, `now`).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Names {
    /// Whether there is an `event`.
    pub(crate) event: bool,
    /// The others.
    pub(crate) more: Vec<(String, Is)>,
}

/// Names that some pattern binds: where another one is used, they are told apart from a slip.
pub(crate) const BOUND_SOMEWHERE: [&str; 9] =
    ["first", "last", "n", "events", "ci", "incident", "run", "alert", "value"];

impl Names {
    /// `event`, and no more.
    pub(crate) const EVENT: Names = Names { event: true, more: Vec::new() };

    pub(crate) fn and(mut self, name: &str, is: Is) -> Self {
        self.more.push((name.to_owned(), is));
        self
    }

    /// What a name stands for.
    pub(crate) fn get(&self, name: &str) -> Option<Is> {
        if name == "event" {
            return self.event.then_some(Is::Event);
        }
        self.more.iter().find(|(n, _)| n == name).map(|(_, is)| *is)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.event.then_some("event").into_iter().chain(self.more.iter().map(|(n, _)| n.as_str()))
    }
}
