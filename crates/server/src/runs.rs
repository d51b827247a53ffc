//! Runs, with what the outbox knows about them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use paramedic_engine::outbox::incident_number;
use paramedic_model::{Id, OutboxRow, Run, RunState};
use paramedic_store::{RunFilter, Store};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Params, limit};
use crate::incidents;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    state: Option<String>,
    incident: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/runs`: newest first.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(query): Params<ListQuery>,
) -> Result<Json<Value>, ApiError> {
    let states = states(query.state.as_deref().unwrap_or_default())?;
    let limit = limit(query.limit)?;
    let runs = app
        .blocking(move |app| {
            let named = query.incident.filter(|name| !name.is_empty());
            let incident = named.map(|name| incidents::find(&*app.store, &name)).transpose()?.map(|i| i.id);
            let runs = app.store.runs(&RunFilter { incident, states, limit })?;
            let mut numbers = BTreeMap::new();
            for run in &runs {
                if let Entry::Vacant(place) = numbers.entry(run.incident) {
                    place.insert(number_of(&*app.store, run.incident)?);
                }
            }
            let shown = runs.iter().map(|run| with_number(run, numbers.get(&run.incident).cloned().flatten()));
            Ok(shown.collect::<Vec<Value>>())
        })
        .await?;
    Ok(Json(json!({"runs": runs})))
}

fn states(text: &str) -> Result<Vec<RunState>, ApiError> {
    let state = |word: &str| {
        RunState::ALL.into_iter().find(|s| s.name() == word).ok_or_else(|| {
            ApiError::bad_request(format!("state={word}: no such state"))
                .help(format!("one or more of {}, with commas between", RunState::ALL.map(RunState::name).join(", ")))
        })
    };
    text.split(',').filter(|w| !w.is_empty()).map(state).collect()
}

fn number_of(store: &dyn Store, incident: Id) -> Result<Option<String>, ApiError> {
    Ok(store.incident(incident)?.and_then(|i| i.number).map(incident_number))
}

fn with_number(run: &Run, number: Option<String>) -> Value {
    let mut value = json!(run);
    value["incident_number"] = json!(number);
    value
}

/// A run, and its row in the outbox where it has one.
pub(crate) struct KnownRun {
    pub(crate) run: Run,
    pub(crate) row: Option<OutboxRow>,
}

pub(crate) fn known_run(store: &dyn Store, run: Run) -> Result<KnownRun, ApiError> {
    let row = store.outbox_of(run.id)?;
    Ok(KnownRun { run, row })
}

/// The run that a person names.
pub(crate) fn find(store: &dyn Store, name: &str) -> Result<Run, ApiError> {
    let id: Id = name.parse().map_err(|_| {
        let shown: String = name.chars().take(80).collect();
        ApiError::bad_request(format!("{shown:?} names no run")).help("a run's id, or its key, has 32 hex digits")
    })?;
    if let Some(run) = store.run(id)? {
        return Ok(run);
    }
    // A playbook's owner knows it by its key: the request's Idempotency-Key.
    let by_key = store.outbox_get(id)?.map(|row| row.1.order.id());
    let run = by_key.map(|id| store.run(id)).transpose()?.flatten();
    run.ok_or_else(|| ApiError::not_found(format!("there is no run {name}")))
}

/// `GET /api/v1/runs/{run}`.
pub(crate) async fn show(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    app.blocking(move |app| whole(&*app.store, &name)).await.map(Json)
}

/// A run with its row in the outbox, for the API.
pub(crate) fn whole(store: &dyn Store, name: &str) -> Result<Value, ApiError> {
    let known = known_run(store, find(store, name)?)?;
    let number = number_of(store, known.run.incident)?;
    Ok(json!({"run": with_number(&known.run, number), "outbox": outbox(known.row.as_ref())}))
}

/// A run, with `outbox` as one of its members.
pub(crate) fn run_with_outbox(known: &KnownRun) -> Value {
    let mut value = json!(known.run);
    value["outbox"] = outbox(known.row.as_ref());
    value
}

fn outbox(row: Option<&OutboxRow>) -> Value {
    let Some(row) = row else { return Value::Null };
    json!({
        "key": row.key,
        "state": row.state,
        "attempts": row.attempts,
        "released_at": row.released_at,
        "not_before": row.not_before,
        "started_at": row.started_at,
        "verdicts": row.verdicts,
        "job": row.job,
        "message": row.message,
    })
}
