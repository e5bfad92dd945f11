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
    /// What limits actions can't be read.
    Unreadable,
    /// As many of the policy's actions as its ramp allows have not been seen to help yet.
    Ramp {
        /// So many have not
        unproven: u32,
        /// of so many
        allowed: u32,
        /// after so many that did, one after the other.
        helped: u32,
    },
    /// As many targets of the group are being worked on as may be.
    Group {
        /// Which.
        group: String,
        /// So many are
        unproven: u32,
        /// of so many.
        allowed: u32,
    },
    /// The plugin has used up its actions in its window.
    PluginBudget {
        /// Which.
        plugin: String,
        /// Actions it was to do in the window.
        used: u32,
        /// Actions allowed in it.
        limit: u32,
        /// When the oldest of them leaves it.
        until: Option<Timestamp>,
    },
}

impl Rail {
    /// Its word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Opposite(_) => "opposite",
            Self::Flapping { .. } => "flapping",
            Self::Unreadable => "unreadable",
            Self::Ramp { .. } => "ramp",
            Self::Group { .. } => "group",
            Self::PluginBudget { .. } => "plugin_budget",
        }
    }

    /// The action that stands in the way, if it is one.
    #[must_use]
    pub fn action_id(&self) -> Option<i64> {
        match self {
            Self::Opposite(Conflict { action: Of::Known(id), .. }) => Some(*id),
            Self::Opposite(Conflict { action: Of::New(_), .. })
            | Self::Flapping { .. }
            | Self::Unreadable
            | Self::Ramp { .. }
            | Self::Group { .. }
            | Self::PluginBudget { .. } => None,
        }
    }

    /// Until when it holds, where that is known.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Opposite(Conflict { until, .. }) | Self::Flapping { until, .. } => Some(*until),
            Self::PluginBudget { until, .. } => *until,
            Self::Unreadable | Self::Ramp { .. } | Self::Group { .. } => None,
        }
    }
}
