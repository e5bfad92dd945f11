//! An attempt has ended: its result, the action's next state, the slot, and what becomes ready.

use std::time::Duration;

use serde_json::{Value, json};

use super::record::{add_audit, hand_over};
use super::sql::statements;
use super::{CallRow, Lease, Result, Store, Tx, on, pace, slot};
use crate::domain::audit::Entry;
use crate::domain::mutant::{Fault, holds};
use crate::domain::{Phase, Timestamp};

statements! { pub(super) STATEMENTS:
    ENDED_UNDER = "SELECT COUNT(*) FROM action WHERE id = $1 AND fence = $2
        AND state IN ('succeeded', 'dead', 'cancelled', 'expired')";
    FINISH = "UPDATE action SET state = $5, completed_at = $6, error_message = $7, details = COALESCE($8, details),
        run_at = $9, attempts = attempts - $10,
        requeued = requeued + CASE WHEN $5 IN ('scheduled', 'ready') THEN 1 ELSE 0 END
        WHERE id = $1 AND state = 'running' AND owner = $2 AND fence = $3 AND attempts = $4";
    END_ATTEMPT = "UPDATE attempt SET ended_at = $3, outcome = $4, message = $5, result = $6, logs = $7
        WHERE action_id = $1 AND fence = $2 AND ended_at IS NULL";
    KEEP_CALL = "INSERT INTO host_call (action_id, fence, n, attempt, connection, method, path, mutating, state,
        status, error, started_at, duration_us, body_hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
        $14)
        ON CONFLICT (action_id, fence, n) DO UPDATE SET state = excluded.state, status = excluded.status,
        error = excluded.error, duration_us = excluded.duration_us, body_hash = excluded.body_hash";
}

/// What becomes of the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Done.
    Succeeded {
        /// One line for people.
        summary: String,
    },
    /// Not done; tried again after the delay.
    Retry {
        /// Why not.
        error: String,
        /// How long to wait.
        delay: Duration,
    },
    /// Not done and not tried again.
    Dead {
        /// Why not.
        error: String,
    },
    /// Nobody knows.
    Uncertain {
        /// What is known.
        error: String,
    },
    /// Given back untouched, without using up an attempt.
    GivenBack,
    /// The action was ended by somebody else meanwhile: only history is kept.
    Superseded,
}

impl Ending {
    fn phase(&self) -> Option<Phase> {
        match self {
            Self::Succeeded { .. } => Some(Phase::Succeeded),
            Self::Retry { .. } => Some(Phase::Scheduled),
            Self::Dead { .. } => Some(Phase::Dead),
            Self::Uncertain { .. } => Some(Phase::Uncertain),
            Self::GivenBack => Some(Phase::Ready),
            Self::Superseded => None,
        }
    }

    fn error(&self) -> Option<String> {
        match self {
            Self::Retry { error, .. } | Self::Dead { error } => Some(error.clone()),
            Self::Uncertain { error } => Some(format!("Outcome unknown: {error}")),
            Self::Succeeded { .. } | Self::GivenBack | Self::Superseded => None,
        }
    }

    fn summary(&self) -> Option<&str> {
        match self {
            Self::Succeeded { summary } => Some(summary),
            Self::Retry { .. }
            | Self::Dead { .. }
            | Self::Uncertain { .. }
            | Self::GivenBack
            | Self::Superseded => None,
        }
    }
}

/// What an attempt left behind.
#[derive(Clone, Debug)]
pub struct Finished {
    /// What becomes of the action.
    pub ending: Ending,
    /// How the attempt ended, in one word.
    pub outcome: &'static str,
    /// How, in one line.
    pub message: String,
    /// What the plugin answered.
    pub result: Value,
    /// What it logged.
    pub logs: Value,
    /// What it asked of connections.
    pub calls: Vec<CallRow>,
}

impl Store {
    /// Records the end of an attempt. None: the lease was lost, nothing of the action was changed. Otherwise
    /// what became ready.
    pub async fn finish(&self, lease: &Lease, done: &Finished, now: Timestamp) -> Result<Option<Settled>> {
        let mut tx = self.begin().await?;
        let refused = self.refused(&mut tx, lease, &done.ending, now).await?;
        let ended = refused.map(|ending| Finished { ending, ..done.clone() });
        let done = ended.as_ref().unwrap_or(done);
        // Locks in the order of the whole system: incident, slot, action.
        if let (Ending::Uncertain { .. }, Some(incident)) = (&done.ending, lease.task.incident_id) {
            hand_over(&mut tx, incident, "outcome_unknown", now).await?;
        }
        slot::lock(&mut tx, &lease.task.target).await?;
        let mut ready = Vec::new();
        if let Some(phase) = done.ending.phase() {
            if !transition(&mut tx, lease, done, phase, now).await? {
                return Ok(None);
            }
            // An uncertain action keeps the slot: the target may still be working.
            if phase.ended() && phase != Phase::Uncertain {
                ready.extend(slot::leave(&mut tx, &lease.task.target, lease.task.id, now).await?);
            }
        }
        // A call that was never answered may still be at work: then the sweep frees the slot, later.
        let unanswered = done.calls.iter().any(|call| matches!(call.state.as_str(), "intent" | "unknown"));
        if done.ending == Ending::Superseded && !unanswered && ended_under(&mut tx, lease).await? {
            ready.extend(slot::leave(&mut tx, &lease.task.target, lease.task.id, now).await?);
        }
        keep(&mut tx, lease, done, now).await?;
        tx.commit().await?;
        Ok(Some(Settled { ready, ending: done.ending.clone() }))
    }

    /// The end in place of a retry that is none any more: in a window only so many attempts repeat a failed one.
    async fn refused(
        &self,
        tx: &mut Tx,
        lease: &Lease,
        ending: &Ending,
        now: Timestamp,
    ) -> Result<Option<Ending>> {
        let Ending::Retry { error, .. } = ending else { return Ok(None) };
        let (everywhere, next) = (self.everywhere(), (lease.task.id, lease.attempt + 1));
        if pace::retry(tx, everywhere, next, now).await? || !holds(Fault::RetryBudget) {
            return Ok(None);
        }
        let (most, window) =
            (everywhere.max_retries, humantime_serde::re::humantime::format_duration(everywhere.window));
        let error = format!(
            "{error}; not tried again: {most} retries in {window} are used up (guardrails.max_retries)"
        );
        Ok(Some(Ending::Dead { error }))
    }
}

/// What became of an attempt's end.
#[derive(Clone, Debug)]
pub struct Settled {
    /// What became ready: ids and priorities.
    pub ready: Vec<(i64, i64)>,
    /// The end as it was written down: a retry may have been refused.
    pub ending: Ending,
}

/// Whether the action was ended under this very lease. If it was taken over instead, the slot is its new
/// attempt's.
async fn ended_under(tx: &mut Tx, lease: &Lease) -> Result<bool> {
    let sql = tx.text(&ENDED_UNDER);
    let (count,): (i64,) =
        on!(tx, c => sqlx::query_as(sql).bind(lease.task.id).bind(lease.fence).fetch_one(c).await?);
    Ok(count > 0)
}

async fn transition(
    tx: &mut Tx,
    lease: &Lease,
    done: &Finished,
    phase: Phase,
    now: Timestamp,
) -> Result<bool> {
    let sql = tx.text(&FINISH);
    let run_at = match &done.ending {
        Ending::Retry { delay, .. } => now.after(*delay),
        Ending::Succeeded { .. }
        | Ending::Dead { .. }
        | Ending::Uncertain { .. }
        | Ending::GivenBack
        | Ending::Superseded => now,
    };
    let changed = on!(tx, c => sqlx::query(sql).bind(lease.task.id).bind(&lease.owner).bind(lease.fence)
        .bind(lease.attempt).bind(phase.word()).bind(phase.ended().then(|| now.micros()))
        .bind(done.ending.error()).bind(done.ending.summary()).bind(run_at.micros())
        .bind(i64::from(done.ending == Ending::GivenBack)).execute(c).await?.rows_affected());
    if changed == 0 && holds(Fault::Fence) {
        return Ok(false);
    }
    let verb = match phase {
        Phase::Succeeded => "action.completed",
        Phase::Scheduled => "action.retry",
        Phase::Uncertain => "action.uncertain",
        Phase::Ready => "action.given_back",
        Phase::Dead
        | Phase::Held
        | Phase::Approval
        | Phase::Blocked
        | Phase::Running
        | Phase::Cancelled
        | Phase::Expired => "action.failed",
    };
    let facts = json!({"attempt": lease.attempt, "fence": lease.fence, "outcome": done.outcome,
        "message": done.message, "run_at": run_at});
    let actor = format!("worker:{}", lease.owner);
    add_audit(tx, &Entry::action(&actor, verb, lease.task.id, lease.task.incident_id, facts), now).await?;
    Ok(true)
}

async fn keep(tx: &mut Tx, lease: &Lease, done: &Finished, now: Timestamp) -> Result<()> {
    let (end, call_sql) = (tx.text(&END_ATTEMPT), tx.text(&KEEP_CALL));
    on!(tx, c => sqlx::query(end).bind(lease.task.id).bind(lease.fence).bind(now.micros()).bind(done.outcome)
        .bind(&done.message).bind(done.result.to_string()).bind(done.logs.to_string()).execute(c).await?.rows_affected());
    for call in &done.calls {
        on!(tx, c => sqlx::query(call_sql).bind(lease.task.id).bind(lease.fence).bind(call.n).bind(lease.attempt)
            .bind(&call.connection).bind(&call.method).bind(&call.path).bind(call.mutating).bind(&call.state)
            .bind(call.status).bind(&call.error).bind(now.micros()).bind(call.duration_us)
            .bind(&call.body_hash).execute(c).await?.rows_affected());
    }
    Ok(())
}
