//! A member's condition: its event goes by `event` and by the member's name, and it may read earlier members.

use std::collections::BTreeSet;

use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::native::expression;

/// The parts of a member's condition, in which the member's name is `event`.
pub(crate) struct MemberAst {
    /// The whole.
    pub(crate) whole: AST,
    /// Of the conjuncts those that read no earlier member. With no earlier member read it is the whole.
    pub(crate) own: AST,
    /// Which earlier members are read, by position.
    pub(crate) reads: Vec<u8>,
}

/// Splits a condition that was compiled with the names of the members.
pub(crate) fn split<S: AsRef<str>>(ast: &AST, name: &str, earlier: &[S]) -> MemberAst {
    let whole = renamed(ast, name);
    let Some(expr) = expression(&whole) else {
        return MemberAst { own: whole.clone(), whole, reads: Vec::new() };
    };
    let names = mentioned(expr);
    let is_read = |e: &S| names.contains(e.as_ref());
    let reads: Vec<u8> = (0u8..).zip(earlier).filter(|(_, e)| is_read(e)).map(|(at, _)| at).collect();
    let own = if reads.is_empty() {
        whole.clone()
    } else {
        let names_none = |part: &Expr| {
            let names = mentioned(part);
            !earlier.iter().any(|e| names.contains(e.as_ref()))
        };
        with_conjuncts(&whole, expr, &names_none)
    };
    MemberAst { whole, own, reads }
}

/// The condition with only those conjuncts that are so; with none it holds.
pub(crate) fn with_conjuncts(whole: &AST, expr: &Expr, is_so: &dyn Fn(&Expr) -> bool) -> AST {
    let own = conjuncts(expr, is_so).unwrap_or(Expr::BoolConstant(true, Position::NONE));
    AST::new([Stmt::Expr(own.into())], whole.shared_lib().clone())
}

fn conjuncts(expr: &Expr, is_so: &dyn Fn(&Expr) -> bool) -> Option<Expr> {
    if let Expr::And(all, pos) = expr {
        let mut kept = all.clone();
        kept.clear();
        kept.extend(all.iter().filter_map(|part| conjuncts(part, is_so)));
        return match kept.len() {
            0 => None,
            1 => kept.pop(),
            _ => Some(Expr::And(kept, *pos)),
        };
    }
    is_so(expr).then(|| expr.clone())
}

/// The names that an expression reads. A closure's are among them: it takes them along.
pub(crate) fn mentioned(expr: &Expr) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    expr.walk(&mut Vec::new(), &mut |nodes: &[ASTNode<'_>]| {
        if let Some(ASTNode::Expr(Expr::Variable(name, ..))) = nodes.last() {
            names.insert(name.1.to_string());
        }
        true
    });
    names
}

fn renamed(ast: &AST, name: &str) -> AST {
    let Some(expr) = expression(ast) else { return ast.clone() };
    let mut expr = expr.clone();
    rename(&mut expr, name);
    AST::new([Stmt::Expr(expr.into())], ast.shared_lib().clone())
}

/// Makes `name` to `event`, outside of closures: what these take along is an argument.
fn rename(expr: &mut Expr, name: &str) {
    edit(expr, &mut |expr| match expr {
        Expr::Variable(variable, ..) if variable.1 == name => variable.1 = "event".into(),
        Expr::Stmt(block) => {
            for stmt in block.statements_mut().iter_mut() {
                let Stmt::Share(names) = stmt else { continue };
                names.iter_mut().filter(|(n, _)| n.name == name).for_each(|(n, _)| n.name = "event".into());
            }
        }
        _ => {}
    });
}

/// Changes an expression and all that it consists of, from the outside in; the bodies of closures stay.
pub(crate) fn edit(expr: &mut Expr, change: &mut dyn FnMut(&mut Expr)) {
    change(expr);
    match expr {
        Expr::Dot(pair, ..) | Expr::Index(pair, ..) => {
            edit(&mut pair.lhs, change);
            edit(&mut pair.rhs, change);
        }
        Expr::FnCall(call, _) | Expr::MethodCall(call, _) => call.args.iter_mut().for_each(|e| edit(e, change)),
        Expr::And(all, _) | Expr::Or(all, _) | Expr::Coalesce(all, _) => all.iter_mut().for_each(|e| edit(e, change)),
        Expr::Array(items, _) | Expr::InterpolatedString(items, _) => items.iter_mut().for_each(|e| edit(e, change)),
        Expr::Map(map, _) => map.0.iter_mut().for_each(|(_, e)| edit(e, change)),
        Expr::Stmt(block) => block.statements_mut().iter_mut().for_each(|stmt| {
            if let Stmt::Expr(inner) = stmt {
                edit(inner, change);
            }
        }),
        _ => {}
    }
}

/// A closure in a chain on a name may not read that name: Rhai holds it while the chain runs, and would fail.
pub(crate) fn held(ast: &AST) -> Vec<(String, Position)> {
    let mut found = Vec::new();
    ast.walk(&mut |nodes: &[ASTNode<'_>]| {
        if let Some(ASTNode::Expr(Expr::Dot(pair, ..) | Expr::Index(pair, ..))) = nodes.last()
            && let Expr::Variable(head, ..) = &pair.lhs
        {
            pair.rhs.walk(&mut Vec::new(), &mut |inner: &[ASTNode<'_>]| {
                if let Some(ASTNode::Stmt(Stmt::Share(names))) = inner.last() {
                    found.extend(
                        names.iter().filter(|(n, _)| n.name == head.1).map(|(n, _)| (n.name.to_string(), n.pos)),
                    );
                }
                true
            });
        }
        true
    });
    found
}
