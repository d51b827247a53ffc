//! The catalogue, and rulebooks for the tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_model::Digest;
use paramedic_rulebook::{ExprIx, ExprText, Rule, RuleSet, load_all_words};
use serde_json::json;

const PLAYBOOKS: &str = "
playbooks:
  clean: { runner: http, url: 'http://box/clean', timeout: 1m, effect: idempotent, on_unknown: hold, parameters: { mount: { type: string, default: / } } }
  grow: { runner: http, url: 'http://box/grow', timeout: 1m, effect: keyed, on_unknown: verify }
  reboot: { runner: http, url: 'http://box/reboot', timeout: 1m, effect: non_idempotent }
";

/// A set of one rulebook and the catalogue, with the autonomy that it asks for.
pub(super) fn set(autonomy: &str, rules: &str) -> Arc<RuleSet> {
    sets(&[("book", autonomy, rules)])
}

/// A set of several rulebooks: (name, autonomy, rules).
pub(super) fn sets(books: &[(&str, &str, &str)]) -> Arc<RuleSet> {
    sets_of_site("defaults: {}", books)
}

/// The same with a site file.
pub(super) fn sets_of_site(site: &str, books: &[(&str, &str, &str)]) -> Arc<RuleSet> {
    let mut sources = BTreeMap::from([
        ("playbooks.yaml".to_owned(), PLAYBOOKS.to_owned()),
        ("grants".to_owned(), "\"as_asked\"".to_owned()),
        ("site.yaml".to_owned(), site.to_owned()),
    ]);
    for (name, autonomy, rules) in books {
        let head = format!(
            "rulebook: {name}\nautonomy: {autonomy}\nmay:\n  playbooks: [clean, grow, reboot]\n  ci_classes: [server]\n  environments: [test]\nrules:\n"
        );
        sources.insert(format!("{name}.yaml"), format!("{head}{}", rules.trim_start_matches('\n')));
    }
    let loaded = load_all_words(&sources);
    let Some(set) = loaded.set else { panic!("{:#?}", loaded.diagnostics) };
    Arc::new(set)
}

/// The set with its rules changed by hand.
pub(super) fn shaped(set: &Arc<RuleSet>, change: impl FnOnce(&mut RuleSet)) -> Arc<RuleSet> {
    let mut set = RuleSet::clone(set);
    change(&mut set);
    let texts: Vec<String> = set.exprs.iter().map(|e| e.text.clone()).collect();
    let text = |ix: &ExprIx| texts[ix.0 as usize].clone();
    for rule in &mut set.rules {
        let by: Vec<String> = rule.by.iter().flatten().map(text).collect();
        let pattern = format!("{:?} {:?} {:?}", rule.pattern, rule.stays, rule.settle);
        rule.shape = Digest::of(&json!([pattern, rule.pattern.when().as_ref().map(text), by]));
        rule.digest = Digest::of(&json!([rule.digest, rule.shape]));
    }
    let rules: Vec<String> = set.rules.iter().map(|rule| format!("{rule:?}")).collect();
    set.digest = Digest::of(&json!([set.digest, rules]));
    Arc::new(set)
}

/// One rule of a set, by its name.
pub(super) fn rule<'s>(set: &'s mut RuleSet, name: &str) -> &'s mut Rule {
    set.rules.iter_mut().find(|rule| rule.name == name).unwrap()
}

/// A further expression of a set, that may read these names.
pub(super) fn expr(set: &mut RuleSet, text: &str, names: &[&str]) -> ExprIx {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    set.exprs.push(ExprText { text: text.into(), place: Default::default(), names, rule: None });
    ExprIx(u32::try_from(set.exprs.len() - 1).unwrap())
}

/// A rule that opens at 90 and clears below 80: its `incident`, and what follows it.
pub(super) fn full(incident: &str, rest: &str) -> String {
    format!(
        "
  - rule: full
    when: |
      event.type == \"disk\" && event.value >= 90
    by: [event.ci]
    clear: |
      event.type == \"disk\" && event.value < 80
    incident: {incident}
{rest}"
    )
}

/// An alert, and nothing else.
pub(super) const PLAIN: &str = "
  - rule: down
    when: |
      event.type == \"down\"
    incident: { summary: \"{event.ci} is down\", impact: medium }
";

/// A metric with an explicit clear, a remedy for each way, and every escalation.
pub(super) const DISK: &str = "
  - rule: full
    when: |
      event.type == \"disk\" && event.value >= 90
    by: [event.ci]
    clear: |
      event.type == \"disk\" && event.value < 80
    incident: { summary: \"disk of {event.ci}\", reopen: 10m, close_after: 1h }
    remedy:
      - playbook: clean
        with: { mount: /var }
        verify: { within: 5m }
      - playbook: grow
        verify: { within: 2m, hold: 30s }
    escalate:
      - { at: remedies_failed, to: team }
      - { at: run_unknown, to: team }
";
