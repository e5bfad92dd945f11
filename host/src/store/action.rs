//! Actions made, withdrawn and resolved by people.

use serde_json::json;

use super::plan::ActionDraft;
use super::record::{add_action, add_audit};
use super::sql::statements;
use super::{
    ApprovalRefused, Error, Moved, Result, Store, Tx, duel, ids, ledger, on, pace, pause, rows, slot,
};
use crate::domain::action::Step;
use crate::domain::approval;
use crate::domain::audit::Entry;
use crate::domain::decide::Reason;
use crate::domain::mutant::{Fault, holds};
use crate::domain::opposites::Of;
use crate::domain::pace::Share;
use crate::domain::rail::Rail;
use crate::domain::{Phase, Timestamp};

statements! { pub(super) STATEMENTS:
    LOOK = "SELECT target, kind, state FROM action WHERE id = $1";
    STANDS = "SELECT state, kind, owner, priority, incident_id FROM action WHERE id = $1{lock}";
    MOVE = "UPDATE action SET state = $3, completed_at = $4, queued = (queued OR $8), run_at = $5,
        details = COALESCE($6, details), error_message = COALESCE($7, error_message)
        WHERE id = $1 AND state = $2";
    // What a person has decided is not asked about once more.
    MORE_ATTEMPTS = "UPDATE action SET requeued = requeued + 1, expires_at = NULL,
        max_attempts = CASE WHEN attempts >= max_attempts THEN attempts + 1 ELSE max_attempts END WHERE id = $1";
    RESERVE = "INSERT INTO reservation (action_id, policy_id, target, at, plugin) VALUES ($1, 0, $2, $3, $4)
        ON CONFLICT (action_id) DO UPDATE SET at = excluded.at";
    REMEMBERED = "SELECT body_hash, answer FROM idempotency WHERE scope = $1 AND key = $2";
    REMEMBER = "INSERT INTO idempotency (scope, key, body_hash, answer, at) VALUES ($1, $2, $3, $4, $5)";
}

/// An action made by hand.
pub type NewAction = ActionDraft;

/// An idempotency key, and the answer to be given again under it.
#[derive(Clone, Copy)]
pub struct Keyed<'a> {
    /// Who and which route.
    pub scope: &'a str,
    /// What the client chose.
    pub key: &'a str,
    /// Hash of the body.
    pub body_hash: &'a str,
    /// Renders the answer.
    pub answer: &'a (dyn Fn(&Created) -> String + Send + Sync),
}

impl std::fmt::Debug for Keyed<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Keyed").field("scope", &self.scope).field("key", &self.key).finish_non_exhaustive()
    }
}

/// A new action.
#[derive(Clone, Debug)]
pub struct Created {
    /// Its id.
    pub id: i64,
    /// Where it stands.
    pub phase: Phase,
    /// It was to be queued and is held, for this reason.
    pub held: Option<Reason>,
}

/// What became of a request for a new action.
#[derive(Clone, Debug)]
pub enum Making {
    /// It was made.
    New(Created),
    /// It had been made before under the same key: the answer given then.
    Again(String),
    /// The key was used with another body.
    KeyReused,
}

/// What became of a request to change an action.
#[derive(Clone, Debug)]
pub enum Cancelled {
    /// There is no such action.
    Missing,
    /// Not from where it stands.
    Refused(Phase),
    /// Not now, for this reason.
    Held(Reason),
    /// Done: where it stood, where it stands, and what became ready behind it.
    Done {
        /// Where it stood.
        before: Phase,
        /// Where it stands now.
        after: Phase,
        /// Ids and priorities to announce.
        ready: Vec<(i64, i64)>,
        /// What changed its status; none: the same one on the wire.
        moved: Option<Moved>,
    },
}

impl Store {
    /// Makes an action by hand, once under each key.
    pub async fn create_action(
        &self,
        draft: &mut NewAction,
        keyed: Option<Keyed<'_>>,
        actor: &str,
        now: Timestamp,
    ) -> Result<Making> {
        match self.create_once(draft, keyed, actor, now).await {
            // Another request under the same key has just been committed.
            Err(Error::Conflict) if keyed.is_some() => self.create_once(draft, keyed, actor, now).await,
            other => other,
        }
    }

    async fn create_once(
        &self,
        draft: &mut NewAction,
        keyed: Option<Keyed<'_>>,
        actor: &str,
        now: Timestamp,
    ) -> Result<Making> {
        let mut tx = self.begin().await?;
        if let Some(keyed) = &keyed
            && let Some(making) = remembered(&mut tx, keyed).await?
        {
            return Ok(making);
        }
        let what = (draft.target.as_str(), draft.kind.as_str());
        let held = if draft.queued { self.held(&mut tx, what, now).await? } else { None };
        draft.queued &= held.is_none();
        draft.id = ids::take(&mut tx, "action", 1).await?;
        add_action(&mut tx, draft, (None, actor), now).await?;
        if draft.queued || !holds(Fault::Refunded) {
            reserve(&mut tx, draft.id, (&draft.target, self.served_by(&draft.kind, &draft.target)), now)
                .await?;
        }
        let created = Created { id: draft.id, phase: draft.phase, held };
        if let Some(keyed) = &keyed {
            let sql = tx.text(&REMEMBER);
            on!(&mut tx, c => sqlx::query(sql).bind(keyed.scope).bind(keyed.key).bind(keyed.body_hash)
                .bind((keyed.answer)(&created)).bind(now.micros()).execute(c).await?.rows_affected());
        }
        tx.commit().await?;
        Ok(Making::New(created))
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

    /// To cancel what waits for an approval is to say no.
    async fn withdrawn(&self, id: i64, change: Change<'_>, now: Timestamp) -> Result<Cancelled> {
        let said = change.details.as_deref().and_then(|text| text.strip_prefix("Cancelled: "));
        let note = said.unwrap_or_default();
        match self.refuse_approval(id, (approval::State::Rejected, change.actor, note), now).await? {
            ApprovalRefused::Done(moved) => Ok(Cancelled::Done {
                before: Phase::Approval,
                after: Phase::Cancelled,
                ready: Vec::new(),
                moved: Some(moved),
            }),
            // It is just becoming what it was not when we looked.
            ApprovalRefused::Not(approval::Refusal::Ended(approval::State::Approved)) => {
                Box::pin(self.change(id, change, now)).await
            }
            ApprovalRefused::Not(_) => Ok(Cancelled::Refused(Phase::Expired)),
            ApprovalRefused::Missing => Ok(Cancelled::Missing),
        }
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

    /// Why an action made by hand may not be queued now, if there is a reason. A duel that is stopped by this is written
    /// down.
    pub(super) async fn held(
        &self,
        tx: &mut Tx,
        (target, kind): (&str, &str),
        now: Timestamp,
    ) -> Result<Option<Reason>> {
        let spent = ledger::spent(tx, &self.everywhere, now).await?;
        if let Some(pause) = pause::stands(tx, now).await? {
            return Ok(Some(Reason::Paused { until: pause.until }));
        }
        let opposites = &self.everywhere.opposites;
        if opposites.concern(kind) {
            let lately = duel::lately(tx, target, now.before(opposites.window), now).await?;
            if let Some(conflict) = lately.stops(opposites, (0, kind), now) {
                if let (Some(stopped), Of::Known(id)) = (&conflict.duel, conflict.action) {
                    duel::stop(tx, target, (stopped, id), now).await?;
                }
                return Ok(Some(Reason::Rail(Rail::Opposite(conflict))));
            }
        }
        if let Some((plugin, budget)) = self.everywhere.plugins.of(kind, target) {
            let Share { used, limit, until, .. } = pace::share(tx, plugin, budget, now).await?;
            if used >= limit {
                let plugin = plugin.to_owned();
                return Ok(Some(Reason::Rail(Rail::PluginBudget { plugin, used, limit, until })));
            }
        }
        Ok((spent.used >= spent.limit).then_some(Reason::GlobalBudget { until: spent.until }))
    }

    /// The plugin that would do it, where that is limited.
    pub(super) fn served_by(&self, kind: &str, target: &str) -> Option<&str> {
        self.everywhere.plugins.of(kind, target).map(|(plugin, _)| plugin)
    }

    async fn change(&self, id: i64, change: Change<'_>, now: Timestamp) -> Result<Cancelled> {
        let mut tx = self.begin().await?;
        let (look, sql) = (tx.text(&LOOK), tx.text(&STANDS));
        let seen: Option<(String, String, String)> =
            on!(&mut tx, c => sqlx::query_as(look).bind(id).fetch_optional(c).await?);
        let Some((target, kind, state)) = seen else { return Ok(Cancelled::Missing) };
        if change.step == Step::Cancel && state == Phase::Approval.word() {
            drop(tx);
            return self.withdrawn(id, change, now).await;
        }
        // What everybody shares is locked before a slot is.
        let asks = change.step == Step::Enqueue;
        let held = if asks { self.held(&mut tx, (&target, &kind), now).await? } else { None };
        slot::lock(&mut tx, &target).await?;
        let row: (String, String, Option<String>, i64, Option<i64>) =
            on!(&mut tx, c => sqlx::query_as(sql).bind(id).fetch_one(c).await?);
        let (word, kind, owner, priority, incident) = row;
        let before = rows::phase(&word)?;
        let Some(mut after) = before.after(change.step) else { return Ok(Cancelled::Refused(before)) };
        if let Some(held) = held {
            tx.commit().await?;
            return Ok(Cancelled::Held(held));
        }
        if change.step == Step::Enqueue {
            reserve(&mut tx, id, (&target, self.served_by(&kind, &target)), now).await?;
        }
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
        let leased = before == Phase::Running && owner.is_some();
        if after.ended() && !leased {
            ready.extend(slot::leave(&mut tx, &target, id, now).await?);
        } else if after == Phase::Ready {
            ready.push((id, priority));
        }
        let facts = json!({"from": before.word(), "to": after.word(), "details": change.details});
        add_audit(&mut tx, &Entry::action(change.actor, verb(change.step), id, incident, facts), now).await?;
        tx.commit().await?;
        let moved = (before.wire() != after.wire()).then(|| Moved::to(&target, &kind, after.wire()));
        Ok(Cancelled::Done { before, after, ready, moved })
    }
}

/// Notes that somebody has spent of what everybody shares; no policy did. Once per action.
pub(super) async fn reserve(
    tx: &mut Tx,
    id: i64,
    (target, plugin): (&str, Option<&str>),
    now: Timestamp,
) -> Result<()> {
    let sql = tx.text(&RESERVE);
    on!(tx, c => sqlx::query(sql).bind(id).bind(target).bind(now.micros()).bind(plugin).execute(c).await?.rows_affected());
    Ok(())
}

fn verb(step: Step) -> &'static str {
    match step {
        Step::Cancel => "action.cancelled",
        Step::Enqueue => "action.queued",
        Step::ResolveDone | Step::ResolveFailed | Step::ResolveRetry => "action.resolved",
        Step::Block
        | Step::Promote
        | Step::Approve
        | Step::Claim
        | Step::Succeed
        | Step::Retry
        | Step::Fail
        | Step::LoseTrack
        | Step::GiveBack
        | Step::Expire => "action.changed",
    }
}

async fn remembered(tx: &mut Tx, keyed: &Keyed<'_>) -> Result<Option<Making>> {
    let sql = tx.text(&REMEMBERED);
    let row: Option<(String, String)> =
        on!(tx, c => sqlx::query_as(sql).bind(keyed.scope).bind(keyed.key).fetch_optional(c).await?);
    Ok(row.map(
        |(hash, answer)| {
            if hash == keyed.body_hash { Making::Again(answer) } else { Making::KeyReused }
        },
    ))
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
    let queued = matches!(change.step, Step::Enqueue | Step::ResolveRetry);
    on!(tx, c => sqlx::query(sql).bind(id).bind(before.word()).bind(after.word()).bind(ended)
        .bind(now.micros()).bind(&change.details).bind(&change.error).bind(queued).execute(c).await?.rows_affected());
    Ok(())
}
