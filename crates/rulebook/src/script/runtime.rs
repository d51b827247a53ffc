//! Runs compiled expressions in the sandbox.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use paramedic_model::{Ci, Cmdb, Event, OwnedEvent, Timestamp};
use rhai::{AST, Dynamic, Engine, EvalAltResult, Scope};

use super::cost::Budget;
use super::objects::{CiObject, CmdbObject, Current, EventObject};
use super::sandbox::{CONDITION_OPERATIONS, VALUE_OPERATIONS, constants, engine};

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
}

/// The engine and its scope, for one thread.
pub(crate) struct Runtime {
    engine: Engine,
    scope: Scope<'static>,
    constants: usize,
    current: Current,
    budget: Budget,
}

impl Runtime {
    pub(crate) fn new() -> Self {
        let (current, budget) = (Current::default(), Budget::default());
        let scope = constants();
        Self { engine: engine(&current, &budget), constants: scope.len(), scope, current, budget }
    }

    /// Whether a condition holds.
    pub(crate) fn condition(&mut self, ast: &AST, event: &Event<'_>, lazy: &mut Lazy) -> Result<bool, String> {
        let value = self.run(ast, event, lazy, None)?;
        value.as_bool().map_err(|found| format!("expected true or false, found {found}"))
    }

    /// The value of an expression.
    pub(crate) fn value(
        &mut self,
        ast: &AST,
        event: &Event<'_>,
        lazy: &mut Lazy,
        around: Option<&Surroundings<'_>>,
    ) -> Result<Dynamic, String> {
        self.run(ast, event, lazy, around)
    }

    fn run(
        &mut self,
        ast: &AST,
        event: &Event<'_>,
        lazy: &mut Lazy,
        around: Option<&Surroundings<'_>>,
    ) -> Result<Dynamic, String> {
        let object = lazy.get(event);
        self.current.replace(Some(object.clone()));
        self.budget.set(if around.is_some() { VALUE_OPERATIONS } else { CONDITION_OPERATIONS });
        if let Some(around) = around {
            let about = around.about.map_or(Dynamic::UNIT, |ci| Dynamic::from(CiObject::new(around.cmdb, ci)));
            self.scope.push_constant_dynamic("about", about);
            self.scope.push_constant_dynamic("cmdb", Dynamic::from(CmdbObject(Arc::clone(around.cmdb))));
            self.scope.push_constant_dynamic("now", around.now.to_string().into());
        }
        self.scope.push_constant_dynamic("event", Dynamic::from(object));
        // A fault in the script engine must not take the shard with it.
        let outcome =
            catch_unwind(AssertUnwindSafe(|| self.engine.eval_ast_with_scope::<Dynamic>(&mut self.scope, ast)));
        self.scope.rewind(self.constants);
        self.current.replace(None);
        match outcome {
            Ok(result) => result.map_err(|e| explain(&e)),
            Err(_) => Err("the script engine failed".to_owned()),
        }
    }
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
