//! The store without an engine: which one it is, and its copy.

use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use paramedic_runtime::{Config, sqlite_path, store_url};
use paramedic_store::{PostgresStore, SqliteStore, Store};
use serde_json::json;

use crate::args::{BackupArgs, StoreArgs};
use crate::{Done, Outcome};

impl StoreArgs {
    fn config(&self) -> anyhow::Result<Config> {
        Ok(match &self.config {
            Some(path) => Config::read(path)?,
            None => Config { data: self.data.clone(), ..Config::default() },
        })
    }

    /// The store, to be looked at; an engine may be running on it.
    pub(crate) fn open(&self) -> anyhow::Result<Arc<dyn Store>> {
        open(&self.config()?)
    }
}

/// The store of a configuration, to be looked at; an engine may be running on it.
pub(crate) fn open(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    if let Some(url) = store_url(config).map_err(|e| anyhow!(e))? {
        return Ok(Arc::new(PostgresStore::open_read_only(&url)?));
    }
    Ok(Arc::new(embedded(config)?))
}

fn embedded(config: &Config) -> anyhow::Result<SqliteStore> {
    let path = sqlite_path(config);
    SqliteStore::open_read_only(&path).with_context(|| format!("{}: is this the engine's data folder?", path.display()))
}

/// Beside a running engine: what is copied is the store at one moment.
pub(crate) fn backup(args: &BackupArgs) -> Outcome {
    let config = args.store.config()?;
    if config.store.is_some() {
        bail!(
            "the store is a PostgreSQL database: back it up with its own means (pg_dump, or pg_basebackup with its \
             write-ahead log); docs/operations.md tells what to do after a restore"
        );
    }
    let path = sqlite_path(&config);
    embedded(&config)?.backup(&args.file).with_context(|| format!("{} was not copied", path.display()))?;
    let bytes = std::fs::metadata(&args.file).map(|m| m.len()).unwrap_or_default();
    if args.json {
        println!("{}", json!({"store": path, "backup": args.file, "bytes": bytes}));
    } else {
        println!("{} is copied to {}, {bytes} bytes", path.display(), args.file.display());
        println!(
            "To restore: stop the engine, move {} away with its -wal and -shm, put the copy in its place, and start. \
             Runs that change something then wait for a person: `paramedic recovered show`",
            path.display()
        );
    }
    Ok(Done::Well)
}
