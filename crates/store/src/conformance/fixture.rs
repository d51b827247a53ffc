//! Records to write, each with a value in every field.

use std::collections::BTreeMap;

use paramedic_model::*;
use serde_json::json;

use crate::{Claim, DeadLetter};

pub(crate) fn id(name: &str) -> Id {
    Id::of(&json!(["test", name]))
}

pub(crate) fn digest(name: &str) -> Digest {
    Digest::of(&json!(["test", name]))
}

pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_123_456_789).plus(Span::from_secs(secs))
}

pub(crate) fn key(name: &str) -> AlertKey {
    AlertKey { source: "zabbix".into(), dedup_key: format!("{name} \"ü\" '; --").into() }
}

/// Takes no source over.
pub(crate) const fn no_source() -> Claim {
    Claim::Positions(Vec::new())
}

/// A new incident, open, with a correlation key of its own.
pub(crate) fn incident(name: &str) -> Incident {
    Incident {
        id: id(name),
        number: None,
        scope: "default".into(),
        correlation_key: id(&format!("key of {name}")),
        rulebook: "disk".into(),
        rule: "full".into(),
        set: digest("set"),
        by: vec![json!("web-1"), json!(0.1), json!(-3), json!(null)],
        shadow: false,
        state: IncidentState::New,
        summary: format!("{name}: 95,3 % voll\n"),
        impact: Level::High,
        urgency: Level::Medium,
        severity: Severity::Major,
        assigned_to: Some("unix".into()),
        category: Some("storage".into()),
        ci: Some(id("web-1")),
        about: Some("web-1".into()),
        opened_at: at(0),
        updated_at: at(1),
        acknowledged: Some(("ann".into(), at(2))),
        resolved_at: Some(at(3)),
        close_code: Some(CloseCode::SolutionProvided),
        close_notes: Some("freed".into()),
        reopen_count: 2,
        alerts: vec![key("a"), key("b")],
        event: Some(Box::new(event())),
        matched: u64::MAX,
        condition_at: at(-7),
        plan: Plan { round: 1, next: 2, current: vec![id("run")], ahead: vec![id("target")], exhausted: true },
        evidence: Some(Evidence { input: "zabbix/77".into(), at: at(4), time: at(3) }),
        names: Default::default(),
        shares: vec![],
        paged_at: Some(at(5)),
    }
}

pub(crate) fn in_state(state: IncidentState, incident: Incident) -> Incident {
    Incident { state, ..incident }
}

pub(crate) fn run(name: &str, incident: &Incident) -> Run {
    Run {
        id: id(name),
        incident: incident.id,
        step: "remedy/0".into(),
        round: 1,
        playbook: "clean".into(),
        target: Target {
            id: id("web-1"),
            name: "web-1".into(),
            class: "server".into(),
            environment: Some("production".into()),
        },
        parameters: BTreeMap::from([("percent".into(), json!(0.1 + 0.2)), ("path".into(), json!("/var"))]),
        effect: Effect::NonIdempotent,
        on_unknown: OnUnknown::Hold,
        timeout: Span::from_millis(90_500),
        rulebook: "disk".into(),
        rule: "full".into(),
        set: digest("set"),
        state: RunState::Pending,
        decided_at: at(10),
        released_at: Some(at(11)),
        started_at: Some(at(12)),
        reported_at: Some(at(13)),
        message: Some("ok".into()),
        facts: BTreeMap::from([("freed".into(), json!({"gib": 1.1, "files": [1, 2.0, 1e300]}))]),
        evidence: Some(Evidence { input: "zabbix/78".into(), at: at(14), time: at(12) }),
        lost: Some(at(13)),
        verdict: Some(Verdict::Ambiguous),
        decided_by: Some("bob".into()),
    }
}

pub(crate) fn page(name: &str, incident: &Incident, decided: i64) -> Page {
    Page {
        id: id(name),
        incident: incident.id,
        step: "escalate/0".into(),
        round: 0,
        to: "on-call".into(),
        reason: "opened".into(),
        decided_at: at(decided),
        shadow: false,
    }
}

pub(crate) fn emit(name: &str, incident: Id) -> Emit {
    let event = json!({"type": "link.flapping", "ci": "web-1", "value": 0.1 + 0.2, "labels": {"site": "fra"}});
    Emit {
        id: id(name),
        incident,
        step: "emit/0".into(),
        topic: "derived".into(),
        key: "default".into(),
        event: event.as_object().cloned().unwrap_or_default(),
        about: Some(run(name, &self::incident("one")).target),
        rulebook: "net".into(),
        rule: "flapping".into(),
        decided_at: at(10),
        shadow: false,
    }
}

pub(crate) fn outbox_emit(name: &str) -> OutboxRow {
    outbox_row(name, Order::Emit(emit(name, id("a firing"))))
}

pub(crate) fn outbox_run(name: &str, incident: &Incident) -> OutboxRow {
    outbox_row(name, Order::Run(run(name, incident)))
}

pub(crate) fn outbox_row(name: &str, order: Order) -> OutboxRow {
    OutboxRow {
        key: id(&format!("outbox {name}")),
        scope: "default".into(),
        order,
        state: OutboxState::Pending,
        released_at: at(11),
        attempts: 1,
        not_before: Some(at(12)),
        request: None,
        verdicts: vec![GuardVerdict {
            guard: "halt".into(),
            says: GuardSays::Defer(at(13)),
            reason: "halted".into(),
            at: at(12),
        }],
        job: Some("/jobs/1".into()),
        started_at: Some(at(12)),
        message: Some("taken".into()),
        cleared: Some(("eve".into(), at(9))),
    }
}

pub(crate) fn alert(name: &str) -> Alert {
    let ci = CiRef { name: Some("web-1".into()), ip: Some("10.0.0.1".into()), ..CiRef::default() };
    Alert {
        sent_key: Some(format!("{name} as sent").into()),
        key: key(name),
        type_: "disk.full".into(),
        ci: ci.into(),
        labels: Labels::new(vec![("mount".into(), "/var".into()), ("a".into(), String::new().into())]),
        severity: Severity::Critical,
        began: at(0),
        closed: Some(at(9)),
        last_seen: at(8),
        repeats: 7,
        sampled: true,
        incidents: vec![id("one"), id("two")],
    }
}

pub(crate) fn ci(name: &str) -> Ci {
    let attribute = Attribute { value: json!({"gib": 0.7, "on": true}), source: "run".into(), at: at(1) };
    Ci {
        id: Ci::id_of("default", "server", name),
        class: "server".into(),
        name: name.into(),
        external_ids: vec!["10.0.0.1".into()],
        environment: Some("production".into()),
        criticality: Some(1),
        owner: Some("unix".into()),
        operational_status: Some(OperationalStatus::RepairInProgress),
        attributes: BTreeMap::from([("disk".into(), attribute)]),
    }
}

pub(crate) fn timer(name: &str, due: i64) -> Timer {
    Timer { id: id(name), due: at(due), incident: id("one"), what: TimerKind::VerifyWithin { run: id("run") } }
}

pub(crate) fn window(name: &str, touched: i64) -> Window {
    Window {
        id: id(name),
        rulebook: "filesystems".into(),
        rule: "filesystem almost full".into(),
        shape: digest("shape"),
        by: [name.into()].into(),
        opened: at(1),
        touched: at(touched),
        body: WindowBody::Once { until: at(touched + 60), further: 2 },
    }
}

pub(crate) fn dead_letter(offset: i64) -> DeadLetter {
    let bytes: Vec<u8> = (0..=255).collect();
    DeadLetter {
        source: "zabbix".into(),
        position: "kafka/events/0".into(),
        offset,
        reason: "line 1, column 3: no JSON".into(),
        digest: Digest::of_bytes(&bytes),
        length: 256,
        bytes,
        at: at(offset),
    }
}

/// Of the lane `inbox`.
pub(crate) fn handed(name: &str, scope: &str) -> NewInbox {
    NewInbox { scope: scope.into(), body: InboxBody::Handed(Box::new(event())), ..entry(name) }
}

/// Of the lane `inbox`, too: not decoded yet.
pub(crate) fn message(name: &str, source: &str, body: String) -> NewInbox {
    let message = RawMessage { source: source.into(), headers: BTreeMap::new(), body };
    NewInbox { body: InboxBody::Message(message), ..entry(name) }
}

/// A person's act: of the lane `acts`.
pub(crate) fn entry(name: &str) -> NewInbox {
    let act = OperatorAct::Acknowledge { incident: id("one") };
    NewInbox {
        id: name.into(),
        scope: "default".into(),
        at: at(1),
        body: InboxBody::Operator { by: "ann".into(), act },
    }
}

pub(crate) fn event() -> OwnedEvent {
    Event {
        id: Some("77".into()),
        source: "zabbix".into(),
        kind: Kind::Metric,
        type_: "disk.full".into(),
        severity: Severity::Major,
        status: Status::Firing,
        phase: Some(Phase::Flapping),
        summary: Some("voll".into()),
        ci: CiRef { host: Some("web-1".into()), ..CiRef::default() },
        service: Some("shop".into()),
        metric: Some("used".into()),
        value: Some(Measure::Float(0.1 + 0.2)),
        threshold: Some(Measure::Int(95)),
        unit: Some("%".into()),
        labels: Labels::new(vec![("mount".into(), "/var".into())]),
        annotations: Labels::new(vec![("runbook".into(), "https://wiki/disk".into())]),
        time: at(-1),
        began: Some(at(-2)),
        received: at(0),
        dedup_key: Some("web-1/disk".into()),
        raw: Some("{\"a\": 1}".into()),
        clamped: true,
        unknown_fields: 3,
    }
}
