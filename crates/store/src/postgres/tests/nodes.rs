//! Several stores on one server, as several nodes are.

use std::collections::BTreeMap;

use paramedic_model::{Id, Lane, NewInbox};

use super::super::PostgresStore;
use super::Place;
use crate::conformance::fixture::*;
use crate::conformance::writer::{Writer, add_step};
use crate::{Batch, Claim, Store, StoreError};

#[test]
fn of_two_owners_of_a_shard_one_writes() {
    let Some(place) = Place::fresh() else { return };
    let stores = [place.open(), place.open()];
    let written: Vec<Vec<Id>> = std::thread::scope(|threads| {
        let work = stores.iter().enumerate().map(|(node, store)| {
            threads.spawn(move || {
                let mut written = Vec::new();
                for takeover in 0..12 {
                    let mut owner = Writer::new(store);
                    for n in 0..6 {
                        let one = incident(&format!("{node}/{takeover}/{n}"));
                        let record = one.id;
                        let done = owner.write(|c| {
                            add_step(c, record);
                            c.incidents.push(one);
                        });
                        match done {
                            Ok(()) => written.push(record),
                            Err(StoreError::Fenced { .. }) => break,
                            Err(other) => panic!("{other}"),
                        }
                    }
                }
                written
            })
        });
        work.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let store = &stores[0];
    let rows = store.journal(0, 0, 999).unwrap();
    let count = written.iter().map(Vec::len).sum::<usize>();
    assert_eq!(rows.iter().map(|row| row.batch).collect::<Vec<_>>(), (1..=count as u64).collect::<Vec<_>>());
    assert!(rows.windows(2).all(|pair| pair[0].epoch <= pair[1].epoch), "an epoch that has passed never comes back");
    let mut expected: Vec<Id> = written.concat();
    let mut found: Vec<Id> = store.history_of_scope("default", 0, 999).unwrap().iter().map(|row| row.record).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(store.audit().unwrap().broken, []);
}

#[test]
fn two_shards_that_meet_a_scope_at_once_agree_on_its_home() {
    let Some(place) = Place::fresh() else { return };
    let stores = [place.open(), place.open()];
    let epochs: Vec<u64> =
        (0..2u32).map(|s| stores[s as usize].load_shard(s, &Claim::Positions(vec![])).unwrap().epoch).collect();
    let homes: Vec<Vec<u32>> = std::thread::scope(|threads| {
        let work = (0..2u32).map(|shard| {
            let (store, epoch) = (&stores[shard as usize], epochs[shard as usize]);
            threads.spawn(move || {
                (0..40)
                    .map(|n| {
                        let scope = format!("site {n}");
                        if n % 2 == 0 {
                            return store.claim_scope(&scope, shard).unwrap();
                        }
                        let handed = NewInbox { scope, ..entry(&format!("{n} from {shard}")) };
                        let places = store.inbox_append(&[handed]).unwrap();
                        let _ = epoch;
                        places[0].shard
                    })
                    .collect()
            })
        });
        work.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(homes[0], homes[1]);
    for (n, home) in homes[0].iter().enumerate() {
        assert_eq!(stores[0].scope_home(&format!("site {n}")).unwrap(), Some(*home));
    }
}

/// A reader that takes what is there, again and again, meets every row once and in order.
#[test]
fn what_is_read_of_an_inbox_is_never_followed_by_a_lower_seq() {
    let Some(place) = Place::fresh() else { return };
    let stores = [place.open(), place.open(), place.open()];
    stores[0].load_shard(0, &Claim::Alone).unwrap();
    let seen = std::thread::scope(|threads| {
        for (node, store) in stores.iter().enumerate().take(2) {
            threads.spawn(move || {
                for n in 0..60 {
                    store.inbox_append(&[entry(&format!("{node}/{n}")), entry(&format!("shared/{n}"))]).unwrap();
                }
            });
        }
        let (mut next, mut seen) = (1, Vec::new());
        while seen.len() < 180 {
            for row in stores[2].inbox_read(0, Lane::Acts, next, 7).unwrap() {
                seen.push(row.seq);
                next = row.seq + 1;
            }
        }
        seen
    });
    assert_eq!(seen, (1..=180).collect::<Vec<_>>());
}

#[test]
fn many_open_a_fresh_schema_at_once() {
    let Some(place) = Place::fresh() else { return };
    let stores: Vec<PostgresStore> = std::thread::scope(|threads| {
        let work: Vec<_> = (0..4).map(|_| threads.spawn(|| place.open())).collect();
        work.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    Writer::new(&stores[0]).write(|c| c.incidents.push(incident("one"))).unwrap();
    assert_eq!(stores[3].incident_by_number(1).unwrap().unwrap().id, id("one"));
}

/// Fails the next inserts into the journal with this SQLSTATE.
fn provoke(place: &Place, state: &str, times: u32) {
    place.sql(&format!(
        "DROP SEQUENCE IF EXISTS provoked CASCADE; CREATE SEQUENCE provoked;
         CREATE OR REPLACE FUNCTION provoke() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('provoked') <= {times} THEN RAISE EXCEPTION 'provoked' USING ERRCODE = '{state}'; END IF;
             RETURN NEW;
         END $$;
         CREATE OR REPLACE TRIGGER provoke BEFORE INSERT ON journal FOR EACH ROW EXECUTE FUNCTION provoke()"
    ));
}

#[test]
fn a_transaction_that_met_another_is_done_again_whole_and_not_for_ever() {
    let Some(place) = Place::fresh() else { return };
    let store = place.open();
    let mut owner = Writer::new(&store);
    for (n, state) in ["40001", "40P01", "55P03"].into_iter().enumerate() {
        provoke(&place, state, 3);
        let one = incident(&n.to_string());
        owner
            .write(|c| {
                add_step(c, one.id);
                c.incidents.push(one);
            })
            .unwrap();
    }
    assert_eq!(store.counts().unwrap().history, 3);
    provoke(&place, "40001", 1_000);
    match owner.write(|c| add_step(c, id("more"))) {
        Err(StoreError::Away { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(store.counts().unwrap().history, 3, "nothing of it is there");
    provoke(&place, "53100", 1);
    assert!(matches!(owner.write(|c| add_step(c, id("more"))), Err(StoreError::Full(_))));
    owner.write(|c| add_step(c, id("more"))).unwrap();
}

/// The publication tells the shards that it sees; one that is new and not seen yet must see what was published.
#[test]
fn a_shard_that_is_loaded_first_while_rules_are_published_begins_under_them() {
    let Some(place) = Place::fresh() else { return };
    let store = place.open();
    let sets = [digest("old"), digest("new")];
    for set in sets {
        store.ruleset_put(set, &BTreeMap::new()).unwrap();
    }
    store.ruleset_publish(sets[0], at(1), false).unwrap();
    // It has told the shards, and is not committed yet.
    let publication = format!(
        "BEGIN; SELECT pg_advisory_xact_lock(hashtext(current_schema()), hashtext('rulesets'));
         UPDATE meta SET value = '{}' WHERE key = 'active'; SELECT pg_sleep(1); COMMIT",
        sets[1]
    );
    let waits =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%hashtext(''rulesets'')%'";
    std::thread::scope(|threads| {
        let under_way = threads.spawn(|| super::sql_at(&place.url, &place.schema, &publication));
        while place.rows(waits)[0][0].as_deref() == Some("0") {
            std::thread::yield_now();
        }
        assert_eq!(store.load_shard(1, &Claim::Positions(vec![])).unwrap().active, Some(sets[1]));
        under_way.join().unwrap().unwrap();
    });
}

#[test]
fn a_real_deadlock_is_survived() {
    let Some(place) = Place::fresh() else { return };
    let store = place.open();
    let mut owner = Writer::new(&store);
    let row = outbox_run("run", &incident("one"));
    owner.write(|c| c.outbox.push(row.clone())).unwrap();
    std::thread::scope(|threads| {
        // The other way round: the row first, then the shard.
        let other = threads.spawn(|| {
            super::sql_at(
                &place.url,
                &place.schema,
                "BEGIN; SELECT 1 FROM outbox FOR UPDATE; SELECT pg_sleep(0.5); SELECT 1 FROM shards FOR UPDATE; COMMIT",
            )
        });
        loop {
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            if place.rows(waits)[0][0].as_deref() != Some("0") {
                break;
            }
        }
        let done = owner.write(|c| c.outbox_cancel.push((row.key, "overtaken".into())));
        // The server chooses who gives way.
        let _ = other.join().unwrap();
        done.unwrap();
    });
    assert_eq!(store.outbox_get(row.key).unwrap().unwrap().1.state.name(), "cancelled");
}

#[test]
fn a_source_that_another_shard_took_is_not_moved_by_the_one_that_had_it() {
    let Some(place) = Place::fresh() else { return };
    let stores = [place.open(), place.open()];
    let name = "kafka/events/0".to_owned();
    let claim = Claim::Positions(vec![name.clone()]);
    let position = |from, next| {
        let to = crate::Position { next, last_at: None, last_digest: None };
        BTreeMap::from([(name.clone(), crate::PositionMove { from, to })])
    };
    let first = stores[0].load_shard(0, &claim).unwrap();
    let begin = Batch { shard: 0, epoch: first.epoch, positions: position(None, 5), ..Batch::default() };
    stores[0].commit(&begin).unwrap();
    let second = stores[1].load_shard(1, &claim).unwrap();
    assert_eq!(second.positions[&name].next, 5);
    let again = Batch { positions: position(None, 7), ..begin };
    match stores[0].commit(&again) {
        Err(StoreError::PositionMoved { found: Some(5), .. }) => {}
        other => panic!("{other:?}"),
    }
}
