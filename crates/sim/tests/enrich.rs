//! The site's `enrich` and `thresholds`, in replays and scenarios: the same decisions as live, whatever the threads.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{DISK, SERVICE, lines, options, run, set, set_of_site};
use paramedic_sim::{Report, compare, run_scenarios};

const SITE: &str = r#"
enrich:
  - source: replay
    when: event.type == "cpu"
    set: { type: service.down, severity: critical, labels: { service: cpu } }
  - source: elsewhere
    set: { type: nothing }
  - when: event.value == 99
    set: { severity: = event.labels.mount }
  - drop_from_key: [service]
"#;

#[test]
fn enrich_decides_and_threads_and_batches_do_not_show() {
    let enriching = set_of_site(SITE, DISK, SERVICE);
    let lines = lines(3, 2_000, 8);
    let (first, without) = (run(&enriching, &lines, &options()), run(&set(), &lines, &options()));
    assert!(first.matched > without.matched && first.incidents_opened > without.incidents_opened, "{first:?}");
    assert_eq!(first.inputs_digest, without.inputs_digest, "an input is what was sent");
    assert_ne!(first.decisions_digest, without.decisions_digest);
    let failed = &first.enrich_failed;
    assert!(failed.times > 20 && failed.first.len() == 1 && failed.first[0].0 == "site.yaml:9", "{failed:?}");
    for threads in [1, 2, 4] {
        for batch in [1, 7, 5_000] {
            let mut options = options();
            (options.threads, options.batch) = (threads, batch);
            let again = run(&enriching, &lines, &options);
            assert_eq!(Report { batches: first.batches, ..again }, first, "{threads} threads, batches of {batch}");
        }
    }
    let mut live = options();
    live.source = "elsewhere".to_owned();
    assert!(run(&enriching, &lines, &live).incidents_opened < first.incidents_opened, "steps go by the source");
}

#[test]
fn two_sets_are_compared_by_what_each_makes_of_an_event() {
    let text = lines(3, 300, 2).join("\n");
    let (enriching, without) = (set_of_site(SITE, DISK, SERVICE), set());
    let differ = compare(&enriching, &without, text.as_bytes(), &options(), &mut |_| {}).unwrap();
    assert!(!differ.same && differ.rules.incidents_opened > differ.against.incidents_opened);
    let same = compare(&enriching, &Arc::clone(&enriching), text.as_bytes(), &options(), &mut |_| {}).unwrap();
    assert!(same.same && same.rules.incidents_opened == differ.rules.incidents_opened);
}

const ZABBIX: &str = r#"
enrich:
  - source: zabbix
    match: { field: event.summary, pattern: '^(?<host>[^:]+): Disk (?<mount>\S+) is (?<pct>[0-9.]+) % full' }
    set:
      type: disk.used_pct
      ci: = found.host
      value: = found.pct
      labels: { mount: = found.mount }
  - set: { severity: = event.labels.prio }
thresholds:
  disk_used_pct: { attribute: disk_threshold, default: 90 }
"#;

#[test]
fn a_scenario_says_where_an_event_is_from_and_what_its_ci_has_of_its_own() {
    let disk = DISK
        .replace("event.value >= 90", "event.value >= threshold(\"disk_used_pct\")")
        .replace("event.value < 80", "event.value < threshold(\"disk_used_pct\") - 10");
    let set = set_of_site(ZABBIX, &disk, SERVICE);
    let scenario = |source: &str| {
        format!(
            "scenario: its own threshold
given:
  cis:
    - {{ name: web-1, class: server, environment: test, attributes: {{ disk_threshold: 70 }} }}
    - {{ name: web-2, class: server, environment: test }}
steps:
  - at: 0s
    event: {{ {source} type: problem, ci: proxy, summary: 'web-2: Disk /var is 75 % full' }}
    expect: {{ incidents: 0 }}
  - at: 1s
    event: {{ {source} type: problem, ci: proxy, summary: 'web-1: Disk /var is 75 % full', labels: {{ prio: P1 }} }}
  - at: 2s
    expect:
      incident: {{ about: web-1, urgency: medium }}
      run: {{ playbook: clean-disk, target: web-1, with: {{ mount: /var }} }}
"
        )
    };
    let results = run_scenarios(&set, "disk.test.yaml", &scenario("source: zabbix,")).unwrap();
    assert!(results[0].passed, "{}", results[0]);
    let broken = &results[0].broken;
    assert!(
        broken.len() == 1 && broken[0].starts_with("site.yaml:10: enrich failed at 1s: event.severity gets \"P1\""),
        "{broken:?}"
    );
    let results = run_scenarios(&set, "disk.test.yaml", &scenario("")).unwrap();
    assert!(!results[0].passed, "it is from no source that the step is for");
    let why = run_scenarios(&set, "disk.test.yaml", &scenario("source: 5,")).unwrap_err();
    assert!(why[0].to_string().contains("expected the name of a source, found 5"), "{why:?}");
}
