//! What the dispatcher may and may not do with a row.

mod emits;

use std::collections::BTreeMap;

use paramedic_model::{
    Autonomy, Digest, Effect, GuardSays, Halt, HaltScope, Id, InboxBody, Incident, NewInbox, OnUnknown, OperatorAct,
    Order, OutboxRow, OutboxState as S, Outcome, Page, Run, RunState, Span, Target, Timestamp,
};
use paramedic_rulebook::{RuleSet, load};
use serde_json::json;

use super::{
    Considered, GuardInput, MAX_ATTEMPTS, MAX_PAGE_ATTEMPTS, adopt, after, clear, consider, is_under_way, judge, late,
    settle, strictest,
};

fn t(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_767_225_600 + secs)
}

fn set(autonomy: &str, grants: &str) -> RuleSet {
    let playbooks = "playbooks:\n  clean: { runner: http, url: 'http://box/', timeout: 1m, effect: idempotent }\n";
    let book = format!(
        "rulebook: book\nautonomy: {autonomy}\nmay: {{ playbooks: [clean], ci_classes: [server], environments: [test] }}\nrules:\n  - rule: down\n    when: |\n      event.type == \"down\"\n    incident: {{ summary: x }}\n"
    );
    let sources = [("playbooks.yaml", playbooks), ("book.yaml", &book), ("grants", grants)];
    let loaded = load(&sources.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
    loaded.set.unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics))
}

const AS_ASKED: &str = "\"as_asked\"";

fn incident() -> Incident {
    let text = json!({
        "id": Id::of(&json!("incident")), "scope": "default", "correlation_key": Id::default(), "rulebook": "book",
        "rule": "down", "set": Digest::default(), "by": [], "shadow": false, "state": "in_progress", "summary": "x",
        "impact": 2, "urgency": 2, "severity": "minor", "opened_at": t(0), "updated_at": t(0), "reopen_count": 0,
        "alerts": [], "matched": 1, "condition_at": t(0), "number": 42,
        "plan": {"round": 0, "next": 1, "current": run().id, "exhausted": false},
    });
    serde_json::from_value(text).unwrap()
}

fn run() -> Run {
    let target = Id::of(&json!("web-1"));
    let incident = Id::of(&json!("incident"));
    Run {
        id: Run::id_of(incident, "remedy/0", 0, target),
        incident,
        step: "remedy/0".into(),
        round: 0,
        playbook: "clean".into(),
        target: Target { id: target, name: "web-1".into(), class: "server".into(), environment: Some("test".into()) },
        parameters: BTreeMap::from([("mount".to_owned(), json!("/var"))]),
        effect: Effect::Idempotent,
        on_unknown: OnUnknown::Hold,
        timeout: Span::from_secs(60),
        rulebook: "book".into(),
        rule: "down".into(),
        set: Digest::default(),
        state: RunState::Pending,
        decided_at: t(0),
        released_at: Some(t(0)),
        started_at: None,
        reported_at: None,
        message: None,
        facts: BTreeMap::new(),
        evidence: None,
        lost: None,
        verdict: None,
        decided_by: None,
    }
}

fn page() -> Page {
    let incident = Id::of(&json!("incident"));
    let step = "escalate/0".to_owned();
    let id = Page::id_of(incident, &step, 0, "team");
    let reason = "nobody acknowledged it for 5m".to_owned();
    Page { id, incident, step, round: 0, to: "team".into(), reason, decided_at: t(0), shadow: false }
}

fn row(order: Order) -> OutboxRow {
    let key = match &order {
        Order::Run(run) => run.key("test"),
        Order::Page(page) => page.key("test"),
        Order::Emit(emit) => emit.key("test"),
    };
    OutboxRow {
        key,
        scope: "default".into(),
        order,
        state: S::Pending,
        released_at: t(0),
        attempts: 0,
        not_before: None,
        request: None,
        verdicts: vec![],
        job: None,
        started_at: None,
        message: None,
        cleared: None,
    }
}

fn a_run() -> OutboxRow {
    row(Order::Run(run()))
}

fn with(effect: Effect, on_unknown: OnUnknown) -> OutboxRow {
    row(Order::Run(Run { effect, on_unknown, ..run() }))
}

struct Desk {
    set: RuleSet,
    incident: Option<Incident>,
    halt: Option<Halt>,
    busy: bool,
    recovered: Option<Timestamp>,
    topic_read_by: Option<&'static str>,
    now: Timestamp,
}

fn desk() -> Desk {
    Desk {
        set: set("auto", AS_ASKED),
        incident: Some(incident()),
        halt: None,
        busy: false,
        recovered: None,
        topic_read_by: None,
        now: t(1),
    }
}

impl Desk {
    fn input(&self) -> GuardInput<'_> {
        GuardInput {
            now: self.now,
            halt: self.halt.as_ref(),
            incident: self.incident.as_ref(),
            set: &self.set,
            target_busy: self.busy,
            max_action_age: Span::from_secs(600),
            recovered: self.recovered.map(|at| (at, "restored from a backup")),
            topic_read_by: self.topic_read_by,
        }
    }

    fn at(mut self, secs: i64) -> Self {
        self.now = t(secs);
        self
    }

    fn halted(mut self) -> Self {
        self.halt = Some(Halt { scope: HaltScope::All, by: "ann".into(), reason: "fire".into(), at: t(0) });
        self
    }

    fn consider(&self, row: &OutboxRow) -> Considered {
        let first = consider(row, &self.input());
        assert_eq!(first, consider(row, &self.input()), "asked twice, it says the same");
        if let Considered::Send(next, _) | Considered::Settle(next, _) = &first {
            assert!(row.state.may_become(next.state), "{} -> {}", row.state.name(), next.state.name());
            assert_eq!(row.key, next.key);
        }
        first
    }

    fn sends(&self, row: &OutboxRow) -> OutboxRow {
        match self.consider(row) {
            Considered::Send(next, _) => *next,
            other => panic!("{other:?}"),
        }
    }

    fn settles(&self, row: &OutboxRow) -> (OutboxRow, Vec<NewInbox>) {
        match self.consider(row) {
            Considered::Settle(next, reports) => (*next, reports),
            other => panic!("{other:?}"),
        }
    }

    /// What does not allow, with its reason.
    fn objections(&self, row: &OutboxRow) -> Vec<String> {
        let name = |says: &GuardSays| match says {
            GuardSays::Allow => "allows",
            GuardSays::Defer(_) => "defers",
            GuardSays::Deny => "denies",
        };
        judge(row, &self.input())
            .iter()
            .filter(|v| v.says != GuardSays::Allow)
            .map(|v| format!("{} {}: {}", v.guard, name(&v.says), v.reason))
            .collect()
    }
}

fn unknown() -> Outcome {
    Outcome::Unknown { message: "cut".into(), retry_after: None }
}

fn refused() -> Outcome {
    Outcome::Failed { message: "refused".into(), never_left: true }
}

fn accepted() -> Outcome {
    Outcome::Accepted { job: "http://box/1".into(), retry_after: Span::from_secs(5) }
}

fn said(reports: &[NewInbox]) -> Vec<&'static str> {
    let name = |entry: &NewInbox| match &entry.body {
        InboxBody::RunReported(report) => report.state.name(),
        InboxBody::PageReported(report) => ["undelivered", "delivered"][usize::from(report.delivered)],
        other => panic!("{other:?}"),
    };
    reports.iter().map(name).collect()
}

#[test]
fn these_are_all_the_moves_of_a_row() {
    let table: String = S::ALL
        .iter()
        .map(|from| {
            let to: Vec<_> = S::ALL.iter().filter(|to| from.may_become(**to)).map(|to| to.name()).collect();
            format!("{} -> {}\n", from.name(), to.join(", "))
        })
        .collect();
    let expected = "\
pending -> deferred, denied, cancelled, started
deferred -> pending, cancelled
denied -> 
cancelled -> 
started -> started, accepted, succeeded, failed, unknown
accepted -> cancelled, succeeded, failed, unknown
succeeded -> 
failed -> 
unknown -> succeeded, failed
";
    assert_eq!(table, expected);
}

#[test]
fn these_are_all_the_moves_of_a_run() {
    use RunState as R;
    let all = [
        R::WouldBe,
        R::Proposed,
        R::Rejected,
        R::Pending,
        R::Started,
        R::Accepted,
        R::Succeeded,
        R::Failed,
        R::Unknown,
        R::Denied,
        R::Cancelled,
    ];
    let table: String = all
        .iter()
        .map(|from| {
            let to: Vec<_> = all.iter().filter(|to| from.may_become(**to)).map(|to| to.name()).collect();
            format!("{} -> {}\n", from.name(), to.join(", "))
        })
        .collect();
    let expected = "\
would_be -> 
proposed -> rejected, pending, cancelled
rejected -> 
pending -> started, accepted, succeeded, failed, unknown, denied, cancelled
started -> accepted, succeeded, failed, unknown
accepted -> succeeded, failed, unknown, cancelled
succeeded -> 
failed -> 
unknown -> succeeded, failed
denied -> 
cancelled -> started, accepted, succeeded, failed, unknown
";
    assert_eq!(table, expected);
}

#[test]
fn a_run_that_every_guard_allows_leaves_with_its_bytes_committed() {
    let row = a_run();
    let Considered::Send(next, reports) = desk().consider(&row) else { panic!() };
    assert_eq!((next.state, next.attempts, next.started_at), (S::Started, 1, Some(t(1))));
    let body = json!({
        "run": row.key, "playbook": "clean", "parameters": {"mount": "/var"},
        "target": {"id": run().target.id, "name": "web-1", "class": "server"},
    });
    assert_eq!(next.request.as_deref(), Some(paramedic_model::canonical(&body).as_str()));
    assert_eq!(said(&reports), ["started"]);
    let guards: Vec<_> = next.verdicts.iter().map(|v| v.guard.as_str()).collect();
    assert_eq!(guards, ["halt", "recovered", "staleness", "grant", "age", "target", "concurrency"]);
}

#[test]
fn a_missing_incident_denies() {
    let d = Desk { incident: None, ..desk() };
    assert_eq!(d.objections(&a_run()), ["staleness denies: its incident is not in the store"]);
    let (next, reports) = d.settles(&a_run());
    assert_eq!((next.state, said(&reports)), (S::Denied, vec!["denied"]));
    let InboxBody::RunReported(report) = &reports[0].body else { panic!() };
    assert_eq!(report.verdicts.len(), 7, "all verdicts are told");
}

#[test]
fn a_run_whose_plan_has_gone_on_is_denied() {
    let mut d = desk();
    d.incident.as_mut().unwrap().plan.current.clear();
    assert_eq!(d.objections(&a_run()), ["staleness denies: its incident's plan has gone on without it"]);
    d.incident.as_mut().unwrap().state = paramedic_model::IncidentState::Resolved;
    assert_eq!(d.objections(&a_run()), ["staleness denies: its incident is resolved"]);
}

#[test]
fn while_recovery_is_being_waited_for_a_run_waits() {
    let mut d = desk();
    d.incident.as_mut().unwrap().evidence = Some(paramedic_model::Evidence { input: "e".into(), at: t(0), time: t(0) });
    let (next, reports) = d.settles(&a_run());
    assert_eq!((next.state, next.not_before, reports.len()), (S::Deferred, Some(t(2)), 0));
}

#[test]
fn a_halt_defers_and_what_is_too_old_then_is_denied() {
    let (next, _) = desk().halted().settles(&a_run());
    assert_eq!((next.state, next.not_before), (S::Deferred, Some(t(6))));
    assert_eq!(desk().halted().at(5).consider(&next), Considered::Wait);
    let (next, _) = desk().halted().at(6).settles(&next);
    assert_eq!(next.state, S::Pending);
    assert_eq!(desk().at(7).sends(&next).state, S::Started);
    let objections = desk().halted().at(601).objections(&next);
    assert_eq!(objections[0], "halt defers: halted by ann: fire");
    assert_eq!(objections[1], "age denies: released 10m 1s ago; the oldest that may act is 10m");
    assert_eq!(desk().halted().at(601).settles(&next).0.state, S::Denied);
}

#[test]
fn only_auto_sends_without_a_person_and_propose_with_one() {
    for (autonomy, alone, approved) in
        [("observe", false, false), ("record", false, false), ("propose", false, true), ("auto", true, true)]
    {
        let d = Desk { set: set(autonomy, AS_ASKED), ..desk() };
        assert_eq!(d.objections(&a_run()).is_empty(), alone, "{autonomy}");
        let by_person = row(Order::Run(Run { decided_by: Some("ann".into()), ..run() }));
        assert_eq!(d.objections(&by_person).is_empty(), approved, "{autonomy}");
    }
}

#[test]
fn may_and_grants_name_what_is_allowed_as_they_are_now() {
    let other = |f: fn(&mut Run)| {
        let mut run = run();
        f(&mut run);
        desk().objections(&row(Order::Run(run)))
    };
    assert_eq!(other(|r| r.rulebook = "gone".into()), ["grant denies: rulebook gone is not active any more"]);
    assert_eq!(other(|r| r.playbook = "reboot".into()), ["grant denies: `may` of book does not name playbook reboot"]);
    assert_eq!(other(|r| r.target.class = "switch".into()), ["grant denies: `may` of book does not name class switch"]);
    assert_eq!(other(|r| r.target.environment = None), ["grant denies: `may` of book does not name environment \"\""]);
    assert_eq!(other(|r| r.target.name = " ".into()), ["target denies: the target is empty"]);
    let line = |more: &str| format!("{{\"list\": [{{\"rulebook\": \"b*\", \"autonomy\": \"auto\"{more}}}]}}");
    for (more, objection) in [
        ("", None),
        (", \"playbooks\": []", Some("grant denies: the operator's grant does not name playbook clean")),
        (", \"ci_classes\": [\"x\"]", Some("grant denies: the operator's grant does not name class server")),
        (", \"environments\": []", Some("grant denies: the operator's grant does not name environment \"test\"")),
    ] {
        let d = Desk { set: set("auto", &line(more)), ..desk() };
        assert_eq!(d.objections(&a_run()).first().map(String::as_str), objection);
    }
    let d = Desk { set: set("auto", "{\"list\": []}"), ..desk() };
    assert_eq!(d.objections(&a_run()), [format!("grant denies: book has autonomy {}", Autonomy::Record.name())]);
}

#[test]
fn one_run_at_a_time_on_a_target() {
    let d = Desk { busy: true, ..desk() };
    assert_eq!(d.objections(&a_run()), ["concurrency defers: another run may be acting on web-1"]);
    assert_eq!(d.settles(&a_run()).0.state, S::Deferred);
}

#[test]
fn the_strictest_verdict_wins() {
    let verdict = |says| paramedic_model::GuardVerdict { guard: String::new(), says, reason: String::new(), at: t(0) };
    let says = |all: &[GuardSays]| strictest(&all.iter().cloned().map(verdict).collect::<Vec<_>>());
    let (allow, deny) = (GuardSays::Allow, GuardSays::Deny);
    let defer = |s| GuardSays::Defer(t(s));
    assert_eq!(says(&[allow.clone(), defer(2), defer(9), allow.clone()]), defer(9));
    assert_eq!(says(&[defer(2), deny.clone(), allow.clone()]), deny);
    assert_eq!(says(&[allow.clone(), allow]), GuardSays::Allow);
}

#[test]
fn a_row_that_left_is_not_sent_again_unless_its_playbook_allows_it() {
    for effect in [Effect::ReadOnly, Effect::Idempotent, Effect::Keyed, Effect::NonIdempotent] {
        for on_unknown in [OnUnknown::Verify, OnUnknown::Retry, OnUnknown::Hold] {
            let sent = desk().sends(&with(effect, on_unknown));
            assert_eq!(desk().at(2).consider(&sent), Considered::Wait, "a reply is awaited");
            let allowed = on_unknown == OnUnknown::Retry && effect != Effect::NonIdempotent;
            for (next, reports) in [adopt(&sent, t(5)).unwrap(), after(&sent, &unknown(), t(5))] {
                let expected = if allowed { (S::Started, vec![]) } else { (S::Unknown, vec!["unknown"]) };
                assert_eq!((next.state, said(&reports)), expected, "{effect:?} {on_unknown:?}");
                let later = desk().at(30).consider(&next);
                assert_eq!(matches!(later, Considered::Send(..)), allowed);
            }
        }
    }
}

#[test]
fn a_retry_keeps_its_key_and_every_byte() {
    let mut row = desk().sends(&with(Effect::Keyed, OnUnknown::Retry));
    let (key, bytes) = (row.key, row.request.clone());
    let mut sent = 1;
    for second in 2..60 {
        row = match desk().at(second).consider(&row) {
            Considered::Send(next, reports) => {
                assert!(reports.is_empty(), "it has started once");
                sent += 1;
                after(&next, &unknown(), t(second)).0
            }
            Considered::Wait if row.not_before.is_none() => after(&row, &unknown(), t(second)).0,
            _ => continue,
        };
        assert_eq!((row.key, &row.request), (key, &bytes));
    }
    assert!(sent > 2 && sent <= MAX_ATTEMPTS, "{sent}");
    assert_eq!(row.started_at, Some(t(1)));
}

#[test]
fn a_request_that_never_left_may_be_sent_again_whatever_its_effect() {
    let sent = desk().sends(&with(Effect::NonIdempotent, OnUnknown::Hold));
    let (next, reports) = after(&sent, &refused(), t(2));
    assert_eq!((next.state, next.not_before, reports.len()), (S::Started, Some(t(3)), 0));
    assert_eq!(adopt(&next, t(2)), None, "its outcome is known");
    assert_eq!(desk().at(3).sends(&next).attempts, 2);
    let (last, reports) = after(&next, &refused(), t(70));
    assert_eq!((last.state, said(&reports)), (S::Failed, vec!["failed"]), "its time is over");
}

#[test]
fn a_retry_that_never_left_does_not_make_an_unknown_outcome_a_failure() {
    let sent = desk().sends(&with(Effect::Keyed, OnUnknown::Retry));
    let unsure = after(&sent, &unknown(), t(2)).0;
    let again = after(&desk().at(10).sends(&unsure), &refused(), t(10)).0;
    let (last, reports) = after(&desk().at(30).sends(&again), &refused(), t(70));
    assert_eq!((last.state, said(&reports)), (S::Unknown, vec!["unknown"]));
}

#[test]
fn guards_hold_for_retries_too() {
    let unsure = after(&desk().sends(&with(Effect::Keyed, OnUnknown::Retry)), &unknown(), t(2)).0;
    let (held, reports) = desk().halted().at(10).settles(&unsure);
    assert_eq!(
        (held.state, held.attempts, reports.len()),
        (S::Started, unsure.attempts, 0),
        "nobody is told of a wait"
    );
    let mut d = desk().at(10);
    d.incident.as_mut().unwrap().state = paramedic_model::IncidentState::Resolved;
    let (next, reports) = d.settles(&unsure);
    assert_eq!((next.state, said(&reports)), (S::Unknown, vec!["unknown"]));
    assert_eq!(next.message.as_deref(), Some("not sent again: staleness: its incident is resolved"));
    let never_left = after(&desk().sends(&a_run()), &refused(), t(2)).0;
    assert_eq!(d.settles(&never_left).0.state, S::Failed);
}

#[test]
fn a_retry_that_is_held_back_is_not_due_until_it_is_asked_about_again() {
    let unsure = after(&desk().sends(&with(Effect::Keyed, OnUnknown::Retry)), &unknown(), t(2)).0;
    let (held, _) = desk().halted().at(10).settles(&unsure);
    assert_eq!((held.not_before, &held.request), (Some(t(15)), &unsure.request));
    let said = held.verdicts.iter().find(|v| v.guard == "halt").map(|v| v.reason.as_str());
    assert_eq!(said, Some("halted by ann: fire"), "people see why it waits");
    assert_eq!(adopt(&held, t(11)), None, "its last outcome is known");
    assert_eq!(desk().at(14).consider(&held), Considered::Wait);
    let sent = desk().at(15).sends(&held);
    assert!(sent.attempts == 2 && sent.verdicts.iter().all(|v| v.says == GuardSays::Allow), "its guards are on record");
    assert_eq!(after(&desk().at(15).sends(&held), &unknown(), t(16)).0.message, unsure.message, "it stays unsure");
}

#[test]
fn a_retry_is_given_up_once_recovery_was_seen_for_recovery_waits_for_the_runs_end() {
    let unsure = after(&desk().sends(&with(Effect::Keyed, OnUnknown::Retry)), &unknown(), t(2)).0;
    let mut d = desk().at(10);
    d.incident.as_mut().unwrap().evidence = Some(paramedic_model::Evidence { input: "e".into(), at: t(3), time: t(3) });
    let (next, reports) = d.settles(&unsure);
    assert_eq!((next.state, said(&reports)), (S::Unknown, vec!["unknown"]));
    assert_eq!(next.message.as_deref(), Some("not sent again: recovery was seen meanwhile"));
}

#[test]
fn an_accepted_job_is_asked_about_until_its_time_is_over() {
    let sent = desk().sends(&a_run());
    let (row, reports) = after(&sent, &accepted(), t(2));
    assert_eq!((row.state, row.not_before, said(&reports)), (S::Accepted, Some(t(7)), vec!["accepted"]));
    assert_eq!(desk().at(6).consider(&row), Considered::Wait);
    assert_eq!(desk().halted().at(7).consider(&row), Considered::Poll);
    let (row, reports) = after(&row, &accepted(), t(8));
    assert_eq!((row.state, reports.len()), (S::Accepted, 0), "told once");
    let (row, _) = after(&row, &refused(), t(20));
    assert_eq!(row.state, S::Accepted, "that it cannot be asked is not its result");
    for outcome in [accepted(), refused()] {
        let (last, reports) = after(&row, &outcome, t(61));
        assert_eq!((last.state, said(&reports)), (S::Unknown, vec!["unknown"]));
    }
    let done = Outcome::Succeeded { message: "ok".into(), facts: BTreeMap::from([("free".to_owned(), json!(9))]) };
    let (last, reports) = after(&row, &done, t(61));
    let InboxBody::RunReported(report) = &reports[0].body else { panic!() };
    assert_eq!((last.state, &report.facts["free"]), (S::Succeeded, &json!(9)));
}

#[test]
fn what_has_ended_does_not_change_and_reports_nothing() {
    let done = Outcome::Succeeded { message: "ok".into(), facts: BTreeMap::new() };
    let failed = Outcome::Failed { message: "no".into(), never_left: false };
    for state in S::ALL {
        for outcome in [done.clone(), failed.clone(), accepted(), unknown(), refused()] {
            for order in [Order::Run(run()), Order::Page(page())] {
                let row = OutboxRow { state, attempts: 1, started_at: Some(t(1)), ..row(order) };
                let (next, reports) = after(&row, &outcome, t(2));
                let moves = state.may_become(next.state);
                assert!(moves || next.state == state, "{} -> {}", state.name(), next.state.name());
                let ended = matches!(state, S::Succeeded | S::Failed | S::Denied | S::Cancelled);
                assert!(!ended || (next == row && reports.is_empty()));
            }
        }
        if matches!(state, S::Pending | S::Deferred) {
            continue;
        }
        let held = desk().consider(&OutboxRow { state, ..a_run() });
        assert_eq!(matches!(held, Considered::Poll), state == S::Accepted, "{}", state.name());
    }
}

#[test]
fn a_person_settles_what_is_unknown_and_nothing_else() {
    let unsure = after(&desk().sends(&a_run()), &unknown(), t(2)).0;
    let (yes, reports) = settle(&unsure, true, "ann", "I looked", t(9)).unwrap();
    assert_eq!((yes.state, said(&reports)), (S::Succeeded, vec!["succeeded"]));
    assert_eq!(yes.message.as_deref(), Some("settled by ann: I looked"));
    let (no, reports) = settle(&unsure, false, "ann", "no trace", t(9)).unwrap();
    assert_eq!((no.state, said(&reports)), (S::Failed, vec!["failed"]));
    // Also one that was sent again, and then given up.
    let retried = after(&desk().sends(&with(Effect::Keyed, OnUnknown::Retry)), &unknown(), t(2)).0;
    let given_up = OutboxRow { state: S::Unknown, ..retried };
    let (no, reports) = settle(&given_up, false, "ann", "no trace", t(9)).unwrap();
    assert_eq!((no.state, said(&reports)), (S::Failed, vec!["failed"]));
    for state in S::ALL.into_iter().filter(|s| *s != S::Unknown) {
        assert_eq!(settle(&OutboxRow { state, ..a_run() }, true, "ann", "", t(9)), None);
    }
}

#[test]
fn a_page_is_tried_again_and_then_reported_undelivered() {
    let mut row = desk().halted().sends(&row(Order::Page(page())));
    let bytes = row.request.clone();
    assert!(bytes.as_ref().unwrap().contains("INC0000042"));
    let mut second = 2;
    let reports = loop {
        let (next, reports) = after(&row, &unknown(), t(second));
        if next.state == S::Failed {
            assert_eq!(next.attempts, MAX_PAGE_ATTEMPTS);
            break reports;
        }
        second += 40;
        row = desk().halted().at(second).sends(&next);
        assert_eq!(row.request, bytes);
    };
    assert_eq!(said(&reports), ["undelivered"]);
    let (taken, reports) = after(&row, &accepted(), t(second));
    assert_eq!((taken.state, said(&reports)), (S::Succeeded, vec!["delivered"]));
}

#[test]
fn a_page_whose_reason_no_longer_holds_is_overtaken() {
    let page = row(Order::Page(page()));
    let mut d = desk();
    d.incident.as_mut().unwrap().acknowledged = Some(("ann".into(), t(0)));
    let (next, reports) = d.settles(&page);
    assert_eq!((next.state, next.message.as_deref(), reports.len()), (S::Cancelled, Some("overtaken"), 0));
    let tried = after(&desk().sends(&page), &unknown(), t(2)).0;
    let (next, _) = d.at(10).settles(&tried);
    assert_eq!((next.state, next.message.as_deref()), (S::Failed, Some("overtaken")));
}

fn restored(at: i64) -> Desk {
    Desk { recovered: Some(t(at)), ..desk() }
}

#[test]
fn after_a_restore_every_run_that_does_not_only_read_waits_for_a_person_however_long() {
    for effect in [Effect::Idempotent, Effect::Keyed, Effect::NonIdempotent] {
        let row = with(effect, OnUnknown::Hold);
        let said = restored(0).objections(&row);
        assert_eq!(said.len(), 1);
        let run = run().id;
        for words in ["recovered defers: restored from a backup", &format!("paramedic approve {run}"), "recovered end"]
        {
            assert!(said[0].contains(words), "{words}: {}", said[0]);
        }
        let (next, reports) = restored(0).settles(&row);
        assert_eq!((next.state, next.not_before, reports.len()), (S::Deferred, Some(t(6)), 0));
        assert_eq!(restored(0).at(50_000).objections(&row).len(), 1, "it does not grow too old meanwhile");
    }
    assert_eq!(restored(0).sends(&with(Effect::ReadOnly, OnUnknown::Retry)).state, S::Started);
    assert_eq!(restored(0).sends(&row(Order::Page(page()))).state, S::Started, "people are told all the same");
    assert_eq!(desk().at(601).settles(&a_run()).0.state, S::Denied, "ended for all: the old rule holds");
}

#[test]
fn a_run_that_a_person_cleared_goes_and_is_as_old_as_its_clearing() {
    let (held, _) = restored(0).settles(&a_run());
    let (cleared, entry) = clear(&held, "ann", t(5_000)).unwrap();
    assert_eq!((cleared.state, cleared.not_before), (S::Deferred, None), "it is looked at at once");
    let act = OperatorAct::Clear { run: run().id };
    assert_eq!((entry.scope.as_str(), entry.body), ("default", InboxBody::Operator { by: "ann".into(), act }));
    let (pending, _) = restored(0).at(5_001).settles(&cleared);
    assert_eq!(restored(0).at(5_600).sends(&pending).state, S::Started);
    assert_eq!(restored(0).at(5_601).objections(&pending)[0].split(':').next(), Some("age denies"));
    assert_eq!(restored(6_000).at(5_100).objections(&pending).len(), 1, "a later restore asks anew");
}

#[test]
fn clearing_passes_no_other_guard_and_only_what_waits_is_cleared() {
    let (cleared, _) = clear(&a_run(), "ann", t(2)).unwrap();
    assert_eq!(restored(0).at(3).halted().objections(&cleared), ["halt defers: halted by ann: fire"]);
    for state in S::ALL {
        let row = OutboxRow { state, ..a_run() };
        assert_eq!(clear(&row, "ann", t(2)).is_some(), matches!(state, S::Pending | S::Deferred), "{}", state.name());
    }
    assert_eq!(clear(&row(Order::Page(page())), "ann", t(2)), None);
}

#[test]
fn a_retry_waits_for_a_person_after_a_restore_too() {
    let unsure = after(&desk().sends(&with(Effect::Keyed, OnUnknown::Retry)), &unknown(), t(2)).0;
    let (held, _) = restored(5).at(30).settles(&unsure);
    let (cleared, _) = clear(&held, "ann", t(40)).unwrap();
    assert_eq!(restored(5).at(40).sends(&cleared).attempts, 2);
}

#[test]
fn a_late_reply_settles_what_another_owner_took_for_unknown() {
    let sent = desk().sends(&with(Effect::NonIdempotent, OnUnknown::Hold));
    let adopted = adopt(&sent, t(5)).unwrap().0;
    assert_eq!(adopted.state, S::Unknown);
    let done = Outcome::Succeeded { message: "ok".into(), facts: BTreeMap::from([("free".to_owned(), json!(9))]) };
    let (yes, reports) = late(&sent, &adopted, &done, t(6)).unwrap();
    assert_eq!((yes.state, said(&reports)), (S::Succeeded, vec!["succeeded"]));
    for outcome in [Outcome::Failed { message: "no".into(), never_left: false }, refused()] {
        let (no, reports) = late(&sent, &adopted, &outcome, t(6)).unwrap();
        assert_eq!((no.state, said(&reports)), (S::Failed, vec!["failed"]));
        assert_eq!(late(&sent, &no, &done, t(7)), None, "the first terminal word counts");
    }
    assert_eq!(late(&sent, &yes, &refused(), t(7)), None);
    for outcome in [unknown(), accepted()] {
        assert_eq!(late(&sent, &adopted, &outcome, t(6)), None, "that is no end");
    }
}

#[test]
fn a_late_reply_to_one_request_says_nothing_about_a_later_one() {
    let sent = desk().sends(&with(Effect::Keyed, OnUnknown::Retry));
    let again = desk().at(10).sends(&after(&sent, &unknown(), t(2)).0);
    let adopted = OutboxRow { state: S::Unknown, ..again.clone() };
    let failed = Outcome::Failed { message: "403".into(), never_left: false };
    let done = Outcome::Succeeded { message: "ok".into(), facts: BTreeMap::new() };
    let waits = OutboxRow { not_before: Some(t(20)), ..again.clone() };
    for row in [adopted, waits] {
        for outcome in [&failed, &refused(), &done] {
            // The later one may still be at work: the run keeps its place on the target.
            assert_eq!(late(&sent, &row, outcome, t(11)), None, "{}", row.state.name());
        }
        assert_eq!(late(&again, &row, &failed, t(11)), None, "{}", row.state.name());
        assert_eq!(late(&again, &row, &refused(), t(11)), None, "{}", row.state.name());
        assert_eq!(late(&again, &row, &done, t(11)).unwrap().0.state, S::Succeeded, "{}", row.state.name());
    }
    // While it is under way, its own reply comes first.
    assert!(is_under_way(&again));
    assert_eq!(late(&again, &again, &done, t(11)), None);
}
