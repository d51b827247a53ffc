//! YAML and Rhai to compiled rule sets; events to matches. Pure: no clock, no files.

mod condition;
pub mod diagnostics;
pub mod evaluator;
pub mod load;
pub mod rules;
pub mod scope;
pub(crate) mod script;
mod value;

pub use diagnostics::{Diagnostic, Gravity};
pub use evaluator::{Ctx, EvalError, Evaluator, Matches};
pub use load::{Loaded, load};
pub use rules::*;
pub use scope::ScopeExpr;
