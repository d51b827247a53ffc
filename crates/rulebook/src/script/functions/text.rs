//! Texts. A missing text contains nothing and has no length: it fits no condition, and is no failure.

use rhai::{Array, Dynamic, Engine, ImmutableString};

use super::{Env, Family, Function, no_check};
use crate::script::objects::SeverityObject;

pub(super) const FAMILY: Family = Family { title: "Texts", functions: &FUNCTIONS, register, check: no_check };

const FUNCTIONS: [Function; 12] = [
    Function {
        name: "contains",
        signature: "contains(text, text) -> bool",
        meaning: "Whether the second stands anywhere in the first; of a list, whether it holds the value.",
        example: "event.summary.contains(\"/var\") && [1, 2].contains(2.0)",
    },
    Function {
        name: "starts_with",
        signature: "starts_with(text, text) -> bool",
        meaning: "Whether the first begins with the second.",
        example: "event.type.starts_with(\"disk.\")",
    },
    Function {
        name: "ends_with",
        signature: "ends_with(text, text) -> bool",
        meaning: "Whether the first ends with the second.",
        example: "event.type.ends_with(\"_pct\")",
    },
    Function {
        name: "to_lower",
        signature: "to_lower(text) -> text",
        meaning: "In small letters.",
        example: "event.summary.to_lower().starts_with(\"disk\")",
    },
    Function {
        name: "to_upper",
        signature: "to_upper(text) -> text",
        meaning: "In capitals.",
        example: "event.ci.to_upper() == \"WEB-1\"",
    },
    Function {
        name: "len",
        signature: "len(text) -> number",
        meaning: "How many characters a text has, and items a list.",
        example: "event.ci.len() == 5 && [1, 2].len() == 2",
    },
    Function {
        name: "is_empty",
        signature: "is_empty(text) -> bool",
        meaning: "Whether a text, or a list, has nothing in it; a missing one has not.",
        example: "event.labels.nothing.is_empty() && !event.ci.is_empty()",
    },
    Function {
        name: "index_of",
        signature: "index_of(text, text) -> number",
        meaning: "Where the second begins in the first, from 0; -1 where it does not stand there.",
        example: "\"web-1\".index_of(\"-\") == 3",
    },
    Function {
        name: "sub_string",
        signature: "sub_string(text, number, number) -> text",
        meaning: "So many characters from a position, counted from 0; without a third argument, all from there.",
        example: "\"web-1\".sub_string(0, 3) == \"web\"",
    },
    Function {
        name: "split",
        signature: "split(text, text) -> list",
        meaning: "The parts between a separator.",
        example: "event.labels.tags.split(\",\").contains(\"prod\")",
    },
    Function {
        name: "concat",
        signature: "concat(text, text) -> text",
        meaning: "One text behind the other; `+` does the same, and takes numbers.",
        example: "concat(\"web\", \"-1\") == \"web-\" + 1",
    },
    Function {
        name: "to_string",
        signature: "to_string(any) -> text",
        meaning: "The value as a text.",
        example: "5.to_string() == \"5\" && MAJOR.to_string() == \"major\"",
    },
];

fn register(engine: &mut Engine, _: &Env<'_>) {
    for name in ["contains", "starts_with", "ends_with"] {
        engine.register_fn(name, |(): (), _: Dynamic| false);
        engine.register_fn(name, |_: ImmutableString, (): ()| false);
    }
    for name in ["len", "to_lower", "to_upper", "to_string"] {
        engine.register_fn(name, |(): ()| ());
    }
    engine.register_fn("is_empty", |(): ()| true);
    engine.register_fn("split", |(): (), _: Dynamic| Array::new());
    for name in ["sub_string", "index_of"] {
        engine.register_fn(name, |(): (), _: Dynamic| ());
    }
    engine.register_fn("sub_string", |(): (), _: Dynamic, _: Dynamic| ());
    engine.register_fn("concat", |a: ImmutableString, b: ImmutableString| a + b);
    engine.register_fn("to_string", |severity: SeverityObject| severity.0.name());
}
