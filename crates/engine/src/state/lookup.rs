//! What is found by its key, and gone through in the order of its keys alone: nothing can be decided in another.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;

#[expect(clippy::disallowed_types, reason = "its order does not leave this file")]
type Map<K, V> = std::collections::HashMap<K, V>;

/// A table that is hashed: of what there are hundreds of thousands of, and each event looks up some. A tree of texts is
/// slow to search.
#[derive(Clone, PartialEq)]
pub struct Lookup<K: Eq + Hash, V>(Map<K, V>);

impl<K: Eq + Hash, V> Default for Lookup<K, V> {
    fn default() -> Self {
        Self(Map::default())
    }
}

impl<K: Eq + Hash + Ord, V> Lookup<K, V> {
    /// What stands under a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    /// What stands under a key, to be changed.
    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.0.get_mut(key)
    }

    /// Whether there is something under a key.
    pub fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// Puts it under its key; gives what stood there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// Takes out what stands under a key.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.remove(key)
    }

    /// As [`Lookup::remove`], with its key.
    pub fn remove_entry<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        self.0.remove_entry(key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, in the order of their keys. Sorts them all.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.sorted().into_iter()
    }

    /// The keys, in their order. Sorts them all.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.sorted().into_iter().map(|(key, _)| key)
    }

    /// What stands under the keys, in the order of these. Sorts them all.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.sorted().into_iter().map(|(_, value)| value)
    }

    /// Whatever is `wanted`, in the order of the keys. Looks at them all, and sorts what it finds.
    pub fn find(&self, mut wanted: impl FnMut(&V) -> bool) -> impl Iterator<Item = &V> {
        let mut found: Vec<(&K, &V)> = self.0.iter().filter(|(_, value)| wanted(value)).collect();
        found.sort_unstable_by_key(|(key, _)| *key);
        found.into_iter().map(|(_, value)| value)
    }

    fn sorted(&self) -> Vec<(&K, &V)> {
        let mut all: Vec<(&K, &V)> = self.0.iter().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }
}

impl<K: Eq + Hash + Ord + fmt::Debug, V: fmt::Debug> fmt::Debug for Lookup<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.sorted()).finish()
    }
}
