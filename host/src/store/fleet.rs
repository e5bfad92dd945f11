//! The targets that send samples, and how many of a policy's are violated at once.

use super::ingest::Writing;
use super::plan::Plan;
use super::sql::statements;
use super::{Result, Tx, on, rows};
use crate::domain::Timestamp;

statements! { pub(super) STATEMENTS:
    NOTE = "INSERT INTO fleet (target, seen_at) VALUES ($1, $2)
        ON CONFLICT (target) DO UPDATE SET seen_at = excluded.seen_at";
    FLEET = "SELECT target FROM fleet WHERE seen_at > $1";
    TOUCHED = "SELECT target FROM reservation WHERE at > $1";
    TOUCHES = "SELECT COUNT(*) FROM reservation WHERE at > $1";
    SICK = "SELECT COUNT(DISTINCT target), (SELECT seen_at FROM storm WHERE policy_id = $1) FROM incident
        WHERE policy_id = $1 AND cleared_at IS NULL AND simulated = FALSE";
    STORM = "INSERT INTO storm (policy_id, seen_at) VALUES ($1, $2)
        ON CONFLICT (policy_id) DO UPDATE SET seen_at = excluded.seen_at";
}

impl Writing {
    /// The names of the real targets that have sent samples since then.
    pub async fn fleet(&mut self, since: Timestamp) -> Result<Vec<String>> {
        let tx = self.begun().await?;
        let sql = tx.text(&FLEET);
        let rows: Vec<(String,)> = on!(tx, c => sqlx::query_as(sql).bind(since.micros()).fetch_all(c).await?);
        Ok(rows.into_iter().map(|(target,)| target).collect())
    }

    /// How many actions were reserved since then, by whom ever.
    pub async fn touches(&mut self, since: Timestamp) -> Result<u32> {
        let tx = self.begun().await?;
        let sql = tx.text(&TOUCHES);
        let (count,): (i64,) = on!(tx, c => sqlx::query_as(sql).bind(since.micros()).fetch_one(c).await?);
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// The target of each action that was reserved since then, by whom ever.
    pub async fn touched(&mut self, since: Timestamp) -> Result<Vec<String>> {
        let tx = self.begun().await?;
        let sql = tx.text(&TOUCHED);
        let rows: Vec<(String,)> = on!(tx, c => sqlx::query_as(sql).bind(since.micros()).fetch_all(c).await?);
        Ok(rows.into_iter().map(|(target,)| target).collect())
    }

    /// How many targets of a policy are violated, and when they were last too many.
    pub async fn sick(&mut self, policy: i64) -> Result<(u32, Option<Timestamp>)> {
        let tx = self.begun().await?;
        let sql = tx.text(&SICK);
        let (count, storm): (i64, Option<i64>) =
            on!(tx, c => sqlx::query_as(sql).bind(policy).fetch_one(c).await?);
        Ok((u32::try_from(count).unwrap_or(u32::MAX), rows::time(storm)))
    }
}

/// Writes down who is alive and what storms.
pub(super) async fn note(tx: &mut Tx, plan: &Plan) -> Result<()> {
    let (note, storm) = (tx.text(&NOTE), tx.text(&STORM));
    for target in &plan.seen {
        on!(tx, c => sqlx::query(note).bind(&**target).bind(plan.now.micros()).execute(c).await?.rows_affected());
    }
    for policy in &plan.storms {
        on!(tx, c => sqlx::query(storm).bind(*policy).bind(plan.now.micros()).execute(c).await?.rows_affected());
    }
    Ok(())
}
