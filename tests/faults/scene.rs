//! The stream, the monitoring that sees effects, the senders of webhooks, and the person on call.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use paramedic_model::Digest;
use paramedic_runners::Behaviour;
use paramedic_store::{PostgresStore, SqliteStore, Store};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord};
use serde_json::{Value, json};

use super::checks::Books;
use crate::cluster::Cluster;
use crate::common::{Broker, EngineProcess, binary, eventually, flush, free_port};
use crate::support::{SOON, World, next_millisecond, text};

/// Sites: each is a scope, and a partition of the topic.
pub const SITES: usize = 3;
/// Their scopes, by partition: each is at home in the shard of its number, as Kafka's partitioner has it.
const SCOPES: [&str; SITES] = ["site-6", "site-0", "site-2"];

/// Rules of the matrix beside those of [`World`]; `MORE` is where later ones go.
const MATRIX: &str = r#"rulebook: matrix
description: What the crash matrix needs beside the fleet.
owner: tests
autonomy: auto
may:
  playbooks: [flush-cache]
  ci_classes: [server]
  environments: [test]

rules:
  - rule: cache is stale
    when: |
      event.type == "cache.stale"
    incident:
      summary: "The cache of {event.ci} is stale"
      impact: low
      urgency: low
      reopen: 0s
      close_after: 1s
    remedy:
      - playbook: flush-cache
        target: about
        verify: { within: 60s }

  - rule: watched for a second
    when: |
      event.type == "test.watch"
    incident:
      summary: "Watch {event.ci}"
      impact: low
      urgency: low
      hold: 1s
    escalate:
      - { at: 1s, to: lead }
"#;

const LATER: &str = r#"
  - rule: only in the later rules
    when: |
      event.type == "test.later"
    incident:
      summary: "{event.ci} is of the later rules"
      impact: low
      urgency: low
"#;

const FLUSH: &str = r"  flush-cache:
    description: Flushes a cache
    runner: http
    url: ENDPOINT/flush-cache
    timeout: 30s
    effect: idempotent
    on_unknown: retry
";

/// What can go wrong on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Cleaned by a keyed playbook.
    Disk,
    /// Restarted by one that must not happen twice.
    Service,
    /// Flushed by an idempotent one.
    Cache,
    /// A person is called at once.
    Call,
    /// Somebody is told after a second.
    Watch,
    /// Comes by webhook.
    Note,
    /// Known to the later rules only.
    Later,
}

impl Kind {
    pub const STREAM: [Kind; 6] = [Kind::Disk, Kind::Service, Kind::Cache, Kind::Call, Kind::Watch, Kind::Note];

    fn word(self) -> &'static str {
        match self {
            Kind::Disk => "disk",
            Kind::Service => "service",
            Kind::Cache => "cache",
            Kind::Call => "call",
            Kind::Watch => "watch",
            Kind::Note => "note",
            Kind::Later => "later",
        }
    }

    fn type_(self) -> &'static str {
        match self {
            Kind::Disk => "disk.used_pct",
            Kind::Service => "service.down",
            Kind::Cache => "cache.stale",
            Kind::Call => "test.call",
            Kind::Watch => "test.watch",
            Kind::Note => "test.note",
            Kind::Later => "test.later",
        }
    }

    pub fn rule(self) -> &'static str {
        match self {
            Kind::Disk => "disk almost full",
            Kind::Service => "service down",
            Kind::Cache => "cache is stale",
            Kind::Call => "call a person",
            Kind::Watch => "watched for a second",
            Kind::Note => "note",
            Kind::Later => "only in the later rules",
        }
    }

    /// Path of its playbook.
    pub fn path(self) -> Option<&'static str> {
        match self {
            Kind::Disk => Some("/clean-disk"),
            Kind::Service => Some("/restart-service"),
            Kind::Cache => Some("/flush-cache"),
            _ => None,
        }
    }

    /// Who is told of it, and how long after it was opened.
    pub fn told(self) -> Option<(&'static str, i64)> {
        match self {
            Kind::Call => Some(("oncall", 0)),
            Kind::Watch => Some(("lead", 1)),
            _ => None,
        }
    }

    fn of_path(path: &str) -> Option<Self> {
        Kind::STREAM.into_iter().find(|kind| kind.path() == Some(path))
    }
}

/// One thing that went wrong: exactly one incident must come of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    pub kind: Kind,
    pub host: String,
}

impl Cause {
    fn new(kind: Kind, number: usize) -> Self {
        Self { kind, host: format!("{}-{number}", kind.word()) }
    }

    fn site(&self) -> usize {
        self.host.rsplit('-').next().unwrap().parse::<usize>().unwrap() % SITES
    }

    /// What monitoring says when it begins.
    fn firing(&self) -> String {
        self.event("firing", &format!("{} begins", self.host))
    }

    /// And when it is over; `seen`: by what.
    fn over(&self, seen: &str) -> String {
        self.event("resolved", &format!("{} over {seen}", self.host))
    }

    fn event(&self, status: &str, id: &str) -> String {
        let labels = json!({"mount": "/var", "site": SCOPES[self.site()]});
        let value = if status == "firing" { 95 } else { 40 };
        match self.kind {
            Kind::Disk => json!({"id": id, "type": self.kind.type_(), "kind": "metric", "ci": self.host,
                                 "value": value, "unit": "%", "severity": "warning", "summary": "s", "labels": labels}),
            kind => json!({"id": id, "type": kind.type_(), "kind": "alert", "ci": self.host,
                           "dedup_key": format!("{}/{}", self.host, kind.type_()), "severity": "major",
                           "status": status, "summary": "s", "labels": labels}),
        }
        .to_string()
    }
}

/// Where engines run.
pub enum Setting {
    /// One, on a store of its own: SQLite in the data folder, or a database.
    Alone { world: World, broker: Broker, topic: String, data: PathBuf, database: Option<String>, more: String },
    /// Several, on one database.
    Group { cluster: Box<Cluster>, more: String, nodes: usize },
}

/// A webhook's delivery, which its sender repeats until it is acknowledged.
struct Delivery {
    id: String,
    body: String,
    acknowledged: bool,
}

/// Where the stream goes: a partition for each site.
struct Monitoring {
    producer: Arc<BaseProducer>,
    topic: String,
    counts: [AtomicU64; SITES],
    /// How long after an effect it is seen, in milliseconds. Evidence that comes at once hides a second request: what
    /// has recovered is not asked again.
    delay_ms: AtomicU64,
    unseen: Mutex<Vec<(Instant, Cause, String)>>,
}

impl Monitoring {
    /// A playbook has had an effect.
    fn effect(&self, cause: Cause, event: String) {
        if self.delay_ms.load(Ordering::Relaxed) == 0 {
            self.send(&cause, &event);
        } else {
            self.unseen.lock().unwrap().push((Instant::now(), cause, event));
        }
    }

    /// Sees what has had its time.
    fn look(&self) {
        let delay = Duration::from_millis(self.delay_ms.load(Ordering::Relaxed));
        let mut unseen = self.unseen.lock().unwrap();
        let (seen, later) = unseen.drain(..).partition(|(at, ..)| at.elapsed() >= delay);
        *unseen = later;
        drop(unseen);
        let seen: Vec<(Instant, Cause, String)> = seen;
        for (_, cause, event) in seen {
            self.send(&cause, &event);
        }
    }

    fn send(&self, cause: &Cause, event: &str) {
        self.send_to(cause.site(), &cause.host, event);
    }

    fn send_to(&self, site: usize, key: &str, event: &str) {
        let partition = i32::try_from(site).unwrap();
        let mut record = BaseRecord::to(&self.topic).partition(partition).key(key).payload(event);
        while let Err((error, back)) = self.producer.send(record) {
            assert!(error.to_string().contains("Queue full"), "{error}");
            record = back;
            self.producer.poll(Duration::from_millis(20));
        }
        self.counts[site].fetch_add(1, Ordering::Relaxed);
    }
}

/// A world with a stream.
pub struct Scene {
    pub setting: Setting,
    monitoring: Arc<Monitoring>,
    /// Of all that was sent; a webhook's only once it was tried.
    pub causes: BTreeSet<Cause>,
    deliveries: Vec<Delivery>,
    /// Records that cannot be decoded, by partition.
    pub malformed: [u64; SITES],
    /// Hosts that a person mended, because nobody knew whether the engine had.
    pub by_hand: BTreeSet<String>,
    /// Hosts about which the store has forgotten what was done.
    pub forgotten: BTreeSet<String>,
    /// What goes wrong on each host.
    pub kinds: Vec<Kind>,
    /// Causes that monitoring was asked to call over.
    over: BTreeSet<Cause>,
    /// The later rules' set, where it is known.
    later: Option<Digest>,
    /// How long the stream may take to come to rest.
    pub patience: Duration,
    http: reqwest::blocking::Client,
}

impl Scene {
    /// One engine on SQLite.
    pub fn alone(name: &str, broker: Broker) -> Self {
        let world = World::new();
        let topic = broker.topic(&format!("matrix-{}", name.replace('.', "-")), SITES as i32);
        let data = world.data();
        Self::on(Setting::Alone { world, broker, topic, data, database: None, more: String::new() })
    }

    /// One engine on a database.
    pub fn on_database(name: &str, broker: Broker, url: &str) -> Self {
        let mut scene = Self::alone(name, broker);
        let own = scene.database_url(url);
        if let Setting::Alone { database, .. } = &mut scene.setting {
            *database = Some(own);
        }
        scene
    }

    /// The scene's schema in this database.
    pub fn database_url(&self, url: &str) -> String {
        crate::cluster::in_schema(url, &self.monitoring.topic.replace(['-', '.'], "_"))
    }

    /// Several engines; `None` where there is no real Kafka or no PostgreSQL.
    pub fn group(name: &str) -> Option<Self> {
        let cluster = Cluster::of_test(&format!("matrix-{}", name.replace('.', "-")), SITES as i32)?;
        Some(Self::on(Setting::Group { cluster: Box::new(cluster), more: String::new(), nodes: 0 }))
    }

    fn on(setting: Setting) -> Self {
        let (broker, topic) = match &setting {
            Setting::Alone { broker, topic, .. } => (broker, topic.clone()),
            Setting::Group { cluster, .. } => (&cluster.broker, cluster.topic.clone()),
        };
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", broker.address())
            .set("linger.ms", "5")
            // A broker that goes away in between takes nothing twice.
            .set("enable.idempotence", broker.is_real().to_string())
            .create()
            .unwrap();
        let monitoring = Arc::new(Monitoring {
            producer: Arc::new(producer),
            topic,
            counts: Default::default(),
            delay_ms: AtomicU64::new(0),
            unseen: Mutex::default(),
        });
        let scene = Self {
            setting,
            monitoring,
            causes: BTreeSet::new(),
            deliveries: Vec::new(),
            malformed: [0; SITES],
            by_hand: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            kinds: Kind::STREAM.to_vec(),
            over: BTreeSet::new(),
            later: None,
            patience: Duration::from_secs(60),
            http: reqwest::blocking::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap(),
        };
        scene.write_rules(false);
        let endpoint = &scene.world().endpoint;
        endpoint.behave("/flush-cache", Behaviour::succeed());
        endpoint.behave("/restart-service", Behaviour::Slow { ms: 30 });
        // Whatever a playbook has really done is seen a moment later, and published.
        let monitoring = Arc::clone(&scene.monitoring);
        endpoint.on_effect(move |done| {
            let Some(kind) = Kind::of_path(&done.path) else { return };
            let cause = Cause { kind, host: done.target["name"].as_str().unwrap_or_default().to_owned() };
            next_millisecond();
            let event = cause.over(&format!("by effect {}", done.seq));
            monitoring.effect(cause, event);
            monitoring.producer.poll(Duration::ZERO);
        });
        scene
    }

    pub fn world(&self) -> &World {
        match &self.setting {
            Setting::Alone { world, .. } => world,
            Setting::Group { cluster, .. } => &cluster.world,
        }
    }

    /// The rules, or the later ones, for engines that start from here on.
    pub fn write_rules(&self, later: bool) {
        let rules = self.world().path("rules");
        let playbooks = rules.join("playbooks.yaml");
        let mut catalogue = std::fs::read_to_string(&playbooks).unwrap();
        if !catalogue.contains("flush-cache") {
            catalogue = catalogue.replace("timeout: 30s", "timeout: 120s");
            write!(catalogue, "{}", FLUSH.replace("ENDPOINT", &self.world().endpoint.url(""))).unwrap();
            std::fs::write(playbooks, catalogue).unwrap();
        }
        std::fs::write(rules.join("matrix.yaml"), format!("{MATRIX}{}", if later { LATER } else { "" })).unwrap();
    }

    /// From here on, monitoring sees effects so much later, and only while the scene is tended.
    pub fn see_later(&self, delay: Duration) {
        self.monitoring.delay_ms.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// The later rules' set.
    pub fn later_set(&self) -> Option<Digest> {
        self.later
    }

    /// This is the later rules' set.
    pub fn set_later(&mut self, set: Option<Digest>) {
        self.later = set;
    }

    /// More lines of configuration for engines that start from here on.
    pub fn configure(&mut self, lines: &str) {
        let (Setting::Alone { more, .. } | Setting::Group { more, .. }) = &mut self.setting;
        lines.clone_into(more);
    }

    /// Where the only engine keeps its data, from its next start on.
    pub fn keep_in(&mut self, folder: PathBuf) {
        if let Setting::Alone { data, .. } = &mut self.setting {
            *data = folder;
        }
    }

    /// Starts an engine of a build; it may end before it answers.
    pub fn spawn(&mut self, program: &str, environment: &[(&str, String)]) -> EngineProcess {
        let port = free_port();
        let (folder, config) = match &mut self.setting {
            Setting::Group { cluster, more, nodes } => {
                *nodes += 1;
                let name = format!("node-{nodes}");
                let folder = cluster.world.path(&name);
                std::fs::create_dir_all(&folder).unwrap();
                (folder, format!("{}{more}", cluster.config(&name)))
            }
            Setting::Alone { world, broker, topic, data, database, more } => {
                let store = database.as_ref().map_or(String::new(), |url| format!("store: \"{url}\"\n"));
                let config = world.config(&format!(
                    "{store}kafka: {{ brokers: \"{}\" }}\nsources:\n  - {{ name: monitoring, kafka: {{ topic: {topic} }}, \
                     scope: event.labels.site }}\n  - {{ name: hook, webhook: {{}}, scope: event.labels.site }}\n{more}",
                    broker.address(),
                ));
                let own = format!("data: {}", world.data().display());
                let config = config.replace(&own, &format!("data: {}", data.display()));
                (world.folder.path().to_owned(), config)
            }
        };
        let path = folder.join("paramedic.yaml");
        std::fs::write(&path, format!("listen: 127.0.0.1:{port}\n{config}")).unwrap();
        let args = vec!["run".to_owned(), "-c".to_owned(), path.display().to_string()];
        EngineProcess::spawn_unawaited(program, &folder, args, environment, &format!("http://127.0.0.1:{port}"))
    }

    /// Starts an engine of the ordinary build, and waits until it answers.
    pub fn start(&mut self) -> EngineProcess {
        let mut engine = self.spawn(binary(), &[]);
        engine.wait_alive();
        engine
    }

    /// The store: beside the engines, or after their end.
    pub fn store(&self) -> Box<dyn Store> {
        match &self.setting {
            Setting::Group { cluster, .. } => Box::new(cluster.store()),
            Setting::Alone { database: Some(url), .. } => Box::new(PostgresStore::open(url).unwrap()),
            Setting::Alone { data, .. } => Box::new(SqliteStore::open_read_only(&data.join("paramedic.db")).unwrap()),
        }
    }

    /// What the store says when all engines are down.
    pub fn books(&self) -> Books {
        Books::of(&*self.store())
    }

    /// Records that were produced, by position.
    pub fn produced(&self) -> BTreeMap<String, u64> {
        let counts = self.monitoring.counts.iter().enumerate();
        counts.map(|(p, n)| (format!("kafka/{}/{p}", self.monitoring.topic), n.load(Ordering::Relaxed))).collect()
    }

    /// Hosts of these numbers into the CMDB, each into its site's scope.
    pub fn import(&self, engine: &EngineProcess, numbers: Range<usize>) {
        let hosts: Vec<Cause> =
            Kind::STREAM.into_iter().flat_map(|kind| numbers.clone().map(move |n| Cause::new(kind, n))).collect();
        for (site, scope) in SCOPES.iter().enumerate() {
            let cis = hosts.iter().filter(|c| c.site() == site);
            let cis: Vec<Value> =
                cis.map(|c| json!({"name": c.host, "class": "server", "environment": "test"})).collect();
            let file = self.world().path("cmdb.json");
            std::fs::write(&file, json!({"cis": cis}).to_string()).unwrap();
            let out = engine.cli(&["ci", "import", file.to_str().unwrap(), "--scope", scope]);
            assert!(out.status.success(), "{}", text(&out));
        }
        eventually("the hosts are known", SOON, || {
            let known = SCOPES.iter().map(|scope| engine.get(&format!("/api/v1/cis?scope={scope}")));
            let known: usize = known.map(|c| c["cis"].as_array().map_or(0, Vec::len)).sum();
            (known >= hosts.len()).then_some(())
        });
    }

    /// All that can go wrong goes wrong on hosts of these numbers; webhooks are tried once.
    pub fn fail(&mut self, engine: &EngineProcess, numbers: Range<usize>) {
        let took = numbers.len();
        for number in numbers {
            for kind in self.kinds.clone() {
                let cause = Cause::new(kind, number);
                if kind == Kind::Note {
                    let (id, body) = (format!("{} begins", cause.host), cause.firing());
                    self.deliveries.push(Delivery { id, body, acknowledged: false });
                } else {
                    self.monitoring.send(&cause, &cause.firing());
                    // Monitoring repeats itself: the same id, which must do nothing.
                    if kind == Kind::Disk {
                        self.monitoring.send(&cause, &cause.firing());
                    }
                }
                self.causes.insert(cause);
            }
        }
        for site in (0..SITES).filter(|_| took > 0) {
            self.monitoring.send_to(site, "", "{\"type\": \"disk.used_pct\", nonsense");
            self.malformed[site] += 1;
        }
        flush(&self.monitoring.producer);
        self.deliver(engine);
    }

    /// Something that only the later rules know.
    pub fn fail_later(&mut self, number: usize) {
        let cause = Cause::new(Kind::Later, number);
        self.monitoring.send(&cause, &cause.firing());
        self.causes.insert(cause);
        flush(&self.monitoring.producer);
    }

    /// Deliveries that nobody acknowledged are tried, each once.
    pub fn deliver(&mut self, engine: &EngineProcess) {
        let url = format!("{}/api/v1/events/hook", engine.url);
        for delivery in self.deliveries.iter_mut().filter(|d| !d.acknowledged) {
            let request = self.http.post(&url).header("content-type", "application/json");
            let reply = request.header("paramedic-delivery-id", &delivery.id).body(delivery.body.clone()).send();
            delivery.acknowledged = reply.is_ok_and(|r| r.status().is_success());
        }
    }

    /// Whether a sender has been told that a delivery is safe.
    pub fn acknowledged(&self) -> usize {
        self.deliveries.iter().filter(|d| d.acknowledged).count()
    }

    /// What people and monitoring do meanwhile: unknown runs are looked after, what was told of is mended.
    fn tend(&mut self, engine: &EngineProcess) {
        self.monitoring.look();
        self.monitoring.producer.poll(Duration::ZERO);
        self.deliver(engine);
        self.settle_unknown(engine);
        let pages = self.world().received("/notify");
        let told: BTreeSet<String> = pages
            .iter()
            .filter_map(|page| serde_json::from_str::<Value>(page.body()).ok())
            .filter_map(|page| page["incident"]["about"].as_str().map(str::to_owned))
            .collect();
        let open: BTreeSet<(String, String)> = engine.incidents("&state=open").iter().map(rule_and_about).collect();
        let ready = |cause: &&Cause| {
            !self.over.contains(*cause)
                && cause.kind.path().is_none()
                && open.contains(&(cause.kind.rule().to_owned(), cause.host.clone()))
                && (cause.kind.told().is_none() || told.contains(&cause.host))
        };
        for cause in self.causes.iter().filter(ready).cloned().collect::<Vec<_>>() {
            let event = cause.over("by hand");
            next_millisecond();
            if cause.kind == Kind::Note {
                self.deliveries.push(Delivery { id: format!("{} over", cause.host), body: event, acknowledged: false });
            } else {
                self.monitoring.send(&cause, &event);
            }
            self.over.insert(cause);
        }
        self.deliver(engine);
    }

    /// A person looks after every run that nobody knows about: done if the service has it, else mended by hand.
    fn settle_unknown(&mut self, engine: &EngineProcess) {
        let unknown = engine.get("/api/v1/runs?limit=1000&state=unknown");
        for run in unknown["runs"].as_array().into_iter().flatten() {
            let id = run["id"].as_str().unwrap();
            let key =
                engine.get(&format!("/api/v1/runs/{id}"))["outbox"]["key"].as_str().unwrap_or_default().to_owned();
            let arrived = self.world().raw_log().iter().any(|r| r.header("idempotency-key") == Some(key.as_str()));
            let outcome = if arrived { "succeeded" } else { "failed" };
            engine.cli(&["run", "settle", id, outcome, "--notes", "looked"]);
            let host = run["target"]["name"].as_str().unwrap().to_owned();
            if !arrived && self.by_hand.insert(host.clone()) {
                let cause = Cause { kind: Kind::Service, host };
                next_millisecond();
                self.monitoring.send(&cause, &cause.over("by hand"));
            }
        }
    }

    /// Until all that went wrong is over, and nothing is on its way; else how it stands.
    pub fn come_to_rest(&mut self, engine: &EngineProcess) -> Result<(), String> {
        self.tend_until(engine, "at rest", Self::restless)
    }

    /// Until there is an incident for all that went wrong, and everything is taken; else how it stands.
    pub fn come_to_be_known(&mut self, engine: &EngineProcess) -> Result<(), String> {
        self.tend_until(engine, "all known", |scene, engine| scene.missing(engine).or_else(|| scene.untaken(engine)))
    }

    fn tend_until(
        &mut self,
        engine: &EngineProcess,
        what: &str,
        why_not: impl Fn(&Self, &EngineProcess) -> Option<String>,
    ) -> Result<(), String> {
        let began = Instant::now();
        loop {
            self.tend(engine);
            let Some(why) = why_not(self, engine) else { return Ok(()) };
            if began.elapsed() > self.patience {
                return Err(format!("not {what} after {:?}: {why}", self.patience));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn restless(&self, engine: &EngineProcess) -> Option<String> {
        let known = engine.incidents("");
        let is_open = |i: &&Value| !matches!(i["state"].as_str(), Some("resolved" | "closed"));
        if let Some(open) = known.iter().find(is_open) {
            return Some(format!("{} {} of {} is {}", open["number"], open["rule"], open["about"], open["state"]));
        }
        if let Some(why) = self.missing(engine) {
            return Some(why);
        }
        for state in ["pending", "deferred", "started", "accepted", "unknown"] {
            let rows = engine.metric("paramedic_outbox_rows", &[&format!("\"{state}\"")]);
            if rows > 0.0 {
                return Some(format!("{rows} outbox rows are {state}"));
            }
        }
        self.untaken(engine)
    }

    fn missing(&self, engine: &EngineProcess) -> Option<String> {
        let known: BTreeSet<_> = engine.incidents("").iter().map(rule_and_about).collect();
        let missing = |c: &&Cause| !known.contains(&(c.kind.rule().to_owned(), c.host.clone()));
        self.causes.iter().find(missing).map(|cause| format!("nothing is known of {cause:?}"))
    }

    fn untaken(&self, engine: &EngineProcess) -> Option<String> {
        let offsets = engine.get("/api/v1/offsets");
        for (position, produced) in self.produced() {
            let at = offsets["offsets"].as_array()?.iter().find(|o| o["position"] == position.as_str());
            let next = at.and_then(|o| o["next"].as_u64());
            if next.unwrap_or_default() != produced {
                return Some(format!("{position} is at {next:?} of {produced}"));
            }
        }
        None
    }
}

fn rule_and_about(incident: &Value) -> (String, String) {
    let of = |name: &str| incident[name].as_str().unwrap_or_default().to_owned();
    (of("rule"), of("about"))
}
