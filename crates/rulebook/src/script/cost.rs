//! What work on large values costs. Rhai counts its own operations, and one of them may copy a megabyte: so reading a
//! text or a variable, and what `map`, `reduce` and `split` bring forth, is charged to the same budget, by size.

use std::cell::Cell;
use std::rc::Rc;

use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, Map, NativeCallContext};

/// What is left of an evaluation's operations. Rhai's own count begins anew in each closure that a native function
/// such as `map` calls, so nested ones would run for ever within it.
pub(crate) type Budget = Rc<Cell<u64>>;

/// Bytes of text that cost as much as one operation.
const TEXT_BYTES: usize = 256;

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// In operations: a text by its length, a list or map by its items, and theirs.
fn cost(value: &Dynamic) -> u64 {
    if let Ok(text) = value.as_immutable_string_ref() {
        return (text.len() / TEXT_BYTES) as u64;
    }
    if let Some(list) = value.read_lock::<Array>() {
        return list.iter().map(|item| 1 + cost(item)).sum();
    }
    value.read_lock::<Map>().map_or(0, |map| map.values().map(|item| 1 + cost(item)).sum())
}

/// Takes operations off the budget. Where nothing is left the next operation is the last.
pub(crate) fn charge(budget: &Budget, operations: u64) {
    budget.set(budget.get().saturating_sub(operations));
}

/// Takes what a value costs off the budget, and gives it back.
pub(crate) fn charged(budget: &Budget, value: Dynamic) -> Dynamic {
    charge(budget, cost(&value));
    value
}

fn index(at: usize) -> [Dynamic; 1] {
    [i64::try_from(at).unwrap_or(i64::MAX).into()]
}

/// Reading a variable copies what is in it, and what is done with it walks through it once more. Without this a script of half
/// a minute is within its operations.
#[expect(deprecated, reason = "Rhai says of it that it is not, and that it may change")]
fn charge_variables(engine: &mut Engine, budget: &Budget) {
    let left = Rc::clone(budget);
    engine.on_var(move |name, _, context| {
        if let Some(value) = context.scope().get(name) {
            charge(&left, cost(value));
        }
        Ok(None)
    });
}

/// Replaces Rhai's functions that bring forth what may be large: the same, but charged.
pub(crate) fn register(engine: &mut Engine, budget: &Budget) {
    charge_variables(engine, budget);
    let left = Rc::clone(budget);
    engine.register_fn("map", move |ctx: NativeCallContext<'_>, list: &mut Array, f: FnPtr| -> Outcome<Array> {
        let mut out = Array::new();
        for (at, item) in list.iter_mut().enumerate() {
            let value = f.call_raw_with_extra_args("map", &ctx, Some(item), [], index(at), Some(0))?;
            out.push(charged(&left, value));
        }
        Ok(out)
    });
    let reduce = {
        let left = Rc::clone(budget);
        move |ctx: &NativeCallContext<'_>, list: &mut Array, f: &FnPtr, first: Dynamic| -> Outcome<Dynamic> {
            list.iter_mut().enumerate().try_fold(first, |so_far, (at, item)| {
                let value = f.call_raw_with_extra_args("reduce", ctx, Some(item), [so_far], index(at), Some(1))?;
                Ok(charged(&left, value))
            })
        }
    };
    let from_nothing = reduce.clone();
    engine.register_fn("reduce", move |ctx: NativeCallContext<'_>, list: &mut Array, f: FnPtr| {
        from_nothing(&ctx, list, &f, Dynamic::UNIT)
    });
    engine.register_fn("reduce", move |ctx: NativeCallContext<'_>, list: &mut Array, f: FnPtr, first: Dynamic| {
        reduce(&ctx, list, &f, first)
    });
    let left = Rc::clone(budget);
    engine.register_fn("split", move |text: ImmutableString, by: ImmutableString| {
        let parts: Array = text.split(by.as_str()).map(|part| Dynamic::from(ImmutableString::from(part))).collect();
        charged(&left, Dynamic::from(parts))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::objects::Current;
    use crate::script::sandbox::{VALUE_OPERATIONS, engine};

    fn eval(text: &str) -> Result<String, String> {
        let budget = Budget::new(Cell::new(VALUE_OPERATIONS));
        let engine = engine(&Current::default(), &budget);
        engine.eval_expression::<Dynamic>(text).map(|v| v.to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_charged_gives_what_it_gave() {
        for (text, expected) in [
            ("[1, 2].map(|x| x + 1)", "[2, 3]"),
            ("[1, 2].map(|x, i| x * i)", "[0, 2]"),
            ("[1, 2].map(|| this)", "[1, 2]"),
            ("[].map(|x| x)", "[]"),
            ("[1, 2, 3].reduce(|a, x| x + if has(a) { a } else { 0 })", "6"),
            ("[1, 2, 3].reduce(|a, x| a + x, 10)", "16"),
            ("[1, 2].reduce(|a, x, i| a + x * i, 0)", "2"),
            ("[].reduce(|a, x| a, 7)", "7"),
            ("\"a-b--c\".split(\"-\")", "[\"a\", \"b\", \"\", \"c\"]"),
            ("\"ab\".split(\"-\")", "[\"ab\"]"),
            ("\"\".split(\"-\")", "[\"\"]"),
        ] {
            assert_eq!(eval(text).as_deref(), Ok(expected), "{text}");
        }
    }

    /// Found by trying: before, the first held 2 GB, and the second ran for hours.
    #[test]
    fn what_grows_is_stopped_before_it_is_large() {
        let words = "x ".repeat(40_000);
        let text = "y".repeat(200_000);
        for text in [
            format!("\"{words}\".split(\" \").map(|w| \"{text}\" + w)"),
            format!("\"{words}\".split(\" \").reduce(|a, w| [a])"),
            format!("\"{words}\".split(\" \").reduce(|a, w| #{{a: a}})"),
            format!("\"{words}\".split(\" \").map(|w| \"{words}\".split(\" \").len())"),
        ] {
            let outcome = eval(&text);
            assert!(outcome.as_ref().is_err_and(|e| e.contains("terminated")), "{:.200}", format!("{outcome:?}"));
        }
    }
}
