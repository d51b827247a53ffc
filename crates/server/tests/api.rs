//! The API over a memory store: what each route answers, and how it refuses.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use axum::body::Body;
use common::{House, incident, request, run};
use paramedic_model::{CloseCode, InboxBody, IncidentState, OperatorAct, OutboxState, RunState, Timestamp};
use paramedic_store::{Claim, Store as _};
use serde_json::json;

#[tokio::test]
async fn incidents_are_listed_and_filtered() {
    let house = House::filled();
    let all = house.get("/api/v1/incidents").await.is(200).json();
    let one = &all["incidents"][0];
    assert_eq!(one["number"], "INC0000001");
    assert_eq!((&one["priority"], &one["state"], &one["state_code"]), (&json!(2), &json!("new"), &json!(1)));
    assert_eq!(all["next"], json!(null));
    for (query, found) in [
        ("state=open", 1),
        ("state=resolved,closed", 0),
        ("state=all&priority=2", 1),
        ("priority=3", 0),
        ("about=web-1&limit=1", 1),
        ("about=web-2", 0),
        ("before=INC0000001", 0),
    ] {
        let listed = house.get(&format!("/api/v1/incidents?{query}")).await.is(200).json();
        assert_eq!(listed["incidents"].as_array().unwrap().len(), found, "{query}");
    }
    for query in ["state=broken", "priority=9", "limit=0", "limit=2000", "before=x", "colour=red"] {
        let refused = house.get(&format!("/api/v1/incidents?{query}")).await.is(400).json();
        assert!(refused["error"].is_string(), "{query}");
    }
}

#[tokio::test]
async fn an_incident_is_shown_with_its_runs_pages_and_history() {
    let house = House::filled();
    let id = incident(IncidentState::New).id;
    for name in ["INC0000001".to_owned(), "1".to_owned(), id.to_string()] {
        let shown = house.get(&format!("/api/v1/incidents/{name}")).await.is(200).json();
        assert_eq!(shown["incident"]["number"], "INC0000001");
        assert_eq!(shown["runs"].as_array().unwrap().len(), 2);
        assert_eq!(shown["pages"][0]["to"], "linux");
        let seqs: Vec<_> = shown["history"].as_array().unwrap().iter().map(|r| r["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, [1, 2, 3], "the run's row stands among the incident's");
    }
    house.get("/api/v1/incidents/INC0000009").await.is(404);
    house.get(&format!("/api/v1/incidents/{}", "0".repeat(32))).await.is(404);
    house.get("/api/v1/incidents/xyz").await.is(400);
}

#[tokio::test]
async fn an_acknowledgement_goes_to_the_inbox_of_the_incidents_scope() {
    let house = House::filled();
    let reply = house.post("/api/v1/incidents/INC0000001/ack", json!({"by": "ann"})).await.is(202).json();
    assert_eq!(reply, json!({"accepted": true, "inbox": 1}));
    let row = house.acts().remove(0);
    let act = OperatorAct::Acknowledge { incident: incident(IncidentState::New).id };
    assert_eq!(row.entry.body, InboxBody::Operator { by: "ann".into(), act });
    assert_eq!(row.entry.scope, "default");
    for (path, body, status) in [
        ("/api/v1/incidents/7/ack", json!({"by": "ann"}), 404),
        ("/api/v1/incidents/1/ack", json!({"by": " "}), 400),
        ("/api/v1/incidents/1/ack", json!({}), 400),
        ("/api/v1/incidents/1/ack", json!({"by": "ann", "x": 1}), 400),
    ] {
        house.post(path, body).await.is(status);
    }
}

#[tokio::test]
async fn an_illegal_move_is_refused_and_says_why() {
    let house = House::filled();
    let mut changes = house.going_on();
    let mut done = incident(IncidentState::Resolved);
    done.acknowledged = Some(("bob".into(), Timestamp::from_secs(1)));
    changes.incidents = vec![done];
    let epoch = house.store.load_shard(0, &Claim::Alone).unwrap().epoch;
    House { epoch, ..house_of(&house) }.commit(changes);
    let resolve = json!({"by": "ann", "notes": "done"});
    let refused = house.post("/api/v1/incidents/1/resolve", resolve).await.is(409).json();
    assert_eq!(refused["error"], "INC0000001 is resolved: it cannot be resolved");
    house.post("/api/v1/incidents/1/ack", json!({"by": "ann"})).await.is(409);
    let id = run("remedy/1", RunState::Proposed).id;
    let refused = house.post(&format!("/api/v1/runs/{id}/approve"), json!({"by": "ann"})).await.is(409).json();
    assert_eq!(refused["error"], "INC0000001 is resolved: its run is not wanted any more");
    assert!(house.acts().is_empty());
}

fn house_of(house: &House) -> House {
    House {
        store: Arc::clone(&house.store),
        router: house.router.clone(),
        epoch: house.epoch,
        dir: tempfile::tempdir().unwrap(),
    }
}

#[tokio::test]
async fn a_person_resolves_with_notes_and_a_code() {
    let house = House::filled();
    house.post("/api/v1/incidents/1/resolve", json!({"by": "ann"})).await.is(400);
    house.post("/api/v1/incidents/1/resolve", json!({"by": "ann", "notes": ""})).await.is(400);
    let odd = json!({"by": "ann", "notes": "x", "code": "Magic"});
    house.post("/api/v1/incidents/1/resolve", odd).await.is(400);
    house.post("/api/v1/incidents/1/resolve", json!({"by": "ann", "notes": "restarted it"})).await.is(202);
    let row = house.acts().remove(0);
    let id = incident(IncidentState::New).id;
    let act = OperatorAct::Resolve { incident: id, code: CloseCode::SolutionProvided, notes: "restarted it".into() };
    assert_eq!(row.entry.body, InboxBody::Operator { by: "ann".into(), act });
}

#[tokio::test]
async fn who_waits_is_told_what_came_of_it() {
    let house = Arc::new(House::filled());
    let engine = Arc::clone(&house);
    let works = tokio::task::spawn_blocking(move || {
        while engine.acts().is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let mut changes = engine.going_on();
        let mut taken = incident(IncidentState::InProgress);
        taken.acknowledged = Some(("ann".into(), Timestamp::from_secs(200)));
        changes.incidents = vec![taken];
        let epoch = engine.store.load_shard(0, &Claim::Alone).unwrap().epoch;
        House { epoch, ..house_of(&engine) }.commit(changes);
    });
    let told = house.post("/api/v1/incidents/1/ack?wait=5", json!({"by": "ann"})).await.is(200).json();
    works.await.unwrap();
    assert_eq!(told["incident"]["state"], "in_progress");
    assert_eq!(told["incident"]["acknowledged"][0], "ann");
}

#[tokio::test]
async fn runs_are_listed_shown_and_decided_on() {
    let house = House::filled();
    let listed = house.get("/api/v1/runs?state=proposed&incident=INC0000001").await.is(200).json();
    assert_eq!(listed["runs"][0]["incident_number"], "INC0000001");
    assert_eq!(listed["runs"].as_array().unwrap().len(), 1);
    house.get("/api/v1/runs?state=odd").await.is(400);
    house.get("/api/v1/runs?incident=7").await.is(404);
    let (proposed, unknown) = (run("remedy/1", RunState::Proposed).id, run("remedy/0", RunState::Unknown).id);
    let shown = house.get(&format!("/api/v1/runs/{unknown}")).await.is(200).json();
    assert_eq!(shown["outbox"]["state"], "unknown");
    assert_eq!(shown["outbox"]["verdicts"][0]["guard"], "halt");
    assert_eq!(house.get(&format!("/api/v1/runs/{proposed}")).await.is(200).json()["outbox"], json!(null));
    house.get("/api/v1/runs/abc").await.is(400);
    house.get(&format!("/api/v1/runs/{}", "0".repeat(32))).await.is(404);

    let refused = house.post(&format!("/api/v1/runs/{unknown}/approve"), json!({"by": "ann"})).await.is(409).json();
    assert_eq!(refused["error"], "the run is unknown, not proposed");
    house.post(&format!("/api/v1/runs/{proposed}/reject"), json!({"by": "ann", "reason": ""})).await.is(400);
    house.post(&format!("/api/v1/runs/{proposed}/reject"), json!({"by": "ann", "reason": "risky"})).await.is(202);
    house.post(&format!("/api/v1/runs/{proposed}/approve"), json!({"by": "bob"})).await.is(202);
    let acts: Vec<_> = house.acts().into_iter().map(|r| r.entry.body).collect();
    let reject = OperatorAct::Reject { run: proposed, reason: "risky".into() };
    let approve = OperatorAct::Approve { run: proposed };
    assert_eq!(acts[0], InboxBody::Operator { by: "ann".into(), act: reject });
    assert_eq!(acts[1], InboxBody::Operator { by: "bob".into(), act: approve });
}

#[tokio::test]
async fn an_unknown_run_is_settled_once() {
    let house = House::filled();
    let unknown = run("remedy/0", RunState::Unknown);
    let path = format!("/api/v1/runs/{}/settle", unknown.id);
    let says = json!({"by": "ann", "succeeded": true, "notes": "seen it on the host"});
    house.post(&path, says.clone()).await.is(202);
    let row = house.store.outbox_get(unknown.key("test")).unwrap().unwrap().1;
    assert_eq!(row.state, OutboxState::Succeeded);
    assert_eq!(row.message.as_deref(), Some("settled by ann: seen it on the host"));
    assert!(matches!(house.inbox()[0].entry.body, InboxBody::RunReported(_)));
    let refused = house.post(&path, says.clone()).await.is(409).json();
    assert!(refused["error"].as_str().unwrap().contains("is succeeded, not unknown"), "{refused}");
    let proposed = run("remedy/1", RunState::Proposed).id;
    house.post(&format!("/api/v1/runs/{proposed}/settle"), says).await.is(409);
}

#[tokio::test]
async fn a_halt_is_in_file_and_store_before_it_is_answered() {
    let house = House::new();
    let halt = json!({"by": "ann", "reason": "storm"});
    let reply = house.post("/api/v1/halt", halt).await.is(200).json();
    assert_eq!((&reply["halts"][0]["scope"], &reply["warnings"]), (&json!("all"), &json!([])));
    let file = paramedic_store::HaltFile::in_folder(house.dir.path());
    assert_eq!(file.read(), house.store.halts().unwrap());
    let part = json!({"by": "ann", "reason": "odd", "scope": {"playbook": "reboot"}});
    house.post("/api/v1/halt", part).await.is(200);
    assert_eq!(house.get("/api/v1/halts").await.is(200).json()["halts"].as_array().unwrap().len(), 2);
    let wrong = json!({"by": "ann", "reason": "over", "scope": {"environment": "test"}});
    let refused = house.post("/api/v1/resume", wrong).await.is(404).json();
    assert_eq!(refused["help"], "halted: everything, playbook reboot");
    let left = house.post("/api/v1/resume", json!({"by": "ann", "reason": "over"})).await.is(200).json();
    assert_eq!(left["halts"].as_array().unwrap().len(), 1);
    assert_eq!((file.read().len(), house.store.halts().unwrap().len()), (1, 1));
    let acts = house.acts();
    assert_eq!(acts.len(), 3, "for history");
    house.post("/api/v1/halt", json!({"by": "ann"})).await.is(400);
    house.post("/api/v1/halt", json!({"by": "ann", "reason": "x", "scope": {"playbook": ""}})).await.is(400);
}

#[tokio::test]
async fn a_touched_halt_file_halts_everything_and_an_unwritable_one_is_a_warning() {
    let house = House::new();
    std::fs::write(house.dir.path().join("HALT"), "").unwrap();
    assert_eq!(house.get("/api/v1/halts").await.json()["halts"][0]["scope"], "all");
    std::fs::remove_file(house.dir.path().join("HALT")).unwrap();
    std::fs::create_dir(house.dir.path().join("HALT.part")).unwrap();
    let reply = house.post("/api/v1/halt", json!({"by": "ann", "reason": "x"})).await.is(200).json();
    assert!(reply["warnings"][0].as_str().unwrap().contains("was not written"), "{reply}");
    assert_eq!(reply["halts"].as_array().unwrap().len(), 1, "the store has it");
}

#[tokio::test]
async fn status_tells_what_is_known_and_ours_wins() {
    let house = House::filled();
    let status = house.get("/api/v1/status").await.is(200).json();
    assert_eq!(status["cluster"], "test");
    assert_eq!((&status["version"], &status["lag"]), (&json!("1.2.3"), &json!(12)));
    assert_eq!(status["counts"]["incidents"][0], json!({"state": "new", "priority": 2, "count": 1}));
    assert_eq!(status["dead_letters"], 1);
    house.get("/health").await.is(200);
    assert_eq!(house.get("/ready").await.is(503).json()["reasons"][0], "Kafka is away");
    let letters = house.get("/api/v1/dead-letters?limit=5").await.is(200).json();
    assert_eq!(letters["dead_letters"][0]["text"], common::HOSTILE);
    let audit = house.get("/api/v1/audit").await.is(200).json();
    assert_eq!((&audit["intact"], &audit["rows"]), (&json!(true), &json!(3)));
}

#[tokio::test]
async fn metrics_are_text_with_the_stores_gauges() {
    let house = House::filled();
    house.post("/api/v1/events/local", json!({"type": "x"})).await.is(202);
    let metrics = house.get("/metrics").await.is(200);
    assert!(metrics.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [
        "paramedic_incidents{state=\"new\",priority=\"2\"} 1",
        "paramedic_outbox_rows{state=\"unknown\"} 1",
        "paramedic_dead_letters_kept 1",
        "paramedic_store_up 1",
        "paramedic_webhook_requests_total{outcome=\"accepted\",source=\"local\"} 1",
    ] {
        assert!(metrics.text.lines().any(|l| l == line), "{line}\n{}", metrics.text);
    }
}

#[tokio::test]
async fn a_cmdb_file_becomes_inbox_entries() {
    let house = House::filled();
    let file = json!({
        "by": "ann",
        "cis": [{"name": "db-1", "class": "database", "attributes": {"engine": "pg"}}],
        "relations": [{"from": "10.0.0.1", "kind": "depends_on", "to": "db-1"}],
    });
    let reply = house.post("/api/v1/cmdb", file).await.is(202).json();
    assert_eq!((&reply["cis"], &reply["relations"], &reply["inbox"]), (&json!(1), &json!(1), &json!([1])));
    let InboxBody::Cmdb(delta) = house.inbox().remove(0).entry.body else { panic!() };
    assert_eq!(delta.cis[0].attributes["engine"].source, "import:ann");
    assert_eq!(delta.relations[0].from, common::host().id);

    let many: String = (0..2_500).map(|n| format!("  - {{ name: n-{n}, class: server }}\n")).collect();
    let yaml = request("POST", "/api/v1/cmdb?by=ann&scope=eu").header("content-type", "application/yaml");
    let reply = house.send(yaml.body(Body::from(format!("cis:\n{many}"))).unwrap()).await.is(202).json();
    assert_eq!(reply["inbox"], json!([2, 3, 4]));
    assert_eq!(house.inbox()[3].entry.scope, "eu");

    for (body, told) in [
        (json!({"by": "ann", "relations": [{"from": "x", "kind": "k", "to": "y"}]}), "relations[0]: `from` \"x\""),
        (json!({"cis": [{"name": "a", "class": "c"}]}), "`by` must name"),
        (json!({"by": "ann"}), "holds nothing"),
        (json!({"by": "ann", "scope": "paramedic.3", "cis": [{"name": "a", "class": "c"}]}), "is the engine's own"),
    ] {
        let refused = house.post("/api/v1/cmdb", body).await.is(400).json();
        assert!(refused["error"].as_str().unwrap().contains(told), "{refused}");
    }
    let known = json!({"by": "ann", "cis": [{"name": "web-1", "class": "server", "environment": "test"}]});
    house.post("/api/v1/cmdb?wait=2", known).await.is(200);
    let cis = house.get("/api/v1/cis?name=10.0.0.1").await.is(200).json();
    assert_eq!(cis["cis"][0]["name"], "web-1");
    assert_eq!(house.get("/api/v1/cis?scope=eu").await.json()["cis"], json!([]));
}

/// `docs/api.md` names every route; those of one record by their end.
#[test]
fn every_route_is_documented() {
    let docs = include_str!("../../../docs/api.md");
    let routes = include_str!("../src/lib.rs").lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
    let paths: Vec<&str> = routes.filter_map(|rest| rest.split('"').next()).collect();
    assert!(paths.len() > 25, "{paths:?}");
    for path in paths.into_iter().filter(|path| *path != "/style.css") {
        let end = path.rsplit('/').next().unwrap_or_default();
        let plain = path.split('{').next().unwrap_or_default();
        let named =
            docs.contains(path) || docs.contains(&format!(".../{end}")) || (plain != path && docs.contains(plain));
        assert!(named, "{path}");
    }
}

#[tokio::test]
async fn an_input_is_asked_for_the_steps_that_it_made() {
    let house = House::filled();
    let found = house.get("/api/v1/inputs?id=kafka%7C1").await.is(200).json();
    let steps: Vec<&str> = found["steps"].as_array().unwrap().iter().map(|r| r["step"].as_str().unwrap()).collect();
    assert_eq!((steps.first(), &found["rows"]), (Some(&"incident_opened"), &json!(steps.len())));
    for (query, looked) in [("id=kafka%7C2", steps.len()), ("id=kafka%7C1&scope=elsewhere", 0)] {
        let found = house.get(&format!("/api/v1/inputs?{query}")).await.is(200).json();
        assert_eq!(found, json!({"steps": [], "rows": looked}), "{query}");
    }
    house.get("/api/v1/inputs").await.is(400);
}
