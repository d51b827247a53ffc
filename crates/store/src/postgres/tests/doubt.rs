//! Connections that are lost at the worst moment.

use std::time::{Duration, Instant};

use paramedic_model::{IncidentState, OutboxState};

use super::super::PostgresStore;
use super::Place;
use super::proxy::{Fate, Proxy};
use crate::conformance::fixture::*;
use crate::conformance::writer::{Writer, add_step};
use crate::{Claim, OutboxMove, Store, StoreError};

/// A store behind a network that can be cut, and one beside it.
fn behind(place: &Place) -> (Proxy, PostgresStore, PostgresStore) {
    let beside = place.open();
    let proxy = Proxy::to(place.port());
    let url = place.url().replace(&format!(":{}/", place.port()), &format!(":{}/", proxy.port));
    let store = PostgresStore::open(&format!("{url}&sslmode=disable")).unwrap();
    (proxy, store, beside)
}

const CUTS: [Fate; 3] = [Fate::CutBefore, Fate::CutBehind, Fate::AnswerLost];

#[test]
fn a_commit_whose_answer_was_lost_is_there_once() {
    let Some(place) = Place::fresh() else { return };
    let (proxy, store, beside) = behind(&place);
    let mut owner = Writer::new(&store);
    for round in 0..9usize {
        proxy.next_commit(CUTS[round % 3]);
        let written = owner.write(|c| {
            let one = incident(&round.to_string());
            add_step(c, one.id);
            c.outbox.push(outbox_run(&round.to_string(), &one));
            c.incidents.push(one);
        });
        written.unwrap_or_else(|e| panic!("round {round}: {e}"));
    }
    assert_eq!(proxy.met(), 9);
    let batches: Vec<u64> = beside.journal(0, 0, 99).unwrap().iter().map(|row| row.batch).collect();
    assert_eq!(batches, (1..=9).collect::<Vec<_>>());
    let counts = beside.counts().unwrap();
    assert_eq!((counts.history, counts.outbox["pending"]), (9, 9));
    assert_eq!(beside.audit().unwrap().broken, []);
}

#[test]
fn a_commit_in_doubt_that_another_owner_has_overtaken_is_told_from_one_that_was_not_made() {
    let Some(place) = Place::fresh() else { return };
    let (proxy, store, beside) = behind(&place);
    let mut owner = Writer::new(&store);
    owner.write(|c| c.incidents.push(incident("one"))).unwrap();
    // Nothing passes any more: the server ends the session that stands still, and the shard is free.
    proxy.next_commit(Fate::Freeze);
    let began = Instant::now();
    std::thread::scope(|threads| {
        let frozen = threads.spawn(|| {
            let mut owner = owner;
            owner.write(|c| c.incidents.push(incident("two")))
        });
        while proxy.met() == 0 {
            std::thread::yield_now();
        }
        let taken = beside.load_shard(0, &Claim::Positions(vec![])).unwrap();
        assert_eq!(taken.scopes[0].incidents.len(), 1);
        assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
        match frozen.join().unwrap() {
            Err(StoreError::Fenced { .. } | StoreError::Away { .. }) => {}
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(beside.incident(id("two")).unwrap(), None);
}

/// Its process was stopped, its machine is gone: no time-out of the server's ends a session that waits for the rest of a
/// COPY, and it holds the shard's row.
#[test]
fn an_owner_that_stands_still_in_the_middle_of_a_large_batch_is_taken_over() {
    let Some(place) = Place::fresh() else { return };
    let (proxy, store, beside) = behind(&place);
    proxy.next_commit(Fate::FreezeInCopy);
    // It hears nothing for most of a minute: nobody waits for it.
    std::thread::spawn(move || {
        let mut owner = Writer::new(&store);
        let _ = owner.write(|c| (0..1_000).for_each(|_| add_step(c, id("many"))));
    });
    while proxy.met() == 0 {
        std::thread::yield_now();
    }
    let began = Instant::now();
    let taken = beside.load_shard(0, &Claim::Positions(vec![])).unwrap();
    assert_eq!((taken.epoch, taken.batch), (2, 0));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_move_whose_answer_was_lost_is_there_once() {
    let Some(place) = Place::fresh() else { return };
    let (proxy, store, beside) = behind(&place);
    let mut owner = Writer::new(&store);
    let epoch = beside.shards().unwrap()[0].1;
    for round in 0..6usize {
        let row = outbox_run(&round.to_string(), &incident("one"));
        owner.write(|c| c.outbox.push(row.clone())).unwrap();
        let mut after = row.clone();
        after.state = OutboxState::Started;
        after.attempts += 1;
        let change = OutboxMove {
            key: row.key,
            from: row.state,
            row: after.clone(),
            fence: Some((0, epoch)),
            inbox: vec![entry(&format!("report {round}"))],
        };
        proxy.next_commit(CUTS[round % 3]);
        store.outbox_move(&change).unwrap();
        assert_eq!(beside.outbox_get(row.key).unwrap(), Some((0, after)));
        // What is not in doubt is still refused.
        assert!(matches!(store.outbox_move(&change), Err(StoreError::Conflict { .. })));
    }
    assert_eq!(beside.counts().unwrap().inbox, 6);
}

#[test]
fn an_append_whose_answer_was_lost_is_there_once() {
    let Some(place) = Place::fresh() else { return };
    let (proxy, store, beside) = behind(&place);
    for round in 0..6u64 {
        proxy.next_commit(CUTS[usize::try_from(round).unwrap() % 3]);
        let places = store.inbox_append(&[entry(&format!("a {round}")), entry(&format!("b {round}"))]).unwrap();
        assert_eq!(places.iter().map(|p| p.seq).collect::<Vec<_>>(), [2 * round + 1, 2 * round + 2]);
    }
    assert_eq!(beside.counts().unwrap().inbox, 12);
}

#[test]
fn a_load_whose_answer_was_lost_owns_the_shard() {
    let Some(place) = Place::fresh() else { return };
    let (proxy, store, beside) = behind(&place);
    for fate in CUTS {
        proxy.next_commit(fate);
        let epoch = store.load_shard(3, &Claim::Positions(vec![])).unwrap().epoch;
        assert_eq!(beside.shards().unwrap(), [(3, epoch)]);
    }
}

/// What the network costs: the locks and the look in one round trip, the writes and the COMMIT in another.
#[test]
fn a_batch_is_two_round_trips() {
    let Some(place) = Place::fresh() else { return };
    let (proxy, store, _beside) = behind(&place);
    let mut owner = Writer::new(&store);
    let write = |owner: &mut Writer<'_>, name: &str| {
        owner
            .write(|c| {
                let one = incident(name);
                add_step(c, one.id);
                c.alerts.push(alert(name));
                c.timers.push(timer(name, 1));
                c.outbox.push(outbox_run(name, &one));
                c.incidents.push(one);
            })
            .unwrap();
        let nothing = owner.batch(vec![]);
        owner.commit(&nothing).unwrap();
        let known = in_state(IncidentState::InProgress, incident(name));
        owner.write(|c| c.incidents.push(known)).unwrap();
    };
    // Statements are prepared once.
    write(&mut owner, "first");
    let trip = Duration::from_millis(150);
    proxy.delay(trip);
    let began = Instant::now();
    write(&mut owner, "second");
    let trips = began.elapsed().as_secs_f64() / trip.as_secs_f64();
    assert!((6.0..9.0).contains(&trips), "three batches took {trips} round trips");
    store.inbox_append(&[entry("the first of its lane")]).unwrap();
    store.inbox_append(&[entry("prepared")]).unwrap();
    let began = Instant::now();
    store.inbox_append(&[entry("c")]).unwrap();
    let trips = began.elapsed().as_secs_f64() / trip.as_secs_f64();
    assert!((2.0..3.0).contains(&trips), "an append took {trips} round trips");
    proxy.delay(Duration::ZERO);
}
