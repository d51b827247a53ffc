//! Facts about what is archived and dropped, and what must stay.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use paramedic_model::{HistoryRow, IncidentState, Lane, Order, OutboxRow, OutboxState, Span};

use super::Bench;
use super::fixture::*;
use super::inbox::ids;
use super::writer::{Writer, add_step};
use crate::archive::{Anchor, verify};
use crate::{Batch, Counts, DeadLetter, Position, PositionMove, Retained, Retention, Store};

const DAY: i64 = 86_400;

/// Everything that is older than 30 days, as often as there is something to do; the sum.
fn retained(store: &dyn Store, now: i64, archive: &Path) -> Retained {
    let span = Span::from_secs(30 * DAY);
    let keep = Retention { records: span, dead_letters: span, journal: span };
    let mut sum = Retained::default();
    loop {
        let step = store.retain(&keep, at(now), archive).unwrap();
        if step == Retained::default() {
            return sum;
        }
        sum.incidents += step.incidents;
        sum.history += step.history;
        sum.dead_letters += step.dead_letters;
        sum.inbox += step.inbox;
        sum.journal += step.journal;
        sum.emits += step.emits;
    }
}

/// Every file under a folder, with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut walk = vec![folder.to_owned()];
    while let Some(path) = walk.pop() {
        if path.is_dir() {
            walk.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.exists() {
            let bytes = std::fs::read(&path).unwrap();
            out.insert(path, bytes);
        }
    }
    out
}

fn archived(folder: &Path, text: &str) -> bool {
    files(folder).into_values().any(|bytes| String::from_utf8_lossy(&bytes).contains(text))
}

fn seqs(store: &dyn Store) -> Vec<u64> {
    store.history_of_scope("default", 0, 99).unwrap().iter().map(|row| row.seq).collect()
}

/// History of `default`: 1 old, 2 its run, 3 its page, 4 a CI, 5 held, 6 old, 7 open. Of `site-b`: 1 and 2 of a CI.
fn some(store: &dyn Store) -> Writer<'_> {
    let [old, held, open] = ["old", "held", "open"].map(incident);
    let ended = |state, row| OutboxRow { state, ..row };
    let mut owner = Writer::new(store);
    owner
        .write(|c| {
            for record in ["old", "old run", "old page", "a ci", "held", "old", "open"] {
                add_step(c, id(record));
            }
            c.outbox = vec![
                ended(OutboxState::Succeeded, outbox_run("old run", &old)),
                ended(OutboxState::Failed, outbox_row("old page", Order::Page(page("old page", &old, 1)))),
                ended(OutboxState::Unknown, outbox_run("held run", &held)),
                ended(OutboxState::Succeeded, outbox_run("open run", &open)),
            ];
            c.runs = vec![run("old run", &old), run("held run", &held), run("open run", &open)];
            c.pages = vec![page("old page", &old, 1), page("open page", &open, 1)];
            c.incidents = vec![in_state(IncidentState::Closed, old), in_state(IncidentState::Canceled, held), open];
        })
        .unwrap();
    owner
        .write_in("site-b", |c| {
            add_step(c, id("b"));
            add_step(c, id("b"));
        })
        .unwrap();
    owner
}

pub(super) fn what_has_ended_is_archived_and_what_has_not_stays(bench: &Bench) {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    let store = bench.store();
    some(store);
    let before = store.load_shard(0, &no_source()).unwrap().scopes;
    assert_eq!(retained(store, 29 * DAY, &archive), Retained::default(), "too young");
    assert!(files(&archive).is_empty());
    let done = retained(store, 31 * DAY, &archive);
    assert_eq!((done.incidents, done.history), (1, 6), "to before the first row of what is held; and all of site-b");

    assert_eq!((store.incident(id("old")).unwrap(), store.incident_by_number(1).unwrap()), (None, None));
    assert_eq!((store.run(id("old run")).unwrap(), store.pages(id("old")).unwrap()), (None, vec![]));
    for gone in ["old run", "old page"] {
        assert_eq!(store.outbox_of(id(gone)).unwrap(), None);
        assert_eq!(store.outbox_get(id(&format!("outbox {gone}"))).unwrap(), None);
    }
    for kept in ["held", "open"] {
        assert!(store.incident(id(kept)).unwrap().is_some());
        assert!(store.run(id(&format!("{kept} run"))).unwrap().is_some());
        assert!(store.outbox_of(id(&format!("{kept} run"))).unwrap().is_some());
    }
    assert_eq!(store.pages(id("open")).unwrap().len(), 1);
    assert_eq!(seqs(store), [5, 6, 7]);
    assert_eq!(store.history(id("a ci")).unwrap(), []);
    assert_eq!(store.history_of_scope("site-b", 0, 9).unwrap(), []);
    let counts = store.counts().unwrap();
    assert_eq!((counts.history, counts.outbox.values().sum::<u64>()), (3, 2));
    for text in ["incident_opened", &id("old").to_string(), &id("old run").to_string(), &id("old page").to_string()] {
        assert!(archived(&archive, text), "{text}");
    }
    assert!(!archived(&archive, &id("open").to_string()));
    assert!(!archived(&archive, &id("held").to_string()));
    assert_eq!(store.load_shard(0, &no_source()).unwrap().scopes, before, "the shard does not notice");
}

pub(super) fn the_chain_goes_on_from_where_the_archive_ends(bench: &Bench) {
    let folder = tempfile::tempdir().unwrap();
    let store = bench.store();
    let mut owner = some(store);
    retained(store, 31 * DAY, folder.path());
    let audit = store.audit().unwrap();
    assert_eq!((audit.rows, audit.scopes, audit.broken), (3, 2, vec![]));
    // The archive proves itself, and the store's first row follows from its last.
    let found = verify(folder.path(), &store.archived().unwrap()).unwrap();
    assert_eq!((found.rows, found.records, found.broken), (6, 1, vec![]));
    assert_eq!(store.archived().unwrap(), found.ends, "the store says where each scope's archive ends");
    let Anchor { seq: 4, hash } = found.ends["default"] else { panic!("{:?}", found.ends) };
    let next = store.history_of_scope("default", 0, 1).unwrap().remove(0);
    assert_eq!((next.seq, next.hash), (5, next.expected_hash(hash)));
    // A whole scope that is gone from it is missed, by name.
    let kept = tempfile::tempdir().unwrap();
    let away = kept.path().join("site-b");
    std::fs::rename(folder.path().join("site-b"), &away).unwrap();
    let missing = verify(folder.path(), &store.archived().unwrap()).unwrap().broken;
    assert_eq!(missing, [("scope site-b".to_owned(), "rows 1 to 2 are missing".to_owned())]);
    std::fs::rename(&away, folder.path().join("site-b")).unwrap();
    // It is written on, also where all of it has left.
    owner.write(|c| add_step(c, id("open"))).unwrap();
    owner.write_in("site-b", |c| add_step(c, id("b"))).unwrap();
    assert_eq!(store.history(id("b")).unwrap().iter().map(|row| row.seq).collect::<Vec<_>>(), [3]);
    assert_eq!(store.audit().unwrap().broken, []);
    // What is altered after it is found, from the very next row on.
    let original = store.history_of_scope("default", 5, 1).unwrap().remove(0);
    bench.alter_history("default", 5, &|mut row| {
        row.reason = "nothing happened".into();
        row.hash = row.expected_hash(<_>::default());
        Some(row)
    });
    bench.alter_history("site-b", 3, &|_| None);
    let broken: Vec<_> = store.audit().unwrap().broken.into_iter().map(|(scope, seq, _)| (scope, seq)).collect();
    assert_eq!(broken, [("default".to_owned(), 5), ("site-b".to_owned(), 3)]);
    bench.alter_history("default", 5, &|_| Some(original.clone()));
    bench.alter_history("default", 6, &|_| None);
    assert_eq!(store.audit().unwrap().broken[0].1, 6);
}

/// Most of them hang on no incident, with which they could go.
pub(super) fn events_that_have_ended_are_dropped_with_the_journal(bench: &Bench) {
    use OutboxState as S;
    let folder = tempfile::tempdir().unwrap();
    let store = bench.store();
    let released = |name: &str, state, day: i64| OutboxRow { state, released_at: at(day * DAY), ..outbox_emit(name) };
    let stay = [S::Pending, S::Deferred, S::Started, S::Unknown].map(|state| released(state.name(), state, 0));
    let ended = [S::Denied, S::Cancelled, S::Succeeded, S::Failed].map(|state| released(state.name(), state, 0));
    let page = OutboxRow { released_at: at(0), ..outbox_row("page", Order::Page(page("page", &incident("one"), 1))) };
    let others = [released("young", S::Succeeded, 2), OutboxRow { state: S::Succeeded, ..page }];
    let all = stay.iter().chain(&ended).chain(&others).cloned().collect();
    Writer::new(store).write(|c| c.outbox = all).unwrap();
    assert_eq!(retained(store, 31 * DAY, folder.path()).emits, 4);
    for row in &ended {
        assert_eq!((store.outbox_get(row.key).unwrap(), store.outbox_of(row.order.id()).unwrap()), (None, None));
    }
    for row in stay.iter().chain(&others) {
        assert_eq!(store.outbox_get(row.key).unwrap(), Some((0, row.clone())));
    }
    assert_eq!(retained(store, 33 * DAY, folder.path()).emits, 1);
}

pub(super) fn to_retain_twice_changes_nothing(bench: &Bench) {
    let folder = tempfile::tempdir().unwrap();
    let store = bench.store();
    let mut owner = some(store);
    retained(store, 31 * DAY, folder.path());
    let all = || (store.counts().unwrap(), store.history_of_scope("default", 0, 99).unwrap(), files(folder.path()));
    let once = all();
    assert_eq!(retained(store, 31 * DAY, folder.path()), Retained::default());
    assert_eq!(all(), once);
    // What ends later goes later, behind what is there.
    let [old, held] = ["old", "held"].map(incident);
    let failed = OutboxRow { state: OutboxState::Failed, ..outbox_run("held run", &held) };
    let settle =
        crate::OutboxMove { key: failed.key, from: OutboxState::Unknown, row: failed, fence: None, inbox: vec![] };
    store.outbox_move(&settle).unwrap();
    owner.write(|c| add_step(c, old.id)).unwrap();
    let done = retained(store, 31 * DAY, folder.path());
    assert_eq!((done.incidents, done.history), (1, 2));
    assert_eq!(seqs(store), [7, 8]);
    let later = files(folder.path());
    assert!(once.2.iter().all(|(path, bytes)| later.get(path) == Some(bytes)), "what was archived is not touched");
    let found = verify(folder.path(), &BTreeMap::new()).unwrap();
    assert_eq!((found.broken, found.ends["default"].seq), (vec![], 6));
    assert_eq!(store.audit().unwrap().broken, []);
    // A number is not given a second time, not even the highest, when its incident has left.
    owner.write(|c| c.incidents = vec![in_state(IncidentState::Closed, incident("open"))]).unwrap();
    assert_eq!(retained(store, 31 * DAY, folder.path()).incidents, 1);
    owner.write(|c| c.incidents = vec![incident("new")]).unwrap();
    assert_eq!(store.incident(id("new")).unwrap().and_then(|i| i.number), Some(4));
}

/// Above all what is unknown: a person still has to say what became of it.
pub(super) fn what_is_on_its_way_or_unknown_is_never_dropped(bench: &Bench) {
    use OutboxState as S;
    let folder = tempfile::tempdir().unwrap();
    let store = bench.store();
    let mut owner = Writer::new(store);
    for state in S::ALL {
        owner
            .write(|c| {
                let one = in_state(IncidentState::Closed, incident(state.name()));
                c.outbox = vec![OutboxRow { state, ..outbox_run(state.name(), &one) }];
                c.outbox.push(OutboxRow { state: S::Succeeded, ..outbox_run(&format!("{} 2", state.name()), &one) });
                c.runs = vec![run(state.name(), &one)];
                c.incidents = vec![one];
            })
            .unwrap();
    }
    assert_eq!(retained(store, 10_000 * DAY, folder.path()).incidents, 4);
    for state in S::ALL {
        let stays = !matches!(state, S::Denied | S::Cancelled | S::Succeeded | S::Failed);
        let (record, name) = (id(state.name()), state.name());
        assert_eq!(store.outbox_of(record).unwrap().map(|row| row.state), stays.then_some(state), "{name}");
        assert_eq!(store.incident(record).unwrap().is_some(), stays, "{name}");
        assert_eq!(store.run(record).unwrap().is_some(), stays, "{name}");
        assert_eq!(store.outbox_of(id(&format!("{name} 2"))).unwrap().is_some(), stays, "{name}");
        assert_eq!(archived(folder.path(), &record.to_string()), !stays, "{name}");
    }
}

pub(super) fn nothing_is_dropped_where_the_archive_cannot_be_written(bench: &Bench) {
    let folder = tempfile::tempdir().unwrap();
    let no_folder = folder.path().join("a file");
    std::fs::write(&no_folder, "").unwrap();
    let store = bench.store();
    some(store);
    let span = Span::from_secs(DAY);
    let before = store.counts().unwrap();
    let keep = Retention { records: span, dead_letters: span, journal: span };
    refused(store, &keep, &no_folder);
    assert_eq!(store.counts().unwrap(), before);
    assert_eq!(store.audit().unwrap().rows, 9);
}

/// Step by step, until it is said that something cannot be archived.
fn refused(store: &dyn Store, keep: &Retention, archive: &Path) -> String {
    for _ in 0..9 {
        if let Err(error) = store.retain(keep, at(31 * DAY), archive) {
            return error.to_string();
        }
    }
    panic!("it is never said");
}

pub(super) fn what_cannot_be_archived_keeps_nothing_else_here(bench: &Bench) {
    let folder = tempfile::tempdir().unwrap();
    let store = bench.store();
    let mut owner = some(store);
    for block in 0..3 {
        let letters = (0..400).map(|n| dead_letter(400 * block + n)).collect();
        let batch = Batch { dead_letters: letters, ..owner.batch(vec![]) };
        owner.commit(&batch).unwrap();
    }
    bench.alter_history("default", 2, &|row| Some(HistoryRow { reason: "another".into(), ..row }));
    let span = Span::from_secs(DAY);
    let keep = Retention { records: span, dead_letters: span, journal: span };
    let said = refused(store, &keep, folder.path());
    assert!(said.contains("broken at row 2"), "{said}");
    let left = store.counts().unwrap();
    assert_eq!((left.dead_letters, left.history), (0, 9));
    assert_eq!(store.journal(0, 0, 99).unwrap().len(), 1);
}

fn shift(owner: &mut Writer<'_>, lane: Lane, from: Option<i64>, to: i64) {
    let to = Position { next: to, last_at: None, last_digest: None };
    let positions = BTreeMap::from([(lane.name().to_owned(), PositionMove { from, to })]);
    let batch = Batch { positions, ..owner.batch(vec![]) };
    owner.commit(&batch).unwrap();
}

pub(super) fn what_was_taken_leaves_the_inbox_and_the_journal_keeps_its_last_row(bench: &Bench) {
    let folder = tempfile::tempdir().unwrap();
    let store = bench.store();
    let mut owner = Writer::new(store);
    store.inbox_append(&["a", "b", "c", "d"].map(|name| handed(name, "default"))).unwrap();
    let young = paramedic_model::NewInbox { at: at(20 * DAY), ..handed("young", "default") };
    store.inbox_append(&[young, handed("behind it", "default"), entry("e")]).unwrap();
    shift(&mut owner, Lane::Inbox, None, 4);
    let letters = |store: &dyn Store| -> Vec<DeadLetter> { store.dead_letters(9).unwrap() };
    let batch = Batch { dead_letters: vec![dead_letter(1), dead_letter(10 * DAY)], ..owner.batch(vec![]) };
    owner.commit(&batch).unwrap();
    let done = retained(store, 31 * DAY, folder.path());
    let expected = Retained { inbox: 3, journal: 1, dead_letters: 1, ..Retained::default() };
    assert_eq!(done, expected);
    assert_eq!(ids(store, 0, Lane::Inbox), ["d", "young", "behind it"], "not what was not taken");
    assert_eq!(ids(store, 0, Lane::Acts), ["e"]);
    assert_eq!(store.journal(0, 0, 9).unwrap().iter().map(|row| row.batch).collect::<Vec<_>>(), [2]);
    assert_eq!(letters(store), [dead_letter(10 * DAY)]);
    let image = store.load_shard(0, &no_source()).unwrap();
    assert_eq!((image.batch, image.positions["inbox"].next), (2, 4));

    // All of it taken: from the beginning, to what is young. A lane goes on where it was.
    let mut owner = Writer::new(store);
    shift(&mut owner, Lane::Inbox, Some(4), 7);
    shift(&mut owner, Lane::Acts, None, 2);
    assert_eq!(retained(store, 31 * DAY, folder.path()).inbox, 2);
    assert_eq!((ids(store, 0, Lane::Inbox).len(), ids(store, 0, Lane::Acts).len()), (2, 0));
    assert_eq!(retained(store, 99 * DAY, folder.path()).inbox, 2);
    let places = store.inbox_append(&[handed("next", "default"), entry("next act")]).unwrap();
    assert_eq!(places.iter().map(|place| place.seq).collect::<Vec<_>>(), [7, 2]);
    assert_eq!(store.counts().unwrap(), Counts { inbox: 2, ..Counts::default() });
    assert!(files(folder.path()).is_empty(), "none of this is a record");
}
