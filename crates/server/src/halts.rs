//! The halt switch. Easy to throw, deliberate to take back; it does not wait for the engine.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use paramedic_model::{Halt, HaltScope, OperatorAct};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::acts::append;
use crate::app::{App, now};
use crate::error::ApiError;
use crate::extract::{Given, person, words};

/// How long a halt waits for the store.
const STORE_ANSWERS: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switch {
    by: String,
    reason: String,
    #[serde(default = "everything")]
    scope: HaltScope,
}

const fn everything() -> HaltScope {
    HaltScope::All
}

/// The halts in force, of file and store; with why the store could not be asked, where it could not.
pub(crate) fn in_force(app: &App) -> (Vec<Halt>, Option<String>) {
    let mut halts = app.halt_file.read();
    match app.store.halts() {
        Ok(stored) => {
            for halt in stored {
                if halts.iter().all(|h| h.scope != halt.scope) {
                    halts.push(halt);
                }
            }
            (halts, None)
        }
        Err(e) => (halts, Some(format!("the store does not tell its halts: {e}"))),
    }
}

/// What a halt stops, in words.
pub(crate) fn scope_in_words(scope: &HaltScope) -> String {
    match scope {
        HaltScope::All => "everything".to_owned(),
        HaltScope::Environment(e) => format!("environment {e}"),
        HaltScope::Rulebook(r) => format!("rulebook {r}"),
        HaltScope::Playbook(p) => format!("playbook {p}"),
        HaltScope::CiClass(c) => format!("CI class {c}"),
    }
}

fn told(app: &App, mut warnings: Vec<String>) -> Json<Value> {
    let (halts, why) = in_force(app);
    warnings.extend(why);
    Json(json!({"halts": halts, "warnings": warnings}))
}

/// `GET /api/v1/halts`.
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    app.blocking(|app| Ok(told(app, vec![]))).await
}

/// `POST /api/v1/halt`: in force when it answers 200. The file comes first, past every queue, and the store has a
/// moment only: what could not be written is among the warnings, and it is an error only when neither took it.
pub(crate) async fn halt(State(app): State<Arc<App>>, Given(given): Given<Switch>) -> Result<Json<Value>, ApiError> {
    let halt = Halt {
        scope: checked(given.scope)?,
        by: person(&given.by)?,
        reason: words("reason", &given.reason)?,
        at: now(),
    };
    let mut warnings: Vec<String> = in_file(&app, halt.clone()).await.err().into_iter().collect();
    match tokio::time::timeout(STORE_ANSWERS, in_store(&app, halt.clone())).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => warnings.push(why),
        Err(_) => warnings.push("the store did not answer in time whether it took the halt".to_owned()),
    }
    let file = app.halt_file.path().display();
    if warnings.len() == 2 {
        tracing::error!(?warnings, "a halt was asked for and is NOT in force");
        return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("NOT halted: {}", warnings.join("; ")))
            .help(format!("create the file {file} by hand: that halts everything")));
    }
    tracing::warn!(by = halt.by, reason = halt.reason, scope = scope_in_words(&halt.scope), "halted");
    let reason = format!("{}: {}", scope_in_words(&halt.scope), halt.reason);
    let history = app.blocking(move |app| {
        let mut warnings = Vec::new();
        remember(app, &halt.by, OperatorAct::Halt { reason }, &mut warnings);
        Ok(told(app, warnings))
    });
    let Ok(Ok(Json(mut answer))) = tokio::time::timeout(STORE_ANSWERS, history).await else {
        warnings.push("the store does not answer: only the file's halts are listed".to_owned());
        return Ok(Json(json!({"halts": app.halt_file.read(), "warnings": warnings})));
    };
    if let Some(told) = answer["warnings"].as_array_mut() {
        told.extend(warnings.into_iter().map(Value::from));
    }
    Ok(Json(answer))
}

/// Not by [`App::blocking`]: a store that hangs must not hold a halt up.
async fn in_file(app: &Arc<App>, halt: Halt) -> Result<(), String> {
    let app = Arc::clone(app);
    let path = app.halt_file.path().display().to_string();
    let written = tokio::task::spawn_blocking(move || {
        let _one_at_a_time = app.halt_lock.lock().unwrap_or_else(PoisonError::into_inner);
        app.halt_file.add(&halt)
    });
    let written = written.await.map_err(|e| e.to_string()).and_then(|done| done.map_err(|e| e.to_string()));
    written.map_err(|e| format!("the halt file {path} was not written: {e}"))
}

async fn in_store(app: &Arc<App>, halt: Halt) -> Result<(), String> {
    let put = app.blocking(move |app| Ok(app.store.halt_put(&halt)?)).await;
    put.map_err(|e| format!("the store did not take the halt: {}", e.text()))
}

/// `POST /api/v1/resume`: takes back the halt of exactly that scope, in file and store.
pub(crate) async fn resume(State(app): State<Arc<App>>, Given(given): Given<Switch>) -> Result<Json<Value>, ApiError> {
    let by = person(&given.by)?;
    let reason = words("reason", &given.reason)?;
    let scope = checked(given.scope)?;
    app.blocking(move |app| {
        // When only one of the two is taken back, the halt holds.
        let stored = app.store.halt_remove(&scope)?;
        let in_file = {
            let _one_at_a_time = app.halt_lock.lock().unwrap_or_else(PoisonError::into_inner);
            app.halt_file.remove(&scope)
        };
        let in_file = in_file.map_err(|e| {
            let path = app.halt_file.path().display();
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("still halted: {path} was not written: {e}"))
        })?;
        if !stored && !in_file {
            let (halts, _) = in_force(app);
            let there: Vec<String> = halts.iter().map(|h| scope_in_words(&h.scope)).collect();
            let error = format!("no halt of {} is in force", scope_in_words(&scope));
            return Err(match there.is_empty() {
                true => ApiError::not_found(error),
                false => ApiError::not_found(error).help(format!("halted: {}", there.join(", "))),
            });
        }
        tracing::warn!(by, reason, scope = scope_in_words(&scope), "resumed");
        let mut warnings = Vec::new();
        let reason = format!("{}: {reason}", scope_in_words(&scope));
        remember(app, &by, OperatorAct::Resume { reason }, &mut warnings);
        Ok(told(app, warnings))
    })
    .await
}

/// For history only.
pub(crate) fn remember(app: &App, by: &str, act: OperatorAct, warnings: &mut Vec<String>) {
    if let Err(e) = append(app, "default", by, act) {
        tracing::error!(error = ?e, "what a person did is missing in history");
        warnings.push("it is in force, but history does not tell: the inbox was not written".to_owned());
    }
}

fn checked(scope: HaltScope) -> Result<HaltScope, ApiError> {
    let name = match &scope {
        HaltScope::All => return Ok(scope),
        HaltScope::Environment(n) | HaltScope::Rulebook(n) | HaltScope::Playbook(n) | HaltScope::CiClass(n) => n,
    };
    if name.trim().is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
        return Err(ApiError::bad_request("`scope` must name what is to be halted")
            .help("\"all\", or {\"playbook\": \"NAME\"}, environment, rulebook or ci_class likewise"));
    }
    Ok(scope)
}
