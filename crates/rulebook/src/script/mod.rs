//! Rhai: the sandbox, what an expression may say, and the pure subset of it.

#[cfg(test)]
mod agreement;
pub(crate) mod check;
pub(crate) mod compile;
mod cost;
pub(crate) mod functions;
pub(crate) mod intents;
pub(crate) mod json;
pub(crate) mod member;
pub(crate) mod names;
pub(crate) mod native;
pub(crate) mod objects;
pub(crate) mod questions;
pub(crate) mod runtime;
pub(crate) mod sandbox;
pub(crate) mod site;
pub(crate) mod thresholds;
