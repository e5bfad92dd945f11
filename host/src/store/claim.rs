//! A worker takes what is ready.

use std::time::Duration;

use serde_json::{Value, json};

use super::record::add_audit;
use super::sql::statements;
use super::{Moved, Pool, Result, Store, Tx, on, pause, rows, slot};
use crate::domain::action::Effects;
use crate::domain::approval::{ActionPlan, State};
use crate::domain::audit::Entry;
use crate::domain::mutant::{Fault, holds};
use crate::domain::{Timestamp, WireStatus};

statements! { pub(super) STATEMENTS:
    // Ready means runnable now, whatever a clock that was put back says of the time it became so. It is always the
    // head of its slot, so the slots of targets are what workers compete for.
    FIND = "SELECT a.id, a.execution_id, a.kind, a.target, a.target_kind, a.namespace, a.labels, a.params,
        a.attempts, a.max_attempts, a.timeout_us, a.incident_id, a.event_id, a.policy_name, a.origin, a.priority, a.state,
        a.created_at, a.expires_at, p.state AS approval_state, p.plan AS approval_plan, p.plan_hash AS approval_hash,
        (SELECT q.version FROM policy q WHERE q.id = p.policy_id AND q.enabled) AS policy_now
        FROM action a JOIN slot s ON s.target = a.target AND s.head = a.id
        LEFT JOIN approval p ON p.action_id = a.id
        WHERE a.state = 'ready' AND NOT a.simulated
        ORDER BY a.priority, a.run_at, a.id LIMIT $1{lock_slot_skip}";
    FENCE = "UPDATE slot SET fence = fence + 1 WHERE target = $1 AND head = $2 RETURNING fence";
    TAKE = "UPDATE action SET state = 'running', owner = $2, fence = $3, attempts = attempts + 1, plugin = $4,
        digest = $5, effects = $6, running_since = $7, error_message = NULL
        WHERE id = $1 AND state = 'ready' RETURNING attempts";
    EXPIRE = "UPDATE action SET state = 'expired', completed_at = $2, details = $3
        WHERE id = $1 AND state = 'ready'";
    // Left to remediators for a while, so that it does not stand in the way of what we can run.
    DEFER = "UPDATE action SET run_at = $2 WHERE id = $1 AND state = 'ready'";
    PULLED = "SELECT COUNT(*) FROM puller WHERE seen_at >= $1";
    REFUSE = "UPDATE action SET state = 'dead', completed_at = $2, error_message = $3
        WHERE id = $1 AND state = 'ready'";
    ADD_ATTEMPT = "INSERT INTO attempt (action_id, attempt, fence, worker, plugin, digest, started_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    INTEND = "INSERT INTO host_call (action_id, fence, n, attempt, connection, method, path, mutating, state, started_at,
        body_hash) SELECT id, fence, CAST($3 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS TEXT), CAST($6 AS TEXT),
        CAST($7 AS TEXT), TRUE, 'intent', CAST($8 AS BIGINT), CAST($10 AS TEXT)
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
    /// How long an attempt may take at most, where that is said; microseconds.
    pub timeout_us: Option<i64>,
    /// Its incident.
    pub incident_id: Option<i64>,
    /// Its event.
    pub event_id: Option<i64>,
    /// Its policy.
    pub policy_name: Option<String>,
    /// `policy` or `api`.
    pub origin: String,
    /// See [`Priority`](crate::domain::policy::Priority).
    pub priority: i64,
    pub(super) state: String,
    /// Microseconds since the epoch.
    pub created_at: i64,
    /// Microseconds since the epoch; after this it is not started any more.
    pub expires_at: Option<i64>,
    approval_state: Option<String>,
    approval_plan: Option<String>,
    approval_hash: Option<String>,
    policy_now: Option<i64>,
}

/// What was approved of a task that people were asked about.
#[derive(Clone, Debug)]
pub struct TaskApproval {
    /// Where the request stands.
    pub state: State,
    /// What was approved.
    pub plan: ActionPlan,
    /// Its hash.
    pub hash: String,
    /// The policy's version now; none: it is gone or off.
    pub policy_now: Option<i64>,
}

impl Task {
    /// How long an attempt may take at most, where its step says so.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout_us.and_then(|micros| u64::try_from(micros).ok()).map(Duration::from_micros)
    }

    /// A task of an action that nobody has made.
    #[must_use]
    pub fn made_up(draft: &super::NewAction, now: Timestamp) -> Self {
        Self {
            id: 0,
            execution_id: draft.execution_id.clone(),
            kind: draft.kind.clone(),
            target: draft.target.clone(),
            target_kind: draft.target_kind.clone(),
            namespace: draft.namespace.clone(),
            labels: draft.labels.clone(),
            params: draft.params.clone(),
            attempts: 0,
            max_attempts: draft.max_attempts,
            timeout_us: None,
            incident_id: None,
            event_id: None,
            policy_name: None,
            origin: draft.origin.to_owned(),
            priority: draft.priority,
            state: draft.phase.word().to_owned(),
            created_at: now.micros(),
            expires_at: None,
            approval_state: None,
            approval_plan: None,
            approval_hash: None,
            policy_now: None,
        }
    }

    /// The approval that it needs; none: it needs none.
    #[must_use]
    pub fn approval(&self) -> Option<TaskApproval> {
        let nothing = ActionPlan {
            policy: self.policy_name.clone().unwrap_or_default(),
            policy_id: 0,
            policy_version: 0,
            action: String::new(),
            target: String::new(),
            params: Value::Null,
            plugin: None,
            digest: None,
            plugin_action: None,
            grant: None,
            connections: std::collections::BTreeMap::new(),
            calls: None,
        };
        // What can't be read was not approved.
        let state = State::from_word(self.approval_state.as_deref()?).unwrap_or(State::Diverged);
        let plan = self.approval_plan.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let hash = self.approval_hash.clone().unwrap_or_default();
        Some(TaskApproval { state, plan: plan.unwrap_or(nothing), hash, policy_now: self.policy_now })
    }
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
    /// Run it so, unless remediators ask for work: its plugin lacks a connection.
    Spare(Dispatch),
    /// It can't be run, in words.
    Refuse(String),
    /// What would run is not what was approved, in words.
    Diverged(String),
    /// No worker serves it, in words. It waits as long as remediators ask for work.
    Unserved(String),
}

/// What a claim came to.
#[derive(Debug, Default)]
pub struct Claimed {
    /// What may run.
    pub leases: Vec<Lease>,
    /// Ids and priorities of what became ready behind what ended.
    pub ready: Vec<(i64, i64)>,
    /// What ended without an attempt.
    pub moved: Vec<Moved>,
}

/// Who asked for work so lately is believed to come again.
const PULL_PATIENCE: Duration = Duration::from_mins(1);
/// Time between two looks at an action that no worker serves.
const DEFERRAL: Duration = Duration::from_secs(2);

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
    /// that nobody serves ends here, one that is too old expires.
    pub async fn claim(
        &self,
        owner: &str,
        count: usize,
        now: Timestamp,
        plan: impl Fn(&Task) -> Planned + Send + Sync,
    ) -> Result<Claimed> {
        let mut claimed = Claimed::default();
        if !self.any_ready().await? {
            return Ok(claimed);
        }
        let mut tx = self.begin().await?;
        if pause::stands(&mut tx, now).await?.is_some() && holds(Fault::ClaimPaused) {
            return Ok(claimed);
        }
        let sql = tx.text(&FIND);
        let mut diverged = Vec::new();
        let tasks: Vec<Task> = on!(&mut tx, c => sqlx::query_as(sql)
            .bind(rows::number(count)).fetch_all(c).await?);
        for task in tasks {
            if self.stale(&mut tx, &task, now, &mut claimed).await? {
                continue;
            }
            match plan(&task) {
                Planned::Unserved(_) | Planned::Spare(_) if pulled(&mut tx, now).await? => {
                    let sql = tx.text(&DEFER);
                    on!(&mut tx, c => sqlx::query(sql).bind(task.id).bind(now.after(DEFERRAL).micros())
                        .execute(c).await?.rows_affected());
                }
                Planned::Run(dispatch) | Planned::Spare(dispatch) => {
                    claimed.leases.extend(take(&mut tx, task, owner, dispatch, now).await?);
                }
                Planned::Diverged(why) => diverged.push((task, why)),
                Planned::Unserved(why) | Planned::Refuse(why) => {
                    refuse(&mut tx, &task, &why, now, &mut claimed).await?;
                }
            }
        }
        tx.commit().await?;
        // Each in a transaction of its own: an incident may not be locked while a slot is.
        for (task, why) in diverged {
            self.diverge(&task, &why, now, &mut claimed).await?;
        }
        Ok(claimed)
    }

    /// A look without a lock, so that idle workers do not queue up behind the writer; and without a
    /// transaction, since every event that leads to an action waits for it.
    async fn any_ready(&self) -> Result<bool> {
        let sql = ANY_READY.get(self.dialect());
        let found: Option<(i64,)> = match &self.pool {
            Pool::Sqlite { read, .. } => sqlx::query_as(sql).fetch_optional(read).await?,
            Pool::Postgres(pool) => sqlx::query_as(sql).fetch_optional(pool).await?,
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
            .bind(&lease.owner).bind(&call.body_hash).execute(c).await?.rows_affected());
        tx.commit().await?;
        Ok(done > 0 || !holds(Fault::Lapsed))
    }
}

statements! { pub(super) MORE:
    ANY_READY = "SELECT id FROM action WHERE state = 'ready' AND NOT simulated LIMIT 1";
}

/// Counts the claim on the slot whose head `action` is: the number every later statement is guarded by.
pub(super) async fn fence(tx: &mut Tx, target: &str, action: i64) -> Result<Option<i64>> {
    let sql = tx.text(&FENCE);
    let row: Option<(i64,)> =
        on!(tx, c => sqlx::query_as(sql).bind(target).bind(action).fetch_optional(c).await?);
    Ok(row.map(|(fence,)| fence))
}

/// Notes that an attempt begins: of which action, which one, under which fence, by whom.
pub(super) async fn begin_attempt(
    tx: &mut Tx,
    (action, attempt, fence): (i64, i64, i64),
    worker: &str,
    (plugin, digest): (Option<&str>, Option<&str>),
    now: Timestamp,
) -> Result<()> {
    let sql = tx.text(&ADD_ATTEMPT);
    on!(tx, c => sqlx::query(sql).bind(action).bind(attempt).bind(fence).bind(worker).bind(plugin)
        .bind(digest).bind(now.micros()).execute(c).await?.rows_affected());
    Ok(())
}

async fn take(
    tx: &mut Tx,
    task: Task,
    owner: &str,
    dispatch: Dispatch,
    now: Timestamp,
) -> Result<Option<Lease>> {
    let take = tx.text(&TAKE);
    let Some(fence) = fence(tx, &task.target, task.id).await? else { return Ok(None) };
    let taken: Option<(i64,)> = on!(tx, c => sqlx::query_as(take).bind(task.id).bind(owner).bind(fence)
        .bind(&dispatch.plugin).bind(&dispatch.digest).bind(dispatch.effects.word()).bind(now.micros())
        .fetch_optional(c).await?);
    let Some((attempt,)) = taken else { return Ok(None) };
    let by = (Some(dispatch.plugin.as_str()), Some(dispatch.digest.as_str()));
    begin_attempt(tx, (task.id, attempt, fence), owner, by, now).await?;
    let facts = json!({"attempt": attempt, "fence": fence, "plugin": dispatch.plugin, "digest": dispatch.digest,
        "effects": dispatch.effects, "plan_hash": task.approval_hash});
    let entry =
        Entry::action(&format!("worker:{owner}"), "attempt.started", task.id, task.incident_id, facts);
    if holds(Fault::Unaudited) {
        add_audit(tx, &entry, now).await?;
    }
    Ok(Some(Lease { task, attempt, fence, owner: owner.to_owned(), dispatch }))
}

/// Whether a remediator has asked for work lately.
async fn pulled(tx: &mut Tx, now: Timestamp) -> Result<bool> {
    let sql = tx.text(&PULLED);
    let since = now.before(PULL_PATIENCE).micros();
    let (count,): (i64,) = on!(tx, c => sqlx::query_as(sql).bind(since).fetch_one(c).await?);
    Ok(count > 0)
}

/// Ends a ready action whose event is too old to act on. True: it has ended.
pub(super) async fn expired(tx: &mut Tx, task: &Task, now: Timestamp, claimed: &mut Claimed) -> Result<bool> {
    if task.expires_at.is_none_or(|at| at >= now.micros()) {
        return Ok(false);
    }
    end(tx, task, &EXPIRE, "Expired: the event that led to it is too old to act on", now).await?;
    claimed.ready.extend(slot::leave(tx, &task.target, task.id, now).await?);
    claimed.moved.push(Moved::to(&task.target, &task.kind, WireStatus::Cancelled));
    Ok(true)
}

async fn refuse(tx: &mut Tx, task: &Task, why: &str, now: Timestamp, claimed: &mut Claimed) -> Result<()> {
    end(tx, task, &REFUSE, why, now).await?;
    claimed.ready.extend(slot::leave(tx, &task.target, task.id, now).await?);
    claimed.moved.push(Moved::to(&task.target, &task.kind, WireStatus::Failed));
    Ok(())
}

async fn end(tx: &mut Tx, task: &Task, how: &'static super::Sql, why: &str, now: Timestamp) -> Result<()> {
    let sql = tx.text(how);
    on!(tx, c => sqlx::query(sql).bind(task.id).bind(now.micros()).bind(why).execute(c).await?.rows_affected());
    let verb = if why.starts_with("Expired") { "action.expired" } else { "action.failed" };
    let facts: Value = json!({"reason": why});
    add_audit(tx, &Entry::action("system", verb, task.id, task.incident_id, facts), now).await
}
