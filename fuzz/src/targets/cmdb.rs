//! A CMDB file, in YAML or JSON.

use paramedic_formats::cmdb;
use paramedic_model::{Cmdb, Id};

use super::input::{NOW, in_time};

/// The file.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    in_time("a CMDB file", || {
        let known = |name: &str| name.starts_with('k').then(|| Id::of(&serde_json::json!(name)));
        match cmdb::parse(text, "default", "fuzz", NOW, &known) {
            Ok(delta) => {
                // What was read can be kept, and asked.
                let mut kept = Cmdb::default();
                let ids: Vec<Id> = delta.cis.iter().map(|ci| ci.id).collect();
                delta.cis.into_iter().for_each(|ci| kept.put(ci));
                delta.relations.into_iter().for_each(|r| kept.relate(r));
                assert!(ids.iter().all(|id| kept.get(*id).is_some()));
            }
            Err(why) => assert!(!why.is_empty() && why.len() < 4_000, "{} bytes of error", why.len()),
        }
    });
}
