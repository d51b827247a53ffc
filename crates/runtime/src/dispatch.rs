//! The dispatcher: committed outbox rows, guards, `started`, and only then the request; the outcome goes back
//! through the inbox. One loop judges and starts; requests run beside each other.

mod told;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use paramedic_engine::outbox::{Considered, GuardInput, adopt, after, consider, is_under_way, late};
use paramedic_model::faults::{planted, point};
use paramedic_model::{Halt, Id, Incident, NewInbox, Order, OutboxRow, OutboxState, Outcome, Playbook, Span};
use paramedic_rulebook::RuleSet;
use paramedic_runners::{HttpRunner, Notifier, Request};
use paramedic_store::{DueLimits, HaltFile, OutboxMove, Store, StoreError};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::wall;
use crate::emit::Emitter;
use crate::metrics::Metrics;
use crate::shared::{Owned, Sets};

/// Runs' requests under way at once.
const MAX_IN_FLIGHT: usize = 64;
/// Pages under way at once: places of their own, so that no playbook that hangs keeps a person from being told.
const MAX_PAGES_IN_FLIGHT: usize = 16;
/// Runs judged in one turn.
const MAX_RUNS: usize = 256;
/// Pages looked at in one turn.
const MAX_PAGES: usize = 256;
/// Events to topics under way at once, and looked at in one turn: a broker that is away keeps nothing else waiting.
const MAX_EMITS_IN_FLIGHT: usize = 64;
const MAX_EMITS: usize = 256;
/// A request that has not left so long after its guards were asked is looked at once more: the process was stopped in
/// between, or the machine is slow.
const FRESH: Duration = Duration::from_millis(250);
/// How often the active rule set is asked for.
const ASK_RULES: Duration = Duration::from_secs(1);
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
    /// Where events to topics go.
    pub emitter: Arc<Emitter>,
    /// Catalogue, `may` and grants: the rule set that was published last.
    pub active: Arc<RuleSet>,
    /// Where rule sets come from.
    pub sets: Arc<Sets>,
    /// Whose rows are dispatched, and under which ownership they are started.
    pub owned: Owned,
    /// Oldest release that may still act.
    pub max_action_age: Span,
    /// For counters.
    pub metrics: Metrics,
    /// Told when there is something new to send.
    pub wake: Arc<Notify>,
}

struct Turn {
    dispatcher: Dispatcher,
    rules_asked: tokio::time::Instant,
    busy: Arc<Mutex<BTreeSet<Id>>>,
    places: Arc<Semaphore>,
    page_places: Arc<Semaphore>,
    emit_places: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Dispatcher {
    /// Runs until it is told to stop; requests under way are waited for
    /// a few seconds.
    pub async fn run(self, stop: CancellationToken) {
        let mut turn = Turn {
            dispatcher: self,
            rules_asked: tokio::time::Instant::now(),
            busy: Arc::default(),
            places: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            page_places: Arc::new(Semaphore::new(MAX_PAGES_IN_FLIGHT)),
            emit_places: Arc::new(Semaphore::new(MAX_EMITS_IN_FLIGHT)),
            tasks: TaskTracker::new(),
        };
        while !stop.is_cancelled() {
            turn.follow_rules().await;
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
        let halt = || self.halts(store).into_iter().find(|h| h.covers(&row.order));
        let (halt, busy, topic) = match &row.order {
            Order::Run(run) => (halt(), store.target_busy(run.target.id, run.id)?, None),
            Order::Emit(emit) => (halt(), false, Some(emit.topic.as_str())),
            Order::Page(_) => (None, false, None),
        };
        let recovered = store.recovered()?;
        let input = GuardInput {
            now: wall(),
            halt: halt.as_ref(),
            incident: incident.as_ref(),
            set,
            target_busy: busy,
            max_action_age: self.max_action_age,
            recovered: recovered.as_ref().map(|r| (r.at, r.why.as_str())),
            topic_read_by: topic.and_then(|topic| self.emitter.reading.source_of(topic)),
        };
        Ok(consider(row, &input))
    }

    /// Moves a row of a shard that is ours.
    fn commit(&self, shard: u32, row: &OutboxRow, next: &OutboxRow, inbox: Vec<NewInbox>) -> Result<(), StoreError> {
        if planted("started_after_send") && row.state == OutboxState::Pending && next.state == OutboxState::Started {
            return Ok(());
        }
        // An epoch that no owner has: a shard that has just gone commits nothing.
        let fence = Some((shard, self.owned.epoch(shard).unwrap_or_default()));
        self.store.outbox_move(&OutboxMove { key: row.key, from: row.state, row: next.clone(), fence, inbox })?;
        told::count(&self.metrics, row, next);
        Ok(())
    }

    /// Brings a reply, whoever owns the shard now: the first terminal one wins. A row that a new owner has found
    /// `started` is unknown meanwhile, and a late reply settles it. `None`: not yet, another request of the row is under
    /// way.
    fn save_reply(&self, sent: &OutboxRow, outcome: &Outcome) -> Result<Option<OutboxRow>, StoreError> {
        let (next, inbox) = after(sent, outcome, wall());
        let change = OutboxMove { key: sent.key, from: sent.state, row: next.clone(), fence: None, inbox };
        match self.store.outbox_move(&change) {
            Err(StoreError::Conflict { .. }) if planted("late_reply_dropped") => Ok(Some(next)),
            Err(StoreError::Conflict { found, .. }) => {
                let row = self.store.outbox_get(sent.key)?.map(|(_, row)| row);
                if row.as_ref().is_some_and(is_under_way) {
                    return Ok(None);
                }
                let Some(((next, inbox), now)) = row.and_then(|now| Some((late(sent, &now, outcome, wall())?, now)))
                else {
                    tracing::info!(key = %sent.key, found, "the row was settled meanwhile");
                    return Ok(Some(next));
                };
                self.store.outbox_move(&OutboxMove {
                    key: now.key,
                    from: now.state,
                    row: next.clone(),
                    fence: None,
                    inbox,
                })?;
                told::count(&self.metrics, &now, &next);
                Ok(Some(next))
            }
            done => {
                done?;
                told::count(&self.metrics, sent, &next);
                Ok(Some(next))
            }
        }
    }

    /// As [`Dispatcher::may_still_leave`]; in doubt, not.
    async fn still(&self, shard: u32, sent: &OutboxRow) -> bool {
        let (dispatcher, sent) = (self.clone(), sent.clone());
        self.blocking(move |_| dispatcher.may_still_leave(shard, &sent)).await == Some(true)
    }

    /// Whether a row that was started a while ago may still leave: it is ours, as it was started, and nothing halts it.
    fn may_still_leave(&self, shard: u32, sent: &OutboxRow) -> Result<bool, StoreError> {
        let Some((_, now)) = self.store.outbox_get(sent.key)? else { return Ok(false) };
        let owner = self.store.shards()?.into_iter().find(|(s, _)| *s == shard).map(|(_, epoch)| epoch);
        let halted = match &sent.order {
            Order::Run(_) | Order::Emit(_) => self.halts(self.store.as_ref()).iter().any(|h| h.covers(&sent.order)),
            Order::Page(_) => false,
        };
        // Another owner that has adopted it waits to send it again.
        let of = |row: &OutboxRow| (row.state, row.attempts, row.not_before);
        let same = of(&now) == of(sent);
        Ok(same && owner == self.owned.epoch(shard) && !halted)
    }

    /// Sends a started row's request, or asks an accepted row's job.
    async fn send(&self, row: &OutboxRow, set: &RuleSet) -> Outcome {
        point("dispatch.send");
        let body = row.request.clone().unwrap_or_default();
        match &row.order {
            Order::Run(run) => match set.playbooks.get(&run.playbook) {
                None => gone(row, &run.playbook),
                Some(playbook) => match (&row.state, &row.job) {
                    (OutboxState::Accepted, Some(job)) => self.runner.poll(playbook, job).await,
                    _ => self.send_run(row, playbook, body).await,
                },
            },
            Order::Emit(emit) => self.emitter.send(row.key, emit, &body, || self.halted(row)).await,
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
        if let Some(why) = self.halted(row) {
            return Outcome::Failed { message: format!("halted before it left: {why}"), never_left: true };
        }
        let request = Request { key: row.key, playbook: playbook.clone(), body };
        self.runner.send(&request).await
    }

    /// The last look before the first byte leaves.
    fn halted(&self, row: &OutboxRow) -> Option<String> {
        self.halt_file.read().into_iter().find(|h| h.covers(&row.order)).map(|halt| halt.reason)
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
    /// The guards go by the rule set that was published last, by whichever engine.
    async fn follow_rules(&mut self) {
        if self.rules_asked.elapsed() < ASK_RULES {
            return;
        }
        self.rules_asked = tokio::time::Instant::now();
        let active = self.dispatcher.blocking(|store| store.ruleset_active()).await.flatten();
        if let Some(digest) = active.filter(|digest| *digest != self.dispatcher.active.digest)
            && let Some(set) = self.dispatcher.sets.get(digest)
        {
            self.dispatcher.active = set;
        }
    }

    /// A `started` row that no task of this process sends: the engine before this one left it, or a commit of ours
    /// was in doubt. Whether it left is unknown.
    async fn adopt(&self, key: Id) {
        let dispatcher = self.dispatcher.clone();
        let adopted = self.dispatcher.blocking(move |store| {
            // Read again: a task that has just ended may have moved it.
            let Some((shard, row)) = store.outbox_get(key)? else { return Ok(false) };
            let Some((next, inbox)) = adopt(&row, wall()) else { return Ok(false) };
            dispatcher.commit(shard, &row, &next, inbox)?;
            Ok(true)
        });
        if adopted.await == Some(true) {
            tracing::warn!(%key, "a request that was started has no known outcome");
        }
    }

    /// One look at the outbox.
    async fn look(&self) {
        let shards = self.dispatcher.owned.shards();
        if shards.is_empty() {
            return;
        }
        let most = DueLimits { pages: MAX_PAGES, runs: MAX_RUNS, emits: MAX_EMITS };
        let rows = self.dispatcher.blocking(move |store| store.outbox_due(&shards, wall(), most)).await;
        for (shard, row) in rows.unwrap_or_default() {
            if self.is_busy(row.key) {
                continue;
            }
            if row.state == OutboxState::Started && row.not_before.is_none() {
                self.adopt(row.key).await;
                continue;
            }
            let places = match &row.order {
                Order::Run(_) => &self.places,
                Order::Page(_) => &self.page_places,
                Order::Emit(_) => &self.emit_places,
            };
            let Ok(place) = Arc::clone(places).try_acquire_owned() else { continue };
            let (dispatcher, judged) = (self.dispatcher.clone(), row.clone());
            let considered = self.dispatcher.blocking(move |_| {
                let considered = dispatcher.judge(&judged, &dispatcher.active)?;
                match &considered {
                    Considered::Send(next, inbox) | Considered::Settle(next, inbox) => {
                        point("dispatch.started.before");
                        dispatcher.commit(shard, &judged, next, inbox.clone())?;
                        point("dispatch.started.after");
                    }
                    Considered::Poll | Considered::Wait => {}
                }
                Ok(considered)
            });
            let asked = tokio::time::Instant::now();
            match considered.await {
                Some(Considered::Send(started, _)) => self.go(shard, *started, asked, place),
                Some(Considered::Poll) => self.go(shard, row, asked, place),
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

    fn go(&self, shard: u32, row: OutboxRow, asked: tokio::time::Instant, place: tokio::sync::OwnedSemaphorePermit) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(row.key);
        let (dispatcher, busy) = (self.dispatcher.clone(), Arc::clone(&self.busy));
        self.tasks.spawn(async move {
            let held_up = row.state == OutboxState::Started && asked.elapsed() > FRESH;
            let outcome = if held_up && !dispatcher.still(shard, &row).await {
                let message =
                    "held up after it was started, and not sent: it was halted, or has another owner".to_owned();
                Outcome::Failed { message, never_left: true }
            } else {
                let timer = dispatcher.metrics.dispatch.start_timer();
                let outcome = dispatcher.send(&row, &dispatcher.active).await;
                timer.observe_duration();
                outcome
            };
            point("dispatch.reply");
            let free = || busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&row.key);
            // A reply is brought to the inbox whatever it takes: the request has left.
            let mut holds = true;
            loop {
                let (d, sent, said) = (dispatcher.clone(), row.clone(), outcome.clone());
                match dispatcher.blocking(move |_| d.save_reply(&sent, &said)).await {
                    Some(Some(next)) => {
                        told::log(&row, &next);
                        break;
                    }
                    // The row's other request, here or elsewhere, must not wait for this one's reply.
                    Some(None) if holds => holds = !free(),
                    _ => {}
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            point("dispatch.saved");
            if holds {
                free();
            }
            drop(place);
            dispatcher.wake.notify_one();
        });
    }
}
