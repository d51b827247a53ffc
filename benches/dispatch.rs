//! Event produced -> playbook request received, under background load. Prints one line of JSON a rate.
//!
//! `KAFKA_BROKERS=... cargo bench --bench dispatch [-- SECONDS]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Broker, EngineProcess, eventually};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

/// When each host's request was received: its first byte, on the receiver's side.
type Received = Arc<Mutex<BTreeMap<String, Instant>>>;

fn main() {
    let seconds: u64 = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(20);
    let broker = Broker::of_test("bench dispatch");
    assert!(broker.is_real(), "set KAFKA_BROKERS: `eval $(tests/real/kafka.sh up)`");
    for rate in [1_000u64, 10_000] {
        let latencies = measure(&broker, rate, seconds);
        let at = |q: f64| latencies[((latencies.len() - 1) as f64 * q) as usize].as_secs_f64() * 1000.0;
        println!(
            "{}",
            serde_json::json!({"bench": "dispatch", "background_events_per_s": rate, "runs": latencies.len(),
                "p50_ms": (at(0.5) * 100.0).round() / 100.0, "p99_ms": (at(0.99) * 100.0).round() / 100.0,
                "max_ms": (at(1.0) * 100.0).round() / 100.0})
        );
    }
}

fn measure(broker: &Broker, rate: u64, seconds: u64) -> Vec<Duration> {
    let topic = broker.topic("bench-dispatch", 1);
    let received: Received = Arc::default();
    let port = endpoint(Arc::clone(&received));
    let folder = tempfile::tempdir().unwrap();
    rules(folder.path(), port);
    let config = format!(
        "data: {0}/data\nrules: {0}/rules\nkafka: {{ brokers: \"{1}\" }}\n\
         sources: [ {{ name: bench, kafka: {{ topic: {topic} }} }} ]\n\
         grants: [ {{ rulebook: bench, autonomy: auto }} ]\n",
        folder.path().display(),
        broker.address()
    );
    let engine = EngineProcess::start(folder.path(), &config);
    let hosts = (seconds * 20).min(2_000);
    let cis: Vec<_> = (0..hosts)
        .map(|h| serde_json::json!({"name": format!("h{h}"), "class": "server", "environment": "bench"}))
        .collect();
    for part in cis.chunks(500) {
        let (status, answer) =
            engine.post("/api/v1/cmdb?wait=5", &serde_json::json!({"by": "bench", "cis": part, "relations": []}));
        assert!(status < 300, "{answer}");
    }
    let producer: BaseProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("linger.ms", "0")
        .set("acks", "1")
        .create()
        .unwrap();
    let mut sent: BTreeMap<String, Instant> = BTreeMap::new();
    let began = Instant::now();
    let (mut produced, mut probes) = (0u64, 0u64);
    while began.elapsed() < Duration::from_secs(seconds) {
        let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
        while produced < due {
            let payload = format!(
                "{{\"id\":\"b{produced}\",\"type\":\"bench.idle\",\"kind\":\"metric\",\"ci\":\"h1\",\"value\":1}}"
            );
            let _ = producer.send(BaseRecord::to(&topic).partition(0).key("b").payload(&payload));
            produced += 1;
        }
        let due = (began.elapsed().as_secs_f64() * 20.0) as u64;
        if probes < due.min(hosts) {
            let host = format!("h{probes}");
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
            let payload = format!("{{\"id\":\"p{now}\",\"type\":\"bench.fail\",\"ci\":\"{host}\"}}");
            sent.insert(host, Instant::now());
            producer.send(BaseRecord::to(&topic).partition(0).key("p").payload(&payload)).map_err(|(e, _)| e).unwrap();
            probes += 1;
        }
        producer.poll(Duration::ZERO);
        std::thread::sleep(Duration::from_micros(300));
    }
    producer.flush(Duration::from_secs(10)).unwrap();
    eventually("every run is received", Duration::from_secs(30), || {
        (received.lock().unwrap().len() as u64 >= probes).then_some(())
    });
    let received = received.lock().unwrap();
    // The first two seconds meet a cold broker and cold caches, and are not counted.
    let warm = |host: &str| host[1..].parse::<u64>().unwrap() >= 40;
    let counted = sent.iter().filter(|(host, _)| warm(host));
    let mut latencies: Vec<Duration> = counted.map(|(host, at)| received[host].duration_since(*at)).collect();
    latencies.sort();
    latencies
}

/// The barest playbook service: notes the instant at which a request's bytes are there.
fn endpoint(received: Received) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, received) = (stream.unwrap(), Arc::clone(&received));
            std::thread::spawn(move || {
                let mut buffer = [0u8; 8192];
                let mut text = String::new();
                while !text.ends_with('}') {
                    let n = stream.read(&mut buffer).unwrap_or(0);
                    if n == 0 {
                        return;
                    }
                    text.push_str(&String::from_utf8_lossy(&buffer[..n]));
                }
                let now = Instant::now();
                let body = text.split("\r\n\r\n").nth(1).unwrap_or("{}");
                let body: serde_json::Value = serde_json::from_str(body).unwrap();
                let host = body["target"]["name"].as_str().unwrap().to_owned();
                received.lock().unwrap().entry(host).or_insert(now);
                let reply = "{\"status\":\"succeeded\"}";
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{reply}",
                    reply.len()
                );
            });
        }
    });
    port
}

fn rules(folder: &std::path::Path, port: u16) {
    std::fs::create_dir_all(folder.join("rules")).unwrap();
    std::fs::write(
        folder.join("rules/playbooks.yaml"),
        format!(
            "playbooks:\n  fix:\n    runner: http\n    url: http://127.0.0.1:{port}/fix\n    timeout: 10s\n    effect: keyed\n"
        ),
    )
    .unwrap();
    std::fs::write(
        folder.join("rules/bench.yaml"),
        "rulebook: bench\nautonomy: auto\nmay:\n  playbooks: [fix]\n  ci_classes: [server]\n  environments: [bench]\n\
         rules:\n  - rule: fail\n    when: |\n      event.type == \"bench.fail\"\n    by: [event.ci]\n    incident:\n      \
         summary: \"{event.ci} fails\"\n    remedy:\n      - playbook: fix\n        verify: { within: 10m }\n",
    )
    .unwrap();
}
