//! Facts about rule sets that are published, and about a store that lacks its end.

use std::collections::BTreeMap;

use paramedic_model::{InboxBody, InboxRow, Lane};

use super::Bench;
use super::fixture::*;
use super::writer::Writer;
use crate::{Published, Recovered, Store};

fn keep(store: &dyn Store, names: &[&str]) {
    for name in names {
        store.ruleset_put(digest(name), &BTreeMap::new()).unwrap();
    }
}

/// The sets that a shard's inbox tells of, in order.
fn told(store: &dyn Store, shard: u32) -> Vec<InboxBody> {
    store.inbox_read(shard, Lane::Inbox, 0, 99).unwrap().into_iter().map(|InboxRow { entry, .. }| entry.body).collect()
}

fn sets(names: &[&str]) -> Vec<InboxBody> {
    names.iter().map(|name| InboxBody::RulebooksPublished(digest(name))).collect()
}

pub(super) fn a_published_rule_set_is_active_and_told_to_every_shard(bench: &Bench) {
    let store = bench.store();
    for shard in [0, 2] {
        Writer::at(store, shard, &no_source());
    }
    keep(store, &["one", "two"]);
    assert_eq!(store.ruleset_active().unwrap(), None);
    assert_eq!(store.ruleset_publish(digest("one"), at(1), false).unwrap(), Published::Now);
    assert_eq!(store.ruleset_active().unwrap(), Some(digest("one")));
    assert_eq!(store.ruleset_publish(digest("one"), at(2), true).unwrap(), Published::Already);
    // A shard that is new begins under the active one, and hears of later ones.
    assert_eq!(store.load_shard(5, &no_source()).unwrap().active, Some(digest("one")));
    assert_eq!(store.ruleset_publish(digest("two"), at(3), false).unwrap(), Published::Now);
    for (shard, names) in [(0, &["one", "two"][..]), (2, &["one", "two"]), (5, &["two"])] {
        assert_eq!(told(store, shard), sets(names), "shard {shard}");
    }
    assert_eq!(store.counts().unwrap().inbox, 5, "and nobody else");
    assert_eq!(store.load_shard(2, &no_source()).unwrap().active, Some(digest("two")));
}

/// A node that starts with the files of yesterday must not bring yesterday's rules back.
pub(super) fn a_superseded_rule_set_is_published_again_only_on_purpose(bench: &Bench) {
    let store = bench.store();
    Writer::new(store);
    keep(store, &["one", "two"]);
    store.ruleset_publish(digest("one"), at(1), false).unwrap();
    store.ruleset_publish(digest("two"), at(2), false).unwrap();
    let superseded = Published::Superseded(digest("two"));
    assert_eq!(store.ruleset_publish(digest("one"), at(3), false).unwrap(), superseded);
    assert_eq!((store.ruleset_active().unwrap(), told(store, 0)), (Some(digest("two")), sets(&["one", "two"])));
    assert_eq!(store.ruleset_publish(digest("one"), at(4), true).unwrap(), Published::Now);
    assert_eq!((store.ruleset_active().unwrap(), told(store, 0)), (Some(digest("one")), sets(&["one", "two", "one"])));
    assert_eq!(store.ruleset_publish(digest("two"), at(5), false).unwrap(), Published::Superseded(digest("one")));
}

pub(super) fn a_rule_set_that_is_not_kept_cannot_be_published(bench: &Bench) {
    let store = bench.store();
    Writer::new(store);
    store.ruleset_publish(digest("one"), at(1), true).unwrap_err();
    assert_eq!((store.ruleset_active().unwrap(), told(store, 0)), (None, vec![]));
}

pub(super) fn recovered_is_said_and_taken_back(bench: &Bench) {
    let store = bench.store();
    assert_eq!(store.recovered().unwrap(), None);
    for why in ["restored from a backup of \"Monday\"", "timeline 3"] {
        let recovered = Recovered { at: at(1), why: why.into() };
        store.recovered_set(Some(&recovered)).unwrap();
        assert_eq!(store.recovered().unwrap(), Some(recovered));
    }
    store.load_shard(0, &no_source()).unwrap();
    assert!(store.recovered().unwrap().is_some(), "no load takes it back");
    store.recovered_set(None).unwrap();
    store.recovered_set(None).unwrap();
    assert_eq!(store.recovered().unwrap(), None);
}
