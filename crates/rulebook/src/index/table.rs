//! Texts to places in the index: a table of fixed size that is looked up without a comparison too many. The keys come
//! from rulebooks, so nobody who sends events can crowd it.

use super::Child;

/// Texts, each with its place. What one look-up reads lies close together: with 10,000 rules the processor waits for
/// memory more than it compares.
#[derive(Debug)]
pub(super) struct Table {
    /// Position of a key, plus 1; 0 is free. Twice as many as keys at least, and a power of two.
    slots: Box<[u32]>,
    keys: Box<[Key]>,
    /// The keys that are long, one behind the other.
    long: Box<[u8]>,
}

#[derive(Debug)]
struct Key {
    hash: u32,
    child: Child,
    length: u32,
    /// The text, or where it begins among the long ones.
    text: [u8; SHORT],
}

/// In bytes: most types, and the values of labels, are no longer.
const SHORT: usize = 20;

impl Table {
    /// Of texts that are all different.
    pub(super) fn new<'k>(keys: impl IntoIterator<Item = (&'k str, Child)>) -> Self {
        let (mut long, mut all) = (Vec::new(), Vec::new());
        for (key, child) in keys {
            let (bytes, mut text) = (key.as_bytes(), [0u8; SHORT]);
            if bytes.len() <= SHORT {
                text[..bytes.len()].copy_from_slice(bytes);
            } else {
                text[..4].copy_from_slice(&(long.len() as u32).to_le_bytes());
                long.extend_from_slice(bytes);
            }
            all.push(Key { hash: hash(bytes), child, length: bytes.len() as u32, text });
        }
        let mut slots = vec![0u32; (all.len() * 2).next_power_of_two().max(2)];
        let mask = slots.len() - 1;
        for (i, key) in all.iter().enumerate() {
            let mut slot = key.hash as usize & mask;
            while slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = i as u32 + 1;
        }
        Self { slots: slots.into(), keys: all.into(), long: long.into() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The place of a text.
    pub(super) fn get(&self, text: &[u8]) -> Option<Child> {
        if self.keys.is_empty() {
            return None;
        }
        let hash = hash(text);
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let key = self.keys.get((self.slots[slot] as usize).checked_sub(1)?)?;
            if key.hash == hash && self.text(key) == text {
                return Some(key.child);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn text<'t>(&'t self, key: &'t Key) -> &'t [u8] {
        let length = key.length as usize;
        if length <= SHORT {
            return &key.text[..length];
        }
        let [a, b, c, d, ..] = key.text;
        &self.long[u32::from_le_bytes([a, b, c, d]) as usize..][..length]
    }

    /// Every key, as it was given.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], Child)> {
        self.keys.iter().map(|key| (self.text(key), key.child))
    }
}

/// Mixes eight bytes at a time (the multiply-and-rotate hash of Firefox and rustc); the upper half is the better one.
fn hash(text: &[u8]) -> u32 {
    const MIX: u64 = 0x517c_c1b7_2722_0a95;
    let mix = |h: u64, word: u64| (h.rotate_left(5) ^ word).wrapping_mul(MIX);
    let mut h = text.len() as u64;
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        h = mix(h, u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let mut last = [0u8; 8];
        last[..rest.len()].copy_from_slice(rest);
        h = mix(h, u64::from_le_bytes(last));
    }
    (h >> 32) as u32 ^ (h >> 57) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_nothing_else() {
        for n in [0, 1, 2, 7, 1000] {
            let long = |i| format!("a metric with a long name.{i}");
            let keys: Vec<String> =
                (0..n).map(|i| if i % 3 == 0 { long(i) } else { format!("metric.{i:04}") }).collect();
            let table = Table::new(keys.iter().zip(0..).map(|(k, i)| (k.as_str(), Child::of_hit(i))));
            for (key, i) in keys.iter().zip(0..) {
                assert_eq!(table.get(key.as_bytes()), Some(Child::of_hit(i)));
            }
            for other in ["", "metric.", "metric.00000", "metric.9999x", "Metric.0001", "a metric with a long name."] {
                assert_eq!(table.get(other.as_bytes()), None, "{other}");
            }
        }
    }
}
