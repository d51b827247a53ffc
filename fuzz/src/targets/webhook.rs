//! What a webhook took, as the inbox keeps it, to events.

use std::collections::BTreeMap;

use paramedic_formats::webhook_body;
use paramedic_model::RawMessage;

use super::events::decode;
use super::input::in_time;

/// A `RawMessage` as JSON, or the text of its body.
pub fn run(data: &[u8]) {
    let raw = serde_json::from_slice::<RawMessage>(data).unwrap_or_else(|_| RawMessage {
        source: "fuzz".to_owned(),
        headers: BTreeMap::new(),
        body: String::from_utf8_lossy(data).into_owned(),
    });
    in_time("a webhook's body", || match webhook_body(&raw) {
        Ok(body) => {
            assert!(body.len() <= raw.body.len());
            let headers: Vec<_> = raw.headers.iter().map(|(k, v)| (k.as_str(), v.as_bytes())).collect();
            decode(&headers, Some(&body));
        }
        Err(why) => assert!(!why.0.is_empty() && why.0.len() < 500),
    });
}
