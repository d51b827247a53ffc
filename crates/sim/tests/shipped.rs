//! The rulebooks in rules/: each loads without a warning, its scenarios pass, and they would notice if a rule were gone or
//! said the opposite.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use paramedic_model::Grants;
use paramedic_rulebook::{GRANTS, load};
use paramedic_sim::scenario::run_scenarios;
use serde_yaml::Value;

/// Words of a rule under which its conditions stand.
const CONDITIONS: [&str; 2] = ["when", "absent"];
/// Words of a rule under which its members stand.
const MEMBERS: [&str; 4] = ["all", "sequence", "any", "not_all"];

fn folders() -> Vec<PathBuf> {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules");
    let mut found: Vec<PathBuf> = std::fs::read_dir(rules).unwrap().map(|e| e.unwrap().path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The files of a folder by name: what rules are read from, and scenarios.
fn files(folder: &Path) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let yaml = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    yaml.filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap()))
        .partition(|(name, _)| !name.ends_with(".test.yaml"))
}

/// What stops the scenarios of a folder from passing.
fn failures(sources: &BTreeMap<String, String>, scenarios: &BTreeMap<String, String>) -> Vec<String> {
    let mut sources = sources.clone();
    sources.insert(GRANTS.to_owned(), serde_json::to_string(&Grants::AsAsked).unwrap());
    let loaded = load(&sources);
    let Some(set) = loaded.set else {
        return loaded.diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string).collect();
    };
    let set = Arc::new(set);
    let mut failed = Vec::new();
    for (file, text) in scenarios {
        match run_scenarios(&set, file, text) {
            Ok(results) => failed.extend(results.iter().filter(|r| !r.passed).map(|r| format!("{file}: {r}"))),
            Err(errors) => failed.extend(errors.iter().map(ToString::to_string)),
        }
    }
    failed
}

/// The opposite of a rule's first condition, or of its first member.
fn inverted(rule: &Value) -> Value {
    let mut rule = rule.clone();
    for word in CONDITIONS {
        if let Some(Value::String(condition)) = rule.get_mut(word) {
            *condition = format!("!({})", condition.trim());
            return rule;
        }
    }
    for word in MEMBERS {
        if let Some(Value::Mapping(first)) = rule.get_mut(word).and_then(|members| members.get_mut(0)) {
            for (_, condition) in first.iter_mut() {
                *condition = Value::String(format!("!({})", condition.as_str().unwrap().trim()));
            }
            return rule;
        }
    }
    panic!("no condition to invert in {rule:?}");
}

#[test]
fn every_shipped_rulebook_is_well_and_its_scenarios_pass() {
    for folder in folders() {
        let (sources, scenarios) = files(&folder);
        assert!(!scenarios.is_empty(), "{}: no scenarios", folder.display());
        assert!(folder.join("README.md").is_file(), "{}: no README.md", folder.display());
        let warnings: Vec<String> =
            load(&sources).diagnostics.iter().map(ToString::to_string).filter(|d| !d.contains("note:")).collect();
        assert_eq!(warnings, [""; 0], "{}", folder.display());
        assert_eq!(failures(&sources, &scenarios), [""; 0], "{}", folder.display());
    }
}

#[test]
fn a_scenario_fails_when_a_rule_is_gone_or_says_the_opposite() {
    let mut unnoticed = Vec::new();
    for folder in folders() {
        let (sources, scenarios) = files(&folder);
        for (file, text) in sources.iter().filter(|(name, _)| *name != "playbooks.yaml" && *name != "site.yaml") {
            let book: Value = serde_yaml::from_str(text).unwrap();
            let rules = book["rules"].as_sequence().unwrap().clone();
            for (at, rule) in rules.iter().enumerate() {
                let mut without = rules.clone();
                without.remove(at);
                let mut opposite = rules.clone();
                opposite[at] = inverted(rule);
                // A rulebook needs a rule: where it has only one, there is nothing to be deleted.
                let changes = [("gone", without), ("the opposite", opposite)];
                for (what, rules) in changes.into_iter().filter(|(_, rules)| !rules.is_empty()) {
                    let mut changed = book.clone();
                    changed["rules"] = Value::Sequence(rules);
                    let mut sources = sources.clone();
                    sources.insert(file.clone(), serde_yaml::to_string(&changed).unwrap());
                    if failures(&sources, &scenarios).is_empty() {
                        unnoticed.push(format!("{}: {:?} is {what}", folder.display(), rule["rule"].as_str().unwrap()));
                    }
                }
            }
        }
    }
    assert_eq!(unnoticed, [""; 0]);
}
