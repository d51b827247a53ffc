//! `once`: actions other than incidents happen once in a while for each `by`; further ones are counted.

use paramedic_model::{TimerKind, Window, WindowBody};

use super::{Cx, Hit, Which};

impl Cx<'_> {
    /// Whether the rule may act now. If so, it may not again before its time is over, or it is cleared.
    pub(in crate::step) fn may_act(&mut self, which: &Which, hit: Hit<'_>) -> bool {
        let Some(span) = which.rule().once else { return true };
        let id = self.window_id(which, Window::ONCE);
        if let Some(WindowBody::Once { until, further }) = self.state.windows.get(&id).map(|w| w.body.clone()) {
            self.put_window(id, which, WindowBody::Once { until, further: further + 1 });
            return false;
        }
        let until = self.now.plus(span);
        self.put_window(id, which, WindowBody::Once { until, further: 0 });
        self.set_timer(id, TimerKind::Window, until);
        self.hold_alert(id, hit.alert);
        true
    }
}
