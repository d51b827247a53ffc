//! Each word of the language, read into what it means, and asked of events.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_model::{Autonomy, Ci, CiRef, Cmdb, Event, Id, Labels, Measure, Relation, Span, Status, Timestamp};
use paramedic_rulebook::*;
use serde_json::{Value, json};

const PLAYBOOKS: &str = "playbooks:
  block: { runner: http, url: http://h/block, timeout: 1m, effect: idempotent, parameters: { ip: { type: string } } }
  unblock: { runner: http, url: http://h/unblock, timeout: 1m, effect: idempotent, parameters: { ip: { type: string } } }
";

/// A rulebook of one rule, whose lines these are.
fn book(lines: &str) -> String {
    let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "rulebook: r\nmay: {{ playbooks: [block, unblock], ci_classes: [server] }}\nrules:\n  - rule: one\n{indented}"
    )
}

fn load_with(lines: &str, site: Option<&str>) -> Loaded {
    let mut files =
        BTreeMap::from([("r.yaml".to_owned(), book(lines)), ("playbooks.yaml".to_owned(), PLAYBOOKS.to_owned())]);
    files.extend(site.map(|text| ("site.yaml".to_owned(), text.to_owned())));
    load_all_words(&files)
}

fn shown(loaded: &Loaded) -> String {
    loaded.diagnostics.iter().map(|d| format!("{d}\n")).collect()
}

fn set_with(lines: &str, site: Option<&str>) -> Arc<RuleSet> {
    let loaded = load_with(lines, site);
    let text = shown(&loaded);
    Arc::new(loaded.set.unwrap_or_else(|| panic!("{lines}\n{text}")))
}

fn set(lines: &str) -> Arc<RuleSet> {
    set_with(lines, None)
}

fn rule(lines: &str) -> Rule {
    set(lines).rules[0].clone()
}

fn text_of(set: &RuleSet, ix: ExprIx) -> &str {
    &set.exprs[ix.0 as usize].text
}

fn secs(n: i64) -> Span {
    Span::from_secs(n)
}

fn event(type_: &str, labels: &[(&str, &str)]) -> Event<'static> {
    let labels = labels.iter().map(|(k, v)| ((*k).to_owned().into(), (*v).to_owned().into())).collect();
    Event {
        type_: type_.to_owned().into(),
        labels: Labels::new(labels),
        ci: CiRef { name: Some("web-1".into()), ..CiRef::default() },
        ..Event::default()
    }
}

const DO: &str = "\nincident: { summary: s }";

#[test]
fn a_condition_may_have_to_stay_to_settle_or_be_nobody_elses() {
    let when = "when: event.type == \"x\"\n";
    let r = rule(&format!("{when}for: 2m\nonce: 1h\nformerly: [old, older]{DO}"));
    assert_eq!((r.stays, r.once, r.settle, r.fallback), (Some(secs(120)), Some(secs(3600)), None, false));
    assert_eq!(r.formerly, ["old", "older"]);
    let r = rule(&format!("{when}settle: 30s\nfallback: true\nincident: {{ summary: \"{{n}} of {{event.type}}\" }}"));
    assert_eq!((r.settle, r.fallback, r.is_immediate()), (Some(secs(30)), true, false));
    let r = rule(&format!("{when}clear: {{ quiet: 10m }}{DO}"));
    assert_eq!((r.clear, r.clear_when()), (Some(Clear::Quiet(secs(600))), None));
}

#[test]
fn a_count_has_a_number_a_window_and_different_values() {
    let lines = "when: event.type == \"x\"\ncount: { at_least: 5, within: 10m, distinct: { event.labels.user: 3 } }\nby: [event.ci]\n\
        incident: { summary: \"{n} since {first.time}, last {last.labels.user}\" }";
    let set = set(lines);
    let Pattern::Count { when, at_least, within, distinct: Some((of, 3)) } = set.rules[0].pattern else { panic!() };
    assert_eq!((at_least, within), (5, secs(600)));
    assert_eq!((text_of(&set, when), text_of(&set, of)), ("event.type == \"x\"", "event.labels.user"));
    let mut e = Evaluator::new(Arc::clone(&set));
    let x = event("x", &[("user", "ann")]);
    assert_eq!(e.matches(&x).when.as_slice(), [RuleIx(0)]);
    let earlier = event("x", &[("user", "bob")]);
    let names = Bindings::default()
        .with("n", Bound::Whole(7))
        .with("last", Bound::Event(&x))
        .with("first", Bound::Event(&earlier));
    let summary = &set.rules[0].incident.as_ref().unwrap().summary;
    let text = e.render(summary, &x, None, &names);
    assert!(text.starts_with("7 since 1970-01-01T00:00:00") && text.ends_with("last ann"), "{text}");
    let cmdb = Arc::new(Cmdb::default());
    assert_eq!(e.eval(of, &Ctx { names: &names, ..Ctx::of(&x, None, &cmdb, Timestamp::EPOCH) }), Ok(json!("ann")));
}

#[test]
fn a_measure_computes_a_number_and_compares_it() {
    for (measure, is, measured, comparison) in [
        ("avg(event.value)", ">= 90", Measured::Avg, Comparison::AtLeast(90.0)),
        ("rate(event.value)", "> 0.5", Measured::Rate, Comparison::Above(0.5)),
        ("min(num(event.labels.x))", "< -1", Measured::Min, Comparison::Below(-1.0)),
        ("max(event.value)", "<= 3", Measured::Max, Comparison::AtMost(3.0)),
        ("sum(event.value)", "== 3", Measured::Sum, Comparison::Equal(3.0)),
        ("sum(event.value)", "!=3", Measured::Sum, Comparison::Unequal(3.0)),
    ] {
        let lines = format!(
            "when: event.type == \"x\"\nmeasure: {measure}\nover: 5m\nis: \"{is}\"\nby: [event.ci]\n\
             incident: {{ summary: \"{{value:.1}} %\" }}"
        );
        let set = set(&lines);
        let Pattern::Measure { measured: m, over, is: c, of, .. } = set.rules[0].pattern else { panic!("{lines}") };
        assert_eq!((m, over, c), (measured, secs(300), comparison));
        assert!(measure.contains(text_of(&set, of)), "{measure}");
        let e = Evaluator::new(Arc::clone(&set));
        let names = Bindings::default().with("value", Bound::Number(91.26));
        let summary = &set.rules[0].incident.as_ref().unwrap().summary;
        assert_eq!(e.render(summary, &event("x", &[]), None, &names), "91.3 %");
    }
}

#[test]
fn any_sign_of_life_ends_an_absence() {
    let set = set("absent: event.type == \"beat\"\nwithin: 5m\nalive: event.type == \"pulse\"\n\
        for_each: { class: server, environment: production, attributes: { role: web } }\n\
        incident: { summary: \"{ci.name} of {ci.environment} is silent\" }");
    let Pattern::Absent { within, for_each: Some(each), alive: Some(_), .. } = &set.rules[0].pattern else { panic!() };
    assert_eq!((*within, each.class.as_deref(), each.attributes["role"].as_str()), (secs(300), Some("server"), "web"));
    assert_eq!(each.environment.as_deref(), Some("production"));
    let mut e = Evaluator::new(Arc::clone(&set));
    let resolved = Event { status: Status::Resolved, ..event("beat", &[]) };
    assert_eq!(e.matches(&resolved).when.as_slice(), [RuleIx(0)]);
    assert_eq!(e.matches(&event("pulse", &[])).slots.as_slice(), [(RuleIx(0), Slot::Alive)]);
    let ci = ci("web-1", &[]);
    let names = Bindings::default().with("ci", Bound::Ci(&ci));
    let summary = &set.rules[0].incident.as_ref().unwrap().summary;
    assert_eq!(e.render(summary, &Event::default(), None, &names), "web-1 of ? is silent");
}

fn ci(name: &str, attributes: &[(&str, Value)]) -> Ci {
    let attributes: BTreeMap<_, _> =
        attributes.iter().map(|(k, v)| (*k, json!({"value": v, "source": "import", "at": Timestamp::EPOCH}))).collect();
    serde_json::from_value(json!({
        "id": Ci::id_of("default", "server", name), "class": "server", "name": name, "attributes": attributes,
    }))
    .unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn members_are_matched_by_what_reads_their_own_event() {
    let set = set("all:\n  - down: event.type == \"link.down\" && event.severity >= MAJOR\n  \
        - bgp: |\n      bgp.type == \"bgp.lost\" && bgp.labels.site == down.labels.site && bgp.labels.tags.split(\",\").contains(\"core\")\n\
        within: 10m\nunless: event.type == \"maintenance\"\nby:\n  - event.labels.site\n\
        incident: { summary: \"{down.labels.port} and {bgp.labels.peer}\" }");
    let Pattern::Members { together: Together::All, members, within: Some(within), unless: Some(_) } =
        &set.rules[0].pattern
    else {
        panic!()
    };
    assert_eq!(*within, secs(600));
    assert_eq!(
        members.iter().map(|m| (m.name.as_str(), m.reads.as_slice())).collect::<Vec<_>>(),
        [("down", &[][..]), ("bgp", &[0])]
    );
    let mut e = Evaluator::new(Arc::clone(&set));
    let site = |type_: &str, site: &str| Event {
        severity: paramedic_model::Severity::Critical,
        ..event(type_, &[("site", site), ("tags", "edge,core")])
    };
    let slots = |e: &mut Evaluator, event: &Event<'_>| {
        let found = e.matches(event);
        assert_eq!(found, e.matches_brute_force(event));
        assert_eq!(found.failed, []);
        found.slots.to_vec()
    };
    let (down, here, there) = (site("link.down", "fra"), site("bgp.lost", "fra"), site("bgp.lost", "ams"));
    assert_eq!(slots(&mut e, &down), [(RuleIx(0), Slot::Member(0))]);
    assert_eq!(slots(&mut e, &there), [(RuleIx(0), Slot::Member(1))], "the site is asked later");
    assert_eq!(slots(&mut e, &event("bgp.lost", &[("tags", "edge")])), [], "the tag is its own");
    assert_eq!(slots(&mut e, &Event { status: Status::Resolved, ..here.clone() }), [], "members fire");
    assert_eq!(slots(&mut e, &event("maintenance", &[])), [(RuleIx(0), Slot::Unless)]);

    let bound = |bgp| Bindings::default().with("down", Bound::Event(&down)).with("bgp", Bound::Event(bgp));
    assert_eq!(e.member_holds(RuleIx(0), 1, &bound(&here)), Ok(true));
    assert_eq!(e.member_holds(RuleIx(0), 1, &bound(&there)), Ok(false));
    assert_eq!(e.member_holds(RuleIx(0), 0, &bound(&here)), Ok(true));
    let alone = Bindings::default().with("bgp", Bound::Event(&here));
    assert_eq!(e.member_holds(RuleIx(0), 1, &alone), Ok(false), "down has not come");
    assert!(e.member_holds(RuleIx(0), 1, &Bindings::default()).is_err());
}

#[test]
fn members_come_in_order_or_any_or_not_all() {
    let members = "\n  - a: event.type == \"a\"\n  - b: event.type == \"b\"\n";
    for (word, together, more) in [
        ("sequence", Together::Sequence, "within: 1m\nby: [event.ci]"),
        ("not_all", Together::NotAll, "within: 1m\nby: [event.ci]"),
        ("any", Together::Any, ""),
    ] {
        let r = rule(&format!("{word}:{members}{more}{DO}"));
        let Pattern::Members { together: t, members, within, .. } = r.pattern else { panic!() };
        assert_eq!((t, members.len(), within.is_some()), (together, 2, together != Together::Any));
    }
}

#[test]
fn a_step_of_a_record_is_waited_for_with_its_own_names() {
    let set = set("upon: incident.resolved\nwhen: incident.reopen_count > 2 && about.name == \"web-1\"\n\
        count: { at_least: 3, within: 1h, distinct: { incident.about: 2 } }\nby: [incident.rule]\n\
        notify: { to: desk, summary: \"{incident.summary}: {incident.reopen_count}\" }");
    let Pattern::Upon { step, when: Some(when), count: Some((3, _, Some((_, 2)))) } = &set.rules[0].pattern else {
        panic!()
    };
    assert_eq!(step, "incident.resolved");
    let mut e = Evaluator::new(Arc::clone(&set));
    assert!(e.matches(&event("x", &[])).is_empty(), "no event is asked");
    let (nothing, cmdb, about) = (Event::default(), Arc::new(Cmdb::default()), ci("web-1", &[]));
    let incident = |times| json!({"id": Id::of(&json!(1)), "rule": "r", "reopen_count": times, "summary": "s"});
    for (times, held) in [(3, true), (2, false)] {
        let record = incident(times);
        let names = Bindings::default().with("incident", Bound::Record(&record));
        let ctx = Ctx { names: &names, ..Ctx::of(&nothing, Some(&about), &cmdb, Timestamp::EPOCH) };
        assert_eq!(e.condition(*when, &ctx), Ok(held));
        assert_eq!(e.by_of(RuleIx(0), &ctx), Ok(vec![json!("r")]));
        assert_eq!(e.render(&set.rules[0].notify[0].summary, &nothing, None, &names), format!("s: {times}"));
    }
    let nobody = Ctx::of(&nothing, None, &cmdb, Timestamp::EPOCH);
    assert_eq!(e.condition(*when, &nobody), Ok(false), "what is missing is false");
    assert_eq!(e.by_of(RuleIx(0), &nobody), Err(EvalError::Missing("incident.rule".into())));
}

#[test]
fn a_schedule_has_a_zone() {
    let r = rule("every: \"0 6 * * 1\"\ntimezone: Europe/Berlin\nnotify: { to: desk, summary: Monday }");
    assert_eq!(r.pattern, Pattern::Every { cron: "0 6 * * 1".into(), timezone: "Europe/Berlin".into() });
    let r = rule("every: \"*/5 * * * *\"\nemit: { topic: t, type: tick }");
    assert_eq!(r.pattern, Pattern::Every { cron: "*/5 * * * *".into(), timezone: "UTC".into() });
}

#[test]
fn a_rule_tells_emits_suppresses_resolves_and_writes() {
    let set = set("when: event.type == \"x\"\nby: [event.ci]\n\
        notify:\n  - { to: desk, summary: \"{event.ci}\" }\n  - { to: boss, summary: b }\n\
        emit: { topic: derived, type: y, value: 5, severity: major, ci: \"= event.ci\", labels: { site: \"= event.labels.site\", why: NO } }\n\
        suppress: { for: 10m, reason: a restart }\nresolve: { rule: one, notes: \"by {event.id}\" }\n\
        ci: { attributes: { role: standby, \"port\": \"= num(event.labels.port)\", on: true, version: 1.10 } }");
    let r = &set.rules[0];
    assert_eq!(r.notify.iter().map(|n| n.to.as_str()).collect::<Vec<_>>(), ["desk", "boss"]);
    let emit = &r.emit[0];
    assert_eq!((emit.topic.as_str(), &emit.event["value"]), ("derived", &Field::Given(json!(5))));
    assert_eq!((&emit.event["type"], &emit.labels["why"]), (&Field::Given(json!("y")), &Field::Given(json!("NO"))));
    assert!(matches!(emit.labels["site"], Field::Computed(_)) && matches!(emit.event["ci"], Field::Computed(_)));
    assert_eq!(r.suppress, Some(SuppressSpec { span: secs(600), reason: "a restart".into() }));
    assert_eq!(r.resolve.as_ref().unwrap().rule, "one");
    let attributes = &r.ci.as_ref().unwrap().attributes;
    assert_eq!((&attributes["on"], &attributes["version"]), (&Field::Given(json!(true)), &Field::Given(json!("1.10"))));
    assert!(r.incident.is_none());
}

#[test]
fn what_a_rule_is_about_is_named_or_related() {
    let lines = |about: &str| format!("when: event.type == \"x\"\nabout: {about}{DO}");
    let set = set(&lines("{ class: service, name: shop }"));
    let Some(AboutSpec::Named { class: Some(class), name }) = &set.rules[0].about else { panic!() };
    assert_eq!((class.as_str(), text_of(&set, *name)), ("service", "\"shop\""));
    assert!(matches!(rule(&lines("= event.labels.node")).about, Some(AboutSpec::Named { class: None, .. })));
    assert_eq!(
        rule(&lines("{ related: about, relation: \"Members::Member of\", role: standby }")).about,
        Some(AboutSpec::Related { relation: "Members::Member of".into(), role: Some("standby".into()) })
    );
}

#[test]
fn a_remedy_may_ask_be_approved_be_undone_and_rolled_back() {
    let r = rule(
        "when: event.type == \"x\"\nonly_if: event.labels.a == \"b\" && healthy(about, \"30s\")\n\
        incident: { summary: s }\nremedy:\n  - playbook: block\n    only_if: about.attributes.kind == \"lvm\"\n    \
        with: { ip: \"= event.labels.ip\" }\n    approve: { by: oncall, within: 30m, otherwise: next }\n    \
        rollback: unblock\n    undo: { playbook: unblock, after: 1h }\n\
        escalate:\n  - { at: 15m, to: oncall, if: about.criticality == 1, repeat: 10m }\n  \
        - { at: approval_expired, to: lead }\n  - { at: guard_denied, to: lead }",
    );
    assert!(r.only_if.is_some());
    let step = &r.remedy[0];
    assert_eq!(step.approve, Some(Approve { by: "oncall".into(), within: secs(1800), otherwise: Otherwise::Next }));
    assert_eq!(step.undo, Some(Undo { playbook: "unblock".into(), after: secs(3600) }));
    assert_eq!((step.rollback.as_deref(), step.only_if.is_some()), (Some("unblock"), true));
    assert_eq!((r.escalate[0].repeat, r.escalate[0].only_if.is_some()), (Some(secs(600)), true));
    assert_eq!((r.escalate[1].at, r.escalate[2].at), (EscalateAt::ApprovalExpired, EscalateAt::GuardDenied));
}

#[test]
fn a_value_that_is_put_in_nowhere_is_told() {
    let found = |lines: &str| {
        let loaded = load_with(&format!("when: event.type == \"x\"\n{lines}"), None);
        let warnings: Vec<String> = loaded
            .diagnostics
            .iter()
            .filter(|d| d.to_string().contains(": warning: "))
            .map(ToString::to_string)
            .collect();
        warnings.join("\n")
    };
    let remedy =
        |with: &str| format!("incident: {{ summary: s }}\nremedy:\n  - playbook: block\n    with: {{ ip: {with} }}");
    for (lines, why) in [
        (remedy("'{event.labels.ip}'"), "write `= event.labels.ip`"),
        (remedy("'{{ event.labels.ip }}'"), "write `= event.labels.ip`"),
        (remedy("'http://{event.ci}/'"), "`... ${event.ci} ...` between backticks"),
        (
            "incident: { summary: s, category: '{event.labels.user}' }".into(),
            "nothing is put in for \"{event.labels.user}\"",
        ),
        ("incident: { summary: s, assign: '= about.owner' }".into(), "nothing is put in for \"= about.owner\""),
        ("notify: { to: '= about.owner', summary: s }".into(), "nothing is put in for \"= about.owner\""),
        ("incident: { summary: '{{event.ci}} is down' }".into(), "`{{` is a brace that stays"),
        ("incident: { summary: '${event.ci} is down' }".into(), "the `$` stays"),
        (remedy("x"), "the rulebook may act in no environment, so nothing is ever run"),
    ] {
        let told = found(&lines);
        assert!(told.contains(why), "{lines}\n{told}");
    }
    for lines in [
        "incident: { summary: '{event.ci}: {{a}} for $5', category: 'a {b}', assign: a=b }",
        "notify: { to: a, summary: s }",
    ] {
        assert_eq!(found(lines), "", "{lines}");
    }
}

#[test]
fn numbers_of_a_ci_do_not_compare_with_texts() {
    for (only_if, why) in [
        ("about.operational_status == \"operational\"", "1 operational, 2 non-operational"),
        ("about.criticality == \"high\"", "1 the most critical"),
    ] {
        let text = shown(&load_with(
            &format!("when: event.type == \"x\"\nonly_if: {only_if}\nnotify: {{ to: a, summary: s }}"),
            None,
        ));
        assert!(text.contains("is a number") && text.contains(why), "{only_if}\n{text}");
    }
    rule(
        "when: event.type == \"x\"\nonly_if: about.operational_status == 1 && event.labels.criticality == \"b\" && about.attributes.criticality == \"a\"\nnotify: { to: a, summary: s }",
    );
}

#[test]
fn what_only_follows_from_another_mistake_is_not_told() {
    let errors = |playbooks: &str, site: &str| {
        let rule = "when: event.type == \"x\" && event.value > threshold(\"warm\")\nincident: { summary: s }\n\
                    remedy: [ { playbook: block, with: { ip: x } } ]";
        let files = [("r.yaml", book(rule)), ("playbooks.yaml", playbooks.to_owned()), ("site.yaml", site.to_owned())];
        let loaded = load_all_words(&files.map(|(path, text)| (path.to_owned(), text)).into());
        let errors = loaded.diagnostics.iter().filter(|d| d.is_error());
        errors.map(|d| format!("{}:{}", d.place.file, d.place.line)).collect::<Vec<_>>()
    };
    let well = "thresholds: { warm: { attribute: max, default: 27 } }";
    assert_eq!(errors(PLAYBOOKS, well), [""; 0]);
    for (right, wrong) in [
        ("runner: http, url: http://h/block", "runner: ansible, url: http://h/block"),
        ("timeout: 1m, effect: idempotent, parameters: { ip", "timeout: 60, effect: idempotent, parameters: { ip"),
        ("effect: idempotent", "effect: safe"),
        ("url: http://h/block", "url: h/block"),
        ("ip: { type: string }", "ip: { type: text }"),
    ] {
        assert_eq!(errors(&PLAYBOOKS.replacen(right, wrong, 1), well), ["playbooks.yaml:2"], "{wrong}");
    }
    assert_eq!(errors(PLAYBOOKS, "thresholds: { warm: { attribute: max } }"), ["site.yaml:1"]);
}

#[test]
fn a_spread_begins_with_one_and_ends_with_the_rest() {
    let with = |target: &str, verify: &str, spread: &str| {
        load_with(
            &format!(
                "when: event.type == \"x\"\nincident: {{ summary: s }}\nremedy:\n  - playbook: block\n    \
                 with: {{ ip: x }}\n    target: {target}\n    verify: {verify}\n    spread: {spread}"
            ),
            None,
        )
    };
    let (all, well) = ("= cmdb.by_class(\"server\")", "{ when: 'event.type == \"y\"', within: 5m }");
    let loaded = with(all, well, "[1, 5, 10%, rest]");
    let set = loaded.set.unwrap();
    let spread = set.rules[0].remedy[0].spread.clone().unwrap();
    assert_eq!(spread.between, [Wave::Targets(5), Wave::Percent(10)]);
    let reached = |total: usize| {
        let mut all = vec![0];
        while all[all.len() - 1] < total {
            all.push(spread.reach(all[all.len() - 1], total));
        }
        all
    };
    assert_eq!(reached(100), [0, 1, 6, 16, 100]);
    assert_eq!(reached(7), [0, 1, 6, 7]);
    assert_eq!(reached(1), [0, 1]);
    for (target, verify, spread, why) in [
        (all, well, "[2, rest]", "a spread begins with one target, found \"2\""),
        (all, well, "[1, 10%]", "a spread ends with `rest`, found \"10%\""),
        (all, well, "[1]", "a spread has two waves or more"),
        (all, well, "careful", "expected a list"),
        (all, well, "[1, 0, rest]", "expected how many targets (1 to 100), or `1%` to `99%` of them, found \"0\""),
        (all, well, "[1, 100%, rest]", "found \"100%\""),
        (all, well, "[1, rest, 5, rest]", "found \"rest\""),
        (all, "{ within: 5m }", "[1, rest]", "`spread` needs `verify.when`"),
        ("about", well, "[1, rest]", "`spread` is for many targets, and the target is one CI"),
    ] {
        let text = shown(&with(target, verify, spread));
        assert!(text.contains(why), "{spread}\n{text}");
    }
}

const SITE: &str = "defaults: { assign: desk, escalate: usual, autonomy: propose }
escalations:
  usual:
    - { at: 15m unacknowledged, to: oncall }
lists:
  core: [fra, ams]
  codes: [500, 503]
functions: |
  fn is_web(name) { name.starts_with(\"web-\") }
";

#[test]
fn the_site_gives_defaults_escalations_lists_and_functions() {
    let lines = "when: event.type == \"x\" && event.labels.site in site.lists.core && is_web(event.ci)\n\
        incident: { summary: s, impact: \"= if event.labels.site in site.lists.core { HIGH } else { LOW }\" }";
    let set = set_with(lines, Some(SITE));
    let rule = &set.rules[0];
    let incident = rule.incident.as_ref().unwrap();
    assert_eq!((incident.assign.as_deref(), rule.escalate[0].to.as_str()), (Some("desk"), "oncall"));
    assert_eq!(set.rulebooks[0].autonomy, Autonomy::Record, "the lower of the two");
    let mut e = Evaluator::new(Arc::clone(&set));
    for (site, held) in [("fra", 1), ("ams", 1), ("nyc", 0)] {
        let found = e.matches(&event("x", &[("site", site)]));
        assert_eq!((found.when.len(), found.failed.len()), (held, 0), "{site}");
    }
    let other = Event { ci: CiRef { name: Some("db-1".into()), ..CiRef::default() }, ..event("x", &[("site", "fra")]) };
    assert!(e.matches(&other).is_empty());
    let (cmdb, fra) = (Arc::new(Cmdb::default()), event("x", &[("site", "fra")]));
    let impact = incident.impact.as_ref().unwrap();
    assert_eq!(e.level(impact, &Ctx::of(&fra, None, &cmdb, Timestamp::EPOCH)), Ok(paramedic_model::Level::High));

    let digest = |site: &str| set_with(lines, Some(site)).rulebooks[0].digest;
    assert_ne!(digest(SITE), digest(&SITE.replace("ams", "nyc")), "the list is part of the rule's meaning");
    assert_ne!(digest(SITE), digest(&SITE.replace("web-", "www-")), "so is the function");
}

#[test]
fn a_list_of_the_site_is_indexed_and_closures_read_it_too() {
    let set = set_with(&format!("when: event.labels.site in site.lists.core{DO}"), Some(SITE));
    let how = Evaluator::new(set).explain_index();
    assert!(matches!(how[0].how, HowFound::Index(_)) && how[0].native, "{how:?}");
    let lines = format!("when: |\n  [1].some(|x| event.labels.site in site.lists.core){DO}");
    let mut e = Evaluator::new(set_with(&lines, Some(SITE)));
    let found = e.matches(&event("x", &[("site", "ams")]));
    assert_eq!((found.when.len(), found.failed.as_slice()), (1, &[][..]));
    let lines =
        format!("when: num(event.labels.code) in site.lists.codes && site.lists.core.contains(event.labels.site){DO}");
    let mut e = Evaluator::new(set_with(&lines, Some(SITE)));
    assert_eq!(e.matches(&event("x", &[("site", "ams"), ("code", "503")])).when.len(), 1);
}

/// What an engine would answer.
struct Known {
    broken: Id,
}

impl Lookups for Known {
    fn open_incident(&self, ci: Id) -> Option<Value> {
        (ci == self.broken).then(|| json!({"id": ci, "summary": "broken"}))
    }

    fn open_alert(&self, ci: Id, type_: Option<&str>) -> Option<Value> {
        (ci == self.broken && type_.is_none_or(|t| t == "down")).then(|| json!({"type_": "down"}))
    }

    fn healthy(&self, ci: Id, within: Span) -> Option<bool> {
        (within == secs(30)).then_some(ci != self.broken)
    }
}

fn three_cis() -> (Arc<Cmdb>, [Ci; 3]) {
    let cis = [ci("web-1", &[("rack", json!("r7"))]), ci("switch", &[]), ci("core", &[("rack", json!("r7"))])];
    let mut cmdb = Cmdb::default();
    cis.iter().for_each(|ci| cmdb.put(ci.clone()));
    for (from, to) in [(0, 1), (1, 2)] {
        cmdb.relate(Relation { from: cis[from].id, kind: "depends_on".into(), to: cis[to].id });
    }
    (Arc::new(cmdb), cis)
}

#[test]
fn questions_are_answered_by_the_cmdb_and_the_engine() {
    let (cmdb, cis) = three_cis();
    let known = Known { broken: cis[2].id };
    let x = event("x", &[]);
    for (question, expected) in [
        ("cmdb.within(about, \"depends_on\", 2).some(|ci| has(open_incident(ci)))", true),
        ("cmdb.within(about, \"depends_on\", 1).some(|ci| has(open_incident(ci)))", false),
        ("open_incident(cmdb.ci(\"core\")).summary == \"broken\"", true),
        ("has(open_incident(about)) || has(open_alert(about))", false),
        ("open_alert(cmdb.ci(\"core\")).type == \"down\" && has(open_alert(cmdb.ci(\"core\"), \"down\"))", true),
        ("has(open_alert(cmdb.ci(\"core\"), \"up\"))", false),
        ("healthy(about, \"30s\") && !healthy(cmdb.ci(\"core\"), \"30s\")", true),
        ("healthy(about, \"5s\")", false),
        ("cmdb.by_class(\"server\").len() == 3 && cmdb.by_attribute(\"rack\", \"r7\").len() == 2", true),
        ("cmdb.within(about, \"depends_on\", 9).map(|ci| ci.name).reduce(|a, x| a + x, \"\") == \"switchcore\"", true),
        ("hour(now, \"Europe/Berlin\") == 1 && weekday(now, \"UTC\") == \"thu\"", true),
    ] {
        let set = set(&format!("when: event.type == \"x\"\nonly_if: |\n  {question}{DO}"));
        let ctx = Ctx { lookups: Some(&known), ..Ctx::of(&x, Some(&cis[0]), &cmdb, Timestamp::EPOCH) };
        let ix = set.rules[0].only_if.unwrap();
        let mut e = Evaluator::new(set);
        assert_eq!(e.condition(ix, &ctx), Ok(expected), "{question}");
        let alone = Ctx { lookups: None, ..ctx };
        if question.starts_with("has(open") || question.starts_with("healthy") {
            assert_eq!(e.condition(ix, &alone), Ok(false), "nothing is known: {question}");
        }
    }
}

#[test]
fn a_script_wants_things_and_performs_none() {
    let script = "incident: { summary: s }\nthen: |\n  let near = cmdb.within(about, \"depends_on\", 2).filter(|ci| has(open_incident(ci)));\n  \
        if near.len() > 0 {\n    incident.attach_to(open_incident(near[0]));\n    for ci in near { notify(\"net\", ci.name + \" is broken\"); }\n  } else {\n    \
        incident.note(\"nothing broken within two hops\");\n  }\n  emit(\"derived\", #{ type: \"looked\", labels: #{ ci: event.ci } });";
    let set = set(&format!("when: event.type == \"x\"\n{script}"));
    let (cmdb, cis) = three_cis();
    let x = event("x", &[]);
    let mut e = Evaluator::new(set);
    let known = Known { broken: cis[2].id };
    let ctx = Ctx { lookups: Some(&known), ..Ctx::of(&x, Some(&cis[0]), &cmdb, Timestamp::EPOCH) };
    let emitted = Intent::Emit {
        topic: "derived".into(),
        event: json!({"type": "looked", "labels": {"ci": "web-1"}}).as_object().unwrap().clone(),
    };
    assert_eq!(
        e.intents(RuleIx(0), &ctx),
        Ok(vec![
            Intent::Attach { incident: None, to: cis[2].id },
            Intent::Notify { to: "net".into(), text: "core is broken".into() },
            emitted.clone(),
        ])
    );
    let well = Known { broken: cis[0].id };
    let ctx = Ctx { lookups: Some(&well), ..ctx };
    let note = Intent::Note { incident: None, text: "nothing broken within two hops".into() };
    assert_eq!(e.intents(RuleIx(0), &ctx), Ok(vec![note, emitted]));
}

#[test]
fn a_script_that_fails_wants_nothing() {
    let x = event("x", &[]);
    let cmdb = Arc::new(Cmdb::default());
    for (last, why) in [
        ("notify(\"a\", event.labels.none);", "function not found"),
        ("emit(\"t\", #{ kind: \"no type\" });", "an event has a type"),
        ("emit(\"t\", #{ type: \"a\", kind: \"metric\" });", "`emit` has no `kind`; it has type, status"),
        (
            "let s = \"x\"; for i in range(0, 17) { s += s; } emit(\"t\", #{ type: \"a\", summary: s });",
            "the most is 65536",
        ),
        ("for i in range(0, 200) { notify(\"a\", \"b\"); }", "100 things at most"),
        ("let n = 0; for i in range(0, 100000000) { n += 1; }", "too much work"),
    ] {
        let set = set(&format!("when: event.type == \"x\"\nthen: |\n  notify(\"first\", \"said\");\n  {last}"));
        let mut e = Evaluator::new(set);
        let outcome = e.intents(RuleIx(0), &Ctx::of(&x, None, &cmdb, Timestamp::EPOCH));
        let failed = outcome.unwrap_err().to_string().to_lowercase();
        assert!(failed.contains(why), "{last}: {failed}");
    }
}

#[test]
fn where_a_rule_sends_to_is_known_beforehand() {
    let r = rule(
        "when: event.type == \"x\"\nemit: [ { topic: one, type: y }, { topic: two, type: \"= event.type\", key: \"= event.ci\" } ]\n\
         then: |\n  if event.value > 3 { emit(\"three\", #{ type: \"z\" }); }",
    );
    let topics: Vec<_> = r.topics.iter().map(|t| (t.name.as_str(), t.place.line)).collect();
    let first = topics[0].1;
    assert_eq!(topics, [("one", first), ("two", first), ("three", first + 2)]);
    assert!(r.emit[0].key.is_none() && r.emit[1].key.is_some());
    for (line, why) in [
        ("then: |\n  let t = \"x\"; emit(t, #{ type: \"a\" });", "where `emit` sends to is known only when it runs"),
        ("then: |\n  emit(`${event.ci}`, #{ type: \"a\" });", "where `emit` sends to is known only when it runs"),
        ("then: |\n  emit(\"a b\", #{ type: \"a\" });", "\"a b\" is no name of a topic"),
        ("emit: { topic: a/b, type: y }", "\"a/b\" is no name of a topic"),
        ("emit: { topic: a, type: y, severity: grave }", "expected one of info, warning, minor, major, critical"),
        ("emit: { topic: a, type: y, status: over }", "expected one of firing, resolved"),
        (
            "incident: { summary: s }\nthen: |\n  incident.attach_to(open_incident(about));",
            "incidents have no parents yet",
        ),
    ] {
        let files = [("r.yaml".to_owned(), book(&format!("when: event.type == \"x\"\n{line}")))];
        let loaded = paramedic_rulebook::load(&files.into_iter().collect());
        assert!(loaded.set.is_none() && shown(&loaded).contains(why), "{line}\n{}", shown(&loaded));
    }
}

#[test]
fn events_that_settled_are_read_as_a_list() {
    let set = set(
        "when: event.type == \"x\"\nsettle: 30s\nincident: { summary: s, impact: \"= if events.filter(|e| e.value > 3).len() > 1 { HIGH } else { LOW }\" }",
    );
    let all: Vec<_> = [1, 5, 9].map(|n| Event { value: Some(Measure::Int(n)), ..event("x", &[]) }).to_vec();
    let names = Bindings::default().with("events", Bound::Events(all.iter().collect())).with("n", Bound::Whole(3));
    let cmdb = Arc::new(Cmdb::default());
    let impact = set.rules[0].incident.as_ref().unwrap().impact.clone().unwrap();
    let ctx = Ctx { names: &names, ..Ctx::of(&all[0], None, &cmdb, Timestamp::EPOCH) };
    assert_eq!(Evaluator::new(set).level(&impact, &ctx), Ok(paramedic_model::Level::High));
}

#[test]
fn every_misuse_is_told_with_its_fix() {
    let catalogue = "playbooks:\n  block: { runner: http, url: http://h/b, timeout: 1m, effect: keyed, parameters: { ip: { type: string } } }\n  \
        other: { runner: http, url: http://h/o, timeout: 1m, effect: keyed, parameters: { id: { type: string } } }\n";
    let site = "defaults: { assing: desk, autonomy: all }\nescalations:\n  usually: [ { at: 5m, to: a } ]\nlists: { a-b: [x] }\n\
        functions: |\n  fn has(x) { x }\n  fn f(x) { x + MAJOR }\ntopology: {}\ninhibit: []\n";
    let files =
        [("words.yaml", include_str!("mistakes/words.yaml")), ("playbooks.yaml", catalogue), ("site.yaml", site)];
    let loaded = load_all_words(&files.map(|(path, text)| (path.to_owned(), text.to_owned())).into());
    assert!(loaded.set.is_none());
    insta::assert_snapshot!("every_misuse", shown(&loaded));
}

#[test]
fn a_script_calls_only_what_there_is() {
    for (script, why) in [
        ("page(\"a\", \"b\");", "there is no function `page`"),
        ("notify(\"a\");", "`notify` takes 2 arguments, and has 1"),
        ("if event.typ == \"x\" { notify(\"a\", \"b\"); }", "an event has no field `typ`"),
        ("let x = 1; while x > 0 { x -= 1; }", "this is no script"),
        ("incident.note(\"x\");", "`incident` does not exist here"),
    ] {
        let text = shown(&load_with(&format!("when: event.type == \"x\"\nthen: |\n  {script}"), None));
        assert!(text.contains(why), "{script}\n{text}");
    }
}

#[test]
fn a_word_of_a_later_version_is_told_apart_from_a_slip() {
    for (lines, word) in [
        ("problem: { summary: s }", "problem"),
        ("change: {}", "change"),
        ("incident: { summary: s, parent: x }", "parent"),
        ("incident: { summary: s }\nremedy: [ { playbook: block, with: { ip: x }, change: normal } ]", "change"),
    ] {
        let text = shown(&load_with(&format!("when: event.type == \"x\"\n{lines}"), None));
        assert!(text.contains(&format!("`{word}` is not part of this version's language yet")), "{text}");
    }
}

#[test]
fn a_condition_is_pure() {
    for (when, why) in [
        ("has(open_incident(event.ci))", "`open_incident` is not known to a condition"),
        ("event.ci == \"a\" && healthy(event.ci, \"30s\")", "`healthy` is not known to a condition"),
        ("cmdb.by_class(\"server\").len() > 1", "`cmdb` is not known to a condition"),
        ("first.type == \"x\"", "`first` does not exist here"),
        ("hour(event.time, \"Mars\") == 1", "there is no zone \"Mars\""),
        (
            "event.labels.a.split(\",\").some(|p| p == event.type)",
            "a closure in a chain on `event` cannot read `event`",
        ),
        ("event.type == \"x\" && notify(\"a\", \"b\")", "there is no function `notify`"),
        ("for x in [1] { x }", "this is no expression"),
    ] {
        let loaded = load_with(&format!("when: |\n  {when}{DO}"), None);
        assert!(loaded.set.is_none() && shown(&loaded).contains(why), "{when}\n{}", shown(&loaded));
    }
    // The calendar of the event's own time is pure.
    let set = set(&format!("when: |\n  business_hours(event.time, \"Europe/Berlin\") && event.type == \"x\"{DO}"));
    let monday: Timestamp = "2026-01-05T09:00:00Z".parse().unwrap();
    let mut e = Evaluator::new(set);
    assert_eq!(e.matches(&Event { time: monday, ..event("x", &[]) }).when.len(), 1);
    assert_eq!(e.matches(&Event { time: monday.plus(secs(12 * 3600)), ..event("x", &[]) }).when.len(), 0);
}
