//! Texts to places in the index: a table of fixed size that is looked up without a comparison too many. The keys come
//! from rulebooks, so nobody who sends events can crowd it.

use super::Child;

/// Texts, each with its place.
#[derive(Debug)]
pub(super) struct Table {
    /// Position of a key, plus 1; 0 is free. Twice as many as keys at least, and a power of two.
    slots: Box<[u32]>,
    keys: Box<[Key]>,
    /// All keys, one behind the other.
    bytes: Box<[u8]>,
}

#[derive(Debug)]
struct Key {
    hash: u32,
    at: u32,
    length: u32,
    child: Child,
}

impl Table {
    /// Of texts that are all different.
    pub(super) fn new<'k>(keys: impl IntoIterator<Item = (&'k str, Child)>) -> Self {
        let (mut bytes, mut all) = (Vec::new(), Vec::new());
        for (text, child) in keys {
            let (at, length) = (bytes.len() as u32, text.len() as u32);
            bytes.extend_from_slice(text.as_bytes());
            all.push(Key { hash: hash(text.as_bytes()), at, length, child });
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
        Self { slots: slots.into(), keys: all.into(), bytes: bytes.into() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The place of a text.
    pub(super) fn get(&self, text: &[u8]) -> Option<Child> {
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

    fn text(&self, key: &Key) -> &[u8] {
        &self.bytes[key.at as usize..][..key.length as usize]
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
            let keys: Vec<String> = (0..n).map(|i| format!("metric.{i:04}")).collect();
            let table = Table::new(keys.iter().zip(0..).map(|(k, i)| (k.as_str(), Child::of_hit(i))));
            for (key, i) in keys.iter().zip(0..) {
                assert_eq!(table.get(key.as_bytes()), Some(Child::of_hit(i)));
            }
            for other in ["", "metric.", "metric.00000", "metric.9999x", "Metric.0001"] {
                assert_eq!(table.get(other.as_bytes()), None, "{other}");
            }
        }
    }
}
