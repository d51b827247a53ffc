//! The one place where the live shell reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use paramedic_model::Timestamp;
use paramedic_model::faults::clock_shift;

/// Now, on the wall clock. It may jump: how long something takes is measured by `Instant`.
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)).plus(clock_shift())
}
