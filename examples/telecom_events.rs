//! Makes events of the telecom alarms of huawei-noah/trustworthyAI (rules/telecom/README.md says where they come from).
//!
//! ```text
//! cargo run --example telecom_events -- alarm.csv > events.jsonl              native events, in the pinned order
//! cargo run --example telecom_events -- alarm.csv --scopes 8                  with labels.site = site-(device modulo 8)
//! cargo run --example telecom_events -- alarm.csv --without 00042a            one event left out
//! cargo run --example telecom_events -- alarm.csv --kafka > events.tsv        lines for `tests/real/kafka.sh produce`
//! cargo run --example telecom_events -- --cmdb topology.json > cmdb.yaml      the devices and their links, for `ci import`
//! ```
//!
//! Row i of the file (from 0) is two events, `{i:05}a` firing at its start and `{i:05}b` resolved at its end, both about
//! the key (device, alarm). They are sorted by (time, id): the file itself is sorted by alarm.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use paramedic_model::Timestamp;
use serde_json::{Value, json};

/// 2026-01-01T00:00:00Z, to which the file's seconds are added.
const BASE_MS: i64 = 1_767_225_600_000;
const HEADER: &str = "alarm_id,device_id,start_timestamp,end_timestamp";
const USAGE: &str =
    "usage: telecom_events ALARM_CSV [--scopes N] [--without ID] [--kafka] | telecom_events --cmdb TOPOLOGY_JSON";

fn main() -> ExitCode {
    let written = Options::parse(std::env::args().skip(1))
        .and_then(|options| options.output())
        .and_then(|text| io::stdout().lock().write_all(text.as_bytes()).map_err(|e| format!("writing to stdout: {e}")));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "telecom_events: {why}");
            ExitCode::from(2)
        }
    }
}

#[derive(Default)]
struct Options {
    path: String,
    scopes: Option<u64>,
    without: Option<String>,
    kafka: bool,
    cmdb: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options::default();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value\n{USAGE}"));
            match arg.as_str() {
                "--scopes" => {
                    let n = value()?.parse().ok().filter(|n| *n > 0);
                    options.scopes = Some(n.ok_or("--scopes wants a number above 0")?);
                }
                "--without" => options.without = Some(value()?),
                "--kafka" => options.kafka = true,
                "--cmdb" => options.cmdb = true,
                path if !path.starts_with('-') && options.path.is_empty() => path.clone_into(&mut options.path),
                other => return Err(format!("{other:?} is not understood\n{USAGE}")),
            }
        }
        if options.path.is_empty() { Err(USAGE.to_owned()) } else { Ok(options) }
    }

    fn output(&self) -> Result<String, String> {
        let text = std::fs::read_to_string(&self.path).map_err(|e| format!("{}: {e}", self.path))?;
        if self.cmdb { cmdb(&text) } else { self.events(&text) }.map_err(|e| format!("{}: {e}", self.path))
    }

    /// All events of the file, a line each, sorted by (time, id).
    fn events(&self, csv: &str) -> Result<String, String> {
        let mut lines = csv.lines();
        if lines.next() != Some(HEADER) {
            return Err(format!("line 1: expected {HEADER}"));
        }
        let mut events = Vec::new();
        for (i, line) in lines.enumerate() {
            let row = Row::parse(line).ok_or_else(|| format!("line {}: expected four numbers: {line:?}", i + 2))?;
            events.push((row.start, format!("{i:05}a"), "firing", row));
            events.push((row.end, format!("{i:05}b"), "resolved", row));
        }
        if let Some(left_out) = &self.without {
            let all = events.len();
            events.retain(|(_, id, ..)| id != left_out);
            if events.len() == all {
                return Err(format!("there is no event {left_out:?}"));
            }
        }
        events.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        Ok(events.iter().map(|(seconds, id, status, row)| self.line(*seconds, id, status, row)).collect())
    }

    fn line(&self, seconds: i64, id: &str, status: &str, row: &Row) -> String {
        let site = self.scopes.map(|n| format!("site-{}", row.device % n));
        let key = format!("device_{}/alarm_{}", row.device, row.alarm);
        let mut event = json!({
            "id": id,
            "type": "telecom.alarm",
            "kind": "alert",
            "status": status,
            "severity": "minor",
            "ci": format!("device_{}", row.device),
            "dedup_key": key,
            "labels": { "alarm": row.alarm.to_string() },
            "time": at(seconds),
            "began": at(row.start),
        });
        if let Some(site) = &site {
            event["labels"]["site"] = json!(site);
        }
        if self.kafka {
            // Keyed by what is correlated together: the scope where there is one.
            format!("{}\t{}\t{event}\n", BASE_MS + seconds * 1000, site.unwrap_or(key))
        } else {
            format!("{event}\n")
        }
    }
}

#[derive(Clone, Copy)]
struct Row {
    alarm: u64,
    device: u64,
    start: i64,
    end: i64,
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(',');
        let row = Row {
            alarm: fields.next()?.parse().ok()?,
            device: fields.next()?.parse().ok()?,
            start: fields.next()?.parse().ok()?,
            end: fields.next()?.parse().ok()?,
        };
        fields.next().is_none().then_some(row)
    }
}

fn at(seconds: i64) -> String {
    Timestamp::from_millis(BASE_MS + seconds * 1000).to_string()
}

/// The CMDB file of `{"devices": N, "links": [[a, b], ...]}`. The links have no direction: each is written as it stands.
fn cmdb(topology: &str) -> Result<String, String> {
    const SHAPE: &str = "expected {\"devices\": N, \"links\": [[a, b], ...]}";
    let topology: Value = serde_json::from_str(topology).map_err(|e| e.to_string())?;
    let devices = topology["devices"].as_u64().ok_or(SHAPE)?;
    let mut yaml = String::from("cis:\n");
    for device in 0..devices {
        let _ = writeln!(yaml, "  - {{ name: device_{device}, class: network_device }}");
    }
    yaml.push_str("relations:\n");
    for link in topology["links"].as_array().ok_or(SHAPE)? {
        let (from, to) = (link[0].as_u64().ok_or(SHAPE)?, link[1].as_u64().ok_or(SHAPE)?);
        let _ = writeln!(yaml, "  - {{ from: device_{from}, kind: connected_to, to: device_{to} }}");
    }
    Ok(yaml)
}
