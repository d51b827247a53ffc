//! What one rule set has made of the events so far: a summary of each incident that can still differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use paramedic_engine::{Decided, Decision, Mark, Step};
use paramedic_model::{CloseCode, Id, Incident, IncidentMove, IncidentState, Timestamp};
use serde_json::{Value, json};

use super::super::causes::{Cause, Causes, event};
use super::{EventRef, LISTED, Lines};

/// What an incident is about, in both sets' words: scope, rulebook, rule, values of `by`.
pub(super) type Correlation = (String, String, String, String);

/// A summary of an incident.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) correlation: Correlation,
    pub(super) key: Id,
    pub(super) opened: Timestamp,
    /// What opened it, and as an input.
    pub(super) first: Cause,
    pub(super) input: String,
    /// As it is now.
    pub(super) incident: Told,
    /// The event that last changed its priority.
    pub(super) raised: Option<(Timestamp, Option<EventRef>)>,
    /// When it was last resolved, while it is.
    pub(super) resolved: Option<Timestamp>,
    /// The event that ended it.
    pub(super) ended: Option<EventRef>,
    pub(super) runs: Deeds,
    pub(super) pages: Deeds,
    /// Its counterpart.
    pub(super) partner: Option<Id>,
    /// The incident of the other set that its first event belongs to.
    pub(super) near: Option<Value>,
    /// Nothing more happens to it.
    pub(super) done: bool,
}

/// What is compared of an incident besides what it did.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) rulebook: String,
    pub(super) rule: String,
    pub(super) about: Option<String>,
    pub(super) summary: String,
    pub(super) priority: u8,
    pub(super) assigned_to: Option<String>,
    pub(super) category: Option<String>,
    pub(super) shadow: bool,
    pub(super) state: IncidentState,
    pub(super) close_code: Option<CloseCode>,
    pub(super) reopened: u32,
}

/// A run or a page.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    /// What makes two of them the same.
    pub(super) what: Value,
    pub(super) at: Timestamp,
    pub(super) event: Option<EventRef>,
}

/// Runs or pages of an incident.
#[derive(Clone, Debug, Default)]
pub(super) struct Deeds {
    /// The first of them.
    pub(super) listed: Vec<Deed>,
    /// How many more.
    pub(super) more: u64,
}

impl Deeds {
    fn add(&mut self, deed: Deed) {
        if self.listed.len() < LISTED {
            self.listed.push(deed);
        } else {
            self.more += 1;
        }
    }

    fn count(&self) -> u64 {
        self.listed.len() as u64 + self.more
    }
}

/// What a decision means for the pairing.
pub(super) enum News {
    /// An incident began, or came back.
    Begun(Id),
    /// Nothing more happens to it.
    Closed(Id),
}

#[derive(Default)]
pub(super) struct Book {
    pub(super) records: BTreeMap<Id, Record>,
    pub(super) by_key: BTreeMap<Id, BTreeSet<Id>>,
    pub(super) by_correlation: BTreeMap<Correlation, BTreeSet<Id>>,
    /// Names of rules in the other set's words.
    renamed: BTreeMap<(String, String), String>,
    causes: Causes,
    /// Of this batch: the incidents that an input opened or added to.
    pub(super) touched: BTreeMap<String, Vec<Id>>,
}

impl Book {
    pub(super) fn new(renamed: BTreeMap<(String, String), String>) -> Self {
        Self { renamed, ..Self::default() }
    }

    /// Takes a decision; `lines` has the events of the batch.
    pub(super) fn take(&mut self, scope: &Arc<str>, decided: &Decided, lines: &Lines) -> Option<News> {
        let input: &str = &decided.because.input;
        self.causes.take(scope, decided, lines);
        match &decided.decision {
            Decision::Mark(Mark::Matched { incident, .. }) => {
                self.touched.entry(input.to_owned()).or_default().push(*incident);
                None
            }
            Decision::Step(Step::IncidentOpened { incident }) => {
                let cause = self.causes.of(scope, decided, incident, lines);
                self.open(incident, input, cause);
                Some(News::Begun(incident.id))
            }
            Decision::Step(step) => self.step(step, decided.at, event(scope, decided, lines)),
            Decision::Mark(_) => None,
        }
    }

    fn step(&mut self, step: &Step, at: Timestamp, event: Option<EventRef>) -> Option<News> {
        let id = match step {
            Step::RunDecided { run, .. } => run.incident,
            Step::PageDecided { page } => page.incident,
            step => step.record(),
        };
        let record = self.records.get_mut(&id)?;
        // What a timer or a report brings about goes back to what the incident was opened for.
        let cause = || event.clone().or_else(|| record.first.event.clone());
        match step {
            Step::IncidentRaised { impact, urgency, .. } => {
                record.raised = Some((at, cause()));
                record.incident.priority = paramedic_model::priority(*impact, *urgency);
                None
            }
            Step::IncidentMoved { act, to, code, .. } => {
                let (act, to) = (*act, *to);
                record.incident.state = to;
                match act {
                    IncidentMove::Resolve | IncidentMove::Cancel => {
                        record.ended = event;
                        record.resolved = Some(at);
                        record.incident.close_code = *code;
                    }
                    IncidentMove::Reopen => {
                        (record.resolved, record.ended) = (None, None);
                        record.incident.reopened += 1;
                        record.incident.close_code = None;
                        return Some(News::Begun(id));
                    }
                    IncidentMove::Start | IncidentMove::Hold | IncidentMove::Resume | IncidentMove::Close => {}
                }
                record.done = matches!(to, IncidentState::Closed | IncidentState::Canceled);
                record.done.then_some(News::Closed(id))
            }
            Step::RunDecided { run, .. } => {
                let what = json!({"playbook": run.playbook, "target": run.target.name, "with": run.parameters,
                                  "state": run.state.name()});
                let event = cause();
                record.runs.add(Deed { what, at, event });
                None
            }
            Step::PageDecided { page } => {
                let what = json!({"to": page.to, "step": page.step, "shadow": page.shadow});
                let event = cause();
                record.pages.add(Deed { what, at, event });
                None
            }
            _ => None,
        }
    }

    fn open(&mut self, incident: &Incident, input: &str, first: Cause) {
        let rule = self.renamed.get(&(incident.rulebook.clone(), incident.rule.clone()));
        let rule = rule.unwrap_or(&incident.rule).clone();
        let by = serde_json::to_string(&incident.by).unwrap_or_default();
        let correlation = (incident.scope.clone(), incident.rulebook.clone(), rule, by);
        self.by_key.entry(incident.correlation_key).or_default().insert(incident.id);
        self.by_correlation.entry(correlation.clone()).or_default().insert(incident.id);
        let told = Told {
            rulebook: incident.rulebook.clone(),
            rule: incident.rule.clone(),
            about: incident.about.clone(),
            summary: incident.summary.clone(),
            priority: incident.priority(),
            assigned_to: incident.assigned_to.clone(),
            category: incident.category.clone(),
            shadow: incident.shadow,
            state: incident.state,
            close_code: None,
            reopened: 0,
        };
        let record = Record {
            correlation,
            key: incident.correlation_key,
            opened: incident.opened_at,
            first,
            input: input.to_owned(),
            incident: told,
            raised: None,
            resolved: None,
            ended: None,
            runs: Deeds::default(),
            pages: Deeds::default(),
            partner: None,
            near: None,
            done: false,
        };
        self.records.insert(incident.id, record);
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<Record> {
        let record = self.records.remove(&id)?;
        drop_from(&mut self.by_key, &record.key, id);
        drop_from(&mut self.by_correlation, &record.correlation, id);
        Some(record)
    }
}

impl Record {
    /// For a report.
    pub(super) fn told(&self) -> Value {
        let mut told = json!({
            "opened_at": self.opened, "rule": self.incident.rule, "summary": self.incident.summary,
            "priority": self.incident.priority, "state": self.incident.state.name(), "runs": self.runs.count(),
            "pages": self.pages.count(),
        });
        self.first.tell(&mut told);
        told
    }

    /// In short, for a report.
    pub(super) fn named(&self) -> Value {
        let mut told = json!({"opened_at": self.opened, "rule": self.incident.rule, "summary": self.incident.summary});
        self.first.tell(&mut told);
        told
    }
}

fn drop_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Id>>, key: &K, id: Id) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
