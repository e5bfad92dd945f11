//! Work lent to remediators that ask for it: a lease with an end, and what becomes of it when that has passed.
//! What they report is in [`report`](super::report).

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;

use super::claim::{Claimed, Task, begin_attempt, fence};
use super::record::{add_audit, hand_over};
use super::sql::statements;
use super::{Moved, Result, Store, Tx, on, pause, slot};
use crate::domain::action::Effects;
use crate::domain::audit::Entry;
use crate::domain::{Phase, Timestamp, WireStatus};

/// Waiting actions looked at in one read.
const PAGE: usize = 200;
/// Reads per request: what lies further back is reached once others are done.
const PAGES: usize = 25;
/// Times that a request chooses again where others were quicker.
const ROUNDS: usize = 5;
/// A remediator's sign of life is written down at most this often.
const SEEN_EVERY: Duration = Duration::from_secs(5);

statements! { pub(super) STATEMENTS:
    WAITING = "SELECT a.id, a.execution_id, a.kind, a.target, a.target_kind, a.namespace, a.labels, a.params,
        a.attempts, a.max_attempts, a.timeout_us, a.incident_id, a.event_id, a.policy_name, a.origin, a.priority, a.state,
        a.created_at, a.expires_at, p.state AS approval_state, p.plan AS approval_plan, p.plan_hash AS approval_hash,
        (SELECT q.version FROM policy q WHERE q.id = p.policy_id AND q.enabled) AS policy_now
        FROM action a LEFT JOIN slot s ON s.target = a.target LEFT JOIN approval p ON p.action_id = a.id
        WHERE a.state IN ('held', 'ready') AND a.simulated = FALSE AND (s.head IS NULL OR s.head = a.id)
        AND (a.priority > $1 OR (a.priority = $1
            AND (a.created_at > $2 OR (a.created_at = $2 AND a.id > $3))))
        ORDER BY a.priority, a.created_at, a.id LIMIT $4";
    SEEN_AT = "SELECT seen_at FROM puller WHERE name = $1";
    SEEN = "INSERT INTO puller (name, seen_at) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at";
    STATE = "SELECT state FROM action WHERE id = $1{lock}";
    LEND = "UPDATE action SET state = 'running', owner = $2, fence = $3, attempts = attempts + 1, plugin = NULL,
        digest = NULL, effects = $4, running_since = $5, lease_until = $6, error_message = NULL
        WHERE id = $1 AND state = $7 RETURNING attempts";
    LAPSED = "SELECT id, incident_id, target, kind, attempts, max_attempts, fence, effects, owner, queued FROM action
        WHERE state = 'running' AND lease_until < $1 ORDER BY target LIMIT 100";
    LAPSE = "UPDATE action SET state = $3, completed_at = $4, run_at = $5, error_message = $6, lease_until = NULL,
        owner = NULL WHERE id = $1 AND fence = $2 AND state = 'running' AND lease_until < $5";
    LAPSED_ATTEMPT = "UPDATE attempt SET ended_at = $3, outcome = 'lost', message = $4
        WHERE action_id = $1 AND fence = $2 AND ended_at IS NULL";
}

/// What is to become of a waiting action when a remediator asks for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It may be lent; so its kind is known to behave when an outcome is unknown.
    Lend(Effects),
    /// A worker of ours runs it.
    Keep,
}

/// Who asks for how much.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The remediator, as leases name it.
    pub owner: &'a str,
    /// Most actions.
    pub limit: usize,
    /// How long each lease holds.
    pub lease: Duration,
}

/// An action lent to a remediator.
#[derive(Clone, Debug)]
pub struct Lent {
    /// What to do.
    pub task: Task,
    /// Which attempt this is, from 1.
    pub attempt: i64,
    /// Until when its result counts.
    pub until: Timestamp,
}

impl Task {
    /// It was recorded without being put in the queue.
    #[must_use]
    pub fn held(&self) -> bool {
        self.state == Phase::Held.word()
    }
}

impl Store {
    /// Lends waiting actions: high priority first, then the oldest; one per target, and only where nothing
    /// else has the target. Answers them in that order, with what ended or became ready on the way.
    pub async fn pull(
        &self,
        ask: Ask<'_>,
        now: Timestamp,
        offer: impl Fn(&Task) -> Offer + Send + Sync,
    ) -> Result<(Vec<Lent>, Claimed)> {
        let (mut lent, mut claimed) = (Vec::new(), Claimed::default());
        // Others ask at the same time and choose the same: what they were quicker to take is made up for.
        for round in 0..ROUNDS {
            let chosen = self.waiting(ask.limit - lent.len(), &offer).await?;
            if chosen.is_empty() && (round > 0 || self.seen_lately(ask.owner, now).await?) {
                break;
            }
            let wanted = lent.len() + chosen.len();
            lent.extend(self.lend_all(chosen, &ask, now, &mut claimed).await?);
            if lent.len() >= wanted {
                break;
            }
        }
        lent.sort_by_key(|lent| (lent.task.priority, lent.task.created_at, lent.task.id));
        Ok((lent, claimed))
    }

    /// Lends what nobody else has taken meanwhile, and notes that the remediator has asked.
    async fn lend_all(
        &self,
        mut chosen: Vec<(Task, Effects)>,
        ask: &Ask<'_>,
        now: Timestamp,
        claimed: &mut Claimed,
    ) -> Result<Vec<Lent>> {
        // Slots are locked in the order of their names, so that two transactions never wait for each other.
        chosen.sort_by(|a, b| a.0.target.cmp(&b.0.target));
        let mut tx = self.begin().await?;
        let mut lent = Vec::new();
        if pause::stands(&mut tx, now).await?.is_some() {
            chosen.clear();
        }
        for (task, effects) in chosen {
            slot::lock(&mut tx, &task.target).await?;
            if task.held() || !self.stale(&mut tx, &task, now, claimed).await? {
                lent.extend(lend(&mut tx, task, effects, (ask, now), claimed).await?);
            }
        }
        let sql = tx.text(&SEEN);
        on!(&mut tx, c => sqlx::query(sql).bind(ask.owner).bind(now.micros()).execute(c).await?.rows_affected());
        tx.commit().await?;
        Ok(lent)
    }

    /// What may be lent, found without a lock.
    async fn waiting(
        &self,
        limit: usize,
        offer: &(impl Fn(&Task) -> Offer + Send + Sync),
    ) -> Result<Vec<(Task, Effects)>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&WAITING);
        let (mut chosen, mut targets) = (Vec::new(), HashSet::new());
        let mut after = (-1, 0, 0);
        for _ in 0..PAGES {
            let page: Vec<Task> = on!(&mut tx, c => sqlx::query_as(sql).bind(after.0).bind(after.1).bind(after.2)
                .bind(super::rows::number(PAGE)).fetch_all(c).await?);
            let whole = page.len() == PAGE;
            if let Some(last) = page.last() {
                after = (last.priority, last.created_at, last.id);
            }
            for task in page {
                if chosen.len() == limit {
                    return Ok(chosen);
                }
                if let Offer::Lend(effects) = offer(&task)
                    && targets.insert(task.target.clone())
                {
                    chosen.push((task, effects));
                }
            }
            if !whole {
                break;
            }
        }
        Ok(chosen)
    }

    async fn seen_lately(&self, name: &str, now: Timestamp) -> Result<bool> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&SEEN_AT);
        let row: Option<(i64,)> = on!(&mut tx, c => sqlx::query_as(sql).bind(name).fetch_optional(c).await?);
        Ok(row.is_some_and(|(at,)| at > now.before(SEEN_EVERY).micros()))
    }

    /// Ends leases of remediators that have lapsed. Nobody knows what became of them: they are tried again
    /// only where their kind is idempotent. Answers what changed its status.
    pub async fn lapse(&self, now: Timestamp) -> Result<Claimed> {
        let mut claimed = Claimed::default();
        let lapsed: Vec<Lapsed> = {
            let mut tx = self.reading().await?;
            let sql = tx.text(&LAPSED);
            on!(&mut tx, c => sqlx::query_as(sql).bind(now.micros()).fetch_all(c).await?)
        };
        // A transaction each: an incident may not be locked while another's slot is.
        for one in lapsed {
            let mut tx = self.begin().await?;
            lapse_one(&mut tx, &one, now, &mut claimed).await?;
            tx.commit().await?;
        }
        Ok(claimed)
    }
}

#[derive(sqlx::FromRow)]
struct Lapsed {
    id: i64,
    incident_id: Option<i64>,
    target: String,
    kind: String,
    attempts: i64,
    max_attempts: i64,
    fence: i64,
    effects: Option<String>,
    owner: Option<String>,
    queued: bool,
}

async fn lend(
    tx: &mut Tx,
    task: Task,
    effects: Effects,
    (ask, now): (&Ask<'_>, Timestamp),
    claimed: &mut Claimed,
) -> Result<Option<Lent>> {
    if !slot::enter(tx, &task.target, task.id).await? {
        return Ok(None);
    }
    let (state, lend) = (tx.text(&STATE), tx.text(&LEND));
    let (word,): (String,) = on!(tx, c => sqlx::query_as(state).bind(task.id).fetch_one(c).await?);
    let phase = super::rows::phase(&word)?;
    match phase {
        Phase::Held | Phase::Ready | Phase::Blocked => {}
        // Ended by somebody while we looked, or not to be run: the slot, if it was free, is given back.
        Phase::Succeeded | Phase::Dead | Phase::Cancelled | Phase::Expired | Phase::Approval => {
            claimed.ready.extend(slot::leave(tx, &task.target, task.id, now).await?);
            return Ok(None);
        }
        Phase::Scheduled | Phase::Running | Phase::Uncertain => return Ok(None),
    }
    let Some(fence) = fence(tx, &task.target, task.id).await? else { return Ok(None) };
    let until = now.after(ask.lease);
    let taken: Option<(i64,)> = on!(tx, c => sqlx::query_as(lend).bind(task.id).bind(ask.owner).bind(fence)
        .bind(effects.word()).bind(now.micros()).bind(until.micros()).bind(&word).fetch_optional(c).await?);
    let Some((attempt,)) = taken else { return Ok(None) };
    begin_attempt(tx, (task.id, attempt, fence), ask.owner, (None, None), now).await?;
    let facts = json!({"attempt": attempt, "fence": fence, "lease_until": until, "effects": effects});
    let entry = Entry::action(ask.owner, "attempt.started", task.id, task.incident_id, facts);
    add_audit(tx, &entry, now).await?;
    claimed.moved.push(Moved::to(&task.target, &task.kind, WireStatus::Running));
    Ok(Some(Lent { task, attempt, until }))
}

async fn lapse_one(tx: &mut Tx, one: &Lapsed, now: Timestamp, claimed: &mut Claimed) -> Result<()> {
    let effects = Effects::from_word(one.effects.as_deref().unwrap_or("unsafe"));
    let again = effects == Effects::Idempotent && one.attempts < one.max_attempts;
    let owner = one.owner.as_deref().unwrap_or("a remediator");
    let (phase, error) = match (again, one.queued) {
        (true, true) => (Phase::Scheduled, format!("{owner} did not report in time; it is tried again")),
        (true, false) => (Phase::Held, format!("{owner} did not report in time; it can be taken again")),
        (false, _) => {
            (Phase::Uncertain, format!("Outcome unknown: {owner} did not report before its lease ended"))
        }
    };
    // Locks in the order of the whole system: incident, slot, action.
    if let (Phase::Uncertain, Some(incident)) = (phase, one.incident_id) {
        hand_over(tx, incident, "outcome_unknown", now).await?;
    }
    slot::lock(tx, &one.target).await?;
    let (lapse, attempt) = (tx.text(&LAPSE), tx.text(&LAPSED_ATTEMPT));
    let ended = phase.ended().then(|| now.micros());
    let changed = on!(tx, c => sqlx::query(lapse).bind(one.id).bind(one.fence).bind(phase.word()).bind(ended)
        .bind(now.micros()).bind(&error).execute(c).await?.rows_affected());
    if changed == 0 {
        return Ok(());
    }
    on!(tx, c => sqlx::query(attempt).bind(one.id).bind(one.fence).bind(now.micros()).bind(&error)
        .execute(c).await?.rows_affected());
    if phase == Phase::Held {
        claimed.ready.extend(slot::leave(tx, &one.target, one.id, now).await?);
    }
    claimed.moved.push(Moved::to(&one.target, &one.kind, phase.wire()));
    let verb = if phase == Phase::Uncertain { "action.uncertain" } else { "action.retry" };
    let facts =
        json!({"attempt": one.attempts, "lost_remediator": owner, "effects": effects, "reason": error});
    add_audit(tx, &Entry::action("system", verb, one.id, one.incident_id, facts), now).await
}
