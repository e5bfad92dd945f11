//! What a policy does one after the other while nothing helps: steps, each tried so often and judged by samples observed
//! after it has ended and its time to settle is over; and at the end a human.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Timestamp;
use super::incident::Standing;
use super::mutant::{Fault, holds};
use super::policy::Spec;

/// The kind of action that tells a human; only the last step may be one.
pub const NOTIFY: &str = "notify";
/// Steps that a policy may have after its own action.
pub const STEPS: usize = 8;
/// Actions that one step may make in an incident.
pub const TRIES: u32 = 10;
/// Attempts that an action may have at most.
pub const ATTEMPTS: u32 = 10;
/// The longest that an attempt may take.
pub const LONGEST: Duration = Duration::from_hours(1);

/// A step after the policy's own action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Step {
    /// The kind of action; `notify`, which only the last step may be, tells a human and heals nothing.
    pub action: String,
    /// Given to the plugin as they are.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub params: Map<String, Value>,
    /// Actions it makes before the next step's turn.
    #[serde(default = "once")]
    pub tries: u32,
    /// How long after its end nothing that is observed says whether it helped; none: as the guardrails have it.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "2m")]
    pub settle: Option<Duration>,
    /// Attempts of each of its actions; none: as the server has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// How long an attempt may take at most; none: as the plugin and the server have it.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "30s")]
    pub timeout: Option<Duration>,
}

fn once() -> u32 {
    1
}

/// One rung: what is done there.
#[derive(Clone, Copy, Debug)]
pub struct Rung<'a> {
    /// The kind of action.
    pub action: &'a str,
    /// Its parameters.
    pub params: &'a Map<String, Value>,
    /// Actions it makes.
    pub tries: u32,
    /// How long it takes to settle.
    pub settle: Duration,
    /// Attempts of each, where it says so.
    pub attempts: Option<u32>,
    /// How long one may take, where it says so.
    pub timeout: Option<Duration>,
}

/// What was found of an action whose time to settle is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// The condition is clear.
    Healed,
    /// It is met.
    NotHealed,
    /// Nobody can tell.
    Unknown,
}

impl Judgement {
    /// Its word in the database and on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Healed => "healed",
            Self::NotHealed => "not_healed",
            Self::Unknown => "unknown",
        }
    }
}

impl Spec {
    /// What is done on that step, from 0; none: only humans can do more.
    #[must_use]
    pub fn rung(&self, step: usize) -> Option<Rung<'_>> {
        let rails = &self.guardrails;
        let Some(at) = step.checked_sub(1) else {
            let tries = rails.tries.unwrap_or(if self.steps.is_empty() { ALONE } else { 1 });
            let (settle, attempts, timeout) = (rails.settle, rails.attempts, rails.timeout);
            return Some(Rung {
                action: &self.action,
                params: &self.params,
                tries,
                settle,
                attempts,
                timeout,
            });
        };
        let step = self.steps.get(at).filter(|step| step.action != NOTIFY)?;
        let settle = step.settle.unwrap_or(rails.settle);
        let (tries, attempts) = (step.tries, step.attempts.or(rails.attempts));
        let timeout = step.timeout.or(rails.timeout);
        Some(Rung { action: &step.action, params: &step.params, tries, settle, attempts, timeout })
    }

    /// How a human is told, if the policy says so.
    #[must_use]
    pub fn notify(&self) -> Option<&Step> {
        self.steps.last().filter(|step| step.action == NOTIFY)
    }

    /// The step after `step` in an incident, or the one on which an incident begins that comes soon after one which
    /// ended there. A policy that knows only one thing to do does that again.
    #[must_use]
    pub fn resumed(&self, relapse: Option<Relapse>, now: Timestamp) -> usize {
        match relapse {
            Some(last) if !self.steps.is_empty() && now.since(last.cleared_at) < self.guardrails.relapse => {
                last.step + 1
            }
            Some(_) | None => 0,
        }
    }
}

/// Actions of the only step of a policy before a human must look.
const ALONE: u32 = 3;

/// The last incident of a policy on a target that healed by an action.
#[derive(Clone, Copy, Debug)]
pub struct Relapse {
    /// The step that healed it.
    pub step: usize,
    /// When.
    pub cleared_at: Timestamp,
}

/// What an incident whose last action has ended asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To wait until then: what is observed before says nothing.
    Settle(Timestamp),
    /// An action on that step.
    Step(usize),
    /// A human.
    Human,
}

/// Where the ladder goes on after `incident`'s last action, on a sample on which the condition is met.
#[must_use]
pub fn next(spec: &Spec, incident: &Standing, settle: Duration, observed_at: Timestamp) -> Next {
    if let Some(settled) =
        incident.settled_at(settle).filter(|settled| observed_at <= *settled && holds(Fault::Settle))
    {
        return Next::Settle(settled);
    }
    let tries = spec.rung(incident.step).map_or(0, |rung| rung.tries);
    let step = if incident.tries < tries { incident.step } else { incident.step + 1 };
    if spec.rung(step).is_some() { Next::Step(step) } else { Next::Human }
}
