//! Playbooks and notifications over HTTP: one request, one [`Outcome`], and never a second request.
//!
//! Nothing here retries, follows a redirect or decides what an outcome means: that is the dispatcher's, from
//! committed rows. Wherever it is not certain what happened, the outcome is `Unknown`.

pub mod api;
pub mod behaviour;
pub mod endpoint;
pub mod http;
pub mod policy;
pub mod reply;
mod secret;

pub use api::*;
pub use behaviour::Behaviour;
pub use endpoint::{Done, FakeEndpoint, Received};
pub use http::HttpRunner;
pub use policy::UrlPolicy;

/// Every runner, by the name that the catalogue uses.
pub const RUNNERS: &[&str] = &["http"];
