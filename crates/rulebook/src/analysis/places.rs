//! The conjuncts of a condition, with where each stands.

use rhai::{Expr, Position};

use super::Analyser;
use super::form::Form;
use crate::condition::Cond;
use crate::evaluator::{Purpose, parse};
use crate::script::native::{cond, expression, necessary};
use crate::{ExprIx, Place, RuleIx};

/// So many characters of the file and of the expression are compared.
const COMPARED: usize = 8;

/// Something that must hold.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) form: Form,
    /// As a rulebook writes it.
    pub(super) text: String,
    pub(super) place: Place,
    /// It is a part of `by`.
    pub(super) is_by: bool,
}

impl Analyser<'_> {
    /// What must hold where a condition of a rule does, part by part.
    pub(super) fn parts(&self, rule: RuleIx, purpose: Purpose) -> Vec<Part> {
        let Some(ix) = self.asked(rule, purpose).map(|a| a.ix) else { return Vec::new() };
        let mut parts = Vec::new();
        let parsed = self
            .set
            .exprs
            .get(ix.0 as usize)
            .and_then(|text| parse(&self.compiler, self.set.rule(rule), purpose, text));
        if let Some(expr) = parsed.as_ref().and_then(|parsed| expression(&parsed.own)) {
            self.conjuncts(expr, ix, &mut parts);
        }
        for ix in self.set.rule(rule).by.iter().flatten() {
            let (Some(term), Some(text)) = (self.evaluator.native(*ix), self.set.exprs.get(ix.0 as usize)) else {
                continue;
            };
            let (form, text, place) = (Form::there(term), text.text.clone(), text.place.clone());
            parts.push(Part { form, text, place, is_by: true });
        }
        parts
    }

    fn conjuncts(&self, expr: &Expr, ix: ExprIx, parts: &mut Vec<Part>) {
        if let Expr::And(all, _) = expr {
            return all.iter().for_each(|part| self.conjuncts(part, ix, parts));
        }
        let native: Cond = cond(expr).unwrap_or_else(|| necessary(expr));
        let place = self.place_in(ix, start(expr));
        parts.push(Part { form: Form::of(&native, true), text: native.to_string(), place, is_by: false });
    }

    /// Where a position of an expression stands in the file: where YAML shows it as it is, exactly; else where the
    /// expression begins.
    fn place_in(&self, ix: ExprIx, at: Position) -> Place {
        let Some(expr) = self.set.exprs.get(ix.0 as usize) else { return Place::default() };
        let begins = expr.place.clone();
        let (Some(line), Some(column)) = (at.line(), at.position()) else { return begins };
        let place = Place { line: begins.line + line - 1, column: begins.column + column - 1, ..begins.clone() };
        let shown = |text: Option<&str>, from: usize| -> Option<String> {
            Some(text?.chars().skip(from.checked_sub(1)?).take(COMPARED).collect())
        };
        let in_file =
            self.set.sources.get(&place.file).and_then(|text| shown(text.lines().nth(place.line - 1), place.column));
        let in_code = shown(expr.text.lines().nth(line - 1), column);
        if in_file.is_some() && in_file == in_code { place } else { begins }
    }
}

/// Where an expression begins. That of a sign is where the sign stands.
fn start(expr: &Expr) -> Position {
    match expr {
        Expr::FnCall(call, pos) if call.op_token.is_some() => {
            let first = call.args.iter().map(start).chain([*pos]).filter(|p| !p.is_none());
            first.min_by_key(|p| (p.line(), p.position())).unwrap_or(*pos)
        }
        Expr::Dot(pair, ..) | Expr::Index(pair, ..) => start(&pair.lhs),
        Expr::And(all, _) | Expr::Or(all, _) | Expr::Coalesce(all, _) => all.first().map_or(Position::NONE, start),
        other => other.start_position(),
    }
}
