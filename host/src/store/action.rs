//! Actions made, withdrawn and resolved by people.

use serde_json::json;

use super::record::{ActionDraft, add_action, add_audit};
use super::sql::statements;
use super::{Result, Store, Tx, ids, on, rows, slot};
use crate::domain::action::Step;
use crate::domain::audit::Entry;
use crate::domain::{Phase, Timestamp};

statements! { pub(super) STATEMENTS:
    LOOK = "SELECT target, state, incident_id FROM action WHERE id = $1";
    STATE = "SELECT state FROM action WHERE id = $1{lock}";
    MOVE = "UPDATE action SET state = $3, completed_at = $4, run_at = $5,
        queued = CASE WHEN $3 IN ('ready', 'blocked') THEN TRUE ELSE queued END,
        details = COALESCE($6, details), error_message = COALESCE($7, error_message)
        WHERE id = $1 AND state = $2";
    MORE_ATTEMPTS = "UPDATE action SET requeued = requeued + 1,
        max_attempts = CASE WHEN attempts >= max_attempts THEN attempts + 1 ELSE max_attempts END WHERE id = $1";
}

/// An action made by hand.
pub type NewAction = ActionDraft;

/// What became of a new action.
#[derive(Clone, Copy, Debug)]
pub struct Created {
    /// Its id.
    pub id: i64,
    /// Where it stands.
    pub phase: Phase,
}

/// What became of a request to change an action.
#[derive(Clone, Debug)]
pub enum Cancelled {
    /// There is no such action.
    Missing,
    /// Not from where it stands.
    Refused(Phase),
    /// Done: where it stood, where it stands, and what became ready behind it.
    Done {
        /// Where it stood.
        before: Phase,
        /// Where it stands now.
        after: Phase,
        /// Ids and priorities to announce.
        ready: Vec<(i64, i64)>,
    },
}

impl Store {
    /// Makes an action by hand.
    pub async fn create_action(&self, mut draft: NewAction, actor: &str, now: Timestamp) -> Result<Created> {
        let mut tx = self.begin().await?;
        draft.id = ids::take(&mut tx, "action", 1).await?;
        add_action(&mut tx, &mut draft, (None, actor), now).await?;
        tx.commit().await?;
        Ok(Created { id: draft.id, phase: draft.phase })
    }

    /// Withdraws an action. A running attempt loses its lease with this commit: the host refuses its next
    /// call, and its result changes nothing.
    pub async fn cancel_action(
        &self,
        id: i64,
        reason: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<Cancelled> {
        let details = format!("Cancelled: {}", if reason.is_empty() { "no reason given" } else { reason });
        let change = Change { step: Step::Cancel, actor, details: Some(details), error: None };
        self.change(id, change, now).await
    }

    /// Puts a held action in the queue.
    pub async fn queue_action(&self, id: i64, actor: &str, now: Timestamp) -> Result<Cancelled> {
        self.change(id, Change { step: Step::Enqueue, actor, details: None, error: None }, now).await
    }

    /// A person says how an uncertain action ended.
    pub async fn resolve_action(
        &self,
        id: i64,
        step: Step,
        note: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<Cancelled> {
        let details = Some(format!("Resolved by {actor}: {note}"));
        self.change(id, Change { step, actor, details, error: None }, now).await
    }

    async fn change(&self, id: i64, change: Change<'_>, now: Timestamp) -> Result<Cancelled> {
        let mut tx = self.begin().await?;
        let look = tx.text(&LOOK);
        let seen: Option<(String, String, Option<i64>)> =
            on!(&mut tx, c => sqlx::query_as(look).bind(id).fetch_optional(c).await?);
        let Some((target, _, incident)) = seen else { return Ok(Cancelled::Missing) };
        slot::lock(&mut tx, &target).await?;
        let sql = tx.text(&STATE);
        let (word,): (String,) = on!(&mut tx, c => sqlx::query_as(sql).bind(id).fetch_one(c).await?);
        let before = rows::phase(&word)?;
        let Some(mut after) = before.after(change.step) else { return Ok(Cancelled::Refused(before)) };
        if matches!(change.step, Step::Enqueue | Step::ResolveRetry)
            && !slot::enter(&mut tx, &target, id).await?
        {
            after = Phase::Blocked;
        }
        if change.step == Step::ResolveRetry {
            let sql = tx.text(&MORE_ATTEMPTS);
            on!(&mut tx, c => sqlx::query(sql).bind(id).execute(c).await?.rows_affected());
        }
        apply(&mut tx, id, (before, after), &change, now).await?;
        let mut ready = Vec::new();
        // The target may still be working on what a running attempt has asked of it: the slot stays taken
        // until the attempt has ended, or the sweep finds that nobody will say so.
        if after.ended() && before != Phase::Running {
            ready.extend(slot::leave(&mut tx, &target, id, now).await?);
        } else if after == Phase::Ready {
            ready.push((id, 1));
        }
        let facts = json!({"from": before.word(), "to": after.word(), "details": change.details});
        let verb = match change.step {
            Step::Cancel => "action.cancelled",
            Step::Enqueue => "action.queued",
            Step::ResolveDone | Step::ResolveFailed | Step::ResolveRetry => "action.resolved",
            Step::Block
            | Step::Promote
            | Step::Claim
            | Step::Succeed
            | Step::Retry
            | Step::Fail
            | Step::LoseTrack
            | Step::GiveBack
            | Step::Expire => "action.changed",
        };
        add_audit(&mut tx, &Entry::action(change.actor, verb, id, incident, facts), now).await?;
        tx.commit().await?;
        Ok(Cancelled::Done { before, after, ready })
    }
}

struct Change<'a> {
    step: Step,
    actor: &'a str,
    details: Option<String>,
    error: Option<String>,
}

async fn apply(
    tx: &mut Tx,
    id: i64,
    (before, after): (Phase, Phase),
    change: &Change<'_>,
    now: Timestamp,
) -> Result<()> {
    let sql = tx.text(&MOVE);
    let ended = after.ended().then(|| now.micros());
    on!(tx, c => sqlx::query(sql).bind(id).bind(before.word()).bind(after.word()).bind(ended)
        .bind(now.micros()).bind(&change.details).bind(&change.error).execute(c).await?.rows_affected());
    Ok(())
}
