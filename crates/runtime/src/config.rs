//! The configuration file, and the embedded defaults where there is none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use paramedic_formats::Format;
use paramedic_model::{Grant, Grants, Span};
use paramedic_rulebook::ScopeExpr;
use serde::Deserialize;

/// What is wrong with a configuration, with the file and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// `paramedic.yaml`. See deploy/paramedic.yaml for an annotated one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of the cluster: part of every run key. Never change it while runs are open.
    pub cluster: String,
    /// Folder of the SQLite store, the halt file and the archive.
    pub data: PathBuf,
    /// URL of a PostgreSQL database, as `env:NAME` or `file:PATH` (or itself where it holds no password); without it
    /// the store is a SQLite file in `data`.
    pub store: Option<String>,
    /// Folder of rulebooks and playbooks.yaml.
    pub rules: PathBuf,
    /// Whether a change in that folder is taken over by itself.
    pub rules_watch: bool,
    /// API, page, metrics, webhooks.
    pub listen: String,
    /// Bearer token for what changes something over the API, as `env:NAME` or `file:PATH`.
    pub token: Option<String>,
    /// The Kafka cluster of `kafka:` sources.
    pub kafka: Option<KafkaConfig>,
    /// Where events come from.
    pub sources: Vec<SourceConfig>,
    /// What rulebooks may do by themselves.
    pub grants: Vec<Grant>,
    /// Where pages go: by recipient, or `default`.
    pub notify: BTreeMap<String, NotifyConfig>,
    /// Bounds.
    pub limits: LimitsConfig,
    /// How inputs are gathered.
    pub batch: BatchConfig,
    /// How long what has ended is kept.
    pub retention: RetentionConfig,
}

impl Default for Config {
    /// What `paramedic run` starts on without a file: a webhook on loopback, SQLite, the rules of this folder.
    fn default() -> Self {
        Self {
            cluster: "paramedic".to_owned(),
            data: PathBuf::from("./paramedic-data"),
            store: None,
            rules: PathBuf::from("./rules"),
            rules_watch: true,
            listen: "127.0.0.1:8600".to_owned(),
            token: None,
            kafka: None,
            sources: vec![SourceConfig {
                name: "webhook".to_owned(),
                kafka: None,
                webhook: Some(WebhookConfig { token: None, basic: None }),
                file: None,
                format: "paramedic".to_owned(),
                scope: None,
            }],
            grants: vec![],
            notify: BTreeMap::new(),
            limits: LimitsConfig::default(),
            batch: BatchConfig::default(),
            retention: RetentionConfig::default(),
        }
    }
}

/// How to reach Kafka.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// `host:port,host:port`.
    pub brokers: String,
    /// Several engines share the topics: the name of their consumer group. Without it this engine reads them alone.
    #[serde(default)]
    pub group: Option<String>,
    /// This engine's name in the group (`group.instance.id`), as itself or `env:NAME`: the same after a restart, no two
    /// alike.
    #[serde(default)]
    pub instance: Option<String>,
    /// Any option of librdkafka; values may be `env:NAME` or `file:PATH`.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// One source: exactly one of `kafka`, `webhook`, `file`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// `event.source`.
    pub name: String,
    /// A topic.
    #[serde(default)]
    pub kafka: Option<TopicConfig>,
    /// `POST /api/v1/events/NAME`.
    #[serde(default)]
    pub webhook: Option<WebhookConfig>,
    /// A file of JSON lines that grows.
    #[serde(default)]
    pub file: Option<FileConfig>,
    /// The format of its messages.
    #[serde(default = "native")]
    pub format: String,
    /// A path such as `event.labels.site`; without it all is one scope, `default`.
    #[serde(default)]
    pub scope: Option<String>,
}

fn native() -> String {
    "paramedic".to_owned()
}

/// A topic.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicConfig {
    /// Its name.
    pub topic: String,
    /// Where a partition that was never seen begins.
    #[serde(default)]
    pub start: Start,
}

/// Where a partition that was never seen begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At its first record.
    #[default]
    Earliest,
    /// At what comes next.
    Latest,
}

/// Who may post to a webhook. Neither: only on loopback.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Bearer token, as `env:NAME` or `file:PATH`.
    #[serde(default)]
    pub token: Option<String>,
    /// Basic authentication.
    #[serde(default)]
    pub basic: Option<BasicConfig>,
}

/// Basic authentication.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicConfig {
    /// The user's name.
    pub user: String,
    /// `env:NAME` or `file:PATH`.
    pub password: String,
}

/// A file source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// Where.
    pub path: PathBuf,
}

/// A recipient of pages.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifyConfig {
    /// Where its pages are posted.
    pub url: String,
    /// Bearer token, as `env:NAME` or `file:PATH`.
    #[serde(default)]
    pub token: Option<String>,
}

/// Bounds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// A run whose decision or approval is older than this is not dispatched.
    pub max_action_age: Span,
    /// Open incidents a scope; beyond, one umbrella incident.
    pub open_incidents: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { max_action_age: Span::from_secs(15 * 60), open_incidents: 100_000 }
    }
}

/// How long what has ended is kept, counted from its end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Closed incidents, their runs and their history; then they go to `data/archive`.
    pub records: Span,
    /// Messages that could not be decoded.
    pub dead_letters: Span,
    /// What came in through the inbox, and the journal. `replay --journal` needs a journal from its first row on.
    pub journal: Span,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        let days = |n: i64| Span::from_secs(n * 24 * 3600);
        Self { records: days(400), dead_letters: days(30), journal: days(90) }
    }
}

/// How inputs are gathered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Records a batch, at most.
    pub max_events: usize,
    /// How long a batch that moves only positions waits for company.
    pub max_wait: Span,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { max_events: 4_000, max_wait: Span::from_millis(250) }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Names the file, the place and what to do.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| ConfigError(format!("{}: cannot be read: {e}", path.display())))?;
        let config: Config = serde_yaml::from_str(&text).map_err(|e| {
            let place = e.location().map_or(String::new(), |l| format!(":{}:{}", l.line(), l.column()));
            ConfigError(format!(
                "{}{place}: {e}\n  help: deploy/paramedic.yaml is an annotated example of every setting",
                path.display()
            ))
        })?;
        config.check().map_err(|ConfigError(e)| ConfigError(format!("{}: {e}", path.display())))?;
        Ok(config)
    }

    /// What the YAML's shape does not say.
    ///
    /// # Errors
    /// The first thing that is wrong, with the remedy.
    pub fn check(&self) -> Result<(), ConfigError> {
        let err = |text: String| Err(ConfigError(text));
        if self.cluster.trim().is_empty() {
            return err("`cluster` is empty: give the cluster a name that never changes".into());
        }
        let mut names = std::collections::BTreeSet::new();
        for source in &self.sources {
            let kinds = [source.kafka.is_some(), source.webhook.is_some(), source.file.is_some()]
                .iter()
                .filter(|k| **k)
                .count();
            if kinds != 1 {
                return err(format!("source {}: give exactly one of `kafka`, `webhook`, `file`", source.name));
            }
            if !names.insert(&source.name) {
                return err(format!("two sources are named {}", source.name));
            }
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
            if source.name.is_empty() || !source.name.chars().all(plain) {
                return err(format!("source {:?}: use letters, digits, `-`, `_`, `.`, `:` in its name", source.name));
            }
            source.format()?;
            source.scope()?;
            if source.kafka.is_some() && self.kafka.is_none() {
                return err(format!("source {}: `kafka.brokers` is not set", source.name));
            }
        }
        self.check_group()
    }

    /// What several engines need.
    fn check_group(&self) -> Result<(), ConfigError> {
        let err = |text: &str| Err(ConfigError(text.to_owned()));
        let Some(kafka) = self.kafka.as_ref().filter(|k| k.group.is_some()) else { return Ok(()) };
        if kafka.group.as_ref().is_some_and(|g| g.trim().is_empty()) {
            return err("`kafka.group` is empty: name the consumer group that the engines share");
        }
        if kafka.instance.is_none() {
            return err(
                "`kafka.group` needs `kafka.instance`: a name of this engine's own that stays the same, such as env:HOSTNAME",
            );
        }
        if self.store.is_none() {
            return err(
                "`kafka.group` needs `store`: engines share one PostgreSQL database, a SQLite file has one engine",
            );
        }
        if self.sources.iter().any(|s| s.file.is_some()) {
            return err("a `file` source is on one machine only: remove it, or run that engine without `kafka.group`");
        }
        if self.sources.iter().all(|s| s.kafka.is_none()) {
            return err("`kafka.group` shares out the partitions of topics: name a source with a topic");
        }
        Ok(())
    }

    /// The retention, as the store takes it.
    pub fn retention(&self) -> paramedic_store::Retention {
        let RetentionConfig { records, dead_letters, journal } = self.retention;
        paramedic_store::Retention { records, dead_letters, journal }
    }

    /// The operator's grants.
    pub fn grants(&self) -> Grants {
        Grants::List(self.grants.clone())
    }
}

impl SourceConfig {
    /// Its format.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn format(&self) -> Result<&'static Format, ConfigError> {
        paramedic_formats::format(&self.format).ok_or_else(|| {
            let known: Vec<_> = paramedic_formats::FORMATS.iter().map(|f| f.name).collect();
            ConfigError(format!(
                "source {}: no format is named {:?}; there are {}",
                self.name,
                self.format,
                known.join(", ")
            ))
        })
    }

    /// Its scope expression.
    ///
    /// # Errors
    /// When it is no path of an event.
    pub fn scope(&self) -> Result<Option<ScopeExpr>, ConfigError> {
        self.scope
            .as_deref()
            .map(|text| ScopeExpr::parse(text).map_err(|e| ConfigError(format!("source {}: scope: {e}", self.name))))
            .transpose()
    }
}

/// Reads a secret from `env:NAME` or `file:PATH`. The value is never part of an error.
///
/// # Errors
/// When the reference is of another form, or what it names is not there.
pub fn secret(reference: &str) -> Result<String, ConfigError> {
    let value = if let Some(name) = reference.strip_prefix("env:") {
        std::env::var(name).map_err(|_| ConfigError(format!("the environment variable {name} is not set")))?
    } else if let Some(path) = reference.strip_prefix("file:") {
        std::fs::read_to_string(path).map_err(|e| ConfigError(format!("secret file {path}: {e}")))?
    } else {
        return Err(ConfigError("a secret is written as env:NAME or file:PATH, never as itself".to_owned()));
    };
    let value = value.trim_end_matches(['\r', '\n']).to_owned();
    if value.is_empty() {
        return Err(ConfigError(format!("the secret of {reference} is empty")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotated_example_is_a_right_configuration() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/paramedic.yaml");
        Config::read(&path).unwrap();
    }

    #[test]
    fn a_wrong_configuration_names_the_place_and_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("paramedic.yaml");
        for (text, expected) in [
            ("clustr: x", "unknown field `clustr`"),
            ("sources: [{name: a}]", "exactly one of `kafka`, `webhook`, `file`"),
            ("sources: [{name: a, webhook: {}, format: nagios}]", "no format is named \"nagios\""),
            ("sources: [{name: a, kafka: {topic: t}}]", "`kafka.brokers` is not set"),
            ("kafka: {brokers: b, group: g}\nsources: [{name: a, kafka: {topic: t}}]", "needs `kafka.instance`"),
            ("kafka: {brokers: b, group: g, instance: i}\nsources: [{name: a, kafka: {topic: t}}]", "needs `store`"),
            (
                "store: env:DB\nkafka: {brokers: b, group: g, instance: i}\nsources: [{name: a, file: {path: f}}]",
                "a `file` source is on one machine only",
            ),
            ("limits: {max_action_age: soon}", "write a number and a unit"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Config::read(&path).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("paramedic.yaml"), "{text}: {error}");
        }
    }

    #[test]
    fn a_secret_is_a_reference_and_never_itself() {
        assert!(secret("hunter2").unwrap_err().to_string().contains("env:NAME"));
        assert!(!secret("hunter2").unwrap_err().to_string().contains("hunter2"));
    }
}
