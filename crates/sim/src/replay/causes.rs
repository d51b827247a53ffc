//! Which events of the input are behind what was decided: the event itself, or, where a timer fired, what armed it.

use std::collections::BTreeMap;
use std::sync::Arc;

use paramedic_engine::{Decided, Decision, Mark};
use paramedic_model::{Id, Incident, TimerKind, Timestamp, Window, WindowBody};
use serde::Serialize;
use serde_json::{Value, json};

/// The lines of a batch's events, by scope, stamp and input id: an id may come again.
pub(super) type Lines = BTreeMap<(Arc<str>, Timestamp, String), u64>;

/// An event of the input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EventRef {
    /// Its line in the input, from 1.
    pub line: u64,
    /// Its id; of one without, a digest of what it says.
    pub id: String,
}

/// What has opened an incident.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cause {
    /// The event; of what a timer opened, the one that armed it. A schedule has none, nor has a CI that was never heard.
    pub(super) event: Option<EventRef>,
    /// When the timer was armed, where one opened it; of a schedule, when it was due.
    pub(super) armed: Option<Timestamp>,
}

impl Cause {
    /// What of it there is, as members of a report's object.
    pub(super) fn tell(&self, told: &mut Value) {
        if let Some(event) = &self.event {
            told["by_event"] = json!(event);
        }
        if let Some(armed) = &self.armed {
            told["armed_at"] = json!(armed);
        }
    }
}

/// What armed a window.
#[derive(Clone, Debug)]
struct Arming {
    event: Option<EventRef>,
    at: Timestamp,
}

/// What the windows of a rule set were armed by. As many as there are windows, which the engine bounds.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// By the input that the window's timer is when it fires.
    armed: BTreeMap<String, Arming>,
    /// Windows that were closed by this input, which may still open something.
    input: Arc<str>,
    gone: Vec<String>,
}

impl Causes {
    /// Takes a decision, in order; `lines` has the events of the batch.
    pub(super) fn take(&mut self, scope: &Arc<str>, decided: &Decided, lines: &Lines) {
        let input = &decided.because.input;
        if *input != self.input {
            self.input = Arc::clone(input);
            self.gone.drain(..).for_each(|window| _ = self.armed.remove(&window));
        }
        match &decided.decision {
            Decision::Mark(Mark::WindowChanged { window }) => {
                let timer = timer_of(window.id);
                if let Some(at) = self.gone.iter().position(|gone| *gone == timer) {
                    // It was closed, and begins anew.
                    self.gone.swap_remove(at);
                    self.armed.remove(&timer);
                }
                // Each sign of life is waited for anew; all others wait since the first.
                let anew = matches!(window.body, WindowBody::Absent { .. } | WindowBody::Feed { silent: false, .. });
                let armed =
                    anew || !self.armed.contains_key(&timer) && !matches!(window.body, WindowBody::Schedule { .. });
                if armed {
                    let absent = self.absent(scope, &window.rulebook, &window.rule, &window.by).cloned();
                    let event = event(scope, decided, lines);
                    self.armed.insert(timer, absent.unwrap_or(Arming { event, at: decided.at }));
                }
            }
            Decision::Mark(Mark::WindowGone { window }) => self.gone.push(timer_of(*window)),
            _ => {}
        }
    }

    /// What armed the wait for somebody who is absent, as this input has shown. The progress of a feed shows it; what is
    /// meant is who was not heard since.
    fn absent(&self, scope: &str, rulebook: &str, rule: &str, by: &[Value]) -> Option<&Arming> {
        let timer = timer_of(Window::id_of(scope, rulebook, rule, Window::ABSENT, by));
        self.armed.get(&timer).filter(|_| self.gone.contains(&timer))
    }

    /// What has opened an incident.
    pub(super) fn of(&self, scope: &Arc<str>, decided: &Decided, incident: &Incident, lines: &Lines) -> Cause {
        let absent = self.absent(scope, &incident.rulebook, &incident.rule, &incident.by);
        if let Some(arming) = absent.or_else(|| self.armed.get(&*decided.because.input)) {
            return Cause { event: arming.event.clone(), armed: Some(arming.at) };
        }
        let by_timer = decided.because.input.starts_with(TIMER);
        Cause { event: event(scope, decided, lines), armed: by_timer.then_some(decided.at) }
    }
}

/// How the ids of timers begin, as inputs.
const TIMER: &str = "timer|";

/// The id of a window's timer as an input.
fn timer_of(window: Id) -> String {
    format!("{TIMER}{}", TimerKind::Window.id(window))
}

/// The event that a decision was made for, if it was one.
pub(super) fn event(scope: &Arc<str>, decided: &Decided, lines: &Lines) -> Option<EventRef> {
    let input: &str = &decided.because.input;
    let line = lines.get(&(Arc::clone(scope), decided.at, input.to_owned()))?;
    let id = input.split_once('|').map_or(input, |(_, id)| id);
    Some(EventRef { line: *line, id: id.to_owned() })
}
