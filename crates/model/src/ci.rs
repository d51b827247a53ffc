//! Configuration items, their relations, and exact identification.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{CiRef, Id, Timestamp};

/// An attribute's value with its provenance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// Any JSON value.
    pub value: Value,
    /// Who says so: an import, a run, a person.
    pub source: String,
    /// Since when.
    pub at: Timestamp,
}

/// ServiceNow's `operational_status` codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationalStatus {
    /// 1
    Operational,
    /// 2
    NonOperational,
    /// 3
    RepairInProgress,
    /// 4
    DrStandby,
    /// 5
    Ready,
    /// 6
    Retired,
}

impl OperationalStatus {
    /// ServiceNow's code.
    pub const fn code(self) -> u8 {
        self as u8 + 1
    }
}

/// A configuration item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ci {
    /// Digest of (scope, class, name).
    pub id: Id,
    /// Class, such as `server`.
    pub class: String,
    /// Unique within its class and scope.
    pub name: String,
    /// Other identifiers under which events may name it.
    #[serde(default)]
    pub external_ids: Vec<String>,
    /// `production`, `test`...
    #[serde(default)]
    pub environment: Option<String>,
    /// Business criticality, 1 most .. 4 least.
    #[serde(default)]
    pub criticality: Option<u8>,
    /// Support team.
    #[serde(default)]
    pub owner: Option<String>,
    /// Whether it works, as far as is known.
    #[serde(default)]
    pub operational_status: Option<OperationalStatus>,
    /// Everything else, with provenance. `last_remediation` and a playbook's facts are here.
    #[serde(default)]
    pub attributes: BTreeMap<String, Attribute>,
}

impl Ci {
    /// The identity of a CI.
    pub fn id_of(scope: &str, class: &str, name: &str) -> Id {
        Id::of(&json!(["ci", scope, class, name]))
    }
}

/// `from` stands in the relation to `to`: (web-1, depends_on, db-1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Relation {
    /// The dependent, the contained...
    pub from: Id,
    /// `depends_on`, `runs_on`, `contained_by`, `connected_to`...
    pub kind: String,
    /// The depended-on, the container...
    pub to: Id,
}

/// Why an identifier names no single CI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchCi {
    /// Nothing in the CMDB has that identifier.
    #[error("no CI is named {0:?}")]
    Unknown(String),
    /// Several have it; there is never a pick.
    #[error("{0:?} names {1} CIs; none is picked")]
    Ambiguous(String, usize),
    /// The event gives no identifier.
    #[error("the event names no CI")]
    Unnamed,
}

/// The CIs and relations of one scope, with look-ups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cmdb {
    cis: BTreeMap<Id, Ci>,
    by_identifier: BTreeMap<String, BTreeSet<Id>>,
    relations: BTreeSet<Relation>,
    reverse: BTreeSet<(Id, String, Id)>,
}

impl Cmdb {
    /// Adds a CI, or replaces the one with its id.
    pub fn put(&mut self, ci: Ci) {
        if let Some(old) = self.cis.remove(&ci.id) {
            for identifier in identifiers(&old) {
                if let Some(ids) = self.by_identifier.get_mut(identifier) {
                    ids.remove(&old.id);
                }
            }
        }
        for identifier in identifiers(&ci) {
            self.by_identifier.entry(identifier.to_owned()).or_default().insert(ci.id);
        }
        self.cis.insert(ci.id, ci);
    }

    /// Adds a relation; one that is there stays.
    pub fn relate(&mut self, relation: Relation) {
        self.reverse.insert((relation.to, relation.kind.clone(), relation.from));
        self.relations.insert(relation);
    }

    /// By id.
    pub fn get(&self, id: Id) -> Option<&Ci> {
        self.cis.get(&id)
    }

    /// All, by id.
    pub fn cis(&self) -> impl Iterator<Item = &Ci> {
        self.cis.values()
    }

    /// All relations, sorted.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.iter()
    }

    /// How many CIs.
    pub fn len(&self) -> usize {
        self.cis.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.cis.is_empty()
    }

    /// The CI with exactly this name or external id.
    ///
    /// # Errors
    /// When none or several have it.
    pub fn named(&self, identifier: &str) -> Result<&Ci, NoSuchCi> {
        let ids = self.by_identifier.get(identifier);
        match ids.map_or(0, BTreeSet::len) {
            1 => ids
                .and_then(|ids| ids.first())
                .and_then(|id| self.cis.get(id))
                .ok_or_else(|| NoSuchCi::Unknown(identifier.to_owned())),
            0 => Err(NoSuchCi::Unknown(identifier.to_owned())),
            n => Err(NoSuchCi::Ambiguous(identifier.to_owned(), n)),
        }
    }

    /// The CI that an event names, tried by each identifier as sent, best first; the first that is known decides.
    ///
    /// # Errors
    /// When none is known, or the first known one names several.
    pub fn identify(&self, ci: &CiRef<'_>) -> Result<&Ci, NoSuchCi> {
        let mut unknown = NoSuchCi::Unnamed;
        for identifier in ci.identifiers() {
            match self.named(identifier) {
                Err(NoSuchCi::Unknown(_)) => {
                    if unknown == NoSuchCi::Unnamed {
                        unknown = NoSuchCi::Unknown(identifier.to_owned());
                    }
                }
                decided => return decided,
            }
        }
        Err(unknown)
    }

    /// What this CI needs: `depends_on`, `runs_on`, `contained_by`, `hosted_on`, one hop.
    pub fn dependencies(&self, id: Id) -> impl Iterator<Item = &Ci> {
        self.relations
            .range(Relation { from: id, kind: String::new(), to: Id::default() }..)
            .take_while(move |r| r.from == id)
            .filter(|r| carries_failure(&r.kind))
            .filter_map(|r| self.cis.get(&r.to))
    }

    /// What needs this CI, one hop.
    pub fn dependents(&self, id: Id) -> impl Iterator<Item = &Ci> {
        self.reverse
            .range((id, String::new(), Id::default())..)
            .take_while(move |r| r.0 == id)
            .filter(|r| carries_failure(&r.1))
            .filter_map(|r| self.cis.get(&r.2))
    }
}

fn carries_failure(kind: &str) -> bool {
    matches!(kind, "depends_on" | "runs_on" | "contained_by" | "hosted_on")
}

fn identifiers(ci: &Ci) -> impl Iterator<Item = &str> {
    std::iter::once(ci.name.as_str()).chain(ci.external_ids.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, ids: &[&str]) -> Ci {
        Ci {
            id: Ci::id_of("default", "server", name),
            class: "server".into(),
            name: name.into(),
            external_ids: ids.iter().map(|s| (*s).to_owned()).collect(),
            environment: None,
            criticality: None,
            owner: None,
            operational_status: None,
            attributes: BTreeMap::new(),
        }
    }

    #[test]
    fn two_cis_with_one_identifier_are_an_error_and_never_a_pick() {
        let mut cmdb = Cmdb::default();
        cmdb.put(server("web-1", &["10.0.0.1"]));
        cmdb.put(server("web-2", &["10.0.0.1"]));
        assert_eq!(cmdb.named("web-1").unwrap().name, "web-1");
        assert_eq!(cmdb.named("10.0.0.1"), Err(NoSuchCi::Ambiguous("10.0.0.1".into(), 2)));
        cmdb.put(server("web-2", &[]));
        assert_eq!(cmdb.named("10.0.0.1").unwrap().name, "web-1");
    }

    #[test]
    fn relations_are_read_both_ways() {
        let mut cmdb = Cmdb::default();
        let (web, db) = (server("web", &[]), server("db", &[]));
        cmdb.relate(Relation { from: web.id, kind: "depends_on".into(), to: db.id });
        cmdb.relate(Relation { from: web.id, kind: "connected_to".into(), to: db.id });
        let (w, d) = (web.id, db.id);
        cmdb.put(web);
        cmdb.put(db);
        assert_eq!(cmdb.dependents(d).map(|c| c.name.as_str()).collect::<Vec<_>>(), ["web"]);
        assert_eq!(cmdb.dependencies(w).map(|c| c.name.as_str()).collect::<Vec<_>>(), ["db"]);
        assert_eq!(cmdb.dependents(w).count(), 0);
    }
}
