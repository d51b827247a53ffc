//! What must hold after whatever happened. Each check gives what is wrong, in words; nothing here asks the engine.

use std::collections::{BTreeMap, BTreeSet};

use paramedic_model::{Digest, Incident, JournalRow, OutboxRow, OutboxState, Page, Run};
use paramedic_runners::Received;
use paramedic_store::{Audit, IncidentFilter, RunFilter, Store};
use serde_json::Value;

use super::scene::{Cause, Kind, Scene};

/// All that a store says, read once.
pub struct Books {
    pub journal: BTreeMap<u32, Vec<JournalRow>>,
    /// Next of each position, by shard and name.
    pub positions: Vec<(u32, String, i64)>,
    pub dead: Vec<(String, i64)>,
    pub incidents: Vec<Incident>,
    pub runs: Vec<(Run, Option<OutboxRow>)>,
    pub pages: Vec<(Page, Option<OutboxRow>)>,
    /// Rows that are on their way, or unknown.
    pub under_way: Vec<OutboxRow>,
    pub active: Option<Digest>,
    pub audit: Audit,
}

const MANY: usize = 1_000_000;

impl Books {
    pub fn of(store: &dyn Store) -> Self {
        let mut journal = BTreeMap::new();
        for (shard, _) in store.shards().unwrap() {
            let mut rows: Vec<JournalRow> = Vec::new();
            loop {
                let more = store.journal(shard, rows.last().map_or(1, |r| r.batch + 1), 10_000).unwrap();
                if more.is_empty() {
                    break;
                }
                rows.extend(more);
            }
            journal.insert(shard, rows);
        }
        let incidents = store.incidents(&IncidentFilter { limit: MANY, ..IncidentFilter::default() }).unwrap();
        let runs = store.runs(&RunFilter { limit: MANY, ..RunFilter::default() }).unwrap();
        let pages: Vec<Page> = incidents.iter().flat_map(|i| store.pages(i.id).unwrap()).collect();
        let way = [
            OutboxState::Pending,
            OutboxState::Deferred,
            OutboxState::Started,
            OutboxState::Accepted,
            OutboxState::Unknown,
        ];
        Self {
            journal,
            positions: store.positions().unwrap().into_iter().map(|(shard, name, p)| (shard, name, p.next)).collect(),
            dead: store.dead_letters(MANY).unwrap().into_iter().map(|d| (d.position, d.offset)).collect(),
            runs: runs.into_iter().map(|r| (r.clone(), store.outbox_of(r.id).unwrap())).collect(),
            pages: pages.into_iter().map(|p| (p.clone(), store.outbox_of(p.id).unwrap())).collect(),
            under_way: store.outbox_list(&way, MANY).unwrap(),
            active: store.ruleset_active().unwrap(),
            audit: store.audit().unwrap(),
            incidents,
        }
    }
}

/// Everything that must hold of a scene that has come to rest, its engines down.
pub fn all(scene: &Scene) -> Vec<String> {
    let (books, raw) = (scene.books(), scene.world().raw_log());
    [
        requests(&raw),
        causes(&books, &scene.causes),
        runs(&books, &raw, scene),
        pages(&books, &raw, &scene.causes),
        journal(&books),
        delivered(&books, &scene.produced()),
        dead_letters(&books, &scene.produced().into_keys().zip(scene.malformed).collect()),
        at_rest(&books),
        chain(&books.audit),
    ]
    .concat()
}

fn key(request: &Received) -> String {
    request.header("idempotency-key").unwrap_or_default().to_owned()
}

fn target(request: &Received) -> String {
    let body: Value = serde_json::from_str(request.body()).unwrap_or_default();
    body["target"]["name"].as_str().unwrap_or_default().to_owned()
}

/// I7, I9: one key, one request byte for byte; what is not idempotent left once at most, by key and by target.
pub fn requests(raw: &[Received]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut bodies: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut restarts: BTreeMap<String, u32> = BTreeMap::new();
    for request in raw {
        if key(request).is_empty() {
            wrong.push(format!("request {} has no key", request.seq));
        }
        bodies.entry(key(request)).or_default().insert(request.body());
        if Some(request.path()) == Kind::Service.path() {
            *restarts.entry(target(request)).or_default() += 1;
        }
    }
    for (key, bodies) in bodies.iter().filter(|(_, bodies)| bodies.len() > 1) {
        wrong.push(format!("key {key} left as {} different requests", bodies.len()));
    }
    for (host, times) in restarts.iter().filter(|(_, times)| **times > 1) {
        wrong.push(format!("{host} was restarted {times} times, and that is not idempotent"));
    }
    wrong
}

/// Each cause has exactly one incident, which is over; and there is no other.
pub fn causes(books: &Books, causes: &BTreeSet<Cause>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut of: BTreeMap<(&str, &str), Vec<&Incident>> = BTreeMap::new();
    for incident in &books.incidents {
        of.entry((&incident.rule, incident.about.as_deref().unwrap_or_default())).or_default().push(incident);
    }
    for cause in causes {
        let found = of.remove(&(cause.kind.rule(), cause.host.as_str())).unwrap_or_default();
        if found.len() != 1 {
            wrong.push(format!("{cause:?} has {} incidents", found.len()));
        }
        for incident in found.iter().filter(|i| i.state.is_open()) {
            wrong.push(format!("{cause:?} is {}, and it is over", incident.state.name()));
        }
    }
    wrong.extend(of.keys().map(|(rule, about)| format!("an incident of {rule:?} about {about:?} has no cause")));
    let keys: BTreeSet<_> = books.incidents.iter().map(|i| i.correlation_key).collect();
    if keys.len() != books.incidents.len() {
        wrong.push("two incidents have one correlation key".to_owned());
    }
    wrong
}

/// I8, I10: one run a cause, whose request arrived (or which a person was asked about); nothing arrived without one.
fn runs(books: &Books, raw: &[Received], scene: &Scene) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut of: BTreeMap<(&str, &str), Vec<Option<&OutboxRow>>> = BTreeMap::new();
    for (run, row) in &books.runs {
        of.entry((&run.playbook, &run.target.name)).or_default().push(row.as_ref());
    }
    for cause in scene.causes.iter().filter(|cause| !scene.forgotten.contains(&cause.host)) {
        let Some(path) = cause.kind.path() else { continue };
        let found = of.get(&(&path[1..], cause.host.as_str())).cloned().unwrap_or_default();
        let [Some(row)] = found[..] else {
            wrong.push(format!("{cause:?} has {} runs", found.len()));
            continue;
        };
        let key = row.key.to_string();
        let arrived = raw.iter().any(|r| r.path() == path && self::key(r) == key);
        if !arrived && !scene.by_hand.contains(&cause.host) {
            wrong.push(format!("{cause:?}: {path} was never asked, and no person was"));
        }
        if !arrived && cause.kind != Kind::Service {
            wrong.push(format!("{cause:?}: {path} may be asked again, and was not"));
        }
    }
    let rows = books.runs.iter().filter_map(|(_, row)| row.as_ref());
    let rows = rows.chain(books.pages.iter().filter_map(|(_, row)| row.as_ref()));
    let keys: BTreeSet<String> = rows.map(|row| row.key.to_string()).collect();
    let has_no_row = |r: &&Received| !keys.contains(&key(r)) && !scene.forgotten.contains(&target(r));
    for request in raw.iter().filter(has_no_row) {
        wrong.push(format!("request {} to {} left without a committed row", request.seq, request.path()));
    }
    wrong
}

/// Whoever is to be told is told, once in the books and at least once for real, under one key, and never early (I18).
pub fn pages(books: &Books, raw: &[Received], causes: &BTreeSet<Cause>) -> Vec<String> {
    let mut wrong = Vec::new();
    for cause in causes {
        let Some((to, after_s)) = cause.kind.told() else { continue };
        let of = |i: &&Incident| i.rule == cause.kind.rule() && i.about.as_deref() == Some(cause.host.as_str());
        let Some(incident) = books.incidents.iter().find(of) else { continue };
        let told: Vec<_> = books.pages.iter().filter(|(p, _)| p.incident == incident.id).collect();
        let [(page, Some(row))] = told[..] else {
            wrong.push(format!("{cause:?}: {} pages", told.len()));
            continue;
        };
        if page.to != to {
            wrong.push(format!("{cause:?}: {} was told, and not {to}", page.to));
        }
        if page.decided_at.since(incident.opened_at).as_nanos() < after_s * 1_000_000_000 {
            wrong.push(format!("{cause:?}: a timer of {after_s} s fired early"));
        }
        let about = |r: &&Received| {
            let body: Value = serde_json::from_str(r.body()).unwrap_or_default();
            body["incident"]["about"] == cause.host.as_str()
        };
        let keys: BTreeSet<String> = raw.iter().filter(|r| r.path() == "/notify").filter(about).map(key).collect();
        if keys != BTreeSet::from([row.key.to_string()]) {
            wrong.push(format!("{cause:?}: told under {} keys", keys.len()));
        }
    }
    wrong
}

/// I1, I2, I4, I19: batches without a gap, epochs and clocks that never go back, ranges that abut and end at the
/// stored position, and the published rules in force.
pub fn journal(books: &Books) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut ends: BTreeMap<(u32, &str), i64> = BTreeMap::new();
    // A source's ranges go on in another shard's journal only where it has moved there; here they do not.
    for (shard, rows) in &books.journal {
        let (mut epoch, mut clock) = (0, None);
        for (i, row) in rows.iter().enumerate() {
            let place = format!("shard {shard}, batch {}", row.batch);
            if row.batch != i as u64 + 1 {
                wrong.push(format!("{place} is the {}th row", i + 1));
            }
            if row.epoch < epoch {
                wrong.push(format!("{place} is of an epoch that was over"));
            }
            if row.end < row.floor || clock.is_some_and(|clock| row.floor < clock) {
                wrong.push(format!("{place}: the clock went back"));
            }
            (epoch, clock) = (row.epoch, Some(row.end));
            for (name, range) in &row.ranges {
                let first = i64::from(!name.contains('/'));
                let end = ends.entry((*shard, name)).or_insert(first);
                if *end != range.from {
                    wrong.push(format!("{place}: {name} goes on at {}, and ended at {end}", range.from));
                }
                *end = range.to;
            }
        }
        if let Some(last) = rows.last()
            && Some(last.set_after) != books.active
        {
            wrong.push(format!("shard {shard} does not go by the published rules"));
        }
    }
    for (shard, name, next) in &books.positions {
        let first = i64::from(!name.contains('/'));
        let end = ends.get(&(*shard, name.as_str())).copied().unwrap_or(first);
        if end != *next {
            wrong.push(format!("{name} of shard {shard} is at {next}, its journal ends at {end}"));
        }
    }
    wrong
}

/// I1: as many records were delivered as were produced, and none was passed over.
pub fn delivered(books: &Books, produced: &BTreeMap<String, u64>) -> Vec<String> {
    let mut taken: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, range) in books.journal.values().flatten().flat_map(|row| &row.ranges) {
        *taken.entry(name).or_default() += range.delivered;
    }
    let differs = produced.iter().filter(|(name, n)| taken.get(name.as_str()).copied().unwrap_or_default() != **n);
    differs.map(|(name, n)| format!("{name}: {n} produced, {:?} delivered", taken.get(name.as_str()))).collect()
}

/// What cannot be decoded is a dead letter, once.
pub fn dead_letters(books: &Books, malformed: &BTreeMap<String, u64>) -> Vec<String> {
    let mut wrong = Vec::new();
    let places: BTreeSet<_> = books.dead.iter().collect();
    if places.len() != books.dead.len() {
        wrong.push("a dead letter is there twice".to_owned());
    }
    let expected: u64 = malformed.values().sum();
    for (position, n) in malformed {
        let found = books.dead.iter().filter(|(p, _)| p == position).count() as u64;
        if found != *n {
            wrong.push(format!("{position}: {n} malformed records, {found} dead letters"));
        }
    }
    if books.dead.len() as u64 != expected {
        wrong.push(format!("{expected} malformed records, {} dead letters", books.dead.len()));
    }
    wrong
}

/// Nothing is on its way any more.
pub fn at_rest(books: &Books) -> Vec<String> {
    books.under_way.iter().map(|row| format!("the row of key {} is {}", row.key, row.state.name())).collect()
}

/// I17.
pub fn chain(audit: &Audit) -> Vec<String> {
    let mut wrong: Vec<String> =
        audit.broken.iter().map(|(scope, seq, why)| format!("history of {scope}, row {seq}: {why}")).collect();
    if audit.rows == 0 {
        wrong.push("there is no history".to_owned());
    }
    wrong
}
