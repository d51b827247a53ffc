//! How long the hot path takes: `cargo test --release -p paramedic-formats --test speed -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use paramedic_formats::{Message, format};
use paramedic_model::Timestamp;

const EVENT: &str = r#"{"id":"e-000000123456","type":"disk.full.42","severity":"major","status":"firing","ci":{"host":"db01.shop.example.net"},"summary":"Disk almost full on db01 /var","metric":"disk_used_percent","value":96.25,"labels":{"env":"prod","team":"storage","job":"node","mountpoint":"/var","region":"eu-1","tier":"gold"},"time":"2026-11-23T10:02:30.125Z","dedup_key":"db01:/var:disk","owner":"storage-oncall-1"}"#;

#[test]
#[ignore = "a measurement, not a check"]
fn nanoseconds_for_a_400_byte_event_with_6_labels() {
    let decode = format("paramedic").unwrap().decode;
    let no_id = EVENT.replacen(r#""id":"e-000000123456","#, "", 1);
    for (what, text) in [("with id", EVENT), ("without id", no_id.as_str())] {
        let mut best = f64::MAX;
        for _ in 0..10 {
            let mut out = Vec::with_capacity(64);
            let began = Instant::now();
            for i in 0..100_000 {
                let message = Message {
                    source: "kafka",
                    headers: &[],
                    payload: Some(black_box(text.as_bytes())),
                    stamp: Timestamp::from_millis(1_790_000_000_000 + i),
                };
                decode(message, &mut out).unwrap();
                if out.len() == 64 {
                    black_box(&out);
                    out.clear();
                }
            }
            best = best.min(began.elapsed().as_secs_f64() * 1e9 / 100_000.0);
        }
        println!("{what}: {} bytes, {best:.0} ns", text.len());
    }
}
