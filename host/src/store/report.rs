//! What remediators report. A result counts for the action under the reporter's lease, once; a result for a
//! task that nobody gave out is recorded as an action of its own.

use serde_json::{Value, json};

use super::plan::ActionDraft;
use super::record::{add_action, add_audit};
use super::sql::statements;
use super::{Error, Moved, Result, Store, Tx, ids, on, rows, slot};
use crate::domain::audit::Entry;
use crate::domain::{Phase, Timestamp};

statements! { pub(super) STATEMENTS:
    LOOK = "SELECT target FROM action WHERE id = $1";
    STANDS = "SELECT state, kind, owner, fence, attempts, lease_until, incident_id FROM action WHERE id = $1{lock}";
    REPORT = "UPDATE action SET state = $3, completed_at = $4, details = $5, error_message = $6, result = $7,
        lease_until = NULL WHERE id = $1 AND fence = $2 AND state = 'running'";
    END_ATTEMPT = "UPDATE attempt SET ended_at = $3, outcome = $4, message = $5, result = $6
        WHERE action_id = $1 AND fence = $2 AND ended_at IS NULL";
    // A result that came too late is kept beside the attempt it belongs to.
    KEEP_LATE = "UPDATE attempt SET ended_at = COALESCE(ended_at, $3), outcome = COALESCE(outcome, 'superseded'),
        result = $4 WHERE action_id = $1 AND worker = $2 AND result IS NULL";
    APPLIED_BEFORE = "SELECT COUNT(*) FROM attempt a JOIN action x ON x.id = a.action_id AND x.fence = a.fence
        WHERE a.action_id = $1 AND a.result = $2 AND x.result = $2";
    REPORTED = "SELECT action_id FROM reported WHERE key = $1";
    ADD_REPORTED = "INSERT INTO reported (key, action_id, at) VALUES ($1, $2, $3)";
    RECORD = "UPDATE action SET state = $2, completed_at = $3, running_since = $3, error_message = $4, result = $5
        WHERE id = $1";
    UNLEND = "UPDATE action SET lease_until = NULL WHERE id = $1 AND fence = $2";
}

/// One result, checked.
#[derive(Debug)]
pub struct Reported<'a> {
    /// The action it is for, where the task's id can be one.
    pub action: Option<i64>,
    /// Who reports, as leases name it; none: it did not say.
    pub owner: Option<&'a str>,
    /// What the owners of all leases begin with that the reporter can have.
    pub prefix: &'a str,
    /// Which attempt it is about; none: the last one.
    pub attempt: Option<i64>,
    /// [`Phase::Succeeded`] or [`Phase::Dead`].
    pub phase: Phase,
    /// How the attempt ended, in one word.
    pub outcome: &'static str,
    /// For people.
    pub details: String,
    /// Why it failed.
    pub error: Option<String>,
    /// All of it, as JSON: equal results are the same result.
    pub result: Value,
    /// What tells it from other results of unknown tasks.
    pub key: String,
    /// The action to record where the task is unknown.
    pub draft: ActionDraft,
}

impl Reported<'_> {
    /// Whether the reporter holds the lease of `owner`. One that was taken without a name belongs to whoever
    /// reports on it, and one who says no name to whichever is its own.
    fn may_end(&self, owner: Option<&str>) -> bool {
        owner.is_some_and(|owner| match self.owner {
            Some(by) => owner == by || owner == self.prefix,
            None => owner.starts_with(self.prefix),
        })
    }
}

/// What became of a result.
#[derive(Clone, Debug)]
pub struct Report {
    /// The action it is about.
    pub id: i64,
    /// Where that stands now.
    pub phase: Phase,
    /// Whether the result is what ended it, now or when it was reported before.
    pub applied: bool,
    /// Ids and priorities of what became ready.
    pub ready: Vec<(i64, i64)>,
    /// What changed its status.
    pub moved: Option<Moved>,
}

type Stands = (String, String, Option<String>, Option<i64>, i64, Option<i64>, Option<i64>);

impl Store {
    /// Records a result.
    pub async fn report(&self, mut sent: Reported<'_>, now: Timestamp) -> Result<Report> {
        let found = match sent.action {
            Some(id) => self.target_of(id).await?.map(|target| (id, target)),
            None => None,
        };
        if let Some((id, target)) = found {
            return self.report_on(id, &target, &sent, now).await;
        }
        match self.record_unknown(&mut sent, now).await {
            // The same result arrived twice at once: the other one has been recorded.
            Err(Error::Conflict) => self.record_unknown(&mut sent, now).await,
            other => other,
        }
    }

    async fn target_of(&self, id: i64) -> Result<Option<String>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&LOOK);
        let row: Option<(String,)> = on!(&mut tx, c => sqlx::query_as(sql).bind(id).fetch_optional(c).await?);
        Ok(row.map(|(target,)| target))
    }

    async fn report_on(&self, id: i64, target: &str, sent: &Reported<'_>, now: Timestamp) -> Result<Report> {
        let mut tx = self.begin().await?;
        slot::lock(&mut tx, target).await?;
        let sql = tx.text(&STANDS);
        let stands: Stands = on!(&mut tx, c => sqlx::query_as(sql).bind(id).fetch_one(c).await?);
        let (word, kind, owner, fence, attempts, until, incident) = stands;
        let phase = rows::phase(&word)?;
        let its = sent.may_end(owner.as_deref()) && sent.attempt.is_none_or(|attempt| attempt == attempts);
        let mut report = Report { id, phase, applied: false, ready: Vec::new(), moved: None };
        let lent = until.is_some() && its;
        match (phase, fence) {
            (Phase::Running, Some(fence)) if lent && until.is_some_and(|until| until >= now.micros()) => {
                end(&mut tx, (id, fence), sent, now).await?;
                report.ready.extend(slot::leave(&mut tx, target, id, now).await?);
                report.moved = Some(Moved::to(target, &kind, sent.phase.wire()));
                (report.phase, report.applied) = (sent.phase, true);
                audit(&mut tx, (id, incident), sent, attempts, now).await?;
            }
            // Cancelled meanwhile: the remediator has let go of the target.
            (Phase::Cancelled, Some(fence)) if lent => {
                let sql = tx.text(&UNLEND);
                on!(&mut tx, c => sqlx::query(sql).bind(id).bind(fence).execute(c).await?.rows_affected());
                keep_late(&mut tx, id, owner.as_deref(), sent, now).await?;
                report.ready.extend(slot::leave(&mut tx, target, id, now).await?);
            }
            _ => {
                report.applied = applied_before(&mut tx, id, sent).await?;
                if !report.applied {
                    keep_late(&mut tx, id, sent.owner, sent, now).await?;
                }
            }
        }
        tx.commit().await?;
        Ok(report)
    }

    /// A result of a task we did not give out, or not any more: a finished action that touches no other.
    async fn record_unknown(&self, sent: &mut Reported<'_>, now: Timestamp) -> Result<Report> {
        let mut tx = self.begin().await?;
        let (look, add, record) = (tx.text(&REPORTED), tx.text(&ADD_REPORTED), tx.text(&RECORD));
        let known: Option<(i64,)> =
            on!(&mut tx, c => sqlx::query_as(look).bind(&sent.key).fetch_optional(c).await?);
        let phase = sent.phase;
        if let Some((id,)) = known {
            return Ok(Report { id, phase, applied: true, ready: Vec::new(), moved: None });
        }
        let id = ids::take(&mut tx, "action", 1).await?;
        on!(&mut tx, c => sqlx::query(add).bind(&sent.key).bind(id).bind(now.micros()).execute(c).await?.rows_affected());
        sent.draft.id = id;
        sent.draft.queued = false;
        add_action(&mut tx, &mut sent.draft, (None, sent.owner.unwrap_or(sent.prefix)), now).await?;
        on!(&mut tx, c => sqlx::query(record).bind(id).bind(phase.word()).bind(now.micros()).bind(&sent.error)
            .bind(sent.result.to_string()).execute(c).await?.rows_affected());
        audit(&mut tx, (id, None), sent, 0, now).await?;
        tx.commit().await?;
        let moved = Moved::to(&sent.draft.target, &sent.draft.kind, phase.wire());
        Ok(Report { id, phase, applied: true, ready: Vec::new(), moved: Some(moved) })
    }
}

async fn end(tx: &mut Tx, (id, fence): (i64, i64), sent: &Reported<'_>, now: Timestamp) -> Result<()> {
    let (report, attempt, result) = (tx.text(&REPORT), tx.text(&END_ATTEMPT), sent.result.to_string());
    let message = sent.error.as_deref().unwrap_or(&sent.details);
    on!(tx, c => sqlx::query(report).bind(id).bind(fence).bind(sent.phase.word()).bind(now.micros())
        .bind(&sent.details).bind(&sent.error).bind(&result).execute(c).await?.rows_affected());
    on!(tx, c => sqlx::query(attempt).bind(id).bind(fence).bind(now.micros()).bind(sent.outcome).bind(message)
        .bind(&result).execute(c).await?.rows_affected());
    Ok(())
}

async fn keep_late(
    tx: &mut Tx,
    id: i64,
    worker: Option<&str>,
    sent: &Reported<'_>,
    now: Timestamp,
) -> Result<()> {
    let sql = tx.text(&KEEP_LATE);
    on!(tx, c => sqlx::query(sql).bind(id).bind(worker.unwrap_or("")).bind(now.micros())
        .bind(sent.result.to_string()).execute(c).await?.rows_affected());
    Ok(())
}

async fn applied_before(tx: &mut Tx, id: i64, sent: &Reported<'_>) -> Result<bool> {
    let sql = tx.text(&APPLIED_BEFORE);
    let (count,): (i64,) =
        on!(tx, c => sqlx::query_as(sql).bind(id).bind(sent.result.to_string()).fetch_one(c).await?);
    Ok(count > 0)
}

async fn audit(
    tx: &mut Tx,
    (id, incident): (i64, Option<i64>),
    sent: &Reported<'_>,
    attempt: i64,
    now: Timestamp,
) -> Result<()> {
    let verb = if sent.phase == Phase::Succeeded { "action.completed" } else { "action.failed" };
    let facts = json!({"attempt": attempt, "outcome": sent.outcome, "reported": sent.result});
    let actor = sent.owner.unwrap_or("remediator");
    add_audit(tx, &Entry::action(actor, verb, id, incident, facts), now).await
}
