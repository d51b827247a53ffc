//! Offsets and rewinding, a store that was restored, and rule sets that are published.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{House, incident, row, run};
use paramedic_model::{
    Digest, Effect, InboxBody, IncidentState, Lane, OperatorAct, Order, OutboxRow, OutboxState, Run, RunState,
    Timestamp,
};
use paramedic_store::{Recovered, Store as _};
use serde_json::{Value, json};

fn rewind(to: Value) -> Value {
    json!({"position": "kafka/events/0", "to": to, "by": "ann", "reason": "broken rules"})
}

#[tokio::test]
async fn positions_are_listed_and_a_rewind_is_an_act_of_the_shard_that_owns_it() {
    let house = House::new();
    house.takes("kafka/events/0", 40);
    house.takes("inbox", 7);
    let listed = house.get("/api/v1/offsets").await.is(200).json();
    let of = |name: &str| listed["offsets"].as_array().unwrap().iter().find(|o| o["position"] == name).unwrap().clone();
    assert_eq!((&of("kafka/events/0")["next"], &of("kafka/events/0")["shard"]), (&json!(40), &json!(0)));
    assert_eq!(of("inbox")["next"], 7);
    for (to, number) in [(json!(12), 12), (json!("earliest"), -2), (json!("latest"), -1)] {
        house.post("/api/v1/offsets/rewind", rewind(to)).await.is(202);
        let entry = house.acts().pop().unwrap().entry;
        let act = OperatorAct::Rewind { position: "kafka/events/0".into(), to: number, reason: "broken rules".into() };
        assert_eq!(entry.body, InboxBody::Operator { by: "ann".into(), act });
        assert_eq!(entry.scope, "paramedic.0");
    }
}

#[tokio::test]
async fn a_rewind_of_what_is_not_there_names_what_is_and_the_lanes_are_never_rewound() {
    let house = House::new();
    let unknown = house.post("/api/v1/offsets/rewind", rewind(json!(0))).await.is(404).json();
    assert_eq!(unknown["help"], "nothing was taken from any source yet");
    house.takes("file/alarms", 4);
    house.takes("acts", 2);
    let unknown = house.post("/api/v1/offsets/rewind", rewind(json!(0))).await.is(404).json();
    assert_eq!(unknown["help"], "positions: file/alarms");
    for lane in Lane::ALL {
        let body = json!({"position": lane.name(), "to": 0, "by": "ann", "reason": "x"});
        let refused = house.post("/api/v1/offsets/rewind", body).await.is(400).json();
        assert!(refused["error"].as_str().unwrap().contains("never gone back in"), "{refused}");
    }
    for to in [json!(-1), json!("yesterday"), json!(1.5), json!(null)] {
        house.post("/api/v1/offsets/rewind", rewind(to)).await.is(400);
    }
    assert!(house.acts().is_empty());
}

#[tokio::test]
async fn who_waits_for_a_rewind_is_told_where_the_source_goes_on() {
    let house = Arc::new(House::new());
    house.takes("kafka/events/0", 40);
    let engine = Arc::clone(&house);
    let works = tokio::task::spawn_blocking(move || {
        while engine.acts().is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        engine.takes("kafka/events/0", 12);
        engine.takes("acts", 2);
    });
    let told = house.post("/api/v1/offsets/rewind?wait=9", rewind(json!(12))).await.is(200).json();
    works.await.unwrap();
    assert_eq!((&told["position"], &told["next"]), (&json!("kafka/events/0"), &json!(12)));
}

const RESTORED: Timestamp = Timestamp::from_secs(200);

/// A restored house with a run that is keyed, and one that only reads; both wait to be sent.
fn restored() -> (House, Run, Run) {
    let house = House::new();
    let keyed = run("remedy/0", RunState::Pending);
    let reads = Run { effect: Effect::ReadOnly, ..run("remedy/1", RunState::Pending) };
    let mut changes = common::changes(&[]);
    changes.incidents = vec![incident(IncidentState::New)];
    changes.runs = vec![keyed.clone(), reads.clone()];
    let to_send = |run: &Run| OutboxRow { state: OutboxState::Pending, attempts: 0, request: None, ..row(run) };
    changes.outbox = vec![to_send(&keyed), to_send(&reads)];
    house.commit(changes);
    let recovered = Recovered { at: RESTORED, why: "restored from a backup".into() };
    house.store.recovered_set(Some(&recovered)).unwrap();
    (house, keyed, reads)
}

fn sent(house: &House, run: &Run) -> OutboxRow {
    house.store.outbox_of(run.id).unwrap().unwrap()
}

#[tokio::test]
async fn a_restored_store_says_so_everywhere_and_which_runs_wait() {
    let (house, keyed, _) = restored();
    let told = house.get("/api/v1/recovered").await.is(200).json();
    assert_eq!((&told["recovered"]["why"], &told["waiting"]), (&json!("restored from a backup"), &json!(1)));
    assert_eq!((&told["runs"][0]["run"], &told["runs"][0]["target"]), (&json!(keyed.id), &json!("web-1")));
    assert_eq!(told["runs"][0]["incident_number"], "INC0000001");
    let ready = house.get("/ready").await.json();
    assert!(ready["reasons"][1].as_str().unwrap().starts_with("recovered: restored from a backup"), "{ready}");
    let status = house.get("/api/v1/status").await.is(200).json();
    assert_eq!(status["recovered"]["why"], "restored from a backup");
    assert_eq!(status["shards"], json!([{"shard": 0, "epoch": house.epoch, "sources": 0}]));
    let page = house.get("/").await.is(200).text;
    assert!(page.contains("recovered: restored from a backup: runs that change something wait"), "{page}");
}

#[tokio::test]
async fn an_approval_lets_one_run_go_and_is_on_record() {
    let (house, keyed, reads) = restored();
    let approve = |run: &Run| format!("/api/v1/runs/{}/approve", run.id);
    house.post(&approve(&keyed), json!({"by": "ann"})).await.is(202);
    let cleared = sent(&house, &keyed);
    assert_eq!((cleared.state, cleared.cleared.unwrap().0.as_str()), (OutboxState::Pending, "ann"));
    let act = OperatorAct::Clear { run: keyed.id };
    assert_eq!(house.acts()[0].entry.body, InboxBody::Operator { by: "ann".into(), act });
    assert_eq!(house.get("/api/v1/recovered").await.json()["waiting"], 0);
    for run in [&keyed, &reads] {
        let refused = house.post(&approve(run), json!({"by": "ann"})).await.is(409).json();
        assert_eq!(refused["error"], "the run is pending, not proposed");
    }
    assert!(matches!(sent(&house, &reads).order, Order::Run(_)) && sent(&house, &reads).cleared.is_none());
}

#[tokio::test]
async fn a_person_ends_it_with_a_reason_and_once() {
    let (house, keyed, _) = restored();
    let end = json!({"by": "ann", "reason": "compared with the endpoint's log"});
    house.call("DELETE", "/api/v1/recovered", json!({"by": "ann", "reason": " "})).await.is(400);
    let told = house.call("DELETE", "/api/v1/recovered", end.clone()).await.is(200).json();
    assert_eq!((&told["ended"]["why"], &told["warnings"]), (&json!("restored from a backup"), &json!([])));
    assert_eq!(house.store.recovered().unwrap(), None);
    let act = OperatorAct::EndRecovered { reason: "compared with the endpoint's log".into() };
    assert_eq!(house.acts()[0].entry.body, InboxBody::Operator { by: "ann".into(), act });
    house.call("DELETE", "/api/v1/recovered", end).await.is(404);
    assert_eq!(house.get("/api/v1/recovered").await.json(), json!({"recovered": null, "waiting": 0, "runs": []}));
    house.post(&format!("/api/v1/runs/{}/approve", keyed.id), json!({"by": "ann"})).await.is(409);
}

#[tokio::test]
async fn a_kept_rule_set_is_published_and_an_older_one_only_on_purpose() {
    let house = House::new();
    let (one, two) = (Digest::of_bytes(b"one"), Digest::of_bytes(b"two"));
    let publish = |digest: Digest, again: bool| json!({"by": "ann", "digest": digest, "again": again});
    house.post("/api/v1/rules/publish", publish(one, false)).await.is(404);
    for digest in [one, two] {
        house.store.ruleset_put(digest, &std::collections::BTreeMap::new()).unwrap();
        let told = house.post("/api/v1/rules/publish", publish(digest, false)).await.is(200).json();
        assert_eq!(told["published"], true);
    }
    assert_eq!(house.post("/api/v1/rules/publish", publish(two, false)).await.is(200).json()["published"], false);
    let refused = house.post("/api/v1/rules/publish", publish(one, false)).await.is(409).json();
    assert!(refused["error"].as_str().unwrap().contains("was published since"), "{refused}");
    let told = house.post("/api/v1/rules/publish", publish(one, true)).await.is(200).json();
    assert_eq!((&told["published"], &told["before"]), (&json!(true), &json!(two)));
    let sets: Vec<_> = house.inbox().into_iter().map(|row| row.entry.body).collect();
    assert_eq!(sets, [one, two, one].map(InboxBody::RulebooksPublished));
}
