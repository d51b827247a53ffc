//! Values with which a conjunct that failed would hold. They are tried: what is missed here is not told, and nothing is
//! told that does not hold.

use paramedic_model::{OwnedEvent, Severity};
use regex_syntax::hir::{Class, Hir, HirKind};

use super::field::{Change, literal};
use crate::condition::{Cond, Lit, Term, Where};
use crate::value::{One, Op, Path, Two, Val};

/// Changes of which each makes a condition hold, the smaller first.
pub(super) type Wishes = Vec<Vec<Change>>;

/// The most changes that are thought of for one conjunct.
const MOST: usize = 16;

/// What text a field has that may have any but one.
const OTHER: &str = "other";

/// What makes a condition hold.
pub(super) fn wishes(cond: &Cond, event: &OwnedEvent) -> Wishes {
    let mut found = if cond.holds(event) { vec![vec![]] } else { unheld(cond, event) };
    found.truncate(MOST);
    found
}

fn unheld(cond: &Cond, event: &OwnedEvent) -> Wishes {
    match cond {
        Cond::Const(_) => Vec::new(),
        Cond::And(all) => all.iter().fold(vec![vec![]], |so_far, one| product(&so_far, &wishes(one, event))),
        Cond::Or(any) => any.iter().flat_map(|one| wishes(one, event)).collect(),
        Cond::Not(inner) => denied(inner, event),
        Cond::Cmp(op, a, b) => {
            let (left, right) = (a.eval(event), b.eval(event));
            let for_a = near(*op, &right).into_iter().flat_map(|value| invert(a, &value, event));
            for_a.chain(near(op.turned(), &left).into_iter().flat_map(|value| invert(b, &value, event))).collect()
        }
        Cond::In(term, list) => list.iter().flat_map(|lit| invert(term, &lit.val(), event)).collect(),
        Cond::Has(term) => present(term, event),
        Cond::Text(place, whole, part) => match (whole.eval(event), part.eval(event)) {
            (Val::Text(whole_now), Val::Text(part)) => {
                let longer = match place {
                    Where::Start => format!("{part}{whole_now}"),
                    Where::End | Where::Anywhere => format!("{whole_now}{part}"),
                };
                let mut all = invert(whole, &Val::text(&part), event);
                all.extend(invert(whole, &Val::text(&longer), event));
                all
            }
            (_, part) => invert(whole, &part, event),
        },
        Cond::Empty(term) => {
            let paths = paths_of(term);
            paths.into_iter().filter(Path::may_be_missing).map(|path| vec![(path, None)]).collect()
        }
        Cond::Matches(term, pattern) => match sample(pattern.text()) {
            Some(text) => invert(term, &Val::text(&text), event),
            None => Vec::new(),
        },
        Cond::InNetwork(term, network) => invert(term, &Val::text(&network.first().to_string()), event),
    }
}

/// What makes a condition not hold.
fn denied(cond: &Cond, event: &OwnedEvent) -> Wishes {
    let mut found: Wishes = match cond {
        Cond::Not(inner) => return wishes(inner, event),
        Cond::Cmp(op, a, b) => wishes(&Cond::Cmp(op.negated(), a.clone(), b.clone()), event),
        Cond::And(all) => all.iter().flat_map(|one| denied(one, event)).collect(),
        Cond::Or(any) => {
            any.iter().filter(|one| one.holds(event)).fold(vec![vec![]], |all, one| product(&all, &denied(one, event)))
        }
        _ => Vec::new(),
    };
    let paths = paths_in(cond);
    found.extend(paths.iter().filter(|p| p.may_be_missing()).map(|p| vec![(p.clone(), None)]));
    found.extend(paths.into_iter().map(|p| vec![(p, Some(Lit::Text(OTHER.to_owned())))]));
    found
}

fn product(a: &Wishes, b: &Wishes) -> Wishes {
    let both = |one: &Vec<Change>, other: &Vec<Change>| one.iter().chain(other).cloned().collect();
    a.iter().flat_map(|one| b.iter().map(move |other| both(one, other))).take(MOST).collect()
}

/// Values that compare so with another, the nearest first.
fn near<'v>(op: Op, other: &Val<'v>) -> Vec<Val<'v>> {
    let above = matches!(op, Op::Gt | Op::Ne);
    match (op, other) {
        (_, Val::Missing | Val::Other) => Vec::new(),
        (Op::Eq | Op::Le | Op::Ge, value) => vec![value.clone()],
        (_, Val::Int(i)) => {
            let (x, sign) = (*i as f64, if above { 1.0 } else { -1.0 });
            let whole = if above { i.checked_add(1) } else { i.checked_sub(1) };
            whole.map(Val::Int).into_iter().chain([0.1, 0.001].map(|step| Val::Float(x + sign * step))).collect()
        }
        (_, Val::Float(x)) => {
            let sign = if above { 1.0 } else { -1.0 };
            [1.0, 0.1, 0.001].map(|step| Val::Float(x + sign * step)).to_vec()
        }
        (_, Val::Severity(than)) => {
            let fits = |s: &Severity| op.holds(&Val::Severity(*s), &Val::Severity(*than));
            let mut fitting: Vec<Severity> = Severity::KNOWN.into_iter().filter(fits).collect();
            if op == Op::Lt {
                fitting.reverse();
            }
            fitting.into_iter().map(Val::Severity).collect()
        }
        (Op::Ne, Val::Text(_)) => vec![Val::text(OTHER), Val::text("another")],
        (Op::Gt, Val::Text(t)) => vec![Val::Text(format!("{t}a").into())],
        (Op::Lt, Val::Text(_)) => vec![Val::text("")],
        (_, Val::Bool(b)) => vec![Val::Bool(!b)],
    }
}

/// Changes of a field that give a term this value.
fn invert(term: &Term, wanted: &Val<'_>, event: &OwnedEvent) -> Wishes {
    match term {
        Term::Lit(_) => Vec::new(),
        Term::Path(path) => literal(path, wanted).map(|lit| vec![(path.clone(), Some(lit))]).into_iter().collect(),
        Term::One(One::Num, inner) => {
            // A label is a text that spells the number.
            let spelled = match wanted {
                Val::Int(i) => Some(i.to_string()),
                Val::Float(f) => Some(f.to_string()),
                _ => None,
            };
            let mut all = invert(inner, wanted, event);
            all.extend(spelled.into_iter().flat_map(|text| invert(inner, &Val::Text(text.into()), event)));
            all
        }
        Term::One(One::Negative, inner) => invert(inner, &One::Negative.apply(wanted.clone()), event),
        Term::One(One::Sqrt, inner) => invert(inner, &Two::Times.apply(wanted, wanted), event),
        Term::One(One::Len, inner) => match wanted {
            Val::Int(n @ 0..=256) => invert(inner, &Val::Text("x".repeat(*n as usize).into()), event),
            _ => Vec::new(),
        },
        Term::One(_, inner) => invert(inner, wanted, event),
        Term::Coalesce(terms) => terms.iter().flat_map(|term| invert(term, wanted, event)).collect(),
        Term::Two(two, a, b) => {
            let (left, right) = (a.eval(event), b.eval(event));
            let (for_a, for_b) = match two {
                Two::Plus => (Two::Minus.apply(wanted, &right), Two::Minus.apply(wanted, &left)),
                Two::Minus => (Two::Plus.apply(wanted, &right), Two::Minus.apply(&left, wanted)),
                Two::Times => (Two::Over.apply(wanted, &right), Two::Over.apply(wanted, &left)),
                Two::Over => (Two::Times.apply(wanted, &right), Two::Over.apply(&left, wanted)),
                Two::Modulo | Two::Min | Two::Max => (wanted.clone(), wanted.clone()),
            };
            invert(a, &for_a, event).into_iter().chain(invert(b, &for_b, event)).collect()
        }
    }
}

/// Changes that make a term be there.
fn present(term: &Term, event: &OwnedEvent) -> Wishes {
    let some = [Val::text("x"), Val::Int(1), Val::text("1"), Val::Severity(Severity::Minor)];
    some.iter().flat_map(|value| invert(term, value, event)).collect()
}

/// The fields that a condition reads, each once.
pub(super) fn paths_in(cond: &Cond) -> Vec<Path> {
    let mut found = Vec::new();
    each_term(cond, &mut |term| {
        for path in paths_of(term) {
            if !found.contains(&path) {
                found.push(path);
            }
        }
    });
    found
}

fn each_term(cond: &Cond, with: &mut dyn FnMut(&Term)) {
    match cond {
        Cond::Const(_) => {}
        Cond::And(all) | Cond::Or(all) => all.iter().for_each(|one| each_term(one, with)),
        Cond::Not(inner) => each_term(inner, with),
        Cond::Cmp(_, a, b) | Cond::Text(_, a, b) => {
            with(a);
            with(b);
        }
        Cond::In(term, _) | Cond::Has(term) | Cond::Empty(term) | Cond::Matches(term, _) | Cond::InNetwork(term, _) => {
            with(term);
        }
    }
}

fn paths_of(term: &Term) -> Vec<Path> {
    match term {
        Term::Lit(_) => Vec::new(),
        Term::Path(path) => vec![path.clone()],
        Term::One(_, inner) => paths_of(inner),
        Term::Two(_, a, b) => paths_of(a).into_iter().chain(paths_of(b)).collect(),
        Term::Coalesce(terms) => terms.iter().flat_map(paths_of).collect(),
    }
}

/// A text that a regular expression finds itself in; it is tried, as look-around is not heeded.
fn sample(pattern: &str) -> Option<String> {
    const LONGEST: usize = 200;
    let mut out = String::new();
    write_sample(&regex_syntax::parse(pattern).ok()?, &mut out)?;
    (out.len() <= LONGEST).then_some(out)
}

fn write_sample(hir: &Hir, out: &mut String) -> Option<()> {
    const MOST_TIMES: u32 = 64;
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(Class::Unicode(class)) => {
            let readable = |c: &char| c.is_ascii_graphic();
            let starts = class
                .ranges()
                .iter()
                .flat_map(|r| [r.start(), r.end(), 'a', '0'].into_iter().filter(|c| (r.start()..=r.end()).contains(c)));
            out.push(starts.clone().find(readable).or_else(|| starts.clone().next())?);
        }
        HirKind::Class(Class::Bytes(_)) => return None,
        HirKind::Repetition(repetition) => {
            (0..repetition.min.min(MOST_TIMES)).try_for_each(|_| write_sample(&repetition.sub, out))?;
        }
        HirKind::Capture(capture) => write_sample(&capture.sub, out)?,
        HirKind::Concat(all) => all.iter().try_for_each(|one| write_sample(one, out))?,
        HirKind::Alternation(any) => write_sample(any.first()?, out)?,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_a_regular_expression_is_found_by_it() {
        for pattern in ["^disk .* full$", "(oom|killed) by [a-z]{3,}", "(?i)link-down", "\\d+\\.\\d+", "^x?$", "[^a]b"]
        {
            let text = sample(pattern).unwrap();
            assert!(crate::value::Pattern::new(pattern).unwrap().is_in(&text), "{pattern}: {text}");
        }
    }
}
