//! What time brings about: due retries, attempts whose worker is gone, slots nobody filled, outcomes nobody
//! resolved.

use std::time::Duration;

use serde_json::json;

use super::record::{add_audit, hand_over};
use super::sql::statements;
use super::{Moved, Result, Store, Tx, on, slot};
use crate::domain::action::{Effects, MAX_CRASHES, Step};
use crate::domain::audit::Entry;
use crate::domain::mutant::{Fault, holds};
use crate::domain::{Timestamp, WireStatus};

/// How long an uncertain action keeps its target's slot if nobody resolves it.
const UNCERTAIN_HOLD: Duration = Duration::from_mins(30);

statements! { pub(super) STATEMENTS:
    // No retry waits for more than five minutes: one that seems to was scheduled under a clock since put back.
    DUE = "UPDATE action SET state = 'ready' WHERE state = 'scheduled'
        AND (run_at <= $1 OR run_at > $1 + 600000000) RETURNING id, priority";
    UNANNOUNCED = "SELECT id, priority FROM action WHERE state = 'ready' AND NOT simulated
        ORDER BY priority, run_at, id LIMIT 100";
    ORPHANS = "SELECT id, incident_id, target, kind, attempts, max_attempts, crashes, fence, effects FROM action
        WHERE state = 'running' AND owner = $1 ORDER BY target LIMIT 500";
    CALLED = "SELECT COUNT(*) FROM host_call WHERE action_id = $1 AND fence = $2 AND mutating = TRUE
        AND state <> 'refused'";
    RESCUE = "UPDATE action SET state = $4, crashes = crashes + 1, run_at = $5, completed_at = $6,
        error_message = $7, requeued = requeued + CASE WHEN $4 = 'scheduled' THEN 1 ELSE 0 END
        WHERE id = $1 AND state = 'running' AND owner = $2 AND fence = $3";
    LOST_ATTEMPT = "UPDATE attempt SET ended_at = $3, outcome = 'lost', message = $4
        WHERE action_id = $1 AND fence = $2 AND ended_at IS NULL";
    STILL_OURS = "SELECT id FROM action WHERE id IN {ids} AND state = 'running' AND owner = $2";
    FORGET_NODE = "DELETE FROM node WHERE boot_id = $1 AND hb = $2";
    LEFT_HEADS = "SELECT a.id, a.target FROM action a JOIN slot s ON s.target = a.target AND s.head = a.id
        WHERE (a.state = 'uncertain' AND a.completed_at < $1)
        OR (a.state = 'running' AND a.owner IS NULL AND a.running_since < $1)
        OR (a.state IN ('succeeded', 'dead', 'cancelled', 'expired') AND a.completed_at < $2
            AND (a.lease_until IS NULL OR a.lease_until < $3))
        ORDER BY a.target LIMIT 100";
}

#[derive(sqlx::FromRow)]
struct Orphan {
    id: i64,
    incident_id: Option<i64>,
    target: String,
    kind: String,
    attempts: i64,
    max_attempts: i64,
    crashes: i64,
    fence: i64,
    effects: Option<String>,
}

impl Store {
    /// Makes due retries ready, fills empty slots, frees slots of uncertain actions, and of those that somebody
    /// says are running elsewhere, after half an hour, and of actions that were cancelled in mid-attempt once `hold` (lease and grace) has passed.
    /// Answers every ready action that should be announced (again), with its priority.
    pub async fn sweep(&self, now: Timestamp, hold: Duration) -> Result<Vec<(i64, i64)>> {
        if !self.anything_due(now, hold).await? {
            return self.unannounced().await;
        }
        let mut tx = self.begin().await?;
        let (due, left) = (tx.text(&DUE), tx.text(&LEFT_HEADS));
        let mut ready: Vec<(i64, i64)> =
            on!(&mut tx, c => sqlx::query_as(due).bind(now.micros()).fetch_all(c).await?);
        ready.extend(slot::fill_empty(&mut tx, now).await?);
        let cut = now.before(UNCERTAIN_HOLD).micros();
        let ended = now.before(hold).micros();
        let heads: Vec<(i64, String)> = on!(&mut tx, c => sqlx::query_as(left).bind(cut).bind(ended).bind(now.micros()).fetch_all(c).await?);
        for (id, target) in heads {
            ready.extend(slot::leave(&mut tx, &target, id, now).await?);
        }
        tx.commit().await?;
        ready.extend(self.unannounced().await?);
        Ok(ready)
    }

    /// Which of the `running` actions of `owner` are not its own any more: ended by a person, or taken over.
    pub async fn lost(&self, owner: &str, running: &[i64]) -> Result<Vec<i64>> {
        if running.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.reading().await?;
        let sql = tx.text(&STILL_OURS);
        let list = super::ingest::list_of(running);
        let ours: Vec<(i64,)> =
            on!(&mut tx, c => sqlx::query_as(sql).bind(list).bind(owner).fetch_all(c).await?);
        Ok(running.iter().copied().filter(|id| !ours.contains(&(*id,))).collect())
    }

    async fn anything_due(&self, now: Timestamp, hold: Duration) -> Result<bool> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&ANYTHING_DUE);
        let cut = now.before(UNCERTAIN_HOLD).micros();
        let ended = now.before(hold).micros();
        let (count,): (i64,) = on!(&mut tx, c => sqlx::query_as(sql).bind(now.micros()).bind(cut).bind(ended)
            .fetch_one(c).await?);
        Ok(count > 0)
    }

    /// Whether a remediator's lease has lapsed: asked before a transaction is begun for it.
    pub async fn any_lapsed(&self, now: Timestamp) -> Result<bool> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&LEASES_OVER);
        let (count,): (i64,) = on!(&mut tx, c => sqlx::query_as(sql).bind(now.micros()).fetch_one(c).await?);
        Ok(count > 0)
    }

    async fn unannounced(&self) -> Result<Vec<(i64, i64)>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&UNANNOUNCED);
        Ok(on!(&mut tx, c => sqlx::query_as(sql).fetch_all(c).await?))
    }

    /// Takes over the running actions of a process whose heartbeat stood at `hb` for lease and grace, by the
    /// effects rule. Answers what they have become.
    pub async fn rescue(&self, owner: &str, hb: Option<i64>, now: Timestamp) -> Result<Vec<Moved>> {
        let mut tx = self.begin().await?;
        let (orphans, forget) = (tx.text(&ORPHANS), tx.text(&FORGET_NODE));
        if let Some(hb) = hb {
            // Guarded by the counter: a process that beat meanwhile keeps its actions.
            let gone =
                on!(&mut tx, c => sqlx::query(forget).bind(owner).bind(hb).execute(c).await?.rows_affected());
            if gone == 0 {
                return Ok(Vec::new());
            }
        }
        let found: Vec<Orphan> = on!(&mut tx, c => sqlx::query_as(orphans).bind(owner).fetch_all(c).await?);
        let mut moved = Vec::with_capacity(found.len());
        for orphan in &found {
            moved.extend(rescue_one(&mut tx, owner, orphan, now).await?);
        }
        tx.commit().await?;
        Ok(moved)
    }
}

statements! { pub(super) MORE:
    ANYTHING_DUE = "SELECT (SELECT COUNT(*) FROM action WHERE state = 'scheduled'
        AND (run_at <= $1 OR run_at > $1 + 600000000))
        + (SELECT COUNT(*) FROM action a JOIN slot s ON s.target = a.target
            WHERE a.state IN ('blocked', 'ready') AND NOT a.simulated AND s.head IS NULL)
        + (SELECT COUNT(*) FROM action a JOIN slot s ON s.target = a.target AND s.head = a.id
            WHERE (a.state = 'uncertain' AND a.completed_at < $2)
            OR (a.state = 'running' AND a.owner IS NULL AND a.running_since < $2)
            OR (a.state IN ('succeeded', 'dead', 'cancelled', 'expired') AND a.completed_at < $3
                AND (a.lease_until IS NULL OR a.lease_until < $1)))";
    LEASES_OVER = "SELECT COUNT(*) FROM action WHERE state = 'running' AND lease_until < $1";
}

async fn rescue_one(tx: &mut Tx, owner: &str, orphan: &Orphan, now: Timestamp) -> Result<Option<Moved>> {
    let called = tx.text(&CALLED);
    let (calls,): (i64,) =
        on!(tx, c => sqlx::query_as(called).bind(orphan.id).bind(orphan.fence).fetch_one(c).await?);
    let effects = Effects::from_word(orphan.effects.as_deref().unwrap_or("unsafe"));
    let crashes = orphan.crashes + 1;
    let lost_track = effects.unseen_end(calls > 0) == Step::LoseTrack && holds(Fault::Again);
    let (state, verb, error) = if lost_track {
        let error = "Outcome unknown: the worker was lost after a call that may not be repeated";
        ("uncertain", "action.uncertain", error.to_owned())
    } else if crashes >= MAX_CRASHES {
        ("dead", "action.failed", format!("its worker was lost {crashes} times while running it"))
    } else if orphan.attempts >= orphan.max_attempts {
        ("dead", "action.failed", format!("its worker was lost in attempt {}, the last one", orphan.attempts))
    } else {
        ("scheduled", "action.retry", format!("the worker of attempt {} was lost", orphan.attempts))
    };
    if let ("uncertain", Some(incident)) = (state, orphan.incident_id) {
        hand_over(tx, incident, "outcome_unknown", now).await?;
    }
    slot::lock(tx, &orphan.target).await?;
    let (rescue, lost) = (tx.text(&RESCUE), tx.text(&LOST_ATTEMPT));
    let ended = (state != "scheduled").then(|| now.micros());
    let changed = on!(tx, c => sqlx::query(rescue).bind(orphan.id).bind(owner).bind(orphan.fence).bind(state)
        .bind(now.micros()).bind(ended).bind(&error).execute(c).await?.rows_affected());
    if changed == 0 {
        return Ok(None);
    }
    on!(tx, c => sqlx::query(lost).bind(orphan.id).bind(orphan.fence).bind(now.micros()).bind(&error)
        .execute(c).await?.rows_affected());
    if state == "dead" {
        slot::leave(tx, &orphan.target, orphan.id, now).await?;
    }
    let facts = json!({"lost_worker": owner, "attempt": orphan.attempts, "crashes": crashes, "effects": effects,
        "reason": error});
    add_audit(tx, &Entry::action("system", verb, orphan.id, orphan.incident_id, facts), now).await?;
    let status = if state == "scheduled" { WireStatus::Pending } else { WireStatus::Failed };
    Ok(Some(Moved::to(&orphan.target, &orphan.kind, status)))
}
