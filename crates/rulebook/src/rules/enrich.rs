//! What the site makes of an event before any rule sees it.

use std::borrow::Cow;

use paramedic_model::{CiRef, Event, Measure, OwnedEvent, Severity};
use serde_json::Number;

use super::{ExprIx, Field, Place};

/// One step of `enrich`. All values are computed first; then they are set, or, where one fails, none.
#[derive(Clone, Debug, PartialEq)]
pub struct EnrichStep {
    /// Only events of these sources; empty: of all.
    pub sources: Vec<String>,
    /// Only events for which this holds.
    pub when: Option<ExprIx>,
    /// Only events in which this is found.
    pub find: Option<FindSpec>,
    /// What a field becomes.
    pub set: Vec<(Target, Field<New>)>,
    /// What a field becomes that is missing.
    pub default: Vec<(Target, Field<New>)>,
    /// Labels that do not count for a key that the sender has not given.
    pub drop_from_key: Vec<String>,
    /// Where it stands.
    pub place: Place,
}

/// A regular expression with named groups.
#[derive(Clone, Debug, PartialEq)]
pub struct FindSpec {
    /// In which text it is looked for.
    pub field: ExprIx,
    /// As written; in linear time.
    pub pattern: String,
}

/// A field of an event that `enrich` sets. In this order: the CI before its host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// How bad.
    Severity,
    /// Rule, alert or metric name.
    Type,
    /// One line for people.
    Summary,
    /// The CI, by name or external id. What the sender gave to identify it is let go.
    Ci,
    /// Its host name.
    Host,
    /// Service name.
    Service,
    /// Metric name.
    Metric,
    /// The measured value.
    Value,
    /// What it is compared with.
    Threshold,
    /// Unit of both.
    Unit,
    /// The key of the alert.
    DedupKey,
    /// A label.
    Label(String),
    /// An annotation.
    Annotation(String),
}

/// What a field of an event becomes.
#[derive(Clone, Debug, PartialEq)]
pub enum New {
    /// A text, not empty.
    Text(String),
    /// A severity that is known.
    Severity(Severity),
    /// A number, or a text where it is none.
    Measure(Measure<'static>),
}

impl Target {
    /// Names of those that hold one value.
    pub(crate) const NAMES: [(&'static str, Target); 11] = [
        ("severity", Target::Severity),
        ("type", Target::Type),
        ("summary", Target::Summary),
        ("ci", Target::Ci),
        ("host", Target::Host),
        ("service", Target::Service),
        ("metric", Target::Metric),
        ("value", Target::Value),
        ("threshold", Target::Threshold),
        ("unit", Target::Unit),
        ("dedup_key", Target::DedupKey),
    ];

    /// As a rulebook writes the field.
    pub fn shown(&self) -> String {
        match self {
            Target::Label(name) => format!("event.labels[{name:?}]"),
            Target::Annotation(name) => format!("event.annotations[{name:?}]"),
            other => {
                let name = Self::NAMES.iter().find(|(_, target)| target == other).map_or("", |(name, _)| name);
                format!("event.{name}")
            }
        }
    }

    /// Whether an event lacks it.
    pub fn is_missing(&self, event: &Event<'_>) -> bool {
        match self {
            Target::Severity => event.severity == Severity::Unknown,
            Target::Type => event.type_.is_empty(),
            Target::Summary => event.summary.is_none(),
            Target::Ci => event.ci.best().is_none(),
            Target::Host => event.ci.host.is_none(),
            Target::Service => event.service.is_none() && event.ci.service.is_none(),
            Target::Metric => event.metric.is_none(),
            Target::Value => event.value.is_none(),
            Target::Threshold => event.threshold.is_none(),
            Target::Unit => event.unit.is_none(),
            Target::DedupKey => event.dedup_key.is_none(),
            Target::Label(name) => event.labels.get(name).is_none(),
            Target::Annotation(name) => event.annotations.get(name).is_none(),
        }
    }
}

/// What `enrich` changes of one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes(Vec<(Target, New)>);

impl Changes {
    /// Whether it stays as sent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields and what they become, in order: of one that stands there twice, the last.
    pub fn iter(&self) -> impl Iterator<Item = &(Target, New)> {
        self.0.iter()
    }

    pub(crate) fn add(&mut self, target: Target, new: New) {
        self.0.push((target, new));
    }

    /// The event as the rules see it; it borrows from the one that was sent.
    pub fn seen<'e>(&'e self, sent: &'e Event<'_>) -> Event<'e> {
        let mut seen = sent.borrowed();
        self.0.iter().for_each(|(target, new)| put(&mut seen, Cow::Borrowed(target), Cow::Borrowed(new)));
        seen
    }

    /// The event as the rules see it, to be kept.
    pub fn keep<'e>(&self, sent: &'e OwnedEvent) -> Cow<'e, OwnedEvent> {
        if self.is_empty() { Cow::Borrowed(sent) } else { Cow::Owned(self.seen(sent).into_owned()) }
    }
}

/// Sets a field.
pub(crate) fn put<'e>(event: &mut Event<'e>, target: Cow<'e, Target>, new: Cow<'e, New>) {
    match (&*target, &*new) {
        (Target::Severity, New::Severity(severity)) => event.severity = *severity,
        (Target::Value, New::Measure(measure)) => event.value = Some(measure.clone()),
        (Target::Threshold, New::Measure(measure)) => event.threshold = Some(measure.clone()),
        _ => {
            let text = match new {
                Cow::Borrowed(New::Text(text)) => Cow::Borrowed(text.as_str()),
                Cow::Owned(New::Text(text)) => Cow::Owned(text),
                _ => return,
            };
            put_text(event, target, text);
        }
    }
}

fn put_text<'e>(event: &mut Event<'e>, target: Cow<'e, Target>, text: Cow<'e, str>) {
    match &*target {
        Target::Type => event.type_ = text,
        Target::Summary => event.summary = Some(text),
        Target::Ci => event.ci = CiRef { name: Some(text), ..CiRef::default() },
        Target::Host => event.ci.host = Some(text),
        Target::Service => event.service = Some(text),
        Target::Metric => event.metric = Some(text),
        Target::Unit => event.unit = Some(text),
        Target::DedupKey => event.dedup_key = Some(text),
        Target::Label(_) => event.labels.set(name_of(target), text),
        Target::Annotation(_) => event.annotations.set(name_of(target), text),
        Target::Severity | Target::Value | Target::Threshold => {}
    }
}

/// The name of a label or an annotation.
fn name_of(target: Cow<'_, Target>) -> Cow<'_, str> {
    match target {
        Cow::Borrowed(Target::Label(name) | Target::Annotation(name)) => Cow::Borrowed(name),
        Cow::Owned(Target::Label(name) | Target::Annotation(name)) => Cow::Owned(name),
        _ => Cow::Borrowed(""),
    }
}

/// A threshold that each CI may have its own of.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// The attribute of the CI that holds it.
    pub attribute: String,
    /// For a CI that has no such number, and for what is in no CMDB.
    pub default: Number,
}
