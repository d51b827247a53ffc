//! Regular expressions.

use std::rc::Rc;

use rhai::{Dynamic, Engine, EvalAltResult, Expr, FnCallExpr, ImmutableString};

use super::{Env, Family, Function, Wrong};
use crate::script::cost::charge;
use crate::value::{Pattern, Patterns};

pub(super) const FAMILY: Family = Family { title: "Regular expressions", functions: &FUNCTIONS, register, check };

/// What compiling one costs, in operations: some hundred microseconds at worst.
const COMPILING: u64 = 1_000;
/// Bytes of text that cost one operation.
const BYTES: usize = 64;

const FUNCTIONS: [Function; 1] = [Function {
    name: "matches",
    signature: "matches(text, expression) -> bool",
    meaning: "Whether the regular expression is found anywhere in the text; `^` and `$` bind it to the ends. It takes time \
              linear in the text, and knows no look-around and no references back.",
    example: "event.summary.matches(\"^Disk /var on web-[0-9]+\") && matches(event.ci, \"(?i)^WEB\")",
}];

fn register(engine: &mut Engine, env: &Env<'_>) {
    let (patterns, left) = (Rc::new(Patterns::default()), Rc::clone(env.budget));
    engine.register_fn(
        "matches",
        move |text: ImmutableString, pattern: ImmutableString| -> Result<bool, Box<EvalAltResult>> {
            let (found, compiled) = patterns.is_in(&pattern, &text)?;
            charge(&left, (text.len() / BYTES) as u64 + if compiled { COMPILING } else { 0 });
            Ok(found)
        },
    );
    engine.register_fn("matches", |(): (), _: Dynamic| false);
    engine.register_fn("matches", |_: ImmutableString, (): ()| false);
}

fn check(call: &FnCallExpr) -> Option<Wrong> {
    let (true, Some(Expr::StringConstant(pattern, _))) = (call.name == "matches", call.args.last()) else {
        return None;
    };
    let help = "in a text in double quotes a backslash is written twice: \"\\\\d+\"; in back-ticks, once";
    Pattern::new(pattern).err().map(|why| (why, Some(help.to_owned())))
}
