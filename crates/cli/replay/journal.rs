//! `paramedic replay --journal`: a live history once more, from its sources and its journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use paramedic_engine::Limits;
use paramedic_model::Range;
use paramedic_runtime::record::Chunk;
use paramedic_runtime::source::{Feed, Reader as _, file::FileReader, range::RangeReader};
use paramedic_runtime::{Config, Sets, live::feed};
use paramedic_sim::journal::{JournalOptions, RecordSource, SourceRecord, SourceSpec, replay_journal};
use paramedic_store::{Position, Store};

use crate::args::ReplayArgs;
use crate::{Done, Outcome};

pub(crate) fn replay(args: &ReplayArgs) -> Outcome {
    let config = match &args.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    let store = crate::backup::open(&config)?;
    let Some(first) = store.journal(args.shard, 1, 1)?.into_iter().next() else {
        bail!("the journal of shard {} is empty: nothing was taken there (`paramedic offsets show`)", args.shard)
    };
    let Some(begin) = store.ruleset_get(first.set)?.and_then(|s| paramedic_rulebook::load(&s).set) else {
        bail!("the rule set {} that the history begins under cannot be loaded", first.set)
    };
    let sets = Sets::new(Arc::clone(&store), Arc::new(begin));
    let mut records = Records::of(&config);
    let options = JournalOptions {
        shard: args.shard,
        cluster: config.cluster.clone(),
        limits: Limits { open_incidents: config.limits.open_incidents, ..Limits::default() },
        sources: &specs(&config, args.shard, store.as_ref())?,
        load_set: &|digest| sets.get(digest),
    };
    let bar = super::progress();
    let report = replay_journal(store.as_ref(), &mut records, &options, &mut |batches| bar.set_position(batches))?;
    bar.finish_and_clear();
    super::print(args, &report, || {
        let outcome = match &report.differs {
            None => "the same as it was live".to_owned(),
            Some(d) => format!("batch {}: {}", d.batch, d.what),
        };
        format!("{} batches, {} events, decisions {}\n{outcome}", report.batches, report.events, report.decisions_digest)
    })?;
    Ok(if report.differs.is_some() { Done::Found } else { Done::Well })
}

/// How each position's records are read: those that the journal names, under their sources' configuration.
fn specs(config: &Config, shard: u32, store: &dyn Store) -> anyhow::Result<BTreeMap<String, SourceSpec>> {
    let mut specs = BTreeMap::new();
    let spec = |f: Feed| SourceSpec { source: f.source, format: f.format, scope: f.scope };
    for source in &config.sources {
        let position = match &source.file {
            Some(_) => format!("file/{}", source.name),
            None => format!("inbox/{}", source.name),
        };
        if source.kafka.is_none()
            && let Some(feed) = feed(source, &position)
        {
            specs.insert(position, spec(feed));
        }
    }
    let mut from = 1;
    loop {
        let rows = store.journal(shard, from, 1000)?;
        let Some(last) = rows.last() else { return Ok(specs) };
        from = last.batch + 1;
        for position in rows.iter().flat_map(|row| row.ranges.keys()) {
            let Some((topic, _)) = partition(position) else { continue };
            let source = config.sources.iter().find(|s| s.kafka.as_ref().is_some_and(|k| k.topic == topic));
            if let Some(feed) = source.and_then(|s| feed(s, position)) {
                specs.entry(position.clone()).or_insert_with(|| spec(feed));
            }
        }
    }
}

/// `kafka/TOPIC/PARTITION`.
pub(crate) fn partition(position: &str) -> Option<(&str, i32)> {
    let (topic, number) = position.strip_prefix("kafka/")?.rsplit_once('/')?;
    Some((topic, number.parse().ok()?))
}

/// Records of a configuration's sources, read once more.
pub(crate) struct Records<'a> {
    config: &'a Config,
    partitions: BTreeMap<String, RangeReader>,
}

impl<'a> Records<'a> {
    /// Of this configuration.
    pub(crate) fn of(config: &'a Config) -> Self {
        Self { config, partitions: BTreeMap::new() }
    }
}

impl RecordSource for Records<'_> {
    fn read(&mut self, position: &str, range: &Range) -> Result<Vec<SourceRecord>, String> {
        let mut chunk = Chunk::default();
        if let Some((topic, number)) = partition(position) {
            let kafka = self.config.kafka.as_ref().ok_or("`kafka.brokers` is not set")?;
            let open = self.partitions.remove(position).filter(|r| r.next() == range.from);
            let mut reader = match open {
                Some(reader) => reader,
                None => RangeReader::new(kafka, topic, number, range.from)?,
            };
            reader.read(range.to, &mut chunk)?;
            self.partitions.insert(position.to_owned(), reader);
        } else {
            let name = position.strip_prefix("file/").ok_or("a position of an unknown kind")?;
            let source = self.config.sources.iter().find(|s| s.name == name).ok_or("no such source is configured")?;
            let file = source.file.as_ref().ok_or("that source is no file")?;
            let feed = feed(source, position).ok_or("that source is not configured right")?;
            let from = Some(Position { next: range.from, last_at: None, last_digest: None });
            let mut reader = FileReader::new(feed, file.path.clone(), &from);
            let now = paramedic_runtime::clock::wall();
            reader.take(&mut chunk, usize::MAX, now);
        }
        Ok(chunk
            .records()
            .filter(|r| r.offset < range.to)
            .map(|r| SourceRecord {
                offset: r.offset,
                timestamp: r.at,
                headers: r.headers.as_deref().unwrap_or_default().to_vec(),
                payload: chunk.payload(r).map(<[u8]>::to_vec),
            })
            .collect())
    }
}
