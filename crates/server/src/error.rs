//! What a caller is told when it does not get what it asked for.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use paramedic_store::StoreError;
use serde_json::json;

/// A status with `{"error": ..., "help": ...}`.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    error: String,
    help: Option<String>,
    also: Also,
}

/// A header that goes with it.
#[derive(Debug)]
enum Also {
    Nothing,
    RetryAfter,
    Challenge(&'static str),
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), help: None, also: Also::Nothing }
    }

    pub(crate) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(crate) fn forbidden(error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, error)
    }

    pub(crate) fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    pub(crate) fn conflict(error: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, error)
    }

    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {} bytes", crate::MAX_BODY))
    }

    /// Never 429: Alertmanager drops what it is answered so.
    pub(crate) fn overloaded(error: impl Into<String>) -> Self {
        let mut it = Self::new(StatusCode::SERVICE_UNAVAILABLE, error);
        it.also = Also::RetryAfter;
        it.help("try again in a moment")
    }

    pub(crate) fn unauthorised(challenge: &'static str) -> Self {
        let mut it = Self::new(StatusCode::UNAUTHORIZED, "no valid credentials");
        it.also = Also::Challenge(challenge);
        it.help("send an Authorization header")
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The error in words.
    pub(crate) fn text(&self) -> &str {
        &self.error
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<StoreError> for ApiError {
    fn from(e: StoreError) -> Self {
        match &e {
            StoreError::Conflict { .. } => {
                Self::conflict(e.to_string()).help("it has changed meanwhile: look at it again")
            }
            StoreError::Full(_) | StoreError::Locked { .. } | StoreError::Fenced { .. } | StoreError::Away { .. } => {
                tracing::warn!(error = %e, "the store refused a request");
                Self::overloaded(e.to_string())
            }
            _ => {
                tracing::error!(error = %e, "the store failed a request");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string())
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = match self.help {
            Some(help) => json!({"error": self.error, "help": help}),
            None => json!({"error": self.error}),
        };
        let mut response = (self.status, Json(body)).into_response();
        let header = match self.also {
            Also::Nothing => return response,
            Also::RetryAfter => (header::RETRY_AFTER, "1"),
            Also::Challenge(challenge) => (header::WWW_AUTHENTICATE, challenge),
        };
        response.headers_mut().insert(header.0, HeaderValue::from_static(header.1));
        response
    }
}

/// For every path that is none of ours.
pub(crate) async fn no_such_path() -> ApiError {
    ApiError::not_found("no such path").help("the API is under /api/v1; docs/api.md lists it")
}

/// For a path of ours under another method.
pub(crate) async fn no_such_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take that method")
        .help("what reads is GET, what changes is POST or DELETE; docs/api.md lists them")
}

/// For a handler that panicked. What it said goes to the log, never to the caller.
#[allow(clippy::needless_pass_by_value, reason = "tower-http hands the box over")]
pub(crate) fn panicked(what: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let said = what.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| what.downcast_ref::<String>().cloned());
    tracing::error!(panic = said.unwrap_or_default(), "a request handler panicked");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "an error within paramedic; its log tells more").into_response()
}
