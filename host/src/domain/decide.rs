//! The decision: a function from values to [`Decision`]. It reads no clock, no database and no memory of its
//! own; whoever calls it read the ledger under the partition's lock and writes the result in the same
//! transaction.

use std::time::Duration;

use serde::Serialize;

use super::Timestamp;
use super::incident::{Standing, State};
use super::ladder::{Next, Relapse, next};
use super::mutant::{Fault, holds};
use super::policy::{Mode, Policy};
use super::silence::{Active, Held};

/// What is done about a violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Make an action on that step of the policy's ladder, with its reservation.
    Act {
        /// The step, from 0.
        step: usize,
    },
    /// Ask people whether that action may be made; it is reserved as if it were.
    Ask {
        /// The step, from 0.
        step: usize,
    },
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
    },
    /// So many of its targets are violated that the observer is suspected.
    MassFailure {
        /// When that must have been over since, at the earliest.
        until: Timestamp,
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
        }
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
            | Self::MassFailure { until } => Some(*until),
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
            Self::VerdictUnknown => "verdict_unknown",
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
    /// The request for an approval of the incident's next action that has not been answered.
    pub awaiting: Option<Awaiting>,
    /// When a request of this policy on this target last came to nothing: rejected, expired or withdrawn.
    pub refused_at: Option<Timestamp>,
    /// The last incident of this policy and target that an action healed.
    pub relapse: Option<Relapse>,
    /// Reservations of this policy inside its window.
    pub used: u32,
    /// People have stopped all automation; until when, if they said so.
    pub paused: Option<Option<Timestamp>>,
    /// The silences that hold now.
    pub silences: Active,
    /// The one of them that holds this back.
    pub silenced: Option<Held>,
    /// Reservations of everybody.
    pub everybody: Spent,
    /// The policy's targets, and how they are.
    pub fleet: Fleet,
    /// The policy's latest actions that failed or did not help, without one that did in between, counted as far as its
    /// breaker asks; and when the last of them ended.
    pub failures: (u32, Option<Timestamp>),
}

/// A request for an approval that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaiting {
    /// When no answer is a no.
    pub until: Timestamp,
    /// The version of the policy that asked.
    pub policy_version: i64,
}

/// The targets of a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// How many are known.
    pub known: u32,
    /// Actions on them in the policy's window, whoever made them.
    pub touched: u32,
    /// How many are violated now.
    pub sick: u32,
    /// When they were last too many.
    pub storm_at: Option<Timestamp>,
}

/// What everybody has spent of the window that all actions share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Actions in it.
    pub used: u32,
    /// Actions allowed in it.
    pub limit: u32,
    /// When the oldest of them leaves it.
    pub until: Option<Timestamp>,
}

impl Default for Spent {
    /// Nothing is allowed where nobody has read what is.
    fn default() -> Self {
        Self { used: 0, limit: 0, until: None }
    }
}

/// A violation that is decided about.
#[derive(Clone, Copy, Debug)]
pub struct Violated {
    /// The event names a target.
    pub has_target: bool,
    /// When it was observed.
    pub observed_at: Timestamp,
    /// How long the incident's last action takes to settle.
    pub settle: Duration,
}

/// Decides about one violation of `policy`.
///
/// The order is part of the contract: the first thing that holds names the reason.
#[must_use]
pub fn decide(policy: &Policy, violated: Violated, ledger: &Ledger, now: Timestamp) -> Decision {
    if !violated.has_target {
        return Decision::Suppress(Reason::NoTarget);
    }
    match policy.mode {
        Mode::Observe => return Decision::Suppress(Reason::Observe),
        Mode::Approve | Mode::Auto => {}
    }
    if let Some(until) = ledger.paused.filter(|_| holds(Fault::Paused)) {
        return Decision::Suppress(Reason::Paused { until });
    }
    if let Some(held) = ledger.silenced.as_ref().filter(|_| holds(Fault::Silenced)) {
        return Decision::Suppress(Reason::Silenced { silence: held.id, until: held.until });
    }
    let awaiting = ledger.awaiting.filter(|_| holds(Fault::Awaiting));
    let step = match &ledger.incident {
        Some(incident) if incident.state == State::HandedOver && holds(Fault::HandedOver) => {
            return Decision::Suppress(Reason::HandedOver);
        }
        Some(_) if let Some(Awaiting { until, .. }) = awaiting => {
            return Decision::Suppress(Reason::AwaitingApproval { until });
        }
        Some(incident) if incident.busy && holds(Fault::Busy) => {
            return Decision::Suppress(Reason::IncidentOpen { until: None });
        }
        Some(incident) if incident.actions > 0 => {
            match next(policy, incident, violated.settle, violated.observed_at) {
                Next::Settle(until) => return Decision::Suppress(Reason::Settling { until }),
                Next::Human => return Decision::HandOver(Handover::ActionsUsedUp),
                Next::Step(step) => step,
            }
        }
        Some(_) | None => policy.resumed(ledger.relapse, now),
    };
    let opening = ledger.incident.as_ref().is_none_or(|incident| incident.actions == 0);
    if let Some(reason) = too_soon(policy, (violated.observed_at, opening), ledger, now) {
        return Decision::Suppress(reason);
    }
    // It came back after the last step that can heal anything.
    if policy.rung(step).is_none() {
        return Decision::HandOver(Handover::ActionsUsedUp);
    }
    match spent(policy, ledger, now) {
        Some(reason) => Decision::Suppress(reason),
        None if policy.mode == Mode::Approve && holds(Fault::Asks) => Decision::Ask { step },
        None => Decision::Act { step },
    }
}

/// The step that an action would be on, were one made now; the last one where none is left.
#[must_use]
pub fn step_ahead(policy: &Policy, violated: Violated, ledger: &Ledger, now: Timestamp) -> usize {
    match ledger.incident.as_ref().filter(|incident| incident.actions > 0) {
        Some(incident) => match next(policy, incident, violated.settle, violated.observed_at) {
            Next::Step(step) => step,
            Next::Settle(_) | Next::Human => incident.step,
        },
        None => policy.resumed(ledger.relapse, now),
    }
}

/// Why the time is not right: the event is too old, or the last action of this policy on this target too young.
fn too_soon(
    policy: &Policy,
    (observed_at, opening): (Timestamp, bool),
    ledger: &Ledger,
    now: Timestamp,
) -> Option<Reason> {
    let rails = &policy.guardrails;
    let age = now.since(observed_at);
    if age > rails.max_event_age && holds(Fault::Stale) {
        return Some(Reason::Stale { age_seconds: age.as_secs() });
    }
    // Between the actions of one incident the time to settle takes the cooldown's place.
    let cooled = ledger
        .last_reserved_at
        .map(|at| at.after(rails.cooldown))
        .filter(|until| *until > now && holds(Fault::Cooldown));
    // After a no people are left in peace for as long, wherever in the incident it was said.
    let refused = ledger
        .refused_at
        .map(|at| at.after(rails.cooldown))
        .filter(|until| *until > now && holds(Fault::Refused));
    cooled.filter(|_| opening).max(refused).map(|until| Reason::Cooldown { until })
}

/// Which of the limits over many targets and actions is reached.
fn spent(policy: &Policy, ledger: &Ledger, now: Timestamp) -> Option<Reason> {
    let rails = &policy.guardrails;
    let quiet = rails.mass_failure.quiet;
    let storm_at = if storms(policy, ledger) { Some(now) } else { ledger.fleet.storm_at };
    let storm_at = storm_at.filter(|_| holds(Fault::MassFailure));
    if let Some(until) = storm_at.map(|at| at.after(quiet)).filter(|until| *until > now) {
        return Some(Reason::MassFailure { until });
    }
    let (failed, last_failed_at) = ledger.failures;
    let rests = last_failed_at.map(|at| at.after(rails.rest)).filter(|until| *until > now);
    if let (true, Some(until)) = (failed >= rails.breaker.max(1), rests) {
        return Some(Reason::Breaker { until });
    }
    if ledger.used >= rails.max_actions && holds(Fault::Budget) {
        return Some(Reason::Budget { used: ledger.used, limit: rails.max_actions });
    }
    let (used, limit) = (ledger.fleet.touched, rails.blast_radius.allows(ledger.fleet.known));
    if used >= limit && holds(Fault::BlastRadius) {
        return Some(Reason::BlastRadius { used, limit });
    }
    if ledger.everybody.used >= ledger.everybody.limit && holds(Fault::GlobalBudget) {
        return Some(Reason::GlobalBudget { until: ledger.everybody.until });
    }
    None
}

/// Whether too many of the policy's targets are violated to be believed.
#[must_use]
pub fn storms(policy: &Policy, ledger: &Ledger) -> bool {
    policy.guardrails.mass_failure.is(ledger.fleet.sick, ledger.fleet.known)
}

/// Whether a sample on which the condition is clear ends the incident: it must have been observed after the incident's
/// last action had ended and settled, or there was none.
#[must_use]
pub fn clears(incident: &Standing, settle: Duration, observed_at: Timestamp) -> bool {
    if incident.state == State::HandedOver || incident.actions == 0 {
        return true;
    }
    !incident.busy && incident.settled_at(settle).is_none_or(|settled| observed_at > settled)
}
