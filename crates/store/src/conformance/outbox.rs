//! Facts about the outbox: once per key, moved by compare-and-set, as the table has it.

use paramedic_model::{Id, Lane, Order, OutboxRow, OutboxState};

use super::Bench;
use super::fixture::*;
use super::writer::Writer;
use crate::{Claim, DueLimits, OutboxMove, Store, StoreError};

use OutboxState as S;

fn moved(row: &OutboxRow, to: OutboxState) -> OutboxMove {
    let row_after = OutboxRow { state: to, attempts: row.attempts + 1, ..row.clone() };
    OutboxMove { key: row.key, from: row.state, row: row_after, fence: None, inbox: vec![] }
}

/// Moves a row along a path of states; gives it back as it is then.
fn walk(store: &dyn Store, row: &OutboxRow, path: &[OutboxState]) -> OutboxRow {
    for state in path {
        let current = store.outbox_get(row.key).unwrap().unwrap().1;
        store.outbox_move(&moved(&current, *state)).unwrap();
    }
    store.outbox_get(row.key).unwrap().unwrap().1
}

/// How a fresh row gets into a state.
fn path_to(state: OutboxState) -> Vec<OutboxState> {
    match state {
        S::Pending => vec![],
        S::Deferred | S::Denied | S::Cancelled | S::Started => vec![state],
        S::Accepted | S::Succeeded | S::Failed | S::Unknown => vec![S::Started, state],
    }
}

pub(super) fn an_outbox_key_is_there_once(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    let row = outbox_run("run", &incident("one"));
    let mut other = row.clone();
    other.message = Some("another".into());
    owner.write(|c| c.outbox = vec![row.clone(), other.clone()]).unwrap();
    assert_eq!(store.outbox_list(&S::ALL, 10).unwrap(), std::slice::from_ref(&row));
    let started = walk(store, &row, &[S::Started]);
    owner.write(|c| c.outbox = vec![other]).unwrap();
    assert_eq!(store.outbox_list(&S::ALL, 10).unwrap(), [started]);
    assert_eq!(store.counts().unwrap().outbox.values().sum::<u64>(), 1);
}

pub(super) fn an_outbox_row_moves_only_from_the_state_that_was_read(bench: &Bench) {
    let store = bench.store();
    let row = outbox_run("run", &incident("one"));
    let conflict = |change: &OutboxMove| match store.outbox_move(change) {
        Err(StoreError::Conflict { key, expected, found }) => {
            assert_eq!(key, row.key);
            (expected, found)
        }
        other => panic!("{other:?}"),
    };
    let start = moved(&row, S::Started);
    assert_eq!(conflict(&start), ("pending", "not there".to_owned()));
    Writer::new(store).write(|c| c.outbox = vec![row.clone()]).unwrap();
    store.outbox_move(&start).unwrap();
    assert_eq!(conflict(&start), ("pending", "started".to_owned()));
    assert_eq!(store.outbox_get(row.key).unwrap(), Some((0, start.row)));
}

pub(super) fn an_outbox_row_moves_only_as_the_table_has_it(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    for from in S::ALL {
        for to in S::ALL {
            let row = outbox_run(&format!("{}>{}", from.name(), to.name()), &incident("one"));
            owner.write(|c| c.outbox = vec![row.clone()]).unwrap();
            let row = walk(store, &row, &path_to(from));
            let change = moved(&row, to);
            let done = store.outbox_move(&change);
            assert_eq!(done.is_ok(), from == to || from.may_become(to), "{} -> {}: {done:?}", from.name(), to.name());
            let expected = if done.is_ok() { change.row } else { row };
            assert_eq!(store.outbox_get(expected.key).unwrap(), Some((0, expected)));
        }
    }
    let row = outbox_run("swapped", &incident("one"));
    owner.write(|c| c.outbox = vec![row.clone()]).unwrap();
    let mut change = moved(&row, S::Started);
    change.row.order = Order::Page(page("page", &incident("one"), 1));
    store.outbox_move(&change).unwrap_err();
    change = moved(&row, S::Started);
    change.row.key = id("another");
    store.outbox_move(&change).unwrap_err();
}

pub(super) fn a_request_never_changes_once_it_is_written(bench: &Bench) {
    let store = bench.store();
    let row = outbox_run("run", &incident("one"));
    Writer::new(store).write(|c| c.outbox = vec![row.clone()]).unwrap();
    let mut start = moved(&row, S::Started);
    start.row.request = Some("{\"a\": 1}".into());
    store.outbox_move(&start).unwrap();
    for request in [None, Some("{\"a\":1}".to_owned())] {
        let mut retry = moved(&start.row, S::Started);
        retry.row.request = request;
        store.outbox_move(&retry).unwrap_err();
    }
    store.outbox_move(&moved(&start.row, S::Started)).unwrap();
}

pub(super) fn a_move_under_a_stale_epoch_does_nothing(bench: &Bench) {
    let store = bench.store();
    let row = outbox_run("run", &incident("one"));
    Writer::new(store).write(|c| c.outbox = vec![row.clone()]).unwrap();
    let epoch = store.load_shard(0, &Claim::Alone).unwrap().epoch;
    let stale = OutboxMove { fence: Some((0, epoch - 1)), inbox: vec![entry("a")], ..moved(&row, S::Started) };
    match store.outbox_move(&stale) {
        Err(StoreError::Fenced { shard: 0, held, found }) => assert_eq!((held, found), (epoch - 1, epoch)),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.outbox_get(row.key).unwrap(), Some((0, row)));
    assert_eq!(store.inbox_read(0, Lane::Acts, 0, 10).unwrap(), []);
    store.outbox_move(&OutboxMove { fence: Some((0, epoch)), ..stale }).unwrap();
}

pub(super) fn a_move_and_its_report_are_one(bench: &Bench) {
    let store = bench.store();
    let row = outbox_run("run", &incident("one"));
    Writer::new(store).write(|c| c.outbox = vec![row.clone()]).unwrap();
    let denied = OutboxMove { inbox: vec![entry("denied")], ..moved(&row, S::Denied) };
    store.outbox_move(&denied).unwrap();
    let late = OutboxMove { inbox: vec![entry("late")], ..moved(&row, S::Started) };
    store.outbox_move(&late).unwrap_err();
    let ids: Vec<String> =
        store.inbox_read(0, Lane::Acts, 0, 10).unwrap().into_iter().map(|row| row.entry.id).collect();
    assert_eq!(ids, ["denied"]);
}

pub(super) fn only_what_has_not_left_is_withdrawn(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    let mut before = Vec::new();
    for state in S::ALL {
        let row = outbox_run(state.name(), &incident("one"));
        owner.write(|c| c.outbox = vec![row.clone()]).unwrap();
        before.push(walk(store, &row, &path_to(state)));
    }
    let fresh = outbox_run("fresh", &incident("one"));
    owner
        .write(|c| {
            c.outbox = vec![fresh.clone()];
            c.outbox_cancel = before.iter().chain([&fresh]).map(|row| (row.key, "resolved".into())).collect();
            c.outbox_cancel.push((id("never there"), "resolved".into()));
        })
        .unwrap();
    for row in before.into_iter().chain([fresh]) {
        let expected = match row.state {
            S::Pending | S::Deferred => {
                OutboxRow { state: S::Cancelled, message: Some("resolved".into()), ..row.clone() }
            }
            _ => row.clone(),
        };
        assert_eq!(store.outbox_get(row.key).unwrap(), Some((0, expected)));
    }
}

pub(super) fn the_oldest_release_is_listed_first(bench: &Bench) {
    let store = bench.store();
    let one = incident("one");
    let mut rows = vec![
        outbox_row("late", Order::Page(page("late", &one, 3))),
        outbox_run("z", &one),
        outbox_run("a", &one),
        outbox_run("early", &one),
    ];
    rows[0].released_at = at(99);
    rows[3].released_at = at(-99);
    Writer::new(store).write(|c| c.outbox = rows.clone()).unwrap();
    let names = |states: &[OutboxState], limit| -> Vec<_> {
        store.outbox_list(states, limit).unwrap().into_iter().map(|row| row.order.id()).collect()
    };
    assert_eq!(names(&[S::Pending, S::Deferred], 10), ["early", "z", "a", "late"].map(id));
    assert_eq!(names(&[S::Pending], 2), ["early", "z"].map(id));
    assert_eq!(names(&[S::Started], 10), []);
    assert_eq!(names(&[], 10), []);
    walk(store, &rows[1], &[S::Deferred]);
    assert_eq!(names(&[S::Pending, S::Deferred], 2), ["early", "z"].map(id));
    assert_eq!(names(&[S::Deferred], 2), [id("z")]);
    assert_eq!(store.outbox_of(id("late")).unwrap(), Some(rows.remove(0)));
    assert_eq!(store.outbox_of(id("nothing")).unwrap(), None);
    assert_eq!(store.outbox_get(id("nothing")).unwrap(), None);
}

pub(super) fn a_target_is_busy_while_an_outcome_is_not_known(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    for state in S::ALL {
        let row = outbox_run(state.name(), &incident("one"));
        let Order::Run(run) = &row.order else { unreachable!() };
        let target = run.target.id;
        owner.write(|c| c.outbox = vec![row.clone()]).unwrap();
        let row = walk(store, &row, &path_to(state));
        let busy = matches!(state, S::Started | S::Accepted | S::Unknown);
        assert_eq!(store.target_busy(target, id("another run")).unwrap(), busy, "{}", state.name());
        assert!(!store.target_busy(target, run.id).unwrap(), "a run is not in its own way");
        assert!(!store.target_busy(id("another target"), id("another run")).unwrap());
        if busy {
            walk(store, &row, &[S::Failed]);
        }
    }
    let mut row = outbox_row("page", Order::Page(page("page", &incident("one"), 1)));
    row.state = S::Pending;
    owner.write(|c| c.outbox = vec![row.clone()]).unwrap();
    walk(store, &row, &[S::Started]);
    let mut sent = outbox_emit("emit");
    sent.state = S::Pending;
    owner.write(|c| c.outbox = vec![sent.clone()]).unwrap();
    walk(store, &sent, &[S::Started]);
    assert!(!store.target_busy(id("web-1"), id("another run")).unwrap(), "a page or an event acts on nothing");
}

const fn most(pages: usize, runs: usize, emits: usize) -> DueLimits {
    DueLimits { pages, runs, emits }
}

fn due_emits(store: &dyn Store, emits: usize) -> Vec<Id> {
    let found = store.outbox_due(&[0], at(30), most(0, 0, emits)).unwrap();
    found.into_iter().map(|(_, row)| row.order.id()).collect()
}

/// A dispatcher looks at the rows of its shards whose time has come: pages first, events last, then by how long they have waited.
pub(super) fn what_is_due_is_given_to_its_owner_in_order(bench: &Bench) {
    let store = bench.store();
    let one = incident("one");
    let at_time = |row: OutboxRow, not_before: Option<i64>, released: i64| OutboxRow {
        not_before: not_before.map(at),
        released_at: at(released),
        ..row
    };
    let of_page = |name: &str| outbox_row(name, Order::Page(page(name, &one, 1)));
    let rows = [
        at_time(outbox_run("deferred", &one), Some(20), 1),
        at_time(outbox_run("deferred before", &one), Some(19), 9),
        at_time(outbox_run("new", &one), None, 8),
        at_time(outbox_run("new before", &one), None, 7),
        at_time(outbox_run("new after", &one), None, 8),
        at_time(outbox_run("not yet", &one), Some(31), 1),
        at_time(of_page("page again"), Some(30), 1),
        at_time(of_page("page"), None, 9),
        at_time(of_page("page not yet"), Some(31), 1),
        at_time(outbox_emit("emit again"), Some(30), 1),
        at_time(outbox_emit("emit"), None, 9),
        at_time(outbox_emit("emit not yet"), Some(31), 1),
    ];
    Writer::at(store, 0, &no_source()).write(|c| c.outbox = rows.to_vec()).unwrap();
    let others = [at_time(outbox_run("other", &one), None, 7), at_time(of_page("other page"), Some(29), 1)];
    Writer::at(store, 1, &no_source()).write_in("site-b", |c| c.outbox = others.to_vec()).unwrap();
    let due = |shards: &[u32], pages, runs| {
        let found = store.outbox_due(shards, at(30), most(pages, runs, 1)).unwrap();
        found.into_iter().map(|(shard, row)| (shard, row.order.id())).collect::<Vec<_>>()
    };
    let in_shard = |shard: u32, names: &[&str]| names.iter().map(|name| (shard, id(name))).collect::<Vec<_>>();
    let all = ["page", "page again", "new before", "new", "new after", "deferred before", "deferred", "emit"];
    assert_eq!(due(&[0], 9, 9), in_shard(0, &all));
    assert_eq!(due(&[0], 1, 2), in_shard(0, &["page", "new before", "new", "emit"]));
    assert_eq!(due(&[0], 0, 1), in_shard(0, &["new before", "emit"]));
    assert_eq!(due(&[0], 9, 0), in_shard(0, &["page", "page again", "emit"]));
    assert_eq!(due(&[1], 9, 9), in_shard(1, &["other page", "other"]));
    assert_eq!((due(&[], 9, 9), due(&[2], 9, 9)), (vec![], vec![]));
    // Both at once: one order over both, and the limits are for both together.
    let both = [(0, "page"), (1, "other page"), (0, "new before"), (1, "other"), (0, "new"), (0, "emit")];
    assert_eq!(due(&[1, 0], 2, 3), both.map(|(shard, name)| (shard, id(name))));
    assert_eq!(due(&[0, 0, 1, 0], 2, 3), both.map(|(shard, name)| (shard, id(name))), "each row once");
    for (most, kept) in [(most(0, 1, 0), 3), (most(0, 0, 1), 10)] {
        assert_eq!(store.outbox_due(&[0], at(30), most).unwrap(), [(0, rows[kept].clone())], "as it is kept");
    }
    assert_eq!(due_emits(store, 9), ["emit", "emit again"].map(id));
    assert_eq!(store.outbox_get(others[0].key).unwrap().map(|(shard, _)| shard), Some(1));
}

pub(super) fn only_what_still_wants_something_is_due(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    for state in S::ALL {
        let row = outbox_run(state.name(), &incident("one"));
        owner.write(|c| c.outbox = vec![row.clone()]).unwrap();
        walk(store, &row, &path_to(state));
    }
    let fresh = outbox_run("withdrawn", &incident("one"));
    owner.write(|c| c.outbox = vec![fresh.clone()]).unwrap();
    owner.write(|c| c.outbox_cancel = vec![(fresh.key, "resolved".into())]).unwrap();
    let found = store.outbox_due(&[0], at(99), most(9, 99, 9)).unwrap();
    let states: Vec<_> = found.into_iter().map(|(_, row)| row.state).collect();
    assert_eq!(states, [S::Pending, S::Deferred, S::Started, S::Accepted]);
    // A move says when it is to be looked at again.
    let mut later = moved(&store.outbox_get(id("outbox pending")).unwrap().unwrap().1, S::Deferred);
    later.row.not_before = Some(at(100));
    store.outbox_move(&later).unwrap();
    assert_eq!(store.outbox_due(&[0], at(99), most(9, 99, 9)).unwrap().len(), 3);
    assert_eq!(store.outbox_due(&[0], at(100), most(9, 99, 9)).unwrap().len(), 4);
}

/// An owner's epoch says nothing about the rows of others.
pub(super) fn a_row_is_started_only_by_its_shards_owner(bench: &Bench) {
    let store = bench.store();
    let owners = [0, 1].map(|shard| Writer::at(store, shard, &no_source()).epoch());
    let row = outbox_run("run", &incident("one"));
    Writer::at(store, 0, &no_source()).write(|c| c.outbox = vec![row.clone()]).unwrap();
    let start = |fence| OutboxMove { fence: Some(fence), ..moved(&row, S::Started) };
    match store.outbox_move(&start((1, owners[1]))) {
        Err(StoreError::HomeElsewhere { home: 0, shard: 1, .. }) => {}
        done => panic!("{done:?}"),
    }
    assert_eq!(store.outbox_get(row.key).unwrap(), Some((0, row.clone())));
    store.outbox_move(&start((0, owners[0] + 1))).unwrap();
}
