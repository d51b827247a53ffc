//! Scenarios that pass, that fail, and that are not written as one.

#![allow(clippy::unwrap_used)]

mod common;

use common::set;
use paramedic_sim::{Coverage, ScenarioResult, run_scenarios};

fn run(text: &str) -> Vec<ScenarioResult> {
    run_scenarios(&set(), "disk.test.yaml", text).unwrap()
}

fn passes(text: &str) {
    for result in run(text) {
        assert!(result.passed, "{result}");
    }
}

const GIVEN: &str = "given: { cis: [ { name: web-1, class: server, environment: test } ] }\n";

#[test]
fn the_loop_closes_and_is_written_back() {
    passes(&format!(
        "scenario: cleaned\n{GIVEN}steps:
  - at: 0s
    event: {{ type: disk.used_pct, kind: metric, ci: web-1, value: 93, labels: {{ mount: /var }} }}
  - at: 2s
    expect:
      incident: {{ state: in_progress, priority: 3, urgency: medium, impact: 2, about: web-1, count: 1 }}
      run: {{ playbook: clean-disk, target: web-1, state: started, with: {{ mount: /var }} }}
      runs: 1
      pages: 0
  - at: 10s
    run: {{ outcome: succeeded, message: freed 9 GiB, facts: {{ free_gib: 9 }} }}
  - at: 20s
    event: {{ type: disk.used_pct, kind: metric, ci: web-1, value: 61, labels: {{ mount: /var }} }}
    expect: {{ incident: {{ state: in_progress, evidence: true }} }}
  - at: 25s
    expect:
      incident: {{ state: resolved, close_code: Solution provided }}
      run: {{ verdict: verified, facts: {{ free_gib: 9 }} }}
      ci:
        name: web-1
        operational_status: operational
        attributes: {{ fact.free_gib: 9, last_remediation: {{ playbook: clean-disk, verified: true }} }}
"
    ));
}

#[test]
fn remedies_that_fail_page_and_a_person_resolves() {
    passes(&format!(
        "scenario: failed\n{GIVEN}steps:
  - at: 0s
    event: {{ type: disk.used_pct, kind: metric, ci: web-1, value: 93, labels: {{ mount: /var }} }}
  - at: 5s
    run: failed
  - at: 5s
    expect: {{ run: {{ playbook: extend-volume, state: started }}, runs: 2 }}
  - at: 6s
    expect: {{ run: {{ playbook: clean-disk, state: failed, verdict: not_verified }} }}
  - at: 8s
    run: {{ playbook: extend-volume, outcome: failed }}
    expect: {{ page: {{ to: oncall, reason: every remedy failed }}, pages: 1 }}
  - at: 90s
    expect: {{ pages: 2, page: {{ to: lead }}, incident: {{ urgency: high, priority: 2 }} }}
  - at: 91s
    operator: ack
    expect: {{ incident: {{ acknowledged_by: operator }} }}
  - at: 10m
    expect: {{ pages: 2 }}
    operator: {{ resolve: {{ code: Workaround provided, notes: moved, by: ana }} }}
  - at: 10m
    expect: {{ incident: {{ state: resolved, close_code: Workaround provided, close_notes: moved }} }}
  - at: 2h
    expect: {{ incident: {{ state: closed }}, incidents: 1 }}
"
    ));
}

#[test]
fn an_unknown_run_is_settled_later_and_pages_may_be_told_about() {
    passes(&format!(
        "scenario: unknown\n{GIVEN}steps:
  - at: 0s
    event: {{ type: disk.used_pct, kind: metric, ci: web-1, value: 93, labels: {{ mount: /var }} }}
  - at: 5s
    run: unknown
    expect: {{ run: {{ state: unknown }}, runs: 1 }}
  - at: 9s
    run: succeeded
    expect: {{ run: {{ state: succeeded }} }}
---
scenario: nobody acknowledges
steps:
  - at: 0s
    event: {{ type: service.down, ci: web-9, labels: {{ service: http }} }}
    expect: {{ pages: 1, page: {{ to: oncall }}, incident: {{ summary: http is down on web-9, state: new }} }}
  - at: 1m
    expect: {{ pages: 1 }}
    page: delivered
  - at: 79s
    expect: {{ pages: 1 }}
  - at: 80s
    expect: {{ pages: 2, page: {{ to: lead, reason: nobody acknowledged }} }}
"
    ));
}

#[test]
fn a_proposed_run_waits_for_a_person() {
    passes(&format!(
        "scenario: proposed
given:
  cis: [ {{ name: web-1, class: server, environment: test }} ]
  grants: [ {{ rulebook: disk, autonomy: propose }} ]
steps:
  - at: 0s
    event: {{ type: disk.used_pct, kind: metric, ci: web-1, value: 93, labels: {{ mount: /var }} }}
    expect: {{ run: {{ state: proposed }}, incident: {{ state: new }} }}
  - at: 10s
    operator: {{ approve: {{ by: ana }} }}
    expect: {{ run: {{ state: started, decided_by: ana }}, incident: {{ state: in_progress }} }}
---
scenario: rejected
given:
  cis: [ {{ name: web-1, class: server, environment: test }} ]
  grants: [ {{ rulebook: disk, autonomy: propose }} ]
steps:
  - at: 0s
    event: {{ type: disk.used_pct, kind: metric, ci: web-1, value: 93, labels: {{ mount: /var }} }}
  - at: 10s
    operator: reject
    expect: {{ run: {{ playbook: extend-volume, state: proposed }}, runs: 2 }}
---
scenario: a guard denies what the rulebook may not do
given:
  cis: [ {{ name: web-1, class: server, environment: production }} ]
steps:
  - at: 0s
    event: {{ type: disk.used_pct, kind: metric, ci: web-1, value: 93, labels: {{ mount: /var }} }}
    expect: {{ runs: 2, run: {{ state: denied }}, page: {{ to: oncall }} }}
{}",
        ""
    ));
}

#[test]
fn a_failure_tells_what_was_expected_what_was_found_what_else_there_is_and_what_happened() {
    let results = run(&format!(
        "scenario: wrong\n{GIVEN}steps:
  - at: 0s
    event: {{ type: service.down, severity: major, ci: web-1, labels: {{ service: http }} }}
  - at: 1m
    run: succeeded
  - at: 1m
    expect: {{ incident: {{ state: resolved, priority: 2 }}, run: {{ playbook: clean-disk }}, pages: 0, ci: {{ name: web-2 }} }}
"
    ));
    let expected = "\
FAILED: wrong
  disk.test.yaml:6: step 2 at 1m
    run  expected  one in flight
         found     no run
  disk.test.yaml:8: step 3 at 1m
    pages           expected  0
                    found     2
    incident.state  expected  resolved
                    found     new
    run             expected  one
                    found     none
    ci              expected  web-2
                    found     no CI is named \"web-2\"
    there is    page to oncall: it was opened
                page to lead: nobody acknowledged it for 20s
              > incident \"http is down on web-1\" of service/service down: new, priority 2, about web-1
  what happened:
    0s       incident_opened   service down on web-1
    0s       page_decided      oncall: it was opened
    0s       page_reported     delivered
    20s      page_decided      lead: nobody acknowledged it for 20s
    20s      page_reported     delivered";
    assert_eq!(results[0].to_string(), expected);
    assert!(!results[0].passed);
}

#[test]
fn a_miss_inside_an_object_names_its_path_and_stands_where_it_is_written() {
    let results = run(&format!(
        "scenario: wrong\n{GIVEN}steps:
  - at: 0s
    event: {{ type: disk.used_pct, kind: metric, ci: web-1, value: 93, labels: {{ mount: /var }} }}
    expect:
      run:
        target: web-1
        with: {{ mount: /home }}
"
    ));
    let [step] = &results[0].failures[..] else { panic!("{}", results[0]) };
    let [miss] = &step.misses[..] else { panic!("{step}") };
    assert_eq!(miss.place.to_string(), "disk.test.yaml:9:17");
    assert_eq!((&*miss.what, &*miss.expected, &*miss.found), ("run.with.mount", "/home", "/var"));
    assert_eq!(step.there, ["> run clean-disk on web-1 with {\"mount\":\"/var\"}: started"]);
}

/// What scenarios of the two rulebooks miss, with how much they reach.
fn missed(scenarios: &str) -> (usize, Vec<String>) {
    let reached = run(scenarios).into_iter().flat_map(|r| r.reached).collect();
    let coverage = Coverage::of(&set(), &reached);
    (coverage.percent(), coverage.missed.iter().map(|m| format!("{} {}", m.rule, m.part)).collect())
}

#[test]
fn coverage_names_every_rule_clear_remedy_and_escalation_that_never_happens() {
    let (percent, all) = missed("scenario: nothing\nsteps:\n  - { at: 0s, expect: { incidents: 0 } }\n");
    assert_eq!(percent, 0);
    let of_disk = ["fires", "clears", "remedy/0", "remedy/1", "escalate/0", "escalate/1", "escalate/2"];
    let of_service = ["fires", "escalate/0", "escalate/1"];
    let expected = of_disk.map(|p| format!("disk full {p}")).into_iter();
    let expected: Vec<String> = expected.chain(of_service.map(|p| format!("service down {p}"))).collect();
    assert_eq!(all, expected);

    let (percent, rest) = missed(&format!(
        "scenario: cleaned\n{GIVEN}steps:
  - at: 0s
    event: {{ type: disk.used_pct, kind: metric, ci: web-1, value: 93, labels: {{ mount: /var }} }}
  - at: 10s
    run: succeeded
  - at: 20s
    event: {{ type: disk.used_pct, kind: metric, ci: web-1, value: 61, labels: {{ mount: /var }} }}
  - at: 1m
    expect: {{ incident: {{ state: resolved }} }}
---
scenario: a service that nobody looks after
steps:
  - at: 0s
    event: {{ type: service.down, ci: web-9, labels: {{ service: http }} }}
  - at: 1m
    expect: {{ pages: 2 }}
"
    ));
    assert_eq!(rest, ["remedy/1", "escalate/0", "escalate/1", "escalate/2"].map(|p| format!("disk full {p}")));
    assert_eq!(percent, 60);
}

#[test]
fn what_is_no_scenario_is_told_all_at_once_with_file_line_column_and_fix() {
    let text = "scenario: x
given:
  cis:
    - { name: a, class: server }
    - { name: a, class: server }
    - { name: '', class: server }
steps:
  - { at: 0s, event: { type: t, ci: c, serverity: major } }
  - { at: 0s, event: { ci: web-1 } }
  - at: 0s
    event:
      type: t
      ci: { hostt: web-1 }
      value: high
  - { at: 0s, event: { type: t, ci: c, status: fireing } }
  - { at: 0s, run: exploded }
---
scenario: y
given:
  cis: [ { name: a, class: server } ]
  relations: [ { from: a, kind: depends_on, to: b } ]
steps:
  - { at: 0s, expect: { incident: { stat: new } } }
";
    let found = run_scenarios(&set(), "disk.test.yaml", text).unwrap_err();
    let told: Vec<String> =
        found.iter().map(|d| format!("{}:{} {}", d.place.line, d.place.column, d.message)).collect();
    let expected = [
        "5:7 server \"a\" stands in the file twice",
        "6:7 `name` is empty",
        "8:40 an event has no field `serverity`",
        "9:15 field `type` is missing; an event needs `type`, and `ci` or `dedup_key`",
        "13:13 an event's `ci` has no field `hostt`",
        "15:40 field `status`: \"fireing\" is not one of firing, resolved",
        "16:20 expected one of succeeded, failed, unknown, found \"exploded\"",
        "21:16 `to` \"b\" is in neither the file nor, once, the CMDB",
        "23:37 the incident has no key `stat`",
    ];
    assert_eq!(told, expected);
    assert_eq!(found[2].help.as_deref(), Some("did you mean `severity`?"));
    assert_eq!(
        found[7].to_string().lines().nth(1).unwrap(),
        "  |   relations: [ { from: a, kind: depends_on, to: b } ]"
    );
    assert_eq!(paramedic_sim::check_scenarios("disk.test.yaml", text), found);
}

#[test]
fn a_file_without_a_scenario_or_that_is_no_yaml_is_told() {
    for (text, told) in [
        ("", "disk.test.yaml:1:1: error: no scenario is in the file"),
        ("# nothing\n---\n", "disk.test.yaml:1:1: error: no scenario is in the file"),
        ("scenario: x\nsteps: [ { at: 0s, run: failed }\n", "error: this is no YAML"),
        ("scenario: x\nstep: []", "disk.test.yaml:2:1: error: a scenario has no key `step`"),
    ] {
        let found = run_scenarios(&set(), "disk.test.yaml", text).unwrap_err();
        assert!(found.iter().any(|d| d.to_string().contains(told)), "{text}\n{found:?}");
    }
}
