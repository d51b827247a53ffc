//! Events to topics: at least once, under one id, or given up where people see it.

use paramedic_model::{Emit, EmitReport, Halt, HaltScope, OutboxState as S};
use serde_json::json;

use super::*;

fn emit() -> OutboxRow {
    let firing = Id::of(&json!("firing"));
    let event = json!({"type": "link.flapping", "ci": "web-1", "time": t(0)});
    row(Order::Emit(Emit {
        id: Emit::id_of(firing, "emit/0", "derived"),
        incident: firing,
        step: "emit/0".into(),
        topic: "derived".into(),
        key: "default".into(),
        event: event.as_object().unwrap().clone(),
        about: Some(run().target),
        rulebook: "book".into(),
        rule: "down".into(),
        decided_at: t(0),
        shadow: false,
    }))
}

fn done() -> Outcome {
    Outcome::Succeeded { message: "partition 0, offset 7".into(), facts: BTreeMap::new() }
}

fn report(reports: &[NewInbox]) -> EmitReport {
    let [NewInbox { body: InboxBody::EmitReported(report), .. }] = reports else { panic!("{reports:?}") };
    report.clone()
}

#[test]
fn it_leaves_with_its_id_and_its_delivery_ends_it() {
    let sent = desk().sends(&emit());
    let body: serde_json::Value = serde_json::from_str(sent.request.as_ref().unwrap()).unwrap();
    assert_eq!(body, json!({"id": sent.key, "type": "link.flapping", "ci": "web-1", "time": t(0)}));
    let (next, reports) = after(&sent, &done(), t(2));
    assert_eq!((next.state, reports.len()), (S::Succeeded, 0));
}

#[test]
fn what_may_not_have_arrived_is_sent_again_as_it_was_until_it_is_too_old() {
    let mut row = desk().sends(&emit());
    let bytes = row.request.clone();
    let mut second = 2;
    let (last, reports) = loop {
        let outcome = if row.attempts.is_multiple_of(2) { refused() } else { unknown() };
        let (next, reports) = after(&row, &outcome, t(second));
        assert_eq!((next.state, reports.len()), (S::Started, 0));
        second += 40;
        match desk().at(second).consider(&next) {
            Considered::Send(again, _) => {
                assert_eq!((&again.request, again.key), (&bytes, next.key));
                row = *again;
            }
            Considered::Settle(last, reports) => break (*last, reports),
            other => panic!("{other:?}"),
        }
    };
    assert!(second > 600, "{second}");
    let told = report(&reports);
    assert_eq!((last.state, told.denied, told.topic.as_str()), (S::Failed, false, "derived"));
    for words in ["given up after 15 tries: cut", "age: released 10m 2s ago"] {
        assert!(told.message.contains(words) && last.message.as_ref().unwrap().contains(words), "{}", told.message);
    }
}

#[test]
fn what_no_broker_will_ever_take_has_failed() {
    let sent = desk().sends(&emit());
    let (next, reports) = after(&sent, &Outcome::Failed { message: "too large".into(), never_left: false }, t(2));
    let told = report(&reports);
    assert_eq!((next.state, told.denied, told.message.as_str()), (S::Failed, false, "too large"));
}

#[test]
fn a_halt_holds_it_before_it_leaves_and_before_it_is_sent_again() {
    let (held, reports) = desk().halted().settles(&emit());
    assert_eq!((held.state, reports.len()), (S::Deferred, 0));
    let unsure = after(&desk().sends(&emit()), &unknown(), t(2)).0;
    let (waits, _) = desk().halted().at(30).settles(&unsure);
    assert_eq!((waits.state, waits.not_before), (S::Started, Some(t(35))));
    assert_eq!(desk().at(40).sends(&waits).attempts, 2, "it goes on when the halt ends");
    assert_eq!(desk().halted().at(601).settles(&emit()).0.state, S::Denied, "too old by then");
}

#[test]
fn a_halt_covers_it_by_its_rulebook_and_by_the_ci_that_it_is_about() {
    let halt = |scope| Halt { scope, by: "ann".into(), reason: "fire".into(), at: t(0) };
    let covers = |scope| halt(scope).covers(&emit().order);
    for scope in [
        HaltScope::All,
        HaltScope::Rulebook("book".into()),
        HaltScope::CiClass("server".into()),
        HaltScope::Environment("test".into()),
    ] {
        assert!(covers(scope.clone()), "{scope:?}");
    }
    for scope in [
        HaltScope::Rulebook("other".into()),
        HaltScope::CiClass("switch".into()),
        HaltScope::Environment("production".into()),
        HaltScope::Playbook("clean".into()),
    ] {
        assert!(!covers(scope.clone()), "{scope:?}");
    }
    assert!(!halt(HaltScope::All).covers(&Order::Page(page())), "people are told all the same");
}

#[test]
fn only_auto_sends_and_never_to_what_a_source_reads() {
    for autonomy in ["observe", "record", "propose"] {
        let d = Desk { set: set(autonomy, AS_ASKED), ..desk() };
        assert_eq!(d.objections(&emit()), [format!("grant denies: book has autonomy {autonomy}")]);
    }
    let gone = Desk { set: RuleSet { rulebooks: vec![], ..set("auto", AS_ASKED) }, ..desk() };
    assert_eq!(gone.objections(&emit()), ["grant denies: rulebook book is not active any more"]);
    let d = Desk { topic_read_by: Some("monitoring"), ..desk() };
    assert_eq!(d.objections(&emit()), ["topic denies: source monitoring reads it"]);
    let (next, reports) = d.settles(&emit());
    let told = report(&reports);
    assert_eq!((next.state, told.denied), (S::Denied, true));
    assert_eq!(told.message, "topic: source monitoring reads it");
}

#[test]
fn one_that_a_dead_engine_had_started_is_sent_again_and_a_late_answer_settles_it() {
    let sent = desk().sends(&emit());
    let (adopted, reports) = adopt(&sent, t(5)).unwrap();
    assert_eq!((adopted.state, reports.len()), (S::Started, 0));
    assert_eq!(late(&sent, &adopted, &done(), t(6)).unwrap().0.state, S::Succeeded);
    let again = desk().at(30).sends(&adopted);
    assert_eq!((again.attempts, &again.request), (2, &sent.request));
}
