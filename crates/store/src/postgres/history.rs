//! Appending history: by COPY where there are many rows, else with the rest of the batch.

use std::collections::BTreeMap;
use std::pin::pin;

use paramedic_model::{HistoryRow, Id, ScopeChanges};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{Json, Type};

use super::error::{Fault, int};
use super::text;
use super::transaction::{Tx, Work};

/// From so many rows on, COPY is worth its own round trips.
const COPY_FROM: usize = 512;

/// Ends the session of an owner of the shard that has stood still for a while in the middle of its COPY: the process was
/// stopped, or its machine is gone. No time-out of the server's ends that, and it holds the shard's row.
pub(super) const STALLED: &str = "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
    JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'relation' AND l.relation = 'history'::regclass
    WHERE a.pid <> pg_backend_pid() AND a.state = 'active' AND a.wait_event = 'ClientRead'
    AND a.state_change < clock_timestamp() - interval '5 s' AND a.query LIKE 'COPY history %-- of shard ' || $1::bigint";

/// A row with what is written beside it.
struct Placed<'a> {
    scope: String,
    row: &'a HistoryRow,
    /// The record's row before it.
    before: Option<i64>,
}

fn placed<'a>(changes: &'a [ScopeChanges], ends: &BTreeMap<Id, u64>) -> Vec<Placed<'a>> {
    let mut ends = ends.clone();
    let mut out = Vec::new();
    for of_scope in changes {
        let scope = text::key(&of_scope.scope);
        for row in &of_scope.history {
            let before = ends.insert(row.record, row.seq).map(int);
            out.push(Placed { scope: scope.clone().into_owned(), row, before });
        }
    }
    out
}

fn count(changes: &[ScopeChanges]) -> usize {
    changes.iter().map(|c| c.history.len()).sum()
}

/// Many rows, ahead of the rest of the batch. The shard is named for [`STALLED`].
pub(super) async fn copy(
    tx: &Tx<'_>,
    shard: u32,
    changes: &[ScopeChanges],
    ends: &BTreeMap<Id, u64>,
) -> Result<(), Fault> {
    if count(changes) < COPY_FROM {
        return Ok(());
    }
    let sql =
        format!("COPY history (scope, seq, record, before, at, body) FROM STDIN (FORMAT binary) -- of shard {shard}");
    let sink = tx.client().copy_in(&sql).await?;
    let types = [Type::TEXT, Type::INT8, Type::BYTEA, Type::INT8, Type::INT8, Type::JSON];
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    for one in placed(changes, ends) {
        let (seq, at, record) = (int(one.row.seq), one.row.at.as_nanos(), &one.row.record.as_bytes()[..]);
        writer.as_mut().write(&[&one.scope, &seq, &record, &one.before, &at, &Json(one.row)]).await?;
    }
    writer.finish().await?;
    Ok(())
}

/// The rows, where they are few, and where each record's history ends now.
pub(super) fn works<'a>(changes: &'a [ScopeChanges], ends: &BTreeMap<Id, u64>) -> Vec<Work<'a>> {
    let rows = placed(changes, ends);
    if rows.is_empty() {
        return Vec::new();
    }
    let mut last: BTreeMap<Id, (String, i64)> = BTreeMap::new();
    for one in &rows {
        last.insert(one.row.record, (one.scope.clone(), int(one.row.seq)));
    }
    let ids: Vec<Vec<u8>> = last.keys().map(|id| id.as_bytes().to_vec()).collect();
    let (scopes, seqs): (Vec<String>, Vec<i64>) = last.into_values().unzip();
    let end = "INSERT INTO history_ends (record, scope, seq)
               SELECT * FROM unnest($1::bytea[], $2::text[], $3::bigint[])
               ON CONFLICT (record) DO UPDATE SET scope = excluded.scope, seq = excluded.seq";
    let mut works = vec![Work::new(end).with(ids).with(scopes).with(seqs)];
    if rows.len() < COPY_FROM {
        let insert = "INSERT INTO history (scope, seq, record, before, at, body)
                      SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[], $6::json[])";
        works.push(
            Work::new(insert)
                .with(rows.iter().map(|one| one.scope.clone()).collect::<Vec<_>>())
                .with(rows.iter().map(|one| int(one.row.seq)).collect::<Vec<_>>())
                .with(rows.iter().map(|one| &one.row.record.as_bytes()[..]).collect::<Vec<_>>())
                .with(rows.iter().map(|one| one.before).collect::<Vec<_>>())
                .with(rows.iter().map(|one| one.row.at.as_nanos()).collect::<Vec<_>>())
                .with(rows.iter().map(|one| Json(one.row)).collect::<Vec<_>>()),
        );
    }
    works
}
