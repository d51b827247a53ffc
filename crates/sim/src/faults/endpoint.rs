//! Playbook endpoints and notifiers in simulation, with their own record of what was asked and what was done.

use std::collections::{BTreeMap, BTreeSet};

use paramedic_model::{Id, Outcome, Span, Timestamp};

use super::dice::Dice;
use super::fault::Fault;

/// How long a client waits for a reply.
const CLIENT_WAITS: Span = Span::from_secs(10);

/// What an endpoint knows of a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) playbook: String,
    pub(super) target: Id,
    pub(super) body: String,
    /// Requests that came in.
    pub(super) requests: u32,
    /// It changed something.
    pub(super) effects: u32,
    /// It has told that it failed, in a reply or in a job's status.
    pub(super) said_failed: bool,
    /// An accepted job: when it ends, and how.
    job: Option<(Option<Timestamp>, bool)>,
}

/// What comes of a request.
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    /// After so long.
    pub(super) after: Span,
    /// The target was changed.
    pub(super) healed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Endpoints {
    pub(super) known: BTreeMap<Id, Known>,
    /// Keys that are being worked on, by target, each until when; `None`: until somebody looks.
    working: BTreeMap<Id, BTreeMap<Id, Option<Timestamp>>>,
    /// Pages that a notifier took.
    pub(super) pages: BTreeMap<Id, u32>,
    /// Events that the broker took.
    pub(super) emits: BTreeMap<Id, u32>,
}

pub(super) fn succeeded(message: &str) -> Outcome {
    Outcome::Succeeded { message: message.to_owned(), facts: BTreeMap::new() }
}

fn unknown(message: &str) -> Outcome {
    Outcome::Unknown { message: message.to_owned(), retry_after: None }
}

pub(super) fn failed(message: &str, never_left: bool) -> Outcome {
    Outcome::Failed { message: message.to_owned(), never_left }
}

impl Endpoints {
    /// Others that are being worked on, on this target.
    pub(super) fn others_working(&self, target: Id, key: Id, now: Timestamp) -> BTreeSet<Id> {
        let all = self.working.get(&target).into_iter().flatten();
        all.filter(|(other, until)| **other != key && until.is_none_or(|at| now < at))
            .map(|(other, _)| *other)
            .collect()
    }

    /// Somebody looked, and it is not being worked on any more.
    pub(super) fn ended(&mut self, key: Id) {
        for keys in self.working.values_mut() {
            keys.remove(&key);
        }
    }

    fn work(&mut self, target: Id, key: Id, until: Option<Timestamp>) {
        self.working.entry(target).or_default().insert(key, until);
    }

    /// A request for a playbook comes in.
    pub(super) fn run(
        &mut self,
        dice: &mut Dice,
        now: Timestamp,
        (key, playbook, target): (Id, &str, Id),
        body: &str,
        calm: bool,
        hit: &mut dyn FnMut(Fault),
    ) -> Answer {
        let soon = dice.millis(5, 3_000);
        let answer = |outcome, healed| Answer { outcome, after: soon, healed };
        let roll = if calm { dice.roll(70) } else { dice.roll(100) };
        if (70..76).contains(&roll) {
            hit(Fault::ConnectionRefused);
            return answer(failed("connection refused", true), false);
        }
        let known = self.known.entry(key).or_default();
        known.requests += 1;
        if known.requests == 1 {
            (known.playbook, known.target, known.body) = (playbook.to_owned(), target, body.to_owned());
        }
        // An endpoint that honours keys does nothing twice.
        let does = playbook != "grow" || known.effects == 0;
        if !does {
            return answer(succeeded("it was done already"), false);
        }
        let until = Some(now.plus(soon));
        if (45..58).contains(&roll) || roll >= 95 {
            // Its word for an earlier request, too: whatever that began is over.
            self.ended(key);
        }
        let Some(known) = self.known.get_mut(&key) else { return answer(unknown("no such key"), false) };
        match roll {
            0..45 => {
                known.effects += 1;
                self.work(target, key, until);
                answer(succeeded("done"), true)
            }
            45..58 => {
                hit(Fault::EndpointFails);
                known.said_failed = true;
                answer(failed("it did not work", false), false)
            }
            58..70 => {
                let (ends, ok) = (now.plus(dice.millis(500, 15_000)), !dice.one_in(4));
                known.job = Some((Some(ends), ok));
                known.effects += u32::from(ok);
                self.work(target, key, Some(ends));
                answer(accepted(key), ok)
            }
            76..82 => {
                hit(Fault::EndpointHangs);
                let acts = dice.one_in(2);
                known.effects += u32::from(acts);
                // It may go on for long after its client has given up.
                let until = if dice.one_in(2) { Some(now.plus(dice.millis(1_000, 60_000))) } else { None };
                if acts {
                    self.work(target, key, until);
                }
                Answer { outcome: unknown("no reply in time"), after: CLIENT_WAITS, healed: acts }
            }
            82..90 => {
                hit(Fault::ReplyLost);
                known.effects += 1;
                self.work(target, key, until);
                answer(unknown("the connection was cut"), true)
            }
            90..95 => {
                hit(Fault::JobNeverEnds);
                known.job = Some((None, false));
                self.work(target, key, None);
                answer(accepted(key), false)
            }
            _ => {
                hit(Fault::EndpointLies);
                answer(succeeded("done, it says"), false)
            }
        }
    }

    /// An accepted job is asked about.
    pub(super) fn poll(&mut self, key: Id, now: Timestamp) -> Outcome {
        let Some(known) = self.known.get_mut(&key) else { return failed("no such job", false) };
        match known.job {
            Some((Some(ends), ok)) if ends <= now => {
                known.said_failed |= !ok;
                if ok { succeeded("the job is done") } else { failed("the job failed", false) }
            }
            _ => accepted(key),
        }
    }

    /// A page comes in.
    pub(super) fn page(&mut self, dice: &mut Dice, key: Id, calm: bool, hit: &mut dyn FnMut(Fault)) -> (Outcome, Span) {
        let soon = dice.millis(5, 1_500);
        let roll = if calm { 0 } else { dice.roll(20) };
        if roll >= 18 {
            hit(Fault::PageFails);
            return (failed("connection refused", true), soon);
        }
        *self.pages.entry(key).or_default() += 1;
        match roll {
            0..15 => (succeeded("taken"), soon),
            15 => {
                hit(Fault::PageFails);
                (failed("403", false), soon)
            }
            _ => (unknown("no reply in time"), CLIENT_WAITS),
        }
    }

    /// An event comes in at the broker.
    pub(super) fn emit(&mut self, dice: &mut Dice, key: Id, calm: bool, hit: &mut dyn FnMut(Fault)) -> (Outcome, Span) {
        let soon = dice.millis(1, 700);
        let roll = if calm { 0 } else { dice.roll(20) };
        if roll >= 17 {
            hit(Fault::BrokerAwayForEmit);
            return (failed("no broker took it within 600 ms", true), soon);
        }
        *self.emits.entry(key).or_default() += 1;
        if roll < 15 {
            return (succeeded("partition 0, offset 0"), soon);
        }
        hit(Fault::EmitUnanswered);
        (unknown("the broker did not answer"), CLIENT_WAITS)
    }
}

fn accepted(key: Id) -> Outcome {
    Outcome::Accepted { job: format!("http://box/jobs/{key}"), retry_after: Span::from_secs(2) }
}
