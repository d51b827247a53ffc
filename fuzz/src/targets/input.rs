//! How inputs are laid out, and what several targets need.

use std::time::{Duration, Instant};

use paramedic_formats::{FORMATS, Message};
use paramedic_model::{OwnedEvent, Timestamp};

/// When everything happens: 2027.
pub(super) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Longest that one input may take: far more than it does, on a slow machine with coverage on.
const LONGEST: Duration = Duration::from_secs(10);

/// Runs it, which must not take long.
pub(super) fn in_time<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let out = run();
    assert!(started.elapsed() < LONGEST, "{what} took {:?}", started.elapsed());
    out
}

/// `name: value` lines, an empty line, a body; without such a first line all of it is the body.
pub(super) fn headers_and_body(data: &[u8]) -> (Vec<(&str, &[u8])>, &[u8]) {
    let (mut headers, mut rest) = (Vec::new(), data);
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let line = &rest[..end];
        if line.is_empty() {
            return (headers, &rest[1..]);
        }
        let Some((name, value)) = header(line) else { break };
        headers.push((name, value));
        rest = &rest[end + 1..];
    }
    if headers.is_empty() { (headers, data) } else { (headers, rest) }
}

fn header(line: &[u8]) -> Option<(&str, &[u8])> {
    let at = line.iter().position(|b| *b == b':').filter(|at| *at > 0)?;
    let name = std::str::from_utf8(&line[..at]).ok()?;
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    is_name.then(|| (name, line[at + 1..].trim_ascii()))
}

/// The text before and behind the first line of four dashes.
pub(super) fn two_parts(text: &str) -> (&str, Option<&str>) {
    match text.split_once("\n----\n") {
        Some((first, second)) => (first, Some(second)),
        None => (text, None),
    }
}

/// The first event of a message in our own format.
pub(super) fn event(payload: &[u8]) -> Option<OwnedEvent> {
    let mut out = Vec::new();
    let message = Message { source: "fuzz", headers: &[], payload: Some(payload), stamp: NOW };
    (FORMATS.first()?.decode)(message, &mut out).ok()?;
    out.into_iter().next().map(paramedic_model::Event::into_owned)
}

/// Some events to ask conditions about.
pub(super) fn some_events() -> Vec<OwnedEvent> {
    [
        r#"{"type":"disk.used_pct","ci":"web-1","severity":"critical","value":97.5,"threshold":90,"unit":"%",
           "summary":"Disk /var is almost full","labels":{"mount":"/var","site":"MOW-1","ne":"BSC-2"},"id":"1"}"#,
        r#"{"type":"test.note","dedup_key":"k","status":"resolved","value":"12 dB","time":"2027-01-15T08:00:00Z"}"#,
        r#"{"type":"x","ci":{"name":"db-1","ip":"10.0.0.7","service":"pay"},"phase":"suppressed","severity":"minor"}"#,
    ]
    .iter()
    .filter_map(|text| event(text.as_bytes()))
    .collect()
}
