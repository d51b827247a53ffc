//! What the formats share: bounds, places in errors, and readers that borrow.

use std::borrow::Cow;
use std::fmt;

use paramedic_model::{Event, Labels, Measure, Span, Text, Timestamp};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{MAX_BYTES, MAX_DEPTH, MAX_KEYS, Message, Undecodable};

/// A `time` further than this ahead of the stamp is set to the stamp.
const FUTURE: Span = Span::from_secs(300);

/// The payload as text, looked at once: there, not too large, UTF-8, not empty.
pub(crate) fn payload_text<'a>(message: &Message<'a>) -> Result<&'a str, Undecodable> {
    let Some(bytes) = message.payload else {
        return Err(Undecodable("a null value (tombstone) holds no event".to_owned()));
    };
    if bytes.len() > MAX_BYTES {
        return Err(Undecodable(format!("{} bytes; at most {MAX_BYTES} are read", bytes.len())));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Undecodable(format!("not UTF-8 at byte {}; JSON is UTF-8", e.valid_up_to())))?;
    if text.trim_ascii_start().is_empty() {
        return Err(Undecodable("an empty payload holds no event".to_owned()));
    }
    Ok(text)
}

/// The byte at which nesting passes [`MAX_DEPTH`], where `outer` levels are around `text` already.
pub(crate) fn too_deep(text: &str, outer: usize) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (outer, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Some(at);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// [`too_deep`] for a whole payload.
pub(crate) fn check_depth(text: &str) -> Result<(), Undecodable> {
    match too_deep(text, 0) {
        Some(at) => Err(Undecodable(format!("nested deeper than {MAX_DEPTH} levels at byte {at}"))),
        None => Ok(()),
    }
}

/// Sets a `time` (and `began`) from the future to the stamp.
pub(crate) fn clamp(event: &mut Event<'_>) {
    if event.time.since(event.received) > FUTURE {
        event.time = event.received;
        event.clamped = true;
    }
    if let Some(began) = event.began
        && began.since(event.received) > FUTURE
    {
        event.began = Some(event.received);
        event.clamped = true;
    }
}

/// Where a reader is, for the error message. Costs nothing while all is well.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// The field.
    pub(crate) field: &'static str,
    /// What in the field.
    pub(crate) member: Option<String>,
}

impl Place {
    /// The error, in words: what is no JSON at all, or which field is not what it has to be.
    pub(crate) fn tell(&self, error: &serde_json::Error) -> Undecodable {
        Undecodable(match (error.is_data(), self.field, &self.member) {
            (false, ..) => format!("not JSON: {error}"),
            (true, "", _) => error.to_string(),
            (true, field, None) => format!("field `{field}`: {error}"),
            (true, field, Some(member)) => format!("field `{field}.{member}`: {error}"),
        })
    }
}

/// Reads a text; `null` and the empty text are none. Holds what to say it expected.
#[derive(Clone, Copy)]
pub(crate) struct Str(pub(crate) &'static str);

impl<'de> DeserializeSeed<'de> for Str {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Str {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok((!v.is_empty()).then_some(Cow::Borrowed(v)))
    }
    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok((!v.is_empty()).then(|| Cow::Owned(v.to_owned())))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Reads a number, or a text that may hold one; `null` is none.
pub(crate) struct Number;

impl<'de> DeserializeSeed<'de> for Number {
    type Value = Option<Measure<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Number {
    type Value = Option<Measure<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a text")
    }
    fn visit_i64<E>(self, v: i64) -> Result<Self::Value, E> {
        Ok(Some(Measure::Int(v)))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
        Ok(Some(i64::try_from(v).map_or(Measure::Float(v as f64), Measure::Int)))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Self::Value, E> {
        Ok(Some(Measure::Float(v)))
    }
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok((!v.is_empty()).then(|| Measure::parse(Cow::Borrowed(v))))
    }
    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok((!v.is_empty()).then(|| Measure::parse(Cow::Owned(v.to_owned()))))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Reads a map of scalars as labels, at most [`MAX_KEYS`]; `null` is none.
pub(crate) struct LabelMap<'p>(pub(crate) &'p mut Place);

impl<'de> DeserializeSeed<'de> for LabelMap<'_> {
    type Value = Labels<'de>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Labels<'de>, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for LabelMap<'_> {
    type Value = Labels<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }
    fn visit_unit<E>(self) -> Result<Labels<'de>, E> {
        Ok(Labels::default())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels<'de>, A::Error> {
        let mut pairs = Vec::with_capacity(8);
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let key = key.unwrap_or_default();
            if pairs.len() == MAX_KEYS {
                return Err(A::Error::custom(format_args!("more than {MAX_KEYS} members")));
            }
            match map.next_value::<Text<'de>>() {
                Ok(Text(Some(value))) => pairs.push((key, value)),
                Ok(Text(None)) => {}
                Err(e) => {
                    self.0.member = Some(clip(&key));
                    return Err(e);
                }
            }
        }
        Ok(Labels::new(pairs))
    }
}

/// A text as it goes into a message for people.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

/// A JSON object taken apart one level deep; every value is still its text. For formats that are not the hot path.
pub(crate) struct Object<'a> {
    whole: &'a str,
    path: String,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Takes `part` apart, which is a slice of `whole`, known to people as `path` (empty for the whole).
    pub(crate) fn read(whole: &'a str, part: &'a str, path: &str) -> Result<Self, Undecodable> {
        match serde_json::from_str::<Members<'a>>(part) {
            Ok(Members(members)) => Ok(Self { whole, path: path.to_owned(), members }),
            Err(e) if !e.is_data() => Err(Undecodable(format!("not JSON: {e}"))),
            Err(e) if path.is_empty() => Err(Undecodable(e.to_string())),
            Err(e) => Err(Undecodable(format!("field `{path}`: {} at byte {}", without_place(&e), byte(whole, part)))),
        }
    }

    /// A member's text; `null` is none, and of two with one name the later counts.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a str> {
        self.members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.get()).filter(|v| *v != "null")
    }

    /// Every member, as it came.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&Cow<'a, str>, &'a str)> {
        self.members.iter().map(|(key, value)| (key, value.get()))
    }

    /// Reads a member with `seed`.
    pub(crate) fn get<S: DeserializeSeed<'a>>(&self, name: &str, seed: S) -> Result<Option<S::Value>, Undecodable> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let mut d = serde_json::Deserializer::from_str(raw);
        seed.deserialize(&mut d).map(Some).map_err(|e| self.bad(name, &without_place(&e)))
    }

    /// A text member; empty is none.
    pub(crate) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Undecodable> {
        Ok(self.get(name, Str("a text"))?.flatten())
    }

    /// A time member.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Undecodable> {
        let text = self.get(name, Str("an RFC 3339 text such as 2026-01-01T00:00:00Z"))?.flatten();
        text.map(|t| t.parse().map_err(|e: paramedic_model::TimeError| self.bad(name, &e.to_string()))).transpose()
    }

    /// A map of scalars.
    pub(crate) fn labels(&self, name: &str) -> Result<Labels<'a>, Undecodable> {
        let mut place = Place::default();
        let read = self.get(name, LabelMap(&mut place));
        match (read, place.member) {
            (Err(_), Some(member)) => Err(self.bad(&format!("{name}.{member}"), "expected a text")),
            (read, _) => Ok(read?.unwrap_or_default()),
        }
    }

    /// An error about a member, with its path and byte.
    pub(crate) fn bad(&self, name: &str, why: &str) -> Undecodable {
        let dot = if self.path.is_empty() { "" } else { "." };
        let first = name.split('.').next().unwrap_or(name);
        let at = self.raw(first).map(|raw| format!(" at byte {}", byte(self.whole, raw))).unwrap_or_default();
        Undecodable(format!("field `{}{dot}{name}`: {why}{at}", self.path))
    }
}

/// Where `part`, a slice of `whole`, begins.
fn byte(whole: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

/// serde_json's message without its place, which would be relative to the member.
pub(crate) fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
                    if members.len() == MAX_KEYS {
                        return Err(A::Error::custom(format_args!("more than {MAX_KEYS} members")));
                    }
                    members.push((key.unwrap_or_default(), map.next_value::<&'de RawValue>()?));
                }
                Ok(Members(members))
            }
        }
        d.deserialize_map(V)
    }
}
