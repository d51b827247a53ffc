//! YAML as a tree in which everything knows where it stands. Scalars stay the text that was written: `NO` and
//! `1.10` are what they are. What YAML would turn into something else is refused, with the reason.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::syntax::{self, Trouble};
use crate::diagnostics::{At, Report};

/// Deepest nesting of lists and maps.
const DEPTH: usize = 64;

/// A part of a document.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: At,
    /// Line of its end.
    pub(crate) last_line: usize,
    pub(crate) kind: Kind,
}

/// What a part is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Scalar {
        text: String,
        style: ScalarStyle,
    },
    List {
        items: Vec<Node>,
        flow: bool,
    },
    Map(Vec<(Key, Node)>),
    /// Refused, and reported.
    Bad,
}

/// A key of a map.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) at: At,
}

impl Key {
    /// As a value, for keys that are expressions.
    pub(crate) fn as_node(&self) -> Node {
        let kind = Kind::Scalar { text: self.name.clone(), style: ScalarStyle::Plain };
        Node { at: self.at, last_line: self.at.line, kind }
    }
}

impl Node {
    /// In words, for "found ...".
    pub(crate) fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar { .. } if self.is_empty() => "nothing",
            Kind::Scalar { .. } => "a text",
            Kind::List { .. } => "a list",
            Kind::Map(_) => "a map",
            Kind::Bad => "something that was refused",
        }
    }

    /// Whether there is nothing behind the key.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, style: ScalarStyle::Plain } if matches!(text.as_str(), "" | "~" | "null"))
    }
}

/// The one document of a file; `None` when it is none, which is reported.
pub(crate) fn parse(source: &str, report: &mut Report<'_>) -> Option<Node> {
    let (documents, whole) = documents(source, report);
    let mut documents = documents.into_iter();
    let first = documents.next();
    if first.is_none() && whole {
        report.error(At { line: 1, column: 1 }, "the file is empty", None);
    }
    for (at, _) in documents {
        let help = Some("put it into a file of its own".to_owned());
        report.error(at, "a file holds one document; here begins another", help);
    }
    first.filter(|_| whole).map(|(_, node)| node)
}

/// The documents of a file with the places where they begin, and whether it is YAML to its end; that it is not is
/// reported.
pub(crate) fn documents(source: &str, report: &mut Report<'_>) -> (Vec<(At, Node)>, bool) {
    // In YAML `"\="` is no escape; the language says that it is how a text begins with `=`.
    let source = source.replace(": \"\\= ", ": \"\\\\= ");
    let mut builder = Builder { parser: Parser::new_from_str(&source), report };
    let mut found = Vec::new();
    match builder.documents(&mut found) {
        Ok(()) => (found, true),
        Err(error) => {
            builder.syntax_error(&error);
            (found, false)
        }
    }
}

struct Builder<'s, 'r, 'a> {
    parser: Parser<'s, StrInput<'s>>,
    report: &'r mut Report<'a>,
}

impl<'s> Builder<'s, '_, '_> {
    fn next(&mut self) -> Result<(Event<'s>, Span), ScanError> {
        self.parser.next_event().unwrap_or(Ok((Event::StreamEnd, Span::default())))
    }

    fn documents(&mut self, found: &mut Vec<(At, Node)>) -> Result<(), ScanError> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentStart(_), span) => {
                    let event = self.next()?;
                    found.push((at(span), self.node(event, 0)?));
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, (event, span): (Event<'s>, Span), depth: usize) -> Result<Node, ScanError> {
        let start = at(span);
        if depth > DEPTH {
            return Err(ScanError::new_str(span.start, "nested deeper than 64 levels"));
        }
        let (anchor, tag, kind) = match event {
            Event::Scalar(text, style, anchor, tag) => (anchor, tag, Kind::Scalar { text: text.into_owned(), style }),
            Event::SequenceStart(anchor, tag) => {
                let flow = self.char_at(start) == Some('[');
                (anchor, tag, Kind::List { items: self.items(depth)?, flow })
            }
            Event::MappingStart(anchor, tag) => (anchor, tag, Kind::Map(self.entries(depth)?)),
            Event::Alias(_) => {
                self.anchors(start);
                (0, None, Kind::Bad)
            }
            _ => (0, None, Kind::Bad),
        };
        let mut node = Node { at: start, last_line: span.end.line(), kind };
        if let Some(tag) = tag {
            self.tag(start, &tag);
            node.kind = Kind::Bad;
        } else if anchor != 0 {
            self.anchors(start);
        }
        Ok(node)
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>, ScanError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(items),
                event => items.push(self.node(event, depth + 1)?),
            }
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<(Key, Node)>, ScanError> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event.0, Event::MappingEnd | Event::StreamEnd) {
                return Ok(entries);
            }
            let key = self.node(event, depth + 1)?;
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            let Kind::Scalar { text, .. } = key.kind else {
                self.report.error(key.at, "a key is a plain name", None);
                continue;
            };
            if let Some((first, _)) = entries.iter().find(|(k, _)| k.name == text) {
                let message = format!("`{text}` is here for the second time; the first is in line {}", first.at.line);
                self.report.error(
                    key.at,
                    message,
                    Some("keep one of the two; where another item of a list begins, it begins with `- `".to_owned()),
                );
                continue;
            }
            entries.push((Key { name: text, at: key.at }, value));
        }
    }

    fn char_at(&self, at: At) -> Option<char> {
        self.report.line(at.line).chars().nth(at.column - 1)
    }

    fn tag(&mut self, at: At, tag: &Tag) {
        let message = format!("YAML takes `!{}` for a tag and drops it from the value", tag.suffix);
        let help = "write the expression in a block: `when: |`, and the expression indented below it";
        self.report.error(at, message, Some(help.to_owned()));
    }

    fn anchors(&mut self, at: At) {
        let help = "write the value where it is used; a text that begins with & or * stands in quotes";
        self.report.error(at, "anchors and aliases (&, *) are not used in rulebooks", Some(help.to_owned()));
    }

    fn syntax_error(&mut self, error: &ScanError) {
        let at = At { line: error.marker().line().max(1), column: error.marker().col() + 1 };
        if error.info().contains("unknown anchor") {
            return self.anchors(at);
        }
        let Trouble { at, message, help } = syntax::trouble(self.report, error.info(), at);
        self.report.error(at, format!("this is no YAML: {message}"), help);
    }
}

fn at(span: Span) -> At {
    At { line: span.start.line().max(1), column: span.start.col() + 1 }
}
