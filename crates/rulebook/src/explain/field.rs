//! One field of an event, set to something else.

use std::borrow::Cow;

use paramedic_model::{CiRef, Kind, Labels, Measure, OwnedEvent, Phase, Severity, Status, Timestamp};
use serde_json::Value;

use super::{FieldChange, FieldTold};
use crate::condition::Lit;
use crate::value::{Path, Ty, Val, field_names};

/// A field, and what it is set to; `None`: the event is without it.
pub(crate) type Change = (Path, Option<Lit>);

const KINDS: [Kind; 6] = [Kind::Alert, Kind::Log, Kind::Metric, Kind::Change, Kind::Heartbeat, Kind::Control];
const PHASES: [Phase; 5] = [Phase::Ack, Phase::Suppressed, Phase::Flapping, Phase::Nodata, Phase::Update];

/// The event with the changes; `None` where a field cannot hold its value.
pub(crate) fn changed(event: &OwnedEvent, changes: &[Change]) -> Option<OwnedEvent> {
    let mut event = event.clone();
    changes.iter().try_for_each(|(path, to)| set(&mut event, path, to.as_ref()))?;
    Some(event)
}

fn set(event: &mut OwnedEvent, path: &Path, to: Option<&Lit>) -> Option<()> {
    let Some(to) = to else { return remove(event, path) };
    if let (Path::Value | Path::Threshold, Some(measure)) = (path, measure(to)) {
        let field = if *path == Path::Value { &mut event.value } else { &mut event.threshold };
        *field = Some(measure);
        return Some(());
    }
    if let (Path::Severity, Lit::Severity(severity)) = (path, to) {
        event.severity = *severity;
        return Some(());
    }
    let text = to.as_text()?;
    let owned = || Cow::Owned(text.to_owned());
    match path {
        Path::Source => event.source = owned(),
        Path::Type => event.type_ = owned(),
        Path::Kind => event.kind = KINDS.into_iter().find(|k| k.name() == text)?,
        Path::Status => event.status = [Status::Firing, Status::Resolved].into_iter().find(|s| s.name() == text)?,
        Path::Phase => event.phase = Some(PHASES.into_iter().find(|p| p.name() == text)?),
        Path::Ci => event.ci = CiRef { name: Some(owned()), ..std::mem::take(&mut event.ci) },
        Path::Time => event.time = instant(text)?,
        Path::Began => event.began = Some(instant(text)?),
        Path::Received => event.received = instant(text)?,
        Path::Label(name) => event.labels = with(&event.labels, name, Some(text)),
        Path::Annotation(name) => event.annotations = with(&event.annotations, name, Some(text)),
        path => *optional(event, path)? = Some(owned()),
    }
    Some(())
}

fn remove(event: &mut OwnedEvent, path: &Path) -> Option<()> {
    match path {
        Path::Severity => event.severity = Severity::Unknown,
        Path::Phase => event.phase = None,
        Path::Ci => event.ci = CiRef::default(),
        Path::Value => event.value = None,
        Path::Threshold => event.threshold = None,
        Path::Began => event.began = None,
        Path::Service => (event.service, event.ci.service) = (None, None),
        Path::Label(name) => event.labels = with(&event.labels, name, None),
        Path::Annotation(name) => event.annotations = with(&event.annotations, name, None),
        path => *optional(event, path)? = None,
    }
    Some(())
}

fn optional<'e>(event: &'e mut OwnedEvent, path: &Path) -> Option<&'e mut Option<Cow<'static, str>>> {
    Some(match path {
        Path::Id => &mut event.id,
        Path::Summary => &mut event.summary,
        Path::Host => &mut event.ci.host,
        Path::Service => &mut event.service,
        Path::Metric => &mut event.metric,
        Path::Unit => &mut event.unit,
        Path::Raw => &mut event.raw,
        Path::DedupKey => &mut event.dedup_key,
        _ => return None,
    })
}

fn measure(lit: &Lit) -> Option<Measure<'static>> {
    match lit {
        Lit::Int(i) => Some(Measure::Int(*i)),
        Lit::Float(f) => Some(Measure::Float(*f)),
        _ => None,
    }
}

fn instant(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

fn with(labels: &Labels<'static>, name: &str, to: Option<&str>) -> Labels<'static> {
    let others = labels.iter().filter(|(n, _)| *n != name);
    let all = others.chain(to.map(|to| (name, to)));
    Labels::new(all.map(|(n, v)| (Cow::Owned(n.to_owned()), Cow::Owned(v.to_owned()))).collect())
}

/// A value as a rulebook would write it; of a word that the language has a name for, that name.
fn written(path: &Path, value: &Val<'_>) -> Option<String> {
    Some(match value {
        Val::Missing | Val::Other => return None,
        Val::Bool(b) => b.to_string(),
        Val::Int(i) => i.to_string(),
        Val::Float(f) => f.to_string(),
        Val::Text(t) if *path == Path::Status => t.to_uppercase(),
        Val::Text(t) => format!("{t:?}"),
        Val::Severity(s) => s.name().to_uppercase(),
    })
}

/// A value as JSON; what is missing is null.
fn json(value: &Val<'_>) -> Value {
    match value {
        Val::Missing | Val::Other => Value::Null,
        Val::Bool(b) => (*b).into(),
        Val::Int(i) => (*i).into(),
        Val::Float(f) => (*f).into(),
        Val::Text(t) => t.as_ref().into(),
        Val::Severity(s) => s.name().into(),
    }
}

/// A value as a literal that the field can be set to.
pub(crate) fn literal(path: &Path, value: &Val<'_>) -> Option<Lit> {
    match (path.ty(), value) {
        (Ty::Measure, Val::Int(i)) => Some(Lit::Int(*i)),
        // A number without a fraction is written without one.
        (Ty::Measure, Val::Float(f)) if f.fract() == 0.0 && f.abs() < 1e15 => Some(Lit::Int(*f as i64)),
        (Ty::Measure, Val::Float(f)) => Some(Lit::Float(*f)),
        (Ty::Severity, Val::Severity(s)) => Some(Lit::Severity(*s)),
        (Ty::Text, Val::Text(t)) => Some(Lit::Text(t.clone().into_owned())),
        _ => None,
    }
}

/// A field with its value.
pub(super) fn told(path: &Path, event: &OwnedEvent) -> FieldTold {
    let value = path.read(event);
    FieldTold { field: path.shown(), value: json(&value), written: written(path, &value) }
}

/// A field before and after.
pub(super) fn change(path: &Path, before: &OwnedEvent, after: &OwnedEvent) -> FieldChange {
    let to = path.read(after);
    FieldChange { field: path.shown(), from: json(&path.read(before)), to: json(&to), written: written(path, &to) }
}

/// The fields in which two events differ.
pub(super) fn differences(before: &OwnedEvent, after: &OwnedEvent) -> Vec<FieldChange> {
    let texts = |event: &OwnedEvent, of: fn(&OwnedEvent) -> &Labels<'static>, path: fn(String) -> Path| {
        of(event).iter().map(|(name, _)| path(name.to_owned())).collect::<Vec<_>>()
    };
    let mut paths: Vec<Path> = field_names().filter_map(|name| Path::of(&[name])).collect();
    // The key follows from type, CI and labels where nobody has given one.
    paths.retain(|path| *path != Path::DedupKey || before.dedup_key != after.dedup_key);
    paths.extend(texts(after, |event| &event.labels, Path::Label));
    paths.extend(texts(after, |event| &event.annotations, Path::Annotation));
    paths.retain(|path| path.read(before) != path.read(after));
    paths.iter().map(|path| change(path, before, after)).collect()
}
