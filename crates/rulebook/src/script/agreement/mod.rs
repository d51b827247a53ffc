//! The law that lets the pure subset run without Rhai: native evaluation, Rhai and a plain reference give the same
//! answer, on any condition and event.

mod random;
mod reference;

use proptest::prelude::*;

use super::compile::{Compiler, Role};
use super::json::to_json;
use super::native::{cond, expression, necessary, term};
use super::objects::dynamic;
use super::runtime::{Lazy, Runtime};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn native_rhai_and_reference_agree_on_every_condition(c in random::condition(false), event in random::event()) {
        let text = c.to_string();
        let ast = Compiler::new().parse(&text, Role::Condition).unwrap();
        let native = cond(expression(&ast).unwrap());
        prop_assert!(native.is_some(), "{text} is not of the pure subset");
        let expected = c.holds(&event);
        prop_assert_eq!(native.unwrap().holds(&event), expected, "natively: {}", text);
        prop_assert_eq!(Runtime::new().condition(&ast, &event, &mut Lazy::default()), Ok(expected), "by Rhai: {}", text);
    }

    #[test]
    fn native_rhai_and_reference_agree_on_every_value(v in random::value(false), event in random::event()) {
        let text = v.to_string();
        let ast = Compiler::new().parse(&text, Role::Part).unwrap();
        let native = term(expression(&ast).unwrap());
        prop_assert!(native.is_some(), "{text} is not of the pure subset");
        let native = native.unwrap();
        let expected = v.value(&event).json();
        prop_assert_eq!(to_json(&dynamic(native.eval(&event))), Ok(expected.clone()), "natively: {}", text);
        let by_rhai = Runtime::new().value(&ast, &event, &mut Lazy::default(), None).unwrap();
        prop_assert_eq!(to_json(&by_rhai), Ok(expected), "by Rhai: {}", text);
    }

    #[test]
    fn what_is_asked_before_rhai_never_keeps_a_condition_from_holding(
        c in random::condition(true),
        event in random::event(),
    ) {
        let text = c.to_string();
        let ast = Compiler::new().parse(&text, Role::Condition).unwrap();
        let held = Runtime::new().condition(&ast, &event, &mut Lazy::default());
        prop_assert_eq!(&held, &Ok(c.holds(&event)), "{}", text);
        if held == Ok(true) {
            prop_assert!(necessary(expression(&ast).unwrap()).holds(&event), "{}", text);
        }
    }
}
