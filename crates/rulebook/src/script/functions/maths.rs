//! Arithmetic and numbers, as [`crate::value`] defines them: none fails, and none differs between machines.

use rhai::{Engine, ImmutableString};

use super::{Env, Family, Function, no_check};
use crate::script::objects::dynamic;
use crate::value::{One, Two, Val};

pub(super) const FAMILY: Family = Family { title: "Numbers", functions: &FUNCTIONS, register, check: no_check };

const FUNCTIONS: [Function; 15] = [
    Function {
        name: "abs",
        signature: "abs(number) -> number",
        meaning: "Without its sign.",
        example: "abs(event.threshold - event.value) == 3",
    },
    Function {
        name: "min",
        signature: "min(number, number) -> number",
        meaning: "The lesser; missing where one is.",
        example: "min(event.value, 100) == 93",
    },
    Function {
        name: "max",
        signature: "max(number, number) -> number",
        meaning: "The greater; missing where one is.",
        example: "max(event.value, 100.0) == 100",
    },
    Function {
        name: "round",
        signature: "round(number) -> number",
        meaning: "The nearest whole number; a half goes away from zero.",
        example: "(event.value / 2).round() == 47",
    },
    Function {
        name: "floor",
        signature: "floor(number) -> number",
        meaning: "The whole number below.",
        example: "(event.value / 2).floor() == 46",
    },
    Function {
        name: "ceiling",
        signature: "ceiling(number) -> number",
        meaning: "The whole number above.",
        example: "(event.value / 2).ceiling() == 47",
    },
    Function {
        name: "sqrt",
        signature: "sqrt(number) -> number",
        meaning: "The square root; of a negative number it is missing.",
        example: "sqrt(16) == 4 && !has(sqrt(-1))",
    },
    Function { name: "sign", signature: "sign(number) -> number", meaning: "1, 0 or -1.", example: "sign(-2.5) == -1" },
    Function {
        name: "to_int",
        signature: "to_int(number) -> number",
        meaning: "Without what stands behind the point.",
        example: "to_int(2.9) == 2",
    },
    Function {
        name: "to_float",
        signature: "to_float(number) -> number",
        meaning: "The same number; only its form changes.",
        example: "to_float(2) == 2",
    },
    Function {
        name: "parse_int",
        signature: "parse_int(text) -> number",
        meaning: "The whole number that a text spells; fails where it spells none (`num` does not).",
        example: "parse_int(\"42\") == 42",
    },
    Function {
        name: "parse_float",
        signature: "parse_float(text) -> number",
        meaning: "The number that a text spells; fails where it spells none (`num` does not).",
        example: "parse_float(\"4.5\") == 4.5",
    },
    Function {
        name: "is_nan",
        signature: "is_nan(number) -> bool",
        meaning: "Whether it is no number at all, which events never hold.",
        example: "!is_nan(2.5)",
    },
    Function {
        name: "is_odd",
        signature: "is_odd(number) -> bool",
        meaning: "Whether a whole number is odd.",
        example: "is_odd(3)",
    },
    Function {
        name: "is_even",
        signature: "is_even(number) -> bool",
        meaning: "Whether a whole number is even.",
        example: "is_even(4)",
    },
];

/// What a script's number, text or nothing compares and reckons as.
trait Reckon {
    fn reckon(&self) -> Val<'_>;
}

impl Reckon for i64 {
    fn reckon(&self) -> Val<'_> {
        Val::Int(*self)
    }
}

impl Reckon for f64 {
    fn reckon(&self) -> Val<'_> {
        Val::Float(*self)
    }
}

impl Reckon for () {
    fn reckon(&self) -> Val<'_> {
        Val::Missing
    }
}

impl Reckon for ImmutableString {
    fn reckon(&self) -> Val<'_> {
        Val::text(self)
    }
}

/// Each type by name: Rhai's own functions for two numbers would be found before one for any two values.
macro_rules! of_one {
    ($engine:ident, $function:ident, $($a:ty),*) => {
        $( $engine.register_fn($function.name(), move |a: $a| dynamic($function.apply(a.reckon()))); )*
    };
}

macro_rules! of_two {
    ($engine:ident, $function:ident, $($a:ty),*) => {
        $(
            $engine.register_fn($function.name(), move |a: $a, b: i64| dynamic($function.apply(&a.reckon(), &b.reckon())));
            $engine.register_fn($function.name(), move |a: $a, b: f64| dynamic($function.apply(&a.reckon(), &b.reckon())));
            $engine.register_fn($function.name(), move |a: $a, b: ()| dynamic($function.apply(&a.reckon(), &b.reckon())));
            $engine.register_fn($function.name(), move |a: $a, b: ImmutableString| {
                dynamic($function.apply(&a.reckon(), &b.reckon()))
            });
        )*
    };
}

fn register(engine: &mut Engine, _: &Env<'_>) {
    for function in One::OF_NUMBERS {
        of_one!(engine, function, i64, f64, (), ImmutableString);
    }
    for function in Two::ALL {
        of_two!(engine, function, i64, f64, (), ImmutableString);
    }
    for name in ["to_int", "to_float"] {
        engine.register_fn(name, |(): ()| ());
    }
}
