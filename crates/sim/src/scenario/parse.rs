//! Reads scenarios, and what in them is written in our own formats: events, CIs and relations.

use std::collections::BTreeMap;

use paramedic_formats::cmdb::{CiEntry, CmdbFile, RelationEntry};
use paramedic_formats::{Message, event_schema, format};
use paramedic_model::{CmdbDelta, Event};
use paramedic_rulebook::diagnostics::did_you_mean;
use paramedic_rulebook::scenario::{Given, GivenCi, GivenRelation, Scenario, read};
use paramedic_rulebook::{Diagnostic, Gravity};
use serde_json::{Map, Value, json};

use super::places::Places;
use super::{BEGINNING, SOURCE};
use crate::DEFAULT_SCOPE;

/// A scenario that can be played.
pub(super) struct Scene {
    pub(super) scenario: Scenario,
    /// The CMDB that the scope begins with.
    pub(super) cmdb: CmdbDelta,
    /// By step.
    pub(super) events: BTreeMap<usize, Event<'static>>,
}

/// All scenarios of a file, or all that is wrong with them, by position.
pub(super) fn parse(file: &str, text: &str, places: &Places<'_>) -> Result<Vec<Scene>, Vec<Diagnostic>> {
    let (scenarios, found) = read(file, text);
    let mut formats = Formats { text, places, fields: Fields::known(), found };
    let scenes = scenarios.into_iter().map(|scenario| formats.scene(scenario)).collect();
    let mut found = formats.found;
    if found.is_empty() {
        return Ok(scenes);
    }
    found.sort_by(|a, b| a.place.cmp(&b.place));
    Err(found)
}

/// What an event has.
struct Fields {
    event: Map<String, Value>,
    ci: Map<String, Value>,
}

impl Fields {
    fn known() -> Self {
        let schema = event_schema();
        let of = |name: &str| {
            let properties = schema.pointer(&format!("/definitions/{name}/properties"));
            properties.and_then(Value::as_object).cloned().unwrap_or_default()
        };
        Self { event: of("event"), ci: of("ci") }
    }
}

struct Formats<'a> {
    text: &'a str,
    places: &'a Places<'a>,
    fields: Fields,
    found: Vec<Diagnostic>,
}

impl Formats<'_> {
    fn scene(&mut self, scenario: Scenario) -> Scene {
        let cmdb = self.cmdb(&scenario);
        let mut events = BTreeMap::new();
        for (index, step) in scenario.steps.iter().enumerate() {
            let Some(written) = &step.event else { continue };
            let path = format!("steps/{index}/event");
            let stamp = BEGINNING.plus(step.at);
            let mut written = written.clone();
            let source = match written.remove("source") {
                None => SOURCE.to_owned(),
                Some(Value::String(name)) if !name.is_empty() => name,
                Some(other) => {
                    let why = format!("expected the name of a source, found {other}");
                    self.error(scenario.document, &format!("{path}/source"), why, None);
                    continue;
                }
            };
            let known = self.unknown(scenario.document, &path, &written);
            written.entry("time").or_insert_with(|| json!(stamp));
            let bytes = Value::Object(written).to_string();
            let message = Message { source: &source, headers: &[], payload: Some(bytes.as_bytes()), stamp };
            let mut decoded = Vec::new();
            let Some(native) = format("paramedic") else { continue };
            match (native.decode)(message, &mut decoded) {
                Ok(()) => events.extend(decoded.pop().map(|event| (index, event.into_owned()))),
                // A field that is misspelt may be the one that is missing.
                Err(_) if !known => {}
                Err(why) => {
                    // Where it stands in the JSON that was made of it says nothing to the author.
                    let why = why.to_string();
                    let why = why.split_once(" at line 1 column ").map_or(why.as_str(), |(why, _)| why).to_owned();
                    let field = why.strip_prefix("field `").and_then(|rest| rest.split_once('`'));
                    let below = field.map(|(field, _)| format!("/{}", field.replace('.', "/"))).unwrap_or_default();
                    self.error(scenario.document, &format!("{path}{below}"), why, None);
                }
            }
        }
        Scene { scenario, cmdb, events }
    }

    /// Reports the fields that no event has; whether there are none.
    fn unknown(&mut self, document: usize, path: &str, event: &Map<String, Value>) -> bool {
        let ci = event.get("ci").and_then(Value::as_object);
        let own = event.keys().filter(|key| !self.fields.event.contains_key(*key));
        let mut unknown: Vec<_> =
            own.map(|key| ("an event", &self.fields.event, key, format!("{path}/{key}"))).collect();
        let of_ci = ci.into_iter().flat_map(Map::keys).filter(|key| !self.fields.ci.contains_key(*key));
        unknown.extend(of_ci.map(|key| ("an event's `ci`", &self.fields.ci, key, format!("{path}/ci/{key}"))));
        let told: Vec<_> = unknown
            .into_iter()
            .map(|(owner, known, key, path)| {
                let names = || known.keys().map(String::as_str);
                let help = did_you_mean(key, names())
                    .unwrap_or_else(|| format!("{owner} has {}", names().collect::<Vec<_>>().join(", ")));
                (path, format!("{owner} has no field `{key}`"), help)
            })
            .collect();
        let none = told.is_empty();
        for (path, message, help) in told {
            self.error(document, &path, message, Some(help));
        }
        none
    }

    fn cmdb(&mut self, scenario: &Scenario) -> CmdbDelta {
        let (delta, problems) = cmdb_file(&scenario.given).resolve(DEFAULT_SCOPE, "scenario", BEGINNING, &|_| None);
        for problem in problems {
            let path = format!("given/{}/{}", problem.list, problem.index);
            self.error(scenario.document, &path, problem.why, None);
        }
        delta
    }

    fn error(&mut self, document: usize, path: &str, message: String, help: Option<String>) {
        let place = self.places.at(document, path);
        self.found.push(Diagnostic::of(Gravity::Error, place, self.text, message, help));
    }
}

fn cmdb_file(given: &Given) -> CmdbFile {
    let ci = |ci: GivenCi| {
        let GivenCi { name, class, external_ids, environment, criticality, owner, operational_status, attributes } = ci;
        CiEntry { name, class, external_ids, environment, criticality, owner, operational_status, attributes }
    };
    let relation = |relation: GivenRelation| {
        let GivenRelation { from, kind, to } = relation;
        RelationEntry { from, kind, to }
    };
    CmdbFile {
        cis: given.cis.iter().cloned().map(ci).collect(),
        relations: given.relations.iter().cloned().map(relation).collect(),
        ..CmdbFile::default()
    }
}
