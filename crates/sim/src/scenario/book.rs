//! All records of a scenario, as a store would keep them: closed ones too.

use std::collections::BTreeMap;

use paramedic_engine::{Decision, Finished, Step};
use paramedic_model::{HistoryRow, Id, Incident, Page, Run};

use super::BEGINNING;

#[derive(Default)]
pub(super) struct Book {
    incidents: BTreeMap<Id, Incident>,
    runs: BTreeMap<Id, Run>,
    /// In order of opening.
    opened: Vec<Id>,
    /// In order of decision.
    decided: Vec<Id>,
    /// In order of decision.
    pub(super) pages: Vec<Page>,
    history: Vec<HistoryRow>,
}

impl Book {
    pub(super) fn add(&mut self, finished: Finished) {
        for (_, decided) in &finished.decided {
            match &decided.decision {
                Decision::Step(Step::IncidentOpened { incident }) => self.opened.push(incident.id),
                Decision::Step(Step::RunDecided { run, .. }) => self.decided.push(run.id),
                _ => {}
            }
        }
        for changes in finished.changes {
            self.incidents.extend(changes.incidents.into_iter().map(|i| (i.id, i)));
            self.runs.extend(changes.runs.into_iter().map(|r| (r.id, r)));
            self.pages.extend(changes.pages);
            self.history.extend(changes.history);
        }
    }

    /// In order of opening.
    pub(super) fn incidents(&self) -> impl DoubleEndedIterator<Item = &Incident> {
        self.opened.iter().filter_map(|id| self.incidents.get(id))
    }

    /// In order of decision.
    pub(super) fn runs(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.decided.iter().filter_map(|id| self.runs.get(id))
    }

    /// For people: instant, step, reason.
    pub(super) fn timeline(&self) -> Vec<String> {
        self.history
            .iter()
            .map(|row| {
                let at = row.at.since(BEGINNING).to_string();
                format!("{at:<8} {:<17} {}", row.step, row.reason).trim_end().to_owned()
            })
            .collect()
    }
}
