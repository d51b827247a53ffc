//! Queries and bodies, with our own words when they are not as they should be.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::MAX_BODY;
use crate::error::ApiError;

/// A query string.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(e) => Err(ApiError::bad_request(e.body_text())),
        }
    }
}

/// A JSON body.
pub(crate) struct Given<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Given<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let media = content_type(&parts.headers);
        if media != "application/json" && !(media.starts_with("application/") && media.ends_with("+json")) {
            // Also: what a form of another site's page can send is none of these.
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be JSON")
                .help("send Content-Type: application/json"));
        }
        let bytes = read_body(&parts.headers, body).await?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|e| ApiError::bad_request(format!("the body is not as it should be: {e}")))
    }
}

/// The media type without its parameters, in lower case.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The length that the sender states.
pub(crate) fn stated_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// All of the body; at most [`MAX_BODY`].
pub(crate) async fn read_body(headers: &HeaderMap, body: Body) -> Result<axum::body::Bytes, ApiError> {
    if stated_length(headers).is_some_and(|n| n > MAX_BODY) {
        return Err(ApiError::too_large());
    }
    axum::body::to_bytes(body, MAX_BODY).await.map_err(|e| {
        let mut cause: Option<&dyn std::error::Error> = Some(&e);
        while let Some(one) = cause {
            if one.to_string().contains("length limit exceeded") {
                return ApiError::too_large();
            }
            cause = one.source();
        }
        ApiError::bad_request("the body broke off")
    })
}

/// Who says so: a name that may stand in a record.
pub(crate) fn person(by: &str) -> Result<String, ApiError> {
    let by = by.trim();
    if by.is_empty() || by.chars().count() > 100 || by.chars().any(char::is_control) {
        return Err(ApiError::bad_request("`by` must name who does this, in at most 100 characters"));
    }
    Ok(by.to_owned())
}

/// Words that may stand in a record.
pub(crate) fn words(what: &str, text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 4_000 {
        return Err(ApiError::bad_request(format!("`{what}` must say something, in at most 4,000 characters")));
    }
    Ok(text.to_owned())
}

/// How many to list: 1 to 1,000, 100 unless told.
pub(crate) fn limit(asked: Option<usize>) -> Result<usize, ApiError> {
    match asked.unwrap_or(100) {
        n @ 1..=1_000 => Ok(n),
        n => Err(ApiError::bad_request(format!("limit={n}: 1 to 1000"))),
    }
}
