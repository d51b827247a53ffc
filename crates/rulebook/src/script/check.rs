//! What can be known to be wrong with an expression before any event comes.

use rhai::{AST, ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::compile::{Finding, Role};
use super::member::held;
use super::names::{Is, Names};
use super::native::{Chain, chain, comparison, expression, literal, membership, term};
use super::objects::CI_FIELDS;
use super::sandbox::FUNCTIONS;
use crate::condition::{Kinds, Lit, Term};
use crate::diagnostics::{Gravity, did_you_mean};
use crate::value::{Op, Path, Ty, field_names};

/// What is known of an expression's value.
struct Known {
    ty: Ty,
    may_be_missing: bool,
}

/// Everything that is wrong with an expression that sees an event.
#[cfg(test)]
pub(crate) fn check(ast: &AST, role: Role) -> Vec<Finding> {
    check_with(ast, role, &Names::EVENT, &[])
}

/// What is wrong with any part of a tree that sees these names, and may call these functions of the site.
pub(crate) fn check_all(ast: &AST, names: &Names, site: &[(String, usize)]) -> Vec<Finding> {
    let mut found = Vec::new();
    ast.walk(&mut |nodes: &[ASTNode<'_>]| {
        if let Some(ASTNode::Expr(expr)) = nodes.last() {
            visit(expr, names, site, &mut found);
        }
        if let Some(ASTNode::Stmt(Stmt::FnCall(call, pos))) = nodes.last() {
            call_by_name(call, 0, *pos, site, &mut found);
        }
        true
    });
    found
}

/// Everything that is wrong with an expression that sees these names, and may call these functions of the site.
pub(crate) fn check_with(ast: &AST, role: Role, names: &Names, site: &[(String, usize)]) -> Vec<Finding> {
    let mut found = check_all(ast, names, site);
    if !role.is_wide() {
        asks_nothing(ast, &mut found);
    }
    super::thresholds::out_of_place(ast, role, &mut found);
    for (name, pos) in held(ast) {
        let message = format!("a closure in a chain on `{name}` cannot read `{name}`: the chain holds it");
        let help = "compute the list first, or compare the other way round: `[\"a\", \"b\"].some(|x| x == event.type)`";
        found.push(Finding::error(pos, message, Some(help.to_owned())));
    }
    if matches!(role, Role::Condition | Role::Question)
        && let Some(expr) = expression(ast)
    {
        boolean(expr, &mut found);
    }
    found.sort_by_key(|f| (f.line, f.column));
    found.dedup();
    found
}

/// Whether the expression says anything about the event's status or phase.
pub(crate) fn mentions_status(ast: &AST) -> bool {
    let mut mentioned = false;
    ast.walk(&mut |nodes: &[ASTNode<'_>]| {
        if let Some(ASTNode::Expr(expr)) = nodes.last()
            && let Some(chain) = chain(expr)
            && chain.head == "event"
            && chain.names().first().is_some_and(|(n, _)| matches!(*n, "status" | "phase"))
        {
            mentioned = true;
        }
        true
    });
    mentioned
}

/// Whether the expression reads the event's value.
pub(crate) fn mentions_value(ast: &AST) -> bool {
    let mut mentioned = false;
    ast.walk(&mut |nodes: &[ASTNode<'_>]| {
        if let Some(ASTNode::Expr(expr)) = nodes.last() {
            mentioned |= chain(expr).and_then(|c| c.path()) == Some(Path::Value);
        }
        true
    });
    mentioned
}

/// Conditions are pure: what asks the engine or the calendar is no part of them.
fn asks_nothing(ast: &AST, found: &mut Vec<Finding>) {
    ast.walk(&mut |nodes: &[ASTNode<'_>]| {
        if let Some(ASTNode::Expr(Expr::FnCall(call, pos))) = nodes.last()
            && super::functions::ASKING.contains(&call.name.as_str())
        {
            let message = format!("`{}` is not known to a condition: it sees only the event", call.name);
            found.push(Finding::error(*pos, message, Some("ask it in `only_if`".to_owned())));
        }
        true
    });
}

fn visit(expr: &Expr, names: &Names, site: &[(String, usize)], found: &mut Vec<Finding>) {
    match expr {
        Expr::Dot(..) | Expr::Index(..) => {
            if let Some(chain) = chain(expr) {
                check_chain(&chain, names, found);
            }
        }
        Expr::FnCall(call, pos) => {
            if let Some((op, a, b)) = comparison(call) {
                compare(op, a, b, *pos, found);
            } else if let Some((value, items)) = membership(call) {
                items.iter().for_each(|item| compare(Op::Eq, value, item, item.start_position(), found));
            } else if call.op_token.is_none() {
                call_by_name(call, 0, *pos, site, found);
            }
        }
        Expr::MethodCall(call, pos) => call_by_name(call, 1, *pos, site, found),
        _ => {}
    }
}

fn call_by_name(call: &FnCallExpr, before: usize, pos: Position, site: &[(String, usize)], found: &mut Vec<Finding>) {
    let name = call.name.as_str();
    let of_site: Vec<usize> = site.iter().filter(|(n, _)| n == name).map(|(_, takes)| *takes).collect();
    let given = call.args.len() + before;
    if let Some(takes) = of_site.first() {
        if !of_site.contains(&given) {
            found.push(Finding::error(pos, format!("`{name}` takes {takes} arguments, and has {given}"), None));
        }
    } else if !FUNCTIONS.contains(&name) {
        let known = FUNCTIONS.into_iter().filter(|f| *f != "curry").chain(site.iter().map(|(n, _)| n.as_str()));
        let help = did_you_mean(name, known);
        found.push(Finding::error(pos, format!("there is no function `{name}`"), help));
    } else if matches!(name, "has" | "num" | "label") && call.args.len() != 1 {
        found.push(Finding::error(pos, format!("`{name}` takes one argument, and has {}", call.args.len()), None));
    } else if let Some((message, help)) = super::functions::check(call) {
        found.push(Finding::error(pos, message, help));
    }
}

fn check_chain(chain: &Chain<'_>, visible: &Names, found: &mut Vec<Finding>) {
    let names = chain.names();
    let is = if chain.head == "about" { Some(Is::Ci) } else { visible.get(chain.head) };
    match is {
        Some(Is::Event) => check_event_names(chain.head, &names, found),
        Some(Is::Ci) => {
            if let Some((name, pos)) = names.first()
                && !CI_FIELDS.contains(name)
            {
                let help = did_you_mean(name, CI_FIELDS).unwrap_or_else(|| {
                    format!("it has {}; everything else is in {}.attributes", CI_FIELDS.join(", "), chain.head)
                });
                found.push(Finding::error(*pos, format!("a CI has no field `{name}`"), Some(help)));
            }
        }
        Some(Is::Record(fields)) => {
            if let Some((name, pos)) = names.first()
                && !fields.contains(name)
            {
                let help = did_you_mean(name, fields.iter().copied())
                    .unwrap_or_else(|| format!("it has {}", fields.join(", ")));
                found.push(Finding::error(*pos, format!("`{}` has no field `{name}`", chain.head), Some(help)));
            }
        }
        Some(Is::Number | Is::Events | Is::Found) | None => {}
    }
}

fn check_event_names(head: &str, names: &[(&str, Position)], found: &mut Vec<Finding>) {
    let Some((first, pos)) = names.first() else { return };
    if !field_names().any(|n| n == *first) {
        let all: Vec<&str> = field_names().collect();
        let help = did_you_mean(first, field_names()).unwrap_or_else(|| {
            format!("it has {}; what a source sends besides is in {head}.labels.{first}", all.join(", "))
        });
        found.push(Finding::error(*pos, format!("an event has no field `{first}`"), Some(help)));
        return;
    }
    let deepest = if matches!(*first, "labels" | "annotations") { 2 } else { 1 };
    if let Some((extra, pos)) = names.get(deepest) {
        let owner: Vec<&str> = names[..deepest].iter().map(|(n, _)| *n).collect();
        let owner = format!("{head}.{}", owner.join("."));
        let help =
            (deepest == 2).then(|| format!("a name with a dot is written {head}.{first}[\"{}.{extra}\"]", names[1].0));
        found.push(Finding::error(*pos, format!("`{owner}` is one value and has no field `{extra}`"), help));
    }
}

fn known(expr: &Expr) -> Known {
    if matches!(expr, Expr::Unit(_)) {
        return Known { ty: Ty::Unit, may_be_missing: true };
    }
    if let Some(term) = term(expr) {
        return known_term(&term);
    }
    let ty = match expr {
        Expr::And(..) | Expr::Or(..) => Ty::Bool,
        Expr::FnCall(call, _) => {
            let is_bool = comparison(call).is_some()
                || membership(call).is_some()
                || matches!(call.name.as_str(), "!" | "has" | "contains" | "starts_with" | "ends_with");
            if is_bool { Ty::Bool } else { Ty::Unknown }
        }
        Expr::Dot(..) | Expr::Index(..) => match chain(expr) {
            Some(c) if c.head == "event" && c.segs.len() == 1 => match c.names().first() {
                Some(("labels" | "annotations", _)) => Ty::Texts,
                _ => Ty::Unknown,
            },
            _ => Ty::Unknown,
        },
        _ => Ty::Unknown,
    };
    Known { ty, may_be_missing: false }
}

fn known_term(term: &Term) -> Known {
    match term {
        Term::Coalesce(terms) => {
            let all: Vec<Known> = terms.iter().map(known_term).collect();
            let ty = all.first().map_or(Ty::Unknown, |k| k.ty);
            let ty = if all.iter().all(|k| k.ty == ty) { ty } else { Ty::Unknown };
            Known { ty, may_be_missing: all.iter().all(|k| k.may_be_missing) }
        }
        other => Known { ty: other.kinds().ty(), may_be_missing: other.kinds().may_be(Kinds::MISSING) },
    }
}

fn compare(op: Op, a: &Expr, b: &Expr, pos: Position, found: &mut Vec<Finding>) {
    let (ka, kb) = (known(a), known(b));
    let (left, right) = (show(a), show(b));
    let sign = op.sign();
    for (side, other) in [(&left, kb.ty), (&right, ka.ty)] {
        // A field of a CI, and no label or attribute of that name.
        let is_field = |name: &str| {
            let of = side.strip_suffix(name).filter(|_| other == Ty::Text);
            of.is_some_and(|of| !["labels", "annotations", "attributes"].iter().any(|texts| of.ends_with(texts)))
        };
        if is_field(".operational_status") {
            let help = "1 operational, 2 non-operational, 3 repair in progress, 4 DR standby, 5 ready, 6 retired";
            let message = format!("`{side}` is a number: compared with a text this is never true");
            return found.push(Finding::error(pos, message, Some(help.to_owned())));
        }
        if is_field(".criticality") {
            let message = format!("`{side}` is a number, 1 the most critical: compared with a text this is never true");
            return found.push(Finding::error(pos, message, Some(format!("write, for example, `{side} <= 2`"))));
        }
    }
    match (ka.ty, kb.ty) {
        (Ty::Unit, _) | (_, Ty::Unit) => {
            let other = if ka.ty == Ty::Unit { right } else { left };
            let fix = if op == Op::Ne { format!("has({other})") } else { format!("!has({other})") };
            let message = "every comparison with a missing value is false";
            found.push(Finding::error(pos, message, Some(format!("write `{fix}`"))));
        }
        (Ty::Texts, _) | (_, Ty::Texts) => {
            let help = "name one of them: event.labels.mount, event.labels[\"k8s.app\"]";
            found.push(Finding::error(pos, "labels are many values and do not compare", Some(help.to_owned())));
        }
        (Ty::Severity, Ty::Text | Ty::Number | Ty::Measure | Ty::Bool)
        | (Ty::Text | Ty::Number | Ty::Measure | Ty::Bool, Ty::Severity) => {
            let message = "a severity compares with INFO, WARNING, MINOR, MAJOR or CRITICAL, and with nothing else";
            found.push(Finding::error(pos, message, Some(severity_fix(op, a, b))));
        }
        (Ty::Text, Ty::Number) | (Ty::Number, Ty::Text) => {
            let message = "a text and a number do not compare: this is never true";
            found.push(Finding::error(pos, message, Some(number_fix(op, a, b, &ka))));
        }
        (Ty::Measure, Ty::Text) | (Ty::Text, Ty::Measure) => {
            let message = "a measured value is mostly a number; compared with a text this is true only where the sender sent a text";
            found.push(Finding::new(Gravity::Warning, pos, message, Some(number_fix(op, a, b, &ka))));
        }
        (Ty::Bool, Ty::Text | Ty::Number | Ty::Measure) | (Ty::Text | Ty::Number | Ty::Measure, Ty::Bool) => {
            found.push(Finding::error(pos, "true and false compare only with each other", None));
        }
        _ => {
            words(a, b, pos, found);
            if op == Op::Ne {
                for (side, known, other) in [(&left, &ka, &right), (&right, &kb, &left)] {
                    if known.may_be_missing {
                        let help = format!(
                            "if a missing one counts as different, write `({side} ?? {}) {sign} {other}`",
                            default(known.ty)
                        );
                        let message = format!("`{side}` may be missing, and then this is false");
                        found.push(Finding::new(Gravity::Warning, pos, message, Some(help)));
                        break;
                    }
                }
            }
        }
    }
}

fn default(ty: Ty) -> &'static str {
    match ty {
        Ty::Number | Ty::Measure => "0",
        Ty::Severity => "INFO",
        _ => "\"\"",
    }
}

fn severity_fix(op: Op, a: &Expr, b: &Expr) -> String {
    for (severity, other) in [(a, b), (b, a)] {
        if let Some(Lit::Text(text)) = literal(other) {
            let name = text.to_uppercase();
            if super::sandbox::CONSTANTS[..5].iter().any(|(n, _)| *n == name) {
                return format!("write `{} {} {name}`", show(severity), op.sign());
            }
        }
    }
    "write, for example, `event.severity >= MAJOR`".to_owned()
}

fn number_fix(op: Op, a: &Expr, b: &Expr, ka: &Known) -> String {
    let as_number = |expr: &Expr| match literal(expr) {
        Some(Lit::Text(t)) if t.trim().parse::<f64>().is_ok() => t.trim().to_owned(),
        Some(_) => show(expr),
        None => format!("num({})", show(expr)),
    };
    let (left, right) = match ka.ty {
        Ty::Text => (as_number(a), show(b)),
        _ => (show(a), as_number(b)),
    };
    format!("write `{left} {} {right}`", op.sign())
}

/// A field of few words compared with a word that it never is.
fn words(a: &Expr, b: &Expr, pos: Position, found: &mut Vec<Finding>) {
    for (field, other) in [(a, b), (b, a)] {
        let (Some(Term::Path(path)), Some(Lit::Text(text))) = (term(field), literal(other)) else { continue };
        if let Some(words) = path.words()
            && !words.contains(&text.as_str())
        {
            let message = format!("`{}` is never {text:?}: it is one of {}", show(field), words.join(", "));
            found.push(Finding::error(pos, message, did_you_mean(&text, words.iter().copied())));
        }
    }
}

fn boolean(expr: &Expr, found: &mut Vec<Finding>) {
    match expr {
        Expr::And(parts, _) | Expr::Or(parts, _) => parts.iter().for_each(|part| boolean(part, found)),
        Expr::FnCall(call, _) if call.op_token.is_some() && call.name == "!" => {
            call.args.iter().for_each(|inner| boolean(inner, found));
        }
        other => {
            let ty = known(other).ty;
            if !matches!(ty, Ty::Bool | Ty::Unknown) {
                let what = show(other);
                let message = format!("`{what}` is a value; a condition is true or false");
                let help = format!("compare it (`{what} == ...`), or ask whether it is there: `has({what})`");
                found.push(Finding::error(other.start_position(), message, Some(help)));
            }
        }
    }
}

/// An expression as it would be written, where it is simple.
fn show(expr: &Expr) -> String {
    if let Expr::Variable(name, ..) = expr {
        return name.1.to_string();
    }
    if let Some(lit) = literal(expr) {
        return match lit {
            Lit::Bool(b) => b.to_string(),
            Lit::Int(i) => i.to_string(),
            Lit::Float(f) => format!("{f:?}"),
            Lit::Text(t) => format!("{t:?}"),
            Lit::Word(t) => t.to_owned(),
            Lit::Severity(s) => s.name().to_uppercase(),
        };
    }
    if let Some(chain) = chain(expr)
        && chain.names().len() == chain.segs.len()
    {
        return chain.names().iter().fold(chain.head.to_owned(), |out, (name, _)| {
            if rhai::is_valid_identifier(name) { format!("{out}.{name}") } else { format!("{out}[{name:?}]") }
        });
    }
    match expr {
        Expr::FnCall(call, _) if call.op_token.is_none() && call.args.len() == 1 => {
            format!("{}({})", call.name, show(&call.args[0]))
        }
        Expr::Unit(_) => "()".to_owned(),
        _ => "...".to_owned(),
    }
}
