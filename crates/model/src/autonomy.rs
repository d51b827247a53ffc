//! How much the engine may do by itself.

use serde::{Deserialize, Serialize};

/// The lower of what a rulebook asks and what the operator grants counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Autonomy {
    /// Everything is shadow: kept as "would have".
    Observe,
    /// Incidents and pages are real, runs are would-be.
    #[default]
    Record,
    /// A run waits for a person.
    Propose,
    /// Guards decide.
    Auto,
}

impl Autonomy {
    /// The word in YAML.
    pub const fn name(self) -> &'static str {
        match self {
            Autonomy::Observe => "observe",
            Autonomy::Record => "record",
            Autonomy::Propose => "propose",
            Autonomy::Auto => "auto",
        }
    }
}

/// One line of the operator's `grants:`. The first that matches a rulebook's name wins; none: `record`, nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// A rulebook's name, `*` for any run of characters.
    pub rulebook: String,
    /// The most it may do.
    pub autonomy: Autonomy,
    /// Playbooks it may run. Absent: any that the rulebook's own `may` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbooks: Option<Vec<String>>,
    /// Classes of CI it may act on. Absent: any that the rulebook's own `may` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci_classes: Option<Vec<String>>,
    /// Environments it may act in. Absent: any that the rulebook's own `may` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments: Option<Vec<String>>,
}

impl Grant {
    /// Whether this line is about the rulebook.
    pub fn covers(&self, rulebook: &str) -> bool {
        glob(&self.rulebook, rulebook)
    }
}

/// What the operator lets rulebooks do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grants {
    /// As each rulebook asks: scenario tests and replay, where nothing leaves.
    AsAsked,
    /// Observe at most: a dry run.
    Observe,
    /// The operator's list; a rulebook that no line covers gets `record`, and may run nothing.
    List(Vec<Grant>),
}

impl Default for Grants {
    fn default() -> Self {
        Grants::List(Vec::new())
    }
}

impl Grants {
    /// The line that applies to a rulebook.
    pub fn for_rulebook(&self, rulebook: &str) -> Option<&Grant> {
        match self {
            Grants::List(lines) => lines.iter().find(|g| g.covers(rulebook)),
            _ => None,
        }
    }

    /// The lower of what the rulebook asks and what is granted.
    pub fn effective(&self, rulebook: &str, asked: Autonomy) -> Autonomy {
        match self {
            Grants::AsAsked => asked,
            Grants::Observe => Autonomy::Observe,
            Grants::List(_) => asked.min(self.for_rulebook(rulebook).map_or(Autonomy::Record, |g| g.autonomy)),
        }
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any run of characters. Linear in pattern x text.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    if !pattern.contains('*') {
        return rest.is_empty();
    }
    let mut rest = rest;
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(rulebook: &str, autonomy: Autonomy) -> Grant {
        Grant { rulebook: rulebook.into(), autonomy, playbooks: None, ci_classes: None, environments: None }
    }

    #[test]
    fn the_lower_of_asked_and_granted_counts_and_the_first_line_wins() {
        let g = Grants::List(vec![line("disk-*", Autonomy::Propose), line("*", Autonomy::Auto)]);
        assert_eq!(g.effective("disk-linux", Autonomy::Auto), Autonomy::Propose);
        assert_eq!(g.effective("disk-linux", Autonomy::Observe), Autonomy::Observe);
        assert_eq!(g.effective("net", Autonomy::Auto), Autonomy::Auto);
        assert_eq!(Grants::List(vec![]).effective("net", Autonomy::Auto), Autonomy::Record);
        assert_eq!(Grants::default().effective("net", Autonomy::Auto), Autonomy::Record);
    }

    #[test]
    fn a_star_stands_for_any_run() {
        for (p, t, yes) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*b*c", "axxbyyc", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*c", "abd", false),
            ("ab*bc", "abc", false),
        ] {
            assert_eq!(glob(p, t), yes, "{p} {t}");
        }
    }
}
