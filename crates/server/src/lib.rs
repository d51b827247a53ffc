//! HTTP: the API, the pages, the webhooks, the metrics (docs/api.md).
//!
//! It writes the inbox and reads records; it calls no engine, but for the person's word on an outbox row that
//! nobody knows about. Nothing here decides. A GET changes nothing.

mod access;
mod acts;
mod app;
mod batcher;
mod cmdb;
mod error;
mod events;
mod extract;
mod halts;
mod incidents;
mod inputs;
mod listen;
mod metrics;
mod offsets;
mod pages;
mod recovered;
mod rules;
mod runs;
mod status;
mod timeline;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};
use paramedic_formats::Format;
use paramedic_store::{HaltFile, Store};
use secrecy::SecretString;

use crate::app::App;
pub use crate::listen::serve;

/// The largest body that is read, in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// What the server is told by configuration.
#[derive(Debug)]
pub struct ServerConfig {
    /// The cluster's name.
    pub cluster: String,
    /// What a POST under `/api/v1` must bear. `None`: such a POST is taken from loopback only.
    pub token: Option<SecretString>,
    /// Who may send events.
    pub webhooks: Vec<WebhookSource>,
    /// The halt switch's local half.
    pub halt_file: HaltFile,
    /// The program's version.
    pub version: &'static str,
    /// Takes rules from the folder again. `None`: there is no folder.
    pub reload: Option<Reload>,
}

/// Reads the folder of rules again for somebody, checks them, runs their scenarios and publishes them; they are put back
/// where they were followed by others, if that is said. Blocks.
#[derive(Clone)]
pub struct Reload(pub Arc<TakeAgain>);

/// Who has it taken again, and whether rules are put back that others have followed.
pub type TakeAgain = dyn Fn(&str, bool) -> Reloaded + Send + Sync;

impl std::fmt::Debug for Reload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reload")
    }
}

/// What taking rules again came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// One word: `published`, `unchanged`, or why not.
    pub result: &'static str,
    /// Nothing is wrong with the folder.
    pub well: bool,
    /// Of what the folder holds, where it loads.
    pub digest: Option<paramedic_model::Digest>,
    /// What is wrong, for people.
    pub problems: Vec<String>,
}

/// A source that sends events to `POST /api/v1/events/NAME`.
#[derive(Debug)]
pub struct WebhookSource {
    /// The configured name, which is also the path's last part.
    pub name: String,
    /// How its bytes are decoded: not here, but later and in order.
    pub format: &'static Format,
    /// What a sender must bear.
    pub auth: WebhookAuth,
}

/// How a webhook's sender shows who it is.
#[derive(Debug)]
pub enum WebhookAuth {
    /// `Authorization: Bearer TOKEN`.
    Bearer(SecretString),
    /// `Authorization: Basic`, of user and password.
    Basic {
        /// The user's name; no colon in it.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// Nothing: taken from loopback only.
    None,
}

/// Whether the engine is ready, and what it tells about itself.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    /// Whether it takes input and works on it.
    pub ready: bool,
    /// Why not, or what is to be known.
    pub reasons: Vec<String>,
    /// An object whose members are merged into `/api/v1/status`.
    pub status: serde_json::Value,
}

/// Tells how the engine is.
pub type ReadinessProbe = Arc<dyn Fn() -> Readiness + Send + Sync>;

/// Everything that is served. Needs no runtime to be built; starts one thread, which writes what webhooks bring,
/// and ends with the router.
pub fn router(
    config: ServerConfig,
    store: Arc<dyn Store>,
    registry: prometheus::Registry,
    readiness: ReadinessProbe,
) -> Router {
    let app = Arc::new(App::new(config, store, registry, readiness));
    let reads = Router::new()
        .route("/api/v1/incidents", get(incidents::list))
        .route("/api/v1/incidents/{incident}", get(incidents::show))
        .route("/api/v1/runs", get(runs::list))
        .route("/api/v1/runs/{run}", get(runs::show))
        .route("/api/v1/halts", get(halts::list))
        .route("/api/v1/offsets", get(offsets::list))
        .route("/api/v1/recovered", get(recovered::show))
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/cis", get(cmdb::list))
        .route("/api/v1/dead-letters", get(status::dead_letters))
        .route("/api/v1/audit", get(status::audit))
        .route("/api/v1/inputs", get(inputs::show))
        .route("/metrics", get(metrics::metrics))
        .route("/health", get(status::health))
        .route("/ready", get(status::ready))
        .route("/", get(pages::incidents))
        .route("/incidents/{incident}", get(pages::incident))
        .route("/dead-letters", get(pages::dead_letters))
        .route("/style.css", get(pages::style));
    let acts = Router::new()
        .route("/api/v1/incidents/{incident}/ack", post(acts::acknowledge))
        .route("/api/v1/incidents/{incident}/resolve", post(acts::resolve))
        .route("/api/v1/runs/{run}/approve", post(acts::approve))
        .route("/api/v1/runs/{run}/reject", post(acts::reject))
        .route("/api/v1/runs/{run}/settle", post(acts::settle))
        .route("/api/v1/halt", post(halts::halt))
        .route("/api/v1/resume", post(halts::resume))
        .route("/api/v1/cmdb", post(cmdb::import))
        .route("/api/v1/offsets/rewind", post(offsets::rewind))
        .route("/api/v1/recovered", delete(recovered::end))
        .route("/api/v1/rules/publish", post(rules::publish))
        .route("/api/v1/rules/reload", post(rules::reload))
        .route_layer(axum::middleware::from_fn_with_state(Arc::clone(&app), access::require_token));
    let hooks = Router::new().route("/api/v1/events/{source}", post(events::receive));
    let all =
        reads.merge(acts).merge(hooks).fallback(error::no_such_path).method_not_allowed_fallback(error::no_such_method);
    access::bounded(all, &app).with_state(app)
}
