//! Events of a file: one message a line, or the file is one message.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use paramedic_formats::{Format, Message};
use paramedic_model::OwnedEvent;
use paramedic_runtime::clock;

/// An event, and the line where its message begins.
pub(super) struct Placed {
    pub(super) line: usize,
    pub(super) event: OwnedEvent,
}

/// Events, and messages that are none with the reason.
#[derive(Default)]
pub(super) struct Read {
    pub(super) events: Vec<Placed>,
    pub(super) undecodable: Vec<(usize, String)>,
}

/// The format of that name.
pub(super) fn format(name: &str) -> anyhow::Result<&'static Format> {
    paramedic_formats::format(name).ok_or_else(|| {
        let known: Vec<_> = paramedic_formats::FORMATS.iter().map(|f| f.name).collect();
        anyhow!("no format is named {name:?}; there are {}", known.join(", "))
    })
}

/// Reads a file; `-` is standard input.
pub(super) fn file(path: &Path, format: &Format, source: &str) -> anyhow::Result<Read> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.with_context(|| path.display().to_string())?;
    let mut all = Read::default();
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let is_lines = serde_json::from_str::<serde::de::IgnoredAny>(first).is_ok();
    if !is_lines && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
        all.take(1, text.as_bytes(), format, source);
        return Ok(all);
    }
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        all.take(at + 1, line.as_bytes(), format, source);
    }
    Ok(all)
}

impl Read {
    /// Decodes a message that is received now.
    fn take(&mut self, line: usize, payload: &[u8], format: &Format, source: &str) {
        self.message(line, Message { source, headers: &[], payload: Some(payload), stamp: clock::wall() }, format);
    }

    /// Decodes a message.
    pub(super) fn message(&mut self, line: usize, message: Message<'_>, format: &Format) {
        let mut events = Vec::new();
        match (format.decode)(message, &mut events) {
            Ok(()) => self.events.extend(events.into_iter().map(|e| Placed { line, event: e.into_owned() })),
            Err(why) => self.undecodable.push((line, why.to_string())),
        }
    }

    /// Whether there was no message.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.undecodable.is_empty()
    }
}
