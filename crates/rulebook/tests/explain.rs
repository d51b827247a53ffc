//! Why an event did nothing, and what would have changed that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use paramedic_model::{Ci, CiRef, Cmdb, Event, Grants, Labels, Measure, Phase, Relation, Severity, Status};
use paramedic_rulebook::explain::{Explainer, Held, Which};
use paramedic_rulebook::{GRANTS, load_all_words};

fn explainer(rules: &str) -> Explainer {
    let grants = serde_json::to_string(&Grants::AsAsked).unwrap_or_default();
    let book = format!("rulebook: r\nautonomy: auto\nrules:\n{rules}");
    let loaded = load_all_words(&BTreeMap::from([("r.yaml".to_owned(), book.clone()), (GRANTS.to_owned(), grants)]));
    let shown: String = loaded.diagnostics.iter().map(|d| format!("{d}\n")).collect();
    Explainer::new(Arc::new(loaded.set.unwrap_or_else(|| panic!("{book}\n{shown}"))))
}

/// One rule with this condition and these lines.
fn rule(name: &str, when: &str, more: &str) -> String {
    let more: String = more.lines().map(|line| format!("    {line}\n")).collect();
    format!("  - rule: {name}\n    when: |\n      {when}\n    incident: {{ summary: s }}\n{more}")
}

fn event(type_: &str) -> Event<'static> {
    Event {
        type_: type_.to_owned().into(),
        ci: CiRef { name: Some("web-1".into()), ..CiRef::default() },
        ..Event::default()
    }
}

fn valued(type_: &str, value: i64) -> Event<'static> {
    Event { value: Some(Measure::Int(value)), ..event(type_) }
}

fn labelled(type_: &str, labels: &[(&str, &str)]) -> Event<'static> {
    let labels = labels.iter().map(|(k, v)| ((*k).to_owned().into(), (*v).to_owned().into())).collect();
    Event { labels: Labels::new(labels), ..event(type_) }
}

/// In a few words: for each rule what failed, in order, what would make it match, and what follows.
fn told(rules: &str, event: &Event<'_>, which: Which<'_>) -> String {
    let explanation = explainer(rules).explain(event, which);
    let mut out = String::new();
    for rule in explanation.rules {
        let _ = write!(out, "{}:", rule.rule);
        for condition in rule.conditions.iter().filter(|c| c.awaited && !rule.matches) {
            for part in condition.conjuncts.iter().filter(|part| part.has_failed()) {
                let fields: Vec<String> =
                    part.fields.iter().map(|f| f.written.clone().unwrap_or_else(|| "missing".to_owned())).collect();
                let error = if let Held::Error(_) = part.held { "; it failed" } else { "" };
                let _ = write!(out, " {}: {} ({}{error});", condition.name, part.text, fields.join(", "));
            }
        }
        for change in rule.change.iter().flatten() {
            let _ = write!(out, " -> {} = {}", change.field, change.written.as_deref().unwrap_or("nothing"));
        }
        for then in &rule.then {
            let _ = write!(out, " | {then}");
        }
        out.push('\n');
    }
    let _ = write!(out, "+{}", explanation.left_out);
    out
}

const OPENS: &str = "then it opens an incident, or adds to the open one of the same `by`";

#[test]
fn the_first_part_that_failed_is_told_with_what_the_event_has_and_what_it_needs() {
    let rules = rule(
        "full",
        "event.type == \"disk\" && event.value >= 90 // much\n      && event.labels.mount == \"/var\"",
        "",
    );
    let near = Event { labels: labelled("", &[("mount", "/var")]).labels, ..valued("disk", 85) };
    assert_eq!(told(&rules, &near, Which::InReach), "full: when: event.value >= 90 (85); -> event.value = 90\n+0");
    assert_eq!(
        told(&rules, &valued("disk", 85), Which::InReach),
        "full: when: event.value >= 90 (85); when: event.labels.mount == \"/var\" (missing); \
         -> event.value = 90 -> event.labels.mount = \"/var\"\n+0"
    );
    // Three fields are no small change.
    assert_eq!(
        told(&rules, &event("x"), Which::All),
        "full: when: event.type == \"disk\" (\"x\"); when: event.value >= 90 (missing); \
         when: event.labels.mount == \"/var\" (missing);\n+0"
    );
    let full = Event { value: Some(Measure::Int(95)), ..near };
    assert_eq!(told(&rules, &full, Which::InReach), format!("full: | {OPENS}\n+0"));
}

#[test]
fn what_is_implied_and_what_by_needs_are_parts_too() {
    let rules = rule("r", "event.type == \"a\"", "by: [event.ci, event.labels.site]");
    let resolved = Event { status: Status::Resolved, ..labelled("a", &[("site", "fra")]) };
    assert_eq!(
        told(&rules, &resolved, Which::InReach),
        "r: when: event.status == FIRING (RESOLVED); -> event.status = FIRING | a resolve: an incident of the rule ends when each of \
         its alerts is resolved\n+0"
    );
    let suppressed = Event { phase: Some(Phase::Suppressed), ..labelled("a", &[("site", "fra")]) };
    assert_eq!(
        told(&rules, &suppressed, Which::InReach),
        "r: when: !has(event.phase) (\"suppressed\"); -> event.phase = nothing\n+0"
    );
    assert_eq!(
        told(&rules, &event("a"), Which::InReach),
        "r: when: event.labels.site (missing); -> event.labels.site = \"x\"\n+0"
    );
    // Who asks for a status gets what they ask for.
    let rules = rule("r", "event.type == \"a\" && event.status == RESOLVED", "");
    assert_eq!(
        told(&rules, &event("a"), Which::InReach),
        "r: when: event.status == RESOLVED (FIRING); -> event.status = RESOLVED\n+0"
    );
}

#[test]
fn a_change_is_found_for_every_kind_of_comparison() {
    let severe = Event { severity: Severity::Minor, ..event("t") };
    let worded = Event {
        summary: Some("link up".into()),
        ..labelled("t", &[("code", "200"), ("env", "test"), ("ip", "192.0.2.1")])
    };
    let both = Event { threshold: Some(Measure::Int(80)), ..valued("t", 50) };
    for (when, event, change) in [
        ("event.value > 90", &both, "event.value = 91"),
        ("event.value > 0.5 && event.value < 1", &both, "event.value = 0.9"),
        ("event.value in [1, 2]", &both, "event.value = 1"),
        ("event.value > event.threshold", &both, "event.value = 81"),
        ("event.value - event.threshold >= 20", &both, "event.value = 100"),
        ("event.severity >= MAJOR", &severe, "event.severity = MAJOR"),
        ("event.severity < MINOR", &severe, "event.severity = WARNING"),
        ("num(event.labels.code) >= 500", &worded, "event.labels.code = \"500\""),
        ("(event.labels.env ?? \"\") != \"test\"", &worded, "event.labels.env = \"other\""),
        ("!(event.labels.env == \"test\" && has(event.summary))", &worded, "event.labels.env = \"other\""),
        ("event.summary.starts_with(\"disk\")", &worded, "event.summary = \"disk\""),
        ("event.summary.to_lower().contains(\"down\")", &worded, "event.summary = \"down\""),
        ("event.summary.matches(\"^link [a-z]{4}$\")", &worded, "event.summary = \"link aaaa\""),
        ("event.labels.ip.in_network(\"10.0.0.0/8\")", &worded, "event.labels.ip = \"10.0.0.0\""),
        ("has(event.service)", &worded, "event.service = \"x\""),
        ("event.labels.env.is_empty()", &worded, "event.labels.env = nothing"),
        ("event.kind == \"metric\"", &worded, "event.kind = \"metric\""),
        ("event.labels.a == \"1\" || event.labels.code == \"404\"", &worded, "event.labels.a = \"1\""),
        // Rhai alone says whether this holds.
        ("event.labels.env.split(\",\").contains(\"prod\")", &worded, "event.labels.env = \"prod\""),
    ] {
        let rules = rule("r", &format!("event.type == \"t\" && ({when})"), "");
        let found = told(&rules, event, Which::InReach);
        assert!(found.contains(&format!("; -> {change}\n")), "{when}: {found}");
    }
}

#[test]
fn what_no_value_could_make_hold_has_no_change() {
    let rules =
        rule("r", "event.type == \"t\" && event.value > 5 && event.value < event.threshold - event.threshold", "");
    assert!(!told(&rules, &valued("t", 3), Which::InReach).contains("->"));
}

#[test]
fn rules_in_reach_are_those_of_the_type_those_of_a_type_written_almost_so_and_near_misses() {
    let rules = [
        rule("far", "event.type == \"switch.down\"", ""),
        rule("severe", "event.type == \"switch.down\" && event.severity >= MAJOR", ""),
        rule("slip", "event.type == \"disk.used_pct\" && event.value >= 90", ""),
        rule("same", "event.type == \"disk.used\" && event.value >= 90 && event.labels.mount == \"/\"", ""),
        rule("near", "event.type == \"host\" && event.labels.site == \"fra\" && event.value >= 10", ""),
        rule("typeless", "event.labels.site == \"fra\" && event.value >= 90", ""),
    ]
    .concat();
    let event =
        Event { labels: labelled("", &[("site", "fra")]).labels, severity: Severity::Major, ..valued("disk.usde", 50) };
    let names = |told: String| told.lines().map(|l| l.split(':').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(told(&rules, &event, Which::InReach)), ["near", "typeless", "same", "+3"]);
    let event = Event { type_: "disk.used_pc".into(), ..event };
    assert_eq!(names(told(&rules, &event, Which::InReach)), ["near", "typeless", "slip", "same", "+2"]);
    assert_eq!(names(told(&rules, &event, Which::Named("r/far"))), ["far", "+5"]);
    assert_eq!(names(told(&rules, &event, Which::All)).len(), 7);
}

#[test]
fn a_rule_that_matches_says_what_it_still_waits_for() {
    let cases = [
        (
            "count: { at_least: 5, within: 1m, distinct: { event.labels.user: 2 } }\nby: [event.ci]",
            "counts towards 5 in 1m, with 2 different event.labels.user",
        ),
        (
            "measure: avg(event.value)\nover: 10m\nis: \">= 90\"\nby: [event.ci]",
            "is a sample of avg(event.value) over 10m; fires when that becomes >= 90",
        ),
        ("for: 2m", "fires when it has held, and was not cleared, for 2m"),
        ("settle: 30s", "fires 30s after the first, once for all that came"),
        ("only_if: about.environment == \"test\"", "asks when it fires: about.environment == \"test\""),
        ("once: 1h\nnotify: { to: desk, summary: s }", "does what is not an incident only once in 1h"),
    ];
    for (more, waits) in cases {
        let found = told(&rule("r", "event.type == \"t\"", more), &event("t"), Which::InReach);
        assert!(found.starts_with(&format!("r: | {waits} | then it opens an incident")), "{more}: {found}");
    }
}

#[test]
fn a_fallback_says_who_claims_the_event() {
    let rules = [rule("rest", "has(event.type)", "fallback: true"), rule("own", "event.type == \"t\"", "")].concat();
    assert_eq!(
        told(&rules, &event("t"), Which::Named("rest")),
        "rest: | is a fallback, and r/own claims the event: nothing follows\n+1"
    );
    assert_eq!(
        told(&rules, &event("u"), Which::Named("rest")),
        format!("rest: | is a fallback, and no other rule claims the event | {OPENS}\n+1")
    );
}

#[test]
fn members_say_which_others_must_come_and_what_is_asked_with_them() {
    let rules = "  - rule: pair\n    all:\n      - down: event.type == \"link.down\"\n      - lost: lost.type == \"bgp.lost\" && \
                 lost.labels.peer == down.labels.peer && lost.value > 1\n    within: 5m\n    by: [event.labels.site]\n    \
                 unless: event.type == \"calm\"\n    incident: { summary: s }\n";
    let lost = Event { value: Some(Measure::Int(2)), ..labelled("bgp.lost", &[("site", "fra")]) };
    assert_eq!(
        told(rules, &lost, Which::InReach),
        format!(
            "pair: | is lost; fires when the others came, too within 5m: down | asks also, with the others' events: \
             lost.labels.peer == down.labels.peer | {OPENS}\n+0"
        )
    );
    let weak = Event { value: Some(Measure::Int(1)), ..lost };
    let found = told(rules, &weak, Which::InReach);
    assert!(found.contains("member lost: lost.value > 1 (1); -> event.value = 2"), "{found}");
    let found = told(rules, &labelled("calm", &[("site", "fra")]), Which::InReach);
    assert!(found.contains("| its `unless` holds: what came of the same `by` does not count"), "{found}");
}

#[test]
fn an_event_that_clears_says_so_and_what_waits_for_no_event_too() {
    let rules = rule(
        "full",
        "event.type == \"disk\" && event.value >= 90",
        "clear: event.type == \"disk\" && event.value < 80",
    );
    assert_eq!(
        told(&rules, &valued("disk", 61), Which::InReach),
        "full: when: event.value >= 90 (61); -> event.value = 90 | its `clear` holds: recovery, for an open incident of the same \
         `by`\n+0"
    );
    let rules = "  - rule: u\n    upon: incident.opened\n    notify: { to: x, summary: s }\n  - rule: e\n    every: \"0 6 * * 1\"\n    \
                 notify: { to: x, summary: s }\n";
    assert_eq!(
        told(rules, &event("t"), Which::All),
        "u: | waits for incident.opened, a record's step, and for no event\ne: | fires by the schedule \"0 6 * * 1\" (UTC), and \
         at no event\n+0"
    );
    assert_eq!(told(rules, &event("t"), Which::InReach), "+2");
}

#[test]
fn where_no_rule_is_for_its_type_those_are_told_of_whose_type_alone_failed() {
    let full = rule("full", "event.type == \"disk.used_pct\" && event.value >= 90", "by: [event.ci]");
    let bare = rule("bare", "event.type == \"switch\"", "");
    // One of five parts failed: but for the type all holds.
    let found = told(&[full.clone(), bare.clone()].concat(), &valued("filesystem", 95), Which::InReach);
    assert_eq!(
        found,
        "full: when: event.type == \"disk.used_pct\" (\"filesystem\"); -> event.type = \"disk.used_pct\"\n+1"
    );
    let own = rule("own", "event.type == \"filesystem\" && event.value > 99", "");
    let found = told(&[full.clone(), own].concat(), &valued("filesystem", 95), Which::InReach);
    assert!(found.starts_with("own:") && found.ends_with("+1"), "{found}");
    assert_eq!(told(&[full, bare].concat(), &valued("filesystem", 5), Which::InReach), "+2");
}

#[test]
fn with_a_cmdb_a_rule_that_matches_says_what_it_is_about_and_what_would_run() {
    const PLAYBOOKS: &str = "playbooks:\n  clean: { runner: http, url: http://h/p, timeout: 1s, effect: keyed }\n  grow: { runner: http, url: http://h/q, timeout: 1s, effect: keyed }\n";
    let book = "rulebook: r
autonomy: auto
may: { playbooks: [clean, grow], ci_classes: [server], environments: [test] }
rules:
  - rule: full
    when: event.type == \"disk\"
    about: { related: about, relation: runs_on }
    only_if: about.environment == \"test\"
    incident: { summary: s }
    remedy:
      - { playbook: clean, target: about }
      - { playbook: grow, only_if: about.attributes.kind == \"lvm\", approve: { by: desk, within: 5m } }
      - { playbook: grow, approve: { by: desk, within: 5m } }
      - { playbook: clean, target: = event.labels.other }
      - { playbook: clean, target: = \"web-1\" }
";
    let grants = serde_json::to_string(&Grants::AsAsked).unwrap();
    let sources = [("r.yaml", book), ("playbooks.yaml", PLAYBOOKS), (GRANTS, &grants)];
    let loaded = load_all_words(&sources.into_iter().map(|(p, t)| (p.to_owned(), t.to_owned())).collect());
    let set = Arc::new(loaded.set.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)));
    let then = |cmdb: Cmdb| {
        let mut explainer = Explainer::new(Arc::clone(&set)).with_cmdb(Arc::new(cmdb), "default");
        explainer.explain(&event("disk"), Which::InReach).rules[0].then.join("\n")
    };
    let ci = |name: &str, class: &str, environment: &str| Ci {
        id: Ci::id_of("default", class, name),
        class: class.to_owned(),
        name: name.to_owned(),
        external_ids: vec![],
        environment: Some(environment.to_owned()),
        criticality: None,
        owner: None,
        operational_status: None,
        attributes: BTreeMap::new(),
    };
    let mut cmdb = Cmdb::default();
    let (service, host) = (ci("web-1", "service", "test"), ci("host-1", "server", "test"));
    cmdb.relate(Relation { from: service.id, kind: "runs_on".to_owned(), to: host.id });
    cmdb.put(service);
    cmdb.put(host.clone());
    assert_eq!(
        then(cmdb.clone()),
        "is about host-1 (server, test)
asks when it fires: about.environment == \"test\": yes
then it opens an incident, or adds to the open one of the same `by`, tries clean
remedy 1, clean, would run on host-1 (server, test)
remedy 2, grow, is passed over: its only_if does not hold
remedy 3, grow, would run on host-1 (server, test), when desk says yes
remedy 4, clean, is passed over: event.labels.other is missing
remedy 5, clean, is passed over: `may` does not name class service"
    );
    cmdb.put(Ci { environment: Some("production".to_owned()), ..host });
    let found = then(cmdb);
    assert!(found.contains("about.environment == \"test\": no, so that nothing follows\n"), "{found}");
    let found = then(Cmdb::default());
    assert!(found.starts_with("is about no CI that the CMDB knows: no CI is named \"web-1\"\n"), "{found}");
}

#[test]
fn a_threshold_is_that_of_the_ci_where_the_cmdb_is_at_hand() {
    let site = "thresholds: { warm: { attribute: max_temp, default: 27 } }";
    let clear = "clear: event.type == \"t\" && event.value <= threshold(\"warm\")";
    let rule = rule("r", "event.type == \"t\" && event.value > threshold(\"warm\")", clear);
    let book = format!("rulebook: r\nrules:\n{rule}");
    let files = [("r.yaml", book), ("site.yaml", site.to_owned()), (GRANTS, "\"as_asked\"".to_owned())];
    let loaded = load_all_words(&files.map(|(path, text)| (path.to_owned(), text)).into());
    let set = Arc::new(loaded.set.unwrap());
    let of = |max: i64| {
        let ci: Ci = serde_json::from_value(serde_json::json!({
            "id": Ci::id_of("default", "room", "web-1"), "class": "room", "name": "web-1",
            "attributes": {"max_temp": {"value": max, "source": "import", "at": paramedic_model::Timestamp::EPOCH}}}))
        .unwrap();
        let mut cmdb = Cmdb::default();
        cmdb.put(ci);
        Explainer::new(Arc::clone(&set)).with_cmdb(Arc::new(cmdb), "default")
    };
    let told = |mut explainer: Explainer, value: i64| {
        let told = explainer.explain(&valued("t", value), Which::All).rules.remove(0);
        let part = told.conditions[0].conjuncts[1].clone();
        let clears = told.conditions.iter().any(|c| !c.awaited && c.holds);
        let change = told.change.map(|c| format!("{} = {}", c[0].field, c[0].to)).unwrap_or_default();
        (part.held == Held::Yes, told.matches, clears, part.note.unwrap(), change)
    };
    let (yes, no) = (true, false);
    assert_eq!(told(of(30), 28), (no, no, yes, "warm is 30".into(), "event.value = 31".into()));
    assert_eq!(told(of(24), 25), (yes, yes, no, "warm is 24".into(), String::new()));
    let plain = Explainer::new(Arc::clone(&set));
    let note = "warm is 27 by default: no CMDB is looked at here";
    assert_eq!(told(plain, 25), (no, no, yes, note.into(), "event.value = 28".into()));
}
