//! `/metrics`: what the process counted, and what the store holds.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use paramedic_store::{Counts, Store};
use prometheus::TextEncoder;

use crate::app::App;
use crate::error::ApiError;

/// The store is asked at most once in this time.
const KEPT: Duration = Duration::from_secs(1);

/// What the store held when it was last asked.
#[derive(Default)]
pub(crate) struct Gauges(Mutex<Option<(Instant, Option<Counts>)>>);

impl Gauges {
    fn counts(&self, store: &dyn Store) -> Option<Counts> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, counts)) = &*kept
            && at.elapsed() < KEPT
        {
            return counts.clone();
        }
        let counts = store.counts();
        let counts = counts.inspect_err(|e| tracing::warn!(error = %e, "the store is not counted")).ok();
        *kept = Some((Instant::now(), counts.clone()));
        counts
    }
}

/// `GET /metrics`, in Prometheus' text format 0.0.4.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let text = app.blocking(text).await?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

fn text(app: &App) -> Result<String, ApiError> {
    let families = app.registry.gather();
    let names: BTreeSet<&str> = families.iter().map(prometheus::proto::MetricFamily::name).collect();
    let counts = app.gauges.counts(&*app.store);
    let mut text = TextEncoder::new().encode_to_string(&families).map_err(|e| {
        tracing::error!(error = %e, "the metrics cannot be written");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written")
    })?;
    for family in held(counts.as_ref()) {
        // A family that stands twice makes the whole scrape unreadable.
        if !names.contains(family.name) {
            family.write(&mut text);
        }
    }
    Ok(text)
}

/// A gauge by hand: its labels come from our own enums, so that nothing needs escaping.
struct Family {
    name: &'static str,
    help: &'static str,
    /// Labels with braces, and the value.
    values: Vec<(String, u64)>,
}

impl Family {
    fn write(&self, out: &mut String) {
        let _ = writeln!(out, "# HELP {} {}\n# TYPE {} gauge", self.name, self.help, self.name);
        for (labels, value) in &self.values {
            let _ = writeln!(out, "{}{labels} {value}", self.name);
        }
    }
}

fn held(counts: Option<&Counts>) -> Vec<Family> {
    let up = vec![(String::new(), u64::from(counts.is_some()))];
    let mut families = vec![Family { name: "paramedic_store_up", help: "Whether the store answers.", values: up }];
    let Some(counts) = counts else { return families };
    let incidents = counts.incidents.iter();
    let outbox = counts.outbox.iter();
    families.push(Family {
        name: "paramedic_incidents",
        help: "Incidents by state and priority.",
        values: incidents
            .map(|(state, priority, n)| (format!("{{state=\"{}\",priority=\"{priority}\"}}", state.name()), *n))
            .collect(),
    });
    families.push(Family {
        name: "paramedic_outbox_rows",
        help: "Outbox rows by state.",
        values: outbox.map(|(state, n)| (format!("{{state=\"{state}\"}}"), *n)).collect(),
    });
    families.push(Family {
        name: "paramedic_dead_letters_kept",
        help: "Dead letters in the store.",
        values: vec![(String::new(), counts.dead_letters)],
    });
    families
}
