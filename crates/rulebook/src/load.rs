//! Sources to a set.

use std::collections::BTreeMap;

use crate::{Diagnostic, RuleSet};

/// What loading gave.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// `None` when there is any error.
    pub set: Option<RuleSet>,
    /// By file and position.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads rulebooks and catalogues.
pub fn load(_sources: &BTreeMap<String, String>) -> Loaded {
    Loaded { set: None, diagnostics: vec![] }
}
