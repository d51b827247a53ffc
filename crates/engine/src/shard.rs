//! The shard machine, sans-I/O: one clock, scopes in order, timers between inputs; decisions in, a batch out.
//!
//! Driven by the live shell and by the simulator alike. The caller gathers and matches, calls [`Shard::begin`],
//! feeds inputs in the order that the journal row determines, and commits what [`Shard::finish`] gives.

mod commit;
mod drive;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use paramedic_model::{
    Digest, HistoryRow, Id, JournalRow, NewInbox, OutboxRow, Range, Running, ScopeChanges, ScopeImage, Status,
    Timestamp, combine,
};
use paramedic_rulebook::RuleSet;

use crate::decision::Decided;
use crate::state::State;
use crate::step::{Away, Engine, EventInput, Input, Limits};
use commit::{drain, record};

/// What a shard needs to know besides its state.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// The cluster's name: part of every key.
    pub cluster: String,
    /// Its number.
    pub shard: u32,
    /// Bounds.
    pub limits: Limits,
}

/// What a batch came to.
#[derive(Clone, Debug)]
pub struct Finished {
    /// By scope.
    pub changes: Vec<ScopeChanges>,
    /// The journal row.
    pub journal: JournalRow,
    /// Every decision, in order, for metrics and reports.
    pub decided: Vec<(Arc<str>, Decided)>,
}

/// One shard.
pub struct Shard {
    config: ShardConfig,
    engine: Engine,
    scopes: BTreeMap<Arc<str>, Scope>,
    active: Digest,
    epoch: u64,
    batch: u64,
    clock: Timestamp,
    inputs: Running,
    /// Some scope decided something after the last event: its digest at that event is kept.
    ran_ahead: bool,
    // This batch's:
    floor: Timestamp,
    cap: Timestamp,
    tick: bool,
    blind: Vec<String>,
    /// What is due by then fires.
    due_until: Timestamp,
    began_under: Digest,
    touched: BTreeSet<Arc<str>>,
    /// Scopes with outbox rows that `new_orders` has not shown yet.
    unshown: BTreeSet<Arc<str>>,
    decided: Vec<(Arc<str>, Decided)>,
}

#[derive(Default)]
struct Scope {
    state: State,
    history: Vec<HistoryRow>,
    outbox: Vec<OutboxRow>,
    /// How many of them `new_orders` has shown.
    shown: usize,
    withdrawn: Vec<(Id, String)>,
}

impl Shard {
    /// A shard as the store gives it back. `set` is the active rule set where the shard begins anew.
    pub fn restore(
        config: ShardConfig,
        epoch: u64,
        last: Option<&JournalRow>,
        active: Digest,
        scopes: Vec<ScopeImage>,
    ) -> Self {
        let clock = last.map_or(Timestamp::EPOCH, |row| row.end);
        let engine = Engine::new(config.limits);
        let scopes = scopes
            .into_iter()
            .map(|image| {
                let name: Arc<str> = image.scope.as_str().into();
                (name, Scope { state: State::restore(image), ..Scope::default() })
            })
            .collect();
        Self {
            config,
            engine,
            scopes,
            active,
            epoch,
            batch: last.map_or(0, |row| row.batch),
            clock,
            inputs: last.map(|row| row.inputs.clone()).unwrap_or_default(),
            ran_ahead: true,
            floor: clock,
            cap: clock,
            tick: false,
            blind: vec![],
            due_until: clock,
            began_under: active,
            touched: BTreeSet::new(),
            unshown: BTreeSet::new(),
            decided: vec![],
        }
    }

    /// The rule set for scopes that are met from now on.
    pub fn active(&self) -> Digest {
        self.active
    }

    /// Makes a rule set known.
    pub fn learn(&mut self, set: Arc<RuleSet>) {
        self.engine.learn(set);
    }

    /// Rule sets that open incidents or scopes go by and that are not known yet.
    pub fn unknown_sets(&self) -> BTreeSet<Digest> {
        self.scopes
            .values()
            .flat_map(|s| s.state.incidents.values().map(|i| i.set).chain([s.state.head.set]))
            .chain([self.active])
            .filter(|set| !self.engine.knows(*set))
            .collect()
    }

    /// Lets rule sets go that neither a scope nor a record goes by. One that is published again is to be learnt again.
    pub fn forget_unused_sets(&mut self) {
        let of_scope = |s: &Scope| -> BTreeSet<Digest> {
            s.state.incidents.values().map(|i| i.set).chain([s.state.head.set]).collect()
        };
        let used: BTreeSet<Digest> = self.scopes.values().flat_map(of_scope).chain([self.active]).collect();
        self.engine.keep(&used);
    }

    /// Whether open incidents keep rules that their scope goes by no more. Then an event that matches nothing under the
    /// active set may yet clear one of them: it is to be given to [`Shard::event`] all the same.
    pub fn keeps_older_rules(&self) -> bool {
        self.scopes.values().any(|s| s.state.open_by_set.keys().any(|set| *set != s.state.head.set))
    }

    /// The shard's clock: the last stamp.
    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    /// The state of a scope, for reports.
    pub fn scope(&self, name: &str) -> Option<&State> {
        self.scopes.get(name).map(|s| &s.state)
    }

    /// All scopes, by name.
    pub fn scopes(&self) -> impl Iterator<Item = (&str, &State)> {
        self.scopes.iter().map(|(name, s)| (name.as_ref(), &s.state))
    }

    /// When the next timer is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.scopes.values().filter_map(|s| s.state.due.first().map(|(due, _)| *due)).min()
    }

    /// Begins a batch. `cap` is one reading of the wall clock: no stamp is above it. `blind`: sources that are away or
    /// stopped; what they do not say is no evidence.
    pub fn begin(&mut self, cap: Timestamp, blind: Vec<String>) {
        self.floor = self.clock;
        self.cap = cap.max(self.clock);
        self.tick = false;
        self.blind = blind;
        self.began_under = self.active;
        self.touched.clear();
        self.unshown.clear();
        self.decided.clear();
    }

    /// The batch goes on with a later reading of the wall clock.
    pub fn raise_cap(&mut self, cap: Timestamp) {
        self.cap = self.cap.max(cap);
    }

    /// Sources that the batch is blind to.
    pub fn blind(&self) -> &[String] {
        &self.blind
    }

    /// Whether anything was decided in this batch so far.
    pub fn has_decided(&self) -> bool {
        !self.decided.is_empty()
    }

    /// A stamp for a record of the batch: never above the cap, never below the clock.
    pub fn stamp(&self, record: Timestamp) -> Timestamp {
        record.min(self.cap).max(self.clock)
    }

    /// Takes the ids of events, decoded in order, matching or not, into the inputs' digest.
    pub fn count_input(&mut self, id: &[u8]) {
        self.inputs.add(id);
    }

    /// Goes on with a digest of inputs that the decoding stage kept.
    pub fn set_inputs(&mut self, inputs: Running) {
        self.inputs = inputs;
    }

    /// The clock reaches the stamp of an event, whether or not that matched: timers due by then fire first.
    pub fn reach(&mut self, stamp: Timestamp) {
        let early = paramedic_model::faults::planted("timers_on_the_wall_clock");
        self.fire_due(if early { self.cap } else { stamp }, false);
        self.clock = self.clock.max(stamp);
        if std::mem::take(&mut self.ran_ahead) {
            for (name, scope) in &mut self.scopes {
                // Stored as well: else a restart would go back to the digest of an earlier event.
                if scope.state.head.decisions_at_event.take().is_some() {
                    self.touched.insert(Arc::clone(name));
                }
            }
        }
    }

    /// An event that matched something, or a resolve. A firing that matched nothing only moves the clock, unless an
    /// older rule set that an open incident of its scope keeps may see something in it: so it does not matter whether
    /// the caller hands it on.
    pub fn event(&mut self, stamp: Timestamp, scope: &str, input: EventInput) {
        self.reach(stamp);
        let nothing = input.matches.is_empty() && input.event.status == Status::Firing && input.set == self.active;
        let older = |s: &Scope| s.state.open_by_set.keys().any(|set| *set != s.state.head.set);
        if nothing && !self.scopes.get(scope).is_some_and(older) {
            return;
        }
        let id = crate::step::event_input_id(&input.event);
        self.step(&Arc::from(scope), &id, &Input::Event(Box::new(input)), stamp, true);
    }

    /// An inbox entry as it is. What the caller decodes or matches first, a webhook's message and an event that another
    /// shard handed over, comes by [`Shard::event`] instead, and counts there: given to this, it does nothing at all.
    pub fn inbox(&mut self, stamp: Timestamp, entry: &NewInbox) {
        let Some(input) = Input::from_inbox(&entry.body) else { return };
        self.fire_due(stamp, true);
        self.clock = self.clock.max(stamp);
        self.count_input(entry.id.as_bytes());
        if let Input::RulebooksPublished(set) = input {
            self.active = set;
            let scopes: Vec<Arc<str>> = self.scopes.keys().cloned().collect();
            for scope in scopes {
                self.step(&scope, &entry.id, &input, stamp, false);
            }
            return;
        }
        self.step(&Arc::from(entry.scope.as_str()), &entry.id, &input, stamp, false);
    }

    /// Every source that is there is at its end: the clock moves to the wall's, the batch's cap.
    pub fn tick(&mut self) {
        self.tick = true;
        self.fire_due(self.cap, true);
        self.clock = self.cap;
    }

    fn fire_due(&mut self, until: Timestamp, keep_event_digest: bool) {
        loop {
            let first = self
                .scopes
                .iter()
                .filter_map(|(name, s)| s.state.due.first().map(|(due, id)| (*due, *id, name)))
                .min()
                .filter(|(due, ..)| *due <= until);
            let Some((due, id, scope)) = first else { return };
            let scope = Arc::clone(scope);
            let Some(timer) = self.scopes.get(&scope).and_then(|s| s.state.timers.get(&id).cloned()) else { return };
            let now = due.max(self.clock);
            self.clock = now;
            self.due_until = until;
            self.step(&scope, &format!("timer|{id}"), &Input::TimerDue(timer), due, !keep_event_digest);
        }
    }

    fn step(&mut self, name: &Arc<str>, input_id: &str, input: &Input, now: Timestamp, is_event: bool) {
        let active = self.active;
        let scope = self.scopes.entry(Arc::clone(name)).or_insert_with(|| {
            let mut scope = Scope::default();
            scope.state.head.set = active;
            scope
        });
        if !is_event && scope.state.head.decisions_at_event.is_none() {
            self.ran_ahead = true;
            scope.state.head.decisions_at_event = Some(scope.state.head.decisions.clone());
        }
        let away = Away { sources: &self.blind, until: self.due_until.max(now) };
        let decided = self.engine.step(&mut scope.state, name, input_id, input, now, away);
        self.touched.insert(Arc::clone(name));
        for (ordinal, one) in decided.into_iter().enumerate() {
            record(scope, &self.config.cluster, name, ordinal, &one);
            self.decided.push((Arc::clone(name), one));
        }
        if scope.outbox.len() > scope.shown {
            self.unshown.insert(Arc::clone(name));
        }
    }

    /// Ends the batch: what is to be committed, all of it.
    pub fn finish(&mut self, ranges: BTreeMap<String, Range>) -> Finished {
        self.batch += 1;
        self.unshown.clear();
        let changes = std::mem::take(&mut self.touched)
            .into_iter()
            .filter_map(|name| self.scopes.get_mut(&name).map(|scope| drain(&name, scope)))
            .collect();
        let digests = |at_event: bool| {
            combine(self.scopes.iter().map(|(name, s)| {
                let head = &s.state.head;
                let running = head.decisions_at_event.as_ref().filter(|_| at_event).unwrap_or(&head.decisions);
                (name.as_ref(), running.digest())
            }))
        };
        let journal = JournalRow {
            shard: self.config.shard,
            epoch: self.epoch,
            batch: self.batch,
            set: self.began_under,
            set_after: self.active,
            floor: self.floor,
            cap: self.cap,
            end: self.clock,
            tick: self.tick,
            blind: std::mem::take(&mut self.blind),
            ranges,
            inputs: self.inputs.clone(),
            decisions: digests(true),
            decisions_end: digests(false),
        };
        Finished { changes, journal, decided: std::mem::take(&mut self.decided) }
    }
}
