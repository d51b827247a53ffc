//! Following the hash chain of a scope's history, row by row.

use paramedic_model::{Digest, HistoryRow, ScopeHead};

/// One scope's chain, followed from its first row, or from where its archive ends; it remembers the first place where
/// it is broken.
#[derive(Default)]
pub(crate) struct Chain {
    /// How many rows were looked at.
    pub(crate) rows: u64,
    last_seq: u64,
    last_hash: Digest,
    broken: Option<(u64, String)>,
}

impl Chain {
    /// To be followed from after row `last_seq`, which has this hash: what was archived is not looked at.
    pub(crate) fn after(last_seq: u64, last_hash: Digest) -> Self {
        Self { last_seq, last_hash, ..Self::default() }
    }

    /// The next row, as it is kept: `seq` is its place, `row` what can be read there.
    pub(crate) fn row(&mut self, seq: u64, row: Result<&HistoryRow, String>) {
        self.rows += 1;
        if self.broken.is_some() {
            return;
        }
        let expected = self.last_seq + 1;
        if seq != expected {
            let gap = match seq.saturating_sub(expected) {
                0 => format!("row {seq} is there twice"),
                1 => format!("row {expected} is missing"),
                _ => format!("rows {expected} to {} are missing", seq - 1),
            };
            self.broken = Some((seq.min(expected), gap));
            return;
        }
        match row {
            Err(why) => self.broken = Some((seq, format!("the row cannot be read: {why}"))),
            Ok(row) if row.seq != seq => self.broken = Some((seq, format!("the row says that it is row {}", row.seq))),
            Ok(row) if row.hash != row.expected_hash(self.last_hash) => {
                self.broken = Some((seq, "the row's hash does not follow from it and the row before".to_owned()));
            }
            Ok(row) => {
                self.last_seq = seq;
                self.last_hash = row.hash;
            }
        }
    }

    /// The first broken place among the rows so far.
    pub(crate) fn broken(&self) -> Option<(u64, &str)> {
        self.broken.as_ref().map(|(seq, why)| (*seq, why.as_str()))
    }

    /// The end of the rows: gives the first broken place, the head taken into account.
    pub(crate) fn end(self, head: Option<&ScopeHead>) -> Option<(u64, String)> {
        if self.broken.is_some() {
            return self.broken;
        }
        let last = self.last_seq;
        let Some(head) = head else { return Some((last, "the scope has rows, but no head".to_owned())) };
        if head.last_seq > last {
            Some((
                last + 1,
                format!("rows {} to {} are missing: the scope's head is at the latter", last + 1, head.last_seq),
            ))
        } else if head.last_seq < last {
            Some((
                head.last_seq + 1,
                format!("the scope's head is at row {}: what follows was not committed", head.last_seq),
            ))
        } else if head.last_hash != self.last_hash {
            Some((last, "the scope's head has another hash than its last row".to_owned()))
        } else {
            None
        }
    }
}
