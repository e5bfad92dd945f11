//! One attempt: the request to the plugin, its run under the lease, and what becomes of the action.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::order;
use super::push;
use super::tenure::Tenure;
use super::worker::{Handle, Parts};
use crate::config::Backoff;
use crate::domain::Timestamp;
use crate::domain::action::{Effects, Step};
use crate::plugin::{CallRecord, CallState, Ended, Guard, JournalEntry, Remediator, Report, Route};
use crate::store::{CallRow, Ending, Finished, Lease};

/// When a failed attempt is followed by another.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Before the first retry.
    pub base: Duration,
    /// The longest.
    pub longest: Duration,
    /// How it grows.
    pub backoff: Backoff,
}

impl Retry {
    /// The pause before the n-th retry (from 1), without jitter: exponential `base·2^(n-1)`, linear `base·n`,
    /// constant `base`, each at most `longest`.
    #[must_use]
    pub fn delay(&self, n: u32) -> Duration {
        let n = n.max(1);
        let full = match self.backoff {
            Backoff::Exponential => self.base.saturating_mul(1_u32.checked_shl(n - 1).unwrap_or(u32::MAX)),
            Backoff::Linear => self.base.saturating_mul(n),
            Backoff::Constant => self.base,
        };
        full.min(self.longest)
    }

    /// Jitter shortens a pause by up to a tenth.
    fn jittered(&self, n: u32) -> Duration {
        self.delay(n).mul_f64(rand::random_range(0.9..=1.0))
    }
}

/// Who runs an attempt.
#[derive(Clone, Debug)]
pub enum Runner {
    /// A plugin, as it was when the action was claimed.
    Plugin(Route),
    /// A remediator elsewhere.
    Push(Remediator),
}

/// Runs one attempt and records its end.
pub async fn attempt(parts: &Parts, lease: Lease, runner: Runner, handle: Handle, draining: &AtomicBool) {
    let tenure = parts.tenures.current();
    let report = match &runner {
        Runner::Plugin(route) => run(parts, &lease, route, &handle, tenure).await,
        Runner::Push(remediator) => push::run(parts, &lease, remediator, &handle).await,
    };
    if matches!(report.result, Ended::Fenced) && !handle.revoked.load(Ordering::Acquire) {
        // The lease is gone: whoever rescued the action decides, nothing of ours may be written.
        parts.metrics.stale_commit();
        tracing::warn!(
            action_id = lease.task.id,
            attempt = lease.attempt,
            "the lease was lost; the result is dropped"
        );
        return;
    }
    let drained = draining.load(Ordering::Acquire);
    let superseded = handle.revoked.load(Ordering::Acquire);
    let ending = if superseded { Ending::Superseded } else { ending(parts, &lease, &report, drained) };
    let outcome = report.result.kind();
    parts.metrics.attempt(&lease.dispatch.plugin, outcome, report.duration);
    let finished = Finished {
        outcome,
        message: message(&report.result),
        result: result(&report.result),
        logs: json!({"lines": report.logs, "dropped": report.logs_dropped, "fuel": report.fuel_used,
            "peak_memory": report.peak_memory}),
        calls: report.calls.iter().map(call_row).collect(),
        ending,
    };
    record(parts, &lease, finished).await;
}

/// Writes the end down, again and again while the database is away and the lease is ours.
async fn record(parts: &Parts, lease: &Lease, finished: Finished) {
    let mut pause = Duration::from_millis(50);
    loop {
        match parts.store.finish(lease, &finished, parts.clock.now()).await {
            Ok(Some(settled)) => {
                parts.queue.announce(&settled.ready);
                count(parts, lease, &settled.ending);
                return;
            }
            Ok(None) => {
                parts.metrics.stale_commit();
                tracing::warn!(
                    action_id = lease.task.id,
                    attempt = lease.attempt,
                    "the action was taken over meanwhile; the result is dropped"
                );
                return;
            }
            Err(wrong) => {
                tracing::warn!(action_id = lease.task.id, error = %wrong, "the end of an attempt is not stored yet");
                if parts.tenures.current().boot_id != lease.owner {
                    return;
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

fn count(parts: &Parts, lease: &Lease, ending: &Ending) {
    let (status, task) = match ending {
        Ending::Succeeded { .. } => (Some("completed"), Some("completed")),
        Ending::Retry { .. } => (Some("pending"), Some("failed")),
        Ending::Dead { .. } | Ending::Uncertain { .. } => (Some("failed"), Some("failed")),
        Ending::GivenBack => (Some("pending"), None),
        // Whoever ended it has counted it.
        Ending::Superseded => (None, None),
    };
    if let Some(status) = status {
        parts.metrics.action(&lease.task.target, &lease.task.kind, status);
    }
    if let Some(task) = task {
        parts.metrics.worker_task(task);
    }
    if matches!(ending, Ending::Retry { .. } | Ending::GivenBack) {
        parts.metrics.queue_operation("enqueue");
    }
    let how = ending;
    tracing::info!(action_id = lease.task.id, target = %lease.task.target, attempt = lease.attempt, ending = ?how,
        policy_name = lease.task.policy_name, "Attempt ended");
}

async fn run(parts: &Parts, lease: &Lease, route: &Route, handle: &Handle, tenure: Arc<Tenure>) -> Report {
    let request = order::request(&parts.clock, &lease.task, (lease.attempt, lease.fence), route);
    if let Err(problems) = parts.plugins.check_params(route, &request.params) {
        return Report::only(Ended::Invalid(problems), Duration::ZERO);
    }
    let (journal, mut entries) = mpsc::channel::<JournalEntry>(1);
    let (revoked, owner) = (Arc::clone(&handle.revoked), lease.owner.clone());
    let holds = move || !revoked.load(Ordering::Acquire) && tenure.boot_id == owner && tenure.holds();
    let (started, mut begun) = oneshot::channel();
    let mut waiting = true;
    let guard = Guard {
        cancel: handle.cancel.clone(),
        holds: Arc::new(holds),
        journal,
        started: Some(started),
        bound: lease.task.approval().and_then(|approval| approval.plan.calls),
    };
    let execution = parts.plugins.execute(route, request, guard);
    tokio::pin!(execution);
    loop {
        tokio::select! {
            report = &mut execution => return report,
            first = &mut begun, if waiting => {
                waiting = false;
                if first.is_ok() {
                    let since = Timestamp::from_micros(lease.task.created_at);
                    parts.metrics.event_to_start(parts.clock.now().since(since));
                }
            }
            Some(JournalEntry::Intent { call, ack }) = entries.recv() => {
                let stored = parts.store.intend(lease, &call_row(&call), parts.clock.now()).await;
                // A dropped receiver means that the attempt has been stopped meanwhile.
                let _ = ack.send(match stored {
                    Ok(true) => Ok(()),
                    Ok(false) => Err("the lease on this action is gone".to_owned()),
                    Err(wrong) => Err(format!("the intent could not be written down: {wrong}")),
                });
            }
        }
    }
}

/// What becomes of the action after this attempt.
fn ending(parts: &Parts, lease: &Lease, report: &Report, draining: bool) -> Ending {
    let error = message(&report.result);
    let left = lease.attempt < lease.task.max_attempts;
    let retry = |asked: Option<Duration>| {
        if !left {
            return Ending::Dead { error: format!("{error} (attempt {} was the last)", lease.attempt) };
        }
        let n = u32::try_from(lease.attempt).unwrap_or(u32::MAX);
        let retry = parts.settings.retry();
        let delay = retry.jittered(n).max(asked.unwrap_or_default().min(retry.longest));
        Ending::Retry { error: error.clone(), delay }
    };
    match unclear(lease.dispatch.effects, report) {
        Some(ending) => return ending,
        None if draining && !matches!(report.result, Ended::Ok(_)) => return Ending::GivenBack,
        None => {}
    }
    match &report.result {
        Ended::Ok(outcome) => Ending::Succeeded { summary: outcome.summary.clone() },
        Ended::Invalid(_) | Ended::Permanent(_) | Ended::Denied(_) | Ended::Cancelled(_) => {
            Ending::Dead { error }
        }
        Ended::Retryable(_, after) => retry(*after),
        Ended::Trap(_)
        | Ended::Deadline
        | Ended::Memory(_)
        | Ended::Limit(_)
        | Ended::Host(_)
        | Ended::Fenced => retry(None),
    }
}

/// An unsafe action whose effect nobody can tell is not run again by us. The plugin's own word counts
/// (it saw the answers), unless a call of its was never answered.
fn unclear(effects: Effects, report: &Report) -> Option<Ending> {
    let sent = report.calls.iter().any(|call| {
        call.mutating
            && matches!(call.state, CallState::Unknown | CallState::Intent | CallState::Done)
            && !(call.state == CallState::Done && call.status.is_none())
    });
    let unanswered = report
        .calls
        .iter()
        .any(|call| call.mutating && matches!(call.state, CallState::Unknown | CallState::Intent));
    let cut_short = match report.result {
        Ended::Ok(_) => return None,
        Ended::Invalid(_) | Ended::Permanent(_) | Ended::Retryable(..) | Ended::Denied(_) => false,
        Ended::Cancelled(_)
        | Ended::Trap(_)
        | Ended::Deadline
        | Ended::Memory(_)
        | Ended::Limit(_)
        | Ended::Fenced
        | Ended::Host(_) => true,
    };
    let called = unanswered || (cut_short && sent);
    (effects.unseen_end(called) == Step::LoseTrack)
        .then(|| Ending::Uncertain { error: format!("{}; a call had been sent", message(&report.result)) })
}

/// How an attempt ended, in one line for people.
pub(super) fn message(ended: &Ended) -> String {
    match ended {
        Ended::Ok(outcome) => outcome.summary.clone(),
        Ended::Invalid(problems) => {
            let list: Vec<String> =
                problems.iter().map(|problem| format!("{}: {}", problem.pointer, problem.message)).collect();
            format!("the plugin refused the parameters: {}", list.join("; "))
        }
        Ended::Permanent(failure) | Ended::Retryable(failure, _) | Ended::Cancelled(failure) => {
            format!("{}: {}", failure.code, failure.message)
        }
        Ended::Trap(why) => format!("the plugin crashed: {why}"),
        Ended::Deadline => "the plugin did not end in time".to_owned(),
        Ended::Memory(why) => format!("the plugin asked for too much memory: {why}"),
        Ended::Limit(which) => format!("the plugin went over its limit: {which}"),
        Ended::Denied(why) => format!("a call was not granted: {why}"),
        Ended::Fenced => "the lease was lost".to_owned(),
        Ended::Host(why) => format!("the host failed: {why}"),
    }
}

pub(super) fn result(ended: &Ended) -> Value {
    match ended {
        Ended::Ok(outcome) => json!(outcome),
        Ended::Permanent(failure) | Ended::Retryable(failure, _) | Ended::Cancelled(failure) => {
            json!(failure)
        }
        Ended::Invalid(problems) => json!(problems),
        Ended::Trap(_)
        | Ended::Deadline
        | Ended::Memory(_)
        | Ended::Limit(_)
        | Ended::Denied(_)
        | Ended::Fenced
        | Ended::Host(_) => Value::Null,
    }
}

/// A call as it is kept.
pub(super) fn call_row(call: &CallRecord) -> CallRow {
    CallRow {
        fence: 0,
        n: i64::from(call.n),
        connection: call.connection.clone(),
        method: call.method.clone(),
        path: call.path.clone(),
        mutating: call.mutating,
        state: match call.state {
            CallState::Intent => "intent",
            CallState::Done => "done",
            CallState::Unknown => "unknown",
            CallState::Refused => "refused",
            CallState::Planned => "planned",
        }
        .to_owned(),
        status: call.status.map(i64::from),
        error: call.error.clone(),
        duration_us: i64::try_from(call.duration.as_micros()).ok(),
        body_hash: call.body_hash.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_follow_the_contract() {
        let retry =
            |backoff| Retry { base: Duration::from_secs(1), longest: Duration::from_mins(1), backoff };
        let seconds = |backoff| -> Vec<u64> { (1..=8).map(|n| retry(backoff).delay(n).as_secs()).collect() };
        assert_eq!(seconds(Backoff::Exponential), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(seconds(Backoff::Linear), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(seconds(Backoff::Constant), [1; 8]);
        assert_eq!(retry(Backoff::Exponential).delay(4_000_000_000).as_secs(), 60);
    }
}
