//! `enrich` and `thresholds` of the site file: what rules see of an event, and what each CI may have its own of.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_model::{Attribute, Ci, CiRef, Cmdb, Event, Labels, Measure, OwnedEvent, Severity, Status, Timestamp};
use paramedic_rulebook::explain::{Explainer, Which};
use paramedic_rulebook::*;
use proptest::prelude::*;

mod random;

const RULE: &str = "rulebook: r\nrules:\n  - rule: one\n    when: |\n      WHEN\n    by: [event.ci]\n    \
    clear: event.type == \"ok\"\n    incident: { summary: s }\n";

fn load_site(site: &str, when: &str) -> Loaded {
    let files = [("r.yaml", RULE.replace("WHEN", when)), ("rules/site.yaml", site.to_owned())];
    load(&files.map(|(path, text)| (path.to_owned(), text)).into_iter().collect())
}

fn shown(loaded: &Loaded) -> String {
    loaded.diagnostics.iter().map(|d| format!("{d}\n")).collect()
}

fn set_when(site: &str, when: &str) -> Arc<RuleSet> {
    let loaded = load_site(site, when);
    let text = shown(&loaded);
    Arc::new(loaded.set.unwrap_or_else(|| panic!("{site}\n{text}")))
}

fn evaluator(site: &str) -> Evaluator {
    Evaluator::new(set_when(site, "true"))
}

fn labels(of: &[(&str, &str)]) -> Labels<'static> {
    Labels::new(of.iter().map(|(k, v)| ((*k).to_owned().into(), (*v).to_owned().into())).collect())
}

fn event() -> OwnedEvent {
    Event {
        source: "zabbix".into(),
        type_: "disk".into(),
        summary: Some("web-1: Disk /var is 93 % full".into()),
        ci: CiRef { ip: Some("10.0.0.7".into()), host: Some("exporter".into()), ..CiRef::default() },
        labels: labels(&[("pod_ip", "10.0.0.7"), ("prio", "P1"), ("rack", "r7")]),
        raw: Some("{}".into()),
        ..Event::default()
    }
}

#[test]
fn fields_are_set_from_constants_expressions_and_groups_in_order() {
    let site = r#"enrich:
  - source: zabbix
    match: { field: event.summary, pattern: '^(?<host>[^:]+): (?<what>.*?) is (?<pct>[0-9]+) %' }
    set:
      ci: = found.host
      host: = found.host
      summary: = found.what.to_upper() + "!"
      value: = found.pct
      unit: "%"
      labels: { nothing: = event.labels.none, mixed: '= event.labels.rack + "/" + found.host' }
      annotations: { was: = event.summary }
  - source: [nagios, zabbix]
    when: event.ci == "web-1" && event.labels.prio in ["P1", "P2"]
    set: { severity: '= if event.labels.prio == "P1" { CRITICAL } else { MAJOR }', service: shop, metric: NO }
  - source: nagios
    set: { summary: never }
"#;
    let (mut e, sent) = (evaluator(site), event());
    let seen = e.seen(&sent).into_owned();
    assert_eq!((seen.ci.best(), seen.ci.host.as_deref(), seen.ci.ip.as_deref()), (Some("web-1"), Some("web-1"), None));
    assert_eq!(seen.summary.as_deref(), Some("DISK /VAR!"));
    assert_eq!((seen.value.clone(), seen.unit.as_deref()), (Some(Measure::Int(93)), Some("%")));
    assert_eq!((seen.labels.get("nothing"), seen.labels.get("mixed")), (None, Some("r7/web-1")));
    assert_eq!(seen.annotations.get("was"), sent.summary.as_deref());
    assert_eq!(
        (seen.severity, seen.service.as_deref(), seen.metric.as_deref()),
        (Severity::Critical, Some("shop"), Some("NO"))
    );
    assert_eq!(seen.raw, sent.raw, "the message stays as it came");
    assert_eq!(e.take_enrich_failures(), EnrichFailures::default());
    let resolved = OwnedEvent { status: Status::Resolved, ..sent.clone() };
    assert_eq!(e.seen(&resolved).ci.best(), Some("web-1"), "what ends is the same thing as what began");
    let other = OwnedEvent { summary: Some("no host here".into()), ..sent.clone() };
    assert_eq!(*e.seen(&other), other, "what is not found changes nothing, nor do steps that go by it");
    let elsewhere = OwnedEvent { source: "kafka".into(), ..sent };
    assert_eq!(*e.seen(&elsewhere), elsewhere);
}

#[test]
fn conditions_are_asked_of_the_event_after_enrich_and_the_input_stays_as_sent() {
    let site = "enrich:\n  - set: { labels: { tier: '= event.labels.rack.sub_string(0, 1)' } }\n";
    let mut e = Evaluator::new(set_when(site, "event.labels.tier == \"r\""));
    let sent = event();
    let found = e.matches(&sent);
    assert_eq!((found.when.len(), &found), (1, &e.matches_brute_force(&sent)));
    assert_eq!(found.changes.seen(&sent).labels.get("tier"), Some("r"));
    assert_eq!(sent, event());
    assert!(e.match_seen(&sent).is_empty(), "what was enriched before is not enriched again");
}

#[test]
fn a_default_is_for_what_is_missing() {
    let mut e = evaluator(
        "enrich:\n  - source: zabbix\n    default: { severity: warning, host: h, labels: { rack: none, row: \"7\" } }\n",
    );
    let seen = e.seen(&event()).into_owned();
    assert_eq!((seen.severity, seen.ci.host.as_deref()), (Severity::Warning, Some("exporter")));
    assert_eq!((seen.labels.get("rack"), seen.labels.get("row")), (Some("r7"), Some("7")));
    let known = OwnedEvent { severity: Severity::Info, ..event() };
    assert_eq!(e.seen(&known).severity, Severity::Info);
}

#[test]
fn labels_that_are_dropped_from_the_key_stay_labels_and_a_senders_key_stays() {
    let mut e = evaluator("enrich:\n  - source: zabbix\n    drop_from_key: [pod_ip, restarts]\n");
    let (one, mut two) = (event(), event());
    two.labels = labels(&[("pod_ip", "10.9.9.9"), ("prio", "P1"), ("rack", "r7"), ("restarts", "3")]);
    assert_ne!(one.dedup_key(), two.dedup_key());
    let (first, second) = (e.seen(&one).into_owned(), e.seen(&two).into_owned());
    assert_eq!(first.dedup_key(), second.dedup_key());
    assert_eq!(second.labels.get("pod_ip"), Some("10.9.9.9"));
    let rack = OwnedEvent { labels: labels(&[("pod_ip", "10.0.0.7"), ("rack", "r8")]), ..event() };
    assert_ne!(e.seen(&rack).dedup_key(), first.dedup_key(), "the others count");
    let own = OwnedEvent { dedup_key: Some("mine".into()), ..event() };
    assert_eq!(e.seen(&own).dedup_key(), "mine");
    let mut e = evaluator(
        "enrich:\n  - { drop_from_key: [pod_ip] }\n  - { set: { dedup_key: = event.type + \"/\" + event.labels.rack } }\n",
    );
    assert_eq!((e.seen(&own).dedup_key(), e.seen(&one).dedup_key()), ("disk/r7".into(), "disk/r7".into()));
}

#[test]
fn a_step_that_fails_sets_nothing_and_says_where_and_the_others_go_on() {
    let site = "enrich:\n  - set:\n      labels: { first: yes }\n      severity: = event.labels.prio\n  \
        - when: |\n      event.type == \"disk\"\n      && [1][5] == 1\n    set: { service: never }\n  \
        - set: { service: shop }\n";
    let mut e = evaluator(site);
    let seen = e.seen(&event()).into_owned();
    assert_eq!((seen.labels.get("first"), seen.severity), (None, Severity::Unknown), "all of a step, or nothing");
    assert_eq!(seen.service.as_deref(), Some("shop"));
    assert_eq!(*e.seen(&event()), seen);
    let failed = e.take_enrich_failures();
    assert_eq!((failed.times, failed.first.len()), (4, 2), "{failed:?}");
    let why = "event.severity gets \"P1\"; expected a severity, or a text that names one";
    assert_eq!(failed.first[0], ("site.yaml:4".to_owned(), why.to_owned()));
    assert_eq!(failed.first[1].0, "site.yaml:7", "{failed:?}");
    assert_eq!(e.take_enrich_failures().times, 0);
}

#[test]
fn what_is_set_is_bounded() {
    let mut e = evaluator("enrich:\n  - set: { summary: = event.summary + event.summary }\n  - set: { unit: ok }\n");
    let large = OwnedEvent { summary: Some("x".repeat(200 << 10).into()), ..event() };
    let seen = e.seen(&large).into_owned();
    assert_eq!((seen.summary, seen.unit.as_deref()), (large.summary.clone(), Some("ok")));
    let failed = e.take_enrich_failures();
    assert!(failed.times == 1 && failed.first[0].1.contains("too large") || failed.first[0].1.contains("the most is"));
}

#[test]
fn what_enrich_and_thresholds_say_is_part_of_the_sets_meaning() {
    let digest = |site: &str| set_when(site, "true").digest;
    let one = digest("enrich:\n  - set: { severity: major }\n");
    assert_ne!(one, digest("enrich: # why\n  - set: { severity: minor }\n"));
    assert_eq!(one, digest("enrich: # why\n  - set:\n      severity: MAJOR\n"));
    let rule = |default: &str| {
        let site = format!("thresholds: {{ t: {{ attribute: a, default: {default} }} }}\n");
        set_when(&site, "event.type == \"x\" && event.value > threshold(\"t\")").rules[0].shape
    };
    assert_ne!(rule("5"), rule("6"), "the default is part of the condition");
    assert_eq!(rule("5"), rule("  5"), "layout is not");
}

#[test]
fn each_mistake_is_told_with_its_place_and_fix() {
    let step = |rest: &str| format!("enrich:\n  - {rest}\n");
    let mut untold = Vec::new();
    for (site, at, message, help) in [
        (step("source: zabbix"), "2:5", "the step changes nothing", "give it `set: { severity: major }`"),
        (step("set: { severty: major }"), "2:12", "has no key `severty`", "did you mean `severity`?"),
        (step("set: { severity: majr }"), "2:22", "found \"majr\"", "did you mean `major`?"),
        (step("set: { severity: = 5 }"), "2:24", "event.severity does not get this", ""),
        (step("set: { severity: '= \"majr\"' }"), "2:25", "expected a severity", ""),
        (step("set: { value: lots }"), "2:19", "expected a number, found \"lots\"", ""),
        (step("set: { value: = event.severity }"), "2:21", "event.value does not get this: expected a number", ""),
        (step("set: { ci: }"), "2:12", "`ci` has no value", ""),
        (step("set: { ci: = event.lables.x }"), "2:24", "no field `lables`", "did you mean `labels`?"),
        (step("set: { ci: = about.name }"), "2:18", "`about` is not known to `enrich`", "use the event's own fields"),
        (step("set: { ci: = found.x }"), "2:18", "nothing is named `found` here", "give the step one"),
        (step("set: { ci: = open_incident(event.ci) }"), "2:18", "`open_incident` is not known", ""),
        (step("set: { labels: rack }"), "2:20", "expected labels by name", "write `labels: { rack: r7 }`"),
        (step("set: { status: resolved }"), "2:12", "has no key `status`", "what a step sets has severity"),
        (
            step("match: { field: event.summary, pattern: '(' }\n    set: { unit: x }"),
            "2:45",
            "is no regular expression",
            "",
        ),
        (
            step("match: { field: summary, pattern: 'x' }\n    set: { unit: x }"),
            "2:21",
            "`summary`",
            "write `field: event.summary`",
        ),
        (
            step("match: { field: event.summary, pattern: '(?<host>x)' }\n    set: { ci: = found.hots }"),
            "3:24",
            "the pattern has no group `hots`",
            "did you mean `host`?",
        ),
        (step("when: about.name == \"x\"\n    set: { unit: x }"), "2:11", "is not known to a condition", ""),
        (step("drop_from_key: [event.labels.pod_ip]"), "2:21", "a label stands here by its name", "write `pod_ip`"),
        (step("drop_from_key: []"), "2:20", "the list is empty", ""),
        (step("set: { unit: x }\n    default: { unit: y }"), "3:5", "both sets event.unit and has a default", ""),
        ("enrich: { set: { unit: x } }\n".into(), "1:9", "expected a list", "begin each item with `- `"),
        ("thresholds: { t: { attribute: a } }\n".into(), "1:18", "a threshold needs `default`", ""),
        ("thresholds: { t: { attribute: a, default: x } }\n".into(), "1:43", "expected a number", ""),
        (
            "thresholds: { t: { atribute: a, default: 1 } }\n".into(),
            "1:20",
            "no key `atribute`",
            "did you mean `attribute`?",
        ),
        (
            step("set: { value: '= threshold(\"t\")' }"),
            "2:22",
            "the site has no threshold `t`",
            "thresholds stand in site.yaml",
        ),
        (
            format!(
                "thresholds: {{ t: {{ attribute: a, default: 1 }} }}\n{}",
                step("set: { value: '= threshold(\"t\")' }")
            ),
            "3:22",
            "`threshold` reads the CMDB",
            "compare with it in `when` of a rule",
        ),
    ] {
        let loaded = load_site(&site, "true");
        let is_it = |d: &Diagnostic| {
            d.is_error()
                && d.message.contains(message)
                && d.help.as_deref().unwrap_or_default().contains(help)
                && format!("{}:{}", d.place.line, d.place.column) == at
        };
        if loaded.set.is_some() || !loaded.diagnostics.iter().any(is_it) {
            untold.push(format!("{site}expected at {at}: {message} ({help})\n{}", shown(&loaded)));
        }
    }
    assert!(untold.is_empty(), "{}", untold.join("\n"));
}

#[test]
fn what_cannot_matter_is_warned_of() {
    let warned = |site: &str| {
        let loaded = load_site(site, "event.type == \"x\"");
        let text = shown(&loaded);
        let found = loaded.diagnostics.into_iter().find(|d| d.level == Gravity::Warning);
        found.map(|d| d.message).unwrap_or(text)
    };
    let site = "enrich:\n  - when: event.type == \"a\" && event.type == \"b\"\n    set: { unit: x }\n";
    assert!(warned(site).contains("`when` is never true"));
    let site =
        "enrich:\n  - match: { field: event.summary, pattern: '(?<a>x)(?<b>y)' }\n    set: { unit: = found.a }\n";
    assert_eq!(warned(site), "nothing uses the group `b`");
    let site = "enrich:\n  - match: { field: event.summary, pattern: '(?<a>x)(?:y)' }\n    set: { unit: = found.a }\n";
    assert!(!warned(site).contains("group"));
    let set = set_when("enrich:\n  - { source: [zabbix, nagois], set: { unit: x } }\n", "true");
    let known = ["zabbix".to_owned(), "nagios".to_owned()];
    let unknown: Vec<_> = set.site.unknown_sources(&known).map(|(at, name)| (at.line, name)).collect();
    assert_eq!(unknown, [(2, "nagois")]);
}

#[test]
fn what_check_says_of_rules_is_of_events_after_enrich() {
    let verdict = |site: &str, when: &str| {
        let set = set_when(site, when);
        let analysis = analyse(&set);
        (analysis.rules[0].verdict, analysis.rules[0].event.clone())
    };
    let when = "event.type == \"x\" && event.severity == CRITICAL";
    assert_eq!(verdict("defaults: {}\n", when).0, Verdict::Live);
    let masked = "enrich:\n  - when: event.type == \"x\"\n    set: { severity: major }\n";
    assert_eq!(verdict(masked, when).0, Verdict::Unknown, "no event that was tried is critical after it");
    let moved = "enrich:\n  - when: event.type == \"y\"\n    set: { severity: major }\n";
    let (live, shown) = verdict(moved, when);
    assert_eq!((live, shown.unwrap()["severity"].as_str()), (Verdict::Live, Some("critical")));
    assert_eq!(verdict(masked, "event.type == \"x\" && event.type == \"y\"").0, Verdict::Dead);
}

#[test]
fn an_explanation_says_what_enrich_has_changed() {
    let site =
        "enrich:\n  - set: { severity: major, labels: { tier: = event.labels.rack } }\n  - set:\n      value: = [1]\n";
    let set = set_when(site, "event.labels.tier == \"r7\" && event.severity >= CRITICAL");
    let told = Explainer::new(set).explain(&event(), Which::All);
    let changed: Vec<_> = told.enriched.iter().map(|c| (c.field.as_str(), c.written.as_deref().unwrap())).collect();
    assert_eq!(changed, [("event.severity", "MAJOR"), ("event.labels.tier", "\"r7\"")]);
    assert_eq!(told.enrich_failed.len(), 1, "{:?}", told.enrich_failed);
    let change = told.rules[0].change.as_ref().unwrap();
    assert_eq!((change.len(), change[0].field.as_str()), (1, "event.severity"));
}

const THRESHOLDS: &str = "thresholds: { used: { attribute: disk_threshold, default: 90 } }\n";

fn cmdb() -> Arc<Cmdb> {
    let mut cmdb = Cmdb::default();
    for (name, own) in [("web-1", serde_json::json!(70)), ("web-2", "75.5".into()), ("web-3", "many".into())] {
        let value = Attribute { value: own, source: "test".into(), at: Timestamp::EPOCH };
        cmdb.put(Ci {
            id: Ci::id_of("default", "server", name),
            class: "server".into(),
            name: name.into(),
            external_ids: Default::default(),
            environment: None,
            criticality: None,
            owner: None,
            operational_status: None,
            attributes: BTreeMap::from([("disk_threshold".to_owned(), value)]),
        });
    }
    Arc::new(cmdb)
}

#[test]
fn a_threshold_in_a_condition_is_asked_where_the_cmdb_is_and_found_by_the_rest() {
    let set = set_when(THRESHOLDS, "event.type == \"disk\" && event.value >= threshold(\"used\")");
    let mut e = Evaluator::new(set);
    let how = e.explain_index();
    assert!(matches!(how[0].how, HowFound::Index(_)) && !how[0].native, "{how:?}");
    let sample = |ci: &str, value: i64| Event {
        type_: "disk".into(),
        ci: CiRef { name: Some(ci.to_owned().into()), ..CiRef::default() },
        value: Some(Measure::Int(value)),
        ..Event::default()
    };
    let mut fires = |ci: &str, value: i64, cmdb: &Arc<Cmdb>| {
        let event = sample(ci, value);
        let found = e.matches(&event);
        assert_eq!((found.when.len(), found.failed.len()), (1, 0), "it may hold");
        let found = e.with_thresholds(found, &event, cmdb);
        assert!(found.failed.is_empty(), "{found:?}");
        found.when.len() == 1
    };
    let cmdb = cmdb();
    for (ci, value, held) in [
        ("web-1", 70, true),
        ("web-1", 69, false),
        ("web-2", 76, true),
        ("web-2", 75, false),
        ("web-3", 89, false),
        ("web-3", 90, true),
        ("elsewhere", 90, true),
        ("elsewhere", 75, false),
    ] {
        assert_eq!(fires(ci, value, &cmdb), held, "{ci} {value}");
    }
    assert!(!fires("web-1", 70, &Arc::default()), "what the CMDB does not know has the default");
    let other = Event { type_: "cpu".into(), ..sample("web-1", 99) };
    assert!(e.matches(&other).is_empty(), "the rest of the condition is asked of each event");
}

#[test]
fn values_and_questions_read_thresholds_too() {
    let rule = "rulebook: r\nrules:\n  - rule: one\n    when: event.type == \"disk\"\n    by: [event.ci]\n    \
        only_if: event.value >= threshold(\"used\")\n    incident: { summary: s }\n";
    let files =
        BTreeMap::from([("r.yaml".to_owned(), rule.to_owned()), ("site.yaml".to_owned(), THRESHOLDS.to_owned())]);
    let set = Arc::new(load(&files).set.unwrap());
    let (mut e, cmdb) = (Evaluator::new(Arc::clone(&set)), cmdb());
    let event = Event {
        ci: CiRef { name: Some("web-1".into()), ..CiRef::default() },
        value: Some(Measure::Int(71)),
        ..event()
    };
    let only_if = set.rules[0].only_if.unwrap();
    assert_eq!(e.condition(only_if, &Ctx::of(&event, None, &cmdb, Timestamp::EPOCH)), Ok(true));
    assert_eq!(e.condition(only_if, &Ctx::of(&event, None, &Arc::default(), Timestamp::EPOCH)), Ok(false));
}

#[test]
fn a_threshold_that_cannot_be_asked_is_refused_with_the_fix() {
    for (when, message, help) in [
        ("event.value > threshold(\"usde\")", "no threshold `usde`", "did you mean `used`?"),
        ("event.value > threshold(event.type)", "by its name", "threshold(\"disk_used_pct\")"),
        ("event.value > threshold(\"used\", 1)", "by its name", ""),
        ("[1].some(|x| event.value > threshold(\"used\"))", "not at hand", "outside of the closure"),
    ] {
        let loaded = load_site(THRESHOLDS, when);
        let error = loaded.diagnostics.iter().find(|d| d.is_error()).unwrap_or_else(|| panic!("{when}"));
        assert!(error.message.contains(message), "{when}: {error}");
        assert!(error.help.as_deref().unwrap_or_default().contains(help), "{when}: {error}");
    }
    let members = "rulebook: r\nrules:\n  - rule: one\n    all:\n      - a: event.value > threshold(\"used\")\n      \
        - b: event.type == \"b\"\n    within: 5m\n    by:\n      - threshold(\"used\")\n    incident: { summary: s }\n";
    let site = format!("{THRESHOLDS}functions: |\n  fn is_full(x) {{ x > threshold(\"used\") }}\n");
    let files = [("r.yaml", members), ("site.yaml", &site)].map(|(p, t)| (p.to_owned(), t.to_owned()));
    let text = shown(&load(&files.into_iter().collect()));
    for refused in
        ["a member's condition cannot read a threshold", "a part of `by` says", "a function of the site sees only"]
    {
        assert!(text.contains(refused), "{refused}\n{text}");
    }
}

#[test]
fn what_is_known_of_a_rule_with_a_threshold_is_known_with_its_default() {
    let when =
        |value: &str| format!("event.type == \"disk\" && event.value {value} && event.value >= threshold(\"used\")");
    let verdict = |when: &str| analyse(&set_when(THRESHOLDS, when)).rules[0].verdict;
    assert_eq!(verdict(&when("< 100")), Verdict::Live);
    let plain = "event.type == \"disk\" && event.value >= threshold(\"used\")";
    let set = set_when(THRESHOLDS, plain);
    let book = set.sources["r.yaml"].replace("event.type == \"ok\"", "event.value < threshold(\"used\") - 10");
    let files = BTreeMap::from([("r.yaml".to_owned(), book), ("site.yaml".to_owned(), THRESHOLDS.to_owned())]);
    let analysis = analyse(&Arc::new(load(&files).set.unwrap()));
    let shown = analysis.rules[0].event.as_ref().unwrap();
    assert!(analysis.rules[0].verdict == Verdict::Live && shown["value"].as_f64().unwrap() >= 90.0, "{shown}");
    assert_eq!(verdict(&when("< 80")), Verdict::Unknown, "a CI may have one of 70");
    assert_eq!(verdict(&when("< 80 && event.value > 81")), Verdict::Dead);
    let set = set_when(THRESHOLDS, &when("> 0"));
    let sample = OwnedEvent {
        value: Some(Measure::Int(85)),
        ci: CiRef { name: Some("x".into()), ..CiRef::default() },
        ..event()
    };
    let told = Explainer::new(set).explain(&sample, Which::All);
    let failed: Vec<_> = told.rules[0].conditions[0].conjuncts.iter().filter(|c| c.has_failed()).collect();
    assert!(failed.len() == 1 && failed[0].note.as_deref().is_some_and(|note| note.contains("default")), "{failed:?}");
    assert_eq!(told.rules[0].change.as_ref().unwrap()[0].to, serde_json::json!(90));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_index_finds_what_asking_every_condition_of_the_enriched_event_finds(
        steps in prop::collection::vec(random::step(), 1..6),
        rules in prop::collection::vec(random::condition(), 1..20),
        events in prop::collection::vec(random::event(), 1..12),
    ) {
        let rules: String = rules.iter().enumerate().map(|(n, when)| {
            format!("  - rule: r{n}\n    when: |\n      {when}\n    incident: {{ summary: s }}\n")
        }).collect();
        let site = format!("enrich:\n{}", steps.concat());
        let files = [("r.yaml", format!("rulebook: r\nrules:\n{rules}")), ("site.yaml", site.clone())];
        let loaded = load(&files.map(|(path, text)| (path.to_owned(), text)).into_iter().collect());
        prop_assert!(loaded.set.is_some(), "{site}{:?}", loaded.diagnostics.iter().find(|d| d.is_error()).map(ToString::to_string));
        let set = Arc::new(loaded.set.unwrap());
        let (mut evaluator, mut other) = (Evaluator::new(Arc::clone(&set)), Evaluator::new(set));
        for sent in &events {
            let found = evaluator.matches(sent);
            prop_assert_eq!(&found, &other.matches_brute_force(sent), "the same on another thread, by another way");
            let seen = evaluator.seen(sent).into_owned();
            prop_assert_eq!(found.changes.seen(sent).into_owned(), seen.clone());
            let again = other.match_seen(&seen);
            prop_assert_eq!((&found.when, &found.failed), (&again.when, &again.failed));
            prop_assert_eq!(&sent.raw, &seen.raw);
            prop_assert_eq!((&sent.id, sent.status, sent.kind), (&seen.id, seen.status, seen.kind));
        }
    }
}
