//! Processes and their heartbeats.

use super::sql::statements;
use super::{Result, Store, on};
use crate::domain::Timestamp;

statements! { pub(super) STATEMENTS:
    JOIN_CLUSTER = "INSERT INTO node (boot_id, name, hb, draining, started_at) VALUES ($1, $2, 0, FALSE, $3)";
    BEAT = "UPDATE node SET hb = hb + 1 WHERE boot_id = $1";
    LEAVE = "DELETE FROM node WHERE boot_id = $1";
    OWNERS = "SELECT COALESCE(n.boot_id, a.owner), n.hb FROM node n
        FULL OUTER JOIN (SELECT DISTINCT owner FROM action
            WHERE state = 'running' AND owner IS NOT NULL AND lease_until IS NULL) a ON a.owner = n.boot_id";
}

impl Store {
    /// A process begins under a boot id of its own.
    pub async fn join(&self, boot_id: &str, name: &str, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        let sql = tx.text(&JOIN_CLUSTER);
        on!(&mut tx, c => sqlx::query(sql).bind(boot_id).bind(name).bind(now.micros()).execute(c).await?.rows_affected());
        tx.commit().await
    }

    /// Counts one heartbeat. False: somebody has rescued this process's actions and removed it.
    pub async fn beat(&self, boot_id: &str) -> Result<bool> {
        let mut tx = self.begin().await?;
        let sql = tx.text(&BEAT);
        let rows = on!(&mut tx, c => sqlx::query(sql).bind(boot_id).execute(c).await?.rows_affected());
        tx.commit().await?;
        Ok(rows > 0)
    }

    /// A process ends by itself; nobody needs to wait for its lease.
    pub async fn leave(&self, boot_id: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        let sql = tx.text(&LEAVE);
        on!(&mut tx, c => sqlx::query(sql).bind(boot_id).execute(c).await?.rows_affected());
        tx.commit().await
    }

    /// Every process that is known or owns a running action (remediators are none), with its heartbeat counter (none: not in the
    /// table any more).
    pub async fn owners(&self) -> Result<Vec<(String, Option<i64>)>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&OWNERS);
        Ok(on!(&mut tx, c => sqlx::query_as(sql).fetch_all(c).await?))
    }
}
