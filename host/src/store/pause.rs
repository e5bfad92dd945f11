//! The one switch that stops everything: while it is set no node makes an action, and none starts one. It is read in the
//! very transactions that would, so it holds everywhere at once and outlives restarts; only people end it, or the time
//! they gave.

use serde_json::json;

use super::ledger::lock_all;
use super::record::add_audit;
use super::sql::statements;
use super::{Result, Store, Tx, on};
use crate::domain::Timestamp;
use crate::domain::audit::Entry;

statements! { pub(super) STATEMENTS:
    STANDS = "SELECT since, until_at, actor, reason FROM pause
        WHERE since IS NOT NULL AND (until_at IS NULL OR until_at > $1)";
    SET = "UPDATE pause SET since = $1, until_at = $2, actor = $3, reason = $4 WHERE one = 1";
    END = "UPDATE pause SET since = NULL, until_at = NULL, actor = NULL, reason = NULL WHERE one = 1";
    RUNNING = "SELECT id FROM action WHERE state = 'running' ORDER BY id";
}

/// A pause that stands.
#[derive(Clone, Debug)]
pub struct Pause {
    /// Since when; a pause set again keeps its beginning.
    pub since: Timestamp,
    /// When it ends by itself; none: when somebody ends it.
    pub until: Option<Timestamp>,
    /// Who set it last.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl Store {
    /// The pause that stands, if one does.
    pub async fn paused(&self, now: Timestamp) -> Result<Option<Pause>> {
        stands(&mut self.reading().await?, now).await
    }

    /// Stops all automation, until then or until it is ended. Answers the pause, and the actions that were running.
    pub async fn pause(
        &self,
        until: Option<Timestamp>,
        (actor, reason): (&str, &str),
        now: Timestamp,
    ) -> Result<(Pause, Vec<i64>)> {
        let mut tx = self.begin().await?;
        lock_all(&mut tx).await?;
        let before = stands(&mut tx, now).await?;
        let since = before.as_ref().map_or(now, |pause| pause.since);
        let (set, running) = (tx.text(&SET), tx.text(&RUNNING));
        on!(&mut tx, c => sqlx::query(set).bind(since.micros()).bind(until.map(Timestamp::micros)).bind(actor)
            .bind(reason).execute(c).await?.rows_affected());
        let running: Vec<(i64,)> = on!(&mut tx, c => sqlx::query_as(running).fetch_all(c).await?);
        let facts = json!({"until": until, "reason": reason, "since": since, "running": running.len()});
        add_audit(&mut tx, &entry(actor, "automation.paused", facts), now).await?;
        tx.commit().await?;
        let pause = Pause { since, until, actor: actor.to_owned(), reason: reason.to_owned() };
        Ok((pause, running.into_iter().map(|(id,)| id).collect()))
    }

    /// Lets automation go on. Answers the pause that stood.
    pub async fn resume(&self, actor: &str, now: Timestamp) -> Result<Option<Pause>> {
        let mut tx = self.begin().await?;
        lock_all(&mut tx).await?;
        let Some(before) = stands(&mut tx, now).await? else { return Ok(None) };
        let sql = tx.text(&END);
        on!(&mut tx, c => sqlx::query(sql).execute(c).await?.rows_affected());
        let facts = json!({"since": before.since, "paused_by": before.actor, "reason": before.reason});
        add_audit(&mut tx, &entry(actor, "automation.resumed", facts), now).await?;
        tx.commit().await?;
        Ok(Some(before))
    }
}

/// The pause that stands as this transaction sees it.
pub(super) async fn stands(tx: &mut Tx, now: Timestamp) -> Result<Option<Pause>> {
    type Row = (i64, Option<i64>, Option<String>, Option<String>);
    let sql = tx.text(&STANDS);
    let row: Option<Row> = on!(tx, c => sqlx::query_as(sql).bind(now.micros()).fetch_optional(c).await?);
    Ok(row.map(|(since, until, actor, reason)| Pause {
        since: Timestamp::from_micros(since),
        until: until.map(Timestamp::from_micros),
        actor: actor.unwrap_or_default(),
        reason: reason.unwrap_or_default(),
    }))
}

fn entry(actor: &str, verb: &'static str, facts: serde_json::Value) -> Entry {
    Entry {
        actor: actor.to_owned(),
        verb,
        object: "automation",
        object_id: "all".to_owned(),
        incident_id: None,
        action_id: None,
        facts,
    }
}
