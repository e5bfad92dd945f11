//! Requests for approvals: asked with the action, and ended without one: by a no, by time, or since what they were for is
//! over. Whoever changes a request holds its target's partition, so that exactly one change wins. What a yes does is in
//! [`approve`](super::approve).

use std::collections::HashMap;

use serde_json::json;

use super::ingest::{broken, list_of};
use super::plan::ActionDraft;
use super::record::add_audit;
use super::sql::statements;
use super::{Error, Moved, Result, Store, Tx, ids, on, rows};
use crate::domain::approval::{ActionPlan, Refusal, Request, State, Vote};
use crate::domain::audit::Entry;
use crate::domain::event::partition_of;
use crate::domain::{Phase, Timestamp};

statements! { pub(super) STATEMENTS:
    ADD = "INSERT INTO approval (action_id, incident_id, policy_id, policy_version, target, plan, plan_hash, required,
        barred, state, requested_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8,
        CASE WHEN $9 THEN (SELECT author FROM policy WHERE id = $3) END, 'waiting', $10, $11)";
    // What the policy says now counts; one that is gone or off has no version.
    ROWS = "SELECT p.action_id, p.incident_id, p.policy_id, p.policy_version, p.target, p.plan, p.plan_hash, p.required,
        p.barred, p.state, p.requested_at, p.expires_at, p.decided_at, p.decided_by, p.note,
        (SELECT q.version FROM policy q WHERE q.id = p.policy_id AND q.enabled) AS policy_now,
        r.basis AS recorded_basis, r.calls AS recorded_calls
        FROM approval p LEFT JOIN action_plan r ON r.action_id = p.action_id WHERE p.action_id IN {ids}";
    VOTES = "SELECT action_id, principal, actor, plan_hash, at, note FROM approval_vote WHERE action_id IN {ids}
        ORDER BY at, principal";
    OPEN_OF = "SELECT action_id FROM approval WHERE incident_id = $1 AND state = 'waiting'";
    DUE = "SELECT action_id FROM approval WHERE state = 'waiting' AND expires_at <= $1 ORDER BY expires_at LIMIT 100";
    COUNT = "SELECT COUNT(*) FROM approval WHERE state = 'waiting'";
    END = "UPDATE approval SET state = $2, decided_at = $3, decided_by = $4, note = $5
        WHERE action_id = $1 AND state IN ('waiting', 'approved')";
    END_ACTION = "UPDATE action SET state = $2, completed_at = $3, details = $4, withheld = $5
        WHERE id = $1 AND state = 'approval' RETURNING kind";
    GIVE_BACK = "DELETE FROM reservation WHERE action_id = $1";
    TARGET = "SELECT target FROM action WHERE id = $1";
    LOCK_PARTITION = "SELECT id FROM partition_state WHERE id = $1{lock}";
    // The decision that stands in the incident from now on.
    REASON = "UPDATE incident SET reason = $2 WHERE id = $1 RETURNING last_event_id";
    DECIDED = "INSERT INTO decision (id, incident_id, at, last_at, event_id, verdict, reason, until_at, repeats,
        action_id, facts) VALUES ($1, $2, $3, $3, $4, 'suppress', $5, NULL, 1, $6, $7)";
}

/// A request and its answers.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ApprovalRow {
    /// The action that waits, or waited.
    pub action_id: i64,
    /// Its incident.
    pub incident_id: i64,
    /// The policy that asks.
    pub policy_id: i64,
    /// The version that asked.
    pub policy_version: i64,
    /// On what.
    pub target: String,
    plan: String,
    /// The hash of the plan that was approved, or that was last seen.
    pub plan_hash: String,
    required: i64,
    barred: Option<String>,
    state: String,
    requested_at: i64,
    expires_at: i64,
    decided_at: Option<i64>,
    /// Who ended it, where that was not enough people's yes.
    pub decided_by: Option<String>,
    /// What they said.
    pub note: Option<String>,
    /// The policy's version now; none: it is gone or off.
    pub policy_now: Option<i64>,
    recorded_basis: Option<String>,
    recorded_calls: Option<String>,
    /// Who said yes.
    #[sqlx(skip)]
    pub votes: Vec<VoteRow>,
}

/// Somebody's yes.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct VoteRow {
    action_id: i64,
    /// Who: a principal.
    pub principal: String,
    /// As audit entries name it.
    pub actor: String,
    /// To which plan.
    pub plan_hash: String,
    at: i64,
    /// What they said.
    pub note: String,
}

impl VoteRow {
    /// When.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        Timestamp::from_micros(self.at)
    }
}

impl ApprovalRow {
    /// Where it stands.
    pub fn state(&self) -> Result<State> {
        State::from_word(&self.state).ok_or_else(|| broken(format!("the approval state {}", self.state)))
    }

    /// What people were asked about, or what they have approved.
    pub fn plan(&self) -> Result<ActionPlan> {
        serde_json::from_str(&self.plan).map_err(broken)
    }

    /// The same plan with the calls that plan mode has recorded for this action, if it was made of just this plan.
    pub fn recorded(&self, plan: ActionPlan) -> Result<ActionPlan> {
        let (Some(basis), Some(calls)) = (&self.recorded_basis, &self.recorded_calls) else {
            return Ok(plan);
        };
        if *basis != plan.hash() {
            return Ok(plan);
        }
        Ok(ActionPlan { calls: Some(serde_json::from_str(calls).map_err(broken)?), ..plan })
    }

    /// The request as the rules of [`Request`] know it.
    pub fn request(&self) -> Result<Request> {
        let vote = |row: &VoteRow| Vote { by: row.principal.clone(), hash: row.plan_hash.clone() };
        Ok(Request {
            state: self.state()?,
            required: self.required(),
            barred: self.barred.clone(),
            expires_at: self.expires_at(),
            votes: self.votes.iter().map(vote).collect(),
            hash: self.plan_hash.clone(),
        })
    }

    /// How many must say yes.
    #[must_use]
    pub fn required(&self) -> u32 {
        u32::try_from(self.required).unwrap_or(u32::MAX)
    }

    /// When it was asked.
    #[must_use]
    pub fn requested_at(&self) -> Timestamp {
        Timestamp::from_micros(self.requested_at)
    }

    /// When no answer is a no.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_micros(self.expires_at)
    }

    /// When it ended.
    #[must_use]
    pub fn decided_at(&self) -> Option<Timestamp> {
        rows::time(self.decided_at)
    }
}

/// What became of a no.
#[derive(Clone, Debug)]
pub enum Refused {
    /// There is no such request.
    Missing,
    /// It can't be ended so.
    Not(Refusal),
    /// It is over.
    Done(Moved),
}

impl Store {
    /// The requests of those actions, by action.
    pub async fn approvals(&self, actions: &[i64]) -> Result<HashMap<i64, ApprovalRow>> {
        if actions.is_empty() {
            return Ok(HashMap::new());
        }
        let mut tx = self.reading().await?;
        Ok(read(&mut tx, actions).await?.into_iter().map(|row| (row.action_id, row)).collect())
    }

    /// Ends a request that waits: a person says no, or its time is over.
    pub async fn refuse_approval(
        &self,
        action: i64,
        (state, actor, note): (State, &str, &str),
        now: Timestamp,
    ) -> Result<Refused> {
        let mut tx = self.begin().await?;
        if !lock_home(&mut tx, action).await? {
            return Ok(Refused::Missing);
        }
        let Some(row) = read(&mut tx, &[action]).await?.pop() else { return Ok(Refused::Missing) };
        let mut request = row.request()?;
        if let Err(refusal) = request.end(state, now) {
            return Ok(Refused::Not(refusal));
        }
        let details = match state {
            State::Rejected if note.is_empty() => format!("Cancelled: rejected by {actor}"),
            State::Rejected => format!("Cancelled: rejected by {actor}: {note}"),
            State::Waiting | State::Approved | State::Expired | State::Withdrawn | State::Diverged => {
                "Expired: not approved in time".to_owned()
            }
        };
        let moved = end(&mut tx, &row, (state, actor, note, &details), now).await?;
        tx.commit().await?;
        Ok(moved.map_or(Refused::Missing, Refused::Done))
    }

    /// Ends every request that nobody has answered in time. Answers what changed its status.
    pub async fn expire_approvals(&self, now: Timestamp) -> Result<Vec<Moved>> {
        let due: Vec<(i64,)> = {
            let mut tx = self.reading().await?;
            let sql = tx.text(&DUE);
            on!(&mut tx, c => sqlx::query_as(sql).bind(now.micros()).fetch_all(c).await?)
        };
        let mut moved = Vec::new();
        for (action,) in due {
            let how = (State::Expired, "system", "");
            if let Refused::Done(one) = self.refuse_approval(action, how, now).await? {
                moved.push(one);
            }
        }
        Ok(moved)
    }

    /// How many requests wait.
    pub async fn approvals_waiting(&self) -> Result<i64> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&COUNT);
        let (count,): (i64,) = on!(&mut tx, c => sqlx::query_as(sql).fetch_one(c).await?);
        Ok(count)
    }
}

/// Locks the partition of an action's target, as whoever decides about that target does. False: there is no such action.
pub(super) async fn lock_home(tx: &mut Tx, action: i64) -> Result<bool> {
    let (find, lock) = (tx.text(&TARGET), tx.text(&LOCK_PARTITION));
    let row: Option<(String,)> = on!(tx, c => sqlx::query_as(find).bind(action).fetch_optional(c).await?);
    let Some((target,)) = row else { return Ok(false) };
    let home = i64::from(partition_of(&target));
    on!(tx, c => sqlx::query(lock).bind(home).fetch_optional(c).await?.is_some());
    Ok(true)
}

/// The requests of those actions.
pub(super) async fn read(tx: &mut Tx, actions: &[i64]) -> Result<Vec<ApprovalRow>> {
    let (sql, votes, list) = (tx.text(&ROWS), tx.text(&VOTES), list_of(actions));
    let mut found: Vec<ApprovalRow> = on!(tx, c => sqlx::query_as(sql).bind(&list).fetch_all(c).await?);
    if found.is_empty() {
        return Ok(found);
    }
    let all: Vec<VoteRow> = on!(tx, c => sqlx::query_as(votes).bind(&list).fetch_all(c).await?);
    for row in &mut found {
        row.votes = all.iter().filter(|vote| vote.action_id == row.action_id).cloned().collect();
    }
    Ok(found)
}

/// Writes down that people are asked. Answers what is over at once: in the same transaction something else has come up.
pub(super) async fn ask(
    tx: &mut Tx,
    draft: &ActionDraft,
    incident: i64,
    now: Timestamp,
) -> Result<Option<Moved>> {
    let (Some(asked), Some((policy, name, version))) = (&draft.approval, &draft.policy) else {
        return Err(Error::Data("an approval that nobody asks for".to_owned()));
    };
    let plan = asked.plan.as_ref().ok_or_else(|| Error::Data("an approval of nothing".to_owned()))?;
    let (hash, terms) = (plan.hash(), &asked.terms);
    let text = serde_json::to_string(plan).map_err(|wrong| Error::Data(wrong.to_string()))?;
    let expires = now.after(terms.within);
    let sql = tx.text(&ADD);
    on!(tx, c => sqlx::query(sql).bind(draft.id).bind(incident).bind(*policy).bind(*version).bind(&draft.target)
        .bind(text).bind(&hash).bind(i64::from(terms.people)).bind(terms.not_author).bind(now.micros())
        .bind(expires.micros()).execute(c).await?.rows_affected());
    let facts = json!({"policy": name, "plan_hash": hash, "plan": plan, "required": terms.people,
        "not_author": terms.not_author, "expires_at": expires});
    let entry = Entry::action("system", "approval.requested", draft.id, Some(incident), facts);
    add_audit(tx, &entry, now).await?;
    match &asked.withdrawn {
        Some((state, why)) => withdraw(tx, incident, (*state, why), now).await,
        None => Ok(None),
    }
}

/// Ends an incident's request, if it has one, since it is for nothing any more.
pub(super) async fn withdraw(
    tx: &mut Tx,
    incident: i64,
    (state, why): (State, &str),
    now: Timestamp,
) -> Result<Option<Moved>> {
    let sql = tx.text(&OPEN_OF);
    let open: Option<(i64,)> = on!(tx, c => sqlx::query_as(sql).bind(incident).fetch_optional(c).await?);
    let Some((action,)) = open else { return Ok(None) };
    let Some(row) = read(tx, &[action]).await?.pop() else { return Ok(None) };
    let details = match state {
        State::Diverged => format!("Cancelled: plan_diverged: {why}"),
        State::Waiting | State::Approved | State::Rejected | State::Expired | State::Withdrawn => {
            format!("Expired: {why}")
        }
    };
    end(tx, &row, (state, "system", why, &details), now).await
}

/// Ends a request and its action. The reservation is given back, so that the counters are as if nothing had been asked;
/// the no is remembered in the request itself.
async fn end(
    tx: &mut Tx,
    row: &ApprovalRow,
    (state, actor, note, details): (State, &str, &str, &str),
    now: Timestamp,
) -> Result<Option<Moved>> {
    decided(tx, (row.incident_id, row.action_id), (state.reason(), details), now).await?;
    let phase = match state {
        State::Rejected | State::Diverged => Phase::Cancelled,
        State::Waiting | State::Approved | State::Expired | State::Withdrawn => Phase::Expired,
    };
    let end_action = tx.text(&END_ACTION);
    let kind: Option<(String,)> = on!(tx, c => sqlx::query_as(end_action).bind(row.action_id).bind(phase.word())
        .bind(now.micros()).bind(details).bind(state.reason()).fetch_optional(c).await?);
    let Some((kind,)) = kind else { return Ok(None) };
    closed(tx, row.action_id, (state, actor, note), now).await?;
    let verb = match state {
        State::Rejected => "approval.rejected",
        State::Expired => "approval.expired",
        State::Diverged => "approval.diverged",
        State::Waiting | State::Approved | State::Withdrawn => "approval.withdrawn",
    };
    let facts = json!({"plan_hash": row.plan_hash, "details": details, "note": note,
        "approvers": row.votes.iter().map(|vote| &vote.actor).collect::<Vec<_>>()});
    add_audit(tx, &Entry::action(actor, verb, row.action_id, Some(row.incident_id), facts), now).await?;
    Ok(Some(Moved::to(&row.target, &kind, phase.wire())))
}

/// Gives the reservation back and closes the request.
pub(super) async fn closed(
    tx: &mut Tx,
    action: i64,
    (state, actor, note): (State, &str, &str),
    now: Timestamp,
) -> Result<()> {
    let (end, back) = (tx.text(&END), tx.text(&GIVE_BACK));
    on!(tx, c => sqlx::query(end).bind(action).bind(state.word()).bind(now.micros()).bind(actor).bind(note)
        .execute(c).await?.rows_affected());
    on!(tx, c => sqlx::query(back).bind(action).execute(c).await?.rows_affected());
    Ok(())
}

/// Notes in the incident that its action came to nothing, and why.
pub(super) async fn decided(
    tx: &mut Tx,
    (incident, action): (i64, i64),
    (reason, why): (&str, &str),
    now: Timestamp,
) -> Result<()> {
    let (set, add) = (tx.text(&REASON), tx.text(&DECIDED));
    let event: Option<(i64,)> =
        on!(tx, c => sqlx::query_as(set).bind(incident).bind(reason).fetch_optional(c).await?);
    let Some((event,)) = event else { return Ok(()) };
    let id = ids::take(tx, "decision", 1).await?;
    let facts = json!({"why": why}).to_string();
    on!(tx, c => sqlx::query(add).bind(id).bind(incident).bind(now.micros()).bind(event).bind(reason).bind(action)
        .bind(facts).execute(c).await?.rows_affected());
    Ok(())
}
