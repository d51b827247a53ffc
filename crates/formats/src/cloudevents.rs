//! `cloudevents`: CloudEvents 1.0, structured, batched or binary, as Kafka or HTTP carry them.
//!
//! The envelope names the event (source, id, type, subject, time); what `data` says in the words of our own
//! event (`ci`, `severity`, `status`, `value`, `labels`...) is taken from there. Attributes and scalars of
//! `data` that have no place of their own become annotations.

use std::borrow::Cow;

use base64::Engine as _;
use paramedic_model::{CiRef, Event, Id, Labels, Measure, Severity, Status, Text, Timestamp};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::alertmanager::{name_host, severity};
use crate::json::{Object, check_depth, clamp, clip, payload_text, without_place};
use crate::native::slot;
use crate::{Format, MAX_BYTES, MAX_KEYS, Message, Undecodable};

pub(crate) const FORMAT: Format = Format {
    name: "cloudevents",
    about: "CloudEvents 1.0 in JSON: structured, batched, or binary with ce_ (Kafka) or ce- (HTTP) headers",
    decode,
};

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A CloudEvent, however it was carried.
struct Envelope<'a> {
    attributes: Vec<Pair<'a>>,
    data: Value,
    raw: Option<&'a str>,
    unknown: u32,
}

fn decode<'a>(message: Message<'a>, out: &mut Vec<Event<'a>>) -> Result<(), Undecodable> {
    let content_type = header(&message, "content-type").unwrap_or_default().to_ascii_lowercase();
    if content_type.starts_with("application/cloudevents") && !content_type.contains("json") {
        return Err(Undecodable(format!("content-type {:?}: only the JSON format is read", clip(&content_type))));
    }
    if !content_type.starts_with("application/cloudevents") {
        let attributes = header_attributes(&message)?;
        if attributes.iter().any(|(name, _)| name == "specversion") {
            out.push(binary(&message, attributes, &content_type)?);
            return Ok(());
        }
    }
    let text = payload_text(&message)?;
    check_depth(text)?;
    if !text.trim_ascii_start().starts_with('[') {
        out.push(event(&message, structured(text, text, "")?)?);
        return Ok(());
    }
    let parts: Vec<&'a RawValue> = serde_json::from_str(text).map_err(|e| Undecodable(format!("not JSON: {e}")))?;
    if parts.is_empty() {
        return Err(Undecodable("an empty batch holds no event".to_owned()));
    }
    let before = out.len();
    for (i, part) in parts.iter().enumerate() {
        let read = structured(text, part.get(), &format!("[{i}]")).and_then(|envelope| event(&message, envelope));
        match read {
            Ok(event) => out.push(event),
            Err(Undecodable(why)) => {
                out.truncate(before);
                return Err(Undecodable(format!("event {i} of the batch: {why}")));
            }
        }
    }
    Ok(())
}

fn header<'a>(message: &Message<'a>, name: &str) -> Option<&'a str> {
    let (_, value) = message.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(value).ok()
}

/// The attributes in `ce_` headers, as they are, and in `ce-` headers, percent-decoded.
fn header_attributes<'a>(message: &Message<'a>) -> Result<Vec<Pair<'a>>, Undecodable> {
    let mut attributes = Vec::new();
    for (name, value) in message.headers {
        let (Some(prefix), Some(rest)) = (name.get(..3), name.get(3..)) else { continue };
        let bad = || Undecodable(format!("header `{}`: not UTF-8", clip(name)));
        let value = if prefix.eq_ignore_ascii_case("ce_") {
            Cow::Borrowed(std::str::from_utf8(value).map_err(|_| bad())?)
        } else if prefix.eq_ignore_ascii_case("ce-") {
            Cow::Owned(String::from_utf8(percent_decoded(value)).map_err(|_| bad())?)
        } else {
            continue;
        };
        attributes.push((Cow::Owned(rest.to_ascii_lowercase()), value));
    }
    if attributes.len() > MAX_KEYS {
        return Err(Undecodable(format!("more than {MAX_KEYS} attributes")));
    }
    Ok(attributes)
}

fn percent_decoded(value: &[u8]) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(value.len());
    let mut i = 0;
    while i < value.len() {
        if value[i] == b'%'
            && let (Some(high), Some(low)) = (digit(value.get(i + 1)), digit(value.get(i + 2)))
        {
            out.push((high * 16 + low) as u8);
            i += 3;
        } else {
            out.push(value[i]);
            i += 1;
        }
    }
    out
}

/// Binary mode: attributes around, data within. A null value is an event without data.
fn binary<'a>(message: &Message<'a>, attributes: Vec<Pair<'a>>, kind: &str) -> Result<Event<'a>, Undecodable> {
    let mut envelope = Envelope { attributes, data: Value::Null, raw: None, unknown: 0 };
    if message.payload.is_some_and(|bytes| !bytes.is_empty()) {
        match payload_text(message) {
            Ok(text) => {
                envelope.raw = Some(text);
                envelope.data = data(text, kind)?;
            }
            // Data that says that it is no JSON maps to nothing.
            Err(_) if !is_json(kind) && message.payload.is_some_and(|bytes| bytes.len() <= MAX_BYTES) => {}
            Err(e) => return Err(e),
        }
    }
    event(message, envelope)
}

/// Structured mode: one JSON object, which is `part` of `whole`.
fn structured<'a>(whole: &'a str, part: &'a str, path: &str) -> Result<Envelope<'a>, Undecodable> {
    let object = Object::read(whole, part, path)?;
    let mut envelope = Envelope { attributes: Vec::new(), data: Value::Null, raw: Some(part), unknown: 0 };
    for (name, raw) in object.members() {
        match name.as_ref() {
            "data" | "data_base64" => {}
            _ if raw.starts_with(['{', '[']) => envelope.unknown += 1,
            _ => {
                let text: Text<'a> = serde_json::from_str(raw).map_err(|e| object.bad(name, &without_place(&e)))?;
                if let Text(Some(text)) = text {
                    envelope.attributes.push((name.clone(), text));
                }
            }
        }
    }
    let kind = envelope.attributes.iter().find(|(name, _)| name == "datacontenttype");
    let kind = kind.map(|(_, kind)| kind.to_ascii_lowercase()).unwrap_or_default();
    match (object.raw("data"), object.text("data_base64")?) {
        (Some(_), Some(_)) => return Err(object.bad("data_base64", "given together with `data`")),
        (Some(raw), None) => {
            envelope.data = serde_json::from_str(raw).map_err(|e| object.bad("data", &without_place(&e)))?;
        }
        (None, Some(coded)) => {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(coded.as_bytes())
                .map_err(|e| object.bad("data_base64", &e.to_string()))?;
            // Data that is no text stays in `raw`, and maps to nothing.
            if let Ok(text) = String::from_utf8(bytes) {
                check_depth(&text)?;
                envelope.data = data(&text, &kind)?;
            }
        }
        (None, None) => {}
    }
    Ok(envelope)
}

/// Data by its content type: JSON where it says so or says nothing, else a text.
fn data(text: &str, kind: &str) -> Result<Value, Undecodable> {
    if is_json(kind) {
        check_depth(text)?;
        serde_json::from_str(text).map_err(|e| Undecodable(format!("data is not JSON: {e}")))
    } else {
        Ok(Value::from(text))
    }
}

fn is_json(kind: &str) -> bool {
    kind.is_empty() || kind.contains("json")
}

fn event<'a>(message: &Message<'a>, envelope: Envelope<'a>) -> Result<Event<'a>, Undecodable> {
    let Envelope { mut attributes, data, raw, unknown } = envelope;
    let mut take = |name: &str| {
        let at = attributes.iter().position(|(key, _)| key == name)?;
        Some(attributes.swap_remove(at).1).filter(|text| !text.is_empty())
    };
    let missing = |name: &str| {
        Undecodable(format!("attribute `{name}` is missing; a CloudEvent needs specversion, id, source and type"))
    };
    let version = take("specversion").ok_or_else(|| {
        Undecodable(
            "no CloudEvent: neither a `specversion` member, nor a ce_specversion or ce-specversion header".to_owned(),
        )
    })?;
    if version != "1.0" {
        return Err(Undecodable(format!(
            "attribute `specversion`: found {:?}; this format reads \"1.0\"",
            clip(&version)
        )));
    }
    let source = take("source").ok_or_else(|| missing("source"))?;
    let id = take("id").ok_or_else(|| missing("id"))?;
    let type_ = take("type").ok_or_else(|| missing("type"))?;
    let time = take("time").map(|t| instant("attribute `time`", &t)).transpose()?;
    let subject = take("subject");
    let number = take("severitynumber").map(|n| otel_severity(&n)).transpose()?;
    let word = take("severitytext");
    let (_, _) = (take("datacontenttype"), take("dataschema"));
    let (stem, said) = stem(&type_);
    let stem = stem.to_owned();
    let mut event = Event {
        id: Some(Cow::Owned(format!("{source}|{id}"))),
        source,
        status: said.unwrap_or_default(),
        type_,
        time: time.unwrap_or(message.stamp),
        received: message.stamp,
        raw: raw.map(Cow::Borrowed),
        unknown_fields: unknown,
        ..Event::default()
    };
    let mut labels = Vec::new();
    if let Some(subject) = &subject {
        read_subject(subject, &mut event.ci, &mut labels);
    }
    let known = read_data(data, &mut event, said.is_none(), labels, attributes)?;
    event.severity = number.or(known.severity).or_else(|| word.map(|w| severity(&w))).unwrap_or_default();
    event.dedup_key = Some(match (known.dedup_key, subject) {
        (Some(key), _) => Cow::Owned(key),
        (None, Some(subject)) => Cow::Owned(format!("{subject}|{stem}")),
        (None, None) => Cow::Owned(Id::of(&json!([stem, event.ci, event.labels])).to_string()),
    });
    clamp(&mut event);
    Ok(event)
}

fn instant(what: &str, text: &str) -> Result<Timestamp, Undecodable> {
    text.parse().map_err(|e| Undecodable(format!("{what}: {e}")))
}

/// The type without its state, and the status that the state says.
fn stem(type_: &str) -> (&str, Option<Status>) {
    let Some((stem, state)) = type_.rsplit_once('.') else { return (type_, None) };
    match state {
        "firing" | "problem" | "opened" => (stem, Some(Status::Firing)),
        "resolved" | "recovered" | "closed" => (stem, Some(Status::Resolved)),
        _ => (type_, None),
    }
}

/// OpenTelemetry's scale, 1 to 24.
fn otel_severity(number: &str) -> Result<Severity, Undecodable> {
    match number.trim().parse::<u8>() {
        Ok(1..=12) => Ok(Severity::Info),
        Ok(13..=16) => Ok(Severity::Warning),
        Ok(17..=20) => Ok(Severity::Major),
        Ok(21..=24) => Ok(Severity::Critical),
        Ok(0) => Ok(Severity::Unknown),
        _ => Err(Undecodable(format!("attribute `severitynumber`: {:?} is not a number from 0 to 24", clip(number)))),
    }
}

/// `host/NAME/port/5432`: pairs that name a CI, the others labels. A subject that names none is the CI's name.
fn read_subject<'a>(subject: &str, ci: &mut CiRef<'a>, labels: &mut Vec<Pair<'a>>) {
    let mut parts = subject.trim_matches('/').split('/');
    let mut pairs = Vec::new();
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        pairs.push((key, value));
    }
    let mut found = false;
    for (key, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        let name = match *key {
            "host" | "node" | "server" => {
                name_host(ci, value);
                found = true;
                continue;
            }
            "ci" => "external_id",
            "app" => "service",
            "pod" => "instance",
            key => key,
        };
        match slot(ci, name) {
            Some(slot) => {
                *slot = Some(Cow::Owned((*value).to_owned()));
                found |= name != "namespace";
            }
            None => labels.push((Cow::Owned((*key).to_owned()), Cow::Owned((*value).to_owned()))),
        }
    }
    if !found {
        labels.clear();
        *ci = CiRef { name: Some(Cow::Owned(subject.to_owned())), ..CiRef::default() };
    }
}

/// What `data` says beyond the event's own fields.
#[derive(Default)]
struct Known {
    severity: Option<Severity>,
    dedup_key: Option<String>,
}

/// Takes from `data` what is said in the words of our own event; the other scalars become annotations.
fn read_data<'a>(
    data: Value,
    event: &mut Event<'a>,
    states: bool,
    mut labels: Vec<Pair<'a>>,
    mut annotations: Vec<Pair<'a>>,
) -> Result<Known, Undecodable> {
    let Value::Object(mut map) = data else {
        event.summary = data.as_str().map(|text| Cow::Owned(text.chars().take(160).collect()));
        event.labels = Labels::new(labels);
        event.annotations = Labels::new(annotations);
        return Ok(Known::default());
    };
    if map.len() > MAX_KEYS {
        return Err(Undecodable(format!("field `data`: more than {MAX_KEYS} members")));
    }
    if states {
        match map.get("status").and_then(Value::as_str) {
            Some(word) if word.eq_ignore_ascii_case("resolved") => event.status = Status::Resolved,
            Some(word) if word.eq_ignore_ascii_case("firing") => event.status = Status::Firing,
            _ => {}
        }
    }
    read_data_ci(&mut map, &mut event.ci)?;
    let mut take = |name: &str| map.remove(name).as_ref().and_then(scalar).filter(|text| !text.is_empty());
    let dedup_key = take("dedup_key").or_else(|| take("fingerprint"));
    let severity = take("severity").map(|word| severity(&word));
    event.summary = ["summary", "message", "title"].into_iter().find_map(&mut take).map(Cow::Owned);
    event.metric = take("metric").map(Cow::Owned);
    event.unit = take("unit").map(Cow::Owned);
    event.value = take("value").map(|v| Measure::parse(Cow::Owned(v)));
    event.threshold = take("threshold").map(|v| Measure::parse(Cow::Owned(v)));
    event.service = take("service").map(Cow::Owned).or_else(|| event.ci.service.clone());
    event.began = take("began").map(|t| instant("field `data.began`", &t)).transpose()?;
    for (name, into) in [("labels", &mut labels), ("annotations", &mut annotations)] {
        if let Some(Value::Object(members)) = map.remove(name) {
            into.extend(members.into_iter().filter_map(|(k, v)| Some((Cow::Owned(k), Cow::Owned(scalar(&v)?)))));
        }
    }
    annotations.extend(map.into_iter().filter_map(|(k, v)| Some((Cow::Owned(k), Cow::Owned(scalar(&v)?)))));
    event.labels = Labels::new(labels);
    event.annotations = Labels::new(annotations);
    Ok(Known { severity, dedup_key })
}

/// The CI that `data` names: in `ci`, or where the subject names none, in members of their own.
fn read_data_ci(map: &mut Map<String, Value>, ci: &mut CiRef<'_>) -> Result<(), Undecodable> {
    match map.remove("ci") {
        Some(Value::String(name)) if !name.is_empty() => {
            *ci = CiRef { name: Some(Cow::Owned(name)), ..CiRef::default() };
        }
        Some(Value::Object(members)) => *ci = read_ci(members)?,
        Some(Value::Null | Value::String(_)) | None => {}
        Some(_) => return Err(Undecodable("field `data.ci`: expected a name or an object".to_owned())),
    }
    if ci.best().is_none() {
        for name in ["external_id", "fqdn", "host", "instance", "ip", "component", "service", "namespace"] {
            if let (Some(text), Some(slot)) = (map.get(name).and_then(scalar), slot(ci, name)) {
                *slot = Some(Cow::Owned(text));
            }
        }
    }
    Ok(())
}

fn read_ci(members: Map<String, Value>) -> Result<CiRef<'static>, Undecodable> {
    let mut ci = CiRef::default();
    for (name, value) in members {
        let Some(slot) = slot(&mut ci, &name) else { continue };
        match value {
            Value::String(text) => *slot = (!text.is_empty()).then_some(Cow::Owned(text)),
            Value::Null => {}
            _ => return Err(Undecodable(format!("field `data.ci.{name}`: expected a text"))),
        }
    }
    Ok(ci)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}
