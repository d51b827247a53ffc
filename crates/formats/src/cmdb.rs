//! A CMDB file: CIs and relations by name, in YAML or JSON. One shape for `ci import`, `replay --cmdb`, scenarios
//! and `POST /api/v1/cmdb`:
//!
//! ```yaml
//! cis:
//!   - { name: web-1, class: server, environment: test, attributes: { volume_kind: lvm } }
//!   - { name: db-1, class: database, external_ids: [10.0.0.7] }
//! relations:
//!   - { from: web-1, kind: depends_on, to: db-1 }
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use paramedic_model::{Attribute, Ci, CmdbDelta, Id, OperationalStatus, Relation, Timestamp};
use serde::Deserialize;
use serde_json::Value;

/// The largest file, in bytes.
const LARGEST: usize = 64 << 20;
/// The longest name, identifier or kind, in bytes.
const LONGEST_NAME: usize = 200;

/// A CMDB file as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CmdbFile {
    /// Who says so; the caller may know better.
    #[serde(default)]
    pub by: Option<String>,
    /// Of which scope; the caller may know better.
    #[serde(default)]
    pub scope: Option<String>,
    /// CIs to add or to update.
    #[serde(default)]
    pub cis: Vec<CiEntry>,
    /// Relations to add.
    #[serde(default)]
    pub relations: Vec<RelationEntry>,
}

/// One CI as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CiEntry {
    /// Unique within its class.
    pub name: String,
    /// Such as `server`.
    pub class: String,
    /// Other identifiers under which events may name it.
    #[serde(default)]
    pub external_ids: Vec<String>,
    /// `production`, `test`...
    #[serde(default)]
    pub environment: Option<String>,
    /// 1 most .. 4 least.
    #[serde(default)]
    pub criticality: Option<u8>,
    /// Support team.
    #[serde(default)]
    pub owner: Option<String>,
    /// `operational`, `non_operational`, `repair_in_progress`, `dr_standby`, `ready`, `retired`.
    #[serde(default)]
    pub operational_status: Option<OperationalStatus>,
    /// Everything else.
    #[serde(default)]
    pub attributes: BTreeMap<String, Value>,
}

/// One relation as written, by names or external ids.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelationEntry {
    /// The dependent, the contained...
    pub from: String,
    /// `depends_on`, `runs_on`...
    pub kind: String,
    /// The depended-on, the container...
    pub to: String,
}

/// Finds a CI of the CMDB by its name or external id; nothing where none or several have it.
pub type Known<'a> = dyn Fn(&str) -> Option<Id> + 'a;

/// Reads a CMDB file and resolves its names, within the file or by `known`.
///
/// # Errors
/// Names the entry, and says what is wrong with it.
pub fn parse(text: &str, scope: &str, by: &str, at: Timestamp, known: &Known<'_>) -> Result<CmdbDelta, String> {
    CmdbFile::read(text)?.delta(scope, by, at, known)
}

impl CmdbFile {
    /// Reads the shape, from YAML or JSON.
    ///
    /// # Errors
    /// With line and column.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.len() > LARGEST {
            return Err(format!("the CMDB file is larger than {LARGEST} bytes"));
        }
        let read = if text.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
        {
            serde_json::from_str(text).map_err(|e| e.to_string())
        } else {
            serde_yaml::from_str(text).map_err(|e| e.to_string())
        };
        read.map_err(|e| format!("the CMDB file is not as it should be: {e}"))
    }

    /// What it says, as a change of the scope's CMDB. Attributes get the provenance `import:BY`.
    ///
    /// # Errors
    /// Names the entry, and says what is wrong with it.
    pub fn delta(&self, scope: &str, by: &str, at: Timestamp, known: &Known<'_>) -> Result<CmdbDelta, String> {
        let (delta, problems) = self.resolve(scope, by, at, known);
        problems.first().map_or(Ok(delta), |first| Err(first.to_string()))
    }

    /// As [`Self::delta`], with everything that is wrong; the delta lacks those entries. Relations are looked at when
    /// every CI is right.
    pub fn resolve(&self, scope: &str, by: &str, at: Timestamp, known: &Known<'_>) -> (CmdbDelta, Vec<EntryProblem>) {
        let (mut names, mut problems) = (Names::default(), Vec::new());
        let mut cis = Vec::with_capacity(self.cis.len());
        for (index, entry) in self.cis.iter().enumerate() {
            match entry.ci(scope, by, at).and_then(|ci| names.add(&ci).map(|()| ci)) {
                Ok(ci) => cis.push(ci),
                Err(why) => problems.push(EntryProblem { list: "cis", index, name: Some(clip(&entry.name)), why }),
            }
        }
        let mut relations = BTreeSet::new();
        let resolved = self.relations.iter().enumerate().filter(|_| problems.is_empty());
        let resolved: Vec<_> = resolved.map(|(index, entry)| (index, entry.relation(&names, known))).collect();
        for (index, relation) in resolved {
            match relation {
                Ok(relation) => _ = relations.insert(relation),
                Err(why) => problems.push(EntryProblem { list: "relations", index, name: None, why }),
            }
        }
        (CmdbDelta { by: by.to_owned(), cis, relations: relations.into_iter().collect() }, problems)
    }
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryProblem {
    /// `cis` or `relations`.
    pub list: &'static str,
    /// Which entry of the list, from 0.
    pub index: usize,
    /// Of a CI.
    pub name: Option<String>,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for EntryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { list, index, name, why } = self;
        match name {
            Some(name) => write!(f, "{list}[{index}] ({name:?}): {why}"),
            None => write!(f, "{list}[{index}]: {why}"),
        }
    }
}

impl CiEntry {
    fn ci(&self, scope: &str, by: &str, at: Timestamp) -> Result<Ci, String> {
        name("name", &self.name)?;
        name("class", &self.class)?;
        self.external_ids.iter().try_for_each(|id| name("external_ids", id))?;
        if let Some(criticality) = self.criticality.filter(|c| !(1..=4).contains(c)) {
            return Err(format!("criticality {criticality}: 1 most to 4 least"));
        }
        let source = format!("import:{by}");
        let attribute = |(key, value): (&String, &Value)| {
            (key.clone(), Attribute { value: value.clone(), source: source.clone(), at })
        };
        Ok(Ci {
            id: Ci::id_of(scope, &self.class, &self.name),
            class: self.class.clone(),
            name: self.name.clone(),
            external_ids: self.external_ids.clone(),
            environment: self.environment.clone(),
            criticality: self.criticality,
            owner: self.owner.clone(),
            operational_status: self.operational_status,
            attributes: self.attributes.iter().map(attribute).collect(),
        })
    }
}

impl RelationEntry {
    fn relation(&self, names: &Names, known: &Known<'_>) -> Result<Relation, String> {
        name("kind", &self.kind)?;
        let from = names.find("from", &self.from, known)?;
        let to = names.find("to", &self.to, known)?;
        if from == to {
            return Err(format!("{:?} cannot stand in a relation to itself", clip(&self.from)));
        }
        Ok(Relation { from, kind: self.kind.clone(), to })
    }
}

/// Which CIs of the file have an identifier.
#[derive(Default)]
struct Names {
    by_identifier: BTreeMap<String, BTreeSet<Id>>,
    ids: BTreeSet<Id>,
}

impl Names {
    fn add(&mut self, ci: &Ci) -> Result<(), String> {
        if !self.ids.insert(ci.id) {
            return Err(format!("{} {:?} stands in the file twice", ci.class, clip(&ci.name)));
        }
        for identifier in std::iter::once(&ci.name).chain(&ci.external_ids) {
            self.by_identifier.entry(identifier.clone()).or_default().insert(ci.id);
        }
        Ok(())
    }

    /// One CI and no other, of the file and the CMDB together: there is never a pick.
    fn find(&self, member: &str, identifier: &str, known: &Known<'_>) -> Result<Id, String> {
        let mut ids = self.by_identifier.get(identifier).cloned().unwrap_or_default();
        ids.extend(known(identifier));
        let shown = clip(identifier);
        match (ids.len(), ids.pop_first()) {
            (1, Some(id)) => Ok(id),
            (0, _) => Err(format!("`{member}` {shown:?} is in neither the file nor, once, the CMDB")),
            (n, _) => Err(format!("`{member}` {shown:?} names {n} CIs; none is picked")),
        }
    }
}

fn name(member: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("`{member}` is empty"));
    }
    if text.len() > LONGEST_NAME || text.chars().any(char::is_control) {
        return Err(format!("`{member}` must be at most {LONGEST_NAME} bytes, without control characters"));
    }
    Ok(())
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Parts of at most `most` changes each, CIs first; together they say the same. Nothing has no part.
pub fn split(delta: CmdbDelta, most: usize) -> Vec<CmdbDelta> {
    let most = most.max(1);
    let mut parts: Vec<CmdbDelta> = Vec::new();
    let part = || CmdbDelta { by: delta.by.clone(), cis: vec![], relations: vec![] };
    let full = |parts: &[CmdbDelta]| parts.last().is_none_or(|p| p.cis.len() + p.relations.len() >= most);
    for ci in delta.cis {
        if full(&parts) {
            parts.push(part());
        }
        if let Some(last) = parts.last_mut() {
            last.cis.push(ci);
        }
    }
    for relation in delta.relations {
        if full(&parts) {
            parts.push(part());
        }
        if let Some(last) = parts.last_mut() {
            last.relations.push(relation);
        }
    }
    parts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILE: &str = "
cis:
  - { name: web-1, class: server, environment: test, attributes: { volume_kind: lvm, cores: 4 } }
  - { name: db-1, class: database, external_ids: [10.0.0.7], operational_status: operational, criticality: 1 }
relations:
  - { from: web-1, kind: depends_on, to: 10.0.0.7 }
  - { from: web-1, kind: runs_on, to: host-1 }
";

    fn host(name: &str) -> Option<Id> {
        (name == "host-1").then(|| Ci::id_of("default", "host", "host-1"))
    }

    fn read(text: &str) -> Result<CmdbDelta, String> {
        parse(text, "default", "ann", Timestamp::from_secs(1), &host)
    }

    #[test]
    fn names_are_resolved_within_the_file_and_in_the_cmdb() {
        let delta = read(FILE).unwrap();
        let web = &delta.cis[0];
        assert_eq!(web.id, Ci::id_of("default", "server", "web-1"));
        assert_eq!(web.attributes["volume_kind"].source, "import:ann");
        assert_eq!(web.attributes["cores"].value, 4);
        let to: BTreeSet<Id> = delta.relations.iter().map(|r| r.to).collect();
        assert_eq!(to, [delta.cis[1].id, host("host-1").unwrap()].into());
        assert_eq!(read("cis: [{name: 1.10, class: c}]").unwrap().cis[0].name, "1.10", "as written");
        let json = r#"{"cis": [{"name": "web-1", "class": "server"}]}"#;
        assert_eq!(read(json).unwrap().cis[0].id, web.id);
    }

    #[test]
    fn a_mistake_is_told_with_its_entry() {
        for (text, told) in [
            ("cis: [{name: a}]", "cis[0]: missing field `class`"),
            ("cis: [{name: a, class: c, colour: red}]", "unknown field `colour`"),
            (r#"{"cis": [{"name": 7, "class": "c"}]}"#, "invalid type: integer `7`, expected a string at line 1"),
            ("cis: [{name: '', class: c}]", "cis[0] (\"\"): `name` is empty"),
            ("cis: [{name: a, class: c}, {name: a, class: c}]", "cis[1] (\"a\"): c \"a\" stands in the file twice"),
            ("cis: [{name: a, class: c, criticality: 9}]", "criticality 9: 1 most to 4 least"),
            ("cis: [{name: a, class: c, operational_status: up}]", "unknown variant `up`"),
            ("relations: [{from: a, kind: depends_on, to: b}]", "relations[0]: `from` \"a\" is in neither"),
            (
                "{cis: [{name: a, class: c}, {name: a, class: d}, {name: b, class: c}], relations: [{from: a, kind: k, to: b}]}",
                "relations[0]: `from` \"a\" names 2 CIs; none is picked",
            ),
            ("{cis: [{name: a, class: c}], relations: [{from: a, kind: k, to: a}]}", "a relation to itself"),
            ("cis: [", "not as it should be"),
        ] {
            let e = read(text).unwrap_err();
            assert!(e.contains(told), "{text}: {e}");
        }
    }

    #[test]
    fn parts_say_together_what_the_whole_says() {
        let delta = read(FILE).unwrap();
        for most in 1..6 {
            let parts = split(delta.clone(), most);
            assert!(parts.iter().all(|p| p.cis.len() + p.relations.len() <= most));
            assert_eq!(parts.iter().flat_map(|p| p.cis.clone()).collect::<Vec<_>>(), delta.cis);
            assert_eq!(parts.iter().flat_map(|p| p.relations.clone()).collect::<Vec<_>>(), delta.relations);
        }
        assert!(split(CmdbDelta::default(), 10).is_empty());
    }
}
