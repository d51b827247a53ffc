//! The CI that a rule is about.

use paramedic_model::{Ci, Cmdb, Event};

use crate::{AboutSpec, ExprIx, Rule, Spread};

/// The CI that a rule is about, in a scope's CMDB; `name` evaluates the expression that names one, which may read the
/// event's own CI.
///
/// # Errors
/// Says why there is none, or that there are several: none is picked.
pub fn about_of<'c>(
    rule: &Rule,
    scope: &str,
    event: &Event<'_>,
    cmdb: &'c Cmdb,
    name: impl FnOnce(ExprIx, Option<&'c Ci>) -> Result<String, String>,
) -> Result<&'c Ci, String> {
    let own = || cmdb.identify(&event.ci).map_err(|e| e.to_string());
    match &rule.about {
        None => own(),
        Some(AboutSpec::Named { class, name: expr }) => {
            let name = name(*expr, own().ok())?;
            if let Some(class) = class {
                let ci = cmdb.get(Ci::id_of(scope, class, &name));
                return ci.ok_or_else(|| format!("no {class} is named {name:?}"));
            }
            ci_of(cmdb, &name)
        }
        Some(AboutSpec::Related { relation, role }) => related(cmdb, own()?, relation, role.as_deref()),
    }
}

/// A CI by what an expression gave: the id of one that it has looked up, or a name.
///
/// # Errors
/// When none or several are meant.
pub fn ci_of<'c>(cmdb: &'c Cmdb, name: &str) -> Result<&'c Ci, String> {
    match name.parse().ok().and_then(|id| cmdb.get(id)) {
        Some(ci) => Ok(ci),
        None => cmdb.named(name).map_err(|e| e.to_string()),
    }
}

/// The CIs of a spread, each once, in the order given.
///
/// # Errors
/// When one of them is unknown or ambiguous, or there are more than a spread may have: it is all of them, or none.
pub fn cis_of<'c>(cmdb: &'c Cmdb, names: &[String]) -> Result<Vec<&'c Ci>, String> {
    let most = Spread::MAX_TARGETS;
    if names.len() > most {
        return Err(format!("it has {} targets; a spread has {most} at most", names.len()));
    }
    let mut found: Vec<&Ci> = Vec::with_capacity(names.len());
    for name in names {
        let ci = ci_of(cmdb, name)?;
        if !found.iter().any(|known| known.id == ci.id) {
            found.push(ci);
        }
    }
    Ok(found)
}

fn related<'c>(cmdb: &'c Cmdb, from: &Ci, relation: &str, role: Option<&str>) -> Result<&'c Ci, String> {
    let of_kind = cmdb.relations().filter(|r| r.kind == relation);
    let others = of_kind.filter_map(|r| match (r.from == from.id, r.to == from.id) {
        (true, _) => Some(r.to),
        (_, true) => Some(r.from),
        _ => None,
    });
    let plays =
        |ci: &&Ci| role.is_none_or(|role| ci.attributes.get("role").is_some_and(|a| a.value.as_str() == Some(role)));
    let found: Vec<&Ci> = others.filter_map(|id| cmdb.get(id)).filter(plays).collect();
    match found.as_slice() {
        [one] => Ok(one),
        _ => Err(format!("{} CIs are related to {} by {relation:?}; none is picked", found.len(), from.name)),
    }
}
