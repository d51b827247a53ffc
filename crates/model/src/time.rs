//! Instants and durations. Nothing here reads a clock: time is an argument.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instant: nanoseconds since 1970-01-01T00:00:00Z, UTC. Written as RFC 3339 with nine digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is no instant or no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {text:?} ({why})")]
pub struct TimeError {
    what: &'static str,
    text: String,
    why: String,
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Timestamp = Timestamp(0);
    /// The last instant that can be told.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// From nanoseconds since the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From milliseconds since the epoch (Kafka's unit), clamped to what can be told.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// From seconds since the epoch, clamped to what can be told.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This instant plus a duration, clamped to what can be told.
    pub const fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// How long after `earlier` this is; negative when it is before.
    pub const fn since(self, earlier: Timestamp) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(t) => write!(f, "{t:.9}"),
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;

    /// Reads RFC 3339 with any offset; finer than a nanosecond is an error.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let fail = |why: String| TimeError { what: "not an RFC 3339 time", text: clip(text), why };
        let parsed: jiff::Timestamp = text.parse().map_err(|e: jiff::Error| fail(e.to_string()))?;
        i64::try_from(parsed.as_nanosecond())
            .map(Timestamp)
            .map_err(|_| fail("outside the years 1678 to 2262".to_owned()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A duration in nanoseconds. Written as `90s`, `2m`, `1h 30m`, `2d`; a day is 24 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// From whole seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// From milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// In nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// In seconds, with fractions; for people and metrics.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// For the standard library's timers; a negative span is zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0;
        if nanos == 0 {
            return f.write_str("0s");
        }
        if nanos < 0 {
            f.write_str("-")?;
        }
        let mut rest = nanos.unsigned_abs();
        let mut first = true;
        for (unit, size) in [
            ("d", 86_400_000_000_000u64),
            ("h", 3_600_000_000_000),
            ("m", 60_000_000_000),
            ("s", 1_000_000_000),
            ("ms", 1_000_000),
            ("us", 1_000),
            ("ns", 1),
        ] {
            if rest >= size {
                write!(f, "{}{}{unit}", if first { "" } else { " " }, rest / size)?;
                rest %= size;
                first = false;
            }
        }
        Ok(())
    }
}

impl FromStr for Span {
    type Err = TimeError;

    /// Reads `2m`, `1h 30m`, `500ms`, `2d`; not negative, no months or years.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let fail = |why: String| TimeError { what: "not a duration", text: clip(text), why };
        let span: jiff::Span =
            text.parse().map_err(|_| fail("write a number and a unit, such as 30s, 5m, 1h 30m or 2d".to_owned()))?;
        let exact = span
            .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
            .map_err(|_| fail("months and years have no fixed length".to_owned()))?;
        if exact.is_negative() {
            return Err(fail("a duration cannot be negative".to_owned()));
        }
        i64::try_from(exact.as_nanos()).map(Span).map_err(|_| fail("longer than 292 years".to_owned()))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(de::Error::custom)
    }
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_with_nine_digits_and_read_with_any_offset() {
        let t: Timestamp = "2026-01-01T01:00:00.5+01:00".parse().unwrap();
        assert_eq!(t.to_string(), "2026-01-01T00:00:00.500000000Z");
        assert_eq!(t.to_string().parse::<Timestamp>().unwrap(), t);
    }

    #[test]
    fn a_duration_is_read_as_people_write_it() {
        for (text, secs) in [("2m", 120), ("1h30m", 5400), ("1h 30m", 5400), ("2d", 172_800), ("0s", 0)] {
            assert_eq!(text.parse::<Span>().unwrap(), Span::from_secs(secs), "{text}");
        }
        assert_eq!(Span::from_secs(5400).to_string(), "1h 30m");
        for bad in ["", "2", "-5m", "1y", "soon"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }
}
