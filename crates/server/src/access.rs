//! Who may do what, and how much at a time.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use paramedic_model::Digest;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::app::App;
use crate::error::{ApiError, panicked};

/// Text and our own stylesheet, nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
    frame-ancestors 'none'; base-uri 'none'";
const TIMEOUT: Duration = Duration::from_secs(30);
/// The whole history is looked at.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(600);

/// What a sender must bear. Kept as a digest: neither the text nor its length can be told from here.
pub(crate) enum Credential {
    Bearer(Digest),
    Basic(Digest),
    /// No credential is configured: only this machine.
    Loopback,
}

impl Credential {
    pub(crate) fn bearer(token: &SecretString) -> Self {
        Credential::Bearer(Digest::of_bytes(token.expose_secret().as_bytes()))
    }

    pub(crate) fn basic(user: &str, password: &SecretString) -> Self {
        Credential::Basic(Digest::of_bytes(format!("{user}:{}", password.expose_secret()).as_bytes()))
    }

    /// Whether the request bears it. Takes the same time whatever is sent.
    pub(crate) fn check(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<(), ApiError> {
        let sent = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        match self {
            Credential::Bearer(digest) => {
                let token = sent.and_then(|s| scheme(s, "bearer")).unwrap_or_default();
                same(digest, token.as_bytes(), "Bearer realm=\"paramedic\"")
            }
            Credential::Basic(digest) => {
                let text = sent.and_then(|s| scheme(s, "basic")).unwrap_or_default();
                let pair = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
                same(digest, &pair, "Basic realm=\"paramedic\"")
            }
            Credential::Loopback => loopback(headers, extensions),
        }
    }
}

fn scheme<'a>(sent: &'a str, name: &str) -> Option<&'a str> {
    let (scheme, rest) = sent.split_once(' ')?;
    scheme.eq_ignore_ascii_case(name).then(|| rest.trim())
}

fn same(wanted: &Digest, sent: &[u8], challenge: &'static str) -> Result<(), ApiError> {
    let sent = Digest::of_bytes(sent);
    if bool::from(wanted.as_bytes().ct_eq(sent.as_bytes())) { Ok(()) } else { Err(ApiError::unauthorised(challenge)) }
}

/// From this machine, and meant for it: a page elsewhere whose name was made to point here sends its own name.
fn loopback(headers: &HeaderMap, extensions: &Extensions) -> Result<(), ApiError> {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip().to_canonical());
    if !peer.is_some_and(|ip| ip.is_loopback()) {
        return Err(ApiError::forbidden("without a configured credential, this is taken from this machine only")
            .help("configure a token for it, and send it"));
    }
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok()).map_or("", name_of);
    let own = host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !own {
        return Err(ApiError::forbidden("without a configured credential, the Host header must name loopback")
            .help("ask for 127.0.0.1, or configure a token and send it"));
    }
    Ok(())
}

/// A host without its port and brackets.
fn name_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Lets through what bears the API's token.
pub(crate) async fn require_token(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.token.check(request.headers(), request.extensions()) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

/// What a browser sends along with a request of another site's page is refused.
async fn same_origin(request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && let Some(origin) = request.headers().get(header::ORIGIN) {
        let from = origin.to_str().ok().and_then(|o| o.split_once("://")).map(|(_, authority)| authority);
        let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
        if from.is_none() || from != host {
            return ApiError::forbidden("the request comes from another site's page").into_response();
        }
    }
    next.run(request).await
}

/// So many requests, each so long.
async fn limits(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // A halt passes every queue.
    if matches!(path, "/health" | "/api/v1/halt") {
        return next.run(request).await;
    }
    let Ok(_place) = Arc::clone(&app.requests).try_acquire_owned() else {
        return ApiError::overloaded("too many requests at a time").into_response();
    };
    let most = if path == "/api/v1/audit" { AUDIT_TIMEOUT } else { TIMEOUT };
    match tokio::time::timeout(most, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, format!("no answer within {} s", most.as_secs()))
            .into_response(),
    }
}

/// Puts the bounds and the headers around all routes.
pub(crate) fn bounded(router: Router<Arc<App>>, app: &Arc<App>) -> Router<Arc<App>> {
    let with =
        |name, value: &'static str| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    router
        .layer(from_fn(same_origin))
        .layer(from_fn_with_state(Arc::clone(app), limits))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(with(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .layer(with(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(with(header::X_FRAME_OPTIONS, "DENY"))
        .layer(with(header::REFERRER_POLICY, "no-referrer"))
        .layer(with(header::CACHE_CONTROL, "no-store"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_without_port_and_brackets() {
        for (authority, name) in [("127.0.0.1:8600", "127.0.0.1"), ("[::1]:8600", "::1"), ("localhost", "localhost")] {
            assert_eq!(name_of(authority), name);
        }
    }
}
