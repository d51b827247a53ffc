//! A store of an earlier schema is brought up to date with all that is in it.

use paramedic_model::{
    InboxBody, JournalRow, Lane, NewInbox, OutboxState, RawMessage, Running, ScopeChanges, ScopeHead,
};
use rusqlite::{Connection, params};
use serde_json::to_string;

use super::*;
use crate::{Claim, DueLimits, Published};

fn message(name: &str) -> NewInbox {
    let message = RawMessage { source: "hook".into(), headers: <_>::default(), body: "e30=".into() };
    NewInbox { body: InboxBody::Message(message), ..entry(name) }
}

fn journal_row() -> JournalRow {
    JournalRow {
        shard: 0,
        epoch: 4,
        batch: 7,
        set: digest("old set"),
        set_after: digest("set"),
        floor: at(0),
        cap: at(1),
        end: at(1),
        tick: true,
        blind: vec![],
        ranges: <_>::default(),
        inputs: Running::default(),
        decisions: digest("decisions"),
        decisions_end: digest("end"),
    }
}

/// As the release before wrote it: an incident with a run that waits, a history, three inbox rows of which one was
/// taken.
fn schema_1(path: &Path) -> ScopeHead {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(include_str!("../schema_1.sql")).unwrap();
    conn.execute_batch("PRAGMA application_id = 0x50726d64; PRAGMA user_version = 1").unwrap();
    let one = incident("one");
    let mut changes = ScopeChanges { scope: "default".into(), ..ScopeChanges::default() };
    add_step(&mut changes, one.id);
    add_step(&mut changes, one.id);
    let head = changes.head.clone();
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        conn.execute(sql, values).unwrap();
    };
    run("INSERT INTO shards VALUES (0, 4, 7)", &[]);
    run("INSERT INTO positions VALUES (0, 'kafka/events/0', 12, ?1, NULL)", &[&at(1).as_nanos()]);
    run("INSERT INTO positions VALUES (0, 'inbox', 2, NULL, NULL)", &[]);
    run(
        "INSERT INTO scopes VALUES ('default', 0, ?1, ?2, ?3)",
        params![head.last_seq.cast_signed(), head.last_hash.to_string(), to_string(&head).unwrap()],
    );
    run(
        "INSERT INTO incidents VALUES (5, ?1, 'default', ?2, 1, 1, 0, 'web-1', ?3, ?4, ?5, ?6)",
        params![
            one.id.as_bytes(),
            one.correlation_key.as_bytes(),
            id("web-1").as_bytes(),
            one.opened_at.as_nanos(),
            one.updated_at.as_nanos(),
            to_string(&one).unwrap()
        ],
    );
    for (place, name, waits) in [(1, "waits", true), (2, "goes", false)] {
        let mut row = outbox_run(name, &one);
        row.not_before = row.not_before.filter(|_| waits);
        let place: i64 = place;
        run(
            "INSERT INTO outbox VALUES (?1, ?2, ?3, 'default', ?4, 'run', ?5, 'pending', ?6, ?7)",
            params![
                place,
                row.key.as_bytes(),
                row.order.id().as_bytes(),
                one.id.as_bytes(),
                id("web-1").as_bytes(),
                row.released_at.as_nanos(),
                to_string(&row).unwrap()
            ],
        );
    }
    for (place, row) in (1_i64..).zip(&changes.history) {
        let before = (place > 1).then_some(place - 1);
        let values = params![place, place, one.id.as_bytes(), before, to_string(row).unwrap()];
        run("INSERT INTO history VALUES (?1, 'default', ?2, ?3, ?4, ?5)", values);
    }
    run("INSERT INTO history_ends VALUES (?1, 2)", &[one.id.as_bytes()]);
    for entry in [entry("a"), message("b"), entry("c")] {
        let values = params![entry.id, entry.scope, entry.at.as_nanos(), to_string(&entry.body).unwrap()];
        run("INSERT INTO inbox (id, scope, at, body) VALUES (?1, ?2, ?3, ?4)", values);
    }
    run("INSERT INTO journal VALUES (0, 7, ?1)", &[&to_string(&journal_row()).unwrap()]);
    for set in ["old set", "set"] {
        run("INSERT INTO rulesets VALUES (?1, '{}')", &[&digest(set).to_string()]);
    }
    head
}

#[test]
fn a_store_of_schema_1_is_brought_up_to_date_and_all_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let head = schema_1(&path);
    let store = SqliteStore::open(&path).unwrap();

    let image = store.load_shard(0, &Claim::Alone).unwrap();
    assert_eq!((image.epoch, image.batch, image.active), (5, 7, Some(digest("set"))));
    assert_eq!(image.last, Some(journal_row()));
    assert_eq!(image.positions["kafka/events/0"].next, 12);
    assert_eq!(image.positions["inbox"].next, 2);
    assert_eq!(
        (image.scopes.len(), &image.scopes[0].head, &image.scopes[0].incidents),
        (1, &head, &vec![incident("one")])
    );
    assert_eq!(store.incident_by_number(5).unwrap().unwrap().id, id("one"));
    assert_eq!(store.history(id("one")).unwrap().len(), 2);
    assert_eq!(store.audit().unwrap().broken, []);
    let counts = store.counts().unwrap();
    assert_eq!((counts.history, counts.inbox), (2, 3));

    // The inbox keeps its order and its numbers, acts among it; what is new goes to its own lane.
    let taken: Vec<_> = store.inbox_read(0, Lane::Inbox, 0, 9).unwrap().into_iter().map(|r| (r.seq, r.entry)).collect();
    assert_eq!(taken, [(1, entry("a")), (2, message("b")), (3, entry("c"))]);
    let places = store.inbox_append(&[entry("c"), message("d"), entry("e")]).unwrap();
    let places: Vec<_> = places.into_iter().map(|p| (p.shard, p.lane, p.seq)).collect();
    assert_eq!(places, [(0, Lane::Inbox, 3), (0, Lane::Inbox, 4), (0, Lane::Acts, 1)]);

    assert_eq!(store.scope_home("default").unwrap(), Some(0));
    assert_eq!(store.scope_home("webhook:hook").unwrap(), Some(0), "its messages stay in order");
    let due = |now| {
        let due = store.outbox_due(&[0], now, DueLimits { pages: 9, runs: 9, emits: 9 }).unwrap();
        due.into_iter().map(|(shard, row)| (shard, row.order.id())).collect::<Vec<_>>()
    };
    assert_eq!(due(at(11)), [(0, id("goes"))]);
    assert_eq!(due(at(12)), [(0, id("goes")), (0, id("waits"))], "to the nanosecond");
    assert_eq!(store.outbox_list(&[OutboxState::Pending], 9).unwrap().len(), 2);

    // The set that the journal ended with is the active one; no other is known to have been published.
    assert_eq!(store.ruleset_active().unwrap(), Some(digest("set")));
    assert_eq!(store.ruleset_publish(digest("set"), at(2), false).unwrap(), Published::Already);
    assert_eq!(store.ruleset_publish(digest("old set"), at(2), false).unwrap(), Published::Now);
    assert_eq!(store.ruleset_publish(digest("set"), at(3), false).unwrap(), Published::Superseded(digest("old set")));
    assert_eq!(store.recovered().unwrap(), None);
}

#[test]
fn an_empty_store_of_schema_1_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch(include_str!("../schema_1.sql")).unwrap();
    conn.execute_batch("PRAGMA application_id = 0x50726d64; PRAGMA user_version = 1").unwrap();
    drop(conn);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.counts().unwrap(), crate::Counts::default());
    assert_eq!(store.inbox_append(&[entry("a")]).unwrap()[0].seq, 1);
    assert_eq!(store.load_shard(0, &Claim::Alone).unwrap().active, None);
}

#[test]
fn positions_of_sources_are_there_once_and_each_shard_has_lanes_of_its_own() {
    let store = SqliteStore::in_memory().unwrap();
    let conn = locked(store.writer().unwrap());
    let add = |shard: u32, name: &str| {
        conn.execute("INSERT INTO positions VALUES (?1, ?2, 1, NULL, NULL)", params![shard, name]).is_ok()
    };
    assert!(add(0, "kafka/events/0") && add(0, "inbox") && add(1, "inbox") && add(0, "acts") && add(1, "acts"));
    assert!(!add(1, "kafka/events/0"));
}
