//! Rules that make themselves fire, alone or in turn. Only what waits for a step of a record can: what monitoring will
//! say of a remedy is not known here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rhai::Expr;
use serde_json::Value;

use super::{Analyser, FindingKind, NewFinding};
use crate::condition::Lit;
use crate::evaluator::names;
use crate::script::compile::Role;
use crate::script::native::{chain, comparison, expression, literal, membership};
use crate::value::Op;
use crate::{Field, Pattern, Rule, RuleIx};

/// So many steps from rule to rule are followed.
const MOST_STEPS: usize = 200_000;

/// A step of a record that a rule brings about, and what is known of the record then: of each field all values that it
/// may have.
struct Effect {
    step: &'static str,
    /// The part of the rule that does it.
    by: &'static str,
    fields: BTreeMap<String, Vec<Value>>,
    /// It writes only values that do not change: again, it changes nothing.
    settles: bool,
}

/// What leads from one rule to the next.
#[derive(Clone, Copy)]
struct Edge {
    to: usize,
    step: &'static str,
    by: &'static str,
    settles: bool,
}

impl Analyser<'_> {
    /// Looks for rules that trigger themselves.
    pub(super) fn loops(&mut self) {
        let waiting: Vec<&Rule> =
            self.set.rules.iter().filter(|rule| matches!(rule.pattern, Pattern::Upon { .. })).collect();
        let edges: Vec<Vec<Edge>> = waiting.iter().map(|rule| self.edges(rule, &waiting)).collect();
        let mut told = BTreeSet::new();
        let mut left = MOST_STEPS;
        for from in 0..waiting.len() {
            if told.contains(&from) {
                continue;
            }
            let Some(cycle) = way_back(from, &edges, &mut left) else { continue };
            let rules: Vec<&Rule> =
                std::iter::once(from).chain(cycle.iter().map(|e| e.to)).map(|at| waiting[at]).collect();
            if cycle.iter().all(|edge| edge.settles) && writes_the_same(&rules) {
                continue;
            }
            told.extend(cycle.iter().map(|edge| edge.to));
            self.tell_loop(&rules, &cycle);
        }
    }

    fn tell_loop(&mut self, rules: &[&Rule], cycle: &[Edge]) {
        let Some((first, rest)) = rules.split_first() else { return };
        let ways: Vec<String> = cycle
            .iter()
            .zip(rest)
            .map(|(edge, to)| {
                let to = if to.ix == first.ix { "it again".to_owned() } else { self.name(to.ix) };
                format!("its `{}` leads to {}, which fires {to}", edge.by, edge.step)
            })
            .collect();
        let message = format!("it triggers itself: {}", ways.join("; "));
        let help = "let its `when` leave out what it brings about itself, such as `run.rule != \"...\"`";
        let with: Vec<RuleIx> = rest.iter().map(|rule| rule.ix).filter(|ix| *ix != first.ix).collect();
        let place = first.place.clone();
        self.tell(NewFinding {
            with,
            help: Some(help.to_owned()),
            ..NewFinding::of(FindingKind::Loop, first.ix, place, message)
        });
    }

    /// To which rules a rule leads.
    fn edges(&self, from: &Rule, waiting: &[&Rule]) -> Vec<Edge> {
        let effects = self.effects(from);
        let mut edges = Vec::new();
        for (to, rule) in waiting.iter().enumerate() {
            let Pattern::Upon { step, when, .. } = &rule.pattern else { continue };
            let fits = |effect: &&Effect| effect.step == step && when.is_none_or(|ix| self.may_hold(ix, effect));
            // What a rule writes once more is no change.
            let is_end = |effect: &Effect| effect.settles && rule.ix == from.ix;
            if let Some(effect) = effects.iter().filter(fits).find(|effect| !is_end(effect)) {
                edges.push(Edge { to, step: effect.step, by: effect.by, settles: effect.settles });
            }
        }
        edges
    }

    fn effects(&self, rule: &Rule) -> Vec<Effect> {
        let book = self.set.rulebook_of(rule);
        let of = |rule: &Rule| {
            BTreeMap::from([
                ("rulebook".to_owned(), vec![Value::from(book.name.as_str())]),
                ("rule".to_owned(), vec![Value::from(rule.name.as_str())]),
            ])
        };
        let mut effects = Vec::new();
        let mut add = |step, by, fields: &BTreeMap<String, Vec<Value>>, settles| {
            effects.push(Effect { step, by, fields: fields.clone(), settles });
        };
        const ENDS: [&str; 2] = ["incident.resolved", "incident.closed"];
        if !rule.remedy.is_empty() {
            let mut fields = of(rule);
            let playbooks = rule.remedy.iter().flat_map(|step| {
                let undo = step.undo.as_ref().map(|undo| &undo.playbook);
                std::iter::once(&step.playbook).chain(&step.rollback).chain(undo)
            });
            let playbooks = playbooks.map(|name| Value::from(name.as_str())).collect();
            fields.insert("playbook".to_owned(), playbooks);
            for step in ["run.succeeded", "run.failed", "run.unknown"] {
                add(step, "remedy", &fields, false);
            }
            let classes = book.may.ci_classes.iter().map(|class| Value::from(class.as_str())).collect();
            add("ci.changed", "remedy", &BTreeMap::from([("class".to_owned(), classes)]), false);
        }
        if rule.incident.is_some() {
            for step in ["incident.opened", "incident.reopened"].into_iter().chain(ENDS) {
                add(step, "incident", &of(rule), false);
            }
        }
        if let Some(other) = rule.resolve.as_ref().and_then(|spec| self.set.find(&book.name, &spec.rule)) {
            ENDS.into_iter().for_each(|step| add(step, "resolve", &of(other), false));
        }
        if let Some(ci) = &rule.ci {
            let given = ci.attributes.iter().filter_map(|(name, value)| match value {
                Field::Given(value) => Some((format!("attributes.{name}"), vec![value.clone()])),
                Field::Computed(_) => None,
            });
            let given: BTreeMap<String, Vec<Value>> = given.collect();
            add("ci.changed", "ci", &given, given.len() == ci.attributes.len());
        }
        effects
    }

    /// Whether a question may be answered with yes after what happened.
    fn may_hold(&self, question: crate::ExprIx, effect: &Effect) -> bool {
        let Some(text) = self.set.exprs.get(question.0 as usize) else { return true };
        let Ok(ast) = self.compiler.parse_with(&text.text, Role::Question, &names(text)) else { return true };
        expression(&ast).is_none_or(|expr| may_hold(expr, effect))
    }
}

fn may_hold(expr: &Expr, effect: &Effect) -> bool {
    match expr {
        Expr::And(all, _) => all.iter().all(|part| may_hold(part, effect)),
        Expr::Or(any, _) => any.iter().any(|part| may_hold(part, effect)),
        Expr::FnCall(call, _) => {
            if let Some((op, a, b)) = comparison(call) {
                let sides = [(a, b), (b, a)];
                let known = sides
                    .into_iter()
                    .find_map(|(field, other)| Some((values_of(field, effect)?, value(&literal(other)?)?)));
                return match (op, known) {
                    (Op::Eq, Some((values, than))) => values.contains(&than),
                    (Op::Ne, Some((values, than))) => values.iter().any(|v| *v != than),
                    _ => true,
                };
            }
            if let Some((field, items)) = membership(call) {
                let items: Option<Vec<Value>> = items.iter().map(|item| value(&literal(item)?)).collect();
                return match (values_of(field, effect), items) {
                    (Some(values), Some(items)) => values.iter().any(|v| items.contains(v)),
                    _ => true,
                };
            }
            true
        }
        _ => true,
    }
}

/// The values that a field of the record may have.
fn values_of<'e>(field: &Expr, effect: &'e Effect) -> Option<&'e Vec<Value>> {
    let chain = chain(field)?;
    let names = chain.names();
    if names.len() != chain.segs.len() || effect.step.split('.').next() != Some(chain.head) {
        return None;
    }
    let path: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    effect.fields.get(&path.join("."))
}

/// Only texts: a number may be written in two ways.
fn value(lit: &Lit) -> Option<Value> {
    lit.as_text().map(Value::from)
}

/// The shortest way from a rule back to it.
fn way_back(from: usize, edges: &[Vec<Edge>], left: &mut usize) -> Option<Vec<Edge>> {
    let mut came: BTreeMap<usize, (usize, Edge)> = BTreeMap::new();
    let mut next = VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        for edge in &edges[at] {
            *left = left.checked_sub(1)?;
            if came.contains_key(&edge.to) {
                continue;
            }
            came.insert(edge.to, (at, *edge));
            if edge.to == from {
                let mut way = Vec::new();
                let mut here = from;
                loop {
                    let (before, edge) = came.get(&here)?;
                    way.push(*edge);
                    here = *before;
                    if here == from {
                        way.reverse();
                        return Some(way);
                    }
                }
            }
            next.push_back(edge.to);
        }
    }
    None
}

/// Whether all write the same to each attribute: then nothing changes a second time.
fn writes_the_same(rules: &[&Rule]) -> bool {
    let mut written: BTreeMap<&str, &Field<Value>> = BTreeMap::new();
    rules.iter().filter_map(|rule| rule.ci.as_ref()).flat_map(|ci| &ci.attributes).all(|(name, value)| {
        let first = *written.entry(name).or_insert(value);
        first == value
    })
}
