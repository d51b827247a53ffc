//! Two engines of a group, one of which ends at a named point: the other takes its shards over, and goes on.

use std::time::{Duration, Instant};

use super::alone::{Crash, Publisher, RETENTION, await_end, await_up, faulty};
use super::checks;
use super::scene::{SITES, Scene};
use crate::cluster::SESSION;
use crate::common::{EngineProcess, eventually, eventually_or};
use crate::support::SOON;

/// Shards of the group.
pub const ALL: u32 = SITES as u32;

/// How long a take-over may take: the session, and what a loaded machine needs.
pub const TAKE_OVER: Duration = Duration::from_secs(SESSION.as_secs() + 30);

/// How many shards an engine owns; `None` where it does not answer.
pub fn owns(engine: &EngineProcess) -> Option<u32> {
    let http = reqwest::blocking::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().ok()?;
    let text = http.get(format!("{}/metrics", engine.url)).send().ok()?.text().ok()?;
    text.lines().find_map(|l| l.strip_prefix("paramedic_shards ")?.trim().parse().ok())
}

pub fn await_owned(engine: &EngineProcess, shards: u32, within: Duration) {
    eventually_or(
        "the engine owns its shards",
        within,
        || (owns(engine) == Some(shards)).then_some(()),
        || format!("it owns {:?} of {shards}\n{}", owns(engine), engine.log_text()),
    );
}

/// One case. Gives what is wrong.
pub fn crash(scene: &mut Scene, crash: Crash) -> Vec<String> {
    let survivor = if crash.is_of_a_beginning() { at_the_beginning(scene, crash) } else { at_work(scene, crash) };
    let mut survivor = match survivor {
        Ok(survivor) => survivor,
        Err(why) => return vec![why],
    };
    // The later rules are the published ones, whatever was published in between.
    let later = scene.later_set();
    let mut publisher = Publisher::of(later.into_iter().collect());
    eventually("the later rules are in force", SOON, || publisher.publish(&survivor).then_some(()));
    scene.fail_later(0);
    let restless = scene.come_to_rest(&survivor).err();
    let mut wrong: Vec<String> = restless.map(|why| format!("{why}\n{}", survivor.log_text())).into_iter().collect();
    if !survivor.stop().success() {
        wrong.push(format!("the engine does not stop well:\n{}", survivor.log_text()));
    }
    wrong.extend(checks::all(scene));
    wrong
}

fn at_the_beginning(scene: &mut Scene, crash: Crash) -> Result<EngineProcess, String> {
    let mut engine = scene.spawn(&faulty(), &crash.environment());
    await_end(&mut engine, crash, SOON, |_| ())?;
    scene.write_rules(true);
    let survivor = scene.start();
    await_owned(&survivor, ALL, TAKE_OVER);
    scene.import(&survivor, 0..6);
    scene.fail(&survivor, 0..6);
    Ok(survivor)
}

fn at_work(scene: &mut Scene, crash: Crash) -> Result<EngineProcess, String> {
    let mut survivor = scene.start();
    await_owned(&survivor, ALL, SOON);
    scene.import(&survivor, 0..12);
    scene.fail(&survivor, 0..3);
    scene.come_to_rest(&survivor).map_err(|why| format!("before anything was done to it: {why}"))?;
    let first = scene.store().ruleset_active().unwrap();
    scene.write_rules(true);
    if crash.point.starts_with("dispatch.") {
        scene.see_later(Duration::from_millis(1_500));
    }
    if crash.point == "retention.archived" {
        scene.configure(RETENTION);
    }
    let mut engine = scene.spawn(&faulty(), &crash.environment());
    await_up(&mut engine);
    // It publishes its rules before it takes anything, unless it ends before that.
    let active = |scene: &Scene| scene.store().ruleset_active().unwrap();
    eventually("it publishes its rules", SOON, || (engine.has_ended() || active(scene) != first).then_some(()));
    let second = active(scene);
    scene.set_later(second);
    let mut publisher = Publisher::of(first.into_iter().chain(second).collect());
    let began = Instant::now();
    while !engine.has_ended() && owns(&engine).unwrap_or_default() == 0 && began.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(20));
    }
    scene.fail(&engine, 3..12);
    let owner = crash.point.starts_with("rebalance.") || crash.point == "retention.archived";
    let ended = await_end(&mut engine, crash, TAKE_OVER * 3, |engine| {
        scene.deliver(engine);
        if crash.point == "rules.published" {
            publisher.publish(engine);
        }
        if owner {
            change_owner(engine, &mut survivor);
        }
    });
    ended?;
    if survivor.has_ended() {
        survivor.again();
    }
    if second == first {
        // Another of its build publishes them in its place.
        let mut third = scene.start();
        scene.set_later(active(scene));
        if !third.stop().success() {
            return Err(format!("the engine does not stop well:\n{}", third.log_text()));
        }
    }
    await_owned(&survivor, ALL, TAKE_OVER);
    Ok(survivor)
}

/// The other engine goes and comes back: its shards come to this one, and some go again.
fn change_owner(engine: &EngineProcess, other: &mut EngineProcess) {
    if other.has_ended() {
        other.again();
    }
    let _ = other.stop();
    let began = Instant::now();
    while owns(engine).is_some_and(|n| n < ALL) && began.elapsed() < TAKE_OVER {
        std::thread::sleep(Duration::from_millis(50));
    }
    other.again();
    let began = Instant::now();
    while owns(engine).is_some_and(|n| n == ALL) && began.elapsed() < TAKE_OVER {
        std::thread::sleep(Duration::from_millis(50));
    }
}
