//! The demo's world: a broker, a playbook service, two hosts, and the monitoring that watches them.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use paramedic_runners::{Behaviour, Done, FakeEndpoint};
use paramedic_runtime::clock::wall;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use serde_json::{Value, json};

use crate::args::BreakPart;

/// The topic that monitoring publishes to.
pub(crate) const TOPIC: &str = "monitoring.events";
/// How often monitoring samples.
const EVERY: Duration = Duration::from_millis(250);

/// Everything around the engine.
pub(crate) struct World {
    cluster: MockCluster<'static, DefaultProducerContext>,
    endpoint: FakeEndpoint,
    disk: Arc<AtomicU32>,
    broken: Option<BreakPart>,
    stop: Arc<AtomicBool>,
    monitoring: Mutex<Option<JoinHandle<()>>>,
}

impl World {
    pub(crate) async fn build(broken: Option<BreakPart>) -> anyhow::Result<Self> {
        let cluster = MockCluster::new(1).context("the embedded broker")?;
        cluster.create_topic(TOPIC, 1, 1).context("the embedded broker's topic")?;
        let endpoint = FakeEndpoint::start(None).await.context("the playbook service")?;
        endpoint.behave("/clean-disk", Behaviour::succeed());
        endpoint.behave("/restart-database", Behaviour::succeed());
        endpoint.behave("/notify", Behaviour::succeed());
        let disk = Arc::new(AtomicU32::new(93));
        let repairs = Arc::clone(&disk);
        endpoint.on_effect(move |done| {
            // The host is repaired by the playbook, and by nothing else. A restart repairs no database.
            if done.path == "/clean-disk" && broken != Some(BreakPart::Playbook) {
                repairs.store(41, Ordering::SeqCst);
            }
        });
        let stop = Arc::new(AtomicBool::new(false));
        Ok(Self { cluster, endpoint, disk, broken, stop, monitoring: Mutex::new(None) })
    }

    pub(crate) fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    pub(crate) fn endpoint_url(&self, path: &str) -> String {
        self.endpoint.url(path)
    }

    /// What the playbook service did, by its own log.
    pub(crate) fn done(&self) -> Vec<Done> {
        self.endpoint.done()
    }

    /// Requests that reached a path of the playbook service, by its own log of raw bytes: their bodies.
    pub(crate) fn requests(&self, path: &str) -> Vec<Value> {
        let received = self.endpoint.received();
        let of_path = received.iter().filter(|r| r.path() == path);
        of_path.filter_map(|r| serde_json::from_str(r.body()).ok()).collect()
    }

    /// How full the disk really is.
    pub(crate) fn disk(&self) -> u32 {
        self.disk.load(Ordering::SeqCst)
    }

    /// Monitoring begins to publish.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        if self.broken == Some(BreakPart::Kafka) {
            self.cluster.broker_down(1).context("breaking the broker")?;
        }
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.brokers())
            .set("linger.ms", "1")
            .create()
            .context("monitoring's producer")?;
        let (stop, disk, broken) = (Arc::clone(&self.stop), Arc::clone(&self.disk), self.broken);
        let thread = thread::Builder::new()
            .name("monitoring".to_owned())
            .spawn(move || watch(&producer, &stop, &disk, broken))?;
        *self.monitoring.lock().map_err(|_| anyhow!("the monitoring thread broke off"))? = Some(thread);
        Ok(())
    }

    /// Monitoring ends.
    pub(crate) fn end(&self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Ok(mut thread) = self.monitoring.lock()
            && let Some(thread) = thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn watch(producer: &BaseProducer, stop: &AtomicBool, disk: &AtomicU32, broken: Option<BreakPart>) {
    let began = wall();
    let mut sample = 0u64;
    while !stop.load(Ordering::SeqCst) {
        let used = disk.load(Ordering::SeqCst);
        let seen = used >= 90 || broken != Some(BreakPart::Evidence);
        if seen {
            publish(
                producer,
                "web-1",
                &json!({"id": format!("web-1/{sample}"), "type": "disk.used_pct", "kind": "metric", "ci": "web-1",
                        "severity": "warning", "value": used, "unit": "%", "labels": {"mount": "/var"},
                        "time": wall()}),
            );
        }
        if sample >= 4 {
            publish(
                producer,
                "db-1",
                &json!({"id": format!("db-1/{sample}"), "type": "database.down", "ci": "db-1", "severity": "major",
                        "summary": "no answer on port 5432", "time": wall(), "began": began}),
            );
        }
        sample += 1;
        producer.poll(EVERY);
    }
    let _ = producer.flush(Duration::from_millis(200));
}

fn publish(producer: &BaseProducer, key: &str, event: &Value) {
    let payload = event.to_string();
    if let Err((error, _)) = producer.send(BaseRecord::to(TOPIC).key(key).payload(&payload)) {
        tracing::warn!(%error, "monitoring could not publish");
    }
}
