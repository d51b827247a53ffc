//! The halt switch. Easy to throw, deliberate to take back; it does not wait for the engine.

use std::sync::{Arc, PoisonError};

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

/// `POST /api/v1/halt`: in force when it answers 200. What could not be written is among the warnings; only when
/// neither file nor store took it is it an error.
pub(crate) async fn halt(
    State(app): State<Arc<App>>,
    Given(given): Given<Switch>,
) -> Result<Json<Value>, ApiError> {
    let halt = Halt {
        scope: checked(given.scope)?,
        by: person(&given.by)?,
        reason: words("reason", &given.reason)?,
        at: now(),
    };
    app.blocking(move |app| {
        let mut warnings = Vec::new();
        let _one_at_a_time = app.halt_lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = app.halt_file.add(&halt) {
            warnings.push(format!("the halt file {} was not written: {e}", app.halt_file.path().display()));
        }
        if let Err(e) = app.store.halt_put(&halt) {
            warnings.push(format!("the store did not take the halt: {e}"));
        }
        if warnings.len() == 2 {
            tracing::error!(?warnings, "a halt was asked for and is NOT in force");
            return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("NOT halted: {}", warnings.join("; ")))
                .help(format!("create the file {} by hand: that halts everything", app.halt_file.path().display())));
        }
        tracing::warn!(by = halt.by, reason = halt.reason, scope = scope_in_words(&halt.scope), "halted");
        let reason = format!("{}: {}", scope_in_words(&halt.scope), halt.reason);
        remember(app, &halt.by, OperatorAct::Halt { reason }, &mut warnings);
        Ok(told(app, warnings))
    })
    .await
}

/// `POST /api/v1/resume`: takes back the halt of exactly that scope, in file and store.
pub(crate) async fn resume(
    State(app): State<Arc<App>>,
    Given(given): Given<Switch>,
) -> Result<Json<Value>, ApiError> {
    let by = person(&given.by)?;
    let reason = words("reason", &given.reason)?;
    let scope = checked(given.scope)?;
    app.blocking(move |app| {
        let _one_at_a_time = app.halt_lock.lock().unwrap_or_else(PoisonError::into_inner);
        // The store first: when only one of the two is taken back, the halt holds.
        let stored = app.store.halt_remove(&scope)?;
        let path = app.halt_file.path().display();
        let in_file = app.halt_file.remove(&scope).map_err(|e| {
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
fn remember(app: &App, by: &str, act: OperatorAct, warnings: &mut Vec<String>) {
    if let Err(e) = append(app, "default", by, act) {
        tracing::error!(error = ?e, "a halt or its end is missing in history");
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
