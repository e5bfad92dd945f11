//! What holds an action back: the numbers of a policy, with finite defaults for what it leaves out.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::flapping::Flapping;
use super::opposites::Opposites;
use super::pace::{Effectiveness, Group, Plugins, Ramp};

/// The guardrails in force. Written in a policy as durations (`"10m"`, or a number of seconds) and counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Guardrails {
    /// How long the condition must hold without a break before it counts as violated.
    #[serde(rename = "for", with = "humantime_serde")]
    #[schema(value_type = String, example = "10m")]
    pub hold: Duration,
    /// How long it must be clear without a break before an incident ends.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String, example = "1m")]
    pub keep: Duration,
    /// Pause per policy and target, from one action's reservation to the next; failed actions count.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String, example = "10m")]
    pub cooldown: Duration,
    /// Most actions of this policy in one window; 0 means none.
    pub max_actions: u32,
    /// The length of that window.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String, example = "10m")]
    pub window: Duration,
    /// How long after an action's end nothing that is observed says whether it helped. Inside an incident it takes the
    /// place of the cooldown.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String, example = "2m")]
    pub settle: Duration,
    /// Actions that the policy's own step makes in an incident; absent: 3 where it is the only step, else 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tries: Option<u32>,
    /// Attempts of each of its actions, where a step does not say so itself; absent: as the server has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// How long an attempt may take at most, likewise; absent: as the plugin and the server have it.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, example = "30s")]
    pub timeout: Option<Duration>,
    /// How soon after one was healed an incident is a relapse, which begins on the step after the one that healed.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String, example = "1h")]
    pub relapse: Duration,
    /// How much of the policy's targets may be touched in one window, by whoever it is.
    pub blast_radius: BlastRadius,
    /// When incidents of one target open so often that nothing is done.
    pub flapping: Flapping,
    /// When so much is sick at once that the observer is suspected.
    pub mass_failure: MassFailure,
    /// How it gathers pace; absent: it does not have to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ramp: Option<Ramp>,
    /// Of which targets only so many are worked on at a time; absent: each is for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub group: Option<Group>,
    /// When a step is left out because it helps too seldom; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub effectiveness: Option<Effectiveness>,
    /// Actions in a row that failed, or ended and did not help, after which the policy rests.
    pub breaker: u32,
    /// How long it rests. The first action after that decides whether it rests again.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String, example = "30m")]
    pub rest: Duration,
    /// Events older than this start nothing.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String, example = "10m")]
    pub max_event_age: Duration,
}

/// Most actions in one window on the targets of a policy, made by any policy or by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BlastRadius {
    /// Of a hundred of its known targets, rounded down, but at least one action; absent: `max` alone counts. 0 means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// However many targets there are; 0 means none.
    pub max: u32,
    /// The tag whose values divide the fleet into parts, each with a budget of its own; targets without it are one part.
    /// Absent: the whole fleet is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "zone")]
    pub per: Option<String>,
}

impl Default for BlastRadius {
    fn default() -> Self {
        Self { percent: Some(5), max: 10, per: None }
    }
}

impl BlastRadius {
    /// The actions that `fleet` known targets allow.
    #[must_use]
    pub fn allows(&self, fleet: u32) -> u32 {
        let share = match self.percent {
            None => u32::MAX,
            Some(0) => 0,
            Some(percent) => {
                let share = u64::from(fleet) * u64::from(percent) / 100;
                u32::try_from(share).unwrap_or(u32::MAX).max(1)
            }
        };
        share.min(self.max)
    }
}

/// If most of a fleet looks dead, the one who looks is more likely to be wrong: nothing is done until that has been over
/// for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct MassFailure {
    /// At least so many targets of the policy are violated,
    pub targets: u32,
    /// and at least so many of a hundred of its known ones.
    pub percent: u32,
    /// How long it must be over.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String, example = "5m")]
    pub quiet: Duration,
    /// The tag whose values divide the fleet into parts that are judged apart; absent: the blast radius' tag; `*`: the whole
    /// fleet is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "zone")]
    pub per: Option<String>,
}

impl Default for MassFailure {
    fn default() -> Self {
        Self { targets: 5, percent: 30, quiet: Duration::from_mins(5), per: None }
    }
}

impl MassFailure {
    /// Whether `sick` of `fleet` known targets are too many to be believed.
    #[must_use]
    pub fn is(&self, sick: u32, fleet: u32) -> bool {
        sick >= self.targets && u64::from(sick) * 100 >= u64::from(fleet) * u64::from(self.percent)
    }
}

/// The whole fleet, where a tag is asked for.
pub const WHOLE: &str = "*";

impl Guardrails {
    /// The tag by which the blast radius is counted.
    #[must_use]
    pub fn blast_tag(&self) -> Option<&str> {
        self.blast_radius.per.as_deref()
    }

    /// The tag whose values make groups.
    #[must_use]
    pub fn group_tag(&self) -> Option<&str> {
        self.group.as_ref().map(|group| group.per.as_str())
    }

    /// The tag by which mass failures are.
    #[must_use]
    pub fn mass_tag(&self) -> Option<&str> {
        self.mass_failure.per.as_deref().or(self.blast_tag()).filter(|tag| *tag != WHOLE)
    }
}

/// What limits all actions together, whoever asks for them and wherever.
#[derive(Clone, Debug)]
pub struct Everywhere {
    /// Most actions in one window; 0 means none.
    pub max_actions: u32,
    /// The length of that window.
    pub window: Duration,
    /// Most attempts that repeat one that failed, in the same window; 0 means none.
    pub max_retries: u32,
    /// What undoes what.
    pub opposites: Arc<Opposites>,
    /// What each plugin may do.
    pub plugins: Arc<Plugins>,
}

impl Default for Guardrails {
    fn default() -> Self {
        Self {
            hold: Duration::ZERO,
            keep: Duration::ZERO,
            cooldown: Duration::from_mins(10),
            max_actions: 10,
            window: Duration::from_mins(10),
            settle: Duration::from_mins(2),
            tries: None,
            attempts: None,
            timeout: None,
            relapse: Duration::from_hours(1),
            blast_radius: BlastRadius::default(),
            flapping: Flapping::default(),
            mass_failure: MassFailure::default(),
            ramp: None,
            group: None,
            effectiveness: None,
            breaker: 5,
            rest: Duration::from_mins(30),
            max_event_age: Duration::from_mins(5),
        }
    }
}
