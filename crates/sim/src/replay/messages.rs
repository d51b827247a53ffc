//! Where the messages of a replay come from.

use std::io::{BufRead, Result};

use paramedic_model::Timestamp;

/// Messages, in the order in which they are replayed.
pub trait Messages {
    /// Appends the next message's payload. `None`: there are no more.
    ///
    /// # Errors
    /// When it cannot be read.
    fn next(&mut self, payload: &mut Vec<u8>) -> Result<Option<Arrived>>;
}

/// What is known of a message besides its payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Its line or its place among the records, from 1.
    pub number: u64,
    /// When it arrived, never before the one before it; `None`: nobody knows, and the event's own time stands for it.
    pub stamp: Option<Timestamp>,
    /// Kafka's headers, as they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// It is Kafka's null value, and no empty text.
    pub is_null: bool,
}

/// A file of messages, one a line; blank lines are passed over.
pub struct Lines<R> {
    input: R,
    read: u64,
}

impl<R: BufRead> Lines<R> {
    /// From its beginning.
    pub fn new(input: R) -> Self {
        Self { input, read: 0 }
    }
}

impl<R: BufRead> Messages for Lines<R> {
    fn next(&mut self, payload: &mut Vec<u8>) -> Result<Option<Arrived>> {
        let from = payload.len();
        loop {
            if self.input.read_until(b'\n', payload)? == 0 {
                return Ok(None);
            }
            self.read += 1;
            let line = payload.get(from..).unwrap_or_default().trim_ascii_end().len();
            payload.truncate(from + line);
            if line > 0 {
                return Ok(Some(Arrived { number: self.read, ..Arrived::default() }));
            }
        }
    }
}
