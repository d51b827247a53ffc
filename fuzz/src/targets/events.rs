//! Every format over one message: headers and a payload.

use paramedic_formats::{FORMATS, Message};
use paramedic_model::{Event, Span};

use super::input::{NOW, headers_and_body, in_time};

/// A `time` is at most this far ahead of the stamp.
const FUTURE: Span = Span::from_secs(300);

/// `name: value` lines, an empty line, the payload; or the payload alone.
pub fn run(data: &[u8]) {
    let (headers, payload) = headers_and_body(data);
    in_time("decoding", || decode(&headers, Some(payload)));
}

/// A format appends events that are whole, or says why not, and appends nothing.
pub(super) fn decode(headers: &[(&str, &[u8])], payload: Option<&[u8]>) {
    for format in FORMATS {
        let message = Message { source: "fuzz", headers, payload, stamp: NOW };
        let mut out = Vec::new();
        match (format.decode)(message, &mut out) {
            Ok(()) => {
                assert!(!out.is_empty(), "{}: no event and no error", format.name);
                out.iter().for_each(|event| is_whole(format.name, event));
            }
            Err(why) => {
                assert!(out.is_empty(), "{}: an error, and events all the same", format.name);
                assert!(!why.0.is_empty() && why.0.len() < 2_000, "{}: {} bytes of error", format.name, why.0.len());
            }
        }
    }
}

fn is_whole(format: &str, event: &Event<'_>) {
    assert!(!event.type_.is_empty(), "{format}: no type");
    assert!(event.dedup_key.is_some() || event.ci.best().is_some(), "{format}: it is about nothing");
    assert!(event.time.since(event.received) <= FUTURE, "{format}: from the future");
    assert!(event.began.is_none_or(|at| at.since(event.received) <= FUTURE), "{format}: begins in the future");
    // As it goes through the store to another shard.
    let text = serde_json::to_string(event).unwrap_or_default();
    let back: Result<Event<'_>, _> = serde_json::from_str(&text);
    assert!(back.is_ok_and(|b| b.dedup_key() == event.dedup_key() && b.id == event.id), "{format}: {text}");
}
