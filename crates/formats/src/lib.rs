//! Bytes to events. Pure: no clock, no I/O. Each format is one file and one line of [`FORMATS`].

mod alertmanager;
mod cloudevents;
pub mod cmdb;
mod json;
mod native;
mod schema;

use paramedic_model::{Event, Timestamp};

pub use schema::event_schema;

/// A larger payload is refused unread, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// JSON nested deeper is refused; the outermost value is at depth 1.
pub const MAX_DEPTH: usize = 64;
/// One JSON object holds at most so many members.
pub const MAX_KEYS: usize = 1_000;

/// Every format, by the name that configuration uses.
pub const FORMATS: &[Format] = &[
    native::FORMAT,       // paramedic
    cloudevents::FORMAT,  // cloudevents
    alertmanager::FORMAT, // alertmanager
];

/// The format of that name.
pub fn format(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|f| f.name == name)
}

/// What a source hands over: bytes, with what came around them. Nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The configured source's name.
    pub source: &'a str,
    /// Name and value, as they came; Kafka headers or HTTP headers.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The payload; `None` is Kafka's null value (a tombstone).
    pub payload: Option<&'a [u8]>,
    /// The input's stamp.
    pub stamp: Timestamp,
}

/// Why bytes are no event, with the place and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecodable(pub String);

/// A format: its name, what it is, and how it reads a message. One message may hold several events.
#[derive(Debug)]
pub struct Format {
    /// Its name in configuration.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Reads one message, appending to `out`; on an error nothing has been appended. `Ok` appends at least one.
    pub decode: for<'a> fn(Message<'a>, &mut Vec<Event<'a>>) -> Result<(), Undecodable>,
}

/// The bytes of a message that a webhook took.
///
/// # Errors
/// When the stored text is not base64.
pub fn webhook_body(raw: &paramedic_model::RawMessage) -> Result<Vec<u8>, Undecodable> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(&raw.body)
        .map_err(|e| Undecodable(format!("the stored body is not base64: {e}")))
}
