//! The mutex of a target: one row whose head is the one action that may run.

use super::sql::statements;
use super::{Result, Tx, on};
use crate::domain::Timestamp;
use crate::domain::mutant::{Fault, holds};

statements! { pub(super) STATEMENTS:
    ENTER = "INSERT INTO slot (target, head, fence) VALUES ($1, $2, 0)
        ON CONFLICT (target) DO UPDATE SET head = COALESCE(slot.head, excluded.head) RETURNING head";
    LOCK = "SELECT head FROM slot WHERE target = $1{lock}";
    NEXT = "SELECT id, priority FROM action WHERE target = $1 AND state = 'blocked' ORDER BY priority, id LIMIT 1";
    PROMOTE = "UPDATE action SET state = 'ready', run_at = $2 WHERE id = $1 AND state = 'blocked'";
    SET_HEAD = "UPDATE slot SET head = $2 WHERE target = $1";
    EMPTY = "SELECT DISTINCT a.target FROM action a JOIN slot s ON s.target = a.target
        WHERE a.state = 'blocked' AND s.head IS NULL LIMIT 100";
    HOMELESS = "SELECT a.target, a.id, a.priority FROM action a JOIN slot s ON s.target = a.target
        WHERE a.state = 'ready' AND NOT a.simulated AND s.head IS NULL ORDER BY a.target, a.priority, a.id LIMIT 100";
}

/// Enters `action` into its target's slot. True: it has the slot and may run.
pub(super) async fn enter(tx: &mut Tx, target: &str, action: i64) -> Result<bool> {
    let sql = tx.text(&ENTER);
    let (head,): (Option<i64>,) =
        on!(tx, c => sqlx::query_as(sql).bind(target).bind(action).fetch_one(c).await?);
    Ok(head == Some(action))
}

/// Locks the slot row of `target` and answers its head.
pub(super) async fn lock(tx: &mut Tx, target: &str) -> Result<Option<i64>> {
    let sql = tx.text(&LOCK);
    let row: Option<(Option<i64>,)> = on!(tx, c => sqlx::query_as(sql).bind(target).fetch_optional(c).await?);
    Ok(row.and_then(|(head,)| head))
}

/// Takes `action` out of the slot, if it is the head, and lets the next one in. Answers the action that
/// became ready, with its priority.
///
/// Two statements on purpose: in one, PostgreSQL looks for the next action in a snapshot from before the
/// slot was locked, and an action blocked in between waits for ever.
pub(super) async fn leave(
    tx: &mut Tx,
    target: &str,
    action: i64,
    now: Timestamp,
) -> Result<Option<(i64, i64)>> {
    let head = lock(tx, target).await?;
    if head.is_some_and(|head| head != action) && holds(Fault::Leave) {
        return Ok(None);
    }
    fill(tx, target, now).await
}

async fn fill(tx: &mut Tx, target: &str, now: Timestamp) -> Result<Option<(i64, i64)>> {
    let (next, promote, set) = (tx.text(&NEXT), tx.text(&PROMOTE), tx.text(&SET_HEAD));
    let found: Option<(i64, i64)> = on!(tx, c => sqlx::query_as(next).bind(target).fetch_optional(c).await?);
    if let Some((id, _)) = found {
        on!(tx, c => sqlx::query(promote).bind(id).bind(now.micros()).execute(c).await?.rows_affected());
    }
    on!(tx, c => sqlx::query(set).bind(target).bind(found.map(|(id, _)| id)).execute(c).await?.rows_affected());
    Ok(found)
}

/// Second line of defence: fills slots that are empty although somebody waits, what is ready first. Answers
/// what became ready.
pub(super) async fn fill_empty(tx: &mut Tx, now: Timestamp) -> Result<Vec<(i64, i64)>> {
    let (sql, homeless, set) = (tx.text(&EMPTY), tx.text(&HOMELESS), tx.text(&SET_HEAD));
    let lost: Vec<(String, i64, i64)> = on!(tx, c => sqlx::query_as(homeless).fetch_all(c).await?);
    for (target, id, _) in lost {
        if lock(tx, &target).await?.is_none() {
            on!(tx, c => sqlx::query(set).bind(&target).bind(id).execute(c).await?.rows_affected());
        }
    }
    let targets: Vec<(String,)> = on!(tx, c => sqlx::query_as(sql).fetch_all(c).await?);
    let mut ready = Vec::new();
    let mut targets: Vec<String> = targets.into_iter().map(|(target,)| target).collect();
    targets.sort();
    for target in targets {
        if lock(tx, &target).await?.is_none() {
            ready.extend(fill(tx, &target, now).await?);
        }
    }
    Ok(ready)
}
