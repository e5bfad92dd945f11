//! The action that tells a human of an incident.

use serde_json::{Value, json};

use crate::domain::Phase;
use crate::domain::ladder::Step;
use crate::domain::policy::{Policy, Priority};
use crate::store::{ActionDraft, Which};

/// The target of actions that tell a human.
const HUMAN: &str = "human";

/// Of what a human is told.
#[derive(Debug)]
pub(super) struct Told<'a> {
    /// The incident; its id is added to the parameters when that is known.
    pub(super) incident: Which,
    /// Its target.
    pub(super) target: &'a str,
    /// The event that led to this.
    pub(super) event_id: i64,
    /// Why, in words.
    pub(super) why: String,
}

/// The action that tells a human of an incident. Its target is not the incident's: that one's slot may be taken by the
/// very action whose outcome nobody knows.
pub(super) fn notice(
    policy: &Policy,
    step: &Step,
    told: Told<'_>,
    (max_attempts, execution_id): (i64, String),
) -> ActionDraft {
    let mut params = step.params.clone();
    for (member, value) in [("policy", json!(policy.name)), ("target", json!(told.target))] {
        params.entry(member).or_insert(value);
    }
    ActionDraft {
        id: 0,
        phase: Phase::Held,
        execution_id,
        incident: Some(told.incident),
        policy: Some((policy.id, policy.name.clone(), policy.version)),
        event_id: Some(told.event_id),
        origin: "policy",
        simulated: false,
        kind: step.action.clone(),
        target: HUMAN.to_owned(),
        target_kind: None,
        namespace: None,
        labels: "{}".to_owned(),
        params: Value::Object(params).to_string(),
        step: None,
        tells: true,
        priority: Priority::High.number(),
        max_attempts: step.attempts.map_or(max_attempts, i64::from),
        timeout: step.timeout,
        queued: true,
        expires_at: None,
        details: Some(told.why),
        approval: None,
        plugin: None,
    }
}
