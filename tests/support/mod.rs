//! The world around an engine under test: a playbook service with a log of its own, rules, hosts, monitoring.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use paramedic_model::{JournalRow, Range};
use paramedic_runners::{Behaviour, FakeEndpoint, Received};
use paramedic_store::{Claim, SqliteStore, Store as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{EngineProcess, runtime};

/// How long a thing may take that takes a moment, on a machine that also builds.
pub const SOON: Duration = Duration::from_secs(40);

/// What the hosts' monitoring says, what is done about it, and who is told.
const FLEET: &str = r#"rulebook: fleet
description: The hosts of the end-to-end tests.
owner: tests
autonomy: AUTONOMY
may:
  playbooks: [clean-disk, restart-service, long-job]
  ci_classes: [server]
  environments: [test]

rules:
  - rule: disk almost full
    when: |
      event.type == "disk.used_pct" && event.value >= 90.0
    by: [event.ci, event.labels.mount]
    clear: |
      event.type == "disk.used_pct" && event.value < 80.0
    incident:
      summary: "Disk {event.labels.mount} on {event.ci} is {event.value:.0} % full: {event.summary}"
      impact: medium
      urgency: medium
      assign: storage
    remedy:
      - playbook: clean-disk
        target: about
        with:
          mount: = event.labels.mount
        verify: { within: WITHIN }
    escalate:
      - { at: remedies_failed, to: oncall }
      - { at: run_unknown, to: oncall }

  - rule: service down
    when: |
      event.type == "service.down"
    incident:
      summary: "A service of {event.ci} is down"
      impact: high
      urgency: medium
      assign: services
    remedy:
      - playbook: restart-service
        target: about
        verify: { within: WITHIN }
    escalate:
      - { at: remedies_failed, to: oncall }
      - { at: run_unknown, to: oncall }

  - rule: job is stuck
    when: |
      event.type == "job.stuck"
    incident:
      summary: "A job of {event.ci} is stuck"
      impact: low
      urgency: medium
      assign: services
    remedy:
      - playbook: long-job
        target: about
        verify: { within: WITHIN }
    escalate:
      - { at: remedies_failed, to: oncall }
      - { at: run_unknown, to: oncall }

  - rule: note
    when: |
      event.type == "test.note"
    incident:
      summary: "{event.summary}"
      impact: low
      urgency: low
      assign: nobody

  # As Alertmanager names it.
  - rule: alert of prometheus
    when: |
      event.labels.alertname == "HostDown"
    incident:
      summary: "{event.labels.instance} is down"
      impact: high
      urgency: medium
      assign: services

  - rule: call a person
    when: |
      event.type == "test.call"
    incident:
      summary: "Call somebody about {event.ci}"
      impact: high
      urgency: high
      assign: nobody
    escalate:
      - { at: open, to: oncall }
"#;

const PLAYBOOKS: &str = r"playbooks:
  clean-disk:
    description: Removes what can be removed
    runner: http
    url: ENDPOINT/clean-disk
    timeout: TIMEOUT
    effect: keyed
    on_unknown: retry
    parameters:
      mount: { type: string, required: true, max_length: 64 }
  restart-service:
    description: Restarts a service
    runner: http
    url: ENDPOINT/restart-service
    timeout: TIMEOUT
    effect: non_idempotent
    on_unknown: hold
  long-job:
    description: Runs for a long time
    runner: http
    url: ENDPOINT/long-job
    timeout: TIMEOUT
    effect: non_idempotent
    on_unknown: hold
";

/// A folder, a playbook service, and rules that use it.
pub struct World {
    pub endpoint: FakeEndpoint,
    pub folder: TempDir,
    pub runtime: tokio::runtime::Runtime,
    /// `autonomy` of the rulebook.
    autonomy: &'static str,
    within: &'static str,
    timeout: &'static str,
}

impl World {
    pub fn new() -> Self {
        let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
        let endpoint = runtime.block_on(FakeEndpoint::start(Some(&folder.path().join("raw.log")))).unwrap();
        for path in ["/clean-disk", "/restart-service", "/long-job", "/notify"] {
            endpoint.behave(path, Behaviour::succeed());
        }
        let world = Self { endpoint, folder, runtime, autonomy: "auto", within: "60s", timeout: "30s" };
        world.write_rules();
        world
    }

    pub fn with(mut self, autonomy: &'static str, within: &'static str, timeout: &'static str) -> Self {
        (self.autonomy, self.within, self.timeout) = (autonomy, within, timeout);
        self.write_rules();
        self
    }

    fn write_rules(&self) {
        let rules = self.path("rules");
        std::fs::create_dir_all(&rules).unwrap();
        let fleet = FLEET.replace("AUTONOMY", self.autonomy).replace("WITHIN", self.within);
        let playbooks = PLAYBOOKS.replace("ENDPOINT", &self.endpoint.url("")).replace("TIMEOUT", self.timeout);
        std::fs::write(rules.join("fleet.yaml"), fleet).unwrap();
        std::fs::write(rules.join("playbooks.yaml"), playbooks).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// A configuration; `more` adds to it: sources, and `kafka`.
    pub fn config(&self, more: &str) -> String {
        format!(
            "cluster: test\ndata: {}\nrules: {}\nrules_watch: false\ngrants:\n  - {{ rulebook: \"*\", autonomy: auto }}\nnotify:\n  \
             default: {{ url: {} }}\nbatch: {{ max_events: 10000, max_wait: 5ms }}\n{more}",
            self.data().display(),
            self.path("rules").display(),
            self.endpoint.url("/notify"),
        )
    }

    /// With one webhook source, which anybody on this machine may use.
    pub fn webhook_config(&self) -> String {
        self.config("sources:\n  - { name: hook, webhook: {} }\n")
    }

    /// With one topic, whose source is named `monitoring`.
    pub fn kafka_config(&self, brokers: &str, topic: &str) -> String {
        self.config(&format!(
            "kafka: {{ brokers: \"{brokers}\" }}\nsources:\n  - {{ name: monitoring, kafka: {{ topic: {topic} }} }}\n  - {{ name: hook, webhook: {{}} }}\n"
        ))
    }

    /// Servers of these names, imported with the command that people use.
    pub fn import(&self, engine: &EngineProcess, names: &[String]) {
        let cis: Vec<Value> =
            names.iter().map(|n| json!({"name": n, "class": "server", "environment": "test"})).collect();
        let file = self.path("cmdb.json");
        std::fs::write(&file, json!({"cis": cis}).to_string()).unwrap();
        let out = engine.cli(&["ci", "import", file.to_str().unwrap()]);
        assert!(out.status.success(), "{}", text(&out));
    }

    /// The playbook service's log of raw bytes, as it is on disk.
    pub fn raw_log(&self) -> Vec<Received> {
        FakeEndpoint::read_log(&self.path("raw.log")).unwrap()
    }

    /// Requests that reached a path.
    pub fn received(&self, path: &str) -> Vec<Received> {
        self.endpoint.received().into_iter().filter(|r| r.path() == path).collect()
    }

    /// Bodies of the pages about a CI.
    pub fn pages(&self, about: &str) -> Vec<Value> {
        let pages = self.received("/notify");
        let bodies = pages.iter().map(|r| serde_json::from_str::<Value>(r.body()).unwrap());
        bodies.filter(|b| b["incident"]["about"] == about).collect()
    }
}

/// What a command printed, on both streams.
pub fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// A command of the program, in a folder, without anything of the environment that it would read.
pub fn paramedic(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(crate::common::binary());
    command.args(args).current_dir(folder).env_remove("PARAMEDIC_URL").env("USER", "ann").output().unwrap()
}

pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// The wall clock has gone on by two milliseconds: what is stamped now is later than what was stamped before.
pub fn next_millisecond() {
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn disk(id: &str, ci: &str, mount: &str, value: u32) -> String {
    json!({"id": id, "type": "disk.used_pct", "kind": "metric", "ci": ci, "value": value, "unit": "%",
           "severity": "warning", "summary": "s", "labels": {"mount": mount}})
    .to_string()
}

pub fn alert(id: &str, type_: &str, ci: &str, status: &str) -> String {
    json!({"id": id, "type": type_, "kind": "alert", "ci": ci, "dedup_key": format!("{ci}/{type_}"),
           "severity": "major", "status": status, "summary": "s"})
    .to_string()
}

/// The store of an engine that has stopped.
pub struct Books {
    pub rows: Vec<JournalRow>,
    pub positions: BTreeMap<String, i64>,
    pub dead: Vec<(String, i64)>,
}

impl Books {
    /// Reads them; the engine must be down.
    pub fn of(data: &Path) -> Self {
        let store = SqliteStore::open(&data.join("paramedic.db")).unwrap();
        let mut rows: Vec<JournalRow> = Vec::new();
        loop {
            let more = store.journal(0, rows.last().map_or(1, |r| r.batch + 1), 10_000).unwrap();
            if more.is_empty() {
                break;
            }
            rows.extend(more);
        }
        let mut dead: Vec<(String, i64)> =
            store.dead_letters(1_000_000).unwrap().into_iter().map(|d| (d.position, d.offset)).collect();
        dead.sort();
        let positions =
            store.load_shard(0, &Claim::Alone).unwrap().positions.into_iter().map(|(name, p)| (name, p.next)).collect();
        Self { rows, positions, dead }
    }

    /// I1 and I4: batches are numbered without gaps, ranges abut from the first position to the stored one; gives
    /// how many records of a position were delivered.
    pub fn abut(&self) -> BTreeMap<String, u64> {
        let mut at: BTreeMap<&str, &Range> = BTreeMap::new();
        let mut delivered: BTreeMap<String, u64> = BTreeMap::new();
        for (i, row) in self.rows.iter().enumerate() {
            assert_eq!(row.batch, i as u64 + 1, "batches are numbered without gaps");
            assert!(row.end >= row.floor, "the clock went back in batch {}", row.batch);
            for (name, range) in &row.ranges {
                match at.insert(name, range) {
                    Some(before) => assert_eq!(before.to, range.from, "{name}: batch {} does not abut", row.batch),
                    None => assert!(range.from <= 1, "{name}: the first range begins at {}", range.from),
                }
                *delivered.entry(name.clone()).or_default() += range.delivered;
            }
        }
        for (name, next) in &self.positions {
            assert_eq!(at.get(name.as_str()).map(|r| r.to), Some(*next), "{name}: position and journal differ");
        }
        delivered
    }
}

/// `paramedic audit verify` on the folder.
pub fn audit_is_well(data: &Path) {
    let out = paramedic(Path::new("."), &["audit", "verify", "--data", data.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    assert!(text(&out).contains("the chain is whole"), "{}", text(&out));
}

/// `paramedic replay --journal` under the engine's own configuration.
pub fn replay_journal(folder: &Path) -> (Option<i32>, Value) {
    let config = folder.join("paramedic.yaml");
    let out = paramedic(folder, &["replay", "--journal", "-c", config.to_str().unwrap(), "--json"]);
    let report = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", text(&out)));
    (out.status.code(), report)
}

/// tests/real/kafka.sh.
pub fn kafka_sh() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/kafka.sh")
}

/// Produces lines `TIMESTAMP_MS<TAB>KEY<TAB>VALUE` with Kafka's own Java client, to the broker of a folder.
pub fn produce_with_java(topic: &str, lines: &str, by_key: bool) {
    let mut command = Command::new(kafka_sh());
    command.args(["produce", topic, "-"]).args(by_key.then_some("--by-key"));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kafka.sh");
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", text(&out));
    let count = lines.lines().count();
    assert!(text(&out).contains(&format!("produced {count}")), "{}", text(&out));
}
