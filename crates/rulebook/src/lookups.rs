//! What questions may ask beyond events and the CMDB: open alerts and records, which the engine keeps.

use paramedic_model::{Id, Span};
use serde_json::Value;

/// Answers of the engine. The same question gets the same answer during one evaluation.
pub trait Lookups {
    /// The open incident about a CI, as JSON; the first that was opened where there are several.
    fn open_incident(&self, ci: Id) -> Option<Value>;

    /// The open alert on a CI, of this type where one is given, as JSON; the first where there are several.
    fn open_alert(&self, ci: Id, type_: Option<&str>) -> Option<Value>;

    /// Whether nothing is wrong with a CI; `None` where nothing was heard of it for longer than the span.
    fn healthy(&self, ci: Id, within: Span) -> Option<bool>;
}
