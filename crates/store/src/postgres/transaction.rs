//! One transaction, whatever happens to it on the way: done again where it met another one, looked up where nobody
//! knows whether it was committed.
//!
//! READ COMMITTED with explicit row locks, not SERIALIZABLE. The row of a shard in `shards` is the fence: whoever
//! writes for a shard locks it first, so that a shard's commits, its dispatcher's moves and its takeover stand in one
//! queue, and each sees all that the one before it wrote. Nothing else is read to decide on that another shard could
//! change meanwhile without a lock of its own (lanes, outbox rows, homes). SERIALIZABLE would give no more, and would
//! make batches of different shards, which share index pages, fail each other. Locks are taken in one order: shards,
//! positions, outbox rows, homes, lanes.
//!
//! A transaction has two steps, each one round trip: the locks and what is to be looked at; then all writes and the
//! COMMIT. Because the locks were granted before the COMMIT left, who asks for the same locks after a connection was
//! lost waits until that transaction has ended, and then knows.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use super::Shared;
use super::error::{Fault, Kind};
use super::identity::Access;
use crate::rules::refused;
use crate::{Result, StoreError};

/// So often a transaction is done again that met another one; the pauses double from 5 ms on.
const AGAIN: u32 = 8;
/// So long a commit that is in doubt is asked about.
const DOUBT: Duration = Duration::from_secs(20);
/// So long a transaction may take: more than the server allows itself for a statement. Beyond it the connection is
/// taken for dead.
pub(super) const ANSWER: Duration = Duration::from_secs(45);
/// For what reads or changes much: a whole shard, the whole history, the schema.
pub(super) const PATIENT: Duration = Duration::from_secs(1_800);

/// A statement with its values. Statements are prepared once per connection.
pub(super) struct Work<'a> {
    sql: &'static str,
    values: Vec<Box<dyn ToSql + Sync + 'a>>,
}

impl<'a> Work<'a> {
    pub(super) fn new(sql: &'static str) -> Self {
        Self { sql, values: Vec::new() }
    }

    /// With the next value.
    pub(super) fn with(mut self, value: impl ToSql + Sync + 'a) -> Self {
        self.values.push(Box::new(value));
        self
    }

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }
}

/// A request that has left; requests behind it need not wait for its answer.
enum Sent<'a, T> {
    Answered(T),
    Waiting(Pin<Box<dyn Future<Output = T> + 'a>>),
}

impl<'a, T> Sent<'a, T> {
    /// The client puts a request on the wire when it is polled first.
    fn now(request: impl Future<Output = T> + 'a) -> Self {
        let mut request: Pin<Box<dyn Future<Output = T> + 'a>> = Box::pin(request);
        match request.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Sent::Answered(answer),
            Poll::Pending => Sent::Waiting(request),
        }
    }

    async fn answer(self) -> T {
        match self {
            Sent::Answered(answer) => answer,
            Sent::Waiting(request) => request.await,
        }
    }
}

/// A connection with a transaction on it.
pub(super) struct Tx<'a> {
    client: &'a Object,
    /// Whether an earlier try may have been committed: look before anything is refused.
    pub(super) doubt: bool,
    answered: Cell<bool>,
    commit_left: Cell<bool>,
}

impl Tx<'_> {
    pub(super) fn client(&self) -> &Object {
        self.client
    }

    /// Begins; gives the answers to what is asked, in order. One round trip.
    pub(super) async fn begin(&self, questions: Vec<Work<'_>>) -> std::result::Result<Vec<Vec<Row>>, Fault> {
        let statements = self.prepared(&questions).await?;
        let begin = Sent::now(self.client.batch_execute("BEGIN"));
        let sent: Vec<_> = questions.iter().zip(&statements).map(|(work, st)| self.query(work, st)).collect();
        begin.answer().await?;
        self.answered.set(true);
        answers(sent).await
    }

    /// Asks more. One round trip.
    pub(super) async fn ask(&self, questions: Vec<Work<'_>>) -> std::result::Result<Vec<Vec<Row>>, Fault> {
        let statements = self.prepared(&questions).await?;
        answers(questions.iter().zip(&statements).map(|(work, st)| self.query(work, st)).collect()).await
    }

    /// Does all of it, in order, and commits. One round trip.
    pub(super) async fn commit(&self, works: Vec<Work<'_>>) -> std::result::Result<(), Fault> {
        let statements = self.prepared(&works).await?;
        let sent: Vec<_> = works
            .iter()
            .zip(&statements)
            .map(|(work, statement)| Sent::now(self.client.execute_raw(statement, work.values())))
            .collect();
        // Behind a statement that fails, the server makes a ROLLBACK of it: the failure is the first thing read here.
        self.commit_left.set(true);
        let commit = Sent::now(self.client.batch_execute("COMMIT"));
        paramedic_model::faults::point("postgres.commit_sent");
        for one in sent {
            one.answer().await?;
        }
        commit.answer().await?;
        Ok(())
    }

    fn query<'q>(
        &'q self,
        work: &'q Work<'_>,
        statement: &'q Statement,
    ) -> Sent<'q, std::result::Result<Vec<Row>, Error>> {
        Sent::now(async move { self.client.query(statement, &work.values()).await })
    }

    async fn prepared(&self, works: &[Work<'_>]) -> std::result::Result<Vec<Statement>, Fault> {
        let mut statements = Vec::with_capacity(works.len());
        for work in works {
            statements.push(self.client.prepare_cached(work.sql).await?);
        }
        Ok(statements)
    }
}

async fn answers(
    sent: Vec<Sent<'_, std::result::Result<Vec<Row>, Error>>>,
) -> std::result::Result<Vec<Vec<Row>>, Fault> {
    let mut out = Vec::with_capacity(sent.len());
    for one in sent {
        out.push(one.answer().await?);
    }
    Ok(out)
}

/// Does `work` in one transaction, as often as it takes. Where `work` returns without having committed, nothing is
/// written.
pub(super) async fn write<T>(
    shared: &Shared,
    context: &'static str,
    patience: Duration,
    work: impl AsyncFn(&Tx<'_>) -> std::result::Result<T, Fault>,
) -> Result<T> {
    if shared.server.access == Access::ReadOnly {
        return Err(refused(context, "the store was opened to be read only"));
    }
    let mut tries = Tries::default();
    loop {
        let client = match shared.connection().await {
            Ok(client) => client,
            Err(fault) => {
                tries.lost(context, fault, false).await?;
                continue;
            }
        };
        let tx = Tx {
            client: &client,
            doubt: tries.doubt.is_some(),
            answered: Cell::new(false),
            commit_left: Cell::new(false),
        };
        let done = in_time(patience, work(&tx)).await;
        let (answered, commit_left) = (tx.answered.get(), tx.commit_left.get());
        match done {
            Ok(value) => {
                if !commit_left {
                    roll_back(client).await;
                }
                return Ok(value);
            }
            Err(fault) => match fault.kind() {
                Kind::Final => {
                    roll_back(client).await;
                    return Err(fault.told(context));
                }
                Kind::Again => {
                    roll_back(client).await;
                    tries.met_another(context, fault).await?;
                }
                Kind::Lost => {
                    drop(Object::take(client));
                    if commit_left {
                        tries.doubt.get_or_insert_with(Instant::now);
                    }
                    tries.lost(context, fault, !answered).await?;
                }
            },
        }
    }
}

/// Reads; once more where the connection turned out to be dead.
pub(super) async fn read<T>(
    shared: &Shared,
    context: &'static str,
    patience: Duration,
    work: impl AsyncFn(&Tx<'_>) -> std::result::Result<T, Fault>,
) -> Result<T> {
    let mut again = true;
    loop {
        let client = shared.connection().await.map_err(|fault| fault.told(context))?;
        let tx = Tx { client: &client, doubt: false, answered: Cell::new(false), commit_left: Cell::new(false) };
        match in_time(patience, work(&tx)).await {
            Ok(value) => {
                if tx.answered.get() {
                    roll_back(client).await;
                }
                return Ok(value);
            }
            Err(fault) if fault.kind() == Kind::Lost => {
                drop(Object::take(client));
                if !std::mem::take(&mut again) {
                    return Err(fault.told(context));
                }
            }
            Err(fault) => {
                roll_back(client).await;
                return Err(fault.told(context));
            }
        }
    }
}

async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = std::result::Result<T, Fault>>,
) -> std::result::Result<T, Fault> {
    let late = |_| Err(Fault::Lost(format!("no answer in {} s", patience.as_secs())));
    tokio::time::timeout(patience, work).await.unwrap_or_else(late)
}

/// The connection is good again, or gone.
async fn roll_back(client: Object) {
    let done = tokio::time::timeout(Duration::from_secs(5), client.batch_execute("ROLLBACK")).await;
    if !matches!(done, Ok(Ok(()))) {
        drop(Object::take(client));
    }
}

/// What has been tried so far.
#[derive(Default)]
struct Tries {
    met: u32,
    lost: u32,
    /// Since when nobody knows whether it was committed.
    doubt: Option<Instant>,
}

impl Tries {
    async fn met_another(&mut self, context: &'static str, fault: Fault) -> Result<()> {
        self.met += 1;
        if self.met > AGAIN {
            return Err(fault.told(context));
        }
        pause(5 << self.met.min(6)).await;
        Ok(())
    }

    /// A connection that was dead before it was used says nothing about the server: another is taken, once.
    async fn lost(&mut self, context: &'static str, fault: Fault, unused: bool) -> Result<()> {
        self.lost += 1;
        let Some(since) = self.doubt else {
            return if unused && self.lost == 1 { Ok(()) } else { Err(fault.told(context)) };
        };
        if since.elapsed() > DOUBT {
            let cause = match fault.told(context) {
                StoreError::Away { cause, .. } | StoreError::Other { cause, .. } => cause,
                other => other.to_string(),
            };
            let cause = format!("{cause}; whether the last transaction was committed is not known");
            return Err(StoreError::Away { context, cause });
        }
        pause(50 << self.lost.min(4)).await;
        Ok(())
    }
}

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
