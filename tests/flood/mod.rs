//! A storm: very many alarms, and what one looks at meanwhile.

#![allow(dead_code, reason = "each test and benchmark uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::common::{Broker, EngineProcess, eventually, flush, send};

/// The source of [`crate::support::World::kafka_config`].
const SOURCE: &str = "source=\"monitoring\"";
/// What an event beyond the cap on open incidents is counted as.
pub const TOO_MANY: &str = "decision=\"too many open incidents\"";

/// A firing alarm with this id, about this key.
pub fn alarm(id: &str, key: u64) -> String {
    let host = format!("host-{key:07}.example.net");
    json!({"id": id, "type": "test.note", "kind": "alert", "ci": host, "dedup_key": format!("{host}/link"),
           "severity": "minor", "status": "firing", "summary": "the link is down", "labels": {"site": "fra-1"}})
    .to_string()
}

/// Events about so many keys, one after the other, in the first partition of a topic.
pub fn preload(broker: &Broker, topic: &str, events: u64, keys: u64) {
    let producer = broker.producer();
    for n in 0..events {
        send(&producer, topic, "k", alarm(&format!("alarm-{n}"), n % keys).as_bytes(), None);
    }
    flush(&producer);
}

/// How many records of the topic were taken.
pub fn taken(engine: &EngineProcess) -> u64 {
    engine.metric("paramedic_inputs_total", &[SOURCE]) as u64
}

/// Waits until so many were taken; a storm that does not go on is a failure.
pub fn until_taken(engine: &EngineProcess, events: u64) {
    let mut last = (Instant::now(), 0);
    while last.1 < events {
        let now = taken(engine);
        if now > last.1 {
            last = (Instant::now(), now);
        }
        assert!(last.0.elapsed() < Duration::from_secs(60), "stuck at {}:\n{}", last.1, engine.log_text());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the position in the store is there.
pub fn until_stored(engine: &EngineProcess, next: u64) {
    eventually("everything is stored", Duration::from_secs(120), || {
        let offsets = engine.get("/api/v1/offsets");
        let kafka = |o: &&serde_json::Value| o["position"].as_str().is_some_and(|p| p.starts_with("kafka/"));
        (offsets["offsets"].as_array()?.iter().find(kafka)?["next"].as_u64()? == next).then_some(())
    });
}

/// Halts everything, and takes it back: how long the halt took to be answered.
pub fn halt(engine: &EngineProcess) -> Duration {
    let asked = Instant::now();
    let (status, answer) = engine.post("/api/v1/halt", &json!({"by": "ann", "reason": "a storm"}));
    let answered = asked.elapsed();
    assert_eq!(status, 200, "{answer}");
    assert!(!answer["halts"].as_array().unwrap().is_empty(), "{answer}");
    let (status, answer) = engine.post("/api/v1/resume", &json!({"by": "ann", "reason": "it was a try"}));
    assert_eq!(status, 200, "{answer}");
    answered
}

/// Resident memory of a process, in bytes.
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Looks at a process's memory every 20 ms.
pub struct Watch {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Watch {
    pub fn of(pid: u32) -> Self {
        let (stop, peak) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (ask, most) = (Arc::clone(&stop), Arc::clone(&peak));
        let thread = std::thread::spawn(move || {
            while !ask.load(Ordering::Acquire) {
                most.fetch_max(resident(pid), Ordering::AcqRel);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { stop, peak, thread }
    }

    /// The most that it had, in MiB.
    pub fn peak_mib(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap();
        self.peak.load(Ordering::Acquire) >> 20
    }
}

/// What became of webhooks that many clients sent at a time.
#[derive(Debug, Default)]
pub struct Answers {
    /// Keys of events that were answered with 202.
    pub taken: Vec<u64>,
    /// How many were answered with 503.
    pub refused: u64,
    /// Any other answer, and what was none.
    pub other: Vec<String>,
}

/// Each of `clients` sends `each` events to the source `hook` on a connection of its own, as fast as it is answered.
pub fn flood_webhooks(engine: &EngineProcess, runtime: &tokio::runtime::Runtime, clients: u64, each: u64) -> Answers {
    let address = engine.url.strip_prefix("http://").unwrap().to_owned();
    let senders: Vec<_> = (0..clients)
        .map(|client| {
            let address = address.clone();
            runtime.spawn(async move {
                let mut answers = Answers::default();
                let mut connection = match TcpStream::connect(&address).await {
                    Ok(stream) => BufReader::new(stream),
                    Err(error) => {
                        answers.other.push(error.to_string());
                        return answers;
                    }
                };
                for key in client * each..(client + 1) * each {
                    match ask(&mut connection, &address, &alarm(&format!("hook-{key}"), key)).await {
                        Ok(202) => answers.taken.push(key),
                        Ok(503) => answers.refused += 1,
                        Ok(other) => answers.other.push(other.to_string()),
                        Err(error) => answers.other.push(error.to_string()),
                    }
                }
                answers
            })
        })
        .collect();
    let mut all = Answers::default();
    for sender in senders {
        let one = runtime.block_on(sender).unwrap();
        all.taken.extend(one.taken);
        all.refused += one.refused;
        all.other.extend(one.other);
    }
    all
}

/// Sends an event; gives the status of the answer.
async fn ask(connection: &mut BufReader<TcpStream>, address: &str, body: &str) -> std::io::Result<u16> {
    let length = body.len();
    let request =
        format!("POST /api/v1/events/hook HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\n\r\n{body}");
    connection.get_mut().write_all(request.as_bytes()).await?;
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().unwrap_or(0);
        } else if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        } else if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    Ok(status)
}
