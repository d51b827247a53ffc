//! Playbooks and notifications over HTTP.

pub mod api;

pub use api::*;
