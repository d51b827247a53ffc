//! What events are about: one condition on one CI, from firing to resolved.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{CiRef, Id, Labels, Severity, Timestamp};

/// (source, dedup_key): one condition on one CI. Cheap to copy: each event's goes into several decisions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertKey {
    /// The producer.
    pub source: Arc<str>,
    /// The sender's key for the condition.
    pub dedup_key: Arc<str>,
}

/// The engine's memory of one condition. Kept while it is open, and for a day after, so that a late firing is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Which condition.
    pub key: AlertKey,
    /// The key of the event that opened it, as sent, where `enrich` made another of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_key: Option<Arc<str>>,
    /// Rule, alert or metric name when it began.
    pub type_: Arc<str>,
    /// Identifiers as sent.
    pub ci: Arc<CiRef<'static>>,
    /// Labels as sent.
    pub labels: Labels<'static>,
    /// The worst severity that this occurrence was sent with.
    pub severity: Severity,
    /// When the open (or last) occurrence began: with the key, the occurrence's identity.
    pub began: Timestamp,
    /// The `time` of the resolve that closed it; `None` while it is open.
    pub closed: Option<Timestamp>,
    /// Stamp of the last event about it, repeats included.
    pub last_seen: Timestamp,
    /// How many repeats this occurrence has had.
    pub repeats: u64,
    /// Known by samples (metrics, logs): it has no repeats, and ends with the incident's `clear`.
    pub sampled: bool,
    /// Incidents and windows to which this occurrence contributes.
    pub incidents: Vec<Id>,
}

impl Alert {
    /// Its key as sent and its key, where they differ.
    pub fn keys(&self) -> Option<(AlertKey, AlertKey)> {
        let sent = AlertKey { source: self.key.source.clone(), dedup_key: self.sent_key.clone()? };
        Some((sent, self.key.clone()))
    }

    /// Whether the condition holds, as far as is known.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }
}

/// A resolve that came while nothing was open. It meets a firing with `began` <= its `time` within a minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parked {
    /// Which condition.
    pub key: AlertKey,
    /// The resolve's `time`.
    pub time: Timestamp,
    /// The stamp at which it was parked.
    pub at: Timestamp,
}
