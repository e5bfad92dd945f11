//! Asked once more when an action's turn comes: does what led to it still hold? What does not is not started. It ends
//! `expired`, with the reason in words, and the target's next action gets its turn.

use super::claim::{Claimed, Task, expired};
use super::ingest::broken;
use super::record::add_audit;
use super::sql::statements;
use super::{Moved, Result, Store, Tx, on, slot};
use crate::domain::audit::Entry;
use crate::domain::event::Tags;
use crate::domain::mutant::{Fault, holds};
use crate::domain::policy::{Mode, Spec};
use crate::domain::silence::Subject;
use crate::domain::{Timestamp, WireStatus};

statements! { pub(super) STATEMENTS:
    STANDS = "SELECT p.spec, p.enabled, i.cleared_at, i.calm_at FROM action a LEFT JOIN policy p ON p.id = a.policy_id
        LEFT JOIN incident i ON i.id = a.incident_id WHERE a.id = $1";
    // Only what was never begun gives its try back.
    WITHHOLD = "UPDATE action SET state = 'expired', completed_at = $2, details = $3,
        withheld = CASE WHEN attempts = 0 THEN $4 END WHERE id = $1 AND state = 'ready'";
}

/// Why an action is not started.
struct Stale {
    /// One word.
    word: &'static str,
    /// In words.
    why: String,
}

impl Store {
    /// Ends a ready action that is not to be started any more. True: it has ended.
    pub(super) async fn stale(
        &self,
        tx: &mut Tx,
        task: &Task,
        now: Timestamp,
        claimed: &mut Claimed,
    ) -> Result<bool> {
        if !holds(Fault::Recheck) {
            return Ok(false);
        }
        if expired(tx, task, now, claimed).await? {
            return Ok(true);
        }
        // What people make, or open again, is theirs to judge; and a human is told whatever has become of the rest.
        if task.origin != "policy" || task.expires_at.is_none() {
            return Ok(false);
        }
        let Some(stale) = self.changed(tx, task, now).await? else { return Ok(false) };
        let (sql, details) = (tx.text(&WITHHOLD), format!("Expired: {}", stale.why));
        on!(&mut *tx, c => sqlx::query(sql).bind(task.id).bind(now.micros()).bind(&details).bind(stale.word)
            .execute(c).await?.rows_affected());
        let facts = serde_json::json!({"reason": details, "withheld": stale.word});
        add_audit(tx, &Entry::action("system", "action.expired", task.id, task.incident_id, facts), now)
            .await?;
        claimed.ready.extend(slot::leave(tx, &task.target, task.id, now).await?);
        claimed.moved.push(Moved::to(&task.target, &task.kind, WireStatus::Cancelled));
        Ok(true)
    }

    /// What has changed since a policy made this action.
    async fn changed(&self, tx: &mut Tx, task: &Task, now: Timestamp) -> Result<Option<Stale>> {
        type Row = (Option<String>, Option<bool>, Option<i64>, Option<i64>);
        let sql = tx.text(&STANDS);
        let (spec, enabled, cleared, calm): Row =
            on!(&mut *tx, c => sqlx::query_as(sql).bind(task.id).fetch_one(c).await?);
        let name = task.policy_name.as_deref().unwrap_or_default();
        let stale = |word, why| Ok(Some(Stale { word, why }));
        let Some(spec) = spec else { return stale("deleted", format!("policy {name} was deleted")) };
        let spec: Spec = serde_json::from_str(&spec).map_err(broken)?;
        if enabled != Some(true) {
            return stale("disabled", format!("policy {name} was disabled"));
        }
        if spec.mode == Mode::Observe {
            return stale("observe", format!("policy {name} was set to observe"));
        }
        if cleared.is_some() {
            return stale("cleared", "its incident is over".to_owned());
        }
        if let Some(since) = calm {
            let since = Timestamp::from_micros(since);
            return stale("cleared", format!("the condition of policy {name} is clear since {since}"));
        }
        let active = self.holding(tx, now).await?;
        let tags: Tags = serde_json::from_str(&task.labels).map_err(broken)?;
        let subject = Subject {
            policy: &spec.name,
            target: &task.target,
            severity: spec.severity.word(),
            action: &task.kind,
            tags: &tags,
        };
        Ok(active.holding(&subject).map(|held| Stale { word: "silenced", why: held.words() }))
    }
}
