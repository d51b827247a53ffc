//! Impact, urgency and the priority that follows from them.

use serde::{Deserialize, Serialize};

use crate::Severity;

/// Impact or urgency: 1 high, 2 medium, 3 low (ServiceNow's codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Level {
    /// 1
    High,
    /// 2
    Medium,
    /// 3
    Low,
}

impl Level {
    /// 1, 2 or 3.
    pub const fn code(self) -> u8 {
        match self {
            Level::High => 1,
            Level::Medium => 2,
            Level::Low => 3,
        }
    }

    /// From `high`, `medium`, `low`, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [("high", Level::High), ("medium", Level::Medium), ("low", Level::Low)]
            .into_iter()
            .find_map(|(n, level)| n.eq_ignore_ascii_case(name).then_some(level))
    }

    /// One step higher; high stays high.
    pub const fn raised(self) -> Self {
        match self {
            Level::High | Level::Medium => Level::High,
            Level::Low => Level::Medium,
        }
    }

    /// Default urgency (docs/rulebooks.md: critical and major 1, minor and unknown 2, warning and info 3).
    pub const fn urgency_of(severity: Severity) -> Self {
        match severity {
            Severity::Critical | Severity::Major => Level::High,
            Severity::Minor | Severity::Unknown => Level::Medium,
            Severity::Warning | Severity::Info => Level::Low,
        }
    }
}

impl From<Level> for u8 {
    fn from(level: Level) -> u8 {
        level.code()
    }
}

impl TryFrom<u8> for Level {
    type Error = String;

    fn try_from(code: u8) -> Result<Self, String> {
        [Level::High, Level::Medium, Level::Low]
            .into_iter()
            .find(|l| l.code() == code)
            .ok_or_else(|| format!("{code} is no impact or urgency: 1 high, 2 medium, 3 low"))
    }
}

/// Priority 1 critical .. 5 planning, from impact and urgency by ServiceNow's base matrix; never set by hand.
pub const fn priority(impact: Level, urgency: Level) -> u8 {
    impact.code() + urgency.code() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_is_the_matrix_of_the_base_system() {
        let all = [Level::High, Level::Medium, Level::Low];
        let matrix = all.map(|i| all.map(|u| priority(i, u)));
        assert_eq!(matrix, [[1, 2, 3], [2, 3, 4], [3, 4, 5]]);
    }
}
