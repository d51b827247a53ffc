//! The inbox in memory: appended once per writer's id, to the shard where the entry is at home.

use std::collections::BTreeMap;

use paramedic_model::{Digest, InboxRow, Lane, NewInbox, Timestamp};

use super::tables::Tables;
use crate::rules::{first_home, home_name, publication, refused};
use crate::{INBOX_READ_BYTES, InboxPlace, Published, Result};

/// Its rows, lane by lane, and the places of the writers' ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox {
    lanes: BTreeMap<(u32, Lane), LaneRows>,
    places: BTreeMap<String, InboxPlace>,
}

#[derive(Clone, Debug, Default)]
struct LaneRows {
    /// Seq of the last row that was appended.
    last: u64,
    rows: BTreeMap<u64, InboxRow>,
}

impl Inbox {
    /// An entry whose id is new goes to the end of its lane.
    fn append(&mut self, shard: u32, entry: &NewInbox) -> InboxPlace {
        let lane = Lane::of(&entry.body);
        let rows = self.lanes.entry((shard, lane)).or_default();
        rows.last += 1;
        let place = InboxPlace { shard, lane, seq: rows.last };
        rows.rows.insert(place.seq, InboxRow { seq: place.seq, entry: entry.clone() });
        self.places.insert(entry.id.clone(), place);
        place
    }

    pub(super) fn read(&self, shard: u32, lane: Lane, from: u64, limit: usize) -> Result<Vec<InboxRow>> {
        let mut out = Vec::new();
        let mut bytes = 0;
        let Some(lane) = self.lanes.get(&(shard, lane)) else { return Ok(out) };
        for row in lane.rows.range(from..).take(limit).map(|(_, row)| row) {
            let body = serde_json::to_string(&row.entry.body).map_err(|e| refused("inbox", e))?;
            bytes += body.len();
            if bytes > INBOX_READ_BYTES && !out.is_empty() {
                break;
            }
            out.push(row.clone());
        }
        Ok(out)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Drops the beginning of a lane: rows before `next` that are older than `before`.
    pub(super) fn drop_taken(&mut self, shard: u32, lane: Lane, next: i64, before: Timestamp) -> u64 {
        let Some(lane) = self.lanes.get_mut(&(shard, lane)) else { return 0 };
        let mut gone = 0;
        while let Some(first) = lane.rows.first_entry() {
            if first.key().cast_signed() >= next || first.get().entry.at >= before {
                break;
            }
            self.places.remove(&first.remove().entry.id);
            gone += 1;
        }
        gone
    }
}

impl Tables {
    /// Appends entries whose id is new; gives the place of each.
    pub(super) fn append(&mut self, entries: &[NewInbox]) -> Vec<InboxPlace> {
        entries.iter().map(|entry| self.append_one(entry)).collect()
    }

    fn append_one(&mut self, entry: &NewInbox) -> InboxPlace {
        if let Some(place) = self.inbox.places.get(&entry.id) {
            return *place;
        }
        let name = home_name(entry);
        let shards: Vec<u32> = self.shards.keys().copied().collect();
        let shard = self.claim_home(&name, first_home(&name, &shards));
        self.inbox.append(shard, entry)
    }

    /// Makes a rule set the active one, and tells every shard.
    pub(super) fn publish(&mut self, digest: Digest, at: Timestamp, again: bool) -> Result<Published> {
        let Some(set) = self.rulesets.get_mut(&digest) else {
            let cause = format!("{digest} is not kept here: its sources are written before it is published");
            return Err(refused("rule set", cause));
        };
        match self.active {
            Some(active) if active == digest => return Ok(Published::Already),
            Some(active) if set.published && !again => return Ok(Published::Superseded(active)),
            _ => {}
        }
        set.published = true;
        self.active = Some(digest);
        let entries: Vec<NewInbox> = self.shards.keys().map(|shard| publication(digest, at, *shard)).collect();
        self.append(&entries);
        Ok(Published::Now)
    }
}
