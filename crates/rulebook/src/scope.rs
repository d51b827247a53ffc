//! Which scope an event belongs to: a path expression of a source's configuration.

use std::borrow::Cow;

use paramedic_model::{Event, own_shard};

use crate::diagnostics::did_you_mean;
use crate::template::parse_path;
use crate::value::{Path, Val, field_names};

/// A path such as `event.labels.site`, whose text is the event's scope.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeExpr(Path);

/// The scope of events that name none.
pub const DEFAULT_SCOPE: &str = "default";

impl ScopeExpr {
    /// Reads a path.
    ///
    /// # Errors
    /// Says what is wrong and what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names = parse_path(text.trim()).map_err(|expected| format!("{text:?} is no path: {expected}"))?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match names.as_slice() {
            ["event", fields @ ..] => Path::of(fields).map(ScopeExpr).ok_or_else(|| {
                let help = fields.first().and_then(|first| did_you_mean(first, field_names()));
                format!("{text:?}: an event has no such field{}", help.map(|h| format!("; {h}")).unwrap_or_default())
            }),
            _ => Err(format!("{text:?} is no path: it begins with `event.`, such as event.labels.site")),
        }
    }

    /// The scope; `default` when the field is missing or empty, or names one of the engine's own scopes: an event must
    /// not get in there, nor to a shard that does not exist.
    pub fn scope<'e>(&self, event: &'e Event<'_>) -> Cow<'e, str> {
        match self.0.read(event) {
            Val::Text(t) if !t.is_empty() && own_shard(&t).is_none() => t,
            Val::Int(i) => Cow::Owned(i.to_string()),
            Val::Float(f) => Cow::Owned(f.to_string()),
            Val::Severity(s) => Cow::Borrowed(s.name()),
            _ => Cow::Borrowed(DEFAULT_SCOPE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paramedic_model::Labels;

    #[test]
    fn an_event_that_names_no_scope_belongs_to_the_default_one() {
        let site = ScopeExpr::parse("event.labels.site").unwrap();
        let event = |labels| Event { labels: Labels::new(labels), ..Event::default() };
        assert_eq!(site.scope(&event(vec![("site".into(), "fra".into())])), "fra");
        assert_eq!(site.scope(&event(vec![])), "default");
        assert_eq!(site.scope(&event(vec![("site".into(), "".into())])), "default");
        assert_eq!(
            site.scope(&event(vec![("site".into(), "paramedic.5".into())])),
            "default",
            "it is the engine's own"
        );
        assert_eq!(site.scope(&event(vec![("site".into(), "paramedic.eu".into())])), "paramedic.eu");
        for bad in ["", "site", "event.lables.site", "event.labels.site.x", "event.f()"] {
            assert!(ScopeExpr::parse(bad).is_err(), "{bad}");
        }
    }
}
