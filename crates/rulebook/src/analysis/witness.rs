//! Events that should pass, made from what is known of each value. Whether one does, the evaluator says.

use std::borrow::Cow;

use paramedic_model::{Event, Kind, Labels, Measure, OwnedEvent, Phase, Severity, Status, Timestamp};
use serde_json::Value;

use super::form::paths;
use super::solve::State;
use crate::condition::Term;
use crate::value::{One, Path, Two, Val};

/// With more fields than this none is looked for.
const MOST_FIELDS: usize = 64;
/// Values that are tried for a field, and combinations of them.
const MOST_VALUES: usize = 24;
const MOST_EVENTS: usize = 400;

/// Events that may pass, the plainest first, until one is enough.
pub(crate) fn events(state: &State, is_enough: &mut dyn FnMut(&OwnedEvent) -> bool) -> Option<OwnedEvent> {
    let fields = fields(state);
    if fields.len() > MOST_FIELDS {
        return None;
    }
    let values: Vec<Vec<Val<'static>>> = fields.iter().map(|path| candidates(state, path)).collect();
    if values.iter().any(Vec::is_empty) {
        return None;
    }
    // Fields that are read together vary; of the others the first value is as good as any.
    let varies: Vec<bool> = fields.iter().map(|path| is_joint(state, path)).collect();
    let mut at = vec![0usize; fields.len()];
    for _ in 0..MOST_EVENTS {
        let chosen: Vec<(Path, Val<'static>)> =
            fields.iter().zip(&values).zip(&at).map(|((path, values), i)| (path.clone(), values[*i].clone())).collect();
        if let Some(event) = event_of(&chosen).filter(|e| fits(state, e)) {
            let event = event.into_owned();
            if is_enough(&event) {
                return Some(event);
            }
        }
        let mut next = (0..at.len()).filter(|i| varies[*i]);
        loop {
            let i = next.next()?;
            at[i] += 1;
            if at[i] < values[i].len() {
                break;
            }
            at[i] = 0;
        }
    }
    None
}

/// All fields that something is known of.
fn fields(state: &State) -> Vec<Path> {
    let mut fields: Vec<Path> = state.known().iter().flat_map(|(term, _)| paths(term)).cloned().collect();
    fields.sort();
    fields.dedup();
    fields
}

/// Whether it is read together with another one: by one term, or as a part of what identifies a CI.
fn is_joint(state: &State, path: &Path) -> bool {
    let together = |term: &Term| {
        let read = paths(term);
        read.len() > 1 && read.contains(&path)
    };
    !state.open().is_empty()
        || state.known().iter().any(|(term, _)| together(term))
        || matches!(path, Path::Ci | Path::Host | Path::Service)
}

fn fits(state: &State, event: &Event<'_>) -> bool {
    state.known().iter().all(|(term, domain)| domain.has(&term.eval(event)))
        && state.open().iter().all(|(cond, holds)| cond.holds(event) == *holds)
}

/// Values of a field that fit what is known of it alone.
fn candidates(state: &State, path: &Path) -> Vec<Val<'static>> {
    let mut pool: Vec<Val<'static>> = Vec::new();
    for (term, domain) in state.known().iter().filter(|(term, _)| paths(term).contains(&path)) {
        let samples = domain.samples();
        match term {
            Term::Path(_) => pool.splice(0..0, samples).for_each(drop),
            _ => pool.extend(samples.iter().flat_map(|sample| before(term, sample))),
        }
    }
    let is_read_elsewhere = is_joint(state, path);
    if is_read_elsewhere {
        pool.extend([1, 0, 2, 10, 100, -1, 1_000].map(Val::Int));
        pool.extend(["x", "y", "1", "100"].map(Val::text));
        pool.extend([Val::Missing, Val::Severity(Severity::Critical)]);
    }
    let mut found: Vec<Val<'static>> = Vec::new();
    for value in pool {
        for value in [spelled(path, &value), value] {
            if found.len() < MOST_VALUES && !found.contains(&value) && state.fits(path, &value) {
                found.push(value);
            }
        }
    }
    found
}

/// A number as a text, where the field holds texts.
fn spelled(path: &Path, value: &Val<'static>) -> Val<'static> {
    let takes_numbers = matches!(path, Path::Value | Path::Threshold);
    match value {
        Val::Int(i) if !takes_numbers => Val::Text(i.to_string().into()),
        Val::Float(f) if !takes_numbers => Val::Text(f.to_string().into()),
        other => other.clone(),
    }
}

/// Values of which one may become this by a term.
fn before(term: &Term, value: &Val<'static>) -> Vec<Val<'static>> {
    match (term, value) {
        (Term::One(One::Len, _), Val::Int(n)) => usize::try_from(*n)
            .ok()
            .filter(|n| *n < 1_000)
            .map(|n| Val::Text("x".repeat(n).into()))
            .into_iter()
            .collect(),
        (Term::One(One::Negative | One::Abs, _), number) => vec![One::Negative.apply(number.clone()), number.clone()],
        (Term::One(One::Sqrt, _), number) => vec![Two::Times.apply(number, number)],
        (Term::One(_, inner), value) => {
            if matches!(**inner, Term::Path(_)) {
                vec![value.clone()]
            } else {
                before(inner, value)
            }
        }
        (Term::Two(function, a, b), value) => {
            let by = match (&**a, &**b) {
                (_, Term::Lit(lit)) | (Term::Lit(lit), _) => lit.val(),
                _ => return vec![value.clone()],
            };
            let undone = match function {
                Two::Plus => vec![Two::Minus],
                Two::Minus => vec![Two::Plus],
                Two::Times => vec![Two::Over],
                Two::Over => vec![Two::Times],
                Two::Modulo | Two::Min | Two::Max => vec![],
            };
            let inner = if matches!(**b, Term::Lit(_)) { a } else { b };
            let mut found: Vec<Val<'static>> = undone.into_iter().map(|f| f.apply(value, &by)).collect();
            found.push(Two::Minus.apply(&by, value));
            found.push(value.clone());
            found.retain(|v| !v.is_missing());
            if matches!(**inner, Term::Path(_)) { found } else { found.iter().flat_map(|v| before(inner, v)).collect() }
        }
        (_, value) => vec![value.clone()],
    }
}

/// An event with these values; `None` where it cannot have one of them.
pub(crate) fn event_of(values: &[(Path, Val<'static>)]) -> Option<OwnedEvent> {
    let mut event = Event::default();
    let (mut labels, mut annotations) = (Vec::new(), Vec::new());
    for (path, value) in values {
        if value.is_missing() {
            continue;
        }
        if let Path::Value | Path::Threshold = path {
            let measure = measure(value)?;
            let field = if *path == Path::Value { &mut event.value } else { &mut event.threshold };
            *field = Some(measure);
            continue;
        }
        if let (Path::Severity, Val::Severity(severity)) = (path, value) {
            event.severity = *severity;
            continue;
        }
        let Val::Text(text) = value else { return None };
        let text: Cow<'static, str> = text.clone();
        match path {
            Path::Id => event.id = Some(text),
            Path::Source => event.source = text,
            Path::Kind => event.kind = kind(&text)?,
            Path::Type => event.type_ = text,
            Path::Status => event.status = [Status::Firing, Status::Resolved].into_iter().find(|s| s.name() == text)?,
            Path::Phase => event.phase = Some(phase(&text)?),
            Path::Summary => event.summary = Some(text),
            Path::Ci => event.ci.name = Some(text),
            Path::Host => event.ci.host = Some(text),
            Path::Service => event.service = Some(text),
            Path::Metric => event.metric = Some(text),
            Path::Unit => event.unit = Some(text),
            Path::Raw => event.raw = Some(text),
            Path::DedupKey => event.dedup_key = Some(text),
            Path::Time => event.time = time(&text)?,
            Path::Began => event.began = Some(time(&text)?),
            Path::Received => event.received = time(&text)?,
            Path::Label(name) => labels.push((Cow::Owned(name.clone()), text)),
            Path::Annotation(name) => annotations.push((Cow::Owned(name.clone()), text)),
            Path::Severity | Path::Value | Path::Threshold => return None,
        }
    }
    event.labels = Labels::new(labels);
    event.annotations = Labels::new(annotations);
    Some(event)
}

fn measure(value: &Val<'static>) -> Option<Measure<'static>> {
    match value {
        Val::Int(i) => Some(Measure::Int(*i)),
        Val::Float(f) => Some(Measure::Float(*f)),
        Val::Text(text) => Some(Measure::Text(text.clone())),
        _ => None,
    }
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().filter(|time| time.to_string() == text)
}

fn kind(text: &str) -> Option<Kind> {
    [Kind::Alert, Kind::Log, Kind::Metric, Kind::Change, Kind::Heartbeat, Kind::Control]
        .into_iter()
        .find(|kind| kind.name() == text)
}

fn phase(text: &str) -> Option<Phase> {
    [Phase::Ack, Phase::Suppressed, Phase::Flapping, Phase::Nodata, Phase::Update]
        .into_iter()
        .find(|phase| phase.name() == text)
}

/// As a scenario writes it: what it says, and no more.
pub(crate) fn shown(event: &OwnedEvent) -> Value {
    let usual = serde_json::to_value(Event::default()).unwrap_or_default();
    let Ok(Value::Object(mut fields)) = serde_json::to_value(event) else { return Value::Null };
    fields.retain(|name, value| name == "type" || usual.get(name) != Some(value));
    if let Some(Value::Object(ci)) = fields.get_mut("ci") {
        ci.retain(|_, value| !value.is_null());
        if let ([name], 1) = (ci.get("name").as_slice(), ci.len()) {
            let name = (*name).clone();
            fields.insert("ci".to_owned(), name);
        }
    }
    Value::Object(fields)
}
