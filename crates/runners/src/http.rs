//! The HTTP runner: sends exactly one request a call, within time and size limits.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use paramedic_model::{Id, Outcome, Playbook, Span};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Url};
use tokio::time::{Instant, timeout_at};

use crate::policy::{FilteredResolver, Refused, UrlPolicy};
use crate::reply::{Reply, same_origin};
use crate::{Notifier, Request, secret};

/// The longest that a connection may take; with it, what leaves after a halt is bounded.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);
/// The longest that one look at an accepted job may take.
pub const POLL_TIMEOUT: Duration = Duration::from_secs(10);
/// A longer reply is not read to its end, in bytes.
pub const MAX_REPLY_BYTES: usize = 1 << 20;

const POLL_AGAIN: Span = Span::from_secs(1);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be set up: {0}")]
pub struct SetupError(String);

/// Runs playbooks and delivers notifications over HTTP. Cheap to clone.
///
/// It never sends a request twice: no retries, no redirects, no proxies, and one connection a request, so that
/// a connection that dies is never replaced underneath a request that may have left.
#[derive(Clone, Debug)]
pub struct HttpRunner {
    client: Client,
    policy: Arc<UrlPolicy>,
}

/// Why there is no reply.
enum NoReply {
    /// Certainly nothing left.
    NeverLeft(String),
    /// Something may have left.
    Lost(String),
}

impl HttpRunner {
    /// A runner for the URLs that `allow` allows.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(allow: UrlPolicy) -> Result<Self, SetupError> {
        let policy = Arc::new(allow);
        let client = Client::builder()
            .user_agent(concat!("paramedic/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIMEOUT)
            .dns_resolver(Arc::new(FilteredResolver(Arc::clone(&policy))))
            .build()
            .map_err(|e| SetupError(chain(e)))?;
        Ok(Self { client, policy })
    }

    /// Whether a configured URL may be used at all: for checks when a configuration is loaded.
    ///
    /// # Errors
    /// Says why not.
    pub fn check_url(&self, url: &str) -> Result<(), Refused> {
        self.policy.check(url).map(|_| ())
    }

    /// Sends a playbook's request, once, and says what is known then.
    pub async fn send(&self, request: &Request) -> Outcome {
        let playbook = &request.playbook;
        match self.post(&playbook.url, playbook.token.as_deref(), request.key, &request.body, playbook.timeout).await {
            Ok((url, reply)) => reply.to_request(&url, playbook.result, SystemTime::now()),
            Err(NoReply::NeverLeft(message)) => Outcome::Failed { message, never_left: true },
            Err(NoReply::Lost(message)) => Outcome::Unknown { message, retry_after: None },
        }
    }

    /// Looks at an accepted job, once. As long as nothing says otherwise it still runs; the caller has the
    /// deadline.
    pub async fn poll(&self, playbook: &Playbook, job: &str) -> Outcome {
        let url = self.policy.check(&playbook.url).map_err(|e| e.to_string());
        let job = match url.and_then(|url| same_origin(&url, job)) {
            Ok(job) => job,
            Err(message) => return Outcome::Unknown { message, retry_after: None },
        };
        let again = || Outcome::Accepted { job: job.to_string(), retry_after: POLL_AGAIN };
        let mut builder = self.client.get(job.clone()).header(ACCEPT, "application/json");
        match playbook.token.as_deref().map(secret::bearer).transpose() {
            Ok(Some(token)) => builder = builder.header(AUTHORIZATION, token),
            Ok(None) => {}
            Err(why) => {
                tracing::warn!(playbook = playbook.name, %why, "cannot ask about an accepted job");
                return again();
            }
        }
        match exchange(builder, playbook.timeout.to_std().min(POLL_TIMEOUT)).await {
            Ok(reply) => reply.to_poll(&job, playbook.result, SystemTime::now()),
            Err(NoReply::NeverLeft(why) | NoReply::Lost(why)) => {
                tracing::debug!(playbook = playbook.name, %why, "no reply about an accepted job");
                again()
            }
        }
    }

    /// Delivers a notification, once: a 2xx has taken it, whatever its body says.
    pub async fn notify(&self, notifier: &Notifier, key: Id, body: &str) -> Outcome {
        match self.post(&notifier.url, notifier.token.as_deref(), key, body, notifier.timeout).await {
            Ok((_, reply)) => reply.to_notification(SystemTime::now()),
            Err(NoReply::NeverLeft(message)) => Outcome::Failed { message, never_left: true },
            Err(NoReply::Lost(message)) => Outcome::Unknown { message, retry_after: None },
        }
    }

    async fn post(
        &self,
        url: &str,
        token: Option<&str>,
        key: Id,
        body: &str,
        timeout: Span,
    ) -> Result<(Url, Reply), NoReply> {
        let url = self.policy.check(url).map_err(|e| NoReply::NeverLeft(e.to_string()))?;
        let mut builder = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .header("idempotency-key", key.to_string())
            .header("prefer", "respond-async")
            .body(body.to_owned());
        if let Some(reference) = token {
            builder = builder.header(AUTHORIZATION, secret::bearer(reference).map_err(NoReply::NeverLeft)?);
        }
        exchange(builder, timeout.to_std()).await.map(|reply| (url, reply))
    }
}

/// One request, one reply, one deadline for both.
async fn exchange(builder: reqwest::RequestBuilder, limit: Duration) -> Result<Reply, NoReply> {
    let deadline = Instant::now() + limit;
    let mut response = match timeout_at(deadline, builder.send()).await {
        Ok(Ok(response)) => response,
        Ok(Err(e)) if e.is_connect() || e.is_builder() => return Err(NoReply::NeverLeft(chain(e))),
        Ok(Err(e)) => return Err(NoReply::Lost(chain(e))),
        Err(_) => return Err(NoReply::Lost(format!("no reply within {limit:?}"))),
    };
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    if matches!(status, 300..=399 | 500..) {
        return Ok(Reply { status, headers, body: Err("not read".to_owned()) });
    }
    let body = match timeout_at(deadline, body(&mut response)).await {
        Ok(body) => body,
        Err(_) => Err(format!("the reply had no end within {limit:?}")),
    };
    Ok(Reply { status, headers, body })
}

async fn body(response: &mut reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| format!("the reply was cut: {}", chain(e)))? {
        if body.len() + chunk.len() > MAX_REPLY_BYTES {
            return Err("the reply is longer than 1 MiB".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error with its causes, and without the URL, whose query is nobody's business.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
