//! Rhai: the sandbox, what an expression may say, and the pure subset of it.

#[cfg(test)]
mod agreement;
pub(crate) mod check;
pub(crate) mod compile;
mod cost;
pub(crate) mod functions;
pub(crate) mod json;
pub(crate) mod native;
pub(crate) mod objects;
pub(crate) mod runtime;
pub(crate) mod sandbox;
