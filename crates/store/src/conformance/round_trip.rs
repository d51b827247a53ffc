//! Facts about records: what comes back is what went in.

use std::collections::BTreeMap;

use paramedic_model::{Incident, IncidentState, Order, Parked, Relation, ScopeImage, SeenId};
use proptest::prelude::*;
use serde_json::Value;

use super::Bench;
use super::fixture::*;
use super::writer::{Writer, add_step};
use crate::{Claim, Position, PositionMove, ShardImage};

pub(super) fn what_is_loaded_is_what_was_committed(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    let (one, two) = (incident("one"), in_state(IncidentState::Resolved, incident("two")));
    let bare = Incident { by: vec![], ci: None, about: None, evidence: None, ..incident("bare") };
    let mut c = owner.changes();
    add_step(&mut c, one.id);
    add_step(&mut c, two.id);
    c.head.decisions_at_event = Some(c.head.decisions.clone());
    c.head.set = digest("set");
    c.runs = vec![run("run 1", &one), run("run 2", &two)];
    c.runs.sort_by_key(|r| (r.decided_at, r.id));
    c.incidents = vec![one, two, bare];
    c.alerts = vec![alert("a"), alert("b")];
    c.parked = vec![Parked { key: key("p"), time: at(-5), at: at(2) }];
    c.seen = vec![
        (SeenId { source: "a".into(), id: "2".into() }, at(1)),
        (SeenId { source: "b".into(), id: "1".into() }, at(3)),
    ];
    c.timers = vec![timer("late", 9), timer("later", 10)];
    c.windows = vec![window("w", 3), window("v", 4)];
    c.windows.sort_by_key(|window| window.id);
    c.cis = vec![ci("db-1"), ci("web-1")];
    c.cis.sort_by_key(|ci| ci.id);
    c.relations = vec![
        Relation { from: id("web-1"), kind: "connected_to".into(), to: id("db-1") },
        Relation { from: id("web-1"), kind: "depends_on".into(), to: id("db-1") },
    ];
    let mut batch = owner.batch(vec![c.clone()]);
    let to = Position { next: 7, last_at: Some(at(6)), last_digest: Some(digest("last")) };
    let first = Position { next: 0, last_at: None, last_digest: None };
    batch.positions = BTreeMap::from([
        ("kafka/events/0".into(), PositionMove { from: None, to: to.clone() }),
        ("kafka/events/1".into(), PositionMove { from: None, to: first.clone() }),
    ]);
    owner.commit(&batch).unwrap();

    let expected = ShardImage {
        epoch: 2,
        batch: 1,
        last: batch.journal,
        positions: BTreeMap::from([("kafka/events/0".into(), to), ("kafka/events/1".into(), first)]),
        scopes: vec![ScopeImage {
            scope: c.scope,
            head: c.head,
            incidents: c.incidents,
            runs: c.runs,
            alerts: c.alerts,
            parked: c.parked,
            seen: c.seen,
            timers: c.timers,
            windows: c.windows,
            cis: c.cis,
            relations: c.relations,
        }],
        active: None,
        ends_lost: 0,
    };
    assert_eq!(store.load_shard(0, &Claim::Alone).unwrap(), expected);
}

/// Any JSON that Rust can hold, floats of every size first of all.
fn any_json() -> impl Strategy<Value = Value> {
    let float = any::<f64>().prop_filter_map("JSON has no such number", serde_json::Number::from_f64);
    let leaf = prop_oneof![
        4 => float.prop_map(Value::Number),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

pub(super) fn any_number_comes_back_as_it_was(bench: &Bench) {
    let store = bench.store();
    let count = std::cell::Cell::new(0u32);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) };
    proptest!(config, |(value in any_json(), text in any::<String>())| {
        count.set(count.get() + 1);
        let count = count.get();
        let mut owner = Writer::new(store);
        let mut c = owner.changes();
        let incident = Incident { by: vec![value.clone()], about: Some(text), ..incident(&count.to_string()) };
        let mut run = run(&format!("run {count}"), &incident);
        run.parameters.insert("any".into(), value.clone());
        let row = outbox_row(&count.to_string(), Order::Run(run.clone()));
        add_step(&mut c, incident.id);
        c.history[0].data = value;
        let last_hash = owner.changes().head.last_hash;
        c.history[0].hash = c.history[0].expected_hash(last_hash);
        c.head.last_hash = c.history[0].hash;
        (c.incidents, c.runs, c.outbox) = (vec![incident.clone()], vec![run.clone()], vec![row.clone()]);
        let batch = owner.batch(vec![c.clone()]);
        owner.commit(&batch).unwrap();
        let found = store.incident(incident.id).unwrap().unwrap();
        prop_assert_eq!(Incident { number: None, ..found }, incident);
        prop_assert_eq!(store.run(run.id).unwrap(), Some(run));
        prop_assert_eq!(store.outbox_get(row.key).unwrap(), Some((0, row)));
        let seq = c.head.last_seq;
        prop_assert_eq!(store.history_of_scope("default", seq, 10).unwrap(), c.history);
    });
    assert_eq!(store.audit().unwrap().broken, []);
}
