//! What one input came to: the steps of records that it made.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use paramedic_model::HistoryRow;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Params;

/// Rows that are read at once.
const CHUNK: usize = 1_000;
/// Steps of one input that are shown: a cascade has at most so many.
const MOST: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputQuery {
    id: String,
    scope: Option<String>,
}

/// `GET /api/v1/inputs?id=SOURCE|EVENT-ID`: goes over the history of a scope, as an audit does; one at a time.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Params(query): Params<InputQuery>,
) -> Result<Json<Value>, ApiError> {
    let busy = ApiError::conflict("the history is being read by an audit, or by another look-up")
        .help("ask again when it is done");
    let scope = query.scope.unwrap_or_else(|| "default".to_owned());
    let id = query.id;
    let (looked, steps) = app
        .alone(&app.auditing, busy, move |app| {
            let (mut from, mut looked, mut steps) = (0, 0u64, Vec::new());
            loop {
                let rows = app.store.history_of_scope(&scope, from, CHUNK)?;
                let Some(last) = rows.last() else { return Ok((looked, steps)) };
                from = last.seq + 1;
                looked += rows.len() as u64;
                let of_input = |row: &HistoryRow| row.input == id;
                steps.extend(rows.into_iter().filter(of_input).take(MOST - steps.len()));
                if steps.len() >= MOST {
                    return Ok((looked, steps));
                }
            }
        })
        .await?;
    Ok(Json(json!({"steps": steps, "rows": looked})))
}
