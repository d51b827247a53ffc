//! What the threads of the live shell share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use paramedic_model::{Digest, Timestamp, own_shard};
use paramedic_rulebook::{RuleSet, load};
use paramedic_store::{Store, StoreError};
use prometheus::IntGaugeVec;

/// The shard of a process that stands alone.
pub(crate) const ALONE: u32 = 0;

/// Rule sets by digest: those of this process, else those that the store keeps.
pub struct Sets {
    store: Arc<dyn Store>,
    known: Mutex<BTreeMap<Digest, Arc<RuleSet>>>,
}

impl Sets {
    /// Knows one to begin with.
    pub fn new(store: Arc<dyn Store>, set: Arc<RuleSet>) -> Self {
        Self { store, known: Mutex::new(BTreeMap::from([(set.digest, set)])) }
    }

    /// A rule set by its digest; `None` where it cannot be had, which is logged.
    pub fn get(&self, digest: Digest) -> Option<Arc<RuleSet>> {
        if let Some(set) = self.known().get(&digest) {
            return Some(Arc::clone(set));
        }
        let sources = match self.store.ruleset_get(digest) {
            Ok(Some(sources)) => sources,
            Ok(None) => {
                tracing::error!(%digest, "the store has no rule set of this digest");
                return None;
            }
            Err(error) => {
                tracing::error!(%digest, %error, "a rule set cannot be read");
                return None;
            }
        };
        let Some(set) = load(&sources).set.map(Arc::new) else {
            tracing::error!(%digest, "a stored rule set does not load in this version");
            return None;
        };
        let mut known = self.known();
        // What nobody uses any more can be had from the store again.
        known.retain(|_, set| Arc::strong_count(set) > 1);
        known.insert(digest, Arc::clone(&set));
        Some(set)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Arc<RuleSet>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shards that this process owns, and the epoch of each: under it their outbox rows are started.
#[derive(Clone, Default)]
pub struct Owned(Arc<Mutex<BTreeMap<u32, u64>>>);

impl Owned {
    /// A shard was loaded.
    pub(crate) fn insert(&self, shard: u32, epoch: u64) {
        self.lock().insert(shard, epoch);
    }

    /// A shard goes, unless it was loaded again since.
    pub(crate) fn remove(&self, shard: u32, epoch: u64) {
        let mut owned = self.lock();
        if owned.get(&shard) == Some(&epoch) {
            owned.remove(&shard);
        }
    }

    /// The shards.
    pub fn shards(&self) -> Vec<u32> {
        self.lock().keys().copied().collect()
    }

    /// The epoch of a shard; `None`: it is not ours.
    pub fn epoch(&self, shard: u32) -> Option<u64> {
        self.lock().get(&shard).copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clocks of the shards that this process owns.
#[derive(Clone, Default)]
pub struct Clocks(Arc<Mutex<BTreeMap<u32, Timestamp>>>);

impl Clocks {
    pub(crate) fn set(&self, shard: u32, clock: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, clock);
    }

    pub(crate) fn remove(&self, shard: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&shard);
    }

    /// By shard.
    pub fn all(&self) -> BTreeMap<u32, Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The rule sets that the shards of this process go by, and the metric that tells them.
#[derive(Clone)]
pub struct InForce {
    by_shard: Arc<Mutex<BTreeMap<u32, Digest>>>,
    info: IntGaugeVec,
}

impl InForce {
    pub(crate) fn new(info: IntGaugeVec) -> Self {
        Self { by_shard: Arc::default(), info }
    }

    /// What a shard goes by from now on. Whether it went by another one.
    pub(crate) fn set(&self, shard: u32, rules: Digest) -> bool {
        let mut all = self.lock();
        let is_new = all.insert(shard, rules) != Some(rules);
        if is_new {
            self.tell(&all);
        }
        is_new
    }

    pub(crate) fn remove(&self, shard: u32) {
        let mut all = self.lock();
        all.remove(&shard);
        self.tell(&all);
    }

    /// By shard.
    pub fn all(&self) -> BTreeMap<u32, Digest> {
        self.lock().clone()
    }

    fn tell(&self, all: &BTreeMap<u32, Digest>) {
        self.info.reset();
        for digest in all.values() {
            self.info.with_label_values(&[digest.to_string().as_str()]).set(1);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Digest>> {
        self.by_shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where scopes are at home, as far as one shard has asked.
pub struct Homes {
    shard: u32,
    /// `None`: one shard has them all.
    store: Option<Arc<dyn Store>>,
    /// Homes never move.
    known: BTreeMap<String, u32>,
}

impl Homes {
    /// For a shard that stands alone.
    pub fn alone(shard: u32) -> Self {
        Self { shard, store: None, known: BTreeMap::new() }
    }

    /// For a shard among others.
    pub fn shared(shard: u32, store: Arc<dyn Store>) -> Self {
        Self { shard, store: Some(store), known: BTreeMap::new() }
    }

    /// Whether a scope is at home here. One that has no home yet is from now on.
    ///
    /// # Errors
    /// Those of the store.
    pub fn is_here(&mut self, scope: &str) -> Result<bool, StoreError> {
        let Some(store) = &self.store else { return Ok(true) };
        if let Some(home) = self.known.get(scope) {
            return Ok(*home == self.shard);
        }
        let home = match own_shard(scope) {
            Some(own) => own,
            None => store.claim_scope(scope, self.shard)?,
        };
        self.known.insert(scope.to_owned(), home);
        Ok(home == self.shard)
    }
}

/// The stop of the whole process, or of one shard's life.
#[derive(Clone, Default)]
pub struct Stop {
    all: Arc<AtomicBool>,
    one: Arc<AtomicBool>,
}

impl Stop {
    /// A life of its own, that ends with the process.
    pub(crate) fn life(&self) -> Self {
        Self { all: Arc::clone(&self.all), one: Arc::default() }
    }

    /// Ends this life.
    pub(crate) fn end(&self) {
        self.one.store(true, Ordering::Release);
    }

    /// Ends everything.
    pub(crate) fn end_all(&self) {
        self.all.store(true, Ordering::Release);
    }

    /// Whether to stop.
    pub fn asked(&self) -> bool {
        self.one.load(Ordering::Acquire) || self.all.load(Ordering::Acquire)
    }
}

/// What is not right, by place; for /ready.
#[derive(Clone, Default)]
pub struct Troubles(Arc<Mutex<BTreeMap<String, String>>>);

impl Troubles {
    /// Sets or clears the trouble of a place.
    pub fn set(&self, place: &str, trouble: Option<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(why) => all.insert(place.to_owned(), why),
            None => all.remove(place),
        };
    }

    /// All of them.
    pub fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_was_loaded_again_stays_owned() {
        let owned = Owned::default();
        owned.insert(3, 1);
        owned.insert(3, 2);
        owned.remove(3, 1);
        assert_eq!(owned.epoch(3), Some(2));
        owned.remove(3, 2);
        assert!(owned.shards().is_empty());
    }

    #[test]
    fn a_scope_is_at_home_where_it_was_met_first() {
        let store: Arc<dyn Store> = Arc::new(paramedic_store::MemoryStore::new());
        let mut first = Homes::shared(1, Arc::clone(&store));
        let mut second = Homes::shared(2, store);
        assert!(first.is_here("eu").unwrap());
        assert!(!second.is_here("eu").unwrap());
        assert!(second.is_here("paramedic.2").unwrap() && !first.is_here("paramedic.2").unwrap());
        assert!(Homes::alone(0).is_here("eu").unwrap());
    }
}
