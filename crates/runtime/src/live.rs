//! The live shell, put together: sources, three stages on threads of their own, the dispatcher.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};

use paramedic_model::Span;
use paramedic_rulebook::RuleSet;
use paramedic_runners::HttpRunner;
use paramedic_store::{HaltFile, PostgresStore, Published, SqliteStore, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::alone::Alone;
use crate::clock::wall;
use crate::config::{Config, SourceConfig, secret};
use crate::dispatch::{Dispatcher, Recipients};
use crate::emit::Emitter;
use crate::group::Group;
use crate::life::Shell;
use crate::metrics::Metrics;
use crate::retention;
pub use crate::shared::{Clocks, InForce, Owned, Sets, Stop, Troubles};
use crate::source::{Feed, kafka};

/// What the live shell is made of.
pub struct Parts {
    /// The configuration, checked.
    pub config: Config,
    /// The rule set, checked.
    pub set: Arc<RuleSet>,
    /// It is published even where another was published after it.
    pub publish_again: bool,
    /// The store.
    pub store: Arc<dyn Store>,
    /// For what a dashboard scrapes.
    pub metrics: Metrics,
}

/// A running engine.
pub struct Live {
    shell: Arc<Shell>,
    cancel: CancellationToken,
    threads: Vec<JoinHandle<()>>,
    dispatcher: Option<tokio::task::JoinHandle<()>>,
}

impl Live {
    /// Starts everything. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the store cannot be read or a secret is missing.
    pub fn start(parts: Parts) -> Result<Self, String> {
        let cancel = CancellationToken::new();
        let runner = HttpRunner::new(paramedic_runners::UrlPolicy::default()).map_err(|e| e.to_string())?;
        let sets = Arc::new(Sets::new(Arc::clone(&parts.store), Arc::clone(&parts.set)));
        let active = publish(&parts, &sets).map_err(|e| e.to_string())?;
        let grouped = parts.config.kafka.as_ref().is_some_and(|k| k.group.is_some());
        let in_force = InForce::new(parts.metrics.rules_info.clone());
        let shell = Arc::new(Shell {
            parts,
            in_force,
            sets,
            stop: Stop::default(),
            troubles: Troubles::default(),
            clocks: Clocks::default(),
            owned: Owned::default(),
            wake: Arc::new(tokio::sync::Notify::new()),
            failed: Arc::default(),
        });
        let dispatcher = Dispatcher {
            store: Arc::clone(&shell.parts.store),
            halt_file: HaltFile::in_folder(&shell.parts.config.data),
            runner: Arc::new(runner),
            recipients: Arc::new(recipients(&shell.parts.config)),
            emitter: Arc::new(Emitter::new(&shell.parts.config)),
            active,
            sets: Arc::clone(&shell.sets),
            owned: shell.owned.clone(),
            max_action_age: shell.parts.config.limits.max_action_age,
            metrics: shell.parts.metrics.clone(),
            wake: Arc::clone(&shell.wake),
        };
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|e| e.to_string())
        };
        let mut threads = Vec::new();
        if grouped {
            let group = Group { shell: Arc::clone(&shell) };
            threads.push(spawn("group", Box::new(move || group.keep()))?);
        } else {
            let alone = Alone { shell: Arc::clone(&shell) };
            // Taken over before anything is dispatched: rows are started under its epoch.
            let image = alone.load().map_err(|e| e.to_string())?;
            threads.push(spawn("engine", Box::new(move || alone.keep(image)))?);
        }
        let kept = Arc::clone(&shell);
        threads.push(spawn("retention", Box::new(move || retention::keep(&kept)))?);
        let dispatcher = tokio::spawn(dispatcher.run(cancel.clone()));
        Ok(Self { shell, cancel, threads, dispatcher: Some(dispatcher) })
    }

    /// What is not right.
    pub fn troubles(&self) -> Troubles {
        self.shell.troubles.clone()
    }

    /// The clocks of the shards that this engine owns.
    pub fn clocks(&self) -> Clocks {
        self.shell.clocks.clone()
    }

    /// The rule sets that the shards go by.
    pub fn in_force(&self) -> InForce {
        self.shell.in_force.clone()
    }

    /// Whether the engine has ended because it must not go on (another engine has taken over).
    pub fn failed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shell.failed)
    }

    /// Stops gathering, commits what has begun, waits for requests under way.
    pub async fn stop(mut self) {
        self.shell.stop.end_all();
        for thread in self.threads.drain(..) {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        self.cancel.cancel();
        if let Some(dispatcher) = self.dispatcher.take() {
            let _ = dispatcher.await;
        }
    }
}

/// Publishes the rule set of this process; gives the one that is active then. An engine alone goes by its own folder.
/// One of several does not put back a set that another engine has replaced since: an old one that restarts in the
/// middle of an upgrade would.
fn publish(parts: &Parts, sets: &Sets) -> Result<Arc<RuleSet>, StoreError> {
    let own = &parts.set;
    let alone = parts.config.kafka.as_ref().is_none_or(|k| k.group.is_none());
    parts.store.ruleset_put(own.digest, &own.sources)?;
    match parts.store.ruleset_publish(own.digest, wall(), alone || parts.publish_again)? {
        Published::Already => Ok(Arc::clone(own)),
        Published::Now => {
            tracing::info!(rules = %own.digest, "rules published");
            Ok(Arc::clone(own))
        }
        Published::Superseded(newer) => {
            tracing::warn!(
                own = %own.digest,
                active = %newer,
                "another engine has published other rules since: those are in force, not the ones of this folder \
                 (`paramedic run --publish` publishes these again)"
            );
            sets.get(newer).ok_or_else(|| StoreError::Other {
                context: "loading the rules in force",
                cause: format!("rule set {newer} does not load in this version: upgrade this engine"),
            })
        }
    }
}

fn recipients(config: &Config) -> Recipients {
    let mut recipients = Recipients::default();
    for (name, to) in &config.notify {
        let notifier =
            paramedic_runners::Notifier { url: to.url.clone(), token: to.token.clone(), timeout: Span::from_secs(10) };
        if name == "default" {
            recipients.default = Some(notifier);
        } else {
            recipients.by_name.insert(name.clone(), notifier);
        }
    }
    recipients
}

/// The feeds of webhook sources, by name.
pub fn webhook_feeds(sources: &[SourceConfig]) -> BTreeMap<String, Arc<Feed>> {
    sources
        .iter()
        .filter(|s| s.webhook.is_some())
        .filter_map(|s| Some((s.name.clone(), Arc::new(feed(s, paramedic_model::Lane::Inbox.name())?))))
        .collect()
}

/// The topics that are to be read.
pub(crate) fn topics(config: &Config) -> Vec<kafka::Topic> {
    let topic = |s: &SourceConfig| {
        let topic = s.kafka.as_ref()?;
        Some(kafka::Topic { name: topic.topic.clone(), start: topic.start, feed: feed(s, "")? })
    };
    config.sources.iter().filter_map(topic).collect()
}

/// A source's feed at a position. `None` only for a configuration that was not checked.
pub fn feed(source: &SourceConfig, position: &str) -> Option<Feed> {
    let (format, scope) = (source.format().ok()?, source.scope().ok()?);
    Some(Feed { source: source.name.clone(), position: position.into(), format, scope })
}

/// The store of a configuration: a PostgreSQL database, or a SQLite file in the data folder, which is made.
///
/// # Errors
/// When the folder cannot be made, or the store is away, in use or damaged.
pub fn open_store(config: &Config) -> Result<Arc<dyn Store>, String> {
    let data = &config.data;
    std::fs::create_dir_all(data).map_err(|e| format!("{}: {e}", data.display()))?;
    Ok(match store_url(config)? {
        Some(url) => Arc::new(PostgresStore::open(&url).map_err(|e| e.to_string())?),
        None => Arc::new(SqliteStore::open(&sqlite_path(config)).map_err(|e| e.to_string())?),
    })
}

/// The file of the embedded store.
pub fn sqlite_path(config: &Config) -> PathBuf {
    config.data.join("paramedic.db")
}

/// The URL of the store, where it is a PostgreSQL database.
///
/// # Errors
/// When the reference names nothing.
pub fn store_url(config: &Config) -> Result<Option<String>, String> {
    let Some(store) = &config.store else { return Ok(None) };
    if store.starts_with("env:") || store.starts_with("file:") {
        return secret(store).map(Some).map_err(|e| format!("store: {e}"));
    }
    Ok(Some(store.clone()))
}
