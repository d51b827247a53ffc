//! How paramedic is: for people, for load balancers, for the auditor.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use paramedic_model::Lane;
use paramedic_store::{Counts, DeadLetter, Recovered, Store};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Params, limit};
use crate::halts;

/// How long `/ready` waits for the store.
const STORE_ANSWERS: Duration = Duration::from_secs(1);
/// Characters of a dead letter that are shown as text.
const TEXT: usize = 4_000;

/// `GET /health`: 200 while the process answers.
pub(crate) async fn health() -> Json<Value> {
    Json(json!({"alive": true}))
}

/// `GET /ready`: 200 or 503, with the reasons. That the store was restored is a reason to look, and none not to send
/// events: it is told, and keeps nothing from being ready.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let mut told = (app.readiness)();
    let asked = app.blocking(|app| Ok(app.store.recovered()?));
    if let Ok(Ok(Some(recovered))) = tokio::time::timeout(STORE_ANSWERS, asked).await {
        told.reasons.push(recovered_in_words(&recovered));
    }
    let status = if told.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": told.ready, "reasons": told.reasons}))).into_response()
}

/// `GET /api/v1/status`: answers also when the store does not, with what is known.
pub(crate) async fn status(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    app.blocking(|app| {
        let told = (app.readiness)();
        let mut status = Map::new();
        if let Value::Object(engine) = told.status {
            status.extend(engine);
        }
        let (halts, halts_error) = halts::in_force(app);
        let counts = app.store.counts();
        let store_error = counts.as_ref().err().map(ToString::to_string).or(halts_error);
        let ours = json!({
            "cluster": app.cluster,
            "version": app.version,
            "ready": told.ready,
            "reasons": told.reasons,
            "halts": halts,
            "recovered": app.store.recovered().ok().flatten(),
            "shards": shards(&*app.store),
            "counts": counts.as_ref().ok().map(counted),
            "dead_letters": counts.as_ref().ok().map(|c| c.dead_letters),
            "store_error": store_error,
        });
        if let Value::Object(ours) = ours {
            status.extend(ours);
        }
        Ok(Json(Value::Object(status)))
    })
    .await
}

/// What a person is told while the store is recovered.
pub(crate) fn recovered_in_words(recovered: &Recovered) -> String {
    format!(
        "recovered: {}: runs that change something wait for a person; `paramedic recovered show` lists them",
        recovered.why
    )
}

/// The shards, with how many sources each takes from. `None`: the store does not tell.
fn shards(store: &dyn Store) -> Option<Vec<Value>> {
    let (shards, positions) = (store.shards().ok()?, store.positions().ok()?);
    let sources = |of: u32| positions.iter().filter(|(s, name, _)| *s == of && Lane::from_name(name).is_none()).count();
    let shown = |(shard, epoch): &(u32, u64)| json!({"shard": shard, "epoch": epoch, "sources": sources(*shard)});
    Some(shards.iter().map(shown).collect())
}

fn counted(counts: &Counts) -> Value {
    let incidents = counts.incidents.iter();
    json!({
        "incidents": incidents
            .map(|(state, priority, count)| json!({"state": state, "priority": priority, "count": count}))
            .collect::<Vec<_>>(),
        "outbox": counts.outbox,
        "history": counts.history,
        "inbox": counts.inbox,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LettersQuery {
    limit: Option<usize>,
}

/// `GET /api/v1/dead-letters`: newest first.
pub(crate) async fn dead_letters(
    State(app): State<Arc<App>>,
    Params(query): Params<LettersQuery>,
) -> Result<Json<Value>, ApiError> {
    let limit = limit(query.limit)?;
    let letters = app.blocking(move |app| Ok(app.store.dead_letters(limit)?)).await?;
    Ok(Json(json!({"dead_letters": letters.iter().map(letter).collect::<Vec<_>>()})))
}

fn letter(letter: &DeadLetter) -> Value {
    json!({
        "source": letter.source,
        "position": letter.position,
        "offset": letter.offset,
        "reason": letter.reason,
        "at": letter.at,
        "length": letter.length,
        "digest": letter.digest,
        "text": text_of(letter, TEXT),
        "bytes_base64": base64::engine::general_purpose::STANDARD.encode(&letter.bytes),
    })
}

/// The first characters, what is no UTF-8 replaced.
pub(crate) fn text_of(letter: &DeadLetter, most: usize) -> String {
    String::from_utf8_lossy(&letter.bytes).chars().take(most).collect()
}

/// `GET /api/v1/audit`: follows the hash chain of every scope. One at a time.
pub(crate) async fn audit(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let busy = ApiError::conflict("an audit is under way").help("ask again when it is done");
    let audit = app.alone(&app.auditing, busy, |app| Ok(app.store.audit()?)).await?;
    let broken = audit.broken.iter();
    let broken: Vec<Value> = broken.map(|(scope, seq, why)| json!({"scope": scope, "seq": seq, "why": why})).collect();
    Ok(Json(json!({"intact": broken.is_empty(), "rows": audit.rows, "scopes": audit.scopes, "broken": broken})))
}
