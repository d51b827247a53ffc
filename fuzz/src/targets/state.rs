//! A scope as a store gives it back, with anything in it; then inputs, one after another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use paramedic_engine::{EventInput, Limits, Shard, ShardConfig, State, outbox};
use paramedic_model::{
    Alert, Ci, Digest, Id, InboxBody, Incident, NewInbox, Order, OutboxRow, OutboxState, Outcome, Parked, Relation,
    Run, ScopeImage, SeenId, Span, Timer, Timestamp, Window,
};
use paramedic_rulebook::{Evaluator, RuleSet, load};
use serde_json::{Value, from_value, json};

use super::input::{NOW, event, in_time};

/// Inputs of one run, at most.
const MOST_INPUTS: usize = 12;

const SCOPE: &str = "default";

const OUTCOMES: [&str; 5] = ["succeeded", "failed", "never_left", "accepted", "lost"];

const BOOK: &str = r#"rulebook: fuzz
autonomy: auto
may: { playbooks: [p], ci_classes: [server], environments: [test] }
rules:
  - rule: disk
    when: |
      event.type == "disk.used_pct" && event.value >= 90.0
    by: [event.ci, event.labels.mount]
    clear: |
      event.type == "disk.used_pct" && event.value < 80.0
    incident:
      summary: "Disk {event.labels.mount} on {event.ci} is {event.value:.0} % full"
      impact: medium
      urgency: medium
      hold: 10s
    remedy:
      - playbook: p
        target: about
        with:
          mount: = event.labels.mount
        verify: { within: 60s }
      - playbook: p
        target: about
        verify: { within: 60s }
    escalate:
      - { at: open, to: oncall }
      - { at: 5m, to: lead, raise: impact }
      - { at: 10m unacknowledged, to: boss }
      - { at: remedies_failed, to: oncall }
      - { at: run_unknown, to: oncall }
  - rule: note
    when: |
      event.type == "test.note"
    incident:
      summary: "{event.summary}"
"#;

/// Parts of a [`ScopeImage`] by their names, `row` and `outcome` of the outbox, and `inputs`, each with `at`, `blind` and one of
/// `event`, `inbox` (an [`InboxBody`]) or `tick`. A digest of zeros stands for the rule set. What cannot be read is
/// left out.
pub fn run(data: &[u8]) {
    let Ok(Value::Object(mut input)) = serde_json::from_slice::<Value>(data) else { return };
    let mut part = |name: &str| input.remove(name).unwrap_or_default();
    let Some(set) = rules() else { return };
    let mut image = ScopeImage {
        scope: SCOPE.to_owned(),
        head: from_value(part("head")).unwrap_or_default(),
        incidents: each(part("incidents"), from_value::<Incident>, |i| i.id),
        runs: each(part("runs"), from_value::<Run>, |r| r.id),
        alerts: each(part("alerts"), from_value::<Alert>, |a| a.key.clone()),
        parked: each(part("parked"), from_value::<Parked>, |p| p.key.clone()),
        seen: each(part("seen"), from_value::<(SeenId, Timestamp)>, |s| s.0.clone()),
        timers: each(part("timers"), from_value::<Timer>, |t| t.id),
        windows: each(part("windows"), from_value::<Window>, |w| w.id),
        cis: each(part("cis"), from_value::<Ci>, |c| c.id),
        relations: each(part("relations"), from_value::<Relation>, Clone::clone),
    };
    let nothing = Digest::default();
    let under = |digest: &mut Digest| {
        if *digest == nothing {
            *digest = set.digest;
        }
    };
    under(&mut image.head.set);
    image.incidents.iter_mut().for_each(|i| under(&mut i.set));
    if let Ok(row) = from_value::<OutboxRow>(part("row")) {
        in_time("an outbox row", || dispatch(&row, image.incidents.first(), &set, &part("outcome")));
    }
    let inputs = part("inputs");
    in_time("stepping", || step(image, &set, inputs.as_array().map_or(&[], Vec::as_slice)));
}

/// The elements that can be read; of two with one key, which no table holds, the first.
fn each<T, K: Ord>(list: Value, read: fn(Value) -> serde_json::Result<T>, key: fn(&T) -> K) -> Vec<T> {
    let Value::Array(list) = list else { return Vec::new() };
    let mut keys = BTreeSet::new();
    list.into_iter().filter_map(|v| read(v).ok()).filter(|t| keys.insert(key(t))).collect()
}

fn rules() -> Option<Arc<RuleSet>> {
    thread_local! {
        static SET: Option<Arc<RuleSet>> = {
            let grants = r#"{"list": [{"rulebook": "*", "autonomy": "auto"}]}"#;
            let sources = [("book.yaml", BOOK), ("playbooks.yaml", super::rulebook::CATALOGUE), ("grants", grants)];
            let loaded = load(&sources.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect());
            assert!(loaded.set.is_some(), "the target's own rules do not load: {:?}", loaded.diagnostics);
            loaded.set.map(Arc::new)
        };
    }
    SET.with(Clone::clone)
}

/// What the dispatcher would do with a row: whatever it is, one move of the table, or none.
fn dispatch(row: &OutboxRow, incident: Option<&Incident>, set: &RuleSet, outcome: &Value) {
    let guards = outbox::GuardInput {
        now: NOW,
        halt: None,
        incident,
        set,
        target_busy: false,
        topic_read_by: None,
        max_action_age: Span::from_secs(900),
        recovered: None,
    };
    let is_a_move = |next: &OutboxRow| {
        assert!(next.state == row.state || row.state.may_become(next.state), "{:?} -> {:?}", row.state, next.state);
        assert_eq!((next.key, &next.scope), (row.key, &row.scope));
        assert!(row.request.is_none() || next.request == row.request, "another request under one key");
    };
    match outbox::consider(row, &guards) {
        outbox::Considered::Send(next, _) => {
            is_a_move(&next);
            assert!(next.state == OutboxState::Started && next.request.is_some());
        }
        outbox::Considered::Settle(next, _) => is_a_move(&next),
        outbox::Considered::Poll | outbox::Considered::Wait => {}
    }
    let text = outcome["message"].as_str().unwrap_or_default().to_owned();
    let outcome = match outcome["is"].as_str() {
        Some("succeeded") => Outcome::Succeeded { message: text, facts: BTreeMap::new() },
        Some("failed") => Outcome::Failed { message: text, never_left: false },
        Some("never_left") => Outcome::Failed { message: text, never_left: true },
        Some("accepted") => Outcome::Accepted { job: text, retry_after: Span::from_secs(1) },
        _ => Outcome::Unknown { message: text, retry_after: None },
    };
    is_a_move(&outbox::after(row, &outcome, NOW).0);
    for (next, _) in [outbox::adopt(row, NOW), outbox::late(row, row, &outcome, NOW)].into_iter().flatten() {
        is_a_move(&next);
    }
}

fn step(image: ScopeImage, set: &Arc<RuleSet>, inputs: &[Value]) {
    let config = ShardConfig { cluster: "fuzz".to_owned(), shard: 0, limits: Limits::default() };
    let mut shard = Shard::restore(config, 1, None, set.digest, vec![image]);
    shard.learn(Arc::clone(set));
    let mut evaluator = Evaluator::new(Arc::clone(set));
    for (n, input) in inputs.iter().take(MOST_INPUTS).enumerate() {
        feed(&mut shard, &mut evaluator, set.digest, input, n);
        let clock = shard.clock();
        shard.finish(BTreeMap::new());
        assert_eq!(shard.clock(), clock);
        shard.scopes().for_each(|(_, state)| holds_together(state));
    }
}

/// One input, in a batch of its own that is not finished.
fn feed(shard: &mut Shard, evaluator: &mut Evaluator, set: Digest, input: &Value, n: usize) {
    let at = from_value(input["at"].clone()).unwrap_or(NOW);
    let blind = from_value(input["blind"].clone()).unwrap_or_default();
    shard.begin(at, blind);
    let stamp = shard.stamp(at);
    if let Some(event) = event(input["event"].to_string().as_bytes()) {
        let matches = evaluator.matches(&event);
        shard.event(stamp, SCOPE, EventInput { event, matches, set });
    } else if let Ok(body) = from_value::<InboxBody>(input["inbox"].clone()) {
        shard.inbox(stamp, &NewInbox { id: format!("fuzz|{n}"), scope: SCOPE.to_owned(), at, body });
    } else {
        shard.tick();
    }
}

/// The look-ups of a state are about what is in it.
fn holds_together(state: &State) {
    let open = state.incidents.values().filter(|i| i.state.is_open()).count();
    assert_eq!(state.open, open, "the count of what is open");
    assert_eq!(state.open_by_set.values().sum::<usize>(), open, "the count by rule set");
    let by_key: BTreeSet<(Id, Id)> = state.incidents.values().map(|i| (i.correlation_key, i.id)).collect();
    assert_eq!(state.by_key, by_key, "the index by key");
    let due: BTreeSet<(Timestamp, Id)> = state.timers.values().map(|t| (t.due, t.id)).collect();
    assert_eq!(state.due, due, "the order of timers");
}

/// A life of an incident, taken apart: the state as it is stored after each input, with the inputs that are left. Made
/// anew, for what is kept in a file would be of the day when it was kept.
pub fn seeds() -> Vec<Value> {
    let Some(set) = rules() else { return Vec::new() };
    let config = ShardConfig { cluster: "fuzz".to_owned(), shard: 0, limits: Limits::default() };
    let mut shard = Shard::restore(config, 1, None, set.digest, vec![]);
    shard.learn(Arc::clone(&set));
    let mut evaluator = Evaluator::new(Arc::clone(&set));
    let (mut rows, mut seeds, mut after) = (Vec::new(), Vec::new(), NOW);
    for (n, (delay, input)) in life().into_iter().enumerate() {
        after = after.plus(Span::from_secs(delay));
        let input = filled(input, after, &rows);
        seeds.push((image(&shard), rows.last().cloned(), input.clone()));
        feed(&mut shard, &mut evaluator, set.digest, &input, n);
        let finished = shard.finish(BTreeMap::new());
        rows.extend(finished.changes.into_iter().flat_map(|c| c.outbox));
    }
    let inputs: Vec<Value> = seeds.iter().map(|(.., input)| input.clone()).collect();
    let seeds = seeds.into_iter().enumerate().map(|(n, (mut image, row, _))| {
        image["row"] = json!(row);
        image["outcome"] = json!({"is": OUTCOMES[n % OUTCOMES.len()], "message": "m"});
        image["inputs"] = inputs[n..].iter().take(4).cloned().collect();
        let text = image.to_string().replace(&set.digest.to_string(), &Digest::default().to_string());
        serde_json::from_str(&text).unwrap_or_default()
    });
    seeds.collect()
}

/// Seconds after the one before, and the input; RUN and PAGE stand for the last of them.
fn life() -> Vec<(i64, Value)> {
    let disk = |id: &str, status: &str, value: f64| {
        json!({"event": {"id": id, "type": "disk.used_pct", "ci": "web-1", "value": value, "status": status,
            "labels": {"mount": "/var"}, "severity": "major"}})
    };
    let report = |state: &str| {
        json!({"inbox": {"run_reported": {"run": "RUN", "state": state, "started_at": NOW, "message": "m",
            "facts": {"freed": 3}}}})
    };
    let person = |act: Value| json!({"inbox": {"operator": {"by": "ann", "act": act}}});
    let tick = || json!({"tick": true});
    let host = json!({"id": Ci::id_of(SCOPE, "server", "web-1"), "class": "server", "name": "web-1",
        "environment": "test"});
    vec![
        (0, json!({"inbox": {"cmdb": {"by": "import", "cis": [host], "relations": []}}})),
        (1, json!({"event": {"id": "0", "type": "test.note", "ci": "web-1", "status": "resolved"}})),
        (1, disk("1", "firing", 97.0)),
        (1, report("started")),
        (
            1,
            json!({"inbox": {"page_reported": {"page": "PAGE", "incident": "INCIDENT", "delivered": true,
                "message": ""}}}),
        ),
        (5, report("unknown")),
        (5, report("succeeded")),
        (5, disk("2", "firing", 61.0)),
        (20, tick()),
        (60, disk("3", "firing", 99.0)),
        (1, person(json!({"act": "acknowledge", "incident": "INCIDENT"}))),
        (1, person(json!({"act": "approve", "run": "RUN"}))),
        (1, report("failed")),
        (1, disk("4", "resolved", 99.0)),
        (5, person(json!({"act": "resolve", "incident": "INCIDENT", "code": "Solution provided", "notes": "n"}))),
        (600, tick()),
        (90_000, tick()),
    ]
}

/// An input with its time, and with ids for the words that stand for them.
fn filled(mut input: Value, at: Timestamp, rows: &[OutboxRow]) -> Value {
    input["at"] = json!(at);
    let of = |page: bool| rows.iter().rev().find(|r| matches!(r.order, Order::Page(_)) == page);
    let mut text = input.to_string();
    for (word, id) in [
        ("RUN", of(false).map(|r| r.order.id())),
        ("PAGE", of(true).map(|r| r.order.id())),
        ("INCIDENT", rows.last().map(|r| r.order.incident())),
    ] {
        text = text.replace(&format!("\"{word}\""), &json!(id.unwrap_or_default()).to_string());
    }
    serde_json::from_str(&text).unwrap_or_default()
}

/// The state of the scope, as a store keeps it.
fn image(shard: &Shard) -> Value {
    let nothing = State::default();
    let state = shard.scope(SCOPE).unwrap_or(&nothing);
    json!({
        "head": state.head,
        "incidents": state.incidents.values().collect::<Vec<_>>(),
        "runs": state.runs.values().collect::<Vec<_>>(),
        "alerts": state.alerts.values().collect::<Vec<_>>(),
        "parked": state.parked.values().collect::<Vec<_>>(),
        "seen": state.seen.iter().map(|(id, at)| (&**id, at)).collect::<Vec<_>>(),
        "timers": state.timers.values().collect::<Vec<_>>(),
        "cis": state.cmdb.cis().collect::<Vec<_>>(),
        "relations": state.cmdb.relations().collect::<Vec<_>>(),
    })
}
