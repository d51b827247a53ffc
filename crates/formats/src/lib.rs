//! Bytes to events. Pure: no clock, no I/O. Each format is one file and one line of [`FORMATS`].

use paramedic_model::{Event, Timestamp};

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
    /// Reads one message, appending to `out`; on an error nothing has been appended.
    pub decode: for<'a> fn(Message<'a>, &mut Vec<Event<'a>>) -> Result<(), Undecodable>,
}
