//! The working state of one scope, and the only place where it changes: [`State::apply`].

mod apply;
mod lookup;
mod windows;

pub use lookup::Lookup;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use paramedic_model::{
    Alert, AlertKey, Cmdb, Id, Incident, Parked, Run, ScopeHead, ScopeImage, SeenId, Span, Timer, Timestamp, Window,
    WindowBody,
};

/// Ids are kept this long after they were last seen.
pub const KEEP_IDS: Span = Span::from_secs(24 * 3600);
/// And so many of them, at most, in a scope.
pub const MAX_IDS: usize = 1_000_000;
/// So many ended alerts are kept, at most, in a scope.
pub const MAX_ENDED: usize = 100_000;
/// Beyond so many alerts in a scope, those that contribute to nothing are not kept.
pub const MAX_ALERTS: usize = 1_000_000;
/// A resolve without a firing waits this long.
pub const PARK: Span = Span::from_secs(60);
/// And so many of them, at most, in a scope.
pub const MAX_PARKED: usize = 10_000;

/// Windows of a rule, least recently changed first.
type Order = BTreeSet<(Timestamp, Id)>;

/// The working state of one scope: what is open, and what must be remembered.
///
/// What there are hundreds of thousands of, and an event looks up, is hashed: nothing is decided in the order of these.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Its digests and its place in its history.
    pub head: ScopeHead,
    /// Not closed, not canceled.
    pub incidents: BTreeMap<Id, Incident>,
    /// (correlation key, incident): which one stands for the key, [`State::incident_of_key`] tells.
    pub by_key: BTreeSet<(Id, Id)>,
    /// Runs of those incidents.
    pub runs: BTreeMap<Id, Run>,
    /// Their ids, by incident.
    pub runs_of: BTreeMap<Id, BTreeSet<Id>>,
    /// Their ids, by target.
    pub runs_on: BTreeMap<Id, BTreeSet<Id>>,
    /// How many incidents still want something.
    pub open: usize,
    /// How many of them were opened under each rule set.
    pub open_by_set: BTreeMap<paramedic_model::Digest, usize>,
    /// How many open alerts contribute to an incident.
    pub open_alerts: BTreeMap<Id, usize>,
    /// Known conditions.
    pub alerts: Lookup<AlertKey, Box<Alert>>,
    /// (key as sent, key) of those that `enrich` gave another key.
    pub by_sent: BTreeSet<(AlertKey, AlertKey)>,
    /// Ended conditions, by when they were last seen.
    pub ended: BTreeSet<(Timestamp, AlertKey)>,
    /// Parked resolves.
    pub parked: BTreeMap<AlertKey, Parked>,
    /// Parked resolves, oldest first.
    pub parked_order: BTreeSet<(Timestamp, AlertKey)>,
    /// Known ids.
    pub seen: Lookup<Arc<SeenId>, Timestamp>,
    /// Known ids, oldest first.
    pub seen_order: BTreeSet<(Timestamp, Arc<SeenId>)>,
    /// Timers by id.
    pub timers: Lookup<Id, Timer>,
    /// Timers in the order in which they fire.
    pub due: BTreeSet<(Timestamp, Id)>,
    /// Windows of rules by id.
    pub windows: Lookup<Id, Arc<Window>>,
    /// Windows by rulebook and rule, least recently changed first.
    pub windows_of: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Order>>,
    /// Those of rules that fail; they are in no order, and not among those that are capped.
    pub failing: BTreeSet<Id>,
    /// Open alerts that contribute to a window, by window.
    pub held: BTreeMap<Id, BTreeSet<AlertKey>>,
    /// The CMDB of the scope.
    pub cmdb: Arc<Cmdb>,
    /// What has changed since it was last asked.
    pub dirty: Dirty,
}

/// Which parts have changed, for the commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dirty {
    /// Incidents, new or changed; closed ones with their last form.
    pub incidents: BTreeMap<Id, Option<Incident>>,
    /// Runs; those of closed incidents with their last form.
    pub runs: BTreeMap<Id, Option<Run>>,
    /// Pages, new.
    pub pages: Vec<paramedic_model::Page>,
    /// Alerts, new, changed or gone.
    pub alerts: BTreeSet<AlertKey>,
    /// Parked resolves, new or gone.
    pub parked: BTreeSet<AlertKey>,
    /// Ids, new, seen again or gone.
    pub seen: BTreeSet<Arc<SeenId>>,
    /// Timers, set or gone.
    pub timers: BTreeSet<Id>,
    /// Windows, changed or gone.
    pub windows: BTreeSet<Id>,
    /// CIs, new or changed.
    pub cis: BTreeSet<Id>,
    /// Relations, new.
    pub relations: BTreeSet<paramedic_model::Relation>,
}

impl State {
    /// The state that a store gives back.
    pub fn restore(image: ScopeImage) -> Self {
        let mut state = State { head: image.head, ..State::default() };
        for incident in image.incidents {
            state.by_key.insert((incident.correlation_key, incident.id));
            state.count_open(incident.set, incident.state.is_open(), false);
            state.incidents.insert(incident.id, incident);
        }
        for run in image.runs {
            state.keep_run(run);
        }
        for window in image.windows {
            state.order_window(&window);
            state.windows.insert(window.id, Arc::new(window));
        }
        for alert in image.alerts {
            if !alert.is_open() {
                state.ended.insert((alert.last_seen, alert.key.clone()));
            }
            for contributes_to in &alert.incidents {
                state.count_alert(*contributes_to, &alert.key);
            }
            state.by_sent.extend(alert.keys());
            state.alerts.insert(alert.key.clone(), Box::new(alert));
        }
        for parked in image.parked {
            state.parked_order.insert((parked.at, parked.key.clone()));
            state.parked.insert(parked.key.clone(), parked);
        }
        for (id, at) in image.seen {
            let id = Arc::new(id);
            state.seen_order.insert((at, Arc::clone(&id)));
            state.seen.insert(id, at);
        }
        for timer in image.timers {
            state.due.insert((timer.due, timer.id));
            state.timers.insert(timer.id, timer);
        }
        let mut cmdb = Cmdb::default();
        image.cis.into_iter().for_each(|ci| cmdb.put(ci));
        image.relations.into_iter().for_each(|r| cmdb.relate(r));
        state.cmdb = Arc::new(cmdb);
        state
    }

    /// The incident, open or resolved, that stands for a correlation key: the open one, else the last opened.
    pub fn incident_of_key(&self, key: Id) -> Option<&Incident> {
        self.by_key
            .range((key, Id::default())..)
            .take_while(|(of, _)| *of == key)
            .filter_map(|(_, id)| self.incidents.get(id))
            .max_by_key(|i| (i.state.is_open(), i.opened_at, i.id))
    }

    /// The runs that an incident has under way: several only of a remedy that spreads over many targets.
    pub fn current_runs(&self, incident: &Incident) -> impl Iterator<Item = &Run> {
        incident.plan.current.iter().filter_map(|id| self.runs.get(id))
    }

    fn keep_run(&mut self, run: Run) {
        self.runs_of.entry(run.incident).or_default().insert(run.id);
        self.runs_on.entry(run.target.id).or_default().insert(run.id);
        self.runs.insert(run.id, run);
    }

    fn forget_target(&mut self, run: &Run) {
        if let Some(runs) = self.runs_on.get_mut(&run.target.id) {
            runs.remove(&run.id);
            if runs.is_empty() {
                self.runs_on.remove(&run.target.id);
            }
        }
    }

    /// Whether every alert that contributes to an incident or a window has ended.
    pub fn all_ended(&self, contributes_to: Id) -> bool {
        !self.open_alerts.contains_key(&contributes_to) && !self.held.contains_key(&contributes_to)
    }

    /// How many rules are switched off.
    pub fn switched_off(&self) -> usize {
        let windows = self.failing.iter().filter_map(|id| self.windows.get(id));
        windows.filter(|w| matches!(w.body, WindowBody::Failing { incident: Some(_), .. })).count()
    }

    /// How many windows a rule has.
    pub fn windows_of(&self, rulebook: &str, rule: &str) -> usize {
        self.order_of(rulebook, rule).map_or(0, Order::len)
    }

    /// The window of a rule that was changed least recently.
    pub fn oldest_window(&self, rulebook: &str, rule: &str) -> Option<Id> {
        self.order_of(rulebook, rule).and_then(Order::first).map(|(_, id)| *id)
    }

    fn order_of(&self, rulebook: &str, rule: &str) -> Option<&Order> {
        self.windows_of.get(rulebook).and_then(|rules| rules.get(rule))
    }

    fn count_open(&mut self, set: paramedic_model::Digest, is_open: bool, was_open: bool) {
        if is_open == was_open {
            return;
        }
        let of_set = self.open_by_set.entry(set).or_default();
        if is_open {
            self.open += 1;
            *of_set += 1;
        } else {
            self.open -= 1;
            *of_set -= 1;
            if *of_set == 0 {
                self.open_by_set.remove(&set);
            }
        }
    }
}
