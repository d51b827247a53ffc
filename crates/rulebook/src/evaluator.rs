//! Evaluates the expressions of a set, for one thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_model::{Ci, Cmdb, Event, Level, Status, Timestamp};
use rhai::AST;
use serde_json::Value;
use smallvec::SmallVec;

use crate::condition::{Cond, Term};
use crate::index::{Found, Index};
use crate::script::compile::{Compiler, Role};
use crate::script::json::to_json;
use crate::script::names::Is;
use crate::script::native::{cond, expression, necessary, term};
use crate::script::objects::dynamic;
use crate::script::runtime::{Fault, Lazy, Named, Runtime, Surroundings};
use crate::script::thresholds::thresholds_in;
use crate::{
    Bindings, Changes, ExprIx, ExprText, Field, Intent, Lookups, Rule, RuleIx, RuleSet, Slot, Template, template,
};

mod enrich;
mod failures;
mod indexed;
mod members;
mod stated;
mod target;
mod thresholds;

use enrich::Enrich;
pub use enrich::EnrichFailures;
pub(crate) use enrich::given;
pub use failures::Failure;
pub use indexed::{Asked, HowFound, IndexedCondition};
use members::Parsed;
pub(crate) use members::{conditions_of, implied, names, parse};

/// What a value expression may read.
#[derive(Clone, Copy)]
pub struct Ctx<'a> {
    /// The event.
    pub event: &'a Event<'a>,
    /// The CI that the incident is about, where there is one.
    pub about: Option<&'a Ci>,
    /// The CMDB of the scope.
    pub cmdb: &'a Arc<Cmdb>,
    /// The stamp of the input.
    pub now: Timestamp,
    /// What the rule's pattern binds.
    pub names: &'a Bindings<'a>,
    /// Open alerts and records. Without them nothing is known of any.
    pub lookups: Option<&'a dyn Lookups>,
}

impl<'a> Ctx<'a> {
    /// Without names of a pattern and without look-ups.
    pub fn of(event: &'a Event<'a>, about: Option<&'a Ci>, cmdb: &'a Arc<Cmdb>, now: Timestamp) -> Self {
        Self { event, about, cmdb, now, names: Bindings::none(), lookups: None }
    }

    fn around(&self) -> Surroundings<'a> {
        Surroundings { about: self.about, cmdb: self.cmdb, now: self.now, lookups: self.lookups }
    }
}

/// Which conditions hold for one event. Each list is sorted by rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matches {
    /// What `enrich` changes of the event: conditions were asked of the event with these.
    pub changes: Changes,
    /// Rules whose `when` holds.
    pub when: SmallVec<[RuleIx; 4]>,
    /// Rules whose explicit `clear` holds. The default `clear` is not here: the engine knows the alerts.
    pub clear: SmallVec<[RuleIx; 4]>,
    /// Which conditions of patterns with several hold: a member's by what reads its own event, and
    /// [`Evaluator::member_holds`] says the rest.
    pub slots: SmallVec<[(RuleIx, Slot); 4]>,
    /// Remedy steps, by position from 0, whose own `verify.when` holds.
    pub verify: SmallVec<[(RuleIx, usize); 2]>,
    /// Conditions that failed to evaluate; they count as not held.
    pub failed: Vec<Failure>,
}

impl Matches {
    /// Whether nothing held and nothing failed, whatever `enrich` changes.
    pub fn is_empty(&self) -> bool {
        self.when.is_empty()
            && self.clear.is_empty()
            && self.slots.is_empty()
            && self.verify.is_empty()
            && self.failed.is_empty()
    }
}

/// Why an expression gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A part of `by` is missing: no match, and counted.
    #[error("{0} is missing")]
    Missing(String),
    /// The expression failed, or gave what cannot be used.
    #[error("{0}")]
    Script(String),
}

/// What a condition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    When,
    Clear,
    Slot(Slot),
    Verify(usize),
}

impl Purpose {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Purpose::When => "when",
            Purpose::Clear => "clear",
            Purpose::Slot(Slot::Member(_)) => "member",
            Purpose::Slot(Slot::Unless) => "unless",
            Purpose::Slot(Slot::Alive) => "alive",
            Purpose::Verify(_) => "verify",
        }
    }
}

/// What is added to a condition that says nothing of status and phase. A `when` means a firing event. Recovery
/// shows in a sample as in a resolve, so `clear` and `verify.when` take either. An acknowledged, suppressed or
/// flapping event, or one without data, is neither, and no phase at all is the normal one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Implied {
    Nothing,
    NormalPhase,
    FiringInNormalPhase,
}

impl Implied {
    fn holds(self, event: &Event<'_>) -> bool {
        match self {
            Implied::Nothing => true,
            Implied::NormalPhase => event.phase.is_none(),
            Implied::FiringInNormalPhase => event.phase.is_none() && event.status == Status::Firing,
        }
    }
}

struct Condition {
    rule: RuleIx,
    expr: ExprIx,
    purpose: Purpose,
    implied: Implied,
    /// Of the pure subset; asked first.
    native: Cond,
    /// The whole, where the pure subset is not the whole.
    script: Option<Box<AST>>,
    /// With what it reads of earlier members or of the CMDB, where it reads any.
    whole: Option<Box<AST>>,
}

enum Compiled {
    /// Position in the list of conditions.
    Condition(usize),
    Native(Term),
    Script(AST),
    /// Cannot be compiled. A checked set has none.
    Broken(String),
}

/// The compiled form of a set, for one thread.
pub struct Evaluator {
    set: Arc<RuleSet>,
    exprs: Vec<Compiled>,
    conditions: Vec<Condition>,
    /// Those that read thresholds.
    with_thresholds: BTreeMap<(RuleIx, Purpose), usize>,
    index: Index,
    found: Found,
    asked: Asked,
    enrich: Enrich,
    runtime: Runtime,
    failures: Vec<Failure>,
}

impl Evaluator {
    /// Compiles a set. It was checked, so this cannot fail; an expression that yet does, fails when it is asked.
    pub fn new(set: Arc<RuleSet>) -> Self {
        let compiler = Compiler::of(&set.site);
        let exprs = set.exprs.iter().map(|e| compile_value(&compiler, e)).collect();
        let mut this = Self {
            exprs,
            conditions: Vec::new(),
            with_thresholds: BTreeMap::new(),
            index: Index::default(),
            found: Found::default(),
            asked: Asked::default(),
            enrich: Enrich::new(&compiler, &set),
            runtime: Runtime::of(&set.site),
            failures: Vec::new(),
            set: Arc::clone(&set),
        };
        for rule in &set.rules {
            this.add_conditions(&compiler, rule);
            this.add_script(&compiler, rule);
        }
        this.index = Index::new(this.conditions.iter().map(|c| &c.native));
        this
    }

    fn add_script(&mut self, compiler: &Compiler, rule: &Rule) {
        let Some(ix) = rule.then else { return };
        let Some(text) = self.set.exprs.get(ix.0 as usize) else { return };
        let mut names = members::names(text);
        if rule.incident.is_some() {
            names = names.and("incident", Is::Event);
        }
        if let (Ok(ast), Some(slot)) = (compiler.parse_script(&text.text, &names), self.exprs.get_mut(ix.0 as usize)) {
            *slot = Compiled::Script(ast);
        }
    }

    fn add_conditions(&mut self, compiler: &Compiler, rule: &Rule) {
        for (purpose, ix) in members::conditions_of(rule) {
            let Some(text) = self.set.exprs.get(ix.0 as usize) else { continue };
            let Some(Parsed { own: ast, whole }) = members::parse(compiler, rule, purpose, text) else { continue };
            let Some(expr) = expression(&ast) else { continue };
            let is_native = cond(expr).is_some();
            let native = necessary(expr);
            let at = self.conditions.len();
            let with_thresholds = whole.as_ref().filter(|whole| thresholds_in(whole));
            let implied = members::implied(rule, purpose, with_thresholds.unwrap_or(&ast));
            if with_thresholds.is_some() {
                self.with_thresholds.insert((rule.ix, purpose), at);
            }
            let script = (!is_native).then(|| Box::new(ast));
            let whole = whole.map(Box::new);
            self.conditions.push(Condition { rule: rule.ix, expr: ix, purpose, implied, native, script, whole });
            if let Some(slot) = self.exprs.get_mut(ix.0 as usize) {
                *slot = Compiled::Condition(at);
            }
        }
    }

    /// The set.
    pub fn set(&self) -> &Arc<RuleSet> {
        &self.set
    }

    /// Which conditions hold for an event as sent, after `enrich`; found through the index. This is the one place where
    /// events are enriched.
    pub fn matches(&mut self, sent: &Event<'_>) -> Matches {
        let changes = self.changes(sent);
        if changes.is_empty() {
            return self.match_seen(sent);
        }
        let found = self.match_seen(&changes.seen(sent));
        Matches { changes, ..found }
    }

    /// Which conditions hold for an event that was enriched before.
    pub fn match_seen(&mut self, event: &Event<'_>) -> Matches {
        let Self { conditions, index, runtime, found, asked, set, .. } = self;
        let mut out = Matches::default();
        let mut lazy = Lazy::default();
        index.find(event, found);
        let (all, always) = (found.hits.len() as u64, index.always() as u64);
        asked.indexed += all.saturating_sub(always);
        asked.unindexed += always;
        for hit in &found.hits {
            let Some(condition) = conditions.get(hit.entry as usize) else { continue };
            ask(set, condition, hit.proven, runtime, event, &mut lazy, &mut out, &mut asked.scripts);
        }
        // Conditions are numbered in the order of their rules, and so they are found.
        out
    }

    /// The same answer as [`Evaluator::matches`], from asking every condition.
    pub fn matches_brute_force(&mut self, sent: &Event<'_>) -> Matches {
        let changes = self.changes(sent);
        let event = changes.seen(sent);
        let (mut out, mut lazy) = (Matches::default(), Lazy::default());
        for condition in &self.conditions {
            ask(&self.set, condition, 0, &mut self.runtime, &event, &mut lazy, &mut out, &mut self.asked.scripts);
        }
        Matches { changes, ..out }
    }

    /// The parts of a rule's `by`, which must be given.
    ///
    /// # Errors
    /// When a part is missing or fails.
    pub fn by(&mut self, rule: RuleIx, event: &Event<'_>) -> Result<Vec<Value>, EvalError> {
        let set = Arc::clone(&self.set);
        let by = set.rule(rule).by.as_deref().unwrap_or_default();
        let mut lazy = Lazy::default();
        by.iter()
            .map(|ix| match self.value(*ix, "by", event, &mut lazy, None, Bindings::none())? {
                Value::Null => Err(EvalError::Missing(self.text_of(*ix))),
                value => Ok(value),
            })
            .collect()
    }

    /// The parts of a rule's `by`, where they read what a pattern binds: a record, a CI.
    ///
    /// # Errors
    /// When a part is missing or fails.
    pub fn by_of(&mut self, rule: RuleIx, ctx: &Ctx<'_>) -> Result<Vec<Value>, EvalError> {
        let set = Arc::clone(&self.set);
        let by = set.rule(rule).by.as_deref().unwrap_or_default();
        by.iter()
            .map(|ix| match self.eval_as(*ix, "by", ctx)? {
                Value::Null => Err(EvalError::Missing(self.text_of(*ix))),
                value => Ok(value),
            })
            .collect()
    }

    /// The value of an expression; what is missing is null.
    ///
    /// # Errors
    /// When it fails, or its value has no form in JSON.
    pub fn eval(&mut self, expr: ExprIx, ctx: &Ctx<'_>) -> Result<Value, EvalError> {
        self.eval_as(expr, "value", ctx)
    }

    fn eval_as(&mut self, expr: ExprIx, what: &str, ctx: &Ctx<'_>) -> Result<Value, EvalError> {
        self.value(expr, what, ctx.event, &mut Lazy::default(), Some(&ctx.around()), ctx.names)
    }

    /// An impact or urgency: HIGH, MEDIUM, LOW, 1 to 3, or "high".
    ///
    /// # Errors
    /// When it fails or is no level.
    pub fn level(&mut self, field: &Field<Level>, ctx: &Ctx<'_>) -> Result<Level, EvalError> {
        match field {
            Field::Given(level) => Ok(*level),
            Field::Computed(ix) => {
                let value = self.eval(*ix, ctx)?;
                let by_code = value.as_u64().and_then(|n| u8::try_from(n).ok()).and_then(|n| Level::try_from(n).ok());
                by_code.or_else(|| value.as_str().and_then(Level::from_name)).ok_or_else(|| {
                    let why = format!("`{}` gave {value}; expected HIGH, MEDIUM or LOW", self.text_of(*ix));
                    self.unusable(*ix, "level", why)
                })
            }
        }
    }

    /// Whether a condition holds, with what it implies; missing and failed is no.
    pub fn holds(&mut self, expr: ExprIx, event: &Event<'_>) -> bool {
        let mut lazy = Lazy::default();
        match self.exprs.get(expr.0 as usize) {
            Some(Compiled::Condition(at)) => {
                holds(&self.conditions[*at], 0, &mut self.runtime, event, &mut lazy, &mut self.asked.scripts)
                    .unwrap_or(false)
            }
            _ => self.value(expr, "condition", event, &mut lazy, None, Bindings::none()) == Ok(Value::Bool(true)),
        }
    }

    /// A text, filled in; what is missing is `?`. `about` is the name of the CI that the incident is about.
    pub fn render(&self, template: &Template, event: &Event<'_>, about: Option<&str>, names: &Bindings<'_>) -> String {
        template::render(template, event, about, names)
    }

    /// A question (`only_if`, `if`, `upon.when`): false when what it asks for is missing.
    ///
    /// # Errors
    /// When it fails, or gives neither true nor false.
    pub fn condition(&mut self, expr: ExprIx, ctx: &Ctx<'_>) -> Result<bool, EvalError> {
        match self.eval_as(expr, "only_if", ctx)? {
            Value::Bool(held) => Ok(held),
            Value::Null => Ok(false),
            other => {
                let why = format!("`{}` gave {other}; expected true or false", self.text_of(expr));
                Err(self.unusable(expr, "only_if", why))
            }
        }
    }

    /// What a rule's `then` wants to happen; nothing is performed. When it fails, nothing is wanted.
    ///
    /// # Errors
    /// When it fails.
    pub fn intents(&mut self, rule: RuleIx, ctx: &Ctx<'_>) -> Result<Vec<Intent>, EvalError> {
        let set = Arc::clone(&self.set);
        let rule = set.rule(rule);
        let Some(ix) = rule.then else { return Ok(Vec::new()) };
        let Some(Compiled::Script(ast)) = self.exprs.get(ix.0 as usize) else {
            return Err(EvalError::Script("no such script in this set".to_owned()));
        };
        let named = Named { visible: visible(&set, ix), bound: ctx.names, own_incident: rule.incident.is_some() };
        let wanted = self.runtime.intents(ast, ctx.event, &ctx.around(), named);
        wanted.map_err(|fault| self.failed(ix, "then", fault))
    }

    fn text_of(&self, expr: ExprIx) -> String {
        self.set.exprs.get(expr.0 as usize).map(|e| e.text.trim().to_owned()).unwrap_or_default()
    }

    fn value(
        &mut self,
        expr: ExprIx,
        what: &str,
        event: &Event<'_>,
        lazy: &mut Lazy,
        around: Option<&Surroundings<'_>>,
        names: &Bindings<'_>,
    ) -> Result<Value, EvalError> {
        let value = match self.exprs.get(expr.0 as usize) {
            None => return Err(EvalError::Script("no such expression in this set".to_owned())),
            Some(Compiled::Broken(why)) => return Err(EvalError::Script(why.clone())),
            Some(Compiled::Native(term)) => dynamic(term.eval(event)),
            Some(Compiled::Script(ast)) => {
                let named = Named { visible: visible(&self.set, expr), bound: names, own_incident: false };
                let value = self.runtime.value_with(ast, event, lazy, around, named);
                value.map_err(|fault| self.failed(expr, what, fault))?
            }
            Some(Compiled::Condition(at)) => {
                let held = holds(&self.conditions[*at], 0, &mut self.runtime, event, lazy, &mut self.asked.scripts);
                held.map_err(|fault| self.failed(expr, what, fault))?.into()
            }
        };
        to_json(&value).map_err(|why| self.unusable(expr, what, format!("`{}`: {why}", self.text_of(expr))))
    }
}

/// The names of a pattern that an expression may read.
fn visible(set: &RuleSet, expr: ExprIx) -> &[String] {
    set.exprs.get(expr.0 as usize).map_or(&[], |e| &e.names)
}

fn compile_value(compiler: &Compiler, text: &ExprText) -> Compiled {
    match compiler.parse_with(&text.text, Role::Value, &members::names(text)) {
        Ok(ast) => match expression(&ast).and_then(term) {
            Some(term) => Compiled::Native(term),
            None => Compiled::Script(ast),
        },
        Err(finding) => Compiled::Broken(finding.message),
    }
}

/// Whether it holds, where these conjuncts of its native part are known to.
fn holds(
    c: &Condition,
    proven: u32,
    runtime: &mut Runtime,
    event: &Event<'_>,
    lazy: &mut Lazy,
    scripts: &mut u64,
) -> Result<bool, Fault> {
    if !c.implied.holds(event) || !c.native.holds_given(proven, event) {
        return Ok(false);
    }
    let Some(script) = &c.script else { return Ok(true) };
    *scripts += 1;
    runtime.condition(script, event, lazy)
}

#[expect(clippy::too_many_arguments, reason = "parts of one evaluator, borrowed apart")]
fn ask(
    set: &RuleSet,
    c: &Condition,
    proven: u32,
    runtime: &mut Runtime,
    event: &Event<'_>,
    lazy: &mut Lazy,
    out: &mut Matches,
    scripts: &mut u64,
) {
    match holds(c, proven, runtime, event, lazy, scripts) {
        Ok(false) => {}
        Ok(true) => match c.purpose {
            Purpose::When => out.when.push(c.rule),
            Purpose::Clear => out.clear.push(c.rule),
            Purpose::Slot(slot) => out.slots.push((c.rule, slot)),
            Purpose::Verify(step) => out.verify.push((c.rule, step)),
        },
        Err(fault) => out.failed.extend(failures::failure(set, c.expr, c.purpose.name(), &fault)),
    }
}
