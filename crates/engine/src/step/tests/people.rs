//! Facts about people: approvals, acknowledgements, pages, and what they may not do.

use paramedic_model::{CloseCode, Id, IncidentState as S, Level, OperatorAct, RunState as R};

use super::rules::{DISK, set};
use super::world::{World, disk, firing, resolved};

const PAGED: &str = "
  - rule: down
    when: |
      event.type == \"down\"
    incident: { summary: x, reopen: 10m, urgency: low }
    escalate:
      - { at: open, to: desk }
      - { at: 15m, to: lead, raise: urgency }
      - { at: 5m unacknowledged, to: boss }
";

fn proposed() -> World {
    let mut w = World::new(set("propose", DISK));
    w.event(disk("web-1", 95));
    assert_eq!((w.steps().as_str(), w.outbox()), ("incident_opened, run_decided", 0));
    w
}

#[test]
fn a_proposed_run_leaves_only_when_a_person_approves() {
    let mut w = proposed();
    let run = w.run().id;
    w.at("10m").act(OperatorAct::Approve { run });
    assert_eq!(w.steps(), "run_released, acknowledged, -> in_progress");
    let row = &w.store.scopes["default"].outbox[0];
    assert_eq!((row.key, row.released_at), (w.run().key("test"), super::world::t("10m")));
    assert_eq!((w.run().state, w.run().decided_by.as_deref()), (R::Pending, Some("ann")));
    w.act(OperatorAct::Approve { run });
    assert_eq!((w.marks().as_str(), w.outbox()), ("not proposed", 1), "single use");
}

#[test]
fn a_rejected_run_makes_way_for_the_next_proposal() {
    let mut w = proposed();
    let run = w.run().id;
    w.act(OperatorAct::Reject { run, reason: "not now".into() });
    assert_eq!(w.steps(), "run_rejected, run_decided");
    assert_eq!(w.runs(), ["clean rejected", "grow proposed"]);
}

#[test]
fn a_proposal_ends_with_its_incident() {
    let mut w = proposed();
    w.at("1m").event(disk("web-1", 10));
    assert_eq!(w.steps(), "run_withdrawn, -> resolved");
    let run = w.run().id;
    w.act(OperatorAct::Approve { run });
    assert_eq!((w.marks().contains("not proposed"), w.outbox()), (true, 0));
}

#[test]
fn escalations_come_at_open_after_their_delay_and_when_nobody_acknowledges() {
    let mut w = World::new(set("record", PAGED));
    w.event(firing("web-1"));
    assert_eq!(w.pages(), ["desk: it was opened"]);
    w.at("2m").delivered().at("6m 59s");
    assert_eq!(w.pages().len(), 1);
    w.at("7m");
    assert_eq!(w.pages()[1], "boss: nobody acknowledged it for 5m");
    w.at("15m");
    assert_eq!((w.pages()[2].as_str(), w.incident().urgency), ("lead: still open after 15m", Level::Medium));
    w.at("5h");
    assert_eq!((w.pages().len(), w.outbox()), (3, 3));
}

#[test]
fn a_wait_that_began_at_the_opening_does_not_begin_again_with_a_page_that_is_delivered_late() {
    let rules = "
  - rule: down
    when: |
      event.type == \"down\"
    incident: { summary: x }
    escalate: [ { at: 5m unacknowledged, to: boss }, { at: 1m, to: lead } ]
";
    let mut w = World::new(set("record", rules));
    w.event(firing("web-1"));
    w.at("6m");
    assert_eq!(w.pages().len(), 2);
    w.delivered().at("5h");
    assert_eq!(w.pages().len(), 2, "{:?}", w.pages());
}

#[test]
fn the_wait_for_a_person_begins_when_the_page_was_delivered() {
    let mut w = World::new(set("record", PAGED));
    w.event(firing("web-1")).at("10m");
    assert_eq!(w.pages().len(), 1);
    w.delivered().at("14m 59s").delivered();
    assert_eq!(w.pages().len(), 1);
    w.at("15m");
    assert_eq!(w.pages().len(), 3);
}

#[test]
fn with_nobody_to_page_the_wait_begins_at_the_opening() {
    let mut w = World::new(set("record", &PAGED.replace("      - { at: open, to: desk }\n", "")));
    w.event(firing("web-1")).at("5m");
    assert_eq!(w.pages(), ["boss: nobody acknowledged it for 5m"]);
}

#[test]
fn an_acknowledgement_stops_the_wait_and_not_the_delay() {
    let mut w = World::new(set("record", PAGED));
    w.event(firing("web-1")).delivered().at("4m").ack();
    assert_eq!(w.incident().acknowledged.as_ref().unwrap().0, "ann");
    assert_eq!(w.incident().state, S::InProgress);
    w.at("1h");
    assert_eq!(w.pages(), ["desk: it was opened", "lead: still open after 15m"]);
    w.steps();
    w.ack();
    assert_eq!(w.marks(), "acknowledged already");
}

#[test]
fn an_acknowledgement_before_the_page_was_delivered_counts_as_well() {
    let mut w = World::new(set("record", PAGED));
    w.event(firing("web-1")).ack().delivered().at("10m");
    assert_eq!(w.pages().len(), 1);
}

#[test]
fn a_resolved_incident_pages_nobody_and_a_reopened_one_pages_again() {
    let mut w = World::new(set("record", PAGED));
    w.event(firing("web-1")).delivered().ack().at("1m").event(resolved("web-1")).at("5m");
    assert_eq!(w.pages().len(), 1);
    w.event(firing("web-1"));
    assert_eq!((w.pages()[1].as_str(), w.incident().acknowledged.is_none()), ("desk: it came back", true));
    w.delivered().at("10m");
    assert_eq!(w.pages()[2], "boss: nobody acknowledged it for 5m");
    let keys: std::collections::BTreeSet<_> = w.store.scopes["default"].outbox.iter().map(|row| row.key).collect();
    assert_eq!(keys.len(), 3);
}

#[test]
fn a_person_resolves_and_only_a_new_occurrence_reopens() {
    let mut w = World::new(set("record", PAGED));
    w.event(firing("web-1").began("0s")).at("1m").resolve();
    assert_eq!((w.incident().state, w.incident().close_code), (S::Resolved, Some(CloseCode::UserError)));
    assert_eq!(w.incident().close_notes.as_deref(), Some("by hand"));
    w.at("2m").event(firing("web-1").began("0s"));
    assert_eq!(w.incident().state, S::Resolved);
    w.at("3m").event(firing("web-1").began("3m"));
    assert_eq!((w.opened(), w.incident().state), (1, S::InProgress));
}

#[test]
fn what_is_not_allowed_is_ignored_and_counted() {
    let mut w = World::new(set("record", PAGED));
    w.event(firing("web-1")).resolve().steps();
    let nobody = Id::default();
    w.resolve().ack();
    w.act(OperatorAct::Acknowledge { incident: nobody });
    w.act(OperatorAct::Resolve { incident: nobody, code: CloseCode::UserError, notes: String::new() });
    w.act(OperatorAct::Approve { run: nobody }).act(OperatorAct::Reject { run: nobody, reason: String::new() });
    let expected = "illegal move, illegal move, unknown incident, unknown incident, not proposed, not proposed";
    assert_eq!(w.marks(), expected);
}

#[test]
fn reports_of_what_is_not_known_or_not_news_are_ignored_and_counted() {
    let mut w = World::new(set("auto", DISK));
    w.event(disk("web-1", 95)).at("1m").report(R::Succeeded).steps();
    w.report(R::Started).report(R::Failed);
    assert_eq!(w.marks(), "late report, late report");
}

#[test]
fn halt_and_resume_are_on_record() {
    let mut w = World::new(set("record", PAGED));
    w.act(OperatorAct::Halt { reason: "fire".into() }).act(OperatorAct::Resume { reason: "out".into() });
    assert_eq!(w.steps(), "operator, operator");
}

#[test]
fn a_run_that_was_cleared_after_a_restore_is_on_record_and_goes_no_second_time() {
    let mut w = World::new(set("auto", DISK));
    w.event(disk("web-1", 95)).steps();
    let run = w.run().id;
    w.act(OperatorAct::Clear { run }).act(OperatorAct::EndRecovered { reason: "compared".into() });
    assert_eq!((w.steps().as_str(), w.outbox()), ("operator, operator", 1));
    let rows = w.last_rows(2);
    assert_eq!((rows[0].record, rows[0].actor.as_str(), &rows[0].data["act"]), (run, "person:ann", &"clear".into()));
    assert_eq!((rows[1].reason.as_str(), &rows[1].data["act"]), ("compared", &"end_recovered".into()));
}
