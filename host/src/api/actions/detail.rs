//! An action as the wire has it: the seed's members, and ours beside them.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::ApprovalDetail;
use crate::api::Problem;
use crate::domain::policy::Priority;
use crate::domain::{Phase, Timestamp, WireStatus};
use crate::store::ActionRow;

/// One action.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct ActionDetail {
    /// Its id.
    id: i64,
    /// On what.
    target: String,
    /// What kind of action.
    action: String,
    /// One of the five that older clients know.
    status: WireStatus,
    /// The finer state.
    state: Phase,
    /// For people; of an action that a policy made, JSON with `policy_name`, `params` and `triggered_at`.
    details: Option<String>,
    /// Why it failed; begins `Outcome unknown:` where nobody knows whether it did.
    error_message: Option<String>,
    /// When it was made (not when work began: that is `running_since`).
    started_at: Timestamp,
    /// When it ended.
    completed_at: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
    /// When its last attempt began.
    running_since: Option<Timestamp>,
    /// `policy`, `api`, `pull` or `simulator`.
    origin: String,
    /// The policy that made it.
    policy_name: Option<String>,
    /// Its incident.
    incident_id: Option<i64>,
    /// The event that led to it.
    event_id: Option<i64>,
    /// The target's namespace.
    namespace: Option<String>,
    /// In which order it is claimed.
    priority: Priority,
    /// Its parameters, as they reach whoever carries it out.
    #[schema(value_type = Object)]
    params: Value,
    /// Attempts it has had.
    attempts: i64,
    /// Attempts it may have.
    max_attempts: i64,
    /// When its next attempt is due, while it waits for one.
    next_attempt_at: Option<Timestamp>,
    /// The plugin of its last attempt, or `remediator` where it was pushed.
    plugin: Option<String>,
    /// The plugin's digest.
    digest: Option<String>,
    /// What may be done when the outcome is unknown: `idempotent`, `keyed` or `unsafe`.
    effects: Option<String>,
    /// The same over all attempts.
    execution_id: String,
    /// Who has it or had it last: a process of ours, or `remediator:NAME`.
    owner: Option<String>,
    /// Until when a remediator's result counts.
    lease_until: Option<Timestamp>,
    /// What a remediator reported.
    result: Option<Value>,
    /// Which step of its policy's ladder it is, from 0.
    step: Option<i64>,
    /// What samples observed after it had ended and settled say: `healed`, `not_healed` or `unknown`; null: nothing yet.
    verdict: Option<String>,
    /// Whether it was put in the queue.
    queued: bool,
    /// Whether it has no outside effect.
    simulated: bool,
    /// What people are asked, where it takes their yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    approval: Option<ApprovalDetail>,
}

impl ActionDetail {
    /// From its row.
    pub(in crate::api) fn of(row: &ActionRow) -> Result<Self, Problem> {
        let phase = row.phase()?;
        Ok(Self {
            id: row.id,
            target: row.target.clone(),
            action: row.kind.clone(),
            status: phase.wire(),
            state: phase,
            details: row.details.clone(),
            error_message: row.error_message.clone(),
            started_at: row.created_at(),
            completed_at: row.completed_at(),
            created_at: row.created_at(),
            running_since: row.running_since(),
            origin: row.origin.clone(),
            policy_name: row.policy_name.clone(),
            incident_id: row.incident_id,
            event_id: row.event_id,
            namespace: row.namespace.clone(),
            priority: Priority::from_number(row.priority),
            params: row.params(),
            attempts: row.attempts,
            max_attempts: row.max_attempts,
            next_attempt_at: (phase == Phase::Scheduled).then(|| row.run_at()),
            plugin: row.plugin.clone(),
            digest: row.digest.clone().filter(|digest| !digest.is_empty()),
            effects: row.effects.clone(),
            execution_id: row.execution_id.clone(),
            owner: row.owner.clone(),
            lease_until: row.lease_until(),
            result: row.result(),
            step: row.step,
            verdict: row.verdict.clone(),
            queued: row.queued,
            simulated: row.simulated,
            approval: None,
        })
    }

    /// With the request that it takes, if it takes one.
    pub(in crate::api) fn with(self, approval: Option<ApprovalDetail>) -> Self {
        Self { approval, ..self }
    }
}
