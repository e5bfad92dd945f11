//! One attempt by a remediator: the push, told as the report of an attempt, so that what becomes of the action
//! is decided where every attempt's end is decided.

use std::time::Instant;

use serde_json::{Value, json};

use super::execute::call_row;
use super::worker::{Handle, Parts};
use crate::domain::action::Effects;
use crate::domain::policy::Priority;
use crate::plugin::{CallRecord, CallState, Ended, Failure, Outcome, Push, Pushed, Remediator, Report};
use crate::store::{Dispatch, Lease, Task};

/// Under this name an attempt by a remediator is listed.
pub(super) const REMEDIATOR: &str = "remediator";

/// How actions of that kind are pushed.
#[must_use]
pub(super) fn dispatch(task: &Task, idempotent: &[String]) -> Dispatch {
    let effects = if idempotent.contains(&task.kind) { Effects::Idempotent } else { Effects::Unsafe };
    Dispatch { plugin: REMEDIATOR.to_owned(), digest: String::new(), effects }
}

/// Pushes one attempt. The intent is on disk before the request leaves.
pub(super) async fn run(parts: &Parts, lease: &Lease, remediator: &Remediator, handle: &Handle) -> Report {
    let begun = Instant::now();
    let mut call = CallRecord {
        n: 1,
        connection: REMEDIATOR.to_owned(),
        method: "POST".to_owned(),
        path: remediator.path().to_owned(),
        body_hash: None,
        body: None,
        mutating: true,
        started_us: parts.clock.now().micros(),
        duration: std::time::Duration::ZERO,
        status: None,
        error: None,
        state: CallState::Intent,
    };
    match parts.store.intend(lease, &call_row(&call), parts.clock.now()).await {
        Ok(true) => {}
        Ok(false) => return report(Ended::Fenced, Vec::new(), begun),
        Err(wrong) => {
            let why = format!("the intent could not be written down: {wrong}");
            return report(Ended::Host(why), Vec::new(), begun);
        }
    }
    let since = crate::domain::Timestamp::from_micros(lease.task.created_at);
    parts.metrics.event_to_start(parts.clock.now().since(since));
    let push = Push { request_id: lease.task.execution_id.clone(), fence: lease.fence, body: body(lease) };
    let pushed = tokio::select! {
        pushed = remediator.push(&push) => pushed,
        () = over(lease.task.timeout()) => Pushed::Unknown("it did not answer in the time of its step".to_owned()),
        () = handle.cancel.cancelled() => Pushed::Unknown("it was stopped before it answered".to_owned()),
    };
    call.duration = begun.elapsed();
    let result = match pushed {
        Pushed::Answered(status, answer) => {
            (call.state, call.status) = (CallState::Done, Some(status));
            if unclear(status, &answer) {
                call.state = CallState::Unknown;
            }
            ended(status, &answer)
        }
        Pushed::NotSent(why) => {
            (call.state, call.error) = (CallState::Done, Some(why.clone()));
            Ended::Retryable(failure("not_reached", format!("the remediator can't be reached: {why}")), None)
        }
        Pushed::Unknown(why) => {
            (call.state, call.error) = (CallState::Unknown, Some(why.clone()));
            Ended::Host(format!("the remediator was asked and {why}"))
        }
    };
    report(result, vec![call], begun)
}

/// After that time, if there is one.
async fn over(timeout: Option<std::time::Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

fn report(result: Ended, calls: Vec<CallRecord>, begun: Instant) -> Report {
    Report {
        result,
        logs: Vec::new(),
        logs_dropped: 0,
        calls,
        fuel_used: 0,
        duration: begun.elapsed(),
        peak_memory: 0,
    }
}

fn body(lease: &Lease) -> Value {
    let task = &lease.task;
    let severity = match Priority::from_number(task.priority) {
        Priority::High => "critical",
        Priority::Medium => "warning",
        Priority::Low => "info",
    };
    json!({
        "action": task.kind,
        "target": task.target,
        "severity": severity,
        "policy_id": task.policy_name,
        "alert_id": task.incident_id.map(|id| id.to_string()),
        "action_id": task.id,
        "request_id": task.execution_id,
        "params": serde_json::from_str::<Value>(&task.params).unwrap_or_else(|_| json!({})),
        "attempt": lease.attempt,
    })
}

/// Another Vigil answers 202 with the action it made while that still runs; it knows the request's id, so the
/// question can be repeated.
fn still_running(answer: &Value) -> bool {
    answer["action_id"].is_i64()
}

/// Accepted by somebody who can't be asked again.
fn unclear(status: u16, answer: &Value) -> bool {
    status == 202 && !still_running(answer)
}

fn ended(status: u16, answer: &Value) -> Ended {
    let said = ["detail", "message", "error", "error_message"]
        .iter()
        .find_map(|member| answer[*member].as_str())
        .map(|text| format!(": {}", text.chars().take(512).collect::<String>()))
        .unwrap_or_default();
    match status {
        202 if still_running(answer) => {
            Ended::Retryable(failure("still_running", "the remediator is still at it".to_owned()), None)
        }
        202 => Ended::Host("the remediator accepted it without saying how it ended".to_owned()),
        200..=299 => Ended::Ok(Outcome {
            summary: format!("the remediator answered {status}{said}"),
            changes: Vec::new(),
            output: Some(answer.clone()).filter(|answer| !answer.is_null()),
            checkpoint: None,
            attributes: Vec::new(),
        }),
        429 | 502 | 503 | 504 => {
            Ended::Retryable(failure("busy", format!("the remediator answered {status}{said}")), None)
        }
        _ => Ended::Permanent(failure("refused", format!("the remediator answered {status}{said}"))),
    }
}

fn failure(code: &str, message: String) -> Failure {
    Failure { code: code.to_owned(), message, details: None, changes: Vec::new(), checkpoint: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_decide_what_may_be_done_next() {
        let kind = |status: u16| ended(status, &Value::Null).kind();
        assert_eq!([200, 201, 204].map(kind), ["ok"; 3]);
        assert_eq!([429, 502, 503, 504].map(kind), ["retryable"; 4]);
        assert_eq!([302, 400, 404, 409, 422, 500].map(kind), ["permanent"; 6]);
        assert_eq!((kind(202), unclear(202, &Value::Null)), ("host", true));
        let ours = json!({"ok": true, "action_id": 7});
        assert_eq!((ended(202, &ours).kind(), unclear(202, &ours)), ("retryable", false));
    }
}
