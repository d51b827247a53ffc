use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::load_all_words;

/// Every part of every file, each with a key that there is not.
const EVERYTHING: [(&str, &str); 3] = [
    (
        "r.yaml",
        "qqqqqqqq: 1
rulebook: r
may: { qqqqqqqq: 1 }
rules:
  - rule: one
    qqqqqqqq: 1
    when: event.type == \"a\"
    count: { qqqqqqqq: 1 }
    about: { qqqqqqqq: 1 }
    clear: { qqqqqqqq: 1 }
    incident: { qqqqqqqq: 1 }
    remedy:
      - { qqqqqqqq: 1, verify: { qqqqqqqq: 1 }, approve: { qqqqqqqq: 1 }, undo: { qqqqqqqq: 1 } }
    escalate: [ { qqqqqqqq: 1 } ]
    notify: { qqqqqqqq: 1 }
    emit: { qqqqqqqq: 1 }
    suppress: { qqqqqqqq: 1 }
    resolve: { qqqqqqqq: 1 }
    ci: { qqqqqqqq: 1 }
  - rule: two
    absent: event.type == \"a\"
    within: 1m
    for_each: { qqqqqqqq: 1 }
",
    ),
    (
        "site.yaml",
        "qqqqqqqq: 1
defaults: { qqqqqqqq: 1 }
enrich: [ { qqqqqqqq: 1, match: { qqqqqqqq: 1 }, set: { qqqqqqqq: 1 } } ]
thresholds: { t: { qqqqqqqq: 1 } }
",
    ),
    ("playbooks.yaml", "qqqqqqqq: 1\nplaybooks: { p: { qqqqqqqq: 1, parameters: { a: { qqqqqqqq: 1 } } } }\n"),
];

/// What each part of a file has, as its reader answers to a key that it does not know.
fn keys_that_are_read() -> BTreeMap<String, BTreeSet<String>> {
    let files = EVERYTHING.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let mut found = BTreeMap::new();
    for diagnostic in load_all_words(&files).diagnostics {
        let Some(owner) = diagnostic.message.strip_suffix(" has no key `qqqqqqqq`") else { continue };
        let help = diagnostic.help.unwrap();
        let keys = help.strip_prefix(&format!("{owner} has ")).unwrap();
        found.insert(owner.to_owned(), keys.split(", ").map(str::to_owned).collect());
    }
    found
}

#[test]
fn the_schema_has_the_keys_that_are_read() {
    let mut all = words(&[]);
    let described: BTreeMap<String, BTreeSet<String>> = OWNERS
        .iter()
        .map(|(name, owner)| ((*owner).to_owned(), keys_of(&mut all[*name]).unwrap().keys().cloned().collect()))
        .collect();
    assert_eq!(described, keys_that_are_read());
}

#[test]
fn each_key_says_what_it_means_and_each_definition_is_used() {
    let all = words(&[]);
    let mut used = BTreeSet::from(["file".to_owned()]);
    for (name, definition) in &all {
        references(definition, &mut |to| {
            assert!(all.contains_key(to), "{name} refers to {to}");
            used.insert(to.to_owned());
        });
        for (key, value) in keys_of(&mut definition.clone()).into_iter().flat_map(|keys| keys.clone()) {
            assert!(value["description"].as_str().is_some_and(|d| d.ends_with('.')), "{name}.{key}");
        }
    }
    assert_eq!(used, all.keys().cloned().collect());
}

#[test]
fn words_of_a_later_version_are_not_offered() {
    let rulebook = schema(RuleFile::Rulebook);
    for (owner, word) in LATER {
        if let Some((name, _)) = OWNERS.iter().find(|(_, o)| o == owner) {
            assert!(rulebook["definitions"][name]["properties"].get(word).is_none(), "{owner}: {word}");
        }
    }
    let at = &rulebook["definitions"]["escalation_step"]["properties"]["at"]["anyOf"][0]["enum"];
    assert!(at.as_array().unwrap().contains(&"open".into()));
    assert!(!LATER.iter().any(|(owner, word)| *owner == "at" && at.as_array().unwrap().contains(&(*word).into())));
}

#[test]
fn a_schema_holds_what_it_refers_to_and_no_more() {
    let site = schema(RuleFile::Site);
    let names = site["definitions"].as_object().unwrap();
    assert!(["site", "defaults", "escalation_step", "text"].iter().all(|name| names.contains_key(*name)));
    assert!(!["rulebook", "incident", "playbook"].iter().any(|name| names.contains_key(*name)));
}
