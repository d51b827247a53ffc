//! Sources that are away or stopped: what they do not say is no evidence, and judgements that rest on it wait.

use paramedic_model::{Id, Incident, NEVER_REACHED, Span, TimerKind, WindowBody};

use super::Cx;

/// A judgement that waits is asked again after so long.
const ASK_AGAIN: Span = Span::from_secs(60);

impl Cx<'_> {
    fn is_blind_to(&self, source: &str) -> bool {
        self.away.sources.iter().any(|away| away == source || away == NEVER_REACHED)
    }

    /// Whether a source that an incident heard from is away.
    fn is_blind_for(&self, incident: &Incident) -> bool {
        if self.away.sources.is_empty() {
            return false;
        }
        let mut sources = incident.event.iter().map(|e| &*e.source).chain(incident.alerts.iter().map(|a| &*a.source));
        // Of a remedy that spreads: who told that a target is well would tell, too, that it is not.
        let shown = self.state.current_runs(incident).filter_map(|run| run.evidence.as_ref());
        let mut of_targets = shown.filter_map(|seen| Some(seen.input.split_once('|')?.0));
        sources.any(|source| self.is_blind_to(source)) || of_targets.any(|source| self.is_blind_to(source))
    }

    /// A timer of an incident is due whose judgement rests on what was not heard: with a source of it away, it waits.
    pub(super) fn waits_for_source(&mut self, id: Id, what: TimerKind) -> bool {
        let waits = self.state.incidents.get(&id).is_some_and(|i| i.state.is_open() && self.is_blind_for(i));
        if waits {
            self.ask_again(id, what);
        }
        waits
    }

    /// As [`Cx::waits_for_source`], of a window: `for`, `clear: { quiet }`, members of which one did not come.
    pub(super) fn window_waits_for_source(&mut self, id: Id, body: &WindowBody) -> bool {
        let waits = self.is_blind_to_window(body);
        if waits {
            self.ask_again(id, TimerKind::Window);
        }
        waits
    }

    pub(super) fn is_blind_to_window(&self, body: &WindowBody) -> bool {
        match body {
            WindowBody::Holds { last, fired: false, .. } | WindowBody::Quiet { last, .. } => {
                self.is_blind_to(&last.source)
            }
            WindowBody::Members { came, .. } => came.iter().flatten().any(|event| self.is_blind_to(&event.source)),
            _ => false,
        }
    }

    fn ask_again(&mut self, id: Id, what: TimerKind) {
        self.ignore("a source is away");
        // Not once for each minute of an outage that the clock jumps over.
        self.set_timer(id, what, self.away.until.max(self.now).plus(ASK_AGAIN));
    }
}
