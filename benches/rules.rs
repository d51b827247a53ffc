//! What rules cost: matching by how many there are, what no index finds, load and memory; and `paramedic replay` over
//! events of 400 bytes, JSON parsed; `paramedic check`. Prints one line of JSON a case. Needs no broker
//! and no store.
//!
//! `cargo bench --bench rules [-- match | check | replay | windows]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use paramedic_formats::{Message, format};
use paramedic_model::{OwnedEvent, Timestamp};
use paramedic_rulebook::{Evaluator, RuleSet, Verdict, analyse, load};
use serde_json::{Value, json};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Different events that are decoded and matched over and over.
const EVENTS: usize = 20_000;
/// Decoded ones that are matched over and over: so few stay in the processor's memory, as an event does that comes from
/// the decoder.
const WARM: usize = 200;
/// Passes over them; the fastest counts, as the machine is shared.
const ROUNDS: usize = 15;
/// Events of a replay.
const REPLAYED: u64 = 1_000_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let only = args.first();
    if let (Some("size"), Some(rules)) = (only.map(String::as_str), args.get(1)) {
        return size(rules.parse().unwrap());
    }
    let wanted = |part: &str| only.is_none_or(|only| only == part);
    if wanted("match") {
        sizes();
        unindexed();
        alike();
    }
    if wanted("check") {
        checks();
    }
    if wanted("replay") {
        replays();
    }
    if wanted("windows") {
        windows();
        keys();
    }
}

/// Numbers that look random and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// The rules of a realistic mix speak of so many types.
fn types(rules: usize) -> usize {
    (rules / 10).max(2)
}

/// A realistic mix: most bind a type and a label and look at a value; some look at severities, texts, lists of types.
fn mix(rules: usize) -> Vec<String> {
    let mut dice = Dice(1);
    (0..rules)
        .map(|i| {
            let type_ = format!("event.type == \"metric.{:04}\"", i % types(rules));
            let team = format!("event.labels.team == \"team-{:02}\"", dice.below(40));
            let value = format!("event.value >= {}", 90 + dice.below(10));
            match dice.below(100) {
                0..70 => format!("{type_} && {team} && {value}"),
                70..80 => format!("{type_} && {value} && event.labels.env == \"production\""),
                80..88 => {
                    format!("{type_} && event.severity >= CRITICAL && event.labels.site == \"site-{}\"", dice.below(9))
                }
                88..93 => format!("{type_} && event.summary.contains(\"error {:03}\")", dice.below(500)),
                93..96 => format!("{type_} && event.ci.starts_with(\"db-{:03}\") && {value}", dice.below(500)),
                96..98 => {
                    format!("event.type in [\"metric.{:04}\", \"other.{i}\"] && {team} && {value}", i % types(rules))
                }
                _ => format!("event.labels.job == \"job-{i}\" && event.value < 5"),
            }
        })
        .collect()
}

fn set(conditions: &[String]) -> RuleSet {
    let mut sources = BTreeMap::new();
    for (n, part) in conditions.chunks(1_000).enumerate() {
        let mut book = format!("rulebook: bench-{n:02}\nautonomy: record\nrules:\n");
        for (i, condition) in part.iter().enumerate() {
            let _ = write!(
                book,
                "  - rule: rule {i}\n    when: |\n      {condition}\n    by: [event.ci]\n    clear: |\n      \
                 event.type == \"recovery\" && event.labels.rule == \"{n}/{i}\"\n    incident:\n      summary: \"{{event.type}} on {{event.ci}}\"\n"
            );
        }
        sources.insert(format!("bench-{n:02}.yaml"), book);
    }
    let loaded = load(&sources);
    loaded.set.unwrap_or_else(|| panic!("{}", loaded.diagnostics.iter().find(|d| d.is_error()).unwrap()))
}

/// One event of 400 bytes with six labels.
fn line(i: u64, type_: &str, value: &str, severity: &str, dice: &mut Dice) -> String {
    let mut text = format!(
        "{{\"id\":\"{i:012}\",\"type\":\"{type_}\",\"kind\":\"metric\",\"ci\":\"web-{:04}.example.net\",\"severity\":\"{severity}\",\
         \"status\":\"firing\",\"value\":{value},\"unit\":\"percent\",\"labels\":{{\"env\":\"production\",\"team\":\"team-{:02}\",\
         \"site\":\"site-{}\",\"job\":\"node-exporter\",\"mount\":\"/var/lib/data\",\"cluster\":\"blue\"}},\"summary\":\"",
        dice.below(1_000),
        dice.below(40),
        dice.below(9),
    );
    while text.len() < 398 {
        text.push('x');
    }
    text + "\"}"
}

/// Every type is one of the rules'; about one in a thousand passes the rules' thresholds.
fn lines(types: usize) -> Vec<String> {
    let mut dice = Dice(2);
    (0..EVENTS as u64)
        .map(|i| {
            let type_ = format!("metric.{:04}", dice.below(types));
            let value = if dice.below(1_000) == 0 { 99 } else { dice.below(90) };
            line(i, &type_, &value.to_string(), "warning", &mut dice)
        })
        .collect()
}

fn decoded(lines: &[String]) -> Vec<OwnedEvent> {
    let native = format("paramedic").unwrap();
    let mut events = Vec::new();
    for line in lines {
        (native.decode)(message(line), &mut events).unwrap();
    }
    events.into_iter().map(|e| e.into_owned()).collect()
}

fn message(line: &str) -> Message<'_> {
    Message { source: "bench", headers: &[], payload: Some(line.as_bytes()), stamp: Timestamp::from_secs(1) }
}

/// Nanoseconds an event of the fastest round.
fn matching(evaluator: &mut Evaluator, events: &[OwnedEvent]) -> f64 {
    let nanos = fastest(|| {
        for event in events.iter().cycle().take(EVENTS) {
            black_box(evaluator.matches(black_box(event)));
        }
    });
    nanos / EVENTS as f64
}

/// Nanoseconds to decode an event, and to match it just after: what lies between the two fastest rounds.
fn decoding_and_matching(evaluator: &mut Evaluator, lines: &[String]) -> (f64, f64) {
    let native = format("paramedic").unwrap();
    let pass = |evaluator: Option<&mut Evaluator>| {
        let mut evaluator = evaluator;
        for line in lines {
            let mut events = Vec::with_capacity(1);
            (native.decode)(message(black_box(line)), &mut events).unwrap();
            match &mut evaluator {
                Some(evaluator) => drop(black_box(evaluator.matches(&events[0]))),
                None => drop(black_box(events)),
            }
        }
    };
    let (mut decoding, mut both) = (f64::INFINITY, f64::INFINITY);
    // In turn, so that both have the same company.
    for _ in 0..ROUNDS {
        let began = Instant::now();
        pass(None);
        decoding = decoding.min(began.elapsed().as_nanos() as f64);
        let began = Instant::now();
        pass(Some(evaluator));
        both = both.min(began.elapsed().as_nanos() as f64);
    }
    let each = lines.len() as f64;
    (decoding / each, (both - decoding) / each)
}

fn fastest(mut round: impl FnMut()) -> f64 {
    let time = |_| {
        let began = Instant::now();
        round();
        began.elapsed().as_nanos() as f64
    };
    (0..ROUNDS).map(time).fold(f64::INFINITY, f64::min)
}

/// Each size in a process of its own: what memory one gives back would be taken for nothing by the next.
fn sizes() {
    let mut of_ten: Option<Value> = None;
    for rules in [10, 100, 1_000, 10_000] {
        let out = Command::new(std::env::current_exe().unwrap()).args(["size", &rules.to_string()]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let mut line: Value = serde_json::from_slice(&out.stdout).unwrap();
        let of_ten = of_ten.get_or_insert_with(|| line.clone());
        let ns = |line: &Value| line["match_ns"].as_f64().unwrap();
        let both = |line: &Value| ns(line) + line["decode_ns"].as_f64().unwrap();
        line["match_to_ten"] = json!(round(ns(&line) / ns(of_ten)));
        line["decode_and_match_to_ten"] = json!(round(both(&line) / both(of_ten)));
        tell(line);
    }
}

fn size(rules: usize) {
    let conditions = mix(rules);
    let before = resident_kib();
    let began = Instant::now();
    let set = Arc::new(set(&conditions));
    let load_ms = began.elapsed().as_millis() as u64;
    let held = resident_kib();
    let began = Instant::now();
    let mut evaluator = Evaluator::new(set);
    let compile_ms = began.elapsed().as_millis() as u64;
    let compiled = resident_kib();
    let lines = lines(types(rules));
    let (decoding, matching) = decoding_and_matching(&mut evaluator, &lines);
    let asked = evaluator.take_asked();
    let passes = (ROUNDS * EVENTS) as f64;
    let matched = decoded(&lines).iter().filter(|event| !evaluator.matches(event).is_empty()).count();
    tell(json!({"case": "mix", "rules": rules, "decode_ns": round(decoding), "match_ns": round(matching),
        "matched_of_20000": matched, "candidates_an_event": round((asked.indexed + asked.unindexed) as f64 / passes),
        "load_ms": load_ms, "compile_ms": compile_ms, "set_mib": mib(before, held), "compiled_mib": mib(held, compiled)}));
}

/// 20 rules that no index finds, beside 1,000 that it does: natively evaluated ones, and ones that need Rhai.
fn unindexed() {
    let events = decoded(&lines(types(1_000))[..WARM]);
    let mut none = 0.0;
    for (case, condition) in [
        ("none", ""),
        ("native", "!(event.type == \"metric.N\") && !(event.value < 1000N)"),
        ("rhai", "event.summary.split(\"-\").len() > 1N"),
    ] {
        let mut conditions = mix(1_000);
        if !condition.is_empty() {
            conditions.extend((0..20).map(|i| condition.replace('N', &i.to_string())));
        }
        let mut evaluator = Evaluator::new(Arc::new(set(&conditions)));
        assert_eq!(evaluator.unindexed_rules(), conditions.len() - 1_000);
        let matching = matching(&mut evaluator, &events);
        if case == "none" {
            none = matching;
        }
        tell(json!({"case": "20 unindexed", "they_are": case, "match_ns": round(matching),
            "share": round((matching - none) / matching), "ns_each": round((matching - none) / 20.0)}));
    }
}

/// 10,000 rules of one type that differ in one test only. About one of them holds for one event in a thousand.
fn alike() {
    let value = |i: usize| format!("event.value >= {}", 100 + i);
    let between = |i: usize| format!("event.value > {0} && event.value <= {0}.5", 100 + i);
    let start = |i: usize| format!("event.ci.starts_with(\"web-{i:05}\")");
    let inside = |i: usize| format!("event.summary.contains(\"error {i:05}\")");
    let regex = |i: usize| format!("event.summary.matches(\"error {i:05} of [a-z]+\")");
    let cases: [(&str, &dyn Fn(usize) -> String); 5] =
        [("threshold", &value), ("range", &between), ("prefix", &start), ("substring", &inside), ("regex", &regex)];
    for (case, condition) in cases {
        let mut of_ten = 0.0;
        for rules in [10, 10_000] {
            let conditions: Vec<String> =
                (0..rules).map(|i| format!("event.type == \"metric.0000\" && {}", condition(i))).collect();
            let mut evaluator = Evaluator::new(Arc::new(set(&conditions)));
            assert_eq!(evaluator.unindexed_rules(), 0);
            let events = decoded(&lines(1)[..WARM]);
            let matching = matching(&mut evaluator, &events);
            if rules == 10 {
                of_ten = matching;
            }
            tell(json!({"case": "alike", "differ_in": case, "rules": rules, "match_ns": round(matching),
                "to_ten": round(matching / of_ten)}));
        }
    }
}

/// What `paramedic check` does, without reading files: a realistic mix, and rules of one type that all may hold for one
/// event, do the same, and so are compared two by two.
fn checks() {
    let alike: Vec<String> =
        (0..1_000).map(|i| format!("event.type == \"metric.0000\" && event.labels.x{i} == \"on\"")).collect();
    for (of, conditions) in [("mix", mix(1_000)), ("mix", mix(10_000)), ("one type", alike)] {
        // All clear in the same way and so do the same: which makes which needless is asked of each pair that may meet.
        let rules = conditions.iter().enumerate().map(|(i, condition)| {
            format!("  - rule: rule {i}\n    when: |\n      {condition}\n    by: [event.ci]\n    clear: {{ quiet: 10m }}\n    incident: {{ summary: s }}\n")
        });
        let chunks: Vec<String> = rules.collect::<Vec<_>>().chunks(1_000).map(|part| part.concat()).collect();
        let books = chunks
            .iter()
            .enumerate()
            .map(|(n, rules)| (format!("{n:02}.yaml"), format!("rulebook: {n:02}\nrules:\n{rules}")));
        let sources: BTreeMap<String, String> = books.collect();
        let began = Instant::now();
        let set = Arc::new(load(&sources).set.unwrap());
        let load_ms = began.elapsed().as_millis() as u64;
        let began = Instant::now();
        let analysis = analyse(&set);
        let analyse_ms = began.elapsed().as_millis() as u64;
        tell(
            json!({"case": "check", "of": of, "rules": conditions.len(), "load_ms": load_ms, "analyse_ms": analyse_ms,
            "live": analysis.count(Verdict::Live), "unknown": analysis.count(Verdict::Unknown),
            "findings": analysis.findings.len()}),
        );
    }
}

/// `paramedic replay` with one thread and with two. One event in a thousand matches.
fn replays() {
    for rules in [100, 1_000, 10_000] {
        let conditions: Vec<String> = (0..rules)
            .map(|i| format!("event.type == \"metric.{i:05}\" && event.severity == CRITICAL && event.value > 90"))
            .collect();
        let event = |i: u64, dice: &mut Dice| {
            let type_ = format!("metric.{:05}", dice.below(rules));
            let hit = i.is_multiple_of(1_000);
            let severity = if hit || dice.below(10) == 0 { "critical" } else { "warning" };
            let value = if hit { 95 } else { dice.below(90) };
            line(i, &type_, &value.to_string(), severity, dice)
        };
        replay("type, severity and value", &conditions, event);
    }
    for rules in [100, 1_000] {
        let conditions: Vec<String> =
            (0..rules).map(|i| format!("event.value >= {0} && event.value < {0}.5", 1_000 + i)).collect();
        let event = |i: u64, dice: &mut Dice| {
            let value = if i.is_multiple_of(1_000) { 1_000 + dice.below(rules) } else { dice.below(1_000) };
            line(i, "metric.00000", &value.to_string(), "warning", dice)
        };
        replay("range on one field", &conditions, event);
    }
}

/// Hosts of the cases with windows.
const HOSTS: u64 = 10_000;

/// `paramedic replay` with windows: every event is a part of one, of 10,000 hosts. 3 ms lie between two.
fn windows() {
    let book = |pattern: &str| {
        let text = format!(
            "rulebook: bench\nautonomy: record\nrules:\n  - rule: one\n{pattern}    by: [event.ci]\n    clear: {{ quiet: 10m }}\n    \
             incident: {{ summary: \"{{event.ci}}\", reopen: 0s }}\n"
        );
        BTreeMap::from([("bench.yaml".to_owned(), text)])
    };
    let count = "    when: event.type == \"failed\"\n    count: { at_least: 5, within: 60s }\n";
    replay_set("5 of one host in 60 s", &book(count), 1, None, |i, dice| {
        // A host comes about twice a minute; one in 1,000 events is the fifth at once of its host.
        let burst = i % 1_000 < 5;
        let host = if burst { i / 1_000 } else { dice.below(HOSTS as usize) as u64 };
        timed(i, "failed", host % HOSTS, dice)
    });
    let then = "    sequence:\n      - a: a.type == \"a\"\n      - b: b.type == \"b\"\n    within: 60s\n";
    replay_set("a then b of one host", &book(then), 1, None, |i, dice| {
        let is_b = i % 1_000 == 999;
        let host = if is_b { (i - 1).wrapping_mul(7_919) % HOSTS } else { i.wrapping_mul(7_919) % HOSTS };
        timed(i, if is_b { "b" } else { "a" }, host, dice)
    });
    let lacks = "    not_all:\n      - a: a.type == \"a\"\n      - back: back.type == \"back\"\n    within: 60s\n";
    replay_set("a and no recovery", &book(lacks), 1, None, |i, dice| {
        // Recovery comes six seconds later, but for one in 1,000.
        let (pair, delay) = (i / 2, 1_000);
        let recovers = i % 2 == 1 && pair >= delay && (pair - delay) % 500 != 0;
        let of = if recovers { pair - delay } else { pair };
        let kind = if recovers {
            "back"
        } else if i % 2 == 0 {
            "a"
        } else {
            "other"
        };
        timed(i, kind, of.wrapping_mul(7_919) % HOSTS, dice)
    });
}

/// Keys of the case with many windows.
const KEYS: u64 = 100_000;

/// What a key's window takes: `by` is the host, or the same for all. What else is kept of the events is the same.
fn keys() {
    let peak = |by: &str| {
        let text = format!(
            "rulebook: bench\nautonomy: record\nrules:\n  - rule: one\n    when: event.type == \"failed\"\n    count: {{ at_least: 1000, within: 2h }}\n    \
             by: [{by}]\n    incident: {{ summary: many }}\n"
        );
        let of_host = |i: u64, dice: &mut Dice| timed(i, "failed", i.wrapping_mul(7_919) % KEYS, dice);
        let files = Files::new(&BTreeMap::from([("bench.yaml".to_owned(), text)]), of_host);
        files.replay(1)
    };
    let (one, many) = (peak("event.type"), peak("event.ci"));
    let bytes = many.peak_kib.saturating_sub(one.peak_kib) * 1024 / KEYS;
    tell(json!({"case": "keys", "keys": KEYS, "elements_a_key": REPLAYED / KEYS, "bytes_a_key": bytes,
        "peak_mib": many.peak_kib / 1024, "events_per_s": many.events_per_s(), "events_per_s_of_one_key": one.events_per_s()}));
}

/// As [`line`], at a time and of one host.
fn timed(i: u64, type_: &str, host: u64, dice: &mut Dice) -> String {
    let text = line(i, type_, "1", "warning", dice);
    let at = Timestamp::from_nanos(1_767_225_600_000_000_000 + i as i64 * 3_000_000);
    let (head, rest) = text.split_once("\"ci\":\"").unwrap();
    let (_, tail) = rest.split_once('"').unwrap();
    let text = format!("{head}\"time\":\"{at}\",\"ci\":\"host-{host:05}\"{tail}");
    // Still of 400 bytes.
    let too_long = text.len().saturating_sub(400);
    text.replacen(&"x".repeat(too_long), "", 1)
}

fn replay(case: &str, conditions: &[String], event: impl FnMut(u64, &mut Dice) -> String) {
    replay_set(case, &set(conditions).sources, conditions.len(), Some(REPLAYED / 1_000), event);
}

fn replay_set(
    case: &str,
    sources: &BTreeMap<String, String>,
    n: usize,
    matched: Option<u64>,
    event: impl FnMut(u64, &mut Dice) -> String,
) {
    let files = Files::new(sources, event);
    for threads in [1, 2] {
        let best = (0..3).map(|_| files.replay(threads)).min_by_key(|run| run.ms).unwrap();
        if let Some(matched) = matched {
            assert_eq!(best.report["matched"], matched, "one in a thousand");
        }
        tell(
            json!({"case": "replay", "of": case, "rules": n, "threads": threads, "bytes_an_event": files.bytes / REPLAYED,
            "events_per_s": best.events_per_s(), "cpu_us_an_event": round(best.cpu_s * 1e6 / REPLAYED as f64),
            "matched": best.report["matched"], "incidents": best.report["incidents_opened"]}),
        );
    }
}

/// Rules, and events in a file.
struct Files {
    folder: tempfile::TempDir,
    bytes: u64,
}

/// What a replay came to.
struct Replayed {
    ms: u64,
    cpu_s: f64,
    /// Resident memory, at most.
    peak_kib: u64,
    report: Value,
}

impl Files {
    fn new(sources: &BTreeMap<String, String>, mut event: impl FnMut(u64, &mut Dice) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("rules")).unwrap();
        for (path, text) in sources {
            std::fs::write(folder.path().join("rules").join(path), text).unwrap();
        }
        let mut file = std::io::BufWriter::new(std::fs::File::create(folder.path().join("events.jsonl")).unwrap());
        let (mut dice, mut bytes) = (Dice(3), 0);
        for i in 0..REPLAYED {
            let line = event(i, &mut dice);
            bytes += line.len() as u64;
            writeln!(file, "{line}").unwrap();
        }
        file.flush().unwrap();
        Self { folder, bytes }
    }

    fn replay(&self, threads: usize) -> Replayed {
        let before = cpu_seconds();
        let mut child = Command::new(env!("CARGO_BIN_EXE_paramedic"))
            .args(["replay", "--json", "--threads", &threads.to_string(), "--rules"])
            .arg(self.folder.path().join("rules"))
            .arg("--events")
            .arg(self.folder.path().join("events.jsonl"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut peak_kib = 0;
        while child.try_wait().unwrap().is_none() {
            peak_kib = status_kib(&child.id().to_string(), "VmHWM:").unwrap_or(peak_kib);
            std::thread::sleep(Duration::from_millis(20));
        }
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success());
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(report["events"], REPLAYED);
        Replayed { ms: report["duration_ms"].as_u64().unwrap(), cpu_s: cpu_seconds() - before, peak_kib, report }
    }
}

impl Replayed {
    fn events_per_s(&self) -> u64 {
        REPLAYED * 1_000 / self.ms
    }
}

fn tell(mut line: Value) {
    line["bench"] = json!("rules");
    println!("{line}");
}

fn round(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

fn mib(from_kib: u64, to_kib: u64) -> f64 {
    round(to_kib.saturating_sub(from_kib) as f64 / 1024.0)
}

/// Resident memory of this process.
fn resident_kib() -> u64 {
    status_kib("self", "VmRSS:").unwrap()
}

/// Of a process that may have ended.
fn status_kib(process: &str, what: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find(|l| l.starts_with(what))?.split_whitespace().nth(1)?.parse().ok()
}

/// Processor time of the children that have ended, rule loading included.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: f64 = [fields[13], fields[14]].iter().map(|t| t.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}
