//! The journal, repeated: the same decisions, and nothing is done by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_engine::Limits;
use paramedic_model::{Digest, Range, RecordView};

use super::super::kafka::{Kafka, partition_of, position};
use super::super::owned::{CLUSTER, KAFKA_SOURCE, WEBHOOK_SOURCE, scope_expr};
use super::super::world::World;
use crate::journal::{JournalOptions, RecordSource, SourceRecord, SourceSpec, replay_journal};

/// The topic with all that was ever in it.
struct Topic<'a>(&'a Kafka);

impl RecordSource for Topic<'_> {
    fn read(&mut self, name: &str, range: &Range) -> Result<Vec<SourceRecord>, String> {
        let partition = partition_of(name).ok_or_else(|| format!("no partition {name}"))?;
        let of = |records: &[SourceRecord]| {
            let views = records.iter().map(|r| RecordView {
                at: r.timestamp,
                headers: &r.headers,
                payload: r.payload.as_deref(),
            });
            Range::of(range.from, range.to, views)
        };
        let lives = self.0.lives(partition).iter().rev().map(|life| life.range(range.from, range.to));
        let found = lives.clone().find(|records| of(records) == *range).or_else(|| lives.clone().next());
        Ok(found.unwrap_or_default().to_vec())
    }
}

pub(super) fn check(world: &mut World) {
    let Some(format) = paramedic_formats::format("paramedic") else { return };
    let spec = |source: &str| SourceSpec { source: source.to_owned(), format, scope: scope_expr() };
    let mut sources: BTreeMap<String, SourceSpec> =
        (0..world.kafka.count()).map(|p| (position(p), spec(KAFKA_SOURCE))).collect();
    sources.insert(format!("inbox/{WEBHOOK_SOURCE}"), spec(WEBHOOK_SOURCE));
    let rules = world.rules.clone();
    let load_set = move |digest: Digest| rules.find(digest).map(|set| Arc::clone(&set));
    let store = Arc::clone(&world.store);
    let before = store.counts().ok();
    let mut wrong = vec![];
    for (shard, _) in store.shards().unwrap_or_default() {
        let options = JournalOptions {
            shard,
            cluster: CLUSTER.to_owned(),
            limits: Limits::default(),
            sources: &sources,
            load_set: &load_set,
        };
        match replay_journal(store.as_ref(), &mut Topic(&world.kafka), &options, &mut |_| {}) {
            Ok(report) => {
                if let Some(difference) = report.differs {
                    wrong.push(format!("shard {shard} batch {}: {}", difference.batch, difference.what));
                }
            }
            Err(error) => wrong.push(format!("shard {shard}: {error}")),
        }
    }
    wrong.into_iter().for_each(|what| world.wrong("I20 a replay gives the same", what));
    if before != store.counts().ok() {
        world.wrong("I15 a replay does nothing", "the store has changed".to_owned());
    }
}
