//! The law of the core: the state after a step is the state before it with every decision applied in order.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use paramedic_model::CmdbDelta;
use paramedic_rulebook::RuleSet;
use proptest::test_runner::{Config, TestRunner};

use super::restart::{Happens, Op, happens, history, random_sets};
use super::world::{SCOPE, same, server, stored};
use crate::decision::{Decided, Decision, Mark, Step};
use crate::state::State;
use crate::step::{Away, Engine, Input, Limits};

const STEPS: usize = 28;
const MARKS: usize = 15;

/// A number for each kind of decision: a new kind does not compile without one, and is then missed by the test.
fn kind(decision: &Decision) -> usize {
    match decision {
        Decision::Step(step) => match step {
            Step::IncidentOpened { .. } => 0,
            Step::IncidentMoved { .. } => 1,
            Step::IncidentRaised { .. } => 2,
            Step::AlertJoined { .. } => 3,
            Step::Acknowledged { .. } => 4,
            Step::EvidenceSeen { .. } => 5,
            Step::EvidenceLost { .. } => 6,
            Step::RunDecided { .. } => 7,
            Step::RemedySkipped { .. } => 8,
            Step::RunReleased { .. } => 9,
            Step::RunRejected { .. } => 10,
            Step::RunWithdrawn { .. } => 11,
            Step::RunReported { .. } => 12,
            Step::RunJudged { .. } => 13,
            Step::RemediesFailed { .. } => 14,
            Step::PageDecided { .. } => 15,
            Step::PageReported { .. } => 16,
            Step::CmdbChanged { .. } => 17,
            Step::RulesChanged { .. } => 18,
            Step::Operator { .. } => 19,
            Step::RuleContributes { .. } => 20,
            Step::Suppressed { .. } => 21,
            Step::EmitDecided { .. } => 22,
            Step::EmitReported { .. } => 23,
            Step::Noted { .. } => 24,
            Step::SpreadDecided { .. } => 25,
            Step::TargetRecovered { .. } => 26,
            Step::TargetLost { .. } => 27,
        },
        Decision::Mark(mark) => {
            STEPS
                + match mark {
                    Mark::Seen { .. } => 0,
                    Mark::Repeat { .. } => 1,
                    Mark::AlertOpened { .. } => 2,
                    Mark::AlertSeen { .. } => 3,
                    Mark::AlertCounts { .. } => 4,
                    Mark::AlertClosed { .. } => 5,
                    Mark::ResolveParked { .. } => 6,
                    Mark::ParkedMet { .. } => 7,
                    Mark::Forgotten { .. } => 8,
                    Mark::Matched { .. } => 9,
                    Mark::TimerSet { .. } => 10,
                    Mark::TimerGone { .. } => 11,
                    Mark::Ignored { .. } => 12,
                    Mark::WindowChanged { .. } => 13,
                    Mark::WindowGone { .. } => 14,
                }
        }
    }
}

/// These change nothing, by what they are.
fn changes_nothing(decision: &Decision) -> bool {
    matches!(
        decision,
        Decision::Step(Step::Operator { .. } | Step::Suppressed { .. }) | Decision::Mark(Mark::Ignored { .. })
    )
}

/// One scope, without a shard.
struct Alone {
    engine: Engine,
    state: State,
    sets: Vec<Arc<RuleSet>>,
    active: usize,
    /// By kind: how many were decided, how many of them changed the state.
    tally: RefCell<BTreeMap<usize, (usize, usize)>>,
}

impl Alone {
    fn new(sets: Vec<Arc<RuleSet>>) -> Self {
        let mut engine = Engine::new(Limits { open_incidents: 4, windows: 3 });
        sets.iter().for_each(|set| engine.learn(Arc::clone(set)));
        let mut state = State::default();
        state.head.set = sets[0].digest;
        Self { engine, state, sets, active: 0, tally: RefCell::default() }
    }

    /// Steps, and asserts the law, as decided and as stored.
    fn step(&mut self, id: &str, input: &Input, now: paramedic_model::Timestamp) {
        let before = self.state.clone();
        let decided = self.engine.step(&mut self.state, SCOPE, id, input, now, Away { sources: &[], until: now });
        let (mut applied, mut read_back) = (before.clone(), before);
        for one in &decided {
            let was = applied.clone();
            applied.apply(one);
            let mut tally = self.tally.borrow_mut();
            let (decided, changed) = tally.entry(kind(&one.decision)).or_default();
            *decided += 1;
            *changed += usize::from(applied != was);
            let from_store: Decided = stored(one);
            assert_eq!(&from_store, one);
            read_back.apply(&from_store);
        }
        same(id, &self.state, &applied);
        same(id, &self.state, &read_back);
    }

    fn run(&mut self, ops: &[Op]) {
        let cis = ["web-1", "web-2"].map(|name| server(SCOPE, name)).to_vec();
        let first = Input::Cmdb(CmdbDelta { by: "test".into(), cis, relations: vec![] });
        let mut now = super::world::t("0s");
        self.step("first", &first, now);
        for (n, op) in ops.iter().enumerate() {
            now = now.plus(op.wait);
            while let Some((due, timer)) = self.state.due.first().copied().filter(|(due, _)| *due <= now) {
                let timer = self.state.timers.get(&timer).unwrap().clone();
                self.step(&format!("timer|{}", timer.id), &Input::TimerDue(timer), due);
            }
            match happens(op, n, &self.state, &self.sets, self.active, now) {
                Happens::Nothing => {}
                Happens::Event(event) => {
                    let id = crate::event_input_id(&event.event);
                    self.step(&id, &Input::Event(event), now);
                }
                Happens::Inbox(body) => {
                    let Some(input) = Input::from_inbox(&body) else { continue };
                    if let Input::RulebooksPublished(set) = input {
                        self.active = self.sets.iter().position(|s| s.digest == set).unwrap();
                    }
                    self.step(&format!("inbox-{n}"), &input, now);
                }
            }
        }
    }
}

#[test]
fn the_state_after_a_step_is_the_state_before_with_its_decisions_applied() {
    let sets = random_sets();
    let all: RefCell<BTreeMap<usize, (usize, usize)>> = RefCell::default();
    let config = Config { cases: 192, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let outcome = runner.run(&history(1, 1..90), |ops| {
        let mut alone = Alone::new(sets.clone());
        alone.run(&ops);
        for (kind, (decided, changed)) in alone.tally.take() {
            let mut all = all.borrow_mut();
            let (a, b) = all.entry(kind).or_default();
            *a += decided;
            *b += changed;
        }
        Ok(())
    });
    if let Err(failed) = outcome {
        panic!("{failed}");
    }
    let all = all.take();
    let decided: BTreeSet<usize> = all.keys().copied().collect();
    let every: BTreeSet<usize> = (0..STEPS + MARKS).collect();
    assert_eq!(every.difference(&decided).collect::<Vec<_>>(), [&0usize; 0], "kinds that were never decided");
    let silent: Vec<usize> = all.iter().filter(|(_, (_, changed))| *changed == 0).map(|(kind, _)| *kind).collect();
    assert_eq!(silent, [19, 21, STEPS + 12], "only these change nothing");
}

#[test]
fn what_changes_nothing_is_known_by_name() {
    let operator = Step::Operator { act: "halt".into(), by: "ann".into(), why: "fire".into(), run: None, rewind: None };
    let ignored = Mark::Ignored { why: "no match".into() };
    for decision in [Decision::Step(operator), Decision::Mark(ignored)] {
        assert!(changes_nothing(&decision));
        let mut state = State::default();
        let at = super::world::t("0s");
        state.apply(&Decided { id: paramedic_model::Id::default(), at, because: crate::Because::default(), decision });
        assert_eq!(state, State::default());
    }
}
