//! Webhooks: bytes into the inbox. They are decoded later, in order; what cannot be goes to the dead letters.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use paramedic_model::{InboxBody, NewInbox, RawMessage};
use paramedic_store::InboxPlace;
use serde_json::json;

use crate::MAX_BODY;
use crate::app::{App, now};
use crate::error::ApiError;
use crate::extract::{read_body, stated_length};

/// Where senders put the id of a delivery, ours first.
const DELIVERY_IDS: [&str; 4] = ["paramedic-delivery-id", "x-delivery-id", "x-github-delivery", "webhook-id"];

/// `POST /api/v1/events/{source}`: 202 once it is durable.
pub(crate) async fn receive(
    State(app): State<Arc<App>>,
    Path(source): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let Some(credential) = app.hooks.get(&source) else {
        app.count("unknown", "unknown_source");
        return Err(ApiError::not_found("no such source").help("sources are named in the configuration"));
    };
    let (parts, body) = request.into_parts();
    let done = match credential.check(&parts.headers, &parts.extensions) {
        Ok(()) => take(&app, &source, &parts.headers, body).await,
        Err(refused) => Err(refused),
    };
    app.count(&source, done.as_ref().map_or_else(|e| outcome(e.status()), |_| "accepted"));
    let place = done?;
    Ok((StatusCode::ACCEPTED, Json(json!({"accepted": true, "inbox": place.seq}))).into_response())
}

const fn outcome(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "unauthorised",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::CONFLICT => "conflict",
        StatusCode::BAD_REQUEST => "bad_request",
        _ => "unavailable",
    }
}

async fn take(
    app: &Arc<App>,
    source: &str,
    headers: &HeaderMap,
    body: axum::body::Body,
) -> Result<InboxPlace, ApiError> {
    // Room for it is reserved before it is read: many large bodies at a time must not fill the memory.
    let room = u32::try_from(stated_length(headers).unwrap_or(MAX_BODY).clamp(1, MAX_BODY)).unwrap_or(u32::MAX);
    let _room = Arc::clone(&app.hook_bytes)
        .try_acquire_many_owned(room)
        .map_err(|_| ApiError::overloaded("too many bodies at a time"))?;
    let delivery = delivery_id(headers)?;
    let bytes = read_body(headers, body).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::bad_request("the body is empty").help("send the event, or a list of events"));
    }
    let message = RawMessage {
        source: source.to_owned(),
        headers: kept(headers),
        body: base64::engine::general_purpose::STANDARD.encode(&bytes),
    };
    let known = delivery.map(|id| format!("delivery|{source}|{id}"));
    let entry = NewInbox {
        id: known.clone().unwrap_or_else(|| app.fresh_id(&format!("hook|{source}"))),
        scope: "default".to_owned(),
        at: now(),
        body: InboxBody::Message(message),
    };
    let sent = known.is_some().then(|| entry.body.clone());
    paramedic_model::faults::point("webhook.before");
    let place = app.batcher.append(entry).await?;
    paramedic_model::faults::point("webhook.after");
    if let Some(sent) = sent {
        let read = move |app: &App| Ok(app.store.inbox_read(place.shard, place.lane, place.seq, 1)?);
        let kept = app.blocking(read).await?.into_iter().next();
        if kept.is_some_and(|row| row.seq == place.seq && !same_body(&row.entry.body, &sent)) {
            return Err(ApiError::conflict("this delivery id came before, with another body")
                .help("an id names one delivery: send another with the other body"));
        }
    }
    Ok(place)
}

fn same_body(a: &InboxBody, b: &InboxBody) -> bool {
    matches!((a, b), (InboxBody::Message(a), InboxBody::Message(b)) if a.body == b.body)
}

/// What formats may need: the media type, and CloudEvents' attributes.
fn kept(headers: &HeaderMap) -> BTreeMap<String, String> {
    let wanted = headers.iter().filter(|(name, _)| name.as_str() == "content-type" || name.as_str().starts_with("ce-"));
    wanted
        .filter_map(|(name, value)| {
            let value = std::str::from_utf8(value.as_bytes()).ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        })
        .collect()
}

fn delivery_id(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some((name, value)) = DELIVERY_IDS.iter().find_map(|name| headers.get(*name).map(|value| (*name, value)))
    else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(id) if !id.is_empty() && id.len() <= 200 => Ok(Some(id.to_owned())),
        _ => Err(ApiError::bad_request(format!("{name}: 1 to 200 visible ASCII characters"))),
    }
}
