//! What the threads of the live shell share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use paramedic_model::Digest;
use paramedic_rulebook::{RuleSet, load};
use paramedic_store::Store;

/// The shard of a process that stands alone.
pub(crate) const SHARD: u32 = 0;

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
        self.known().insert(digest, Arc::clone(&set));
        Some(set)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Arc<RuleSet>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rule set that the dispatcher's guards go by: what was loaded at start.
#[derive(Clone)]
pub struct ActiveSet(pub(crate) Arc<RuleSet>);

impl ActiveSet {
    /// The set.
    pub fn get(&self) -> Arc<RuleSet> {
        Arc::clone(&self.0)
    }
}

/// The shard and the epoch under which this process owns it.
#[derive(Clone, Default)]
pub struct Fence(pub(crate) Arc<AtomicU64>);

impl Fence {
    /// (shard, epoch).
    pub fn get(&self) -> (u32, u64) {
        (SHARD, self.0.load(Ordering::Acquire))
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
