//! Between the contract's types and the plain ones, and from wasmtime's errors to an [`Ended`].

use std::time::Duration;

use serde_json::Value;
use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use super::bindings::exports::vigil::remediator::remediator as guest;
use super::bindings::vigil::remediator::types as wit;
use super::state::Kill;
use super::types::{Change, ChangeStatus, Ended, Failure, Outcome, ParamProblem, Request, Trigger};

/// The longest checkpoint.
const MAX_CHECKPOINT: usize = 64 << 10;

/// What the guest is given.
pub(super) fn request(request: &Request, action: &str) -> guest::ActionRequest {
    guest::ActionRequest {
        execution_id: request.execution_id.clone(),
        attempt: request.attempt,
        action: action.to_owned(),
        target: wit::Target {
            kind: request.target.kind.clone(),
            name: request.target.name.clone(),
            namespace: request.target.namespace.clone(),
            labels: request.target.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        },
        params: request.params.to_string(),
        trigger: match request.trigger {
            Trigger::Manual => wit::Trigger::Manual,
            Trigger::Alert => wit::Trigger::Alert,
            Trigger::Schedule => wit::Trigger::Schedule,
            Trigger::Workflow => wit::Trigger::Workflow,
            Trigger::Retry => wit::Trigger::Retry,
        },
        deadline: request.deadline_unix_ms,
        traceparent: None,
        attributes: request.attributes.clone(),
    }
}

/// How an attempt ended whose guest answered; `limit` is for the answer's size in bytes.
pub(super) fn answered(answer: Result<guest::Outcome, guest::Error>, limit: u64) -> Ended {
    let size = match &answer {
        Ok(outcome) => outcome_size(outcome),
        Err(guest::Error::Invalid(problems)) => problems_size(problems),
        Err(guest::Error::Permanent(f) | guest::Error::Cancelled(f)) => failure_size(f),
        Err(guest::Error::Retryable(r)) => failure_size(&r.failure),
    };
    if size as u64 > limit {
        return Ended::Limit(format!(
            "its answer has {size} bytes; the limit is {limit} (plugins.output_bytes)"
        ));
    }
    let checkpoint = match &answer {
        Ok(outcome) => outcome.checkpoint.as_ref(),
        Err(guest::Error::Permanent(f) | guest::Error::Cancelled(f)) => f.checkpoint.as_ref(),
        Err(guest::Error::Retryable(r)) => r.failure.checkpoint.as_ref(),
        Err(guest::Error::Invalid(_)) => None,
    };
    if checkpoint.is_some_and(|c| c.len() > MAX_CHECKPOINT) {
        return Ended::Limit("its checkpoint has more than 64 KiB".to_owned());
    }
    match answer {
        Ok(outcome) => Ended::Ok(self::outcome(outcome)),
        Err(guest::Error::Invalid(problems)) => Ended::Invalid(self::problems(problems)),
        Err(guest::Error::Permanent(f)) => Ended::Permanent(failure(f)),
        Err(guest::Error::Cancelled(f)) => Ended::Cancelled(failure(f)),
        Err(guest::Error::Retryable(r)) => {
            Ended::Retryable(failure(r.failure), r.retry_after_ms.map(Duration::from_millis))
        }
    }
}

fn outcome_size(o: &guest::Outcome) -> usize {
    let attributes = o.attributes.iter().map(|(k, v)| k.len() + v.len() + 16).sum::<usize>();
    let checkpoint = o.checkpoint.as_ref().map_or(0, Vec::len);
    o.summary.len() + changes_size(&o.changes) + length(o.output.as_ref()) + checkpoint + attributes
}

fn failure_size(f: &wit::Failure) -> usize {
    let checkpoint = f.checkpoint.as_ref().map_or(0, Vec::len);
    f.code.len() + f.message.len() + length(f.details.as_ref()) + changes_size(&f.changes) + checkpoint
}

fn changes_size(changes: &[wit::Change]) -> usize {
    changes.iter().map(|c| c.subject.len() + length(c.before.as_ref()) + length(c.after.as_ref()) + 16).sum()
}

fn problems_size(problems: &[wit::ParamProblem]) -> usize {
    problems.iter().map(|p| p.pointer.len() + p.message.len() + 16).sum()
}

fn length(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

fn outcome(o: guest::Outcome) -> Outcome {
    Outcome {
        summary: o.summary,
        changes: changes(o.changes),
        output: o.output.map(json),
        checkpoint: o.checkpoint,
        attributes: o.attributes,
    }
}

fn failure(f: wit::Failure) -> Failure {
    Failure {
        code: f.code,
        message: f.message,
        details: f.details.map(json),
        changes: changes(f.changes),
        checkpoint: f.checkpoint,
    }
}

fn changes(changes: Vec<wit::Change>) -> Vec<Change> {
    let change = |c: wit::Change| Change {
        subject: c.subject,
        status: match c.status {
            wit::ChangeStatus::Applied => ChangeStatus::Applied,
            wit::ChangeStatus::Requested => ChangeStatus::Requested,
            wit::ChangeStatus::NoChange => ChangeStatus::NoChange,
        },
        before: c.before.map(json),
        after: c.after.map(json),
    };
    changes.into_iter().map(change).collect()
}

/// The plain form of parameter problems.
pub(super) fn problems(problems: Vec<wit::ParamProblem>) -> Vec<ParamProblem> {
    problems.into_iter().map(|p| ParamProblem { pointer: p.pointer, message: p.message }).collect()
}

/// What a plugin calls JSON but is none is kept as it is.
fn json(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// How an attempt ended whose guest did not answer.
pub(super) fn stopped(error: &wasmtime::Error) -> Ended {
    if let Some(kill) = error.downcast_ref::<Kill>() {
        return killed(kill);
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return Ended::Trap(format!("it left with exit code {}", exit.0));
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        if *trap == Trap::OutOfFuel {
            return Ended::Limit("it used up its fuel (plugins.fuel)".to_owned());
        }
        return if *trap == Trap::Interrupt { Ended::Deadline } else { Ended::Trap(trap.to_string()) };
    }
    let text = error.root_cause().to_string();
    if text.contains("fuel allocated for hostcalls") {
        return Ended::Limit("it passed more data in one call than is allowed".to_owned());
    }
    Ended::Trap(text)
}

/// How an attempt ended that the host stopped.
pub(super) fn killed(kill: &Kill) -> Ended {
    match kill {
        Kill::Deadline => Ended::Deadline,
        Kill::Fenced => Ended::Fenced,
        Kill::Memory(text) => Ended::Memory(text.clone()),
        Kill::Limit(text) => Ended::Limit(text.clone()),
        Kill::Impure(_) => Ended::Host(kill.to_string()),
        Kill::Cancelled => Ended::Cancelled(Failure {
            code: "stopped".to_owned(),
            message: "it was asked to stop, did not, and was stopped by the host".to_owned(),
            details: None,
            changes: Vec::new(),
            checkpoint: None,
        }),
    }
}
