//! A store that may lack the end of what once was: shown, worked off run by run, and ended by a person.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use paramedic_engine::outbox::{self, waits_for_clearing};
use paramedic_model::{OperatorAct, Order, OutboxRow, OutboxState, RunState};
use paramedic_store::{OutboxMove, Recovered, StoreError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::acts::{Effect, Wait, answer};
use crate::app::{App, now};
use crate::error::ApiError;
use crate::extract::{Given, Params, limit, person, words};
use crate::halts::remember;
use crate::runs;

/// Rows that are looked through for runs that wait.
const LOOKED_AT: usize = 100_000;
/// How often a clearing is tried against a dispatcher that moves the row meanwhile.
const TRIES: usize = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    by: String,
    reason: String,
}

/// Still to be sent, for the first time or again.
fn is_to_leave(row: &OutboxRow) -> bool {
    match row.state {
        OutboxState::Pending | OutboxState::Deferred => true,
        OutboxState::Started => row.not_before.is_some(),
        _ => false,
    }
}

fn waits(row: &OutboxRow, recovered: &Recovered) -> bool {
    is_to_leave(row) && waits_for_clearing(row, Some(recovered.at))
}

/// `GET /api/v1/recovered`: whether it is so, and which runs wait, oldest release first.
pub(crate) async fn show(State(app): State<Arc<App>>, Params(query): Params<Query>) -> Result<Json<Value>, ApiError> {
    let most = limit(query.limit)?;
    app.blocking(move |app| {
        let Some(recovered) = app.store.recovered()? else {
            return Ok(Json(json!({"recovered": null, "waiting": 0, "runs": []})));
        };
        let states = [OutboxState::Pending, OutboxState::Deferred, OutboxState::Started];
        let rows = app.store.outbox_list(&states, LOOKED_AT)?;
        let waiting: Vec<&OutboxRow> = rows.iter().filter(|row| waits(row, &recovered)).collect();
        let runs = waiting.iter().take(most).map(|row| shown(app, row)).collect::<Result<Vec<_>, _>>()?;
        Ok(Json(json!({"recovered": recovered, "waiting": waiting.len(), "runs": runs})))
    })
    .await
}

fn shown(app: &App, row: &OutboxRow) -> Result<Value, ApiError> {
    let Order::Run(run) = &row.order else { return Ok(Value::Null) };
    let number = app.store.incident(run.incident)?.and_then(|i| i.number).map(outbox::incident_number);
    Ok(json!({
        "run": run.id,
        "key": row.key,
        "incident": run.incident,
        "incident_number": number,
        "playbook": run.playbook,
        "target": run.target.name,
        "effect": run.effect,
        "state": row.state,
        "released_at": row.released_at,
    }))
}

/// Lets a run go that waits for that. `false`: it does not, and is to be approved like any other.
pub(crate) fn clear(app: &App, name: &str, by: &str) -> Result<bool, ApiError> {
    let Some(recovered) = app.store.recovered()? else { return Ok(false) };
    let run = runs::find(&*app.store, name)?;
    for _ in 0..TRIES {
        let Some(row) = app.store.outbox_of(run.id)?.filter(|row| waits(row, &recovered)) else { return Ok(false) };
        let Some((next, entry)) = outbox::clear(&row, by, now()) else { return Ok(false) };
        let change = OutboxMove { key: row.key, from: row.state, row: next, fence: None, inbox: vec![entry] };
        match app.store.outbox_move(&change) {
            // The dispatcher was faster: it asks its guards again and again.
            Err(StoreError::Conflict { .. }) => {}
            done => return Ok(done.map(|()| true)?),
        }
    }
    Err(ApiError::overloaded("the run's request was moved at the same time, again and again"))
}

/// Answers an approval that cleared a run.
pub(crate) async fn cleared(app: &Arc<App>, wait: &Wait, name: String) -> Result<Response, ApiError> {
    answer(app, wait, json!({"accepted": true}), move |app| {
        let run = runs::find(&*app.store, &name)?;
        Ok(match app.store.outbox_of(run.id)? {
            Some(row) if is_to_leave(&row) => Effect::NotYet,
            _ if run.state == RunState::Pending => Effect::NotYet,
            _ => Effect::Seen(runs::whole(&*app.store, &name)?),
        })
    })
    .await
}

/// `DELETE /api/v1/recovered`: it counts as whole again; what still waits goes, where it is not too old.
pub(crate) async fn end(State(app): State<Arc<App>>, Given(given): Given<End>) -> Result<Json<Value>, ApiError> {
    let by = person(&given.by)?;
    let reason = words("reason", &given.reason)?;
    app.blocking(move |app| {
        let Some(recovered) = app.store.recovered()? else {
            return Err(ApiError::not_found("the store was not restored, or that is ended: nothing waits for it"));
        };
        app.store.recovered_set(None)?;
        tracing::warn!(by, reason, why = recovered.why, "the store counts as whole again");
        let mut warnings = Vec::new();
        remember(app, &by, OperatorAct::EndRecovered { reason }, &mut warnings);
        Ok(Json(json!({"ended": recovered, "warnings": warnings})))
    })
    .await
}
