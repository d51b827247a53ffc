//! `every`: schedules.

use super::rules::set;
use super::world::{World, firing};

const NIGHTLY: &str = "
  - rule: nightly
    every: \"30 2 * * *\"
    timezone: Europe/Berlin
    notify: { to: desk, summary: check the backups }
";

#[test]
fn each_due_time_is_told_once_in_its_zone_whatever_happens_between() {
    // The world begins at midnight UTC, on the first of January 2026.
    let mut w = World::new(set("record", NIGHTLY));
    w.at("1h29m59s");
    assert!(w.pages().is_empty());
    w.at("1h30m").restart().at("2h");
    assert_eq!(w.pages().len(), 1);
    w.at_once("60h").drain(vec![("26h", firing("web-1")), ("50h", firing("web-1"))]);
    assert_eq!(w.pages().len(), 3, "the second and the third of January, as if it had been live");
    let decided: Vec<_> = w.store.scopes["default"].pages.iter().map(|page| page.decided_at).collect();
    assert_eq!(decided[1..], [super::world::t("25h30m"), super::world::t("49h30m")]);
}

#[test]
fn another_schedule_takes_its_place() {
    let mut w = World::new(set("record", NIGHTLY));
    w.publish(set("record", &NIGHTLY.replace("30 2", "0 3"))).at("1h59m");
    assert!(w.pages().is_empty());
    w.at("2h");
    assert_eq!((w.pages().len(), w.windows()), (1, vec!["schedule"]));
}
