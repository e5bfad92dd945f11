//! The decision: a function from values to [`Decision`]. It reads no clock, no database and no memory of its
//! own; whoever calls it read the ledger under the partition's lock and writes the result in the same
//! transaction.

use serde::Serialize;

use super::Timestamp;
use super::guardrails::ACTIONS_PER_INCIDENT;
use super::incident::{Standing, State};
use super::policy::{Mode, Policy};

/// What is done about a violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Make an action, with this reservation.
    Act,
    /// Do nothing, for a reason with a name.
    Suppress(Reason),
    /// Do nothing ever again in this incident, and tell a human.
    HandOver(Handover),
}

/// Why nothing is done. The same word stands in the audit, the metric, the API and `why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// The policy only watches.
    Observe,
    /// The event names no target.
    NoTarget,
    /// The incident already has its action; what it did is not known yet, or it cools down.
    IncidentOpen {
        /// When the next action of the incident may start, once the last one has ended.
        until: Option<Timestamp>,
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
    /// The event is too old to act on.
    Stale {
        /// Its age in seconds.
        age_seconds: u64,
    },
}

impl Reason {
    /// Its word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::NoTarget => "no_target",
            Self::IncidentOpen { .. } => "incident_open",
            Self::HandedOver => "handed_over",
            Self::Cooldown { .. } => "cooldown",
            Self::Budget { .. } => "budget",
            Self::Stale { .. } => "stale",
        }
    }

    /// Until when it holds, where that is known.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Cooldown { until } => Some(*until),
            Self::IncidentOpen { until } => *until,
            Self::Observe | Self::NoTarget | Self::HandedOver | Self::Budget { .. } | Self::Stale { .. } => {
                None
            }
        }
    }
}

/// Why an incident is handed to a human.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// It has made as many actions as one incident may.
    ActionsUsedUp,
    /// The outcome of its last action is unknown.
    OutcomeUnknown,
}

impl Handover {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ActionsUsedUp => "actions_used_up",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}

/// The state that limits actions, read under lock in the transaction that may add one.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The incident of this policy and target that has not cleared.
    pub incident: Option<Standing>,
    /// The last reservation of this policy on this target.
    pub last_reserved_at: Option<Timestamp>,
    /// Reservations of this policy inside its window.
    pub used: u32,
}

/// Decides about one violation of `policy` by an event observed at `observed_at`.
///
/// The order is part of the contract: the first thing that holds names the reason.
#[must_use]
pub fn decide(
    policy: &Policy,
    has_target: bool,
    observed_at: Timestamp,
    ledger: &Ledger,
    now: Timestamp,
) -> Decision {
    let rails = &policy.guardrails;
    if !has_target {
        return Decision::Suppress(Reason::NoTarget);
    }
    match policy.mode {
        Mode::Observe => return Decision::Suppress(Reason::Observe),
        Mode::Auto => {}
    }
    let cooled = ledger.last_reserved_at.map(|at| at.after(rails.cooldown)).filter(|until| *until > now);
    if let Some(incident) = &ledger.incident {
        if incident.state == State::HandedOver {
            return Decision::Suppress(Reason::HandedOver);
        }
        if incident.actions > 0 {
            if incident.busy {
                return Decision::Suppress(Reason::IncidentOpen { until: None });
            }
            if cooled.is_some() {
                return Decision::Suppress(Reason::IncidentOpen { until: cooled });
            }
            // A reading from before the action ended says nothing about whether it helped.
            if incident.last_ended_at.is_some_and(|ended| observed_at <= ended) {
                return Decision::Suppress(Reason::IncidentOpen { until: None });
            }
            if incident.actions >= ACTIONS_PER_INCIDENT {
                return Decision::HandOver(Handover::ActionsUsedUp);
            }
        }
    }
    let age = now.since(observed_at);
    if age > rails.max_event_age {
        return Decision::Suppress(Reason::Stale { age_seconds: age.as_secs() });
    }
    if let Some(until) = cooled {
        return Decision::Suppress(Reason::Cooldown { until });
    }
    if ledger.used >= rails.max_actions {
        return Decision::Suppress(Reason::Budget { used: ledger.used, limit: rails.max_actions });
    }
    Decision::Act
}

/// Whether a sample on which the condition is clear ends the incident: it must have been observed after
/// the incident's last action ended, or there was none.
#[must_use]
pub fn clears(incident: &Standing, observed_at: Timestamp) -> bool {
    if incident.state == State::HandedOver || incident.actions == 0 {
        return true;
    }
    !incident.busy && incident.last_ended_at.is_none_or(|ended| observed_at > ended)
}
