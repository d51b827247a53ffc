//! Whether the server is still the one that the store knows: after a restore or a failover the end of what once was
//! may be missing, and somebody must look before anything is done again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use paramedic_model::Timestamp;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::error::{Fault, column, json};
use super::meta;
use crate::rules::refused;
use crate::{Recovered, StoreError};

const CONTEXT: &str = "opening the store";

/// Of the cluster's files, and of the history of its log; `None` where the role may not ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) system: Option<String>,
    pub(super) timeline: Option<String>,
}

/// What a store was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Whole,
    /// To be looked at.
    ReadOnly,
}

/// The server, as it was when the store was opened.
pub(super) struct Server {
    /// `user@host:port/database`, for people.
    pub(super) place: String,
    pub(super) schema: String,
    pub(super) access: Access,
    /// `None` before the store is open.
    known: Mutex<Option<Identity>>,
    /// How often another server answered than before.
    ends_lost: AtomicU64,
    /// Whether it was said that its identity cannot be asked.
    warned: AtomicBool,
}

impl Server {
    pub(super) fn new(place: String, schema: String, access: Access) -> Self {
        Self {
            place,
            schema,
            access,
            known: Mutex::default(),
            ends_lost: AtomicU64::default(),
            warned: AtomicBool::default(),
        }
    }

    pub(super) fn set_known(&self, found: Identity) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }

    pub(super) fn ends_lost(&self) -> u64 {
        self.ends_lost.load(Ordering::Acquire)
    }

    fn known(&self) -> Option<Identity> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A new connection: after a failover it is to another server.
pub(super) async fn meet(server: &Server, client: &Client) -> Result<(), Fault> {
    if server.access == Access::ReadOnly {
        // The server itself refuses what would write.
        client.batch_execute("SET default_transaction_read_only = on").await?;
        return Ok(());
    }
    let found = look(server, client).await?;
    if server.known().is_some_and(|known| known != found) {
        compare(client, &found).await?;
        // Before anything is read or written through this connection.
        server.ends_lost.fetch_add(1, Ordering::AcqRel);
        server.set_known(found);
    }
    Ok(())
}

/// Which server answers.
///
/// # Errors
/// A standby: it takes no writes.
pub(super) async fn look(server: &Server, client: &Client) -> Result<Identity, Fault> {
    let row = client.query_one("SELECT pg_is_in_recovery()", &[]).await?;
    if column::<bool>(CONTEXT, &row, 0)? {
        let cause = "the server is a standby, or still recovering: it takes no writes; point the store's URL to the \
                     primary (several hosts with target_session_attrs=read-write find it)";
        return Err(StoreError::Away { context: CONTEXT, cause: cause.to_owned() }.into());
    }
    // The last checkpoint may still be of the timeline before; the log that is written now is not.
    let ask = "SELECT (SELECT system_identifier::text FROM pg_control_system()),
                      substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
    match client.query_one(ask, &[]).await {
        Ok(row) => Ok(Identity { system: column(CONTEXT, &row, 0)?, timeline: column(CONTEXT, &row, 1)? }),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            if !server.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "the store's role may not call pg_control_system(): a failover or a restore is not noticed by \
                     itself; GRANT pg_monitor to it, or run `paramedic` with care after one (docs/operations.md)"
                );
            }
            Ok(Identity::default())
        }
        Err(error) => Err(error.into()),
    }
}

/// Compares with what the store knows, and says so there where it differs.
pub(super) async fn compare(client: &Client, found: &Identity) -> Result<(), Fault> {
    client.batch_execute("BEGIN; LOCK TABLE meta IN SHARE ROW EXCLUSIVE MODE").await?;
    let done = compare_locked(client, found).await;
    client.batch_execute(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    done
}

async fn compare_locked(client: &Client, found: &Identity) -> Result<(), Fault> {
    let mut why = Vec::new();
    // A dump that is put back makes its tables anew, also in the server that it was made of.
    let row = client.query_one("SELECT 'meta'::regclass::oid::text", &[]).await?;
    let tables: Option<String> = column(CONTEXT, &row, 0)?;
    let parts = [
        ("system_identifier", &found.system, "the server's system identifier"),
        ("timeline", &found.timeline, "its timeline"),
        ("tables", &tables, "the number of its table meta"),
    ];
    for (key, value, name) in parts {
        let Some(value) = value else { continue };
        let row = client.query_opt("SELECT value FROM meta WHERE key = $1", &[&key]).await?;
        let known: Option<String> = row.map(|row| column(CONTEXT, &row, 0)).transpose()?;
        if known.as_ref() == Some(value) {
            continue;
        }
        client.execute(meta::PUT, &[&key, value]).await?;
        if let Some(known) = known {
            why.push(format!("{name} was {known} and is {value}"));
        }
    }
    if why.is_empty() {
        return Ok(());
    }
    let why = format!("{}: it was restored, or has failed over", why.join(", "));
    tracing::warn!(why, "the store may lack the end of what once was");
    let text = json(CONTEXT, &Recovered { at: wall_clock(), why })?;
    client.execute(meta::PUT, &[&meta::RECOVERED, &text]).await?;
    Ok(())
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    Timestamp::from_nanos(i64::try_from(since).unwrap_or(i64::MAX))
}

/// Whether what the server promises is enough.
///
/// # Errors
/// Settings under which what was committed may be gone after a crash.
pub(super) async fn check_settings(client: &Client) -> Result<(), Fault> {
    let row = client
        .query_one(
            "SELECT current_setting('synchronous_commit'), current_setting('fsync'),
                    current_setting('full_page_writes'), current_setting('server_version_num')::int,
                    current_setting('server_encoding')",
            &[],
        )
        .await?;
    let setting = |at| column::<String>(CONTEXT, &row, at);
    let fail = |cause: String| Err(refused(CONTEXT, cause).into());
    let synchronous = setting(0)?;
    if !matches!(synchronous.as_str(), "on" | "remote_apply") {
        return fail(format!(
            "synchronous_commit is {synchronous}: what was committed, requests that have left among it, may be gone \
             after a crash; ALTER ROLE ... SET synchronous_commit = on"
        ));
    }
    for (at, name) in [(1, "fsync"), (2, "full_page_writes")] {
        if setting(at)? != "on" {
            return fail(format!(
                "{name} is off: a power cut may destroy the store; set {name} = on in postgresql.conf"
            ));
        }
    }
    let version: i32 = column(CONTEXT, &row, 3)?;
    if version < 130_000 {
        return fail(format!("the server is PostgreSQL {}: 13 is the oldest that is supported", version / 10_000));
    }
    let encoding = setting(4)?;
    if encoding != "UTF8" {
        return fail(format!("the database's encoding is {encoding}: create it with ENCODING 'UTF8'"));
    }
    Ok(())
}
