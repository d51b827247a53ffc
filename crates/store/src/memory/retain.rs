//! What has ended and is older than it is to be kept: archived where it is a record, dropped here. All in one step.

use std::path::Path;

use paramedic_model::{HistoryRow, Id, IncidentState, Lane, OutboxState, Span, Timestamp};
use serde_json::{Value, json};

use super::tables::{Scope, Tables};
use crate::archive::Archive;
use crate::chain::Chain;
use crate::rules::refused;
use crate::{Result, Retained, Retention};

const CONTEXT: &str = "retention";

impl Tables {
    pub(super) fn retain(&mut self, keep: &Retention, now: Timestamp, archive: &Path) -> Result<Retained> {
        let before = |span: Span| Timestamp::from_nanos(now.as_nanos().saturating_sub(span.as_nanos()));
        let journal = before(keep.journal);
        let mut done = Retained {
            dead_letters: self.drop_dead_letters(before(keep.dead_letters)),
            inbox: self.drop_inbox(journal),
            journal: self.drop_journal(journal),
            emits: self.outbox.forget_emits(journal),
            ..Retained::default()
        };
        // Incidents before history: with the record goes what keeps its history.
        let archived = self.archive_incidents(before(keep.records), archive).and_then(|incidents| {
            done.incidents = incidents;
            done.history = self.archive_history(before(keep.records), archive)?;
            Ok(())
        });
        match archived {
            // What cannot be archived keeps nothing else here: it is told when nothing else is left to do.
            Err(_) if done != Retained::default() => Ok(done),
            Err(error) => Err(error),
            Ok(()) => Ok(done),
        }
    }

    fn drop_dead_letters(&mut self, before: Timestamp) -> u64 {
        count(self.dead_letters.extract_if(.., |letter| letter.at < before).count())
    }

    /// The beginnings of the lanes: rows that were taken.
    fn drop_inbox(&mut self, before: Timestamp) -> u64 {
        let mut gone = 0;
        for (number, shard) in &self.shards {
            for lane in Lane::ALL {
                if let Some(position) = shard.positions.get(lane.name()) {
                    gone += self.inbox.drop_taken(*number, lane, position.next, before);
                }
            }
        }
        gone
    }

    /// The beginning of each shard's journal, but never its last row: the shard goes on from it.
    fn drop_journal(&mut self, before: Timestamp) -> u64 {
        let mut gone = 0;
        for shard in self.shards.values_mut() {
            while shard.journal.len() > 1
                && let Some(first) = shard.journal.first_entry()
                && first.get().cap < before
            {
                first.remove();
                gone += 1;
            }
        }
        gone
    }

    fn archive_incidents(&mut self, before: Timestamp, archive: &Path) -> Result<u64> {
        let ended: Vec<Id> = self.by_number.values().copied().filter(|id| self.has_ended(*id, before)).collect();
        if ended.is_empty() {
            return Ok(0);
        }
        let records: Vec<Value> = ended.iter().map(|id| self.whole(*id)).collect();
        Archive::open(archive)?.records(&records)?;
        for id in &ended {
            self.forget(*id);
        }
        Ok(count(ended.len()))
    }

    /// Ended long enough ago, and nothing of it is still on its way or unknown.
    fn has_ended(&self, id: Id, before: Timestamp) -> bool {
        use OutboxState as S;
        let settled = |state| matches!(state, S::Denied | S::Cancelled | S::Succeeded | S::Failed);
        self.incidents.get(&id).is_some_and(|incident| {
            matches!(incident.state, IncidentState::Closed | IncidentState::Canceled) && incident.updated_at < before
        }) && self.outbox.of_incident(id).into_iter().all(|row| settled(row.state))
    }

    /// An incident with everything that goes with it.
    fn whole(&self, id: Id) -> Value {
        let mut runs: Vec<_> =
            self.runs_of.get(&id).into_iter().flatten().filter_map(|run| self.runs.get(run)).collect();
        runs.sort_by_key(|run| (run.decided_at, run.id));
        json!({
            "incident": self.incidents.get(&id),
            "runs": runs,
            "pages": self.pages_of(id),
            "outbox": self.outbox.of_incident(id),
        })
    }

    fn forget(&mut self, id: Id) {
        if let Some(number) = self.incidents.remove(&id).and_then(|incident| incident.number) {
            self.by_number.remove(&number);
        }
        for run in self.runs_of.remove(&id).unwrap_or_default() {
            self.runs.remove(&run);
        }
        self.pages.remove(&id);
        self.outbox.forget(id);
    }

    /// The beginning of each scope's history: rows that are old, before the first of a record that is still there.
    fn archive_history(&mut self, before: Timestamp, archive: &Path) -> Result<u64> {
        let mut archived = 0;
        let there = |record: &Id| self.is_there(*record);
        let leaving: Vec<(String, usize)> = self
            .scopes
            .iter()
            .map(|(name, scope)| {
                let leaves = |row: &&HistoryRow| row.at < before && !there(&row.record);
                (name.clone(), scope.history.iter().take_while(leaves).count())
            })
            .filter(|(_, rows)| *rows > 0)
            .collect();
        for (name, rows) in leaving {
            let Some(scope) = self.scopes.get_mut(&name) else { continue };
            archive_beginning(&name, scope, rows, archive)?;
            archived += count(rows);
        }
        Ok(archived)
    }

    fn is_there(&self, record: Id) -> bool {
        self.incidents.contains_key(&record)
            || self.runs.contains_key(&record)
            || self.pages.values().flatten().any(|page| page.id == record)
    }
}

/// What does not follow from what was archived is not archived: a person has to look first.
fn archive_beginning(name: &str, scope: &mut Scope, rows: usize, archive: &Path) -> Result<()> {
    let Some((leaving, _)) = scope.history.split_at_checked(rows) else { return Ok(()) };
    let mut chain = Chain::after(scope.archived.0, scope.archived.1);
    for row in leaving {
        chain.row(row.seq, Ok(row));
    }
    if let Some((seq, why)) = chain.broken() {
        let cause = format!("the history of scope {name} is broken at row {seq}: {why}; see `paramedic audit verify`");
        return Err(refused(CONTEXT, cause));
    }
    Archive::open(archive)?.append(name, leaving)?;
    if let Some(last) = leaving.last() {
        scope.archived = (last.seq, last.hash);
    }
    scope.history.drain(..rows);
    Ok(())
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
