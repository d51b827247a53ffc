//! The API of a running engine, as a client.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;

use crate::args::ApiArgs;

/// A client of one engine.
pub(crate) struct Client {
    http: reqwest::blocking::Client,
    url: String,
    token: Option<String>,
}

/// No engine answers, or it says no.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// Nobody listens there.
    #[error("no engine answers at {0}; start one with `paramedic run`, or name another with --url")]
    Away(String),
    /// It answered, with an error.
    #[error("{0}")]
    Refused(String),
}

impl Client {
    /// For the engine that the arguments name; its token is in PARAMEDIC_TOKEN.
    pub(crate) fn new(args: &ApiArgs) -> anyhow::Result<Self> {
        let http = reqwest::blocking::Client::builder()
            .timeout(Duration::from_secs(40))
            .connect_timeout(Duration::from_secs(2))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        let token = std::env::var("PARAMEDIC_TOKEN").ok().filter(|t| !t.is_empty());
        Ok(Self { http, url: args.url.trim_end_matches('/').to_owned(), token })
    }

    /// GET, as JSON.
    pub(crate) fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        self.send(self.http.get(self.at(path)).query(query))
    }

    /// POST of JSON, as JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.http.post(self.at(path)).json(body))
    }

    /// DELETE with JSON, as JSON.
    pub(crate) fn delete(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.http.delete(self.at(path)).json(body))
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn send(&self, request: reqwest::blocking::RequestBuilder) -> anyhow::Result<Value> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let reply = match request.send() {
            Ok(reply) => reply,
            Err(e) if e.is_connect() => bail!(ApiError::Away(self.url.clone())),
            Err(e) => return Err(anyhow!(e)).context("the engine did not answer"),
        };
        let status = reply.status();
        let text = reply.text().context("the engine's answer broke off")?;
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        // What is not ready, and rules that are refused, tell so in an answer of their own.
        let tells = (status.as_u16() == 503 && value.is_object()) || value["result"].is_string();
        if status.is_success() || tells {
            return Ok(value);
        }
        let error = value["error"].as_str().map_or_else(|| format!("HTTP {status}"), str::to_owned);
        let help = value["help"].as_str().map(|h| format!("\n  help: {h}")).unwrap_or_default();
        bail!(ApiError::Refused(format!("{error}{help}")))
    }
}
