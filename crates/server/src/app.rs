//! What all handlers share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::http::StatusCode;
use paramedic_model::{Timestamp, faults};
use paramedic_store::{HaltFile, Store};
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::Semaphore;

use crate::access::Credential;
use crate::batcher::Batcher;
use crate::error::ApiError;
use crate::metrics::Gauges;
use crate::{ReadinessProbe, Reload, ServerConfig, WebhookAuth};

/// Calls of the store at one time.
const STORE_CALLS: usize = 16;
/// Requests at one time; more are answered with 503.
const REQUESTS: usize = 512;
/// Webhook bodies in memory at one time, in bytes.
const HOOK_BYTES: usize = 64 << 20;

/// Shared by all handlers.
pub(crate) struct App {
    pub(crate) cluster: String,
    pub(crate) version: &'static str,
    pub(crate) token: Credential,
    /// What a source's senders must bear.
    pub(crate) hooks: BTreeMap<String, Credential>,
    pub(crate) halt_file: HaltFile,
    pub(crate) reload: Option<Reload>,
    /// The halt file is read, changed and written: one at a time.
    pub(crate) halt_lock: Mutex<()>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Registry,
    pub(crate) readiness: ReadinessProbe,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) hook_bytes: Arc<Semaphore>,
    pub(crate) batcher: Batcher,
    pub(crate) gauges: Gauges,
    /// One walk over the history at a time.
    pub(crate) auditing: Arc<Semaphore>,
    /// One reload of the rules at a time: people's acts must not wait for several.
    pub(crate) reloading: Arc<Semaphore>,
    /// Webhook requests by (source, outcome).
    pub(crate) received: Option<IntCounterVec>,
    store_calls: Arc<Semaphore>,
    started: i64,
    made: AtomicU64,
}

impl App {
    pub(crate) fn new(
        config: ServerConfig,
        store: Arc<dyn Store>,
        registry: Registry,
        readiness: ReadinessProbe,
    ) -> Self {
        let hooks = config.webhooks.into_iter().map(|w| {
            let credential = match w.auth {
                WebhookAuth::Bearer(token) => Credential::bearer(&token),
                WebhookAuth::Basic { user, password } => Credential::basic(&user, &password),
                WebhookAuth::None => Credential::Loopback,
            };
            tracing::info!(source = w.name, format = w.format.name, "a webhook is served");
            (w.name, credential)
        });
        Self {
            cluster: config.cluster,
            version: config.version,
            token: config.token.as_ref().map_or(Credential::Loopback, Credential::bearer),
            hooks: hooks.collect(),
            halt_file: config.halt_file,
            reload: config.reload,
            halt_lock: Mutex::new(()),
            batcher: Batcher::start(Arc::clone(&store)),
            received: counter(&registry),
            store,
            registry,
            readiness,
            requests: Arc::new(Semaphore::new(REQUESTS)),
            hook_bytes: Arc::new(Semaphore::new(HOOK_BYTES)),
            gauges: Gauges::default(),
            auditing: Arc::new(Semaphore::new(1)),
            reloading: Arc::new(Semaphore::new(1)),
            store_calls: Arc::new(Semaphore::new(STORE_CALLS)),
            started: now().as_nanos(),
            made: AtomicU64::new(0),
        }
    }

    /// As [`App::blocking`], for what is done once at a time; `busy` where it is under way. It is until the work is done,
    /// also when nobody waits for the answer any more.
    pub(crate) async fn alone<T: Send + 'static>(
        self: &Arc<Self>,
        of: &Arc<Semaphore>,
        busy: ApiError,
        work: impl FnOnce(&App) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Ok(turn) = Arc::clone(of).try_acquire_owned() else { return Err(busy) };
        let in_turn = move |app: &App| {
            let _turn = turn;
            work(app)
        };
        self.blocking(in_turn).await
    }

    /// Runs what blocks (the store, the halt file) on a thread for it, so many at a time.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&App) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let gone = |_| ApiError::overloaded("paramedic is stopping");
        let place = Arc::clone(&self.store_calls).acquire_owned().await.map_err(gone)?;
        let app = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&app);
            drop(place);
            done
        });
        done.await.unwrap_or_else(|e| {
            tracing::error!(error = %e, "a call of the store ended without a result");
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "an error within paramedic; its log tells more"))
        })
    }

    /// A writer's id that no other entry of the inbox has.
    pub(crate) fn fresh_id(&self, kind: &str) -> String {
        format!("{kind}|{:x}-{}", self.started, self.made.fetch_add(1, Ordering::Relaxed))
    }

    /// Counts a webhook request.
    pub(crate) fn count(&self, source: &str, outcome: &str) {
        if let Some(received) = &self.received {
            received.with_label_values(&[source, outcome]).inc();
        }
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)).plus(faults::clock_shift())
}

fn counter(registry: &Registry) -> Option<IntCounterVec> {
    let opts = Opts::new("paramedic_webhook_requests_total", "Requests to POST /api/v1/events/SOURCE.");
    let made = IntCounterVec::new(opts, &["source", "outcome"])
        .and_then(|c| registry.register(Box::new(c.clone())).map(|()| c));
    made.inspect_err(|e| tracing::warn!(error = %e, "webhook requests are not counted")).ok()
}
