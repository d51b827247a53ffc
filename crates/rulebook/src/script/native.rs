//! From Rhai's syntax tree to the pure subset. What is not in it stays with Rhai.

use rhai::{AST, ASTFlags, Expr, FnCallExpr, Position, Stmt};

use super::sandbox::constant;
use crate::condition::{Cond, Lit, Term};
use crate::value::{Op, Path};

/// One step of `head.a["b"].c()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Seg<'a> {
    /// `.a`, or `["a"]`.
    Name(&'a str, Position),
    /// A call, or an index that is computed.
    Other,
}

/// `head.a["b"]`.
pub(crate) struct Chain<'a> {
    pub(crate) head: &'a str,
    pub(crate) segs: Vec<Seg<'a>>,
}

impl<'a> Chain<'a> {
    /// The names up to the first call.
    pub(crate) fn names(&self) -> Vec<(&'a str, Position)> {
        self.segs.iter().map_while(|s| if let Seg::Name(n, p) = s { Some((*n, *p)) } else { None }).collect()
    }

    /// The field of the event, when the whole chain is one.
    pub(crate) fn path(&self) -> Option<Path> {
        let names = self.names();
        if self.head != "event" || names.len() != self.segs.len() {
            return None;
        }
        Path::of(&names.iter().map(|(n, _)| *n).collect::<Vec<_>>())
    }
}

/// The chain that an expression is, when it begins with a name.
pub(crate) fn chain(expr: &Expr) -> Option<Chain<'_>> {
    let (Expr::Dot(pair, ..) | Expr::Index(pair, ..)) = expr else { return None };
    let Expr::Variable(variable, ..) = &pair.lhs else { return None };
    let mut segs = Vec::new();
    follow(expr, &mut segs);
    Some(Chain { head: variable.1.as_str(), segs })
}

/// Chains nest to the right: `event.labels.x` is `event . (labels . x)`.
fn follow<'a>(expr: &'a Expr, segs: &mut Vec<Seg<'a>>) {
    let (pair, by_index, ends) = match expr {
        Expr::Dot(pair, ..) => (pair, false, false),
        Expr::Index(pair, flags, _) => (pair, true, flags.contains(ASTFlags::BREAK)),
        _ => return,
    };
    match &pair.rhs {
        Expr::Dot(next, ..) | Expr::Index(next, ..) if !ends => {
            segs.push(seg(&next.lhs, by_index));
            follow(&pair.rhs, segs);
        }
        last => segs.push(seg(last, by_index)),
    }
}

fn seg(expr: &Expr, by_index: bool) -> Seg<'_> {
    match expr {
        Expr::Property(property, pos) if !by_index => Seg::Name(property.2.as_str(), *pos),
        Expr::StringConstant(text, pos) if by_index => Seg::Name(text.as_str(), *pos),
        _ => Seg::Other,
    }
}

/// The one expression of a tree.
pub(crate) fn expression(ast: &AST) -> Option<&Expr> {
    match ast.statements() {
        [Stmt::Expr(expr)] => Some(expr),
        _ => None,
    }
}

/// The operator and sides of a comparison.
pub(crate) fn comparison(call: &FnCallExpr) -> Option<(Op, &Expr, &Expr)> {
    call.op_token.as_ref()?;
    let op = Op::from_sign(&call.name)?;
    match call.args.as_slice() {
        [a, b] => Some((op, a, b)),
        _ => None,
    }
}

/// The value and the list of `value in [..]`; Rhai swaps them into `contains(list, value)`.
pub(crate) fn membership(call: &FnCallExpr) -> Option<(&Expr, &[Expr])> {
    match call.args.as_slice() {
        [Expr::Array(items, _), value] if call.name == "contains" => Some((value, items)),
        _ => None,
    }
}

fn function<'a>(call: &'a FnCallExpr, name: &str) -> Option<&'a Expr> {
    match call.args.as_slice() {
        [only] if call.op_token.is_none() && call.name == name => Some(only),
        _ => None,
    }
}

/// The condition, if it is of the pure subset.
pub(crate) fn cond(expr: &Expr) -> Option<Cond> {
    match expr {
        Expr::BoolConstant(b, _) => Some(Cond::Const(*b)),
        Expr::And(all, _) => all.iter().map(cond).collect::<Option<_>>().map(Cond::And),
        Expr::Or(any, _) => any.iter().map(cond).collect::<Option<_>>().map(Cond::Or),
        Expr::FnCall(call, _) => {
            if let Some((op, a, b)) = comparison(call) {
                return Some(Cond::Cmp(op, term(a)?, term(b)?));
            }
            if let Some((value, items)) = membership(call) {
                return Some(Cond::In(term(value)?, items.iter().map(literal).collect::<Option<_>>()?));
            }
            if let Some(inner) = function(call, "has") {
                return term(inner).map(Cond::Has);
            }
            match call.args.as_slice() {
                [inner] if call.op_token.is_some() && call.name == "!" => cond(inner).map(|c| Cond::Not(Box::new(c))),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The conjuncts of a condition that are of the pure subset: they are asked before Rhai is.
pub(crate) fn conjuncts(expr: &Expr) -> Vec<Cond> {
    match expr {
        Expr::And(all, _) => all.iter().filter_map(cond).collect(),
        other => cond(other).into_iter().collect(),
    }
}

/// The value, if it is of the pure subset.
pub(crate) fn term(expr: &Expr) -> Option<Term> {
    if let Some(lit) = literal(expr) {
        return Some(Term::Lit(lit));
    }
    match expr {
        Expr::Coalesce(terms, _) => terms.iter().map(term).collect::<Option<_>>().map(Term::Coalesce),
        Expr::FnCall(call, _) => {
            if let Some(Expr::StringConstant(name, _)) = function(call, "label") {
                return Some(Term::Path(Path::Label(name.to_string())));
            }
            function(call, "num").and_then(term).map(|t| Term::Num(Box::new(t)))
        }
        _ => chain(expr)?.path().map(Term::Path),
    }
}

/// The value that is written out.
pub(crate) fn literal(expr: &Expr) -> Option<Lit> {
    match expr {
        Expr::BoolConstant(b, _) => Some(Lit::Bool(*b)),
        Expr::IntegerConstant(i, _) => Some(Lit::Int(*i)),
        Expr::FloatConstant(f, _) => Some(Lit::Float(**f)),
        Expr::CharConstant(c, _) => Some(Lit::Text(c.to_string())),
        Expr::StringConstant(t, _) => Some(Lit::Text(t.to_string())),
        Expr::Variable(name, ..) => constant(&name.1).cloned(),
        Expr::FnCall(call, _) => match call.args.as_slice() {
            [only] if call.op_token.is_some() && call.name == "-" => match literal(only)? {
                Lit::Int(i) => i.checked_neg().map(Lit::Int),
                Lit::Float(f) => Some(Lit::Float(-f)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::compile::{Compiler, Role};

    fn native(text: &str) -> Option<Cond> {
        let ast = Compiler::new().parse(text, Role::Condition).unwrap();
        cond(expression(&ast).unwrap())
    }

    #[test]
    fn the_pure_subset_is_taken_whole() {
        for text in [
            "event.type == \"a\" && event.value >= 90.0",
            "event[\"type\"] == \"a\"",
            "event.labels.mount in [\"/\", \"/var\"] || !(event.ci == \"x\")",
            "event.labels[\"k8s.app\"] == \"a\" && label(\"b\") != \"c\"",
            "num(event.labels.code) >= -5",
            "(event.labels.env ?? \"\") != \"test\"",
            "event.severity >= MAJOR && event.status == FIRING",
            "has(event.service) && !has(event.unit)",
            "event.type !in [\"a\"]",
            "event.kind == 'a'",
            "event?.labels?.x == \"1\"",
            "true",
        ] {
            assert!(native(text).is_some(), "{text}");
        }
    }

    #[test]
    fn the_rest_stays_with_rhai() {
        for text in [
            "event.summary.contains(\"x\")",
            "event.value + 1 > 2",
            "event.labels[event.type] == \"a\"",
            "event.labels[event.type].len() == 1",
            "\"x\" in event.summary",
        ] {
            assert!(native(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_chain_is_read_to_its_end() {
        let ast = Compiler::new().parse("event.labels[\"k8s.app\"] == \"a\"", Role::Condition).unwrap();
        let Expr::FnCall(call, _) = expression(&ast).unwrap() else { panic!() };
        assert_eq!(chain(&call.args[0]).unwrap().path(), Some(Path::Label("k8s.app".into())));
    }
}
