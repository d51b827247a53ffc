//! Webhooks share transactions: one thread takes what is waiting, and appends it in one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use paramedic_model::{InboxBody, NewInbox};
use paramedic_store::{InboxPlace, Store};
use tokio::sync::{mpsc, oneshot};

use crate::error::ApiError;

/// Entries that may wait; more are refused.
const WAITING: usize = 1_024;
/// The largest batch, in entries and in bytes.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 8 << 20;

struct Waiting {
    entry: NewInbox,
    done: oneshot::Sender<Result<InboxPlace, String>>,
}

/// The way into the inbox for webhooks.
pub(crate) struct Batcher(mpsc::Sender<Waiting>);

impl Batcher {
    /// Starts its thread, which ends with the batcher.
    pub(crate) fn start(store: Arc<dyn Store>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new().name("paramedic-inbox".to_owned());
        if let Err(e) = thread.spawn(move || run(&*store, receiver)) {
            tracing::error!(error = %e, "webhooks are refused: no thread for them");
        }
        Self(sender)
    }

    /// Appends an entry; gives its place once it is durable.
    pub(crate) async fn append(&self, entry: NewInbox) -> Result<InboxPlace, ApiError> {
        let (done, wait) = oneshot::channel();
        self.0.try_send(Waiting { entry, done }).map_err(|_| ApiError::overloaded("the inbox cannot keep up"))?;
        if paramedic_model::faults::planted("ack_before_commit") {
            return Ok(InboxPlace { shard: 0, lane: paramedic_model::Lane::Inbox, seq: 0 });
        }
        match wait.await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(why)) => Err(ApiError::overloaded(why)),
            Err(_) => Err(ApiError::overloaded("paramedic is stopping")),
        }
    }
}

fn run(store: &dyn Store, mut waiting: mpsc::Receiver<Waiting>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut bytes = weight(&first.entry);
        let (mut entries, mut dones) = (vec![first.entry], vec![first.done]);
        while entries.len() < BATCH && bytes < BATCH_BYTES {
            let Ok(next) = waiting.try_recv() else { break };
            bytes += weight(&next.entry);
            entries.push(next.entry);
            dones.push(next.done);
        }
        let outcome = append(store, &entries);
        for (at, done) in dones.into_iter().enumerate() {
            let one = match &outcome {
                Ok(places) => places.get(at).copied().ok_or_else(|| "the store gave no position".to_owned()),
                Err(why) => Err(why.clone()),
            };
            // Who has gone meanwhile asks again, and brings it twice: the events' ids tell.
            let _ = done.send(one);
        }
    }
}

fn append(store: &dyn Store, entries: &[NewInbox]) -> Result<Vec<InboxPlace>, String> {
    // The bug shows when the process ends before the append: let the answer be gone by then.
    if paramedic_model::faults::planted("ack_before_commit") {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    match catch_unwind(AssertUnwindSafe(|| store.inbox_append(entries))) {
        Ok(Ok(places)) => Ok(places),
        Ok(Err(e)) => {
            tracing::error!(error = %e, entries = entries.len(), "the inbox was not written");
            Err(e.to_string())
        }
        Err(_) => {
            tracing::error!(entries = entries.len(), "the store panicked over the inbox");
            Err("an error within paramedic; its log tells more".to_owned())
        }
    }
}

fn weight(entry: &NewInbox) -> usize {
    match &entry.body {
        InboxBody::Message(message) => message.body.len(),
        _ => 0,
    }
}
