//! Start-up with 1,000 rules, from the process's start to /ready, and the resident memory of an idle engine.
//! Prints one line of JSON.
//!
//! `cargo bench --bench startup`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{EngineProcess, eventually};

const RULES: usize = 1_000;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("rules")).unwrap();
    let mut book = "rulebook: bench\nautonomy: record\nrules:\n".to_owned();
    for rule in 0..RULES {
        book.push_str(&format!(
            "  - rule: metric {rule}\n    when: |\n      event.type == \"metric.{rule:04}\" && event.value >= 90 && event.labels.env == \"production\"\n    \
             by: [event.ci]\n    incident:\n      summary: \"{{event.type}} on {{event.ci}}\"\n"
        ));
    }
    std::fs::write(folder.path().join("rules/bench.yaml"), book).unwrap();
    let config = format!(
        "data: {0}/data\nrules: {0}/rules\nsources: [ {{ name: hook, webhook: {{}} }} ]\n",
        folder.path().display()
    );
    let mut times = Vec::new();
    let mut resident = 0;
    for _ in 0..5 {
        let began = Instant::now();
        let mut engine = EngineProcess::start(folder.path(), &config);
        eventually("ready", Duration::from_secs(30), || (engine.get("/ready")["ready"] == true).then_some(()));
        times.push(began.elapsed().as_millis());
        std::thread::sleep(Duration::from_secs(2));
        let status = std::fs::read_to_string(format!("/proc/{}/status", engine.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap().to_owned();
        resident = line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024;
        engine.stop();
    }
    times.sort_unstable();
    println!(
        "{}",
        serde_json::json!({"bench": "startup", "rules": RULES, "ready_ms_median": times[2], "ready_ms_max": times[4],
            "idle_resident_mib": resident})
    );
}
