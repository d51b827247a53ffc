//! Several engines on one PostgreSQL and one consumer group, and the books of all their shards.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use paramedic_model::JournalRow;
use paramedic_store::{PostgresStore, Store};
use rdkafka::producer::{BaseProducer, BaseRecord};

use crate::common::{Broker, EngineProcess, binary, free_port, report};
use crate::support::World;

/// The shortest session timeout that a broker takes by default.
pub const SESSION: Duration = Duration::from_secs(6);

/// A world with a real Kafka, a topic, and a schema of its own in a real PostgreSQL.
pub struct Cluster {
    pub world: World,
    pub broker: Broker,
    pub topic: String,
    pub url: String,
    pub partitions: i32,
    nodes: usize,
    scope: &'static str,
    start: &'static str,
    more: String,
}

impl Cluster {
    /// `None`, said aloud, where one of the servers is not there.
    pub fn of_test(test: &str, partitions: i32) -> Option<Self> {
        let database = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
        report(&format!("{test}-store"), if database.is_some() { "postgres" } else { "no-postgres" });
        let broker = Broker::of_test(test);
        let database = database.filter(|_| broker.is_real())?;
        let topic = broker.topic(test, partitions);
        let url = in_schema(&database, &topic.replace('-', "_"));
        let world = World::new();
        Some(Self {
            world,
            broker,
            topic,
            url,
            partitions,
            nodes: 0,
            scope: "event.labels.site",
            start: "earliest",
            more: String::new(),
        })
    }

    /// Another scope expression than `event.labels.site`.
    pub fn scoped_by(mut self, scope: &'static str) -> Self {
        self.scope = scope;
        self
    }

    /// Where the topic is begun: `latest` in place of `earliest`.
    pub fn beginning(mut self, start: &'static str) -> Self {
        self.start = start;
        self
    }

    /// More lines of configuration for nodes that start from here on.
    pub fn with(mut self, more: &str) -> Self {
        self.more = more.to_owned();
        self
    }

    /// The configuration of a member.
    pub fn config(&self, name: &str) -> String {
        let base = self.world.config(&format!(
            "store: \"{}\"\nkafka:\n  brokers: \"{}\"\n  group: {}\n  instance: {name}\n  options: {{ session.timeout.ms: \"{}\" }}\nsources:\n  - {{ name: monitoring, kafka: {{ topic: {}, start: {} }}, scope: {} }}\n  - {{ name: hook, webhook: {{}}, scope: {} }}\n{}",
            self.url,
            self.broker.address(),
            self.topic,
            SESSION.as_millis(),
            self.topic,
            self.start,
            self.scope,
            self.scope,
            self.more,
        ));
        let data = self.world.path(name).join("data");
        base.replace(&format!("data: {}", self.world.data().display()), &format!("data: {}", data.display()))
    }

    /// Starts another engine.
    pub fn node(&mut self) -> EngineProcess {
        self.node_of(binary())
    }

    /// Starts so many at once.
    pub fn nodes(&mut self, count: usize) -> Vec<EngineProcess> {
        let mut nodes: Vec<EngineProcess> = (0..count).map(|_| self.unawaited(binary())).collect();
        nodes.iter_mut().for_each(EngineProcess::wait_alive);
        nodes
    }

    /// Starts another engine of this build.
    pub fn node_of(&mut self, program: &str) -> EngineProcess {
        let mut node = self.unawaited(program);
        node.wait_alive();
        node
    }

    fn unawaited(&mut self, program: &str) -> EngineProcess {
        self.nodes += 1;
        let name = format!("node-{}", self.nodes);
        let folder = self.world.path(&name);
        std::fs::create_dir_all(&folder).unwrap();
        let port = free_port();
        let path = folder.join("paramedic.yaml");
        std::fs::write(&path, format!("listen: 127.0.0.1:{port}\n{}", self.config(&name))).unwrap();
        let args = vec!["run".to_owned(), "-c".to_owned(), path.display().to_string()];
        EngineProcess::spawn_unawaited(program, &folder, args, &[], &format!("http://127.0.0.1:{port}"))
    }

    /// The store, beside the engines.
    pub fn store(&self) -> PostgresStore {
        PostgresStore::open(&self.url).unwrap()
    }

    /// A producer that chooses partitions as Kafka's own Java client does.
    pub fn producer(&self) -> BaseProducer {
        rdkafka::ClientConfig::new()
            .set("bootstrap.servers", self.broker.address())
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", "500000")
            .set("acks", "all")
            .create()
            .unwrap()
    }

    /// The partition of a key.
    pub fn partition(&self, key: &str) -> i32 {
        partition(key, self.partitions)
    }

    /// Sends a record to a partition.
    pub fn send(&self, producer: &BaseProducer, partition: i32, key: &str, payload: &str) {
        let mut record = BaseRecord::to(&self.topic).partition(partition).key(key).payload(payload);
        while let Err((error, back)) = producer.send(record) {
            assert!(error.to_string().contains("Queue full"), "{error}");
            record = back;
            producer.poll(Duration::from_millis(20));
        }
    }
}

/// The partition of a key: any function will do that keeps a key's records together.
pub fn partition(key: &str, partitions: i32) -> i32 {
    let sum: u32 = key.bytes().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    i32::try_from(sum % u32::try_from(partitions).unwrap()).unwrap()
}

/// The same database, in a schema of its own.
pub fn in_schema(url: &str, schema: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}schema={schema}")
}

/// How many shards an engine owns.
pub fn owns(engine: &EngineProcess) -> u32 {
    engine.metric("paramedic_shards", &[]) as u32
}

/// Sends a signal by its name.
pub fn signal(engine: &EngineProcess, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &engine.pid().to_string()]).status().unwrap().success());
}

/// What the journal of all shards says: ranges of each position abut over all batches of its shard, batches are
/// numbered without gaps, and epochs never go back. Gives how many records of each position were delivered, and where
/// each ends.
pub fn abut(store: &dyn Store) -> BTreeMap<String, (u64, i64)> {
    let mut delivered: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    for (shard, _) in store.shards().unwrap() {
        let mut rows: Vec<JournalRow> = Vec::new();
        loop {
            let more = store.journal(shard, rows.last().map_or(1, |r| r.batch + 1), 10_000).unwrap();
            if more.is_empty() {
                break;
            }
            rows.extend(more);
        }
        let mut epoch = 0;
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(row.batch, i as u64 + 1, "shard {shard}: batches are numbered without gaps");
            assert!(row.epoch >= epoch, "shard {shard}: batch {} is of an epoch that was over", row.batch);
            epoch = row.epoch;
            for (name, range) in &row.ranges {
                let name = if name.contains('/') { name.clone() } else { format!("{name} of {shard}") };
                let first = i64::from(!name.contains('/'));
                let entry = delivered.entry(name.clone()).or_insert((0, first));
                assert_eq!(entry.1, range.from, "{name}: batch {} does not abut", row.batch);
                *entry = (entry.0 + range.delivered, range.to);
            }
        }
    }
    for (shard, name, position) in store.positions().unwrap() {
        let name = if name.contains('/') { name } else { format!("{name} of {shard}") };
        if let Some((_, end)) = delivered.get(&name) {
            assert_eq!(*end, position.next, "{name}: position and journal differ");
        }
    }
    delivered
}

/// Shards that have taken something.
pub fn shards_with_history(store: &dyn Store) -> BTreeSet<u32> {
    let shards = store.shards().unwrap().into_iter();
    shards.map(|(shard, _)| shard).filter(|shard| !store.journal(*shard, 1, 1).unwrap().is_empty()).collect()
}
