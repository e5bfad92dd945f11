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
}

impl Rail {
    /// Its word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Opposite(_) => "opposite",
        }
    }

    /// The action that stands in the way, if it is one.
    #[must_use]
    pub fn action_id(&self) -> Option<i64> {
        match self {
            Self::Opposite(Conflict { action: Of::Known(id), .. }) => Some(*id),
            Self::Opposite(Conflict { action: Of::New(_), .. }) => None,
        }
    }

    /// Until when it holds, where that is known.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Opposite(conflict) => Some(conflict.until),
        }
    }
}
