//! Facts about what people and machines are shown.

use std::collections::BTreeMap;

use paramedic_model::{Incident, IncidentState, Level, Relation, Run, RunState};

use super::Bench;
use super::fixture::*;
use super::writer::{Writer, add_step};
use crate::{Counts, Halt, HaltScope, IncidentFilter, RunFilter};

pub(super) fn incidents_are_listed_newest_first(bench: &Bench) {
    let store = bench.store();
    let all = [
        incident("1"),
        in_state(IncidentState::Resolved, incident("2")),
        Incident { impact: Level::Low, ..incident("3") },
        Incident { about: Some("db-1".into()), ci: Some(id("db-1")), ..incident("4") },
        Incident { about: None, ci: None, ..in_state(IncidentState::Closed, incident("5")) },
    ];
    Writer::new(store).write(|c| c.incidents = all.to_vec()).unwrap();
    let numbers = |filter: &IncidentFilter| -> Vec<u64> {
        store.incidents(filter).unwrap().iter().map(|i| i.number.unwrap()).collect()
    };
    let any = IncidentFilter::default();
    assert_eq!(numbers(&any), [5, 4, 3, 2, 1]);
    assert_eq!(numbers(&IncidentFilter { limit: 2, ..any.clone() }), [5, 4]);
    assert_eq!(numbers(&IncidentFilter { limit: 2, before_number: Some(4), ..any.clone() }), [3, 2]);
    let states = vec![IncidentState::New, IncidentState::Closed];
    assert_eq!(numbers(&IncidentFilter { states, ..any.clone() }), [5, 4, 3, 1]);
    assert_eq!(numbers(&IncidentFilter { priority: Some(4), ..any.clone() }), [3]);
    assert_eq!(numbers(&IncidentFilter { about: Some("web-1".into()), ..any.clone() }), [3, 2, 1]);
    assert_eq!(numbers(&IncidentFilter { about: Some(id("db-1").to_string()), ..any.clone() }), [4]);
    assert!(numbers(&IncidentFilter { about: Some("' OR 1=1 --".into()), ..any }).is_empty());
}

pub(super) fn runs_are_listed_newest_first(bench: &Bench) {
    let store = bench.store();
    let (one, two) = (incident("one"), incident("two"));
    let with = |name, incident, secs, state| Run { decided_at: at(secs), state, ..run(name, incident) };
    let runs = [
        with("b", &one, 2, RunState::Failed),
        with("c", &two, 3, RunState::Unknown),
        with("a", &one, 1, RunState::Pending),
    ];
    let mut owner = Writer::new(store);
    owner.write(|c| (c.incidents, c.runs) = (vec![one.clone(), two.clone()], runs.to_vec())).unwrap();
    let ids = |filter: &RunFilter| -> Vec<_> { store.runs(filter).unwrap().into_iter().map(|r| r.id).collect() };
    let any = RunFilter::default();
    assert_eq!(ids(&any), ["c", "b", "a"].map(id));
    assert_eq!(ids(&RunFilter { limit: 1, ..any.clone() }), [id("c")]);
    assert_eq!(ids(&RunFilter { incident: Some(one.id), ..any.clone() }), ["b", "a"].map(id));
    let states = vec![RunState::Unknown, RunState::Pending];
    assert_eq!(ids(&RunFilter { states: states.clone(), ..any.clone() }), ["c", "a"].map(id));
    assert_eq!(ids(&RunFilter { states, incident: Some(one.id), ..any }), [id("a")]);
    let changed = with("a", &one, 1, RunState::Started);
    owner.write(|c| c.runs = vec![changed.clone()]).unwrap();
    assert_eq!(store.run(id("a")).unwrap(), Some(changed));
    assert_eq!(store.run(id("nothing")).unwrap(), None);
}

pub(super) fn pages_are_in_order_of_decision(bench: &Bench) {
    let store = bench.store();
    let (one, two) = (incident("one"), incident("two"));
    let mut owner = Writer::new(store);
    owner.write(|c| c.pages = vec![page("z", &one, 2), page("a", &one, 2), page("other", &two, 1)]).unwrap();
    owner.write(|c| c.pages = vec![page("early", &one, 1), page("z", &one, 2)]).unwrap();
    let ids: Vec<_> = store.pages(one.id).unwrap().into_iter().map(|p| p.id).collect();
    assert_eq!(ids, ["early", "z", "a"].map(id));
    assert_eq!(store.pages(id("nothing")).unwrap(), []);
}

pub(super) fn a_rule_set_is_kept_under_its_digest(bench: &Bench) {
    let store = bench.store();
    let sources = BTreeMap::from([("disk.yaml".to_owned(), "rules: []\n# ü\n".to_owned())]);
    assert_eq!(store.ruleset_get(digest("set")).unwrap(), None);
    store.ruleset_put(digest("set"), &sources).unwrap();
    store.ruleset_put(digest("set"), &sources).unwrap();
    store.ruleset_put(digest("empty"), &BTreeMap::new()).unwrap();
    assert_eq!(store.ruleset_get(digest("set")).unwrap(), Some(sources));
    assert_eq!(store.ruleset_get(digest("empty")).unwrap(), Some(BTreeMap::new()));
}

pub(super) fn a_halt_is_in_force_until_it_is_taken_back(bench: &Bench) {
    let store = bench.store();
    let halt =
        |scope: &HaltScope, by: &str| Halt { scope: scope.clone(), by: by.into(), reason: "change".into(), at: at(1) };
    let scopes = [HaltScope::All, HaltScope::Environment("test".into()), HaltScope::Playbook("test".into())];
    for scope in scopes.iter().rev() {
        store.halt_put(&halt(scope, "ann")).unwrap();
    }
    store.halt_put(&halt(&scopes[1], "bob")).unwrap();
    let expected = [halt(&scopes[0], "ann"), halt(&scopes[1], "bob"), halt(&scopes[2], "ann")];
    assert_eq!(store.halts().unwrap(), expected);
    assert!(store.halt_remove(&scopes[0]).unwrap());
    assert!(!store.halt_remove(&scopes[0]).unwrap());
    assert!(!store.halt_remove(&HaltScope::Rulebook("test".into())).unwrap());
    assert_eq!(store.halts().unwrap(), expected[1..]);
}

pub(super) fn counts_say_what_is_there(bench: &Bench) {
    let store = bench.store();
    assert_eq!(store.counts().unwrap(), Counts::default());
    let mut owner = Writer::new(store);
    let one = incident("one");
    let mut batch = owner.batch(vec![owner.changes()]);
    batch.changes[0].outbox = vec![outbox_run("a", &one), outbox_run("b", &one)];
    batch.changes[0].outbox_cancel = vec![(outbox_run("b", &one).key, "moot".into())];
    for _ in 0..3 {
        add_step(&mut batch.changes[0], one.id);
    }
    batch.changes[0].incidents = vec![
        in_state(IncidentState::Closed, incident("closed")),
        incident("two"),
        Incident { shadow: true, ..incident("shadow") },
        Incident { impact: Level::Low, ..incident("low") },
        one,
    ];
    batch.dead_letters = vec![dead_letter(1), dead_letter(2)];
    owner.commit(&batch).unwrap();
    store.inbox_append(&[entry("a"), entry("b"), entry("a")]).unwrap();
    let expected = Counts {
        incidents: vec![(IncidentState::New, 2, 2), (IncidentState::New, 4, 1), (IncidentState::Closed, 2, 1)],
        outbox: BTreeMap::from([("pending".into(), 1), ("cancelled".into(), 1)]),
        dead_letters: 2,
        history: 3,
        inbox: 2,
    };
    assert_eq!(store.counts().unwrap(), expected);
}

pub(super) fn the_cmdb_is_per_scope(bench: &Bench) {
    let store = bench.store();
    let mut owner = Writer::new(store);
    let relation = Relation { from: id("web-1"), kind: "runs_on".into(), to: id("db-1") };
    let mut other = owner.changes_in("site-b");
    other.cis = vec![ci("b")];
    let mut own = owner.changes();
    own.cis = vec![ci("a")];
    own.relations = vec![relation.clone(), relation.clone()];
    let batch = owner.batch(vec![own, other]);
    owner.commit(&batch).unwrap();
    let mut changed = ci("a");
    changed.owner = None;
    owner.write(|c| (c.cis, c.relations) = (vec![changed.clone()], vec![relation.clone()])).unwrap();
    assert_eq!(store.cmdb("default").unwrap(), (vec![changed], vec![relation]));
    assert_eq!(store.cmdb("site-b").unwrap(), (vec![ci("b")], vec![]));
    assert_eq!(store.cmdb("nowhere").unwrap(), (vec![], vec![]));
}
