//! Identities and digests: SHA-256 over canonical JSON. Nothing here is random.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest as _, Sha256};

/// A text that is not the expected number of hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} hexadecimal digits, found {found:?}")]
pub struct HexError {
    digits: usize,
    found: String,
}

macro_rules! hex_type {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0u8; $bytes * 2];
                f.write_str(hex(&self.0, &mut text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                let mut out = [0u8; $bytes];
                if unhex(text, &mut out) {
                    Ok(Self(out))
                } else {
                    Err(HexError { digits: $bytes * 2, found: text.chars().take(80).collect() })
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                let mut text = [0u8; $bytes * 2];
                s.serialize_str(hex(&self.0, &mut text))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

hex_type!(
    /// An identity: 32 hex digits, the first half of a SHA-256.
    Id, 16
);
hex_type!(
    /// A whole SHA-256, 64 hex digits.
    Digest, 32
);

impl Id {
    /// The identity of a list of parts, each a JSON value: [`Digest::of`], halved.
    pub fn of(parts: &Value) -> Self {
        Self::half(Digest::of(parts))
    }

    /// The same of parts that serialize to canonical JSON as they are: no map in them has keys out of order. Several times
    /// as fast, for ids that are asked for with every event.
    pub fn of_sorted(parts: &impl Serialize) -> Self {
        Self::half(Digest::of_bytes(&sorted_bytes(parts)))
    }

    fn half(Digest(whole): Digest) -> Self {
        let mut half = [0u8; 16];
        half.copy_from_slice(&whole[..16]);
        Self(half)
    }
}

impl Digest {
    /// SHA-256 of the canonical JSON of `value`.
    pub fn of(value: &Value) -> Self {
        Self::of_bytes(&canonical_bytes(value))
    }

    /// SHA-256 of bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The next link of a hash chain: SHA-256 of the previous hash and the canonical JSON of `row`, which serializes to that
    /// as it is, as in [`Id::of_sorted`].
    pub fn link(previous: Digest, row: &impl Serialize) -> Self {
        let mut h = Sha256::new();
        h.update(previous.0);
        h.update(sorted_bytes(row));
        Self(h.finalize().into())
    }
}

/// A SHA-256 that can be looked at on the way, stored, and gone on with after a restart.
#[derive(Clone)]
pub struct Running(Sha256);

impl Default for Running {
    fn default() -> Self {
        Self(Sha256::new())
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({})", self.digest())
    }
}

impl PartialEq for Running {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Running {
    /// Takes in one row, with a line feed behind it.
    pub fn add(&mut self, row: &[u8]) {
        self.0.update(row);
        self.0.update(b"\n");
    }

    /// Takes in canonical JSON, as in [`Id::of_sorted`], as a row.
    pub fn add_sorted(&mut self, parts: &impl Serialize) {
        self.add(&sorted_bytes(parts));
    }

    /// Takes in rows that have their line feeds behind them.
    pub fn add_all(&mut self, rows: &[u8]) {
        self.0.update(rows);
    }

    /// The digest of all rows so far.
    pub fn digest(&self) -> Digest {
        Digest(self.0.clone().finalize().into())
    }
}

impl Serialize for Running {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let state = self.0.serialize();
        let mut text = vec![0u8; state.len() * 2];
        s.serialize_str(hex(&state, &mut text))
    }
}

/// Where a stored state counts the blocks of 64 bytes that it has taken in: little-endian, behind the eight words.
const BLOCKS: std::ops::Range<usize> = 32..40;
/// SHA-256 counts bits in 64 bits: a stored state that claims more would make it overflow.
const MAX_BLOCKS: u64 = 1 << 54;

impl<'de> Deserialize<'de> for Running {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        let mut state = sha2::digest::common::hazmat::SerializedState::<Sha256>::default();
        let counts_too_much = |state: &[u8]| {
            let count = state.get(BLOCKS).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
            count.is_none_or(|blocks| blocks >= MAX_BLOCKS)
        };
        if !unhex(&text, &mut state) || counts_too_much(&state) {
            return Err(de::Error::custom("not a stored digest state"));
        }
        Sha256::deserialize(&state).map(Running).map_err(|_| de::Error::custom("not a stored digest state"))
    }
}

/// The digests of several scopes as one: over (scope, digest), sorted by scope.
pub fn combine<'a>(scopes: impl IntoIterator<Item = (&'a str, Digest)>) -> Digest {
    let sorted: std::collections::BTreeMap<&str, Digest> = scopes.into_iter().collect();
    let mut h = Sha256::new();
    for (scope, digest) in sorted {
        h.update((scope.len() as u64).to_be_bytes());
        h.update(scope.as_bytes());
        h.update(digest.0);
    }
    Digest(h.finalize().into())
}

/// Canonical JSON: keys sorted, no space, integers decimal, floats in the shortest form that reads back.
pub fn canonical(value: &Value) -> String {
    // JSON is UTF-8.
    String::from_utf8(canonical_bytes(value)).unwrap_or_default()
}

fn canonical_bytes(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write_canonical(value, &mut out);
    out
}

fn sorted_bytes(parts: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write_scalar(parts, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_by(|a, b| a.0.cmp(b.0));
            out.push(b'{');
            for (i, (k, v)) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_scalar(k, out);
                out.push(b':');
                write_canonical(v, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (i, v) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_canonical(v, out);
            }
            out.push(b']');
        }
        scalar => write_scalar(scalar, out),
    }
}

fn write_scalar(scalar: &impl Serialize, out: &mut Vec<u8>) {
    // Neither a text nor a number fails, nor does memory.
    let _ = serde_json::to_writer(out, scalar);
}

/// Two digits a byte; `out` is twice as long as `bytes`.
fn hex<'o>(bytes: &[u8], out: &'o mut [u8]) -> &'o str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    std::str::from_utf8(out).unwrap_or_default()
}

fn unhex(text: &str, out: &mut [u8]) -> bool {
    fn nibble(c: u8) -> Option<u8> {
        char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok())
    }
    let bytes = text.as_bytes();
    bytes.len() == out.len() * 2
        && out.iter_mut().zip(bytes.chunks_exact(2)).all(|(o, pair)| match (nibble(pair[0]), nibble(pair[1])) {
            (Some(hi), Some(lo)) => {
                *o = hi << 4 | lo;
                true
            }
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn canonical_json_sorts_keys_and_keeps_numbers_short() {
        let v = json!({"b": [1, 2.5, 0.1], "a": {"z": null, "y": "ü\n"}});
        assert_eq!(canonical(&v), r#"{"a":{"y":"ü\n","z":null},"b":[1,2.5,0.1]}"#);
    }

    #[test]
    fn a_running_digest_goes_on_after_it_was_stored() {
        let mut whole = Running::default();
        let mut first = Running::default();
        for i in 0..100u32 {
            whole.add(&i.to_be_bytes());
            first.add(&i.to_be_bytes());
            let stored = serde_json::to_string(&first).unwrap();
            first = serde_json::from_str(&stored).unwrap();
        }
        assert_eq!(whole.digest(), first.digest());
        assert!(serde_json::from_str::<Running>("\"00\"").is_err());
        // One that claims to have taken in more than a SHA-256 can count.
        let stored = serde_json::to_string(&first).unwrap();
        let absurd = format!("{}ffffffffffffffff{}", &stored[..1 + 64], &stored[1 + 80..]);
        assert!(serde_json::from_str::<Running>(&absurd).is_err());
        let blocks = &stored[1 + 64..1 + 80];
        assert_eq!(blocks, "0700000000000000", "100 rows of 5 bytes are 7 blocks, and a rest");
    }

    #[test]
    fn scopes_combine_in_any_order_and_do_not_run_together() {
        let (x, y) = (Digest::of(&json!(1)), Digest::of(&json!(2)));
        assert_eq!(combine([("a", x), ("b", y)]), combine([("b", y), ("a", x)]));
        assert_ne!(combine([("a", x), ("b", y)]), combine([("a", y), ("b", x)]));
    }

    #[test]
    fn an_id_of_what_is_sorted_is_the_same() {
        let (texts, number) = (["ü\n\"", ""], 1.5);
        let run = Id::of(&json!("x"));
        assert_eq!(
            Id::of_sorted(&(texts, number, run, Option::<u8>::None)),
            Id::of(&json!([texts, number, run, null]))
        );
    }

    #[test]
    fn a_value_serializes_to_canonical_json() {
        let v: Value = serde_json::from_str(r#"{"b": [1, 2.5, 1e30, {"z": null, "y": "ü\n"}], "a": -0.1}"#).unwrap();
        assert_eq!(
            sorted_bytes(&v),
            canonical_bytes(&v),
            "a JSON library that keeps the order of keys would change digests"
        );
    }

    #[test]
    fn an_id_reads_back_from_its_text() {
        let id = Id::of(&json!(["x", 1]));
        assert_eq!(id.to_string().len(), 32);
        assert_eq!(id.to_string().parse::<Id>().unwrap(), id);
        assert!("xyz".parse::<Id>().is_err());
    }
}
