//! Drifts: one row per episode of a resource, namespace and kind of drift, however often it is reported.

use super::sql::statements;
use super::{Error, Result, Store, ids, on, rows};
use crate::domain::Timestamp;

statements! { pub(super) STATEMENTS:
    AGAIN = "UPDATE drift SET reports = reports + 1, last_at = $4, severity = $5, details = $6,
        action_id = COALESCE($7, action_id)
        WHERE resource = $1 AND namespace = $2 AND kind = $3 AND resolved_at IS NULL";
    OPEN = "INSERT INTO drift (id, resource, namespace, kind, severity, manifest, details, event_id, action_id,
        reports, opened_at, last_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10, $10)";
    RESOLVE = "UPDATE drift SET resolved_at = $4, last_at = $4
        WHERE resource = $1 AND namespace = $2 AND (kind = $3 OR $3 = '') AND resolved_at IS NULL";
    LIST = "SELECT d.id, d.resource, d.details, d.opened_at, d.resolved_at, a.state, a.completed_at
        FROM drift d LEFT JOIN action a ON a.id = d.action_id ORDER BY d.opened_at DESC, d.id DESC LIMIT $1";
}

/// A report of a drift.
#[derive(Clone, Debug)]
pub struct Drifted {
    /// What has drifted.
    pub resource: String,
    /// Where.
    pub namespace: String,
    /// `missing`, `mismatch`, `unexpected` or the reporter's own word; empty for a resolution of any kind.
    pub kind: String,
    /// How bad.
    pub severity: String,
    /// The manifest that says what should be.
    pub manifest: String,
    /// For people, as JSON.
    pub details: String,
    /// The event that was stored for it.
    pub event_id: i64,
    /// The action that a policy made of it.
    pub action_id: Option<i64>,
    /// It is over.
    pub resolved: bool,
}

/// A drift as the API shows it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct DriftRow {
    /// Its id.
    pub id: i64,
    /// What has drifted.
    pub resource: String,
    /// For people, as JSON.
    pub details: String,
    opened_at: i64,
    resolved_at: Option<i64>,
    state: Option<String>,
    completed_at: Option<i64>,
}

impl DriftRow {
    /// The status in the words of actions: `completed` once resolved, else that of the action a policy made
    /// of it, else `pending`.
    pub fn status(&self) -> Result<&'static str> {
        if self.resolved_at.is_some() {
            return Ok("completed");
        }
        Ok(self.state.as_deref().map(rows::phase).transpose()?.map_or("pending", |phase| phase.wire().word()))
    }

    /// When it was first reported.
    #[must_use]
    pub fn opened_at(&self) -> Timestamp {
        Timestamp::from_micros(self.opened_at)
    }

    /// When it was resolved, or its action ended.
    #[must_use]
    pub fn completed_at(&self) -> Option<Timestamp> {
        rows::time(self.resolved_at.or(self.completed_at))
    }
}

impl Store {
    /// Records a report: a new drift, one more report of an open one, or its end.
    pub async fn drifted(&self, sent: &Drifted, now: Timestamp) -> Result<()> {
        match self.drifted_once(sent, now).await {
            // Two first reports at once: one is a repeat of the other.
            Err(Error::Conflict) => self.drifted_once(sent, now).await,
            other => other,
        }
    }

    async fn drifted_once(&self, sent: &Drifted, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        let (again, open, resolve) = (tx.text(&AGAIN), tx.text(&OPEN), tx.text(&RESOLVE));
        if sent.resolved {
            on!(&mut tx, c => sqlx::query(resolve).bind(&sent.resource).bind(&sent.namespace).bind(&sent.kind)
                .bind(now.micros()).execute(c).await?.rows_affected());
            return tx.commit().await;
        }
        let known = on!(&mut tx, c => sqlx::query(again).bind(&sent.resource).bind(&sent.namespace)
            .bind(&sent.kind).bind(now.micros()).bind(&sent.severity).bind(&sent.details).bind(sent.action_id)
            .execute(c).await?.rows_affected());
        if known == 0 {
            let id = ids::take(&mut tx, "drift", 1).await?;
            on!(&mut tx, c => sqlx::query(open).bind(id).bind(&sent.resource).bind(&sent.namespace)
                .bind(&sent.kind).bind(&sent.severity).bind(&sent.manifest).bind(&sent.details)
                .bind(sent.event_id).bind(sent.action_id).bind(now.micros()).execute(c).await?.rows_affected());
        }
        tx.commit().await
    }

    /// The last drifts, newest first.
    pub async fn drifts(&self, limit: i64) -> Result<Vec<DriftRow>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&LIST);
        Ok(on!(&mut tx, c => sqlx::query_as(sql).bind(limit).fetch_all(c).await?))
    }
}
