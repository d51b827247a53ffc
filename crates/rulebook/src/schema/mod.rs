//! JSON Schema (draft 7) of the files of a folder of rules, for editors. What it describes stands in `words.json`; a test
//! holds its keys and those that are read equal.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::read::later::{LATER, Word};
use crate::read::records::UPON;

#[cfg(test)]
mod tests;

/// A file of a folder of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleFile {
    /// Any of them, told apart by what it has.
    Any,
    /// `NAME.yaml`.
    Rulebook,
    /// `site.yaml`.
    Site,
    /// `playbooks.yaml`.
    Catalogue,
    /// `NAME.test.yaml`, each of its documents. What an event has is not in it: formats know.
    Scenario,
}

/// What each part of a file is called where its words are told as not carried out yet.
const OWNERS: [(&str, &str); 42] = [
    ("rulebook", "a rulebook"),
    ("may", "`may`"),
    ("rule", "a rule"),
    ("count", "`count`"),
    ("for_each", "`for_each`"),
    ("about", "`about`"),
    ("clear", "`clear`"),
    ("incident", "an incident"),
    ("remedy", "a remedy"),
    ("verify", "`verify`"),
    ("approve", "`approve`"),
    ("undo", "`undo`"),
    ("escalation_step", "an escalation step"),
    ("notice", "a notice"),
    ("emit", "`emit`"),
    ("suppress", "`suppress`"),
    ("resolve", "`resolve`"),
    ("ci", "`ci`"),
    ("site", "a site"),
    ("enrich_step", "an enrich step"),
    ("match", "`match`"),
    ("set", "what a step sets"),
    ("threshold", "a threshold"),
    ("defaults", "`defaults`"),
    ("catalogue", "a catalogue"),
    ("playbook", "a playbook"),
    ("parameter", "a parameter"),
    ("scenario", "a scenario"),
    ("given", "`given`"),
    ("given_ci", "a CI"),
    ("given_relation", "a relation"),
    ("grant", "a grant"),
    ("step", "a step"),
    ("run_report", "`run`"),
    ("operator", "`operator`"),
    ("act", "an act"),
    ("expect", "`expect`"),
    ("expected_incident", "the incident"),
    ("expected_run", "the run"),
    ("expected_page", "the page"),
    ("expected_emit", "the event"),
    ("expected_ci", "the CI"),
];

/// The schema of a file. Words that this version does not carry out are not in it.
pub fn schema(of: RuleFile) -> Value {
    let (root, title) = match of {
        RuleFile::Any => ("file", "A file of a folder of rules"),
        RuleFile::Rulebook => ("rulebook", "A rulebook of Paramedic"),
        RuleFile::Site => ("site", "What the rulebooks of a site share"),
        RuleFile::Catalogue => ("catalogue", "The catalogue of playbooks"),
        RuleFile::Scenario => ("scenario", "A scenario: what rulebooks do, in virtual time"),
    };
    let all = words(LATER);
    let mut names = BTreeSet::from([root.to_owned()]);
    let mut new: Vec<String> = names.iter().cloned().collect();
    while let Some(name) = new.pop() {
        all.get(&name).into_iter().for_each(|definition| {
            references(definition, &mut |to| {
                if names.insert(to.to_owned()) {
                    new.push(to.to_owned());
                }
            })
        });
    }
    let definitions: Map<String, Value> = all.into_iter().filter(|(name, _)| names.contains(name)).collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": title,
        "$ref": format!("#/definitions/{root}"),
        "definitions": definitions,
    })
}

/// All definitions, without these words.
fn words(without: &[Word]) -> Map<String, Value> {
    // A test reads it; what it holds is part of the program.
    let mut all: Map<String, Value> = serde_json::from_str(include_str!("words.json")).unwrap_or_default();
    if let Some(upon) = all.get_mut("rule").and_then(|rule| rule.pointer_mut("/properties/upon/enum")) {
        *upon = UPON.iter().map(|(step, _)| *step).collect();
    }
    for (owner, word) in without {
        if *owner == "at"
            && let Some(Value::Array(moments)) =
                all.get_mut("escalation_step").and_then(|step| step.pointer_mut("/properties/at/anyOf/0/enum"))
        {
            moments.retain(|moment| moment != word);
        }
        let definition = OWNERS.iter().find(|(_, name)| name == owner).and_then(|(name, _)| all.get_mut(*name));
        if let Some(keys) = definition.and_then(keys_of) {
            keys.remove(*word);
        }
    }
    all
}

/// What has a key, among what stands in one file with something else that has it not.
pub(crate) fn owners(key: &str, beside: &str) -> Vec<&'static str> {
    let mut all = words(LATER);
    let first_of_a_file = |name: &str| ["rulebook", "site", "catalogue", "scenario"].contains(&name);
    let mut files = OWNERS.chunk_by(|_, (name, _)| !first_of_a_file(name));
    let file = files.find(|file| file.iter().any(|(_, owner)| *owner == beside)).unwrap_or_default();
    let mut has = |name: &str| all.get_mut(name).and_then(keys_of).is_some_and(|keys| keys.contains_key(key));
    file.iter().filter(|(name, _)| has(name)).map(|(_, owner)| *owner).collect()
}

/// The keys of a definition, which may be for one of two forms.
fn keys_of(definition: &mut Value) -> Option<&mut Map<String, Value>> {
    let forms = ["/properties", "/then/properties", "/else/properties"];
    let form = forms.into_iter().find(|form| definition.pointer(form).is_some())?;
    definition.pointer_mut(form)?.as_object_mut()
}

/// The names of the definitions that a value refers to.
fn references(value: &Value, with: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str().and_then(|to| to.strip_prefix("#/definitions/")) {
                    Some(to) if name == "$ref" => with(to),
                    _ => references(value, with),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, with)),
        _ => {}
    }
}
