//! What actions would do, as plan mode has found it. Whoever records one holds its target's partition, so that a yes sees
//! either the plan before or the plan after.

use serde_json::json;

use super::approval::lock_home;
use super::ingest::broken;
use super::record::add_audit;
use super::sql::statements;
use super::{Error, Result, Store, Task, on};
use crate::domain::audit::Entry;
use crate::domain::plan::PlanReport;

statements! { pub(super) STATEMENTS:
    TASK = "SELECT a.id, a.execution_id, a.kind, a.target, a.target_kind, a.namespace, a.labels, a.params,
        a.attempts, a.max_attempts, a.timeout_us, a.incident_id, a.event_id, a.policy_name, a.origin, a.priority, a.state,
        a.created_at, a.expires_at, p.state AS approval_state, p.plan AS approval_plan, p.plan_hash AS approval_hash,
        (SELECT q.version FROM policy q WHERE q.id = p.policy_id AND q.enabled) AS policy_now
        FROM action a LEFT JOIN approval p ON p.action_id = a.id WHERE a.id = $1";
    KEEP = "INSERT INTO action_plan (action_id, at, basis, calls, report) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (action_id) DO UPDATE SET at = excluded.at, basis = excluded.basis, calls = excluded.calls,
        report = excluded.report";
    KEPT = "SELECT report FROM action_plan WHERE action_id = $1";
}

impl Store {
    /// An action as its plugin would be asked to carry it out.
    pub async fn task(&self, action: i64) -> Result<Option<Task>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&TASK);
        Ok(on!(&mut tx, c => sqlx::query_as(sql).bind(action).fetch_optional(c).await?))
    }

    /// Notes that an action was planned. Of one that exists the report is kept in place of the one before; `basis` is the
    /// hash of what it was made of.
    pub async fn keep_plan(&self, report: &PlanReport, basis: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        let facts = json!({"action": report.action, "target": report.target, "plugin": report.plugin,
            "digest": report.digest, "hash": report.hash, "outcome": report.outcome.kind,
            "mutating": report.mutating.len()});
        let entry = match report.action_id {
            None => Entry {
                object_id: report.target.clone(),
                action_id: None,
                object: "target",
                ..Entry::action(&report.by, "action.planned", 0, None, facts)
            },
            Some(id) => {
                if !lock_home(&mut tx, id).await? {
                    return Ok(());
                }
                let text = |wrong: serde_json::Error| Error::Data(wrong.to_string());
                let calls = report.binding.then(|| serde_json::to_string(&report.calls()).map_err(text));
                let (sql, calls) = (tx.text(&KEEP), calls.transpose()?);
                let whole = serde_json::to_string(report).map_err(text)?;
                on!(&mut tx, c => sqlx::query(sql).bind(id).bind(report.at.micros()).bind(basis).bind(calls).bind(whole)
                    .execute(c).await?.rows_affected());
                Entry::action(&report.by, "action.planned", id, None, facts)
            }
        };
        add_audit(&mut tx, &entry, report.at).await?;
        tx.commit().await
    }

    /// What an action would do, as it was found when it was last asked.
    pub async fn plan_of(&self, action: i64) -> Result<Option<PlanReport>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&KEPT);
        let found: Option<(String,)> =
            on!(&mut tx, c => sqlx::query_as(sql).bind(action).fetch_optional(c).await?);
        found.map(|(text,)| serde_json::from_str(&text).map_err(broken)).transpose()
    }
}
