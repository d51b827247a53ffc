//! All records of a scenario, as a store would keep them: closed ones too; and how they are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_engine::{Decision, Finished, Mark, Step, rule_failed};
use paramedic_model::{Emit, HistoryRow, Id, Incident, Page, Run, Timestamp};
use paramedic_rulebook::{EnrichFailures, Matches, RuleSet};

use super::BEGINNING;
use super::coverage::{Reached, Reaching};
use super::expect::Records;

/// So many records of a kind are shown where one was missed.
const SHOWN: usize = 10;

pub(super) struct Book {
    set: Arc<RuleSet>,
    reaching: Reaching,
    incidents: BTreeMap<Id, Incident>,
    runs: BTreeMap<Id, Run>,
    /// In order of opening.
    opened: Vec<Id>,
    /// In order of decision.
    decided: Vec<Id>,
    /// In order of decision.
    pub(super) pages: Vec<Page>,
    /// In order of decision.
    pub(super) emits: Vec<Emit>,
    /// Notes of scripts on incidents, in order.
    pub(super) notes: Vec<String>,
    history: Vec<HistoryRow>,
    /// Events that say nothing new of an alert, in order: when, and about what.
    repeats: Vec<(Timestamp, String)>,
    broken: Vec<String>,
}

impl Book {
    pub(super) fn new(set: &Arc<RuleSet>) -> Self {
        Self {
            set: Arc::clone(set),
            reaching: Reaching::new(set),
            incidents: BTreeMap::new(),
            runs: BTreeMap::new(),
            opened: Vec::new(),
            decided: Vec::new(),
            pages: Vec::new(),
            emits: Vec::new(),
            notes: Vec::new(),
            history: Vec::new(),
            repeats: Vec::new(),
            broken: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, finished: Finished) {
        let Finished { decided, changes, .. } = finished;
        for (_, decided) in &decided {
            if let Some(failed) = rule_failed(decided) {
                let at = decided.at.since(BEGINNING);
                let off = if failed.is_off { "; it is switched off" } else { "" };
                let (rulebook, rule) = (failed.rulebook, failed.rule);
                self.broken.push(format!("{}: rule {rulebook}/{rule} failed at {at}: {}{off}", failed.at, failed.why));
            }
            match &decided.decision {
                Decision::Step(Step::IncidentOpened { incident }) => self.opened.push(incident.id),
                Decision::Step(Step::RunDecided { run, .. }) => self.decided.push(run.id),
                Decision::Step(Step::EmitDecided { emit }) => self.emits.push((**emit).clone()),
                Decision::Step(Step::Noted { text, .. }) => self.notes.push(text.clone()),
                Decision::Mark(Mark::Repeat { alert }) => {
                    self.repeats.push((decided.at, alert.dedup_key.to_string()));
                }
                _ => {}
            }
        }
        for changes in changes {
            self.incidents.extend(changes.incidents.into_iter().map(|i| (i.id, i)));
            self.runs.extend(changes.runs.into_iter().map(|r| (r.id, r)));
            self.pages.extend(changes.pages);
            self.history.extend(changes.history);
        }
        for (_, decided) in &decided {
            self.reaching.take(&self.set, decided, &self.incidents);
        }
    }

    pub(super) fn matched(&mut self, matches: &Matches) {
        self.reaching.matched(matches);
    }

    /// Steps of `enrich` that failed for an event.
    pub(super) fn enrich_failed(&mut self, failed: EnrichFailures, now: Timestamp) {
        let at = now.since(BEGINNING);
        let told = failed.first.into_iter().map(|(place, why)| format!("{place}: enrich failed at {at}: {why}"));
        self.broken.extend(told);
    }

    /// Which parts of the rules have been reached.
    pub(super) fn into_reached(self) -> Reached {
        self.reaching.reached
    }

    /// The records of a kind, `incidents` as well as `incident`; the compared ones are marked.
    pub(super) fn there(&self, kind: &str, compared: &Records) -> Vec<String> {
        let all: Vec<String> = match kind {
            "incident" | "incidents" => {
                self.incidents().map(|i| mark(compared.incident, i.id, told_incident(i))).collect()
            }
            "run" | "runs" | "operator" => self.runs().map(|r| mark(compared.run, r.id, told_run(r))).collect(),
            "page" | "pages" => self.pages.iter().map(|p| mark(compared.page, p.id, told_page(p))).collect(),
            "emit" | "emits" => self.emits.iter().map(|e| mark(compared.emit, e.id, told_emit(e))).collect(),
            "note" => self.notes.iter().map(|text| format!("  note: {text}")).collect(),
            _ => return Vec::new(),
        };
        let older = all.len().saturating_sub(SHOWN);
        let newest = all.into_iter().skip(older);
        if older > 0 { [format!("  {older} older ones")].into_iter().chain(newest).collect() } else { newest.collect() }
    }

    /// In order of opening.
    pub(super) fn incidents(&self) -> impl DoubleEndedIterator<Item = &Incident> {
        self.opened.iter().filter_map(|id| self.incidents.get(id))
    }

    /// In order of decision.
    pub(super) fn runs(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.decided.iter().filter_map(|id| self.runs.get(id))
    }

    /// For people: rules that failed.
    pub(super) fn broken(&self) -> Vec<String> {
        self.broken.clone()
    }

    /// For people: instant, step, reason.
    pub(super) fn timeline(&self) -> Vec<String> {
        let steps = self.history.iter().map(|row| (row.at, row.step.as_str(), row.reason.clone()));
        let repeats = self.repeats.iter().map(|(at, key)| {
            let why = format!("alert {key} is open already: nothing new (samples are sent with `kind: metric`)");
            (*at, "(a repeat)", why)
        });
        let mut all: Vec<_> = steps.chain(repeats).collect();
        all.sort_by_key(|(at, ..)| *at);
        let told = |(at, step, reason): (Timestamp, &str, String)| {
            let at = at.since(BEGINNING).to_string();
            format!("{at:<8} {step:<17} {reason}").trim_end().to_owned()
        };
        all.into_iter().map(told).collect()
    }
}

fn mark(compared: Option<Id>, id: Id, told: String) -> String {
    format!("{} {told}", if compared == Some(id) { '>' } else { ' ' })
}

fn told_incident(i: &Incident) -> String {
    let about = i.about.as_ref().map(|a| format!(", about {a}")).unwrap_or_default();
    let shadow = if i.shadow { ", would have been" } else { "" };
    format!(
        "incident {:?} of {}/{}: {}, priority {}{about}{shadow}",
        i.summary,
        i.rulebook,
        i.rule,
        i.state.name(),
        i.priority()
    )
}

fn told_run(r: &Run) -> String {
    let with = serde_json::to_string(&r.parameters).unwrap_or_default();
    format!("run {} on {} with {with}: {}", r.playbook, r.target.name, r.state.name())
}

fn told_page(p: &Page) -> String {
    let shadow = if p.shadow { ", would have been" } else { "" };
    format!("page to {}: {}{shadow}", p.to, p.reason)
}

fn told_emit(e: &Emit) -> String {
    let shadow = if e.shadow { ", would have been" } else { "" };
    format!("event to {}: {}{shadow}", e.topic, serde_json::to_string(&e.event).unwrap_or_default())
}
