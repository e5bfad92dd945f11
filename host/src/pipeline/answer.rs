//! What an ingest request is told: the seed's members and ours. It is made here and not in the API, since
//! under an idempotency key it is stored with the batch.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::Timestamp;
use crate::engine::Compiled;

/// Violations listed in one answer.
pub const LISTED: usize = 100;

/// A violated policy.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Violation {
    /// Its name.
    pub policy_name: String,
    /// Its severity.
    pub severity: &'static str,
    /// Its description.
    pub description: String,
    /// On what.
    pub target: String,
    /// When.
    pub timestamp: Timestamp,
    /// When; the seed's clients read either.
    pub triggered_at: Timestamp,
    /// What it would do.
    pub action: String,
    /// What was decided: `act`, `ask` where people must say yes first, or the reason why neither.
    pub decision: &'static str,
    /// The incident it belongs to.
    pub incident_id: i64,
}

/// An action that the violation led to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ActionTriggered {
    /// What is done.
    pub action: String,
    /// On what.
    pub target: String,
    /// The new action's status.
    pub status: &'static str,
    /// The policy's parameters.
    pub params: Value,
    /// Its id.
    pub action_id: i64,
    /// The policy that made it.
    pub policy_name: String,
}

/// The body of a 201.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Ingested)]
pub struct Answer {
    /// Always true.
    pub ok: bool,
    /// The first event's id.
    pub metric_id: i64,
    /// The ids of a list, in its order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_ids: Option<Vec<i64>>,
    /// How many a list held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<usize>,
    /// For people.
    pub message: &'static str,
    /// `stored`, or `duplicate` where every event was a repeat.
    pub status: &'static str,
    /// Whether the policies have been evaluated.
    pub policies_evaluated: bool,
    /// The first 100 of them.
    pub violations: Vec<Violation>,
    /// How many there were.
    pub violations_total: usize,
    /// The actions made.
    pub actions_triggered: Vec<ActionTriggered>,
    /// The target of a single event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The first event's id, as text.
    pub event_id: String,
    /// What was taken otherwise than it was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Violation {
    /// Of `policy` on `target`.
    #[must_use]
    pub fn new(policy: &Compiled, target: &str, at: Timestamp, decision: &'static str) -> Self {
        Self {
            policy_name: policy.policy.name.clone(),
            severity: policy.policy.severity.word(),
            description: policy.policy.description.clone(),
            target: target.to_owned(),
            timestamp: at,
            triggered_at: at,
            action: policy.policy.action.clone(),
            decision,
            incident_id: 0,
        }
    }
}
