//! A shard in virtual time, with a simulated dispatcher: timers, reports and inputs in the order of their instants.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_engine::outbox::{self, Considered, GuardInput};
use paramedic_engine::{Decided, EventInput, Finished, Limits, Shard, ShardConfig};
use paramedic_model::{CmdbDelta, NewInbox, Order, OutboxRow, OutboxState, Outcome, Span, Timestamp};
use paramedic_rulebook::RuleSet;

/// When and how the simulated endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// So long after the request left: it worked, or it did not.
    After(Span, bool),
    /// Nothing ever leaves.
    Never,
    /// It leaves; the scenario says what becomes of it.
    Held,
}

/// What is due at an instant.
enum Due {
    /// The guards are asked about a row.
    Consider(OutboxRow),
    /// The endpoint answers.
    Reply(OutboxRow, Outcome),
}

/// The CMDB that a scope begins with.
type CmdbOf = dyn Fn(&str) -> CmdbDelta;

pub(crate) struct Driver {
    pub(crate) shard: Shard,
    set: Arc<RuleSet>,
    runs: Reply,
    pages: Reply,
    cmdb: Option<Box<CmdbOf>>,
    queue: BTreeMap<(Timestamp, u64), Due>,
    queued: u64,
    /// Rows that have left and that nothing answers by itself, in the order in which they left.
    pub(crate) held: Vec<OutboxRow>,
}

impl Driver {
    pub(crate) fn new(set: Arc<RuleSet>, limits: Limits, runs: Reply, pages: Reply) -> Self {
        let config = ShardConfig { cluster: "simulated".to_owned(), shard: 0, limits };
        let mut shard = Shard::restore(config, 1, None, set.digest, vec![]);
        shard.learn(Arc::clone(&set));
        shard.begin(Timestamp::MAX, vec![]);
        Self { shard, set, runs, pages, cmdb: None, queue: BTreeMap::new(), queued: 0, held: vec![] }
    }

    /// The CMDB that each scope begins with.
    pub(crate) fn with_cmdb(mut self, cmdb: impl Fn(&str) -> CmdbDelta + 'static) -> Self {
        self.cmdb = Some(Box::new(cmdb));
        self
    }

    /// An event at its stamp: what is due by then comes first.
    pub(crate) fn event(&mut self, stamp: Timestamp, scope: &str, input: EventInput) {
        self.advance(stamp);
        self.meet(scope);
        self.shard.event(stamp, scope, input);
    }

    /// An inbox entry: what is due by then comes first.
    pub(crate) fn inbox(&mut self, entry: &NewInbox) {
        self.advance(entry.at);
        self.meet(&entry.scope);
        self.shard.inbox(entry.at, entry);
    }

    /// A scope begins with the CMDB that is given.
    pub(crate) fn meet(&mut self, scope: &str) {
        if let Some(cmdb) = &self.cmdb
            && self.shard.scope(scope).is_none()
        {
            self.shard.seed(scope, cmdb(scope));
        }
    }

    /// Timers and reports due by `until`, in order; at one instant timers first, then reports in the order in
    /// which they became due. Within a scope that order depends on nothing outside the scope.
    pub(crate) fn advance(&mut self, until: Timestamp) {
        loop {
            self.take_orders();
            let timer = self.shard.next_due().filter(|at| *at <= until);
            let report = self.queue.keys().next().map(|(at, _)| *at).filter(|at| *at <= until);
            match (timer, report) {
                (Some(timer), report) if report.is_none_or(|report| timer <= report) => self.shard.reach(timer),
                (_, Some(_)) => {
                    if let Some(((at, _), due)) = self.queue.pop_first() {
                        self.act(at, due);
                    }
                }
                _ => return,
            }
        }
    }

    /// Everything by `last` has come: the shard's clock is there.
    pub(crate) fn reach(&mut self, last: Timestamp) {
        self.advance(last);
        self.shard.reach(last);
    }

    /// Ends the batch and begins the next.
    pub(crate) fn finish(&mut self) -> Finished {
        self.take_orders();
        let finished = self.shard.finish(BTreeMap::new());
        self.shard.begin(Timestamp::MAX, vec![]);
        finished
    }

    /// Reads what the batch decided, where nothing else is asked of it, and begins the next.
    pub(crate) fn pass<T>(&mut self, read: impl FnOnce(&[(Arc<str>, Decided)]) -> T) -> T {
        self.take_orders();
        let read = read(self.shard.decided());
        self.shard.pass();
        self.shard.begin(Timestamp::MAX, vec![]);
        read
    }

    /// A held row is answered now.
    pub(crate) fn answer(&mut self, row: &OutboxRow, outcome: &Outcome, now: Timestamp) {
        let (next, reports) = outbox::after(row, outcome, now);
        self.held.retain(|held| held.key != row.key);
        if next.state == OutboxState::Unknown {
            self.held.push(next);
        }
        self.report(&reports);
    }

    fn take_orders(&mut self) {
        let at = self.shard.clock();
        for row in self.shard.new_orders() {
            if self.reply(&row) != Reply::Never {
                self.push(at, Due::Consider(row));
            }
        }
    }

    fn reply(&self, row: &OutboxRow) -> Reply {
        match row.order {
            Order::Run(_) => self.runs,
            Order::Page(_) => self.pages,
            // Nothing follows from what becomes of an event.
            Order::Emit(_) => Reply::Never,
        }
    }

    fn push(&mut self, at: Timestamp, due: Due) {
        self.queued += 1;
        self.queue.insert((at, self.queued), due);
    }

    fn act(&mut self, at: Timestamp, due: Due) {
        match due {
            Due::Consider(row) => self.consider(at, &row),
            Due::Reply(row, outcome) => {
                let (_, reports) = outbox::after(&row, &outcome, at);
                self.report(&reports);
            }
        }
    }

    fn consider(&mut self, now: Timestamp, row: &OutboxRow) {
        let incident = self.shard.scope(&row.scope).and_then(|s| s.incidents.get(&row.order.incident()));
        let input = GuardInput {
            now,
            halt: None,
            incident,
            set: &self.set,
            target_busy: self.held.iter().any(|held| same_target(held, row)),
            max_action_age: Span::from_secs(i64::MAX / 1_000_000_000),
            recovered: None,
            topic_read_by: None,
        };
        match outbox::consider(row, &input) {
            Considered::Send(next, reports) => {
                self.report(&reports);
                match self.reply(&next) {
                    Reply::After(delay, ok) => self.push(now.plus(delay), Due::Reply(*next, outcome(ok))),
                    Reply::Held => self.held.push(*next),
                    Reply::Never => {}
                }
            }
            Considered::Settle(next, reports) => {
                self.report(&reports);
                match (next.state, next.not_before) {
                    (OutboxState::Deferred, Some(later)) => self.push(later, Due::Consider(*next)),
                    (OutboxState::Pending, _) => self.push(now, Due::Consider(*next)),
                    _ => {}
                }
            }
            Considered::Poll | Considered::Wait => {}
        }
    }

    fn report(&mut self, reports: &[NewInbox]) {
        for entry in reports {
            self.shard.inbox(entry.at, entry);
        }
    }
}

fn outcome(ok: bool) -> Outcome {
    let message = "simulated".to_owned();
    if ok {
        Outcome::Succeeded { message, facts: BTreeMap::new() }
    } else {
        Outcome::Failed { message, never_left: false }
    }
}

fn same_target(a: &OutboxRow, b: &OutboxRow) -> bool {
    matches!((&a.order, &b.order), (Order::Run(a), Order::Run(b)) if a.target.id == b.target.id && a.id != b.id)
}
