//! The chain of facts behind an incident or an action.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::rows::{AttemptRow, CallRow, json, time};
use super::sql::statements;
use super::{Result, Store, Tx, on};
use crate::domain::Timestamp;
use crate::domain::silence::Held;

statements! { pub(super) STATEMENTS:
    DECISIONS = "SELECT at, last_at, event_id, verdict, reason, until_at, repeats, action_id, facts FROM decision
        WHERE incident_id = $1 ORDER BY id";
    SERIES = "SELECT name, target, tags FROM series WHERE id = $1";
    ACTIONS_OF = "SELECT id FROM action WHERE incident_id = $1 ORDER BY id";
    ATTEMPTS = "SELECT attempt, fence, worker, plugin, digest, started_at, ended_at, outcome, message, result, logs
        FROM attempt WHERE action_id = $1 ORDER BY fence";
    CALLS = "SELECT fence, n, connection, method, path, mutating, state, status, error, duration_us, body_hash
        FROM host_call
        WHERE action_id = $1 ORDER BY fence, n";
    AUDIT_OF_INCIDENT = "SELECT at, actor, verb, object, object_id, facts FROM audit WHERE incident_id = $1 ORDER BY id";
    AUDIT_OF_ACTION = "SELECT at, actor, verb, object, object_id, facts FROM audit WHERE action_id = $1 ORDER BY id";
}

/// An event as it was stored.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventFact {
    /// Its metric id.
    pub metric_id: i64,
    /// When it was observed.
    pub observed_at: Timestamp,
    /// The metric.
    pub name: String,
    /// What was observed.
    pub value: f64,
    /// What it is about.
    pub target: String,
    /// Its tags.
    pub tags: Value,
}

/// One decision of an incident, with how often it repeated.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DecisionFact {
    /// When it was first taken.
    pub at: Timestamp,
    /// When it last repeated.
    pub last_at: Timestamp,
    /// By which event.
    pub event_id: i64,
    /// `act`, `ask`, `suppress` or `hand_over`.
    pub decision: String,
    /// The reason's word.
    pub reason: Option<String>,
    /// Until when the reason holds.
    pub until: Option<Timestamp>,
    /// How often.
    pub times: i64,
    /// The action it made.
    pub action_id: Option<i64>,
    /// The silence that held it back, as it was then.
    pub silence: Option<Held>,
    /// The values it saw.
    pub saw: Value,
}

/// One audit entry.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditFact {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// Did what.
    pub verb: String,
    /// To what kind of thing.
    pub object: String,
    /// To which one.
    pub object_id: String,
    /// Why.
    pub facts: Value,
}

/// Everything that is known, in order.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// The event that began it.
    pub event: Option<EventFact>,
    /// What was decided.
    pub decisions: Vec<DecisionFact>,
    /// Each action with its attempts.
    pub actions: Vec<(i64, Vec<AttemptRow>)>,
    /// What was done.
    pub audit: Vec<AuditFact>,
}

impl Store {
    /// The chain behind an incident that `event_id` opened.
    pub async fn chain_of_incident(&self, id: i64, event_id: i64) -> Result<Chain> {
        let mut tx = self.reading().await?;
        let mut chain = Chain { event: event(&mut tx, event_id).await?, ..Chain::default() };
        chain.decisions = decisions(&mut tx, id).await?;
        let sql = tx.text(&ACTIONS_OF);
        let actions: Vec<(i64,)> = on!(&mut tx, c => sqlx::query_as(sql).bind(id).fetch_all(c).await?);
        for (action,) in actions {
            chain.actions.push((action, attempts(&mut tx, action).await?));
        }
        let sql = tx.text(&AUDIT_OF_INCIDENT);
        let rows: Vec<AuditRow> = on!(&mut tx, c => sqlx::query_as(sql).bind(id).fetch_all(c).await?);
        chain.audit = rows.into_iter().map(audit).collect();
        Ok(chain)
    }

    /// The chain behind an action.
    pub async fn chain_of_action(&self, id: i64, event_id: Option<i64>) -> Result<Chain> {
        let mut tx = self.reading().await?;
        let mut chain = Chain::default();
        if let Some(event_id) = event_id {
            chain.event = event(&mut tx, event_id).await?;
        }
        chain.actions.push((id, attempts(&mut tx, id).await?));
        let sql = tx.text(&AUDIT_OF_ACTION);
        let rows: Vec<AuditRow> = on!(&mut tx, c => sqlx::query_as(sql).bind(id).fetch_all(c).await?);
        chain.audit = rows.into_iter().map(audit).collect();
        Ok(chain)
    }

    /// The attempts of an action, with their calls.
    pub async fn attempts(&self, action: i64) -> Result<Vec<AttemptRow>> {
        let mut tx = self.reading().await?;
        attempts(&mut tx, action).await
    }
}

type AuditRow = (i64, String, String, String, String, String);

fn audit((at, actor, verb, object, object_id, facts): AuditRow) -> AuditFact {
    AuditFact { at: Timestamp::from_micros(at), actor, verb, object, object_id, facts: json(&facts) }
}

async fn event(tx: &mut Tx, id: i64) -> Result<Option<EventFact>> {
    let Some(sample) = super::samples::sample(tx, id).await? else { return Ok(None) };
    let sql = tx.text(&SERIES);
    let row: Option<(String, String, String)> =
        on!(tx, c => sqlx::query_as(sql).bind(sample.series_id).fetch_optional(c).await?);
    Ok(row.map(|(name, target, tags)| EventFact {
        metric_id: sample.id,
        observed_at: sample.observed_at,
        name,
        value: sample.value,
        target,
        tags: json(&tags),
    }))
}

/// A silence as a decision wrote it down.
fn held_by(fact: &Value) -> Option<Held> {
    let text = |member: &str| fact[member].as_str().map(str::to_owned);
    let until = Timestamp::parse(fact["until"].as_str()?)?;
    Some(Held { id: fact["id"].as_i64()?, author: text("author")?, comment: text("comment")?, until })
}

async fn decisions(tx: &mut Tx, incident: i64) -> Result<Vec<DecisionFact>> {
    type Row = (i64, i64, i64, String, Option<String>, Option<i64>, i64, Option<i64>, String);
    let sql = tx.text(&DECISIONS);
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(sql).bind(incident).fetch_all(c).await?);
    Ok(rows
        .into_iter()
        .map(|(at, last_at, event_id, decision, reason, until, times, action_id, facts)| {
            let mut saw = json(&facts);
            let held = saw.as_object_mut().and_then(|saw| saw.remove("silence"));
            let silence = held.as_ref().and_then(held_by);
            DecisionFact {
                at: Timestamp::from_micros(at),
                last_at: Timestamp::from_micros(last_at),
                event_id,
                decision,
                reason,
                until: time(until),
                times,
                action_id,
                silence,
                saw,
            }
        })
        .collect())
}

#[derive(sqlx::FromRow)]
struct Row {
    attempt: i64,
    fence: i64,
    worker: String,
    plugin: Option<String>,
    digest: Option<String>,
    started_at: i64,
    ended_at: Option<i64>,
    outcome: Option<String>,
    message: Option<String>,
    result: Option<String>,
    logs: Option<String>,
}

async fn attempts(tx: &mut Tx, action: i64) -> Result<Vec<AttemptRow>> {
    let (sql, calls_sql) = (tx.text(&ATTEMPTS), tx.text(&CALLS));
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(sql).bind(action).fetch_all(c).await?);
    let calls: Vec<CallRow> = on!(tx, c => sqlx::query_as(calls_sql).bind(action).fetch_all(c).await?);
    Ok(rows
        .into_iter()
        .map(|row| AttemptRow {
            attempt: row.attempt,
            fence: row.fence,
            worker: row.worker,
            plugin: row.plugin,
            digest: row.digest,
            started_at: Timestamp::from_micros(row.started_at),
            ended_at: time(row.ended_at),
            outcome: row.outcome,
            message: row.message,
            result: row.result.as_deref().map_or(Value::Null, json),
            logs: row.logs.as_deref().map_or(Value::Null, json),
            calls: calls.iter().filter(|call| call.fence == row.fence).cloned().collect(),
        })
        .collect())
}
