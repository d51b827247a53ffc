//! `paramedic demo`: the whole loop on embedded parts, judged by the playbook service's own log.

mod story;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use paramedic_model::{Grant, Grants, InboxBody, NewInbox};
use paramedic_runtime::config::{KafkaConfig, NotifyConfig, SourceConfig, Start, TopicConfig};
use paramedic_runtime::{Config, clock::wall, open_store};
use paramedic_store::Store;

use crate::args::{BreakPart, DemoArgs};
use crate::live::{Engine, logging};
use crate::{Done, Outcome};
use story::{Story, Verdict};
use world::World;

/// The demo gives up after this.
const PATIENCE: Duration = Duration::from_secs(40);
/// With the broker gone nothing will come.
const PATIENCE_WITHOUT_KAFKA: Duration = Duration::from_secs(8);

const RULEBOOK: &str = include_str!("demo/rules/demo.yaml");
const PLAYBOOKS: &str = include_str!("demo/rules/playbooks.yaml");
const CMDB: &str = "cis:\n  - { name: web-1, class: server, environment: demo }\n  \
                    - { name: db-1, class: server, environment: demo }\n";

pub(crate) fn demo(args: &DemoArgs) -> Outcome {
    logging(false, if args.verbose { "info" } else { "off" });
    let folder = tempfolder()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let verdict = runtime.block_on(play(args, &folder));
    drop(runtime);
    if let Err(error) = std::fs::remove_dir_all(&folder) {
        eprintln!("{} was left behind: {error}", folder.display());
    }
    match verdict? {
        Verdict::Closed => {
            println!(
                "\nThe loop closed: an event, a decision, a playbook, and monitoring's own evidence that it worked."
            );
            Ok(Done::Well)
        }
        Verdict::Open(why) => {
            println!("\nThe loop did not close: {why}");
            Ok(Done::Found)
        }
    }
}

fn tempfolder() -> anyhow::Result<std::path::PathBuf> {
    let folder = std::env::temp_dir().join(format!("paramedic-demo-{}-{}", std::process::id(), wall().as_nanos()));
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

async fn play(args: &DemoArgs, folder: &Path) -> anyhow::Result<Verdict> {
    let mut world = World::build(args.break_part).await?;
    let config = config(folder, &world, args.serve);
    let set = rules(&world, &config.grants())?;
    let store = open_store(&config).map_err(|e| anyhow!(e))?;
    import_cmdb(store.as_ref())?;
    let engine = Engine::start(config, set, false, Arc::clone(&store), None).await?;
    println!("Paramedic on embedded parts: a Kafka-protocol broker, SQLite, a playbook service, two hosts.");
    println!("Page: http://{}/\n", engine.address);
    world.begin()?;
    let mut story = Story::new(Arc::clone(&store));
    let patience = if args.break_part == Some(BreakPart::Kafka) { PATIENCE_WITHOUT_KAFKA } else { PATIENCE };
    let started = Instant::now();
    let verdict = loop {
        story.tell()?;
        if let Some(verdict) = story.verdict(&world)? {
            break verdict;
        }
        if started.elapsed() > patience {
            let troubles = engine.troubles();
            let why = if troubles.is_empty() { "time is up".to_owned() } else { troubles.join("; ") };
            break Verdict::Open(why);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    story.tell()?;
    story.summary(&world, &verdict)?;
    if args.serve {
        println!("\nThe page stays up at http://{}/ until Ctrl-C.", engine.address);
        engine.wait().await;
    }
    world.end();
    engine.stop().await;
    Ok(verdict)
}

fn config(folder: &Path, world: &World, serve: bool) -> Config {
    Config {
        cluster: "demo".to_owned(),
        data: folder.to_owned(),
        listen: if serve { "127.0.0.1:8600" } else { "127.0.0.1:0" }.to_owned(),
        kafka: Some(KafkaConfig {
            brokers: world.brokers(),
            group: None,
            instance: None,
            options: BTreeMap::new(),
        }),
        sources: vec![SourceConfig {
            name: "monitoring".to_owned(),
            kafka: Some(TopicConfig { topic: world::TOPIC.to_owned(), start: Start::Earliest }),
            webhook: None,
            file: None,
            format: "paramedic".to_owned(),
            scope: None,
        }],
        grants: vec![Grant {
            rulebook: "demo".to_owned(),
            autonomy: paramedic_model::Autonomy::Auto,
            playbooks: None,
            ci_classes: None,
            environments: None,
        }],
        notify: BTreeMap::from([(
            "default".to_owned(),
            NotifyConfig { url: world.endpoint_url("/notify"), token: None },
        )]),
        ..Config::default()
    }
}

fn rules(world: &World, grants: &Grants) -> anyhow::Result<Arc<paramedic_rulebook::RuleSet>> {
    let playbooks = PLAYBOOKS.replace("http://127.0.0.1:8700", world.endpoint_url("").trim_end_matches('/'));
    let files = BTreeMap::from([
        ("demo/rules/demo.yaml".to_owned(), RULEBOOK.to_owned()),
        ("demo/rules/playbooks.yaml".to_owned(), playbooks),
    ]);
    let loaded = paramedic_runtime::rules::load_with(&files, grants);
    match loaded.set {
        Some(set) => Ok(Arc::new(set)),
        None => {
            for diagnostic in &loaded.diagnostics {
                eprintln!("{diagnostic}");
            }
            bail!("the demo's own rules do not load")
        }
    }
}

fn import_cmdb(store: &dyn Store) -> anyhow::Result<()> {
    let at = wall();
    let delta =
        paramedic_formats::cmdb::parse(CMDB, "default", "import:demo", at, &|_| None).map_err(|e| anyhow!("{e}"))?;
    let body = InboxBody::Cmdb(delta);
    store.inbox_append(&[NewInbox { id: "demo|cmdb".to_owned(), scope: "default".to_owned(), at, body }])?;
    Ok(())
}
