//! A worker takes what is ready.

use serde_json::{Value, json};

use super::record::add_audit;
use super::sql::statements;
use super::{Pool, Result, Store, Tx, on, rows, slot};
use crate::domain::Timestamp;
use crate::domain::action::Effects;
use crate::domain::audit::Entry;

statements! { pub(super) STATEMENTS:
    // A ready action is always the head of its slot, so the slots of targets are what workers compete for.
    FIND = "SELECT a.id, a.execution_id, a.kind, a.target, a.target_kind, a.namespace, a.labels, a.params,
        a.attempts, a.max_attempts, a.incident_id, a.event_id, a.policy_name, a.origin, a.created_at, a.expires_at
        FROM action a JOIN slot s ON s.target = a.target AND s.head = a.id
        WHERE a.state = 'ready' AND a.run_at <= $1 AND NOT a.simulated
        ORDER BY a.priority, a.run_at, a.id LIMIT $2{lock_slot_skip}";
    FENCE = "UPDATE slot SET fence = fence + 1 WHERE target = $1 AND head = $2 RETURNING fence";
    TAKE = "UPDATE action SET state = 'running', owner = $2, fence = $3, attempts = attempts + 1, plugin = $4,
        digest = $5, effects = $6, running_since = $7, error_message = NULL
        WHERE id = $1 AND state = 'ready' RETURNING attempts";
    EXPIRE = "UPDATE action SET state = 'expired', completed_at = $2, details = $3
        WHERE id = $1 AND state = 'ready'";
    REFUSE = "UPDATE action SET state = 'dead', completed_at = $2, error_message = $3
        WHERE id = $1 AND state = 'ready'";
    ADD_ATTEMPT = "INSERT INTO attempt (action_id, attempt, fence, worker, plugin, digest, started_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    INTEND = "INSERT INTO host_call (action_id, fence, n, attempt, connection, method, path, mutating, state, started_at)
        SELECT id, fence, CAST($3 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS TEXT), CAST($6 AS TEXT),
        CAST($7 AS TEXT), TRUE, 'intent', CAST($8 AS BIGINT)
        FROM action WHERE id = $1 AND fence = $2 AND owner = $9 AND state = 'running'";
}

/// What an action asks for, before it is claimed.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Task {
    /// The action.
    pub id: i64,
    /// Stable over its attempts.
    pub execution_id: String,
    /// What to do.
    pub kind: String,
    /// On what.
    pub target: String,
    /// The tag that named the target.
    pub target_kind: Option<String>,
    /// The target's namespace.
    pub namespace: Option<String>,
    /// The event's tags as JSON.
    pub labels: String,
    /// The parameters as JSON.
    pub params: String,
    /// Attempts it has had.
    pub attempts: i64,
    /// Attempts it may have.
    pub max_attempts: i64,
    /// Its incident.
    pub incident_id: Option<i64>,
    /// Its event.
    pub event_id: Option<i64>,
    /// Its policy.
    pub policy_name: Option<String>,
    /// `policy` or `api`.
    pub origin: String,
    /// Microseconds since the epoch.
    pub created_at: i64,
    /// Microseconds since the epoch; after this it is not started any more.
    pub expires_at: Option<i64>,
}

/// Which plugin runs an action.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Its name.
    pub plugin: String,
    /// The component's digest.
    pub digest: String,
    /// What may be done when the outcome is unknown.
    pub effects: Effects,
}

/// What a worker wants done with a ready action.
#[derive(Clone, Debug)]
pub enum Planned {
    /// Run it so.
    Run(Dispatch),
    /// Nobody serves it, in words.
    Refuse(String),
}

/// The right to run one attempt.
#[derive(Clone, Debug)]
pub struct Lease {
    /// What to do.
    pub task: Task,
    /// Which attempt this is, from 1.
    pub attempt: i64,
    /// The target's fence.
    pub fence: i64,
    /// The process that holds it.
    pub owner: String,
    /// Who runs it.
    pub dispatch: Dispatch,
}

impl Store {
    /// Claims up to `count` ready actions for `owner`. `plan` says for each which plugin serves it; an action
    /// that nobody serves ends here, one that is too old expires. Answers the leases and what became ready
    /// behind those that ended.
    pub async fn claim(
        &self,
        owner: &str,
        count: usize,
        now: Timestamp,
        plan: impl Fn(&Task) -> Planned + Send + Sync,
    ) -> Result<(Vec<Lease>, Vec<(i64, i64)>)> {
        if !self.any_ready(now).await? {
            return Ok((Vec::new(), Vec::new()));
        }
        let mut tx = self.begin().await?;
        let sql = tx.text(&FIND);
        let tasks: Vec<Task> = on!(&mut tx, c => sqlx::query_as(sql)
            .bind(now.micros()).bind(rows::number(count)).fetch_all(c).await?);
        let (mut leases, mut promoted) = (Vec::new(), Vec::new());
        for task in tasks {
            if task.expires_at.is_some_and(|at| at < now.micros()) {
                end(&mut tx, &task, &EXPIRE, "Expired: the event that led to it is too old to act on", now)
                    .await?;
                promoted.extend(slot::leave(&mut tx, &task.target, task.id, now).await?);
                continue;
            }
            match plan(&task) {
                Planned::Run(dispatch) => leases.extend(take(&mut tx, task, owner, dispatch, now).await?),
                Planned::Refuse(why) => {
                    end(&mut tx, &task, &REFUSE, &why, now).await?;
                    promoted.extend(slot::leave(&mut tx, &task.target, task.id, now).await?);
                }
            }
        }
        tx.commit().await?;
        Ok((leases, promoted))
    }

    /// A look without a lock, so that idle workers do not queue up behind the writer; and without a
    /// transaction, since every event that leads to an action waits for it.
    async fn any_ready(&self, now: Timestamp) -> Result<bool> {
        let sql = ANY_READY.get(self.dialect());
        let found: Option<(i64,)> = match &self.pool {
            Pool::Sqlite { read, .. } => sqlx::query_as(sql).bind(now.micros()).fetch_optional(read).await?,
            Pool::Postgres(pool) => sqlx::query_as(sql).bind(now.micros()).fetch_optional(pool).await?,
        };
        Ok(found.is_some())
    }

    /// Puts the intent of a call that changes something on disk before the call leaves. False: the lease is
    /// gone, the call must not be made.
    pub async fn intend(&self, lease: &Lease, call: &super::CallRow, now: Timestamp) -> Result<bool> {
        let mut tx = self.begin().await?;
        let sql = tx.text(&INTEND);
        let done = on!(&mut tx, c => sqlx::query(sql).bind(lease.task.id).bind(lease.fence).bind(call.n)
            .bind(lease.attempt).bind(&call.connection).bind(&call.method).bind(&call.path).bind(now.micros())
            .bind(&lease.owner).execute(c).await?.rows_affected());
        tx.commit().await?;
        Ok(done > 0)
    }
}

statements! { pub(super) MORE:
    ANY_READY = "SELECT id FROM action WHERE state = 'ready' AND run_at <= $1 AND NOT simulated LIMIT 1";
}

async fn take(
    tx: &mut Tx,
    task: Task,
    owner: &str,
    dispatch: Dispatch,
    now: Timestamp,
) -> Result<Option<Lease>> {
    let (fence, take, add) = (tx.text(&FENCE), tx.text(&TAKE), tx.text(&ADD_ATTEMPT));
    let fenced: Option<(i64,)> =
        on!(tx, c => sqlx::query_as(fence).bind(&task.target).bind(task.id).fetch_optional(c).await?);
    let Some((fence,)) = fenced else { return Ok(None) };
    let taken: Option<(i64,)> = on!(tx, c => sqlx::query_as(take).bind(task.id).bind(owner).bind(fence)
        .bind(&dispatch.plugin).bind(&dispatch.digest).bind(dispatch.effects.word()).bind(now.micros())
        .fetch_optional(c).await?);
    let Some((attempt,)) = taken else { return Ok(None) };
    on!(tx, c => sqlx::query(add).bind(task.id).bind(attempt).bind(fence).bind(owner).bind(&dispatch.plugin)
        .bind(&dispatch.digest).bind(now.micros()).execute(c).await?.rows_affected());
    let facts = json!({"attempt": attempt, "fence": fence, "plugin": dispatch.plugin, "digest": dispatch.digest,
        "effects": dispatch.effects});
    let entry =
        Entry::action(&format!("worker:{owner}"), "attempt.started", task.id, task.incident_id, facts);
    add_audit(tx, &entry, now).await?;
    Ok(Some(Lease { task, attempt, fence, owner: owner.to_owned(), dispatch }))
}

async fn end(tx: &mut Tx, task: &Task, how: &'static super::Sql, why: &str, now: Timestamp) -> Result<()> {
    let sql = tx.text(how);
    on!(tx, c => sqlx::query(sql).bind(task.id).bind(now.micros()).bind(why).execute(c).await?.rows_affected());
    let verb = if why.starts_with("Expired") { "action.expired" } else { "action.failed" };
    let facts: Value = json!({"reason": why});
    add_audit(tx, &Entry::action("system", verb, task.id, task.incident_id, facts), now).await
}
