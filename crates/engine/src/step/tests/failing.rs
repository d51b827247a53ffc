//! Facts about rules that fail: what they wanted does not happen, the rest goes on, and in the end they are switched off.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_rulebook::{RuleSet, load_all_words};

use super::rules::set;
use super::world::{SCOPE, World, disk, firing, resolved};
use crate::step::rule_failed;

/// `then` fails beyond 98, and tells somebody else.
const SCRIPT: &str = "
  - rule: told
    when: |
      event.type == \"disk\" && event.value >= 90
    by: [event.ci]
    then: |
      notify(\"team\", `${event.ci} at ${event.value}`);
      for n in range(0, if event.value > 98 { 1000000000 } else { 1 }) { }
  - rule: down
    when: |
      event.type == \"down\"
    incident: { summary: \"{event.ci} is down\" }
";

/// The condition fails where a label stands that is no list of four.
const CONDITION: &str = "
  - rule: down
    when: |
      event.type == \"down\" && event.labels.site.split(\"-\")[3] == \"x\"
    incident: { summary: \"{event.ci} is down\" }
";

fn off(w: &World) -> Vec<String> {
    let open = w.live().incidents.values().filter(|i| i.state.is_open() && i.rule == "rule switched off");
    open.map(|i| i.summary.clone()).collect()
}

fn fail(w: &mut World, times: usize) {
    for _ in 0..times {
        w.event(disk("web-1", 99));
    }
}

#[test]
fn a_rule_that_fails_five_times_in_a_row_is_switched_off_and_a_person_is_told_where_and_why() {
    let mut w = World::new(set("record", SCRIPT));
    fail(&mut w, 4);
    assert_eq!((off(&w).len(), w.pages().len()), (0, 0), "nothing of it happens");
    w.restart();
    fail(&mut w, 1);
    assert_eq!(off(&w), ["Rule book/told is switched off: book.yaml:14: then: too much work: it was stopped"]);
    let told = w.pages();
    assert!(told.len() == 1 && told[0].starts_with("default: rule book/told failed 5 times in a row"), "{told:?}");
    assert_eq!(w.incident().about.as_deref(), Some("book/told"));
    w.steps();
    w.restart().event(disk("web-1", 99)).event(disk("web-2", 95));
    assert_eq!((w.pages().len(), off(&w).len()), (1, 1), "it does nothing any more");
    assert_eq!(w.steps(), "");
    w.event(firing("web-1"));
    assert_eq!(w.incident().rule, "down", "other rules go on");
}

#[test]
fn doing_its_work_once_makes_up_for_what_failed_before() {
    let mut w = World::new(set("record", SCRIPT));
    fail(&mut w, 4);
    w.event(disk("web-1", 95));
    assert_eq!(w.windows(), [""; 0]);
    fail(&mut w, 4);
    assert_eq!((off(&w).len(), w.pages().len()), (0, 1));
    fail(&mut w, 1);
    assert_eq!(off(&w).len(), 1);
}

#[test]
fn whoever_resolves_the_incident_switches_the_rule_on_again() {
    let mut w = World::new(set("record", SCRIPT));
    fail(&mut w, 5);
    w.resolve().event(disk("web-1", 95));
    assert_eq!((off(&w).len(), w.pages().len()), (0, 2));
    assert_eq!(w.live().switched_off(), 0);
    fail(&mut w, 4);
    assert_eq!(off(&w).len(), 0, "it is counted anew");
    fail(&mut w, 1);
    assert_eq!((off(&w).len(), w.live().switched_off()), (1, 1));
}

#[test]
fn another_version_of_the_rule_is_on_and_of_another_rule_changes_nothing() {
    let mut w = World::new(set("record", SCRIPT));
    fail(&mut w, 5);
    w.publish(set("record", &SCRIPT.replace("is down", "went down")));
    assert_eq!(off(&w).len(), 1);
    w.publish(set("record", &SCRIPT.replace("1000000000", "10")));
    assert_eq!((off(&w).len(), w.windows().len()), (0, 0));
    assert_eq!(w.incident().close_notes.as_deref(), Some("another version of rule book/told was published"));
    w.event(disk("web-1", 99));
    assert_eq!(w.pages().len(), 2);
}

#[test]
fn a_rule_that_is_gone_takes_its_incident_with_it() {
    let mut w = World::new(set("record", SCRIPT));
    fail(&mut w, 5);
    w.publish(set("record", super::rules::PLAIN));
    assert_eq!((off(&w).len(), w.live().switched_off()), (0, 0));
}

#[test]
fn a_condition_that_fails_is_counted_until_it_holds() {
    let mut w = World::new(set("record", CONDITION));
    let broken = || firing("web-1").label("site", "a-b");
    for _ in 0..4 {
        w.event(broken());
    }
    w.event(firing("web-1").label("site", "a-b-c-x"));
    assert_eq!(w.opened(), 1, "it holds");
    w.event(resolved("web-1").label("site", "a-b-c-x"));
    for _ in 0..5 {
        w.event(broken());
    }
    let said = off(&w);
    assert!(said.len() == 1 && said[0].contains("book.yaml:10: when: "), "{said:?}");
    w.event(firing("web-2").label("site", "a-b-c-x"));
    assert_eq!(w.opened(), 2, "switched off");
}

#[test]
fn a_condition_that_fails_now_and_then_is_not_in_a_row() {
    let mut w = World::new(set("record", CONDITION));
    for day in 0..10 {
        w.at(&format!("{}h", day * 25)).event(firing("web-1").label("site", "a-b"));
    }
    assert_eq!(off(&w).len(), 0);
}

#[test]
fn what_is_sent_again_counts_once() {
    let mut w = World::new(set("record", CONDITION));
    for _ in 0..9 {
        w.event(firing("web-1").label("site", "a-b").id("one"));
    }
    assert_eq!(off(&w).len(), 0);
}

#[test]
fn what_a_rule_opened_before_it_was_switched_off_is_cleared_all_the_same() {
    let rules = SCRIPT.replace(
        "    then: |",
        "    clear: |\n      event.type == \"disk\" && event.value < 80\n    incident: { summary: full }\n    then: |",
    );
    let mut w = World::new(set("record", &rules));
    fail(&mut w, 5);
    assert_eq!((off(&w).len(), w.opened()), (1, 2), "its incident opens: only what failed does not happen");
    assert!(w.nth(0).state.is_open());
    w.event(disk("web-1", 10));
    assert!(!w.nth(0).state.is_open());
}

#[test]
fn questions_values_and_remedies_count_as_well() {
    let bomb = "event.type.split(\"-\")[7]";
    let rule =
        |more: &str| format!("\n  - rule: full\n    when: |\n      event.type == \"disk\"\n    by: [event.ci]\n{more}");
    for (part, more) in [
        ("only_if", format!("    only_if: 'has({bomb})'\n    incident: {{ summary: full }}\n")),
        ("value", format!("    incident: {{ summary: full, reopen: 0s, impact: '= {bomb}' }}\n")),
        ("value", format!("    ci: {{ attributes: {{ fill: '= {bomb}' }} }}\n")),
        ("value", format!("    incident:\n      summary: full\n      key:\n        - {bomb}\n")),
        (
            "value",
            format!(
                "    incident: {{ summary: full, reopen: 0s }}\n    remedy:\n      - {{ playbook: clean, with: {{ mount: '= {bomb}' }}, verify: {{ within: 1m }} }}\n"
            ),
        ),
    ] {
        let mut w = World::new(set("auto", &rule(&more)));
        for n in 0..5 {
            assert_eq!(off(&w).len(), 0, "{part}");
            w.event(disk("web-1", n));
            if let Some(id) = w.live().incidents.values().find(|i| i.rule == "full" && i.state.is_open()).map(|i| i.id)
            {
                let (code, notes) = (paramedic_model::CloseCode::UserError, String::new());
                w.act(paramedic_model::OperatorAct::Resolve { incident: id, code, notes });
            }
        }
        let said = off(&w);
        assert!(said.len() == 1 && said[0].contains(&format!(": {part}: ")), "{part}: {said:?}");
    }
}

#[test]
fn a_failure_is_told_with_its_rule_and_place() {
    let mut w = World::new(set("record", SCRIPT));
    fail(&mut w, 1);
    let all = w.fresh();
    let told: Vec<_> = all.iter().filter_map(rule_failed).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].rulebook, told[0].rule, told[0].at), ("book", "told", "book.yaml:14"));
    assert_eq!((told[0].times, told[0].is_off), (1, false));
}

#[test]
fn functions_of_the_site_are_part_of_the_rules_that_call_them() {
    let with = |body: &str| -> Arc<RuleSet> {
        let sources = BTreeMap::from([
            ("site.yaml".to_owned(), format!("functions: |\n  fn dive(x) {{ {body} }}\n")),
            ("book.yaml".to_owned(), "rulebook: book\nautonomy: record\nrules:\n  - rule: deep\n    when: |\n      event.type == \"disk\" && dive(1) == 1\n    by: [event.ci]\n    incident: { summary: full }\n".to_owned()),
        ]);
        let loaded = load_all_words(&sources);
        let Some(set) = loaded.set else { panic!("{:#?}", loaded.diagnostics) };
        Arc::new(set)
    };
    let mut w = World::new(with("dive(x + 1)"));
    fail(&mut w, 5);
    let said = off(&w);
    assert!(said.len() == 1 && said[0].contains("book.yaml:6: when: calls itself too deeply"), "{said:?}");
    w.publish(with("x"));
    assert_eq!(off(&w).len(), 0);
    w.event(disk("web-1", 1));
    assert_eq!(w.live().incidents.values().filter(|i| i.rule == "deep" && i.scope == SCOPE).count(), 1);
}
