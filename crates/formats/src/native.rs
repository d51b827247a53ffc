//! `paramedic`: our own event, one JSON object, or an array of them (all or nothing). The hot path: everything
//! is borrowed from the payload, and nothing is computed that nobody may ask for.

use std::borrow::Cow;
use std::fmt;

use paramedic_model::{CiRef, Event, Id, Kind, Phase, Severity, Status, Text, Timestamp};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::json;
use serde_json::value::RawValue;

use crate::json::{LabelMap, Number, Place, Str, clamp, payload_text, too_deep};
use crate::{Format, MAX_DEPTH, MAX_KEYS, Message, Undecodable};

pub(crate) const FORMAT: Format = Format {
    name: "paramedic",
    about: "Paramedic's own event: a JSON object with `type`, and `ci` or `dedup_key`; or an array of them",
    decode,
};

const NEEDS: &str = "an event needs `type`, and `ci` or `dedup_key`";
const RFC3339: Str = Str("an RFC 3339 text such as 2026-01-01T00:00:00Z");

fn decode<'a>(message: Message<'a>, out: &mut Vec<Event<'a>>) -> Result<(), Undecodable> {
    let text = payload_text(&message)?;
    if !text.trim_ascii_start().starts_with('[') {
        out.push(read(&message, text)?);
        return Ok(());
    }
    let parts: Vec<&'a RawValue> = serde_json::from_str(text).map_err(|e| Undecodable(format!("not JSON: {e}")))?;
    if parts.is_empty() {
        return Err(Undecodable("an empty array holds no event".to_owned()));
    }
    let before = out.len();
    for (i, part) in parts.iter().enumerate() {
        match read(&message, part.get()) {
            Ok(event) => out.push(event),
            Err(Undecodable(why)) => {
                out.truncate(before);
                return Err(Undecodable(format!("event {i} of the array: {why}")));
            }
        }
    }
    Ok(())
}

/// Reads one object.
fn read<'a>(message: &Message<'a>, text: &'a str) -> Result<Event<'a>, Undecodable> {
    let mut place = Place::default();
    let mut d = serde_json::Deserializer::from_str(text);
    let read = Object { message, place: &mut place }.deserialize(&mut d).and_then(|read| d.end().map(|()| read));
    let (mut event, stated) = read.map_err(|e| place.tell(&e))?;
    if event.type_.is_empty() {
        return Err(Undecodable(format!("field `type` is missing; {NEEDS}")));
    }
    if event.dedup_key.is_none() && event.ci.best().is_none() {
        return Err(Undecodable(format!("neither `ci` nor `dedup_key` is there; {NEEDS}")));
    }
    event.raw = Some(Cow::Borrowed(text));
    if event.service.is_none() {
        event.service = event.ci.service.clone();
    }
    if event.id.is_none()
        && let Some(time) = stated
    {
        event.id = Some(Cow::Owned(identity(&event, time).to_string()));
    }
    clamp(&mut event);
    Ok(event)
}

/// The id of an event that carries none but states its time: as that time is in the message, a repeated
/// delivery has the same one.
fn identity(event: &Event<'_>, stated: Timestamp) -> Id {
    Id::of(&json!([event.source, event.dedup_key(), event.status, event.phase, stated, event.value]))
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Id,
    Kind,
    Type,
    Severity,
    Status,
    Phase,
    Summary,
    Ci,
    Service,
    Metric,
    Value,
    Threshold,
    Unit,
    Labels,
    Annotations,
    Time,
    Began,
    DedupKey,
    #[serde(other)]
    Unknown,
}

impl Field {
    const NAMES: [&str; 19] = [
        "id",
        "kind",
        "type",
        "severity",
        "status",
        "phase",
        "summary",
        "ci",
        "service",
        "metric",
        "value",
        "threshold",
        "unit",
        "labels",
        "annotations",
        "time",
        "began",
        "dedup_key",
        "",
    ];
}

struct Object<'m, 'a> {
    message: &'m Message<'a>,
    place: &'m mut Place,
}

impl<'de> DeserializeSeed<'de> for Object<'_, 'de> {
    type Value = (Event<'de>, Option<Timestamp>);

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = (Event<'de>, Option<Timestamp>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Object { message, place } = self;
        let mut event = Event {
            source: Cow::Borrowed(message.source),
            time: message.stamp,
            received: message.stamp,
            ..Event::default()
        };
        let (mut seen, mut stated) = (0u32, None);
        while let Some(field) = map.next_key::<Field>()? {
            place.field = Field::NAMES[field as usize];
            if field == Field::Unknown {
                skip(&mut map, 1)?;
                event.unknown_fields += 1;
                if event.unknown_fields as usize > MAX_KEYS {
                    return Err(A::Error::custom(format_args!("more than {MAX_KEYS} unknown fields")));
                }
                continue;
            }
            let bit = 1u32 << field as u32;
            if seen & bit != 0 {
                return Err(A::Error::custom("given twice"));
            }
            seen |= bit;
            take(field, &mut map, place, &mut event, &mut stated)?;
        }
        place.field = "";
        Ok((event, stated))
    }
}

/// Reads the value of one known field.
fn take<'de, A: MapAccess<'de>>(
    field: Field,
    map: &mut A,
    place: &mut Place,
    event: &mut Event<'de>,
    stated: &mut Option<Timestamp>,
) -> Result<(), A::Error> {
    const TEXT: Str = Str("a text");
    match field {
        Field::Id => event.id = map.next_value::<Text<'de>>()?.0.filter(|t| !t.is_empty()),
        Field::DedupKey => event.dedup_key = map.next_value::<Text<'de>>()?.0.filter(|t| !t.is_empty()),
        Field::Type => event.type_ = map.next_value_seed(TEXT)?.unwrap_or_default(),
        Field::Summary => event.summary = map.next_value_seed(TEXT)?,
        Field::Service => event.service = map.next_value_seed(TEXT)?,
        Field::Metric => event.metric = map.next_value_seed(TEXT)?,
        Field::Unit => event.unit = map.next_value_seed(TEXT)?,
        Field::Value => event.value = map.next_value_seed(Number)?,
        Field::Threshold => event.threshold = map.next_value_seed(Number)?,
        Field::Labels => event.labels = map.next_value_seed(LabelMap(place))?,
        Field::Annotations => event.annotations = map.next_value_seed(LabelMap(place))?,
        Field::Time => {
            *stated = instant(map.next_value_seed(RFC3339)?)?;
            event.time = stated.unwrap_or(event.received);
        }
        Field::Began => event.began = instant(map.next_value_seed(RFC3339)?)?,
        Field::Ci => event.ci = map.next_value_seed(Ci { place, unknown: &mut event.unknown_fields })?,
        Field::Severity => {
            let word = map.next_value_seed(Str("one of critical, major, minor, warning, info, unknown"))?;
            event.severity = word.and_then(|w| Severity::from_name(&w)).unwrap_or_default();
        }
        Field::Status => {
            event.status = word(map.next_value_seed(TEXT)?, &[Status::Firing, Status::Resolved], Status::name)?
                .unwrap_or_default();
        }
        Field::Kind => event.kind = word(map.next_value_seed(TEXT)?, &KINDS, Kind::name)?.unwrap_or_default(),
        Field::Phase => event.phase = word(map.next_value_seed(TEXT)?, &PHASES, Phase::name)?,
        Field::Unknown => {}
    }
    Ok(())
}

const KINDS: [Kind; 6] = [Kind::Alert, Kind::Log, Kind::Metric, Kind::Change, Kind::Heartbeat, Kind::Control];
const PHASES: [Phase; 5] = [Phase::Ack, Phase::Suppressed, Phase::Flapping, Phase::Nodata, Phase::Update];

/// One of a list of words, in any case; an unknown one is an error, for a guess at a status could close or open.
fn word<T: Copy, E: Error>(text: Option<Cow<'_, str>>, all: &[T], name: fn(T) -> &'static str) -> Result<Option<T>, E> {
    let Some(text) = text else { return Ok(None) };
    if let Some(found) = all.iter().find(|t| name(**t).eq_ignore_ascii_case(&text)) {
        return Ok(Some(*found));
    }
    let names: Vec<&str> = all.iter().map(|t| name(*t)).collect();
    Err(E::custom(format_args!("{:?} is not one of {}", crate::json::clip(&text), names.join(", "))))
}

fn instant<E: Error>(text: Option<Cow<'_, str>>) -> Result<Option<Timestamp>, E> {
    text.map(|t| t.parse().map_err(E::custom)).transpose()
}

/// Passes over an unknown value, which stays in `raw`; `outer` levels are around it.
fn skip<'de, A: MapAccess<'de>>(map: &mut A, outer: usize) -> Result<(), A::Error> {
    let value = map.next_value::<&'de RawValue>()?.get();
    if value.starts_with(['{', '[']) && too_deep(value, outer).is_some() {
        return Err(A::Error::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
    }
    Ok(())
}

/// Reads `ci`: a name, or an object of identifiers.
struct Ci<'p> {
    place: &'p mut Place,
    unknown: &'p mut u32,
}

impl<'de> DeserializeSeed<'de> for Ci<'_> {
    type Value = CiRef<'de>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<CiRef<'de>, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Ci<'_> {
    type Value = CiRef<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name or an object")
    }
    fn visit_unit<E>(self) -> Result<CiRef<'de>, E> {
        Ok(CiRef::default())
    }
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<CiRef<'de>, E> {
        Ok(CiRef { name: (!v.is_empty()).then_some(Cow::Borrowed(v)), ..CiRef::default() })
    }
    fn visit_str<E>(self, v: &str) -> Result<CiRef<'de>, E> {
        Ok(CiRef { name: (!v.is_empty()).then(|| Cow::Owned(v.to_owned())), ..CiRef::default() })
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<CiRef<'de>, A::Error> {
        let mut ci = CiRef::default();
        let mut members = 0;
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let key = key.unwrap_or_default();
            members += 1;
            if members > MAX_KEYS {
                return Err(A::Error::custom(format_args!("more than {MAX_KEYS} members")));
            }
            let Some(slot) = slot(&mut ci, &key) else {
                skip(&mut map, 2)?;
                *self.unknown += 1;
                continue;
            };
            match map.next_value_seed(Str("a text")) {
                Ok(value) => *slot = value,
                Err(e) => {
                    self.place.member = Some(key.into_owned());
                    return Err(e);
                }
            }
        }
        Ok(ci)
    }
}

/// The identifier of that name.
pub(crate) fn slot<'c, 'a>(ci: &'c mut CiRef<'a>, name: &str) -> Option<&'c mut Option<Cow<'a, str>>> {
    Some(match name {
        "name" => &mut ci.name,
        "external_id" => &mut ci.external_id,
        "fqdn" => &mut ci.fqdn,
        "host" => &mut ci.host,
        "instance" => &mut ci.instance,
        "ip" => &mut ci.ip,
        "component" => &mut ci.component,
        "service" => &mut ci.service,
        "namespace" => &mut ci.namespace,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_schema_has_the_fields_that_are_read_and_says_what_they_mean() {
        let schema = crate::event_schema();
        let properties = |name: &str| schema["definitions"][name]["properties"].as_object().unwrap().clone();
        let fields: BTreeSet<String> = properties("event").keys().cloned().collect();
        assert_eq!(fields, Field::NAMES.iter().filter(|n| !n.is_empty()).map(|n| (*n).to_owned()).collect());
        let ci = properties("ci");
        assert!(ci.keys().all(|name| slot(&mut CiRef::default(), name).is_some()));
        let whole = CiRef {
            name: Some("n".into()),
            external_id: Some("e".into()),
            fqdn: Some("f".into()),
            host: Some("h".into()),
            instance: Some("i".into()),
            ip: Some("p".into()),
            component: Some("c".into()),
            service: Some("s".into()),
            namespace: Some("ns".into()),
        };
        assert_eq!(json!(whole).as_object().unwrap().len(), ci.len());
        for (name, value) in properties("event").into_iter().chain(ci) {
            assert!(value["description"].as_str().is_some_and(|d| d.ends_with('.')), "{name}");
        }
        for (field, words) in [("kind", KINDS.map(Kind::name).to_vec()), ("phase", PHASES.map(Phase::name).to_vec())] {
            assert_eq!(properties("event")[field]["anyOf"][0]["enum"], json!(words));
        }
    }
}
