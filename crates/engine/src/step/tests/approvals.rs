//! Facts about remedies that ask a person first, and about escalations that ask a condition or repeat.

use paramedic_model::{IncidentState as S, OperatorAct, RunState as R};

use super::rules::{full, set};
use super::world::{World, disk};

fn asks(otherwise: &str) -> String {
    let rest = format!(
        "    remedy:
      - playbook: clean
        approve: {{ by: desk, within: 30m, otherwise: {otherwise} }}
      - playbook: grow
    escalate:
      - {{ at: approval_expired, to: lead }}
      - {{ at: remedies_failed, to: team }}
"
    );
    full("{ summary: x }", &rest)
}

fn asked(otherwise: &str) -> World {
    let mut w = World::new(set("auto", &asks(otherwise)));
    w.event(disk("web-1", 95));
    assert_eq!(w.steps(), "incident_opened, run_decided, page_decided");
    assert_eq!((w.runs(), w.pages().len()), (vec!["clean proposed".to_owned()], 1));
    let id = w.run().id;
    assert_eq!(w.pages()[0], format!("desk: may clean run on web-1? `paramedic approve {id}`"));
    w.delivered().steps();
    w
}

#[test]
fn a_remedy_that_asks_leaves_when_a_person_says_so_though_the_rulebook_is_trusted() {
    let mut w = asked("stop");
    let run = w.run().id;
    w.at("10m").act(OperatorAct::Approve { run });
    assert_eq!(w.steps(), "run_released, acknowledged, -> in_progress");
    w.at("2h");
    assert_eq!(w.runs(), ["clean pending"], "its time to answer is over, and it was answered");
}

#[test]
fn who_approves_is_at_work_and_nobody_is_told_that_nobody_is() {
    let rest = "    remedy: [ { playbook: clean } ]\n    escalate:\n      - { at: 15m unacknowledged, to: lead }\n      - { at: 1h, to: boss }\n";
    let asked = |act: fn(paramedic_model::Id) -> OperatorAct| {
        let mut w = World::new(set("propose", &full("{ summary: x }", rest)));
        w.event(disk("web-1", 95));
        let run = w.run().id;
        w.at("10m").act(act(run)).at("2h");
        (w.pages(), w.incident().acknowledged.clone().map(|(who, _)| who))
    };
    let (pages, by) = asked(|run| OperatorAct::Approve { run });
    assert_eq!((pages, by.as_deref()), (vec!["boss: still open after 1h".to_owned()], Some("ann")));
    // A no is no answer to whether anybody is at work.
    let (pages, by) = asked(|run| OperatorAct::Reject { run, reason: "no".to_owned() });
    assert_eq!((pages.len(), by), (2, None));
}

#[test]
fn who_was_at_work_before_stays_the_one_who_is() {
    let mut w = asked("stop");
    let (incident, run) = (w.incident().id, w.run().id);
    w.at("1m").act_as("bob", OperatorAct::Acknowledge { incident }).steps();
    w.at("2m").act(OperatorAct::Approve { run });
    assert_eq!(w.steps(), "run_released");
    assert_eq!(w.incident().acknowledged.as_ref().unwrap().0, "bob");
}

#[test]
fn silence_is_no_consent() {
    for (otherwise, runs, steps, told) in [
        ("stop", 1, "run_withdrawn, remedies_failed", None),
        ("next", 2, "run_withdrawn, run_decided, -> in_progress", None),
        (
            "escalate",
            1,
            "run_withdrawn, page_decided, remedies_failed",
            Some("lead: desk did not approve it within 30m"),
        ),
    ] {
        let mut w = asked(otherwise);
        w.at("29m 59s");
        assert_eq!(w.steps(), "", "{otherwise}");
        w.at("30m");
        assert_eq!(w.steps(), steps, "{otherwise}");
        assert_eq!((w.runs().len(), w.runs()[0].as_str()), (runs, "clean cancelled"), "{otherwise}");
        assert_eq!(w.pages().get(1).map(String::as_str), told, "{otherwise}");
        let late = w.live().runs.values().find(|r| r.playbook == "clean").unwrap().id;
        w.at("31m").act(OperatorAct::Approve { run: late });
        assert!(w.marks().contains("not proposed"), "{otherwise}: too late");
    }
}

#[test]
fn an_escalation_without_a_step_for_it_tells_whoever_is_told_where_nobody_is_named() {
    let rules = asks("escalate").replace("      - { at: approval_expired, to: lead }\n", "");
    let mut w = World::new(set("auto", &rules));
    w.event(disk("web-1", 95)).delivered().at("30m");
    assert_eq!(w.pages()[1], "default: desk did not approve it within 30m");
}

#[test]
fn a_rejected_one_makes_way_and_its_time_is_over() {
    let mut w = asked("escalate");
    let run = w.run().id;
    w.at("5m").act(OperatorAct::Reject { run, reason: "no".into() });
    assert_eq!(w.runs(), ["clean rejected", "grow pending"]);
    w.at("3h");
    assert!(w.pages().iter().all(|page| !page.starts_with("lead")), "{:?}", w.pages());
}

#[test]
fn recovery_ends_the_question() {
    let mut w = asked("escalate");
    w.at("5m").event(disk("web-1", 10)).at("1h");
    assert_eq!((w.incident().state, w.pages().len()), (S::Resolved, 1));
}

#[test]
fn who_wants_to_know_of_a_guard_that_refused_is_told_what_it_said() {
    let rest = "    remedy: [ { playbook: clean } ]\n    escalate: [ { at: guard_denied, to: owner } ]\n";
    let mut w = World::new(set("auto", &full("{ summary: x }", rest)));
    w.event(disk("web-1", 95)).at("1m").report(R::Denied);
    assert_eq!(w.pages(), ["owner: said so"]);
}

fn repeats(step: &str) -> World {
    let rules = full("{ summary: x, urgency: low }", &format!("    escalate: [ {step} ]\n"));
    let mut w = World::new(set("record", &rules));
    w.event(disk("web-1", 95));
    w
}

#[test]
fn a_page_is_repeated_until_somebody_acknowledges_and_raises_once() {
    let mut w = repeats("{ at: 10m, to: desk, repeat: 5m, raise: urgency }");
    let raised = w.incident().urgency.raised();
    w.at("19m 59s");
    let again = "desk: nobody acknowledged it 15m after it was opened";
    assert_eq!(w.pages(), ["desk: still open after 10m", again]);
    assert_eq!(w.incident().urgency, raised);
    w.at("20m").ack().at("5h");
    assert_eq!(w.pages().len(), 3);
}

#[test]
fn repeats_end_with_the_incident_and_survive_a_restart() {
    let mut w = repeats("{ at: open, to: desk, repeat: 5m }");
    w.at("5m").restart().at("10m");
    assert_eq!(w.pages().len(), 3);
    w.at("11m").event(disk("web-1", 10)).at("5h");
    assert_eq!(w.pages().len(), 3);
}

#[test]
fn who_is_told_only_if_something_holds_is_not_told_where_it_does_not() {
    let mut told = repeats("{ at: 10m, to: desk, if: event.value > 90 }");
    told.at("10m");
    assert_eq!(told.pages(), ["desk: still open after 10m"]);
    for question in ["event.value > 99", "event.labels.no_such == \\\"x\\\""] {
        let mut not = repeats(&format!("{{ at: 10m, to: desk, if: \"{question}\" }}"));
        not.at("10m");
        assert_eq!((not.pages().len(), not.marks().contains("`if` does not hold")), (0, true), "{question}");
    }
}

#[test]
fn nobody_is_asked_about_what_may_not_be_run() {
    let mut w = World::new(super::rules::shaped(&set("auto", &asks("next")), |set| {
        set.rulebooks[0].may.ci_classes = vec!["firewall".into()];
    }));
    w.event(disk("web-1", 95));
    assert_eq!(w.steps(), "incident_opened, remedy_skipped, run_decided, -> in_progress");
    assert_eq!((w.pages().len(), w.runs()), (0, vec!["grow pending".to_owned()]), "and the guards refuse the next");
}

#[test]
fn the_time_to_answer_begins_when_somebody_could_have() {
    let mut w = World::new(set("auto", &asks("next")));
    // An hour is made up for at once, and the page goes out behind it.
    w.event(disk("web-1", 95)).at("1h").delivered().at("1h 29m 59s");
    assert_eq!(w.runs(), ["clean proposed"]);
    w.at("1h 30m");
    assert_eq!(w.runs(), ["clean cancelled", "grow pending"]);
}

#[test]
fn a_page_that_nobody_approved_is_another_one_than_that_of_the_opening() {
    let rules = asks("escalate").replace("{ at: approval_expired, to: lead }", "{ at: open, to: default }");
    let mut w = World::new(set("auto", &rules));
    w.event(disk("web-1", 95)).delivered().at("30m");
    let pages = &w.store.scopes["default"].pages;
    assert_eq!(pages.len(), 3, "{:?}", w.pages());
    let ids: std::collections::BTreeSet<_> = pages.iter().map(|page| page.key("test")).collect();
    assert_eq!(ids.len(), 3, "each has a key of its own");
}

#[test]
fn what_is_not_so_any_more_when_it_is_approved_does_not_run() {
    let only_if = "      - playbook: clean\n        only_if: '!has(open_incident(cmdb.ci(\"web-2\")))'\n";
    let rules = asks("stop").replacen("      - playbook: clean\n", only_if, 1);
    let mut w = World::new(set("auto", &rules));
    w.event(disk("web-1", 95)).delivered();
    assert_eq!(w.runs(), ["clean proposed"]);
    let run = w.run().id;
    w.at("10m").event(disk("web-2", 95)).steps();
    w.act(OperatorAct::Approve { run });
    assert_eq!(w.steps(), "run_withdrawn, run_decided, -> in_progress");
    assert_eq!(w.live().runs[&run].state, R::Cancelled);
}
