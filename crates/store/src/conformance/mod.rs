//! What every store must do: one list of facts, each proved on each store.
//!
//! A new store gets a constructor on [`Bench`] and a line in [`on_every_store`]; a new fact gets a line at the end. A
//! constructor gives `None` where its store is not to be had.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod commit;
pub(crate) mod fixture;
mod history;
mod homes;
mod inbox;
mod load;
mod outbox;
mod reading;
mod retain;
mod round_trip;
mod rulesets;
pub(crate) mod writer;

use paramedic_model::HistoryRow;

use crate::postgres::tests::Place;
use crate::{MemoryStore, PostgresStore, SqliteStore, Store};

/// A change to one row of history behind the store's back; `None` takes the row away.
type Alter<'a> = &'a dyn Fn(HistoryRow) -> Option<HistoryRow>;

/// An empty store to prove facts on.
pub(crate) struct Bench {
    store: Kind,
}

enum Kind {
    Memory(MemoryStore),
    Sqlite(SqliteStore, tempfile::TempDir),
    Postgres(PostgresStore, Place),
}

impl Bench {
    fn memory() -> Option<Self> {
        Some(Self { store: Kind::Memory(MemoryStore::new()) })
    }

    fn sqlite() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("store.db")).unwrap();
        Some(Self { store: Kind::Sqlite(store, folder) })
    }

    fn postgres() -> Option<Self> {
        let place = Place::fresh()?;
        Some(Self { store: Kind::Postgres(place.open(), place) })
    }

    fn store(&self) -> &dyn Store {
        match &self.store {
            Kind::Memory(store) => store,
            Kind::Sqlite(store, _) => store,
            Kind::Postgres(store, _) => store,
        }
    }

    /// Alters a row of history as somebody with access to the file could.
    fn alter_history(&self, scope: &str, seq: u64, alter: Alter<'_>) {
        match &self.store {
            Kind::Memory(store) => store.with_history(scope, |rows| {
                let at = rows.iter().position(|row| row.seq == seq).unwrap();
                match alter(rows[at].clone()) {
                    Some(row) => rows[at] = row,
                    None => drop(rows.remove(at)),
                }
            }),
            Kind::Sqlite(_, folder) => alter_file(&folder.path().join("store.db"), scope, seq, alter),
            Kind::Postgres(_, place) => place.alter_history(scope, seq, alter),
        }
    }
}

fn alter_file(path: &std::path::Path, scope: &str, seq: u64, alter: Alter<'_>) {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch("DROP TRIGGER IF EXISTS history_stays; DROP TRIGGER IF EXISTS history_is_kept").unwrap();
    let place = rusqlite::params![scope, seq.cast_signed()];
    let body: String =
        conn.query_row("SELECT body FROM history WHERE scope = ?1 AND seq = ?2", place, |row| row.get(0)).unwrap();
    match alter(serde_json::from_str(&body).unwrap()) {
        None => conn.execute("DELETE FROM history WHERE scope = ?1 AND seq = ?2", place).unwrap(),
        Some(row) => {
            let body = serde_json::to_string(&row).unwrap();
            let values = rusqlite::params![scope, seq.cast_signed(), body];
            conn.execute("UPDATE history SET body = ?3 WHERE scope = ?1 AND seq = ?2", values).unwrap()
        }
    };
}

/// Proves a fact on an empty store, where there is such a store here.
fn prove(bench: Option<Bench>, fact: impl FnOnce(&Bench)) {
    if let Some(bench) = bench {
        fact(&bench);
    }
}

macro_rules! on_one_store {
    ($on:ident $bench:ident: $($file:ident { $($fact:ident)+ })+) => {
        mod $on {
            $($(#[test] fn $fact() { super::prove(super::Bench::$bench(), super::$file::$fact); })+)+
        }
    };
}

macro_rules! on_every_store {
    ($($facts:tt)+) => {
        on_one_store! { on_memory memory: $($facts)+ }
        on_one_store! { on_sqlite sqlite: $($facts)+ }
        on_one_store! { on_postgres postgres: $($facts)+ }
    };
}

on_every_store! {
    commit {
        a_batch_is_written_whole_or_not_at_all
        a_stale_epoch_commits_nothing
        a_shard_that_was_never_loaded_commits_nothing
        a_position_moves_only_from_where_it_is
        a_journal_row_follows_the_last_one
        numbers_are_given_in_the_order_of_opening_and_stay
        one_open_incident_per_correlation_key
        a_key_is_free_again_in_the_batch_that_resolves_its_incident
        a_closed_incident_moves_no_more
        a_closed_incident_is_not_loaded
        a_scope_stays_with_its_shard
        without_a_journal_row_a_batch_only_says_where_sources_begin
        what_is_gone_is_not_loaded
        each_load_raises_the_epoch
        dead_letters_are_kept_byte_for_byte
    }
    round_trip {
        what_is_loaded_is_what_was_committed
        any_number_comes_back_as_it_was
    }
    history {
        history_continues_its_chain
        a_sound_history_has_nothing_broken
        an_altered_history_row_is_reported_at_its_seq
        a_missing_history_row_is_reported_at_its_seq
        history_cut_off_at_its_end_is_reported
        history_is_read_by_record_and_by_scope
        a_scope_may_stand_twice_in_a_batch
    }
    inbox {
        inbox_ids_are_appended_once_and_in_order
        acts_never_wait_behind_the_inbox
        each_lane_of_each_shard_counts_from_one
        many_threads_append_without_a_gap
        one_read_of_the_inbox_is_bounded_by_bytes
    }
    outbox {
        an_outbox_key_is_there_once
        an_outbox_row_moves_only_from_the_state_that_was_read
        an_outbox_row_moves_only_as_the_table_has_it
        a_request_never_changes_once_it_is_written
        a_move_under_a_stale_epoch_does_nothing
        a_move_and_its_report_are_one
        only_what_has_not_left_is_withdrawn
        the_oldest_release_is_listed_first
        a_target_is_busy_while_an_outcome_is_not_known
        what_is_due_is_given_to_its_owner_in_order
        only_what_still_wants_something_is_due
        a_row_is_started_only_by_its_shards_owner
    }
    homes {
        an_entry_goes_to_its_scopes_home
        an_entry_without_a_home_goes_to_a_known_shard_and_all_later_ones_too
        messages_of_one_source_stay_in_one_shard
        a_shards_own_scope_is_at_home_there_without_a_claim
        two_claims_of_one_scope_agree
        a_commit_for_a_scope_at_home_elsewhere_writes_nothing
        what_is_handed_over_is_there_once_the_batch_is
        shards_hand_to_one_another_at_once_and_nothing_is_lost
    }
    load {
        a_load_takes_the_claimed_sources_from_whoever_had_them
        a_stale_owners_commit_after_the_claim_is_fenced
        one_engine_alone_takes_all_sources
        one_engine_alone_is_refused_where_scopes_are_at_home_elsewhere
    }
    rulesets {
        a_published_rule_set_is_active_and_told_to_every_shard
        a_superseded_rule_set_is_published_again_only_on_purpose
        a_rule_set_that_is_not_kept_cannot_be_published
        recovered_is_said_and_taken_back
    }
    retain {
        what_has_ended_is_archived_and_what_has_not_stays
        the_chain_goes_on_from_where_the_archive_ends
        to_retain_twice_changes_nothing
        what_is_on_its_way_or_unknown_is_never_dropped
        events_that_have_ended_are_dropped_with_the_journal
        nothing_is_dropped_where_the_archive_cannot_be_written
        what_cannot_be_archived_keeps_nothing_else_here
        what_was_taken_leaves_the_inbox_and_the_journal_keeps_its_last_row
    }
    reading {
        incidents_are_listed_newest_first
        runs_are_listed_newest_first
        pages_are_in_order_of_decision
        a_rule_set_is_kept_under_its_digest
        a_halt_is_in_force_until_it_is_taken_back
        counts_say_what_is_there
        the_cmdb_is_per_scope
    }
}
