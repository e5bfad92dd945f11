//! What a yes does: it is counted, and the one that is enough lets the action into the queue. And what becomes of an
//! approved action whose plan is another one when it is to run.

use serde_json::{Value, json};

use super::approval::{ApprovalRow, closed, decided, lock_home, read};
use super::ingest::{Writing, broken};
use super::record::add_audit;
use super::sql::statements;
use super::{Claimed, Moved, Result, Store, Task, Tx, on, rows, slot};
use crate::domain::approval::{ActionPlan, Counted, State};
use crate::domain::audit::Entry;
use crate::domain::{Phase, Timestamp};

statements! { pub(super) STATEMENTS:
    ACTION = "SELECT kind, params, step, priority, policy_name FROM action WHERE id = $1";
    SET_ASIDE = "DELETE FROM reservation WHERE action_id = $1 RETURNING at, plugin";
    RESERVE = "INSERT INTO reservation (action_id, policy_id, target, at, plugin) VALUES ($1, $2, $3, $4, $5)";
    VOTE = "INSERT INTO approval_vote (action_id, principal, actor, plan_hash, at, note) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (action_id, principal) DO UPDATE SET actor = excluded.actor, plan_hash = excluded.plan_hash,
        at = excluded.at, note = excluded.note";
    SEEN = "UPDATE approval SET plan = $2, plan_hash = $3 WHERE action_id = $1 AND state = 'waiting'";
    INCIDENT = "SELECT id FROM incident WHERE id = $1{lock}";
    GRANT = "UPDATE approval SET state = 'approved', decided_at = $2 WHERE action_id = $1 AND state = 'waiting'";
    // What is withdrawn withdraws itself when the past is lived again.
    ANSWERS = "SELECT p.policy_id, p.target, a.step, a.created_at, p.state, p.decided_at, p.decided_by, p.note
        FROM approval p JOIN action a ON a.id = p.action_id
        WHERE a.created_at >= $1 AND a.created_at < $2 AND p.state IN ('approved', 'rejected', 'expired')
        AND p.decided_at IS NOT NULL AND a.step IS NOT NULL ORDER BY p.action_id";
    ACTED = "UPDATE incident SET actions = actions + 1, last_action_id = $2,
        tries = CASE WHEN step = $3 THEN tries + 1 ELSE 1 END, step = $3 WHERE id = $1";
    QUEUE = "UPDATE action SET state = $2, queued = TRUE, run_at = $3, expires_at = $4
        WHERE id = $1 AND state = 'approval'";
    // What was withheld gives its try back to the incident.
    DIVERGED = "UPDATE action SET state = $2, completed_at = $3, details = COALESCE($4, details),
        withheld = CASE WHEN attempts = 0 THEN 'plan_diverged' END,
        error_message = COALESCE($5, error_message) WHERE id = $1 AND state = 'ready' RETURNING attempts";
}

/// An action that waits for an approval.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The request.
    pub row: ApprovalRow,
    /// What to do.
    pub kind: String,
    /// With which parameters.
    pub params: Value,
    /// Which step of the policy's ladder it is.
    pub step: i64,
    /// Its policy's name.
    pub policy: String,
    priority: i64,
    reserved: Option<(i64, Option<String>)>,
}

/// A yes that counts.
#[derive(Clone, Copy, Debug)]
pub struct Yes<'a> {
    /// Whose: the principal, and as audit entries name it.
    pub by: (&'a str, &'a str),
    /// What they said.
    pub note: &'a str,
    /// What would run.
    pub plan: &'a ActionPlan,
    /// The yes and what it came to.
    pub counted: Counted,
    /// The action is not started any more after this.
    pub start_by: Timestamp,
}

impl Writing {
    /// The action of that id with its request, if it has one. The reservation is set aside until [`Writing::yes`], so
    /// that the ledger reads as if nothing had been asked; without it the transaction must not be committed.
    pub async fn pending(&mut self, action: i64) -> Result<Option<Pending>> {
        type Row = (String, String, Option<i64>, i64, Option<String>);
        let tx = self.begun().await?;
        let Some(row) = read(tx, &[action]).await?.pop() else { return Ok(None) };
        let (sql, aside) = (tx.text(&ACTION), tx.text(&SET_ASIDE));
        let (kind, params, step, priority, policy): Row =
            on!(tx, c => sqlx::query_as(sql).bind(action).fetch_one(c).await?);
        let mut reserved = None;
        if row.state()? == State::Waiting {
            reserved = on!(tx, c => sqlx::query_as(aside).bind(action).fetch_optional(c).await?);
        }
        let (params, step) = (rows::json(&params), step.unwrap_or(0));
        let policy = policy.unwrap_or_default();
        Ok(Some(Pending { row, kind, params, step, policy, priority, reserved }))
    }

    /// Counts a yes; the one that is enough makes the action the incident's own and lets it into the queue. Answers
    /// where the action stands then, and what became ready.
    pub async fn yes(
        &mut self,
        pending: &Pending,
        yes: Yes<'_>,
        now: Timestamp,
    ) -> Result<(Phase, Vec<(i64, i64)>)> {
        let tx = self.begun().await?;
        let (id, row, hash) = (pending.row.action_id, &pending.row, yes.plan.hash());
        let incident = tx.text(&INCIDENT);
        on!(tx, c => sqlx::query(incident).bind(row.incident_id).fetch_optional(c).await?.is_some());
        if let Some((asked_at, plugin)) = &pending.reserved {
            // Until now nothing was done: the windows of budgets and the cooldown count from here.
            let at = if yes.counted == Counted::Enough { now.micros() } else { *asked_at };
            let sql = tx.text(&RESERVE);
            on!(tx, c => sqlx::query(sql).bind(id).bind(row.policy_id).bind(&row.target).bind(at).bind(plugin)
                .execute(c).await?.rows_affected());
        }
        if yes.counted == Counted::Again {
            return Ok((Phase::Approval, Vec::new()));
        }
        let (vote, seen) = (tx.text(&VOTE), tx.text(&SEEN));
        let text = serde_json::to_string(yes.plan).map_err(broken)?;
        on!(tx, c => sqlx::query(vote).bind(id).bind(yes.by.0).bind(yes.by.1).bind(&hash).bind(now.micros())
            .bind(yes.note).execute(c).await?.rows_affected());
        on!(tx, c => sqlx::query(seen).bind(id).bind(text).bind(&hash).execute(c).await?.rows_affected());
        let facts =
            json!({"plan_hash": hash, "note": yes.note, "required": row.required(), "plan": yes.plan});
        let entry = Entry::action(yes.by.1, "approval.given", id, Some(row.incident_id), facts);
        add_audit(tx, &entry, now).await?;
        if yes.counted == Counted::Waiting {
            return Ok((Phase::Approval, Vec::new()));
        }
        grant(tx, pending, (&yes, &hash), now).await
    }
}

async fn grant(
    tx: &mut Tx,
    pending: &Pending,
    (yes, hash): (&Yes<'_>, &str),
    now: Timestamp,
) -> Result<(Phase, Vec<(i64, i64)>)> {
    let (id, row) = (pending.row.action_id, &pending.row);
    let (grant, acted, queue) = (tx.text(&GRANT), tx.text(&ACTED), tx.text(&QUEUE));
    on!(tx, c => sqlx::query(acted).bind(row.incident_id).bind(id).bind(pending.step).execute(c).await?.rows_affected());
    let phase = if slot::enter(tx, &row.target, id).await? { Phase::Ready } else { Phase::Blocked };
    on!(tx, c => sqlx::query(queue).bind(id).bind(phase.word()).bind(now.micros()).bind(yes.start_by.micros())
        .execute(c).await?.rows_affected());
    on!(tx, c => sqlx::query(grant).bind(id).bind(now.micros()).execute(c).await?.rows_affected());
    let said = row.votes.iter().filter(|vote| vote.plan_hash == hash && vote.principal != yes.by.0);
    let approvers: Vec<&str> = said.map(|vote| vote.actor.as_str()).chain([yes.by.1]).collect();
    let facts = json!({"plan_hash": hash, "approvers": approvers, "digest": yes.plan.digest,
        "policy_version": row.policy_version, "state": phase.word(), "start_by": yes.start_by});
    let entry = Entry::action("system", "approval.granted", id, Some(row.incident_id), facts);
    add_audit(tx, &entry, now).await?;
    let ready = if phase == Phase::Ready { vec![(id, pending.priority)] } else { Vec::new() };
    Ok((phase, ready))
}

impl Store {
    /// Ends an approved action that is ready and whose plan is another one now. If it has never run, everything is as
    /// if it had not been asked for: the next violation may ask anew.
    pub(super) async fn diverge(
        &self,
        task: &Task,
        why: &str,
        now: Timestamp,
        claimed: &mut Claimed,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        lock_home(&mut tx, task.id).await?;
        let Some(row) = read(&mut tx, &[task.id]).await?.pop() else { return Ok(()) };
        let why = format!("plan_diverged: {why}");
        let fresh = task.attempts == 0;
        decided(&mut tx, (row.incident_id, row.action_id), (State::Diverged.reason(), &why), now).await?;
        slot::lock(&mut tx, &row.target).await?;
        let (phase, details, error) = if fresh {
            (Phase::Cancelled, Some(format!("Cancelled: {why}")), None)
        } else {
            (Phase::Dead, None, Some(why.clone()))
        };
        let sql = tx.text(&DIVERGED);
        let attempts: Option<(i64,)> = on!(&mut tx, c => sqlx::query_as(sql).bind(task.id).bind(phase.word())
            .bind(now.micros()).bind(details).bind(error).fetch_optional(c).await?);
        // Somebody else was quicker: then nothing of this happens.
        if attempts.is_none_or(|(attempts,)| attempts != task.attempts) {
            return Ok(());
        }
        if fresh {
            closed(&mut tx, task.id, (State::Diverged, "system", &why), now).await?;
        }
        let ready = slot::leave(&mut tx, &row.target, task.id, now).await?;
        let facts = json!({"plan_hash": row.plan_hash, "details": why,
            "approvers": row.votes.iter().map(|vote| &vote.actor).collect::<Vec<_>>()});
        let entry = Entry::action("system", "approval.diverged", task.id, Some(row.incident_id), facts);
        add_audit(&mut tx, &entry, now).await?;
        tx.commit().await?;
        claimed.ready.extend(ready);
        claimed.moved.push(Moved::to(&row.target, &task.kind, phase.wire()));
        Ok(())
    }
}

impl Store {
    /// In a scratch database: people answer as they did, or as is assumed.
    pub async fn rehearse_answer(&self, action: i64, answer: &PastAnswer, now: Timestamp) -> Result<bool> {
        if answer.state != State::Approved {
            let how = (answer.state, answer.by.as_str(), answer.note.as_str());
            self.refuse_approval(action, how, now).await?;
            return Ok(false);
        }
        let mut writing = Writing { tx: self.begin().await? };
        let Some(pending) = writing.pending(action).await? else { return Ok(false) };
        if pending.row.state()? != State::Waiting {
            return Ok(false);
        }
        let (plan, counted, start_by) =
            (pending.row.plan()?, Counted::Enough, Timestamp::from_micros(i64::MAX));
        let yes = Yes { by: ("recorded", "recorded"), note: "", plan: &plan, counted, start_by };
        writing.yes(&pending, yes, now).await?;
        writing.tx.commit().await?;
        Ok(true)
    }

    /// How people answered what was asked then: of policy, target, step and time of the action.
    pub async fn past_answers(&self, from: Timestamp, to: Timestamp) -> Result<Vec<(PastOf, PastAnswer)>> {
        type Row = (i64, String, i64, i64, String, i64, Option<String>, Option<String>);
        let mut tx = self.reading().await?;
        let sql = tx.text(&ANSWERS);
        let found: Vec<Row> =
            on!(&mut tx, c => sqlx::query_as(sql).bind(from.micros()).bind(to.micros()).fetch_all(c).await?);
        let answer = |(policy, target, step, made, state, at, by, note): Row| {
            let state = State::from_word(&state)?;
            let (by, note) = (by.unwrap_or_default(), note.unwrap_or_default());
            let of = (policy, target, step, Timestamp::from_micros(made));
            Some((of, PastAnswer { state, at: Some(Timestamp::from_micros(at)), by, note }))
        };
        Ok(found.into_iter().filter_map(answer).collect())
    }
}

/// Policy, target, step, and when the action was made.
pub type PastOf = (i64, String, i64, Timestamp);

/// What people said of an action of the past.
#[derive(Clone, Debug)]
pub struct PastAnswer {
    /// What it came to.
    pub state: State,
    /// When; none: at once.
    pub at: Option<Timestamp>,
    /// Who ended it, where that was not enough people's yes.
    pub by: String,
    /// What they said.
    pub note: String,
}
