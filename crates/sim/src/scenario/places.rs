//! Where each part of a file of scenarios stands: by document, and by path in it.

use std::collections::BTreeMap;

use paramedic_rulebook::Place;
use saphyr_parser::{Event, Parser, ScanError, Span, StrInput};

/// Line and column of each part, from 1, by its path: `0/steps/2/expect/incident/state`.
pub(super) struct Places<'a> {
    file: &'a str,
    known: BTreeMap<String, (usize, usize)>,
}

impl<'a> Places<'a> {
    /// Of a file that may be no YAML: then it knows what stands before the fault.
    pub(super) fn of(file: &'a str, text: &str) -> Self {
        let mut walk = Walk { parser: Parser::new_from_str(text), known: BTreeMap::new() };
        // What is wrong with the file is said by who reads it.
        let _ = walk.documents();
        Self { file, known: walk.known }
    }

    /// Of the part, or of the nearest one around it that is known.
    pub(super) fn at(&self, document: usize, path: &str) -> Place {
        let mut path = format!("{document}/{path}");
        loop {
            if let Some((line, column)) = self.known.get(&path) {
                return self.place(*line, *column);
            }
            let Some(cut) = path.rfind('/') else { return self.place(1, 1) };
            path.truncate(cut);
        }
    }

    fn place(&self, line: usize, column: usize) -> Place {
        Place { file: self.file.to_owned(), line, column }
    }
}

struct Walk<'s> {
    parser: Parser<'s, StrInput<'s>>,
    known: BTreeMap<String, (usize, usize)>,
}

impl<'s> Walk<'s> {
    fn next(&mut self) -> Result<(Event<'s>, Span), ScanError> {
        self.parser.next_event().unwrap_or(Ok((Event::StreamEnd, Span::default())))
    }

    fn documents(&mut self) -> Result<(), ScanError> {
        let mut document = 0;
        loop {
            match self.next()?.0 {
                Event::StreamEnd => return Ok(()),
                Event::DocumentStart(_) => {
                    let event = self.next()?;
                    self.node(event, &document.to_string())?;
                    document += 1;
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, (event, span): (Event<'s>, Span), path: &str) -> Result<(), ScanError> {
        self.known.entry(path.to_owned()).or_insert((span.start.line().max(1), span.start.col() + 1));
        match event {
            Event::SequenceStart(..) => self.items(path),
            Event::MappingStart(..) => self.entries(path),
            _ => Ok(()),
        }
    }

    fn items(&mut self, path: &str) -> Result<(), ScanError> {
        let mut index = 0;
        loop {
            let event = self.next()?;
            if matches!(event.0, Event::SequenceEnd | Event::StreamEnd) {
                return Ok(());
            }
            self.node(event, &format!("{path}/{index}"))?;
            index += 1;
        }
    }

    /// A part stands where its key does.
    fn entries(&mut self, path: &str) -> Result<(), ScanError> {
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                return Ok(());
            }
            let below = match &event {
                Event::Scalar(name, ..) => format!("{path}/{name}"),
                _ => format!("{path}/?"),
            };
            self.node((event, span), &below)?;
            let value = self.next()?;
            self.node(value, &below)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stands_where_its_key_does() {
        let text = "scenario: a\nsteps:\n  - at: 0s\n    expect: { incident: { state: new } }\n---\nscenario: b\nsteps:\n  - at: 1s\n";
        let places = Places::of("a.test.yaml", text);
        assert_eq!(places.at(0, "steps/0/expect/incident/state").to_string(), "a.test.yaml:4:27");
        assert_eq!(places.at(0, "steps/0").to_string(), "a.test.yaml:3:5");
        assert_eq!(places.at(1, "steps/0/at").to_string(), "a.test.yaml:8:5");
        assert_eq!(places.at(1, "steps/0/no/such").to_string(), "a.test.yaml:8:5");
        assert_eq!(Places::of("x", "{").at(3, "steps").to_string(), "x:1:1");
    }
}
