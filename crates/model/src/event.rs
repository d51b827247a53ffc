//! One normalised message from a monitoring system (docs/formats.md).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Id, Timestamp};

mod changed;

/// How bad the sender says it is. `Unknown` compares like a missing value in conditions: see [`Severity::rank`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The sender said nothing that is known. Not the same as `Info`.
    #[default]
    Unknown,
    /// For information.
    Info,
    /// Not yet harmful.
    Warning,
    /// Some harm.
    Minor,
    /// Much harm.
    Major,
    /// The worst.
    Critical,
}

impl Severity {
    /// All but `Unknown`, mildest first.
    pub const KNOWN: [Severity; 5] =
        [Severity::Info, Severity::Warning, Severity::Minor, Severity::Major, Severity::Critical];

    /// 1 info .. 5 critical; `None` when unknown.
    pub const fn rank(self) -> Option<i64> {
        match self {
            Severity::Unknown => None,
            Severity::Info => Some(1),
            Severity::Warning => Some(2),
            Severity::Minor => Some(3),
            Severity::Major => Some(4),
            Severity::Critical => Some(5),
        }
    }

    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Unknown => "unknown",
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Minor => "minor",
            Severity::Major => "major",
            Severity::Critical => "critical",
        }
    }

    /// From the word on the wire, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::KNOWN.into_iter().chain([Severity::Unknown]).find(|s| s.name().eq_ignore_ascii_case(name))
    }
}

/// Whether the condition holds or has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The condition holds.
    #[default]
    Firing,
    /// The condition has ended.
    Resolved,
}

impl Status {
    /// Both.
    pub const ALL: [Status; 2] = [Status::Firing, Status::Resolved];

    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Firing => "firing",
            Status::Resolved => "resolved",
        }
    }

    /// From the word on the wire, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name().eq_ignore_ascii_case(name))
    }
}

/// A note on a status that makes it less than an ordinary firing or resolve. Absent is the normal phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Acknowledged in the source.
    Ack,
    /// Suppressed in the source (downtime, silence).
    Suppressed,
    /// The source sees it flap.
    Flapping,
    /// The source has no data.
    Nodata,
    /// Only a text or a value changed.
    Update,
}

impl Phase {
    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Ack => "ack",
            Phase::Suppressed => "suppressed",
            Phase::Flapping => "flapping",
            Phase::Nodata => "nodata",
            Phase::Update => "update",
        }
    }
}

/// What sort of message it is. Only alerts have repeats; every metric or log sample counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A condition that begins and ends.
    #[default]
    Alert,
    /// A log line.
    Log,
    /// A sample.
    Metric,
    /// A change somewhere.
    Change,
    /// A sign of life.
    Heartbeat,
    /// About the feed itself (webhook test, subscription).
    Control,
}

impl Kind {
    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Alert => "alert",
            Kind::Log => "log",
            Kind::Metric => "metric",
            Kind::Change => "change",
            Kind::Heartbeat => "heartbeat",
            Kind::Control => "control",
        }
    }
}

/// The identifiers that a sender gives for a configuration item. All optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CiRef<'a> {
    /// A bare name, where `ci` was a text on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// An identifier of the CMDB or of the source's own inventory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Cow<'a, str>>,
    /// Fully qualified domain name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<Cow<'a, str>>,
    /// Short host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Cow<'a, str>>,
    /// An instance of a service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<Cow<'a, str>>,
    /// IP address, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Cow<'a, str>>,
    /// Part of a host or service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<Cow<'a, str>>,
    /// Service name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Cow<'a, str>>,
    /// Namespace (Kubernetes).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Cow<'a, str>>,
}

impl CiRef<'_> {
    /// The identifiers that are present, best first: name, external_id, fqdn, host, instance, ip, component, service.
    pub fn identifiers(&self) -> impl Iterator<Item = &str> {
        [
            &self.name,
            &self.external_id,
            &self.fqdn,
            &self.host,
            &self.instance,
            &self.ip,
            &self.component,
            &self.service,
        ]
        .into_iter()
        .filter_map(|field| field.as_deref())
    }

    /// `event.ci` in a rulebook: the best identifier as sent.
    pub fn best(&self) -> Option<&str> {
        self.identifiers().next()
    }

    /// The identifiers by their names, in the order of these, as canonical JSON has them.
    fn sorted(&self) -> impl Serialize {
        let all = [
            ("component", &self.component),
            ("external_id", &self.external_id),
            ("fqdn", &self.fqdn),
            ("host", &self.host),
            ("instance", &self.instance),
            ("ip", &self.ip),
            ("name", &self.name),
            ("namespace", &self.namespace),
            ("service", &self.service),
        ];
        Sorted(all.map(|(name, text)| (name, text.as_deref())))
    }

    /// A copy that borrows nothing.
    pub fn into_owned(self) -> CiRef<'static> {
        CiRef {
            name: own(self.name),
            external_id: own(self.external_id),
            fqdn: own(self.fqdn),
            host: own(self.host),
            instance: own(self.instance),
            ip: own(self.ip),
            component: own(self.component),
            service: own(self.service),
            namespace: own(self.namespace),
        }
    }
}

/// Texts by name, those that there are.
struct Sorted<'a, const N: usize>([(&'static str, Option<&'a str>); N]);

impl<const N: usize> Serialize for Sorted<'_, N> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().filter_map(|(name, text)| Some((name, (*text)?))))
    }
}

/// A measured or compared number; a text where the sender's was no number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Measure<'a> {
    /// A whole number.
    Int(i64),
    /// Any other number; never NaN or infinite.
    Float(f64),
    /// No number.
    Text(Cow<'a, str>),
}

impl<'a> Measure<'a> {
    /// A number where the text is one, else the text.
    pub fn parse(text: Cow<'a, str>) -> Self {
        if let Ok(i) = text.trim().parse::<i64>() {
            return Measure::Int(i);
        }
        match text.trim().parse::<f64>() {
            Ok(f) if f.is_finite() => Measure::Float(f),
            _ => Measure::Text(text),
        }
    }

    /// A copy that borrows nothing.
    pub fn into_owned(self) -> Measure<'static> {
        match self {
            Measure::Int(i) => Measure::Int(i),
            Measure::Float(f) => Measure::Float(f),
            Measure::Text(t) => Measure::Text(Cow::Owned(t.into_owned())),
        }
    }
}

impl fmt::Display for Measure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measure::Int(i) => write!(f, "{i}"),
            Measure::Float(x) => write!(f, "{x}"),
            Measure::Text(t) => f.write_str(t),
        }
    }
}

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Labels or annotations: texts by name, sorted by name, each name once. Cheap to copy: an alert has its event's, and so
/// has each window that keeps the event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels<'a>(
    /// Where there are any.
    Option<Arc<Vec<Pair<'a>>>>,
);

impl<'a> Labels<'a> {
    /// From pairs in any order; of two with one name the later stays.
    pub fn new(mut pairs: Vec<Pair<'a>>) -> Self {
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self((!pairs.is_empty()).then(|| Arc::new(pairs)))
    }

    fn pairs(&self) -> &[Pair<'a>] {
        self.0.as_ref().map_or(&[], |pairs| pairs.as_slice())
    }

    /// The text under a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let pairs = self.pairs();
        pairs.binary_search_by(|(k, _)| k.as_ref().cmp(name)).ok().map(|i| pairs[i].1.as_ref())
    }

    /// All pairs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs().iter().map(|(k, v)| (k.as_ref(), v.as_ref()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// A copy that borrows nothing.
    pub fn into_owned(self) -> Labels<'static> {
        let owned = |(k, v): Pair<'_>| (Cow::Owned(k.into_owned()), Cow::Owned(v.into_owned()));
        Labels(self.0.map(|pairs| Arc::new(Arc::unwrap_or_clone(pairs).into_iter().map(owned).collect())))
    }
}

impl Serialize for Labels<'_> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels<'_> {
    /// Owns its texts; [`Labels::borrowed`] borrows them.
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Labels::borrowed(d).map(Labels::into_owned)
    }
}

impl<'de> Labels<'de> {
    /// Reads a map whose values are any scalars: labels are texts, so numbers and booleans become their text.
    /// For `#[serde(borrow, deserialize_with = "Labels::borrowed")]`.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn borrowed<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Labels<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Labels<'de>, A::Error> {
                let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(8).min(64));
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    if let Text(Some(value)) = map.next_value::<Text<'de>>()? {
                        pairs.push((key.0.unwrap_or_default(), value));
                    }
                }
                Ok(Labels::new(pairs))
            }
        }
        d.deserialize_map(Visitor)
    }
}

/// A scalar on the wire, as its text; `null` is none. Borrows where the input allows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text<'a>(pub Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a boolean")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Borrowed(v))))
            }
            fn visit_str<E>(self, v: &str) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(v.to_owned()))))
            }
            fn visit_string<E>(self, v: String) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(v))))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(v.to_string()))))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(v.to_string()))))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(v.to_string()))))
            }
            fn visit_bool<E>(self, v: bool) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Borrowed(if v { "true" } else { "false" }))))
            }
            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text(None))
            }
        }
        d.deserialize_any(Visitor)
    }
}

/// One normalised message. Borrows from the bytes it was read from; [`Event::into_owned`] keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event<'a> {
    /// Unique per delivery content within its source. Absent when the message gives no way to tell a
    /// repeated delivery; such an event is never a repeat by id.
    pub id: Option<Cow<'a, str>>,
    /// The producer, as the configuration of the source names it.
    pub source: Cow<'a, str>,
    /// What sort of message it is.
    pub kind: Kind,
    /// Rule, alert or metric name.
    #[serde(rename = "type")]
    pub type_: Cow<'a, str>,
    /// How bad.
    pub severity: Severity,
    /// Firing or resolved.
    pub status: Status,
    /// `None` is the normal phase.
    pub phase: Option<Phase>,
    /// One line for people.
    pub summary: Option<Cow<'a, str>>,
    /// Identifiers of the configuration item, as sent.
    pub ci: CiRef<'a>,
    /// Service name, as sent.
    pub service: Option<Cow<'a, str>>,
    /// Metric name.
    pub metric: Option<Cow<'a, str>>,
    /// The measured value.
    pub value: Option<Measure<'a>>,
    /// What it was compared with.
    pub threshold: Option<Measure<'a>>,
    /// Unit of value and threshold.
    pub unit: Option<Cow<'a, str>>,
    /// Texts that take part in identity.
    pub labels: Labels<'a>,
    /// Texts that do not.
    pub annotations: Labels<'a>,
    /// When what the event states became true. A condition's start when firing, its end when resolved.
    pub time: Timestamp,
    /// When the condition began, where the sender says so.
    pub began: Option<Timestamp>,
    /// The input's stamp: when Paramedic received it, on the shard's clock.
    pub received: Timestamp,
    /// One condition on one CI, stable from firing to resolved. Empty: see [`Event::dedup_key`].
    pub dedup_key: Option<Cow<'a, str>>,
    /// The message as it came, where it is text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub raw: Option<Cow<'a, str>>,
    /// `time` was more than five minutes in the future, and has been set to `received`.
    #[serde(default)]
    pub clamped: bool,
    /// How many fields the format does not know; they are in `raw`.
    #[serde(default)]
    pub unknown_fields: u32,
}

impl Event<'_> {
    /// The sender's key, or the digest of [type, ci, labels].
    pub fn dedup_key(&self) -> Cow<'_, str> {
        match &self.dedup_key {
            Some(key) => Cow::Borrowed(key.as_ref()),
            None => Cow::Owned(Id::of_sorted(&(&self.type_, self.ci.sorted(), &self.labels)).to_string()),
        }
    }

    /// A copy that borrows nothing.
    pub fn into_owned(self) -> Event<'static> {
        Event {
            id: own(self.id),
            source: Cow::Owned(self.source.into_owned()),
            kind: self.kind,
            type_: Cow::Owned(self.type_.into_owned()),
            severity: self.severity,
            status: self.status,
            phase: self.phase,
            summary: own(self.summary),
            ci: self.ci.into_owned(),
            service: own(self.service),
            metric: own(self.metric),
            value: self.value.map(Measure::into_owned),
            threshold: self.threshold.map(Measure::into_owned),
            unit: own(self.unit),
            labels: self.labels.into_owned(),
            annotations: self.annotations.into_owned(),
            time: self.time,
            began: self.began,
            received: self.received,
            dedup_key: own(self.dedup_key),
            raw: own(self.raw),
            clamped: self.clamped,
            unknown_fields: self.unknown_fields,
        }
    }
}

/// An event that borrows nothing.
pub type OwnedEvent = Event<'static>;

fn own(text: Option<Cow<'_, str>>) -> Option<Cow<'static, str>> {
    text.map(|t| Cow::Owned(t.into_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_sorted_and_the_later_of_two_stays() {
        let l: Labels<'_> = serde_json::from_str(r#"{"b":1,"a":"x","b":"y","n":null}"#).unwrap();
        assert_eq!(l.iter().collect::<Vec<_>>(), [("a", "x"), ("b", "y")]);
        assert_eq!((l.get("b"), l.get("c")), (Some("y"), None));
    }

    #[test]
    fn the_default_key_is_of_type_ci_and_labels_only() {
        let mut e = Event { type_: "disk".into(), ..Event::default() };
        let key = e.dedup_key().into_owned();
        e.value = Some(Measure::Int(3));
        e.annotations = Labels::new(vec![("a".into(), "b".into())]);
        assert_eq!(e.dedup_key(), key);
        e.labels = Labels::new(vec![("a".into(), "b".into())]);
        assert_ne!(e.dedup_key(), key);
    }

    #[test]
    fn the_default_key_is_a_digest_of_canonical_json() {
        let [name, fqdn, component] = ["n", "f", "c"].map(|text| Some(text.into()));
        let ci = CiRef { name, fqdn, component, ..CiRef::default() };
        let labels = Labels::new(vec![("z".into(), "\"".into()), ("a".into(), "b".into())]);
        let e = Event { type_: "disk".into(), ci, labels, ..Event::default() };
        assert_eq!(e.dedup_key(), Id::of(&json!([e.type_, e.ci, e.labels])).to_string());
    }

    #[test]
    fn a_measure_is_a_number_where_it_can_be() {
        assert_eq!(Measure::parse("4".into()), Measure::Int(4));
        assert_eq!(Measure::parse("4.1".into()), Measure::Float(4.1));
        assert_eq!(Measure::parse("NaN".into()), Measure::Text("NaN".into()));
    }
}
