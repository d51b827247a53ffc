//! What is told of a row's moves: metrics and the log.

use paramedic_model::{GuardSays, Order, OutboxRow, OutboxState};

use crate::clock::wall;
use crate::metrics::Metrics;

/// Counts a move of a row, and the guards that held it back.
pub(super) fn count(metrics: &Metrics, row: &OutboxRow, next: &OutboxRow) {
    for verdict in &next.verdicts {
        let says = match verdict.says {
            GuardSays::Allow => continue,
            GuardSays::Defer(_) => "defer",
            GuardSays::Deny => "deny",
        };
        if next.verdicts != row.verdicts {
            metrics.guards.with_label_values(&[verdict.guard.as_str(), says]).inc();
        }
    }
    if row.state == next.state {
        return;
    }
    match &next.order {
        Order::Run(run) => {
            metrics.runs.with_label_values(&[run.playbook.as_str(), next.state.name()]).inc();
            if next.state == OutboxState::Started {
                let waited = wall().since(run.released_at.unwrap_or(run.decided_at)).as_secs_f64();
                metrics.event_to_dispatch.observe(waited.max(0.0));
            }
        }
        Order::Page(_) => metrics.pages.with_label_values(&[next.state.name()]).inc(),
        Order::Emit(emit) => {
            metrics.emits.with_label_values(&[emit.topic.as_str(), next.state.name()]).inc();
        }
    }
}

/// Tells what a reply came to.
pub(super) fn log(row: &OutboxRow, next: &OutboxRow) {
    let message = next.message.as_deref().unwrap_or_default();
    match &next.order {
        Order::Run(run) => {
            let (playbook, target) = (run.playbook.as_str(), run.target.name.as_str());
            let state = next.state.name();
            if next.state == OutboxState::Unknown {
                tracing::warn!(key = %row.key, playbook, target, state, message, "run");
            } else {
                tracing::info!(key = %row.key, playbook, target, state, message, "run");
            }
        }
        Order::Page(page) => {
            tracing::info!(key = %row.key, to = page.to, state = next.state.name(), message, "page");
        }
        Order::Emit(emit) if next.state == OutboxState::Succeeded => {
            tracing::debug!(key = %row.key, topic = emit.topic, message, "emit");
        }
        Order::Emit(emit) => {
            tracing::warn!(key = %row.key, topic = emit.topic, state = next.state.name(), message, "emit");
        }
    }
}
