//! Facts about sources that were stopped, and about rewinding them.

use paramedic_model::{CloseCode, InboxBody, Incident, IncidentState as S, NewInbox, OperatorAct, own_scope};

use super::rules::{PLAIN, set};
use super::world::{Kept, SCOPE, World, matched, t};

const PLACE: &str = "kafka/events/3";

fn world() -> World {
    World::new(set("record", PLAIN))
}

fn stopped(w: &mut World, position: &str) {
    let body = InboxBody::SourceStopped {
        source: "events".into(),
        position: position.into(),
        why: "the topic was recreated".into(),
    };
    w.inbox_of(&own_scope(0), body);
}

fn back(w: &mut World, position: &str) {
    w.inbox_of(&own_scope(0), InboxBody::SourceBack { source: "events".into(), position: position.into() });
}

/// The records of the shard itself.
fn own(w: &World) -> &Kept {
    &w.store.scopes[&own_scope(0)]
}

fn incidents(w: &World) -> Vec<&Incident> {
    let mut all: Vec<&Incident> = own(w).incidents.values().collect();
    all.sort_by_key(|i| (i.opened_at, i.about.clone()));
    all
}

#[test]
fn a_stopped_source_is_an_incident_of_the_shards_own_and_pages_at_once() {
    let mut w = world();
    stopped(&mut w, PLACE);
    assert_eq!(w.steps(), "incident_opened, page_decided");
    let one = incidents(&w)[0];
    assert_eq!((one.rulebook.as_str(), one.rule.as_str(), one.priority()), ("paramedic", "source stopped", 1));
    assert_eq!((one.scope.as_str(), one.about.as_deref()), ("paramedic.0", Some(PLACE)));
    assert_eq!(one.summary, "kafka/events/3 is not taken from: the topic was recreated");
    let page = &own(&w).pages[0];
    assert_eq!((page.to.as_str(), page.reason.as_str(), page.shadow), ("default", one.summary.as_str(), false));
    assert_eq!(own(&w).outbox.len(), 1);
    assert!(w.live().incidents.is_empty(), "no scope of events is touched");
}

#[test]
fn while_it_is_open_it_is_opened_once_and_each_position_has_its_own() {
    let mut w = world();
    stopped(&mut w, PLACE);
    w.steps();
    w.at("1m");
    stopped(&mut w, PLACE);
    assert_eq!(w.marks(), "matched");
    stopped(&mut w, "kafka/events/4");
    assert_eq!((incidents(&w).len(), own(&w).outbox.len()), (2, 2));
}

#[test]
fn a_source_that_is_taken_from_again_resolves_it_and_credits_nobody() {
    let mut w = world();
    stopped(&mut w, PLACE);
    w.at("1h");
    back(&mut w, PLACE);
    let one = incidents(&w)[0];
    assert_eq!((one.state, one.close_code), (S::Resolved, Some(CloseCode::NoResolutionProvided)));
    assert_eq!(one.close_notes.as_deref(), Some("kafka/events/3 is taken from again"));
    w.at("25h");
    assert_eq!(incidents(&w)[0].state, S::Closed);
    w.steps();
    back(&mut w, PLACE);
    assert_eq!(w.marks(), "source was not stopped");
}

#[test]
fn when_it_stops_again_it_reopens_and_pages_under_another_key_and_a_closed_one_stays_closed() {
    let mut w = world();
    stopped(&mut w, PLACE);
    w.at("1h");
    back(&mut w, PLACE);
    w.at("2h").steps();
    stopped(&mut w, PLACE);
    assert_eq!(w.steps(), "-> in_progress, page_decided");
    assert_eq!((incidents(&w).len(), incidents(&w)[0].reopen_count), (1, 1));
    assert_eq!(own(&w).pages[1].reason, "again, kafka/events/3 is not taken from: the topic was recreated");
    assert_ne!(own(&w).outbox[0].key, own(&w).outbox[1].key);
    w.at("3h");
    back(&mut w, PLACE);
    w.at("30h");
    stopped(&mut w, PLACE);
    let states: Vec<S> = incidents(&w).iter().map(|i| i.state).collect();
    assert_eq!((states, own(&w).outbox.len()), (vec![S::Closed, S::New], 3));
}

#[test]
fn people_acknowledge_and_resolve_it_like_any_other() {
    let mut w = world();
    stopped(&mut w, PLACE);
    let incident = incidents(&w)[0].id;
    let act = |act| InboxBody::Operator { by: "ann".into(), act };
    w.inbox_of(&own_scope(0), act(OperatorAct::Acknowledge { incident }));
    assert_eq!(incidents(&w)[0].state, S::InProgress);
    let notes = "it is to stay so".to_owned();
    w.inbox_of(&own_scope(0), act(OperatorAct::Resolve { incident, code: CloseCode::UserError, notes }));
    assert_eq!((incidents(&w)[0].state, incidents(&w)[0].close_code), (S::Resolved, Some(CloseCode::UserError)));
}

#[test]
fn a_rewind_is_one_row_of_history_with_who_where_to_and_why() {
    let mut w = world();
    let act = OperatorAct::Rewind { position: PLACE.into(), to: 17, reason: "taken under broken rules".into() };
    w.act(act);
    assert_eq!(w.steps(), "operator");
    let row = w.last_rows(1).remove(0);
    assert_eq!((row.actor.as_str(), row.reason.as_str()), ("person:ann", "taken under broken rules"));
    assert_eq!(row.data["act"], "rewind");
    assert_eq!(row.data["rewind"], serde_json::json!({"position": PLACE, "to": 17}));
}

/// Matching is the shell's: an event that was handed over is not stepped as it is, and counts where the shell gives it
/// to the shard.
#[test]
fn an_event_that_was_handed_over_does_nothing_as_an_inbox_entry_and_all_as_an_event() {
    let rules = set("record", PLAIN);
    let mut w = World::new(std::sync::Arc::clone(&rules));
    let mut event = paramedic_model::OwnedEvent {
        id: Some("e".into()),
        source: "mon".into(),
        type_: "down".into(),
        dedup_key: Some("k".into()),
        time: t("0s"),
        ..paramedic_model::OwnedEvent::default()
    };
    event.received = t("0s");
    let before = (w.shard.clock(), w.live().clone());
    let entry = NewInbox {
        id: "handed".into(),
        scope: SCOPE.into(),
        at: t("1m"),
        body: InboxBody::Handed(Box::new(event.clone())),
    };
    w.shard.begin(t("1m"), vec![]);
    w.shard.inbox(t("1m"), &entry);
    assert_eq!((w.shard.clock(), w.live().clone()), before);
    assert!(!w.shard.has_decided());
    w.shard.event(t("1m"), SCOPE, matched(&rules, event));
    assert_eq!((w.shard.clock(), w.live().incidents.len()), (t("1m"), 1));
}
