//! The live shell, put together: sources, three stages on threads of their own, the dispatcher.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::{self, JoinHandle};

use paramedic_model::Span;
use paramedic_rulebook::RuleSet;
use paramedic_runners::HttpRunner;
use paramedic_store::{HaltFile, Store};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, SourceConfig};
use crate::dispatch::{Dispatcher, Recipients};
use crate::keeper::Keeper;
use crate::matching::INBOX;
use crate::metrics::Metrics;
pub use crate::shared::{ActiveSet, Fence, Sets, Troubles};
use crate::source::Feed;

/// What the live shell is made of.
pub struct Parts {
    /// The configuration, checked.
    pub config: Config,
    /// The rule set, checked.
    pub set: Arc<RuleSet>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// For what a dashboard scrapes.
    pub metrics: Metrics,
}

/// A running engine.
pub struct Live {
    stop: Arc<AtomicBool>,
    cancel: CancellationToken,
    engine: Option<JoinHandle<()>>,
    dispatcher: Option<tokio::task::JoinHandle<()>>,
    troubles: Troubles,
    clock: Arc<AtomicI64>,
    failed: Arc<AtomicBool>,
}

impl Live {
    /// Starts everything. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the store cannot be read or a secret is missing.
    pub fn start(parts: Parts) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let cancel = CancellationToken::new();
        let (troubles, clock, failed) = (Troubles::default(), Arc::new(AtomicI64::new(0)), Arc::default());
        let fence = Fence::default();
        let wake = Arc::new(tokio::sync::Notify::new());
        let runner = HttpRunner::new(paramedic_runners::UrlPolicy::default()).map_err(|e| e.to_string())?;
        let dispatcher = Dispatcher {
            store: Arc::clone(&parts.store),
            halt_file: HaltFile::in_folder(&parts.config.data),
            runner: Arc::new(runner),
            recipients: Arc::new(recipients(&parts.config)),
            active: ActiveSet(Arc::clone(&parts.set)),
            fence: fence.clone(),
            max_action_age: parts.config.limits.max_action_age,
            metrics: parts.metrics.clone(),
            wake: Arc::clone(&wake),
        };
        let keeper = Keeper {
            sets: Arc::new(Sets::new(Arc::clone(&parts.store), Arc::clone(&parts.set))),
            parts,
            stop: Arc::clone(&stop),
            troubles: troubles.clone(),
            clock: Arc::clone(&clock),
            fence,
            wake,
            failed: Arc::clone(&failed),
        };
        // The shard is taken over before anything is dispatched: rows are started under its epoch.
        let image = keeper.take_over().map_err(|e| e.to_string())?;
        let engine = thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || keeper.keep(image))
            .map_err(|e| e.to_string())?;
        let dispatcher = tokio::spawn(dispatcher.run(cancel.clone()));
        Ok(Self { stop, cancel, engine: Some(engine), dispatcher: Some(dispatcher), troubles, clock, failed })
    }

    /// What is not right.
    pub fn troubles(&self) -> Troubles {
        self.troubles.clone()
    }

    /// The shard's clock.
    pub fn clock(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.clock)
    }

    /// Whether the engine has ended because it must not go on (another engine has taken over).
    pub fn failed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.failed)
    }

    /// Stops gathering, commits what has begun, waits for requests under way.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(engine) = self.engine.take() {
            let _ = tokio::task::spawn_blocking(move || engine.join()).await;
        }
        self.cancel.cancel();
        if let Some(dispatcher) = self.dispatcher.take() {
            let _ = dispatcher.await;
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
        .filter_map(|s| Some((s.name.clone(), Arc::new(feed(s, INBOX)?))))
        .collect()
}

/// A source's feed at a position. `None` only for a configuration that was not checked.
pub fn feed(source: &SourceConfig, position: &str) -> Option<Feed> {
    let (format, scope) = (source.format().ok()?, source.scope().ok()?);
    Some(Feed { source: source.name.clone(), position: position.to_owned(), format, scope })
}

/// The store of a configuration: SQLite in its data folder.
///
/// # Errors
/// When the folder cannot be made, or the store is in use or damaged.
pub fn open_store(data: &Path) -> Result<Arc<dyn Store>, String> {
    std::fs::create_dir_all(data).map_err(|e| format!("{}: {e}", data.display()))?;
    let path = data.join("paramedic.db");
    let store = paramedic_store::SqliteStore::open(&path).map_err(|e| e.to_string())?;
    Ok(Arc::new(store))
}
