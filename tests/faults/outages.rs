//! What is taken away from under an engine, and given back: a broker, a database, room on the disk, its time, its
//! ownership. Each gives what is wrong.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use paramedic_runners::Behaviour;
use paramedic_store::{Claim, PostgresStore, Store as _};

use super::alone::{await_up, faulty, repeated};
use super::checks;
use super::pair::{ALL, TAKE_OVER, await_owned, owns};
use super::scene::{Kind, SITES, Scene};
use super::servers::Server;
use crate::cluster::signal;
use crate::common::{EngineProcess, eventually, eventually_or};
use crate::support::{SOON, text};

/// Comes to rest, stops, and is judged.
fn end(scene: &mut Scene, mut engine: EngineProcess) -> Vec<String> {
    let mut wrong: Vec<String> = scene.come_to_rest(&engine).err().into_iter().collect();
    if !engine.stop().success() {
        wrong.push(format!("the engine does not stop well:\n{}", engine.log_text()));
    }
    wrong.extend(checks::all(scene));
    wrong
}

/// Begins with some work done; hosts of numbers below `hosts` are known.
fn begin(scene: &mut Scene, hosts: usize) -> EngineProcess {
    let engine = scene.start();
    scene.import(&engine, 0..hosts);
    scene.fail(&engine, 0..3);
    scene.come_to_rest(&engine).unwrap();
    engine
}

/// The broker goes and comes back while records are sent, so many times.
pub fn broker_restarts(scene: &mut Scene, server: &Server, times: usize) -> Vec<String> {
    let engine = begin(scene, 3 * (times + 1));
    for time in 1..=times {
        std::thread::scope(|scope| {
            let restarted = scope.spawn(|| server.run(&["restart"]));
            scene.fail(&engine, 3 * time..3 * (time + 1));
            restarted.join().unwrap();
        });
    }
    let mut wrong = end(scene, engine);
    wrong.extend(repeated(scene));
    wrong
}

/// The database goes, as if it had crashed, and comes back while records are sent, so many times.
pub fn database_restarts(scene: &mut Scene, server: &Server, times: usize) -> Vec<String> {
    let engine = begin(scene, 3 * (times + 1));
    for time in 1..=times {
        std::thread::scope(|scope| {
            let restarted = scope.spawn(|| server.run(&["restart", "immediate"]));
            scene.fail(&engine, 3 * time..3 * (time + 1));
            restarted.join().unwrap();
        });
    }
    end(scene, engine)
}

/// The database fails over to a standby that lacks what came last, under an engine that goes on. What Kafka has is taken
/// again; nothing that left before leaves again; and when a person has looked, work goes on.
pub fn fail_over(scene: &mut Scene, server: &Server) -> Vec<String> {
    let engine = begin(scene, 9);
    server.run(&["keep"]);
    // What the standby will lack. What comes by webhook would be gone; a page would tell another incident's number.
    scene.kinds = vec![Kind::Disk, Kind::Service, Kind::Cache];
    scene.fail(&engine, 3..6);
    scene.come_to_rest(&engine).unwrap();
    let before = scene.world().raw_log().len();
    let hosts = scene.causes.iter().map(|cause| cause.host.clone());
    scene.forgotten = hosts.filter(|host| ["-3", "-4", "-5"].iter().any(|end| host.ends_with(end))).collect();
    server.run(&["fail-over"]);
    let mut wrong = Vec::new();
    eventually_or(
        "the engine says that the store was restored",
        SOON,
        || engine.text("/ready").contains("recovered").then_some(()),
        || engine.log_text(),
    );
    // By itself, though nothing comes in.
    wrong.extend(scene.come_to_rest(&engine).err().map(|why| format!("after the failover: {why}")));
    let left = scene.world().raw_log().len() - before;
    if left > 0 {
        wrong.push(format!("{left} requests left, and no person had looked"));
    }
    let out = engine.cli(&["recovered", "end", "--reason", "all was looked at"]);
    if !out.status.success() {
        wrong.push(format!("recovered end: {}", text(&out)));
    }
    scene.kinds = Kind::STREAM.to_vec();
    scene.fail(&engine, 6..9);
    wrong.extend(end(scene, engine));
    wrong
}

/// A small file system of its own; gone with its owner.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `Err` where mounting is not allowed.
    pub fn mount(folder: PathBuf, size: &str) -> Result<Self, String> {
        std::fs::create_dir_all(&folder).unwrap();
        let out = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "paramedic-test"])
            .arg(&folder)
            .output()
            .map_err(|e| e.to_string())?;
        match out.status.success() {
            true => Ok(Self(folder)),
            false => Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()),
        }
    }

    /// Takes all the room that is left; gives the file that has it.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = std::fs::File::options().append(true).create(true).open(&path).unwrap();
        for size in [64 << 10, 4 << 10, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// The disk is full while records come, so many times, until somebody makes room. `None` where nothing can be mounted.
pub fn disk_is_full(scene: &mut Scene, times: usize) -> Result<Vec<String>, String> {
    let folder = scene.world().path("small");
    let disk = SmallDisk::mount(folder.clone(), "24m")?;
    scene.keep_in(folder.join("data"));
    let engine = begin(scene, 30 * (times + 1));
    let mut next = 3;
    let mut wrong = Vec::new();
    for _ in 0..times {
        let ballast = disk.fill();
        let failures = || engine.metric("paramedic_commit_failures_total", &[]);
        let (before, began) = (failures(), Instant::now());
        while failures() <= before && began.elapsed() < SOON {
            if next < 30 * times {
                scene.fail(&engine, next..next + 1);
                next += 1;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        if failures() <= before {
            wrong.push("the disk was full, and no commit failed".to_owned());
        }
        std::fs::remove_file(ballast).unwrap();
        if let Err(why) = scene.come_to_rest(&engine) {
            wrong.push(format!("after there was room again: {why}\n{}", engine.log_text()));
        }
    }
    wrong.extend(end(scene, engine));
    wrong.extend(repeated(scene));
    drop(disk);
    Ok(wrong)
}

/// The wall clock of the engine alone jumps, each time to so many minutes from the true time.
pub fn clock_jumps(scene: &mut Scene, jumps: &[i64]) -> Vec<String> {
    let shift = scene.world().path("clock");
    // At once or not at all: the engine must not read half a number.
    let set = |minutes: i64| {
        let new = shift.with_extension("new");
        std::fs::write(&new, (minutes * 60_000).to_string()).unwrap();
        std::fs::rename(&new, &shift).unwrap();
    };
    set(0);
    let mut engine = scene.spawn(&faulty(), &[("PARAMEDIC_CLOCK", shift.display().to_string())]);
    engine.wait_alive();
    scene.import(&engine, 0..3 * (jumps.len() + 1));
    let (mut wrong, mut furthest) = (Vec::new(), 0);
    for (i, jump) in jumps.iter().enumerate() {
        scene.fail(&engine, 3 * i..3 * (i + 1));
        set(*jump);
        scene.fail(&engine, 3 * (i + 1)..3 * (i + 1) + 1);
        // A clock that was set back stands still until its time has come again, and timers with it. What is taken and
        // what is done by it does not wait.
        let waited = if *jump < furthest { scene.come_to_be_known(&engine) } else { scene.come_to_rest(&engine) };
        wrong.extend(waited.err().map(|why| format!("after a jump to {jump} min: {why}")));
        furthest = furthest.max(*jump);
    }
    wrong.extend(end(scene, engine));
    wrong
}

/// The store has another owner than the engine knows: what it still wants to do must come to nothing. `Ok` where it
/// ended by itself; violations are what it did all the same.
pub fn stale_owner(scene: &mut Scene, url: &str, planted: Option<&str>) -> Vec<String> {
    let bug: Vec<(&str, String)> = planted.map(|name| ("PARAMEDIC_PLANTED", name.to_owned())).into_iter().collect();
    let mut engine = scene.spawn(&faulty(), &bug);
    engine.wait_alive();
    scene.import(&engine, 0..6);
    scene.fail(&engine, 0..3);
    scene.come_to_rest(&engine).unwrap();
    let requests = scene.world().raw_log().len();
    let store = PostgresStore::open(&scene.database_url(url)).unwrap();
    let epoch = store.load_shard(0, &Claim::Alone).unwrap().epoch;
    scene.fail(&engine, 3..6);
    // A sound one ends; another goes on.
    eventually("it ends or goes on", SOON, || {
        (engine.has_ended() || scene.world().raw_log().len() > requests).then_some(())
    });
    let mut wrong = Vec::new();
    if !engine.has_ended() {
        wrong.push("an engine goes on that has no shard any more".to_owned());
        engine.kill();
    }
    let left = scene.world().raw_log().len() - requests;
    if left > 0 {
        wrong.push(format!("{left} requests left under an ownership that was over"));
    }
    let books = scene.books();
    // What was committed before the take-over has a smaller epoch; what came after must have this one.
    let known = books.incidents.len();
    if known > scene.causes.len() / 2 {
        wrong.push(format!("{known} incidents: batches of an epoch before {epoch} were committed after it"));
    }
    wrong
}

/// An owner is stopped past its session while its requests are under way; the answers come to it when it wakes.
/// Nobody may have to be asked about a run whose answer came.
pub fn late_replies(scene: &mut Scene, planted: Option<&str>) -> Vec<String> {
    let first = scene.start();
    await_owned(&first, ALL, SOON);
    scene.import(&first, 0..6);
    let bug: Vec<(&str, String)> = planted.map(|name| ("PARAMEDIC_PLANTED", name.to_owned())).into_iter().collect();
    let mut second = scene.spawn(&faulty(), &bug);
    await_up(&mut second);
    eventually("both own something", TAKE_OVER, || {
        (owns(&first)? + owns(&second)? == ALL && owns(&second)? > 0).then_some(())
    });
    scene.world().endpoint.behave("/restart-service", Behaviour::Slow { ms: 6_000 });
    scene.kinds = vec![Kind::Service];
    scene.fail(&first, 0..SITES);
    eventually("the requests are under way", SOON, || {
        (scene.world().received("/restart-service").len() == SITES).then_some(())
    });
    signal(&second, "STOP");
    await_owned(&first, ALL, TAKE_OVER);
    let unknown = |engine: &EngineProcess| engine.get("/api/v1/runs?state=unknown")["runs"].as_array().unwrap().len();
    eventually("the new owner does not know", SOON, || (unknown(&first) > 0).then_some(()));
    signal(&second, "CONT");
    let began = Instant::now();
    while unknown(&first) > 0 && began.elapsed() < Duration::from_secs(15) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut wrong = Vec::new();
    if unknown(&first) > 0 {
        wrong.push("an answer came late, and was dropped: a person would be asked".to_owned());
    }
    eventually("it is a member again", TAKE_OVER, || (owns(&second)? > 0).then_some(()));
    wrong.extend(scene.come_to_rest(&first).err());
    if !second.stop().success() {
        wrong.push(format!("the engine does not stop well:\n{}", second.log_text()));
    }
    wrong.extend(end(scene, first));
    wrong
}

/// An owner is stopped past its session in the middle of its work, and wakes, again and again.
pub fn zombies(scene: &mut Scene, times: usize) -> Vec<String> {
    let first = scene.start();
    await_owned(&first, ALL, SOON);
    scene.import(&first, 0..6 * times);
    let mut second = scene.start();
    for time in 0..times {
        eventually_or(
            "both own something",
            TAKE_OVER,
            || (owns(&first)? + owns(&second)? == ALL && owns(&second)? > 0).then_some(()),
            || second.log_text(),
        );
        scene.fail(&first, 6 * time..6 * time + 3);
        signal(&second, "STOP");
        scene.fail(&first, 6 * time + 3..6 * (time + 1));
        await_owned(&first, ALL, TAKE_OVER);
        signal(&second, "CONT");
    }
    let mut wrong: Vec<String> = scene.come_to_rest(&first).err().into_iter().collect();
    if !second.stop().success() {
        wrong.push(format!("the engine does not stop well:\n{}", second.log_text()));
    }
    wrong.extend(end(scene, first));
    wrong
}
