//! `enrich`: what is made of an event before any rule sees it. Steps run in order, each on what those before it have made;
//! a step sets all that it says or, where a value of it fails, nothing.

use std::borrow::Cow;
use std::sync::Arc;

use paramedic_model::{Event, Measure, OwnedEvent, Severity};
use regex::Captures;
use rhai::AST;
use serde_json::{Map, Value};

use super::Evaluator;
use crate::condition::{Cond, Term};
use crate::rules::put;
use crate::script::compile::{Compiler, Role};
use crate::script::json::to_json;
use crate::script::names::{FOUND, Is, Names};
use crate::script::native::{chain, cond, expression, necessary, term};
use crate::script::objects::dynamic;
use crate::script::runtime::{Fault, Lazy, Named, Runtime};
use crate::value::{Pattern, Val};
use crate::{Bindings, Bound, Changes, EnrichStep, ExprIx, ExprText, Field, New, RuleSet, Target};

/// All texts together that are set in one event, in bytes.
const MOST_BYTES: usize = 256 << 10;
/// So much of a value that cannot be used is told, in characters.
const MOST_SHOWN: usize = 100;
/// How many failures are kept in words.
const KEPT: usize = 16;

/// The steps of a set, compiled.
#[derive(Default)]
pub(super) struct Enrich {
    steps: Vec<Step>,
    failures: EnrichFailures,
}

/// Steps of `enrich` that failed, and so set nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnrichFailures {
    /// How often.
    pub times: u64,
    /// Where, and why: the first of them.
    pub first: Vec<(String, String)>,
}

struct Step {
    sources: Vec<String>,
    when: Option<When>,
    find: Option<Find>,
    set: Vec<(Target, From)>,
    default: Vec<(Target, From)>,
    drop_from_key: Vec<String>,
}

struct When {
    ix: ExprIx,
    native: Cond,
    /// Where the pure subset is not the whole.
    script: Option<AST>,
}

struct Find {
    field: (ExprIx, Code),
    pattern: Pattern,
}

/// Where a value comes from.
enum From {
    Given(New),
    /// What a group has found.
    Group(ExprIx, String),
    Code(ExprIx, Code),
}

enum Code {
    Native(Term),
    Script(AST),
}

/// An expression failed.
type Failed = (ExprIx, Fault);

impl Enrich {
    pub(super) fn new(compiler: &Compiler, set: &RuleSet) -> Self {
        let steps = set.site.enrich.iter().filter_map(|step| Step::new(compiler, set, step)).collect();
        Self { steps, failures: EnrichFailures::default() }
    }

    /// What the steps change of an event.
    fn changes(&mut self, set: &RuleSet, runtime: &mut Runtime, sent: &Event<'_>) -> Changes {
        let mut changes = Changes::default();
        let mut changed: Option<Event<'_>> = None;
        let mut dropped: Vec<&str> = Vec::new();
        for step in &self.steps {
            let event = changed.as_ref().unwrap_or(sent);
            match step.run(runtime, event).and_then(|new| within_bounds(&changes, new, step)) {
                Ok(None) => {}
                Ok(Some(new)) => {
                    for (target, new) in new {
                        let event = changed.get_or_insert_with(|| sent.borrowed());
                        put(event, Cow::Owned(target.clone()), Cow::Owned(new.clone()));
                        changes.add(target, new);
                    }
                    dropped.extend(step.drop_from_key.iter().map(String::as_str));
                }
                Err((ix, fault)) => self.failures.add(set, ix, &fault),
            }
        }
        if let Some(key) = key_without(changed.as_ref().unwrap_or(sent), &dropped) {
            changes.add(Target::DedupKey, New::Text(key));
        }
        changes
    }
}

/// The key of an event for which its sender gave none, where labels of it do not count.
fn key_without(event: &Event<'_>, dropped: &[&str]) -> Option<String> {
    let is_there = |name: &&str| event.labels.get(name).is_some();
    let drops = event.dedup_key.is_none() && dropped.iter().any(is_there);
    drops.then(|| event.dedup_key_without(dropped).to_string())
}

/// What a step sets, unless that is too much.
fn within_bounds(
    changes: &Changes,
    new: Option<Vec<(Target, New)>>,
    step: &Step,
) -> Result<Option<Vec<(Target, New)>>, Failed> {
    let size = |(_, new): &(Target, New)| match new {
        New::Text(text) | New::Measure(Measure::Text(Cow::Owned(text))) => text.len(),
        _ => 0,
    };
    let bytes: usize = changes.iter().chain(new.iter().flatten()).map(size).sum();
    match step.code() {
        Some(ix) if bytes > MOST_BYTES => {
            Err((ix, Fault::new(format!("all that is set in the event has {bytes} bytes; the most is {MOST_BYTES}"))))
        }
        _ => Ok(new),
    }
}

impl EnrichFailures {
    fn add(&mut self, set: &RuleSet, ix: ExprIx, fault: &Fault) {
        self.times += 1;
        let failed = (super::failures::place(set, ix, fault), fault.why.clone());
        if self.first.len() < KEPT && !self.first.contains(&failed) {
            self.first.push(failed);
        }
    }

    /// Counts what another one has counted.
    pub fn join(&mut self, other: EnrichFailures) {
        self.times += other.times;
        for failed in other.first {
            if self.first.len() < KEPT && !self.first.contains(&failed) {
                self.first.push(failed);
            }
        }
    }
}

impl Step {
    /// A checked set has no step that cannot be compiled.
    fn new(compiler: &Compiler, set: &RuleSet, step: &EnrichStep) -> Option<Self> {
        let text = |ix: ExprIx| set.exprs.get(ix.0 as usize);
        let when = match step.when {
            None => None,
            Some(ix) => {
                let ast = compiler.parse_with(&text(ix)?.text, Role::Condition, &Names::EVENT).ok()?;
                let (is_native, native) = (cond(expression(&ast)?).is_some(), necessary(expression(&ast)?));
                Some(When { ix, native, script: (!is_native).then_some(ast) })
            }
        };
        let find = match &step.find {
            None => None,
            Some(spec) => Some(Find {
                field: (spec.field, Code::new(compiler, text(spec.field)?)?),
                pattern: Pattern::new(&spec.pattern).ok()?,
            }),
        };
        let from = |(target, field): &(Target, Field<New>)| {
            let from = match field {
                Field::Given(new) => From::Given(new.clone()),
                Field::Computed(ix) => From::new(compiler, *ix, text(*ix)?)?,
            };
            Some((target.clone(), from))
        };
        Some(Self {
            sources: step.sources.clone(),
            when,
            find,
            set: step.set.iter().map(from).collect::<Option<_>>()?,
            default: step.default.iter().map(from).collect::<Option<_>>()?,
            drop_from_key: step.drop_from_key.clone(),
        })
    }

    /// What it sets; `None` where it is not for this event.
    fn run(&self, runtime: &mut Runtime, event: &Event<'_>) -> Result<Option<Vec<(Target, New)>>, Failed> {
        if !self.sources.is_empty() && !self.sources.iter().any(|source| **source == *event.source) {
            return Ok(None);
        }
        let mut lazy = Lazy::default();
        if let Some(when) = &self.when
            && !when.holds(runtime, event, &mut lazy)?
        {
            return Ok(None);
        }
        let text;
        let mut found = None;
        if let Some(find) = &self.find {
            text = find.text(runtime, event, &mut lazy)?;
            found = text.as_deref().and_then(|text| find.pattern.find(text));
            if found.is_none() {
                return Ok(None);
            }
        }
        let record = self.record(found.as_ref());
        let mut new = Vec::with_capacity(self.set.len() + self.default.len());
        let defaults = self.default.iter().filter(|(target, _)| target.is_missing(event));
        for (target, from) in self.set.iter().chain(defaults) {
            let value = from.value(runtime, event, &mut lazy, (found.as_ref(), &record), target)?;
            new.extend(value.map(|value| (target.clone(), value)));
        }
        Ok(Some(new))
    }

    /// What was found, for those values that only Rhai can compute.
    fn record(&self, found: Option<&Captures<'_>>) -> Value {
        let has_scripts =
            self.set.iter().chain(&self.default).any(|(_, from)| matches!(from, From::Code(_, Code::Script(_))));
        let (Some(find), Some(found), true) = (&self.find, found, has_scripts) else { return Value::Null };
        let group = |name: &str| Some((name.to_owned(), Value::from(found.name(name)?.as_str())));
        Value::Object(find.pattern.groups().filter_map(group).collect::<Map<_, _>>())
    }

    /// An expression of it, for the place of a failure.
    fn code(&self) -> Option<ExprIx> {
        let all = self.set.iter().chain(&self.default);
        let values = all.filter_map(|(_, from)| match from {
            From::Code(ix, _) | From::Group(ix, _) => Some(*ix),
            From::Given(_) => None,
        });
        values.chain(self.find.as_ref().map(|find| find.field.0)).chain(self.when.as_ref().map(|when| when.ix)).next()
    }
}

impl When {
    fn holds(&self, runtime: &mut Runtime, event: &Event<'_>, lazy: &mut Lazy) -> Result<bool, Failed> {
        match &self.script {
            _ if !self.native.holds(event) => Ok(false),
            None => Ok(true),
            Some(script) => runtime.condition(script, event, lazy).map_err(|fault| (self.ix, fault)),
        }
    }
}

impl Find {
    /// The text in which it is looked for; what is missing, or no text, holds nothing.
    fn text<'e>(
        &'e self,
        runtime: &mut Runtime,
        event: &'e Event<'_>,
        lazy: &mut Lazy,
    ) -> Result<Option<Cow<'e, str>>, Failed> {
        let (ix, code) = &self.field;
        Ok(match code {
            Code::Native(term) => match term.eval(event) {
                Val::Text(text) => Some(text),
                _ => None,
            },
            Code::Script(ast) => {
                let value = runtime.value_with(ast, event, lazy, None, Named::nothing());
                let value = value.map_err(|fault| (*ix, fault))?;
                value.as_immutable_string_ref().ok().map(|text| Cow::Owned(text.to_string()))
            }
        })
    }
}

impl Code {
    fn new(compiler: &Compiler, text: &ExprText) -> Option<Self> {
        let ast = compiler.parse_with(&text.text, Role::Enrichment, &names(text)).ok()?;
        Some(match expression(&ast).and_then(term) {
            Some(term) => Code::Native(term),
            None => Code::Script(ast),
        })
    }
}

/// The names that an expression of a step sees.
fn names(text: &ExprText) -> Names {
    Names { event: true, more: text.names.iter().map(|name| (name.clone(), Is::Found)).collect() }
}

impl From {
    fn new(compiler: &Compiler, ix: ExprIx, text: &ExprText) -> Option<Self> {
        let code = Code::new(compiler, text)?;
        if let Code::Script(ast) = &code
            && let Some(chain) = expression(ast).and_then(chain)
            && let (FOUND, [(group, _)], 1) = (chain.head, &chain.names()[..], chain.segs.len())
        {
            return Some(From::Group(ix, (*group).to_owned()));
        }
        Some(From::Code(ix, code))
    }

    /// What a field becomes; `None` where there is no value.
    fn value(
        &self,
        runtime: &mut Runtime,
        event: &Event<'_>,
        lazy: &mut Lazy,
        (found, record): (Option<&Captures<'_>>, &Value),
        target: &Target,
    ) -> Result<Option<New>, Failed> {
        let (ix, value) = match self {
            From::Given(new) => return Ok(Some(new.clone())),
            From::Group(ix, group) => (*ix, Value::from(found.and_then(|f| f.name(group)).map(|text| text.as_str()))),
            From::Code(ix, code) => {
                let value = match code {
                    Code::Native(term) => dynamic(term.eval(event)),
                    Code::Script(ast) => {
                        let bound = Bindings::default().with(FOUND, Bound::Record(record));
                        let visible = &[FOUND.to_owned()][..];
                        let named = Named { visible, bound: &bound, own_incident: false };
                        runtime.value_with(ast, event, lazy, None, named).map_err(|fault| (*ix, fault))?
                    }
                };
                (*ix, to_json(&value).map_err(|why| (*ix, Fault::new(why)))?)
            }
        };
        of_value(&value, target).map_err(|expected| {
            let found: String = value.to_string().chars().take(MOST_SHOWN).collect();
            (ix, Fault::new(format!("{} gets {found}; expected {expected}", target.shown())))
        })
    }
}

/// What a field becomes by a value; `None` where it is missing or empty. An error says what is expected.
fn of_value(value: &Value, target: &Target) -> Result<Option<New>, &'static str> {
    const SEVERITY: &str = "a severity, or a text that names one";
    Ok(match (value, target) {
        (Value::Null, _) => None,
        (Value::String(text), _) if text.is_empty() => None,
        (Value::String(text), Target::Severity) => {
            let severity = Severity::from_name(text).ok_or(SEVERITY)?;
            severity.rank().map(|_| New::Severity(severity))
        }
        (_, Target::Severity) => return Err(SEVERITY),
        (Value::String(text), Target::Value | Target::Threshold) => {
            Some(New::Measure(Measure::parse(Cow::Owned(text.clone()))))
        }
        (Value::Number(n), Target::Value | Target::Threshold) => {
            Some(New::Measure(Measure::parse(Cow::Owned(n.to_string()))))
        }
        (_, Target::Value | Target::Threshold) => return Err("a number, or a text"),
        (Value::String(text), _) => Some(New::Text(text.clone())),
        (Value::Number(_) | Value::Bool(_), _) => Some(New::Text(value.to_string())),
        (Value::Array(_) | Value::Object(_), _) => return Err("a text or a number"),
    })
}

/// A value that is written in the site file; an error says what is expected.
pub(crate) fn given(written: &str, target: &Target) -> Result<New, &'static str> {
    match of_value(&Value::from(written), target)? {
        Some(New::Measure(Measure::Text(_))) => Err("a number"),
        Some(new) => Ok(new),
        None if *target == Target::Severity => Err("one of critical, major, minor, warning, info"),
        None => Err("a text that is not empty"),
    }
}

impl Evaluator {
    /// What `enrich` changes of an event as sent.
    pub(super) fn changes(&mut self, sent: &Event<'_>) -> Changes {
        if self.enrich.steps.is_empty() {
            return Changes::default();
        }
        let set = Arc::clone(&self.set);
        self.enrich.changes(&set, &mut self.runtime, sent)
    }

    /// An event as the rules of this set see it.
    pub fn seen<'e>(&mut self, sent: &'e OwnedEvent) -> Cow<'e, OwnedEvent> {
        self.changes(sent).keep(sent)
    }

    /// Steps of `enrich` that have failed since this was last asked.
    pub fn take_enrich_failures(&mut self) -> EnrichFailures {
        std::mem::take(&mut self.enrich.failures)
    }
}
