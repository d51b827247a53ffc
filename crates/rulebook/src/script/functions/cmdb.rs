//! The CMDB.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use paramedic_model::{Id, NoSuchCi};
use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString};

use super::{Env, Family, Function, no_check};
use crate::script::cost::charge;
use crate::script::json::from_json;
use crate::script::objects::{CiObject, CmdbObject, val};
use crate::script::thresholds::THRESHOLD;
use crate::value::Op;

pub(super) const FAMILY: Family = Family { title: "The CMDB", functions: &FUNCTIONS, register, check: no_check };

const FUNCTIONS: [Function; 7] = [
    Function {
        name: "ci",
        signature: "ci(cmdb, text) -> CI",
        meaning: "The CI of that name or id, exactly; missing where there is none.",
        example: "!has(cmdb.ci(\"no-such-host\"))",
    },
    Function {
        name: "by_class",
        signature: "by_class(cmdb, text) -> list",
        meaning: "All CIs of a class, by id.",
        example: "cmdb.by_class(\"server\").len() == 0",
    },
    Function {
        name: "by_attribute",
        signature: "by_attribute(cmdb, text, any) -> list",
        meaning: "All CIs with that value of an attribute, by id.",
        example: "cmdb.by_attribute(\"rack\", \"r7\").len() == 0",
    },
    Function {
        name: "dependents",
        signature: "dependents(cmdb, CI) -> list",
        meaning: "What depends on it, one hop away.",
        example: "cmdb.dependents(about).len() == 0",
    },
    Function {
        name: "dependencies",
        signature: "dependencies(cmdb, CI) -> list",
        meaning: "What it depends on, one hop away.",
        example: "cmdb.dependencies(about).len() == 0",
    },
    Function {
        name: "within",
        signature: "within(cmdb, CI, text, number) -> list",
        meaning: "What it leads to by a relation in so many hops, nearest first; at most 10 hops.",
        example: "cmdb.within(about, \"depends_on\", 2).len() == 0",
    },
    Function {
        name: "threshold",
        signature: "threshold(text) -> number",
        meaning: "The site's threshold of that name: of the event's CI where that has its own, else the default. In conditions, too; not in members, `by` and `enrich`.",
        example: "event.value >= threshold(\"disk_used_pct\")",
    },
];

/// Farthest that `within` goes.
const HOPS: i64 = 10;

/// How many CIs or relations are looked at for one operation.
const LOOKED_AT: usize = 16;

fn register(engine: &mut Engine, env: &Env<'_>) {
    engine.register_fn("dependents", |cmdb: &mut CmdbObject, ci: CiObject| -> Array {
        cmdb.0.dependents(ci.id).map(|found| CiObject::in_cmdb(&cmdb.0, found)).collect()
    });
    engine.register_fn("dependencies", |cmdb: &mut CmdbObject, ci: CiObject| -> Array {
        cmdb.0.dependencies(ci.id).map(|found| CiObject::in_cmdb(&cmdb.0, found)).collect()
    });
    // An incident about no known CI has no neighbours either.
    engine.register_fn("dependents", |_: &mut CmdbObject, (): ()| Array::new());
    engine.register_fn("dependencies", |_: &mut CmdbObject, (): ()| Array::new());
    engine.register_fn("within", |_: &mut CmdbObject, (): (), _: Dynamic, _: Dynamic| Array::new());
    engine.register_fn("ci", |cmdb: &mut CmdbObject, name: ImmutableString| -> Result<Dynamic, Box<EvalAltResult>> {
        match cmdb.0.named(&name) {
            Ok(ci) => Ok(CiObject::in_cmdb(&cmdb.0, ci)),
            Err(NoSuchCi::Unknown(_) | NoSuchCi::Unnamed) => Ok(Dynamic::UNIT),
            Err(several) => Err(several.to_string().into()),
        }
    });
    engine.register_fn("ci", |_: &mut CmdbObject, (): ()| ());
    let left = Rc::clone(env.budget);
    engine.register_fn("by_class", move |cmdb: &mut CmdbObject, class: ImmutableString| -> Array {
        charge(&left, (cmdb.0.len() / LOOKED_AT) as u64);
        cmdb.0.cis().filter(|ci| ci.class == class.as_str()).map(|ci| CiObject::in_cmdb(&cmdb.0, ci)).collect()
    });
    let left = Rc::clone(env.budget);
    engine.register_fn("by_attribute", move |cmdb: &mut CmdbObject, name: ImmutableString, value: Dynamic| -> Array {
        charge(&left, (cmdb.0.len() / LOOKED_AT) as u64);
        let wanted = val(&value);
        let has = |ci: &&paramedic_model::Ci| {
            ci.attributes.get(name.as_str()).is_some_and(|a| Op::Eq.holds(&val(&from_json(&a.value)), &wanted))
        };
        cmdb.0.cis().filter(has).map(|ci| CiObject::in_cmdb(&cmdb.0, ci)).collect()
    });
    let (current, thresholds) = (Rc::clone(env.current), Rc::clone(&env.outside.thresholds));
    engine.register_fn(THRESHOLD, move |name: ImmutableString| -> Result<Dynamic, Box<EvalAltResult>> {
        let current = current.borrow();
        let event = current.as_ref().map(|event| &*event.0);
        thresholds.borrow().get(&name, event).map_err(Into::into)
    });
    let left = Rc::clone(env.budget);
    engine.register_fn("within", move |cmdb: &mut CmdbObject, ci: CiObject, relation: ImmutableString, hops: i64| {
        charge(&left, (cmdb.0.relations().count() / LOOKED_AT) as u64);
        within(cmdb, ci.id, &relation, hops)
    });
}

fn within(cmdb: &CmdbObject, from: Id, relation: &str, hops: i64) -> Array {
    let mut next: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
    for r in cmdb.0.relations().filter(|r| r.kind == relation) {
        next.entry(r.from).or_default().push(r.to);
    }
    let (mut seen, mut edge, mut found) = (BTreeSet::from([from]), vec![from], Array::new());
    for _ in 0..hops.clamp(0, HOPS) {
        let reached: BTreeSet<Id> = edge.iter().filter_map(|id| next.get(id)).flatten().copied().collect();
        edge = reached.into_iter().filter(|id| seen.insert(*id)).collect();
        found.extend(edge.iter().filter_map(|id| cmdb.0.get(*id)).map(|ci| CiObject::in_cmdb(&cmdb.0, ci)));
    }
    found
}
