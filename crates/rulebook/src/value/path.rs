//! The fields of an event, as rulebooks name them.

use std::borrow::Cow;

use paramedic_model::Event;

use super::Val;

/// A field of an event, as a rulebook names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Path {
    Id,
    Source,
    Kind,
    Type,
    Severity,
    Status,
    Phase,
    Summary,
    Ci,
    Host,
    Service,
    Metric,
    Value,
    Threshold,
    Unit,
    Raw,
    Time,
    Began,
    Received,
    DedupKey,
    Label(String),
    Annotation(String),
}

/// What a field can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ty {
    Text,
    Number,
    /// A number; a text where the sender's was none.
    Measure,
    Severity,
    Bool,
    /// Labels, annotations.
    Texts,
    Unit,
    Unknown,
}

/// The names after `event.` that hold one value.
const FIELDS: [(&str, Path); 20] = [
    ("id", Path::Id),
    ("source", Path::Source),
    ("kind", Path::Kind),
    ("type", Path::Type),
    ("severity", Path::Severity),
    ("status", Path::Status),
    ("phase", Path::Phase),
    ("summary", Path::Summary),
    ("ci", Path::Ci),
    ("host", Path::Host),
    ("service", Path::Service),
    ("metric", Path::Metric),
    ("value", Path::Value),
    ("threshold", Path::Threshold),
    ("unit", Path::Unit),
    ("raw", Path::Raw),
    ("time", Path::Time),
    ("began", Path::Began),
    ("received", Path::Received),
    ("dedup_key", Path::DedupKey),
];

/// All names after `event.`.
pub(crate) fn field_names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(name, _)| *name).chain(["labels", "annotations"])
}

impl Path {
    /// From the names after `event`.
    pub(crate) fn of(names: &[&str]) -> Option<Self> {
        match names {
            ["labels", name] => Some(Path::Label((*name).to_owned())),
            ["annotations", name] => Some(Path::Annotation((*name).to_owned())),
            [name] => FIELDS.iter().find(|(n, _)| n == name).map(|(_, p)| p.clone()),
            _ => None,
        }
    }

    /// As a rulebook writes it.
    pub(crate) fn shown(&self) -> String {
        let of = |texts: &str, name: &str| {
            if rhai::is_valid_identifier(name) {
                format!("event.{texts}.{name}")
            } else {
                format!("event.{texts}[{name:?}]")
            }
        };
        match self {
            Path::Label(name) => of("labels", name),
            Path::Annotation(name) => of("annotations", name),
            path => FIELDS.iter().find(|(_, p)| p == path).map(|(n, _)| format!("event.{n}")).unwrap_or_default(),
        }
    }

    /// The field's value in an event.
    pub(crate) fn read<'e>(&self, event: &'e Event<'_>) -> Val<'e> {
        match self {
            Path::Id => Val::optional(event.id.as_deref()),
            Path::Source => Val::text(&event.source),
            Path::Kind => Val::text(event.kind.name()),
            Path::Type => Val::text(&event.type_),
            Path::Severity => Val::severity(event.severity),
            Path::Status => Val::text(event.status.name()),
            Path::Phase => Val::optional(event.phase.map(|p| p.name())),
            Path::Summary => Val::optional(event.summary.as_deref()),
            Path::Ci => Val::optional(event.ci.best()),
            Path::Host => Val::optional(event.ci.host.as_deref()),
            Path::Service => Val::optional(event.service.as_deref().or(event.ci.service.as_deref())),
            Path::Metric => Val::optional(event.metric.as_deref()),
            Path::Value => Val::measure(event.value.as_ref()),
            Path::Threshold => Val::measure(event.threshold.as_ref()),
            Path::Unit => Val::optional(event.unit.as_deref()),
            Path::Raw => Val::optional(event.raw.as_deref()),
            Path::Time => Val::Text(Cow::Owned(event.time.to_string())),
            Path::Began => event.began.map_or(Val::Missing, |t| Val::Text(Cow::Owned(t.to_string()))),
            Path::Received => Val::Text(Cow::Owned(event.received.to_string())),
            Path::DedupKey => Val::Text(event.dedup_key()),
            Path::Label(name) => Val::optional(event.labels.get(name)),
            Path::Annotation(name) => Val::optional(event.annotations.get(name)),
        }
    }

    pub(crate) fn ty(&self) -> Ty {
        match self {
            Path::Severity => Ty::Severity,
            Path::Value | Path::Threshold => Ty::Measure,
            _ => Ty::Text,
        }
    }

    pub(crate) fn may_be_missing(&self) -> bool {
        !matches!(
            self,
            Path::Source | Path::Kind | Path::Type | Path::Status | Path::Time | Path::Received | Path::DedupKey
        )
    }

    /// The words that the field can hold, where they are few.
    pub(crate) fn words(&self) -> Option<&'static [&'static str]> {
        match self {
            Path::Kind => Some(&["alert", "log", "metric", "change", "heartbeat", "control"]),
            Path::Status => Some(&["firing", "resolved"]),
            Path::Phase => Some(&["ack", "suppressed", "flapping", "nodata", "update"]),
            _ => None,
        }
    }
}
