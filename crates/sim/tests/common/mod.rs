//! Rules and events for the tests of this crate.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use paramedic_model::Timestamp;
use paramedic_rulebook::{RuleSet, load};
use paramedic_sim::{ReplayOptions, Report, replay};

pub const PLAYBOOKS: &str = "
playbooks:
  - name: clean-disk
    runner: http
    url: http://127.0.0.1:1/clean-disk
    timeout: 30s
    effect: idempotent
    on_unknown: verify
    parameters:
      mount: { type: string, required: true }
  - name: extend-volume
    runner: http
    url: http://127.0.0.1:1/extend-volume
    timeout: 30s
    effect: non_idempotent
    on_unknown: hold
";

pub const DISK: &str = r#"
rulebook: disk
autonomy: auto
may: { playbooks: [clean-disk, extend-volume], ci_classes: [server], environments: [test] }
rules:
  - rule: disk full
    when: |
      event.type == "disk.used_pct" && event.value >= 90
    by: [event.ci]
    clear: |
      event.type == "disk.used_pct" && event.value < 80
    incident:
      summary: "Disk on {event.ci} is {event.value:.0} % full"
      urgency: medium
      impact: medium
      reopen: 2m
      close_after: 1h
    remedy:
      - playbook: clean-disk
        target: about
        with: { mount: = event.labels.mount }
        verify: { within: 40s, hold: 5s }
      - playbook: extend-volume
        target: about
        verify: { within: 60s }
    escalate:
      - at: remedies_failed
        to: oncall
      - at: 90s
        to: lead
        raise: urgency
      - at: 2m unacknowledged
        to: boss
"#;

pub const SERVICE: &str = r#"
rulebook: service
autonomy: record
rules:
  - rule: service down
    when: |
      event.type == "service.down"
    incident:
      summary: "{event.labels.service} is down on {event.ci}"
      hold: 3s
      reopen: 0s
    escalate:
      - at: open
        to: oncall
      - at: 20s unacknowledged
        to: lead
"#;

/// A set of these rulebooks that grants what they ask.
pub fn set_of(disk: &str, service: &str) -> Arc<RuleSet> {
    set_of_site("defaults: {}", disk, service)
}

/// The same with a site file.
pub fn set_of_site(site: &str, disk: &str, service: &str) -> Arc<RuleSet> {
    let sources = BTreeMap::from([
        ("rules/site.yaml".to_owned(), site.to_owned()),
        ("rules/playbooks.yaml".to_owned(), PLAYBOOKS.to_owned()),
        ("rules/disk.yaml".to_owned(), disk.to_owned()),
        ("rules/service.yaml".to_owned(), service.to_owned()),
        ("grants".to_owned(), "\"as_asked\"".to_owned()),
    ]);
    let loaded = load(&sources);
    let errors: Vec<String> = loaded.diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string).collect();
    Arc::new(loaded.set.unwrap_or_else(|| panic!("{}", errors.join("\n"))))
}

pub fn set() -> Arc<RuleSet> {
    set_of(DISK, SERVICE)
}

/// The servers that the events are about.
pub fn cmdb() -> String {
    let mut text = "cis:\n".to_owned();
    for i in 0..6 {
        let _ = writeln!(text, "  - {{ name: web-{i}, class: server, environment: test }}");
    }
    text.push_str("relations:\n  - { from: web-0, kind: depends_on, to: web-1 }\n");
    text
}

/// Numbers that look random and are the same for a seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

pub fn at(seconds: f64) -> Timestamp {
    Timestamp::from_nanos(1_767_225_600_000_000_000 + (seconds * 1e9) as i64)
}

/// A line of JSON, a message each: disks that fill and are cleaned, services that fall and come back, repeats,
/// events that nobody asked for, arrays, events that come late, and here and there what is no event.
pub fn lines(seed: u64, count: u64, scopes: u64) -> Vec<String> {
    let mut dice = Dice(seed);
    let mut now = 0.0;
    (0..count)
        .map(|n| {
            now += dice.roll(4_000) as f64 / 1_000.0;
            let site = dice.roll(scopes);
            let host = dice.roll(6);
            let time = at(now - if dice.roll(9) == 0 { dice.roll(30) as f64 } else { 0.0 });
            let event = match dice.roll(20) {
                0..=4 => format!(
                    r#"{{"id":"{n}","type":"disk.used_pct","kind":"metric","ci":"web-{host}","value":{},"time":"{time}","labels":{{"site":"s{site}","mount":"/var"}}}}"#,
                    [50, 70, 85, 91, 95, 99][dice.roll(6) as usize],
                ),
                5..=12 => format!(
                    r#"{{"id":"{n}","type":"service.down","status":"{}","severity":"major","ci":"web-{host}","dedup_key":"web-{host}/http","time":"{time}","labels":{{"site":"s{site}","service":"http"}}}}"#,
                    ["firing", "resolved"][dice.roll(2) as usize],
                ),
                13 => format!(r#"{{"id":"{}","type":"service.down","ci":"web-{host}","time":"{time}","labels":{{"site":"s{site}"}}}}"#, n / 2),
                14..=16 => format!(r#"{{"id":"{n}","type":"cpu","ci":"web-{host}","value":3,"time":"{time}","labels":{{"site":"s{site}"}}}}"#),
                17 => format!(r#"{{"id":"{n}","type":"disk.used_pct","kind":"metric","ci":"web-{host}","value":96,"labels":{{"site":"s{site}","mount":"/"}}}}"#),
                18 => "{\"type\":".to_owned(),
                _ => String::new(),
            };
            if dice.roll(15) == 0 && event.ends_with("}}") { format!("[{event},{}]", event.replace(&format!("\"id\":\"{n}\""), &format!("\"id\":\"{n}-2\""))) } else { event }
        })
        .collect()
}

pub fn options() -> ReplayOptions {
    let mut options = ReplayOptions::new(paramedic_formats::format("paramedic").unwrap());
    options.scope = Some(paramedic_rulebook::ScopeExpr::parse("event.labels.site").unwrap());
    options.cmdb = Some(cmdb());
    options
}

/// The report, without what a clock has to say.
pub fn run(set: &Arc<RuleSet>, lines: &[String], options: &ReplayOptions) -> Report {
    let text = lines.join("\n");
    let report = replay(Arc::clone(set), text.as_bytes(), options, &mut |_| {}).unwrap();
    Report { duration_ms: 0, ..report }
}
