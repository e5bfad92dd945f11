//! Why nothing is done, or a human is given an incident.

use serde::Serialize;

use super::Timestamp;
use super::rail::Rail;

/// Why nothing is done. The same word stands in the audit, the metric, the API and `why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// The policy only watches.
    Observe,
    /// People have stopped all automation.
    Paused {
        /// When that ends by itself, if it does.
        until: Option<Timestamp>,
    },
    /// People want it left alone.
    Silenced {
        /// The silence's number.
        silence: i64,
        /// When it ends.
        until: Timestamp,
    },
    /// The event names no target.
    NoTarget,
    /// The incident already has its action; what it did is not known yet, or it cools down.
    IncidentOpen {
        /// When the next action of the incident may start, once the last one has ended.
        until: Option<Timestamp>,
    },
    /// The incident's last action has ended, and what it did cannot be seen yet.
    Settling {
        /// When it can.
        until: Timestamp,
    },
    /// People have been asked about the incident's next action and have not answered.
    AwaitingApproval {
        /// When no answer is a no.
        until: Timestamp,
    },
    /// Automation gave up on this incident; a human has it.
    HandedOver,
    /// An action of this policy on this target was reserved too recently.
    Cooldown {
        /// When it ends.
        until: Timestamp,
    },
    /// The policy has used up its actions in this window.
    Budget {
        /// Actions reserved in the window.
        used: u32,
        /// Actions allowed in it.
        limit: u32,
    },
    /// As many of its targets were touched in this window as may be.
    BlastRadius {
        /// Actions on them in the window.
        used: u32,
        /// Actions allowed.
        limit: u32,
        /// The part of the fleet that is meant, where the policy counts by a tag.
        #[serde(skip_serializing_if = "Option::is_none")]
        domain: Option<String>,
    },
    /// So many of its targets are violated that the observer is suspected.
    MassFailure {
        /// When that must have been over since, at the earliest.
        until: Timestamp,
        /// Those that are.
        violated: u32,
        /// Of so many.
        targets: u32,
        /// The part of the fleet that is meant, where the policy counts by a tag.
        #[serde(skip_serializing_if = "Option::is_none")]
        domain: Option<String>,
    },
    /// All policies and people together have used up their actions in this window.
    GlobalBudget {
        /// When the oldest of them leaves the window.
        until: Option<Timestamp>,
    },
    /// Too many of the policy's actions in a row failed or did not help: it rests.
    Breaker {
        /// When it may try again.
        until: Timestamp,
    },
    /// The event is too old to act on.
    Stale {
        /// Its age in seconds.
        age_seconds: u64,
    },
    /// Another guardrail.
    #[serde(untagged)]
    Rail(Rail),
}

impl Reason {
    /// Its word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Paused { .. } => "paused",
            Self::Silenced { .. } => "silenced",
            Self::NoTarget => "no_target",
            Self::IncidentOpen { .. } => "incident_open",
            Self::Settling { .. } => "settling",
            Self::AwaitingApproval { .. } => "awaiting_approval",
            Self::HandedOver => "handed_over",
            Self::Cooldown { .. } => "cooldown",
            Self::Budget { .. } => "budget",
            Self::GlobalBudget { .. } => "global_budget",
            Self::BlastRadius { .. } => "blast_radius",
            Self::MassFailure { .. } => "mass_failure",
            Self::Breaker { .. } => "breaker",
            Self::Stale { .. } => "stale",
            Self::Rail(rail) => rail.word(),
        }
    }

    /// The action that stands in the way, if it is one.
    #[must_use]
    pub fn action_id(&self) -> Option<i64> {
        if let Self::Rail(rail) = self { rail.action_id() } else { None }
    }

    /// Until when it holds, where that is known.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Cooldown { until }
            | Self::AwaitingApproval { until }
            | Self::Settling { until }
            | Self::Silenced { until, .. }
            | Self::Breaker { until }
            | Self::MassFailure { until, .. } => Some(*until),
            Self::Rail(rail) => rail.until(),
            Self::IncidentOpen { until } | Self::Paused { until } | Self::GlobalBudget { until } => *until,
            Self::Observe
            | Self::NoTarget
            | Self::HandedOver
            | Self::Budget { .. }
            | Self::BlastRadius { .. }
            | Self::Stale { .. } => None,
        }
    }
}

/// Why an incident is handed to a human.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// Every step has made as many actions as it may, and none helped.
    ActionsUsedUp,
    /// None of the steps that are left helps often enough to be worth another try.
    Ineffective,
    /// Nobody can tell whether its last action helped: nothing was observed since.
    VerdictUnknown,
    /// The outcome of its last action is unknown.
    OutcomeUnknown,
}

impl Handover {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ActionsUsedUp => "actions_used_up",
            Self::Ineffective => "ineffective",
            Self::VerdictUnknown => "verdict_unknown",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}
