//! What end-to-end tests and whole-program benchmarks share: an engine as its own process, a broker, a client.

#![allow(dead_code, reason = "each test and benchmark uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use serde_json::Value;

/// Waits for something that must come, and says what did not.
pub fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < within, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// [`eventually`], which also tells how it stands when it did not come.
pub fn eventually_or<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
    how_it_stands: impl FnOnce() -> String,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        if started.elapsed() >= within {
            panic!("{what}: not within {within:?}; {}", how_it_stands());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tells what a test ran on, or that it could not run: on stderr, past the test harness, and in the report of the run.
pub fn report(test: &str, kind: &str) {
    if kind != "real" {
        // Past the test harness's capture, which `eprintln!` would end in.
        #[allow(clippy::explicit_write)]
        writeln!(std::io::stderr(), "{test}: {kind}").unwrap();
    }
    if let Ok(path) = std::env::var("TEST_BROKER_REPORT") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{test} {kind}").unwrap();
    }
}

/// A Kafka: the real one that KAFKA_BROKERS names, else librdkafka's embedded one.
pub enum Broker {
    Real(String),
    Embedded(Box<MockCluster<'static, DefaultProducerContext>>),
}

impl Broker {
    /// For a test, which is told of in the report of the run.
    pub fn of_test(test: &str) -> Self {
        let broker = match std::env::var("KAFKA_BROKERS") {
            Ok(brokers) if !brokers.is_empty() => Broker::Real(brokers),
            _ => Broker::Embedded(Box::new(MockCluster::new(1).expect("the embedded broker"))),
        };
        report(test, if broker.is_real() { "real" } else { "embedded" });
        broker
    }

    pub fn is_real(&self) -> bool {
        matches!(self, Broker::Real(_))
    }

    pub fn address(&self) -> String {
        match self {
            Broker::Real(brokers) => brokers.clone(),
            Broker::Embedded(cluster) => cluster.bootstrap_servers(),
        }
    }

    /// A topic of its own, with a name that no other run has.
    pub fn topic(&self, stem: &str, partitions: i32) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let name = format!("{stem}-{}-{}", std::process::id(), now.as_nanos());
        match self {
            Broker::Embedded(cluster) => cluster.create_topic(&name, partitions, 1).unwrap(),
            Broker::Real(brokers) => {
                let admin: AdminClient<DefaultClientContext> =
                    ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
                let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1))
                    .set("retention.ms", "-1")
                    .set("message.timestamp.type", "CreateTime");
                let made = runtime().block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
                made.into_iter().for_each(|m| drop(m.expect("the topic is made")));
            }
        }
        name
    }

    /// The topic goes, and another one takes its name: on a real Kafka.
    pub fn recreate(&self, name: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.address()).create().unwrap();
        let runtime = runtime();
        let gone = runtime.block_on(admin.delete_topics(&[name], &AdminOptions::new())).unwrap();
        gone.into_iter().for_each(|g| drop(g.expect("the topic goes")));
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        // The name is free when the deletion is done.
        eventually("the topic is there again", Duration::from_secs(30), || {
            let made = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
            made.into_iter().all(|m| m.is_ok()).then_some(())
        });
    }

    pub fn producer(&self) -> BaseProducer {
        ClientConfig::new()
            .set("bootstrap.servers", self.address())
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", "500000")
            .set("acks", "all")
            .create()
            .unwrap()
    }
}

/// A runtime for what is asynchronous in a test.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Sends one record, waiting for room in the producer's queue.
pub fn send(producer: &BaseProducer, topic: &str, key: &str, payload: &[u8], timestamp_ms: Option<i64>) {
    let mut record = BaseRecord::to(topic).partition(0).key(key).payload(payload);
    if let Some(ms) = timestamp_ms {
        record = record.timestamp(ms);
    }
    while let Err((error, back)) = producer.send(record) {
        assert!(error.to_string().contains("Queue full"), "{error}");
        record = back;
        producer.poll(Duration::from_millis(20));
    }
}

/// Waits until everything that was sent is acknowledged. A broker may take half a minute to stop in good order, and is
/// restarted under some tests.
pub fn flush(producer: &BaseProducer) {
    producer.flush(Duration::from_secs(240)).unwrap();
}

/// An engine as its own process: `paramedic run`.
pub struct EngineProcess {
    child: Child,
    program: String,
    environment: Vec<(String, String)>,
    args: Vec<String>,
    cwd: PathBuf,
    pub url: String,
    pub log: PathBuf,
    http: reqwest::blocking::Client,
}

/// A port of loopback that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl EngineProcess {
    /// Starts an engine with this configuration (its `listen` is added), and waits until it answers.
    pub fn start(folder: &Path, config: &str) -> Self {
        Self::start_with(folder, config, &[])
    }

    /// With more arguments than the configuration's.
    pub fn start_with(folder: &Path, config: &str, more: &[&str]) -> Self {
        let port = free_port();
        let path = folder.join("paramedic.yaml");
        std::fs::write(&path, format!("listen: 127.0.0.1:{port}\n{config}")).unwrap();
        let mut args = vec!["run".to_owned(), "-c".to_owned(), path.display().to_string()];
        args.extend(more.iter().map(|a| (*a).to_owned()));
        Self::spawn_at(folder, args, &format!("http://127.0.0.1:{port}"))
    }

    /// Any command that ends in an engine at this address, in this folder.
    pub fn spawn_at(folder: &Path, args: Vec<String>, url: &str) -> Self {
        Self::spawn_program(binary(), folder, args, url)
    }

    /// Another build of the program.
    pub fn spawn_program(program: &str, folder: &Path, args: Vec<String>, url: &str) -> Self {
        Self::spawn_with(program, folder, args, &[], url)
    }

    /// With more in its environment.
    pub fn spawn_with(
        program: &str,
        folder: &Path,
        args: Vec<String>,
        environment: &[(&str, String)],
        url: &str,
    ) -> Self {
        let mut engine = Self::spawn_unawaited(program, folder, args, environment, url);
        engine.wait_alive();
        engine
    }

    /// Does not wait until it answers: it may end before.
    pub fn spawn_unawaited(
        program: &str,
        folder: &Path,
        args: Vec<String>,
        environment: &[(&str, String)],
        url: &str,
    ) -> Self {
        let log = folder.join("engine.log");
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Self {
            child: spawn(program, folder, &args, &environment, &log),
            program: program.to_owned(),
            environment,
            args,
            cwd: folder.to_owned(),
            url: url.to_owned(),
            log,
            http: reqwest::blocking::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap(),
        }
    }

    /// Starts the same engine again, after it was killed or stopped.
    pub fn again(&mut self) {
        self.child = spawn(&self.program, &self.cwd, &self.args, &self.environment, &self.log);
        self.wait_alive();
    }

    /// Starts it again as another build, or with another environment.
    pub fn again_as(&mut self, program: &str, environment: &[(&str, String)]) {
        self.program = program.to_owned();
        self.environment = environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.again();
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Whether it answers; a process that was stopped does not.
    pub fn answers(&self) -> bool {
        self.http.get(format!("{}/health", self.url)).timeout(Duration::from_millis(500)).send().is_ok()
    }

    pub fn wait_alive(&mut self) {
        let started = Instant::now();
        while self.http.get(format!("{}/health", self.url)).send().is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the engine ended with {status}:\n{}", self.log_text());
            }
            assert!(started.elapsed() < Duration::from_secs(60), "no engine:\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        let killed = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap()
    }

    pub fn get(&self, path: &str) -> Value {
        let reply = self.http.get(format!("{}{path}", self.url)).send().unwrap();
        serde_json::from_str(&reply.text().unwrap()).unwrap()
    }

    pub fn text(&self, path: &str) -> String {
        self.http.get(format!("{}{path}", self.url)).send().unwrap().text().unwrap()
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.try_post(path, body).unwrap()
    }

    /// An error where the connection ended before the answer could be read.
    pub fn try_post(&self, path: &str, body: &Value) -> reqwest::Result<(u16, Value)> {
        let reply = self.http.post(format!("{}{path}", self.url)).json(body).send()?;
        let status = reply.status().as_u16();
        Ok((status, serde_json::from_str(&reply.text()?).unwrap_or(Value::Null)))
    }

    /// Sum of a metric over all its series whose line contains each of `having`.
    pub fn metric(&self, name: &str, having: &[&str]) -> f64 {
        self.text("/metrics")
            .lines()
            .filter(|l| !l.starts_with('#'))
            .filter(|l| l.split(['{', ' ']).next() == Some(name) && having.iter().all(|h| l.contains(h)))
            .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    pub fn incidents(&self, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/v1/incidents?limit=1000{query}"));
        answer["incidents"].as_array().cloned().unwrap_or_default()
    }

    pub fn runs(&self) -> Vec<Value> {
        self.get("/api/v1/runs?limit=1000")["runs"].as_array().cloned().unwrap_or_default()
    }

    /// Runs another command of the program against this engine.
    pub fn cli(&self, args: &[&str]) -> std::process::Output {
        Command::new(binary()).args(args).env("PARAMEDIC_URL", &self.url).env("USER", "ann").output().unwrap()
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_paramedic")
}

/// The program with crash points and planted bugs; built by tests/real/test.sh.
pub fn faulty_binary() -> Option<String> {
    let path = Path::new(binary()).with_file_name("paramedic-faulty");
    path.is_file().then(|| path.display().to_string())
}

fn spawn(program: &str, cwd: &Path, args: &[String], environment: &[(String, String)], log: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    Command::new(program)
        .args(args)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}
