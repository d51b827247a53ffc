//! Whether something is there, and what it spells.

use std::rc::Rc;

use rhai::{Dynamic, Engine, ImmutableString};

use super::{Env, Family, Function, no_check};
use crate::script::cost::charged;
use crate::script::objects::{dynamic, val};
use crate::value::{One, Val};

pub(super) const FAMILY: Family = Family { title: "What is there", functions: &FUNCTIONS, register, check: no_check };

const FUNCTIONS: [Function; 3] = [
    Function {
        name: "has",
        signature: "has(any) -> bool",
        meaning: "Whether the value is there.",
        example: "has(event.labels.mount) && !has(event.labels.nothing)",
    },
    Function {
        name: "num",
        signature: "num(any) -> number",
        meaning: "The number that a text spells; a number stays; what spells none is missing.",
        example: "num(event.labels.code) >= 500 && !has(num(\"5xx\"))",
    },
    Function {
        name: "label",
        signature: "label(text) -> text",
        meaning: "The event's label of that name, for names that stand in no expression.",
        example: "label(\"mount\") == \"/var\"",
    },
];

fn register(engine: &mut Engine, env: &Env<'_>) {
    engine.register_fn("has", |value: Dynamic| !value.is_unit());
    engine.register_fn("num", |value: Dynamic| dynamic(One::Num.apply(val(&value))));
    let (current, left) = (Rc::clone(env.current), Rc::clone(env.budget));
    engine.register_fn("label", move |name: ImmutableString| {
        let value = current.borrow().as_ref().map_or(Dynamic::UNIT, |e| dynamic(Val::optional(e.0.labels.get(&name))));
        charged(&left, value)
    });
}
