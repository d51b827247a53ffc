//! Texts with `{path}` and `{path:.1}` in them. No calls: a summary can only show what is there.

use std::fmt::Write as _;

use paramedic_model::{Ci, Event};
use serde_json::Value;

use crate::diagnostics::did_you_mean;
use crate::script::names::{Is, Names};
use crate::script::objects::CI_FIELDS;
use crate::value::{Path, Val, field_names};
use crate::{Bindings, Bound, Template, TemplatePart};

/// Most digits after the point.
const MOST_DIGITS: usize = 17;

/// Reads a template that sees these names, and `about`.
///
/// # Errors
/// What is wrong, and the fix.
pub(crate) fn parse(text: &str, visible: &Names) -> Result<Template, (String, Option<String>)> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let (mark, after) = (&rest[at..=at], &rest[at + 1..]);
        if after.starts_with(mark) {
            plain.push_str(mark);
            rest = &after[1..];
        } else if mark == "}" {
            plain.push('}');
            rest = after;
        } else {
            let Some(end) = after.find('}') else {
                return Err((
                    "`{` has no `}`".to_owned(),
                    Some("a brace that is meant as text is written `{{`".to_owned()),
                ));
            };
            if !plain.is_empty() {
                parts.push(TemplatePart::Text(std::mem::take(&mut plain)));
            }
            parts.push(placeholder(&after[..end], visible)?);
            rest = &after[end + 1..];
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(TemplatePart::Text(plain));
    }
    Ok(Template(parts))
}

/// The first path in braces that somebody may have meant to be filled in, where braces are text: `{event.ci}`.
pub(crate) fn placeholder_in(text: &str) -> Option<&str> {
    text.match_indices('{').find_map(|(at, _)| path_of(text[at + 1..].split('}').next()?))
}

/// What stands between braces, if it is a path to something of a rule.
pub(crate) fn path_of(inner: &str) -> Option<&str> {
    const HEADS: [&str; 8] = ["event", "about", "incident", "run", "ci", "first", "last", "alert"];
    let inner = inner.trim();
    let names = parse_path(inner).ok()?;
    (names.len() > 1 && HEADS.contains(&names[0].as_str())).then_some(inner)
}

fn placeholder(text: &str, visible: &Names) -> Result<TemplatePart, (String, Option<String>)> {
    let (path, digits) = match text.rsplit_once(":.") {
        Some((path, digits)) => match digits.trim().parse::<usize>() {
            Ok(n) if n <= MOST_DIGITS => (path, Some(n)),
            _ => return Err((format!("`{digits}` is no number of digits, 0 to {MOST_DIGITS}"), None)),
        },
        None => (text, None),
    };
    let names = parse_path(path.trim()).map_err(|help| (format!("`{{{text}}}` is no path"), Some(help)))?;
    let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
    if let Some(wrong) = wrong_path(text, &borrowed, visible) {
        return Err(wrong);
    }
    Ok(TemplatePart::Path { path: names, digits })
}

fn wrong_path(text: &str, path: &[&str], visible: &Names) -> Option<(String, Option<String>)> {
    let (head, fields) = path.split_first()?;
    let one_of = |what: &str, known: &[&str]| {
        let first = fields.first().copied().unwrap_or_default();
        if known.contains(&first) {
            return None;
        }
        let help = did_you_mean(first, known.iter().copied()).unwrap_or_else(|| format!("it has {}", known.join(", ")));
        Some((format!("{what} has no field `{}`", fields.join(".")), Some(help)))
    };
    match visible.get(head) {
        _ if *head == "about" && fields.is_empty() => None,
        Some(Is::Event) if Path::of(fields).is_some() => None,
        Some(Is::Event) if !fields.is_empty() => {
            let help = did_you_mean(fields[0], field_names());
            Some((format!("an event has no field `{}`", fields.join(".")), help))
        }
        Some(Is::Number | Is::Ci) if fields.is_empty() => None,
        Some(Is::Ci) => one_of("a CI", &CI_FIELDS),
        Some(Is::Record(known)) => one_of(&format!("`{head}`"), known),
        _ => {
            let all: Vec<String> = visible
                .all()
                .map(|n| {
                    if matches!(visible.get(n), Some(Is::Event | Is::Record(_))) {
                        format!("`{n}.`")
                    } else {
                        format!("`{n}`")
                    }
                })
                .collect();
            let help = format!(
                "it begins with {}, or is `about`; a brace that is meant as text is written `{{{{`",
                all.join(", ")
            );
            Some((format!("`{{{text}}}` is no path"), Some(help)))
        }
    }
}

/// `event.labels.mount`, `event.labels["k8s.app"]` as names.
///
/// # Errors
/// What is expected.
pub(crate) fn parse_path(text: &str) -> Result<Vec<String>, String> {
    let expected =
        || "write names with dots, such as event.labels.mount or event.labels[\"k8s.app\"]; no calls".to_owned();
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end == 0 {
            return Err(expected());
        }
        names.push(rest[..end].to_owned());
        rest = &rest[end..];
        while let Some(after) = rest.strip_prefix("[\"") {
            let (name, after) = after.split_once("\"]").ok_or_else(expected)?;
            names.push(name.to_owned());
            rest = after;
        }
        if rest.is_empty() {
            return Ok(names);
        }
        rest = rest.strip_prefix('.').ok_or_else(expected)?;
    }
}

/// The text, filled in. What is missing is `?`.
pub(crate) fn render(template: &Template, event: &Event<'_>, about: Option<&str>, bound: &Bindings<'_>) -> String {
    let mut out = String::new();
    for part in &template.0 {
        match part {
            TemplatePart::Text(text) => out.push_str(text),
            TemplatePart::Path { path, digits } => {
                let names: Vec<&str> = path.iter().map(String::as_str).collect();
                match names.as_slice() {
                    ["about"] => out.push_str(about.unwrap_or("?")),
                    ["event", fields @ ..] => show_field(event, fields, *digits, &mut out),
                    [head, fields @ ..] => match bound.get(head) {
                        Some(Bound::Event(event)) => show_field(event, fields, *digits, &mut out),
                        Some(Bound::Whole(n)) => show(&Val::Int(*n), *digits, &mut out),
                        Some(Bound::Number(x)) => show(&Val::Float(*x), *digits, &mut out),
                        Some(Bound::Ci(ci)) => show_ci(ci, fields, *digits, &mut out),
                        Some(Bound::Record(record)) => show_json(record, fields, *digits, &mut out),
                        Some(Bound::Events(_)) | None => out.push('?'),
                    },
                    [] => out.push('?'),
                }
            }
        }
    }
    out
}

fn show_field(event: &Event<'_>, fields: &[&str], digits: Option<usize>, out: &mut String) {
    match Path::of(fields) {
        Some(path) => show(&path.read(event), digits, out),
        None => out.push('?'),
    }
}

fn show_ci(ci: &Ci, fields: &[&str], digits: Option<usize>, out: &mut String) {
    match fields {
        [] => out.push_str(&ci.name),
        ["attributes", name] => match ci.attributes.get(*name) {
            Some(attribute) => show_json(&attribute.value, &[], digits, out),
            None => out.push('?'),
        },
        fields => match serde_json::to_value(ci) {
            Ok(ci) => show_json(&ci, fields, digits, out),
            Err(_) => out.push('?'),
        },
    }
}

fn show_json(value: &Value, fields: &[&str], digits: Option<usize>, out: &mut String) {
    // What is stored as `type_` is read as `type`.
    let found = fields.iter().try_fold(value, |value, name| value.get(*name).or_else(|| value.get(format!("{name}_"))));
    let value = match found {
        Some(Value::String(text)) => Val::text(text),
        Some(Value::Bool(b)) => Val::Bool(*b),
        Some(Value::Number(n)) => {
            n.as_i64().map(Val::Int).or_else(|| n.as_f64().map(Val::Float)).unwrap_or(Val::Missing)
        }
        _ => Val::Missing,
    };
    show(&value, digits, out);
}

fn show(value: &Val<'_>, digits: Option<usize>, out: &mut String) {
    // A number that stands in a label is rounded like any other.
    let number = if digits.is_some() { value.clone().num() } else { Val::Missing };
    let _ = match (number, digits, value) {
        (Val::Int(i), Some(n), _) if n > 0 => write!(out, "{i}.{:0<n$}", ""),
        (Val::Float(f), Some(n), _) => write!(out, "{f:.n$}"),
        (_, _, Val::Int(i)) => write!(out, "{i}"),
        (_, _, Val::Float(f)) => write!(out, "{f}"),
        (_, _, Val::Bool(b)) => write!(out, "{b}"),
        (_, _, Val::Text(t)) => write!(out, "{t}"),
        (_, _, Val::Severity(s)) => write!(out, "{}", s.name()),
        (_, _, Val::Missing | Val::Other) => write!(out, "?"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use paramedic_model::{Labels, Measure};

    fn event() -> Event<'static> {
        Event {
            value: Some(Measure::Float(93.26)),
            threshold: Some(Measure::Int(90)),
            labels: Labels::new(vec![
                ("mount".into(), "/var".into()),
                ("k8s.app".into(), "x".into()),
                ("n".into(), "1.25".into()),
            ]),
            ..Event::default()
        }
    }

    #[test]
    fn a_path_shows_its_value_and_a_missing_one_a_question_mark() {
        for (text, expected) in [
            ("Disk {event.labels.mount} is {event.value:.0} % full", "Disk /var is 93 % full"),
            ("{event.value} {event.value:.1} {event.threshold:.2} {event.threshold:.0}", "93.26 93.3 90.00 90"),
            ("{event.labels[\"k8s.app\"]} {event.labels.n:.1} {event.labels.no}", "x 1.2 ?"),
            ("{{event.value}} } {about} on {event.ci}", "{event.value} } web-1 on ?"),
            ("{event.severity}", "?"),
        ] {
            assert_eq!(
                render(&parse(text, &Names::EVENT).unwrap(), &event(), Some("web-1"), Bindings::none()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn anything_but_a_path_in_braces_is_refused() {
        for text in ["{event.lables.x}", "{event.value", "{f(x)}", "{}", "{event}", "{cmdb.x}", "{event.value:.99}"] {
            assert!(parse(text, &Names::EVENT).is_err(), "{text}");
        }
    }
}
