//! Plays a scenario on a real shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_engine::{EventInput, Limits, outbox};
use paramedic_model::{
    CloseCode, Event, Grants, InboxBody, NewInbox, OperatorAct, Order, OutboxRow, RunState, Span, Timestamp,
};
use paramedic_rulebook::scenario::{Act, Operator, Outcome, RunWord, Scenario, Step};
use paramedic_rulebook::{Evaluator, Matches, Pattern, Rule, RuleSet};

use super::book::Book;
use super::difference::{FailedStep, Miss};
use super::expect::{Compared, Unmet, compare};
use super::parse::Scene;
use super::places::Places;
use super::{BEGINNING, SOURCE, ScenarioResult};
use crate::DEFAULT_SCOPE;
use crate::driver::{Driver, Reply};
use crate::feed::sift;

/// Who acts where the scenario names nobody.
const SOMEBODY: &str = "operator";

/// A scenario under way.
struct Play {
    driver: Driver,
    evaluator: Evaluator,
    book: Book,
    now: Timestamp,
    acts: u64,
}

/// Plays it to its last step.
pub(super) fn play(set: &Arc<RuleSet>, scene: &Scene, places: &Places<'_>) -> ScenarioResult {
    let scenario = &scene.scenario;
    let mut play = Play::new(set, scene);
    let mut failures = Vec::new();
    for (index, step) in scenario.steps.iter().enumerate() {
        let compared = play.step(step, scene.events.get(&index));
        if !compared.misses.is_empty() {
            failures.push(play.failed(scenario, index, compared, places));
        }
    }
    ScenarioResult {
        name: scenario.name.clone(),
        place: places.at(scenario.document, "scenario"),
        passed: failures.is_empty(),
        failures,
        broken: play.book.broken(),
        timeline: play.book.timeline(),
        reached: play.book.into_reached(),
    }
}

impl Play {
    fn new(set: &Arc<RuleSet>, scene: &Scene) -> Self {
        let scenario = &scene.scenario;
        let set = match &scenario.given.grants {
            Some(lines) => Arc::new(RuleSet { grants: Grants::List(lines.clone()), ..(**set).clone() }),
            None => Arc::clone(set),
        };
        let told = scenario.steps.iter().any(|s| s.page.is_some());
        let pages = if told { Reply::Held } else { Reply::After(Span::ZERO, true) };
        let cmdb = scene.cmdb.clone();
        let driver =
            Driver::new(Arc::clone(&set), Limits::default(), Reply::Held, pages).with_cmdb(move |_| cmdb.clone());
        let book = Book::new(&set);
        let waits =
            |rule: &Rule| matches!(rule.pattern, Pattern::Every { .. } | Pattern::Absent { for_each: Some(_), .. });
        let (digest, any_waits) = (set.digest, set.rules.iter().any(waits));
        let mut play = Self { driver, evaluator: Evaluator::new(set), book, now: BEGINNING, acts: 0 };
        play.driver.meet(DEFAULT_SCOPE);
        if any_waits {
            // As an engine that starts with these rules: schedules count from here, whether or not anything comes.
            let body = InboxBody::RulebooksPublished(digest);
            let id = format!("{SOURCE}|begins");
            play.driver.inbox(&NewInbox { id, scope: DEFAULT_SCOPE.to_owned(), at: BEGINNING, body });
            play.settle();
        }
        play
    }

    /// What was not as expected.
    fn step(&mut self, step: &Step, event: Option<&Event<'static>>) -> Compared {
        self.now = BEGINNING.plus(step.at);
        self.settle();
        let mut acts = Compared::default();
        if let Some(event) = event {
            self.event(event);
            self.settle();
        }
        if let Some(outcome) = &step.run {
            acts.misses.extend(self.run(outcome).err());
            self.settle();
        }
        if let Some(delivered) = step.page {
            acts.misses.extend(self.page(delivered).err());
            self.settle();
        }
        if let Some(operator) = &step.operator {
            acts.misses.extend(self.operator(operator).err());
            self.settle();
        }
        let Some(expect) = &step.expect else { return acts };
        let state = self.driver.shard.scope(DEFAULT_SCOPE);
        let mut compared = compare(expect, &self.book, state.map(|s| s.cmdb.as_ref()));
        compared.misses.splice(0..0, acts.misses);
        compared
    }

    /// For people: where, and what else there is.
    fn failed(&self, scenario: &Scenario, index: usize, compared: Compared, places: &Places<'_>) -> FailedStep {
        let at = scenario.steps.get(index).map(|s| s.at).unwrap_or_default();
        let here = format!("steps/{index}");
        let mut kinds: Vec<&str> = compared.misses.iter().map(Unmet::kind).collect();
        kinds.dedup();
        let there = kinds.iter().flat_map(|kind| self.book.there(kind, &compared.compared)).collect();
        let miss = |unmet: Unmet| {
            let path = format!("{here}/{}", unmet.path);
            Miss {
                place: places.at(scenario.document, &path),
                what: unmet.what,
                expected: unmet.expected,
                found: unmet.found,
            }
        };
        let place = places.at(scenario.document, &here);
        FailedStep { place, step: index + 1, at, misses: compared.misses.into_iter().map(miss).collect(), there }
    }

    /// Everything that is due by now happens, and is written down.
    fn settle(&mut self) {
        self.driver.advance(self.now);
        let finished = self.driver.finish();
        self.book.add(finished);
    }

    fn event(&mut self, event: &Event<'static>) {
        let sifted = sift(&mut self.evaluator, event);
        self.matched(event, &sifted.matches);
        if sifted.goes_on {
            let set = self.evaluator.set().digest;
            let input = EventInput { event: event.clone(), matches: sifted.matches, set };
            self.driver.event(self.now, DEFAULT_SCOPE, input);
        }
    }

    /// Notes which conditions held, as the engine will find, and which steps of `enrich` failed.
    fn matched(&mut self, event: &Event<'static>, matches: &Matches) {
        let cmdb = self.driver.shard.scope(DEFAULT_SCOPE).map(|state| Arc::clone(&state.cmdb)).unwrap_or_default();
        let seen = matches.changes.keep(event);
        self.book.matched(&self.evaluator.with_thresholds(matches.clone(), &seen, &cmdb));
        self.book.enrich_failed(self.evaluator.take_enrich_failures(), self.now);
    }

    fn run(&mut self, told: &Outcome) -> Result<(), Unmet> {
        let in_flight = |row: &&OutboxRow| match &row.order {
            Order::Run(run) => {
                told.playbook.as_ref().is_none_or(|p| *p == run.playbook)
                    && told.target.as_ref().is_none_or(|t| *t == run.target.name)
            }
            Order::Page(_) | Order::Emit(_) => false,
        };
        let Some(mut row) = self.driver.held.iter().find(in_flight).cloned() else {
            let of = told.playbook.as_ref().map(|p| format!(" of {p}")).unwrap_or_default();
            let on = told.target.as_ref().map(|t| format!(" on {t}")).unwrap_or_default();
            return Err(Unmet::of_act("run", format!("one{of}{on} in flight"), self.found_runs()));
        };
        let message = told.message.clone();
        let outcome = match told.outcome {
            RunWord::Succeeded => paramedic_model::Outcome::Succeeded { message, facts: told.facts.clone() },
            RunWord::Failed => paramedic_model::Outcome::Failed { message, never_left: false },
            RunWord::Unknown => {
                // The retries that its playbook may allow are over.
                row.attempts = row.attempts.max(outbox::MAX_ATTEMPTS);
                paramedic_model::Outcome::Unknown { message, retry_after: None }
            }
        };
        self.driver.answer(&row, &outcome, self.now);
        Ok(())
    }

    fn found_runs(&self) -> String {
        let runs: Vec<String> =
            self.book.runs().map(|r| format!("{} on {} ({})", r.playbook, r.target.name, r.state.name())).collect();
        if runs.is_empty() { "no run".to_owned() } else { runs.join(", ") }
    }

    fn page(&mut self, delivered: bool) -> Result<(), Unmet> {
        let row = self.driver.held.iter().find(|row| matches!(row.order, Order::Page(_))).cloned();
        let row = row.ok_or_else(|| Unmet::of_act("page", "one that nobody told about yet".into(), "none".into()))?;
        let message = String::new();
        let outcome = if delivered {
            paramedic_model::Outcome::Succeeded { message, facts: BTreeMap::new() }
        } else {
            paramedic_model::Outcome::Failed { message, never_left: false }
        };
        self.driver.answer(&row, &outcome, self.now);
        Ok(())
    }

    fn operator(&mut self, told: &Operator) -> Result<(), Unmet> {
        let open = self.book.incidents().rev().find(|i| i.state.is_open()).map(|i| i.id);
        let proposed = self.book.runs().find(|r| r.state == RunState::Proposed).map(|r| r.id);
        let incident = || open.ok_or_else(|| Unmet::of_act("operator", "an open incident".into(), "none".into()));
        let run = || proposed.ok_or_else(|| Unmet::of_act("operator", "a proposed run".into(), self.found_runs()));
        let notes = told.notes.clone().unwrap_or_else(|| "as the scenario says".to_owned());
        let act = match told.act {
            Act::Ack => OperatorAct::Acknowledge { incident: incident()? },
            Act::Resolve => {
                let code = told.code.unwrap_or(CloseCode::SolutionProvided);
                OperatorAct::Resolve { incident: incident()?, code, notes }
            }
            Act::Approve => OperatorAct::Approve { run: run()? },
            Act::Reject => OperatorAct::Reject { run: run()?, reason: notes },
        };
        self.acts += 1;
        let by = told.by.clone().unwrap_or_else(|| SOMEBODY.to_owned());
        self.driver.inbox(&NewInbox {
            id: format!("{SOURCE}|{}", self.acts),
            scope: DEFAULT_SCOPE.to_owned(),
            at: self.now,
            body: InboxBody::Operator { by, act },
        });
        Ok(())
    }
}
