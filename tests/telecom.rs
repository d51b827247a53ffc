//! A week of alarms of a real telecom network (../shared/data/telecom-alarms, where it is there; else a file of the
//! same shape, made here), replayed and live: the figures, and one digest whatever the threads, batches and kills.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use common::{Broker, EngineProcess, eventually, flush, send};
use serde_json::Value;
use support::{Books, audit_is_well, paramedic, produce_with_java, text};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The network's file, where this machine has it.
fn real_alarms() -> Option<PathBuf> {
    let folder = std::env::var("PARAMEDIC_TELECOM_DATA")
        .map_or_else(|_| Path::new(ROOT).join("../shared/data/telecom-alarms"), PathBuf::from);
    Some(folder.join("alarm.csv")).filter(|file| file.is_file())
}

/// Of the same shape: overlaps, no length, back to back, an end before the start.
fn made_alarms(folder: &Path) -> PathBuf {
    let mut seed = 7u64;
    let mut below = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let mut csv = "alarm_id,device_id,start_timestamp,end_timestamp\n".to_owned();
    for alarm in 0..5 {
        for device in 0..9 {
            let mut at = 1_000 + below(50_000);
            for _ in 0..40 {
                let length = if below(20) == 0 { 0 } else { below(3_000) };
                let end = at + length;
                writeln!(csv, "{alarm},{device},{at},{end}").unwrap();
                at = match below(12) {
                    0 => end,             // back to back
                    1 => at + length / 2, // overlapping
                    _ => end + 1 + below(9_000),
                };
            }
            // It ends before it starts; a later one closes it.
            writeln!(csv, "{alarm},{device},{},{}", at + 20_000, at + 19_000).unwrap();
            writeln!(csv, "{alarm},{device},{},{}", at + 40_000, at + 41_000).unwrap();
        }
    }
    let path = folder.join("alarm.csv");
    std::fs::write(&path, csv).unwrap();
    path
}

struct Data {
    folder: tempfile::TempDir,
    csv: PathBuf,
    real: bool,
    /// What is right, by a model of a page's length.
    model: Model,
}

fn data() -> &'static Data {
    static DATA: OnceLock<Data> = OnceLock::new();
    DATA.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let found = real_alarms();
        let real = found.is_some();
        let csv = found.unwrap_or_else(|| made_alarms(folder.path()));
        let model = Model::of(&std::fs::read_to_string(&csv).unwrap());
        make_events(&csv, &[], &folder.path().join("events.jsonl"));
        Data { folder, csv, real, model }
    })
}

/// docs/ARCHITECTURE.md: a resolve closes its key; with nothing open it is parked for 60 s; a firing that
/// began before the closing resolve is late.
#[derive(Default)]
struct Model {
    events: u64,
    opened: Vec<String>,
    open: u64,
    /// Ids of firings that open nothing.
    quiet: Vec<String>,
}

impl Model {
    fn of(csv: &str) -> Self {
        #[derive(Default)]
        struct Key {
            open: Option<i64>,
            closed: Option<i64>,
            parked: Option<i64>,
        }
        let mut events = Vec::new();
        for (i, line) in csv.lines().skip(1).enumerate() {
            let f: Vec<i64> = line.split(',').map(|n| n.parse().unwrap()).collect();
            events.push((f[2], format!("{i:05}a"), (f[0], f[1]), true));
            events.push((f[3], format!("{i:05}b"), (f[0], f[1]), false));
        }
        events.sort();
        let mut model = Model { events: events.len() as u64, ..Model::default() };
        let mut keys: BTreeMap<(i64, i64), Key> = BTreeMap::new();
        for (time, id, key, firing) in events {
            let key = keys.entry(key).or_default();
            if !firing {
                match key.open {
                    Some(began) if time >= began => (key.open, key.closed) = (None, Some(time)),
                    _ => key.parked = Some(time),
                }
            } else if key.open.is_some() || key.closed.is_some_and(|closed| time < closed) {
                model.quiet.push(id);
            } else {
                model.opened.push(id);
                match key.parked.take().filter(|parked| time <= *parked && time - parked <= 60) {
                    Some(parked) => key.closed = Some(parked),
                    None => key.open = Some(time),
                }
            }
        }
        model.open = keys.values().filter(|k| k.open.is_some()).count() as u64;
        model
    }
}

/// The example beside this test's binary.
fn example() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().unwrap().parent().unwrap().join("examples/telecom_events");
    if !path.exists() {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let built = Command::new(cargo).args(["build", "--example", "telecom_events"]).current_dir(ROOT).status();
        assert!(built.unwrap().success());
    }
    path
}

fn events(csv: &Path, more: &[&str]) -> String {
    let out = Command::new(example()).arg(csv).args(more).output().unwrap();
    assert!(out.status.success(), "{}", text(&out));
    String::from_utf8(out.stdout).unwrap()
}

fn make_events(csv: &Path, more: &[&str], to: &Path) {
    std::fs::write(to, events(csv, more)).unwrap();
}

fn replay(file: &Path, more: &[&str]) -> Value {
    let mut args = vec!["replay", "--rules", "rules/telecom", "--events", file.to_str().unwrap(), "--json"];
    args.extend(["--source", "telecom"]);
    args.extend(more);
    let out = paramedic(Path::new(ROOT), &args);
    assert!(out.status.success(), "{}", text(&out));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// The plain replay, once for all tests.
fn plain() -> &'static Value {
    static PLAIN: OnceLock<Value> = OnceLock::new();
    PLAIN.get_or_init(|| replay(&data().folder.path().join("events.jsonl"), &["--batch", "5000"]))
}

fn digests(report: &Value) -> (String, String) {
    let of = |name: &str| report[name].as_str().unwrap().to_owned();
    (of("inputs_digest"), of("decisions_digest"))
}

#[test]
fn each_occurrence_of_an_alarm_is_one_incident_that_ends_with_it() {
    let (data, report) = (data(), plain());
    let of = |name: &str| report[name].as_u64().unwrap();
    let model = &data.model;
    let opened = model.opened.len() as u64;
    assert_eq!((of("events"), of("dead_letter")), (model.events, 0));
    assert_eq!((of("incidents_opened"), of("incidents_open_at_end")), (opened, model.open));
    assert_eq!(of("incidents_resolved"), opened - model.open);
    if data.real {
        assert_eq!((of("events"), of("incidents_opened"), of("incidents_open_at_end")), (61_382, 29_993, 0));
        assert_eq!((of("incidents_resolved"), of("runs"), of("escalations")), (29_993, 0, 0));
    } else {
        common::report("telecom:alarms-are-not-on-this-machine", "made");
    }
}

#[test]
fn threads_and_batches_change_no_digest() {
    let file = data().folder.path().join("events.jsonl");
    for more in [["--threads", "4", "--batch", "5000"], ["--threads", "1", "--batch", "1"]] {
        assert_eq!(digests(&replay(&file, &more)), digests(plain()), "{more:?}");
    }
    let scopes = data().folder.path().join("scopes.jsonl");
    make_events(&data().csv, &["--scopes", "8"], &scopes);
    let one = replay(&scopes, &["--scope", "event.labels.site", "--threads", "1"]);
    let four = replay(&scopes, &["--scope", "event.labels.site", "--threads", "4", "--batch", "333"]);
    assert_eq!(digests(&one), digests(&four));
    assert_eq!(one["incidents_opened"], plain()["incidents_opened"], "a scope is a device's: no alarm is split");
    assert_ne!(digests(&one).1, digests(plain()).1);
}

#[test]
fn an_event_that_opened_an_incident_is_in_the_decisions_and_a_quiet_one_only_in_the_inputs() {
    let (data, file) = (data(), data().folder.path().join("without.jsonl"));
    let without = |id: &str| {
        make_events(&data.csv, &["--without", id], &file);
        digests(&replay(&file, &[]))
    };
    let (inputs, decisions) = digests(plain());
    let opener = &data.model.opened[data.model.opened.len() / 2];
    let (i, d) = without(opener);
    assert!(i != inputs && d != decisions, "{opener}");
    let mut quiet = data.model.quiet.iter().step_by(data.model.quiet.len().div_ceil(40));
    let found = quiet.any(|id| {
        let (i, d) = without(id);
        assert_ne!(i, inputs, "{id}");
        d == decisions
    });
    assert!(found, "no event changes only the inputs");
}

/// Where the engine is, by its store and not by its own word.
fn taken(data: &Path, position: &str) -> i64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(db) = rusqlite::Connection::open_with_flags(data.join("paramedic.db"), flags) else { return 0 };
    db.query_row("SELECT next FROM positions WHERE name = ?1", [position], |row| row.get(0)).unwrap_or(0)
}

#[test]
fn live_from_kafka_and_killed_five_times_it_decides_what_the_replay_decided() {
    let broker = Broker::of_test("telecom-live");
    let folder = tempfile::tempdir().unwrap();
    // librdkafka's embedded broker keeps 5 MiB of a partition: the made file fits.
    let csv = if broker.is_real() { data().csv.clone() } else { made_alarms(folder.path()) };
    let topic = broker.topic("telecom", 1);
    let lines = events(&csv, &["--kafka"]);
    let total = i64::try_from(lines.lines().count()).unwrap();
    if broker.is_real() {
        produce_with_java(&topic, &lines, false);
    } else {
        let producer = broker.producer();
        for line in lines.lines() {
            let f: Vec<&str> = line.splitn(3, '\t').collect();
            send(&producer, &topic, f[1], f[2].as_bytes(), Some(f[0].parse().unwrap()));
        }
        flush(&producer);
    }
    let store = folder.path().join("data");
    let config = format!(
        "cluster: telecom\ndata: {}\nrules: {ROOT}/rules/telecom\nkafka: {{ brokers: \"{}\" }}\nbatch: {{ max_events: 300, max_wait: 5ms }}\nsources:\n  - {{ name: telecom, kafka: {{ topic: {topic} }} }}\n",
        store.display(),
        broker.address(),
    );
    let position = format!("kafka/{topic}/0");
    let mut engine = EngineProcess::start(folder.path(), &config);
    for kill in 1..=5 {
        let at = total * kill / 6;
        eventually("a part of the stream", Duration::from_secs(120), || (taken(&store, &position) >= at).then_some(()));
        engine.kill();
        assert!(taken(&store, &position) < total, "kill {kill} came after the stream");
        engine.again();
    }
    eventually("the whole stream", Duration::from_secs(120), || (taken(&store, &position) == total).then_some(()));
    assert!(engine.stop().success(), "{}", engine.log_text());

    let books = Books::of(&store);
    let delivered = books.abut();
    assert_eq!((books.positions[&position], delivered[&position]), (total, u64::try_from(total).unwrap()));
    assert_eq!(books.dead, []);
    let epochs: std::collections::BTreeSet<u64> = books.rows.iter().map(|r| r.epoch).collect();
    assert!(epochs.len() >= 5, "six engines took turns: {epochs:?}");
    let last = books.rows.last().unwrap();
    let live = (last.inputs.digest().to_string(), last.decisions.to_string());
    let replayed = if broker.is_real() {
        digests(plain())
    } else {
        let file = folder.path().join("events.jsonl");
        make_events(&csv, &[], &file);
        digests(&replay(&file, &[]))
    };
    assert_eq!(live, replayed);
    audit_is_well(&store);
}
