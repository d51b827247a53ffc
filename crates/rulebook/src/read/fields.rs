//! Typed access to a map's keys. What nobody asked for is unknown, and reported with the name that was meant.

use std::str::FromStr;

use paramedic_model::Span;

use super::yaml::{Key, Kind, Node};
use crate::diagnostics::{At, Report, did_you_mean};
use crate::{schema, template};

/// A map that is being read.
pub(crate) struct Fields<'n> {
    pub(crate) at: At,
    entries: &'n [(Key, Node)],
    /// What holds the keys, for messages: "a rule".
    owner: &'static str,
    known: &'static [&'static str],
}

impl<'n> Fields<'n> {
    /// Opens a map. Keys beyond `known` are reported, and those of later versions as not yet part of the language.
    pub(crate) fn open(
        node: &'n Node,
        owner: &'static str,
        known: &'static [&'static str],
        report: &mut Report<'_>,
    ) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            if !matches!(node.kind, Kind::Bad) {
                let message = format!("expected {owner} as a map, found {}", node.what());
                report.error(node.at, message, Some(format!("it has {}", known.join(", "))));
            }
            return None;
        };
        for (key, _) in entries {
            let name = key.name.as_str();
            if report.is_later(owner, name) {
                report.tell_later(key.at, name);
            } else if !known.contains(&name) {
                let help = tight(name, known)
                    .or_else(|| did_you_mean(name, known.iter().copied()))
                    .or_else(|| elsewhere(name, owner))
                    .unwrap_or_else(|| format!("{owner} has {}", known.join(", ")));
                report.error(key.at, format!("{owner} has no key `{name}`"), Some(help));
            }
        }
        Some(Self { at: node.at, entries, owner, known })
    }

    /// A map whose unknown keys were reported before.
    pub(crate) fn known(node: &'n Node, owner: &'static str, known: &'static [&'static str]) -> Self {
        let entries = if let Kind::Map(entries) = &node.kind { entries.as_slice() } else { &[] };
        Self { at: node.at, entries, owner, known }
    }

    /// The value of a key that may be absent. A key with nothing behind it is reported.
    pub(crate) fn get(&self, name: &str, report: &mut Report<'_>) -> Option<&'n Node> {
        debug_assert!(self.known.contains(&name), "{name} is not declared for {}", self.owner);
        let (key, node) = self.entries.iter().find(|(k, _)| k.name == name)?;
        // Of a word of a later version no more is said than that.
        if report.is_later(self.owner, name) {
            return None;
        }
        if node.is_empty() {
            let comment = report.line(key.at.line).contains(&format!("{name}: #"));
            let quotes = if comment { "; a text that begins with # stands in quotes" } else { "" };
            let help = format!("give it one, or take the key out{quotes}");
            report.error(key.at, format!("`{name}` has no value"), Some(help));
            return None;
        }
        Some(node)
    }

    /// Whether the key is there, with or without a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(k, _)| k.name == name)
    }

    /// A key's scalar, as written; nothing is reported.
    pub(crate) fn scalar(&self, name: &str) -> Option<&'n str> {
        match self.node(name).map(|n| &n.kind) {
            Some(Kind::Scalar { text, .. }) => Some(text.trim()),
            _ => None,
        }
    }

    /// A key's value; nothing is reported.
    pub(crate) fn node(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(k, _)| k.name == name).map(|(_, node)| node)
    }

    /// Where a key stands.
    pub(crate) fn key(&self, name: &str) -> Option<At> {
        self.entries.iter().find(|(k, _)| k.name == name).map(|(k, _)| k.at)
    }

    /// The value of a key that must be there.
    pub(crate) fn must(&self, name: &str, help: &str, report: &mut Report<'_>) -> Option<&'n Node> {
        if !self.has(name) {
            report.error(self.at, format!("{} needs `{name}`", self.owner), Some(help.to_owned()));
            return None;
        }
        self.get(name, report)
    }

    /// A text as written.
    pub(crate) fn text(&self, name: &str, report: &mut Report<'_>) -> Option<String> {
        self.get(name, report).and_then(|node| text(node, report)).map(str::to_owned)
    }

    /// A text as it stands, as [`literal`] takes it.
    pub(crate) fn literal(&self, name: &str, report: &mut Report<'_>) -> Option<String> {
        self.get(name, report).and_then(|node| literal(node, report)).map(str::to_owned)
    }

    /// A duration.
    pub(crate) fn span(&self, name: &str, default: Span, report: &mut Report<'_>) -> Span {
        self.get(name, report).and_then(|node| span(node, report)).unwrap_or(default)
    }

    /// A list of texts.
    pub(crate) fn texts(&self, name: &str, report: &mut Report<'_>) -> Vec<String> {
        let Some(node) = self.get(name, report) else { return Vec::new() };
        list(node, report).iter().filter_map(|item| text(item, report)).map(str::to_owned).collect()
    }
}

/// A key that lacks a blank: after its colon in `{ within:5m }`, or after the dash before it.
fn tight(name: &str, known: &[&str]) -> Option<String> {
    let with_blank = match (name.split_once(':'), name.strip_prefix('-')) {
        (Some((key, value)), _) if known.contains(&key) => format!("{key}: {value}"),
        (_, Some(key)) => format!("- {key}"),
        _ => return None,
    };
    Some(format!("a blank is missing: `{with_blank}`"))
}

/// A key of something else, which stands at the wrong depth.
fn elsewhere(name: &str, owner: &str) -> Option<String> {
    let owners = schema::owners(name, owner);
    (1..=MOST_OWNERS).contains(&owners.len()).then(|| {
        let owners = owners.join(", ");
        format!("it is a key of {owners}: indent it as deep as the other keys there")
    })
}

/// A word with more owners than these may be of any.
const MOST_OWNERS: usize = 3;

/// One or several: a list's items, or the one that is no list.
pub(crate) fn one_or_more(node: &Node) -> &[Node] {
    match &node.kind {
        Kind::List { items, .. } => items,
        _ => std::slice::from_ref(node),
    }
}

/// Longest window.
pub(crate) const LONGEST: Span = Span::from_secs(31 * 24 * 3600);

/// A duration of a window: more than nothing, and 31 days at most.
pub(crate) fn window(node: &Node, report: &mut Report<'_>) -> Option<Span> {
    let found = span(node, report)?;
    if found <= Span::ZERO || found > LONGEST {
        let message = format!("{found} is no length of a window: it is more than nothing, and 31d at most");
        let help = if found > LONGEST {
            "what takes longer belongs into a report, not into a window"
        } else {
            "write, for example, `5m`"
        };
        report.error(node.at, message, Some(help.to_owned()));
        return None;
    }
    Some(found)
}

/// A whole number within bounds.
pub(crate) fn whole(node: &Node, least: u32, most: u32, report: &mut Report<'_>) -> Option<u32> {
    let written = text(node, report)?;
    let found = written.trim().parse::<u32>().ok().filter(|n| (least..=most).contains(n));
    if found.is_none() {
        let message = format!("expected a whole number from {least} to {most}, found {written:?}");
        report.error(node.at, message, None);
    }
    found
}

/// A scalar as written.
pub(crate) fn text<'n>(node: &'n Node, report: &mut Report<'_>) -> Option<&'n str> {
    match &node.kind {
        Kind::Scalar { text, .. } => Some(text.trim_end_matches('\n')),
        Kind::Bad => None,
        _ => {
            report.error(node.at, format!("expected a text, found {}", node.what()), None);
            None
        }
    }
}

/// A text that is taken as it stands: what looks like code, or like a place to be filled in, is told.
pub(crate) fn literal<'n>(node: &'n Node, report: &mut Report<'_>) -> Option<&'n str> {
    let written = text(node, report)?;
    if written.starts_with("= ") || template::placeholder_in(written).is_some() {
        let message = format!("this is a text as it stands, and nothing is put in for {written:?}");
        report.warning(node.at, message, Some("write the text itself: no code and no braces stand here".to_owned()));
    }
    Some(written)
}

/// The items of a list.
pub(crate) fn list<'n>(node: &'n Node, report: &mut Report<'_>) -> &'n [Node] {
    match &node.kind {
        Kind::List { items, .. } => items,
        Kind::Bad => &[],
        _ => {
            let help = "begin each item with `- `, also when there is only one".to_owned();
            report.error(node.at, format!("expected a list, found {}", node.what()), Some(help));
            &[]
        }
    }
}

/// A duration.
pub(crate) fn span(node: &Node, report: &mut Report<'_>) -> Option<Span> {
    let written = text(node, report)?;
    match Span::from_str(written) {
        Ok(span) => Some(span),
        Err(error) => {
            report.error(
                node.at,
                error.to_string(),
                Some("write, for example, `90s`, `5m`, `1h 30m` or `2d`".to_owned()),
            );
            None
        }
    }
}

/// One of a few words.
pub(crate) fn word<T>(node: &Node, words: &[(&'static str, T)], report: &mut Report<'_>) -> Option<T>
where
    T: Copy,
{
    let written = text(node, report)?;
    let found = words.iter().find(|(word, _)| *word == written).map(|(_, value)| *value);
    if found.is_none() {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let message = format!("expected one of {}, found {written:?}", names.join(", "));
        report.error(node.at, message, did_you_mean(written, names));
    }
    found
}
