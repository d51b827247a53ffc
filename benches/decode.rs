//! Nanoseconds to decode one native event of 400 bytes and six labels, with nothing else around it. Prints one line of
//! JSON.
//!
//! `cargo bench --bench decode`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use paramedic_formats::{Message, format};
use paramedic_model::Timestamp;

const ROUNDS: u32 = 1_000_000;

fn main() {
    let mut text = r#"{"id":"000000000001","type":"metric.001","kind":"metric","ci":"host-0001.example.net","severity":"warning","status":"firing","value":42,"unit":"percent","labels":{"env":"production","team":"storage","mount":"/var/lib/data","site":"fra-1","job":"node-exporter","cluster":"blue"},"summary":""#.to_owned();
    while text.len() < 398 {
        text.push('x');
    }
    text.push_str("\"}");
    let native = format("paramedic").unwrap();
    let began = Instant::now();
    for _ in 0..ROUNDS {
        let message =
            Message { source: "bench", headers: &[], payload: Some(text.as_bytes()), stamp: Timestamp::from_secs(1) };
        let mut events = Vec::with_capacity(1);
        (native.decode)(black_box(message), &mut events).unwrap();
        black_box(&events);
    }
    let nanos = began.elapsed().as_nanos() / u128::from(ROUNDS);
    println!(
        "{}",
        serde_json::json!({"bench": "decode", "bytes": text.len(), "labels": 6, "ns_per_event": nanos as u64})
    );
}
