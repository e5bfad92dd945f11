//! What holds an action back: the numbers of a policy, with finite defaults for what it leaves out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The guardrails in force. Written in a policy as durations (`"10m"`, or a number of seconds) and counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Guardrails {
    /// How long the condition must hold without a break before it counts as violated.
    #[serde(rename = "for", with = "humantime_serde")]
    #[schema(value_type = String, example = "10m")]
    pub hold: Duration,
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
    /// Events older than this start nothing.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String, example = "10m")]
    pub max_event_age: Duration,
}

impl Default for Guardrails {
    fn default() -> Self {
        Self {
            hold: Duration::ZERO,
            cooldown: Duration::from_mins(10),
            max_actions: 10,
            window: Duration::from_mins(10),
            max_event_age: Duration::from_mins(5),
        }
    }
}

/// Actions of one incident before it is handed to a human: there is no verification yet that could say more.
pub const ACTIONS_PER_INCIDENT: i64 = 3;
