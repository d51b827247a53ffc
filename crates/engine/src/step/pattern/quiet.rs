//! `clear: { quiet }`: recovery of what never resolves is that nothing matched for so long, while its source was heard.

use paramedic_model::{Kept, Span, TimerKind, Timestamp, Window, WindowBody};

use super::{Cx, Hit, Which};
use crate::step::event::key_of;

impl Cx<'_> {
    /// It matched: the time of quiet begins anew.
    pub(super) fn on_noise(&mut self, which: &Which, hit: Hit<'_>, span: Span) {
        let id = self.window_id(which, Window::QUIET);
        let is_first = !self.state.windows.contains_key(&id);
        self.put_window(id, which, WindowBody::Quiet { last: Kept::of(hit.event), at: self.now });
        if is_first {
            self.set_timer(id, TimerKind::Window, self.now.plus(span));
        }
    }

    /// It may have been quiet for long enough.
    pub(super) fn on_quiet_due(&mut self, window: &Window, which: &Which, last: &Kept, at: Timestamp, span: Span) {
        let due = at.plus(span);
        if due > self.now {
            return self.set_timer(window.id, TimerKind::Window, due);
        }
        self.end_window(window.id);
        let alert = key_of(last);
        self.clear_windows(which, last);
        if let Some(id) = self.open_incident_of(which, Hit::of(last, &alert)) {
            let reason = format!("no match for {span}");
            if self.has_cleared(id, which, &reason) {
                self.on_recovery(id, reason, self.now);
            }
        }
    }
}
