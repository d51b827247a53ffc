//! Random histories: a restart, the batch size and other scopes make no difference.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use paramedic_model::{
    CiRef, CloseCode, CmdbDelta, Digest, EmitReport, InboxBody, Kind, Measure, NewInbox, OperatorAct, OwnedEvent,
    PageReport, Relation, RunReport, RunState, Severity, Span, Status, Timestamp,
};
use paramedic_rulebook::{
    CiFilter, Clear, Comparison, Measured, Member, Pattern, RuleSet, Template, TemplatePart, Together,
};
use proptest::prelude::*;

use super::rules::{DISK, expr, rule, sets, shaped};
use super::world::{Store, matched, server, t};
use crate::shard::Shard;
use crate::state::State;
use crate::step::{EventInput, Limits};

const RICH: &str = "
  - rule: full
    when: |
      event.type == \"disk\" && event.value >= 90
    by: [event.ci]
    clear: |
      event.type == \"disk\" && event.value < 80
    incident: { summary: \"{event.value} % on {event.ci}\", reopen: 10m, hold: 20s, close_after: 20m }
    remedy:
      - playbook: clean
        with: { mount: = event.labels.mount }
        verify: { within: 2m, hold: 30s }
        rollback: reboot
      - playbook: grow
        undo: { playbook: reboot, after: 10m }
        verify:
          within: 1m
          when: |
            event.type == \"disk\" && event.value < 85
      - playbook: reboot
        verify: { within: 1m }
    escalate:
      - { at: open, to: desk, repeat: 4m }
      - { at: 3m, to: lead, raise: impact }
      - { at: 2m unacknowledged, to: boss, raise: urgency }
      - { at: remedies_failed, to: team }
      - { at: run_unknown, to: team, if: event.value > 95 }
      - { at: guard_denied, to: team }
  - rule: fills
    when: |
      event.type == \"disk\" && event.value >= 85
    by: [event.ci]
    clear: |
      event.type == \"disk\" && event.value < 50
    incident: { summary: fills, key: [event.labels.site], impact: low, close_after: 3m }
    then: |
      incident.note(`${event.ci} at ${event.value}`);
  - rule: falls
    when: |
      event.type == \"down\"
    by: [event.ci]
    incident: { summary: falls, key: [event.labels.site], impact: high, assign: second, reopen: 1m, close_after: 3m }
  - rule: down
    when: |
      event.type == \"down\"
    by: [event.labels.site]
    incident: { summary: down, reopen: 2m, close_after: 5m }
    remedy:
      - playbook: grow
        target: '= [\"web-1\", \"web-2\"]'
        spread: [1, rest]
        verify: { within: 1m, hold: 5s, when: 'event.type == \"disk\"' }
    emit: { topic: derived, type: site.down, severity: = event.severity, labels: { site: = event.labels.site } }
    then: |
      if event.ci == \"web-2\" { emit(\"derived\", #{ type: \"second\" }); }
";

/// Rules that wait: what for, [`random_sets`] says.
const WAITS: &str = "
  - rule: stays
    when: |
      event.type == \"disk\" && event.value >= 60
    by: [event.ci]
    clear: |
      event.type == \"disk\" && event.value < 60
    incident: { summary: stays, reopen: 3m, close_after: 2m }
  - rule: lasts
    when: |
      event.type == \"down\"
    by: [event.labels.site]
    incident: { summary: lasts, close_after: 2m }
  - rule: counts
    when: |
      event.type == \"disk\" && event.value >= 70
    by: [event.labels.site]
    clear: |
      event.type == \"disk\" && event.value < 55
    incident: { summary: counts, close_after: 2m }
    remedy:
      - { playbook: clean, verify: { within: 1m } }
  - rule: flaps
    when: |
      event.type == \"down\"
    by: [event.ci]
    incident: { summary: flaps, close_after: 2m }
  - rule: both
    when: |
      event.type == \"down\"
    by: [event.labels.site]
    incident: { summary: both, close_after: 2m }
  - rule: steps
    when: |
      event.type == \"down\"
    by: [event.labels.mount]
    incident: { summary: steps, close_after: 2m }
  - rule: unanswered
    when: |
      event.type == \"down\"
    by: [event.labels.site]
    incident: { summary: unanswered, close_after: 2m }
  - rule: silent
    when: |
      event.type == \"disk\"
    by: [event.ci]
    incident: { summary: silent, close_after: 2m }
  - rule: missed
    when: |
      event.type == \"down\"
    by: [event.ci]
    incident: { summary: missed, close_after: 2m }
  - rule: told
    when: |
      event.type == \"disk\" && event.value >= 80
    by: [event.ci]
    once: 1m
    only_if: about.criticality == 1 || event.value > 85
    notify: { to: desk, summary: told }
    suppress: { for: 2m, reason: known }
    ci: { attributes: { fill: = event.value } }
  - rule: upon
    upon: incident.opened
    when: incident.rule == \"down\" || incident.rule == \"lasts\"
    by: [incident.rule]
    incident: { summary: upon, close_after: 2m }
  - rule: rest
    fallback: true
    when: |
      event.type == \"down\"
    by: [event.ci]
    notify: { to: desk, summary: rest }
  - rule: measures
    when: |
      event.type == \"disk\"
    by: [event.labels.site]
    incident: { summary: measures, close_after: 2m }
  - rule: breaks
    when: |
      event.type == \"disk\" && event.value >= 60
    by: [event.ci]
    then: |
      if event.value > 75 { throw \"no\"; }
      notify(\"desk\", \"well\");
  - rule: odd
    when: |
      event.type == \"down\" && event.labels.site.split(\"a\")[1] == \"\"
    by: [event.ci]
    incident: { summary: odd, close_after: 2m }
  - rule: settles
    when: |
      event.type == \"down\"
    by: [event.labels.mount]
    incident: { summary: settles, close_after: 2m }
    remedy:
      - { playbook: clean, verify: { within: 1m } }
";

const ALONE: &str = "
  - rule: alone
    when: |
      event.type == \"down\" && event.severity >= MAJOR
    incident: { summary: alone, reopen: 0s, close_after: 1m }
    remedy:
      - { playbook: clean, verify: { within: 1m }, approve: { by: desk, within: 40s, otherwise: next } }
      - { playbook: grow, verify: { within: 1m } }
";

/// Three sets that share rule names and differ in meaning, autonomy, and in what they have at all.
pub(super) fn random_sets() -> Vec<Arc<RuleSet>> {
    let changed = RICH
        .replace("< 80", "< 40")
        .replace("reopen: 10m", "reopen: 1h")
        .replace("close_after: 20m", "close_after: 1m");
    vec![
        waiting(
            sets(&[
                ("rich", "auto", RICH),
                ("alone", "propose", ALONE),
                ("watch", "observe", DISK),
                ("zzz", "record", WAITS),
            ]),
            30,
        ),
        waiting(sets(&[("rich", "auto", &changed), ("alone", "record", ALONE), ("zzz", "auto", WAITS)]), 90),
        sets(&[("alone", "auto", ALONE)]),
    ]
}

/// With what the rules of [`WAITS`] wait for; so many seconds in one of them.
fn waiting(set: Arc<RuleSet>, secs: i64) -> Arc<RuleSet> {
    shaped(&set, |set| {
        rule(set, "stays").stays = Some(Span::from_secs(secs));
        rule(set, "lasts").stays = Some(Span::from_secs(60));
        let (ci, value) = (expr(set, "event.ci", &[]), expr(set, "event.value", &[]));
        let counts = rule(set, "counts");
        let when = counts.pattern.when().unwrap();
        let (within, distinct) = (Span::from_secs(secs * 2), Some((ci, 2)));
        counts.pattern = Pattern::Count { when, at_least: 3, within, distinct };
        counts.stays = (secs == 90).then_some(Span::from_secs(10));
        let flaps = rule(set, "flaps");
        let when = flaps.pattern.when().unwrap();
        flaps.pattern = Pattern::Count { when, at_least: 2, within: Span::from_secs(300), distinct: None };
        let measures = rule(set, "measures");
        let when = measures.pattern.when().unwrap();
        let (measured, is, over) = (Measured::Avg, Comparison::Above(80.0), Span::from_secs(secs * 3));
        measures.pattern = Pattern::Measure { when, measured, of: value, over, is };
        measures.clear = Some(Clear::Quiet(Span::from_secs(secs)));
        several(set, "both", Together::All, false);
        several(set, "steps", Together::Sequence, false);
        several(set, "unanswered", if secs == 30 { Together::All } else { Together::NotAll }, secs == 30);
        let within = Span::from_secs(secs);
        for (name, each) in [("silent", false), ("missed", true)] {
            let for_each = each.then(|| CiFilter { class: Some("server".into()), ..CiFilter::default() });
            let when = rule(set, name).pattern.when().unwrap();
            rule(set, name).pattern = Pattern::Absent { when, within, for_each, alive: None };
        }
        rule(set, "settles").settle = Some(Span::from_secs(20));
        let name = |name: &str| vec![TemplatePart::Path { path: vec![name.to_owned()], digits: Some(1) }];
        for (of, shown) in [("counts", "n"), ("measures", "value"), ("settles", "n")] {
            rule(set, of).incident.as_mut().unwrap().summary = Template(name(shown));
        }
    })
}

/// A firing, and a disk that is full, of the same CI; and none that is empty.
fn several(set: &mut RuleSet, name: &str, together: Together, unless: bool) {
    let a = expr(set, "event.type == \"down\"", &["a"]);
    let b = expr(set, "event.type == \"disk\" && event.value > 70 && b.ci == a.ci", &["a", "b"]);
    let unless = unless.then(|| expr(set, "event.type == \"disk\" && event.value < 60", &[]));
    let member = |name: &str, when, reads| Member { name: name.to_owned(), when, reads };
    let members = vec![member("a", a, vec![]), member("b", b, vec![0])];
    let within = Some(Span::from_secs(60));
    rule(set, name).pattern = Pattern::Members { together, members, within, unless };
}

/// Something that may happen, told without ids: those are looked up in the state at hand.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) wait: Span,
    pub(super) scope: usize,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Pass,
    Disk { ci: usize, value: f64, back: i64, site: usize },
    Down { ci: usize, site: usize, ended: bool, severity: usize, back: i64, began: Option<i64>, id: Option<u8> },
    Report { pick: usize, state: usize, back: i64 },
    PageTaken { pick: usize, delivered: bool },
    EmitGivenUp { pick: usize, denied: bool },
    Ack(usize),
    Resolve(usize),
    Approve(usize),
    Reject(usize),
    Halt,
    Source { stopped: bool, partition: u8 },
    Edit(u8),
    Publish(usize),
}

/// What an [`Op`] comes to.
pub(super) enum Happens {
    Nothing,
    Event(Box<EventInput>),
    Inbox(InboxBody),
}

fn what() -> impl Strategy<Value = What> {
    let back = || prop_oneof![4 => Just(0i64), 1 => 0i64..200];
    let began = proptest::option::of(0i64..200);
    prop_oneof![
        1 => Just(What::Pass),
        6 => (0usize..3, prop_oneof![50.0f64..100.0, Just(95.0), Just(70.0)], back(), 0usize..2)
            .prop_map(|(ci, value, back, site)| What::Disk { ci, value, back, site }),
        7 => (0usize..5, 0usize..3, any::<bool>(), 0usize..4, back(), began, proptest::option::of(0u8..12)).prop_map(
            |(ci, site, ended, severity, back, began, id)| What::Down { ci, site, ended, severity, back, began, id }
        ),
        6 => (any::<usize>(), 0usize..7, 0i64..30).prop_map(|(pick, state, back)| What::Report { pick, state, back }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(pick, delivered)| What::PageTaken { pick, delivered }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(pick, denied)| What::EmitGivenUp { pick, denied }),
        1 => any::<usize>().prop_map(What::Ack),
        1 => any::<usize>().prop_map(What::Resolve),
        2 => any::<usize>().prop_map(What::Approve),
        1 => any::<usize>().prop_map(What::Reject),
        1 => Just(What::Halt),
        1 => (any::<bool>(), 0u8..2).prop_map(|(stopped, partition)| What::Source { stopped, partition }),
        1 => any::<u8>().prop_map(What::Edit),
        1 => (0usize..3).prop_map(What::Publish),
    ]
}

/// A history of so many things, in so many scopes.
pub(super) fn history(scopes: usize, len: Range<usize>) -> impl Strategy<Value = Vec<Op>> {
    let wait = prop_oneof![
        4 => Just(0i64), 8 => 1i64..20, 4 => 20i64..200, 1 => 200i64..4000, 1 => Just(90_000i64)
    ];
    let op = (wait, 0..scopes, what()).prop_map(|(wait, scope, what)| Op { wait: Span::from_secs(wait), scope, what });
    proptest::collection::vec(op, len)
}

fn nth<T: Clone>(all: impl Iterator<Item = T>, pick: usize) -> Option<T> {
    let all: Vec<T> = all.collect();
    (!all.is_empty()).then(|| all[pick % all.len()].clone())
}

fn event(op: &Op, n: usize, now: Timestamp) -> Option<OwnedEvent> {
    let ago = |secs: i64| Timestamp::from_nanos(now.as_nanos() - secs * 1_000_000_000);
    const CIS: [&str; 5] = ["web-1", "web-2", "web-3", "web-4", "web-5"];
    const SITES: [&str; 3] = ["a", "b", "c"];
    let about = |ci: usize| CiRef { name: Some(CIS[ci].into()), ..CiRef::default() };
    let labels = |site: usize| {
        paramedic_model::Labels::new(vec![("site".into(), SITES[site].into()), ("mount".into(), "/var".into())])
    };
    match &op.what {
        What::Disk { ci, value, back, site } => Some(OwnedEvent {
            id: Some(format!("e{n}").into()),
            source: "mon".into(),
            kind: Kind::Metric,
            type_: "disk".into(),
            severity: Severity::KNOWN[*site + 2],
            ci: about(*ci),
            dedup_key: Some(format!("disk/{}", CIS[*ci]).into()),
            value: Some(Measure::Float(*value)),
            labels: labels(*site),
            time: ago(*back),
            received: now,
            ..OwnedEvent::default()
        }),
        What::Down { ci, site, ended, severity, back, began, id } => Some(OwnedEvent {
            id: id.map(|id| format!("d{id}").into()),
            source: "mon".into(),
            type_: "down".into(),
            status: if *ended { Status::Resolved } else { Status::Firing },
            severity: [Severity::Unknown, Severity::Minor, Severity::Major, Severity::Critical][*severity],
            // A resolve of the last kind names only its key.
            ci: if *ended && *severity == 0 { CiRef::default() } else { about(*ci) },
            labels: if *ended && *severity == 0 { paramedic_model::Labels::default() } else { labels(*site) },
            dedup_key: Some(format!("down/{}", CIS[*ci]).into()),
            time: ago(*back),
            began: began.map(ago),
            received: now,
            ..OwnedEvent::default()
        }),
        _ => None,
    }
}

pub(super) fn happens(
    op: &Op,
    n: usize,
    state: &State,
    sets: &[Arc<RuleSet>],
    active: usize,
    now: Timestamp,
) -> Happens {
    if let Some(event) = event(op, n, now) {
        // As a shell that had matched under another set before.
        let set = if n.is_multiple_of(7) { &sets[0] } else { &sets[active] };
        return Happens::Event(Box::new(matched(set, event)));
    }
    let act = |act: Option<OperatorAct>| act.map(|act| InboxBody::Operator { by: "ann".into(), act });
    let incident = |pick: usize| nth(state.incidents.keys().copied(), pick);
    let run = |pick: usize| nth(state.runs.keys().copied(), pick);
    let proposed = |pick: usize| {
        nth(state.runs.values().filter(|r| r.state == RunState::Proposed).map(|r| r.id), pick).or_else(|| run(pick))
    };
    let body = match &op.what {
        What::Report { pick, state: to, back } => {
            const TO: [RunState; 7] = [
                RunState::Started,
                RunState::Accepted,
                RunState::Succeeded,
                RunState::Succeeded,
                RunState::Failed,
                RunState::Unknown,
                RunState::Denied,
            ];
            let live = nth(state.runs.values().filter(|r| r.state.may_become(TO[*to])).map(|r| r.id), *pick);
            live.or_else(|| run(*pick)).map(|run| {
                InboxBody::RunReported(RunReport {
                    run,
                    state: TO[*to],
                    started_at: Some(Timestamp::from_nanos(now.as_nanos() - back * 1_000_000_000)),
                    message: "so it says".into(),
                    facts: BTreeMap::from([("free".to_owned(), (*pick as f64 / 7.0).into())]),
                    verdicts: vec![],
                })
            })
        }
        What::PageTaken { pick, delivered } => incident(*pick).map(|incident| {
            let page = paramedic_model::Page::id_of(incident, "escalate/0", 0, "desk");
            InboxBody::PageReported(PageReport { page, incident, delivered: *delivered, message: String::new() })
        }),
        What::EmitGivenUp { pick, denied } => incident(*pick).map(|incident| {
            let emit = paramedic_model::Emit::id_of(incident, "emit/0", "derived");
            let (topic, message) = ("derived".to_owned(), "too large".to_owned());
            InboxBody::EmitReported(EmitReport { emit, incident, topic, denied: *denied, message })
        }),
        What::Ack(pick) => act(incident(*pick).map(|incident| OperatorAct::Acknowledge { incident })),
        What::Resolve(pick) => act(incident(*pick).map(|incident| OperatorAct::Resolve {
            incident,
            code: CloseCode::WorkaroundProvided,
            notes: "by hand".into(),
        })),
        What::Approve(pick) => act(proposed(*pick).map(|run| OperatorAct::Approve { run })),
        What::Reject(pick) => act(proposed(*pick).map(|run| OperatorAct::Reject { run, reason: "no".into() })),
        What::Halt => act(Some(OperatorAct::Halt { reason: "fire".into() })),
        What::Source { stopped, partition } => {
            let (source, position) = ("k".to_owned(), format!("kafka/t/{partition}"));
            Some(match stopped {
                true => InboxBody::SourceStopped { source, position, why: "it was recreated".into() },
                false => InboxBody::SourceBack { source, position },
            })
        }
        What::Edit(k) => {
            let scope = SCOPES[op.scope];
            let mut ci = server(scope, ["web-1", "web-2", "web-4"][usize::from(*k) % 3]);
            ci.criticality = Some(k % 4 + 1);
            let relations = vec![Relation { from: ci.id, kind: "runs_on".into(), to: server(scope, "web-1").id }];
            Some(InboxBody::Cmdb(CmdbDelta { by: "ann".into(), cis: vec![ci], relations }))
        }
        What::Publish(set) => Some(InboxBody::RulebooksPublished(sets[*set].digest)),
        What::Pass | What::Disk { .. } | What::Down { .. } => None,
    };
    body.map_or(Happens::Nothing, Happens::Inbox)
}

const SCOPES: [&str; 2] = ["default", "other"];

/// Where a batch ends, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    Goes,
    Ends,
    EndsWithTick,
    Restarts,
}

fn cuts() -> impl Strategy<Value = Vec<Cut>> {
    proptest::collection::vec(
        prop_oneof![4 => Just(Cut::Goes), 1 => Just(Cut::Ends), 1 => Just(Cut::EndsWithTick), 1 => Just(Cut::Restarts)],
        90,
    )
}

struct Outcome {
    store: Store,
    by_scope: BTreeMap<String, (Digest, u64, Digest)>,
    keys: BTreeMap<String, Vec<String>>,
}

/// Runs a history with these ends of batches; after each, what was committed is all there is.
fn run(ops: &[(usize, Op)], cuts: &[Cut], sets: &[Arc<RuleSet>]) -> Outcome {
    let limits = Limits { open_incidents: 4, windows: 3 };
    let mut store = Store::default();
    let mut shard = store.restart(sets[0].digest, limits, sets);
    sets.iter().for_each(|set| shard.learn(Arc::clone(set)));
    let mut now = t("0s");
    shard.begin(now, vec![]);
    for scope in SCOPES {
        let cis = ["web-1", "web-2"].map(|name| server(scope, name)).to_vec();
        let body = InboxBody::Cmdb(CmdbDelta { by: "test".into(), cis, relations: vec![] });
        shard.inbox(now, &NewInbox { id: format!("first-{scope}"), scope: scope.into(), at: now, body });
    }
    for (n, op) in ops {
        now = now.plus(op.wait);
        shard.raise_cap(now);
        apply(&mut shard, *n, op, sets, now);
        let cut = cuts.get(*n).copied().unwrap_or(Cut::Goes);
        if cut == Cut::Goes {
            continue;
        }
        if cut == Cut::EndsWithTick {
            shard.tick();
        }
        store.commit(&shard.finish(BTreeMap::new()));
        store.is_whole(&shard);
        if cut == Cut::Restarts {
            shard = store.restart(sets[0].digest, limits, sets);
            sets.iter().for_each(|set| shard.learn(Arc::clone(set)));
        }
        shard.begin(now, vec![]);
    }
    store.commit(&shard.finish(BTreeMap::new()));
    store.is_whole(&shard);
    let head =
        |(name, s): (&str, &State)| (name.to_owned(), (s.head.decisions.digest(), s.head.last_seq, s.head.last_hash));
    let keys = store
        .scopes
        .iter()
        .map(|(name, kept)| (name.clone(), kept.outbox.iter().map(|row| row.key.to_string()).collect()));
    Outcome { by_scope: shard.scopes().map(head).collect(), keys: keys.collect(), store }
}

fn apply(shard: &mut Shard, n: usize, op: &Op, sets: &[Arc<RuleSet>], now: Timestamp) {
    let scope = SCOPES[op.scope];
    let active = sets.iter().position(|set| set.digest == shard.active()).unwrap();
    // What is due comes first: ids are looked up in what is left then.
    shard.resume(shard.active(), now);
    let state = shard.scope(scope).cloned().unwrap_or_default();
    match happens(op, n, &state, sets, active, now) {
        Happens::Nothing => {}
        Happens::Event(event) => {
            shard.count_input(format!("e{n}").as_bytes());
            shard.event(now, scope, *event);
        }
        Happens::Inbox(body) => {
            shard.inbox(now, &NewInbox { id: format!("inbox-{n}"), scope: scope.into(), at: now, body });
        }
    }
}

fn numbered(ops: Vec<Op>) -> Vec<(usize, Op)> {
    ops.into_iter().enumerate().collect()
}

#[test]
fn neither_restarts_nor_the_ends_of_batches_make_a_difference() {
    let sets = random_sets();
    proptest!(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() }, |(ops in history(2, 1..90), cuts in cuts())| {
        let ops = numbered(ops);
        let (whole, cut) = (run(&ops, &[], &sets), run(&ops, &cuts, &sets));
        prop_assert_eq!(&whole.by_scope, &cut.by_scope);
        prop_assert_eq!(&whole.keys, &cut.keys);
        let (a, b) = (whole.store.journal.unwrap(), cut.store.journal.unwrap());
        prop_assert_eq!(a.inputs.digest(), b.inputs.digest());
        prop_assert_eq!(a.decisions_end, b.decisions_end);
        prop_assert_eq!(a.decisions, b.decisions);
        prop_assert_eq!((a.end, a.set_after), (b.end, b.set_after));
    });
}

#[test]
fn the_same_inputs_give_the_same_digests_whatever_another_scope_gets() {
    let sets = random_sets();
    proptest!(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() }, |(ops in history(2, 1..90))| {
        let all = numbered(ops);
        let alone: Vec<(usize, Op)> = all
            .iter()
            .map(|(n, op)| match op.scope == 0 || matches!(op.what, What::Publish(_)) {
                true => (*n, op.clone()),
                false => (*n, Op { what: What::Pass, ..op.clone() }),
            })
            .collect();
        let (both, one) = (run(&all, &[], &sets), run(&alone, &[], &sets));
        prop_assert_eq!(&both.by_scope["default"], &one.by_scope["default"]);
        prop_assert_eq!(&both.by_scope, &run(&all, &[], &sets).by_scope);
    });
}
