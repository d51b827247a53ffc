//! `make chaos`: the long ones. Each part prints one line of JSON, and fails at any violation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::large_enum_variant)]

mod cluster;
mod common;
mod faults;
mod support;

use std::process::Command;
use std::time::Instant;

use common::Broker;
use faults::alone::{self, Crash};
use faults::scene::Scene;
use faults::servers::Server;
use faults::{Verdict, judge_all, outages, pair, part, skipped};
use paramedic_model::faults::POINTS;

/// Every point, and every hit that one engine can get to; or the one that CHAOS_CASE names (`dispatch.send.2`).
fn cases(of: impl Fn(&str) -> bool) -> Vec<(String, Crash)> {
    let only = std::env::var("CHAOS_CASE").ok();
    let points = POINTS.into_iter().map(|(name, _)| name).filter(|name| of(name));
    let crashes = points.flat_map(|point| (1..=Crash::most(point)).map(move |hits| Crash::at(point, hits)));
    let cases = crashes.map(|crash| (crash.name(), crash));
    cases.filter(|(name, _)| only.as_ref().is_none_or(|only| only == name)).collect()
}

fn one(case: &str, violations: Vec<String>) -> Vec<Verdict> {
    vec![Verdict { case: case.to_owned(), violations }]
}

#[test]
#[ignore = "make chaos"]
fn every_point_on_sqlite() {
    let began = Instant::now();
    let cases = cases(|point| !point.starts_with("rebalance.") && !point.starts_with("postgres."));
    let verdicts = judge_all(cases, 4, |name, crash| alone::crash(&mut alone::scene(name), crash));
    part("matrix on SQLite", began, &verdicts);
}

#[test]
#[ignore = "make chaos"]
fn every_point_on_kafka_and_postgresql() {
    let began = Instant::now();
    if Scene::group("there").is_none() {
        return skipped("matrix on Kafka and PostgreSQL", "no real Kafka, or no PostgreSQL");
    }
    let verdicts = judge_all(cases(|_| true), 4, |name, crash| pair::crash(&mut Scene::group(name).unwrap(), crash));
    part("matrix on Kafka and PostgreSQL", began, &verdicts);
}

#[test]
#[ignore = "make chaos"]
fn an_owner_that_is_stopped_and_wakes_again_and_again() {
    let began = Instant::now();
    let Some(mut scene) = Scene::group("zombies") else {
        return skipped("zombies", "no real Kafka, or no PostgreSQL");
    };
    let wrong = outages::zombies(&mut scene, 10);
    part("zombies", began, &one("10 times", wrong));
}

#[test]
#[ignore = "make chaos"]
fn a_broker_that_is_restarted_again_and_again() {
    let began = Instant::now();
    let Some(server) = Server::kafka("chaos-broker") else { return skipped("broker", "no real Kafka") };
    let wrong = outages::broker_restarts(&mut Scene::alone("broker", server.broker()), &server, 10);
    part("broker", began, &one("10 times", wrong));
}

#[test]
#[ignore = "make chaos"]
fn a_database_that_crashes_again_and_again() {
    let began = Instant::now();
    let Some(server) = Server::postgres("chaos-database") else { return skipped("database", "no PostgreSQL") };
    let mut scene = Scene::on_database("database", Broker::of_test("chaos database"), &server.address);
    let wrong = outages::database_restarts(&mut scene, &server, 20);
    part("database", began, &one("20 times", wrong));
}

#[test]
#[ignore = "make chaos"]
fn a_disk_that_is_full_again_and_again() {
    let began = Instant::now();
    match outages::disk_is_full(&mut alone::scene("disk"), 10) {
        Ok(wrong) => part("disk", began, &one("10 times", wrong)),
        Err(why) => skipped("disk", &format!("nothing can be mounted: {why}")),
    }
}

#[test]
#[ignore = "make chaos"]
fn a_wall_clock_that_jumps() {
    let began = Instant::now();
    // Minutes. Less than max_action_age: what waits longer is not sent any more, and a person has to look.
    let jumps = [-10, 4, -5, 9];
    let wrong = outages::clock_jumps(&mut alone::scene("clock"), &jumps);
    part("clock", began, &one(&format!("{jumps:?} min"), wrong));
}

#[test]
#[ignore = "make chaos"]
fn the_simulator_with_many_seeds() {
    let began = Instant::now();
    let seeds = std::env::var("CHAOS_SEEDS").unwrap_or_else(|_| "20000".to_owned());
    let out = Command::new(env!("CARGO"))
        .args(["run", "--release", "--locked", "--quiet", "-p", "paramedic-sim", "--example", "faults", "--"])
        .args(["--seeds", &seeds])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&out.stdout));
    let wrong = match out.status.success() {
        true => vec![],
        false => vec![support::text(&out)],
    };
    part("simulator", began, &one(&format!("{seeds} seeds"), wrong));
}
