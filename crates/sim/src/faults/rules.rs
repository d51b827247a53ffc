//! The rule sets of every simulation: one to begin with, and one that is published in mid-stream.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_model::Digest;
use paramedic_rulebook::{RuleSet, load};

const PLAYBOOKS: &str = "
playbooks:
  clean: { runner: http, url: 'http://box/clean', timeout: 30s, effect: idempotent, on_unknown: retry, parameters: { mount: { type: string, required: true } } }
  grow: { runner: http, url: 'http://box/grow', timeout: 30s, effect: keyed, on_unknown: verify }
  reboot: { runner: http, url: 'http://box/reboot', timeout: 30s, effect: non_idempotent, on_unknown: hold }
  restart: { runner: http, url: 'http://box/restart', timeout: 20s, effect: non_idempotent, on_unknown: verify }
";

const DISK: &str = r#"
rulebook: disk
autonomy: auto
may: { playbooks: [clean, grow, reboot, restart], ci_classes: [server], environments: [test] }
rules:
  - rule: disk full
    when: |
      event.type == "disk" && event.value >= 90
    by: [event.ci]
    clear: |
      event.type == "disk" && event.value < 80
    incident: { summary: "Disk on {event.ci}", urgency: URGENCY, reopen: 2m, close_after: 10m }
    remedy:
      - playbook: clean
        with: { mount: = event.labels.mount }
        verify: { within: 20s, hold: 5s }
      - playbook: grow
        verify: { within: 30s }
      - playbook: reboot
        verify: { within: 30s, hold: 2s }
    once: 20s
    emit: { topic: derived, type: disk.full, value: = event.value }
    escalate:
      - { at: remedies_failed, to: oncall }
      - { at: run_unknown, to: oncall }
      - { at: 90s, to: lead, raise: urgency }
      - { at: 2m unacknowledged, to: boss }
  - rule: stuck
    when: |
      event.type == "stuck" && event.value >= 1
    by: [event.ci]
    clear: |
      event.type == "stuck" && event.value < 1
    incident: { summary: "{event.ci} is stuck", urgency: URGENCY }
    remedy:
      - playbook: restart
        target: '= [about.name] + cmdb.by_class("server").map(|ci| ci.name)'
        spread: [1, 1, rest]
        verify: { within: 15s, hold: 2s, when: 'event.type == "stuck" && event.value < 1 || event.type == "disk"' }
        rollback: grow
    escalate:
      - { at: remedies_failed, to: oncall }
      - { at: run_unknown, to: oncall }
"#;

const MEMORY: &str = r#"
rulebook: memory
autonomy: propose
may: { playbooks: [reboot], ci_classes: [server], environments: [test] }
rules:
  - rule: memory full
    when: |
      event.type == "memory" && event.value >= 90
    by: [event.ci]
    clear: |
      event.type == "memory" && event.value < 80
    incident: { summary: "Memory of {event.ci}", urgency: URGENCY }
    remedy:
      - playbook: reboot
        verify: { within: 30s }
    escalate:
      - { at: remedies_failed, to: oncall }
"#;

const SERVICE: &str = r#"
rulebook: service
autonomy: record
rules:
  - rule: service down
    when: |
      event.type == "service.down" && event.labels.enriched == "once"
    incident: { summary: "{event.ci} is down", hold: 3s, reopen: 30s, close_after: 5m, urgency: URGENCY }
    escalate:
      - { at: open, to: oncall }
      - { at: 20s unacknowledged, to: lead }
"#;

/// Whoever enriches an event twice, or not at all, finds no service down. The sets of the two urgencies do it in their
/// own ways, so that one cannot take what the other made.
const SITE: &str = r#"
enrich:
  - set: { labels: { by_URGENCY: '= (event.labels.by_URGENCY ?? "") + "x"' } }
  - when: event.labels.by_URGENCY == "x"
    set: { labels: { enriched: '= if has(event.labels.enriched) { "twice" } else { "once" }' } }
  - drop_from_key: [by_URGENCY]
"#;

/// Both sets, compiled once a thread.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) sets: Vec<Arc<RuleSet>>,
}

impl Rules {
    /// They are of this crate; that they load is a test.
    pub(super) fn get() -> Self {
        thread_local! {
            static SETS: OnceCell<Vec<Arc<RuleSet>>> = const { OnceCell::new() };
        }
        let sets = SETS.with(|sets| {
            sets.get_or_init(|| ["low", "high"].into_iter().filter_map(|u| set(u).map(Arc::new)).collect()).clone()
        });
        Self { sets }
    }

    pub(super) fn find(&self, digest: Digest) -> Option<Arc<RuleSet>> {
        self.sets.iter().find(|set| set.digest == digest).cloned()
    }
}

fn set(urgency: &str) -> Option<RuleSet> {
    let mut sources = BTreeMap::from([
        ("rules/playbooks.yaml".to_owned(), PLAYBOOKS.to_owned()),
        ("grants".to_owned(), "\"as_asked\"".to_owned()),
        ("rules/site.yaml".to_owned(), SITE.replace("URGENCY", urgency)),
    ]);
    for (name, text) in [("disk", DISK), ("memory", MEMORY), ("service", SERVICE)] {
        sources.insert(format!("rules/{name}.yaml"), text.replace("URGENCY", urgency));
    }
    load(&sources).set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sets_load() {
        assert_eq!(Rules::get().sets.len(), 2);
    }
}
