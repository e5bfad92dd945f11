//! Actions and incidents as the API shows them. Lists of them are in [`list`](super::list).

use serde_json::Value;

use super::sql::statements;
use super::{Result, Store, on, rows};
use crate::domain::{Phase, Timestamp};

statements! { pub(super) STATEMENTS:
    ACTION = "SELECT id, execution_id, incident_id, policy_name, event_id, origin, kind, target, namespace, params,
        priority, state, simulated, queued, attempts, max_attempts, run_at, plugin, digest, effects, created_at,
        running_since, completed_at, details, error_message, owner, lease_until, result, step, verdict FROM action WHERE id = $1";
    INCIDENT = "SELECT id, policy_name, policy_version, severity, target, state, opened_at, closed_at, cleared_at,
        event_id, last_event_id, last_violated_at, violations, actions, last_action_id, reason, evidence, simulated
        FROM incident WHERE id = $1";
    OPEN_COUNT = "SELECT COUNT(*) FROM incident WHERE cleared_at IS NULL AND simulated = FALSE";
    DEPTH = "SELECT COUNT(*) FROM action WHERE state IN ('ready', 'blocked', 'scheduled') AND NOT simulated";
}

/// An action as the API shows it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ActionRow {
    /// Its id.
    pub id: i64,
    /// Stable over its attempts.
    pub execution_id: String,
    /// Its incident.
    pub incident_id: Option<i64>,
    /// Its policy.
    pub policy_name: Option<String>,
    /// Its event.
    pub event_id: Option<i64>,
    /// `policy`, `api` or `simulator`.
    pub origin: String,
    /// What to do.
    pub kind: String,
    /// On what.
    pub target: String,
    /// The target's namespace.
    pub namespace: Option<String>,
    /// Parameters as JSON.
    pub params: String,
    /// 0 runs first.
    pub priority: i64,
    state: String,
    /// Has no outside effect.
    pub simulated: bool,
    /// Was put in the queue.
    pub queued: bool,
    /// Attempts it has had.
    pub attempts: i64,
    /// Attempts it may have.
    pub max_attempts: i64,
    run_at: i64,
    /// The plugin of its last attempt.
    pub plugin: Option<String>,
    /// The plugin's digest.
    pub digest: Option<String>,
    /// What may be done when the outcome is unknown.
    pub effects: Option<String>,
    created_at: i64,
    running_since: Option<i64>,
    completed_at: Option<i64>,
    /// For people.
    pub details: Option<String>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// Who has it or had it last: a worker's process, or a remediator.
    pub owner: Option<String>,
    lease_until: Option<i64>,
    result: Option<String>,
    /// Which step of its policy's ladder it is, from 0.
    pub step: Option<i64>,
    /// `healed`, `not_healed` or `unknown`, once that is known.
    pub verdict: Option<String>,
}

impl ActionRow {
    /// Where it stands.
    pub fn phase(&self) -> Result<Phase> {
        rows::phase(&self.state)
    }

    /// When it was made.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        Timestamp::from_micros(self.created_at)
    }

    /// When its last attempt began.
    #[must_use]
    pub fn running_since(&self) -> Option<Timestamp> {
        rows::time(self.running_since)
    }

    /// When it ended.
    #[must_use]
    pub fn completed_at(&self) -> Option<Timestamp> {
        rows::time(self.completed_at)
    }

    /// When its next attempt is due.
    #[must_use]
    pub fn run_at(&self) -> Timestamp {
        Timestamp::from_micros(self.run_at)
    }

    /// Until when a remediator's lease on it holds.
    #[must_use]
    pub fn lease_until(&self) -> Option<Timestamp> {
        rows::time(self.lease_until)
    }

    /// What a remediator reported of it.
    #[must_use]
    pub fn result(&self) -> Option<Value> {
        self.result.as_deref().map(rows::json)
    }

    /// Its parameters.
    #[must_use]
    pub fn params(&self) -> Value {
        rows::json(&self.params)
    }
}

/// An incident as the API shows it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct IncidentRow {
    /// Its id.
    pub id: i64,
    /// Its policy.
    pub policy_name: String,
    /// The policy's version when it opened.
    pub policy_version: i64,
    /// How bad.
    pub severity: String,
    /// On what.
    pub target: String,
    /// `open`, `healed`, `expired` or `handed_over`.
    pub state: String,
    /// Microseconds.
    pub opened_at: i64,
    /// Microseconds.
    pub closed_at: Option<i64>,
    /// Microseconds.
    pub cleared_at: Option<i64>,
    /// The event that opened it.
    pub event_id: i64,
    /// The last event that violated it.
    pub last_event_id: i64,
    /// Microseconds.
    pub last_violated_at: i64,
    /// How often it was violated.
    pub violations: i64,
    /// Actions it made.
    pub actions: i64,
    /// The last of them.
    pub last_action_id: Option<i64>,
    /// The word of its latest decision.
    pub reason: Option<String>,
    /// JSON: what the condition saw.
    pub evidence: String,
    /// Of the simulated target of that name.
    pub simulated: bool,
}

impl Store {
    /// One action.
    pub async fn action(&self, id: i64) -> Result<Option<ActionRow>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&ACTION);
        Ok(on!(&mut tx, c => sqlx::query_as(sql).bind(id).fetch_optional(c).await?))
    }

    /// One incident.
    pub async fn incident(&self, id: i64) -> Result<Option<IncidentRow>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&INCIDENT);
        Ok(on!(&mut tx, c => sqlx::query_as(sql).bind(id).fetch_optional(c).await?))
    }

    /// Incidents that have not cleared, and actions that wait in the queue.
    pub async fn gauges(&self) -> Result<(i64, i64)> {
        let mut tx = self.reading().await?;
        let (open, depth) = (tx.text(&OPEN_COUNT), tx.text(&DEPTH));
        let (incidents,): (i64,) = on!(&mut tx, c => sqlx::query_as(open).fetch_one(c).await?);
        let (queued,): (i64,) = on!(&mut tx, c => sqlx::query_as(depth).fetch_one(c).await?);
        Ok((incidents, queued))
    }
}
