//! The schemas that editors read: every file that is shipped is valid, and what is broken is not.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use jsonschema::Validator;
use serde_json::Value;

fn schema(of: &str) -> Validator {
    let out = Command::new(env!("CARGO_BIN_EXE_paramedic")).args(["schema", of]).output().unwrap();
    assert!(out.status.success(), "{of}: {}", String::from_utf8_lossy(&out.stderr));
    let schema: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    jsonschema::meta::validate(&schema).unwrap_or_else(|e| panic!("{of}: {e}"));
    jsonschema::draft7::new(&schema).unwrap_or_else(|e| panic!("{of}: {e}"))
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Each document of a file.
fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| serde::Deserialize::deserialize(document).unwrap_or_else(|e| panic!("{e}\n{text}")))
        .collect()
}

/// What keeps a file from being valid.
fn wrong(schema: &Validator, file: &Value) -> Vec<String> {
    schema.iter_errors(file).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// The files of the project that are of one kind, each with its text; those in documents, too.
fn shipped() -> Vec<(&'static str, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths =
        ["deploy/paramedic.yaml", "README.md", "docs/rulebooks.md", "docs/patterns.md"].map(|p| root.join(p)).to_vec();
    for folder in ["rules", "crates/cli/demo/rules"] {
        collect(&root.join(folder), &mut paths);
    }
    let mut found = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.display().to_string();
        if name.ends_with(".md") {
            // Blocks that are written to a file. The first rule of the README and the traps are wrong on purpose.
            for block in text.split("<!-- file: ").skip(1) {
                let (file, rest) = block.split_once(" -->\n```yaml\n").unwrap_or_default();
                let text = rest.split("```").next().unwrap().replace("urgensy", "urgency");
                if !file.starts_with("traps/") {
                    found.extend(kind(file).map(|kind| (kind, format!("{name}: {file}"), text)));
                }
            }
        } else {
            found.extend(kind(&name).map(|kind| (kind, name, text)));
        }
    }
    found
}

fn kind(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap();
    match name {
        "playbooks.yaml" => Some("playbook"),
        "site.yaml" => Some("site"),
        "paramedic.yaml" => Some("config"),
        "cmdb.yaml" => None,
        _ if name.ends_with(".test.yaml") => Some("scenario"),
        _ if !name.ends_with(".yaml") => None,
        _ => Some("rulebook"),
    }
}

#[test]
fn every_shipped_file_is_valid() {
    let kinds = ["rulebook", "site", "playbook", "config", "event", "scenario"];
    let (schemas, any) = (kinds.map(|of| (of, schema(of))), schema("rules"));
    let mut seen = std::collections::BTreeMap::new();
    for (kind, name, text) in shipped() {
        let (_, schema) = schemas.iter().find(|(of, _)| *of == kind).unwrap();
        for document in documents(&text) {
            assert_eq!(wrong(schema, &document), Vec::<String>::new(), "{name}");
            if kind != "config" {
                assert_eq!(wrong(&any, &document), Vec::<String>::new(), "{name}");
            }
        }
        *seen.entry(kind).or_insert(0) += 1;
    }
    assert!(
        seen["rulebook"] >= 10 && seen["playbook"] >= 5 && seen["config"] >= 2 && seen["scenario"] >= 20,
        "{seen:?}"
    );
    for event in events() {
        assert_eq!(wrong(&schemas[4].1, &event), Vec::<String>::new(), "{event}");
    }
}

/// The events of scenarios and documents.
fn events() -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    collect(&root.join("rules"), &mut paths);
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| path.to_string_lossy().ends_with(".test.yaml")) {
        for document in serde_yaml::Deserializer::from_str(&std::fs::read_to_string(path).unwrap()) {
            let scenario: Value = serde::Deserialize::deserialize(document).unwrap();
            let steps = scenario["steps"].as_array().cloned().unwrap_or_default();
            found.extend(steps.into_iter().filter_map(|step| step.get("event").cloned()));
        }
    }
    let documents = ["README.md", "docs/rulebooks.md"].map(|name| std::fs::read_to_string(root.join(name)).unwrap());
    let lines = documents.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with("{\"time\""));
    found.extend(lines.map(|line| serde_json::from_str(line).unwrap()));
    assert!(found.len() > 20, "{}", found.len());
    found
}

const RULE: &str = "rulebook: r
may: { playbooks: [clean], ci_classes: [server] }
rules:
  - rule: one
    when: event.type == \"a\" && event.value >= 90
    for: 2m
    by: [event.ci]
    clear: { quiet: 10m }
    incident: { summary: \"{event.ci} is full\", urgency: high, hold: 1m }
    remedy:
      - playbook: clean
        with: { mount: = event.labels.mount, percent: 20 }
        verify: { within: 5m, hold: 30s }
    escalate:
      - { at: 15m unacknowledged, to: oncall, raise: urgency }
";

const PLAYBOOK: &str = "playbooks:
  clean:
    runner: http
    url: http://127.0.0.1:8700/clean
    timeout: 2m
    effect: non_idempotent
    on_unknown: verify
    parameters:
      mount: { type: string, required: true, max_length: 64 }
";

const CONFIG: &str = "cluster: one
kafka: { brokers: a:9092, options: { client.id: x } }
sources:
  - name: monitoring
    kafka: { topic: t, start: latest }
    format: paramedic
    scope: event.labels.site
grants: [ { rulebook: \"*\", autonomy: auto } ]
notify: { default: { url: http://127.0.0.1/n } }
limits: { max_action_age: 15m }
";

const SITE: &str = "defaults: { assign: desk, escalate: usual, autonomy: propose }
escalations:
  usual: [ { at: open, to: oncall } ]
lists: { sites: [fra, ams] }
functions: fn a(b) { b }
";

const EVENT: &str =
    "{ type: t, ci: web-1, status: firing, severity: major, value: 3, labels: { a: 1 }, time: 2026-03-01T02:00:00Z }";

const SCENARIO: &str = "scenario: a disk is cleaned
given:
  cis: [ { name: web-1, class: server, criticality: 2, attributes: { volume_kind: lvm } } ]
  relations: [ { from: web-1, kind: depends_on, to: web-1 } ]
  grants: [ { rulebook: \"*\", autonomy: auto } ]
steps:
  - { at: 0s, event: { type: t, ci: { host: web-1 }, severity: major, labels: { a: 1 } } }
  - { at: 1m, run: { outcome: failed, message: no } }
  - { at: 2m, page: delivered }
  - { at: 3m, operator: { resolve: { by: ann, code: User error } } }
  - at: 4m
    expect: { incident: { state: resolved, priority: 3 }, run: { state: failed, with: { mount: /var } }, pages: 1, ci: { name: web-1 } }
";

/// A file that is right, what of it is put in whose place, and what is wrong then.
const BROKEN: [(&str, &str, &str, &str); 59] = [
    ("rulebook", "rulebook: r", "rulebok: r", "rulebok"),
    ("rulebook", "rulebook: r\n", "", "required"),
    ("rulebook", "may: { playbooks: [clean],", "may: { playbooks: clean,", "array"),
    ("rulebook", "ci_classes", "classes", "classes"),
    ("rulebook", "may:", "autonomy: automatic\nmay:", "automatic"),
    ("rulebook", "  - rule: one", "  - rul: one", "rul"),
    ("rulebook", "    when:", "    whn:", "whn"),
    ("rulebook", "    when: event.type == \"a\" && event.value >= 90\n    for: 2m\n", "", "any of"),
    ("rulebook", "for: 2m", "for: 2", "string"),
    ("rulebook", "for: 2m", "for: soon", "soon"),
    ("rulebook", "for: 2m", "within: 2m", "any of"),
    ("rulebook", "for: 2m", "absent: event.type == \"b\"", "required"),
    ("rulebook", "for: 2m", "upon: incident.opened\n    sequence: [ { a: x }, { b: y } ]", "not"),
    ("rulebook", "for: 2m", "upon: incident.open", "incident.open"),
    ("rulebook", "for: 2m", "count: { within: 5m }", "at_least"),
    ("rulebook", "for: 2m", "count: { at_least: 0, within: 5m }", "0"),
    ("rulebook", "for: 2m", "measure: median(event.value)\n    over: 5m\n    is: \">= 1\"", "median"),
    ("rulebook", "for: 2m", "measure: avg(event.value)\n    over: 5m", "is"),
    ("rulebook", "for: 2m", "fallback: perhaps", "perhaps"),
    ("rulebook", "by: [event.ci]", "by: event.ci", "array"),
    ("rulebook", "by: [event.ci]", "by: []", "[]"),
    ("rulebook", "{ quiet: 10m }", "{ quite: 10m }", "quite"),
    ("rulebook", "summary: ", "sumary: ", "sumary"),
    ("rulebook", "urgency: high", "urgency: hihg", "any of"),
    ("rulebook", "- playbook: clean", "- target: about", "playbook"),
    ("rulebook", "- playbook: clean", "- playbook: clean\n        target: web-1", "any of"),
    ("rulebook", "{ within: 5m, hold: 30s }", "{ within: 5m, hold: [] }", "[]"),
    ("rulebook", "at: 15m unacknowledged", "at: remedy_failed", "any of"),
    ("rulebook", "raise: urgency", "raise: priority", "priority"),
    ("rulebook", "    incident: { summary: \"{event.ci} is full\", urgency: high, hold: 1m }\n", "", "any of"),
    ("playbook", "runner: http", "runner: ssh", "ssh"),
    ("playbook", "url: http://127.0.0.1:8700/clean", "url: clean", "clean"),
    ("playbook", "    timeout: 2m\n", "", "timeout"),
    ("playbook", "on_unknown: verify", "on_unknown: retry", "not"),
    ("playbook", "timeout: 2m", "timeout: 2m\n    token: hunter2", "hunter2"),
    ("playbook", "type: string", "type: text", "is not one of"),
    ("site", "autonomy: propose", "autonomy: most", "is not one of"),
    ("site", "lists: { sites: [fra, ams] }", "lists: { sites: fra }", "array"),
    ("config", "cluster:", "clustr:", "clustr"),
    ("config", "start: latest", "start: last", "last"),
    ("config", "format: paramedic", "format: nagios", "nagios"),
    ("config", "max_action_age: 15m", "max_action_age: 15", "string"),
    ("event", "type: t, ", "", "type"),
    ("event", "status: firing", "status: fireing", "any of"),
    ("scenario", "steps:", "step:", "step"),
    ("scenario", "given:", "givn:", "givn"),
    ("scenario", "class: server, ", "", "class"),
    ("scenario", "criticality: 2", "criticality: 5", "5"),
    ("scenario", "kind: depends_on", "kid: depends_on", "kid"),
    ("scenario", "autonomy: auto", "autonomy: automatic", "automatic"),
    ("scenario", "{ at: 2m, page: delivered }", "{ at: 2m }", "any of"),
    ("scenario", "at: 2m", "at: 2", "string"),
    ("scenario", "severity: major", "serverity: major", "serverity"),
    ("scenario", "host: web-1", "hots: web-1", "any of"),
    ("scenario", "outcome: failed", "outcome: exploded", "exploded"),
    ("scenario", "page: delivered", "page: sent", "sent"),
    ("scenario", "resolve:", "solve:", "solve"),
    ("scenario", "state: resolved", "state: resolvd", "resolvd"),
    ("scenario", "ci: { name: web-1 }", "ci: { class: server }", "name"),
];

#[test]
fn what_is_broken_is_not_valid() {
    let whole = [
        ("rulebook", RULE),
        ("playbook", PLAYBOOK),
        ("config", CONFIG),
        ("site", SITE),
        ("event", EVENT),
        ("scenario", SCENARIO),
    ];
    let any = schema("rules");
    let mut missed = Vec::new();
    for (of, text) in whole {
        let schema = schema(of);
        assert_eq!(wrong(&schema, &yaml(text)), Vec::<String>::new(), "{of}");
        for (_, right, broken, said) in BROKEN.iter().filter(|(kind, ..)| *kind == of) {
            assert!(text.contains(right), "{of} has no {right:?}");
            let file = yaml(&text.replace(right, broken));
            let found = wrong(&schema, &file).join("\n");
            if !found.contains(said) {
                missed.push(format!("{broken:?}: expected {said:?}, found {found:?}"));
            }
            if !matches!(of, "config" | "event") {
                assert!(!wrong(&any, &file).is_empty(), "{broken:?} is valid as any file of a folder of rules");
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
