//! The crash matrix with the real binary: an engine ends at each named point, another begins or takes over, and nothing
//! is lost and nothing done twice. And the same judges on engines with planted bugs: they must find something.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::large_enum_variant)]

mod cluster;
mod common;
mod faults;
mod support;

use std::time::Duration;

use common::{Broker, report};
use faults::alone::{self, Crash};
use faults::outages;
use faults::scene::{Kind, Scene};
use faults::servers::Server;
use faults::{judge_all, pair, told};
use paramedic_model::faults::POINTS;
use paramedic_runners::Behaviour;

/// Points that one engine on SQLite gets to.
fn of_one_engine() -> impl Iterator<Item = &'static str> {
    let all = POINTS.into_iter().map(|(name, _)| name);
    all.filter(|name| !name.starts_with("rebalance.") && !name.starts_with("postgres."))
}

#[test]
fn an_engine_that_ends_at_any_named_point_loses_nothing_and_repeats_nothing() {
    let cases: Vec<_> = of_one_engine().map(|point| (point.to_owned(), Crash::at(point, 1))).collect();
    assert!(cases.len() >= 18, "{cases:?}");
    let verdicts = judge_all(cases, 4, |name, crash| alone::crash(&mut alone::scene(name), crash));
    assert!(verdicts.iter().all(|v| v.violations.is_empty()), "{}", told(&verdicts));
}

#[test]
fn what_an_engine_of_a_group_leaves_at_a_named_point_another_takes_up() {
    const TEN: [(&str, u32); 10] = [
        ("commit.before", 2),
        ("commit.after", 2),
        ("postgres.commit_sent", 8),
        ("dispatch.started.after", 1),
        ("dispatch.send", 2),
        ("dispatch.reply", 1),
        ("timer.fired", 1),
        ("rebalance.assigned", 1),
        ("rebalance.loaded", 1),
        ("rebalance.revoked", 1),
    ];
    if Scene::group("there").is_none() {
        return;
    }
    let cases: Vec<_> = TEN.into_iter().map(|(point, hits)| (point.to_owned(), Crash::at(point, hits))).collect();
    let verdicts = judge_all(cases, 5, |name, crash| pair::crash(&mut Scene::group(name).unwrap(), crash));
    assert!(verdicts.iter().all(|v| v.violations.is_empty()), "{}", told(&verdicts));
}

#[test]
fn a_broker_that_is_restarted_under_load_costs_nothing() {
    let Some(server) = Server::kafka("matrix-broker") else { return };
    let mut scene = Scene::alone("broker", server.broker());
    let wrong = outages::broker_restarts(&mut scene, &server, 1);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_database_that_crashes_under_load_costs_nothing() {
    let Some(server) = Server::postgres("matrix-database") else { return };
    let mut scene = Scene::on_database("database", Broker::of_test("matrix database"), &server.address);
    let wrong = outages::database_restarts(&mut scene, &server, 1);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_database_that_fails_over_and_loses_its_end_repeats_nothing_without_a_person() {
    let Some(server) = Server::postgres("matrix-failover") else { return };
    let mut scene = Scene::on_database("failover", Broker::of_test("matrix failover"), &server.address);
    let wrong = outages::fail_over(&mut scene, &server);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_disk_that_is_full_stops_the_engine_until_there_is_room_and_costs_nothing() {
    let mut scene = alone::scene("disk");
    match outages::disk_is_full(&mut scene, 1) {
        Ok(wrong) => assert!(wrong.is_empty(), "{wrong:#?}"),
        Err(why) => report("matrix disk", &format!("not-mounted ({why})")),
    }
}

/// The judges must find something where there is something: a bug is planted, and the engine ends where it shows.
#[test]
fn the_judges_find_the_bugs_that_are_planted() {
    let cases = vec![
        // A sender is told that its delivery is safe before it is.
        ("ack_before_commit", Crash { point: "inbox.append.before", hits: 1, planted: Some("ack_before_commit") }),
        // A request leaves, and only then is it written down.
        ("started_after_send", Crash { point: "dispatch.reply", hits: 1, planted: Some("started_after_send") }),
    ];
    let names: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
    let cases = cases.into_iter().map(|(name, crash)| (name.to_owned(), crash)).collect();
    let verdicts = judge_all(cases, 2, |name, crash| {
        let mut scene = alone::scene(name);
        scene.patience = Duration::from_secs(10);
        if name == "started_after_send" {
            scene.kinds = vec![Kind::Service];
            scene.world().endpoint.behave("/restart-service", Behaviour::Slow { ms: 200 });
        } else {
            scene.kinds = vec![Kind::Note];
        }
        alone::crash(&mut scene, crash)
    });
    let of = |name: &str| verdicts.iter().find(|v| v.case == name).unwrap().violations.join("\n");
    assert_eq!(verdicts.len(), names.len());
    assert!(of("ack_before_commit").contains("has 0 incidents"), "{}", of("ack_before_commit"));
    assert!(of("started_after_send").contains("was restarted 2 times"), "{}", of("started_after_send"));
}

#[test]
fn an_engine_whose_shard_was_taken_over_does_nothing_more_unless_nobody_checks_the_epoch() {
    let Some(url) = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()) else {
        return report("matrix-epoch-store", "no-postgres");
    };
    report("matrix-epoch-store", "postgres");
    let judge = |planted| {
        let mut scene = Scene::on_database("epoch", Broker::of_test("matrix epoch"), &url);
        outages::stale_owner(&mut scene, &url, planted)
    };
    assert_eq!(judge(None), Vec::<String>::new());
    let found = judge(Some("no_epoch_check")).join("\n");
    assert!(found.contains("under an ownership that was over"), "{found}");
}

#[test]
fn an_answer_that_comes_to_a_former_owner_counts_unless_it_is_dropped() {
    let judge = |planted| Some(outages::late_replies(&mut Scene::group("late")?, planted));
    let Some(wrong) = judge(None) else { return };
    assert_eq!(wrong, Vec::<String>::new());
    let found = judge(Some("late_reply_dropped")).unwrap().join("\n");
    assert!(found.contains("came late, and was dropped"), "{found}");
}
