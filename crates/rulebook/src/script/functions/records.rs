//! What the engine is asked: open alerts, open incidents, health. The answers come from outside of the script, so it
//! runs again once they are there; see `questions`.

use std::rc::Rc;

use paramedic_model::Span;
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString};

use super::{Env, Family, Function, no_check};
use crate::script::objects::CiObject;
use crate::script::questions::Question;

pub(super) const FAMILY: Family =
    Family { title: "Open alerts and records", functions: &FUNCTIONS, register, check: no_check };

/// The names of these functions: conditions on events may not call them.
pub(crate) const ASKING: [&str; 3] = ["open_incident", "open_alert", "healthy"];

const FUNCTIONS: [Function; 3] = [
    Function {
        name: "open_incident",
        signature: "open_incident(CI) -> record",
        meaning: "The open incident about a CI; missing where there is none. Not in conditions on events.",
        example: "!has(open_incident(about))",
    },
    Function {
        name: "open_alert",
        signature: "open_alert(CI, text) -> record",
        meaning: "The open alert on a CI, of that type where one is given; missing where there is none. Not in conditions on events.",
        example: "!has(open_alert(about, \"disk.used_pct\"))",
    },
    Function {
        name: "healthy",
        signature: "healthy(CI, text) -> bool",
        meaning: "Whether nothing is wrong with a CI that was heard of within a span such as \"30s\"; false where that is not known. Not in conditions on events.",
        example: "!healthy(about, \"30s\")",
    },
];

fn register(engine: &mut Engine, env: &Env<'_>) {
    let asked = Rc::clone(&env.outside.questions);
    engine.register_fn("open_incident", move |ci: CiObject| asked.borrow_mut().ask(Question::Incident(ci.id)));
    let asked = Rc::clone(&env.outside.questions);
    engine.register_fn("open_alert", move |ci: CiObject| asked.borrow_mut().ask(Question::Alert(ci.id, None)));
    let asked = Rc::clone(&env.outside.questions);
    engine.register_fn("open_alert", move |ci: CiObject, type_: ImmutableString| {
        asked.borrow_mut().ask(Question::Alert(ci.id, Some(type_.to_string())))
    });
    let asked = Rc::clone(&env.outside.questions);
    engine.register_fn("healthy", move |ci: CiObject, span: ImmutableString| -> Result<bool, Box<EvalAltResult>> {
        let span: Span = span.parse().map_err(|e: paramedic_model::TimeError| e.to_string())?;
        Ok(asked.borrow_mut().ask(Question::Healthy(ci.id, span)).as_bool().unwrap_or_default())
    });
    // Of a CI that is not there nothing is known.
    engine.register_fn("open_incident", |(): ()| ());
    engine.register_fn("open_alert", |(): ()| ());
    engine.register_fn("open_alert", |(): (), _: Dynamic| ());
    engine.register_fn("healthy", |(): (), _: Dynamic| false);
}
