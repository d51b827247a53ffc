//! From Rhai's syntax tree to the pure subset. What is not in it stays with Rhai.

use rhai::{AST, ASTFlags, ASTNode, BinaryExpr, Expr, FnCallExpr, Position, Stmt};

use super::sandbox::constant;
use crate::condition::{Cond, Kinds, Lit, Term, Where};
use crate::value::{Network, One, Op, Path, Pattern, Two};

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

/// `base.f(x).g()`: what is called on, and the calls in order. The base is a field of the event, or an expression.
struct Calls<'a> {
    base: Base<'a>,
    calls: Vec<&'a FnCallExpr>,
}

enum Base<'a> {
    Path(Path),
    /// `event.labels`, `event.annotations`.
    Texts(fn(String) -> Path),
    Expr(&'a Expr),
}

fn calls(expr: &Expr) -> Option<Calls<'_>> {
    let (pair, mut elvis, mut ends, mut by_index) = match expr {
        Expr::Dot(pair, flags, _) => (pair, is_elvis(*flags), false, false),
        Expr::Index(pair, flags, _) => (pair, false, flags.contains(ASTFlags::BREAK), true),
        _ => return None,
    };
    let (mut names, mut calls) = (Vec::new(), Vec::new());
    let mut rest = &pair.rhs;
    loop {
        let (this, next) = match rest {
            Expr::Dot(pair, flags, _) if !ends => (&pair.lhs, Some((&pair.rhs, is_elvis(*flags), false, false))),
            Expr::Index(pair, flags, _) if !ends => {
                (&pair.lhs, Some((&pair.rhs, false, flags.contains(ASTFlags::BREAK), true)))
            }
            last => (last, None),
        };
        match this {
            // What `?.` calls is not called on what is missing, and gives that.
            Expr::MethodCall(call, _) if !by_index && !elvis => calls.push(&**call),
            name if calls.is_empty() => match seg(name, by_index) {
                Seg::Name(name, _) => names.push(name),
                Seg::Other => return None,
            },
            _ => return None,
        }
        match next {
            Some((after, was_elvis, was_last, was_index)) => {
                (rest, elvis, ends, by_index) = (after, was_elvis, was_last, was_index);
            }
            None => break,
        }
    }
    let base = match (&pair.lhs, names.as_slice()) {
        (base, []) => Base::Expr(base),
        (Expr::Variable(head, ..), ["labels"]) if head.1 == "event" => Base::Texts(Path::Label),
        (Expr::Variable(head, ..), ["annotations"]) if head.1 == "event" => Base::Texts(Path::Annotation),
        (Expr::Variable(head, ..), names) if head.1 == "event" => Base::Path(Path::of(names)?),
        _ => return None,
    };
    (!calls.is_empty()).then_some(Calls { base, calls })
}

fn is_elvis(flags: ASTFlags) -> bool {
    flags.contains(ASTFlags::NEGATED)
}

impl<'a> Calls<'a> {
    fn base(&self) -> Option<Term> {
        match &self.base {
            Base::Path(path) => Some(Term::Path(path.clone())),
            Base::Expr(expr) => term(expr),
            Base::Texts(_) => None,
        }
    }

    /// All calls but the last have given this.
    fn before_last(&self) -> Option<(Term, &'a FnCallExpr)> {
        let (last, before) = self.calls.split_last()?;
        let receiver =
            before.iter().try_fold(self.base()?, |receiver, call| value_of_call(&call.name, receiver, &call.args))?;
        Some((receiver, last))
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
                // Of `"x" in event.labels` too: it is this call.
                [Expr::Dot(pair, ..), Expr::StringConstant(name, _)] if call.name == "contains" => {
                    label_in(pair, name).or_else(|| test_of_call(&call.name, term(&call.args[0])?, &call.args[1..]))
                }
                [receiver, rest @ ..] if call.op_token.is_none() || call.name == "contains" => {
                    test_of_call(&call.name, term(receiver)?, rest)
                }
                _ => None,
            }
        }
        Expr::Dot(..) | Expr::Index(..) => {
            let calls = calls(expr)?;
            if let (Base::Texts(path), [call]) = (&calls.base, calls.calls.as_slice()) {
                return match call.args.as_slice() {
                    [Expr::StringConstant(name, _)] if call.name == "contains" => {
                        Some(Cond::Has(Term::Path(path(name.to_string()))))
                    }
                    _ => None,
                };
            }
            let (receiver, last) = calls.before_last()?;
            test_of_call(&last.name, receiver, &last.args)
        }
        _ => None,
    }
}

/// `"x" in event.labels`.
fn label_in(pair: &BinaryExpr, name: &str) -> Option<Cond> {
    match (&pair.lhs, &pair.rhs) {
        (Expr::Variable(head, ..), Expr::Property(texts, _)) if head.1 == "event" => {
            let path = match texts.2.as_str() {
                "labels" => Path::Label(name.to_owned()),
                "annotations" => Path::Annotation(name.to_owned()),
                _ => return None,
            };
            Some(Cond::Has(Term::Path(path)))
        }
        _ => None,
    }
}

const TEXT: Kinds = Kinds::TEXT.or(Kinds::MISSING);
const NUMBER: Kinds = Kinds::NUMBER.or(Kinds::MISSING);
/// A text among them is what a sender measured that is no number.
const MEASURE: Kinds = NUMBER.or(Kinds::TEXT);

/// A function that gives true or false.
fn test_of_call(name: &str, receiver: Term, args: &[Expr]) -> Option<Cond> {
    if !receiver.kinds().only(TEXT) {
        return None;
    }
    match (name, args) {
        ("is_empty", []) => Some(Cond::Empty(receiver)),
        ("matches", [pattern]) => {
            let pattern = Pattern::new(literal(pattern)?.as_text()?).ok()?;
            Some(Cond::Matches(receiver, pattern))
        }
        ("in_network", [network]) => {
            let network = Network::new(literal(network)?.as_text()?).ok()?;
            Some(Cond::InNetwork(receiver, network))
        }
        (name, [part]) => {
            let part = term(part).filter(|t| t.kinds().only(TEXT))?;
            Where::named(name).map(|place| Cond::Text(place, receiver, part))
        }
        _ => None,
    }
}

/// A function that gives a value.
fn value_of_call(name: &str, receiver: Term, args: &[Expr]) -> Option<Term> {
    match args {
        [] => {
            let function = One::named(name).filter(|f| *f != One::Negative)?;
            let takes = match function {
                One::Num => return Some(Term::One(function, Box::new(receiver))),
                _ if matches!(receiver, Term::Lit(_)) => return None,
                f if f.is_of_texts() => TEXT,
                _ => MEASURE,
            };
            receiver.kinds().only(takes).then(|| Term::One(function, Box::new(receiver)))
        }
        [other] => {
            let function = Two::named(name).filter(|f| !f.is_sign())?;
            two(function, receiver, term(other)?)
        }
        _ => None,
    }
}

/// Arithmetic. A text that is written out is none.
fn two(function: Two, a: Term, b: Term) -> Option<Term> {
    let takes = |t: &Term| match t {
        Term::Lit(_) => t.kinds().only(NUMBER),
        _ => t.kinds().only(MEASURE),
    };
    (takes(&a) && takes(&b)).then(|| Term::Two(function, Box::new(a), Box::new(b)))
}

/// What of the pure subset must hold where the expression does: it is asked before Rhai is.
pub(crate) fn necessary(expr: &Expr) -> Cond {
    if let Some(whole) = cond(expr) {
        return whole;
    }
    match expr {
        Expr::And(all, _) => Cond::And(all.iter().map(necessary).filter(|c| *c != Cond::Const(true)).collect()),
        Expr::Or(any, _) => {
            let sides: Vec<Cond> = any.iter().map(necessary).collect();
            let says_nothing = |c: &Cond| matches!(c, Cond::Const(true)) || *c == Cond::And(vec![]);
            if sides.iter().any(says_nothing) { Cond::Const(true) } else { Cond::Or(sides) }
        }
        _ => Cond::Const(true),
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
            let is_sign = call.op_token.is_some();
            match call.args.as_slice() {
                [only] if is_sign && call.name == "-" => {
                    let inner = term(only).filter(|t| t.kinds().only(MEASURE))?;
                    Some(Term::One(One::Negative, Box::new(inner)))
                }
                [a, b] if is_sign => two(Two::named(&call.name).filter(|f| f.is_sign())?, term(a)?, term(b)?),
                [receiver, rest @ ..] if !is_sign => value_of_call(&call.name, term(receiver)?, rest),
                _ => None,
            }
        }
        Expr::Dot(..) | Expr::Index(..) => {
            if let Some(path) = chain(expr).and_then(|c| c.path()) {
                return Some(Term::Path(path));
            }
            let (receiver, last) = calls(expr)?.before_last()?;
            value_of_call(&last.name, receiver, &last.args)
        }
        _ => None,
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

/// The fields of the event that an expression reads, and the values that are written in it; each once.
pub(crate) fn read_and_written(ast: &AST) -> (Vec<Path>, Vec<Lit>) {
    let (mut paths, mut literals): (Vec<Path>, Vec<Lit>) = (Vec::new(), Vec::new());
    ast.walk(&mut |nodes: &[ASTNode<'_>]| {
        let Some(ASTNode::Expr(expr)) = nodes.last() else { return true };
        let named = match expr {
            Expr::FnCall(call, _) => match function(call, "label") {
                Some(Expr::StringConstant(name, _)) => Some(Path::Label(name.to_string())),
                _ => None,
            },
            _ => chain(expr).filter(|chain| chain.head == "event").and_then(|chain| {
                let names: Vec<&str> = chain.names().iter().map(|(name, _)| *name).collect();
                Path::of(&names)
            }),
        };
        paths.extend(named.filter(|path| !paths.contains(path)));
        literals.extend(literal(expr).filter(|lit| !literals.contains(lit)));
        true
    });
    (paths, literals)
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
            "event.summary.contains(\"x\") || event.labels.x.starts_with(event.host)",
            "event.labels[\"k8s.app\"].ends_with(\"-db\")",
            "contains(event.summary, \"x\") && \"x\" in event.summary",
            "\"x\" in event.labels && event.annotations.contains(\"x\")",
            "event.summary.to_lower().contains(\"disk\") && event.ci.len() > 3",
            "(event.service ?? \"\").is_empty()",
            "event.value * 100 / event.threshold >= 90.0",
            "event.value - 5 > -event.threshold",
            "num(event.labels.code) % 100 == 4 && min(num(event.labels.a), event.value) < 3",
            "(event.value - event.threshold).abs() > 10 && num(event.labels.x).round() == 2",
            "event.summary.matches(\"^disk .* full$\") && matches(event.ci, \"web-[0-9]+\")",
            "in_network(event.labels.ip, \"10.0.0.0/8\") || event.ci.in_network(\"2001:db8::/32\")",
        ] {
            assert!(native(text).is_some(), "{text}");
        }
    }

    #[test]
    fn the_rest_stays_with_rhai() {
        for text in [
            "event.value.contains(\"x\")",
            "event.summary.split(\"-\").len() > 1",
            "event.summary.contains(5)",
            "event.ci + \"x\" == event.host",
            "event.summary.matches(event.host)",
            "event.labels[event.type] == \"a\"",
            "event.labels[event.type].len() == 1",
            "event.summary?.contains(\"x\")",
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
