//! The members of `all`, `sequence`, `any` and `not_all`: each a name and its condition.

use super::expr::Reader;
use super::fields::{Fields, list};
use super::pattern::note_status;
use super::yaml::{Kind, Node};
use crate::Member;
use crate::script::names::BOUND_SOMEWHERE;
use crate::script::sandbox::{CONSTANTS, VALUE_NAMES};

/// Most members.
const MOST: usize = 16;

/// The members' names; nothing is reported.
pub(crate) fn names<'n>(fields: &Fields<'n>, head: &str) -> Vec<&'n str> {
    let Some(Kind::List { items, .. }) = fields.node(head).map(|n| &n.kind) else { return Vec::new() };
    let keys = items.iter().filter_map(|item| match &item.kind {
        Kind::Map(entries) => entries.first().map(|(key, _)| key.name.as_str()),
        _ => None,
    });
    keys.filter(|name| !is_taken(name)).collect()
}

fn is_taken(name: &str) -> bool {
    name == "event"
        || name == "site"
        || VALUE_NAMES.contains(&name)
        || BOUND_SOMEWHERE.contains(&name)
        || CONSTANTS.iter().any(|(n, _)| *n == name)
}

/// Reads `- a: CONDITION`, ...
pub(crate) fn read(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Vec<Member>> {
    let items = list(node, reader.report);
    if items.len() < 2 || items.len() > MOST {
        let message = format!("expected 2 to {MOST} members, found {}", items.len());
        let help = if items.len() > MOST { "make several rules of it" } else { "one alone is a `when`" };
        reader.report.error(node.at, message, Some(help.to_owned()));
        return None;
    }
    let mut members: Vec<Member> = Vec::new();
    let mut complete = true;
    for item in items {
        let names: Vec<String> = members.iter().map(|m| m.name.clone()).collect();
        let earlier: Vec<&str> = names.iter().map(String::as_str).collect();
        match one(reader, item, &earlier) {
            Some(member) => members.push(member),
            None => complete = false,
        }
    }
    complete.then_some(members)
}

fn one(reader: &mut Reader<'_, '_>, node: &Node, earlier: &[&str]) -> Option<Member> {
    let help = "write `- a: CONDITION`, with a name of your own";
    let entries = match &node.kind {
        Kind::Map(entries) => entries.as_slice(),
        Kind::Bad => return None,
        _ => {
            let message = format!("expected a name and its condition, found {}", node.what());
            reader.report.error(node.at, message, Some(help.to_owned()));
            return None;
        }
    };
    let [(key, value)] = entries else {
        let message = "expected one name and its condition";
        reader.report.error(node.at, message, Some("begin each member with `- ` of its own".to_owned()));
        return None;
    };
    let name = key.name.as_str();
    let is_taken = is_taken(name);
    if !rhai::is_valid_identifier(name) || is_taken {
        let why = if is_taken { "has a meaning of its own" } else { "is no name: letters, digits and `_`" };
        reader.report.error(key.at, format!("`{name}` {why}"), Some("give the member another name".to_owned()));
        return None;
    }
    if earlier.contains(&name) {
        let help = Some("give it a name of its own".to_owned());
        reader.report.error(key.at, format!("another member is named `{name}`"), help);
        return None;
    }
    let when = reader.member(value, name, earlier)?;
    note_status(reader, value, &when, "member");
    Some(Member { name: name.to_owned(), when: when.ix, reads: when.reads })
}
