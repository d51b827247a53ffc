//! What people do to incidents and runs: checked against the store, then written to the inbox. The engine decides
//! whether it still holds when it gets there.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use paramedic_engine::outbox;
use paramedic_model::{
    CloseCode, Id, InboxBody, Incident, IncidentMove, IncidentState, NewInbox, OperatorAct, OutboxState, Run, RunState,
    incident,
};
use paramedic_store::{InboxPlace, OutboxMove, StoreError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::{App, now};
use crate::error::ApiError;
use crate::extract::{Given, Params, person, words};
use crate::{incidents, recovered, runs};

/// The longest wait for an act's effect, in seconds.
const LONGEST_WAIT: u64 = 10;

/// `?wait=SECONDS`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wait {
    wait: Option<u64>,
}

impl Wait {
    pub(crate) const fn of(seconds: u64) -> Self {
        Self { wait: Some(seconds) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct By {
    by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resolve {
    by: String,
    code: Option<String>,
    notes: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reject {
    by: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settle {
    by: String,
    succeeded: bool,
    notes: String,
}

/// What the store tells about an act that was accepted.
pub(crate) enum Effect {
    NotYet,
    /// With the record.
    Seen(Value),
    /// Something else happened first.
    Overtaken(String),
}

/// Answers 202 with `accepted`, or, where the caller waits, with what came of it.
pub(crate) async fn answer(
    app: &Arc<App>,
    wait: &Wait,
    accepted: Value,
    look: impl Fn(&App) -> Result<Effect, ApiError> + Clone + Send + 'static,
) -> Result<Response, ApiError> {
    let end = tokio::time::Instant::now() + Duration::from_secs(wait.wait.unwrap_or(0).min(LONGEST_WAIT));
    let mut pause = Duration::from_millis(10);
    while tokio::time::Instant::now() < end {
        match app.blocking(look.clone()).await? {
            Effect::Seen(record) => return Ok(Json(record).into_response()),
            Effect::Overtaken(why) => return Err(ApiError::conflict(why)),
            Effect::NotYet => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_millis(200));
    }
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

/// Writes a person's act to the inbox of a scope.
pub(crate) fn append(app: &App, scope: &str, by: &str, act: OperatorAct) -> Result<InboxPlace, ApiError> {
    let entry = NewInbox {
        id: app.fresh_id("operator"),
        scope: scope.to_owned(),
        at: now(),
        body: InboxBody::Operator { by: by.to_owned(), act },
    };
    let places = app.store.inbox_append(&[entry])?;
    let none = || ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the store gave the act no place in the inbox");
    places.first().copied().ok_or_else(none)
}

pub(crate) fn accepted(place: InboxPlace) -> Value {
    json!({"accepted": true, "inbox": place.seq})
}

/// `POST /api/v1/incidents/{incident}/ack`.
pub(crate) async fn acknowledge(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Params(wait): Params<Wait>,
    Given(given): Given<By>,
) -> Result<Response, ApiError> {
    let by = person(&given.by)?;
    let (id, place) = app
        .blocking(move |app| {
            let found = incidents::find(&*app.store, &name)?;
            if !found.state.is_open() {
                return Err(conflict(&found, "there is nothing to acknowledge"));
            }
            if let Some((who, at)) = &found.acknowledged {
                return Err(ApiError::conflict(format!("{} was acknowledged by {who} at {at}", label(&found))));
            }
            let place = append(app, &found.scope, &by, OperatorAct::Acknowledge { incident: found.id })?;
            Ok((found.id, place))
        })
        .await?;
    answer(&app, &wait, accepted(place), move |app| {
        let found = again(app, id)?;
        Ok(if found.acknowledged.is_some() {
            Effect::Seen(json!({"incident": incidents::full(&found)}))
        } else if found.state.is_open() {
            Effect::NotYet
        } else {
            Effect::Overtaken(format!("meanwhile {} is {}", label(&found), found.state.name()))
        })
    })
    .await
}

/// `POST /api/v1/incidents/{incident}/resolve`.
pub(crate) async fn resolve(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Params(wait): Params<Wait>,
    Given(given): Given<Resolve>,
) -> Result<Response, ApiError> {
    let by = person(&given.by)?;
    let notes = words("notes", &given.notes)?;
    let code = given.code.as_deref().map_or(Ok(CloseCode::SolutionProvided), close_code)?;
    let (id, place) = app
        .blocking(move |app| {
            let found = incidents::find(&*app.store, &name)?;
            if incident::next(found.state, IncidentMove::Resolve).is_err() {
                return Err(conflict(&found, "it cannot be resolved"));
            }
            let place = append(app, &found.scope, &by, OperatorAct::Resolve { incident: found.id, code, notes })?;
            Ok((found.id, place))
        })
        .await?;
    answer(&app, &wait, accepted(place), move |app| {
        let found = again(app, id)?;
        Ok(match found.state {
            state if state.is_open() => Effect::NotYet,
            IncidentState::Canceled => Effect::Overtaken(format!("meanwhile {} is canceled", label(&found))),
            _ => Effect::Seen(json!({"incident": incidents::full(&found)})),
        })
    })
    .await
}

fn close_code(text: &str) -> Result<CloseCode, ApiError> {
    CloseCode::from_name(text).ok_or_else(|| {
        let names = CloseCode::ALL.map(CloseCode::name).join(", ");
        ApiError::bad_request("`code` is none of the close codes").help(format!("one of: {names}"))
    })
}

/// `POST /api/v1/runs/{run}/approve`.
pub(crate) async fn approve(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Params(wait): Params<Wait>,
    Given(given): Given<By>,
) -> Result<Response, ApiError> {
    let by = person(&given.by)?;
    let (run, who) = (name.clone(), by.clone());
    if app.blocking(move |app| recovered::clear(app, &run, &who)).await? {
        return recovered::cleared(&app, &wait, name).await;
    }
    decide(&app, name, &wait, by, RunState::Pending, |run| OperatorAct::Approve { run }).await
}

/// `POST /api/v1/runs/{run}/reject`.
pub(crate) async fn reject(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Params(wait): Params<Wait>,
    Given(given): Given<Reject>,
) -> Result<Response, ApiError> {
    let by = person(&given.by)?;
    let reason = words("reason", &given.reason)?;
    decide(&app, name, &wait, by, RunState::Rejected, |run| OperatorAct::Reject { run, reason }).await
}

/// A person's word on a proposed run, and whether it came to `wanted`, or on from there.
async fn decide(
    app: &Arc<App>,
    name: String,
    wait: &Wait,
    by: String,
    wanted: RunState,
    act: impl FnOnce(Id) -> OperatorAct + Send + 'static,
) -> Result<Response, ApiError> {
    let (name, place) = app
        .blocking(move |app| {
            let run = runs::find(&*app.store, &name)?;
            if run.state != RunState::Proposed {
                return Err(not_in(&run, RunState::Proposed));
            }
            let scope = proposed_for(app, &run)?.scope;
            Ok((name, append(app, &scope, &by, act(run.id))?))
        })
        .await?;
    answer(app, wait, accepted(place), move |app| {
        let state = runs::find(&*app.store, &name)?.state;
        Ok(match state {
            RunState::Proposed => Effect::NotYet,
            RunState::Rejected | RunState::Cancelled if state != wanted => {
                Effect::Overtaken(format!("meanwhile the run is {}", state.name()))
            }
            _ if wanted == RunState::Rejected && state != wanted => {
                Effect::Overtaken(format!("meanwhile the run is {}", state.name()))
            }
            _ => Effect::Seen(runs::whole(&*app.store, &name)?),
        })
    })
    .await
}

/// The open incident that the run was proposed for.
fn proposed_for(app: &App, run: &Run) -> Result<Incident, ApiError> {
    let incident = again(app, run.incident)?;
    if incident.state.is_open() { Ok(incident) } else { Err(conflict(&incident, "its run is not wanted any more")) }
}

/// `POST /api/v1/runs/{run}/settle`: a person tells what became of a run that nobody knows about.
pub(crate) async fn settle(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Params(wait): Params<Wait>,
    Given(given): Given<Settle>,
) -> Result<Response, ApiError> {
    let by = person(&given.by)?;
    let notes = words("notes", &given.notes)?;
    let name = app.blocking(move |app| settle_now(app, &name, given.succeeded, &by, &notes).map(|()| name)).await?;
    answer(&app, &wait, json!({"accepted": true}), move |app| {
        Ok(match runs::find(&*app.store, &name)?.state {
            RunState::Succeeded | RunState::Failed => Effect::Seen(runs::whole(&*app.store, &name)?),
            _ => Effect::NotYet,
        })
    })
    .await
}

fn settle_now(app: &App, name: &str, succeeded: bool, by: &str, notes: &str) -> Result<(), ApiError> {
    let run = runs::find(&*app.store, name)?;
    let Some(row) = app.store.outbox_of(run.id)? else {
        return Err(not_in(&run, RunState::Unknown));
    };
    let not_unknown = |state: &str| {
        ApiError::conflict(format!("the run's request is {state}, not unknown: there is nothing to settle"))
    };
    let Some((next, inbox)) = outbox::settle(&row, succeeded, by, notes, now()) else {
        return Err(not_unknown(row.state.name()));
    };
    let change = OutboxMove { key: row.key, from: OutboxState::Unknown, row: next, fence: None, inbox };
    match app.store.outbox_move(&change) {
        // A late report was faster.
        Err(StoreError::Conflict { found, .. }) => Err(not_unknown(&found)),
        done => Ok(done?),
    }
}

fn again(app: &App, id: Id) -> Result<Incident, ApiError> {
    app.store.incident(id)?.ok_or_else(|| ApiError::not_found(format!("there is no incident {id}")))
}

fn label(incident: &Incident) -> String {
    incident.number.map_or_else(|| incident.id.to_string(), outbox::incident_number)
}

fn conflict(incident: &Incident, so: &str) -> ApiError {
    ApiError::conflict(format!("{} is {}: {so}", label(incident), incident.state.name()))
}

fn not_in(run: &Run, wanted: RunState) -> ApiError {
    ApiError::conflict(format!("the run is {}, not {}", run.state.name(), wanted.name()))
}
