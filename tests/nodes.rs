//! Several engines on one consumer group and one PostgreSQL: who owns a partition decides, once, whatever is pulled out.
//! Judged by the playbook service's log, the journal of every shard and the hash chain.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cluster;
mod common;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster::{Cluster, SESSION, abut, owns, shards_with_history, signal};
use common::{EngineProcess, eventually, eventually_or, flush};
use paramedic_runners::Behaviour;
use paramedic_store::Store as _;
use rdkafka::producer::{BaseProducer, BaseRecord};
use serde_json::{Value, json};
use support::{SOON, next_millisecond, paramedic, text};

const SITES: usize = 6;

/// What monitoring says about a disk of a host, which stands at a site.
fn disk(id: &str, host: &str, site: &str, value: u32) -> String {
    json!({"id": id, "type": "disk.used_pct", "kind": "metric", "ci": host, "value": value, "unit": "%",
           "severity": "warning", "summary": "s", "labels": {"mount": "/var", "site": site}})
    .to_string()
}

/// What monitoring says about a service, whose restart happens at most once a decision.
fn service(id: &str, host: &str, site: &str, status: &str) -> String {
    json!({"id": id, "type": "service.down", "kind": "alert", "ci": host, "dedup_key": format!("{host}/service"),
           "severity": "major", "status": status, "summary": "s", "labels": {"site": site}})
    .to_string()
}

fn site_of(host: &str) -> String {
    let number: usize = host.rsplit('-').next().unwrap().parse().unwrap();
    format!("site-{}", number % SITES)
}

/// How producers choose a partition.
#[derive(Clone, Copy, PartialEq)]
enum Keyed {
    /// By site, which is the scope.
    ByScope,
    /// By nothing that has to do with it.
    Anyhow,
}

struct Stream {
    producer: Arc<BaseProducer>,
    keyed: Keyed,
    count: Arc<AtomicU64>,
}

impl Stream {
    fn new(cluster: &Cluster, keyed: Keyed) -> Self {
        Self { producer: Arc::new(cluster.producer()), keyed, count: Arc::default() }
    }

    fn send(&self, cluster: &Cluster, host: &str, event: &str) {
        post(&self.producer, cluster, self.keyed, host, event);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Monitoring: whatever a playbook has really done is seen a moment later, and published.
    fn watch(&self, cluster: &Cluster) {
        let (producer, keyed, count) = (Arc::clone(&self.producer), self.keyed, Arc::clone(&self.count));
        let (topic, partitions) = (cluster.topic.clone(), cluster.partitions);
        cluster.world.endpoint.on_effect(move |done| {
            let host = done.target["name"].as_str().unwrap_or_default();
            let id = format!("ok|{host}|{}", done.seq);
            let event = match done.path.as_str() {
                "/clean-disk" => disk(&id, host, &site_of(host), 40),
                "/restart-service" => service(&id, host, &site_of(host), "resolved"),
                _ => return,
            };
            next_millisecond();
            post_to(&producer, &topic, partitions, keyed, host, &event);
            producer.poll(Duration::ZERO);
            count.fetch_add(1, Ordering::Relaxed);
        });
    }
}

fn post(producer: &BaseProducer, cluster: &Cluster, keyed: Keyed, host: &str, event: &str) {
    post_to(producer, &cluster.topic, cluster.partitions, keyed, host, event);
}

/// By scope, the partition is what Kafka's own partitioner makes of the key; else those of one host share a partition.
fn post_to(producer: &BaseProducer, topic: &str, partitions: i32, keyed: Keyed, host: &str, event: &str) {
    let site = site_of(host);
    let mut record = match keyed {
        Keyed::ByScope => BaseRecord::to(topic).key(site.as_str()).payload(event),
        Keyed::Anyhow => BaseRecord::to(topic).partition(cluster::partition(host, partitions)).key(host).payload(event),
    };
    while let Err((error, back)) = producer.send(record) {
        assert!(error.to_string().contains("Queue full"), "{error}");
        record = back;
        producer.poll(Duration::from_millis(20));
    }
}

/// The hosts of each site into the CMDB of that site's scope.
fn import(cluster: &Cluster, engine: &EngineProcess, hosts: &[String]) {
    for site in 0..SITES {
        let site = format!("site-{site}");
        let cis: Vec<Value> = hosts
            .iter()
            .filter(|h| site_of(h) == site)
            .map(|n| json!({"name": n, "class": "server", "environment": "test"}))
            .collect();
        let file = cluster.world.path("cmdb.json");
        std::fs::write(&file, json!({"cis": cis}).to_string()).unwrap();
        let out = engine.cli(&["ci", "import", file.to_str().unwrap(), "--scope", &site]);
        assert!(out.status.success(), "{}", text(&out));
    }
    eventually("the hosts are known", SOON, || {
        let known = (0..SITES).map(|s| engine.get(&format!("/api/v1/cis?scope=site-{s}")));
        let known: usize = known.map(|c| c["cis"].as_array().map_or(0, Vec::len)).sum();
        (known >= hosts.len()).then_some(())
    });
}

fn hosts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("host-{n}")).collect()
}

/// A disk and a service of each host fail.
fn fail(cluster: &Cluster, stream: &Stream, hosts: &[String]) {
    for host in hosts {
        let site = site_of(host);
        stream.send(cluster, host, &disk(&format!("{host}|full"), host, &site, 95));
        stream.send(cluster, host, &service(&format!("{host}|down"), host, &site, "firing"));
        // Monitoring repeats itself: the same id, which must do nothing.
        stream.send(cluster, host, &disk(&format!("{host}|full"), host, &site, 95));
    }
    flush(&stream.producer);
}

/// A person looks after every run that nobody knows about: done if the service has it, else mended by hand.
fn settle_unknown(cluster: &Cluster, stream: &Stream, engine: &EngineProcess) {
    for run in engine.get("/api/v1/runs?limit=1000&state=unknown")["runs"].as_array().unwrap() {
        let id = run["id"].as_str().unwrap();
        let key = engine.get(&format!("/api/v1/runs/{id}"))["outbox"]["key"].as_str().unwrap().to_owned();
        let arrived =
            cluster.world.endpoint.received().iter().any(|r| r.header("idempotency-key") == Some(key.as_str()));
        let outcome = if arrived { "succeeded" } else { "failed" };
        engine.cli(&["run", "settle", id, outcome, "--notes", "looked"]);
        if !arrived {
            let host = run["target"]["name"].as_str().unwrap();
            stream.send(cluster, host, &service(&format!("by hand|{host}"), host, &site_of(host), "resolved"));
        }
    }
}

/// Every incident is there and resolved, seen from this engine.
fn all_resolved(cluster: &Cluster, stream: &Stream, engine: &EngineProcess, hosts: usize) {
    eventually_or(
        "every incident is resolved",
        Duration::from_secs(90),
        || {
            stream.producer.poll(Duration::ZERO);
            settle_unknown(cluster, stream, engine);
            let all = engine.incidents("");
            let open = engine.incidents("&state=open").len();
            (open == 0 && all.len() == 2 * hosts).then_some(())
        },
        || {
            let open: Vec<String> = engine
                .incidents("&state=open")
                .iter()
                .map(|i| format!("{} {} {}", i["number"], i["summary"], i["state"]))
                .collect();
            format!("{} of {} are there; open: {open:#?}\n{}", engine.incidents("").len(), 2 * hosts, engine.log_text())
        },
    );
}

/// Every partition is read to its end.
fn drained(engines: &[&EngineProcess]) {
    eventually("all is taken", SOON, || {
        let behind: f64 = engines.iter().map(|e| e.metric("paramedic_source_lag", &[])).sum();
        (behind == 0.0 && engines.iter().map(|e| owns(e)).sum::<u32>() > 0).then_some(())
    });
}

/// I1, I4, I7, I8, I9, I17 over all shards; the engines are down.
fn books_are_well(cluster: &Cluster, stream: &Stream, hosts: &[String]) {
    let store = cluster.store();
    let delivered = abut(&store);
    let kafka: u64 = delivered.iter().filter(|(name, _)| name.starts_with("kafka/")).map(|(_, (n, _))| n).sum();
    assert_eq!(kafka, stream.count.load(Ordering::Relaxed), "every record was taken once: {delivered:?}");
    let audit = store.audit().unwrap();
    assert!(audit.rows > 0 && audit.broken.is_empty(), "{audit:?}");
    // I20: each shard's live history, once more, gives what it gave.
    let config = cluster.world.path("node-1").join("paramedic.yaml");
    for shard in shards_with_history(&store) {
        let shard = shard.to_string();
        let args = ["replay", "--journal", "-c", config.to_str().unwrap(), "--shard", &shard, "--json"];
        let out = paramedic(cluster.world.folder.path(), &args);
        assert_eq!(out.status.code(), Some(0), "shard {shard}: {}", text(&out));
    }

    let mut bodies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut requests: BTreeMap<(String, String), BTreeMap<String, u32>> = BTreeMap::new();
    for request in cluster.world.endpoint.received().iter().filter(|r| r.path() != "/notify") {
        let key = request.header("idempotency-key").unwrap().to_owned();
        let body: Value = serde_json::from_str(request.body()).unwrap();
        let about = (request.path().to_owned(), body["target"]["name"].as_str().unwrap().to_owned());
        bodies.entry(key.clone()).or_default().insert(request.body().to_owned());
        *requests.entry(about).or_default().entry(key).or_default() += 1;
    }
    assert!(bodies.values().all(|b| b.len() == 1), "one key, one request, byte for byte");
    for host in hosts {
        let of = |path: &str| requests.get(&(path.to_owned(), host.clone())).cloned().unwrap_or_default();
        assert_eq!(of("/clean-disk").len(), 1, "{host}: one decision, one key");
        let restarts = of("/restart-service");
        assert!(restarts.values().sum::<u32>() <= 1, "{host}: what is not idempotent left once at most: {restarts:?}");
    }
}

#[test]
fn three_engines_share_the_partitions_and_what_one_leaves_another_takes_up() {
    let Some(mut cluster) = Cluster::of_test("nodes-three", 6) else { return };
    let stream = Stream::new(&cluster, Keyed::ByScope);
    stream.watch(&cluster);
    cluster.world.endpoint.behave("/restart-service", Behaviour::Slow { ms: 30 });
    let mut first = cluster.node();
    eventually("one engine owns all", SOON, || (owns(&first) == 6).then_some(()));
    let all = hosts(0..90);
    import(&cluster, &first, &all);
    fail(&cluster, &stream, &all[..30]);

    let (mut second, mut third) = (cluster.node(), cluster.node());
    eventually("each owns two", SOON, || ([&first, &second, &third].map(owns) == [2, 2, 2]).then_some(()));
    fail(&cluster, &stream, &all[30..60]);

    // One is killed: its partitions are taken over when its session is over, and not much later.
    second.kill();
    fail(&cluster, &stream, &all[60..]);
    eventually("the others own all", SESSION + Duration::from_secs(30), || {
        (owns(&first) + owns(&third) == 6).then_some(())
    });
    all_resolved(&cluster, &stream, &first, all.len());
    drained(&[&first, &third]);
    assert_eq!(first.metric("paramedic_handed_total", &[]) + third.metric("paramedic_handed_total", &[]), 0.0);
    assert!(first.stop().success() && third.stop().success());
    assert!(shards_with_history(&cluster.store()).len() > 3);
    books_are_well(&cluster, &stream, &all);
}

#[test]
fn an_event_is_decided_in_its_scope_whichever_partition_it_comes_from() {
    let Some(mut cluster) = Cluster::of_test("nodes-anyhow", 4) else { return };
    let stream = Stream::new(&cluster, Keyed::Anyhow);
    stream.watch(&cluster);
    let (mut first, mut second) = (cluster.node(), cluster.node());
    eventually("each owns two", SOON, || ([&first, &second].map(owns) == [2, 2]).then_some(()));
    let all = hosts(0..60);
    import(&cluster, &second, &all);
    fail(&cluster, &stream, &all);
    all_resolved(&cluster, &stream, &second, all.len());
    drained(&[&first, &second]);
    let handed = first.metric("paramedic_handed_total", &[]) + second.metric("paramedic_handed_total", &[]);
    assert!(handed > 0.0, "nothing had to be handed on");
    // An act reaches the shard of its incident from any engine, and what one halts, all halt.
    let (status, _) = first.post("/api/v1/halt", &json!({"by": "ann", "reason": "drill"}));
    assert_eq!(status, 200);
    assert_eq!(second.get("/api/v1/halts")["halts"].as_array().unwrap().len(), 1);
    assert!(first.stop().success() && second.stop().success());
    books_are_well(&cluster, &stream, &all);
}

#[test]
fn an_owner_that_was_stopped_past_its_session_commits_nothing_and_repeats_nothing() {
    let Some(mut cluster) = Cluster::of_test("nodes-zombie", 2) else { return };
    let stream = Stream::new(&cluster, Keyed::ByScope);
    stream.watch(&cluster);
    cluster.world.endpoint.behave("/restart-service", Behaviour::Slow { ms: 50 });
    let mut first = cluster.node();
    eventually("one engine owns all", SOON, || (owns(&first) == 2).then_some(()));
    let all = hosts(0..60);
    import(&cluster, &first, &all);
    let mut second = cluster.node();
    eventually("each owns one", SOON, || ([&first, &second].map(owns) == [1, 1]).then_some(()));
    fail(&cluster, &stream, &all[..30]);
    // In the middle of its work.
    eventually("work has begun", SOON, || {
        stream.producer.poll(Duration::ZERO);
        (cluster.world.received("/restart-service").len() > 3).then_some(())
    });
    signal(&second, "STOP");
    fail(&cluster, &stream, &all[30..]);
    eventually("the other owns all", SESSION + Duration::from_secs(30), || {
        stream.producer.poll(Duration::ZERO);
        (owns(&first) == 2).then_some(())
    });
    signal(&second, "CONT");
    eventually("it is a member again", SOON, || {
        stream.producer.poll(Duration::ZERO);
        ([&first, &second].map(owns) == [1, 1]).then_some(())
    });
    all_resolved(&cluster, &stream, &first, all.len());
    drained(&[&first, &second]);
    assert!(first.stop().success() && second.stop().success());
    books_are_well(&cluster, &stream, &all);
}

#[test]
fn engines_that_come_and_go_all_the_time_lose_and_repeat_nothing() {
    let Some(mut cluster) = Cluster::of_test("nodes-storm", 6) else { return };
    let stream = Stream::new(&cluster, Keyed::Anyhow);
    stream.watch(&cluster);
    let mut first = cluster.node();
    eventually("one engine owns all", SOON, || (owns(&first) == 6).then_some(()));
    let all = hosts(0..120);
    import(&cluster, &first, &all);
    let mut others = [cluster.node(), cluster.node()];
    for (round, some) in all.chunks(20).enumerate() {
        fail(&cluster, &stream, some);
        let which = round % others.len();
        if round % 2 == 0 {
            others[which].kill();
        } else {
            assert!(others[which].stop().success());
        }
        if round % 3 == 0 {
            first.kill();
            first.again();
        }
        others[which].again();
        stream.producer.poll(Duration::ZERO);
    }
    all_resolved(&cluster, &stream, &first, all.len());
    drained(&[&first, &others[0], &others[1]]);
    for engine in others.iter_mut().chain([&mut first]) {
        assert!(engine.stop().success(), "{}", engine.log_text());
    }
    books_are_well(&cluster, &stream, &all);
}

#[test]
fn two_builds_work_side_by_side_while_one_replaces_the_other() {
    let Some(newer) = common::faulty_binary() else { return common::report("nodes-upgrade-build", "no-postgres") };
    let Some(mut cluster) = Cluster::of_test("nodes-upgrade", 4) else { return };
    let stream = Stream::new(&cluster, Keyed::Anyhow);
    stream.watch(&cluster);
    let (mut first, mut second) = (cluster.node(), cluster.node());
    eventually("each owns two", SOON, || ([&first, &second].map(owns) == [2, 2]).then_some(()));
    let all = hosts(0..80);
    import(&cluster, &first, &all);
    // The newer build brings a migration of its own; the older one goes on beside it.
    for (some, engine) in [(&all[..20], 0), (&all[20..40], 1)] {
        fail(&cluster, &stream, some);
        let replaced = if engine == 0 { &mut first } else { &mut second };
        assert!(replaced.stop().success(), "{}", replaced.log_text());
        replaced.again_as(&newer, &[]);
        fail(&cluster, &stream, &all[40 + 20 * engine..60 + 20 * engine]);
        eventually("each owns two again", SOON, || ([&first, &second].map(owns) == [2, 2]).then_some(()));
    }
    all_resolved(&cluster, &stream, &first, all.len());
    // And back: an older build finds a store that a newer one has migrated, and may.
    assert!(second.stop().success());
    second.again_as(common::binary(), &[]);
    eventually("the older build is a member", SOON, || ([&first, &second].map(owns) == [2, 2]).then_some(()));
    drained(&[&first, &second]);
    assert!(first.stop().success() && second.stop().success());
    books_are_well(&cluster, &stream, &all);
}

/// Where a topic is begun that was never read is one moment for all its partitions, whoever is assigned which of them when.
#[test]
fn engines_that_begin_a_topic_at_its_end_take_nothing_from_before_and_all_that_comes() {
    const PARTITIONS: i32 = 6;
    let Some(cluster) = Cluster::of_test("nodes-latest", PARTITIONS) else { return };
    let mut cluster = cluster.beginning("latest");
    let producer = cluster.producer();
    let down = |cluster: &Cluster, when: &str| {
        for partition in 0..PARTITIONS {
            let host = format!("{when}-{partition}");
            let event = service(&format!("{host}|down"), &host, &format!("site-{partition}"), "firing");
            cluster.send(&producer, partition, &host, &event);
        }
        flush(&producer);
    };
    down(&cluster, "before");
    let engines = cluster.nodes(3);
    eventually("every partition has an owner", SOON, || {
        (engines.iter().map(owns).sum::<u32>() == PARTITIONS as u32).then_some(())
    });
    down(&cluster, "after");
    let about = |engine: &EngineProcess| -> BTreeSet<String> {
        engine.incidents("").iter().map(|i| i["about"].as_str().unwrap().to_owned()).collect()
    };
    let expected: BTreeSet<String> = (0..PARTITIONS).map(|p| format!("after-{p}")).collect();
    eventually_or(
        "all that comes is taken",
        SOON,
        || about(&engines[0]).is_superset(&expected).then_some(()),
        || format!("{:?}\n{}", about(&engines[0]), engines[0].log_text()),
    );
    drained(&engines.iter().collect::<Vec<_>>());
    assert_eq!(about(&engines[0]), expected, "and nothing from before");
}
