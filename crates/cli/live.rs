//! `paramedic run`: the engine, its page and its API, in one process.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use paramedic_model::{Digest, Grants, Timestamp};
use paramedic_rulebook::RuleSet;
use paramedic_runtime::{Config, Live, Metrics, Parts, Reading, open_store, secret};
use paramedic_server::{Readiness, Reload, ServerConfig, WebhookAuth, WebhookSource, router, serve};
use paramedic_store::{HaltFile, MemoryStore, Store};
use secrecy::SecretString;
use serde_json::json;

use crate::args::{EngineArgs, RunArgs};
use crate::reload::{self, Reloader};
use crate::{Done, Outcome, operate, rules};

pub(crate) fn run_or_list(args: RunArgs) -> Outcome {
    match args.command {
        Some(command) => operate::runs(command),
        None => run(&args.engine),
    }
}

fn run(args: &EngineArgs) -> Outcome {
    logging(args.log_json, "info");
    let config = match &args.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    let grants = if args.dry_run { Grants::Observe } else { config.grants() };
    if args.config.is_none() && !config.rules.exists() {
        bail!(
            "there is no folder {} here, and no configuration was named.\n  help: begin with the rules of the \
             project (`rules/` beside its README), or write a rulebook into ./rules; `paramedic demo` shows the whole \
             loop without either",
            config.rules.display()
        );
    }
    let files = rules::read(std::slice::from_ref(&config.rules))?;
    let set = rules::set_of(&files, &config.rules, &grants)?;
    rules::check_configured(&set, &Reading::of(&config))?;
    let seen = reload::contents(&files);
    let store: Arc<dyn Store> =
        if args.dry_run { Arc::new(MemoryStore::new()) } else { open_store(&config).map_err(|e| anyhow!(e))? };
    welcome(args, &config, &set);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let engine = Engine::start(config, set, args.publish, store, Some((seen, grants))).await?;
        let failed = engine.wait().await;
        engine.stop().await;
        if failed {
            bail!("the engine has stopped itself: see the log");
        }
        eprintln!("stopped; what was begun is committed");
        Ok(Done::Well)
    })
}

/// Logs to stderr; `PARAMEDIC_LOG` sets what, as `debug` or `paramedic_runtime=debug`.
pub(crate) fn logging(as_json: bool, default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PARAMEDIC_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let ansi = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    let done = if as_json { builder.json().try_init() } else { builder.with_target(false).try_init() };
    if let Err(error) = done {
        eprintln!("no logs: {error}");
    }
}

fn welcome(args: &EngineArgs, config: &Config, set: &RuleSet) {
    let sources: Vec<String> = config
        .sources
        .iter()
        .map(|s| match (&s.kafka, &s.file) {
            (Some(topic), _) => format!("{} (Kafka topic {})", s.name, topic.topic),
            (_, Some(file)) => format!("{} (file {})", s.name, file.path.display()),
            _ => format!("{} (POST http://{}/api/v1/events/{})", s.name, config.listen, s.name),
        })
        .collect();
    eprintln!("paramedic {}  cluster {}", env!("CARGO_PKG_VERSION"), config.cluster);
    eprintln!("  rules    {}: {} rulebooks, {} rules", config.rules.display(), set.rulebooks.len(), set.rules.len());
    for book in &set.rulebooks {
        eprintln!("             {} acts with autonomy {}", book.name, set.autonomy(book).name());
    }
    let data = match &config.store {
        _ if args.dry_run => "memory: a dry run keeps nothing".to_owned(),
        Some(_) => format!("PostgreSQL (`store`); halt file and archive in {}", config.data.display()),
        None => config.data.display().to_string(),
    };
    let group = config.kafka.as_ref().and_then(|k| Some((k.group.as_ref()?, k.instance.as_ref()?)));
    eprintln!("  data     {data}");
    eprintln!("  sources  {}", sources.join(", "));
    if let Some((group, instance)) = group {
        eprintln!("  group    {group}, as {instance}");
    }
    eprintln!("  page     http://{}/   API http://{0}/api/v1/   metrics http://{0}/metrics", config.listen);
    if args.config.is_none() {
        eprintln!(
            "  No configuration file was named: these are the embedded defaults. To read events from Kafka, start from\n  \
             deploy/paramedic.yaml (set kafka.brokers and a source with a topic): paramedic run -c paramedic.yaml\n  \
             Runs of playbooks are only noted down (autonomy record) until `grants:` in that file allows more."
        );
    }
}

/// A running engine with its server.
pub(crate) struct Engine {
    live: Live,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    stop_server: tokio_util::sync::CancellationToken,
    stop_reloads: tokio_util::sync::CancellationToken,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Engine {
    /// Starts the shell and the server. `folder`: what the folder of rules held, and the grants: it is taken again when it
    /// changes, or somebody says so.
    pub(crate) async fn start(
        config: Config,
        set: Arc<RuleSet>,
        publish_again: bool,
        store: Arc<dyn Store>,
        folder: Option<(Digest, Grants)>,
    ) -> anyhow::Result<Self> {
        let token = config.token.as_deref().map(secret).transpose().context("token")?.map(SecretString::from);
        let webhooks = webhooks(&config)?;
        let listener = tokio::net::TcpListener::bind(&config.listen)
            .await
            .with_context(|| format!("listen on {}: is another engine running there?", config.listen))?;
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            let open = webhooks.iter().find(|w| matches!(w.auth, WebhookAuth::None));
            if token.is_none() || open.is_some() {
                bail!(
                    "{address} is not loopback: give `token: env:NAME` and every webhook source a token or basic \
                     credentials, or listen on 127.0.0.1"
                );
            }
        }
        let registry = prometheus_registry()?;
        let metrics = Metrics::new(&registry)?;
        let watch = config.rules_watch;
        let reloader = folder.map(|(seen, grants)| {
            Arc::new(Reloader {
                folder: config.rules.clone(),
                grants,
                reading: Reading::of(&config),
                alone: config.kafka.as_ref().is_none_or(|k| k.group.is_none()),
                store: Arc::clone(&store),
                reloads: metrics.rules_reloads.clone(),
                seen: Mutex::new(Some(seen)),
                refused: Mutex::new(None),
            })
        });
        let by_hand = reloader.clone().map(|reloader| Reload(Arc::new(move |by, again| reloader.reload(by, again))));
        let server_config = ServerConfig {
            cluster: config.cluster.clone(),
            token,
            webhooks,
            halt_file: HaltFile::in_folder(&config.data),
            version: env!("CARGO_PKG_VERSION"),
            reload: by_hand,
        };
        let digest = set.digest;
        let live = Live::start(Parts { config, set, publish_again, store: Arc::clone(&store), metrics })
            .map_err(|e| anyhow!(e))?;
        let (troubles, clocks, in_force) = (live.troubles(), live.clocks(), live.in_force());
        let taken_again = reloader.clone();
        let probe = Arc::new(move || {
            let reasons = troubles.list();
            let clocks = clocks.all();
            let clock = clocks.values().min().copied().unwrap_or(Timestamp::EPOCH);
            let by_shard = in_force.all();
            let rules = by_shard.values().next().copied().unwrap_or(digest);
            let refused = taken_again.as_ref().and_then(|reloader| reloader.last_refused());
            let status = json!({"clock": clock, "clocks": clocks, "rules": rules, "rules_by_shard": by_shard,
                                "rules_refused": refused});
            Readiness { ready: reasons.is_empty(), reasons, status }
        });
        let routes = router(server_config, store, registry, probe);
        let stop_server = tokio_util::sync::CancellationToken::new();
        let stopped = stop_server.clone().cancelled_owned();
        let server = tokio::spawn(serve(listener, routes, stopped));
        let stop_reloads = tokio_util::sync::CancellationToken::new();
        if let Some(reloader) = reloader {
            tokio::spawn(reload::keep(reloader, watch, stop_reloads.clone()));
        }
        Ok(Self { live, server, stop_server, stop_reloads, address })
    }

    /// What is not right with it.
    pub(crate) fn troubles(&self) -> Vec<String> {
        self.live.troubles().list()
    }

    /// Until a signal comes, or the engine must not go on (true).
    pub(crate) async fn wait(&self) -> bool {
        let failed = self.live.failed();
        let ended = async {
            while !failed.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::select! {
            () = signalled() => false,
            () = ended => true,
        }
    }

    /// Stops taking requests, then the shell: what was begun is committed.
    pub(crate) async fn stop(self) {
        self.stop_reloads.cancel();
        self.stop_server.cancel();
        if tokio::time::timeout(Duration::from_secs(5), self.server).await.is_err() {
            tracing::warn!("open HTTP connections were cut");
        }
        self.live.stop().await;
    }
}

async fn signalled() {
    let interrupt = tokio::signal::ctrl_c();
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        let _ = interrupt.await;
        return;
    };
    tokio::select! {
        _ = interrupt => {}
        _ = terminate.recv() => {}
    }
}

fn webhooks(config: &Config) -> anyhow::Result<Vec<WebhookSource>> {
    let mut all = Vec::new();
    for source in &config.sources {
        let Some(webhook) = &source.webhook else { continue };
        let read = |reference: &str| {
            secret(reference).map(SecretString::from).with_context(|| format!("source {}", source.name))
        };
        let auth = match (&webhook.token, &webhook.basic) {
            (Some(_), Some(_)) => bail!("source {}: give `token` or `basic`, not both", source.name),
            (Some(token), None) => WebhookAuth::Bearer(read(token)?),
            (None, Some(basic)) => WebhookAuth::Basic { user: basic.user.clone(), password: read(&basic.password)? },
            (None, None) => WebhookAuth::None,
        };
        all.push(WebhookSource { name: source.name.clone(), format: source.format()?, auth });
    }
    Ok(all)
}

fn prometheus_registry() -> anyhow::Result<prometheus::Registry> {
    let registry = prometheus::Registry::new();
    let info = prometheus::IntGaugeVec::new(
        prometheus::Opts::new("paramedic_build_info", "Always 1; the version is a label"),
        &["version"],
    )?;
    info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(info))?;
    Ok(registry)
}
