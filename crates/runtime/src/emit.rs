//! Events of rules to Kafka topics: the producer, and which topics are not sent to because a source reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use paramedic_model::{Emit, Id, Outcome};
use paramedic_rulebook::{Diagnostic, Gravity, Place, RuleSet};
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer};
use tokio::sync::oneshot;

use crate::config::{Config, KafkaConfig};
use crate::source::kafka::{describe, with_options};
use crate::source::refused::refused;

/// A record that has not left so long after the last look at the halts does not leave any more (I13: within 1 s).
const LEAVES_WITHIN: Duration = Duration::from_millis(600);
/// How long a broker may take to say that it has a record that was sent, in milliseconds as librdkafka takes it.
const ANSWERS_WITHIN: &str = "5000";
/// Not the operator's to set. A record that librdkafka sent once more by itself would leave after a halt.
const OURS: [(&str, &str); 7] = [
    ("acks", "all"),
    ("enable.idempotence", "false"),
    ("message.send.max.retries", "0"),
    ("linger.ms", "0"),
    ("message.timeout.ms", ANSWERS_WITHIN),
    ("request.timeout.ms", ANSWERS_WITHIN),
    // As Kafka's own clients: what has one key is where their records with it are.
    ("partitioner", "murmur2_random"),
];

/// Other names of theirs: of two names for one option either may win.
const ALIASES: [&str; 4] = ["request.required.acks", "retries", "queue.buffering.max.ms", "delivery.timeout.ms"];
/// A record that is under way is answered by then, or nobody knows.
const ANSWERS_AT_LAST: Duration = Duration::from_secs(7);

/// What rules must go with of a configuration: its sources, the topics that they read, and whom it names to be told.
/// Nothing is sent to such a topic: it could feed the rule that sends it.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The source, by topic.
    sources: BTreeMap<String, String>,
    /// Of all sources.
    names: Vec<String>,
    /// There are brokers to send to.
    can_send: bool,
    /// Whom `notify` names.
    recipients: BTreeSet<String>,
}

impl Reading {
    /// Of a configuration.
    pub fn of(config: &Config) -> Self {
        let topic = |source: &crate::config::SourceConfig| {
            source.kafka.as_ref().map(|kafka| (kafka.topic.clone(), source.name.clone()))
        };
        Self {
            sources: config.sources.iter().filter_map(topic).collect(),
            names: config.sources.iter().map(|source| source.name.clone()).collect(),
            can_send: config.kafka.is_some(),
            recipients: config.notify.keys().cloned().collect(),
        }
    }

    /// The source that reads a topic.
    pub fn source_of(&self, topic: &str) -> Option<&str> {
        self.sources.get(topic).map(String::as_str)
    }

    /// What of a rule set does not go with the configuration.
    pub fn check(&self, set: &RuleSet) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut tell = |level, place: &Place, message, help: &str| {
            let text = set.sources.get(&place.file).map_or("", String::as_str);
            found.push(Diagnostic::of(level, place.clone(), text, message, Some(help.to_owned())));
        };
        for (place, source) in set.site.unknown_sources(&self.names) {
            let message = format!("this step is for source {source}, which is not configured: it never runs");
            let help = format!("write one of {}, or add the source to the configuration", self.names.join(", "));
            tell(Gravity::Warning, place, message, &help);
        }
        // Without any recipient nobody expects to be told; with some, one that is missing was probably misspelled.
        if !self.recipients.is_empty() && !self.recipients.contains("default") {
            let mut known = self.recipients.clone();
            for (rule, to) in set.rules.iter().flat_map(|rule| rule.tells().map(move |to| (rule, to))) {
                if known.insert(to.to_owned()) {
                    let message =
                        format!("rule {} tells {to}, whom `notify` of the configuration does not name", rule.name);
                    let all: Vec<&str> = self.recipients.iter().map(String::as_str).collect();
                    let help = format!("it names {}; add {to} there, or `default` for all others", all.join(", "));
                    tell(Gravity::Warning, &rule.place, message, &help);
                }
            }
        }
        for (rule, topic) in set.topics() {
            let rule = format!("{}/{}", set.rulebook_of(rule).name, rule.name);
            if let Some(source) = self.source_of(&topic.name) {
                let message = format!(
                    "rule {rule} sends to topic {}, which source {source} reads: it could feed itself",
                    topic.name
                );
                tell(
                    Gravity::Error,
                    &topic.place,
                    message,
                    "send to another topic, or take the source out of the configuration",
                );
            } else if !self.can_send {
                let message =
                    format!("rule {rule} sends to topic {}, and there is no broker: it is not delivered", topic.name);
                tell(Gravity::Warning, &topic.place, message, "set `kafka.brokers` in the configuration");
            }
        }
        found
    }
}

/// Sends events. Its producer is made for the first one.
pub struct Emitter {
    kafka: Option<KafkaConfig>,
    cluster: String,
    /// The topics that sources read.
    pub(crate) reading: Reading,
    producer: Mutex<Option<ThreadedProducer<Told>>>,
}

/// What the brokers said of a record: where it is, or why it is nowhere.
type Delivered = Result<String, KafkaError>;

/// What the client tells of itself.
#[derive(Default)]
struct Told {
    /// Why the brokers do not let us in, or are not reached.
    last: Mutex<Option<String>>,
}

impl ClientContext for Told {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka producer");
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(refused(&error, reason).unwrap_or_else(|| reason.to_owned()));
    }
}

impl ProducerContext for Told {
    type DeliveryOpaque = Box<oneshot::Sender<Delivered>>;

    fn delivery(&self, result: &DeliveryResult<'_>, told: Self::DeliveryOpaque) {
        let delivered = match result {
            Ok(message) => {
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Ok(format!("partition {}, offset {}", message.partition(), message.offset()))
            }
            Err((error, _)) => Err(error.clone()),
        };
        // Whoever waited may have been stopped.
        let _ = told.send(delivered);
    }
}

impl Emitter {
    /// For the brokers of a configuration, with the options of its sources.
    pub fn new(config: &Config) -> Self {
        Self {
            kafka: config.kafka.clone(),
            cluster: config.cluster.clone(),
            reading: Reading::of(config),
            producer: Mutex::default(),
        }
    }

    /// Sends an event's record. `halted`: asked directly before.
    pub async fn send(&self, id: Id, emit: &Emit, body: &str, halted: impl FnOnce() -> Option<String>) -> Outcome {
        let Some(kafka) = &self.kafka else {
            let message = "there is no broker to send it to: set `kafka.brokers` in the configuration".to_owned();
            return Outcome::Failed { message, never_left: false };
        };
        let never_left = |message: String| Outcome::Failed { message, never_left: true };
        let producer = match self.producer(kafka) {
            Ok(producer) => producer,
            Err(why) => return never_left(why),
        };
        if let Some(why) = halted() {
            return never_left(format!("halted before it left: {why}"));
        }
        let (told, mut delivered) = oneshot::channel();
        let headers = self.headers(id, emit);
        let record =
            BaseRecord::with_opaque_to(&emit.topic, Box::new(told)).key(&emit.key).payload(body).headers(headers);
        if let Err((error, _)) = producer.send(record) {
            return outcome(Err(error), None);
        }
        let came = match tokio::time::timeout(LEAVES_WITHIN, &mut delivered).await {
            Ok(came) => came,
            Err(_) => {
                // What is under way stays so; what waits in the queue, of other events too, is tried again.
                // Not waited for: a broker's thread may be held up by a name server.
                producer.purge(PurgeConfig::default().queue().non_blocking());
                match tokio::time::timeout(ANSWERS_AT_LAST, &mut delivered).await {
                    Ok(came) => came,
                    Err(_) => {
                        let message = "the client does not say what became of it".to_owned();
                        return Outcome::Unknown { message, retry_after: None };
                    }
                }
            }
        };
        let last = producer.context().last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match came {
            Ok(delivered) => outcome(delivered, last),
            Err(_) => Outcome::Unknown { message: "the producer has ended".to_owned(), retry_after: None },
        }
    }

    fn headers(&self, id: Id, emit: &Emit) -> OwnedHeaders {
        let (id, rule) = (id.to_string(), format!("{}/{}", emit.rulebook, emit.rule));
        let all = [
            ("content-type", "application/json"),
            ("paramedic-id", &id),
            ("paramedic-cluster", &self.cluster),
            ("paramedic-rule", &rule),
        ];
        all.into_iter().fold(OwnedHeaders::new(), |h, (key, value)| h.insert(Header { key, value: Some(value) }))
    }

    fn producer(&self, kafka: &KafkaConfig) -> Result<ThreadedProducer<Told>, String> {
        let mut made = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = &*made {
            return Ok(producer.clone());
        }
        let mut config = with_options(kafka, &[("reconnect.backoff.max.ms", "1000")])?;
        for name in ALIASES {
            config.remove(name);
        }
        OURS.iter().for_each(|(name, value)| {
            config.set(*name, *value);
        });
        let producer = ThreadedProducer::from_config_and_context(&config, Told::default())
            .map_err(|e| format!("kafka: {}", describe(&e)))?;
        *made = Some(producer.clone());
        Ok(producer)
    }
}

/// What a delivery means for its row. Only what the brokers will never take, however often it is sent, has failed.
fn outcome(delivered: Delivered, last: Option<String>) -> Outcome {
    use RDKafkaErrorCode as Code;
    let because = |why: String| last.map_or_else(|| why.clone(), |last| format!("{why} ({last})"));
    match delivered {
        Ok(message) => Outcome::Succeeded { message, facts: BTreeMap::new() },
        Err(error) => match error.rdkafka_error_code() {
            Some(Code::PurgeQueue) => Outcome::Failed {
                message: because(format!("no broker took it within {} ms", LEAVES_WITHIN.as_millis())),
                never_left: true,
            },
            Some(Code::QueueFull) => Outcome::Failed { message: describe(&error), never_left: true },
            Some(Code::MessageSizeTooLarge | Code::InvalidTopic | Code::InvalidRecord) => {
                Outcome::Failed { message: describe(&error), never_left: false }
            }
            _ => Outcome::Unknown { message: because(describe(&error)), retry_after: None },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: RDKafkaErrorCode) -> Outcome {
        outcome(Err(KafkaError::MessageProduction(code)), None)
    }

    #[test]
    fn only_what_no_broker_will_ever_take_has_failed() {
        use RDKafkaErrorCode as Code;
        for code in [Code::MessageSizeTooLarge, Code::InvalidTopic, Code::InvalidRecord] {
            assert!(matches!(failed(code), Outcome::Failed { never_left: false, .. }), "{code}");
        }
        for code in [Code::PurgeQueue, Code::QueueFull] {
            assert!(matches!(failed(code), Outcome::Failed { never_left: true, .. }), "{code}");
        }
        for code in
            [Code::MessageTimedOut, Code::RequestTimedOut, Code::NotEnoughReplicas, Code::BrokerTransportFailure]
        {
            assert!(matches!(failed(code), Outcome::Unknown { .. }), "{code}");
        }
    }
}
