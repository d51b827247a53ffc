//! What scripts handle: the event, its labels, severities, CIs and the CMDB, as read-only values.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use paramedic_model::{Ci, Cmdb, Id, OwnedEvent, Severity};
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString};

use super::cost::{Budget, charged};
use super::json::from_json;
use crate::value::{Path, Val, field_names};

/// The event that is being evaluated: `label("x")` has no argument for it.
pub(crate) type Current = Rc<RefCell<Option<EventObject>>>;

/// `event`.
#[derive(Clone)]
pub(crate) struct EventObject(pub(crate) Rc<OwnedEvent>);

/// `event.labels`, `event.annotations`.
#[derive(Clone)]
pub(crate) struct TextsObject {
    event: Rc<OwnedEvent>,
    annotations: bool,
}

/// A severity: compares by rank, and with nothing else.
#[derive(Clone, Copy)]
pub(crate) struct SeverityObject(pub(crate) Severity);

/// `cmdb`.
#[derive(Clone)]
pub(crate) struct CmdbObject(pub(crate) Arc<Cmdb>);

/// A CI. It is looked up on each access: a list of thousands of dependents copies none of them.
#[derive(Clone)]
pub(crate) struct CiObject {
    pub(crate) id: Id,
    cmdb: Arc<Cmdb>,
    /// `about`, when the CMDB at hand does not hold it.
    own: Option<Rc<Ci>>,
}

/// `about.attributes`.
#[derive(Clone)]
pub(crate) struct AttributesObject(CiObject);

/// The names after `about.` and any other CI.
pub(crate) const CI_FIELDS: [&str; 8] =
    ["id", "name", "class", "environment", "criticality", "owner", "operational_status", "attributes"];

impl CiObject {
    pub(crate) fn new(cmdb: &Arc<Cmdb>, ci: &Ci) -> Self {
        let own = if cmdb.get(ci.id).is_none() { Some(Rc::new(ci.clone())) } else { None };
        Self { id: ci.id, cmdb: Arc::clone(cmdb), own }
    }

    pub(crate) fn in_cmdb(cmdb: &Arc<Cmdb>, ci: &Ci) -> Dynamic {
        Dynamic::from(Self { id: ci.id, cmdb: Arc::clone(cmdb), own: None })
    }

    fn ci(&self) -> Option<&Ci> {
        self.own.as_deref().or_else(|| self.cmdb.get(self.id))
    }

    /// Its name; its id when it is gone.
    pub(crate) fn name(&self) -> String {
        self.ci().map_or_else(|| self.id.to_string(), |ci| ci.name.clone())
    }

    fn field(&self, name: &str) -> Option<Dynamic> {
        let ci = self.ci()?;
        let text = |t: &str| Some(Dynamic::from(ImmutableString::from(t)));
        match name {
            "id" => text(&ci.id.to_string()),
            "name" => text(&ci.name),
            "class" => text(&ci.class),
            "environment" => ci.environment.as_deref().and_then(text),
            "criticality" => ci.criticality.map(|c| Dynamic::from(i64::from(c))),
            "owner" => ci.owner.as_deref().and_then(text),
            "operational_status" => ci.operational_status.map(|s| Dynamic::from(i64::from(s.code()))),
            "attributes" => Some(Dynamic::from(AttributesObject(self.clone()))),
            _ => None,
        }
    }
}

/// A value for a script.
pub(crate) fn dynamic(value: Val<'_>) -> Dynamic {
    match value {
        Val::Missing | Val::Other => Dynamic::UNIT,
        Val::Bool(b) => b.into(),
        Val::Int(i) => i.into(),
        Val::Float(f) => f.into(),
        Val::Text(t) => ImmutableString::from(t.as_ref()).into(),
        Val::Severity(s) => Dynamic::from(SeverityObject(s)),
    }
}

/// What a script's value compares as.
pub(crate) fn val(value: &Dynamic) -> Val<'static> {
    if value.is_unit() {
        Val::Missing
    } else if let Ok(b) = value.as_bool() {
        Val::Bool(b)
    } else if let Ok(i) = value.as_int() {
        Val::Int(i)
    } else if let Ok(f) = value.as_float() {
        Val::Float(f)
    } else if let Ok(c) = value.as_char() {
        Val::Text(c.to_string().into())
    } else if let Ok(t) = value.as_immutable_string_ref() {
        Val::Text(t.to_string().into())
    } else if let Some(s) = value.read_lock::<SeverityObject>() {
        Val::severity(s.0)
    } else {
        Val::Other
    }
}

fn texts(event: &EventObject, annotations: bool) -> Dynamic {
    Dynamic::from(TextsObject { event: Rc::clone(&event.0), annotations })
}

impl TextsObject {
    fn get(&self, name: &str) -> Dynamic {
        let texts = if self.annotations { &self.event.annotations } else { &self.event.labels };
        dynamic(Val::optional(texts.get(name)))
    }
}

fn event_field(event: &EventObject, name: &str) -> Result<Dynamic, Box<EvalAltResult>> {
    match name {
        "labels" => Ok(texts(event, false)),
        "annotations" => Ok(texts(event, true)),
        _ => match Path::of(&[name]) {
            Some(path) => Ok(dynamic(path.read(&event.0))),
            None => Err(format!("an event has no field {name:?}").into()),
        },
    }
}

/// Registers the event's side: fields and labels.
pub(crate) fn register_event(engine: &mut Engine, budget: &Budget) {
    engine.register_type_with_name::<EventObject>("event").register_type_with_name::<TextsObject>("labels");
    engine.register_type_with_name::<SeverityObject>("severity");
    for name in field_names() {
        let left = Rc::clone(budget);
        engine.register_get(name, move |event: &mut EventObject| {
            event_field(event, name).map(|value| charged(&left, value))
        });
    }
    let left = Rc::clone(budget);
    engine.register_indexer_get(move |event: &mut EventObject, name: ImmutableString| {
        event_field(event, &name).map(|value| charged(&left, value))
    });
    // What is missing has nothing in it: a member that has not come, a CI that is not known.
    engine.register_indexer_get(|(): &mut (), _: ImmutableString| ());
    let left = Rc::clone(budget);
    engine.register_indexer_get(move |texts: &mut TextsObject, name: ImmutableString| charged(&left, texts.get(&name)));
    engine.register_fn("contains", |texts: &mut TextsObject, name: ImmutableString| !texts.get(&name).is_unit());
}

/// Registers the CMDB's side.
pub(crate) fn register_cmdb(engine: &mut Engine, budget: &Budget) {
    engine.register_type_with_name::<CiObject>("ci").register_type_with_name::<CmdbObject>("cmdb");
    engine.register_type_with_name::<AttributesObject>("attributes");
    for name in CI_FIELDS {
        engine.register_get(name, move |ci: &mut CiObject| ci.field(name).unwrap_or(Dynamic::UNIT));
    }
    let left = Rc::clone(budget);
    engine.register_indexer_get(move |attributes: &mut AttributesObject, name: ImmutableString| {
        let found = attributes.0.ci().and_then(|ci| ci.attributes.get(name.as_str()));
        charged(&left, found.map_or(Dynamic::UNIT, |a| from_json(&a.value)))
    });
}
