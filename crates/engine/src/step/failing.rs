//! Rules that fail. What a failed script wanted does not happen and everything else goes on; a rule that fails so many
//! times in a row is switched off, with an incident of its own, until a person resolves that or the rule is changed.
//!
//! Conditions are counted apart from what a rule does once it matched: else each match would make up for a `then` that
//! always fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use paramedic_model::{CloseCode, Id, Span, Window, WindowBody};
use paramedic_rulebook::{Failure, Matches, Rule, RuleIx, RuleSet};
use serde_json::json;

use super::Cx;
use crate::decision::{Decided, Decision, Mark};

/// So many times in a row.
const MOST: u32 = 5;
/// A condition that was false, and work that went well and fired nothing, are not seen here, so "in a row" has an end in
/// time too: what failed longer ago than this does not count.
const IN_A_ROW: Span = Span::from_secs(24 * 3600);
/// The rule that these incidents name.
const SWITCHED_OFF: &str = "rule switched off";

/// What of a rule is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Conditions,
    Work,
}

impl Of {
    const ALL: [Of; 2] = [Of::Conditions, Of::Work];

    const fn name(self) -> &'static str {
        match self {
            Of::Conditions => "conditions",
            Of::Work => "work",
        }
    }
}

/// A failure of a rule, as decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleFailed<'d> {
    /// The rule's rulebook.
    pub rulebook: &'d str,
    /// The rule.
    pub rule: &'d str,
    /// File and line.
    pub at: &'d str,
    /// Which of its expressions, and why.
    pub why: &'d str,
    /// How many times in a row.
    pub times: u32,
    /// It is switched off from now on.
    pub is_off: bool,
}

/// What a decision says of a rule that failed, for logs and reports.
pub fn rule_failed(decided: &Decided) -> Option<RuleFailed<'_>> {
    let Decision::Mark(Mark::WindowChanged { window }) = &decided.decision else { return None };
    let WindowBody::Failing { times, at, why, incident } = &window.body else { return None };
    let (rulebook, rule) = (&window.rulebook, &window.rule);
    Some(RuleFailed { rulebook, rule, at, why, times: *times, is_off: incident.is_some() })
}

impl Cx<'_> {
    /// Counts conditions that failed for an event, and leaves out what rules that are switched off would do.
    pub(super) fn on_conditions(&mut self, matches: Matches) -> Matches {
        if matches.failed.is_empty() && self.state.failing.is_empty() {
            return matches;
        }
        let Some(set) = self.active_set() else { return matches };
        let failed = first_of_each(matches.failed.clone());
        failed.values().for_each(|failure| self.on_failure(&set, Of::Conditions, failure));
        let slots = matches.slots.iter().map(|(ix, _)| *ix);
        let held: BTreeSet<RuleIx> = matches.when.iter().chain(&matches.clear).copied().chain(slots).collect();
        for ix in held.into_iter().filter(|ix| !failed.contains_key(ix)) {
            self.on_success(&set, Of::Conditions, ix);
        }
        self.only_live(matches)
    }

    /// Without rules that are switched off. What they have opened is cleared and verified all the same.
    pub(super) fn only_live(&self, mut matches: Matches) -> Matches {
        if let Some(set) = self.active_set().filter(|_| !self.state.failing.is_empty()) {
            matches.when.retain(|ix| !self.is_off(&set, *ix));
            matches.slots.retain(|(ix, _)| !self.is_off(&set, *ix));
            matches.failed.retain(|failure| !self.is_off(&set, failure.rule));
        }
        matches
    }

    /// Whether a rule of the active set is switched off in this scope.
    pub(super) fn is_off(&self, set: &RuleSet, ix: RuleIx) -> bool {
        let is_off = |of: &Of| {
            let window = self.state.windows.get(&self.failing_id(set, set.rule(ix), *of));
            matches!(window.map(|w| &w.body), Some(WindowBody::Failing { incident: Some(_), .. }))
        };
        !self.state.failing.is_empty() && Of::ALL.iter().any(is_off)
    }

    /// At the end of a step: rules whose work failed in it, and rules that did theirs. Whether an incident was opened.
    pub(super) fn settle_failures(&mut self) -> bool {
        let before = self.out.len();
        let active = self.state.head.set;
        let mut found = Vec::new();
        for (digest, evaluator) in &self.engine.sets {
            // Of incidents that keep older rules: these are not what runs.
            let failures = evaluator.borrow_mut().take_failures();
            if *digest == active {
                found = failures;
            }
        }
        let worked = std::mem::take(&mut self.worked);
        if found.is_empty() && self.state.failing.is_empty() {
            return false;
        }
        let Some(set) = self.active_set() else { return false };
        self.depth = 0;
        let failed = first_of_each(found);
        failed.values().for_each(|failure| self.on_failure(&set, Of::Work, failure));
        for ix in worked.into_iter().filter(|ix| !failed.contains_key(ix)) {
            self.on_success(&set, Of::Work, ix);
        }
        self.out[before..].iter().any(|one| matches!(one.decision, Decision::Step(_)))
    }

    fn on_failure(&mut self, set: &Arc<RuleSet>, of: Of, failure: &Failure) {
        if self.is_off(set, failure.rule) {
            return;
        }
        let rule = set.rule(failure.rule);
        let id = self.failing_id(set, rule, of);
        let known = self.state.windows.get(&id);
        let (opened, before) = match known.map(|w| (w.opened, w.touched, &w.body)) {
            Some((opened, touched, WindowBody::Failing { times, .. })) if self.now.since(touched) <= IN_A_ROW => {
                (opened, *times)
            }
            _ => (self.now, 0),
        };
        let times = before + 1;
        let incident = (times >= MOST).then(|| self.switch_off(set, rule, failure)).flatten();
        let window = Window {
            id,
            rulebook: set.rulebook_of(rule).name.as_str().into(),
            rule: rule.name.as_str().into(),
            shape: rule.digest,
            by: [json!(of.name())].into(),
            opened,
            touched: self.now,
            body: WindowBody::Failing { times, at: failure.at.clone(), why: failure.why.clone(), incident },
        };
        self.mark(Mark::WindowChanged { window: Arc::new(window) });
    }

    fn on_success(&mut self, set: &RuleSet, of: Of, ix: RuleIx) {
        let id = self.failing_id(set, set.rule(ix), of);
        let window = self.state.windows.get(&id);
        if matches!(window.map(|w| &w.body), Some(WindowBody::Failing { incident: None, .. })) {
            self.end_window(id);
        }
    }

    fn switch_off(&mut self, set: &RuleSet, rule: &Rule, failure: &Failure) -> Option<Id> {
        let name = format!("{}/{}", set.rulebook_of(rule).name, rule.name);
        let key = Id::of(&json!([self.scope, SWITCHED_OFF, set.rulebook_of(rule).name, rule.name]));
        let reason = format!(
            "rule {name} failed {MOST} times in a row and is switched off: {}: {}; publish another version of it, or \
             resolve this incident to switch it on again",
            failure.at, failure.why
        );
        let summary = format!("Rule {name} is switched off: {}: {}", failure.at, failure.why);
        self.open_own(key, SWITCHED_OFF, Some(name), summary, &reason);
        self.state.incident_of_key(key).map(|incident| incident.id)
    }

    /// An incident is over: where it was that of a rule that is switched off, the rule is on again, and counted anew.
    pub(super) fn switch_on(&mut self, incident: Id) {
        let windows = || self.state.failing.iter().filter_map(|id| self.state.windows.get(id));
        let Some(off) = windows().find(|w| incident_of(w) == Some(incident)) else { return };
        let of_rule = windows().filter(|w| w.rulebook == off.rulebook && w.rule == off.rule);
        let ids: Vec<Id> = of_rule.map(|w| w.id).collect();
        ids.into_iter().for_each(|id| self.end_window(id));
    }

    /// The rule is gone or was changed: what it did before says nothing of it now.
    pub(super) fn on_failing_rule_changed(&mut self, window: &Window) {
        self.end_window(window.id);
        if let Some(incident) = incident_of(window) {
            let notes = format!("another version of rule {}/{} was published", window.rulebook, window.rule);
            self.finish(incident, "engine", CloseCode::NoResolutionProvided, notes, None);
        }
    }

    fn active_set(&self) -> Option<Arc<RuleSet>> {
        self.evaluator(self.state.head.set).map(|e| Arc::clone(e.borrow().set()))
    }

    fn failing_id(&self, set: &RuleSet, rule: &Rule, of: Of) -> Id {
        let book = &set.rulebook_of(rule).name;
        Window::id_of(self.scope, book, &rule.name, Window::FAILING, &[json!(of.name())])
    }
}

/// The incident of a rule that is switched off.
fn incident_of(window: &Window) -> Option<Id> {
    match &window.body {
        WindowBody::Failing { incident, .. } => *incident,
        _ => None,
    }
}

/// One input counts once for a rule, however much of it failed.
fn first_of_each(failures: Vec<Failure>) -> BTreeMap<RuleIx, Failure> {
    let mut first = BTreeMap::new();
    for failure in failures {
        first.entry(failure.rule).or_insert(failure);
    }
    first
}
