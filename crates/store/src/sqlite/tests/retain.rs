//! What has ended is archived and dropped; what has not stays, and its history with it.

use std::collections::BTreeMap;

use paramedic_model::{InboxBody, Lane, Order, OutboxRow, OutboxState, Span};

use super::*;
use crate::{Batch, Claim, Position, PositionMove, Retained, Retention};

const DAY: i64 = 86_400;

fn keep(days: i64) -> Retention {
    let span = Span::from_secs(days * DAY);
    Retention { records: span, dead_letters: span, journal: span }
}

fn in_outbox(state: OutboxState, name: &str, one: &paramedic_model::Incident) -> OutboxRow {
    OutboxRow { state, ..outbox_run(name, one) }
}

/// Until nothing is left to do; the sum.
fn retained(store: &SqliteStore, now: i64, archive: &Path) -> Retained {
    let mut sum = Retained::default();
    loop {
        let step = store.retain(&keep(30), at(now), archive).unwrap();
        if step == Retained::default() {
            return sum;
        }
        sum.incidents += step.incidents;
        sum.history += step.history;
        sum.dead_letters += step.dead_letters;
        sum.inbox += step.inbox;
        sum.journal += step.journal;
    }
}

fn archived(archive: &Path, text: &str) -> bool {
    let files = std::fs::read_dir(archive).unwrap().map(|e| e.unwrap().path());
    let mut walk: Vec<PathBuf> = files.collect();
    while let Some(path) = walk.pop() {
        if path.is_dir() {
            walk.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else if String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(text) {
            return true;
        }
    }
    false
}

/// History: old, old, its run, someone's CI, held, old, open.
fn some(store: &SqliteStore) {
    let [old, held, open] = ["old", "held", "open"].map(incident);
    let old_run = run("old run", &old);
    let mut writer = Writer::new(store);
    writer
        .write(|c| {
            for record in [old.id, old.id, old_run.id, id("a ci"), held.id, old.id, open.id] {
                add_step(c, record);
            }
            c.outbox.push(in_outbox(OutboxState::Succeeded, "old run", &old));
            c.outbox
                .push(OutboxRow { state: OutboxState::Failed, ..outbox_row("page", Order::Page(page("p", &old, 1))) });
            c.outbox.push(in_outbox(OutboxState::Unknown, "held run", &held));
            c.outbox.push(in_outbox(OutboxState::Succeeded, "open run", &open));
            c.runs.extend([old_run, run("held run", &held), run("open run", &open)]);
            c.pages.push(page("p", &old, 1));
            c.incidents.extend([in_state(IncidentState::Closed, old), in_state(IncidentState::Canceled, held), open]);
        })
        .unwrap();
}

#[test]
fn what_has_ended_leaves_with_all_that_belongs_to_it_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    let store = SqliteStore::in_memory().unwrap();
    some(&store);
    let before = store.load_shard(0, &Claim::Alone).unwrap().scopes;
    let outbox_before = store.counts().unwrap().outbox;
    assert_eq!(retained(&store, 29 * DAY, &archive), Retained::default(), "too young");
    assert_eq!(store.counts().unwrap().history, 7);
    assert!(!archive.exists());

    let done = retained(&store, 31 * DAY, &archive);
    assert_eq!((done.incidents, done.history), (1, 4), "to before the first row of what is held");
    assert_eq!(store.incident(id("old")).unwrap(), None);
    assert_eq!(store.run(id("old run")).unwrap(), None);
    assert_eq!(store.pages(id("old")).unwrap(), []);
    assert_eq!(store.outbox_of(id("p")).unwrap(), None);
    for kept in ["held", "open"] {
        assert!(store.incident(id(kept)).unwrap().is_some());
        assert!(store.outbox_of(id(&format!("{kept} run"))).unwrap().is_some());
        assert!(store.run(id(&format!("{kept} run"))).unwrap().is_some());
        assert_eq!(store.history(id(kept)).unwrap().len(), 1);
    }
    for text in ["incident_opened", &id("old").to_string(), &id("old run").to_string(), &id("p").to_string()] {
        assert!(archived(&archive, text), "{text}");
    }
    assert!(!archived(&archive, &id("open").to_string()));

    // The shard does not notice; the figures and the chain are right.
    assert_eq!(store.load_shard(0, &Claim::Alone).unwrap().scopes, before);
    let counts = store.counts().unwrap();
    assert_eq!((outbox_before.values().sum::<u64>(), counts.outbox.values().sum::<u64>()), (4, 2));
    assert_eq!(counts.history, 3);
    let audit = store.audit().unwrap();
    assert_eq!((audit.rows, audit.broken), (3, vec![]));
    assert_eq!(store.history_of_scope("default", 0, 9).unwrap().iter().map(|r| r.seq).collect::<Vec<_>>(), [5, 6, 7]);
    // What is left of a record's history: the row that could not leave yet.
    assert_eq!(store.history(id("old")).unwrap().iter().map(|r| r.seq).collect::<Vec<_>>(), [6]);
    assert_eq!(store.history(id("a ci")).unwrap(), []);
    Writer::new(&store).write(|c| ["a ci", "old", "open"].iter().for_each(|r| add_step(c, id(r)))).unwrap();
    let seqs = |record| store.history(id(record)).unwrap().iter().map(|r| r.seq).collect::<Vec<_>>();
    assert_eq!((seqs("a ci"), seqs("old"), seqs("open")), (vec![8], vec![6, 9], vec![7, 10]));
    assert_eq!(store.audit().unwrap().broken, []);
}

#[test]
fn a_history_that_is_archived_whole_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::in_memory().unwrap();
    let mut writer = Writer::new(&store);
    writer.write(|c| (0..3).for_each(|_| add_step(c, id("a ci")))).unwrap();
    assert_eq!(retained(&store, 31 * DAY, folder.path()).history, 3);
    assert_eq!(store.audit().unwrap().rows, 0);
    // The places of what left are used again: nothing may still point to them.
    writer.write(|c| ["b", "c", "b"].iter().for_each(|r| add_step(c, id(r)))).unwrap();
    let seqs = |record| store.history(id(record)).unwrap().iter().map(|r| r.seq).collect::<Vec<_>>();
    assert_eq!((seqs("a ci"), seqs("b"), seqs("c")), (vec![], vec![4, 6], vec![5]));
    let audit = store.audit().unwrap();
    assert_eq!((audit.rows, audit.broken), (3, vec![]));
}

#[test]
fn only_what_is_archived_can_be_deleted_and_a_hole_after_it_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::in_memory().unwrap();
    some(&store);
    retained(&store, 31 * DAY, folder.path());
    let conn = locked(store.writer().unwrap());
    assert!(conn.execute("DELETE FROM history WHERE seq = 5", []).is_err());
    assert!(conn.execute("UPDATE scopes SET archived_seq = archived_seq - 1", []).is_err(), "it only grows");
    assert!(conn.execute("UPDATE scopes SET archived_seq = 8", []).is_err(), "there is no row 8");
    conn.execute_batch("DROP TRIGGER history_is_kept; DELETE FROM history WHERE seq = 5").unwrap();
    drop(conn);
    assert_eq!(store.audit().unwrap().broken[0].1, 5);
}

#[test]
fn nothing_is_dropped_that_could_not_be_archived() {
    let folder = tempfile::tempdir().unwrap();
    let no_folder = folder.path().join("a file");
    std::fs::write(&no_folder, "").unwrap();
    let store = SqliteStore::in_memory().unwrap();
    some(&store);
    let before = store.counts().unwrap();
    store.retain(&keep(30), at(31 * DAY), &no_folder).unwrap_err();
    assert_eq!(store.counts().unwrap(), before);
    assert!(store.incident(id("old")).unwrap().is_some());
}

#[test]
fn what_a_crash_has_archived_and_not_dropped_is_archived_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, crashed) = (SqliteStore::in_memory().unwrap(), SqliteStore::in_memory().unwrap());
    some(&store);
    some(&crashed);
    assert_eq!(retained(&crashed, 31 * DAY, folder.path()).history, 4);
    assert_eq!(retained(&store, 31 * DAY, folder.path()).history, 4);
    let found = crate::archive::verify(folder.path(), &store.archived().unwrap()).unwrap();
    assert_eq!(found.broken, []);
    assert_eq!((found.records, found.ends), (1, store.archived().unwrap()), "it goes on where the archive ends");
}

#[test]
fn a_broken_history_is_not_archived() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::in_memory().unwrap();
    some(&store);
    let alter = "DROP TRIGGER history_stays; UPDATE history SET body = replace(body, 'voll', 'leer') WHERE seq = 2";
    locked(store.writer().unwrap()).execute_batch(alter).unwrap();
    assert_eq!(
        store.retain(&keep(30), at(31 * DAY), folder.path()).unwrap().incidents,
        1,
        "what can leave leaves first"
    );
    let said = store.retain(&keep(30), at(31 * DAY), folder.path()).unwrap_err().to_string();
    assert!(said.contains("broken at row 2") && said.contains("audit verify"), "{said}");
    assert_eq!(store.counts().unwrap().history, 7);
}

#[test]
fn a_step_is_bounded_and_called_again_until_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::in_memory().unwrap();
    let mut writer = Writer::new(&store);
    for block in 0..12 {
        writer
            .write(|c| {
                for n in 0..100 {
                    let one = in_state(IncidentState::Closed, incident(&format!("{block}/{n}")));
                    (0..5).for_each(|_| add_step(c, one.id));
                    c.incidents.push(one);
                }
            })
            .unwrap();
    }
    let first = store.retain(&keep(30), at(31 * DAY), folder.path()).unwrap();
    assert_eq!((first.incidents, first.history), (500, 2_500));
    let rest = retained(&store, 31 * DAY, folder.path());
    assert_eq!((rest.incidents, rest.history), (700, 3_500));
    assert_eq!((listed(&store), store.counts().unwrap().history), (0, 0));
}

fn shift(writer: &mut Writer<'_>, batch: Batch, lane: Lane, from: Option<i64>, to: i64) {
    let to = Position { next: to, last_at: None, last_digest: None };
    let positions = BTreeMap::from([(lane.name().to_owned(), PositionMove { from, to })]);
    writer.commit(&Batch { positions, ..batch }).unwrap();
}

#[test]
fn inbox_rows_leave_when_they_were_taken_and_the_journal_keeps_its_last_row() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::in_memory().unwrap();
    let report = |name: &str| {
        let mut one = entry(name);
        one.body = InboxBody::RulebooksPublished(digest("set"));
        one
    };
    store.inbox_append(&["a", "b", "c", "d"].map(report)).unwrap();
    store.inbox_append(&["e", "f"].map(entry)).unwrap();
    let mut writer = Writer::new(&store);
    let batch = writer.batch(vec![]);
    shift(&mut writer, batch, Lane::Inbox, None, 4);
    let batch = writer.batch(vec![]);
    writer.commit(&Batch { dead_letters: vec![dead_letter(1), dead_letter(10 * DAY)], ..batch }).unwrap();
    let done = retained(&store, 31 * DAY, folder.path());
    assert_eq!((done.inbox, done.journal, done.dead_letters), (3, 1, 1), "no position, no row of that lane");
    let seqs = |lane| store.inbox_read(0, lane, 0, 9).unwrap().iter().map(|r| r.seq).collect::<Vec<_>>();
    assert_eq!((seqs(Lane::Inbox), seqs(Lane::Acts)), (vec![4], vec![1, 2]));
    assert_eq!(store.counts().unwrap().inbox, 3);
    assert_eq!(store.journal(0, 0, 9).unwrap().iter().map(|r| r.batch).collect::<Vec<_>>(), [2]);
    assert_eq!(store.dead_letters(9).unwrap(), [dead_letter(10 * DAY)]);

    // An emptied lane goes on where it was.
    let batch = writer.batch(vec![]);
    shift(&mut writer, batch, Lane::Inbox, Some(4), 5);
    assert_eq!(retained(&store, 31 * DAY, folder.path()).inbox, 1);
    assert_eq!(store.inbox_append(&[report("g")]).unwrap()[0].seq, 5);
    assert_eq!((seqs(Lane::Inbox), store.counts().unwrap().inbox), (vec![5], 3));
    assert_eq!(store.load_shard(0, &Claim::Alone).unwrap().batch, 3);
}

#[test]
fn what_was_moved_meanwhile_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::in_memory().unwrap();
    some(&store);
    // Its last word came a moment ago.
    let late =
        paramedic_model::Incident { updated_at: at(31 * DAY), ..in_state(IncidentState::Closed, incident("old")) };
    Writer::new(&store).write(|c| c.incidents.push(late)).unwrap();
    assert_eq!(retained(&store, 31 * DAY, folder.path()), Retained { journal: 1, ..Retained::default() });
    assert!(store.incident(id("old")).unwrap().is_some());
}
