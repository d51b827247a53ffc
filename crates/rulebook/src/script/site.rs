//! What the site file gives to expressions: lists, which become part of the expression, so that they can be indexed,
//! and functions.

use rhai::{AST, ASTNode, BinaryExpr, Dynamic, Engine, Expr, Map, Position, Scope, Stmt};
use serde_json::Value;

use super::compile::Finding;
use super::json::from_json;
use super::member::edit;
use super::names::Names;
use super::native::{chain, expression};
use super::thresholds::{self, THRESHOLD};
use crate::Site;
use crate::diagnostics::did_you_mean;
use crate::read::meaning::of_thresholds;

/// A site, compiled.
#[derive(Default)]
pub(crate) struct SiteCode {
    site: Site,
    functions: Option<AST>,
    /// Their names and numbers of parameters.
    pub(crate) names: Vec<(String, usize)>,
}

impl SiteCode {
    /// Of a checked site; what cannot be compiled is left out.
    pub(crate) fn new(engine: &Engine, site: &Site) -> Self {
        let functions = site.functions.as_deref().and_then(|text| engine.compile(text).ok());
        let names = functions.as_ref().map(names_of).unwrap_or_default();
        Self { site: site.clone(), functions, names }
    }

    /// The expression with the lists and functions that it uses.
    ///
    /// # Errors
    /// When the site has no such list.
    pub(crate) fn link(&self, ast: AST) -> Result<AST, Box<Finding>> {
        if let Some(finding) = self.wrong(&ast) {
            return Err(Box::new(finding));
        }
        let ast = self.inline(ast);
        let Some(functions) = &self.functions else { return Ok(ast) };
        let mut calls = false;
        ast.walk(&mut |nodes: &[ASTNode<'_>]| {
            if let Some(ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _))) = nodes.last() {
                calls |= self.names.iter().any(|(name, _)| *name == call.name);
            }
            true
        });
        Ok(if calls { functions.merge(&ast) } else { ast })
    }

    fn wrong(&self, ast: &AST) -> Option<Finding> {
        let mut found = None;
        ast.walk(&mut |nodes: &[ASTNode<'_>]| {
            let Some(ASTNode::Expr(expr)) = nodes.last() else { return true };
            let Some(chain) = chain(expr).filter(|c| c.head == "site") else { return true };
            let names = chain.names();
            let wrong = match names.as_slice() {
                [("lists", _), (name, _), ..] if self.site.lists.contains_key(*name) => None,
                [("lists", _), (name, pos), ..] => {
                    let known = || self.site.lists.keys().map(String::as_str);
                    let help = did_you_mean(name, known()).unwrap_or_else(|| match self.site.lists.is_empty() {
                        true => "lists stand in site.yaml: `lists: { sites: [fra, ams] }`".to_owned(),
                        false => format!("it has {}", known().collect::<Vec<_>>().join(", ")),
                    });
                    Some(Finding::error(*pos, format!("the site has no list `{name}`"), Some(help)))
                }
                _ => {
                    let help = "write `site.lists.NAME`".to_owned();
                    Some(Finding::error(expr.start_position(), "of `site` there are only its lists here", Some(help)))
                }
            };
            found = found.take().or(wrong);
            true
        });
        found.or_else(|| thresholds::wrong(ast, &self.site.thresholds))
    }

    fn inline(&self, ast: AST) -> AST {
        if self.site.lists.is_empty() || expression(&ast).is_none() {
            return ast;
        }
        let mut expr = match expression(&ast) {
            Some(expr) => expr.clone(),
            None => return ast,
        };
        edit(&mut expr, &mut |expr| {
            if let Some(with_list) = self.with_list(expr) {
                *expr = with_list;
            }
        });
        AST::new([Stmt::Expr(expr.into())], ast.shared_lib().clone())
    }

    /// `site.lists.NAME` and what follows it, with the list in its place.
    fn with_list(&self, expr: &Expr) -> Option<Expr> {
        let Expr::Dot(whole, ..) = expr else { return None };
        let (Expr::Variable(head, ..), Expr::Dot(lists, ..)) = (&whole.lhs, &whole.rhs) else { return None };
        let Expr::Property(property, _) = &lists.lhs else { return None };
        if head.1 != "site" || property.2 != "lists" {
            return None;
        }
        match &lists.rhs {
            Expr::Property(name, pos) => self.list(&name.2, *pos),
            Expr::Dot(rest, flags, pos) => {
                let Expr::Property(name, at) = &rest.lhs else { return None };
                let pair = BinaryExpr { lhs: self.list(&name.2, *at)?, rhs: rest.rhs.clone() };
                Some(Expr::Dot(pair.into(), *flags, *pos))
            }
            _ => None,
        }
    }

    fn list(&self, name: &str, pos: Position) -> Option<Expr> {
        let items = self.site.lists.get(name)?;
        Some(Expr::Array(items.iter().map(|item| constant(item, pos)).collect(), pos))
    }

    /// Binds `site`, for closures, whose bodies are not changed.
    pub(crate) fn bind(&self, scope: &mut Scope<'_>) {
        let lists: Map = self
            .site
            .lists
            .iter()
            .map(|(name, items)| (name.as_str().into(), from_json(&Value::Array(items.clone()))))
            .collect();
        let site: Map = [("lists".into(), Dynamic::from(lists))].into_iter().collect();
        scope.push_constant_dynamic("site", Dynamic::from(site));
    }

    /// What of the site an expression's meaning depends on.
    pub(crate) fn used_by(&self, code: &str) -> String {
        let mut used = String::new();
        if code.contains("site") && !self.site.lists.is_empty() {
            used.push_str(&serde_json::json!(self.site.lists).to_string());
        }
        if code.contains(THRESHOLD) && !self.site.thresholds.is_empty() {
            used.push_str(&of_thresholds(&self.site.thresholds).to_string());
        }
        if self.names.iter().any(|(name, _)| code.contains(name.as_str())) {
            used.push_str(self.site.functions.as_deref().unwrap_or_default());
        }
        used
    }
}

fn names_of(functions: &AST) -> Vec<(String, usize)> {
    let named = functions.iter_functions().filter(|f| !f.name.starts_with("anon$"));
    named.map(|f| (f.name.to_owned(), f.params.len())).collect()
}

fn constant(value: &Value, pos: Position) -> Expr {
    match value {
        Value::Bool(b) => Expr::BoolConstant(*b, pos),
        Value::String(text) => Expr::StringConstant(text.as_str().into(), pos),
        Value::Number(n) => match n.as_i64() {
            Some(i) => Expr::IntegerConstant(i, pos),
            None => Expr::FloatConstant(n.as_f64().unwrap_or_default().into(), pos),
        },
        _ => Expr::Unit(pos),
    }
}

/// Everything that is wrong with a site's functions.
pub(crate) fn check_functions(engine: &Engine, text: &str) -> Vec<Finding> {
    let ast = match engine.compile(text) {
        Ok(ast) => ast,
        Err(e) => {
            let help = "a function sees only its arguments: `fn is_web(name) { name.starts_with(\"web-\") }`";
            return vec![Finding::error(
                e.position(),
                format!("these are no functions: {}", e.err_type()),
                Some(help.into()),
            )];
        }
    };
    let names = names_of(&ast);
    let mut found = super::check::check_all(&ast, &Names { event: false, more: Vec::new() }, &names);
    let help = "give it to the function: `is_full(event.value, threshold(\"...\"))`";
    found.extend(thresholds::refused(&ast, "a function of the site sees only its arguments, and no CMDB", help));
    if let Some(stmt) = ast.statements().first() {
        let help = Some("put it into a function: `fn name(argument) { ... }`".to_owned());
        found.push(Finding::error(stmt.position(), "only functions stand here", help));
    }
    for (name, _) in names.iter().filter(|(name, _)| super::sandbox::FUNCTIONS.contains(&name.as_str())) {
        let message = format!("the language has a function `{name}` already");
        found.push(Finding::error(Position::new(1, 1), message, Some("give yours another name".to_owned())));
    }
    found
}
