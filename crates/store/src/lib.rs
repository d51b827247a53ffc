//! Durable state behind one synchronous trait.

pub mod api;

pub use api::*;
