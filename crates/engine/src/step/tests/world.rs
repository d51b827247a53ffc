//! A shard with a store that is no more than what was committed, in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_model::{
    Alert, AlertKey, Ci, CiRef, CloseCode, CmdbDelta, Digest, HistoryRow, Id, InboxBody, Incident, IncidentState,
    JournalRow, Kind, Measure, NewInbox, OperatorAct, OutboxRow, OwnedEvent, Page, PageReport, Parked, Relation, Run,
    RunReport, RunState, ScopeChanges, ScopeHead, ScopeImage, SeenId, Severity, Status, Timer, Timestamp, Window,
};
use paramedic_rulebook::{Evaluator, RuleSet};
use serde::{Serialize, de::DeserializeOwned};

use crate::decision::{Decided, Decision, Step};
use crate::shard::{Finished, Shard, ShardConfig};
use crate::state::{Dirty, State};
use crate::step::{EventInput, Limits};

pub(super) const SCOPE: &str = "default";

/// `0s`, `2m`... after the world began.
pub(super) fn t(text: &str) -> Timestamp {
    Timestamp::from_secs(1_767_225_600).plus(text.parse().unwrap())
}

/// What a store keeps, as JSON does.
pub(super) fn stored<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

pub(super) fn server(scope: &str, name: &str) -> Ci {
    Ci {
        id: Ci::id_of(scope, "server", name),
        class: "server".into(),
        name: name.into(),
        external_ids: vec![],
        environment: Some("test".into()),
        criticality: None,
        owner: None,
        operational_status: None,
        attributes: BTreeMap::new(),
    }
}

/// The records and the working state of one scope, built from what was committed and nothing else.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) head: ScopeHead,
    pub(super) incidents: BTreeMap<Id, Incident>,
    pub(super) runs: BTreeMap<Id, Run>,
    pub(super) pages: Vec<Page>,
    alerts: BTreeMap<AlertKey, Alert>,
    parked: BTreeMap<AlertKey, Parked>,
    seen: BTreeMap<SeenId, Timestamp>,
    timers: BTreeMap<Id, Timer>,
    windows: BTreeMap<Id, Window>,
    cis: BTreeMap<Id, Ci>,
    relations: Vec<Relation>,
    pub(super) outbox: Vec<OutboxRow>,
    pub(super) withdrawn: Vec<Id>,
    pub(super) history: Vec<HistoryRow>,
}

impl Kept {
    fn take(&mut self, changes: &ScopeChanges) {
        self.head = stored(&changes.head);
        self.incidents.extend(changes.incidents.iter().map(|i| (i.id, stored(i))));
        self.runs.extend(changes.runs.iter().map(|r| (r.id, stored(r))));
        self.pages.extend(changes.pages.iter().map(stored));
        self.alerts.retain(|key, _| !changes.alerts_gone.contains(key));
        self.alerts.extend(changes.alerts.iter().map(|a| (a.key.clone(), stored(a))));
        self.parked.retain(|key, _| !changes.parked_gone.contains(key));
        self.parked.extend(changes.parked.iter().map(|p| (p.key.clone(), stored(p))));
        self.seen.retain(|id, _| !changes.seen_gone.contains(id));
        self.seen.extend(changes.seen.iter().map(|(id, at)| (stored(id), stored(at))));
        self.timers.retain(|id, _| !changes.timers_gone.contains(id));
        self.timers.extend(changes.timers.iter().map(|t| (t.id, stored(t))));
        self.windows.retain(|id, _| !changes.windows_gone.contains(id));
        self.windows.extend(changes.windows.iter().map(|w| (w.id, stored(w))));
        self.cis.extend(changes.cis.iter().map(|ci| (ci.id, stored(ci))));
        self.relations.extend(changes.relations.iter().map(stored));
        self.outbox.extend(changes.outbox.iter().map(stored));
        self.history.extend(changes.history.iter().map(stored));
        self.withdrawn.extend(changes.outbox_cancel.iter().map(|(key, _)| *key));
    }

    pub(super) fn image(&self, scope: &str) -> ScopeImage {
        let lives = |i: &&Incident| !matches!(i.state, IncidentState::Closed | IncidentState::Canceled);
        let incidents: Vec<_> = self.incidents.values().filter(lives).cloned().collect();
        let runs = self.runs.values().filter(|r| incidents.iter().any(|i| i.id == r.incident)).cloned().collect();
        ScopeImage {
            scope: scope.to_owned(),
            head: self.head.clone(),
            runs,
            incidents,
            alerts: self.alerts.values().cloned().collect(),
            parked: self.parked.values().cloned().collect(),
            seen: self.seen.iter().map(|(id, at)| (id.clone(), *at)).collect(),
            timers: self.timers.values().cloned().collect(),
            windows: self.windows.values().cloned().collect(),
            cis: self.cis.values().cloned().collect(),
            relations: self.relations.clone(),
        }
    }
}

/// What was committed by a shard.
#[derive(Default)]
pub(super) struct Store {
    pub(super) scopes: BTreeMap<String, Kept>,
    pub(super) journal: Option<JournalRow>,
}

impl Store {
    pub(super) fn commit(&mut self, finished: &Finished) {
        for changes in &finished.changes {
            self.scopes.entry(changes.scope.clone()).or_default().take(changes);
        }
        self.journal = Some(stored(&finished.journal));
    }

    /// A shard that goes on from what was committed.
    pub(super) fn restart(&self, active: Digest, limits: Limits, sets: &[Arc<RuleSet>]) -> Shard {
        let config = ShardConfig { cluster: "test".into(), shard: 0, limits };
        let images = self.scopes.iter().map(|(name, kept)| kept.image(name)).collect();
        let active = self.journal.as_ref().map_or(active, |row| row.set_after);
        let mut shard = Shard::restore(config, 1, self.journal.as_ref(), active, images);
        let unknown = shard.unknown_sets();
        sets.iter().filter(|s| unknown.contains(&s.digest)).for_each(|s| shard.learn(Arc::clone(s)));
        assert_eq!(shard.unknown_sets().len(), 0);
        shard
    }

    /// What was committed is all there is.
    pub(super) fn is_whole(&self, shard: &Shard) {
        for (name, live) in shard.scopes() {
            let back = self.scopes.get(name).map(|kept| State::restore(kept.image(name))).unwrap_or_default();
            same(name, &State { dirty: Dirty::default(), ..live.clone() }, &back);
        }
    }
}

/// Says which line of the two differs first.
pub(super) fn same(what: &str, a: &State, b: &State) {
    if a == b {
        return;
    }
    let (a, b) = (format!("{a:#?}"), format!("{b:#?}"));
    let lines: Vec<_> = a.lines().zip(b.lines()).enumerate().filter(|(_, (x, y))| x != y).take(5).collect();
    let before: Vec<_> = a.lines().take(lines.first().map_or(0, |l| l.0)).collect();
    panic!("{what}: {:?} {lines:#?}", &before[before.len().saturating_sub(12)..]);
}

pub(super) fn matched(set: &Arc<RuleSet>, event: OwnedEvent) -> EventInput {
    let matches = Evaluator::new(Arc::clone(set)).matches(&event);
    EventInput { event, matches, set: set.digest }
}

pub(super) struct World {
    pub(super) shard: Shard,
    pub(super) store: Store,
    set: Arc<RuleSet>,
    limits: Limits,
    now: Timestamp,
    inputs: u32,
    away: Vec<String>,
    fresh: Vec<Decided>,
    opened: Vec<Id>,
}

impl World {
    /// Under this rule set, with the servers web-1 and web-2.
    pub(super) fn new(set: Arc<RuleSet>) -> Self {
        Self::limited(set, 100)
    }

    pub(super) fn limited(set: Arc<RuleSet>, open_incidents: usize) -> Self {
        Self::within(set, Limits { open_incidents, ..Limits::default() })
    }

    pub(super) fn within(set: Arc<RuleSet>, limits: Limits) -> Self {
        let store = Store::default();
        let shard = store.restart(set.digest, limits, &[Arc::clone(&set)]);
        let mut world =
            World { shard, store, set, limits, now: t("0s"), inputs: 0, away: vec![], fresh: vec![], opened: vec![] };
        let cis = ["web-1", "web-2"].map(|name| server(SCOPE, name)).to_vec();
        world.inbox(InboxBody::Cmdb(CmdbDelta { by: "test".into(), cis, relations: vec![] }));
        world.fresh.clear();
        world
    }

    fn batch(&mut self, f: impl FnOnce(&mut Shard, Timestamp)) {
        self.shard.begin(self.now, self.away.clone());
        f(&mut self.shard, self.now);
        let finished = self.shard.finish(BTreeMap::new());
        for (_, one) in &finished.decided {
            if let Decision::Step(Step::IncidentOpened { incident }) = &one.decision {
                self.opened.push(incident.id);
            }
            self.fresh.push(one.clone());
        }
        self.store.commit(&finished);
        self.store.is_whole(&self.shard);
    }

    /// The engine dies, and goes on from what was committed.
    pub(super) fn restart(&mut self) -> &mut Self {
        self.shard = self.store.restart(self.set.digest, self.limits, &[Arc::clone(&self.set)]);
        self
    }

    /// From now on these sources are away.
    pub(super) fn away(&mut self, sources: &[&str]) -> &mut Self {
        self.away = sources.iter().map(|&source| source.to_owned()).collect();
        self
    }

    /// The wall clock goes on, and nothing is taken meanwhile.
    pub(super) fn at_once(&mut self, when: &str) -> &mut Self {
        self.now = t(when);
        self
    }

    /// Events of an outage's time, each with the time of its record, are taken in one batch.
    pub(super) fn drain(&mut self, events: Vec<(&str, E)>) -> &mut Self {
        let inputs: Vec<(Timestamp, EventInput)> = events
            .into_iter()
            .map(|(at, e)| {
                self.inputs += 1;
                (t(at), matched(&self.set, e.build(t(at), self.inputs)))
            })
            .collect();
        self.batch(|shard, _| {
            for (at, input) in inputs {
                let stamp = shard.stamp(at);
                shard.event(stamp, SCOPE, input);
            }
        });
        self
    }

    /// Time passes; what is due by then fires.
    pub(super) fn at(&mut self, when: &str) -> &mut Self {
        assert!(t(when) >= self.now, "{when} has passed");
        self.now = t(when);
        self.batch(|shard, _| shard.tick());
        self
    }

    pub(super) fn event(&mut self, e: E) -> &mut Self {
        self.inputs += 1;
        let event = e.build(self.now, self.inputs);
        let input = matched(&self.set, event);
        self.batch(|shard, now| shard.event(now, SCOPE, input));
        self
    }

    pub(super) fn inbox(&mut self, body: InboxBody) -> &mut Self {
        self.inbox_of(SCOPE, body)
    }

    pub(super) fn inbox_of(&mut self, scope: &str, body: InboxBody) -> &mut Self {
        self.inputs += 1;
        let entry = NewInbox { id: format!("inbox-{}", self.inputs), scope: scope.into(), at: self.now, body };
        self.batch(|shard, now| shard.inbox(now, &entry));
        self
    }

    pub(super) fn publish(&mut self, set: Arc<RuleSet>) -> &mut Self {
        self.shard.learn(Arc::clone(&set));
        self.set = Arc::clone(&set);
        self.inbox(InboxBody::RulebooksPublished(set.digest))
    }

    /// The latest run's dispatcher tells what became of it; the request left at `started`.
    pub(super) fn report_from(&mut self, state: RunState, started: &str) -> &mut Self {
        self.report_run(self.run().id, state, started)
    }

    /// The report of the run that was decided last for a target; it started now, if it had not.
    pub(super) fn report_of(&mut self, target: &str, state: RunState) -> &mut Self {
        let now = self.now.since(t("0s")).to_string();
        let runs = self.store.scopes[SCOPE].runs.values().filter(|r| r.target.name == target);
        let run = runs.max_by_key(|r| (r.decided_at, r.round, r.step.clone())).unwrap().id;
        self.report_run(run, state, &now)
    }

    fn report_run(&mut self, run: Id, state: RunState, started: &str) -> &mut Self {
        let report = RunReport {
            run,
            state,
            started_at: (state != RunState::Denied).then(|| t(started)),
            message: "said so".into(),
            facts: BTreeMap::from([("freed".to_owned(), 7.into())]),
            verdicts: vec![],
        };
        self.inbox(InboxBody::RunReported(report))
    }

    /// The latest run's report; it started now, if it had not.
    pub(super) fn report(&mut self, state: RunState) -> &mut Self {
        let now = self.now.since(t("0s")).to_string();
        self.report_from(state, &now)
    }

    /// The latest page was taken.
    pub(super) fn delivered(&mut self) -> &mut Self {
        let page = self.store.scopes[SCOPE].pages.last().unwrap();
        let report = PageReport { page: page.id, incident: page.incident, delivered: true, message: String::new() };
        self.inbox(InboxBody::PageReported(report))
    }

    pub(super) fn act(&mut self, act: OperatorAct) -> &mut Self {
        self.act_as("ann", act)
    }

    pub(super) fn act_as(&mut self, by: &str, act: OperatorAct) -> &mut Self {
        self.inbox(InboxBody::Operator { by: by.into(), act })
    }

    pub(super) fn ack(&mut self) -> &mut Self {
        let incident = self.incident().id;
        self.act(OperatorAct::Acknowledge { incident })
    }

    pub(super) fn resolve(&mut self) -> &mut Self {
        let incident = self.incident().id;
        self.act(OperatorAct::Resolve { incident, code: CloseCode::UserError, notes: "by hand".into() })
    }

    /// The incident that was opened last, as the store has it.
    pub(super) fn incident(&self) -> &Incident {
        self.nth(self.opened.len() - 1)
    }

    /// The incident that was opened as number `n`, from 0.
    pub(super) fn nth(&self, n: usize) -> &Incident {
        &self.store.scopes[SCOPE].incidents[&self.opened[n]]
    }

    pub(super) fn opened(&self) -> usize {
        self.opened.len()
    }

    /// The run that was decided last.
    pub(super) fn run(&self) -> &Run {
        self.store.scopes[SCOPE].runs.values().max_by_key(|r| (r.decided_at, r.round, r.step.clone())).unwrap()
    }

    pub(super) fn runs(&self) -> Vec<String> {
        let mut runs: Vec<&Run> = self.store.scopes[SCOPE].runs.values().collect();
        runs.sort_by_key(|r| (r.decided_at, r.round, r.step.clone()));
        runs.iter().map(|r| format!("{} {}", r.playbook, r.state.name())).collect()
    }

    /// To whom, and why.
    pub(super) fn pages(&self) -> Vec<String> {
        self.store.scopes[SCOPE].pages.iter().map(|p| format!("{}: {}", p.to, p.reason)).collect()
    }

    pub(super) fn outbox(&self) -> usize {
        self.store.scopes[SCOPE].outbox.len()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// The last rows of history.
    pub(super) fn last_rows(&self, n: usize) -> Vec<HistoryRow> {
        let history = &self.store.scopes[SCOPE].history;
        history[history.len().saturating_sub(n)..].to_vec()
    }

    pub(super) fn ci(&self, name: &str) -> &Ci {
        &self.store.scopes[SCOPE].cis[&Ci::id_of(SCOPE, "server", name)]
    }

    /// The open windows, by purpose.
    pub(super) fn windows(&self) -> Vec<&'static str> {
        self.live().windows.values().map(|w| w.body.purpose()).collect()
    }

    pub(super) fn live(&self) -> &State {
        self.shard.scope(SCOPE).unwrap()
    }

    /// The steps since this was last asked, by name, changes of the CMDB aside.
    pub(super) fn steps(&mut self) -> String {
        let names: Vec<_> = std::mem::take(&mut self.fresh)
            .iter()
            .filter_map(|d| match &d.decision {
                Decision::Step(Step::CmdbChanged { .. }) | Decision::Mark(_) => None,
                Decision::Step(Step::IncidentMoved { to, .. }) => Some(format!("-> {}", to.name())),
                Decision::Step(step) => Some(step.name().to_owned()),
            })
            .collect();
        names.join(", ")
    }

    /// The decisions since this, the steps or the marks were last asked.
    pub(super) fn fresh(&mut self) -> Vec<Decided> {
        std::mem::take(&mut self.fresh)
    }

    /// The marks since this or the steps were last asked, by name; of an ignored input, why.
    pub(super) fn marks(&mut self) -> String {
        let names: Vec<_> = std::mem::take(&mut self.fresh)
            .iter()
            .filter_map(|d| match &d.decision {
                Decision::Mark(mark) => Some(mark.name().to_owned()),
                Decision::Step(_) => None,
            })
            .collect();
        names.join(", ")
    }
}

/// An event in the making. Its time is now, unless told.
#[derive(Clone)]
pub(super) struct E {
    event: OwnedEvent,
    time: Option<Timestamp>,
    has_id: bool,
}

fn message(type_: &'static str, ci: &'static str, kind: Kind, status: Status) -> E {
    let event = OwnedEvent {
        source: "mon".into(),
        kind,
        type_: type_.into(),
        status,
        severity: Severity::Minor,
        ci: CiRef { name: Some(ci.into()), ..CiRef::default() },
        dedup_key: Some(format!("{type_}/{ci}").into()),
        ..OwnedEvent::default()
    };
    E { event, time: None, has_id: false }
}

/// `down` of a CI begins.
pub(super) fn firing(ci: &'static str) -> E {
    message("down", ci, Kind::Alert, Status::Firing)
}

/// `down` of a CI ends.
pub(super) fn resolved(ci: &'static str) -> E {
    message("down", ci, Kind::Alert, Status::Resolved)
}

/// A sample of a CI's disk.
pub(super) fn disk(ci: &'static str, value: i64) -> E {
    let mut e = message("disk", ci, Kind::Metric, Status::Firing);
    e.event.value = Some(Measure::Int(value));
    e
}

impl E {
    pub(super) fn id(mut self, id: &'static str) -> Self {
        self.event.id = Some(id.into());
        self.has_id = true;
        self
    }

    pub(super) fn type_(mut self, type_: &'static str) -> Self {
        self.event.type_ = type_.into();
        self
    }

    pub(super) fn source(mut self, source: &'static str) -> Self {
        self.event.source = source.into();
        self
    }

    pub(super) fn severity(mut self, severity: Severity) -> Self {
        self.event.severity = severity;
        self
    }

    pub(super) fn time(mut self, time: &str) -> Self {
        self.time = Some(t(time));
        self
    }

    pub(super) fn began(mut self, began: &str) -> Self {
        self.event.began = Some(t(began));
        self
    }

    pub(super) fn summary(mut self, text: String) -> Self {
        self.event.summary = Some(text.into());
        self
    }

    pub(super) fn key(mut self, key: &'static str) -> Self {
        self.event.dedup_key = Some(key.into());
        self
    }

    /// As a source sends it that knows no keys.
    pub(super) fn keyless(mut self) -> Self {
        self.event.dedup_key = None;
        self
    }

    pub(super) fn label(mut self, name: &'static str, value: &'static str) -> Self {
        self.event.labels = paramedic_model::Labels::new(vec![(name.into(), value.into())]);
        self
    }

    pub(super) fn no_value(mut self) -> Self {
        self.event.value = None;
        self
    }

    /// As a source sends it that names only the key.
    pub(super) fn bare(mut self) -> Self {
        self.event.ci = CiRef::default();
        self.event.severity = Severity::Unknown;
        self
    }

    fn build(self, now: Timestamp, n: u32) -> OwnedEvent {
        let mut event = self.event;
        event.time = self.time.unwrap_or(now);
        event.received = now;
        if !self.has_id {
            event.id = Some(format!("event-{n}").into());
        }
        event
    }
}
