//! What the analysis says of a rule set is so: by random events, by a seeded corpus.

#![allow(clippy::unwrap_used)]

mod random;
mod seeded;

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_model::{Event, Grants};
use paramedic_rulebook::{Analysis, Evaluator, FindingKind, GRANTS, RuleSet, Verdict, analyse, load};
use proptest::prelude::*;
use random::{atom, condition, event, step};

const PLAYBOOKS: &str = "playbooks:
  p: { runner: http, url: http://h/p, timeout: 1s, effect: keyed }
  q: { runner: http, url: http://h/q, timeout: 1s, effect: keyed }
";

/// A set of one rulebook that may do all, under the grants that `check` takes.
fn set(rules: &str) -> Arc<RuleSet> {
    set_after("defaults: {}", rules)
}

/// The same under a site file.
fn set_after(site: &str, rules: &str) -> Arc<RuleSet> {
    let book = format!("rulebook: r\nmay: {{ playbooks: [p, q], ci_classes: [server] }}\nrules:\n{rules}");
    let grants = serde_json::to_string(&Grants::AsAsked).unwrap();
    let sources = [("r.yaml", book.as_str()), ("playbooks.yaml", PLAYBOOKS), (GRANTS, &grants), ("site.yaml", site)];
    let loaded = load(&sources.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect());
    let wrong: Vec<String> = loaded.diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string).collect();
    Arc::new(loaded.set.unwrap_or_else(|| panic!("{}\n{rules}", wrong.join("\n"))))
}

fn verdict(analysis: &Analysis, set: &RuleSet, rule: &str) -> Verdict {
    analysis.rules[set.find("r", rule).unwrap().ix.0 as usize].verdict
}

/// All that is told but notes on what no index finds.
fn told(analysis: &Analysis) -> String {
    let findings = analysis.findings.iter().filter(|f| f.kind != FindingKind::Unindexed);
    findings.map(|f| format!("{}\n\n", f.diagnostic)).collect()
}

fn tight() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => prop::collection::vec(atom(), 2..6).prop_map(|atoms| atoms.join(" && ")),
        1 => condition(),
    ]
}

/// A random rule: some are for one field's values, some are the last resort.
fn rule() -> impl Strategy<Value = (String, bool, bool)> {
    (tight(), any::<bool>(), prop::bool::weighted(0.15))
}

fn rules(of: &[(String, bool, bool)]) -> String {
    let one = |(i, (when, by, fallback)): (usize, &(String, bool, bool))| {
        let by = if *by { "    by: [event.labels.x]\n" } else { "" };
        let fallback = if *fallback { "    fallback: true\n" } else { "" };
        format!("  - rule: r{i}\n    when: |\n      {when}\n{by}{fallback}    incident: {{ summary: s }}\n")
    };
    of.iter().enumerate().map(one).collect()
}

/// A site file, that mostly enriches.
fn site() -> impl Strategy<Value = String> {
    let steps = prop::collection::vec(step(), 1..4).prop_map(|steps| format!("enrich:\n{}", steps.concat()));
    prop_oneof![1 => Just("defaults: {}".to_owned()), 2 => steps]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_event_fires_a_rule_that_was_called_dead_or_leaves_a_shadowed_one_alone(
        of in prop::collection::vec(rule(), 1..8),
        events in prop::collection::vec(event(), 1..60),
        site in site(),
    ) {
        let set = set_after(&site, &rules(&of));
        let analysis = analyse(&set);
        let mut evaluator = Evaluator::new(Arc::clone(&set));
        for event in &events {
            let matched = evaluator.matches(event).when;
            let event = &*evaluator.seen(event);
            for ix in matched.iter().filter(|ix| evaluator.by(**ix, event).is_ok()).copied().collect::<Vec<_>>() {
                let found = &analysis.rules[ix.0 as usize];
                prop_assert_ne!(found.verdict, Verdict::Dead, "{} fires by {:?}", of[ix.0 as usize].0, event);
                for shadow in analysis.findings.iter().filter(|f| f.rule == ix && f.kind == FindingKind::Shadowed) {
                    prop_assert!(shadow.with.iter().any(|other| matched.contains(other)), "{} fires alone by {:?}", of[ix.0 as usize].0, event);
                }
            }
        }
    }

    #[test]
    fn a_rule_that_was_called_live_fires_by_the_event_that_is_shown(of in prop::collection::vec(rule(), 1..8), site in site()) {
        let set = set_after(&site, &rules(&of));
        let analysis = analyse(&set);
        let mut evaluator = Evaluator::new(Arc::clone(&set));
        for found in analysis.rules.iter().filter(|r| r.verdict == Verdict::Live) {
            let shown = found.event.clone().unwrap();
            let event = of_json(&shown);
            prop_assert!(evaluator.matches(&event).when.contains(&found.rule), "{} does not fire by {}", of[found.rule.0 as usize].0, shown);
        }
    }
}

/// An event as it is shown: a bare `ci` is a name, and what is not there is as usual.
fn of_json(shown: &serde_json::Value) -> Event<'static> {
    let mut whole = serde_json::to_value(Event::default()).unwrap();
    for (name, value) in shown.as_object().unwrap() {
        whole[name] = match (name.as_str(), value.as_str()) {
            ("ci", Some(text)) => serde_json::json!({ "name": text }),
            _ => value.clone(),
        };
    }
    let text = whole.to_string();
    let event: Event<'_> = serde_json::from_str(&text).unwrap();
    event.into_owned()
}

#[test]
fn of_200_seeded_mistakes_nine_in_ten_are_found_and_nothing_else_is() {
    let mut missed: Vec<String> = Vec::new();
    let mut by_verdict: BTreeMap<Verdict, (usize, usize)> = BTreeMap::new();
    let corpus = seeded::corpus(200);
    assert_eq!(corpus.len(), 200);
    for case in &corpus {
        let set = set(&case.rules);
        let analysis = analyse(&set);
        let found = verdict(&analysis, &set, "mistake");
        let (all, right) = by_verdict.entry(case.verdict).or_default();
        *all += 1;
        if found == case.verdict {
            *right += 1;
        } else {
            assert!(matches!(found, Verdict::Unknown | Verdict::Live), "{} is no {found:?}", case.rules);
            missed.push(format!("{:?} was called {found:?}:\n{}", case.verdict, case.rules));
        }
        for of in
            analysis.rules.iter().map(|r| (r, &set.rule(r.rule).name)).filter(|(_, name)| name.starts_with("innocent"))
        {
            assert!(
                matches!(of.0.verdict, Verdict::Live | Verdict::Unknown),
                "{} is {:?} in\n{}",
                of.1,
                of.0,
                case.rules
            );
        }
    }
    for (verdict, (all, right)) in &by_verdict {
        println!("{verdict:?}: {right} of {all}");
        assert!(right * 10 >= all * 8, "{verdict:?}: {right} of {all}\n{}", missed.join("\n"));
    }
    assert!(missed.len() <= corpus.len() / 10, "{} of {} missed\n{}", missed.len(), corpus.len(), missed.join("\n"));
    println!("{} of {} missed\n{}", missed.len(), corpus.len(), missed.join("\n"));
}

#[test]
fn every_sort_of_finding_is_told_with_its_place_and_the_fix() {
    let set = set(include_str!("analysis.yaml"));
    let analysis = analyse(&set);
    insta::assert_snapshot!(told(&analysis));
}

#[test]
fn what_settles_or_leaves_itself_out_is_no_loop() {
    let set = set("  - rule: repairs
    upon: run.failed
    when: run.rule != \"repairs\"
    incident: { summary: s }
    remedy: [ { playbook: p } ]
  - rule: marks
    upon: ci.changed
    ci: { attributes: { seen: true } }
  - rule: other playbooks
    upon: run.succeeded
    when: run.playbook in [\"q\"]
    incident: { summary: s }
    remedy: [ { playbook: p } ]
");
    let analysis = analyse(&set);
    let loops = analysis.findings.iter().filter(|f| f.kind == FindingKind::Loop);
    assert_eq!(loops.map(|f| f.diagnostic.to_string()).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn two_rules_that_undo_each_other_are_a_loop() {
    let set = set("  - rule: up
    upon: ci.changed
    ci: { attributes: { role: active } }
  - rule: down
    upon: ci.changed
    ci: { attributes: { role: standby } }
");
    let analysis = analyse(&set);
    let found: Vec<_> = analysis.findings.iter().map(|f| (f.kind, f.rule, f.with.as_slice())).collect();
    let (up, down) = (set.find("r", "up").unwrap().ix, set.find("r", "down").unwrap().ix);
    assert_eq!(found, [(FindingKind::Loop, up, &[down][..])]);
}

/// What is told of a rule with this `when` and `clear`, and these lines.
fn kinds_of(when: &str, clear: &str, more: &str) -> Vec<FindingKind> {
    let rules = format!(
        "  - rule: one\n    when: |\n      {when}\n    clear: |\n      {clear}\n    incident: {{ summary: s }}\n    {more}\n"
    );
    let all = analyse(&set(&rules));
    all.findings.iter().map(|f| f.kind).filter(|kind| *kind != FindingKind::Unindexed).collect()
}

#[test]
fn where_nothing_lies_between_or_no_time_runs_there_is_no_gap() {
    let (waits, none) = ("for: 2m\n    by: [event.ci]", Vec::new());
    let when = "event.type == \"a\" && event.value >= 90";
    for clear in [
        "event.type == \"a\" && event.value < 90",
        "event.type == \"a\" && (event.value < 80 || event.value >= 80 && event.value < 90)",
        // What lies beyond what was named is no way back.
        "event.type == \"a\" && event.value == -1 || event.type == \"a\" && event.value < 90 && event.value > -1",
        // Of another kind of event: what its value is does not matter.
        "event.type == \"a.ok\" && event.value < 80",
    ] {
        assert_eq!(kinds_of(when, clear, waits), none, "{clear}");
    }
    assert_eq!(kinds_of(when, "event.type == \"a\" && event.value < 80", "by: [event.ci]"), none);
    assert_eq!(kinds_of(when, "event.type == \"a\" && event.value < 80", waits), [FindingKind::Gap]);
}

#[test]
fn a_clear_is_foreign_only_where_nothing_says_what_it_is_about() {
    let when = "event.type == \"a\" && event.labels.check == \"disk\" && event.labels.state == \"bad\"";
    let (by, foreign) = ("by: [event.ci]", vec![FindingKind::ForeignClear]);
    for clear in [
        "event.labels.state == \"good\"",
        "event.status == RESOLVED && event.labels.state != \"bad\"",
        "event.value < 3 && event.labels.state == \"good\"",
    ] {
        assert_eq!(kinds_of(when, clear, by), foreign, "{clear}");
    }
    for (clear, by) in [
        ("event.type == \"a\" && event.labels.state == \"good\"", by),
        ("event.type.starts_with(\"a\") && event.labels.state == \"good\"", by),
        ("event.labels.check == \"disk\" && event.labels.state == \"good\"", by),
        ("event.labels.alertname == \"DiskIsWell\"", by),
        ("event.labels.state == \"good\"", "by: [event.ci, event.type]"),
        // Without a `by` only the alert itself clears.
        ("event.labels.state == \"good\"", ""),
    ] {
        assert!(!kinds_of(when, clear, by).contains(&FindingKind::ForeignClear), "{clear}");
    }
}
