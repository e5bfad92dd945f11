//! What limits how fast things are done: what has not been seen to help yet, what has, and what plugins and retries have
//! spent. Read under lock in the transaction that may add to it.

use serde_json::Value;

use super::fleet::Located;
use super::ingest::Writing;
use super::sql::statements;
use super::{Result, Tx, ledger, on, rows};
use crate::domain::Timestamp;
use crate::domain::fleet::Domains;
use crate::domain::guardrails::Everywhere;
use crate::domain::pace::{Achieved, Budget, Share};
use crate::domain::policy::Spec;

statements! { pub(super) STATEMENTS:
    // What tells a human is nobody's remedy; what is held has not begun. Of what nobody knows the end the slot's time counts.
    UNPROVEN = "SELECT a.target, COALESCE(f.domains, '{}'), a.policy_id FROM action a
        LEFT JOIN fleet f ON f.target = a.target
        WHERE a.completed_at IS NULL AND a.state <> 'held' AND a.simulated = FALSE
        AND (a.step IS NOT NULL OR a.policy_id IS NULL)
        UNION ALL SELECT a.target, COALESCE(f.domains, '{}'), a.policy_id FROM incident i
        JOIN action a ON a.id = i.last_action_id LEFT JOIN fleet f ON f.target = a.target
        WHERE i.cleared_at IS NULL AND i.simulated = FALSE AND i.state = 'open' AND a.state = 'succeeded'
        AND a.verdict IS NULL
        UNION ALL SELECT a.target, COALESCE(f.domains, '{}'), a.policy_id FROM action a
        LEFT JOIN fleet f ON f.target = a.target WHERE a.state = 'uncertain' AND a.completed_at > $1";
    HELPED = "SELECT CAST(CASE WHEN state = 'succeeded' AND verdict = 'healed' THEN 1 ELSE 0 END AS BIGINT) FROM action
        WHERE policy_id = $1 AND step IS NOT NULL AND completed_at IS NOT NULL AND completed_at > $2
        AND simulated = FALSE AND (state IN ('dead', 'uncertain') OR (state = 'succeeded' AND verdict IS NOT NULL))
        ORDER BY completed_at DESC, id DESC LIMIT $3";
    ACHIEVED = "SELECT step, kind, params, COUNT(CASE WHEN verdict = 'healed' THEN 1 END), COUNT(*) FROM action
        WHERE policy_id = $1 AND step IS NOT NULL AND completed_at IS NOT NULL AND completed_at > $2
        AND simulated = FALSE AND verdict IN ('healed', 'not_healed') GROUP BY step, kind, params";
    SHARE = "SELECT COUNT(*), MIN(at) FROM reservation WHERE plugin = $1 AND at > $2";
    OLD_RETRIES = "DELETE FROM retry WHERE at <= $1";
    RETRIES = "SELECT COUNT(*) FROM retry WHERE at > $1";
    RETRY = "INSERT INTO retry (action_id, attempt, at) VALUES ($1, $2, $3) ON CONFLICT (action_id, attempt) DO NOTHING";
}

/// How long an action of unknown outcome may still be at work: as long as it keeps its target's slot.
const UNCERTAIN: std::time::Duration = std::time::Duration::from_mins(30);

/// An action that is not known to have helped, and whose it is: a policy's, or nobody's.
#[derive(Clone, Debug)]
pub(crate) struct Unproven {
    /// Its target and where that is.
    pub at: Located,
    /// Its policy.
    pub policy: Option<i64>,
}

impl Writing {
    /// The actions that have not ended, or ended and are not judged yet.
    pub(crate) async fn unproven(&mut self, now: Timestamp) -> Result<Vec<Unproven>> {
        let tx = self.begun().await?;
        let sql = tx.text(&UNPROVEN);
        let rows: Vec<(String, String, Option<i64>)> =
            on!(tx, c => sqlx::query_as(sql).bind(now.before(UNCERTAIN).micros()).fetch_all(c).await?);
        let one = |(target, domains, policy): (String, String, Option<i64>)| {
            let at = (target, Domains::read(&domains));
            Unproven { at, policy }
        };
        Ok(rows.into_iter().map(one).collect())
    }

    /// How many of the policy's latest actions helped, one after the other, of at most `most` that ended since then.
    pub async fn helped(&mut self, policy: i64, since: Timestamp, most: u32) -> Result<u32> {
        let tx = self.begun().await?;
        let sql = tx.text(&HELPED);
        let rows: Vec<(i64,)> = on!(tx, c => sqlx::query_as(sql).bind(policy).bind(since.micros())
            .bind(i64::from(most)).fetch_all(c).await?);
        Ok(u32::try_from(rows.iter().take_while(|(helped,)| *helped == 1).count()).unwrap_or(u32::MAX))
    }

    /// What each step of the policy, as it is now, has achieved since then.
    pub async fn achieved(&mut self, policy: (i64, &Spec), since: Timestamp) -> Result<Vec<Achieved>> {
        let tx = self.begun().await?;
        let sql = tx.text(&ACHIEVED);
        let rows: Vec<(i64, String, String, i64, i64)> =
            on!(tx, c => sqlx::query_as(sql).bind(policy.0).bind(since.micros()).fetch_all(c).await?);
        let number = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
        let mut achieved = Vec::new();
        for step in 0.. {
            let Some(rung) = policy.1.rung(step) else { break };
            // A step that does something else now begins anew.
            let same = |params: &str| {
                serde_json::from_str::<Value>(params)
                    .is_ok_and(|params| params.as_object() == Some(rung.params))
            };
            let mine = rows.iter().filter(|(at, kind, params, ..)| {
                usize::try_from(*at) == Ok(step) && kind == rung.action && same(params)
            });
            achieved.push(mine.fold(Achieved::default(), |sum, (.., healed, tried)| Achieved {
                healed: sum.healed.saturating_add(number(*healed)),
                tried: sum.tried.saturating_add(number(*tried)),
            }));
        }
        Ok(achieved)
    }

    /// What a plugin has done of its budget.
    pub async fn share(&mut self, plugin: &str, budget: Budget, now: Timestamp) -> Result<Share> {
        share(self.begun().await?, plugin, budget, now).await
    }
}

/// See [`Writing::share`]; whoever asks holds the lock of what everybody shares.
pub(super) async fn share(tx: &mut Tx, plugin: &str, budget: Budget, now: Timestamp) -> Result<Share> {
    let (sql, since) = (tx.text(&SHARE), now.before(budget.window).micros());
    let (used, first): (i64, Option<i64>) =
        on!(tx, c => sqlx::query_as(sql).bind(plugin).bind(since).fetch_one(c).await?);
    let until = rows::time(first).map(|at| at.after(budget.window));
    let used = u32::try_from(used).unwrap_or(u32::MAX);
    Ok(Share { plugin: plugin.into(), used, limit: budget.max_actions, until })
}

/// Grants one more attempt if there is one left in the window. It locks what everybody shares: before any incident or slot.
pub(super) async fn retry(
    tx: &mut Tx,
    everywhere: &Everywhere,
    (action, attempt): (i64, i64),
    now: Timestamp,
) -> Result<bool> {
    ledger::lock_all(tx).await?;
    let (old, count, add) = (tx.text(&OLD_RETRIES), tx.text(&RETRIES), tx.text(&RETRY));
    let since = now.before(everywhere.window).micros();
    on!(&mut *tx, c => sqlx::query(old).bind(since).execute(c).await?.rows_affected());
    let (used,): (i64,) = on!(&mut *tx, c => sqlx::query_as(count).bind(since).fetch_one(c).await?);
    if used >= i64::from(everywhere.max_retries) {
        return Ok(false);
    }
    on!(tx, c => sqlx::query(add).bind(action).bind(attempt).bind(now.micros()).execute(c).await?.rows_affected());
    Ok(true)
}
