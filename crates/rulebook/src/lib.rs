//! YAML and Rhai to compiled rule sets; events to matches. Pure: no clock, no files.

mod about;
mod analysis;
mod bindings;
mod condition;
pub mod cron;
pub mod diagnostics;
pub mod evaluator;
pub mod explain;
mod index;
pub mod load;
mod lookups;
mod read;
pub mod rules;
pub mod scenario;
pub mod schema;
pub mod scope;
mod script;
mod template;
mod value;

pub use about::{about_of, ci_of, cis_of};
pub use analysis::{Analysis, Finding, FindingKind, RuleAnalysis, Verdict, analyse};
pub use bindings::{Bindings, Bound};
pub use diagnostics::{Diagnostic, Gravity};
pub use evaluator::{Asked, Ctx, EnrichFailures, EvalError, Evaluator, Failure, HowFound, IndexedCondition, Matches};
pub use load::{GRANTS, Loaded, load, load_all_words};
pub use lookups::Lookups;
pub use read::records::{RecordStep, record_steps};
pub use rules::*;
pub use scope::{DEFAULT_SCOPE, ScopeExpr};
pub use script::functions::{Family, Function, families};
pub use script::intents::Intent;
