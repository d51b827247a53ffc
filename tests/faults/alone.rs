//! One engine that ends at a named point, and begins again.

use std::time::{Duration, Instant};

use paramedic_model::Digest;
use serde_json::{Value, json};

use super::checks;
use super::scene::Scene;
use crate::common::{Broker, EngineProcess, eventually_or, faulty_binary};
use crate::support::{SOON, audit_is_well, replay_journal};

/// Closed for a moment is long enough.
pub const RETENTION: &str = "retention: { records: 1ms }\n";

/// A place to end at: its name, and the how-manieth time.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    pub point: &'static str,
    pub hits: u32,
    /// A bug that is planted as well.
    pub planted: Option<&'static str>,
}

impl Crash {
    pub fn at(point: &'static str, hits: u32) -> Self {
        Self { point, hits, planted: None }
    }

    pub fn name(self) -> String {
        format!("{}.{}", self.point, self.hits)
    }

    /// The environment of an engine that ends there.
    pub fn environment(self) -> Vec<(&'static str, String)> {
        let crash = ("PARAMEDIC_CRASH", format!("{}:{}", self.point, self.hits));
        let bug = self.planted.map(|name| ("PARAMEDIC_PLANTED", name.to_owned()));
        [crash].into_iter().chain(bug).collect()
    }

    /// Reached by an engine that begins on nothing, before it takes anything.
    pub fn is_of_a_beginning(self) -> bool {
        self.point.starts_with("begin.") || self.point == "migration"
    }

    /// How often one engine can get there.
    pub fn most(point: &str) -> u32 {
        match point {
            "migration" | "retention.archived" => 1,
            _ => 3,
        }
    }
}

/// The program with crash points, which must have been built.
pub fn faulty() -> String {
    faulty_binary().expect("paramedic-faulty: cargo build --features test-faults --bin paramedic-faulty")
}

/// Waits for an engine to end at its point, and provokes it meanwhile.
pub fn await_end(
    engine: &mut EngineProcess,
    crash: Crash,
    within: Duration,
    mut provoke: impl FnMut(&EngineProcess),
) -> Result<(), String> {
    let began = Instant::now();
    while !engine.has_ended() {
        if began.elapsed() > within {
            let log = engine.log_text();
            engine.kill();
            return Err(format!("{} was not reached {} times; the engine's log:\n{log}", crash.point, crash.hits));
        }
        provoke(engine);
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = engine.log_text();
    match log.contains(&format!("crash point {}", crash.point)) {
        true => Ok(()),
        false => Err(format!("the engine ended, and not at {}:\n{log}", crash.point)),
    }
}

/// Until it answers, or has ended.
pub fn await_up(engine: &mut EngineProcess) {
    eventually_or(
        "the engine answers or ends",
        SOON,
        || (engine.has_ended() || engine.answers()).then_some(()),
        String::new,
    );
}

/// Publishes rule sets in turn.
pub struct Publisher {
    sets: Vec<Digest>,
    done: usize,
    http: reqwest::blocking::Client,
}

impl Publisher {
    pub fn of(sets: Vec<Digest>) -> Self {
        let http = reqwest::blocking::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
        Self { sets, done: 0, http }
    }

    /// The next one, and whether it was; an engine that has ended does not matter.
    pub fn publish(&mut self, engine: &EngineProcess) -> bool {
        let Some(set) = self.sets.get(self.done % self.sets.len().max(1)) else { return true };
        let body = json!({"by": "ann", "digest": set, "again": true});
        let reply = self.http.post(format!("{}/api/v1/rules/publish", engine.url)).json(&body).send();
        let published = reply.is_ok_and(|r| r.status().is_success());
        self.done += usize::from(published);
        published
    }
}

/// One case on a fresh scene: some work, an end at the point in the middle of more, and the rest. Gives what is wrong.
pub fn crash(scene: &mut Scene, crash: Crash) -> Vec<String> {
    let reached = if crash.is_of_a_beginning() { at_the_beginning(scene, crash) } else { at_work(scene, crash) };
    if let Err(why) = reached {
        return vec![why];
    }
    scene.configure("");
    let mut engine = scene.start();
    if crash.is_of_a_beginning() {
        scene.import(&engine, 0..6);
        scene.fail(&engine, 0..6);
    }
    scene.fail_later(0);
    let mut wrong: Vec<String> = scene.come_to_rest(&engine).err().into_iter().collect();
    if !engine.stop().success() {
        wrong.push(format!("the engine does not stop well:\n{}", engine.log_text()));
    }
    wrong.extend(checks::all(scene));
    if matches!(scene.setting, super::scene::Setting::Alone { database: None, .. }) {
        wrong.extend(repeated(scene));
    }
    if crash.point == "retention.archived" {
        wrong.extend(archived_again(scene));
    }
    wrong
}

fn at_the_beginning(scene: &mut Scene, crash: Crash) -> Result<(), String> {
    let mut engine = scene.spawn(&faulty(), &crash.environment());
    await_end(&mut engine, crash, SOON, |_| ())?;
    scene.write_rules(true);
    Ok(())
}

fn at_work(scene: &mut Scene, crash: Crash) -> Result<(), String> {
    let mut engine = scene.start();
    scene.import(&engine, 0..6);
    scene.fail(&engine, 0..3);
    scene.come_to_rest(&engine).map_err(|why| format!("before anything was done to it: {why}"))?;
    let first = scene.store().ruleset_active().unwrap();
    assert!(engine.stop().success(), "{}", engine.log_text());
    scene.write_rules(true);
    if crash.point.starts_with("dispatch.") {
        scene.see_later(Duration::from_millis(1_500));
    }
    if crash.point == "retention.archived" {
        scene.configure(RETENTION);
    }
    let mut engine = scene.spawn(&faulty(), &crash.environment());
    await_up(&mut engine);
    let second = (!engine.has_ended()).then(|| scene.store().ruleset_active().unwrap()).flatten();
    let mut publisher = Publisher::of(first.into_iter().chain(second).collect());
    scene.fail(&engine, 3..6);
    await_end(&mut engine, crash, SOON, |engine| {
        scene.deliver(engine);
        if crash.point == "rules.published" {
            publisher.publish(engine);
        }
    })
}

/// I20: the live history once more gives what it gave.
pub fn repeated(scene: &Scene) -> Vec<String> {
    let (code, report) = replay_journal(scene.world().folder.path());
    let books = scene.books();
    let Some(last) = books.journal.get(&0).and_then(|rows| rows.last()) else {
        return vec!["there is no journal".to_owned()];
    };
    let same = code == Some(0)
        && report["differs"] == Value::Null
        && report["decisions_digest"].as_str() == Some(last.decisions.to_string().as_str())
        && report["inputs_digest"].as_str() == Some(last.inputs.digest().to_string().as_str());
    if same { vec![] } else { vec![format!("the journal repeated gives something else: {report}")] }
}

/// What was archived and not dropped is archived again, dropped, and the history is whole with its archive.
fn archived_again(scene: &mut Scene) -> Vec<String> {
    let before = scene.books().incidents.len();
    scene.configure(RETENTION);
    let mut engine = scene.spawn(&faulty(), &[]);
    engine.wait_alive();
    eventually_or(
        "what has ended is dropped",
        SOON,
        || (engine.incidents("").len() < before).then_some(()),
        || engine.log_text(),
    );
    assert!(engine.stop().success(), "{}", engine.log_text());
    audit_is_well(&scene.world().data());
    checks::chain(&scene.books().audit)
}

/// A scene of one case, on librdkafka's own broker or a real one.
pub fn scene(name: &str) -> Scene {
    Scene::alone(name, Broker::of_test(&format!("matrix {name}")))
}
