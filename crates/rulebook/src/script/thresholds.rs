//! `threshold("NAME")`: what a site sets, and a CI may have its own of. In a condition it is asked where the CMDB is known.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use paramedic_model::{Cmdb, Event, Measure};
use rhai::{AST, ASTNode, Dynamic, Expr, FnCallExpr, Position, Stmt};
use serde_json::Value;

use super::compile::{Finding, Role};
use super::json::from_json;
use super::member::{edit, with_conjuncts};
use super::native::expression;
use crate::Threshold;
use crate::condition::Lit;
use crate::diagnostics::did_you_mean;

/// The function's name.
pub(crate) const THRESHOLD: &str = "threshold";

/// What the function reads besides the event.
#[derive(Default)]
pub(crate) struct Thresholds {
    pub(crate) of_site: BTreeMap<String, Threshold>,
    /// While something is evaluated that may read it.
    pub(crate) cmdb: Option<Arc<Cmdb>>,
}

pub(crate) type SharedThresholds = Rc<RefCell<Thresholds>>;

impl Thresholds {
    /// The threshold of the CI that an event names; the site's, where that CI is not known, or has no such number.
    ///
    /// # Errors
    /// When the site has none of that name.
    pub(crate) fn get(&self, name: &str, event: Option<&Event<'_>>) -> Result<Dynamic, String> {
        let threshold = self.of_site.get(name).ok_or_else(|| format!("the site has no threshold {name:?}"))?;
        let ci = event.zip(self.cmdb.as_ref()).and_then(|(event, cmdb)| cmdb.identify(&event.ci).ok());
        let own = ci.and_then(|ci| number(&ci.attributes.get(&threshold.attribute)?.value));
        Ok(own.unwrap_or_else(|| from_json(&Value::Number(threshold.default.clone()))))
    }
}

/// A number, or the number that a text spells.
fn number(value: &Value) -> Option<Dynamic> {
    match value {
        Value::Number(_) => Some(from_json(value)),
        Value::String(text) => match Measure::parse(text.as_str().into()) {
            Measure::Int(i) => Some(i.into()),
            Measure::Float(f) => Some(f.into()),
            Measure::Text(_) => None,
        },
        _ => None,
    }
}

/// The defaults of the thresholds that a condition reads.
pub(crate) fn defaults(ast: &AST, of_site: &BTreeMap<String, Threshold>) -> Vec<Lit> {
    let all = calls(ast).into_iter().filter_map(|(name, ..)| of_site.get(&name?));
    all.filter_map(|threshold| match threshold.default.as_i64() {
        Some(i) => Some(Lit::Int(i)),
        None => threshold.default.as_f64().map(Lit::Float),
    })
    .collect()
}

/// The names of the thresholds that a condition reads, each once.
pub(crate) fn names_in(ast: &AST) -> Vec<String> {
    let mut names: Vec<String> = calls(ast).into_iter().filter_map(|(name, ..)| name).collect();
    names.sort();
    names.dedup();
    names
}

/// A condition with the default in the place of each threshold; `None` where it reads none.
pub(crate) fn with_defaults(ast: &AST, of_site: &BTreeMap<String, Threshold>) -> Option<AST> {
    let mut expr = expression(ast).filter(|expr| reads(expr))?.clone();
    edit(&mut expr, &mut |expr| {
        if let Expr::FnCall(call, pos) = expr
            && let (THRESHOLD, [Expr::StringConstant(name, _)]) = (call.name.as_str(), call.args.as_slice())
            && let Some(threshold) = of_site.get(name.as_str())
        {
            *expr = match threshold.default.as_i64() {
                Some(i) => Expr::IntegerConstant(i, *pos),
                None => Expr::FloatConstant(threshold.default.as_f64().unwrap_or_default().into(), *pos),
            };
        }
    });
    Some(AST::new([Stmt::Expr(expr.into())], ast.shared_lib().clone()))
}

/// Whether a condition reads a threshold.
pub(crate) fn thresholds_in(ast: &AST) -> bool {
    !calls(ast).is_empty()
}

/// A condition without the conjuncts that read a threshold; `None` where none does.
pub(crate) fn without_thresholds(ast: &AST) -> Option<AST> {
    let expr = expression(ast).filter(|expr| reads(expr))?;
    Some(with_conjuncts(ast, expr, &|part| !reads(part)))
}

fn reads(expr: &Expr) -> bool {
    how_often(expr) > 0
}

/// How often an expression reads a threshold, closures aside.
fn how_often(expr: &Expr) -> usize {
    let mut found = 0;
    expr.walk(&mut Vec::new(), &mut |nodes: &[ASTNode<'_>]| {
        found += usize::from(call(nodes).is_some());
        true
    });
    found
}

fn call<'a>(nodes: &[ASTNode<'a>]) -> Option<(&'a FnCallExpr, Position)> {
    match nodes.last()? {
        ASTNode::Expr(Expr::FnCall(call, pos) | Expr::MethodCall(call, pos))
        | ASTNode::Stmt(Stmt::FnCall(call, pos)) => (call.name == THRESHOLD).then_some((&**call, *pos)),
        _ => None,
    }
}

/// Calls anywhere, in closures too, with their arguments where these are texts that are written out.
fn calls(ast: &AST) -> Vec<(Option<String>, usize, Position)> {
    let mut found = Vec::new();
    ast.walk(&mut |nodes: &[ASTNode<'_>]| {
        if let Some((call, pos)) = call(nodes) {
            let name = match call.args.first() {
                Some(Expr::StringConstant(text, _)) => Some(text.to_string()),
                _ => None,
            };
            found.push((name, call.args.len(), pos));
        }
        true
    });
    found
}

/// What is wrong with the thresholds that an expression reads, whatever its role.
pub(crate) fn wrong(ast: &AST, of_site: &BTreeMap<String, Threshold>) -> Option<Finding> {
    calls(ast).into_iter().find_map(|(name, given, pos)| {
        let (Some(name), 1) = (name, given) else {
            let help = "write its name: `threshold(\"disk_used_pct\")`".to_owned();
            return Some(Finding::error(
                pos,
                "a threshold is read by its name, as a text that is written out",
                Some(help),
            ));
        };
        if of_site.contains_key(&name) {
            return None;
        }
        let known = || of_site.keys().map(String::as_str);
        let help = did_you_mean(&name, known()).unwrap_or_else(|| match of_site.is_empty() {
            true => {
                format!("thresholds stand in site.yaml: `thresholds: {{ {name}: {{ attribute: ..., default: 90 }} }}`")
            }
            false => format!("it has {}", known().collect::<Vec<_>>().join(", ")),
        });
        Some(Finding::error(pos, format!("the site has no threshold `{name}`"), Some(help)))
    })
}

/// Says of each threshold that it cannot stand here.
pub(crate) fn refused(ast: &AST, message: &str, help: &str) -> Vec<Finding> {
    let all = calls(ast).into_iter();
    all.map(|(_, _, pos)| Finding::error(pos, message, Some(help.to_owned()))).collect()
}

/// Thresholds where no CMDB is, or where it comes too late.
pub(crate) fn out_of_place(ast: &AST, role: Role, found: &mut Vec<Finding>) {
    let help = match role {
        Role::Value | Role::Question => return,
        Role::Condition if expression(ast).map(how_often) == Some(calls(ast).len()) => return,
        Role::Condition => "ask it outside of the closure: `event.value >= threshold(\"...\")`",
        Role::Part => "compare with it in `when`; a part of `by` says what is the same thing",
        Role::Enrichment => "compare with it in `when` of a rule: `event.value >= threshold(\"...\")`",
    };
    found.extend(refused(ast, "`threshold` reads the CMDB, which is not at hand here", help));
}
