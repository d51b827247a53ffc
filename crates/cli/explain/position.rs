//! Events by their position in a source that is configured: `kafka/TOPIC/PARTITION/OFFSET`, `file/NAME/BYTE`.

use anyhow::{Context as _, anyhow, bail};
use paramedic_model::Range;
use paramedic_runtime::{Config, live::feed};
use paramedic_sim::journal::RecordSource as _;

use super::event;
use super::read::Read;
use crate::Outcome;
use crate::args::ExplainArgs;
use crate::replay::journal::{Records, partition};

/// Whether a name is a position.
pub(super) fn is_position(name: &str) -> bool {
    name.starts_with("kafka/") || name.starts_with("file/")
}

/// Reads one record where it stands, as the engine of this configuration would, and asks the rules about its events.
pub(super) fn of_position(args: &ExplainArgs, name: &str) -> Outcome {
    let Some(path) = &args.config else { bail!("--config is needed: the file that says how to reach {name}") };
    let config = Config::read(path)?;
    let parts = name.rsplit_once('/').and_then(|(position, offset)| Some((position, offset.parse::<i64>().ok()?)));
    let Some((position, offset)) = parts.filter(|(_, offset)| *offset >= 0) else {
        bail!("{name} is no position: write kafka/TOPIC/PARTITION/OFFSET, or file/SOURCE/BYTE")
    };
    let configured = config.sources.iter().find(|source| match (partition(position), &source.kafka) {
        (Some((topic, _)), Some(kafka)) => kafka.topic == topic,
        _ => source.file.is_some() && position.strip_prefix("file/") == Some(source.name.as_str()),
    });
    let feed = configured.and_then(|source| feed(source, position)).ok_or_else(|| {
        anyhow!("no source of {} reads {position}; `paramedic offsets show` names the positions", path.display())
    })?;
    let range = Range { from: offset, to: offset + 1, delivered: 1, bytes: 0, crc: 0 };
    let records = Records::of(&config).read(position, &range).map_err(anyhow::Error::msg);
    let records = records.with_context(|| format!("{position} at {offset}"))?;
    let mut read = Read::default();
    for record in records.iter().filter(|record| record.offset == offset) {
        let headers: Vec<(&str, &[u8])> = record.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        let message = paramedic_formats::Message {
            source: &feed.source,
            headers: &headers,
            payload: record.payload.as_deref(),
            stamp: record.timestamp,
        };
        read.message(1, message, feed.format);
    }
    if read.is_empty() {
        bail!("{position} has no record at {offset}; of a file a position is the byte where a line begins");
    }
    let folder = args.rules.as_ref().unwrap_or(&config.rules);
    event::tell(args, folder, name, &read)
}
