//! Targets: the names or ids of CIs, to be looked up exactly.

use std::collections::BTreeSet;

use rhai::{Array, Dynamic};
use serde_json::Value;

use super::{Compiled, Evaluator, visible};
use crate::script::json::{from_json, to_json};
use crate::script::objects::CiObject;
use crate::script::runtime::{Lazy, Named};
use crate::{Ctx, EvalError, ExprIx, RemedyStep};

impl Evaluator {
    /// A target: the name or id of a CI, to be looked up exactly.
    ///
    /// # Errors
    /// When it fails, is missing, or is neither a text nor a CI; a list with any number but one of them is an error, too.
    pub fn target(&mut self, expr: ExprIx, ctx: &Ctx<'_>) -> Result<String, EvalError> {
        let mut all = self.targets(expr, ctx)?;
        match (all.pop(), all.len()) {
            (Some(one), 0) => Ok(one),
            (_, others) => {
                let why = format!("`{}` gave {} CIs; expected one", self.text_of(expr), others + 1);
                Err(self.unusable(expr, "target", why))
            }
        }
    }

    /// The targets of a remedy whose target is computed so: one, or those of a spread.
    ///
    /// # Errors
    /// As [`Evaluator::target`] and [`Evaluator::targets`].
    pub fn targets_of(&mut self, step: &RemedyStep, expr: ExprIx, ctx: &Ctx<'_>) -> Result<Vec<String>, EvalError> {
        match step.spread {
            Some(_) => self.targets(expr, ctx),
            None => self.target(expr, ctx).map(|name| vec![name]),
        }
    }

    /// The names or ids of CIs, of a list or of one alone: each once, and at least one. A list of CIs is in the order of
    /// their names, for the CMDB's has no meaning; a list of texts in the order given.
    ///
    /// # Errors
    /// When it fails, is missing or empty, or has something in it that is neither a text nor a CI.
    pub fn targets(&mut self, expr: ExprIx, ctx: &Ctx<'_>) -> Result<Vec<String>, EvalError> {
        let found = match self.exprs.get(expr.0 as usize) {
            Some(Compiled::Script(ast)) => {
                let named = Named { visible: visible(&self.set, expr), bound: ctx.names, own_incident: false };
                let (lazy, around) = (&mut Lazy::default(), ctx.around());
                match self.runtime.value_with(ast, ctx.event, lazy, Some(&around), named) {
                    Ok(value) => of_script(&value),
                    Err(fault) => return Err(self.failed(expr, "target", fault)),
                }
            }
            _ => of_script(&from_json(&self.eval_as(expr, "target", ctx)?)),
        };
        match found {
            Ok(None) => Err(EvalError::Missing(self.text_of(expr))),
            Ok(Some(names)) if names.is_empty() => {
                Err(EvalError::Missing(format!("a CI in the list of `{}`", self.text_of(expr))))
            }
            Ok(Some(mut names)) => {
                let mut seen = BTreeSet::new();
                names.retain(|name| seen.insert(name.clone()));
                Ok(names)
            }
            Err(other) => {
                let why = format!("`{}` gave {other}; expected the name of a CI", self.text_of(expr));
                Err(self.unusable(expr, "target", why))
            }
        }
    }
}

/// The names in a value, if it is there; an error is what is none.
fn of_script(value: &Dynamic) -> Result<Option<Vec<String>>, String> {
    match value.read_lock::<Array>() {
        Some(items) => {
            let cis: Option<Vec<CiObject>> = items.iter().map(|item| item.clone().try_cast()).collect();
            match cis {
                Some(mut cis) => {
                    cis.sort_by_cached_key(|ci| (ci.name(), ci.id));
                    Ok(Some(cis.iter().map(|ci| ci.id.to_string()).collect()))
                }
                None => items.iter().map(name).collect::<Result<_, _>>().map(Some),
            }
        }
        None if value.is_unit() => Ok(None),
        None => name(value).map(|one| Some(vec![one])),
    }
}

fn name(value: &Dynamic) -> Result<String, String> {
    if let Some(ci) = value.read_lock::<CiObject>() {
        return Ok(ci.id.to_string());
    }
    match to_json(value) {
        Ok(Value::String(name)) if !name.is_empty() => Ok(name),
        Ok(Value::Null) => Err("a list with nothing in one of its places".to_owned()),
        Ok(other) => Err(other.to_string()),
        Err(_) => Err(value.type_name().to_owned()),
    }
}
