//! The dispatcher: committed outbox rows, guards, `started`, and only then the request; the outcome goes back
//! through the inbox. One loop judges and starts; requests run beside each other.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use paramedic_engine::outbox::{Considered, GuardInput, adopt, after, consider};
use paramedic_model::{
    GuardSays, Halt, Id, Incident, NewInbox, Order, OutboxRow, OutboxState, Outcome, Playbook, Span, Timestamp,
};
use paramedic_rulebook::RuleSet;
use paramedic_runners::{HttpRunner, Notifier, Request};
use paramedic_store::{HaltFile, OutboxMove, Store, StoreError};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::wall;
use crate::live::{ActiveSet, Fence};
use crate::metrics::Metrics;

/// Runs' requests under way at once.
const MAX_IN_FLIGHT: usize = 64;
/// Pages under way at once: places of their own, so that no playbook that hangs keeps a person from being told.
const MAX_PAGES_IN_FLIGHT: usize = 16;
/// Runs judged in one turn.
const MAX_ROWS: usize = 256;
/// How often rows that wait are looked at, when nothing wakes the loop.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where pages go.
#[derive(Clone, Debug, Default)]
pub struct Recipients {
    /// By the name in `escalate.to`.
    pub by_name: std::collections::BTreeMap<String, Notifier>,
    /// For every other name.
    pub default: Option<Notifier>,
}

/// Everything that the dispatcher works with.
#[derive(Clone)]
pub struct Dispatcher {
    /// The outbox, the incidents and the halts.
    pub store: Arc<dyn Store>,
    /// The halt switch's local half.
    pub halt_file: HaltFile,
    /// Runs playbooks and delivers pages.
    pub runner: Arc<HttpRunner>,
    /// Where pages go.
    pub recipients: Arc<Recipients>,
    /// Catalogue, `may` and grants.
    pub active: ActiveSet,
    /// Under which ownership rows are started.
    pub fence: Fence,
    /// Oldest release that may still act.
    pub max_action_age: Span,
    /// For counters.
    pub metrics: Metrics,
    /// Told when there is something new to send.
    pub wake: Arc<Notify>,
}

struct Turn {
    dispatcher: Dispatcher,
    busy: Arc<Mutex<BTreeSet<Id>>>,
    places: Arc<Semaphore>,
    page_places: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Dispatcher {
    /// Runs until it is told to stop; requests under way are waited for
    /// a few seconds.
    pub async fn run(self, stop: CancellationToken) {
        let turn = Turn {
            dispatcher: self,
            busy: Arc::default(),
            places: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            page_places: Arc::new(Semaphore::new(MAX_PAGES_IN_FLIGHT)),
            tasks: TaskTracker::new(),
        };
        while !stop.is_cancelled() {
            turn.look().await;
            tokio::select! {
                () = turn.dispatcher.wake.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
        turn.tasks.close();
        let _ = tokio::time::timeout(Duration::from_secs(5), turn.tasks.wait()).await;
    }

    async fn blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Option<T> {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || f(store.as_ref())).await {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => {
                tracing::warn!(%error, "dispatcher: the store did not do it; it is tried again");
                None
            }
            Err(error) => {
                tracing::error!(%error, "dispatcher: a store call broke off");
                None
            }
        }
    }

    /// The halts in force, in the file and in the store. A store that does not answer means halted.
    fn halts(&self, store: &dyn Store) -> Vec<Halt> {
        let mut halts = self.halt_file.read();
        match store.halts() {
            Ok(more) => halts.extend(more),
            Err(error) => halts.push(Halt {
                scope: paramedic_model::HaltScope::All,
                by: "dispatcher".to_owned(),
                reason: format!("the store does not tell whether there is a halt: {error}"),
                at: wall(),
            }),
        }
        halts
    }

    fn judge(&self, row: &OutboxRow, set: &RuleSet) -> Result<Considered, StoreError> {
        let store = self.store.as_ref();
        let incident: Option<Incident> = store.incident(row.order.incident())?;
        let (halt, busy) = match &row.order {
            Order::Run(run) => {
                let halt = self.halts(store).into_iter().find(|h| h.covers(run));
                (halt, store.target_busy(run.target.id, run.id)?)
            }
            Order::Page(_) => (None, false),
        };
        let input = GuardInput {
            now: wall(),
            halt: halt.as_ref(),
            incident: incident.as_ref(),
            set,
            target_busy: busy,
            max_action_age: self.max_action_age,
        };
        Ok(consider(row, &input))
    }

    fn commit(&self, row: &OutboxRow, next: &OutboxRow, inbox: Vec<NewInbox>, fenced: bool) -> Result<(), StoreError> {
        let fence = if fenced { Some(self.fence.get()) } else { None };
        self.store.outbox_move(&OutboxMove { key: row.key, from: row.state, row: next.clone(), fence, inbox })?;
        self.count(row, next);
        Ok(())
    }

    fn count(&self, row: &OutboxRow, next: &OutboxRow) {
        for verdict in &next.verdicts {
            let says = match verdict.says {
                GuardSays::Allow => continue,
                GuardSays::Defer(_) => "defer",
                GuardSays::Deny => "deny",
            };
            if next.verdicts != row.verdicts {
                self.metrics.guards.with_label_values(&[verdict.guard.as_str(), says]).inc();
            }
        }
        if row.state == next.state {
            return;
        }
        match &next.order {
            Order::Run(run) => {
                self.metrics.runs.with_label_values(&[run.playbook.as_str(), next.state.name()]).inc();
                if next.state == OutboxState::Started {
                    let waited = wall().since(run.released_at.unwrap_or(run.decided_at)).as_secs_f64();
                    self.metrics.event_to_dispatch.observe(waited.max(0.0));
                }
            }
            Order::Page(_) => self.metrics.pages.with_label_values(&[next.state.name()]).inc(),
        }
    }

    /// Sends a started row's request, or asks an accepted row's job.
    async fn send(&self, row: &OutboxRow, set: &RuleSet) -> Outcome {
        let body = row.request.clone().unwrap_or_default();
        match &row.order {
            Order::Run(run) => match set.playbooks.get(&run.playbook) {
                None => gone(row, &run.playbook),
                Some(playbook) => match (&row.state, &row.job) {
                    (OutboxState::Accepted, Some(job)) => self.runner.poll(playbook, job).await,
                    _ => self.send_run(row, playbook, body).await,
                },
            },
            Order::Page(page) => {
                let to = self.recipients.by_name.get(&page.to).or(self.recipients.default.as_ref());
                match to {
                    Some(notifier) => self.runner.notify(notifier, row.key, &body).await,
                    None => Outcome::Failed {
                        message: format!("`notify` names no {} and no default", page.to),
                        never_left: false,
                    },
                }
            }
        }
    }

    async fn send_run(&self, row: &OutboxRow, playbook: &Playbook, body: String) -> Outcome {
        // The last look before the first byte leaves.
        if let Order::Run(run) = &row.order
            && let Some(halt) = self.halt_file.read().into_iter().find(|h| h.covers(run))
        {
            return Outcome::Failed { message: format!("halted before it left: {}", halt.reason), never_left: true };
        }
        let request = Request { key: row.key, playbook: playbook.clone(), body };
        self.runner.send(&request).await
    }
}

/// A job that was accepted, or a request that may have been carried out, is not ended by a missing catalogue entry.
fn gone(row: &OutboxRow, playbook: &str) -> Outcome {
    let message = format!("the catalogue has no playbook {playbook} any more");
    if row.state == OutboxState::Accepted || row.attempts > 1 {
        Outcome::Unknown { message, retry_after: None }
    } else {
        Outcome::Failed { message, never_left: false }
    }
}

impl Turn {
    /// A `started` row that no task of this process sends: the engine before this one left it, or a commit of ours
    /// was in doubt. Whether it left is unknown.
    async fn adopt(&self, key: Id) {
        let dispatcher = self.dispatcher.clone();
        let adopted = self.dispatcher.blocking(move |store| {
            // Read again: a task that has just ended may have moved it.
            let Some(row) = store.outbox_get(key)? else { return Ok(false) };
            let Some((next, inbox)) = adopt(&row, wall()) else { return Ok(false) };
            dispatcher.commit(&row, &next, inbox, true)?;
            Ok(true)
        });
        if adopted.await == Some(true) {
            tracing::warn!(%key, "a request that was started has no known outcome");
        }
    }

    /// One look at the outbox.
    async fn look(&self) {
        const OPEN: [OutboxState; 4] =
            [OutboxState::Pending, OutboxState::Deferred, OutboxState::Started, OutboxState::Accepted];
        let rows = self.dispatcher.blocking(|store| {
            let rows = store.outbox_list(&OPEN, MAX_ROWS)?;
            // Behind runs that are held back, by a halt for example, a page must not wait: then all are looked at.
            if rows.len() < MAX_ROWS { Ok(rows) } else { store.outbox_list(&OPEN, usize::MAX) }
        });
        let Some(mut rows) = rows.await else { return };
        rows.sort_by_key(is_run);
        let set = self.dispatcher.active.get();
        let mut runs = 0;
        for row in rows {
            if self.is_busy(row.key) || waits(&row, wall()) {
                continue;
            }
            if row.state == OutboxState::Started && row.not_before.is_none() {
                self.adopt(row.key).await;
                continue;
            }
            let places = if is_run(&row) { &self.places } else { &self.page_places };
            let Ok(place) = Arc::clone(places).try_acquire_owned() else { continue };
            runs += usize::from(is_run(&row));
            if runs > MAX_ROWS {
                return;
            }
            let (dispatcher, rules, judged) = (self.dispatcher.clone(), Arc::clone(&set), row.clone());
            let considered = self.dispatcher.blocking(move |_| {
                let considered = dispatcher.judge(&judged, &rules)?;
                match &considered {
                    Considered::Send(next, inbox) => dispatcher.commit(&judged, next, inbox.clone(), true)?,
                    Considered::Settle(next, inbox) => dispatcher.commit(&judged, next, inbox.clone(), true)?,
                    Considered::Poll | Considered::Wait => {}
                }
                Ok(considered)
            });
            match considered.await {
                Some(Considered::Send(started, _)) => self.go(*started, Arc::clone(&set), place),
                Some(Considered::Poll) => self.go(row, Arc::clone(&set), place),
                // A row that was deferred is pending again: it is judged in the next turn.
                Some(Considered::Settle(next, _)) if next.state == OutboxState::Pending => {
                    self.dispatcher.wake.notify_one();
                }
                _ => {}
            }
        }
    }

    fn is_busy(&self, key: Id) -> bool {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).contains(&key)
    }

    fn go(&self, row: OutboxRow, set: Arc<RuleSet>, place: tokio::sync::OwnedSemaphorePermit) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(row.key);
        let (dispatcher, busy) = (self.dispatcher.clone(), Arc::clone(&self.busy));
        self.tasks.spawn(async move {
            let timer = dispatcher.metrics.dispatch.start_timer();
            let outcome = dispatcher.send(&row, &set).await;
            timer.observe_duration();
            let (next, inbox) = after(&row, &outcome, wall());
            log(&row, &next);
            // A reply is brought to the inbox whatever it takes: the request has left.
            loop {
                let (d, r, n, i) = (dispatcher.clone(), row.clone(), next.clone(), inbox.clone());
                let done = dispatcher.blocking(move |_| match d.commit(&r, &n, i, false) {
                    Err(StoreError::Conflict { found, .. }) => {
                        tracing::info!(key = %r.key, found, "the row was settled meanwhile");
                        Ok(())
                    }
                    other => other,
                });
                if done.await.is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&row.key);
            drop(place);
            dispatcher.wake.notify_one();
        });
    }
}

fn is_run(row: &OutboxRow) -> bool {
    matches!(row.order, Order::Run(_))
}

fn waits(row: &OutboxRow, now: Timestamp) -> bool {
    row.not_before.is_some_and(|at| now < at)
}

fn log(row: &OutboxRow, next: &OutboxRow) {
    let message = next.message.as_deref().unwrap_or_default();
    match &next.order {
        Order::Run(run) => {
            let (playbook, target) = (run.playbook.as_str(), run.target.name.as_str());
            let state = next.state.name();
            if next.state == OutboxState::Unknown {
                tracing::warn!(key = %row.key, playbook, target, state, message, "run");
            } else {
                tracing::info!(key = %row.key, playbook, target, state, message, "run");
            }
        }
        Order::Page(page) => {
            tracing::info!(key = %row.key, to = page.to, state = next.state.name(), message, "page");
        }
    }
}
