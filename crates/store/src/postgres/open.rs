//! Opening: which server, whether it keeps what it promises, which schema.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime as PoolRuntime,
    TimeoutType,
};
use tokio::runtime::Builder;

use super::error::Fault;
use super::identity::{self, Access, Server};
use super::url::Address;
use super::{PostgresStore, Shared, block, schema, transaction};
use crate::rules::refused;
use crate::{Result, StoreError};

const OPENING: &str = "opening the store";
/// All connections are at work: so long is one waited for.
const WAIT: Duration = Duration::from_secs(10);
/// A connection with TLS, password and settings.
const CONNECT: Duration = Duration::from_secs(10);

impl PostgresStore {
    /// Opens the store at `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=...&sslrootcert=...&schema=...`: makes
    /// the schema where there is none, and brings it up to date. Several processes may do so at once. The password is
    /// in no error and in no `Debug`.
    ///
    /// # Errors
    /// [`StoreError::Away`] when no primary server answers; [`StoreError::Other`] for a URL that cannot be read, a
    /// wrong password, a certificate that is not trusted, another program's or a newer Paramedic's schema, and for
    /// settings under which what was committed may be lost (`synchronous_commit`, `fsync`).
    pub fn open(url: &str) -> Result<Self> {
        let address = Address::parse(url)?;
        let place = address.place();
        Self::at(address, Access::Whole).map_err(|error| named(&place, error))
    }

    /// Opens an existing store to look at it, while engines may be running on it, also on a standby. Nothing is changed:
    /// neither its schema nor what it knows of its server, and whatever would write is refused.
    ///
    /// # Errors
    /// As [`PostgresStore::open`], but for the server's settings; and when there is no store, or one with an older
    /// schema.
    pub fn open_read_only(url: &str) -> Result<Self> {
        let address = Address::parse(url)?;
        let place = address.place();
        Self::at(address, Access::ReadOnly).map_err(|error| named(&place, error))
    }

    fn at(address: Address, access: Access) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("postgres")
            .enable_all()
            .build()
            .map_err(|e| refused(OPENING, e))?;
        let shared = shared(&address, access)?;
        let opened = block::block_on(runtime.handle(), async {
            match access {
                Access::Whole => open(&shared).await,
                Access::ReadOnly => {
                    let schema = &shared.server.schema;
                    transaction::read(&shared, OPENING, transaction::ANSWER, async |tx| {
                        schema::check_readable(tx, schema).await
                    })
                    .await
                }
            }
        });
        let store = Self { shared, runtime: Some(runtime) };
        opened.map(|()| store)
    }
}

async fn open(shared: &Shared) -> Result<()> {
    let told = |fault: Fault| fault.told(OPENING);
    let client = shared.connection().await.map_err(told)?;
    identity::check_settings(&client).await.map_err(told)?;
    let found = identity::look(&shared.server, &client).await.map_err(told)?;
    drop(client);
    transaction::write(shared, OPENING, transaction::PATIENT, async |tx| {
        schema::migrate(tx, &shared.server.schema).await
    })
    .await?;
    let client = shared.connection().await.map_err(told)?;
    identity::compare(&client, &found).await.map_err(told)?;
    shared.server.set_known(found);
    Ok(())
}

fn shared(address: &Address, access: Access) -> Result<Shared> {
    let server = Arc::new(Server::new(address.place(), address.schema.clone(), access));
    let manager = Manager::from_config(
        address.config.clone(),
        address.connector()?,
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    let here = Arc::clone(&server);
    let meet = Hook::async_fn(move |client, _| {
        let server = Arc::clone(&here);
        Box::pin(async move {
            let met = identity::meet(&server, client).await;
            met.map_err(|fault| HookError::message(fault.told(OPENING).to_string()))
        })
    });
    let pool = Pool::builder(manager)
        .max_size(address.pool_size)
        .runtime(PoolRuntime::Tokio1)
        .wait_timeout(Some(WAIT))
        .create_timeout(Some(CONNECT))
        .recycle_timeout(Some(CONNECT))
        .post_create(meet)
        .build()
        .map_err(|e| refused(OPENING, e))?;
    Ok(Shared { pool, server, homes: Mutex::default() })
}

impl Shared {
    /// A connection that works, as far as is known.
    pub(super) async fn connection(&self) -> std::result::Result<Object, Fault> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => Fault::Sql(error),
            PoolError::Timeout(TimeoutType::Wait) => {
                let size = self.pool.status().max_size;
                Fault::Lost(format!("all {size} connections are at work; raise pool_size in the store's URL"))
            }
            PoolError::Timeout(_) => Fault::Lost(format!("no connection in {} s", CONNECT.as_secs())),
            PoolError::PostCreateHook(HookError::Message(said)) => Fault::Lost(said.into_owned()),
            PoolError::PostCreateHook(HookError::Backend(error)) => Fault::Sql(error),
            PoolError::Closed => Fault::Lost("the store is being closed".to_owned()),
            PoolError::NoRuntimeSpecified => Fault::Store(refused(OPENING, "the pool has no runtime")),
        })
    }
}

/// Says which store it is about.
fn named(place: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::Corrupt(why) => StoreError::Corrupt(format!("{place}: {why}")),
        StoreError::Away { context, cause } => StoreError::Away { context, cause: format!("{place}: {cause}") },
        StoreError::Other { context, cause } => StoreError::Other { context, cause: format!("{place}: {cause}") },
        other => other,
    }
}
