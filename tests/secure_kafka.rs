//! TLS and SASL/SCRAM to a real Kafka, through the real binary: who is let in, and what is told to whom is not.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use common::{Broker, EngineProcess, eventually, eventually_or, flush, report, send};
use serde_json::Value;
use support::{Books, SOON, World, alert};

/// How soon a refusal must be told of: an operator waits for it.
const SECONDS: Duration = Duration::from_secs(15);

/// A real broker with listeners that want TLS and SASL; goes down with the last test that holds it.
struct Secure(BTreeMap<String, String>);

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = kafka_sh("down");
    }
}

fn kafka_sh(command: &str) -> std::process::Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/kafka.sh");
    Command::new(script).args(["secure", command]).output().unwrap()
}

impl Secure {
    /// `None`, and told of, where tests are not run on a real Kafka.
    fn of_test(test: &str) -> Option<Arc<Self>> {
        static UP: Mutex<Weak<Secure>> = Mutex::new(Weak::new());
        if std::env::var("KAFKA_BROKERS").is_ok_and(|b| !b.is_empty()) {
            report(test, "real");
        } else {
            report(test, "skipped");
            return None;
        }
        let mut up = UP.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = up.upgrade() {
            return Some(broker);
        }
        let out = kafka_sh("up");
        assert!(out.status.success(), "{}", support::text(&out));
        let said = String::from_utf8(out.stdout).unwrap();
        let pairs = said.lines().map(|l| l.split_once('=').unwrap());
        let broker = Arc::new(Self(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()));
        *up = Arc::downgrade(&broker);
        Some(broker)
    }

    fn value(&self, name: &str) -> &str {
        &self.0[name]
    }

    fn password(&self) -> String {
        std::fs::read_to_string(self.value("KAFKA_PASSWORD_FILE")).unwrap()
    }

    /// Its listener without TLS, for topics and for producing.
    fn plain(&self) -> Broker {
        Broker::Real(self.value("KAFKA_BROKERS").to_owned())
    }

    /// A topic with these events in it, about hosts of these names.
    fn topic_with(&self, stem: &str, hosts: &[&str]) -> String {
        let topic = self.plain().topic(stem, 1);
        let producer = self.plain().producer();
        for host in hosts {
            send(&producer, &topic, host, alert(host, "test.note", host, "firing").as_bytes(), None);
        }
        flush(&producer);
        topic
    }

    /// Options for SASL with SCRAM-SHA-512 over TLS, with the password in this file.
    fn scram(&self, ca: &str, password: &Path) -> Vec<(&'static str, String)> {
        vec![
            ("security.protocol", "sasl_ssl".to_owned()),
            ("sasl.mechanisms", "SCRAM-SHA-512".to_owned()),
            ("sasl.username", self.value("KAFKA_USER").to_owned()),
            ("sasl.password", format!("file:{}", password.display())),
            ("ssl.ca.location", self.value(ca).to_owned()),
        ]
    }

    fn tls(&self) -> Vec<(&'static str, String)> {
        vec![("security.protocol", "ssl".to_owned()), ("ssl.ca.location", self.value("KAFKA_CA").to_owned())]
    }

    fn mutual_tls(&self) -> Vec<(&'static str, String)> {
        let mut options = self.tls();
        options.push(("ssl.certificate.location", self.value("KAFKA_CLIENT_CERT").to_owned()));
        options.push(("ssl.key.location", self.value("KAFKA_CLIENT_KEY").to_owned()));
        options
    }

    /// An engine that reads a topic from one of the listeners.
    fn engine(&self, world: &World, listener: &str, topic: &str, options: &[(&'static str, String)]) -> EngineProcess {
        let options: String = options.iter().map(|(k, v)| format!("    {k}: \"{v}\"\n")).collect();
        let config = format!(
            "kafka:\n  brokers: \"{}\"\n  options:\n{options}sources:\n  \
             - {{ name: monitoring, kafka: {{ topic: {topic} }} }}\n",
            self.value(listener)
        );
        EngineProcess::start(world.folder.path(), &world.config(&config))
    }
}

fn abouts(engine: &EngineProcess) -> Vec<String> {
    let mut all: Vec<String> = engine.incidents("").iter().map(|i| i["about"].as_str().unwrap().to_owned()).collect();
    all.sort();
    all
}

/// Everything that the engine wrote or tells holds none of these secrets. Ends the engine.
fn keeps(mut engine: EngineProcess, world: &World, secrets: &[&str]) {
    let told = ["/metrics", "/ready", "/api/v1/status"].map(|path| engine.text(path)).concat();
    assert!(engine.stop().success());
    let mut places = vec![("HTTP".to_owned(), told.into_bytes()), ("the log".to_owned(), engine.log_text().into())];
    let mut folders = vec![world.data()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                places.push((path.display().to_string(), std::fs::read(&path).unwrap()))
            }
        }
    }
    assert!(places.len() > 2, "the store's files were looked at");
    for (place, bytes) in places {
        for secret in secrets {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "a secret is in {place}");
        }
    }
}

/// The engine says in /ready and in its log, within seconds, why it is not let in, and takes nothing.
fn is_refused(engine: &EngineProcess, words: &[&str]) {
    let reasons = || engine.get("/ready")["reasons"].to_string();
    eventually_or(
        &format!("/ready names {words:?}"),
        SECONDS,
        || {
            (engine.get("/ready")["ready"] == Value::Bool(false) && words.iter().all(|w| reasons().contains(w)))
                .then_some(())
        },
        reasons,
    );
    let log = engine.log_text();
    assert!(log.lines().any(|line| words.iter().all(|w| line.contains(w))), "{log}");
    assert_eq!(abouts(engine), [""; 0]);
}

/// Where the store says that a topic has been read to.
fn positions(world: &World) -> Vec<(String, i64)> {
    Books::of(&world.data()).positions.into_iter().filter(|(name, _)| name.starts_with("kafka/")).collect()
}

#[test]
fn events_arrive_over_tls_with_scram_and_over_mutual_tls() {
    let Some(kafka) = Secure::of_test("secure-kafka-arrive") else { return };
    let password = kafka.password();
    for (listener, options) in [
        ("KAFKA_SASL_SSL", kafka.scram("KAFKA_CA", Path::new(kafka.value("KAFKA_PASSWORD_FILE")))),
        ("KAFKA_SSL", kafka.mutual_tls()),
    ] {
        let (world, topic) = (World::new(), kafka.topic_with("secure", &["a", "b"]));
        let engine = kafka.engine(&world, listener, &topic, &options);
        eventually_or(
            &format!("both events have come over {listener}"),
            SOON,
            || (abouts(&engine) == ["a", "b"]).then_some(()),
            || engine.log_text(),
        );
        keeps(engine, &world, &[&password, "PRIVATE KEY"]);
        assert_eq!(positions(&world), [(format!("kafka/{topic}/0"), 2)]);
    }
}

#[test]
fn a_wrong_password_is_told_of_and_mended_without_a_restart() {
    let Some(kafka) = Secure::of_test("secure-kafka-password") else { return };
    let (world, topic) = (World::new(), kafka.topic_with("secure", &["a"]));
    let file = world.path("password");
    std::fs::write(&file, "hunter2-hunter2").unwrap();
    let engine = kafka.engine(&world, "KAFKA_SASL_SSL", &topic, &kafka.scram("KAFKA_CA", &file));
    is_refused(&engine, &["does not accept `sasl.username` and `sasl.password`", "SASL authentication error"]);
    // The secret is read again at each attempt.
    std::fs::write(&file, kafka.password()).unwrap();
    eventually("the event comes", SOON, || (abouts(&engine) == ["a"]).then_some(()));
    eventually("and all is well", SOON, || (engine.get("/ready")["ready"] == Value::Bool(true)).then_some(()));
    keeps(engine, &world, &["hunter2-hunter2", &kafka.password()]);
}

/// A broker and a client that do not get on: it is told of, and nothing is taken.
fn refusal(test: &str, listener: &str, options: fn(&Secure) -> Vec<(&'static str, String)>, words: &[&str]) {
    let Some(kafka) = Secure::of_test(test) else { return };
    let (world, topic) = (World::new(), kafka.topic_with("secure", &["a"]));
    let engine = kafka.engine(&world, listener, &topic, &options(&kafka));
    is_refused(&engine, words);
    keeps(engine, &world, &[&kafka.password(), "PRIVATE KEY"]);
    assert_eq!(positions(&world), [], "nothing was taken");
}

#[test]
fn a_broker_whose_certificate_another_ca_signed_is_not_trusted() {
    refusal(
        "secure-kafka-ca",
        "KAFKA_SASL_SSL",
        |k| k.scram("KAFKA_OTHER_CA", Path::new(k.value("KAFKA_PASSWORD_FILE"))),
        &["`ssl.ca.location` has to be the CA that signed it", "certificate verify failed"],
    );
}

#[test]
fn a_broker_whose_certificate_names_another_host_is_not_trusted() {
    refusal(
        "secure-kafka-host",
        "KAFKA_SSL_OTHER_NAME",
        Secure::tls,
        &["has to name the host that `kafka.brokers`", "certificate verify failed"],
    );
}

#[test]
fn a_broker_that_wants_a_certificate_says_so() {
    refusal("secure-kafka-mutual", "KAFKA_SSL", Secure::tls, &["look at `ssl.certificate.location`", "alert"]);
}

#[test]
fn a_listener_that_hangs_up_on_who_speaks_no_tls_is_told_of_with_what_to_look_at() {
    refusal(
        "secure-kafka-protocol",
        "KAFKA_SSL",
        |_| vec![("client.id", "paramedic".to_owned())],
        &["no Kafka broker answers", "`security.protocol`"],
    );
}
