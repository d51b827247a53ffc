//! The functions that expressions may call; everything else is refused at load. A family is one file here and one line
//! in [`FAMILIES`]; the reference is made from what stands there, and each example is run as a test.

mod calendar;
mod cmdb;
mod lists;
mod maths;
mod network;
mod presence;
mod records;
mod regex;
mod text;

use rhai::{Engine, FnCallExpr};

use super::cost::Budget;
use super::objects::Current;
use super::sandbox::Outside;

pub(crate) use records::ASKING;

/// A function of the language, as the reference tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// What it takes and gives, such as `starts_with(text, text) -> bool`. The first argument may stand before it, with a
    /// point: `event.ci.starts_with("web-")`.
    pub signature: &'static str,
    /// One line.
    pub meaning: &'static str,
    /// A condition that holds. Where it reads `event` or `about`, it is no test by itself.
    pub example: &'static str,
}

/// Functions about one thing.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// What they are about.
    pub title: &'static str,
    /// By what a reader asks first.
    pub functions: &'static [Function],
    /// Makes Rhai know them. What Rhai's own packages have needs nothing.
    register: fn(&mut Engine, &Env<'_>),
    /// What is wrong with a call whose arguments are written out, and the fix.
    check: fn(&FnCallExpr) -> Option<Wrong>,
}

/// What is wrong: the message, and the fix.
pub(crate) type Wrong = (String, Option<String>);

/// What functions may need besides their arguments.
pub(crate) struct Env<'a> {
    /// The event that is being evaluated.
    pub(crate) current: &'a Current,
    /// What is left of the evaluation's operations.
    pub(crate) budget: &'a Budget,
    /// What is asked of the engine, and read of the site and the CMDB.
    pub(crate) outside: &'a Outside,
}

/// All families, in the order of the reference.
pub(crate) const FAMILIES: [Family; 9] = [
    presence::FAMILY,
    text::FAMILY,
    regex::FAMILY,
    network::FAMILY,
    maths::FAMILY,
    lists::FAMILY,
    calendar::FAMILY,
    cmdb::FAMILY,
    records::FAMILY,
];

const COUNT: usize = count();

/// The names of all functions.
pub(crate) const FUNCTIONS: [&str; COUNT] = names();

const fn count() -> usize {
    let (mut sum, mut i) = (0, 0);
    while i < FAMILIES.len() {
        sum += FAMILIES[i].functions.len();
        i += 1;
    }
    sum
}

const fn names() -> [&'static str; COUNT] {
    let mut names = [""; COUNT];
    let (mut at, mut i) = (0, 0);
    while i < FAMILIES.len() {
        let mut j = 0;
        while j < FAMILIES[i].functions.len() {
            names[at] = FAMILIES[i].functions[j].name;
            (at, j) = (at + 1, j + 1);
        }
        i += 1;
    }
    names
}

/// The function library, for the reference.
pub fn families() -> &'static [Family] {
    &FAMILIES
}

/// Makes an engine know all functions.
pub(crate) fn register(engine: &mut Engine, env: &Env<'_>) {
    for family in FAMILIES {
        (family.register)(engine, env);
    }
}

/// What can be known to be wrong with the arguments of a call.
pub(crate) fn check(call: &FnCallExpr) -> Option<Wrong> {
    FAMILIES.iter().find_map(|family| (family.check)(call))
}

fn nothing(_: &mut Engine, _: &Env<'_>) {}

fn no_check(_: &FnCallExpr) -> Option<Wrong> {
    None
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use paramedic_model::{CiRef, Cmdb, Event, Labels, Measure, Timestamp};

    use super::*;
    use crate::script::check;
    use crate::script::compile::{Compiler, Role};
    use crate::script::native::{cond, expression};
    use crate::script::runtime::{Lazy, Runtime, Surroundings};
    use crate::{Site, Threshold};

    /// The event that examples read.
    fn event() -> Event<'static> {
        let labels = [("mount", "/var"), ("code", "503"), ("ip", "10.1.2.3"), ("tags", "db,prod")];
        Event {
            type_: "disk.used_pct".into(),
            summary: Some("Disk /var on web-1 is 93 % full".into()),
            ci: CiRef { name: Some("web-1".into()), ..CiRef::default() },
            value: Some(Measure::Int(93)),
            threshold: Some(Measure::Int(90)),
            labels: Labels::new(labels.map(|(k, v)| (k.into(), v.into())).to_vec()),
            ..Event::default()
        }
    }

    #[test]
    fn every_function_has_a_meaning_and_an_example_that_holds() {
        let threshold = Threshold { attribute: "disk_threshold".to_owned(), default: 90.into() };
        let thresholds = BTreeMap::from([("disk_used_pct".to_owned(), threshold)]);
        let site = Site { thresholds, ..Site::default() };
        let (compiler, mut runtime, cmdb) = (Compiler::of(&site), Runtime::of(&site), Arc::new(Cmdb::default()));
        let mut names = BTreeSet::new();
        for function in FAMILIES.iter().flat_map(|f| f.functions) {
            let Function { name, signature, meaning, example } = function;
            assert!(names.insert(*name), "{name} stands there twice");
            assert!(signature.contains(&format!("{name}(")) && meaning.ends_with('.'), "{name}");
            assert!(example.contains(name), "{name}: {example}");
            let ast = compiler.parse(example, Role::Value).unwrap();
            let mut found = check::check(&ast, Role::Value);
            // Only closures are made with it: written out it is refused.
            found.retain(|_| *name != "curry");
            assert!(found.is_empty(), "{example}: {found:?}");
            let around = Surroundings { about: None, cmdb: &cmdb, now: Timestamp::EPOCH, lookups: None };
            let held = runtime.value(&ast, &event(), &mut Lazy::default(), Some(&around));
            assert_eq!(held.as_ref().map(|v| v.as_bool()), Ok(Ok(true)), "{example}: {held:?}");
            if let Some(native) = expression(&ast).and_then(cond) {
                assert!(native.holds(&event()), "{example}");
            }
        }
    }

    #[test]
    fn arguments_that_cannot_be_used_are_found_before_any_event_comes() {
        for (text, why) in [
            ("event.summary.matches(\"(\")", "is no regular expression"),
            ("matches(event.summary, \"(?=x)\")", "is no regular expression"),
            ("in_network(event.labels.ip, \"10.0.0.0/33\")", "is no network"),
            ("event.ci.in_network(\"10.0.0.1/8\")", "is no network"),
        ] {
            let ast = Compiler::new().parse(text, Role::Condition).unwrap();
            let found = check::check(&ast, Role::Condition);
            assert!(found.len() == 1 && found[0].message.contains(why), "{text}: {found:?}");
        }
    }
}
