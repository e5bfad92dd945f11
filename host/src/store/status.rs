//! A person, or a program that works by itself, says where an action stands.

use serde_json::json;

use super::action::reserve;
use super::record::add_audit;
use super::sql::statements;
use super::{ApprovalRefused, Moved, Result, Store, Tx, on, rows, slot};
use crate::domain::Timestamp;
use crate::domain::action::{Phase, WireStatus};
use crate::domain::approval::State;
use crate::domain::audit::Entry;
use crate::domain::decide::Reason;

statements! { pub(super) STATEMENTS:
    WHAT = "SELECT target, kind FROM action WHERE id = $1";
    LOOK = "SELECT target FROM action WHERE id = $1";
    ASKED = "SELECT COUNT(*) FROM approval WHERE action_id = $1";
    STANDS = "SELECT state, kind, owner, queued, priority, incident_id FROM action WHERE id = $1{lock}";
    SET = "UPDATE action SET state = $3, completed_at = $4, run_at = $5, details = COALESCE($6, details),
        error_message = $7, running_since = CASE WHEN $3 = 'running' THEN $5 ELSE running_since END,
        owner = CASE WHEN $3 = 'running' THEN NULL ELSE owner END
        WHERE id = $1 AND state = $2";
    // Opened again by somebody: a fresh count of attempts, and the age of its event does not matter any more.
    REOPEN = "UPDATE action SET max_attempts = attempts + $2, crashes = 0, expires_at = NULL, result = NULL
        WHERE id = $1";
}

/// What is wanted of an action.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The status it is to have.
    pub status: WireStatus,
    /// For people; none: as they are.
    pub details: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// Attempts of an action that is opened again.
    pub max_attempts: i64,
    /// Who wants it.
    pub actor: &'a str,
}

/// What became of it.
#[derive(Clone, Debug)]
pub enum StatusSet {
    /// There is no such action.
    Missing,
    /// Not from this status, or not while somebody has a lease on it, in words.
    Refused(String),
    /// Not now, for this reason.
    Held(Reason),
    /// It has that status now.
    Done {
        /// The status before.
        before: WireStatus,
        /// Where it stands now.
        after: Phase,
        /// Ids and priorities of what became ready.
        ready: Vec<(i64, i64)>,
        /// What changed its status; none: it had it already.
        moved: Option<Moved>,
    },
}

/// Whether a status may follow another where nobody has a lease.
fn may_follow(before: WireStatus, after: WireStatus) -> bool {
    match before {
        WireStatus::Pending | WireStatus::Running => true,
        WireStatus::Failed => after == WireStatus::Pending,
        WireStatus::Completed | WireStatus::Cancelled => false,
    }
}

struct Stands {
    id: i64,
    target: String,
    phase: Phase,
    kind: String,
    owner: Option<String>,
    queued: bool,
    priority: i64,
    incident: Option<i64>,
}

impl Store {
    /// Gives an action a status, if the states allow it. An action under a lease can only be cancelled.
    pub async fn set_status(&self, id: i64, wanted: Wanted<'_>, now: Timestamp) -> Result<StatusSet> {
        let mut tx = self.begin().await?;
        // What everybody shares is locked before a slot is.
        let asks = wanted.status == WireStatus::Pending;
        let held = if asks { self.held_action(&mut tx, id, now).await? } else { None };
        let Some(stands) = stands(&mut tx, id).await? else { return Ok(StatusSet::Missing) };
        let before = stands.phase.wire();
        if before == wanted.status {
            return Ok(StatusSet::Done { before, after: stands.phase, ready: Vec::new(), moved: None });
        }
        if !may_follow(before, wanted.status) {
            return Ok(StatusSet::Refused(refusal(id, before, wanted.status)));
        }
        if stands.phase == Phase::Approval && wanted.status == WireStatus::Cancelled {
            drop(tx);
            return self.rejected(id, &wanted, now).await;
        }
        if let Some(refusal) = asked(&mut tx, &stands, wanted.status).await? {
            return Ok(StatusSet::Refused(refusal));
        }
        let leased = stands.phase == Phase::Running && stands.owner.is_some();
        if leased && wanted.status != WireStatus::Cancelled {
            let owner = stands.owner.as_deref().unwrap_or_default();
            let text = format!("Action {id} is running under the lease of {owner}; it can only be cancelled");
            return Ok(StatusSet::Refused(text));
        }
        if asks && stands.queued {
            if let Some(reason) = held {
                tx.commit().await?;
                return Ok(StatusSet::Held(reason));
            }
            reserve(&mut tx, id, (&stands.target, self.served_by(&stands.kind, &stands.target)), now).await?;
        }
        let (after, ready) = settle(&mut tx, &stands, &wanted, leased, now).await?;
        let facts = json!({"from": stands.phase.word(), "to": after.word(), "details": wanted.details,
            "error_message": wanted.error});
        let verb = if after == Phase::Cancelled { "action.cancelled" } else { "action.status_set" };
        add_audit(&mut tx, &Entry::action(wanted.actor, verb, id, stands.incident, facts), now).await?;
        tx.commit().await?;
        let moved = Some(Moved::to(&stands.target, &stands.kind, after.wire()));
        Ok(StatusSet::Done { before, after, ready, moved })
    }

    /// Why an action may not be queued again now, if there is a reason.
    async fn held_action(&self, tx: &mut Tx, id: i64, now: Timestamp) -> Result<Option<Reason>> {
        let sql = tx.text(&WHAT);
        let what: Option<(String, String)> =
            on!(tx, c => sqlx::query_as(sql).bind(id).fetch_optional(c).await?);
        let Some((target, kind)) = what else { return Ok(None) };
        self.held(tx, (&target, &kind), now).await
    }
}

impl Store {
    /// To cancel what waits for an approval is to say no.
    async fn rejected(&self, id: i64, wanted: &Wanted<'_>, now: Timestamp) -> Result<StatusSet> {
        let how = (State::Rejected, wanted.actor, wanted.details.as_deref().unwrap_or_default());
        Ok(match self.refuse_approval(id, how, now).await? {
            ApprovalRefused::Done(moved) => StatusSet::Done {
                before: WireStatus::Pending,
                after: Phase::Cancelled,
                ready: Vec::new(),
                moved: Some(moved),
            },
            ApprovalRefused::Missing => StatusSet::Missing,
            ApprovalRefused::Not(_) => {
                StatusSet::Refused(format!("Action {id} has just been answered; ask again"))
            }
        })
    }
}

fn refusal(id: i64, before: WireStatus, after: WireStatus) -> String {
    let (before, after) = (before.word(), after.word());
    let why = if before == "failed" { "it can only become pending again" } else { "that is final" };
    format!("Invalid status transition: action {id} is {before}, {why}; it can't become {after}")
}

/// What a status would do to an action that takes an approval, if that may not be.
async fn asked(tx: &mut Tx, stands: &Stands, wanted: WireStatus) -> Result<Option<String>> {
    let id = stands.id;
    if stands.phase == Phase::Approval {
        return Ok(Some(format!(
            "Action {id} waits for an approval: POST /api/v1/actions/{id}/approve or /reject, or cancel it"
        )));
    }
    if wanted != WireStatus::Pending {
        return Ok(None);
    }
    let sql = tx.text(&ASKED);
    let (count,): (i64,) = on!(tx, c => sqlx::query_as(sql).bind(id).fetch_one(c).await?);
    Ok((count > 0).then(|| {
        format!("Action {id} was approved once and has ended; it is not opened again, its policy asks anew")
    }))
}

async fn stands(tx: &mut Tx, id: i64) -> Result<Option<Stands>> {
    let (look, sql) = (tx.text(&LOOK), tx.text(&STANDS));
    let seen: Option<(String,)> = on!(tx, c => sqlx::query_as(look).bind(id).fetch_optional(c).await?);
    let Some((target,)) = seen else { return Ok(None) };
    slot::lock(tx, &target).await?;
    let row: (String, String, Option<String>, bool, i64, Option<i64>) =
        on!(tx, c => sqlx::query_as(sql).bind(id).fetch_one(c).await?);
    let (word, kind, owner, queued, priority, incident) = row;
    Ok(Some(Stands { id, target, phase: rows::phase(&word)?, kind, owner, queued, priority, incident }))
}

/// Writes the new state and sees to the target's slot.
async fn settle(
    tx: &mut Tx,
    stands: &Stands,
    wanted: &Wanted<'_>,
    leased: bool,
    now: Timestamp,
) -> Result<(Phase, Vec<(i64, i64)>)> {
    let (id, target) = (stands.id, stands.target.as_str());
    let mut ready = Vec::new();
    let after = match wanted.status {
        WireStatus::Completed => Phase::Succeeded,
        WireStatus::Failed => Phase::Dead,
        WireStatus::Cancelled => Phase::Cancelled,
        WireStatus::Running => {
            // It is said to run already, so a target that is busy does not change that.
            slot::enter(tx, target, id).await?;
            Phase::Running
        }
        WireStatus::Pending if !stands.queued => Phase::Held,
        WireStatus::Pending if slot::enter(tx, target, id).await? => Phase::Ready,
        WireStatus::Pending => Phase::Blocked,
    };
    let (set, reopen) = (tx.text(&SET), tx.text(&REOPEN));
    let ended = after.ended().then(|| now.micros());
    on!(tx, c => sqlx::query(set).bind(id).bind(stands.phase.word()).bind(after.word()).bind(ended)
        .bind(now.micros()).bind(&wanted.details).bind(&wanted.error).execute(c).await?.rows_affected());
    if wanted.status == WireStatus::Pending {
        on!(tx, c => sqlx::query(reopen).bind(id).bind(wanted.max_attempts).execute(c).await?.rows_affected());
    }
    // Of a cancelled attempt under a lease the target may still be working: its slot is freed when it ends.
    if (after.ended() && !leased) || after == Phase::Held {
        ready.extend(slot::leave(tx, target, id, now).await?);
    }
    if after == Phase::Ready {
        ready.push((id, stands.priority));
    }
    Ok((after, ready))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completed_and_cancelled_are_final_and_failed_opens_again() {
        let allowed: Vec<(&str, &str)> = WireStatus::ALL
            .into_iter()
            .flat_map(|before| WireStatus::ALL.map(|after| (before, after)))
            .filter(|(before, after)| before != after && may_follow(*before, *after))
            .map(|(before, after)| (before.word(), after.word()))
            .collect();
        let mut expected: Vec<(&str, &str)> = Vec::new();
        for before in ["pending", "running"] {
            let others = WireStatus::ALL.map(WireStatus::word).into_iter().filter(|after| *after != before);
            expected.extend(others.map(|after| (before, after)));
        }
        expected.push(("failed", "pending"));
        assert_eq!(allowed, expected);
    }
}
