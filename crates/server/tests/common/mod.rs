//! A router over a memory store, with one incident and its runs.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use paramedic_engine::Step;
use paramedic_model::{
    Ci, Digest, Effect, GuardSays, GuardVerdict, HistoryRow, Id, InboxRow, Incident, IncidentState, JournalRow, Lane,
    Level, OnUnknown, Order, OutboxRow, OutboxState, Page, Plan, Run, RunState, Running, ScopeChanges, Severity, Span,
    Target, Timestamp,
};
use paramedic_server::{Readiness, ServerConfig, WebhookAuth, WebhookSource, router};
use paramedic_store::{Batch, Claim, DeadLetter, HaltFile, MemoryStore, Position, PositionMove, Store};
use serde_json::Value;
use tower::ServiceExt as _;

pub const HOSTILE: &str = "<script>alert('x')</script> & \"quotes\"";

pub struct House {
    pub store: Arc<MemoryStore>,
    pub router: Router,
    pub epoch: u64,
    pub dir: tempfile::TempDir,
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

impl House {
    pub fn new() -> Self {
        Self::with_token(None)
    }

    pub fn with_token(token: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::new());
        let router = serve(store.clone(), &dir, token);
        let epoch = store.load_shard(0, &Claim::Alone).unwrap().epoch;
        Self { store, router, epoch, dir }
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        send(&self.router, request).await
    }
    pub async fn get(&self, path: &str) -> Reply {
        self.send(request("GET", path).body(Body::empty()).unwrap()).await
    }
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.call("POST", path, body).await
    }
    pub async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        let request = request(method, path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub fn commit(&self, changes: ScopeChanges) {
        self.write(Batch { changes: vec![changes], ..Batch::default() });
    }

    /// As the shard's next batch.
    fn write(&self, batch: Batch) {
        let journal = JournalRow {
            shard: 0,
            epoch: self.epoch,
            batch: self.store.journal(0, 1, 1_000).unwrap().len() as u64 + 1,
            set: Digest::default(),
            set_after: Digest::default(),
            floor: Timestamp::EPOCH,
            cap: Timestamp::EPOCH,
            end: Timestamp::EPOCH,
            tick: false,
            blind: vec![],
            ranges: BTreeMap::new(),
            inputs: Running::default(),
            decisions: Digest::default(),
            decisions_end: Digest::default(),
        };
        self.store.commit(&Batch { epoch: self.epoch, journal: Some(journal), ..batch }).unwrap();
    }

    /// INC0000001 with a proposed run, an unknown run, a page, history and a dead letter.
    pub fn filled() -> Self {
        let house = Self::new();
        house.fill();
        house
    }

    pub fn fill(&self) {
        let incident = incident(IncidentState::New);
        let (proposed, unknown) = (run("remedy/1", RunState::Proposed), run("remedy/0", RunState::Unknown));
        let steps = [
            Step::IncidentOpened { incident: Box::new(incident.clone()) },
            Step::RunDecided { run: Box::new(proposed.clone()), index: 1 },
            Step::RunReleased { run: unknown.id, by: "bob".into() },
        ];
        let mut changes = changes(&steps);
        changes.outbox = vec![row(&unknown)];
        changes.incidents = vec![incident.clone()];
        changes.runs = vec![proposed, unknown];
        changes.pages = vec![page(&incident)];
        changes.cis = vec![host()];
        let letter = DeadLetter {
            source: "kafka".into(),
            position: "kafka/events/0".into(),
            offset: 7,
            reason: "no JSON".into(),
            bytes: HOSTILE.into(),
            digest: Digest::of_bytes(HOSTILE.as_bytes()),
            length: 9,
            at: Timestamp::from_secs(5),
        };
        self.write(Batch { changes: vec![changes], dead_letters: vec![letter], ..Batch::default() });
    }

    /// A position moves, as by an engine.
    pub fn takes(&self, position: &str, next: i64) {
        let positions = self.store.positions().unwrap();
        let from = positions.iter().find(|(_, name, _)| name == position).map(|(_, _, at)| at.next);
        let to = Position { next, last_at: Some(Timestamp::from_secs(100)), last_digest: None };
        let positions = BTreeMap::from([(position.to_owned(), PositionMove { from, to })]);
        self.write(Batch { positions, ..Batch::default() });
    }

    pub fn acts(&self) -> Vec<InboxRow> {
        self.store.inbox_read(0, Lane::Acts, 1, 9).unwrap()
    }

    pub fn inbox(&self) -> Vec<InboxRow> {
        self.store.inbox_read(0, Lane::Inbox, 1, 1_000).unwrap()
    }

    /// The scope's changes as an engine would go on with them: the head stays.
    pub fn going_on(&self) -> ScopeChanges {
        let image = self.store.load_shard(0, &Claim::Alone).unwrap();
        ScopeChanges { scope: "default".into(), head: image.scopes[0].head.clone(), ..ScopeChanges::default() }
    }
}

pub fn serve(store: Arc<dyn Store>, dir: &tempfile::TempDir, token: Option<&str>) -> Router {
    let format = paramedic_formats::format("paramedic").unwrap();
    let hook = |name: &str, auth| WebhookSource { name: name.to_owned(), format, auth };
    let config = ServerConfig {
        cluster: "test".into(),
        token: token.map(Into::into),
        webhooks: vec![
            hook("bearer", WebhookAuth::Bearer("s3cret".into())),
            hook("basic", WebhookAuth::Basic { user: "am".into(), password: "pass:word".into() }),
            hook("local", WebhookAuth::None),
        ],
        halt_file: HaltFile::in_folder(dir.path()),
        version: "1.2.3",
        reload: None,
    };
    let readiness = || Readiness {
        ready: false,
        reasons: vec!["Kafka is away".into()],
        status: serde_json::json!({"lag": 12, "cluster": "a lie"}),
    };
    router(config, store, prometheus::Registry::new(), Arc::new(readiness))
}

pub async fn send(router: &Router, request: Request<Body>) -> Reply {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Reply { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
}

/// From this machine, to this machine.
pub fn request(method: &str, path: &str) -> axum::http::request::Builder {
    let peer: SocketAddr = "127.0.0.1:5000".parse().unwrap();
    Request::builder().method(method).uri(path).header("host", "127.0.0.1:8600").extension(ConnectInfo(peer))
}

pub fn changes(steps: &[Step]) -> ScopeChanges {
    let mut changes = ScopeChanges { scope: "default".into(), ..ScopeChanges::default() };
    for (n, step) in steps.iter().enumerate() {
        let mut row = HistoryRow {
            seq: n as u64 + 1,
            at: Timestamp::from_secs(100),
            id: Id::of(&serde_json::json!(n)),
            record: step.record(),
            step: step.name().into(),
            actor: "rulebook@1".into(),
            reason: HOSTILE.into(),
            input: "kafka|1".into(),
            data: serde_json::to_value(step).unwrap(),
            hash: Digest::default(),
        };
        row.hash = row.expected_hash(changes.head.last_hash);
        (changes.head.last_seq, changes.head.last_hash) = (row.seq, row.hash);
        changes.history.push(row);
    }
    changes
}

pub fn incident(state: IncidentState) -> Incident {
    Incident {
        id: Id::of(&serde_json::json!("incident")),
        number: None,
        scope: "default".into(),
        correlation_key: Id::of(&serde_json::json!("key")),
        rulebook: "disk".into(),
        rule: "full".into(),
        set: Digest::default(),
        by: vec![],
        shadow: false,
        state,
        summary: HOSTILE.into(),
        impact: Level::High,
        urgency: Level::Medium,
        severity: Severity::Major,
        assigned_to: Some("linux".into()),
        category: None,
        ci: Some(host().id),
        about: Some("web-1".into()),
        opened_at: Timestamp::from_secs(100),
        updated_at: Timestamp::from_secs(100),
        acknowledged: None,
        resolved_at: None,
        close_code: None,
        close_notes: None,
        reopen_count: 0,
        alerts: vec![],
        event: None,
        matched: 1,
        condition_at: Timestamp::from_secs(100),
        plan: Plan::default(),
        evidence: None,
        names: Default::default(),
        shares: vec![],
        paged_at: None,
    }
}

pub fn run(step: &str, state: RunState) -> Run {
    let incident = incident(IncidentState::New);
    let ci = host();
    Run {
        id: Run::id_of(incident.id, step, 0, ci.id),
        incident: incident.id,
        step: step.into(),
        round: 0,
        playbook: "clean-disk".into(),
        target: Target { id: ci.id, name: ci.name, class: ci.class, environment: None },
        parameters: BTreeMap::new(),
        effect: Effect::Keyed,
        on_unknown: OnUnknown::Hold,
        timeout: Span::from_secs(60),
        rulebook: "disk".into(),
        rule: "full".into(),
        set: Digest::default(),
        state,
        decided_at: Timestamp::from_secs(100),
        released_at: None,
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

pub fn row(run: &Run) -> OutboxRow {
    OutboxRow {
        key: run.key("test"),
        scope: "default".into(),
        order: Order::Run(run.clone()),
        state: OutboxState::Unknown,
        released_at: Timestamp::from_secs(100),
        attempts: 1,
        not_before: None,
        request: Some("{}".into()),
        verdicts: vec![GuardVerdict {
            guard: "halt".into(),
            says: GuardSays::Allow,
            reason: "no halt".into(),
            at: Timestamp::from_secs(101),
        }],
        job: None,
        started_at: Some(Timestamp::from_secs(101)),
        message: Some("the connection was cut".into()),
        cleared: None,
    }
}

fn page(incident: &Incident) -> Page {
    Page {
        id: Page::id_of(incident.id, "escalate/0", 0, "linux"),
        incident: incident.id,
        step: "escalate/0".into(),
        round: 0,
        to: "linux".into(),
        reason: "opened".into(),
        decided_at: Timestamp::from_secs(100),
        shadow: false,
    }
}

pub fn host() -> Ci {
    Ci {
        id: Ci::id_of("default", "server", "web-1"),
        class: "server".into(),
        name: "web-1".into(),
        external_ids: vec!["10.0.0.1".into()],
        environment: Some("test".into()),
        criticality: None,
        owner: None,
        operational_status: None,
        attributes: BTreeMap::new(),
    }
}
