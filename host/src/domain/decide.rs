//! The decision: a function from values to [`Decision`]. It reads no clock, no database and no memory of its
//! own; whoever calls it read the ledger under the partition's lock and writes the result in the same
//! transaction.

use std::sync::Arc;
use std::time::Duration;

use super::Timestamp;
use super::flapping::{Flapping, Flaps};
use super::fleet::{Domains, Place};
use super::incident::{Standing, State};
use super::ladder::{Next, Relapse, next};
use super::mutant::{Fault, holds};
use super::opposites::{Lately, Opposites};
use super::pace::Pace;
use super::policy::{Mode, Policy};
use super::rail::Rail;
pub use super::reason::{Handover, Reason};
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

/// The state that limits actions, read under lock in the transaction that may add one.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Whether all of it could be read.
    pub sight: Sight,
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
    /// How often incidents of the pair have opened, where none is open.
    pub flaps: Flaps,
    /// What was lately done to the target that may not be undone at once.
    pub lately: Lately,
    /// What undoes what.
    pub opposites: Arc<Opposites>,
    /// What has not been seen to help yet, and what has.
    pub pace: Pace,
}

/// Whether the state that limits actions could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// All of it.
    #[default]
    Clear,
    /// Not what everybody shares.
    Unreadable,
    /// Not even whether there is an incident: then nothing is decided at all.
    Blind,
}

/// A request for an approval that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaiting {
    /// When no answer is a no.
    pub until: Timestamp,
    /// The version of the policy that asked.
    pub policy_version: i64,
}

/// The targets of a policy, in the part of its fleet where the violated one is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// How many are known.
    pub known: u32,
    /// Actions on them in the policy's window, whoever made them.
    pub touched: u32,
    /// How many are known in the part in which mass failures are looked for.
    pub watched: u32,
    /// How many are violated there now.
    pub sick: u32,
    /// When they were last too many.
    pub storm_at: Option<Timestamp>,
    /// Where the violated target is.
    pub domains: Arc<Domains>,
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
    if ledger.sight != Sight::Clear {
        return Decision::Suppress(Reason::Rail(Rail::Unreadable));
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
    if let Some(flapping) = flapping(policy, ledger, now).filter(|_| opening) {
        return Decision::Suppress(Reason::Rail(flapping));
    }
    if let Some(reason) = too_soon(policy, (violated.observed_at, opening), ledger, now) {
        return Decision::Suppress(reason);
    }
    // It came back after the last step that can heal anything.
    if policy.rung(step).is_none() {
        return Decision::HandOver(Handover::ActionsUsedUp);
    }
    let Some(step) = ledger.pace.useful(policy, step) else {
        return Decision::HandOver(Handover::Ineffective);
    };
    match braked(policy, step, ledger, now).or_else(|| spent(policy, ledger, now)) {
        Some(reason) => Decision::Suppress(reason),
        None if policy.mode == Mode::Approve && holds(Fault::Asks) => Decision::Ask { step },
        None => Decision::Act { step },
    }
}

/// The step that an action would be on, were one made now; the last one where none is left.
#[must_use]
pub fn step_ahead(policy: &Policy, violated: Violated, ledger: &Ledger, now: Timestamp) -> usize {
    let step = next_step(policy, violated, ledger, now);
    ledger.pace.useful(policy, step).unwrap_or(step)
}

/// The same, whatever the step has achieved so far.
#[must_use]
pub fn next_step(policy: &Policy, violated: Violated, ledger: &Ledger, now: Timestamp) -> usize {
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

/// Whether incidents of this pair open too often.
fn flapping(policy: &Policy, ledger: &Ledger, now: Timestamp) -> Option<Rail> {
    let until = ledger.incident.as_ref()?.flapping_until.filter(|until| *until > now)?;
    let Flapping { changes, within } = policy.guardrails.flapping;
    Some(Rail::Flapping { changes, within_seconds: within.as_secs(), until })
}

/// What stands against this very step.
fn braked(policy: &Policy, step: usize, ledger: &Ledger, now: Timestamp) -> Option<Reason> {
    let rung = policy.rung(step)?;
    let conflict = ledger.lately.stops(&ledger.opposites, (policy.id, rung.action), now);
    if let Some(conflict) = conflict {
        return Some(Reason::Rail(Rail::Opposite(conflict)));
    }
    let share = ledger.pace.plugins.get(step)?.as_ref();
    let share = share.filter(|share| share.used >= share.limit && holds(Fault::PluginBudget))?;
    let (plugin, limit) = (share.plugin.to_string(), share.limit);
    Some(Reason::Rail(Rail::PluginBudget { plugin, used: share.used, limit, until: share.until }))
}

/// Which of the limits over many targets and actions is reached.
fn spent(policy: &Policy, ledger: &Ledger, now: Timestamp) -> Option<Reason> {
    let rails = &policy.guardrails;
    let quiet = rails.mass_failure.quiet;
    let storm_at = if storms(policy, ledger) { Some(now) } else { ledger.fleet.storm_at };
    let storm_at = storm_at.filter(|_| holds(Fault::MassFailure));
    if let Some(until) = storm_at.map(|at| at.after(quiet)).filter(|until| *until > now) {
        let Fleet { sick, watched, ref domains, .. } = ledger.fleet;
        let domain = part(domains, rails.mass_tag());
        return Some(Reason::MassFailure { until, violated: sick, targets: watched, domain });
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
        let domain = part(&ledger.fleet.domains, rails.blast_tag());
        return Some(Reason::BlastRadius { used, limit, domain });
    }
    if let Some(rail) = paced(policy, ledger) {
        return Some(Reason::Rail(rail));
    }
    if ledger.everybody.used >= ledger.everybody.limit && holds(Fault::GlobalBudget) {
        return Some(Reason::GlobalBudget { until: ledger.everybody.until });
    }
    None
}

/// Whether so much has not been seen to help yet that nothing more is begun.
fn paced(policy: &Policy, ledger: &Ledger) -> Option<Rail> {
    let (rails, pace) = (&policy.guardrails, &ledger.pace);
    let group = rails.group.as_ref().filter(|group| pace.grouped >= group.max && holds(Fault::Group));
    if let Some(group) = group {
        let name = part(&ledger.fleet.domains, Some(&group.per)).unwrap_or_default();
        return Some(Rail::Group { group: name, unproven: pace.grouped, allowed: group.max });
    }
    let allowed = rails.ramp.as_ref()?.allows(pace.helped);
    let full = pace.unproven >= allowed && holds(Fault::Ramp);
    full.then_some(Rail::Ramp { unproven: pace.unproven, allowed, helped: pace.helped })
}

/// A part of the fleet, for people.
fn part(domains: &Domains, tag: Option<&str>) -> Option<String> {
    let tag = tag?;
    Some(match domains.place(Some(tag)) {
        Place::In(value) => format!("{tag}={value}"),
        Place::Without | Place::Unknown => format!("without {tag}"),
    })
}

/// Whether too many of the policy's targets are violated to be believed.
#[must_use]
pub fn storms(policy: &Policy, ledger: &Ledger) -> bool {
    policy.guardrails.mass_failure.is(ledger.fleet.sick, ledger.fleet.watched)
}

/// Whether a sample on which it is clear ends the incident: that must have held for `keep` without a break, and the sample
/// must have been observed after the incident's last action had ended and settled, or there was none.
#[must_use]
pub fn clears(
    incident: &Standing,
    settle: Duration,
    observed_at: Timestamp,
    (keep, now): (Duration, Timestamp),
) -> bool {
    let kept = now.since(incident.clear_since.unwrap_or(now));
    if kept < keep && holds(Fault::Keep) {
        return false;
    }
    if incident.state == State::HandedOver || incident.actions == 0 {
        return true;
    }
    !incident.busy && incident.settled_at(settle).is_none_or(|settled| observed_at > settled)
}
