//! What a plugin is asked, in an attempt and in plan mode alike: it is never told which of them it is.

use serde_json::json;

use crate::clock::Clock;
use crate::plugin::{Request, Route, Target, Trigger};
use crate::store::Task;

/// The request to the plugin that a route names.
pub(super) fn request(clock: &Clock, task: &Task, (attempt, fence): (i64, i64), route: &Route) -> Request {
    let timeout = task.timeout().unwrap_or(route.timeout).min(route.timeout);
    let deadline = clock.now().after(timeout);
    let mut attributes = Vec::new();
    if let Some(policy) = &task.policy_name {
        attributes.push(("policy".to_owned(), policy.clone()));
    }
    if let Some(incident) = task.incident_id {
        attributes.push(("incident".to_owned(), incident.to_string()));
    }
    Request {
        execution_id: task.execution_id.clone(),
        attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
        action: task.kind.clone(),
        target: Target {
            kind: task.target_kind.clone().unwrap_or_else(|| "target".to_owned()),
            name: task.target.clone(),
            namespace: task.namespace.clone(),
            labels: serde_json::from_str(&task.labels).unwrap_or_default(),
        },
        params: serde_json::from_str(&task.params).unwrap_or_else(|_| json!({})),
        trigger: if task.origin == "policy" { Trigger::Alert } else { Trigger::Manual },
        timeout,
        deadline_unix_ms: deadline.unix_millis(),
        attributes,
        fence,
    }
}
