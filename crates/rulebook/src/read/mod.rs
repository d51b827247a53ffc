//! YAML to rulebooks and catalogues. Every problem of a file is reported in one go.

pub(crate) mod action;
pub(crate) mod book;
pub(crate) mod catalogue;
pub(crate) mod enrich;
pub(crate) mod expr;
pub(crate) mod fields;
pub(crate) mod incident;
pub(crate) mod later;
pub(crate) mod meaning;
pub(crate) mod members;
pub(crate) mod pattern;
pub(crate) mod records;
pub(crate) mod remedy;
pub(crate) mod rule;
pub(crate) mod site;
mod syntax;
pub(crate) mod then;
pub(crate) mod yaml;
