//! Reading the tables, for people and machines.

use std::collections::BTreeMap;

use paramedic_model::{Ci, HistoryRow, Id, Incident, JournalRow, Page, Relation, Run};

use super::tables::{Scope, Tables};
use crate::archive::Anchor;
use crate::chain::Chain;
use crate::rules::limit;
use crate::{Audit, Counts, IncidentFilter, RunFilter};

impl Tables {
    pub(super) fn incident_by_number(&self, number: u64) -> Option<&Incident> {
        self.by_number.get(&number).and_then(|id| self.incidents.get(id))
    }

    pub(super) fn incidents_like(&self, filter: &IncidentFilter) -> Vec<Incident> {
        let ci: Option<Id> = filter.about.as_ref().and_then(|about| about.parse().ok());
        let fits = |i: &&Incident| {
            (filter.states.is_empty() || filter.states.contains(&i.state))
                && filter.priority.is_none_or(|p| p == i.priority())
                && (filter.about.is_none() || i.about == filter.about || (ci.is_some() && i.ci == ci))
        };
        self.by_number
            .range(..filter.before_number.unwrap_or(u64::MAX))
            .rev()
            .filter_map(|(_, id)| self.incidents.get(id))
            .filter(fits)
            .take(limit(filter.limit))
            .cloned()
            .collect()
    }

    pub(super) fn runs_like(&self, filter: &RunFilter) -> Vec<Run> {
        let fits = |r: &&Run| {
            filter.incident.is_none_or(|i| i == r.incident)
                && (filter.states.is_empty() || filter.states.contains(&r.state))
        };
        let mut found: Vec<&Run> = self.runs.values().filter(fits).collect();
        found.sort_by_key(|r| std::cmp::Reverse((r.decided_at, r.id)));
        found.into_iter().take(limit(filter.limit)).cloned().collect()
    }

    pub(super) fn pages_of(&self, incident: Id) -> Vec<Page> {
        let mut pages = self.pages.get(&incident).cloned().unwrap_or_default();
        pages.sort_by_key(|p| p.decided_at);
        pages
    }

    pub(super) fn history_of(&self, record: Id) -> Vec<HistoryRow> {
        self.scopes.values().flat_map(|s| &s.history).filter(|row| row.record == record).cloned().collect()
    }

    pub(super) fn history_from(&self, scope: &str, from: u64, limit: usize) -> Vec<HistoryRow> {
        let rows = self.scopes.get(scope).map_or(&[][..], |s| &s.history);
        rows.iter().filter(|row| row.seq >= from).take(limit).cloned().collect()
    }

    pub(super) fn cmdb(&self, scope: &str) -> (Vec<Ci>, Vec<Relation>) {
        self.scopes.get(scope).map_or_else(Default::default, |s| {
            (s.cis.values().cloned().collect(), s.relations.iter().cloned().collect())
        })
    }

    pub(super) fn journal_from(&self, shard: u32, from: u64, limit: usize) -> Vec<JournalRow> {
        let Some(shard) = self.shards.get(&shard) else { return Vec::new() };
        shard.journal.range(from..).take(limit).map(|(_, row)| row.clone()).collect()
    }

    pub(super) fn counts(&self) -> Counts {
        let mut incidents = BTreeMap::new();
        for incident in self.incidents.values().filter(|i| !i.shadow) {
            *incidents.entry((incident.state, incident.priority())).or_default() += 1;
        }
        Counts {
            incidents: incidents.into_iter().map(|((state, priority), n)| (state, priority, n)).collect(),
            outbox: self.outbox.counts(),
            dead_letters: count(self.dead_letters.len()),
            history: self.scopes.values().map(|s| count(s.history.len())).sum(),
            inbox: count(self.inbox.len()),
        }
    }

    pub(super) fn archived(&self) -> BTreeMap<String, Anchor> {
        let anchor = |scope: &Scope| Anchor { seq: scope.archived.0, hash: scope.archived.1 };
        let all = self.scopes.iter().map(|(name, scope)| (name.clone(), anchor(scope)));
        all.filter(|(_, anchor)| anchor.seq > 0).collect()
    }

    pub(super) fn audit(&self) -> Audit {
        let mut audit = Audit { rows: 0, scopes: 0, broken: Vec::new() };
        for (name, scope) in &self.scopes {
            let mut chain = Chain::after(scope.archived.0, scope.archived.1);
            for row in &scope.history {
                chain.row(row.seq, Ok(row));
            }
            audit.scopes += 1;
            audit.rows += chain.rows;
            audit.broken.extend(chain.end(Some(&scope.head)).map(|(seq, why)| (name.clone(), seq, why)));
        }
        audit
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
