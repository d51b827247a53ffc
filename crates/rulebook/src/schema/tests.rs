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

/// Every part of a scenario, each with a key that there is not.
const SCENARIO: &str = "qqqqqqqq: 1
scenario: s
given: { qqqqqqqq: 1, cis: [ { qqqqqqqq: 1 } ], relations: [ { qqqqqqqq: 1 } ], grants: [ { qqqqqqqq: 1 } ] }
steps:
  - qqqqqqqq: 1
    at: 0s
    run: { qqqqqqqq: 1 }
    operator: { qqqqqqqq: 1 }
    expect: { qqqqqqqq: 1, incident: { qqqqqqqq: 1 }, run: { qqqqqqqq: 1 }, page: { qqqqqqqq: 1 }, emit: { qqqqqqqq: 1 }, ci: { qqqqqqqq: 1 } }
  - { at: 0s, operator: { ack: { qqqqqqqq: 1 } } }
";

/// What each part of a file has, as its reader answers to a key that it does not know.
fn keys_that_are_read() -> BTreeMap<String, BTreeSet<String>> {
    let files = EVERYTHING.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let mut found = BTreeMap::new();
    let scenario = crate::scenario::read("r.test.yaml", SCENARIO).1;
    for diagnostic in load_all_words(&files).diagnostics.into_iter().chain(scenario) {
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
fn the_words_that_a_scenario_may_expect_are_those_that_are_read() {
    let all = words(&[]);
    let with = |what: &str| format!("scenario: s\nsteps: [ {{ at: 0s, {what} }} ]\n");
    let places = [
        ("/expected_incident/properties/state/enum", "expect: { incident: { state: WORD } }"),
        ("/expected_incident/properties/close_code/enum", "expect: { incident: { close_code: WORD } }"),
        ("/expected_run/properties/state/enum", "expect: { run: { state: WORD } }"),
        ("/expected_run/properties/verdict/enum", "expect: { run: { verdict: WORD } }"),
        ("/act/properties/code/enum", "operator: { resolve: { code: WORD } }"),
        ("/run_word/enum", "run: WORD"),
        ("/operator/else/enum", "operator: WORD"),
        ("/step/properties/page/enum", "page: WORD"),
    ];
    for (pointer, written) in places {
        let told = crate::scenario::read("s", &with(&written.replace("WORD", "qqqqqqqq"))).1.remove(0).message;
        let read: BTreeSet<&str> =
            told.strip_prefix("expected one of ").unwrap().rsplit_once(", found").unwrap().0.split(", ").collect();
        let described = Value::from(all.clone()).pointer(pointer).unwrap().as_array().unwrap().clone();
        assert_eq!(described.iter().filter_map(Value::as_str).collect::<BTreeSet<_>>(), read, "{pointer}");
    }
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
