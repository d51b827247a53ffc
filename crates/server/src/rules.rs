//! Taking rules from the folder again; publishing a rule set that is kept. From then on every shard goes by it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use paramedic_model::Digest;
use paramedic_store::Published;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::{App, now};
use crate::error::ApiError;
use crate::extract::{Given, person};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publish {
    by: String,
    digest: Digest,
    #[serde(default)]
    again: bool,
}

/// `POST /api/v1/rules/publish`.
pub(crate) async fn publish(
    State(app): State<Arc<App>>,
    Given(given): Given<Publish>,
) -> Result<Json<Value>, ApiError> {
    let by = person(&given.by)?;
    let Publish { digest, again, .. } = given;
    app.blocking(move |app| {
        if app.store.ruleset_get(digest)?.is_none() {
            return Err(ApiError::not_found(format!("no rule set {digest} is kept"))
                .help("an engine keeps what it is started with: `paramedic run --publish`"));
        }
        let was = app.store.ruleset_active()?;
        let came = app.store.ruleset_publish(digest, now(), again)?;
        let published = match came {
            Published::Now => true,
            Published::Already => false,
            Published::Superseded(by) => {
                return Err(ApiError::conflict(format!("{digest} was active once, and {by} was published since"))
                    .help("to go back to it, send `\"again\": true`"));
            }
        };
        if published {
            tracing::warn!(by, %digest, "a rule set was published");
        }
        Ok(Json(json!({"digest": digest, "published": published, "before": was})))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReloadAct {
    by: String,
    #[serde(default)]
    again: bool,
}

/// `POST /api/v1/rules/reload`: 200, or 422 with what is wrong with the folder.
pub(crate) async fn reload(
    State(app): State<Arc<App>>,
    Given(given): Given<ReloadAct>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let by = person(&given.by)?;
    let Some(reload) = app.reload.clone() else {
        return Err(ApiError::not_found("this engine has no folder of rules"));
    };
    let busy = ApiError::conflict("the rules are being taken again already").help("ask again in a few seconds");
    app.alone(&app.reloading, busy, move |_| {
        let came = (reload.0)(&format!("person:{by}"), given.again);
        let status = if came.well { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        let mut told = json!({"result": came.result, "digest": came.digest, "problems": came.problems});
        if !came.well {
            told["error"] = format!("nothing was published: {}", came.problems.join("; ")).into();
        }
        Ok((status, Json(told)))
    })
    .await
}
