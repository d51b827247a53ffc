//! Whatever a rulebook's author writes: it ends, is bounded, and fails where it stands.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_model::{CiRef, Cmdb, Event, Timestamp};
use paramedic_rulebook::{Ctx, Evaluator, Field, RuleSet, load_all_words};

const SITE: &str = "
functions: |
  fn dive(x) { dive(x + 1) }
  fn ping(x) { pong(x) }
  fn pong(x) { ping(x) }
";

/// Expressions that must not be let be, and a part of what is said of them.
const BOMBS: [(&str, &str); 7] = [
    (
        "[1,2,3,4,5,6,7,8,9].map(|a| [1,2,3,4,5,6,7,8,9].map(|b| [1,2,3,4,5,6,7,8,9].map(|c| \
         [1,2,3,4,5,6,7,8,9].map(|d| [1,2,3,4,5,6,7,8,9].map(|e| [1,2,3,4,5,6,7,8,9].map(|f| e + f))))))",
        "too much work",
    ),
    ("dive(1)", "calls itself too deeply"),
    ("ping(1)", "calls itself too deeply"),
    ("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20].reduce(|a, x| a + a, \"abcdefgh\")", "too large"),
    ("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20].reduce(|a, x| a + a, [1, 2, 3, 4, 5, 6])", "too "),
    ("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20].reduce(|a, x| [a, a, a, a], 1)", "too "),
    ("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20].reduce(|a, x| #{a: a, b: a, c: a}, 1)", "too "),
];

/// Scripts that must not be let be.
const SCRIPTS: [(&str, &str); 11] = [
    ("for a in range(0, 1000000000) { }", "too much work"),
    ("for a in range(0, 1000000000) { for b in range(0, 1000000000) { let c = a + b; } }", "too much work"),
    ("let s = \"abcdefgh\"; for a in range(0, 1000) { s += s; }", "too large"),
    ("let s = []; for a in range(0, 1000000) { s += [a]; }", "too "),
    ("let s = []; for a in range(0, 1000000) { s = s + [a]; }", "too "),
    ("let s = []; for a in range(0, 1000000) { s = [s]; }", "too "),
    ("let s = #{}; for a in range(0, 1000000) { s = #{s: s}; }", "too "),
    ("let s = []; for a in range(0, 1000000) { s = [s, s]; }", "too "),
    (
        "let s = \"\"; for a in range(0, 13) { s += \"abcdefghijklmnop\"; s += s; } for a in range(0, 1000000) { let t = s + \"x\"; }",
        "too much work",
    ),
    ("for a in range(0, 1000) { notify(\"team\", \"again\"); }", "wants 100 things at most"),
    ("let s = \"abcdefgh\"; for a in range(0, 14) { s += s; } for a in range(0, 100) { notify(\"team\", s); }", "says"),
];

fn event() -> Event<'static> {
    let ci = CiRef { name: Some("web-1".into()), ..CiRef::default() };
    Event { source: "mon".into(), type_: "disk".into(), ci, ..Event::default() }
}

fn set(when: &str, only_if: &str, value: &str, then: &str) -> Arc<RuleSet> {
    let rules = format!(
        "rulebook: book\nautonomy: record\nrules:\n  - rule: bomb\n    when: |\n      {when}\n    only_if: {only_if}\n    \
         ci: {{ attributes: {{ fill: = event.type }} }}\n    then: |\n      let before = 1;\n      {then}\n"
    );
    let rules = rules.replace("fill: = event.type } }", &format!("fill: '= {}' }} }}", value.replace('\'', "''")));
    let sources = BTreeMap::from([
        ("/etc/rules/site.yaml".to_owned(), SITE.to_owned()),
        ("/etc/rules/web.yaml".to_owned(), rules),
    ]);
    let loaded = load_all_words(&sources);
    let Some(set) = loaded.set else { panic!("{:#?}", loaded.diagnostics) };
    Arc::new(set)
}

const WELL: &str = "event.type == \"disk\"";

/// It fails so, at this line. What has no bound would hang here.
fn fails(evaluator: &mut Evaluator, what: &str, why: &str, line: usize, work: impl FnOnce(&mut Evaluator)) {
    work(evaluator);
    let failed = evaluator.take_failures();
    assert_eq!(failed.len(), 1, "{what}: {failed:?}");
    assert_eq!(failed[0].at, format!("web.yaml:{line}"), "{what}");
    assert!(failed[0].why.contains(why), "{what}: {}", failed[0].why);
}

#[test]
fn an_expression_that_never_ends_or_grows_without_end_fails_with_its_line_wherever_it_stands() {
    let (event, cmdb) = (event(), Arc::new(Cmdb::default()));
    let ctx = Ctx::of(&event, None, &cmdb, Timestamp::EPOCH);
    for (bomb, why) in BOMBS {
        let when = format!("has({bomb})");
        let mut asked = Evaluator::new(set(&when, WELL, "1", ""));
        let matches = asked.matches(&event);
        assert!(matches.when.is_empty() && matches.failed.len() == 1, "{bomb}: {matches:?}");
        let failed = &matches.failed[0];
        assert_eq!(failed.at, "web.yaml:6");
        assert!(failed.why.starts_with("when: ") && failed.why.contains(why), "{bomb}: {}", failed.why);

        let question = format!("'has({bomb})'");
        let mut evaluator = Evaluator::new(set(WELL, &question, bomb, &format!("let x = {bomb};")));
        let rule = evaluator.set().rules[0].clone();
        fails(&mut evaluator, bomb, why, 7, |e| assert!(e.condition(rule.only_if.unwrap(), &ctx).is_err()));
        let attributes = rule.ci.as_ref().unwrap().attributes.clone();
        let Field::Computed(value) = attributes["fill"] else { panic!("{attributes:?}") };
        fails(&mut evaluator, bomb, why, 8, |e| assert!(e.eval(value, &ctx).is_err()));
        fails(&mut evaluator, bomb, why, 11, |e| assert!(e.intents(rule.ix, &ctx).is_err()));
        assert_eq!(evaluator.matches(&event).when.len(), 1, "what is well goes on");
    }
}

#[test]
fn a_script_that_never_ends_or_grows_without_end_fails_with_its_line_and_wants_nothing() {
    let (event, cmdb) = (event(), Arc::new(Cmdb::default()));
    let ctx = Ctx::of(&event, None, &cmdb, Timestamp::EPOCH);
    for (script, why) in SCRIPTS {
        let mut evaluator = Evaluator::new(set(WELL, WELL, "1", &format!("notify(\"team\", \"first\"); {script}")));
        let rule = evaluator.set().rules[0].ix;
        fails(&mut evaluator, script, why, 11, |e| assert!(e.intents(rule, &ctx).is_err()));
    }
}
