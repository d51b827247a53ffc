//! What a rulebook may say, and what is answered when it says something else.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_model::{Autonomy, Ci, Cmdb, Event, Grants, Labels, Level, Measure, Relation, Span, Status, Timestamp};
use paramedic_rulebook::*;
use serde_json::json;

const BOOK: &str = include_str!("../../../rules/linux-disk/linux-disk.yaml");
const PLAYBOOKS: &str = include_str!("../../../rules/linux-disk/playbooks.yaml");

fn load_all(files: &[(&str, &str)]) -> Loaded {
    load(&files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
}

fn shown(loaded: &Loaded) -> String {
    loaded.diagnostics.iter().map(|d| format!("{d}\n")).collect()
}

fn good(files: &[(&str, &str)]) -> Arc<RuleSet> {
    let loaded = load_all(files);
    let text = shown(&loaded);
    Arc::new(loaded.set.unwrap_or_else(|| panic!("{text}")))
}

/// A rulebook of one rule with this `when`, and more of the rule below it.
fn rule(when: &str, more: &str) -> String {
    format!("rulebook: r\nrules:\n  - rule: one\n    when: |\n      {when}\n    incident: {{ summary: s }}\n{more}")
}

fn check(when: &str) -> Loaded {
    load_all(&[("r.yaml", &rule(when, ""))])
}

fn event(type_: &str, value: f64) -> Event<'static> {
    Event {
        type_: type_.to_owned().into(),
        value: Some(Measure::Float(value)),
        labels: Labels::new(vec![("mount".into(), "/var".into())]),
        ci: paramedic_model::CiRef { name: Some("web-1".into()), ..Default::default() },
        ..Event::default()
    }
}

#[test]
fn the_rulebook_of_the_manual_loads() {
    let set = good(&[("linux-disk.yaml", BOOK), ("playbooks.yaml", PLAYBOOKS)]);
    let rule = set.find("filesystem-pressure", "filesystem almost full").unwrap();
    assert_eq!(rule.by.as_ref().unwrap().len(), 2);
    assert_eq!(rule.remedy.len(), 2);
    assert_eq!(rule.remedy[0].verify, Verify { when: None, within: Span::from_secs(300), hold: Span::from_secs(60) });
    assert_eq!(rule.remedy[1].with["percent"], Field::Given(json!(20)));
    assert_eq!(rule.incident.as_ref().unwrap().reopen, Span::from_secs(1800));
    assert_eq!(rule.escalate[2].at, EscalateAt::Unacknowledged(Span::from_secs(3600)));
    let book = set.rulebook_of(rule);
    assert_eq!((book.autonomy, set.autonomy(book)), (Autonomy::Auto, Autonomy::Record));
    assert_eq!(set.playbooks["extend-volume"].timeout, Span::from_secs(600));
}

#[test]
fn a_set_loads_again_from_its_sources() {
    let grants = serde_json::to_string(&Grants::AsAsked).unwrap();
    let set = good(&[("linux-disk.yaml", BOOK), ("playbooks.yaml", PLAYBOOKS), (GRANTS, &grants)]);
    assert_eq!(set.grants, Grants::AsAsked);
    assert_eq!(load(&set.sources).set.as_ref(), Some(set.as_ref()));
}

#[test]
fn the_rule_opens_clears_and_computes_its_values() {
    let set = good(&[("linux-disk.yaml", BOOK), ("playbooks.yaml", PLAYBOOKS)]);
    let mut e = Evaluator::new(Arc::clone(&set));
    let full = event("disk.used_pct", 93.4);
    let held = e.matches(&full);
    assert_eq!((held.when.as_slice(), held.clear.len()), (&[RuleIx(0)][..], 0));
    assert_eq!(e.matches(&event("disk.used_pct", 61.0)).clear.as_slice(), [RuleIx(0)]);
    assert!(e.matches(&event("disk.used_pct", 85.0)).is_empty());
    assert_eq!(e.by(RuleIx(0), &full), Ok(vec![json!("web-1"), json!("/var")]));
    let nameless = Event { labels: Labels::default(), ..full.clone() };
    assert_eq!(e.by(RuleIx(0), &nameless), Err(EvalError::Missing("event.labels.mount".into())));

    let rule = set.rule(RuleIx(0));
    assert_eq!(
        e.render(&rule.incident.as_ref().unwrap().summary, &full, Some("web-1"), Bindings::none()),
        "Disk /var on web-1 is 93 % full"
    );
    let ci = |name: &str| -> Ci {
        serde_json::from_value(json!({"id": Ci::id_of("default", "server", name), "class": "server", "name": name}))
            .unwrap()
    };
    let (mut cmdb, about) = (Cmdb::default(), ci("web-1"));
    cmdb.put(about.clone());
    let impact = rule.incident.as_ref().unwrap().impact.as_ref().unwrap();
    let at = |cmdb: &Cmdb| Arc::new(cmdb.clone());
    let few = at(&cmdb);
    let ctx = Ctx::of(&full, Some(&about), &few, Timestamp::EPOCH);
    assert_eq!(e.level(impact, &ctx), Ok(Level::Medium));
    for i in 0..11 {
        let dependent = ci(&format!("app-{i}"));
        cmdb.relate(Relation { from: dependent.id, kind: "depends_on".into(), to: about.id });
        cmdb.put(dependent);
    }
    let many = at(&cmdb);
    assert_eq!(e.level(impact, &Ctx { cmdb: &many, ..ctx }), Ok(Level::High));
    assert_eq!(e.level(impact, &Ctx { about: None, ..ctx }), Ok(Level::Medium));
    let Field::Computed(mount) = rule.remedy[0].with["mount"] else { panic!() };
    assert_eq!(e.eval(mount, &ctx), Ok(json!("/var")));
}

#[test]
fn a_target_is_a_ci_or_its_name() {
    let more = |target: &str| {
        format!("    remedy: [ {{ playbook: extend-volume, with: {{ mount: / }}, target: '{target}' }} ]\n")
    };
    let book = |target: &str| {
        rule("event.type == \"x\"", &more(target))
            .replace("rules:", "may: { playbooks: [extend-volume], ci_classes: [server] }\nrules:")
    };
    let about: Ci =
        serde_json::from_value(json!({"id": Ci::id_of("default", "server", "a"), "class": "server", "name": "a",
            "attributes": {"peer": {"value": "b", "source": "import", "at": Timestamp::EPOCH}}}))
        .unwrap();
    let mut cmdb = Cmdb::default();
    cmdb.put(about.clone());
    let cmdb = Arc::new(cmdb);
    for (target, expected) in [
        ("= about.attributes.peer", Ok("b".to_owned())),
        ("= about", Ok(about.id.to_string())),
        ("= cmdb.ci(\"a\")", Ok(about.id.to_string())),
        ("= cmdb.ci(\"none\")", Err(EvalError::Missing("cmdb.ci(\"none\")".into()))),
        ("= event.labels.mount", Ok("/var".to_owned())),
    ] {
        let set = good(&[("r.yaml", &book(target)), ("playbooks.yaml", PLAYBOOKS)]);
        let TargetSpec::Computed(ix) = set.rules[0].remedy[0].target else { panic!("{target}") };
        let e = event("x", 1.0);
        let ctx = Ctx::of(&e, Some(&about), &cmdb, Timestamp::EPOCH);
        assert_eq!(Evaluator::new(set).target(ix, &ctx), expected, "{target}");
    }
    // Of a list: CIs by their names, texts as written, each once, and nothing that is no CI.
    let ids = |names: &[&str]| Ok(names.iter().map(|name| Ci::id_of("default", "server", name).to_string()).collect());
    let texts = |names: &[&str]| Ok(names.iter().map(|&name| name.to_owned()).collect());
    let missing = |text: &str| Err(EvalError::Missing(text.to_owned()));
    let gave =
        |text: &str, what: &str| Err(EvalError::Script(format!("`{text}` gave {what}; expected the name of a CI")));
    let mut cmdb = Cmdb::clone(&cmdb);
    for name in ["d", "c", "b"] {
        cmdb.put(Ci { id: Ci::id_of("default", "server", name), name: name.into(), ..about.clone() });
    }
    let cmdb = Arc::new(cmdb);
    for (target, expected) in [
        ("cmdb.by_class(\"server\")", ids(&["a", "b", "c", "d"])),
        ("[about, about]", ids(&["a"])),
        ("[\"d\", \"a\", \"d\"]", texts(&["d", "a"])),
        ("\"d\"", texts(&["d"])),
        ("cmdb.by_class(\"none\")", missing("a CI in the list of `cmdb.by_class(\"none\")`")),
        ("[\"d\", event.labels.none]", gave("[\"d\", event.labels.none]", "a list with nothing in one of its places")),
        ("[\"d\", 7]", gave("[\"d\", 7]", "7")),
        ("[[\"d\"]]", gave("[[\"d\"]]", "[\"d\"]")),
    ] {
        let set = good(&[("r.yaml", &book(&format!("= {target}"))), ("playbooks.yaml", PLAYBOOKS)]);
        let TargetSpec::Computed(ix) = set.rules[0].remedy[0].target else { panic!("{target}") };
        let e = event("x", 1.0);
        let ctx = Ctx::of(&e, Some(&about), &cmdb, Timestamp::EPOCH);
        assert_eq!(Evaluator::new(set).targets(ix, &ctx), expected, "{target}");
    }
}

#[test]
fn a_condition_without_a_word_on_status_means_firing_in_the_normal_phase() {
    let more = "    clear: event.type == \"x\"\n";
    let set = good(&[("r.yaml", &rule("event.type == \"x\"", more))]);
    let mut e = Evaluator::new(set);
    let firing = event("x", 1.0);
    let resolved = Event { status: Status::Resolved, ..firing.clone() };
    let suppressed = Event { phase: Some(paramedic_model::Phase::Suppressed), ..firing.clone() };
    let held = |m: Matches| (m.when.len(), m.clear.len());
    assert_eq!(held(e.matches(&firing)), (1, 1));
    assert_eq!(held(e.matches(&resolved)), (0, 1));
    assert_eq!(held(e.matches(&suppressed)), (0, 0));
    assert!(shown(&check("event.type == \"x\"")).contains("note: holds for FIRING events in the normal phase"));

    let mut e = Evaluator::new(good(&[("r.yaml", &rule("event.status == RESOLVED", ""))]));
    assert_eq!(held(e.matches(&resolved)), (1, 0));
    assert!(e.holds(ExprIx(0), &resolved) && !e.holds(ExprIx(0), &firing));
}

#[test]
fn a_remedy_may_name_its_own_evidence() {
    let book = "rulebook: r\nmay: { playbooks: [clean-disk], ci_classes: [server] }\nrules:\n  - rule: one\n    when: event.type == \"x\"\n    \
        incident: { summary: s }\n    remedy:\n      - playbook: clean-disk\n        with: { mount: / }\n      - playbook: clean-disk\n        \
        with: { mount: / }\n        verify: { when: event.type == \"ok\" }\n";
    let mut e = Evaluator::new(good(&[("r.yaml", book), ("playbooks.yaml", PLAYBOOKS)]));
    assert_eq!(e.matches(&event("ok", 1.0)).verify.as_slice(), [(RuleIx(0), 1)]);
}

#[test]
fn every_mistake_in_scenarios_is_told_in_one_go() {
    let (read, found) = scenario::read("scenario.test.yaml", include_str!("mistakes/scenario.test.yaml"));
    assert_eq!(read.len(), 1, "what has its name is read as far as it can be");
    let text: String = found.iter().map(|d| format!("{d}\n")).collect();
    insta::assert_snapshot!("every_mistake_in_scenarios", text);
}

#[test]
fn every_mistake_is_reported_at_once_with_place_line_and_fix() {
    let loaded = load_all(&[
        ("everything.yaml", include_str!("mistakes/everything.yaml")),
        ("playbooks.yaml", include_str!("mistakes/playbooks.yaml")),
        ("site.yaml", "defaults: {}\n"),
    ]);
    assert!(loaded.set.is_none());
    let text = shown(&loaded);
    assert!(!text.contains("hunter2"), "a secret was shown");
    insta::assert_snapshot!("every_mistake", text);
}

#[test]
fn comparisons_that_can_never_hold_are_refused_with_the_fix() {
    for (when, help) in [
        ("event.severity >= \"major\"", "write `event.severity >= MAJOR`"),
        ("event.severity == 5", "write, for example, `event.severity >= MAJOR`"),
        ("event.labels.code >= 500", "write `num(event.labels.code) >= 500`"),
        ("500 <= label(\"code\")", "write `500 <= num(label(\"code\"))`"),
        ("event.host == 5", "write `num(event.host) == 5`"),
        ("event.service == ()", "write `!has(event.service)`"),
        ("event.labels == \"x\"", "name one of them: event.labels.mount, event.labels[\"k8s.app\"]"),
        ("event.status == \"resloved\"", "did you mean `resolved`?"),
        ("event.lables.x == \"y\"", "did you mean `labels`?"),
        ("event[\"lables\"][\"x\"] == \"y\"", "did you mean `labels`?"),
        ("event.labels.k8s.app == \"y\"", "a name with a dot is written event.labels[\"k8s.app\"]"),
        ("event.summary.contians(\"x\")", "did you mean `contains`?"),
        ("event.type", "compare it (`event.type == ...`), or ask whether it is there: `has(event.type)`"),
        (
            "about.name == \"x\"",
            "use the event's own fields, such as event.ci; for a limit that each CI may have its own of, \
             `threshold(\"NAME\")` and the site file",
        ),
        ("now > event.began", "use event.time"),
        ("event.severity >= WARN", "did you mean `WARNING`?"),
        ("event.severity == fatal", "did you mean `CRITICAL`?"),
        ("labels.site == \"a\"", "did you mean `event.labels`?"),
        ("event.labels.src-ip == \"1\"", "a name with `-` stands in brackets: `event.labels[\"src-ip\"]`"),
        ("event.labels.code in [500, 501]", "write `num(event.labels.code) == 500`"),
    ] {
        let loaded = check(when);
        assert!(loaded.set.is_none(), "{when}");
        let error = loaded.diagnostics.iter().find(|d| d.is_error()).unwrap();
        assert_eq!(error.help.as_deref(), Some(help), "{when}: {error}");
        assert_eq!(error.place.line, 5, "{error}");
    }
}

#[test]
fn what_may_be_missing_is_warned_of_where_it_matters() {
    let loaded = check("event.labels.env != \"test\"");
    assert!(loaded.set.is_some());
    let warning = loaded.diagnostics.iter().find(|d| d.level == Gravity::Warning).unwrap();
    assert!(warning.help.as_deref().unwrap().contains("(event.labels.env ?? \"\") != \"test\""));
    assert!(!shown(&check("(event.labels.env ?? \"\") != \"test\"")).contains("warning"));
    assert!(shown(&check("event.value >= 90")).contains("no way to clear"));
    assert!(shown(&check("event.value == \"5\"")).contains("write `event.value == 5`"));
}

#[test]
fn traps_of_yaml_are_refused_with_the_reason() {
    let book = |lines: &str| format!("rulebook: r\nrules:\n  - rule: one\n    incident: {{ summary: s }}\n{lines}");
    for (lines, reason) in [
        ("    when: !has(event.ci)\n", "YAML takes `!has(event.ci)` for a tag"),
        ("    when: >\n      event.ci == \"a\" // x\n      || true\n", "the `//` comment swallows"),
        ("    when: event.ci == \"a\" // x\n      || true\n", "the `//` comment swallows"),
        ("    when: &a event.ci == \"a\"\n", "anchors and aliases"),
        ("    when: *a\n", "anchors and aliases"),
        ("    when: true\n    by: [label(\"a\"), event.ci]\n", "only plain paths stand there"),
        ("    when: true\n    by: ['event.labels[\"a,b\"]']\n", "only plain paths stand there"),
        ("    when: { event.ci }\n", "expected an expression, found a map"),
        ("    when: event.summary == \"a: b\"\n", "this is no YAML"),
        ("    when: true\n    when: false\n", "for the second time"),
        ("    when: true\n---\nrulebook: x\n", "a file holds one document"),
    ] {
        let loaded = load_all(&[("r.yaml", &book(lines))]);
        assert!(loaded.set.is_none(), "{lines}");
        assert!(shown(&loaded).contains(reason), "{lines}\n{}", shown(&loaded));
    }
    let address = book("    when: >\n      event.summary == \"http://a\"\n      || true\n");
    good(&[("r.yaml", &address)]);
    let deep = format!("rulebook: r\nrules: {}{}\n", "[".repeat(100), "]".repeat(100));
    assert!(shown(&load_all(&[("r.yaml", &deep)])).contains("64 levels"));
    assert!(shown(&load_all(&[("r.yaml", &format!("# {}\n", "x".repeat(1 << 20)))])).contains("the most is"));
    assert!(load_all(&[("r.yaml", "")]).set.is_none());
}

#[test]
fn a_text_stays_as_it_is_written() {
    let catalogue = "playbooks:\n  p: { runner: http, url: http://h/p, timeout: 1s, effect: keyed, \
        parameters: { a: { type: string }, b: { type: string }, c: { type: string }, n: { type: number } } }\n";
    let book = "rulebook: r\nmay: { playbooks: [p], ci_classes: [server] }\nrules:\n  - rule: one\n    when: event.type == \"x\"\n    \
        incident: { summary: s }\n    remedy:\n      - playbook: p\n        with:\n          a: NO\n          b: 1.10\n          \
        c: \"\\= x {event.ci}\"\n          n: 1.5\n";
    let set = good(&[("r.yaml", book), ("playbooks.yaml", catalogue)]);
    let with = &set.rules[0].remedy[0].with;
    let given = |name: &str| match &with[name] {
        Field::Given(v) => v.clone(),
        Field::Computed(_) => panic!(),
    };
    assert_eq!(
        [given("a"), given("b"), given("c"), given("n")],
        [json!("NO"), json!("1.10"), json!("= x {event.ci}"), json!(1.5)]
    );
}

#[test]
fn the_digest_is_of_the_meaning() {
    let digest = |book: &str| good(&[("a.yaml", book), ("playbooks.yaml", PLAYBOOKS)]).digest;
    let as_is = digest(BOOK);
    let laid_out = BOOK
        .replace(
            "event.type == \"disk.used_pct\" && event.value >= 90.0",
            "event.type==\"disk.used_pct\"\n        && // a comment\n        event.value >= 90.0",
        )
        .replace("urgency: medium", "urgency:   medium   # why");
    assert_eq!(digest(&format!("# a comment\n\n{laid_out}")), as_is);
    for (from, to) in [
        ("urgency: medium", "urgency: high"),
        (">= 90.0", ">= 91.0"),
        ("hold: 1m", "hold: 2m"),
        ("percent: 20", "percent: 50"),
        ("% full", "% used"),
        ("environments: [production, test]", "environments: [test]"),
        ("at: 1h unacknowledged", "at: 1h"),
    ] {
        assert!(BOOK.contains(from), "{from}");
        assert_ne!(digest(&BOOK.replace(from, to)), as_is, "{from}");
    }
    let moved = good(&[("elsewhere/b.yaml", BOOK), ("playbooks.yaml", PLAYBOOKS)]);
    assert_eq!(moved.digest, as_is);
    let granted = serde_json::to_string(&Grants::AsAsked).unwrap();
    assert_ne!(good(&[("a.yaml", BOOK), ("playbooks.yaml", PLAYBOOKS), (GRANTS, &granted)]).digest, as_is);
}

#[test]
fn words_of_later_versions_are_no_unknown_keys() {
    let loaded = load_all(&[("r.yaml", &rule("true", "    problem: {}\n    fro: 2m\n"))]);
    let text = shown(&loaded);
    assert!(text.contains("`problem` is not part of this version's language yet"));
    assert!(text.contains("a rule has no key `fro`"));
}

#[test]
fn rulebooks_run_by_name_and_names_are_unique() {
    let book = |name: &str| rule("event.type == \"x\"", "").replace("rulebook: r", &format!("rulebook: {name}"));
    let set =
        good(&[("1.yaml", &book("zebra")), ("2.yaml", &book("ant")), ("x.test.yaml", "not: ours"), ("README.md", "x")]);
    assert_eq!(set.rulebooks.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["ant", "zebra"]);
    assert_eq!(set.find("zebra", "one").unwrap().ix, RuleIx(1));
    assert!(
        shown(&load_all(&[("1.yaml", &book("a")), ("2.yaml", &book("a"))]))
            .contains("another file's rulebook is named `a`")
    );
    assert!(
        shown(&load_all(&[("a/playbooks.yaml", PLAYBOOKS), ("b/playbooks.yaml", PLAYBOOKS)]))
            .contains("another playbook is named")
    );
}

/// A text of 2^18 bytes and more.
const BOMB: &str = "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20].reduce(|a, x| a + a, \"abcdefgh\").len() > 1";

#[test]
fn a_script_out_of_bounds_fails_and_hangs_nothing() {
    let list = "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30]";
    let forever = format!("{list}.map(|a| {list}.map(|b| {list}.map(|c| c).len())).len() == 0");
    let forever = forever.as_str();
    for (when, why) in [
        ("[1].map(|x| range(0, 1000000).some(|y| y < 0)).len() == 0", "function not found"),
        (BOMB, "too large"),
        (forever, "too much work"),
        ("event.value.contains(\"x\")", "contains"),
        ("event.labels.mount.split(\"/\")[9] == \"a\"", "out of bounds"),
    ] {
        let loaded = check(when);
        let set = loaded.set.clone().unwrap_or_else(|| panic!("{when}\n{}", shown(&loaded)));
        let held = Evaluator::new(Arc::new(set)).matches(&event("x", 1.0));
        assert!(held.when.is_empty(), "{when}");
        let failed = held.failed.first().map(|f| f.why.as_str()).unwrap_or_default().to_lowercase();
        assert!(failed.starts_with("when: ") && failed.contains(why), "{when}: {failed:?}");
    }
}

#[test]
fn loops_and_side_doors_are_no_expressions() {
    for when in [
        "while true {}",
        "[1].map(|x| { loop {} }).len() > 0",
        "eval(\"true\")",
        "event.type = \"x\"",
        "print(1)",
        "Fn(\"x\").call()",
    ] {
        assert!(check(when).set.is_none(), "{when}");
    }
}

#[test]
fn a_missing_text_is_no_failure() {
    let mut e = Evaluator::new(good(&[("r.yaml", &rule("event.labels.a.contains(\"x\")", ""))]));
    assert!(e.matches(&event("x", 1.0)).is_empty());
}

#[test]
fn a_finding_is_json_for_programs() {
    let loaded = check("event.lables.x == \"y\"");
    let error = loaded.diagnostics.iter().find(|d| d.is_error()).unwrap();
    let json = serde_json::to_value(error).unwrap();
    assert_eq!(json["place"], json!({"file": "r.yaml", "line": 5, "column": 13}));
    assert_eq!(json["level"], "error");
    let _: BTreeMap<String, serde_json::Value> = serde_json::from_value(json).unwrap();
}
