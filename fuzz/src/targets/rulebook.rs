//! The loader, on any text as a rulebook, a catalogue or grants; and what it accepts, on some events.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_rulebook::{Evaluator, GRANTS, Verdict, analyse, load};

use super::input::{in_time, some_events};

/// The catalogue of a rulebook that brings none.
pub(super) const CATALOGUE: &str = "playbooks:
  p:
    runner: http
    url: http://127.0.0.1:9/p
    timeout: 30s
    effect: keyed
    parameters:
      text: { type: string }
      mount: { type: string, required: false, max_length: 64 }
";

/// A rulebook, or files: a line `==== NAME` before each.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    in_time("loading", || check(&files(text)));
}

fn files(text: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([("playbooks.yaml".to_owned(), CATALOGUE.to_owned())]);
    let mut name = "book.yaml";
    let mut body = String::new();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("==== ") {
            Some(next) => {
                files.insert(name.to_owned(), std::mem::take(&mut body));
                name = next.trim_end();
            }
            None => body.push_str(line),
        }
    }
    files.insert(name.to_owned(), body);
    files
}

fn check(sources: &BTreeMap<String, String>) {
    let loaded = load(sources);
    for found in &loaded.diagnostics {
        // A line ends as in YAML, and behind the last one may be the place of what is missing.
        let ends = sources.get(&found.place.file).map_or(0, |text| text.matches(['\n', '\r']).count());
        assert!(found.place.line >= 1 && found.place.line <= ends + 2, "line {} of {ends}", found.place.line);
        assert!(found.place.column >= 1 && !found.message.is_empty());
        assert!(!found.to_string().is_empty());
    }
    assert_eq!(loaded.set.is_none(), loaded.diagnostics.iter().any(paramedic_rulebook::Diagnostic::is_error));
    let Some(set) = loaded.set else { return };
    assert_eq!(load(&set.sources).set.map(|again| again.digest), Some(set.digest), "loaded again, it is another set");
    assert!(!set.sources.contains_key(GRANTS) || sources.contains_key(GRANTS));
    let set = Arc::new(set);
    let analysis = analyse(&set);
    let mut evaluator = Evaluator::new(Arc::clone(&set));
    for event in some_events() {
        let found = evaluator.matches(&event);
        for ix in &found.when {
            let is_dead = analysis.rules[ix.0 as usize].verdict == Verdict::Dead;
            // A pattern of several events may be dead where each of them is there.
            assert!(
                !is_dead || !set.rule(*ix).is_immediate() || evaluator.by(*ix, &event).is_err(),
                "a dead rule fires"
            );
        }
        assert_eq!(found, evaluator.matches_brute_force(&event), "the index finds other rules than asking each one");
    }
}
