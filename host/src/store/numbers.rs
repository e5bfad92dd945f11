//! The numbers of the queue and of the scheduled evaluation.

use super::sql::statements;
use super::{Result, Store, Tx, Writing, ids, on, rows};
use crate::domain::Timestamp;
use crate::domain::audit::Entry;

statements! { pub(super) STATEMENTS:
    WAITING = "SELECT COUNT(*), CAST(COALESCE(SUM(requeued), 0) AS BIGINT) FROM action WHERE state = 'ready'";
    BLOCKED = "SELECT COUNT(*), CAST(COALESCE(SUM(requeued), 0) AS BIGINT) FROM action WHERE state = 'blocked'";
    SCHEDULED = "SELECT COUNT(*), CAST(COALESCE(SUM(requeued), 0) AS BIGINT) FROM action
        WHERE state = 'scheduled'";
    RUNNING = "SELECT COUNT(*), CAST(COALESCE(SUM(requeued), 0) AS BIGINT) FROM action WHERE state = 'running'
        AND queued = TRUE";
    DONE = "SELECT state, COUNT(*), CAST(COALESCE(SUM(requeued), 0) AS BIGINT) FROM action
        WHERE completed_at IS NOT NULL AND queued = TRUE GROUP BY state";
    // Every lease is an attempt; those of actions that were never queued were pulled.
    LEASED = "SELECT (SELECT COUNT(*) FROM attempt)
        - (SELECT CAST(COALESCE(SUM(attempts), 0) AS BIGINT) FROM action WHERE queued = FALSE)";
    LAST = "SELECT id, target, completed_at FROM action WHERE completed_at IS NOT NULL AND queued = TRUE
        AND state IN ('succeeded', 'dead', 'uncertain') ORDER BY completed_at DESC LIMIT 1";
    HISTORY = "SELECT at, depth FROM queue_history ORDER BY at DESC LIMIT $1";
    SAMPLE = "INSERT INTO queue_history (at, depth) VALUES ($1, $2) ON CONFLICT (at) DO NOTHING";
    OLD_HISTORY = "DELETE FROM queue_history WHERE at < $1";
    RAN = "UPDATE runner SET at = $1, took_us = $2, evaluated = $3, node = $4 WHERE one = 1";
    RUNNER = "SELECT at, took_us, evaluated, node FROM runner";
    INJECT = "INSERT INTO action (id, execution_id, origin, kind, target, labels, params, priority, state,
        simulated, queued, attempts, max_attempts, crashes, run_at, created_at, running_since, completed_at,
        details) VALUES ($1, $2, 'simulator', 'custom', $3, '{}', '{}', 1, 'succeeded', TRUE, TRUE, 1, 1, 0,
        $4, $4, $4, $4, 'Simulated: nothing was run')";
    INJECT_ATTEMPT = "INSERT INTO attempt (action_id, attempt, fence, worker, started_at, ended_at, outcome)
        VALUES ($1, 1, 0, 'simulator', $2, $2, 'completed')";
}

/// How long history is kept: what is shown, and some.
const HISTORY_KEPT: std::time::Duration = std::time::Duration::from_hours(1);

/// The queue since the installation, simulated tasks included.
#[derive(Clone, Debug, Default)]
pub struct QueueNumbers {
    /// Queued and not leased.
    pub depth: i64,
    /// Queued actions that completed.
    pub completed: i64,
    /// Queued actions that failed, or of which nobody knows.
    pub failed: i64,
    /// Put in, retries again.
    pub enqueued: i64,
    /// Leased, retries again.
    pub dequeued: i64,
    /// The action that ended last: id, target, when.
    pub last: Option<(i64, String, Timestamp)>,
    /// Newest first: when, and how many waited.
    pub history: Vec<(Timestamp, i64)>,
}

/// The last scheduled evaluation of any node.
#[derive(Clone, Debug)]
pub struct LastRun {
    /// When.
    pub at: Timestamp,
    /// How long it took, in microseconds.
    pub took_us: i64,
    /// Evaluations.
    pub evaluated: i64,
    /// The node's name.
    pub node: String,
}

impl Store {
    /// All numbers of the queue, as of one moment; at most `history` samples.
    pub async fn queue_numbers(&self, history: i64) -> Result<QueueNumbers> {
        let mut tx = self.reading().await?;
        let mut numbers = QueueNumbers::default();
        for statement in [&WAITING, &BLOCKED, &SCHEDULED] {
            let (count, again) = pair(&mut tx, statement).await?;
            numbers.depth += count;
            numbers.enqueued += count + again;
        }
        let (count, again) = pair(&mut tx, &RUNNING).await?;
        numbers.enqueued += count + again;
        let sql = tx.text(&DONE);
        let done: Vec<(String, i64, i64)> = on!(&mut tx, c => sqlx::query_as(sql).fetch_all(c).await?);
        for (state, count, again) in done {
            numbers.enqueued += count + again;
            match state.as_str() {
                "succeeded" => numbers.completed += count,
                "dead" | "uncertain" => numbers.failed += count,
                _ => {}
            }
        }
        let (leased, last, samples) = (tx.text(&LEASED), tx.text(&LAST), tx.text(&HISTORY));
        (numbers.dequeued,) = on!(&mut tx, c => sqlx::query_as(leased).fetch_one(c).await?);
        let last: Option<(i64, String, i64)> =
            on!(&mut tx, c => sqlx::query_as(last).fetch_optional(c).await?);
        numbers.last = last.map(|(id, target, at)| (id, target, Timestamp::from_micros(at)));
        let samples: Vec<(i64, i64)> =
            on!(&mut tx, c => sqlx::query_as(samples).bind(history).fetch_all(c).await?);
        numbers.history =
            samples.into_iter().map(|(at, depth)| (Timestamp::from_micros(at), depth)).collect();
        Ok(numbers)
    }

    /// Adds a sample of the queue's length at `at`, unless there is one, and drops old ones.
    pub async fn sample_queue(&self, at: Timestamp) -> Result<()> {
        let (_, depth) = self.gauges().await?;
        let mut tx = self.begin().await?;
        let (sample, old) = (tx.text(&SAMPLE), tx.text(&OLD_HISTORY));
        let cut = at.before(HISTORY_KEPT).micros();
        on!(&mut tx, c => sqlx::query(sample).bind(at.micros()).bind(depth).execute(c).await?.rows_affected());
        on!(&mut tx, c => sqlx::query(old).bind(cut).execute(c).await?.rows_affected());
        tx.commit().await
    }

    /// The last scheduled evaluation.
    pub async fn last_run(&self) -> Result<Option<LastRun>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&RUNNER);
        let row: (Option<i64>, Option<i64>, Option<i64>, Option<String>) =
            on!(&mut tx, c => sqlx::query_as(sql).fetch_one(c).await?);
        let (Some(at), Some(took_us), Some(evaluated), Some(node)) = row else { return Ok(None) };
        Ok(Some(LastRun { at: Timestamp::from_micros(at), took_us, evaluated, node }))
    }

    /// Makes `execution_ids.len()` simulated actions, which are done in the same transaction: no slot, no
    /// plugin. Answers the first id.
    pub async fn inject_actions(&self, execution_ids: &[String], now: Timestamp) -> Result<i64> {
        let mut tx = self.begin().await?;
        let first = ids::take(&mut tx, "action", rows::number(execution_ids.len())).await?;
        for (id, execution) in (first..).zip(execution_ids) {
            let (action, attempt) = (tx.text(&INJECT), tx.text(&INJECT_ATTEMPT));
            let target = format!("simulated-{}", id - first + 1);
            on!(&mut tx, c => sqlx::query(action).bind(id).bind(execution).bind(&target).bind(now.micros())
                .execute(c).await?.rows_affected());
            on!(&mut tx, c => sqlx::query(attempt).bind(id).bind(now.micros()).execute(c).await?.rows_affected());
            let facts = serde_json::json!({"kind": "custom", "target": target, "origin": "simulator", "simulated": true});
            let entry = Entry::action("simulator", "action.created", id, None, facts);
            super::record::add_audit(&mut tx, &entry, now).await?;
        }
        tx.commit().await?;
        Ok(first)
    }
}

impl Writing {
    /// Notes in this transaction that a scheduled evaluation was made.
    pub async fn ran(&mut self, run: &LastRun) -> Result<()> {
        let tx = self.begun().await?;
        let sql = tx.text(&RAN);
        on!(tx, c => sqlx::query(sql).bind(run.at.micros()).bind(run.took_us).bind(run.evaluated)
            .bind(&run.node).execute(c).await?.rows_affected());
        Ok(())
    }
}

async fn pair(tx: &mut Tx, statement: &'static super::Sql) -> Result<(i64, i64)> {
    let sql = tx.text(statement);
    Ok(on!(tx, c => sqlx::query_as(sql).fetch_one(c).await?))
}
