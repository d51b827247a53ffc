//! What expressions after a pattern may read: its names, and what the engine keeps.

use paramedic_model::{Ci, Named, Names};
use paramedic_rulebook::{Bindings, Bound, Ctx, EvalError, ExprIx};
use serde_json::Value;

use super::{Cx, Hit, Which};

impl Cx<'_> {
    /// Names as expressions read them. One that is not known any more is missing.
    pub(in crate::step) fn bindings<'a>(&'a self, names: &'a Names) -> Bindings<'a> {
        let mut bindings = Bindings::default();
        for (name, named) in names {
            let bound = match named {
                Named::Event(event) => Bound::Event(event),
                Named::Events(events) => Bound::Events(events.iter().map(|e| &**e).collect()),
                Named::Whole(n) => Bound::Whole(*n),
                Named::Number(x) => Bound::Number(*x),
                Named::Record(record) => Bound::Record(record),
                Named::Ci(id) => match self.state.cmdb.get(*id) {
                    Some(ci) => Bound::Ci(ci),
                    None => continue,
                },
            };
            bindings.bind(name, bound);
        }
        bindings
    }

    /// The value of an expression of a rule; what is missing is an error.
    pub(super) fn value_of(&self, which: &Which, hit: Hit<'_>, expr: ExprIx) -> Result<Value, EvalError> {
        let Some(evaluator) = self.evaluator(which.set.digest) else {
            return Err(EvalError::Script("no rules".to_owned()));
        };
        let names = self.bindings(hit.names);
        let ctx = Ctx { names: &names, ..Ctx::of(hit.event, None, &self.state.cmdb, self.now) };
        match evaluator.borrow_mut().eval(expr, &ctx)? {
            Value::Null => Err(EvalError::Missing("it".to_owned())),
            value => Ok(value),
        }
    }

    /// The CI that an event names.
    pub(in crate::step) fn about(&self, hit: Hit<'_>) -> Option<&Ci> {
        self.state.cmdb.identify(&hit.event.ci).ok()
    }
}
