//! Guardrails beside the budgets: why they hold an action back, with their numbers.

use serde::Serialize;

use super::Timestamp;
use super::opposites::{Conflict, Of};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Rail {
    /// Somebody has just done the opposite to this target.
    Opposite(Conflict),
    /// Incidents of this policy open on this target again and again.
    Flapping {
        /// So many are too many
        changes: u32,
        /// within so many seconds.
        within_seconds: u64,
        /// Until when, if no more open.
        until: Timestamp,
    },
}

impl Rail {
    /// Its word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Opposite(_) => "opposite",
            Self::Flapping { .. } => "flapping",
        }
    }

    /// The action that stands in the way, if it is one.
    #[must_use]
    pub fn action_id(&self) -> Option<i64> {
        match self {
            Self::Opposite(Conflict { action: Of::Known(id), .. }) => Some(*id),
            Self::Opposite(Conflict { action: Of::New(_), .. }) | Self::Flapping { .. } => None,
        }
    }

    /// Until when it holds, where that is known.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Opposite(Conflict { until, .. }) | Self::Flapping { until, .. } => Some(*until),
        }
    }
}
