//! Runs compiled expressions in the sandbox.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use paramedic_model::{Ci, Cmdb, Event, OwnedEvent, Timestamp};
use rhai::{AST, Array, Dynamic, Engine, EvalAltResult, Scope};

use super::cost::Budget;
use super::intents::OwnIncident;
use super::json::from_record;
use super::objects::{CiObject, CmdbObject, Current, EventObject};
use super::questions::ROUNDS;
use super::sandbox::{CONDITION_OPERATIONS, Outside, SCRIPT_OPERATIONS, VALUE_OPERATIONS, constants, engine_with};
use super::site::SiteCode;
use crate::{Bindings, Bound, Intent, Lookups, Site};

/// Why an expression gave no value, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) why: String,
}

impl Fault {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { line: 1, why: why.into() }
    }
}

/// An event for scripts, made when the first script asks.
#[derive(Default)]
pub(crate) struct Lazy(Option<Rc<OwnedEvent>>);

impl Lazy {
    fn get(&mut self, event: &Event<'_>) -> EventObject {
        EventObject(Rc::clone(self.0.get_or_insert_with(|| Rc::new(event.clone().into_owned()))))
    }
}

/// What a value may read besides the event.
pub(crate) struct Surroundings<'a> {
    pub(crate) about: Option<&'a Ci>,
    pub(crate) cmdb: &'a Arc<Cmdb>,
    pub(crate) now: Timestamp,
    pub(crate) lookups: Option<&'a dyn Lookups>,
}

/// The names of a pattern: those that an expression may read, and what is bound.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) visible: &'a [String],
    pub(crate) bound: &'a Bindings<'a>,
    /// `incident` is what the rule opens, where the pattern binds none.
    pub(crate) own_incident: bool,
}

impl Named<'_> {
    pub(crate) fn nothing() -> Self {
        Named { visible: &[], bound: Bindings::none(), own_incident: false }
    }
}

fn event_object(event: &Event<'_>) -> EventObject {
    EventObject(Rc::new(event.clone().into_owned()))
}

/// What a name is for scripts; missing where nothing is bound to it.
fn object(bound: Option<&Bound<'_>>, cmdb: Option<&Arc<Cmdb>>) -> Dynamic {
    match (bound, cmdb) {
        (Some(Bound::Event(event)), _) => Dynamic::from(event_object(event)),
        (Some(Bound::Events(events)), _) => {
            events.iter().map(|event| Dynamic::from(event_object(event))).collect::<Array>().into()
        }
        (Some(Bound::Whole(n)), _) => (*n).into(),
        (Some(Bound::Number(x)), _) => (*x).into(),
        (Some(Bound::Ci(ci)), Some(cmdb)) => Dynamic::from(CiObject::new(cmdb, ci)),
        (Some(Bound::Record(record)), _) => from_record(record),
        (Some(Bound::Ci(_)) | None, _) => Dynamic::UNIT,
    }
}

/// The engine and its scope, for one thread.
pub(crate) struct Runtime {
    engine: Engine,
    scope: Scope<'static>,
    constants: usize,
    current: Current,
    budget: Budget,
    outside: Outside,
}

impl Runtime {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::of(&Site::default())
    }

    /// With the lists and thresholds of a site.
    pub(crate) fn of(site: &Site) -> Self {
        let (current, budget, outside) = (Current::default(), Budget::default(), Outside::default());
        let engine = engine_with(&current, &budget, &outside);
        let mut scope = constants();
        SiteCode::new(&engine, site).bind(&mut scope);
        outside.thresholds.borrow_mut().of_site = site.thresholds.clone();
        Self { engine, constants: scope.len(), scope, current, budget, outside }
    }

    /// What a script wants to happen. When it fails, nothing.
    pub(crate) fn intents(
        &mut self,
        ast: &AST,
        event: &Event<'_>,
        around: &Surroundings<'_>,
        named: Named<'_>,
    ) -> Result<Vec<Intent>, Fault> {
        let _ = self.run(ast, event, &mut Lazy::default(), Some(around), named, SCRIPT_OPERATIONS)?;
        Ok(self.outside.intents.borrow_mut().take())
    }

    /// Whether a condition holds.
    pub(crate) fn condition(&mut self, ast: &AST, event: &Event<'_>, lazy: &mut Lazy) -> Result<bool, Fault> {
        self.condition_with(ast, event, lazy, Named::nothing())
    }

    /// Whether a condition holds that reads more events than its own.
    pub(crate) fn condition_with(
        &mut self,
        ast: &AST,
        event: &Event<'_>,
        lazy: &mut Lazy,
        named: Named<'_>,
    ) -> Result<bool, Fault> {
        let value = self.run(ast, event, lazy, None, named, CONDITION_OPERATIONS)?;
        value.as_bool().map_err(|found| Fault::new(format!("expected true or false, found {found}")))
    }

    /// Whether a condition holds that reads thresholds of the event's CI.
    pub(crate) fn condition_of_ci(
        &mut self,
        ast: &AST,
        event: &Event<'_>,
        lazy: &mut Lazy,
        cmdb: &Arc<Cmdb>,
    ) -> Result<bool, Fault> {
        let around = Surroundings { about: None, cmdb, now: event.received, lookups: None };
        let value = self.run(ast, event, lazy, Some(&around), Named::nothing(), CONDITION_OPERATIONS)?;
        value.as_bool().map_err(|found| Fault::new(format!("expected true or false, found {found}")))
    }

    /// The value of an expression.
    #[cfg(test)]
    pub(crate) fn value(
        &mut self,
        ast: &AST,
        event: &Event<'_>,
        lazy: &mut Lazy,
        around: Option<&Surroundings<'_>>,
    ) -> Result<Dynamic, Fault> {
        self.run(ast, event, lazy, around, Named::nothing(), VALUE_OPERATIONS)
    }

    /// The value of an expression that reads names of a pattern.
    pub(crate) fn value_with(
        &mut self,
        ast: &AST,
        event: &Event<'_>,
        lazy: &mut Lazy,
        around: Option<&Surroundings<'_>>,
        named: Named<'_>,
    ) -> Result<Dynamic, Fault> {
        self.run(ast, event, lazy, around, named, VALUE_OPERATIONS)
    }

    fn run(
        &mut self,
        ast: &AST,
        event: &Event<'_>,
        lazy: &mut Lazy,
        around: Option<&Surroundings<'_>>,
        named: Named<'_>,
        operations: u64,
    ) -> Result<Dynamic, Fault> {
        self.outside.questions.borrow_mut().clear();
        let lookups = around.and_then(|a| a.lookups);
        for _ in 0..ROUNDS {
            self.outside.intents.borrow_mut().clear();
            let outcome = self.once(ast, event, lazy, around, named, operations);
            // What failed for want of an answer may yet succeed.
            if !self.outside.questions.borrow_mut().answer(lookups) {
                return outcome;
            }
        }
        Err(Fault::new(format!("its questions depend on answers more than {ROUNDS} times")))
    }

    fn once(
        &mut self,
        ast: &AST,
        event: &Event<'_>,
        lazy: &mut Lazy,
        around: Option<&Surroundings<'_>>,
        named: Named<'_>,
        operations: u64,
    ) -> Result<Dynamic, Fault> {
        let own = lazy.get(event);
        self.current.replace(Some(own.clone()));
        self.budget.set(if around.is_some() { operations } else { CONDITION_OPERATIONS });
        if let Some(around) = around {
            let about = around.about.map_or(Dynamic::UNIT, |ci| Dynamic::from(CiObject::new(around.cmdb, ci)));
            self.scope.push_constant_dynamic("about", about);
            self.scope.push_constant_dynamic("cmdb", Dynamic::from(CmdbObject(Arc::clone(around.cmdb))));
            self.scope.push_constant_dynamic("now", around.now.to_string().into());
        }
        let cmdb = around.map(|a| a.cmdb);
        self.outside.thresholds.borrow_mut().cmdb = cmdb.cloned();
        if named.own_incident {
            self.scope.push_constant_dynamic("incident", Dynamic::from(OwnIncident));
        }
        for name in named.visible {
            let value = object(named.bound.get(name), cmdb);
            self.scope.push_constant_dynamic(name.as_str(), value);
        }
        self.scope.push_constant_dynamic("event", Dynamic::from(own));
        // A fault in the script engine must not take the shard with it.
        let outcome =
            catch_unwind(AssertUnwindSafe(|| self.engine.eval_ast_with_scope::<Dynamic>(&mut self.scope, ast)));
        self.scope.rewind(self.constants);
        self.current.replace(None);
        self.outside.thresholds.borrow_mut().cmdb = None;
        match outcome {
            Ok(result) => result.map_err(|e| fault(&e)),
            Err(_) => Err(Fault::new("the script engine failed")),
        }
    }
}

/// What fails in a function of the site is told where that was called.
fn fault(error: &EvalAltResult) -> Fault {
    Fault { line: error.position().line().unwrap_or(1), why: explain(error) }
}

fn explain(error: &EvalAltResult) -> String {
    match error.unwrap_inner() {
        EvalAltResult::ErrorTooManyOperations(_) | EvalAltResult::ErrorTerminated(..) => {
            "too much work: it was stopped".to_owned()
        }
        EvalAltResult::ErrorStackOverflow(_) => "calls itself too deeply".to_owned(),
        EvalAltResult::ErrorDataTooLarge(what, _) => format!("too large: {what}"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use paramedic_model::{Cmdb, Event, Timestamp};

    use super::*;
    use crate::script::compile::{Compiler, Role};
    use crate::script::names::Names;

    /// A fault of ours in a function of the language.
    #[test]
    fn a_function_that_panics_fails_the_rule_and_nothing_else() {
        let (compiler, mut runtime, cmdb) = (Compiler::new(), Runtime::new(), Arc::new(Cmdb::default()));
        runtime.engine.register_fn("breaks", || -> bool { panic!("a fault, on purpose") });
        let (event, lazy) = (Event::default(), &mut Lazy::default());
        let around = Surroundings { about: None, cmdb: &cmdb, now: Timestamp::EPOCH, lookups: None };
        let expected = Fault::new("the script engine failed");
        let condition = compiler.parse("breaks()", Role::Condition).unwrap();
        assert_eq!(runtime.condition(&condition, &event, lazy), Err(expected.clone()));
        let value = compiler.parse("[1].map(|x| breaks())", Role::Value).unwrap();
        assert_eq!(runtime.value(&value, &event, lazy, Some(&around)).unwrap_err(), expected);
        let script = compiler.parse_script("notify(\"team\", \"first\"); breaks();", &Names::EVENT).unwrap();
        assert_eq!(runtime.intents(&script, &event, &around, Named::nothing()), Err(expected));
        let well = compiler.parse_script("notify(\"team\", \"second\");", &Names::EVENT).unwrap();
        let wanted = runtime.intents(&well, &event, &around, Named::nothing()).unwrap();
        assert_eq!(wanted, [Intent::Notify { to: "team".into(), text: "second".into() }]);
    }
}
