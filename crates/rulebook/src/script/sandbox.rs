//! The Rhai engine for rulebooks: no clock, no files, no output, bounded in everything, and with the
//! comparisons of [`crate::value`].

use std::rc::Rc;

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage, BasicStringPackage,
    MoreStringPackage, Package,
};
use rhai::{Array, Dynamic, Engine, OptimizationLevel, Scope};

use super::cost::{self, Budget};
use super::functions::{self, Env};
use super::intents::{self, SharedOutbox};
use super::objects::{CiObject, Current, dynamic, register_cmdb, register_event, val};
use super::questions::SharedQuestions;
use super::thresholds::SharedThresholds;

pub(crate) use super::functions::FUNCTIONS;
use crate::condition::Lit;
use crate::value::Op;
use paramedic_model::Severity;

/// What a condition may cost, in Rhai operations; about a millisecond.
pub(crate) const CONDITION_OPERATIONS: u64 = 10_000;
/// What a value may cost: it may walk the neighbours of a CI.
pub(crate) const VALUE_OPERATIONS: u64 = 500_000;

/// What a script may cost.
pub(crate) const SCRIPT_OPERATIONS: u64 = 500_000;

const STRING_BYTES: usize = 256 * 1024;
const ARRAY_ITEMS: usize = 100_000;
const MAP_ITEMS: usize = 1_000;
const DEPTH: usize = 64;

/// The names that stand for values everywhere, and what they are.
pub(crate) const CONSTANTS: [(&str, Lit); 10] = [
    ("INFO", Lit::Severity(Severity::Info)),
    ("WARNING", Lit::Severity(Severity::Warning)),
    ("MINOR", Lit::Severity(Severity::Minor)),
    ("MAJOR", Lit::Severity(Severity::Major)),
    ("CRITICAL", Lit::Severity(Severity::Critical)),
    ("FIRING", Lit::Word("firing")),
    ("RESOLVED", Lit::Word("resolved")),
    ("HIGH", Lit::Int(1)),
    ("MEDIUM", Lit::Int(2)),
    ("LOW", Lit::Int(3)),
];

/// What scripts ask of the engine, what they read of the site and the CMDB, and what they want to happen.
#[derive(Clone, Default)]
pub(crate) struct Outside {
    pub(crate) questions: SharedQuestions,
    pub(crate) thresholds: SharedThresholds,
    pub(crate) intents: SharedOutbox,
}

/// Builds the engine, with nothing outside of it. `current` is the event that `label(name)` reads; `budget` is set before each evaluation.
pub(crate) fn engine(current: &Current, budget: &Budget) -> Engine {
    let mut engine = engine_with(current, budget, &Outside::default());
    engine.disable_symbol("for");
    engine
}

/// Builds the engine, which knows `for`: it is for scripts, and runs what was compiled without it.
pub(crate) fn engine_with(current: &Current, budget: &Budget, outside: &Outside) -> Engine {
    let mut engine = Engine::new_raw();
    let left_over = Rc::clone(budget);
    engine.on_progress(move |_| {
        let left = left_over.get().checked_sub(1);
        left_over.set(left.unwrap_or_default());
        if left.is_none() { Some(Dynamic::UNIT) } else { None }
    });
    for package in [
        ArithmeticPackage::new().as_shared_module(),
        BasicMathPackage::new().as_shared_module(),
        BasicStringPackage::new().as_shared_module(),
        MoreStringPackage::new().as_shared_module(),
        BasicArrayPackage::new().as_shared_module(),
        BasicMapPackage::new().as_shared_module(),
        BasicIteratorPackage::new().as_shared_module(),
    ] {
        engine.register_global_module(package);
    }
    limit(&mut engine);
    // Built-in operators would come before ours: theirs are epsilon-relative and hold across types. And the
    // optimiser would fold comparisons of constants with them.
    engine.set_fast_operators(false);
    engine.set_optimization_level(OptimizationLevel::None);
    engine.set_strict_variables(true);
    register_comparisons(&mut engine);
    functions::register(&mut engine, &Env { current, budget, outside });
    intents::register(&mut engine, &outside.intents);
    register_event(&mut engine, budget);
    register_cmdb(&mut engine, budget);
    cost::register(&mut engine, budget);
    engine
}

fn limit(engine: &mut Engine) {
    engine
        .set_max_operations(VALUE_OPERATIONS)
        .set_max_call_levels(16)
        .set_max_expr_depths(DEPTH, DEPTH)
        .set_max_string_size(STRING_BYTES)
        .set_max_array_size(ARRAY_ITEMS)
        .set_max_map_size(MAP_ITEMS)
        .set_max_variables(64)
        .set_max_functions(32)
        .set_max_strings_interned(256);
    // Powers are left out: what a float to the power of a float is, is up to the machine's library.
    for symbol in ["eval", "print", "debug", "while", "loop", "do", "**"] {
        engine.disable_symbol(symbol);
    }
}

fn register_comparisons(engine: &mut Engine) {
    for op in Op::ALL {
        engine.register_fn(op.sign(), move |a: Dynamic, b: Dynamic| op.holds(&val(&a), &val(&b)));
    }
    engine.register_fn("==", |a: CiObject, b: CiObject| a.id == b.id);
    engine.register_fn("!=", |a: CiObject, b: CiObject| a.id != b.id);
    engine.register_fn("contains", |list: &mut Array, item: Dynamic| {
        let item = val(&item);
        list.iter().any(|x| Op::Eq.holds(&val(x), &item))
    });
    engine.register_fn("!", |b: bool| !b);
}

/// A scope that holds the constants.
pub(crate) fn constants() -> Scope<'static> {
    let mut scope = Scope::new();
    for (name, lit) in &CONSTANTS {
        scope.push_constant_dynamic(*name, dynamic(lit.val()));
    }
    scope
}

/// The constant of a name.
pub(crate) fn constant(name: &str) -> Option<&'static Lit> {
    CONSTANTS.iter().find(|(n, _)| *n == name).map(|(_, lit)| lit)
}

/// Names that a value may use besides `event`.
pub(crate) const VALUE_NAMES: [&str; 3] = ["about", "cmdb", "now"];

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::value::Val;

    #[test]
    fn comparisons_in_scripts_are_the_table_of_values() {
        let engine = engine(&Current::default(), &Budget::new(Cell::new(1000)));
        for (text, expected) in [
            ("1 == 1.0", true),
            ("9007199254740993 == 9007199254740992.0", false),
            ("0.1 + 0.2 == 0.3", false),
            ("() == ()", false),
            ("() != 1", false),
            ("\"5\" != 5", false),
            ("\"a\" < \"b\"", true),
            ("2 in [1, 2.0]", true),
            ("() in [()]", false),
            ("CRITICAL > MAJOR", true),
            ("CRITICAL != 5", false),
            ("!(1 > 2)", true),
        ] {
            let ast = engine.compile_expression_with_scope(&constants(), text).unwrap();
            assert_eq!(engine.eval_ast_with_scope::<bool>(&mut constants(), &ast).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn nothing_in_a_script_reaches_outside() {
        let engine = engine(&Current::default(), &Budget::new(Cell::new(1000)));
        for text in ["eval(\"1\")", "sleep(1)", "timestamp()", "print(1)", "Fn(\"sleep\").call(1)", "rand()"] {
            let outcome = engine
                .compile_expression_with_scope(&constants(), text)
                .map_err(|e| e.to_string())
                .and_then(|ast| engine.eval_ast::<Dynamic>(&ast).map_err(|e| e.to_string()));
            assert!(outcome.is_err(), "{text}");
        }
    }

    #[test]
    fn a_missing_text_fits_nothing_and_fails_nothing() {
        let engine = engine(&Current::default(), &Budget::new(Cell::new(1000)));
        assert!(!engine.eval::<bool>("().contains(\"x\")").unwrap());
        assert!(!engine.eval::<bool>("().len() > 3").unwrap());
        assert!(matches!(val(&engine.eval::<Dynamic>("num(\"x\")").unwrap()), Val::Missing));
    }
}
